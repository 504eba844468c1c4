"""The basket against a loop over the contracts of each bar; expiry and listing move it by nothing; and what it does with contracts that don't trade."""

from math import isfinite, isnan, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markets import FAR, FAR_EXPIRY, HOUR, NEAR, NEAR_EXPIRY, SPOT, START, bars, ether, instrument, load, only, times

from backtest.curve import annualized_premium
from backtest.curve.activity import open_interest, traded_volume
from backtest.curve.basket import Weighting, basket_contributions, basket_weights, premium_indicator
from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.instruments import Kind
from backtest.market import Market

LATE, LATE_EXPIRY = "ETHUSDT-240628", pd.Timestamp("2024-06-28T08:00Z").as_unit("ns")
EXPIRY = {NEAR: NEAR_EXPIRY, FAR: FAR_EXPIRY, LATE: LATE_EXPIRY}
DAY = pd.Timedelta(days=1)
LISTED = 60  # number of the first bar of the late one
MISSING = {SPOT: [20, 190], NEAR: [30, 31], FAR: [31, 160], LATE: [50, 100]}


def busy() -> Tables:
    """The small market with a third future listed in the middle, missing bars, volumes that pause for more than a day, and open interest."""
    tables, random = ether(), np.random.default_rng(5)
    tables.instruments.append(instrument(LATE, Kind.FUTURE, LATE_EXPIRY))
    tables.bars[LATE] = bars(tables.bars[SPOT]["close"].iloc[LISTED:] * 1.05, pd.DatetimeIndex(tables.bars[SPOT].index[LISTED:]))
    for name in EXPIRY:
        frame = tables.bars[name]
        frame["volume"] = np.where(random.random(len(frame)) < 0.4, 0.0, random.exponential(100.0, len(frame)))
        frame["open_interest"] = random.uniform(500.0, 1500.0, len(frame))
    tables.bars[FAR].iloc[40:80, tables.bars[FAR].columns.get_loc("volume")] = 0.0
    for name, gone in MISSING.items():
        tables.bars[name] = tables.bars[name].drop(tables.bars[name].index[gone])
    return tables


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("basket"), busy())


def volume(tables: Tables, name: str, window: pd.Timedelta, time: pd.Timestamp) -> float:
    return sum(float(value) for stamp, value in tables.bars[name]["volume"].items() if time - window < stamp <= time)


def naive_raw(tables: Tables, name: str, weighting: str, roll_days: float, time: pd.Timestamp) -> float:
    days = (EXPIRY[name] - time) / DAY
    if weighting == "volume":
        return volume(tables, name, 7 * DAY, time)
    if weighting == "open_interest":
        return float(tables.bars[name]["open_interest"].loc[:time].iloc[-1])
    return {"equal": 1.0, "front": min(1.0 / days, 1.0 / (1 + roll_days)), "long": days}[weighting]


def naive_weights(tables: Tables, weighting: str, roll_days: float, time: pd.Timestamp) -> list[float]:
    """Each contract's share: traded within a day, more than a day to expiry, faded at both ends of its life."""
    weights = []
    for name, expiry in EXPIRY.items():
        frame, days = tables.bars[name], (expiry - time) / DAY
        if time not in frame.index or days <= 1 or volume(tables, name, DAY, time) == 0.0:
            weights.append(0.0)
            continue
        weight = naive_raw(tables, name, weighting, roll_days, time)
        if roll_days:
            weight *= min((days - 1) / roll_days, 1.0)
            age = (time - frame.index[0]) / DAY + 1 / 24
            weight *= 1.0 if frame.index[0] == START + HOUR else min(age / roll_days, 1.0)
        weights.append(weight)
    return [weight / sum(weights) if sum(weights) > 0 else nan for weight in weights]


def naive_parts(tables: Tables, weights: list[float], time: pd.Timestamp) -> list[float]:
    """weight·(F − S)/S·365/D of each contract."""
    parts, spot = [], tables.bars[SPOT]["close"]
    for name, weight in zip(EXPIRY, weights, strict=True):
        if time not in spot.index or isnan(weight):
            return [nan] * len(EXPIRY)
        if weight == 0.0:
            parts.append(0.0)
        else:
            premium = tables.bars[name]["close"].loc[time] / spot.loc[time] - 1.0
            parts.append(weight * premium * 365 / ((EXPIRY[name] - time) / DAY))
    return parts


