"""What the data of a run's instruments hold and lack, counted by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import (
    BARS,
    FAR,
    FAR_EXPIRY,
    HOUR,
    LAST,
    NEAR,
    NEAR_EXPIRY,
    PERP,
    SPOT,
    START,
    bars,
    ether,
    flat,
    funding,
    future,
    in_memory,
    instrument,
    load,
    only,
    perpetual,
    spot,
    times,
)  # fmt: skip

import backtest as bt
from backtest.data.schema import Tables
from backtest.instruments import Kind
from backtest.quality import COLUMNS, table

NONE = pd.Timedelta(0)


def row(market: bt.Market, name: str) -> dict[str, Any]:
    """The row of an instrument that a rule holds alone."""
    found: dict[str, Any] = table(market, [bt.Rule(long=market.leg(name))]).loc[name].to_dict()
    return found


def holed(tables: Tables, name: str, *gone: int) -> Tables:
    """Without some bars of an instrument, counted from 0."""
    tables.bars[name] = tables.bars[name].drop(tables.bars[name].index[list(gone)])
    return tables


# ---------------------------------------------------------------- by hand


def test_data_without_a_hole(tmp_path: Path) -> None:
    """200 hours: a payment at 0:00 of the first day belongs to no bar, those at 8, 16, … 200 do."""
    market = load(tmp_path, ether())
    assert row(market, PERP) == {
        "kind": "perpetual", "start": START + HOUR, "end": LAST, "bars": BARS, "expected": BARS, "longest_hole": NONE, "stale": 0,
        "payments": 25, "missing_payments": 0, "quoted": 0.0, "marked": 0.0,
    }  # fmt: skip
    alive = (NEAR_EXPIRY - START) // HOUR
    assert row(market, NEAR) == {
        "kind": "future", "start": START + HOUR, "end": NEAR_EXPIRY, "bars": alive, "expected": alive, "longest_hole": NONE, "stale": 0,
        "payments": 0, "missing_payments": 0, "quoted": 0.0, "marked": 0.0,
    }  # fmt: skip


def test_the_table_has_what_the_rules_may_hold_once_and_in_order(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    chain = bt.Rule(long=market.spot, short=market.future_chain(min_days=20))
    found = table(market, [chain, bt.Rule(long=market.perpetual, short=market.leg(NEAR))])
    assert list(found.index) == [SPOT, NEAR, FAR, PERP]
    assert found.index.name == "instrument"
    assert tuple(found.columns) == COLUMNS
    result = bt.run([chain, bt.Rule(long=market.spot, short=market.perpetual)], market)
    assert list(result.quality.index) == [SPOT, NEAR, FAR, PERP]
    pd.testing.assert_frame_equal(result.results["Rule"].quality, found.loc[[SPOT, NEAR, FAR]])
    assert list(bt.run(bt.Rule(short=market.perpetual), market).quality.index) == [PERP]


def test_contracts_that_are_not_in_the_run_are_not_in_the_table(tmp_path: Path) -> None:
    market = load(tmp_path, ether(), NEAR_EXPIRY + HOUR)
    result = bt.run(bt.Rule(long=market.spot, short=market.future_chain()), market)
    assert list(result.quality.index) == [SPOT, FAR]
    assert result.quality.loc[FAR, "start"] == NEAR_EXPIRY + 2 * HOUR
    assert result.quality.loc[FAR, "expected"] == (LAST - NEAR_EXPIRY) // HOUR - 1


def test_holes_are_as_long_as_from_one_bar_to_the_next(tmp_path: Path) -> None:
    """One bar gone makes two hours, three in a row four; the other instruments hold the clock."""
    market = load(tmp_path, holed(ether(), SPOT, 20, 50, 51, 52))
    assert row(market, SPOT) | {"start": 0, "end": 0} == {
        "kind": "spot", "start": 0, "end": 0, "bars": BARS - 4, "expected": BARS, "longest_hole": 4 * HOUR, "stale": 4, "payments": 0,
        "missing_payments": 0, "quoted": 0.0, "marked": 0.0,
    }  # fmt: skip
    assert row(market, PERP)["longest_hole"] == NONE


def test_a_close_that_is_fresh_enough_is_not_stale(tmp_path: Path) -> None:
    """Of the holes above the first hour of each meets others with staleness=1h, two more are too old."""
    market = load(tmp_path, holed(ether(), SPOT, 20, 50, 51, 52), staleness="1h")
    assert row(market, SPOT)["stale"] == 2
    assert row(market, SPOT)["bars"] == BARS - 4


def test_what_begins_late_and_ends_early_is_asked_for_its_life_only(tmp_path: Path) -> None:
    """The far future begins ten hours late, which is no hole; its bars end eight hours before the run, which is one."""
    market = load(tmp_path, holed(ether(), FAR, *range(10), *range(BARS - 8, BARS)))
    found = row(market, FAR)
    assert (found["start"], found["end"]) == (START + 11 * HOUR, LAST - 8 * HOUR)
    assert (found["bars"], found["expected"], found["stale"]) == (BARS - 18, BARS - 10, 8)
    assert found["longest_hole"] == 8 * HOUR


def test_a_contract_whose_bars_end_before_its_expiry_has_a_hole_until_then(tmp_path: Path) -> None:
    alive = (NEAR_EXPIRY - START) // HOUR
    market = load(tmp_path, holed(ether(), NEAR, *range(alive - 6, alive)))
    found = row(market, NEAR)
    assert (found["bars"], found["expected"], found["longest_hole"], found["end"]) == (alive - 6, alive, 6 * HOUR, NEAR_EXPIRY - 6 * HOUR)


def test_payments_that_the_data_lack(tmp_path: Path) -> None:
    """Of those at 8, 16, … 200 hours the ones at 40 and 48 are gone; bars from the 31st hour on see those from 32 on."""
    tables = ether()
    tables.funding[PERP] = tables.funding[PERP].drop([START + 40 * HOUR, START + 48 * HOUR])
    market = load(tmp_path, tables)
    assert (row(market, PERP)["payments"], row(market, PERP)["missing_payments"]) == (23, 2)
    late = load(tmp_path, holed(ether(), PERP, *range(31)))
    assert (row(late, PERP)["payments"], row(late, PERP)["missing_payments"]) == (22, 0)


def test_a_perpetual_without_any_payment(tmp_path: Path) -> None:
    tables = ether()
    del tables.funding[PERP]
    market = load(tmp_path, tables)
    found = row(market, PERP)
    assert (found["payments"], found["missing_payments"]) == (0, 25)


def test_quotes_and_marks_are_shares_of_the_bars_that_there_are(tmp_path: Path) -> None:
    """40 bars of 200 have both quotes, 100 a mark, 50 others only the mark's extremes; ten bars of the perpetual are gone."""
    tables = ether()
    count = np.arange(BARS)
    frame = tables.bars[PERP]
    close = frame["close"]
    tables.bars[PERP] = frame.assign(
        bid=np.where(count < 100, close - 0.1, np.nan),
        ask=np.where((count >= 60) & (count < 150), close + 0.1, np.nan),
        mark=np.where(count < 100, close, np.nan),
        mark_high=np.where((count >= 50) & (count < 150), close, np.nan),
        mark_low=np.where(count >= 50, close, np.nan),
    )
    whole = load(tmp_path / "whole", tables)
    assert (row(whole, PERP)["quoted"], row(whole, PERP)["marked"]) == (0.2, 0.75)
    cut = load(tmp_path / "cut", holed(tables, PERP, *range(60, 70)))
    assert (row(cut, PERP)["quoted"], row(cut, PERP)["marked"]) == pytest.approx((30 / 190, 140 / 190))
    tables.bars[PERP] = tables.bars[PERP].drop(columns=["mark", "ask", "mark_high"])
    assert (row(load(tmp_path / "half", tables), PERP)["quoted"], row(load(tmp_path / "half", tables), PERP)["marked"]) == (0.0, 0.0)


