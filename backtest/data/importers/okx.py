"""OKX (v5): funding histories, candlesticks, and lists of instruments.

Of a funding record's two rates `realizedRate` is the one that was paid; `fundingRate` is what had been predicted. A candlestick is `ts, open, high,
low, close, vol, volCcy, volCcyQuote, confirm`, newest first: of a contract `vol` counts contracts and `volCcy` base units, of spot `vol` is in base
units. `confirm` is 0 for a bar that was not finished. The answer does not say its instrument, so the file's name or the user must.

A linear contract is `ctVal` base units, and its lot is told in base units here; an inverse one is `ctVal` USD, and its lot is in contracts.

    parts = parse(sources_in(["ETH-USDT-SWAP-candles.json"]), Request())
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from backtest.data.importers.common import Part, Request
from backtest.data.importers.naming import delivery, inverse_value, linear_size
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

FUNDING = Shape(title="funding rates", fields=frozenset({"instId", "fundingTime"}))
CONTRACTS = Shape(title="instruments", fields=frozenset({"instId", "instType", "tickSz"}))
CANDLES = Shape(title="candlesticks", fields=frozenset({"ts", *PRICES, "volCcyQuote", "confirm"}))
OKX = Venue(
    name="OKX",
    shapes=(FUNDING, CONTRACTS, CANDLES),
    paths=(("data",),),
    cells={9: ("ts", *PRICES, "vol", "volCcy", "volCcyQuote", "confirm")},
    own=lambda answer: isinstance(answer.get("code"), str) and "msg" in answer,
)

_SYMBOL = r"[A-Z0-9]+-(?:USDT|USDC|USD)(?:-SWAP|-\d{6})?"


def sniff(source: Source) -> str | None:
    """Tell funding rates, candlesticks and instruments; None for a file of someone else."""
    return sniffed(source, OKX)


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """Instruments, bars and funding; raises `DataError` with the place of what is wrong."""
    tables = [records for source in sources for records in read(source, OKX)]
    lists, facts = contract_lists(tables, CONTRACTS, _contracts, request, "instId")
    yield from lists
    pieces = []
    for records in tables:
        if records.shape is CANDLES:
            yield _bars(records, request, facts)
        elif records.shape is FUNDING:
            for one, rows in by_instrument(records, request, "instId", _instrument, facts):
                pieces.append(Funding(one, rows, rows.times("fundingTime"), {"rate": rows.numbers("realizedRate")}))
    yield from funding_parts(pieces)


def _instrument(symbol: str) -> Instrument | None:
    found = re.fullmatch(r"([A-Z0-9]+)-(USDT|USDC|USD)(?:-(SWAP|\d{6}))?", symbol)
    if found is None:
        return None
    base, quote, rest = found.groups()
    if rest is None:
        return instrument("okx", Kind.SPOT, base, quote)
    value = inverse_value("okx", base) if quote == "USD" else 0.0
    if rest != "SWAP" and not delivery(rest):
        return None
    kind, date = (Kind.PERPETUAL, "") if rest == "SWAP" else (Kind.FUTURE, rest)
    one = instrument("okx", kind, base, quote, date, inverse=value)
    return one if value else with_facts(one, multiplier=linear_size("okx", base, quote))


def _bars(rows: Records, request: Request, facts: Facts) -> Part:
    one = known(named(rows, request, _SYMBOL, _instrument, "ETH-USDT-SWAP"), request, facts)
    starts = rows.times("ts")
    step, notes = bar_length(rows, starts, request)
    contracts, base = rows.numbers("vol"), rows.numbers("volCcy")
    if one.kind is Kind.SPOT:
        contracts, base = base, contracts
    # some old answers leave all but the contracts at 0
    volumes = {"volume": base, "quote_volume": rows.numbers("volCcyQuote")}
    volumes = {name: np.where((values == 0) & (contracts > 0), np.nan, values) for name, values in volumes.items()}
    columns = {name: rows.numbers(name) for name in PRICES} | {
        name: values for name, values in volumes.items() if not np.isnan(values).all()
    }
    # a bar that another follows is over, whatever its mark says
    finished = (rows.numbers("confirm") == 1) | (starts < starts.max())
    return bars_part(rows, one, pd.DataFrame(columns, index=starts + step), np.asarray(finished), notes)


def _contracts(records: Records) -> list[Instrument | None]:
    return [_contract(records.take(np.array([row])), record) for row, record in enumerate(records.rows)]


def _contract(row: Records, record: Mapping[str, Any]) -> Instrument | None:
    kind = {"SPOT": Kind.SPOT, "SWAP": Kind.PERPETUAL, "FUTURES": Kind.FUTURE}.get(row.text("instType")[0])
    one = _instrument(row.text("instId")[0])
    if kind is None or one is None or one.kind is not kind:
        return None
    lot, smallest = row.numbers("lotSz")[0], row.numbers("minSz")[0]
    listed_at = row.times("listTime")[0] if record.get("listTime") else None
    if kind is Kind.SPOT:
        return with_facts(one, tick=row.numbers("tickSz")[0], lot=lot, listed_at=listed_at)
    value = row.numbers("ctVal")[0] * (row.numbers("ctMult")[0] if record.get("ctMult") else 1.0)
    inverse = row.text("ctType")[0] == "inverse"
    return with_facts(
        one,
        settle=Settle.INVERSE if inverse else Settle.LINEAR,
        multiplier=value,
        tick=row.numbers("tickSz")[0],
        lot=lot if inverse else round(lot * value, 12),
        min_notional=round(smallest * value, 12) if inverse else None,
        listed_at=listed_at,
        expires_at=row.times("expTime")[0] if kind is Kind.FUTURE else None,
    )
