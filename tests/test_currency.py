"""Quote currencies: conversion by what was known, against loops; what lacks is refused with its place; mixed legs are flagged everywhere."""

import json
import re
from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markets import (
    BARS,
    FAR,
    HOUR,
    LAST,
    NEAR,
    NEAR_EXPIRY,
    PERP,
    SPOT,
    START,
    bars,
    ether,
    funding,
    instrument,
    load,
    only,
    series,
    times,
    write,
)

import backtest as bt
from backtest.currency import UNCONVERTED, mixed_quotes
from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.instruments import Instrument, Kind
from backtest.load import load_market
from backtest.market import Market

COIN = "ETHUSD-SPOT.coinbase"
FREE = bt.Execution(
    margin=bt.Margin.OFF, spot_fee=0.0, derivative_fee=0.0, half_spread=0.0, delivery_fee=0.0, idle_rate=0.0, borrow_rate=0.0
)


def rates(first: pd.Timestamp = START - HOUR, count: int = BARS + 2, delay: str = "0h") -> pd.DataFrame:
    """The price of one USDT in USD, another one each hour."""
    return series(times(first, count), 1.0 + 0.001 * np.sin(np.arange(count)), delay)


def world(**named: pd.DataFrame) -> Tables:
    """The small market of USDT, a spot in USD, and series that convert."""
    tables = ether()
    tables.instruments.append(instrument(COIN, Kind.SPOT, venue="coinbase", quote="USD", min_notional=1.0))
    tables.bars[COIN] = tables.bars[SPOT] * 1.0005
    tables.series = dict(named)
    return tables


def known(table: pd.DataFrame, time: pd.Timestamp) -> float:
    """The newest value that had been published by then."""
    found = table[table["known_at"] <= time].sort_values(["known_at", "ts"])
    return float(found["value"].iloc[-1]) if len(found) else nan


# ---------------------------------------------------------------- prices


@pytest.mark.parametrize("delay", ["0h", "90min"])
def test_prices_are_converted_by_what_was_known_at_the_bars_end_and_opens_at_its_beginning(tmp_path: Path, delay: str) -> None:
    table = rates(START - 4 * HOUR, BARS + 5, delay)
    tables = world(USDTUSD=table)
    close = tables.bars[PERP]["close"]
    tables.bars[PERP] = tables.bars[PERP].assign(
        bid=close - 1, ask=close + 1, mark=close, mark_high=close + 2, mark_low=close - 2, index=close
    )
    market = load(tmp_path, tables, currency="USD")
    for name in (PERP, NEAR, FAR):
        frame = tables.bars[name]
        at_end = np.array([known(table, time) for time in frame.index])
        at_begin = np.array([known(table, time - HOUR) for time in frame.index])
        places = market.clock.get_indexer(pd.DatetimeIndex(frame.index))
        opened = frame["open"] * at_begin
        expected = {column: frame[column] * at_end for column in frame.columns if column != "volume"} | {"open": opened}
        expected["high"] = np.maximum(expected["high"], opened)
        expected["low"] = np.minimum(expected["low"], opened)
        for column, values in expected.items():
            np.testing.assert_allclose(market.raw(name, column)[places], values, rtol=1e-14, err_msg=f"{name} {column}")
    assert (table["value"].std(), at_end[5]) != (0.0, at_begin[5]), "the case tells ends from beginnings"
    np.testing.assert_array_equal(market.raw(COIN, "close"), tables.bars[COIN]["close"], err_msg="what is in USD stays as it is")
    np.testing.assert_array_equal(market.raw(PERP, "volume"), tables.bars[PERP]["volume"], err_msg="coins are no money")


def test_the_inverse_series_serves_too(tmp_path: Path) -> None:
    table = rates()
    straight = load(tmp_path, world(USDTUSD=table), currency="USD")
    inverse = load(tmp_path, world(USDUSDT=table.assign(value=1.0 / table["value"])), currency="USD")
    np.testing.assert_allclose(inverse.close(PERP), straight.close(PERP), rtol=1e-14)
    both = load(tmp_path, world(USDTUSD=table, USDUSDT=table), currency="USD")
    np.testing.assert_array_equal(both.close(PERP), straight.close(PERP), err_msg="the straight one comes first")
    back = load(tmp_path, world(USDTUSD=table), currency="USDT")
    np.testing.assert_allclose(back.close(COIN) * [known(table, time) for time in back.clock], straight.close(COIN), rtol=1e-14)


