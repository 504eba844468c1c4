"""The coin of inverse contracts: which spot prices it, and what a unit of face is worth, against loops from the words."""

from typing import Any

import numpy as np
import pytest
from markets import future, in_memory, perpetual, spot

from backtest.coins import coin_accruals, coin_prices, coin_spot, coin_tape, reciprocal_marks
from backtest.errors import DataError
from backtest.execution import MissingFunding
from backtest.market import Market
from backtest.rule import Rule

NAN = np.nan
ERROR = MissingFunding.ERROR


def one_bar(**more: Any) -> Any:
    return spot([1.0, 2.0], **more)


# ---------------------------------------------------------------- which spot


def market_of(**spots: Any) -> Market:
    return in_memory({"C": perpetual([1.0, 2.0], face=10.0), **spots})


def priced_by(market: Market, **legs: str) -> str:
    return coin_spot(market, Rule(**{"short": market.leg("C")} | {side: market.leg(name) for side, name in legs.items()}), "C")


def test_the_rules_own_spot_prices_the_coin_whatever_its_currency() -> None:
    market = market_of(OWN=one_bar(quote="USDT", venue="okx"), BEST=one_bar())
    assert priced_by(market, long="OWN") == "OWN"
    assert coin_spot(market, Rule(long=market.leg("C"), short=market.leg("OWN")), "C") == "OWN"


def test_else_the_markets_of_its_pair_and_its_own_venues_first() -> None:
    assert (
        priced_by(market_of(A=one_bar(venue="coinbase"), Z=one_bar(venue="binance"), B=one_bar(quote="USDT"), D=one_bar(base="BTC"))) == "Z"
    )
    assert priced_by(market_of(Z=one_bar(venue="okx"), Y=one_bar(venue="coinbase"))) == "Y", "else the first by name"


def test_a_spot_of_another_coin_in_the_rule_prices_nothing() -> None:
    market = market_of(BTC=one_bar(base="BTC"), ETH=one_bar())
    assert priced_by(market, long="BTC") == "ETH"


def test_without_a_spot_the_coin_has_no_price() -> None:
    message = r"^C pays in ETH, and the market has no spot of ETH in USD to price it; import one, or name it with instruments=…$"
    with pytest.raises(DataError, match=message):
        priced_by(market_of(BTC=one_bar(base="BTC")))
    message = r"to price it; it has A, B: turn all prices into one currency with currency=… \(--currency\); import one, or name it with instruments=…$"
    with pytest.raises(DataError, match=message):
        priced_by(market_of(A=one_bar(quote="USDT"), B=one_bar(quote="USDC")))


# ---------------------------------------------------------------- what it is worth


def test_the_coins_open_is_its_own_else_the_last_close() -> None:
    market = in_memory({"S": spot([NAN, 10.0, NAN, NAN, 13.0], [NAN, 11.0, NAN, NAN, 14.0])})
    opened, close = coin_prices(market, "S")
    np.testing.assert_array_equal(opened, [NAN, 10.0, 11.0, 11.0, 13.0])
    np.testing.assert_array_equal(close, [NAN, 11.0, 11.0, 11.0, 14.0])


def test_only_perpetuals_accrue() -> None:
    market = in_memory({"F": future([1.0, 2.0], face=10.0, expiry=9.0), "S": spot([1.0, 2.0])})
    coin = coin_prices(market, "S")
    for values in coin_accruals(market, "F", ERROR, coin):
        np.testing.assert_array_equal(values, [0.0, 0.0])


def test_a_unit_by_hand() -> None:
    """One USD of face, short, at 2000 is 0.0005 coins; a payment of 1% on a mark of 2000 adds 0.000005 coins, then worth 0.01025 at a coin of 2050.

    When the coin is at 2100 the coins are worth 0.0105: 0.00025 more than what was counted as funding.
    """
    contract = perpetual([2000.0, 2000.0], funding=[(1.0, 0.01, 8.0, 2000.0)], face=10.0)
    market = in_memory({"P": contract, "S": spot([2000.0, 2060.0], [2050.0, 2100.0])})
    coin = coin_prices(market, "S")
    accrued = coin_accruals(market, "P", ERROR, coin)
    coins, at_open, at_close = coin_tape(market, "P", coin, accrued)
    np.testing.assert_allclose(coins, [5e-6, 5e-6])
    np.testing.assert_allclose(accrued[1], [0.01025, 0.01025])
    np.testing.assert_allclose(at_open, [1.0, 1.03 + 0.0103 - 0.01025])
    np.testing.assert_allclose(at_close, [1.025, 1.05 + 0.00025])


@pytest.mark.parametrize("seed", range(5))
def test_value_and_funding_make_what_an_account_of_coins_is_worth(seed: int) -> None:
    """An account that got its coins one by one: at every close coin·(1/price + coins) is the value's row plus the funding counted so far."""
    random = np.random.default_rng(seed)
    count = 40
    price = 2000.0 + np.cumsum(random.normal(0.0, 10.0, count))
    opens = np.where(random.random(count) < 0.2, NAN, price)
    events = [(hour, random.normal(0.0, 0.001)) for hour in np.sort(random.choice(np.arange(1.0, 39.0, 0.25), 12, replace=False))]
    market = in_memory({"P": perpetual(opens, price + 1.0, funding=events, face=10.0), "S": spot(price, price * 1.001)})
    coin = coin_prices(market, "S")
    tape = coin_tape(market, "P", coin, (accrued := coin_accruals(market, "P", ERROR, coin)))
    held = counted = 0.0
    last = NAN
    for bar in range(count):
        opened = opens[bar] if not np.isnan(opens[bar]) else last
        assert tape[1, bar] + counted == pytest.approx(coin[0, bar] * (1.0 / opened + held), nan_ok=True)
        for hour, rate in events:
            if bar < hour <= bar + 1:
                whole = int(hour)  # bars that had ended
                known = [price[each] + 1.0 for each in range(whole) if not np.isnan(opens[each])]
                held += rate / known[-1] if known else 0.0
                counted += rate / known[-1] * price[whole - 1] * 1.001 if known else 0.0
        last = price[bar] + 1.0 if not np.isnan(opens[bar]) else last
        assert (tape[0, bar], accrued[1][bar]) == pytest.approx((held, counted))
        assert tape[2, bar] + counted == pytest.approx(coin[1, bar] * (1.0 / last + held), nan_ok=True)


def test_reciprocals_turn_the_extremes() -> None:
    high, low = reciprocal_marks(np.array([2500.0, NAN]), np.array([2000.0, NAN]))
    np.testing.assert_array_equal(high, [1 / 2000, NAN])
    np.testing.assert_array_equal(low, [1 / 2500, NAN])
