"""The content hash: what a dataset says, whatever files and library it is written with.

Content is hashed in blocks (an instrument's bars of one year, any other table as one), and the dataset's hash is that of its blocks' digests and
its instruments: appending hashes the years that get rows and no other. A column is float64 or int64 nanoseconds in little-endian order, or
text with its length before it; every NaN is alike, 0 has no sign, and a column that is unknown throughout a block is as good as none.

    block = BlockDigest()
    for frame in frames: block.add(frame)
    block.digest(), block.rows
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from backtest.data.parquet import utc
from backtest.instruments import Instrument

_CHUNK = 1 << 16


class BlockDigest:
    """Hashes the rows of one block, given in order and in pieces of any size."""

    def __init__(self) -> None:
        self.rows = 0
        self._columns: dict[str, Any] = {}

    def add(self, frame: pd.DataFrame) -> None:
        """Take in the next rows: UTC times, float64 and text."""
        for name in {*self._columns, *frame.columns}:
            content = _canonical(frame[name]) if name in frame.columns else None
            if content is not None and name not in self._columns:
                self._columns[name] = _Column(_unknown(frame[name]))
                self._columns[name].absent(self.rows)
            if name in self._columns:
                self._columns[name].add(content, len(frame))
        self.rows += len(frame)

    def digest(self) -> str:
        """SHA-256 of everything taken in, in hexadecimal."""
        whole = hashlib.sha256(f"{self.rows}\n".encode())
        for name in sorted(self._columns):
            if self._columns[name].known:
                whole.update(f"{name} {self._columns[name].hexdigest()}\n".encode())
        return whole.hexdigest()


class _Column:
    def __init__(self, absent: bytes) -> None:
        self._hash = hashlib.sha256()
        self._absent = absent
        self.known = False

    def absent(self, rows: int) -> None:
        for first in range(0, rows, _CHUNK):
            self._hash.update(self._absent * min(_CHUNK, rows - first))

    def add(self, content: bytes | None, rows: int) -> None:
        if content is None:
            self.absent(rows)
        else:
            self._hash.update(content)
            self.known = True

    def hexdigest(self) -> str:
        return str(self._hash.hexdigest())


def dataset_hash(instruments: Mapping[str, Instrument], blocks: Mapping[str, str]) -> str:
    """SHA-256 over the instruments' facts and the blocks' digests, both in order of their names."""
    facts = [{key: _plain(value) for key, value in asdict(instruments[name]).items()} for name in sorted(instruments)]
    return hashlib.sha256(json.dumps([facts, dict(sorted(blocks.items()))], sort_keys=True).encode()).hexdigest()


def _unknown(values: pd.Series) -> bytes:
    """The bytes of a row whose value a column doesn't know."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return np.array(pd.NaT.value, dtype="<i8").tobytes()
    return b"-" if values.dtype == object else np.array(np.nan, dtype="<f8").tobytes()


def _canonical(values: pd.Series) -> Any:
    """A column's bytes, the same on every machine; None if it has no value."""
    if pd.api.types.is_datetime64_any_dtype(values):
        times = np.ascontiguousarray(values.to_numpy(dtype="datetime64[ns]").astype("<i8", copy=False))
        return None if (times == pd.NaT.value).all() else times
    if values.dtype == np.float64:
        numbers = np.ascontiguousarray(values.to_numpy(dtype="<f8"))
        unknown = np.isnan(numbers)
        if unknown.all():
            return None
        # a NaN has many bit patterns, and 0 has a sign
        return np.where(unknown, np.nan, numbers + 0.0) if unknown.any() else numbers + 0.0
    if not values.notna().any():
        return None
    return b"".join(b"-" if text is None else f"{len(text.encode())}:{text}".encode() for text in values)


def _plain(value: object) -> object:
    if value is None or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        return utc(value).isoformat()
    if isinstance(value, str):
        return value
    number = float(value)  # type: ignore[arg-type]  # the other fields are numbers
    return None if np.isnan(number) else number
