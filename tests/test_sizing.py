"""Sizing factors and numbers by regime against loops written from their formulas; their kinks, their NaN, and what they refuse."""

from math import isnan, nan
from pathlib import Path

import numpy as np
import pytest
from markets import PERP, ether, load
from rich_market import rich

import backtest as bt
from backtest.errors import DataError, ParameterError
from backtest.market import Market


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("sizing"), rich())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("small"), ether())


def ramp(value: float, beyond: float, least: float) -> float:
    """1 up to beyond, then on the straight line through (beyond, 1) and (1, least)."""
    if isnan(value):
        return nan
    return 1.0 if value <= beyond else 1.0 + (value - beyond) * (least - 1.0) / (1.0 - beyond)


@pytest.mark.parametrize(("beyond", "least"), [(0.9, 0.25), (0.5, 0.0), (0.7, 1.0)])
def test_size_by_percentile_falls_at_both_ends_of_the_premiums_window(market: Market, beyond: float, least: float) -> None:
    levels = {
        "dated": (market.future_chain(), bt.constant_maturity(market)),
        "perpetual": (market.perpetual, bt.annualized_funding(market, window="1D")[0]),
    }
    for leg, level in levels.values():
        rank = bt.percentile(market, level, "180D")
        expected = [ramp(max(value, 1.0 - value) if not isnan(value) else nan, beyond, least) for value in rank]
        found = bt.size_by_percentile(market, leg, beyond=beyond, least=least)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        low, high = rank < 1.0 - beyond, rank > beyond
        assert low.any()
        assert high.any()
        assert least == 1.0 or (found[low] < 1.0).all()
        assert (found[~low & ~high & ~np.isnan(rank)] == 1.0).all()
        assert found[~np.isnan(found)].min() >= least
        assert np.isnan(found[:100]).all()


def test_size_by_volatility_is_target_over_realised_and_at_most_most(market: Market) -> None:
    volatility = bt.realised_volatility(market, window="30D")
    for most in (1.0, 1.5):
        target = most * float(np.nanmedian(volatility))
        expected = [nan if isnan(value) else min(most, target / value) for value in volatility]
        found = bt.size_by_volatility(market, target=target, most=most)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert (found == most).any()
        assert (found < most).any()


def test_where_nothing_moves_volatility_allows_the_most(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[PERP][["open", "high", "low", "close"]] = 2000.0
    market = load(tmp_path, tables)
    found = bt.size_by_volatility(market, market.perpetual, "2D", most=0.8)
    assert np.isnan(found[:47]).all()
    assert (found[48:] == 0.8).all()


def test_size_by_liquidity_falls_where_the_books_were_never_worse(market: Market) -> None:
    for leg in (market.perpetual, market.spot, market.future_chain()):
        scarce = bt.illiquidity(market, leg)
        expected = [ramp(value, 0.6, 0.1) for value in scarce]
        found = bt.size_by_liquidity(market, leg, beyond=0.6, least=0.1)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert (found < 0.5).any()
        assert (found == 1.0).any()


def test_numbers_by_regime_are_those_of_the_bar(market: Market) -> None:
    codes = bt.regime(market)
    numbers = {bt.Regime.CALM: 1e-4, bt.Regime.TRENDING: 2e-4, bt.Regime.STRESSED: 1e-3}
    expected = [nan if isnan(code) else numbers[bt.Regime(int(code))] for code in codes]
    named = {"calm": 1e-4, "trending": 2e-4, "stressed": 1e-3}
    np.testing.assert_array_equal(bt.by_regime(market, **named), expected)
    assert {*codes[~np.isnan(codes)].tolist()} == {0.0, 1.0, 2.0}
    assert np.isnan(codes).any()
    np.testing.assert_array_equal(bt.by_regime(market, **named, unknown=5.0), np.where(np.isnan(codes), 5.0, expected))


def test_factors_multiply_to_a_scale(market: Market) -> None:
    both = bt.size_by_volatility(market) * bt.size_by_percentile(market)
    assert both.shape == (len(market),)
    assert ((both > 0.0) & (both <= 1.0))[~np.isnan(both)].all()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda market: bt.size_by_percentile(market, market.spot), r"^a premium needs a future or a perpetual: leg=ETHUSDT-SPOT$"),
        (lambda market: bt.size_by_percentile(market, beyond=0.4), r"^beyond must be at least 0\.5: beyond=0\.4$"),
        (lambda market: bt.size_by_percentile(market, beyond=1.0), r"^beyond must be below 1: beyond=1$"),
        (lambda market: bt.size_by_percentile(market, least=1.5), r"^least must be at most 1: least=1\.5$"),
        (lambda market: bt.size_by_percentile(market, least=-0.1), r"^least must be at least 0: least=-0\.1$"),
        (lambda market: bt.size_by_volatility(market, target=0.0), r"^target must be above 0: target=0$"),
        (lambda market: bt.size_by_volatility(market, most=0.0), r"^most must be above 0: most=0$"),
        (lambda market: bt.size_by_volatility(market, market.future_chain()), r"^volatility is that of one instrument"),
        (lambda market: bt.size_by_liquidity(market, beyond=-0.1), r"^beyond must be at least 0: beyond=-0\.1$"),
        (lambda market: bt.by_regime(market, calm=nan), r"^calm must be a finite number: calm=nan$"),
    ],
)
def test_what_makes_no_sense_is_refused(market: Market, ask: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        ask(market)  # type: ignore[operator]


def test_a_leg_without_books_has_no_size_by_liquidity(small: Market) -> None:
    with pytest.raises(DataError, match=r"^ETHUSDT-PERP has no spread and no depth"):
        bt.size_by_liquidity(small)