@pytest.mark.parametrize("weighting", list(Weighting))
@pytest.mark.parametrize("roll_days", [7.0, 2.0, 0.0])
def test_basket_is_the_weighted_mean_of_the_premia_of_what_trades(market: Market, weighting: str, roll_days: float) -> None:
    tables = busy()
    weights = np.array([naive_weights(tables, weighting, roll_days, time) for time in market.clock]).T
    found = basket_weights(market, weighting=weighting, roll_days=roll_days)
    np.testing.assert_allclose(found, weights, rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(found == 0.0, weights == 0.0)
    parts = np.array([naive_parts(tables, list(weights[:, at]), time) for at, time in enumerate(market.clock)]).T
    np.testing.assert_allclose(basket_contributions(market, weighting=weighting, roll_days=roll_days), parts, rtol=1e-9, atol=1e-12)
    indicator = premium_indicator(market, weighting=weighting, roll_days=roll_days)
    np.testing.assert_allclose(indicator, parts.sum(axis=0), rtol=1e-9, atol=1e-12)
    assert (np.isnan(indicator) == np.isnan(parts).any(axis=0)).all()
    assert (weights[1] == 0.0).sum() > 5, "the second contract's volume pauses"
    assert set(np.flatnonzero(np.isnan(indicator))) >= set(MISSING[SPOT])


def test_shares_add_up_to_one_where_the_basket_is_not_empty(market: Market) -> None:
    for weighting in Weighting:
        total = basket_weights(market, weighting=weighting).sum(axis=0)
        assert total[~np.isnan(total)] == pytest.approx(1.0, abs=1e-12)
        assert (~np.isnan(total)).sum() > 190


# ---------------------------------------------------------------- a table of one's own


def test_ones_own_weights_leave_out_what_is_unknown_or_not_above_zero(market: Market) -> None:
    own = np.ones((3, len(market)))
    own[1] = 3.0
    own[0, 100:] = nan
    own[1, 150:170] = -1.0
    own[2, 180:] = np.inf
    weights = basket_weights(market, weighting=own, roll_days=0.0)
    equal = basket_weights(market, roll_days=0.0)
    for at in range(len(market)):
        given = [value if isfinite(value) and value > 0 and equal[row, at] > 0 else 0.0 for row, value in enumerate(own[:, at])]
        expected = [value / sum(given) if sum(given) else nan for value in given]
        np.testing.assert_allclose(weights[:, at], expected, rtol=1e-14)
    assert (np.nan_to_num(weights[0, 100:]) == 0.0).all()
    np.testing.assert_array_equal(basket_weights(market, weighting=np.ones((3, len(market)))), basket_weights(market))
    assert (own[1, :3] == 3.0).all(), "the table stays as it was"


def test_one_contract_takes_one_row(market: Market) -> None:
    far, row = market.leg(FAR), np.full(len(market), 2.0)
    np.testing.assert_array_equal(basket_weights(market, far, weighting=row), basket_weights(market, far))
    trading = basket_weights(market, far)[0] == 1.0
    found = premium_indicator(market, far)
    np.testing.assert_array_equal(found[trading], annualized_premium(market, far)[0][trading], err_msg="one maturity is its own basket")
    assert np.isnan(found[~trading]).all()


# ---------------------------------------------------------------- no jumps


PREMIA = {20: 0.05, 50: 0.10, 80: 0.20}  # days to expiry at the start → annualized premium for all its life
LISTING = 30  # the day on which the last one is listed


@pytest.fixture(scope="module")
def smooth(tmp_path_factory: pytest.TempPathFactory) -> Market:
    """Sixty days in which no premium moves: the first contract expires, the last one is listed."""
    index = times(START + HOUR, 60 * 24)
    spot = 2000.0 + 100.0 * np.sin(np.arange(len(index)) / 200.0)
    tables = Tables(instruments=[instrument(SPOT, Kind.SPOT)], bars={SPOT: bars(spot, index)})
    for days, rate in PREMIA.items():
        expiry = START + pd.Timedelta(days=days)
        left = np.asarray((expiry - index) / DAY, dtype=float)
        alive = (left >= 0) & (index > (START + LISTING * DAY if days == 80 else START))
        name = f"ETHUSDT-{expiry:%y%m%d}"
        tables.instruments.append(instrument(name, Kind.FUTURE, expiry))
        tables.bars[name] = bars((spot * (1.0 + rate * left / 365.0))[alive], index[alive], open_interest=1000.0 * days)
    return load(tmp_path_factory.mktemp("smooth"), tables)


def steps(market: Market, weighting: str, roll_days: float) -> pd.Series:
    """How far the indicator moves from bar to bar, by the bar's end."""
    moved = np.abs(np.diff(premium_indicator(market, weighting=weighting, roll_days=roll_days)))
    return pd.Series(moved, index=market.clock[1:])


@pytest.mark.parametrize("weighting", list(Weighting))
def test_expiry_and_listing_make_no_jump(smooth: Market, weighting: str) -> None:
    """Premia of 5, 10 and 20 % that never move: the basket passes from one to the other by the hour, at once without the fade."""
    faded, abrupt = steps(smooth, weighting, 7.0), steps(smooth, weighting, 0.0)
    last_day, first_day = START + 19 * DAY, START + LISTING * DAY + HOUR
    assert abrupt.loc[last_day] > 0.0015, "the first contract leaves with a day to go"
    assert faded.loc[last_day] < abrupt.loc[last_day] / 40
    if weighting != Weighting.VOLUME:  # the volume of the last seven days begins at nothing by itself
        assert abrupt.loc[first_day] > 0.025, "the last one comes"
        assert faded.loc[first_day] < abrupt.loc[first_day] / 40
    assert faded.max() < 0.0025
    assert faded.sum() > 0.1, "it passes all the same"


def test_a_shorter_bar_makes_a_smaller_step_when_faded_and_not_otherwise(tmp_path: Path, smooth: Market) -> None:
    """What is continuous quarters with the bar, what jumps stays."""
    coarse = load(tmp_path / "coarse", resampled(smooth, 4))
    fine = steps(smooth, "front", 7.0).max()
    assert steps(coarse, "front", 7.0).max() > 2.0 * fine
    assert steps(coarse, "front", 0.0).max() == pytest.approx(steps(smooth, "front", 0.0).max(), rel=0.05)


def resampled(market: Market, hours: int) -> Tables:
    """Every so manyth close of the market."""
    tables = Tables(instruments=list(market.instruments.values()))
    for name in market.instruments:
        close = pd.Series(market.raw(name, "close"), index=market.clock).iloc[hours - 1 :: hours].dropna()
        tables.bars[name] = bars(close.to_numpy(), pd.DatetimeIndex(close.index).rename("ts"))
    return tables


def test_the_fade_is_linear_over_the_days_before_the_last_and_after_the_first(smooth: Market) -> None:
    """Two contracts alike but for the fade: at half of it the shares are 1/3 and 2/3."""
    weights = basket_weights(smooth, roll_days=7.0)
    middle = int(smooth.clock.get_loc(START + (20 - 1 - 3.5) * DAY))
    assert weights[:, middle] == pytest.approx([1 / 3, 2 / 3, 0.0])
    assert weights[0, int(smooth.clock.get_loc(START + 12 * DAY))] == 0.5, "not faded eight days before"
    assert weights[0, int(smooth.clock.get_loc(START + 19 * DAY))] == 0.0
    listed = int(smooth.clock.get_loc(START + (LISTING + 3.5) * DAY))
    assert weights[:, listed] == pytest.approx([0.0, 2 / 3, 1 / 3])
    assert weights[:, int(smooth.clock.get_loc(START + (LISTING + 7) * DAY))] == pytest.approx([0.0, 0.5, 0.5])
    assert weights[:, 0] == pytest.approx([0.5, 0.5, 0.0]), "what is there from the first bar is in at once"


def test_a_chain_that_begins_after_the_spot_is_known_from_its_first_bar(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, FAR)
    tables.bars[FAR] = tables.bars[FAR].iloc[50:]
    assert np.flatnonzero(~np.isnan(premium_indicator(load(tmp_path, tables))))[0] == 50


# ---------------------------------------------------------------- the edges


def test_a_contract_that_never_trades_is_left_out(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[NEAR]["volume"] = 0.0
    market = load(tmp_path, tables)
    assert (basket_weights(market)[0] == 0.0).all()
    np.testing.assert_allclose(premium_indicator(market), annualized_premium(market)[1], rtol=1e-14)
    tables.bars[FAR]["volume"] = 0.0
    market = load(tmp_path, tables)
    for found in (basket_weights(market), premium_indicator(market), basket_contributions(market)):
        assert np.isnan(found).all(), "nobody trades anything"


def test_unknown_volume_leaves_a_contract_in_but_weighs_nothing(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[NEAR]["volume"] = nan
    market = load(tmp_path, tables)
    assert (basket_weights(market)[0, :96] > 0.0).all()
    assert (basket_weights(market, weighting="volume")[0] == 0.0).all()
    for name in (NEAR, FAR):
        del tables.bars[name]["volume"]
    market = load(tmp_path, tables)
    assert not np.isnan(premium_indicator(market)).any()
    with pytest.raises(DataError, match=r"^the chain ETHUSDT-240306 … ETHUSDT-240329 has no volume in dataset test"):
        premium_indicator(market, weighting="volume")


def test_missing_open_interest_leaves_a_contract_out_and_missing_altogether_is_refused(tmp_path: Path) -> None:
    tables = busy()
    del tables.bars[FAR]["open_interest"]
    market = load(tmp_path, tables)
    weights = basket_weights(market, weighting="open_interest")
    assert (np.nan_to_num(weights[1]) == 0.0).all()
    assert isnan(open_interest(market, market.future_chain())[1, 0])
    with pytest.raises(DataError, match=r"^the chain ETHUSDT-240306 … ETHUSDT-240329 has no open interest in dataset test"):
        basket_weights(load(tmp_path, ether()), weighting="open_interest")


def test_an_expiry_today_is_not_in_the_basket(tmp_path: Path) -> None:
    market = load(tmp_path, only(ether(), SPOT, NEAR))
    eve = int(market.clock.get_loc(NEAR_EXPIRY - DAY))
    for weighting in (name for name in Weighting if name != Weighting.OPEN_INTEREST):
        found = premium_indicator(market, weighting=weighting)
        assert not np.isnan(found[:eve]).any()
        assert np.isnan(found[eve:]).all()
    assert traded_volume(market)[0, eve] > 0.0


def test_refusals(market: Market, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"^weighting must be one of equal, front, long, open_interest, volume: weighting=heavy$"):
        basket_weights(market, weighting="heavy")
    with pytest.raises(ParameterError, match=r"^roll_days must be at least 0: roll_days=-1$"):
        premium_indicator(market, roll_days=-1.0)
    with pytest.raises(
        ParameterError, match=r"^weighting must have a row for each contract of the leg: its shape is \(2, 200\), not \(3, 200\)$"
    ):
        basket_weights(market, weighting=np.ones((2, len(market))))
    with pytest.raises(
        ParameterError, match=r"^weighting must have a row for each contract of the leg: its shape is \(200,\), not \(3, 200\)$"
    ):
        basket_weights(market, weighting=np.ones(len(market)))
    with pytest.raises(ParameterError, match=r"^weighting must have one value a bar"):
        basket_weights(market, weighting=np.ones(3))
    with pytest.raises(ParameterError, match=r"^an annualized premium needs a dated contract: ETHUSDT-PERP"):
        basket_weights(market, market.perpetual)
    with pytest.raises(DataError, match=r"^the rule needs dated futures and the dataset test has none"):
        premium_indicator(load(tmp_path, only(ether(), SPOT)))


def test_the_same_question_has_the_same_answer(market: Market) -> None:
    own = np.ones((3, len(market)))
    for function in (basket_weights, premium_indicator, basket_contributions):
        assert function(market) is function(market, weighting="equal", roll_days=7)
        assert function(market) is not function(market, roll_days=6)
        assert function(market, weighting=own) is function(market, weighting=own.copy())