def test_columns_that_are_read_late_are_converted_where_they_are_money(tmp_path: Path) -> None:
    tables = world(USDTUSD=rates())
    money = ("quote_volume", "taker_buy_quote_volume", "depth_10bps", "depth_50bps")
    coins = ("spread", "bid_size", "open_interest", "taker_buy_volume", "trades")
    tables.bars[PERP] = tables.bars[PERP].assign(**dict.fromkeys((*money, *coins), 5.0))
    path = write(tmp_path, tables)
    plain, market = load_market(path), load_market(path, currency="USD")
    factor = market.close(PERP) / plain.close(PERP)
    for name in money:
        np.testing.assert_allclose(market.raw(PERP, name), 5.0 * factor, rtol=1e-14, err_msg=name)
    for name in coins:
        assert (market.raw(PERP, name) == 5.0).all(), name


def test_coarser_bars_are_made_of_converted_ones(tmp_path: Path) -> None:
    path = write(tmp_path, world(USDTUSD=rates()))
    fine, coarse = load_market(path, currency="USD"), load_market(path, freq="4h", currency="USD")
    np.testing.assert_array_equal(coarse.raw(PERP, "high"), fine.raw(PERP, "high").reshape(-1, 4).max(axis=1))
    np.testing.assert_array_equal(coarse.raw(PERP, "open"), fine.raw(PERP, "open")[::4])


def test_an_open_after_a_gap_has_the_rate_of_its_own_beginning(tmp_path: Path) -> None:
    tables, table = world(USDTUSD=rates()), rates()
    tables.bars[PERP] = tables.bars[PERP].drop(tables.bars[PERP].index[10:14])
    market = load(tmp_path, tables, currency="USD")
    begin = market.clock[14] - HOUR
    assert market.raw(PERP, "open")[14] == pytest.approx(tables.bars[PERP]["open"].loc[market.clock[14]] * known(table, begin), rel=1e-14)


def test_marks_of_funding_and_settlements_are_prices_too(tmp_path: Path) -> None:
    tables, table = world(USDTUSD=rates()), rates()
    events = times(START, 26, "8h")
    tables.funding[PERP] = funding(events, 1e-4, marks=2000.0)
    market = load(tmp_path, tables, currency="USD")
    found = market.funding(PERP)
    np.testing.assert_allclose(found.marks, [2000.0 * known(table, time) for time in events], rtol=1e-14)
    assert (found.rates == 1e-4).all()
    given = float(tables.settlements["price"].iloc[0])
    assert market.settlement(NEAR) == (pytest.approx(given * known(table, NEAR_EXPIRY), rel=1e-14), "the dataset's settlements")
    tables.settlements = tables.settlements.iloc[:0]
    last = float(tables.bars[NEAR]["close"].iloc[-1])
    assert load(tmp_path, tables, currency="USD").settlement(NEAR)[0] == pytest.approx(last * known(table, NEAR_EXPIRY), rel=1e-14)


def test_a_converted_contract_settles_to_the_spot_that_its_venue_has(tmp_path: Path) -> None:
    """Minutes of both spots lie in the window; the contract is of the one that is quoted in USDT."""
    tables = only(world(USDTUSD=rates()), SPOT, NEAR, FAR, COIN)
    tables.settlements = tables.settlements.iloc[:0]
    index = pd.date_range(end=NEAR_EXPIRY, periods=30, freq="5min", name="ts").as_unit("ns")
    tables.bars |= {NEAR: bars(np.full(30, 100.0), index), SPOT: bars(np.full(30, 3000.0), index), COIN: bars(np.full(30, 9000.0), index)}
    price, source = load(tmp_path, tables, currency="USD", max_gap="30D").settlement(NEAR)
    assert (price, source) == (pytest.approx(3000.0 * known(rates(), NEAR_EXPIRY)), "mean of the spot over the last 60 minutes")
    lonely = load(tmp_path, only(tables, NEAR, FAR, COIN), currency="USD", max_gap="30D").settlement(NEAR)
    assert lonely == (pytest.approx(100.0 * known(rates(), NEAR_EXPIRY)), "the contract's last close before expiry")


def test_instruments_are_shown_in_the_currency(tmp_path: Path) -> None:
    table = rates()
    market = load(tmp_path, world(USDTUSD=table), currency="USD")
    assert {item.quote for item in market.instruments.values()} == {"USD"}
    assert market.instruments[SPOT].min_notional == pytest.approx(5.0 * table["value"].iloc[0])
    assert market.instruments[COIN].min_notional == 1.0
    assert market.instruments[NEAR].min_notional is None
    assert market.notes == [
        f"Converted from USDT to USD by the series USDTUSD, as known at each bar: {NEAR}, {FAR}, {PERP}, {SPOT}. "
        "What the rate does to the USDT collateral and notional of a margined leg is not in the PnL."
    ]
    spots = load(tmp_path, world(USDTUSD=table), currency="USD", instruments="*-SPOT*")
    assert spots.notes == [f"Converted from USDT to USD by the series USDTUSD, as known at each bar: {SPOT}."]


