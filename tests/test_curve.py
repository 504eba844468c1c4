"""The curve against loops written from its formulas, bar by bar and contract by contract; shared, read-only, and blind to the future."""

from math import inf, isnan, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markets import FAR, FAR_EXPIRY, HOUR, NEAR, NEAR_EXPIRY, PERP, SPOT, START, bars, ether, instrument, load, only, times

from backtest.curve import annualized_premium, closes, days_to_expiry, expiries, offered, pairs, premium
from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.instruments import Kind
from backtest.market import Market
from backtest.rule import Leg

EXPIRY = {NEAR: NEAR_EXPIRY, FAR: FAR_EXPIRY}
THIRD_EXPIRY = pd.Timestamp("2024-06-28T08:00Z").as_unit("ns")


def holed() -> Tables:
    """The small market with bars missing here and there, at different hours of spot and futures."""
    tables = ether()
    for name, gone in ((SPOT, [20, 21, 22, 50]), (NEAR, [22, 23, 60]), (FAR, [5, 50, 70, 71])):
        tables.bars[name] = tables.bars[name].drop(tables.bars[name].index[gone])
    return tables


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("curve"), holed())


def close_of(tables: Tables, name: str, time: pd.Timestamp) -> float:
    """The close of the bar stamped `time`, NaN without one."""
    frame = tables.bars[name]
    return float(frame["close"].loc[time]) if time in frame.index else nan


def naive_days(name: str, time: pd.Timestamp) -> float:
    seconds = (EXPIRY[name] - time).total_seconds()
    return seconds / 86_400 if seconds >= 0 else nan


def naive_premium(tables: Tables, name: str, time: pd.Timestamp) -> float:
    future, spot = close_of(tables, name, time), close_of(tables, SPOT, time)
    return (future - spot) / spot


def naive_annualized(tables: Tables, name: str, time: pd.Timestamp) -> float:
    days = naive_days(name, time)
    return naive_premium(tables, name, time) * 365 / days if days >= 1 else nan


# ---------------------------------------------------------------- formulas


def test_premium_is_that_of_fresh_closes(market: Market) -> None:
    tables, chain = holed(), market.future_chain()
    expected = [[naive_premium(tables, name, time) for time in market.clock] for name in chain.contracts]
    np.testing.assert_allclose(premium(market, chain), expected, rtol=1e-12, atol=1e-15)
    assert np.isnan(expected).sum() > 70, "the case has holes, and a contract that ends"
    perpetual = [[naive_premium(tables, PERP, time) for time in market.clock]]
    np.testing.assert_allclose(premium(market, market.perpetual), perpetual, rtol=1e-12, atol=1e-15)


def test_annualized_premium_counts_fractional_days_and_stops_a_day_before_expiry(market: Market) -> None:
    tables, chain = holed(), market.future_chain()
    expected = [[naive_annualized(tables, name, time) for time in market.clock] for name in chain.contracts]
    found = annualized_premium(market, chain)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)
    eve = int(market.clock.get_loc(NEAR_EXPIRY - pd.Timedelta(days=1)))
    assert not isnan(found[0, eve]), "with exactly one day left it is still known"
    assert isnan(found[0, eve + 1])
    assert not isnan(premium(market, chain)[0, eve + 1])


def test_one_contract_has_the_chains_row(market: Market) -> None:
    np.testing.assert_array_equal(annualized_premium(market, market.leg(FAR))[0], annualized_premium(market, market.future_chain())[1])


def test_days_to_expiry_are_fractional_end_at_zero_and_infinite_without_expiry(market: Market) -> None:
    chain = market.future_chain()
    days = days_to_expiry(market, chain)
    expected = [[naive_days(name, time) for time in market.clock] for name in chain.contracts]
    np.testing.assert_allclose(days, expected, rtol=1e-14)
    assert days[0, 0] == pytest.approx(5 + 7 / 24)
    last = int(market.clock.get_loc(NEAR_EXPIRY))
    assert (days[0, last], isnan(days[0, last + 1])) == (0.0, True)
    assert (days_to_expiry(market, market.perpetual) == inf).all()
    assert list(expiries(market, chain)) == [NEAR_EXPIRY.value, FAR_EXPIRY.value]
    assert list(expiries(market, market.spot)) == [2**62]


