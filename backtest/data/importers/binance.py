"""Binance files: klines, mark, index and premium-index klines, funding rates, metrics and contract specs, as its API, its archive and its users
write them.

Binance stamps a kline with its start and a funding event with some milliseconds of jitter; here a bar is stamped with its end and an event
with its second. Files of dated contracts run past delivery. The instrument comes from the file's name (`spot…`, `perp…`, `…YYMMDD…`, or the
archive's folders), its facts from an exchangeInfo table or answer; contracts whose symbol ends in USD are coin-margined: their klines count
contracts where others count coins. The margin rates in that table are not those of any position and are left alone.

    for part in parse(sources_in(["spot.csv", "240329.csv", "specs.csv"]), Request()): ...
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd

from backtest.data.importers.binance_specs import VENUE, Specs, assumed_instrument, is_exchange_info, read_specs
from backtest.data.importers.canonical import column_series, interval_hours, row_length
from backtest.data.importers.common import Csv, Part, Request, csv_blocks, read_csv
from backtest.data.importers.naming import delivery, instrument_id
from backtest.data.importers.source import Source
from backtest.data.schema import FUNDING_COLUMNS, PRICES
from backtest.data.validate import refuse, show_time, time_errors
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind, Settle

_SPECS = "Binance contract specs"
_NAMED = 12  # instruments in a note
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
# prices that nobody traded at: the archive's folder, in lower case → our columns and the kline's that they come from
_DERIVED = {
    "premiumindexklines": {},
    "markpriceklines": {"mark": "close", "mark_high": "high", "mark_low": "low"},
    "indexpriceklines": {"index": "close"},
}  # fmt: skip
# a metrics file's column → the series' name behind the instrument's id
_METRICS = {
    "sum_open_interest": "open_interest", "sum_open_interest_value": "open_interest_value",
    "count_toptrader_long_short_ratio": "top_trader_account_ratio", "sum_toptrader_long_short_ratio": "top_trader_position_ratio",
    "count_long_short_ratio": "long_short_ratio", "sum_taker_long_short_vol_ratio": "taker_long_short_ratio",
}  # fmt: skip
_SYMBOL = re.compile(r"[A-Z0-9]+(?:USDT|USDC|BUSD|FDUSD|TUSD|USD)")
# words of a file's name that tell a derived price, or a kind
_WORDS = {
    "premiumindexklines": re.compile("premium.*"),
    "markpriceklines": re.compile("mark(price.*)?"),
    "indexpriceklines": re.compile("index(price.*)?"),
}
_KINDS = {"spot": Kind.SPOT, "perp": Kind.PERPETUAL}
_FOLDERS = {"spot": Kind.SPOT, "um": Kind.PERPETUAL}
_SECOND = 10**9
_SHORTEST_MONTH = pd.Timedelta("28D")


def sniff(source: Source) -> str | None:
    """Klines, funding rates, metrics or contract specs of Binance; None for a file of another kind."""
    if is_exchange_info(source):
        return _SPECS
    names = {_plain(name) for name in source.header}
    if names & {"exchange", "localtimestamp"}:  # a collector's file of several venues
        return None
    if {"filters", "deliverydate"} <= names or {"filters", "symbol"} <= names:
        return _SPECS
    if {"createtime", "sumopeninterest"} <= names:
        return "Binance metrics"
    if names & set(_FUNDING_RATE) and names & {*_FUNDING_TIME, "symbol"}:
        return "Binance funding rates"
    named = _date_or_kind(source) or _derived(source) or _named_symbol(source)
    if _headless(source.header) or names & {"closetime", "quoteassetvolume"} or (names & {*_KLINE_START, *PRICES} and named):
        derived = _derived(source)
        return (
            f"Binance {derived.replace('index', ' index').replace('price', ' price').removesuffix('klines').strip()} klines"
            if derived
            else "Binance klines"
        )
    return None


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """Instruments first, then bars, funding and series; raises `DataError` with file and line for what can't be trusted."""
    kinds = {source.name: sniff(source) for source in sources}
    specs_of = {source.name: source for source in sources if kinds[source.name] == _SPECS}
    specs = read_specs(list(specs_of.values()))
    names = _Names(specs, request, [source for source in sources if kinds[source.name] == "Binance funding rates"])
    seen: set[str] = set()
    for source in sources:
        kind = kinds[source.name]
        if source.name in specs_of:
            continue
        read = {"Binance funding rates": _funding, "Binance metrics": _metrics}.get(str(kind), _klines)
        for part in read(source, names):
            seen |= {part.key.partition(".")[0]}
            yield part
    used = {*seen, *request.known}
    unused = sorted(set(specs) - used)
    more = f" and {len(unused) - _NAMED:,} more" if len(unused) > _NAMED else ""
    notes = [f"specs without data, left out: {', '.join(unused[:_NAMED])}{more}"] if unused else []
    for source in specs_of.values():
        yield Part(source=source, instruments=[one for key, one in specs.items() if key in used], notes=notes)


