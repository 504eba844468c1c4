"""Funding events held against the venue's schedule: holes, events too many, rates that were divided.

A venue may shorten its interval (8, 4, 2, 1 h) when rates run hot and lengthen it again; an event knows the interval it ended. Series of hourly rates
that are an eighth of the 8 h rate look complete and aren't what the venue paid: they change at one hour in eight only.

    for finding in funding_findings(perpetual, funding, bars.index): print(finding.text)
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.data.checks.spans import Spans, spans, without
from backtest.data.checks.words import NOTHING, Finding, counted, holes, listed_times, missing
from backtest.data.validate import bar_step, missing_funding
from backtest.instruments import Instrument

HOUR = pd.Timedelta("1h")
CYCLE = pd.Timedelta("8h")
SHOWN_HOLES = 40
FEWEST_CHANGES = 12
DIVIDED_SHARE = 0.98
# Venues that have never paid less often: the longest interval in hours. Hyperliquid's and dYdX's histories are hourly throughout.
LONGEST_HOURS = {"hyperliquid": 1.0, "dydx": 1.0}


def funding_findings(one: Instrument, funding: pd.DataFrame, bars: pd.DatetimeIndex) -> Iterator[Finding]:
    """What is wrong with a perpetual's funding over its bars, or over itself where it has none."""
    times = pd.DatetimeIndex(funding.index)
    if not len(times):
        yield Finding(rule="no funding", instrument=one.id, text=f"{one.id}: is a perpetual without funding; import its funding rates")
        return
    if len(gone := missing_funding(funding, *held(funding, bars))):
        words, found = missing(gone, "funding event", longest_interval(funding), SHOWN_HOLES)
        remedy = f"import {'it' if len(gone) == 1 else 'them'}, or end the run before"
        yield Finding(rule="missing funding", instrument=one.id, text=f"{one.id}: {words}; {remedy}", holes=found)
    early = too_early(funding)
    if len(early):
        text = (
            f"{one.id}: {counted(len(early), 'funding event')} {'comes' if len(early) == 1 else 'come'} sooner than half the interval they are said to end: "
            f"{listed_times(list(early))}; correct interval_hours, or remove the events that the venue never had"
        )
        yield Finding(rule="funding too often", instrument=one.id, text=text, spoils=_whole(times), of_funding=True)
    usual, longest = bar_step(times), LONGEST_HOURS.get(one.venue)
    if usual is not None and longest is not None and usual > longest * HOUR:
        hours = usual / HOUR
        text = f"{one.id}: its funding events are {hours:g} h apart and {one.venue} pays every {longest:g} h; import every event"
        yield Finding(rule="funding too seldom", instrument=one.id, text=text, spoils=_whole(times), of_funding=True)
    if (parted := divided(funding)) is not None:
        text = (
            f"{one.id}: its {parted:g} h funding rates change at one hour in eight only, so they look like 8 h rates that were divided by "
            f"{8 / parted:g}; import the events that the venue paid"
        )
        yield Finding(rule="divided funding", instrument=one.id, text=text, spoils=_whole(times), of_funding=True)


def held(funding: pd.DataFrame, bars: pd.DatetimeIndex) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The stretch over which funding is due: that of the bars, or from the first event to the last."""
    if len(bars):
        return bars[0] - (bar_step(bars) or pd.Timedelta(0)), bars[-1]
    return funding.index[0] - pd.Timedelta(1, "ns"), funding.index[-1]


def funding_spans(funding: pd.DataFrame, bars: pd.DatetimeIndex) -> Spans:
    """Where a position can be held and its funding is known: after each hole until the last bar before the next event that is missing."""
    if not len(funding):
        return NOTHING
    begin, end = held(funding, bars)
    gone = missing_funding(funding, begin, end)
    first = pd.Timestamp(funding.index[0]) - interval_hours(funding)[0] * HOUR
    due = spans([(max(begin.value, first.value) if len(bars) else first.value, end.value)])
    length = longest_interval(funding)
    bar = (bar_step(bars) or length).value
    return without(due, spans([(first.value - bar, last.value) for first, last, _ in holes(gone, length)]))


def interval_hours(funding: pd.DataFrame) -> npt.NDArray[np.float64]:
    """The interval that each event ended, the usual distance where it isn't known. [event]"""
    usual = (bar_step(pd.DatetimeIndex(funding.index)) or CYCLE) / HOUR
    if "interval_hours" not in funding.columns:
        return np.full(len(funding), usual)
    return np.asarray(funding["interval_hours"].fillna(usual), dtype=np.float64)


def longest_interval(funding: pd.DataFrame) -> pd.Timedelta:
    """The longest interval there is between events that follow each other on schedule."""
    return pd.Timedelta(float(interval_hours(funding).max()) * HOUR)


def too_early(funding: pd.DataFrame) -> pd.DatetimeIndex:
    """Events that come sooner after the one before than half of the shorter of their intervals."""
    times, hours = pd.DatetimeIndex(funding.index), interval_hours(funding)
    stamps = times.to_numpy(dtype="datetime64[ns]").astype(np.int64)
    early = (stamps[1:] - stamps[:-1]) / HOUR.value < 0.5 * np.minimum(hours[1:], hours[:-1])
    return pd.DatetimeIndex(times[1:][early])


def divided(funding: pd.DataFrame) -> float | None:
    """The interval in hours of rates that seem to be 8 h rates divided; None if they don't.

    Of neighbouring events closer than 8 h, at least twelve differ, and nearly all of those at the same place of an 8 h cycle.
    """
    stamps = pd.DatetimeIndex(funding.index).to_numpy(dtype="datetime64[ns]").astype(np.int64)
    rates = funding["rate"].to_numpy(dtype=np.float64)
    step = bar_step(pd.DatetimeIndex(funding.index[np.concatenate([[False], np.diff(stamps) < CYCLE.value])])) if len(stamps) > 2 else None
    if step is None or step <= pd.Timedelta(0) or step >= CYCLE or CYCLE.value % step.value:
        return None
    near = np.diff(stamps) == step.value
    changed = near & ~np.isclose(rates[1:], rates[:-1], rtol=1e-9, atol=1e-13)
    places = stamps[1:][changed] % CYCLE.value // step.value
    if len(places) < FEWEST_CHANGES or np.bincount(places).max() < DIVIDED_SHARE * len(places):
        return None
    return float(step / HOUR)


def _whole(times: pd.DatetimeIndex) -> Spans:
    return spans([(times[0].value - CYCLE.value, times[-1].value)])
