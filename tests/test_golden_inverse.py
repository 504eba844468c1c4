"""Inverse contracts, worked by hand; the arithmetic stands in the comments.

Unless a case says otherwise: hourly bars, capital 10,000, size 1, no costs and no margin check; coin and contract stand at 2,000 when the rule decides, so
that it trades 5 coins, W = 10,000 USD in contracts of 10. Decisions fall at the close of bar 0, fills at the open of bar 1.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from markets import FREE, Item, fills, future, near, once, path, perpetual, reasons, sources, spot, traded

import backtest as bt

NAN = np.nan
MARGIN = replace(FREE, margin=bt.Margin.ISOLATED, maintenance=0.02)


def inverse(*closes: float, **more: Any) -> Item:
    return perpetual(*path(*closes), **{"face": 10.0, **more})


def marks(high: list[float], low: list[float]) -> dict[str, list[float]]:
    return {"mark_high": high, "mark_low": low}


# ---------------------------------------------------------------- the coin as margin


@pytest.mark.parametrize(
    ("price", "gain"),
    [
        (1000.0, 5000.0),  # −10,000·(1/2,000 − 1/1,000) = 5 coins of 1,000; the spot lost 5·1,000
        (4000.0, -10_000.0),  # −10,000·(1/2,000 − 1/4,000) = −2.5 coins of 4,000; the spot won 5·2,000
    ],
)
def test_a_1x_short_with_its_own_coins_as_margin_keeps_its_worth_in_dollars(price: float, gain: float) -> None:
    result = traded(spot(*path(2000.0, 2000.0, price, price)), inverse(2000.0, 2000.0, price, price), size=1.0, execution=MARGIN)
    assert sources(result) == near({"price_long": -gain, "price_short": gain})
    assert result.equity.tolist() == near([10_000.0] * 4)


def test_its_exit_pays_the_coins_of_the_gain_out_at_the_coins_price() -> None:
    # A day of a fall by half: 5 coins sold at 1,000 and 5 coins of gain sold at 1,000.
    legs = spot(*path(2000.0, 2000.0, 1000.0, 1000.0, 3000.0)), inverse(2000.0, 2000.0, 1000.0, 1000.0, 3000.0)
    result = traded(*legs, size=1.0, max_hold="2h", **once(5))
    assert [fill[:3] for fill in fills(result)][2:] == [(3.0, "long", "exit"), (3.0, "short", "exit")]
    assert result.equity.tolist() == near([10_000.0] * 5)
    assert result.trades["pnl"].tolist() == near([0.0])


@pytest.mark.parametrize("leverage", [1.0, 5.0])
def test_it_is_liquidated_at_no_price(leverage: float) -> None:
    # Account at m: 5 coins − 10,000·(1/2,000 − 1/m) = 10,000/m coins, all of its size; the maintenance is 2% of that.
    squeezed = inverse(2000.0, 2000.0, 2000.0, columns=marks([2000.0, 2000.0, 1e6], [2000.0, 2000.0, 1000.0]))
    result = traded(spot([2000.0] * 3), squeezed, size=1.0, leverage=leverage, execution=MARGIN)
    assert reasons(result) == ["end of data"]


# ---------------------------------------------------------------- bought collateral


@pytest.mark.parametrize(
    ("price", "gain"),
    [
        (2500.0, 3750.0),  # 2.5 coins + 10,000·(1/2,000 − 1/2,500) = 3.5 coins, worth 8,750 of the 5,000 that they cost
        (1600.0, -3000.0),  # 2.5 coins + 10,000·(1/2,000 − 1/1,600) = 1.25 coins, worth 2,000
    ],
)
def test_a_2x_long_moves_with_its_face_and_with_the_coins_it_has_bought(price: float, gain: float) -> None:
    # 10,000/(2,000·2) = 2.5 coins bought for 5,000.
    coin = spot(*path(2000.0, 2000.0, price, price))
    result = traded(inverse(2000.0, 2000.0, price, price), size=1.0, leverage=2.0, others={"COIN": coin})
    assert sources(result) == near({"price_long": gain})


def test_what_is_not_collateral_earns_interest() -> None:
    # 10,000 at 0.876 a year earn 1 in the hour of bar 0; 10,001 are 1,000 whole contracts of 10. 10,001 − 5,000 earn 0.5001 in each of bars 1 and 2.
    execution = replace(FREE, idle_rate=0.876)
    result = traded(inverse(2000.0, 2000.0, 2000.0), size=1.0, leverage=2.0, others={"COIN": spot([2000.0] * 3)}, execution=execution)
    assert result.attribution["idle_cash"].tolist() == near([1.0, 1.5001, 2.0002])


@pytest.mark.parametrize(("low", "liquidated"), [(1360.1, False), (1359.9, True)])
def test_a_2x_long_is_liquidated_where_its_coins_meet_the_maintenance(low: float, liquidated: bool) -> None:
    # Account at m: 2.5 + 10,000·(1/2,000 − 1/m) = 7.5 − 10,000/m; maintenance 0.02·10,000/m: 7.5·m = 10,200, m = 1,360.
    coin, contract = (
        path(2000.0, 2000.0, 1400.0, 1400.0),
        inverse(2000.0, 2000.0, 1400.0, 1400.0, columns=marks([2000.0] * 4, [2000.0, 2000.0, low, 1400.0])),
    )
    result = traded(contract, size=1.0, leverage=2.0, others={"COIN": spot(*coin)}, execution=MARGIN, **once(4))
    assert [fill[4] for fill in fills(result) if fill[2] == "liquidation"] == near([1360.0] if liquidated else [])


@pytest.mark.parametrize(("coin", "left"), [(1400.0, 200.0), (1260.0, 180.0)])
def test_a_liquidation_sells_what_is_left_at_its_price_in_terms_of_the_coin(coin: float, left: float) -> None:
    # Left at 1,360: 7.5 − 10,000/1,360 = 0.147 coins, sold at 1,360·coin/1,400: 200 or 180. Fee 1% of 10,000/1,360 coins: half of that. 5,000 were cash.
    contract = inverse(2000.0, 2000.0, 1400.0, 1400.0, columns=marks([2000.0] * 4, [2000.0, 2000.0, 1300.0, 1400.0]))
    execution, others = replace(MARGIN, liquidation_fee=0.01), {"COIN": spot(*path(2000.0, 2000.0, coin, coin))}
    result = traded(contract, size=1.0, leverage=2.0, others=others, execution=execution, **once(4))
    assert sources(result) == near({"price_long": left - 5000.0, "liquidation": -left / 2.0})
    assert result.equity.iloc[-1] == near(5000.0 + left / 2.0)


@pytest.mark.parametrize(("high", "liquidated"), [(3919.0, False), (3921.0, True)])
def test_a_2x_short_is_liquidated_at_nearly_twice_its_entry(high: float, liquidated: bool) -> None:
    # Account at m: 2.5 − 10,000·(1/2,000 − 1/m) = 10,000/m − 2.5; maintenance 200/m: m = 9,800/2.5 = 3,920. There 0.051 coins are left: 200 USD.
    contract = inverse(2000.0, 2000.0, 3900.0, 3900.0, columns=marks([2000.0, 2000.0, high, 3900.0], [2000.0] * 4))
    coin = spot(*path(2000.0, 2000.0, 3900.0, 3900.0))
    result = traded(None, contract, size=1.0, leverage=2.0, others={"COIN": coin}, execution=MARGIN, **once(4))
    assert [fill[4] for fill in fills(result) if fill[2] == "liquidation"] == near([3920.0] if liquidated else [])
    if liquidated:
        assert result.equity.iloc[-1] == near(5200.0)


def test_a_1x_short_is_liquidated_at_no_price() -> None:
    # Account at m: 5 − 10,000·(1/2,000 − 1/m) = 10,000/m.
    contract = inverse(2000.0, 2000.0, 2000.0, columns=marks([2000.0, 2000.0, 1e6], [2000.0] * 3))
    result = traded(None, contract, size=1.0, others={"COIN": spot([2000.0] * 3)}, execution=MARGIN)
    assert reasons(result) == ["end of data"]


@pytest.mark.parametrize(("margin", "price"), [("isolated", 49_000.0 / 22.5), ("cross", 2450.0)])
def test_cross_margin_counts_spare_cash_in_coins_of_the_close(margin: str, price: float) -> None:
    # W = 50,000 at 10x: 2.5 coins for 5,000, and 5,000 of cash, 2.5 coins at the close of 2,000. Isolated 2.5 − 25 + 50,000/m = 1,000/m: m = 2,177.8;
    # in cross mode 5 − 25 + 50,000/m = 1,000/m: m = 2,450.
    for high, liquidated in [(price - 0.1, False), (price + 0.1, True)]:
        contract = inverse(2000.0, 2000.0, 2000.0, columns=marks([2000.0, 2000.0, high], [2000.0] * 3))
        execution = replace(MARGIN, margin=margin)
        result = traded(None, contract, size=5.0, leverage=10.0, others={"COIN": spot([2000.0] * 3)}, execution=execution)
        assert [fill[4] for fill in fills(result) if fill[2] == "liquidation"] == near([price] if liquidated else [])


@pytest.mark.parametrize(("low", "price"), [(1829.9, []), (1829.8, [190_000.0 * 1.01 / 104.8725])])
def test_tiers_of_inverse_contracts_are_in_coins(low: float, price: list[float]) -> None:
    # Binance's ETHUSD in December 2021: 0.5% up to 15 coins, 0.65% up to 100, 1% up to 250; deductions 15·0.0015 = 0.0225 and 0.0225 + 100·0.0035 = 0.3725.
    # W = 190,000 at 10x are 95 coins, in the second tier; collateral 9.5. With N = 190,000/m: 9.5 + 95 − N = 0.01·N − 0.3725, N = 103.83 coins, in the third.
    contract = inverse(2000.0, 2000.0, 2000.0, columns=marks([2000.0] * 3, [2000.0, 2000.0, low]))
    rule, market = {"size": 1.0, "leverage": 10.0, "capital": 190_000.0}, {"start": "2021-12-01"}
    execution, coin = replace(MARGIN, maintenance=None), {"COIN": spot([2000.0] * 3)}
    result = traded(contract, others=coin, execution=execution, market=market, **rule, **once(3))
    assert [fill[4] for fill in fills(result) if fill[2] == "liquidation"] == near(price)


# ---------------------------------------------------------------- costs


def test_collateral_is_bought_at_the_coins_price_and_costs_are_turned_into_dollars_by_it() -> None:
    # Bought at 2,000·1.25 = 2,500 while the coin stands at 1,600: collateral 10,000/2,500 = 4 coins for 6,400; fee 0.001·10,000/2,500·1,600 = 6.4.
    # The worse price costs 10,000·(1/2,000 − 1/2,500) = 1 coin, 1,600. Left: 3 coins, and 10,000 − 6,400 − 6.4 of cash.
    execution = replace(FREE, derivative_fee=0.001, half_spread=0.25)
    result = traded(inverse(2000.0, 2000.0, 2000.0), size=1.0, others={"COIN": spot([1600.0] * 3)}, execution=execution)
    assert sources(result) == near({"fees": -6.4, "slippage": -1600.0})
    assert result.equity.iloc[-1] == near(3.0 * 1600.0 + 3593.6)
    assert result.fills[["quantity", "reference", "price", "fee", "slippage"]].iloc[0].tolist() == near([4.0, 2000.0, 2500.0, 6.4, 1600.0])


def test_the_worse_price_of_a_sale_costs_more_coins_than_that_of_a_purchase() -> None:
    # Sold at 2,000·0.75 = 1,500: 10,000·(1/1,500 − 1/2,000) = 5/3 of a coin of 1,600.
    execution = replace(FREE, half_spread=0.25)
    result = traded(None, inverse(2000.0, 2000.0, 2000.0), size=1.0, others={"COIN": spot([1600.0] * 3)}, execution=execution)
    assert sources(result) == near({"slippage": -1600.0 * 5.0 / 3.0})


# ---------------------------------------------------------------- funding


@pytest.mark.parametrize(
    ("mark", "coins"),
    [
        (2500.0, 0.004),  # 10,000·0.001/2,500
        (NAN, 0.005),  # on the last close, 2,000
    ],
)
def test_funding_is_paid_in_coins_whose_price_moves_on(mark: float, coins: float) -> None:
    # The coin's close known at 1.5 h is 2,000; then it falls to 1,000, and so do the coins received.
    closes = (2000.0, 2000.0, 1000.0, 1000.0)
    result = traded(spot(*path(*closes)), inverse(*closes, funding=[(1.5, 0.001, 8.0, mark)]), size=1.0)
    assert sources(result) == near({"price_long": -5000.0, "price_short": 5000.0 - coins * 1000.0, "funding": coins * 2000.0})
    assert result.equity.iloc[-1] == near(10_000.0 + coins * 1000.0)


def test_a_long_pays_funding_out_of_its_coins() -> None:
    # 2.5 coins − 10,000·0.5/2,000 = 0 coins: the account is empty, the cash of 5,000 is left.
    contract = inverse(2000.0, 2000.0, 2000.0, funding=[(2.5, 0.5)])
    result = traded(contract, size=1.0, leverage=2.0, others={"COIN": spot([2000.0] * 3)})
    assert sources(result) == near({"funding": -5000.0})


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("size", "face", "worth"),
    [
        (0.99999, 10.0, 9990.0),  # 9,999.9 are 999 contracts of 10
        (0.99999, 1.0, 9999.0),
        (1.0 - 1e-12, 10.0, 10_000.0),  # within 1e-9 of a whole number
        (1.0 - 1e-8, 10.0, 9990.0),
    ],
)
def test_inverse_positions_come_in_whole_contracts(size: float, face: float, worth: float) -> None:
    result = traded(spot([2000.0] * 2), inverse(2000.0, 2000.0, face=face), size=size)
    assert [fill[3] for fill in fills(result)] == near([5.0 * size, -worth / 2000.0])


def test_a_sold_inverse_contract_is_a_negative_position() -> None:
    # As a linear one's: the ledger's own unit, minus one of face, is not for readers.
    result = traded(spot([2000.0] * 3), inverse(2000.0, 2000.0, 2000.0), size=1.0)
    assert np.sign(result.positions[["long_quantity", "short_quantity"]].iloc[-1]).tolist() == [1.0, -1.0]


def test_less_than_a_contract_is_no_entry() -> None:
    assert fills(traded(spot([2000.0] * 2), inverse(2000.0, 2000.0, face=10_001.0), size=1.0)) == []


@pytest.mark.parametrize(
    ("face", "parts"),
    [
        (10.0, [2000.0] * 5),  # half of 2 coins a bar are 2,000 of face
        (1500.0, [1500.0] * 6),  # 9,000 in contracts of 1,500, of which 2,000 are one
    ],
)
def test_parts_of_an_inverse_order_are_whole_contracts_too(face: float, parts: list[float]) -> None:
    thin = inverse(*[2000.0] * 8, face=face, columns={"volume": [2.0] * 8})
    result = traded(None, thin, size=1.0, others={"COIN": spot([2000.0] * 8)}, execution=replace(FREE, participation=0.5))
    assert [fill[3] for fill in fills(result)] == near([-part / 2000.0 for part in parts])


@pytest.mark.parametrize(("wallets", "coins"), [((0.9, 0.1), 4.5), ((0.5, 0.5), 2.5)])
def test_the_short_needs_no_money_of_its_own_where_the_coins_are_its_margin(wallets: tuple[float, float], coins: float) -> None:
    # 9,000 or 5,000 of the 10,000 lie where the coins are bought, for 2,000 each.
    result = traded(spot([2000.0] * 3), inverse(2000.0, 2000.0, 2000.0), size=1.0, execution=replace(FREE, wallets=wallets))
    assert [fill[3] for fill in fills(result)] == near([coins, -coins])


def test_the_face_is_decided_at_the_close_and_stays_when_the_fill_is_elsewhere() -> None:
    # Decided at 2,000: W = 10,000. Filled at 2,500: 4 coins short against 5 of spot, which go at 2,500 for 12,500; at 2,000 the short has won 1 coin of 2,000.
    opens, closes = [2000.0, 2500.0, 2000.0], [2000.0, 2000.0, 2000.0]
    result = traded(spot(opens, closes), perpetual(opens, closes, face=10.0), size=1.0)
    assert [fill[3] for fill in fills(result)] == near([5.0, -4.0])
    assert sources(result) == near({"price_long": -2500.0, "price_short": 2000.0})


# ---------------------------------------------------------------- settlement and roll


def test_an_inverse_future_settles_in_coins_of_the_bars_close() -> None:
    # Settled at 2,500: −10,000·(1/2,000 − 1/2,500) = −1 coin; the coin closes at 2,600. Fee 0.0005·10,000/2,500 = 0.002 coins: 5.2.
    # The spot goes at the next open: 5·600 = 3,000.
    short = future([2000.0, 2000.0, 2000.0, NAN, NAN], face=10.0, expiry=2.5, settlement=2500.0)
    result = traded(spot(*path(2000.0, 2000.0, 2600.0, 2600.0, 2600.0)), short, size=1.0, execution=replace(FREE, delivery_fee=0.0005))
    assert sources(result) == near({"price_long": 3000.0, "price_short": -2600.0, "settlement": -5.2})
    assert (reasons(result), result.trades["exit_short"].tolist()) == (["expiry"], [2500.0])


def test_a_roll_keeps_the_face() -> None:
    # Daily bars. Two days before its end A is left at 2,000 and B sold at 2,500: 5 coins back, 4 coins out, W = 10,000 both. B falls to 2,000: 1 coin of 2,000.
    near_end = future([2000.0] * 6 + [NAN] * 2, face=10.0, expiry=6 * 24.0, settlement=2000.0)
    far_end = future([2500.0] * 6 + [2000.0] * 2, [2500.0] * 5 + [2000.0] * 3, face=10.0, expiry=60 * 24.0)
    result = traded(spot([2000.0] * 8), {"A": near_end, "B": far_end}, size=1.0, min_days=3.0, roll_days=2.0, market={"step": 24.0})
    rolled = [(fill[0] / 24.0, *fill[1:]) for fill in fills(result)][2:]
    assert rolled == [(4.0, "short", "roll", near(5.0), 2000.0), (4.0, "short", "roll", near(-4.0), 2500.0)]
    assert sources(result) == near({"price_short": 2000.0})
