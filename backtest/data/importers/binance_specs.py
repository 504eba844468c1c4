"""Binance's contract specs: instruments out of an exchangeInfo table, or out of a symbol alone.

Binance writes `ETHUSDT` for a perpetual, `ETHUSDT_240329` for a dated contract, and the same `ETHUSDT` for spot. A delivery date in the
year 2100 stands for none. Quarterly contracts are delivered at 08:00 UTC, which is what a date in a name is taken for where no table says it.

    specs = read_specs([read_csv(Path("fut_specs.csv"))])
"""

import ast
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from backtest.data.importers.common import Csv
from backtest.data.merge import merge_instruments
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind, Settle

VENUE = "binance"
QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USD")

_NO_DELIVERY = pd.Timestamp(4133404800000, unit="ms", tz="UTC")
_DELIVERY_HOUR = pd.Timedelta(8, "h")
_SUFFIX = {Kind.SPOT: "SPOT", Kind.PERPETUAL: "PERP"}

Specs = dict[str, Instrument]


def instrument_id(symbol: str, kind: Kind, date: str | None = None) -> str:
    """The id of a symbol as `kind`: ETHUSDT-SPOT, ETHUSDT-PERP, ETHUSDT-240329."""
    return f"{symbol}-{date if kind is Kind.FUTURE else _SUFFIX[kind]}"


def delivery_date(date: str) -> pd.Timestamp | None:
    """Delivery of the contract named yymmdd; None if that is not a date."""
    day = pd.to_datetime(date, format="%y%m%d", errors="coerce", utc=True) if re.fullmatch(r"\d{6}", date) else pd.NaT
    return None if pd.isna(day) else day.as_unit("ns") + _DELIVERY_HOUR


def assumed_instrument(symbol: str, kind: Kind, date: str | None = None) -> Instrument:
    """The instrument as far as its symbol tells; raises `DataError` for a symbol whose quote currency is not known."""
    quote = next((quote for quote in QUOTES if symbol.endswith(quote) and len(symbol) > len(quote)), None)
    if quote is None:
        raise DataError(f'symbol "{symbol}": its quote currency is not one of {", ".join(QUOTES)}; import its contract specs too')
    expires_at = delivery_date(date) if date else None
    base = symbol.removesuffix(quote)
    return Instrument(id=instrument_id(symbol, kind, date), venue=VENUE, kind=kind, base=base, quote=quote, expires_at=expires_at)


def read_specs(tables: Sequence[Csv]) -> Specs:
    """Instruments by id from exchangeInfo tables of futures; raises `DataError` where a table misses a column or two contradict."""
    found: list[Instrument] = []
    for table in tables:
        rows = {name: table.text(name) for name in ("symbol", "pair", "baseAsset", "quoteAsset", "marginAsset", "filters")}
        delivery, listed = table.times("deliveryDate", "ms"), table.times("onboardDate", "ms")
        for row, symbol in enumerate(rows["symbol"]):
            filters = _filters(rows["filters"][row], table.where(row))
            date = symbol.partition("_")[2]
            kind = Kind.FUTURE if date.isdigit() else Kind.PERPETUAL
            one = Instrument(
                id=instrument_id(rows["pair"][row], kind, date),
                venue=VENUE,
                kind=kind,
                base=rows["baseAsset"][row],
                quote=rows["quoteAsset"][row],
                settle=Settle.INVERSE if rows["marginAsset"][row] == rows["baseAsset"][row] else Settle.LINEAR,
                tick=_number(filters, "PRICE_FILTER", "tickSize"),
                lot=_number(filters, "LOT_SIZE", "stepSize"),
                min_notional=_number(filters, "MIN_NOTIONAL", "notional"),
                listed_at=listed[row],
                expires_at=None if delivery[row] >= _NO_DELIVERY else delivery[row],
            )
            found = merge_instruments(found, [one])
    return {one.id: one for one in found}


def _filters(text: str, place: str) -> dict[str, dict[str, Any]]:
    """The trading rules by type; tables written from Python hold them as a literal, which reads the JSON of plain strings too."""
    try:
        return {rule["filterType"]: rule for rule in ast.literal_eval(text)}
    except (ValueError, SyntaxError, TypeError, KeyError):
        raise DataError(f"{place}: filters are not a list of trading rules; export the exchangeInfo table again") from None


def _number(filters: dict[str, dict[str, Any]], rule: str, name: str) -> float | None:
    value = filters.get(rule, {}).get(name)
    return None if value is None else float(value)
