"""Binance's archive and API as they come: zip archives in their folders, coin-margined contracts, derived klines, metrics, exchangeInfo."""

import io
import json
import zipfile
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from vendor_files import write

from backtest.data.importers import ImportReport, common, import_files
from backtest.data.importers.binance_specs import assumed_instrument
from backtest.data.importers.common import Request
from backtest.errors import DataError
from backtest.instruments import Kind, Settle

NAMES = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n"
HOUR = 3_600_000
JANUARY = pd.Timestamp("2024-01-01", tz="UTC")


def klines(first: str | pd.Timestamp = JANUARY, count: int = 3, unit: int = 1, level: float = 2000.0, header: bool = False) -> str:
    """Hourly klines whose close is the level and a hundredth of their number; volumes 7 and 70, of which 3 and 30 were bought."""
    begin = int(pd.Timestamp(first).timestamp() * 1000)
    rows = [
        f"{(begin + row * HOUR) * unit},{level},{level + 3},{level - 1},{level + row / 100},7,{(begin + (row + 1) * HOUR) * unit - 1},70,12,3,30,0\n"
        for row in range(count)
    ]
    return (NAMES if header else "") + "".join(rows)


def packed(members: dict[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return held.getvalue()


def imported(*files: Path, vendor: str = "auto", **more: object) -> ImportReport:
    """What files become in a dataset of their own."""
    into = files[0].parent / "sets"
    return import_files(vendor, files, into / str(len(list(into.glob("*")))), Request(**more))  # type: ignore[arg-type]


# --- archives --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "symbol", "key"),
    [
        ("spot", "ETHUSDT", "ETHUSDT-SPOT"),
        ("futures/um", "ETHUSDT", "ETHUSDT-PERP"),
        ("futures/um", "ETHUSDT_240329", "ETHUSDT-240329"),
        ("futures/cm", "ETHUSD_PERP", "ETHUSD-PERP"),
        ("futures/cm", "ETHUSD_240329", "ETHUSD-240329"),
        ("spot", "PERPUSDT", "PERPUSDT-SPOT"),
        ("spot", "INDEXUSDT", "INDEXUSDT-SPOT"),
        ("futures/um", "1000SHIBUSDT", "1000SHIBUSDT-PERP"),
        ("futures/um", "ETHUSDC", "ETHUSDC-PERP"),
    ],
)
@pytest.mark.parametrize("header", [True, False])
def test_the_archive_s_folders_and_names_tell_the_instrument(tmp_path: Path, folder: str, symbol: str, key: str, header: bool) -> None:
    name = f"{symbol}-1h-2024-01"
    place = f"data/{folder}/monthly/klines/{symbol}/1h/{name}.zip"
    write(tmp_path, place, packed({f"{name}.csv": klines(header=header)}))
    write(tmp_path, f"{place}.CHECKSUM", f"{'0' * 64}  {name}.zip\n")
    report = imported(tmp_path / "data")
    bars = report.dataset.bars(key)
    assert bars.index.tolist() == [JANUARY + pd.Timedelta(hours=hour) for hour in (1, 2, 3)]
    assert bars["close"].tolist() == [2000.0, 2000.01, 2000.02]
    assert list(report.taken_for.values()) == ["Binance klines"]


def test_the_nearest_of_the_archive_s_folders_counts(tmp_path: Path) -> None:
    """A user may keep the archive in folders that are called like parts of it."""
    file = write(tmp_path, "spot/index/premium/data/futures/um/daily/klines/ETHUSDT/1h/ETHUSDT-1h-2024-01-01.csv", klines())
    assert list(imported(file).dataset.instruments) == ["ETHUSDT-PERP"]


def test_an_archive_of_several_months_and_what_lies_beside_them(tmp_path: Path) -> None:
    inner = packed({"ETHUSDT-1h-2024-03.csv": klines("2024-03-01T00Z", 1)})
    members: dict[str, str | bytes] = {
        "data/spot/ETHUSDT-1h-2024-02.csv": klines("2024-02-01T00Z", 2),
        "data/spot/ETHUSDT-1h-2024-01.csv": klines(),
        "data/spot/ETHUSDT-1h-2024-03.zip": inner,
        "__MACOSX/data/spot/._ETHUSDT-1h-2024-01.csv": b"\0\5\x16\7",
        "data/spot/._ETHUSDT-1h-2024-01.csv": b"\0\5\x16\7",
        ".DS_Store": b"\0",
        "data/spot/ETHUSDT-1h-2024-01.zip.CHECKSUM": "0",
        "readme.txt": "klines",
    }
    report = imported(write(tmp_path, "all.zip", packed(members)))
    assert [(line.source.path.name, line.kept) for line in report.lines] == [
        ("ETHUSDT-1h-2024-02.csv", 2), ("ETHUSDT-1h-2024-01.csv", 3), ("ETHUSDT-1h-2024-03.csv", 1),
    ]  # fmt: skip
    assert report.dataset.bars("ETHUSDT-SPOT").index[[0, -1]].tolist() == [
        JANUARY + pd.Timedelta("1h"), pd.Timestamp("2024-03-01T01:00Z"),
    ]  # fmt: skip


def test_checksums_that_are_named_are_passed_over_and_alone_they_are_nothing(tmp_path: Path) -> None:
    file = write(tmp_path, "spot_ETHUSDT.zip", packed({"spot_ETHUSDT.csv": klines()}))
    checksum = write(tmp_path, "spot_ETHUSDT.zip.CHECKSUM", f"{'0' * 64}  spot_ETHUSDT.zip\n")
    assert len(imported(file, checksum).dataset.bars("ETHUSDT-SPOT")) == 3
    with pytest.raises(DataError, match=r"spot_ETHUSDT\.zip\.CHECKSUM: is not a file of any vendor known here"):
        imported(checksum)


def test_hidden_files_of_a_folder_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "in/._spot_ETHUSDT.csv", b"\0\5\x16\7")
    write(tmp_path, "in/spot_ETHUSDT.csv", klines())
    assert list(imported(tmp_path / "in").taken_for) == [str(tmp_path / "in" / "spot_ETHUSDT.csv")]


