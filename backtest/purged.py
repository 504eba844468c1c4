"""Combinatorial purged cross-validation: of one past, many paths on which the chosen combination had no part in the choice.

A walk-forward is one path through time, and one path can be lucky. Here the days of a sweep are cut into N groups. Every choice of k of them is a split: the
combination with the highest Sharpe ratio on the other days, the training, is taken on the days of those k groups, the test. Of the training, days close to a
test group are left out: those before it, whose trades may last into it (purge), and those after it, into which its own may last (embargo).

    C(N, k) splits; each group is tested in C(N − 1, k − 1) of them; so C(N − 1, k − 1) = k/N · C(N, k) whole paths can be put together

Path j takes for each group the j-th split that tests it. Source: M. López de Prado, Advances in Financial Machine Learning (2018), sections 7.4 and 12.4.

    paths = bt.combinatorial(bt.sweep(FundingCarry, market, enter=[0.05, 0.1, 0.15]), groups=10, tests=2)
    print(paths)
    paths.sharpes, paths.splits
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest import metrics
from backtest.card import Card
from backtest.errors import CarryError, ParameterError
from backtest.luck import Luck
from backtest.market import DAY, DatasetInfo, Floats
from backtest.rule import Duration, counting, duration, shown
from backtest.sweep import Sweep
from backtest.windows import days, rank_correlation, share_beaten

MOST_SPLITS = 1_000
FEWEST_DAYS = 2  # of a group, and of a training: a deviation needs two
AT_ONCE = 512  # combinations whose sums are held at the same time
ROUNDING = 1e-13  # of a combination's sum of squares: what is left of a difference of running sums that are equal
STEADY = 1e-4  # a daily deviation so small against the mean is no trade's but that of interest on cash

Segments = list[tuple[int, int]]


@dataclass(frozen=True, eq=False, repr=False)
class Combinatorial(Card):
    """The splits and the paths; printing it gives the distribution of the paths' Sharpe ratios.

    groups: first and last day of each. splits: a row a split: tests (the numbers of its test groups, from 1 on), training (days), chosen (label in sweep.table,
    None in cash), in_sample and out_of_sample (its annualized Sharpe ratio in training and in the test), beaten (the share of the other combinations that are
    worse in the test, half being chance), rank_correlation (Spearman, of all combinations in training and test). returns: of each path, day by day.
    embargo: days left out before and after a test group.
    """

    sweep: Sweep
    groups: pd.DataFrame
    tests: int
    embargo: int
    splits: pd.DataFrame
    returns: pd.DataFrame
    notes: list[str] = field(default_factory=list)

    @property
    def sharpes(self) -> pd.Series:
        """The annualized Sharpe ratio of each path; NaN for one that stood still."""
        mean, deviation = self.returns.mean(), self.returns.std(ddof=1)
        return pd.Series(mean / deviation.where(deviation > 0.0) * math.sqrt(metrics.DAYS), name="sharpe")

    @property
    def equity(self) -> pd.DataFrame:
        """Equity of each path, from the sweep's capital on. [day × path]"""
        return self.sweep.capital * (1.0 + self.returns).cumprod()

    @property
    def distribution(self) -> dict[str, float]:
        """Of the paths' Sharpe ratios: mean, median, deviation (n − 1), least, most, and the share below_zero."""
        found = self.sharpes
        return {
            "mean": float(found.mean()),
            "median": float(found.median()),
            "deviation": float(found.std(ddof=1)),
            "least": float(found.min()),
            "most": float(found.max()),
            "below_zero": float((found.dropna() < 0.0).mean()),
        }

    @property
    def promised(self) -> float:
        """Mean over the splits of the chosen combination's Sharpe ratio in training."""
        return float(self.splits["in_sample"].mean())

    @property
    def below_median(self) -> float:
        """Share of the splits in which the chosen combination beat less than half of the others in the test."""
        return float((self.splits["beaten"].dropna() < 0.5).mean())

    @property
    def rank_correlation(self) -> float:
        """Mean over the splits of the rank correlation of training and test."""
        return float(self.splits["rank_correlation"].mean())

    @property
    def dataset(self) -> DatasetInfo:
        """What the sweep ran on."""
        return self.sweep.dataset

    @property
    def luck(self) -> Luck:
        """The odds that the sweep's best combination is luck."""
        return self.sweep.luck

    def __repr__(self) -> str:
        from backtest.report.forward_table import render_combinatorial

        return render_combinatorial(self)

    def report(self, path: str | PathLike[str]) -> None:
        """Write the page: the paths beside the promise, and every split. Raises StorageError."""
        from backtest.report.forward import write_combinatorial

        write_combinatorial(self, path)

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write the splits and the paths as JSON. Raises StorageError."""
        from backtest.report.forward import write_combinatorial_json

        write_combinatorial_json(self, path)


def combinatorial(sweep: Sweep, groups: int = 10, tests: int = 2, embargo: Duration | None = None) -> Combinatorial:
    """Choose in every split of a sweep's days, and put the tests together to whole paths.

    groups: into how many runs of days the sweep is cut, as equal as can be. tests: how many of them are the test of a split. embargo: the time left out of
    training on both sides of a test group, in whole days; None: the largest max_hold that the sweep was given, or without one the longest average hold of its
    combinations, but no more than half a group. Returns are those of the sweep's daily equity, so every combination was run on all the data: a path holds no costs of changing from one to
    another. Raises ParameterError for settings, for a sweep too short for the groups, and where the embargo leaves too little to train on.
    """
    check_sweep(sweep)
    check_groups(sweep, groups, tests)
    gap, notes = embargo_of(sweep, groups, embargo)
    returns, stamps = daily_returns(sweep.daily.to_numpy(np.float64)), pd.DatetimeIndex(sweep.daily.index[1:])
    edges = edges_of(len(returns), groups)
    chosen_groups = list(combinations(range(groups), tests))
    testing = [[(edges[group], edges[group + 1]) for group in split] for split in chosen_groups]
    training = [segments_left(len(returns), segments, gap) for segments in testing]
    least = min(total(segments) for segments in training)
    if least < FEWEST_DAYS:
        raise ParameterError(
            f"the embargo leaves too little to train on: {days(gap * DAY)} before and after each of {tests} of {groups} groups of {len(returns):,} days leave {least} days in "
            f"a split; give a shorter embargo=…, fewer tests, fewer groups, or a longer sweep"
        )
    inside, outside = sharpes_of(returns, training), sharpes_of(returns, testing)
    inside[:, sweep.table["trades"].to_numpy() <= 0.0] = np.nan
    places = [None if np.isnan(row).all() else int(np.nanargmax(row)) for row in inside]
    if (idle := places.count(None)) > 0:
        notes.append(f"{idle:,} of {len(places):,} splits stayed in cash: no combination traded in training.")
    labels: list[Hashable] = list(sweep.table.index)
    rows = [
        {
            "tests": tuple(group + 1 for group in split),
            "training": total(left),
            "chosen": None if place is None else labels[place],
            "in_sample": math.nan if place is None else ins[place],
            "out_of_sample": math.nan if place is None else outs[place],
            "beaten": math.nan if place is None else share_beaten(outs, place),
            "rank_correlation": rank_correlation(ins, outs),
        }
        for split, left, place, ins, outs in zip(chosen_groups, training, places, inside, outside, strict=True)
    ]
    return Combinatorial(
        sweep=sweep,
        groups=pd.DataFrame({"first": stamps[edges[:-1]], "last": stamps[edges[1:] - 1]}, index=pd.RangeIndex(1, groups + 1, name="group")),
        tests=tests,
        embargo=gap,
        splits=pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="split")),
        returns=paths_of(returns, edges, chosen_groups, places).set_axis(stamps),
        notes=notes,
    )


# ---------------------------------------------------------------- what is asked for


def check_sweep(sweep: object) -> None:
    """ParameterError for what is no sweep of several combinations."""
    if not isinstance(sweep, Sweep):
        raise ParameterError(f"combinatorial cross-validation needs a sweep: it got {shown(sweep)}; give bt.sweep(…)")
    if len(sweep.table) < 2:
        raise ParameterError(
            "combinatorial cross-validation chooses among combinations: the sweep has one; give several values of a parameter"
        )


def check_groups(sweep: Sweep, groups: int, tests: int) -> None:
    """ParameterError for groups and tests that can't be."""
    counting("groups", groups)
    counting("tests", tests)
    if tests >= groups:
        raise ParameterError(f"tests must be fewer than groups, as the others are the training: tests={tests}, groups={groups}")
    if (count := math.comb(groups, tests)) > MOST_SPLITS:
        raise ParameterError(
            f"groups={groups} and tests={tests} make {count:,} splits, at most {MOST_SPLITS:,}; give fewer groups or tests"
        )
    there = len(sweep.daily) - 1
    if there < groups * FEWEST_DAYS:
        raise ParameterError(
            f"a group needs at least {FEWEST_DAYS} days: groups={groups} of a sweep of {there:,} days; give fewer groups, or sweep a longer period"
        )


