"""Proof that the suite can fail: known faults are put into a copy of the engine, one at a time, and the quick tests must catch every one.

    python tests/mutations.py               # all of them, one line each; exit code 1 if one survives
    python tests/mutations.py funding fee   # those whose names contain one of the words
    python tests/mutations.py 1/3           # every third one, from the second on

The tables of faults are `faults.py` and `faults_scan.py`. The quick tests are the golden cases, those of chains, and the tests at the end of this file, without the compiler.
A text that isn't found exactly once is an error, so the table can't rot.
"""

import compileall
import contextlib
import functools
import importlib
import io
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import FAULTS as OF_THE_STEP
from faults import Fault
from faults_scan import SCAN_FAULTS

ROOT = Path(__file__).resolve().parents[1]
FAULTS = [*OF_THE_STEP, *SCAN_FAULTS]
AT_A_TIME, LONGEST = 2, 240
# What numpy says of 0/0 it says only without the compiler: that catches nothing here.
PLAIN_OPTIONS = "-x -q --assert=plain --tb=native -p _hypothesis_pytestplugin -p no:cacheprovider -p no:unraisableexception -W error -W ignore::RuntimeWarning"
# What a trial would import anew, beside the engine and its tests.
PRELOADED = (
    "numba", "numba.core.unsafe.bytes", "numba.np.arrayobj", "pandas", "pandas.core.methods.to_dict", "pandas.io.formats.string", "pyarrow.pandas_compat",
    "hypothesis", "_hypothesis_pytestplugin", "pytest", "_pytest.faulthandler", "_pytest.helpconfig", "_pytest.junitxml", "_pytest.pastebin", "_pytest.setuponly",
    "_pytest.setupplan", "_pytest.skipping", "_pytest.threadexception", "_pytest.tracemalloc", "_pytest.unittest", "_pytest.warnings", "pdb", "statistics",
    "urllib.request",
)  # fmt: skip
QUICK_TESTS = (
    "test_golden",
    "test_golden_margin",
    "test_golden_orders",
    "test_golden_inverse",
    "test_golden_desk",
    "test_coins",
    "test_golden_book",
    "test_chains",
    "mutations",
)
DESK_SEEDS = (*range(30), 39, 40, 69, 70, 80, 96, 138)  # the later ones each know a fault that no earlier one knows
SEEDS, WALKED_DESK_SEEDS, WALKED_SEEDS = range(20), range(10), range(20)
BOXED_SEEDS, WITH_WALLETS, CHANGED_SEEDS = (*range(10), 27, 123, 135, 136, 167, 179), (69, 93), range(12)
MADE = (
    "enters while others hold", "falls and recovers", "another grows", "one sells before the other buys", "a top-up of what has accrued", "a loss of interest",
    "drawn from a wallet", "resized out of a wallet", "delivered",
)  # fmt: skip
BOOK_SEEDS = (11, 13, 18, 0, 1, 4, 26)


# ---------------------------------------------------------------- running


def needed() -> set[str]:
    """The test files that a fault's tests are in, or that those name."""
    names = {path.stem: set(re.findall(r"\btest_\w+", path.read_text(encoding="utf-8"))) for path in (ROOT / "tests").glob("*.py")}
    wanted = {"mutations", *QUICK_TESTS, *(fault.first.partition("::")[0] for fault in FAULTS)}
    while more := {name for one in wanted for name in names.get(one, ()) if name in names} - wanted:
        wanted |= more
    return wanted


