"""A sweep on a Dask cluster: the same table whatever dies, each loss costing its chunk; and a sentence for every way in which a cluster fails."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from markets import ether, write
from test_chunks import Counted, Fade, combinations, finished_in, labels, ran, run_script, same, text_of, until

import backtest as bt
from backtest import chunks, cluster
from backtest.chunks import carried_out
from backtest.errors import DataError, ParameterError, StorageError
from backtest.market import Market
from backtest.scan import Grid, Scanned

distributed = pytest.importorskip("distributed", reason="the extra [dask] is not installed")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("cluster"), ether())


@pytest.fixture(scope="module")
def market(place: str) -> Market:
    return bt.load_market(place)


@pytest.fixture(scope="module")
def whole(market: Market) -> Scanned:
    return Grid(Fade, market, 1e5, None, {}).run(combinations())


def new_cluster(workers: int) -> Any:
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=logging.CRITICAL, memory_limit=0
    )


@pytest.fixture(scope="module")
def local() -> Iterator[Any]:
    """Two workers in processes of their own."""
    with new_cluster(2) as one:
        yield one


@pytest.fixture
def address(local: Any) -> str:
    """Of the scheduler, when both workers are there: they come again where a test has killed them."""
    until(lambda: len([one for one in local.scheduler.workers.values() if one.status.name == "running"]) == 2)
    return str(local.scheduler_address)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small chunks, of which few run before the workers begin."""
    monkeypatch.setattr(chunks, "SECONDS", 0.05)
    monkeypatch.setattr(cluster, "WORTH", 0.0)
    monkeypatch.setattr(chunks, "ENOUGH", 0.0)


def counted(market: Market, tmp_path: Path, **more: Any) -> Counted:
    given = {"base": Fade, "capital": 1e5, "execution": None, "fixed": {}, "log": str(tmp_path / "log"), "pause": 0.02, **more}
    return Counted(market=market, **given)


def workers_of(log: Path) -> Counter[int]:
    """How many combinations each process ran, this one left out."""
    lines = log.read_text().splitlines() if log.exists() else []
    return Counter(pid for line in lines if line.endswith("]") and (pid := json.loads(line)[0]) != os.getpid())


def test_workers_give_what_one_call_gives(market: Market, whole: Scanned, address: str, tmp_path: Path) -> None:
    same(carried_out(counted(market, tmp_path), combinations(), cluster=address, store=tmp_path / "store"), whole)
    assert Counter(ran(tmp_path / "log")) == Counter(labels(combinations())), "each once"
    assert len(workers_of(tmp_path / "log")) == 2
    assert sum(workers_of(tmp_path / "log").values()) >= 35
    same(carried_out(counted(market, tmp_path), combinations(), cluster="tcp://127.0.0.1:9", store=tmp_path / "store"), whole)
    assert len(ran(tmp_path / "log")) == 40, "nobody is asked for what is there"


def killed_on_the_way(log: Path, more: int, victims: Callable[[], list[int]]) -> Thread:
    """Kill some workers when so many combinations have begun on them."""

    def kill() -> None:
        until(lambda: sum(workers_of(log).values()) >= more)
        for pid in victims():
            os.kill(pid, signal.SIGKILL)

    thread = Thread(target=kill)
    thread.start()
    return thread


