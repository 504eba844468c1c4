"""Tardis' CSV files, as its datasets have them: `derivative_ticker`, `trades` and `quotes` of a day, and its descriptions of instruments.

Exchange and symbol stand in every row. `timestamp` is the exchange's, `local_timestamp` when the message arrived, which is when it was known.
Both are in microseconds, and in nanoseconds in files that users made; each file's own digits tell. Amounts are in the exchange's unit: those
of inverse contracts come in their quote currency and become base units here. Open interest stays in the exchange's unit.

    parts = parse(sources_in(["binance-futures_trades_2024-03-29_ETHUSDT.csv.gz"]), Request(bar=pd.Timedelta("1min")))
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from backtest.data.importers.common import Csv, Part, Request, csv_blocks
from backtest.data.importers.record_parts import refuse_other, wanted
from backtest.data.importers.source import Source
from backtest.data.importers.tardis_symbols import described, instrument
from backtest.data.importers.tardis_ticker import Ticker, place_at
from backtest.data.ticks import Quotes, Ticks, Trades, in_step
from backtest.data.ticks.bars import TickBars
from backtest.errors import DataError
from backtest.instruments import Instrument

TICKER, TRADES, QUOTES, INSTRUMENTS = "Tardis derivative_ticker", "Tardis trades", "Tardis quotes", "Tardis instruments"

_STAMPS = {"exchange", "symbol", "timestamp", "local_timestamp"}
_COLUMNS = {
    TICKER: _STAMPS | {"funding_timestamp", "funding_rate", "open_interest", "last_price", "index_price", "mark_price"},
    TRADES: _STAMPS | {"side", "price", "amount"},
    QUOTES: _STAMPS | {"bid_price", "bid_amount", "ask_price", "ask_amount"},
}
_SIDES = {"buy": 1.0, "sell": 0.0, "unknown": np.nan, "": np.nan}
_DAY_IN_NAME = re.compile(r"(?:trades|quotes)_(\d{4}-\d\d-\d\d)_")
# a feed of ticks that was quiet for so long was not listened to
_SILENCE = pd.Timedelta("1h")

_Market = tuple[str, str]
_Known = Mapping[_Market, Instrument]


def sniff(source: Source) -> str | None:
    """Tell the kind of a Tardis file; None for a file of someone else."""
    names = set(source.header)
    text = source.text_head
    if text.lstrip()[:1] in ("{", "["):
        return INSTRUMENTS if all(f'"{key}"' in text for key in ("exchange", "baseCurrency", "priceIncrement")) else None
    return next((kind for kind, columns in _COLUMNS.items() if columns <= names), None)


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """Bars and funding events; raises `DataError` for an unknown exchange or symbol, and for rows that can't be read or are out of order."""
    kinds: dict[str | None, list[Source]] = {}
    for source in sources:
        kinds.setdefault(sniff(source), []).append(source)
    known: dict[_Market, Instrument] = {}
    for source in kinds.get(INSTRUMENTS, []):
        found = _described(source)
        known |= found
        yield Part(source=source, instruments=[one for (_, symbol), one in found.items() if wanted(symbol, one, request)])
    yield from _tickers(kinds.get(TICKER, []), request, known)
    ticks = sorted(kinds.get(TRADES, []) + kinds.get(QUOTES, []), key=lambda source: source.path.name)
    yield from _tick_bars(ticks, request, known)


def _described(source: Source) -> dict[_Market, Instrument]:
    content = source.json()
    try:
        return {(each["exchange"], each["id"]): described(each) for each in (content if isinstance(content, list) else [content])}
    except DataError as error:
        raise DataError(f"{source.name}: {error}") from error


def _markets(table: Csv) -> Iterator[tuple[_Market, np.ndarray]]:
    """Each market in a block, and its rows as a mask."""
    pairs = list(zip(table.text("exchange"), table.text("symbol"), strict=True))
    names = np.array([" ".join(pair) for pair in pairs], dtype=object)
    for pair in dict.fromkeys(pairs):
        yield pair, names == " ".join(pair)


def _instrument(table: Csv, row: int, market: _Market, known: _Known) -> tuple[Instrument, float | None]:
    """The instrument of a market that a row is of, and the unit of its amounts."""
    try:
        one, unit = instrument(*market)
    except DataError as error:
        if market in known:
            return known[market], float("nan")
        raise DataError(f"{table.where(row)}: {error}") from error
    return known.get(market, one), unit


# --- derivative_ticker ---------------------------------------------------------------------------------------


def _tickers(sources: Sequence[Source], request: Request, known: _Known) -> Iterator[Part]:
    """Bars as far as they are whole after each file, the others and the funding events after the last."""
    tickers: dict[str, Ticker] = {}
    for source in sorted(sources, key=lambda source: source.path.name):
        for table in csv_blocks(source):
            for market, rows in _markets(table):
                one, _ = _instrument(table, int(rows.argmax()), market, known)
                if wanted(market[1], one, request):
                    tickers.setdefault(one.id, Ticker(one, request.bar)).add(table if rows.all() else table.rows(rows))
        for ticker in tickers.values():
            yield from ticker.parts(source)
    for ticker in tickers.values():
        yield from ticker.rest()


# --- trades and quotes ---------------------------------------------------------------------------------------


