"""The odds of luck: formulas against ffn, arch and the papers' own examples; noise is told as noise, an edge as an edge; every corner says what it can't say."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from backtest import overfitting as odds
from backtest.errors import ParameterError
from backtest.luck import YEAR, Luck, luck_of, share_of
from backtest.metrics import return_statistics
from backtest.plateau import Plateau, plateau_of

Floats = npt.NDArray[np.float64]
NAN = math.nan


def equity(returns: Floats, capital: float = 1e5) -> Floats:
    """Daily equity [combination, day] of daily returns, the capital first."""
    return capital * np.concatenate([np.ones((len(returns), 1)), np.cumprod(1.0 + returns, axis=1)], axis=1)


def noise(count: int, days: int, seed: int = 0) -> Floats:
    """Independent daily returns of 1 % deviation and no edge."""
    return np.random.default_rng(seed).normal(0.0, 0.01, (count, days))


def tried(returns: Floats) -> odds.Tried:
    return odds.Tried(equity(returns), np.arange(len(returns)))


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"enter": float(one)} for one in range(count)]


# ---------------------------------------------------------------- noise and an edge


def swept(seed: int, edge: float, following: float = 0.0) -> tuple[Floats, list[dict[str, Any]]]:
    """A sweep's equity: 49–120 combinations on a grid whose neighbours trade alike, two to three years, and around one place an edge (Sharpe ratio a year).

    following: how much of a day's return comes again the day after.
    """
    random = np.random.default_rng(seed)
    enters, exits, days = random.integers(7, 13), random.integers(7, 11), random.integers(730, 1_100)
    grid = np.array([[i / enters, j / exits] for i in range(enters) for j in range(exits)])
    alike = np.exp(-np.abs(grid[:, None] - grid[None]).sum(axis=2) / 0.5)
    returns = followed(np.linalg.cholesky(alike) @ random.standard_t(5, (len(grid), days)) * 0.01, following)
    top = random.uniform(0.2, 0.8, 2)
    hill = np.exp(-((grid - top) ** 2).sum(axis=1) / 0.15)
    returns += edge / YEAR * returns.std(axis=1, keepdims=True) * hill[:, None]
    return equity(returns), [{"enter": float(one), "exit": float(other)} for one, other in grid]


def followed(shocks: Floats, following: float) -> Floats:
    """An autoregression of these shocks, along the last axis."""
    returns = shocks.copy()
    for day in range(1, shocks.shape[-1]):
        returns[..., day] += following * returns[..., day - 1]
    return returns


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Other tests run beside these: small products of matrices on several threads would wait for each other."""
    from threadpoolctl import threadpool_limits  # comes with vectorbt's scikit-learn

    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def of_noise() -> list[Luck]:
    return [luck_of(*swept(seed, 0.0), seed=seed) for seed in range(100)]


@pytest.fixture(scope="module")
def of_following() -> list[Luck]:
    """Noise whose gains follow gains, as funding's do: 0.8 of a day's comes again."""
    return [luck_of(*swept(seed, 0.0, 0.8), seed=seed) for seed in range(60)]


@pytest.fixture(scope="module")
def of_edge() -> list[Luck]:
    return [luck_of(*swept(seed, 3.0), seed=seed) for seed in range(100)]


def test_noise_is_told_as_noise(of_noise: list[Luck]) -> None:
    assert sum(luck.deflated_sharpe < 0.95 for luck in of_noise) >= 95
    assert 0.4 < np.mean([luck.overfitting for luck in of_noise]) < 0.6


def test_what_luck_alone_would_give_is_what_noise_gives(of_noise: list[Luck]) -> None:
    best, expected = (np.mean([getattr(luck, name) for luck in of_noise]) for name in ("sharpe", "expected_maximum"))
    assert expected == pytest.approx(best, abs=0.1)


def test_p_values_of_noise_are_about_uniform(of_noise: list[Luck]) -> None:
    for name in ("reality_check", "white"):
        values = np.array([getattr(luck, name) for luck in of_noise])
        assert (values < 0.05).sum() <= 10
        assert 35 <= (values < 0.5).sum() <= 65


def test_noise_whose_gains_follow_gains_is_told_as_noise(of_following: list[Luck]) -> None:
    assert sum(luck.deflated_sharpe < 0.95 for luck in of_following) >= 57
    assert 0.4 < np.mean([luck.overfitting for luck in of_following]) < 0.6
    assert sum(max(luck.reality_check, luck.white) < 0.05 for luck in of_following) <= 6
    best, expected = (np.mean([getattr(luck, name) for luck in of_following]) for name in ("sharpe", "expected_maximum"))
    assert expected == pytest.approx(best, abs=0.25)  # of 3.4


def test_an_edge_is_found(of_edge: list[Luck]) -> None:
    """All three ways at once."""
    assert sum(luck.deflated_sharpe >= 0.95 and luck.overfitting < 0.3 and luck.reality_check < 0.05 for luck in of_edge) >= 90


def test_an_edge_lies_on_a_plateau(of_edge: list[Luck], of_noise: list[Luck]) -> None:
    assert all(luck.plateau is not None and luck.plateau.neighbours >= 3 for luck in of_edge)
    assert sum(luck.plateau.positive for luck in of_edge if luck.plateau) > sum(luck.plateau.positive for luck in of_noise if luck.plateau)


# ---------------------------------------------------------------- interest on idle cash

RATE = 0.04 / 365  # a day


def interest(days: int) -> Floats:
    """Equity of an account that never trades: interest that is credited at fills doesn't compound without any."""
    return 1e5 * (1.0 + RATE * np.arange(days + 1))


def trading(returns: Floats) -> Floats:
    """Equity of accounts with these returns beside interest on all that they have."""
    return equity(returns + RATE)


