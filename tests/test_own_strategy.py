"""The strategy that the README tells users to write, as one of their own: it runs, sweeps, reports, and doesn't look into the future."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import backtest as bt
from backtest.data.sample import build_sample

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", README.split("## A strategy of your own", 1)[1], re.S)[0]
PERIOD = ("2021-01-01", "2021-09-01")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("own") / "sample"
    build_sample(str(place))
    return place


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The block, copied into a file far from the repository's strategies."""
    place = tmp_path_factory.mktemp("mine") / "fade_premium.py"
    place.write_text(CODE, encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def owner(file: Path) -> Any:
    """The class that the file defines."""
    spec = importlib.util.spec_from_file_location("fade_premium", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FadePremium


@pytest.fixture(scope="module")
def market(sample: Path) -> bt.Market:
    return bt.load_market(str(sample), *PERIOD)


def test_it_is_twenty_lines_and_none_of_the_repositorys() -> None:
    assert sum(bool(line.strip()) for line in CODE.splitlines()) <= 20
    assert not any("FadePremium" in script.read_text(encoding="utf-8") for script in (ROOT / "strategies").glob("*.py"))


def test_it_runs_by_its_rule(owner: Any, market: bt.Market) -> None:
    """In after a close at which the premium is at or above 0.2 %, out after one at or below 0 or three days in; both legs hold the same coins."""
    result = bt.run(owner(), market)
    premium = pd.Series(bt.premium(market, market.perpetual)[0], index=market.clock)
    trades = result.trades
    assert len(trades) > 5
    assert (premium[trades["entered_at"]] >= 0.002).all()
    closed = trades[trades["reason"] == "signal"]
    assert (premium[closed["exited_at"]] <= 0.0).all()
    late = trades[trades["reason"] == "time"]
    assert (late["exited_at"] - late["entered_at"] == pd.Timedelta("3D")).all()
    assert {"signal", "time"} <= set(trades["reason"]) <= {"signal", "time", "end of data"}
    assert result.metrics["hedged_share"] == 1.0
    assert abs(result.metrics["spot_beta"]) <= 0.03


def test_it_sweeps(owner: Any, market: bt.Market) -> None:
    """Every row is the run with that threshold; a threshold below the exit is refused, with the sentence."""
    sweep = bt.sweep(owner, market, enter=[-0.001, 0.001, 0.002, 0.004])
    table = sweep.table
    assert list(table.index) == [0.001, 0.002, 0.004]
    for enter in (0.001, 0.004):
        alone = bt.run(owner(enter=enter), market)
        row = table.loc[enter]
        assert (row["total_return"], row["trades"]) == (alone.metrics["total_return"], len(alone.trades))
    assert np.all(np.diff(table["trades"]) < 0)
    (why,) = sweep.invalid["why"]
    assert "enter" in why
    assert "exit" in why


def test_it_reports(owner: Any, market: bt.Market, tmp_path: Path) -> None:
    bt.run(owner(), market).report(tmp_path / "fade.html")
    page = (tmp_path / "fade.html").read_text(encoding="utf-8")
    for told in ("FadePremium", "SIMULATED", "always-on funding carry", "<svg", "beta to spot"):
        assert told in page, told


def test_it_passes_the_causality_check(owner: Any, market: bt.Market) -> None:
    check = bt.check_causality(owner(), market)
    assert check.passed, check
    assert len(check.cuts) >= 12


def test_with_a_look_ahead_in_it_it_fails_the_causality_check(market: bt.Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file with the premium of the next bar."""
    names: dict[str, object] = {"__name__": "ahead"}
    monkeypatch.setitem(sys.modules, "ahead", ModuleType("ahead"))  # where a dataclass looks up its annotations
    exec(
        CODE.replace("premium(market, market.perpetual)", "premium(market, market.perpetual)[:, list(range(1, len(market))) + [-1]]"), names
    )
    ahead = names["FadePremium"]
    assert isinstance(ahead, type)
    with pytest.raises(bt.ParameterError, match=r"^FadePremium looks into the future: its signal \(entry\) at "):
        bt.check_causality(ahead(), market).raise_if_failed()


def started(file: Path, sample: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """The file as a script, in its own folder."""
    words = ["--data", str(sample), "--start", PERIOD[0], "--end", PERIOD[1], *flags]
    return subprocess.run(
        [sys.executable, file.name, *words], cwd=file.parent, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def test_it_is_a_script_that_ends_with_the_verdict(file: Path, owner: Any, sample: Path, market: bt.Market) -> None:
    """Flags of its own, of every strategy, and of the engine."""
    done = started(file, sample, "--enter", "0.003", "--max-hold", "1D", "--leverage", "2", "--check-causality", "--json", "run.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split() == ["FadePremium", "SIMULATED", "DATA"]
    assert "Causality of FadePremium: passed" in done.stdout
    assert (file.parent / "reports" / "fade_premium.html").exists()
    told = json.loads((file.parent / "run.json").read_text(encoding="utf-8"))
    result = bt.run(owner(enter=0.003, max_hold="1D"), market, leverage=2)
    assert told["final_equity"] == pytest.approx(float(result.equity.iloc[-1]), abs=1e-9)


def test_its_flags_have_their_help(file: Path, sample: Path) -> None:
    done = started(file, sample, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    words = " ".join(done.stdout.split())
    for told in (
        "--enter",
        "open at or above this premium",
        "--exit",
        "close at or below it",
        "--max-hold",
        "--filter",
        "--check-causality",
    ):
        assert told in words, told


def test_a_mistake_in_it_is_one_sentence(file: Path, sample: Path) -> None:
    done = started(file, sample, "--exit", "0.01")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
