"""Patience with servers: what is asked for again, after which waits, and what is not; files that go on where they were cut."""

import email.utils
import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from venue_server import VenueServer

from backtest.data.download import http as client
from backtest.data.download.http import DownloadError, NotThere, Patience, TryAgain, fetch_file, fetch_text, retry_after
from backtest.errors import StorageError

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[VenueServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with VenueServer() as running:
        running.files["a.zip"] = CONTENT
        yield running


def test_waits_double_and_half_of_each_is_chance() -> None:
    assert [Patience(jitter=lambda: 1.0).wait(turn, None) for turn in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert [Patience(jitter=lambda: 0.0).wait(turn, None) for turn in (0, 8)] == [0.25, 30]
    assert Patience().wait(5, 7.0) == 7


def test_patience_ends_after_its_tries(patience: Patience, waits: list[float]) -> None:
    turns = []

    def attempt() -> None:
        turns.append(1)
        raise TryAgain("the server failed (HTTP 502)")

    with pytest.raises(
        DownloadError, match=r"^page 3: the server failed \(HTTP 502\), 4 times in a row; repeat the command later, it continues"
    ):
        patience.keep_asking("page 3", attempt)
    assert (len(turns), waits) == (4, [0.5, 1, 2])


def test_a_wait_of_days_is_not_waited_for(patience: Patience, waits: list[float]) -> None:
    def attempt() -> None:
        raise TryAgain("the server is busy (HTTP 418)", 86400.0)

    with pytest.raises(
        DownloadError, match=r"^page: the server is busy \(HTTP 418\) and asks to wait 86400 s; repeat the command after that$"
    ):
        patience.keep_asking("page", attempt)
    assert waits == []


@pytest.mark.parametrize(("header", "seconds"), [("3", 3.0), ("0.5", 0.5), ("-4", 0.0), ("", None), (None, None), ("soon", None)])
def test_retry_after_as_a_number(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_retry_after_as_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    assert retry_after(email.utils.formatdate(1_700_000_090, usegmt=True)) == 90
    assert retry_after(email.utils.formatdate(1_600_000_000, usegmt=True)) == 0


def test_a_file_arrives(server: VenueServer, tmp_path: Path, patience: Patience) -> None:
    seen: list[int] = []
    fetch_file(f"{server.url}/archive/a.zip", tmp_path / "deep" / "a.part", patience, seen.append)
    assert (tmp_path / "deep" / "a.part").read_bytes() == CONTENT
    assert (sum(seen), len(server.asked)) == (len(CONTENT), 1)


def test_a_cut_file_goes_on_where_it_was_cut(server: VenueServer, tmp_path: Path, patience: Patience, waits: list[float]) -> None:
    server.fail("a.zip", cut=100_000)
    fetch_file(f"{server.url}/archive/a.zip", tmp_path / "a.part", patience)
    assert (tmp_path / "a.part").read_bytes() == CONTENT
    assert [one.headers.get("Range") for one in server.asked] == [None, "bytes=100000-"]
    assert waits == [0.5]


def test_a_file_that_is_longer_than_the_servers_begins_again(server: VenueServer, tmp_path: Path, patience: Patience) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT + b"more")
    fetch_file(f"{server.url}/archive/a.zip", tmp_path / "a.part", patience)
    assert (tmp_path / "a.part").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all_of_it_again(server: VenueServer, tmp_path: Path, patience: Patience) -> None:
    (tmp_path / "a.part").write_bytes(b"old bytes")
    server.fail("a.zip", status=200, body=CONTENT)
    fetch_file(f"{server.url}/archive/a.zip", tmp_path / "a.part", patience)
    assert (tmp_path / "a.part").read_bytes() == CONTENT


def test_busy_servers_say_how_long(server: VenueServer, patience: Patience, waits: list[float]) -> None:
    server.files["text"] = b"all right"
    server.fail("text", status=429, headers={"Retry-After": "7"})
    server.fail("text", status=418, headers={"Retry-After": "2"})
    server.fail("text", status=503)
    assert fetch_text(f"{server.url}/archive/text", patience) == "all right"
    assert waits == [7, 2, 2]


@pytest.mark.parametrize("status", [400, 401, 403, 451])
def test_other_refusals_are_final(server: VenueServer, patience: Patience, waits: list[float], status: int) -> None:
    server.fail("a.zip", status=status)
    with pytest.raises(DownloadError, match=rf"a\.zip: the server refused \(HTTP {status}\); check the address"):
        fetch_text(f"{server.url}/archive/a.zip", patience)
    assert (waits, len(server.asked)) == ([], 1)


def test_a_file_that_is_not_there(server: VenueServer, patience: Patience, tmp_path: Path) -> None:
    with pytest.raises(NotThere):
        fetch_file(f"{server.url}/archive/b.zip", tmp_path / "b.part", patience)
    assert len(server.asked) == 1
    assert not (tmp_path / "b.part").exists()


def test_a_cut_text_is_asked_for_again(server: VenueServer, patience: Patience) -> None:
    server.files["text"] = b"all right"
    server.fail("text", cut=3)
    assert fetch_text(f"{server.url}/archive/text", patience) == "all right"


def test_nobody_there(patience: Patience, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DownloadError, match=r"the server can't be reached \(.*refused.*\), 4 times in a row"):
        fetch_text("http://127.0.0.1:9/x", patience)
    assert len(waits) == 3


def test_a_full_disk_is_not_the_servers_fault(
    server: VenueServer, patience: Patience, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(response: http.client.HTTPResponse, size: int) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(client.http.client.HTTPResponse, "read", full)
    with pytest.raises(StorageError, match=r"a\.zip: can't be kept \(No space left on device\); free some space"):
        fetch_file(f"{server.url}/archive/a.zip", tmp_path / "a.part", patience)
    assert len(server.asked) == 1
