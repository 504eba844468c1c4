"""Every command and every code block of the README works, in a folder of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


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


@pytest.mark.parametrize("block", [block for block in blocks("sh") if "pip install" not in block])
def test_shell_block_runs(clone: Path, block: str) -> None:
    shell(clone, block)


def test_the_first_command_ends_with_a_table_and_a_report(clone: Path) -> None:
    first = next(block for block in blocks("sh") if "pip install" in block)
    out = shell(clone, first.split("&&", 1)[1])
    assert "SIMULATED" in out
    assert "final equity less capital" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "SIMULATED" in (clone / "reports/cash_and_carry.html").read_text(encoding="utf-8")


def test_python_blocks_run_one_after_another(clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    monkeypatch.chdir(clone)
    names: dict[str, object] = {"__name__": "readme"}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert "FadePremium" in capsys.readouterr().out
    assert (clone / "reports/fade.html").exists()


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