def test_a_worker_that_is_killed_costs_only_its_chunk(market: Market, whole: Scanned, address: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    killing = killed_on_the_way(log, 8, lambda: [pid for pid, _ in workers_of(log).most_common(1)])
    same(carried_out(counted(market, tmp_path), combinations(), cluster=address), whole)
    killing.join()
    times = Counter(ran(log))
    assert set(times) == set(labels(combinations()))
    assert 40 <= sum(times.values()) <= 40 + 12, "what the other worker had is not run again"


def test_when_all_workers_are_killed_the_market_is_sent_again(
    market: Market, whole: Scanned, local: Any, address: str, tmp_path: Path
) -> None:
    killing = killed_on_the_way(tmp_path / "log", 8, lambda: [nanny.pid for nanny in local.workers.values()])
    same(carried_out(counted(market, tmp_path), combinations(), cluster=address), whole)
    killing.join()
    assert set(ran(tmp_path / "log")) == set(labels(combinations()))


def test_a_chunk_that_kills_its_workers_is_given_up_with_a_sentence(
    market: Market, whole: Scanned, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "TRIES", 2)
    grid, store = counted(market, tmp_path, deadly=0.0006, pause=0.01), tmp_path / "store"
    told = (
        rf"^{address}: a chunk of combinations was lost with its worker 2 times; give the workers more memory \(--memory-limit\), fewer threads, "
        r"or look into their logs; \d+ of 40 combinations are finished and kept in .*store, and the same call goes on from there$"
    )
    with pytest.raises(StorageError, match=told):
        carried_out(grid, combinations(), cluster=address, store=store)
    done, before = finished_in(store), len(ran(tmp_path / "log"))
    assert len(done) > 5
    same(carried_out(replace(grid, deadly=None), combinations(), threads=1, store=store), whole)
    assert not {text_of(label) for label in ran(tmp_path / "log")[before:]} & done


def test_a_strategy_of_a_script_runs_on_a_cluster(place: str, address: str, tmp_path: Path) -> None:
    done = run_script(tmp_path, place, address)
    assert (done.returncode, done.stdout) == (0, "alike\n"), done.stderr


def test_a_mistake_in_a_strategy_comes_through_as_it_is(market: Market, address: str) -> None:
    class Broken(Fade):
        def rule(self, market: Market) -> bt.Rule:
            if self.enter > 0.0008:
                raise KeyError("mine")
            return super().rule(market)

    with pytest.raises(KeyError, match="mine"):
        carried_out(Grid(Broken, market, 1e5, None, {}), combinations(), cluster=address)


def test_the_time_it_takes_is_known_before_it_starts_there(market: Market, address: str, tmp_path: Path) -> None:
    with pytest.raises(
        ParameterError, match=r"^38 more combinations take about .* seconds \(.* each, [12] at once\) and longest=1 seconds allows \d+: "
    ):
        carried_out(counted(market, tmp_path, pause=0.2), combinations(), cluster=address, longest="1s")
    assert workers_of(tmp_path / "log") == Counter()


def test_a_worker_without_the_dataset_refuses_the_work_and_not_the_combinations(address: str, tmp_path: Path) -> None:
    market = bt.load_market(write(tmp_path, ether(seed=5)))
    grid = counted(market, tmp_path)
    grid.run(combinations(1, 1))  # what is needed of it is read
    (tmp_path / "dataset").rename(tmp_path / "gone")
    with pytest.raises(
        DataError,
        match=r"^a worker can't read the dataset: .*there is no dataset here.*put it where all workers see it by the same path, or behind a URL",
    ):
        carried_out(grid, combinations(), cluster=address)


# ---------------------------------------------------------------- no cluster


def test_an_address_where_nobody_answers_is_told_in_a_sentence(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER", 0.3)
    grid = Grid(Fade, market, 1e5, None, {})
    for address in ("tcp://127.0.0.1:9", "127.0.0.1:9", "nothing://127.0.0.1:9", "tcp://no.such.host.invalid:8786"):
        told = rf"^{re.escape(address)}: no Dask scheduler answers there \(.*\); start one with `dask scheduler`, and `dask worker {re.escape(address)}` on each machine$"
        with pytest.raises(StorageError, match=told) as caught:
            carried_out(grid, combinations(), cluster=address)
        assert "\n" not in str(caught.value)


def test_an_address_that_is_none_leaves_nothing_to_be_said_at_the_end() -> None:
    """The library's own client, half made, would print a traceback when the program ends."""
    program = (
        "from backtest import cluster\ntry:\n    with cluster.on_cluster('foo', None, None): pass\nexcept OSError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("foo: no Dask scheduler answers there (missing port number in address 'foo'); start one with")
    assert done.stderr == ""


def test_what_is_no_address_is_refused(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, address = Grid(Fade, market, 1e5, None, {}), "tcp://10.0.0.1:8786"
    with pytest.raises(ParameterError, match=r'^cluster must be the address of a Dask scheduler, as "tcp://10.0.0.1:8786": cluster=\' \'$'):
        carried_out(grid, combinations(), cluster=" ")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ParameterError, match=rf'^cluster={address} needs dask; install it with pip install "carry-backtest\[dask\]"$'):
        carried_out(grid, combinations(), cluster=address)


def test_a_scheduler_without_workers_is_told(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER", 0.5)
    with new_cluster(0) as empty:
        told = rf"^{empty.scheduler_address}: the scheduler has no workers; start some with `dask worker {empty.scheduler_address}`, on each machine one$"
        with pytest.raises(StorageError, match=told):
            carried_out(Grid(Fade, market, 1e5, None, {}), combinations(), cluster=empty.scheduler_address)


def test_a_cluster_that_goes_away_leaves_what_is_finished(
    market: Market, whole: Scanned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "PAUSE", 1.0)
    grid, store = counted(market, tmp_path, pause=0.05), tmp_path / "store"
    leaving = new_cluster(1)

    def leave() -> None:
        until(lambda: sum(workers_of(tmp_path / "log").values()) >= 6)
        leaving.close()

    closing = Thread(target=leave)
    closing.start()
    with pytest.raises(
        StorageError,
        match=r"^.*(the scheduler has gone|has had no worker for a minute|the scheduler has no workers).*; \d+ of 40 combinations are finished and kept in .*store",
    ):
        carried_out(grid, combinations(), cluster=leaving.scheduler_address, store=store)
    closing.join()
    done, before = finished_in(store), len(ran(tmp_path / "log"))
    assert done
    same(carried_out(grid, combinations(), store=store, threads=2), whole)
    assert not {text_of(label) for label in ran(tmp_path / "log")[before:]} & done
