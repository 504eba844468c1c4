"""Any table in a CSV file, read by the mapping that the user gives.

What the mapping says is done, and nothing is guessed: the meaning of a stamp, a unit and a delay are what makes other people's tables go
wrong. Rows of a series without a value (a holiday) are left out and counted. Cells may be apart by commas, semicolons or tabs.

    parts = parse(sources_in(["DTB3.csv"]), Request(mapping=Path("tbill.toml")))
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from backtest.data.importers.common import Csv, Part, Request, csv_blocks
from backtest.data.importers.mapping import TableMapping, TimeRule, read_mapping
from backtest.data.importers.source import Source
from backtest.data.schema import FUNDING_COLUMNS
from backtest.errors import DataError, ParameterError

_OFFSET = re.compile(r"\d(Z|[+-]\d\d:?\d\d)$")


def sniff(source: Source) -> str | None:
    """Any file is a table: what it holds, only its mapping says."""
    return "a table, by its mapping"


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """The tables in some sources that share a mapping; raises `DataError` with file and line for what can't be trusted."""
    if request.mapping is None:
        raise ParameterError("a table needs a mapping that says which column is what; give --mapping FILE (see data/README.md)")
    mapping = read_mapping(request.mapping, request.known)
    read = {"bars": _bars, "funding": _funding, "series": _series, "settlements": _settlements, "events": _events}[mapping.what]
    unused = ["--symbol is not used with a mapping: its [instrument] says what the table is about"] if request.symbol else []
    for source in sources:
        kept = 0
        for table in csv_blocks(source):
            part = replace(read(table, mapping), notes=unused)
            kept += 0 if part.frame is None else len(part.frame)
            yield part
        if not kept:
            raise DataError(f"{source.name}: no row has a value in {mapping.columns['value']}; check the mapping")


def _bars(table: Csv, mapping: TableMapping) -> Part:
    assert mapping.instrument is not None
    bars = pd.DataFrame(_numbers(table, mapping), index=_times(table, mapping.time))
    return Part(
        source=table.source, room="bars", key=mapping.instrument.id, frame=bars, where=table.where, instruments=[mapping.instrument]
    )


def _funding(table: Csv, mapping: TableMapping) -> Part:
    assert mapping.instrument is not None
    absent = {"interval_hours": mapping.interval_hours, "mark_price": np.nan}
    funding = pd.DataFrame(_numbers(table, mapping), index=_times(table, mapping.time).round("s").rename("ts"))
    funding = funding.assign(**{name: value for name, value in absent.items() if name not in funding})
    funding = funding[[*FUNDING_COLUMNS, *(name for name in funding if name not in FUNDING_COLUMNS)]]
    one = mapping.instrument
    return Part(source=table.source, room="funding", key=one.id, frame=funding, where=table.where, instruments=[one])


def _series(table: Csv, mapping: TableMapping) -> Part:
    assert mapping.name is not None
    known = table.rows(~np.isnan(table.numbers(mapping.columns["value"], mapping.missing)))
    times = _times(known, mapping.time)
    known_at = times + mapping.time.delay if mapping.time.known_at is None else _published(known, mapping.time)
    series = pd.DataFrame({"ts": times, "known_at": known_at, **_numbers(known, mapping)})
    return Part(source=table.source, room="series", key=mapping.name, frame=series, where=known.where, cut=len(table) - len(known))


def _settlements(table: Csv, mapping: TableMapping) -> Part:
    times, one = _times(table, mapping.time), mapping.instrument
    theirs = mapping.columns.get("instrument")
    names = table.text(theirs) if theirs else [one.id if one else ""] * len(times)
    prices = _numbers(table, replace(mapping, columns={"price": mapping.columns["price"]}))
    settlements = pd.DataFrame({"instrument": names, "ts": times, **prices})
    return Part(source=table.source, room="settlements", frame=settlements, where=table.where, instruments=[one] if one else [])


def _events(table: Csv, mapping: TableMapping) -> Part:
    times = _times(table, mapping.time)
    events = pd.DataFrame({"ts": times, "name": table.text(mapping.columns["name"]), "kind": table.text(mapping.columns["kind"])})
    if mapping.time.known_at is not None:
        events["known_at"] = _published(table, mapping.time)
    return Part(source=table.source, room="events", frame=events, where=table.where)


def _numbers(table: Csv, mapping: TableMapping) -> dict[str, np.ndarray]:
    """Every column of the mapping as float64, scaled; a column that is empty throughout is left out."""
    columns = {ours: table.numbers(theirs, mapping.missing) * mapping.scale.get(ours, 1.0) for ours, theirs in mapping.columns.items()}
    return {ours: values for ours, values in columns.items() if ours in ("open", "high", "low", "close") or not np.isnan(values).all()}


def _published(table: Csv, rule: TimeRule) -> pd.DatetimeIndex:
    """The times at which the rows became known, from their own column."""
    assert rule.known_at is not None
    return _times(table, replace(rule, column=rule.known_at, shift=pd.Timedelta(0)))


def _times(table: Csv, rule: TimeRule) -> pd.DatetimeIndex:
    """The times of the rows as instants at which they were known: bar ends, or the observation's own time."""
    if rule.format is None and rule.timezone == "UTC":
        return (table.times(rule.column, rule.unit) + rule.shift).rename("ts")
    texts = pd.Series(table.text(rule.column), dtype=object)
    if rule.timezone != "UTC" and any(_OFFSET.search(text) for text in texts):
        raise DataError(f"{table.where(0)}: {rule.column} carries its own zone; leave timezone out of the mapping")
    parsed = pd.to_datetime(texts, format=rule.format or "ISO8601", utc=True, errors="coerce")
    table.refuse_unparsed(rule.column, parsed, rule.format or "ISO 8601")
    local = parsed.dt.tz_localize(None).dt.tz_localize(rule.timezone, ambiguous="NaT", nonexistent="NaT")
    table.refuse_unparsed(rule.column, local, f"one that exists once in {rule.timezone}")
    return (pd.DatetimeIndex(local.dt.tz_convert("UTC")).as_unit("ns") + rule.shift).rename("ts")