def test_a_file_that_was_unpacked_on_its_way_keeps_its_name(tmp_path: Path) -> None:
    assert len(imported(write(tmp_path, "spot_ETHUSDT.csv.gz", klines().encode())).dataset.bars("ETHUSDT-SPOT")) == 3


# --- units and lengths -----------------------------------------------------------------------------------


def test_microseconds_from_2025_beside_milliseconds_of_2024(tmp_path: Path) -> None:
    write(tmp_path, "in/data/spot/ETHUSDT-1h-2024-12.csv", klines("2024-12-31T21:00Z", 3))
    write(tmp_path, "in/data/spot/ETHUSDT-1h-2025-01.csv", klines("2025-01-01T00Z", 3, unit=1000))
    bars = imported(tmp_path / "in").dataset.bars("ETHUSDT-SPOT")
    assert bars.index.equals(pd.date_range("2024-12-31T22:00Z", "2025-01-01T03:00Z", freq="h").as_unit("ns"))


def test_months_have_their_own_lengths(tmp_path: Path) -> None:
    starts = pd.date_range("2024-01-01", "2025-01-01", freq="MS", tz="UTC")
    stamps = [int(start.timestamp() * 1000) for start in starts]
    rows = [f"{one},10,12,9,11,7,{other - 1},70,12,3,30,0\n" for one, other in pairwise(stamps)]
    bars = imported(write(tmp_path, "spot_ETHUSDT_1mo.csv", "".join(rows))).dataset.bars("ETHUSDT-SPOT")
    assert bars.index.tolist() == starts[1:].tolist()


def test_a_bar_that_was_closed_early_ends_with_its_time(tmp_path: Path) -> None:
    begin = int(JANUARY.timestamp() * 1000)
    text = klines().replace(f",{begin + 2 * HOUR - 1},", f",{begin + HOUR + 1000},")
    bars = imported(write(tmp_path, "spot_ETHUSDT.csv", text)).dataset.bars("ETHUSDT-SPOT")
    assert bars.index.tolist() == [JANUARY + pd.Timedelta(hours=hour) for hour in (1, 2, 3)]


@pytest.mark.parametrize(("close", "told"), [(5 * HOUR - 1, "14400 s"), (HOUR - 1, "0 s"), (0, "-3600 s")])
@pytest.mark.parametrize("block", [1 << 20, 100])
def test_a_bar_whose_close_time_can_t_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, close: int, told: str, block: int
) -> None:
    monkeypatch.setattr(common, "BLOCK", block)
    begin = int(JANUARY.timestamp() * 1000)
    text = klines().replace(f",{begin + 2 * HOUR - 1},", f",{begin + close},")
    with pytest.raises(DataError, match=rf"spot_ETHUSDT\.csv line 2: closes {told} after its start, other bars 3600 s; correct the row"):
        imported(write(tmp_path, "spot_ETHUSDT.csv", text))


