"""The dataset on disk: a folder of Parquet files that any tool reads, replaced whole or not at all.

Bars are partitioned by instrument and by the year of the instant just before their stamp (the bar that ends at midnight of New Year belongs
to the old year). A new version is written beside the old one, flushed to the disk and swapped in by renaming, so a killed process or a full
disk leaves what was there. The content hash depends on the values only, not on the files' layout or on the Parquet library.

    write_dataset("data/mine", tables, name="mine", source="binance: spot.csv", simulated=False, licence="private")
    bars = open_dataset("data/mine").bars("ETHUSDT-SPOT", start=pd.Timestamp("2024-01-01", tz="UTC"))
"""

import hashlib
import json
import re
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtest.data.parquet import TIMES, read_table, utc, write_table
from backtest.data.replace import local_folder, recover, replacing
from backtest.data.schema import FUNDING_COLUMNS, PRICES, Tables, empty
from backtest.errors import DataError, did_you_mean
from backtest.instruments import Instrument, Kind, Settle

FORMAT = 1
MANIFEST = "dataset.json"
INSTRUMENTS = "instruments.parquet"
ROOMS = ("bars", "funding", "settlements", "series", "events")
REQUIRED = {
    "bars": ("ts", *PRICES),
    "funding": ("ts", "rate"),
    "settlements": ("instrument", "ts", "price"),
    "series": ("ts", "known_at", "value"),
    "events": ("ts", "name", "kind"),
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A dataset opened for reading; nothing but the manifest and the instruments is read until it is asked for.

    `info` is the content of `dataset.json`; `instruments` is ordered by id.
    Every method raises `DataError` naming the file that can't be read.
    """

    path: str
    name: str
    hash: str
    simulated: bool
    info: dict[str, Any]
    instruments: dict[str, Instrument]

    def bars(self, instrument: str, start: pd.Timestamp | None = None, end: pd.Timestamp | None = None) -> pd.DataFrame:
        """Bars with start < ts <= end: float64 columns on a UTC index `ts` (ns); no rows if the instrument has none."""
        folder = self._folder("bars", instrument)
        frame = _read(_files(folder, start, end), "bars")
        if frame.empty:
            return _indexed(empty(("ts", *PRICES)))
        frame = _indexed(frame)
        keep = np.ones(len(frame), dtype=bool)
        if start is not None:
            keep &= np.asarray(frame.index > utc(start))
        if end is not None:
            keep &= np.asarray(frame.index <= utc(end))
        return frame if keep.all() else frame[keep]

    def funding(self, instrument: str) -> pd.DataFrame:
        """Funding events on a UTC index `ts`: rate (fraction per interval), interval_hours, mark_price (NaN where unknown)."""
        frame = _read(_files(self._folder("funding", instrument)), "funding")
        return _indexed(empty(("ts", *FUNDING_COLUMNS)) if frame.empty else frame)

    def settlements(self) -> pd.DataFrame:
        """Prices that dated contracts settled to: columns instrument, ts, price."""
        return self._table("settlements")

    def events(self) -> pd.DataFrame:
        """Dated events such as network upgrades: columns ts, name, kind."""
        return self._table("events")

    @property
    def series_names(self) -> list[str]:
        """Names of the series that `series` can give, in order."""
        return _keys(Path(self.path) / "series", "name")

    def series(self, name: str) -> pd.DataFrame:
        """One series: columns ts, known_at, value."""
        if name not in self.series_names:
            raise DataError(f'{self.path}: no series "{name}"; {did_you_mean(name, self.series_names)}')
        return _read(_files(Path(self.path) / "series" / f"name={name}"), "series")

    def tables(self) -> Tables:
        """The whole content in memory."""
        root = Path(self.path)
        return Tables(
            instruments=list(self.instruments.values()),
            bars={key: self.bars(key) for key in _keys(root / "bars", "instrument")},
            funding={key: self.funding(key) for key in _keys(root / "funding", "instrument")},
            settlements=self.settlements(),
            series={key: self.series(key) for key in self.series_names},
            events=self.events(),
        )

    def _folder(self, room: str, instrument: str) -> Path:
        if instrument not in self.instruments:
            raise DataError(f'{self.path}: unknown instrument "{instrument}"; {did_you_mean(instrument, list(self.instruments))}')
        return Path(self.path) / room / f"instrument={instrument}"

    def _table(self, room: str) -> pd.DataFrame:
        frame = _read(_files(Path(self.path) / room), room)
        return empty(REQUIRED[room]) if frame.empty else frame


def open_dataset(path: str | Path) -> Dataset:
    """Open the dataset in a folder; raises `DataError` where there is none or its manifest or instruments can't be read."""
    folder = local_folder(path)
    recover(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no dataset here; import one (carry data import) or build the sample (carry data sample)")
    manifest = folder / MANIFEST
    try:
        info = json.loads(manifest.read_text(encoding="utf-8"))
        name, digest, simulated = str(info["name"]), str(info["hash"]), bool(info["simulated"])
    except FileNotFoundError:
        raise DataError(f"{folder}: {MANIFEST} is missing, so this is not a dataset; name the folder that holds it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{manifest}: can't be read ({error!r}); restore it or import the data again") from error
    instruments = {one.id: one for one in _read_instruments(folder / INSTRUMENTS)}
    return Dataset(path=str(folder), name=name, hash=digest, simulated=simulated, info=info, instruments=instruments)


def write_dataset(path: str | Path, tables: Tables, *, name: str, source: str, simulated: bool, licence: str) -> str:
    """Write `tables` as the dataset in a folder, in place of the one there, and return the content hash.

    All of it arrives or the old dataset stays: `StorageError` names the place and the remedy. `DataError` for tables without a place in the
    layout (unknown instrument, a name that can't be a folder, a missing column); whether prices make sense is `validate`'s concern.
    """
    folder = local_folder(path)
    content = _normal(tables)
    digest = content_hash(content)
    rows = {room: sum(len(frame) for _, frame in _parts(content, room)) for room in ROOMS}
    info = {"name": name, "source": source, "hash": digest, "simulated": simulated, "licence": licence, "rows": rows, "format": FORMAT}
    with replacing(folder, (MANIFEST, INSTRUMENTS, *ROOMS)) as fresh:
        _write_tables(fresh, content)
        (fresh / MANIFEST).write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    return digest


def content_hash(tables: Tables) -> str:
    """SHA-256 over the values in a canonical order: ids and column names sorted, float64 and int64 little-endian, every NaN alike."""
    digest = hashlib.sha256()
    content = _normal(tables)
    facts = [{key: _plain(value) for key, value in asdict(one).items()} for one in content.instruments]
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for room in ROOMS:
        for key, frame in _parts(content, room):
            digest.update(f"\n{room} {key} {len(frame)}\n".encode())
            for column in sorted(frame.columns):
                digest.update(f"{column}\n".encode())
                digest.update(_canonical(frame[column]))
    return digest.hexdigest()


# --- from tables to a canonical form ---------------------------------------------------------------------


def _normal(tables: Tables) -> Tables:
    """The same content with instruments and keys in order, times in UTC nanoseconds, numbers as float64, and no empty frames."""
    instruments = sorted(tables.instruments, key=lambda one: one.id)
    ids = [one.id for one in instruments]
    for key in [*ids, *tables.series]:
        if not _NAME.fullmatch(key):
            raise DataError(f"\"{key}\" can't be a folder's name; use letters, digits, dot, dash and underscore only")
    for first, second in pairwise(ids):
        if first == second:
            raise DataError(f"{first}: described twice among the instruments; keep one description")
    named = set(tables.settlements["instrument"]) if len(tables.settlements) else set()
    for key in sorted({*tables.bars, *tables.funding, *named}):
        if key not in ids:
            raise DataError(f'unknown instrument "{key}": it has data but no description; {did_you_mean(key, ids)}')
    rooms: dict[str, dict[str, pd.DataFrame]] = {"bars": {}, "funding": {}, "series": {}}
    for room, content in (("bars", tables.bars), ("funding", tables.funding), ("series", tables.series)):
        rooms[room] = {key: _normal_frame(content[key], room, key) for key in sorted(content) if len(content[key])}
    settlements = _normal_frame(tables.settlements, "settlements", "settlements")
    events = _normal_frame(tables.events, "events", "events")
    return Tables(instruments=instruments, settlements=settlements, events=events, **rooms)


def _normal_frame(frame: pd.DataFrame, room: str, key: str) -> pd.DataFrame:
    flat = frame if "ts" in frame.columns else frame.rename_axis(index="ts").reset_index()
    for column in REQUIRED[room]:
        if column not in flat.columns:
            raise DataError(f'{key}: column "{column}" is missing from its {room}; there are {", ".join(map(str, flat.columns))}')
        if column in TIMES and len(flat) and not pd.api.types.is_datetime64_any_dtype(flat[column]):
            raise DataError(f'{key}: column "{column}" of its {room} is not times; convert it with pandas.to_datetime(…, utc=True)')
    return pd.DataFrame({str(column): _normal_column(flat[column]) for column in flat.columns})


def _normal_column(values: pd.Series) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(values):
        values = values.dt.tz_localize("UTC") if values.dt.tz is None else values.dt.tz_convert("UTC")
        return pd.Series(values.dt.as_unit("ns").reset_index(drop=True))
    if pd.api.types.is_numeric_dtype(values):
        return values.astype("float64").reset_index(drop=True)
    return pd.Series([None if pd.isna(value) else str(value) for value in values], dtype=object)


def _canonical(values: pd.Series) -> bytes:
    """A column's bytes, the same on every machine."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return values.to_numpy(dtype="datetime64[ns]").astype("<i8").tobytes()
    if values.dtype == np.float64:
        numbers = values.to_numpy(dtype="<f8", copy=True)
        numbers[np.isnan(numbers)] = np.nan
        return numbers.tobytes()
    return b"".join(b"-" if text is None else f"{len(text.encode())}:{text}".encode() for text in values)


def _parts(tables: Tables, room: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The frames of one room with their keys, in order, without empty ones."""
    content = getattr(tables, room)
    frames = {"": content} if isinstance(content, pd.DataFrame) else content
    return ((key, frames[key]) for key in sorted(frames) if len(frames[key]))


def _plain(value: object) -> object:
    if value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        return utc(value).isoformat()
    if value is None or isinstance(value, str):
        return value
    number = float(value)  # type: ignore[arg-type]  # the other fields are numbers
    return None if np.isnan(number) else number


# --- writing ---------------------------------------------------------------------------------------------


def _write_tables(root: Path, tables: Tables) -> None:
    rows = [asdict(one) for one in tables.instruments]
    names = [field.name for field in fields(Instrument)]
    types = {"multiplier": float, "tick": float, "lot": float, "min_notional": float}
    facts = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=types.get(name, object)) for name in names})
    for name in ("listed_at", "expires_at"):
        stamps = [pd.NaT if time is None else utc(time) for time in facts[name]]
        facts[name] = pd.Series(pd.DatetimeIndex(stamps, dtype="datetime64[ns, UTC]"))
    write_table(root / INSTRUMENTS, facts, nulls=True)
    for room in ROOMS:
        for key, frame in _parts(tables, room):
            if room == "bars":
                before = (frame["ts"] - pd.Timedelta(1, "ns")).dt.year
                for year in sorted(set(before)):
                    write_table(root / room / f"instrument={key}" / f"year={year}" / "part-0.parquet", frame[before == year])
            else:
                folder = {"funding": f"instrument={key}", "series": f"name={key}"}.get(room, "")
                write_table(root / room / folder / "part-0.parquet", frame)


