"""The dataset on disk, read: a folder of Parquet files, here or behind a URL; only what is asked for is read.

dataset = open_dataset("data/mine")
bars = dataset.bars("ETHUSDT-SPOT", start=pd.Timestamp("2024-01-01", tz="UTC"), columns=["close"])
for piece in dataset.iterate_bars("ETHUSDT-PERP"): print(len(piece))
"""

import json
import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtest.data.parquet import REPLACED, column_names, read_groups, read_numbers, read_table, time_range, utc
from backtest.data.place import Folder
from backtest.data.replace import recover
from backtest.data.schema import FUNDING_COLUMNS, PRICES, REQUIRED, Tables, empty
from backtest.errors import DataError, did_you_mean
from backtest.instruments import Instrument, Kind, Settle

FORMAT = 2
MANIFEST = "dataset.json"
INSTRUMENTS = "instruments.parquet"


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
    folder: Folder = field(repr=False)

    def bars(
        self,
        instrument: str,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Bars with start < ts <= end: float64 columns on a UTC index `ts` (ns); no rows if the instrument has none.

        `columns`: those to read beside open, high, low and close; all by default. One that the instrument lacks is left out.
        """
        return self._bars(instrument, REQUIRED["bars"], start, end, columns)

    def column(self, instrument: str, name: str, start: pd.Timestamp | None = None, end: pd.Timestamp | None = None) -> pd.Series:
        """One column of the bars with start < ts <= end, NaN where it is not known; nothing else is read."""
        return self._bars(instrument, ("ts",), start, end, [name]).get(name, pd.Series(dtype="float64"))

    def columns(self, instrument: str) -> list[str]:
        """The names of the columns that an instrument's bars have beside `ts`, in order of appearance; reads no rows."""
        names = dict.fromkeys(name for part in self._parts(instrument, None, None) for name in column_names(self.folder, part))
        return [name for name in names if name != "ts"]

    def iterate_bars(
        self,
        instrument: str,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pd.DataFrame]:
        """The bars of `bars` in pieces of at most some hundred thousand rows, for datasets larger than the memory."""
        for name in self._parts(instrument, start, end):
            for piece in read_groups(self.folder, name, REQUIRED["bars"], columns, (start, end)):
                if len(inside := _within(_indexed(piece), start, end)):
                    yield inside

    def span(self, instrument: str) -> tuple[pd.Timestamp, pd.Timestamp] | None:
        """First and last stamp of an instrument's bars, None if it has none; reads no rows."""
        ranges = [time_range(self.folder, name) for name in self._parts(instrument, None, None)]
        return (min(first for first, _ in ranges), max(last for _, last in ranges)) if ranges else None

    def funding(self, instrument: str) -> pd.DataFrame:
        """Funding events on a UTC index `ts`: rate (fraction per interval), interval_hours, mark_price (NaN where unknown)."""
        frame = self._read(self._listed(self._place("funding", instrument)), "funding")
        return _indexed(empty(("ts", *FUNDING_COLUMNS)) if frame.empty else frame)

    def settlements(self) -> pd.DataFrame:
        """Prices that dated contracts settled to: columns instrument, ts, price."""
        return self._table("settlements")

    def events(self) -> pd.DataFrame:
        """Dated events such as network upgrades: columns ts, name, kind, and if the data have it known_at, when they were announced."""
        return self._table("events")

    @property
    def series_names(self) -> list[str]:
        """Names of the series that `series` can give, in order."""
        return self._keys("series", "name")

    def series(self, name: str) -> pd.DataFrame:
        """One series: columns ts, known_at, value."""
        if name not in self.series_names:
            raise DataError(f'{self.path}: no series "{name}"; {did_you_mean(name, self.series_names)}')
        return self._read(self._listed(f"series/name={name}"), "series")

    def tables(self) -> Tables:
        """The whole content in memory."""
        return Tables(
            instruments=list(self.instruments.values()),
            bars={key: self.bars(key) for key in self._keys("bars", "instrument")},
            funding={key: self.funding(key) for key in self._keys("funding", "instrument")},
            settlements=self.settlements(),
            series={key: self.series(key) for key in self.series_names},
            events=self.events(),
        )

    def _place(self, room: str, instrument: str) -> str:
        if instrument not in self.instruments:
            raise DataError(f'{self.path}: unknown instrument "{instrument}"; {did_you_mean(instrument, list(self.instruments))}')
        return f"{room}/instrument={instrument}"

    def _keys(self, room: str, key: str) -> list[str]:
        there = {name.removeprefix(f"{key}=") for name in self.folder.folders(room) if name.startswith(f"{key}=")}
        return sorted(there | {block.split("/")[1] for block in self.info["blocks"] if block.startswith(f"{room}/")})

    def _listed(self, place: str) -> list[str]:
        """The files below a folder; raises `DataError` where some are gone that were there when the dataset was opened."""
        names = self.folder.files(place)
        known = {folder for block in self.info["blocks"] if (folder := folder_of(block)) == place or folder.startswith(f"{place}/")}
        if known <= {name.rpartition("/")[0] for name in names}:
            return names
        if not self.folder.remote:
            recover(Path(self.path))  # waits for a writer who is just putting the new version in place
            names = self.folder.files(place)
        gone = sorted(known - {name.rpartition("/")[0] for name in names})
        if gone:
            raise DataError(f"{self.path}/{gone[0]}: is not there any more; {REPLACED}")
        return names

    def _parts(self, instrument: str, start: pd.Timestamp | None, end: pd.Timestamp | None) -> list[str]:
        """An instrument's files of bars in order of time, without those of years outside start..end."""
        return in_order(self.folder, _of_years(self._listed(self._place("bars", instrument)), start, end))

    def _bars(
        self,
        instrument: str,
        required: Sequence[str],
        start: pd.Timestamp | None,
        end: pd.Timestamp | None,
        columns: Sequence[str] | None,
    ) -> pd.DataFrame:
        read = read_numbers(self.folder, self._parts(instrument, start, end), required, columns, (start, end))
        if not read:
            return _indexed(empty(("ts", *PRICES)))
        index = pd.DatetimeIndex(read.pop("ts").view("datetime64[ns]"), name="ts", copy=False).tz_localize("UTC")
        return _within(pd.DataFrame(read, index=index, copy=False), start, end)

    def _table(self, room: str) -> pd.DataFrame:
        frame = self._read(self._listed(room), room)
        return empty(REQUIRED[room]) if frame.empty else frame

    def _read(self, names: Sequence[str], room: str) -> pd.DataFrame:
        """All rows of some files; other columns than the required ones are kept."""
        frames = [frame for name in names if len(frame := read_table(self.folder, name, REQUIRED[room]))]
        if not frames:
            return pd.DataFrame()
        return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def open_dataset(path: str | Path) -> Dataset:
    """Open the dataset in a folder or at a URL; raises `DataError` where there is none or its manifest or instruments can't be read."""
    folder = Folder(path)
    if not folder.remote:
        recover(Path(folder.path))
        if not Path(folder.path).is_dir():
            remedy = "import one (carry data import) or build the sample (carry data sample)"
            raise DataError(f"{folder.path}: there is no dataset here; {remedy}")
    try:
        info = json.loads(folder.read_text(MANIFEST))
        name, digest, simulated = str(info["name"]), str(info["hash"]), bool(info["simulated"])
        if info.get("format") == FORMAT:
            info["source"], info["blocks"].items()
    except FileNotFoundError:
        raise DataError(f"{folder.path}: {MANIFEST} is missing, so this is not a dataset; name the folder that holds it") from None
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder.path}/{MANIFEST}: can't be read ({error!r}); restore it or import the data again") from error
    if info.get("format") != FORMAT:
        remedy = "import the data again, or make the sample again (carry data sample)"
        raise DataError(f"{folder.path}: is in format {info.get('format')} and this version reads format {FORMAT}; {remedy}")
    instruments = {one.id: one for one in _read_instruments(folder)}
    return Dataset(path=folder.path, name=name, hash=digest, simulated=simulated, info=info, instruments=instruments, folder=folder)