def embargo_of(sweep: Sweep, groups: int, embargo: Duration | None) -> tuple[int, list[str]]:
    """Whole days that are left out beside a test group, and what is to be said of them."""
    if embargo is not None:
        return whole_days(duration("embargo", embargo, zero=True) or 0), []
    varied = sweep.varied.get("max_hold", [sweep.fixed.get("max_hold")])
    given: list[Any] = varied if isinstance(varied, list) else []
    limits = [limit for value in given if (limit := hold(value)) is not None]
    if limits and len(limits) == len(given):
        gap, of = whole_days(max(limits)), "is the largest max_hold of the combinations."
    else:
        average = float(sweep.table["avg_hold_days"].max())
        if math.isnan(average):
            return 0, ["No embargo: no combination closed a trade; give embargo=… where positions are held for days."]
        gap = max(whole_days(round(average * DAY)), whole_days(max(limits, default=0)))
        of = "is the longest average hold of a combination; give embargo=… where single trades last longer."
    most = (len(sweep.daily) - 1) // (2 * groups)
    if gap > most:
        return most, [
            f"The embargo of {days(most * DAY)} is half a group, and combinations hold for up to {days(gap * DAY)}: trainings are not quite apart from their tests; "
            "give fewer groups, or embargo=…."
        ]
    return gap, [f"The embargo of {days(gap * DAY)} {of}"]


