"""The coin that inverse contracts pay in: its price, and what a unit of face is worth in quote currency.

An inverse contract is worth a fixed amount of quote currency (face) and pays in coin: W of face bought at e has W·(1/e − 1/p) coins at p. Its unit here is
u = −1 face, which gains as prices rise like a long position: u is worth 1/p coins less what it cost. Reciprocals turn a mark's high into the low.

    spot = coin_spot(market, rule, "ETHUSD-PERP")
    coin = coin_prices(market, spot)                                  # rows open and close [2, bar]
    tape = coin_tape(market, "ETHUSD-PERP", coin, accrued)            # rows COIN_ACCRUAL, VALUE_OPEN, VALUE_CLOSE [3, bar]
"""

import numpy as np

from backtest.errors import DataError
from backtest.execution import MissingFunding
from backtest.instruments import Kind
from backtest.market import Floats, Market
from backtest.payments import coin_funding
from backtest.rule import Rule


def coin_spot(market: Market, rule: Rule, contract: str) -> str:
    """The spot that prices a contract's coin: the rule's own of the same base, else the market's of its base and quote, its own venue's first. DataError for none."""
    item = market.instruments[contract]
    legs = [market.instruments[leg.contracts[0]] for leg in rule.legs if leg is not None and leg.kind is Kind.SPOT]
    own = next((spot.id for spot in legs if spot.base == item.base), None)
    if own is not None:
        return own
    spots = [spot for spot in market.instruments.values() if spot.kind is Kind.SPOT and spot.base == item.base]
    found = [spot for spot in spots if spot.quote == item.quote]
    if found:
        return min(found, key=lambda spot: (spot.venue != item.venue, spot.id)).id
    others = (
        f"; it has {', '.join(spot.id for spot in spots)}: turn all prices into one currency with currency=… (--currency)" if spots else ""
    )
    raise DataError(
        f"{contract} pays in {item.base}, and the market has no spot of {item.base} in {item.quote} to price it{others}; "
        f"import one, or name it with instruments=…"
    )


def coin_prices(market: Market, spot: str) -> Floats:
    """The coin's open and close of each bar; where it has no bar, both are its last close. [2, bar]"""
    opened, close = market.raw(spot, "open"), market.last_known(spot)
    return np.stack([np.where(np.isnan(opened), close, opened), close])


def coin_accruals(market: Market, contract: str, policy: MissingFunding, coin: Floats, *, snapshot: float = 0.0) -> tuple[Floats, Floats]:
    """What a unit u of an inverse contract has accrued, in coins and in quote currency: its funding; zeros for a dated contract. [bar], [bar]"""
    if market.instruments[contract].kind is not Kind.PERPETUAL:
        return np.zeros(len(market)), np.zeros(len(market))
    return coin_funding(market, contract, policy, coin[1], snapshot=snapshot)


def coin_tape(market: Market, contract: str, coin: Floats, accrued: tuple[Floats, Floats]) -> Floats:
    """Coins accrued by a unit u, and its value in quote currency at opens and closes less what has been counted as funding. [3, bar]

    Formula: coin/price + coin·accrued coins − accrued quote; at an open with the accruals of the bar before, and where the contract has no open with its last close.
    """
    coins, quote = accrued
    opened, close = market.raw(contract, "open"), market.last_known(contract)
    price = np.where(np.isnan(opened), close, opened)
    at_open = coin[0] / price + coin[0] * _before(coins) - _before(quote)
    at_close = coin[1] / close + coin[1] * coins - quote
    return np.stack([coins, at_open, at_close])


def reciprocal_marks(high: Floats, low: Floats) -> tuple[Floats, Floats]:
    """The extremes of 1/mark, high first: what a unit u is margined by."""
    return 1.0 / low, 1.0 / high


def _before(accrued: Floats) -> Floats:
    """What had accrued by the end of the bar before. [bar]"""
    return np.concatenate([[0.0], accrued[:-1]])
