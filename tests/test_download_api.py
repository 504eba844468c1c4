"""Downloads through the venues' APIs: the real client against a local server that answers in their shapes."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from venue_server import DAY, HOUR, VenueServer, interest, kline, ms, price, rate

from backtest.data.download import DownloadError, DownloadReport, Patience, Wanted, api, download
from backtest.data.store import Dataset, open_dataset
from backtest.errors import DataError, ParameterError
from backtest.instruments import Kind, Settle

START, END = pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-03-01", tz="UTC")
BARS = 60 * 24


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[VenueServer]:
    ccxt = pytest.importorskip("ccxt", reason="the extra [download] is not installed")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with VenueServer(until=ms(END) + 5 * DAY) as running:
        monkeypatch.setenv("CARRY_API_URL", running.url)
        monkeypatch.setattr(ccxt.Exchange, "throttle", lambda exchange, cost=None: None)
        yield running


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "set"


def wanted(venue: str = "binance", symbol: str = "ETHUSDT-SPOT", what: str = "klines", **more: object) -> Wanted:
    return replace(Wanted(venue=venue, symbol=symbol, start=START, end=END, what=tuple(what.split(","))), **more)  # type: ignore[arg-type]


def starts_of(server: VenueServer, match: str) -> list[pd.Timestamp]:
    return [pd.Timestamp(int(one.params["startTime"]), unit="ms", tz="UTC") for one in server.paths(match)]


def expected(level: float = 1.0, first: pd.Timestamp = START, count: int = BARS) -> pd.DataFrame:
    rows = [[float(value) for value in kline(ms(first) + hour * HOUR, HOUR, level)] for hour in range(count)]
    return pd.DataFrame(rows, columns=["open", "high", "low", "close"])


def assert_prices(bars: pd.DataFrame, level: float = 1.0) -> None:
    assert list(bars.index) == list(pd.date_range(START + pd.Timedelta("1h"), END, freq="h"))
    np.testing.assert_array_equal(bars[["open", "high", "low", "close"]].to_numpy(), expected(level).to_numpy())


# ---------------------------------------------------------------- what comes


def test_klines_of_binance_come_whole_and_in_pages(server: VenueServer, into: Path) -> None:
    report = download(wanted(), into)
    dataset = open_dataset(into)
    bars = dataset.bars("ETHUSDT-SPOT")
    assert_prices(bars)
    assert list(bars.columns) == [
        "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume",
    ]  # fmt: skip
    assert bars["volume"].iloc[0] == 10.5 + ms(START) // HOUR % 7
    assert set(bars["taker_buy_volume"]) == {5.25}
    assert starts_of(server, "/api/v3/klines") == [START, START + pd.Timedelta("1000h")]
    (line,) = report.lines
    assert (line.target, line.rows, line.first, line.last) == ("ETHUSDT-SPOT", BARS, START + pd.Timedelta("1h"), END)
    one = dataset.instruments["ETHUSDT-SPOT"]
    assert (one.kind, one.base, one.quote, one.tick, one.lot, one.min_notional) == (Kind.SPOT, "ETH", "USDT", 0.01, 0.001, 5.0)
    assert (dataset.info["source"], dataset.simulated) == ("binance API", False)


def test_a_pair_is_spot_and_perpetual_and_with_futures_its_dated_contracts(server: VenueServer, into: Path) -> None:
    short = {"end": START + pd.Timedelta("1D")}
    download(wanted(symbol="ethusdt", **short), into)
    assert list(open_dataset(into).instruments) == ["ETHUSDT-PERP", "ETHUSDT-SPOT"]
    download(wanted(symbol="ETHUSDT", futures=True, **short), into)
    dataset = open_dataset(into)
    assert list(dataset.instruments) == ["ETHUSDT-240329", "ETHUSDT-240628", "ETHUSDT-PERP", "ETHUSDT-SPOT"]
    assert dataset.instruments["ETHUSDT-240329"].expires_at == pd.Timestamp("2024-03-29T08:00Z")
    assert len(dataset.bars("ETHUSDT-240628")) == 24


def test_a_dated_contract_ends_with_its_delivery(server: VenueServer, into: Path) -> None:
    server.until = ms(pd.Timestamp("2024-04-10", tz="UTC"))
    download(wanted(symbol="ETHUSDT-240329", start=pd.Timestamp("2024-03-25", tz="UTC"), end=pd.Timestamp("2024-04-10", tz="UTC")), into)
    bars = open_dataset(into).bars("ETHUSDT-240329")
    assert bars.index[-1] == pd.Timestamp("2024-03-29T08:00Z")
    assert len(bars) == 4 * 24 + 8


def test_mark_and_index_are_columns_of_the_bars(server: VenueServer, into: Path) -> None:
    download(wanted(symbol="ETHUSDT-PERP", what="klines,mark,index"), into)
    bars = open_dataset(into).bars("ETHUSDT-PERP")
    assert_prices(bars, 1.002)
    mark, index = expected(1.001), expected(0.999)
    for ours, theirs in (("mark", "close"), ("mark_high", "high"), ("mark_low", "low")):
        np.testing.assert_array_equal(bars[ours].to_numpy(), mark[theirs].to_numpy())
    np.testing.assert_array_equal(bars["index"].to_numpy(), index["close"].to_numpy())
    assert server.paths("indexPriceKlines")[0].params["pair"] == "ETHUSDT"


def test_marks_asked_for_later_join_the_bars_that_are_there(server: VenueServer, into: Path) -> None:
    download(wanted(symbol="ETHUSDT-PERP"), into)
    server.asked.clear()
    download(wanted(symbol="ETHUSDT-PERP", what="mark"), into)
    later = open_dataset(into)
    assert server.paths("v1/klines") == []
    assert later.bars("ETHUSDT-PERP")["mark"].notna().all()
    download(wanted(symbol="ETHUSDT-PERP", what="klines,mark"), into.parent / "at once")
    assert later.hash == open_dataset(into.parent / "at once").hash


def test_funding_with_its_intervals_and_marks(server: VenueServer, into: Path) -> None:
    download(wanted(symbol="ETHUSDT-PERP", what="funding"), into)
    funding = open_dataset(into).funding("ETHUSDT-PERP")
    times = pd.date_range(START, END, freq="8h")
    assert list(funding.index) == list(times), "on the second, whatever the venue's milliseconds are"
    assert funding["rate"].tolist() == [rate(ms(time)) for time in times]
    assert funding["mark_price"].tolist() == [price(ms(time)) for time in times]
    assert set(funding["interval_hours"]) == {8.0}


def test_a_missing_event_is_no_longer_interval_and_is_asked_for_again(server: VenueServer, into: Path) -> None:
    hole = START + pd.Timedelta("80h")
    server.holes = {ms(hole)}
    download(wanted(symbol="ETHUSDT-PERP", what="funding"), into)
    funding = open_dataset(into).funding("ETHUSDT-PERP")
    assert hole not in funding.index
    assert set(funding["interval_hours"]) == {8.0}
    server.asked.clear()
    server.holes = set()
    download(wanted(symbol="ETHUSDT-PERP", what="funding"), into)
    (asked,) = server.paths("fundingRate")
    assert ms(hole) - 8 * HOUR < int(asked.params["startTime"]) < int(asked.params["endTime"]) < ms(hole) + 8 * HOUR
    download(wanted(symbol="ETHUSDT-PERP", what="funding"), into.parent / "whole")
    assert open_dataset(into).hash == open_dataset(into.parent / "whole").hash


def test_premium_index_is_a_series(server: VenueServer, into: Path) -> None:
    download(wanted(symbol="ETHUSDT", what="premium"), into)
    series = open_dataset(into).series("ETHUSDT-PERP.premium_index")
    assert len(series) == BARS
    assert series["value"].iloc[0] == round(rate(ms(START)) + 5e-6, 8)
    assert series["ts"].iloc[0] == series["known_at"].iloc[0] == START + pd.Timedelta("1h")


def test_open_interest_as_far_as_the_venue_keeps_it(server: VenueServer, into: Path) -> None:
    server.until = None
    now = pd.Timestamp.now("UTC").floor("h")
    start = now - pd.Timedelta(35, "D")
    report = download(wanted(symbol="ETHUSDT-PERP", what="klines,open_interest", start=start, end=now - pd.Timedelta("1h")), into)
    known = open_dataset(into).series("ETHUSDT-PERP.open_interest")
    assert known["ts"].iloc[0] in (now - pd.Timedelta("719h"), now - pd.Timedelta("718h"), now - pd.Timedelta("717h"))
    assert known["ts"].iloc[-1] == open_dataset(into).bars("ETHUSDT-PERP").index[-1] == now - pd.Timedelta("1h")
    assert known["value"].tolist() == [interest(ms(time)) for time in known["ts"]]
    assert (known["known_at"] == known["ts"]).all()
    assert len(server.paths("openInterestHist")) == 2
    (note,) = report.notes
    assert note.startswith("ETHUSDT-PERP: binance keeps open_interest from ")


def test_coin_margined_contracts_are_inverse_and_count_coins(server: VenueServer, into: Path) -> None:
    download(wanted(symbol="ETHUSD", what="klines,mark,funding"), into)
    dataset = open_dataset(into)
    (one,) = dataset.instruments.values()
    assert (one.id, one.settle, one.multiplier, one.quote) == ("ETHUSD-PERP", Settle.INVERSE, 10.0, "USD")
    bars = dataset.bars(one.id)
    assert_prices(bars, 1.002)
    assert set(bars["volume"]) == {20000.0}, "the quote volume of such a kline is in coins"
    assert "quote_volume" not in bars
    assert len(dataset.funding(one.id)) == 181


# ---------------------------------------------------------------- other venues


def test_bybit_newest_first_pages(server: VenueServer, into: Path) -> None:
    download(wanted("bybit", "ETHUSDT", "klines,mark,index,open_interest,funding"), into)
    dataset = open_dataset(into)
    assert list(dataset.instruments) == ["ETHUSDT-PERP.bybit", "ETHUSDT-SPOT.bybit"]
    bars = dataset.bars("ETHUSDT-PERP.bybit")
    assert_prices(bars)
    assert_prices(dataset.bars("ETHUSDT-SPOT.bybit"))
    np.testing.assert_array_equal(bars["mark"].to_numpy(), expected(1.001)["close"].to_numpy())
    held = dataset.series("ETHUSDT-PERP.bybit.open_interest")
    assert held["ts"].tolist() == list(bars.index)
    assert held["value"].tolist() == [interest(ms(time)) for time in bars.index]
    assert "ETHUSDT-SPOT.bybit.open_interest" not in dataset.series_names
    funding = dataset.funding("ETHUSDT-PERP.bybit")
    assert list(funding.index) == list(pd.date_range(START, END, freq="8h"))
    assert set(funding["interval_hours"]) == {8.0}
    assert len(server.paths("funding/history")) == 1, "181 events at eight hours are one page"


def test_bybit_inverse(server: VenueServer, into: Path) -> None:
    download(wanted("bybit", "ETHUSD", "klines,funding,open_interest", end=START + pd.Timedelta("2D")), into)
    (one,) = open_dataset(into).instruments.values()
    assert (one.id, one.settle, one.multiplier) == ("ETHUSD-PERP.bybit", Settle.INVERSE, 1.0)
    assert len(open_dataset(into).series(f"{one.id}.open_interest")) == 48


def test_a_page_of_funding_that_may_be_cut_is_asked_for_in_halves(server: VenueServer, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval was shorter once: what fits one page at eight hours does not fit at two."""
    import venue_server

    monkeypatch.setattr(venue_server, "BYBIT_FUNDING", 2 * HOUR)
    download(wanted("bybit", "ETHUSDT-PERP", "funding"), into)
    funding = open_dataset(into).funding("ETHUSDT-PERP.bybit")
    assert list(funding.index) == list(pd.date_range(START, END, freq="2h"))
    assert set(funding["interval_hours"]) == {2.0}


