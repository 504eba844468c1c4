"""Bad answers for each importer of JSON: one clear sentence that names the place, and nothing written."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import json_answers as answers
import pytest
from json_answers import HOUR, START, save

from backtest.data import importers
from backtest.data.importers import import_files
from backtest.data.importers.common import Request
from backtest.data.importers.records import error_answer
from backtest.errors import DataError

VENUES = ("hyperliquid", "bybit", "okx", "dydx", "kraken", "bitmex", "deribit")
NAMED = {"kraken": "PF_ETHUSD", "deribit": "ETH-PERPETUAL"}
# venue → the fields of time and rate of a funding record
FIELDS = {
    "hyperliquid": ("time", "fundingRate"),
    "bybit": ("fundingRateTimestamp", "fundingRate"),
    "okx": ("fundingTime", "realizedRate"),
    "dydx": ("effectiveAt", "rate"),
    "kraken": ("timestamp", "relativeFundingRate"),
    "bitmex": ("timestamp", "fundingRate"),
    "deribit": ("timestamp", "interest_1h"),
}
UNIX = ("hyperliquid", "bybit", "okx", "deribit")
ISO = ("dydx", "kraken", "bitmex")


def refused(folder: Path, file: Path, match: str, venue: str = "auto", symbol: str | None = None) -> str:
    """The message of an import that fails; nothing may be written, neither into a new folder nor into a dataset that is there."""
    before = [folder / "old"]
    good = save(folder, "good.json", answers.hyperliquid(2, "XRP"))
    import_files("auto", [good], before[0], Request())
    kept = {path: path.read_bytes() for path in before[0].rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=match) as caught:
        import_files(venue, [file], folder / "new", Request(symbol=symbol))
    assert not list((folder / "new").rglob("*.parquet"))
    assert not (folder / "new" / "dataset.json").exists()
    with pytest.raises(DataError, match=match):
        import_files(venue, [file], before[0], Request(symbol=symbol))
    assert {path: path.read_bytes() for path in before[0].rglob("*") if path.is_file()} == kept
    message = str(caught.value)
    assert file.name in message
    assert "\n" not in message
    return message


def rows_in(answer: Any) -> list[dict[str, Any]]:
    """The records in one of the answers of `json_answers`."""
    if isinstance(answer, list):
        return answer
    return next(rows for rows in (rows_in(value) for value in answer.values() if isinstance(value, dict | list)) if rows)


def changed(venue: str, change: Callable[[list[dict[str, Any]]], None]) -> Any:
    answer = getattr(answers, venue)()
    change(rows_in(answer))
    return answer


def put(name: str, value: Any, row: int = 1) -> Callable[[list[dict[str, Any]]], None]:
    return lambda rows: rows[row].__setitem__(name, value)


# --- the file is not what it should be -------------------------------------------------------------------


@pytest.mark.parametrize("venue", VENUES)
def test_a_web_page_saved_under_that_name(tmp_path: Path, venue: str) -> None:
    file = save(tmp_path, "page.json", "<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>")
    refused(tmp_path, file, r"page\.json: is a web page, not data; download it again", venue)


@pytest.mark.parametrize("venue", VENUES)
def test_a_file_cut_off(tmp_path: Path, venue: str) -> None:
    text = json.dumps(getattr(answers, venue)(), indent=1)
    for nth, end in enumerate((len(text) - 2, len(text) * 2 // 3)):
        file = save(tmp_path, f"cut{nth}.json", text[:end])
        refused(tmp_path, file, rf"cut{nth}\.json: is not JSON \(.*\); is it truncated\? download it again", symbol=NAMED.get(venue))


@pytest.mark.parametrize("venue", VENUES)
def test_lines_cut_off(tmp_path: Path, venue: str) -> None:
    lines = [json.dumps(row) for row in rows_in(getattr(answers, venue)())]
    file = save(tmp_path, "cut.jsonl", "\n".join(lines)[:-9])
    refused(tmp_path, file, r"cut\.jsonl line 3: is not JSON", symbol=NAMED.get(venue))


def test_a_compressed_file_cut_off(tmp_path: Path) -> None:
    """Long enough that its beginning can be read."""
    whole = gzip.compress(json.dumps(answers.hyperliquid(9000)).encode())
    file = tmp_path / "cut.json.gz"
    file.write_bytes(whole[:-100])
    refused(tmp_path, file, r"cut\.json\.gz: is truncated or damaged and can't be unpacked")


@pytest.mark.parametrize("venue", VENUES)
def test_a_file_of_another_venue(tmp_path: Path, venue: str) -> None:
    other = VENUES[VENUES.index(venue) - 1]
    file = save(tmp_path, "other.json", getattr(answers, other)())
    refused(tmp_path, file, rf"other\.json: is not a file of {venue}", venue)


def test_every_answer_is_of_one_venue_only(tmp_path: Path) -> None:
    for venue in VENUES:
        source = importers.sources_in([save(tmp_path, f"{venue}.json", getattr(answers, venue)())])[0]
        assert [each for each in VENUES if importers._importer(each).sniff(source)] == [venue]


def test_what_is_no_record_among_records(tmp_path: Path) -> None:
    file = save(tmp_path, "mixed.json", [*answers.hyperliquid(2), {"coin": "ETH"}])
    told = r"record 3: .* is no record of Hyperliquid known here \(funding rates, order-book summaries\); leave it out or download it again"
    refused(tmp_path, file, told)
    file = save(tmp_path, "page.jsonl", [*answers.hyperliquid(2), 17])
    refused(tmp_path, file, r"page\.jsonl line 3: 17 is no record of Hyperliquid")


def test_klines_of_marks_are_not_bars(tmp_path: Path) -> None:
    """Five cells: nobody traded at these prices, and the answer doesn't say whether they are of the mark or the index."""
    answer = answers.bybit_klines()
    answer["result"]["list"] = [row[:5] for row in answer["result"]["list"]]
    refused(tmp_path, save(tmp_path, "mark.json", answer), r"mark\.json record 1: \[.* is no record of Bybit")


