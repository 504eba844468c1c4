"""Quadrants, leverage and crowding against loops written from their formulas; what the data lack at some bars, and altogether."""

from math import isnan, log, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markets import BARS, FAR, FAR_EXPIRY, HOUR, NEAR, NEAR_EXPIRY, PERP, SPOT, START, bars, ether, load, only, series, times

from backtest.curve.basket import premium_indicator
from backtest.curve.term_structure import constant_maturity
from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.market import Market
from backtest.signals.confirmation import (
    Crowding,
    Quadrant,
    crowding,
    leverage_divergence,
    leverage_ratio,
    long_short_ratio,
    quadrant,
)
from backtest.signals.extremes import percentile
from backtest.signals.funding import annualized_funding

EXPIRY = {NEAR: NEAR_EXPIRY, FAR: FAR_EXPIRY}


def held(seed: int = 6) -> Tables:
    """The small market with open interest, unknown here and there and standing still for some hours, and what could back it; a perpetual with missing bars."""
    tables, random = ether(), np.random.default_rng(seed)
    for name in (PERP, NEAR, FAR):
        count = len(tables.bars[name])
        interest = 100_000.0 + np.cumsum(random.integers(-500, 501, count))
        interest[random.random(count) < 0.1] = nan
        interest[:4] = nan
        interest[80:100] = 123_456.0
        tables.bars[name] = tables.bars[name].assign(open_interest=interest)
    tables.bars[FAR]["open_interest"] = tables.bars[FAR]["open_interest"].where(np.arange(BARS) >= 60)
    tables.bars[PERP] = tables.bars[PERP].drop(tables.bars[PERP].index[[30, 31, 120]])
    days = times(START + 20 * HOUR, 8, "D")
    tables.series["exchange_reserve"] = series(days, 2e7 * np.exp(np.cumsum(random.normal(0.0, 0.01, 8))), "3h")
    tables.series["market_cap"] = series(days, 2.4e11 * np.exp(np.cumsum(random.normal(0.0, 0.03, 8))), "3h")
    tables.series[f"{PERP}.long_short_ratio"] = series(times(START + HOUR, 30, "6h"), random.uniform(0.5, 2.0, 30), "5min")
    return tables


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("confirmation"), held())


# ---------------------------------------------------------------- the formulas, slowly


def last(tables: Tables, name: str, column: str, time: pd.Timestamp) -> float:
    """A column of a contract's bars as last known; NaN before the first and after expiry."""
    frame = tables.bars[name]
    if name in EXPIRY and time > EXPIRY[name]:
        return nan
    known = frame[column].loc[:time].dropna()
    return float(known.iloc[-1]) if len(known) else nan


def newest(tables: Tables, name: str, time: pd.Timestamp) -> float:
    known = [row for row in tables.series[name].itertuples() if row.known_at <= time]
    return float(known[-1].value) if known else nan


def total(values: list[float]) -> float:
    known = [value for value in values if not isnan(value)]
    return sum(known) if known else nan


def naive_premium(tables: Tables, name: str, time: pd.Timestamp) -> float:
    future, spot = (tables.bars[one]["close"] for one in (name, SPOT))
    return float(future.loc[time] / spot.loc[time] - 1.0) if time in future.index else nan


def naive_quadrant(premium: float, before: float, interests: list[tuple[float, float]]) -> float:
    """The code by the change of the premium and the summed changes of open interest, each a pair (now, before)."""
    more = total([now - old for now, old in interests])
    if isnan(premium - before) or isnan(more):
        return nan
    if premium == before or more == 0.0:
        return 0.0
    return float({(True, True): 1, (True, False): 2, (False, True): 3, (False, False): 4}[premium > before, more > 0.0])


def naive_leverage(tables: Tables, names: list[str], backing: str, time: pd.Timestamp) -> float:
    if backing == "exchange_reserve":
        amount = total([last(tables, name, "open_interest", time) for name in names])
    else:
        amount = total([last(tables, name, "open_interest", time) * last(tables, name, "close", time) for name in names])
    return amount / newest(tables, backing, time)


# ---------------------------------------------------------------- quadrants


@pytest.mark.parametrize("hours", [1, 6, 24])
def test_quadrants_of_a_perpetual_are_those_of_its_premium_and_open_interest(market: Market, hours: int) -> None:
    tables, clock = held(), market.clock
    expected = []
    for number, time in enumerate(clock):
        before = clock[number - hours] if number >= hours else None
        if before is None:
            expected.append(nan)
            continue
        interest = (last(tables, PERP, "open_interest", time), last(tables, PERP, "open_interest", before))
        expected.append(naive_quadrant(naive_premium(tables, PERP, time), naive_premium(tables, PERP, before), [interest]))
    found = quadrant(market, window=f"{hours}h")
    np.testing.assert_array_equal(found, expected)
    assert {*Quadrant} - {Quadrant.UNCHANGED} <= set(found[~np.isnan(found)])
    assert hours > 6 or (found == Quadrant.UNCHANGED).any(), "open interest stands still for twenty hours"


