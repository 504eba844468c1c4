"""Carrying out a sweep: its combinations in chunks of about a second, on threads, on an executor or on a cluster, and kept on disk if a store is named.

What would not fit is refused before it starts: memory is known from the count, time from the first combinations, which run here in any case. What was stopped or
killed goes on from the last finished chunk when the same is asked for with the same store.

    scanned = carried_out(grid, combinations, store="sweeps", cluster="tcp://10.0.0.1:8786")
"""

import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.cluster import Crew, Pieces, Sent, Window, on_cluster, on_executor
from backtest.errors import DataError, ParameterError, StorageError
from backtest.market import Market
from backtest.rule import Duration, counting, duration, shown
from backtest.scan import STATISTICS, Grid, Scanned
from backtest.shelf import Kept, Rows, Shelf, Writer, fingerprint

Floats = npt.NDArray[np.float64]
Places = Sequence[int] | npt.NDArray[np.int64]
SECONDS = 1.0  # that a chunk shall take
MANY = 20  # workers that one client serves with chunks of that length; with more of them the chunks grow
PATIENCE = 1.0  # seconds before progress is shown
ENOUGH = 0.1  # seconds that the first combinations must have taken to say how long all take,
SURE = 1.0  # and before that is refused
COPIES = 2  # of the daily equity: the table of the sweep, and what statistics make of it
COLUMNS = len(STATISTICS)


def carried_out(
    grid: Grid,
    chosen: Sequence[Mapping[str, Any]],
    *,
    window: Window = None,
    threads: int | None = None,
    executor: Executor | None = None,
    cluster: str | None = None,
    store: str | Path | None = None,
    longest: Duration | None = "1D",
    progress: bool = True,
) -> Scanned:
    """Run combinations of a grid, each once, and give them in their order.

    On threads of this machine (all that it may use), on any executor of `concurrent.futures`, or on the Dask cluster whose scheduler has an address. store: a
    folder or URL in which finished combinations are kept and found again. longest: how long all may take. Raises ParameterError for settings and for what
    doesn't fit into memory or time, StorageError for stores, executors and clusters that fail, DataError for workers with other data or another package.
    """
    hands = checked_hands(threads, executor, cluster)
    most = duration("longest", longest)
    if not len(chosen):
        raise ParameterError("a sweep needs combinations: there are none; give values of a parameter, as enter=[0.05, 0.1]")
    days = days_of(grid.market, window)
    check_memory(len(chosen), len(days))
    gathered = Gathered(len(chosen), days)
    stored = Stored(grid, window, chosen, store)
    done = stored.found(gathered)
    rest = Pieces([place for place in range(len(chosen)) if not done[place]], SECONDS)
    if not len(rest):
        return gathered.whole()
    job = Job(grid, chosen, window, gathered, stored, rest)
    with shown_progress(len(chosen), int(done.sum()), progress) as job.bar, told_when_stopped(job):
        if executor is None and cluster is None:
            job.probe(hands, 1, most)
            job.here(hands)
        else:
            place = on_cluster(str(cluster), grid, window) if executor is None else on_executor(executor, grid, window)
            with place as crew:
                job.probe(1, crew.count(), most)
                job.elsewhere(crew)
    return gathered.whole()


def checked_hands(threads: int | None, executor: Executor | None, cluster: str | None) -> int:
    """How many threads to use here. ParameterError where it is said twice where combinations run, or what runs them is no executor."""
    given = {name: value for name, value in (("threads", threads), ("executor", executor), ("cluster", cluster)) if value is not None}
    if len(given) > 1:
        raise ParameterError(f"{' and '.join(given)} both say where combinations run: give one of them")
    if executor is not None and not isinstance(executor, Executor):
        raise ParameterError(f"executor must be one of concurrent.futures: executor={shown(executor)}; give ThreadPoolExecutor(2)")
    if threads is not None:
        counting("threads", threads)
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def days_of(market: Market, window: Window = None) -> pd.DatetimeIndex:
    """The instants of daily equity: when the first bar opens, then each midnight UTC up to the last bar's end."""
    first, final = window or (0, len(market))
    start = pd.Timestamp(int(market.opens[first]), tz="UTC")
    midnights = pd.date_range(start.floor("D") + pd.Timedelta(days=1), market.clock[final - 1], freq="D")
    return pd.DatetimeIndex([start, *midnights]).as_unit("ns")


