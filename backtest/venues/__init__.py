"""The venue rule-book: one TOML a venue, every entry with the date it holds from and its source.

rules = venue("binance").at(pd.Timestamp("2024-10-01", tz="UTC"))
rules.derivative_fee, rules.tiers
"""

import tomllib
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

from backtest.errors import DataError, did_you_mean
from backtest.instruments import Instrument, Kind


@dataclass(frozen=True, kw_only=True)
class Tier:
    """Maintenance margin of a notional above `floor`: notional·rate − deduction."""

    floor: float
    rate: float
    deduction: float


@dataclass(frozen=True, kw_only=True)
class VenueRules:
    """The rules of one day. Fees are fractions of the notional."""

    spot_fee: float
    derivative_fee: float
    delivery_fee: float
    perpetual_liquidation_fee: float
    future_liquidation_fee: float
    tiers: tuple[Tier, ...]
    settlement_window: pd.Timedelta
    funding_interval: pd.Timedelta

    def fee(self, kind: Kind) -> float:
        """Trading fee of an instrument of this kind."""
        return self.spot_fee if kind is Kind.SPOT else self.derivative_fee

    def liquidation_fee(self, kind: Kind) -> float:
        """Liquidation fee of a derivative of this kind."""
        return self.perpetual_liquidation_fee if kind is Kind.PERPETUAL else self.future_liquidation_fee


@dataclass(frozen=True)
class Venue:
    """A venue's dated entries."""

    name: str
    tables: dict[str, Any]

    def at(self, time: pd.Timestamp) -> VenueRules:
        """The rules in force at a time: of each table the newest entry, the oldest one before the first."""
        entry = {name: self._entry(name, time.date()) for name in ("fees", "liquidation", "margin", "settlement", "funding")}
        floor, tiers = 0.0, []
        for bound, rate, deduction in entry["margin"]["tiers"]:
            tiers.append(Tier(floor=floor, rate=rate, deduction=deduction))
            floor = float(bound)
        return VenueRules(
            spot_fee=entry["fees"]["spot"],
            derivative_fee=entry["fees"]["derivative"],
            delivery_fee=entry["fees"]["delivery"],
            perpetual_liquidation_fee=entry["liquidation"]["perpetual"],
            future_liquidation_fee=entry["liquidation"]["future"],
            tiers=tuple(tiers),
            settlement_window=pd.Timedelta(minutes=entry["settlement"]["window_minutes"]),
            funding_interval=pd.Timedelta(hours=entry["funding"]["interval_hours"]),
        )

    def _entry(self, table: str, day: date) -> dict[str, Any]:
        entries = sorted(self.tables[table], key=lambda entry: entry["from"])
        return next((entry for entry in reversed(entries) if entry["from"] <= day), entries[0])


@cache
def venue(name: str) -> Venue:
    """The rule-book of a venue; DataError for an unknown one."""
    folder = files(__package__)
    known = sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))
    if name not in known:
        raise DataError(f'no rule-book for venue "{name}": fees and margin are unknown; {did_you_mean(name, known)}')
    return Venue(name, tomllib.loads((folder / f"{name}.toml").read_text()))


def rules_of(instrument: Instrument, time: pd.Timestamp) -> VenueRules:
    """The rules of an instrument's venue at a time."""
    return venue(instrument.venue).at(time)