# --- coin-margined contracts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "kind", "date", "settle", "multiplier"),
    [
        ("ETHUSD", Kind.PERPETUAL, None, Settle.INVERSE, 10.0),
        ("BTCUSD", Kind.PERPETUAL, None, Settle.INVERSE, 100.0),
        ("ETHUSD", Kind.FUTURE, "240329", Settle.INVERSE, 10.0),
        ("BTCUSD", Kind.FUTURE, "240329", Settle.INVERSE, 100.0),
        ("BTCUSD", Kind.SPOT, None, Settle.LINEAR, 1.0),
        ("BTCUSDT", Kind.PERPETUAL, None, Settle.LINEAR, 1.0),
        ("BTCBUSD", Kind.PERPETUAL, None, Settle.LINEAR, 1.0),
    ],
)
def test_what_a_symbol_tells_of_its_contract(symbol: str, kind: Kind, date: str | None, settle: Settle, multiplier: float) -> None:
    one = assumed_instrument(symbol, kind, date)
    assert (one.settle, one.multiplier) == (settle, multiplier)


def test_the_volume_of_a_coin_margined_kline_is_in_coins(tmp_path: Path) -> None:
    bars = imported(write(tmp_path, "ETHUSD_PERP-1h-2024-01.csv", klines())).dataset.bars("ETHUSD-PERP")
    assert bars.iloc[0].drop(["open", "high", "low", "close"]).to_dict() == {"volume": 70, "taker_buy_volume": 30, "trades": 12}


def test_funding_of_a_coin_margined_contract(tmp_path: Path) -> None:
    text = "calc_time,funding_interval_hours,last_funding_rate\n1704067200003,8,0.0001\n"
    one = imported(write(tmp_path, "ETHUSD_PERP-fundingRate-2024-01.csv", text)).dataset.instruments["ETHUSD-PERP"]
    assert (one.kind, one.settle, one.multiplier) == (Kind.PERPETUAL, Settle.INVERSE, 10.0)


# --- funding, derived prices, metrics --------------------------------------------------------------------


@pytest.mark.parametrize("hours", [8, 4, 1])
def test_bulk_funding_at_each_interval(tmp_path: Path, hours: int) -> None:
    begin = int(JANUARY.timestamp() * 1000)
    rows = [f"{begin + row * hours * HOUR + row},{hours},{row / 10000:.8f}\n" for row in range(5)]
    text = "calc_time,funding_interval_hours,last_funding_rate\n" + "".join(rows)
    name = "ETHUSDT-fundingRate-2024-01"
    write(tmp_path, f"data/futures/um/monthly/fundingRate/ETHUSDT/{name}.zip", packed({f"{name}.csv": text}))
    funding = imported(tmp_path / "data").dataset.funding("ETHUSDT-PERP")
    assert funding.index.tolist() == [JANUARY + pd.Timedelta(hours=hours * row) for row in range(5)]
    assert funding["rate"].tolist() == [0, 0.0001, 0.0002, 0.0003, 0.0004]
    assert set(funding["interval_hours"]) == {hours}