def test_an_account_that_never_trades_is_not_the_best() -> None:
    """4 % a year for certain is a Sharpe ratio without end, and no skill."""
    returns = noise(6, 700)
    daily, idle = trading(returns), interest(700)
    daily[[1, 4]] = idle
    assert luck_of(daily, numbered(6)).chosen in (1, 4)  # where nobody says what idle cash earns
    luck = luck_of(daily, numbered(6), idle=idle)
    four = luck_of(daily[[0, 2, 3, 5]], numbered(4), idle=idle)
    assert luck.chosen == [0, 2, 3, 5][four.chosen]
    assert luck.effective_trials == pytest.approx(four.effective_trials * 6 / 6, rel=1e-9)
    assert luck.overfitting == four.overfitting
    assert luck.over_idle
    assert "2 combinations earn what idle cash does: no Sharpe ratio, so not the best" in luck.notes
    alone = luck_of(daily[1:2], numbered(1), idle=idle)
    assert alone.notes == ["no equity moves but by what idle cash earns: there is nothing to judge"]


def test_an_account_that_trades_once_has_no_edge_from_interest_on_its_interest() -> None:
    """A fill credits what was earned till then, which earns since: 0.1 % a year more than an account that never fills, the same every day."""
    idle = interest(1_460)
    once = idle.copy()
    once[501:] = (idle[500] - 100.0) * (1.0 + RATE * np.arange(1, 961))  # at a cost of 100
    returns = once[1:] / once[:-1] - idle[1:] / idle[:-1]
    assert returns[501:].mean() / returns[501:].std() * YEAR > 30.0
    luck = luck_of(np.stack([once, idle, trading(noise(1, 1_460) - 0.003)[0]]), numbered(3), baseline=idle, idle=idle)
    assert luck.chosen == 0
    assert luck.sharpe == pytest.approx(-YEAR / math.sqrt(1_460), rel=1e-6)  # of one day with a loss
    assert "the best one's equity moves on only 1 of 1,460 days: its figures rest on these" in luck.notes
    assert luck.deflated_sharpe < 0.5
    assert min(luck.reality_check, luck.white) > 0.1


@pytest.fixture(scope="module")
def beside_interest() -> list[Luck]:
    """Fifty combinations of no edge, with 2 % deviation a year, four years, beside interest of 4 %."""
    found = []
    for seed in range(60):
        daily = trading(noise(50, 1_461, seed) * 2.0 / YEAR)
        found.append(
            luck_of(
                daily, numbered(50), baseline=1e5 * (1.0 + RATE) ** np.arange(1_462), idle=1e5 * (1.0 + RATE) ** np.arange(1_462), seed=seed
            )
        )
    return found


def test_noise_beside_interest_is_told_as_noise(beside_interest: list[Luck]) -> None:
    assert sum(luck.deflated_sharpe < 0.95 for luck in beside_interest) >= 57
    assert np.mean([luck.sharpe for luck in beside_interest]) == pytest.approx(
        np.mean([luck.expected_maximum for luck in beside_interest]), abs=0.1
    )
    assert sum(luck.interval[0] < 0.0 for luck in beside_interest) >= 10
    assert sum(max(luck.reality_check, luck.white) < 0.05 for luck in beside_interest) <= 7


def test_an_edge_beside_interest_is_found() -> None:
    for seed in range(10):
        returns = noise(50, 1_461, seed) * 2.0 / YEAR + 2.5 / YEAR * 0.02 / YEAR * np.linspace(0.0, 1.0, 50)[:, None]
        luck = luck_of(trading(returns), numbered(50), idle=interest(1_461), baseline=interest(1_461), seed=seed)
        assert luck.deflated_sharpe >= 0.95
        assert max(luck.reality_check, luck.white) < 0.05


def test_ratios_over_idle_cash_are_of_returns_less_its_own() -> None:
    """With no day so near to idle cash that it is the same."""
    returns, idle = noise(4, 300), interest(300)
    over = equity(returns)[:, 1:] / equity(returns)[:, :-1] - idle[1:] / idle[:-1]
    assert np.abs(over).min() > RATE * 0.04
    luck = luck_of(equity(returns), numbered(4), idle=idle)
    assert luck.sharpe == pytest.approx((over.mean(axis=1) / over.std(axis=1, ddof=1)).max() * YEAR, rel=1e-9)
    assert str(luck).splitlines()[1].startswith("* Best Sharpe ratio over idle cash ")
    assert str(luck).count("idle cash") == 1
    plain = luck_of(equity(over), numbered(4))
    for name in ("deflated_sharpe", "overfitting", "effective_trials", "interval"):
        assert getattr(luck, name) == pytest.approx(getattr(plain, name), rel=1e-6)


def test_idle_cash_that_earns_nothing_changes_nothing() -> None:
    daily = equity(noise(4, 300))
    assert str(luck_of(daily, numbered(4), idle=np.full(301, 5.0))) == str(luck_of(daily, numbered(4)))
    assert not luck_of(daily, numbered(4), idle=np.full(301, 5.0)).over_idle


def test_the_lead_over_a_baseline_is_that_without_idle_cash() -> None:
    daily, baseline = equity(noise(8, 400) + 0.0004), equity(noise(1, 400, 7))[0]
    with_idle, without = (luck_of(daily, numbered(8), baseline=baseline, idle=idle) for idle in (interest(400), None))
    assert with_idle.chosen == without.chosen
    assert with_idle.reality_check == pytest.approx(without.reality_check, abs=0.01)
    assert with_idle.white == pytest.approx(without.white, abs=0.01)


def test_one_that_trades_once_rests_exactly_in_the_other_half() -> None:
    """A difference between two sums would leave rounding there, and a Sharpe ratio of rounding."""
    returns = np.zeros((3, 160))
    returns[0, 3], returns[1, 5] = 0.01 / 3, 0.02 / 3
    returns[2] = noise(1, 160)[0]
    by_definition = []
    blocks = np.array_split(np.arange(160), 16)
    held = odds.returns_of(equity(returns))
    held[np.abs(held) < 1e-15] = 0.0
    for half in combinations(range(16), 8):
        inside = np.zeros(160, dtype=bool)
        inside[np.concatenate([blocks[one] for one in half])] = True
        train, test = (
            np.nan_to_num(part.mean(axis=1) / np.where(part.std(axis=1) > 0.0, part.std(axis=1, ddof=1), np.inf))
            for part in (held[:, inside], held[:, ~inside])
        )
        mine = test[train.argmax()]
        by_definition.append((test < mine - 1e-9).sum() + ((np.abs(test - mine) <= 1e-9).sum() + 1) / 2 <= 2)
    assert odds.overfitting_of(tried(returns)) == pytest.approx(np.mean(by_definition), abs=1e-12)


