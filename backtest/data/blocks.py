"""New rows on their way into a dataset: bounded memory while they come in, and no file that is there is written again.

A block is an instrument's bars of one year, or any other table as a whole. The rows that come in for it gather in *runs*, rows in order of time that
spill to a file as they grow. In the end a block whose runs don't touch its files keeps these (linked, not copied) and gets the runs
beside them; a block where they interleave is merged in memory: equal rows stay, rows that contradict are refused.
"""

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtest.data.dataset import folder_of, in_order
from backtest.data.digest import BlockDigest
from backtest.data.merge import merge_frames
from backtest.data.parquet import TableWriter, column_names, read_groups, time_range, write_table
from backtest.data.place import Folder
from backtest.data.replace import link
from backtest.data.schema import PRICES, REQUIRED
from backtest.data.validate import (
    Where,
    bar_errors,
    delivery_errors,
    event_errors,
    funding_errors,
    in_dataset,
    refuse,
    series_errors,
    settlement_errors,
    show_time,
)
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind

RUNS = ".runs"
SPILL = 1 << 18  # rows in memory before they go to files
MOST_PARTS = 12  # files of one block, before they are written as one
MOST_OPEN = 64  # files that stay open for more rows: some systems allow 256 in all
_KEYS = {"settlements": ["instrument", "ts"], "events": ["ts", "name"]}
_WHAT = {"bars": "bar", "funding": "funding event", "settlements": "settlement", "events": "event"}


@dataclass(kw_only=True)
class _Run:
    """Rows in order of time: those in `frames` come after those in the file of `writer`."""

    first: pd.Timestamp
    last: pd.Timestamp
    columns: list[str]
    frames: list[pd.DataFrame] = field(default_factory=list)
    writer: TableWriter | None = None
    closed: bool = False
    digest: BlockDigest = field(default_factory=BlockDigest)

    def close(self) -> None:
        """Finish the file; later rows begin another run."""
        if self.writer is not None and not self.closed:
            self.writer.close()
            self.closed = True

    def takes(self, rows: pd.DataFrame) -> bool:
        """Whether rows can go on where this run ends: later ones, of the same sort, into a file that can still take their columns."""
        columns = set(rows.columns)
        fits = self.writer is None or (not self.closed and columns <= set(self.columns))
        return fits and rows["ts"].iloc[0] > self.last and _has_prices(columns) == _has_prices(self.columns)


