"""Funding as a rate a year, and against the premium of the dated futures.

Funding is what the short side of a perpetual is paid; intervals differ between venues and change, so rates are compared by the year (simple, 365 days).

    paid = bt.annualized_funding(market, window="7D")          # what a week has paid
    now = bt.current_funding(market)                           # what the newest payment would come to
    richer = bt.futures_vs_perpetual(market, window="7D")      # above 0: sell the dated future and buy the perpetual
"""

import numpy as np
import numpy.typing as npt

from backtest.curve.prices import dated, matched, rate_of, table
from backtest.errors import DataError, ParameterError
from backtest.instruments import Kind
from backtest.market import DAY, Floats, Funding, Market
from backtest.memo import THE_FUTURES, THE_PERPETUAL, THE_SPOT, length, signal
from backtest.rule import Duration, Leg


@signal
def annualized_funding(market: Market, perpetual: Leg = THE_PERPETUAL, window: Duration = "7D") -> Floats:
    """Funding rates paid in the trailing window, summed and scaled to a year (simple, 365 days). [1, bar]

    Counts the events with T − window < τ ≤ T. NaN until the window reaches back to the first event known, and where an event inside it is missing, which
    it is from the moment when it is due by the interval of the one before (where the interval has grown, until the first event of the longer one).
    Raises ParameterError for a leg that is no perpetual, DataError if it has no funding.
    """
    span = length(window)
    events, missing = funding_events(market, perpetual), market.missing_funding(perpetual.contracts[0], whole=True)
    total = np.concatenate([[0.0], np.cumsum(events.rates)])
    begin = market.stamps - span
    paid = total[np.searchsorted(events.times, market.stamps, "right")] - total[np.searchsorted(events.times, begin, "right")]
    gaps = np.searchsorted(missing, market.stamps, "right") - np.searchsorted(missing, begin, "right")
    first = events.times[0] - int(events.hours[0] * DAY / 24)
    known = (begin >= first) & (gaps == 0) & (newest_payment(events, market.stamps) >= 0)
    return np.where(known, paid * (365 * DAY / span), np.nan)[None, :]


@signal
def current_funding(market: Market, perpetual: Leg = THE_PERPETUAL) -> Floats:
    """The newest payment as a rate a year: its rate · 24/(its interval in hours) · 365. [1, bar]

    Each payment counts by its own interval, so a venue may change it (8 h → 4 h → 1 h). NaN before the first payment, and from the moment when the next is
    due by the newest's interval and isn't there: after a missing one, and where the interval has grown, until the first payment of the longer one.
    Raises ParameterError for a leg that is no perpetual, DataError if it has no funding.
    """
    events = funding_events(market, perpetual)
    yearly = events.rates * (24.0 * 365.0) / events.hours
    newest = newest_payment(events, market.stamps)
    return np.where(newest >= 0, yearly[newest], np.nan)[None, :]


@signal
def futures_vs_perpetual(
    market: Market, future: Leg = THE_FUTURES, perpetual: Leg = THE_PERPETUAL, spot: Leg = THE_SPOT, *, window: Duration = "7D"
) -> Floats:
    """Annualized premium of each dated contract − annualized funding of the perpetual over the window. [contract, bar]

    Above 0 the future is the richer one: a short future against a long perpetual earns the difference if funding goes on as in the window; below 0 the
    other way round. Before costs. NaN where either is; errors as `annualized_premium` and `annualized_funding`.
    """
    matched(market, dated(future), spot)
    paid = annualized_funding(market, perpetual, window)[0]
    return table(market, future, lambda name, bars: rate_of(market, name, spot) - paid[bars])


def newest_payment(events: Funding, stamps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number of the newest payment at each bar's end; −1 before the first, and once the next one is due by its interval and isn't there. [bar]"""
    newest = np.searchsorted(events.times, stamps, "right") - 1
    due = events.times + (events.hours * (DAY / 24)).astype(np.int64)
    return np.where(stamps < due[newest], newest, -1)


def funding_events(market: Market, perpetual: Leg) -> Funding:
    """The perpetual's funding; ParameterError for another leg, DataError if the dataset has none."""
    if perpetual.kind is not Kind.PERPETUAL:
        raise ParameterError(f"only a perpetual has funding: {perpetual}")
    events = market.funding(perpetual.contracts[0])
    if len(events.times) == 0:
        raise DataError(f"{perpetual}: the dataset {market.info.name} has no funding; import it")
    return events
