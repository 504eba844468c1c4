"""Averages, changes, breakouts and slopes of a market's arrays against loops written from their formulas."""

from math import isnan, nan, sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import ether, load

from backtest.curve import annualized_premium, premium
from backtest.errors import ParameterError
from backtest.market import Market
from backtest.signals.trend import breakout, change, crossing, moving_average, speed, trend_slope, trend_t

HOUR, DAY = pd.Timedelta("1h"), pd.Timedelta("1D")
FUNCTIONS = {function.__name__: function for function in (moving_average, change, speed, breakout, trend_slope, trend_t)}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    """Hourly bars with 22 hours missing in the middle and a few hours here and there."""
    tables = ether()
    for name, frame in tables.bars.items():
        tables.bars[name] = frame.drop(frame.index[[7, 8, 40, 90, *range(100, min(122, len(frame)))]])
    return load(tmp_path_factory.mktemp("trend"), tables)


def holed(market: Market) -> Any:
    """A wandering value of both signs, with ties, unknown here and there and for the first hours."""
    draw = np.random.default_rng(3)
    values = np.cumsum(draw.normal(size=len(market))).round(0) / 10.0
    values[draw.random(len(market)) < 0.15] = nan
    values[:9] = nan
    return values


# ---------------------------------------------------------------- naive


def naive(market: Market, values: Any, name: str, window: str) -> list[float]:
    """Bar by bar from the definition: NaN where the value is and until the window lies in the data."""
    times, length = list(market.clock), pd.Timedelta(window)
    first = next(time for time, value in zip(times, values, strict=True) if not isnan(value)) - HOUR
    answers = []
    for now, value in zip(times, values, strict=True):
        if isnan(value) or (name not in ("change", "speed") and now - length < first):
            answers.append(nan)
        elif name in ("change", "speed"):
            earlier = [(time, float(other)) for time, other in zip(times, values, strict=True) if time <= now - length]
            answers.append(naive_change(name, now, float(value), earlier))
        else:
            inside = [
                (time, float(other)) for time, other in zip(times, values, strict=True) if now - length < time <= now and not isnan(other)
            ]
            answers.append(naive_window(name, inside))
    return answers


def naive_change(name: str, now: pd.Timestamp, value: float, earlier: list[tuple[pd.Timestamp, float]]) -> float:
    if not earlier:
        return nan
    time, other = earlier[-1]
    return value - other if name == "change" else (abs(value) - abs(other)) / ((now - time) / DAY)


def naive_window(name: str, inside: list[tuple[pd.Timestamp, float]]) -> float:
    values = [value for _, value in inside]
    mean = sum(values) / len(values)
    if name == "moving_average":
        return mean
    if name == "breakout":
        *before, value = values
        return float((value > max(before)) - (value < min(before))) if before else nan
    if len(values) < 5:
        return nan
    days = [(time - inside[0][0]) / DAY for time, _ in inside]
    middle = sum(days) / len(days)
    xx = sum((x - middle) ** 2 for x in days)
    slope = sum((x - middle) * (y - mean) for x, y in zip(days, values, strict=True)) / xx
    if name == "trend_slope":
        return slope
    residual = sum((y - mean - slope * (x - middle)) ** 2 for x, y in zip(days, values, strict=True))
    return slope / sqrt(residual / (len(values) - 2) / xx) if len(set(values)) > 1 else nan


