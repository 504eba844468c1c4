"""When not to enter: regimes, open interest, flows, leverage, crowding, events, and the hours before funding is paid.

Each answers from a signal of the package, of the rule's own legs where it has them and else of the market's; what isn't known forbids.
Sides: a trade with two legs lives off the premium, one leg alone is a bet on the price, and what confirms the one may warn of the other.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np

from backtest.curve import closes
from backtest.errors import ParameterError, did_you_mean
from backtest.filters.base import Allowed, Bools, Filter, by_side, derivative_of, found, is_hedged, leg_of, positive, span
from backtest.instruments import Kind
from backtest.market import Floats, Market
from backtest.payments import HOUR_NS, continuous, expected_payments
from backtest.rule import Duration, Rule, choice, duration, shown
from backtest.signals import (
    Crowding,
    Quadrant,
    Regime,
    change,
    crowding,
    leverage_ratio,
    near_event,
    percentile,
    quadrant,
    regime,
    spot_lead,
)
from backtest.signals.funding import funding_events

NEVER = np.iinfo(np.int64).max


class Leader(StrEnum):
    """Whose takers move the price."""

    SPOT = "spot"
    FUTURES = "futures"


class Measure(StrEnum):
    """What is compared with a limit: a ratio itself, or its percentile rank in a window."""

    PERCENTILE = "percentile"
    RATIO = "ratio"


@dataclass(frozen=True)
class RegimeFilter(Filter):
    """Enter in these regimes only: calm, trending, stressed.

    Both sides alike: in stress spreads are wide and premia jump, whichever way one stands. The regime is that of the rule's derivative
    and spot.
    """

    name: ClassVar[str] = "regime"
    allowed: tuple[str, ...] = ("calm", "trending")

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed", names_of("allowed", self.allowed, [state.name.lower() for state in Regime]))
        if not self.allowed:
            raise ParameterError("a regime filter needs a regime: allowed=(); give some of calm, trending, stressed")

    def allows(self, market: Market, rule: Rule) -> Allowed:
        """Where `regime` is one of those allowed."""
        codes = regime(market, derivative_of(rule), found(market, rule, Kind.SPOT))
        return np.isin(codes, [Regime[name.upper()] for name in self.allowed])


@dataclass(frozen=True)
class OpenInterestFilter(Filter):
    """Enter only as open interest rises in the window, and the premium with it: up for who is paid by longs, down for who is paid by shorts.

    Who is paid by longs (short derivative against spot), or is one (one leg bought), needs `Quadrant.NEW_LEVERAGE`: the premium rose with
    the open interest. Who is paid by shorts (long derivative against short spot), or is one, needs `Quadrant.NEW_SHORTS`: it fell as open
    interest rose. A premium that moves while open interest falls is somebody's way out, and over with it. quadrants: those to allow
    instead, whatever the side ("short_covering").
    """

    name: ClassVar[str] = "oi"
    window: Duration = "1D"
    quadrants: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        span("window", self.window)
        object.__setattr__(self, "quadrants", names_of("quadrants", self.quadrants, [code.name.lower() for code in Quadrant]))

    def allows(self, market: Market, rule: Rule) -> Allowed:
        """Where the `quadrant` of the rule's derivative is one that confirms the side."""
        codes = quadrant(market, derivative_of(rule) or found(market, rule, Kind.PERPETUAL), found(market, rule, Kind.SPOT), self.window)
        if self.quadrants:
            return np.isin(codes, [Quadrant[name.upper()] for name in self.quadrants])
        return by_side(rule, codes == Quadrant.NEW_LEVERAGE, codes == Quadrant.NEW_SHORTS)


@dataclass(frozen=True)
class VolumeDeltaFilter(Filter):
    """Enter only while the takers of the spot lead the move by their volume delta, or with leader=futures those of the futures.

    A hedged trade: both sides alike, since what counts is whether the move is one of coins or of leverage. One leg alone: its buyer wants
    a rise over the window that the leader pays for, its seller a fall.
    """

    name: ClassVar[str] = "cvd"
    leader: str = Leader.SPOT
    window: Duration = "1D"
    history: Duration = "30D"

    def __post_init__(self) -> None:
        object.__setattr__(self, "leader", choice("leader", self.leader, Leader))
        span("window", self.window)
        span("history", self.history)

    def allows(self, market: Market, rule: Rule) -> Allowed:
        """Where `spot_lead` is above 0, or below it for the futures."""
        spot = found(market, rule, Kind.SPOT)
        lead = spot_lead(market, derivative_of(rule) or found(market, rule, Kind.PERPETUAL), spot, self.window, self.history)
        leads: Bools = lead > 0.0 if self.leader == Leader.SPOT else lead < 0.0
        if is_hedged(rule):
            return leads
        moved = change(market, closes(market, spot), self.window)[0]
        return by_side(rule, leads & (moved > 0.0), leads & (moved < 0.0))


@dataclass(frozen=True)
class LeverageFilter(Filter):
    """Enter only while the leverage ratio's percentile in the window (none: all history), or with measure=ratio the ratio itself, is below a limit.

    Both sides alike: forced selling and forced buying move the premium and the margin of either.
    """

    name: ClassVar[str] = "leverage"
    below: float = 0.8
    measure: str = Measure.PERCENTILE
    window: Duration | None = "180D"

    def __post_init__(self) -> None:
        object.__setattr__(self, "measure", choice("measure", self.measure, Measure))
        positive("below", self.below, most=1.0 if self.measure == Measure.PERCENTILE else None)
        duration("window", self.window)

    def allows(self, market: Market, rule: Rule) -> Allowed:
        """Where `leverage_ratio`, or its `percentile`, is below the limit."""
        ratio: Floats = leverage_ratio(market, derivative_of(rule) or found(market, rule, Kind.PERPETUAL))
        allowed: Bools = (ratio if self.measure == Measure.RATIO else percentile(market, ratio, self.window)) < self.below
        return allowed


