"""Asking a server that may be busy, broken or cut off in the middle: how often, how patiently, and when not again.

What will pass (429 and 418 with the wait that the server asks for, 5xx, a connection cut short) is asked for again a bounded number of times,
after waits that double and are jittered, so that many clients don't come back at one moment. Any other 4xx is the request's own fault and fails
at once. The archive needs nothing but the standard library for this.

    patience = Patience()
    page = patience.keep_asking("klines of ETHUSDT", lambda: exchange.fetch_ohlcv("ETH/USDT"))
    fetch_file("https://host/a.zip", Path("a.zip.part"), patience)
"""

import email.utils
import http.client
import random
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from backtest.errors import CarryError, StorageError

BUSY = (418, 429)
TIMEOUT = 30.0  # seconds without a byte

_AGENT = "carry-backtest"
_BLOCK = 1 << 16

T = TypeVar("T")


class DownloadError(CarryError, ConnectionError):
    """A server that did not give what was asked for; what was downloaded before is kept."""


class TryAgain(Exception):  # noqa: N818  # a signal to `Patience`, not an error of anyone
    """An answer that may be better next time; `after` are the seconds that the server asks to wait."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.after = reason, after


class NotThere(Exception):  # noqa: N818  # an answer, not an error: archives have holes
    """The server has no such file."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often a request is made and how long is waited in between, in seconds."""

    tries: int = 6
    first_wait: float = 0.5
    longest_wait: float = 60.0
    longest_asked: float = 900.0
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random

    def keep_asking(self, what: str, attempt: Callable[[], T]) -> T:
        """The result of `attempt`, which raises `TryAgain` for what may pass; `DownloadError` once the patience is at its end."""
        for turn in range(self.tries):
            try:
                return attempt()
            except TryAgain as answer:
                reason = answer.reason
                if answer.after is not None and answer.after > self.longest_asked:
                    raise DownloadError(f"{what}: {reason} and asks to wait {answer.after:.0f} s; repeat the command after that") from None
                if turn + 1 < self.tries:
                    self.sleep(self.wait(turn, answer.after))
        raise DownloadError(f"{what}: {reason}, {self.tries} times in a row; repeat the command later, it continues where it stopped")

    def wait(self, turn: int, asked: float | None) -> float:
        """Seconds before the next try: what the server asked for, else a doubling wait of which half is left to chance."""
        if asked is not None:
            return asked
        return float(min(self.longest_wait, self.first_wait * 2**turn)) * (0.5 + 0.5 * self.jitter())


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, written as a number or as a date; None without one that can be read."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def fetch_text(url: str, patience: Patience) -> str:
    """A small text; raises `NotThere` for 404 and `DownloadError` for what patience does not mend."""

    def attempt() -> str:
        with _opened(url) as answer:
            content = answer.read()
            return str(content.decode("utf-8", errors="replace"))

    return patience.keep_asking(url, lambda: _worded(url, attempt))


def fetch_file(url: str, part: Path, patience: Patience, seen: Callable[[int], None] = lambda count: None) -> None:
    """Bring a file to `part`, going on from the bytes that are there already; `seen` is told of every block's bytes.

    Raises `NotThere` for 404 and `DownloadError` for what patience does not mend; the bytes that came stay in `part` for the next time.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    patience.keep_asking(url, lambda: _worded(url, lambda: _fetch_once(url, part, seen)))


def _fetch_once(url: str, part: Path, seen: Callable[[int], None]) -> None:
    with _going_on(url, part) as answer:
        goes_on = answer.status == http.client.PARTIAL_CONTENT
        length = answer.headers.get("Content-Length")
        left = int(length) if length is not None and length.isdigit() else None
        with part.open("ab" if goes_on else "wb") as file:
            while block := answer.read(_BLOCK):
                file.write(block)
                seen(len(block))
                left = None if left is None else left - len(block)
    if left:
        raise TryAgain(f"the connection was cut {left:,} bytes before the end")


def _going_on(url: str, part: Path) -> http.client.HTTPResponse:
    """The rest of a file of which `part` is the beginning; all of it where that is longer than the file."""
    have = part.stat().st_size if part.exists() else 0
    try:
        return _opened(url, have)
    except urllib.error.HTTPError as error:
        if not have or error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        part.unlink()
        return _opened(url)


def _opened(url: str, have: int = 0) -> http.client.HTTPResponse:
    headers = {"User-Agent": _AGENT, **({"Range": f"bytes={have}-"} if have else {})}
    opened: http.client.HTTPResponse = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    return opened


def _worded(url: str, attempt: Callable[[], T]) -> T:
    """Run an attempt; what the library raises becomes `TryAgain`, `NotThere` or `DownloadError`."""
    try:
        return attempt()
    except urllib.error.HTTPError as error:
        with error:
            refuse_status(url, error.code, error.headers.get("Retry-After"))
        raise
    except http.client.IncompleteRead as error:
        raise TryAgain("the connection was cut before the end") from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        if isinstance(error, CarryError):
            raise
        reason = getattr(error, "reason", None) or error
        raise TryAgain(f"the server can't be reached ({str(reason).splitlines()[0] if str(reason) else type(error).__name__})") from error
    except OSError as error:  # not the network's: a full disk, a folder that can't be written
        raise StorageError(
            f"{url}: can't be kept ({error.strerror or error}); free some space or check the folder's permissions"
        ) from error


def refuse_status(what: str, status: int, wait: str | None) -> None:
    """Raise what an HTTP status calls for; nothing for one that is well."""
    if status == http.client.NOT_FOUND:
        raise NotThere(what)
    if status in BUSY:
        raise TryAgain(f"the server is busy (HTTP {status})", retry_after(wait))
    if status >= http.client.INTERNAL_SERVER_ERROR:
        raise TryAgain(f"the server failed (HTTP {status})", retry_after(wait))
    if status >= http.client.BAD_REQUEST:
        raise DownloadError(f"{what}: the server refused (HTTP {status}); check the address and whether it serves your country")
