"""What carry pays after what it costs: money, fees, spreads, the staking yield, borrowed coins.

The plain trade buys spot and sells the future: it earns the premium, pays for the money in it, and its coins can be staked. The reverse trade sells spot
short and buys the future: it earns a negative premium, pays for the coins, and its sale brings in what the plain trade lays out. Each is told as what
the trade itself earns; a rule reads the signal of side −1 with its sign turned:

    signal = bt.net_carry(market, future)          # what a new trade would earn a year, costs included
    stay = bt.stay_carry(market, future)           # what the rest of a trade earns, its costs being sunk
    both = signal, -bt.net_carry(market, future, reverse=True)      # bt.Rule(signal=both, sides="both", …)
"""

from collections.abc import Callable
from enum import StrEnum

import numpy as np

from backtest.curve.prices import dated, days_left, matched, rate_of, table
from backtest.errors import DataError, ParameterError
from backtest.market import Floats, Market
from backtest.memo import THE_FUTURES, THE_SPOT, found, signal
from backtest.rule import Leg, choice, number
from backtest.venues import rules_of

HALF_SPREAD = 0.0001  # 1 bp a fill where nothing better is known


class Staking(StrEnum):
    """What happens to the staking yield: the coins of the trade earn it, or they would earn it if the trade were not made."""

    EARNED = "earned"
    FORGONE = "forgone"


@signal
def financing_rate(market: Market) -> Floats:
    """What money costs a year: at each bar the dataset's `borrow_usd` as known then, before its first value `risk_free`, before any 0 (as in a run). [bar]"""
    rate = np.full(len(market), np.nan)
    for name in ("borrow_usd", "risk_free"):
        if name in market.series_names:
            rate = np.where(np.isnan(rate), market.series(name), rate)
    known: Floats = np.nan_to_num(rate)
    return known


def round_trip_cost(market: Market, future: Leg = THE_FUTURES, spot: Leg = THE_SPOT) -> float:
    """Cost of entering, holding to settlement and selling the spot, as a fraction of notional: by the venue's rules at the first bar.

    Two spot fees, one futures fee, the delivery fee and three half-spreads of 1 bp, in either direction. DataError where a venue's rule-book lacks one of them.
    """
    spot_rules, rules = (rules_of(market.instruments[found(market, leg).contracts[0]], market.clock[0]) for leg in (spot, future))
    try:
        return 2.0 * spot_rules.spot_fee + rules.derivative_fee + rules.delivery_fee + 3.0 * HALF_SPREAD
    except DataError as error:
        raise DataError(f"{error}, and to net_carry the cost of a round trip (--cost)") from None


@signal
def net_carry(
    market: Market,
    future: Leg = THE_FUTURES,
    spot: Leg = THE_SPOT,
    *,
    cost: float | None = None,
    reverse: bool = False,
    staking: str | None = None,
    capital: float = 1.0,
) -> Floats:
    """Net carry to enter, a year per notional: `stay_carry` − the round trip's cost spread over the days left, cost·365/D. [contract, bar]

    cost: fraction of notional (default: `round_trip_cost`). reverse, staking, capital as in `stay_carry`: with own collateral at leverage L a notional ties
    up 1 + 1/L of capital, and the hurdle per notional is capital·financing; the default 1.0 is money for the spot leg only.
    NaN as the annualized premium (no fresh close, D below one day), and where a yield or fee that is asked for isn't known yet (financing counts 0 then). Errors as `stay_carry`.
    """
    if cost is None:
        cost = round_trip_cost(market, future, spot)
        return net_carry(market, future, spot, cost=cost, reverse=reverse, staking=staking, capital=capital)
    number("cost", cost)
    stay = _earned(market, future, spot, reverse, staking, capital)

    def net(name: str, bars: slice) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return stay(name, bars) - cost * 365.0 / days_left(market, name)

    return table(market, future, net)


