"""Spreads, depths and illiquidity against loops written from their formulas; what the data lack at some bars, and altogether."""

from math import isnan, nan
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
from markets import BARS, FAR, HOUR, LAST, NEAR, NEAR_EXPIRY, PERP, SPOT, START, ether, load, only, series, times

from backtest.data.schema import Tables
from backtest.errors import DataError
from backtest.market import Market
from backtest.signals.liquidity import depth, illiquidity, spread

SPREADS, DEPTH_50, DEPTH_10 = (f"{{}}.{name}" for name in ("spread", "depth_50bps", "depth_10bps"))


def quoted(seed: int = 4) -> Tables:
    """The small market with books: the perpetual by columns, the near future by quotes and series, the far one by quotes and the narrow depth alone."""
    tables, random = ether(), np.random.default_rng(seed)
    for name in (SPOT, PERP, NEAR, FAR):
        frame = tables.bars[name]
        half = frame["close"] * 0.0001 * random.lognormal(0.0, 0.5, len(frame))
        tables.bars[name] = frame.assign(bid=frame["close"] - half, ask=frame["close"] + half)
    count = len(tables.bars[PERP])
    tables.bars[PERP] = tables.bars[PERP].assign(
        spread=np.where(random.random(count) < 0.3, nan, 0.0001 * random.lognormal(0.0, 0.5, count)),
        depth_50bps=np.where(random.random(count) < 0.2, nan, np.floor(1e6 * random.lognormal(0.0, 0.5, count))),
        depth_10bps=1.0,
    )
    tables.bars[PERP].iloc[30:35, tables.bars[PERP].columns.get_indexer(["bid", "ask"])] = nan
    tables.bars[FAR] = tables.bars[FAR].assign(depth_10bps=np.floor(1e5 * random.lognormal(0.0, 0.5, len(tables.bars[FAR]))))
    tables.bars[PERP] = tables.bars[PERP].drop(tables.bars[PERP].index[70:75])
    hours = times(START + 10 * HOUR, 31, "6h")
    tables.series[SPREADS.format(NEAR)] = series(hours, 0.0001 * random.lognormal(0.0, 0.5, 31), "90min")
    tables.series[DEPTH_50.format(NEAR)] = series(hours, np.floor(1e6 * random.lognormal(0.0, 0.5, 31)), "90min")
    tables.series[DEPTH_50.format(PERP)] = series(hours[:2], [3e6, 4e6])
    return tables


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("liquidity"), quoted())


# ---------------------------------------------------------------- the formulas, slowly


def bar_value(tables: Tables, name: str, column: str, time: pd.Timestamp) -> float:
    frame = tables.bars[name]
    return float(frame[column].loc[time]) if column in frame and time in frame.index else nan


def series_value(tables: Tables, name: str, time: pd.Timestamp) -> float:
    """The newest value known at a time."""
    if name not in tables.series:
        return nan
    known = [row for row in tables.series[name].itertuples() if row.known_at <= time]
    return float(known[-1].value) if known else nan


def first_known(*values: float) -> float:
    return next((value for value in values if not isnan(value)), nan)


def naive_spread(tables: Tables, name: str, time: pd.Timestamp) -> float:
    if name == NEAR and time > NEAR_EXPIRY:
        return nan
    bid, ask = (bar_value(tables, name, column, time) for column in ("bid", "ask"))
    return first_known(
        bar_value(tables, name, "spread", time), series_value(tables, SPREADS.format(name), time), (ask - bid) / ((bid + ask) / 2.0)
    )


def naive_depth(tables: Tables, name: str, time: pd.Timestamp) -> float:
    if name == NEAR and time > NEAR_EXPIRY:
        return nan
    if "depth_50bps" in tables.bars[name] or DEPTH_50.format(name) in tables.series:
        return first_known(bar_value(tables, name, "depth_50bps", time), series_value(tables, DEPTH_50.format(name), time))
    return first_known(bar_value(tables, name, "depth_10bps", time), series_value(tables, DEPTH_10.format(name), time))


def naive_rank(clock: pd.DatetimeIndex, values: list[float], window: pd.Timedelta) -> list[float]:
    """(less + (equal + 1)/2)/count of the window; NaN until the first known value's bar began a window ago, and with fewer than five values."""
    first = next((time for time, value in zip(clock, values, strict=True) if not isnan(value)), LAST) - HOUR
    out = []
    for time, value in zip(clock, values, strict=True):
        inside = [old for at, old in zip(clock, values, strict=True) if time - window < at <= time and not isnan(old)]
        less, equal = sum(old < value for old in inside), sum(old == value for old in inside)
        known = not isnan(value) and time - window >= first and len(inside) >= 5
        out.append((less + (equal + 1) / 2) / len(inside) if known else nan)
    return out


# ---------------------------------------------------------------- spread and depth


def test_spread_is_the_bars_mean_else_the_series_else_of_the_quotes(market: Market) -> None:
    tables = quoted()
    for leg in (market.perpetual, market.spot, market.future_chain()):
        expected = [[naive_spread(tables, name, time) for time in market.clock] for name in leg.contracts]
        np.testing.assert_allclose(spread(market, leg), expected, rtol=1e-10)
    perpetual = spread(market)[0]
    assert np.isnan(perpetual[70:75]).all(), "it has no bars there"
    assert 0 < np.isnan(perpetual[30:35]).sum() < 5, "no quotes there, and not always a mean"
    assert not np.isnan(np.delete(perpetual, [*range(30, 35), *range(70, 75)])).any()


