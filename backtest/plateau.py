"""The surroundings of a chosen combination: how much Sharpe ratio its neighbours lose.

An edge that exists has neighbours that have it too: a threshold of 8 % that earns while 7 % and 9 % lose has most likely been fitted to single days. In a
grid, neighbours are one step away in one or more parameters; among random points, the nearest ones. Steps are those of the values that were tried, in
order, so a geometric range counts as an even one. Only numbers and durations have an order; any other parameter is the same for all neighbours.

    plateau_of(sharpe_ratios, [{"enter": 0.05}, {"enter": 0.08}, {"enter": 0.1}], chosen=1).median_loss
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.metrics import Floats

FULL = 0.5  # share of all crossings of the values that must have been tried for the combinations to be a grid
NEAREST = 2  # neighbours a parameter among random points: as many as a grid has along its axes
INNER = 3  # values a parameter needs for one of them to lie inside
ALIKE = 1e-9  # two places nearer than this share of the range are one


@dataclass(frozen=True)
class Plateau:
    """What the neighbours of a combination give.

    neighbours: how many ran; median_loss, worst_loss: annualized Sharpe ratio of the chosen less theirs; positive: share of them whose Sharpe ratio is
    above 0; rows: where they stand among the combinations; ends: the parameters of which the chosen has the first or the last value that was tried.
    """

    neighbours: int
    median_loss: float
    worst_loss: float
    positive: float
    rows: tuple[int, ...]
    ends: tuple[str, ...]


def plateau_of(sharpe_ratios: Floats, combinations: Sequence[Mapping[str, Any]], chosen: int) -> Plateau | None:
    """The neighbours of one combination; None where there are none, or no parameter has an order.

    sharpe_ratios: annualized, one a combination; NaN where it didn't run: it is nobody's neighbour.
    """
    names, places, kinds = places_of(combinations)
    if not names:
        return None
    counts = places.max(axis=0) + 1.0
    others = np.isfinite(sharpe_ratios) & (kinds == kinds[chosen]).all(axis=1)
    steps = np.abs(places - places[chosen])
    crossings = math.prod(counts) * math.prod(float(kind.max()) + 1.0 for kind in kinds.T)
    if len(combinations) >= FULL * crossings:
        rows = np.flatnonzero(others & (steps.max(axis=1) == 1.0))
    else:
        distance = np.sqrt(((steps / (counts - 1.0)) ** 2).sum(axis=1))
        candidates = np.flatnonzero(others & (distance > ALIKE))
        rows = np.sort(candidates[np.argsort(distance[candidates], kind="stable")[: NEAREST * len(names)]])
    if not len(rows):
        return None
    losses = sharpe_ratios[chosen] - sharpe_ratios[rows]
    return Plateau(
        neighbours=len(rows),
        median_loss=float(np.median(losses)),
        worst_loss=float(losses.max()),
        positive=float((sharpe_ratios[rows] > 0.0).mean()),
        rows=tuple(int(row) for row in rows),
        ends=tuple(
            name for name, count, place in zip(names, counts, places[chosen], strict=True) if count >= INNER and place in (0.0, count - 1.0)
        ),
    )


def places_of(combinations: Sequence[Mapping[str, Any]]) -> tuple[list[str], Floats, npt.NDArray[np.int64]]:
    """The parameters with an order and several values; each combination's place in that order [combination, parameter]; and which value, of the others."""
    names: list[str] = []
    places: list[Floats] = []
    kinds: list[npt.NDArray[np.int64]] = [np.zeros(len(combinations), dtype=np.int64)]
    for name in dict.fromkeys(key for one in combinations for key in one):
        values = [one.get(name) for one in combinations]
        sizes = sizes_of(values)
        if sizes is None:
            kinds.append(pd.factorize(np.array([repr(value) for value in values], dtype=object))[0].astype(np.int64))
        elif len(ordered := np.unique(sizes)) > 1:
            names.append(name)
            places.append(np.searchsorted(ordered, sizes).astype(np.float64))
    return names, np.array(places).reshape(len(names), len(combinations)).T, np.array(kinds).T


def sizes_of(values: Sequence[Any]) -> Floats | None:
    """Numbers by which some values can be put in order, durations in seconds; None where one of them has no such number."""
    known: dict[Any, float] = {}
    sizes = np.empty(len(values))
    for place, value in enumerate(values):
        if not isinstance(value, str | Real | timedelta | np.timedelta64) or isinstance(value, bool | np.bool_):
            return None
        if value not in known:
            known[value] = size_of(value)
        sizes[place] = known[value]
    return sizes if np.isfinite(sizes).all() else None


def size_of(value: Any) -> float:
    """A number as it is, a duration (a text such as "30D" too) in seconds; NaN for what is neither."""
    if isinstance(value, Real):
        return float(value)
    try:
        return pd.Timedelta(value).total_seconds()
    except ValueError:
        return math.nan
