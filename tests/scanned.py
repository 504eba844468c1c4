"""Tools of the tests of the scan: generated cases with a few rules each, what a whole run of each says, and whether the scan says the same.

case = plain_case(7)
labels = agree(case)      # AssertionError where they differ; what each of its rules did

Cases are those of `generators` and `generator_desk`, with the judge's terms written over the venue's as `bridge` does it.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import generators
import numpy as np
import pandas as pd
from bridge import PLAIN, build_market, chosen_rule, comparable, dated_terms, execution
from generator_desk import Beside, Desk, desk_case
from naive import NaiveMarket, NaiveRule

import backtest as bt
from backtest import kernels as k
from backtest import ledger, metrics, scan, simulate
from backtest.errors import CarryError
from backtest.instruments import Kind
from backtest.result import Prepared, Result
from backtest.scan import STATISTICS, Grid, Scanned

NEAR = 1e-9
EXACT = ("entered", "exited", "side", "pair", "reason", "quantity", "entry_equity", "pnl", "entry_long", "entry_short", "exit_long", "exit_short", "settlement_price")  # fmt: skip
OPEN_EXACT = ("entered", "side", "pair", "quantity", "entry_equity", "entry_long", "entry_short")
MONEY = ("final_equity", *k.SOURCES)


@dataclass(frozen=True, kw_only=True)
class Drawn(bt.Strategy):
    """A strategy that trades a rule that was made before."""

    drawn: Any = None

    def rule(self, market: bt.Market) -> bt.Rule:
        found: bt.Rule = self.drawn
        return found


class Case(NamedTuple):
    """A grid, its combinations, and the judge's market and rule whose terms hold (None: those of the venue)."""

    grid: Grid
    chosen: list[dict[str, Any]]
    terms: tuple[NaiveMarket, NaiveRule] | None = None


# ---------------------------------------------------------------- cases


class Longer(generators.Maker):
    """Markets of some blocks of blocks."""

    BARS = (600, 1700)


def plain_case(seed: int) -> Case:
    return made(Desk(*generators.case(seed), PLAIN), seed)


def long_case(seed: int) -> Case:
    return made(Desk(*Longer(random.Random(seed)).case(), PLAIN), seed)


def desk(seed: int) -> Case:
    return made(desk_case(seed), seed)


def made(case: Desk, seed: int, count: int = 4) -> Case:
    """The case's rule, and others that differ in a few levels, sizes and durations."""
    market, rule, capital, beside = case
    rule = comparable(rule)
    built, (legs,) = build_market([market], [rule], [beside])
    strategy = Drawn(drawn=chosen_rule(built, rule, legs))
    chosen = variants(strategy.drawn, market, random.Random(f"variants {seed}"), count)
    return Case(Grid(strategy, built, capital, execution(market, rule, beside)), chosen, (market, rule))


def variants(rule: bt.Rule, market: NaiveMarket, rng: random.Random, count: int) -> list[dict[str, Any]]:
    """What is set otherwise than in the case's rule: nothing at first, then one to three fields."""
    step, two = market.step, None not in rule.legs
    enter = rule.enter if rule.enter is not None else 0.0

    def bars(most: int) -> pd.Timedelta:
        return pd.Timedelta(rng.randint(1, most) * step, "ns")

    draws = {
        "enter": lambda: rng.choice((None, enter - rng.uniform(0.0, 0.5), enter + rng.uniform(0.0, 0.5))),
        "exit": lambda: None if rng.random() < 0.2 else enter - rng.uniform(0.0, 1.0),
        "max_hold": lambda: rng.choice((None, bars(3), bars(12), bars(60))),
        "size": lambda: rule.size * rng.choice((0.3, 0.8, 1.3)),
        "loss": lambda: rng.choice((None, 10.0 ** rng.uniform(-3.5, -0.7))),
        "cooldown": lambda: rng.choice((None, bars(10))),
        "resize": lambda: None if rule.resize_factor == np.inf and not linear(rule) else rng.choice((None, 1.02, 1.1)),
        "stop": lambda: rng.choice((None, 10.0 ** rng.uniform(-3.5, -1.5))) if two else None,
        "converge": lambda: rng.choice((None, bars(6))) if two else None,
        "expiry_days": lambda: rng.choice((None, rng.uniform(0.5, 6.0) * step / 86_400e9)) if dated(rule) else None,
    }  # fmt: skip
    return [{}] + [{name: draws[name]() for name in rng.sample(list(draws), rng.randint(1, 3))} for _ in range(count - 1)]


