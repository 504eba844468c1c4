"""Open interest and volume against loops over the tables: the best source, base units, windows that end where they should, contracts that don't trade."""

from dataclasses import replace
from math import isnan, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markets import FAR, FAR_EXPIRY, HOUR, NEAR, NEAR_EXPIRY, PERP, SPOT, START, bars, ether, load, only, series, times, write

from backtest.curve.activity import open_interest, traded, traded_volume
from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.instruments import Settle
from backtest.load import load_market
from backtest.market import Market

EXPIRY = {NEAR: NEAR_EXPIRY, FAR: FAR_EXPIRY}


def busy() -> Tables:
    """The small market with volumes that are 0 for days and unknown at times, open interest in bars and series, and missing bars."""
    tables, random = ether(), np.random.default_rng(3)
    for name in (NEAR, FAR, PERP):
        frame = tables.bars[name]
        volume = np.round(random.exponential(1e4, len(frame)), 3)
        volume[random.random(len(frame)) < 0.3] = 0.0
        volume[random.random(len(frame)) < 0.1] = nan
        volume[:4] = nan
        volume[40:75] = 0.0
        frame["volume"] = volume
        frame["open_interest"] = np.where(random.random(len(frame)) < 0.5, nan, random.uniform(1e3, 2e3, len(frame)))
        tables.bars[name] = frame.drop(frame.index[[9, 60, 61]])
    del tables.bars[FAR]["open_interest"]
    tables.series[f"{FAR}.open_interest"] = series(times(START + 30 * HOUR, 30, "5h"), random.uniform(500.0, 900.0, 30), "90min")
    tables.series[f"{FAR}.open_interest_value"] = series(times(START, 8, "D"), random.uniform(1e6, 2e6, 8), "3h")
    return tables


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("activity"), busy())


def last_before(frame: pd.DataFrame, column: str, time: pd.Timestamp) -> float:
    """The newest known number of a column, NaN before the first."""
    found = nan
    for stamp, value in frame[column].items():
        if stamp <= time and not isnan(value):
            found = float(value)
    return found


def newest(table: pd.DataFrame, time: pd.Timestamp) -> tuple[float, pd.Timestamp]:
    """The value of a series known at a time, and since when."""
    known = [(row.known_at, float(row.value)) for row in table.itertuples() if row.known_at <= time]
    return (known[-1][1], known[-1][0]) if known else (nan, time)


def naive_interest(tables: Tables, name: str, time: pd.Timestamp) -> float:
    frame = tables.bars[name]
    if name in EXPIRY and time > EXPIRY[name]:
        return nan
    if "open_interest" in frame:
        return last_before(frame, "open_interest", time)
    found = newest(tables.series[f"{name}.open_interest"], time)[0]
    if isnan(found):
        value, since = newest(tables.series[f"{name}.open_interest_value"], time)
        found = value / last_before(frame, "close", since.ceil("h"))  # the close of the bar at which it was first known
    return found


def naive_volumes(tables: Tables, name: str, window: pd.Timedelta, time: pd.Timestamp) -> list[float]:
    """The known volumes with T − window < stamp ≤ T."""
    return [float(value) for stamp, value in tables.bars[name]["volume"].items() if time - window < stamp <= time and not isnan(value)]


def ever(tables: Tables, name: str, time: pd.Timestamp) -> bool:
    return any(stamp <= time and not isnan(value) for stamp, value in tables.bars[name]["volume"].items())


# ---------------------------------------------------------------- open interest


def test_open_interest_is_the_last_known_of_the_bars_else_of_the_series_else_the_value_over_its_close(market: Market) -> None:
    tables = busy()
    expected = [[naive_interest(tables, name, time) for time in market.clock] for name in (NEAR, FAR)]
    found = open_interest(market, market.future_chain())
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert np.isnan(found[0, -70:]).all(), "nothing is open after expiry"
    assert not isnan(found[0, int(market.clock.get_loc(NEAR_EXPIRY))])
    first = int(market.clock.get_loc(START + 32 * HOUR))  # the series begins there, between two bars' ends
    assert found[1, first - 1] > 500.0
    assert not isnan(found[1, 3])
    assert isnan(found[1, 1])
    np.testing.assert_allclose(open_interest(market)[0], [naive_interest(tables, PERP, time) for time in market.clock])