# ---------------------------------------------------------------- other clocks


def test_a_venue_that_closes_beside_one_that_does_not(tmp_path: Path) -> None:
    """The future has a bar at the end of weekdays, the spot at every hour: Friday 1 March to Saturday 9 March is 6 bars of 177 ticks, with a weekend of three days."""
    tables = only(ether(), SPOT)
    days = pd.DatetimeIndex([day for day in times(START + 22 * HOUR, 8, "D") if day.day_of_week < 5], name="ts")
    tables.instruments.append(instrument("ETH-240329.cme", Kind.FUTURE, FAR_EXPIRY, venue="cme"))
    tables.bars["ETH-240329.cme"] = bars(np.linspace(2000.0, 2010.0, len(days)), days)
    found = row(load(tmp_path, tables), "ETH-240329.cme")
    assert (found["bars"], found["expected"], found["stale"]) == (6, 200 - 21, 200 - 21 - 6)
    assert found["longest_hole"] == pd.Timedelta("3D")
    market = load(tmp_path / "week", tables, "2024-03-04", "2024-03-07T22:00")
    found = row(market, "ETH-240329.cme")
    assert (market.step, found["bars"], found["longest_hole"]) == (HOUR.value, 4, NONE), "a day from bar to bar is no hole in bars of a day"


