"""Grids: a strategy run with every combination of some parameters' values, and a table of what each gave.

Every combination is a whole run, as `bt.run` makes it, of which only the metrics are kept. Signals that don't depend on what varies are computed once.
Nothing is marked as best: the best of many tries owes part of its figures to luck, and the more tries, the larger a part.

    sweep = bt.sweep(FundingCarry, market, enter=[0.05, 0.1, 0.15], exit=[0.0, 0.05], leverage=2)
    print(sweep)
    sweep.table["sharpe"].unstack("exit")
    sweep.invalid["why"]
"""

import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from backtest.compare import written
from backtest.errors import CarryError, ParameterError, did_you_mean
from backtest.execution import Execution
from backtest.market import DatasetInfo, Market
from backtest.rule import Rule, shown
from backtest.strategy import Strategy, label_of, parameters_of, with_parameters

MOST = 10_000  # combinations
PATIENCE = 1.0  # seconds before progress is shown
ARRAYS = ("signal", "exit_signal", "scale")  # fields of a rule that are arrays themselves: only a list is several of them


@dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """The runs of a grid; printing it gives a table.

    varied: the values of each parameter that had a list, in the order given; fixed: the others that were set.
    table: a row a combination that ran: index its parameters, columns the metrics of a run and final_equity. invalid: those that were refused, with `why`,
    the sentence.
    """

    strategy: str
    varied: Mapping[str, list[Any]]
    fixed: Mapping[str, Any]
    table: pd.DataFrame
    invalid: pd.DataFrame
    dataset: DatasetInfo
    capital: float
    quote: str
    start: pd.Timestamp
    end: pd.Timestamp

    @property
    def combinations(self) -> int:
        """How many were tried, the invalid ones included."""
        return len(self.table) + len(self.invalid)

    def __repr__(self) -> str:
        from backtest.report.sweep import render_sweep

        return render_sweep(self)


def sweep(
    strategy: type[Strategy] | Strategy,
    market: Market,
    *,
    capital: float = 100_000.0,
    execution: Execution | None = None,
    **parameters: Any,
) -> Sweep:
    """Run every combination of some parameters' values.

    strategy: a class, or one of its objects, whose own parameters then stay. parameters: fields of the strategy or else of its rule, one value or several: a
    list, a range, an array or a Series (a tuple is one value). Combinations that a setting's rule refuses, or that the data can't run, are collected. Raises
    ParameterError for an unknown parameter, an empty list, a value that stands twice, a grid of more than 10,000, or where not one combination runs.
    """
    base = checked_strategy(strategy)
    if not isinstance(market, Market):
        raise ParameterError(f"a sweep needs a market: it got {shown(market)}; give bt.load_market(…)")
    own, of_rule = parameters_of(base), [item.name for item in fields(Rule)]
    name = base.__name__ if isinstance(base, type) else label_of(base)
    for key, value in parameters.items():
        if key not in own and key not in of_rule:
            raise ParameterError(f'unknown parameter "{key}" of {name}: {shown(value)}; {did_you_mean(key, sorted({*own, *of_rule}))}')
    varied = {key: values for key, value in parameters.items() if (values := several(key, value)) is not None}
    fixed = {key: value for key, value in parameters.items() if key not in varied}
    check_grid(varied)
    rows: dict[tuple[Any, ...], dict[str, float]] = {}
    refused: dict[tuple[Any, ...], str] = {}
    quote = ""
    for labels, chosen in watched(combinations(varied), math.prod(map(len, varied.values()))):
        try:
            rows[labels], quote = one_run(base, market, capital, execution, fixed | chosen)
        except CarryError as error:
            refused[labels] = str(error)
    if not rows:
        raise ParameterError(
            f"none of the {len(refused):,} combinations of {name} can run, the first because: {next(iter(refused.values()))}"
        )
    return Sweep(
        strategy=name,
        varied=varied,
        fixed=fixed,
        table=pd.DataFrame(list(rows.values()), index=index_of(varied, list(rows))),
        invalid=pd.DataFrame({"why": list(refused.values())}, index=index_of(varied, list(refused)), dtype=object),
        dataset=market.info,
        capital=float(capital),
        quote=quote,
        start=pd.Timestamp(market.start, tz="UTC"),
        end=market.clock[-1],
    )


