"""Bybit (v5): funding histories, klines, and lists of instruments.

Rows come newest first. A kline is `startTime, open, high, low, close, volume, turnover`: volume in base units and turnover in the quote currency,
but the other way round for an inverse contract, whose one contract is one USD. The answer's own `time` tells whether the newest kline was finished.
A perpetual's `deliveryTime` means nothing. Lots of an inverse contract are contracts, and so USD.

    parts = parse(sources_in(["kline.json"]), Request())
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from backtest.data.importers.common import Part, Request
from backtest.data.importers.naming import yymmdd
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
    with_facts,
)
from backtest.data.importers.records import Records, Shape, Venue, read, sniffed
from backtest.data.importers.source import Source
from backtest.data.schema import PRICES
from backtest.instruments import Instrument, Kind, Settle
from backtest.venues.calendar import last_friday

FUNDING = Shape(title="funding rates", fields=frozenset({"symbol", "fundingRateTimestamp"}))
CONTRACTS = Shape(title="instruments", fields=frozenset({"symbol", "baseCoin", "quoteCoin"}))
KLINES = Shape(title="klines", fields=frozenset({"startTime", *PRICES, "turnover"}))
BYBIT = Venue(
    name="Bybit",
    shapes=(FUNDING, CONTRACTS, KLINES),
    paths=(("result", "list"),),
    context=("category", "symbol", "time"),
    cells={7: ("startTime", *PRICES, "volume", "turnover")},
    own=lambda answer: "retCode" in answer,
)

_SYMBOL = r"[A-Z0-9]+(?:USDT|USDC|USD|PERP)(?:-\d{1,2}[A-Z]{3}\d\d|[HMUZ]\d\d)?"
_QUARTER = {"H": 3, "M": 6, "U": 9, "Z": 12}


def sniff(source: Source) -> str | None:
    """Tell funding rates, klines and instruments; None for a file of someone else."""
    return sniffed(source, BYBIT)


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """Instruments, bars and funding; raises `DataError` with the place of what is wrong."""
    tables = [records for source in sources for records in read(source, BYBIT)]
    lists, facts = contract_lists(tables, CONTRACTS, _contracts, request, "symbol")
    yield from lists
    pieces = []
    for records in tables:
        if records.shape is KLINES:
            yield from (_bars(one, rows, request) for one, rows in _by_instrument(records, request, facts))
        elif records.shape is FUNDING:
            pieces += [_funding(one, rows) for one, rows in _by_instrument(records, request, facts)]
    yield from funding_parts(pieces)


def _by_instrument(records: Records, request: Request, facts: Facts) -> Iterator[tuple[Instrument, Records]]:
    if not records.has("symbol"):
        yield known(named(records, request, _SYMBOL, _instrument, "BTCUSDT"), request, facts), records
        return
    categories = np.array([str(row.get("category") or "") for row in records.rows], dtype=object)
    for category in dict.fromkeys(categories):
        yield from by_instrument(records.take(categories == category), request, "symbol", partial(_instrument, category=category), facts)


def _instrument(symbol: str, category: str = "") -> Instrument | None:
    found = re.fullmatch(r"([A-Z0-9]+?)(USDT|USDC|USD|PERP|(?=-))(?:-(\d{1,2}[A-Z]{3}\d\d)|([HMUZ])(\d\d))?", symbol)
    if found is None:
        return None
    base, pair, date, month, year = found.groups()
    quote = "USDC" if pair in ("PERP", "") else pair
    if category == "spot":
        return instrument("bybit", Kind.SPOT, base, quote)
    written = yymmdd(date) if date else f"{last_friday(2000 + int(year), _QUARTER[month]):%y%m%d}" if month else ""
    if (date and not written) or not (pair or date):
        return None
    return instrument("bybit", Kind.FUTURE if written else Kind.PERPETUAL, base, quote, written, inverse=float(quote == "USD"))


def _funding(one: Instrument, rows: Records) -> Funding:
    return Funding(one, rows, rows.times("fundingRateTimestamp"), {"rate": rows.numbers("fundingRate")})


def _bars(one: Instrument, rows: Records, request: Request) -> Part:
    starts = rows.times("startTime")
    step, notes = bar_length(rows, starts, request)
    base, quote = ("turnover", "volume") if one.settle is Settle.INVERSE else ("volume", "turnover")
    columns = {name: rows.numbers(name) for name in PRICES} | {"volume": rows.numbers(base), "quote_volume": rows.numbers(quote)}
    ends = starts + step
    asked = rows.numbers("time", missing=(None,))
    finished = ~(ends.asi8 / 1e6 > asked)
    return bars_part(rows, one, pd.DataFrame(columns, index=ends), finished, notes)


def _contracts(records: Records) -> list[Instrument | None]:
    records = records.flat("priceFilter", "lotSizeFilter")
    return [_contract(records.take(np.array([row])), record) for row, record in enumerate(records.rows)]


def _contract(row: Records, record: Mapping[str, Any]) -> Instrument | None:
    kinds = {
        "LinearPerpetual": Kind.PERPETUAL,
        "InversePerpetual": Kind.PERPETUAL,
        "LinearFutures": Kind.FUTURE,
        "InverseFutures": Kind.FUTURE,
    }
    kind = kinds.get(str(record.get("contractType")), None if "contractType" in record or "optionsType" in record else Kind.SPOT)
    if kind is None:
        return None
    expires_at = row.times("deliveryTime")[0] if kind is Kind.FUTURE else None
    inverse = str(record.get("contractType")).startswith("Inverse")
    one = instrument(
        "bybit",
        kind,
        *(row.text("baseCoin")[0], row.text("quoteCoin")[0]),
        f"{expires_at:%y%m%d}" if expires_at is not None else "",
        inverse=float(inverse),
    )
    smallest = "minOrderQty" if inverse else "minOrderAmt" if kind is Kind.SPOT else "minNotionalValue"
    return with_facts(
        one,
        tick=row.numbers("tickSize")[0],
        lot=row.numbers("basePrecision" if kind is Kind.SPOT else "qtyStep")[0],
        min_notional=row.numbers(smallest, missing=(None, ""))[0],
        listed_at=row.times("launchTime")[0] if row.has("launchTime") else None,
        expires_at=expires_at,
    )
