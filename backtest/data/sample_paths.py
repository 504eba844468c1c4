"""The five-minute paths behind the simulated sample: spot, index, the perpetual's premium and the carry of dated futures.

Spot is a bridge: a random walk whose volatility moves, pinned to the levels of `sample_history` and free in between. The perpetual's
premium is a centre per regime, plus a part that wanders over days, plus one that halves every 2.3 hours, plus shocks. Bars, funding and
settlements are all read off these paths, so they agree with each other as a venue's do.

    world = simulate_world(seed=1)
"""

import math
from dataclasses import dataclass

import numpy as np

from backtest.data import sample_history as history
from backtest.data.sample_numbers import Array, Draws, average, exponential, interpolate, smooth

START = np.datetime64("2020-01-01T00:00", "s")
END = np.datetime64("2026-01-01T00:00", "s")
STEP_SECONDS = 300
PER_HOUR = 3600 // STEP_SECONDS
PER_DAY = 24 * PER_HOUR
PER_YEAR = 365 * PER_DAY
STEPS = int((END - START).astype(np.int64)) // STEP_SECONDS

_HOUR_OF_DAY = (
    0.95,
    0.85,
    0.85,
    0.8,
    0.75,
    0.75,
    0.8,
    0.9,
    1.0,
    0.95,
    0.95,
    0.95,
    1.05,
    1.3,
    1.5,
    1.4,
    1.25,
    1.15,
    1.1,
    1.1,
    1.1,
    1.05,
    1.0,
    1.0,
)
_WEEKEND = 0.72


@dataclass(frozen=True, kw_only=True)
class World:
    """Paths at the five-minute instants 0 … STEPS (shape (STEPS + 1,)), instant 0 being 2020-01-01T00:00 UTC.

    spot, index: USDT. premium: of the perpetual over the index, fraction. sigma: deviation of one step's log return. stress: volatility
    relative to its regime, 1 when calm. busy: trading activity by hour and weekday, mean near 1. rise, fall: how far above and below its
    two ends the price went within the step that ends at the instant, fraction. carry: annualized premium of a future six weeks from
    expiry, fraction; far_carry: what the curve tends to for long maturities.
    """

    seed: int
    spot: Array
    index: Array
    premium: Array
    sigma: Array
    stress: Array
    busy: Array
    rise: Array
    fall: Array
    carry: Array
    far_carry: Array


def instant(date: str) -> int:
    """The step at or just before a UTC date, as 2020-01-01 is 0; negative before it."""
    return int((np.datetime64(date, "s") - START).astype(np.int64)) // STEP_SECONDS


def along(knots: history.Knots, at: Array) -> Array:
    """A table of (date, value) as straight lines, at instants counted in steps."""
    places = np.array([instant(date) for date, _ in knots], dtype=np.float64)
    return interpolate(at, places, np.array([value for _, value in knots], dtype=np.float64))


def simulate_world(seed: int) -> World:
    """All paths for a seed; see `World` for what they are."""
    at = np.arange(STEPS + 1, dtype=np.float64)
    stress, busy = _stress(seed, at), _busy()
    sigma = along(history.VOLATILITY, at) * math.sqrt(1.0 / PER_YEAR) * stress * np.sqrt(busy)
    shocks = Draws(seed, "spot").normal(STEPS + 1)
    spot = _bridge(seed, shocks * sigma, sigma)
    index = spot * (1.0 + 0.7e-4 * np.sqrt(stress) * smooth(Draws(seed, "index").normal(STEPS + 1), 6.0))
    wander = smooth(Draws(seed, "premium days").normal(STEPS + 1), 2.5 * PER_DAY)
    carry = _carry(seed, at, wander)
    return World(
        seed=seed,
        spot=spot,
        index=index,
        premium=_premium(seed, at, shocks, stress, wander),
        sigma=sigma,
        stress=stress,
        busy=busy,
        rise=0.55 * sigma * np.abs(Draws(seed, "rise").normal(STEPS + 1)),
        fall=0.55 * sigma * np.abs(Draws(seed, "fall").normal(STEPS + 1)),
        carry=carry,
        far_carry=0.01 + 0.8 * average(carry, 12.0 * PER_DAY),
    )


