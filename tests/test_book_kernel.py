"""Several rules on one capital: the compiled step against the judge of books on generated books, and what holds of the package alone."""

import fcntl
import json
import os
from collections import Counter
from dataclasses import replace
from math import fsum
from pathlib import Path

import numpy as np
import pytest
from bridge import comparable, prepared_book, run_book
from generator_book import BookCase, book_case, coverage
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_book import NaiveBook, judge_book
from test_kernel import assert_same

from backtest import kernels as k
from backtest.errors import DataError
from backtest.result import Result
from backtest.simulate import simulate

CHUNKS, CHUNK, REQUIRED = 4, 125, 10

LABELS = [
    *(f"rules:{count}" for count in (2, 3, 4)),
    *(f"margin:{mode}" for mode in ("isolated", "cross", "off")),
    *(f"action:{action}" for action in ("entry", "exit", "resize", "roll", "settlement", "liquidation", "deleveraging")),
    *(f"reason:{reason}" for reason in k.REASONS[1:]),
    *(f"several {what} in one bar" for what in ("enter", "fill", "are liquidated")),
    "balance changes sign", "balance changes sign twice", "owes the others", "is credited interest", "reserve", "owing reserve", "shared instruments",
    "draws", "draws others' cash", "two rules draw in one bar", "liquidated after another drew", "liquidation changes sign", "top-up",
    "exposure held down", "drawdown in total", "paused in total",
]  # fmt: skip


def comparable_case(seed: int) -> BookCase:
    case = book_case(seed)
    return replace(case, rules=[comparable(rule) for rule in case.rules])


def both(case: BookCase) -> NaiveBook | None:
    """What the judge says, with which the package agrees; None if the package refused the case, or if rounding decides the sign of a balance."""
    judged = judge_book(case.markets, case.rules, case.capital, shares=case.shares, **case.limits)
    if judged.ties:
        return None
    try:
        mine = run_book(case)
    except DataError:  # no bar in common, or no pair at the same time
        return None
    accounts = [*judged.results, *([judged.reserve] if judged.reserve is not None else [])]
    for one, other in zip(mine, accounts, strict=True):
        assert_same(one, other, case.capital)
    return judged


def compare(seed: int) -> set[str] | None:
    """Run one book on both sides; its labels, or None if it was refused."""
    case = comparable_case(seed)
    try:
        judged = both(case)
    except AssertionError as difference:
        difference.add_note(f"book_case({seed})")
        raise
    return None if judged is None else coverage(judged, case)


