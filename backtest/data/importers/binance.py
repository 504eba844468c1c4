"""Binance files: klines, funding rates, the premium index and contract specs, as its API, its archive and its users write them.

Binance stamps a kline with its start and a funding event with some milliseconds of jitter; here a bar is stamped with its end and an event
with its second. Files of dated contracts run past delivery: those bars are cut and counted. The instrument comes from the file's name
(`spot…`, `perp…`, `…YYMMDD…`, or the archive's folders), its facts from an exchangeInfo table. The margin rates in that table are not those
of any position and are left alone.

    imported = parse([Path("spot.csv"), Path("240329.csv"), Path("specs.csv")], Request())
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from backtest.data.importers.binance_specs import Specs, assumed_instrument, delivery_date, instrument_id, read_specs
from backtest.data.importers.common import Csv, Imported, Line, Request, cut_at_delivery, read_csv, read_header
from backtest.data.importers.merge import merge, merge_instruments
from backtest.data.schema import FUNDING_COLUMNS, PRICES, Tables
from backtest.data.validate import bar_errors, bar_step, delivery_errors, funding_errors, refuse, series_errors, show_time, time_errors
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind

SHAPES = ("klines", "funding", "specs")
PREMIUM_INDEX = "premium_index"

_BULK_HEADER = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count", "taker_buy_volume",
    "taker_buy_quote_volume", "ignore",
)  # fmt: skip
_KLINE_START = ("timestamp", "opentime")
_FUNDING_TIME = ("timestamp", "fundingtime", "calctime")
_FUNDING_RATE = ("rate", "fundingrate", "lastfundingrate")
# a vendor's column, in lower case and without underscores → ours
_KLINE_COLUMNS = {
    "volume": "volume", "quotevolume": "quote_volume", "quoteassetvolume": "quote_volume", "trades": "trades", "count": "trades",
    "numberoftrades": "trades", "takerbuybase": "taker_buy_volume", "takerbuyvolume": "taker_buy_volume",
    "takerbuybasevolume": "taker_buy_volume", "takerbuybaseassetvolume": "taker_buy_volume", "takerbuyquote": "taker_buy_quote_volume",
    "takerbuyquotevolume": "taker_buy_quote_volume", "takerbuyquoteassetvolume": "taker_buy_quote_volume",
}  # fmt: skip
_SYMBOL = re.compile(r"[A-Z0-9]+(?:USDT|USDC|BUSD|FDUSD|TUSD|USD)")


def sniff(file: Path, header: Sequence[str]) -> str | None:
    """Tell "klines", "funding" or "specs"; None for a file of another kind."""
    names = {_plain(name) for name in header}
    if {"filters", "deliverydate"} & names and "symbol" in names:
        return "specs"
    if names & set(_FUNDING_RATE):
        return "funding"
    if _headless(header) or (names & {*_KLINE_START, *PRICES} and "fundingintervalhours" not in names):
        return "klines"
    return None


def parse(files: Sequence[Path], request: Request) -> Imported:
    """Bars, funding, the premium index and instruments from some files; raises `DataError` with file and line for what can't be trusted."""
    shapes: dict[str, list[Csv]] = {shape: [] for shape in SHAPES}
    for file in files:
        header = read_header(file)
        shape = sniff(file, header)
        if shape is None:
            remedy = 'leave it out, or use "carry data import csv" with a mapping'
            raise DataError(
                f"{file}: is neither klines, funding nor contract specs of Binance (columns {', '.join(header)[:80]}); {remedy}"
            )
        shapes[shape].append(read_csv(file, _BULK_HEADER if _headless(header) else None))
    specs = read_specs(shapes["specs"])
    symbols = _Symbols(shapes["funding"], specs, request.symbol)
    result = _Result(specs, request)
    for table in shapes["funding"]:
        for symbol, rows in symbols.of_funding(table):
            result.add_funding(table, symbol, rows)
    for table in shapes["klines"]:
        if _is_premium_index(table.file):
            result.add_premium_index(table)
        else:
            result.add_bars(table, symbols)
    return result.finished()


