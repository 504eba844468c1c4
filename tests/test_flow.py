"""Volumes and volume deltas against loops written from their formulas, bar by bar from the tables; unknown, zero and missing volumes."""

from math import isnan, nan
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pandas as pd
import pytest
from markets import FAR, HOUR, NEAR, PERP, SPOT, START, ether, load

from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.instruments import Kind
from backtest.market import Market
from backtest.rule import Leg
from backtest.signals.flow import cumulative_volume_delta, relative_volume, spot_lead, volume_delta

HOLES = slice(90, 104)  # bars of the perpetual that are missing


def busy(seed: int = 3) -> Tables:
    """The small market with volumes and aggressors: unknown here and there, none for some hours, missing bars; the near future has no aggressors."""
    tables, random = ether(), np.random.default_rng(seed)
    for frame in tables.bars.values():
        volume = np.floor(random.lognormal(6.0, 1.0, len(frame)))
        volume[random.random(len(frame)) < 0.1] = 0.0
        frame["volume"] = volume
        frame["taker_buy_volume"] = np.floor(volume * random.random(len(frame)))
    tables.bars[PERP].iloc[[0, 1, 2, 40, 41, 150], tables.bars[PERP].columns.get_loc("volume")] = nan
    tables.bars[PERP].iloc[[41, 60], tables.bars[PERP].columns.get_loc("taker_buy_volume")] = nan
    tables.bars[PERP] = tables.bars[PERP].drop(tables.bars[PERP].index[HOLES])
    tables.bars[NEAR] = tables.bars[NEAR].drop(columns="taker_buy_volume")
    return tables


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("flow"), busy())


# ---------------------------------------------------------------- the formulas, slowly


def naive_volume(tables: Tables, names: list[str], time: pd.Timestamp) -> float:
    """What is known of the contracts' volumes in the bar stamped `time`; NaN if nothing is."""
    known = [float(tables.bars[name]["volume"].loc[time]) for name in names if time in tables.bars[name].index]
    known = [volume for volume in known if not isnan(volume)]
    return sum(known) if known else nan


def naive_delta(tables: Tables, names: list[str], time: pd.Timestamp) -> float:
    known = []
    for name in names:
        frame = tables.bars[name]
        if time in frame.index and "taker_buy_volume" in frame:
            bought, volume = float(frame["taker_buy_volume"].loc[time]), float(frame["volume"].loc[time])
            if not isnan(bought) and not isnan(volume):
                known.append(bought - (volume - bought))
    return sum(known) if known else nan


def naive_window(values: dict[pd.Timestamp, float], window: pd.Timedelta, time: pd.Timestamp) -> float:
    """Sum of the known values with T − window < stamp ≤ T; NaN before the window lies in the data, and without any."""
    first = min(stamp for stamp, value in values.items() if not isnan(value)) - HOUR
    inside = [value for stamp, value in values.items() if time - window < stamp <= time and not isnan(value)]
    return sum(inside) if inside and time - window >= first else nan


def naive_deltas(market: Market, names: list[str], window: str) -> list[float]:
    tables = busy()
    each = {time: naive_delta(tables, names, time) for time in market.clock}
    return [naive_window(each, pd.Timedelta(window), time) for time in market.clock]


def naive_score(clock: pd.DatetimeIndex, values: list[float], history: str) -> list[float]:
    """(value − mean)/deviation of the known values of the history; NaN before it lies in the data."""
    first = next(time for time, value in zip(clock, values, strict=True) if not isnan(value)) - HOUR
    out = []
    for time, value in zip(clock, values, strict=True):
        inside = [old for at, old in zip(clock, values, strict=True) if time - pd.Timedelta(history) < at <= time and not isnan(old)]
        whole = time - pd.Timedelta(history) >= first and not isnan(value)
        out.append((value - fmean(inside)) / stdev(inside) if whole else nan)
    return out


# ---------------------------------------------------------------- volume


@pytest.mark.parametrize(("window", "history"), [("6h", "2D"), ("1D", "3D"), ("5h", "37h"), ("1D", "1D")])
def test_relative_volume_is_the_windows_over_the_mean_of_the_histories(market: Market, window: str, history: str) -> None:
    tables = busy()
    each = {time: naive_volume(tables, [PERP], time) for time in market.clock}
    share = pd.Timedelta(window) / pd.Timedelta(history)
    expected = [
        naive_window(each, pd.Timedelta(window), time) / (naive_window(each, pd.Timedelta(history), time) * share) for time in market.clock
    ]
    np.testing.assert_allclose(relative_volume(market, window=window, history=history), expected, rtol=1e-12)


