"""`carry data download`: what it prints, and one sentence for every mistake, before anything is asked of anyone."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from venue_server import VenueServer

from backtest import cli
from backtest.cli import data_download


@pytest.fixture(autouse=True)
def wired(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    if data_download not in cli.DATA_COMMANDS:
        monkeypatch.setattr(cli, "DATA_COMMANDS", (*cli.DATA_COMMANDS, data_download))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[VenueServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with VenueServer() as running:
        monkeypatch.setenv("CARRY_API_URL", running.url)
        yield running


def download(*more: str) -> int:
    return cli.main(["data", "download", *more])


GOOD = ("binance", "ETHUSDT-SPOT", "--start", "2024-01-01", "--end", "2024-01-03", "--into", "set")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("binanse", *GOOD[1:]), 'unknown venue "binanse"; did you mean "binance"?'),
        ((*GOOD[:2], "--into", "set"), "carry data download: --start is missing; give one, such as --start 2024-01-01"),
        (GOOD[:4], "carry data download: --into is missing; give one, such as --into data/eth"),
        ((*GOOD, "--start", "yesterday"), '--start must be a time like 2024-01-31 or 2024-01-31T08:00: --start="yesterday"'),
        ((*GOOD, "--start", "2024-02-30"), '--start must be a time like 2024-01-31 or 2024-01-31T08:00: --start="2024-02-30"'),
        ((*GOOD, "--end", "1704067200"), '--end must be a time like 2024-01-31 or 2024-01-31T08:00: --end="1704067200"'),
        (
            (*GOOD, "--start", "2024-01-03"),
            "start must be before end: start=2024-01-03T00:00Z, end=2024-01-03T00:00Z; choose an earlier start",
        ),
        ((*GOOD, "--what", "klines,marks"), '--what has "marks", which is nothing to download; did you mean "mark"?'),
        ((*GOOD, "--what", ","), "--what is empty; name some of klines, mark, index, premium, funding, open_interest"),
        ((*GOOD, "--what", "metrics"), '"metrics" can\'t be downloaded through the API of binance; add "--via archive"'),
        (
            ("deribit", *GOOD[1:], "--what", "klines,mark"),
            '"mark" can\'t be downloaded through the API of deribit; it gives klines, funding',
        ),
        ((*GOOD, "--bar", "45m"), '--bar is "45m", which no venue has; did you mean "5m"?'),
        ((*GOOD, "--via", "ftp"), '--via is "ftp"; choose api or archive'),
        (("bybit", *GOOD[1:], "--via", "archive"), 'the archive is that of binance, and bybit has none; leave out "--via archive"'),
        (
            ("binance", "ETHXYZ", *GOOD[2:], "--via", "archive"),
            'the archive has no "ETHXYZ"; name a pair, such as ETHUSDT, or an instrument, such as ETHUSDT-PERP',
        ),
        (
            ("binance", "ETHUSDT-241399", *GOOD[2:], "--via", "archive"),
            '"ETHUSDT-241399" has no delivery date; write it as yymmdd, such as ETHUSDT-240329',
        ),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], server: VenueServer, arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(SystemExit) as left:
        download(*arguments)
    captured = capsys.readouterr()
    assert (left.value.code, captured.out, captured.err) == (2, "", f"error: {sentence}\n")
    assert server.asked == []
    assert not Path("set").exists()


def test_a_start_in_the_future(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        download("binance", "ETHUSDT", "--start", "2090-01-01", "--end", "2090-02-01", "--into", "set")
    assert re.search(r"start must be before end: start=2090-01-01T00:00Z, end=20\d\d-", capsys.readouterr().err)


def test_what_is_printed(capsys: pytest.CaptureFixture[str], server: VenueServer) -> None:
    pytest.importorskip("ccxt", reason="the extra [download] is not installed")
    assert download("binance", "ETHUSDT", *GOOD[2:], "--name", "mine") == 0
    captured = capsys.readouterr()
    assert captured.err == "", "nobody watches a pipe"
    assert re.fullmatch(
        r"table +rows +from +to\n"
        r"ETHUSDT-SPOT +48 +2024-01-01 +2024-01-03\n"
        r"ETHUSDT-PERP +48 +2024-01-01 +2024-01-03\n"
        r"ETHUSDT-PERP funding +7 +2024-01-01 +2024-01-03\n"
        rf'\n{re.escape(str(Path("set").resolve()))}: dataset "mine", hash [0-9a-f]{{12}}\n',
        captured.out,
    )
    assert download("binance", "ETHUSDT", *GOOD[2:]) == 0
    assert capsys.readouterr().out.endswith(", unchanged\n")


def test_progress_on_a_terminal(capsys: pytest.CaptureFixture[str], server: VenueServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ccxt", reason="the extra [download] is not installed")
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert download(*GOOD) == 0
    captured = capsys.readouterr()
    assert "ETHUSDT-SPOT" in captured.err
    assert "ETHUSDT-SPOT" in captured.out
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert download(*GOOD[:5], "2024-01-04", *GOOD[6:]) == 0
    assert capsys.readouterr().err == "", "without tqdm there is none"


def test_the_refusal_of_a_server_is_one_sentence(capsys: pytest.CaptureFixture[str], server: VenueServer) -> None:
    pytest.importorskip("ccxt", reason="the extra [download] is not installed")
    server.fail("klines", status=451, body=b'{"code":0,"msg":"restricted location"}')
    with pytest.raises(SystemExit) as left:
        download(*GOOD)
    captured = capsys.readouterr()
    assert (left.value.code, captured.err.count("\n")) == (2, 1)
    assert captured.err.startswith("error: binance: klines of ETHUSDT-SPOT: the venue refused (HTTP 451")


def test_the_help_fits_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as left:
        download("--help")
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    for option in ("--start", "--end", "--into", "--what", "--bar", "--futures", "--via", "--name"):
        assert option in printed
