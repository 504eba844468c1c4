"""Sweeps: every combination has the figures of the run that `bt.run` makes, the order of the grid, samples, what is invalid, and every mistake's sentence."""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import ether, load

import backtest as bt
from backtest import metrics
from backtest.errors import DataError, ParameterError
from backtest.market import Market
from backtest.scan import STATISTICS
from backtest.space import between, combinations, several
from backtest.sweep import Sweep, sweep, with_few_trades


@dataclass(frozen=True, kw_only=True)
class Fade(bt.Strategy):
    """Sell the perpetual against spot when its premium is rich."""

    enter: float = bt.param(0.0005, "open at or above this premium")
    exit: float | None = bt.param(0.0, "close at or below it")
    max_hold: str | None = bt.param("2D", "close after this long")
    legs: tuple[str, ...] = bt.param(("perpetual",), "what to sell")

    def rule(self, market: Market) -> bt.Rule:
        short = market.perpetual if self.legs[0] == "perpetual" else market.future_chain()
        signal = bt.premium(market, short)
        return bt.Rule(long=market.spot, short=short, signal=signal, enter=self.enter, exit=self.exit, max_hold=self.max_hold)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("sweep"), ether())


@pytest.fixture(scope="module")
def small(market: Market) -> Sweep:
    """Two by three, one of them invalid."""
    return sweep(Fade, market, enter=[0.0003, 0.0006], exit=[0.0, 0.0002, 0.0004], leverage=2, capital=50_000.0)


def refused(told: str) -> Any:
    return pytest.raises(ParameterError, match=f"^{re.escape(told)}$")


# ---------------------------------------------------------------- the runs


def test_every_combination_is_the_run_itself(market: Market, small: Sweep) -> None:
    assert list(small.table.index) == [(0.0003, 0.0), (0.0003, 0.0002), (0.0006, 0.0), (0.0006, 0.0002), (0.0006, 0.0004)]
    assert small.table.index.names == ["enter", "exit"]
    for (enter, leave), row in small.table.iterrows():
        result = bt.run(Fade(enter=enter, exit=leave), market, capital=50_000.0, leverage=2)
        wanted = {**result.metrics, "final_equity": result.equity.iloc[-1], **result.attribution.iloc[-1]}
        assert {name: row[name] for name in wanted} == pytest.approx(wanted, rel=1e-9, abs=1e-9, nan_ok=True)
    assert list(small.table.columns) == list(STATISTICS)
    assert small.table["final_equity"].nunique() == 5, "they are different runs"


def test_what_is_refused_is_kept_with_its_sentence(small: Sweep) -> None:
    assert list(small.invalid.index) == [(0.0003, 0.0004)]
    assert small.invalid.index.names == ["enter", "exit"]
    assert list(small.invalid.columns) == ["why"]
    assert small.invalid["why"].iloc[0].startswith("exit must be below enter: exit=0.0004, enter=0.0003")
    assert list(small.combinations) == [dict(zip(("enter", "exit"), labels, strict=True)) for labels in small.table.index]
    assert small.trials == 5


def test_daily_equity_is_that_of_the_runs(market: Market, small: Sweep) -> None:
    """At the start and at each midnight."""
    assert list(small.daily.columns) == list(small.table.index)
    for (enter, leave), equity in small.daily.items():
        result = bt.run(Fade(enter=enter, exit=leave), market, capital=50_000.0, leverage=2)
        wanted = metrics.daily_equity(result.equity, result.start, 50_000.0)
        np.testing.assert_allclose(equity, wanted, rtol=1e-12)
        assert list(equity.index) == list(wanted.index)


def test_the_best_comes_with_its_odds(small: Sweep) -> None:
    best = small.best
    assert small.table["excess_sharpe"].max() == best.statistics["excess_sharpe"]
    assert best.luck.sharpe == pytest.approx(best.statistics["excess_sharpe"], rel=1e-9)
    assert tuple(best.parameters.values()) == best.statistics.name
    assert best.luck is small.luck
    assert repr(best).startswith(", ".join(f"{name}={value}" for name, value in best.parameters.items()) + "\n")
    assert str(small.luck) in repr(best)
    assert (small.baseline_name, small.baseline.iloc[0]) == ("T-bills", 50_000.0)


def test_it_says_what_it_ran_on(market: Market, small: Sweep) -> None:
    assert (small.strategy, small.capital, small.quote, small.dataset) == ("Fade", 50_000.0, "USDT", market.info)
    assert (small.start, small.end) == (pd.Timestamp("2024-03-01T00:00Z"), market.clock[-1])
    assert small.varied == {"enter": [0.0003, 0.0006], "exit": [0.0, 0.0002, 0.0004]}
    assert small.fixed == {"leverage": 2}