def test_deribit_hourly_interest(server: VenueServer, into: Path) -> None:
    download(wanted("deribit", "ETHUSD", "klines,funding", futures=True), into)
    dataset = open_dataset(into)
    assert list(dataset.instruments) == ["ETHUSD-240628.deribit", "ETHUSD-PERP.deribit"], "no options and no combinations"
    assert_prices(dataset.bars("ETHUSD-PERP.deribit"))
    funding = dataset.funding("ETHUSD-PERP.deribit")
    assert list(funding.index) == list(pd.date_range(START, END, freq="h"))
    assert funding["rate"].tolist() == [rate(ms(time)) for time in funding.index], "that of one hour, not of eight"
    assert set(funding["interval_hours"]) == {1.0}
    download(wanted("deribit", "ETH-28JUN24", end=START + pd.Timedelta("1D")), into.parent / "named as the venue does")
    assert list(open_dataset(into.parent / "named as the venue does").instruments) == ["ETHUSD-240628.deribit"]


def test_hyperliquid_keeps_few_bars_and_all_funding(server: VenueServer, into: Path) -> None:
    report = download(wanted("hyperliquid", "ETHUSD-PERP", "klines,funding"), into)
    dataset = open_dataset(into)
    funding = dataset.funding("ETHUSD-PERP.hyperliquid")
    assert list(funding.index) == list(pd.date_range(START, END, freq="h")), "on the hour, though stamped later"
    assert funding["premium"].iloc[0] == round(rate(ms(START)) * 8, 10)
    assert dataset.bars("ETHUSD-PERP.hyperliquid").empty
    assert report.notes[0].startswith("ETHUSD-PERP.hyperliquid: hyperliquid keeps klines from ")
    server.until = None
    now = pd.Timestamp.now("UTC").floor("h")
    download(wanted("hyperliquid", "ETHUSD-PERP", start=now - pd.Timedelta("48h"), end=now - pd.Timedelta("1h")), into)
    assert len(open_dataset(into).bars("ETHUSD-PERP.hyperliquid")) == 47


