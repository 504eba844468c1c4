"""Margin, collateral and wallets, worked by hand; the arithmetic stands in the comments.

Unless a case says otherwise: hourly bars, capital 10,000, size 0.5, no costs, all prices at 100 when the rule decides, hence a quantity of 50. Decisions
fall at the close of bar 0, fills at the open of bar 1.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import FREE, HOUR, START, Item, fills, flat, near, once, path, perpetual, reasons, sources, spot, traded

import backtest as bt

MARGIN = replace(FREE, margin=bt.Margin.ISOLATED, maintenance=0.01)


def squeezed(price: float, bars: int, bar: int, high: float, **more: Any) -> Item:
    """A perpetual at one price whose mark reaches `high` in one bar."""
    highs = [high if number == bar else price for number in range(bars)]
    return perpetual(flat(bars, price), columns={"mark_high": highs, "mark_low": flat(bars, price)}, **more)


def liquidated_at(result: bt.Result) -> list[float]:
    return [fill[4] for fill in fills(result) if fill[2] == "liquidation"]


# ---------------------------------------------------------------- maintenance


@pytest.mark.parametrize(("high", "liquidated"), [(109.9, False), (110.1, True)])
def test_a_short_sold_at_101_with_leverage_10_is_liquidated_at_110(high: float, liquidated: bool) -> None:
    # 50 at 101: collateral 505. 505 − 50·(m − 101) = 0.01·50·m: 5,555 = 50.5·m. Fee 0.005·50·110 = 27.5 of the 55 that are left.
    result = traded(
        None, squeezed(101.0, 4, 2, high), size=0.505, leverage=10.0, execution=replace(MARGIN, liquidation_fee=0.005), **once(4)
    )
    assert liquidated_at(result) == near([110.0] if liquidated else [])
    assert sources(result) == near({"price_short": -450.0, "liquidation": -27.5} if liquidated else {})


def venue_margin(price: float, size: float, high: float, bar: int, *, start: str, capital: float, bars: int) -> list[float]:
    """Where a short at 10x on Binance's ETHUSDT is liquidated whose mark reaches `high` in one bar."""
    execution, one = replace(FREE, margin=bt.Margin.ISOLATED, maintenance=None), {"size": size, "leverage": 10.0, "capital": capital}
    return liquidated_at(traded(None, squeezed(price, bars, bar, high), execution=execution, market={"start": start}, **one, **once(bars)))


@pytest.mark.parametrize(("high", "price"), [(2622.89, []), (2622.91, [105_965.0 / 40.4])])
def test_a_position_that_grows_into_the_next_tier_is_margined_by_that_tiers_rate_and_deduction(high: float, price: list[float]) -> None:
    # December 2021: 0.5% up to 10,000, 0.65% up to 100,000, 1% up to 500,000. Deductions: 10,000·0.0015 = 15, 15 + 100,000·0.0035 = 365.
    # 40 sold at 2,400 are 96,000, in the second tier: 0.0065·96,000 − 15 = 609. At 100,000 both tiers ask 635.
    # Collateral 9,600: 9,600 − 40·(m − 2,400) = 0.01·40·m − 365: 105,965 = 40.4·m, m = 2,622.896, a notional of 104,916, in the third tier.
    assert venue_margin(2400.0, 0.96, high, 2, start="2021-12-01", capital=100_000.0, bars=4) == near(price)


@pytest.mark.parametrize(
    ("bar", "high", "price"),
    [
        (3, 3227.0, []),  # until midnight 5% above 1,000,000, deduction 5,365 + 1,000,000·0.03 = 35,365
        (3, 3227.1, [1_355_365.0 / 420.0]),  # 120,000 − 400·(m − 3,000) = 0.05·400·m − 35,365: m = 3,227.06
        (4, 3227.1, []),
        (4, 3248.4, []),  # from midnight 2% from 500,000 to 1,500,000, deduction 5,365
        (4, 3248.5, [1_325_365.0 / 408.0]),  # 120,000 − 400·(m − 3,000) = 0.02·400·m − 5,365: m = 3,248.44
    ],
)
def test_the_tiers_of_2022_05_01_move_the_liquidation_price_of_a_position_that_is_open(bar: int, high: float, price: list[float]) -> None:
    # 400 sold at 3,000 = 1,200,000 at 21:00 on 2022-04-30; bar 3 opens at 23:00, bar 4 at midnight.
    assert venue_margin(3000.0, 1.2, high, bar, start="2022-04-30T20:00", capital=1_000_000.0, bars=6) == near(price)


