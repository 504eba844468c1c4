"""The space of parameters: which values vary, every combination of them, or a sample of those.

A list, an array or a Series is several values of a parameter; a range has every number between its bounds and is sampled. Samples are the same at every run
with the same seed, a longer one begins with the shorter one, and no combination comes twice. Values drawn from a range are short enough to be typed again.

    varied, fixed = varied_of({"enter": between(0.02, 0.3, log=True), "exit": [0.0, 0.05], "leverage": 2})
    combinations(varied, sample=100, method="sobol", seed=0)
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.compare import written
from backtest.errors import ParameterError
from backtest.rule import choice, counting, number, shown, switch

MOST = 1_000_000  # combinations: a list of more doesn't fit beside the data
LARGEST = 1e15  # bound of a range: whole numbers are exact below it
DIGITS = 6  # of a value drawn from a range, below the size of the range
TRIES = 64  # points drawn for each combination that is wanted, before the space is called exhausted
ARRAYS = ("signal", "exit_signal", "scale")  # fields of a rule that are arrays themselves: only a list is several of them


class Method(StrEnum):
    """Which combinations are run: all, or a sample drawn at random or by a scrambled Sobol sequence, which leaves no large holes."""

    GRID = "grid"
    RANDOM = "random"
    SOBOL = "sobol"


@dataclass(frozen=True)
class Range:
    """All numbers from low to high, both included: evenly, or by their logarithms; whole numbers only. Made by `between`, written as 0.02..0.3:log."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            if (value := getattr(self, name)) is None:
                raise ParameterError(f"a range needs two numbers: {name}=None; give both, as between(0.02, 0.3)")
            number(name, value, least=-LARGEST, most=LARGEST)
            object.__setattr__(self, name, float(value))
        for name in ("log", "whole"):
            object.__setattr__(self, name, switch(name, getattr(self, name)))
        if not self.low < self.high:
            raise ParameterError(
                f"a range goes from a lower to a higher number: low={self.low:g}, high={self.high:g}; give the lower first"
            )
        if self.log and self.low <= 0.0:
            raise ParameterError(f"a range by logarithms must be above 0: low={self.low:g}; give a low above 0, or leave log out")
        if self.whole and not (self.low.is_integer() and self.high.is_integer()):
            raise ParameterError(
                f"a range of whole numbers needs whole bounds: low={self.low:g}, high={self.high:g}; round them, or leave whole out"
            )

    def __str__(self) -> str:
        """As it is written on the command line."""
        return f"{self.low:.12g}..{self.high:.12g}{':log' if self.log else ''}{':whole' if self.whole else ''}"

    def at(self, place: float) -> float | int:
        """The value at a place from 0 to 1."""
        if self.whole:
            low, high = int(self.low), int(self.high)
            if self.log:
                return min(max(math.floor(math.exp(math.log(low) + place * math.log((high + 1) / low))), low), high)
            return min(low + math.floor(place * (high - low + 1)), high)
        size = width = self.high - self.low
        if self.log:
            value = self.low * math.exp(place * math.log(self.high / self.low))
            size = min(value, width)
        else:
            value = self.low + place * width
        return min(max(round(value, DIGITS - math.floor(math.log10(size))), self.low), self.high)


Values = list[Any] | Range


def between(low: float, high: float, *, log: bool = False, whole: bool = False) -> Range:
    """A range for a parameter of a sample or a search: bt.sweep(FundingCarry, market, enter=bt.between(0.02, 0.3), sample=200).

    log: evenly by logarithms, for what spans several sizes; whole: whole numbers only. Raises ParameterError for bounds that are no finite numbers or not
    in order, for logarithms of what is not above 0, and for whole numbers between bounds that are none.
    """
    return Range(low, high, log, whole)


# ---------------------------------------------------------------- what varies


