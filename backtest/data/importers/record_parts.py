"""From a venue's records to parts: which instrument they are of, bars and funding in order of time, series known at their own time.

Pages of an answer overlap and come newest first: rows are sorted, and rows that stand twice are taken once. A contract's symbol tells all but
its lots; where a contract list is among the sources, its facts are taken.

    for one, rows in by_instrument(records, request, instrument_of, facts):
        pieces.append(Funding(one, rows, rows.times("time"), {"rate": rows.numbers("fundingRate")}))
    yield from funding_parts(pieces)
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from backtest.data.importers.canonical import interval_hours
from backtest.data.importers.common import Part, Request
from backtest.data.importers.naming import delivery, instrument_id
from backtest.data.importers.records import Records, Shape
from backtest.data.importers.source import Source
from backtest.data.schema import FUNDING_COLUMNS
from backtest.data.validate import bar_step, show_length, show_time
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind, Settle

Facts = Mapping[str, Instrument]

_LATE = pd.Timedelta(5, "min")


class Funding(NamedTuple):
    """Funding events of one instrument out of one source; without "interval_hours" among the columns, neighbours tell the interval."""

    one: Instrument
    records: Records
    times: pd.DatetimeIndex
    columns: Mapping[str, np.ndarray]
    notes: Sequence[str] = ()


def instrument(venue: str, kind: Kind, base: str, quote: str, date: str = "", *, inverse: float = 0.0) -> Instrument:
    """An instrument as far as its symbol tells; `date` is a delivery as yymmdd, `inverse` an inverse contract's value in the quote currency."""
    return Instrument(
        id=instrument_id(venue, kind, base + quote, date),
        venue=venue,
        kind=kind,
        base=base,
        quote=quote,
        settle=Settle.INVERSE if inverse else Settle.LINEAR,
        multiplier=inverse or 1.0,
        expires_at=delivery(date) if kind is Kind.FUTURE else None,
    )


def with_facts(one: Instrument, **facts: Any) -> Instrument:
    """An instrument with what a contract list says of it: numbers (NaN for what it doesn't say) and times."""
    said: dict[str, Any] = {
        name: float(value) if isinstance(value, float) else value for name, value in facts.items() if value is not None and value == value
    }
    return replace(one, **said)


def by_instrument(
    records: Records, request: Request, column: str, instrument_of: Callable[[str], Instrument | None], facts: Facts
) -> Iterator[tuple[Instrument, Records]]:
    """The records of each instrument that the user wants, told from a column; raises `DataError` for a strange symbol and if none is left."""
    symbols = np.array(records.text(column), dtype=object)
    left_out = []
    for symbol in dict.fromkeys(symbols):
        rows = records.take(symbols == symbol)
        one = instrument_of(symbol)
        if request.symbol is None and one is None:
            raise DataError(f'{rows.where(0)}: {column} "{symbol}" is no contract that can be imported; choose another with --symbol')
        if one is None or not wanted(symbol, one, request):
            left_out.append(symbol)
        else:
            yield known(one, request, facts), rows
    if len(left_out) == len(set(symbols)):
        raise DataError(f"{records.source.name}: has nothing of {request.symbol}; it has {', '.join(left_out[:5])}; choose one of them")


def wanted(symbol: str, one: Instrument, request: Request) -> bool:
    """Whether the user asked for all, or for this one: by the venue's symbol, its pair or its id."""
    return request.symbol in (None, symbol, one.base + one.quote, one.id)


def refuse_other(source: Source, symbol: str, one: Instrument, request: Request) -> None:
    """Raise `DataError` for a file of another instrument than the user asked for."""
    if not wanted(symbol, one, request):
        raise DataError(f"{source.name}: is of {one.id}, not of {request.symbol}; leave it out, or ask for the other symbol")


def known(one: Instrument, request: Request, facts: Facts) -> Instrument:
    """The instrument with the facts of a contract list, else as the dataset knows it, else as its symbol tells."""
    return facts.get(one.id) or request.known.get(one.id) or one


def named(records: Records, request: Request, pattern: str, instrument_of: Callable[[str], Instrument | None], example: str) -> Instrument:
    """The one instrument of an answer that doesn't say it: the user does, or the file's name; raises `DataError` if neither."""
    name = re.search(pattern, records.source.path.name)
    one = instrument_of(name[0]) if name else None
    if name and one:
        if wanted(name[0], one, request):
            return one
        raise DataError(
            f"{records.source.name}: its name says {name[0]} and --symbol says {request.symbol}; import the files of one symbol at a time"
        )
    one = request.known.get(request.symbol or "") or instrument_of(request.symbol or "")
    if one is None:
        why = f'"{request.symbol}" is not a symbol of this venue' if request.symbol else "the answer doesn't say whose it is"
        raise DataError(f"{records.source.name}: {why}; give it in the venue's spelling, such as --symbol {example}")
    return one


