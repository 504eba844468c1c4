"""The rules of a venue on one day. Asking for what the rule-book does not have is an error that names it; nothing is guessed.

rules = venue("binance").at(pd.Timestamp("2024-10-01", tz="UTC"))
rules.fee(Kind.PERPETUAL), rules.tiers_of(Kind.FUTURE), rules.funding.rate(premium), rules.settlement.window
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.errors import DataError
from backtest.instruments import Kind, Settle
from backtest.venues import funding
from backtest.venues.book import TABLES, Entry, newest

Floats = npt.NDArray[np.float64]

_ARTICLE = {Kind.SPOT: "spot", Kind.PERPETUAL: "a perpetual", Kind.FUTURE: "a dated future"}
_REMEDY = {
    "fees": "give spot_fee or derivative_fee in Execution",
    "contract_fees": "give derivative_fee in Execution",
    "delivery": "give delivery_fee in Execution",
    "liquidation": "give liquidation_fee in Execution",
    "margin": "give maintenance in Execution",
    "funding": "import the funding that was paid",
    "funding_cap": "give cap to rate()",
    "settlement": "import its settlement prices",
    "lots": "import the instrument's tick and lot",
    "calendar": "import the instruments with their expiry",
    "hours": "check its bars without a calendar",
}


@dataclass(frozen=True, kw_only=True)
class Tier:
    """Maintenance margin of a notional above `floor`: notional·rate − deduction."""

    floor: float
    rate: float
    deduction: float


@dataclass(frozen=True, kw_only=True)
class Charge:
    """A fee as a fraction of the notional, and an amount for each base unit (in the quote currency), where the venue charges by the contract."""

    rate: float
    unit: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Lots:
    """Price step, quantity step in base units (in quote units for an inverse contract) and least notional; None is not known."""

    tick: float | None
    lot: float | None
    min_notional: float | None


@dataclass(frozen=True, kw_only=True)
class SettlementRule:
    """A dated future settles at `time` in `zone` to the mean of `price` over the `window` before it."""

    time: str
    zone: str
    window: pd.Timedelta
    price: str


@dataclass(frozen=True, kw_only=True)
class FundingRule:
    """How a perpetual's funding is made: the formula, when it is paid, and on which notional (mark, index or oracle price times size)."""

    rules: "VenueRules"
    formula: str | None
    interest_per_day: float
    clamp: float
    interval_hours: float | None
    average: str | None
    notional: str | None
    paid: str

    @property
    def interval(self) -> pd.Timedelta:
        """Time between two payments; DataError where funding is paid continuously."""
        if self.interval_hours is None:
            raise DataError(f'venue "{self.rules.venue}" pays funding continuously and has no interval; import the funding that was paid')
        return pd.Timedelta(hours=self.interval_hours)

    @property
    def cap(self) -> float:
        """Largest rate of one payment (of 8 hours where funding is continuous); DataError where it is not known."""
        return float(self.rules.entry("funding_cap", Kind.PERPETUAL).values["cap"])

    def rate(self, premium: npt.ArrayLike, *, hours: float | None = None, cap: float | None = None) -> Floats:
        """Rate paid for an interval whose average premium is this, as a fraction of the notional.

        hours: length of the interval where it is not the usual one, or where funding is continuous. cap: the largest rate (default: the rule-book's).
        """
        if self.formula is None:
            raise self.rules.missing("funding formula", Kind.PERPETUAL, "import the funding that was paid")
        length = self.interval.total_seconds() / 3600.0 if hours is None else hours
        limit = self.cap if cap is None else cap
        return self._FORMULAS[self.formula](self, premium, length, limit)

    def _divided(self, premium: npt.ArrayLike, hours: float, cap: float) -> Floats:
        """An 8 h rate, of which each interval pays its part."""
        return funding.clamped_premium(premium, interest=self.interest_per_day / 3.0, clamp=self.clamp, interval_hours=hours, cap=cap)

    def _whole(self, premium: npt.ArrayLike, hours: float, cap: float) -> Floats:
        """The interval's own rate: its premium whole, with the interest of its length."""
        interest = self.interest_per_day * hours / 24.0
        return funding.clamped_premium(premium, interest=interest, clamp=self.clamp, interval_hours=hours, rate_hours=hours, cap=cap)

    def _damped(self, premium: npt.ArrayLike, hours: float, cap: float) -> Floats:
        return funding.damped_premium(premium, damper=self.clamp, interval_hours=hours, cap=cap)

    def _mean(self, premium: npt.ArrayLike, hours: float, cap: float) -> Floats:
        return funding.mean_premium(premium, interest=self.interest_per_day * hours / 24.0, cap=cap)

    def _plus(self, premium: npt.ArrayLike, hours: float, cap: float) -> Floats:
        return funding.premium_plus_interest(premium, interest=self.interest_per_day / 3.0, interval_hours=hours, cap=cap)

    _FORMULAS: ClassVar[dict[str, Callable[..., Floats]]] = {
        "clamped, of 8 h": _divided,
        "clamped, of the interval": _whole,
        "damped": _damped,
        "mean": _mean,
        "premium and interest": _plus,
    }