class _Symbols:
    """Which symbol a file is about: its own name says it, or --symbol, or the only one that the other files speak of."""

    def __init__(self, funding: Sequence[Csv], specs: Specs, asked: str | None) -> None:
        self.asked = asked
        told = {symbol for table in funding if "symbol" in table.columns for symbol in table.columns["symbol"]}
        self.told = sorted(told or {key.rpartition("-")[0] for key in specs})

    def of_file(self, file: Path) -> str:
        named = next((token for token in _tokens(file) if _SYMBOL.fullmatch(token)), None)
        if named and self.asked and named != self.asked:
            raise DataError(f"{file}: its name says {named} and --symbol says {self.asked}; import the files of one symbol at a time")
        if symbol := named or self.asked or (self.told[0] if len(self.told) == 1 else None):
            return symbol
        choice = f" (the other files speak of {', '.join(self.told)})" if self.told else ""
        raise DataError(f"{file}: its name has no symbol{choice}; give one, such as --symbol ETHUSDT")

    def of_funding(self, table: Csv) -> list[tuple[str, np.ndarray]]:
        if "symbol" not in table.columns:
            return [(self.of_file(table.file), np.ones(len(table.lines), dtype=bool))]
        column = np.array(table.columns["symbol"], dtype=object)
        return [(symbol, column == symbol) for symbol in sorted(set(column)) if self.asked in (None, symbol)]


class _Result:
    """Gathers what the files hold."""

    def __init__(self, specs: Specs, request: Request) -> None:
        self.specs, self.request = specs, request
        self.tables = Tables()
        self.lines: list[Line] = []
        self.notes: list[str] = []

    def add_bars(self, table: Csv, symbols: _Symbols) -> None:
        kind, date = _kind(table.file)
        one = self._instrument(symbols.of_file(table.file), kind, date)
        whole = _bars(table)
        bars = cut_at_delivery(table.file, one, whole)
        refuse(bar_errors(bars, table.where))
        refuse(delivery_errors(one, pd.DatetimeIndex(bars.index), table.where))
        self._merge(Tables(instruments=[one], bars={one.id: bars}))
        self._account(table.file, one.id, pd.DatetimeIndex(bars.index), len(whole) - len(bars))

    def add_funding(self, table: Csv, symbol: str, rows: np.ndarray) -> None:
        one = self._instrument(symbol, Kind.PERPETUAL, None)
        part = table if rows.all() else table.rows(rows)
        funding = _funding(part)
        refuse(funding_errors(funding, part.where))
        self._merge(Tables(instruments=[one], funding={one.id: funding}))
        self._account(table.file, f"{one.id} funding", pd.DatetimeIndex(funding.index), 0)

    def add_premium_index(self, table: Csv) -> None:
        start, step = _starts(table)
        times = start + step
        series = pd.DataFrame({"ts": times, "known_at": times, "value": table.numbers(_find(table, ("close",)))})
        refuse(series_errors(series, table.where))
        self._merge(Tables(series={PREMIUM_INDEX: series}))
        self._account(table.file, PREMIUM_INDEX, times, 0)

    def finished(self) -> Imported:
        """Give the result, with specs for the instruments that have data here or had some before."""
        present = {one.id for one in self.tables.instruments} | set(self.request.known)
        used = [one for key, one in self.specs.items() if key in present]
        self.tables = replace(self.tables, instruments=merge_instruments(self.tables.instruments, used))
        if cut := sum(line.cut for line in self.lines):
            self.notes.insert(0, f"{cut:,} bars ended after delivery and were cut")
        unused = sorted(set(self.specs) - present)
        if unused:
            self.notes.append(f"specs without data, left out: {', '.join(unused)}")
        return Imported(tables=self.tables, lines=self.lines, notes=self.notes)

    def _instrument(self, symbol: str, kind: Kind, date: str | None) -> Instrument:
        key = instrument_id(symbol, kind, date)
        if one := self.specs.get(key) or self.request.known.get(key):
            return one
        one = assumed_instrument(symbol, kind, date)
        note = f"{one.id}: no contract specs; delivery taken from its name, {show_time(one.expires_at)}" if one.expires_at else None
        if note and note not in self.notes:
            self.notes.append(note)
        return one

    def _merge(self, part: Tables) -> None:
        self.tables = merge(self.tables, part)

    def _account(self, file: Path, target: str, times: pd.DatetimeIndex, cut: int) -> None:
        self.lines.append(Line(file=file, target=target, kept=len(times), cut=cut, first=times[0], last=times[-1]))


