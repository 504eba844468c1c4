"""What the importers of JSON answers share: records out of any wrapping, their fields as numbers and times, and parts made of them.

A venue's answer reaches a user as it came (with an envelope), as the bare array in it, as one object, or as JSON lines of any of these. An
importer describes its venue once, as a `Venue`; `read` then gives `Records` of one shape each, whose messages name record and file.

    for records in read(source, OKX):
        if records.shape is FUNDING:
            rates = records.numbers("realizedRate")
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from backtest.data.importers.common import SHOWN, ZONED, unix_times
from backtest.data.importers.source import Source
from backtest.data.validate import Where
from backtest.errors import DataError, did_you_mean

_FIRST, _LAST = pd.Timestamp("2001-09-09", tz="UTC"), pd.Timestamp("2200-01-01", tz="UTC")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One kind of record: what it is called, and the fields that tell it from a venue's others."""

    title: str
    fields: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Venue:
    """How a venue wraps its records.

    paths: where in an answer the records stand. context: fields of the envelope that each record takes over. cells: the names of the cells
    of records that are arrays, by their number. columns: a field whose presence says that an object holds columns, not a record. own: whether an
    answer without records (an error, an empty list) is this venue's.
    """

    name: str
    shapes: Sequence[Shape]
    paths: Sequence[tuple[str, ...]] = ()
    context: Sequence[str] = ()
    cells: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    columns: str = ""
    own: Callable[[Mapping[str, Any]], bool] = lambda answer: False


class Records:
    """Records of one shape out of one source, with the place of each."""

    def __init__(self, source: Source, shape: Shape, rows: Sequence[Mapping[str, Any]], places: Sequence[str]) -> None:
        self.source, self.shape, self.rows, self.places = source, shape, rows, places

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def where(self) -> Where:
        """Row → "funding.json record 17", or "funding.jsonl line 17"."""
        return lambda row: self.places[row]

    def take(self, rows: np.ndarray) -> "Records":
        """The records at some positions, or where a mask is true."""
        chosen = (np.flatnonzero(rows) if rows.dtype == bool else rows).tolist()
        return Records(self.source, self.shape, [self.rows[row] for row in chosen], [self.places[row] for row in chosen])

    def has(self, name: str) -> bool:
        """Whether any record has a field, and not as null."""
        return any(row.get(name) is not None for row in self.rows)

    def values(self, name: str) -> list[Any]:
        """A field of every record; `DataError` where one has none."""
        for row, record in enumerate(self.rows):
            if name not in record:
                known = [str(key) for key in record]
                raise DataError(f'{self.where(row)}: "{name}" is missing; {did_you_mean(name, known)}; download it again')
        return [record[name] for record in self.rows]

    def flat(self, *names: str) -> "Records":
        """The records with the fields of some inner objects beside their own."""
        inner = [[row[name] for name in names if isinstance(row.get(name), dict)] for row in self.rows]
        rows = [{**row, **{key: value for one in found for key, value in one.items()}} for row, found in zip(self.rows, inner, strict=True)]
        return Records(self.source, self.shape, rows, self.places)

    def text(self, name: str) -> list[str]:
        """A field that is text."""
        values = self.values(name)
        for row, value in enumerate(values):
            if not isinstance(value, str) or not value:
                raise DataError(f"{self.where(row)}: {name} is {_show(value)}, not text; correct the record or remove it")
        return values

    def numbers(self, name: str, missing: Sequence[Any] | None = None) -> np.ndarray:
        """A field as float64, from numbers or their text; NaN for the values in `missing`, which may include None for an absent field."""
        optional = missing is not None and None in missing
        values = [record.get(name) for record in self.rows] if optional else self.values(name)
        numbers = np.full(len(values), np.nan)
        for row, value in enumerate(values):
            if missing is None or value not in missing:
                numbers[row] = self._number(row, name, value)
        return numbers

    def times(self, name: str, unit: str = "ms") -> pd.DatetimeIndex:
        """A field as UTC nanoseconds: Unix time in `unit`, or ISO 8601 with its zone."""
        values = self.values(name)
        if all(isinstance(value, str) and not value.lstrip("-").isdigit() for value in values):
            return self._iso_times(name, values)
        for row, value in enumerate(values):
            if isinstance(value, bool) or not re.fullmatch(r"-?\d{1,18}", str(value).removesuffix(".0")):
                raise DataError(f"{self.where(row)}: {name} is {_show(value)}, not a time in {unit}; correct the record or remove it")
        whole = np.array([int(str(value).removesuffix(".0")) for value in values], dtype=np.int64)
        return unix_times(whole, unit, name, self.where).rename("ts")

    def _number(self, row: int, name: str, value: Any) -> float:
        try:
            if (
                isinstance(value, str | int | float)
                and not isinstance(value, bool)
                and "_" not in str(value)
                and isfinite(number := float(value))
            ):
                return number
        except (ValueError, OverflowError):
            pass
        raise DataError(f"{self.where(row)}: {name} is {_show(value)}, not a number; correct the record or remove it")

    def _iso_times(self, name: str, values: list[str]) -> pd.DatetimeIndex:
        for row, value in enumerate(values):
            if not ZONED.search(value):
                known = "a time without its zone; add Z if it is UTC, or" if re.match(r"\d{4}-", value) else "not a time (ISO 8601);"
                raise DataError(f'{self.where(row)}: {name} is "{value[:SHOWN]}", {known} correct the record')
        parsed = pd.to_datetime(pd.Series(values, dtype=object), format="ISO8601", utc=True, errors="coerce").astype("datetime64[ns, UTC]")
        wrong = np.flatnonzero(parsed.isna() | (parsed < _FIRST) | (parsed > _LAST))
        if len(wrong):
            at, told = self.where(int(wrong[0])), values[int(wrong[0])][:SHOWN]
            raise DataError(f'{at}: {name} is "{told}", not a time of a market (ISO 8601, from 2001 on); correct the record or remove it')
        return pd.DatetimeIndex(parsed, name="ts")


