"""Deribit: contracts, chart data, trades, histories of funding, and captures of its ticker and quote channels.

Perpetuals and futures against USD are inverse: their amounts are USD (a contract, their lot, is 10 USD of BTC, 1 USD of ETH); those against USDC
are linear.
Ticks of chart data are the starts of bars; `volume` is in base units, `cost` in the quote currency. Bars of trades have the length that the user
asks for. Captures become series, each known at its own time: bid, ask, spread (a fraction), mark, index, open_interest (as Deribit counts it),
funding_8h (of the eight hours before).

Funding accrues every moment, on the index price. The history gives it by the hour: `interest_1h` is what accrued in the hour that ends at
`timestamp` (the next row's `prev_index_price` is this row's `index_price`), and is one event here; `interest_8h` overlaps and is not read.

    parts = parse(sources_in(["ETH-PERPETUAL.json"]), Request(bar=pd.Timedelta("1h")))
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from backtest.data.importers.common import Part, Request
from backtest.data.importers.naming import inverse_value, yymmdd
from backtest.data.importers.record_parts import (
    Facts,
    Funding,
    bar_length,
    bars_part,
    by_instrument,
    contract_lists,
    funding_parts,
    instrument,
    known,
    named,
    series_part,
    with_facts,
)
from backtest.data.importers.records import Records, Shape, Venue, read, sniffed
from backtest.data.importers.source import Source
from backtest.data.schema import PRICES
from backtest.data.ticks import Ticks, Trades
from backtest.data.ticks.bars import bars_from_ticks
from backtest.data.validate import show_length, show_time
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind, Settle

CONTRACTS = Shape(title="instruments", fields=frozenset({"instrument_name", "kind", "tick_size"}))
FUNDING = Shape(title="funding rates", fields=frozenset({"timestamp", "interest_8h"}))
CHART = Shape(title="chart data", fields=frozenset({"ticks", "close", "cost"}))
TRADES = Shape(title="trades", fields=frozenset({"instrument_name", "trade_id", "direction"}))
TICKER = Shape(title="tickers", fields=frozenset({"instrument_name", "best_bid_price", "mark_price"}))
QUOTES = Shape(title="quotes", fields=frozenset({"instrument_name", "best_bid_price", "best_ask_amount"}))
DERIBIT = Venue(
    name="Deribit",
    shapes=(CONTRACTS, FUNDING, CHART, TRADES, TICKER, QUOTES),
    paths=(("result", "trades"), ("params", "data"), ("result",)),
    context=("usOut",),
    columns="ticks",
    own=lambda answer: "jsonrpc" in answer or "usOut" in answer,
)

_NAME = r"([A-Z0-9]+)(?:_([A-Z]+))?-(PERPETUAL|\d{1,2}[A-Z]{3}\d\d)"
_SERIES = {"mark": "mark_price", "index": "index_price", "open_interest": "open_interest", "funding_8h": "funding_8h"}


def sniff(source: Source) -> str | None:
    """Tell Deribit's kinds of answers and captures; None for a file of someone else."""
    return sniffed(source, DERIBIT)


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """Contracts, bars, funding and series; raises `DataError` with the place of what is wrong."""
    tables = [records for source in sources for records in read(source, DERIBIT)]
    lists, facts = contract_lists(tables, CONTRACTS, _contracts, request, "instrument_name")
    yield from lists
    pieces = []
    for records in tables:
        if records.shape is CHART:
            yield _chart(records, request, facts)
        elif records.shape is FUNDING:
            pieces.append(_funding(_named(records, request, facts), records))
        elif records.shape in (TICKER, QUOTES):
            for one, rows in by_instrument(records, request, "instrument_name", _instrument, facts):
                yield from _series(one, rows)
    yield from funding_parts(pieces)
    yield from _trades([records for records in tables if records.shape is TRADES], request, facts)


def _instrument(name: str) -> Instrument | None:
    spot = re.fullmatch(r"([A-Z0-9]+)_(USDT|USDC|USD)", name)
    if spot:
        return instrument("deribit", Kind.SPOT, spot[1], spot[2])
    found = re.fullmatch(_NAME, name)
    if found is None:
        return None
    base, quote, rest = found[1], found[2] or "USD", found[3]
    value = 0.0 if found[2] else inverse_value("deribit", base)
    if rest == "PERPETUAL":
        return instrument("deribit", Kind.PERPETUAL, base, quote, inverse=value)
    return instrument("deribit", Kind.FUTURE, base, quote, yymmdd(rest), inverse=value) if yymmdd(rest) else None


def _named(records: Records, request: Request, facts: Facts) -> Instrument:
    return known(named(records, request, _NAME, _instrument, "ETH-PERPETUAL"), request, facts)


def _contracts(records: Records) -> list[Instrument | None]:
    return [_contract(records.take(np.array([row])), record) for row, record in enumerate(records.rows)]


