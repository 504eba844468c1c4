"""Finished combinations on disk, so that none is computed twice: a folder of Parquet files, here or behind a URL.

A file holds a chunk of combinations of one fingerprint: of the same market, strategy, engine and execution. It appears whole or not at all, so killed
processes and several writers do no harm; a file that can't be read is passed over, and what it held is computed again.

    kept = Shelf("sweeps").open(fingerprint(grid))
    for places, rows in kept.take(keys): ...
    kept.put(keys, rows)
"""

import base64
import errno
import io
import os
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.data.place import is_url
from backtest.errors import StorageError
from backtest.fingerprint import Writer, engine, fingerprint

__all__ = ["Kept", "Rows", "Shelf", "Writer", "engine", "fingerprint"]

Floats = npt.NDArray[np.float64]
COMBINATION, REFUSED, DAILY = "combination", "refused", "daily equity"
LEFTOVER = 86_400.0  # seconds after which a file that a killed writer left half-written is removed


class Rows(Protocol):
    """What is kept of some combinations, as `Grid.run` gives it."""

    @property
    def table(self) -> pd.DataFrame:
        """A row a combination."""

    @property
    def daily(self) -> Floats:
        """Daily equity. [combination, day]"""

    @property
    def days(self) -> pd.DatetimeIndex:
        """The instants of daily equity."""

    @property
    def refused(self) -> list[str | None]:
        """The sentence of a combination that can't run."""

    @property
    def quote(self) -> str:
        """The currency."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Rows that were read."""

    table: pd.DataFrame
    daily: Floats
    days: pd.DatetimeIndex
    refused: list[str | None]
    quote: str


class Shelf:
    """A folder of finished combinations of all kinds of sweeps. Raises StorageError where it can't be made or listed."""

    def __init__(self, folder: str | Path) -> None:
        self.path = str(folder).rstrip("/") if is_url(folder) else os.path.realpath(os.path.expanduser(folder))
        self._system = None if not is_url(folder) else self._connected()
        if self._system is None:
            self._try("made", lambda: os.makedirs(self.path, exist_ok=True))

    def open(self, fingerprint: str) -> "Kept":
        """The combinations of one fingerprint."""
        return Kept(self, fingerprint)

    def names(self, under: str) -> list[str]:
        """The files of a fingerprint that are whole, oldest name first."""
        place = f"{self.path}/{under}"
        if (system := self._system) is not None:
            found = self._try("listed", lambda: system.find(self._root(place)))
            return sorted(str(name) for name in found if str(name).endswith(".parquet"))
        if not os.path.isdir(place):
            return []
        for part in Path(place).glob("*.part"):
            with suppress(OSError):
                if time.time() - part.stat().st_mtime > LEFTOVER:
                    part.unlink()
        return sorted(str(each) for each in Path(place).glob("*.parquet"))

    def read(self, name: str) -> Any:
        """What pyarrow reads a file from."""
        return name if self._system is None else io.BytesIO(self._system.cat_file(name))

    def write(self, under: str, data: bytes) -> None:
        """Put a new file beside the others; it is there whole or not at all."""
        self._try("written", lambda: self._write(f"{self.path}/{under}", f"chunk-{uuid.uuid4().hex}", data))

    def _write(self, place: str, name: str, data: bytes) -> None:
        if self._system is not None:
            self._system.pipe_file(f"{self._root(place)}/{name}.parquet", data)
            return
        os.makedirs(place, exist_ok=True)
        part = f"{place}/{name}.part"
        try:
            with open(part, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, f"{place}/{name}.parquet")
        finally:
            with suppress(OSError):
                os.unlink(part)

    def _root(self, place: str) -> str:
        return str(self._system._strip_protocol(place)) if self._system is not None else place

    def _connected(self) -> Any:
        from fsspec.core import url_to_fs

        return self._try("opened", lambda: url_to_fs(self.path)[0])

    def _try(self, what: str, do: Callable[[], Any]) -> Any:
        """What is asked of the file system; StorageError for whatever goes wrong there, as each system has its own exceptions."""
        try:
            return do()
        except Exception as error:
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = (
                "free some space"
                if full
                else "check the address and your access"
                if is_url(self.path)
                else "check the folder and its permissions"
            )
            said = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise StorageError(
                f"{self.path}: finished combinations can't be {what} there ({said}); what was kept before is whole; {remedy}, or choose another store"
            ) from error


