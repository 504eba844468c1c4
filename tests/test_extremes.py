"""Z-score and percentile of a market's arrays against loops, with their minimum history, gaps and shapes."""

from math import isnan, nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import FAR, NEAR, NEAR_EXPIRY, PERP, SPOT, ether, load, only

from backtest.curve import annualized_premium, premium
from backtest.errors import ParameterError
from backtest.market import Market
from backtest.signals.extremes import FEWEST, percentile, zscore

HOUR = pd.Timedelta("1h")


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    """Hourly bars with 22 hours missing in the middle and a few hours here and there."""
    tables = ether()
    for name, frame in tables.bars.items():
        tables.bars[name] = frame.drop(frame.index[[7, 8, 40, 90, *range(100, min(122, len(frame)))]])
    return load(tmp_path_factory.mktemp("extremes"), tables)


def holed(market: Market, seed: int = 1) -> Any:
    """Values with ties, unknown here and there and for the first hours."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=len(market)).round(1)
    values[draw.random(len(market)) < 0.15] = nan
    values[:9] = nan
    return values


def naive(market: Market, values: Any, kind: str, window: str | None, history: str) -> list[float]:
    """Bar by bar from the definition."""
    times = list(market.clock)
    known = [time for time, value in zip(times, values, strict=True) if not isnan(value)]
    answers = []
    for now, value in zip(times, values, strict=True):
        inside = [
            float(other)
            for time, other in zip(times, values, strict=True)
            if time <= now and not isnan(other) and (window is None or now - pd.Timedelta(window) < time)
        ]
        if isnan(value) or len(inside) < FEWEST or now - (known[0] - HOUR) < pd.Timedelta(history):
            answers.append(nan)
        elif kind == "percentile":
            answers.append((sum(other < value for other in inside) + (sum(other == value for other in inside) + 1) / 2) / len(inside))
        else:
            mean = sum(inside) / len(inside)
            deviation = sqrt(sum((other - mean) ** 2 for other in inside) / (len(inside) - 1))
            answers.append((value - mean) / deviation if deviation else nan)
    return answers


CASES = [("1D", None), ("3D", None), ("36h", "5h"), ("2D", "4D"), (None, None), (None, "1D"), ("30D", "1D"), ("4h", None)]


@pytest.mark.parametrize(("window", "history"), CASES)
def test_they_are_their_formulas_bar_by_bar(market: Market, window: str | None, history: str | None) -> None:
    values = holed(market)
    for kind, function in (("zscore", zscore), ("percentile", percentile)):
        expected = naive(market, values, kind, window, history or window or "30D")
        np.testing.assert_allclose(function(market, values, window, history), expected, rtol=1e-11, atol=1e-13)
        assert (not np.isnan(expected).all()) == ((window, history) not in ((None, None), ("4h", None))), "the others have answers"


def test_minimum_history_counts_from_the_beginning_of_the_first_known_bar(market: Market) -> None:
    values = np.arange(len(market), dtype=float)
    values[:5] = nan
    for function in (zscore, percentile):
        known = market.clock[~np.isnan(function(market, values, "1D"))]
        assert known[0] == market.clock[5] - HOUR + pd.Timedelta("1D")
        known = market.clock[~np.isnan(function(market, values, "1D", "2D 1h"))]
        assert known[0] == market.clock[5] - HOUR + pd.Timedelta("2D 1h")
        known = market.clock[~np.isnan(function(market, values, "1D", "1h"))]
        assert known[0] == market.clock[5 + FEWEST - 1], "never with fewer than the fewest values"
        assert np.isnan(function(market, values, None)).all(), "all history needs thirty days"


def test_a_table_has_a_row_a_contract(market: Market) -> None:
    table = annualized_premium(market)
    for function in (zscore, percentile):
        found = function(market, table, "1D")
        assert found.shape == table.shape
        assert found.dtype == np.float64
        for row, answer in zip(table, found, strict=True):
            np.testing.assert_array_equal(answer, function(market, row, "1D"))
            assert (~np.isnan(answer)).sum() > 40
        assert np.isnan(found[0, market.clock > NEAR_EXPIRY - pd.Timedelta("1D")]).all(), "no rank of a contract that has no premium"


def test_a_constant_has_a_middle_rank_and_no_zscore(market: Market) -> None:
    values = np.full(len(market), 0.1)
    assert np.isnan(zscore(market, values, "1D")).all()
    ranks = percentile(market, values, "1D")
    full = ~np.isnan(ranks)
    counts = pd.Series(values, index=market.clock).rolling("1D").count().to_numpy()
    np.testing.assert_allclose(ranks[full], ((counts + 1) / 2 / counts)[full], rtol=1e-15)
    assert full.sum() > 100


def test_what_is_never_known_has_no_answer(market: Market, tmp_path: Path) -> None:
    unknown = np.full((2, len(market)), nan)
    for function in (zscore, percentile):
        assert np.isnan(function(market, unknown, "1D")).all()
        assert np.isnan(function(market, unknown[0], None, "1h")).all()
    tables = only(ether(), SPOT, NEAR, FAR)
    tables.bars[FAR] = tables.bars[FAR].iloc[:3]
    short = load(tmp_path, tables)
    assert np.isnan(percentile(short, premium(short), "1D")[1]).all(), "a contract with three bars only"


def test_the_highest_is_one_and_the_lowest_near_zero(market: Market) -> None:
    rising = np.arange(len(market), dtype=float)
    highest, lowest = percentile(market, rising, "1D"), percentile(market, -rising, "1D")
    counts = pd.Series(rising, index=market.clock).rolling("1D").count().to_numpy()
    known = ~np.isnan(highest)
    np.testing.assert_array_equal(highest[known], np.ones(known.sum()))
    np.testing.assert_allclose(lowest[known], 1 / counts[known], rtol=1e-15)


@pytest.mark.parametrize("function", [zscore, percentile])
def test_one_question_has_one_answer(market: Market, function: Any) -> None:
    values = premium(market, market.perpetual)
    assert function(market, values, "1D") is function(market, values, window="24h")
    assert function(market, values, "1D") is not function(market, values, "1D", "2D")
    assert function(market, values, None, "1D") is function(market, values, window=None, min_history="24h")
    assert PERP in market.instruments
    with pytest.raises(ValueError, match="read-only"):
        function(market, values, "1D")[...] = 0.0


@pytest.mark.parametrize("function", [zscore, percentile])
def test_refusals(market: Market, function: Any) -> None:
    values = np.zeros(len(market))
    with pytest.raises(ParameterError, match=r"^window must be longer than zero: window='0h'"):
        function(market, values, "0h")
    with pytest.raises(ParameterError, match=r"^min_history must be a duration like"):
        function(market, values, "1D", "long")
    with pytest.raises(ParameterError, match=r"^values must have one value a bar"):
        function(market, values[1:])