def _bars(table: Csv) -> pd.DataFrame:
    """Klines as bars stamped with their end; columns that are empty throughout are left out."""
    columns = {name: table.numbers(_find(table, (name,))) for name in PRICES}
    start, step = _starts(table)
    for theirs in table.columns:
        if ours := _KLINE_COLUMNS.get(_plain(theirs)):
            columns[ours] = table.numbers(theirs)
    known = {name: values for name, values in columns.items() if name in PRICES or not np.isnan(values).all()}
    return pd.DataFrame(known, index=(start + step).rename("ts"))


def _starts(table: Csv) -> tuple[pd.DatetimeIndex, pd.Timedelta]:
    """Start stamps and the bar's length: from close times where there are some, else the usual distance of the stamps."""
    start = table.times(_find(table, _KLINE_START))
    refuse(time_errors(start, table.where))
    closes = next((name for name in table.columns if _plain(name) == "closetime"), None)
    if closes is not None:
        lengths = (table.times(closes) - start).ceil("s")
        return start, pd.Timedelta(lengths.value_counts().index[0])
    step = bar_step(start)
    if step is None:
        raise DataError(f'{table.where(0)}: one row does not tell a bar\'s length; add rows, or use "carry data import csv" with a mapping')
    return start, step


def _funding(table: Csv) -> pd.DataFrame:
    """Funding events at their second, with rate, interval and mark price (NaN where the file has none)."""
    times = table.times(_find(table, _FUNDING_TIME)).round("s")
    rate = table.numbers(_find(table, _FUNDING_RATE))
    named = {_plain(name): name for name in table.columns}
    refuse(time_errors(times, table.where))
    hours = table.numbers(named["fundingintervalhours"]) if "fundingintervalhours" in named else _interval_hours(times)
    mark = table.numbers(named["markprice"]) if "markprice" in named else np.full(len(times), np.nan)
    return pd.DataFrame(dict(zip(FUNDING_COLUMNS, (rate, hours, mark), strict=True)), index=times.rename("ts"))


def _interval_hours(times: pd.DatetimeIndex) -> np.ndarray:
    """Hours between an event and its nearer neighbour, at most the eight of Binance's default: a hole is not a longer interval."""
    apart = np.diff(times.to_numpy(dtype="datetime64[ns]").astype(np.int64)) / 3.6e12
    return np.asarray(np.fmin(np.fmin(np.append(np.nan, apart), np.append(apart, np.nan)), 8.0))


def _kind(file: Path) -> tuple[Kind, str | None]:
    """What a file's name, else the archive's folder, says that it holds: the kind and, for a dated contract, its yymmdd."""
    tokens, folders = _tokens(file), set(file.parts[:-1])
    if folders & {"markPriceKlines", "indexPriceKlines"} or any(token.lower().startswith(("mark", "index")) for token in tokens):
        raise DataError(f"{file}: holds prices that nobody traded at (mark or index); they can't be imported as bars; leave the file out")
    if "cm" in folders:
        raise DataError(f"{file}: is coin-margined; only contracts settled in the quote currency can be imported; leave the file out")
    for start, kind in (("spot", Kind.SPOT), ("perp", Kind.PERPETUAL)):
        if any(token.lower().startswith(start) for token in tokens):
            return kind, None
    date = next((token for token in tokens if delivery_date(token)), None)
    if date:
        return Kind.FUTURE, date
    for folder, kind in (("spot", Kind.SPOT), ("um", Kind.PERPETUAL)):
        if folder in folders:
            return kind, None
    raise DataError(f"{file}: its name does not say what it holds; begin it with spot or perp, or put the delivery date in it (yymmdd)")


def _is_premium_index(file: Path) -> bool:
    return "premiumIndexKlines" in file.parts or any(token.lower().startswith("premium") for token in _tokens(file))


def _tokens(file: Path) -> list[str]:
    return re.split(r"[^A-Za-z0-9]+", file.stem)


def _headless(header: Sequence[str]) -> bool:
    return len(header) == len(_BULK_HEADER) and header[0].isdigit()


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace(" ", "")


def _find(table: Csv, names: Sequence[str]) -> str:
    """The file's own name of a column known by any of `names`."""
    found = next((name for name in table.columns if _plain(name) in names), None)
    if found is None:
        raise DataError(f'{table.file}: column "{" or ".join(names)}" is missing; there are {", ".join(table.columns)}; download it again')
    return found