def contract_lists(
    tables: Sequence[Records], shape: Shape, describe: Callable[[Records], list[Instrument | None]], request: Request, column: str
) -> tuple[list[Part], Facts]:
    """The parts of the lists of contracts among some tables, and what they say of each instrument; `column` holds the symbol.

    Raises `DataError` if there are lists only and none has what the user wants.
    """
    lists = [(records, describe(records)) for records in tables if records.shape is shape]
    facts = {one.id: one for _, found in lists for one in found if one}
    parts = [_contracts_part(records, request, column, found) for records, found in lists]
    if len(lists) == len(tables) and not any(part.instruments for part in parts):
        raise DataError(f"{'; '.join(parts[0].notes)}; choose another list or --symbol")
    return parts, facts


def _contracts_part(records: Records, request: Request, column: str, found: Sequence[Instrument | None]) -> Part:
    """A list of contracts, one for each record; those without one (options, combinations) are counted."""
    symbols = records.text(column)
    chosen = [one for symbol, one in zip(symbols, found, strict=True) if one is not None and wanted(symbol, one, request)]
    others, notes = sum(one is None for one in found), []
    if not chosen:
        notes.append(f"lists no spot, perpetual or future{f' of {request.symbol}' if request.symbol else ''}")
    elif others:
        notes.append(f"{others:,} options, combinations or contracts of a kind that can't be imported were left out")
    return Part(source=records.source, instruments=chosen, notes=[f"{records.source.name}: {told}" for told in notes])


def bar_length(records: Records, starts: pd.DatetimeIndex, request: Request) -> tuple[pd.Timedelta, list[str]]:
    """The usual distance of the bars; of a single one, the length that the user gave, with a note."""
    step = bar_step(starts.sort_values().unique())
    if step is not None:
        return step, []
    told = (
        f"{records.source.name}: one bar doesn't tell its length, which was taken as {show_length(request.bar)}; say otherwise with --bar"
    )
    return request.bar, [told]


def bars_part(records: Records, one: Instrument, bars: pd.DataFrame, finished: np.ndarray, notes: Sequence[str] = ()) -> Part:
    """Bars in order of time without those that weren't finished; a file's only bar stays, with a note."""
    if not finished.any():
        told = (
            f"{records.source.name}: its bar ending {show_time(bars.index.max())} was not finished when it was asked for; import it again"
        )
        return _part(records, "bars", one, bars, np.ones(len(bars), dtype=bool), [*notes, told])
    return _part(records, "bars", one, bars, finished, notes)


def funding_parts(pieces: Sequence[Funding]) -> Iterator[Part]:
    """Funding events at their second, in order; where a venue doesn't say the interval it is the distance to the nearer event, at most 8 h."""
    together: dict[str, pd.DatetimeIndex] = {}
    for piece in pieces:
        times = piece.times.round("s")
        together[piece.one.id] = together.get(piece.one.id, times).union(times).unique().sort_values()
    for piece in pieces:
        times, every = piece.times.round("s"), together[piece.one.id]
        told = {
            "interval_hours": interval_hours(every)[every.get_indexer(times)],
            "mark_price": np.full(len(times), np.nan),
            **piece.columns,
        }
        columns = [*FUNDING_COLUMNS, *(name for name in told if name not in FUNDING_COLUMNS)]
        frame = pd.DataFrame(told, index=times.rename("ts"))[columns]
        yield _part(piece.records, "funding", piece.one, frame, np.ones(len(times), dtype=bool), piece.notes)


def on_the_hour(times: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Times of an hourly venue, whose stamps come some moments late, at the hour that they are paid for."""
    hour = times.floor("h")
    late = times - hour
    return pd.DatetimeIndex(np.where(late <= _LATE, hour.asi8, times.asi8), tz="UTC", name="ts")


def series_part(records: Records, one: Instrument, name: str, times: pd.DatetimeIndex, values: np.ndarray) -> Part:
    """A series of an instrument, known at its own time; rows without a value are left out."""
    frame = pd.DataFrame({"ts": times, "known_at": times, "value": values})
    part = _part(records, "series", one, frame.set_index("ts", drop=False), ~np.isnan(values), key=f"{one.id}.{name}")
    assert part.frame is not None
    return Part(**{**vars(part), "frame": part.frame.reset_index(drop=True)})


def _part(
    records: Records, room: str, one: Instrument, frame: pd.DataFrame, keep: np.ndarray, notes: Sequence[str] = (), key: str = ""
) -> Part:
    """Rows that are kept, in order of time and each once."""
    order = np.argsort(frame.index.asi8, kind="stable")  # type: ignore[attr-defined]  # times, as in all rooms
    order = order[keep[order]]
    sorted_ = frame.iloc[order]
    again = sorted_.set_axis(range(len(sorted_))).assign(_time=sorted_.index).duplicated().to_numpy()
    rows = order[~again]
    twice = [f"{records.source.name}: {int(again.sum()):,} rows stand twice and were taken once"] if again.any() else []
    return Part(
        source=records.source,
        room=room,
        key=key or one.id,
        frame=frame.iloc[rows],
        where=records.take(rows).where,
        instruments=(one,),
        cut=int((~keep).sum()),
        why_cut="rows have no value and were left out" if room == "series" else "bars were not finished and were left out",
        notes=[*notes, *twice],
    )
