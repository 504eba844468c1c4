"""The term structure against a loop over the contracts of each bar, by hand, at its ends, and locked by the contracts it stands on."""

from itertools import pairwise
from math import exp, isnan, log, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markets import FAR, FAR_EXPIRY, NEAR, NEAR_EXPIRY, SPOT, START, bars, ether, instrument, load, only, times

from backtest.curve import annualized_premium
from backtest.curve.term_structure import FARTHEST, Shape, constant_maturity, term_curvature, term_shape, term_slope
from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.instruments import Kind
from backtest.market import Market

LATE, LATE_EXPIRY = "ETHUSDT-240628", pd.Timestamp("2024-06-28T08:00Z").as_unit("ns")
EXPIRY = {NEAR: NEAR_EXPIRY, FAR: FAR_EXPIRY, LATE: LATE_EXPIRY}
DAY = pd.Timedelta(days=1)


def curved() -> Tables:
    """The small market with a third future, listed in the middle, and with missing bars of spot and futures."""
    tables = ether()
    tables.instruments.append(instrument(LATE, Kind.FUTURE, LATE_EXPIRY))
    tables.bars[LATE] = bars(tables.bars[SPOT]["close"].iloc[100:] * 0.97, pd.DatetimeIndex(tables.bars[SPOT].index[100:]))
    for name, gone in ((SPOT, [20, 50]), (NEAR, [30, 31]), (FAR, [31, 32, 160]), (LATE, [60, 61])):
        tables.bars[name] = tables.bars[name].drop(tables.bars[name].index[gone])
    return tables


def quarters(tmp_path: Path, prices: dict[float, float], spot: float = 2000.0) -> Market:
    """Two bars of a spot and of futures with so many days left at the second."""
    index = times(START - pd.Timedelta(hours=1), 2)
    tables = Tables(instruments=[instrument(SPOT, Kind.SPOT)], bars={SPOT: bars([spot, spot], index)})
    for days, price in prices.items():
        expiry = START + pd.Timedelta(days=days)
        name = f"ETHUSDT-{expiry:%y%m%d}"
        tables.instruments.append(instrument(name, Kind.FUTURE, expiry))
        tables.bars[name] = bars([price, price], index)
    return load(tmp_path, tables)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("term"), curved())


def points(tables: Tables, time: pd.Timestamp) -> list[tuple[float, float]]:
    """Days and ln(F/S) of the contracts with a bar and at least a day left, nearest first."""
    found = []
    for name, expiry in EXPIRY.items():
        frame, spot, days = tables.bars.get(name), tables.bars[SPOT], (expiry - time) / DAY
        if frame is not None and time in frame.index and time in spot.index and days >= 1:
            found.append((days, log(frame["close"].loc[time] / spot["close"].loc[time])))
    return sorted(found)


def naive_log(known: list[tuple[float, float]], tenor: float) -> float:
    """ln(F/S) at a tenor: on the line between its neighbours, the spot being at 0; beyond the farthest on the line from the spot through it."""
    if not known or tenor > 2 * known[-1][0]:
        return nan
    corners = [(0.0, 0.0), *known]
    for (low, at_low), (high, at_high) in pairwise(corners):
        if low < tenor <= high:
            return at_low + (at_high - at_low) * (tenor - low) / (high - low)
    return known[-1][1] * tenor / known[-1][0]


def naive_slope(known: list[tuple[float, float]], near: float, far: float) -> float:
    return (naive_log(known, far) - naive_log(known, near)) / ((far - near) / 365)


@pytest.mark.parametrize("days", [0.5, 2.0, 4.0, 15.0, 24.5, 30.0, 45.0, 60.0, 90.0, 116.0, 200.0, 228.0])
def test_constant_maturity_is_linear_in_the_log_of_the_price_ratio(market: Market, days: float) -> None:
    logs = [naive_log(points(curved(), time), days) for time in market.clock]
    continuous = constant_maturity(market, days=days, compounding="continuous")
    np.testing.assert_allclose(continuous, [value * 365 / days for value in logs], rtol=1e-9, atol=1e-12)
    simple = [(exp(value) - 1) * 365 / days for value in logs]
    np.testing.assert_allclose(constant_maturity(market, days=days), simple, rtol=1e-9, atol=1e-12)
    assert not np.isnan(simple).all()


