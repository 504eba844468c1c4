"""Data behind URLs: a dataset and vendors' files on an S3 server (moto's, on this machine) and in fsspec's memory."""

import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import backtest as bt
from backtest import cli
from backtest.data.importers import import_files
from backtest.data.importers.common import Request
from backtest.data.sample import build_sample
from backtest.data.store import content_hash, open_dataset
from backtest.errors import DataError

KLINES = "Timestamp,Open,High,Low,Close\n2024-03-29 05:00:00,10,12,9,11\n2024-03-29 06:00:00,11,13,10,12\n"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket on a server of its own, with the sample in it."""
    import s3fs
    from moto.server import ThreadedMotoServer

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port)
    server.start()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ACCESS_KEY_ID", "test")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patched.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        system = s3fs.S3FileSystem()
        system.mkdir("desk")
        local = tmp_path_factory.mktemp("local") / "sample"
        build_sample(local)
        system.put(str(local), "desk/sample", recursive=True)
        yield "s3://desk"
    server.stop()


def test_a_dataset_on_s3_is_the_dataset_that_was_put_there(bucket: str, tmp_path: Path) -> None:
    here, there = open_dataset(tmp_path / build(tmp_path)), open_dataset(f"{bucket}/sample")
    assert (there.hash, list(there.instruments), there.series_names) == (here.hash, list(here.instruments), here.series_names)
    assert content_hash(there.tables()) == there.hash
    start, end = pd.Timestamp("2022-03-01", tz="UTC"), pd.Timestamp("2022-04-01", tz="UTC")
    for each in (here, there):
        assert each.bars("ETHUSDT-SPOT", start, end, columns=["volume"]).index[[0, -1]].tolist() == [start + pd.Timedelta("1h"), end]
    pd.testing.assert_frame_equal(there.bars("ETHUSDT-PERP", start, end), here.bars("ETHUSDT-PERP", start, end))
    assert there.span("ETHUSDT-PERP") == here.span("ETHUSDT-PERP")


def build(folder: Path) -> str:
    build_sample(folder / "sample")
    return "sample"


def test_a_market_is_loaded_from_s3_and_checked_there(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    market = bt.load_market(f"{bucket}/sample", start="2022-03-01", end="2022-03-08")
    assert len(market) == 168
    assert cli.main(["data", "check", f"{bucket}/sample"]) == 0
    assert "SIMULATED" in capsys.readouterr().out


def test_files_are_imported_from_s3(bucket: str, tmp_path: Path) -> None:
    import s3fs

    system = s3fs.S3FileSystem()
    system.pipe("desk/files/spot_ETHUSDT.csv", KLINES.encode())
    with zipfile.ZipFile(tmp_path / "perp.zip", "w") as archive:
        archive.writestr("perp_ETHUSDT.csv", KLINES)
    system.put(str(tmp_path / "perp.zip"), "desk/files/perp.zip")
    report = import_files("auto", [f"{bucket}/files"], tmp_path / "set", Request())
    assert {line.target: line.kept for line in report.lines} == {"ETHUSDT-PERP": 2, "ETHUSDT-SPOT": 2}
    assert report.dataset.info["source"] == "binance: perp_ETHUSDT.csv, spot_ETHUSDT.csv"


def test_what_is_not_there_is_said_in_one_sentence(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"s3://desk/none: dataset\.json is missing, so this is not a dataset; name the folder"):
        open_dataset(f"{bucket}/none")
    with pytest.raises(DataError, match=r"s3://desk/none\.csv: there is no such file; check the name"):
        import_files("binance", [f"{bucket}/none.csv"], tmp_path / "set", Request())
    with pytest.raises(DataError, match=r"nonsense://x/y\.csv: can't be opened .*; install what reads such URLs, or copy the file here"):
        import_files("binance", ["nonsense://x/y.csv"], tmp_path / "set", Request())


def test_a_server_that_does_not_answer_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(DataError, match=r"s3://desk/sample: can't be reached \(.*\); check the address and your access"):
        open_dataset("s3://desk/sample")
    s3fs.S3FileSystem.clear_instance_cache()
