"""What happens to the market: wide spreads, funding the other way, a gap in the basis, a dark venue, a cascade."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from backtest.errors import DataError, ParameterError, did_you_mean
from backtest.execution import is_number
from backtest.instruments import Kind
from backtest.market import Market, nanoseconds
from backtest.rule import Duration, duration, instant, shown
from backtest.scenarios.before import Before, Instant, Scenario, Scene, factor, named, share, span
from backtest.signals import HALF_SPREAD

# prices of the contract itself; its index is another's
QUOTED = ("open", "high", "low", "close", "bid", "ask", "mark", "mark_high", "mark_low")
FLIPPED = pd.Timedelta("30D")
DARK = pd.Timedelta("1D")


@dataclass(frozen=True)
class Spreads(Scenario):
    """All spreads of both legs `factor` times as wide: the data's quotes, and the half-spreads that are settings."""

    name: ClassVar[str] = "spreads"
    factor: float = 5.0

    def __post_init__(self) -> None:
        factor(self.factor)

    def scene(self, before: Before) -> Scene:
        """Quotes move away from their mid; where the data have none, the setting or the usual 1 bp grows."""
        market = before.market
        frames = {name: self._widened(market, name) for name in before.contracts if market.has(name, "bid") and market.has(name, "ask")}
        halves = tuple(
            self._scaled(HALF_SPREAD if half is None and leg is not None and not set(leg.contracts) & set(frames) else half)
            for leg, half in zip(before.rule.legs, before.execution.half_spreads, strict=True)
        )
        told = f"Spreads are {self.factor:g} times as wide."
        return before.scene(
            told, market.altered(frames) if frames else None, half_spread=None if all(half is None for half in halves) else halves
        )

    def _scaled(self, half: object) -> object:
        if half is None or is_number(half):
            return None if half is None else half * self.factor
        values = np.asarray(half, dtype=np.float64)
        return np.where(np.isnan(values), HALF_SPREAD, values) * self.factor

    def _widened(self, market: Market, name: str) -> pd.DataFrame:
        frame = market.bars(name)
        places = np.searchsorted(market.stamps, nanoseconds(pd.DatetimeIndex(frame.index)))
        bid, ask = market.raw(name, "bid")[places], market.raw(name, "ask")[places]
        mid, half = (ask + bid) / 2.0, (ask - bid) / 2.0 * self.factor
        if (half >= mid).any():
            raise ParameterError(f"factor={self.factor:g} makes a bid of {name} negative; give a smaller one")
        spread = {"spread": market.raw(name, "spread")[places] * self.factor} if market.has(name, "spread") else {}
        return frame.assign(bid=mid - half, ask=mid + half, **spread)


@dataclass(frozen=True)
class FundingFlip(Scenario):
    """Funding of the rule's perpetuals is paid the other way, start < payment ≤ end (default: 30 days from the middle of the longest trade on)."""

    name: ClassVar[str] = "flip"
    start: Instant = None
    end: Instant = None

    def __post_init__(self) -> None:
        instant("start", self.start), instant("end", self.end)

    def scene(self, before: Before) -> Scene:
        """Rates change their sign."""
        market = before.market
        names = [name for name in before.contracts if market.instruments[name].kind is Kind.PERPETUAL]
        if not names:
            raise ParameterError("scenario flip needs a perpetual leg and the rule has none; leave it out")
        begin, over, when = before.window(self.start, self.end, FLIPPED)
        rates, count = {}, 0
        for name in names:
            events = market.funding(name)
            inside = (events.times > begin.value) & (events.times <= over.value)
            rates[name], count = np.where(inside, -events.rates, events.rates), count + int(inside.sum())
        if count == 0:
            raise DataError(f"{' and '.join(names)} pays no funding {when}; choose a longer window")
        return before.scene(f"Funding of {' and '.join(names)} is paid the other way {when}.", market.altered(rates=rates))