def test_many_converted_instruments_are_counted(tmp_path: Path) -> None:
    tables = only(world(USDTUSD=rates()), SPOT)
    for number in range(30):
        tables.instruments.append(instrument(f"X{number:02}-SPOT", Kind.SPOT))
        tables.bars[f"X{number:02}-SPOT"] = tables.bars[SPOT]
    (note,) = load(tmp_path, tables, currency="USD").notes
    assert note.endswith("X17-SPOT, X18-SPOT and 11 more.")


def test_what_is_in_the_currency_already_needs_no_series(tmp_path: Path) -> None:
    tables = ether()
    market = load(tmp_path, tables, currency="USDT")
    assert market.notes == []
    np.testing.assert_array_equal(market.raw(PERP, "open"), tables.bars[PERP]["open"])
    assert load(tmp_path, tables).notes == []
    assert UNCONVERTED.notes(tables.instruments) == []


def test_the_profit_of_a_converted_leg_is_that_of_its_converted_prices(tmp_path: Path) -> None:
    """Bought at 100 USDT of 1.00 USD, held to 110 of 0.99: 108.9 − 100 = 8.9 USD a coin; the rate's fall on the 100 is in it."""
    tables = only(ether(), SPOT)
    index = times(START + HOUR, 4)
    tables.bars[SPOT] = bars([100.0, 100.0, 110.0, 110.0], index)
    tables.series = {"USDTUSD": series(times(START - HOUR, 6), [1.0, 1.0, 1.0, 1.0, 0.99, 0.99])}  # 1.0 known until 02:00, 0.99 from 03:00
    tables.instruments = [replace(item, lot=None, min_notional=None) for item in tables.instruments]
    market = load(tmp_path, tables, currency="USD")
    result = bt.run(bt.Rule(long=market.spot, size=0.5), market, capital=1000.0, execution=FREE)
    assert (result.quote, list(result.fills["quantity"])) == ("USD", [5.0])
    assert result.equity.iloc[-1] - 1000.0 == pytest.approx(5.0 * 8.9)


# ---------------------------------------------------------------- what lacks


def test_a_currency_needs_its_series(tmp_path: Path) -> None:
    told = (
        f'{COIN} is quoted in USD and nothing converts it to USDT: dataset test has no series "USDUSDT" (the price of one USD in USDT) nor "USDTUSD"; '
        "import one, or leave currency=USDT out"
    )
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        load(tmp_path, world(), currency="USDT")


@pytest.mark.parametrize("currency", ["", "US dollars", "USD,USDT"])
def test_a_currency_is_a_code(tmp_path: Path, currency: str) -> None:
    with pytest.raises(ParameterError, match=r'^currency must be a code like "USD" or "USDT": currency='):
        load(tmp_path, world(), currency=currency)


def test_prices_before_the_first_value_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, world(USDTUSD=rates(START + 5 * HOUR)))
    told = f"^{NEAR} at 2024-03-01T01:00Z: series USDTUSD has no value before 2024-03-01T05:00Z, so its prices can't be converted to USD; import earlier values, or start later$"
    with pytest.raises(DataError, match=told):
        load_market(path, currency="USD")
    assert len(load_market(path, "2024-03-01T05:00", currency="USD")) == BARS - 5


def test_the_open_of_the_first_bar_needs_a_value_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"^{NEAR} at 2024-03-01T00:00Z: series USDTUSD has no value before 2024-03-01T01:00Z"):
        load(tmp_path, world(USDTUSD=rates(START + HOUR)), currency="USD")


def test_values_that_are_too_old_are_refused_and_the_remedy_works(tmp_path: Path) -> None:
    """Hourly values that stop for 30 hours at 10:00: after a day they are no rate any more."""
    table = rates()
    path = write(tmp_path, world(USDTUSD=table.drop(table.index[12:41])))
    told = (
        f"{NEAR} at 2024-03-02T11:00Z: series USDTUSD was last known 1 days 01:00:00 before, longer than 1 days 00:00:00; "
        'import its missing values, choose a period outside, or allow it with max_gap="29h"'
    )
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        load_market(path, currency="USD")
    market = load_market(path, currency="USD", max_gap="29h")
    assert market.raw(SPOT, "close")[30] == pytest.approx(ether().bars[SPOT]["close"].iloc[30] * table["value"].iloc[11], rel=1e-14)
    assert len(load_market(path, "2024-03-02T16:00", currency="USD"))


