"""From a venue's API into a dataset, a chunk at a time: what is missing is asked for, put together and committed.

Mark and index prices are columns of the instrument's bars, so they go in with the klines of the same stamps; klines that the dataset has are
not asked for again. Premium index and open interest are series. A chunk is committed whole or not at all: a download that is cut off leaves a
whole dataset, and the next one goes on where it stopped.

    filler = Filler(exchange=exchange, market=as_known(market, dataset), wanted=wanted, progress=progress)
    for window in filler.chunks(dataset): print(filler.bars(window, dataset))
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import pandas as pd

from backtest.data.download.exchange import Exchange, Market
from backtest.data.download.progress import Progress
from backtest.data.download.spans import Span, bar_spans, event_spans, hours_apart, together, touched, windows
from backtest.data.download.wanted import Wanted
from backtest.data.importers.common import Part
from backtest.data.importers.source import Source
from backtest.data.schema import PRICES
from backtest.data.store import Dataset
from backtest.data.validate import show_time
from backtest.instruments import Instrument, Kind

PAGES = 20  # of klines, or of funding, between two commits
COLUMNS = {"mark": ("mark", "mark_high", "mark_low"), "index": ("index",)}
# what becomes a series → its name behind the instrument's id
SERIES = {"premium": "premium_index", "open_interest": "open_interest"}

_SHORTEST_INTERVAL = pd.Timedelta(1, "h")
_LONGEST_INTERVAL = 8.0  # hours; a longer distance of two funding events is a hole


@dataclass(frozen=True, kw_only=True)
class Filler:
    """Fills what a dataset lacks of one market. `dataset` is the one to add to as it is now, None where there is none."""

    exchange: Exchange
    market: Market
    wanted: Wanted
    progress: Progress

    @property
    def instrument(self) -> Instrument:
        """The instrument of the market."""
        return self.market.instrument

    def chunks(self, dataset: Dataset | None) -> list[Span]:
        """Windows of time in which bars are missing, each as long as some pages of klines."""
        stamps = _stamps(dataset, self.instrument.id)
        span, step = self._life("klines"), self.wanted.step
        spans = bar_spans(stamps["close"], *span, step) if self._bars_wanted and span[0] < span[1] else []
        for what in self._columns:
            life = self._life(what)
            if life[0] < life[1]:
                spans += bar_spans(stamps.get(COLUMNS[what][0], stamps["close"][:0]), *life, step)
        return [window for each in together(spans) for window in windows(each, step, self.exchange.venue.rows["klines"] * PAGES)]

    def bars(self, window: Span, dataset: Dataset | None) -> Part | None:
        """The bars of a window that are new or have a new column; None where the venue has nothing."""
        have = _bars(dataset, self.instrument.id, window)
        fresh = self._pages("klines", bar_spans(pd.DatetimeIndex(have.index), *window, self.wanted.step))
        frame = pd.concat([have[[*PRICES]], fresh]).sort_index() if len(fresh) else have[[*PRICES]]
        news = pd.Series(frame.index.isin(fresh.index), index=frame.index)
        for what in self._columns if len(frame) else ():
            column = COLUMNS[what][0]
            known = have.index[have[column].notna()] if column in have else have.index[:0]
            around = (frame.index[0] - self.wanted.step, frame.index[-1])
            spans = touched(bar_spans(pd.DatetimeIndex(known), *around, self.wanted.step), self._life(what))
            more = self._column(what, spans).reindex(frame.index)
            frame = frame.join(more)
            news |= more[column].notna()
        frame = frame[news.to_numpy()].dropna(axis=1, how="all")
        return self._part("bars", self.instrument.id, frame) if len(frame) else None

    def series(self, what: str, dataset: Dataset | None) -> Iterator[Part]:
        """The premium index or open interest, if it is wanted, in pieces of some pages."""
        if not self._asked(what):
            return
        name = f"{self.instrument.id}.{SERIES[what]}"
        there = dataset is not None and name in dataset.series_names
        known = pd.DatetimeIndex(dataset.series(name)["ts"] if dataset is not None and there else [], tz="UTC")
        for each in bar_spans(known, *self._life(what), self.wanted.step):
            for window in windows(each, self.wanted.step, self.exchange.venue.rows[what] * PAGES):
                page = self._pages(what, [window])
                if len(page):
                    times = pd.DatetimeIndex(page.index)
                    yield self._part("series", name, pd.DataFrame({"ts": times, "known_at": times, "value": page["close"].to_numpy()}))

    def funding(self, dataset: Dataset | None) -> Iterator[Part]:
        """Funding events, if they are wanted, in pieces of some pages."""
        if not self._asked("funding"):
            return
        past = _funding(dataset, self.instrument.id)
        start, end = self._life("funding")
        hours = past["interval_hours"].to_numpy() if "interval_hours" in past else np.full(len(past), np.nan)
        for each in event_spans(pd.DatetimeIndex(past.index), hours, start, end):
            before = past[past.index < each[0]].iloc[-1:]
            pages: list[pd.DataFrame] = []
            for page in self._funding_pages(each):
                pages.append(page)
                if len(pages) == PAGES:
                    before = self._intervals(pages, before)
                    yield self._part("funding", self.instrument.id, before)
                    before, pages = before.iloc[-1:], []
            if pages:
                yield self._part("funding", self.instrument.id, self._intervals(pages, before))

    @property
    def notes(self) -> list[str]:
        """What was wanted and the venue does not keep."""
        kept = {what: self._kept_from(what) for what in self.wanted.what if self._asked(what)}
        late = {what: first for what, first in kept.items() if first is not None and first > self.wanted.start}
        return [f"{self.instrument.id}: {self.exchange.venue.name} keeps {what} from {first:%Y-%m-%d} only" for what, first in late.items()]

    def _asked(self, what: str) -> bool:
        """Whether something is wanted that this kind of instrument has."""
        lacking = {Kind.SPOT: (*COLUMNS, *SERIES, "funding"), Kind.FUTURE: ("premium", "funding")}
        return what in self.wanted.what and what not in lacking.get(self.instrument.kind, ())

    @property
    def _columns(self) -> list[str]:
        return [what for what in COLUMNS if self._asked(what)]

    @property
    def _bars_wanted(self) -> bool:
        return "klines" in self.wanted.what or bool(self._columns)

    def _life(self, what: str) -> Span:
        """The part of what was wanted in which the instrument lived and of which the venue keeps `what`."""
        # bars begin at whole steps; a window that does not would cut one in two and lose it
        step, listed = self.wanted.step, self.instrument.listed_at
        starts = [self.wanted.start.ceil(step), None if listed is None else listed.floor(step), self._kept_from(what)]
        ends = [self.wanted.end, self.instrument.expires_at]
        return max(time for time in starts if time is not None), min(time for time in ends if time is not None)

    def _kept_from(self, what: str) -> pd.Timestamp | None:
        """The time from which the venue has `what`; None if it keeps all."""
        venue, step, now = self.exchange.venue, self.wanted.step, pd.Timestamp.now("UTC").as_unit("ns")
        if what in venue.keeps:
            # this border wanders with the clock: one bar's distance, or the venue refuses the beginning of the request
            return (now - venue.keeps[what]).ceil(step) + step
        return (now - venue.keeps_bars * step).ceil(step) if what == "klines" and venue.keeps_bars else None

    def _pages(self, what: str, spans: Sequence[Span]) -> pd.DataFrame:
        """Klines, bars of a price that nobody traded at, or open interest as `close`, over some spans."""
        ask = self.exchange.open_interest if what == "open_interest" else partial(self.exchange.bars, what)
        pages = []
        for each in spans:
            for window in windows(each, self.wanted.step, self.exchange.venue.rows[what]):
                pages.append(ask(self.market, self.wanted.bar, window))
                self.progress.at(f"{self.instrument.id} {what}", window[1])
        pages = [page for page in pages if len(page)]
        return pd.concat(pages).sort_index() if pages else _no_bars()

    def _column(self, what: str, spans: Sequence[Span]) -> pd.DataFrame:
        """The columns that `what` is kept in."""
        named = {"close": what, "high": "mark_high", "low": "mark_low"}
        return self._pages(what, spans).rename(columns=named).loc[:, [*COLUMNS[what]]]

    def _funding_pages(self, span: Span) -> Iterator[pd.DataFrame]:
        (first, last), venue = span, self.exchange.venue
        most = venue.rows["funding"] - 1  # at both ends of a window stands an event
        apart = pd.Timedelta(int(self.market.facts["info"].get("fundingInterval") or 60), "min")
        while first <= last:
            until = last if venue.forward else min(last, first + most * apart)
            page = self.exchange.funding(self.market, (first, until))
            if not venue.forward and len(page) > most and apart > _SHORTEST_INTERVAL:
                apart = max(apart / 2, _SHORTEST_INTERVAL)  # the interval was shorter then, and the page may be cut short
                continue
            self.progress.at(f"{self.instrument.id} funding", until)
            if len(page):
                yield page
            if venue.forward and len(page) < most // 2:  # far from full: there are no more
                return
            first = (page.index[-1] if venue.forward else until) + pd.Timedelta(1, "s")

    def _intervals(self, pages: Sequence[pd.DataFrame], before: pd.DataFrame) -> pd.DataFrame:
        """Some pages of funding with hours since the event before; after a hole the interval is what it was."""
        frame = pd.concat(pages)
        frame = frame[~frame.index.duplicated()].sort_index()
        if self.exchange.venue.interval is not None:
            return frame.assign(interval_hours=self.exchange.venue.interval)
        times = frame.index.append(before.index).sort_values()
        apart = np.round(hours_apart(pd.DatetimeIndex(times)))
        if before.empty:
            apart = np.append(apart[:1] if len(apart) else np.nan, apart)
        past = float(before["interval_hours"].iloc[-1]) if len(before) and "interval_hours" in before else np.nan
        hours = np.empty(len(frame))
        for row, each in enumerate(apart):
            past = float(each) if 1 <= each <= _LONGEST_INTERVAL else past
            hours[row] = past
        return frame.assign(interval_hours=hours)

    def _part(self, room: str, key: str, frame: pd.DataFrame) -> Part:
        what = "" if room == "series" else f" {room}"
        name = f"{self.exchange.venue.name} {key}{what}"
        times = pd.DatetimeIndex(frame["ts"] if "ts" in frame.columns else frame.index)
        return Part(
            source=Source(name, lambda: io.BytesIO(name.encode())),
            room=room,
            key=key,
            frame=frame,
            where=lambda row: f"{name} at {show_time(times[row])}",
            instruments=[self.instrument],
        )


def as_known(market: Market, dataset: Dataset | None) -> Market:
    """The market with the instrument's facts as the dataset has them: a tick that the venue changed since is no contradiction."""
    if dataset is None or (known := dataset.instruments.get(market.instrument.id)) is None:
        return market
    told = {field.name: getattr(known, field.name) for field in fields(Instrument) if getattr(known, field.name) is not None}
    return market._replace(instrument=replace(market.instrument, **told))


def _stamps(dataset: Dataset | None, key: str) -> dict[str, pd.DatetimeIndex]:
    """The times at which each column of an instrument's bars has a value."""
    if dataset is None or key not in dataset.instruments:
        return {"close": pd.DatetimeIndex([], tz="UTC")}
    bars = dataset.bars(key)
    return {name: pd.DatetimeIndex(bars.index[bars[name].notna()]) for name in ("close", *COLUMNS) if name in bars}


def _bars(dataset: Dataset | None, key: str, window: Span) -> pd.DataFrame:
    if dataset is None or key not in dataset.instruments:
        return _no_bars()
    return dataset.bars(key, *window)


def _funding(dataset: Dataset | None, key: str) -> pd.DataFrame:
    if dataset is None or key not in dataset.instruments:
        return _no_bars()
    return dataset.funding(key)


def _no_bars() -> pd.DataFrame:
    times = pd.DatetimeIndex([], dtype="datetime64[ns, UTC]", name="ts")
    return pd.DataFrame({name: np.array([], dtype=np.float64) for name in PRICES}, index=times)
