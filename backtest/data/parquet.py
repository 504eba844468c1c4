"""One table in one Parquet file: UTC nanoseconds, float64 and text, with a checksum a page.

Files of other tools are welcome: times of any unit or zone, numbers of any width. Only the columns and row groups that are asked for are
read. pyarrow is imported when the first file is touched, and never `pyarrow.dataset`, which takes longer to import than five years of hourly
bars take to read.

    write_table(Path("part-0.parquet"), [frame])
    frame = read_table(Folder("data/mine"), "part-0.parquet", required=("ts", "close"))
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtest.data.place import Folder
from backtest.data.schema import BAR_COLUMNS, FUNDING_COLUMNS, OPTIONAL_BAR_COLUMNS
from backtest.errors import DataError

TIMES = ("ts", "known_at", "listed_at", "expires_at")
NUMBERS = (*BAR_COLUMNS, *OPTIONAL_BAR_COLUMNS, *FUNDING_COLUMNS, "price", "value", "multiplier", "tick", "lot", "min_notional")
ROW_GROUP = 1 << 17
REPLACED = "the dataset was replaced while it was read, or files were lost; open it again, or restore them"

Span = tuple[pd.Timestamp | None, pd.Timestamp | None]
EVER: Span = (None, None)


def utc(time: pd.Timestamp | str) -> pd.Timestamp:
    """A time in UTC; one without a zone is taken as UTC."""
    stamp = pd.Timestamp(time)
    return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")


# --- writing ---------------------------------------------------------------------------------------------


def write_table(file: Path, frames: Iterable[pd.DataFrame], *, columns: Sequence[str] | None = None, nulls: bool = False) -> None:
    """Write frames of UTC times, float64 and text one after the other; NaN stays NaN, or with `nulls` becomes null.

    `columns` are those of the file, where the frames don't all have the same; by default those of the first one.
    """
    writer = TableWriter(file, columns, nulls)
    try:
        for frame in frames:
            writer.write(frame)
    finally:
        writer.close()


class TableWriter:
    """A Parquet file that grows by a frame at a time; `columns` are fixed by the first frame where they are not given."""

    def __init__(self, file: Path, columns: Sequence[str] | None = None, nulls: bool = False) -> None:
        self.file, self.columns, self._nulls = file, columns, nulls
        self._writer: Any = None

    def write(self, frame: pd.DataFrame) -> None:
        """Append rows; columns that the frame lacks are NaN."""
        table = _arrow_table(frame, self.columns, self._nulls)
        if self._writer is None:
            self._writer = self._begin(table.schema)
            self.columns = table.column_names
        self._writer.write_table(table, row_group_size=ROW_GROUP)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()

    def _begin(self, schema: Any) -> Any:
        import pyarrow.parquet as pq

        self.file.parent.mkdir(parents=True, exist_ok=True)
        # no dictionaries for numbers: prices hardly repeat. Bytes of like weight side by side pack as well, and twice as fast
        return pq.ParquetWriter(
            self.file,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=[field.name for field in schema if str(field.type) == "string"],
            use_byte_stream_split=[field.name for field in schema if str(field.type) == "double"],
            write_page_checksum=True,
        )


def _arrow_table(frame: pd.DataFrame, columns: Sequence[str] | None, nulls: bool) -> Any:
    import pyarrow as pa

    def column(name: str) -> Any:
        if name not in frame.columns:
            return pa.nulls(len(frame), pa.timestamp("ns", tz="UTC")) if name in TIMES else pa.array(np.full(len(frame), np.nan))
        values = frame[name]
        if pd.api.types.is_datetime64_any_dtype(values):
            return pa.array(values.to_numpy(dtype="datetime64[ns]"), type=pa.timestamp("ns", tz="UTC"))
        if values.dtype == np.float64:
            return pa.array(values.to_numpy(), from_pandas=nulls)
        return pa.array(list(values), type=pa.string())

    return pa.table({name: column(name) for name in columns or frame.columns})


# --- reading ---------------------------------------------------------------------------------------------


def read_table(folder: Folder, name: str, required: Sequence[str]) -> pd.DataFrame:
    """Read a file as float64, UTC (ns) and text columns.

    Raises `DataError` naming a damaged file, or the column that is missing or of the wrong type.
    """
    with _opened(folder, name) as parquet:
        _wanted(parquet, f"{folder.path}/{name}", required, None)
        return _frame(parquet.read(), f"{folder.path}/{name}")


def column_names(folder: Folder, name: str) -> list[str]:
    """The names of a file's columns; reads no rows."""
    with _opened(folder, name) as parquet:
        return list(parquet.schema_arrow.names)


def read_groups(
    folder: Folder, name: str, required: Sequence[str], columns: Sequence[str] | None = None, span: Span = EVER
) -> Iterator[pd.DataFrame]:
    """As `read_table`, one row group after another.

    `columns`: those to read beside the required ones, by default all; `span` leaves out row groups that end at its start or begin after its end.
    """
    with _opened(folder, name) as parquet:
        wanted = _wanted(parquet, f"{folder.path}/{name}", required, columns)
        for group in _groups(parquet, span):
            yield _frame(parquet.read_row_group(group, columns=wanted), f"{folder.path}/{name}")


