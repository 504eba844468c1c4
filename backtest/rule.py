"""What a strategy hands to the engine: which legs, which signal, which thresholds, which limits. How it is carried out stands in `execution.py`.

A `Rule` never touches cash. Everything that depends on the path (entering, holding, stops, resize, rolls, settlement, liquidation) is the engine's, with
the exact meaning of `semantics.md`.

    bt.Rule(long=market.spot, short=market.perpetual, signal=bt.annualized_funding(market, market.perpetual), enter=0.1, exit=0.0)
"""

import math
import re
import textwrap
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.errors import ParameterError
from backtest.instruments import Kind

Signal = npt.NDArray[np.float64] | pd.Series | pd.DataFrame
SignalPair = Signal | tuple[Signal, Signal]
Duration = str | pd.Timedelta
Choice = TypeVar("Choice", bound=StrEnum)
AUTO: Literal["auto"] = "auto"
FUNDING: Literal["funding"] = "funding"
LONGEST = 2**61  # ns: 73 years, so that an instant plus a duration stays within int64
MOST = 1e6  # of sizes and of factors: beyond it is a slip of the keyboard, and numbers overflow


class Sides(StrEnum):
    """Which sides of the legs a rule may take: as named, swapped, or both (as named is tried first)."""

    PLUS = "plus"
    MINUS = "minus"
    BOTH = "both"


class FundingEntry(StrEnum):
    """When an entry is sent, seen from the next funding payment: before it, after it, or on the side of it that pays."""

    BEFORE = "before"
    AFTER = "after"
    BETTER = "better"


@dataclass(frozen=True, kw_only=True)
class Leg:
    """One slot of a trade: a spot, a perpetual, one dated contract, or a chain of them (`contracts` by expiry; at entry the `nth` nearest is chosen)."""

    kind: Kind
    contracts: tuple[str, ...]
    min_days: float = 0.0
    nth: int = 1
    chain: bool = False

    def __post_init__(self) -> None:
        if not self.contracts:
            raise ParameterError(
                "a leg needs an instrument: contracts=(); take market.spot, market.perpetual, market.leg(…) or market.future_chain()"
            )
        counting("nth", self.nth)

    def __str__(self) -> str:
        if not self.chain:
            return self.contracts[0]
        last = f" … {self.contracts[-1]}" if len(self.contracts) > 1 else ""
        which = f", nth={self.nth}" if self.nth > 1 else ""
        return f"the chain {self.contracts[0]}{last}{which}" + (f", at least {self.min_days:g} days to expiry" if self.min_days else "")


