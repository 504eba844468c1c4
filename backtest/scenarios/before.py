"""What a scenario gets and what it makes: the run as it was, with what may be asked about it, and the scene to run instead."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.errors import ParameterError
from backtest.execution import Execution
from backtest.instruments import Kind
from backtest.market import Floats, Market, nanoseconds, utc
from backtest.rule import MOST, Duration, Leg, Rule, Sides, duration, instant, number

if TYPE_CHECKING:
    from backtest.result import Result

Instant = str | pd.Timestamp | None


@dataclass(frozen=True)
class Scene:
    """What a scenario makes of a run: the market and the execution to run with, and a sentence about it."""

    market: Market
    execution: Execution
    told: str


@dataclass(frozen=True)
class Before:
    """The run as it was, and what scenarios ask about it."""

    market: Market
    execution: Execution
    rule: Rule
    result: "Result"

    def scene(self, told: str, market: Market | None = None, **execution: object) -> Scene:
        """A scene with another market, or with other terms of execution."""
        return Scene(self.market if market is None else market, replace(self.execution, **execution), told)  # type: ignore[arg-type]

    @cached_property
    def trades(self) -> pd.DataFrame:
        """entered_at, exited_at (the run's end for an open trade) and side of each trade."""
        table = self.result.trades[["entered_at", "exited_at", "side"]]
        return table.assign(exited_at=table["exited_at"].fillna(self.result.end))

    def moment(self, at: Instant, side: int | None = None) -> tuple[pd.Timestamp, str]:
        """An instant inside the run and how it is told: the one that was given, else the close in the middle of the longest trade (of a side)."""
        first, last = pd.Timestamp(self.market.start, tz="UTC"), self.market.clock[-1]
        given = instant("at", at)
        if given is not None:
            if not first < given <= last:
                raise ParameterError(
                    f"at={utc(given.value)} lies outside the run; choose a time from {utc(first.value)} to {utc(last.value)}"
                )
            return given, utc(given.value)
        where, longest = "the middle of the longest trade", self.longest(side)
        if longest is None:
            where = "the middle of the run, which has no trade" + ("" if side is None or len(self.trades) == 0 else " of that side")
        else:
            first, last, _ = longest
        place = min(int(self.market.clock.searchsorted(first + (last - first) / 2)), len(self.market) - 1)
        chosen = self.market.clock[place]
        return chosen, f"{utc(chosen.value)}, {where}"

    def window(self, start: Instant, end: Instant, length: pd.Timedelta) -> tuple[pd.Timestamp, pd.Timestamp, str]:
        """A window that meets the run and how it is told; without a start from `moment` on, without an end as long as `length`."""
        begin, over = instant("start", start), instant("end", end)
        where = ""
        if begin is None:
            begin, told = self.moment(None)
            begin = begin if over is None or begin < over else over - length
            where = f" ({told.partition(', ')[2]})"
        first, last = pd.Timestamp(self.market.start, tz="UTC"), self.market.clock[-1]
        over = max(min(begin + length, last), begin + pd.Timedelta(1, "ns")) if over is None else over
        if begin >= over:
            raise ParameterError(f"start must be before end: start={utc(begin.value)}, end={utc(over.value)}")
        if begin >= last or over <= first:
            raise ParameterError(
                f"the window from {utc(begin.value)} to {utc(over.value)} lies outside the run; choose one within {utc(first.value)} to {utc(last.value)}"
            )
        return begin, over, f"from {utc(begin.value)}{where} to {utc(over.value)}"

    def side(self, at: pd.Timestamp) -> int:
        """The side of the trade that is on at an instant, else of the longest trade, else the one that the rule would take."""
        on = self.trades[(self.trades["entered_at"] <= at) & (at <= self.trades["exited_at"])]
        if len(on):
            return int(on["side"].iloc[-1])
        longest = self.longest()
        return longest[2] if longest is not None else -1 if self.rule.sides is Sides.MINUS else 1

    def longest(self, side: int | None = None) -> tuple[pd.Timestamp, pd.Timestamp, int] | None:
        """Entry, exit and side of the longest trade, if there is one; of a side."""
        trades = self.trades if side is None else self.trades[self.trades["side"] == side]
        if len(trades) == 0:
            return None
        place = int((trades["exited_at"] - trades["entered_at"]).to_numpy().argmax())
        return trades["entered_at"].iloc[place], trades["exited_at"].iloc[place], int(trades["side"].iloc[place])

    @cached_property
    def contracts(self) -> list[str]:
        """All instruments of both legs."""
        return [name for leg in self.rule.legs if leg is not None for name in leg.contracts]

    def derivative(self, scenario: str) -> tuple[Leg, int]:
        """The derivative that a scenario turns against, and its sign on side +1: the short slot's if that is one, else the long slot's."""
        for leg, sign in zip(reversed(self.rule.legs), (-1, 1), strict=True):
            if leg is not None and leg.kind is not Kind.SPOT:
                return leg, sign
        raise ParameterError(f"scenario {scenario} needs a derivative leg and the rule has spots only; leave it out")

    def spans(self, instrument: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """When the instrument's own bars open and end (ns)."""
        ends = nanoseconds(pd.DatetimeIndex(self.market.bars(instrument).index))
        return self.market.opens[np.searchsorted(self.market.stamps, ends)], ends


@dataclass(frozen=True)
class Scenario:
    """Base of all scenarios: a name, and what it makes of a run. Subclasses are frozen dataclasses whose fields have defaults."""

    name: ClassVar[str] = ""

    def scene(self, before: Before) -> Scene:
        """What to run instead. Raises ParameterError or DataError where the run has nothing that it could happen to."""
        raise NotImplementedError(f"{type(self).__name__} must define scene(before)")

    @property
    def label(self) -> str:
        """The name, and the values that are not the defaults, as on the command line."""
        values = ["" if value == item.default else in_words(value) for item in fields(self) for value in [getattr(self, item.name)]]
        shown = ",".join(values).rstrip(",")
        return f"{self.name}={shown}" if shown else self.name


def gains(before: Before, slot: str) -> Floats:
    """What a derivative slot has gained since its account was opened last, at each close; NaN where it is flat. [bar]"""
    fills = before.result.fills
    fills = fills[fills["slot"] == slot]
    quantity = before.result.positions[f"{slot}_quantity"].to_numpy()
    out = np.full(len(quantity), np.nan)
    place = np.searchsorted(nanoseconds(pd.DatetimeIndex(fills["time"])), before.market.opens, side="right") - 1
    held = (quantity != 0.0) & (place >= 0)
    entry = fills["price"].to_numpy()
    for name in fills["instrument"].unique():
        here = held & (fills["instrument"].to_numpy()[place] == name)
        out[here] = (quantity * (before.market.last_known(name) - entry[place]))[here]
    return out


def given(name: str, value: object, what: str) -> None:
    """Raise ParameterError for a value that may not be None and is."""
    if value is None:
        raise ParameterError(f"{name} must be a {what}: {name}=None; leave it out for the usual one")


def factor(value: float) -> None:
    """Raise ParameterError unless a value is a factor that spreads may grow by."""
    given("factor", value, "number")
    number("factor", value, above=0.0, most=MOST)


def span(name: str, value: Duration) -> None:
    """Raise ParameterError unless a value is a duration."""
    given(name, value, "duration")
    duration(name, value)


def share(name: str, value: float, *, zero: bool = False) -> None:
    """Raise ParameterError unless a value lies between 0 and 1; zero: 0 may be."""
    given(name, value, "number")
    if zero:
        number(name, value, least=0.0)
    else:
        number(name, value, above=0.0)
    if value >= 1.0:
        raise ParameterError(f"{name} is a fraction of the price: {name}={value:g} must be below 1; a twentieth is 0.05")


def named(leg: Leg) -> str:
    """A leg in a sentence."""
    return leg.contracts[0] if len(leg.contracts) == 1 else f"{leg.contracts[0]} … {leg.contracts[-1]}"


def in_words(value: object) -> str:
    """A value as one types it."""
    if isinstance(value, pd.Timestamp):
        return utc(value.value)
    return f"{value:g}" if isinstance(value, float | int) else str(value)