def test_a_price_that_falls_closes_no_position(tmp_path: Path) -> None:
    """A value of 2 M$ published when the coin costs 2000 $ is 1000 coins until the next value, at whatever price."""
    tables = only(ether(), SPOT, PERP)
    for name in (SPOT, PERP):
        tables.bars[name] = bars(np.linspace(2000.0, 1000.0, 200), times(START + HOUR, 200))
    tables.series[f"{PERP}.open_interest_value"] = series(times(START + HOUR, 2, "4D"), [2e6, 2e6 + 1e-6], "0h")
    found = open_interest(load(tmp_path, tables))[0]
    assert set(found[:96]) == {1000.0}
    np.testing.assert_allclose(found[96:], 2e6 / np.linspace(2000.0, 1000.0, 200)[96])


def test_a_source_that_begins_later_leaves_the_other_before_it(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, PERP)
    tables.bars[PERP]["open_interest"] = [nan] * 50 + [7.0] * 150
    tables.series[f"{PERP}.open_interest"] = series(times(START, 2, "1h"), [3.0, 4.0])
    assert list(open_interest(load(tmp_path, tables))[0][[0, 49, 50, 199]]) == [4.0, 4.0, 7.0, 7.0]


def test_of_an_inverse_contract_only_the_value_counts(tmp_path: Path) -> None:
    tables = only(busy(), SPOT, PERP, FAR)
    tables.instruments = [replace(item, settle=Settle.INVERSE) if item.id != SPOT else item for item in tables.instruments]
    market = load(tmp_path, tables)
    expected = []
    for time in market.clock:
        value, since = newest(tables.series[f"{FAR}.open_interest_value"], time)
        expected.append(value / last_before(tables.bars[FAR], "close", since))
    np.testing.assert_allclose(open_interest(market, market.leg(FAR))[0], expected)
    told = r'^ETHUSDT-PERP has no open interest in dataset test; import a series "ETHUSDT-PERP.open_interest_value"$'
    with pytest.raises(DataError, match=told):
        open_interest(market)


def test_a_contract_without_open_interest_is_unknown_and_a_leg_without_any_refused(tmp_path: Path) -> None:
    tables = busy()
    del tables.series[f"{FAR}.open_interest"], tables.series[f"{FAR}.open_interest_value"], tables.bars[PERP]["open_interest"]
    market = load(tmp_path, tables)
    found = open_interest(market, market.future_chain())
    assert np.isnan(found[1]).all()
    assert not np.isnan(found[0]).all()
    told = r'^ETHUSDT-PERP has no open interest in dataset test; import a series "ETHUSDT-PERP.open_interest" or bars with the column open_interest$'
    with pytest.raises(DataError, match=told):
        open_interest(market)
    del tables.bars[NEAR]["open_interest"]
    market = load(tmp_path, tables)
    told = r'^the chain ETHUSDT-240306 … ETHUSDT-240329 has no open interest in dataset test; import a series "ETHUSDT-240306.open_interest" or '
    with pytest.raises(DataError, match=told):
        open_interest(market, market.future_chain())


def valued(values: list[float]) -> Tables:
    """The perpetual with the value of its open interest, published every day before and during the data, and USDT worth half a euro at first."""
    tables = only(ether(), SPOT, PERP)
    index = times(START - pd.Timedelta(days=2), len(values), "D")
    tables.series = {
        f"{PERP}.open_interest_value": series(index, values, "0h"),
        "USDTEUR": series(times(START - pd.Timedelta(days=3), 13, "D"), 0.5 + 0.02 * np.arange(13), "0h"),
    }
    return tables


def test_each_published_value_is_taken_at_the_price_of_its_time_though_it_be_the_same_as_before(tmp_path: Path) -> None:
    """Known before the first bar: at the first close. Known at midnight of the third day: at that bar's close."""
    tables = valued([1e6, 2e6, 2e6, 2e6, 2e6])
    market, close = load(tmp_path, tables), tables.bars[PERP]["close"]
    (found,) = open_interest(market)
    days = [START + pd.Timedelta(days=day) for day in range(3)]
    assert found[0] == pytest.approx(2e6 / close.iloc[0])
    assert found[10] == found[0]
    for day in days[1:]:
        bar = int(market.clock.get_loc(day))
        assert found[bar] == pytest.approx(2e6 / close.loc[day])
        assert found[bar + 5] == found[bar] != found[bar - 1]


