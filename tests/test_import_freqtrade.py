"""freqtrade's feather files: the samples against an independent reading, what the names tell, and what is refused."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtest.data.importers import ImportReport, import_files
from backtest.data.importers.common import Request
from backtest.data.importers.freqtrade import sniff
from backtest.data.importers.source import sources_in
from backtest.errors import DataError
from backtest.instruments import Kind, Settle

PRICES = ["open", "high", "low", "close"]


def candles(start: str = "2024-03-29", rows: int = 3, freq: str = "h", **columns: object) -> pd.DataFrame:
    """Candles as freqtrade keeps them."""
    dates = pd.date_range(start, periods=rows, freq=freq, tz="UTC").as_unit("ms")
    level = 10.0 + np.arange(rows)
    table = {"date": dates, "open": level, "high": level + 2, "low": level - 2, "close": level + 1, "volume": level * 5}
    return pd.DataFrame(table | columns)


def write(folder: Path, name: str, table: pd.DataFrame) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    table.to_feather(file)
    return file


def imported(*files: Path, **more: object) -> ImportReport:
    """What files become in a dataset of their own."""
    return import_files("freqtrade", files, Path(tempfile.mkdtemp(dir=files[0].parent)) / "set", Request(**more))  # type: ignore[arg-type]


# --- the samples -----------------------------------------------------------------------------------------


def test_the_samples_become_one_perpetual(raw: Path, tmp_path: Path) -> None:
    from pyarrow import feather

    folder = raw / "vendor-samples" / "freqtrade"
    report = import_files("freqtrade", [folder], tmp_path / "set", Request())
    candle, mark, rate = (
        feather.read_table(folder / f"XRP_USDT_USDT-{name}.feather").to_pydict() for name in ("1h-futures", "1h-mark", "8h-funding_rate")
    )
    bars = report.dataset.bars("XRPUSDT-PERP")
    assert len(bars) == len(candle["date"]) == 100
    for name in (*PRICES, "volume"):
        assert bars[name].tolist() == candle[name]
    assert bars.index[0] == pd.Timestamp(candle["date"][0]) + pd.Timedelta("1h") == pd.Timestamp("2021-11-17T02:00Z")
    assert bars.index[-1] == pd.Timestamp(candle["date"][-1]) + pd.Timedelta("1h") == pd.Timestamp("2021-11-21T05:00Z")
    marks = {pd.Timestamp(date) + pd.Timedelta("1h"): row for row, date in enumerate(mark["date"])}
    both = [time for time in bars.index if time in marks]
    assert len(both) == bars["mark"].notna().sum() == 57
    assert bars.loc[both, "mark"].tolist() == [mark["close"][marks[time]] for time in both]
    assert bars.loc[both, "mark_high"].tolist() == [mark["high"][marks[time]] for time in both]
    funding = report.dataset.funding("XRPUSDT-PERP")
    assert len(funding) == len(rate["date"]) == 91
    assert funding["rate"].tolist() == rate["open"]
    assert funding.index.tolist() == [pd.Timestamp(date).round("s") for date in rate["date"]]
    assert set(funding["interval_hours"]) == {8.0}
    assert "XRPUSDT-PERP: 43 mark, index or other rows stood beside no bar and were left out" in report.notes
    assert any(note.endswith("its folder is not named after an exchange, so it was taken as binance's") for note in report.notes)


# --- what names and folders tell -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "key", "kind", "settle"),
    [
        ("data/binance/ETH_USDT-1h.feather", "ETHUSDT-SPOT", Kind.SPOT, Settle.LINEAR),
        ("data/bybit/futures/ETH_USDT_USDT-1h-futures.feather", "ETHUSDT-PERP.bybit", Kind.PERPETUAL, Settle.LINEAR),
        ("data/okx/futures/ETH_USD_ETH-1h-futures.feather", "ETHUSD-PERP.okx", Kind.PERPETUAL, Settle.INVERSE),
        ("data/binance/futures/ETH_USDT_USDT-240628-1h-futures.feather", "ETHUSDT-240628", Kind.FUTURE, Settle.LINEAR),
    ],
)
def test_the_instrument(tmp_path: Path, name: str, key: str, kind: Kind, settle: Settle) -> None:
    dataset = imported(write(tmp_path, name, candles())).dataset
    one = dataset.instruments[key]
    assert (one.kind, one.settle) == (kind, settle)
    assert dataset.bars(key).index.tolist() == list(pd.date_range("2024-03-29T01:00Z", periods=3, freq="h"))
    assert ("volume" in dataset.bars(key)) == (settle is Settle.LINEAR)


@pytest.mark.parametrize(("frame", "freq", "length"), [("5m", "5min", "5min"), ("4h", "4h", "4h"), ("1d", "D", "1D"), ("1w", "7D", "7D")])
def test_a_candle_ends_after_its_time_frame(tmp_path: Path, frame: str, freq: str, length: str) -> None:
    bars = imported(write(tmp_path, f"binance/ETH_USDT-{frame}.feather", candles(freq=freq))).dataset.bars("ETHUSDT-SPOT")
    assert bars.index[0] == pd.Timestamp("2024-03-29T00:00Z") + pd.Timedelta(length)


def test_index_candles_stand_beside_the_bars(tmp_path: Path) -> None:
    write(tmp_path, "binance/ETH_USDT_USDT-1h-futures.feather", candles())
    write(tmp_path, "binance/ETH_USDT_USDT-1h-index.feather", candles(close=[7.0, 8.0, 9.0], low=6.0))
    assert imported(tmp_path / "binance").dataset.bars("ETHUSDT-PERP")["index"].tolist() == [7, 8, 9]


def test_a_hole_in_the_funding_is_not_a_longer_interval(tmp_path: Path) -> None:
    table = candles(rows=3, freq="8h", open=0.0001)
    table.loc[2, "date"] += pd.Timedelta("10D")
    report = imported(write(tmp_path, "binance/ETH_USDT_USDT-1h-funding_rate.feather", table))
    assert report.dataset.funding("ETHUSDT-PERP")["interval_hours"].tolist() == [8, 8, 8]


# --- what is refused -------------------------------------------------------------------------------------

NAME = "binance/ETH_USDT-1h.feather"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (candles().drop(columns="close"), r'1h\.feather: column "close" is missing; candles have date, open'),
        (candles(date=[1, 2, 3]), r"1h\.feather: column date is int64, not times"),
        (candles(close=["1,234.5", "2", "3"]), r"1h\.feather: column close is .*, not numbers"),
        (candles(low=-3.0), r"1h\.feather record 1: low is -3; prices must be above 0"),
        (candles(volume=-1.0), r"1h\.feather record 1: volume is -1; it must not be negative"),
        (candles().iloc[::-1].reset_index(drop=True), r"1h\.feather record 2: time .* comes after"),
        (pd.concat([candles(), candles()], ignore_index=True), r"1h\.feather record 4: time .* comes after"),
        (candles("1970-01-01"), r"1h\.feather record 1: time is 1970-01-01T01:00Z; times must lie between 2000 and 2100"),
        (candles().iloc[:0], r"1h\.feather: is empty"),
        (candles(date=pd.DatetimeIndex([None] * 3, tz="UTC")), r"1h\.feather record 1: the time is missing"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_with_their_place(tmp_path: Path, table: pd.DataFrame, message: str) -> None:
    file = write(tmp_path, NAME, table)
    with pytest.raises(DataError, match=message):
        import_files("freqtrade", [file], tmp_path / "set", Request())
    assert not (tmp_path / "set").exists()


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, NAME, candles(rows=1000))
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"1h\.feather: is truncated or no feather file \(.*\); download it again"):
        imported(file)


@pytest.mark.parametrize("content", [b"<html>404</html>", b'{"code": -1121, "msg": "Invalid symbol."}', b"date,open\n1,2\n"])
def test_what_is_no_feather_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ETH_USDT-1h.feather"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"ETH_USDT-1h\.feather: is (a web page, not data|a venue's error answer|not a file of freqtrade)"):
        imported(file)


def test_a_name_without_a_pair_is_nobody_s(tmp_path: Path) -> None:
    assert sniff(sources_in([write(tmp_path, "prices.feather", candles())])[0]) is None
    assert sniff(sources_in([write(tmp_path, "ETH_USDT-1h-trades.feather", candles())])[0]) is None


def test_an_unknown_exchange_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "data/gate/futures/ETH_USDT_USDT-1h-futures.feather", candles())
    with pytest.raises(DataError, match=r"its folder says exchange gate; known: binance, .*; leave it out"):
        imported(file)


def test_a_contract_that_settles_in_a_third_currency_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "binance/ETH_USD_BTC-1h-futures.feather", candles())
    with pytest.raises(DataError, match=r"settles in BTC, neither ETH nor USD; such contracts can't be held here"):
        imported(file)


def test_another_symbol_than_the_one_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1h\.feather: is of ETHUSDT-SPOT, not of BTCUSDT; leave it out"):
        imported(write(tmp_path, NAME, candles()), symbol="BTCUSDT")
