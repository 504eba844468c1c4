"""Orders on their way into the market, worked by hand; the arithmetic stands in the comments.

Unless a case says otherwise: hourly bars, capital 10,000, size 0.5, no costs and no margin check, all prices at 100 when the rule decides, hence a quantity
of 50. Decisions fall at the close of bar 0 (1 h), fills at the open of bar 1.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from markets import FREE, Item, fills, flat, future, near, once, path, perpetual, reasons, sources, spot, traded

import backtest as bt

NAN = np.nan


def steps(result: bt.Result, slot: str | None = None) -> list[tuple[float, str, float]]:
    """(hour, action, quantity) of the fills, or of those of a slot."""
    return [(hour, action, quantity) for hour, where, action, quantity, _ in fills(result) if slot in (None, where)]


# ---------------------------------------------------------------- partial fills


def test_a_thin_leg_fills_over_bars_and_the_other_stands_alone_for_the_rest() -> None:
    # A tenth of 200 a bar: 20 at 100, 20 at 110, 10 at 120. Shares of the short: 0.4, 0.8, 1.
    # Spot 100 → 110 → 120 → 130: 500 each, of which 200, 400 and 500 are hedged; the short loses 20·10, 40·10, 50·10.
    closes = (100.0, 110.0, 120.0, 130.0, 130.0)
    thick, thin = ({"columns": {"volume": flat(5, volume)}} for volume in (1e6, 200.0))
    result = traded(spot(*path(*closes), **thick), perpetual(*path(*closes), **thin), execution=replace(FREE, participation=0.1))
    assert steps(result, "long") == [(1.0, "entry", 50.0)]
    assert steps(result, "short") == near_steps([(1.0, "entry", -20.0), (2.0, "entry", -20.0), (3.0, "entry", -10.0)])
    # From bar 1's open at 100: 100 → 110 in bar 1, 110 → 120 in bar 2, 120 → 130 in bar 3.
    assert sources(result) == near({"price_long": 1100.0, "price_short": -1100.0, "legging": 400.0})
    row = result.trades.iloc[0]
    assert (row["entry_long"], row["entry_short"], row["quantity"]) == near(
        (100.0, (20.0 * 100.0 + 20.0 * 110.0 + 10.0 * 120.0) / 50.0, 50.0)
    )


def near_steps(expected: Sequence[tuple[float, str, float]]) -> list[tuple[float, str, Any]]:
    return [(hour, action, near(quantity)) for hour, action, quantity in expected]


@pytest.mark.parametrize(
    ("lot", "parts"),
    [
        (3.0, [18.0, 18.0, 12.0]),  # 48 in lots of 3: 20 are 18; the last 12 fit whole
        (15.0, [15.0, 15.0, 15.0]),
        (21.0, []),  # 20 are not one lot
    ],
)
def test_a_part_comes_in_whole_lots(lot: float, parts: list[float]) -> None:
    thin = spot(flat(6), columns={"volume": flat(6, 200.0)}, lot=lot)
    assert [quantity for _, _, quantity in steps(traded(thin, execution=replace(FREE, participation=0.1)))] == near(parts)


def test_a_bar_without_volume_fills_nothing() -> None:
    thin = spot(flat(6), columns={"volume": [1.0, 0.0, NAN, 1e6, 1e6, 1e6]})
    assert steps(traded(thin, execution=replace(FREE, participation=0.1))) == [(3.0, "entry", 50.0)]


def test_stress_halves_the_room() -> None:
    # Known at the opens of bars 1, 2, 3: 2, 4, 1. A tenth of 200 less: 10, 5, 20.
    thin = spot(flat(4), columns={"volume": flat(4, 200.0)})
    execution = replace(FREE, participation=0.1, stress=np.array([2.0, 4.0, 1.0, 1.0]))
    assert [quantity for _, _, quantity in steps(traded(thin, execution=execution))] == near([10.0, 5.0, 20.0])


# ---------------------------------------------------------------- impact and spread

ROOT = replace(FREE, impact=0.05)
LINEAR = replace(FREE, impact=0.05, impact_model="linear")


def test_square_root_impact_grows_with_the_root_of_the_share_of_a_days_volume() -> None:
    # 50·100 of 1,250·100 a day is 4%, its root 0.2: 0.05·0.2 = 1% of 5,000.
    result = traded(spot(flat(3), columns={"volume": flat(3, 1250.0)}), execution=ROOT)
    assert sources(result) == near({"slippage": -50.0})
    assert result.fills["price"].tolist() == near([101.0])


def test_that_volume_is_of_the_24_hours_before_the_open() -> None:
    # Decided at 25 h. Bar 0, which ended at 1 h, is a day old and doesn't count; the 1,250 of bar 24 do, those of bar 25 are not known yet.
    volume = [1e9, *flat(23, 0.0), 1250.0, 1e9, 1e9]
    assert sources(traded(spot(flat(27), columns={"volume": volume}), execution=ROOT, **once(27, at=24))) == near({"slippage": -50.0})


def test_linear_impact_grows_with_the_share_of_the_depth() -> None:
    # 5,000 of 50,000, as known at the open: 0.05·0.1 = 0.5% of 5,000.
    result = traded(spot(flat(3), columns={"depth_50bps": [50_000.0, 1.0, 1.0]}), execution=LINEAR)
    assert sources(result) == near({"slippage": -25.0})


def test_where_the_impact_is_unknown_nothing_fills() -> None:
    for execution, column, unknown in [(LINEAR, "depth_50bps", NAN), (LINEAR, "depth_50bps", 0.0), (ROOT, "volume", 0.0)]:
        one = spot(flat(4), columns={column: [unknown, 1250.0, 1250.0, 1250.0]})
        assert steps(traded(one, execution=execution)) == [(2.0, "entry", 50.0)]


def test_each_leg_has_its_own_impact() -> None:
    # The spot none; the perpetual 1% of 5,000.
    legs = spot(flat(3)), perpetual(flat(3), columns={"volume": flat(3, 1250.0)})
    result = traded(*legs, execution=replace(FREE, impact=(0.0, 0.05)))
    assert result.fills["slippage"].tolist() == near([0.0, 50.0])


def test_stress_multiplies_spread_and_impact() -> None:
    # 2·(0.1% + 1%) of 5,000, with the multiplier known at the open of bar 1.
    execution = replace(ROOT, half_spread=0.001, stress=np.array([2.0, 9.0, 9.0]))
    assert sources(traded(spot(flat(3), columns={"volume": flat(3, 1250.0)}), execution=execution)) == near({"slippage": -110.0})


@pytest.mark.parametrize(("spread", "slippage"), [(0.01, -50.0), (NAN, -0.5)])
def test_a_half_spread_by_time_is_that_known_at_the_open_else_a_basis_point(spread: float, slippage: float) -> None:
    assert sources(traded(spot(flat(3)), execution=replace(FREE, half_spread=np.array([spread, 0.2, 0.2])))) == near({"slippage": slippage})


@pytest.mark.parametrize(
    ("contract", "fee"),
    [
        (0.1, 100.0),  # 500 micro contracts of a tenth at 0.20
        (50.0, 4.0),  # one large contract
    ],
)
def test_cme_charges_by_the_contract(contract: float, fee: float) -> None:
    dated = future(flat(3), expiry=900.0, venue="cme", multiplier=contract)
    result = traded(None, dated, execution=replace(FREE, derivative_fee=None))
    assert sources(result) == near({"fees": -fee})


# ---------------------------------------------------------------- makers: quotes of 99 and 101 at every bar's end, half a spread of 1%

QUOTED = replace(FREE, half_spread=None)
BESIDE = replace(FREE, half_spread=(0.0, None))


def resting(kind: Any, lows: Sequence[float], highs: Sequence[float], opens: Sequence[float] | None = None, **more: Any) -> Item:
    prices = flat(len(lows)) if opens is None else opens
    quotes = {"bid": [0.99 * price for price in prices], "ask": [1.01 * price for price in prices]}
    return kind(prices, columns={"low": lows, "high": highs} | quotes | more.pop("columns", {}), **more)


def test_a_resting_order_fills_when_the_bar_trades_through_it_and_earns_the_spread() -> None:
    # Rests at 100·0.99 = 99: a low of 99 only touches it, 98.9 goes through. 50 at 99 instead of 100.
    buyer = resting(spot, [100.0, 99.0, 98.9, 100.0], flat(4))
    result = traded(buyer, execution=replace(QUOTED, maker="long"))
    assert fills(result) == [(2.0, "long", "entry", 50.0, 100.0)]
    assert result.fills["price"].tolist() == near([99.0])
    assert sources(result) == near({"slippage": 50.0})


def test_a_resting_sale_needs_a_high_above_it() -> None:
    seller = resting(perpetual, flat(4), [100.0, 101.0, 101.1, 100.0])
    result = traded(None, seller, execution=replace(QUOTED, maker="short"))
    assert fills(result) == [(2.0, "short", "entry", -50.0, 100.0)]
    assert result.fills["price"].tolist() == near([101.0])


def test_it_rests_anew_at_each_bars_open() -> None:
    # Bar 1 opens at 100 and stays above 99; bar 2 opens at 110 and rests at 108.9, which a low of 108 goes through.
    buyer = resting(spot, [100.0, 99.5, 108.0, 110.0], [100.0, 100.0, 110.0, 110.0], [100.0, 100.0, 110.0, 110.0])
    result = traded(buyer, execution=replace(QUOTED, maker="both"))
    assert result.fills[["reference", "price"]].iloc[0].tolist() == near([110.0, 108.9])


def test_a_resting_leg_that_is_not_reached_leaves_the_other_alone() -> None:
    # The spot is taken at 100 and goes to 90 alone: 50·10 of legging.
    rested = resting(perpetual, [100.0, 100.0, 95.0, 90.0], [100.0, 100.5, 100.5, 95.5], [100.0, 100.0, 100.0, 95.0])
    result = traded(spot(*path(100.0, 100.0, 95.0, 90.0)), rested, execution=replace(BESIDE, maker="short"))
    assert steps(result) == [(1.0, "entry", 50.0)]
    assert sources(result) == near({"legging": -500.0})


def test_stress_and_impact_leave_a_resting_order_alone() -> None:
    buyer = resting(spot, flat(3, 98.9), flat(3), columns={"volume": flat(3, 1250.0)})
    result = traded(buyer, execution=replace(QUOTED, impact=0.05, maker="long", stress=2.0))
    assert sources(result) == near({"slippage": 50.0})


def test_a_resting_order_fills_no_more_than_its_share_of_the_volume() -> None:
    # A tenth of 200 in each bar that trades through it: bars 1 and 3.
    buyer = resting(spot, [100.0, 98.0, 100.0, 98.0], flat(4), columns={"volume": flat(4, 200.0)})
    result = traded(buyer, execution=replace(QUOTED, maker="long", participation=0.1))
    assert steps(result) == near_steps([(1.0, "entry", 20.0), (3.0, "entry", 20.0)])


BINANCE = replace(BESIDE, derivative_fee=None, maker="short")


def test_a_maker_pays_the_venues_makers_fee() -> None:
    # Binance in 2024: 2 bps of 50·101.
    result = traded(spot(flat(3)), resting(perpetual, flat(3), flat(3, 102.0)), execution=BINANCE)
    assert sources(result) == near({"fees": -1.01, "slippage": 50.0})


def test_after_its_patience_it_chases_as_a_taker_for_the_takers_fee() -> None:
    # Ready at 1 h, two hours over at the close of 3 h: sold at 100·0.99 for 5 bps of 50·99.
    result = traded(spot(flat(5)), resting(perpetual, flat(5), flat(5)), execution=replace(BINANCE, policy="chase", patience="2h"))
    assert steps(result, "short") == [(3.0, "entry", -50.0)]
    assert sources(result) == near({"fees": -2.475, "slippage": -50.0})


def test_fees_are_those_of_the_day_of_the_fill() -> None:
    # BitMEX until 2023-01-17: takers 5 bps, makers are paid 1 bp; from then on 7.5 bps and 2 bps. In at 23:00 on the 16th, out at midnight.
    # The maker sells at 101 and buys back at 99.
    for maker, fees in [("none", -(2.5 + 3.75)), ("both", 0.505 - 0.99)]:
        short = resting(perpetual, flat(4, 98.0), flat(4, 102.0), venue="bitmex")
        execution = replace(FREE if maker == "none" else QUOTED, derivative_fee=None, maker=maker)
        result = traded(None, short, execution=execution, max_hold="1h", market={"start": "2023-01-16T22:00"}, **once(4))
        assert result.attribution["fees"].iloc[-1] == near(fees)


# ---------------------------------------------------------------- a leg that doesn't fill

OUT = [100.0, NAN, NAN, NAN, NAN, 90.0, 90.0, 90.0]  # no trades from 1 h to 5 h
FALLING = path(100.0, 95.0, 90.0, 90.0, 90.0, 90.0, 90.0, 90.0)


def test_while_one_venue_is_out_the_other_leg_waits() -> None:
    # The spot alone from 100 to 90: 50·10 of legging.
    result = traded(spot(*FALLING), perpetual(OUT))
    assert steps(result) == [(1.0, "entry", 50.0), (5.0, "entry", -50.0)]
    assert sources(result) == near({"legging": -500.0})


def test_undone_after_its_patience() -> None:
    # Ready at 1 h; at the close of 3 h it has waited 2 h. The spot is sold at 90.
    result = traded(spot(*FALLING), perpetual(OUT), execution=replace(FREE, policy="undo", patience="2h"), **once(8))
    assert steps(result) == [(1.0, "entry", 50.0), (3.0, "exit", -50.0)]
    assert (reasons(result), sources(result)) == (["unfilled"], near({"legging": -500.0}))


def test_with_more_patience_it_fills_in_time() -> None:
    # At the close of 5 h four hours are over; the fill comes at that instant's open.
    for patience, left in [("4h", ["unfilled"]), ("5h", ["end of data"])]:
        result = traded(spot(*FALLING), perpetual(OUT), execution=replace(FREE, policy="undo", patience=patience), **once(8))
        assert reasons(result) == left


def test_a_chase_can_not_trade_while_the_venue_is_out() -> None:
    result = traded(spot(*FALLING), perpetual(OUT), execution=replace(FREE, policy="chase", patience="2h"))
    assert steps(result) == [(1.0, "entry", 50.0), (5.0, "entry", -50.0)]


def test_a_chase_takes_the_rest_whatever_the_volume() -> None:
    # 20 in bar 1; at its close an hour is over: the other 30 in bar 2.
    thin = {"columns": {"volume": flat(4, 200.0)}}
    execution = replace(FREE, participation=0.1, policy="chase", patience="1h")
    result = traded(spot(flat(4), columns={"volume": flat(4, 1e6)}), perpetual(flat(4), **thin), execution=execution)
    assert steps(result, "short") == near_steps([(1.0, "entry", -20.0), (2.0, "entry", -30.0)])


def test_undoing_takes_back_what_has_filled_of_both_legs() -> None:
    # 20 of 50 in bar 1; at its close the trade is left: both go at 2 h, the short's 20 in one bar.
    thin = {"columns": {"volume": flat(4, 200.0)}}
    execution = replace(FREE, participation=0.1, policy="undo", patience="1h")
    result = traded(spot(flat(4), columns={"volume": flat(4, 1e6)}), perpetual(flat(4), **thin), execution=execution, **once(4))
    assert steps(result, "long") == near_steps([(1.0, "entry", 50.0), (2.0, "exit", -50.0)])
    assert steps(result, "short") == near_steps([(1.0, "entry", -20.0), (2.0, "exit", 20.0)])
    assert reasons(result) == ["unfilled"]


def test_each_leg_has_its_own_way_to_the_market() -> None:
    # Decided at 1 h: the spot's order is there at 1:30 and fills at 2 h, the perpetual's at 3 h. The spot alone from 100 to 110.
    prices = path(100.0, 100.0, 110.0, 110.0, 110.0)
    result = traded(spot(*prices), perpetual(*prices), execution=replace(FREE, latency=("30min", "2h")))
    assert steps(result) == [(2.0, "entry", 50.0), (3.0, "entry", -50.0)]
    assert sources(result) == near({"legging": 500.0})


def test_latency_counts_for_exits_too() -> None:
    # In at 2 h; at the close of 4 h two hours are over; out at 5 h.
    result = traded(spot(flat(7)), execution=replace(FREE, latency="1h"), max_hold="2h", **once(7))
    assert steps(result) == [(2.0, "entry", 50.0), (5.0, "exit", -50.0)]
