"""Tardis' CSV files: the samples against an independent reading, bars and funding out of a stream, and what is refused."""

import csv
import json
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from vendor_files import write

from backtest.data.importers import ImportReport, common, import_files, kraken, okx
from backtest.data.importers.common import Request
from backtest.data.importers.source import sources_in
from backtest.data.importers.tardis import sniff
from backtest.data.importers.tardis_symbols import described, instrument
from backtest.errors import DataError
from backtest.instruments import Kind, Settle

TICKER = "exchange,symbol,timestamp,local_timestamp,funding_timestamp,funding_rate,predicted_funding_rate,open_interest,last_price,index_price,mark_price\n"
TRADES = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
QUOTES = "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n"
DAY = pd.Timestamp("2024-03-29", tz="UTC")
MINUTE = pd.Timedelta("1min")


def micro(time: str) -> int:
    """Microseconds of a time on the day."""
    return (pd.Timestamp(f"2024-03-29 {time}", tz="UTC")).value // 1000


def tick(time: str, funding: str, rate: float | str, last: float | str, mark: float, *, symbol: str = "ETHUSDT") -> str:
    """A ticker row that arrives a millisecond after the exchange sent it."""
    sent = micro(time)
    paid = micro(funding) if funding else ""
    return f"binance-futures,{symbol},{sent},{sent + 1000},{paid},{rate},,100,{last},{mark - 1},{mark}\n"


def imported(*files: Path, bar: str = "1min", **more: object) -> ImportReport:
    """What files become in a dataset of their own."""
    request = Request(bar=pd.Timedelta(bar), **more)  # type: ignore[arg-type]
    return import_files("tardis", files, Path(tempfile.mkdtemp(dir=files[0].parent)) / "set", request)


# --- the samples -----------------------------------------------------------------------------------------


def test_the_ticker_sample(raw: Path, tmp_path: Path) -> None:
    file = raw / "vendor-samples" / "tardis" / "derivative_ticker_1.csv"
    with file.open() as text:
        theirs = list(csv.DictReader(text))
    report = import_files("tardis", [file], tmp_path / "set", Request(bar=MINUTE))
    bars = report.dataset.bars("BTCUSD-PERP.bitmex")
    assert len(bars) == len(theirs) == 2
    for column, name in (("close", "last_price"), ("mark", "mark_price"), ("index", "index_price"), ("open_interest", "open_interest")):
        assert bars[column].tolist() == [float(row[name]) for row in theirs]
    assert bars.index.tolist() == [pd.Timestamp("2020-03-01T00:01Z"), pd.Timestamp("2020-03-01T00:02Z")]
    assert report.notes == ["BTCUSD-PERP.bitmex: 2 rows name a funding time that had passed; no event is taken from them"]
    assert report.dataset.funding("BTCUSD-PERP.bitmex").empty


def test_the_trades_sample_is_one_instant_and_no_bar(raw: Path, tmp_path: Path) -> None:
    report = import_files("tardis", [raw / "vendor-samples" / "tardis" / "trades_1.csv"], tmp_path / "set", Request(bar=MINUTE))
    assert set(report.taken_for.values()) == {"Tardis trades"}
    assert report.notes == ["BTCUSD-PERP.bitmex: 1 bars of 1 min that its ticks cover only in part were left out"]
    assert list(report.dataset.instruments) == ["BTCUSD-PERP.bitmex"]


@pytest.mark.parametrize(
    ("name", "key", "kind", "tick", "lot"),
    [
        ("instrument_perpetual.json", "BTCUSD-PERP.bitmex", Kind.PERPETUAL, 0.1, 100.0),
        ("instrument_future.json", "BTCUSD-250214.deribit", Kind.FUTURE, 2.5, 1.0),
    ],
)
def test_the_instrument_samples(raw: Path, tmp_path: Path, name: str, key: str, kind: Kind, tick: float, lot: float) -> None:
    file = raw / "vendor-samples" / "tardis" / name
    theirs = json.loads(file.read_text())
    one = import_files("tardis", [file], tmp_path / "set", Request()).dataset.instruments[key]
    assert (one.kind, one.tick, one.lot, one.settle) == (kind, tick, lot, Settle.INVERSE)
    assert one.tick == theirs["priceIncrement"]
    assert one.lot == theirs["amountIncrement"] / one.multiplier
    assert one.expires_at == (pd.Timestamp(theirs["expiry"]) if "expiry" in theirs else None)