# ---------------------------------------------------------------- top-ups: 50 sold at 100 with leverage 10, collateral 500

TOP_UP = replace(MARGIN, top_up=0.5, transfer_fee=1.0)


def rise(*highs: float, closes: Sequence[float] = (100.0, 106.0, 106.0, 106.0, 106.0, 106.0)) -> Item:
    """Closes at 106 from bar 1 on, the mark's highs from bar 2 on as given."""
    opens, last = path(*closes)
    reached = [closes[0], closes[1], *highs, *closes[2 + len(highs) :]]
    return perpetual(opens, last, columns={"mark_high": reached, "mark_low": opens})


def test_a_top_up_that_arrives_in_time_saves_the_position() -> None:
    # Close of bar 1 (2 h): 500 − 50·6 = 200 are left, less than half of 50·106/10 = 530, so 330 are sent for a fee of 1. At 3 h they are there:
    # 830 − 50·(m − 100) = 0.5·m: m = 5,830/50.5 = 115.4; without them 108.9.
    for high, price in [(112.0, []), (115.4, []), (115.5, [5830.0 / 50.5])]:
        result = traded(None, rise(108.0, high), leverage=10.0, execution=replace(TOP_UP, transfer_delay="1h"), **once(6))
        assert liquidated_at(result) == near(price)
        if not price:
            assert sources(result) == near({"price_short": -300.0, "fees": -1.0})


def test_a_top_up_that_arrives_too_late_comes_back_as_cash() -> None:
    # Under way until 4 h; in bar 3 (3 to 4 h) the mark reaches 112: liquidated at 5,500/50.5 = 108.91, a loss of 445.54.
    result = traded(None, rise(108.0, 112.0), leverage=10.0, execution=replace(TOP_UP, transfer_delay="2h"), **once(6))
    assert liquidated_at(result) == near([5500.0 / 50.5])
    assert sources(result) == near({"price_short": -50.0 * (5500.0 / 50.5 - 100.0), "fees": -1.0})
    assert result.equity.iloc[-1] == near(9999.0 - 50.0 * (5500.0 / 50.5 - 100.0))


def test_money_on_its_way_to_an_account_earns_nothing_and_comes_back_to_the_balance() -> None:
    # 0.876 a year is 1 in 10,000 an hour. 10,000 earn 1; 10,001 − 500 earn 0.9501 in bar 1. Then 9,501.9501 − 331 = 9,170.9501 earn in bars 2 and 3;
    # lot 1 keeps the quantity at 50. The liquidation adds the 0.01·50·108.91 that are left; bar 4 begins with the 330 back.
    one = rise(108.0, 112.0)
    execution = replace(TOP_UP, transfer_delay="2h", idle_rate=0.876)
    result = traded(None, replace(one, facts={"lot": 1.0}), leverage=10.0, execution=execution, **once(6))
    sent = 9501.0 + 0.9501 - 331.0
    after = sent + 2.0 * sent * 1e-4 + 0.5 * 5500.0 / 50.5 + 330.0
    assert result.attribution["idle_cash"].tolist()[:5] == near(
        [1.0, 1.9501, 1.9501 + sent * 1e-4, 1.9501 + 2 * sent * 1e-4, 1.9501 + (2 * sent + after) * 1e-4]
    )


def test_a_top_up_sends_no_more_than_there_is() -> None:
    # 950 sold at 100 with leverage 10: collateral 9,500, cash 500. At 106: 3,800 of 10,070; the difference is 6,270, but 500 are there, less the fee of 1.
    # 9,500 + 499 − 950·(m − 100) = 9.5·m: m = 104,999/959.5 = 109.43; without them 108.91.
    for high, price in [(109.4, []), (109.5, [104_999.0 / 959.5])]:
        result = traded(None, rise(106.0, high), size=9.5, leverage=10.0, execution=replace(TOP_UP, transfer_delay="1h"), **once(6))
        assert liquidated_at(result) == near(price)


# ---------------------------------------------------------------- wallets


