"""How unusual a value is against its own past: z-score and percentile rank over a trailing window, or over all that is known so far.

A window holds the bars with T − window < stamp ≤ T, the present one with them; unknown values in it are left out. The answer is unknown until the history
(from the beginning of the first bar with a known value) is `min_history` long, and where the window holds fewer than `FEWEST` known values.

    rich = bt.percentile(market, bt.annualized_premium(market), window="180D")
"""

import numpy as np

from backtest.market import Floats, Market
from backtest.memo import length, signal
from backtest.rule import Duration

FEWEST = 5  # known values that a statistic of a window needs at least
HISTORY = "30D"  # needed where the window is all history


@signal
def zscore(market: Market, values: Floats, window: Duration | None = "90D", min_history: Duration | None = None) -> Floats:
    """(value − mean)/deviation of the window, n−1 in the deviation. [as values]

    window None: all history. min_history None: the window's length, or 30 days for all history. NaN where the value is, and where all values of the window are
    equal.
    """
    from backtest import rolling

    span = rolling.FOREVER if window is None else length(window)
    return since_known(market, values, min_history or window or HISTORY, rolling.zscore(market.stamps, values, span, FEWEST))


@signal
def percentile(market: Market, values: Floats, window: Duration | None = "90D", min_history: Duration | None = None) -> Floats:
    """Percentile rank of the value in the window, above 0 and up to 1: (how many are less + half of (how many are equal, itself with them, + 1))/count. [as values]

    window None: all history. min_history None: the window's length, or 30 days for all history. NaN where the value is.
    """
    return ranked(market, values, slice(0, len(market)), window, min_history)


def ranked(market: Market, values: Floats, bars: slice, window: Duration | None, min_history: Duration | None = None) -> Floats:
    """`percentile` of values at some of the bars only, not kept. [as values]"""
    from backtest import rolling

    span = rolling.FOREVER if window is None else length(window)
    return since_known(market, values, min_history or window or HISTORY, rolling.rank(market.stamps[bars], values, span, FEWEST), bars)


def since_known(market: Market, values: Floats, history: Duration, answers: Floats, bars: slice = slice(None)) -> Floats:
    """The answers, NaN while less than `history` has passed since the beginning of each row's first bar with a known value; changed in place. [as values]"""
    stamps = market.stamps[bars]
    for row, answer in zip(np.atleast_2d(values), np.atleast_2d(answers), strict=True):
        first = int(np.argmin(np.isnan(row)))
        answer[: np.searchsorted(stamps, market.opens[bars][first] + length(history))] = np.nan
    return answers