def test_the_best_and_any_other_can_be_run_whole(market: Market, small: Sweep) -> None:
    """The best carries its odds into its report; one that was asked for was not chosen, so that it has none."""
    best, other = small.run(), small.run(enter=0.0006, exit=0.0)
    chosen = bt.run(Fade(**small.best.parameters), market, capital=50_000.0, leverage=2)
    assert best.equity.equals(chosen.equity)
    assert best.luck is small.luck
    assert other.equity.equals(bt.run(Fade(enter=0.0006, exit=0.0), market, capital=50_000.0, leverage=2).equity)
    assert other.luck is None


def test_odds_of_a_best_that_hardly_traded_say_so(small: Sweep) -> None:
    few = small.table.assign(trades=[1.0, 4.0, 5.0, 0.0, 9.0])
    notes = [with_few_trades(replace(small.luck, chosen=row, notes=[]), few).notes for row in range(5)]
    told = "the best made {}: its days follow from so few decisions that these odds say little"
    assert notes == [[told.format("one trade")], [told.format("4 trades")], [], [], []]


def test_only_what_varies_can_be_asked_of_a_sweep(small: Sweep) -> None:
    with pytest.raises(
        ParameterError,
        match=r"^this sweep has no combination enter=0\.0005, exit=0\.0; choose one of sweep\.table, or run it with bt\.run$",
    ):
        small.run(enter=0.0005, exit=0.0)
    with pytest.raises(ParameterError, match=re.escape("this sweep has no combination enter=0.0003, exit=0.0004")):  # it was refused
        small.run(enter=0.0003, exit=0.0004)
    with pytest.raises(ParameterError, match=re.escape('"leverage" does not vary in this sweep: leverage=3; known: enter, exit')):
        small.run(leverage=3)
    with pytest.raises(ParameterError, match="this sweep doesn't know its market: it was put together by hand"):
        replace(small, grid=None).run()


def test_execution_reaches_every_run(market: Market) -> None:
    free = sweep(Fade, market, enter=[0.0003, 0.0006], execution=bt.Execution(spot_fee=0.0, derivative_fee=0.0, half_spread=0.0))
    dear = sweep(Fade, market, enter=[0.0003, 0.0006])
    assert (free.table["final_equity"] > dear.table["final_equity"]).all()


def test_an_object_keeps_its_own_parameters(market: Market) -> None:
    by_object = sweep(Fade(exit=-0.001), market, enter=[0.0003, 0.0006])
    by_name = sweep(Fade, market, enter=[0.0003, 0.0006], exit=-0.001)
    pd.testing.assert_frame_equal(by_object.table, by_name.table)
    assert not by_object.table.equals(sweep(Fade, market, enter=[0.0003, 0.0006]).table)


def test_fields_of_the_rule_vary_too(market: Market) -> None:
    swept = sweep(Fade, market, size=[0.2, 0.5], leverage=[1, 0])
    assert list(swept.table.index) == [(0.2, 1), (0.5, 1)]
    assert swept.invalid["why"].tolist() == ["leverage must be above 0: leverage=0"] * 2
    assert swept.table.loc[(0.2, 1), "final_equity"] == bt.run(Fade(), market, size=0.2).equity.iloc[-1]


def test_of_one_name_the_strategys_own_field_is_meant(market: Market) -> None:
    swept = sweep(Fade, market, max_hold=["1D", None])
    assert swept.table["final_equity"].tolist() == [bt.run(Fade(max_hold=hold), market).equity.iloc[-1] for hold in ("1D", None)]


@pytest.mark.parametrize("values", [[0, 1], range(2), np.arange(2), pd.Series([0, 1]), pd.Index([0, 1]), np.array([0.0, 1.0])])
def test_several_values_come_in_many_ways(market: Market, values: Any) -> None:
    swept = sweep(Fade, market, enter=values, exit=-0.001)
    assert list(swept.table.index) == [0, 1]
    assert swept.table.index.name == "enter", "one parameter is a plain index"
    assert all(type(value) in (int, float) for value in swept.varied["enter"])


def test_a_tuple_is_one_value_and_a_label_in_words(market: Market) -> None:
    swept = sweep(Fade, market, legs=[("perpetual",), ("future", "chain")], exit=[None, 0.0], enter=0.001)
    assert swept.table.index.get_level_values("legs").tolist() == ["perpetual", "perpetual", "future,chain", "future,chain"]
    assert swept.table.index.get_level_values("exit").tolist() == ["none", 0.0, "none", 0.0]
    assert sweep(Fade, market, enter=[0.001, 0.002], legs=("future",)).fixed == {"legs": ("future",)}


