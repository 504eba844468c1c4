"""The dataset on disk, written: replaced whole or not at all, and added to without writing again what is there.

Bars are partitioned by instrument and by the year of the instant just before their stamp (the bar that ends at midnight of New Year belongs
to the old year). A new version is made beside the old one, with links to the files that stay, flushed to the disk and swapped in by renaming, so a
killed process or a full disk leaves what was there.

    write_dataset("data/mine", tables, name="mine", source="binance: spot.csv", simulated=False, licence="private")
    with updating("data/mine") as update:
        update.add("bars", "ETHUSDT-SPOT", frame)
        update.commit(instruments, Facts(name="mine", source="binance: spot.csv", simulated=False, licence="private"))
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from backtest.data.blocks import Blocks, block_digest, block_frames
from backtest.data.dataset import FORMAT, INSTRUMENTS, MANIFEST, Dataset, open_dataset
from backtest.data.digest import dataset_hash
from backtest.data.parquet import TIMES, utc, write_table
from backtest.data.place import Folder, local_folder
from backtest.data.replace import replacing
from backtest.data.schema import PRICES, REQUIRED, ROOMS, Tables
from backtest.data.validate import refuse
from backtest.errors import DataError, did_you_mean
from backtest.instruments import Instrument

__all__ = ["Dataset", "Facts", "Update", "content_hash", "open_dataset", "updating", "write_dataset"]

UTC_NS = "datetime64[ns, UTC]"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a dataset says of itself beside its content."""

    name: str
    source: str
    simulated: bool
    licence: str


class Update:
    """A new version of a dataset in the making; `before` is the present one, None if there is none. Nothing happens without `commit`."""

    def __init__(self, folder: Path, fresh: Path, checked: bool = True) -> None:
        self.before = open_dataset(folder) if (folder / MANIFEST).exists() else None
        self._fresh, self._checked = fresh, checked
        self._settled: set[str] = set()
        known = {} if self.before is None else self.before.info["blocks"]
        self._blocks = Blocks(fresh, None if self.before is None else Folder(folder), known)

    @property
    def strays(self) -> dict[str, int]:
        """After `commit`: instrument → rows of mark or index prices that stood beside no bar and were left out."""
        return self._blocks.strays

    def add(self, room: str, key: str, frame: pd.DataFrame) -> None:
        """Take in rows of one table, in order of time; raises `DataError` for a name or a frame that has no place in the layout."""
        if key and not _NAME.fullmatch(key):
            raise DataError(f"\"{key}\" can't be a folder's name; use letters, digits, dot, dash and underscore only")
        if room == "settlements":
            self._settled |= set(frame["instrument"])
        if len(frame):
            self._blocks.add(room, key, normal_frame(frame, room, key or room))

    def commit(self, instruments: Iterable[Instrument], facts: Facts) -> str:
        """Finish the new version and return its content hash; raises `DataError` where rows contradict or belong to no instrument.

        A version with the facts and the content that are there already is not written.
        """
        described = _described(instruments)
        blocks = self._blocks.finish()
        _refuse_undescribed(blocks, self._settled, described)
        if self._checked:
            refuse(self._blocks.late_bars(blocks, described))
        digest = dataset_hash(described, {name: block["digest"] for name, block in blocks.items()})
        rows = {room: sum(block["rows"] for name, block in blocks.items() if name.split("/")[0] == room) for room in ROOMS}
        info = {**asdict(facts), "hash": digest, "rows": rows, "format": FORMAT, "blocks": blocks}
        if self.before is None or info != self.before.info:
            _write_instruments(self._fresh / INSTRUMENTS, list(described.values()))
            (self._fresh / MANIFEST).write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
        return digest


@contextmanager
def updating(path: str | Path) -> Iterator[Update]:
    """Add to the dataset in a folder, or make it; whoever else wants to waits. All of it arrives or the old dataset stays.

    Raises `StorageError` naming the place and the remedy where nothing can be written.
    """
    folder = local_folder(path)
    with replacing(folder, (MANIFEST, INSTRUMENTS, *ROOMS)) as fresh:
        yield Update(folder, fresh)


