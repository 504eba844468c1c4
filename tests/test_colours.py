"""Colours: on a terminal only, the text letter for letter what it was, and what must not be overlooked is red."""

import io
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markets import ether, write
from terminals import on_terminal, plain, screen

from backtest.cli import main
from backtest.flags import bold_headings
from backtest.report.paint import ALARM, BOLD, DIM, END, NEGATIVE, painted, say
from backtest.terminal import coloured

CARRY = [sys.executable, "-m", "backtest.cli"]
RULE = "-" * 80
TABLE = f"""{"=" * 80}
Run                                                               SIMULATED DATA
{"=" * 80}
period     2021-01-01 to 2023-01-01
short      ETHUSDT-210326

Where it came from                               USDT
{RULE}
price of the short leg                     -84,062.94        -84.06%
slippage                                       -27.17         27.17%
{RULE}
final equity less capital                   23,854.09

3 LIQUIDATIONS
{RULE}
2021-05-19  -1 ETHUSDT-PERP     -1.5k  0.05 to -0.1

Notes
{RULE}
* It cost -3 bps,
  and no more.

after -1"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


# ---------------------------------------------------------------- when


def test_colours_are_for_terminals_that_know_them(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, file, closed = Terminal(), io.StringIO(), Terminal()
    closed.close()
    assert [coloured(stream) for stream in (terminal, file, None)] == [True, False, False]
    monkeypatch.setenv("TERM", "dumb")
    assert not coloured(terminal)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert coloured(terminal)
    assert coloured(file)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(terminal)
    assert not coloured(file)
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("FORCE_COLOR", "0")
    assert not coloured(file)


def test_a_closed_stream_and_an_old_console_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    assert not coloured(closed)
    monkeypatch.delenv("WT_SESSION", raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    assert not coloured(Terminal())
    monkeypatch.setenv("WT_SESSION", "1")
    assert coloured(Terminal())


def test_a_pipe_gets_plain_text_and_a_terminal_colours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    say(TABLE)
    assert capsys.readouterr().out == TABLE + "\n"
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    say(TABLE)
    assert terminal.getvalue() == painted(TABLE) + "\n" != TABLE + "\n"


# ---------------------------------------------------------------- what


def test_headings_are_bold_and_rules_and_notes_dim() -> None:
    lines = painted(TABLE).split("\n")
    assert lines[1].startswith(f"{BOLD}Run ")
    assert lines[2] == f"{DIM}{'=' * 80}{END}"
    assert lines[6].startswith(f"{BOLD}Where it came from")
    assert lines[9].startswith("slippage "), "what stands above a sum is no heading"
    assert lines[10] == f"{DIM}{RULE}{END}"
    assert lines[17] == f"{BOLD}Notes{END}"
    assert lines[19:21] == [f"{DIM}* It cost -3 bps,{END}", f"{DIM}  and no more.{END}"]
    assert lines[-1] == f"after {NEGATIVE}-1{END}", "notes end with them"


def test_alarms_are_red_and_negative_numbers_have_their_colour() -> None:
    told = painted(TABLE)
    assert re.findall(rf"{re.escape(ALARM)}([^\x1b]+)", told) == ["SIMULATED DATA", "3 LIQUIDATIONS"]
    assert re.findall(rf"{re.escape(NEGATIVE)}([^\x1b]+)", told) == ["-84,062.94", "-84.06%", "-27.17", "-1", "-1.5k", "-0.1", "-1"]
    for alarm in ("(SIMULATED)", "error: a hole", "problem: a hole", "2 problems found", "NOT EXPLAINED by the sources"):
        assert ALARM in painted(alarm)


@pytest.mark.parametrize(
    "text", ["2021-05-19", "ETHUSDT-260327", "short-term 3", "2021-01-01T08:00", "--enter", "1 - 2", "a-1", "- 5", "5-7", "exit=-0.05", ""]
)
def test_what_is_no_negative_number_has_no_colour(text: str) -> None:
    assert painted(text) == text


def test_alarm_and_negative_are_told_apart_by_more_than_a_hue() -> None:
    """Red and orange-red may be one colour to the colour-blind: an alarm is bold, and a word; a negative number has its minus."""
    assert ALARM.startswith("\033[1;")
    assert not NEGATIVE.startswith("\033[1;")


LINES = st.sampled_from([*TABLE.split("\n"), RULE, "", "note: -1", "Nothing from: x", "error: y", "  "])


@given(st.lists(LINES | st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" -=.%"), max_size=90), max_size=12))
def test_the_text_is_letter_for_letter_what_it_was(lines: list[str]) -> None:
    text = "\n".join(lines)
    told = painted(text)
    assert plain(told) == text
    for line in told.split("\n"):
        assert "\033" not in line or line.endswith((END, plain(line)[-1:])), "no colour runs into the next line"
        assert line.count("\033[") % 2 == 0 or line.endswith(END)


def test_a_help_has_bold_headings_and_is_what_it_was() -> None:
    text = (
        "usage: carry\n\nrun:\n  --data DIR  dataset\n  -h, --help  this\n      --start of a line\n\na sentence with a colon:\nand its end"
    )
    told = bold_headings(text)
    assert plain(told) == text
    assert "\033[1mrun:\033[0m" in told
    assert "  \033[38;5;32m--data\033[0m DIR" in told
    assert "  \033[38;5;32m-h, --help\033[0m" in told
    assert "      --start of" in told
    assert told.count("\033[1m") == 1


# ---------------------------------------------------------------- as it is seen


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("colours"), ether())


def test_a_table_on_a_terminal_is_the_plain_one_in_colours(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["premium", data]) == 0
    told = capsys.readouterr().out
    code, written = on_terminal([*CARRY, "premium", data], tmp_path)
    assert code == 0
    assert f"{ALARM}SIMULATED DATA" in written
    assert screen(written) == told.split("\n")
    assert max(map(len, screen(written))) <= 80
    for name in ("NO_COLOR", "TERM"):
        _, without = on_terminal([*CARRY, "premium", data], tmp_path, **{name: "dumb"})
        assert "\033[1" not in without
        assert "\033[3" not in without


def test_the_word_error_is_red_on_a_terminal_only(tmp_path: Path) -> None:
    code, written = on_terminal([*CARRY, "premium", "nowhere"], tmp_path)
    assert code == 2
    assert written.startswith("\033[1;31merror:\033[0m ")
    assert "there is no dataset here" in plain(written)
    _, without = on_terminal([*CARRY, "premium", "nowhere"], tmp_path, NO_COLOR="1")
    assert without.startswith("error: ")


def test_help_on_a_terminal_has_colours_and_fits(tmp_path: Path) -> None:
    for words in (["--help"], ["premium", "--help"], ["data", "import", "--help"], ["completion", "--help"]):
        code, written = on_terminal([*CARRY, *words], tmp_path)
        assert code == 0
        assert "\033[1moptions:\033[0m" in written
        assert max(map(len, screen(written))) <= 80
