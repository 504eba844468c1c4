"""How easily one gets out: bid–ask spreads and depth of the books, and how unusual they are.

Carry is a crowded exit in waiting. When spreads widen and depth thins against their own history, a position costs more to leave than it did to enter,
often before prices say so; a percentile against its own past compares a thick book's bad day with a thin book's.

    scarce = bt.illiquidity(market)         # above 0.95: as illiquid as in the worst days of the last quarter
"""

import numpy as np

from backtest.curve.prices import table
from backtest.errors import DataError
from backtest.market import Floats, Market
from backtest.memo import THE_PERPETUAL, signal
from backtest.rule import Duration, Leg
from backtest.signals.extremes import ranked

DEPTHS = ("depth_50bps", "depth_10bps")  # the wider one says more of what a position finds on its way out


@signal
def spread(market: Market, leg: Leg = THE_PERPETUAL) -> Floats:
    """Bid–ask spread of each contract as a fraction of the mid. [contract, bar]

    At each bar the first that is known: the bar's mean (column `spread`), the series `<id>.spread`, the quotes at the bar's end, 2·(ask − bid)/(ask + bid). NaN where none
    is known, and after expiry. DataError if no contract of the leg has any of them.
    """
    found = {name: _spreads(market, name) for name in leg.contracts}
    if not any(found.values()):
        raise DataError(_absent(market, leg, "spread", "bars with bid and ask, or with the column spread"))
    return table(market, leg, lambda name, bars: _first_known(found[name]) if found[name] else np.nan)


@signal
def depth(market: Market, leg: Leg = THE_PERPETUAL) -> Floats:
    """What rests in the book of each contract within 50 bps of the mid, in quote currency; within 10 bps for a contract that has no depth at 50. [contract, bar]

    At each bar the column `depth_50bps`, else the series `<id>.depth_50bps`. NaN where neither is known, and after expiry.
    DataError if no contract of the leg has any.
    """
    found = {name: _depths(market, name) for name in leg.contracts}
    if not any(found.values()):
        raise DataError(_absent(market, leg, "depth", "bars with the column depth_50bps or depth_10bps"))
    return table(market, leg, lambda name, bars: _first_known(found[name]) if found[name] else np.nan)


@signal
def illiquidity(market: Market, leg: Leg = THE_PERPETUAL, window: Duration = "90D") -> Floats:
    """How illiquid the leg is against its own history, from 0 (never better) to 1 (never worse). [bar]

    Of each contract the larger of its spread's percentile rank and 1 − its depth's in the window (`percentile`), or the one that is known; the mean over
    the contracts that have one. NaN where none has, so until the window lies in the data. DataError if the leg has neither spreads nor depths.
    """
    having = [name for name in leg.contracts if _spreads(market, name) or _depths(market, name)]
    if not having:
        raise DataError(_absent(market, leg, "spread and no depth", "bars with bid and ask, or with the column spread or depth_50bps"))
    total, count = np.zeros(len(market)), np.zeros(len(market))
    for name in having:
        bars, worse = market.life(name), _scarcity(market, name, window)
        known = ~np.isnan(worse)
        np.add(total[bars], worse, out=total[bars], where=known)
        count[bars] += known
    return np.where(count > 0.0, total / np.maximum(count, 1.0), np.nan)


def _scarcity(market: Market, name: str, window: Duration) -> Floats:
    """The larger percentile rank of a contract's spread and of its lack of depth, or the one that is known. [bar of its life]"""
    unknown = [np.full(1, np.nan)]
    spreads, depths = _first_known(_spreads(market, name) or unknown), _first_known(_depths(market, name) or unknown)
    wide, deep = ranked(market, np.array(np.broadcast_arrays(spreads, depths)), market.life(name), window)
    worse: Floats = np.fmax(wide, 1.0 - deep)
    return worse


def _spreads(market: Market, name: str) -> list[Floats]:
    """What the data know of a contract's spread, the better measures first. [bar of its life]"""
    found = _column_and_series(market, name, "spread")
    if market.has(name, "bid") and market.has(name, "ask"):
        bid, ask = market.lived(name, "bid"), market.lived(name, "ask")
        found.append(2.0 * (ask - bid) / (ask + bid))
    return found


def _depths(market: Market, name: str) -> list[Floats]:
    """What the data know of a contract's depth, all at one distance from the mid."""
    return next((found for measure in DEPTHS if (found := _column_and_series(market, name, measure))), [])


def _column_and_series(market: Market, name: str, measure: str) -> list[Floats]:
    column = [market.lived(name, measure)] if market.has(name, measure) else []
    series = f"{name}.{measure}"
    if series not in market.series_names:
        return column
    values = market.in_quote(name, series) if measure in DEPTHS else market.series(series)
    return [*column, values[market.life(name)]]


def _first_known(found: list[Floats]) -> Floats:
    """At each bar the first known value; NaN where none is. [as each]"""
    first, *others = found
    for values in others:
        first = np.where(np.isnan(first), values, first)
    return first


def _absent(market: Market, leg: Leg, what: str, remedy: str) -> str:
    return f"{leg} has no {what} in dataset {market.info.name}; import {remedy}"
