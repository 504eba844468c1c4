"""Completion: what bash offers when Tab is pressed, and scripts for the other shells."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backtest import cli
from backtest.cli.completion import SHELLS
from backtest.venues import venue_names

shtab = pytest.importorskip("shtab", reason="shtab is not installed")


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data" / "sample").mkdir(parents=True)
    (tmp_path / "run.json").touch()
    return tmp_path


# As a shell calls it: the words, the one that is being typed, and the one before it.
TAB = """
source carry.bash
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMPREPLY=()
function=$(complete -p carry | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
$function carry "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def offered(folder: Path, *words: str) -> list[str]:
    """What bash completes the last of the words with."""
    done = subprocess.run(["bash", "-c", TAB, "bash", *words], cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_options_files_folders_and_choices(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "carry.bash").write_text(script("bash", capsys))
    assert offered(folder, "carry", "") == ["data", "premium", "compare", "venues", "completion"]
    assert offered(folder, "carry", "pr") == ["premium"]
    assert offered(folder, "carry", "data", "") == ["sample", "import", "download", "check", "spreads"]
    assert offered(folder, "carry", "data", "check", "") == ["data"], "datasets are folders"
    assert offered(folder, "carry", "data", "check", "data/") == ["data/sample"]
    assert {"--at", "--html", "--json", "--help", "--weighting"} <= set(offered(folder, "carry", "premium", "data", "--"))
    assert offered(folder, "carry", "premium", "data", "--we") == ["--weighting"]
    assert offered(folder, "carry", "premium", "data", "--weighting", "") == ["equal", "front", "long", "open_interest", "volume"]
    assert set(offered(folder, "carry", "compare", "")) == {"carry.bash", "run.json", "data"}
    assert set(offered(folder, "carry", "data", "import", "")) == {"carry.bash", "run.json", "data"}
    assert offered(folder, "carry", "data", "download", "by") == ["bybit"]
    assert sorted(offered(folder, "carry", "venues", "")) == sorted(venue_names())
    assert offered(folder, "carry", "completion", "") == list(SHELLS)


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script_that_it_can_read(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = script(shell, capsys)
    for word in ("premium", "compare", "sample", "weighting", "bybit"):
        assert word in told or shell == "tcsh"
    assert "carry" in told
    if shutil.which(shell) is None or shell == "tcsh":  # tcsh can't read without running
        return
    (tmp_path / "script").write_text(told)
    done = subprocess.run([shell, "-n", str(tmp_path / "script")], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_help_says_what_cannot_be_completed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["completion", "--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert "Flags of a strategy's script can't be completed" in words
    assert all(f"{shell}: " in words for shell in SHELLS)


def test_the_parser_still_parses_what_it_marks(capsys: pytest.CaptureFixture[str]) -> None:
    """The words that a shell offers are no rule: a mistake is told by the command, with the nearest word."""
    script("bash", capsys)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["venues", "binnance"])
    assert 'no rule-book for venue "binnance"' in capsys.readouterr().err


def test_mistakes_are_one_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["completion", "bahs"])
    assert capsys.readouterr().err == 'error: no completion for the shell "bahs"; did you mean "bash"?\n'
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["completion", "bash"])
    assert capsys.readouterr().err == 'error: completion needs shtab; install it with pip install "shtab>=1.7"\n'
