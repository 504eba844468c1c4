"""What a picture of two parameters shows, as arrays: for the terminal's map and the page's alike.

A cell stands for all combinations with its two values. Where further parameters vary, it shows the one with the highest Sharpe ratio among those that traded,
or a slice shows those at chosen values only.

    cells = cells_of(sweep, "exit", "enter", by="sharpe", at={"max_hold": "7D"})
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.compare import written
from backtest.errors import ParameterError, did_you_mean
from backtest.luck import Luck, share_of
from backtest.metrics import RANKED
from backtest.report.words import UNKNOWN, metric_label, number
from backtest.space import Range, Values, labelled
from backtest.sweep import Sweep

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
MARGIN = 0.1  # of the chosen Sharpe ratio: cells that lose no more are its plateau
FANNED = 0.36  # of a step: combinations of one value are spread so far beside it, to be told apart
HIGHEST = 0.05  # the share of combinations that is always drawn
WHOLE = 60  # whole numbers drawn from a range, of more each stands alone


class State(IntEnum):
    """What became of a cell's combinations."""

    UNTRIED = 0
    INVALID = 1
    IDLE = 2  # ran without a trade
    TRADED = 3


class Cells(NamedTuple):
    """Two parameters' values and what stands at each pair of them. [up, across]"""

    across: list[Any]
    up: list[Any]
    values: Floats  # of the statistic; NaN where it is not known
    sharpe: Floats
    states: Integers
    chosen: tuple[int, int] | None  # up, across
    plateau: npt.NDArray[np.bool_]
    others: str  # how the further parameters are dealt with, in words


def varying(sweep: Sweep) -> list[str]:
    """The parameters that have several values, or a range."""
    return [name for name, values in sweep.varied.items() if isinstance(values, Range) or len(values) > 1]


def frame_of(sweep: Sweep) -> pd.DataFrame:
    """A row a combination, those that ran first: a column of labels for each parameter."""
    labels = [*sweep.table.index, *sweep.invalid.index]
    rows = labels if len(sweep.varied) > 1 else [(label,) for label in labels]
    return pd.DataFrame({name: pd.Series([row[place] for row in rows], dtype=object) for place, name in enumerate(sweep.varied)})


def in_order(sweep: Sweep, name: str) -> list[Any]:
    """The labels of a parameter's values in a sweep, as `ordered`."""
    values = sweep.varied[name]
    return ordered(values, frame_of(sweep)[name].unique() if isinstance(values, Range) else [])


def ordered(values: Values, tried: Iterable[Any]) -> list[Any]:
    """The labels of a parameter's values: numbers and durations ascending, anything else as it was given; of a range those that were tried."""
    if isinstance(values, Range):
        return sorted(tried)
    labels = [labelled(value) for value in values]
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in labels)
    return sorted(labels) if numbers or all(isinstance(one, pd.Timedelta) for one in labels) else labels


def chosen_row(sweep: Sweep) -> int | None:
    """The position of the best combination by Sharpe ratio over idle cash; None where no Sharpe ratio is known, or there was nothing to choose from."""
    sharpe = sweep.table[RANKED].to_numpy(dtype=np.float64)
    if len(sharpe) < 2 or not np.isfinite(sharpe).any():
        return None
    row = int(sweep.luck.chosen)
    return row if math.isfinite(sharpe[row]) else None


class Ranked(NamedTuple):
    """The combinations that traded and have a Sharpe ratio over idle cash, the lowest first."""

    rows: Integers
    sharpe: Floats


def ranked(sweep: Sweep) -> Ranked:
    """The combinations that traded in the order of their Sharpe ratios over idle cash; the chosen one is always among them."""
    sharpe, traded = (sweep.table[name].to_numpy(dtype=np.float64) for name in (RANKED, "trades"))
    shown = np.isfinite(sharpe) & (traded > 0.0)
    if (row := chosen_row(sweep)) is not None:
        shown[row] = True
    rows = np.flatnonzero(shown)
    rows = rows[np.argsort(sharpe[rows], kind="stable")]
    return Ranked(rows.astype(np.int64), sharpe[rows])


