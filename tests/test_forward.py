"""Walk-forward: where the windows lie, that a choice sees its training only, that a test is the plain run of what was chosen, known answers, and every mistake's sentence."""

import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import PERP, SPOT, ether, in_memory, load, only, spot

import backtest as bt
from backtest import forward as forward_module
from backtest import metrics, windows
from backtest.errors import ParameterError
from backtest.forward import WalkForward, listed, stitched, walk_forward
from backtest.market import DAY, Market
from backtest.scan import STATISTICS, Grid, Scanned
from backtest.windows import best_of, longest_hold, merit, rank_correlation, share_beaten, spans_of

NO_COSTS = bt.Execution(spot_fee=0.0, derivative_fee=0.0, half_spread=0.0)
COMBINATIONS: dict[str, Any] = {"enter": [0.0005, 0.0008, 0.001], "exit": [0.0, 0.0003, 0.0009]}
ONE_DAY = pd.Timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Fade(bt.Strategy):
    """Sell the perpetual against spot when its premium is rich."""

    enter: float = bt.param(0.0005, "open at or above this premium")
    exit: float | None = bt.param(0.0, "close at or below it")
    hold: str | None = bt.param(None, "close after this long")

    def rule(self, market: Market) -> bt.Rule:
        signal = bt.premium(market, market.perpetual)
        return bt.Rule(long=market.spot, short=market.perpetual, signal=signal, enter=self.enter, exit=self.exit, max_hold=self.hold)


def tables() -> Any:
    return only(ether(24 * 40), SPOT, PERP)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("forward"), tables())


@pytest.fixture(scope="module")
def walked(market: Market) -> WalkForward:
    """Ten days of training, five of test, three by three combinations of which two are invalid."""
    return walk_forward(Fade, market, train="10D", test="5D", execution=NO_COSTS, **COMBINATIONS)


def refused(told: str) -> Any:
    return pytest.raises(ParameterError, match=f"^{re.escape(told)}$")


# ---------------------------------------------------------------- a grid of which every return is given


@dataclass(frozen=True, eq=False)
class Toy(Grid):
    """Daily returns of each combination, which is called by its number; what never moves in a window has made no trade there."""

    returns: Any = None
    refuse: Callable[[int, tuple[int, int]], str | None] = lambda place, window: None
    seen: list[Any] = field(default_factory=list)

    def run(self, chosen: Sequence[Mapping[str, Any]], *, window: tuple[int, int] | None = None, threads: int = 1) -> Scanned:
        first, final = window or (0, len(self.market))
        self.seen.append((window, self.capital))
        days = self.market.clock[first:final]
        days = pd.DatetimeIndex([days[0] - ONE_DAY]).append(days)
        rows, daily, told = [], [], []
        for one in chosen:
            moves = self.returns[one["enter"], first:final]
            equity = self.capital * np.cumprod(np.concatenate([[1.0], 1.0 + moves]))
            why = self.refuse(one["enter"], (first, final))
            row = dict.fromkeys(STATISTICS, math.nan)
            if why is None:
                found = metrics.return_statistics(pd.Series(equity[1:], days[1:]), days[0], self.capital)
                row |= found | {
                    "excess_sharpe": found["sharpe"],
                    "final_equity": equity[-1],
                    "trades": float((moves != 0.0).any()),
                    "avg_hold_days": 1.0,
                }
            rows.append(row)
            daily.append(equity if why is None else np.full(len(equity), math.nan))
            told.append(why)
        return Scanned(pd.DataFrame(rows, columns=list(STATISTICS)), np.array(daily), days, told, "USD")


@dataclass(frozen=True, eq=False)
class Idle(Toy):
    """The same, with interest where nothing moves."""

    def run(self, chosen: Sequence[Mapping[str, Any]], *, window: tuple[int, int] | None = None, threads: int = 1) -> Scanned:
        found = super().run(chosen, window=window)
        traded = found.table["trades"].to_numpy() > 0.0
        grown = np.where(traded[:, None], 1.0, 1.0001 ** np.arange(found.daily.shape[1]))
        sharpe = found.table["excess_sharpe"].where(traded, 99.0)
        table = found.table.assign(final_equity=found.daily[:, -1] * grown[:, -1], sharpe=sharpe, excess_sharpe=sharpe)
        return replace(found, daily=found.daily * grown, table=table)


def days_market(count: int) -> Market:
    """A market of daily bars."""
    return in_memory({SPOT: spot([100.0] * count)}, start="2024-01-01", step=24.0)