# --- the venue answered with an error, or with nothing ----------------------------------------------------

ERRORS = [
    ("bybit", {"retCode": 10001, "retMsg": "params error", "result": {}, "time": START}, r'"params error" \(code 10001\)'),
    ("okx", {"code": "50011", "msg": "Too Many Requests", "data": []}, r'"Too Many Requests" \(code 50011\)'),
    ("dydx", {"errors": [{"msg": "ticker must be valid", "param": "ticker"}]}, '"ticker must be valid"'),
    ("kraken", {"result": "error", "error": "apiLimitExceeded", "serverTime": "2024-01-01T00:00:00Z"}, '"apiLimitExceeded"'),
    ("kraken", {"status": "BAD_REQUEST", "result": "error", "errors": [{"code": 11, "message": "Argument invalid"}]}, r"\(code 11\)"),
    ("kraken", {"result": "error", "serverTime": "2024-01-01T00:00:00Z"}, "no reason given"),
    ("bitmex", {"error": {"message": "Rate limit exceeded", "name": "HTTPError"}}, '"Rate limit exceeded"'),
    ("deribit", {"jsonrpc": "2.0", "error": {"code": 10028, "message": "too_many_requests"}, "usOut": 1}, r"\(code 10028\)"),
]


@pytest.mark.parametrize(("venue", "answer", "told"), ERRORS)
def test_an_error_answer_says_what_the_venue_said(tmp_path: Path, venue: str, answer: Any, told: str) -> None:
    match = rf"error\.json: is an error answer of .*, not data: .*{told}.*; ask for it again"
    refused(tmp_path, save(tmp_path, "error.json", answer), match, symbol=NAMED.get(venue))


def test_an_error_answer_among_pages(tmp_path: Path) -> None:
    pages = [answers.okx(), {"code": "50011", "msg": "Too Many Requests", "data": []}]
    refused(tmp_path, save(tmp_path, "pages.jsonl", pages), r"pages\.jsonl line 2: is an error answer of OKX")


def test_error_answers_are_told_from_data() -> None:
    for venue in VENUES:
        assert error_answer(getattr(answers, venue)()) is None
    assert error_answer({"code": -1121, "msg": "Invalid symbol."}) == '"Invalid symbol." (code -1121)'
    assert error_answer({"error": "unknown"}) == '"unknown"'


@pytest.mark.parametrize("venue", ["bybit", "okx", "dydx", "kraken", "deribit"])
def test_an_answer_without_records(tmp_path: Path, venue: str) -> None:
    answer = changed(venue, list.clear)
    refused(
        tmp_path, save(tmp_path, "empty.json", answer), r"empty\.json: has no records: .* answered with an empty list; ask for a time that"
    )


