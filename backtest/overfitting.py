"""Statistics of the best of many: deflated Sharpe ratio, effective trials, backtest overfitting, stationary bootstrap, SPA and reality check.

On daily returns, which are worked through some combinations at a time: 10,000 of five years need some 50 MB beside their equity. Nothing here is
annualized. Returns are those over idle cash where its equity is given: interest is no skill. Each function names the paper that it is from. arch draws the
days and finds the length of the stretches that are drawn together; the tests compare the rest with ffn, arch and the papers' own examples.

    tried = Tried(daily, rows, idle)
    overfitting_of(tried)
"""

import itertools
import math
from collections.abc import Iterator
from functools import cached_property
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from backtest.metrics import NOTHING, QUIET, Floats, idle_returns, returns_of

BLOCKS, BLOCK_DAYS = 16, 5  # of the cross-validation: at most so many, of at least so many days
FEWEST_BLOCKS = 2
MOST_CELLS = 20_000_000  # combination × half of the blocks: fewer blocks for very many combinations
REPEATS = 1_000  # of the bootstrap
LEVEL = 0.95  # of the interval
EQUAL = 1e-9  # Sharpe ratios apart by no more are one
FEWEST_LAGS = 5  # that must be within noise for those beyond them to be nothing
ROWS = 256  # combinations at a time: what they need fits in the processor's cache
CELLS = 50_000  # split × combination at a time, likewise; more and small products of matrices are spread over threads, which takes longer
NORMAL = NormalDist()


# ---------------------------------------------------------------- returns


class Tried:
    """The combinations that ran: their returns over idle cash in parts, and what a first pass over them gives.

    sharpe: daily, NaN where returns don't move; moves: where they do; skewness; sums, squares: of the returns in each block of days [block, combination].
    """

    def __init__(self, daily: Floats, ran: npt.NDArray[np.int64], idle: Floats | None = None) -> None:
        self.daily, self.ran = daily, ran
        self.idle = None if idle is None or not np.diff(idle).any() else idle_returns(idle)
        self.days = daily.shape[1] - 1
        blocks = blocks_of(self.days, len(ran))
        edges = np.linspace(0, self.days, blocks + 1).astype(np.int64)
        self.lengths = np.diff(edges).astype(np.float64)
        self.sums, self.squares = np.zeros((blocks, len(ran))), np.zeros((blocks, len(ran)))
        mean, deviation, cubes = np.zeros(len(ran)), np.zeros(len(ran)), np.zeros(len(ran))
        for part, returns in self.parts() if self.days > 1 else ():
            mean[part], deviation[part] = returns.mean(axis=1), returns.std(axis=1, ddof=1)
            centred = returns - mean[part, None]
            cubes[part] = np.einsum("ij,ij,ij->i", centred, centred, centred) / self.days
            for block, (first, last) in enumerate(itertools.pairwise(edges)):
                self.sums[block, part] = returns[:, first:last].sum(axis=1)
                self.squares[block, part] = (returns[:, first:last] ** 2).sum(axis=1)
        self.mean = mean
        self.moves = deviation > np.maximum(NOTHING, QUIET * np.abs(mean))
        self.sharpe = np.divide(mean, deviation, out=np.full(len(ran), np.nan), where=self.moves)
        self.skewness = np.divide(cubes, deviation**3, out=np.full(len(ran), np.nan), where=self.moves)

    def returns(self, part: slice) -> Floats:
        """Daily returns of some of the combinations that ran, less those of idle cash."""
        return self._less_idle(returns_of(self.daily[self.ran[part]]))

    def of_baseline(self, equity: Floats | None) -> Floats:
        """Daily returns of a baseline less those of idle cash; None is cash that earns nothing."""
        returns = np.zeros((1, self.days)) if equity is None else returns_of(equity[None, :])
        return np.asarray(self._less_idle(returns)[0])

    def _less_idle(self, returns: Floats) -> Floats:
        return returns if self.idle is None else self.idle.taken_from(returns)

    def parts(self) -> Iterator[tuple[slice, Floats]]:
        """All returns, some combinations at a time."""
        for first in range(0, len(self.ran), ROWS):
            part = slice(first, min(first + ROWS, len(self.ran)))
            yield part, self.returns(part)

    @cached_property
    def best(self) -> int | None:
        """Place of the highest Sharpe ratio, the first of several equal; None where nothing moves."""
        if not self.moves.any():
            return None
        return int(np.argmax(self.sharpe >= np.nanmax(self.sharpe) - EQUAL))

    @property
    def alike(self) -> bool:
        """Whether all that move have one Sharpe ratio in every block of days, as one combination has."""
        sums, squares = self.sums[:, self.moves], self.squares[:, self.moves]
        return bool(np.ptp(sums, axis=1).max() <= EQUAL * np.abs(sums).max() and np.ptp(squares, axis=1).max() <= EQUAL * squares.max())


