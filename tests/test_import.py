"""What an import brings: `import backtest` is for everybody, libraries of one task come with the task. Told by the list of modules, not by the clock."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Drawing, the compiler, other engines, services, notebooks.
TASKS = (
    "matplotlib", "jinja2", "numba", "llvmlite", "vectorbt", "plotly", "scipy", "arch", "optuna", "dask", "distributed", "ccxt", "s3fs", "fsspec", "tqdm",
    "exchange_calendars", "IPython", "ipywidgets", "nbformat", "concurrent.futures.process", "multiprocessing", "asyncio", "http.client",
)  # fmt: skip
FILES = ("pyarrow.parquet", "pyarrow.dataset")  # read when data are
COMPILED = ("numba", "llvmlite", "scipy")  # come with the first run; numba brings the others, and in some environments what follows
MAYBE = ("multiprocessing",)


def brought(script: str) -> set[str]:
    """The modules that a new Python has after these lines."""
    lines = f"import json, sys\n{script}\nprint(json.dumps(sorted(sys.modules)))"
    # Nothing that this process was started with changes what is imported: no coverage, no debugger.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTHON"))}
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, cwd=ROOT, env=clean)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def bare() -> set[str]:
    return brought("import backtest")


@pytest.mark.parametrize("name", [*TASKS, *FILES])
def test_the_import_brings_no_library_of_one_task(name: str, bare: set[str]) -> None:
    assert "backtest.rule" in bare
    assert name not in bare


def test_the_import_brings_no_kernel_and_no_page(bare: set[str]) -> None:
    assert not {"backtest.kernels", "backtest.result", "backtest.simulate", "backtest.report.html", "backtest.report.figures"} & bare
    assert not [name for name in bare if name.startswith("backtest.cli")]


def test_the_names_that_come_late_are_all_there() -> None:
    script = "import backtest\nassert all(getattr(backtest, name) is not None for name in backtest.__all__)"
    assert {"backtest.simulate", "backtest.report.plots"} <= brought(script)


def test_the_help_of_the_command_line_needs_none_of_them() -> None:
    script = "from backtest.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit as left:\n    assert left.code == 0"
    assert not {*TASKS, *FILES} & brought(script)


def test_loading_data_brings_files_and_nothing_else(simulated: Path) -> None:
    modules = brought(f"import backtest as bt\nbt.load_market({str(simulated)!r})")
    assert "pyarrow.parquet" in modules
    assert not set(TASKS) & modules


def test_a_run_brings_the_compiler_and_draws_nothing(simulated: Path) -> None:
    lines = ("import backtest as bt", "sys.path.append('strategies')", "from funding_carry import FundingCarry")
    script = "\n".join([*lines, f"print(len(repr(bt.run(FundingCarry(), bt.load_market({str(simulated)!r})))))"])
    assert set(COMPILED) <= (modules := brought(script))
    assert not (set(TASKS) - set(COMPILED) - set(MAYBE)) & modules