def test_the_volume_of_a_chain_is_that_of_its_contracts(market: Market) -> None:
    tables = busy()
    each = {time: naive_volume(tables, [NEAR, FAR], time) for time in market.clock}
    expected = [naive_window(each, pd.Timedelta("6h"), at) / (naive_window(each, pd.Timedelta("2D"), at) / 8) for at in market.clock]
    np.testing.assert_allclose(relative_volume(market, market.future_chain(), "6h", "2D"), expected, rtol=1e-12)


def test_relative_volume_is_known_when_the_history_is_and_has_volume(tmp_path: Path) -> None:
    """No trade in the window is 0; no trade in the history leaves nothing to compare with."""
    tables = ether()
    volume = np.ones(200)
    volume[50:80] = 0.0
    volume[120:] = nan
    tables.bars[PERP]["volume"] = volume
    found = relative_volume(load(tmp_path, tables), window="6h", history="1D")
    assert np.isnan(found[:23]).all(), "the history begins before the data"
    np.testing.assert_array_equal(found[23:50], 1.0)
    np.testing.assert_array_equal(found[55:73], 0.0)
    assert np.isnan(found[73:80]).all(), "24 hours without a trade"
    assert not np.isnan(found[80:125]).any()
    assert np.isnan(found[125:]).all(), "no volume of the window is known"