# --- derivative_ticker -----------------------------------------------------------------------------------


def test_a_ticker_becomes_bars_of_any_length(tmp_path: Path) -> None:
    text = TICKER + "".join(
        [
            tick("00:00:10", "08:00", 0.0001, 3500, 3501),
            tick("00:00:30", "08:00", 0.0001, 3510, 3520),
            tick("00:00:50", "08:00", 0.0001, "", 3490),  # no news of the last price
            tick("00:02:00", "08:00", 0.0001, 3505, 3506),  # arrives in the next bar
        ]
    )
    bars = imported(write(tmp_path, "binance-futures_derivative_ticker_2024-03-29_ETHUSDT.csv.gz", text)).dataset.bars("ETHUSDT-PERP")
    assert bars.index.tolist() == [DAY + MINUTE, DAY + 3 * MINUTE]
    assert bars.iloc[0].to_dict() == {
        "open": 3500, "high": 3510, "low": 3500, "close": 3510, "mark": 3490, "mark_high": 3520, "mark_low": 3490, "index": 3489,
        "open_interest": 100,
    }  # fmt: skip
    hour = imported(write(tmp_path / "h", "a.csv", text), bar="1h").dataset.bars("ETHUSDT-PERP")
    assert hour.index.tolist() == [DAY + pd.Timedelta("1h")]
    assert hour.iloc[0][["open", "high", "low", "close", "mark"]].tolist() == [3500, 3510, 3500, 3505, 3506]


def test_two_files_of_a_market_share_the_bar_between_them(tmp_path: Path) -> None:
    files = [
        write(tmp_path, "a_1.csv", TICKER + tick("00:00:10", "08:00", 1e-4, 10, 10)),
        write(tmp_path, "a_2.csv", TICKER + tick("00:00:20", "08:00", 1e-4, 12, 12) + tick("00:01:20", "08:00", 1e-4, 11, 11)),
    ]
    bars = imported(*files).dataset.bars("ETHUSDT-PERP")
    assert bars[["open", "close", "mark_low"]].to_numpy().tolist() == [[10, 12, 10], [11, 11, 11]]


def test_funding_is_the_last_rate_told_before_its_time(tmp_path: Path) -> None:
    text = TICKER + "".join(
        [
            tick("07:00", "08:00", 0.0001, 10, 10),
            tick("07:59:59", "08:00", 0.0002, 10, 11),
            tick("08:00:01", "08:00", 0.0009, 10, 12),  # the exchange has not moved on yet
            tick("08:00:02", "16:00", 0.0003, 10, 13),
            tick("15:59:59", "16:00", 0.0004, 10, 14),
            tick("16:30:00", "23:59:59", 0.0005, 10, 15),  # its time does not come in this file
        ]
    )
    report = imported(write(tmp_path, "a.csv", text), bar="1h")
    funding = report.dataset.funding("ETHUSDT-PERP")
    assert funding.index.tolist() == [DAY + pd.Timedelta("8h"), DAY + pd.Timedelta("16h")]
    assert funding["rate"].tolist() == [0.0002, 0.0004]
    assert funding["mark_price"].tolist() == [11, 14]
    assert funding["interval_hours"].round(3).tolist() == [8, 8]
    assert report.notes == ["ETHUSDT-PERP: 1 rows name a funding time that had passed; no event is taken from them"]


def test_a_ticker_before_its_first_trade_has_no_bar(tmp_path: Path) -> None:
    text = TICKER + tick("00:00:10", "", "", "", 10) + tick("00:01:10", "", "", 11, 11)
    report = imported(write(tmp_path, "a.csv", text))
    assert report.dataset.bars("ETHUSDT-PERP").index.tolist() == [DAY + 2 * MINUTE]
    assert report.notes == ["ETHUSDT-PERP: 1 rows have no last price yet and are in no bar"]


def test_a_ticker_of_several_markets(tmp_path: Path) -> None:
    text = TICKER + tick("00:00:10", "", "", 10, 10) + tick("00:00:11", "", "", 20, 20, symbol="ETHUSDT_240628")
    dataset = imported(write(tmp_path, "a.csv", text)).dataset
    assert {key: dataset.bars(key)["close"].tolist() for key in dataset.instruments} == {"ETHUSDT-PERP": [10], "ETHUSDT-240628": [20]}