class Blocks:
    """Gathers rows by block and writes the blocks of the new version into a folder."""

    def __init__(self, fresh: Path, old: Folder | None, known: Mapping[str, Any]) -> None:
        self._fresh, self._old, self._known = fresh, old, known
        self._runs: dict[str, list[_Run]] = {}
        self._held = 0
        self.strays: dict[str, int] = {}

    def add(self, room: str, key: str, frame: pd.DataFrame) -> None:
        """Take in rows of one table, in their canonical form."""
        for name, rows in block_frames(room, key, frame):
            self._extend(self._runs.setdefault(name, []), rows)
            self._held += len(rows)
        if self._held >= SPILL:
            self._spill()

    def finish(self) -> dict[str, dict[str, Any]]:
        """Write every block; returns block → its rows and digest."""
        blocks = {}
        for name in sorted({*self._known, *self._runs}):
            blocks[name] = self._finish_block(name) if name in self._runs else self._keep(name)
        shutil.rmtree(self._fresh / RUNS, ignore_errors=True)
        return blocks

    def _extend(self, runs: list[_Run], rows: pd.DataFrame) -> None:
        if not runs or not runs[-1].takes(rows):
            runs.append(_Run(first=rows["ts"].iloc[0], last=rows["ts"].iloc[-1], columns=[]))
        run = runs[-1]
        run.columns += [name for name in rows.columns if name not in run.columns]
        run.frames.append(rows)
        run.last = rows["ts"].iloc[-1]

    def _spill(self) -> None:
        for name, runs in self._runs.items():
            for number, run in enumerate(runs):
                self._write(run, self._fresh / RUNS / name / f"{number}.parquet")
                if len(self._runs) > MOST_OPEN:
                    run.close()
        self._held = 0

    def _write(self, run: _Run, file: Path) -> None:
        if run.frames and run.writer is None:
            run.writer = TableWriter(file, run.columns)
        for frame in run.frames:
            assert run.writer is not None
            run.writer.write(frame)
            run.digest.add(frame)
        run.frames = []

    # --- the end of a block ------------------------------------------------------------------------------

    def _finish_block(self, name: str) -> dict[str, Any]:
        for run in self._runs[name]:
            if run.writer is not None and not run.closed:
                self._write(run, run.writer.file)
            run.close()
        runs = sorted(self._runs[name], key=lambda run: run.first)
        parts = self._old_parts(name)
        self._refuse_changed(name, list(parts))
        apart = not (parts or len(runs) > 1)
        if name.startswith("bars/"):
            apart = all(_has_prices(run.columns) for run in runs)
        apart &= all(one.last < other.first for one, other in pairwise(runs))
        apart &= all(runs[-1].last < first or last < runs[0].first for first, last in parts.values())
        if not apart:
            return self._merge(name, runs, list(parts))
        if len(parts) >= MOST_PARTS:
            return self._write_block(name, self._in_time(runs, parts), self._columns(runs, parts))
        return self._add_part(name, runs, parts)

    def _refuse_changed(self, name: str, parts: Sequence[str]) -> None:
        """Raise `DataError` if the block's files are not those that the dataset knows: new rows would make the change look like data."""
        if name in self._known:
            found = block_digest(frame for part in parts for frame in self._frames_of(part))
            if _account(found) != self._known[name]:
                assert self._old is not None
                remedy = "restore it, or import everything into a new folder"
                raise DataError(
                    f"{self._old.path}/{folder_of(name)}: was changed or lost since it was written, so nothing is added to it; {remedy}"
                )

    def _old_parts(self, name: str) -> dict[str, tuple[pd.Timestamp, pd.Timestamp]]:
        """The block's files and their times, in order of time."""
        if self._old is None or name not in self._known:
            return {}
        files = self._old.files(folder_of(name))
        return {file: time_range(self._old, file) for file in (in_order(self._old, files) if name.startswith("bars/") else files)}

    def _keep(self, name: str) -> dict[str, Any]:
        """Link the block's files into the new version."""
        assert self._old is not None
        for file in self._old.files(folder_of(name)):
            (self._fresh / file).parent.mkdir(parents=True, exist_ok=True)
            link(Path(self._old.path, file), self._fresh / file)
        return dict(self._known[name])

    def _add_part(self, name: str, runs: Sequence[_Run], parts: Mapping[str, Any]) -> dict[str, Any]:
        """Put the runs beside the files that are there."""
        if parts:
            self._keep(name)
        target = self._fresh / folder_of(name)
        spilled = len(runs) == 1 and runs[0].writer is not None
        whole = runs[0].digest if spilled and not parts else block_digest(self._in_time(runs, parts))
        if spilled:
            target.mkdir(parents=True, exist_ok=True)
            runs[0].writer.file.rename(target / _next_part(parts))  # type: ignore[union-attr]  # a spilled run has one
        else:
            write_table(target / _next_part(parts), self._in_time(runs, {}), columns=self._columns(runs, {}))
        return _account(whole)

    def _merge(self, name: str, runs: Sequence[_Run], parts: Sequence[str]) -> dict[str, Any]:
        """Put the rows of files and runs together in memory, row by row; raises `DataError` where they contradict."""
        room, _, rest = name.partition("/")
        key = rest.partition("/")[0]
        place = f"{f'series {key}' if room == 'series' else key} {_WHAT.get(room, '')}".strip()
        index = _KEYS.get(room, ["ts"])
        merged: pd.DataFrame | None = None
        for frames in [*(self._frames_of(part) for part in parts), *(self._frames_in(run) for run in runs)]:
            held = pd.concat(list(frames), ignore_index=True)
            refuse(room_errors(room, held, in_dataset(place, pd.DatetimeIndex(held["ts"]))))
            rows = held.set_index(index)
            merged = rows if merged is None else merge_frames(merged, rows, place)
        assert merged is not None
        if room == "bars":
            merged = self._without_strays(key, merged)
        flat = merged.reset_index().sort_values("ts", kind="stable", ignore_index=True)
        refuse(room_errors(room, flat, in_dataset(place, pd.DatetimeIndex(flat["ts"]))))
        if _account(block_digest([flat])) == self._known.get(name):
            return self._keep(name)
        return self._write_block(name, iter([flat]), list(flat.columns))

    def _without_strays(self, key: str, bars: pd.DataFrame) -> pd.DataFrame:
        """The bars, without rows of other prices (mark, index) that stand beside none; their number is kept in `strays`."""
        stray = bars["close"].isna().to_numpy() if "close" in bars.columns else np.ones(len(bars), dtype=bool)
        if stray.all():
            remedy = "import its klines of the same length first, or together"
            raise DataError(f"{key}: {', '.join(bars.columns)} from {show_time(bars.index[0])} have no bars to stand beside; {remedy}")
        if stray.any():
            self.strays[key] = self.strays.get(key, 0) + int(stray.sum())
        return bars[~stray]

    def _write_block(self, name: str, frames: Iterator[pd.DataFrame], columns: Sequence[str]) -> dict[str, Any]:
        """Write the whole block as one file."""
        whole = BlockDigest()

        def seen() -> Iterator[pd.DataFrame]:
            for frame in frames:
                whole.add(frame)
                yield frame

        write_table(self._fresh / folder_of(name) / _next_part([]), seen(), columns=columns)
        return _account(whole)

    def _columns(self, runs: Sequence[_Run], parts: Iterable[str]) -> list[str]:
        """The columns of files and runs together."""
        of_parts = [] if self._old is None else [column_names(self._old, part) for part in parts]
        return list(dict.fromkeys(name for names in (*of_parts, *(run.columns for run in runs)) for name in names))

    def _in_time(self, runs: Sequence[_Run], parts: Mapping[str, tuple[pd.Timestamp, pd.Timestamp]]) -> Iterator[pd.DataFrame]:
        """The rows of files and runs that don't touch each other, in order of time."""
        for part, (_, last) in parts.items():
            if last < runs[0].first:
                yield from self._frames_of(part)
        for run in runs:
            yield from self._frames_in(run)
        for part, (first, _) in parts.items():
            if first > runs[-1].last:
                yield from self._frames_of(part)

    def _frames_of(self, part: str) -> Iterator[pd.DataFrame]:
        assert self._old is not None
        yield from read_groups(self._old, part, REQUIRED[part.partition("/")[0]])

    def _frames_in(self, run: _Run) -> Iterator[pd.DataFrame]:
        if run.writer is not None:
            yield from read_groups(Folder(run.writer.file.parent), run.writer.file.name, ("ts",))
        yield from run.frames

    def late_bars(self, blocks: Iterable[str], instruments: Mapping[str, Instrument]) -> Iterator[str]:
        """Bars after delivery, once the blocks are written: what a dataset's instruments say may have become known after its bars."""
        folder = Folder(self._fresh)
        for name in blocks:
            room, _, rest = name.partition("/")
            one = instruments.get(rest.partition("/")[0])
            if room == "bars" and one is not None and one.kind is Kind.FUTURE:
                for file in folder.files(folder_of(name)):
                    last = pd.DatetimeIndex([time_range(folder, file)[1]])
                    yield from delivery_errors(one, last, in_dataset(one.id, last))


