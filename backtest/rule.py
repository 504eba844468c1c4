"""What a strategy hands to the engine: which legs, which signal, which thresholds, which limits; and how it is executed.

A `Rule` never touches cash. Everything that depends on the path (entering, holding, stops, resize, settlement, liquidation) is the engine's, with the
exact meaning of `semantics.md`.

    bt.Rule(long=market.spot, short=market.perpetual, signal=bt.annualized_funding(market, market.perpetual), enter=0.1, exit=0.0)
"""

import math
import re
from dataclasses import dataclass, field, fields
from enum import StrEnum
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
LONGEST = 2**61  # ns: 73 years, so that an instant plus a duration stays within int64


class Margin(StrEnum):
    """Where a derivative's losses may be paid from: its own account, all spare cash, or without any check."""

    ISOLATED = "isolated"
    CROSS = "cross"
    OFF = "off"


class Sides(StrEnum):
    """Which sides of the legs a rule may take: as named, swapped, or both (as named is tried first)."""

    PLUS = "plus"
    MINUS = "minus"
    BOTH = "both"


class MissingFunding(StrEnum):
    """A funding event that the data lack: an error, or filled with the mean of the events before and after it."""

    ERROR = "error"
    FILL = "fill"


@dataclass(frozen=True, kw_only=True)
class Leg:
    """One slot of a trade: a spot, a perpetual, one dated contract, or a chain of them (`contracts` by expiry; one of them is chosen at entry)."""

    kind: Kind
    contracts: tuple[str, ...]
    min_days: float = 0.0
    chain: bool = False

    def __post_init__(self) -> None:
        if not self.contracts:
            raise ParameterError(
                "a leg needs an instrument: contracts=(); take market.spot, market.perpetual, market.leg(…) or market.future_chain()"
            )

    def __str__(self) -> str:
        if not self.chain:
            return self.contracts[0]
        last = f" … {self.contracts[-1]}" if len(self.contracts) > 1 else ""
        return f"the chain {self.contracts[0]}{last}" + (f", at least {self.min_days:g} days to expiry" if self.min_days else "")


