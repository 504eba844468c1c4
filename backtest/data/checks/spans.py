"""Stretches of time and how they overlap: what an instrument covers, and what several cover together.

A stretch is open at its start and closed at its end, as a bar is: the stretch of the bars stamped 01:00 to 05:00 of an hourly series goes from 00:00
to 05:00. Everything is in nanoseconds UTC, so a dataset of any size is a few numbers an instrument.

    both = overlaps([spot, future], 2)
    print(both.longest)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Spans:
    """Stretches in order of time that don't touch."""

    starts: Integers
    ends: Integers

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def length(self) -> int:
        """All of it, in nanoseconds."""
        return int((self.ends - self.starts).sum())

    @property
    def longest(self) -> tuple[pd.Timestamp, pd.Timestamp] | None:
        """Start and end of the longest stretch; None if there is none."""
        if not len(self):
            return None
        place = int(np.argmax(self.ends - self.starts))
        return instant(int(self.starts[place])), instant(int(self.ends[place]))

    def within(self, edges: Integers) -> npt.NDArray[np.float64]:
        """How much of each cell between neighbouring edges is covered, as a fraction. [cells]"""
        total = np.concatenate([[0], np.cumsum(self.ends - self.starts)])
        place = np.searchsorted(self.starts, edges, side="right")
        started = np.concatenate([[0], self.starts])[place]
        last = np.concatenate([[0], self.ends - self.starts])[place]
        covered = total[np.maximum(place - 1, 0)] * (place > 0) + np.where(place > 0, np.minimum(edges - started, last), 0)
        return np.asarray(np.diff(covered) / np.diff(edges), dtype=np.float64)


def spans(pairs: Sequence[tuple[int, int]]) -> Spans:
    """Stretches from their starts and ends, which may overlap and stand in any order."""
    return overlaps([Spans(np.array([start], dtype=np.int64), np.array([end], dtype=np.int64)) for start, end in pairs], 1)


def overlaps(parts: Sequence[Spans], depth: int) -> Spans:
    """Where at least `depth` of the parts are: 1 is their union, all of them their intersection."""
    starts = np.concatenate([np.zeros(0, np.int64), *(part.starts for part in parts)])
    ends = np.concatenate([np.zeros(0, np.int64), *(part.ends for part in parts)])
    times = np.concatenate([starts, ends])
    change = np.repeat([1, -1], len(starts))
    order = np.lexsort((-change, times))  # at one instant the starts come first, so that neighbours melt into one
    level = np.cumsum(change[order])
    before = np.concatenate([[0], level[:-1]])
    rise, fall = (level >= depth) & (before < depth), (level < depth) & (before >= depth)
    found = Spans(times[order][rise], times[order][fall])
    keep = found.ends > found.starts
    return Spans(found.starts[keep], found.ends[keep])


def without(part: Spans, gone: Spans) -> Spans:
    """What is left of a part where the other is not."""
    if not len(part) or not len(gone):
        return part
    edge = np.iinfo(np.int64)
    rest = Spans(np.concatenate([[edge.min], gone.ends]), np.concatenate([gone.starts, [edge.max]]))
    return overlaps([part, rest], 2)


def bridged(part: Spans, tolerance: int) -> Spans:
    """The same stretches with gaps up to a tolerance (ns) passed over."""
    if len(part) < 2:
        return part
    wide = part.starts[1:] - part.ends[:-1] > tolerance
    return Spans(part.starts[np.concatenate([[True], wide])], part.ends[np.concatenate([wide, [True]])])


def instant(nanoseconds: int) -> pd.Timestamp:
    """A time from nanoseconds UTC."""
    return pd.Timestamp(nanoseconds, tz="UTC")
