"""Equity curves of whatever holds some: results, books, their JSON files, comparisons, sweeps, tuned runs, stress tests, pandas.

Curves that begin with about the same cash in one currency are drawn in cash; others as growth of 1, as nothing else lies beside each other.

    found = curves_of({"gated": gated, "always on": always})
    found.values(found.lines[0])
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from backtest.book import named
from backtest.compare import MOST, Comparison, from_result, read_run, told_apart
from backtest.errors import ParameterError
from backtest.forward import WalkForward
from backtest.market import Market
from backtest.metrics import RANKED
from backtest.purged import Combinatorial
from backtest.report.figures_base import Array, floats, times_of, with_start
from backtest.report.sweep_cells import chance, chosen_row, odds, ranked, thinned
from backtest.report.words import metric_label
from backtest.rule import Rule, shown
from backtest.strategy import Strategy
from backtest.stress import BASE, StressTest
from backtest.sweep import Sweep

BEST = 5  # combinations of a sweep that are told apart
CLOUD = 200  # further ones behind them
NEAR = 0.01  # capitals that differ by less are drawn as cash
ASK = "give a result of bt.run, several in a dict with names, a sweep, a comparison, or a pandas Series of equity over time"


@dataclass(frozen=True)
class Line:
    """One curve: times (days since 1970), equity, what it began with, its currency (None where nobody says), whether the data are made up."""

    name: str
    times: Array
    equity: Array
    capital: float
    quote: str | None = None
    simulated: bool = False


@dataclass(frozen=True)
class Curves:
    """The curves of a plot. behind: further ones that are only a background; told: what the title says of them, brief: in fewer words, note: in its next line; of: the run itself, of one."""

    lines: list[Line]
    behind: list[Line] = field(default_factory=list)
    told: str = ""
    brief: str = ""
    note: str = ""
    of: Any = None

    @property
    def cash(self) -> bool:
        """Whether they can be drawn in cash beside each other."""
        capitals = [line.capital for line in self.lines]
        quotes = {line.quote for line in self.lines} - {None}
        return len(quotes) < 2 and max(capitals) - min(capitals) <= NEAR * max(map(abs, capitals))

    @property
    def quote(self) -> str:
        """The currency, or an empty text where nobody says."""
        return next((line.quote for line in self.lines if line.quote), "")

    @property
    def simulated(self) -> bool:
        """Whether any of them is on made-up data."""
        return any(line.simulated for line in (*self.lines, *self.behind))

    @property
    def span(self) -> tuple[float, float]:
        """When the first begins and the last ends."""
        return min(float(line.times[0]) for line in self.lines), max(float(line.times[-1]) for line in self.lines)

    def values(self, line: Line) -> Array:
        """A curve as it is drawn: cash, or growth of 1."""
        return line.equity if self.cash else line.equity / beginning(line)


def beginning(line: Line) -> float:
    """What a curve began with, to divide by. Raises ParameterError where that is nothing, as of a PnL."""
    if line.capital <= 0.0:
        raise ParameterError(f'equity must begin above 0: "{line.name}" begins with {line.capital:.6g}; add the capital to a PnL')
    return line.capital


def curves_of(source: Any) -> Curves:
    """The curves of what a user gives. Raises ParameterError for what holds none, for an empty one and for more than can be told apart."""
    if isinstance(source, Sweep):
        return _of_sweep(source)
    if isinstance(source, StressTest):
        found = [line_of(one, name) for name, one in {BASE: source.base, **source.results}.items()]
        return _counted(Curves(found, told=f"{source.base.strategy} under stress"))
    if isinstance(source, WalkForward):
        return _of_forward(source)
    if isinstance(source, Combinatorial):
        sweep = source.sweep
        paths = [
            _series(source.equity[name], f"path {name}", sweep.capital, sweep.quote, sweep.dataset.simulated) for name in source.equity
        ]
        return _counted(Curves(paths, told=f"{sweep.strategy}, paths of combined tests"))
    if isinstance(source, Mapping):
        return _counted(Curves([line_of(one, str(name)) for name, one in source.items()]))
    if isinstance(source, Comparison):
        return _counted(Curves([_compared(one, name) for name, one in source.runs.items()]))
    if isinstance(source, pd.DataFrame):
        return _counted(Curves([line_of(source[name], _label(name)) for name in source.columns]))
    if isinstance(source, list | tuple):
        return _counted(Curves(_listed(source)))
    line = line_of(source, "")
    return Curves([line], of=source if is_result(source) else None)


def line_of(source: Any, name: str) -> Line:
    """The curve of one thing; its own name where none is given. ParameterError for what has none."""
    if is_result(source):
        times, values = with_start(source, source.equity, float(source.capital))
        return Line(name or str(source.strategy), times, values, float(source.capital), source.quote, bool(source.dataset.simulated))
    if isinstance(source, pd.Series):
        return _series(source, name or _label(source.name))
    if isinstance(source, str | os.PathLike):
        return _compared(read_run(source), name)
    if isinstance(source, StressTest):
        return line_of(source.base, name)
    if isinstance(source, WalkForward):
        (first, *_) = _of_forward(source).lines
        return replace(first, name=name or first.name)
    if isinstance(source, Sweep):
        (first, *_) = _of_sweep(source).lines
        return replace(first, name=name or first.name)
    raise ParameterError(f"equity can't be drawn of {what_of(source)}: {remedy_for(source, ASK)}")


def is_result(source: Any) -> bool:
    """Whether something is a finished run, of one rule or of a book."""
    return all(hasattr(source, name) for name in ("equity", "capital", "start", "trades", "dataset")) and isinstance(
        source.equity, pd.Series
    )


def what_of(source: object) -> str:
    """What was given, for a message."""
    return named(source) if isinstance(source, type | Strategy | Rule | Market) else shown(source)


def remedy_for(source: object, wanted: str) -> str:
    """What to give instead of something from which nothing can be drawn."""
    if isinstance(source, Strategy | Rule) or (isinstance(source, type) and issubclass(source, Strategy)):
        return "it has not been run; give the result of bt.run(…, market)"
    if isinstance(source, Market):
        return "a market is no run; give the result of bt.run(strategy, market), or use bt.plot_premium(market)"
    if wanted is ASK and isinstance(source, np.ndarray | int | float):
        return "numbers alone have no times; give a pandas Series with its index of times"
    return wanted if wanted.startswith("give") else f"give {wanted}"


def _label(name: object) -> str:
    """A column's name; of several parameters their values."""
    return " ".join(map(str, name)) if isinstance(name, tuple) else "equity" if name is None else str(name)