# ---------------------------------------------------------------- what fits


def check_memory(count: int, days: int) -> None:
    """ParameterError for combinations whose statistics and daily equity don't fit into the memory that is free."""
    each = 8 * (COPIES * days + COLUMNS)
    free = available_memory()
    if count * each > free:
        raise ParameterError(
            f"{count:,} combinations of {days:,} days need {size_text(count * each)} of memory and {size_text(free)} are free: "
            f"at most {max(int(free // each), 0):,} fit; give fewer values or a sample=…, a shorter period, or sweep in parts"
        )


def available_memory() -> float:
    """Bytes that this process may still take: what the machine has free, or what its control group leaves."""
    found = [math.inf]
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(1024.0 * float(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]))
    for limit, used in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        with suppress(OSError, ValueError):
            whole, taken = (Path("/sys/fs/cgroup", name).read_text(encoding="ascii").strip() for name in (limit, used))
            found.append(float(whole) - float(taken) if whole != "max" else math.inf)
    return max(min(found), 0.0)


def size_text(size: float) -> str:
    """Bytes for a reader: 1.4 GiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024.0:
            return f"{size:.3g} {unit}"
        size /= 1024.0
    return f"{size:,.3g} TiB"


def time_text(seconds: float) -> str:
    """A duration for a reader: 3.2 days."""
    for unit, length in (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2.0 * length:
            return f"{seconds / length:,.3g} {unit}"
    return f"{seconds:.3g} seconds"


def check_time(count: int, seconds: float, hands: int, longest: float) -> None:
    """ParameterError where what is left takes longer than it may. seconds: of one after the other; hands: how many run at once."""
    if seconds / hands > longest:
        raise ParameterError(
            f"{count:,} more combinations take about {time_text(seconds / hands)} ({time_text(seconds / count)} each, {hands:,} at once) and "
            f"longest={time_text(longest)} allows {int(longest * hands / seconds * count):,}: give fewer values or a sample=…, longer bars (freq=…), more threads "
            f'or a cluster, or longest="{math.ceil(seconds / hands / 86_400)}D"'
        )


# ---------------------------------------------------------------- what is there


class Gathered:
    """What came out so far, a row a combination; memory is taken once."""

    def __init__(self, count: int, days: pd.DatetimeIndex) -> None:
        self.days, self.quote = days, ""
        self.refused: list[str | None] = [None] * count
        self._daily: Floats = np.full((count, len(days)), np.nan)
        self._columns: dict[str, Floats] = {}

    def take(self, places: Places, rows: Rows) -> None:
        """Put some combinations in their places."""
        where = np.asarray(places, dtype=np.int64)
        if not self._columns:
            self._columns = {str(name): np.full(len(self.refused), np.nan) for name in rows.table}
        for name, column in self._columns.items():
            column[where] = rows.table[name].to_numpy()
        self._daily[where] = rows.daily
        for place, told in zip(where.tolist(), rows.refused, strict=True):
            self.refused[place] = told
        self.quote = self.quote or rows.quote

    def whole(self) -> Scanned:
        """All of it."""
        return Scanned(pd.DataFrame(self._columns, copy=False), self._daily, self.days, self.refused, self.quote)


class Stored:
    """What a store has of a sweep, and what is added to it; nothing without a store."""

    def __init__(self, grid: Grid, window: Window, chosen: Sequence[Mapping[str, Any]], store: str | Path | None) -> None:
        if store is not None and not str(store).strip():
            raise ParameterError(f"store must be a folder or a URL: store={shown(repr(store))}; name one, or leave it out")
        self.place = None if store is None else str(store)
        self._kept: Kept | None = None
        self._keys: list[str] = []
        self._data = (grid.market.info.path, str(getattr(grid.market._dataset, "path", grid.market.info.path)))
        if store is not None:
            writer, shelf = Writer(), Shelf(store)
            self._kept = shelf.open(fingerprint(grid, window, writer))
            self._keys = [writer.combination({**grid.fixed, **one}) for one in chosen]

    def found(self, gathered: Gathered) -> npt.NDArray[np.bool_]:
        """Take what is finished from the store. [combination]"""
        done = np.zeros(len(gathered.refused), dtype=bool)
        for places, rows in self._kept.take(self._keys) if self._kept is not None else ():
            if np.array_equal(rows.days.asi8, gathered.days.asi8):
                gathered.take(places, rows)
                done[places] = True
        return done

    def put(self, places: Sequence[int], scanned: Scanned) -> None:
        """Keep what is finished, but for what a failing disk or connection refused: it may be read tomorrow."""
        if self._kept is None:
            return
        rows = [row for row, told in enumerate(scanned.refused) if told is None or not any(path and path in told for path in self._data)]
        if len(rows) < len(places):
            told = [scanned.refused[row] for row in rows]
            scanned = Scanned(scanned.table.iloc[rows], scanned.daily[rows], scanned.days, told, scanned.quote)
        self._kept.put([self._keys[places[row]] for row in rows], scanned)


# ---------------------------------------------------------------- running


class Job:
    """The combinations that are left, and where their results go."""

    def __init__(
        self, grid: Grid, chosen: Sequence[Mapping[str, Any]], window: Window, gathered: Gathered, stored: Stored, rest: Pieces
    ) -> None:
        self.grid, self.chosen, self.window, self.rest = grid, chosen, window, rest
        self.finished = len(chosen) - len(rest)
        self.bar: Any = None
        self._gathered, self._stored = gathered, stored

    @property
    def store(self) -> str | None:
        """Where results are kept."""
        return self._stored.place

    def probe(self, hands: int, others: int, most: int | None) -> None:
        """Run the first combinations here until they say how long all take; ParameterError where that is too long.

        hands: threads here; others: how many will do at once what is done here. The very first combination says nothing of the others: signals are computed
        and code is loaded with it; and a few say too much, as what is laid out for a chunk serves all of it.
        """
        self._one_here(hands)
        self.rest.size = hands
        sure, limit = (SURE, math.inf) if most is None else (min(SURE, most / 1e9 / 10.0), most / 1e9)
        while len(self.rest):
            count, seconds = self._one_here(hands)
            self.rest.took(count, seconds)
            if seconds >= ENOUGH and (seconds >= sure or self.rest.needed(max(others, 1)) <= limit):
                break
        if len(self.rest):
            check_time(len(self.rest), self.rest.needed(1), max(others, 1), limit)

    def here(self, hands: int) -> None:
        """Run the rest on threads of this machine."""
        while len(self.rest):
            count, seconds = self._one_here(hands)
            self.rest.took(count, seconds)

    def elsewhere(self, crew: Crew) -> None:
        """Run the rest on an executor or a cluster."""
        hands = max(crew.count(), 1)
        self.rest.seconds = SECONDS * max(1.0, hands / MANY)
        for piece, scanned in crew.work(self.rest, lambda piece: Sent([self.chosen[place] for place in piece])):
            self._take(piece, scanned)

    def _one_here(self, hands: int) -> tuple[int, float]:
        piece = self.rest.cut()
        began = time.perf_counter()
        scanned = self.grid.run([self.chosen[place] for place in piece], window=self.window, threads=hands)
        seconds = time.perf_counter() - began
        self._take(piece, scanned)
        return len(piece), seconds

    def _take(self, piece: list[int], scanned: Scanned) -> None:
        self._gathered.take(piece, scanned)
        self._stored.put(piece, scanned)
        self.finished += len(piece)
        self.bar.update(len(piece))


@contextmanager
def shown_progress(count: int, done: int, wanted: bool) -> Iterator[Any]:
    """A bar with the remaining time, on a terminal and where it takes more than a second."""
    from tqdm import tqdm

    hidden = not wanted or not sys.stderr.isatty()
    with tqdm(total=count, initial=done, unit="run", delay=PATIENCE, leave=False, disable=hidden, smoothing=0.1) as bar:
        yield bar


@contextmanager
def told_when_stopped(job: Job) -> Iterator[None]:
    """Say how far it came where a user or an error stops it, and what becomes of that."""
    count = len(job.chosen)

    def kept() -> str:
        if job.store is None:
            return f"{job.finished:,} of {count:,} combinations were finished and are lost; name a store to keep them"
        return f"{job.finished:,} of {count:,} combinations are finished and kept in {job.store}, and the same call goes on from there"

    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {kept()}") from None
    except (StorageError, DataError) as error:
        raise (type(error)(f"{error}; {kept()}") if job.finished else error) from error