def sniffed(source: Source, venue: Venue) -> str | None:
    """What a source is, told from its first record; None if it is not of this venue."""
    answer = _first_document(source.head)
    rows = rows_of(answer, venue)
    shape = _shape_of(rows[0], venue) if rows else None
    if isinstance(answer, dict) and (error_answer(answer) is not None or shape is None):
        kind = "error" if error_answer(answer) is not None else "unknown" if rows else "empty"
        return f"{kind} answer of {venue.name}" if venue.own(answer) else None
    return f"{venue.name} {shape.title}" if shape else None


def read(source: Source, venue: Venue) -> list[Records]:
    """All records of a source, by shape.

    Raises `DataError` for what is not JSON, a venue's error answer, an answer without records, and a record of no known shape.
    """
    found: dict[str, Records] = {}
    for place, answer in _documents(source):
        error = error_answer(answer)
        if error is not None:
            raise DataError(f"{source.name}{place}: is an error answer of {venue.name}, not data: {error}; ask for it again")
        for row in rows_of(answer, venue):
            number = sum(map(len, found.values())) if not place else 0
            at = f"{source.name}{place or f' record {number + 1}'}"
            shape = _shape_of(row, venue)
            if shape is None:
                known = ", ".join(shape.title for shape in venue.shapes)
                raise DataError(f"{at}: {_show(row)} is no record of {venue.name} known here ({known}); leave it out or download it again")
            records = found.setdefault(shape.title, Records(source, shape, [], []))
            records.rows.append(row)  # type: ignore[attr-defined]  # lists until they are given away
            records.places.append(at)  # type: ignore[attr-defined]
    if not found:
        raise DataError(f"{source.name}: has no records: {venue.name} answered with an empty list; ask for a time that has data")
    return list(found.values())


def error_answer(answer: Any) -> str | None:
    """What a venue says went wrong, if this is such an answer: {"retCode": 10001, …}, {"code": "50011", …}, {"error": …}, {"errors": […]}."""
    if not isinstance(answer, dict):
        return None
    code = next((answer[name] for name in ("retCode", "code") if answer.get(name) not in (None, "", 0, "0")), None)
    told = answer.get("errors") or answer.get("error")
    if isinstance(told, list):
        told = told[0]
    if isinstance(told, dict):
        code, told = told.get("code", code), told.get("message") or told.get("msg") or json.dumps(told)
    if told is None and code is not None:
        told = answer.get("retMsg") or answer.get("msg") or answer.get("message") or "no reason given"
    if told is None and "error" in (answer.get("result"), answer.get("status")):
        told = "no reason given"
    return None if told is None else f'"{str(told)[:160]}"' + (f" (code {code})" if code is not None else "")


