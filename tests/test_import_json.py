"""The importers of JSON answers: every real file against a plain reading of it, each wrapping, and what each venue's fields mean."""

import gzip
import json
from pathlib import Path
from typing import Any

import json_answers as answers
import numpy as np
import pandas as pd
import pytest
from json_answers import HOUR, save

from backtest.data import importers
from backtest.data.importers import ImportReport, import_files
from backtest.data.importers.common import Request
from backtest.instruments import Instrument, Kind, Settle

VENUES = ("hyperliquid", "bybit", "okx", "dydx", "kraken", "bitmex", "deribit")
SAMPLES = "vendor-samples"


def take(folder: Path, *files: Path, symbol: str | None = None, bar: str = "1min") -> ImportReport:
    return import_files("auto", files, folder / "set", Request(symbol=symbol, bar=pd.Timedelta(bar)))


def ms(time: int | str) -> pd.Timestamp:
    return pd.Timestamp(int(time), unit="ms", tz="UTC")


# --- the real files --------------------------------------------------------------------------------------


def test_hyperliquid_funding_history(raw: Path, tmp_path: Path) -> None:
    """All 12,192 rates at the hour that they are paid for: 30 stamps are half a second late or more, one by 111 s."""
    file = raw / "hyperliquid-eth" / "hl_ETH_funding_rates.json"
    theirs = json.loads(file.read_text())
    report = take(tmp_path, file)
    ours = report.dataset.funding("ETHUSD-PERP.hyperliquid")
    assert len(ours) == len(theirs) == 12_192
    assert list(ours.index) == [ms(row["time"] // HOUR * HOUR) for row in theirs]
    assert ours["rate"].tolist() == [float(row["funding_rate"]) for row in theirs]
    assert ours["premium"].tolist() == [float(row["premium"]) for row in theirs]
    assert (ours["interval_hours"] == 1).all()
    assert ours["mark_price"].isna().all()
    assert (ours.index[0], ours.index[-1]) == (pd.Timestamp("2024-01-01T00:00Z"), pd.Timestamp("2025-12-28T23:00Z"))
    assert max(row["time"] % HOUR for row in theirs) == 110_963
    assert report.taken_for == {str(file): "Hyperliquid funding rates"}
    assert "settles in USDC" in report.notes[0]


def test_hyperliquid_order_book_summaries(raw: Path, tmp_path: Path) -> None:
    file = raw / "hyperliquid-eth" / "hl_ETH_l2_book.jsonl"
    theirs = sorted((json.loads(line) for line in file.read_text().splitlines()), key=lambda row: row["timestamp"])
    report = take(tmp_path, file)
    for name, field, scale in (("spread", "spread_bps", 1e-4), ("depth_50bps", "depth_50bps", 1.0), ("mid", "mid_price", 1.0)):
        ours = report.dataset.series(f"ETHUSD-PERP.hyperliquid.{name}")
        assert len(ours) == len(theirs) == 2737
        assert list(ours["ts"]) == list(ours["known_at"]) == [pd.Timestamp(row["timestamp"]) for row in theirs]
        assert ours["value"].tolist() == [row[field] * scale for row in theirs]


def test_hyperliquid_sample_lacks_a_premium(raw: Path, tmp_path: Path) -> None:
    ours = take(tmp_path, raw / SAMPLES / "hyperliquid" / "http_funding_history.json").dataset.funding("BTCUSD-PERP.hyperliquid")
    assert ours["rate"].tolist() == [0.0000125, -0.0000081, 0.0000033]
    assert ours["premium"].tolist()[:2] == [0.00029005, -0.000125]
    assert np.isnan(ours["premium"].iloc[2])
    assert (ours.index[0], ours.index[-1]) == (ms(1769908800000), ms(1769916000000))


@pytest.mark.parametrize(
    ("file", "symbol", "key", "rows", "rate", "time", "hours"),
    [
        ("bybit/http_get_funding_history.json", None, "BTCUSDT-PERP.bybit", "result/list", "fundingRate", "fundingRateTimestamp", 8),
        ("okx/http_get_funding_rate_history.json", None, "BTCUSDT-PERP.okx", "data", "realizedRate", "fundingTime", 8),
        ("dydx/http_get_historical_funding.json", None, "BTCUSD-PERP.dydx", "result/historicalFunding", "rate", "effectiveAt", 1),
        (
            "kraken/http_futures_historical_funding_rates.json",
            "PF_XBTUSD",
            "BTCUSD-PERP.kraken",
            "rates",
            "relativeFundingRate",
            "timestamp",
            8,
        ),
        ("bitmex/ws_funding_rate.json", None, "BTCUSD-PERP.bitmex", "", "fundingRate", "timestamp", 8),
    ],
)
def test_sampled_funding(
    raw: Path, tmp_path: Path, file: str, symbol: str | None, key: str, rows: str, rate: str, time: str, hours: int
) -> None:
    theirs: Any = json.loads((raw / SAMPLES / file).read_text())
    for name in rows.split("/") if rows else ():
        theirs = theirs[name]
    theirs = theirs if isinstance(theirs, list) else [theirs]
    times = [ms(row[time]) if row[time].isdigit() else pd.Timestamp(row[time]) for row in theirs]
    ours = take(tmp_path, raw / SAMPLES / file, symbol=symbol).dataset.funding(key)
    assert len(ours) == len(theirs)
    assert list(ours.index) == sorted(when.floor("h") for when in times)
    assert ours["rate"].tolist() == [float(row[rate]) for row in reversed(theirs)]
    assert (ours["interval_hours"] == hours).all()


def test_dydx_pays_on_the_oracle_price(raw: Path, tmp_path: Path) -> None:
    ours = take(tmp_path, raw / SAMPLES / "dydx" / "http_get_historical_funding.json").dataset.funding("BTCUSD-PERP.dydx")
    assert ours["oracle_price"].tolist() == ours["mark_price"].tolist() == [91459.59191, 90860.48604, 89993.8]


def test_bybit_klines_sample(raw: Path, tmp_path: Path) -> None:
    """The one bar was asked for 50 ms after its start and says so; its length is the user's word."""
    report = take(tmp_path, raw / SAMPLES / "bybit" / "http_get_klines_linear.json", bar="1h")
    ours = report.dataset.bars("BTCUSDT-PERP.bybit")
    assert ours.iloc[0].to_dict() == {
        "open": 27450, "high": 27460, "low": 27440, "close": 27455, "volume": 123.45, "quote_volume": 3390000,
    }  # fmt: skip
    assert list(ours.index) == [ms(1709891679000) + pd.Timedelta("1h")]
    assert "which was taken as 1 h; say otherwise with --bar" in report.notes[0]
    assert "its bar ending 2024-03-08T10:54:39Z was not finished when it was asked for; import it again" in report.notes[1]


def test_bybit_instruments_samples(raw: Path, tmp_path: Path) -> None:
    """A perpetual's deliveryTime means nothing."""
    report = take(tmp_path, raw / SAMPLES / "bybit")
    found = report.dataset.instruments
    theirs = json.loads((raw / SAMPLES / "bybit" / "http_get_instruments_linear.json").read_text())["result"]["list"]
    for row in theirs:
        assert found[f"{row['symbol']}-PERP.bybit"] == Instrument(
            id=f"{row['symbol']}-PERP.bybit", venue="bybit", kind=Kind.PERPETUAL, base=row["baseCoin"], quote="USDT",
            tick=float(row["priceFilter"]["tickSize"]), lot=float(row["lotSizeFilter"]["qtyStep"]), min_notional=5.0,
            listed_at=ms(row["launchTime"]),
        )  # fmt: skip
    inverse = found["BTCUSD-PERP.bybit"]
    assert (inverse.settle, inverse.multiplier, inverse.lot, inverse.min_notional, inverse.expires_at) == (Settle.INVERSE, 1, 1, 1, None)
    assert len(found) == 3


def test_okx_candlesticks_sample(raw: Path, tmp_path: Path) -> None:
    """Two candles: the last was not finished; the contracts are told, but neither of the volumes."""
    report = take(tmp_path, raw / SAMPLES / "okx" / "http_get_candlesticks.json", symbol="BTC-USDT-SWAP")
    ours = report.dataset.bars("BTCUSDT-PERP.okx")
    assert ours.iloc[0].to_dict() == {"open": 33528.6, "high": 33870, "low": 33528.6, "close": 33783.9}
    assert list(ours.index) == [ms(1625097600000) + pd.Timedelta("1min")]
    assert [(line.kept, line.cut) for line in report.lines] == [(1, 1)]
    assert "1 bars were not finished and were left out" in report.notes


def test_okx_instruments_samples(raw: Path, tmp_path: Path) -> None:
    files = [raw / SAMPLES / "okx" / f"http_get_instruments_{kind}.json" for kind in ("swap", "futures")]
    found = take(tmp_path, *files).dataset.instruments
    theirs = [row for file in files for row in json.loads(file.read_text())["data"]]
    assert len(found) == len(theirs)
    for row in theirs:
        base, quote, rest = row["instId"].split("-")
        one = found[f"{base}{quote}-{'PERP' if rest == 'SWAP' else rest}.okx"]
        assert one.settle == row["ctType"]
        assert one.multiplier == float(row["ctVal"])
        assert one.tick == float(row["tickSz"])
        assert one.lot == pytest.approx(float(row["lotSz"]) * (1 if row["ctType"] == "inverse" else float(row["ctVal"])), rel=1e-15)
        assert one.min_notional == (100.0 if row["ctType"] == "inverse" else None)
        assert one.listed_at == ms(row["listTime"])
        assert one.expires_at == (ms(row["expTime"]) if row["expTime"] else None)


def test_deribit_instruments_sample(raw: Path, tmp_path: Path) -> None:
    report = take(tmp_path, raw / SAMPLES / "deribit" / "http_get_instruments.json")
    found = report.dataset.instruments
    assert set(found) == {"BTCUSD-PERP.deribit", "BTCUSD-241227.deribit"}
    future = Instrument(
        id="BTCUSD-241227.deribit", venue="deribit", kind=Kind.FUTURE, base="BTC", quote="USD", settle=Settle.INVERSE, multiplier=10.0,
        tick=0.5, lot=1.0, min_notional=10.0, listed_at=ms(1719561600000), expires_at=ms(1735300800000),
    )  # fmt: skip
    assert found["BTCUSD-241227.deribit"] == future
    assert found["BTCUSD-PERP.deribit"].expires_at is None
    assert "2 options, combinations or contracts of a kind that can't be imported were left out" in report.notes[0]


def test_deribit_chart_sample(raw: Path, tmp_path: Path) -> None:
    """Ticks are starts: the bar of 09:51 is known at 09:52."""
    file = raw / SAMPLES / "deribit" / "http_get_tradingview_chart_data.json"
    theirs = json.loads(file.read_text())["result"]
    ours = take(tmp_path, file, symbol="BTC-PERPETUAL").dataset.bars("BTCUSD-PERP.deribit")
    assert list(ours.index) == [ms(tick) + pd.Timedelta("1min") for tick in theirs["ticks"]]
    for name, field in (
        ("open", "open"),
        ("high", "high"),
        ("low", "low"),
        ("close", "close"),
        ("volume", "volume"),
        ("quote_volume", "cost"),
    ):
        assert ours[name].tolist() == theirs[field]
    assert ours.index[0] == pd.Timestamp("2025-12-23T09:52Z")


def test_deribit_trades_sample(raw: Path, tmp_path: Path) -> None:
    """Ten trades in forty seconds: two whole bars of ten seconds, amounts in USD made ETH; no whole minute."""
    file = raw / SAMPLES / "deribit" / "http_get_last_trades.json"
    theirs = json.loads(file.read_text())["result"]["trades"]
    ours = take(tmp_path, file, bar="10s").dataset.bars("ETHUSD-PERP.deribit")
    ends = [pd.Timestamp("2025-12-21T15:47:40Z"), pd.Timestamp("2025-12-21T15:47:50Z")]
    assert list(ours.index) == ends
    for end in ends:
        inside = [row for row in theirs if end - pd.Timedelta("10s") < ms(row["timestamp"]) <= end]
        assert ours.loc[end, "volume"] == pytest.approx(sum(row["amount"] / row["price"] for row in inside), rel=1e-15)
        assert ours.loc[end, "trades"] == len(inside)
    report = take(tmp_path / "minutes", file)
    assert set(report.dataset.instruments) == {"ETHUSD-PERP.deribit"}
    assert "its 10 trades cover no whole bar of 1 min; import more of them, or give a shorter --bar" in report.notes[0]


def test_deribit_captures_samples(raw: Path, tmp_path: Path) -> None:
    found = take(tmp_path, raw / SAMPLES / "deribit" / "ws_ticker.json", raw / SAMPLES / "deribit" / "ws_quote.json").dataset
    ticker, quote = (
        json.loads((raw / SAMPLES / "deribit" / f"ws_{name}.json").read_text())["params"]["data"] for name in ("ticker", "quote")
    )
    for name in ("mark_price", "index_price", "open_interest", "funding_8h"):
        series = found.series(f"BTCUSD-PERP.deribit.{name.removesuffix('_price')}")
        assert series.iloc[0].tolist() == [ms(1765541474086), ms(1765541474086), ticker[name]]
    for side in ("bid", "ask"):
        values = found.series(f"BTCUSD-PERP.deribit.{side}")["value"].tolist()
        assert values == [ticker[f"best_{side}_price"], quote[f"best_{side}_price"]]
    assert found.series("BTCUSD-PERP.deribit.spread")["value"].iloc[1] == pytest.approx(0.5 / 92288.25, rel=1e-12)


def test_every_json_sample_imports_by_one_command(raw: Path, tmp_path: Path) -> None:
    files = sorted(file for venue in VENUES for file in (raw / SAMPLES / venue).iterdir())
    named = {"http_get_candlesticks": "BTC-USDT-SWAP", "http_futures": "PF_XBTUSD", "http_get_tradingview": "BTC-PERPETUAL"}
    for file in files:
        symbol = next((symbol for begin, symbol in named.items() if file.name.startswith(begin)), None)
        report = take(tmp_path / file.parent.name / file.stem, file, symbol=symbol)
        assert report.dataset.instruments
    assert len(files) == 17


# --- wrappings -------------------------------------------------------------------------------------------

WRAPPED = {
    "hyperliquid": (answers.hyperliquid(), (), "ETHUSD-PERP.hyperliquid"),
    "bybit": (answers.bybit(), ("result", "list"), "ETHUSDT-PERP.bybit"),
    "okx": (answers.okx(), ("data",), "ETHUSDT-PERP.okx"),
    "dydx": (answers.dydx(), ("historicalFunding",), "ETHUSD-PERP.dydx"),
    "kraken": (answers.kraken(), ("rates",), "ETHUSD-PERP.kraken"),
    "bitmex": (answers.bitmex(), (), "BTCUSD-PERP.bitmex"),
    "deribit": (answers.deribit(), ("result",), "ETHUSD-PERP.deribit"),
}
NAMED = {"kraken": "PF_ETHUSD", "deribit": "ETH-PERPETUAL"}


@pytest.mark.parametrize("venue", VENUES)
def test_an_answer_says_the_same_in_any_wrapping(tmp_path: Path, venue: str) -> None:
    """As it came, as the bare array, as lines of rows, as lines of overlapping pages, as an array of pages, in one line."""
    whole, path, key = WRAPPED[venue]
    rows: Any = whole
    for name in path:
        rows = rows[name]
    pages = [rows[:2], rows[1:]]
    for name in reversed(path):
        pages = [{**({} if name != path[0] else {k: v for k, v in whole.items() if k != name}), name: page} for page in pages]
    forms: dict[str, Any] = {
        "whole.json": whole,
        "bare.json": rows,
        "rows.jsonl": rows,
        "pages.jsonl": pages,
        "line.json": json.dumps(whole),
    }
    if path:
        forms["array.json"] = pages
    found = {}
    for name, content in forms.items():
        file = save(tmp_path, name, content)
        found[name] = take(tmp_path / f"of-{name}", file, symbol=NAMED.get(venue)).dataset.funding(key)
    assert len(found["whole.json"]) == 3
    for name, frame in found.items():
        pd.testing.assert_frame_equal(frame, found["whole.json"], obj=name)


def test_a_compressed_answer(tmp_path: Path) -> None:
    packed = tmp_path / "packed.json.gz"
    packed.write_bytes(gzip.compress(json.dumps(answers.okx()).encode()))
    assert len(take(tmp_path, packed).dataset.funding("ETHUSDT-PERP.okx")) == 3


@pytest.mark.parametrize("venue", VENUES)
def test_a_file_longer_than_its_head_is_recognised(tmp_path: Path, venue: str) -> None:
    make = getattr(answers, venue)
    whole = make(700)
    text = json.dumps(whole, indent=2)
    assert len(text) > 1 << 16
    assert importers._importer(venue).sniff(importers.sources_in([save(tmp_path, "long.json", text)])[0]) is not None


def test_pages_overlap_within_one_import(tmp_path: Path) -> None:
    first, second = save(tmp_path, "a.json", answers.bybit(3)), save(tmp_path, "b.json", answers.bybit(5))
    report = take(tmp_path, first, second)
    assert len(report.dataset.funding("ETHUSDT-PERP.bybit")) == 5


def test_rows_that_stand_twice_in_a_file_are_taken_once(tmp_path: Path) -> None:
    report = take(tmp_path, save(tmp_path, "pages.jsonl", [answers.okx(2), answers.okx(3)]))
    assert len(report.dataset.funding("ETHUSDT-PERP.okx")) == 3
    assert "pages.jsonl: 2 rows stand twice and were taken once" in report.notes[0]


def test_several_coins_in_a_file_and_the_choice_of_one(tmp_path: Path) -> None:
    file = save(tmp_path, "both.json", [*answers.hyperliquid(3), *answers.hyperliquid(2, "BTC")])
    assert set(take(tmp_path, file).dataset.instruments) == {"ETHUSD-PERP.hyperliquid", "BTCUSD-PERP.hyperliquid"}
    for nth, symbol in enumerate(("BTC", "BTCUSD", "BTCUSD-PERP.hyperliquid")):
        assert set(take(tmp_path / f"{nth}", file, symbol=symbol).dataset.instruments) == {"BTCUSD-PERP.hyperliquid"}


# --- what the fields mean --------------------------------------------------------------------------------


def test_late_stamps_of_hourly_venues_belong_to_their_hour(tmp_path: Path) -> None:
    """Half a second late would round into the next bar; five minutes late is something else and stays."""
    rows = answers.hyperliquid(3)
    rows[1]["time"] += 110_956
    rows[2]["time"] += 301_000
    index = take(tmp_path, save(tmp_path, "f.json", rows)).dataset.funding("ETHUSD-PERP.hyperliquid").index
    assert [f"{time:%H:%M:%S}" for time in index] == ["00:00:00", "01:00:00", "02:05:01"]
    index = take(tmp_path / "d", save(tmp_path, "d.json", answers.dydx())).dataset.funding("ETHUSD-PERP.dydx").index
    assert [f"{time:%H:%M:%S}" for time in index] == ["00:00:00", "01:00:00", "02:00:00"]


def test_the_interval_is_told_by_the_neighbours(tmp_path: Path) -> None:
    """Hourly with a hole, then every four hours: a hole is not a longer interval; a lone event has none."""
    answer = answers.kraken(6)
    for row, hour in zip(answer["rates"], (0, 1, 3, 4, 8, 20), strict=True):
        row["timestamp"] = answers.iso(answers.START + hour * HOUR)
    ours = take(tmp_path, save(tmp_path, "PF_ETHUSD.json", answer)).dataset.funding("ETHUSD-PERP.kraken")
    assert ours["interval_hours"].tolist() == [1, 1, 1, 1, 4, 8]
    alone = take(tmp_path / "one", save(tmp_path, "PF_ETHUSD-1.json", answers.kraken(1))).dataset.funding("ETHUSD-PERP.kraken")
    assert alone["interval_hours"].tolist() == [8]


def test_the_interval_at_the_edge_of_a_page_is_told_by_the_next_page(tmp_path: Path) -> None:
    every_4h = answers.okx(4)
    for row, hour in zip(every_4h["data"], (20, 16, 8, 0), strict=True):
        row["fundingTime"] = str(answers.START + hour * HOUR)
    pages = [{**every_4h, "data": every_4h["data"][:2]}, {**every_4h, "data": every_4h["data"][1:]}]
    files = [save(tmp_path, f"{nth}.json", page) for nth, page in enumerate(pages)]
    assert take(tmp_path, *files).dataset.funding("ETHUSDT-PERP.okx")["interval_hours"].tolist() == [8, 8, 4, 4]


def test_kraken_has_two_contracts_of_a_pair(tmp_path: Path) -> None:
    """The absolute rate, 0.5 USD or coin here, is not the fraction; the file's name tells the contract."""
    files = [save(tmp_path, f"{symbol}.json", answers.kraken()) for symbol in ("PF_XBTUSD", "PI_XBTUSD")]
    dataset = take(tmp_path, *files).dataset
    assert {key: (one.base, one.settle) for key, one in dataset.instruments.items()} == {
        "BTCUSD-PERP.kraken": ("BTC", Settle.LINEAR),
        "PI_BTCUSD-PERP.kraken": ("BTC", Settle.INVERSE),
    }
    assert dataset.funding("PI_BTCUSD-PERP.kraken")["rate"].tolist() == pytest.approx([0.0001, 0.0002, 0.0003])


def test_bitmex_intervals_and_contracts(tmp_path: Path) -> None:
    rows = [*answers.bitmex(), *answers.bitmex(symbol="ETHUSDT", interval="2000-01-01T04:00:00.000Z")]
    dataset = take(tmp_path, save(tmp_path, "ws.json", {"table": "funding", "action": "partial", "data": rows})).dataset
    assert dataset.funding("BTCUSD-PERP.bitmex")["interval_hours"].tolist() == [8, 8, 8]
    assert dataset.funding("ETHUSDT-PERP.bitmex")["interval_hours"].tolist() == [4, 4, 4]
    assert dataset.instruments["BTCUSD-PERP.bitmex"].settle is Settle.INVERSE
    assert dataset.instruments["ETHUSDT-PERP.bitmex"].settle is Settle.LINEAR


@pytest.mark.parametrize(
    ("symbol", "category", "key", "settle"),
    [
        ("ETHUSDT", "linear", "ETHUSDT-PERP.bybit", "linear"),
        ("ETHPERP", "linear", "ETHUSDC-PERP.bybit", "linear"),
        ("ETH-29MAR24", "linear", "ETHUSDC-240329.bybit", "linear"),
        ("ETHUSDT-29MAR24", "linear", "ETHUSDT-240329.bybit", "linear"),
        ("ETHUSD", "inverse", "ETHUSD-PERP.bybit", "inverse"),
        ("ETHUSDH24", "inverse", "ETHUSD-240329.bybit", "inverse"),
        ("ETHUSDT", "spot", "ETHUSDT-SPOT.bybit", "linear"),
    ],
)
def test_bybit_symbols_and_volumes(tmp_path: Path, symbol: str, category: str, key: str, settle: str) -> None:
    """An inverse kline's volume is in USD and its turnover in coin; bars end one hour after their start."""
    dataset = take(tmp_path, save(tmp_path, "k.json", answers.bybit_klines(3, symbol, category))).dataset
    one, bars = dataset.instruments[key], dataset.bars(key)
    assert (one.settle, one.base) == (settle, "ETH")
    assert one.expires_at == (pd.Timestamp("2024-03-29T08:00Z") if one.kind is Kind.FUTURE else None)
    volume, turnover = [1.0, 2.0, 3.0], [2000.0, 4000.0, 6000.0]
    assert bars["volume"].tolist() == (turnover if settle == "inverse" else volume)
    assert bars["quote_volume"].tolist() == (volume if settle == "inverse" else turnover)
    assert [f"{time:%H:%M}" for time in bars.index] == ["01:00", "02:00", "03:00"]


def test_bars_that_were_not_finished_are_left_out(tmp_path: Path) -> None:
    """Known by the answer's own time at Bybit and Deribit, by a mark at OKX."""
    asked = 2 * HOUR + 1000
    bybit = save(tmp_path, "k.json", answers.bybit_klines(3, asked=asked))
    deribit = save(tmp_path, "ETH-PERPETUAL.json", answers.deribit_chart(3, asked=asked))
    okx = save(tmp_path, "ETH-USDT-SWAP.json", answers.okx_candles(3))
    report = take(tmp_path, bybit, deribit, okx)
    for key in ("ETHUSDT-PERP.bybit", "ETHUSD-PERP.deribit", "ETHUSDT-PERP.okx"):
        assert [f"{time:%H:%M}" for time in report.dataset.bars(key).index] == ["01:00", "02:00"]
    assert "3 bars were not finished and were left out" in report.notes


@pytest.mark.parametrize(
    ("symbol", "key", "volume"),
    [
        ("ETH-USDT-SWAP", "ETHUSDT-PERP.okx", 5),
        ("ETH-USD-SWAP", "ETHUSD-PERP.okx", 5),
        ("ETH-USD-240329", "ETHUSD-240329.okx", 5),
        ("ETH-USDT", "ETHUSDT-SPOT.okx", 50),
    ],
)
def test_okx_volumes_are_in_base_units(tmp_path: Path, symbol: str, key: str, volume: float) -> None:
    bars = take(tmp_path, save(tmp_path, f"{symbol}.json", answers.okx_candles())).dataset.bars(key)
    assert bars["volume"].tolist() == [volume, volume]
    assert bars["quote_volume"].tolist() == [10000, 10000]


def test_okx_pays_the_realized_rate(tmp_path: Path) -> None:
    ours = take(tmp_path, save(tmp_path, "f.json", answers.okx())).dataset.funding("ETHUSDT-PERP.okx")
    assert ours["rate"].tolist() == [0.0001, 0.0002, 0.0003]


def test_a_contract_list_beside_the_data_gives_the_facts(tmp_path: Path) -> None:
    contract = {
        "instType": "SWAP", "instId": "SOL-USDT-SWAP", "ctType": "linear", "ctVal": "1", "ctMult": "10", "tickSz": "0.01", "lotSz": "0.1",
        "minSz": "0.1", "listTime": "1600000000000", "expTime": "",
    }  # fmt: skip
    option = {**contract, "instType": "OPTION", "instId": "SOL-USD-240329-100-C"}
    lists = save(tmp_path, "list.json", {"code": "0", "msg": "", "data": [contract, option]})
    report = take(tmp_path, lists, save(tmp_path, "f.json", answers.okx(symbol="SOL-USDT-SWAP")))
    one = report.dataset.instruments["SOLUSDT-PERP.okx"]
    assert (one.multiplier, one.tick, one.lot, one.min_notional) == (10, 0.01, 1.0, None)
    again = take(tmp_path, save(tmp_path, "g.json", answers.okx(5, symbol="SOL-USDT-SWAP")))
    assert again.dataset.instruments["SOLUSDT-PERP.okx"] == one


def test_a_contract_list_of_others_beside_the_data_is_a_note(tmp_path: Path) -> None:
    sol = {"instType": "SWAP", "instId": "SOL-USDT-SWAP", "ctType": "linear", "ctVal": "1", "tickSz": "0.01", "lotSz": "1", "minSz": "1"}
    lists = save(tmp_path, "list.json", {"code": "0", "msg": "", "data": [sol]})
    report = take(tmp_path, lists, save(tmp_path, "candles.json", answers.okx_candles()), symbol="ETH-USDT-SWAP")
    assert list(report.dataset.instruments) == ["ETHUSDT-PERP.okx"]
    assert f"{lists}: lists no spot, perpetual or future of ETH-USDT-SWAP" in report.notes


def test_bybit_lists_of_spot_and_futures(tmp_path: Path) -> None:
    both = {"symbol": "ETHUSDT", "baseCoin": "ETH", "quoteCoin": "USDT", "priceFilter": {"tickSize": "0.01"}}
    spot = {**both, "lotSizeFilter": {"basePrecision": "0.00001", "minOrderAmt": "1"}}
    lots = {"qtyStep": "1", "minOrderQty": "1"}
    future = {
        **both, "symbol": "ETHUSDH24", "contractType": "InverseFutures", "quoteCoin": "USD", "lotSizeFilter": lots,
        "launchTime": "1690000000000", "deliveryTime": "1711699200000",
    }  # fmt: skip
    option = {**both, "symbol": "ETH-29MAR24-2000-C", "optionsType": "Call", "lotSizeFilter": lots}
    answer = {"retCode": 0, "retMsg": "OK", "result": {"list": [spot, future, option]}}
    report = take(tmp_path, save(tmp_path, "list.json", answer))
    found = report.dataset.instruments
    assert set(found) == {"ETHUSDT-SPOT.bybit", "ETHUSD-240329.bybit"}
    assert (found["ETHUSDT-SPOT.bybit"].lot, found["ETHUSDT-SPOT.bybit"].min_notional) == (0.00001, 1)
    assert found["ETHUSD-240329.bybit"].expires_at == pd.Timestamp("2024-03-29T08:00Z")
    assert "1 options" in report.notes[0]


def test_deribit_funding_is_the_hour_that_ends(tmp_path: Path) -> None:
    ours = take(tmp_path, save(tmp_path, "ETH-PERPETUAL.json", answers.deribit())).dataset.funding("ETHUSD-PERP.deribit")
    assert ours["rate"].tolist() == pytest.approx([1e-5, 2e-5, 3e-5])
    assert (ours["interval_hours"] == 1).all()
    assert ours["mark_price"].tolist() == ours["oracle_price"].tolist() == [2000, 2001, 2002]
    assert ours.index[0] == pd.Timestamp("2024-01-01T00:00Z")


def test_deribit_trades_of_several_pages_make_bars_together(tmp_path: Path) -> None:
    """Pages overlap and split a minute; an option's trades are counted and left out; a linear contract's amounts are coins."""
    option = answers.deribit_trades(range(200, 203), "ETH-29MAR24-2000-C")
    pages = [answers.deribit_trades(range(90, 200)), answers.deribit_trades(range(5, 100)), option]
    report = take(tmp_path, *(save(tmp_path, f"{nth}.json", page) for nth, page in enumerate(pages)))
    bars = report.dataset.bars("ETHUSD-PERP.deribit")
    assert [f"{time:%H:%M}" for time in bars.index] == ["00:02", "00:03"]
    assert bars["trades"].tolist() == [60, 60]
    assert bars["volume"].iloc[0] == pytest.approx(sum(2000 / (2000 + second % 7) for second in range(61, 121)))
    assert bars["taker_buy_volume"].iloc[0] == pytest.approx(sum(2000 / (2000 + second % 7) for second in range(61, 121) if second % 2))
    assert any("3 trades of options or combinations were left out" in note for note in report.notes)
    assert any("its trades are in the bars of" in note for note in report.notes)
    linear = save(tmp_path, "usdc.json", answers.deribit_trades(range(5, 200), "ETH_USDC-PERPETUAL"))
    assert take(tmp_path / "usdc", linear).dataset.bars("ETHUSDC-PERP.deribit")["volume"].tolist()[-1] == 60 * 2000


def test_deribit_captures_become_series(tmp_path: Path) -> None:
    """Confirmations are passed over, an empty side has no value, and of two messages at one millisecond the last holds."""
    lines = [
        {"jsonrpc": "2.0", "id": 1, "result": ["ticker.ETH-PERPETUAL.100ms"]},
        answers.ticker(100, mark_price=2000.0, index_price=1999.5, open_interest=5.0, funding_8h=0.0001),
        answers.ticker(200, bid=None, mark_price=2000.5, index_price=1999.5, open_interest=6.0, funding_8h=0.0001),
        answers.ticker(300, mark_price=2001.0, index_price=1999.5, open_interest=7.0, funding_8h=0.0001),
        answers.ticker(300, mark_price=2002.0, index_price=1999.5, open_interest=8.0, funding_8h=0.0001),
    ]
    report = take(tmp_path, save(tmp_path, "ticker.jsonl", lines))
    series = {name: report.dataset.series(f"ETHUSD-PERP.deribit.{name}")["value"].tolist() for name in ("mark", "spread", "open_interest")}
    assert series == {"mark": [2000, 2000.5, 2002], "spread": [0.001, 0.001], "open_interest": [5, 6, 8]}
    assert "2 rows have no value and were left out" in report.notes