def checked_strategy(strategy: object) -> type[Strategy] | Strategy:
    """A strategy's class or object; ParameterError for what is none."""
    if isinstance(strategy, Strategy) or (isinstance(strategy, type) and issubclass(strategy, Strategy)):
        return strategy
    hint = (
        "a rule has its signals already: put it in a strategy (README.md)"
        if isinstance(strategy, Rule)
        else "give a class, as CashAndCarry"
    )
    raise ParameterError(f"a sweep needs a strategy: it got {shown(strategy)}; {hint}")


def several(name: str, value: Any) -> list[Any] | None:
    """The values of a parameter that has several, numbers as Python's; None where it has one. ParameterError for none and for one that stands twice."""
    if not isinstance(value, list | range | np.ndarray | pd.Series | pd.Index) or (name in ARRAYS and not isinstance(value, list)):
        return None
    values = [one.item() if isinstance(one, np.generic) and not isinstance(one, np.timedelta64) else one for one in value]
    if not values:
        raise ParameterError(f"{name} has no values: {name}=[]; give one or several, or leave it out")
    label, count = Counter(map(labelled, values)).most_common(1)[0]
    if count > 1:
        raise ParameterError(f"{name} has {label} twice: its combinations would be run twice; leave one out")
    return values


def check_grid(varied: Mapping[str, Sequence[Any]]) -> None:
    """ParameterError for a grid that is none or too large."""
    if not varied:
        raise ParameterError(
            "a sweep needs several values of a parameter: none has a list; give enter=[0.05, 0.1], or use bt.run for one run"
        )
    count = math.prod(map(len, varied.values()))
    if count > MOST:
        grid = " × ".join(f"{len(values):,} of {name}" for name, values in varied.items())
        raise ParameterError(
            f"a grid of {count:,} combinations is too large: {grid}, at most {MOST:,}; give fewer values, or sweep in parts"
        )


def combinations(varied: Mapping[str, Sequence[Any]]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Every combination, the last parameter changing fastest: its labels in the index, and its values by name."""
    for values in product(*varied.values()):
        yield tuple(map(labelled, values)), dict(zip(varied, values, strict=True))


def labelled(value: Any) -> Any:
    """A value as it stands in the index: numbers, texts and durations as they are, anything else in words (pandas takes None for a missing label)."""
    return value if isinstance(value, bool | int | float | str | pd.Timedelta) else written(value)


def index_of(varied: Mapping[str, Sequence[Any]], labels: Sequence[tuple[Any, ...]]) -> pd.Index:
    """The index of some combinations: a level a parameter; with one parameter its values."""
    columns = [[one[level] for one in labels] for level in range(len(varied))]
    if len(varied) == 1:
        index: pd.Index = pd.Index(columns[0], name=next(iter(varied)))
        return index
    return pd.MultiIndex.from_arrays(columns, names=list(varied))


def one_run(
    base: type[Strategy] | Strategy, market: Market, capital: float, execution: Execution | None, chosen: Mapping[str, Any]
) -> tuple[dict[str, float], str]:
    """The metrics and final equity of one combination, and their currency. Raises as `run`."""
    from backtest.simulate import run

    own = parameters_of(base)
    parameters = {key: value for key, value in chosen.items() if key in own}
    changes = {key: value for key, value in chosen.items() if key not in own}
    strategy = base(**parameters) if isinstance(base, type) else with_parameters(base, **parameters)
    result = run(strategy, market, capital=capital, execution=execution, **changes)
    return {**result.metrics, "final_equity": float(result.equity.iloc[-1])}, result.quote


def watched(work: Iterator[Any], count: int) -> Iterator[Any]:
    """The same, with progress on a terminal where it takes more than a second."""
    from tqdm import tqdm

    bar: Iterator[Any] = tqdm(work, total=count, unit="run", delay=PATIENCE, leave=False, disable=not sys.stderr.isatty())
    yield from bar
