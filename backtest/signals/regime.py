"""The market's regime: calm, trending or stressed, and why, from volatility, the premium's level and moves, and liquidity.

Carry is earned in calm, repriced in trends and lost in stress, when volatility is unusual, futures trade below spot, the premium jumps or the books are empty. A state is
entered at one threshold, left at a lower one and lasts at least `LASTS` longer, so that it doesn't flicker. The thresholds are what a trader would name
beforehand; none was fitted to a result.

    calm = bt.regime(market) == bt.Regime.CALM
    why = bt.Reason(int(bt.regime_reason(market)[-1])).name
"""

from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from backtest.curve import one_spot
from backtest.curve.term_structure import constant_maturity
from backtest.errors import ParameterError
from backtest.instruments import Kind
from backtest.market import YEAR, Floats, Market
from backtest.memo import THE_SPOT, length, signal
from backtest.rule import Duration, Leg, number
from backtest.signals.extremes import ranked
from backtest.signals.funding import annualized_funding
from backtest.signals.liquidity import DEPTHS, illiquidity
from backtest.signals.trend import averaged, changed

Bools = npt.NDArray[np.bool_]

TENOR = 30.0  # days: the premium that all contracts can answer for
LASTS = "3D"  # a regime outlives its last cause by this: a weekend
COMPARED, HISTORY = "365D", "30D"  # "unusual" is against a year; a month must be known before anything can be called so
VOLATILITY_ENTER, VOLATILITY_LEAVE = 0.95, 0.85  # percentiles: as volatile as in the wildest two and a half weeks of a year
SMOOTHED = "5D"  # of the premium's level: daily closes of thin contracts are hours old, and a single one is worth several percent a year
# A rate of 5 % a year is 0.4 % of the price over thirty days, about what a round trip costs: backwardation below it is one that a reverse trade is paid to end,
# and doesn't; a move above it is worth more than noise.
WORTH_A_TRADE = 0.05
JUMP_ENTER, JUMP_LEAVE = 0.99, 0.95  # percentiles of a day's move: the three or four days of a year that one remembers
# Of a day's mean over the legs: their books are in the worst fifth of a quarter all day long, and all of them.
ILLIQUIDITY_ENTER, ILLIQUIDITY_LEAVE = 0.80, 0.65
TREND_DAYS = 30
TREND_ENTER, TREND_LEAVE = 2.0, 1.0  # of what a random walk of the same daily moves goes: it goes twice as far one time in twenty


class Regime(IntEnum):
    """What the market is like."""

    CALM = 0
    TRENDING = 1
    STRESSED = 2


class Reason(IntEnum):
    """Why it is called so; several at once: the premium's first, volatility last."""

    NONE = 0
    VOLATILITY = 1
    BACKWARDATION = 2
    PREMIUM_JUMP = 3
    ILLIQUIDITY = 4
    TREND = 5


_PRECEDENCE = (Reason.BACKWARDATION, Reason.PREMIUM_JUMP, Reason.ILLIQUIDITY, Reason.VOLATILITY)


@signal
def realised_volatility(market: Market, leg: Leg = THE_SPOT, window: Duration = "7D") -> Floats:
    """Annualised volatility of one instrument: the root of (the squared log returns of the window over the years that they span). [bar]

    Returns are from one fresh close to the next, with no mean taken off. NaN until the window lies in the data, and where the close is.
    ParameterError for a chain.
    """
    from backtest import rolling

    close = market.close(_one(leg).contracts[0])
    known = np.flatnonzero(~np.isnan(close))
    squares, years = np.full((2, len(market)), np.nan)
    squares[known[1:]] = np.diff(np.log(close[known])) ** 2
    years[known[1:]] = np.diff(market.stamps[known]) / YEAR
    variance = np.divide(*(rolling.mean(market.stamps, values, length(window)) for values in (squares, years)))
    first = market.opens[known[0]] if len(known) else 2**62
    return np.where(market.stamps - length(window) >= first, np.sqrt(variance), np.nan)


