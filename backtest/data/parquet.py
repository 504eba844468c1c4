"""One table in one Parquet file: UTC nanoseconds, float64 and text, with a checksum a page.

Files of other tools are welcome: times of any unit or zone, numbers of any width. pyarrow is imported when the first file is touched, and
never `pyarrow.dataset`, which takes longer to import than five years of hourly bars take to read.

    write_table(Path("part-0.parquet"), frame)
    frame = read_table(Path("part-0.parquet"), required=("ts", "close"))
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtest.data.schema import BAR_COLUMNS, FUNDING_COLUMNS, OPTIONAL_BAR_COLUMNS
from backtest.errors import DataError

TIMES = ("ts", "known_at", "listed_at", "expires_at")
NUMBERS = (*BAR_COLUMNS, *OPTIONAL_BAR_COLUMNS, *FUNDING_COLUMNS, "price", "value", "multiplier", "tick", "lot", "min_notional")


def utc(time: pd.Timestamp | str) -> pd.Timestamp:
    """A time in UTC; one without a zone is taken as UTC."""
    stamp = pd.Timestamp(time)
    return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")


def write_table(file: Path, frame: pd.DataFrame, nulls: bool = False) -> None:
    """Write a frame of UTC times, float64 and text; NaN stays NaN, or with `nulls` becomes null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def column(values: pd.Series) -> Any:
        if pd.api.types.is_datetime64_any_dtype(values):
            return pa.array(values.to_numpy(dtype="datetime64[ns]"), type=pa.timestamp("ns", tz="UTC"))
        if values.dtype == np.float64:
            return pa.array(values.to_numpy(), from_pandas=nulls)
        return pa.array(list(values), type=pa.string())

    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({name: column(frame[name]) for name in frame.columns})
    pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def read_table(file: Path, required: tuple[str, ...]) -> pd.DataFrame:
    """Read a file as float64, UTC (ns) and text columns.

    Raises `DataError` naming a damaged file, or the column that is missing or of the wrong type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # not pq.read_table: it imports pyarrow.dataset, which takes longer than reading five years of hourly bars
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            table = parquet.read()
    except (OSError, pa.ArrowException) as error:
        message = f"{file}: is truncated or damaged and can't be read ({_short(error)}); restore it or import the data again"
        raise DataError(message) from error
    for column in required:
        if column not in table.column_names:
            raise DataError(f'{file}: column "{column}" is missing; it has {", ".join(table.column_names)}')
    frame = {}
    for name in table.column_names:
        try:
            frame[name] = _column(name, table.column(name))
        except pa.ArrowException as error:
            raise DataError(
                f'{file}: column "{name}" is not {"a time" if name in TIMES else "numbers"} ({_short(error)}); correct it'
            ) from error
    return pd.DataFrame(frame)


def _column(name: str, values: Any) -> Any:
    """A column as its name asks for, or, where the name is not ours, as its type suggests."""
    import pyarrow as pa

    kind = values.type
    if name in TIMES or pa.types.is_timestamp(kind):
        if pa.types.is_timestamp(kind) and kind.tz is None:
            values = values.cast(pa.timestamp(kind.unit, tz="UTC"))
        return pd.DatetimeIndex(values.cast(pa.timestamp("ns", tz="UTC")).to_numpy().astype("datetime64[ns]"), tz="UTC")
    if name in NUMBERS or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind):
        return values.cast(pa.float64()).to_numpy()
    return pd.Series([None if value is None else str(value) for value in values.to_pylist()], dtype=object)


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