def test_empty_arrays_and_empty_files(tmp_path: Path) -> None:
    refused(tmp_path, save(tmp_path, "none.json", []), r"none\.json: is not a file of any vendor")
    refused(tmp_path, save(tmp_path, "nothing.json", "\n"), r"nothing\.json: is empty")


# --- fields ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "is null, not a number"),
        ("", 'is "", not a number'),
        ("0,000.1", 'is "0,000.1", not a number'),
        ("0_1", 'is "0_1", not a number'),
        ("nan", 'is "nan", not a number'),
        (float("inf"), "is Infinity, not a number"),
        (True, "is true, not a number"),
        ([1], r"is \[1\], not a number"),
    ],
)
def test_a_rate_that_is_no_number(tmp_path: Path, venue: str, value: Any, told: str) -> None:
    rate = FIELDS[venue][1]
    file = save(tmp_path, "bad.json", changed(venue, put(rate, value)))
    refused(tmp_path, file, rf"bad\.json record 2: {rate} {told}; correct the record or remove it", symbol=NAMED.get(venue))


@pytest.mark.parametrize("venue", VENUES)
def test_a_rate_that_is_missing(tmp_path: Path, venue: str) -> None:
    rate = FIELDS[venue][1]
    file = save(tmp_path, "bad.json", changed(venue, lambda rows: rows[1].pop(rate)))
    told = "is no record of Kraken Futures" if venue == "kraken" else f'"{rate}" is missing'
    refused(tmp_path, file, rf"bad\.json record 2: .*{told}.*; .*download it again", symbol=NAMED.get(venue))


@pytest.mark.parametrize("venue", VENUES)
def test_a_rate_in_percent(tmp_path: Path, venue: str) -> None:
    file = save(tmp_path, "bad.json", changed(venue, put(FIELDS[venue][1], "1.5")))
    refused(tmp_path, file, r"bad\.json record 2: rate is 1\.5; it must be a fraction below 1", symbol=NAMED.get(venue))


@pytest.mark.parametrize("venue", UNIX)
@pytest.mark.parametrize(
    ("value", "told"),
    [
        (START // 1000, "it looks like s among ms"),
        (START * 1000, "it looks like us among ms"),
        (0, "markets' times lie between 2001 and 2286"),
        (3_600_000, "markets' times lie between 2001 and 2286"),
    ],
)
def test_a_time_in_another_unit_or_of_1970(tmp_path: Path, venue: str, value: int, told: str) -> None:
    """Seconds read as ms are January 1970, microseconds the year 55969."""
    name = FIELDS[venue][0]
    file = save(tmp_path, "bad.json", changed(venue, put(name, str(value) if venue in ("bybit", "okx") else value)))
    refused(tmp_path, file, rf'bad\.json record 2: {name} is "{value}", not a time .*; {told}', symbol=NAMED.get(venue))


@pytest.mark.parametrize("venue", UNIX)
@pytest.mark.parametrize("value", [None, True, "soon", 1.5, ""])
def test_a_time_that_is_none(tmp_path: Path, venue: str, value: Any) -> None:
    name = FIELDS[venue][0]
    file = save(tmp_path, "bad.json", changed(venue, put(name, value)))
    refused(tmp_path, file, rf"bad\.json record 2: {name} is {json.dumps(value)}, not a time in ms", symbol=NAMED.get(venue))


@pytest.mark.parametrize("venue", ISO)
@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("2024-01-01T08:00:00", "a time without its zone; add Z if it is UTC, or correct the record"),
        ("2024-01-01", "a time without its zone"),
        ("1970-01-01T08:00:00Z", r"not a time of a market \(ISO 8601, from 2001 on\)"),
        ("20250-01-01T08:00:00Z", "not a time of a market"),
        ("2024-13-01T08:00:00Z", "not a time of a market"),
        ("yesterday", r"not a time \(ISO 8601\); correct the record"),
    ],
)
def test_an_iso_time_that_is_local_or_none(tmp_path: Path, venue: str, value: str, told: str) -> None:
    name = FIELDS[venue][0]
    file = save(tmp_path, "bad.json", changed(venue, put(name, value)))
    refused(tmp_path, file, rf'bad\.json record 2: {name} is "{value}", {told}', symbol=NAMED.get(venue))