def test_a_bar_that_the_venue_does_not_have(server: VenueServer, into: Path) -> None:
    with pytest.raises(ParameterError, match=r'^bybit has no bars of "8h"; there are 1m, 3m, 5m, 15m, 30m, 1h, 2h, 4h, 6h, 12h, 1d$'):
        download(wanted("bybit", bar="8h"), into)
    assert server.asked == []


# ---------------------------------------------------------------- going on


def test_only_what_is_missing_is_asked_for(server: VenueServer, into: Path) -> None:
    middle = START + pd.Timedelta("30D")
    download(wanted(symbol="ETHUSDT-PERP", what="klines,mark,funding", end=middle), into)
    server.asked.clear()
    download(wanted(symbol="ETHUSDT-PERP", what="klines,mark,funding"), into)
    assert starts_of(server, "v1/klines") == starts_of(server, "markPriceKlines") == [middle]
    (funding,) = starts_of(server, "fundingRate")
    assert middle < funding < middle + pd.Timedelta("8h")
    server.asked.clear()
    report = download(wanted(symbol="ETHUSDT-PERP", what="klines,mark,funding"), into)
    assert [one.path.rpartition("/")[2] for one in server.asked] == ["exchangeInfo"] * 3
    assert (report.lines, report.notes) == ([], ["ETHUSDT-PERP: nothing new between 2024-01-01 and 2024-03-01"])
    download(wanted(symbol="ETHUSDT-PERP", what="klines,mark,funding"), into.parent / "at once")
    assert open_dataset(into).hash == open_dataset(into.parent / "at once").hash