# ---------------------------------------------------------------- effective trials


def effective(returns: Floats, **more: Any) -> float:
    return luck_of(equity(returns), numbered(len(returns)), **more).effective_trials


@pytest.mark.parametrize("count", [5, 30, 200])
def test_independent_trials_count_each(count: int) -> None:
    assert effective(noise(count, 700)) == pytest.approx(count, rel=0.2)


def test_alike_trials_count_once() -> None:
    for seed in range(5):
        one, five = noise(1, 200, seed), noise(5, 200, seed)
        assert effective(np.repeat(one, 40, axis=0), seed=seed) == 1.0
        assert effective(np.repeat(five, 40, axis=0), seed=seed) == pytest.approx(effective(five, seed=seed), rel=1e-9)


def test_trials_that_never_move_count_for_nothing() -> None:
    five = noise(5, 500)
    assert effective(np.concatenate([five, np.zeros((100, 500))])) == pytest.approx(effective(five), rel=1e-9)


def test_luck_of_trials_that_are_alike_is_that_of_new_noise_like_them() -> None:
    """Judged by drawing the same correlated noise 2,000 times over."""
    random = np.random.default_rng(5)
    loadings = random.normal(size=(150, 6)) + 0.8
    days, error = 600, 1.0 / math.sqrt(600)
    best = []
    for _ in range(2_000):
        means = loadings @ random.normal(size=6) + 0.5 * random.normal(size=150)
        best.append((means / np.sqrt((loadings**2).sum(axis=1) + 0.25)).max() * error)
    returns = 0.01 * (loadings @ random.normal(size=(6, days)) + 0.5 * random.normal(size=(150, days)))
    luck = luck_of(equity(returns), numbered(150))
    assert luck.expected_maximum == pytest.approx(np.mean(best) * YEAR, rel=0.1)
    assert 6 < luck.effective_trials < 100


def test_trials_that_are_not_here_count_as_those_that_are() -> None:
    ten = noise(10, 400)
    assert effective(ten, trials=70) == pytest.approx(7 * effective(ten), rel=1e-9)
    assert "of 60 of those that were tried there is no equity here" in str(luck_of(equity(ten), numbered(10), trials=70))


def test_each_trial_counts_as_an_independent_one_where_asked() -> None:
    """As those of a search that climbs to the best of noise."""
    alike = np.repeat(noise(5, 400), 8, axis=0) + 1e-5 * noise(40, 400, 1)
    daily = equity(alike)
    one, each = (luck_of(daily, numbered(40), trials=60, independent=independent) for independent in (False, True))
    assert one.effective_trials < 12.0
    assert each.effective_trials == 60.0
    assert each.expected_maximum == pytest.approx(
        one.expected_maximum * odds.expected_maximum(60) / odds.expected_maximum(one.effective_trials), rel=1e-9
    )
    assert each.deflated_sharpe < one.deflated_sharpe
    assert (each.overfitting, each.interval, each.white) == (one.overfitting, one.interval, one.white)
    assert "of 20 of those that were tried there is no equity here: they count as independent ones" in each.notes
    assert math.isnan(luck_of(daily[:, :20], numbered(40), independent=True).effective_trials)


# ---------------------------------------------------------------- deflated Sharpe ratio


def test_the_example_of_the_paper() -> None:
    """Bailey & López de Prado 2014: Sharpe ratio 2.5 a year, five years of 250 days, 100 trials of variance 1/2, skewness −3, kurtosis 10: 0.9004; 46: 0.9505."""
    for trials, expected in ((100, 0.9004), (46, 0.9505)):
        hurdle = math.sqrt(0.5 / 250) * odds.expected_maximum(trials)
        assert odds.deflated(2.5 / math.sqrt(250), hurdle, 1.0 / math.sqrt(1249), -3.0, 10.0) == pytest.approx(expected, abs=1e-4)
    assert math.sqrt(0.5 / 250) * odds.expected_maximum(100) == pytest.approx(0.1132, abs=1e-4)


@pytest.mark.parametrize("trials", [2.0, 2.5, 10.0, 1e4])
def test_expected_maximum_is_that_of_ffn(trials: float) -> None:
    import ffn

    assert odds.expected_maximum(trials) == pytest.approx(ffn.core.calc_expected_max_sharpe(trials, 1.0), rel=1e-9)
    assert odds.trials_worth(odds.expected_maximum(trials), 100_000) == pytest.approx(trials, rel=1e-6)


def test_few_trials_have_little_luck() -> None:
    assert odds.expected_maximum(1.0) == 0.0
    assert 0.0 < odds.expected_maximum(1.2) < odds.expected_maximum(1.9) < odds.expected_maximum(2.0)
    assert odds.trials_worth(-0.1, 9) == 1.0
    assert odds.trials_worth(5.0, 9) == pytest.approx(9.0)


def test_deflated_is_that_of_ffn_where_skewness_is_negative() -> None:
    import ffn

    random = np.random.default_rng(2)
    trials = 0.05 * random.normal(size=20)
    for sign in (-1.0, 1.0):
        returns = pd.Series(0.01 * (sign * (random.exponential(size=400) - 1.0) + 0.1))
        theirs = ffn.core.calc_deflated_sharpe_ratio(returns, trials, nperiods=365, annualized_trials=False)
        hurdle = odds.expected_maximum(20) * float(trials.std(ddof=1))
        sharpe = float(returns.mean() / returns.std())
        ours = odds.deflated(sharpe, hurdle, 1.0 / math.sqrt(399), *odds.shape_of(returns.to_numpy()))
        assert ours == pytest.approx(theirs, rel=1e-9) if sign < 0 else abs(ours - 0.5) < abs(theirs - 0.5)
        assert odds.shape_of(returns.to_numpy()) == pytest.approx((returns.skew(), returns.kurt() + 3.0), rel=1e-9)


def test_one_lucky_day_convinces_nobody() -> None:
    """All of a year's gain on one day: mean/deviation = 1/√365, times √364 is 1 deviation: 84 %, were it the only one tried."""
    returns = np.zeros((1, 365))
    returns[0, 100] = 0.05
    luck = luck_of(equity(returns), numbered(1))
    assert luck.deflated_sharpe == pytest.approx(0.8413, abs=1e-3)
    assert luck.notes == ["the best one's equity moves on only 1 of 365 days: its figures rest on these", NOT_TWO]