def param(default: Any, help: str) -> Any:
    """A field of a strategy or of settings: its default, and the help that the command line prints."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The trade. Rates are annual fractions, `stop` a premium, `loss` a fraction of equity, durations pandas-like ("30D", "8h").

    `signal`: one row over the bars, or a table [pair, bar] for chains (`bt.pairs`; as a DataFrame: [clock, pair]); a tuple of two gives side +1 and
    side −1 one each.
    It must be known at the bar's close. `enter=None` enters at once, `exit=None` never leaves by signal. `exit_signal` defaults to `signal`.
    `resize="auto"` means 1.25 when a leg is a perpetual and none is dated, else none.
    """

    long: Leg | None = None
    short: Leg | None = None
    signal: SignalPair | None = None
    enter: float | None = None
    exit_signal: SignalPair | None = None
    exit: float | None = None
    sides: Sides = param(Sides.PLUS, "plus (long slot bought), minus (swapped) or both")
    size: float = param(0.5, "base position as a fraction of equity")
    leverage: float = param(1.0, "notional over collateral of a derivative leg")
    resize: float | Literal["auto"] | None = param(AUTO, "return to size when exposure drifts by this factor; none never does")
    max_hold: Duration | None = param(None, "close after this long, converged or not")
    expiry_days: float | None = param(None, "close when this few days are left to expiry")
    stop: float | None = param(None, "close when the premium has widened by this much since entry")
    loss: float | None = param(None, "close when the trade has lost this fraction of the equity at entry")
    cooldown: Duration | None = param(None, "wait this long after an exit")
    stake: bool = param(False, "stake the long spot leg")

    def __post_init__(self) -> None:
        object.__setattr__(self, "sides", choice("sides", self.sides, Sides))
        if self.long is None and self.short is None:
            raise ParameterError(
                "a rule needs a leg: long=None, short=None; give long=market.spot, short=market.future_chain(), or one of them"
            )
        for name in ("enter", "exit"):
            number(name, getattr(self, name))
        if self.enter is not None and self.signal is None:
            raise ParameterError(f"enter needs a signal: enter={self.enter:g}, signal=None; give signal=…, or enter=None to enter at once")
        if self.exit is not None and self.signal is None and self.exit_signal is None:
            raise ParameterError(f"exit needs a signal: exit={self.exit:g}, signal=None; give exit_signal=…, or exit=None to stay")
        for name, low in (("size", 0.0), ("leverage", 0.0), ("stop", 0.0), ("loss", 0.0)):
            number(name, getattr(self, name), above=low)
        for name in ("size", "leverage"):
            if getattr(self, name) is None:
                raise ParameterError(f"{name} must be a number: {name}=None")
        number("expiry_days", self.expiry_days, least=0.0)
        for name in ("signal", "exit_signal"):
            if isinstance(value := getattr(self, name), tuple) and len(value) != 2:
                raise ParameterError(f"{name} must be one, or a pair for side +1 and side −1: it is a tuple of {len(value)}")
        if self.resize is not None and self.resize != AUTO:
            number("resize", self.resize, above=1.0)
        if self.stop is not None and (self.long is None or self.short is None):
            raise ParameterError(f"stop measures the premium between two legs: stop={self.stop:g} with one leg; use loss=…")
        for name in ("max_hold", "cooldown"):
            duration(name, getattr(self, name))

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


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How orders are carried out and what they cost, as fractions; None takes the venue's rule-book, quotes and series where the data have them."""

    margin: Margin = param(Margin.ISOLATED, "isolated, cross or off")
    spot_fee: float | None = param(None, "trading fee of spot legs (default: the venue's)")
    derivative_fee: float | None = param(None, "trading fee of perpetuals and futures (default: the venue's)")
    half_spread: float | tuple[float, float] | None = param(
        None, "half the spread paid at each fill, one number or two: long,short (default: the data's quotes, else 1 bp)"
    )
    delivery_fee: float | None = param(None, "fee at settlement (default: the venue's)")
    liquidation_fee: float | None = param(None, "fee of a liquidation (default: the venue's)")
    maintenance: float | None = param(None, "maintenance margin rate without tiers (default: the venue's tiers)")
    idle_rate: float | None = param(None, "yearly rate on idle cash (default: the dataset's risk_free, else 0)")
    borrow_rate: float | None = param(None, "yearly rate on borrowed cash (default: the dataset's borrow_usd, else 0)")
    funding: MissingFunding = param(MissingFunding.ERROR, "missing funding events: error, or fill with the mean of their neighbours")

    def __post_init__(self) -> None:
        object.__setattr__(self, "margin", choice("margin", self.margin, Margin))
        object.__setattr__(self, "funding", choice("funding", self.funding, MissingFunding))
        for name in ("spot_fee", "derivative_fee", "delivery_fee", "liquidation_fee", "maintenance", "borrow_rate"):
            fraction(name, getattr(self, name))
        for value in self.half_spreads:
            fraction("half_spread", value)
        number("idle_rate", self.idle_rate)

    @property
    def half_spreads(self) -> tuple[float | None, float | None]:
        """Half the spread of the long and of the short slot; None where quotes or the default hold."""
        if not isinstance(self.half_spread, tuple):
            return self.half_spread, self.half_spread
        if len(self.half_spread) != 2:
            raise ParameterError(f"half_spread takes one number, or two for the long and the short leg: half_spread={self.half_spread}")
        return self.half_spread

    @classmethod
    def free(cls) -> "Execution":
        """No costs at all."""
        return cls(spot_fee=0.0, derivative_fee=0.0, half_spread=0.0, delivery_fee=0.0, liquidation_fee=0.0)


def fraction(name: str, value: float | None) -> None:
    """Raise ParameterError unless value is None or a number in [0, 1)."""
    number(name, value, least=0.0)
    if value is not None and value >= 1.0:
        raise ParameterError(f"{name} is a fraction: {name}={value:g} must be below 1; 10 bps are 0.001")


def choice(name: str, value: object, kind: type[Choice]) -> Choice:
    """The member of `kind` that value names; ParameterError with the choices otherwise."""
    try:
        return kind(str(value))
    except ValueError:
        raise ParameterError(f"{name} must be one of {', '.join(kind)}: {name}={value}") from None


def number(name: str, value: float | None, *, above: float | None = None, least: float | None = None) -> None:
    """Raise ParameterError unless value is None or a finite number in its range."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise ParameterError(f"{name} must be a finite number: {name}={value}")
    if above is not None and not value > above:
        raise ParameterError(f"{name} must be above {above:g}: {name}={value:g}")
    if least is not None and not value >= least:
        raise ParameterError(f"{name} must be at least {least:g}: {name}={value:g}")


def duration(name: str, value: Duration | None, *, zero: bool = False) -> int | None:
    """Nanoseconds of a duration like "30D" or "8h"; ParameterError if it is none or not above zero."""
    if value is None:
        return None
    try:
        if not isinstance(value, pd.Timedelta) and not re.search(r"[A-Za-z]", value):
            raise ValueError("a number without a unit")
        nanoseconds = pd.Timedelta(value).as_unit("ns").value
    except (ValueError, TypeError, OverflowError):
        raise ParameterError(f'{name} must be a duration like "30D" or "8h": {name}={value!r}') from None
    if nanoseconds < 0 or (nanoseconds == 0 and not zero):
        raise ParameterError(f"{name} must be longer than zero: {name}={value!r}; leave it out for none")
    return min(int(nanoseconds), LONGEST)


def settings(value: Any) -> dict[str, Any]:
    """The plain fields of a rule or an execution, for reports."""
    return {item.name: getattr(value, item.name) for item in fields(value)}
