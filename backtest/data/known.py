"""A dataset as it was at an instant: what became known later is not in it.

then = Known(open_dataset("data/mine"), pd.Timestamp("2024-03-01T13:00Z"))
then.series("risk_free")  # the rows with known_at up to then
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from backtest.instruments import Instrument

if TYPE_CHECKING:
    from backtest.data.dataset import Dataset

Read = TypeVar("Read")


@dataclass(frozen=True, eq=False)
class Known:
    """What a market asks of `dataset`, without the rows that nobody had at `until`; in memory, and read once each.

    Instruments stay described, as the venue announces them: an expiry date is known before the price of the delivery.
    """

    dataset: "Dataset | Known"
    until: pd.Timestamp
    _read: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    @property
    def instruments(self) -> dict[str, Instrument]:
        """All instruments by id, also those without a bar yet."""
        return self.dataset.instruments

    @property
    def series_names(self) -> list[str]:
        """The names of all series, also of those without a value yet."""
        return self._once("series names", lambda: self.dataset.series_names)

    def bars(
        self, instrument: str, start: pd.Timestamp | None = None, end: pd.Timestamp | None = None, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Bars with start < ts ≤ end that were over."""
        over = self.until if end is None else min(end, self.until)
        key = ("bars", instrument, start, over, None if columns is None else tuple(columns))
        return self._once(key, lambda: self.dataset.bars(instrument, start, over, columns))

    def column(self, instrument: str, name: str, start: pd.Timestamp | None = None, end: pd.Timestamp | None = None) -> pd.Series:
        """One column of the bars with start < ts ≤ end that were over."""
        whole = self._once(("column", instrument, name, start), lambda: self.dataset.column(instrument, name, start))
        over = self.until if end is None else min(end, self.until)
        return whole[whole.index <= over] if len(whole) else whole

    def columns(self, instrument: str) -> list[str]:
        """The names of the columns that an instrument's bars have at any time."""
        return self._once(("columns", instrument), lambda: self.dataset.columns(instrument))

    def funding(self, instrument: str) -> pd.DataFrame:
        """The funding events that had been paid."""
        table = self._once(("funding", instrument), lambda: self.dataset.funding(instrument))
        return table[table.index <= self.until] if len(table) else table

    def settlements(self) -> pd.DataFrame:
        """The settlement prices of contracts that had expired; their rows may be stamped later than the deliveries."""
        return self._once("settlements", self._settlements)

    def _settlements(self) -> pd.DataFrame:
        table = self.dataset.settlements()
        described = (self.instruments.get(name) for name in table["instrument"])
        expiries = [None if one is None else one.expires_at for one in described]
        ends = [stamp if expiry is None else expiry for expiry, stamp in zip(expiries, table["ts"], strict=True)]
        return table[np.array([pd.notna(end) and end <= self.until for end in ends], dtype=bool)]

    def series(self, name: str) -> pd.DataFrame:
        """The rows of a series that had been published."""
        table = self._once(("series", name), lambda: self.dataset.series(name))
        return table[table["known_at"] <= self.until] if len(table) else table

    def events(self) -> pd.DataFrame:
        """The events that had been announced, or were over."""
        table = self._once("events", lambda: self.dataset.events())
        if not len(table):
            return table
        told = table["ts"] <= self.until
        return table[told | (table["known_at"] <= self.until)] if "known_at" in table else table[told]

    def _once(self, key: Hashable, read: Callable[[], Read]) -> Read:
        if key not in self._read:
            self._read[key] = read()
        found: Read = self._read[key]
        return found
