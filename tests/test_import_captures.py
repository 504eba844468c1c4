"""Websocket captures: the real files against a plain loop over their lines, the clock, and everything that is refused."""

import gzip
import itertools
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backtest.data.importers import ImportReport, captures, captures_reader, import_files
from backtest.data.importers.captures_reader import Capture
from backtest.data.importers.common import Request
from backtest.data.importers.source import sources_in
from backtest.data.store import open_dataset
from backtest.errors import DataError
from backtest.instruments import Kind

SECOND = 1_000_000_000
FILES = {"ETHUSDT-SPOT": "spot_ethusdt_20240808.gz", "ETHUSDT-PERP": "usdm_ethusdt_20240808.gz"}


# ---------------------------------------------------------------- the real files, read again line by line


@dataclass
class Plain:
    """What a loop over the lines finds: (known at, values …) of quotes and trades, and the depths after each message of the book."""

    quotes: list[tuple[int, float, float, float, float]] = field(default_factory=list)
    trades: list[tuple[int, float, float, bool]] = field(default_factory=list)
    depths: list[tuple[int, float, float]] = field(default_factory=list)
    behind: int = 0


def plain_read(file: Path) -> Plain:
    """Dictionaries for the book, one message after the other."""
    found = Plain()
    parted = [line.split(b" ", 1) for line in gzip.decompress(file.read_bytes()).splitlines()]
    messages = [(int(stamp), json.loads(text)) for stamp, text in parted]
    contents = [(stamp, message.get("data", message)) for stamp, message in messages]
    found.behind = next(data["E"] * 10**6 - stamp for stamp, data in contents if "E" in data)
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    best_at: dict[int, tuple[float, float]] = {}
    number, lowest, highest, waiting = None, 0.0, 0.0, []
    for stamp, data in contents:
        if "E" in data:
            found.behind = max(found.behind, data["E"] * 10**6 - stamp)
        time = stamp + found.behind
        if "B" in data:
            found.quotes.append((time, *(float(data[name]) for name in "baBA")))
            best_at[data["u"]] = (float(data["b"]), float(data["a"]))
        elif data.get("e") == "trade":
            found.trades.append((time, float(data["p"]), float(data["q"]), not data["m"]))
        elif "lastUpdateId" in data:
            number = data["lastUpdateId"]
            bids, asks = ({float(price): float(size) for price, size in data[side]} for side in ("bids", "asks"))
            lowest, highest = min(bids), max(asks)
            for change in waiting:
                number = changed(bids, asks, change, number)
            found.depths.append((time, *depths(bids, asks, lowest, highest)))
        elif data.get("e") == "depthUpdate" and number is None:
            waiting.append(data)
        elif data.get("e") == "depthUpdate":
            number = changed(bids, asks, data, number)
            found.depths.append((time, *depths(bids, asks, lowest, highest)))
    return found


def changed(bids: dict[float, float], asks: dict[float, float], change: dict[str, Any], number: int) -> int:
    """Apply a change that follows on the update `number`; the exchange's own rule for it, spot and futures."""
    if change["u"] <= number:
        return number
    assert (change["pu"] <= number) if "pu" in change else (change["U"] <= number + 1), "a change is missing"
    for side, levels in ((bids, change["b"]), (asks, change["a"])):
        for price, size in levels:
            side[float(price)] = float(size)
            if float(size) == 0:
                del side[float(price)]
    return int(change["u"])


def depths(bids: dict[float, float], asks: dict[float, float], lowest: float, highest: float) -> tuple[float, float]:
    mid = (max(bids) + min(asks)) / 2
    found = []
    for reach in (0.001, 0.005):
        low, high = mid * (1 - reach), mid * (1 + reach)
        if low < lowest or high > highest:
            found.append(math.nan)
        else:
            found.append(
                sum(price * size for price, size in bids.items() if price >= low) + sum(p * s for p, s in asks.items() if p <= high)
            )
    return found[0], found[1]


@pytest.fixture(scope="module")
def plain(raw: Path) -> dict[str, Plain]:
    return {key: plain_read(raw / "binance-ticks" / name) for key, name in FILES.items()}


