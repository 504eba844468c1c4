"""How much of a rule's size to trade: less at extremes of the premium, in wild markets, and where one can't get out.

Each gives what `Rule.scale` wants: a factor on `size` at each bar. Where it isn't known the factor is NaN, and a rule enters nothing. Factors may be multiplied, or the
smaller one taken. The kinks are what a trader would name beforehand; none was fitted to a result.

    bt.Rule(long=market.spot, short=future, size=0.5, scale=bt.size_by_volatility(market) * bt.size_by_percentile(market, future))
    bt.Execution(half_spread=bt.by_regime(market, calm=0.0001, trending=0.0002, stressed=0.001))
"""

import numpy as np

from backtest.curve.term_structure import constant_maturity
from backtest.errors import ParameterError
from backtest.instruments import Kind
from backtest.market import Floats, Market
from backtest.memo import THE_FUTURES, THE_PERPETUAL, THE_SPOT, signal
from backtest.rule import Duration, Leg, number
from backtest.signals.extremes import percentile
from backtest.signals.funding import annualized_funding
from backtest.signals.liquidity import illiquidity
from backtest.signals.regime import Regime, realised_volatility, regime


@signal
def size_by_percentile(
    market: Market,
    leg: Leg = THE_FUTURES,
    spot: Leg = THE_SPOT,
    window: Duration | None = "180D",
    *,
    beyond: float = 0.9,
    least: float = 0.25,
) -> Floats:
    """1 while the premium is usual, down to `least` at the highest and lowest of its window: an extreme may still widen. [bar]

    1 − (1 − least)·max(0, max(p, 1 − p) − beyond)/(1 − beyond), p being the `percentile` in the window of the leg's premium a year: at 30 days for dated contracts
    (`constant_maturity`), of a perpetual a day's funding. beyond: 0.5 … 1, where the extremes begin. NaN where p is. ParameterError for a spot leg, and for
    numbers out of their ranges.
    """
    if leg.kind is Kind.SPOT:
        raise ParameterError(f"a premium needs a future or a perpetual: leg={leg}")
    within("beyond", beyond, 0.5)
    level = constant_maturity(market, leg, spot) if leg.kind is Kind.FUTURE else np.asarray(annualized_funding(market, leg, "1D")[0])
    rank = percentile(market, level, window)
    return falling(np.fmax(rank, 1.0 - rank), beyond, least)


@signal
def size_by_volatility(market: Market, leg: Leg = THE_SPOT, window: Duration = "30D", *, target: float = 0.5, most: float = 1.0) -> Floats:
    """As much as keeps the volatility of what is traded at `target` a year, at most `most`: min(most, target/realised_volatility). [bar]

    NaN where the volatility is unknown, `most` where it is 0. ParameterError unless target and most are above 0, and for a chain.
    """
    number("target", target, above=0.0)
    number("most", most, above=0.0)
    with np.errstate(divide="ignore"):
        return np.minimum(most, target / realised_volatility(market, leg, window))


@signal
def size_by_liquidity(
    market: Market, leg: Leg = THE_PERPETUAL, window: Duration = "90D", *, beyond: float = 0.8, least: float = 0.25
) -> Floats:
    """1 while the leg's books are usual, down to `least` where they were never worse. [bar]

    1 − (1 − least)·max(0, i − beyond)/(1 − beyond), i being the leg's `illiquidity` against its window. NaN where i is. ParameterError for numbers out of their
    ranges, DataError if the leg has neither spreads nor depths.
    """
    within("beyond", beyond, 0.0)
    return falling(illiquidity(market, leg, window), beyond, least)


@signal
def by_regime(
    market: Market,
    future: Leg | None = None,
    spot: Leg = THE_SPOT,
    *,
    calm: float = 1.0,
    trending: float = 1.0,
    stressed: float = 2.0,
    unknown: float | None = None,
) -> Floats:
    """A number for each regime of the market: what spreads, costs or sizes are in it. [bar]

    `regime` says which; `unknown` (default NaN) until it can be told. Any numbers: what takes them knows which it allows. Errors as `regime`.
    """
    codes = regime(market, future, spot)
    values = np.full(len(market), np.nan if unknown is None else float(unknown))
    for state, value in ((Regime.CALM, calm), (Regime.TRENDING, trending), (Regime.STRESSED, stressed)):
        values[codes == state] = value
    return values


def falling(values: Floats, beyond: float, least: float) -> Floats:
    """1 up to `beyond`, from there straight down to `least` at 1; NaN stays. [as values]"""
    number("least", least, least=0.0)
    if least > 1.0:
        raise ParameterError(f"least must be at most 1: least={least:g}")
    return np.asarray(1.0 - (1.0 - least) * np.maximum(0.0, values - beyond) / (1.0 - beyond))


def within(name: str, value: float, low: float) -> None:
    """Raise ParameterError unless low ≤ value < 1."""
    number(name, value, least=low)
    if value >= 1.0:
        raise ParameterError(f"{name} must be below 1: {name}={value:g}")