def test_derived_klines_stand_beside_the_bars_of_trades(tmp_path: Path) -> None:
    root = "data/futures/um/monthly"
    for kind, level, count in (
        ("klines", 2000.0, 3),
        ("markPriceKlines", 2001.0, 5),
        ("indexPriceKlines", 2002.0, 2),
        ("premiumIndexKlines", 0.5, 4),
    ):
        write(tmp_path, f"{root}/{kind}/ETHUSDT/1h/ETHUSDT-1h-2024-01.csv", klines(count=count, level=level))
    report = imported(tmp_path / "data")
    bars = report.dataset.bars("ETHUSDT-PERP")
    assert bars[["mark", "mark_high", "mark_low"]].iloc[-1].tolist() == [2001.02, 2004, 2000]
    assert bars["index"].isna().tolist() == [False, False, True]
    assert bars["index"].tolist()[:2] == [2002.0, 2002.01]
    premium = report.dataset.series("ETHUSDT-PERP.premium_index")
    assert premium["value"].tolist() == [0.5, 0.51, 0.52, 0.53]
    assert (premium["known_at"] == premium["ts"]).all()
    assert premium["ts"].iloc[0] == JANUARY + pd.Timedelta("1h")
    assert report.notes == ["ETHUSDT-PERP: 2 mark, index or other rows stood beside no bar and were left out"]
    assert sorted(report.taken_for.values()) == [
        "Binance index price klines", "Binance klines", "Binance mark price klines", "Binance premium index klines",
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "column"), [("mark", "mark"), ("markPrice", "mark"), ("index_price", "index")])
def test_a_name_tells_derived_klines_too(tmp_path: Path, name: str, column: str) -> None:
    bars = write(tmp_path, "perp_ETHUSDT.csv", klines())
    derived = write(tmp_path, f"perp_ETHUSDT_{name}.csv", klines(level=2001.0))
    assert imported(bars, derived).dataset.bars("ETHUSDT-PERP")[column].tolist() == [2001, 2001.01, 2001.02]


METRICS = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio\n"
    "2024-01-01 00:05:00,ETHUSDT,1000.5,2301000.25,1.5,1.25,1.75,0.9\n"
    "2024-01-01 00:10:00,ETHUSDT,1001.5,2302000.25,,1.26,1.76,1.1\n"
)


def test_metrics_become_series(tmp_path: Path) -> None:
    report = imported(write(tmp_path, "ETHUSDT-metrics-2024-01-01.zip", packed({"ETHUSDT-metrics-2024-01-01.csv": METRICS})))
    found = {name.removeprefix("ETHUSDT-PERP."): report.dataset.series(name)["value"].tolist() for name in report.dataset.series_names}
    assert found == {
        "open_interest": [1000.5, 1001.5], "open_interest_value": [2301000.25, 2302000.25], "top_trader_account_ratio": [1.5],
        "top_trader_position_ratio": [1.25, 1.26], "long_short_ratio": [1.75, 1.76], "taker_long_short_ratio": [0.9, 1.1],
    }  # fmt: skip
    series = report.dataset.series("ETHUSDT-PERP.open_interest")
    assert series["ts"].tolist() == [JANUARY + pd.Timedelta(minutes=minute) for minute in (5, 10)]
    assert report.notes == ["1 rows have no value and were left out"]


def test_metrics_whose_times_go_backwards_or_are_of_1970_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"metrics\.csv line 3: time 2024-01-01T00:04Z comes after 2024-01-01T00:05Z; .* sort the rows"):
        imported(write(tmp_path, "ETHUSDT-metrics.csv", METRICS.replace("00:10", "00:04")))
    with pytest.raises(DataError, match=r"metrics\.csv line 2: time is 1970-01-01T00:05Z; times must lie between 2000 and 2100"):
        imported(write(tmp_path, "ETHUSDT-metrics.csv", METRICS.replace("2024", "1970")))


# --- exchangeInfo ----------------------------------------------------------------------------------------


def answer(*symbols: dict[str, object]) -> dict[str, object]:
    return {"timezone": "UTC", "serverTime": 1704067200000, "rateLimits": [], "exchangeFilters": [], "symbols": list(symbols)}


def rules(**more: dict[str, str]) -> list[dict[str, str]]:
    limits = {"PRICE_FILTER": {"tickSize": "0.01000000"}, "LOT_SIZE": {"stepSize": "0.00010000"}, **more}
    return [{"filterType": kind, **facts} for kind, facts in limits.items()]


SPOT = {
    "symbol": "ETHUSDT",
    "status": "TRADING",
    "baseAsset": "ETH",
    "quoteAsset": "USDT",
    "filters": rules(NOTIONAL={"minNotional": "5.0"}),
}
CONTRACT = {
    "symbol": "ETHUSDT", "pair": "ETHUSDT", "contractType": "PERPETUAL", "deliveryDate": 4133404800000, "onboardDate": 1569398400000,
    "baseAsset": "ETH", "quoteAsset": "USDT", "marginAsset": "USDT", "filters": rules(MIN_NOTIONAL={"notional": "20"}),
}  # fmt: skip
COIN = {
    "symbol": "ETHUSD_240329", "pair": "ETHUSD", "contractType": "CURRENT_QUARTER", "deliveryDate": 1711699200000, "onboardDate": 1695974400000,
    "contractSize": 10, "baseAsset": "ETH", "quoteAsset": "USD", "marginAsset": "ETH", "filters": rules(),
}  # fmt: skip