def read_numbers(
    folder: Folder, names: Sequence[str], required: Sequence[str], columns: Sequence[str] | None = None, span: Span = EVER
) -> dict[str, np.ndarray]:
    """The rows of several files, one after the other, as one array a column: `ts` in int64 nanoseconds, numbers float64 (NaN where a file lacks them), the
    rest as objects (None).

    Each value is copied once, from the decoded file to its place. Raises `DataError` as `read_table` does.
    """
    with ExitStack() as stack:
        files = []
        for name in names:
            parquet = stack.enter_context(_opened(folder, name))
            place = f"{folder.path}/{name}"
            groups = _groups(parquet, span)
            rows = sum(parquet.metadata.row_group(group).num_rows for group in groups)
            files.append((parquet, place, groups, _wanted(parquet, place, required, columns) or parquet.schema_arrow.names, rows))
        total = sum(rows for *_, rows in files)
        found = {name: _dtype(name, parquet.schema_arrow.field(name).type) for parquet, _, _, wanted, _ in files for name in wanted}
        out = {name: np.empty(total, dtype=dtype) for name, dtype in found.items()}
        first = 0
        for parquet, place, groups, wanted, rows in files:
            table = parquet.read_row_groups(groups, columns=wanted)
            for name, values in out.items():
                _copy(table, name, values[first : first + rows], place)
            first += rows
    return out


def _dtype(name: str, kind: Any) -> type:
    """What an array of a column holds, by the column's name, or where that is not ours by its type in a file."""
    import pyarrow as pa

    if name == "ts":
        return np.int64
    numeric = (
        name in NUMBERS or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind)
    )
    return np.float64 if numeric else object


def _copy(table: Any, name: str, out: np.ndarray, place: str) -> None:
    import pyarrow as pa

    if name not in table.column_names:
        out[:] = None if out.dtype == object else np.nan
        return
    column, first = table.column(name), 0
    if column.type != (pa.timestamp("ns", tz="UTC") if name == "ts" else pa.float64()):
        values = _frame(table.select([name]), place)[name]
        out[:] = values.to_numpy(dtype="datetime64[ns]").view(np.int64) if name == "ts" else values
        return
    for chunk in column.chunks:
        values = chunk.to_numpy(zero_copy_only=False)
        out[first : first + len(chunk)] = values.view(np.int64) if name == "ts" else values
        first += len(chunk)


def time_range(folder: Folder, name: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First and last `ts` of a file whose rows are in order; raises `DataError` for a file that can't be read or has no rows."""
    with _opened(folder, name) as parquet:
        ranges = [found for group in range(parquet.num_row_groups) if (found := _group_range(parquet, group))]
        if len(ranges) < parquet.num_row_groups or not ranges:
            times = _frame(parquet.read(columns=["ts"]), f"{folder.path}/{name}")["ts"]
            if times.empty:
                raise DataError(f"{folder.path}/{name}: has no rows; remove it or import the data again")
            return times.iloc[0], times.iloc[-1]
    return ranges[0][0], ranges[-1][1]


@contextmanager
def _opened(folder: Folder, name: str) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # not pq.read_table: it imports pyarrow.dataset
        with pq.ParquetFile(folder.opened(name), page_checksum_verification=True, pre_buffer=True) as parquet:
            yield parquet
    except FileNotFoundError:
        raise DataError(f"{folder.path}/{name}: is not there any more; {REPLACED}") from None
    except (OSError, pa.ArrowException) as error:
        message = f"{folder.path}/{name}: is truncated or damaged and can't be read ({_short(error)}); restore it or import the data again"
        raise DataError(message) from error


def _wanted(parquet: Any, file: str, required: Sequence[str], columns: Sequence[str] | None) -> list[str] | None:
    """The names of the columns to read, None for all; `DataError` if a required one is not there."""
    present = parquet.schema_arrow.names
    for column in required:
        if column not in present:
            raise DataError(f'{file}: column "{column}" is missing; it has {", ".join(present)}')
    return None if columns is None else [name for name in present if name in columns or name in required]


def _groups(parquet: Any, span: Span) -> list[int]:
    """The row groups that can hold a row with start < ts <= end."""
    start, end = span
    groups = list(range(parquet.num_row_groups))
    if start is None and end is None:
        return groups
    inside = []
    for group in groups:
        found = _group_range(parquet, group)
        if found is None or ((start is None or found[1] > utc(start)) and (end is None or found[0] <= utc(end))):
            inside.append(group)
    return inside


def _group_range(parquet: Any, group: int) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """First and last time of a row group by the file's statistics; None where it has none."""
    place = next((column for column in range(parquet.metadata.num_columns) if parquet.schema.column(column).path == "ts"), None)
    statistics = None if place is None else parquet.metadata.row_group(group).column(place).statistics
    if statistics is None or not statistics.has_min_max:
        return None
    return utc(statistics.min), utc(statistics.max)


def _frame(table: Any, file: str) -> pd.DataFrame:
    import pyarrow as pa

    frame = {}
    for name in table.column_names:
        try:
            frame[name] = _column(name, table.column(name))
        except pa.ArrowException as error:
            kind = "a time" if name in TIMES else "numbers"
            raise DataError(f'{file}: column "{name}" is not {kind} ({_short(error)}); correct it') from error
    return pd.DataFrame(frame, copy=False)


def _column(name: str, values: Any) -> Any:
    """A column as its name asks for, or, where the name is not ours, as its type suggests."""
    import pyarrow as pa

    kind = values.type
    if name in TIMES or pa.types.is_timestamp(kind):
        if pa.types.is_timestamp(kind) and kind.tz is None:
            values = values.cast(pa.timestamp(kind.unit, tz="UTC"))
        return pd.DatetimeIndex(values.cast(pa.timestamp("ns", tz="UTC")).to_numpy().astype("datetime64[ns]", copy=False), tz="UTC")
    if name in NUMBERS or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind):
        return values.cast(pa.float64()).to_numpy()
    return pd.Series([None if value is None else str(value) for value in values.to_pylist()], dtype=object)


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
