"""When dated futures expire and when a venue trades.

CME's ether futures end on the last Friday of their month at 16:00 in London, which is 15:00 UTC in summer and 16:00 in winter, and on the day before where
neither London nor Chicago works that Friday (Good Friday, Christmas). One holiday is not enough: the contract of December 2025 traded on Boxing Day. Crypto
venues end theirs on a Friday at 08:00 UTC, holiday or not, and never close.

    expiry("cme", 2024, 3)                        # 2024-03-28 16:00 UTC: the 29th was Good Friday
    missing = bars_expected[is_open("cme", bars_expected)]
"""

import warnings
from datetime import date, timedelta
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.errors import DataError, ParameterError
from backtest.instruments import Kind
from backtest.venues import Entry, VenueRules, venue

FIRST, LAST = "2017-12-01", "2035-12-31"  # of the holiday calendars


def expiry(name: str, year: int, month: int) -> pd.Timestamp:
    """Expiry of a venue's contract of a month, in UTC; ParameterError for a month without one, DataError where the rule is not known."""
    day = last_friday(year, month)
    rules = venue(name).at(pd.Timestamp(day, tz="UTC"))
    values = rules.entry("calendar", Kind.FUTURE).values
    months = values["months"]
    if month not in months:
        raise ParameterError(f"{name} has no contract that expires in {year}-{month:02d}; its months are {', '.join(map(str, months))}")
    while values["moved_if_all_closed"] and not any(pd.Timestamp(day) in _workdays(place).days for place in values["moved_if_all_closed"]):
        day -= timedelta(days=1)
    settles = rules.settlement
    return pd.Timestamp(f"{day} {settles.time}", tz=settles.zone).tz_convert("UTC").as_unit("ns")


def expiries(name: str, start: str | pd.Timestamp, end: str | pd.Timestamp) -> pd.DatetimeIndex:
    """All monthly or quarterly expiries of a venue with start ≤ expiry ≤ end."""
    first, last = _utc(start), _utc(end)
    rules = venue(name).at(first)
    months = rules.entry("calendar", Kind.FUTURE).values["months"]
    periods = pd.period_range(first.strftime("%Y-%m"), last.strftime("%Y-%m"), freq="M")
    found = [expiry(name, period.year, period.month) for period in periods if period.month in months]
    return pd.DatetimeIndex([time for time in found if first <= time <= last], tz="UTC", name="expiry").as_unit("ns")


def sessions(name: str, start: str | pd.Timestamp, end: str | pd.Timestamp) -> pd.DataFrame:
    """Trading sessions that end after start and begin before end: columns open and close in UTC, by trade date.

    A venue that never closes has one session a day. On a holiday with an early close CME's session ends at noon in Chicago.
    """
    first, last = _utc(start), _utc(end)
    parts = [_sessions(entry, max(first, begin), min(last, until)) for entry, begin, until in _schedules(name, first) if begin < last]
    table = pd.concat([part for part in parts if len(part)] or parts[:1])
    return table[(table["close"] > first) & (table["open"] < last)]


def is_open(name: str, times: pd.DatetimeIndex) -> npt.NDArray[np.bool_]:
    """Whether the venue trades at each instant: from a session's open up to, and without, its close. [time]"""
    if len(times) == 0:
        return np.zeros(0, dtype=np.bool_)
    stamps = times.tz_convert("UTC").as_unit("ns")
    table = sessions(name, stamps.min(), stamps.max() + pd.Timedelta(seconds=1))
    opens, closes = (pd.DatetimeIndex(table[side]).as_unit("ns") for side in ("open", "close"))
    place = opens.searchsorted(stamps, side="right") - 1
    last_close = np.concatenate([[np.datetime64("1970-01-01", "ns")], closes.tz_convert(None).to_numpy()])[place + 1]
    return np.asarray(stamps.tz_convert(None).to_numpy() < last_close, dtype=np.bool_)


def _schedules(name: str, first: pd.Timestamp) -> list[tuple[Entry, pd.Timestamp, pd.Timestamp]]:
    """The entries about trading hours with the instants between which each holds."""
    entries = sorted((entry for entry in venue(name).entries if entry.table == "hours"), key=lambda entry: entry.since)
    begins = [_begin(entry) for entry in entries]
    if not entries or first < begins[0]:
        rules: VenueRules = venue(name).at(first)
        raise rules.missing("hours", Kind.FUTURE, f"ask for later times, or add a dated and sourced entry to {name}.toml")
    return list(zip(entries, begins, [*begins[1:], pd.Timestamp.max.tz_localize("UTC")], strict=True))


def _begin(entry: Entry) -> pd.Timestamp:
    return pd.Timestamp(f"{entry.since} {entry.values.get('begins', '00:00')}", tz=entry.values.get("zone", "UTC")).tz_convert("UTC")


def _sessions(entry: Entry, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
    if entry.values["week"] == "24/7":
        days = pd.date_range(first.normalize(), last.normalize(), freq="D")
        return pd.DataFrame({"open": days.where(days > first, first), "close": days + pd.Timedelta(days=1)}, index=days.tz_convert(None))
    return _exchange_sessions(entry.values, first, last)


def _exchange_sessions(values: Any, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
    """Sessions from the evening before to the afternoon of each day on which the exchange works."""
    work = _workdays(values["sessions"])
    if last > work.days[-1].tz_localize("UTC"):
        raise DataError(f"trading hours are known up to {LAST} and were asked for up to {last:%Y-%m-%d}; ask for earlier times")
    near = [pd.Timestamp(time.date()) + shift * pd.Timedelta(days=1) for time, shift in ((first, -1), (last, 1))]
    days = work.days[(work.days >= near[0]) & (work.days <= near[1])]
    extra = pd.DatetimeIndex([pd.Timestamp(day) for day in values["also_open"] if first.date() <= day <= last.date()])
    early = set(work.early) | set(extra)
    days = days.union(extra)
    closes = [f"{day.date()} {values['early_close'] if day in early else values['close']}" for day in days]
    opens = [f"{day.date() - timedelta(days=1)} {values['open']}" for day in days]
    sides = {
        name: pd.DatetimeIndex(pd.to_datetime(texts)).tz_localize(values["zone"]).tz_convert("UTC").as_unit("ns")
        for name, texts in (("open", opens), ("close", closes))
    }
    return pd.DataFrame(sides, index=days)


class Workdays(NamedTuple):
    """Days on which an exchange works, and those of them that end early; both at midnight without a zone."""

    days: pd.DatetimeIndex
    early: pd.DatetimeIndex


@cache
def _workdays(place: str) -> Workdays:
    """From the library's holiday calendar; imported here because that takes as long as the rest of the package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the library uses what pandas will rename
        warnings.simplefilter("ignore", FutureWarning)
        from exchange_calendars import get_calendar

        calendar = get_calendar(place, start=FIRST, end=LAST)
        return Workdays(pd.DatetimeIndex(calendar.sessions), pd.DatetimeIndex(calendar.early_closes))


def last_friday(year: int, month: int) -> date:
    """The day on which the contracts of a month end, holidays aside."""
    if not (2000 <= year <= 2100 and 1 <= month <= 12):
        raise ParameterError(f"year must be from 2000 to 2100 and month from 1 to 12: year={year}, month={month}")
    end = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    return end - timedelta(days=(end.weekday() - 4) % 7)


def _utc(time: str | pd.Timestamp) -> pd.Timestamp:
    stamp = pd.Timestamp(time)
    return (stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")).as_unit("ns")