def varied_of(parameters: Mapping[str, Any]) -> tuple[dict[str, Values], dict[str, Any]]:
    """The parameters that have several values, and those that have one, in the order given. Raises as `several`."""
    varied: dict[str, Values] = {}
    fixed: dict[str, Any] = {}
    for name, given in parameters.items():
        value = given.item() if isinstance(given, np.ndarray) and given.ndim == 0 else given
        values = value if isinstance(value, Range) else several(name, value)
        if values is None:
            fixed[name] = value
        else:
            varied[name] = values
    return varied, fixed


def several(name: str, value: Any) -> list[Any] | None:
    """The values of a parameter that has several, numbers as Python's; None where it has one. ParameterError for none and for one that stands twice."""
    if not isinstance(value, list | range | np.ndarray | pd.Series | pd.Index) or (name in ARRAYS and not isinstance(value, list)):
        return None
    values = [one.item() if isinstance(one, np.generic) and not isinstance(one, np.timedelta64) else one for one in value]
    if not values:
        raise ParameterError(f"{name} has no values: {name}=[]; give one or several, or leave it out")
    for one in values:
        if isinstance(one, Range):
            raise ParameterError(
                f"{name} is one range or several values: {name}={shown(one)} stands among others; give it alone, or values"
            )
        if isinstance(one, float) and math.isnan(one):
            raise ParameterError(f"{name} must be numbers that can be compared: {name}=nan stands among its values; leave it out")
    label, count = Counter(map(labelled, values)).most_common(1)[0]
    if count > 1:
        raise ParameterError(f"{name} has {label} twice: its combinations would be run twice; leave one out")
    return values


def labelled(value: Any) -> Any:
    """A value as it stands in the index: numbers, texts and durations as they are, anything else in words (pandas takes None for a missing label)."""
    return value if isinstance(value, bool | int | float | str | pd.Timedelta) else written(value)


def index_of(varied: Mapping[str, Any], labels: Sequence[tuple[Any, ...]]) -> pd.Index:
    """The index of some combinations: a level a parameter; with one parameter its values."""
    columns = [[one[level] for one in labels] for level in range(len(varied))]
    if len(varied) == 1:
        index: pd.Index = pd.Index(columns[0], name=next(iter(varied)))
        return index
    return pd.MultiIndex.from_arrays(columns, names=list(varied))


# ---------------------------------------------------------------- combinations


def combinations(varied: Mapping[str, Values], *, sample: int | None = None, method: str = "grid", seed: int = 0) -> list[dict[str, Any]]:
    """Every combination by name, the last parameter changing fastest; or a sample of so many different ones, in the order they were drawn.

    method: of a sample "random" (also meant by "grid") or "sobol"; where the grid has no more than the sample asks for, it is the whole grid. Raises
    ParameterError for a range without a sample, for too many, and where ranges are too narrow to have so many.
    """
    way = checked_method(sample, method, seed)
    count = check_count(varied, sample, MOST)
    if grid_size(varied) == count:
        return [dict(zip(varied, values, strict=True)) for values in product(*map(every, varied.values()))]
    return sampled(varied, count, way, seed)


def checked_method(sample: int | None, method: str, seed: int) -> Method:
    """The method; ParameterError for one that is none, for a method without a sample, and for a seed that is none."""
    way = choice("method", method, Method)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ParameterError(f"seed must be a whole number from 0 on: seed={shown(seed)}")
    if sample is None and way is not Method.GRID:
        raise ParameterError(f"method={way} draws a sample, and has no size of it: sample=None; give sample=100, or leave method out")
    return way


def count_of(varied: Mapping[str, Values], sample: int | None) -> int:
    """How many combinations there are to run: of the grid, or of a sample of it. ParameterError for a range without a sample, and for a sample of none."""
    if sample is not None:
        counting("sample", sample)
        size = grid_size(varied)
        return sample if size is None else min(sample, size)
    for name, values in varied.items():
        if isinstance(values, Range):
            raise ParameterError(
                f"{name} is a range, which has no grid: {name}={values}; give the size of a sample, as sample=100, or a list"
            )
    return math.prod(len(every(values)) for values in varied.values())