NOT_TWO = "no two that move differ: how good it is to choose among them can't be said"


def test_gains_that_follow_gains_make_a_ratio_less_sure() -> None:
    """An autoregression of 0.6: the variance of the mean is (1 + 0.6)/(1 − 0.6) = 4 times that of independent days."""
    random = np.random.default_rng(4)
    independent = random.normal(size=4_000)
    following = independent.copy()
    for day in range(1, 4_000):
        following[day] += 0.6 * following[day - 1]
    assert odds.standard_error(independent) == pytest.approx(1.0 / math.sqrt(3_999), rel=1e-9)
    assert odds.standard_error(following) == pytest.approx(2.0 / math.sqrt(3_999), rel=0.15)
    assert odds.standard_error(np.resize([1.0, -1.0], 4_000)) == pytest.approx(1.0 / math.sqrt(3_999), rel=1e-12)


@pytest.mark.parametrize(("following", "ratio"), [(0.0, 1.0), (0.4, 7 / 3), (0.8, 9.0), (-0.5, 1.0)])
def test_the_error_of_an_autoregression_is_what_it_is(following: float, ratio: float) -> None:
    """In the mean of sixty; stretches of days tell 2.1 and 7.3 of 2.3 and 9. Of independent days there is hardly any noise: power is kept."""
    shocks = np.random.default_rng(3).normal(size=(60, 1_500))
    errors = [odds.standard_error(one) * math.sqrt(1_399) for one in followed(shocks, following)[:, 100:]]
    assert np.mean(np.square(errors)) == pytest.approx(ratio, rel=0.1)
    if following <= 0.0:
        assert max(np.abs(np.sort(errors)[:-2] - 1.0)) < 1e-12


def test_the_error_of_what_ends_at_once_or_fades_slowly() -> None:
    """Returns of four days each, η = 4, and a slow drift of 0.95 under noise of twice its variance, η = (39 + 2)/3: neither shape alone tells both."""
    random = np.random.default_rng(4)
    four = np.stack([np.convolve(one, np.ones(4), "valid") for one in random.normal(size=(40, 1_403))])
    drift = followed(random.normal(size=(40, 1_600)), 0.95)[:, 200:] * math.sqrt(1.0 - 0.95**2)
    drift += math.sqrt(2.0) * random.normal(size=(40, 1_400))
    for returns, ratio, rel in ((four, 4.0, 0.15), (drift, 41 / 3, 0.35)):
        found = np.mean([odds.standard_error(one) ** 2 * 1_399 for one in returns])
        assert found == pytest.approx(ratio, rel=rel)


def test_autocorrelations_tell_too_little_of_what_fades_over_many_of_few_days() -> None:
    """An autoregression of 0.95, η = 39, on 500 days."""
    returns = followed(np.random.default_rng(5).normal(size=(40, 600)), 0.95)[:, 100:]
    assert np.mean([odds.flat_top_ratio(odds.autocorrelations(one), 500) for one in returns]) < 30.0
    assert np.mean([odds.standard_error(one) ** 2 * 499 for one in returns]) > 31.0


def test_ratios_of_few_of_alternating_and_of_rising_days() -> None:
    for returns, low, high in (
        (np.resize([1.0, -1.0], 4_000), 0.0, 1.0),
        (np.linspace(-1.0, 1.0, 30), 5.0, 30.0),
        (np.linspace(-1.0, 1.0, 4_000), 100.0, 4_000.0),
    ):
        correlations = odds.autocorrelations(returns)
        for ratio in (odds.flat_top_ratio, odds.autoregressive_ratio):
            assert low - 1e-9 <= ratio(correlations, len(returns)) <= high


# ---------------------------------------------------------------- probability of backtest overfitting


@pytest.mark.parametrize(("days", "blocks"), [(40, 8), (50, 10)])
def test_overfitting_is_that_of_ffn(days: int, blocks: int) -> None:
    import ffn

    for seed in range(4):
        returns = noise(9, days, seed)
        returns[5] = returns[2]  # ties
        theirs = ffn.core.calc_prob_backtest_overfitting(pd.DataFrame(odds.returns_of(equity(returns)).T), n_blocks=blocks)
        assert odds.overfitting_of(tried(returns)) == pytest.approx(theirs, abs=1e-12)


def test_overfitting_by_hand() -> None:
    """Two blocks of five days. The first gains only in the first half, the second only in the other: both choices fail. The better of two in both never does."""
    up, down = [0.01, 0.02, 0.01, 0.02, 0.01], [-0.01, -0.02, -0.01, -0.02, -0.01]
    assert odds.overfitting_of(tried(np.array([up + down, down + up]))) == 1.0
    assert odds.overfitting_of(tried(np.array([up + up, down + down]))) == 0.0


def test_no_day_is_left_out() -> None:
    """163 days are cut into blocks of 10 and 11 days; a sum over all of them is the sum of all days."""
    one = tried(noise(3, 163))
    assert one.lengths.sum() == 163
    assert set(one.lengths) == {10.0, 11.0}
    np.testing.assert_allclose(one.sums.sum(axis=0), noise(3, 163).sum(axis=1), rtol=1e-9)


def test_overfitting_with_blocks_of_unequal_length_is_what_it_is_by_definition() -> None:
    """33 days in six blocks of five or six: every half against the other, from the days themselves."""
    for seed in range(5):
        returns = odds.returns_of(equity(noise(8, 33, seed)))
        edges, failed = np.linspace(0, 33, 7).astype(int), []
        for half in combinations(range(6), 3):
            inside = np.zeros(33, dtype=bool)
            for block in half:
                inside[edges[block] : edges[block + 1]] = True
            train, test = (part.mean(axis=1) / part.std(axis=1, ddof=1) for part in (returns[:, inside], returns[:, ~inside]))
            failed.append((test < test[train.argmax()]).sum() + 1 <= 4.5)
        assert odds.overfitting_of(tried(noise(8, 33, seed))) == np.mean(failed)


