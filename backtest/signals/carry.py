"""What carry pays after what it costs: money, fees, spreads, borrowed coins, the staking yield.

signal = bt.net_carry(market, future)          # what a new trade would earn a year, costs included
stay = bt.stay_carry(market, future)           # what the rest of a trade earns, its costs being sunk
"""

import numpy as np

from backtest.curve import annualized_premium, days_to_expiry
from backtest.errors import DataError
from backtest.market import Floats, Market
from backtest.memo import THE_FUTURES, THE_SPOT, found, signal
from backtest.rule import Leg
from backtest.venues import rules_of

HALF_SPREAD = 0.0001  # 1 bp a fill where nothing better is known


@signal
def financing_rate(market: Market) -> Floats:
    """What money costs a year, as known at each bar's end: the dataset's `borrow_usd`, else its `risk_free`, else 0. [bar]"""
    for name in ("borrow_usd", "risk_free"):
        if name in market.series_names:
            return np.nan_to_num(market.series(name))
    return np.zeros(len(market))


def round_trip_cost(market: Market, future: Leg = THE_FUTURES, spot: Leg = THE_SPOT) -> float:
    """Cost of entering, holding to settlement and selling the spot, as a fraction of notional: by the venue's rules at the first bar.

    Two spot fees, one futures fee, the delivery fee and three half-spreads of 1 bp. DataError where a venue's rule-book lacks one of them.
    """
    spot_rules, rules = (rules_of(market.instruments[found(market, leg).contracts[0]], market.clock[0]) for leg in (spot, future))
    try:
        return 2.0 * spot_rules.spot_fee + rules.derivative_fee + rules.delivery_fee + 3.0 * HALF_SPREAD
    except DataError as error:
        raise DataError(f"{error}, and to net_carry the cost of a round trip (--cost)") from None


@signal
def net_carry(market: Market, future: Leg = THE_FUTURES, spot: Leg = THE_SPOT, *, cost: float | None = None) -> Floats:
    """Net carry to enter: annualized premium − financing − the round trip's cost spread over the days left. [contract, bar]

    cost: fraction of notional (default: `round_trip_cost`). NaN as the annualized premium (no fresh close, D below one day).
    """
    if cost is None:
        return net_carry(market, future, spot, cost=round_trip_cost(market, future, spot))
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = cost * 365.0 / days_to_expiry(market, future)
    net: Floats = stay_carry(market, future, spot) - spread
    return net


@signal
def stay_carry(market: Market, future: Leg = THE_FUTURES, spot: Leg = THE_SPOT) -> Floats:
    """Net carry to stay: annualized premium − financing, nothing sunk in it; the exit signal of dated carry. [contract, bar]"""
    net: Floats = annualized_premium(market, future, spot) - financing_rate(market)
    return net
