"""Time the scan of many combinations against the hand-written loop and vectorbt, on one and two threads, and a sweep as a user runs it.

python benchmarks/scan.py              # a year and five years of minutes, about five minutes
python benchmarks/scan.py --quick      # a month, to see that it works
python benchmarks/scan.py --write      # and put the tables and the figure into benchmarks/README.md
python benchmarks/scan.py --peers DIR  # time a folder's peer_limit_numba.py and peer_vectorbt.py as well

Scan, loop and vectorbt must agree in final equity, trades, drawdown and squares of profits; exit code 1 if they don't.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import grids
import growth
import numpy as np
import task
import whole
from contenders import EQUITY, LOOP, SOURCES, loop, own
from grids import DRAWDOWN, FINAL, KEPT, SQUARES, TRADES
from measure import interleaved
from run import DisagreementError, agree, busy, machine, short, summary
from task import Data, Floats

from backtest.scan import Part, pieces_of

README = Path(__file__).with_name("README.md")
FIGURE = Path(__file__).with_name("scan_growth.svg")
BEGIN, END = "<!-- scan: written by scan.py --write -->", "<!-- end of scan -->"
MONTH, YEAR, FIVE_YEARS = 43_200, 525_600, 2_628_000
SCAN, HAND, VECTORBT = "carry-backtest", "hand-written loop", "vectorbt"
PEERS_LOOP, PEERS_VECTORBT = "the peers' numba loop", "the peers' vectorbt"
TOLERANCE = 1e-9  # of the figure, or of one where that is larger
SOME = {True: 24, False: 60}  # combinations that the loop runs in a turn: of long input fewer
PORTFOLIOS = 2  # combinations that vectorbt runs in a turn
THREADS = (1, 2)
Each = dict[str, list[float]]  # seconds a combination of each contender, by rounds


def main() -> int:
    given = arguments()
    rounds = given.rounds or (2 if given.quick else 7)
    try:
        text = "\n".join(report(given, rounds))
    except DisagreementError as wrong:
        print(f"The contenders disagree: {wrong}", file=sys.stderr)
        return 1
    print(text)
    if given.write:
        before, rest = README.read_text(encoding="utf-8").split(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time the scan of many combinations against a hand-written loop and vectorbt.")
    parser.add_argument("--quick", action="store_true", help="a month of minutes, small grids, two rounds: does it work, not how fast")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each contender's turn comes (default: 7)")
    parser.add_argument("--peers", metavar="DIR", type=Path, help="folder with peer_limit_numba.py or peer_vectorbt.py to time as well")
    parser.add_argument("--without-vectorbt", action="store_true", help="leave vectorbt out, which takes seconds to import")
    parser.add_argument(
        "--figure", metavar="FILE", type=Path, help="where to draw how the time grows (default with --write: scan_growth.svg)"
    )
    parser.add_argument("--write", action="store_true", help="replace the tables in benchmarks/README.md")
    return parser.parse_args()


def report(given: argparse.Namespace, rounds: int) -> list[str]:
    """All measurements, one after the other, as Markdown."""
    quick = given.quick
    short_data, long_data = task.generate(MONTH if quick else YEAR), task.generate(3 * MONTH if quick else FIVE_YEARS)
    usual, wide = (grids.peers_grid((4, 4, 4)), grids.wide_grid(5, 5)) if quick else (grids.peers_grid(), grids.wide_grid())
    lines = [*lead(rounds, given), "", *one_run(short_data, rounds), ""]
    lines += ["| a combination of a grid, one thread | bars | grid | trades each | µs each | scan, times as fast (least – most) |"]
    lines += ["|---|---:|---:|---:|---:|---:|"]
    checks: dict[str, float] = {}
    laid: dict[int, grids.Laid] = {}
    for data, grid in ((short_data, usual), (long_data, wide), (long_data, usual)):
        on = laid.setdefault(len(data), grids.Laid(data))
        lines += of_grid(Case(data, grid, on), given, rounds, checks)
    lines += ["", *threads(laid[len(long_data)], wide, rounds), ""]
    del laid, on
    counts, sides = (500, (5, 10, 10)) if quick else (10_000, (25, 20, 20))
    lines += ["", *sweep_lines(whole.measured(len(long_data), sides, max(THREADS))), ""]
    found = growth.panels(len(long_data), counts, (1, 2, 4, 8) if quick else (1, 2, 4, 8, 16, 32))
    lines += growth.rows(found)
    if figure := given.figure or (FIGURE if given.write else None):
        growth.draw(found, figure)
    lines += ["", "| checked in the same run, largest difference | |", "|---|---:|"]
    return lines + [f"| {name} | {value:.2g} |" for name, value in checks.items()]


def lead(rounds: int, given: argparse.Namespace) -> list[str]:
    made = machine()
    names = ("numpy", "pandas", "numba")
    libraries = [f"{name} {made[name]}" for name in names] + ([] if given.without_vectorbt else [f"vectorbt {version('vectorbt')}"])
    return [
        f"{rounds} rounds, one process; {made['cores']} cores, {made['processor']}, Python {made['python']}, {', '.join(libraries)}.",
        *busy(),
    ]


# ---------------------------------------------------------------- one run


def one_run(data: Data, rounds: int) -> list[str]:
    """The run with equity, and with all sources, as `run.py` takes them."""
    contenders = {**own(task.build_market(data)), LOOP: loop(data, fraction=task.FRACTION)}
    taken = interleaved(contenders, rounds)
    lines = [f"| one run of {len(data):,} bars | times the loop's duration (least – most) | M bars/s |", "|---|---:|---:|"]
    for name in (EQUITY, SOURCES):
        row = summary(name, taken, len(data))
        spread = f"({short(row['least ratio'])} – {short(row['most ratio'])})"
        lines.append(f"| {name} | **{short(row['ratio'])}** {spread} | {short(row['bars a second'] / 1e6)} |")
    return lines


# ---------------------------------------------------------------- the scan against the others


class Case:
    """Input, a grid, and some of its combinations for those who take longer."""

    def __init__(self, data: Data, grid: Floats, laid: grids.Laid) -> None:
        self.data, self.grid, self.laid = data, grid, laid
        order = np.random.default_rng(1).permutation(len(grid))
        self.some = order[: SOME[len(data) > YEAR]]
        self.few = self.some[:PORTFOLIOS]


def of_grid(case: Case, given: argparse.Namespace, rounds: int, checks: dict[str, float]) -> list[str]:
    """The rows of a grid: all contenders in turns, after they were checked."""
    portfolios = None if given.without_vectorbt else faster_vectorbt(case)
    trades = check(case, portfolios, checks)
    calls: dict[str, tuple[int, Callable[[], object]]] = {
        SCAN: (len(case.grid), lambda: case.laid.part(case.grid).work()),
        HAND: (len(case.some), lambda: grids.looped(case.data, case.grid[case.some], fraction=task.FRACTION)),
    }
    if given.peers:
        calls |= peers(case, given.peers)
    if portfolios:
        calls[f"{VECTORBT}, {portfolios.engine} engine"] = (len(case.few), lambda: portfolios.statistics(case.grid[case.few]))
    taken = in_turns(calls, rounds)
    lines = []
    for name, seconds in taken.items():
        ratios = [other / mine for other, mine in zip(seconds, taken[SCAN], strict=True)]
        told = "" if name == SCAN else f"**{short(median(ratios))}** ({short(min(ratios))} – {short(max(ratios))})"
        where = f"{len(case.data):,} | {len(case.grid):,} | {trades:,.0f}"
        lines.append(f"| {name} | {where} | {short(1e6 * median(seconds))} | {told} |")
    return lines


def in_turns(calls: dict[str, tuple[int, Callable[[], object]]], rounds: int) -> Each:
    """Seconds of the processor a combination: other programs on it don't count, though what they do to its caches does."""
    for _, call in calls.values():
        call()
    taken: Each = {name: [] for name in calls}
    for _ in range(rounds):
        for name, (count, call) in calls.items():
            begin = time.process_time()
            call()
            taken[name].append((time.process_time() - begin) / count)
    return taken


