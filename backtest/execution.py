"""How a rule's orders are carried out, and what that costs: fees and spreads, makers, impact, latency, margin, wallets.

None takes the venue's rule-book, quotes and series where the data have them. The exact meaning of each setting stands in `semantics.md`.

    bt.Execution(maker="short", impact=0.02, participation=0.05, latency="1min")
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeGuard

import numpy as np
import pandas as pd

from backtest.errors import ParameterError
from backtest.instruments import Instrument, Kind, Settle
from backtest.rule import MOST, Duration, Rule, Signal, choice, duration, instant, number, param, shown

WHOLE = 1e-9  # two shares of the capital add up to 1 but for rounding
NUMBERS = (bool, int, float, np.number)
HIGHEST_RATE = 100.0  # a year: 10,000 %


class Margin(StrEnum):
    """Where a derivative's losses may be paid from: its own account, all spare cash, or without any check."""

    ISOLATED = "isolated"
    CROSS = "cross"
    OFF = "off"


class MissingFunding(StrEnum):
    """A funding event that the data lack: an error, or filled with the mean of the events before and after it."""

    ERROR = "error"
    FILL = "fill"


class MakerLegs(StrEnum):
    """Which slots rest their orders in the book instead of taking what is there."""

    NONE = "none"
    LONG = "long"
    SHORT = "short"
    BOTH = "both"


class ImpactModel(StrEnum):
    """How the price moves with what is traded: by the root of its share of a day's volume, or straight by its share of the book's depth."""

    SQUARE_ROOT = "square_root"
    LINEAR = "linear"