def folder_of(block: str) -> str:
    """A block's folder: bars/ETHUSDT-SPOT/2024 lies in bars/instrument=ETHUSDT-SPOT/year=2024."""
    room, _, rest = block.partition("/")
    if room == "bars":
        key, _, year = rest.rpartition("/")
        return f"bars/instrument={key}/year={year}"
    return f"{room}/{'name' if room == 'series' else 'instrument'}={rest}" if rest else room


def in_order(folder: Folder, names: Sequence[str]) -> list[str]:
    """Files of one instrument in order of their first rows."""
    return list(names) if len(names) < 2 else sorted(names, key=lambda name: time_range(folder, name)[0])


def _of_years(names: Sequence[str], start: pd.Timestamp | None, end: pd.Timestamp | None) -> list[str]:
    first = utc(start).year if start is not None else -1
    last = utc(end).year if end is not None else 1 << 30
    found = []
    for name in names:
        year = re.search(r"/year=(\d+)/[^/]*$", name)
        if year is None or first <= int(year[1]) <= last:
            found.append(name)
    return found


def _within(frame: pd.DataFrame, start: pd.Timestamp | None, end: pd.Timestamp | None) -> pd.DataFrame:
    """The rows with start < ts <= end."""
    keep = np.ones(len(frame), dtype=bool)
    if start is not None:
        keep &= np.asarray(frame.index > utc(start))
    if end is not None:
        keep &= np.asarray(frame.index <= utc(end))
    return frame if keep.all() else frame[keep]


def _indexed(frame: pd.DataFrame) -> pd.DataFrame:
    index = pd.DatetimeIndex(frame["ts"], dtype="datetime64[ns, UTC]", name="ts")
    return frame.drop(columns="ts").astype("float64" if frame.empty else {}).set_axis(index)


def _read_instruments(folder: Folder) -> list[Instrument]:
    rows = read_table(folder, INSTRUMENTS, ("id", "venue", "kind", "base", "quote")).to_dict("records")
    try:
        return sorted((_instrument(row) for row in rows), key=lambda one: one.id)
    except (ValueError, TypeError) as error:
        remedy = "restore it or import the data again"
        raise DataError(f"{folder.path}/{INSTRUMENTS}: can't be read as instruments ({error}); {remedy}") from error


def _instrument(row: dict[Hashable, Any]) -> Instrument:
    known = {field.name: row[field.name] for field in fields(Instrument) if not pd.isna(row.get(field.name))}
    return Instrument(**known | {"kind": Kind(row["kind"]), "settle": Settle(known.get("settle", Settle.LINEAR))})