@pytest.fixture(scope="module")
def imported(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ImportReport]:
    """Both captures as bars of 10 s in one dataset, by one command that tells the vendor itself."""
    into = tmp_path_factory.mktemp("captures") / "set"
    report = import_files("auto", [raw / "binance-ticks"], into, Request(bar=pd.Timedelta("10s")))
    return into, report


def over_time(steps: list[tuple[int, float]], start: int, end: int) -> float:
    """The mean of a step function over (start, end]."""
    area = 0.0
    for (time, value), until in zip(steps, [*(step[0] for step in steps[1:]), end], strict=True):
        span = max(0, min(until, end) - max(time, start))
        area += value * span if span else 0.0
    return area / (end - start)


def expected_bar(found: Plain, end: int) -> dict[str, float]:
    start = end - 10 * SECOND
    trades = [trade for trade in found.trades if start < trade[0] <= end]
    quote = [quote for quote in found.quotes if quote[0] <= end][-1]
    prices = [trade[1] for trade in trades]
    return {
        "open": prices[0], "high": max(prices), "low": min(prices), "close": prices[-1],
        "volume": sum(trade[2] for trade in trades),
        "bid": quote[1], "ask": quote[2], "bid_size": quote[3], "ask_size": quote[4],
        "spread": over_time([(time, (ask - bid) / ((ask + bid) / 2)) for time, bid, ask, _, _ in found.quotes], start, end),
        "depth_10bps": over_time([(time, ten) for time, ten, _ in found.depths], start, end),
        "depth_50bps": over_time([(time, fifty) for time, _, fifty in found.depths], start, end),
        "taker_buy_volume": sum(trade[2] for trade in trades if trade[3]),
        "trades": len(trades),
    }  # fmt: skip


