"""Time rolling z-score and percentile rank against the libraries that do the same; check that the answers agree, print the ratios.

python benchmarks/rolling.py            # five years of minutes, about four minutes
python benchmarks/rolling.py --quick    # a twentieth of it, to see that it works
python benchmarks/rolling.py --write    # and put the table into benchmarks/README.md

pip install bottleneck numbagg polars   # peers; one that is not installed is left out, and said so
"""

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

ONE_THREAD = ("POLARS_MAX_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # read when the libraries are imported

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from measure import fastest  # noqa: E402
from run import busy, machine, short  # noqa: E402

from backtest import rolling  # noqa: E402

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- rolling: written by rolling.py --write -->", "<!-- end of rolling -->"
MINUTES = 5 * 525_600
WINDOWS = (24, 720, 8_760, 525_600, None)
FEWEST, STEP = 5, 60 * 10**9
OURS = "carry-backtest"
SLOWEST_WINDOW = 1_000  # bottleneck's rank compares all values of a window with the newest: minutes for longer ones
Call = Callable[[], Any]


def main() -> int:
    parser = argparse.ArgumentParser(description="Time rolling z-score and rank against the libraries that do the same.")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the bars: does it work, not how fast")
    parser.add_argument("--write", action="store_true", help="replace the table in benchmarks/README.md")
    given = parser.parse_args()
    bars, rounds = (MINUTES // 20, 2) if given.quick else (MINUTES, 5)
    peers, notes = installed()
    stamps, values = made(bars)
    text = "\n".join([*lead(bars, rounds, peers), *notes, "", *table(stamps, values, peers, rounds)])
    print(text)
    if given.write:
        before, rest = README.read_text(encoding="utf-8").split(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    return 0


def installed() -> tuple[dict[str, Any], list[str]]:
    """The peers by name, and a sentence on those that are missing."""
    found, missing = {"pandas": pd}, []
    for name in ("bottleneck", "numbagg", "polars"):
        try:
            found[name] = importlib.import_module(name)
        except ImportError:
            missing.append(name)
    return found, [f"Not installed, so left out: {', '.join(missing)}."] if missing else []


def made(bars: int) -> tuple[Any, Any]:
    """Stamps of minutes, and a premium that wanders, from a seed."""
    draw = np.random.default_rng(6)
    return STEP * np.arange(1, bars + 1), 0.05 + 1e-4 * np.cumsum(draw.normal(size=bars)) + 1e-3 * draw.normal(size=bars)


def lead(bars: int, rounds: int, peers: dict[str, Any]) -> list[str]:
    where = machine()
    versions = ", ".join(f"{name} {version(name)}" for name in peers)
    return [
        f"{bars:,} values, {rounds} rounds, one process, one thread; {where['cores']} cores, {where['processor']}, Python {where['python']}, "
        f"numpy {where['numpy']}, numba {where['numba']}, {versions}.",
        *busy(),
    ]


# ---------------------------------------------------------------- who takes part


def scores(stamps: Any, values: Any, window: int | None, peers: dict[str, Any]) -> dict[str, Call]:
    """Z-score: (value − mean)/deviation, in each library's words."""
    span, bars = rolling.FOREVER if window is None else window * STEP, min(window or len(values), len(values))
    calls: dict[str, Call] = {OURS: lambda: rolling.zscore(stamps, values, span, FEWEST)}
    column = pd.Series(values)
    rolled = column.expanding(FEWEST) if window is None else column.rolling(window, min_periods=FEWEST)
    calls["pandas"] = lambda: (column - rolled.mean()) / rolled.std()
    if bottleneck := peers.get("bottleneck"):
        calls["bottleneck"] = lambda: (
            (values - bottleneck.move_mean(values, bars, min_count=FEWEST)) / bottleneck.move_std(values, bars, min_count=FEWEST, ddof=1)
        )
    if numbagg := peers.get("numbagg"):
        calls["numbagg"] = lambda: (
            (values - numbagg.move_mean(values, window=bars, min_count=FEWEST)) / numbagg.move_std(values, window=bars, min_count=FEWEST)
        )
    if polars := peers.get("polars"):
        series = polars.Series(values)
        calls["polars"] = lambda: (series - series.rolling_mean(bars, min_samples=FEWEST)) / series.rolling_std(bars, min_samples=FEWEST)
    return calls


def ranks(stamps: Any, values: Any, window: int | None, peers: dict[str, Any]) -> dict[str, Call]:
    """Percentile rank of the newest value; numbagg has none, bottleneck's counts from −1 to 1, polars' is no fraction of the count."""
    span, bars = rolling.FOREVER if window is None else window * STEP, min(window or len(values), len(values))
    calls: dict[str, Call] = {OURS: lambda: rolling.rank(stamps, values, span, FEWEST)}
    column = pd.Series(values)
    rolled = column.expanding(FEWEST) if window is None else column.rolling(window, min_periods=FEWEST)
    calls["pandas"] = lambda: rolled.rank(pct=True)
    counts = np.minimum(np.arange(1.0, len(values) + 1.0), bars)
    if (bottleneck := peers.get("bottleneck")) and bars <= SLOWEST_WINDOW:
        calls["bottleneck"] = lambda: ((bottleneck.move_rank(values, bars, min_count=FEWEST) + 1.0) / 2.0 * (counts - 1.0) + 1.0) / counts
    if polars := peers.get("polars"):
        series = polars.Series(values)
        calls["polars"] = lambda: series.rolling_rank(bars, method="average", min_samples=FEWEST).to_numpy() / counts
    return calls


# ---------------------------------------------------------------- the table


def table(stamps: Any, values: Any, peers: dict[str, Any], rounds: int) -> list[str]:
    """A row a task and window: our milliseconds, and how many times as long each library takes."""
    rows = [
        f"| | window | {OURS}, ms | " + " | ".join(f"{name}, times ours" for name in peers) + " |",
        "|---|---:|---:|" + "---:|" * len(peers),
    ]
    for task, contenders in (("z-score", scores), ("percentile rank", ranks)):
        for window in WINDOWS:
            calls = contenders(stamps, values, window, peers)
            check(task, calls)
            taken = turns(calls, rounds)
            cells = [ratio(taken[name], taken[OURS]) if name in taken else "" for name in peers]
            named = "expanding" if window is None else f"{window:,}"
            rows.append(f"| {task} | {named} | {short(median(taken[OURS]) * 1e3)} | " + " | ".join(cells) + " |")
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def check(task: str, calls: dict[str, Call]) -> None:
    """All say the same, unknown where unknown; the others' rounding drifts, so that z-scores agree to 1e-4 only."""
    expected = calls[OURS]()
    for name, call in calls.items():
        np.testing.assert_allclose(np.asarray(call(), float), expected, rtol=1e-4, atol=1e-4, err_msg=f"{task} of {name}")


def turns(calls: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, in turns; of calls that are short, the fastest of a few."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            once = fastest(call, 1)
            taken[name].append(min(once, fastest(call, 5)) if once < 0.3 else once)
    return taken


def ratio(theirs: list[float], ours: list[float]) -> str:
    """The median of the ratios within the rounds, with the least and the most."""
    ratios = [one / other for one, other in zip(theirs, ours, strict=True)]
    return f"**{short(median(ratios))}** ({short(min(ratios))} – {short(max(ratios))})"


if __name__ == "__main__":
    sys.exit(main())