def test_an_array_for_the_rule_is_one_signal(market: Market) -> None:
    scale = np.full(len(market), 0.5)
    assert several("scale", scale) is None
    assert several("scale", [scale, None]) is not None
    swept = sweep(Fade, market, enter=[0.0003, 0.0006], scale=scale)
    assert swept.table["final_equity"].iloc[0] == bt.run(Fade(enter=0.0003), market, scale=scale).equity.iloc[-1]


def test_a_mistake_in_a_strategy_is_no_invalid_combination(market: Market) -> None:
    class Broken(Fade):
        def rule(self, market: Market) -> bt.Rule:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        sweep(Broken, market, enter=[0.1, 0.2])


def test_data_that_can_not_be_run_are_collected(market: Market) -> None:
    class Picky(Fade):
        def rule(self, market: Market) -> bt.Rule:
            if self.enter > 0.0005:
                raise DataError("no such leg")
            return super().rule(market)

    swept = sweep(Picky, market, enter=[0.0003, 0.0006])
    assert swept.invalid.to_dict("index") == {0.0006: {"why": "no such leg"}}


# ---------------------------------------------------------------- refusals


def test_an_unknown_parameter_has_a_hint(market: Market) -> None:
    with refused('unknown parameter "entr" of Fade: [0.1, 0.2]; did you mean "enter"?'):
        sweep(Fade, market, entr=[0.1, 0.2])
    with refused('unknown parameter "leverag" of Fade: 2; did you mean "leverage"?'):
        sweep(Fade(), market, enter=[0.1, 0.2], leverag=2)


def test_what_is_no_grid_is_refused(market: Market) -> None:
    with refused("a sweep needs several values of a parameter: none has a list; give enter=[0.05, 0.1], or use bt.run for one run"):
        sweep(Fade, market, enter=0.1)
    with refused("exit has no values: exit=[]; give one or several, or leave it out"):
        sweep(Fade, market, enter=[0.1], exit=[])
    with refused("enter has 0.1 twice: its combinations would be run twice; leave one out"):
        sweep(Fade, market, enter=[0.1, 0.2, 0.1])
    with refused("exit has none twice: its combinations would be run twice; leave one out"):
        sweep(Fade, market, exit=[None, None])


def test_a_grid_that_is_too_large_is_refused_before_it_starts(market: Market) -> None:
    told = "a grid of 1,001,000 combinations is too large: 1,001 of enter × 1,000 of exit, at most 1,000,000; give fewer values, or the size of a sample, as sample=1000"
    with refused(told):
        sweep(Fade, market, enter=np.arange(1001) / 1000, exit=-np.arange(1, 1001) / 1000)
    with refused("enter is a range, which has no grid: enter=0..1; give the size of a sample, as sample=100, or a list"):
        sweep(Fade, market, enter=between(0.0, 1.0))


def test_a_sample_is_swept_in_the_order_it_is_drawn(market: Market) -> None:
    space = {"enter": between(0.0002, 0.0008), "max_hold": ["12h", "2D", None]}
    swept = sweep(Fade, market, exit=-0.001, sample=5, method="sobol", seed=3, **space)  # type: ignore[arg-type]
    assert list(swept.combinations) == combinations(space, sample=5, method="sobol", seed=3)  # type: ignore[arg-type]
    assert swept.varied == space
    for one, equity in zip(swept.combinations, swept.table["final_equity"], strict=True):
        assert equity == pytest.approx(bt.run(Fade(exit=-0.001, **one), market).equity.iloc[-1], rel=1e-12)


def test_where_nothing_runs_the_first_sentence_is_told(market: Market) -> None:
    with refused("none of the 2 combinations of Fade can run, the first because: size must be above 0: size=-1"):
        sweep(Fade, market, size=[-1, 0])
    with refused("capital must be above 0: capital=0"):
        sweep(Fade, market, enter=[0.1, 0.2], capital=0)


def test_what_is_no_strategy_and_no_market_is_refused(market: Market) -> None:
    with pytest.raises(
        ParameterError,
        match=r"^a sweep needs a strategy: it got Rule\(.*; a rule has its signals already: put it in a strategy \(README.md\)$",
    ):
        sweep(bt.Rule(long=market.spot), market, size=[0.1, 0.2])  # type: ignore[arg-type]
    with refused("a sweep needs a strategy: it got 7; give a class, as CashAndCarry"):
        sweep(7, market, size=[0.1, 0.2])  # type: ignore[arg-type]
    with refused("a sweep needs a market: it got data/sample; give bt.load_market(…)"):
        sweep(Fade, "data/sample", size=[0.1, 0.2])  # type: ignore[arg-type]