def dated(rule: bt.Rule) -> bool:
    return any(leg is not None and leg.kind is Kind.FUTURE for leg in rule.legs)


def linear(rule: bt.Rule) -> bool:
    return rule.resize is not None


@contextmanager
def terms_of(case: Case) -> Iterator[None]:
    """What is prepared meanwhile, by the scan and by a run, has the case's terms."""
    before = simulate.prepare
    if case.terms is None:
        yield
        return
    market, rule = case.terms

    def prepared(*asked: Any) -> Prepared:
        return dated_terms(before(*asked), market, rule)

    for module in (scan, simulate):
        module.prepare = prepared  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in (scan, simulate):
            module.prepare = before  # type: ignore[attr-defined]


def run_of(grid: Grid, values: Mapping[str, Any]) -> Result:
    """The whole run of one combination."""
    return bt.run(grid.base, grid.market, capital=grid.capital, execution=grid.execution, **grid.fixed, **values)


# ---------------------------------------------------------------- whether both say the same


def agree(case: Case) -> list[set[str]]:
    """Scan all combinations and run each; AssertionError where they differ. What each that ran did."""
    labels = []
    with terms_of(case):
        found = case.grid.run(case.chosen, log=500)
        for number, values in enumerate(case.chosen):
            try:
                result = run_of(case.grid, values)
            except CarryError as error:
                assert found.refused[number] == str(error)
                assert found.table.iloc[number].isna().all()
                assert np.isnan(found.daily[number]).all()
                continue
            assert found.refused[number] is None
            same(found, number, result)
            labels.append(done(found, number, result))
    return labels


def same(found: Scanned, number: int, result: Result) -> None:
    """One combination's statistics, daily equity and trades are those of the run."""
    wanted = statistics(result)
    largest = max(result.capital, float(np.abs(result.equity).max()))
    assert list(found.table.columns) == list(STATISTICS)
    row = found.table.iloc[number]
    for name, value in wanted.items():
        near = NEAR * largest if name in MONEY else NEAR * max(1.0, abs(value))
        assert close(row[name], value, NEAR * value if name == "sum_of_squares" else near), (name, row[name], value)
    daily = metrics.daily_equity(result.equity, result.start, result.capital)
    assert list(found.days) == list(daily.index)
    np.testing.assert_allclose(found.daily[number], daily, rtol=0, atol=NEAR * largest)
    assert found.trades is not None
    same_trades(found.trades[number], result)
    assert found.quote == result.quote
    assert row["jumped"] == float(result._prepared.rule_record["walks"] == 0)


def close(one: float, other: float, near: float) -> bool:
    return bool(one == other or (np.isnan(one) and np.isnan(other)) or abs(one - other) <= near)


def statistics(result: Result) -> dict[str, float]:
    """Every statistic of a scan, from the columns of the whole run."""
    equity = result.equity.to_numpy()
    closed = result.trades[result.trades["exited_at"].notna()]
    return {
        **result.metrics,
        "final_equity": float(equity[-1]),
        "liquidations": float((closed["reason"] == "liquidation").sum()),
        "sum_of_squares": float(np.square(np.diff(equity, prepend=result.capital)).sum()),
        **{str(name): float(amount) for name, amount in result.attribution.iloc[-1].items()},
    }


def same_trades(mine: Any, result: Result) -> None:
    """The same trades, to the last bit."""
    theirs, account = result._log.trades, result._log.account
    assert len(mine) == len(theirs)
    closed = int(account["trades"])
    for name in EXACT:
        np.testing.assert_array_equal(mine[name][:closed], theirs[name][:closed], err_msg=name)
    for name in OPEN_EXACT:
        np.testing.assert_array_equal(mine[name][closed:], theirs[name][closed:], err_msg=f"open {name}")
