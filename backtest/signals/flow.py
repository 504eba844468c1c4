"""Who is in a hurry, and where: volumes and volume deltas of spot and futures.

A taker buys at the ask or sells at the bid because he wants to trade now. What takers bought less what they sold in a bar, 2·taker_buy_volume − volume, is its
volume delta; its running sum is the cumulative volume delta (CVD). A rise that takers of the spot pay for is demand for coins; one that takers of the
futures pay for is leverage, and tends to give back its premium. All volumes are in base units and summed over the contracts of the leg.

    leads = bt.spot_lead(market)            # above 0 the spot's takers lead the move, below the futures'
"""

from collections.abc import Callable

import numpy as np

from backtest.curve import closes
from backtest.errors import DataError, ParameterError
from backtest.market import Floats, Market
from backtest.memo import THE_PERPETUAL, THE_SPOT, length, signal
from backtest.rule import Duration, Leg
from backtest.signals.extremes import zscore
from backtest.signals.trend import change


@signal
def relative_volume(market: Market, leg: Leg = THE_PERPETUAL, window: Duration = "1D", history: Duration = "30D") -> Floats:
    """Volume of the window over the mean volume of the windows of that length which make up the history, the present one with them. [bar]

    1 is usual. NaN until the history lies in the data, where it has no volume above zero, and where no volume of the window is known.
    ParameterError for a history shorter than the window; DataError if no contract of the leg has volumes.
    """
    if length(history) < length(window):
        raise ParameterError(f"history must be at least as long as window: history={history}, window={window}")
    volume = _summed_over_contracts(market, leg, ("volume",), lambda volume: volume)
    usual = _in_window(market, volume, length(history)) * (length(window) / length(history))
    return _in_window(market, volume, length(window)) / np.where(usual > 0.0, usual, np.nan)


@signal
def volume_delta(market: Market, leg: Leg = THE_PERPETUAL, window: Duration = "1D") -> Floats:
    """What takers bought less what they sold over the window, Σ(2·taker_buy_volume − volume). [bar], base units

    Bars that lack either column are left out; NaN until the window lies in the data, and where it has no bar with both.
    DataError if no contract of the leg has both columns.
    """
    return _in_window(market, _delta(market, leg), length(window))


@signal
def cumulative_volume_delta(market: Market, leg: Leg = THE_PERPETUAL) -> Floats:
    """What takers bought less what they sold since the market's start. [bar], base units

    Its level depends on where the data begin, so only its changes mean something. Bars that lack either column add nothing; NaN before the first
    that has both. DataError if no contract of the leg has both columns.
    """
    delta = _delta(market, leg)
    known = ~np.isnan(delta)
    return np.where(np.logical_or.accumulate(known), np.cumsum(np.where(known, delta, 0.0)), np.nan)


@signal
def spot_lead(market: Market, leg: Leg = THE_PERPETUAL, spot: Leg = THE_SPOT, window: Duration = "1D", history: Duration = "30D") -> Floats:
    """Which takers lead the move: sign of the spot's price change over the window × (z-score of the spot's volume delta − that of the leg's). [bar]

    In standard deviations: the delta of each over the window against all such deltas of the history (`zscore`), since flows differ in size and in their usual
    sign from venue to venue. Above 0 the spot leads the rise or fall, below 0 the futures do; 0 where the price has not changed. NaN where a delta's
    z-score or the price change is unknown. DataError if spot or leg lack taker volumes.
    """
    flows = [zscore(market, volume_delta(market, side, window), history) for side in (spot, leg)]
    lead: Floats = np.sign(change(market, closes(market, spot), window)[0]) * (flows[0] - flows[1])
    return lead


def _delta(market: Market, leg: Leg) -> Floats:
    """Volume delta of each bar; NaN where no contract has both volumes. [bar]"""
    return _summed_over_contracts(market, leg, ("taker_buy_volume", "volume"), lambda bought, volume: 2.0 * bought - volume)


def _summed_over_contracts(market: Market, leg: Leg, columns: tuple[str, ...], formula: Callable[..., Floats]) -> Floats:
    """The formula of the columns, summed over the contracts for which it is known at a bar; NaN where it is for none. [bar]"""
    having = [name for name in leg.contracts if all(market.has(name, column) for column in columns)]
    if not having:
        raise DataError(
            f"{leg} has no {' and '.join(columns)} in dataset {market.info.name}; import bars with the column{'s' * (len(columns) > 1)} {', '.join(columns)}"
        )
    total, found = np.zeros(len(market)), np.zeros(len(market), dtype=bool)
    for name in having:
        bars, values = market.life(name), formula(*(market.lived(name, column) for column in columns))
        known = ~np.isnan(values)
        np.add(total[bars], values, out=total[bars], where=known)
        found[bars] |= known
    return np.where(found, total, np.nan)


def _in_window(market: Market, values: Floats, span: int) -> Floats:
    """Sum of the values with T − span < stamp ≤ T; NaN until the window lies in the data, and where it has no known value. [bar]"""
    from backtest import rolling

    known = ~np.isnan(values)
    if not known.any():
        return np.full(len(market), np.nan)
    summed, count = rolling.total(market.stamps, np.array([np.where(known, values, 0.0), known]), span)
    whole = market.stamps - span >= market.opens[known.argmax()]
    return np.where(whole & (count > 0.0), summed, np.nan)
