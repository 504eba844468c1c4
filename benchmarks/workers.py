"""What a worker of a cluster needs in memory and on the network, measured with one worker in a process of its own on this machine.

python benchmarks/workers.py            # five years of minutes, two to five minutes
python benchmarks/workers.py --quick    # a month, to see that it works

The figures of `hundred_machines.md` are what it prints; what follows from them for a hundred machines is worked out there.
"""

import argparse
import logging
import pickle
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import task

import backtest as bt
from backtest.cluster import Sent, worked
from backtest.scan import Grid, Scanned
from backtest.shelf import Writer, engine, fingerprint, packed

FIVE_YEARS, MONTH = 5 * task.YEAR_OF_MINUTES, 43_200
SIZES = (1, 10, 100, 1000)


@dataclass(frozen=True, kw_only=True)
class Fade(bt.Strategy):
    """The task's rule with its thresholds as parameters."""

    enter: float = bt.param(task.ENTER, "open at or above this premium")
    exit: float = bt.param(task.EXIT, "close at or below it")

    def rule(self, market: bt.Market) -> bt.Rule:
        """Buy spot and sell the perpetual while its premium is high."""
        signal = bt.premium(market, market.perpetual)
        return bt.Rule(
            long=market.spot,
            short=market.perpetual,
            signal=signal,
            enter=self.enter,
            exit=self.exit,
            max_hold="14D",
            size=task.FRACTION,
            resize=None,
        )


def combinations(count: int, seed: int = 1) -> list[dict[str, float]]:
    """Thresholds around those of the task."""
    random = np.random.default_rng(seed)
    return [
        {"enter": enter, "exit": leave}
        for enter, leave in zip(random.uniform(6e-4, 12e-4, count), random.uniform(0.0, 5e-4, count), strict=True)
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    bars = MONTH if parser.parse_args().quick else FIVE_YEARS
    market = task.build_market(task.generate(bars))
    grid = Grid(Fade, market, task.CAPITAL, task.execution(), {})
    rows: list[tuple[str, str]] = [("bars × instruments", f"{bars:,} × {len(market.instruments)}")]
    rows += on_paper(grid)
    rows += on_a_worker(grid)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def on_paper(grid: Grid) -> Iterator[tuple[str, str]]:
    """Sizes of what is sent and kept, and the client's own times."""
    yield "market and strategy, as sent", mebibytes(len(pickle.dumps(grid, protocol=5)))
    began = time.perf_counter()
    key = fingerprint(grid)
    yield "fingerprint of the market, once", seconds(time.perf_counter() - began)
    chosen, writer = combinations(1000), Writer()
    found = grid.run(chosen)
    yield "days of daily equity", f"{len(found.days):,}"
    yield "asked for, a combination", f"{len(pickle.dumps(Sent(chosen))) / 1000:,.0f} bytes"
    yield "answered, a combination", f"{len(pickle.dumps(found, protocol=5)) / 1000:,.0f} bytes"
    packed(key, ["once, for the code"], grid.run(combinations(1)))
    began = time.perf_counter()
    data = packed(key, [writer.combination(one) for one in chosen], found)
    yield "kept on disk, a combination", f"{len(data) / 1000:,.0f} bytes, packed in {1e3 * (time.perf_counter() - began) / 1000:.3f} ms"
    began = time.perf_counter()
    pickle.loads(pickle.dumps(found, protocol=5))
    yield "client's reading of an answer, a combination", f"{1e3 * (time.perf_counter() - began) / 1000:.4f} ms"


def memory() -> tuple[float, float]:
    """What this process has in memory, now and at most, in bytes."""
    found = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return tuple(1024.0 * float(found[name].split()[0]) for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def measured(grid: Grid, chosen: Sequence[Mapping[str, Any]]) -> tuple[float, float, float]:
    """Run a chunk on the worker: the seconds, and its memory after and at most."""
    began = time.perf_counter()
    scanned: Scanned = worked(grid, Sent(chosen), None, engine())[0]
    taken = time.perf_counter() - began
    assert all(told is None for told in scanned.refused)
    return taken, *memory()


def on_a_worker(grid: Grid) -> Iterator[tuple[str, str]]:
    """Memory and times of a worker in a process of its own."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.ERROR, memory_limit=0) as cluster,
        Client(cluster) as client,
    ):
        client.submit(engine, pure=False).result()
        yield "worker with the package loaded", mebibytes(client.submit(memory, pure=False).result()[0])
        began = time.perf_counter()
        sent = client.scatter(grid, broadcast=True, hash=False)
        yield "sending the market to one worker of this machine", seconds(time.perf_counter() - began)
        yield "worker with the market", mebibytes(client.submit(lambda one: memory()[0], sent, pure=False).result())
        first, *_ = client.submit(measured, sent, combinations(1), pure=False).result()
        yield "first chunk, of 1: signals and code", seconds(first)
        for size in SIZES:
            taken, after, most = client.submit(measured, sent, combinations(size, seed=size), pure=False).result()
            yield (
                f"chunk of {size:,}",
                f"{seconds(taken)}, {1e3 * taken / size:.3g} ms a combination; {mebibytes(after)} after it, {mebibytes(most)} at most",
            )


def mebibytes(size: float) -> str:
    """Bytes for a reader."""
    return f"{size / 2**20:,.0f} MiB"


def seconds(length: float) -> str:
    """A duration for a reader."""
    return f"{length:.2f} s"


if __name__ == "__main__":
    main()