def test_a_rate_may_be_as_old_as_four_of_its_steps(tmp_path: Path) -> None:
    values = series(times(START - HOUR, 20, "7h"), np.full(20, 1.001))
    assert len(load(tmp_path, world(USDTUSD=values), None, START + 19 * 7 * HOUR + 26 * HOUR, currency="USD"))
    with pytest.raises(DataError, match=r"USDTUSD was last known 1 days 05:00:00 before, longer than 1 days 04:00:00"):
        load(tmp_path, world(USDTUSD=values), None, START + 19 * 7 * HOUR + 30 * HOUR, currency="USD")


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_rate_is_above_zero(tmp_path: Path, value: float) -> None:
    table = rates()
    table.loc[3, "value"] = value
    told = f"^series USDTUSD at 2024-03-01T02:00Z: value is {value:g}; an exchange rate must be above 0; correct the row or remove it$"
    with pytest.raises(DataError, match=told):
        load(tmp_path, world(USDTUSD=table), currency="USD")


def test_a_rate_that_is_no_series_is_refused(tmp_path: Path) -> None:
    table = rates()
    table.loc[3, "value"] = nan
    with pytest.raises(DataError, match=r"^series USDTUSD at 2024-03-01T02:00Z: value is nan; a row needs its value"):
        load(tmp_path, world(USDTUSD=table), currency="USD")


def test_a_rate_published_late_is_not_visible_early(tmp_path: Path) -> None:
    """Of two histories that differ only in what became known after noon of the 4th, all closes up to then are alike."""
    noon = pd.Timestamp("2024-03-04T12:00Z")
    table = rates(START - 4 * HOUR, BARS + 5, "90min")
    changed = table.assign(value=np.where(table["known_at"] > noon, 2.0, table["value"]))
    one, other = (load(tmp_path, world(USDTUSD=each), currency="USD") for each in (table, changed))
    past = np.asarray(one.clock <= noon)
    for column in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(one.raw(PERP, column)[past], other.raw(PERP, column)[past], err_msg=column)
    assert (one.close(PERP)[~past][1:] != other.close(PERP)[~past][1:]).all()
    assert one.clock[-1] == LAST


# ---------------------------------------------------------------- no conversion


def carry(market: Market) -> bt.Result:
    return bt.run(bt.Rule(long=market.leg(COIN), short=market.perpetual), market, execution=FREE)


FLAG = (
    f"MIXED CURRENCIES: {COIN} is in USD and {PERP} is in USDT: the premium contains the exchange rate, nothing converts it, "
    "and cash of both is added one to one."
)


def test_legs_of_two_currencies_are_flagged_in_the_table_the_report_and_the_json(tmp_path: Path) -> None:
    result = carry(load(tmp_path, world()))
    assert FLAG in result.notes
    table = str(result)
    assert FLAG in " ".join(table.split())
    assert max(map(len, table.splitlines())) <= 80
    result.report(tmp_path / "run.html")
    assert FLAG in " ".join((tmp_path / "run.html").read_text(encoding="utf-8").split())
    result.to_json(tmp_path / "run.json")
    assert FLAG in json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["notes"]


def test_converted_legs_are_named_in_the_table_the_report_and_the_json(tmp_path: Path) -> None:
    result = carry(load(tmp_path, world(USDTUSD=rates()), currency="USD", instruments=[COIN, PERP]))
    note = f"Converted from USDT to USD by the series USDTUSD, as known at each bar: {PERP}."
    result.report(tmp_path / "run.html")
    result.to_json(tmp_path / "run.json")
    for text in (
        str(result),
        (tmp_path / "run.html").read_text(encoding="utf-8"),
        *json.loads((tmp_path / "run.json").read_text())["notes"][2:3],
    ):
        assert note in " ".join(text.split())
        assert "MIXED CURRENCIES" not in text


def test_only_the_rules_own_legs_are_flagged(tmp_path: Path) -> None:
    market = load(tmp_path, world())
    result = bt.run(bt.Rule(long=market.leg(SPOT), short=market.perpetual), market, execution=FREE)
    assert not any("MIXED" in note for note in result.notes)


def quoted(*quotes: str) -> list[Instrument]:
    return [instrument(f"I{number}", Kind.FUTURE, quote=quote) for number, quote in enumerate(quotes)]


def test_a_flag_counts_the_contracts_of_a_chain() -> None:
    assert mixed_quotes(quoted("USD", "USD")) == []
    assert mixed_quotes([]) == []
    (told,) = mixed_quotes(quoted("USD", "USDT", "USDT", "USDC", "USDT"))
    assert told.startswith(
        "MIXED CURRENCIES: I0 is in USD and I1 and 2 more are in USDT and I3 is in USDC: the premium contains the exchange rate"
    )