@pytest.mark.parametrize(
    ("wallets", "quantity"),
    [
        ((0.8, 0.2), 40.0),  # 8,000/100 = 80 coins, 2,000/50 = 40 contracts at leverage 2
        ((0.4, 0.6), 40.0),  # 4,000/100, 6,000/50 = 120
        ((0.7, 0.3), 60.0),
        (None, 90.0),
    ],
)
def test_an_entry_is_as_large_as_the_poorer_wallet_allows(wallets: tuple[float, float] | None, quantity: float) -> None:
    result = traded(spot(flat(3)), perpetual(flat(3)), size=0.9, leverage=2.0, execution=replace(FREE, wallets=wallets))
    assert [fill[3] for fill in fills(result)] == near([quantity, -quantity])


@pytest.mark.parametrize(
    ("decided", "quantity"),
    [
        (2, 30.0),  # at the close of the exit's bar: 3,750/125, and no transfer at that close
        (3, 30.0),  # sent at 3 h
        (4, 30.0),  # at 5 h it arrives only in the bar that opens then
        (5, 39.8),  # 4,975/125, where 0.5·9,975/125 = 39.9 were wanted
    ],
)
def test_after_a_rise_the_next_entry_has_to_wait_for_the_money_to_cross(decided: int, quantity: float) -> None:
    # 50 bought and sold at 100 with 5,000 each; out at 125: 6,250 and 3,750. The close after the exit sends 1,250 for a fee of 25; it takes two hours.
    execution = replace(FREE, wallets=(0.5, 0.5), transfer_delay="2h", transfer_fee=25.0)
    signal = np.isin(np.arange(10), (0, decided)).astype(float)
    legs = [kind(*path(100.0, 125.0, *flat(8, 125.0))) for kind in (spot, perpetual)]
    result = traded(*legs, execution=execution, signal=signal, enter=0.5, max_hold="1h")
    assert result.trades["quantity"].tolist() == near([50.0, quantity])
    assert result.trades["pnl"].tolist() == near([0.0, 0.0])
    assert sources(result) == near({"price_long": 1250.0, "price_short": -1250.0, "fees": -25.0})


@pytest.mark.parametrize(("price", "fee", "sent"), [(101.9, 1.0, False), (102.1, 1.0, True), (110.0, 499.0, True), (110.0, 500.0, False)])
def test_small_differences_stay_where_they_are(price: float, fee: float, sent: bool) -> None:
    # 50 from 100 to 102: 5,100 and 4,900, a difference of 100 to the half, 1% of the cash. From 100 to 110: 500, which must be more than the fee.
    legs = [kind(*path(100.0, *flat(5, price))) for kind in (spot, perpetual)]
    execution = replace(FREE, wallets=(0.5, 0.5), transfer_fee=fee)
    result = traded(*legs, execution=execution, max_hold="1h", **once(6))
    assert sources(result).get("fees", 0.0) == near(-fee if sent else 0.0)


def test_a_wallet_tops_its_own_account_up_without_fee_or_delay() -> None:
    # 30 sold with leverage 10: collateral 300 of 5,000. At 106: 120 of 318, so 198 come from beside it for the next bar:
    # 498 − 30·(m − 100) = 0.3·m: m = 3,498/30.3 = 115.4; without them 108.9.
    execution = replace(TOP_UP, wallets=(0.5, 0.5), transfer_delay="5h")
    for high, price in [(112.0, []), (115.5, [3498.0 / 30.3])]:
        result = traded(spot(*path(100.0, *flat(5, 106.0))), rise(high), size=0.3, leverage=10.0, execution=execution, **once(6))
        assert liquidated_at(result) == near(price)
        if not price:
            assert sources(result) == near({"price_long": 180.0, "price_short": -180.0})


@pytest.mark.parametrize(("delay", "price"), [("1h", []), ("2h", [7500.0 / 50.5])])
def test_an_empty_wallet_is_topped_up_from_the_other_one_with_fee_and_delay(delay: str, price: list[float]) -> None:
    # 50 sold with leverage 2: collateral 2,500, the short's whole wallet; 2,500 lie beside the spot. At 130 (2 h): 1,000 are left of 3,250; 2,250 are sent.
    # At 3 h: 4,750 − 50·(m − 100) = 0.5·m: m = 193.1; without them 148.5, and bar 3 reaches 150.
    closes = (100.0, 130.0, 130.0, 130.0, 130.0, 130.0)
    execution = replace(TOP_UP, wallets=(0.75, 0.25), transfer_delay=delay, transfer_fee=10.0)
    result = traded(spot(*path(*closes)), rise(130.0, 150.0, closes=closes), leverage=2.0, execution=execution, **once(6))
    assert liquidated_at(result) == near(price)
    if not price:
        assert sources(result) == near({"price_long": 1500.0, "price_short": -1500.0, "fees": -10.0})


