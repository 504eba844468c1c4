"""The compiled step against the judge, on generated markets: same fills, same equity, same sources, same reasons, walking or jumping.

Plain cases have legs, margin, expiries and limits; desk cases everything that an order, a wallet or a contract can meet, and every two of those together.
"""

import fcntl
import json
import os
from collections import Counter
from dataclasses import fields, replace
from itertools import combinations
from math import isclose
from pathlib import Path
from typing import Any

import generator_desk
import generators
import naive
import numpy as np
import pandas as pd
import pytest
from bridge import PLAIN, comparable, run_package
from generator_desk import Beside, Desk, desk_case
from hypothesis import given, settings

from backtest import kernels as k
from backtest.errors import DataError
from backtest.result import Result

PLAIN_CHUNKS, PLAIN_CHUNK = 4, 510  # ten more than asked for: a handful of cases offers no pair, which the package refuses before the run
DESK_CHUNKS, DESK_CHUNK = 10, 500
REQUIRED = 50

LABELS = [
    *(f"reason:{reason}" for reason in ("liquidation", "expiry", "stop", "loss", "days to expiry", "time", "signal", "end of data")),
    *(f"side:{side}" for side in (1, -1)),
    *(f"{slot}:{kind}" for slot in ("long", "short") for kind in generators.KINDS),
    *(f"margin:{mode}" for mode in ("isolated", "cross", "off")),
    "action:resize", "source:legging", "waiting order", "called off", "absorbed loss", "tiered liquidation", "negative balance", "cooldown", "second nearest",
]  # fmt: skip
DESK_LABELS = [f"feature:{name}" for name in generator_desk.FEATURES] + [f"reason:{reason}" for reason in k.REASONS[1:]]


def assert_same(mine: Result, judged: naive.NaiveResult, capital: float) -> None:
    """Same fills, equity and sources at every bar within 1e-9 of the larger of capital and equity, same trades."""
    fills = mine._log.fills
    assert [(f["bar"], ("long", "short")[f["slot"]], k.ACTIONS[f["action"]]) for f in fills] == [
        (f.bar, f.slot, f.action) for f in judged.fills
    ]
    for row, fill in zip(fills, judged.fills, strict=True):
        for name in ("quantity", "reference", "price", "fee"):
            assert isclose(row[name], getattr(fill, name), rel_tol=1e-9), (name, row, fill)
    near = 1e-9 * max(capital, float(np.abs(judged.equity).max()))
    np.testing.assert_allclose(mine.equity, judged.equity, rtol=0, atol=near)
    for source, amounts in judged.sources.items():
        np.testing.assert_allclose(mine.attribution[source], amounts, rtol=0, atol=near, err_msg=source)
    assert_same_trades(mine, judged, near)


def assert_same_trades(mine: Result, judged: naive.NaiveResult, near: float) -> None:
    """Same trades: times, side, reason, reference prices, PnL and its sources."""
    trades, theirs = mine.trades, judged.trades
    assert list(trades["reason"]) == [trade.reason for trade in theirs]
    assert list(trades["side"]) == [trade.side for trade in theirs]
    assert [time.value for time in trades["entered_at"]] == [trade.entered_at for trade in theirs]
    assert [None if time is pd.NaT else time.value for time in trades["exited_at"]] == [trade.exited_at for trade in theirs]
    for name in ("quantity", "entry_long", "entry_short", "exit_long", "exit_short", "settlement_price", "entry_premium"):
        least = 1e-12 if name == "entry_premium" else 0.0  # a difference of two prices
        wanted = [getattr(trade, name) for trade in theirs]
        np.testing.assert_allclose(trades[name].to_numpy(dtype=float), wanted, rtol=1e-9, atol=least, err_msg=f"{name} of {theirs}")
    np.testing.assert_allclose(trades["pnl"].to_numpy(dtype=float), [trade.pnl for trade in theirs], rtol=0, atol=near, err_msg="pnl")
    sources = [[own[source] for source in trade.attribution] for own, trade in zip(trades["attribution"], theirs, strict=True)]
    amounts = [list(trade.attribution.values()) for trade in theirs]
    np.testing.assert_allclose(sources, amounts, rtol=0, atol=near, err_msg="sources of trades")


