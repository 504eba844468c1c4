"""Years that stand twice: a series equal to itself a whole number of years earlier.

A downloaded history that was filled up with the year before, or a file that was copied under a new name, looks like data in every other check.

    for begin, end, days, values in repeated(bars["close"]): print(begin, end, days)
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.data.checks.words import runs

DAY_NS = 86_400 * 10**9
FEWEST_EQUAL = 20
FEWEST_VALUES = 5
COMMON_SHARE = 0.05
SEARCHED_ROWS = 100_000


class Repeat(NamedTuple):
    """A stretch (first and last stamp) that equals what stood some days before, and how many values were compared."""

    first: pd.Timestamp
    last: pd.Timestamp
    days: int
    values: int


def repeated(series: pd.Series) -> list[Repeat]:
    """Stretches that equal the series whole years (365 or 366 days each) earlier, the longest of those that overlap, in order of time.

    A stretch is at least twenty equal values in a row of which five are different; pairs of the series' commonest value (the 0.01% of calm funding) say
    nothing and are passed over. Of very long series one row an hour, a day, … is looked at.
    """
    stamps, values = _thinned(series)
    if len(stamps) < FEWEST_EQUAL:
        return []
    kinds, counts = np.unique(values, return_counts=True)
    common = float(kinds[np.argmax(counts)]) if counts.max() > COMMON_SHARE * len(values) else np.nan
    found: list[Repeat] = []
    for days in _shifts(int(stamps[-1] - stamps[0])):
        found += _equal(stamps, values, common, days)
    kept: list[Repeat] = []
    for one in sorted(found, key=lambda one: (-one.values, one.days)):
        if not any(one.first <= other.last and other.first <= one.last for other in kept):
            kept.append(one)
    return sorted(kept)


def _equal(stamps: npt.NDArray[np.int64], values: npt.NDArray[np.float64], common: float, days: int) -> list[Repeat]:
    """Stretches that equal the series some days earlier."""
    earlier = np.minimum(np.searchsorted(stamps, stamps - days * DAY_NS), len(stamps) - 1)
    there = stamps[earlier] == stamps - days * DAY_NS
    telling = np.flatnonzero(there & ~((values == common) & (values[earlier] == common)))
    first, last = runs(values[telling] == values[earlier[telling]])
    out = []
    for begin, end in zip(first, last, strict=True):
        rows = telling[begin : end + 1]
        if len(rows) >= FEWEST_EQUAL and len(np.unique(values[rows])) >= FEWEST_VALUES:
            out.append(Repeat(pd.Timestamp(int(stamps[rows[0]]), tz="UTC"), pd.Timestamp(int(stamps[rows[-1]]), tz="UTC"), days, len(rows)))
    return out


def _shifts(span: int) -> list[int]:
    """Days of one year, two years, … that fit into a span of time: a year is 365 days, and a leap day more for some."""
    out: set[int] = set()
    for years in range(1, span // (365 * DAY_NS) + 1):
        out |= set(range(365 * years + years // 4, 365 * years + (years + 3) // 4 + 1))
    return sorted(days for days in out if days * DAY_NS <= span)


def _thinned(series: pd.Series) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Stamps and values: all, or those on a raster that leaves at most a hundred thousand."""
    stamps = pd.DatetimeIndex(series.index).to_numpy(dtype="datetime64[ns]").astype(np.int64)
    values = series.to_numpy(dtype=np.float64)
    for minutes in (1, 15, 60, 240, 1440):
        if len(stamps) <= SEARCHED_ROWS:
            break
        keep = stamps % (minutes * 60 * 10**9) == 0
        stamps, values = stamps[keep], values[keep]
    return stamps, values