def _stress(seed: int, at: Array) -> Array:
    """Volatility relative to its regime: two bell-shaped waves (days, hours) in the exponent, times the shocks."""
    days = smooth(Draws(seed, "volatility days").normal(STEPS + 1), 3.0 * PER_DAY)
    hours = smooth(Draws(seed, "volatility hours").normal(STEPS + 1), 5.0 * PER_HOUR)
    stress = exponential(0.30 * days + 0.32 * hours - 0.1)
    for shock in history.SHOCKS:
        stress = stress * (1.0 + (shock.volatility - 1.0) * _pulse(at, shock))
    return stress


def _pulse(at: Array, shock: history.Shock) -> Array:
    """A shock's share of its peak: up within a third of the half-life, then halving."""
    since = at - instant(shock.at)
    fading = exponential(np.clip(since, 0.0, None) * round(-math.log(2.0) / (shock.hours * PER_HOUR), 12))
    return np.clip(since / (shock.hours * PER_HOUR / 3.0), 0.0, 1.0) * fading


def _busy() -> Array:
    """Activity by hour of the day and weekday, smoothed over an hour so that volatility has no steps."""
    step = np.arange(STEPS + 1)
    weekday = (step // PER_DAY + 2) % 7  # 2020-01-01 was a Wednesday; Monday is 0
    level = np.array(_HOUR_OF_DAY)[step // PER_HOUR % 24] * np.where(weekday >= 5, _WEEKEND, 1.0)
    return average(level, float(PER_HOUR))


def _bridge(seed: int, returns: Array, sigma: Array) -> Array:
    """Spot through the historical levels: between two of them the walk is tilted in proportion to the variance spent."""
    walk, spent = np.cumsum(returns), np.cumsum(sigma * sigma)
    places = np.array([instant(date) for date, _ in history.SPOT])
    levels = np.array([round(math.log(price), 9) for _, price in history.SPOT])
    levels = levels + 0.012 * Draws(seed, "levels").normal(len(levels))
    return exponential(walk + interpolate(spent, spent[places], levels - walk[places]))


def _premium(seed: int, at: Array, shocks: Array, stress: Array, wander: Array) -> Array:
    """The perpetual's premium over the index, fraction.

    Traders ask for a funding rate, and the premium goes where it pays it. Between −4 and +6 bps every premium pays the same 1 bp, so
    nothing holds it there: it rests below or above, and crosses when the rate asked for crosses 1 bp. Around that place it moves within
    hours, leaning a little with the price's own moves.
    """
    width = along(history.DEMAND_WIDTH, at)
    demand = along(history.DEMAND, at) + width * (wander + 0.15 * (wander * wander - 1.0))
    beyond = (demand - 1.0) / 0.12
    own = Draws(seed, "premium hours").normal(STEPS + 1)
    fast = smooth(0.12 * shocks + math.sqrt(1.0 - 0.12**2) * own, 2.3 * PER_HOUR)
    flicker = smooth(Draws(seed, "premium minutes").normal(STEPS + 1), 2.0)
    bps = demand + 5.0 * beyond / np.sqrt(1.0 + beyond * beyond) + np.sqrt(stress) * ((0.6 + 0.2 * width) * fast + 0.9 * flicker)
    for shock in history.SHOCKS:
        bps = bps + shock.premium * _pulse(at, shock)
    return bps * 1e-4


def _carry(seed: int, at: Array, wander: Array) -> Array:
    """Annualized premium at six weeks, fraction: regime, moves over a week and over a day, and part of the perpetual's own wandering."""
    level = average(along(history.CARRY, at), 0.5 * PER_DAY)
    week = smooth(Draws(seed, "carry week").normal(STEPS + 1), 6.0 * PER_DAY)
    day = smooth(Draws(seed, "carry day").normal(STEPS + 1), 0.7 * PER_DAY)
    return 0.01 * (level + (0.8 + 0.12 * np.abs(level)) * (0.7 * week + 0.4 * day + 0.5 * wander))
