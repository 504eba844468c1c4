"""Bars as Coinbase and CryptoDataDownload write them: the real file against an independent reading, both orders of rows, and what is refused."""

import csv
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from vendor_files import write

from backtest.data.importers import ImportReport, import_files
from backtest.data.importers.common import Request
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind

DAILY = "date,symbol,base,open,high,low,close,volume\n2024-03-28,ETH/USD,ETH,10,12,9,11,5\n2024-03-29,ETH/USD,ETH,11,13,10,12,6\n"
CDD = (
    "https://www.CryptoDataDownload.com\n"
    "unix,date,symbol,open,high,low,close,Volume ETH,Volume USD\n"
    "1711677600,2024-03-29 02:00:00,ETH/USD,12,14,11,13,7,91\n"
    "1711674000,2024-03-29 01:00:00,ETH/USD,11,13,10,12,6,72\n"
    "1711670400,2024-03-29 00:00:00,ETH/USD,10,12,9,11,5,55\n"
)


def imported(*files: Path, **more: object) -> ImportReport:
    """What files become in a dataset of their own."""
    return import_files("coinbase", files, Path(tempfile.mkdtemp(dir=files[0].parent)) / "set", Request(**more))  # type: ignore[arg-type]


def test_the_real_daily_file(raw: Path, tmp_path: Path) -> None:
    file = raw / "coinbase-daily" / "ETH-USD.csv"
    with file.open() as text:
        theirs = list(csv.DictReader(text))
    dataset = import_files("coinbase", [file], tmp_path / "set", Request()).dataset
    bars = dataset.bars("ETHUSD-SPOT.coinbase")
    assert len(bars) == len(theirs) == 2125
    for name in ("open", "high", "low", "close", "volume"):
        assert bars[name].tolist() == [float(row[name]) for row in theirs]
    assert bars.index.tolist() == [pd.Timestamp(row["date"], tz="UTC") + pd.Timedelta("1D") for row in theirs]
    assert bars.iloc[0].tolist() == [128.54, 132.68, 128.12, 130.19, 57512.49500629]
    assert (bars.index[0], bars.index[-1]) == (pd.Timestamp("2020-01-02T00:00Z"), pd.Timestamp("2025-10-26T00:00Z"))
    assert dataset.instruments["ETHUSD-SPOT.coinbase"] == Instrument(
        id="ETHUSD-SPOT.coinbase", venue="coinbase", kind=Kind.SPOT, base="ETH", quote="USD"
    )


def test_newest_first_under_an_address(tmp_path: Path) -> None:
    bars = imported(write(tmp_path, "Coinbase_ETHUSD_1h.csv", CDD)).dataset.bars("ETHUSD-SPOT.coinbase")
    assert bars.index.tolist() == list(pd.date_range("2024-03-29T01:00Z", periods=3, freq="h"))
    assert bars["close"].tolist() == [11, 12, 13]
    assert bars["volume"].tolist() == [5, 6, 7]
    assert bars["quote_volume"].tolist() == [55, 72, 91]


def test_half_days_and_other_spellings(tmp_path: Path) -> None:
    text = (
        "Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT,tradecount\n"
        "2018-01-01 12-PM,BTCUSDT,11,13,10,12,6,72,3\n2018-01-01 11-AM,BTCUSDT,10,12,9,11,5,55,2\n"
    )
    bars = imported(write(tmp_path, "Binance_BTCUSDT_1h.csv", text)).dataset.bars("BTCUSDT-SPOT")
    assert bars.index.tolist() == [pd.Timestamp("2018-01-01T12:00Z"), pd.Timestamp("2018-01-01T13:00Z")]
    assert bars["trades"].tolist() == [2, 3]


