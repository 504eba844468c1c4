"""The calendar as a signal: windows around events and expiries, hours in which a venue is closed, and a macro series as a filter.

Around a network upgrade or a settlement a premium tells of the event and not of leverage, and while CME is closed its price stands still beside a spot that
moves. An event is acted on from when it was announced (the optional column `known_at` of the dataset's events); one without that counts from its own time on.

    quiet = bt.near_event(market, before="3D") + bt.near_expiry(market) == 0.0
    tailwind = bt.macro_trend(market, "equity_index") > 0.0
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.curve import dated, expiries
from backtest.errors import DataError, did_you_mean
from backtest.market import DAY, Floats, Market, nanoseconds
from backtest.memo import THE_FUTURES, length, signal
from backtest.rule import Duration, Leg
from backtest.venues import venue as rule_book
from backtest.venues.calendar import is_open

Instants = npt.NDArray[np.int64]


@signal
def near_event(market: Market, kind: str = "upgrade", before: Duration = "1D", after: Duration = "1D") -> Floats:
    """1 from `before` an event of the kind, once it was announced, until `after` it, both ends included; else 0. [bar]

    An event whose `known_at` is missing is known from its own time on, one whose `known_at` is later from then on. DataError if the dataset has no event of
    the kind.
    """
    events = _events(market, kind)
    times, known = (nanoseconds(pd.DatetimeIndex(events[column])) for column in ("ts", "known_at"))
    return _inside(market, np.maximum(times - length(before), known), times + length(after))


@signal
def near_expiry(market: Market, future: Leg = THE_FUTURES, before: Duration = "1D", after: Duration = "1D") -> Floats:
    """1 from `before` the expiry of a contract of the leg until `after` it, both ends included; else 0. [bar]

    A contract counts from its first bar on. ParameterError for a leg without expiry.
    """
    ends = expiries(market, dated(future))
    first = market.stamps[[market.first_bar(name) for name in future.contracts]]
    return _inside(market, np.maximum(ends - length(before), first), ends + length(after))


@signal
def venue_closed(market: Market, venue: str = "cme") -> Floats:
    """1 where the venue doesn't trade at the bar's end, so that nothing can be traded there next; 0 where it does. [bar]

    By the venue's sessions and the exchange's holidays (`backtest.venues.calendar`); always 0 for a venue that never closes. NaN before the first day whose
    hours the rule-book has. DataError for an unknown venue, or one whose hours are not known at all.
    """
    begins = [entry.since for entry in rule_book(venue).entries if entry.table == "hours"]
    # the day after: trading begins at an hour of that day
    first = nanoseconds(pd.DatetimeIndex([min(begins)]))[0] + DAY if begins else 0
    known = int(np.searchsorted(market.stamps, first))
    out = np.full(len(market), np.nan)
    out[known:] = ~is_open(venue, market.clock[known:])
    return out


@signal
def macro_trend(market: Market, name: str = "equity_index", window: Duration = "20D") -> Floats:
    """A series as known at each bar over what was known of it a window before, − 1. [bar]

    NaN where one of the two was not known yet, or the earlier one is not above 0. Values from before the market's start count. DataError if the dataset
    has no such series.
    """
    known, values = market.history(name)
    place = np.searchsorted(known, market.stamps - length(window), side="right") - 1
    past = np.where(place >= 0, values[np.maximum(place, 0)], np.nan)
    return market.series(name) / np.where(past > 0.0, past, np.nan) - 1.0


def _events(market: Market, kind: str) -> pd.DataFrame:
    """The events of a kind; DataError if the dataset has none."""
    events = market.events
    kinds = sorted(set(events["kind"]))
    if kind not in kinds:
        hint = did_you_mean(kind, kinds) if kinds else "it has no events at all"
        raise DataError(f'no event of kind "{kind}" in dataset {market.info.name}; {hint}; import them with a mapping, what = "events"')
    return events[events["kind"] == kind]


def _inside(market: Market, begins: Instants, ends: Instants) -> Floats:
    """1 at the bars that lie in one of some spans of time, their ends included, else 0. [bar]"""
    kept = ends >= begins
    opened, closed = np.sort(begins[kept]), np.sort(ends[kept])
    inside = np.searchsorted(opened, market.stamps, side="right") - np.searchsorted(closed, market.stamps, side="left")
    return (inside > 0).astype(np.float64)
