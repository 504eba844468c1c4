"""Progress: a line on a terminal for what takes longer than a second, gone when it is done, and not a word elsewhere."""

import io
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from markets import ether, write
from terminals import on_terminal, screen

from backtest import terminal
from backtest.terminal import COMPILING, Compiler, waiting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in place of stderr, and little patience. No fixture: the test runner puts its own stderr in place before a test's body."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(terminal, "PATIENCE", 0.1)
    monkeypatch.setattr(terminal, "BEAT", 0.02)
    return stream


def test_what_takes_long_is_told_and_gone_when_done(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal_of(monkeypatch)
    with waiting("writing the report"):
        time.sleep(0.3)
    assert re.search(r"writing the report … 00:0\d", shown.getvalue())
    assert screen(shown.getvalue()) == [""]


def test_what_is_quick_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal_of(monkeypatch)
    with waiting("writing the report"):
        pass
    assert shown.getvalue() == ""


def test_nobody_is_told_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PATIENCE", 0.0)
    stream = io.StringIO()
    for nobody in (stream, None):
        monkeypatch.setattr(sys, "stderr", nobody)
        with waiting("writing the report"):
            time.sleep(0.05)
    assert stream.getvalue() == ""


def test_an_error_passes_and_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal_of(monkeypatch)

    def slow() -> None:
        with waiting("writing the report"):
            time.sleep(0.2)
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        slow()
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("(_tell)")]
    assert screen(shown.getvalue()) == [""]


class Event:
    def __init__(self, is_start: bool) -> None:
        self.is_start = is_start


def test_while_the_compiler_works_the_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal_of(monkeypatch)
    compiler = Compiler()
    monkeypatch.setattr(terminal, "COMPILER", compiler)
    with waiting("running the strategy"):
        time.sleep(0.2)
        compiler.notify(Event(True))
        compiler.notify(Event(True))
        time.sleep(0.1)
        compiler.notify(Event(False))
        compiler.notify(Event(False))
        time.sleep(0.1)
    parts = re.findall(rf"(running the strategy|{COMPILING}) …", shown.getvalue())
    assert [part for part, before in zip(parts, ["", *parts], strict=False) if part != before] == [
        "running the strategy",
        COMPILING,
        "running the strategy",
    ]
    assert screen(shown.getvalue()) == [""]


def test_the_compiler_says_so_itself_where_nobody_waits_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal_of(monkeypatch)
    compiler = Compiler()
    compiler.notify(Event(True))
    time.sleep(0.3)
    compiler.notify(Event(False))
    for thread in threading.enumerate():
        if thread.name.endswith("(_tell)"):
            thread.join()
    assert f"{terminal.COMPILING} …" in shown.getvalue()
    assert screen(shown.getvalue()) == [""]


def test_the_compiler_is_heard_once_and_only_where_somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal_of(monkeypatch)
    import numba.core.event as events

    before: list[Any] = list(events._registered["numba:compile"])
    compiler = Compiler()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(sys, "stderr", io.StringIO())
        compiler.listen()
    assert events._registered["numba:compile"] == before
    compiler.listen()
    compiler.listen()
    assert events._registered["numba:compile"] == [*before, compiler]
    events.unregister("numba:compile", compiler)
    with monkeypatch.context() as elsewhere:
        elsewhere.delitem(sys.modules, "numba.core.event")
        Compiler().listen()
    assert events._registered["numba:compile"] == before


# ---------------------------------------------------------------- as it is seen

HURRIED = "from backtest import terminal; terminal.PATIENCE, terminal.BEAT = 0.0, 0.01; "


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("progress"), ether())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["premium", "DATA", "--html", "p.html"], ["reading DATA", "writing p.html"]),
        (["data", "check", "DATA", "--plot", "p.svg"], ["checking DATA", "drawing the coverage"]),
        (["data", "sample", "--into", "made"], ["making the simulated sample"]),
    ],
)
def test_commands_tell_what_they_do_and_leave_their_table(data: str, tmp_path: Path, words: list[str], told: list[str]) -> None:
    words = [word.replace("DATA", data) for word in words]
    program = f"{HURRIED}import sys; from backtest.cli import main; sys.exit(main({words!r}))"
    code, written = on_terminal([sys.executable, "-c", program], tmp_path)
    assert code in (0, 1)
    for each in told:
        assert f"{each.replace('DATA', data)} …" in written
    assert " … 00:" not in "\n".join(screen(written))


SCRIPT = """
import backtest as bt
from dataclasses import dataclass

@dataclass(frozen=True, kw_only=True)
class Always(bt.Strategy):
    '''Always on.'''
    enter: float = bt.param(0.1, "of no use")

    def rule(self, market):
        return bt.Rule(long=market.spot, short=market.perpetual)

bt.main(Always)
"""


COMPILED = (
    HURRIED
    + """
import numpy as np
from backtest import rolling
from backtest.terminal import waiting

with waiting("running the strategy"):
    rolling._hysteresis(np.zeros(3), 0.1, 0.0, np.empty(3))
print("the table")
"""
)


def test_the_first_run_says_that_it_compiles(tmp_path: Path) -> None:
    """The library tells when it compiles, here the smallest kernel into an empty cache; from the cache it comes without a word."""
    told = []
    for _ in range(2):
        code, written = on_terminal([sys.executable, "-c", COMPILED], tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
        assert (code, screen(written)) == (0, ["the table", ""])
        told.append(f"{COMPILING} … 00:" in written)
    assert told == [True, False]


def test_a_script_tells_what_it_does_and_leaves_its_table(data: str, tmp_path: Path) -> None:
    (tmp_path / "always.py").write_text(HURRIED + SCRIPT)
    code, written = on_terminal([sys.executable, "always.py", "--data", data], tmp_path)
    assert code == 0
    for each in (f"reading {data}", "running the strategy", "writing the report"):
        assert f"{each} … 00:" in written
    lines = screen(written)
    assert not [line for line in lines if " … 00:" in line]
    assert "Always" in lines[1]
    assert lines[-2] == "Report: reports/always.html"


def test_a_stop_in_the_middle_is_one_sentence(data: str, tmp_path: Path) -> None:
    (tmp_path / "always.py").write_text(HURRIED + SCRIPT.replace("return bt.Rule", "import time; time.sleep(60); return bt.Rule"))
    code, written = on_terminal([sys.executable, "always.py", "--data", data], tmp_path, interrupt="running the strategy")
    assert code == 130
    assert [line for line in screen(written) if line][-1] == "stopped; what was there is as it was"
    assert "Traceback" not in written