def copy_of_the_engine(folder: Path) -> None:
    """The engine and what its quick tests need, compiled; other tests are left out, as each trial has a copy."""
    for name in ("backtest", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    keep = needed()
    for path in (folder / "tests").glob("test_*.py"):
        if path.stem not in keep:
            path.unlink()
    compileall.compile_dir(folder, quiet=2)


def inject(one: Fault, folder: Path) -> str:
    """Replace the texts; a complaint if one of them isn't there exactly once."""
    path = folder / one.file
    text = path.read_text()
    for old, new in one.changes:
        if text.count(old) != 1:
            return f"{one.file} has this text {text.count(old)} times, not once: {old.strip()!r}"
        text = text.replace(old, new)
    path.unlink()  # its text is shared with the whole copy and with other trials
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


def fields_by_attribute(value: Any) -> Any:
    """An array of records as a `recarray`, also within a tuple of arrays."""
    if hasattr(value, "_replace"):
        return value._replace(**{name: fields_by_attribute(each) for name, each in value._asdict().items()})
    return value.view(np.recarray) if isinstance(value, np.ndarray) and value.dtype.names else value


def readable(compiled: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that gets arrays of records, given what it can read without the compiler."""
    return lambda *given: compiled(*map(fields_by_attribute, given))


def quick_tests(folder: Path, begin_with: Collection[str]) -> str:
    """The first failing test and what it says; empty if all pass. begin_with: files, or tests as file::test."""
    sys.path[:] = [str(folder), *(place for place in sys.path if Path(place).resolve() not in (ROOT, ROOT / "tests"))]
    os.chdir(folder)
    kernels = importlib.import_module("backtest.kernels")
    kernels.__dict__["advance"] = by_attribute(kernels.advance)
    for name in ("scan", "summarise"):
        kernels.__dict__[name] = readable(getattr(kernels, name))
    first = FirstFailure()
    # Hypothesis would shrink its example for minutes; what its tests claim is claimed by the others too.
    options = ["-m", "not hypothesis", "-c", os.devnull, "--rootdir", str(folder), *PLAIN_OPTIONS.split()]
    files = {name.partition("::")[0] for name in begin_with}
    order = sorted(QUICK_TESTS, key=lambda name: (name not in files, name != "mutations"))
    alone = [f"tests/{name.replace('::', '.py::')}" for name in begin_with if "::" in name]
    for places in ([alone] if alone else []) + [[f"tests/{name}.py"] for name in order]:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            code = pytest.main([*options, *places], plugins=[first])
        assert Path(sys.modules["backtest"].__file__ or "").is_relative_to(folder), "the tests ran against another copy"
        if first.text or code != 0:
            return first.text or f"pytest ended with {code}: {said.getvalue()[-300:]}"
    return ""


def take_too_long(*_: object) -> None:
    raise TimeoutError("not done in time")


def trial(whole: Path, one: Fault | None) -> tuple[bool, str]:
    """Whether the fault was caught (without one: whether all tests pass), and the line to print. Runs in a process of its own, on a copy of the whole engine."""
    begin = time.perf_counter()
    signal.signal(signal.SIGALRM, take_too_long)
    signal.alarm(LONGEST if one is not None else 3 * LONGEST)  # without a fault, all tests run
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        shutil.copytree(whole, folder, dirs_exist_ok=True, copy_function=os.link)
        complaint = inject(one, folder) if one is not None else ""
        # Without a fault, whatever any fault begins with must be there and pass: a test that isn't found would count as one that fails.
        begin_with = [one.first] if one is not None else sorted({fault.first for fault in FAULTS})
        failure = ""
        try:
            failure = "" if complaint else quick_tests(folder, begin_with)
        except Exception as error:  # nothing that a test said: the copy can't be imported, or it took too long
            complaint = f"{type(error).__name__}: {error}"
        os.chdir(ROOT)
    good = not complaint and bool(failure) == (one is not None)
    verdict = complaint or failure or ("SURVIVED" if one is not None else "all tests pass")
    return good, f"{one.name if one is not None else 'no fault'} | {verdict[:150]} | {time.perf_counter() - begin:.1f} s"


def main(words: list[str]) -> int:
    part = re.fullmatch(r"(\d+)/(\d+)", words[0]) if words else None  # 2/3: every third fault, from the second on
    if part:
        chosen = FAULTS[int(part[1]) % int(part[2]) :: int(part[2])]
    else:
        chosen = [one for one in FAULTS if not words or any(word in one.name for word in words)]
    if not chosen:
        print(f"no fault is called {' or '.join(words)}")
        return 2
    begin, as_expected = time.perf_counter(), 0
    os.environ |= {"NUMBA_DISABLE_JIT": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    processes = multiprocessing.get_context("forkserver")  # each trial begins with the imports done
    processes.set_forkserver_preload(list(PRELOADED))
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


@pytest.mark.parametrize("seed", BOOK_SEEDS)
def test_kernel_and_judge_agree_on_books(seed: int) -> None:
    import test_book_kernel

    test_book_kernel.compare(seed)


@pytest.mark.parametrize("name", MADE)
def test_kernel_and_judge_agree_on_cases_made_for_a_fault(name: str) -> None:
    """What generated cases do too rarely. Daily bars, money that earns 1 in 1,000 a day and costs 2, all prices at 100 unless said otherwise."""
    from bridge import PLAIN
    from generator_book import BookCase
    from naive import NAN
    from test_book_kernel import both
    from test_naive import clock, instrument, slot
    from test_naive_book import INTEREST, bought, sold

    quiet, day = [100.0] * 80, 86_400_000_000_000
    rates, shares, limits = INTEREST, None, dict[str, float]()
    if name == "enters while others hold":
        rules = [bought(quiet, (20,)), bought(quiet, (0,), max_hold=60 * day), bought(quiet, (40,))]
    elif name == "falls and recovers":  # by a quarter exactly, and for ten days only
        rules, rates = [bought([100.0] * 50 + [50.0] * 10 + [100.0] * 20, (0,)), bought(quiet, ())], {}
        limits = {"drawdown": 0.25}
    elif name == "another grows":  # what it leaves of the exposure in total falls below what the first holds
        rules = [
            bought([100.0] * 50 + [130.0] * 30, (0,), size=0.9, resize=1.1),
            bought([100.0] * 50 + [300.0] * 30, (0,), size=0.2),
        ]
        limits = {"exposure": 0.6}
    elif name == "one sells before the other buys":  # so that the book never owes, and the third is not fixed anew
        rules = [bought(quiet, (0,), max_hold=2 * day), bought(quiet, (2,), size=2.0), bought(quiet, ())]
        shares = [0.5, 0.4, 0.1]
    elif name == "a top-up of what has accrued":  # 7,927 are sent, of 7,802 and what the others have earned in 40 days
        risen, more = [100.0] * 40 + [106.0] * 40, dict[str, Any]({"margin": "isolated", "top_up": 0.5, "transfer_delay": 5 * day})
        rules = [sold(risen, size=10.0, leverage=10.0, **more), sold(quiet, (0,), size=3.0, **more), sold(quiet, (), **more)]
        shares = [0.6, 156.0 / 20_000.0, 7844.0 / 20_000.0]
    elif name == "a loss of interest":  # on what it owes the others, at the rate of idle cash, which here is the higher one
        rules, rates = [bought(quiet, (0,), size=1.5, loss=0.1), bought(quiet, ())], {"idle_rate": [(0, 7.3)], "borrow_usd": [(0, 0.365)]}
    elif name == "drawn from a wallet":  # which backs its own slot, whatever the other one has drawn
        low, high = ([100.0, 100.0, extreme, 100.0] for extreme in (40.0, 190.0))
        short = sold([100.0] * 4, item={"mark_high": high}, size=0.5, wallets=(0.5, 0.5), signal_plus={(0, 0): [1.0, 0.0, 0.0, 0.0]})
        assert short.short is not None
        rules = [replace(short, long=slot(instrument([100.0] * 4, kind="perpetual", lot=1.0, mark_low=low), tiers=short.short.tiers))]
    elif name == "resized out of a wallet":  # in which all that the spot is worth counts
        risen, willing = [100.0] * 3 + [130.0] * 3, {(0, 0): [1.0] + [0.0] * 5}
        short = sold(risen, size=0.5, resize=1.1, wallets=(0.5, 0.5), signal_plus=willing)
        rules = [replace(short, long=slot(instrument(risen, lot=1.0)))]
    else:  # for a fee by the contract
        future = instrument([100.0, 100.0, 100.0, NAN], kind="future", expiry=3 * day, settlement=100.0)
        rules = [replace(bought([100.0] * 4), long=slot(future, delivery_unit_fee=1.0))]
    first = rules[0].long or rules[0].short
    assert first is not None
    market, count = clock(len(first.instruments[0].open), **rates), len(rules)
    case = BookCase(
        markets=[market] * count, rules=rules, besides=[PLAIN] * count, groups=range(count), capital=20_000.0, shares=shares, limits=limits
    )
    assert both(case) is not None


def test_what_a_rule_that_owes_the_others_has_accrued_is_charged_at_the_book_s_rate() -> None:
    """A top-up of all cash leaves a balance of 0, whose sign rounding decides: only what is liquidated after it can be compared."""
    from markets import flat, path, perpetual
    from test_golden_book import INTEREST, NEVER, Part, of_judge, of_package

    from backtest.execution import Margin

    opens, closes = path(100.0, 106.0, 106.0, 106.0)
    risen = perpetual(opens, closes, columns={"mark_high": [100.0, 106.0, 112.0, 106.0], "mark_low": flat(4)}, lot=1000.0)
    execution = replace(INTEREST, margin=Margin.ISOLATED, maintenance=0.01, top_up=0.5)
    others = Part(short=perpetual(flat(4), lot=1.0), size=3.0), Part(short=perpetual(flat(4)), willing=NEVER)
    parts = Part(short=risen, size=10.0, leverage=10.0), *others
    shares = [10_000.0 / 10_700.0, 200.0 / 10_700.0, 500.0 / 10_700.0]
    one, other = (ask(parts, execution, 10_700.0, shares, {})[0].liquidated_at for ask in (of_package, of_judge))
    assert one == pytest.approx(other, rel=1e-12)
    assert len(one) == 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
