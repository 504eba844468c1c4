"""Ticks to bars of any length, as the ticks come: what is held in memory is one block and the state of one open bar.

A bar that ends at T, a multiple of its length since 1970, covers (T − length, T] and holds nothing that was not known at T:

- open, high, low, close, volume, taker_buy_volume, trades from its trades. A bar without one stands flat at the last trade's price, before the
  first trade at the mid of its end; volumes are NaN until a first trade shows that the feed has trades at all.
- bid, ask, bid_size, ask_size: the quote in force at T.
- spread, depth_10bps, depth_50bps: means over time of (ask − bid)/mid and of the depths, each value holding until the next; NaN unless known
  during the whole bar.

Bars that the feed covers only in part (its first, its last, those around a silence) are left out and counted. However the ticks are cut into
blocks, the bars are the same to the last bit: sums are carried on in the order of the ticks.

    for bars in bars_from_ticks(blocks, pd.Timedelta("10s")): print(bars)
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from backtest.data.ticks import Floats, Stamps, Ticks, Trades, refuse_ticks
from backtest.errors import ParameterError

TICK_BAR_COLUMNS = (
    "open", "high", "low", "close", "volume", "bid", "ask", "bid_size", "ask_size", "spread", "depth_10bps", "depth_50bps", "taker_buy_volume",
    "trades",
)  # fmt: skip
SILENCE = pd.Timedelta(1, "D")

_MOST_BARS = 1 << 16  # in one frame, so that few ticks far apart don't fill the memory


def bars_from_ticks(blocks: Iterable[Ticks], length: pd.Timedelta, *, silence: pd.Timedelta = SILENCE) -> Iterator[pd.DataFrame]:
    """Bars of one market from blocks of its ticks in order of time; frames indexed by `ts` with `TICK_BAR_COLUMNS`.

    silence: a longer time without any tick means that nobody was listening: nothing is known across it, as before the first tick.
    Errors: `DataError` for ticks that can't be true or come out of order, `ParameterError` for a length that is not above zero.
    """
    maker = TickBars(length, silence=silence)
    for block in blocks:
        yield from maker.feed(block)
    yield from maker.finish()


class TickBars:
    """Makes the bars of one market, fed block by block; `made` and `left_out` count them."""

    def __init__(
        self,
        length: pd.Timedelta,
        *,
        silence: pd.Timedelta = SILENCE,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
    ) -> None:
        """Take bars of `length`; `start` and `end` are the times from and to which the feed is whole, where its ticks don't show it."""
        for name, value in (("bar", length), ("silence", silence)):
            if not value > pd.Timedelta(0):
                raise ParameterError(f'{name} must be longer than zero: {name}="{value}"')
        self.length = length.as_unit("ns").value
        self.silence = silence.as_unit("ns").value
        self.made = 0
        self._start = None if start is None else start.as_unit("ns").value
        self._end = None if end is None else end.as_unit("ns").value
        self._stretch: _Stretch | None = None
        self._first_bar: int | None = None
        self._last: int | None = None

    @property
    def left_out(self) -> int:
        """Bars between the first tick and the last that were not made."""
        if self._first_bar is None or self._last is None:
            return 0
        return _bar_at(self._last, self.length) - self._first_bar + 1 - self.made

    def feed(self, ticks: Ticks) -> Iterator[pd.DataFrame]:
        """The bars that ended before the block's last tick."""
        refuse_ticks(ticks, after=self._last)
        stamps = ticks.stamps
        if not len(stamps):
            return
        steps = np.diff(stamps, prepend=stamps[0] if self._last is None else self._last)
        for row in np.flatnonzero(steps > self.silence):
            if row:
                before, ticks = ticks.split(int(stamps[row - 1]))
                yield from self._run(before)
            if self._stretch is not None:
                yield from self._counted(self._stretch.finish(self._stretch.last))
                self._stretch = None
        yield from self._run(ticks)

    def finish(self) -> Iterator[pd.DataFrame]:
        """The last bars, when no more ticks come."""
        if self._stretch is not None and self._last is not None:
            if self._end is not None and self._last < self._end <= self._last + self.silence:
                self._last = self._end
            yield from self._counted(self._stretch.finish(self._last))
        self._stretch = None

    def _run(self, ticks: Ticks) -> Iterator[pd.DataFrame]:
        stamps = ticks.stamps
        if self._stretch is None:
            whole_from = int(stamps[0])
            if self._first_bar is None:
                self._first_bar = _bar_at(whole_from, self.length)
                whole_from = whole_from if self._start is None else min(self._start, whole_from)
            self._stretch = _Stretch(self.length, int(stamps[0]), whole_from)
        self._last = int(stamps[-1])
        yield from self._counted(self._stretch.feed(ticks))

    def _counted(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            if len(frame):
                self.made += len(frame)
                yield frame


class _Stretch:
    """Bars of a stretch of ticks without a silence. A bar is known by its number: its end is number · length."""

    def __init__(self, length: int, first: int, whole_from: int) -> None:
        self.length = length
        self.bar = _bar_at(first, length)
        self.last = first
        self.whole_after = -(-whole_from // length)
        start = (self.bar - 1) * length
        self.trades = _TradeBars(length)
        self.quote = [_Held(length) for _ in range(4)]
        self.means = [_Mean(length, start) for _ in range(3)]

    def feed(self, ticks: Ticks) -> Iterator[pd.DataFrame]:
        """The bars that ended before the last of the ticks; the bar with the last one stays open."""
        last = int(ticks.stamps[-1])
        while True:
            stop = min(last, (self.bar + _MOST_BARS) * self.length)
            part, ticks = ticks.split(stop)
            yield self._advance(part, _bar_at(stop, self.length) - self.bar)
            self.last = stop
            if stop == last:
                return

    def finish(self, until: int) -> Iterator[pd.DataFrame]:
        """The bars that end at `until` or before."""
        while (closed := min(until // self.length - self.bar + 1, _MOST_BARS)) > 0:
            yield self._advance(Ticks(), closed)

    def _advance(self, ticks: Ticks, closed: int) -> pd.DataFrame:
        """Take ticks up to the end of the bar that stays open, after `closed` bars."""
        numbers = self.bar + np.arange(closed)
        columns = self.trades.advance(ticks.trades, self.bar, closed)
        ts, *best = ticks.quotes
        bid, ask, bid_size, ask_size = (held.advance(ts, values, numbers) for held, values in zip(self.quote, best, strict=True))
        columns |= {"bid": bid, "ask": ask, "bid_size": bid_size, "ask_size": ask_size}
        tick_spread = 2.0 * (ticks.quotes.ask - ticks.quotes.bid) / (ticks.quotes.ask + ticks.quotes.bid)
        sources = ((ts, tick_spread), (ticks.depth.ts, ticks.depth.depth_10bps), (ticks.depth.ts, ticks.depth.depth_50bps))
        for name, mean, (stamps, values) in zip(("spread", "depth_10bps", "depth_50bps"), self.means, sources, strict=True):
            columns[name] = mean.advance(stamps, values, self.bar, closed)
        for name in ("open", "high", "low", "close"):
            columns[name] = np.where(np.isnan(columns[name]), (bid + ask) / 2.0, columns[name])
        self.bar += closed
        made = (numbers > self.whole_after) & ~np.isnan(columns["close"])
        index = pd.DatetimeIndex((numbers[made] * self.length).astype("datetime64[ns]"), tz="UTC", name="ts")
        return pd.DataFrame({name: columns[name][made] for name in TICK_BAR_COLUMNS}, index=index)


class _TradeBars:
    """Prices and volumes of trades by bar; the open bar's are carried as four prices and three sums."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.prices: list[float] = []
        self.sums = [0.0, 0.0, 0.0]
        self.price = np.nan

    def advance(self, trades: Trades, bar: int, closed: int) -> dict[str, Floats]:
        """The columns of `closed` bars from number `bar` on, flat where there is no trade, NaN before the first."""
        at = _bars_at(trades.ts, self.length) - bar
        names = ("open", "high", "low", "close")
        columns = dict(zip(names, self._prices(at, trades.price, closed), strict=True))
        weights = (trades.size, trades.size * trades.taker_buy, np.ones(len(at)))
        sums = [_carried_sums(carry, at, values, closed) for carry, values in zip(self.sums, weights, strict=True)]
        self.sums = [float(values[closed]) for values in sums]
        flat = _filled(columns["close"], self.price)
        # the last price is known from the bar of the first trade on, and so is that the feed has trades
        unseen = np.isnan(flat)
        columns |= {name: np.where(np.isnan(columns[name]), flat, columns[name]) for name in names}
        for name, values in zip(("volume", "taker_buy_volume", "trades"), sums, strict=True):
            columns[name] = np.where(unseen, np.nan, values)
        self.price = float(flat[closed])
        return {name: values[:closed] for name, values in columns.items()}

    def _prices(self, at: Stamps, prices: Floats, closed: int) -> tuple[Floats, ...]:
        """Open, high, low and close by bar, NaN where nothing traded; the carried prices stand before the rest as if they were trades."""
        at = np.concatenate([np.zeros(len(self.prices), dtype=np.int64), at])
        prices = np.concatenate([self.prices, prices])
        starts = np.flatnonzero(np.diff(at, prepend=-1))
        result = tuple(np.full(closed + 1, np.nan) for _ in range(4))
        if len(starts):
            ends = np.append(starts[1:], len(at)) - 1
            found = (prices[starts], np.maximum.reduceat(prices, starts), np.minimum.reduceat(prices, starts), prices[ends])
            for column, values in zip(result, found, strict=True):
                column[at[starts]] = values
        self.prices = [] if np.isnan(result[0][closed]) else [float(column[closed]) for column in result]
        return result


class _Held:
    """A value that holds until the next."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.value = np.nan

    def advance(self, stamps: Stamps, values: Floats, numbers: Stamps) -> Floats:
        """The value in force at the end of each bar."""
        known = np.append(self.value, values)
        self.value = float(known[-1])
        return np.asarray(known[np.searchsorted(stamps, numbers * self.length, side="right")])


class _Mean:
    """The mean over time of a value that holds until the next, by bar."""

    def __init__(self, length: int, start: int) -> None:
        self.length = length
        self.since = start
        self.value = np.nan
        self.area = 0.0
        self.unknown = 0.0

    def advance(self, stamps: Stamps, values: Floats, bar: int, closed: int) -> Floats:
        """The mean of `closed` bars from number `bar` on, NaN where the value was not known all the time.

        Only whole steps are added, from one tick or bar's end to the next: the step that is under way waits until its end is known.
        """
        ends = (bar + np.arange(closed)) * self.length
        points = np.sort(np.concatenate([[self.since], stamps, ends]))
        starts = points[:-1]
        held = np.append(self.value, values)[np.searchsorted(stamps, starts, side="right")]
        spans = np.diff(points).astype(np.float64)
        # a step that starts at a bar's end belongs to the next bar
        at = starts // self.length + 1 - bar
        blank = np.isnan(held)
        area = _carried_sums(self.area, at, np.where(blank, 0.0, held * spans), closed)
        unknown = _carried_sums(self.unknown, at, np.where(blank, spans, 0.0), closed)
        self.since = int(points[-1])
        self.value = float(values[-1]) if len(values) else self.value
        self.area, self.unknown = float(area[closed]), float(unknown[closed])
        return np.where(unknown[:closed] > 0, np.nan, area[:closed] / self.length)


def _bar_at(stamp: int, length: int) -> int:
    """The number of the bar that a tick falls into: at its end, or within the length before it."""
    return -(-stamp // length)


def _bars_at(stamps: Stamps, length: int) -> Stamps:
    return -(-stamps // length)


def _carried_sums(carry: float, at: Stamps, values: Floats, closed: int) -> Floats:
    """Sums by bar, added one by one in the order of the ticks, on top of what the first bar has so far."""
    return np.asarray(np.bincount(np.append(0, at), weights=np.append(carry, values), minlength=closed + 1), dtype=np.float64)


def _filled(values: Floats, before: float) -> Floats:
    """Each NaN replaced by the last number before it."""
    known = np.append(before, values)
    rows = np.where(np.isnan(known), 0, np.arange(len(known)))
    return np.asarray(known[np.maximum.accumulate(rows)][1:])
