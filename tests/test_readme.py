"""Every command and every code block of the README works, in a folder of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from real_sums import strategy

import backtest as bt
from backtest.filters import FILTERS, SIZERS, parse_filter, parse_sizer
from backtest.scenarios import SCENARIOS, parse_scenario
from backtest.strategy import command_line

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
RISK = TEXT.split("## Execution and risk", 1)[1].split("\n## ", 1)[0]
RISK_COMMANDS = re.findall(r"```sh\n(.*?)```", RISK, re.S)[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a clone; the sample is made in it by the README's own command."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "strategies").symlink_to(ROOT / "strategies")
    shell(folder, "carry data sample --into data/sample")
    return folder


def shell(folder: Path, command: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-ec", command], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("block", [block for block in blocks("sh") if "pip install" not in block and block != RISK_COMMANDS])
def test_shell_block_runs(clone: Path, block: str) -> None:
    shell(clone, block)


def test_the_first_command_ends_with_a_table_and_a_report(clone: Path) -> None:
    first = next(block for block in blocks("sh") if "pip install" in block)
    out = shell(clone, first.split("&&", 1)[1])
    assert "SIMULATED" in out
    assert "final equity less capital" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "SIMULATED" in (clone / "reports/cash_and_carry.html").read_text(encoding="utf-8")


# ---------------------------------------------------------------- execution and risk

COSTLY, MARGINED, PLAYED = RISK_COMMANDS.splitlines()  # each is run below


def figure(folder: Path, command: str) -> str:
    """The total return that a run prints."""
    found = re.search(r"^total return +(\S+)", shell(folder, command), re.M)
    assert found is not None
    return found[1]


def test_costs_grow_with_size_by_the_figures_that_the_readme_has(clone: Path) -> None:
    told = re.search(
        r"five million return (\S+) by.*half a million (\S+), and five million without the settings.*on (\S+)\. What", RISK, re.S
    )
    assert told is not None
    commands = (COSTLY, COSTLY.replace(" 5000000 ", " 500000 "), COSTLY.partition(" --impact")[0])
    assert len(set(commands)) == 3
    assert [figure(clone, command) for command in commands] == list(told.groups())


def test_a_top_up_avoids_as_many_liquidations_as_the_readme_says(clone: Path) -> None:
    told = re.search(r"has (\d+) liquidations, (\d+) without `--top-up`", RISK)
    assert told is not None
    assert MARGINED.endswith(" --top-up 0.5")
    printed = [shell(clone, command) for command in (MARGINED, MARGINED.partition(" --top-up")[0])]
    assert [re.findall(r"^(\d+) LIQUIDATIONS", text, re.M) for text in printed] == [[count] for count in told.groups()]


def test_all_scenarios_end_in_a_table_and_in_the_reasons_of_those_left_out(clone: Path) -> None:
    stressed = shell(clone, PLAYED).split("Stress test", 1)[1]
    for name in SCENARIOS:
        assert re.search(rf"^{name} ", stressed, re.M) or re.search(rf"^\* {name} was left out: ", stressed, re.M), name


def rows(heading: str, text: str = TEXT) -> Iterator[list[str]]:
    """The cells of a table, by how its heading begins."""
    for line in text[text.index(heading) :].splitlines()[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_of_scenarios_has_all_of_them_with_their_defaults() -> None:
    told = {cells[0].strip("`"): cells[1].strip("`") for cells in rows("| `--scenario`")}
    scenarios = {text: parse_scenario(text) for text in told}
    assert [scenario.name for scenario in scenarios.values()] == sorted(SCENARIOS, key=[text.partition("=")[0] for text in told].index)
    assert [getattr(bt, name) for name in told.values()] == [type(scenario) for scenario in scenarios.values()]
    for scenario in scenarios.values():
        sizes = [item.name for item in fields(scenario) if item.name in ("factor", "size", "gap", "delay", "duration")]
        assert [getattr(scenario, name) for name in sizes] == [getattr(type(scenario)(), name) for name in sizes]


def test_the_settings_that_the_readme_names_are_settings() -> None:
    """Of the rule or of the execution, or signals; and the table has all of the execution's but the fees and rates."""
    known = {item.name for kind in (bt.Rule, bt.Execution) for item in fields(kind)}
    named = {name for _, cell in rows("| question ") for name in re.findall(r"`(\w+)`", cell)}
    assert named - known - set(bt.SIGNALS) == {"borrow_available"}
    hooks = {"deleveraged_at", "deleveraged_gap", "recalled_at"}  # of scenarios
    rates = {name for name in known if name.endswith(("_fee", "_rate"))} | {"maintenance", "funding"}
    assert {item.name for item in fields(bt.Execution)} - named == (rates | hooks) - named


def test_the_table_of_filters_and_the_sentence_on_sizers_have_all_of_them() -> None:
    told = [cells[0].strip("`") for cells in rows("| `--filter`")]
    assert [type(parse_filter(text)) for text in told] == list(FILTERS.values())
    sentence = TEXT[TEXT.index("`--sizer ") :].split("\n\n")[0]
    sizers = re.findall(r"`(?:--sizer )?([\w.=]+)`", sentence)
    assert [type(parse_sizer(text)) for text in sizers] == list(SIZERS.values())


def test_the_table_of_scripts_has_all_of_them_and_flags_that_they_have() -> None:
    told = {cells[0].strip("`"): cells[1] for cells in rows("| script | the trade |")}
    assert sorted(told) == sorted(f"strategies/{file.name}" for file in (ROOT / "strategies").glob("*.py"))
    for name, trade in told.items():
        flags = command_line(type(strategy(Path(name).stem)), name).format_help()
        assert all(flag in flags for flag in re.findall(r"--[a-z-]+", trade)), name


def test_the_table_of_signals_has_all_of_them() -> None:
    named = {name for _, cell in rows("| about ") for name in re.findall(r"`(\w+)`", cell)}
    assert set(bt.SIGNALS) - {"closes"} <= named
    assert all(hasattr(bt, name) for name in named)


# ---------------------------------------------------------------- Python


def test_python_blocks_run_one_after_another(clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    monkeypatch.chdir(clone)
    names: dict[str, object] = {"__name__": "readme"}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    out = capsys.readouterr().out
    assert "FadePremium" in out
    assert (clone / "reports/fade.html").exists()
    test = names["test"]
    assert isinstance(test, bt.StressTest)
    assert "transfers=1D" in out
    assert [len(run.liquidations) for run in (test.base, test.results["transfers=1D"])] == [0, 1]


def test_the_notebook_snippet_runs(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    (clone / "notebooks").mkdir()
    monkeypatch.chdir(clone / "notebooks")
    text = (ROOT / "notebooks/README.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    exec(re.findall(r"```python\n(.*?)```", text, re.S)[0], names)
    curves = names["curves"]
    assert isinstance(curves, dict)
    assert len(curves) == 3


def test_flags_and_files_that_the_readme_names_exist() -> None:
    for name in re.findall(r"`((?:strategies|tests|benchmarks|backtest)/[\w./]+)`", TEXT):
        assert (ROOT / name).exists(), name
    for link in re.findall(r"\]\(([\w./]+)\)", TEXT):
        assert (ROOT / link).exists(), link