@pytest.mark.parametrize(("key", "rows"), [("ETHUSDT-SPOT", 34), ("ETHUSDT-PERP", 34)])
def test_the_real_captures_are_those_of_a_plain_loop(
    plain: dict[str, Plain], imported: tuple[Path, ImportReport], key: str, rows: int
) -> None:
    found, bars = plain[key], open_dataset(imported[0]).bars(key)
    first = min(found.quotes[0][0], found.trades[0][0])
    ends = range(-(-first // (10 * SECOND)) * 10 * SECOND + 10 * SECOND, found.quotes[-1][0] + 1, 10 * SECOND)
    assert [time.value for time in bars.index] == list(ends)
    assert len(bars) == rows
    for row in (0, len(bars) // 2, -1):
        wanted = expected_bar(found, bars.index[row].value)
        for name, value in wanted.items():
            assert bars[name].iloc[row] == pytest.approx(value, rel=1e-9, nan_ok=True), (name, row)
    inside = [trade for trade in found.trades if ends[0] - 10 * SECOND < trade[0] <= ends[-1]]
    assert bars["trades"].sum() == len(inside)
    assert bars["volume"].sum() == pytest.approx(sum(trade[2] for trade in inside), rel=1e-12)
    assert 0 < bars["taker_buy_volume"].sum() < bars["volume"].sum()


def test_counts_of_the_real_captures(raw: Path, plain: dict[str, Plain]) -> None:
    for key, counts, behind in (("ETHUSDT-SPOT", (24_077, 6_106, 3_433), 1.275), ("ETHUSDT-PERP", (53_992, 14_076, 6_580), 1.273)):
        (source,) = sources_in([str(raw / "binance-ticks" / FILES[key])])
        capture, found = Capture(), plain[key]
        blocks = list(capture.blocks(source))
        assert len(blocks) == 2 if key == "ETHUSDT-SPOT" else 4  # of 20,000 lines
        for kind, wanted, count in zip(("quotes", "trades", "depth"), (found.quotes, found.trades, found.depths), counts, strict=True):
            assert sum(len(getattr(block, kind).ts) for block in blocks) == count == len(wanted)
            for number, column in enumerate(zip(*wanted, strict=True)):
                read = np.concatenate([getattr(block, kind)[number] for block in blocks])
                if kind == "depth" and number:
                    np.testing.assert_allclose(read, column, rtol=1e-12)
                else:
                    np.testing.assert_array_equal(read, np.array(column, dtype=read.dtype))
        # the recorder's clock was over a second slow
        assert round(capture.behind / 1e9, 3) == round(found.behind / 1e9, 3) == behind
        assert capture.book.lost == 0


def test_the_rebuilt_book_agrees_with_every_quote(raw: Path) -> None:
    """Depth changes and best quotes are two streams of the exchange: after update u both must tell the same best bid and ask."""
    for name in FILES.values():
        lines = gzip.decompress((raw / "binance-ticks" / name).read_bytes()).splitlines()
        messages = [json.loads(line.partition(b" ")[2]) for line in lines]
        contents = [message.get("data", message) for message in messages]
        quoted = [(data["u"], (float(data["b"]), float(data["a"]))) for data in contents if "B" in data]
        numbers = np.array([number for number, _ in quoted])
        book, compared = captures_reader.Book(), 0
        for data in contents:
            if "lastUpdateId" in data or data.get("e") == "depthUpdate":
                sides = [[(float(p), float(s)) for p, s in data[side]] for side in (("bids", "asks") if "bids" in data else ("b", "a"))]
                if "bids" in data:
                    book.take_snapshot(data["lastUpdateId"], *sides)
                else:
                    before = data["pu"] if "pu" in data else data["U"] - 1
                    book.take_change(captures_reader.Change(before, data["u"], *sides))
                row = np.searchsorted(numbers, data.get("u", data.get("lastUpdateId")), side="right") - 1
                if book.known and row >= 0:
                    assert book.best() == quoted[row][1]
                    compared += 1
        assert compared > 3_000


def test_the_spreads_are_those_known_of_that_day(plain: dict[str, Plain]) -> None:
    """By update of the quotes (each counts once) p50/p95/p99 are those of the notes on spreads; by time wide spreads weigh far less."""
    for key, by_update in (("ETHUSDT-SPOT", [0.04, 0.30, 0.82]), ("ETHUSDT-PERP", [0.04, 0.04, 0.34])):
        quotes = plain[key].quotes
        bps = sorted((ask - bid) / ((ask + bid) / 2) * 1e4 for _, bid, ask, _, _ in quotes)
        assert [round(bps[math.ceil(share * len(bps)) - 1], 2) for share in (0.5, 0.95, 0.99)] == by_update
        weighted = sorted(
            ((ask - bid) / ((ask + bid) / 2) * 1e4, after[0] - time) for (time, bid, ask, _, _), after in itertools.pairwise(quotes)
        )
        spans = np.cumsum([span for _, span in weighted])
        at = [weighted[int(np.searchsorted(spans, share * spans[-1]))][0] for share in (0.5, 0.95, 0.99)]
        assert [round(value, 3) for value in at] == [0.037, 0.037, 0.037]


def test_what_is_said_of_the_real_captures(imported: tuple[Path, ImportReport]) -> None:
    dataset, report = open_dataset(imported[0]), imported[1]
    kinds = {"ETHUSDT-SPOT": Kind.SPOT, "ETHUSDT-PERP": Kind.PERPETUAL}
    assert {key: (one.kind, one.base, one.quote, one.venue) for key, one in dataset.instruments.items()} == {
        key: (kind, "ETH", "USDT", "binance") for key, kind in kinds.items()
    }
    assert sorted(report.taken_for.values()) == ["Binance websocket capture of USD-M ETHUSDT", "Binance websocket capture of spot ETHUSDT"]
    assert [(line.target, line.kept, line.cut) for line in report.lines] == [("ETHUSDT-SPOT", 34, 2), ("ETHUSDT-PERP", 34, 2)]
    notes = "\n".join(report.notes)
    assert "4 bars are not covered whole (the capture begins, ends or is silent for over 60 s inside) and were left out" in notes
    assert "ETHUSDT-SPOT: the recorder's clock was up to 1.275 s behind the exchange's" in notes
    assert "ETHUSDT-PERP: of 6,580 states of the book 100.0% reach 10 bps and 4.5% reach 50 bps from the mid" in notes
    assert "ETHUSDT-SPOT: of" not in notes  # all of its states reach 50 bps


# ---------------------------------------------------------------- small captures

START = pd.Timestamp("2024-08-08T00:00Z").value


def line(seconds: float, data: dict[str, Any], stream: str | None = "x") -> str:
    message = data if stream is None else {"stream": stream, "data": data}
    return f"{START + round(seconds * SECOND)} {json.dumps(message)}"


def quote(seconds: float, bid: object = "99", ask: object = "101", **more: Any) -> str:
    return line(seconds, {"u": 1, "s": "ETHUSDT", "b": bid, "B": "1", "a": ask, "A": "2"} | more, "ethusdt@bookTicker")


def trade(seconds: float, price: object = "100", size: object = "1", maker: Any = False, sent: float | None = None, **more: Any) -> str:
    time = {"E": int((START + (seconds if sent is None else sent) * SECOND) // 10**6)}
    return line(seconds, {"e": "trade", "s": "ETHUSDT", "p": price, "q": size, "m": maker, "M": True} | time | more, "ethusdt@trade")


def change(seconds: float, first: int, last: int, bids: Any = (), asks: Any = ()) -> str:
    return line(seconds, {"e": "depthUpdate", "s": "ETHUSDT", "U": first, "u": last, "b": bids, "a": asks}, "ethusdt@depth@100ms")


def snapshot(seconds: float, number: int, bids: Any = (("99.99", "1"), ("90", "1")), asks: Any = (("100.01", "1"), ("110", "1"))) -> str:
    return line(seconds, {"lastUpdateId": number, "bids": bids, "asks": asks}, None)


GOOD = [quote(0), trade(1), quote(14), trade(15, "102", "2", True), quote(31)]


def write(folder: Path, lines: list[str], name: str = "spot_ethusdt.gz") -> Path:
    file = folder / name
    text = "".join(f"{each}\n" for each in lines).encode()
    file.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return file


def bring(folder: Path, lines: list[str], name: str = "spot_ethusdt.gz", **more: Any) -> ImportReport:
    return import_files("captures", [write(folder, lines, name)], folder / "set", Request(bar=pd.Timedelta("10s"), **more))


def test_a_small_capture_by_hand(tmp_path: Path) -> None:
    report = bring(tmp_path, GOOD)
    bars = report.dataset.bars("ETHUSDT-SPOT")
    # whole are (0, 10], which begins with the quote of 0 s, (10, 20] and (20, 30]
    assert [f"{time:%M:%S}" for time in bars.index] == ["00:10", "00:20", "00:30"]
    assert bars["close"].tolist() == [100, 102, 102]
    assert bars["taker_buy_volume"].tolist() == [1, 0, 0]  # the buyer of 15 s was the maker
    assert (bars["bid"].iloc[0], bars["ask_size"].iloc[0], bars["spread"].iloc[0]) == (99, 2, 0.02)
    assert bars["depth_10bps"].isna().all()
    assert any("has no book that can be rebuilt" in note for note in report.notes)
    assert not any("clock" in note for note in report.notes)


def test_nothing_is_known_before_it_was_sent(tmp_path: Path) -> None:
    """A recorder two seconds behind: what it stamps 9 s and the exchange 11 s was not known at 10 s."""
    slow = [quote(0), trade(1, sent=3), trade(9, "200", sent=11), quote(19.5), trade(28.5, sent=30.4)]
    report = bring(tmp_path, slow)
    bars = report.dataset.bars("ETHUSDT-SPOT")
    assert [f"{time:%M:%S}" for time in bars.index] == ["00:20", "00:30"]  # it begins at 2 s
    assert bars["close"].tolist() == [200, 200]
    assert any("the recorder's clock was up to 2.000 s behind" in note for note in report.notes)


def test_a_clock_that_runs_ahead_is_left_alone(tmp_path: Path) -> None:
    """It can't be told from a slow line, and late is safe."""
    report = bring(tmp_path, [quote(0), trade(11, sent=9), quote(30)])
    assert report.dataset.bars("ETHUSDT-SPOT")["volume"].tolist()[1] == 1
    assert not any("clock" in note for note in report.notes)


def test_depths_of_a_small_capture(tmp_path: Path) -> None:
    lines = [
        quote(0), change(0, 5, 9, [["99.99", "9"]]), snapshot(0, 9), change(15, 10, 11, [["99.99", "3"]]), quote(20), change(25, 13, 14), quote(41),
    ]  # fmt: skip
    report = bring(tmp_path, lines)
    # (0, 10] 99.99 + 100.01; (10, 20] 5 s of that and 5 s of 3·99.99 + 100.01; (20, 30] is lost from 25 s on
    bars = report.dataset.bars("ETHUSDT-SPOT")
    np.testing.assert_allclose(bars["depth_10bps"], [200, (200 + 399.98) / 2, math.nan, math.nan])
    assert any("changes of the book were missing 1 times" in note for note in report.notes)


def test_partial_books_and_streams_without_a_name(tmp_path: Path) -> None:
    levels = {"b": [["99.95", "1"]], "a": [["100.05", "1"]]}
    partial = line(0, {"e": "depthUpdate", "s": "ETHUSDT", "U": 1, "u": 2, "pu": 0} | levels, "ethusdt@depth5@100ms")
    bare = line(0, json.loads(quote(0).partition(" ")[2])["data"] | {"e": "bookTicker", "T": 1}, None)
    report = bring(tmp_path, [bare, partial, quote(30, e="bookTicker", T=1)])
    # five levels reach 5 bps: neither depth is known
    assert report.dataset.bars("ETHUSDT-PERP")["depth_10bps"].isna().all()
    assert any("of 1 states of the book 0.0% reach 10 bps" in note for note in report.notes)


def test_a_dated_contract_and_messages_that_make_no_bars(tmp_path: Path) -> None:
    facts = {"s": "ETHUSDT_240927", "e": "bookTicker"}
    fund = line(2, {"e": "trade", "s": "ETHUSDT_240927", "p": "1", "q": "1", "X": "INSURANCE_FUND", "m": True}, "ethusdt_240927@trade")
    others = [fund, line(3, {"e": "kline", "s": "ETHUSDT_240927"}, "ethusdt_240927@kline_1m"), line(3, {"result": None, "id": 1}, None), ""]
    report = bring(tmp_path, [quote(0, **facts), *others, quote(30, **facts)], "capture.txt")
    one = report.dataset.instruments["ETHUSDT-240927"]
    assert (one.kind, one.expires_at) == (Kind.FUTURE, pd.Timestamp("2024-09-27T08:00Z"))
    assert report.dataset.bars(one.id)["volume"].isna().all()
    assert any("1 trades with the insurance fund or by deleveraging were left out" in note for note in report.notes)
    assert any("2 messages that make no bars were left out: answers to requests, kline_1m" in note for note in report.notes)


def test_files_of_one_market_are_read_as_one_in_order_of_time(tmp_path: Path) -> None:
    late = write(tmp_path, [trade(22, "103"), quote(41)], "spot_a.gz")
    early = write(tmp_path, [quote(0), trade(5), trade(18, "102")], "spot_b.gz")
    report = import_files("captures", [late, early], tmp_path / "set", Request(bar=pd.Timedelta("10s")))
    assert report.dataset.bars("ETHUSDT-SPOT")["close"].tolist() == [100, 102, 103, 103]


def test_small_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = bring(tmp_path, GOOD).dataset.bars("ETHUSDT-SPOT")
    monkeypatch.setattr(captures_reader, "BLOCK", 1)
    (tmp_path / "again").mkdir()
    pd.testing.assert_frame_equal(bring(tmp_path / "again", GOOD).dataset.bars("ETHUSDT-SPOT"), bars, check_exact=True)


def test_sniffing_takes_captures_only(tmp_path: Path) -> None:
    for number, text in enumerate(
        [
            "open_time,open\n1,2",
            '[{"symbol": "ETHUSDT"}]',
            "<!DOCTYPE html><p>503</p>",
            '{"stream": "ethusdt@trade"}',
            "1723161254024619568 17",
        ]
    ):
        (source,) = sources_in([str(write(tmp_path, [text], f"{number}.json"))])
        assert captures.sniff(source) is None
    (source,) = sources_in([str(write(tmp_path, [snapshot(0, 1)], "s.json"))])
    assert captures.sniff(source) == "Binance websocket capture"


WRONG: dict[str, tuple[list[str], str]] = {
    "crossed": ([quote(0), quote(1, "102", "101")], r"line 2: ask 101 is below bid 102; a book is never crossed"),
    "negative price": ([quote(0), trade(1, "-3")], r"line 2: price is -3; prices must be above 0 and finite; correct the row or remove it"),
    "negative size": ([quote(0), trade(1, "3", "-1")], r"line 2: size is -1; it must not be negative"),
    "thousands separator": ([quote(0), quote(1, "1,234.5")], r'line 2: b is "1,234.5", not a number; correct the line or remove it'),
    "no price": ([quote(0), quote(1, None)], r'line 2: b is "None", not a number'),
    "nan": ([quote(0), trade(1, "nan")], r'line 2: p is "nan", not a number'),
    "side": ([quote(0), trade(1, maker="yes")], r"line 2: m \(the buyer is the maker\) is yes; it must be true or false"),
    "out of order": ([quote(0), quote(5), quote(4)], r"line 3: time 2024-08-08T00:00:04.000000Z comes after 2024-08-08T00:00:05.000000Z"),
    "milliseconds": ([quote(0), quote(1).replace(str(START + SECOND), "1723075201000")], r"line 2: time 1723075201000 is not nanoseconds"),
    "1970": ([quote(0), "17" + quote(1)[19:]], r"line 2: time 17 is not nanoseconds since 1970 of the years 2000–2100"),
    "local time": (
        [quote(0), trade(1, sent=7201)],
        r"line 2: received 2024-08-08T00:00:01.\d+Z and sent 2024-08-08T02:00:01.\d+Z, over 10",
    ),
    "mixed units": (
        [quote(0), trade(1, E=1723075201000000)],
        r"line 2: received 2024.* over 10 minutes apart; is one in another unit or zone",
    ),
    "E is text": ([quote(0), trade(1, E="soon")], r"line 2: received 2024-08-08T00:00:01.000000Z and sent 0, over 10 minutes apart"),
    "cut line": (
        [quote(0), quote(1)[:60]],
        r'line 2: is not "<nanoseconds> \{json\}" but "1723075201000000000 \{.*"; is the file cut off\?',
    ),
    "a csv line": ([quote(0), "open_time,open,high"], r'line 2: is not "<nanoseconds> \{json\}" but "open_time,open,high…"'),
    "two symbols": ([quote(0), quote(1, s="BTCUSDT")], r"line 2: is of BTCUSDT in a capture of ETHUSDT; a capture holds one symbol"),
    "error answer": (
        [quote(0), line(1, {"code": -1003, "msg": "Too many requests"}, None)],
        r"line 2: is an error answer .*Too many requests",
    ),
    "bad levels": ([quote(0), change(1, 1, 2, [["99"]])], r"line 2: levels of the book are not pairs of price and size; remove the line"),
    "negative level": (
        [quote(0), change(1, 1, 2, [["99", "-2"]])],
        r"line 2: a level of the book is 99 × -2; prices must be above 0, sizes not",
    ),
    "data is no object": ([quote(0), line(1, [], "x")], r"holds no whole bar of 0 days 00:00:10"),  # type: ignore[arg-type]
    "too short": ([quote(0), quote(9)], r"holds no whole bar of 0 days 00:00:10, .*; choose a shorter bar"),
    "coin-margined": (
        [quote(0, s="ETHUSD_PERP")],
        r"is coin-margined; only captures of spot and USD-M markets are read; leave the file out",
    ),
    "nothing known": ([snapshot(0, 1)], r"none of its first messages is a quote, a trade or a change of a book"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_captures_are_refused_and_nothing_is_written(tmp_path: Path, what: str) -> None:
    lines, message = WRONG[what]
    with pytest.raises(DataError, match=rf"spot_ethusdt\.gz:? {message}") as refused:
        bring(tmp_path, lines)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "set").exists()


def test_a_truncated_capture_says_where_it_breaks_off(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).uniform(1, 2, (4000, 2))
    whole = write(tmp_path, [quote(row, str(90 + low), str(100 + high)) for row, (low, high) in enumerate(noise)])
    whole.write_bytes(whole.read_bytes()[:-30_000])
    with pytest.raises(
        DataError, match=r"spot_ethusdt\.gz line \d{3,4}: the compressed file is cut off or damaged from here on; download it"
    ):
        import_files("captures", [whole], tmp_path / "set", Request())
    assert not (tmp_path / "set").exists()


def test_another_symbol_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"spot_ethusdt\.gz: holds ETHUSDT and --symbol says BTCUSDT; leave --symbol or the file out$"):
        bring(tmp_path, GOOD, symbol="BTCUSDT")
    assert bring(tmp_path, GOOD, symbol="ETHUSDT").dataset.instruments