@signal
def hysteresis(market: Market, values: Floats, enter: float = 1.0, leave: float = 0.5) -> Floats:
    """1 from values ≥ enter until values < leave, else 0: a threshold that doesn't flicker. [as values]

    An unknown value changes nothing; NaN until the first known one. ParameterError unless leave ≤ enter.
    """
    number("enter", enter)
    number("leave", leave)
    if leave > enter:
        raise ParameterError(f"leave must be at most enter: leave={leave:g}, enter={enter:g}")
    from backtest import rolling

    return rolling.hysteresis(values, enter, leave)


@signal
def regime(market: Market, future: Leg | None = None, spot: Leg = THE_SPOT) -> Floats:
    """Calm, trending or stressed, as codes of `Regime`. [bar]

    By `regime_reason`: any reason but a trend is stress, a trend matters only without it. NaN where that is; errors as there.
    """
    reason = regime_reason(market, future, spot)
    codes = np.array([Regime.CALM, *[Regime.STRESSED] * 4, Regime.TRENDING], dtype=np.float64)
    return np.where(np.isnan(reason), np.nan, codes[np.nan_to_num(reason).astype(np.int64)])


@signal
def regime_reason(market: Market, future: Leg | None = None, spot: Leg = THE_SPOT) -> Floats:
    """Why the regime is what it is, as codes of `Reason`. [bar]

    The premium is that of the future leg: at 30 days for dated contracts (`constant_maturity`), a day's funding a year for a perpetual. By default that of the
    market's futures; where these begin after the market does, until each measure of them is known, and without any, of the perpetual that began first. What the
    data lack is left out: without a premium volatility and the spot's trend decide, without quotes and depths liquidity doesn't (it is that of the spot and of
    the perpetual, or without one of the futures). NaN where nothing stresses and it can't be told yet whether volatility does (37 days).
    DataError without a spot, where there are several to choose from, or where the legs close at different hours.
    """
    legs = _legs(market, future)
    with ThreadPoolExecutor() as threads:  # three questions that have nothing to do with each other
        unusual = threads.submit(_unusual, market, spot)
        scarce = threads.submit(_scarcity, market, spot, legs)
        deep, jump, repriced = threads.submit(_dynamics, market, legs, spot).result()
    volatility, scarcity = unusual.result(), scarce.result()
    causes = {
        Reason.VOLATILITY: _lasting(market, volatility, VOLATILITY_ENTER, VOLATILITY_LEAVE),
        Reason.BACKWARDATION: _lasting(market, deep, WORTH_A_TRADE, 0.0),
        Reason.PREMIUM_JUMP: _lasting(market, jump, JUMP_ENTER, JUMP_LEAVE),
        Reason.ILLIQUIDITY: _lasting(market, scarcity, ILLIQUIDITY_ENTER, ILLIQUIDITY_LEAVE),
    }
    price = np.log(market.last_known(one_spot(spot).contracts[0]))
    trending = np.zeros(len(market), dtype=bool)
    for strength in (_strength(market, price, price), repriced):
        trending |= _lasting(market, strength, TREND_ENTER, TREND_LEAVE)
    reason = np.where(trending, float(Reason.TREND), float(Reason.NONE))
    reason[~np.logical_or.accumulate(~np.isnan(volatility))] = np.nan
    for cause in reversed(_PRECEDENCE):
        reason[causes[cause]] = cause
    return reason


def _one(leg: Leg) -> Leg:
    if len(leg.contracts) != 1:
        raise ParameterError(f"volatility is that of one instrument: {leg}; name one with market.leg(…)")
    return leg


def _legs(market: Market, future: Leg | None) -> list[Leg]:
    """The legs whose premium counts, the better one last: the one given, or the perpetual that began first and the futures."""
    if future is not None:
        if future.kind is Kind.SPOT:
            raise ParameterError(f"a premium needs a future or a perpetual: future={future}")
        return [future]
    perpetuals = [item.id for item in market.instruments.values() if item.kind is Kind.PERPETUAL]
    dated = any(item.kind is Kind.FUTURE for item in market.instruments.values())
    first = sorted(perpetuals, key=lambda name: (market.first_bar(name), name))[:1]
    return [*(market.leg(name) for name in first), *([market.future_chain()] if dated else [])]