def test_fewer_blocks_for_few_days_and_many_combinations() -> None:
    assert [odds.blocks_of(days, 100) for days in (10, 39, 40, 79, 80, 2_000)] == [2, 6, 8, 14, 16, 16]
    assert [odds.blocks_of(2_000, count) for count in (3_108, 3_109, 11_655, 11_656)] == [16, 14, 14, 12]


def test_one_that_rests_in_a_half_has_a_ratio_of_0_there() -> None:
    """It ranks above one that loses and below one that gains."""
    gains = np.resize([0.01, 0.02], 200)
    rests = np.concatenate([gains[:100], np.zeros(100)])
    ratios = odds._ratio_of_sums(np.array([[100.0]]), np.array([[1.5, 0.0, -1.5]]), np.array([[0.025, 0.0, 0.025]]))
    assert list(np.sign(ratios[0])) == [1.0, 0.0, -1.0]
    assert np.isfinite(odds.overfitting_of(tried(np.stack([gains, rests, -gains]))))


# ---------------------------------------------------------------- bootstrap


@pytest.mark.parametrize("days", [200, 201])
@pytest.mark.parametrize("length", [1, 7])
def test_long_run_variance_is_that_of_arch(days: int, length: int) -> None:
    from arch.bootstrap import SPA

    returns = noise(4, days).cumsum(axis=1)
    test = SPA(np.zeros(days), -returns.T, block_size=length)
    test._compute_variance()
    centred = returns - returns.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(odds.long_run_variance(centred, length), test._loss_diff_var, rtol=1e-9)


@pytest.mark.parametrize("against", ["cash", "noise"])
def test_p_values_are_those_of_arch_on_the_same_draws(against: str) -> None:
    """Reality check: arch's upper one. SPA: arch's consistent one on leads over their own deviation, as arch itself does not divide by it."""
    from arch.bootstrap import SPA, RealityCheck

    days = 300
    for seed in range(5):
        returns = noise(12, days, seed) * np.linspace(0.5, 3.0, 12)[:, None] + 0.0006 * np.linspace(-9.0, 1.0, 12)[:, None]
        baseline = np.zeros(days) if against == "cash" else noise(1, days, seed + 100)[0]
        one = tried(returns)
        draws = odds.drawn_days(returns[0], seed)
        found = odds.resample(one, baseline, draws)
        lead = odds.returns_of(equity(returns)) - baseline
        white = RealityCheck(np.zeros(days), -lead.T, block_size=draws.length, reps=odds.REPEATS, seed=seed)
        white.compute()
        error = np.sqrt(odds.long_run_variance(lead - lead.mean(axis=1, keepdims=True), draws.length))
        spa = SPA(np.zeros(days), -(lead / error[:, None]).T, block_size=draws.length, reps=odds.REPEATS, seed=seed)
        spa.compute()
        for ours, theirs in ((found.white, white.pvalues["upper"]), (found.reality_check, spa.pvalues["consistent"])):
            assert (ours * (odds.REPEATS + 1) - 1) / odds.REPEATS == pytest.approx(theirs, abs=1e-9)


def test_arch_does_not_studentize() -> None:
    """Why the statistic is ours: the day arch does what it says, this fails, and its SPA can take the place."""
    from arch.bootstrap import SPA

    returns = (noise(6, 200) * np.linspace(0.1, 5.0, 6)[:, None] + 0.001).T
    found = []
    for studentize in (False, True):
        test = SPA(np.zeros(200), -returns, studentize=studentize, reps=200, seed=0)
        test.compute()
        found.append(test.pvalues.to_list())
    assert found[0] == found[1]


@pytest.mark.parametrize(("following", "days", "least"), [(0.0, 250, 0.90), (0.4, 400, 0.90), (0.8, 800, 0.90)])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(following: float, days: int, least: float) -> None:
    random, truth, held = np.random.default_rng(6), 0.06, 0
    for seed in range(120):
        shocks = random.normal(size=days + 50)
        for day in range(1, len(shocks)):
            shocks[day] += following * shocks[day - 1]
        returns = 0.01 * (shocks[50:] * math.sqrt(1.0 - following**2) + truth)
        low, high = odds.interval_of(returns, odds.drawn_days(returns, seed))
        held += low <= truth <= high
    assert least <= held / 120 <= 0.99


def test_the_interval_is_that_of_the_drawn_days() -> None:
    returns = noise(1, 60)[0]
    draws = odds.drawn_days(returns, 0)
    assert draws.counts.shape == (odds.REPEATS, 60)
    assert (draws.counts.sum(axis=1) == 60).all()
    each = [np.repeat(returns, counts.astype(int)) for counts in draws.counts]
    expected = np.quantile([one.mean() / one.std(ddof=1) for one in each], [0.025, 0.975])
    assert odds.interval_of(returns, draws) == pytest.approx(tuple(expected), rel=1e-9)


def test_the_interval_knows_of_gains_that_follow_gains() -> None:
    returns = np.repeat(noise(1, 150)[0], 4)  # each day's return four days long
    alone = np.ptp(odds.interval_of(noise(1, 600)[0], odds.Drawn(counts_of(1, 600), 1)))
    together = np.ptp(odds.interval_of(returns, odds.Drawn(counts_of(12, 600), 12)))
    assert together == pytest.approx(2.0 * alone, rel=0.25)


def test_the_interval_is_wider_where_stretches_are_too_short() -> None:
    """An autoregression of 0.8 drawn day by day: three times as wide as these days tell."""
    drawn = odds.Drawn(counts_of(1, 2_000), 1)
    alone, following = (np.ptp(odds.interval_of(followed(noise(1, 2_000), one)[0], drawn)) for one in (0.0, 0.8))
    assert following == pytest.approx(3.0 * alone, rel=0.15)


def test_stretches_are_as_long_as_the_lead_over_the_baseline_needs() -> None:
    """What a baseline does day after day is in the lead over it, though not in the returns."""
    mine, following = noise(1, 900)[0], followed(noise(1, 900, 1), 0.8)[0]
    assert odds.drawn_days(mine, 0).length <= 3
    assert odds.drawn_days(mine, 0, lead=mine - following).length == odds.drawn_days(mine - following, 0).length >= 12
    assert odds.drawn_days(following, 0, lead=mine).length == odds.drawn_days(following, 0).length
    assert odds.drawn_days(mine, 0, lead=np.zeros(900)).length == odds.drawn_days(mine, 0).length
    luck = luck_of(equity(mine[None, :]), numbered(1), baseline=equity(following[None, :])[0])
    drawn = odds.drawn_days(mine, 0, lead=mine - following)
    assert luck.white == odds.resample(tried(mine[None, :]), following, drawn).white