# ---------------------------------------------------------------- deleveraging


def test_a_winning_short_is_taken_away_and_leaves_its_spot_behind() -> None:
    # At the close of 80 the short wins; it is taken at 80·1.05 = 84: 50·16. The spot's reference goes to 84 as well; from there to its sale at 80 it is legging.
    execution = replace(MARGIN, maintenance=0.0, deleveraged_at=START + 2.5 * HOUR, deleveraged_gap=0.05)
    result = traded(spot(*path(100.0, 100.0, 80.0, 80.0)), perpetual(*path(100.0, 100.0, 80.0, 80.0)), execution=execution, **once(4))
    assert sources(result) == near({"price_long": -800.0, "price_short": 800.0, "legging": -200.0})
    assert fills(result)[2:] == [(3.0, "short", "deleveraging", 50.0, near(84.0)), (3.0, "long", "exit", -50.0, 80.0)]
    assert reasons(result) == ["deleveraging"]


def test_a_winning_long_is_taken_away_below_its_close() -> None:
    # 120·0.95 = 114: 50·14.
    execution = replace(MARGIN, maintenance=0.0, deleveraged_at=START + 2.5 * HOUR, deleveraged_gap=0.05)
    result = traded(perpetual(*path(100.0, 100.0, 120.0, 120.0)), execution=execution, **once(4))
    assert sources(result) == near({"price_long": 700.0})
    assert result.trades["exited_at"].tolist() == [START + 3 * HOUR]


@pytest.mark.parametrize("price", [100.0, 105.0])
def test_a_short_without_a_gain_is_left_alone(price: float) -> None:
    execution = replace(MARGIN, maintenance=0.0, deleveraged_at=START + 2.5 * HOUR, deleveraged_gap=0.05)
    result = traded(None, perpetual(*path(100.0, 100.0, price, 80.0)), execution=execution, **once(4))
    assert reasons(result) == ["end of data"]


# ---------------------------------------------------------------- borrowed coins


def borrower(bars: int, **more: Any) -> bt.Result:
    """Side −1: the spot is borrowed and sold, the perpetual bought."""
    return traded(spot(flat(bars)), perpetual(flat(bars)), sides="minus", signal=-once(bars)["signal"], enter=0.5, **more)


def test_an_entry_is_as_large_as_what_can_be_borrowed_and_leaves_when_that_is_recalled() -> None:
    # 30 are available from the beginning, 20 from 3.5 h on: the close of 4 h sees it.
    result = borrower(6, market={"series": {"borrow_available": [(0.0, 30.0), (3.5, 20.0)]}})
    assert [fill[:4] for fill in fills(result)] == [
        (1.0, "long", "entry", -30.0),
        (1.0, "short", "entry", 30.0),
        (4.0, "long", "exit", 30.0),
        (4.0, "short", "exit", -30.0),
    ]
    assert reasons(result) == ["recall"]


def test_a_recall_of_exactly_what_is_left_hurts_nobody() -> None:
    assert reasons(borrower(6, market={"series": {"borrow_available": [(0.0, 30.0), (3.5, 30.0)]}})) == ["end of data"]


def test_before_any_is_known_nothing_can_be_borrowed() -> None:
    assert fills(borrower(6, market={"series": {"borrow_available": [(1.5, 30.0)]}})) == []


def test_a_recall_of_everything_at_an_instant_needs_no_data() -> None:
    for instant, left in [(START + 3 * HOUR, 3.0), (START + 3 * HOUR + pd.Timedelta("1ns"), 4.0)]:
        result = borrower(6, execution=replace(FREE, recalled_at=instant))
        assert [fill[:3] for fill in fills(result)][2:] == [(left, "long", "exit"), (left, "short", "exit")]
        assert reasons(result) == ["recall"]