def test_an_earlier_start_and_holes_are_filled(server: VenueServer, into: Path) -> None:
    server.holes = {ms(START) + hour * HOUR for hour in range(900, 950)}
    download(wanted(start=START + pd.Timedelta("20D")), into)
    server.holes = set()
    server.asked.clear()
    download(wanted(), into)
    assert starts_of(server, "klines") == [START, START + pd.Timedelta("900h")]
    assert_prices(open_dataset(into).bars("ETHUSDT-SPOT"))


def test_a_start_between_two_bars_loses_none(server: VenueServer, into: Path) -> None:
    download(wanted(start=START + pd.Timedelta("30min")), into)
    assert list(open_dataset(into).bars("ETHUSDT-SPOT").index) == list(pd.date_range(START + pd.Timedelta("2h"), END, freq="h"))


def test_the_bar_that_is_forming_is_left_out(server: VenueServer, into: Path) -> None:
    server.until = None
    before = pd.Timestamp.now("UTC") - pd.Timedelta(1, "min")
    download(wanted(start=before - pd.Timedelta("3h"), end=before + pd.Timedelta("1D"), bar="1m"), into)
    bars = open_dataset(into).bars("ETHUSDT-SPOT")
    after = pd.Timestamp.now("UTC") - pd.Timedelta(1, "min")
    assert before.floor("min") <= bars.index[-1] <= after
    assert len(server.paths("klines")) == 1