def test_quadrants_of_a_chain_are_those_of_the_indicator_and_of_contracts_known_at_both_ends(market: Market) -> None:
    """The near future expires and the open interest of the far one is unknown until bar 60: neither is a change."""
    tables, clock = held(), market.clock
    indicator = premium_indicator(market)
    expected = [nan] * 6
    for number in range(6, len(clock)):
        pairs = [tuple(last(tables, name, "open_interest", clock[at]) for at in (number, number - 6)) for name in (NEAR, FAR)]
        expected.append(naive_quadrant(indicator[number], indicator[number - 6], pairs))
    found = quadrant(market, market.future_chain(), window="6h")
    np.testing.assert_array_equal(found, expected)
    after = clock.get_loc(NEAR_EXPIRY) + 1
    alone = quadrant(market, market.leg(FAR), window="6h")
    assert np.isin(found[after : after + 6], [0.0, 1.0, 2.0, 3.0, 4.0]).all()
    np.testing.assert_array_equal(np.isin(found[after : after + 6], [1, 3]), np.isin(alone[after : after + 6], [1, 3]))


@pytest.mark.parametrize(
    ("premium", "interest", "code"),
    [
        (1e-5, 10.0, Quadrant.NEW_LEVERAGE),
        (1e-5, -10.0, Quadrant.SHORT_COVERING),
        (-1e-5, 10.0, Quadrant.NEW_SHORTS),
        (-1e-5, -10.0, Quadrant.LONG_LIQUIDATION),
        (0.0, 10.0, Quadrant.UNCHANGED),
        (1e-5, 0.0, Quadrant.UNCHANGED),
    ],
)
def test_each_quadrant_has_its_name(tmp_path: Path, premium: float, interest: float, code: Quadrant) -> None:
    tables, hours = only(ether(), SPOT, PERP), np.arange(BARS)
    for name, dearness in ((SPOT, 0.0), (PERP, premium)):
        price = 2048.0 * (1.0 + dearness * hours)
        tables.bars[name] = tables.bars[name].assign(open=price, high=price + 1.0, low=price - 1.0, close=price)
    tables.bars[PERP]["open_interest"] = 1e5 + interest * hours
    found = quadrant(load(tmp_path, tables))
    assert np.isnan(found[:24]).all()
    np.testing.assert_array_equal(found[24:], code)


# ---------------------------------------------------------------- leverage


@pytest.mark.parametrize("backing", ["exchange_reserve", "market_cap"])
def test_leverage_is_open_interest_over_what_backs_it(tmp_path: Path, backing: str) -> None:
    tables = held()
    if backing == "market_cap":
        del tables.series["exchange_reserve"]
    market = load(tmp_path, tables)
    for leg, names in ((market.perpetual, [PERP]), (market.future_chain(), [NEAR, FAR])):
        expected = [naive_leverage(tables, names, backing, time) for time in market.clock]
        found = leverage_ratio(market, leg)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert np.isnan(found[:22]).all(), "the series is known from hour 23 on"
        assert not np.isnan(found[22:]).any()


def test_leverage_without_backing_is_unknown(tmp_path: Path) -> None:
    tables = held()
    tables.series["exchange_reserve"]["value"] = 0.0
    market = load(tmp_path, tables)
    assert np.isnan(leverage_ratio(market)).all()
    assert np.isnan(leverage_divergence(market)).all()


@pytest.mark.parametrize("backing", ["exchange_reserve", "market_cap"])
def test_divergence_is_the_growth_of_leverage_beyond_that_of_open_interest(tmp_path: Path, backing: str) -> None:
    tables = held()
    if backing == "market_cap":
        del tables.series["exchange_reserve"]
    market = load(tmp_path, tables)
    expected = [nan] * 48
    for time, before in zip(market.clock[48:], market.clock[:-48], strict=True):
        ratio, old_ratio = (naive_leverage(tables, [PERP], backing, at) for at in (time, before))
        interest, old_interest = (last(tables, PERP, "open_interest", at) for at in (time, before))
        expected.append(log(ratio) - log(old_ratio) - (log(interest) - log(old_interest)))
    found = leverage_divergence(market, window="2D")
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)
    assert (~np.isnan(found)).sum() > 100


def test_no_open_interest_is_no_leverage_and_has_no_growth(tmp_path: Path) -> None:
    tables = held()
    tables.bars[PERP].loc[tables.bars[PERP].index[100:110], "open_interest"] = 0.0
    market = load(tmp_path, tables)
    zero = np.flatnonzero(leverage_ratio(market) == 0.0)
    assert len(zero) >= 10
    assert np.isnan(leverage_divergence(market, window="1D")[zero]).all()