def param(default: Any, help: str) -> Any:
    """A field of a strategy or of settings: its default, and the help that the command line prints."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The trade. Rates are annual fractions, `stop` a premium, `loss` a fraction of equity, durations pandas-like ("30D", "8h").

    `signal`: one row over the bars, or a table [pair, bar] for chains (`bt.pairs`; as a DataFrame: [clock, pair]); a tuple of two gives side +1 and
    side −1 one each.
    It must be known at the bar's close. `enter=None` enters at once, `exit=None` never leaves by signal. `exit_signal` defaults to `signal`.
    `resize="auto"` means 1.25 when a leg is a perpetual and none is dated, else none. `scale` multiplies the size of an entry: one row, or a table [pair, bar].
    `tranche_gap="funding"` waits for the next funding payment between tranches.
    """

    long: Leg | None = None
    short: Leg | None = None
    signal: SignalPair | None = None
    enter: float | None = None
    exit_signal: SignalPair | None = None
    exit: float | None = None
    scale: Signal | None = None
    sides: Sides = param(Sides.PLUS, "plus (long slot bought), minus (swapped) or both")
    size: float = param(0.5, "base position as a fraction of equity")
    leverage: float = param(1.0, "notional over collateral of a derivative leg")
    resize: float | Literal["auto"] | None = param(AUTO, "return to size when exposure drifts by this factor; none never does")
    entry_tranches: int = param(1, "enter in this many equal parts")
    exit_tranches: int = param(1, "leave in this many equal parts, unless it is urgent")
    tranche_gap: Duration | Literal["funding"] | None = param(None, "time between two tranches, or funding: at the next funding payment")
    funding_entry: FundingEntry = param(FundingEntry.BEFORE, "enter before or after the next funding payment, or as it pays better")
    hold_for_funding: bool = param(False, "leave after the next funding payment, if the position would receive it")
    funding_wait: Duration = param("8h", "wait at most this long for a funding payment")
    max_hold: Duration | None = param(None, "close after this long, converged or not")
    expiry_days: float | None = param(None, "close when this few days are left to expiry")
    roll_days: float | None = param(None, "roll into the next contract of a chain when this few days are left to expiry, if it still pays")
    stop: float | None = param(None, "close when the premium has widened by this much since entry")
    stop_annualized: float | None = param(None, "close when the premium a year has widened by this much since entry")
    loss: float | None = param(None, "close when the trade has lost this fraction of the equity at entry")
    converge: Duration | None = param(None, "close when the premium has not narrowed this long after entry")
    exposure: float | None = param(None, "close when the first leg is worth more than this times the equity")
    drawdown: float | None = param(None, "close when equity has fallen by this fraction from its peak, and stop trading")
    pause: Duration | None = param(None, "trade again this long after a drawdown (default: never)")
    max_spread: float | None = param(None, "stay out, and leave, where a contract's spread over the mid is above this")
    min_depth: float | None = param(None, "stay out, and leave, where a contract's depth in the quote currency is below this")
    cooldown: Duration | None = param(None, "wait this long after an exit")
    stake: bool = param(False, "stake the long spot leg")
    unstake: Duration | None = param(None, "a staked leg can be sold this long after the decision (default: at once)")

    def __post_init__(self) -> None:
        object.__setattr__(self, "sides", choice("sides", self.sides, Sides))
        object.__setattr__(self, "funding_entry", choice("funding_entry", self.funding_entry, FundingEntry))
        if self.long is None and self.short is None:
            raise ParameterError(
                "a rule needs a leg: long=None, short=None; give long=market.spot, short=market.future_chain(), or one of them"
            )
        for name, leg in zip(("long", "short"), self.legs, strict=True):
            check_leg(name, leg)
        for name in ("hold_for_funding", "stake"):
            object.__setattr__(self, name, switch(name, getattr(self, name)))
        self._check_signals()
        for name in ("size", "leverage", "funding_wait"):
            if getattr(self, name) is None:
                raise ParameterError(f"{name} must be a {'duration' if name == 'funding_wait' else 'number'}: {name}=None")
        for name in ("size", "leverage", "roll_days", "stop", "stop_annualized", "loss", "exposure", "drawdown", "max_spread", "min_depth"):
            number(name, getattr(self, name), above=0.0)
        number("size", self.size, most=MOST)
        number("expiry_days", self.expiry_days, least=0.0)
        if not (isinstance(self.resize, str) and self.resize == AUTO):
            number("resize", self.resize, above=1.0)
        if self.drawdown is not None and self.drawdown >= 1.0:
            raise ParameterError(f"drawdown is a fraction of the peak: drawdown={self.drawdown:g} must be below 1; a fifth is 0.2")
        for name in ("max_hold", "cooldown", "funding_wait", "converge", "pause", "unstake"):
            duration(name, getattr(self, name))
        self._check_tranches()
        self._check_legs()
        if self.pause is not None and self.drawdown is None:
            raise ParameterError(
                f"pause needs a drawdown to follow: pause={self.pause!r}, drawdown=None; give drawdown=…, or leave pause out"
            )
        if self.unstake is not None and not self.stake:
            raise ParameterError(
                f"unstake needs a staked leg: unstake={self.unstake!r}, stake=False; give stake=True, or leave unstake out"
            )

    def _check_signals(self) -> None:
        """Thresholds are numbers with a signal to compare; a signal is one, or one for each side; a scale is one."""
        for name in ("enter", "exit"):
            number(name, getattr(self, name))
        if self.enter is not None and self.signal is None:
            raise ParameterError(f"enter needs a signal: enter={self.enter:g}, signal=None; give signal=…, or enter=None to enter at once")
        if self.exit is not None and self.signal is None and self.exit_signal is None:
            raise ParameterError(f"exit needs a signal: exit={self.exit:g}, signal=None; give exit_signal=…, or exit=None to stay")
        for name in ("signal", "exit_signal"):
            if isinstance(value := getattr(self, name), tuple) and len(value) != 2:
                raise ParameterError(f"{name} must be one, or a pair for side +1 and side −1: it is a tuple of {len(value)}")
        if isinstance(self.scale, tuple):
            raise ParameterError(f"scale must be one row or table for both sides: it is a tuple of {len(self.scale)}; give one array")

    def _check_tranches(self) -> None:
        """Tranches are whole numbers from 1 on, and have a gap exactly if there are several."""
        for name in ("entry_tranches", "exit_tranches"):
            counting(name, getattr(self, name))
        if not (isinstance(self.tranche_gap, str) and self.tranche_gap == FUNDING):
            duration("tranche_gap", self.tranche_gap)
        told = f"entry_tranches={self.entry_tranches}, exit_tranches={self.exit_tranches}, tranche_gap={self.tranche_gap!r}"
        several = self.entry_tranches > 1 or self.exit_tranches > 1
        if several and self.tranche_gap is None:
            raise ParameterError(f'several tranches need a time between them: {told}; give tranche_gap="8h" or "funding"')
        if not several and self.tranche_gap is not None:
            raise ParameterError(f"tranche_gap needs several tranches: {told}; give entry_tranches=… or exit_tranches=…, or leave it out")

    def _check_legs(self) -> None:
        """What needs two legs, a dated leg, a chain or a perpetual has one."""
        kinds = {leg.kind for leg in self.legs if leg is not None}
        if self.long is None or self.short is None:
            for name in ("stop", "stop_annualized", "converge"):
                if (value := getattr(self, name)) is not None:
                    shown = repr(value) if name == "converge" else f"{value:g}"
                    remedy = "max_hold=…" if name == "converge" else "loss=…"
                    raise ParameterError(f"{name} measures the premium between two legs: {name}={shown} with one leg; use {remedy}")
        if self.stop_annualized is not None and Kind.FUTURE not in kinds:
            raise ParameterError(f"stop_annualized needs a dated leg: stop_annualized={self.stop_annualized:g} without one; use stop=…")
        if self.roll_days is not None and not any(leg is not None and leg.chain for leg in self.legs):
            raise ParameterError(
                f"roll_days needs a chain to roll along: roll_days={self.roll_days:g} without a chain; give short=market.future_chain(), or leave it out"
            )
        if Kind.PERPETUAL not in kinds:
            for name, idle in (("funding_entry", FundingEntry.BEFORE), ("hold_for_funding", False)):
                if (value := getattr(self, name)) != idle:
                    raise ParameterError(
                        f"{name} needs a perpetual leg: {name}={value} without one; give short=market.perpetual, or leave it out"
                    )
            if self.tranche_gap == FUNDING:
                raise ParameterError('tranche_gap="funding" needs a perpetual leg; give short=market.perpetual, or a duration like "8h"')

    @property
    def legs(self) -> tuple[Leg | None, Leg | None]:
        """The two slots, long first."""
        return self.long, self.short

    @property
    def resize_factor(self) -> float:
        """The resize in force; infinite for none."""
        if self.resize is None:
            return math.inf
        if self.resize != AUTO:
            return float(self.resize)
        kinds = {leg.kind for leg in self.legs if leg is not None}
        return 1.25 if Kind.PERPETUAL in kinds and Kind.FUTURE not in kinds else math.inf