def _series(values: pd.Series, name: str, capital: float | None = None, quote: str | None = None, simulated: bool = False) -> Line:
    """Equity that a user holds; it begins with its first known value."""
    if not isinstance(values.index, pd.DatetimeIndex):
        hint = (
            "a row of a sweep's table holds statistics; its equity is sweep.daily[label]"
            if "sharpe" in values.index
            else "give it an index of times, as result.equity has"
        )
        raise ParameterError(f'equity must be over time: the index of "{name}" is of {values.index.dtype}; {hint}')
    if not pd.api.types.is_numeric_dtype(values.dtype):
        raise ParameterError(f'equity must be numbers: "{name}" is of {values.dtype}; convert it with astype(float)')
    known = values[np.isfinite(values.to_numpy(dtype=np.float64))].sort_index()
    if known.empty:
        raise ParameterError(f'equity must have a known value: "{name}" has none in {len(values):,} rows; leave it out')
    index = pd.DatetimeIndex(known.index)
    times = times_of(index if index.tz is None else index.tz_convert("UTC"))
    return Line(name, times, floats(known), float(known.iloc[0]) if capital is None else capital, quote, simulated)


def _compared(run: Any, name: str) -> Line:
    return _series(run.daily, name or str(run.strategy), run.capital, run.quote, run.dataset.simulated)


def _listed(sources: Iterable[Any]) -> list[Line]:
    """Curves of a list: runs named as `compare` names them, anything else by its own name; one that stands twice gets a number."""
    given = list(sources)
    runs = [one for one in given if is_result(one)]
    names = iter([str(one.strategy) for one in runs])
    if len({one.strategy for one in runs}) < len(runs):
        names = iter(told_apart([from_result(one) for one in runs]))
    lines: list[Line] = []
    for one in given:
        line = line_of(one, next(names) if is_result(one) else "")
        tries = (line.name if count == 1 else f"{line.name} {count}" for count in range(1, len(given) + 2))
        lines.append(replace(line, name=next(name for name in tries if name not in {other.name for other in lines})))
    return lines


def _counted(curves: Curves) -> Curves:
    if not curves.lines:
        raise ParameterError(f"a plot of equity needs at least one curve: it got none; {ASK}")
    if len(curves.lines) > MOST:
        raise ParameterError(
            f"a plot tells at most {MOST} curves apart: it got {len(curves.lines):,}; choose some of them, or give the sweep itself"
        )
    return curves


def _of_forward(forward: WalkForward) -> Curves:
    """The stitched tests, and beside them what hindsight would have chosen."""
    quote, made_up = forward.quote, forward.dataset.simulated
    lines = [
        _series(forward.equity, "chosen in training", float(forward.equity.iloc[0]), quote, made_up),
        _series(forward.hindsight, "best in hindsight", float(forward.hindsight.iloc[0]), quote, made_up),
    ]
    return Curves(lines, told=f"{forward.strategy} out of sample")


def _of_sweep(sweep: Sweep) -> Curves:
    """The best few by Sharpe ratio over idle cash that differ, the odds that the first is luck, and a part of all others behind them."""
    daily, order = sweep.daily.to_numpy(dtype=np.float64), ranked(sweep).rows[::-1]
    order = order if len(order) else np.arange(min(1, daily.shape[1]))
    chosen: list[int] = []
    for row in order.tolist():
        if len(chosen) < BEST and not any(np.array_equal(daily[:, row], daily[:, one]) for one in chosen):
            chosen.append(row)
    rest = np.setdiff1d(np.arange(daily.shape[1]), chosen)
    times = times_of(sweep.daily.index)

    def line(row: int) -> Line:
        words = " ".join(f"{name}={_short(sweep.combinations[row][name])}" for name in sweep.varied)
        return Line(words, times, daily[:, row], sweep.capital, sweep.quote, sweep.dataset.simulated)

    told = (
        f"{sweep.strategy}: the {len(chosen)} best by {metric_label(RANKED)} of {daily.shape[1]:,}"
        if daily.shape[1] > 1
        else sweep.strategy
    )
    note = "" if chosen_row(sweep) is None else f"First is the {odds(sweep.luck)}"
    behind = [line(int(row)) for row in rest[thinned(len(rest), CLOUD)]]
    return Curves([line(row) for row in chosen], behind, told, brief_odds(sweep), note)


def brief_odds(sweep: Sweep) -> str:
    """The odds of the best in as few words as can be."""
    return "" if chosen_row(sweep) is None else f"best of {sweep.trials:,}, deflated {chance(sweep.luck.deflated_sharpe)}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else shown(value).strip("'\"")