@signal
def stay_carry(
    market: Market,
    future: Leg = THE_FUTURES,
    spot: Leg = THE_SPOT,
    *,
    reverse: bool = False,
    staking: str | None = None,
    capital: float = 1.0,
) -> Floats:
    """Net carry to stay, a year per notional: annualized premium − capital·financing, nothing sunk in it; the exit signal of dated carry. [contract, bar]

    reverse: short spot, long future: −annualized premium − (capital − 1)·financing − the series borrow_base.
    staking: "earned" adds the series staking_yield (the coins bought are staked), "forgone" takes it off (the money would buy staked coins instead); of
    the reverse trade "forgone" says that the coins sold are one's own, and takes their yield off in place of the borrow fee.
    capital: money tied up per notional. With own collateral at leverage L a notional ties up 1 + 1/L of capital, and the hurdle per notional is
    capital·financing; the default 1.0 is money for the spot leg only, of which the reverse trade, selling spot, needs none.
    NaN as the annualized premium (no fresh close, D below one day), and before the first known value of a yield or fee that is asked for.
    Raises DataError where such a series is lacking, ParameterError for a staking that isn't known, "earned" in the reverse trade, a negative capital.
    """
    return table(market, future, _earned(market, future, spot, reverse, staking, capital))


@signal
def break_even_premium(
    market: Market,
    future: Leg = THE_FUTURES,
    spot: Leg = THE_SPOT,
    *,
    cost: float | None = None,
    reverse: bool = False,
    staking: str | None = None,
    capital: float = 1.0,
) -> Floats:
    """The premium, a fraction and not annualized, at which `net_carry` with the same arguments is 0. [contract, bar]

    (what the trade pays a year)·D/365 + cost; of the reverse trade the same below zero. A plain trade pays above it, a reverse trade below it.
    NaN and errors as `net_carry`.
    """
    if cost is None:
        cost = round_trip_cost(market, future, spot)
        return break_even_premium(market, future, spot, cost=cost, reverse=reverse, staking=staking, capital=capital)
    number("cost", cost)
    matched(market, dated(future), spot)
    yearly, sign = _hurdle(market, reverse, staking, capital) / 365.0, -1.0 if reverse else 1.0

    def needed(name: str, bars: slice) -> Floats:
        return np.where(np.isnan(rate_of(market, name, spot)), np.nan, sign * (yearly[bars] * days_left(market, name) + cost))

    return table(market, future, needed)


def _earned(market: Market, future: Leg, spot: Leg, reverse: bool, staking: str | None, capital: float) -> Callable[[str, slice], Floats]:
    """What gives `stay_carry` of one contract by its id and the bars of its life."""
    matched(market, dated(future), spot)
    hurdle, sign = _hurdle(market, reverse, staking, capital), -1.0 if reverse else 1.0
    return lambda name, bars: sign * rate_of(market, name, spot) - hurdle[bars]


def _hurdle(market: Market, reverse: bool, staking: str | None, capital: float) -> Floats:
    """What a trade pays a year for money and coins, less what its coins earn. [bar]"""
    number("capital", capital, least=0.0)
    chosen = None if staking is None else choice("staking", staking, Staking)
    if not reverse:
        money = capital * financing_rate(market)
        if chosen is None:
            return money
        coins = _rate(market, "staking_yield", f'staking="{chosen}"')
        return money + coins if chosen is Staking.FORGONE else money - coins
    if chosen is Staking.EARNED:
        raise ParameterError("staking must be none or forgone in the reverse trade, which holds no coins: staking=earned")
    own = 'leave reverse=True out, or give staking="forgone" if the coins are your own'
    coins = _rate(market, "borrow_base", "reverse=True", own) if chosen is None else _rate(market, "staking_yield", f'staking="{chosen}"')
    return (capital - 1.0) * financing_rate(market) + coins


def _rate(market: Market, name: str, asked: str, otherwise: str = "") -> Floats:
    """A series of yearly rates, NaN before the first is known; DataError if the dataset lacks it. [bar]"""
    if name not in market.series_names:
        remedy = otherwise or f"leave {asked} out"
        raise DataError(f'{asked} needs the series "{name}", which dataset {market.info.name} lacks; import it, or {remedy}')
    return market.series(name)