def faster_vectorbt(case: Case) -> grids.Vectorbt:
    """Vectorbt with its faster engine."""
    tried: list[tuple[float, grids.Vectorbt]] = []
    for engine in ("numba", "rust"):
        portfolios = grids.Vectorbt(case.data, engine)
        one = case.grid[case.few[:1]]
        try:
            portfolios.statistics(one)
        except ImportError:
            continue
        begin = time.process_time()
        portfolios.statistics(one)
        tried.append((time.process_time() - begin, portfolios))
    return min(tried, key=lambda item: item[0])[1]


def peers(case: Case, folder: Path) -> dict[str, tuple[int, Callable[[], object]]]:
    """The peers' own code on the same input and combinations; its thresholds are in basis points."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    data = case.data
    given = {"n": len(data), "spot": data.spot, "perp": data.perpetual, "prem": data.premium / grids.BASIS_POINT, "rate": data.rate}
    scaled = case.grid / [grids.BASIS_POINT, grids.BASIS_POINT, 1.0]
    calls: dict[str, tuple[int, Callable[[], object]]] = {}
    for label, name, places in ((PEERS_LOOP, "peer_limit_numba", case.some), (PEERS_VECTORBT, "peer_vectorbt", case.few)):
        if (folder / f"{name}.py").exists():
            module, grid = importlib.import_module(name), np.ascontiguousarray(scaled[places])
            calls[label] = (len(places), lambda module=module, grid=grid: module.sweep(given, grid))  # type: ignore[misc]
    return calls


def check(case: Case, portfolios: grids.Vectorbt | None, checks: dict[str, float]) -> float:
    """Scan, loop and vectorbt agree: raises DisagreementError. Returns trades a combination, on average.

    Vectorbt has no other size than a constant amount and pays costs at the bar of the decision: final equity and trades are compared with the loop's of that size.
    """
    part = case.laid.part(case.grid)
    part.work()
    table = case.laid.statistics(part)
    where = f"{len(case.data):,} bars, grid of {len(case.grid):,}"
    looped = grids.looped(case.data, case.grid[case.some], fraction=task.FRACTION)
    for column, name in zip((FINAL, DRAWDOWN, SQUARES, TRADES), KEPT, strict=True):
        apart = grids.difference(table[name].to_numpy()[case.some], looped[:, column])
        agree(f"{name}, scan against loop, {where}", apart, 0.0, 0.0 if column == TRADES else TOLERANCE)
        checks[f"scan against loop: {name.replace('_', ' ')}"] = max(apart, checks.get(f"scan against loop: {name.replace('_', ' ')}", 0.0))
    if portfolios:
        found, same = portfolios.statistics(case.grid[case.few]), grids.looped(case.data, case.grid[case.few], unit=task.UNIT)
        for column in (FINAL, TRADES):
            apart = grids.difference(found[:, column], same[:, column])
            agree(f"{KEPT[column]}, vectorbt against loop, {where}", apart, 0.0, TOLERANCE)
            checks[f"vectorbt against loop: {KEPT[column].replace('_', ' ')}"] = apart
    return float(table["trades"].mean())


# ---------------------------------------------------------------- threads


def threads(laid: grids.Laid, grid: Floats, rounds: int) -> list[str]:
    """The scan of the wide grid on one thread and on more, by the clock on the wall."""
    taken: dict[int, list[float]] = {count: [] for count in THREADS}
    for _ in range(rounds + 1):
        for count in THREADS:
            parts = [laid.part(grid[piece]) for piece in pieces_of(len(grid), count)]
            with ThreadPoolExecutor(count) as pool:
                begin = time.perf_counter()
                list(pool.map(Part.work, parts))
                taken[count].append(time.perf_counter() - begin)
    lines = ["| threads | seconds | times as fast as one (least – most) |", "|---:|---:|---:|"]
    for count, seconds in taken.items():
        ratios = [one / mine for one, mine in zip(taken[1][1:], seconds[1:], strict=True)]
        lines.append(
            f"| {count} | {short(median(seconds[1:]))} | **{short(median(ratios))}** ({short(min(ratios))} – {short(max(ratios))}) |"
        )
    return lines


# ---------------------------------------------------------------- a sweep as a user runs it


def sweep_lines(found: dict[str, Any]) -> list[str]:
    """Seconds, memory, and where the time goes."""
    head = f"| `bt.sweep` of {found['combinations']:,} combinations × {found['bars']:,} bars, {found['threads']} threads |"
    lines = [f"{head} first, s | again, s |", "|---|---:|---:|"]
    first, again = found["first"], found["again"]
    lines += [f"| **all, with the odds** | **{short(first['seconds'])}** | **{short(again['seconds'])}** |"]
    lines += [f"| {name} | {short(taken)} | {short(again['steps'][name])} |" for name, taken in first["steps"].items()]
    lines += ["", "| the highest memory of that process | MiB |", "|---|---:|"]
    lines += [f"| with the market made, before the sweep | {found['market']:,.0f} |", f"| after the first | **{first['peak']:,.0f}** |"]
    return [
        *lines,
        f"| after the second, while the first is still held | {again['peak']:,.0f} |",
        f"| of it the result | {short(found['result'])} |",
    ]


if __name__ == "__main__":
    sys.exit(main())