class _Fee:
    """A fee that is read from the rule-book unless `dataclasses.replace` has set another one."""

    def __init__(self, *kinds: Kind) -> None:
        self.kinds = kinds

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, rules: "VenueRules | None", owner: type | None = None) -> float:
        if rules is None:  # the default that the dataclass sees
            return np.nan
        given = float(rules.__dict__.get(self.name, np.nan))
        return rules.traded_fee(*self.kinds) if np.isnan(given) else given

    def __set__(self, rules: "VenueRules", value: float) -> None:
        rules.__dict__[self.name] = value


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class VenueRules:
    """The rules of one day for instruments on one base asset. Fees are fractions of the notional, those of the base tier."""

    venue: str
    time: pd.Timestamp
    base: str
    settle: Settle
    entries: tuple[Entry, ...]
    spot_fee: _Fee = _Fee(Kind.SPOT)
    derivative_fee: _Fee = _Fee(Kind.FUTURE, Kind.PERPETUAL)

    def __repr__(self) -> str:
        return f"VenueRules({self.venue!r}, {self.time:%Y-%m-%d}, {self.base}, {self.settle})"

    def find(self, table: str, kind: Kind) -> Entry | None:
        """The entry of a table in force for a kind of instrument; None where there is none, or only one that says `unknown`.

        `unknown = true` stands where a rule is known to have changed, and what it became is not: the rule before it must not live on.
        """
        fitting = [entry for entry in self.entries if entry.table == table and entry.fits(kind, self.base, self.settle)]
        found = newest(fitting, self.time.date())
        return None if found is None or found.values.get("unknown") else found

    def changes(self, tables: Sequence[str], kind: Kind) -> list[date]:
        """The days on which an entry of these tables begins for a kind of instrument, in order; `date.min` for one that is assumed from the beginning."""
        return sorted({entry.start for entry in self.entries if entry.table in tables and entry.fits(kind, self.base, self.settle)})

    def entry(self, table: str, kind: Kind) -> Entry:
        """The entry of a table in force for a kind of instrument; DataError where there is none."""
        found = self.find(table, kind)
        if found is None:
            raise self.missing(table, kind, f"{_REMEDY[table]}, or add a dated and sourced entry to {self.venue}.toml")
        return found

    def missing(self, what: str, kind: Kind, remedy: str) -> DataError:
        """The error for a rule that the rule-book does not have."""
        which = f"{_ARTICLE[kind]} ({self.base}{'' if kind is Kind.SPOT else f', {self.settle}'})"
        return DataError(f'venue "{self.venue}" has no rule "{what}" for {which} on {self.time:%Y-%m-%d}; {remedy}')

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What these rules take for granted: entries used on a day before they are known to have held, one sentence each."""
        day = self.time.date()
        used: dict[Entry, list[str]] = {}
        for table in TABLES:
            for kind in Kind:
                found = self.find(table, kind)
                if found is not None and found.assumed(day):
                    used.setdefault(found, []).append(kind.value)
        return tuple(
            f"{self.venue} {entry.table} ({', '.join(kinds)}): the entry of {entry.since} is assumed on {day}, no earlier one is sourced"
            for entry, kinds in used.items()
        )

    # ------------------------------------------------------------ fees

    def traded_fee(self, *kinds: Kind, maker: bool = False) -> float:
        """Base-tier fee of the first of these kinds that has one."""
        found = next((entry for entry in (self.find("fees", kind) for kind in kinds) if entry is not None), None)
        if found is None:
            found = self.entry("contract_fees" if any(self.find("contract_fees", kind) for kind in kinds) else "fees", kinds[0])
        if found.table == "contract_fees":
            raise DataError(
                f'venue "{self.venue}" charges {self.base} contracts by the piece and not by notional: '
                f"{', '.join(f'{name} {fee:g} USD' for name, fee in found.values['per_contract'].items())}; give derivative_fee in Execution"
            )
        return float(found.values["maker" if maker else "taker"])

    def fee(self, kind: Kind, *, maker: bool = False) -> float:
        """Trading fee of an instrument of this kind: taker unless maker is asked for."""
        name = "spot_fee" if kind is Kind.SPOT else "derivative_fee"
        given = float(self.__dict__.get(name, np.nan))
        return given if not np.isnan(given) else self.traded_fee(kind, maker=maker)

    def contract_fee(self, kind: Kind) -> dict[str, float]:
        """Fee of one contract by its root, in USD, where the venue charges by the piece."""
        return dict(self.entry("contract_fees", kind).values["per_contract"])

    def charge(self, kind: Kind, coins: float, *, maker: bool = False) -> Charge:
        """Trading fee of an instrument of this kind whose contract is so many coins, whichever way the venue charges it."""
        if self.find("fees", kind) is None and (found := self.find("contract_fees", kind)) is not None:
            return Charge(rate=0.0, unit=self._of_a_coin(found, coins))
        return Charge(rate=self.fee(kind, maker=maker))

    def delivery_charge(self, coins: float) -> Charge:
        """Fee of holding a dated future, whose contract is so many coins, into its settlement."""
        found = self.entry("delivery", Kind.FUTURE)
        if "per_contract" in found.values:
            return Charge(rate=0.0, unit=self._of_a_coin(found, coins))
        return self.charge(Kind.FUTURE, coins) if found.values["fee"] == "taker" else Charge(rate=float(found.values["fee"]))

    def _of_a_coin(self, entry: Entry, coins: float) -> float:
        """The fee of one coin where contracts of several sizes pay by the piece: a contract is told by its size."""
        sizes = dict(zip(entry.values["per_contract"], entry.values["coins"], strict=True))
        root = next((name for name, size in sizes.items() if math.isclose(size, coins)), None)
        if root is None:
            known = ", ".join(f"{name} {size:g}" for name, size in sizes.items())
            remedy = "delivery_fee" if entry.table == "delivery" else "derivative_fee"
            raise DataError(
                f'venue "{self.venue}" charges {self.base} contracts by the piece, and none is of {coins:g} {self.base} ({known}); import the contract\'s '
                f"multiplier, or give {remedy} in Execution"
            )
        return float(entry.values["per_contract"][root]) / float(sizes[root])

    @property
    def delivery_fee(self) -> float:
        """Fee of holding a dated future into its settlement."""
        found = self.entry("delivery", Kind.FUTURE).values
        return self.fee(Kind.FUTURE) if found["fee"] == "taker" else float(found["fee"])

    def liquidation_fee(self, kind: Kind) -> float:
        """Liquidation fee of a derivative of this kind."""
        return float(self.entry("liquidation", kind).values["fee"])

    # ------------------------------------------------------------ margin

    def tiers_of(self, kind: Kind) -> tuple[Tier, ...]:
        """Maintenance tiers of a kind of derivative, in quote currency, of inverse contracts in coins; the deductions keep the margin continuous.

        The last tier holds above its bound too. A table that doesn't say that it is for inverse contracts is not in coins.
        """
        found = self.entry("margin", kind)
        if self.settle is Settle.INVERSE and found.settle is not Settle.INVERSE:
            raise self.missing("margin in coins", kind, f"{_REMEDY['margin']}, or add a dated and sourced entry to {self.venue}.toml")
        values = found.values
        if "tiers" not in values:
            raise DataError(
                f'venue "{self.venue}" has no tiers: its maintenance margin is {values["maintenance"]:g} of the position and grows by '
                f"{values['growth_per_coin']:g} a coin; give maintenance in Execution"
            )
        tiers, floor, before, deduction = list[Tier](), 0.0, 0.0, 0.0
        for bound, rate in values["tiers"]:
            deduction += floor * (rate - before)
            tiers.append(Tier(floor=floor, rate=rate, deduction=deduction))
            floor, before = float(bound), rate
        return tuple(tiers)

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """Maintenance tiers of the perpetual."""
        return self.tiers_of(Kind.PERPETUAL)

    # ------------------------------------------------------------ funding, settlement, steps

    @property
    def funding(self) -> FundingRule:
        """How the perpetual's funding is made and paid."""
        values = dict[str, Any](self.entry("funding", Kind.PERPETUAL).values)
        hours = values.get("interval_hours")
        return FundingRule(
            rules=self,
            formula=values.get("formula"),
            interest_per_day=values.get("interest_per_day", 0.0),
            clamp=values.get("clamp", 0.0),
            interval_hours=None if hours is None else float(hours),
            average=values.get("average"),
            notional=values.get("notional"),
            paid=values["paid"],
        )

    @property
    def funding_interval(self) -> pd.Timedelta:
        """Time between two funding payments."""
        return self.funding.interval

    @property
    def settlement(self) -> SettlementRule:
        """When and to what a dated future settles."""
        values = self.entry("settlement", Kind.FUTURE).values
        window = pd.Timedelta(minutes=values["window_minutes"])
        return SettlementRule(time=values["time"], zone=values["zone"], window=window, price=values["price"])

    @property
    def settlement_window(self) -> pd.Timedelta:
        """Length of the average that a dated future settles to."""
        return self.settlement.window

    def lots(self, kind: Kind) -> Lots:
        """Steps of price and quantity."""
        values = self.entry("lots", kind).values
        return Lots(tick=values.get("tick"), lot=values.get("lot"), min_notional=values.get("min_notional"))
