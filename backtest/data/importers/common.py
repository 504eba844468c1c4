"""What all importers share: CSV columns with their line numbers, and the pieces in canonical form that an importer makes.

An importer is a module with two functions. `sniff(source)` says what a source is in the vendor's terms, or None; `parse(sources, request)`
gives one `Part` after another. Text becomes numbers here and nowhere else, so that every message can name file and line.

    for part in binance.parse(sources_in(["spot.csv"]), Request(symbol="ETHUSDT")):
        print(part.room, part.key, len(part.frame))
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

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
_NUMBER_LIKE = frozenset("0123456789")


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
        self.source, self.file = source, source.name
        self._columns, self.index = columns, index

    def __len__(self) -> int:
        return len(self.index)

    @property
    def columns(self) -> list[str]:
        """The names of the columns, as the file has them."""
        return list(self._columns)

    @property
    def where(self) -> Where:
        """Row → "spot.csv line 17"; lines are counted when they are asked for, for good files never are."""
        return lambda row: f"{self.file} line {_line_of(self.source, int(self.index[row]))}"

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
                return np.asarray(column.cast(pa.float64()).to_numpy())
        except pa.ArrowInvalid:
            pass
        column = pc.utf8_trim_whitespace(column)
        blank = pc.is_in(column, value_set=pa.array(list(missing), type=pa.string()))
        column = pc.if_else(blank, pa.scalar(None, pa.string()), column)
        try:
            return np.asarray(column.cast(pa.float64()).to_numpy())
        except pa.ArrowInvalid:
            return self._numbers_one_by_one(name, column.to_pylist())

    def times(self, name: str, unit: str | None = None) -> pd.DatetimeIndex:
        """A column as UTC nanoseconds: ISO 8601 (without a zone it is UTC), or Unix time in `unit`, which by default its size tells."""
        import pyarrow as pa

        column = self._column(name)
        try:
            whole = np.asarray(column.cast(pa.int64()).to_numpy())
        except pa.ArrowInvalid:
            return self._iso_times(name, column)
        return unix_times(whole, unit, name, self.where)

    def refuse_unparsed(self, name: str, parsed: pd.Series, expected: str = "ISO 8601 or Unix time") -> None:
        """Raise `DataError` for the first time that could not be read."""
        unread = np.flatnonzero(parsed.isna().to_numpy())
        if len(unread):
            row = int(unread[0])
            raise DataError(f'{self.where(row)}: {name} is "{self.text(name)[row]}", not a time ({expected}); correct the row or remove it')

    def _column(self, name: str) -> Any:
        if name not in self._columns:
            raise DataError(f'{self.file}: column "{name}" is missing; {did_you_mean(name, self.columns)}')
        return self._columns[name]

    def _numbers_one_by_one(self, name: str, texts: list[str | None]) -> np.ndarray:
        values = np.empty(len(texts))
        for row, text in enumerate(texts):
            try:
                values[row] = np.nan if text is None else float(text)
            except ValueError:
                raise DataError(f'{self.where(row)}: {name} is "{text}", not a number; correct the row or remove it') from None
        return values

    def _iso_times(self, name: str, column: Any) -> pd.DatetimeIndex:
        import pyarrow as pa

        for kind in (pa.timestamp("ns"), pa.timestamp("ns", tz="UTC")):
            try:
                return pd.DatetimeIndex(np.asarray(column.cast(kind).to_numpy()), tz="UTC")
            except pa.ArrowInvalid:
                continue
        parsed = pd.to_datetime(pd.Series(self.text(name), dtype=object), format="ISO8601", utc=True, errors="coerce")
        self.refuse_unparsed(name, parsed)
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
    names = list(header or source.header)
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
    with text_lines(source) as lines:
        rows = csv.reader(lines, delimiter=delimiter_of(source))
        for row in islice((row for row in rows if row), above, None):
            if len(row) != len(names):
                raise DataError(
                    f"{source.name} line {rows.line_num}: has {len(row)} cells, not {len(names)}; is the file truncated? download it again"
                ) from error
    raise DataError(f"{source.name}: can't be read as CSV ({str(error).splitlines()[0][:160]}); download it again") from error


def _line_of(source: Source, index: int) -> int:
    """The line on which a row ends, counted from 1; rows without cells don't count."""
    with text_lines(source) as lines:
        rows = csv.reader(lines, delimiter=delimiter_of(source))
        for _ in islice((cells for cells in rows if cells), index, index + 1):
            return rows.line_num
    return index + 1


def _arrow(keep: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.array(keep)
