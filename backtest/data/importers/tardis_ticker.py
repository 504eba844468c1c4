"""Bars and funding events out of Tardis' `derivative_ticker`: the state of a derivative, a row at each change.

A bar that ends at T covers (T − length, T] by the time of arrival: prices of the last trades, the mark at its end and its extremes, index and
open interest at its end. A funding event is paid at `funding_timestamp` at the rate that the last row before it told; rows that come after the
time they name are no evidence of what was paid and are counted.

    ticker = Ticker(one, pd.Timedelta("1h"))
    ticker.add(table)
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtest.data.importers.canonical import interval_hours
from backtest.data.importers.common import Csv, Part
from backtest.data.importers.source import Source
from backtest.data.validate import Where, show_time
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind

_COMBINE = {
    "open": "first",
    "high": "max",
    "low": "min",
    "close": "last",
    "mark": "last",
    "mark_high": "max",
    "mark_low": "min",
    "index": "last",
    "open_interest": "last",
}
# a rate is what was paid if it was told as late as this before the payment
_FINAL = pd.Timedelta("1min").value


@dataclass(frozen=True)
class _Told:
    """A rate as it was told last before its payment."""

    stamp: int
    rate: float
    mark: float


class Ticker:
    """What the files of one market have told so far: bars not yet given out, the last state, the funding ahead."""

    def __init__(self, one: Instrument, length: pd.Timedelta) -> None:
        self.one, self.length = one, length.as_unit("ns").value
        self.bars: pd.DataFrame | None = None
        self.funding: dict[int, _Told] = {}
        self.late = self.early = 0
        self.last_stamp = 0
        self.last_price = np.nan
        self.source: Source | None = None

    def add(self, table: Csv) -> None:
        """Take in a block of rows of this market; raises `DataError` for rows that are not in order of arrival."""
        self.source = table.source
        known = table.times("local_timestamp").asi8
        back = np.flatnonzero(np.diff(known, prepend=self.last_stamp) < 0)
        if len(back):
            row = int(back[0])
            time = show_time(pd.Timestamp(known[row], tz="UTC"))
            raise DataError(f"{table.where(row)}: local_timestamp {time} is before the row above's; rows must be in order; sort them")
        self._add_bars(table, known)
        if self.one.kind is Kind.PERPETUAL:
            self._add_funding(table)
        self.last_stamp = int(known[-1])

    def parts(self, source: Source) -> Iterator[Part]:
        """The bars that no later row can change."""
        if self.bars is not None and len(self.bars) > 1 and self.source is source:
            whole, self.bars = self.bars.iloc[:-1], self.bars.iloc[-1:]
            yield self._part(source, whole)

    def rest(self) -> Iterator[Part]:
        """The last bar and the funding events."""
        assert self.source is not None  # made by `add`
        if self.bars is not None and len(self.bars):
            yield self._part(self.source, self.bars)
        notes = [f"{self.one.id}: {self.late:,} rows name a funding time that had passed; no event is taken from them"] if self.late else []
        notes += [f"{self.one.id}: {self.early:,} rows have no last price yet and are in no bar"] if self.early else []
        paid = {time: told for time, told in sorted(self.funding.items()) if self.last_stamp >= time - _FINAL}
        if not paid:
            yield Part(source=self.source, instruments=[self.one], notes=notes)
            return
        times = np.array(sorted(self.funding))
        hours = interval_hours(pd.DatetimeIndex(times, tz="UTC"))
        frame = pd.DataFrame(
            {
                "rate": [told.rate for told in paid.values()],
                "interval_hours": hours[np.isin(times, list(paid))],
                "mark_price": [told.mark for told in paid.values()],
            },
            index=pd.DatetimeIndex(list(paid), tz="UTC", name="ts"),
        )
        yield Part(
            source=self.source,
            room="funding",
            key=self.one.id,
            frame=frame,
            where=place_at(self.source.name, "funding of", pd.DatetimeIndex(frame.index)),
            instruments=[self.one],
            notes=notes,
        )

    def _part(self, source: Source, bars: pd.DataFrame) -> Part:
        index = pd.DatetimeIndex(bars.index.to_numpy() * self.length, tz="UTC", name="ts")
        frame = bars.set_axis(index).astype("float64")
        frame = frame[[name for name in frame if name in ("open", "high", "low", "close") or not frame[name].isna().all()]]
        return Part(
            source=source,
            room="bars",
            key=self.one.id,
            frame=frame,
            where=place_at(source.name, "in the bar to", index),
            instruments=[self.one],
        )

    def _add_bars(self, table: Csv, known: np.ndarray) -> None:
        price = pd.Series(table.numbers("last_price"))
        price = price.ffill().fillna(self.last_price)
        traded = price.notna().to_numpy()
        self.early += int((~traded).sum())
        if not traded.any():
            return
        mark = table.numbers("mark_price")
        rows = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), price.to_numpy()))
        rows = rows.assign(mark=mark, mark_high=mark, mark_low=mark)
        rows = rows.assign(index=table.numbers("index_price"), open_interest=table.numbers("open_interest"))
        made = rows[traded].groupby(-(-known[traded] // self.length)).agg(_COMBINE)
        both = made if self.bars is None else pd.concat([self.bars, made])
        self.bars = both.groupby(level=0).agg(_COMBINE)
        self.last_price = float(price.iloc[-1])

    def _add_funding(self, table: Csv) -> None:
        named = np.array([bool(text) for text in table.text("funding_timestamp")], dtype=bool)
        rate = table.numbers("funding_rate")
        told = named & ~np.isnan(rate)
        if not told.any():
            return
        rows = table.rows(told)
        stamp = rows.times("timestamp").asi8
        paid = rows.times("funding_timestamp").round("s").asi8
        mark = rows.numbers("mark_price")
        ahead = stamp < paid
        self.late += int((~ahead).sum())
        rates = rate[told]
        for row in np.flatnonzero(ahead):
            before = self.funding.get(int(paid[row]))
            if before is None or before.stamp <= stamp[row]:
                self.funding[int(paid[row])] = _Told(int(stamp[row]), float(rates[row]), float(mark[row]))


def place_at(name: str, what: str, times: pd.DatetimeIndex) -> Where:
    """Places of rows that were made of many: row → "a.csv in the bar to 2024-03-29T00:01Z"."""
    return lambda row: f"{name} {what} {show_time(times[row])}"
