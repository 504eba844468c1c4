"""Time the plain run of this working copy against another commit's, in turns: what do features cost that are not used?

python benchmarks/against.py HEAD~20            # a year of minutes, 15 rounds
python benchmarks/against.py v0.1.0 --rounds 30

Each version runs in a process of its own with its own task and contenders, and they take turns; a ratio is that of one round. The figure to look at is the median.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
WORKER = """
import sys, time
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/benchmarks"]
import task, contenders
runs = contenders.own(task.build_market(task.generate(int(sys.argv[2]))))
for run in runs.values():
    run()
for line in sys.stdin:
    run, best = runs[line.strip()], 1e9
    until = time.perf_counter() + 0.25
    while time.perf_counter() < until:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    print(best, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="what to compare with, as git names it")
    parser.add_argument("--bars", type=int, default=525_600, metavar="N", help="minutes of input (default: a year)")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="how often each version's turn comes (default: 15)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", given.commit], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        workers = {"then": worker(folder, given.bars), "now": worker(str(ROOT), given.bars)}
        for name in ("carry-backtest, equity", "carry-backtest, twelve sources"):
            taken: dict[str, list[float]] = {which: [] for which in workers}
            for _ in range(given.rounds):
                for which, process in workers.items():
                    taken[which].append(float(ask(process, name)))
            ratios = [now / then for then, now in zip(taken["then"], taken["now"], strict=True)]
            print(
                f"{name}: {median(ratios):.3f} times {given.commit} (least {min(ratios):.3f}, most {max(ratios):.3f}), {1e3 * median(taken['now']):.3f} ms"
            )
        for process in workers.values():
            process.terminate()


def worker(root: str, bars: int) -> "subprocess.Popen[str]":
    """A version of the package, waiting for its turn."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, root, str(bars)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def ask(process: "subprocess.Popen[str]", name: str) -> str:
    """One turn: the fastest call in a quarter of a second."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(name + "\n")
    process.stdin.flush()
    return process.stdout.readline()


if __name__ == "__main__":
    main()
