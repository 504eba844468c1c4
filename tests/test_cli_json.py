"""What machines read: every command's JSON to a file or alone on standard output, valid, with SIMULATED said; exit codes, and the help that tells of both."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import ether, write

from backtest import cli
from backtest.cli.parser import Parser
from backtest.cli.text import put

ROOT = Path(__file__).parents[1]
KLINES = "Timestamp,Open,High,Low,Close\n2024-03-29 05:00:00,10,12,9,11\n2024-03-29 06:00:00,11,13,10,12\n"


def strictly(text: str) -> Any:
    """The value of a JSON text; NaN and infinities are none."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("json"), ether())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spot_ETHUSDT.csv").write_text(KLINES)
    return tmp_path


def both_ways(capsys: pytest.CaptureFixture[str], here: Path, *words: str, code: int = 0) -> Any:
    """The JSON of a command, which is the same in a file and on standard output, where it is alone."""
    assert cli.main([*words, "--json", "-"]) == code
    alone = capsys.readouterr()
    assert alone.err == ""
    assert cli.main([*words, "--json", "found.json"]) == code
    assert "JSON: found.json\n" in capsys.readouterr().out
    assert (here / "found.json").read_text() == alone.out
    return strictly(alone.out)


# ---------------------------------------------------------------- every command


def test_check(data: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = both_ways(capsys, here, "data", "check", data)
    assert (told["dataset"]["name"], told["dataset"]["simulated"]) == ("test", True)
    assert told["good"] is not bool([one for one in told["findings"] if one["grave"]])
    spot = next(one for one in told["instruments"] if one["kind"] == "spot")
    assert (spot["bar"], spot["funding"], spot["missing"]) == (3600.0, None, 0)
    perpetual = next(one for one in told["instruments"] if one["kind"] == "perpetual")
    assert (perpetual["funding"]["largest_wait"], perpetual["funding"]["missing"]) == (28800.0, 0)
    assert re.fullmatch(r"2024-03-\d\dT\d\d:00:00Z", perpetual["from"])
    assert {one["strategy"] for one in told["usable"]}
    assert all(one["spans"] or one["why_not"] for one in told["usable"])


def test_check_of_a_broken_dataset(here: Path, tables: Any, capsys: pytest.CaptureFixture[str]) -> None:
    del tables.funding["ETHUSDT-PERP"]
    folder = write(here, tables)
    told = both_ways(capsys, here, "data", "check", folder, code=1)
    assert told["good"] is False
    assert [one["instrument"] for one in told["findings"] if one["grave"]] == ["ETHUSDT-PERP"]
    assert told["instruments"][0]["to"] is not None


def test_import_and_what_changed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "import", "binance", "spot_ETHUSDT.csv", "--into", "set", "--json", "-"]
    assert cli.main(words) == 0
    told = strictly(capsys.readouterr().out)
    assert (told["dataset"]["name"], told["dataset"]["simulated"], told["changed"]) == ("set", False, True)
    assert told["lines"] == [
        {
            "file": "spot_ETHUSDT.csv",
            "as": "ETHUSDT-SPOT",
            "kept": 2,
            "cut": 0,
            "from": "2024-03-29T06:00:00Z",
            "to": "2024-03-29T07:00:00Z",
        }
    ]
    assert cli.main(words) == 0
    assert strictly(capsys.readouterr().out)["changed"] is False


def test_sample(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sample = types.ModuleType("backtest.data.sample")
    sample.build_sample = lambda path: "f" * 64  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "backtest.data.sample", sample)
    told = both_ways(capsys, here, "data", "sample", "--into", "made")
    assert told == {"dataset": {"name": "sample", "hash": "f" * 64, "simulated": True}, "path": "made"}


def test_venues_as_a_list_and_one_by_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {one["venue"] for one in both_ways(capsys, here, "venues")} >= {"binance", "deribit"}
    told = both_ways(capsys, here, "venues", "binance", "--at", "2024-10-01")
    assert told["at"] == "2024-10-01"
    assert cli.main(["venues", "binance", "--at", "2024-10-01", "--json"]) == 0
    assert strictly(capsys.readouterr().out) == told
    with pytest.raises(SystemExit, match="2"):
        cli.main(["venues", "--json", "binance"])
    assert capsys.readouterr().err == "error: --json binance is a file's name; give the venue first: carry venues binance --json\n"


def test_premium_with_a_page_beside_it(data: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["premium", data, "--json", "-", "--html", "page.html"]) == 0
    told = capsys.readouterr()
    assert strictly(told.out)["dataset"]["simulated"] is True
    assert told.err == "Page: page.html\n"
    assert both_ways(capsys, here, "premium", data) == strictly(told.out)


