"""What a terminal is told beside the results: colours where somebody reads, progress where somebody waits, and neither in a pipe or a file.

And what a pipe is told: with --json - standard output has the JSON and nothing else.

with waiting("writing the report"):  # after a second: writing the report … 00:07, and it is gone when done
    result.report(path)
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

STANDARD_OUTPUT = "-"  # the file that stands for it
PATIENCE = 1.0  # seconds before it is said what takes so long
BEAT = 0.5  # seconds between two looks at the clock
COMPILING = "compiling the engine, once for all later runs"


def coloured(stream: TextIO | None) -> bool:
    """Whether what is written there may have colours: on a terminal that knows them, unless NO_COLOR is set; anywhere if FORCE_COLOR is."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") != "0":
        return True
    old_console = sys.platform == "win32" and not os.environ.get("WT_SESSION")  # it would print the codes
    return watched(stream) and os.environ.get("TERM") != "dumb" and not old_console


def watched(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal. One that was closed, or never there, is none."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def put_json(write: Callable[[str], object], out: TextIO) -> None:
    """Write to a stream what a function writes to a file."""
    with TemporaryDirectory(prefix="carry-") as folder:
        file = Path(folder, "it.json")
        write(str(file))
        out.write(file.read_text(encoding="utf-8"))
    out.flush()


class Compiler:
    """Whether numba compiles just now, by the events that it tells of; it says so itself where nobody waits aloud."""

    def __init__(self) -> None:
        self.depth = self.waiting = 0  # functions being compiled, one within another, and those who wait aloud
        self._heard = False
        self._done: threading.Event | None = None

    def listen(self) -> None:
        """Hear of what is compiled from now on, if somebody watches and the compiler has been imported: nothing compiles without it."""
        events = sys.modules.get("numba.core.event")
        if events is not None and not self._heard and watched(sys.stderr):
            events.Listener.register(Compiler)
            events.register("numba:compile", self)
            self._heard = True

    def notify(self, event: Any) -> None:
        """What numba calls when a function begins or ends to be compiled."""
        self.depth += 1 if event.is_start else -1
        if self.depth and self._done is None and not self.waiting:
            self._done = threading.Event()
            threading.Thread(target=_tell, args=(COMPILING, self._done), daemon=True).start()
        elif not self.depth and self._done is not None:
            self._done.set()
            self._done = None


COMPILER = Compiler()


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say on stderr what takes so long, if it is a terminal and more than a second goes by; the line is gone when it is done."""
    if not watched(sys.stderr):
        yield
        return
    COMPILER.listen()
    done = threading.Event()
    teller = threading.Thread(target=_tell, args=(what, done), daemon=True)
    COMPILER.waiting += 1
    try:
        teller.start()
        yield
    finally:
        COMPILER.waiting -= 1
        done.set()
        if teller.ident is not None:
            teller.join()


def _tell(what: str, done: threading.Event) -> None:
    """The line with its clock, from when patience is over until it is done."""
    if done.wait(PATIENCE):
        return
    from tqdm import tqdm

    with tqdm(desc=what, bar_format="{desc} … {elapsed}", leave=False, file=sys.stderr) as line:
        line.start_t -= PATIENCE
        while not done.wait(BEAT):
            line.set_description_str(COMPILING if COMPILER.depth else what, refresh=True)
