"""Dated futures of the simulated sample: the calendar, the curve they follow, their delivery.

A contract's price is the index plus its annualized premium times the time left, plus noise of its own that shrinks as delivery nears.
Within the averaging window it becomes the average so far and the index for the rest, so that the last trade meets the settlement price,
which is that average and not the spot of the instant.

    for contract in contracts():
        bars = future_bars(world, contract)
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtest.data.sample_bars import Path, half_spread, marked, to_ticks, trade_bars, traded
from backtest.data.sample_numbers import Array, Draws, average, exponential, rounded, smooth
from backtest.data.sample_paths import END, PER_DAY, PER_HOUR, PER_YEAR, START, STEPS, World, instant

LISTED_WEEKS = 37
WINDOW_CHANGES = "2024-11-11"
WINDOW_MINUTES_BEFORE, WINDOW_MINUTES_SINCE = 60, 30


@dataclass(frozen=True, kw_only=True)
class Contract:
    """A quarterly future by its listing and delivery, in steps since 2020-01-01 UTC."""

    id: str
    listed: int
    expires: int

    @property
    def first(self) -> int:
        """Where its bars begin: at listing or with the sample."""
        return max(self.listed, 0)

    @property
    def last(self) -> int:
        """Where its bars end: at delivery or with the sample."""
        return min(self.expires, STEPS)

    @property
    def window(self) -> int:
        """Length of the averaging window before delivery, in steps."""
        minutes = WINDOW_MINUTES_BEFORE if self.expires < instant(WINDOW_CHANGES) else WINDOW_MINUTES_SINCE
        return minutes * PER_HOUR // 60


def contracts() -> list[Contract]:
    """Every quarterly future that trades within the sample, by delivery: last Friday of the quarter, 08:00 UTC."""
    found = []
    for month in np.arange(START.astype("datetime64[M]"), END.astype("datetime64[M]") + 12, 1):
        if month.astype(np.int64) % 3 != 2:  # months since January 1970
            continue
        friday = np.busday_offset((month + 1).astype("datetime64[D]"), -1, roll="forward", weekmask="Fri")
        expires = instant(f"{friday}T08:00")
        listed = expires - LISTED_WEEKS * 7 * PER_DAY
        if listed < STEPS:
            found.append(Contract(id=f"ETHUSDT-{str(friday)[2:].replace('-', '')}", listed=listed, expires=expires))
    return found


def premium_path(world: World, contract: Contract) -> Array:
    """Premium over the index at the contract's instants, fraction, before the averaging window."""
    at = np.arange(contract.first, contract.last + 1, dtype=np.float64)
    left = contract.expires - at
    window = slice(contract.first, contract.last + 1)
    hump = exponential(np.clip(45.0 * PER_DAY - left, -300.0 * PER_DAY, None) * round(1.0 / (150.0 * PER_DAY), 12))
    carry = world.far_carry[window] + (world.carry[window] - world.far_carry[window]) * hump
    hours = smooth(Draws(world.seed, f"{contract.id} hours").normal(len(at)), 2.5 * PER_HOUR)
    days = smooth(Draws(world.seed, f"{contract.id} days").normal(len(at)), 2.0 * PER_DAY)
    nearing = np.sqrt(np.clip(left / (10.0 * PER_DAY), 0.0, 1.0))
    sudden = world.premium[window] - average(world.premium, 2.0 * PER_DAY)[window]
    noise = 1e-4 * np.sqrt(world.stress[window]) * (1.8 * hours + 2.5 * days) + 0.6 * sudden
    return carry * (left / PER_YEAR) + nearing * noise


def _through_delivery(world: World, contract: Contract, premium: Array) -> Array:
    """Premium over the index with the averaging window: there the price is what the average will be if the index stays."""
    if contract.expires > STEPS:
        return premium
    inside = world.index[contract.expires - contract.window + 1 : contract.expires + 1]
    number = np.arange(1.0, contract.window + 1.0)
    expected = (np.cumsum(inside) + (contract.window - number) * inside) / contract.window
    result = premium.copy()
    result[-contract.window :] = expected / inside - 1.0
    return result


def settlement_price(world: World, contract: Contract) -> float:
    """Mean of the index over the averaging window, the instant of delivery included, USDT."""
    inside = world.index[contract.expires - contract.window + 1 : contract.expires + 1]
    return float(to_ticks(np.cumsum(inside)[-1:] / contract.window)[0])


def future_bars(world: World, contract: Contract) -> pd.DataFrame:
    """Bars of one contract from its listing (or the sample's start) to its delivery (or the sample's end)."""
    first, last = contract.first, contract.last
    premium = _through_delivery(world, contract, premium_path(world, contract))
    ends = np.arange(first + PER_HOUR, last + 1, PER_HOUR, dtype=np.float64)
    left = (contract.expires - ends) / PER_DAY
    age = (ends - contract.listed) / PER_DAY
    front = exponential(-np.clip(left - 20.0, 0.0, None) / 55.0)
    path = Path(
        name=contract.id,
        first=first,
        last=last,
        factor=world.index[first : last + 1] * (1.0 + premium) / world.spot[first : last + 1],
        spread=half_spread(world, contract.id, first, last, 0.5 + left / 140.0, 0.5),
        staleness=np.clip(0.03 + left / 800.0, 0.0, 0.12),
        volume=traded(world, contract.id, first, last, 60.0 + 2400.0 * front * np.clip(age / 20.0, 0.1, 1.0)),
    )
    # The mark smooths the premium, but ends on the average that will be paid.
    smoothed = average(premium, 10.0)
    smoothed[-contract.window :] = premium[-contract.window :]
    wander = smooth(Draws(world.seed, f"{contract.id} interest").normal(len(ends)), 8.0 * 24.0)
    grown = (age / (age + 40.0)) * np.clip(0.25 + left / 12.0, 0.0, 1.0) * (0.35 + 0.65 * front)
    interest = rounded(110000.0 * grown * exponential(0.2 * wander), 1000.0)
    return marked(world, first, last, smoothed, trade_bars(world, path)).assign(open_interest=interest)
