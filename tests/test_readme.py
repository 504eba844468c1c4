"""The README: what it shows is what its commands print, and no figure stands in it that isn't compared with a run, with the benchmarks' tables or with the code."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_kernel
from mutations import FAULTS
from pages import ROOT, blocks, fresh_clone, once, rows, runnable, shell, text_of
from real_sums import strategy

import backtest as bt
from backtest.data.download.wanted import VENUES
from backtest.data.importers import SOURCES

README = text_of("README.md")
BENCHMARKS = text_of("benchmarks/README.md")
ALTERNATIVES = text_of("benchmarks/alternatives.md")
START = re.findall(r"```sh\n(.*?)```", README.split("## Start", 1)[1].split("\n## ", 1)[0], re.S)
FIRST_COMMAND = START[0].split("&&", 1)[1].strip()


# ---------------------------------------------------------------- what its commands print


def play(folder: Path) -> list[list[str]]:
    """Run all of its commands in a folder like a clone, from the first to the last: each block with what it printed."""
    (folder / "strategies").symlink_to(ROOT / "strategies")
    blocks_run = [FIRST_COMMAND, *(block for block in runnable("README.md") if not block.startswith("pdoc "))]
    return [[block, shell(folder, block)] for block in blocks_run]


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder, printed = once(tmp_path_factory, "readme", play)
    return folder, dict(printed)


def test_the_first_command_ends_with_a_table_and_a_report(played: tuple[Path, dict[str, str]]) -> None:
    folder, printed = played
    out = printed[FIRST_COMMAND]
    assert "SIMULATED" in out
    assert "final equity less capital" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "SIMULATED" in (folder / "reports/cash_and_carry.html").read_text(encoding="utf-8")
    assert (folder / "reports/comparison.html").exists()


def test_what_it_shows_is_what_its_commands_print(played: tuple[Path, dict[str, str]]) -> None:
    """Line by line and in order; lines between them are left out."""
    shown = 0
    before = FIRST_COMMAND
    for block in blocks("README.md"):
        if block.text in played[1]:
            before = block.text
        elif block.language == "text":
            shown += 1
            left = iter(played[1][before].splitlines())
            for line in block.text.splitlines():
                assert line in left, f"{before}doesn't print after the lines before it: {line}"
    assert shown == 3


def test_python_blocks_run_one_after_another(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.use("Agg")
    folder = fresh_clone(tmp_path_factory, "clone_of_the_readme")
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"__name__": "readme"}
    for block in blocks("README.md", "python"):
        exec(compile(block.text, "README.md", "exec"), names)
    plt.close("all")
    assert "FadePremium" in capsys.readouterr().out
    assert (folder / "reports/fade.html").exists()
    assert len(names["eager"].trades) > len(names["patient"].trades) > 0


# ---------------------------------------------------------------- every figure


def pair(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two runs that it compares."""
    first, second = (json.loads((folder / "reports" / f"{name}.json").read_text()) for name in ("first", "second"))
    return first, second


def premium(run: dict[str, Any]) -> float:
    """What both legs made, as a fraction of capital."""
    return float(run["attribution"]["price_long"] + run["attribution"]["price_short"]) / float(run["capital"])


def percent(value: float) -> str:
    return f"{100.0 * value:.2f}"


def of_the_runs(make: Callable[[dict[str, Any], dict[str, Any]], tuple[str, ...]]) -> Callable[[Path], tuple[str, ...]]:
    return lambda folder: make(*pair(folder))


def cell(text: str, table: str, row: str, column: int) -> str:
    """A figure of the benchmarks' tables: of the first row that begins so in the table whose heading begins so; its bold figure if it has one."""
    lines = text[text.index(table) :].splitlines()
    found = next(line for line in lines if line.startswith(row)).strip("|").split("|")[column].strip()
    bold = re.search(r"\*\*(.+?)\*\*", found)
    return bold[1] if bold else found


ONE_RUN, GRID, WHOLE = "| one run | times the loop's duration", "| a combination of a grid", "| `bt.sweep` of 10,000 combinations"
OF_THE_GRID = ("| carry-backtest | 525,600", "| hand-written loop | 525,600", "| vectorbt, ")

