"""The premium indicator: one number for the whole curve, a weighted mean of the annualized premia of the contracts that trade.

A contract fades out over the last days before its expiry and in over the first days after its listing, so that a change of the basket moves no price: the
indicator moves with premia only.

    indicator = bt.premium_indicator(market, weighting="open_interest")
    shares = bt.basket_contributions(market, weighting="open_interest")
"""

from collections.abc import Callable, Iterator
from enum import StrEnum

import numpy as np

from backtest.curve.activity import open_interest, traded, traded_volume
from backtest.curve.prices import FEWEST_DAYS, dated, days_left, matched, rate_of
from backtest.errors import ParameterError
from backtest.market import DAY, Floats, Market
from backtest.memo import THE_FUTURES, THE_SPOT, signal
from backtest.rule import Leg, choice, number

VOLUME_WINDOW = "7D"  # a week holds every day of it: weekends trade less


class Weighting(StrEnum):
    """What a contract counts in the basket: all alike, 1/D (at most 1/(1 + roll_days)), D, its open interest, its volume of the last seven days."""

    EQUAL = "equal"
    FRONT = "front"
    LONG = "long"
    OPEN_INTEREST = "open_interest"
    VOLUME = "volume"


@signal
def basket_weights(
    market: Market, future: Leg = THE_FUTURES, *, weighting: str | Floats = Weighting.EQUAL, roll_days: float = 7.0
) -> Floats:
    """What share each contract has in the basket: 1 in all, 0 for a contract left out, NaN for all where none is left. [contract, bar]

    In it are the contracts that are traded (`traded`: fresh close, volume within a day), with more than one day left and a raw weight above 0, by `weighting`
    or a table [contract, bar] of your own. The raw weight is multiplied by the fade, clip((D − 1)/roll_days, 0, 1), and alike by the days since the
    contract's first bar opened, unless that is the market's first; roll_days 0: no fade. Raises DataError where the weighting's data are absent.
    """
    number("roll_days", roll_days, least=0.0)
    alive, raw = traded(market, dated(future)), _raw_weights(market, future, weighting, roll_days)
    weights, total = np.zeros((len(future.contracts), len(market))), np.zeros(len(market))
    for row, name in enumerate(future.contracts):
        bars = market.life(name)
        weight, left = raw(row, bars), days_left(market, name)
        weight[~((alive[row, bars] > 0.0) & (left > FEWEST_DAYS) & (weight > 0.0) & np.isfinite(weight))] = 0.0
        if roll_days:
            weight *= _faded(market, name, left, roll_days)
        weights[row, bars] = weight
        total[bars] += weight
    empty = total == 0.0
    for row, name in enumerate(future.contracts):
        bars = market.life(name)
        np.divide(weights[row, bars], total[bars], out=weights[row, bars], where=~empty[bars])
        weights[row, empty] = np.nan
    return weights


@signal
def premium_indicator(
    market: Market, future: Leg = THE_FUTURES, spot: Leg = THE_SPOT, *, weighting: str | Floats = Weighting.EQUAL, roll_days: float = 7.0
) -> Floats:
    """Σ weight·annualized premium (simple) over the contracts, by `basket_weights`; NaN where the basket is empty or the spot not fresh. [bar]"""
    weights = basket_weights(market, future, weighting=weighting, roll_days=roll_days)
    total = np.where(np.isnan(weights[0]), np.nan, 0.0)
    for bars, summand in _summands(market, future, spot, weights):
        total[bars] += summand
    return total


@signal
def basket_contributions(
    market: Market, future: Leg = THE_FUTURES, spot: Leg = THE_SPOT, *, weighting: str | Floats = Weighting.EQUAL, roll_days: float = 7.0
) -> Floats:
    """What each contract adds to `premium_indicator`: 0 for a contract left out, NaN for all where the indicator is. [contract, bar]"""
    weights = basket_weights(market, future, weighting=weighting, roll_days=roll_days)
    unknown = np.isnan(premium_indicator(market, future, spot, weighting=weighting, roll_days=roll_days))
    parts = np.zeros(weights.shape)
    for part, (bars, summand) in zip(parts, _summands(market, future, spot, weights), strict=True):
        part[bars] = summand
        part[unknown] = np.nan
    return parts


def _raw_weights(market: Market, future: Leg, weighting: str | Floats, roll_days: float) -> Callable[[int, slice], Floats]:
    """What gives the weights before the fade, to write into, by row and bars; also of contracts that are not in the basket."""
    if isinstance(weighting, np.ndarray):
        given, shape = np.atleast_2d(weighting), (len(future.contracts), len(market))
        if given.shape != shape:
            raise ParameterError(f"weighting must have a row for each contract of the leg: its shape is {weighting.shape}, not {shape}")
        return lambda row, bars: given[row, bars].copy()
    names = future.contracts
    match choice("weighting", weighting, Weighting):
        case Weighting.EQUAL:
            return lambda row, bars: np.ones(bars.stop - bars.start)
        case Weighting.FRONT:
            # a 1/D that rises against the fade would keep the contract's share to the last hours and then drop it
            return lambda row, bars: 1.0 / np.maximum(days_left(market, names[row]), FEWEST_DAYS + roll_days)
        case Weighting.LONG:
            return lambda row, bars: days_left(market, names[row]).copy()
        case Weighting.OPEN_INTEREST:
            held = open_interest(market, future)
            return lambda row, bars: held[row, bars].copy()
        case Weighting.VOLUME:
            volume = traded_volume(market, future, VOLUME_WINDOW)
            return lambda row, bars: volume[row, bars].copy()


def _faded(market: Market, name: str, days: Floats, roll_days: float) -> Floats:
    """How much of a contract is in the basket, 0 to 1, by the days left to its expiry and those since its first bar opened. [bar of its life]"""
    share: Floats = np.clip((days - FEWEST_DAYS) / roll_days, 0.0, 1.0)
    life = market.life(name)
    if life.start:
        opened = market.opens[life.start]
        share *= np.clip((market.stamps[life] - opened) / (roll_days * DAY), 0.0, 1.0)
    return np.nan_to_num(share, copy=False)


def _summands(market: Market, future: Leg, spot: Leg, weights: Floats) -> Iterator[tuple[slice, Floats]]:
    """Of each contract the bars of its life and weight·annualized premium there; without weight 0 though its premium be unknown."""
    matched(market, future, spot)
    for row, name in enumerate(future.contracts):
        bars = market.life(name)
        yield bars, np.where(weights[row, bars] == 0.0, 0.0, weights[row, bars] * rate_of(market, name, spot))