def test_milliseconds_are_told_by_their_digits(tmp_path: Path) -> None:
    text = CDD.replace("1711677600", "1711677600000").replace("1711674000", "1711674000000").replace("1711670400", "1711670400000")
    bars = imported(write(tmp_path, "Coinbase_ETHUSD_1h.csv", text)).dataset.bars("ETHUSD-SPOT.coinbase")
    assert bars.index[0] == pd.Timestamp("2024-03-29T01:00Z")


def test_stamps_with_a_zone_are_converted(tmp_path: Path) -> None:
    text = CDD.replace("unix,date", "id,date").replace(":00:00,", ":00:00-05:00,")
    bars = imported(write(tmp_path, "Coinbase_ETHUSD_1h.csv", text)).dataset.bars("ETHUSD-SPOT.coinbase")
    assert bars.index[0] == pd.Timestamp("2024-03-29T06:00Z")


def test_the_venue_is_told_by_the_folder_too(tmp_path: Path) -> None:
    assert list(imported(write(tmp_path, "kraken/ETHUSD_1h.csv", CDD)).dataset.instruments) == ["ETHUSD-SPOT.kraken"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "Open time,Open,High,Low,Close\n2024-01-01,1,2,1,2\n", r"a\.csv: is not a file of coinbase"),
        ("a.csv", "<!DOCTYPE html><title>Just a moment...</title>", r"a\.csv: is a web page, not data"),
        ("a.csv", '{"message":"NotFound"}', r"a\.csv: is not a file of coinbase"),
        ("a.csv", DAILY[:-12], r"a\.csv line 3: has \d cells, not 8; is the file truncated"),
        ("a.csv", DAILY + DAILY, r'a\.csv line 4: symbol is "symbol", the first row has "ETH/USD"'),
        ("a.csv", DAILY.replace(",11,5", ',"1,234.5",5'), r'a\.csv line 2: close is "1,234\.5", not a number'),
        ("a.csv", DAILY.replace(",11,5", ",11,-5"), r"a\.csv line 2: volume is -5; it must not be negative"),
        ("a.csv", DAILY.replace("2024-03", "1970-03"), r"a\.csv line 2: time is 1970-03-29T00:00Z; times must lie between 2000 and 2100"),
        ("a.csv", DAILY.replace("2024-03-29", "20250-03-29"), r'a\.csv line 3: date is "20250-03-29", not a time'),
        ("a.csv", DAILY.replace("2024-03-29", "2024-03-28"), r"a\.csv line 3: time 2024-03-28T00:00Z stands twice"),
        ("a.csv", DAILY.replace("ETH/USD,ETH,11", "BTC/USD,ETH,11"), r'a\.csv line 3: symbol is "BTC/USD", the first row has "ETH/USD"'),
        ("a.csv", DAILY.replace("ETH/USD", "ETH/BTC"), r'a\.csv line 2: symbol is "ETH/BTC"; it must be a pair against USDT, USDC, USD'),
        ("a.csv", DAILY.partition("2024-03-29")[0], r"a\.csv line 2: one row does not tell how long it covers"),
        ("ETHUSD_1h.csv", CDD, r"ETHUSD_1h\.csv: its name has no exchange; name it as it was downloaded"),
        ("Coinbase_1h.csv", CDD.replace("1711674000", "1711674000000"), r'Coinbase_1h\.csv line 4: unix is "1711674000000", not a time .*ms among s'),
        ("Coinbase_1h.csv", CDD.replace("unix,date", "id,date").replace("2024-03-29 02:00:00", "2024-03-29 02-AM"), r'line 4: date is .*, not a time \(2018-01-01 01-PM'),
    ],
)  # fmt: skip
def test_bad_files_are_refused_with_their_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    file = write(tmp_path, name, text)
    with pytest.raises(DataError, match=message):
        import_files("coinbase", [file], tmp_path / "set", Request())
    assert not (tmp_path / "set").exists()


def test_another_symbol_than_the_one_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv: is of ETHUSD-SPOT\.coinbase, not of BTCUSD; leave it out"):
        imported(write(tmp_path, "a.csv", DAILY), symbol="BTCUSD")
