"""Compiled statistics of trailing windows: z-score, rank, mean, regression on time, break of the highest or lowest.

A window holds the values stamped T − span < stamp ≤ T, however irregular the stamps are. Sums are kept in two parts that meet at an anchor inside the window:
from every place up to the anchor, laid down once, and a running one after it. When the window has left the anchor behind, the newest value is the next. So
nothing is subtracted: what has left a window leaves no trace there, nothing drifts, and a bar's answer has the same bits whatever comes later. Sums are of
differences from the anchor's value: equal values sum to exactly zero, and as the anchor is one of them, squares exceed those around the mean n + 1 times at most.

    scores = rolling.zscore(market.stamps, values, span, fewest=5)  # [as values]

It takes numba a third of a second to be imported: import this module where it is used.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Index = Any  # an unsigned integer: a signed one costs a test for negative places at each access

DAY = 86_400 * 10**9
FOREVER = 2**62  # a span that reaches before every stamp
ZERO, ONE = np.uint64(0), np.uint64(1)
CHUNK = np.uint64(1024)  # values that are divided together, eight at once
FEW = 300  # values in a window up to which counting them all is faster than keeping them in order
MOST_ROWS = min(4, os.cpu_count() or 1)  # side by side: each takes room for itself
WORTH_THREADS = 100_000  # values: below, starting threads takes longer than the work
MEAN, SLOPE, T_VALUE = range(3)
PERFECT = 1e-12  # least share of the variance that a line is taken to leave over: below it there is only rounding


# ---------------------------------------------------------------- what Python calls


def zscore(stamps: Integers, values: Floats, span: int, fewest: int) -> Floats:
    """(value − mean)/deviation, n−1 in the deviation. NaN where the value is, with fewer than `fewest` (≥ 2) known, or all of them equal. [as values]"""
    return _by_row(stamps, values, lambda times, row, out: _zscore(times, row, span, fewest, out))


def rank(stamps: Integers, values: Floats, span: int, fewest: int) -> Floats:
    """(less + (equal + 1)/2)/n, itself among the equal. NaN where the value is, and with fewer than `fewest` known. [as values]"""

    def compute(times: Integers, row: Floats, out: Floats) -> None:
        if len(times) and len(times) * (span / max(1, int(times[-1]) - int(times[0]))) <= FEW:
            _rank_by_counting(times, row, span, fewest, out)
        else:
            _rank_by_order(times, row, np.argsort(row), span, fewest, out)

    return _by_row(stamps, values, compute)


def mean(stamps: Integers, values: Floats, span: int) -> Floats:
    """Mean of the known values. NaN where the value is. [as values]"""
    return _by_row(stamps, values, lambda times, row, out: _trend(times, row, span, 1, MEAN, out))


def total(stamps: Integers, values: Floats, span: int) -> Floats:
    """Sum of the values, all of which must be known: exactly 0 where all are. [as values]"""
    return _by_row(stamps, values, lambda times, row, out: _total(times, row, span, out))


def slope(stamps: Integers, values: Floats, span: int, fewest: int) -> Floats:
    """Slope of the least-squares line over time, per day. NaN where the value is, and with fewer than `fewest` (≥ 3) known. [as values]"""
    return _by_row(stamps, values, lambda times, row, out: _trend(times, row, span, fewest, SLOPE, out))


def t_value(stamps: Integers, values: Floats, span: int, fewest: int) -> Floats:
    """The slope over its standard error, r·√((n − 2)/(1 − r²)), with 1 − r² of 1e-12 at least: finite for a perfect line.

    NaN where the value is, with fewer than `fewest` (≥ 3) known, and where all of them are equal. [as values]
    """
    return _by_row(stamps, values, lambda times, row, out: _trend(times, row, span, fewest, T_VALUE, out))


def breakout(stamps: Integers, values: Floats, span: int) -> Floats:
    """1 above the highest, −1 below the lowest of the window's values before this one, else 0. NaN where the value is, and with none before it. [as values]"""
    return _by_row(stamps, values, lambda times, row, out: _breakout(times, row, span, out))


