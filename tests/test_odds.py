"""Whole sweeps on generated markets: on noise the best is not believed, an edge that was put there is found."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

import backtest as bt
from backtest.instruments import Instrument, Kind
from backtest.luck import Luck
from backtest.market import DatasetInfo, Floats
from backtest.sweep import sweep

HOUR = 3_600 * 10**9
BARS = 2 * 8_760
SWEEPS = 100
COSTLESS = bt.Execution(
    margin=bt.Margin.OFF, spot_fee=0.0, derivative_fee=0.0, half_spread=0.0, delivery_fee=0.0, liquidation_fee=0.0, maintenance=0.0,
    idle_rate=0.0, borrow_rate=0.0,
)  # fmt: skip


class InMemory:
    """What a market asks of a dataset besides its bars: instruments, and a funding of nothing."""

    series_names: tuple[str, ...] = ()

    def __init__(self, instruments: dict[str, Instrument], index: pd.DatetimeIndex) -> None:
        self.instruments = instruments
        self._funding = pd.DataFrame({"rate": 0.0, "interval_hours": 8.0}, index=index[7::8])

    def funding(self, name: str) -> pd.DataFrame:
        return self._funding


def market_of(reversion: float, seed: int) -> bt.Market:
    """A spot that wanders, and a premium whose steps are noise, pulled back to nothing by a share of it every hour."""
    rng = np.random.default_rng(seed)
    spot = 2_000.0 * np.exp(np.cumsum(rng.normal(0.0, 0.004, BARS)))
    premium, steps = np.zeros(BARS), rng.normal(0.0, 2e-4, BARS)
    for t in range(1, BARS):
        premium[t] = (1.0 - reversion) * premium[t - 1] + steps[t]
    index = pd.DatetimeIndex(
        (pd.Timestamp("2022-01-01", tz="UTC").value + HOUR * np.arange(1, BARS + 1)).view("M8[ns]"), name="ts"
    ).tz_localize("UTC")
    instruments = {
        name: Instrument(id=name, venue="binance", kind=kind, base="ETH", quote="USDT")
        for name, kind in (("ETHUSDT-SPOT", Kind.SPOT), ("ETHUSDT-PERP", Kind.PERPETUAL))
    }
    frames = {name: bars(close, index) for name, close in zip(instruments, (spot, spot * (1.0 + premium)), strict=True)}
    memory: Any = InMemory(instruments, index)
    return bt.Market(frames, instruments, memory, HOUR, 0, DatasetInfo("generated", "", True, ""))


def bars(close: Floats, index: pd.DatetimeIndex) -> pd.DataFrame:
    """Bars that open where the one before closed."""
    opened = np.concatenate([close[:1], close[:-1]])
    return pd.DataFrame({"open": opened, "high": np.maximum(opened, close), "low": np.minimum(opened, close), "close": close}, index=index)


@dataclass(frozen=True, kw_only=True)
class Fade(bt.Strategy):
    """Sell the premium where it has risen above its mean of a day, or buy it."""

    fade: bool = bt.param(True, "sell it, not buy it")
    enter: float = bt.param(2e-4, "open at or above this")
    exit: float = bt.param(0.0, "close at or below it")
    max_hold: str = bt.param("1D", "close after this long")

    def rule(self, market: bt.Market) -> bt.Rule:
        signal = bt.moving_average(market, bt.premium(market, market.perpetual), "1D")
        away = bt.premium(market, market.perpetual) - signal
        long, short = (market.spot, market.perpetual) if self.fade else (market.perpetual, market.spot)
        return bt.Rule(long=long, short=short, signal=away, enter=self.enter, exit=self.exit, max_hold=self.max_hold, resize=None)


def odds(reversion: float, seed: int) -> Luck:
    """The odds of a sweep of 2 × 5 × 2 × 3 combinations, half of which go the wrong way about an edge."""
    grid = {"fade": [True, False], "enter": [1e-4 * k for k in range(2, 7)], "exit": [-2e-4, 1e-4], "max_hold": ["6h", "1D", "3D"]}
    return sweep(Fade, market_of(reversion, seed), execution=COSTLESS, threads=1, **grid).luck


@pytest.fixture(scope="module")
def noise() -> list[Luck]:
    return [odds(0.0, seed) for seed in range(SWEEPS)]


@pytest.fixture(scope="module")
def edge() -> list[Luck]:
    return [odds(0.02, 10_000 + seed) for seed in range(SWEEPS)]


def test_on_noise_the_best_is_not_believed(noise: list[Luck]) -> None:
    assert sum(one.deflated_sharpe < 0.95 for one in noise) >= 90
    assert 0.4 <= np.mean([one.overfitting for one in noise]) <= 0.6


def test_an_edge_that_is_there_is_found_both_ways(edge: list[Luck]) -> None:
    assert sum(one.deflated_sharpe >= 0.95 for one in edge) >= 90
    assert sum(one.overfitting < 0.1 for one in edge) >= 90
    assert sum(one.reality_check < 0.05 for one in edge) >= 90
