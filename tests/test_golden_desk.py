"""When a desk trades and when it stays out, worked by hand: funding times, tranches, limits, rolls, calendars; the arithmetic stands in the comments.

Unless a case says otherwise: hourly bars, capital 10,000, size 0.5, no costs and no margin check, all prices at 100 when the rule decides, hence a quantity
of 50. Decisions fall at the close of bar 0 (1 h), fills at the open of bar 1.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import FREE, fills, flat, future, in_memory, near, once, path, perpetual, reasons, sources, spot, traded

import backtest as bt
from backtest.venues.calendar import expiry

NAN, DAY = np.nan, 24.0


def steps(result: bt.Result, slot: str | None = None, unit: float = 1.0) -> list[tuple[float, str, float]]:
    """(hour, action, quantity) of the fills, or of those of a slot."""
    return [(hour / unit, action, quantity) for hour, where, action, quantity, _ in fills(result) if slot in (None, where)]


# ---------------------------------------------------------------- around a funding payment

BARS = 18
PAYING = [(0.0, 0.001), (8.0, 0.001), (16.0, 0.001)]  # 50·100·0.001 = 5 each for a short
COSTING = [(hour, -rate) for hour, rate in PAYING]


@pytest.mark.parametrize(
    ("events", "rule", "entered", "earned"),
    [
        (PAYING, {}, 1.0, 10.0),
        (PAYING, {"funding_entry": "after"}, 8.0, 5.0),  # the fill at 8 h comes after the payment, which belongs to the bar that ends there
        (PAYING, {"funding_entry": "better"}, 1.0, 10.0),
        (COSTING, {}, 1.0, -10.0),
        (COSTING, {"funding_entry": "better"}, 8.0, -5.0),
        (PAYING, {"funding_entry": "after", "funding_wait": "7h"}, 8.0, 5.0),
        (PAYING, {"funding_entry": "after", "funding_wait": "6h"}, 1.0, 10.0),  # 7 hours away
    ],
)
def test_an_entry_may_let_the_next_payment_pass(events: list[Any], rule: dict[str, Any], entered: float, earned: float) -> None:
    result = traded(spot(flat(BARS)), perpetual(flat(BARS), funding=events), **rule)
    assert steps(result) == [(entered, "entry", 50.0), (entered, "entry", -50.0)]
    assert sources(result) == near({"funding": earned})


@pytest.mark.parametrize(("latency", "earned"), [(None, 10.0), ("1h", 5.0)])
def test_an_entry_that_comes_late_misses_a_payment_and_catches_the_next(latency: str | None, earned: float) -> None:
    # Decided at 7 h: in at once, or at 8 h, too late for the payment of 8 h. That of 16 h is caught.
    execution = replace(FREE, latency=latency)
    result = traded(spot(flat(BARS)), perpetual(flat(BARS), funding=PAYING), execution=execution, **once(BARS, at=6))
    assert sources(result) == near({"funding": earned})


# Bars of ten seconds; payments after a minute and after two.
SECONDS = {"step": 10.0 / 3600.0}
MINUTES = [(minute / 60.0, 0.001) for minute in (1.0, 2.0)]


@pytest.mark.parametrize(
    ("latency", "snapshot", "earned"),
    [
        (None, 0.0, 10.0),  # decided and in after 50 s
        ("10s", 0.0, 5.0),  # in after 60 s, just too late
        ("10s", 1.0, 10.0),  # the position of a second past is paid
        (None, -1.0, 10.0),
        (None, -10.0, 5.0),  # that of 50 s comes before the fill at 50 s
    ],
)
def test_a_payment_goes_to_the_position_at_its_snapshot(latency: str | None, snapshot: float, earned: float) -> None:
    execution = replace(FREE, latency=latency, funding_snapshot=snapshot)
    result = traded(None, perpetual(flat(BARS), funding=MINUTES), execution=execution, market=SECONDS, **once(BARS, at=4))
    assert sources(result) == near({"funding": earned})


@pytest.mark.parametrize(("snapshot", "earned"), [(-1.0, 5.0), (0.0, 5.0), (1.0, 0.0)])
def test_who_leaves_at_a_payment_is_paid_unless_its_snapshot_comes_later(snapshot: float, earned: float) -> None:
    # In after 10 s, out after 60 s.
    execution = replace(FREE, funding_snapshot=snapshot)
    result = traded(None, perpetual(flat(BARS), funding=MINUTES), execution=execution, market=SECONDS, max_hold="50s", **once(BARS))
    assert result.trades["exited_at"].tolist() == [result.start + pd.Timedelta("60s")]
    assert result.attribution["funding"].iloc[-1] == near(earned)


@pytest.mark.parametrize(
    ("events", "hold", "left", "earned"),
    [
        (PAYING, False, 4.0, 0.0),
        (PAYING, True, 8.0, 5.0),  # decided at 4 h
        (COSTING, True, 4.0, 0.0),
    ],
)
def test_a_calm_exit_may_wait_for_what_it_will_receive(events: list[Any], hold: bool, left: float, earned: float) -> None:
    legs = spot(flat(BARS)), perpetual(flat(BARS), funding=events)
    result = traded(*legs, max_hold="3h", hold_for_funding=hold, **once(BARS))
    assert steps(result)[2:] == [(left, "exit", -50.0), (left, "exit", 50.0)]
    assert result.attribution["funding"].iloc[-1] == near(earned)


def test_an_urgent_exit_waits_for_no_payment() -> None:
    # Sold at 100, at 105 at the close of 4 h: 250 lost of 10,000.
    short = perpetual(*path(100.0, 100.0, 100.0, *flat(BARS - 3, 105.0)), funding=PAYING)
    result = traded(None, short, loss=0.02, hold_for_funding=True, **once(BARS))
    assert steps(result)[1:] == [(4.0, "exit", 50.0)]
    assert reasons(result) == ["loss"]


def test_funding_is_paid_on_the_index_where_the_venue_says_so() -> None:
    # Hyperliquid pays on its oracle's price: 50·90·0.001, as Binance does on the mark: 50·95·0.001.
    columns = {"index": flat(4, 90.0), "mark": flat(4, 95.0)}
    for venue, earned in [("hyperliquid", 4.5), ("binance", 4.75)]:
        result = traded(None, perpetual(flat(4), columns=columns, funding=[(2.5, 0.001)], venue=venue))
        assert sources(result) == near({"funding": earned})


# ---------------------------------------------------------------- tranches


def test_a_tranche_for_each_funding_window_in_whole_lots() -> None:
    # 50 in thirds are 16, 33, 50. Sent at 1 h, 8 h and 16 h; paid on 16 at 8 h, on 33 at 16 h, on 50 at 24 h: 1.6 + 3.3 + 5.
    events = [(hour, 0.001) for hour in (0.0, 8.0, 16.0, 24.0)]
    legs = spot(flat(25)), perpetual(flat(25), funding=events, lot=1.0)
    result = traded(*legs, entry_tranches=3, tranche_gap="funding")
    assert steps(result, "short") == [(1.0, "entry", -16.0), (8.0, "entry", -17.0), (16.0, "entry", -17.0)]
    assert steps(result, "long") == [(1.0, "entry", 16.0), (8.0, "entry", 17.0), (16.0, "entry", 17.0)]
    assert sources(result) == near({"funding": 9.9})


def test_the_next_payment_is_expected_after_the_interval_of_the_last_event() -> None:
    # Every 8 hours, from 8 h on every 4, from 12 h on every hour. Quarters of 12.5; paid on 12.5 at 8 h, 25 at 12 h, 37.5 at 13 h, 50 at 14 h: 12.5.
    events = [(0.0, 0.001, 8.0), (8.0, 0.001, 4.0), (12.0, 0.001, 1.0), (13.0, 0.001, 1.0), (14.0, 0.001, 1.0)]
    result = traded(None, perpetual(flat(14), funding=events), entry_tranches=4, tranche_gap="funding")
    assert steps(result) == [(1.0, "entry", -12.5), (8.0, "entry", -12.5), (12.0, "entry", -12.5), (13.0, "entry", -12.5)]
    assert sources(result) == near({"funding": 12.5})


def test_a_trade_in_tranches_is_as_good_as_their_mean_price_and_is_complete_with_the_last() -> None:
    # 25 at 100 at 1 h, 25 at 110 at 3 h, after which both shares are 1. While each half is in, the legs have equal shares: nothing is legging.
    prices = path(100.0, 100.0, 110.0, 110.0, 120.0)
    result = traded(spot(*prices), perpetual(*prices), entry_tranches=2, tranche_gap="2h")
    assert steps(result, "long") == [(1.0, "entry", 25.0), (3.0, "entry", 25.0)]
    assert sources(result) == near({"price_long": 25.0 * 20.0 + 25.0 * 10.0, "price_short": -750.0})
    assert result.trades[["entry_long", "quantity"]].iloc[0].tolist() == near([105.0, 50.0])


def test_a_calm_exit_leaves_in_tranches_of_whole_lots() -> None:
    # Three hours are over at 4 h. 50 less a third, down to whole lots: 34, then 50 less 33: 17, then 0; two hours apart.
    result = traded(spot(flat(12), lot=1.0), max_hold="3h", exit_tranches=3, tranche_gap="2h", **once(12))
    assert steps(result)[1:] == [(4.0, "exit", -16.0), (6.0, "exit", -17.0), (8.0, "exit", -17.0)]
    assert (reasons(result), len(result.trades)) == (["time"], 1)


def test_an_urgent_exit_leaves_at_once() -> None:
    result = traded(spot(*path(100.0, 100.0, *flat(6, 60.0))), loss=0.2, exit_tranches=3, tranche_gap="2h", **once(8))
    assert steps(result)[1:] == [(3.0, "exit", -50.0)]


def test_what_is_held_settles_whatever_tranches_are_left() -> None:
    # Half left at 3 h for the time; the future expires at 3.5 h; the spot's other half goes at 4 h and not at 8 h.
    short = future([100.0, 100.0, 100.0, 100.0, *flat(6, NAN)], expiry=3.5, settlement=100.0)
    result = traded(spot(flat(10)), short, max_hold="2h", exit_tranches=2, tranche_gap="5h", **once(10))
    assert steps(result, "long")[1:] == [(3.0, "exit", -25.0), (4.0, "exit", -25.0)]
    assert steps(result, "short")[1:] == [(3.0, "exit", 25.0), (3.5, "settlement", 25.0)]
    assert reasons(result) == ["time"]


@pytest.mark.parametrize(("scale", "quantity"), [(0.5, [25.0]), (2.0, [100.0]), (NAN, []), (0.0, []), (-1.0, [])])
def test_a_scale_multiplies_the_size(scale: float, quantity: list[float]) -> None:
    assert [fill[2] for fill in steps(traded(spot(flat(3)), scale=np.full(3, scale)))] == near(quantity)


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize("pause", ["5h", None])
def test_a_drawdown_ends_the_trade_and_pauses_the_rule(pause: str | None) -> None:
    # 50 from 100 to 75: equity 8,750 = (1 − 0.125)·10,000 at the close of 3 h. Five hours later, at 8 h, half of 8,750 is bought at 75.
    result = traded(spot(*path(100.0, 100.0, *flat(10, 75.0))), drawdown=0.125, pause=pause)
    again = [(8.0, "entry", near(8750.0 / 150.0))] if pause else []
    assert steps(result) == [(1.0, "entry", 50.0), (3.0, "exit", -50.0), *again]
    assert reasons(result)[0] == "drawdown"


def test_a_smaller_fall_pauses_nothing() -> None:
    assert reasons(traded(spot(*path(100.0, 100.0, *flat(4, 75.01))), drawdown=0.125)) == ["end of data"]


def test_after_a_pause_the_peak_is_the_equity_at_its_beginning() -> None:
    # 8,750 at 3 h. From 5 h on 58.33 at 75: they lose 12.5% of 8,750 at 56.25, where 10,000 would have been 12.5% down for long.
    for price, count in [(56.3, 1), (56.2, 2)]:
        result = traded(spot(*path(100.0, 100.0, *flat(4, 75.0), price, price)), drawdown=0.125, pause="2h")
        assert reasons(result).count("drawdown") == count


@pytest.mark.parametrize(("close", "left"), [(101.97, False), (101.98, True)])
def test_a_stop_by_the_annualized_premium_counts_the_days_that_are_left(close: float, left: bool) -> None:
    # Daily bars. Sold at 101 with 73 days left: 0.01·365/73 = 5% a year. With 72 left 10% are a premium of 0.019726.
    short = future(*path(101.0, close, 101.0, 101.0, 101.0), expiry=74 * DAY)
    result = traded(spot(flat(5)), short, stop_annualized=0.05, market={"step": DAY})
    assert reasons(result)[0] == ("stop" if left else "end of data")
    assert steps(result, "short", DAY)[1:2] == ([(2.0, "exit", 50.0)] if left else [])


def test_below_a_day_there_is_no_annualized_premium_to_stop_by() -> None:
    # 23 hours before the end of a contract a premium of 1% would be 381% a year.
    short = future(*path(100.0, 100.0, 101.0, 101.0), expiry=26.0)
    assert reasons(traded(spot(flat(4)), short, stop_annualized=0.05)) == ["end of data"]
    short = future(*path(100.0, 100.0, 101.0, 101.0), expiry=28.0)
    assert reasons(traded(spot(flat(4)), short, stop_annualized=0.05))[0] == "stop"


def test_a_trade_that_has_not_converged_in_time_is_closed() -> None:
    # Entered at 1 h at 72/64, a premium of 0.125. From 4 h on it must be smaller: 71 is, 72 is not.
    for late, left in [(72.0, 4.0), (71.0, 5.0)]:
        result = traded(
            spot(flat(8, 64.0)), perpetual(*path(72.0, 80.0, 80.0, late, 72.0, 72.0, 72.0, 72.0)), converge="3h", size=0.25, **once(8)
        )
        assert (reasons(result), result.trades["exited_at"].tolist()) == (["no convergence"], [result.start + pd.Timedelta(hours=left)])


def test_an_exposure_beyond_its_limit_is_closed() -> None:
    # Hedged, equity stays 10,000: 50·125 are 0.625 of it.
    for price, left in [(125.0, ["end of data"]), (126.0, ["exposure"])]:
        prices = path(100.0, 100.0, price, price)
        assert reasons(traded(spot(*prices), perpetual(*prices), exposure=0.625, **once(4))) == left


# A spread of 4% or depth of 900 is too bad, 2% and 1,000 are good enough, NaN is unknown; the limits are 2.5% and 1,000.
BAD, GOOD, UNKNOWN = (98.0, 102.0, 900.0), (99.0, 101.0, 1000.0), (NAN, NAN, NAN)


@pytest.mark.parametrize("limit", [{"max_spread": 0.025}, {"min_depth": 1000.0}])
def test_an_illiquid_contract_is_not_entered_and_is_left_and_an_unknown_one_is_only_not_entered(limit: dict[str, float]) -> None:
    # Entered at the first good close, that of 3 h; the unknown close of 5 h is sat through, the bad one of 6 h ends it. The spot has no quotes at all.
    states = [BAD, UNKNOWN, GOOD, GOOD, UNKNOWN, BAD, BAD, BAD]
    columns = dict(zip(("bid", "ask", "depth_50bps"), zip(*states, strict=True), strict=True))
    result = traded(spot(flat(8)), perpetual(flat(8), columns=columns), **limit)
    assert steps(result, "short") == [(3.0, "entry", -50.0), (6.0, "exit", 50.0)]
    assert reasons(result) == ["liquidity"]


# ---------------------------------------------------------------- roll


def rolling(execution: bt.Execution = FREE, opens: Sequence[float] = (*flat(9, 106.0), *flat(3, 105.0)), **rule: Any) -> bt.Result:
    """Daily bars: spot at 100, A at 104 until it falls to 103 on its eighth day and ends after ten, B at 106 until it falls to 105 in bar 8."""
    ending = future(
        [*flat(8, 104.0), 103.0, 103.0, NAN, NAN], [*flat(7, 104.0), *flat(3, 103.0), NAN, NAN], expiry=10 * DAY, settlement=103.0
    )
    coming = future(opens, [*flat(8, 106.0), *flat(4, 105.0)], expiry=40 * DAY)
    contracts, step = {"A": ending, "B": coming}, {"step": DAY}
    return traded(spot(flat(12)), contracts, execution=execution, min_days=3.0, roll_days=2.0, market=step, **rule)


def test_a_roll_changes_the_future_and_leaves_the_spot_alone() -> None:
    # Two days before its end, at the close of 8 d, A is due; at the open it is left at 103 and B sold at 106. 50·(104 − 103) + 50·(106 − 105).
    result = rolling()
    assert [(hour / DAY, *rest) for hour, *rest in fills(result)] == [
        (1.0, "long", "entry", 50.0, 100.0),
        (1.0, "short", "entry", -50.0, 104.0),
        (8.0, "short", "roll", 50.0, 103.0),
        (8.0, "short", "roll", -50.0, 106.0),
    ]
    assert result.fills["instrument"].tolist() == ["LONG", "A", "A", "B"]
    assert result.positions["contract"].tolist()[7:9] == ["A", "B"]
    assert sources(result) == near({"price_short": 100.0})
    assert (len(result.trades), reasons(result)) == (1, ["end of data"])


def test_both_halves_of_a_roll_are_paid_for() -> None:
    # 0.1% of 50·(104 + 103 + 106), 0.2% of the same as half a spread: sold at 103.792, bought at 103.206, sold at 105.788.
    result = rolling(replace(FREE, derivative_fee=0.001, half_spread=(0.0, 0.002)))
    assert sources(result) == near(
        {"price_short": 100.0, "fees": -0.05 * (103.792 + 103.206 + 105.788), "slippage": -0.1 * (104.0 + 103.0 + 106.0)}
    )


def test_a_roll_waits_for_a_bar_in_which_both_contracts_trade() -> None:
    # B has no bar 8: both change hands at 9 d, at 103 and 105.
    result = rolling(opens=[*flat(8, 106.0), NAN, 105.0, 105.0, 105.0])
    assert [(hour / DAY, *rest) for hour, *rest in fills(result)][2:] == [
        (9.0, "short", "roll", 50.0, 103.0),
        (9.0, "short", "roll", -50.0, 105.0),
    ]


@pytest.mark.parametrize(("worth", "after"), [(1.0, "roll"), (0.4, "settlement")])
def test_a_roll_needs_the_next_contract_to_pay(worth: float, after: str) -> None:
    # The signal's rows are the pairs (spot, A) and (spot, B).
    result = rolling(signal=np.array([[1.0] + [0.0] * 11, [worth] * 12]), enter=0.5)
    assert [fill[1] for fill in steps(result, "short")][1] == after
    assert reasons(result)[0] == ("end of data" if after == "roll" else "expiry")


def test_time_runs_on_through_a_roll() -> None:
    # In at 1 d, rolled at 8 d, nine days over at 10 d.
    result = rolling(max_hold="9D", signal=np.array([[1.0] + [0.0] * 11, [1.0] * 12]), enter=0.5)
    assert result.trades[["entered_at", "exited_at"]].values.tolist()[0] == [
        result.start + pd.Timedelta(days=1),
        result.start + pd.Timedelta(days=10),
    ]


# ---------------------------------------------------------------- staked coins; 0.073 a year on 5,000 is 1 a day

STAKED = {"step": DAY, "series": {"staking_yield": [(0.0, 0.073)]}}


@pytest.mark.parametrize(("unstake", "left", "earned"), [(None, 3.0, 2.0), ("2D", 5.0, 4.0), ("36h", 5.0, 4.0)])
def test_a_staked_spot_leaves_when_it_is_unstaked_and_its_hedge_stays_with_it(unstake: str | None, left: float, earned: float) -> None:
    # In at 1 d; two days are over at 3 d.
    result = traded(spot(flat(7)), perpetual(flat(7)), stake=True, unstake=unstake, max_hold="2D", market=STAKED, **once(7))
    assert steps(result, unit=DAY)[2:] == [(left, "exit", -50.0), (left, "exit", 50.0)]
    assert sources(result) == near({"staking": earned})


def test_an_expiry_was_known_before_and_nothing_waits() -> None:
    short = future([*flat(3), *flat(4, NAN)], expiry=2.5 * DAY, settlement=100.0)
    result = traded(spot(flat(7)), short, stake=True, unstake="2D", market=STAKED, **once(7))
    assert steps(result, "long", DAY)[1:] == [(3.0, "exit", -50.0)]


def test_after_a_liquidation_the_spot_has_to_be_unstaked_alone() -> None:
    # The short is gone in the bar that ends at 3 d; the spot goes at 5 d.
    squeezed = perpetual(flat(7), columns={"mark_high": [100.0, 100.0, 120.0, *flat(4)], "mark_low": flat(7)})
    execution = replace(FREE, margin="isolated", maintenance=0.01)
    result = traded(spot(flat(7)), squeezed, stake=True, unstake="2D", leverage=10.0, execution=execution, market=STAKED, **once(7))
    assert steps(result, "long", DAY)[1:] == [(5.0, "exit", -50.0)]
    assert reasons(result) == ["liquidation"]


# ---------------------------------------------------------------- calendars

# Bars of 12 hours from Tuesday 2024-03-26 12:00 UTC. The Friday, 2024-03-29, is a holiday in London and in Chicago: the contract of March ends on the
# Thursday at 16:00 in London, 52 hours after the start, in bar 4, which ends at 60 h. CME closes at 21:00 and opens again on Sunday at 22:00, 130.
EASTER, ENDS = {"step": 12.0, "start": "2024-03-26T12:00"}, 52.0
CME = {"venue": "cme", "settlement": 3500.0, "expiry": ENDS}


def test_the_march_contract_of_2024_ends_on_the_thursday() -> None:
    assert expiry("cme", 2024, 3) == pd.Timestamp("2024-03-28T16:00Z") == pd.Timestamp("2024-03-26T12:00Z") + pd.Timedelta(hours=ENDS)


def test_a_spot_that_trades_on_holidays_leaves_at_the_next_open() -> None:
    # Sold at 3,600, settled at 3,500; the spot goes at the beginning of Good Friday, at 60 h.
    ending = future([*flat(4, 3600.0), *flat(9, NAN)], **CME)
    result = traded(spot(flat(13, 3500.0)), ending, size=0.7, market=EASTER, **once(13))
    assert steps(result) == [(12.0, "entry", 2.0), (12.0, "entry", -2.0), (52.0, "settlement", 2.0), (60.0, "exit", -2.0)]
    assert sources(result) == near({"price_short": 200.0})


@pytest.mark.parametrize(("evening", "out", "lost"), [(NAN, 132.0, 100.0), (3460.0, 120.0, 80.0)])
def test_a_contract_of_the_closed_venue_waits_until_it_trades_again(evening: float, out: float, lost: float) -> None:
    # The April contract, held against the March one, has no bar while CME is closed over Easter: the exit is that of the first one after it, with the gap at
    # its open. That is Sunday's, which Sunday's two hours make, from 120 h on; without a trade there Monday's, at 132 h. 2 coins fell by 40 or by 50.
    staying = future([*flat(5, 3500.0), *flat(5, NAN), evening, 3450.0, 3450.0], venue="cme", expiry=747.0)
    ending = future([*flat(4, 3500.0), *flat(9, NAN)], **CME)
    result = traded(staying, ending, size=0.7, market=EASTER, **once(13))
    assert steps(result, "long") == [(12.0, "entry", 2.0), (out, "exit", -2.0)]
    assert sources(result) == near({"legging": -lost})


@pytest.mark.parametrize(("day", "settled"), [("2024-09-27", 105.0), ("2024-12-27", 110.0)])
def test_binances_averaging_window_is_an_hour_and_from_2024_11_11_half_an_hour(day: str, settled: float) -> None:
    # The index stands at 100 until 30 minutes before the delivery at 08:00, then at 110: 105 over an hour, 110 over half of one.
    # 40 sold at 125 for half of 10,000: 40·20 or 40·15.
    index = {"index": [*flat(70, 100.0), *flat(30, 110.0), NAN, NAN]}
    short = future([*flat(100, 125.0), NAN, NAN], expiry=100.0 / 60.0, columns=index)
    result = traded(None, short, market={"step": 1.0 / 60.0, "start": f"{day}T06:20"})
    assert result.trades["settlement_price"].tolist() == near([settled])
    assert sources(result) == near({"price_short": 40.0 * (125.0 - settled)})


@pytest.mark.parametrize(("day", "minutes"), [("2024-11-08", 60), ("2024-11-15", 30)])
def test_the_window_is_that_of_the_day_of_the_delivery(day: str, minutes: int) -> None:
    ending: Sequence[float] = [float(bar) for bar in range(1, 101)]
    market = in_memory({"F": future(ending, expiry=100.0 / 60.0, columns={"index": ending})}, step=1.0 / 60.0, start=f"{day}T06:20")
    assert market.settlement("F")[0] == near(np.mean(ending[-minutes:]))