class Kept:
    """The finished combinations of one fingerprint."""

    def __init__(self, shelf: Shelf, fingerprint: str) -> None:
        self.shelf, self.fingerprint = shelf, fingerprint
        self.damaged: list[str] = []  # files that could not be read

    def take(self, keys: Sequence[str]) -> Iterator[tuple[npt.NDArray[np.int64], Chunk]]:
        """Those of some combinations that are finished: their places among `keys`, and their rows. File by file, each combination once."""
        wanted = {key: place for place, key in enumerate(keys)}
        for name in self.shelf.names(self.fingerprint):
            if not wanted:
                return
            found = self._read(name, wanted)
            if found is not None and len(found[0]):
                for place in found[0]:
                    del wanted[keys[place]]
                yield found

    def put(self, keys: Sequence[str], rows: Rows) -> None:
        """Keep some combinations. Raises StorageError where the file can't be written."""
        if len(keys):
            self.shelf.write(self.fingerprint, packed(self.fingerprint, keys, rows))

    def _read(self, name: str, wanted: dict[str, int]) -> tuple[npt.NDArray[np.int64], Chunk] | None:
        """The wanted rows of a file; None of one that can't be read, which is noted."""
        import pyarrow as pa

        try:
            return self._wanted_of(name, wanted)
        except FileNotFoundError:
            return None  # somebody cleared the shelf meanwhile
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, zlib.error):
            self.damaged.append(name)
            return None

    def _wanted_of(self, name: str, wanted: dict[str, int]) -> tuple[npt.NDArray[np.int64], Chunk]:
        import pyarrow.parquet as pq

        source = self.shelf.read(name)
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            about = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
            keys = file.read([COMBINATION])[COMBINATION].to_pylist()
            rows = {wanted[key]: row for row, key in enumerate(keys) if key in wanted}
            if about["fingerprint"] != self.fingerprint or not rows:
                return np.empty(0, dtype=np.int64), EMPTY
            table = file.read()
        days = unfolded(about["days"])
        daily = table[DAILY].combine_chunks().flatten().to_numpy().reshape(len(keys), len(days))
        places = np.array(list(rows), dtype=np.int64)
        chosen = np.array(list(rows.values()), dtype=np.int64)
        refused = table[REFUSED].to_pylist()
        numbers = {each: table[each].to_numpy()[chosen] for each in table.column_names if each not in (COMBINATION, REFUSED, DAILY)}
        return places, Chunk(pd.DataFrame(numbers), daily[chosen], days, [refused[row] for row in chosen], about["quote"])


EMPTY = Chunk(pd.DataFrame(), np.empty((0, 0)), pd.DatetimeIndex([]), [], "")


def packed(fingerprint: str, keys: Sequence[str], rows: Rows) -> bytes:
    """Some combinations as a Parquet file: their text, the sentence of a refused one, a column a statistic, and the list of daily equity."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    daily = np.ascontiguousarray(rows.daily, dtype=np.float64)
    columns = {
        COMBINATION: pa.array(list(keys), pa.string()),
        REFUSED: pa.array(rows.refused, pa.string()),
        **{str(name): pa.array(rows.table[name].to_numpy(np.float64), pa.float64()) for name in rows.table},
        DAILY: pa.FixedSizeListArray.from_arrays(pa.array(daily.reshape(-1)), len(rows.days)),
    }
    about = {"fingerprint": fingerprint, "quote": rows.quote, "days": folded(rows.days)}
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table(columns).replace_schema_metadata(about), sink, compression="zstd", use_dictionary=False, write_page_checksum=True
    )
    return bytes(sink.getvalue())


def folded(days: pd.DatetimeIndex) -> str:
    """Instants as a short text: they lie a day apart but for the first."""
    return base64.b64encode(zlib.compress(np.diff(days.as_unit("ns").asi8, prepend=0).astype("<i8").tobytes())).decode()


def unfolded(text: str) -> pd.DatetimeIndex:
    """The instants that `folded` wrote."""
    apart = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<i8")
    return pd.DatetimeIndex(np.cumsum(apart).view("M8[ns]")).tz_localize("UTC")
