"""Combinatorial purged cross-validation: as many splits and paths as the binomials say, no day of a test near its training, known answers, and every refusal."""

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backtest.errors import ParameterError
from backtest.market import DatasetInfo
from backtest.purged import Combinatorial, combinatorial, daily_returns, edges_of, segments_left, sharpes_of
from backtest.sweep import Sweep
from backtest.windows import rank_correlation

YEAR = math.sqrt(365)
DATA = DatasetInfo("made", "0" * 64, simulated=True, path="made")


def made(returns: Any, *, trades: Any = None, hold: float = math.nan, varied: dict[str, Any] | None = None, **fixed: Any) -> Sweep:
    """A sweep whose combinations have these daily returns. [day, combination]"""
    returns = np.asarray(returns, dtype=float)
    days, count = returns.shape
    index = pd.Index(range(10, 10 + count), name="enter")
    stamps = pd.date_range("2024-01-01", periods=days + 1, tz="UTC", unit="ns")
    daily = pd.DataFrame(1e5 * np.cumprod(np.vstack([np.ones(count), 1.0 + returns]), axis=0), index=stamps, columns=index)
    table = pd.DataFrame({"trades": np.ones(count) if trades is None else trades, "avg_hold_days": hold}, index=index)
    return Sweep(
        strategy="Fade",
        varied=varied or {"enter": list(index)},
        fixed=fixed,
        combinations=[{"enter": value} for value in index],
        table=table,
        daily=daily,
        invalid=pd.DataFrame({"why": []}),
        dataset=DATA,
        capital=1e5,
        quote="USDT",
        start=stamps[0],
        end=stamps[-1],
        trials=count,
        baseline=pd.Series(1e5, index=stamps),
        baseline_name="cash",
        idle=pd.Series(1e5, index=stamps),
    )


