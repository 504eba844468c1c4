"""Every page does what it says: its commands and blocks run, its links lead somewhere, its tables have all there is; and the API reference is made by one command."""

import argparse
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from pages import PAGES, REASONS, ROOT, blocks, check_command, commands, fresh_clone, rows, runnable, shell, text_of
from real_sums import strategy

import backtest as bt
from backtest.cli import build_parser
from backtest.filters import FILTERS, SIZERS, parse_filter, parse_sizer
from backtest.scenarios import SCENARIOS, parse_scenario
from backtest.strategy import command_line

GUIDE = "backtest/guide.md"
RISK = text_of(GUIDE).split("## Execution and risk", 1)[1].split("\n## ", 1)[0]
RISK_COMMANDS = re.findall(r"```sh\n(.*?)```", RISK, re.S)[0]
# README.md's are run by test_readme.py, and the commands on execution and risk one by one below.
SHELL_BLOCKS = [(page, text) for page in PAGES if page != "README.md" for text in runnable(page) if text != RISK_COMMANDS]
WITH_PYTHON = [page for page in PAGES if page != "README.md" and any(not block.reason for block in blocks(page, "python"))]


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fresh_clone(tmp_path_factory, "clone_of_the_docs")


# ---------------------------------------------------------------- blocks


@pytest.mark.parametrize(("page", "block"), SHELL_BLOCKS, ids=[f"{page} {text.splitlines()[0][:40]}" for page, text in SHELL_BLOCKS])
def test_a_shell_block_runs(clone: Path, page: str, block: str) -> None:
    shell(clone, block)


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_python_blocks_of_a_page_run_one_after_another(clone: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.use("Agg")
    folder = clone / Path(page).parent if page == "notebooks/README.md" else clone
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(page, "python"):
        if not block.reason:
            exec(compile(block.text, page, "exec"), names)
    plt.close("all")
    if page == GUIDE:
        test = names["test"]
        assert isinstance(test, bt.StressTest)
        assert [len(run.liquidations) for run in (test.base, test.results["transfers=1D"])] == [0, 1], "as the comment in the page says"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_known_kind_and_what_is_not_run_can_be_parsed(page: str) -> None:
    for block in blocks(page):
        assert block.language in ("sh", "python", "toml", "text"), f"{page}: a block of {block.language!r}"
        assert block.reason in ("", *REASONS), f"{page}: {block.reason}"
        if block.language == "sh":
            for words in commands(block.text):
                check_command(words)
        if block.language == "python":
            compile(block.text, page, "exec")
    assert not re.search(r"^    (?:python|carry|pip) ", text_of(page), re.M), (
        f"{page} has commands in a block without a fence, which nothing checks"
    )


def test_a_page_can_not_name_what_is_not_there() -> None:
    for line in (
        "carry data chek",
        "carry compare a.json --hmtl x",
        "python strategies/funding_carry.py --entr 1",
        "python strategies/none.py",
    ):
        with pytest.raises((AssertionError, Exception)):
            check_command(line.split())
    for line in ("python benchmarks/run.py --slow", "pip install .[nonsense]", "rm -rf data"):
        with pytest.raises(AssertionError):
            check_command(line.split())


def options(parser: argparse.ArgumentParser) -> set[str]:
    """All flags of a parser and of the commands below it."""
    found = {option for action in parser._actions for option in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found = found.union(*map(options, action.choices.values()))
    return found


def test_every_flag_that_a_page_names_exists() -> None:
    known = options(build_parser()) | {"--nworkers", "--nthreads", "--memory-limit"}  # the latter are Dask's
    for file in (ROOT / "strategies").glob("*.py"):
        known |= options(command_line(type(strategy(file.stem)), file.name))
    for place in ("benchmarks", "notebooks", "tests"):
        known |= {
            flag
            for file in (ROOT / place).glob("*.py")
            for flag in re.findall(r'add_argument\(\s*"(--[a-z-]+)"', file.read_text(encoding="utf-8"))
        }
    for page in PAGES:
        named = {
            flag for code in re.findall(r"`(?!jupyter )([^`\n]+)`", text_of(page)) for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)
        }
        if page != "CHANGELOG.md":
            assert named <= known, f"{page}: {sorted(named - known)}"


def test_every_command_that_a_sentence_names_exists() -> None:
    for page in PAGES:
        for words in re.findall(r"`carry ([a-z]+)(?: ([a-z]+))?[^`\n]*`", text_of(page)):
            parser: argparse.ArgumentParser = build_parser()
            for word in words:
                (below,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)] or (None,)
                if below is None or not word:
                    break
                assert word in below.choices, f"{page}: carry {' '.join(words)}"
                parser = below.choices[word]