# ---------------------------------------------------------------- deflated Sharpe ratio


def expected_maximum(trials: float) -> float:
    """Expected maximum of so many independent standard normal numbers, the false strategy theorem (Bailey & López de Prado 2014, equation 1).

    (1 − γ)·Φ⁻¹(1 − 1/N) + γ·Φ⁻¹(1 − 1/(N·e)), γ Euler's constant. The approximation falls below 0 short of N = 2, where it is −∞ at 1: between one trial,
    whose maximum is 0, and two a straight line takes its place.
    """
    if trials < 2.0:
        return (trials - 1.0) * expected_maximum(2.0)
    gamma = np.euler_gamma
    return float((1.0 - gamma) * NORMAL.inv_cdf(1.0 - 1.0 / trials) + gamma * NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e)))


def trials_worth(maximum: float, most: int) -> float:
    """How many independent trials have this expected maximum, between 1 and `most`: the inverse of `expected_maximum`."""
    low, high = 1.0, float(most)
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if expected_maximum(middle) < maximum else (low, middle)
    return low if low > 1.0 + EQUAL else 1.0


def standard_error(returns: Floats) -> float:
    """Standard deviation of a daily Sharpe ratio whose true value is 0: √(η/(T − 1)).

    η is the long-run variance of the returns over the variance of a day: 1 where days don't depend on each other, more where gains follow gains, as funding
    does (Lo 2002). It is the larger of two: autocorrelations tell too little of what fades slowly, an autoregression too much of what ends at once. Those of
    the bootstrap's stretches would be a fifth too small at an autoregression of 0.8. Below 1 it is taken as 1: that losses follow gains is no reason for
    confidence.
    """
    correlations = autocorrelations(returns)
    ratio = max(1.0, flat_top_ratio(correlations, len(returns)), autoregressive_ratio(correlations, len(returns)))
    return math.sqrt(ratio / (len(returns) - 1))


def autocorrelations(returns: Floats) -> Floats:
    """Of lag 0 to some √T and as much again."""
    days, centred = len(returns), returns - returns.mean()
    lags = range(min(2 * (math.isqrt(days) + FEWEST_LAGS), days - 1) + 1)
    return np.array([centred[lag:] @ centred[: days - lag] for lag in lags]) / float(centred @ centred)


