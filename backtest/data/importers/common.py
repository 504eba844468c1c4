"""What all importers share: CSV columns with their line numbers, and the pieces in canonical form that an importer makes.

An importer is a module with two functions. `sniff(source)` says what a source is in the vendor's terms, or None; `parse(sources, request)`
gives one `Part` after another. Text becomes numbers here and nowhere else, so that every message can name file and line.

    for part in binance.parse(sources_in(["spot.csv"]), Request(symbol="ETHUSDT")):
        print(part.room, part.key, len(part.frame))
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
import pandas as pd

from backtest.data.importers.source import Source, delimiter_of, text_lines
from backtest.data.validate import Where
from backtest.errors import DataError, did_you_mean
from backtest.instruments import Instrument

BLOCK = 1 << 23  # bytes of a CSV file that are read at a time
# a Unix time's unit → how many of them there are in a second
EPOCH_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# times of markets lie between 2001-09-09, from when Unix seconds have ten digits, and 2286
_FIRST_SECOND, _LAST_SECOND = 10**9, 10**10
_YEARS = (1678, 2261)  # that fit into nanoseconds
_NUMBER_LIKE = frozenset("0123456789")
_WHOLE = re.compile(r"\d{1,18}")
ZONED = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
SHOWN = 60  # characters of a cell in a message


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for: symbol, mapping file and bar length if given, and the instruments that the dataset has already."""

    symbol: str | None = None
    mapping: Path | None = None
    bar: pd.Timedelta = field(default_factory=lambda: pd.Timedelta(1, "min"))
    known: Mapping[str, Instrument] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows of one table in canonical form, out of one source.

    room, key: the table (`bars`, `funding`, `settlements`, `series`, `events`) and the instrument's id or the series' name in it.
    frame: its rows as in `Tables`, in order of time. where: row → place, for messages. instruments: what this source knows of instruments.
    cut: rows of the source that were left out, and why. notes: what was decided on the way.
    """

    source: Source
    room: str = "instruments"
    key: str = ""
    frame: pd.DataFrame | None = None
    where: Where | None = None
    instruments: Sequence[Instrument] = ()
    cut: int = 0
    why_cut: str = "rows have no value and were left out"
    notes: Sequence[str] = ()


class Importer(Protocol):
    """A vendor's module."""

    def sniff(self, source: Source) -> str | None:
        """What the source is, in the vendor's terms; None if it is not this vendor's."""

    def parse(self, sources: Sequence[Source], request: Request) -> Iterator[Part]:
        """The content of some sources."""


