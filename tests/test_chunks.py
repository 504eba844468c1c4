"""Sweeps in chunks: killed, stopped, damaged or shared, they end with the same table and run nothing twice; what doesn't fit is refused with its number."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import ether, load, write

import backtest as bt
from backtest import chunks, cluster
from backtest.chunks import available_memory, carried_out, days_of, size_text, time_text
from backtest.cluster import Pieces, Sent
from backtest.errors import CarryError, DataError, ParameterError, StorageError, user_errors
from backtest.market import Market
from backtest.scan import Grid, Scanned
from backtest.shelf import Shelf, fingerprint

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Fade(bt.Strategy):
    """Sell the perpetual against spot when its premium is rich."""

    enter: float = bt.param(0.0005, "open at or above this premium")
    exit: float | None = bt.param(0.0, "close at or below it")

    def rule(self, market: Market) -> bt.Rule:
        return bt.Rule(
            long=market.spot, short=market.perpetual, signal=bt.premium(market, market.perpetual), enter=self.enter, exit=self.exit
        )


@dataclass(frozen=True, eq=False)
class Counted(Grid):
    """A grid that writes down what it runs and which process did, and takes its time."""

    log: str = ""
    pause: float = 0.0
    deadly: float | None = None  # a value of enter that kills the process

    def run(self, chosen: Sequence[Mapping[str, Any]], *, window: tuple[int, int] | None = None, threads: int = 1) -> Scanned:
        if self.log:
            with open(self.log, "a", encoding="utf-8") as file:
                file.write("".join(json.dumps([os.getpid(), *map(str, one.values())]) + "\n" for one in chosen))
        if any(one["enter"] == self.deadly for one in chosen):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.pause * len(chosen))
        return super().run(chosen, window=window, threads=threads)


def combinations(enters: int = 8, exits: int = 5) -> list[dict[str, Any]]:
    """Some of them are refused: exit must be below enter."""
    return [{"enter": enter / 10_000, "exit": leave / 10_000} for enter in range(2, 2 + enters) for leave in range(exits)]


def ran(log: Path) -> list[tuple[str, ...]]:
    """What was run, in order, as labels."""
    return [tuple(json.loads(line)[1:]) for line in log.read_text().splitlines() if line.endswith("]")] if log.exists() else []


def labels(chosen: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [tuple(map(str, one.values())) for one in chosen]


def same(found: Scanned, wanted: Scanned) -> None:
    pd.testing.assert_frame_equal(found.table, wanted.table)
    np.testing.assert_array_equal(found.daily, wanted.daily)
    assert (found.refused, found.quote) == (wanted.refused, wanted.quote)
    np.testing.assert_array_equal(found.days.as_unit("ns").asi8, wanted.days.as_unit("ns").asi8)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("chunks"), ether())


@pytest.fixture(scope="module")
def market(place: str) -> Market:
    return bt.load_market(place)


@pytest.fixture(scope="module")
def whole(market: Market) -> Scanned:
    """All combinations at once, as the scan gives them."""
    return Grid(Fade, market, 1e5, None, {}).run(combinations())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small chunks, of which few run before the workers begin."""
    monkeypatch.setattr(chunks, "SECONDS", 0.02)
    monkeypatch.setattr(cluster, "WORTH", 0.0)
    monkeypatch.setattr(chunks, "ENOUGH", 0.0)


def counted(market: Market, tmp_path: Path, **more: Any) -> Counted:
    given = {"base": Fade, "capital": 1e5, "execution": None, "fixed": {}, "log": str(tmp_path / "log"), **more}
    return Counted(market=market, **given)


def refused(told: str, kind: type[CarryError] = ParameterError) -> Any:
    return pytest.raises(kind, match=f"^{re.escape(told)}$")


# ---------------------------------------------------------------- on this machine


@pytest.mark.parametrize("threads", [1, 2, None])
def test_chunks_give_what_one_call_gives(market: Market, whole: Scanned, tmp_path: Path, threads: int | None, quick: None) -> None:
    found = carried_out(counted(market, tmp_path), combinations(), threads=threads)
    same(found, whole)
    assert sum(told is not None for told in found.refused) == 6
    assert found.table.loc[found.refused.index(None)].notna().sum() > 10
    assert Counter(ran(tmp_path / "log")) == Counter(labels(combinations())), "each once"


