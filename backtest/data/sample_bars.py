"""Hourly bars of the simulated sample, read off its five-minute paths.

Spot, perpetual and dated futures share the price's excursions and differ by their premium, their spread and how often they trade. A bar's
close is its last trade: at the bid or the ask where trading is constant, up to a minute old in a dated future. Spreads are lognormal
around a level that widens with volatility, and never below a tick.

    bars = spot_bars(world)
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.data import sample_history as history
from backtest.data.sample_numbers import Array, Draws, average, exponential, rounded, smooth
from backtest.data.sample_paths import PER_DAY, PER_HOUR, START, STEP_SECONDS, STEPS, World, along

TICKS_PER_UNIT = 100.0
LOTS_PER_UNIT = 1000.0
_HOUR_ROOT = math.sqrt(PER_HOUR)


@dataclass(frozen=True, kw_only=True)
class Path:
    """What an instrument does between two hours of the world (`first`, `last` are instants in steps, whole hours).

    name: of its random streams. factor: price over spot at each instant, shape (last − first + 1,). spread: half the bid-ask spread at the
    end of each hour, bps before rounding to ticks. staleness: how old the last trade is, as a share of one step's deviation.
    volume: traded in each hour, base units.
    """

    name: str
    first: int
    last: int
    factor: Array
    spread: Array
    staleness: Array
    volume: Array


def stamps(first: int, last: int) -> pd.DatetimeIndex:
    """Ends of the hours in (first, last], as the index `ts` of a table."""
    ends = START + (np.arange(first + PER_HOUR, last + 1, PER_HOUR) * STEP_SECONDS).astype("timedelta64[s]")
    return pd.DatetimeIndex(ends.astype("datetime64[ns]"), tz="UTC", name="ts")


def to_ticks(prices: Array) -> Array:
    """Prices on the venue's grid of 0.01."""
    return rounded(prices, TICKS_PER_UNIT)


def extremes(world: World, first: int, last: int, path: Array, reach: float = 1.0) -> tuple[Array, Array]:
    """Highest and lowest of each hour for a path at the instants first … last; `reach` scales the excursions within a step."""
    before, after = path[:-1], path[1:]
    up = np.maximum(before, after) * (1.0 + reach * world.rise[first + 1 : last + 1])
    down = np.minimum(before, after) * (1.0 - reach * world.fall[first + 1 : last + 1])
    return up.reshape(-1, PER_HOUR).max(axis=1), down.reshape(-1, PER_HOUR).min(axis=1)