def rows_of(answer: Any, venue: Venue) -> list[Any]:
    """The records in an answer: those at one of the venue's paths, the elements of an array, or the object itself.

    The confirmations and heartbeats of a captured websocket have none.
    """
    if isinstance(answer, list):
        pages = bool(answer) and isinstance(answer[0], dict) and _inside(answer[0], venue) is not None
        return [row for page in answer for row in rows_of(page, venue)] if pages else [_named(row, {}, venue) for row in answer]
    if not isinstance(answer, dict):
        return [answer]
    inside = _inside(answer, venue)
    if inside is None:
        return [] if venue.own(answer) else _elements(answer, venue)
    rows, envelope = inside
    around = {name: envelope[name] for name in venue.context if name in envelope}
    return [_named(row, around, venue) for row in rows if not isinstance(row, str)]


def _inside(answer: Mapping[str, Any], venue: Venue) -> tuple[list[Any], dict[str, Any]] | None:
    """The records at the first path that an answer has, and all fields of the objects on the way to them."""
    for path in venue.paths:
        envelope: dict[str, Any] = {}
        here: Any = answer
        for name in path:
            if not isinstance(here, dict) or name not in here:
                break
            envelope |= here
            here = here[name]
        else:
            if isinstance(here, list | dict):
                return _elements(here, venue), envelope
    return None


def _elements(here: Any, venue: Venue) -> list[Any]:
    """What stands at a path: an array's elements, the rows of an object of columns, or the object."""
    if isinstance(here, list):
        return here
    if not isinstance(here.get(venue.columns), list):
        return [here]
    columns = {name: values for name, values in here.items() if isinstance(values, list)}
    longest = max(map(len, columns.values()))
    return [{name: values[row] for name, values in columns.items() if row < len(values)} for row in range(longest)]


def _named(row: Any, around: Mapping[str, Any], venue: Venue) -> Any:
    """A record as an object: the cells of an array get their names, and what the envelope says is added."""
    if isinstance(row, list) and len(row) in venue.cells:
        row = dict(zip(venue.cells[len(row)], row, strict=True))
    return {**around, **row} if around and isinstance(row, dict) else row


def _shape_of(row: Any, venue: Venue) -> Shape | None:
    return next((shape for shape in venue.shapes if isinstance(row, dict) and shape.fields <= row.keys()), None)


def _documents(source: Source) -> Iterator[tuple[str, Any]]:
    """Each JSON document of a source, with " line 17" for JSON lines and nothing for a file that is one document."""
    with source.reading(), source.open() as content:
        first = content.readline()
        more = any(line.strip() for line in content)
    if more and _json_or_none(first) is not None:
        yield from ((f" line {line}", answer) for line, answer in source.json_lines())
    else:
        yield "", source.json()


@lru_cache(maxsize=8)
def _first_document(head: bytes) -> Any:
    """The first JSON document of a source; of one that is longer than its head, or cut off, as much as there is."""
    text = head.decode("utf-8-sig", errors="ignore").strip()
    if text[:1] not in ("{", "["):
        return None
    whole = _json_or_none(text)
    if whole is None:
        whole = _json_or_none(text.splitlines()[0])
    return _closed(text) if whole is None else whole


def _closed(text: str) -> Any:
    """JSON that was cut off, ended after its last complete element."""
    ends: list[str] = []
    cut, closing, quoted, escaped = 0, "", False, False
    for position, mark in enumerate(text):
        if quoted:
            quoted, escaped = escaped or mark != '"', mark == "\\" and not escaped
        elif mark == '"':
            quoted = True
        elif mark in "{[":
            ends.append("}" if mark == "{" else "]")
        elif mark in "}]" and ends:
            ends.pop()
        elif mark == ",":
            cut, closing = position, "".join(reversed(ends))
    return _json_or_none(text[:cut] + closing)


def _json_or_none(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
