"""Time the package on one task against a hand-written loop and vectorbt; print the table, check that all of them earned the same.

python benchmarks/run.py            # a year of minutes
python benchmarks/run.py --quick    # a month, to see that it works
python benchmarks/run.py --write    # and put the table into benchmarks/README.md
"""

import argparse
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import task
from contenders import EQUITY, LOOP, SOURCES, VECTORBT, Contender, Outcome, equity_of, loop, own, peers, prepared_run, vectorbt
from measure import cold_start, fastest, interleaved, pieces

from backtest.simulate import simulate

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- table: written by run.py --write -->", "<!-- end of table -->"
MONTH = 43_200
TOLERANCE = 1e-9  # of capital


class DisagreementError(Exception):
    """Two contenders that must earn the same don't."""


def main() -> int:
    given = arguments()
    bars = given.bars or (MONTH if given.quick else task.YEAR_OF_MINUTES)
    rounds = given.rounds or (3 if given.quick else 9)
    data = task.generate(bars)
    market = task.build_market(data)
    contenders, notes = entrants(data, market, given)
    try:
        checks = check(data, contenders)
    except DisagreementError as wrong:
        print(f"The contenders disagree: {wrong}", file=sys.stderr)
        return 1
    taken = interleaved(contenders, rounds)
    found = {
        "bars": bars,
        "rounds": rounds,
        "machine": machine(),
        "contenders": {name: summary(name, taken, bars) for name in contenders},
        "pieces": {name: {"seconds": value, "ratio": value / median(taken[LOOP])} for name, value in pieces(data, market, rounds).items()},
        "cold start": cold_start(3 if given.quick else 7),
        "checks": checks,
        "notes": notes,
    }
    text = tables(found)
    print(text)
    if given.json:
        Path(given.json).write_text(json.dumps(found, indent=2) + "\n")
    if given.write:
        write(text)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time the package on one task, against a hand-written loop and vectorbt.")
    parser.add_argument("--quick", action="store_true", help="a month of minutes and three rounds: does it work, not how fast")
    parser.add_argument("--bars", type=int, metavar="N", help="minutes of input (default: a year)")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each contender's turn comes (default: 9)")
    parser.add_argument("--json", metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--peers", metavar="DIR", type=Path, help="folder with peer_limit_numba.py or peer_vectorbt.py to time as well")
    parser.add_argument("--without-vectorbt", action="store_true", help="leave vectorbt out, which takes seconds to import")
    parser.add_argument("--write", action="store_true", help="replace the table in benchmarks/README.md")
    return parser.parse_args()


# ---------------------------------------------------------------- who takes part


def entrants(data: task.Data, market: Any, given: argparse.Namespace) -> tuple[dict[str, Contender], list[str]]:
    """The contenders by name, in the order of their turns, and what a reader must know of them."""
    contenders, notes = own(market), busy()
    contenders[LOOP] = loop(data, fraction=task.FRACTION)
    if not given.without_vectorbt:
        engine, contenders[VECTORBT] = faster_engine(data)
        notes.append(f"vectorbt {version('vectorbt')} with its {engine} engine, the faster of its two here.")
    if given.peers:
        contenders |= peers(given.peers, data)
    return contenders, notes


def busy() -> list[str]:
    """A sentence if other programs use the machine: contenders that move more memory suffer more from them than the loop does."""
    load, cores = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0, os.cpu_count() or 1
    return [f"**The machine was busy (load {load:.1f} on {cores} cores): measure again when it is idle.**"] if load > 0.75 * cores else []


def faster_engine(data: task.Data) -> tuple[str, Contender]:
    """Vectorbt's faster engine, each called once before."""
    tried: list[tuple[float, str, Contender]] = []
    for engine in ("numba", "rust"):
        run = vectorbt(data, engine)
        try:
            run()
        except ImportError:
            continue
        tried.append((fastest(run, 3), engine, run))
    _, engine, run = min(tried, key=lambda item: item[0])
    return engine, run


# ---------------------------------------------------------------- do they agree


def check(data: task.Data, contenders: dict[str, Contender]) -> dict[str, float]:
    """Same trades and same profit; raises DisagreementError. Differences are fractions of capital.

    Ours fills one bar after the decision, at the same price: at the closes of decisions it has not paid the costs yet, everywhere else equity is the same.
    """
    with_sources, ours = contenders[SOURCES](), contenders[EQUITY]()
    same_size, same_amount = loop(data, fraction=task.FRACTION)(), loop(data, unit=task.UNIT)()
    assert with_sources.sources is not None
    assert same_size.acted is not None
    decided_last = same_size.trades > 0 and same_size.acted[same_size.trades - 1] == len(data) - 1
    agree("trades", ours.trades, same_size.trades - int(decided_last), 0)
    elsewhere = np.ones(len(data), bool)
    elsewhere[same_size.acted] = False
    checks = {
        "trades": float(ours.trades),
        "profit": float(ours.equity[-1] - task.CAPITAL),
        "equity against the loop": largest((ours.equity - same_size.equity)[elsewhere]),
        "sources against equity": largest(with_sources.sources.sum(axis=0) - (with_sources.equity - task.CAPITAL)),
        "jumping against walking": largest(walked(data).equity - ours.equity),
    }
    for name, run in contenders.items():
        if name not in (EQUITY, SOURCES, LOOP):
            found = run()
            agree(f"trades of {name}", found.trades, same_amount.trades, 0)
            checks[f"equity of {name} against the loop with its size"] = largest(found.equity - same_amount.equity)
    for name, value in checks.items():
        if " against " in name:
            agree(name, value, 0.0, TOLERANCE)
    return checks


def walked(data: task.Data) -> Outcome:
    """The package taking its step at every bar."""
    prepared = prepared_run(task.build_market(data))
    log = simulate(prepared, task.CAPITAL, jump=False)
    return Outcome(len(log.trades), equity_of(prepared, log))


def largest(difference: Any) -> float:
    return float(np.max(np.abs(difference), initial=0.0) / task.CAPITAL)


def agree(what: str, found: float, expected: float, tolerance: float) -> None:
    if not abs(found - expected) <= tolerance:
        raise DisagreementError(f"{what}: {found:g}, expected {expected:g} within {tolerance:g}")


# ---------------------------------------------------------------- tables


def summary(name: str, taken: dict[str, list[float]], bars: int) -> dict[str, float]:
    """Median over the rounds of seconds; median of the ratios to the loop's turn in the same round, with the smallest and the largest; bars a second."""
    ratios = [mine / limit for mine, limit in zip(taken[name], taken[LOOP], strict=True)]
    return {
        "seconds": median(taken[name]),
        "ratio": median(ratios),
        "least ratio": min(ratios),
        "most ratio": max(ratios),
        "bars a second": bars / median(taken[name]),
    }


def machine() -> dict[str, str | int]:
    packages = {name: version(name) for name in ("numpy", "pandas", "numba")}
    return {"processor": platform.machine(), "cores": os.cpu_count() or 0, "python": platform.python_version(), **packages}


def tables(found: dict[str, Any]) -> str:
    """All figures as Markdown, ratios first."""
    made = found["machine"]
    where = f"{made['cores']} cores, {made['processor']}, Python {made['python']}, numpy {made['numpy']}, pandas {made['pandas']}, numba {made['numba']}"
    lines = [
        f"{found['bars']:,} bars, {found['checks']['trades']:,.0f} trades, {found['rounds']} rounds, one process, one thread; {where}.",
        *found["notes"],
        "",
        "| one run | times the loop's duration (least – most) | M bars/s |",
        "|---|---:|---:|",
    ]
    for name, row in found["contenders"].items():
        spread = f"({short(row['least ratio'])} – {short(row['most ratio'])})"
        lines.append(f"| {name} | **{short(row['ratio'])}** {spread} | {short(row['bars a second'] / 1e6)} |")
    lines += ["", "| a piece of a run | times the loop's duration | ms |", "|---|---:|---:|"]
    lines += [f"| {name} | {short(row['ratio'])} | {short(row['seconds'] * 1e3)} |" for name, row in found["pieces"].items()]
    lines += ["", "| a fresh interpreter | times `import pandas` | s |", "|---|---:|---:|"]
    pandas = found["cold start"]["import pandas"]
    lines += [f"| `{name}` | {short(value / pandas)} | {value:.2f} |" for name, value in found["cold start"].items()]
    lines += ["", "| checked in the same run | |", "|---|---:|"]
    lines += [f"| {name} | {value:.2g} of capital |" for name, value in found["checks"].items() if " against " in name]
    return "\n".join(lines)


def short(value: float) -> str:
    """Three digits or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write(text: str) -> None:
    """Put the tables between the markers of the README."""
    page = README.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