def _level(market: Market, leg: Leg, spot: Leg) -> Floats:
    """The premium a year of a leg; NaN where it isn't known. [bar]"""
    if leg.kind is Kind.FUTURE:
        return constant_maturity(market, leg, spot, days=TENOR)
    if len(market.funding(leg.contracts[0]).times):
        (funding,) = annualized_funding(market, leg, "1D")
        return np.asarray(funding)
    return np.full(len(market), np.nan)


def _dynamics(market: Market, legs: list[Leg], spot: Leg) -> tuple[Floats, Floats, Floats]:
    """How deep the premium's backwardation is, how unusual its jump, how strong its trend: each of the last leg from where it is first known of that, before of the others. [bar]

    Each leg is measured by itself: that futures are listed beside a perpetual is no move of either premium.
    """
    measures = np.full((3, len(market)), np.nan)
    from_the_start = min((market.first_bar(name) for name in legs[-1].contracts), default=0) == 0 if legs else True
    for leg in legs[-1:] if from_the_start else legs:
        level = _level(market, leg, spot)
        smoothed = averaged(market, level, SMOOTHED)
        trend = np.where(_moved(market, smoothed, TREND_DAYS) < WORTH_A_TRADE, 0.0, _strength(market, smoothed, level))
        for measure, own in zip(measures, (-smoothed, _jump(market, level), trend), strict=True):
            since = int(np.argmin(np.isnan(own)))
            if not np.isnan(own[since]):
                measure[since:] = own[since:]
    deep, jump, trend = measures
    return deep, jump, trend


def _unusual(market: Market, spot: Leg) -> Floats:
    """How unusual the spot's volatility is, from 0 to 1. [bar]"""
    return ranked(market, realised_volatility(market, spot), slice(0, len(market)), COMPARED, HISTORY)


def _jump(market: Market, level: Floats) -> Floats:
    """How unusual the last day's move of the premium's daily mean is, from 0 to 1; 0 for one that is worth no trade. [bar]"""
    moved = _moved(market, averaged(market, level, "1D"), 1)
    return np.where(moved < WORTH_A_TRADE, 0.0, ranked(market, moved, slice(0, len(market)), COMPARED, HISTORY))


def _scarcity(market: Market, spot: Leg, legs: list[Leg]) -> Floats:
    """A day's mean of the illiquidity of the spot and of the first leg, as far as their quotes or depths are known. [bar]"""
    known_books = [leg for leg in legs if any(_has_books(market, name) for name in leg.contracts)]
    found = [illiquidity(market, leg) for leg in (spot, *known_books[:1]) if any(_has_books(market, name) for name in leg.contracts)]
    if not found:
        return np.full(len(market), np.nan)
    known = (~np.isnan(found)).sum(axis=0)
    return averaged(market, np.where(known > 0, np.nansum(found, axis=0) / np.maximum(known, 1), np.nan), "1D")


def _has_books(market: Market, name: str) -> bool:
    """Whether quotes, spreads or depths of an instrument are known."""
    measured = any(market.has(name, measure) or f"{name}.{measure}" in market.series_names for measure in ("spread", *DEPTHS))
    return measured or (market.has(name, "bid") and market.has(name, "ask"))


def _strength(market: Market, values: Floats, raw: Floats) -> Floats:
    """How far values have come in the trend's days, in what a random walk with the daily moves of raw goes in them. [bar]"""
    daily = averaged(market, changed(market, raw, "1D") ** 2, f"{TREND_DAYS}D")
    with np.errstate(divide="ignore", invalid="ignore"):
        strength: Floats = _moved(market, values, TREND_DAYS) / np.sqrt(daily * TREND_DAYS)
    return np.where(daily > 0.0, strength, np.nan)


def _moved(market: Market, values: Floats, days: int) -> Floats:
    moved = changed(market, values, f"{days}D")
    return np.abs(moved, out=moved)


def _lasting(market: Market, values: Floats, enter: float, leave: float) -> Bools:
    """Whether a cause is on, by hysteresis, or was within `LASTS`; one whose value is unknown for longer is off. [bar]"""
    from backtest import rolling

    on = (rolling.hysteresis(values, enter, leave) == 1.0) & ~np.isnan(values)
    last = np.maximum.accumulate(np.where(on, market.stamps, market.start - length(LASTS)))
    lasting: Bools = market.stamps - last < length(LASTS)
    return lasting