def test_no_trade_is_exactly_zero_whatever_was_traded_before(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[PERP]["volume"] = np.where(np.arange(200) < 150, 0.1 + np.random.default_rng(2).random(200) * 1e9, 0.0)
    found = relative_volume(load(tmp_path, tables), window="1D", history="2D")
    np.testing.assert_array_equal(found[173:197], 0.0)
    assert np.isnan(found[197:]).all()


# ---------------------------------------------------------------- delta


@pytest.mark.parametrize("window", ["1h", "6h", "90min", "1D", "3D"])
def test_volume_delta_is_what_takers_bought_less_what_they_sold(market: Market, window: str) -> None:
    np.testing.assert_allclose(volume_delta(market, window=window), naive_deltas(market, [PERP], window))
    np.testing.assert_allclose(volume_delta(market, market.spot, window), naive_deltas(market, [SPOT], window))


def test_the_delta_of_a_chain_is_that_of_the_contracts_that_have_one(market: Market) -> None:
    np.testing.assert_allclose(volume_delta(market, market.future_chain(), "6h"), naive_deltas(market, [FAR], "6h"))
    both = Leg(kind=Kind.FUTURE, contracts=(FAR, PERP), chain=True)
    np.testing.assert_allclose(volume_delta(market, both, "6h"), naive_deltas(market, [FAR, PERP], "6h"))


def test_the_delta_is_unknown_until_its_window_lies_in_the_data_and_where_that_is_empty(market: Market) -> None:
    """The perpetual's first three volumes are unknown, and its bars 90 to 103 are missing."""
    found = volume_delta(market, window="6h")
    assert list(np.flatnonzero(np.isnan(found))) == [*range(3 + 6 - 1), *range(90 + 5, 104)]
    spot = volume_delta(market, market.spot, "6h")
    assert list(np.flatnonzero(np.isnan(spot))) == [*range(5)]
    assert market.clock[5] == START + 6 * HOUR
    assert np.isnan(volume_delta(market, window="30D")).all()


def test_cumulative_volume_delta_runs_from_the_start(market: Market) -> None:
    tables = busy()
    for leg, names in ((market.perpetual, [PERP]), (market.spot, [SPOT]), (market.future_chain(), [FAR])):
        each = [naive_delta(tables, names, time) for time in market.clock]
        first = next(number for number, value in enumerate(each) if not isnan(value))
        expected = [nan if bar < first else sum(value for value in each[: bar + 1] if not isnan(value)) for bar in range(len(market))]
        np.testing.assert_allclose(cumulative_volume_delta(market, leg), expected)
    assert np.isnan(cumulative_volume_delta(market)[:3]).all()
    assert not np.isnan(cumulative_volume_delta(market)[3:]).any()


def test_volumes_that_are_never_known_have_no_delta(tmp_path: Path) -> None:
    tables = busy()
    tables.bars[PERP]["taker_buy_volume"] = nan
    market = load(tmp_path, tables)
    assert np.isnan(volume_delta(market)).all()
    assert np.isnan(cumulative_volume_delta(market)).all()


# ---------------------------------------------------------------- which of them leads


@pytest.mark.parametrize(("window", "history"), [("6h", "2D"), ("1h", "1D")])
def test_spot_lead_compares_the_deltas_in_deviations_along_the_move(market: Market, window: str, history: str) -> None:
    clock, span = market.clock, pd.Timedelta(window)
    spot, perpetual = (naive_score(clock, naive_deltas(market, [name], window), history) for name in (SPOT, PERP))
    price = {time: float(value) for time, value in busy().bars[SPOT]["close"].items()}
    sign = [float(np.sign(price[time] - price[time - span])) if time - span >= START + HOUR else nan for time in clock]
    expected = np.array(sign) * (np.array(spot) - np.array(perpetual))
    found = spot_lead(market, window=window, history=history)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert np.isnan(found).sum() < 100


def led(by: str, up: bool) -> Tables:
    """A steady move of the price of 1 an hour; from bar 150 on the takers of one market push it, for an hour in ten those of both push the other way."""
    tables = busy()
    price = 2000.0 + (1.0 if up else -1.0) * np.arange(200)
    for name in (SPOT, PERP):
        frame = ether().bars[name]
        frame["close"] = frame["open"] = price
        frame["high"], frame["low"] = price + 1.0, price - 1.0
        bought = np.where(np.arange(200) % 10 == 0, 400.0, 500.0)
        bought[150:] += (300.0 if up else -300.0) * (name == by)
        tables.bars[name] = frame.assign(volume=1000.0, taker_buy_volume=bought)
    return tables


@pytest.mark.parametrize("up", [True, False])
def test_whose_takers_push_leads(tmp_path: Path, up: bool) -> None:
    for by, sign in ((SPOT, 1.0), (PERP, -1.0)):
        market = load(tmp_path, led(by, up))
        found = spot_lead(market, window="6h", history="4D")
        assert not np.isnan(found[102:]).any()
        np.testing.assert_array_equal(found[102:150], 0.0)
        np.testing.assert_array_equal(np.sign(found[156:170]), sign)


def test_nobody_leads_where_the_price_stands(tmp_path: Path) -> None:
    tables = busy()
    frame = tables.bars[SPOT]
    frame["open"] = frame["close"] = 2000.0
    frame["high"], frame["low"] = 2001.0, 1999.0
    found = spot_lead(load(tmp_path, tables), window="6h", history="2D")
    assert (found == 0.0).sum() > 100


# ---------------------------------------------------------------- refusals


def test_missing_volumes_are_named_with_the_remedy(tmp_path: Path) -> None:
    tables = ether()  # volumes, and no aggressors
    market = load(tmp_path, tables)
    told = r"^ETHUSDT-PERP has no taker_buy_volume and volume in dataset test; import bars with the columns taker_buy_volume, volume$"
    for ask in (volume_delta, cumulative_volume_delta):
        with pytest.raises(DataError, match=told):
            ask(market)
    with pytest.raises(DataError, match=r"^ETHUSDT-SPOT has no taker_buy_volume"):
        spot_lead(market)
    tables.bars = {name: frame.drop(columns="volume") for name, frame in tables.bars.items()}
    market = load(tmp_path, tables)
    with pytest.raises(DataError, match=r"^ETHUSDT-PERP has no volume in dataset test; import bars with the column volume$"):
        relative_volume(market)
    with pytest.raises(DataError, match=r"^the chain ETHUSDT-240306 … ETHUSDT-240329 has no volume in dataset test"):
        relative_volume(market, market.future_chain())


def test_a_history_holds_a_window(market: Market) -> None:
    with pytest.raises(
        ParameterError, match=r"^history must be at least as long as window: history=1 days 00:00:00, window=2 days 00:00:00$"
    ):
        relative_volume(market, window="2D", history="1D")
    with pytest.raises(ParameterError, match=r"^window must be longer than zero"):
        volume_delta(market, window="0h")
