"""Searches: every trial is the run itself and counts, nothing is run twice, the same seed finds the same, and every mistake's sentence."""

import importlib.util
import logging
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
import pandas as pd
import pytest
from markets import ether, load

import backtest as bt
from backtest.errors import ParameterError
from backtest.luck import YEAR
from backtest.market import Market
from backtest.scan import STATISTICS, Grid, Scanned
from backtest.space import between
from backtest.study import BATCH, MOST, Search, search
from backtest.sweep import Sweep

module = sys.modules["backtest.study"]  # the package has the function by this name
ENTER, EXIT = between(0.0001, 0.002, log=True), between(-0.0002, 0.0004)
DAYS = 400
Floats = npt.NDArray[np.float64]


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
    return load(tmp_path_factory.mktemp("search"), ether())


@pytest.fixture(scope="module")
def found(market: Market) -> Search:
    """Forty trials, of which some are refused and some don't trade."""
    return search(Fade, market, trials=40, enter=ENTER, exit=EXIT, leverage=2, capital=50_000.0)


def refused(told: str) -> Any:
    return pytest.raises(ParameterError, match=f"^{re.escape(told)}$")


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Put a function of the parameters in the place of the runs: of their Sharpe ratios, or of their daily returns. What is run is noted."""
    ran: list[dict[str, Any]] = []
    days = pd.date_range("2024-03-01", periods=DAYS + 1, tz="UTC")

    def plant(sharpe: Callable[..., float] | None = None, returns: Callable[..., Floats] | None = None) -> list[dict[str, Any]]:
        def run(self: Grid, chosen: Sequence[Mapping[str, Any]], *, window: tuple[int, int] | None = None, threads: int = 1) -> Scanned:
            ran.extend(map(dict, chosen))
            rows, daily = [], []
            for one in chosen:
                if returns is not None:
                    made = returns(**one)
                    value = YEAR * float(made.mean() / made.std(ddof=1))
                else:
                    value = sharpe(**one) if sharpe else math.nan
                    made = noise(one) + (0.0 if math.isnan(value) else value * 0.01 / YEAR)
                daily.append(self.capital * np.cumprod(np.concatenate([[1.0], 1.0 + made])))
                trades = 0.0 if math.isnan(value) else 3.0
                rows.append(
                    dict.fromkeys(STATISTICS, 0.0) | {"sharpe": value, "excess_sharpe": value, "max_drawdown": -value, "trades": trades}
                )
            return Scanned(pd.DataFrame(rows), np.array(daily), days, [None] * len(chosen), "USDT")

        monkeypatch.setattr(Grid, "run", run)
        cash = lambda market, capital: (pd.Series(capital, index=days), "cash")  # noqa: E731
        monkeypatch.setattr(sys.modules["backtest.sweep"], "baseline_of", cash)
        monkeypatch.setattr(sys.modules["backtest.sweep"], "idle_of", lambda grid: pd.Series(grid.capital, index=days))
        return ran

    return plant


def noise(one: Mapping[str, Any]) -> Floats:
    """Daily returns of mean 0 and deviation 1 %, others for other parameters."""
    made = np.random.default_rng(abs(hash(tuple(one.values())))).normal(size=DAYS)
    return np.asarray(0.01 * (made - made.mean()) / made.std(ddof=1))


def hill(enter: float, exit: float = 0.0001, size: float = 0.6, leverage: float = 3.0) -> float:
    """A smooth objective, whose highest point is 2."""
    return 2.0 - math.log(enter / 0.0007) ** 2 - ((exit - 0.0001) / 0.0001) ** 2 - ((size - 0.6) / 0.2) ** 2 - (leverage - 3.0) ** 2


def ridge(enter: float, exit: float, size: float, leverage: float) -> float:
    """The same, but enter and exit matter together, and so do size and leverage."""
    one, two, three, four = math.log(enter / 0.0007), (exit - 0.0001) / 0.0001, (size - 0.6) / 0.2, leverage - 3.0
    return 2.0 - 2.0 * (one + two) ** 2 - 0.3 * (one - two) ** 2 - 2.0 * (three + four) ** 2 - 0.3 * (three - four) ** 2


# ---------------------------------------------------------------- the trials


def test_every_trial_is_the_run_itself(market: Market, found: Search) -> None:
    told = found.history
    assert list(told.columns) == ["enter", "exit", "value", "best", "state", "why"]
    assert list(told.index) == list(range(40))
    for _, trial in told[told["state"] == "complete"].iloc[::5].iterrows():
        result = bt.run(Fade(enter=trial["enter"], exit=trial["exit"]), market, capital=50_000.0, leverage=2)
        assert trial["value"] == pytest.approx(result.metrics["excess_sharpe"], rel=1e-9)
        row = found.table.loc[(trial["enter"], trial["exit"])]
        assert row["final_equity"] == pytest.approx(result.equity.iloc[-1], rel=1e-12)
        assert found.daily[(trial["enter"], trial["exit"])].iloc[-1] == pytest.approx(result.equity.iloc[-9], rel=1e-12), "midnight"
    assert {"complete", "pruned"} == set(told["state"])


def test_what_has_no_value_says_why_and_is_not_zero(found: Search) -> None:
    told = found.history
    nothing = told[told["state"] == "pruned"]
    assert nothing["value"].isna().all()
    assert not told.loc[told["state"] == "complete", "why"].any()
    crossed = nothing[nothing["exit"] >= nothing["enter"]]
    idle = nothing[nothing["exit"] < nothing["enter"]]
    assert len(crossed) > 1
    assert crossed["why"].str.startswith("exit must be below enter: exit=").all()
    assert len(idle) > 1
    assert (idle["why"] == "it makes no trade").all()
    assert (found.table.loc[list(zip(idle["enter"], idle["exit"], strict=True)), "trades"] == 0.0).all(), "it ran"
    assert list(found.invalid.index) == list(zip(crossed["enter"], crossed["exit"], strict=True))
    assert list(found.invalid["why"]) == list(crossed["why"])
    assert len(found.table) + len(found.invalid) == 40


def test_it_says_what_it_ran_on(market: Market, found: Search) -> None:
    assert (found.strategy, found.capital, found.quote, found.dataset) == ("Fade", 50_000.0, "USDT", market.info)
    assert (found.start, found.end) == (pd.Timestamp("2024-03-01T00:00Z"), market.clock[-1])
    assert found.varied == {"enter": ENTER, "exit": EXIT}
    assert found.fixed == {"leverage": 2}
    assert (found.trials, found.by, len(found.study.trials)) == (40, "excess_sharpe", 40)
    assert [tuple(one.values()) for one in found.combinations] == list(found.table.index) == list(found.daily.columns)


def test_the_study_is_optunas_own(found: Search) -> None:
    """Its values are ours, its parameters the same to six digits."""
    told = found.history
    best = found.study.best_trial
    assert best.value == told["value"].max() == told["best"].iloc[-1]
    assert best.params == pytest.approx(told.loc[best.number, ["enter", "exit"]].to_dict(), rel=1e-5, abs=1e-9)


def test_a_combination_can_be_typed_again(found: Search) -> None:
    for value in [*found.history["enter"], *found.history["exit"]]:
        assert value == float(f"{value:.9g}")


def test_the_best_so_far_never_falls(planted: Any, market: Market) -> None:
    planted(lambda enter: math.nan if enter > 0.001 else -enter)
    told = search(Fade, market, trials=30, enter=ENTER, sampler="random").history
    assert told["value"].isna().any()
    assert told["best"].iloc[-1] == told["value"].max()
    known = told["best"].dropna()
    assert known.is_monotonic_increasing
    assert len(known) == 30 - told["value"].first_valid_index()


# ---------------------------------------------------------------- once, and counted


def test_nothing_is_run_twice_and_every_trial_counts(planted: Any, market: Market) -> None:
    ran = planted(lambda enter, size: enter * size)
    swept = search(Fade, market, trials=75, enter=[0.1, 0.2, 0.3], size=[1.0, 2.0])
    assert len(ran) == len(swept.table) == 6
    assert swept.trials == len(swept.history) == 75
    assert swept.history.groupby(["enter", "size"])["value"].nunique().eq(1).all()
    assert swept.table["excess_sharpe"].to_dict() == {(enter, size): enter * size for enter, size in swept.table.index}


def test_a_repeated_refusal_is_told_again(market: Market) -> None:
    swept = search(Fade, market, trials=30, exit=[0.0, 0.001], enter=0.0005)
    assert len(swept.invalid) == len(swept.table) == 1
    told = swept.history.groupby("exit")["why"].agg(set)
    assert told[0.0] == {""}
    assert {why[:24] for why in told[0.001]} == {"exit must be below enter"}


def test_more_trials_deflate_the_same_best_more(planted: Any, market: Market) -> None:
    """All twelve combinations have been seen after sixty trials; what follows changes nothing but the count."""
    planted(lambda enter, exit: 1.0 + 10.0 * enter - exit)
    grid = {"enter": [0.01, 0.02, 0.03, 0.04], "exit": [0.0, 0.01, 0.02]}
    few, many = (search(Fade, market, trials=trials, sampler="random", **grid) for trials in (60, 600))
    assert len(few.table) == len(many.table) == 12
    assert few.combinations[few.luck.chosen] == many.combinations[many.luck.chosen] == {"enter": 0.04, "exit": 0.0}
    assert few.luck.sharpe == pytest.approx(many.luck.sharpe, rel=1e-12)
    assert (few.luck.trials, many.luck.trials) == (60, 600)
    assert many.luck.expected_maximum > few.luck.expected_maximum
    assert many.luck.deflated_sharpe < few.luck.deflated_sharpe - 0.01


def test_each_trial_of_a_sampler_that_learns_is_an_independent_one(planted: Any, market: Market) -> None:
    """All trade alike, as far as can be told: of points drawn evenly there is one, of a climb to the best there are as many as trials."""
    one = noise({})
    planted(returns=lambda enter: one + 1e-6 * math.log(enter))
    climbed, drawn = (search(Fade, market, trials=40, sampler=sampler, enter=ENTER) for sampler in ("tpe", "random"))
    assert drawn.luck.effective_trials < 1.5
    assert (climbed.luck.effective_trials, climbed.luck.trials) == (40.0, 40)
    assert climbed.luck.expected_maximum > drawn.luck.expected_maximum + 1.0
    assert climbed.luck.deflated_sharpe < drawn.luck.deflated_sharpe
    assert module.CROWDED in climbed.luck.notes
    assert module.CROWDED not in drawn.luck.notes
    assert climbed.best.luck is climbed.luck


def test_of_noise_a_climb_finds_more_than_luck_gives_so_many_alike(planted: Any, market: Market) -> None:
    """Why each trial counts: Sharpe ratios of noise that varies smoothly over four parameters, in the mean of five searches."""
    found: list[Search] = []
    for seed in range(5):
        random = np.random.default_rng(seed)
        waves, phases, shocks = random.normal(size=(200, 4)) / 0.5, random.uniform(0.0, 2.0 * np.pi, 200), random.normal(size=(200, DAYS))

        def field(enter: float, exit: float, size: float, leverage: float, of: Any = (waves, phases, shocks)) -> Floats:
            weights = np.cos(of[0] @ np.array([enter, exit, size, leverage]) + of[1])
            return np.asarray(0.01 * (weights @ of[2]) / np.linalg.norm(weights))

        planted(returns=field)
        unit = {name: between(0.0, 1.0) for name in ("enter", "exit", "size", "leverage")}
        found.append(search(Fade, market, trials=100, seed=seed, **unit))
    best, alike, each = (
        np.mean(values)
        for values in (
            [one.luck.sharpe for one in found],
            [Sweep.luck.func(one).expected_maximum for one in found],
            [one.luck.expected_maximum for one in found],
        )
    )
    assert alike < best < each


# ---------------------------------------------------------------- the same again


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_the_same_seed_finds_the_same(planted: Any, market: Market, sampler: str) -> None:
    planted(hill)
    settings: dict[str, Any] = {"trials": 35, "sampler": sampler, "enter": ENTER, "exit": EXIT}
    one = search(Fade, market, seed=3, threads=1, **settings)
    np.random.seed(99)  # the global generator has no part in it
    pd.testing.assert_frame_equal(one.history, search(Fade, market, seed=3, threads=2, **settings).history)
    other = search(Fade, market, seed=4, **settings).history
    assert not other["enter"].isin(one.history["enter"]).any()


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_going_on_with_a_study_is_one_longer_search(planted: Any, market: Market, sampler: str) -> None:
    planted(hill)
    settings: dict[str, Any] = {"enter": ENTER, "exit": EXIT}
    whole = search(Fade, market, trials=3 * BATCH, sampler=sampler, **settings)
    half = search(Fade, market, trials=2 * BATCH, sampler=sampler, **settings)
    rest = search(Fade, market, trials=BATCH, study=half.study, **settings)
    pd.testing.assert_frame_equal(rest.history, whole.history)
    pd.testing.assert_frame_equal(rest.table, whole.table)
    assert rest.trials == whole.trials == 3 * BATCH


def test_a_study_of_ones_own_is_continued(planted: Any, market: Market) -> None:
    """What it has tried is run and belongs to the result, what stands in its queue comes first, a failed trial of nothing is only counted."""
    ran = planted(lambda enter, exit: 1000.0 * enter - exit)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    space = {
        "enter": optuna.distributions.FloatDistribution(0.0001, 0.002, log=True),
        "exit": optuna.distributions.CategoricalDistribution([0.0, -0.1]),
    }
    study.add_trial(optuna.create_trial(params={"enter": 0.0002, "exit": -0.1}, distributions=space, value=0.3))
    study.enqueue_trial({"enter": 0.0015, "exit": 0.0})
    swept = search(Fade, market, trials=3, study=study, enter=ENTER, exit=[0.0, -0.1])
    assert swept.study is study
    assert swept.trials == len(swept.history) == 5
    assert len(ran) == len(swept.table) == 4
    assert ran[:2] == [{"enter": 0.0002, "exit": -0.1}, {"enter": 0.0015, "exit": 0.0}]
    assert swept.history["value"].iloc[2] == 1.5


# ---------------------------------------------------------------- finding


@pytest.mark.parametrize("objective", [hill, ridge])
def test_it_finds_the_planted_best_sooner_than_chance(planted: Any, market: Market, objective: Callable[..., float]) -> None:
    """Of four seeds each, in the median: it is past the best that 100 random trials find in 70, and ends at most half as far from the highest point."""
    planted(objective)
    best = {
        sampler: np.array(
            [
                search(
                    Fade,
                    market,
                    trials=150,
                    sampler=sampler,
                    seed=seed,
                    enter=ENTER,
                    exit=EXIT,
                    size=between(0.1, 1.0),
                    leverage=between(1.0, 5.0),
                ).history["best"]
                for seed in range(4)
            ]
        )
        for sampler in ("tpe", "random")
    }
    chance = float(np.median(best["random"][:, -1]))
    assert np.median([np.argmax([*(one > chance), True]) for one in best["tpe"]]) < 70
    assert 2.0 - np.median(best["tpe"][:, -1]) < 0.5 * (2.0 - chance)


def test_it_learns_to_keep_away_from_what_is_refused(market: Market, planted: Any) -> None:
    """A third of the space has no value: of the last trials nearly none is there."""
    planted(lambda enter, exit: math.nan if exit > 0.0002 else hill(enter, exit))
    told = search(Fade, market, trials=100, enter=ENTER, exit=EXIT).history
    assert told["value"].iloc[:20].isna().sum() >= 4
    assert told["value"].iloc[-40:].isna().sum() <= 4


def test_what_is_better_lower_is_looked_for_below(planted: Any, market: Market) -> None:
    planted(hill)
    swept = search(Fade, market, trials=60, by="max_drawdown", enter=ENTER, exit=EXIT)
    assert swept.study.direction is optuna.study.StudyDirection.MINIMIZE
    told = swept.history
    assert told["best"].iloc[-1] == told["value"].min() == swept.table["max_drawdown"].min()
    assert told["best"].is_monotonic_decreasing
    assert told["value"].iloc[-20:].mean() < told["value"].iloc[:20].mean()


def test_what_never_trades_is_not_the_steadiest(market: Market) -> None:
    told = search(Fade, market, trials=20, by="max_drawdown", enter=between(0.0003, 0.003)).history
    assert (told["why"] == "it makes no trade").any()
    assert told["best"].iloc[-1] > 0.0


def test_a_sobol_sequence_leaves_no_holes(planted: Any, market: Market) -> None:
    """Of 65 points the 64 after the first, which optuna draws at random, have at least 6 and at most 10 in each eighth of either parameter."""
    planted(hill)
    told = search(Fade, market, trials=65, sampler="qmc", enter=ENTER, exit=EXIT).history.iloc[1:]
    for places in (np.log(told["enter"] / 0.0001) / np.log(20.0), (told["exit"] + 0.0002) / 0.0006):
        counts = np.bincount((8 * places).astype(int), minlength=8)
        assert len(counts) == 8
        assert counts.min() >= 6
        assert counts.max() <= 10


# ---------------------------------------------------------------- parameters


def test_values_of_a_list_may_be_anything(market: Market) -> None:
    values: dict[str, list[Any]] = {
        "legs": [("perpetual",), ("future", "chain")],
        "exit": [None, 0.0],
        "max_hold": [pd.Timedelta("1D"), "2D"],
    }
    swept = search(Fade, market, trials=25, enter=0.0005, **values)
    assert set(swept.history["legs"]) == {"perpetual", "future,chain"}
    assert set(swept.history["exit"]) == {"none", 0.0}
    assert {type(one["legs"]) for one in swept.combinations} == {tuple}
    assert {one["exit"] for one in swept.combinations} == {None, 0.0}
    assert {type(one["max_hold"]) for one in swept.combinations} == {pd.Timedelta, str}
    assert swept.study.trials[0].params["max_hold"] in ("1 days 00:00:00", "2D")


def test_whole_numbers_stay_whole(planted: Any, market: Market) -> None:
    ran = planted(lambda size, leverage: -abs(size - 40.0) - leverage)
    swept = search(Fade, market, trials=60, size=between(1, 120, whole=True), leverage=between(1, 1000, log=True, whole=True))
    assert {type(one["size"]) for one in ran} == {type(one["leverage"]) for one in ran} == {int}
    assert abs(swept.study.best_params["size"] - 40) <= 10


def test_an_object_keeps_its_own_parameters(market: Market) -> None:
    by_object = search(Fade(exit=-0.001), market, trials=5, enter=ENTER)
    by_name = search(Fade, market, trials=5, enter=ENTER, exit=-0.001)
    pd.testing.assert_frame_equal(by_object.table, by_name.table)
    assert by_object.table.index.name == "enter", "one parameter is a plain index"


def test_execution_reaches_every_run(market: Market) -> None:
    free = search(Fade, market, trials=5, enter=[0.0003, 0.0006], execution=bt.Execution(spot_fee=0.0, derivative_fee=0.0, half_spread=0.0))
    dear = search(Fade, market, trials=5, enter=[0.0003, 0.0006])
    assert (free.table["final_equity"] > dear.table["final_equity"]).all()


# ---------------------------------------------------------------- quiet, and broken off


def test_optuna_says_nothing(market: Market, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    before = optuna.logging.get_verbosity()
    optuna.create_study()
    assert "A new study created" in caplog.text, "it would be heard"
    capfd.readouterr()
    caplog.clear()
    for sampler in ("tpe", "random", "qmc"):
        search(Fade, market, trials=BATCH + 2, sampler=sampler, enter=ENTER, exit=[0.0, -0.001])
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""
    assert optuna.logging.get_verbosity() == before == logging.INFO


@pytest.mark.parametrize(("terminal", "patience", "shown"), [(True, 0.0, True), (True, 60.0, False), (False, 0.0, False)])
def test_progress_is_for_terminals_and_patience(
    planted: Any,
    market: Market,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    terminal: bool,
    patience: float,
    shown: bool,
) -> None:
    planted(hill)
    assert module.PATIENCE == 1.0
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(module, "PATIENCE", patience)
    search(Fade, market, trials=20, enter=ENTER)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("trial" in captured.err) == shown


def test_a_search_that_is_stopped_can_go_on(planted: Any, market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = planted(hill)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    run = Grid.run

    def impatient(self: Grid, chosen: Any, **settings: Any) -> Scanned:
        if len(ran) == 2 * BATCH:
            raise KeyboardInterrupt
        return run(self, chosen, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(Grid, "run", impatient)
        with pytest.raises(KeyboardInterrupt):
            search(Fade, market, trials=3 * BATCH + 5, study=study, enter=ENTER)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2 * BATCH + ["FAIL"] * BATCH
    rest = search(Fade, market, trials=5, study=study, enter=ENTER)
    assert rest.trials == 3 * BATCH + 5
    assert set(rest.history["why"].iloc[2 * BATCH : 3 * BATCH]) == {"it was broken off"}


def test_a_mistake_in_a_strategy_is_no_trial_without_value(market: Market) -> None:
    class Broken(Fade):
        def rule(self, market: Market) -> bt.Rule:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        search(Broken, market, trials=3, enter=ENTER)


def test_a_statistic_that_is_unknown_is_no_value(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: Grid, chosen: Any, **_: Any) -> Scanned:
        table = pd.DataFrame([dict.fromkeys(STATISTICS, 1.0) | {"win_rate": math.nan} for _ in chosen])
        return Scanned(table, np.ones((len(chosen), 9)), pd.date_range("2024", periods=9, tz="UTC"), [None] * len(chosen), "USDT")

    monkeypatch.setattr(Grid, "run", run)
    told = search(Fade, market, trials=2, by="win_rate", enter=ENTER).history
    assert list(told["state"]) == ["pruned"] * 2
    assert list(told["why"]) == ["its win_rate is unknown"] * 2


# ---------------------------------------------------------------- refusals


def test_what_can_not_be_searched_is_refused(market: Market) -> None:
    with refused("a search needs a strategy: it got 7; give a class, as CashAndCarry"):
        search(7, market, enter=ENTER)  # type: ignore[arg-type]
    with refused("a search needs a market: it got data/sample; give bt.load_market(…)"):
        search(Fade, "data/sample", enter=ENTER)  # type: ignore[arg-type]
    with refused('unknown statistic "sharp" to search by; did you mean "sharpe"?'):
        search(Fade, market, by="sharp", enter=ENTER)
    with refused('unknown parameter "entr" of Fade: 0.0001..0.002:log; did you mean "enter"?'):
        search(Fade, market, entr=ENTER)
    with refused("a search needs parameters that vary: none does; give enter=bt.between(0.02, 0.3), or a list of values"):
        search(Fade, market, enter=0.1)
    with refused("enter has 0.1 twice: its combinations would be run twice; leave one out"):
        search(Fade, market, enter=[0.1, 0.1])


def test_settings_that_are_none_are_refused(market: Market) -> None:
    with refused("sampler must be one of tpe, random, qmc, cmaes: sampler=tpo"):
        search(Fade, market, sampler="tpo", enter=ENTER)
    with refused("trials must be a whole number from 1 on: trials=0"):
        search(Fade, market, trials=0, enter=ENTER)
    assert MOST == 10_000
    with refused("a search has at most 10,000 trials: trials=10,001; give fewer, or use bt.sweep with sample=…"):
        search(Fade, market, trials=10_001, enter=ENTER)
    with refused("threads must be a whole number from 1 on: threads=0"):
        search(Fade, market, threads=0, enter=ENTER)
    for seed in (-1, 2**32, 0.5, True):
        with refused(f"seed must be a whole number from 0 to 4,294,967,295: seed={seed}"):
            search(Fade, market, seed=seed, enter=ENTER)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("missing", "sampler", "told"),
    [
        ("optuna", "tpe", 'searching needs optuna; pip install "carry-backtest[search]", or use bt.sweep with sample=…'),
        ("cmaes", "cmaes", 'sampler="cmaes" needs the package cmaes; pip install cmaes, or choose sampler="tpe"'),
    ],
)
def test_a_missing_package_is_named(market: Market, monkeypatch: pytest.MonkeyPatch, missing: str, sampler: str, told: str) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else real(name))
    with refused(told):
        search(Fade, market, sampler=sampler, enter=ENTER)


def test_cmaes_finds_the_planted_best(planted: Any, market: Market) -> None:
    pytest.importorskip("cmaes", reason="the package cmaes is not installed")
    planted(ridge)
    swept = search(Fade, market, trials=200, sampler="cmaes", enter=ENTER, exit=EXIT, size=between(0.1, 1.0), leverage=between(1.0, 5.0))
    assert swept.history["best"].iloc[-1] > 1.95


def test_where_nothing_runs_the_first_sentence_is_told(market: Market) -> None:
    told = r"^none of the 2 combinations of Fade can run, the first because: size must be above 0: size=(-1|0)$"
    with pytest.raises(ParameterError, match=told):
        search(Fade, market, trials=8, size=[-1, 0])


def test_a_study_that_does_not_fit_is_refused(market: Market) -> None:
    with refused("study must be one of optuna's: it got yes; give that of another search, or leave it out"):
        search(Fade, market, study="yes", enter=ENTER)  # type: ignore[arg-type]
    with refused('the study is to minimize, and excess_sharpe is to maximize: create it with direction="maximize", or leave it out'):
        search(Fade, market, study=optuna.create_study(), enter=ENTER)
    two = optuna.create_study(directions=["maximize", "minimize"])
    with refused(
        'the study is to maximize and minimize, and excess_sharpe is to maximize: create it with direction="maximize", or leave it out'
    ):
        search(Fade, market, study=two, enter=ENTER)


def test_a_study_of_other_parameters_is_refused(planted: Any, market: Market) -> None:
    planted(lambda **_: 1.0)
    study = search(Fade, market, trials=3, enter=ENTER, exit=[0.0, -0.1]).study
    with refused("the study has tried other parameters: enter, exit in trial 0, enter, size here; vary the same, or leave it out"):
        search(Fade, market, study=study, enter=ENTER, size=[1, 2])
    told = "CategoricalDistribution(choices=(0.0, -0.1)) in trial 0, CategoricalDistribution(choices=(0.0, -0.2)) here; give the same, or leave it out"
    with refused(f"the study has tried other values of exit: {told}"):
        search(Fade, market, study=study, enter=ENTER, exit=[0.0, -0.2])
    told = "FloatDistribution(high=0.002, log=True, low=0.0001, … in trial 0, FloatDistribution(high=0.003, log=True, low=0.0001, … here"
    with refused(f"the study has tried other values of enter: {told}; give the same, or leave it out"):
        search(Fade, market, study=study, enter=between(0.0001, 0.003, log=True), exit=[0.0, -0.1])


def test_a_study_of_another_market_is_refused(planted: Any, market: Market) -> None:
    """The same parameters have other values there: its trials would be taken for what they are not."""
    planted(lambda enter: 1.5)
    study = search(Fade, market, trials=3, enter=ENTER).study
    ran = planted(lambda enter: 1.25)
    told = (
        "the study is of something else: its trial 0 has 1.5, excess_sharpe of the same parameters is 1.25 here; "
        "give the same strategy, market and settings, or leave it out"
    )
    with refused(told):
        search(Fade, market, study=study, enter=ENTER)
    assert len(ran) == 6
    assert len(study.trials) == 3


@pytest.mark.parametrize(
    ("queued", "told"),
    [
        ({"enter": 5.0}, "enter=5.0"),
        ({"enter": 0.0005, "exit": 0.7}, "'0.7' not in (0.0, -0.1)."),
    ],
)
def test_a_queue_of_what_does_not_vary_is_refused(planted: Any, market: Market, queued: dict[str, float], told: str) -> None:
    planted(lambda **_: 1.0)
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(queued)
    with pytest.raises(
        ParameterError, match=r"^trial 0 in the queue of the study can't be run: .*; take values from the lists and ranges that vary$"
    ) as caught:
        search(Fade, market, study=study, enter=ENTER, exit=[0.0, -0.1])
    assert told in str(caught.value)
    assert study.trials[0].state.name == "FAIL"