def test_saved_answers_to_exchange_info_give_facts(tmp_path: Path) -> None:
    write(tmp_path, "in/spot.json", json.dumps(answer(SPOT, {**SPOT, "symbol": "ETHBTC", "quoteAsset": "BTC"})))
    write(tmp_path, "in/um.json", json.dumps(answer(CONTRACT, {**CONTRACT, "symbol": "BTCUSDT", "pair": "BTCUSDT", "baseAsset": "BTC"})))
    write(tmp_path, "in/cm.json", json.dumps(answer(COIN), indent=1))
    for name in ("spot_ETHUSDT", "perp_ETHUSDT", "ETHUSD_240329"):
        write(tmp_path, f"in/{name}.csv", klines())
    report = imported(tmp_path / "in")
    one = report.dataset.instruments
    assert list(one) == ["ETHUSD-240329", "ETHUSDT-PERP", "ETHUSDT-SPOT"]
    assert [(each.tick, each.lot, each.min_notional) for each in one.values()] == [
        (0.01, 0.0001, None),
        (0.01, 0.0001, 20),
        (0.01, 0.0001, 5),
    ]
    assert (one["ETHUSD-240329"].settle, one["ETHUSD-240329"].multiplier) == (Settle.INVERSE, 10)
    assert one["ETHUSD-240329"].expires_at == pd.Timestamp("2024-03-29T08:00Z")
    assert one["ETHUSD-240329"].listed_at == pd.Timestamp("2023-09-29T08:00Z")
    assert (one["ETHUSDT-PERP"].expires_at, one["ETHUSDT-PERP"].settle, one["ETHUSDT-PERP"].multiplier) == (None, Settle.LINEAR, 1)
    assert (one["ETHUSDT-SPOT"].kind, one["ETHUSDT-SPOT"].listed_at) == (Kind.SPOT, None)
    assert report.notes == ["specs without data, left out: BTCUSDT-PERP"]
    assert sorted(report.taken_for.values()) == ["Binance contract specs"] * 3 + ["Binance klines"] * 3


def test_a_contract_value_comes_from_the_specs(tmp_path: Path) -> None:
    specs = write(tmp_path, "cm.json", json.dumps(answer({**COIN, "contractSize": 25})))
    assert imported(specs, write(tmp_path, "ETHUSD_240329.csv", klines())).dataset.instruments["ETHUSD-240329"].multiplier == 25


def test_specs_of_thousands_of_others_are_counted(tmp_path: Path) -> None:
    others = [{**SPOT, "symbol": f"A{number:02}USDT", "baseAsset": f"A{number:02}"} for number in range(30)]
    report = imported(write(tmp_path, "spot.json", json.dumps(answer(SPOT, *others))), write(tmp_path, "spot_ETHUSDT.csv", klines()))
    (note,) = report.notes
    assert note.startswith("specs without data, left out: A00USDT-SPOT, A01USDT-SPOT, ")
    assert note.endswith(", A11USDT-SPOT and 18 more")


@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        (
            {name: value for name, value in CONTRACT.items() if name != "marginAsset"},
            r'info\.json record 2: "marginAsset" is missing; ask for',
        ),
        ({**CONTRACT, "deliveryDate": 1711699200}, r'record 2: deliveryDate is "1711699200", not a time .* it looks like s among ms'),
        ({**CONTRACT, "onboardDate": None}, r"record 2: onboardDate is None, not a time in ms; ask for the exchangeInfo again"),
        ({**CONTRACT, "filters": ["PRICE_FILTER"]}, r"record 2: filters are not a list of trading rules"),
    ],
)
def test_a_bad_answer_is_refused_with_its_place(tmp_path: Path, symbol: dict[str, object], message: str) -> None:
    file = write(tmp_path, "info.json", json.dumps(answer(SPOT, symbol)))
    with pytest.raises(DataError, match=message):
        imported(file, write(tmp_path, "spot_ETHUSDT.csv", klines()))


def test_an_answer_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "info.json", json.dumps(answer(SPOT, CONTRACT))[:-30])
    with pytest.raises(DataError, match=r"info\.json: is not JSON \(.*\); is it truncated\? download it again"):
        imported(file, write(tmp_path, "spot_ETHUSDT.csv", klines()))