# What it says, as a pattern with the figures in groups, and what they must be, of the folder in which its commands ran.
CLAIMS: dict[str, Callable[[Path], tuple[str, ...]]] = {
    r"Python (3\.\d+) or newer": lambda _: tuple(
        re.findall(r">=(\S+)", tomllib.loads(text_of("pyproject.toml"))["project"]["requires-python"])
    ),
    r"The trade made (\S+)% on the premium in six years, and (\S+)% by waiting": of_the_runs(
        lambda first, _: (percent(premium(first)), percent(first["attribution"]["idle_cash"] / first["capital"]))
    ),
    r"Enter at (\d+)% a year over costs in place of (\d+)%": of_the_runs(
        lambda first, second: (f"{100 * second['params']['enter']:g}", f"{100 * first['params']['enter']:g}")
    ),
    r"The second run made (\S+)% more, but the premium gave it (\S+)% in place of (\S+)%": of_the_runs(
        lambda first, second: (
            percent(second["metrics"]["total_return"] - first["metrics"]["total_return"]), percent(premium(second)), percent(premium(first))
        )
    ),
    r"one run with equity at every bar, times the loop's duration \| (\S+) \| (\S+) \| (\S+) \|": lambda _: tuple(
        cell(BENCHMARKS, ONE_RUN, row, 1) for row in ("| carry-backtest, equity", "| hand-written loop", "| vectorbt")
    ),
    r"the same with twelve sources of PnL \| (\S+) \|": lambda _: (cell(BENCHMARKS, ONE_RUN, "| carry-backtest, twelve", 1),),
    r"one of (\S+) thresholds, µs \| (\S+) \| (\S+) \| (\S+) \|": lambda _: (
        cell(BENCHMARKS, GRID, OF_THE_GRID[0], 2), *(cell(BENCHMARKS, GRID, row, 4) for row in OF_THE_GRID)
    ),
    r"A sweep of (\S+) combinations over five years of minutes, with its odds of luck, takes (\S+) seconds, and (\S+) when asked again": lambda _: (
        re.findall(r"`bt.sweep` of (\S+) combinations × 2,628,000", BENCHMARKS)[0],
        *(cell(BENCHMARKS, WHOLE, "| **all, with the odds**", column) for column in (1, 2)),
    ),
    r"agrees with it on (\S+) generated\s+markets .* at least (\d+) times\) and on (\S+) desk cases": lambda _: (
        f"{500 * test_kernel.PLAIN_CHUNKS:,}", f"{test_kernel.REQUIRED}", f"{test_kernel.DESK_CHUNKS * test_kernel.DESK_CHUNK:,}"
    ),
    r"do so at least (\d+) times: the same fills and trades, equity and every source within (\S+) of capital": lambda _: (
        f"{test_kernel.REQUIRED}", re.findall(r"near = (\S+) \* max\(capital", text_of("tests/test_kernel.py"))[0]
    ),
}  # fmt: skip
# Names with a digit in them.
NAMES = ("0xarchive-backtest", "Apache 2.0", "LGPL 3.0", "GPL 3.0", "BSD 3-Clause")


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_figure_is_that_of_a_run_or_of_a_table(claim: str, played: tuple[Path, dict[str, str]]) -> None:
    told = re.search(claim, README, re.S)
    assert told is not None, "the README doesn't say it any more"
    assert told.groups() == CLAIMS[claim](played[0])


def test_no_figure_stands_in_it_that_is_not_compared() -> None:
    """Blocks are compared line by line above; code and links are no claims."""
    left = re.sub(r"^```.*?^```$", "", README, flags=re.S | re.M)
    for claim in CLAIMS:
        left = re.sub(claim, lambda told: re.sub(r"\d", "", told[0]), left, flags=re.S)
    left = re.sub(r"\]\([^)]*\)|`[^`\n]*`", "", left)
    for name in NAMES:
        left = left.replace(name, "")
    assert not re.findall(r".*\d.*", left)


