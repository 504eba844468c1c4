"""What goes on in each contract: how much is open, how much was traded lately, and whether it trades at all.

Open interest and volume tell which maturities the market stands in and which prices mean something; a contract that nobody trades keeps an old close.
All quantities are in base units, so that a falling price closes no position.

    weight = bt.open_interest(market, market.future_chain())
    alive = bt.traded(market, window="1D")
"""

import numpy as np

from backtest.curve.prices import table
from backtest.errors import DataError
from backtest.instruments import Settle
from backtest.market import Floats, Market
from backtest.memo import THE_FUTURES, THE_PERPETUAL, length, signal
from backtest.rule import Duration, Leg


@signal
def open_interest(market: Market, leg: Leg = THE_PERPETUAL) -> Floats:
    """Open interest of each contract as last known, in base units. [contract, bar]

    From the bars' column `open_interest`, where that is unknown from the series `<id>.open_interest`, then from `<id>.open_interest_value` over the close
    of the time when the value became known. Of inverse contracts only the value counts: venues count theirs in dollars or in contracts.
    NaN before the first, before the contract's first bar and after its expiry, and for a contract that has none of them; DataError if no contract of the leg has any.
    """
    found = {name: _interest(market, name) for name in leg.contracts}
    if all(held is None for held in found.values()):
        one = leg.contracts[0]
        straight = f'"{one}.open_interest" or bars with the column open_interest'
        remedy = straight if market.instruments[one].settle is Settle.LINEAR else f'"{one}.open_interest_value"'
        raise DataError(f"{leg} has no open interest in dataset {market.info.name}; import a series {remedy}")

    def held(name: str, bars: slice) -> Floats | float:
        values = found[name]
        return np.nan if values is None else values[bars]

    return table(market, leg, held)


@signal
def traded_volume(market: Market, leg: Leg = THE_FUTURES, window: Duration = "1D") -> Floats:
    """Volume of each contract over the window, in base units; bars of unknown volume count 0. [contract, bar]

    NaN where no volume of the contract was known so far, and after expiry; DataError if no contract of the leg has volumes.
    """
    if not any(market.has(name, "volume") for name in leg.contracts):
        raise DataError(f"{leg} has no volume in dataset {market.info.name}; import bars with the column volume")

    return table(market, leg, lambda name, bars: _volume_in(market, name, window))


@signal
def traded(market: Market, leg: Leg = THE_FUTURES, window: Duration = "1D") -> Floats:
    """1 where a contract has a fresh close and a bar with volume in the window, else 0. [contract, bar]

    A contract of which no volume was known so far counts as traded where its close is fresh.
    """
    out = np.zeros((len(leg.contracts), len(market)))
    for row, name in zip(out, leg.contracts, strict=True):
        volume = _volume_in(market, name, window)
        row[market.life(name)] = ~np.isnan(market.fresh(name)) & ((volume > 0.0) | np.isnan(volume))
    return out


def summed(values: Floats) -> Floats:
    """Sum over the contracts that are known; NaN where none is. [contract, bar] → [bar]"""
    return np.where(np.isnan(values).all(axis=0), np.nan, np.nansum(values, axis=0))


def _interest(market: Market, name: str) -> Floats | None:
    """Open interest of one contract from the best source that knows it at each bar; None if it has none. [bar]"""
    sources: list[Floats] = []
    if market.instruments[name].settle is Settle.LINEAR:
        if market.has(name, "open_interest"):
            sources.append(market.last_known(name, "open_interest"))
        if f"{name}.open_interest" in market.series_names:
            sources.append(market.series(f"{name}.open_interest"))
    if f"{name}.open_interest_value" in market.series_names:
        sources.append(_in_base(market, name))
    if not sources:
        return None
    known, *others = sources
    for other in others:
        known = np.where(np.isnan(known), other, known)
    return known


def _in_base(market: Market, name: str) -> Floats:
    """The series `<id>.open_interest_value` over the close of the first bar that knew each value: a later price changes no position. [bar]"""
    series = f"{name}.open_interest_value"
    published, _ = market.history(series)
    newest = np.maximum(np.searchsorted(published, market.stamps, side="right") - 1, 0)
    at = np.maximum(np.searchsorted(market.stamps, published)[newest], market.first_bar(name))
    in_base: Floats = market.in_quote(name, series) / market.last_known(name)
    return in_base[np.minimum(at, np.arange(len(market)))]


def _volume_in(market: Market, name: str, window: Duration) -> Floats:
    """The volume of a contract in the window, exactly 0 where nothing was traded; NaN before any is known. [bar of its life]"""
    return market.memo(("volume in", name, length(window)), lambda: _sum_volume(market, name, length(window)))


def _sum_volume(market: Market, name: str, span: int) -> Floats:
    from backtest import rolling

    volume = market.lived(name, "volume")
    known = ~np.isnan(volume)
    summed = rolling.total(market.stamps[market.life(name)], np.where(known, volume, 0.0), span)
    summed[: int(known.argmax()) if known.any() else len(known)] = np.nan
    return summed