def test_at_a_contracts_own_days_it_is_the_contracts_premium(market: Market) -> None:
    """A quarter that has exactly 24 days left is the 24-day premium, whatever the others do."""
    at = int(market.clock.get_loc(FAR_EXPIRY - 24 * DAY))
    assert constant_maturity(market, days=24)[at] == pytest.approx(annualized_premium(market)[1, at], rel=1e-12)


def test_it_is_locked_by_the_contracts_next_to_it(tmp_path: Path) -> None:
    """Spot 2000, 10 days 2010, 40 days 2060: at 30 days ln(F/S) = (ln 1.005 + 2·ln 1.03)/3, F = 2043.197, 26.28 % a year."""
    market = quarters(tmp_path, {10.0: 2010.0, 40.0: 2060.0})
    ratio = (1.005 * 1.03**2) ** (1 / 3)
    assert constant_maturity(market)[-1] == pytest.approx((ratio - 1) * 365 / 30, rel=1e-12)
    assert 2000 * ratio == pytest.approx(2043.1966, abs=1e-3)
    assert constant_maturity(market, days=5)[-1] == pytest.approx((1.005**0.5 - 1) * 73, rel=1e-12), "below the nearest its rate"
    assert constant_maturity(market, days=80)[-1] == pytest.approx((1.03**2 - 1) * 365 / 80, rel=1e-12), "above the farthest its rate"
    assert isnan(constant_maturity(market, days=80.01)[-1]), "up to twice its days"
    assert FARTHEST == 2.0


# ---------------------------------------------------------------- slope, curvature, shape


@pytest.mark.parametrize(("near", "far"), [(30.0, 90.0), (2.0, 24.0), (15.0, 55.0), (40.0, 150.0)])
def test_slope_is_the_forward_premium_between_two_tenors(market: Market, near: float, far: float) -> None:
    expected = [naive_slope(points(curved(), time), near, far) for time in market.clock]
    np.testing.assert_allclose(term_slope(market, near=near, far=far), expected, rtol=1e-8, atol=1e-11)
    assert not np.isnan(expected).all()


@pytest.mark.parametrize("tenors", [(30.0, 90.0, 180.0), (2.0, 10.0, 24.0), (3.0, 20.0, 50.0)])
def test_curvature_is_the_change_of_the_slope_and_needs_two_contracts(market: Market, tenors: tuple[float, float, float]) -> None:
    near, middle, far = tenors
    expected = []
    for time in market.clock:
        known = points(curved(), time)
        expected.append(naive_slope(known, middle, far) - naive_slope(known, near, middle) if len(known) > 1 else nan)
    found = term_curvature(market, near=near, middle=middle, far=far)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    assert isnan(found[30]), "the nearest has no bar there"
    assert not np.isnan(found).all()


def test_shape_is_named_by_the_slope(market: Market) -> None:
    expected = []
    for time in market.clock:
        slope = naive_slope(points(curved(), time), 30.0, 90.0)
        expected.append(nan if isnan(slope) else 1.0 if slope >= 0.15 else -1.0 if slope < 0.0 else 0.0)
    np.testing.assert_array_equal(term_shape(market), expected)
    assert {*expected} >= {-1.0}


@pytest.mark.parametrize(("far", "shape"), [(2100.0, Shape.STEEP), (2020.0, Shape.FLAT), (2011.0, Shape.FLAT), (2000.0, Shape.INVERTED)])
def test_steep_flat_and_inverted_by_hand(tmp_path: Path, far: float, shape: Shape) -> None:
    """From 2010 at 30 days to 2100 at 90: ln(2100/2010)·365/60 = 26.6 % a year; to 2020 3 %; to 2011 0.3 %; to 2000 −3 %."""
    market = quarters(tmp_path, {30.0: 2010.0, 90.0: far})
    assert term_shape(market)[-1] == shape
    assert term_slope(market)[-1] == pytest.approx(log(far / 2010.0) * 365 / 60, abs=1e-12)
    slope = log(far / 2010.0) * 365 / 60
    assert term_shape(market, steep=slope + 0.01, inverted=slope + 0.005)[-1] == Shape.INVERTED
    assert term_shape(market, steep=slope - 0.01, inverted=-9.0)[-1] == Shape.STEEP


# ---------------------------------------------------------------- the edges