def test_bars_that_were_put_together(tmp_path: Path) -> None:
    """The day that began with the near future's last eight hours ends after its expiry: five bars are left, and no hole as the eighth hour is less than a day away."""
    market = load(tmp_path, ether(), freq="1D")
    result = bt.run(bt.Rule(long=market.spot, short=market.future_chain()), market)
    assert result.quality["bars"].to_dict() == {SPOT: 8, NEAR: 5, FAR: 8}
    assert result.quality["expected"].to_dict() == {SPOT: 8, NEAR: 5, FAR: 8}
    assert (result.quality["longest_hole"] == NONE).all()
    assert result.quality.loc[NEAR, "end"] == pd.Timestamp("2024-03-06", tz="UTC")


def test_one_bar_and_none() -> None:
    market = in_memory({"SPOT": spot([100.0]), "PERP": perpetual([100.0], funding=[(1.0, 0.01)])})
    found = row(market, "PERP")
    assert (found["bars"], found["expected"], found["payments"], found["longest_hole"], found["start"]) == (1, 1, 1, NONE, found["end"])
    frame = market.bars("PERP")
    dark = row(market.altered({"PERP": frame.assign(close=np.nan)}), "PERP")
    assert (dark["bars"], dark["expected"], dark["longest_hole"]) == (0, 1, NONE)
    assert pd.isna(dark["start"])
    assert np.isnan(dark["quoted"])


def test_bars_that_a_scenario_took_away_are_a_hole() -> None:
    market = in_memory({"SPOT": spot(flat(9)), "PERP": perpetual(flat(9))})
    frame = market.bars("PERP")
    frame.loc[frame.index[2:5], :] = np.nan
    found = row(market.altered({"PERP": frame}), "PERP")
    assert (found["bars"], found["expected"], found["longest_hole"], found["stale"]) == (6, 9, 4 * HOUR, 3)


def test_an_inverse_contract_and_a_future_that_lives_on() -> None:
    market = in_memory({"SPOT": spot(flat(5)), "COIN": future(flat(5), expiry=500.0, face=10.0)})
    assert row(market, "COIN") | {"start": 0, "end": 0, "quoted": 0, "marked": 0} == {
        "kind": "future", "start": 0, "end": 0, "bars": 5, "expected": 5, "longest_hole": NONE, "stale": 0, "payments": 0,
        "missing_payments": 0, "quoted": 0, "marked": 0,
    }  # fmt: skip


def test_kinds_of_numbers(tmp_path: Path) -> None:
    found = bt.run(bt.Rule(long=load(tmp_path, ether()).spot), load(tmp_path, ether())).quality
    assert found.dtypes[["bars", "expected", "stale", "payments", "missing_payments"]].tolist() == [np.int64] * 5
    assert found.dtypes[["quoted", "marked"]].tolist() == [np.float64] * 2
    assert str(found["start"].dt.tz) == "UTC"
    assert found["longest_hole"].dtype.kind == "m"


def test_events_of_another_schedule_are_counted_as_they_are(tmp_path: Path) -> None:
    tables = ether()
    tables.funding[PERP] = funding(times(START, BARS + 1, "h"), 1e-5, hours=1.0)
    assert row(load(tmp_path, tables), PERP)["payments"] == BARS