def test_a_window_has_its_own_days(market: Market, quick: None) -> None:
    grid = Grid(Fade, market, 1e5, None, {})
    window = (30, 150)
    same(carried_out(grid, combinations(3), window=window), grid.run(combinations(3), window=window))
    assert days_of(market, window)[0] == pd.Timestamp("2024-03-02T06:00Z")


def grown(own: float, each: float, count: int = 1000) -> list[int]:
    """Sizes of the pieces where each takes a time of its own and a time a combination."""
    pieces, sizes = Pieces(range(count), 1.0), []
    while len(pieces):
        piece = pieces.cut()
        sizes.append(len(piece))
        pieces.took(len(piece), own + each * len(piece))
    assert sum(sizes) == count
    return sizes


def test_pieces_grow_to_the_length_that_is_wished() -> None:
    assert grown(0.0, 0.01)[:7] == [1, 4, 16, 64, 100, 100, 100], "four times as many, and never more than a second's"
    assert grown(0.0, 50.0, 12) == [1, 2, *[1] * 9], "what takes long is done one by one"
    assert grown(0.7, 0.003, 5000)[5:8] == [1024, 1166, 1166], "what is laid out for a piece is worth it: 3.5 seconds for 0.7"
    assert grown(0.7, 0.003, 5000)[:5] == [1, 4, 16, 64, 256]


def test_pieces_are_small_at_the_end_and_lost_ones_come_again() -> None:
    pieces = Pieces(range(20), 1.0)
    pieces.size = 100
    assert [len(pieces.cut(2)) for _ in range(20)][:4] == [5, 3, 3, 2]
    pieces = Pieces(range(100), 1.0)
    pieces.took(1, 0.71)
    pieces.took(11, 0.81)
    assert len(pieces.cut(20)) == 44, "not smaller than what it costs to lay out"
    pieces = Pieces(range(4), 1.0)
    lost = pieces.cut()
    pieces.put_back(lost)
    assert len(pieces) == 4
    assert pieces.cut() == lost
    pieces.took(1, float("nan"))
    assert pieces.size == 1


# ---------------------------------------------------------------- kept


def test_what_is_finished_is_never_run_again(market: Market, whole: Scanned, tmp_path: Path, quick: None) -> None:
    grid, store = counted(market, tmp_path), tmp_path / "store"
    same(carried_out(grid, combinations(), store=store), whole)
    assert Counter(ran(tmp_path / "log")) == Counter(labels(combinations()))
    same(carried_out(grid, combinations(), store=store), whole)
    again = combinations()[::-1][3:]
    found = carried_out(grid, again, store=str(store), threads=2)
    np.testing.assert_array_equal(found.daily, whole.daily[::-1][3:])
    assert len(ran(tmp_path / "log")) == 40, "nothing was run twice, the refused neither"


def test_a_larger_grid_runs_only_what_is_new(market: Market, whole: Scanned, tmp_path: Path, quick: None) -> None:
    grid, store = counted(market, tmp_path), tmp_path / "store"
    carried_out(grid, combinations(3, 2), store=store)
    before = set(ran(tmp_path / "log"))
    same(carried_out(grid, combinations(), store=store), whole)
    assert Counter(ran(tmp_path / "log")) == Counter(labels(combinations()))
    assert len(before) == 6


def test_what_was_fixed_may_vary_later(market: Market, tmp_path: Path, quick: None) -> None:
    store = tmp_path / "store"
    carried_out(counted(market, tmp_path, fixed={"exit": 0.0}), [{"enter": 0.0005}, {"enter": 0.0006}], store=store)
    varied = [{"enter": enter, "exit": leave} for enter in (0.0005, 0.0006) for leave in (0.0, 0.0001)]
    found = carried_out(counted(market, tmp_path), varied, store=store)
    same(found, Grid(Fade, market, 1e5, None, {}).run(varied))
    assert ran(tmp_path / "log")[2:] == [("0.0005", "0.0001"), ("0.0006", "0.0001")]