def test_depth_is_that_within_50_bps_else_within_10(market: Market) -> None:
    tables = quoted()
    for leg in (market.perpetual, market.future_chain()):
        expected = [[naive_depth(tables, name, time) for time in market.clock] for name in leg.contracts]
        np.testing.assert_array_equal(depth(market, leg), expected)
    assert 1.0 not in depth(market), "the perpetual has the wider depth: the narrow one would be another measure"
    assert (depth(market, market.leg(FAR)) > 1e3).all()


def test_a_series_says_nothing_of_an_expired_contract(market: Market) -> None:
    over = market.clock > NEAR_EXPIRY
    for table in (spread(market, market.future_chain()), depth(market, market.future_chain())):
        assert np.isnan(table[0, over]).all()
        assert not np.isnan(table[0, ~over][12:]).any()
        assert not np.isnan(table[1]).any()


def test_a_contract_without_a_book_has_none_beside_one_that_has(tmp_path: Path) -> None:
    tables = quoted()
    tables.bars[FAR] = tables.bars[FAR].drop(columns=["bid", "ask", "depth_10bps"])
    market = load(tmp_path, tables)
    for table in (spread(market, market.future_chain()), depth(market, market.future_chain())):
        assert np.isnan(table[1]).all()
        assert not np.isnan(table[0]).all()
    one = illiquidity(market, market.future_chain(), "2D")
    np.testing.assert_array_equal(one, illiquidity(market, market.leg(NEAR), "2D"))


# ---------------------------------------------------------------- illiquidity


@pytest.mark.parametrize("window", ["1D", "70h"])
def test_illiquidity_is_the_worse_rank_of_spread_and_depth_over_the_contracts(market: Market, window: str) -> None:
    tables = quoted()
    for leg in (market.perpetual, market.future_chain(), market.spot):
        each = []
        for name in leg.contracts:
            wide = naive_rank(market.clock, [naive_spread(tables, name, time) for time in market.clock], pd.Timedelta(window))
            thick = naive_rank(market.clock, [naive_depth(tables, name, time) for time in market.clock], pd.Timedelta(window))
            known = [[rank for rank in (one, 1.0 - other) if not isnan(rank)] for one, other in zip(wide, thick, strict=True)]
            each.append([max(ranks) if ranks else nan for ranks in known])
        ranks = [[rank for rank in column if not isnan(rank)] for column in zip(*each, strict=True)]
        expected = [fmean(rank) if rank else nan for rank in ranks]
        found = illiquidity(market, leg, window)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert not np.isnan(found[100:]).any()


HOURS = np.arange(1.0, BARS + 1.0)


@pytest.mark.parametrize(
    ("columns", "level"),
    [
        ({"spread": 1e-6 * HOURS}, 1.0),
        ({"depth_10bps": 1e6 / HOURS}, 1.0 - 1.0 / 24.0),
        ({"spread": np.full(BARS, 1e-4)}, 12.5 / 24.0),
        ({"depth_50bps": np.full(BARS, 1e6)}, 11.5 / 24.0),
        ({"spread": 1e-6 * HOURS, "depth_50bps": 1e6 * HOURS}, 1.0),
        ({"spread": 1e-6 / HOURS, "depth_50bps": 1e6 / HOURS}, 1.0 - 1.0 / 24.0),
        ({"spread": 1e-6 / HOURS, "depth_50bps": 1e6 * HOURS}, 1.0 / 24.0),
    ],
)
def test_illiquidity_works_with_one_of_both(tmp_path: Path, columns: dict[str, np.ndarray], level: float) -> None:
    """Spreads that widen are ever more illiquid, and so are depths that thin; what stands still stands in the middle of its history."""
    tables = ether()
    tables.bars[PERP] = tables.bars[PERP].assign(**columns)
    found = illiquidity(load(tmp_path, tables), window="1D")
    assert np.isnan(found[:23]).all()
    np.testing.assert_allclose(found[23:], level, rtol=1e-12)


# ---------------------------------------------------------------- refusals


def test_missing_books_are_named_with_the_remedy(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[PERP] = tables.bars[PERP].assign(bid=1900.0)  # one side is no quote
    tables.bars[SPOT] = tables.bars[SPOT].assign(ask=2100.0)
    market = load(tmp_path, tables)
    with pytest.raises(
        DataError, match=r"^ETHUSDT-PERP has no spread in dataset test; import bars with bid and ask, or with the column spread$"
    ):
        spread(market)
    with pytest.raises(DataError, match=r"^ETHUSDT-SPOT has no spread in dataset test"):
        spread(market, market.spot)
    with pytest.raises(
        DataError, match=r"^ETHUSDT-PERP has no depth in dataset test; import bars with the column depth_50bps or depth_10bps$"
    ):
        depth(market)
    with pytest.raises(
        DataError, match=r"^the chain ETHUSDT-240306 … ETHUSDT-240329 has no spread and no depth in dataset test; import bars with bid"
    ):
        illiquidity(market, market.future_chain())


def test_depth_is_in_the_currency_of_the_prices_from_a_series_as_from_a_column(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, PERP)
    hours = pd.DatetimeIndex(tables.bars[PERP].index)
    tables.series = {"USDTEUR": series(times(START - pd.Timedelta(days=1), 12, "D"), [0.5] * 12, "0h")}
    tables.bars[PERP]["depth_50bps"] = 1e6
    by_column = depth(load(tmp_path / "column", tables, currency="EUR"))
    tables.bars[PERP] = tables.bars[PERP].drop(columns="depth_50bps")
    tables.series[f"{PERP}.depth_50bps"] = series(hours, [1e6] * len(hours), "0h")
    by_series = depth(load(tmp_path / "series", tables, currency="EUR"))
    assert (by_column == 5e5).all()
    np.testing.assert_array_equal(by_series, by_column)