# --- trades and quotes -----------------------------------------------------------------------------------


def trade(time: str, side: str, price: float, amount: float, market: str = "binance-futures,ETHUSDT") -> str:
    return f"{market},{micro(time)},{micro(time)},1,{side},{price},{amount}\n"


def test_trades_and_quotes_become_bars_together(tmp_path: Path) -> None:
    trades = "".join([trade("00:00:10", "buy", 10, 2), trade("00:00:20", "sell", 12, 3), trade("00:01:30", "buy", 11, 1)])
    quotes = "".join(
        f"binance-futures,ETHUSDT,{micro(t)},{micro(t)},7,{ask},{bid},5\n" for t, bid, ask in [("00:00:00", 9, 11), ("00:00:30", 10, 12)]
    )
    write(tmp_path, "x/binance-futures_trades_2024-03-29_ETHUSDT.csv.gz", TRADES + trades)
    write(tmp_path, "x/binance-futures_quotes_2024-03-29_ETHUSDT.csv.gz", QUOTES + quotes)
    bars = imported(tmp_path / "x").dataset.bars("ETHUSDT-PERP")
    first = bars.loc[DAY + MINUTE]
    assert first[["open", "high", "low", "close", "volume", "taker_buy_volume", "trades"]].tolist() == [10, 12, 10, 12, 5, 2, 2]
    assert first[["bid", "ask", "bid_size", "ask_size"]].tolist() == [10, 12, 5, 7]
    assert first["spread"] == pytest.approx((2 / 10 + 2 / 11) / 2, rel=1e-12)
    alone = imported(write(tmp_path, "binance-futures_trades_2024-03-29_ETHUSDT.csv", TRADES + trades)).dataset.bars("ETHUSDT-PERP")
    assert list(alone.columns) == ["open", "high", "low", "close", "volume", "taker_buy_volume", "trades"]
    quoted = imported(write(tmp_path, "binance-futures_quotes_2024-03-29_ETHUSDT.csv", QUOTES + quotes), bar="10s").dataset.bars(
        "ETHUSDT-PERP"
    )
    assert "volume" not in quoted
    assert quoted["close"].iloc[0] == 10


def test_amounts_of_inverse_contracts_become_base_units(tmp_path: Path) -> None:
    text = TRADES + "".join(trade(t, "buy", 50000, 2500, "bitmex,XBTUSD") for t in ("00:00:10", "00:00:30", "00:01:30"))
    bars = imported(write(tmp_path, "bitmex_trades_2024-03-29_XBTUSD.csv", text)).dataset.bars("BTCUSD-PERP.bitmex")
    assert bars["volume"].iloc[0] == 2 * 2500 / 50000


def test_nanoseconds_are_told_by_their_digits(tmp_path: Path) -> None:
    text = TRADES + "".join(trade(t, "buy", 10, 1) for t in ("00:00:10", "00:01:30", "00:02:30"))
    for time in ("00:00:10", "00:01:30", "00:02:30"):
        text = text.replace(str(micro(time)), f"{micro(time)}000")
    bars = imported(write(tmp_path, "a.csv", text)).dataset.bars("ETHUSDT-PERP")
    assert bars.index.tolist() == [DAY + 2 * MINUTE]  # the first and the last minute are not whole