def test_every_chunk_is_committed(server: VenueServer, into: Path, monkeypatch: pytest.MonkeyPatch, patience: Patience) -> None:
    monkeypatch.setattr(api, "PAGES", 1)
    server.on_request = lambda count: server.fail("klines", times=4, status=500) if count == 5 else None
    with pytest.raises(DownloadError, match=r"^binance: klines of ETHUSDT-SPOT: the server failed \(HTTP 500\), 4 times in a row"):
        download(wanted(), into, patience=patience)
    assert len(open_dataset(into).bars("ETHUSDT-SPOT")) == 1000
    server.on_request = lambda count: None
    server.asked.clear()
    download(wanted(), into)
    assert starts_of(server, "klines") == [START + pd.Timedelta("1000h")]
    assert_prices(open_dataset(into).bars("ETHUSDT-SPOT"))


def test_a_tick_that_the_venue_changed_is_no_contradiction(server: VenueServer, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import venue_server

    download(wanted(end=START + pd.Timedelta("1D")), into)
    known = venue_server.binance_symbols
    monkeypatch.setattr(venue_server, "binance_symbols", lambda market: [_with_tick(one) for one in known(market)])
    download(wanted(), into)
    assert open_dataset(into).instruments["ETHUSDT-SPOT"].tick == 0.01
    assert_prices(open_dataset(into).bars("ETHUSDT-SPOT"))


def _with_tick(facts: dict[str, object]) -> dict[str, object]:
    return {**facts, "filters": [{"filterType": "PRICE_FILTER", "minPrice": "0.1", "maxPrice": "1000000", "tickSize": "0.10"}]}


# ---------------------------------------------------------------- what goes wrong


def test_requests_keep_to_the_venues_rate(server: VenueServer, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ccxt

    costs: list[float] = []
    monkeypatch.setattr(ccxt.Exchange, "throttle", lambda exchange, cost=None: costs.append(cost * exchange.rateLimit))
    download(wanted(), into)
    assert len(costs) == len(server.asked)
    assert min(costs) > 0, "milliseconds before each"


@pytest.mark.parametrize(
    ("fault", "waited"),
    [
        ({"status": 429, "headers": {"Retry-After": "3"}}, 3.0),
        ({"status": 418, "headers": {"Retry-After": "120"}}, 120.0),
        ({"status": 429}, 0.5),
        ({"status": 503, "body": b"<html>Service Unavailable</html>"}, 0.5),
        ({"status": 500, "body": b'{"code":-1001,"msg":"Internal error; unable to process your request."}'}, 0.5),
        ({"cut": 1000}, 0.5),
    ],
    ids=["429", "418", "429 alone", "503 page", "500 with code", "cut"],
)
def test_what_may_pass_is_asked_for_again(
    server: VenueServer, into: Path, patience: Patience, waits: list[float], fault: dict[str, object], waited: float
) -> None:
    server.fail("klines", **fault)
    download(wanted(), into, patience=patience)
    assert waits == [waited]
    assert starts_of(server, "klines") == [START, START, START + pd.Timedelta("1000h")]
    assert_prices(open_dataset(into).bars("ETHUSDT-SPOT"))


def test_the_markets_are_asked_for_with_the_same_patience(server: VenueServer, into: Path, patience: Patience, waits: list[float]) -> None:
    server.fail("exchangeInfo", times=2, status=502)
    download(wanted(), into, patience=patience)
    assert waits == [0.5, 1.0]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"status": 400, "body": b'{"code":-1120,"msg":"Invalid interval."}'}, r"the venue refused \(HTTP 400, binance .*Invalid interval"),
        ({"status": 403, "body": b"<html>Forbidden</html>"}, r"the venue refused \(HTTP 403, .*whether it serves your country$"),
        ({"status": 451, "body": b'{"code":0,"msg":"Service unavailable from a restricted location"}'}, r"the venue refused \(HTTP 451"),
        ({"body": b"<html>Log in to this network</html>"}, r"the answer is not what the venue's API gives \(.*is a proxy in between\?$"),
    ],
    ids=["400", "403", "451", "a page"],
)
def test_other_answers_are_final(
    server: VenueServer, into: Path, patience: Patience, waits: list[float], fault: dict[str, object], sentence: str
) -> None:
    server.fail("klines", **fault)
    with pytest.raises(DownloadError, match=rf"^binance: klines of ETHUSDT-SPOT: {sentence}"):
        download(wanted(), into, patience=patience)
    assert (waits, len(server.paths("klines"))) == ([], 1)
    assert not into.exists()


