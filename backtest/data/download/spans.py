"""What is missing: the spans of time for which a dataset has no rows yet, which is all that a download asks for.

Bars are stamped with their end, so the bar of a span (a, b] begins at a or later and ends at b or before. Holes inside are asked for again each
time, for only the venue knows whether it had an outage or the last download was cut off.

    bar_spans(bars.index, start, end, pd.Timedelta("1h"))  → [(start, 2024-01-01T00:00Z), (2024-03-01T00:00Z, end)]
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

Span = tuple[pd.Timestamp, pd.Timestamp]

_MOMENT = pd.Timedelta(1, "s")  # funding times are rounded to the second


def bar_spans(stamps: pd.DatetimeIndex, start: pd.Timestamp, end: pd.Timestamp, step: pd.Timedelta) -> list[Span]:
    """Spans (a, b] of start..end that have room for at least one bar of length `step` without a stamp; `stamps` are sorted."""
    inside = stamps[(stamps >= start + step) & (stamps <= end)]
    edges = [start, *_around_holes(inside, step), end]
    spans = [(edges[row], edges[row + 1]) for row in range(0, len(edges) - 1, 2)]
    return [(first, last) for first, last in spans if last - first >= step]


def _around_holes(stamps: pd.DatetimeIndex, step: pd.Timedelta) -> Iterator[pd.Timestamp]:
    """Begin of the first bar, then end and begin of the bars on both sides of each hole, then the end of the last one."""
    if stamps.empty:
        return
    yield stamps[0] - step
    for row in np.flatnonzero(hours_apart(stamps) >= 2 * (step / pd.Timedelta(1, "h"))).tolist():
        yield stamps[row]
        yield stamps[row + 1] - step
    yield stamps[-1]


def event_spans(stamps: pd.DatetimeIndex, hours: np.ndarray, start: pd.Timestamp, end: pd.Timestamp) -> list[Span]:
    """Spans [a, b] of start..end without a funding event: before the first, after the last, and holes of half an interval and more."""
    keep = np.asarray((stamps >= start) & (stamps <= end))
    inside, hours = stamps[keep], hours[keep]
    if inside.empty:
        return [(start, end)]
    spans = [(start, inside[0] - _MOMENT)]
    apart = hours_apart(inside)
    # where the interval changes, the distance is either of the two
    expected = np.fmax(hours[:-1], hours[1:])
    spans += [
        (inside[row] + _MOMENT, inside[row + 1] - _MOMENT)
        for row in np.flatnonzero(apart >= 1.5 * np.where(np.isnan(expected), np.inf, expected)).tolist()
    ]
    spans.append((inside[-1] + _MOMENT, end))
    return [(first, last) for first, last in spans if first <= last]


def hours_apart(times: pd.DatetimeIndex) -> np.ndarray:
    """Hours from each time to the next."""
    return np.asarray(np.diff(times.as_unit("ns").asi8) / 3.6e12)


def windows(span: Span, step: pd.Timedelta, rows: int) -> Iterator[Span]:
    """A span in pieces of at most `rows` steps, in order of time."""
    first, last = span
    while first < last:
        yield first, min(last, first + step * rows)
        first += step * rows


def touched(spans: Sequence[Span], window: Span) -> list[Span]:
    """The parts of some spans that lie inside a window."""
    cut = [(max(first, window[0]), min(last, window[1])) for first, last in spans]
    return [(first, last) for first, last in cut if first < last]


def together(spans: Sequence[Span]) -> list[Span]:
    """Spans in order of time, those that overlap or meet in one."""
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged
