"""Series and events beside the simulated bars: staking yield, the cost of borrowing dollars and coins, the T-bill, coins on the exchange, the ratio of long
to short accounts, a stock index, network upgrades.

Every value has the time it is about (`ts`) and the later time at which it could be read (`known_at`): an hour for what a venue or the chain publishes
daily, the next business day for the T-bill. Rates are fractions a year. An upgrade is known when its date is announced, two weeks ahead.

    tables = all_series(world, "ETHUSDT-PERP")
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.data import sample_history as history
from backtest.data.sample_numbers import Array, Draws, average, exponential, rounded, smooth
from backtest.data.sample_paths import END, PER_DAY, PER_HOUR, START, STEP_SECONDS, STEPS, World, along, instant

Days = npt.NDArray[np.datetime64]

_ANNOUNCED = np.timedelta64(14, "D")  # the client teams' usual notice of a mainnet date
_RATIO_HOURS = 4
_INDEX_STARTS, _INDEX_LEVEL = "2019-11-01", 3050.0  # two months before the bars, so that a trend is known with the first of them
_LEAD = 10  # days by which the stock index runs ahead of the slow moves of the coin


def all_series(world: World, perpetual: str) -> dict[str, pd.DataFrame]:
    """The series by name, each with ts, known_at, value; the ratio of accounts is of the perpetual with that id."""
    daily = np.arange(START.astype("datetime64[D]") - 1, END.astype("datetime64[D]") + 1)
    since_beacon = daily[daily >= np.datetime64(history.STAKING[0][0])]
    return {
        "staking_yield": _published(since_beacon, _staking(world, since_beacon), np.timedelta64(1, "h")),
        "borrow_usd": _published(daily, _borrow_usd(world, daily), np.timedelta64(1, "h")),
        "borrow_base": _published(daily, _borrow_base(world, daily), np.timedelta64(1, "h")),
        "risk_free": _risk_free(world),
        "exchange_reserve": _published(daily, _exchange_reserve(world, daily), np.timedelta64(1, "h")),
        f"{perpetual}.long_short_ratio": _long_short_ratio(world),
        "equity_index": _equity_index(world),
    }


def upgrades() -> pd.DataFrame:
    """The network's upgrades as events: ts, name, kind, known_at."""
    times = np.array([time for time, _ in history.UPGRADES], dtype="datetime64[s]")
    names = [name for _, name in history.UPGRADES]
    return pd.DataFrame({"ts": _utc(times), "name": names, "kind": "upgrade", "known_at": _utc(_later(times, -_ANNOUNCED))})


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


def _exchange_reserve(world: World, days: Days) -> Array:
    """Coins, in base units."""
    return rounded(1e6 * along(history.RESERVE, _at(days)) * exponential(0.02 * _wander(world, "exchange reserve", days, 15.0)), 1.0)


def _long_short_ratio(world: World) -> pd.DataFrame:
    """Accounts that are long over those that are short, every four hours: the crowd buys what pays funding. Known five minutes later."""
    steps = np.arange(0, STEPS + 1, _RATIO_HOURS * PER_HOUR)
    times = START + steps * np.timedelta64(STEP_SECONDS, "s")
    bps = 1e4 * average(world.premium, 2.0 * PER_DAY)[steps]
    wander = smooth(Draws(world.seed, "long short ratio").normal(len(steps)), 3.0 * 24 / _RATIO_HOURS)
    value = np.clip(1.9 + 1.1 * bps / (6.0 + np.abs(bps)) + 0.22 * wander, 1.0, 3.5)
    return pd.DataFrame({"ts": _utc(times), "known_at": _utc(_later(times, np.timedelta64(5, "m"))), "value": rounded(value, 1e4)})


def _equity_index(world: World) -> pd.DataFrame:
    """Closes of business days, known at 21:00 UTC: mostly a walk of its own, and a little of where the coin goes in the two weeks that follow."""
    every = np.arange(np.datetime64(_INDEX_STARTS), END.astype("datetime64[D]") + 1)
    days = every[np.is_busday(every)]
    now, then = (np.clip(_at(days) + ahead * PER_DAY, 0, STEPS).astype(np.int64) for ahead in (0, _LEAD))
    slow = (world.spot[then] / world.spot[now] - 1.0) / _LEAD
    change = 0.0001 + 0.2 * slow + 0.009 * Draws(world.seed, "equity index").normal(len(days))
    level = _INDEX_LEVEL * np.multiply.accumulate(1.0 + change)
    known = _later(days, np.timedelta64(21, "h"))
    return pd.DataFrame({"ts": _utc(days), "known_at": _utc(known), "value": rounded(level, 100.0)})
