"""How unusual a value is against its own past: z-score and percentile rank over a trailing window, or over all that is known so far.

A window holds the bars with T − window < stamp ≤ T, the present one with them; unknown values in it are left out. The answer is unknown until the history
(from the beginning of the first bar with a known value) is `min_history` long, and where the window holds fewer than `FEWEST` known values.

    rich = bt.percentile(market, bt.annualized_premium(market), window="180D")
"""

import numpy as np
import pandas as pd

from backtest.market import Floats, Market
from backtest.memo import length, signal
from backtest.rule import Duration

FEWEST = 5  # known values that a statistic of a window needs at least


@signal
def zscore(market: Market, values: Floats, window: Duration | None = "90D", min_history: Duration | None = None) -> Floats:
    """(value − mean)/deviation of the window, n−1 in the deviation. [as values]

    window None: all history. min_history None: the window's length, or 30 days for all history. NaN where the value is, and where all values of the window are equal.
    """
    rolled = _rolled(market, values, window)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _with_history(market, values, window, min_history, (values - _rows(rolled.mean(), values)) / _rows(rolled.std(), values))


@signal
def percentile(market: Market, values: Floats, window: Duration | None = "90D", min_history: Duration | None = None) -> Floats:
    """Percentile rank of the value in the window, above 0 and up to 1: (how many are less + half of (how many are equal, itself with them, + 1))/count. [as values]

    window None: all history. min_history None: the window's length, or 30 days for all history. NaN where the value is.
    """
    return _with_history(market, values, window, min_history, _rows(_rolled(market, values, window).rank(pct=True), values))


def _rolled(market, values, window):
    frame = pd.DataFrame(np.atleast_2d(values).T, index=market.clock)
    return frame.expanding(FEWEST) if window is None else frame.rolling(window, min_periods=FEWEST)


def _rows(frame, values):
    return frame.to_numpy().T.reshape(values.shape)


def _with_history(market, values, window, min_history, out):
    span = length(min_history if min_history is not None else (window if window is not None else "30D"))
    rows, known = np.atleast_2d(out), ~np.isnan(np.atleast_2d(values))
    for row, there in zip(rows, known, strict=True):
        first = market.stamps[there.argmax()] - market.step if there.any() else 2**62
        row[(market.stamps - first < span) | ~there] = np.nan
    return rows.reshape(values.shape)