# --- reading ---------------------------------------------------------------------------------------------


def _keys(room: Path, key: str) -> list[str]:
    return sorted(path.name.removeprefix(f"{key}=") for path in room.glob(f"{key}=*") if path.is_dir())


def _files(folder: Path, start: pd.Timestamp | None = None, end: pd.Timestamp | None = None) -> list[Path]:
    """The Parquet files under a folder, without those of years outside start..end."""
    first = utc(start).year if start is not None else -1
    last = utc(end).year if end is not None else 1 << 30
    found = []
    for file in sorted(folder.rglob("*.parquet")):
        year = re.fullmatch(r"year=(\d+)", file.parent.name)
        if year is None or first <= int(year[1]) <= last:
            found.append(file)
    return found


def _read(files: Iterable[Path], room: str) -> pd.DataFrame:
    """All rows of some files, those of the file that begins first before the others; other columns are kept."""
    frames = [frame for file in files if len(frame := read_table(file, REQUIRED[room]))]
    if not frames:
        return pd.DataFrame()
    frames.sort(key=lambda frame: frame["ts"].iloc[0])
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def _read_instruments(file: Path) -> list[Instrument]:
    rows = read_table(file, ("id", "venue", "kind", "base", "quote")).to_dict("records")
    try:
        return sorted((_instrument(row) for row in rows), key=lambda one: one.id)
    except (ValueError, TypeError) as error:
        raise DataError(f"{file}: can't be read as instruments ({error}); restore it or import the data again") from error


def _instrument(row: dict[Hashable, Any]) -> Instrument:
    known = {field.name: row[field.name] for field in fields(Instrument) if not pd.isna(row.get(field.name))}
    return Instrument(**known | {"kind": Kind(row["kind"]), "settle": Settle(known.get("settle", Settle.LINEAR))})


def _indexed(frame: pd.DataFrame) -> pd.DataFrame:
    index = pd.DatetimeIndex(frame["ts"], dtype="datetime64[ns, UTC]", name="ts")
    return frame.drop(columns="ts").astype("float64" if frame.empty else {}).set_axis(index)