# --- symbols ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exchange", "symbol", "key", "settle", "multiplier"),
    [
        ("binance", "ETHUSDT", "ETHUSDT-SPOT", "linear", 1),
        ("binance-futures", "ETHUSDT_240329", "ETHUSDT-240329", "linear", 1),
        ("binance-delivery", "ETHUSD_PERP", "ETHUSD-PERP", "inverse", 10),
        ("binance-delivery", "BTCUSD_240329", "BTCUSD-240329", "inverse", 100),
        ("bybit", "ETHUSD", "ETHUSD-PERP.bybit", "inverse", 1),
        ("bybit", "ETHUSDT", "ETHUSDT-PERP.bybit", "linear", 1),
        ("bybit-spot", "ETHUSDT", "ETHUSDT-SPOT.bybit", "linear", 1),
        ("coinbase", "ETH-USD", "ETHUSD-SPOT.coinbase", "linear", 1),
        ("cryptofacilities", "PI_XBTUSD", "PI_BTCUSD-PERP.kraken", "inverse", 1),
        ("cryptofacilities", "PF_ETHUSD", "ETHUSD-PERP.kraken", "linear", 1),
        ("deribit", "ETH-PERPETUAL", "ETHUSD-PERP.deribit", "inverse", 1),
        ("deribit", "BTC-29MAR24", "BTCUSD-240329.deribit", "inverse", 10),
        ("deribit", "ETH-5JAN24", "ETHUSD-240105.deribit", "inverse", 1),
        ("dydx", "ETH-USD", "ETHUSD-PERP.dydx", "linear", 1),
        ("hyperliquid", "ETH", "ETHUSD-PERP.hyperliquid", "linear", 1),
        ("okex-swap", "ETH-USDT-SWAP", "ETHUSDT-PERP.okx", "linear", 0.1),
        ("okex-swap", "BTC-USDT-SWAP", "BTCUSDT-PERP.okx", "linear", 0.01),
        ("okex-swap", "SOL-USDT-SWAP", "SOLUSDT-PERP.okx", "linear", 1),
        ("okex-swap", "BTC-USD-SWAP", "BTCUSD-PERP.okx", "inverse", 100),
        ("okex-swap", "ETH-USD-SWAP", "ETHUSD-PERP.okx", "inverse", 10),
    ],
)
def test_symbols(exchange: str, symbol: str, key: str, settle: str, multiplier: float) -> None:
    one, _ = instrument(exchange, symbol)
    assert (one.id, str(one.settle), one.multiplier) == (key, settle, multiplier)
    if one.kind is Kind.FUTURE:
        assert one.expires_at == pd.Timestamp(f"20{key.partition('-')[2][:6]}T08", tz="UTC")


@pytest.mark.parametrize(
    ("exchange", "symbol", "own"),
    [
        *(("okex-swap", f"{pair}-SWAP", okx) for pair in ("BTC-USD", "ETH-USD", "SOL-USD", "BTC-USDT", "ETH-USDT", "SOL-USDT", "ETH-USDC")),
        *(("cryptofacilities", symbol, kraken) for symbol in ("PF_XBTUSD", "PI_XBTUSD", "PI_ETHUSD", "PF_ETHUSD", "PF_XDGUSD")),
    ],
)
def test_a_symbol_stands_for_what_it_does_in_the_venue_s_own_files(exchange: str, symbol: str, own: ModuleType) -> None:
    assert instrument(exchange, symbol)[0] == own._instrument(symbol)


def test_kraken_s_two_contracts_of_a_pair_are_two_instruments(tmp_path: Path) -> None:
    facts = {"exchange": "cryptofacilities", "type": "perpetual", "baseCurrency": "BTC", "quoteCurrency": "USD", "priceIncrement": 0.5}
    both = [{**facts, "id": "PI_XBTUSD", "inverse": True, "amountIncrement": 1}, {**facts, "id": "PF_XBTUSD", "amountIncrement": 0.0001}]
    found = imported(write(tmp_path, "a.json", json.dumps(both))).dataset.instruments
    assert {key: (one.settle, one.lot) for key, one in found.items()} == {
        "BTCUSD-PERP.kraken": (Settle.LINEAR, 0.0001), "PI_BTCUSD-PERP.kraken": (Settle.INVERSE, 1.0),
    }  # fmt: skip


def test_the_lot_of_a_linear_contract_is_in_base_units() -> None:
    facts = {"exchange": "okex-swap", "id": "ETH-USDT-SWAP", "type": "perpetual", "baseCurrency": "ETH", "quoteCurrency": "USDT"}
    one = described({**facts, "priceIncrement": 0.01, "amountIncrement": 0.1, "contractMultiplier": 0.1})
    assert (one.multiplier, one.lot) == (0.1, pytest.approx(0.01))


def test_amounts_of_okx_inverse_contracts_become_base_units(tmp_path: Path) -> None:
    text = TRADES + "".join(trade(t, "buy", 2000, 400, "okex-swap,ETH-USD-SWAP") for t in ("00:00:10", "00:00:30", "00:01:30"))
    bars = imported(write(tmp_path, "okex-swap_trades_2024-03-29_ETH-USD-SWAP.csv", text)).dataset.bars("ETHUSD-PERP.okx")
    assert bars["volume"].iloc[0] == 2 * 400 * 10 / 2000


