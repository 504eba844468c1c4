"""Any table in a CSV file, read by the mapping that the user gives.

What the mapping says is done, and nothing is guessed: the meaning of a stamp, a unit and a delay are what makes other people's tables go
wrong. Rows of a series without a value (a holiday) are left out and counted.

    imported = parse([Path("DTB3.csv")], Request(mapping=Path("tbill.toml")))
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from backtest.data.importers.common import Csv, Imported, Line, Request, cut_at_delivery, read_csv
from backtest.data.importers.mapping import TableMapping, TimeRule, read_mapping
from backtest.data.importers.merge import merge
from backtest.data.schema import FUNDING_COLUMNS, Tables
from backtest.data.validate import (
    bar_errors,
    delivery_errors,
    event_errors,
    funding_errors,
    refuse,
    series_errors,
    settlement_errors,
    time_errors,
)
from backtest.errors import DataError, ParameterError

_OFFSET = re.compile(r"\d(Z|[+-]\d\d:?\d\d)$")


def sniff(file: Path, header: Sequence[str]) -> str | None:
    """Give "table" for any file: what it is, only its mapping says."""
    return "table"


def parse(files: Sequence[Path], request: Request) -> Imported:
    """The tables in some files that share a mapping; raises `DataError` with file and line for what can't be trusted."""
    if request.mapping is None:
        raise ParameterError("a table needs a mapping that says which column is what; give --mapping FILE (see data/README.md)")
    mapping = read_mapping(request.mapping, request.known)
    tables, lines, notes = Tables(), [], []
    for file in files:
        table = read_csv(file)
        whole = len(table.lines)
        part, times, target = _READERS[mapping.what](table, mapping)
        tables = merge(tables, part)
        lines.append(Line(file=file, target=target, kept=len(times), cut=whole - len(times), first=times.min(), last=times.max()))
        if cut := whole - len(times):
            why = "rows have no value and were left out" if mapping.what == "series" else "bars ended after delivery and were cut"
            notes.append(f"{file.name}: {cut:,} {why}")
    if request.symbol is not None:
        notes.append("--symbol is not used with a mapping: its [instrument] says what the table is about")
    return Imported(tables=tables, lines=lines, notes=notes)


_Part = tuple[Tables, pd.DatetimeIndex, str]


def _bars(table: Csv, mapping: TableMapping) -> _Part:
    assert mapping.instrument is not None
    one, times = mapping.instrument, _times(table, mapping.time)
    refuse(time_errors(times, table.where))
    bars = cut_at_delivery(table.file, one, pd.DataFrame(_numbers(table, mapping), index=times))
    refuse(bar_errors(bars, table.where))
    refuse(delivery_errors(one, pd.DatetimeIndex(bars.index), table.where))
    return Tables(instruments=[one], bars={one.id: bars}), pd.DatetimeIndex(bars.index), one.id


def _funding(table: Csv, mapping: TableMapping) -> _Part:
    assert mapping.instrument is not None
    one, times = mapping.instrument, _times(table, mapping.time).round("s")
    absent = {"interval_hours": mapping.interval_hours, "mark_price": np.nan}
    funding = pd.DataFrame(_numbers(table, mapping), index=times.rename("ts"))
    funding = funding.assign(**{name: value for name, value in absent.items() if name not in funding})
    funding = funding[[*FUNDING_COLUMNS, *(name for name in funding if name not in FUNDING_COLUMNS)]]
    refuse(funding_errors(funding, table.where))
    return Tables(instruments=[one], funding={one.id: funding}), times, f"{one.id} funding"


def _series(table: Csv, mapping: TableMapping) -> _Part:
    assert mapping.name is not None
    table = table.rows(~np.isnan(table.numbers(mapping.columns["value"], mapping.missing)))
    if not len(table.lines):
        raise DataError(f"{table.file}: no row has a value in {mapping.columns['value']}; check the mapping")
    times = _times(table, mapping.time)
    series = pd.DataFrame({"ts": times, "known_at": times + mapping.time.delay, **_numbers(table, mapping)})
    refuse(series_errors(series, table.where))
    return Tables(series={mapping.name: series}), times, f"series {mapping.name}"


def _settlements(table: Csv, mapping: TableMapping) -> _Part:
    times, one = _times(table, mapping.time), mapping.instrument
    theirs = mapping.columns.get("instrument")
    names = table.text(theirs) if theirs else [one.id if one else ""] * len(times)
    prices = _numbers(table, replace(mapping, columns={"price": mapping.columns["price"]}))
    settlements = pd.DataFrame({"instrument": names, "ts": times, **prices})
    refuse(settlement_errors(settlements, table.where))
    return Tables(instruments=[one] if one else [], settlements=settlements), times, "settlements"


def _events(table: Csv, mapping: TableMapping) -> _Part:
    times = _times(table, mapping.time)
    events = pd.DataFrame({"ts": times, "name": table.text(mapping.columns["name"]), "kind": table.text(mapping.columns["kind"])})
    refuse(event_errors(events, table.where))
    return Tables(events=events), times, "events"


_READERS = {"bars": _bars, "funding": _funding, "series": _series, "settlements": _settlements, "events": _events}


def _numbers(table: Csv, mapping: TableMapping) -> dict[str, np.ndarray]:
    """Every column of the mapping as float64, scaled; a column that is empty throughout is left out."""
    columns = {ours: table.numbers(theirs, mapping.missing) * mapping.scale.get(ours, 1.0) for ours, theirs in mapping.columns.items()}
    return {ours: values for ours, values in columns.items() if ours in ("open", "high", "low", "close") or not np.isnan(values).all()}


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