@dataclass(frozen=True, kw_only=True)
class Faster(Fade):
    """The same, but for at most a day."""

    def rule(self, market: Market) -> bt.Rule:
        return replace(super().rule(market), max_hold="1D")


def test_another_dataset_strategy_parameter_or_execution_uses_nothing_of_it(market: Market, tmp_path: Path, quick: None) -> None:
    store, chosen = tmp_path / "store", combinations(2, 2)
    other = load(tmp_path, ether(seed=2))
    grids = [
        counted(market, tmp_path),
        counted(other, tmp_path),
        counted(market, tmp_path, base=Faster),
        counted(market, tmp_path, base=Fade(filters="regime")),
        counted(market, tmp_path, capital=2e5),
        counted(market, tmp_path, execution=bt.Execution(half_spread=0.01)),
        counted(market, tmp_path, fixed={"leverage": 3}),
    ]
    for place, grid in enumerate(grids, 1):
        same(carried_out(grid, chosen, store=store), Grid(grid.base, grid.market, grid.capital, grid.execution, grid.fixed).run(chosen))
        assert len(ran(tmp_path / "log")) == 4 * place
    carried_out(counted(market, tmp_path), chosen, store=store, window=(0, 100))
    assert len(ran(tmp_path / "log")) == 4 * len(grids) + 4


@pytest.mark.parametrize("damage", ["half", "none"])
def test_a_damaged_file_costs_its_own_combinations_only(market: Market, whole: Scanned, tmp_path: Path, quick: None, damage: str) -> None:
    grid, store = counted(market, tmp_path), tmp_path / "store"
    carried_out(grid, combinations(), store=store)
    file = max(store.rglob("*.parquet"), key=lambda one: one.stat().st_size)
    held = len(pd.read_parquet(file))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if damage == "half" else b"")
    same(carried_out(grid, combinations(), store=store), whole)
    assert 1 <= held < 40
    assert len(ran(tmp_path / "log")) == 40 + held


def test_what_a_failing_disk_refused_is_tried_again(place: str, tmp_path: Path, quick: None) -> None:
    broken = tmp_path / "broken"

    @dataclass(frozen=True, kw_only=True)
    class Reading(Fade):
        """Reads something of the dataset."""

        def rule(self, market: Market) -> bt.Rule:
            if broken.exists():
                raise DataError(f"{market.info.path}/series/name=x: can't be reached (timed out); check the address and your access")
            if self.enter < 0.0004:
                raise DataError("no such leg")
            return super().rule(market)

    grid = counted(bt.load_market(place), tmp_path, base=Reading)
    chosen = [{"enter": 0.0003}, {"enter": 0.0005}]
    broken.touch()
    assert [str(told)[-10:] for told in carried_out(grid, chosen, store=tmp_path / "store").refused] == ["our access"] * 2
    broken.unlink()
    assert carried_out(grid, chosen, store=tmp_path / "store").refused == ["no such leg", None]
    assert len(ran(tmp_path / "log")) == 4
    assert carried_out(grid, chosen, store=tmp_path / "store").refused == ["no such leg", None]
    assert len(ran(tmp_path / "log")) == 4, "what the data lack is known for good"


# ---------------------------------------------------------------- killed

SWEEPER = """
import json, os, signal, sys
sys.path.insert(0, sys.argv[1])
from test_chunks import Counted, Fade, combinations
from backtest import chunks, cluster
from backtest.errors import user_errors
import backtest as bt

market = bt.load_market(sys.argv[2])
Counted(Fade, market, 1e5, None, {}).run(combinations(2, 2))
chunks.SECONDS, chunks.ENOUGH, cluster.WORTH = 0.03, 0.0, 0.0
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    log, store, pause = json.loads(line)
    if (pid := os.fork()) == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stderr, code = open(log + ".told", "w"), 0
        try:
            with user_errors():
                chunks.carried_out(Counted(Fade, market, 1e5, None, {}, log, pause), combinations(), store=store, threads=1)
        except SystemExit as left:
            code = left.code
        sys.stderr.close()
        with open(log + ".code", "w") as file:
            file.write(str(code))
        os._exit(0)
    print(pid, flush=True)
"""