def test_an_option_is_not_described_as_an_instrument() -> None:
    with pytest.raises(DataError, match=r"deribit X: is not described as an instrument that can be traded here .*leave it out"):
        described({"exchange": "deribit", "id": "X", "type": "option"})


def test_only_the_symbol_that_was_asked_for(tmp_path: Path) -> None:
    both = write(
        tmp_path,
        "a.csv",
        TICKER + tick("00:00:10", "08:00", 0.0001, 3500, 3501) + tick("00:00:11", "08:00", 0.0001, 9, 9, symbol="XRPUSDT"),
    )
    assert list(imported(both, symbol="ETHUSDT").dataset.instruments) == ["ETHUSDT-PERP"]
    with pytest.raises(DataError, match=r"^tardis: a\.csv: has nothing to import; check the files, and --symbol if it was given$"):
        imported(both, symbol="SOLUSDT")
    ticks = write(tmp_path, "b.csv", TRADES + trade("00:00:10", "buy", 10, 1))
    with pytest.raises(DataError, match=r"b\.csv: is of ETHUSDT-PERP, not of SOLUSDT; leave it out, or ask for the other symbol$"):
        imported(ticks, symbol="SOLUSDT")


# --- what is refused -------------------------------------------------------------------------------------

ROW = tick("00:00:10", "08:00", 0.0001, 3500, 3501)
NEXT = tick("00:01:10", "08:00", 0.0001, 3500, 3501)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Timestamp,Open,High,Low,Close\n2024-01-01,1,2,1,2\n", r"a\.csv: is not a file of tardis"),
        ("<html>403 Forbidden</html>", r"a\.csv: is a web page, not data; download it again"),
        ('{"code":100,"message":"The API key is invalid"}', r"a\.csv: is a venue's error answer, not data: \"The API key is invalid\" \(code 100\)"),
        (TICKER + ROW + NEXT[:40], r"a\.csv line 3: has \d+ cells, not 11; is the file truncated"),
        (TICKER + ROW + TICKER, r'a\.csv line 3: exchange "exchange" is not known'),
        (TICKER + ROW.replace("3500", '"3,500"'), r'a\.csv line 2: last_price is "3,500", not a number'),
        (TICKER + ROW.replace(",3500,", ",-3500,"), r"a\.csv in the bar to 2024-03-29T00:01Z: open is -3500; prices must be above 0"),
        (TICKER + ROW.replace(",100,", ",-100,"), r"a\.csv in the bar to 2024-03-29T00:01Z: open_interest is -100; it must not be negative"),
        (TICKER + NEXT + ROW, r"a\.csv line 3: local_timestamp 2024-03-29T00:00:10Z is before the row above's; rows must be in order"),
        (TICKER + ROW + NEXT.replace(str(micro("00:01:10") + 1000), "1711670470001"), r'line 3: local_timestamp is "1711670470001", not a time'),
        (TICKER + ROW.replace("17116", "00116"), r"a\.csv line 2: .*_timestamp is .*, not a time"),
        (TICKER + ROW.replace("binance-futures", "ftx"), r'a\.csv line 2: exchange "ftx" is not known; known: .*leave the rows out'),
        (TICKER + ROW.replace("ETHUSDT", "ETH+USDT"), r'a\.csv line 2: symbol "ETH\+USDT" of binance-futures is not one that can be told'),
        (TICKER + ROW.replace("ETHUSDT", "ETHUSDT_240231"), r'a\.csv line 2: "240231" in a symbol is not a date'),
        (TRADES + trade("00:00:10", "up", 10, 1), r'a\.csv line 2: side is "up"; it is buy, sell, unknown; correct the row'),
        (TRADES + trade("00:00:10", "buy", 10, -1), r"a\.csv line 2: size is -1; it must not be negative"),
        (TRADES + trade("00:00:10", "buy", 0, 1, "bitmex,XBTUSD"), r"a\.csv line 2: price is 0; prices must be above 0"),
        (TRADES + trade("00:00:10", "buy", 1, 1) + trade("00:00:11", "buy", 1, 1, "deribit,ETH-PERPETUAL"), r"a\.csv line 3: is of ETHUSD-PERP\.deribit, the rows before are of ETHUSDT-PERP"),
        (TRADES + trade("00:00:10", "buy", 1, 1, "okex-swap,ETH-USDT-SWAP"), r"a\.csv: the unit of its amounts is not known, so sizes can't be told"),
        (QUOTES + f"binance,ETHUSDT,{micro('00:00')},{micro('00:00')},7,9,10,5\n", r"a\.csv line 2: ask 9 is below bid 10"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_with_their_place(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, "a.csv", text)
    with pytest.raises(DataError, match=message):
        import_files("tardis", [file], tmp_path / "set", Request(bar=MINUTE))
    assert not (tmp_path / "set").exists()


def test_a_file_that_was_cut_while_packed_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "a.csv.gz", TRADES + "".join(trade(f"00:{m:02}:{s:02}", "buy", 10 + s, 1) for m in range(60) for s in range(60)))
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"a\.csv\.gz: is truncated or damaged and can't be unpacked"):
        imported(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"exchange": "deribit", "id": "X", "type": "option", "baseCurrency": "ETH", "priceIncrement": 1}', r"i\.json: deribit X: is not described"),
        ('{"exchange": "deribit", "baseCurrency": "ETH", "priceIncrement": 1', r"i\.json: is not JSON .*truncated"),
    ],
)  # fmt: skip
def test_bad_descriptions_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        imported(write(tmp_path, "i.json", text))


