"""Binance's contract specs: instruments out of an exchangeInfo answer, a table made of one, or a symbol alone.

Binance writes `ETHUSDT` for a perpetual, `ETHUSDT_240329` for a dated contract, and the same `ETHUSDT` for spot. A delivery date in the
year 2100 stands for none. Quarterly contracts are delivered at 08:00 UTC, which is what a date in a name is taken for where no table says it.
A coin-margined contract (`ETHUSD_PERP`) is worth 100 USD if its coin is BTC and 10 USD otherwise, as Binance's COIN-M contract specifications say.

    specs = read_specs(sources_in(["fut_specs.csv", "exchangeInfo.json"]))
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from backtest.data.importers.common import read_csv, unix_times
from backtest.data.importers.naming import delivery, instrument_id, inverse_value
from backtest.data.importers.source import Source
from backtest.data.merge import merge_instruments
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind, Settle

VENUE = "binance"
QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USD")

_COIN_MARGINED = "USD"
_NO_DELIVERY = pd.Timestamp(4133404800000, unit="ms", tz="UTC")
_TIMES = ("deliveryDate", "onboardDate")
_FACTS = ("symbol", "pair", "baseAsset", "quoteAsset", "marginAsset", "filters", *_TIMES)

Specs = dict[str, Instrument]


def assumed_instrument(symbol: str, kind: Kind, date: str | None = None) -> Instrument:
    """The instrument as far as its symbol tells; raises `DataError` for a symbol whose quote currency is not known."""
    quote = next((quote for quote in QUOTES if symbol.endswith(quote) and len(symbol) > len(quote)), None)
    if quote is None:
        hint = f"did you mean {symbol.upper()}?" if symbol != symbol.upper() else "import its contract specs too"
        raise DataError(f'symbol "{symbol}": its quote currency is not one of {", ".join(QUOTES)}; {hint}')
    base = symbol.removesuffix(quote)
    inverse = kind is not Kind.SPOT and quote == _COIN_MARGINED
    return Instrument(
        id=instrument_id(VENUE, kind, symbol, date),
        venue=VENUE,
        kind=kind,
        base=base,
        quote=quote,
        settle=Settle.INVERSE if inverse else Settle.LINEAR,
        multiplier=inverse_value(VENUE, base) if inverse else 1.0,
        expires_at=delivery(date) if date else None,
    )


def is_exchange_info(source: Source) -> bool:
    """Whether a source is the answer to Binance's exchangeInfo, of spot or of futures."""
    text = source.text_head
    return text.lstrip()[:1] == "{" and all(f'"{key}"' in text for key in ("serverTime", "symbols", "filterType"))


def read_specs(sources: Sequence[Source]) -> Specs:
    """Instruments by id from exchangeInfo answers and tables of futures; raises `DataError` where one misses a fact or two contradict.

    Of an answer the symbols are passed over whose quote currency is not one of `QUOTES`.
    """
    found: list[Instrument] = []
    for source in sources:
        rows = _answered(source) if is_exchange_info(source) else _tabled(source)
        found = merge_instruments(found, [_described(facts, place) for facts, place in rows])
    return {one.id: one for one in found}


def _tabled(source: Source) -> Iterator[tuple[dict[str, Any], str]]:
    """The facts of each contract in a table, and their place."""
    table = read_csv(source)
    columns: dict[str, Sequence[Any]] = {name: table.text(name) for name in (*_FACTS, "contractSize") if name in (*_FACTS, *table.columns)}
    columns |= {name: table.times(name, "ms") for name in _TIMES}
    for row in range(len(table)):
        facts = {name: values[row] for name, values in columns.items()}
        try:
            facts["filters"] = ast.literal_eval(facts["filters"])  # tables written from Python hold a literal, which reads JSON's too
        except (ValueError, SyntaxError):
            facts["filters"] = None
        yield facts, table.where(row)


def _answered(source: Source) -> Iterator[tuple[dict[str, Any], str]]:
    """The facts of each symbol in an answer, and their place."""
    where = source.records()
    for row, facts in enumerate(source.json().get("symbols", [])):
        if facts.get("quoteAsset") in QUOTES:
            yield {**facts, **{name: _instant(facts[name], name, where(row)) for name in _TIMES if name in facts}}, where(row)


def _instant(value: Any, name: str, place: str) -> pd.Timestamp:
    if type(value) is not int:
        raise DataError(f"{place}: {name} is {value!r}, not a time in ms; ask for the exchangeInfo again")
    return unix_times(np.array([value]), "ms", name, lambda _: place)[0]


def _described(facts: Mapping[str, Any], place: str) -> Instrument:
    """The instrument of a symbol; a contract has a pair, a spot symbol has none."""
    missing = next((name for name in (_FACTS if "pair" in facts else ("symbol", "baseAsset", "filters")) if name not in facts), None)
    if missing is not None:
        raise DataError(f'{place}: "{missing}" is missing; ask for the exchangeInfo again')
    pair = facts.get("pair", facts["symbol"])
    date = str(facts["symbol"]).partition("_")[2]
    kind = Kind.SPOT if "pair" not in facts else Kind.FUTURE if date.isdigit() else Kind.PERPETUAL
    inverse = kind is not Kind.SPOT and facts["marginAsset"] == facts["baseAsset"]
    filters = _filters(facts["filters"], place)
    delivered = facts.get("deliveryDate", _NO_DELIVERY)
    return Instrument(
        id=instrument_id(VENUE, kind, pair, date),
        venue=VENUE,
        kind=kind,
        base=facts["baseAsset"],
        quote=facts["quoteAsset"],
        settle=Settle.INVERSE if inverse else Settle.LINEAR,
        multiplier=float(facts.get("contractSize") or inverse_value(VENUE, facts["baseAsset"])) if inverse else 1.0,
        tick=_number(filters, ("PRICE_FILTER", "tickSize")),
        lot=_number(filters, ("LOT_SIZE", "stepSize")),
        min_notional=_number(filters, ("MIN_NOTIONAL", "notional"), ("NOTIONAL", "minNotional"), ("MIN_NOTIONAL", "minNotional")),
        listed_at=facts.get("onboardDate"),
        expires_at=None if delivered >= _NO_DELIVERY else delivered,
    )


def _filters(rules: Any, place: str) -> dict[str, dict[str, Any]]:
    """The trading rules by type."""
    try:
        return {rule["filterType"]: rule for rule in rules}
    except (TypeError, KeyError):
        raise DataError(f"{place}: filters are not a list of trading rules; export the exchangeInfo table again") from None


def _number(filters: Mapping[str, Mapping[str, Any]], *places: tuple[str, str]) -> float | None:
    """A rule's number, at the first of some places that has it."""
    return next((float(filters[rule][name]) for rule, name in places if name in filters.get(rule, {})), None)
