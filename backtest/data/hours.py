"""When a market is open, and at which hour its daily bars really close.

Crypto venues never close. CME's futures trade on the exchange's days, from the evening before, so a daily bar that lacks on a Saturday, a Sunday or a
holiday is none. A daily file says 00:00 and may hold the settlement of 20:00: against an hourly series of the same coin its closes then fit another hour than its stamps.

    missing = missing[open_at("cme", missing, step)]
    closing_hour(daily["close"], hourly["close"])
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.errors import DataError

DAY = pd.Timedelta("1D")
CLOSING_VENUES = ("cme",)
SEARCHED_HOURS = 24
FEWEST_DAYS = 25
SMOOTHED_DAYS = 11
BETTER_FIT = 0.5


class Fit(NamedTuple):
    """The hour that fits a daily series best, from its stamps, and the median error (fraction) there and at the stamp itself."""

    hours: int
    error: float
    at_stamp: float


class Lag(NamedTuple):
    """Hours by which a series closes before another (negative: after it), and how many standard errors that is."""

    hours: float
    sure: float


def closes(venue: str) -> bool:
    """True for a venue that has hours and holidays."""
    return venue in CLOSING_VENUES


def open_at(venue: str, stamps: pd.DatetimeIndex, step: pd.Timedelta) -> npt.NDArray[np.bool_]:
    """Whether bars of a length that end at some stamps are due: daily ones on the days of the exchange, shorter ones while it trades. [stamp]"""
    if not closes(venue) or not len(stamps):
        return np.ones(len(stamps), dtype=bool)
    from backtest.venues.calendar import is_open, sessions

    last = stamps - pd.Timedelta(1, "ns")
    try:
        if step >= DAY:
            days = sessions(venue, stamps.min() - step, stamps.max() + DAY).index
            return np.asarray(last.normalize().tz_convert(None).isin(days))
        return is_open(venue, stamps - step) | is_open(venue, last)
    except DataError:  # before the hours that the rule-book knows: working days
        return np.asarray(last.day_of_week < 5)


def closing_hour(daily: pd.Series, hourly: pd.Series) -> Fit | None:
    """At which hour a daily series closes, told by an hourly one: the hour at which their distance wavers least.

    The distance's slow part (a premium, a stablecoin's own basis) is taken out by a running median. None for fewer than 25 common days.
    """
    errors = {hours: _wavering(daily, hourly, hours) for hours in range(-SEARCHED_HOURS, SEARCHED_HOURS + 1)}
    known = {hours: error for hours, error in errors.items() if not np.isnan(error)}
    if 0 not in known:
        return None
    best = min(known, key=lambda hours: (known[hours], abs(hours)))
    return Fit(best, known[best], known[0])


def wrong_hour(fit: Fit | None) -> bool:
    """True if another hour than the stamp's fits clearly better."""
    return fit is not None and fit.hours != 0 and fit.error < BETTER_FIT * fit.at_stamp


def lag_hours(daily: pd.Series, other: pd.Series) -> Lag | None:
    """By how many hours a daily series closes before another that is stamped alike; None for fewer than 25 common days.

    A close that is h hours early lacks the other's move of those hours: its distance falls by h/24 of the other's return of the day. One that is
    late has h/24 of the next day's return in it. A last trade is always a little old: of thin contracts an hour or two.
    """
    both = pd.concat([np.log(daily), np.log(other)], axis=1, join="inner").to_numpy()
    if len(both) < FEWEST_DAYS:
        return None
    move = np.diff(both[:, 1])
    distance = _detrended(pd.Series(both[:, 0] - both[:, 1])).to_numpy()
    early, late = _slope(distance[1:], -move), _slope(distance[:-1], move)
    return Lag(24 * early[0], early[1]) if early[0] > late[0] else Lag(-24 * late[0], late[1])


def _wavering(daily: pd.Series, hourly: pd.Series, hours: int) -> float:
    stamps = pd.DatetimeIndex(daily.index) + pd.Timedelta(hours=hours)
    distance = pd.Series(np.log(daily.to_numpy()) - np.log(hourly.reindex(stamps).to_numpy())).dropna()
    return float(_detrended(distance).abs().median()) if len(distance) >= FEWEST_DAYS else np.nan


def _detrended(distance: pd.Series) -> pd.Series:
    return distance - distance.rolling(SMOOTHED_DAYS, center=True, min_periods=1).median()


def _slope(values: npt.NDArray[np.float64], moves: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Slope through the origin, moves and values held to six of their usual sizes, and how many standard errors it is."""
    x, y = (np.clip(part, -6 * size, 6 * size) for part, size in ((moves, _size(moves)), (values, _size(values))))
    squares = float(x @ x)
    if squares == 0:
        return 0.0, 0.0
    slope = float(x @ y) / squares
    error = float(np.sqrt(np.mean((y - slope * x) ** 2) / squares))
    return slope, slope / error if error > 0 else np.inf


def _size(values: npt.NDArray[np.float64]) -> float:
    return float(np.median(np.abs(values)))