def check_leg(name: str, value: object) -> None:
    """ParameterError unless a slot has a leg or None."""
    if isinstance(value, str):
        raise ParameterError(f'{name} must be a leg: {name}="{value}"; give market.leg("{value}")')
    if value is not None and not isinstance(value, Leg):
        raise ParameterError(
            f"{name} must be a leg: {name}={shown(value)}; give market.spot, market.perpetual, market.leg(…) or market.future_chain()"
        )


def shown(value: object) -> str:
    """A value in a message: on one line, and not all of it where it is long."""
    return textwrap.shorten(str(value), 60, placeholder=" …")


def switch(name: str, value: object) -> bool:
    """A setting that is on or off; ParameterError for anything else."""
    if not isinstance(value, bool | np.bool_):
        raise ParameterError(f"{name} must be true or false: {name}={shown(value)}")
    return bool(value)


def choice(name: str, value: object, kind: type[Choice]) -> Choice:
    """The member of `kind` that value names; ParameterError with the choices otherwise."""
    try:
        return kind(str(value))
    except ValueError:
        raise ParameterError(f"{name} must be one of {', '.join(kind)}: {name}={shown(value)}") from None


def is_finite(value: object) -> bool:
    """Whether a value is one finite number; truths, times and complex numbers are none."""
    if isinstance(value, bool | np.timedelta64 | np.complexfloating) or not isinstance(value, int | float | np.number):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def counting(name: str, value: object) -> None:
    """Raise ParameterError unless value is a whole number from 1 on."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ParameterError(f"{name} must be a whole number from 1 on: {name}={shown(value)}")


def number(name: str, value: float | None, *, above: float | None = None, least: float | None = None, most: float | None = None) -> None:
    """Raise ParameterError unless value is None or a finite number in its range."""
    if value is None:
        return
    if not is_finite(value):
        raise ParameterError(f"{name} must be a finite number: {name}={shown(value)}")
    if above is not None and not value > above:
        raise ParameterError(f"{name} must be above {above:g}: {name}={value:g}")
    if least is not None and not value >= least:
        raise ParameterError(f"{name} must be at least {least:g}: {name}={value:g}")
    if most is not None and not value <= most:
        raise ParameterError(f"{name} must be at most {most:g}: {name}={value:g}")


def duration(name: str, value: Duration | None, *, zero: bool = False) -> int | None:
    """Nanoseconds of a duration like "30D" or "8h"; ParameterError if it is none or not above zero."""
    if value is None:
        return None
    try:
        nanoseconds = _parsed(value)
    except (ValueError, TypeError, OverflowError):
        raise ParameterError(f'{name} must be a duration like "30D" or "8h": {name}={shown(repr(value))}') from None
    if nanoseconds < 0 or (nanoseconds == 0 and not zero):
        raise ParameterError(f"{name} must be longer than zero: {name}={value!r}; leave it out for none")
    return min(int(nanoseconds), LONGEST)


@lru_cache(maxsize=1024)
def _parsed(value: Duration) -> int:
    """Nanoseconds of a duration; ValueError or TypeError for what is none."""
    if not isinstance(value, pd.Timedelta) and not re.search(r"[A-Za-z]", value):
        raise ValueError("a number without a unit")
    length = pd.Timedelta(value)
    if pd.isna(length):
        raise ValueError("no time")
    return length.as_unit("ns").value


def instant(name: str, value: str | pd.Timestamp | None) -> pd.Timestamp | None:
    """A UTC timestamp from a user's text; ParameterError if it is none."""
    if value is None:
        return None
    try:
        time = pd.Timestamp(value).as_unit("ns")
        if pd.isna(time):
            raise ValueError("no time")
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise ParameterError(f'{name} must be a time like "2024-01-31" or "2024-01-31T08:00": {name}={shown(repr(value))}') from None
    return (time.tz_localize("UTC") if time.tzinfo is None else time.tz_convert("UTC")).as_unit("ns")


def settings(value: Any) -> dict[str, Any]:
    """The plain fields of a rule or an execution, for reports."""
    return {item.name: getattr(value, item.name) for item in fields(value)}