def write_dataset(path: str | Path, tables: Tables, *, name: str, source: str, simulated: bool, licence: str) -> str:
    """Write `tables` as the dataset in a folder, in place of the one there, and return the content hash.

    All of it arrives or the old dataset stays: `StorageError` names the place and the remedy. `DataError` for tables without a place in the
    layout (unknown instrument, a name that can't be a folder, a missing column); whether prices make sense is `validate`'s concern.
    """
    with replacing(local_folder(path), (MANIFEST, INSTRUMENTS, *ROOMS)) as fresh:
        update = Update(fresh, fresh, checked=False)
        for room, key, frame in _frames(tables):
            update.add(room, key, frame)
        return update.commit(tables.instruments, Facts(name=name, source=source, simulated=simulated, licence=licence))


def content_hash(tables: Tables) -> str:
    """The hash that a dataset with this content has; see `backtest.data.digest`."""
    described = _described(tables.instruments)
    digests = {}
    for room, key, frame in _frames(tables):
        for name, rows in block_frames(room, key, normal_frame(frame, room, key or room)):
            digests[name] = block_digest([rows]).digest()
    _refuse_undescribed(digests, set(tables.settlements["instrument"]), described)
    return dataset_hash(described, digests)


def normal_frame(frame: pd.DataFrame, room: str, key: str) -> pd.DataFrame:
    """The same rows with `ts` as a column, times in UTC nanoseconds, numbers as float64 and the rest as text."""
    flat = frame if "ts" in frame.columns else frame.rename_axis(index="ts").reset_index()
    adds_columns = room == "bars" and not set(PRICES) & set(flat.columns)
    for column in ("ts",) if adds_columns else REQUIRED[room]:
        if column not in flat.columns:
            raise DataError(f'{key}: column "{column}" is missing from its {room}; there are {", ".join(map(str, flat.columns))}')
        if column in TIMES and len(flat) and not pd.api.types.is_datetime64_any_dtype(flat[column]):
            raise DataError(f'{key}: column "{column}" of its {room} is not times; convert it with pandas.to_datetime(…, utc=True)')
    if str(frame.index.dtype) == UTC_NS and (frame.dtypes == "float64").all():
        return flat  # as importers give them, and many small files
    return pd.DataFrame({str(column): _normal_column(flat[column]) for column in flat.columns})


def _normal_column(values: pd.Series) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(values):
        values = values.dt.tz_localize("UTC") if values.dt.tz is None else values.dt.tz_convert("UTC")
        return pd.Series(values.dt.as_unit("ns").reset_index(drop=True))
    if pd.api.types.is_numeric_dtype(values):
        return values.astype("float64").reset_index(drop=True)
    return pd.Series([None if pd.isna(value) else str(value) for value in values], dtype=object)


def _frames(tables: Tables) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Every table of a content that has rows: room, key, frame."""
    for room in ROOMS:
        content = getattr(tables, room)
        for key, frame in {"": content}.items() if isinstance(content, pd.DataFrame) else content.items():
            if len(frame):
                yield room, key, frame


def _described(instruments: Iterable[Instrument]) -> dict[str, Instrument]:
    ordered = sorted(instruments, key=lambda one: one.id)
    for one in ordered:
        if not _NAME.fullmatch(one.id):
            raise DataError(f"\"{one.id}\" can't be a folder's name; use letters, digits, dot, dash and underscore only")
    for first, second in pairwise(ordered):
        if first.id == second.id:
            raise DataError(f"{first.id}: described twice among the instruments; keep one description")
    return {one.id: one for one in ordered}


def _refuse_undescribed(blocks: Iterable[str], settled: Iterable[str], described: Mapping[str, Instrument]) -> None:
    with_data = {name.split("/")[1] for name in blocks if name.startswith(("bars/", "funding/"))}
    for key in sorted({*with_data, *settled}):
        if key not in described:
            raise DataError(f'unknown instrument "{key}": it has data but no description; {did_you_mean(key, list(described))}')


def _write_instruments(file: Path, instruments: list[Instrument]) -> None:
    rows = [asdict(one) for one in instruments]
    types = {"multiplier": float, "tick": float, "lot": float, "min_notional": float}
    names = [field.name for field in fields(Instrument)]
    facts = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=types.get(name, object)) for name in names})
    for name in ("listed_at", "expires_at"):
        stamps = [pd.NaT if time is None else utc(time) for time in facts[name]]
        facts[name] = pd.Series(pd.DatetimeIndex(np.array(stamps, dtype=object), dtype="datetime64[ns, UTC]"))
    write_table(file, [facts], nulls=True)