def flat_top_ratio(correlations: Floats, days: int) -> float:
    """Long-run variance over that of a day from autocorrelations, without a shift where these end (Politis 2003: a flat-topped window and its length).

    Whole up to the last lag beyond which some are all within noise, fading to twice that; 1 where none is above noise, without any noise of estimates.
    """
    noise = 2.0 * math.sqrt(math.log10(days) / days)
    large = np.flatnonzero(np.abs(correlations) > noise)  # among them lag 0
    gap = np.flatnonzero(np.diff(np.append(large, large[-1] + FEWEST_LAGS + 1)) > FEWEST_LAGS)
    last = min(int(large[gap[0]]), (len(correlations) - 1) // 2)
    lags = np.arange(1, 2 * last + 1)
    return 1.0 + 2.0 * float(np.minimum(1.0, 2.0 - lags / max(last, 1)) @ correlations[lags])


def autoregressive_ratio(correlations: Floats, days: int) -> float:
    """Long-run variance over that of a day of the autoregression that fits best: σ²/(1 − Σφ)² (den Haan & Levin 1997, VARHAC).

    By Yule & Walker, whose autoregressions are stationary, of the order from 0 to T^⅓ with the least Bayesian information criterion: 0, and so a ratio of 1,
    where days don't depend on each other.
    """
    weights, left = np.zeros(0), 1.0
    least, ratio = 0.0, 1.0
    for order in range(1, round(days ** (1 / 3)) + 1):
        partial = (correlations[order] - weights @ correlations[order - 1 : 0 : -1]) / left
        weights = np.append(weights - partial * weights[::-1], partial)
        left *= 1.0 - partial**2
        if left < EQUAL:  # nothing is left to be explained
            break
        criterion = days * math.log(left) + order * math.log(days)
        if criterion < least:
            least, ratio = criterion, left / (1.0 - float(weights.sum())) ** 2
    return min(ratio, float(days))


def shape_of(returns: Floats) -> tuple[float, float]:
    """Skewness and kurtosis (3 of a normal distribution), without the bias of small samples, as pandas has them."""
    count, centred = len(returns), returns - returns.mean()
    second, third, fourth = (float(np.mean(centred**power)) for power in (2, 3, 4))
    skewness = third / second**1.5 * math.sqrt(count * (count - 1)) / (count - 2)
    excess = (count - 1) / ((count - 2) * (count - 3)) * ((count + 1) * (fourth / second**2 - 3.0) + 6.0)
    return skewness, excess + 3.0


def deflated(sharpe: float, hurdle: float, error: float, skewness: float, kurtosis: float) -> float:
    """Probability that the true Sharpe ratio exceeds a hurdle (Bailey & López de Prado 2014, equation 2); all daily.

    Φ((SR − SR₀) / (error·√(1 − γ₃·SR + (γ₄ − 1)/4·SR²))), in the paper with error = 1/√(T − 1). Where `luck_of` leaves the paper: the hurdle is that of
    *effective* trials, each as uncertain as `error` says; the paper takes the variance found among the trials, which true differences inflate (an edge in
    part of a grid, costs), so that an edge would hide itself. `error` knows of serial correlation. And positive skewness does not make an estimate
    surer than a normal one at 0: else a single lucky day would be worth 98 %.
    """
    spread = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    return NORMAL.cdf((sharpe - hurdle) / (error * math.sqrt(max(spread, 1.0))))


# ---------------------------------------------------------------- probability of backtest overfitting


def overfitting_of(tried: Tried) -> float:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation (Bailey, Borwein, López de Prado & Zhu 2017).

    The days are cut into up to 16 blocks; for each half of the blocks, the best of it by Sharpe ratio is ranked in the other half: the share of the 12,870
    ways in which it is not above the median there. Equal ones have their average rank. As in ffn, but from each block's sums, so that 10,000 combinations
    take seconds; and no day is left out; one that doesn't move in a half has a Sharpe ratio of 0 there, where ffn says nothing at all; and one that never
    moves is no trial.
    """
    all_sums, all_squares = tried.sums[:, tried.moves], tried.squares[:, tried.moves]
    blocks, count = all_sums.shape
    # The first block is in one half of each pair of complements: with the roles changed, this covers all.
    halves = [one for one in itertools.combinations(range(blocks), blocks // 2) if one[0] == 0]
    pick = np.zeros((len(halves), blocks))
    pick[np.arange(len(halves))[:, None], halves] = 1.0
    failed = 0
    step = max(1, CELLS // count)
    for first in range(0, len(halves), step):
        part = pick[first : first + step]
        one, other = (_ratio_of_sums((half @ tried.lengths)[:, None], half @ all_sums, half @ all_squares) for half in (part, 1.0 - part))
        failed += _not_above_median(one, other) + _not_above_median(other, one)
    return failed / (2 * len(halves))


def blocks_of(days: int, count: int) -> int:
    """Into how many blocks the days are cut: an even number, fewer where days are few or combinations very many (14 from 3,109, 12 from 11,656)."""
    blocks = min(BLOCKS, days // BLOCK_DAYS // 2 * 2)
    while blocks > FEWEST_BLOCKS and math.comb(blocks, blocks // 2) // 2 * count > MOST_CELLS:
        blocks -= 2
    return max(blocks, FEWEST_BLOCKS)


def _ratio_of_sums(days: Floats, sums: Floats, squares: Floats) -> Floats:
    """Daily Sharpe ratios from sums and sums of squares; 0 where there is no movement."""
    mean = sums / days
    variance = (squares - sums * mean) / (days - 1.0)
    moves = variance > np.maximum(NOTHING**2, (QUIET * mean) ** 2)
    return np.divide(mean, np.sqrt(variance, where=moves, out=np.ones_like(mean)), out=np.zeros_like(mean), where=moves)


def _not_above_median(train: Floats, test: Floats) -> int:
    """In how many rows the best of `train` has in `test` a rank of at most half. Equal is what differs by rounding only."""
    mine = np.take_along_axis(test, train.argmax(axis=1)[:, None], axis=1)
    below, upto = (test < mine - EQUAL).sum(axis=1), (test <= mine + EQUAL).sum(axis=1)
    return int((below + (upto - below + 1) / 2 <= (test.shape[1] + 1) / 2).sum())


# ---------------------------------------------------------------- bootstrap


class Drawn(NamedTuple):
    """Days drawn by the stationary bootstrap: how often each day is in each repeat [repeat, day], and the mean length of a stretch of days."""

    counts: Floats
    length: int


def drawn_days(returns: Floats, seed: int, lead: Floats | None = None) -> Drawn:
    """Days drawn with replacement in stretches of random length (Politis & Romano 1994), by arch.

    The mean length is the best for these returns by Politis & White 2004, corrected by Patton, Politis & White 2009: 1 where days don't depend on each other.
    Of returns and their lead over a baseline, it is the longer one.
    """
    from arch.bootstrap import StationaryBootstrap, optimal_block_length

    series = [one for one in (returns, lead) if one is not None and np.ptp(one) > NOTHING]
    with np.errstate(divide="ignore", invalid="ignore"):  # returns that are their mean on most days
        best = [np.nan_to_num(optimal_block_length(one)["stationary"].iloc[0]) for one in series]
    length = math.ceil(max([1.0, *best]))
    days = np.arange(len(returns))
    counts = np.empty((REPEATS, len(days)))
    for repeat, (chosen, _) in enumerate(StationaryBootstrap(length, days, seed=seed).bootstrap(REPEATS)):
        counts[repeat] = np.bincount(chosen[0], minlength=len(days))
    return Drawn(counts, length)


def long_run_variance(centred: Floats, length: float) -> Floats:
    """Days × variance of a mean under the stationary bootstrap, in closed form (Politis & Romano 1994, lemma 1), of returns less their means.

    Sum of the autocovariances at lag i with weights (1 − i/T)·(1 − p)ⁱ + (i/T)·(1 − p)ᵀ⁻ⁱ, p = 1/length; by Fourier transform, as it is circular.
    """
    return _long_run(np.fft.rfft(centred, axis=1), centred.shape[1], length)


def _long_run(spectrum: npt.NDArray[np.complex128], days: int, length: float) -> Floats:
    share, keep = np.arange(days) / days, 1.0 - 1.0 / length
    weights = (1.0 - share) * keep ** np.arange(days) + share * keep ** (days - np.arange(days))
    twice = np.full(spectrum.shape[1], 2.0)  # a real series' spectrum is symmetric: only the constant and the fastest wave stand once
    twice[0] = 1.0
    if days % 2 == 0:
        twice[-1] = 1.0
    power = spectrum.real**2 + spectrum.imag**2
    return np.asarray(power @ (np.fft.rfft(weights).real * twice) / days**2)


class Resampled(NamedTuple):
    """luckiest: expected maximum over all combinations of their standardized means, were all of them 0; the two p-values."""

    luckiest: float
    reality_check: float
    white: float


def resample(tried: Tried, against: Floats, drawn: Drawn) -> Resampled:
    """What the best of all combinations would be by luck, from resampled days that keep how alike they are.

    A mean over drawn days is counts × returns, one product of matrices for all repeats, so no combination need be left out. Effective trials: the
    expected maximum of the standardized means, taken of both signs, tells how many independent ones would have it; neighbours that trade alike count once
    (a multiplier bootstrap of the maximum, Chernozhukov, Chetverikov & Kato 2013; clusters and eigenvalues tell the number only through assumptions on the
    shape of the correlation). SPA (Hansen 2005): the largest standardized lead over the baseline against that of leads without their means, those far below
    the baseline left there ("consistent"). Reality check (White 2000): the largest lead in cash terms, all means taken away. arch's SPA takes no account
    of its own `studentize`, hence this.
    """
    repeats, days = drawn.counts.shape
    low, high = np.full(repeats, np.inf), np.full(repeats, -np.inf)
    spa, white = np.zeros(repeats), np.full(repeats, -np.inf)
    found_spa, found_white = 0.0, -math.inf
    far = -math.sqrt(2.0 * math.log(math.log(days)))
    drift = drawn.counts @ against / days - against.mean()
    base = np.fft.rfft(against - against.mean())
    for part, returns in tried.parts():
        mean, moves = tried.mean[part], tried.moves[part]
        spectrum = np.fft.rfft(returns - mean[:, None], axis=1)
        error = np.sqrt(_long_run(spectrum, days, drawn.length) / days)
        means = returns @ drawn.counts.T / days - mean[:, None]
        if moves.any():
            scaled = means[moves] / error[moves, None]
            np.minimum(low, scaled.min(axis=0), out=low)
            np.maximum(high, scaled.max(axis=0), out=high)
        lead = mean - against.mean()
        means -= drift
        found_white = max(found_white, float(lead.max()))
        np.maximum(white, means.max(axis=0), out=white)
        error = np.sqrt(_long_run(spectrum - base, days, drawn.length) / days)
        apart = error > max(NOTHING, QUIET * float(np.abs(against).max())) / math.sqrt(days)
        if apart.any():
            standing = lead[apart] / error[apart]
            found_spa = max(found_spa, float(standing.max()))
            scaled = means[apart] / error[apart, None] + np.where(standing < far, standing, 0.0)[:, None]
            np.maximum(spa, scaled.max(axis=0), out=spa)
    return Resampled(float((high - low).mean()) / 2.0, p_value(spa, found_spa), p_value(white, found_white))


def p_value(simulated: Floats, found: float) -> float:
    """Share of the simulated that are above or at what was found, which counts as one of them: never 0 (Davison & Hinkley 1997)."""
    return (1 + int((simulated >= found - NOTHING).sum())) / (1 + len(simulated))


def interval_of(returns: Floats, drawn: Drawn) -> tuple[float, float]:
    """Interval of the daily Sharpe ratio: quantiles over the drawn days, in which mean and deviation are taken anew.

    It is wider than these where autocorrelations tell of more than stretches of days do (`standard_error`).
    """
    days = len(returns)
    mean = drawn.counts @ returns / days
    variance = np.maximum(drawn.counts @ returns**2 / days - mean**2, 0.0) * days / (days - 1)
    moves = variance > NOTHING**2
    ratios = np.divide(mean, np.sqrt(variance), out=np.zeros_like(mean), where=moves)
    low, high = np.quantile(ratios, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    centred = returns - returns.mean()
    stretches = max(1.0, float(long_run_variance(centred[None, :], drawn.length)[0] / np.mean(centred**2)))
    wider = math.sqrt(max(1.0, flat_top_ratio(autocorrelations(returns), days) / stretches))
    found = float(returns.mean() / returns.std(ddof=1))
    return found + wider * (float(low) - found), found + wider * (float(high) - found)
