"""Every real file comes in by one command that names no vendor, and five venues' ETH stands side by side in one dataset.

Counts and the times of first and last rows are read here from the files themselves, with nothing but csv and json.
"""

import csv
import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from backtest import cli
from backtest.data.store import Dataset, open_dataset

Span = tuple[int, pd.Timestamp, pd.Timestamp]
Spans = dict[str, Span]
HOUR, DAY, NOTHING = pd.Timedelta("1h"), pd.Timedelta("1D"), pd.Timedelta(0)


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def span(times: Iterable[Any], later: pd.Timedelta = NOTHING, unit: str | None = None) -> Span:
    """Number, first and last of some times, to the second, as stamps of what ends `later`."""
    stamps = sorted(pd.to_datetime(pd.Series(list(times)), unit=unit, utc=True, **({} if unit else {"format": "ISO8601"})))
    return len(stamps), stamps[0].round("s") + later, stamps[-1].round("s") + later


def days(found: Span) -> Span:
    """A span with the days that its first and last row are of."""
    return found[0], *((time - pd.Timedelta("1ns")).normalize() for time in found[1:])


def column(file: Path, name: str, where: Callable[[dict[str, str]], bool] = lambda row: True) -> list[str]:
    return [row[name] for row in rows(file) if where(row)]


# --- what the files hold: folder or file → what is in it -----------------------------------------------------


def hourly(folder: Path) -> Spans:
    found = {
        "ETHUSDT-SPOT": span(column(folder / "spot.csv", "Timestamp"), HOUR),
        "ETHUSDT-PERP": span(column(folder / "perps.csv", "Timestamp"), HOUR),
        "ETHUSDT-PERP funding": span(column(folder / "funding_rates_8h.csv", "Timestamp")),
        "series ETHUSDT-PERP.premium_index": span(column(folder / "premium_index.csv", "Timestamp"), HOUR),
    }
    for file in (folder / "futures_contracts").glob("*.csv"):
        with file.open(newline="") as text:
            starts = [row[0] for row in csv.reader(text)][1:]
        delivery = f"20{file.stem[:2]}-{file.stem[2:4]}-{file.stem[4:]} 08"
        found[f"ETHUSDT-{file.stem}"] = span([start for start in starts if start[:13] < delivery], HOUR)
    return found


def daily(folder: Path) -> Spans:
    found = {}
    for kind in ("SPOT", "PERP"):
        found[f"ETHUSDT-{kind}"] = span(column(folder / f"{kind.lower()}_ETHUSDT_1d_20210101_20241231.csv", "open_time"), DAY)
    return {**found, "ETHUSDT-PERP funding": span(column(folder / "funding_ETHUSDT_20210101_20241231.csv", "funding_time"))}


def ticks(folder: Path) -> Spans:
    """The whole minutes of each capture, which was stopped a tenth of a second before midnight."""
    found = {}
    for market, key in (("spot", "ETHUSDT-SPOT"), ("usdm", "ETHUSDT-PERP")):
        with gzip.open(folder / f"{market}_ethusdt_20240808.gz", "rt") as text:
            stamps = [int(line.partition(" ")[0]) for line in text]
        first, last = (pd.Timestamp(stamps[end], unit="ns", tz="UTC") for end in (0, -1))
        found[key] = span(pd.date_range(first.ceil("min"), last.round("s"), freq="min")[1:])
    return found


def databento(folder: Path) -> Spans:
    """Bars of outrights by contract; a symbol's one-digit year is that within ten years of its first day."""
    found: dict[str, list[str]] = {}
    for row in rows(next(folder.glob("*.csv"))):
        if "-" not in row["symbol"]:
            year = int(row["symbol"][-1])
            found.setdefault(f"{row['symbol'][:-1]}{next(y for y in range(int(row['ts_event'][:4]), 2040) if y % 10 == year)}", []).append(
                row["ts_event"]
            )
    return {symbol: span(times, DAY) for symbol, times in found.items()}


def hyperliquid(folder: Path) -> Spans:
    funding = json.loads((folder / "hl_ETH_funding_rates.json").read_text())
    book = [json.loads(line)["timestamp"] for line in (folder / "hl_ETH_l2_book.jsonl").read_text().splitlines()]
    key = "ETHUSD-PERP.hyperliquid"
    return {f"{key} funding": span([row["time"] for row in funding], unit="ms")} | {
        f"series {key}.{name}": span(book) for name in ("spread", "depth_50bps", "mid")
    }


