"""Funding as a rate a year.

paid = bt.annualized_funding(market, window="7D")
"""

import numpy as np

from backtest.errors import DataError, ParameterError
from backtest.instruments import Kind
from backtest.market import DAY, Floats, Funding, Market
from backtest.memo import THE_PERPETUAL, length, signal
from backtest.rule import Duration, Leg


@signal
def annualized_funding(market: Market, perpetual: Leg = THE_PERPETUAL, window: Duration = "7D") -> Floats:
    """Funding rates paid in the trailing window, summed and scaled to a year (simple, 365 days). [1, bar]

    Counts the events with T − window < τ ≤ T. NaN until the window reaches back to the first event known, and where an event inside it is missing.
    """
    span = length(window)
    events, missing = funding_events(market, perpetual), market.missing_funding(perpetual.contracts[0], whole=True)
    total = np.concatenate([[0.0], np.cumsum(events.rates)])
    begin = market.stamps - span
    paid = total[np.searchsorted(events.times, market.stamps, "right")] - total[np.searchsorted(events.times, begin, "right")]
    gaps = np.searchsorted(missing, market.stamps, "right") - np.searchsorted(missing, begin, "right")
    first = events.times[0] - int(events.hours[0] * DAY / 24)
    return np.where((begin >= first) & (gaps == 0), paid * (365 * DAY / span), np.nan)[None, :]


def funding_events(market: Market, perpetual: Leg) -> Funding:
    """The perpetual's funding; ParameterError for another leg, DataError if the dataset has none."""
    if perpetual.kind is not Kind.PERPETUAL:
        raise ParameterError(f"only a perpetual has funding: {perpetual}")
    events = market.funding(perpetual.contracts[0])
    if len(events.times) == 0:
        raise DataError(f"{perpetual}: the dataset {market.info.name} has no funding; import it")
    return events
