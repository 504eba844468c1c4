"""The term structure: the premium at a constant tenor, and the slope, curvature and shape of the curve.

Between two contracts ln(F/S) is linear in the days, so that the price at a tenor is locked by the two and no forward rate jumps between them. The curve begins at
the spot: ln(F/S) is 0 at no days. Forward premium between two tenors = (ln(F/S) at the far one − at the near one)/years between them.

    richness = bt.constant_maturity(market, days=90)
    shape = bt.term_shape(market)  # a code of bt.Shape
"""

from enum import IntEnum
from itertools import pairwise

import numpy as np

from backtest.curve.activity import traded
from backtest.curve.prices import FEWEST_DAYS, Compounding, dated, days_left, matched, premium_of, rate_of
from backtest.errors import ParameterError
from backtest.market import Floats, Market
from backtest.memo import THE_FUTURES, THE_SPOT, signal
from backtest.rule import Leg, choice, number

FARTHEST = 2.0  # a tenor may be so many times as long as the farthest contract has days; beyond, its rate says nothing about the tenor


class Shape(IntEnum):
    """What the curve looks like, by its slope."""

    INVERTED = -1
    FLAT = 0
    STEEP = 1


@signal
def constant_maturity(
    market: Market, future: Leg = THE_FUTURES, spot: Leg = THE_SPOT, *, days: float = 30.0, compounding: str = Compounding.SIMPLE
) -> Floats:
    """Annualized premium at a tenor of so many days, from the contracts that are traded (`traded`) with at least one day left. [bar]

    Linear in ln(F/S) between the contracts next to the tenor; shorter than the nearest: its rate (the line from the spot to it); longer than the farthest:
    its rate, up to twice its days. NaN beyond and without contracts. Rates are held fixed continuously compounded and then given as `compounding` says.
    """
    number("days", days, above=0.0)
    if choice("compounding", compounding, Compounding) is Compounding.CONTINUOUS:
        return _at_tenor(market, future, spot, days)
    simple: Floats = np.expm1(constant_maturity(market, future, spot, days=days, compounding=Compounding.CONTINUOUS) * (days / 365.0))
    simple *= 365.0 / days
    return simple


@signal
def term_slope(market: Market, future: Leg = THE_FUTURES, spot: Leg = THE_SPOT, *, near: float = 30.0, far: float = 90.0) -> Floats:
    """The forward premium from the near to the far tenor (days), continuously compounded: above 0 the curve rises. [bar]

    A single contract's curve is the line through it, its slope the contract's own rate. NaN where `constant_maturity` is at either tenor.
    """
    _refuse_disorder(near=near, far=far)
    short, long = (constant_maturity(market, future, spot, days=days, compounding=Compounding.CONTINUOUS) for days in (near, far))
    slope: Floats = (long * far - short * near) / (far - near)
    return slope


@signal
def term_curvature(
    market: Market, future: Leg = THE_FUTURES, spot: Leg = THE_SPOT, *, near: float = 30.0, middle: float = 90.0, far: float = 180.0
) -> Floats:
    """Slope from the middle to the far tenor less that from the near to the middle one: above 0 the curve steepens with the days. [bar]

    NaN where either slope is, and where fewer than two contracts are known: one bends no curve.
    """
    _refuse_disorder(near=near, middle=middle, far=far)
    bend: Floats = term_slope(market, future, spot, near=middle, far=far) - term_slope(market, future, spot, near=near, far=middle)
    known = np.zeros(len(market))
    for name, alive in zip(future.contracts, traded(market, future), strict=True):
        bars = market.life(name)
        known[bars] += ~np.isnan(rate_of(market, name, spot)) & (alive[bars] > 0.0)
    bend[known < 2.0] = np.nan
    return bend


@signal
def term_shape(market: Market, future: Leg = THE_FUTURES, spot: Leg = THE_SPOT, *, steep: float = 0.15, inverted: float = 0.0) -> Floats:
    """The curve's `Shape` by its `term_slope` from 30 to 90 days: STEEP from 15 % a year on, INVERTED below 0, else FLAT; NaN where unknown. [bar]"""
    for name, value in (("steep", steep), ("inverted", inverted)):
        number(name, value)
    if not inverted < steep:
        raise ParameterError(f"inverted must be below steep: inverted={inverted:g}, steep={steep:g}")
    slope = term_slope(market, future, spot)
    shape = np.select([slope >= steep, slope < inverted], [Shape.STEEP, Shape.INVERTED], Shape.FLAT).astype(np.float64)
    shape[np.isnan(slope)] = np.nan
    return shape


def _at_tenor(market: Market, future: Leg, spot: Leg, tenor: float) -> Floats:
    """The continuously compounded rate at a tenor. [bar]"""
    matched(market, dated(future), spot)
    below_days, below_log = np.zeros(len(market)), np.zeros(len(market))  # the spot, until a contract is known
    above_days, above_log = np.full(len(market), np.nan), np.full(len(market), np.nan)
    for name, alive in zip(
        future.contracts, traded(market, future), strict=True
    ):  # by expiry: the last one below and the first above are next to it
        bars, days, log = market.life(name), days_left(market, name), 365.0 * np.log1p(premium_of(market, name, spot))
        known = (alive[bars] > 0.0) & ~np.isnan(log) & (days >= FEWEST_DAYS)
        short = known & (days < tenor)
        np.copyto(below_days[bars], days, where=short)
        np.copyto(below_log[bars], log, where=short)
        long = known & (days >= tenor) & np.isnan(above_days[bars])
        np.copyto(above_days[bars], days, where=long)
        np.copyto(above_log[bars], log, where=long)
    between = (below_log * (above_days - tenor) + above_log * (tenor - below_days)) / ((above_days - below_days) * tenor)
    farthest = np.isnan(above_days) & (below_days * FARTHEST >= tenor)
    np.divide(below_log, below_days, out=between, where=farthest)
    return between


def _refuse_disorder(**tenors: float) -> None:
    """ParameterError unless the tenors are above 0 and each is below the next."""
    for name, days in tenors.items():
        number(name, days, above=0.0)
    for (one, low), (other, high) in pairwise(tenors.items()):
        if not low < high:
            raise ParameterError(f"{one} must be below {other}: {one}={low:g}, {other}={high:g}")