@pytest.mark.parametrize("venue", ["hyperliquid", "bybit", "okx", "dydx", "bitmex"])
def test_a_symbol_that_is_none(tmp_path: Path, venue: str) -> None:
    name = {"hyperliquid": "coin", "bybit": "symbol", "okx": "instId", "dydx": "ticker", "bitmex": "symbol"}[venue]
    refused(tmp_path, save(tmp_path, "a.json", changed(venue, put(name, 7))), rf"a\.json record 2: {name} is 7, not text")
    strange = changed(venue, put(name, "@1"))
    told = rf'b\.json record 2: {name} "@1" is no contract that can be imported; choose another with --symbol'
    refused(tmp_path, save(tmp_path, "b.json", strange), told)
    refused(tmp_path, save(tmp_path, "c.json", strange), r"c\.json: has nothing of DOGE; it has .*@1.*; choose one of them", symbol="DOGE")


def test_two_rates_for_one_hour(tmp_path: Path) -> None:
    """Within a file and between two."""
    twice = [*answers.hyperliquid(3), {**answers.hyperliquid(2)[1], "fundingRate": "0.5"}]
    refused(tmp_path, save(tmp_path, "twice.json", twice), r"twice\.json record 4: time 2024-01-01T01:00Z stands twice")
    other = answers.okx(4)
    other["data"][1]["realizedRate"] = "0.0077"
    files = [save(tmp_path, "a.json", answers.okx(3)), save(tmp_path, "b.json", other)]
    with pytest.raises(DataError, match=r"ETHUSDT-PERP\.okx funding event at 2024-01-01T16:00Z: rate is 0\.0003 and 0\.0077"):
        import_files("auto", files, tmp_path / "set", Request())


# --- bars ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "value", "told"),
    [
        (1, "2,000.5", 'open is "2,000.5", not a number'),
        (4, None, "close is null, not a number"),
        (5, "-1", "volume is -1; it must not be negative"),
        (3, "0", "low is 0; prices must be above 0"),
        (2, "1000", "high 1000 is below low 1990"),
        (0, str(START // 1000), "it looks like s among ms"),
        (0, "0", "markets' times lie between"),
    ],
)
def test_bad_klines(tmp_path: Path, cell: int, value: Any, told: str) -> None:
    bybit, okx = answers.bybit_klines(4), answers.okx_candles(4)
    for rows in (bybit["result"]["list"], okx["data"]):
        rows[1][cell] = value
    refused(tmp_path, save(tmp_path, "k.json", bybit), rf"k\.json record 2: .*{told}")
    okx_told = told.replace("volume is -1; it must not be negative", "")
    if cell == 5:
        okx["data"][1][6] = "-1"
        okx_told = told
    refused(tmp_path, save(tmp_path, "ETH-USDT-SWAP.json", okx), rf"SWAP\.json record 2: .*{okx_told}")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("open", "2,000.5", 'open is "2,000.5", not a number'),
        ("volume", -1.0, "volume is -1; it must not be negative"),
        ("ticks", START * 1000, "it looks like us among ms"),
    ],
)
def test_bad_chart_data(tmp_path: Path, name: str, value: Any, told: str) -> None:
    answer = answers.deribit_chart(4)
    answer["result"][name][1] = value
    refused(tmp_path, save(tmp_path, "ETH-PERPETUAL.json", answer), rf"PERPETUAL\.json record 2: .*{told}")


def test_columns_of_unequal_length(tmp_path: Path) -> None:
    answer = answers.deribit_chart(4)
    answer["result"]["open"].pop()
    refused(tmp_path, save(tmp_path, "ETH-PERPETUAL.json", answer), r'PERPETUAL\.json record 4: "open" is missing')


def test_bad_trades_and_captures(tmp_path: Path) -> None:
    answer = answers.deribit_trades(range(200))
    answer["result"]["trades"][3]["amount"] = -5.0
    refused(tmp_path, save(tmp_path, "t.json", answer), r"t\.json record 4: size is -0\.0024.*; it must not be negative")
    crossed = [answers.ticker(100), answers.ticker(200, bid=2002.0)]
    refused(
        tmp_path, save(tmp_path, "q.jsonl", crossed), r"q\.jsonl line 2: ask 2001 is below bid 2002; a book is never crossed; remove the"
    )


