"""The Binance importer: the real files in both shapes, the archive's shape, and everything that it refuses."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from vendor_files import write

from backtest.data.importers import Line, import_files
from backtest.data.importers.binance_specs import assumed_instrument
from backtest.data.importers.common import Request
from backtest.data.importers.naming import delivery
from backtest.data.merge import merge_instruments
from backtest.data.schema import Tables
from backtest.data.store import Dataset, open_dataset
from backtest.errors import DataError
from backtest.instruments import Kind, Settle

KEPT_AND_CUT = {
    "230929": (2310, 1106),
    "231229": (3188, 263),
    "240329": (4365, 2),
    "240628": (4368, 71),
    "240927": (4368, 1),
    "241227": (4368, 1),
    "250328": (3991, 0),
    "250627": (1807, 0),
}
MEAN_PREMIUM = {
    "230929": 3.41,
    "231229": 5.99,
    "240329": 11.95,
    "240628": 14.67,
    "240927": 11.08,
    "241227": 10.93,
    "250328": 10.57,
    "250627": 9.71,
}
SPECS = (
    "symbol,pair,contractType,deliveryDate,onboardDate,maintMarginPercent,requiredMarginPercent,baseAsset,quoteAsset,marginAsset,filters\n"
    "ETHUSDT,ETHUSDT,PERPETUAL,4133404800000,1569398400000,2.5,5.0,ETH,USDT,USDT,"
    "\"[{'filterType': 'PRICE_FILTER', 'tickSize': '0.01'}, {'filterType': 'LOT_SIZE', 'stepSize': '0.001'},"
    " {'filterType': 'MIN_NOTIONAL', 'notional': '20'}]\"\n"
    'ETHUSDT_240329,ETHUSDT,CURRENT_QUARTER,1711699200000,1695974400000,2.5,5.0,ETH,USDT,USDT,"[]"\n'
)
KLINES = "Timestamp,Open,High,Low,Close\n2024-03-29 05:00:00,10,12,9,11\n2024-03-29 06:00:00,11,13,10,12\n2024-03-29 07:00:00,12,14,11,13\n"


@dataclass
class Result:
    tables: Tables
    lines: list[Line]
    notes: list[str]


def parse(*files: Path, **more: object) -> Result:
    """What the files become in a dataset of their own."""
    with tempfile.TemporaryDirectory() as folder:
        report = import_files("binance", files, Path(folder) / "set", Request(**more))  # type: ignore[arg-type]
        return Result(report.dataset.tables(), report.lines, report.notes)


@pytest.fixture(scope="module")
def hourly_set(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return import_files("binance", [raw / "binance-ethusdt-hourly"], tmp_path_factory.mktemp("real") / "eth", Request()).dataset


# --- the real files --------------------------------------------------------------------------------------


def test_the_hourly_set_has_the_rows_it_must(raw: Path, hourly_set: Dataset) -> None:
    report = parse(*sorted((raw / "binance-ethusdt-hourly").rglob("*.csv")))
    counts = {line.source.path.stem: (line.kept, line.cut) for line in report.lines}
    assert counts == {
        **KEPT_AND_CUT, "spot": (15615, 0), "perps": (15615, 0), "funding_rates_8h": (1948, 0), "premium_index": (15577, 0),
    }  # fmt: skip
    assert {date: len(hourly_set.bars(f"ETHUSDT-{date}")) for date in KEPT_AND_CUT} == {
        date: kept for date, (kept, _) in KEPT_AND_CUT.items()
    }
    assert len(hourly_set.bars("ETHUSDT-SPOT")) == len(hourly_set.bars("ETHUSDT-PERP")) == 15615
    assert len(hourly_set.funding("ETHUSDT-PERP")) == 1948
    assert "1,444 bars ended after delivery and were cut" in report.notes
    assert "specs without data, left out: ETHUSDC-PERP" in report.notes


@pytest.mark.parametrize(("name", "key"), [("spot", "SPOT"), ("perps", "PERP"), *((f"futures_contracts/{d}", d) for d in KEPT_AND_CUT)])
def test_hourly_bars_equal_an_independent_reading(raw: Path, hourly_set: Dataset, name: str, key: str) -> None:
    theirs = pd.read_csv(raw / "binance-ethusdt-hourly" / f"{name}.csv", dtype=str, index_col=0)
    theirs.index = pd.to_datetime(theirs.index, utc=True) + pd.Timedelta("1h")
    if key in KEPT_AND_CUT:
        theirs = theirs[theirs.index <= pd.Timestamp(f"20{key[:2]}-{key[2:4]}-{key[4:]} 08:00", tz="UTC")]
    ours = hourly_set.bars(f"ETHUSDT-{key}")
    assert ours.index.equals(pd.DatetimeIndex(theirs.index).as_unit("ns"))
    assert np.array_equal(ours[["open", "high", "low", "close"]].to_numpy(), theirs.to_numpy(dtype=float))
    assert list(ours.columns) == ["open", "high", "low", "close"]


def test_hourly_bars_begin_and_end_where_the_files_say(hourly_set: Dataset) -> None:
    spot = hourly_set.bars("ETHUSDT-SPOT")
    assert (spot.index[0], spot.index[-1]) == (pd.Timestamp("2023-06-01T01:00Z"), pd.Timestamp("2025-03-12T15:00Z"))
    assert spot.iloc[0].tolist() == [1873.63, 1889.2, 1868.14, 1871.27]
    assert spot.iloc[-1].tolist() == [1887.53, 1896.15, 1856.05, 1863.36]
    last = hourly_set.bars("ETHUSDT-240329")
    assert last.index[-1] == pd.Timestamp("2024-03-29T08:00Z")


def test_hourly_funding_equals_an_independent_reading(raw: Path, hourly_set: Dataset) -> None:
    theirs = pd.read_csv(raw / "binance-ethusdt-hourly" / "funding_rates_8h.csv", dtype=str)
    ours = hourly_set.funding("ETHUSDT-PERP")
    assert ours.index.equals(pd.DatetimeIndex(pd.to_datetime(theirs["Timestamp"], utc=True)).as_unit("ns"))
    assert np.array_equal(ours["rate"], theirs["Rate"].astype(float))
    assert np.array_equal(ours["mark_price"], theirs["markPrice"].astype(float), equal_nan=True)
    assert ours["mark_price"].isna().sum() == 457
    assert set(ours["interval_hours"]) == {8.0}


def test_the_premium_index_is_a_series_known_at_the_bars_end(raw: Path, hourly_set: Dataset) -> None:
    theirs = pd.read_csv(raw / "binance-ethusdt-hourly" / "premium_index.csv", dtype=str)
    ours = hourly_set.series("ETHUSDT-PERP.premium_index")
    assert np.array_equal(ours["value"], theirs["Close"].astype(float))
    assert (ours["ts"] == ours["known_at"]).all()
    assert ours["ts"].iloc[0] == pd.Timestamp("2023-06-01T01:00Z")


def test_mean_annualized_premium_by_contract(hourly_set: Dataset) -> None:
    spot = hourly_set.bars("ETHUSDT-SPOT")["close"]
    means = {}
    for date in MEAN_PREMIUM:
        future = hourly_set.bars(f"ETHUSDT-{date}")["close"]
        expiry = hourly_set.instruments[f"ETHUSDT-{date}"].expires_at
        days = (expiry - future.index) / pd.Timedelta("1D")
        premium = (future / spot.reindex(future.index) - 1) * 365 / days
        means[date] = 100 * premium[days > 7].mean()
    assert means == pytest.approx(MEAN_PREMIUM, abs=0.01)


def test_contract_facts_come_from_the_specs(hourly_set: Dataset) -> None:
    perpetual, future, spot = (hourly_set.instruments[f"ETHUSDT-{key}"] for key in ("PERP", "240329", "SPOT"))
    assert (perpetual.kind, perpetual.tick, perpetual.lot, perpetual.min_notional) == (Kind.PERPETUAL, 0.01, 0.001, 20.0)
    assert (perpetual.listed_at, perpetual.expires_at) == (pd.Timestamp("2019-09-25T08:00Z"), None)
    assert (future.kind, future.tick, future.lot, future.min_notional) == (Kind.FUTURE, 0.01, 0.001, 5.0)
    assert (future.listed_at, future.expires_at) == (pd.Timestamp("2023-09-29T08:00Z"), pd.Timestamp("2024-03-29T08:00Z"))
    assert (spot.base, spot.quote, spot.venue, spot.tick, spot.lot) == ("ETH", "USDT", "binance", None, None)
    assert len(hourly_set.instruments) == 10


def test_the_daily_set_keeps_volume_and_rounds_funding_times(raw: Path, tmp_path: Path) -> None:
    report = import_files("binance", [raw / "binance-ethusdt-daily"], tmp_path / "daily", Request())
    assert sorted((line.target, line.kept, line.cut) for line in report.lines) == [
        ("ETHUSDT-PERP", 1461, 0), ("ETHUSDT-PERP funding", 4383, 0), ("ETHUSDT-SPOT", 1461, 0),
    ]  # fmt: skip
    theirs = pd.read_csv(raw / "binance-ethusdt-daily" / "perp_ETHUSDT_1d_20210101_20241231.csv", dtype=str)
    ours = report.dataset.bars("ETHUSDT-PERP")
    assert (ours.index[0], ours.index[-1]) == (pd.Timestamp("2021-01-02T00:00Z"), pd.Timestamp("2025-01-01T00:00Z"))
    for name, column in {
        "close": "close",
        "volume": "volume",
        "taker_buy_volume": "taker_buy_base",
        "quote_volume": "quote_volume",
    }.items():
        assert np.array_equal(ours[name], theirs[column].astype(float))
    funding = report.dataset.funding("ETHUSDT-PERP")
    assert funding.index.equals(pd.date_range("2021-01-01", "2024-12-31T16:00", freq="8h", tz="UTC").as_unit("ns"))
    assert set(funding["interval_hours"]) == {8.0}
    by_year = 100 * funding["rate"].groupby(funding.index.year).mean() * 3 * 365
    assert by_year.tolist() == pytest.approx([37.5, 0.8, 8.3, 13.0], abs=0.05)


def test_importing_again_changes_nothing_and_another_resolution_is_refused(raw: Path, tmp_path: Path) -> None:
    into = tmp_path / "eth"
    first = import_files("binance", [raw / "binance-ethusdt-daily"], into, Request())
    again = import_files("binance", [raw / "binance-ethusdt-daily"], into, Request())
    assert (first.changed, again.changed, again.dataset.hash) == (True, False, first.dataset.hash)
    with pytest.raises(
        DataError,
        match=r"perps\.csv: has bars of 1 h and ETHUSDT-PERP has bars of 1 d; an instrument has one length of bar; import it into another",
    ):
        import_files("binance", [raw / "binance-ethusdt-hourly"], into, Request())
    assert open_dataset(into).hash == first.dataset.hash


# --- the archive's shape ---------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("scale", [1, 1000])
def test_archive_klines_with_or_without_header_in_ms_or_us(tmp_path: Path, header: bool, scale: int) -> None:
    names = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n"
    rows = [
        f"{t * scale},1,3,0.5,2,7,{(t + 3600000) * scale - 1},70,12,3,30,0\n" for t in (1735689600000, 1735693200000)
    ]  # 2025-01-01 00:00 and 01:00
    file = write(tmp_path, "data/spot/monthly/klines/ETHUSDT/1h/ETHUSDT-1h-2025-01.csv", (names if header else "") + "".join(rows))
    bars = parse(file).tables.bars["ETHUSDT-SPOT"]
    assert list(bars.index) == [pd.Timestamp("2025-01-01T01:00Z"), pd.Timestamp("2025-01-01T02:00Z")]
    assert bars.iloc[0].to_dict() == {
        "open": 1, "high": 3, "low": 0.5, "close": 2, "volume": 7, "quote_volume": 70, "trades": 12, "taker_buy_volume": 3,
        "taker_buy_quote_volume": 30,
    }  # fmt: skip


def test_a_single_archive_row_tells_its_length_by_its_close_time(tmp_path: Path) -> None:
    file = write(tmp_path, "perp_ETHUSDT.csv", "1735689600000,1,3,0.5,2,7,1735703999999,70,12,3,30,0\n")
    assert parse(file).tables.bars["ETHUSDT-PERP"].index[0] == pd.Timestamp("2025-01-01T04:00Z")


def test_archive_folders_tell_the_kind(tmp_path: Path) -> None:
    row = "1704067200000,1,3,0.5,2,7,1704070799999,70,12,3,30,0\n"
    um = write(tmp_path, "futures/um/ETHUSDT-1h-2024-01.csv", row)
    dated = write(tmp_path, "futures/um/ETHUSDT_240329-1h-2024-01.csv", row)
    premium = write(tmp_path, "futures/um/premiumIndexKlines/ETHUSDT-1h-2024-01.csv", row)
    tables = parse(um, dated, premium).tables
    assert (sorted(tables.bars), list(tables.series)) == (["ETHUSDT-240329", "ETHUSDT-PERP"], ["ETHUSDT-PERP.premium_index"])


def test_archive_funding_has_its_interval_and_the_symbol_of_its_name(tmp_path: Path) -> None:
    text = "calc_time,funding_interval_hours,last_funding_rate\n1704067200003,8,0.0001\n1704081600000,4,-0.0002\n"
    funding = parse(write(tmp_path, "ETHUSDT-fundingRate-2024-01.csv", text)).tables.funding["ETHUSDT-PERP"]
    assert list(funding.index) == [pd.Timestamp("2024-01-01T00:00Z"), pd.Timestamp("2024-01-01T04:00Z")]
    assert funding["rate"].tolist() == [0.0001, -0.0002]
    assert funding["interval_hours"].tolist() == [8.0, 4.0]
    assert funding["mark_price"].isna().all()


def test_an_interval_is_told_from_the_nearer_neighbour_so_that_a_hole_is_none(tmp_path: Path) -> None:
    times = ["01 00:00", "01 08:00", "02 00:00", "02 08:00", "02 12:00", "02 16:00"]  # one event is missing, then the venue goes to 4 h
    text = "symbol,fundingTime,fundingRate,markPrice\n" + "".join(f"ETHUSDT,2024-01-{time},0.0001,\n" for time in times)
    assert parse(write(tmp_path, "f.csv", text)).tables.funding["ETHUSDT-PERP"]["interval_hours"].tolist() == [8, 8, 8, 4, 4, 4]


def test_an_event_between_two_holes_has_the_default_interval(tmp_path: Path) -> None:
    text = "symbol,fundingTime,fundingRate\n" + "".join(f"ETHUSDT,2024-01-{time},0.0001\n" for time in ("01 00:00", "01 16:00", "02 08:00"))
    assert parse(write(tmp_path, "f.csv", text)).tables.funding["ETHUSDT-PERP"]["interval_hours"].tolist() == [8, 8, 8]


def test_funding_of_several_symbols_is_told_apart(tmp_path: Path) -> None:
    text = "symbol,Timestamp,Rate\nETHUSDT,2024-01-01,0.0001\nBTCUSDT,2024-01-01,0.0002\n"
    file = write(tmp_path, "funding.csv", text)
    assert {key: one["rate"].iloc[0] for key, one in parse(file).tables.funding.items()} == {"BTCUSDT-PERP": 0.0002, "ETHUSDT-PERP": 0.0001}
    assert list(parse(file, symbol="BTCUSDT").tables.funding) == ["BTCUSDT-PERP"]


def test_months_of_one_contract_are_joined(tmp_path: Path) -> None:
    one = write(tmp_path, "spot_ETHUSDT_a.csv", KLINES)
    two = write(
        tmp_path, "spot_ETHUSDT_b.csv", "Timestamp,Open,High,Low,Close\n2024-03-29 07:00:00,12,14,11,13\n2024-03-29 08:00:00,13,14,11,13\n"
    )
    assert len(parse(one, two).tables.bars["ETHUSDT-SPOT"]) == 4


# --- instruments -----------------------------------------------------------------------------------------


def test_delivery_comes_from_specs_then_from_the_dataset_then_from_the_name(tmp_path: Path) -> None:
    file = write(tmp_path, "ETHUSDT_240329.csv", KLINES)
    specs = write(tmp_path, "specs.csv", SPECS.replace("1711699200000", "1711695600000"))  # an hour early: 07:00
    assert [(line.kept, line.cut) for line in parse(file, specs).lines] == [(2, 1)]
    named = parse(file)
    assert [(line.kept, line.cut) for line in named.lines] == [(3, 0)]
    assert named.notes == ["ETHUSDT-240329: no contract specs; delivery taken from its name, 2024-03-29T08:00Z"]
    for files in ([file, specs], [file]):
        report = import_files("binance", files, tmp_path / "set", Request())
        assert [line.kept for line in report.lines] == [2]
    assert not report.changed


def test_specs_alone_add_facts_to_what_the_dataset_has(tmp_path: Path) -> None:
    bars = write(tmp_path, "perp_ETHUSDT.csv", KLINES)
    assert import_files("binance", [bars], tmp_path / "set", Request()).dataset.instruments["ETHUSDT-PERP"].lot is None
    after = import_files("binance", [write(tmp_path, "specs.csv", SPECS)], tmp_path / "set", Request()).dataset
    assert (list(after.instruments), after.instruments["ETHUSDT-PERP"].lot) == (["ETHUSDT-PERP"], 0.001)


def test_margin_rates_of_the_specs_are_left_alone(tmp_path: Path) -> None:
    files = write(tmp_path, "perp_ETHUSDT.csv", KLINES), write(tmp_path, "specs.csv", SPECS)
    assert not {2.5, 5.0, 0.025, 0.05} & set(vars(parse(*files).tables.instruments[0]).values())


def test_coin_margined_contracts_are_inverse(tmp_path: Path) -> None:
    text = SPECS.replace("ETH,USDT,USDT", "ETH,USDT,ETH")
    assert parse(write(tmp_path, "perp_ETHUSDT.csv", KLINES), write(tmp_path, "s.csv", text)).tables.instruments[0].settle is Settle.INVERSE


def test_the_symbol_is_told_by_the_name_the_option_or_the_other_files(tmp_path: Path) -> None:
    bare = write(tmp_path, "spot.csv", KLINES)
    funding = write(tmp_path, "funding.csv", "symbol,Timestamp,Rate\nBTCUSDT,2024-01-01,0.0001\n")
    assert list(parse(bare, symbol="SOLUSDC").tables.bars) == ["SOLUSDC-SPOT"]
    assert list(parse(bare, funding).tables.bars) == ["BTCUSDT-SPOT"]
    assert list(parse(bare, write(tmp_path, "specs.csv", SPECS)).tables.bars) == ["ETHUSDT-SPOT"]
    named = write(tmp_path, "perp_ADAUSDT_1d.csv", KLINES)
    assert list(parse(named, funding).tables.bars) == ["ADAUSDT-PERP"]


@pytest.mark.parametrize(("date", "expected"), [("240329", "2024-03-29T08:00Z"), ("202401", None), ("240230", None), ("24032", None)])
def test_a_delivery_date_is_a_real_date(date: str, expected: str | None) -> None:
    assert delivery(date) == (expected and pd.Timestamp(expected))


# --- what is refused -------------------------------------------------------------------------------------


def spoilt(old: str, new: str) -> str:
    assert old in KLINES
    return KLINES.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"spot_ETHUSDT\.csv: is empty; remove it or download it again"),
        ("Timestamp,Open,High,Low,Close\n", r"spot_ETHUSDT\.csv: is empty: it has no rows of data"),
        (
            "Timestamp,Open,High,Low\n2024-01-01,1,1,1\n",
            r'spot_ETHUSDT\.csv: column "close" is missing; there are Timestamp, Open, High, Low',
        ),
        ("Open,High,Low,Close\n1,1,1,1\n", r'column "timestamp or opentime" is missing'),
        (
            spoilt("06:00:00,11", "soon,11"),
            r'spot_ETHUSDT\.csv line 3: Timestamp is "2024-03-29 soon", not a time .*; correct the row or remove',
        ),
        (spoilt("2024-03-29 06:00:00", ""), r'line 3: Timestamp is "", not a time'),
        (spoilt("06:00", "05:00"), r"spot_ETHUSDT\.csv line 3: time 2024-03-29T05:00Z stands twice; times must be unique; keep one"),
        (
            spoilt("07:00", "04:00"),
            r"spot_ETHUSDT\.csv line 4: time 2024-03-29T04:00Z comes after 2024-03-29T06:00Z; times must be in order; sort",
        ),
        (spoilt("11,13,10,12", "11,13,0,12"), r"spot_ETHUSDT\.csv line 3: low is 0; prices must be above 0 and finite; correct the row"),
        (spoilt("11,13,10,12", "11,13,-10,12"), r"line 3: low is -10; prices must be above 0"),
        (spoilt("11,13,10,12", "11,inf,10,12"), r"line 3: high is inf; prices must be above 0 and finite"),
        (spoilt("11,13,10,12", "11,13,10,NaN"), r"line 3: close is nan; a bar needs all four prices"),
        (spoilt("11,13,10,12", "11,13,10,"), r"line 3: close is nan; a bar needs all four prices"),
        (spoilt("11,13,10,12", "11,13,10,x"), r'line 3: Close is "x", not a number; correct the row or remove it'),
        (spoilt("11,13,10,12", "11,9,10,12"), r"line 3: high 9 is below low 10; the high must be the highest"),
        (spoilt("11,13,10,12", "14,13,10,12"), r"line 3: high 13 is below open 14"),
        (spoilt("11,13,10,12", "11,13,10,14"), r"line 3: high 13 is below close 14"),
        (spoilt("11,13,10,12", "9,13,10,12"), r"line 3: open 9 is below low 10"),
        (spoilt("11,13,10,12", "11,13,10,9"), r"line 3: close 9 is below low 10"),
        (spoilt("11,13,10,12", "11,13,10"), r"spot_ETHUSDT\.csv line 3: has 4 cells, not 5; is the file truncated"),
        (KLINES.replace("Open", "Close"), r'column "Close" stands twice; remove one'),
        ("Timestamp,Open,High,Low,Close\n2024-01-01,1,1,1,1\n", r"line 2: one row does not tell how long it covers"),
        (
            "Timestamp,Open,High,Low,Close\n1711688400000,1,1,1,1\n171169200000,1,1,1,1\n",
            r'line 3: Timestamp is "171169200000", not a time',
        ),
        ("a,b\n1,2\n", r"is not a file of binance \(it begins with a, b\); leave it out, or use"),
    ],
)
def test_bad_klines_are_refused_with_their_place_and_nothing_is_written(tmp_path: Path, text: str, message: str) -> None:
    good = import_files("binance", [write(tmp_path, "perp_ETHUSDT.csv", KLINES)], tmp_path / "set", Request()).dataset
    before = {file: file.read_bytes() for file in (tmp_path / "set").rglob("*") if file.is_file()}
    bad = write(tmp_path, "spot_ETHUSDT.csv", text)
    with pytest.raises(DataError, match=message):
        import_files("binance", [bad], tmp_path / "set", Request())
    with pytest.raises(DataError, match=message):
        import_files("binance", [bad], tmp_path / "new", Request())
    assert {file: file.read_bytes() for file in (tmp_path / "set").rglob("*") if file.is_file()} == before
    assert open_dataset(tmp_path / "set").hash == good.hash
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("symbol,Timestamp,Rate\nETHUSDT,2024-01-01,\n", r"f\.csv line 2: rate is nan; a funding event needs its rate"),
        ("symbol,Timestamp,Rate\nETHUSDT,2024-01-01,1.5\n", r"line 2: rate is 1.5; it must be a fraction below 1; is it in percent"),
        ("symbol,Timestamp,Rate,markPrice\nETHUSDT,2024-01-01,0.1,0\n", r"line 2: mark_price is 0; it must be above 0"),
        ("symbol,Timestamp,Rate\nETHUSDT,2024-01-01 00:00:00.002,0\nETHUSDT,2024-01-01 00:00:00.004,0\n", "line 3: time .* stands twice"),
        ("symbol,Rate\nETHUSDT,0.1\n", 'column "timestamp or fundingtime or calctime" is missing'),
        ("calc_time,funding_interval_hours,last_funding_rate\n1704067200003,0,0.0001\n", "line 2: interval_hours is 0; it must be above 0"),
    ],
)
def test_bad_funding_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse(write(tmp_path, "f.csv", text), symbol="ETHUSDT")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ETHUSDT.csv", "its name does not say what it holds; begin it with spot or perp"),
        ("spot.csv", "its name has no symbol; give one, such as --symbol ETHUSDT"),
        ("spot_ETHXYZ.csv", "its name has no symbol"),
        ("markPriceKlines/perp_ETHUSDT.csv", "ETHUSDT-PERP: mark, mark_high, mark_low from .* have no bars to stand beside"),
        ("perp_ETHUSDT_indexprice.csv", "ETHUSDT-PERP: index from .* have no bars to stand beside; import its klines"),
    ],
)
def test_a_file_whose_name_does_not_tell_what_it_is_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse(write(tmp_path, name, KLINES))


def test_contradicting_symbols_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"its name says ETHUSDT and --symbol says BTCUSDT; import the files of one symbol at a time"):
        parse(write(tmp_path, "spot_ETHUSDT.csv", KLINES), symbol="BTCUSDT")
    two = write(tmp_path, "funding.csv", "symbol,Timestamp,Rate\nBTCUSDT,2024-01-01,0.0001\nETHUSDT,2024-01-01,0.0001\n")
    with pytest.raises(DataError, match=r"its name has no symbol \(the other files speak of BTCUSDT, ETHUSDT\)"):
        parse(write(tmp_path, "spot.csv", KLINES), two)
    with pytest.raises(DataError, match='symbol "XYZ": its quote currency is not one of USDT'):
        assumed_instrument("XYZ", Kind.SPOT)
    with pytest.raises(DataError, match=r'symbol "ethusdt": .*; did you mean ETHUSDT'):
        assumed_instrument("ethusdt", Kind.SPOT)


@pytest.mark.parametrize(("past", "now", "kept"), [(1, 10, 10), (10, 1, 10), (10, 10, 10), (1, 1, 1), (0.1, 1, 0.1)])
def test_a_contract_value_that_one_side_knows_is_taken(past: float, now: float, kept: float) -> None:
    one = assumed_instrument("ETHUSD", Kind.PERPETUAL)
    (merged,) = merge_instruments([replace(one, multiplier=past)], [replace(one, multiplier=now)])
    assert merged.multiplier == kept


def test_contract_values_that_contradict_are_refused() -> None:
    one = assumed_instrument("ETHUSD", Kind.PERPETUAL)
    with pytest.raises(
        DataError, match=r"ETHUSD-PERP: multiplier is 10\.0 and 100\.0; an instrument has one; import one of the two sources"
    ):
        merge_instruments([one], [replace(one, multiplier=100.0)])


def test_bars_that_all_end_after_delivery_are_another_contracts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"every bar ends after delivery of ETHUSDT-230929 at 2023-09-29T08:00Z; is it another contract"):
        parse(write(tmp_path, "ETHUSDT_230929.csv", KLINES))


def test_a_future_whose_delivery_nobody_knows_is_refused(tmp_path: Path) -> None:
    specs = write(tmp_path, "specs.csv", SPECS.replace("1711699200000", "4133404800000"))
    with pytest.raises(DataError, match=r"ETHUSDT-240329: is a dated future without a known expiry, .* import its contract specs too"):
        parse(write(tmp_path, "ETHUSDT_240329.csv", KLINES), specs)


def test_bad_specs_are_refused(tmp_path: Path) -> None:
    broken = write(tmp_path, "specs.csv", SPECS.replace('"[]"', "soon"))
    with pytest.raises(DataError, match=r"specs\.csv line 3: filters are not a list of trading rules"):
        parse(broken)
    other = write(tmp_path, "other.csv", SPECS.replace("'0.01'", "'0.05'"))
    with pytest.raises(DataError, match=r"ETHUSDT-PERP: tick is 0\.01 and 0\.05; an instrument has one"):
        parse(write(tmp_path, "specs.csv", SPECS), other)
    with pytest.raises(DataError, match=r'specs\.csv: column "onboardDate" is missing'):
        parse(write(tmp_path, "specs.csv", SPECS.replace("onboardDate", "onboard")))


def test_files_that_are_not_there_or_not_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.csv: there is no such file; check the name"):
        parse(tmp_path / "no.csv")
    (tmp_path / "zip.csv").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(DataError, match=r"zip\.csv: is not a file of binance, nor text in UTF-8; leave it out, or unpack or convert it"):
        parse(tmp_path / "zip.csv")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"none: the folder has no file that ends in \.csv, \.json"):
        import_files("binance", [tmp_path / "none"], tmp_path / "set", Request())
