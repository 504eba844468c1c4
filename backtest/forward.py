"""Walk-forward: thresholds are tuned on a training window and traded on the test window after it, again and again.

What a sweep promises of its best combination is in sample: the choice has seen the days that it is measured on. Here every combination is run on a training
window, the best one there by some statistic trades the test window that follows, which had no part in the choice, and both move on by the length of a test.
The tests tile the time without overlap, so their equity is one curve, stitched together: out of sample from its first day to its last. Between training and
test lies an embargo, so that no trade of the training still lives when the test begins.

    forward = bt.walk_forward(FundingCarry, market, train="365D", test="90D", enter=[0.05, 0.1, 0.15], exit=[0.0, 0.05])
    print(forward)
    forward.equity, forward.chosen, forward.efficiency
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from typing import Any

import pandas as pd

from backtest import metrics
from backtest.card import Card
from backtest.chunks import carried_out
from backtest.errors import ParameterError, did_you_mean
from backtest.execution import Execution
from backtest.luck import Luck
from backtest.market import DAY, DatasetInfo, Market
from backtest.metrics import RANKED
from backtest.rule import Duration, duration, switch
from backtest.scan import STATISTICS, Grid, Scanned
from backtest.space import Values, combinations, labelled
from backtest.strategy import Strategy
from backtest.sweep import Sweep, check_account, parameters_asked, swept
from backtest.windows import (
    LEAST_TEST,
    LEAST_TRAIN,
    Combinations,
    Step,
    bars_between,
    best_of,
    check_lengths,
    days,
    length,
    longest_hold,
    scanned,
    spans_of,
    walked,
)

PATIENCE = 1.0  # seconds before progress is shown
COMPARED = ("annual_return", "annual_volatility", "sharpe", "sortino", "calmar", "max_drawdown")


@dataclass(frozen=True, eq=False, repr=False)
class WalkForward(Card):
    """What was tuned in each window, and what it earned after it; printing it gives a table.

    windows: a row a window: train_start, train_end, test_start, test_end, combinations (that ran in training), in_sample and out_of_sample (`by` of the
    chosen), best_in_test (`by` of the best there; all three NaN without a trade, as interest on cash has the highest Sharpe ratio of all), capital and equity
    (at the test's start and end), rank_correlation (Spearman, of the combinations' `by` in training and in test), beaten (the share of the other combinations
    that the chosen one beat in the test), cash (why nothing was traded, else empty).
    chosen: the parameters a window, None where there was nothing to choose. in_sample, out_of_sample: all statistics of the chosen, best_in_test: of the best
    in the test [window × STATISTICS]. equity: the tests stitched together, daily from the first one's start. hindsight: the same days, each test traded by the
    combination that was best in it, scaled to follow on. training: equity of the chosen in each training, or None. whole: the sweep over all the data.
    """

    strategy: str
    by: str
    train: pd.Timedelta
    test: pd.Timedelta
    embargo: pd.Timedelta
    expanding: bool
    varied: Mapping[str, Values]
    fixed: Mapping[str, Any]
    combinations: Combinations
    windows: pd.DataFrame
    chosen: pd.DataFrame
    in_sample: pd.DataFrame
    out_of_sample: pd.DataFrame
    best_in_test: pd.DataFrame
    equity: pd.Series
    hindsight: pd.Series
    training: Sequence[pd.Series | None]
    whole: Sweep
    dataset: DatasetInfo
    capital: float
    quote: str
    notes: list[str] = field(default_factory=list)

    @cached_property
    def statistics(self) -> pd.DataFrame:
        """The promise beside what came of it: rows in_sample (the mean of the chosen in their trainings), out_of_sample and hindsight (stitched together) and
        whole_period (the best of all the data, which nobody could have known). The drawdown of the stitched rows is the largest of bar closes within a window
        and of midnights across them.
        """
        best = best_of(self.whole.table, self.by)
        rows = {
            "in_sample": self.in_sample.mean().to_dict(),
            "out_of_sample": stitched_statistics(self.equity, self.out_of_sample["max_drawdown"]),
            "hindsight": stitched_statistics(self.hindsight, self.best_in_test["max_drawdown"]),
            "whole_period": dict.fromkeys(COMPARED, math.nan) if best is None else self.whole.table.iloc[best].to_dict(),
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=None)[list(COMPARED)]

    @property
    def efficiency(self) -> float:
        """Sharpe ratio out of sample over the mean of the chosen in sample; NaN where the latter is not above 0, and where no test was traded."""
        sharpe = self.statistics["sharpe"].to_dict()
        return float(sharpe["out_of_sample"] / sharpe["in_sample"]) if sharpe["in_sample"] > 0.0 and self.traded else math.nan

    @property
    def traded(self) -> int:
        """In how many tests the chosen combination made a trade."""
        return int((self.out_of_sample["trades"] > 0.0).sum())

    @property
    def rank_correlation(self) -> float:
        """Mean over the windows of Spearman's rank correlation: at 1 the order of the combinations in training is that in the test, at 0 it says nothing."""
        return float(self.windows["rank_correlation"].mean())

    @property
    def trials(self) -> int:
        """How many runs there were to choose from: in every training window, and over all the data."""
        return int(self.windows["combinations"].sum()) + len(self.whole.table)

    @cached_property
    def luck(self) -> Luck:
        """The odds that the best combination over all the data is luck, every trial of every window counted; against T-bills, or cash."""
        return replace(self.whole, trials=self.trials).luck

    def __repr__(self) -> str:
        from backtest.report.forward_table import render_forward

        return render_forward(self)

    def report(self, path: str | PathLike[str]) -> None:
        """Write the page: what was promised and kept, the stitched equity, how stable the parameters were. Raises StorageError."""
        from backtest.report.forward import write_forward

        write_forward(self, path)

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write all of it as JSON. Raises StorageError."""
        from backtest.report.forward_json import write_forward_json

        write_forward_json(self, path)


def walk_forward(
    strategy: type[Strategy] | Strategy,
    market: Market,
    *,
    train: Duration = "365D",
    test: Duration = "90D",
    expanding: bool = False,
    embargo: Duration | None = None,
    by: str = RANKED,
    capital: float = 100_000.0,
    execution: Execution | None = None,
    sample: int | None = None,
    method: str = "grid",
    seed: int = 0,
    **parameters: Any,
) -> WalkForward:
    """Tune parameters on a window, trade the one after it with what was best, and move on by the length of a test.

    train: length of a training window; expanding: of the first one, and all begin where the data do. test: length of the test windows, the last of which may be
    shorter (at least half as long). embargo: time between training and test; None: the longest hold in whole days, found from the first training alone: the
    largest `max_hold` among the combinations' rules, or, of those that have none, the longest closed trade of the best one and of the ten that hold longest on
    average. by: the column of a sweep's table that chooses, higher being better (lower for max_drawdown and annual_volatility), among combinations that traded
    in training; of equals the first in the order of the grid. sample, method, seed, parameters: as of `sweep`.

    Trainings run on `capital`, each test on what the account then holds, so lots and smallest orders are those of that account. A test begins flat; a position
    that is open at its end is marked there without the costs of leaving. What can't be traded stays in cash without interest, and a note says why.

    Raises ParameterError for settings, for windows that are too short or longer than the data, and where no combination runs; what `sweep` refuses before it
    starts for want of memory or time is refused here too.
    """
    varied, fixed, name = asked(strategy, market, parameters, by)
    check_account(capital, execution)
    switch("expanding", expanding)
    lengths = length("train", train, max(LEAST_TRAIN, market.step)), length("test", test, max(LEAST_TEST, market.step))
    gap = None if embargo is None else duration("embargo", embargo, zero=True)
    check_lengths(market, *lengths, gap or 0)
    tried = combinations(varied, sample=sample, method=method, seed=seed)
    grid = Grid(strategy, market, float(capital), execution, fixed)
    whole = swept(name, grid, varied, tried, carried_out(grid, tried))  # first of all, as it refuses what fits into no memory or time
    told: list[str] = []
    first: Scanned | None = None
    if gap is None:
        bars = bars_between(market, market.start, market.start + lengths[0])
        first = scanned(grid, tried, bars)
        gap, why = longest_hold(grid, tried, first, bars, by)
        told.append(why)
        check_lengths(market, *lengths, gap, why)
    spans, notes = spans_of(market, *lengths, gap, expanding)
    steps = list(watched(walked(grid, tried, spans, by, first), len(spans)))
    told += [*notes, *remarks(steps, gap, lengths[1])]
    return WalkForward(
        strategy=name,
        by=by,
        train=pd.Timedelta(lengths[0], "ns"),
        test=pd.Timedelta(lengths[1], "ns"),
        embargo=pd.Timedelta(gap, "ns"),
        expanding=expanding,
        varied=varied,
        fixed=fixed,
        combinations=tried,
        whole=whole,
        dataset=market.info,
        capital=float(capital),
        quote=whole.quote,
        notes=told,
        **tables_of(steps, tried, varied, by),
    )


# ---------------------------------------------------------------- what is asked for


def asked(
    strategy: type[Strategy] | Strategy, market: Market, parameters: Mapping[str, Any], by: str
) -> tuple[dict[str, Values], dict[str, Any], str]:
    """The parameters that vary, the others, and the strategy's name. ParameterError for what can't be tuned."""
    varied, fixed, name = parameters_asked(strategy, market, parameters, "a walk-forward")
    if by not in STATISTICS:
        raise ParameterError(f'unknown statistic "{by}" to tune by; {did_you_mean(str(by), list(STATISTICS))}')
    if not varied:
        raise ParameterError("a walk-forward tunes parameters that have several values: none has a list; give enter=[0.05, 0.1]")
    return varied, fixed, name


def watched(work: Iterator[Step], count: int) -> Iterator[Step]:
    """The same, with progress on a terminal where it takes more than a second."""
    from tqdm import tqdm

    bar: Iterator[Step] = tqdm(work, total=count, unit="window", delay=PATIENCE, leave=False, disable=not sys.stderr.isatty())
    yield from bar


# ---------------------------------------------------------------- what is told


def tables_of(steps: Sequence[Step], tried: Combinations, varied: Mapping[str, Values], by: str) -> dict[str, Any]:
    """The fields of a `WalkForward` that have a row or a curve a window."""
    index = pd.RangeIndex(1, len(steps) + 1, name="window")
    rows = [
        {name: pd.Timestamp(getattr(step.span, name), tz="UTC") for name in ("train_start", "train_end", "test_start", "test_end")}
        | {
            "combinations": step.ran,
            "in_sample": step.promised[by],
            "out_of_sample": step.kept[by] if step.kept["trades"] > 0.0 else math.nan,
            "best_in_test": step.best[by],
            "capital": step.capital,
            "equity": float(step.equity.iloc[-1]),
            "rank_correlation": step.ranks,
            "beaten": step.beaten,
            "cash": step.cash,
        }
        for step in steps
    ]
    chosen = [{key: None if step.place is None else labelled(tried[step.place][key]) for key in varied} for step in steps]
    return {
        "windows": pd.DataFrame(rows, index=index),
        "chosen": pd.DataFrame(chosen, index=index, dtype=object),
        "in_sample": pd.DataFrame([step.promised for step in steps]).set_axis(index),
        "out_of_sample": pd.DataFrame([step.kept for step in steps]).set_axis(index),
        "best_in_test": pd.DataFrame([step.best for step in steps]).set_axis(index),
        "equity": stitched([step.equity for step in steps]).rename("out of sample"),
        "hindsight": stitched([step.hindsight for step in steps]).rename("hindsight"),
        "training": [step.trained for step in steps],
    }


def stitched(curves: Sequence[pd.Series]) -> pd.Series:
    """Curves one after the other, each scaled to begin where the one before ended. An end between midnights stays only at the very end, as in daily equity."""
    value, parts = float(curves[0].iloc[0]), [curves[0].iloc[:1]]
    for one in curves:
        begin = float(one.iloc[0])
        grown = one if begin == value or begin <= 0.0 else one * (value / begin)
        value = float(grown.iloc[-1])
        times = pd.DatetimeIndex(grown.index)
        kept = (times == times.floor("D")) & (times > times[0])
        kept[-1] |= one is curves[-1]
        parts.append(grown[kept])
    whole: pd.Series = pd.concat(parts)
    return whole


def stitched_statistics(equity: pd.Series, drawdowns: pd.Series) -> dict[str, float]:
    """The statistics of a stitched curve. drawdowns: the largest within each window, over bar closes."""
    found = metrics.return_statistics(equity.iloc[1:], equity.index[0], float(equity.iloc[0]))
    deepest = max(found["max_drawdown"], float(drawdowns.fillna(0.0).max()))
    return found | {"max_drawdown": deepest, "calmar": metrics.ratio(found["annual_return"], deepest)}


def remarks(steps: Sequence[Step], embargo: int, test: int) -> list[str]:
    """What is odd about the windows, in sentences."""
    notes = []
    if embargo > test:
        notes.append(
            f"The embargo of {days(embargo)} is longer than a test of {days(test)}: what is traded was learned more than a test ago."
        )
    held = [
        (place, step.promised["avg_hold_days"]) for place, step in enumerate(steps, 1) if step.promised["avg_hold_days"] * DAY > embargo
    ]
    if held:
        longest = days(round(max(hold for _, hold in held) * DAY))
        notes.append(
            f"In {listed([place for place, _ in held])} the chosen combination held longer in training ({longest} on average at most) than the embargo of "
            f"{days(embargo)}; give a longer embargo=… to keep such trades apart."
        )
    why: dict[str, list[int]] = {}
    for place, step in enumerate(steps, 1):
        if step.cash:
            why.setdefault(step.cash, []).append(place)
    notes += [f"{listed(places).capitalize()} stayed in cash, without interest: {reason}." for reason, places in why.items()]
    if still := [place for place, step in enumerate(steps, 1) if step.kept["trades"] == 0.0]:
        notes.append(f"In {listed(still)} the chosen combination made no trade in its test: what its account earned there is interest.")
    return notes


def listed(numbers: Sequence[int]) -> str:
    """Windows by their numbers: "window 3", "windows 1, 2 and 5 to 9"."""
    runs: list[list[int]] = []
    for number_of in numbers:
        if runs and number_of == runs[-1][-1] + 1:
            runs[-1].append(number_of)
        else:
            runs.append([number_of])
    *others, last = [word for run in runs for word in (map(str, run) if len(run) < 3 else [f"{run[0]} to {run[-1]}"])]
    return f"{'windows' if len(numbers) > 1 else 'window'} {', '.join(others)}{' and ' if others else ''}{last}"