class _Names:
    """Which instrument a file is about: its own name says the symbol, or --symbol, or the only one that the other files speak of."""

    def __init__(self, specs: Specs, request: Request, funding: Sequence[Source]) -> None:
        self.specs, self.request = specs, request
        told = {symbol for source in funding if "symbol" in source.header for symbol in read_csv(source).text("symbol")}
        self.told = sorted(told or {key.rpartition("-")[0] for key in specs})

    def symbol(self, source: Source) -> str:
        asked = self.request.symbol
        named = _named_symbol(source)
        if named and asked and named != asked:
            raise DataError(f"{source.name}: its name says {named} and --symbol says {asked}; import the files of one symbol at a time")
        if symbol := named or asked or (self.told[0] if len(self.told) == 1 else None):
            return symbol
        choice = f" (the other files speak of {', '.join(self.told)})" if self.told else ""
        raise DataError(f"{source.name}: its name has no symbol{choice}; give one, such as --symbol ETHUSDT")

    def instrument(self, symbol: str, kind: Kind, date: str | None = None) -> tuple[Instrument, list[str]]:
        """The instrument, by its specs if there are some, and what was assumed of it."""
        key = instrument_id(VENUE, kind, symbol, date)
        if one := self.specs.get(key) or self.request.known.get(key):
            return one, []
        one = assumed_instrument(symbol, kind, date)
        taken = f"{one.id}: no contract specs; delivery taken from its name, {show_time(one.expires_at)}"
        return one, [taken] if one.expires_at else []


def _klines(source: Source, names: _Names) -> Iterator[Part]:
    """Bars stamped with their end, or what derived prices become: columns of the instrument's bars, or a series."""
    derived = _derived(source)
    kind, date = _date_or_kind(source) or (Kind.PERPETUAL, None) if derived else _kind(source)
    one, notes = names.instrument(names.symbol(source), kind, date)
    step: pd.Timedelta | None = None
    for table in csv_blocks(source, _BULK_HEADER if _headless(source.header) else None):
        start = table.times(_find(table, _KLINE_START))
        price = {name: table.numbers(_find(table, (name,))) for name in PRICES}
        refuse(time_errors(start, table.where))
        lengths = _lengths(table, start)
        step = step or (row_length(table, start) if lengths is None else pd.Timedelta(int(_commonest(lengths)), "ns"))
        part = partial(Part, source=source, where=table.where, instruments=[one], notes=notes)
        ends = _ends(table, start, step, lengths).rename("ts")
        if derived == "premiumindexklines":
            series = pd.DataFrame({"ts": ends, "known_at": ends, "value": price["close"]})
            yield part(room="series", key=f"{one.id}.premium_index", frame=series)
        elif derived:
            yield part(
                room="bars", key=one.id, frame=pd.DataFrame({ours: price[theirs] for ours, theirs in _DERIVED[derived].items()}, index=ends)
            )
        else:
            yield part(room="bars", key=one.id, frame=pd.DataFrame({**price, **_volumes(table, one)}, index=ends))


def _volumes(table: Csv, one: Instrument) -> dict[str, np.ndarray]:
    """Volumes in base units; columns that are empty throughout are left out. A coin-margined kline counts contracts, then coins."""
    columns = {ours: table.numbers(theirs) for theirs in table.columns if (ours := _KLINE_COLUMNS.get(_plain(theirs)))}
    if one.settle is Settle.INVERSE:
        coins = {"quote_volume": "volume", "taker_buy_quote_volume": "taker_buy_volume", "trades": "trades"}
        columns = {ours: columns[theirs] for theirs, ours in coins.items() if theirs in columns}
    return {name: values for name, values in columns.items() if not np.isnan(values).all()}