class Csv:
    """Rows of a CSV file as text columns; `index` are the numbers of these rows among the file's rows, its header included."""

    def __init__(self, source: Source, columns: Mapping[str, Any], index: np.ndarray) -> None:
        self.source, self._columns, self.index = source, columns, index

    def __len__(self) -> int:
        return len(self.index)

    @property
    def columns(self) -> list[str]:
        """The names of the columns, as the file has them."""
        return list(self._columns)

    @property
    def where(self) -> Where:
        """Row → "spot.csv line 17"; lines are counted when they are asked for, for good files never are."""
        return lambda row: f"{self.source.name} line {_line_of(self.source, int(self.index[row]))}"

    def rows(self, keep: np.ndarray) -> "Csv":
        """The rows where `keep` is true."""
        return Csv(self.source, {name: column.filter(_arrow(keep)) for name, column in self._columns.items()}, self.index[keep])

    def text(self, name: str) -> list[str]:
        """A column as text; `DataError` if the file has none of that name."""
        return [value.strip() for value in self._column(name).to_pylist()]

    def numbers(self, name: str, missing: Sequence[str] = ("",)) -> np.ndarray:
        """A column as float64, correctly rounded; NaN for the texts in `missing`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self._column(name)
        try:
            if not any(_NUMBER_LIKE & set(text) for text in missing):
                return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
        except pa.ArrowInvalid:
            pass
        column = pc.utf8_trim_whitespace(column)
        blank = pc.is_in(column, value_set=pa.array(list(missing), type=pa.string()))
        column = pc.if_else(blank, pa.scalar(None, pa.string()), column)
        try:
            return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
        except pa.ArrowInvalid:
            return self._numbers_one_by_one(name, column.to_pylist())

    def times(self, name: str, unit: str | None = None) -> pd.DatetimeIndex:
        """A column as UTC nanoseconds: ISO 8601 (without a zone it is UTC), or Unix time in `unit`, which by default its size tells."""
        import pyarrow as pa

        column = self._column(name)
        try:
            whole = np.asarray(column.cast(pa.int64()).to_numpy())
        except pa.ArrowInvalid:
            texts = self.text(name)
            return self._unix_texts(name, texts, unit) if _WHOLE.fullmatch(texts[0]) else self._iso_times(name, column, texts)
        return unix_times(whole, unit, name, self.where)

    def refuse_unparsed(self, name: str, parsed: pd.Series, expected: str = "ISO 8601 or Unix time") -> None:
        """Raise `DataError` for the first time that could not be read."""
        unread = np.flatnonzero(parsed.isna().to_numpy())
        if len(unread):
            self._refuse_cell(int(unread[0]), name, self.text(name)[unread[0]], f"a time ({expected})")

    def _refuse_cell(self, row: int, name: str, text: str, expected: str) -> NoReturn:
        if text == name:
            raise DataError(f"{self.where(row)}: repeats the header of the file; are these several files in one? remove the line")
        raise DataError(f'{self.where(row)}: {name} is "{_shown(text)}", not {expected}; correct the row or remove it')

    def _column(self, name: str) -> Any:
        if name not in self._columns:
            raise DataError(f'{self.source.name}: column "{name}" is missing; {did_you_mean(name, self.columns)}')
        return self._columns[name]

    def _numbers_one_by_one(self, name: str, texts: list[str | None]) -> np.ndarray:
        values = np.empty(len(texts))
        for row, text in enumerate(texts):
            try:
                if text is not None and ("_" in text or not text.isascii()):  # what is a number to Python only
                    raise ValueError
                values[row] = np.nan if text is None else float(text)
            except ValueError:
                self._refuse_cell(row, name, str(text), "a number")
        return values

    def _unix_texts(self, name: str, texts: Sequence[str], unit: str | None) -> pd.DatetimeIndex:
        """Unix times with something among them that is none, if only blanks around them."""
        wrong = next((row for row, text in enumerate(texts) if not _WHOLE.fullmatch(text)), None)
        if wrong is not None:
            self._refuse_cell(wrong, name, texts[wrong], "a time (Unix time, as the row above)" if wrong else "a time")
        return unix_times(np.array(texts, dtype=np.int64), unit, name, self.where)

    def _iso_times(self, name: str, column: Any, texts: Sequence[str]) -> pd.DatetimeIndex:
        import pyarrow as pa

        for kind in (pa.timestamp("ns"), pa.timestamp("ns", tz="UTC")):
            try:
                return pd.DatetimeIndex(np.asarray(column.cast(kind).to_numpy()), tz="UTC")
            except pa.ArrowInvalid:
                continue
        parsed = pd.to_datetime(pd.Series(texts, dtype=object), format="ISO8601", utc=True, errors="coerce")
        self.refuse_unparsed(name, parsed.where(parsed.dt.year.between(*_YEARS)))
        zoned = np.array([bool(ZONED.search(text)) for text in texts])
        if zoned.any() and not zoned.all():
            row = int((zoned != zoned[0]).argmax())
            has, others = ("has a zone", "none") if zoned[row] else ("has no zone", "one")
            raise DataError(
                f'{self.where(row)}: {name} is "{_shown(texts[row])}" and {has}, while the rows above have {others}; give one to every row'
            )
        return pd.DatetimeIndex(parsed.astype("datetime64[ns, UTC]"))


def unix_times(values: np.ndarray, unit: str | None, name: str, where: Where) -> pd.DatetimeIndex:
    """Unix times (int64) as UTC nanoseconds; raises `DataError` for one that is not in `unit`, by default the first value's, or not of this age."""
    if unit is None:
        first = int(values[0]) if len(values) else 0
        unit = next((known for known, per in EPOCH_UNITS.items() if _FIRST_SECOND * per <= first < _LAST_SECOND * per), "s")
    per = EPOCH_UNITS[unit]
    wrong = np.flatnonzero((values < _FIRST_SECOND * per) | (values >= _LAST_SECOND * per))
    if len(wrong):
        row = int(wrong[0])
        fits = next((known for known, scale in EPOCH_UNITS.items() if _FIRST_SECOND * scale <= values[row] < _LAST_SECOND * scale), None)
        tell = f"it looks like {fits} among {unit}" if fits else "markets' times lie between 2001 and 2286"
        raise DataError(
            f'{where(row)}: {name} is "{values[row]}", not a time (ISO 8601 or Unix time, one unit a file); {tell}; correct the row'
        )
    return pd.DatetimeIndex((values * (10**9 // per)).astype("datetime64[ns]"), tz="UTC")


def read_csv(source: Source, header: Sequence[str] | None = None) -> Csv:
    """A whole CSV file; raises `DataError` as `csv_blocks` does."""
    import pyarrow as pa

    blocks = list(csv_blocks(source, header))
    columns = {name: pa.chunked_array([block._columns[name] for block in blocks], pa.string()) for name in blocks[0].columns}
    return Csv(source, columns, np.concatenate([block.index for block in blocks]))


def csv_blocks(source: Source, header: Sequence[str] | None = None) -> Iterator[Csv]:
    """A CSV file in blocks of bounded size; `header` names the columns of a file that has no header row.

    Raises `DataError` for a file without rows, a web page, a column that stands twice, and a row with more or fewer cells than the header.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow

    if source.is_page:
        raise DataError(f"{source.name}: is a web page, not data; download it again")
    # cells without a name, from a comma at the end of each line, are nobody's
    names = [name or f"unnamed {number}" for number, name in enumerate(header or source.header, start=1)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f'{source.name}: column "{twice}" stands twice; remove one')
    rows_above, lines_above = (0, 0) if header else source.above
    seen = 0
    try:
        with source.reading(), source.open() as content:
            reader = arrow.open_csv(
                content,
                read_options=arrow.ReadOptions(column_names=names, skip_rows=lines_above, block_size=BLOCK),
                parse_options=arrow.ParseOptions(delimiter=delimiter_of(source), newlines_in_values=False),
                convert_options=arrow.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
            )
            for batch in reader:
                if batch.num_rows:
                    columns = dict(zip(names, batch.columns, strict=True))
                    yield Csv(source, columns, np.arange(batch.num_rows) + rows_above + seen)
                    seen += batch.num_rows
    except pa.ArrowInvalid as error:
        _explain(source, names, rows_above, error)
    if not seen:
        raise DataError(f"{source.name}: is empty: it has no rows of data; remove it or download it again")


def _explain(source: Source, names: Sequence[str], above: int, error: Exception) -> None:
    """Say in which line a CSV file can't be read."""
    last = 0
    for line, row in islice(_rows(source), above, None):
        if any("\ufffd" in cell for cell in row):
            raise DataError(f"{source.name} line {line}: is not text in UTF-8; convert the file, or download it again") from error
        if last and line > last + 1 and any("\n" in cell for cell in row):
            raise DataError(f"{source.name} line {last + 1}: a quotation mark opens and does not close; correct the row") from error
        if len(row) != len(names):
            raise DataError(
                f"{source.name} line {line}: has {len(row)} cells, not {len(names)}; is the file truncated? download it again"
            ) from error
        last = line
    raise DataError(f"{source.name}: can't be read as CSV ({str(error).splitlines()[0][:160]}); download it again") from error


def _line_of(source: Source, index: int) -> int:
    """The line on which a row ends, counted from 1; rows without cells don't count."""
    return next((line for line, _ in islice(_rows(source), index, index + 1)), index + 1)


def _rows(source: Source) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file that have cells, each with the number of the line on which it ends."""
    with text_lines(source) as lines:
        rows = csv.reader(lines, delimiter=delimiter_of(source))
        try:
            yield from ((rows.line_num, row) for row in rows if row)
        except csv.Error as error:
            raise DataError(f"{source.name} line {rows.line_num}: can't be read ({error}); download it again") from error


def _shown(text: str) -> str:
    """A cell as a message can show it: not too long, and without what a terminal would obey."""
    text = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    return "".join(mark if mark.isprintable() else f"\\x{ord(mark):02x}" for mark in text)


def _arrow(keep: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.array(keep)