def test_premium_is_against_the_spot_that_is_given(tmp_path: Path) -> None:
    tables = ether()
    tables.instruments.append(instrument("ETHUSDC-SPOT", Kind.SPOT, quote="USDC"))
    tables.bars["ETHUSDC-SPOT"] = bars(tables.bars[SPOT]["close"] * 1.01, pd.DatetimeIndex(tables.bars[SPOT].index))
    market = load(tmp_path, tables)
    for name, factor in ((SPOT, 1.0), ("ETHUSDC-SPOT", 1.01)):
        expected = [close_of(tables, FAR, time) / (factor * close_of(tables, SPOT, time)) - 1 for time in market.clock]
        np.testing.assert_allclose(premium(market, market.leg(FAR), market.leg(name))[0], expected, rtol=1e-9, atol=1e-14)
        days = np.array([naive_days(FAR, time) for time in market.clock])
        found = annualized_premium(market, market.leg(FAR), market.leg(name))[0]
        np.testing.assert_allclose(found, np.array(expected) * 365 / days, rtol=1e-9, atol=1e-12)
    with pytest.raises(DataError, match=r"the rule needs one spot .* has several: ETHUSDC-SPOT, ETHUSDT-SPOT; choose one with"):
        premium(market, market.leg(FAR))


def test_stale_closes_meet_within_the_tolerance_only(tmp_path: Path) -> None:
    """Spot lacks its bars 20…22, the future its bar 22: at a tolerance of 2 h only the spot's third missing bar is too old."""
    tables = ether()
    tables.bars[SPOT] = tables.bars[SPOT].drop(tables.bars[SPOT].index[20:23])
    tables.bars[FAR] = tables.bars[FAR].drop(tables.bars[FAR].index[22:23])
    market = load(tmp_path, tables, staleness="2h")
    found = premium(market, market.leg(FAR))[0]
    spot, future = tables.bars[SPOT]["close"], ether().bars[FAR]["close"]
    np.testing.assert_allclose(found[20:22], future.iloc[20:22] / spot.iloc[19] - 1.0)
    assert isnan(found[22])
    assert not np.isnan(np.delete(found, 22)).any()


# ---------------------------------------------------------------- which contract is offered


def naive_offer(tables: Tables, names: tuple[str, ...], min_days: float, time: pd.Timestamp) -> int:
    """The nearest expiry ahead with a fresh close and at least min_days."""
    best, chosen = pd.Timestamp.max.tz_localize("UTC"), -1
    for number, name in enumerate(names):
        left = EXPIRY[name] - time
        if not isnan(close_of(tables, name, time)) and EXPIRY[name] > time and left >= pd.Timedelta(days=min_days) and EXPIRY[name] < best:
            best, chosen = EXPIRY[name], number
    return chosen


@pytest.mark.parametrize("min_days", [0.0, 2.0, 2.04, 5.0, 20.0, 24.5, 40.0])
def test_a_chain_offers_the_nearest_contract_with_enough_days(market: Market, min_days: float) -> None:
    tables, chain = holed(), market.future_chain(min_days)
    expected = [naive_offer(tables, chain.contracts, min_days, time) for time in market.clock]
    np.testing.assert_array_equal(offered(market, chain), expected)


def test_min_days_itself_is_enough(market: Market) -> None:
    """Near expires at 08:00 on the 6th: at 08:00 on the 4th there are two days left, an hour later there are not."""
    choice = offered(market, market.future_chain(2.0))
    two_left = int(market.clock.get_loc(NEAR_EXPIRY - pd.Timedelta(days=2)))
    assert list(choice[two_left - 1 : two_left + 2]) == [0, 0, 1]
    assert offered(market, market.future_chain(0.0))[int(market.clock.get_loc(NEAR_EXPIRY))] == 1, "nothing is offered at its expiry"


def test_single_instruments_are_offered_while_they_live_and_trade(market: Market) -> None:
    tables = holed()
    near = [0 if time < NEAR_EXPIRY and not isnan(close_of(tables, NEAR, time)) else -1 for time in market.clock]
    np.testing.assert_array_equal(offered(market, market.leg(NEAR)), near)
    spot = [-1 if isnan(close_of(tables, SPOT, time)) else 0 for time in market.clock]
    np.testing.assert_array_equal(offered(market, market.spot), spot)
    demanding = Leg(kind=Kind.FUTURE, contracts=(NEAR,), min_days=30.0)
    np.testing.assert_array_equal(offered(market, demanding), near, err_msg="min_days is a chain's")


