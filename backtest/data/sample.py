"""The SIMULATED sample: the dataset that is there when a user has none.

Six years of hourly bars, 2020–2025, of one ETH spot, one perpetual with 8 h funding and the quarterly futures, with settlements, rates, events
and what else a trader reads beside them. It is drawn at random around the rough regimes of those years (`sample_history`): good to learn the tool and to test it on every
kind of market, no evidence about any strategy. No number in it was ever quoted or traded. The same seed gives the same content on every
machine (`sample_numbers`).

    build_sample("data/sample")
"""

from pathlib import Path

import numpy as np
import pandas as pd

from backtest.data.sample_bars import perpetual_bars, spot_bars
from backtest.data.sample_funding import INTERVAL_HOURS, funding_rates
from backtest.data.sample_futures import Contract, contracts, future_bars, settlement_price
from backtest.data.sample_paths import START, STEP_SECONDS, STEPS, World, simulate_world
from backtest.data.sample_series import all_series, upgrades
from backtest.data.schema import Tables
from backtest.data.store import write_dataset
from backtest.instruments import Instrument, Kind

SEED = 20200101
SPOT_ID, PERPETUAL_ID = "ETHUSDT-SPOT", "ETHUSDT-PERP"
_SOURCE = f"simulated by backtest.data.sample, seed {SEED}"
_VENUE = "binance"  # whose rules the sample follows: ticks, lots, funding formula, delivery


def sample_tables(seed: int = SEED) -> Tables:
    """The whole sample in memory, SIMULATED; another `seed` draws another history of the same regimes.

    The regimes were fitted with the default seed: with another one the yearly averages of funding come out a few points away.
    """
    world = simulate_world(seed)
    futures = contracts()
    perpetual = perpetual_bars(world)
    bars = {SPOT_ID: spot_bars(world), PERPETUAL_ID: perpetual}
    bars.update({contract.id: future_bars(world, contract) for contract in futures})
    return Tables(
        instruments=_instruments(futures),
        bars=bars,
        funding={PERPETUAL_ID: _funding(world, perpetual)},
        settlements=_settlements(world, futures),
        series=all_series(world, PERPETUAL_ID),
        events=upgrades(),
    )


def build_sample(path: str | Path) -> str:
    """Write the sample as a dataset at `path` and return its content hash, the same on every machine."""
    return write_dataset(path, sample_tables(), name="sample", source=_SOURCE, simulated=True, licence="CC0-1.0")


def _time(step: int) -> pd.Timestamp:
    return pd.Timestamp(START + np.timedelta64(step * STEP_SECONDS, "s"), tz="UTC").as_unit("ns")


def _instrument(name: str, kind: Kind, *, listed_at: pd.Timestamp, expires_at: pd.Timestamp | None = None) -> Instrument:
    spot = kind is Kind.SPOT
    return Instrument(
        id=name,
        venue=_VENUE,
        kind=kind,
        base="ETH",
        quote="USDT",
        tick=0.01,
        lot=0.0001 if spot else 0.001,
        min_notional=5.0 if spot else 20.0,
        listed_at=listed_at,
        expires_at=expires_at,
    )


def _instruments(futures: list[Contract]) -> list[Instrument]:
    always = [_instrument(SPOT_ID, Kind.SPOT, listed_at=_time(0)), _instrument(PERPETUAL_ID, Kind.PERPETUAL, listed_at=_time(0))]
    dated = [_instrument(one.id, Kind.FUTURE, listed_at=_time(one.listed), expires_at=_time(one.expires)) for one in futures]
    return always + dated


def _funding(world: World, perpetual: pd.DataFrame) -> pd.DataFrame:
    """Every settlement from 2020-01-01T08:00 to the sample's end, with the mark of its instant."""
    events = perpetual["mark"].iloc[INTERVAL_HOURS - 1 :: INTERVAL_HOURS]
    return pd.DataFrame(
        {"rate": funding_rates(world.premium), "interval_hours": float(INTERVAL_HOURS), "mark_price": events.to_numpy()},
        index=events.index,
    )


def _settlements(world: World, futures: list[Contract]) -> pd.DataFrame:
    delivered = [contract for contract in futures if contract.expires <= STEPS]
    return pd.DataFrame(
        {
            "instrument": [contract.id for contract in delivered],
            "ts": pd.DatetimeIndex([_time(contract.expires) for contract in delivered]),
            "price": [settlement_price(world, contract) for contract in delivered],
        }
    )
