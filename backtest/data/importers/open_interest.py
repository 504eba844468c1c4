"""Open interest as an aggregator exports it (Coinalyze's symbols): a day's open, high, low and close of it, in USD.

`ETHUSD_PERP.A` is Binance's coin-margined perpetual: the letter after the dot is the exchange. `timestamp` is the day's start in Unix
seconds; the close is known at its end and becomes the series `ETHUSD-PERP.open_interest_value`.

    parts = parse(sources_in(["ETH_coinm_oi_daily.csv"]), Request())
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from backtest.data.importers.canonical import column_series, row_length
from backtest.data.importers.common import Csv, Part, Request, read_csv
from backtest.data.importers.source import Source
from backtest.data.validate import refuse, time_errors
from backtest.errors import DataError

# the aggregator's letter → the venue's ending of an id
_EXCHANGES = {"A": "", "6": ".bybit", "3": ".okx", "2": ".deribit", "0": ".bitmex"}
_SYMBOL = re.compile(r"([A-Z0-9]+?)(USDT|USDC|USD)_PERP\.([A-Z0-9])")
_COLUMNS = {"symbol", "timestamp", "oi_open", "oi_high", "oi_low", "oi_close"}


def sniff(source: Source) -> str | None:
    """Tell open interest by its columns; None for a file of another shape."""
    return "open interest of an aggregator" if set(source.header) >= _COLUMNS else None


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """A series for each symbol; raises `DataError` for a symbol that can't be told and for values that can't be true."""
    for source in sources:
        whole = read_csv(source)
        symbols = np.array(whole.text("symbol"), dtype=object)
        for symbol in dict.fromkeys(symbols):
            yield _series(whole.rows(symbols == symbol), symbol)


def _series(table: Csv, symbol: str) -> Part:
    found = _SYMBOL.fullmatch(symbol)
    if found is None or found[3] not in _EXCHANGES:
        raise DataError(f'{table.where(0)}: symbol is "{symbol}", not a perpetual such as ETHUSD_PERP.A; leave its rows out')
    starts = table.times("timestamp")
    refuse(time_errors(starts, table.where))
    ends = starts + row_length(table, starts)
    low, high, close = (table.numbers(f"oi_{name}") for name in ("low", "high", "close"))
    wrong = np.flatnonzero(~((low >= 0) & (low <= close) & (close <= high)))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{table.where(row)}: oi_close is {close[row]:.15g} with low {low[row]:.15g} and high {high[row]:.15g}; "
            "it must lie between them and not be negative; correct the row or remove it"
        )
    return column_series(table, f"{found[1]}{found[2]}-PERP{_EXCHANGES[found[3]]}.open_interest_value", ends, close)