def counts_of(length: int, days: int) -> Floats:
    """How often each day is drawn in each repeat, in stretches of a given mean length."""
    from arch.bootstrap import StationaryBootstrap

    draws = StationaryBootstrap(length, np.arange(days), seed=0).bootstrap(odds.REPEATS)
    return np.stack([np.bincount(one[0][0], minlength=days) for one in draws]).astype(np.float64)


def test_the_same_seed_gives_the_same_figures() -> None:
    daily, combinations = swept(3, 1.0)
    first, again, other = (luck_of(daily, combinations, seed=seed) for seed in (1, 1, 2))
    assert str(first) == str(again)
    assert (first.interval, first.effective_trials) == (again.interval, again.effective_trials)
    assert first.interval != other.interval


def test_work_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    daily, combinations = swept(4, 1.0)
    whole = luck_of(daily, combinations)
    monkeypatch.setattr(odds, "ROWS", 7)
    monkeypatch.setattr(odds, "CELLS", 1_000)
    parts = luck_of(daily, combinations)
    for name in ("sharpe", "effective_trials", "expected_maximum", "deflated_sharpe", "overfitting", "reality_check", "white"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-9)


# ---------------------------------------------------------------- corners


def test_the_sharpe_ratio_is_that_of_a_run() -> None:
    daily, combinations = swept(7, 1.0)
    luck = luck_of(daily, combinations)
    days = pd.date_range("2024-01-01", periods=daily.shape[1], freq="D", tz="UTC")
    each = [return_statistics(pd.Series(row[1:], index=days[1:]), days[0], row[0])["sharpe"] for row in daily]
    assert luck.chosen == int(np.argmax(each))
    assert luck.sharpe == pytest.approx(max(each), rel=1e-9)


def test_one_combination() -> None:
    luck = luck_of(equity(noise(1, 300) + 0.003), [{"enter": 0.1}])
    assert (luck.trials, luck.effective_trials, luck.expected_maximum, luck.chosen) == (1, 1.0, 0.0, 0)
    assert math.isnan(luck.overfitting)
    assert luck.plateau is None
    assert luck.notes == [NOT_TWO]
    assert luck.deflated_sharpe > 0.99
    assert luck.reality_check < 0.05
    assert "Luck alone would give a single trial 0.00 on average." in str(luck)


def test_two_combinations() -> None:
    luck = luck_of(equity(noise(2, 300)), numbered(2))
    assert 1.0 < luck.effective_trials <= 2.0
    assert luck.plateau is not None
    assert luck.plateau.neighbours == 1
    assert "Its one neighbour has" in str(luck)
    assert luck.notes == []


def test_all_alike() -> None:
    luck = luck_of(equity(np.repeat(noise(1, 300), 5, axis=0)), numbered(5))
    assert (luck.effective_trials, luck.chosen) == (1.0, 0)
    assert luck.notes[:2] == ["5 combinations share the best Sharpe ratio: the first is told", NOT_TWO]
    assert math.isnan(luck.overfitting)
    assert luck.plateau is not None
    assert luck.plateau.worst_loss == 0.0


def test_no_trade_anywhere() -> None:
    luck = luck_of(np.full((4, 200), 1e5), numbered(4))
    assert luck.notes == ["no equity moves: there is nothing to judge"]
    assert math.isnan(luck.sharpe)
    assert math.isnan(luck.deflated_sharpe)
    assert str(luck) == "Of 4 combinations tried, on 199 days:\nNote: no equity moves: there is nothing to judge."


def test_some_that_never_trade() -> None:
    returns = noise(4, 300)
    returns[[0, 2]] = 0.0
    luck = luck_of(equity(returns), numbered(4))
    assert luck.chosen in (1, 3)
    assert luck.trials == 4
    two = luck_of(equity(np.repeat(noise(1, 300), 2, axis=0)), numbered(2))
    assert two.notes[0] == "2 combinations share the best Sharpe ratio: the first is told"
    assert "2 combinations never move: no Sharpe ratio, so not the best" in luck.notes
    assert np.isfinite([luck.overfitting, luck.deflated_sharpe, luck.reality_check]).all()


def test_a_neighbour_that_never_trades_loses_all() -> None:
    returns = noise(3, 300) + 0.002
    returns[[0, 2]] = 0.0
    luck = luck_of(equity(returns), numbered(3))
    assert luck.plateau is not None
    assert luck.plateau.median_loss == pytest.approx(luck.sharpe)


def test_rows_that_did_not_run_are_left_out() -> None:
    daily = equity(noise(6, 300) + np.array([0, 0, 0, 0, 0.005, 0])[:, None])
    daily[1] = NAN
    daily[5, 200:] = NAN
    luck = luck_of(daily, numbered(6))
    assert (luck.trials, luck.chosen) == (4, 4)
    assert luck.notes[0] == "2 combinations did not run and are left out"
    assert luck.plateau is not None
    assert luck.plateau.rows == (3,)
    alone = luck_of(daily[[0, 2, 3, 4]], numbered(4))
    assert (alone.effective_trials, alone.overfitting, alone.white) == (luck.effective_trials, luck.overfitting, luck.white)


@pytest.mark.parametrize("days", [0, 1, 2, 29])
def test_few_days_say_little(days: int) -> None:
    luck = luck_of(equity(noise(5, days)), numbered(5))
    assert luck.notes[0] == f"{days} days of returns are too few to judge, at least 30 are needed"
    assert math.isnan(luck.deflated_sharpe)
    assert math.isnan(luck.interval[0])
    assert math.isnan(luck.sharpe) == (days < 2)


def test_thirty_days_are_enough() -> None:
    luck = luck_of(equity(noise(5, 30)), numbered(5))
    assert np.isfinite([luck.deflated_sharpe, luck.overfitting, luck.reality_check, *luck.interval]).all()


