"""Proof that the suite can fail: known faults are put into a copy of the engine, one at a time, and the quick tests must catch every one.

    python tests/mutations.py               # all of them, one line each; exit code 1 if one survives
    python tests/mutations.py funding fee   # those whose names contain one of the words

The table of faults is in `faults.py`. The quick tests are the golden cases, then the tests at the end of this file, without the compiler.
A text that isn't found exactly once is an error, so the table can't rot.
"""

import compileall
import contextlib
import functools
import importlib
import io
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[1]
AT_A_TIME, LONGEST = 2, 240
# What numpy says of 0/0 it says only without the compiler: that catches nothing here.
PLAIN_OPTIONS = "-x -q --assert=plain -p no:cacheprovider -p no:xdist -p no:unraisableexception -W error -W ignore::RuntimeWarning"
QUICK_TESTS = (
    "test_golden",
    "test_golden_margin",
    "test_golden_orders",
    "test_golden_inverse",
    "test_golden_desk",
    "test_coins",
    "mutations",
)
DESK_SEEDS = (*range(30), 39, 40, 69, 70, 80, 96, 138)  # the later ones each know a fault that no earlier one knows
SEEDS, WALKED_DESK_SEEDS, WALKED_SEEDS = range(20), range(10), range(20)
BOXED_SEEDS, WITH_WALLETS, CHANGED_SEEDS = (*range(10), 27, 123, 135, 136, 167, 179), (69, 93), range(12)


# ---------------------------------------------------------------- running