def test_pairs_of_a_rule(market: Market) -> None:
    chain = market.future_chain()
    assert pairs(market, market.spot, chain).tolist() == [[0, 0], [0, 1]]
    assert pairs(market, chain, market.spot).tolist() == [[0, 0], [1, 0]]
    assert pairs(market, None, chain).tolist() == [[-1, 0], [-1, 1]]
    assert pairs(market, market.perpetual, None).tolist() == [[0, -1]]
    assert pairs(market, market.spot, market.perpetual).tolist() == [[0, 0]]


def test_pairs_of_two_chains_are_those_offered_together_in_order_of_appearance(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    near, far = market.future_chain(), market.future_chain(min_days=10)
    together = list(zip(offered(market, near), offered(market, far), strict=True))
    assert list(dict.fromkeys((int(a), int(b)) for a, b in together if a >= 0 and b >= 0)) == [(0, 1), (1, 1)]
    assert pairs(market, near, far).tolist() == [[0, 1]], "a contract is no pair with itself"
    assert pairs(market, near, market.future_chain(min_days=99)).shape == (0, 2)
    tables = ether()
    tables.bars[NEAR] = tables.bars[NEAR].iloc[5:]  # listed later: the far one is offered first
    tables.instruments.append(instrument("ETHUSDT-240628", Kind.FUTURE, THIRD_EXPIRY))
    tables.bars["ETHUSDT-240628"] = ether().bars[FAR]
    market = load(tmp_path, tables)
    assert pairs(market, market.future_chain(), market.future_chain(min_days=20, nth=2)).tolist() == [[1, 2], [0, 2]]


# ---------------------------------------------------------------- refusals


def test_only_dated_contracts_have_an_annualized_premium(market: Market) -> None:
    told = "^an annualized premium needs a dated contract: ETHUSDT-PERP; for a perpetual use annualized_funding$"
    with pytest.raises(ParameterError, match=told):
        annualized_premium(market, market.perpetual)
    with pytest.raises(ParameterError, match="needs a dated contract: ETHUSDT-SPOT"):
        annualized_premium(market, market.spot)


def test_premium_is_against_one_instrument(market: Market) -> None:
    told = "^premium is measured against one instrument: the chain ETHUSDT-240306 … ETHUSDT-240329; give a spot$"
    with pytest.raises(ParameterError, match=told):
        premium(market, market.perpetual, market.future_chain())


# ---------------------------------------------------------------- shared, read-only


@pytest.mark.parametrize("table", [premium, annualized_premium, closes, days_to_expiry], ids=lambda table: table.__name__)
def test_tables_are_computed_once_and_read_only(market: Market, table) -> None:  # type: ignore[no-untyped-def]
    chain = market.future_chain()
    assert table(market, chain) is table(market, market.future_chain(min_days=14)), "min_days doesn't change what a contract is worth"
    assert table(market, chain).shape == (2, len(market))
    assert table(market, market.leg(FAR)) is not table(market, chain)
    with pytest.raises(ValueError, match="read-only"):
        table(market, chain)[0, 0] = 1.0


def test_offers_are_computed_once_a_chain(market: Market) -> None:
    assert offered(market, market.future_chain(3)) is offered(market, market.future_chain(3.0))
    assert offered(market, market.future_chain(3)) is not offered(market, market.future_chain(4))


def test_offers_are_read_only(market: Market) -> None:
    choice = offered(market, market.future_chain())
    with pytest.raises(ValueError, match="read-only"):
        choice[0] = choice[0]


def test_hand_worked_premium(tmp_path: Path) -> None:
    """Spot 2000, future 2020, 10.25 days to expiry: premium 1 %, annualized 0.01·365/10.25 = 0.35609756…"""
    tables = only(ether(), SPOT, FAR)
    index = times(FAR_EXPIRY - pd.Timedelta(days=10, hours=6), 2)
    tables.bars = {SPOT: bars([2000.0, 2000.0], index), FAR: bars([2020.0, 1980.0], index)}
    market = load(tmp_path, tables)
    np.testing.assert_allclose(premium(market, market.leg(FAR))[0], [0.01, -0.01])
    np.testing.assert_allclose(annualized_premium(market, market.leg(FAR))[0, 0], 0.356097560975)
    assert annualized_premium(market, market.leg(FAR))[0, 1] == pytest.approx(-0.01 * 365 / (10.25 - 1 / 24))
    assert ether().bars[SPOT].index[0] == START + HOUR