def _lengths(table: Csv, start: pd.DatetimeIndex) -> np.ndarray | None:
    """What lies between each bar's start and its close time, which is one unit before its end, in ns up to whole seconds; None without one."""
    closes = next((name for name in table.columns if _plain(name) == "closetime"), None)
    return None if closes is None else -((start.asi8 - table.times(closes).asi8) // _SECOND) * _SECOND


def _commonest(lengths: np.ndarray) -> np.int64:
    if (lengths == lengths[0]).all():
        return np.int64(lengths[0])
    values, counts = np.unique(lengths, return_counts=True)
    return np.int64(values[counts.argmax()])


def _ends(table: Csv, start: pd.DatetimeIndex, step: pd.Timedelta, lengths: np.ndarray | None) -> pd.DatetimeIndex:
    """The bars' ends. Months differ in length; of others a bar that was closed early ends with its time, and none is longer than `step`."""
    if lengths is None or (lengths == step.value).all():
        return start + step
    if step >= _SHORTEST_MONTH:
        return start + pd.to_timedelta(lengths, unit="ns")
    wrong = np.flatnonzero((lengths <= 0) | (lengths > step.value))
    if len(wrong):
        seconds, row = lengths[wrong[0]] / _SECOND, int(wrong[0])
        usual = step / pd.Timedelta("1s")
        raise DataError(f"{table.where(row)}: closes {seconds:g} s after its start, other bars {usual:g} s; correct the row or remove it")
    return start + step


def _funding(source: Source, names: _Names) -> Iterator[Part]:
    """Funding events at their second, with rate, interval and mark price (NaN where the file has none)."""
    whole = read_csv(source)
    symbols = np.array(whole.text("symbol")) if "symbol" in whole.columns else np.full(len(whole), names.symbol(source))
    for symbol in sorted(set(symbols)):
        if names.request.symbol not in (None, symbol):
            continue
        table = whole.rows(symbols == symbol)
        one, notes = names.instrument(symbol, Kind.PERPETUAL)
        times = table.times(_find(table, _FUNDING_TIME)).round("s")
        refuse(time_errors(times, table.where))
        named = {_plain(name): name for name in table.columns}
        hours = table.numbers(named["fundingintervalhours"]) if "fundingintervalhours" in named else interval_hours(times)
        mark = table.numbers(named["markprice"]) if "markprice" in named else np.full(len(times), np.nan)
        values = (table.numbers(_find(table, _FUNDING_RATE)), hours, mark)
        frame = pd.DataFrame(dict(zip(FUNDING_COLUMNS, values, strict=True)), index=times.rename("ts"))
        yield Part(source=source, room="funding", key=one.id, frame=frame, where=table.where, instruments=[one], notes=notes)


def _metrics(source: Source, names: _Names) -> Iterator[Part]:
    """Open interest and the ratios of long to short as series, known when they were made."""
    table = read_csv(source)
    one, notes = names.instrument(names.symbol(source), Kind.PERPETUAL)
    times = table.times("create_time")
    refuse(time_errors(times, table.where))
    for theirs, ours in _METRICS.items():
        if theirs in table.columns:
            yield column_series(table, f"{one.id}.{ours}", times, table.numbers(theirs), instruments=[one], notes=notes)


def _kind(source: Source) -> tuple[Kind, str | None]:
    """What a file holds; raises `DataError` if its name doesn't say it."""
    if found := _date_or_kind(source):
        return found
    remedy = "begin it with spot or perp, put the delivery date in it (yymmdd), or keep the archive's folders (spot, um, cm)"
    raise DataError(f"{source.name}: its name does not say what it holds; {remedy}")


def _date_or_kind(source: Source) -> tuple[Kind, str | None] | None:
    """What a file's name, else the archive's folder, says that it holds: the kind and, for a dated contract, its yymmdd."""
    tokens = [token for token in _tokens(source) if not _SYMBOL.fullmatch(token)]
    for start, kind in _KINDS.items():
        if any(token.lower().startswith(start) for token in tokens):
            return kind, None
    if date := next((token for token in tokens if delivery(token)), None):
        return Kind.FUTURE, date
    return next(((_FOLDERS[folder], None) for folder in reversed(source.path.parts[:-1]) if folder in _FOLDERS), None)


def _named_symbol(source: Source) -> str | None:
    return next((token for token in _tokens(source) if _SYMBOL.fullmatch(token)), None)


def _derived(source: Source) -> str | None:
    """The archive's folder of prices that nobody traded at, in lower case, or the one that the file's name speaks of; None for klines of trades."""
    folders = {part.lower() for part in source.path.parts[:-1]}
    words = [token.lower() for token in _tokens(source) if not _SYMBOL.fullmatch(token)]
    return next((one for one in _DERIVED if one in folders or any(_WORDS[one].fullmatch(word) for word in words)), None)


def _tokens(source: Source) -> list[str]:
    return re.split(r"[^A-Za-z0-9]+", source.path.stem)


def _headless(header: Sequence[str]) -> bool:
    return len(header) == len(_BULK_HEADER) and header[0].isdigit()


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace(" ", "")


def _find(table: Csv, names: Sequence[str]) -> str:
    """The file's own name of a column known by any of `names`."""
    found = next((name for name in table.columns if _plain(name) in names), None)
    if found is None:
        raise DataError(
            f'{table.source.name}: column "{" or ".join(names)}" is missing; there are {", ".join(table.columns)}; download it again'
        )
    return found
