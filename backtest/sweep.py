"""Sweeps: a strategy with every combination of some parameters' values, or a sample of them, and how much of it to believe.

Every combination gives the statistics that a run of it has (`scan`), on all threads, an executor or a Dask cluster, kept on disk where it is asked for
(`chunks`). No combination is told to be the best without the odds that it is so by luck: the best of many tries owes part of its figures to chance, and the
more tries, the larger a part.

    sweep = bt.sweep(FundingCarry, market, enter=[0.05, 0.1, 0.15], exit=[0.0, 0.05], leverage=2)
    print(sweep)
    sweep.table["sharpe"].unstack("exit")
    sweep.luck.deflated_sharpe
    sweep.invalid["why"]
"""

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, fields, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from backtest import metrics
from backtest.card import Card
from backtest.errors import CarryError, ParameterError, did_you_mean
from backtest.execution import Execution
from backtest.luck import Luck, luck_of
from backtest.market import DatasetInfo, Market
from backtest.rule import Duration, Rule, number, shown
from backtest.space import Values, combinations, index_of, labelled, varied_of
from backtest.strategy import Strategy, check_market, label_of, parameters_of

if TYPE_CHECKING:  # the engine is imported when a sweep is run
    from matplotlib.axes import Axes

    from backtest.result import Result
    from backtest.scan import Grid, Scanned

CASH = "cash"
FEW_TRADES = 5  # fewer say little, however many days they last


@dataclass(frozen=True, eq=False)
class Best:
    """The combination with the best Sharpe ratio, and the odds that it is best by luck; printing it tells both."""

    parameters: Mapping[str, Any]
    statistics: pd.Series
    luck: Luck

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={labelled(value)}" for name, value in self.parameters.items())
        return f"{told}\n\n{self.luck}"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Sweep(Card):
    """The combinations of a sweep; printing it gives a table and the odds of luck.

    varied: the values or the range of each parameter that had several, in the order given; fixed: the others that were set. combinations: the parameters of
    those that ran. table: a row for each, index its parameters, columns `scan.STATISTICS`. daily: their equity at the start and at each midnight UTC, a
    column each; seconds: that it took. invalid: those that were refused, with `why`, the sentence. trials: how many were tried, for the odds.
    baseline: T-bills on the same days, or cash where the dataset has no such series (`baseline_name`); idle: an account that never trades. grid: what all combinations share, for `run`.
    """

    strategy: str
    varied: Mapping[str, Values]
    fixed: Mapping[str, Any]
    combinations: Sequence[Mapping[str, Any]]
    table: pd.DataFrame
    daily: pd.DataFrame
    invalid: pd.DataFrame
    dataset: DatasetInfo
    capital: float
    quote: str
    start: pd.Timestamp
    end: pd.Timestamp
    trials: int
    baseline: pd.Series
    baseline_name: str
    idle: pd.Series
    seconds: float = math.nan
    grid: "Grid | None" = None

    @cached_property
    def luck(self) -> Luck:
        """The odds that the best Sharpe ratio is luck, against the baseline."""
        equity = np.ascontiguousarray(self.daily.to_numpy().T)
        found = luck_of(
            equity,
            self.combinations,
            baseline=self.baseline.to_numpy(),
            name=self.baseline_name,
            idle=self.idle.to_numpy(),
            trials=self.trials,
        )
        return with_few_trades(found, self.table)

    @property
    def best(self) -> Best:
        """The combination with the best Sharpe ratio, with the odds that it is luck."""
        place = self.luck.chosen
        return Best(self.combinations[place], self.table.iloc[place], self.luck)

    def run(self, **parameters: Any) -> "Result":
        """The whole run of the best combination, which carries the odds that it is so by luck into its report; or of the one with these parameters, for the rest
        those of the best.

        Raises ParameterError for a combination that this sweep doesn't have.
        """
        from backtest.simulate import run

        if self.grid is None:
            raise ParameterError("this sweep doesn't know its market: it was put together by hand; run the combination with bt.run")
        for key in parameters:
            if key not in self.varied:
                raise ParameterError(
                    f'"{key}" does not vary in this sweep: {key}={shown(parameters[key])}; {did_you_mean(key, list(self.varied))}'
                )
        rest = {} if set(parameters) == set(self.varied) else self.best.parameters  # the odds take their time
        chosen = {**rest, **parameters}
        if not any(dict(one) == chosen for one in self.combinations):
            told = ", ".join(f"{key}={shown(value)}" for key, value in chosen.items())
            raise ParameterError(f"this sweep has no combination {told}; choose one of sweep.table, or run it with bt.run")
        _, made, changes = self.grid.rule(chosen)
        result = run(made, self.grid.market, capital=self.capital, execution=self.grid.execution, **changes)
        result.luck = None if parameters else self.luck
        return result

    def heat_map(self, x: str, y: str, by: str = metrics.RANKED, at: Mapping[str, Any] | None = None, ax: "Axes | None" = None) -> "Axes":
        """Draw a statistic over two parameters; of the others the best, or those of `at`. The plateau around the chosen cell is outlined."""
        from backtest.report.sweep_figures import heat_map

        return heat_map(self, x, y, by, at, ax)

    def report(self, path: str | PathLike[str]) -> None:
        """Write the sweep as one HTML file. Raises StorageError where it can't be written."""
        from backtest.report.sweep_page import write_sweep

        write_sweep(self, path)

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write the sweep as JSON. Raises StorageError where it can't be written."""
        from backtest.report.sweep_page import write_sweep_json

        write_sweep_json(self, path)

    def __repr__(self) -> str:
        from backtest.report.sweep import render_sweep

        return render_sweep(self)


