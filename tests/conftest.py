"""Fixtures for all tests: the folder of real vendor files, and a small dataset's content."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
import pytest
from browser import Browser, chromium

from backtest.data import replace
from backtest.data.download.http import Patience
from backtest.data.schema import Tables
from backtest.instruments import Instrument, Kind

# The same examples at every run: a red build must be red again. New ones are looked for by running the tests with another profile.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def raw() -> Path:
    """The real files, which are not part of the repository; the test skips where they are absent."""
    place = Path(os.environ.get("CARRY_REAL_DATA", Path(__file__).resolve().parents[1].parent / "shared" / "data" / "raw"))
    if not place.is_dir():
        pytest.skip(f"no real data at {place}; set CARRY_REAL_DATA to their folder")
    return place


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated sample, not to be changed."""
    from backtest.data.sample import build_sample

    place = tmp_path_factory.mktemp("simulated") / "sample"
    build_sample(str(place))
    return place


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium without a network; the test skips where there is none."""
    with chromium() as running:
        yield running


@pytest.fixture(autouse=True)
def unflushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Don't wait for the disk: flushing guards against power cuts, which no test has."""
    monkeypatch.setattr(replace, "_flush_one", lambda path: None)


def hourly(start: str, periods: int, level: float = 1000.0, **more: float) -> pd.DataFrame:
    """Hourly bars around a level, all different, stamped with their end."""
    index = pd.date_range(start, periods=periods, freq="h", tz="UTC", name="ts").as_unit("ns")
    open_ = level + np.arange(periods, dtype=float)
    columns = {
        "open": open_,
        "high": open_ + 2,
        "low": open_ - 2,
        "close": open_ + 1,
        **{name: np.full(periods, v) for name, v in more.items()},
    }
    return pd.DataFrame(columns, index=index)


@pytest.fixture
def tables() -> Tables:
    """One spot, one perpetual with funding, one future, over New Year, and a row of everything else."""
    expiry = pd.Timestamp("2024-01-05T08:00Z")
    facts = {"venue": "binance", "base": "ETH", "quote": "USDT"}
    events = pd.date_range("2023-12-31T00:00Z", periods=7, freq="8h", name="ts").as_unit("ns")
    day = pd.DatetimeIndex([pd.Timestamp("2024-01-01T00:00Z")]).as_unit("ns")
    return Tables(
        instruments=[
            Instrument(id="ETHUSDT-SPOT", kind=Kind.SPOT, **facts),
            Instrument(id="ETHUSDT-PERP", kind=Kind.PERPETUAL, tick=0.01, lot=0.001, min_notional=20.0, **facts),
            Instrument(id="ETHUSDT-240105", kind=Kind.FUTURE, tick=0.01, lot=0.001, expires_at=expiry, **facts),
        ],
        bars={
            "ETHUSDT-SPOT": hourly("2023-12-31T01:00", 48, volume=5.0),
            "ETHUSDT-PERP": hourly("2023-12-31T01:00", 48, 1001.0, bid=999.0, ask=1000.0),
            "ETHUSDT-240105": hourly("2023-12-31T12:00", 20, 1010.0),
        },
        funding={"ETHUSDT-PERP": pd.DataFrame({"rate": 1e-4, "interval_hours": 8.0, "mark_price": np.nan}, index=events)},
        settlements=pd.DataFrame({"instrument": ["ETHUSDT-240105"], "ts": pd.DatetimeIndex([expiry]).as_unit("ns"), "price": [1055.5]}),
        series={"risk_free": pd.DataFrame({"ts": day, "known_at": day + pd.Timedelta("1D"), "value": [0.05]})},
        events=pd.DataFrame({"ts": day, "name": ["New Year"], "kind": ["holiday"]}),
    )


@pytest.fixture
def waits() -> list[float]:
    """The seconds for which a download would have waited."""
    return []


@pytest.fixture
def patience(waits: list[float]) -> Patience:
    """Four tries without chance, whose waits are noted and not waited for."""
    return Patience(tries=4, sleep=waits.append, jitter=lambda: 1.0)
