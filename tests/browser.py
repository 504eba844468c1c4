"""Headless Chromium for the tests: opens a page from a file, tells what it said and asked for, and measures what a reader would see.

    with chromium() as browser:
        page = browser.open("reports/cash_and_carry.html", width=400, dark=True)
        assert page.complaints() == []  # console errors, requests, clipped or overlapping labels, empty figures, …
        page.click("th:nth-child(3)")
        assert page.evaluate("document.title") == "CashAndCarry"

It speaks the DevTools protocol over two pipes (`--remote-debugging-pipe`): no driver, no port and no library, and requests and console lines are
the browser's own record. No name is resolved, so nothing can be loaded from a network. Without Chromium the tests skip.
"""

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--disable-extensions", "--hide-scrollbars",
    "--force-color-profile=srgb", "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe",
)  # fmt: skip
MEASURES = Path(__file__).with_name("browser_measures.js")
OWN_SCHEMES = ("data:", "blob:", "about:")
# The families that a reader's system may bring for a page's "system-ui": a wide one and a narrow one.
FAMILIES = ("DejaVu Sans", "Liberation Sans")
PAPER = 794  # A4 in CSS pixels
LONGEST = 60.0


class Page:
    """One open page: what it said (`console`), what it asked for (`requests`), and what is to be seen in it."""

    def __init__(self, browser: "Browser", session: str, address: str) -> None:
        self.browser, self.session, self.address = browser, session, address
        self.console: list[str] = []
        self.requests: list[str] = []
        self._loaded = False

    def ask(self, method: str, **given: Any) -> dict[str, Any]:
        """One command of the DevTools protocol."""
        return self.browser.ask(method, given, self.session)

    def heard(self, method: str, given: dict[str, Any]) -> None:
        """Keep what the browser tells of this page."""
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            url = given["request"]["url"]
            if url != self.address and not url.startswith(OWN_SCHEMES):
                self.requests.append(url)
        elif method == "Runtime.consoleAPICalled":
            said = " ".join(str(part.get("value", part.get("description", part["type"]))) for part in given["args"])
            self.console.append(f"{given['type']}: {said}")
        elif method == "Runtime.exceptionThrown":
            details = given["exceptionDetails"]
            self.console.append(f"error: {details.get('exception', {}).get('description', details['text'])}")
        elif method == "Log.entryAdded":
            entry = given["entry"]
            self.console.append(f"{entry['level']}: {entry['text']} {entry.get('url', '')}".strip())

    def show(self, *, width: int = 1200, height: int = 900, dark: bool = False, media: str = "screen", family: str = "") -> None:
        """Show it in a window of this size, light or dark, on a screen or on paper; family: the font in place of the page's own."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.evaluate(f"window.chosenFamily?.remove(); window.chosenFamily = null; {json.dumps(family)}")
        if family:
            rule = json.dumps(f"body {{ font-family: '{family}' !important; }}")
            self.evaluate(f"chosenFamily = document.head.appendChild(document.createElement('style')); chosenFamily.textContent = {rule}")
        self.settle()

    def settle(self) -> None:
        """Wait until fonts are there and two frames were drawn."""
        self.evaluate("document.fonts.ready.then(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))))")

    def evaluate(self, script: str) -> Any:
        """The value of an expression, a promise's when it is kept; RuntimeError if it throws."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def click(self, selector: str, number: int = 0) -> None:
        """A real click in the middle of an element, of several the `number`th; what covers it gets the click, as with a reader."""
        found = f"document.querySelectorAll({json.dumps(selector)})[{number}]"
        if not self.evaluate(f"Boolean({found}?.getClientRects().length)"):
            raise RuntimeError(f"no element {selector!r} number {number} is to be seen")
        self.evaluate(f"{found}.scrollIntoView({{behavior: 'instant', block: 'center', inline: 'center'}})")
        box = self.evaluate(f"(box => [box.x + box.width / 2, box.y + box.height / 2])({found}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)
        self.settle()

    def press(self, key: str) -> None:
        """A key for the element in focus: "Enter", "Tab", " "."""
        codes = {"Enter": 13, "Tab": 9, " ": 32, "ArrowLeft": 37, "ArrowRight": 39}
        text = {"Enter": "\r", " ": " "}.get(key)
        more: dict[str, Any] = {"text": text} if text else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=codes[key], **more)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=codes[key])
        self.settle()

    def dom(self) -> str:
        """The page after its scripts."""
        return str(self.evaluate("document.documentElement.outerHTML"))

    def texts(self, selector: str) -> list[str]:
        """What is written in the elements that can be seen."""
        seen = f"[...document.querySelectorAll({json.dumps(selector)})].filter(each => each.getClientRects().length)"
        return list(self.evaluate(f"{seen}.map(each => each.textContent.trim())"))

    def measured(self) -> dict[str, Any]:
        """What `browser_measures.js` measures of the page as it is shown now."""
        found: dict[str, Any] = self.evaluate(MEASURES.read_text(encoding="utf-8"))
        return found

    def complaints(self) -> list[str]:
        """Everything wrong with the page as it is shown now, a sentence each: what it said and asked for, and what a reader would stumble over."""
        errors = [line for line in self.console if line.startswith(("error", "warning", "assert"))]
        return [f"console: {line}" for line in errors] + [f"asked for {url}" for url in self.requests] + list(self.measured()["complaints"])

    def complaints_in_all_looks(self, widths: Sequence[int] = (1200, 400), families: Sequence[str] = FAMILIES) -> list[str]:
        """The complaints on screens of these widths with each font, on a dark screen and on paper, each once."""
        looks = [(family, width, False, "screen") for family in families for width in widths]
        looks += [(families[0], widths[0], True, "screen"), (families[0], PAPER, False, "print")]
        found: dict[str, list[str]] = {}
        for family, width, dark, media in looks:
            self.show(width=width, dark=dark, media=media, family=family)
            for line in self.complaints():
                found.setdefault(line, []).append(f"{width} {'dark' if dark else media} {family}")
        self.show()
        return [f"{line} ({', '.join(where)})" for line, where in found.items()]

    def picture(self, path: str | os.PathLike[str], *, whole: bool = True) -> Path:
        """Save what is to be seen as PNG, the whole page or the window."""
        data = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        file = Path(path)
        file.write_bytes(base64.b64decode(data))
        return file

    def close(self) -> None:
        """Close the page, and forget it."""
        self.browser.pages.pop(self.session, None)
        self.ask("Page.close")