class LegPolicy(StrEnum):
    """What a leg that doesn't fill makes of the trade: it waits, it chases the price as a taker, or the trade is undone."""

    WAIT = "wait"
    CHASE = "chase"
    UNDO = "undo"


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How orders are carried out and what they cost, as fractions; None takes the venue's rule-book, quotes and series where the data have them.

    A tuple of two is for the long and the short slot: half_spread, impact and latency take one. Impact on a fill, as a fraction of the price: impact·√(notional/traded value of a day), or with
    `impact_model="linear"` impact·notional/depth. `half_spread` and `stress` may be signals: one value a bar, as known at its end.
    `deleveraged_at`, `deleveraged_gap` and `recalled_at` make a bad day happen: the venue takes winning derivatives away, and coins that were lent are called back.
    """

    margin: Margin = param(Margin.ISOLATED, "isolated, cross or off")
    spot_fee: float | None = param(None, "trading fee of spot legs (default: the venue's)")
    derivative_fee: float | None = param(None, "trading fee of perpetuals and futures (default: the venue's)")
    half_spread: float | Signal | tuple[float | Signal | None, float | Signal | None] | None = param(
        None, "half the spread paid at each fill, one number or two: long,short (default: the data's quotes, else 1 bp)"
    )
    delivery_fee: float | None = param(None, "fee at settlement (default: the venue's)")
    liquidation_fee: float | None = param(None, "fee of a liquidation (default: the venue's)")
    maintenance: float | None = param(None, "maintenance margin rate without tiers (default: the venue's tiers)")
    idle_rate: float | None = param(None, "yearly rate on idle cash (default: the dataset's risk_free, else 0)")
    borrow_rate: float | None = param(None, "yearly rate on borrowed cash (default: the dataset's borrow_usd, else 0)")
    funding: MissingFunding = param(MissingFunding.ERROR, "missing funding events: error, or fill with the mean of their neighbours")
    funding_snapshot: float = param(0.0, "seconds after a funding event at which the position that pays it is taken")
    maker: MakerLegs = param(MakerLegs.NONE, "legs whose orders rest in the book: none, long, short or both")
    latency: Duration | tuple[Duration, Duration] | None = param(None, "time from a decision to the market, one or two: long,short")
    impact: float | tuple[float, float] | None = param(
        None, "price moves by this times the root of the order's share of a day's volume, as 0.02; one number or two: long,short"
    )
    impact_model: ImpactModel = param(ImpactModel.SQUARE_ROOT, "square_root of the share of a day's volume, or linear in that of the depth")
    participation: float | None = param(None, "trade at most this fraction of a bar's volume")
    stress: float | Signal = param(1.0, "multiply spread and impact by this, and divide the volume one may trade")
    stressed: float | None = param(None, "multiply by this too where the regime is stressed")
    policy: LegPolicy = param(LegPolicy.WAIT, "when a leg has not filled for as long as patience: wait, chase or undo")
    patience: Duration | None = param(None, "time that a leg may wait to fill before the policy acts")
    wallets: tuple[float, float] | None = param(None, "shares of the capital where the long and the short leg trade, as 0.6,0.4")
    transfer_delay: Duration | None = param(None, "time that money sent to a wallet or margin account takes (default: none)")
    transfer_fee: float = param(0.0, "fee of a transfer, in the quote currency")
    top_up: float | None = param(None, "send collateral when less than this fraction of the initial margin is left")
    deleveraged_at: str | pd.Timestamp | None = None
    deleveraged_gap: float = 0.0
    recalled_at: str | pd.Timestamp | None = None

    def __post_init__(self) -> None:
        for name, kind in (
            ("margin", Margin), ("funding", MissingFunding), ("maker", MakerLegs), ("impact_model", ImpactModel), ("policy", LegPolicy),
        ):  # fmt: skip
            object.__setattr__(self, name, choice(name, getattr(self, name), kind))
        for name in ("spot_fee", "derivative_fee", "delivery_fee", "liquidation_fee", "maintenance", "borrow_rate", "deleveraged_gap"):
            fraction(name, getattr(self, name))
        for value in self.half_spreads:
            if value is None or is_number(value):
                fraction("half_spread", value)
        number("idle_rate", self.idle_rate, least=-HIGHEST_RATE, most=HIGHEST_RATE)
        number("funding_snapshot", self.funding_snapshot)
        for impact in self.impacts:
            number("impact", impact, least=0.0)
        if isinstance(self.stress, tuple):
            raise ParameterError(
                f"stress is one for both legs: stress={shown(self.stress)}; give one number or one signal, as tuples are for half_spread, impact and latency"
            )
        if is_number(self.stress):
            number("stress", self.stress, above=0.0, most=MOST)
        number("stressed", self.stressed, above=0.0, most=MOST)
        for name in ("deleveraged_at", "recalled_at"):
            instant(name, getattr(self, name))
        for name in ("participation", "top_up"):
            number(name, value := getattr(self, name), above=0.0)
            if value is not None and value > 1.0:
                raise ParameterError(f"{name} is a fraction: {name}={value:g} must be at most 1; a tenth is 0.1")
        for name in ("funding_snapshot", "transfer_fee", "deleveraged_gap", "stress"):
            if getattr(self, name) is None:
                raise ParameterError(f"{name} must be a number: {name}=None; leave it out for none")
        _ = self.latencies
        self._check_policy()
        self._check_money()
        if self.deleveraged_gap and self.deleveraged_at is None:
            raise ParameterError(f"deleveraged_gap needs its instant: deleveraged_gap={self.deleveraged_gap:g}; give deleveraged_at=…")

    def _check_policy(self) -> None:
        """A policy that acts has its patience, and patience a policy."""
        duration("patience", self.patience)
        acts = self.policy is not LegPolicy.WAIT
        if acts and self.patience is None:
            raise ParameterError(f'policy "{self.policy}" needs patience: policy={self.policy}, patience=None; give patience="5min"')
        if self.patience is not None and not acts:
            raise ParameterError(f"patience needs a policy to act on: patience={self.patience!r}, policy=wait; give policy=chase or undo")

    def _check_money(self) -> None:
        """Wallets share the capital; transfers need somewhere to go; top-ups an account of its own."""
        if self.wallets is not None:
            shares = pair_of("wallets", self.wallets, "two shares of the capital, as (0.6, 0.4)")
            for share in shares:
                number("wallets", share)
            if not (all(share is not None and 0.0 < share < 1.0 for share in shares) and abs(sum(shares) - 1.0) <= WHOLE):
                raise ParameterError(
                    f"wallets share the capital: wallets={self.wallets} must lie between 0 and 1 and sum to 1; as (0.6, 0.4)"
                )
        number("transfer_fee", self.transfer_fee, least=0.0)
        duration("transfer_delay", self.transfer_delay, zero=True)
        for name, idle in (("transfer_delay", None), ("transfer_fee", 0.0)):
            if (value := getattr(self, name)) != idle and self.wallets is None and self.top_up is None:
                raise ParameterError(
                    f"{name} needs transfers: {name}={value!r} without wallets and top_up; give wallets=(0.6, 0.4) or top_up=0.5"
                )
        if self.top_up is not None and self.margin is not Margin.ISOLATED:
            raise ParameterError(f"top_up needs isolated margin: top_up={self.top_up:g}, margin={self.margin}; leave one of them out")

    @property
    def half_spreads(self) -> tuple[float | Signal | None, float | Signal | None]:
        """Half the spread of the long and of the short slot; None where quotes or the default hold."""
        if not isinstance(self.half_spread, tuple):
            return self.half_spread, self.half_spread
        if len(self.half_spread) != 2:
            raise ParameterError(
                f"half_spread takes one number, or two for the long and the short leg: half_spread={shown(self.half_spread)}"
            )
        return self.half_spread

    @property
    def impacts(self) -> tuple[float, float]:
        """The impact coefficient of the long and of the short slot; 0 for none."""
        both = self.impact if isinstance(self.impact, tuple) else (self.impact, self.impact)
        long, short = pair_of("impact", both, "one number, or two for the long and the short leg")
        return 0.0 if long is None else long, 0.0 if short is None else short

    @property
    def latencies(self) -> tuple[int, int]:
        """Nanoseconds from a decision to the market, of the long and of the short slot."""
        both = self.latency if isinstance(self.latency, tuple) else (self.latency, self.latency)
        long, short = pair_of("latency", both, "one duration, or two for the long and the short leg")
        return duration("latency", long, zero=True) or 0, duration("latency", short, zero=True) or 0

    @property
    def makers(self) -> tuple[bool, bool]:
        """Whether the long and the short slot rest their orders."""
        return self.maker in (MakerLegs.LONG, MakerLegs.BOTH), self.maker in (MakerLegs.SHORT, MakerLegs.BOTH)

    @property
    def stresses(self) -> bool:
        """Whether a stress multiplier may differ from 1."""
        return self.stressed is not None or not is_number(self.stress) or self.stress != 1.0

    @classmethod
    def free(cls) -> "Execution":
        """No costs at all."""
        return cls(spot_fee=0.0, derivative_fee=0.0, half_spread=0.0, delivery_fee=0.0, liquidation_fee=0.0)


def check_together(rule: Rule, execution: Execution) -> None:
    """ParameterError for an execution that this rule's legs can't have, whatever the market."""
    present = [leg is not None for leg in rule.legs]
    if not all(present):
        for name, value in (("wallets", execution.wallets), ("policy", execution.policy)):
            if value is not None and value not in (LegPolicy.WAIT, LegPolicy.CHASE):
                raise ParameterError(f"{name} needs two legs: {name}={value} with one leg; give the other leg, or leave it out")
        for slot, made, there in zip(("long", "short"), execution.makers, present, strict=True):
            if execution.maker in (MakerLegs.LONG, MakerLegs.SHORT) and made and not there:
                raise ParameterError(
                    f"maker names a leg that the rule lacks: maker={execution.maker}, {slot}=None; give maker=both or the other"
                )
    if execution.top_up is not None and all(leg is None or leg.kind is Kind.SPOT for leg in rule.legs):
        raise ParameterError(f"top_up needs a derivative leg: top_up={execution.top_up:g} with spots only; leave it out")


def fitting(rule: Rule, execution: Execution, instruments: Mapping[str, Instrument]) -> Execution:
    """An execution without what this rule's legs can't have: of a book it is asked of the rules that can."""
    changes: dict[str, Any] = {}
    present = [leg is not None for leg in rule.legs]
    if not all(present) and execution.policy is LegPolicy.UNDO:
        changes |= {"policy": LegPolicy.WAIT, "patience": None}
    if execution.maker in (MakerLegs.LONG, MakerLegs.SHORT) and not present[execution.makers.index(True)]:
        changes["maker"] = MakerLegs.NONE
    items = [instruments.get(name) for leg in rule.legs if leg is not None for name in leg.contracts]
    inverse = any(item is not None and item.settle is Settle.INVERSE for item in items)
    if execution.top_up is not None and (inverse or all(leg is None or leg.kind is Kind.SPOT for leg in rule.legs)):
        changes |= {"top_up": None, "transfer_delay": None, "transfer_fee": 0.0}
    return replace(execution, **changes) if changes else execution


def is_number(value: object) -> TypeGuard[float]:
    """Whether a setting is one number and no signal; a text is neither, and is told so as a number."""
    return isinstance(value, (*NUMBERS, str))


def pair_of(name: str, value: Any, wanted: str) -> tuple[Any, Any]:
    """The two parts of a setting; ParameterError for any other count."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ParameterError(f"{name} takes {wanted}: {name}={shown(value)}")
    return value[0], value[1]


def fraction(name: str, value: Any) -> None:
    """Raise ParameterError unless value is None or a number in [0, 1)."""
    number(name, value, least=0.0)
    if value is not None and value >= 1.0:
        raise ParameterError(f"{name} is a fraction: {name}={value:g} must be below 1; 10 bps are 0.001")
