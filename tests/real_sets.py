"""The real sets as datasets. A test module that says `pytest_plugins = ["real_sets"]` has these fixtures, and a worker imports each set once."""

import shutil
from pathlib import Path

import pytest
from real_sums import STAKING_ROWS

from backtest import cli

TBILL = """
what = "series"
name = "risk_free"
[time]
column = "observation_date"
delay = "1D"
[columns]
value = "DTB3"
[scale]
value = 0.01
"""
STAKING = """
what = "series"
name = "staking_yield"
[time]
column = "day"
delay = "1D"
[columns]
value = "percent"
[scale]
value = 0.01
"""


def bring_in(into: Path, *arguments: object) -> Path:
    """Run `carry data import …` in this process; it must succeed."""
    assert cli.main(["data", "import", *map(str, arguments), "--into", str(into)]) == 0
    return into


@pytest.fixture(scope="session")
def hourly_set(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spot, perpetual and eight dated futures by the hour, June 2023 to March 2025."""
    return bring_in(tmp_path_factory.mktemp("real") / "hourly", "binance", raw / "binance-ethusdt-hourly")


@pytest.fixture(scope="session")
def daily_set(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spot and perpetual by the day, 2021 to 2024."""
    return bring_in(tmp_path_factory.mktemp("real") / "daily", "binance", raw / "binance-ethusdt-daily")


@pytest.fixture(scope="session")
def rates_set(raw: Path, hourly_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hourly set with the T-bill as `risk_free`, and a staking yield in four steps."""
    folder = tmp_path_factory.mktemp("rates")
    into = folder / "hourly"
    shutil.copytree(hourly_set, into)
    for name, mapping in (("tbill", TBILL), ("staking", STAKING)):
        (folder / f"{name}.toml").write_text(mapping)
    (folder / "staking.csv").write_text(STAKING_ROWS)
    bring_in(into, "csv", raw / "rates" / "DTB3.csv", "--mapping", folder / "tbill.toml")
    return bring_in(into, "csv", folder / "staking.csv", "--mapping", folder / "staking.toml")


@pytest.fixture(scope="session")
def joined_set(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CME's ether futures by the day, Binance's spot by the hour and Coinbase's by the day, in one dataset."""
    into = tmp_path_factory.mktemp("joined") / "all"
    bring_in(into, raw / "cme-eth-databento")
    bring_in(into, raw / "binance-ethusdt-hourly", "--symbol", "ETHUSDT")
    return bring_in(into, raw / "coinbase-daily")