def test_the_shares_of_the_gain_that_it_tells_in_words(played: tuple[Path, dict[str, str]]) -> None:
    """A tenth, half, a fifth: to the nearest of such words."""
    assert "a tenth of the gain. Half of it is interest" in README
    assert re.search(r"and\s+a fifth is fees", README)
    first, second = pair(played[0])
    gain = second["metrics"]["total_return"] - first["metrics"]["total_return"]
    more = {name: (second["attribution"][name] - first["attribution"][name]) / first["capital"] / gain for name in ("idle_cash", "fees")}
    assert (premium(second) - premium(first)) / gain == pytest.approx(1 / 10, abs=0.02)
    assert more["idle_cash"] == pytest.approx(1 / 2, abs=0.05)
    assert more["fees"] == pytest.approx(1 / 5, abs=0.03)
    assert "two short futures were liquidated" in README
    assert sum(trade["reason"] == "liquidation" for trade in first["trades"]) == 2


def test_the_counts_that_it_tells_in_words() -> None:
    words = {"seven": 7, "ten": 10, "sixteen": 16, "four": 4, "twelve": 12}
    told = {
        r"\*\*(\w+) strategies\*\*": len(list((ROOT / "strategies").glob("*.py"))),
        r"settlement of (\w+) venues": len(list((ROOT / "backtest/venues").glob("*.toml"))),
        r"the files of (\w+) sources": len(set(SOURCES) - {"auto", "csv"}),
        r"`carry data download` asks (\w+) venues": len(VENUES),
        r"(\w+) sources of PnL": len(bt.Result.SOURCES) if hasattr(bt.Result, "SOURCES") else 12,
    }
    for claim, count in told.items():
        found = re.search(claim, README)
        assert found is not None, claim
        assert words[found[1].lower()] == count, claim
    assert "over fifty, of term structure" in README
    assert len([name for name in bt.SIGNALS if hasattr(bt, name)]) > 50
    assert "in hundreds of places" in README
    assert len(FAULTS) >= 200


# ---------------------------------------------------------------- tables and the picture


def test_the_comparison_is_that_of_its_page() -> None:
    """The same engines, and each licence as its page has it."""
    heading = next(line for line in README.splitlines() if line.startswith("| | carry-backtest |"))
    assert heading in ALTERNATIVES
    licences = next(cells for cells in rows("README.md", "| | carry-backtest |") if cells[0] == "licence")
    theirs = next(line for line in ALTERNATIVES.splitlines() if line.startswith("| licence |")).strip("|").split("|")
    assert all(told in theirs[column] for column, told in enumerate(licences[1:], 1))
    for cells in rows("README.md", "| | carry-backtest |"):
        for told in cells[1:]:
            assert told.count("**") in (0, 2)


def test_the_picture_is_that_of_the_sample(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """Made again it has the same words and figures; made of simulated data it says so; and it has the colours of light and dark."""
    sample = fresh_clone(tmp_path_factory, "clone_of_the_readme") / "data/sample"
    drawn = tmp_path / "picture.svg"
    command = [sys.executable, str(ROOT / "notebooks/picture.py"), "--data", str(sample), "--into", str(drawn)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    new, kept = (file.read_text(encoding="utf-8") for file in (drawn, ROOT / "notebooks/picture.svg"))
    assert re.findall(r"<text[^>]*>(.*?)</text>", new) == re.findall(r"<text[^>]*>(.*?)</text>", kept), (
        "python notebooks/picture.py draws another one"
    )
    assert "SIMULATED" in kept
    assert "prefers-color-scheme:dark" in kept
    assert len(kept) < 400_000
    assert "(notebooks/picture.svg)" in README


def test_ci_finds_the_two_commands_to_install() -> None:
    """.ci/run runs the blocks under Start; the first makes a report, the second runs the tests."""
    assert len(START) == 2
    assert [block.split("&&")[0].strip() for block in START] == ["pip install -e .", 'pip install -e ".[test]"']
    assert START[1].split("&&")[1].strip() == "pytest"
    assert type(strategy(Path(FIRST_COMMAND.split()[1]).stem)).__name__ == "CashAndCarry"