# ---------------------------------------------------------------- links


def anchors(page: str) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_and_files_that_a_page_names_exist(page: str) -> None:
    folder = (ROOT / page).parent
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        file = (folder / target).resolve() if target else ROOT / page
        assert file.exists(), f"{page} links to {link}"
        if anchor:
            assert anchor in anchors(str(file.relative_to(ROOT))), f"{page} links to {link}"
    for name in re.findall(r"`((?:strategies|tests|benchmarks|backtest|notebooks)/[\w./]+)`", text_of(page)):
        assert page == "CHANGELOG.md" or (ROOT / name).exists(), f"{page} names {name}"


def test_every_source_of_the_comparison_is_given_and_used() -> None:
    page = text_of("benchmarks/alternatives.md")
    given = dict(re.findall(r"^\[(\w+)\]: (https://\S+)$", page, re.M))
    tables = [line for line in page.splitlines() if line.startswith("|")]
    used = {label for line in tables for label in re.findall(r"\[(\w+)\]", line)}
    assert used == set(given)
    assert len(set(given.values())) == len(given), "a source has one label"


@pytest.mark.parametrize("column", range(2, 6))
def test_what_the_comparison_says_of_another_engine_has_a_source(column: int) -> None:
    """A bare no has none: it was not found."""
    owner = {2: "v", 3: "n", 4: "f", 5: "d"}[column]
    lines = [
        line
        for line in text_of("benchmarks/alternatives.md").splitlines()
        if line.startswith("|") and "---" not in line and "carry-backtest |" not in line
    ]
    assert len(lines) > 20
    for line in lines:
        cell = [part.strip() for part in line.strip("|").split("|")][column]
        labels = re.findall(r"\[(\w)\w+\]", cell)
        assert set(labels) <= {owner}, cell
        assert labels or cell in ("no", "none", "none found", "yours"), f"{line[:50]}: {cell}"


# ---------------------------------------------------------------- execution and risk

COSTLY, MARGINED, PLAYED = RISK_COMMANDS.splitlines()


def figure(folder: Path, command: str) -> str:
    """The total return that a run prints."""
    found = re.search(r"^total return +(\S+)", shell(folder, command), re.M)
    assert found is not None
    return found[1]


def test_costs_grow_with_size_by_the_figures_that_the_guide_has(clone: Path) -> None:
    told = re.search(
        r"five million return (\S+) by.*half a million (\S+), and five million without the settings.*on (\S+)\. What", RISK, re.S
    )
    assert told is not None
    several = (COSTLY, COSTLY.replace(" 5000000 ", " 500000 "), COSTLY.partition(" --impact")[0])
    assert len(set(several)) == 3
    assert [figure(clone, command) for command in several] == list(told.groups())


def test_a_top_up_avoids_as_many_liquidations_as_the_guide_says(clone: Path) -> None:
    told = re.search(r"has (\d+) liquidations, (\d+) without `--top-up`", RISK)
    assert told is not None
    assert MARGINED.endswith(" --top-up 0.5")
    printed = [shell(clone, command) for command in (MARGINED, MARGINED.partition(" --top-up")[0])]
    assert [re.findall(r"^(\d+) LIQUIDATIONS", text, re.M) for text in printed] == [[count] for count in told.groups()]


def test_all_scenarios_end_in_a_table_and_in_the_reasons_of_those_left_out(clone: Path) -> None:
    stressed = shell(clone, PLAYED).split("Stress test", 1)[1]
    for name in SCENARIOS:
        assert re.search(rf"^{name} ", stressed, re.M) or re.search(rf"^\* {name} was left out: ", stressed, re.M), name


# ---------------------------------------------------------------- tables of the guide, and of the scripts


