"""Several values on a strategy's command line: what they are read as, what is run with them, what is printed and written, and every mistake's sentence."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markets import ether, write

import backtest as bt
from backtest import script
from backtest import strategy as strategy_module
from backtest.errors import ParameterError
from backtest.market import Market
from backtest.rule import Rule, Sides
from backtest.script import parse_several
from backtest.space import Range, between
from backtest.strategy import Strategy, command_line, main, values_of

NONE = type(None)
LATER = "only parameters of the strategy and its position and limits take several; run it once for each"


@dataclass(frozen=True, kw_only=True)
class Fade(bt.Strategy):
    """Sell the perpetual against spot when its premium is rich."""

    enter: float = bt.param(0.0005, "open at or above this premium")
    exit: float | None = bt.param(0.0, "close at or below it")
    max_hold: str | None = bt.param("2D", "close after this long")
    legs: tuple[str, ...] = bt.param(("perpetual",), "what to sell")
    days: int = bt.param(3, "a whole number, of no use")
    flat: bool = bt.param(False, "a switch, of no use")

    def rule(self, market: Market) -> bt.Rule:
        short = market.perpetual if self.legs[0] == "perpetual" else market.future_chain()
        signal = bt.premium(market, short)
        return bt.Rule(long=market.spot, short=short, signal=signal, enter=self.enter, exit=self.exit, max_hold=self.max_hold)


@dataclass
class Asked:
    """What was asked of the sweep, and what it gives back."""

    kind: str = ""
    strategy: Any = None
    settings: dict[str, Any] = field(default_factory=dict)
    happened: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        self.happened.append("printed")
        return "the table\n\nthe heat map"

    def report(self, path: Path) -> None:
        self.happened.append(f"report {path}")

    def to_json(self, path: str) -> None:
        self.happened.append(f"json {path}")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("sweep_script"), ether())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """In place of a sweep what was asked of it."""
    made = Asked()

    def run_kind(kind: str, strategy: type[Strategy], market: Market, **settings: Any) -> Asked:
        made.kind, made.strategy, made.settings = kind, strategy, settings
        return made

    monkeypatch.setattr(script, "run_kind", run_kind)
    return made


def parameters(asked: Asked) -> dict[str, Any]:
    return {name: value for name, value in asked.settings.items() if name not in ("capital", "execution")}


def mistake(capsys: pytest.CaptureFixture[str], data: str, *words: str, strategy: type[Strategy] = Fade) -> str:
    """The sentence of a command line that must fail."""
    with pytest.raises(SystemExit) as left:
        main(strategy, [*words, "--data", data])
    captured = capsys.readouterr()
    assert left.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1, "one sentence"
    return captured.err.removeprefix("error: ").rstrip("\n")


def started(data: str, words: str) -> None:
    """A command line with these words."""
    main(Fade, ["--data", data, *words.split()])


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize(
    ("words", "kinds", "value"),
    [
        (["0.1", "-0.2"], (float,), [0.1, -0.2]),
        (["0.1", "none"], (float, NONE), [0.1, None]),
        (["30D", "90D", "none"], (str, NONE), ["30D", "90D", None]),
        (["none", "1.5", "auto"], (float, Literal["auto"], NONE), [None, 1.5, "auto"]),
        (["0.1,0.2", "0.3"], (float, tuple[float, float], NONE), [(0.1, 0.2), 0.3]),
        (["yes", "no"], (bool,), [True, False]),
        (["plus", "both"], (Sides,), ["plus", "both"]),
        (["2", "3"], (int,), [2, 3]),
        (["0.02..0.3"], (float,), between(0.02, 0.3)),
        (["0.02..0.3"], (float, NONE), between(0.02, 0.3)),
        (["-0.05..0.05"], (float,), between(-0.05, 0.05)),
        (["-0.05..-0.01"], (float,), between(-0.05, -0.01)),
        (["1e-3..1e-1:log"], (float,), between(1e-3, 1e-1, log=True)),
        ([".5...7"], (float,), between(0.5, 0.7)),
        (["1..20"], (int,), between(1, 20, whole=True)),
        (["1..20:log"], (int,), between(1, 20, log=True, whole=True)),
        (["1..20"], (int, float), between(1, 20)),
        (["1..20:whole"], (float,), between(1, 20, whole=True)),
        (["1..20:whole:log"], (float,), between(1, 20, whole=True, log=True)),
        (["../here"], (str,), "../here"),
        (["a..b", "c"], (str,), ["a..b", "c"]),
    ],
)
def test_words_become_values_lists_and_ranges(words: list[str], kinds: tuple[Any, ...], value: object) -> None:
    found = parse_several(words, kinds, "x")
    assert found == value
    assert type(found) is type(value)


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.booleans())
def test_a_range_reads_as_it_is_written(low: float, width: float, log: bool) -> None:
    one = between(*sorted((round(abs(low) + 0.1 if log else low, 6), round(low + 2.0 * abs(low) + width + 1.0, 6))), log=log)
    assert parse_several([str(one)], (float,), "x") == one


@pytest.mark.parametrize(
    ("words", "kinds", "told"),
    [
        (["0.1", "much"], (float,), "x must be a number: x=much"),
        (["0.1..0.3", "0.5"], (float,), "x is one range or several values: x=0.1..0.3 0.5; give the range alone, or values"),
        (["0.1..much"], (float,), "x must be a range between two numbers, as 0.02..0.3: x=0.1..much"),
        (["..0.3"], (float,), "x must be a range between two numbers, as 0.02..0.3: x=..0.3"),
        (["0.1.."], (float,), "x must be a range between two numbers, as 0.02..0.3: x=0.1.."),
        (["0.1..0.3:lin"], (float,), 'a range has no mark "lin": x=0.1..0.3:lin; known: log, whole'),
        (["0.3..0.1"], (float,), "x=0.3..0.1: a range goes from a lower to a higher number: low=0.3, high=0.1; give the lower first"),
        (["0..1:log"], (float,), "x=0..1:log: a range by logarithms must be above 0: low=0; give a low above 0, or leave log out"),
        (["0.5..3"], (int,), "x=0.5..3: a range of whole numbers needs whole bounds: low=0.5, high=3; round them, or leave whole out"),
        (["0..inf"], (float,), "x=0..inf: high must be a finite number: high=inf"),
        (["5D..30D"], (str,), "x is no number and takes no range: x=5D..30D; give several values, as --x 5D 30D"),
        (["5D..30D"], (str, pd.Timedelta, NONE), "x is no number and takes no range: x=5D..30D; give several values, as --x 5D 30D"),
    ],
)
def test_what_is_no_value_and_no_range_is_refused(words: list[str], kinds: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(told)}$"):
        parse_several(words, kinds, "x")


def test_several_values_of_any_flag_of_the_strategy_and_its_rule() -> None:
    parser = command_line(Fade, "fade")
    words = "--enter 0.1 -0.2 --exit=-0.05 0.05 -1e-3 --max-hold 30D none --legs perpetual future,chain --size 0.2..0.5 --resize none 1.5 --days 1..9 --stop -0.1..0.2"
    found = parser.parse_strictly(words.split())
    assert values_of(found, Fade) == {
        "enter": [0.1, -0.2], "exit": [-0.05, 0.05, -1e-3], "max_hold": ["30D", None], "legs": ["perpetual", ("future", "chain")],
        "days": between(1, 9, whole=True),
    }  # fmt: skip
    own = set(values_of(found, Fade))
    assert {name: value for name, value in values_of(found, Rule).items() if name not in own} == {
        "size": between(0.2, 0.5), "resize": [None, 1.5], "stop": between(-0.1, 0.2),
    }  # fmt: skip
    assert values_of(parser.parse_strictly(["--exit", "-0.05..0.05"]), Fade) == {"exit": Range(-0.05, 0.05)}
    assert values_of(parser.parse_strictly(["--exit=-0.05..0.05"]), Fade) == {"exit": Range(-0.05, 0.05)}
    assert values_of(parser.parse_strictly(["--exit", "-.05"]), Fade) == {"exit": -0.05}


def test_of_one_flag_twice_the_last_counts() -> None:
    assert values_of(command_line(Fade, "fade").parse_strictly(["--enter", "1", "2", "--enter", "3"]), Fade) == {"enter": 3.0}


# ---------------------------------------------------------------- what is run


def test_several_values_are_a_sweep(data: str, asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    """The table and the heat map, the report, the JSON, in this order."""
    words = "--enter 0.0003 0.0006 --exit -0.001..0.0 --max-hold 1D none --sample 7 --method sobol --seed 3 --size 0.2 --capital 5000 --spot-fee 0 --json out.json"
    main(Fade, ["--data", data, *words.split(), "--filter", "funding=2h", "regime", "--sizer", "volatility=0.4"])
    assert (asked.kind, asked.strategy) == ("sweep", Fade)
    assert asked.settings == {
        "capital": 5000.0, "execution": bt.Execution(spot_fee=0.0), "sample": 7, "method": "sobol", "seed": 3, "enter": [0.0003, 0.0006],
        "exit": between(-0.001, 0.0), "max_hold": ["1D", None], "size": 0.2, "filters": ("funding=2h", "regime"), "sizers": ("volatility=0.4",),
    }  # fmt: skip
    assert asked.happened == ["printed", "report reports/fade_sweep.html", "json out.json"]
    printed = capsys.readouterr()
    assert printed.out == "the table\n\nthe heat map\nReport: reports/fade_sweep.html\nJSON: out.json\n"
    assert printed.err == ""


def test_without_json_none_is_written_and_the_report_goes_where_it_is_told(data: str, asked: Asked) -> None:
    main(Fade, ["--data", data, "--enter", "0.1", "0.2", "--report", "mine.html"])
    assert asked.happened == ["printed", "report mine.html"]
    assert parameters(asked) == {"enter": [0.1, 0.2]}


def test_threads_store_cluster_and_patience_reach_the_sweep(data: str, asked: Asked) -> None:
    words = "--size 0.1 0.2 --threads 2 --store kept --cluster tcp://10.0.0.1:8786 --longest 2h"
    started(data, words)
    assert parameters(asked) == {"size": [0.1, 0.2], "threads": 2, "store": "kept", "cluster": "tcp://10.0.0.1:8786", "longest": "2h"}


def test_a_walk_forward(data: str, asked: Asked) -> None:
    started(data, "--enter 0.1 0.2 --walk-forward 4D 2D")
    assert (asked.kind, parameters(asked)) == ("walk_forward", {"enter": [0.1, 0.2], "train": "4D", "test": "2D"})
    assert asked.happened == ["printed", "report reports/fade_walk_forward.html"]
    started(data, "--enter 0.1..0.2 --walk-forward 4D 2D --sample 5 --method random --seed 1 --embargo 0D")
    assert parameters(asked) == {
        "enter": between(0.1, 0.2),
        "train": "4D",
        "test": "2D",
        "sample": 5,
        "method": "random",
        "seed": 1,
        "embargo": "0D",
    }


def test_a_search_takes_ranges_without_a_sample(data: str, asked: Asked) -> None:
    started(data, "--enter 0.1..0.2 --max-hold 1D none --search 30 --seed 1 --threads 2")
    assert (asked.kind, parameters(asked)) == (
        "search",
        {"enter": between(0.1, 0.2), "max_hold": ["1D", None], "trials": 30, "seed": 1, "threads": 2},
    )
    assert asked.happened == ["printed", "report reports/fade_search.html"]


def test_the_strategys_own_parameter_varies_and_not_the_rules(data: str, asked: Asked) -> None:
    """Both have max_hold; and one that is called as a setting of the execution is the strategy's."""

    @dataclass(frozen=True, kw_only=True)
    class Own(Fade):
        """With a parameter called as one of the execution."""

        funding: float = bt.param(0.1, "a rate")

    main(Own, ["--data", data, "--max-hold", "1D", "2D", "--funding", "0.1", "0.2"])
    assert parameters(asked) == {"max_hold": ["1D", "2D"], "funding": [0.1, 0.2]}
    assert asked.settings["execution"] == bt.Execution()
    main(Own, ["--data", data, "--funding", "0.1..0.2", "--sample", "5"])
    assert parameters(asked) == {"funding": between(0.1, 0.2), "sample": 5}


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("", False), ("--enter 0.1 --size 0.2 --spot-fee 0.001 --legs a,b", False), ("--filter regime oi --sizer volatility liquidity", False),
        ("--enter 0.1 0.2", True), ("--size 0.1 0.2", True), ("--stake yes no", True), ("--enter 0.1..0.2", True), ("--sample 5", True), ("--search 5", True),
    ],
)  # fmt: skip
def test_what_is_a_sweep_is_seen_from_the_words(words: str, asked: bool) -> None:
    """Several filters are in force together and don't vary."""
    assert script.several_asked(command_line(Fade, "fade").parse_strictly(words.split()), Fade) == asked