class Sweeper:
    """A process that sweeps in processes of its own, so that they can be killed without paying for their start."""

    def __init__(self, place: str) -> None:
        command = [sys.executable, "-c", SWEEPER, str(HERE), place]
        self.process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start(self, folder: Path, log: str = "log", pause: float = 0.02) -> int:
        """Begin a sweep; its process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(folder / log), str(folder / "store"), pause]) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def sweeper(place: str) -> Iterator[Sweeper]:
    one = Sweeper(place)
    yield one
    one.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(what: Callable[[], bool]) -> None:
    """Wait for something to happen; a minute is for a machine that is very busy."""
    limit = time.monotonic() + 60.0
    while not what():
        assert time.monotonic() < limit, "it never happened"
        time.sleep(0.002)


def finished_in(store: Path) -> set[str]:
    """The combinations in files that are whole."""
    return {key for file in store.rglob("*.parquet") for key in pd.read_parquet(file)["combination"]}


def text_of(label: tuple[str, ...]) -> str:
    return f"enter=float:{label[0]}, exit=float:{label[1]}"


def test_killed_at_random_and_started_again_it_ends_with_the_same_table(
    market: Market, whole: Scanned, sweeper: Sweeper, tmp_path: Path
) -> None:
    chance, log, store = random.Random(7), tmp_path / "log", tmp_path / "store"
    for more in (3, 7, 5, 1, 9):
        before, done = len(ran(log)), finished_in(store)
        pid = sweeper.start(tmp_path)
        until(lambda wanted=before + more: len(ran(log)) >= wanted)  # type: ignore[misc]
        time.sleep(chance.uniform(0.0, 0.06))
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]
        assert not {text_of(label) for label in ran(log)[before:]} & done, "what is in a finished chunk is not run again"
    assert not (tmp_path / "log.code").exists(), "none of them came to its end"
    before, done = len(ran(log)), finished_in(store)
    assert 0 < len(done) < 40
    same(carried_out(counted(market, tmp_path), combinations(), store=store), whole)
    last = {text_of(label) for label in ran(log)[before:]}
    assert not last & done
    assert len(last) == 40 - len(done)
    assert len(finished_in(store)) == 40
    files = [pd.read_parquet(file)["combination"] for file in store.rglob("*.parquet")]
    assert sum(map(len, files)) == 40, "none was computed to its end twice"


def test_sweeps_with_one_store_do_each_other_no_harm(market: Market, whole: Scanned, sweeper: Sweeper, tmp_path: Path) -> None:
    one, two, victim = (sweeper.start(tmp_path, name, pause=0.01) for name in ("one", "two", "three"))
    until(lambda: len(ran(tmp_path / "three")) > 10)
    os.kill(victim, signal.SIGKILL)
    until(lambda: not is_alive(one) and not is_alive(two))
    assert [(tmp_path / f"{name}.code").read_text() for name in ("one", "two")] == ["0", "0"]
    same(carried_out(counted(market, tmp_path), combinations(), store=tmp_path / "store"), whole)
    assert ran(tmp_path / "log") == [], "all of it is there"


def test_ctrl_c_says_in_one_sentence_what_is_kept(sweeper: Sweeper, tmp_path: Path) -> None:
    pid = sweeper.start(tmp_path)
    until(lambda: len(ran(tmp_path / "log")) > 10)
    os.kill(pid, signal.SIGINT)
    until(lambda: not is_alive(pid))
    assert (tmp_path / "log.code").read_text() == "130"
    kept = len(finished_in(tmp_path / "store"))
    assert 0 < kept < 40
    told = f"interrupted; {kept} of 40 combinations are finished and kept in {tmp_path / 'store'}, and the same call goes on from there\n"
    assert (tmp_path / "log.told").read_text() == told


class Stopping(Grid):
    """Is interrupted at a combination."""

    def run(self, chosen: Sequence[Mapping[str, Any]], *, window: tuple[int, int] | None = None, threads: int = 1) -> Scanned:
        if any(one["enter"] >= 0.0006 for one in chosen):
            raise KeyboardInterrupt
        return super().run(chosen, window=window, threads=threads)


def test_an_interrupt_without_a_store_says_what_is_lost(
    market: Market, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "SECONDS", 0.0)
    grid = Stopping(Fade, market, 1e5, None, {})
    with pytest.raises(
        KeyboardInterrupt, match=r"^interrupted; 20 of 40 combinations were finished and are lost; name a store to keep them$"
    ):
        carried_out(grid, combinations(), threads=1)
    with pytest.raises(
        KeyboardInterrupt,
        match=r"^interrupted; 20 of 40 combinations are finished and kept in .*store, and the same call goes on from there$",
    ):
        carried_out(grid, combinations(), threads=1, store=tmp_path / "store")
    assert len(finished_in(tmp_path / "store")) == 20
    with pytest.raises(KeyboardInterrupt):
        carried_out(grid, combinations(), executor=Minimal(), store=tmp_path / "store")


def test_a_store_that_fails_on_the_way_says_how_far_it_came(
    market: Market, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "SECONDS", 0.0)
    given = iter([None] * 7)
    put = Shelf.write

    def full(shelf: Shelf, under: str, data: bytes) -> None:
        if next(given, 0) is not None:
            monkeypatch.setattr(os, "fsync", fails)
        put(shelf, under, data)

    def fails(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Shelf, "write", full)
    with pytest.raises(
        StorageError,
        match=r"can't be written there \(No space left on device\); .*; free some space, or choose another store; 8 of 40 combinations are finished and kept in ",
    ):
        carried_out(Grid(Fade, market, 1e5, None, {}), combinations(), threads=1, store=tmp_path / "store")


# ---------------------------------------------------------------- executors


class Minimal(Executor):
    """An executor that can do nothing but what it must: run what is submitted, one after the other, when it likes."""

    def __init__(self) -> None:
        self.count = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        self.count += 1
        future: Future[Any] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        Thread(target=work).start()
        return future


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield pool


def test_threads_and_any_other_executor_run_chunks(market: Market, whole: Scanned, tmp_path: Path, quick: None) -> None:
    with ThreadPoolExecutor(2) as pool:
        same(carried_out(counted(market, tmp_path), combinations(), executor=pool), whole)
    minimal = Minimal()
    same(carried_out(counted(market, tmp_path / "..", log=str(tmp_path / "other")), combinations(), executor=minimal), whole)
    assert minimal.count >= 5
    for log in ("log", "other"):
        assert Counter(ran(tmp_path / log)) == Counter(labels(combinations()))


def test_processes_get_the_market_once_and_run_chunks(
    market: Market, whole: Scanned, tmp_path: Path, quick: None, processes: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    dumps = cluster.dumps
    monkeypatch.setattr(cluster, "dumps", lambda value: written.append(isinstance(value, Grid)) or dumps(value))
    grid = counted(market, tmp_path, pause=0.01)
    same(carried_out(grid, combinations(), executor=processes, store=tmp_path / "store"), whole)
    assert Counter(ran(tmp_path / "log")) == Counter(labels(combinations()))
    pids = Counter(json.loads(line)[0] for line in (tmp_path / "log").read_text().splitlines())
    assert len(pids) == 3, "two of them, and what ran here to measure"
    assert pids[os.getpid()] <= 3
    assert sum(written) == 1


def test_a_process_that_dies_costs_its_chunk_and_the_same_call_goes_on(market: Market, whole: Scanned, tmp_path: Path, quick: None) -> None:
    grid, store = counted(market, tmp_path, pause=0.01, deadly=0.0007), tmp_path / "store"
    with (
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool,
        pytest.raises(
            StorageError,
            match=r"^a process of the executor died; call again with a new executor, or with fewer workers if memory ran out; "
            r"\d+ of 40 combinations are finished and kept in .*store, and the same call goes on from there$",
        ),
    ):
        carried_out(grid, combinations(), executor=pool, store=store)
    done, before = finished_in(store), len(ran(tmp_path / "log"))
    assert len(done) > 5
    same(carried_out(replace(grid, deadly=None), combinations(), store=store), whole)
    assert not {text_of(label) for label in ran(tmp_path / "log")[before:]} & done


SCRIPT = """
import sys
from dataclasses import dataclass, replace
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
import backtest as bt
from backtest import chunks, cluster
from backtest.scan import Grid

