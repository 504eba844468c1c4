"""Funding of the simulated perpetual, by the formula that Binance documents for USD-M contracts.

F = [P̄ + clamp(I − P̄, ±0.05%)]/(8/N) with I = 0.01% per 8 h, N = 8 h, and P̄ the premium index averaged over the interval with weights
1, 2, …, n (the venue samples every 5 seconds, the sample every 5 minutes). F is then held within the symbol's cap and rounded to 1e-8.
While P̄ stays between −0.04% and +0.06%, F is exactly 0.01%: the spike at one basis point needs no help.

    rates = funding_rates(premium_at_five_minutes)
"""

import numpy as np

from backtest.data.sample_numbers import Array, rounded
from backtest.data.sample_paths import PER_HOUR, instant

INTERVAL_HOURS = 8
INTEREST = 0.0001
CLAMP = 0.0005
CAP_CHANGES = "2022-01-01T00:00"
CAP_BEFORE, CAP_SINCE = 0.00375, 0.003
_SAMPLES = INTERVAL_HOURS * PER_HOUR


def average_premium(premium: Array) -> Array:
    """P̄ of each whole interval, shape (intervals,), from the premium index at instants 0, 1, 2, …; instant 0 belongs to none."""
    samples = premium[1:].reshape(-1, _SAMPLES)
    total = np.zeros(len(samples))
    for number in range(_SAMPLES):  # a plain sum in a stated order: a matrix product may add in another one elsewhere
        total = total + (number + 1.0) * samples[:, number]
    return total / (_SAMPLES * (_SAMPLES + 1) / 2)


def funding_rates(premium: Array) -> Array:
    """Rate per 8 h of each interval, fraction, shape (intervals,); the cap narrows at `CAP_CHANGES`."""
    mean = average_premium(premium)
    rate = mean + np.clip(INTEREST - mean, -CLAMP, CLAMP)
    ends = (np.arange(len(rate)) + 1) * _SAMPLES
    cap = np.where(ends <= instant(CAP_CHANGES), CAP_BEFORE, CAP_SINCE)
    return rounded(np.clip(rate, -cap, cap), 1e8)