def test_one_value_is_a_run(data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(script, "run_kind", None)
    monkeypatch.setattr(bt.Result, "report", lambda self, path: None)
    main(Fade, ["--data", data, "--enter", "0.0005", "--legs", "perpetual,", "--filter", "funding=2h"])
    assert capsys.readouterr().out.endswith("Report: reports/fade.html\n")


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The sweeps that were really run; their reports are not drawn."""
    made: list[Any] = []
    run_kind = script.run_kind

    def noted(kind: str, strategy: type[Strategy], market: Market, **settings: Any) -> Any:
        made.append(run_kind(kind, strategy, market, **settings))
        return made[-1]

    monkeypatch.setattr(script, "run_kind", noted)
    monkeypatch.setattr(sys.modules["backtest.sweep"].Sweep, "report", lambda self, path: None, raising=False)
    return made


def test_the_command_line_and_python_sweep_alike(data: str, swept: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    market = bt.load_market(data)
    started(data, "--enter 0.0003 0.0006 --exit -0.001 0.0004 --leverage 2 --capital 50000 --half-spread 0.0002")
    wanted = bt.sweep(
        Fade,
        market,
        capital=50_000.0,
        execution=bt.Execution(half_spread=0.0002),
        enter=[0.0003, 0.0006],
        exit=[-0.001, 0.0004],
        leverage=2.0,
    )
    pd.testing.assert_frame_equal(swept[0].table, wanted.table)
    assert len(wanted.table) == 3
    assert list(swept[0].invalid.index) == [(0.0003, 0.0004)]
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "Sweep of Fade" in out
    assert "SIMULATED DATA" in out


def test_a_sample_of_ranges_is_swept(data: str, swept: list[Any]) -> None:
    words = "--enter 0.0002..0.0008 --exit -0.002..-0.001 --max-hold 12h 2D none --sample 6 --method sobol"
    started(data, words)
    table = swept[0].table
    assert len(table) == 6
    assert table.index.names == ["enter", "exit", "max_hold"]
    assert table.index.get_level_values("enter").to_series().between(0.0002, 0.0008).all()
    assert set(table.index.get_level_values("max_hold")) <= {"12h", "2D", "none"}
    enter, leave, hold = table.index[0]
    alone = bt.run(Fade(enter=enter, exit=leave, max_hold=None if hold == "none" else hold), bt.load_market(data))
    assert table["final_equity"].iloc[0] == pytest.approx(alone.equity.iloc[-1], rel=1e-12)


# ---------------------------------------------------------------- interrupted


@pytest.mark.parametrize(
    ("words", "message", "told"),
    [
        ("", "", "stopped before it was finished; nothing is kept; no report was written"),
        (
            "--store kept",
            "",
            "stopped before it was finished; what was finished is kept in kept, and the same command goes on from there; no report was written",
        ),
        ("--store kept", "stopped; 12 of 30 are kept in kept", "stopped; 12 of 30 are kept in kept"),
    ],
)
def test_stopped_it_says_what_is_kept(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, message: str, told: str
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt(*([message] if message else []))

    monkeypatch.setattr(script, "run_kind", stop)
    with pytest.raises(SystemExit) as left:
        main(Fade, ["--data", data, "--enter", "0.1", "0.2", *words.split()])
    assert left.value.code == 130
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"{told}\n")


SCRIPT = '''
import time
from dataclasses import dataclass
from pathlib import Path

import backtest as bt


@dataclass(frozen=True, kw_only=True)
class Slow(bt.Strategy):
    """It says that it has begun, and takes its time."""

    enter: float = bt.param(0.0005, "a premium")

    def rule(self, market: bt.Market) -> bt.Rule:
        Path("begun").touch()
        if Path("slowly").exists():
            time.sleep(0.02)
        return bt.Rule(long=market.spot, short=market.perpetual, signal=bt.premium(market, market.perpetual), enter=self.enter)


bt.main(Slow)
'''


def test_a_script_that_is_stopped_says_one_sentence_and_goes_on(data: str, here: Path) -> None:
    """By Ctrl-C in the middle; with a store the same command ends with what was kept."""
    (here / "slow.py").write_text(SCRIPT, encoding="utf-8")
    (here / "slowly").touch()
    words = [sys.executable, "slow.py", "--data", data, "--threads", "1", "--json", "sweep.json", "--enter"]
    words += [f"{number / 1e6}" for number in range(300)]
    environment = {**os.environ, "PYTHONPATH": str(Path(bt.__file__).parents[1])}

    def stopped(begun: str, *more: str) -> str:
        with subprocess.Popen(
            [*words, *more], cwd=here, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as running:
            until = time.monotonic() + 300.0  # the kernel may have to be compiled first
            while not any(here.glob(begun)) and running.poll() is None and time.monotonic() < until:
                time.sleep(0.02)
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=120)
        assert (running.returncode, out) == (130, "")
        assert err.count("\n") == 1, "one sentence"
        assert not (here / "reports").exists()
        assert not (here / "sweep.json").exists()
        return err

    assert re.match(r"interrupted; [\d,]+ of 300 combinations were finished and are lost; name a store to keep them$", stopped("begun"))
    found = re.match(
        r"interrupted; (\d+) of 300 combinations are finished and kept in kept, and the same call goes on",
        stopped("kept/**/*.parquet", "--store", "kept"),
    )
    assert found is not None
    assert 0 < int(found[1]) < 300
    (here / "slowly").unlink()
    done = subprocess.run([*words, "--store", "kept"], cwd=here, env=environment, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "300 combinations" in done.stdout
    assert (here / "reports" / "slow_sweep.html").exists()
    assert json.loads((here / "sweep.json").read_text(encoding="utf-8"))


# ---------------------------------------------------------------- refusals, before the data are loaded

REFUSED = [
    ("--scenario all --enter 0.1 0.2", "--scenario plays one run: enter has 2 values; give each parameter one value, or leave --scenario out"),
    (
        "--check-causality --exit 0.1..0.2 --sample 3",
        "--check-causality checks one run: exit is a range; give each parameter one value, or leave --check-causality out",
    ),
    ("--spot-fee 0.001 0.002", f"--spot-fee takes one value: it got 0.001 0.002; {LATER}"),
    ("--idle-rate -0.01 0.002 --enter 0.1", f"--idle-rate takes one value: it got -0.01 0.002; {LATER}"),
    ("--spot-fee 0..0.001 --enter 0.1 0.2", f"--spot-fee takes one value: it got 0..0.001; {LATER}"),
    ("--capital 1000 2000", f"--capital takes one value: it got 1000 2000; {LATER}"),
    ("--enter 0.1 0.2 --start 2024-03-01 2024-03-02", f"--start takes one value: it got 2024-03-01 2024-03-02; {LATER}"),
    ("stray --enter 0.1 0.2", 'unexpected argument "stray"; see fade --help'),
    ("-5", 'unexpected argument "-5"; see fade --help'),
    ("--check-causality yes", 'unexpected argument "yes"; see fade --help'),
    ("--enter 0.1 0.1", "enter has 0.1 twice: its combinations would be run twice; leave one out"),
    ("--enter 0.1 0.2 --size much 0.2", "size must be a number: size=much"),
    ("--enter 0.1..0.2", "enter is a range, which has no grid: enter=0.1..0.2; give the size of a sample, as sample=100, or a list"),
    ("--max-hold 5D..30D", "max_hold is no number and takes no range: max_hold=5D..30D; give several values, as --max-hold 5D 30D"),
    ("--max-hold 5D..30D 40D", "max_hold is one range or several values: max_hold=5D..30D 40D; give the range alone, or values"),
    ("--enter 0.1 0.2 --sample 0", "sample must be a whole number from 1 on: sample=0"),
    ("--enter 0.1 0.2 --sample some", "sample must be a whole number: sample=some"),
    ("--enter 0.1 0.2 --sample 2 --method best", "method must be one of grid, random, sobol: method=best"),
    ("--enter 0.1 0.2 --method sobol", "method=sobol draws a sample, and has no size of it: sample=None; give sample=100, or leave method out"),
    ("--enter 0.1 0.2 --sample 2 --seed -1", "seed must be a whole number from 0 on: seed=-1"),
    ("--enter 0.1 0.2 --sample 2 --seed x", "seed must be a whole number: seed=x"),
    ("--enter 0.1 0.2 --threads 0", "threads must be a whole number from 1 on: threads=0"),
    ("--enter 0.1 0.2 --longest 5", "longest must be a duration like \"30D\" or \"8h\": longest='5'"),
    ("--enter 0.1 0.2 --walk-forward 5 2D", "train must be a duration like \"30D\" or \"8h\": train='5'"),
    ("--enter 0.1 0.2 --walk-forward 5D soon", "test must be a duration like \"30D\" or \"8h\": test='soon'"),
    ("--enter 0.1 0.2 --walk-forward 5D", "argument --walk-forward: expected 2 arguments; see fade --help"),
    ("--enter 0.1 0.2 --search none", "search must be a whole number: search=none"),
    ("--enter 0.1 0.2 --search 0", "search must be a whole number from 1 on: search=0"),
    (
        "--enter 0.1 0.2 --search 9 --walk-forward 5D 2D",
        "--walk-forward and --search exclude each other: each chooses in its own way; leave one out",
    ),
    ("--enter 0.1 0.2 --search 9 --sample 5", "--search and --sample exclude each other: it takes --seed --threads; leave one of them out"),
    (
        "--enter 0.1 0.2 --walk-forward 5D 2D --store kept",
        "--walk-forward and --store exclude each other: it takes --sample --method --seed --embargo; leave one of them out",
    ),
    ("--enter 0.1 0.2 --embargo 5D", "--embargo belongs to a walk-forward; give --walk-forward 365D 90D, or leave --embargo out"),
    ("--enter 0.1 0.2 --walk-forward 5D 2D --embargo long", "embargo must be a duration like \"30D\" or \"8h\": embargo='long'"),
    ("--capital much --enter 0.1 0.2", "capital must be a number: capital=much"),
    ("--margin none --enter 0.1 0.2", "margin must be one of isolated, cross, off: margin=none"),
    (f"--enter {' '.join(map(str, range(1500)))} --exit {' '.join(map(str, range(1000)))}", (
        "a grid of 1,500,000 combinations is too large: 1,500 of enter × 1,000 of exit, at most 1,000,000; give fewer values, or the size of a sample, "
        "as sample=1000"
    )),
]  # fmt: skip


@pytest.mark.parametrize(("words", "told"), REFUSED, ids=[words[:60] for words, _ in REFUSED])
def test_mistakes_are_one_sentence_before_the_data_are_loaded(
    words: str, told: str, data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "sample_market", None)
    monkeypatch.setattr(strategy_module, "sample_market", None)
    assert mistake(capsys, data, *words.split()) == told


@pytest.mark.parametrize(
    "words",
    [
        "--sample 5",
        "--method sobol",
        "--seed 0",
        "--threads 2",
        "--store kept",
        "--cluster tcp://x:1",
        "--longest 1h",
        "--embargo 1D",
        "--search 5",
        "--walk-forward 5D 2D",
    ],
)
def test_flags_of_a_sweep_need_several_values(words: str, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = f"{words.split()[0]} needs a parameter with several values: all have one; give several, as --size 0.25 0.5, or a range, as --size 0.1..0.5"
    assert mistake(capsys, data, *words.split(), "--enter", "0.1") == told


def test_a_mistake_in_all_combinations_is_told(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = mistake(capsys, data, "--enter", "0.0003", "0.0006", "--leverage", "0")
    assert told == "none of the 2 combinations of Fade can run, the first because: leverage must be above 0: leverage=0"


def test_parameters_called_as_a_flag_of_sweeps_are_refused(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Own(Fade):
        """With a name that is taken."""

        seed: int = bt.param(1, "a number")

    told = mistake(capsys, data, "--seed", "3", strategy=Own)
    assert told == 'parameter "seed" of Own is called as a flag that every strategy has; give it another name'


# ---------------------------------------------------------------- what the help teaches


def test_the_help_teaches_several_values(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(Fade, ["--help"])
    told = capsys.readouterr().out
    words = " ".join(told.split())
    assert "one value of a parameter is a run; several, or a range as 0.02..0.3 with --sample" in words
    assert "--enter V …" in words
    assert "--size V …" in words
    assert re.search(r"--half-spread V +half the spread", words), "costs don't vary"
    for name in (*script.SWEEP, "walk_forward", "search"):
        assert f"{script.flag(name)} " in words