def test_bad_order_book_summaries(tmp_path: Path) -> None:
    row = {
        "timestamp": "2024-01-01T00:00:00+00:00", "venue": "hyperliquid", "asset": "ETH", "depth_50bps": 1.0, "spread_bps": 1.0, "mid_price": 2.0,
    }  # fmt: skip
    for nth, (name, value, told) in enumerate(
        [
            ("timestamp", "2024-01-01T06:00:00", "a time without its zone"),
            ("spread_bps", "1,0", 'spread_bps is "1,0", not a number'),
            ("depth_50bps", None, "depth_50bps is null, not a number"),
        ]
    ):
        file = save(tmp_path, f"{nth}.jsonl", [row, {**row, name: value}])
        refused(tmp_path, file, rf"{nth}\.jsonl line 2: .*{told}")


# --- whose it is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("venue", "answer", "example"),
    [
        ("kraken", answers.kraken(), "PF_ETHUSD"),
        ("deribit", answers.deribit(), "ETH-PERPETUAL"),
        ("deribit", answers.deribit_chart(), "ETH-PERPETUAL"),
        ("okx", answers.okx_candles(), "ETH-USDT-SWAP"),
        ("bybit", answers.bybit_klines()["result"]["list"], "BTCUSDT"),
    ],
)
def test_an_answer_that_does_not_say_whose_it_is(tmp_path: Path, venue: str, answer: Any, example: str) -> None:
    file = save(tmp_path, "answer.json", answer)
    told = rf"give it in the venue's spelling, such as --symbol {example}"
    refused(tmp_path, file, rf"answer\.json: the answer doesn't say whose it is; {told}")
    refused(tmp_path, file, rf'answer\.json: "eth" is not a symbol of this venue; {told}', symbol="eth")
    named = save(tmp_path, f"{example}.json", answer)
    refused(tmp_path, named, rf"its name says {example} and --symbol says XYZ; import the files of one symbol at a time", symbol="XYZ")
    assert import_files(venue, [named], tmp_path / "set", Request()).dataset.instruments


def test_a_list_without_any_contract_of_use(tmp_path: Path) -> None:
    option = {"instrument_name": "ETH-29MAR24-2000-C", "kind": "option", "tick_size": 0.1}
    answer = {"jsonrpc": "2.0", "id": 1, "result": [option]}
    refused(tmp_path, save(tmp_path, "options.json", answer), r"options\.json: lists no spot, perpetual or future; choose another")
    ether = {"instId": "ETH-USDT", "instType": "SPOT", "tickSz": "0.01", "lotSz": "1", "minSz": "1"}
    file = save(tmp_path, "list.json", {"code": "0", "msg": "", "data": [ether]})
    refused(tmp_path, file, r"list\.json: lists no spot, perpetual or future of BTCUSDT; choose another list or --symbol", symbol="BTCUSDT")


def test_bitmex_quantos_and_intervals(tmp_path: Path) -> None:
    quanto = save(tmp_path, "quanto.json", answers.bitmex(symbol="ETHUSD"))
    refused(tmp_path, quanto, r'quanto\.json record 1: symbol "ETHUSD" is no contract that can be imported')
    for value in ("08:00", "2000-01-01T00:00:00.000Z", "2000-01-03T00:00:00.000Z"):
        file = save(tmp_path, "interval.json", answers.bitmex(interval=value))
        refused(tmp_path, file, rf'interval\.json record 1: fundingInterval is "{value}", not a time of day on 2000-01-01 such as T08:00')


def test_the_last_hour_is_not_asked_twice(tmp_path: Path) -> None:
    """A bar that was not finished at first comes in whole later, which would contradict had it been kept."""
    early = save(tmp_path, "early.json", answers.bybit_klines(3, asked=2 * HOUR + 1))
    late = answers.bybit_klines(4)
    late["result"]["list"][1][4] = "2009"
    import_files("auto", [early], tmp_path / "set", Request())
    bars = import_files("auto", [save(tmp_path, "late.json", late)], tmp_path / "set", Request()).dataset.bars("ETHUSDT-PERP.bybit")
    assert bars["close"].tolist() == [2005, 2005, 2009, 2005]
