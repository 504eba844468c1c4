"""What is missing: spans without bars, without funding, and their pieces."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtest.data.download.spans import bar_spans, event_spans, together, touched, windows

HOUR = pd.Timedelta(1, "h")
ZERO = pd.Timestamp("2024-01-01", tz="UTC").as_unit("ns")


def at(*hours: float) -> pd.DatetimeIndex:
    return pd.DatetimeIndex([ZERO + hour * HOUR for hour in hours], tz="UTC", dtype="datetime64[ns, UTC]")


def told(spans: list[tuple[pd.Timestamp, pd.Timestamp]]) -> list[tuple[float, float]]:
    return [((first - ZERO) / HOUR, (last - ZERO) / HOUR) for first, last in spans]


@pytest.mark.parametrize(
    ("stamps", "missing"),
    [
        ((), [(0, 10)]),
        (range(1, 11), []),
        (range(3, 11), [(0, 2)]),
        (range(1, 8), [(7, 10)]),
        ((1, 2, 5, 6, 7, 8, 9, 10), [(2, 4)]),
        ((4, 6), [(0, 3), (4, 5), (6, 10)]),
        ((-3, 0, 12), [(0, 10)]),
    ],
)
def test_spans_without_bars(stamps: tuple[int, ...], missing: list[tuple[int, int]]) -> None:
    assert told(bar_spans(at(*stamps), ZERO, ZERO + 10 * HOUR, HOUR)) == missing


def test_no_span_for_the_bar_that_is_forming() -> None:
    assert bar_spans(at(*range(1, 11)), ZERO, ZERO + 10.9 * HOUR, HOUR) == []


@given(st.sets(st.integers(1, 40)), st.integers(1, 7))
def test_bars_of_all_pieces_are_those_missing(stamps: set[int], rows: int) -> None:
    """Whatever is there, the windows ask for each missing bar once and for no other."""
    spans = bar_spans(at(*sorted(stamps)), ZERO, ZERO + 40 * HOUR, HOUR)
    asked = [
        hour
        for span in spans
        for first, last in windows(span, HOUR, rows)
        for hour in range(1, 41)
        if ZERO + hour * HOUR >= first + HOUR and ZERO + hour * HOUR <= last
    ]
    assert asked == [hour for hour in range(1, 41) if hour not in stamps]
    assert all(last - first <= rows * HOUR for span in spans for first, last in windows(span, HOUR, rows))


def test_spans_without_funding() -> None:
    events, hours = at(8, 16, 40, 48), np.array([8.0, 8, 8, 8])
    second = 1 / 3600
    spans = event_spans(events, hours, ZERO, ZERO + 50 * HOUR)
    assert told(spans) == [
        (0, pytest.approx(8 - second)),
        (pytest.approx(16 + second), pytest.approx(40 - second)),
        (pytest.approx(48 + second), 50),
    ]
    assert event_spans(at(0, 8, 16), hours[:3], ZERO, ZERO + 16 * HOUR) == []
    assert told(event_spans(at(), hours[:0], ZERO, ZERO + HOUR)) == [(0, 1)]


def test_a_change_of_the_funding_interval_is_no_hole() -> None:
    second = 1 / 3600
    spans = event_spans(at(0, 8, 12, 16, 24), np.array([8.0, 8, 4, 4, 8]), ZERO, ZERO + 24 * HOUR)
    assert spans == []
    unknown = event_spans(at(0, 8, 24), np.array([np.nan, np.nan, np.nan]), ZERO, ZERO + 24 * HOUR)
    assert unknown == []
    assert told(event_spans(at(0, 8, 24), np.array([8, 8, np.nan]), ZERO, ZERO + 24 * HOUR)) == [
        (pytest.approx(8 + second), pytest.approx(24 - second))
    ]


def test_spans_that_meet_are_one_and_touch_a_window() -> None:
    def span(first: int, last: int) -> tuple[pd.Timestamp, pd.Timestamp]:
        return ZERO + first * HOUR, ZERO + last * HOUR

    assert told(together([span(5, 7), span(0, 2), span(2, 3), span(6, 9)])) == [(0, 3), (5, 9)]
    assert told(touched([span(0, 3), span(5, 9), span(11, 12)], span(2, 6))) == [(2, 3), (5, 6)]