def sweep(
    strategy: type[Strategy] | Strategy,
    market: Market,
    *,
    capital: float = 100_000.0,
    execution: Execution | None = None,
    sample: int | None = None,
    method: str = "grid",
    seed: int = 0,
    threads: int | None = None,
    executor: Executor | None = None,
    cluster: str | None = None,
    store: str | Path | None = None,
    longest: Duration | None = "1D",
    **parameters: Any,
) -> Sweep:
    """Run every combination of some parameters' values, or a sample of them.

    strategy: a class, or one of its objects, whose own parameters then stay. parameters: fields of the strategy or else of its rule, one value or several:
    a list, a range, an array or a Series (a tuple is one value), or `between` two numbers. sample, method ("random", "sobol"), seed: draw so many.

    threads: on this machine, all of it by default; or an executor of `concurrent.futures`; or the address of a Dask scheduler. store: a folder or URL where
    finished combinations are kept: the same sweep, or a larger one, goes on from there. longest: refuse what would take longer; None for no limit.

    Combinations that a setting's rule refuses, or that the data can't run, are collected. Raises ParameterError for an unknown parameter, an empty list, a
    value that stands twice, what doesn't fit into memory or time, and where not one combination runs; StorageError for a store or cluster that fails.
    """
    from backtest.chunks import carried_out
    from backtest.scan import Grid

    begin = time.perf_counter()
    varied, fixed, name = parameters_asked(strategy, market, parameters, "a sweep")
    check_account(capital, execution)
    if not varied:
        raise ParameterError(
            "a sweep needs several values of a parameter: none has a list; give enter=[0.05, 0.1], or use bt.run for one run"
        )
    chosen = combinations(varied, sample=sample, method=method, seed=seed)
    grid = Grid(strategy, market, float(capital), execution, fixed)
    scanned = carried_out(grid, chosen, threads=threads, executor=executor, cluster=cluster, store=store, longest=longest)
    return replace(swept(name, grid, varied, chosen, scanned), seconds=time.perf_counter() - begin)


def swept(name: str, grid: "Grid", varied: Mapping[str, Values], chosen: Sequence[Mapping[str, Any]], scanned: "Scanned") -> Sweep:
    """The sweep of what was scanned. ParameterError where not one combination ran."""
    ran = [place for place, why in enumerate(scanned.refused) if why is None]
    refused = [place for place, why in enumerate(scanned.refused) if why is not None]
    if not ran:
        raise ParameterError(f"none of the {len(refused):,} combinations of {name} can run, the first because: {scanned.refused[0]}")
    labels = [tuple(map(labelled, one.values())) for one in chosen]
    index = index_of(varied, [labels[place] for place in ran])
    why = {"why": [scanned.refused[place] for place in refused]}
    baseline, baseline_name = baseline_of(grid.market, grid.capital)
    return Sweep(
        strategy=name,
        varied=varied,
        fixed=grid.fixed,
        combinations=[chosen[place] for place in ran],
        table=scanned.table.iloc[ran].set_axis(index),
        daily=pd.DataFrame((scanned.daily[ran] if refused else scanned.daily).T, index=scanned.days, columns=index, copy=False),
        invalid=pd.DataFrame(why, index=index_of(varied, [labels[place] for place in refused]), dtype=object),
        dataset=grid.market.info,
        capital=grid.capital,
        quote=scanned.quote,
        start=pd.Timestamp(grid.market.start, tz="UTC"),
        end=grid.market.clock[-1],
        trials=len(ran),
        baseline=baseline,
        baseline_name=baseline_name,
        idle=idle_of(grid),
        grid=grid,
    )


def with_few_trades(luck: Luck, table: pd.DataFrame) -> Luck:
    """The odds, with a note where the best made so few trades that they say little."""
    made = int(table["trades"].iloc[luck.chosen])
    if not 0 < made < FEW_TRADES:
        return luck
    trades = "one trade" if made == 1 else f"{made} trades"
    return replace(luck, notes=[*luck.notes, f"the best made {trades}: its days follow from so few decisions that these odds say little"])


def baseline_of(market: Market, capital: float) -> tuple[pd.Series, str]:
    """What the best is held against, at the days of daily equity: T-bills, or cash where they are unknown; and its name."""
    from backtest.baselines import BILLS, bills

    start = pd.Timestamp(market.start, tz="UTC")
    try:
        return metrics.daily_equity(bills(market, capital).equity, start, capital), BILLS
    except CarryError:
        return metrics.daily_equity(pd.Series(capital, index=market.clock), start, capital), CASH


def idle_of(grid: "Grid") -> pd.Series:
    """Equity of an account that never trades, at the days of daily equity: what any combination earns without doing anything."""
    from backtest.prepare import rate_index

    execution, market = grid.execution or Execution(), grid.market
    earned = rate_index(market, execution.idle_rate, "risk_free", [])
    start = pd.Timestamp(market.start, tz="UTC")
    return metrics.daily_equity(pd.Series(grid.capital * (1.0 + earned[1:]), index=market.clock), start, grid.capital)


def parameters_asked(
    strategy: object, market: object, parameters: Mapping[str, Any], what: str
) -> tuple[dict[str, Values], dict[str, Any], str]:
    """The parameters that vary, the others, and the strategy's name. what: who asks, as "a sweep". ParameterError for what can't be varied."""
    base = checked_strategy(strategy, what)
    check_market(market, what)
    name = base.__name__ if isinstance(base, type) else label_of(base)
    known = sorted({*parameters_of(base), *(item.name for item in fields(Rule))})
    for key, value in parameters.items():
        if key not in known:
            raise ParameterError(f'unknown parameter "{key}" of {name}: {shown(value)}; {did_you_mean(key, known)}')
    return *varied_of(parameters), name


def check_account(capital: float, execution: Execution | None) -> None:
    """ParameterError for a capital or an execution that is none."""
    from backtest.simulate import MOST_CAPITAL

    if capital is None:
        raise ParameterError("capital must be a number: capital=None; leave it out for 100,000")
    number("capital", capital, above=0.0, most=MOST_CAPITAL)
    if execution is not None and not isinstance(execution, Execution):
        raise ParameterError(f"execution must be an Execution: execution={shown(execution)}; give bt.Execution(…), or leave it out")


def checked_strategy(strategy: object, what: str) -> type[Strategy] | Strategy:
    """A strategy's class or object; ParameterError for what is none."""
    if isinstance(strategy, Strategy) or (isinstance(strategy, type) and issubclass(strategy, Strategy)):
        return strategy
    hint = (
        "a rule has its signals already: put it in a strategy (README.md)"
        if isinstance(strategy, Rule)
        else "give a class, as CashAndCarry"
    )
    raise ParameterError(f"{what} needs a strategy: it got {shown(strategy)}; {hint}")