def _tick_bars(sources: Sequence[Source], request: Request, known: _Known) -> Iterator[Part]:
    """Bars of each market, from its trades and its quotes together."""
    markets: dict[str, tuple[Instrument, float | None, dict[str, list[Source]]]] = {}
    for source in sources:
        one, unit = _sole_market(source, request, known)
        files = markets.setdefault(one.id, (one, unit, {}))[2]
        files.setdefault(str(sniff(source)), []).append(source)
    for one, unit, files in markets.values():
        every = [source for group in files.values() for source in group]
        start, end = _days(every)
        maker = TickBars(request.bar, silence=_SILENCE, start=start, end=end)
        blocks: Iterable[Ticks] = in_step(*(_blocks(group, unit, kind) for kind, group in files.items()))
        empty = ["depth_10bps", "depth_50bps"] + ([] if QUOTES in files else ["bid", "ask", "bid_size", "ask_size", "spread"])
        empty += [] if TRADES in files else ["volume", "taker_buy_volume", "trades"]
        for frame in _made(maker, blocks):
            where = place_at(every[-1].name, "in the bar to", pd.DatetimeIndex(frame.index))
            yield Part(source=every[-1], room="bars", key=one.id, frame=frame.drop(columns=empty), where=where, instruments=[one])
        told = f"{one.id}: {maker.left_out:,} bars of {request.bar / pd.Timedelta('1min'):g} min that its ticks cover only in part were left out"
        for source in every:
            yield Part(source=source, instruments=[one], notes=[told] if maker.left_out and source is every[-1] else [])


def _made(maker: TickBars, blocks: Iterable[Ticks]) -> Iterator[pd.DataFrame]:
    for block in blocks:
        yield from maker.feed(block)
    yield from maker.finish()


def _sole_market(source: Source, request: Request, known: _Known) -> tuple[Instrument, float | None]:
    """The market of a file of ticks; raises `DataError` for one not asked for, and for several, whose ticks would not fit into bounded memory."""
    first: str | None = None
    found: tuple[Instrument, float | None] | None = None
    for table in csv_blocks(source):
        for market, rows in _markets(table):
            row = int(rows.argmax())
            one, unit = _instrument(table, row, market, known)
            refuse_other(source, market[1], one, request)
            if first not in (None, one.id):
                raise DataError(f"{table.where(row)}: is of {one.id}, the rows before are of {first}; import one symbol a file")
            first, found = one.id, (one, unit)
        break
    assert found is not None  # a file without rows has been refused
    return found


def _blocks(sources: Sequence[Source], unit: float | None, kind: str) -> Iterator[Ticks]:
    for source in sources:
        market: tuple[str, str] | None = None
        for table in csv_blocks(source):
            pairs = set(zip(table.text("exchange"), table.text("symbol"), strict=True)) - ({market} if market else set())
            if len(pairs) > (0 if market else 1):
                raise DataError(
                    f"{source.name}: has rows of several markets ({', '.join(map(' '.join, sorted(pairs)))}); import one a file"
                )
            market = market or pairs.pop()
            stamps = table.times("local_timestamp").asi8
            yield _trades(table, stamps, unit) if kind == TRADES else _quotes(table, stamps, unit)


def _trades(table: Csv, stamps: np.ndarray, unit: float | None) -> Ticks:
    sides = table.text("side")
    wrong = next((row for row, side in enumerate(sides) if side not in _SIDES), None)
    if wrong is not None:
        raise DataError(f'{table.where(wrong)}: side is "{sides[wrong]}"; it is {", ".join(filter(None, _SIDES))}; correct the row')
    price = table.numbers("price")
    size = _base(table, table.numbers("amount"), price, unit)
    taker_buy = np.array([_SIDES[side] for side in sides])
    return Ticks(trades=Trades(ts=stamps, price=price, size=size, taker_buy=taker_buy), where=lambda _, row: table.where(row))


def _quotes(table: Csv, stamps: np.ndarray, unit: float | None) -> Ticks:
    bid, ask = table.numbers("bid_price"), table.numbers("ask_price")
    quotes = Quotes(
        ts=stamps,
        bid=bid,
        ask=ask,
        bid_size=_base(table, table.numbers("bid_amount"), bid, unit),
        ask_size=_base(table, table.numbers("ask_amount"), ask, unit),
    )
    return Ticks(quotes=quotes, where=lambda _, row: table.where(row))


def _base(table: Csv, amount: np.ndarray, price: np.ndarray, unit: float | None) -> np.ndarray:
    """Amounts in base units."""
    if unit is None:
        return amount
    if np.isnan(unit):
        raise DataError(
            f"{table.source.name}: the unit of its amounts is not known, so sizes can't be told; import its derivative_ticker instead"
        )
    bad = np.flatnonzero(price <= 0)
    if len(bad):
        raise DataError(f"{table.where(int(bad[0]))}: price is {price[bad[0]]:g}; prices must be above 0; correct the row or remove it")
    return np.asarray(amount * unit / price)


def _days(sources: Sequence[Source]) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    """From when to when the files are whole, if their names tell their days, as Tardis' own do."""
    days = [found[1] if (found := _DAY_IN_NAME.search(source.path.name)) else None for source in sources]
    if not days or None in days:
        return None, None
    told: list[Any] = sorted(pd.Timestamp(day, tz="UTC") for day in days if day)
    return told[0], told[-1] + pd.Timedelta("1D")
