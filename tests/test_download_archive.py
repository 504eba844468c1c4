"""Downloads from Binance's bulk archive: which files are asked for, how they are verified and kept, and what comes of them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from venue_server import HOUR, VenueServer, interest, kline, ms, rate

from backtest.data.download import DownloadError, Patience, Wanted, bulk, download
from backtest.data.download.bulk import archive_files, places
from backtest.data.store import open_dataset
from backtest.errors import DataError

START, END = pd.Timestamp("2023-12-01", tz="UTC"), pd.Timestamp("2024-02-01", tz="UTC")
HEADER = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[VenueServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with VenueServer() as running:
        monkeypatch.setenv("CARRY_ARCHIVE_URL", f"{running.url}/archive")
        yield running


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "set"


def wanted(symbol: str = "ETHUSDT-SPOT", what: str = "klines", **more: object) -> Wanted:
    facts: dict[str, object] = {"start": START, "end": END, "venue": "binance", "archive": True, **more}
    return Wanted(symbol=symbol, what=tuple(what.split(",")), **facts)  # type: ignore[arg-type]


def put_klines(
    server: VenueServer,
    first: pd.Timestamp,
    last: pd.Timestamp,
    kind: str = "klines",
    market: str = "spot",
    symbol: str = "ETHUSDT",
    level: float = 1.0,
) -> str:
    """A month's or a day's file of hourly klines; spot has no header and from 2025 on microseconds, as the archive's."""
    daily = last - first <= pd.Timedelta("1D")
    rows = []
    for at in range(ms(first), ms(last), HOUR):
        scale = 1000 if market == "spot" and first.year >= 2025 else 1
        volume = ["10.5", str((at + HOUR) * scale - 1), "21000", "42", "5.25", "10500", "0"]
        rows.append(",".join([str(at * scale), *kline(at, HOUR, level), *volume]))
    date = f"{first:%Y-%m-%d}" if daily else f"{first:%Y-%m}"
    name = f"{symbol}-1h-{date}"
    path = f"data/{market}/{'daily' if daily else 'monthly'}/{kind}/{symbol}/1h/{name}.zip"
    server.put(path, f"{name}.csv", ("" if market == "spot" else HEADER) + "\n".join(rows) + "\n")
    return path


def put_funding(server: VenueServer, first: pd.Timestamp, last: pd.Timestamp) -> None:
    rows = [f"{at + at // HOUR % 16},8,{rate(at):.8f}" for at in range(ms(first), ms(last), 8 * HOUR)]
    name = f"ETHUSDT-fundingRate-{first:%Y-%m}"
    text = "calc_time,funding_interval_hours,last_funding_rate\n" + "\n".join(rows) + "\n"
    server.put(f"data/futures/um/monthly/fundingRate/ETHUSDT/{name}.zip", f"{name}.csv", text)


def put_metrics(server: VenueServer, day: pd.Timestamp) -> None:
    header = (
        "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
        "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio\n"
    )
    times = pd.date_range(day + pd.Timedelta("5min"), day + pd.Timedelta("1D"), freq="5min")
    rows = [f"{time:%Y-%m-%d %H:%M:%S},ETHUSDT,{interest(ms(time))},2e9,1.5,1.2,1.9,1.1" for time in times]
    name = f"ETHUSDT-metrics-{day:%Y-%m-%d}"
    server.put(f"data/futures/um/daily/metrics/ETHUSDT/{name}.zip", f"{name}.csv", header + "\n".join(rows) + "\n")


def months(start: pd.Timestamp, end: pd.Timestamp) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    first = pd.date_range(start, end, freq="MS", inclusive="left")
    return [(month, month + pd.DateOffset(months=1)) for month in first]


# ---------------------------------------------------------------- which files


def test_whole_months_come_as_monthly_files_and_the_rest_as_daily_ones() -> None:
    now = pd.Timestamp("2024-03-04T05:00Z")
    files = archive_files(wanted(start=pd.Timestamp("2023-12-31T12:00Z"), end=now), now)
    assert [file.path.rpartition("/")[2] for file in files] == [
        "ETHUSDT-1h-2023-12.zip", "ETHUSDT-1h-2024-01.zip", "ETHUSDT-1h-2024-02.zip",
        "ETHUSDT-1h-2024-03-01.zip", "ETHUSDT-1h-2024-03-02.zip", "ETHUSDT-1h-2024-03-03.zip",
    ]  # fmt: skip
    assert files[0].path == "data/spot/monthly/klines/ETHUSDT/1h/ETHUSDT-1h-2023-12.zip"
    assert files[3].path == "data/spot/daily/klines/ETHUSDT/1h/ETHUSDT-1h-2024-03-01.zip"
    assert files[0].span == (pd.Timestamp("2023-12-01", tz="UTC"), pd.Timestamp("2024-01-01", tz="UTC"))
    assert len(files[0].instead) == 0, "an old month that is not there will not come"
    assert len(files[2].instead) == 29, "a young one may not be there yet, and its days are"