chunks.ENOUGH, chunks.SECONDS, cluster.WORTH = 0.0, 0.0, 0.0

@dataclass(frozen=True, kw_only=True)
class Mine(bt.Strategy):
    '''A strategy of a script.'''
    enter: float = bt.param(0.0005, "open at or above this premium")

    def rule(self, market: bt.Market) -> bt.Rule:
        return bt.Rule(long=market.spot, short=market.perpetual, signal=bt.premium(market, market.perpetual), enter=self.enter)

if __name__ == "__main__":
    grid = Grid(Mine, bt.load_market(sys.argv[1]), 1e5, None, {})
    chosen = [{"enter": 0.0001 * k} for k in range(1, 9)]
    wanted = grid.run(chosen).table
    if len(sys.argv) > 2:
        assert chunks.carried_out(grid, chosen, cluster=sys.argv[2]).table.equals(wanted)
    else:
        with ThreadPoolExecutor(2) as pool:
            assert chunks.carried_out(grid, chosen, executor=pool).table.equals(wanted)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            assert chunks.carried_out(grid, chosen, executor=pool).table.equals(wanted)
            sys.modules["cloudpickle"] = None
            other = replace(grid, fixed={"leverage": 2})
            assert chunks.carried_out(other, chosen, executor=pool).table.equals(other.run(chosen).table)
    print("alike")