def rates(folder: Path) -> Spans:
    found = {
        "series risk_free": span(column(folder / "DTB3.csv", "observation_date", lambda row: row["DTB3"] != "")),
        "series primary_credit": span(column(folder / "PCREDIT8.csv", "DATE")),
    }
    for pool in ("comp", "aave_v1", "aave_v2"):
        for kind, theirs in (("lend", "supply_rate"), ("borrow", "variable_borrow_rate"), ("borrow_stable", "stable_borrow_rate")):
            name = f"{theirs}_{pool}"
            if name in rows(folder / "compound_aave_usdc.csv")[0]:
                times = column(folder / "compound_aave_usdc.csv", "timestamp", lambda row, name=name: row[name] != "")
                found[f"series {kind}_usdc_{pool.replace('comp', 'compound')}"] = span(times)
    return found


def answers(
    target: str, *path: str | int, time: str | int = "", unit: str | None = None, later: pd.Timedelta = NOTHING
) -> Callable[[Path], Spans]:
    """What is in a JSON answer whose records stand at a path."""

    def read(file: Path) -> Spans:
        here = json.loads(file.read_text())
        for name in path:
            here = here[name]
        return {
            target: span([int(row[time]) if unit else row[time] for row in here] if time != "" else [int(row) for row in here], later, unit)
        }

    return read


def deribit(*names: str) -> Callable[[Path], Spans]:
    def read(file: Path) -> Spans:
        at = span([json.loads(file.read_text())["params"]["data"]["timestamp"]], unit="ms")
        return {f"series BTCUSD-PERP.deribit.{name}": at for name in names}

    return read


def feather(key: str, later: pd.Timedelta) -> Callable[[Path], Spans]:
    return lambda file: {key: span(pd.read_feather(file)["date"], later)}


def nothing(file: Path) -> Spans:
    """Instruments only, or ticks of less than a bar."""
    return {}


MINUTE = pd.Timedelta("1min")
QUOTES = ("bid", "ask", "spread")
CONTENTS: dict[str, Callable[[Path], Spans]] = {
    "binance-ethusdt-hourly": hourly,
    "binance-ethusdt-daily": daily,
    "binance-ticks": ticks,
    "cme-eth-databento": databento,
    "coinbase-daily": lambda folder: {"ETHUSD-SPOT.coinbase": span(column(folder / "ETH-USD.csv", "date"), DAY)},
    "hyperliquid-eth": hyperliquid,
    "open-interest": lambda folder: {
        "series ETHUSD-PERP.open_interest_value": span(column(folder / "ETH_coinm_oi_daily.csv", "date"), DAY)
    },
    "rates": rates,
}
SAMPLES: dict[str, Callable[[Path], Spans]] = {
    "bitmex/ws_funding_rate.json": lambda file: {"BTCUSD-PERP.bitmex funding": span([json.loads(file.read_text())["timestamp"]])},
    "bybit/http_get_funding_history.json": answers("BTCUSDT-PERP.bybit funding", "result", "list", time="fundingRateTimestamp", unit="ms"),
    "bybit/http_get_instruments_inverse.json": nothing,
    "bybit/http_get_instruments_linear.json": nothing,
    "bybit/http_get_klines_linear.json": answers("BTCUSDT-PERP.bybit", "result", "list", time=0, unit="ms", later=MINUTE),
    "deribit/http_get_instruments.json": nothing,
    "deribit/http_get_last_trades.json": nothing,
    "deribit/http_get_tradingview_chart_data.json --symbol BTC-PERPETUAL": answers(
        "BTCUSD-PERP.deribit", "result", "ticks", unit="ms", later=MINUTE
    ),
    "deribit/ws_quote.json": deribit(*QUOTES),
    "deribit/ws_ticker.json": deribit(*QUOTES, "mark", "index", "open_interest", "funding_8h"),
    "dydx/http_get_historical_funding.json": answers("BTCUSD-PERP.dydx funding", "result", "historicalFunding", time="effectiveAt"),
    "freqtrade/XRP_USDT_USDT-1h-futures.feather": feather("XRPUSDT-PERP", HOUR),
    "freqtrade/XRP_USDT_USDT-8h-funding_rate.feather": feather("XRPUSDT-PERP funding", NOTHING),
    "hyperliquid/http_funding_history.json": answers("BTCUSD-PERP.hyperliquid funding", time="time", unit="ms"),
    "kraken/http_futures_historical_funding_rates.json --symbol PF_ETHUSD": answers(
        "ETHUSD-PERP.kraken funding", "rates", time="timestamp"
    ),
    "okx/http_get_candlesticks.json --symbol BTC-USDT-SWAP": lambda file: {
        "BTCUSDT-PERP.okx": span([int(json.loads(file.read_text())["data"][0][0])], MINUTE, "ms")  # the last bar was not finished
    },
    "okx/http_get_funding_rate_history.json": answers("BTCUSDT-PERP.okx funding", "data", time="fundingTime", unit="ms"),
    "okx/http_get_instruments_futures.json": nothing,
    "okx/http_get_instruments_swap.json": nothing,
    "tardis/derivative_ticker_1.csv": lambda file: {"BTCUSD-PERP.bitmex": (2, *(pd.Timestamp(f"2020-03-01T00:0{n}Z") for n in (1, 2)))},
    "tardis/instrument_future.json": nothing,
    "tardis/instrument_perpetual.json": nothing,
    "tardis/trades_1.csv": nothing,
}
# candles of the mark alone have no bars to stand beside
TOGETHER = {"freqtrade/XRP_USDT_USDT-1h-mark.feather": "freqtrade"}