def both(market: naive.NaiveMarket, rule: naive.NaiveRule, capital: float, beside: Beside = PLAIN) -> naive.NaiveResult | None:
    """What the judge says, with which the package agrees; None if the package refused the case and the judge traded nothing."""
    rule = comparable(rule)
    judged = naive.judge(market, rule, capital)
    try:
        mine = run_package(market, rule, capital, beside)
    except DataError:  # no bar in common, or no pair at the same time
        assert not judged.trades
        return None
    assert_same(mine, judged, capital)
    return judged


def compare(seed: int) -> set[str] | None:
    """Run one plain case on both sides; its labels, or None if it was refused."""
    market, rule, capital = generators.case(seed)
    judged = both(market, rule, capital)
    return None if judged is None else generators.coverage(judged, comparable(rule))


def compare_desk(seed: int) -> set[str] | None:
    """Run one desk case on both sides; its labels, or None if it was refused."""
    desk = desk_case(seed)
    try:
        judged = both(*desk)
    except AssertionError as difference:
        difference.add_note(f"desk_case({seed})")
        raise
    return None if judged is None else generator_desk.coverage(judged, desk)


# ---------------------------------------------------------------- in chunks, which the workers share


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run see."""
    place = tmp_path_factory.getbasetemp()
    return place.parent if "PYTEST_XDIST_WORKER" in os.environ else place


def compared_chunk(kind: str, chunk: int, folder: Path) -> list[list[str]]:
    """The labels of each case of a chunk. The worker that comes first compares, the others wait for what it found; the lock ends with its holder."""
    one, size = (compare, PLAIN_CHUNK) if kind == "plain" else (compare_desk, DESK_CHUNK)
    found = folder / f"{kind} {chunk}.json"
    with (folder / f"{kind} {chunk}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            labels = [one(seed) for seed in range(chunk * size, (chunk + 1) * size)]
            found.write_text(json.dumps([sorted(each) for each in labels if each is not None]))
    compared: list[list[str]] = json.loads(found.read_text())
    return compared


@pytest.mark.parametrize("chunk", range(PLAIN_CHUNKS))
def test_kernel_and_judge_agree_on_five_hundred_plain_cases(chunk: int, shared: Path) -> None:
    assert len(compared_chunk("plain", chunk, shared)) >= 500


@pytest.mark.parametrize("chunk", range(DESK_CHUNKS))
def test_kernel_and_judge_agree_on_five_hundred_desk_cases(chunk: int, shared: Path) -> None:
    assert len(compared_chunk("desk", chunk, shared)) >= 0.99 * DESK_CHUNK


def test_every_feature_is_met_in_fifty_plain_cases(shared: Path) -> None:
    totals = Counter(label for chunk in range(PLAIN_CHUNKS) for labels in compared_chunk("plain", chunk, shared) for label in labels)
    assert {label: totals[label] for label in LABELS if totals[label] < REQUIRED} == {}


def test_every_two_desk_features_meet_in_fifty_cases(shared: Path) -> None:
    compared = [labels for chunk in range(DESK_CHUNKS) for labels in compared_chunk("desk", chunk, shared)]
    totals = Counter(label for labels in compared for label in labels)
    assert {label: totals[label] for label in DESK_LABELS if totals[label] < REQUIRED} == {}
    met = Counter(pair for labels in compared for pair in combinations(sorted(one for one in labels if one.startswith("feature:")), 2))
    missing = {}
    for one, other in generator_desk.PAIRS:
        first, second = sorted((f"feature:{one}", f"feature:{other}"))
        if met[first, second] < REQUIRED:
            missing[one, other] = met[first, second]
    assert missing == {}


def test_features_that_cannot_meet_do_not() -> None:
    for pair, reason in generator_desk.INCOMPATIBLE.items():
        assert pair <= set(generator_desk.FEATURES)
        assert reason
    for seed in range(200):
        assert repr(desk_case(seed)) == repr(desk_case(seed))


# ---------------------------------------------------------------- what holds of the package alone


def plain(seed: int) -> Desk:
    return Desk(*generators.case(seed), PLAIN)


def some(plain_cases: int, desk_cases: int) -> list[Any]:
    """The first cases of both kinds, as parameters of a test."""
    kinds = ((plain, "plain", plain_cases), (desk_case, "desk", desk_cases))
    return [pytest.param(make, seed, id=f"{name} {seed}") for make, name, count in kinds for seed in range(count)]


def package(desk: Desk, *, jump: bool = True) -> Result:
    return run_package(desk.market, comparable(desk.rule), desk.capital, desk.beside, jump=jump)


@pytest.mark.parametrize(("make", "seed"), some(300, 300))
def test_jumping_from_event_to_event_equals_walking_every_bar(make: Any, seed: int) -> None:
    jumped, walked = (package(make(seed), jump=jump) for jump in (True, False))
    for name in k.LEDGER.names or ():
        np.testing.assert_array_equal(jumped._log.ledger[name], walked._log.ledger[name], err_msg=name)
    np.testing.assert_array_equal(jumped.equity, walked.equity)
    np.testing.assert_array_equal(jumped.attribution, walked.attribution)


@pytest.mark.parametrize(("make", "seed"), some(200, 200))
def test_sources_add_up_to_the_change_of_equity_at_every_bar(make: Any, seed: int) -> None:
    desk = make(seed)
    result = package(desk)
    scale = max(desk.capital, float(np.abs(result.equity).max()))
    np.testing.assert_allclose(result.attribution.sum(axis=1), result.equity - desk.capital, rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize(("make", "seed"), some(120, 240))
def test_a_truncated_future_changes_nothing_in_the_past(make: Any, seed: int) -> None:
    desk = make(seed)
    if desk.beside.snapshot < 0.0:
        pytest.skip("an event that pays before its own time is not known when it pays")
    full = package(desk)
    for cut in (len(desk.market.stamps) // 3, len(desk.market.stamps) // 2, len(desk.market.stamps) - 2):
        try:
            part = package(truncated(desk, cut))
        except DataError:
            continue  # the contracts listed later are not there yet
        np.testing.assert_array_equal(part.equity, full.equity.iloc[:cut])
        np.testing.assert_array_equal(part.attribution, full.attribution.iloc[:cut])
        assert list(part.fills["time"]) == [time for time, bar in zip(full.fills["time"], full._log.fills["bar"], strict=True) if bar < cut]


def truncated(desk: Desk, cut: int) -> Desk:
    """The first bars of a case, with what is known by then; contracts that have no bar yet are left in place."""
    end, bars = desk.market.stamps[cut - 1], len(desk.market.stamps)

    def first_bars(one: Any) -> dict[str, Any]:
        """The rows over the bars, cut."""
        rows = {item.name: getattr(one, item.name) for item in fields(one)}
        return {name: row[:cut] for name, row in rows.items() if isinstance(row, list) and len(row) == bars and name not in UNTIMED}

    def shorter(item: naive.NaiveInstrument) -> naive.NaiveInstrument:
        settled = item.settlement if item.expiry is not None and item.expiry <= end else float("nan")
        return replace(item, **first_bars(item), funding=[event for event in item.funding if event[0] <= end], settlement=settled)

    def slot(one: naive.NaiveSlot | None) -> naive.NaiveSlot | None:
        return None if one is None else replace(one, **first_bars(one), instruments=[shorter(item) for item in one.instruments])

    def table(signal: naive.Signal | None) -> naive.Signal | None:
        return None if signal is None else {pair: values[:cut] for pair, values in signal.items()}

    rule, beside = desk.rule, desk.beside
    signals = {name: table(getattr(rule, name)) for name in ("signal_plus", "signal_minus", "exit_plus", "exit_minus", "scale")}
    return Desk(
        replace(desk.market, **first_bars(desk.market)),
        replace(rule, long=slot(rule.long), short=slot(rule.short), **signals),
        desk.capital,
        beside._replace(
            events={key: [event for event in events if event[0] <= end] for key, events in beside.events.items()},
        ),
    )


UNTIMED = ("funding", "changes", "tiers", "instruments", "idle_rate", "borrow_usd", "borrow_base", "staking_yield")


@pytest.mark.parametrize("seed", range(0, 60))
def test_doubling_capital_doubles_every_source_where_costs_are_linear_and_sizes_not_rounded(seed: int) -> None:
    market, rule, capital = generators.case(seed)
    rule = unrounded(comparable(rule))
    once, twice = run_package(market, rule, capital), run_package(market, rule, 2.0 * capital)
    scale = max(capital, float(np.abs(once.equity).max()))
    np.testing.assert_allclose(twice.attribution, 2.0 * once.attribution, rtol=0, atol=1e-9 * scale)


def unrounded(rule: naive.NaiveRule) -> naive.NaiveRule:
    """Without lots, least notionals and tiers: nothing depends on the size."""
    flat = ((0.0, 0.01, 0.0),)

    def slot(one: naive.NaiveSlot | None) -> naive.NaiveSlot | None:
        nan = float("nan")
        return (
            None
            if one is None
            else replace(one, tiers=flat, instruments=[replace(item, lot=nan, min_notional=nan) for item in one.instruments])
        )

    return replace(rule, long=slot(rule.long), short=slot(rule.short))


@pytest.mark.parametrize("seed", range(0, 150))
def test_a_desk_twice_as_large_among_amounts_twice_as_large_earns_twice_as_much(seed: int) -> None:
    desk = desk_case(seed)
    once, twice = package(desk), package(doubled(desk))
    assert list(twice._log.fills["bar"]) == list(once._log.fills["bar"])
    scale = max(desk.capital, float(np.abs(once.equity).max()))
    np.testing.assert_allclose(twice.attribution, 2.0 * once.attribution, rtol=0, atol=1e-12 * scale)


def doubled(desk: Desk) -> Desk:
    """Twice the capital, and twice of all that is an amount: lots, contracts, volumes, depths, tiers, coins to borrow, fees of transfers."""

    def twice(values: Any) -> list[float]:
        return [2.0 * value for value in values]

    def instrument(item: naive.NaiveInstrument) -> naive.NaiveInstrument:
        amounts = {name: 2.0 * getattr(item, name) for name in ("lot", "min_notional", "contract")}
        return replace(item, volume=twice(item.volume), depth=twice(item.depth), **amounts)

    def tiers(rows: Any) -> list[naive.Tier]:
        return [(2.0 * floor, rate, 2.0 * deduction) for floor, rate, deduction in rows]

    def slot(one: naive.NaiveSlot | None) -> naive.NaiveSlot | None:
        if one is None:
            return None
        changes = [
            (time, {name: tiers(value) if name == "tiers" else value for name, value in terms.items()}) for time, terms in one.changes
        ]
        return replace(one, instruments=[instrument(item) for item in one.instruments], tiers=tiers(one.tiers), changes=changes)

    rule, beside = desk.rule, desk.beside
    return Desk(
        replace(desk.market, borrow_available=twice(desk.market.borrow_available)),
        replace(
            rule,
            long=slot(rule.long),
            short=slot(rule.short),
            transfer_fee=2.0 * rule.transfer_fee,
            min_depth=rule.min_depth and 2.0 * rule.min_depth,
        ),
        2.0 * desk.capital,
        beside._replace(available=beside.available and [(time, 2.0 * value) for time, value in beside.available]),
    )


@settings(max_examples=40, deadline=None)
@given(generators.markets())
def test_kernel_and_judge_agree_on_markets_that_hypothesis_draws(case: generators.Case) -> None:
    both(*case)


@settings(max_examples=40, deadline=None)
@given(generator_desk.desks())
def test_kernel_and_judge_agree_on_desks_that_hypothesis_draws(desk: Desk) -> None:
    both(*desk)