def test_a_ruin_is_a_loss_of_all_and_then_nothing() -> None:
    daily = np.array([[100.0, 110.0, -11.0, -22.0, 50.0, 60.0]])
    np.testing.assert_allclose(odds.returns_of(daily), [[0.1, -1.1, 0.0, 0.0, 0.0]], rtol=1e-12)
    whole = equity(noise(3, 200) + np.array([0.001, 0.0, 0.02])[:, None])
    whole[2, 100:] = -5.0
    luck = luck_of(whole, numbered(3))
    assert luck.chosen == 0
    assert np.isfinite([luck.deflated_sharpe, luck.overfitting, luck.reality_check, luck.white]).all()


def test_days_that_are_all_alike_but_for_few_raise_no_warning() -> None:
    returns = np.zeros((2, 100))
    returns[0, [0, 1]] = 0.01, -0.01
    assert odds.drawn_days(returns[0], 0).length >= 1
    returns[1, [50, 99]] = 0.02, -0.01
    luck = luck_of(equity(returns), numbered(2))
    assert np.isfinite([luck.deflated_sharpe, luck.overfitting, *luck.interval]).all()


# ---------------------------------------------------------------- baselines


def test_a_constant_baseline_is_cash() -> None:
    daily = equity(noise(5, 300) + 0.001)
    cash, constant = (luck_of(daily, numbered(5), baseline=one) for one in (None, np.full(301, 7.0)))
    assert (cash.reality_check, cash.white) == (constant.reality_check, constant.white)


def test_no_lead_over_a_baseline_that_is_better_or_the_same() -> None:
    returns = noise(3, 300) + 0.001
    better = luck_of(equity(returns), numbered(3), baseline=equity(returns.mean(axis=0, keepdims=True) + 0.004)[0], name="buy and hold")
    assert better.reality_check == 1.0
    assert better.white > 0.95
    assert "over buy and hold" in str(better)
    same = luck_of(equity(returns[:1]), numbered(1), baseline=equity(returns[:1])[0])
    assert (same.reality_check, same.white) == (1.0, 1.0)


def test_a_lead_over_a_baseline_that_moves_alike_is_seen() -> None:
    """The market moves 3 % a day, the lead over it is steady: against cash it drowns, against the market it stands out."""
    market = 3.0 * noise(1, 400, 9)
    returns = market + 0.1 * noise(4, 400, 10) + 0.0005
    daily = equity(returns)
    assert luck_of(daily, numbered(4), baseline=equity(market)[0]).reality_check < 0.01
    assert luck_of(daily, numbered(4)).reality_check > 0.1


def test_small_gains_and_rare_losses_are_no_lead() -> None:
    """A loss of 2 % on a day of a hundred, and as much in small gains: SPA divides by a deviation that a past with few losses hides, White's check does not."""
    told = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        returns = 0.02 * np.where(random.random((50, 900)) < 0.01, -1.0, 0.01 / 0.99) + random.normal(0.0, 0.0005, (50, 900))
        told.append(luck_of(equity(returns), numbered(50), seed=seed))
    assert sum(luck.reality_check < 0.05 for luck in told) >= 10
    assert sum(luck.white < 0.05 for luck in told) <= 2
    assert sum(luck.deflated_sharpe >= 0.95 for luck in told) <= 2
    for luck in told:
        words = str(luck).replace("\n ", "")
        assert (
            f"{share_of(luck.white)} chance of such a lead over cash if none has one (White's reality check; {share_of(luck.reality_check)} by SPA"
            in words
        )
        assert "Note: gains are small and losses rare (skewness -" in words
    assert not any("rare" in note for note in luck_of(equity(-returns), numbered(50)).notes)


# ---------------------------------------------------------------- plateau


def grid(*values: list[Any]) -> list[dict[str, Any]]:
    names = ("enter", "exit", "mode")
    return [dict(zip(names, one, strict=False)) for one in product(*values)]


def test_neighbours_in_a_grid_are_a_step_away_in_any_parameter() -> None:
    """Three by three, the best in the middle: eight neighbours, of which the Sharpe ratios 0…3 and 5…8 less 10 % are the losses."""
    sharpe_ratios = np.array([0.0, 1.0, 2.0, 3.0, 9.0, 5.0, 6.0, -1.0, 8.0])
    found = plateau_of(sharpe_ratios, grid([0.01, 0.1, 1.0], ["1D", "36h", "90D"]), 4)
    assert found == Plateau(8, 6.5, 10.0, 0.75, (0, 1, 2, 3, 5, 6, 7, 8), ())  # losses 9 8 7 6 4 3 10 1; 0 isn't above 0


def test_at_an_end_there_are_fewer_and_it_is_told() -> None:
    found = plateau_of(np.arange(9.0), grid([1, 2, 3], [1, 2, 3]), 8)
    assert found is not None
    assert found.rows == (4, 5, 7)
    assert found.ends == ("enter", "exit")
    luck = luck_of(equity(noise(9, 100) + 0.001 * np.arange(9)[:, None]), grid([1, 2, 3], [1, 2, 3]))
    assert luck.notes == ["the best lies at an end of enter and exit: better ones may lie beyond"]


def test_of_two_values_none_is_an_end() -> None:
    found = plateau_of(np.array([1.0, 2.0]), [{"enter": 1}, {"enter": 2}], 1)
    assert found is not None
    assert found.ends == ()


def test_durations_are_put_in_order_by_length() -> None:
    """90D is longer than 120h, though its text comes later."""
    values = ["90D", "120h", "7D", pd.Timedelta("30D")]
    found = plateau_of(np.array([1.0, 2.0, 3.0, 4.0]), [{"hold": one} for one in values], 3)
    assert found is not None
    assert found.rows == (0, 2)


def test_what_has_no_order_is_the_same_for_all_neighbours() -> None:
    combinations = [{"enter": one, "exit": other, "mode": mode} for one in (1, 2, 3) for other in (0,) for mode in ("slow", "fast", None)]
    found = plateau_of(np.arange(9.0), combinations, 4)
    assert found is not None
    assert found.rows == (1, 7)