def test_funding_has_months_and_metrics_days() -> None:
    now = pd.Timestamp("2024-03-04T05:00Z")
    files = archive_files(wanted("ETHUSDT-PERP", "funding,metrics", start=pd.Timestamp("2024-02-28", tz="UTC"), end=now), now)
    root = "data/futures/um"
    assert [file.path for file in files] == [
        f"{root}/monthly/fundingRate/ETHUSDT/ETHUSDT-fundingRate-2024-02.zip",
        *(f"{root}/daily/metrics/ETHUSDT/ETHUSDT-metrics-2024-0{date}.zip" for date in ("2-28", "2-29", "3-01", "3-02", "3-03")),
    ]


@pytest.mark.parametrize(
    ("symbol", "futures", "found"),
    [
        ("ETHUSDT", False, ["spot ETHUSDT", "futures/um ETHUSDT"]),
        ("eth/usdt", False, ["spot ETHUSDT", "futures/um ETHUSDT"]),
        ("ETHUSD", False, ["futures/cm ETHUSD_PERP"]),
        ("ETHUSD", True, ["futures/cm ETHUSD_PERP", *(f"futures/cm ETHUSD_{date}" for date in ("231229", "240329", "240628"))]),
        ("ETHUSDT-PERP", True, ["futures/um ETHUSDT"]),
        ("ETHUSDT_240329", False, ["futures/um ETHUSDT_240329"]),
        ("ETHUSD_PERP", False, ["futures/cm ETHUSD_PERP"]),
        ("ETHUSDC-SPOT", False, ["spot ETHUSDC"]),
    ],
)
def test_where_a_symbol_lies(symbol: str, futures: bool, found: list[str]) -> None:
    """The contracts of a quarter are those that lived then: last Fridays of quarters."""
    lived = wanted(symbol, futures=futures, start=pd.Timestamp("2023-12-01", tz="UTC"), end=pd.Timestamp("2023-12-20", tz="UTC"))
    assert [f"{place.market} {place.symbol}" for place in places(lived)] == found


def test_marks_are_those_of_contracts_and_need_their_klines() -> None:
    now = pd.Timestamp("2024-06-04", tz="UTC")
    files = archive_files(wanted("ETHUSDT", "mark,index,premium,funding", start=pd.Timestamp("2024-01-01", tz="UTC"), futures=True), now)
    kinds: dict[str, list[str]] = {}
    for file in files:
        kinds.setdefault(file.id, []).append(file.what)
    assert kinds["ETHUSDT-SPOT"] == ["klines"]
    assert kinds["ETHUSDT-PERP"] == ["klines", "mark", "index", "premium", "funding"]
    assert kinds["ETHUSDT-240329"] == ["klines", "mark"]


# ---------------------------------------------------------------- what comes


def test_two_months_of_spot(server: VenueServer, into: Path) -> None:
    paths = [put_klines(server, *month) for month in months(START, END)]
    report = download(wanted(), into)
    bars = open_dataset(into).bars("ETHUSDT-SPOT")
    assert list(bars.index) == list(pd.date_range(START + pd.Timedelta("1h"), END, freq="h"))
    expected = [float(kline(ms(time) - HOUR, HOUR)[3]) for time in bars.index]
    np.testing.assert_array_equal(bars["close"].to_numpy(), expected)
    assert [(line.target, line.rows) for line in report.lines] == [("ETHUSDT-SPOT", 62 * 24)]
    assert [one.path for one in server.asked] == [f"/archive/{path}{end}" for path in paths for end in (".CHECKSUM", "")]
    for path in paths:
        assert (into.parent / "set.downloads" / path).read_bytes() == server.files[path]


