"""freqtrade's feather files: candles of spot and futures, mark and index candles, and funding rates.

The name of a file tells what it holds: `ETH_USDT-1h.feather` is spot, `ETH_USDT_USDT-1h-futures` a linear perpetual (`ETH_USD_ETH` an inverse
one, with the currency it settles in at the end), `-mark`, `-index` and `-funding_rate` go with it. `date` is a candle's start; a funding rate
stands in `open` at the time it was paid. The exchange is the folder's name, as in freqtrade's own data folder.

    parts = parse(sources_in(["user_data/data/binance/futures/"]), Request())
"""

import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from backtest.data.importers.canonical import interval_hours
from backtest.data.importers.common import Part, Request
from backtest.data.importers.naming import VENUES, delivery, instrument_id, inverse_value
from backtest.data.importers.record_parts import refuse_other
from backtest.data.importers.source import Source
from backtest.data.schema import PRICES
from backtest.data.validate import refuse, time_errors
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind, Settle

_MAGIC = (b"ARROW1", b"FEA1")
_COLUMNS = ("date", *PRICES, "volume")
_NAME = re.compile(
    r"(?P<base>[A-Z0-9]+)_(?P<quote>[A-Z0-9]+?)(?:_(?P<settle>[A-Z0-9]+))?(?:-(?P<date>\d{6}))?-(?P<frame>\d+[mhdw])(?:-(?P<kind>\w+))?\.feather"
)
_UNITS = {"m": "min", "h": "h", "d": "D", "w": "W"}
_KINDS = {
    "": "candles",
    "spot": "candles",
    "futures": "candles",
    "mark": "mark candles",
    "index": "index candles",
    "funding_rate": "funding rates",
}
# what a candle's prices become in the bars of its instrument
_DERIVED = {"mark": {"mark": "close", "mark_high": "high", "mark_low": "low"}, "index": {"index": "close"}}


def sniff(source: Source) -> str | None:
    """Tell candles, mark and index candles and funding rates by the file's name; None for a file that is no feather."""
    if not source.head.startswith(_MAGIC):
        return None
    found = _NAME.fullmatch(source.path.name)
    kind = _KINDS.get(found["kind"] or "") if found else None
    return f"freqtrade {kind}" if kind else None


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """Bars and funding events; raises `DataError` for a file that is damaged, lacks a column or is of an exchange that isn't known."""
    for source in sources:
        told = _NAME.fullmatch(source.path.name)
        assert told is not None  # `sniff` has seen it
        one, notes = _instrument(source, told.groupdict(), request)
        table = _table(source)
        where = source.records()
        starts = _starts(table, source)
        refuse(time_errors(starts, where))
        kind = told["kind"] or ""
        if kind == "funding_rate":
            yield _funding(source, one, table, starts, notes)
            continue
        length = pd.Timedelta(f"{told['frame'][:-1]}{_UNITS[told['frame'][-1]]}")
        prices = PRICES if one.settle is Settle.INVERSE else (*PRICES, "volume")  # the volume of inverse contracts is in contracts
        columns = _DERIVED.get(kind, {name: name for name in prices})
        frame = pd.DataFrame(
            {ours: table[theirs].to_numpy(dtype="float64") for ours, theirs in columns.items()}, index=(starts + length).rename("ts")
        )
        frame = frame[[name for name in frame if name != "volume" or not frame[name].isna().all()]]
        yield Part(source=source, room="bars", key=one.id, frame=frame, where=where, instruments=[one], notes=notes)


def _funding(source: Source, one: Instrument, table: pd.DataFrame, times: pd.DatetimeIndex, notes: list[str]) -> Part:
    """Funding events at their second; the interval is the distance to the nearer neighbour, as far as that tells it."""
    stamps = times.round("s").rename("ts")
    hours = interval_hours(stamps)
    frame = pd.DataFrame({"rate": table["open"].to_numpy(dtype="float64"), "interval_hours": hours, "mark_price": np.nan}, index=stamps)
    return Part(source=source, room="funding", key=one.id, frame=frame, where=source.records(), instruments=[one], notes=notes)


def _starts(table: pd.DataFrame, source: Source) -> pd.DatetimeIndex:
    dates = table["date"]
    if not pd.api.types.is_datetime64_any_dtype(dates):
        raise DataError(f"{source.name}: column date is {dates.dtype}, not times; is it freqtrade's file? download it again")
    times = pd.DatetimeIndex(dates)
    return (times.tz_localize("UTC") if times.tz is None else times.tz_convert("UTC")).as_unit("ns")


def _table(source: Source) -> pd.DataFrame:
    import pyarrow as pa
    from pyarrow import feather

    with source.reading(), source.open() as content:
        raw = content.read()
    try:
        table: Any = feather.read_feather(io.BytesIO(raw))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{source.name}: is truncated or no feather file ({str(error).splitlines()[0][:120]}); download it again"
        ) from error
    absent = [name for name in _COLUMNS if name not in table.columns]
    if absent:
        raise DataError(f'{source.name}: column "{absent[0]}" is missing; candles have {", ".join(_COLUMNS)}; download it again')
    text = [name for name in _COLUMNS[1:] if not pd.api.types.is_numeric_dtype(table[name])]
    if text:
        raise DataError(f"{source.name}: column {text[0]} is {table[text[0]].dtype}, not numbers; download it again")
    if table.empty:
        raise DataError(f"{source.name}: is empty; remove it or download it again")
    return pd.DataFrame(table)


def _instrument(source: Source, told: dict[str, str | None], request: Request) -> tuple[Instrument, list[str]]:
    """The instrument that a file's name and folder say, and what was assumed of its venue."""
    venue, notes = _venue(source)
    base, quote, settle, date = str(told["base"]), str(told["quote"]), told["settle"], told["date"]
    kind = Kind.SPOT if settle is None else Kind.FUTURE if date else Kind.PERPETUAL
    if settle not in (None, base, quote):
        raise DataError(f"{source.name}: settles in {settle}, neither {base} nor {quote}; such contracts can't be held here; leave it out")
    one = Instrument(
        id=instrument_id(venue, kind, base + quote, date),
        venue=venue,
        kind=kind,
        base=base,
        quote=quote,
        settle=Settle.INVERSE if settle == base else Settle.LINEAR,
        multiplier=inverse_value(venue, base) if settle == base else 1.0,
        expires_at=delivery(date) if date else None,
    )
    refuse_other(source, base + quote, one, request)
    return request.known.get(one.id, one), notes


def _venue(source: Source) -> tuple[str, list[str]]:
    folders = [part for part in source.path.parts[:-1] if part != "futures"]
    nearest = folders[-1] if folders else ""
    if nearest in VENUES:
        return nearest, []
    if len(folders) > 1 and folders[-2] == "data":
        raise DataError(f"{source.name}: its folder says exchange {nearest}; known: {', '.join(VENUES)}; leave it out")
    return "binance", [f"{source.name}: its folder is not named after an exchange, so it was taken as binance's"]
