"""A finding of `carry data check` and how it is worded: numbers with their nouns, times one by one or as holes.

counted(1, "funding event") + " is missing"
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from backtest.data.checks.spans import Integers, Spans, spans
from backtest.data.validate import show_time

Hole = tuple[pd.Timestamp, pd.Timestamp, int]

NOTHING = spans([])
SINGLE_TIMES = 5


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding: the rule that found it, where, since when, and a sentence.

    `grave`: a run would stumble over it or be wrong; else it is worth a look. `holes`: first and last stamp, and number of bars or events, of each
    place; `others` has those of a finding about several instruments. `spoils`: the stretches of the instrument's bars, or of its funding, that no strategy should use.
    """

    rule: str
    instrument: str
    text: str
    grave: bool = True
    holes: tuple[Hole, ...] = ()
    spoils: Spans = NOTHING
    of_funding: bool = False
    others: dict[str, tuple[Hole, ...]] = field(default_factory=dict)

    @property
    def by_instrument(self) -> dict[str, tuple[Hole, ...]]:
        """Instrument → holes, for a finding about one and for one about several."""
        return self.others or {self.instrument: self.holes}


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 bar, 2 bars, 5,280 funding events."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def missing(stamps: pd.DatetimeIndex, noun: str, step: pd.Timedelta, shown: int) -> tuple[str, tuple[Hole, ...]]:
    """What is missing in words, times one by one where they are few and else as holes, and the holes."""
    found = holes(stamps, step)
    verb = "is missing" if len(stamps) == 1 else "are missing"
    if len(stamps) <= SINGLE_TIMES:
        return f"{counted(len(stamps), noun)} {verb}: {', '.join(show_time(stamp) for stamp in stamps)}", found
    return f"{counted(len(stamps), noun)} {verb} in {counted(len(found), 'hole')}: {listed_holes(found, shown)}", found


def holes(stamps: pd.DatetimeIndex, step: pd.Timedelta) -> tuple[Hole, ...]:
    """Stamps in order, gathered where they follow each other within one and a half steps: first, last, number."""
    if not len(stamps):
        return ()
    nanoseconds = stamps.to_numpy(dtype="datetime64[ns]").astype(np.int64)
    breaks = np.flatnonzero(np.diff(nanoseconds) > 1.5 * step.value) + 1
    begin, end = np.concatenate([[0], breaks]), np.concatenate([breaks, [len(stamps)]])
    return tuple((stamps[first], stamps[last - 1], int(last - first)) for first, last in zip(begin, end, strict=True))


def listed_holes(found: Sequence[Hole], shown: int) -> str:
    """Holes with their times and sizes, the rest counted: "2024-03-01T01:00Z (1), 2024-03-02T01:00Z to 2024-03-02T05:00Z (5) and 3 more"."""
    parts = [
        f"{show_time(first) if first == last else f'{show_time(first)} to {show_time(last)}'} ({count:,})"
        for first, last, count in found[:shown]
    ]
    return ", ".join(parts) + (f" and {len(found) - shown:,} more" if len(found) > shown else "")


def listed_times(stamps: Sequence[pd.Timestamp], shown: int = SINGLE_TIMES) -> str:
    """The first times, the rest counted."""
    more = f" and {len(stamps) - shown:,} more" if len(stamps) > shown else ""
    return ", ".join(show_time(stamp) for stamp in stamps[:shown]) + more


def sized(found: Sequence[tuple[pd.Timestamp, float]], digits: str, shown: int = SINGLE_TIMES) -> str:
    """The first times with a signed size in percent, the rest counted: "2024-03-01T01:00Z +3.1% and 4 more"."""
    more = f" and {len(found) - shown:,} more" if len(found) > shown else ""
    return ", ".join(f"{show_time(stamp)} {size:+{digits}}" for stamp, size in found[:shown]) + more


def named(counts: Mapping[str, int], noun: str, shown: int = SINGLE_TIMES) -> str:
    """The names with the largest numbers, the rest counted: "A 12 bars, B 1 bar and 3 other instruments"."""
    order = sorted(counts, key=lambda name: (-counts[name], name))
    rest = len(order) - shown
    return ", ".join(f"{name} {counted(counts[name], noun)}" for name in order[:shown]) + (
        f" and {counted(rest, 'other instrument')}" if rest > 0 else ""
    )


def runs(marked: np.ndarray) -> tuple[Integers, Integers]:
    """First and last place of each run of true values."""
    edge = np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8))
    return np.flatnonzero(edge == 1).astype(np.int64), (np.flatnonzero(edge == -1) - 1).astype(np.int64)