def noise(days: int, count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(0.0, 0.01, (days, count))


def refused(told: str) -> Any:
    return pytest.raises(ParameterError, match=f"^{re.escape(told)}$")


# ---------------------------------------------------------------- splits and paths


@pytest.mark.parametrize(("groups", "tests"), [(6, 2), (10, 2), (7, 1), (8, 3), (5, 4)])
def test_there_are_as_many_splits_and_paths_as_the_binomials_say(groups: int, tests: int) -> None:
    found = combinatorial(made(noise(83, 4)), groups=groups, tests=tests, embargo="0D")
    assert len(found.splits) == math.comb(groups, tests)
    assert found.returns.shape == (83, math.comb(groups - 1, tests - 1))
    assert found.returns.shape[1] == tests / groups * len(found.splits)
    assert found.splits["tests"].nunique() == len(found.splits)
    tested = [sum(group in split for split in found.splits["tests"]) for group in range(1, groups + 1)]
    assert tested == [found.returns.shape[1]] * groups
    assert found.groups["first"].iloc[0] == found.returns.index[0]
    assert found.groups["last"].iloc[-1] == found.returns.index[-1]
    lengths = (found.groups["last"] - found.groups["first"]).dt.days + 1
    assert lengths.sum() == 83
    assert lengths.max() - lengths.min() <= 1


def test_a_path_has_of_each_group_the_days_of_a_split_that_tested_it() -> None:
    sweep = made(noise(60, 5, seed=3))
    found = combinatorial(sweep, groups=6, tests=2, embargo="2D")
    returns = sweep.daily.pct_change().iloc[1:]
    for group, (first, last) in found.groups.iterrows():
        testing = found.splits[[group in split for split in found.splits["tests"]]]
        for path, chosen in zip(found.returns, testing["chosen"], strict=True):
            np.testing.assert_allclose(found.returns[path].loc[first:last], returns[chosen].loc[first:last], rtol=1e-9, atol=1e-15)
    assert found.splits["chosen"].nunique() > 1, "the splits choose differently"


def test_the_choice_is_the_highest_sharpe_of_the_days_left_for_training() -> None:
    sweep = made(noise(90, 6, seed=4))
    returns = sweep.daily.pct_change().iloc[1:].reset_index(drop=True)
    found = combinatorial(sweep, groups=9, tests=2, embargo="3D")
    for _, split in found.splits.iterrows():
        tested = {day for group in split["tests"] for day in range(10 * (group - 1), 10 * group)}
        near = {other for day in tested for other in range(day - 3, day + 4)}
        training = returns.loc[[day for day in range(90) if day not in near]]
        inside, outside = (part.mean() / part.std(ddof=1) * YEAR for part in (training, returns.loc[sorted(tested)]))
        assert split["training"] == len(training)
        assert split["chosen"] == sweep.table.index[int(inside.argmax())]
        assert split["in_sample"] == pytest.approx(inside.max())
        assert split["out_of_sample"] == pytest.approx(outside[split["chosen"]])
        assert split["beaten"] == pytest.approx((outside < outside[split["chosen"]]).sum() / 5)
        assert split["rank_correlation"] == pytest.approx(rank_correlation(inside.to_numpy(), outside.to_numpy()))


def test_days_near_a_test_group_are_in_no_training() -> None:
    assert segments_left(30, [(10, 15)], 0) == [(0, 10), (15, 30)]
    assert segments_left(30, [(10, 15)], 4) == [(0, 6), (19, 30)]
    assert segments_left(30, [(0, 5), (10, 15)], 3) == [(18, 30)]
    assert segments_left(30, [(25, 30)], 2) == [(0, 23)]
    assert edges_of(11, 4).tolist() == [0, 3, 6, 9, 11]


def test_sharpes_of_runs_of_days_are_numpys() -> None:
    returns = noise(50, 700, seed=1)
    samples = [[(0, 20)], [(3, 10), (30, 49)], [(0, 50)]]
    for row, segments in zip(sharpes_of(returns, samples), samples, strict=True):
        days = np.concatenate([returns[first:final] for first, final in segments])
        np.testing.assert_allclose(row, days.mean(axis=0) / days.std(axis=0, ddof=1) * YEAR, rtol=1e-9)


def test_what_stands_still_or_earns_interest_only_has_no_sharpe() -> None:
    returns = noise(60, 4)
    returns[:30, 0] = 0.0
    returns[:30, 1] = 1e-4
    returns[:, 2] = 1e-4 + 1e-10 * np.arange(60)
    found = sharpes_of(returns, [[(0, 30)], [(5, 60)]])
    assert np.isnan(found).tolist() == [[True, True, True, False], [False, False, True, False]]


def test_after_a_ruin_there_are_no_returns() -> None:
    daily = np.array([[100.0, 100.0], [50.0, 110.0], [0.0, 99.0], [0.0, 99.0]])
    np.testing.assert_allclose(daily_returns(daily), [[-0.5, 0.1], [-1.0, -0.1], [0.0, 0.0]])


# ---------------------------------------------------------------- known answers


def test_an_edge_that_is_there_throughout_is_every_path() -> None:
    returns = noise(100, 8)
    returns[:, 3] += 0.02
    found = combinatorial(made(returns), groups=10, tests=2, embargo="1D")
    assert set(found.splits["chosen"]) == {13}
    own = returns[:, 3].mean() / returns[:, 3].std(ddof=1) * YEAR
    assert found.sharpes.tolist() == pytest.approx([own] * 9)
    assert found.distribution["deviation"] == pytest.approx(0.0, abs=1e-9)
    assert (found.distribution["below_zero"], found.below_median) == (0.0, 0.0)
    assert found.equity.iloc[-1].tolist() == pytest.approx([1e5 * np.prod(1.0 + returns[:, 3])] * 9)


def test_of_noise_much_is_promised_and_nothing_kept() -> None:
    kept, promised, below = [], [], []
    for seed in range(20):
        found = combinatorial(made(noise(300, 30, seed)), groups=8, tests=2, embargo="2D")
        kept.append(found.distribution["mean"])
        promised.append(found.promised)
        below.append(found.below_median)
    assert np.mean(promised) > 1.5
    assert abs(np.mean(kept)) < 0.5
    assert 0.35 < np.mean(below) < 0.65


def test_what_never_trades_is_never_chosen_and_nothing_is_cash() -> None:
    returns = noise(60, 3)
    returns[:, 0] = 1e-4 + 1e-6 * np.arange(60)
    assert 10 not in set(combinatorial(made(returns, trades=[0, 1, 1]), groups=6, tests=2, embargo="0D").splits["chosen"])
    returns[:, 1:] = 0.0
    returns[0, 1] = 0.01
    found = combinatorial(made(returns, trades=[0, 1, 1]), groups=6, tests=2, embargo="0D")
    assert found.splits["chosen"].isna().sum() == 5, "the only day that moved is in the first group"
    assert found.notes[-1] == "5 of 15 splits stayed in cash: no combination traded in training."
    assert found.returns.iloc[:10].to_numpy().tolist() == [[0.0] * 5] * 10


# ---------------------------------------------------------------- embargo


@pytest.mark.parametrize(
    ("settings", "days", "told"),
    [
        ({"max_hold": "36h", "hold": 0.3}, 2, "The embargo of 2 days is the largest max_hold of the combinations."),
        ({"varied": {"max_hold": ["1D", "3D"]}}, 3, "The embargo of 3 days is the largest max_hold of the combinations."),
        (
            {"varied": {"max_hold": ["1D", None]}, "hold": 1.2},
            2,
            "The embargo of 2 days is the longest average hold of a combination; give embargo=… where single trades last longer.",
        ),
        (
            {"hold": 0.2},
            1,
            "The embargo of 1 day is the longest average hold of a combination; give embargo=… where single trades last longer.",
        ),
        (
            {"hold": 7.5},
            5,
            "The embargo of 5 days is half a group, and combinations hold for up to 8 days: trainings are not quite apart from their tests; give fewer groups, or embargo=….",
        ),
        ({}, 0, "No embargo: no combination closed a trade; give embargo=… where positions are held for days."),
        ({"max_hold": 7}, 0, "No embargo: no combination closed a trade; give embargo=… where positions are held for days."),
    ],
)
def test_the_embargo_is_as_long_as_trades_are_held(settings: dict[str, Any], days: int, told: str) -> None:
    found = combinatorial(made(noise(60, 3), **settings), groups=6, tests=1)
    assert (found.embargo, found.notes) == (days, [told])
    assert found.splits["training"].iloc[1] == 50 - 2 * days


def test_an_embargo_may_be_given_and_counts_in_whole_days() -> None:
    sweep = made(noise(60, 3), max_hold="9D")
    assert [combinatorial(sweep, 6, 1, embargo=given).embargo for given in ("0D", "2D", "30h")] == [0, 2, 2]


# ---------------------------------------------------------------- what is printed


def test_the_table_shows_the_paths_beside_the_promise() -> None:
    found = combinatorial(made(noise(100, 8)), groups=10, tests=2, embargo="1D")
    told = repr(found)
    assert max(map(len, told.splitlines())) <= 80
    text = " ".join(told.split())
    assert "10, 2 of them a test: 45 splits, 9 paths of 100 days" in text
    assert f"promised in sample (mean of the splits) {found.promised:.2f}" in text
    assert f"OUT OF SAMPLE, mean of the paths {found.sharpes.mean():.2f}" in text
    assert f"from the worst path to the best {found.sharpes.min():.2f} to {found.sharpes.max():.2f}" in text
    assert f"below the median in its test {100 * found.below_median:.0f}%" in text
    assert "SIMULATED DATA" in text
    assert "Best of the sweep: the odds that it is luck" in text
    assert str(found.luck).splitlines()[0] in repr(found)
    assert isinstance(found, Combinatorial)


# ---------------------------------------------------------------- refusals


def test_what_can_not_be_split_is_refused() -> None:
    sweep = made(noise(60, 3))
    with refused("combinatorial cross-validation needs a sweep: it got 7; give bt.sweep(…)"):
        combinatorial(7)  # type: ignore[arg-type]
    with refused("combinatorial cross-validation chooses among combinations: the sweep has one; give several values of a parameter"):
        combinatorial(made(noise(60, 1)))
    with refused("groups must be a whole number from 1 on: groups=2.5"):
        combinatorial(sweep, groups=2.5)  # type: ignore[arg-type]
    with refused("tests must be a whole number from 1 on: tests=0"):
        combinatorial(sweep, tests=0)
    with refused("tests must be fewer than groups, as the others are the training: tests=4, groups=4"):
        combinatorial(sweep, groups=4, tests=4)
    with refused("groups=20 and tests=5 make 15,504 splits, at most 1,000; give fewer groups or tests"):
        combinatorial(sweep, groups=20, tests=5)
    with refused("a group needs at least 2 days: groups=31 of a sweep of 60 days; give fewer groups, or sweep a longer period"):
        combinatorial(sweep, groups=31, tests=1)
    with refused("embargo must be longer than zero: embargo='-1D'; leave it out for none"):
        combinatorial(sweep, embargo="-1D")
    with refused(
        "the embargo leaves too little to train on: 20 days before and after each of 2 of 10 groups of 60 days leave 0 days in a split; give a shorter embargo=…, "
        "fewer tests, fewer groups, or a longer sweep"
    ):
        combinatorial(sweep, embargo="20D")