def test_the_table_of_scripts_has_all_of_them_and_flags_that_they_have() -> None:
    told = {cells[0].strip("`"): cells[1] for cells in rows("strategies/README.md", "| strategy | the trade |")}
    assert sorted(told) == sorted(f"strategies/{file.name}" for file in (ROOT / "strategies").glob("*.py"))
    for name, trade in told.items():
        flags = options(command_line(type(strategy(Path(name).stem)), name))
        assert set(re.findall(r"--[a-z-]+", trade)) <= flags, name


def test_the_table_of_scenarios_has_all_of_them_with_their_defaults() -> None:
    told = {cells[0].strip("`"): cells[1].strip("`") for cells in rows(GUIDE, "| `--scenario`")}
    scenarios = {text: parse_scenario(text) for text in told}
    assert [scenario.name for scenario in scenarios.values()] == sorted(SCENARIOS, key=[text.partition("=")[0] for text in told].index)
    assert [getattr(bt, name) for name in told.values()] == [type(scenario) for scenario in scenarios.values()]
    for scenario in scenarios.values():
        sizes = [item.name for item in fields(scenario) if item.name in ("factor", "size", "gap", "delay", "duration")]
        assert [getattr(scenario, name) for name in sizes] == [getattr(type(scenario)(), name) for name in sizes]


def test_the_settings_that_the_guide_names_are_settings() -> None:
    """Of the rule or of the execution, or signals; and the table has all of the execution's but the fees and rates."""
    known = {item.name for kind in (bt.Rule, bt.Execution) for item in fields(kind)}
    named = {name for _, cell in rows(GUIDE, "| question ") for name in re.findall(r"`(\w+)`", cell)}
    assert named - known - set(bt.SIGNALS) == {"borrow_available"}
    hooks = {"deleveraged_at", "deleveraged_gap", "recalled_at"}  # of scenarios
    rates = {name for name in known if name.endswith(("_fee", "_rate"))} | {"maintenance", "funding"}
    assert {item.name for item in fields(bt.Execution)} - named == (rates | hooks) - named


def test_the_table_of_filters_and_the_sentence_on_sizers_have_all_of_them() -> None:
    told = [cells[0].strip("`") for cells in rows(GUIDE, "| `--filter`")]
    assert [type(parse_filter(text)) for text in told] == list(FILTERS.values())
    text = text_of(GUIDE)
    sentence = text[text.index("`--sizer ") :].split("\n\n")[0]
    sizers = re.findall(r"`(?:--sizer )?([\w.=]+)`", sentence)
    assert [type(parse_sizer(text)) for text in sizers] == list(SIZERS.values())


def test_the_table_of_signals_has_all_of_them() -> None:
    named = {name for _, cell in rows(GUIDE, "| about ") for name in re.findall(r"`(\w+)`", cell)}
    ours = {name for name in bt.SIGNALS if hasattr(bt, name)}  # a test may have made one of its own
    assert ours - {"closes"} <= named
    assert all(hasattr(bt, name) for name in named)


# ---------------------------------------------------------------- the API reference


def test_one_command_makes_the_reference_of_all_that_the_package_offers(tmp_path: Path) -> None:
    pytest.importorskip("pdoc", reason="pdoc is not installed: the extra docs has it")
    (command,) = (block.text.split() for block in blocks("README.md", "sh") if block.text.startswith("pdoc "))
    done = subprocess.run([sys.executable, "-m", *command[:-1], str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "pdoc warns of what it can't find"
    page = (tmp_path / "backtest.html").read_text(encoding="utf-8")
    sections = dict(re.findall(r'<section id="(\w+)">(.*?)</section>', page, re.S))
    for name in bt.__all__:
        told = re.search(r'<div class="docstring">(.*?)</div>', sections[name], re.S)
        documented = callable(getattr(bt, name)) and getattr(bt, name).__doc__
        assert told or not documented, f"{name} has no text in the reference"
        if documented and told:
            assert words(documented)[:4] == words(told[1])[:4], name


def words(text: str) -> list[str]:
    """The words of a docstring, or of what pdoc made of it."""
    return re.findall(r"[A-Za-z]+", re.sub(r"<[^>]+>", "", text))
