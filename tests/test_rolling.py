"""Compiled statistics of windows against loops in exact fractions and against pandas; without drift, without residue, blind to the future."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import isnan, nan, sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtest import rolling

FEWEST = 3
DAY = 86_400 * 10**9
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "zscore": lambda stamps, values, span: rolling.zscore(stamps, values, span, FEWEST),
    "rank": lambda stamps, values, span: rolling.rank(stamps, values, span, FEWEST),
    "mean": rolling.mean,
    "slope": lambda stamps, values, span: rolling.slope(stamps, values, span, FEWEST),
    "t_value": lambda stamps, values, span: rolling.t_value(stamps, values, span, FEWEST),
    "breakout": rolling.breakout,
}


# ---------------------------------------------------------------- naive


def naive_zscore(window: list[tuple[int, Fraction]]) -> float:
    values = [value for _, value in window]
    middle = sum(values) / len(values)
    variance = sum((value - middle) ** 2 for value in values) / (len(values) - 1)
    return float(values[-1] - middle) / sqrt(variance) if variance else nan


def naive_rank(window: list[tuple[int, Fraction]]) -> float:
    values = [value for _, value in window]
    less, equal = sum(value < values[-1] for value in values), sum(value == values[-1] for value in values)
    return (less + (equal + 1) / 2) / len(values)


def naive_mean(window: list[tuple[int, Fraction]]) -> float:
    return float(sum(value for _, value in window) / len(window))


def line(window: list[tuple[int, Fraction]]) -> tuple[Fraction, Fraction, Fraction]:
    """Sums of squares in time (days) and in value, and of their products, around the means."""
    days = [Fraction(stamp, DAY) for stamp, _ in window]
    values = [value for _, value in window]
    day, middle = sum(days) / len(days), sum(values) / len(values)
    return (
        sum(((x - day) ** 2 for x in days), Fraction(0)),
        sum(((y - middle) ** 2 for y in values), Fraction(0)),
        sum(((x - day) * (y - middle) for x, y in zip(days, values, strict=True)), Fraction(0)),
    )


def naive_slope(window: list[tuple[int, Fraction]]) -> float:
    xx, _, xy = line(window)
    return float(xy / xx)


def naive_t(window: list[tuple[int, Fraction]]) -> float:
    xx, yy, xy = line(window)
    if yy == 0:
        return nan
    residual = max(yy - xy * xy / xx, yy * Fraction(1, 10**12))
    return float(xy / xx) / sqrt(residual / (len(window) - 2) / xx)


def naive_breakout(window: list[tuple[int, Fraction]]) -> float:
    *before, value = [value for _, value in window]
    if not before:
        return nan
    return float((value > max(before)) - (value < min(before)))


NAIVE: dict[str, tuple[Callable[[list[tuple[int, Fraction]]], float], int]] = {
    "zscore": (naive_zscore, FEWEST),
    "rank": (naive_rank, FEWEST),
    "mean": (naive_mean, 1),
    "slope": (naive_slope, FEWEST),
    "t_value": (naive_t, FEWEST),
    "breakout": (naive_breakout, 1),
}


def naive(name: str, stamps: Sequence[int], values: Sequence[float], span: int) -> list[float]:
    """Bar by bar: the known values stamped T − span < stamp ≤ T, and the formula; NaN where the value is."""
    function, fewest = NAIVE[name]
    answers = []
    for time, value in zip(stamps, values, strict=True):
        window = [
            (int(stamp), Fraction(float(other)))
            for stamp, other in zip(stamps, values, strict=True)
            if time - span < stamp <= time and not isnan(other)
        ]
        answers.append(nan if isnan(value) or len(window) < fewest else function(window))
    return answers


# ---------------------------------------------------------------- made markets

usual = st.floats(-1e-3, 1e-3, allow_nan=False).map(lambda value: round(value, 9))
tied = st.sampled_from([0.0, 0.001, 0.002, -0.0])
odd = st.sampled_from([nan, 1e12, -1e12, 5e5])


@st.composite
def made(draw: st.DrawFn) -> tuple[Any, Any, int]:
    """Irregular stamps (minutes to a day apart), values with ties, constants, gaps and huge outliers, and a span."""
    values = draw(st.lists(st.one_of(usual, tied, tied, odd), max_size=60))
    gaps = draw(st.lists(st.sampled_from([60, 60, 60, 120, 300, 3600, 86_400]), min_size=len(values), max_size=len(values)))
    stamps = 1_600_000_000 * 10**9 + np.cumsum(np.array(gaps, np.int64)) * 10**9
    span = draw(st.sampled_from([60, 240, 420, 7200, 3 * 86_400, 10**9])) * 10**9
    return stamps, np.array(values, float), span


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=150, deadline=None)
@given(case=made())
def test_each_is_its_formula_over_the_known_values_of_the_window(name: str, case: tuple[Any, Any, int]) -> None:
    stamps, values, span = case
    found, expected = FUNCTIONS[name](stamps, values, span), np.array(naive(name, stamps, values, span))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    if name in ("rank", "breakout"):
        np.testing.assert_array_equal(found, expected)
        return
    # slopes and means are as large as the window's largest value; a t-value near that of a perfect line depends on rounding
    scale = np.array(
        [max((abs(v) for s, v in zip(stamps, values, strict=True) if t - span < s <= t and not isnan(v)), default=0.0) for t in stamps]
    )
    tolerance = {
        "zscore": 1e-9,
        "mean": 1e-12 * scale,
        "slope": 1e-7 * scale,
        "t_value": np.where(np.abs(expected) > 1e4, 1e9, 1e-5 + 1e-5 * np.abs(expected)),
    }
    assert not (np.abs(found - expected) > tolerance[name]).any()


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=60, deadline=None)
@given(case=made(), cut=st.integers(0, 60))
def test_a_bar_has_the_same_bits_whatever_comes_later(name: str, case: tuple[Any, Any, int], cut: int) -> None:
    stamps, values, span = case
    whole = FUNCTIONS[name](stamps, values, span)[:cut]
    np.testing.assert_array_equal(FUNCTIONS[name](stamps[:cut].copy(), values[:cut].copy(), span), whole)
    changed = np.concatenate([values[:cut], -1e9 * values[cut:]])
    np.testing.assert_array_equal(FUNCTIONS[name](stamps, changed, span)[:cut], whole)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_are_apart(name: str) -> None:
    draw = np.random.default_rng(2)
    stamps, table = np.cumsum(draw.integers(1, 5, 500)) * DAY, draw.normal(size=(3, 500)).round(1)
    table[1, 100:300] = nan
    found = FUNCTIONS[name](stamps, table, 40 * DAY)
    for row, answer in zip(table, found, strict=True):
        np.testing.assert_array_equal(answer, FUNCTIONS[name](stamps, row, 40 * DAY))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_known_is_nothing_answered(name: str) -> None:
    stamps = np.arange(10) * DAY
    assert np.isnan(FUNCTIONS[name](stamps, np.full(10, nan), 3 * DAY)).all()
    assert FUNCTIONS[name](stamps[:0], np.empty((2, 0)), 3 * DAY).shape == (2, 0)


# ---------------------------------------------------------------- against pandas


LONG = 30_000


def walk(holes: bool) -> tuple[Any, Any]:
    """A premium of many bars: it wanders, is rounded (ties), stands still for a while, and may be unknown here and there."""
    draw = np.random.default_rng(7)
    values = (0.05 + 0.001 * np.cumsum(draw.normal(size=LONG)) + 0.01 * draw.normal(size=LONG)).round(3)
    values[2000:2600] = values[2000]
    if holes:
        values[draw.random(LONG) < 0.1] = nan
        values[:50] = nan
    return np.arange(1, LONG + 1) * 60 * 10**9, values


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("window", [5, 24, 299, 301, 5000, LONG, None])  # 300 is where ranks change their method
def test_they_are_what_pandas_has(window: int | None, holes: bool) -> None:
    stamps, values = walk(holes)
    column = pd.Series(values)
    rolled = column.expanding(FEWEST) if window is None else column.rolling(window, min_periods=FEWEST)
    span = rolling.FOREVER if window is None else window * 60 * 10**9
    np.testing.assert_allclose(rolling.rank(stamps, values, span, FEWEST), rolled.rank(pct=True), rtol=1e-15)
    middle, known = rolled.mean(), ~np.isnan(values)
    np.testing.assert_allclose(
        rolling.mean(stamps, values, span)[known & middle.notna()], middle[known & middle.notna()], rtol=1e-9, atol=1e-15
    )
    moving = known & (rolled.max() > rolled.min()).to_numpy()  # elsewhere pandas has a residue of what left the window
    found = rolling.zscore(stamps, values, span, FEWEST)
    np.testing.assert_allclose(found[moving], ((column - middle) / rolled.std())[moving], rtol=1e-7, atol=1e-7)
    assert np.isnan(found[~moving]).all(), "unknown, too few, or equal"


@pytest.mark.parametrize("window", [24, 299, 301, 2000])
def test_breakouts_are_beyond_the_values_before(window: int) -> None:
    stamps, values = walk(holes=False)
    before = pd.Series(values).shift(1).rolling(window - 1, min_periods=1)
    expected = np.sign((values > before.max()).astype(float) - (values < before.min()))
    np.testing.assert_array_equal(rolling.breakout(stamps, values, window * 60 * 10**9)[1:], expected[1:])


@pytest.mark.parametrize("window", [5, 100, 3000])
def test_a_line_is_that_of_polyfit(window: int) -> None:
    stamps, values = walk(holes=False)
    stamps = stamps + np.random.default_rng(3).integers(0, 50, LONG) * 10**9
    slopes = rolling.slope(stamps, values, window * 60 * 10**9, FEWEST)
    for t in range(window, LONG, 997):
        inside = (stamps > stamps[t] - window * 60 * 10**9) & (stamps <= stamps[t])
        if inside.sum() < FEWEST:
            assert isnan(slopes[t])
            continue
        days = (stamps[inside] - stamps[t]) / DAY
        assert slopes[t] == pytest.approx(np.polyfit(days, values[inside], 1)[0], rel=1e-8, abs=1e-10)


# ---------------------------------------------------------------- robust


def test_a_huge_outlier_leaves_no_residue() -> None:
    """One value of 1e12 among those of 1e-3: as soon as it has left the window, the answers are those without it."""
    draw = np.random.default_rng(4)
    stamps, values, span = np.arange(1000) * DAY, draw.normal(size=1000) * 1e-3, 50 * DAY
    for place in (0, 49, 50, 51, 500, 537):
        spoilt = values.copy()
        spoilt[place] = 1e12
        for name in FUNCTIONS:
            clean, found = (FUNCTIONS[name](stamps, each, span)[place + 50 :] for each in (values, spoilt))
            np.testing.assert_allclose(found, clean, rtol=1e-8, atol=1e-12)


def test_an_infinite_value_spoils_its_own_windows_only() -> None:
    stamps, values, span = np.arange(300) * DAY, np.random.default_rng(4).normal(size=300), 20 * DAY
    spoilt = values.copy()
    spoilt[100] = np.inf
    for name in FUNCTIONS:
        clean, found = (FUNCTIONS[name](stamps, each, span) for each in (values, spoilt))
        np.testing.assert_allclose(np.delete(found, range(100, 120)), np.delete(clean, range(100, 120)), rtol=1e-9)


def test_a_far_level_keeps_the_digits() -> None:
    """Prices of 1e6 that move by thousandths, for a million bars: the z-score is that of the movements alone, to the rounding of the prices."""
    moves = np.random.default_rng(5).integers(-500, 500, 1_000_000) / 1024.0  # such that the sum with the level is exact
    stamps = np.arange(len(moves)) * 60 * 10**9
    for window in (100, 100_000):
        span = window * 60 * 10**9
        near, far = (rolling.zscore(stamps, moves + level, span, FEWEST) for level in (0.0, 2.0**20))
        np.testing.assert_array_equal(far, near)
        np.testing.assert_allclose(
            rolling.slope(stamps, moves + 2.0**20, span, FEWEST), rolling.slope(stamps, moves, span, FEWEST), rtol=1e-12
        )


def test_a_perfect_line_has_a_finite_t_value_and_equal_values_have_none() -> None:
    stamps = np.array([1, 2, 4, 5, 9, 10, 11]) * DAY
    rising = rolling.t_value(stamps, 0.25 * stamps / DAY, 100 * DAY, FEWEST)
    np.testing.assert_allclose(rising[2:], 1e6 * np.sqrt(np.arange(3, 8) - 2.0), rtol=1e-3)
    np.testing.assert_allclose(rolling.t_value(stamps, -stamps / DAY, 100 * DAY, FEWEST)[2:], -rising[2:], rtol=1e-3)
    assert np.isnan(rolling.t_value(stamps, np.full(7, 0.1), 100 * DAY, FEWEST)).all()
    np.testing.assert_array_equal(rolling.slope(stamps, np.full(7, 0.1), 100 * DAY, FEWEST)[2:], np.zeros(5))


def test_differences_too_small_to_square_are_none() -> None:
    values = np.array([1e-200, 2e-200, 3e-200, 5e-200])
    for function in (rolling.zscore, rolling.t_value):
        assert np.isnan(function(np.arange(4) * DAY, values, 10 * DAY, FEWEST)).all()


# ---------------------------------------------------------------- the same without the compiler

PLAIN = """
import sys
import numpy as np
from backtest import rolling

draw = np.random.default_rng(8)
stamps, values = np.cumsum(draw.integers(1, 4, 900)) * rolling.DAY, draw.normal(size=900).round(1)
values[::7] = np.nan
values[300:400] = 0.5
with np.errstate(all="ignore"):
    for days in (2, 20, 700):
        span = days * rolling.DAY
        for found in (
            rolling.zscore(stamps, values, span, 3), rolling.rank(stamps, values, span, 3), rolling.mean(stamps, values, span),
            rolling.slope(stamps, values, span, 3), rolling.t_value(stamps, values, span, 3), rolling.breakout(stamps, values, span),
        ):
            print(found.tobytes().hex())
"""


def test_compiled_and_plain_python_agree_bit_for_bit() -> None:
    """Bounds are checked on the way: plain Python refuses a place outside an array."""
    found = [
        subprocess.run(
            [sys.executable, "-c", PLAIN], env={**os.environ, "NUMBA_DISABLE_JIT": flag}, capture_output=True, text=True, check=True
        ).stdout
        for flag in ("0", "1")
    ]
    assert found[0] == found[1]
    assert len(found[0].split()) == 18
