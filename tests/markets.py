"""Small datasets for tests: hourly bars of one spot, one perpetual with funding and two dated futures, and ways to spoil them.

tables = ether()
del tables.funding[PERP]
market = load(tmp_path, tables, staleness="2h")
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtest.data.schema import Tables
from backtest.data.store import write_dataset
from backtest.instruments import Instrument, Kind
from backtest.load import load_market
from backtest.market import Market

SPOT, PERP, NEAR, FAR = "ETHUSDT-SPOT", "ETHUSDT-PERP", "ETHUSDT-240306", "ETHUSDT-240329"
START = pd.Timestamp("2024-03-01T00:00Z").as_unit("ns")
NEAR_EXPIRY, FAR_EXPIRY = pd.Timestamp("2024-03-06T08:00Z").as_unit("ns"), pd.Timestamp("2024-03-29T08:00Z").as_unit("ns")
BARS = 200
HOUR = pd.Timedelta(hours=1)
LAST = START + BARS * HOUR  # 2024-03-09T08:00, the end of the last bar


def times(first: str | pd.Timestamp, periods: int, freq: str = "h") -> pd.DatetimeIndex:
    """Stamps in UTC nanoseconds."""
    return pd.date_range(pd.Timestamp(first), periods=periods, freq=freq, name="ts").as_unit("ns")


def bars(closes: Any, index: pd.DatetimeIndex, **more: Any) -> pd.DataFrame:
    """Bars that open at the close before and reach one unit beyond both."""
    close = np.asarray(closes, dtype=float)
    open_ = np.concatenate([close[:1], close[:-1]])
    columns = {"open": open_, "high": np.maximum(open_, close) + 1.0, "low": np.minimum(open_, close) - 1.0, "close": close, "volume": 1.0}
    return pd.DataFrame({**columns, **more}, index=index)


def instrument(name: str, kind: Kind, expires_at: pd.Timestamp | None = None, **more: Any) -> Instrument:
    """An instrument of Binance's on ether."""
    return Instrument(**{"id": name, "venue": "binance", "kind": kind, "base": "ETH", "quote": "USDT", "expires_at": expires_at, **more})


def funding(index: pd.DatetimeIndex, rates: Any, hours: Any = 8.0, marks: Any = np.nan) -> pd.DataFrame:
    """Funding events."""
    return pd.DataFrame({"rate": rates, "interval_hours": hours, "mark_price": marks}, index=index).astype(float)


def series(index: pd.DatetimeIndex, values: Any, delay: str = "0h") -> pd.DataFrame:
    """A series whose values become known some time after their day."""
    return pd.DataFrame({"ts": index, "known_at": index + pd.Timedelta(delay), "value": np.asarray(values, dtype=float)})


def ether(count: int = BARS, seed: int = 1) -> Tables:
    """Spot, perpetual with 8 h funding, a future that expires in the middle and one that expires after the end; rates of money."""
    random = np.random.default_rng(seed)
    index = times(START + HOUR, count)
    spot = 2000.0 * np.exp(np.cumsum(random.normal(0.0, 0.003, count)))
    perpetual = spot * (1.0 + random.normal(0.0005, 0.0003, count))
    days = {
        name: np.asarray((expiry - index) / pd.Timedelta(days=1), dtype=float) for name, expiry in ((NEAR, NEAR_EXPIRY), (FAR, FAR_EXPIRY))
    }
    alive = days[NEAR] >= 0.0
    dated = {name: spot * (1.0 + 0.1 * left / 365.0 + random.normal(0.0, 0.0002, count)) for name, left in days.items()}
    events = times(START, count // 8 + 1, "8h")
    return Tables(
        instruments=[
            instrument(SPOT, Kind.SPOT, lot=0.0001, min_notional=5.0),
            instrument(PERP, Kind.PERPETUAL, lot=0.001, min_notional=20.0),
            instrument(NEAR, Kind.FUTURE, NEAR_EXPIRY, lot=0.001),
            instrument(FAR, Kind.FUTURE, FAR_EXPIRY, lot=0.001),
        ],
        bars={
            SPOT: bars(spot, index),
            PERP: bars(perpetual, index),
            NEAR: bars(dated[NEAR][alive], index[alive]),
            FAR: bars(dated[FAR], index),
        },
        funding={PERP: funding(events, random.normal(1e-4, 5e-5, len(events)))},
        settlements=pd.DataFrame({"instrument": [NEAR], "ts": [NEAR_EXPIRY], "price": [float(spot[alive][-1]) + 0.5]}),
        series={
            "risk_free": series(times(START, 8, "D"), 0.04 + 0.001 * np.arange(8), "1D"),
            "borrow_usd": series(times(START, 8, "D"), 0.06 + 0.002 * np.arange(8), "30h"),
        },
    )


def only(tables: Tables, *names: str) -> Tables:
    """The same content without the other instruments."""
    tables.instruments = [item for item in tables.instruments if item.id in names]
    tables.bars = {name: frame for name, frame in tables.bars.items() if name in names}
    tables.funding = {name: frame for name, frame in tables.funding.items() if name in names}
    tables.settlements = tables.settlements[tables.settlements["instrument"].isin(names)]
    return tables


def write(folder: Path, tables: Tables, name: str = "test") -> str:
    """Write a dataset into a folder and give its path."""
    place = str(folder / "dataset")
    write_dataset(place, tables, name=name, source="tests", simulated=True, licence="CC0-1.0")
    return place


def load(folder: Path, tables: Tables, *period: Any, **options: Any) -> Market:
    """Write a dataset and load it as a market."""
    return load_market(write(folder, tables), *period, **options)