def block_frames(room: str, key: str, frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The blocks that rows of one table belong to, with their rows."""
    if room != "bars":
        yield f"{room}/{key}" if key else room, frame
        return
    years = (frame["ts"] - pd.Timedelta(1, "ns")).dt.year.to_numpy()
    if years[0] == years[-1] and (years == years[0]).all():
        yield f"bars/{key}/{years[0]}", frame
        return
    for year in sorted(set(years)):
        yield f"bars/{key}/{year}", frame[years == year]


def block_digest(frames: Iterable[pd.DataFrame]) -> BlockDigest:
    """The digest of a block's rows."""
    whole = BlockDigest()
    for frame in frames:
        whole.add(frame)
    return whole


def room_errors(room: str, frame: pd.DataFrame, where: Where) -> Iterator[str]:
    """What can't be true in rows of one table, with `ts` as their index or as a column."""
    if room in ("bars", "funding"):
        indexed = frame.set_index("ts") if "ts" in frame.columns else frame
        if room == "bars" and not _has_prices(indexed.columns):
            indexed = indexed.assign(**dict.fromkeys(PRICES, 1.0))  # to check what there is
        yield from (bar_errors if room == "bars" else funding_errors)(indexed, where)
    else:
        yield from {"series": series_errors, "settlements": settlement_errors, "events": event_errors}[room](frame, where)


def _has_prices(columns: Iterable[str]) -> bool:
    """False for rows that only add columns (mark, index) to bars that come from elsewhere."""
    return bool(set(PRICES) & set(columns))


def _next_part(parts: Iterable[str]) -> str:
    taken = [int(number[1]) for part in parts if (number := re.fullmatch(r"part-(\d+)\.parquet", part.rpartition("/")[2]))]
    return f"part-{max(taken, default=-1) + 1}.parquet"


def _account(whole: BlockDigest) -> dict[str, Any]:
    return {"rows": whole.rows, "digest": whole.digest()}
