"""Spot bars in the shape of Coinbase's daily exports and of CryptoDataDownload: a date, a symbol and prices in each row, newest first or last.

The stamp is a bar's start in UTC (`unix` where there is one, for old files write `2018-01-01 01-PM`). CryptoDataDownload puts its address
above the header and names the volumes' currencies (`Volume ETH`, `Volume USD`). Bars end a whole step later; a day's at 24:00 UTC.

    parts = parse(sources_in(["Coinbase_ETHUSD_1h.csv"]), Request())
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from backtest.data.importers.canonical import row_length
from backtest.data.importers.common import Csv, Part, Request, read_csv
from backtest.data.importers.naming import VENUES, instrument_id
from backtest.data.importers.record_parts import refuse_other
from backtest.data.importers.source import Source
from backtest.data.schema import PRICES
from backtest.data.validate import Where, refuse, time_errors
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind

_TIMES = ("unix", "date", "time", "timestamp")
_QUOTES = ("USDT", "USDC", "USD")
_SYMBOL = re.compile(rf"([A-Z0-9]+?)[/_-]?({'|'.join(_QUOTES)})")
_HALF_DAY = re.compile(r"\d{4}-\d\d-\d\d \d\d-[AP]M")


def sniff(source: Source) -> str | None:
    """Tell bars of CryptoDataDownload and of Coinbase; None for a file of another shape."""
    names = {name.lower() for name in source.header}
    if not {"symbol", *PRICES} <= names or not names & set(_TIMES) or "exchange" in names or "ts_event" in names:
        return None
    if any(name.startswith("volume ") for name in names):
        return "CryptoDataDownload bars"
    return "Coinbase bars" if {"date", "volume"} <= names else None


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """Spot bars in order of time; raises `DataError` for a venue or symbol that can't be told and for rows that can't be read."""
    for source in sources:
        table = read_csv(source)
        names = {name.lower(): name for name in table.columns}
        one = _instrument(source, table, names)
        refuse_other(source, table.text(names["symbol"])[0], one, request)
        starts = _starts(table, names)
        order = np.argsort(starts.asi8, kind="stable")
        starts = starts[order]
        where = _reordered(table, order)
        refuse(time_errors(starts, where))
        columns = {name: table.numbers(names[name])[order] for name in PRICES} | {
            ours: table.numbers(theirs)[order] for ours, theirs in _volumes(one, names).items()
        }
        frame = pd.DataFrame(columns, index=(starts + row_length(table, starts)).rename("ts"))
        yield Part(source=source, room="bars", key=one.id, frame=frame, where=where, instruments=[one])


def _reordered(table: Csv, order: np.ndarray) -> Where:
    return lambda row: table.where(int(order[row]))


def _starts(table: Csv, names: dict[str, str]) -> pd.DatetimeIndex:
    name = next(names[each] for each in _TIMES if each in names)
    texts = table.text(name)
    if _HALF_DAY.fullmatch(texts[0]):
        parsed = pd.to_datetime(pd.Series(texts, dtype=object), format="%Y-%m-%d %I-%p", utc=True, errors="coerce")
        table.refuse_unparsed(name, parsed, "2018-01-01 01-PM, as in the first row")
        return pd.DatetimeIndex(parsed).as_unit("ns")
    return table.times(name)


def _volumes(one: Instrument, names: dict[str, str]) -> dict[str, str]:
    """The columns with volumes, our name → theirs: a named currency tells which it is."""
    wanted = {"volume": ("volume", f"volume {one.base}".lower()), "quote_volume": (f"volume {one.quote}".lower(),)}
    found = {ours: names[name] for ours, choice in wanted.items() for name in choice if name in names}
    return found | ({"trades": names["tradecount"]} if "tradecount" in names else {})


def _instrument(source: Source, table: Csv, names: dict[str, str]) -> Instrument:
    symbols = table.text(names["symbol"])
    strange = next((row for row, symbol in enumerate(symbols) if symbol != symbols[0]), None)
    if strange is not None:
        raise DataError(
            f'{table.where(strange)}: symbol is "{symbols[strange]}", the first row has "{symbols[0]}"; import one symbol a file'
        )
    found = _SYMBOL.fullmatch(symbols[0].upper())
    if found is None:
        raise DataError(f'{table.where(0)}: symbol is "{symbols[0]}"; it must be a pair against {", ".join(_QUOTES)}; use a mapping')
    venue = _venue(source)
    return Instrument(id=instrument_id(venue, Kind.SPOT, found[1] + found[2]), venue=venue, kind=Kind.SPOT, base=found[1], quote=found[2])


def _venue(source: Source) -> str:
    """The venue that the file's name begins with or a folder is called after; Coinbase's own exports carry no name, only its columns."""
    words = [word for part in reversed(source.path.parts) for word in re.split(r"[^a-z]+", part.lower())]
    if venue := next((word for word in words if word in VENUES), None):
        return venue
    if sniff(source) == "Coinbase bars":
        return "coinbase"
    raise DataError(f"{source.name}: its name has no exchange; name it as it was downloaded, such as Coinbase_ETHUSD_1h.csv")