@dataclass(frozen=True)
class BasisGap(Scenario):
    """The derivative's prices, marks too, jump by `size` (a fraction of the price) against the position and stay there for `duration` (default: from the middle of the longest trade on)."""

    name: ClassVar[str] = "gap"
    size: float = 0.05
    at: Instant = None
    duration: Duration = "8h"

    def __post_init__(self) -> None:
        share("size", self.size)
        instant("at", self.at)
        span("duration", self.duration)

    def scene(self, before: Before) -> Scene:
        """Every bar that the time touches is moved as a whole."""
        leg, sign = before.derivative(self.name)
        at, when = before.moment(self.at)
        length = duration("duration", self.duration) or 0
        held = sign * before.side(at)
        frames, touched = {}, 0
        for name in leg.contracts:
            opens, ends = before.spans(name)
            inside = (ends > at.value) & (opens < at.value + length)
            touched += int(inside.sum())
            frame, factor = before.market.bars(name), np.where(inside, 1.0 - held * self.size, 1.0)
            frames[name] = frame.assign(**{column: frame[column] * factor for column in QUOTED if column in frame})
        if not touched:
            raise DataError(f"{named(leg)} has no bar in the {self.duration} after {when}; choose another time")
        direction = "below" if held > 0 else "above"
        told = f"Prices and marks of {named(leg)} stand {100 * self.size:g}% {direction} what they were for {self.duration} after {when}."
        return before.scene(told, before.market.altered(frames))


@dataclass(frozen=True)
class Outage(Scenario):
    """A venue is dark: none of its instruments has a bar that touches the window, so nothing fills, closes grow stale and no mark is seen.

    Default: the derivative's venue, a day from the middle of the longest trade on. Funding is paid all the same.
    """

    name: ClassVar[str] = "outage"
    venue: str | None = None
    start: Instant = None
    end: Instant = None

    def __post_init__(self) -> None:
        if self.venue is not None and not isinstance(self.venue, str):
            raise ParameterError(f'venue must be a name like "binance": venue={shown(self.venue)}')
        instant("start", self.start), instant("end", self.end)

    def scene(self, before: Before) -> Scene:
        """The bars lose their values."""
        market = before.market
        venues = {item.venue for item in market.instruments.values()}
        venue = self._venue_of(before) if self.venue is None else self.venue
        if venue not in venues:
            raise ParameterError(f'unknown venue "{venue}" in dataset {market.info.name}; {did_you_mean(venue, sorted(venues))}')
        begin, over, when = before.window(self.start, self.end, DARK)
        frames = {}
        for item in market.instruments.values():
            opens, ends = before.spans(item.id)
            dark = (ends > begin.value) & (opens < over.value)
            if item.venue == venue and dark.any():
                frames[item.id] = market.bars(item.id)
                frames[item.id].loc[dark] = np.nan
        if not frames:
            raise DataError(f"{venue} has no bar {when}; choose another window")
        return before.scene(f"{venue} is dark {when}.", market.altered(frames))

    def _venue_of(self, before: Before) -> str:
        legs = [leg for leg in before.rule.legs if leg is not None]
        chosen = next((leg for leg in reversed(legs) if leg.kind is not Kind.SPOT), legs[0])
        return before.market.instruments[chosen.contracts[0]].venue


@dataclass(frozen=True)
class Cascade(Scenario):
    """In the bar around `at` the derivative's extremes run `size` against the position and come back; then the venue takes away what has a gain.

    Default: the middle of the longest trade.
    """

    name: ClassVar[str] = "cascade"
    size: float = 0.3
    at: Instant = None

    def __post_init__(self) -> None:
        share("size", self.size)
        instant("at", self.at)

    def scene(self, before: Before) -> Scene:
        """Only the high, or only the low, of one bar is another: of trades and of marks."""
        leg, sign = before.derivative(self.name)
        at, when = before.moment(self.at)
        held = sign * before.side(at)
        columns = ("low", "mark_low") if held > 0 else ("high", "mark_high")
        frames, touched = {}, 0
        for name in leg.contracts:
            opens, ends = before.spans(name)
            inside = (opens < at.value) & (at.value <= ends)
            touched += int(inside.sum())
            frame, factor = before.market.bars(name), np.where(inside, 1.0 - held * self.size, 1.0)
            frames[name] = frame.assign(**{column: frame[column] * factor for column in columns if column in frame})
        if not touched:
            raise DataError(f"{named(leg)} has no bar at {when}; choose another time")
        way = "down" if held > 0 else "up"
        told = (
            f"Prices of {named(leg)} run {100 * self.size:g}% {way} and back within the bar of {when}; what has a gain then is deleveraged."
        )
        return before.scene(told, before.market.altered(frames), deleveraged_at=at, deleveraged_gap=0.0)
