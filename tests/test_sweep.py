"""Sweeps: every combination is the run that `bt.run` makes, the order of the grid, what is invalid, what is printed, and every mistake's sentence."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import ether, load

import backtest as bt
from backtest import simulate
from backtest.errors import DataError, ParameterError
from backtest.market import DatasetInfo, Market
from backtest.space import several
from backtest.sweep import MOST, Sweep, sweep, watched


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
        wanted = {**result.metrics, "final_equity": result.equity.iloc[-1]}
        assert row.to_dict() == pytest.approx(wanted, rel=1e-12, nan_ok=True)
        assert list(small.table.columns) == list(wanted)
    assert small.table["final_equity"].nunique() == 5, "they are different runs"


def test_what_is_refused_is_kept_with_its_sentence(small: Sweep) -> None:
    assert list(small.invalid.index) == [(0.0003, 0.0004)]
    assert small.invalid.index.names == ["enter", "exit"]
    assert list(small.invalid.columns) == ["why"]
    assert small.invalid["why"].iloc[0].startswith("exit must be below enter: exit=0.0004, enter=0.0003")
    assert small.combinations == 6


def test_it_says_what_it_ran_on(market: Market, small: Sweep) -> None:
    assert (small.strategy, small.capital, small.quote, small.dataset) == ("Fade", 50_000.0, "USDT", market.info)
    assert (small.start, small.end) == (pd.Timestamp("2024-03-01T00:00Z"), market.clock[-1])
    assert small.varied == {"enter": [0.0003, 0.0006], "exit": [0.0, 0.0002, 0.0004]}
    assert small.fixed == {"leverage": 2}


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


# ---------------------------------------------------------------- what is printed


def test_the_table_shows_every_combination_and_marks_none(small: Sweep) -> None:
    told = repr(small)
    lines = told.splitlines()
    assert max(map(len, lines)) <= 80
    assert "Sweep of Fade" in lines[1]
    assert "SIMULATED DATA" in lines[1]
    assert "grid       enter 2 × exit 3: 6 combinations, 1 of them invalid" in lines
    assert "fixed      leverage=2" in lines
    for (enter, leave), row in small.table.iterrows():
        start = rf"^{enter:g} +{leave:g} +{100 * row['total_return']:.2f}% +{row['sharpe']:.2f} +{100 * row['max_drawdown']:.2f}% +{row['trades']:.0f} "
        assert re.search(start, told, re.MULTILINE), start
    assert "* 1: exit must be below enter" in told
    note = " ".join(told.split())
    assert "5 combinations were run on the same past, in the order of the grid, and none is marked as best" in note
    assert "the best of 5 overstates what it will earn" in note


def fake(varied: dict[str, list[Any]], count: int, why: list[str] | None = None) -> Sweep:
    """A sweep of made-up figures, for what is printed."""
    places = np.arange(count)
    columns = ("total_return", "sharpe", "max_drawdown", "trades", "annual_return", "annual_volatility", "final_equity")
    combined = pd.MultiIndex.from_product(varied.values(), names=list(varied))[:count]
    first, last = pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-02-01", tz="UTC")
    table = pd.DataFrame(dict.fromkeys(columns, 0.001 * places), index=combined)
    invalid = pd.DataFrame({"why": why or []}, index=combined[: len(why or [])], dtype=object)
    info = DatasetInfo("made", "0" * 64, simulated=False, path="made")
    return Sweep("Fade", varied, {}, table, invalid, info, 1e5, "USDT", first, last)


def test_a_long_table_shows_its_ends() -> None:
    lines = repr(fake({"enter": list(range(100))}, 100)).splitlines()
    assert "... 70 more, in sweep.table ..." in lines
    assert [line.split()[0] for line in lines if re.match(r"\d+ +[\d.]+%", line)] == [str(n) for n in (*range(15), *range(85, 100))]
    assert "SIMULATED" not in "".join(lines)
    assert "more, in sweep.table" not in repr(fake({"enter": list(range(31))}, 31))


def test_many_parameters_share_a_column_and_those_with_one_value_stand_above() -> None:
    varied: dict[str, list[Any]] = {f"parameter_{name}": [0.123456789, f"a value {name}"] for name in "abcde"} | {"one": [7]}
    lines = repr(fake(varied, 32)).splitlines()
    assert max(map(len, lines)) <= 80
    assert "fixed      one=7" in lines
    head = next(line for line in lines if "Sharpe" in line)
    assert head.split()[0] == "parameter_a,"
    wide = repr(fake({"enter": [1, 2], "hold": ["a", "b"], "exit": [3]}, 4))
    assert re.search(r"^enter +hold +return +Sharpe +drawdown +trades +a year +volatility$", wide, re.MULTILINE)


def test_of_many_sentences_the_most_frequent_are_shown() -> None:
    why = [f"reason {number}" for number in range(9)] + ["reason 8", "reason 8"]
    told = repr(fake({"enter": list(range(20))}, 20, why))
    assert "Invalid: 11 of 31 combinations" in told
    assert "* 3: reason 8" in told
    assert "* 4 other sentences, in sweep.invalid" in told


def test_one_combination_alone_is_not_the_best_of_many() -> None:
    assert "overstates" not in repr(fake({"enter": [1]}, 1))
    assert "overstates" in repr(fake({"enter": [1, 2]}, 2))


# ---------------------------------------------------------------- progress


@pytest.mark.parametrize(("terminal", "patience", "shown"), [(True, 0.0, True), (True, 60.0, False), (False, 0.0, False)])
def test_progress_is_for_terminals_and_patience(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool, patience: float, shown: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys.modules["backtest.sweep"], "PATIENCE", patience)  # the package has the function by this name
    assert list(watched(iter(range(3)), 3)) == [0, 1, 2]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("run" in captured.err) == shown


def test_it_waits_a_second_before_it_shows_any() -> None:
    from backtest.sweep import PATIENCE

    assert PATIENCE == 1.0


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


def test_a_grid_that_is_too_large_is_refused_before_it_starts(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it has started")

    monkeypatch.setattr(simulate, "run", never)
    told = "a grid of 10,100 combinations is too large: 101 of enter × 100 of exit, at most 10,000; give fewer values, or the size of a sample, as sample=1000"
    with refused(told):
        sweep(Fade, market, enter=np.arange(101) / 100, exit=-np.arange(1, 101) / 100)
    assert MOST == 10_000
    with pytest.raises(AssertionError, match="it has started"):
        sweep(Fade, market, enter=np.arange(100) / 100, exit=-np.arange(1, 101) / 100)


def test_where_nothing_runs_the_first_sentence_is_told(market: Market) -> None:
    with refused("none of the 2 combinations of Fade can run, the first because: size must be above 0: size=-1"):
        sweep(Fade, market, size=[-1, 0])
    with refused("none of the 2 combinations of Fade can run, the first because: capital must be above 0: capital=0"):
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


def test_stopping_leaves_the_bar_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with pytest.raises(KeyboardInterrupt):
        list(watched(stopped(), 2))