def toy(
    monkeypatch: pytest.MonkeyPatch, returns: Any, refuse: Any = None, seen: list[Any] | None = None, kind: type[Toy] = Toy, **settings: Any
) -> WalkForward:
    """A walk-forward over given daily returns. [combination, day]"""
    values = np.asarray(returns, dtype=float)
    more = {"seen": [] if seen is None else seen} | ({} if refuse is None else {"refuse": refuse})
    monkeypatch.setattr(forward_module, "Grid", lambda *shared: kind(*shared, returns=values, **more))
    settings = {"train": "20D", "test": "10D", "embargo": "0D"} | settings
    return walk_forward(Fade, days_market(values.shape[1]), enter=list(range(len(values))), **settings)


def noise(count: int, days: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(0.0, 0.01, (count, days))


# ---------------------------------------------------------------- windows


def test_tests_tile_the_time_and_trainings_end_before_them(walked: WalkForward, market: Market) -> None:
    table = walked.windows
    assert table["test_start"].iloc[0] == pd.Timestamp(market.start, tz="UTC") + walked.train + walked.embargo
    assert market.clock[-1] - table["test_end"].iloc[-1] < walked.test / 2
    assert table["test_start"].tolist()[1:] == table["test_end"].tolist()[:-1]
    assert (table["train_end"] + walked.embargo == table["test_start"]).all()
    assert (table["train_end"] - table["train_start"] == walked.train).all()
    assert (table["test_end"] - table["test_start"] == walked.test).all()
    assert list(table.index) == list(range(1, len(table) + 1))


def test_windows_hold_the_bars_that_end_in_them() -> None:
    spans, notes = spans_of(days_market(50), 20 * DAY, 10 * DAY, 5 * DAY, False)
    assert [(span.train, span.test) for span in spans] == [((0, 20), (25, 35)), ((10, 30), (35, 45)), ((20, 40), (45, 50))]
    assert notes == ["The last test window is shorter: 5 days."]
    first = pd.Timestamp("2024-01-01", tz="UTC").value
    assert (spans[1].train_start, spans[1].train_end) == (first + 10 * DAY, first + 30 * DAY)
    assert (spans[2].test_start, spans[2].test_end) == (first + 45 * DAY, first + 50 * DAY)


def test_expanding_trainings_begin_with_the_data() -> None:
    spans, _ = spans_of(days_market(50), 20 * DAY, 10 * DAY, 0, True)
    assert [(span.train, span.test) for span in spans] == [((0, 20), (20, 30)), ((0, 30), (30, 40)), ((0, 40), (40, 50))]
    assert len({span.train_start for span in spans}) == 1


@pytest.mark.parametrize(
    ("count", "test", "tests", "told"),
    [
        (50, 10, 3, []),
        (55, 10, 4, ["The last test window is shorter: 5 days."]),
        (54, 10, 3, ["The last 4 days are in no test window: they are less than half of one."]),
        (51, 1, 31, []),
    ],
)
def test_the_rest_of_the_data_is_a_window_if_it_is_half_as_long(count: int, test: int, tests: int, told: list[str]) -> None:
    spans, notes = spans_of(days_market(count), 20 * DAY, test * DAY, 0, False)
    assert (len(spans), notes) == (tests, told)


# ---------------------------------------------------------------- a test is a run


def test_every_test_is_the_plain_run_of_what_was_chosen_on_what_the_account_then_held(walked: WalkForward, market: Market) -> None:
    capital = 100_000.0
    for window, row in walked.windows.iterrows():
        assert row["capital"] == capital
        chosen = walked.chosen.loc[window].to_dict()
        part = bt.load_market(market.info.path, start=row["test_start"], end=row["test_end"])
        run = bt.run(Fade(**chosen), part, capital=capital, execution=NO_COSTS)
        mine = walked.equity.loc[row["test_start"] : row["test_end"]]
        plain = metrics.daily_equity(run.equity, row["test_start"], capital)
        np.testing.assert_allclose(mine.iloc[1:], plain.iloc[1:], rtol=1e-9)
        assert mine.iloc[0] == pytest.approx(capital, rel=1e-12)
        for key in ("sharpe", "trades", "max_drawdown"):
            assert walked.out_of_sample[key].loc[window] == pytest.approx(run.metrics[key], rel=1e-9)
        capital = row["equity"]
        assert capital == pytest.approx(run.equity.iloc[-1], rel=1e-9)
    assert walked.equity.iloc[-1] == capital
    assert walked.windows["equity"].nunique() == len(walked.windows)


def test_the_choice_is_the_best_of_plain_runs_of_the_training(walked: WalkForward, market: Market) -> None:
    for window, row in walked.windows.iloc[:2].iterrows():
        part = bt.load_market(market.info.path, start=row["train_start"], end=row["train_end"])
        runs = {
            (enter, leave): bt.run(Fade(enter=enter, exit=leave), part, execution=NO_COSTS)
            for enter in COMBINATIONS["enter"]
            for leave in COMBINATIONS["exit"]
            if leave < enter
        }
        best = max(runs, key=lambda name: runs[name].metrics["excess_sharpe"])
        assert tuple(walked.chosen.loc[window]) == best
        assert walked.in_sample["sharpe"].loc[window] == pytest.approx(runs[best].metrics["sharpe"], rel=1e-9)
        assert row["combinations"] == len(runs) == 7
        trained = walked.training[int(str(window)) - 1]
        assert trained is not None
        np.testing.assert_allclose(trained, metrics.daily_equity(runs[best].equity, row["train_start"], 100_000.0), rtol=1e-9)


def test_what_comes_after_a_training_changes_no_choice(walked: WalkForward, tmp_path: Path) -> None:
    for window in (1, 3):
        end = walked.windows["train_end"].loc[window]
        other = tables()
        for frame in other.bars.values():
            later = frame.index > end
            frame.loc[later] *= 1.0 + np.random.default_rng(5).uniform(0.0, 0.004, int(later.sum()))[:, None]
        folder = tmp_path / str(window)
        folder.mkdir()
        again = walk_forward(Fade, load(folder, other), train="10D", test="5D", execution=NO_COSTS, **COMBINATIONS)
        assert again.embargo == walked.embargo
        pd.testing.assert_frame_equal(again.chosen.loc[:window], walked.chosen.loc[:window])
        pd.testing.assert_frame_equal(again.in_sample.loc[:window], walked.in_sample.loc[:window])
        assert again.windows["equity"].loc[window] != walked.windows["equity"].loc[window], "the test itself has changed"


# ---------------------------------------------------------------- known answers


def test_it_takes_what_was_best_and_gets_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first combination gains for 34 days and loses afterwards, the second the other way round."""
    up, down = 0.01 * np.tile([1.0, 3.0], 30), -0.01 * np.tile([3.0, 1.0], 30)
    found = toy(monkeypatch, [[*up[:34], *down[34:]], [*down[:34], *up[34:]]])
    assert found.chosen["enter"].tolist() == [0, 0, 0, 1]
    assert found.windows["capital"].tolist()[0] == 100_000.0
    gain, loss = 1.01 * 1.03, 0.97 * 0.99
    growth = [gain**5, gain**2 * loss**3, loss**5, gain**5]
    assert found.windows["equity"].to_numpy() == pytest.approx(100_000.0 * np.cumprod(growth))
    assert found.windows["beaten"].tolist() == [1.0, 0.0, 0.0, 1.0]
    assert found.hindsight.iloc[-1] == pytest.approx(100_000.0 * gain**18 * loss**2)
    assert found.windows["test_start"].iloc[0] == found.equity.index[0] == pd.Timestamp("2024-01-21", tz="UTC")
    assert found.equity.index.equals(pd.date_range("2024-01-21", "2024-03-01", tz="UTC", unit="ns"))
    assert found.efficiency < 0.2


def test_each_test_runs_on_what_is_held_and_trainings_on_the_first_capital(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    found = toy(monkeypatch, noise(3, 50), seen=seen, capital=5_000.0)
    assert {run for run in seen if run[0] is None} == {(None, 5_000.0)}, "all the data, in parts"
    assert [run for run in seen if run[0] is not None] == [
        run
        for span, capital in zip([(0, 20), (10, 30), (20, 40)], found.windows["capital"], strict=True)
        for run in ((span, 5_000.0), ((span[1], span[1] + 10), capital))
    ]
    assert found.trials == 3 + 3 * 3


def test_the_stitched_curve_has_its_own_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    returns = noise(4, 80)
    found = toy(monkeypatch, returns)
    taken = np.concatenate([returns[enter, 20 + 10 * window : 30 + 10 * window] for window, enter in enumerate(found.chosen["enter"])])
    np.testing.assert_allclose(found.equity.pct_change().dropna(), taken, rtol=1e-9)
    kept = found.statistics.loc["out_of_sample"]
    assert kept["sharpe"] == pytest.approx(taken.mean() / taken.std(ddof=1) * math.sqrt(365))
    assert kept["annual_return"] == pytest.approx(np.prod(1.0 + taken) ** (365 / 60) - 1.0)
    curve = np.concatenate([[1.0], np.cumprod(1.0 + taken)])
    assert kept["max_drawdown"] == pytest.approx((1.0 - curve / np.maximum.accumulate(curve)).max())
    assert kept["calmar"] == pytest.approx(kept["annual_return"] / kept["max_drawdown"])
    trainings = [returns[enter, 10 * window : 20 + 10 * window] for window, enter in enumerate(found.chosen["enter"])]
    promised = np.mean([part.mean() / part.std(ddof=1) * math.sqrt(365) for part in trainings])
    assert found.statistics.loc["in_sample", "sharpe"] == pytest.approx(promised)
    assert found.efficiency == pytest.approx(kept["sharpe"] / promised)
    whole = (returns.mean(axis=1) / returns.std(axis=1, ddof=1)).max() * math.sqrt(365)
    assert found.statistics.loc["whole_period", "sharpe"] == pytest.approx(whole)
    assert found.statistics.loc["hindsight", "annual_return"] > kept["annual_return"]
    assert found.luck.sharpe == pytest.approx(whole)
    assert found.luck.trials == found.trials == 4 * 7


def test_within_a_window_the_drawdown_is_that_of_its_bars(walked: WalkForward) -> None:
    assert walked.statistics.loc["out_of_sample", "max_drawdown"] >= walked.out_of_sample["max_drawdown"].max()
    assert walked.statistics.loc["hindsight", "max_drawdown"] >= walked.best_in_test["max_drawdown"].max()


def test_an_edge_is_found_and_noise_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    luck = toy(monkeypatch, noise(20, 400), train="100D", test="50D")
    assert abs(luck.rank_correlation) < 0.3
    assert luck.efficiency < 0.5
    edge = noise(20, 400) + 0.006 * np.arange(20)[:, None] / 19.0
    skill = toy(monkeypatch, edge, train="100D", test="50D")
    assert skill.rank_correlation > 0.3
    assert skill.efficiency > 0.6
    assert skill.windows["beaten"].mean() > 0.7


@pytest.mark.parametrize(("by", "place"), [("annual_return", 2), ("max_drawdown", 1), ("annual_volatility", 1), ("total_return", 2)])
def test_lower_is_better_where_it_is(monkeypatch: pytest.MonkeyPatch, by: str, place: int) -> None:
    returns = np.array([0.0, 0.001, 0.01])[:, None] * np.tile([2.0, -1.0], 20)
    found = toy(monkeypatch, returns, by=by)
    assert found.chosen["enter"].tolist() == [place] * 2, "the first never trades: its equity is the steadiest of all"
    assert found.windows["in_sample"].equals(found.in_sample[by])
    assert found.windows["out_of_sample"].equals(found.out_of_sample[by])


def test_of_equals_the_first_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    returns = noise(1, 40)[[0, 0, 0]] * np.array([[0.0], [1.0], [1.0]])
    found = toy(monkeypatch, returns)
    assert found.chosen["enter"].tolist() == [1, 1]
    assert found.windows["beaten"].tolist() == [0.5, 0.5], "an equal one counts half, one without a trade not at all"


def test_merit_knows_no_refused_and_no_idle_ones() -> None:
    table = pd.DataFrame(
        {"excess_sharpe": [9.0, 1.0, math.nan, 2.0], "max_drawdown": [0.0, 0.3, math.nan, 0.4], "trades": [0.0, 1.0, math.nan, 5.0]}
    )
    assert best_of(table, "excess_sharpe") == 3
    assert best_of(table, "max_drawdown") == 1
    np.testing.assert_array_equal(merit(table, "max_drawdown"), [math.nan, -0.3, math.nan, -0.4])
    assert best_of(table.iloc[[0, 2]], "excess_sharpe") is None


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        ([1.0, 2.0, 5.0, 9.0], 1.0),
        ([9.0, 5.0, 2.0, 1.0], -1.0),
        ([4.0, 1.0, 3.0, 2.0], -0.4),
        ([1.0, 1.0, 1.0, 1.0], math.nan),
        ([1.0, math.nan, math.nan, 2.0], math.nan),
    ],
)
def test_rank_correlation_is_spearmans(other: list[float], wanted: float) -> None:
    assert rank_correlation(np.array([0.1, 0.2, 0.3, 0.4]), np.array(other)) == pytest.approx(wanted, nan_ok=True)


def test_rank_correlation_with_equals_is_scipys() -> None:
    from scipy.stats import spearmanr

    one, other = np.random.default_rng(3).integers(0, 5, (2, 30)).astype(float)
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic, rel=1e-12)


def test_the_share_that_is_beaten() -> None:
    values = np.array([3.0, 1.0, math.nan, 2.0, 2.0])
    assert [share_beaten(values, place) for place in (0, 1, 3)] == [1.0, 0.0, 0.5]
    assert math.isnan(share_beaten(values, 2))
    assert math.isnan(share_beaten(np.array([1.0]), 0))


# ---------------------------------------------------------------- windows in cash


def test_without_a_trade_in_training_the_account_stays_in_cash(monkeypatch: pytest.MonkeyPatch) -> None:
    returns = noise(2, 50)
    returns[:, 10:30] = 0.0
    found = toy(monkeypatch, returns)
    assert found.windows["cash"].tolist() == ["", "no combination made a trade in training", ""]
    assert found.windows["equity"].iloc[1] == found.windows["capital"].iloc[1]
    assert found.chosen["enter"].iloc[1] is None
    assert found.training[1] is None
    assert found.out_of_sample.iloc[1].isna().all()
    assert "Window 2 stayed in cash, without interest: no combination made a trade in training." in found.notes


def test_what_is_refused_in_training_is_not_chosen_and_in_the_test_stays_in_cash(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(place: int, window: tuple[int, int]) -> str | None:
        return "no data" if (place == 0 and window == (0, 20)) or window in ((10, 30), (40, 50)) else None

    returns = noise(2, 60)
    returns[0] += 0.05
    found = toy(monkeypatch, returns, refuse=no)
    assert found.chosen["enter"].tolist() == [1, None, 0, 0]
    assert found.windows["combinations"].tolist() == [1, 0, 2, 2]
    assert found.windows["cash"].tolist() == [
        "",
        "every combination is refused in training, the first because: no data",
        "the chosen combination is refused in the test: no data",
        "",
    ]
    assert found.in_sample["sharpe"].notna().tolist() == [True, False, True, True], "what was promised counts, whatever came of it"
    assert found.out_of_sample["sharpe"].notna().tolist() == [True, False, False, True]


def test_windows_of_one_reason_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    returns = noise(2, 90)
    returns[:, :50] = 0.0
    found = toy(monkeypatch, returns)
    assert "Windows 1 to 4 stayed in cash, without interest: no combination made a trade in training." in found.notes
    returns[:] = 0.0
    assert toy(monkeypatch, returns).windows["cash"].ne("").all()
    assert math.isnan(toy(monkeypatch, returns).efficiency)


def test_a_statistic_that_nobody_has_chooses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = toy(monkeypatch, noise(2, 40), by="spot_beta")
    assert set(found.windows["cash"]) == {"the statistic is unknown for every combination in training"}


def test_a_test_without_a_trade_has_no_statistic(monkeypatch: pytest.MonkeyPatch) -> None:
    returns = noise(2, 50)
    returns[:, 20:30] = 0.0
    found = toy(monkeypatch, returns)
    assert found.windows["out_of_sample"].isna().tolist() == [True, False, False]
    assert found.windows["beaten"].isna().tolist() == [True, False, False]
    assert found.windows["cash"].tolist() == [""] * 3
    assert "In window 1 the chosen combination made no trade in its test: what its account earned there is interest." in found.notes
    assert (found.traded, len(found.windows)) == (2, 3)
    assert "What was chosen made a trade in 2 of 3 tests." in " ".join(repr(found).split())
    returns[0, :20] = 0.01 + 0.001 * np.arange(20)
    returns[:, 20:] = 0.0
    idle = toy(monkeypatch, returns, kind=Idle, train="20D", test="20D", embargo="10D")
    assert idle.statistics["sharpe"].loc["in_sample"] > 0.0
    assert idle.statistics["sharpe"].loc["out_of_sample"] > 0.0
    assert math.isnan(idle.efficiency), "interest keeps no promise"
    assert idle.windows[["out_of_sample", "best_in_test"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ([3], "window 3"),
        ([1, 2], "windows 1 and 2"),
        ([1, 2, 5], "windows 1, 2 and 5"),
        ([1, 2, 3], "windows 1 to 3"),
        ([1, 4, 5, 6, 9, 10], "windows 1, 4 to 6, 9 and 10"),
    ],
)
def test_windows_in_a_row_are_told_together(numbers: list[int], told: str) -> None:
    assert listed(numbers) == told


def test_hindsight_earns_what_the_chosen_does_where_nothing_trades() -> None:
    """Interest on cash is no trade, and no knowledge either."""
    market = days_market(40)
    returns = noise(2, 40)
    returns[:, 20:] = 0.0
    grid = Idle(Fade, market, 1_000.0, None, {}, returns=returns)
    (step, _) = windows.walked(grid, [{"enter": 0}, {"enter": 1}], spans_of(market, 20 * DAY, 10 * DAY, 0, False)[0], "excess_sharpe")
    assert step.kept["trades"] == 0.0
    assert step.equity.iloc[-1] == pytest.approx(1_000.0 * 1.0001**10)
    pd.testing.assert_series_equal(step.hindsight, step.equity)


def test_a_lost_account_trades_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    returns = noise(2, 60)
    returns[:, 25] = -1.0
    found = toy(monkeypatch, returns)
    assert found.windows["equity"].tolist() == [0.0] * 4
    assert found.windows["cash"].tolist() == ["", *["nothing is left of the capital"] * 3]
    assert found.equity.iloc[-1] == 0.0


def test_a_window_without_bars_is_told() -> None:
    market = days_market(40)
    span = replace(spans_of(market, 20 * DAY, 10 * DAY, 0, False)[0][0], test=(20, 20))
    grid = Toy(Fade, market, 1_000.0, None, {}, returns=noise(2, 40))
    (step,) = windows.walked(grid, [{"enter": 0}, {"enter": 1}], [span], "excess_sharpe")
    assert step.cash == "it has no bars in the test"
    assert (step.equity == 1_000.0).all()
    assert len(step.equity) == 11
    (step,) = windows.walked(grid, [{"enter": 0}, {"enter": 1}], [replace(span, test=(20, 30), train=(0, 0))], "excess_sharpe")
    assert step.cash == "it has no bars in training"


def test_a_curve_that_ends_between_midnights_joins_the_next_one() -> None:
    index = [pd.DatetimeIndex([f"2024-01-0{day}T08:00Z", f"2024-01-0{day + 1}T00:00Z", f"2024-01-0{day + 1}T08:00Z"]) for day in (1, 2)]
    whole = stitched([pd.Series([1.0, 2.0, 4.0], index[0]), pd.Series([8.0, 4.0, 2.0], index[1])])
    assert whole.to_dict() == {index[0][0]: 1.0, index[0][1]: 2.0, index[1][1]: 2.0, index[1][2]: 1.0}


# ---------------------------------------------------------------- the embargo


def test_the_embargo_is_the_longest_hold_of_the_first_training(walked: WalkForward, market: Market) -> None:
    part = bt.load_market(market.info.path, end=walked.windows["train_end"].iloc[0])
    held = pd.Timedelta(0)
    for enter in COMBINATIONS["enter"]:
        for leave in COMBINATIONS["exit"]:
            if leave < enter:
                trades = bt.run(Fade(enter=enter, exit=leave), part, execution=NO_COSTS).trades
                closed = trades[trades["exited_at"].notna()]
                held = max(held, (closed["exited_at"] - closed["entered_at"]).max())
    assert walked.embargo == held.ceil("D") > pd.Timedelta(0)
    words = f"{held / ONE_DAY:g} days" if held != ONE_DAY else "1 day"
    assert walked.notes[0] == (
        f"The embargo of {walked.embargo.days} days is the longest trade of the combinations in the first training window ({words})."
    )


def test_a_rule_that_limits_its_holds_says_how_long_the_embargo_is(market: Market) -> None:
    found = walk_forward(Fade, market, train="10D", test="5D", enter=[0.0005], exit=-1.0, hold=["6h", "30h"])
    assert found.embargo == pd.Timedelta("2D")
    assert found.notes[0] == "The embargo of 2 days is the largest max_hold of a combination (1.25 days)."
    free = walk_forward(Fade, market, train="10D", test="5D", enter=[0.0005, 0.0006], exit=-1.0)
    assert free.embargo == pd.Timedelta(0)
    assert (
        free.notes[0]
        == "No embargo: no trade was closed in the first training window; give embargo=… where positions are held across windows."
    )


def test_one_that_leaves_the_limit_out_is_run(market: Market) -> None:
    grid = Grid(Fade, market, 100_000.0, NO_COSTS, {"exit": 0.0009})
    tried = [{"enter": 0.001, "hold": hold} for hold in ("1h", None)]
    first = grid.run(tried, window=(0, 240))
    length, told = longest_hold(grid, tried, first, (0, 240), "excess_sharpe")
    assert "the longest trade" in told
    assert length == DAY


@pytest.mark.parametrize("given", ["3D", pd.Timedelta("3D")])
def test_an_embargo_may_be_given(monkeypatch: pytest.MonkeyPatch, given: Any) -> None:
    found = toy(monkeypatch, noise(2, 60), embargo=given)
    assert found.embargo == pd.Timedelta("3D")
    assert (found.windows["test_start"] - found.windows["train_end"] == found.embargo).all()


def test_what_is_odd_about_an_embargo_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    long = toy(monkeypatch, noise(2, 60), embargo="12D")
    assert "The embargo of 12 days is longer than a test of 10 days: what is traded was learned more than a test ago." in long.notes
    short = toy(monkeypatch, noise(2, 40), embargo="0D")
    assert (
        "In windows 1 and 2 the chosen combination held longer in training (1 day on average at most) than the embargo of 0 days; give a longer embargo=… to "
        "keep such trades apart."
    ) in short.notes


# ---------------------------------------------------------------- what is printed and written


def test_the_table_shows_both_sides_of_every_window(walked: WalkForward) -> None:
    lines = repr(walked).splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(repr(walked).split())
    assert re.fullmatch("Walk-forward of Fade +SIMULATED DATA", lines[1])
    assert "grid enter 3 × exit 3: 9 combinations, tuned by Sharpe" in text
    for name, key in (("promised in sample (mean)", "in_sample"), ("OUT OF SAMPLE", "out_of_sample")):
        row = walked.statistics.loc[key]
        assert f"{name} {100 * row['annual_return']:.2f}% {100 * row['annual_volatility']:.2f}% {row['sharpe']:.2f}" in text
    for window, row in walked.windows.iterrows():
        dates = f"{row['test_start']:%Y-%m-%d} {row['test_end']:%Y-%m-%d}"
        chosen = ", ".join(f"{value:g}" for value in walked.chosen.loc[window])
        assert f"{window} {dates} {chosen} {row['in_sample']:.2f} {row['out_of_sample']:.2f} {row['equity']:,.2f}" in text
    assert f"{walked.efficiency:.2f} of the promised one" in text
    assert "Best of all data by Sharpe: the odds that it is luck" in text
    assert f"Of {walked.trials:,} combinations tried" in text
    assert walked.notes[0].split(" (")[0] in text


def test_long_walks_show_their_ends_and_cash(monkeypatch: pytest.MonkeyPatch) -> None:
    returns = noise(2, 420)
    returns[:, :30] = 0.0
    lines = repr(toy(monkeypatch, returns, expanding=True)).splitlines()
    assert max(map(len, lines)) <= 80
    assert "... 10 more, in forward.windows ..." in lines
    assert re.match(r"1 +2024-01-21 2024-01-31 +in cash +– +– +100,000.00$", next(line for line in lines if line.startswith("1 ")))
    assert "expanding from 20 days of training" in " ".join(lines)


def test_it_can_be_written_as_json(walked: WalkForward, tmp_path: Path) -> None:
    walked.to_json(tmp_path / "forward.json")
    read = json.loads((tmp_path / "forward.json").read_text(encoding="utf-8"))
    assert read["statistics"]["out_of_sample"]["sharpe"] == walked.statistics.loc["out_of_sample", "sharpe"]
    assert read["efficiency"] == walked.efficiency
    assert read["luck"]["trials"] == walked.trials
    assert [window["parameters"] for window in read["windows"]] == walked.chosen.to_dict("records")
    assert read["windows"][0]["test_start"] == walked.windows["test_start"].iloc[0].isoformat().replace("+00:00", "Z")
    assert read["equity"][-1] == [walked.equity.index[-1].isoformat().replace("+00:00", "Z"), walked.equity.iloc[-1]]


def test_its_page_tells_what_was_promised_and_kept(walked: WalkForward, tmp_path: Path) -> None:
    walked.report(tmp_path / "forward.html")
    page = (tmp_path / "forward.html").read_text(encoding="utf-8")
    assert "Walk-forward of Fade" in page
    assert f"{walked.statistics.loc['out_of_sample', 'sharpe']:.2f}" in page


def test_it_says_what_it_ran_on(walked: WalkForward, market: Market) -> None:
    assert (walked.strategy, walked.by, walked.capital, walked.quote, walked.dataset) == (
        "Fade",
        "excess_sharpe",
        100_000.0,
        "USDT",
        market.info,
    )
    assert (dict(walked.varied), dict(walked.fixed), walked.expanding) == (COMBINATIONS, {}, False)
    assert len(walked.combinations) == 9
    assert len(walked.whole.table) == 7
    pd.testing.assert_frame_equal(walked.whole.table, bt.sweep(Fade, market, execution=NO_COSTS, **COMBINATIONS).table)
    assert walked.luck is walked.luck, "computed once"


def test_a_sample_of_ranges_may_be_walked(market: Market) -> None:
    from backtest.space import between

    found = walk_forward(
        Fade, market, train="15D", test="10D", embargo="1D", enter=between(0.0004, 0.001), sample=3, seed=4, hold="1D", size=0.3
    )
    assert len(found.combinations) == 3
    assert "grid       enter sampled: 3 combinations" in repr(found)
    assert found.fixed == {"hold": "1D", "size": 0.3}


@pytest.mark.parametrize(("terminal", "shown"), [(True, True), (False, False)])
def test_progress_is_for_terminals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool, shown: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(forward_module, "PATIENCE", 0.0)
    toy(monkeypatch, noise(2, 60))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("window" in captured.err) == shown


# ---------------------------------------------------------------- refusals


def test_what_is_not_asked_rightly_is_refused(market: Market) -> None:
    with refused('unknown statistic "sharp" to tune by; did you mean "sharpe"?'):
        walk_forward(Fade, market, by="sharp", enter=[0.1, 0.2])
    with refused('unknown parameter "entr" of Fade: [0.1]; did you mean "enter"?'):
        walk_forward(Fade, market, entr=[0.1])
    with refused("a walk-forward tunes parameters that have several values: none has a list; give enter=[0.05, 0.1]"):
        walk_forward(Fade, market, enter=0.1)
    with refused("a walk-forward needs a strategy: it got 7; give a class, as CashAndCarry"):
        walk_forward(7, market, enter=[0.1])  # type: ignore[arg-type]
    with refused("a walk-forward needs a market: it got data; give bt.load_market(…)"):
        walk_forward(Fade, "data", enter=[0.1])  # type: ignore[arg-type]
    with refused("expanding must be true or false: expanding=yes"):
        walk_forward(Fade, market, train="10D", test="5D", embargo="0D", expanding="yes", enter=[0.1])  # type: ignore[arg-type]
    with refused("capital must be a number: capital=None; leave it out for 100,000"):
        walk_forward(Fade, market, capital=None, enter=[0.1])  # type: ignore[arg-type]
    with refused("capital must be a finite number: capital=much"):
        walk_forward(Fade, market, capital="much", enter=[0.1])  # type: ignore[arg-type]
    with refused("capital must be above 0: capital=0"):
        walk_forward(Fade, market, capital=0, enter=[0.1])
    with refused("execution must be an Execution: execution=free; give bt.Execution(…), or leave it out"):
        walk_forward(Fade, market, execution="free", enter=[0.1])  # type: ignore[arg-type]


def test_windows_that_can_not_be_are_refused(market: Market) -> None:
    with refused('train must be a duration like "90D": train=None'):
        walk_forward(Fade, market, train=None, enter=[0.1])  # type: ignore[arg-type]
    with refused('train must be a duration like "30D" or "8h": train=\'long\''):
        walk_forward(Fade, market, train="long", enter=[0.1])
    with refused(
        "train must be at least 3 days, as statistics are of daily equity and a window has bars: train='2D'; give a longer window"
    ):
        walk_forward(Fade, market, train="2D", enter=[0.1])
    with refused("test must be at least 1 day, as statistics are of daily equity and a window has bars: test='8h'; give a longer window"):
        walk_forward(Fade, market, test="8h", enter=[0.1])
    with refused("embargo must be longer than zero: embargo='-1D'; leave it out for none"):
        walk_forward(Fade, market, embargo="-1D", enter=[0.1])
    span = "(2024-03-01T00:00Z to 2024-04-10T00:00Z)"
    with refused(
        f"the windows are longer than the data: a training of 365 days and a test of 90 days in 40 days {span}; give shorter windows, or load a longer period"
    ):
        walk_forward(Fade, market, enter=[0.1])
    with refused(
        f"the windows are longer than the data: a training of 30 days, an embargo of 6 days and a test of 5 days in 40 days {span}; give shorter windows or "
        "embargo=…, or load a longer period"
    ):
        walk_forward(Fade, market, train="30D", test="5D", embargo="6D", enter=[0.1])
    with refused(
        f"the windows are longer than the data: a training of 30 days, an embargo of 6 days and a test of 5 days in 40 days {span} (The embargo of 6 days is the "
        "largest max_hold of a combination); give shorter windows or embargo=…, or load a longer period"
    ):
        walk_forward(Fade, market, train="30D", test="5D", hold="6D", enter=[0.0005])


def test_where_nothing_runs_the_first_sentence_is_told(market: Market) -> None:
    with refused("none of the 2 combinations of Fade can run, the first because: size must be above 0: size=-1"):
        walk_forward(Fade, market, train="10D", test="5D", size=[-1, 0])
