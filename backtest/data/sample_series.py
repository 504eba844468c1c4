"""Rates and events beside the simulated bars: staking yield, the cost of borrowing dollars and coins, the T-bill, network upgrades.

Every value has the time it is about (`ts`) and the later time at which it could be read (`known_at`): an hour for rates that a venue or
the chain publishes, the next business day for the T-bill. Rates are fractions a year.

    tables = rate_series(world)
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.data import sample_history as history
from backtest.data.sample_numbers import Array, Draws, average, exponential, rounded, smooth
from backtest.data.sample_paths import END, PER_DAY, START, STEPS, World, along, instant

Days = npt.NDArray[np.datetime64]


def rate_series(world: World) -> dict[str, pd.DataFrame]:
    """The four rate series by name, each with ts, known_at, value."""
    daily = np.arange(START.astype("datetime64[D]") - 1, END.astype("datetime64[D]") + 1)
    since_beacon = daily[daily >= np.datetime64(history.STAKING[0][0])]
    return {
        "staking_yield": _published(since_beacon, _staking(world, since_beacon), np.timedelta64(1, "h")),
        "borrow_usd": _published(daily, _borrow_usd(world, daily), np.timedelta64(1, "h")),
        "borrow_base": _published(daily, _borrow_base(world, daily), np.timedelta64(1, "h")),
        "risk_free": _risk_free(world),
    }


def upgrades() -> pd.DataFrame:
    """The network's upgrades as events: ts, name, kind."""
    times = np.array([time for time, _ in history.UPGRADES], dtype="datetime64[s]")
    return pd.DataFrame({"ts": _utc(times), "name": [name for _, name in history.UPGRADES], "kind": "upgrade"})


def _utc(times: Days) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(times.astype("datetime64[ns]"), tz="UTC")


def _later(days: Days, delay: np.timedelta64) -> Days:
    later: Days = np.add(days.astype("datetime64[s]"), delay)
    return later


def _published(days: Days, values: Array, delay: np.timedelta64) -> pd.DataFrame:
    return pd.DataFrame({"ts": _utc(days), "known_at": _utc(_later(days, delay)), "value": rounded(values, 1e6)})


def _at(days: Days) -> Array:
    return np.array([instant(str(day)) for day in days], dtype=np.float64)


def _wander(world: World, name: str, days: Days, half_life: float) -> Array:
    return smooth(Draws(world.seed, name).normal(len(days)), half_life)


def _staking(world: World, days: Days) -> Array:
    percent = along(history.STAKING, _at(days)) * (1.0 + 0.03 * _wander(world, "staking", days, 5.0))
    return percent / 100.0


def _borrow_usd(world: World, days: Days) -> Array:
    """Dollars cost more when carry pays: everyone wants the same leverage."""
    places = np.clip(_at(days), 0, STEPS).astype(np.int64)
    asked = average(np.clip(world.carry, 0.0, None), 4.0 * PER_DAY)[places]
    return np.clip((0.032 + 0.09 * asked / (asked + 0.25)) * (1.0 + 0.08 * _wander(world, "borrow usd", days, 10.0)), 0.03, 0.12)


def _borrow_base(world: World, days: Days) -> Array:
    return np.clip(0.017 * exponential(0.2 * _wander(world, "borrow base", days, 15.0)), 0.01, 0.03)


def _risk_free(world: World) -> pd.DataFrame:
    """Published on business days, each value on the next one at 21:00 UTC."""
    every = np.arange(np.datetime64(history.RISK_FREE[0][0]), END.astype("datetime64[D]") + 1)
    days = every[np.is_busday(every)]
    percent = along(history.RISK_FREE, _at(days)) + 0.02 * _wander(world, "risk free", days, 10.0)
    known = _later(np.busday_offset(days, 1), np.timedelta64(21, "h"))
    value = rounded(np.clip(percent, 0.01, None), 100.0)
    return pd.DataFrame({"ts": _utc(days), "known_at": _utc(known), "value": rounded(value / 100.0, 1e4)})
