"""Funding formulas: from the premium of a perpetual over its index to the rate that is paid, for whole arrays at once.

A rate is a fraction of the notional, positive when longs pay shorts. Most venues pay the premium plus an interest that is let go as far as a clamp
allows, so that a small premium pays exactly the interest; the venue's cap bounds what one payment can be. Which formula a venue uses on a day, and with
which numbers, stands in its rule-book:

    rate = clamped_premium(premium, interest=0.0001, clamp=0.0005, interval_hours=8, cap=0.003)
    rate = venue("binance").at(time).funding.rate(premium)
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from backtest.errors import ParameterError

Floats = npt.NDArray[np.float64]


def clamped_premium(
    premium: npt.ArrayLike,
    *,
    interest: float = 0.0001,
    clamp: float = 0.0005,
    interval_hours: float = 8.0,
    rate_hours: float = 8.0,
    cap: float = np.inf,
    floor: float | None = None,
) -> Floats:
    """Rate of one interval: [P + clamp(I − P, ±clamp)]·interval/rate hours, between floor (default −cap) and cap.

    interest is that of `rate_hours`: venues that divide an 8 h rate keep 8, others state the interest of their own interval. NaN stays NaN.
    """
    average = np.asarray(premium, dtype=np.float64)
    whole = average + np.clip(interest - average, -clamp, clamp)
    return _capped(whole * (interval_hours / rate_hours), cap, floor)


def damped_premium(
    premium: npt.ArrayLike,
    *,
    damper: float = 0.00025,
    interval_hours: float = 8.0,
    rate_hours: float = 8.0,
    cap: float = np.inf,
    floor: float | None = None,
) -> Floats:
    """Rate over `interval_hours`: [max(d, P) + min(−d, P)]·interval/rate hours, the 8 h rate capped first: nothing within ±d, the excess beyond it."""
    level = np.asarray(premium, dtype=np.float64)
    whole = np.maximum(damper, level) + np.minimum(-damper, level)
    return _capped(whole, cap, floor) * (interval_hours / rate_hours)


def mean_premium(premium: npt.ArrayLike, *, interest: float = 0.0, cap: float = np.inf, floor: float | None = None) -> Floats:
    """Rate of one interval: the mean of the premium less the interest, between floor and cap, whatever the interval's length."""
    return _capped(np.asarray(premium, dtype=np.float64) - interest, cap, floor)


def premium_plus_interest(
    premium: npt.ArrayLike,
    *,
    interest: float = 0.0,
    interval_hours: float = 1.0,
    rate_hours: float = 8.0,
    cap: float = np.inf,
    floor: float | None = None,
) -> Floats:
    """Rate of one interval: (P + I)·interval/rate hours, nothing clamped; interest is that of `rate_hours`."""
    return _capped((np.asarray(premium, dtype=np.float64) + interest) * (interval_hours / rate_hours), cap, floor)


def _capped(rate: Any, cap: float, floor: float | None) -> Floats:
    return np.asarray(np.clip(rate, -cap if floor is None else floor, cap), dtype=np.float64)


def average_premium(levels: npt.ArrayLike, *, weights: str = "linear", samples: int = 5760) -> Floats:
    """P̄ of each interval from equally long parts of it. [..., part] → [...]

    weights: linear (1 … samples, the last sample counts most) or equal. A part's weight is the sum of its samples' weights: with 5,760 samples of 5 s and
    8 hourly parts the first hour counts 1/64 and the last 15/64. NaN where a part is missing.
    """
    parts = np.asarray(levels, dtype=np.float64)
    count = parts.shape[-1]
    if weights not in ("linear", "equal"):
        raise ParameterError(f'weights must be "linear" or "equal": weights="{weights}"')
    if samples % count:
        raise ParameterError(f"samples must be a multiple of the parts of an interval: samples={samples}, parts={count}")
    each = np.arange(1, samples + 1, dtype=np.float64) if weights == "linear" else np.ones(samples)
    shares = each.reshape(count, -1).sum(axis=1) / each.sum()
    return np.asarray(parts @ shares, dtype=np.float64)