def test_an_error_answer_with_status_200(server: VenueServer, into: Path, patience: Patience, waits: list[float]) -> None:
    server.fail("market/kline", body=b'{"retCode":10001,"retMsg":"params error: start invalid","result":{},"time":1}')
    with pytest.raises(DownloadError, match=r"^bybit: klines of ETHUSDT-PERP\.bybit: the venue refused \(bybit .*start invalid"):
        download(wanted("bybit", "ETHUSDT-PERP"), into, patience=patience)
    server.fail("market/kline", body=b'{"retCode":10006,"retMsg":"Too many visits!","result":{},"time":1}')
    download(wanted("bybit", "ETHUSDT-PERP"), into, patience=patience)
    assert waits == [0.5]


def test_prices_that_cant_be_true_are_refused_with_their_place(server: VenueServer, into: Path) -> None:
    row = f'[[{ms(START)},"2000","1990","1980","2001","1",{ms(START) + HOUR - 1},"1",1,"1","1","0"]]'
    server.fail("klines", body=row.encode())
    with pytest.raises(DataError, match=r"^binance ETHUSDT-SPOT bars at 2024-01-01T01:00Z: .*high"):
        download(wanted(end=START + pd.Timedelta("1h")), into)
    assert not into.exists()


def test_nothing_there(server: VenueServer, into: Path) -> None:
    early = {"start": pd.Timestamp("2020-01-01", tz="UTC"), "end": pd.Timestamp("2020-02-01", tz="UTC")}
    with pytest.raises(
        DataError, match=r"^ETHUSDT-SPOT: binance has nothing of it between 2020-01-01 and 2020-02-01; check symbol and dates$"
    ):
        download(wanted(**early), into)
    server.asked.clear()
    with pytest.raises(DataError, match=r"^ETHUSDT-PERP: binance has nothing"):
        download(wanted(symbol="ETHUSDT-PERP", what="klines,mark,funding", **early), into)
    assert [one for one in server.asked if "exchangeInfo" not in one.path] == [], "it was listed later"


@pytest.mark.parametrize(
    ("symbol", "near"),
    [("ETHXUSDT", "ETHUSDT"), ("ETHUSDT-250628", "ETHUSDT-240628"), ("???", None)],
)
def test_unknown_symbols(server: VenueServer, into: Path, symbol: str, near: str | None) -> None:
    with pytest.raises(ParameterError) as refused:
        download(wanted(symbol=symbol), into)
    hint = f'did you mean "{near}"?' if near else "name a pair, such as ETHUSDT, or an instrument, such as ETHUSDT-PERP"
    assert str(refused.value) == f'binance has no "{symbol}"; {hint}'


def test_without_ccxt(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt", None)
    with pytest.raises(ParameterError, match=r'needs ccxt; pip install "carry-backtest\[download\]", or for binance use "--via archive"$'):
        download(wanted(), into)


def test_downloads_don_t_belong_into_simulated_data(server: VenueServer, into: Path, tables: object) -> None:
    from backtest.data.store import write_dataset

    write_dataset(into, tables, name="s", source="test", simulated=True, licence="")  # type: ignore[arg-type]
    before = open_dataset(into).hash
    with pytest.raises(DataError, match="is simulated; real data don't belong into it"):
        download(wanted(), into)
    assert open_dataset(into).hash == before


def test_a_report_is_given(server: VenueServer, into: Path) -> None:
    report = download(wanted(end=START + pd.Timedelta("1D")), into, name="mine")
    assert isinstance(report, DownloadReport)
    assert isinstance(report.dataset, Dataset)
    assert report.dataset.name == "mine"
