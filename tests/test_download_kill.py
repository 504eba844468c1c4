"""A download that is killed at any request leaves a whole dataset, and the same command goes on to the same content."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from venue_server import DAY, VenueServer

from backtest.data.store import open_dataset

ROOT = Path(__file__).parents[1]
COMMAND = """
import sys
import ccxt
from backtest import cli
from backtest.cli import data_download
from backtest.data.download import api
if data_download not in cli.DATA_COMMANDS:
    cli.DATA_COMMANDS = (data_download,)
ccxt.Exchange.throttle = lambda exchange, cost=None: None
api.PAGES = 1
raise SystemExit(cli.main(sys.argv[1:]))
"""
ARGUMENTS = (
    "data", "download", "binance", "ETHUSDT", "--start", "2024-01-01", "--end", "2024-01-08", "--bar", "1m",
    "--what", "klines,mark,funding", "--into",
)  # fmt: skip


@pytest.fixture
def server() -> Iterator[VenueServer]:
    pytest.importorskip("ccxt", reason="the extra [download] is not installed")
    with VenueServer(until=int(pd.Timestamp("2024-01-08", tz="UTC").timestamp() * 1000) + DAY) as running:
        yield running


def start(server: VenueServer, into: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "CARRY_API_URL": server.url, "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *ARGUMENTS, str(into)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def finished(server: VenueServer, into: Path) -> str:
    process = start(server, into)
    printed, complaint = process.communicate(timeout=120)
    assert (process.returncode, complaint) == (0, ""), complaint
    return printed


def test_killed_again_and_again_it_ends_with_the_same_content(server: VenueServer, tmp_path: Path) -> None:
    printed = finished(server, tmp_path / "whole")
    assert "ETHUSDT-PERP funding" in printed
    requests = len(server.asked)
    server.asked.clear()
    rows: list[int] = []
    into = tmp_path / "killed"
    for moment in (5, 15, 9, 25):
        process = start(server, into)
        before = len(server.asked)
        server.on_request = lambda count, until=before + moment, victim=process: victim.kill() if count == until else None  # type: ignore[misc]
        process.communicate(timeout=120)
        assert process.returncode in (-signal.SIGKILL, 0)
        if (into / "dataset.json").exists():
            dataset = open_dataset(into)
            rows.append(sum(len(dataset.bars(one)) for one in dataset.instruments))
    server.on_request = lambda count: None
    finished(server, into)
    assert open_dataset(into).hash == open_dataset(tmp_path / "whole").hash
    assert rows == sorted(rows)
    assert 0 < rows[0] < rows[-1], "each run went on from where the last one was"
    markets = sum("exchangeInfo" in one.path for one in server.asked)
    assert len(server.asked) - markets < requests + 12, "pages that were committed are not asked for again"


def test_ctrl_c_says_how_to_go_on(server: VenueServer, tmp_path: Path) -> None:
    process = start(server, tmp_path / "set")
    server.on_request = lambda count: process.send_signal(signal.SIGINT) if count == 12 else None
    printed, complaint = process.communicate(timeout=120)
    assert (process.returncode, printed) == (130, "")
    assert complaint == f"{tmp_path / 'set'}: interrupted; what had come is kept, and the same command goes on from there\n"
    assert len(open_dataset(tmp_path / "set").bars("ETHUSDT-SPOT")) >= 1000