def test_the_whole_of_a_perpetual(server: VenueServer, into: Path) -> None:
    january = pd.Timestamp("2024-01-01", tz="UTC"), END
    um = {"market": "futures/um"}
    put_klines(server, *january, level=1.002, **um)
    put_klines(server, *january, kind="markPriceKlines", level=1.001, **um)
    put_klines(server, *january, kind="indexPriceKlines", level=0.999, **um)
    put_klines(server, *january, kind="premiumIndexKlines", level=1e-6, **um)
    put_funding(server, *january)
    for day in pd.date_range(*january, inclusive="left"):
        put_metrics(server, day)
    what = "klines,mark,index,premium,funding,metrics"
    download(wanted("ETHUSDT-PERP", what, start=january[0]), into)
    dataset = open_dataset(into)
    bars = dataset.bars("ETHUSDT-PERP")
    assert len(bars) == 31 * 24
    for column, level, place in (
        ("close", 1.002, 3),
        ("mark", 1.001, 3),
        ("mark_high", 1.001, 1),
        ("mark_low", 1.001, 2),
        ("index", 0.999, 3),
    ):
        assert bars[column].tolist() == [float(kline(ms(time) - HOUR, HOUR, level)[place]) for time in bars.index], column
    funding = dataset.funding("ETHUSDT-PERP")
    assert list(funding.index) == list(pd.date_range(*january, freq="8h", inclusive="left"))
    assert "ETHUSDT-PERP.premium_index" in dataset.series_names
    held = dataset.series("ETHUSDT-PERP.open_interest")
    assert (len(held), held["value"].iloc[-1]) == (31 * 288, interest(ms(END)))
    server.asked.clear()
    report = download(wanted("ETHUSDT-PERP", what, start=january[0]), into)
    assert (server.asked, report.lines) == ([], [])


def test_daily_files_where_the_month_is_not_there_yet(server: VenueServer, into: Path) -> None:
    today = pd.Timestamp.now("UTC").normalize()
    month = today.replace(day=1) - pd.DateOffset(months=1)
    days = pd.date_range(month, today, inclusive="left")
    for day in days:
        put_klines(server, day, day + pd.Timedelta("1D"))
    download(wanted(start=month, end=pd.Timestamp.now("UTC")), into)
    assert list(open_dataset(into).bars("ETHUSDT-SPOT").index) == list(pd.date_range(month + pd.Timedelta("1h"), today, freq="h"))
    assert server.asked[0].path.endswith(f"monthly/klines/ETHUSDT/1h/ETHUSDT-1h-{month:%Y-%m}.zip.CHECKSUM")
    assert len(server.asked) == 1 + 2 * len(days)


def test_what_the_archive_does_not_have_is_remembered_when_it_will_not_come(server: VenueServer, into: Path) -> None:
    put_klines(server, *months(START, END)[1])
    download(wanted(), into)
    assert [one.path.rpartition("/")[2] for one in server.asked] == [
        "ETHUSDT-1h-2023-12.zip.CHECKSUM",
        "ETHUSDT-1h-2024-01.zip.CHECKSUM",
        "ETHUSDT-1h-2024-01.zip",
    ]
    server.asked.clear()
    report = download(wanted(), into)
    assert server.asked == []
    assert report.notes == ["ETHUSDT-SPOT: nothing new in the archive between 2023-12-01 and 2024-02-01"]


def test_nothing_at_all(server: VenueServer, into: Path) -> None:
    with pytest.raises(
        DataError, match=r"^ETHUSDT-SPOT: the archive has nothing of it between 2023-12-01 and 2024-02-01; check symbol and dates$"
    ):
        download(wanted(), into)
    assert not into.exists()


# ---------------------------------------------------------------- going on, and what goes wrong


def test_verified_zips_are_not_asked_for_again(server: VenueServer, into: Path, patience: Patience) -> None:
    first, second = (put_klines(server, *month) for month in months(START, END))
    server.fail(second, times=9, status=500)
    with pytest.raises(DownloadError, match=r"2024-01\.zip\.CHECKSUM: the server failed \(HTTP 500\), 4 times in a row"):
        download(wanted(), into, patience=patience)
    assert not into.exists()
    server.faults.clear()
    server.asked.clear()
    download(wanted(), into)
    assert [one.path for one in server.asked] == [f"/archive/{second}.CHECKSUM", f"/archive/{second}"]
    assert first not in {one.path for one in server.asked}
    assert len(open_dataset(into).bars("ETHUSDT-SPOT")) == 62 * 24