def test_what_is_not_known_is_null(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    document = {
        "nan": np.nan,
        "inf": np.float64("inf"),
        "nat": pd.NaT,
        "list": [np.int64(1), float("nan")],
        "at": pd.Timestamp("2024-01-01", tz="UTC"),
    }
    put("the text", "-", lambda: document)
    assert strictly(capsys.readouterr().out) == {"nan": None, "inf": None, "nat": None, "list": [1, None], "at": "2024-01-01T00:00:00Z"}
    put("the text", None, lambda: pytest.fail("nobody asked"))
    assert capsys.readouterr().out == "the text\n"


@pytest.mark.parametrize("words", [["data", "check", "DATA"], ["premium", "DATA"], ["venues"], ["venues", "binance"]])
def test_a_place_that_can_not_be_written_is_one_sentence(
    data: str, here: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main([*(word.replace("DATA", data) for word in words), "--json", "."])
    told = capsys.readouterr()
    assert told.err.startswith("error: JSON can't be written to .: it is a folder;")
    assert told.err.count("\n") == 1


# ---------------------------------------------------------------- scripts


SCRIPT = """
from dataclasses import dataclass
import backtest as bt

@dataclass(frozen=True, kw_only=True)
class Talking(bt.Strategy):
    '''It prints what it does.'''
    enter: float = bt.param(0.0005, "open at or above this premium")

    def rule(self, market):
        print("making the rule")
        premium = bt.premium(market, market.perpetual)
        return bt.Rule(long=market.spot, short=market.perpetual, signal=premium, enter=self.enter, exit=0.0)

bt.main(Talking)
"""


def scripted(here: Path, *words: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
    (here / "talking.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "talking.py", *words], cwd=here, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.parametrize(
    ("words", "report", "key"),
    [
        ([], "talking", "final_equity"),
        (["--scenario", "spreads"], "talking", "scenarios"),
        (["--enter", "0.0005", "0.001"], "talking_sweep", "combinations"),
    ],
    ids=["run", "stress", "sweep"],
)
def test_a_script_writes_its_json_alone_to_standard_output(here: Path, data: str, words: list[str], report: str, key: str) -> None:
    """What the strategy itself prints goes to stderr, too."""
    done = scripted(here, "--data", data, *words, "--json", "-")
    told = strictly(done.stdout)
    assert isinstance(told, dict)
    assert "simulated" in json.dumps(told)
    assert f"Report: reports/{report}.html\n" in done.stderr
    assert "making the rule" in done.stderr
    assert "Figures" not in done.stderr
    assert (here / "reports" / f"{report}.html").exists()


def test_the_check_for_look_ahead_speaks_on_stderr_then(here: Path, data: str) -> None:
    done = scripted(here, "--data", data, "--json", "-", "--check-causality")
    assert strictly(done.stdout)["strategy"] == "Talking"
    assert done.stderr.count("\n") > 2


# ---------------------------------------------------------------- exit codes and helps


def commands(parser: Parser) -> Iterator[Parser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield each
                yield from commands(each)


ALL = list(commands(cli.build_parser()))
TELLING = [one for one in ALL if not one.commands() and not one.prog.endswith("completion")]


@pytest.mark.parametrize("parser", [cli.build_parser(), *ALL], ids=lambda parser: parser.prog)
def test_every_help_fits_and_ends_with_the_exit_codes(parser: Parser) -> None:
    told = parser.format_help()
    assert max(map(len, told.splitlines())) <= 80
    words = " ".join(told.split())
    assert re.search(
        r"exit code: 0 [^,]+, (1 [^,]+, )?2 the data or the command line was wrong .one sentence on stderr., 130 stopped by Ctrl-C$", words
    )


@pytest.mark.parametrize("parser", TELLING, ids=lambda parser: parser.prog)
def test_every_command_has_examples_that_parse_and_a_file_for_machines(parser: Parser) -> None:
    told = parser.format_help().replace("\\\n", "")
    examples = re.findall(r"^  (carry .*)$", told.partition("examples:")[2], re.MULTILINE)
    assert examples
    for example in examples:
        words = example.replace("'", "").split()[1:]
        found, unknown = cli.build_parser().parse_known_args(words)
        assert (unknown, found.parser.prog) == ([], parser.prog)
    assert "--json" in parser.options()
    assert "standard output, and nothing else goes there" in " ".join(told.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_a_reader_that_leaves_a_command_is_no_traceback(data: str) -> None:
    words = f"set -o pipefail; {sys.executable} -m backtest.cli premium {data} | head -n 1"
    done = subprocess.run(["bash", "-c", words], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stderr, done.stdout) == ("", "=" * 80 + "\n")


LIGHT = """
import sys
from backtest.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["premium", "--help"], ["venues"], []])
def test_the_command_starts_light(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT, *words], cwd=ROOT, capture_output=True, text=True, timeout=120)
    loaded = set(done.stderr.split())
    assert "backtest" in loaded
    assert not loaded & {"matplotlib", "vectorbt", "dask", "distributed", "ccxt", "numba", "scipy", "jinja2", "shtab", "tqdm"}


def test_the_commands_themselves_need_no_pandas_to_tell_of_themselves() -> None:
    """What they import when they are asked for their help is the standard library and the package's own front door."""
    heavy = []
    package = ROOT / "backtest"
    for file in (*sorted((package / "cli").glob("*.py")), package / "flags.py", package / "terminal.py", package / "errors.py"):
        heavy += [
            (file.name, line) for line in file.read_text().splitlines() if re.match(r"(import|from) (pandas|numpy|pyarrow|tqdm)\b", line)
        ]
    assert heavy == []
