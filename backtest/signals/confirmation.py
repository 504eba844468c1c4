"""Whether positions confirm the premium: open interest, leverage, the crowd's side, and how crowded the carry trade is.

A premium that rises with the open interest is new money paying for leverage; one that rises while open interest falls is shorts buying back. Open interest
over the coins that exchanges hold estimates how much leverage stands on what could be sold, and carry is crowded where both the curve and the
perpetual's funding are dear against their own past.

    code = bt.quadrant(market)              # Quadrant.NEW_LEVERAGE, SHORT_COVERING, NEW_SHORTS, LONG_LIQUIDATION
"""

from enum import IntEnum

import numpy as np

from backtest.curve import premium
from backtest.curve.activity import open_interest, summed
from backtest.curve.basket import premium_indicator
from backtest.curve.term_structure import constant_maturity
from backtest.errors import DataError, ParameterError
from backtest.instruments import Kind
from backtest.market import Floats, Market
from backtest.memo import THE_FUTURES, THE_PERPETUAL, THE_SPOT, signal
from backtest.rule import Duration, Leg, number
from backtest.signals.extremes import ranked
from backtest.signals.funding import annualized_funding
from backtest.signals.trend import change


class Quadrant(IntEnum):
    """What a change of the premium together with one of the open interest says."""

    UNCHANGED = 0  # one of both has not moved
    NEW_LEVERAGE = 1  # premium up, open interest up
    SHORT_COVERING = 2  # premium up, open interest down
    NEW_SHORTS = 3  # premium down, open interest up
    LONG_LIQUIDATION = 4  # premium down, open interest down


class Crowding(IntEnum):
    """Where carry is dear against its own past."""

    NEUTRAL = 0
    CURVE = 1  # the premium only: isolated to the curve
    PERPETUAL = 2  # the funding only
    CROWDED = 3  # both


@signal
def quadrant(market: Market, leg: Leg = THE_PERPETUAL, spot: Leg = THE_SPOT, window: Duration = "1D") -> Floats:
    """Premium against open interest: the `Quadrant` of their changes over the window. [bar]

    The premium is a perpetual's own, of dated futures the `premium_indicator`; the open interest is in base units and its change summed over the contracts that have
    one at both ends of the window, so that neither an expiry nor a listing counts as one. NaN where either change is unknown.
    DataError if no contract of the leg has open interest.
    """
    dearness = premium_indicator(market, leg, spot) if leg.kind is Kind.FUTURE else premium(market, leg, spot)[0]
    up = change(market, dearness, window)
    more = summed(change(market, open_interest(market, leg), window))
    codes = np.where(
        up > 0.0,
        np.where(more > 0.0, Quadrant.NEW_LEVERAGE, Quadrant.SHORT_COVERING),
        np.where(more > 0.0, Quadrant.NEW_SHORTS, Quadrant.LONG_LIQUIDATION),
    ).astype(np.float64)
    codes[(up == 0.0) | (more == 0.0)] = Quadrant.UNCHANGED
    codes[np.isnan(up) | np.isnan(more)] = np.nan
    return codes


@signal
def leverage_ratio(market: Market, leg: Leg = THE_PERPETUAL) -> Floats:
    """Estimated leverage: the leg's open interest over what could back it, a plain fraction. [bar]

    Open interest over the series `exchange_reserve` (coins on exchanges); in a dataset without that, its value at the contracts' last closes over the series
    `market_cap` (in their quote currency). NaN where open interest or series are unknown, or the series is not above 0.
    DataError without open interest, or without both series. After CryptoQuant's estimated leverage ratio.
    """
    held = open_interest(market, leg)
    if "exchange_reserve" in market.series_names:
        backing = market.series("exchange_reserve")
    elif "market_cap" in market.series_names:
        held, backing = (
            held * np.stack([market.last_known(name) for name in leg.contracts]),
            market.in_quote(leg.contracts[0], "market_cap"),
        )
    else:
        raise DataError(
            f'dataset {market.info.name} has nothing to compare open interest with; import a series "exchange_reserve" in coins, or "market_cap" in money'
        )
    return summed(held) / np.where(backing > 0.0, backing, np.nan)


@signal
def leverage_divergence(market: Market, leg: Leg = THE_PERPETUAL, window: Duration = "7D") -> Floats:
    """Change of ln(leverage ratio) − change of ln(open interest) over the window. [bar]

    Above 0 leverage grows faster than positions do: what backs them leaves the exchanges or loses value. NaN where `leverage_ratio` is at either end of the window,
    or open interest is 0. Errors as there.
    """
    pair = np.stack([leverage_ratio(market, leg), summed(open_interest(market, leg))])
    ratio, held = change(market, np.log(np.where(pair > 0.0, pair, np.nan)), window)
    divergence: Floats = ratio - held
    return divergence


@signal
def long_short_ratio(market: Market, leg: Leg = THE_PERPETUAL) -> Floats:
    """Accounts that are long over accounts that are short, as known at each bar's end: the series `<id>.long_short_ratio`. [bar]

    NaN before the first. ParameterError for several contracts, which have no common ratio; DataError without the series.
    """
    if len(leg.contracts) > 1:
        raise ParameterError(f"leg must be one contract, as accounts are counted for each: leg={leg}; take market.leg(…)")
    name = f"{leg.contracts[0]}.long_short_ratio"
    if name not in market.series_names:
        raise DataError(f'{leg} has no long/short ratio in dataset {market.info.name}; import a series "{name}"')
    return market.series(name)


@signal
def crowding(
    market: Market,
    future: Leg = THE_FUTURES,
    perpetual: Leg = THE_PERPETUAL,
    spot: Leg = THE_SPOT,
    *,
    window: Duration = "180D",
    level: float = 0.8,
) -> Floats:
    """Whether carry is crowded: the `Crowding` of the 30-day premium and of a week's funding, each elevated at a percentile rank of `level` or more. [bar]

    Ranks are in the trailing window (`percentile`) of `constant_maturity` at 30 days and of `annualized_funding` over 7 days. NaN where either is unknown.
    ParameterError for a level outside (0, 1]; DataError where futures or funding are missing altogether.
    """
    number("level", level, above=0.0)
    if level > 1.0:
        raise ParameterError(f"level must be at most 1, the highest rank: level={level:g}")
    dearness = np.array([constant_maturity(market, future, spot, days=30.0), annualized_funding(market, perpetual, "7D")[0]])
    curve, funding = ranked(market, dearness, slice(0, len(market)), window)
    codes = Crowding.CURVE * (curve >= level) + Crowding.PERPETUAL * (funding >= level)
    return np.where(np.isnan(curve) | np.isnan(funding), np.nan, codes)
