"""Ticks: quotes, trades and depth of one market in the order in which they became known, as blocks of arrays.

An importer reads a vendor's file into `Ticks`, a bounded block at a time; `bars_from_ticks` makes bars of them. A tick's time is the instant at which
it was *known*: the local receive time where the vendor has one, else the exchange's own. Quotes are the best bid and ask, and hold until the
next; so does a depth, the resting notional within 10 or 50 bps of the mid, both sides together, in the quote currency.

    block = Ticks(trades=Trades(ts=stamps, price=prices, size=sizes, taker_buy=buys))
    for bars in bars_from_ticks(in_step(trade_blocks, quote_blocks), pd.Timedelta("1min")): ...
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.errors import DataError

Floats = npt.NDArray[np.float64]
Stamps = npt.NDArray[np.int64]
TickPlace = Callable[[str, int], str]

EARLIEST, LATEST = (pd.Timestamp(year, tz="UTC").as_unit("ns").value for year in ("2000", "2101"))
_NO_STAMPS: Stamps = np.empty(0, dtype=np.int64)
_NONE: Floats = np.empty(0)
_PRICES, _SIZES = ("bid", "ask", "price"), ("bid_size", "ask_size", "size", "depth_10bps", "depth_50bps")


class Quotes(NamedTuple):
    """Best bids and asks; NaN for a side that has none. `ts` in int64 nanoseconds UTC, the rest float64."""

    ts: Stamps = _NO_STAMPS
    bid: Floats = _NONE
    ask: Floats = _NONE
    bid_size: Floats = _NONE
    ask_size: Floats = _NONE


class Trades(NamedTuple):
    """Trades; sizes in base units, `taker_buy` 1 where the taker bought, 0 where he sold, NaN where nobody knows."""

    ts: Stamps = _NO_STAMPS
    price: Floats = _NONE
    size: Floats = _NONE
    taker_buy: Floats = _NONE


class Depth(NamedTuple):
    """Resting notional within 10 and 50 bps of the mid, both sides together, in quote currency; NaN where the book is not known that far."""

    ts: Stamps = _NO_STAMPS
    depth_10bps: Floats = _NONE
    depth_50bps: Floats = _NONE


Kind = TypeVar("Kind", Quotes, Trades, Depth)


def _row(kind: str, row: int) -> str:
    return f"{kind} row {row}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Ticks:
    """A block of ticks, each kind in order of time; `where` gives the place of a row of "quotes", "trades" or "depth" for messages."""

    quotes: Quotes = Quotes()
    trades: Trades = Trades()
    depth: Depth = Depth()
    where: TickPlace = _row

    @property
    def stamps(self) -> Stamps:
        """The times of all ticks, in order."""
        return np.sort(np.concatenate([self.quotes.ts, self.trades.ts, self.depth.ts]))

    def split(self, stop: int) -> tuple["Ticks", "Ticks"]:
        """The ticks up to and with `stop` (ns), and those after it."""
        quotes, trades, depth = _split(self.quotes, stop), _split(self.trades, stop), _split(self.depth, stop)
        return Ticks(quotes=quotes[0], trades=trades[0], depth=depth[0]), Ticks(quotes=quotes[1], trades=trades[1], depth=depth[1])


def in_step(*streams: Iterable[Ticks]) -> Iterator[Ticks]:
    """Several streams of one market as one, in order of time, holding one block of each: a vendor's trades beside its quotes."""
    waiting = [iter(stream) for stream in streams]
    held: list[Ticks | None] = [_next(stream) for stream in waiting]
    while present := [block for block in held if block is not None]:
        stop = min(int(block.stamps[-1]) for block in present)
        ready = []
        for number, block in enumerate(held):
            if block is not None:
                first, rest = block.split(stop)
                ready.append(first)
                held[number] = rest if len(rest.stamps) else _next(waiting[number])
        yield _joined(ready)


def refuse_ticks(ticks: Ticks, after: int | None = None) -> None:
    """Raise `DataError` with the place of the first tick that can't be true, or that comes before `after` (ns)."""
    for name, kind in (("quotes", ticks.quotes), ("trades", ticks.trades), ("depth", ticks.depth)):
        if len(kind.ts):
            where = partial(ticks.where, name)
            _refuse_times(kind.ts, where, after)
            for column in kind._fields[1:]:
                _refuse_values(column, getattr(kind, column), where)
    crossed = np.flatnonzero(ticks.quotes.ask < ticks.quotes.bid)
    if len(crossed):
        row = int(crossed[0])
        bid, ask = ticks.quotes.bid[row], ticks.quotes.ask[row]
        raise DataError(
            f"{ticks.where('quotes', row)}: ask {ask:.15g} is below bid {bid:.15g}; a book is never crossed; correct the row or remove it"
        )


def show_stamp(stamp: int) -> str:
    """A time in nanoseconds for a message, to the microsecond; as a number where it is none."""
    if not EARLIEST <= stamp < LATEST:
        return str(stamp)
    return f"{pd.Timestamp(stamp, unit='ns'):%Y-%m-%dT%H:%M:%S.%fZ}"


def _refuse_times(stamps: Stamps, where: Callable[[int], str], after: int | None) -> None:
    wrong = np.flatnonzero((stamps < EARLIEST) | (stamps >= LATEST))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{where(row)}: time {stamps[row]} is not nanoseconds since 1970 of the years 2000–2100; correct the row or remove it"
        )
    before = np.concatenate([stamps[:1] if after is None else [after], stamps[:-1]])
    early = np.flatnonzero(stamps < before)
    if len(early):
        row = int(early[0])
        time, last = show_stamp(int(stamps[row])), show_stamp(int(before[row]))
        raise DataError(f"{where(row)}: time {time} comes after {last}; ticks must be in order of time; sort the rows")


def _refuse_values(column: str, values: Floats, where: Callable[[int], str]) -> None:
    if column in _PRICES:
        bad, rule = (values <= 0) | np.isinf(values), "prices must be above 0 and finite"
    elif column in _SIZES:
        bad, rule = (values < 0) | np.isinf(values), "it must not be negative"
    else:
        bad, rule = (values != 0) & (values != 1) & ~np.isnan(values), "it is 1 for a taker that bought, 0 for one that sold"
    if column in ("price", "size"):
        bad = bad | np.isnan(values)
    rows = np.flatnonzero(bad)
    if len(rows):
        row = int(rows[0])
        raise DataError(f"{where(row)}: {column} is {values[row]:.15g}; {rule}; correct the row or remove it")


def _next(stream: Iterator[Ticks]) -> Ticks | None:
    """The next block that holds ticks and can be true."""
    for block in stream:
        refuse_ticks(block)
        if len(block.stamps):
            return block
    return None


def _joined(blocks: Sequence[Ticks]) -> Ticks:
    return Ticks(
        quotes=_merged([block.quotes for block in blocks]),
        trades=_merged([block.trades for block in blocks]),
        depth=_merged([block.depth for block in blocks]),
    )


def _merged(kinds: Sequence[Kind]) -> Kind:
    columns = [np.concatenate(column) for column in zip(*kinds, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return type(kinds[0])._make(column[order] for column in columns)


def _split(kind: Kind, stop: int) -> tuple[Kind, Kind]:
    row = int(np.searchsorted(kind.ts, stop, side="right"))
    return type(kind)._make(column[:row] for column in kind), type(kind)._make(column[row:] for column in kind)