def _contract(row: Records, record: Mapping[str, Any]) -> Instrument | None:
    one = _instrument(row.text("instrument_name")[0]) if record["kind"] in ("future", "spot") else None
    if one is None:
        return None
    size = row.numbers("contract_size")[0]
    inverse = "reversed" in (record.get("instrument_type"), record.get("future_type"))
    return with_facts(
        one,
        settle=Settle.INVERSE if inverse else Settle.LINEAR,
        multiplier=size if inverse else None,
        tick=row.numbers("tick_size")[0],
        lot=1.0 if inverse else size,
        min_notional=row.numbers("min_trade_amount")[0] if inverse else None,
        listed_at=row.times("creation_timestamp")[0],
        expires_at=row.times("expiration_timestamp")[0] if one.kind is Kind.FUTURE else None,
    )


def _chart(rows: Records, request: Request, facts: Facts) -> Part:
    one = _named(rows, request, facts)
    starts = rows.times("ticks")
    step, notes = bar_length(rows, starts, request)
    theirs = {**{name: name for name in PRICES}, "volume": "volume", "quote_volume": "cost"}
    bars = pd.DataFrame({ours: rows.numbers(name) for ours, name in theirs.items()}, index=starts + step)
    finished = ~((starts + step).asi8 / 1e3 > rows.numbers("usOut", missing=(None,)))
    return bars_part(rows, one, bars, finished, notes)


def _funding(one: Instrument, rows: Records) -> Funding:
    index = rows.numbers("index_price", missing=(None,))
    columns = {"rate": rows.numbers("interest_1h"), "interval_hours": np.ones(len(rows)), "mark_price": index, "oracle_price": index}
    return Funding(one, rows, rows.times("timestamp"), columns)


def _series(one: Instrument, rows: Records) -> Iterator[Part]:
    """What a capture says, message by message; of several at one millisecond the last holds."""
    times = rows.times("timestamp")
    last = ~times.duplicated(keep="last")
    rows, times = rows.take(last), times[last]
    bid, ask = (rows.numbers(f"best_{side}_price", missing=(None, 0)) for side in ("bid", "ask"))
    for row in np.flatnonzero(ask < bid):
        raise DataError(
            f"{rows.where(int(row))}: ask {ask[row]:.12g} is below bid {bid[row]:.12g}; a book is never crossed; remove the record"
        )
    values = {"bid": bid, "ask": ask, "spread": (ask - bid) / ((ask + bid) / 2)}
    values |= {ours: rows.numbers(theirs, missing=(None,)) for ours, theirs in _SERIES.items() if rows.has(theirs)}
    for name, column in values.items():
        yield series_part(rows, one, name, times, column)


def _trades(tables: Sequence[Records], request: Request, facts: Facts) -> Iterator[Part]:
    """Bars of the trades of all pages together, for a bar may begin in one and end in the next."""
    if not tables:
        return
    pages = Records(tables[0].source, TRADES, [row for page in tables for row in page.rows], [at for page in tables for at in page.places])
    _, first = np.unique(np.array(pages.text("trade_id"), dtype=object), return_index=True)
    pages = pages.take(np.sort(first))
    futures = np.array([_instrument(name) is not None for name in pages.text("instrument_name")])
    others = int((~futures).sum())
    for one, rows in by_instrument(pages.take(futures) if futures.any() else pages, request, "instrument_name", _instrument, facts):
        yield _trade_bars(one, rows, request, others)
        others = 0
    for page in tables[1:]:
        yield Part(source=page.source, notes=[f"{page.source.name}: its trades are in the bars of {pages.source.name}"])


def _trade_bars(one: Instrument, rows: Records, request: Request, others: int) -> Part:
    rows = rows.take(np.lexsort((rows.numbers("trade_seq"), rows.times("timestamp").asi8)))
    price, amount = rows.numbers("price"), rows.numbers("amount")
    size = amount / price if one.settle is Settle.INVERSE else amount
    buy = np.array([float(side == "buy") for side in rows.text("direction")])
    trades = Trades(ts=rows.times("timestamp").asi8, price=price, size=size, taker_buy=buy)
    ticks = Ticks(trades=trades, where=lambda kind, row: rows.where(row))
    found = list(bars_from_ticks([ticks], request.bar))
    told = [f"{rows.source.name}: {others:,} trades of options or combinations were left out"] if others else []
    if not found:
        none = f"{len(rows):,} trades cover no whole bar of {show_length(request.bar)}"
        told.append(f"{rows.source.name}: its {none}; import more of them, or give a shorter --bar")
        return Part(source=rows.source, instruments=(one,), notes=told)
    bars = pd.concat(found).dropna(axis="columns", how="all")
    return Part(
        source=rows.source,
        room="bars",
        key=one.id,
        frame=bars,
        where=lambda row: f"{rows.source.name}, the bar ending {show_time(bars.index[row])}",
        instruments=(one,),
        notes=told,
    )