def test_one_maturity_is_a_line_from_the_spot(tmp_path: Path) -> None:
    market = quarters(tmp_path, {50.0: 2040.0})
    rate = log(1.02) * 365 / 50
    for days in (1, 30, 50, 100):
        assert constant_maturity(market, days=days, compounding="continuous")[-1] == pytest.approx(rate, rel=1e-12)
    assert term_slope(market)[-1] == pytest.approx(rate, rel=1e-11), "its slope is its own rate"
    assert isnan(term_curvature(market, near=10, middle=20, far=90)[-1]), "it bends nothing"
    assert term_shape(market)[-1] == Shape.FLAT


def test_an_expiry_within_a_day_is_no_point_of_the_curve(tmp_path: Path) -> None:
    market = quarters(tmp_path, {1.0 - 1 / 86400: 2500.0, 40.0: 2060.0})
    assert constant_maturity(market, days=1)[-1] == pytest.approx((1.03 ** (1 / 40) - 1) * 365, rel=1e-10)
    market = quarters(tmp_path, {0.0: 2500.0})
    assert isnan(constant_maturity(market)[-1])
    assert isnan(term_slope(market)[-1])
    assert isnan(term_shape(market)[-1])


def test_without_contracts_or_spot_at_a_bar_it_is_unknown_and_without_futures_refused(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, FAR)
    tables.bars[FAR] = tables.bars[FAR].drop(tables.bars[FAR].index[[5]])
    tables.bars[SPOT] = tables.bars[SPOT].drop(tables.bars[SPOT].index[[9]])
    market = load(tmp_path, tables)
    for found in (constant_maturity(market), term_slope(market, near=5, far=30)):
        assert np.flatnonzero(np.isnan(found))[:2].tolist() == [5, 9]
    with pytest.raises(DataError, match=r"^the rule needs dated futures and the dataset test has none"):
        constant_maturity(load(tmp_path, only(ether(), SPOT)))


def test_refusals(market: Market) -> None:
    for days in (0.0, -3.0):
        with pytest.raises(ParameterError, match=r"^days must be above 0: days="):
            constant_maturity(market, days=days)
    with pytest.raises(ParameterError, match=r"^compounding must be one of simple, continuous: compounding=yearly$"):
        constant_maturity(market, compounding="yearly")
    with pytest.raises(ParameterError, match=r"^near must be below far: near=90, far=30$"):
        term_slope(market, near=90.0, far=30.0)
    with pytest.raises(ParameterError, match=r"^near must be above 0: near=0$"):
        term_slope(market, near=0.0)
    with pytest.raises(ParameterError, match=r"^middle must be below far: middle=90, far=90$"):
        term_curvature(market, far=90.0)
    with pytest.raises(ParameterError, match=r"^near must be below middle: near=90, middle=90$"):
        term_curvature(market, near=90.0)
    with pytest.raises(ParameterError, match=r"^inverted must be below steep: inverted=0.2, steep=0.15$"):
        term_shape(market, inverted=0.2)
    with pytest.raises(ParameterError, match=r"^steep must be a finite number: steep=nan$"):
        term_shape(market, steep=nan)
    with pytest.raises(ParameterError, match=r"^an annualized premium needs a dated contract: ETHUSDT-PERP"):
        constant_maturity(market, market.perpetual)


def test_the_same_question_has_the_same_answer(market: Market) -> None:
    assert constant_maturity(market, days=30) is constant_maturity(market, market.future_chain(), market.spot, days=30.0)
    assert constant_maturity(market, days=30) is not constant_maturity(market, days=31)
    assert term_slope(market) is term_slope(market)
    assert term_curvature(market) is term_curvature(market)
    assert term_shape(market) is term_shape(market, steep=0.15)


def test_a_contract_that_never_trades_is_no_point_of_the_curve(tmp_path: Path) -> None:
    """Its close stands where nobody buys or sells; without it the curve is the other contract's line."""
    tables = ether()
    tables.bars[FAR] = bars(np.full(len(tables.bars[FAR]), 4000.0), pd.DatetimeIndex(tables.bars[FAR].index), volume=0.0)
    found = load(tmp_path / "both", tables)
    alone = load(tmp_path / "alone", only(tables, SPOT, NEAR))
    np.testing.assert_array_equal(constant_maturity(found, days=5), constant_maturity(alone, days=5))
    assert np.isnan(term_curvature(found, near=1, middle=2, far=3)).all(), "one contract bends no curve"
    assert not np.isnan(term_slope(found, near=1, far=3)).all()