@pytest.mark.parametrize("window", ["1h", "5h", "1D", "36h", "3D", "30D"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_is_its_formula_bar_by_bar(market: Market, name: str, window: str) -> None:
    values = holed(market)
    expected = naive(market, values, name, window)
    np.testing.assert_allclose(FUNCTIONS[name](market, values, window), expected, rtol=1e-8, atol=1e-11)
    assert not np.isnan(expected).all() or window == "30D" or (window == "1h" and name not in ("moving_average", "change", "speed"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_table_has_a_row_a_contract(market: Market, name: str) -> None:
    table = annualized_premium(market)
    found = FUNCTIONS[name](market, table, "1D")
    assert found.shape == table.shape
    for row, answer in zip(table, found, strict=True):
        np.testing.assert_array_equal(answer, FUNCTIONS[name](market, row, "1D"))
        assert (~np.isnan(answer)).sum() > 30
    assert np.isnan(found[np.isnan(table)]).all()


@pytest.mark.parametrize("name", [*FUNCTIONS, "crossing"])
def test_what_is_never_known_has_no_answer(market: Market, name: str) -> None:
    function: Any = {**FUNCTIONS, "crossing": crossing}[name]
    assert np.isnan(function(market, np.full((1, len(market)), nan), "1D")).all()


# ---------------------------------------------------------------- each for itself


def test_a_window_lies_in_the_data_from_its_length_after_the_first_known_bar_on(market: Market) -> None:
    values = np.arange(len(market), dtype=float) ** 2
    values[:5] = nan
    for name in ("moving_average", "breakout", "trend_slope", "trend_t"):
        known = market.clock[~np.isnan(FUNCTIONS[name](market, values, "1D"))]
        assert known[0] == market.clock[5] - HOUR + DAY, name
    for name in ("change", "speed"):
        known = market.clock[~np.isnan(FUNCTIONS[name](market, values, "1D"))]
        assert known[0] == market.clock[5] + DAY, "there is a close a window ago an hour later only"


def test_crossing_is_the_fast_average_less_the_slow_one(market: Market) -> None:
    values = holed(market)
    expected = np.array(naive(market, values, "moving_average", "6h")) - np.array(naive(market, values, "moving_average", "2D"))
    np.testing.assert_allclose(crossing(market, values, "6h", "2D"), expected, rtol=1e-9, atol=1e-12)
    rising = crossing(market, np.arange(len(market), dtype=float), "6h", "2D")
    assert (rising[~np.isnan(rising)] > 0).all()
    for fast in ("2D", "3D"):
        with pytest.raises(ParameterError, match=r"^fast must be shorter than slow: fast=\d days 00:00:00, slow=2 days 00:00:00$"):
            crossing(market, values, fast, "48h")


def test_change_is_against_the_last_bar_a_window_ago(market: Market) -> None:
    """Bars are missing for 22 hours: in the first hours after them, the last bar 12 hours ago is the one before the gap."""
    values = np.arange(len(market), dtype=float)
    hours = np.diff(market.stamps) // HOUR.value
    after = int(np.argmax(hours > 20)) + 1
    found = change(market, values, "12h")
    assert found[after] == 1.0
    assert found[after + 5] == 6.0
    rate = speed(market, -values, "12h")
    assert rate[after] == pytest.approx(24.0 / hours[after - 1]), "per day that has passed between the two bars"
    assert rate[after - 1] == pytest.approx(11 / (12 / 24)), "one bar is missing in the twelve hours before the gap"


def test_speed_is_above_zero_where_a_premium_widens_on_either_side(market: Market) -> None:
    hours = (market.stamps - market.start) / HOUR.value
    for sign in (1.0, -1.0):
        widening, narrowing = speed(market, sign * 0.01 * hours, "1D"), speed(market, sign * (5.0 - 0.01 * hours), "1D")
        known = ~np.isnan(widening)
        np.testing.assert_allclose(widening[known], np.full(known.sum(), 0.24), rtol=1e-9)
        np.testing.assert_allclose(narrowing[known], np.full(known.sum(), -0.24), rtol=1e-9)


def test_a_breakout_is_beyond_all_before_it_and_equal_is_not_beyond(market: Market) -> None:
    values = np.zeros(len(market))
    values[60], values[61], values[62], values[70], values[71] = 1.0, 1.0, 2.0, -1.0, -1.0
    found = breakout(market, values, "1D")
    assert [found[bar] for bar in (59, 60, 61, 62, 63, 70, 71, 72)] == [0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0]


def test_a_slope_is_per_day_over_irregular_bars(market: Market) -> None:
    days = (market.stamps - market.start) / DAY.value
    found = trend_slope(market, 0.3 - 0.02 * days, "1D")
    known = ~np.isnan(found)
    np.testing.assert_allclose(found[known], np.full(known.sum(), -0.02), rtol=1e-10)
    assert known.sum() > 100


def test_the_t_value_of_a_perfect_line_is_finite_and_a_constant_has_none(market: Market) -> None:
    days = (market.stamps - market.start) / DAY.value
    found = trend_t(market, 0.02 * days, "1D")
    counts = pd.Series(days, index=market.clock).rolling("1D").count().to_numpy()
    known = ~np.isnan(found)
    np.testing.assert_allclose(found[known], 1e6 * np.sqrt(counts[known] - 2), rtol=1e-2)
    assert np.isnan(trend_t(market, np.full(len(market), 0.1), "1D")).all()
    flat = trend_slope(market, np.full(len(market), 0.1), "1D")
    np.testing.assert_array_equal(flat[~np.isnan(flat)], np.zeros((~np.isnan(flat)).sum()))


@pytest.mark.parametrize("name", [*FUNCTIONS, "crossing"])
def test_one_question_has_one_answer_that_nobody_can_write_into(market: Market, name: str) -> None:
    function: Any = {**FUNCTIONS, "crossing": crossing}[name]
    values = premium(market, market.perpetual)
    assert function(market, values, "1D") is function(market, values, "24h")
    assert function(market, values, "1D") is not function(market, values, "2D")
    with pytest.raises(ValueError, match="read-only"):
        function(market, values, "1D")[...] = 0.0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_refusals(market: Market, name: str) -> None:
    values = np.zeros(len(market))
    with pytest.raises(ParameterError, match=r"^window must be longer than zero: window='0h'"):
        FUNCTIONS[name](market, values, "0h")
    with pytest.raises(ParameterError, match=r'^window must be a duration like "7D": window=None$'):
        FUNCTIONS[name](market, values, None)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"^values must have one value a bar"):
        FUNCTIONS[name](market, values[1:])
