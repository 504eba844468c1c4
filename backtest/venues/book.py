"""The entries of a rule-book: what holds for which product from which day on, where that is written, and how sure it is.

A TOML file has tables of entries. Every entry carries `from` (the day it took effect, or the first day it is known to have held), `source` and `sure`
(doc: the venue's own words, data: checked against data, note: second-hand); `products`, `bases` and `settle` narrow what it is for. A day before the
first entry of a table has no rule, unless that entry says `assumed_before = true`: then it is taken, and the rules list it among their assumptions. So
does an entry with `assumed_from`: where the day of a change is not known, the dearer rule is taken from the day after the other was last seen.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from backtest.errors import DataError, did_you_mean
from backtest.instruments import Kind, Settle

TABLES = ("fees", "contract_fees", "delivery", "liquidation", "margin", "funding", "funding_cap", "settlement", "lots", "calendar", "hours")
SURE = {"doc": "the venue's own words", "data": "checked against data", "note": "second-hand"}
_ABOUT = ("from", "source", "sure", "products", "bases", "settle", "assumed_before", "assumed_from")


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One dated entry of a table; empty products or bases and no settle mean all."""

    table: str
    since: date
    source: str
    sure: str
    products: tuple[Kind, ...] = ()
    bases: tuple[str, ...] = ()
    settle: Settle | None = None
    assumed_from: date | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scope(self) -> tuple[Any, ...]:
        """What it is for; entries of one table and one scope follow each other."""
        return self.products, self.bases, self.settle

    def fits(self, kind: Kind, base: str, settle: Settle) -> bool:
        """Whether it is for such an instrument."""
        return (not self.products or kind in self.products) and (not self.bases or base in self.bases) and self.settle in (None, settle)

    @property
    def start(self) -> date:
        """The first day on which it is taken."""
        return self.since if self.assumed_from is None else self.assumed_from

    def assumed(self, day: date) -> bool:
        """Whether taking it on this day means to assume that it held before it is known to."""
        return self.start <= day < self.since


def newest(entries: Sequence[Entry], day: date) -> Entry | None:
    """The entry in force on a day: of the narrowest scope that has one the newest."""
    held = [entry for entry in entries if entry.start <= day]
    return max(held, key=lambda entry: (bool(entry.bases) + (entry.settle is not None), entry.start)) if held else None


@cache
def names() -> tuple[str, ...]:
    """The venues that have a rule-book."""
    return tuple(sorted(item.name.removesuffix(".toml") for item in files("backtest.venues").iterdir() if item.name.endswith(".toml")))


@cache
def read(name: str) -> tuple[str, tuple[Entry, ...]]:
    """Title and entries of a venue's rule-book, in the order of `TABLES`; DataError for an unknown venue."""
    if name not in names():
        raise DataError(f'no rule-book for venue "{name}": its fees, funding and margin are unknown; {did_you_mean(name, list(names()))}')
    content = tomllib.loads((files("backtest.venues") / f"{name}.toml").read_text(encoding="utf-8"))
    return content["title"], tuple(_entry(table, row) for table in TABLES for row in content.get(table, ()))


def _entry(table: str, row: Mapping[str, Any]) -> Entry:
    return Entry(
        table=table,
        since=row["from"],
        source=row["source"],
        sure=row["sure"],
        products=tuple(Kind(product) for product in row.get("products", ())),
        bases=tuple(row.get("bases", ())),
        settle=Settle(row["settle"]) if "settle" in row else None,
        assumed_from=date.min if row.get("assumed_before") else row.get("assumed_from"),
        values={key: value for key, value in row.items() if key not in _ABOUT},
    )