def copy_of_the_engine(folder: Path) -> None:
    for name in ("backtest", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(folder, quiet=2)


def inject(one: Fault, folder: Path) -> str:
    """Replace the texts; a complaint if one of them isn't there exactly once."""
    path = folder / one.file
    text = path.read_text()
    for old, new in one.changes:
        if text.count(old) != 1:
            return f"{one.file} has this text {text.count(old)} times, not once: {old.strip()!r}"
        text = text.replace(old, new)
    path.write_text(text)
    return ""


class FirstFailure:
    """A pytest plugin that keeps the name of the first failing test and what it says."""

    text = ""

    def keep(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed and not self.text:
            message = getattr(getattr(report.longrepr, "reprcrash", None), "message", str(report.longrepr))
            self.text = f"{report.nodeid.split('::')[-1]}: {' '.join(message.split())}"

    pytest_runtest_logreport = pytest_collectreport = keep


def by_attribute(advance: Callable[..., int]) -> Callable[..., int]:
    """The loop, given what it can read without the compiler: there a record has its fields as attributes only if its array is a `recarray`."""

    def run(accounts: Any, legs: Any, rules: Any, terms: Any, pool: Any, tapes: Any, opened: int, *rest: Any) -> int:
        shared = np.array([pool], pool.dtype).view(np.recarray)
        logs, others = [log.view(np.recarray) for log in rest[:3]], [each.view(np.recarray) for each in (accounts, legs, rules, terms)]
        bar = advance(*others, shared[0], tapes, opened, *logs, *rest[3:])
        for name in pool.dtype.names:
            pool[name] = shared[0][name]
        return bar

    return run


def quick_tests(folder: Path, begin_with: str) -> str:
    """The first failing test and what it says; empty if all pass."""
    sys.path[:] = [str(folder), *(place for place in sys.path if Path(place).resolve() not in (ROOT, ROOT / "tests"))]
    os.chdir(folder)
    kernels = importlib.import_module("backtest.kernels")
    kernels.__dict__["advance"] = by_attribute(kernels.advance)
    first = FirstFailure()
    # Hypothesis would shrink its example for minutes; what its tests claim is claimed by the others too.
    options = ["-m", "not hypothesis", "-c", os.devnull, "--rootdir", str(folder), *PLAIN_OPTIONS.split()]
    for name in sorted(QUICK_TESTS, key=lambda name: (name != begin_with, name != "mutations")):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            code = pytest.main([*options, f"tests/{name}.py"], plugins=[first])
        assert Path(sys.modules["backtest"].__file__ or "").is_relative_to(folder), "the tests ran against another copy"
        if first.text or code != 0:
            return first.text or f"pytest ended with {code}: {said.getvalue()[-300:]}"
    return ""


def take_too_long(*_: object) -> None:
    raise TimeoutError(f"not done after {LONGEST} s")


def trial(whole: Path, one: Fault | None) -> tuple[bool, str]:
    """Whether the fault was caught (without one: whether all tests pass), and the line to print. Runs in a process of its own, on a copy of the whole engine."""
    begin = time.perf_counter()
    signal.signal(signal.SIGALRM, take_too_long)
    signal.alarm(LONGEST)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        shutil.copytree(whole, folder, dirs_exist_ok=True)
        complaint = inject(one, folder) if one is not None else ""
        failure = "" if complaint else quick_tests(folder, one.first if one is not None else "")
        os.chdir(ROOT)
    good = not complaint and bool(failure) == (one is not None)
    verdict = complaint or failure or ("SURVIVED" if one is not None else "all tests pass")
    return good, f"{one.name if one is not None else 'no fault'} | {verdict[:150]} | {time.perf_counter() - begin:.1f} s"


def main(words: list[str]) -> int:
    chosen = [one for one in FAULTS if not words or any(word in one.name for word in words)]
    if not chosen:
        print(f"no fault is called {' or '.join(words)}")
        return 2
    begin, as_expected = time.perf_counter(), 0
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    processes = multiprocessing.get_context("forkserver")  # each trial begins with the imports done
    processes.set_forkserver_preload(["numba", "pandas", "hypothesis", "pytest"])
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(AT_A_TIME, mp_context=processes, max_tasks_per_child=1) as pool:
        copy_of_the_engine(Path(name))
        for good, line in pool.map(functools.partial(trial, Path(name)), [None, *chosen]):
            print(line, flush=True)
            as_expected += good
    print(
        f"{as_expected} of {len(chosen) + 1} trials as expected, {len(chosen)} of them with a fault, in {time.perf_counter() - begin:.0f} s"
    )
    return 0 if as_expected == len(chosen) + 1 else 1


# ---------------------------------------------------------------- quick tests beside the golden cases; pytest finds them only when given this file


@pytest.mark.parametrize("seed", DESK_SEEDS)
def test_kernel_and_judge_agree_on_desk_cases(seed: int) -> None:
    import test_kernel

    test_kernel.compare_desk(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_kernel_and_judge_agree(seed: int) -> None:
    import test_kernel

    test_kernel.compare(seed)


@pytest.mark.parametrize("seed", WALKED_DESK_SEEDS)
def test_jumping_equals_walking_on_desk_cases(seed: int) -> None:
    import test_kernel

    test_kernel.test_jumping_from_event_to_event_equals_walking_every_bar(test_kernel.desk_case, seed)


@pytest.mark.parametrize("seed", WALKED_SEEDS)
def test_jumping_equals_walking(seed: int) -> None:
    import test_kernel

    test_kernel.test_jumping_from_event_to_event_equals_walking_every_bar(test_kernel.plain, seed)


@pytest.mark.parametrize("seed", BOXED_SEEDS + WITH_WALLETS)
def test_kernel_and_judge_agree_where_nothing_walks(seed: int) -> None:
    """Nearly every desk case has a feature that walks; without those the others have to be jumped over."""
    import test_kernel

    desk = test_kernel.desk_case(seed)
    if len(desk.market.coin_open):
        return
    walking = ("exposure", "drawdown", "pause", "max_spread", "min_depth", "top_up", "deleveraged_at")
    wallets = desk.rule.wallets if seed in WITH_WALLETS else None
    rule = replace(desk.rule, **dict.fromkeys(walking), deleveraged_gap=0.0, wallets=wallets)
    beside = desk.beside._replace(available=None, recalled_at=None)
    test_kernel.both(replace(desk.market, borrow_available=()), rule, desk.capital, beside)


@pytest.mark.parametrize("seed", CHANGED_SEEDS)
def test_kernel_and_judge_agree_where_tiers_change(seed: int) -> None:
    import test_kernel

    market, rule, capital = test_kernel.generators.case(seed)
    changes = [(market.stamps[len(market.stamps) // 2], {"tiers": [(0.0, 0.05, 0.0)]})]
    long, short = (slot and replace(slot, changes=changes) for slot in (rule.long, rule.short))
    test_kernel.both(market, replace(rule, long=long, short=short), capital)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
