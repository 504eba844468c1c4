"""A sweep as a user runs it, in a process of its own: seconds of the first and of the second, its peak memory, and where the time goes.

Functions of the package are wrapped by clocks: the outermost that runs has the time. What none of them has is the rest.
"""

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grids
import numpy as np
import task

import backtest as bt
from backtest import scan

# What is wrapped, by what it does; a name that is no more there is passed over.
STEPS = {
    "rules, in Python": ("Grid._rule", "shape_key", "check_thresholds", "check_leverage", "rule_record"),
    "laying out what they read": ("prepare", "check_known", "check_instants", "sums_of", "join"),
    "the scan": ("scan_group",),
    "statistics": ("Part.report",),
}
REST, ODDS = "tables, index, baseline", "odds of luck"
MEBI = 1024.0**2


def measured(bars: int, sides: tuple[int, int, int], threads: int) -> dict[str, Any]:
    """What `worker` says of a sweep in a fresh process; one before it compiles what is not compiled yet."""
    for size, counts in ((task.FUNDING_EVERY * 90, (2, 2, 2)), (bars, sides)):
        asked = json.dumps([size, counts, threads])
        done = subprocess.run([sys.executable, __file__, asked], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the sweep in its own process failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def worker(bars: int, sides: tuple[int, int, int], threads: int) -> dict[str, Any]:
    """Sweep twice over a market in memory. Memory: the highest that the process had so far, in MiB."""
    market = task.build_market(task.generate(bars))
    found: dict[str, Any] = {"bars": bars, "threads": threads, "market": peak()}
    clocks = Clocks()
    for turn in ("first", "again"):
        clocks.taken.clear()
        begin = time.perf_counter()
        swept = sweep(market, sides, threads)
        seconds = time.perf_counter() - begin
        begin = time.perf_counter()
        luck = swept.luck
        odds = time.perf_counter() - begin
        steps = {name: clocks.taken[name] for name in STEPS}
        found[turn] = {
            "seconds": seconds + odds,
            "steps": {**steps, REST: seconds - sum(steps.values()), ODDS: odds},
            "peak": peak(),
            "deflated": luck.deflated_sharpe,
        }
    found["combinations"], found["trades"] = len(swept.table), float(swept.table["trades"].mean())
    found["jumped"] = float(swept.table["jumped"].mean())
    found["result"] = (swept.daily.to_numpy().nbytes + swept.table.to_numpy().nbytes) / MEBI
    return found


def sweep(market: bt.Market, sides: tuple[int, int, int], threads: int) -> bt.Sweep:
    """Thresholds from those that are met daily to those that are hardly ever met, and longest holds of 3 to 60 days."""
    enter, leave, holds = sides
    return bt.sweep(
        grids.Carry,
        market,
        capital=task.CAPITAL,
        execution=task.execution(),
        threads=threads,
        enter=list(np.linspace(6, 40, enter) * grids.BASIS_POINT),
        exit=list(np.linspace(-20, 5, leave) * grids.BASIS_POINT),
        hold=[int(hold) for hold in np.linspace(3 * grids.DAY, 60 * grids.DAY, holds)],
    )


def peak() -> float:
    """Of this process; `getrusage` would tell of the one that started it as well, where that had more."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024.0 * int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0]) / MEBI
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / MEBI if sys.platform == "darwin" else 1024.0 * most / MEBI


class Clocks:
    """The seconds that each step took so far, without those of the steps inside it."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self._inside: list[float] = []
        for step, names in STEPS.items():
            for name in names:
                owner, _, attribute = name.rpartition(".")
                place: Any = getattr(scan, owner) if owner else scan
                if call := getattr(place, attribute, None):
                    setattr(place, attribute, self._timed(step, call))

    def _timed(self, step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            self._inside.append(0.0)
            begin = time.perf_counter()
            try:
                return call(*given, **named)
            finally:
                took = time.perf_counter() - begin
                self.taken[step] += took - self._inside.pop()
                if self._inside:
                    self._inside[-1] += took

        return timed


if __name__ == "__main__":
    print(json.dumps(worker(*json.loads(sys.argv[1]))))