def hysteresis(values: Floats, enter: float, leave: float) -> Floats:
    """1 from a value ≥ enter until one < leave, else 0; an unknown one changes nothing, NaN before the first known. [as values]"""
    out = np.empty(values.shape)
    for row, answer in zip(np.atleast_2d(values), np.atleast_2d(out), strict=True):
        _hysteresis(_closed(row), float(enter), float(leave), answer)
    return out


def _by_row(stamps: Integers, values: Floats, compute: Callable[[Integers, Floats, Floats], None]) -> Floats:
    """Each row by itself and side by side, its known values only: a kernel never sees NaN, and lets go of Python's lock."""
    out = np.empty(values.shape)

    def fill(row: Floats, answer: Floats) -> None:
        if _all_known(_closed(row)):
            compute(_closed(stamps), _closed(row), answer)
            return
        known = np.flatnonzero(~np.isnan(row))
        found = np.empty(len(known))
        compute(_closed(stamps[known]), _closed(row[known]), found)
        answer.fill(np.nan)
        answer[known] = found

    rows, answers = np.atleast_2d(values), np.atleast_2d(out)
    if len(rows) == 1 or values.size < WORTH_THREADS:
        list(map(fill, rows, answers))
    else:
        with ThreadPoolExecutor(MOST_ROWS) as threads:
            list(threads.map(fill, rows, answers))
    return out


