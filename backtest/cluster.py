"""Where chunks of combinations run beside this process: any executor of `concurrent.futures`, or a Dask cluster by its address.

The grid with its market is sent once a worker. A chunk that was lost with its worker is given to another one, and what can't be mended is said in a sentence.

    with on_cluster("tcp://10.0.0.1:8786", grid, None) as crew:
        for places, scanned in crew.work(pieces, task): ...
"""

import copyreg
import math
import os
import pickle
import platform
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import MISSING, dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any
from weakref import WeakSet

from backtest.data.dataset import Dataset, open_dataset
from backtest.errors import CarryError, DataError, ParameterError, StorageError
from backtest.fingerprint import Writer, digest, engine, fingerprint
from backtest.rule import shown
from backtest.scan import Grid, Scanned

TRIES = 4  # times that a chunk is given to a worker before it is given up
ANSWER = 5  # seconds that a scheduler has to answer
WORTH = 5.0  # a piece's combinations take so many times as long as what is laid out for them
PAUSE = 30  # seconds without a result after which it is asked whether any worker is left
THREADS_APART = 'define the strategy in a module of its own, install cloudpickle (pip install "carry-backtest[dask]"), or run on threads'

# A class of a script is sent with its fields, and what marks one without a default must be the same mark when it arrives.
copyreg.pickle(type(MISSING), lambda _: "MISSING")

Window = tuple[int, int] | None
Combinations = Sequence[Mapping[str, Any]]


def dumps(value: Any) -> bytes:
    """A value as bytes, also of classes of a script or a notebook where cloudpickle is installed. Raises ParameterError where it can't be sent."""
    try:
        try:
            import cloudpickle

            return bytes(cloudpickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))
        except ImportError:
            return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise ParameterError(f"the strategy or one of its values can't be sent to other processes ({error}); {THREADS_APART}") from error


def loads(data: bytes) -> Any:
    """What `dumps` wrote. Raises ParameterError where this process knows its classes not."""
    try:
        return pickle.loads(data)
    except (AttributeError, ImportError, pickle.UnpicklingError) as error:
        raise ParameterError(f"the strategy can't be read by the worker that got it ({error}); {THREADS_APART}") from error


@dataclass(frozen=True, eq=False)
class Sent:
    """Some combinations on their way: the objects themselves within a process, bytes between two."""

    value: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return _Arrived, (dumps(self.value),)


@dataclass(frozen=True, eq=False)
class _Arrived:
    data: bytes

    @property
    def value(self) -> Any:
        return loads(self.data)


@dataclass(frozen=True, eq=False)
class Parcel:
    """A grid on its way: itself within a process; between two a file that each worker reads once."""

    grid: Grid

    def __reduce__(self) -> tuple[Any, ...]:
        return _Opened, self._put

    @cached_property
    def _put(self) -> tuple[str, str]:
        """The file, and what tells this grid from others: the same one in the next sweep isn't read again."""
        token = digest(fingerprint(self.grid), Writer().lenient(self.grid.fixed))
        data = dumps(self.grid)
        place = Path(tempfile.mkdtemp(prefix="carry-grid-"), "grid")
        place.write_bytes(data)
        return str(place), token

    def clear(self) -> None:
        """Remove the file."""
        if "_put" in vars(self):
            shutil.rmtree(Path(self._put[0]).parent, ignore_errors=True)


@dataclass(frozen=True, eq=False)
class _Opened:
    path: str
    token: str

    @property
    def grid(self) -> Grid:
        if self.token not in _HERE:
            try:
                data = Path(self.path).read_bytes()
            except OSError as error:
                raise StorageError(
                    f"{self.path}: a worker can't read the grid that was put there for it ({error.strerror}); set TMPDIR to a folder that all workers see"
                ) from error
            _HERE.clear()  # one market a process
            _HERE[self.token] = loads(data)
        return _HERE[self.token]


_HERE: dict[str, Grid] = {}
_WARM: WeakSet[Grid] = WeakSet()  # grids that this process has run
_TRUSTED: set[tuple[str, str]] = set()  # datasets that this process has seen to be the client's: path and hash


def worked(grid: Grid | Parcel | _Opened, chunk: Sent | _Arrived, window: Window, expected: str) -> tuple[Scanned, float]:
    """Run a chunk where this is called: what came out and the seconds it took, NaN for the first, which computes signals. Raises DataError where package or dataset are not those of the client."""
    if engine() != expected:
        raise DataError(
            f"worker {platform.node()} has another version of the package or of its libraries than this process; install the same ones everywhere"
        )
    if not isinstance(grid, Parcel):
        grid = grid.grid if isinstance(grid, _Opened) else grid
        check_dataset(grid)
    else:
        grid = grid.grid  # this process loaded it
    chosen: Combinations = chunk.value
    first = grid not in _WARM
    _WARM.add(grid)
    began = perf_counter()
    scanned = grid.run(chosen, window=window, threads=1)
    return scanned, math.nan if first else perf_counter() - began