"""


def run_script(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    (folder / "mine.py").write_text(SCRIPT)
    return subprocess.run([sys.executable, str(folder / "mine.py"), *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_a_strategy_of_a_script_runs_on_threads_and_on_processes_with_and_without_cloudpickle(place: str, tmp_path: Path) -> None:
    done = run_script(tmp_path, place)
    assert (done.returncode, done.stdout) == (0, "alike\n"), done.stderr


def test_what_can_not_be_sent_is_said_in_a_sentence(
    market: Market, tmp_path: Path, quick: None, processes: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Local(Fade):
        """Is nowhere to be found by its name."""

    same(
        carried_out(counted(market, tmp_path, base=Local), combinations(3), executor=processes),
        Grid(Local, market, 1e5, None, {}).run(combinations(3)),
    )
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    told = (
        r"^the strategy or one of its values can't be sent to other processes \(Can't pickle local object .*Local'\); define the strategy in a module of its own, "
        r'install cloudpickle \(pip install "carry-backtest\[dask\]"\), or run on threads$'
    )
    with pytest.raises(ParameterError, match=told):
        carried_out(counted(market, tmp_path, base=Local), combinations(3), executor=processes)
    with pytest.raises(
        ParameterError,
        match=r"^the strategy can't be read by the worker that got it \(.*no_such_module.*\); define the strategy in a module",
    ):
        cluster.loads(b"cno_such_module\nthing\n.")


def test_a_mistake_in_a_strategy_comes_through_as_it_is(market: Market, quick: None, processes: ProcessPoolExecutor) -> None:
    class Broken(Fade):
        def rule(self, market: Market) -> bt.Rule:
            if self.enter > 0.0008:
                raise KeyError("mine")
            return super().rule(market)

    grid = Grid(Broken, market, 1e5, None, {})
    for executor in (None, Minimal(), processes):
        with pytest.raises(KeyError, match="mine"):
            carried_out(grid, combinations(), executor=executor)


def test_an_executor_that_is_closed_is_refused(market: Market, quick: None) -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with refused("executor takes no work any more: cannot schedule new futures after shutdown; give one that is open"):
        carried_out(Grid(Fade, market, 1e5, None, {}), combinations(), executor=pool)


def test_a_file_that_workers_can_not_see_is_said(market: Market, tmp_path: Path) -> None:
    opened = cluster._Opened(str(tmp_path / "grid"), "token")
    told = r"^.*grid: a worker can't read the grid that was put there for it \(No such file or directory\); set TMPDIR to a folder that all workers see$"
    with pytest.raises(StorageError, match=told):
        cluster.worked(opened, Sent([]), None, cluster.engine())


def test_workers_with_another_package_or_dataset_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    market = load(tmp_path, ether())
    grid, chunk = Grid(Fade, market, 1e5, None, {}), Sent(combinations(1, 1))
    with pytest.raises(
        DataError,
        match=r"^worker .* has another version of the package or of its libraries than this process; install the same ones everywhere$",
    ):
        cluster.worked(grid, chunk, None, "another")
    assert len(cluster.worked(grid, chunk, None, cluster.engine())[0].table) == 1
    monkeypatch.setattr(cluster, "_TRUSTED", set())
    write(tmp_path, ether(seed=3))
    told = r"^.*: a worker finds another dataset there, [0-9a-f]{12} instead of [0-9a-f]{12}; put the same one there, or load the market again$"
    with pytest.raises(DataError, match=told):
        cluster.worked(grid, chunk, None, cluster.engine())
    (tmp_path / "dataset").rename(tmp_path / "gone")
    told = r"^a worker can't read the dataset: .*: there is no dataset here; .*; put it where all workers see it by the same path, or behind a URL$"
    with pytest.raises(DataError, match=told):
        cluster.worked(grid, chunk, None, cluster.engine())


# ---------------------------------------------------------------- what doesn't fit


def never(*_: Any, **__: Any) -> None:
    raise AssertionError("it has started")


def test_more_than_the_memory_is_refused_before_anything_runs(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "available_memory", lambda: 10_000.0)
    monkeypatch.setattr(Grid, "run", never)
    days = len(days_of(market))
    each = 8 * (2 * days + chunks.COLUMNS)
    told = (
        f"40 combinations of 9 days need {40 * each / 1024:.3g} KiB of memory and 9.77 KiB are free: at most {10_000 // each} fit; "
        "give fewer values or a sample=…, a shorter period, or sweep in parts"
    )
    assert days == 9
    with refused(told):
        carried_out(Grid(Fade, market, 1e5, None, {}), combinations())
    monkeypatch.setattr(chunks, "available_memory", lambda: 40.0 * each)
    with pytest.raises(AssertionError, match="it has started"):
        carried_out(Grid(Fade, market, 1e5, None, {}), combinations())


def test_ten_thousand_combinations_of_five_years_fit_into_two_gibibytes() -> None:
    assert 10_000 * 8 * (2 * 1827 + chunks.COLUMNS) < 0.3 * 2**30


def test_longer_than_it_may_take_is_refused_with_the_number(market: Market, tmp_path: Path) -> None:
    grid = counted(market, tmp_path, pause=0.1)
    told = (
        r"^(\d+) more combinations take about ([\d.]+) seconds \(0\.1\d* seconds each, 1 at once\) and longest=1 seconds allows (\d+): give fewer values or a sample=…, "
        r'longer bars \(freq=…\), more threads or a cluster, or longest="1D"$'
    )
    with pytest.raises(ParameterError, match=told) as caught:
        carried_out(grid, combinations(), threads=1, longest="1s", store=tmp_path / "store")
    rest, seconds, fits = map(float, re.match(told, str(caught.value)).groups())  # type: ignore[union-attr]
    assert rest == 38
    assert 3.8 <= seconds < 7.6
    assert 5 <= fits <= 10
    assert len(ran(tmp_path / "log")) == 2
    assert len(finished_in(tmp_path / "store")) == 2, "what ran to measure isn't lost"
    with pytest.raises(ParameterError, match=r"^38 more combinations .* 1 at once"):
        carried_out(counted(market, tmp_path, pause=0.1), combinations(), executor=ThreadPoolExecutor(1), longest="1s")
    with ThreadPoolExecutor(40) as many:
        carried_out(counted(market, tmp_path, pause=0.1), combinations(2), executor=many, longest="1s")


def test_longest_can_be_left_out(market: Market, quick: None) -> None:
    carried_out(Grid(Fade, market, 1e5, None, {}), combinations(2), longest=None)
    with pytest.raises(ParameterError, match=r"^longest must be a duration"):
        carried_out(Grid(Fade, market, 1e5, None, {}), combinations(2), longest="soon")


def test_the_memory_that_is_free_is_what_the_system_or_the_control_group_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    assert 0 < available_memory() <= whole
    files = {
        "/proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    4000 kB\n",
        "/sys/fs/cgroup/memory.max": "3000000\n",
        "/sys/fs/cgroup/memory.current": "1000000\n",
    }

    def read(path: Path, encoding: str) -> str:
        if str(path) not in files:
            raise FileNotFoundError(str(path))
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read)
    assert available_memory() == 2_000_000.0
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert available_memory() == 4_096_000.0
    files.clear()
    assert available_memory() == float("inf"), "nothing is known, nothing refused"


def test_sizes_and_durations_are_written_for_readers() -> None:
    assert [size_text(size) for size in (10, 2048, 3.5 * 2**30, 2.0**42)] == ["10 bytes", "2 KiB", "3.5 GiB", "4 TiB"]
    assert [time_text(seconds) for seconds in (0.0123, 90.0, 150.0, 9000.0, 86400.0, 400_000.0)] == [
        "0.0123 seconds", "90 seconds", "2.5 minutes", "2.5 hours", "24 hours", "4.63 days",
    ]  # fmt: skip


# ---------------------------------------------------------------- settings


def test_where_it_runs_is_said_once(market: Market) -> None:
    grid = Grid(Fade, market, 1e5, None, {})
    pool: Any = "pool"
    with refused("threads and cluster both say where combinations run: give one of them"):
        carried_out(grid, combinations(), threads=2, cluster="tcp://10.0.0.1:8786")
    with refused("executor must be one of concurrent.futures: executor=pool; give ThreadPoolExecutor(2)"):
        carried_out(grid, combinations(), executor=pool)
    with refused("threads must be a whole number from 1 on: threads=0"):
        carried_out(grid, combinations(), threads=0)
    with refused("a sweep needs combinations: there are none; give values of a parameter, as enter=[0.05, 0.1]"):
        carried_out(grid, [])


def test_a_store_that_can_not_be_is_refused_before_anything_runs(market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").write_text("mine")
    monkeypatch.setattr(Grid, "run", never)
    with pytest.raises(StorageError, match="finished combinations can't be made there"):
        carried_out(Grid(Fade, market, 1e5, None, {}), combinations(), store=tmp_path / "store")
    with pytest.raises(ParameterError, match=r"^store must be a folder or a URL: store=''; name one, or leave it out$"):
        carried_out(Grid(Fade, market, 1e5, None, {}), combinations(), store="")
    with pytest.raises(ParameterError, match="can't be written down, so that its results could not be found again"):
        carried_out(Grid(Fade, market, 1e5, None, {}), [{"enter": object()}], store=tmp_path / "other")


# ---------------------------------------------------------------- progress


@pytest.mark.parametrize(
    ("terminal", "patience", "progress", "shown"),
    [(True, 0.0, True, True), (True, 60.0, True, False), (False, 0.0, True, False), (True, 0.0, False, False)],
)
def test_progress_with_the_remaining_time_is_for_terminals_and_patience(
    market: Market,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    quick: None,
    terminal: bool,
    patience: float,
    progress: bool,
    shown: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(chunks, "PATIENCE", patience)
    monkeypatch.setattr(chunks, "SECONDS", 0.0)
    carried_out(Counted(Fade, market, 1e5, None, {}, pause=0.02), combinations(), threads=1, progress=progress)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert bool(re.search(r"\d+/40 \[\d\d:\d\d<\d\d:\d\d", captured.err)) == shown


def test_progress_begins_with_what_was_kept(
    market: Market, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, quick: None
) -> None:
    grid = Grid(Fade, market, 1e5, None, {})
    carried_out(grid, combinations()[:30], store=tmp_path / "store")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(chunks, "PATIENCE", 0.0)
    carried_out(grid, combinations(), store=tmp_path / "store")
    assert re.search(r"3\d/40 \[", capsys.readouterr().err)


def test_errors_reach_the_command_line_as_one_sentence(
    market: Market, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ANSWER", 0.2)
    with pytest.raises(SystemExit) as left, user_errors():
        carried_out(Grid(Fade, market, 1e5, None, {}), combinations(), cluster="tcp://127.0.0.1:9")
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_fingerprint_is_a_folder_of_the_store(market: Market, tmp_path: Path, quick: None) -> None:
    grid = Grid(Fade, market, 1e5, None, {})
    carried_out(grid, combinations(2), store=tmp_path / "store")
    assert [one.name for one in (tmp_path / "store").iterdir()] == [fingerprint(grid)]