# ---------------------------------------------------------------- the crowd


def test_the_long_short_ratio_is_the_series_as_known(market: Market) -> None:
    tables = held()
    expected = [newest(tables, f"{PERP}.long_short_ratio", time) for time in market.clock]
    np.testing.assert_array_equal(long_short_ratio(market), expected)
    assert isnan(expected[0])
    assert not isnan(expected[1])


@pytest.mark.parametrize("level", [0.2, 0.5, 0.8, 1.0])
def test_carry_is_crowded_where_curve_and_funding_are_dear(market: Market, level: float) -> None:
    curve = percentile(market, constant_maturity(market), "2D")
    paid = percentile(market, annualized_funding(market, window="7D"), "2D")[0]
    expected = [
        nan if isnan(one) or isnan(other) else (one >= level) + 2.0 * (other >= level) for one, other in zip(curve, paid, strict=True)
    ]
    found = crowding(market, window="2D", level=level)
    np.testing.assert_array_equal(found, expected)


def dear(curve: bool, perpetual: bool) -> Tables:
    """Premium and funding that fall a little every hour for eleven days, and then jump up, or don't."""
    tables, late = only(ether(300), SPOT, PERP, FAR), 263
    hours = np.arange(300)
    index = tables.bars[FAR].index
    days = np.asarray((FAR_EXPIRY - index) / pd.Timedelta(days=1), dtype=float)
    rate = 0.1 - 1e-5 * hours + 0.05 * (curve & (hours >= late))
    tables.bars[FAR] = bars(tables.bars[SPOT]["close"] * np.exp(rate * days / 365.0), index)
    events = tables.funding[PERP].index
    tables.funding[PERP]["rate"] = 1e-4 - 1e-7 * np.arange(len(events)) + 1e-3 * (perpetual & (events >= index[late]))
    return tables


@pytest.mark.parametrize("code", Crowding)
def test_each_kind_of_crowding_has_its_name(tmp_path: Path, code: Crowding) -> None:
    tables = dear(curve=code in (Crowding.CURVE, Crowding.CROWDED), perpetual=code in (Crowding.PERPETUAL, Crowding.CROWDED))
    found = crowding(load(tmp_path, tables), window="3D")
    # a week of funding ends at hour 160, as the first event pays for the 8 hours before the data; the bar that ends there begins the 3 days of ranks
    known = 159 + 72 - 1
    assert np.isnan(found[:known]).all()
    np.testing.assert_array_equal(found[known:263], Crowding.NEUTRAL)
    np.testing.assert_array_equal(found[263:270], code)


def test_crowding_without_a_curve_is_unknown(tmp_path: Path) -> None:
    """A future with less than a day left all the time has no premium of thirty days."""
    tables = only(ether(), SPOT, PERP, NEAR)
    tables.bars[NEAR] = tables.bars[NEAR].iloc[-20:]
    assert np.isnan(crowding(load(tmp_path, tables), window="1D")).all()


# ---------------------------------------------------------------- refusals


def test_what_is_missing_is_named_with_the_remedy(tmp_path: Path) -> None:
    tables = held()
    for name in ("exchange_reserve", "market_cap", f"{PERP}.long_short_ratio"):
        del tables.series[name]
    market = load(tmp_path, tables)
    with pytest.raises(
        DataError,
        match=r'^dataset test has nothing to compare open interest with; import a series "exchange_reserve" in coins, or "market_cap" in money$',
    ):
        leverage_ratio(market)
    with pytest.raises(
        DataError, match=r'^ETHUSDT-PERP has no long/short ratio in dataset test; import a series "ETHUSDT-PERP.long_short_ratio"$'
    ):
        long_short_ratio(market)
    bare = load(tmp_path / "bare", ether())
    for ask in (quadrant, leverage_ratio, leverage_divergence):
        with pytest.raises(DataError, match=r"^ETHUSDT-PERP has no open interest in dataset test; import"):
            ask(bare)
    spots = load(tmp_path / "spots", only(ether(), SPOT, PERP))
    with pytest.raises(DataError, match=r"the rule needs dated futures and the dataset test has none"):
        crowding(spots)


def test_bad_parameters_are_refused(market: Market) -> None:
    with pytest.raises(ParameterError, match=r"^level must be above 0: level=0$"):
        crowding(market, level=0.0)
    with pytest.raises(ParameterError, match=r"^level must be at most 1, the highest rank: level=1.5$"):
        crowding(market, level=1.5)
    with pytest.raises(ParameterError, match=r"^leg must be one contract, as accounts are counted for each: leg=the chain ETHUSDT-240306"):
        long_short_ratio(market, market.future_chain())