def bring_in(capsys: pytest.CaptureFixture[str], into: Path, *words: object) -> tuple[Dataset, str]:
    """Run `carry data import …`, and what it prints."""
    assert cli.main(["data", "import", *map(str, words), "--into", str(into)]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, re.sub(r"/\S+", "", printed).splitlines())) <= 80
    return open_dataset(into), printed


def held(dataset: Dataset) -> Iterator[tuple[str, Span]]:
    """Every table of a dataset with its number of rows, and the times of the first and the last."""
    for key in dataset.instruments:
        for name, frame in ((key, dataset.bars(key)), (f"{key} funding", dataset.funding(key))):
            if len(frame):
                yield name, (len(frame), frame.index[0], frame.index[-1])
    for name in dataset.series_names:
        series = dataset.series(name)
        yield f"series {name}", (len(series), series["ts"].iloc[0].round("s"), series["ts"].iloc[-1].round("s"))


@pytest.mark.parametrize("folder", CONTENTS)
@pytest.mark.parametrize("vendor", [["auto"], []], ids=["auto", "no vendor"])
def test_every_folder_comes_in_by_one_command(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str, vendor: list[str]
) -> None:
    dataset, printed = bring_in(capsys, tmp_path / "set", *vendor, raw / folder)
    found, theirs = dict(held(dataset)), CONTENTS[folder](raw / folder)
    if folder == "cme-eth-databento":  # its contracts' ids and the hours of closing are tested with the vendor
        assert (len(found), all(re.fullmatch(r"METUSD-\d{6}\.cme", key) for key in found)) == (56, True)
        assert sorted(map(days, found.values())) == sorted(map(days, theirs.values()))
    else:
        assert found == theirs
    assert re.search(r"^taken for: \S.* \(\d+ files?\)", printed, re.MULTILINE)


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_comes_in_by_one_command(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], sample: str) -> None:
    name, *options = sample.split()
    file = raw / "vendor-samples" / name
    dataset, printed = bring_in(capsys, tmp_path / "set", file, *options)
    assert dict(held(dataset)) == SAMPLES[sample](file)
    assert len(dataset.instruments) > 0
    assert re.search(r"^taken for: \S.* \(1 file\)", printed, re.MULTILINE)


def test_nothing_is_left_out_of_these_tests(raw: Path) -> None:
    samples = {path.relative_to(raw / "vendor-samples").as_posix() for path in (raw / "vendor-samples").rglob("*.*") if path.is_file()}
    assert samples == {name.split()[0] for name in SAMPLES} | set(TOGETHER)
    assert {path.name for path in raw.iterdir()} == {*CONTENTS, "vendor-samples"}


def test_marks_come_in_with_their_candles(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = raw / "vendor-samples" / "freqtrade"
    dataset, printed = bring_in(capsys, tmp_path / "set", folder)
    bars, mark = (pd.read_feather(folder / f"XRP_USDT_USDT-1h-{name}.feather").set_index("date") for name in ("futures", "mark"))
    both = bars.index.intersection(mark.index)
    assert dataset.bars("XRPUSDT-PERP")["mark"].dropna().tolist() == mark.loc[both, "close"].tolist()
    assert f"{len(mark) - len(both)} mark, index or other rows stood beside no bar" in " ".join(printed.split())


# --- what the command takes ----------------------------------------------------------------------------------

KLINES = "Timestamp,Open,High,Low,Close\n2024-03-29 05:00:00,10,12,9,11\n2024-03-29 06:00:00,11,13,10,12\n"


def test_a_command_without_a_vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("spot_ETHUSDT.csv", "perp_ETHUSDT.csv"):
        Path(name).write_text(KLINES)
    Path("downloads").mkdir()
    Path("downloads/spot_BTCUSDT.csv").write_text(KLINES)
    commands: Mapping[str, set[str]] = {
        "spot_ETHUSDT.csv": {"ETHUSDT-SPOT"},
        "spot_ETHUSDT.csv perp_ETHUSDT.csv": {"ETHUSDT-SPOT", "ETHUSDT-PERP"},
        "downloads spot_ETHUSDT.csv": {"BTCUSDT-SPOT", "ETHUSDT-SPOT"},
        "binance downloads": {"BTCUSDT-SPOT"},
        "auto spot_ETHUSDT.csv": {"ETHUSDT-SPOT"},
    }
    for number, (words, expected) in enumerate(commands.items()):
        dataset, printed = bring_in(capsys, Path(f"set{number}"), *words.split())
        assert set(dataset.instruments) == expected
        files = len(expected)
        assert f"\ntaken for: Binance klines ({files} file{'s' if files > 1 else ''})\n\n" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("binance", 'the following arguments are required: FILES; see "carry data import --help"'),
        ("binnance x.csv", 'unknown source "binnance"; did you mean "binance"?'),
        ("none.csv", "none.csv: there is no such file; check the name"),
        ("none.csv other.csv", "none.csv: there is no such file; check the name"),
        ("downloads", "downloads: there is no such file; check the name"),
    ],
)
def test_what_the_command_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["data", "import", *words.split(), "--into", "set"])
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# --- five venues ---------------------------------------------------------------------------------------------