# ---------------------------------------------------------------- in chunks, which the workers share


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run see."""
    place = tmp_path_factory.getbasetemp()
    return place.parent if "PYTEST_XDIST_WORKER" in os.environ else place


def compared_chunk(chunk: int, folder: Path) -> list[list[str]]:
    """The labels of each book of a chunk. The worker that comes first compares, the others wait for what it found; the lock ends with its holder."""
    found = folder / f"books {chunk}.json"
    with (folder / f"books {chunk}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            labels = [compare(seed) for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK)]
            found.write_text(json.dumps([sorted(each) for each in labels if each is not None]))
    compared: list[list[str]] = json.loads(found.read_text())
    return compared


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_kernel_and_judge_agree_on_books(chunk: int, folder: Path) -> None:
    assert len(compared_chunk(chunk, folder)) >= 0.95 * CHUNK


def test_all_that_books_do_is_met_in_ten_of_them(folder: Path) -> None:
    totals = Counter(label for chunk in range(CHUNKS) for labels in compared_chunk(chunk, folder) for label in labels)
    assert {label: totals[label] for label in LABELS if totals[label] < REQUIRED} == {}


@settings(max_examples=30, deadline=None)
@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_kernel_and_judge_agree_on_books_that_hypothesis_draws(seed: int) -> None:
    compare(seed)


# ---------------------------------------------------------------- what holds of the package alone


@pytest.mark.parametrize("seed", range(150))
def test_a_book_that_jumps_from_event_to_event_equals_one_that_walks_every_bar(seed: int) -> None:
    case = comparable_case(seed)
    try:
        jumped, walked = (run_book(case, jump=jump) for jump in (True, False))
    except DataError:
        pytest.skip("the package refuses the case")
    for one, other in zip(jumped, walked, strict=True):
        assert one._log.fills.tobytes() == other._log.fills.tobytes()
        np.testing.assert_array_equal(one.equity, other.equity)
        np.testing.assert_array_equal(one.attribution, other.attribution)


@pytest.mark.parametrize("seed", range(100))
def test_the_accounts_of_a_book_add_up_to_its_capital_and_sources(seed: int) -> None:
    case = comparable_case(seed)
    try:
        results = run_book(case)
    except DataError:
        pytest.skip("the package refuses the case")
    assert fsum(one.capital for one in results) == pytest.approx(case.capital, rel=1e-12)
    equity, sources = (sum(np.asarray(part(one)) for one in results) for part in (equity_of, sources_of))
    np.testing.assert_allclose(sources, equity - case.capital, rtol=0, atol=1e-9 * max(case.capital, float(np.abs(equity).max())))


def equity_of(one: Result) -> np.ndarray:
    return one.equity.to_numpy()


def sources_of(one: Result) -> np.ndarray:
    return one.attribution.sum(axis=1).to_numpy()


# ---------------------------------------------------------------- rules that can't interact


def apart(seed: int) -> BookCase | None:
    """A book of four rules of equal shares, each with the margin of its account alone, where money earns and costs nothing; None for one of fewer rules."""
    case = comparable_case(seed)
    if len(case.rules) < 4:
        return None
    rules = [replace(rule, margin="isolated", top_up=None) for rule in case.rules]
    markets = [replace(market, idle_rate=(), borrow_usd=()) for market in case.markets]
    return replace(case, rules=rules, markets=markets, shares=None, limits={})


APART = [seed for seed in range(120) if len(book_case(seed).rules) == 4][:30]


@pytest.mark.parametrize("jump", [True, False], ids=["jumping", "walking"])
@pytest.mark.parametrize("seed", APART)
def test_four_rules_that_cannot_interact_are_four_single_runs(seed: int, jump: bool) -> None:
    case = apart(seed)
    assert case is not None
    try:
        prepared = prepared_book(case)
    except DataError:
        pytest.skip("the package refuses the case")
    capital, together = case.capital / 4.0, run_book(case, jump=jump)
    assert len(together) == 4
    for one, own in zip(together, prepared, strict=True):
        alone = Result(own.rule, own, capital, simulate(own, capital, jump=jump))
        for name in ("bar", "slot", "action"):
            assert one._log.fills[name].tolist() == alone._log.fills[name].tolist()
        near = 1e-9 * max(capital, float(np.abs(alone.equity).max()))
        np.testing.assert_allclose(one.equity, alone.equity, rtol=0, atol=near)
        np.testing.assert_allclose(one.attribution, alone.attribution, rtol=0, atol=near)


def test_where_borrowing_costs_what_idle_cash_earns_rules_do_not_notice_each_other_s_interest() -> None:
    """The book never owes anything, so that no account is fixed for another's sake; a balance below 0 is charged under another name than alone."""
    met = 0
    for seed in APART:
        case = apart(seed)
        assert case is not None
        rates = [replace(market, idle_rate=[(0, 0.08)], borrow_usd=[(0, 0.08)]) for market in case.markets]
        case = replace(case, markets=rates, rules=[replace(rule, size=rule.size / 10.0) for rule in case.rules])
        judged = judge_book(case.markets, case.rules, case.capital)
        if judged.turned or min(judged.balance) < 0.0:
            continue
        try:
            prepared = prepared_book(case)
        except DataError:
            continue
        met += 1
        for one, own in zip(run_book(case), prepared, strict=True):
            capital = case.capital / 4.0
            alone = Result(own.rule, own, capital, simulate(own, capital))
            near = 1e-9 * max(capital, float(np.abs(alone.equity).max()))
            np.testing.assert_allclose(one.equity, alone.equity, rtol=0, atol=near)
            together, apart_ = (
                each.attribution.assign(idle_cash=each.attribution[["idle_cash", "financing"]].sum(axis=1)) for each in (one, alone)
            )
            columns = [name for name in together if name != "financing"]
            np.testing.assert_allclose(together[columns], apart_[columns], rtol=0, atol=near)
    assert met >= 10