def trade_bars(world: World, path: Path) -> pd.DataFrame:
    """Open, high, low, close, volume, bid, ask and taker buys of every hour."""
    hours = (path.last - path.first) // PER_HOUR
    middle = world.spot[path.first : path.last + 1] * path.factor
    before, after = middle[:-1:PER_HOUR], middle[PER_HOUR::PER_HOUR]
    step = world.sigma[path.first + PER_HOUR : path.last + 1 : PER_HOUR]
    ticks = np.maximum(1.0, np.rint(2e-4 * path.spread * after * TICKS_PER_UNIT))
    bid = rounded(np.rint(after * TICKS_PER_UNIT - 0.5 * ticks), 1.0) / TICKS_PER_UNIT
    ask = rounded(bid * TICKS_PER_UNIT + ticks, 1.0) / TICKS_PER_UNIT
    at_ask = Draws(world.seed, f"{path.name} last side").uniform(hours) < 0.5
    old = path.staleness * step * Draws(world.seed, f"{path.name} last trade").normal(hours)
    close = to_ticks(np.where(at_ask, ask, bid) * (1.0 + old))
    # The first trade comes within seconds: the same small move on every instrument, and a side of its own.
    moved = 0.02 * step * Draws(world.seed, "first seconds").normal(STEPS // PER_HOUR)[path.first // PER_HOUR : path.last // PER_HOUR]
    crossed = np.where(Draws(world.seed, f"{path.name} first side").uniform(hours) < 0.5, 1.0, -1.0) * ticks / TICKS_PER_UNIT * 0.5
    late = 0.5 * path.staleness * step * Draws(world.seed, f"{path.name} first trade").normal(hours)
    opened = to_ticks(before * (1.0 + moved + late) + crossed)
    high, low = extremes(world, path.first, path.last, middle)
    columns = {
        "open": opened,
        "high": np.maximum(to_ticks(high), np.maximum(opened, close)),
        "low": np.minimum(to_ticks(low), np.minimum(opened, close)),
        "close": close,
        "volume": rounded(path.volume, LOTS_PER_UNIT),
        "bid": bid,
        "ask": ask,
        "taker_buy_volume": rounded(path.volume * _taker_share(world, path, after / before - 1.0, step), LOTS_PER_UNIT),
    }
    return pd.DataFrame(columns, index=stamps(path.first, path.last))


def _taker_share(world: World, path: Path, change: Array, step: Array) -> Array:
    """Share of volume that bought from resting orders: half, more in a rising hour."""
    push = change / (step * _HOUR_ROOT)
    noise = Draws(world.seed, f"{path.name} takers").normal(len(change))
    return np.clip(0.5 + 0.06 * push / (1.0 + np.abs(push)) + 0.025 * noise, 0.05, 0.95)


def marked(world: World, first: int, last: int, premium: Array, bars: pd.DataFrame) -> pd.DataFrame:
    """The bars with mark, its extremes and index; the mark is the index plus the premium given, without single trades' noise."""
    index = world.index[first : last + 1]
    mark = index * (1.0 + premium)
    high, low = extremes(world, first, last, mark, reach=0.8)
    return bars.assign(
        mark=to_ticks(mark[PER_HOUR::PER_HOUR]),
        mark_high=to_ticks(high),
        mark_low=to_ticks(low),
        index=to_ticks(index[PER_HOUR::PER_HOUR]),
    )


def half_spread(world: World, name: str, first: int, last: int, median: Array, spread_of: float) -> Array:
    """Half-spreads at the ends of hours, bps: lognormal around a median of 2024 that follows the years and widens with volatility."""
    at = np.arange(first + PER_HOUR, last + 1, PER_HOUR, dtype=np.float64)
    stress = world.stress[first + PER_HOUR : last + 1 : PER_HOUR]
    noise = Draws(world.seed, f"{name} spread").normal(len(at))
    return 0.5 * median * along(history.SPREAD, at) * stress * np.sqrt(stress) * exponential(spread_of * noise)


def traded(world: World, name: str, first: int, last: int, level: Array) -> Array:
    """Volume of each hour, base units: `level` in a normal one, more by day, on large moves and in stress."""
    at = np.arange(first + PER_HOUR, last + 1, PER_HOUR, dtype=np.float64)
    ends = slice(first + PER_HOUR, last + 1, PER_HOUR)
    move = np.abs(world.spot[ends] / world.spot[first:last:PER_HOUR] - 1.0) / (world.sigma[ends] * _HOUR_ROOT)
    noise = Draws(world.seed, f"{name} volume").normal(len(at))
    return level * along(history.ACTIVITY, at) * world.busy[ends] * world.stress[ends] * (0.55 + 0.5 * move) * exponential(0.3 * noise)


def spot_bars(world: World) -> pd.DataFrame:
    """Bars of the spot pair over the whole sample."""
    hours = STEPS // PER_HOUR
    path = Path(
        name="spot",
        first=0,
        last=STEPS,
        factor=np.ones(STEPS + 1),
        spread=half_spread(world, "spot", 0, STEPS, np.full(hours, 0.04), 1.2),
        staleness=np.zeros(hours),
        volume=traded(world, "spot", 0, STEPS, np.full(hours, 22000.0)),
    )
    return trade_bars(world, path)


def perpetual_bars(world: World) -> pd.DataFrame:
    """Bars of the perpetual: it trades at the index and the premium that its funding is computed from."""
    hours = STEPS // PER_HOUR
    path = Path(
        name="perpetual",
        first=0,
        last=STEPS,
        factor=world.index * (1.0 + world.premium) / world.spot,
        spread=half_spread(world, "perpetual", 0, STEPS, np.full(hours, 0.02), 1.2),
        staleness=np.zeros(hours),
        volume=traded(world, "perpetual", 0, STEPS, np.full(hours, 160000.0)),
    )
    bars = marked(world, 0, STEPS, average(world.premium, 0.5 * PER_HOUR), trade_bars(world, path))
    return bars.assign(open_interest=_perpetual_interest(world))


def _perpetual_interest(world: World) -> npt.NDArray[np.float64]:
    """Contracts open at each hour's end, base units: a slow wander that shocks flush out and time rebuilds."""
    ends = slice(PER_HOUR, STEPS + 1, PER_HOUR)
    at = np.arange(PER_HOUR, STEPS + 1, PER_HOUR, dtype=np.float64)
    wander = smooth(Draws(world.seed, "perpetual interest").normal(STEPS // PER_HOUR), 20.0 * 24.0)
    flushed = average(np.clip(world.stress - 1.5, 0.0, 4.0), 3.0 * PER_DAY)[ends]
    return rounded(1.2e6 * along(history.ACTIVITY, at) * exponential(0.22 * wander - 0.25 * flushed), LOTS_PER_UNIT)