CONTRACT = {
    "price_index": "eth_usd", "kind": "future", "instrument_name": "ETH-PERPETUAL", "instrument_type": "reversed", "tick_size": 0.05,
    "expiration_timestamp": 32503708800000, "creation_timestamp": 1552568454000, "is_active": True, "contract_size": 1.0,
    "min_trade_amount": 1.0, "future_type": "reversed", "settlement_currency": "ETH", "settlement_period": "perpetual",
    "base_currency": "ETH", "counter_currency": "USD", "quote_currency": "USD", "tick_size_steps": [],
}  # fmt: skip


def deribit_answers(folder: Path, spot: pd.DataFrame) -> Path:
    """Hourly chart data of ETH-PERPETUAL, a thousandth above another venue's spot, and the list that has the contract."""
    prices = {name: (spot[name] * 1.001).round(2).tolist() for name in ("open", "high", "low", "close")}
    stamps = ((spot.index - HOUR).asi8 // 10**6).tolist()
    chart = {"status": "ok", "ticks": stamps, **prices, "volume": [1.5] * len(spot), "cost": [3000.0] * len(spot)}
    for name, result in (("ETH-PERPETUAL", chart), ("instruments", [CONTRACT])):
        file = folder / "deribit" / f"{name}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"id": 1, "jsonrpc": "2.0", "result": result}))
    return folder / "deribit"


def test_eth_of_five_venues_side_by_side(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = tmp_path / "eth"
    dataset, _ = bring_in(capsys, into, raw / "binance-ethusdt-hourly")
    alone = dict(held(dataset))
    spot = dataset.bars("ETHUSDT-SPOT")
    for folder in ("cme-eth-databento", "coinbase-daily", "hyperliquid-eth"):
        bring_in(capsys, into, raw / folder)
    dataset, _ = bring_in(capsys, into, deribit_answers(tmp_path, spot[:500]))
    venues: dict[str, list[str]] = {}
    for key, one in dataset.instruments.items():
        assert one.base == "ETH"
        venues.setdefault(one.venue, []).append(key)
    dates = [key.removeprefix("ETHUSDT-") for key in alone if re.fullmatch(r"ETHUSDT-\d{6}", key)]
    assert venues["binance"] == [*sorted(f"ETHUSDT-{date}" for date in dates), "ETHUSDT-PERP", "ETHUSDT-SPOT"]
    assert (len(dates), len(venues["cme"])) == (8, 56)
    assert {venue: keys for venue, keys in venues.items() if venue not in ("binance", "cme")} == {
        "coinbase": ["ETHUSD-SPOT.coinbase"], "deribit": ["ETHUSD-PERP.deribit"], "hyperliquid": ["ETHUSD-PERP.hyperliquid"],
    }  # fmt: skip
    now = dict(held(dataset))
    assert {key: now[key] for key in alone} == alone
    assert len(now) == len(alone) + 56 + 1 + 4 + 1
    closes = dataset.bars("ETHUSD-PERP.deribit")["close"]
    assert closes.index.equals(spot.index[:500])
    assert closes.iloc[0] == round(spot["close"].iloc[0] * 1.001, 2)
    assert (dataset.instruments["ETHUSD-PERP.deribit"].settle, dataset.instruments["METUSD-240328.cme"].multiplier) == ("inverse", 0.1)
    assert cli.main(["data", "check", str(into)]) in (0, 1)
    printed = capsys.readouterr().out
    for key in ("ETHUSDT-PERP", "ETHUSD-SPOT.coinbase", "ETHUSD-PERP.hyperliquid", "ETHUSD-PERP.deribit", "METUSD-240328.cme"):
        assert key in printed
    assert "2024-10-28" in printed