def test_other_files_are_not_tardis(raw: Path) -> None:
    for name in ("coinbase-daily", "rates", "cme-eth-databento", "binance-ethusdt-hourly"):
        assert [source.name for source in sources_in([raw / name]) if sniff(source)] == []


def test_a_description_serves_the_ticks_of_its_symbol(tmp_path: Path) -> None:
    one = {"exchange": "binance-futures", "id": "ETHUSDT", "type": "perpetual", "baseCurrency": "ETH", "quoteCurrency": "USDT"}
    write(tmp_path, "x/i.json", json.dumps(one | {"priceIncrement": 0.01, "amountIncrement": 0.001}))
    write(tmp_path, "x/a.csv", TICKER + ROW)
    found = imported(tmp_path / "x").dataset.instruments["ETHUSDT-PERP"]
    assert (found.tick, found.lot) == (0.01, 0.001)
    assert np.isclose(found.multiplier, 1)


def test_a_described_symbol_that_can_t_be_told_has_a_ticker_but_no_sizes(tmp_path: Path) -> None:
    one = {"exchange": "bitmex", "id": "SOLUSDT", "type": "perpetual", "baseCurrency": "SOL", "quoteCurrency": "USDT"}
    write(tmp_path, "x/i.json", json.dumps([one | {"priceIncrement": 0.01, "amountIncrement": 1000, "contractMultiplier": 0.0001}]))
    write(tmp_path, "x/a.csv", TICKER + ROW.replace("binance-futures,ETHUSDT", "bitmex,SOLUSDT"))
    assert len(imported(tmp_path / "x").dataset.bars("SOLUSDT-PERP.bitmex")) == 1
    write(tmp_path, "x/b.csv", TRADES + trade("00:00:10", "buy", 10, 1, "bitmex,SOLUSDT"))
    with pytest.raises(DataError, match=r"b\.csv: the unit of its amounts is not known"):
        imported(tmp_path / "x")


def test_a_second_market_late_in_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "BLOCK", 4096)
    text = TRADES + "".join(trade(f"00:{m:02}:{s:02}", "buy", 10, 1) for m in range(3) for s in range(60))
    text += trade("00:04:00", "buy", 10, 1, "binance,ETHUSDT")
    with pytest.raises(DataError, match=r"a\.csv: has rows of several markets \(binance ETHUSDT.*\); import one a file"):
        imported(write(tmp_path, "a.csv", text))


def test_bars_do_not_depend_on_how_a_file_is_cut_into_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    text = TICKER + "".join(
        tick(f"00:{m:02}:{s:02}", "08:00", 0.0001, "" if rng.random() < 0.3 else round(100 + rng.random(), 2), round(100 + rng.random(), 2))
        for m in range(5)
        for s in range(60)
    )
    whole = imported(write(tmp_path, "w/a.csv", text))
    monkeypatch.setattr(common, "BLOCK", 2048)
    pieces = imported(write(tmp_path, "p/a.csv", text))
    pd.testing.assert_frame_equal(pieces.dataset.bars("ETHUSDT-PERP"), whole.dataset.bars("ETHUSDT-PERP"))
    assert pieces.notes == whole.notes
    assert len(whole.dataset.bars("ETHUSDT-PERP")) == 5
