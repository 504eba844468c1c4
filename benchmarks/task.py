"""The task that every contender runs, and its input, made from a seed.

Spot is bought and the perpetual sold while the premium is high; the position is left when the premium has fallen, or after the longest hold. Funding is
paid every 480 bars. Both legs pay a fee and half a spread at each fill. A bar's open is the close before it, so that a decision at a close that fills at
the next open trades at the price it was decided on: rules that fill at the same close and rules that fill one bar later then earn the same.

    data = task.generate(525_600)
    market = task.build_market(data)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import backtest as bt
from backtest.instruments import Instrument, Kind
from backtest.market import DatasetInfo

Floats = npt.NDArray[np.float64]

YEAR_OF_MINUTES = 525_600
FUNDING_EVERY = 480
FUNDING_CAP = 0.0075
ENTER, EXIT, LONGEST_HOLD = 8e-4, 2e-4, 20_160  # premium as fractions, hold in bars
FEE, HALF_SPREAD = 4e-4, 1e-4
CAPITAL, UNIT = 1_000_000.0, 10_000.0
FRACTION = UNIT / CAPITAL
MINUTE = 60 * 10**9
FIRST_STAMP = pd.Timestamp("2024-01-01", tz="UTC")
SPOT, PERPETUAL = "ETHUSDT-SPOT", "ETHUSDT-PERP"


@dataclass(frozen=True)
class Data:
    """Closes, premium (perpetual/spot − 1) and funding rate of each bar (0 where none is paid). [bar]"""

    spot: Floats
    perpetual: Floats
    premium: Floats
    rate: Floats

    def __len__(self) -> int:
        return len(self.spot)


def generate(bars: int, seed: int = 7) -> Data:
    """A random walk of the spot, and a premium that returns to 5 bps with a half-life of half a day."""
    generator = np.random.default_rng(seed)
    spot = 3_000.0 * np.exp(np.cumsum(generator.normal(0.0, 6e-4, bars)))
    shocks = generator.normal(0.0, 0.5e-4, bars)
    wanted = np.empty(bars)
    level = 5e-4
    for t in range(bars):
        level += 0.001 * (5e-4 - level) + shocks[t]
        wanted[t] = level
    perpetual = spot * (1.0 + wanted)
    premium = perpetual / spot - 1.0
    rate = np.zeros(bars)
    events = np.arange(FUNDING_EVERY, bars, FUNDING_EVERY)
    means = premium[: bars // FUNDING_EVERY * FUNDING_EVERY].reshape(-1, FUNDING_EVERY).mean(axis=1)
    rate[events] = np.clip(means[: len(events)], -FUNDING_CAP, FUNDING_CAP)
    return Data(spot, perpetual, premium, rate)


class InMemory:
    """What a market asks of a dataset besides the bars that it has already."""

    series_names: tuple[str, ...] = ()

    def __init__(self, instruments: dict[str, Instrument], funding: pd.DataFrame) -> None:
        self.instruments = instruments
        self._funding = funding

    def funding(self, name: str) -> pd.DataFrame:
        """The perpetual's events, whatever is asked for."""
        return self._funding


def frame(close: Floats, index: pd.DatetimeIndex) -> pd.DataFrame:
    """Bars whose open is the close before."""
    opened = np.concatenate([close[:1], close[:-1]])
    columns = {"open": opened, "high": np.maximum(opened, close), "low": np.minimum(opened, close), "close": close}
    return pd.DataFrame(columns, index=index)


def build_market(data: Data) -> bt.Market:
    """The input as a loaded market: what `load_market` gives before anything is computed from it."""
    index = pd.DatetimeIndex((FIRST_STAMP.as_unit("ns").value + np.arange(len(data)) * MINUTE).view("M8[ns]"), name="ts").tz_localize("UTC")
    paid = np.arange(0, len(data), FUNDING_EVERY)
    funding = pd.DataFrame(
        {"rate": data.rate[paid], "interval_hours": FUNDING_EVERY / 60.0, "mark_price": data.perpetual[paid]}, index=index[paid]
    )
    instruments = {
        name: Instrument(id=name, venue="binance", kind=kind, base="ETH", quote="USDT")
        for name, kind in ((SPOT, Kind.SPOT), (PERPETUAL, Kind.PERPETUAL))
    }
    frames = {SPOT: frame(data.spot, index), PERPETUAL: frame(data.perpetual, index)}
    memory: Any = InMemory(instruments, funding)
    return bt.Market(frames, instruments, memory, MINUTE, 0, DatasetInfo("benchmark", "", True, ""))


def rule(market: bt.Market) -> bt.Rule:
    """The task as a rule. The longest hold is left when it is *exceeded*, one bar later than `max_hold` counts."""
    return bt.Rule(
        long=market.spot,
        short=market.perpetual,
        signal=bt.premium(market, market.perpetual),
        enter=ENTER,
        exit=EXIT,
        max_hold=pd.Timedelta((LONGEST_HOLD + 1) * MINUTE, "ns"),
        size=FRACTION,
        resize=None,
    )


def execution() -> bt.Execution:
    """The task's costs; no margin check, no interest."""
    return bt.Execution(
        margin=bt.Margin.OFF,
        spot_fee=FEE,
        derivative_fee=FEE,
        half_spread=HALF_SPREAD,
        delivery_fee=0.0,
        liquidation_fee=0.0,
        maintenance=0.0,
        idle_rate=0.0,
        borrow_rate=0.0,
    )
