"""Every notebook runs in a folder like a fresh clone, and what is committed are outputs of a whole run: in order, complete, of nobody's machine."""

import json
import queue
import re
from pathlib import Path
from typing import Any

import pytest

import backtest as bt
from backtest.data.sample import build_sample

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "notebooks").glob("*.ipynb"))
EACH = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
LARGEST = 600_000  # bytes
MACHINE = re.compile(rf"(?<![\w./:~-])/(?:{'|'.join(('work', 'tmp', 'root', 'home', 'Users', 'mnt'))})/|site-packages| at 0x[0-9a-f]{{6}}")
DRAWS = re.compile(r"plot_\w+\(|\.plot\(|subplots\(")


def cells(file: Path, kind: str = "code") -> list[dict[str, Any]]:
    """The cells of a kind."""
    return [cell for cell in json.loads(file.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def shown(cell: dict[str, Any]) -> str:
    """The text of a cell's outputs."""
    texts = [text for output in cell["outputs"] for text in (output.get("text", ""), *output.get("data", {}).values())]
    return "\n".join("".join(text) if isinstance(text, list) else str(text) for text in texts)


def kinds(cell: dict[str, Any]) -> set[str]:
    return {kind for output in cell["outputs"] for kind in output.get("data", {})}


# ---------------------------------------------------------------- they run


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a clone, with the sample in it."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("notebooks", "reports"):
        (folder / name).mkdir()
    (folder / "strategies").symlink_to(ROOT / "strategies")
    build_sample(folder / "data/sample")
    return folder


def run(file: Path, folder: Path) -> list[list[dict[str, Any]]]:
    """Run all cells in a fresh kernel; the messages that each sent. AssertionError with the cell for the first that fails."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", cwd=str(folder))
    try:
        sent: list[list[dict[str, Any]]] = []
        for cell in cells(file):
            sent.append([])
            try:
                reply = client.execute_interactive(source(cell), allow_stdin=False, timeout=240, output_hook=sent[-1].append)
            except (queue.Empty, TimeoutError):
                raise AssertionError(f"no end after 240 s: {source(cell)}") from None
            assert reply["content"]["status"] == "ok", f"{source(cell)}\n{reply['content'].get('evalue')}"
        return sent
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.filterwarnings("default")  # the kernel client's own sockets; warnings within the kernel are looked for below
@EACH
def test_a_notebook_runs_from_top_to_bottom(file: Path, clone: Path) -> None:
    sent = run(file, clone / "notebooks")
    for cell, messages in zip(cells(file), sent, strict=True):
        errors = [message["content"]["text"] for message in messages if message["content"].get("name") == "stderr"]
        assert not errors, f"{source(cell)}\n{errors}"
        pictures = sum("image/png" in message["content"].get("data", {}) for message in messages)
        assert bool(pictures) == bool(DRAWS.search(source(cell))), source(cell)


@pytest.mark.filterwarnings("default")
def test_the_first_cell_makes_the_sample_where_there_is_none(tmp_path: Path) -> None:
    from jupyter_client.manager import start_new_kernel

    for name in ("notebooks", "data"):
        (tmp_path / name).mkdir()
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path / "notebooks"))
    try:
        reply = client.execute_interactive(source(cells(FILES[0])[0]), allow_stdin=False, timeout=240, output_hook=lambda message: None)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert reply["content"]["status"] == "ok"
    assert bt.load_market(str(tmp_path / "data/sample"), end="2020-02-01").info.simulated


# ---------------------------------------------------------------- what is committed


def test_there_are_the_six_and_the_readme_has_them() -> None:
    assert [file.stem[:2] for file in FILES] == [f"{number}_" for number in range(1, 7)]
    told = re.findall(r"\((\d_\w+\.ipynb)\)", (ROOT / "notebooks/README.md").read_text(encoding="utf-8"))
    assert told == [file.name for file in FILES]


@EACH
def test_the_outputs_are_of_one_run_in_order(file: Path) -> None:
    assert [cell["execution_count"] for cell in cells(file)] == list(range(1, len(cells(file)) + 1))
    for cell in cells(file):
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", shown(cell)
        assert not MACHINE.search(shown(cell)), MACHINE.search(shown(cell))
        assert "Traceback" not in shown(cell)
        if DRAWS.search(source(cell)):
            assert kinds(cell) & {"image/png", "application/vnd.jupyter.widget-view+json"}, f"no figure: {source(cell)}"
        if "print(" in source(cell):
            assert "stream" in {output["output_type"] for output in cell["outputs"]}
    assert not MACHINE.search(file.read_text(encoding="utf-8"))


@EACH
def test_a_file_is_small_and_says_that_its_numbers_are_made_up(file: Path) -> None:
    assert file.stat().st_size < LARGEST
    opening = source(cells(file, "markdown")[0])
    assert opening.startswith("# ")
    assert "SIMULATED" in opening or "MADE UP" in opening


@EACH
def test_what_it_uses_is_public(file: Path) -> None:
    used = {name for cell in cells(file) for name in re.findall(r"\bbt\.(\w+)", source(cell))}
    assert used
    assert used <= set(bt.__all__)


@EACH
def test_its_links_lead_somewhere(file: Path) -> None:
    for cell in cells(file, "markdown"):
        for link in re.findall(r"\]\(([^)#]+)\)", source(cell)):
            assert (file.parent / link).exists(), link


def test_from_data_to_a_report_it_is_ten_cells() -> None:
    first = cells(FILES[0])
    assert len(first) == 10
    assert "build_sample" in source(first[0])
    assert ".report(" in source(first[-1])


def test_the_sliders_stand_beside_a_figure_that_needs_none() -> None:
    (tune,) = (file for file in FILES if "tune" in file.stem)
    code = cells(tune)
    place = next(number for number, cell in enumerate(code) if "interact(" in source(cell))
    assert "application/vnd.jupyter.widget-view+json" in kinds(code[place])
    assert "image/png" in kinds(code[place + 1])
    state = json.loads(tune.read_text(encoding="utf-8"))["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert sum(widget["model_name"] == "FloatSliderModel" for widget in state.values()) == 3