def check_count(varied: Mapping[str, Values], sample: int | None, most: int) -> int:
    """How many combinations there are to run; ParameterError for more than `most`, and as `count_of`."""
    if (count := count_of(varied, sample)) <= most:
        return count
    if sample is not None:
        raise ParameterError(f"a sample of {count:,} combinations is too large: at most {most:,}; give a smaller one")
    grid = " × ".join(f"{len(every(values)):,} of {name}" for name, values in varied.items())
    raise ParameterError(
        f"a grid of {count:,} combinations is too large: {grid}, at most {most:,}; give fewer values, or the size of a sample, as sample=1000"
    )


def grid_size(varied: Mapping[str, Values]) -> int | None:
    """How many combinations there can be; None where a range has more numbers than are counted."""
    if any(isinstance(values, Range) and not values.whole for values in varied.values()):
        return None
    return math.prod(len(every(values)) for values in varied.values())


def every(values: Values) -> Sequence[Any]:
    """All values of a list or of a range of whole numbers."""
    return range(int(values.low), int(values.high) + 1) if isinstance(values, Range) else values


def sampled(varied: Mapping[str, Values], count: int, method: Method, seed: int) -> list[dict[str, Any]]:
    """The first different combinations of a sequence of random points; of a small grid the first of it shuffled, which finds the last ones too."""
    size = grid_size(varied)
    by_logarithm = any(isinstance(values, Range) and values.log for values in varied.values())
    if method is not Method.SOBOL and not by_logarithm and size is not None and size <= MOST:
        return [nth(varied, place) for place in np.random.default_rng(seed).permutation(size)[:count].tolist()]
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for point in points(method, len(varied), count, seed):
        values = {name: value_at(of, place) for (name, of), place in zip(varied.items(), point, strict=True)}
        found.setdefault(tuple(map(labelled, values.values())), values)
        if len(found) == count:
            return list(found.values())
    if size is not None and size <= MOST:  # what the points have missed, in any order
        for place in np.random.default_rng(seed).permutation(size).tolist():
            values = nth(varied, place)
            found.setdefault(tuple(map(labelled, values.values())), values)
            if len(found) == count:
                return list(found.values())
    raise ParameterError(
        f"a sample of {count:,} finds no more than {len(found):,} different combinations in {', '.join(f'{name}={shown(of)}' for name, of in varied.items())}; "
        "give a smaller sample, or wider ranges"
    )


def nth(varied: Mapping[str, Values], place: int) -> dict[str, Any]:
    """The combination at a place of the grid."""
    values: dict[str, Any] = {}
    for name, of in reversed(list(varied.items())):
        place, digit = divmod(place, len(every(of)))
        values[name] = every(of)[digit]
    return {name: values[name] for name in varied}


def value_at(values: Values, place: float) -> Any:
    """The value of a list or a range at a place from 0 to 1."""
    return values.at(place) if isinstance(values, Range) else values[min(int(place * len(values)), len(values) - 1)]


def points(method: Method, width: int, count: int, seed: int) -> Iterator[list[float]]:
    """Points of the unit cube, so many for each that is wanted; the sequence doesn't depend on how many are."""
    generator = np.random.default_rng(seed)
    if method is Method.SOBOL:
        from scipy.stats.qmc import Sobol

        sequence = Sobol(width, scramble=True, rng=generator)
    power = max(count - 1, 1).bit_length()
    drawn = 0
    while drawn < TRIES * count:
        # a Sobol sequence is even at powers of two: the second block is as long as the first, the third as both
        block: npt.NDArray[np.float64] = sequence.random_base2(power) if method is Method.SOBOL else generator.random((2**power, width))
        yield from block.tolist()
        power += drawn > 0
        drawn += len(block)
