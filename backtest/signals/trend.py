"""Where a value is going: averages and their crossing, change and speed, breakouts, and the slope of a line with its t-value.

All trail: a window holds the bars with T − window < stamp ≤ T, unknown values in it left out. Every answer is unknown where the value is, and until the window
lies in the data: T − window at or after the beginning of the first bar with a known value. A t-value beyond ±2 is the usual sign of a trend, but values of
neighbouring bars hang together, which makes it larger than chance alone would.

    momentum = bt.crossing(market, bt.constant_maturity(market), fast="7D", slow="30D")
"""

import numpy as np
import numpy.typing as npt

from backtest.errors import ParameterError
from backtest.market import DAY, Floats, Market
from backtest.memo import length, signal
from backtest.rule import Duration
from backtest.signals.extremes import FEWEST, since_known


@signal
def moving_average(market: Market, values: Floats, window: Duration = "7D") -> Floats:
    """Mean of the window's known values. [as values]"""
    return averaged(market, values, window)


def averaged(market: Market, values: Floats, window: Duration) -> Floats:
    """`moving_average`, not kept. [as values]"""
    from backtest import rolling

    return since_known(market, values, window, rolling.mean(market.stamps, values, length(window)))


@signal
def crossing(market: Market, values: Floats, fast: Duration = "7D", slow: Duration = "30D") -> Floats:
    """Fast moving average − slow one: above 0 the value is rising. [as values]

    Raises ParameterError unless fast is shorter than slow.
    """
    if length(fast) >= length(slow):
        raise ParameterError(f"fast must be shorter than slow: fast={fast}, slow={slow}")
    difference: Floats = moving_average(market, values, fast) - moving_average(market, values, slow)
    return difference


@signal
def change(market: Market, values: Floats, window: Duration = "7D") -> Floats:
    """Value − value at the last bar stamped at or before T − window; NaN if either is unknown or there is no such bar. [as values]"""
    return changed(market, values, window)


def changed(market: Market, values: Floats, window: Duration) -> Floats:
    """`change`, not kept. [as values]"""
    before = _bar_before(market, window)
    difference: Floats = values - values[..., before]
    difference[..., before < 0] = np.nan
    return difference


@signal
def speed(market: Market, values: Floats, window: Duration = "7D") -> Floats:
    """Change of |value| over the window, per day between the two bars: above 0 it widens, below 0 it is compressed. NaN where `change` is. [as values]"""
    before = _bar_before(market, window)
    days = (market.stamps - market.stamps[before]) / DAY
    days[before < 0] = np.nan
    size = np.abs(values)
    growth: Floats = (size - size[..., before]) / days
    return growth


@signal
def breakout(market: Market, values: Floats, window: Duration = "30D") -> Floats:
    """1 above the highest of the window's values before this bar, −1 below the lowest, else 0; NaN with none before it. [as values]"""
    from backtest import rolling

    return since_known(market, values, window, rolling.breakout(market.stamps, values, length(window)))


@signal
def trend_slope(market: Market, values: Floats, window: Duration = "30D") -> Floats:
    """Slope of the least-squares line through the window's values over time, per day; NaN with fewer than `FEWEST` of them. [as values]"""
    from backtest import rolling

    return since_known(market, values, window, rolling.slope(market.stamps, values, length(window), FEWEST))


@signal
def trend_t(market: Market, values: Floats, window: Duration = "30D") -> Floats:
    """The t-value of `trend_slope`: slope over its standard error (ordinary least squares, n − 2 degrees of freedom). [as values]

    NaN with fewer than `FEWEST` values, and where all of them are equal. A perfect line has the t-value of one that leaves 1e-12 of the variance over:
    ±√(n − 2)·1e6.
    """
    from backtest import rolling

    return since_known(market, values, window, rolling.t_value(market.stamps, values, length(window), FEWEST))


def _bar_before(market: Market, window: Duration) -> npt.NDArray[np.int64]:
    """The number of the last bar stamped at or before T − window; −1 for none. [bar]"""
    span = length(window)
    return market.memo(
        ("bar before", span), lambda: np.searchsorted(market.stamps, market.stamps - span, side="right").astype(np.int64) - 1
    )
