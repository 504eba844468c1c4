"""How time is taken: contenders interleaved in one process, pieces of a run apart, a fresh interpreter for the cold start.

A round visits every contender once: one call untimed, so that the caches hold its own data and not the last one's, then as many timed ones as fill a
short while, of which the fastest counts. Ratios are taken within a round, and then their median: a machine that slows down slows both sides of a ratio.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import task
from contenders import Contender, equity_of, prepared_run, sources_of

import backtest as bt
from backtest.simulate import simulate

FILLED = 0.05  # seconds of timed calls a round
MOST_CALLS = 50
IMPORTS = {
    "import backtest": "import backtest",
    "import backtest, and the engine": "import backtest; backtest.run",
    "import pandas": "import pandas",
}


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def calls_that_fill(once: float) -> int:
    return max(1, min(MOST_CALLS, round(FILLED / once)))


def fastest(call: Callable[[], object], times: int) -> float:
    """Seconds of the fastest of some calls: the one that other programs disturbed least."""
    return min(seconds(call) for _ in range(times))


def interleaved(contenders: dict[str, Contender], rounds: int) -> dict[str, list[float]]:
    """Seconds of the fastest call, in each round."""
    times = {name: calls_that_fill(fastest(run, 3)) for name, run in contenders.items()}
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            run()
            taken[name].append(fastest(run, times[name]))
    return taken


def pieces(data: task.Data, market: bt.Market, rounds: int) -> dict[str, float]:
    """Seconds of the pieces of a run; `market` has been run on before, so that its memo is full; the fastest of a few calls."""
    prepared = prepared_run(market)
    log = simulate(prepared, task.CAPITAL)
    fresh = [task.build_market(data) for _ in range(3)]

    def run_on(on: bt.Market) -> bt.Result:
        return bt.run(task.rule(on), on, capital=task.CAPITAL, execution=task.execution())

    def column(name: str, times: int = 5) -> float:
        results = iter([run_on(market) for _ in range(times)])
        return fastest(lambda: getattr(next(results), name), times)

    return {
        "decisions (advance), jumping": fastest(lambda: simulate(prepared, task.CAPITAL), 2 * rounds),
        "decisions (advance), every bar": fastest(lambda: simulate(prepared, task.CAPITAL, jump=False), 5),
        "equity column": fastest(lambda: equity_of(prepared, log), 2 * rounds),
        "twelve source columns": fastest(lambda: sources_of(prepared, log), rounds),
        "preparing, market used before": fastest(lambda: prepared_run(market), 5),
        "bt.run, market used before": fastest(lambda: run_on(market), 5),
        "bt.run, market just loaded": min(seconds(lambda on=on: run_on(on)) for on in fresh),
        "result.equity": column("equity"),
        "result.attribution": column("attribution"),
        "result.trades, with equity and attribution": column("trades"),
        "result.metrics, with all tables": column("metrics"),
    }  # fmt: skip


def cold_start(rounds: int) -> dict[str, float]:
    """Seconds that a fresh interpreter takes for an import, beyond those of one that imports nothing; interleaved, medians."""
    codes = {"": "pass", **IMPORTS}
    taken: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(rounds + 1):
        for name, code in codes.items():
            taken[name].append(seconds(lambda code=code: subprocess.run([sys.executable, "-c", code], check=True)))
    middle = {name: median(values[1:]) for name, values in taken.items()}  # the first round finds no file in memory
    return {name: middle[name] - middle[""] for name in IMPORTS}