@dataclass(frozen=True)
class CrowdingFilter(Filter):
    """Enter only while carry is not crowded: premium and funding both at a percentile of the window or above.

    A hedged trade: neither side. Who sells the derivative comes late and may see the premium widen; who buys it loses when the longs are
    thrown out. One leg alone: its buyer is one more of the crowd and stays out; its seller may enter, as the crowd's way out is a fall.
    """

    name: ClassVar[str] = "crowding"
    level: float = 0.8
    window: Duration = "180D"

    def __post_init__(self) -> None:
        positive("level", self.level, most=1.0)
        span("window", self.window)

    def allows(self, market: Market, rule: Rule) -> Allowed:
        """Where `crowding` is known and not `Crowding.CROWDED`."""
        future, perpetual, spot = (found(market, rule, kind) for kind in (Kind.FUTURE, Kind.PERPETUAL, Kind.SPOT))
        codes = crowding(market, future, perpetual, spot, window=self.window, level=self.level)
        known: Bools = ~np.isnan(codes)
        free: Bools = known & (codes != Crowding.CROWDED)
        return free if is_hedged(rule) else by_side(rule, free, known)


@dataclass(frozen=True)
class EventFilter(Filter):
    """Enter only away from events of a kind: not from so long before one, once it was announced, until so long after it.

    Both sides alike: what the premium tells then is about the event.
    """

    name: ClassVar[str] = "events"
    before: Duration = "2D"
    after: Duration = "1D"
    kind: str = "upgrade"

    def __post_init__(self) -> None:
        span("before", self.before)
        span("after", self.after)
        if not isinstance(self.kind, str) or not self.kind:
            raise ParameterError(f'kind must name a kind of event: kind={shown(repr(self.kind))}; give one of the dataset\'s, as "upgrade"')

    def allows(self, market: Market, rule: Rule) -> Allowed:
        """Where `near_event` is 0."""
        far: Bools = near_event(market, self.kind, self.before, self.after) == 0.0
        return far


@dataclass(frozen=True)
class FundingWindow(Filter):
    """Enter only so shortly before the next expected funding payment of the rule's perpetual, or so shortly after the last (none: not then).

    Both sides alike; `Rule.funding_entry` chooses by who is paid. Counted from the bar's end, when the order goes out.
    """

    name: ClassVar[str] = "funding"
    before: Duration | None = "1h"
    after: Duration | None = None

    def __post_init__(self) -> None:
        duration("before", self.before)
        duration("after", self.after)
        if self.before is None and self.after is None:
            raise ParameterError('a funding window needs a length: before=None, after=None; give before="1h", or after="1h"')

    def allows(self, market: Market, rule: Rule) -> Allowed:
        """Where the next payment is due within `before`, or the last one was made within `after`."""
        leg = leg_of(rule, Kind.PERPETUAL)
        if leg is None:
            raise ParameterError(
                f"filter {self} needs a perpetual leg: {legs_in_words(rule)}; give short=market.perpetual, or leave it out"
            )
        instrument, events = leg.contracts[0], funding_events(market, leg)
        if continuous(market, instrument):
            venue = market.instruments[instrument].venue
            raise ParameterError(f"filter {self} has nothing to wait for: {venue} pays {instrument} continuously; leave it out")
        due, stamps = expected_payments(market, instrument, 0).next_payment, market.stamps
        last = np.searchsorted(events.times, stamps, "right") - 1
        ahead = np.where(due > 0, due - stamps, NEVER)
        since = np.where(last >= 0, stamps - events.times[np.maximum(last, 0)], NEVER)
        allowed: Bools = np.zeros(len(market), dtype=bool)
        for time, within in ((ahead, duration("before", self.before)), (since, duration("after", self.after))):
            if within is not None:
                allowed |= time <= within
        if not allowed.any() and last[-1] > last[0] + 1:  # whole intervals between two payments lie in the market
            nearest = f"; the last bar before one ends {ahead.min() / HOUR_NS:g}h before it" if ahead.min() < NEVER else ""
            raise ParameterError(
                f"filter {self} allows no entry on these bars: none ends so near a payment of {instrument}{nearest}; give longer times, or load finer bars"
            )
        return allowed


def legs_in_words(rule: Rule) -> str:
    """The legs of a rule in a message."""
    return ", ".join(f"{name}={leg}" for name, leg in zip(("long", "short"), rule.legs, strict=True) if leg is not None)


def names_of(what: str, given: object, known: list[str]) -> tuple[str, ...]:
    """Names out of a list, from one, several, or one text with commas; ParameterError with the nearest for an unknown one."""
    listed = given.split(",") if isinstance(given, str) else list(given) if isinstance(given, tuple | list) else [given]
    if any(one is None for one in listed):
        raise ParameterError(
            f"{what} must be names: {what}={shown(given)}; give some of {', '.join(known)}, or leave it out for the usual ones"
        )
    names = tuple(getattr(one, "name", str(one)).strip().lower() for one in listed)
    for name in names:
        if name not in known:
            raise ParameterError(f'{what} has no "{name}": {what}={shown(given)}; {did_you_mean(name, known)}')
    return names