def thinned(count: int, most: int) -> Integers:
    """Positions within the order that are drawn: the highest twentieth of many, and of the rest as many as there is room for, evenly."""
    if count <= most:
        return np.arange(count)
    first = max(math.ceil((1.0 - HIGHEST) * count), count - most // 2)
    below = np.unique(np.linspace(0, first - 1, most - (count - first)).round().astype(np.int64))
    return np.concatenate([below, np.arange(first, count)])


def cells_of(sweep: Sweep, x: str, y: str, by: str = RANKED, at: Mapping[str, Any] | None = None) -> Cells:
    """The cells of two parameters. Raises ParameterError for a parameter, a statistic or a value that the sweep doesn't have."""
    fixed = checked(sweep, x, y, by, at or {})
    frame = frame_of(sweep)
    across, up = in_order(sweep, x), in_order(sweep, y)
    here = np.logical_and.reduce([np.full(len(frame), True), *((frame[name] == label).to_numpy() for name, label in fixed.items())])
    place = frame[y].map({label: number for number, label in enumerate(up)}).to_numpy(dtype=np.int64) * len(across)
    place += frame[x].map({label: number for number, label in enumerate(across)}).to_numpy(dtype=np.int64)
    ran = len(sweep.table)
    sharpe, traded = (sweep.table[name].to_numpy(dtype=np.float64) for name in (RANKED, "trades"))
    states = np.full(len(up) * len(across), int(State.UNTRIED), dtype=np.int64)
    ranks = np.where(np.arange(len(frame)) < ran, int(State.IDLE), int(State.INVALID))
    ranks[:ran][traded > 0.0] = int(State.TRADED)
    np.maximum.at(states, place[here], ranks[here])
    # the last one written stays: the rows in ascending order of what is to be shown
    order = np.lexsort([np.where(np.isnan(sharpe), -np.inf, sharpe), traded > 0.0])
    order = order[here[:ran][order]]
    values, best = np.full(len(states), math.nan), np.full(len(states), math.nan)
    values[place[order]] = sweep.table[by].to_numpy(dtype=np.float64)[order]
    best[place[order]] = sharpe[order]
    row = chosen_row(sweep)
    marked = row is not None and bool(here[row])
    plateau = np.zeros(len(states), dtype=bool)
    if row is not None and marked:
        plateau = (states == State.TRADED) & (best >= sharpe[row] - MARGIN * abs(sharpe[row]))
    shape = (len(up), len(across))
    chosen = (int(place[row]) // len(across), int(place[row]) % len(across)) if row is not None and marked else None
    return Cells(
        across, up, values.reshape(shape), best.reshape(shape), states.reshape(shape), chosen, plateau.reshape(shape), others(sweep, x, y, fixed)
    )  # fmt: skip


def checked(sweep: Sweep, x: str, y: str, by: str, at: Mapping[str, Any]) -> dict[str, Any]:
    """The labels of a slice, by parameter. Raises ParameterError for what the sweep doesn't have."""
    known = list(sweep.varied)
    for name in (x, y, *at):
        if name not in known:
            raise ParameterError(f'"{name}" does not vary in this sweep: a heat map is of two that do; {did_you_mean(name, known)}')
    if x == y:
        raise ParameterError(f'a heat map needs two parameters: x and y are both "{x}"; give another of: {", ".join(known)}')
    if by not in sweep.table:
        raise ParameterError(f'"{by}" is no statistic of a sweep: by={by}; {did_you_mean(by, [str(name) for name in sweep.table])}')
    found = {}
    for name, value in at.items():
        if name in (x, y):
            raise ParameterError(f'"{name}" can\'t be held at a value: it is an axis of the heat map; leave it out of at')
        labels = in_order(sweep, name)
        label = next((one for one in labels if one == labelled(value)), None)
        if label is None:
            shown = ", ".join(short([one])[0] for one in labels[:10]) + (", …" if len(labels) > 10 else "")
            raise ParameterError(f"{name} was never {short([labelled(value)])[0]}: at={{{name!r}: {value!r}}}; give one of {shown}")
        found[name] = label
    return found


def others(sweep: Sweep, x: str, y: str, fixed: Mapping[str, Any]) -> str:
    """How the parameters that are no axis are dealt with."""
    best = [name for name in varying(sweep) if name not in (x, y, *fixed)]
    parts = [f"{name} {short([label])[0]}" for name, label in fixed.items()]
    if best:
        parts.append(f"{'any' if of_points(sweep, x, y) else 'best by Sharpe over'} {', '.join(best)}")
    return "; ".join(parts)


def of_points(sweep: Sweep, x: str, y: str) -> bool:
    """Whether two parameters' combinations are points rather than cells: one of them was drawn from a range."""
    return any(drawn(sweep.varied[name], in_order(sweep, name)) for name in (x, y))


def drawn(values: Values, labels: Sequence[Any]) -> bool:
    """Whether values stand alone, none tried with many others: those of a range, but for few whole numbers."""
    return isinstance(values, Range) and (not values.whole or len(labels) > WHOLE)


def pairs(sweep: Sweep) -> list[tuple[str, str]]:
    """Every pair of varying parameters, the one with more values across."""
    names = varying(sweep)
    sizes = {name: len(in_order(sweep, name)) for name in names}
    return [
        (second, first) if sizes[second] >= sizes[first] else (first, second)
        for place, first in enumerate(names)
        for second in names[place + 1 :]
    ]


def odds(luck: Luck) -> str:
    """The odds of the best in a line: no picture marks it without."""
    return (
        f"best of {luck.trials:,}: Sharpe {number(luck.sharpe).replace('-', '−')}; by luck alone {number(luck.expected_maximum)}; "
        f"deflated {chance(luck.deflated_sharpe)}; overfitting {chance(luck.overfitting)}"
    )


def chance(value: float) -> str:
    """A probability."""
    return share_of(value).lower() if math.isfinite(value) else UNKNOWN


def called(by: str) -> str:
    """What a statistic is called, as a title begins."""
    label = metric_label(by)
    return label[:1].upper() + label[1:]


def short(labels: Sequence[Any], minus: str = "-") -> list[str]:
    """Labels as they are written on axes: numbers with the fewest digits that tell them apart, durations as one types them."""
    if labels and all(isinstance(one, float | int) and not isinstance(one, bool) for one in labels):
        for digits in range(2, 13):
            texts = [f"{one:.{digits}g}" for one in labels]
            if len(set(texts)) == len(labels) and (digits >= 6 or all(float(text) == one for text, one in zip(texts, labels, strict=True))):
                return [text.replace("-", minus) for text in texts]
    return [str(one) if isinstance(one, str) else duration(one) if isinstance(one, pd.Timedelta) else written(one) for one in labels]


def duration(value: pd.Timedelta) -> str:
    """A duration as one would type it: 7D, 36h, 15min."""
    for unit, letter in (("1D", "D"), ("1h", "h"), ("1min", "min"), ("1s", "s")):
        if value % pd.Timedelta(unit) == pd.Timedelta(0):
            return f"{value // pd.Timedelta(unit)}{letter}"
    return str(value)


def fan(places: Floats, order: Floats) -> Floats:
    """How far each combination stands beside its value, the lowest in the order lowest: those of one value spread over a part of the step to the next."""
    spread = np.zeros(len(places))
    for value in np.unique(places):
        here = np.flatnonzero(places == value)
        if len(here) > 1:
            spread[here[np.argsort(order[here], kind="stable")]] = np.linspace(-FANNED, FANNED, len(here))
    return spread


class Ruler:
    """Where a parameter's values stand along an axis: those of a list one step apart each, those drawn from a range at their value or its logarithm."""

    def __init__(self, name: str, values: Values, labels: list[Any]) -> None:
        """A ruler of one parameter: what it was given, and its labels in order."""
        self.name, self.labels = name, labels
        self.drawn = drawn(values, self.labels)
        self.log = self.drawn and isinstance(values, Range) and values.log
        self.ends = (values.low, values.high) if self.drawn and isinstance(values, Range) else (0.0, float(max(len(self.labels) - 1, 0)))

    def places(self, labels: Sequence[Any]) -> Floats:
        """Positions of some values."""
        if self.drawn:
            return self.spaced(np.asarray(labels, dtype=np.float64))
        place = {label: float(number) for number, label in enumerate(self.labels)}
        return np.array([place[label] for label in labels])

    def spaced(self, values: Floats) -> Floats:
        """Values of a range as positions."""
        return np.log10(values) if self.log else values

    def limits(self) -> tuple[float, float]:
        """The axis' ends."""
        low, high = self.spaced(np.array(self.ends)).tolist() if self.drawn else self.ends
        return (low, high) if low < high else (low - 0.5, high + 0.5)

    def ticks(self, most: int) -> tuple[list[float], list[str]]:
        """Positions and texts of at most so many ticks."""
        if self.drawn:
            low, high = self.limits()
            places = np.linspace(low, high, min(most, 5))
            values = (10.0**places if self.log else places).tolist()
            return places.tolist(), [f"{value:.3g}".replace("-", "−") for value in values]
        every = evenly(math.ceil(len(self.labels) / most))
        return [float(place) for place in range(0, len(self.labels), every)], short(self.labels, "−")[::every]


def ruler_of(sweep: Sweep, name: str) -> Ruler:
    """The ruler of a sweep's parameter."""
    return Ruler(name, sweep.varied[name], in_order(sweep, name))


def evenly(least: int) -> int:
    """The step between labels that is at least so long, and one that people count in."""
    return next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, max(least, 1000)) if step >= least)