def _closed(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A read-only view: numba would compile a kernel again for arrays that can be written into."""
    view = np.ascontiguousarray(values).view()
    view.flags.writeable = False
    return view


@njit(cache=True, nogil=True, error_model="numpy")
def _all_known(values: Floats) -> bool:
    """Whether none is NaN; several are looked at at once, and no array of answers is made."""
    unknown = 0
    for i in range(len(values)):
        unknown += 1 if values[i] != values[i] else 0
    return unknown == 0


# ---------------------------------------------------------------- moments


@njit(cache=True, nogil=True, error_model="numpy")
def _zscore(stamps: Integers, values: Floats, span: int, fewest: int, out: Floats) -> None:
    """In the order of time: the window's first place, the sums with the new value or around a new anchor, numerator and square of the denominator."""
    bars = np.uint64(len(stamps))
    until_sum, until_squares = np.empty(len(stamps)), np.empty(len(stamps))
    above, below = np.empty(int(CHUNK)), np.empty(int(CHUNK))
    low, base, boundary, last = ZERO, ZERO, ZERO, bars
    anchor, total, squares, count, scale = 0.0, 0.0, 0.0, 0.0, math.nan
    begin = ZERO
    while begin < bars:
        end = min(bars, begin + CHUNK)
        t = begin
        while t < end:
            edge = stamps[t] - span
            while stamps[low] <= edge:
                low += ONE
            if low < boundary:
                distance = values[t] - anchor
                total += distance
                squares += distance * distance
            else:
                anchor, base, boundary = values[t], low, t + ONE
                total, squares = 0.0, 0.0
                place = boundary - low
                while place > ZERO:
                    place -= ONE
                    distance = values[low + place] - anchor
                    total += distance
                    squares += distance * distance
                    until_sum[place], until_squares[place] = total, squares
                distance, total, squares = 0.0, 0.0, 0.0
            if t - low != last:
                last = t - low
                count = float(last + ONE)
                scale = count / (count - 1.0) if count >= fewest else math.nan
            whole = until_sum[low - base] + total
            above[t - begin] = count * distance - whole
            below[t - begin] = (count * (until_squares[low - base] + squares) - whole * whole) * scale
            t += ONE
        _divide(above, below, out[begin:end])
        begin = end


@njit(nogil=True, error_model="numpy", inline="never")
def _divide(above: Floats, below: Floats, out: Floats) -> None:
    """Out of the loop over time, so that the compiler divides and takes roots of several at once."""
    for i in range(len(out)):
        out[i] = above[i] / math.sqrt(below[i]) if below[i] > 0.0 else math.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _trend(stamps: Integers, values: Floats, span: int, fewest: int, kind: int, out: Floats) -> None:
    """In the order of time: the window's first place, the moments of time and value with the new one or around a new anchor, and what `kind` makes of them."""
    until = np.empty((len(stamps), 5))
    low, base, anchor = 0, 0, -1
    x, y, xx, yy, xy = 0.0, 0.0, 0.0, 0.0, 0.0
    for t in range(len(stamps)):
        edge = stamps[t] - span
        while stamps[low] <= edge:
            low += 1
        if low <= anchor:
            days, value = (stamps[t] - stamps[anchor]) / DAY, values[t] - values[anchor]
            x, y, xx, yy, xy = x + days, y + value, xx + days * days, yy + value * value, xy + days * value
        else:
            base, anchor = low, t
            x, y, xx, yy, xy = 0.0, 0.0, 0.0, 0.0, 0.0
            for place in range(t, low - 1, -1):
                days, value = (stamps[place] - stamps[anchor]) / DAY, values[place] - values[anchor]
                x, y, xx, yy, xy = x + days, y + value, xx + days * days, yy + value * value, xy + days * value
                sums = until[place - base]
                sums[0], sums[1], sums[2], sums[3], sums[4] = x, y, xx, yy, xy
            x, y, xx, yy, xy = 0.0, 0.0, 0.0, 0.0, 0.0
        count, sums = float(t + 1 - low), until[low - base]
        if count < fewest:
            out[t] = math.nan
        elif kind == MEAN:
            out[t] = values[anchor] + (sums[1] + y) / count
        else:
            out[t] = _line(count, sums[0] + x, sums[1] + y, sums[2] + xx, sums[3] + yy, sums[4] + xy, kind)


@njit(cache=True, nogil=True, error_model="numpy")
def _total(stamps: Integers, values: Floats, span: int, out: Floats) -> None:
    """In the order of time: the window's first place, the sum with the new value or from a new anchor on, the answer."""
    until = np.empty(len(stamps))
    low, base, boundary, running = 0, 0, 0, 0.0
    for t in range(len(stamps)):
        edge = stamps[t] - span
        while stamps[low] <= edge:
            low += 1
        if low < boundary:
            running += values[t]
        else:
            base, boundary, running = low, t + 1, 0.0
            for place in range(t, low - 1, -1):
                running += values[place]
                until[place - base] = running
            running = 0.0
        out[t] = until[low - base] + running


@njit(cache=True, nogil=True, error_model="numpy")
def _hysteresis(values: Floats, enter: float, leave: float, out: Floats) -> None:
    """In the order of time."""
    state = math.nan
    for t in range(len(values)):
        if values[t] >= enter:
            state = 1.0
        elif values[t] < leave or (values[t] == values[t] and state != state):
            state = 0.0
        out[t] = state


@njit(nogil=True, error_model="numpy")
def _line(count: float, x: float, y: float, xx: float, yy: float, xy: float, kind: int) -> float:
    """The slope, or its t-value, from sums of time and value around any place."""
    in_time, in_value, together = xx - x * x / count, yy - y * y / count, xy - x * y / count
    if kind == SLOPE:
        return together / in_time
    if not in_value > 0.0:
        return math.nan
    correlation = together / math.sqrt(in_time) / math.sqrt(in_value)
    return correlation * math.sqrt((count - 2.0) / max(1.0 - correlation * correlation, PERFECT))


# ---------------------------------------------------------------- order


@njit(cache=True, nogil=True, error_model="numpy")
def _rank_by_counting(stamps: Integers, values: Floats, span: int, fewest: int, out: Floats) -> None:
    """All values of each window are compared with the newest, several at once."""
    low = 0
    for t in range(len(stamps)):
        edge = stamps[t] - span
        while stamps[low] <= edge:
            low += 1
        less, equal = _compared(values[low : t + 1], values[t])
        count = t + 1 - low
        out[t] = (less + 0.5 * (equal + 1)) / count if count >= fewest else math.nan


@njit(nogil=True, error_model="numpy")
def _compared(values: Floats, value: float) -> tuple[int, int]:
    """How many are less, and how many equal."""
    less, equal = 0, 0
    for i in range(len(values)):
        less += 1 if values[i] < value else 0
        equal += 1 if values[i] == value else 0
    return less, equal


@njit(cache=True, nogil=True, error_model="numpy")
def _rank_by_order(stamps: Integers, values: Floats, order: Integers, span: int, fewest: int, out: Floats) -> None:
    """The window is a set of places in the order of all values: a bit a place, and a Fenwick tree of how many bits each word of 64 has.

    In the order of time: places that leave the window, the new place, the counts below the first and the last place of equal values. The order of all values
    only names the places: how many of the window stand below one depends on the window alone.
    """
    places = _places(values, order)
    bits = np.zeros(len(order) // 64 + 2, np.uint64)
    tree = np.zeros(len(bits), np.int64)
    low = 0
    for t in range(len(stamps)):
        edge = stamps[t] - span
        while stamps[low] <= edge:
            _toggle(bits, tree, places[low, 0], -1)
            low += 1
        _toggle(bits, tree, places[t, 0], 1)
        count = t + 1 - low
        less, equal = _below(bits, tree, places[t, 1]), 1
        if places[t, 2] > places[t, 1] + 1:
            equal = _below(bits, tree, places[t, 2]) - less
        out[t] = (less + 0.5 * (equal + 1)) / count if count >= fewest else math.nan


@njit(nogil=True, error_model="numpy")
def _places(values: Floats, order: Integers) -> npt.NDArray[np.int32]:
    """Of each value its own place in the order, the first place of those equal to it, and the one after the last. [value, 3]"""
    places = np.empty((len(order), 3), np.int32)
    first = 0
    while first < len(order):
        after = first + 1
        while after < len(order) and values[order[after]] == values[order[first]]:
            after += 1
        for place in range(first, after):
            of = places[order[place]]
            of[0], of[1], of[2] = place, first, after
        first = after
    return places


@njit(nogil=True, error_model="numpy")
def _toggle(bits: npt.NDArray[np.uint64], tree: Integers, place: int, change: int) -> None:
    """A place enters or leaves the set."""
    word = place >> 6
    bits[word] ^= ONE << np.uint64(place & 63)
    word += 1
    while word < len(tree):
        tree[word] += change
        word += word & -word


@njit(nogil=True, error_model="numpy")
def _below(bits: npt.NDArray[np.uint64], tree: Integers, place: int) -> int:
    """How many of the set stand below a place."""
    word = place >> 6
    count: int = _ones(bits[word] & ((ONE << np.uint64(place & 63)) - ONE))
    while word > 0:
        count += tree[word]
        word &= word - 1
    return count


PAIRS, FOURS, EIGHTS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
SHIFTS = tuple(np.uint64(1 << power) for power in range(6))
LOW_BYTE = np.uint64(0x7F)


@njit(nogil=True, error_model="numpy")
def _ones(word: Index) -> Any:
    """How many bits are set: pairs of bits are added, then fours, eights and so on; the compiler knows the pattern."""
    word = word - ((word >> SHIFTS[0]) & PAIRS)
    word = (word & FOURS) + ((word >> SHIFTS[1]) & FOURS)
    word = (word + (word >> SHIFTS[2])) & EIGHTS
    word = word + (word >> SHIFTS[3])
    word = word + (word >> SHIFTS[4])
    word = word + (word >> SHIFTS[5])
    return np.int64(word & LOW_BYTE)


# ---------------------------------------------------------------- extremes


@njit(cache=True, nogil=True, error_model="numpy")
def _breakout(stamps: Integers, values: Floats, span: int, out: Floats) -> None:
    """In the order of time: the window's first place, highest and lowest from there to the boundary and after it, the answer; then the new value joins."""
    until_high, until_low = np.empty(len(stamps)), np.empty(len(stamps))
    low, base, boundary = 0, 0, 0
    highest, lowest = -math.inf, math.inf
    for t in range(len(stamps)):
        edge = stamps[t] - span
        while stamps[low] <= edge:
            low += 1
        if low >= boundary:
            base, boundary = low, t
            highest, lowest = -math.inf, math.inf
            for place in range(t - 1, low - 1, -1):
                highest, lowest = max(highest, values[place]), min(lowest, values[place])
                until_high[place - base], until_low[place - base] = highest, lowest
            highest, lowest = -math.inf, math.inf
        value = values[t]
        if low == t:
            out[t] = math.nan
        elif value > max(highest, until_high[low - base]):
            out[t] = 1.0
        else:
            out[t] = -1.0 if value < min(lowest, until_low[low - base]) else 0.0
        highest, lowest = max(highest, value), min(lowest, value)