def test_a_cut_zip_goes_on_where_it_was_cut(server: VenueServer, into: Path, patience: Patience) -> None:
    path = put_klines(server, *months(START, END)[0])
    size = len(server.files[path])
    server.on_request = lambda count: server.fail(".zip", times=1, cut=size // 2) if count == 2 else None
    download(wanted(end=pd.Timestamp("2024-01-01", tz="UTC")), into, patience=patience)
    assert [one.headers.get("Range") for one in server.asked] == [None, None, f"bytes={size // 2}-"]
    assert len(open_dataset(into).bars("ETHUSDT-SPOT")) == 31 * 24


def test_the_beginning_of_a_zip_that_a_killed_download_left_goes_on(server: VenueServer, into: Path) -> None:
    path = put_klines(server, *months(START, END)[0])
    part = into.parent / "set.downloads" / f"{path}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(server.files[path][:1000])
    download(wanted(end=pd.Timestamp("2024-01-01", tz="UTC")), into)
    assert server.asked[1].headers["Range"] == "bytes=1000-"
    assert not part.exists()
    assert len(open_dataset(into).bars("ETHUSDT-SPOT")) == 31 * 24


def test_a_whole_zip_that_was_not_renamed_is_not_asked_for(server: VenueServer, into: Path) -> None:
    path = put_klines(server, *months(START, END)[0])
    part = into.parent / "set.downloads" / f"{path}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(server.files[path])
    download(wanted(end=pd.Timestamp("2024-01-01", tz="UTC")), into)
    assert [one.path for one in server.asked] == [f"/archive/{path}.CHECKSUM"]


def test_a_beginning_of_another_file_is_noticed_by_its_checksum(server: VenueServer, into: Path) -> None:
    path = put_klines(server, *months(START, END)[0])
    part = into.parent / "set.downloads" / f"{path}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"of an older version of the file")
    download(wanted(end=pd.Timestamp("2024-01-01", tz="UTC")), into)
    assert [one.headers.get("Range") for one in server.asked] == [None, "bytes=31-", None]
    assert len(open_dataset(into).bars("ETHUSDT-SPOT")) == 31 * 24


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(server: VenueServer, into: Path) -> None:
    path = put_klines(server, *months(START, END)[0])
    server.files[f"{path}.CHECKSUM"] = f"{'0' * 64}  x.zip\n".encode()
    digest = hashlib.sha256(server.files[path]).hexdigest()
    with pytest.raises(
        DataError,
        match=rf"2023-12\.zip: its SHA-256 is {digest[:16]}… and its checksum file says 0000000000000000…; nothing of it was kept",
    ):
        download(wanted(), into)
    assert len(server.paths("2023-12.zip")) == 3, "it is asked for a second time, no more"
    assert not into.exists()
    assert list((into.parent / "set.downloads").rglob("*.zip*")) == []


def test_a_page_in_place_of_a_checksum(server: VenueServer, into: Path) -> None:
    server.files[f"{put_klines(server, *months(START, END)[0])}.CHECKSUM"] = b"<html>log in</html>"
    with pytest.raises(DataError, match=r'2023-12\.zip\.CHECKSUM: is "<html>log in</html>", not a SHA-256; is a proxy in between\?$'):
        download(wanted(), into)


def test_a_checksum_without_its_file(server: VenueServer, into: Path) -> None:
    del server.files[put_klines(server, *months(START, END)[0])]
    with pytest.raises(DownloadError, match=r"2023-12\.zip: has a checksum file but is not there itself; repeat the command later$"):
        download(wanted(), into)


def test_the_home_of_the_archive() -> None:
    assert bulk.HOME == "https://data.binance.vision"


def test_the_archive_for_old_months_and_the_api_for_the_rest(server: VenueServer, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways give the same columns, so that a series does not change its meaning where they meet."""
    ccxt = pytest.importorskip("ccxt", reason="the extra [download] is not installed")
    monkeypatch.setenv("CARRY_API_URL", server.url)
    monkeypatch.setattr(ccxt.Exchange, "throttle", lambda exchange, cost=None: None)
    january = pd.Timestamp("2024-01-01", tz="UTC"), END
    put_klines(server, *january, market="futures/um", level=1.002)
    put_klines(server, *january, kind="premiumIndexKlines", market="futures/um", level=1e-6)
    put_funding(server, *january)
    later = END + pd.Timedelta("2D")
    what = "klines,premium,funding"
    download(wanted("ETHUSDT-PERP", what, start=january[0]), into)
    server.asked.clear()
    download(wanted("ETHUSDT-PERP", what, start=january[0], end=later, archive=False), into)
    dataset = open_dataset(into)
    bars = dataset.bars("ETHUSDT-PERP")
    assert list(bars.index) == list(pd.date_range(january[0] + pd.Timedelta("1h"), later, freq="h"))
    assert bars.notna().all().all()
    assert int(server.paths("v1/klines")[0].params["startTime"]) == ms(END)
    funding = dataset.funding("ETHUSDT-PERP")
    assert list(funding.index) == list(pd.date_range(january[0], later, freq="8h"))
    assert set(funding["interval_hours"]) == {8.0}
    assert len(dataset.series("ETHUSDT-PERP.premium_index")) == 33 * 24
    assert dataset.instruments["ETHUSDT-PERP"].tick == 0.01, "what only the API knows of the instrument came with it"
    server.asked.clear()
    download(wanted("ETHUSDT-PERP", what, start=january[0]), into)
    assert server.asked == []