@pytest.mark.parametrize(
    "combinations", [[{"enter": 1}], [{"mode": "a"}, {"mode": "b"}], [{"on": True}, {"on": False}], [{"x": 1}, {"x": 1}]]
)
def test_without_an_order_there_is_no_plateau(combinations: list[dict[str, Any]]) -> None:
    assert plateau_of(np.arange(len(combinations), dtype=float), combinations, 0) is None


def test_neighbours_among_random_points_are_the_nearest() -> None:
    """Two parameters: four neighbours; those at the same place as the chosen are the same combination."""
    random = np.random.default_rng(1)
    points = [{"enter": float(one), "exit": float(other)} for one, other in random.uniform(size=(50, 2))]
    found = plateau_of(random.normal(size=51), [*points, dict(points[20])], 20)
    assert found is not None
    assert found.neighbours == 4
    assert 50 not in found.rows
    ranks = np.array([[np.sum([q[name] < p[name] for q in points]) for name in ("enter", "exit")] for p in points])
    nearest = np.argsort(((ranks - ranks[20]) ** 2).sum(axis=1), kind="stable")[1:5]
    assert set(found.rows) == set(nearest.tolist())


def test_none_where_all_neighbours_did_not_run() -> None:
    assert plateau_of(np.array([NAN, 1.0, NAN, 2.0]), numbered(4), 1) is None


# ---------------------------------------------------------------- words

TOLD = Luck(
    trials=1_000, effective_trials=23.4, chosen=5, days=1_826, sharpe=1.9, expected_maximum=1.62, deflated_sharpe=0.62, overfitting=0.48,
    interval=(0.41, 3.3), reality_check=0.21, white=0.0004, baseline="cash", plateau=Plateau(8, 0.3, 1.1, 0.75, (), ()), notes=["a", "b"],
)  # fmt: skip


def test_the_words() -> None:
    assert str(TOLD) == repr(TOLD)
    assert str(TOLD).splitlines() == [
        "Of 1,000 combinations tried, worth about 23 independent ones, on 1,826 days:",
        "* Best Sharpe ratio 1.90; between 0.41 and 3.30 (95%) were it the only one.",
        "* Luck alone would give the best of so many 1.62 on average.",
        "* 62% likely to be more than luck (deflated Sharpe ratio; 95% convinces).",
        "* In 48% of the splits of the days in halves, the best of one half was no better",
        "  than the median in the other (50%: choosing was worth nothing).",
        "* 21% chance of such a lead over cash if none has one (SPA; below 0.1% by",
        "  White's reality check; below 5% convinces).",
        "* Its 8 neighbours have 0.30 less in the median, 1.10 at worst; 75% above 0.",
        "Note: a.",
        "Note: b.",
    ]


def test_the_larger_p_value_is_told_first() -> None:
    assert "* Below 0.1% chance" not in str(TOLD)
    other = str(replace(TOLD, reality_check=0.01, white=0.3))
    assert "* 30% chance of such a lead over cash if none has one (White's reality check;\n  1.0% by SPA; below 5% convinces)." in other


@pytest.mark.parametrize(
    ("probability", "said"),
    [(0.0, "0.0%"), (0.0002, "below 0.1%"), (0.042, "4.2%"), (0.5, "50%"), (0.949, "94.9%"), (0.9999, "over 99.9%"), (1.0, "100.0%")],
)
def test_probabilities_in_words(probability: float, said: str) -> None:
    assert share_of(probability) == said


def test_no_line_is_longer_than_80_characters(of_noise: list[Luck], of_edge: list[Luck]) -> None:
    wide = replace(
        TOLD, trials=10**9, effective_trials=9.9, sharpe=-123.456, interval=(-1e3, 1e3), baseline="x" * 100, notes=["word " * 40]
    )
    for luck in [*of_noise, *of_edge, wide]:
        lines = str(luck).splitlines()
        assert max(map(len, lines)) <= 80
        assert len(lines) <= 14 or luck is wide
    assert "-0.00" not in str(replace(TOLD, sharpe=-0.001))
    assert "worth about 9.9 independent ones" in str(wide).replace("\n", " ")
    assert "all above 0." in str(replace(TOLD, plateau=Plateau(2, 0.3, 1.1, 1.0, (), ())))
    assert "none above 0." in str(replace(TOLD, plateau=Plateau(2, 0.3, 1.1, 0.0, (), ())))
    assert "worth about one," in str(replace(TOLD, effective_trials=1.0))


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: luck_of(np.ones((2, 50)), numbered(3)), r"daily equity must have a row a combination: it has shape \(2, 50\) for 3 combinations"),
        (lambda: luck_of(np.ones(50), numbered(1)), r"daily equity must have a row a combination: it has shape \(50,\) for 1 combinations"),
        (lambda: luck_of(np.full((2, 50), NAN), numbered(2)), "the odds of luck need a combination that ran: none of 2 has equity on every day"),
        (lambda: luck_of(np.ones((1, 0)), numbered(1)), "the odds of luck need a combination that ran: none of 1 has"),
        (lambda: luck_of(np.ones((0, 9)), []), "the odds of luck need a combination that ran: none of 0 has"),
        (lambda: luck_of(np.ones((2, 50)), numbered(2), baseline=np.ones(49)), r"a baseline must have .*shape \(49,\), 49 of it finite, for 50 days"),
        (lambda: luck_of(np.ones((2, 50)), numbered(2), baseline=np.full(50, NAN)), "a baseline must have .* 0 of it finite, for 50 days"),
        (lambda: luck_of(np.ones((2, 50)), numbered(2), idle=np.ones(49)), r"idle cash must have finite .*shape \(49,\), 49 of it finite, for 50 days"),
        (lambda: luck_of(np.ones((2, 50)), numbered(2), idle=np.full(50, NAN)), "idle cash must have finite .* 0 of it finite, for 50 days"),
        (lambda: luck_of(np.ones((2, 50)), numbered(2), idle=np.linspace(1.0, 0.0, 50)), "idle cash must have equity above 0 on every day: its least is 0.00"),
        (lambda: luck_of(np.ones((2, 50)), numbered(2), trials=1), "trials must be at least the combinations that ran: trials=1, 2 ran"),
    ],
)  # fmt: skip
def test_mistakes(call: Callable[[], Luck], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        call()