def hold(value: Any) -> int | None:
    """A max_hold in ns; None for none and for what is none, which the sweep has refused."""
    try:
        return duration("max_hold", value)
    except CarryError:
        return None


def whole_days(nanoseconds: int) -> int:
    """A length of time in days, a part of one being one."""
    return -(-nanoseconds // DAY)


# ---------------------------------------------------------------- days


def daily_returns(daily: Floats) -> Floats:
    """Returns from day to day; 0 where nothing was left to lose. [day, combination]"""
    before = daily[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(before > 0.0, daily[1:] / before - 1.0, 0.0)


def edges_of(count: int, groups: int) -> npt.NDArray[np.int64]:
    """Where the groups begin, and the end: as equal as can be, the first ones a day longer."""
    size, more = divmod(count, groups)
    return np.concatenate([[0], np.cumsum([size + (group < more) for group in range(groups)])]).astype(np.int64)


def segments_left(count: int, testing: Segments, gap: int) -> Segments:
    """The days that a split may train on, as runs [first, final): none of the test, nor within the gap before or after a test group."""
    left = np.ones(count, bool)
    for first, final in testing:
        left[max(first - gap, 0) : final + gap] = False
    steps = np.flatnonzero(np.diff(left.astype(np.int8), prepend=0, append=0))
    return [(int(first), int(final)) for first, final in zip(steps[::2], steps[1::2], strict=True)]


def total(segments: Segments) -> int:
    """How many days they have together."""
    return sum(final - first for first, final in segments)


def sharpes_of(returns: Floats, samples: Sequence[Segments]) -> Floats:
    """Annualized Sharpe ratios (n − 1) of every combination on some samples of days; NaN for one that stood still or grew as evenly as cash. [sample, combination]

    The sums over a run of days are differences of running sums, so a sample costs as much as its runs, however many days they have.
    """
    counts = np.array([[total(segments)] for segments in samples], dtype=np.float64)
    out = np.empty((len(samples), returns.shape[1]))
    for begin in range(0, returns.shape[1], AT_ONCE):
        some = returns[:, begin : begin + AT_ONCE]
        mean = summed(some, samples) / counts
        spread = summed(some**2, samples) - counts * mean**2
        deviation = np.sqrt(np.maximum(spread, 0.0) / (counts - 1.0))
        known = (spread > ROUNDING * (some**2).sum(axis=0)) & (deviation > STEADY * np.abs(mean))
        out[:, begin : begin + AT_ONCE] = np.where(known, mean / np.where(known, deviation, 1.0), np.nan) * math.sqrt(metrics.DAYS)
    return out


def summed(values: Floats, samples: Sequence[Segments]) -> Floats:
    """Sums over the runs of each sample. [sample, combination]"""
    running = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    return np.array([np.sum([running[final] - running[first] for first, final in segments], axis=0) for segments in samples])


def paths_of(
    returns: Floats, edges: npt.NDArray[np.int64], splits: Sequence[tuple[int, ...]], places: Sequence[int | None]
) -> pd.DataFrame:
    """Returns of each path, that of the j-th split which tests a group on that group's days; 0 in cash. [day × path]"""
    groups = len(edges) - 1
    columns: list[list[Floats]] = []
    for group in range(groups):
        days_of = returns[edges[group] : edges[group + 1]]
        testing = [place for split, place in zip(splits, places, strict=True) if group in split]
        columns.append([np.zeros(len(days_of)) if place is None else days_of[:, place] for place in testing])
    paths = [np.concatenate(pieces) for pieces in zip(*columns, strict=True)]
    return pd.DataFrame(np.array(paths).T, columns=pd.RangeIndex(1, len(paths) + 1, name="path"))