class Browser:
    """One running Chromium."""

    def __init__(self, process: "subprocess.Popen[bytes]", told: int, tells: int) -> None:
        self.process, self.told, self.tells = process, told, tells
        self.pages: dict[str, Page] = {}
        self._numbers, self._rest, self._messages = itertools.count(1), b"", deque[bytes]()

    def ask(self, method: str, given: dict[str, Any] | None = None, session: str = "") -> dict[str, Any]:
        """Send one command and wait for its answer; what is told meanwhile goes to its page."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": given or {}} | ({"sessionId": session} if session else {})
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.told, data) :]
        deadline = time.monotonic() + LONGEST
        while True:
            answer = self._next(deadline, method)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                found: dict[str, Any] = answer["result"]
                return found

    def _next(self, deadline: float, waits_for: str) -> dict[str, Any]:
        """The next message; one about a page is given to it, too."""
        while not self._messages:
            if not select.select([self.tells], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium did not answer {waits_for} within {LONGEST:g} s")
            data = os.read(self.tells, 1 << 20)
            if not data:
                raise RuntimeError(f"Chromium ended with {self.process.wait()} before it answered {waits_for}")
            *whole, self._rest = (self._rest + data).split(b"\0")
            self._messages.extend(whole)
        message: dict[str, Any] = json.loads(self._messages.popleft())
        page = self.pages.get(message.get("sessionId", ""))
        if page is not None and "method" in message:
            page.heard(message["method"], message["params"])
        return message

    def open(self, path: str | os.PathLike[str], **look: Any) -> Page:
        """Open a page from a file and wait until it is loaded; look: as `Page.show` takes it."""
        address = Path(path).resolve().as_uri()
        target = self.ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self.pages[session] = Page(self, session, address)
        for domain in ("Page", "Network", "Runtime", "Log"):
            page.ask(f"{domain}.enable")
        page._loaded = False
        failed = page.ask("Page.navigate", url=address).get("errorText")
        if failed:
            raise RuntimeError(f"{path}: {failed}")
        deadline = time.monotonic() + LONGEST
        while not page._loaded:
            self._next(deadline, f"the loading of {path}")
        page.show(**look)
        return page


def program() -> str:
    """Where Chromium is; the test skips where it isn't."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium: apt-get install chromium")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium with an empty profile and no network; it ends with the block."""
    name = program()
    (reads, told), (tells, writes) = os.pipe(), os.pipe()
    theirs = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in (reads, writes)]  # out of the way of 3 and 4
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # Chromium reads from file descriptor 3 and writes to 4.
        moved = f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]} {theirs[0]}<&- {theirs[1]}>&-'
        process = subprocess.Popen(
            ["bash", "-c", moved, "bash", name, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=theirs, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for each in (reads, writes, *theirs):
            os.close(each)
        browser = Browser(process, told, tells)
        try:
            yield browser
        finally:
            try:
                browser.ask("Browser.close")
                process.wait(10)
            except (OSError, RuntimeError, TimeoutError, subprocess.TimeoutExpired):
                process.kill()
                process.wait()
            os.close(told)
            os.close(tells)
