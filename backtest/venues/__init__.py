"""The venue rule-book: one TOML a venue, every entry with the day it holds from, its source and how sure that is.

rules = venue("binance").at(pd.Timestamp("2024-10-01", tz="UTC"))
rules.fee(Kind.PERPETUAL), rules.tiers, rules.funding.rate(premium), rules.assumptions

`backtest.venues.funding` has the formulas as plain functions, `backtest.venues.calendar` expiries and trading hours.
"""

from dataclasses import dataclass
from functools import cache

import pandas as pd

from backtest.instruments import Instrument, Settle
from backtest.venues.book import Entry, names, read
from backtest.venues.rules import FundingRule, Lots, SettlementRule, Tier, VenueRules

__all__ = ["Entry", "FundingRule", "Lots", "SettlementRule", "Tier", "Venue", "VenueRules", "rules_of", "venue", "venue_names"]

BASE = "ETH"  # whose rules are meant where no instrument says


@dataclass(frozen=True)
class Venue:
    """A venue's dated entries."""

    name: str
    title: str
    entries: tuple[Entry, ...]

    def at(self, time: pd.Timestamp, *, base: str = BASE, settle: Settle = Settle.LINEAR) -> VenueRules:
        """The rules in force at a time for instruments on a base asset; a rule that the book does not have fails when it is asked for."""
        return VenueRules(venue=self.name, time=time, base=base, settle=settle, entries=self.entries)


@cache
def venue(name: str) -> Venue:
    """The rule-book of a venue; DataError for an unknown one."""
    return Venue(name, *read(name))


def venue_names() -> tuple[str, ...]:
    """The venues that have a rule-book."""
    return names()


def rules_of(instrument: Instrument, time: pd.Timestamp) -> VenueRules:
    """The rules of an instrument's venue at a time, for its base asset and its way of settling."""
    return venue(instrument.venue).at(time, base=instrument.base, settle=instrument.settle)