def check_dataset(grid: Grid) -> None:
    """DataError where a worker can't read the dataset, of which funding and series come: it would refuse every combination otherwise."""
    dataset = grid.market._dataset
    if not isinstance(dataset, Dataset) or (dataset.path, dataset.hash) in _TRUSTED:
        return
    try:
        found = open_dataset(dataset.path).hash
    except CarryError as error:
        raise DataError(
            f"a worker can't read the dataset: {error}; put it where all workers see it by the same path, or behind a URL"
        ) from error
    if found != dataset.hash:
        raise DataError(
            f"{dataset.path}: a worker finds another dataset there, {found[:12]} instead of {dataset.hash[:12]}; put the same one there, or load the market again"
        )
    _TRUSTED.add((dataset.path, dataset.hash))


class Pieces:
    """Places of combinations, cut into pieces that take about as long as wished, as those before them tell.

    A piece takes a time of its own, in which is laid out what all its combinations read, and a time a combination; both are learned from the smallest piece
    and the last one. Pieces are long enough that the first is a small part of the second.
    """

    def __init__(self, places: Sequence[int], seconds: float) -> None:
        self.seconds, self.size = seconds, 1
        self.each = self.own = math.nan  # seconds of a combination, and of a piece without any
        self._smallest: tuple[int, float] | None = None
        self._apart = False  # whether pieces of two sizes are known
        self._places, self._next = list(places), 0
        self._again: list[list[int]] = []

    def __len__(self) -> int:
        return len(self._places) - self._next + sum(map(len, self._again))

    def cut(self, hands: int = 1) -> list[int]:
        """The next piece; near the end small enough that all hands have something to do, if it is worth its own time."""
        if self._again:
            return self._again.pop()
        size, rest = self.size, len(self._places) - self._next
        if hands > 1:
            worth = self.own / self.each if self.own > 0.0 else 1.0
            size = min(size, max(rest // (2 * hands), math.ceil(worth), 1))
        piece = self._places[self._next : self._next + size]
        self._next += len(piece)
        return piece

    def put_back(self, piece: list[int]) -> None:
        """A piece that was lost."""
        self._again.append(piece)

    def took(self, count: int, seconds: float) -> None:
        """How long a piece took; NaN if that says nothing. The next is at most four times as large: what is refused at once says nothing of the others."""
        if math.isnan(seconds):
            return
        if self._smallest is None or count <= self._smallest[0]:
            self._smallest = count, seconds
            if not self._apart:
                self.own, self.each = 0.0, seconds / count
                self.size = max(self.size, (4 if seconds < self.seconds else 2) * count)  # a larger one must tell the two times apart
            return
        self._apart = True
        fewer, before = self._smallest
        self.each = max((seconds - before) / (count - fewer), 0.05 * seconds / count, 1e-9)
        self.own = max(before - self.each * fewer, 0.0)
        wished = int(max(self.seconds, WORTH * self.own) / self.each)
        self.size = max(1, min(wished, max(4 * count, self.size)))

    def needed(self, hands: int) -> float:
        """Seconds that the rest takes."""
        length = max(self.seconds, WORTH * self.own, self.each)
        return len(self) * self.each * (1.0 + self.own / length) / hands


@dataclass(eq=False)
class Crew:
    """Those who run chunks: how to give them one, how many they are, and what an error of theirs means to the user."""

    submit: Callable[[Sent], "Future[tuple[Scanned, float]]"]
    count: Callable[[], int]
    told: Callable[[BaseException], CarryError | None]
    lost: Callable[[], None] = lambda: None  # makes good what was lost with a worker

    def work(self, pieces: Pieces, task: Callable[[list[int]], Sent]) -> Iterator[tuple[list[int], Scanned]]:
        """Give out pieces, two a worker, and hand on what comes back, as it comes. A piece that was lost is given out again; any other error ends the work."""
        out: dict[Future[tuple[Scanned, float]], list[int]] = {}
        tries: Counter[int] = Counter()
        try:
            while out or len(pieces):
                hands = max(self.count(), 1)
                while len(pieces) and len(out) < 2 * hands:
                    piece = pieces.cut(hands)
                    out[self.submit(task(piece))] = piece
                for done in self._some(out):
                    piece = out.pop(done)
                    try:
                        scanned, seconds = done.result()
                    except CancelledError:
                        tries[piece[0]] += 1
                        if tries[piece[0]] >= TRIES:
                            raise
                        self.lost()
                        pieces.put_back(piece)
                    else:
                        pieces.took(len(piece), seconds)
                        yield piece, scanned
        except Exception as error:
            meant = None if isinstance(error, CarryError) else self.told(error)
            if meant is None:
                raise
            raise meant from error
        finally:
            for future in out:
                future.cancel()

    def _some(self, out: Iterable["Future[tuple[Scanned, float]]"]) -> list["Future[tuple[Scanned, float]]"]:
        """Those that are done, first those with a result; StorageError where nobody has been there to do any for a minute."""
        deserted = 0
        while not (done := wait(out, timeout=PAUSE, return_when=FIRST_COMPLETED).done):
            deserted = 0 if self.count() else deserted + 1
            if deserted > 1:
                raise StorageError("the cluster has had no worker for a minute; start some, and the scheduler if it is gone")
        return sorted(done, key=lambda one: one.cancelled() or one.exception() is not None)


# ---------------------------------------------------------------- an executor


@contextmanager
def on_executor(executor: Executor, grid: Grid, window: Window) -> Iterator[Crew]:
    """A crew of an executor's threads or processes."""
    parcel = Parcel(grid)
    expected = engine()

    def told(error: BaseException) -> CarryError | None:
        if isinstance(error, BrokenExecutor):
            return StorageError("a process of the executor died; call again with a new executor, or with fewer workers if memory ran out")
        if isinstance(error, RuntimeError) and "shutdown" in str(error):
            return ParameterError(f"executor takes no work any more: {error}; give one that is open")
        return None

    count = int(getattr(executor, "_max_workers", 0) or os.cpu_count() or 1)
    try:
        yield Crew(lambda chunk: executor.submit(worked, parcel, chunk, window, expected), lambda: count, told)
    finally:
        parcel.clear()


# ---------------------------------------------------------------- a Dask cluster


@contextmanager
def on_cluster(address: str, grid: Grid, window: Window) -> Iterator[Crew]:
    """A crew of a Dask cluster's workers. Raises ParameterError without dask, StorageError where nobody answers at the address or has workers."""
    if not isinstance(address, str) or not address.strip():
        raise ParameterError(f'cluster must be the address of a Dask scheduler, as "tcp://10.0.0.1:8786": cluster={shown(repr(address))}')
    try:
        import distributed
    except ImportError:
        raise ParameterError(f'cluster={address} needs dask; install it with pip install "carry-backtest[dask]"') from None

    class Quiet(distributed.Client):
        """A client that was never connected says at its end what this function has said already."""

        def __del__(self) -> None:
            with suppress(Exception):
                super().__del__()  # type: ignore[no-untyped-call]

    try:
        client: Any = Quiet(address, timeout=ANSWER, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError, ImportError) as error:
        first = str(error).splitlines()[0].rstrip(".:") if str(error) else type(error).__name__
        raise StorageError(
            f"{address}: no Dask scheduler answers there ({first}); start one with `dask scheduler`, and `dask worker {address}` on each machine"
        ) from error
    try:
        yield _dask_crew(client, address, grid, window)
    finally:
        with suppress(Exception):  # the work is done or lost already
            client.close(timeout=ANSWER)


def _dask_crew(client: Any, address: str, grid: Grid, window: Window) -> Crew:
    expected = engine()
    market: list[Any] = []  # the scattered grid

    def count() -> int:
        try:
            return sum(client.nthreads().values())
        except Exception:  # whatever a client says whose scheduler is gone
            return 0

    def scatter() -> None:
        # A task finds a worker that lives, whereas data wait long for one that has just died. The others fetch the market from it and from each other.
        try:
            living = client.submit(platform.node, pure=False)
            living.result(timeout=2 * PAUSE if market or count() else ANSWER)
        except TimeoutError:
            remedy = f"start some with `dask worker {address}`, on each machine one"
            raise StorageError(f"{address}: the scheduler has no workers; {remedy}") from None
        market[:] = [client.scatter(grid, workers=list(client.who_has([living])[living.key]), hash=False)]

    def lost() -> None:
        if market[0].status != "finished":  # it died with the last worker that had it
            scatter()

    def told(error: BaseException) -> CarryError | None:
        if client.status != "running":
            return StorageError(f"{address}: the scheduler has gone; start it again, with its workers")
        if type(error).__name__ == "KilledWorker" or isinstance(error, CancelledError):
            return StorageError(
                f"{address}: a chunk of combinations was lost with its worker {TRIES} times; give the workers more memory (--memory-limit), fewer threads, "
                "or look into their logs"
            )
        if isinstance(error, ModuleNotFoundError):
            return ParameterError(f"{address}: a worker lacks what the strategy needs ({error}); install the same packages everywhere")
        return None

    def submit(chunk: Sent) -> "Future[tuple[Scanned, float]]":
        """As an executor would; Dask's own leaves a future waiting for ever whose task was lost with the market."""
        given: Future[tuple[Scanned, float]] = Future()
        given.set_running_or_notify_cancel()

        def done(task: Any) -> None:
            try:
                given.set_result(task.result(timeout=2 * PAUSE + ANSWER))
            except TimeoutError:  # done, and nobody has it: it went with its worker
                given.set_exception(CancelledError())
            except BaseException as error:
                given.set_exception(error)

        task = client.submit(worked, market[0], chunk, window, expected, pure=False)
        task.add_done_callback(done)
        vars(given)["task"] = task  # it is released with the last who knows it
        return given

    scatter()
    return Crew(submit, count, told, lost)