def test_open_interest_in_coins_is_the_same_in_any_currency(tmp_path: Path) -> None:
    tables = valued([1e6, 2e6, 3e6, 2.5e6, 2e6])
    path = write(tmp_path, tables)
    np.testing.assert_allclose(open_interest(load_market(path, currency="EUR")), open_interest(load_market(path)), rtol=1e-12)


# ---------------------------------------------------------------- volume


@pytest.mark.parametrize("window", ["1h", "90min", "6h", "1D", "7D", "90D"])
def test_volume_is_summed_over_the_window(market: Market, window: str) -> None:
    tables, length = busy(), pd.Timedelta(window)
    expected = [
        [
            sum(naive_volumes(tables, name, length, time)) if ever(tables, name, time) and time <= EXPIRY[name] else nan
            for time in market.clock
        ]
        for name in (NEAR, FAR)
    ]
    found = traded_volume(market, window=window)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-6)
    np.testing.assert_array_equal(found == 0.0, np.array(expected) == 0.0, err_msg="no volume is 0 and not what is left of a sum")
    assert np.isnan(found[:, :4]).all()


@pytest.mark.parametrize("window", ["1h", "6h", "1D", "7D"])
def test_a_contract_trades_with_a_fresh_close_and_volume_in_the_window(market: Market, window: str) -> None:
    tables, length = busy(), pd.Timedelta(window)
    expected = [
        [
            float(time in tables.bars[name].index and (not ever(tables, name, time) or max(naive_volumes(tables, name, length, time), default=0.0) > 0.0))
            for time in market.clock
        ]
        for name in (NEAR, FAR)
    ]  # fmt: skip
    found = traded(market, window=window)
    np.testing.assert_array_equal(found, expected)
    assert (found[:, :4] == 1.0).all(), "no volume was known so far"
    assert (found[:, [9, 60, 61]] == 0.0).all(), "no bar"
    if length <= pd.Timedelta("1D"):
        assert found[1, 70] == 0.0, "no volume for a day"


def test_a_tiny_volume_among_huge_ones_is_a_trade(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[FAR]["volume"] = [1e18] * 100 + [0.0] * 50 + [1e-9] + [0.0] * 49
    found = traded(load(tmp_path, tables))[1]
    assert np.flatnonzero(found == 0.0).tolist() == [*range(123, 150), *range(174, 200)]


def test_a_contract_that_never_trades_is_never_traded_and_one_of_unknown_volume_always(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[NEAR]["volume"] = 0.0
    tables.bars[FAR]["volume"] = nan
    market = load(tmp_path, tables)
    assert (traded(market)[0] == 0.0).all()
    assert (traded(market)[1] == 1.0).all()
    assert (traded_volume(market)[0, market.clock <= NEAR_EXPIRY] == 0.0).all()
    assert np.isnan(traded_volume(market)[1]).all()


def test_without_volumes_nothing_can_be_summed(tmp_path: Path) -> None:
    tables = ether()
    for name in (NEAR, FAR):
        del tables.bars[name]["volume"]
    market = load(tmp_path, tables)
    with pytest.raises(
        DataError, match=r"^the chain ETHUSDT-240306 … ETHUSDT-240329 has no volume in dataset test; import bars with the column volume$"
    ):
        traded_volume(market)
    with pytest.raises(DataError, match=r"^ETHUSDT-240329 has no volume in dataset test; "):
        traded_volume(market, market.leg(FAR))
    assert (traded(market)[1] == 1.0).all()
    with pytest.raises(ParameterError, match=r"^window must be a duration"):
        traded(market, window="a day")


def test_two_bars_are_enough(tmp_path: Path) -> None:
    market = load(tmp_path, only(ether(), SPOT, FAR), None, START + 2 * HOUR)
    assert len(market) == 2
    assert (traded(market).tolist(), traded_volume(market).tolist()) == ([[1.0, 1.0]], [[1.0, 2.0]])
