"""The console command: what it prints, its exit codes, and one sentence for every mistake."""

import re
import sys
import types
from pathlib import Path

import pandas as pd
import pytest

from backtest import cli
from backtest.cli import text
from backtest.data.importers import VENDORS, mapping
from backtest.data.schema import Tables
from backtest.data.store import open_dataset, write_dataset

KLINES = "Timestamp,Open,High,Low,Close\n2024-03-29 05:00:00,10,12,9,11\n2024-03-29 06:00:00,11,13,10,12\n2024-03-29 07:00:00,12,14,11,13\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spot_ETHUSDT.csv").write_text(KLINES)
    return tmp_path


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail and give its one sentence."""
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    captured = capsys.readouterr()
    assert (left.value.code, captured.out, captured.err.count("\n")) == (2, "", 1)
    assert captured.err.startswith("error: ")
    return captured.err


def test_import_then_check(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "import", "binance", "spot_ETHUSDT.csv", "--into", "set", "--name", "mine"]) == 0
    printed = capsys.readouterr().out
    dataset = open_dataset(here / "set")
    assert re.search(r"^spot_ETHUSDT\.csv +ETHUSDT-SPOT +3 +0 +2024-03-29 +2024-03-29$", printed, re.MULTILINE)
    assert f'set: dataset "mine", hash {dataset.hash[:12]}\n' in printed
    assert (dataset.name, dataset.simulated, dataset.info["source"]) == ("mine", False, "binance: spot_ETHUSDT.csv")
    assert cli.main(["data", "check", "set"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^ETHUSDT-SPOT +spot +2024-03-29 +2024-03-29 +3 +1h +0$", printed, re.MULTILINE)
    assert printed.startswith(f"mine, hash {dataset.hash[:12]}\nfrom binance: spot_ETHUSDT.csv\n")
    assert printed.endswith("\ngood: nothing is missing, nothing contradicts\n")


@pytest.mark.parametrize("time", ["9999-01-01", "1500-01-01"])
def test_a_time_that_no_clock_holds_is_one_sentence(here: Path, capsys: pytest.CaptureFixture[str], time: str) -> None:
    told = fails(capsys, "venues", "binance", "--at", time)
    assert told == f'error: --at must be a time between 1677-09-22 and 2262-04-11: --at="{time}"\n'


def test_importing_again_says_unchanged_and_only_a_name_can_change(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ([], [], ["--name", "new"]):
        assert cli.main(["data", "import", "binance", "spot_ETHUSDT.csv", "--into", "set", *name]) == 0
    printed = capsys.readouterr().out
    assert printed.count(", unchanged") == 2
    assert (open_dataset("set").name, open_dataset("set").info["source"]) == ("new", "binance: spot_ETHUSDT.csv")


def test_sources_add_up(here: Path) -> None:
    (here / "perp_ETHUSDT.csv").write_text(KLINES)
    for kind in ("spot", "perp"):
        cli.main(["data", "import", "binance", f"{kind}_ETHUSDT.csv", "--into", "set"])
    assert open_dataset("set").info["source"] == "binance: spot_ETHUSDT.csv; binance: perp_ETHUSDT.csv"
    for number in range(25):
        (here / f"spot_ETHUSDT_{number}.csv").write_text(KLINES)
    cli.main(["data", "import", "binance", *(f"spot_ETHUSDT_{number}.csv" for number in range(25)), "--into", "many"])
    assert str(open_dataset("many").info["source"]).endswith("spot_ETHUSDT_19.csv and 5 more")


def test_very_many_files_get_a_line_for_each_table(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(85):
        (here / f"spot_ETHUSDT_{number}.csv").write_text(
            KLINES.replace("2024-03-29", f"{pd.Timestamp('2024-01-01') + pd.Timedelta(number, 'D'):%Y-%m-%d}")
        )
    (here / "perp_ETHUSDT.csv").write_text(KLINES)
    cli.main(["data", "import", ".", "--into", "set"])
    printed = capsys.readouterr().out
    assert re.search(r"^86 files +ETHUSDT-SPOT +258 +0 +2024-01-01 +2024-03-29$", printed, re.MULTILINE)
    assert re.search(r"^perp_ETHUSDT\.csv +ETHUSDT-PERP +3 +0 ", printed, re.MULTILINE)


def test_check_shows_what_lies_beside_the_instruments(here: Path, tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    tables.series["risk_free"]["known_at"] = tables.series["risk_free"]["ts"] + pd.Timedelta("1D")
    write_dataset("set", tables, name="set", source="test", simulated=False, licence="")
    cli.main(["data", "check", "set"])
    printed = capsys.readouterr().out
    assert re.search(r"^series risk_free +2024-01-01 +2024-01-01 +1 +1d$", printed, re.MULTILINE)
    assert re.search(r"^settlements +2024-01-05 +2024-01-05 +1 +at once$", printed, re.MULTILINE)


def test_check_says_what_is_wrong_and_leaves_with_1(here: Path, tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    del tables.funding["ETHUSDT-PERP"]
    write_dataset("set", tables, name="lacking", source="test", simulated=True, licence="")
    assert cli.main(["data", "check", "set"]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("lacking, SIMULATED, hash ")
    assert "problem: ETHUSDT-PERP: is a perpetual without funding; import its funding rates\n" in printed
    assert printed.endswith("\n1 problem found\n")
    tables.bars["ETHUSDT-SPOT"].iloc[3, 3] = -1
    write_dataset("set", tables, name="wrong", source="test", simulated=True, licence="")
    assert cli.main(["data", "check", "set"]) == 1
    assert "error: ETHUSDT-SPOT at 2023-12-31T04:00Z: close is -1;" in capsys.readouterr().out


def test_an_unreadable_dataset_leaves_with_2(here: Path, tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere: there is no dataset here" in fails(capsys, "data", "check", "nowhere")
    write_dataset("set", tables, name="set", source="test", simulated=False, licence="")
    file = here / "set" / "bars" / "instrument=ETHUSDT-SPOT" / "year=2024" / "part-0.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    assert "part-0.parquet: is truncated or damaged" in fails(capsys, "data", "check", "set")


def test_nothing_printed_is_wider_than_80(here: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("hourly", "daily"):
        cli.main(["data", "import", "binance", str(raw / f"binance-ethusdt-{name}"), "--into", name])
        cli.main(["data", "check", name])
    printed = capsys.readouterr().out.replace(str(here), "")
    assert max(map(len, printed.splitlines())) <= 80
    assert re.search(r"^230929\.csv +ETHUSDT-230929 +2,310 +1,106 2023-06-25 2023-09-29$", printed, re.MULTILINE)
    assert re.search(r"^funding_\S*…\S*1231\.csv ETHUSDT-PERP funding", printed, re.MULTILINE)
    for command in (
        ["--help"],
        ["data", "--help"],
        ["data", "import", "--help"],
        ["data", "check", "--help"],
        ["data", "sample", "--help"],
    ):
        with pytest.raises(SystemExit, match="0"):
            cli.main(command)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_durations_and_sizes_read_like_a_person_wrote_them() -> None:
    lengths = ["1h", "15min", "9D3h", "1D", "90s", "30s"]
    assert [text.duration(pd.Timedelta(length)) for length in lengths] == ["1h", "15m", "9d 3h", "1d", "1m", "30s"]
    assert text.duration(None) == text.day(None) == "-"


def test_the_sample_is_built_where_asked(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    places: list[str] = []
    sample = types.ModuleType("backtest.data.sample")
    sample.build_sample = lambda path: places.append(path) or "f" * 64  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "backtest.data.sample", sample)
    assert cli.main(["data", "sample"]) == cli.main(["data", "sample", "--into", "other"]) == 0
    assert places == ["data/sample", "other"]
    assert "data/sample: SIMULATED sample, hash ffffffffffff\n" in capsys.readouterr().out


def test_the_readme_of_the_data_is_right(here: Path, tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).resolve().parents[1] / "data" / "README.md").read_text(encoding="utf-8")
    write_dataset("data/sample", tables, name="sample", source="test", simulated=True, licence="")
    for snippet in re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL):
        exec(compile(snippet, "README.md", "exec"), {})
    assert "ETHUSDT-240105" in capsys.readouterr().out
    keys = set(re.findall(r"^\| `([a-z_.]+)` \|", readme.partition("| key | meaning |")[2], flags=re.MULTILINE))
    vendors = readme.partition("| vendor | what is read |")[2].partition("What all have in common")[0]
    assert {name for row in re.findall(r"^\| (`.*?`) \|", vendors, flags=re.MULTILINE) for name in re.findall(r"`(\w+)`", row)} == set(
        VENDORS
    )
    assert keys == {*mapping._KEYS, *(f"time.{key}" for key in mapping._TIME_KEYS)} - {"time"}
    for line in re.findall(r"^ {4}carry (.*?)(?: +#.*)?$", readme, flags=re.MULTILINE):
        parsed, unknown = cli.build_parser().parse_known_args(line.split())
        assert (unknown, parsed.run.__module__) == ([], f"backtest.cli.data_{line.split()[1]}")


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert re.fullmatch(r"carry \d+\.\d+\S*\n", capsys.readouterr().out)
    assert cli.main([]) == 2
    assert "data" in capsys.readouterr().out
    assert cli.main(["data"]) == 2
    assert "import files into a dataset" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("dta", 'unknown command "dta"; did you mean "data"?'),
        ("data imprt", 'unknown command "imprt"; did you mean "import"?'),
        ("data import binance x.csv --intoo set", 'carry data import: unknown option "--intoo"; did you mean "--into"?'),
        ("data import binance x.csv --into set --symbl=A", 'unknown option "--symbl"; did you mean "--symbol"?'),
        ("data spreads set --start 2024-01-01 --end 2023-01-01", "--start must be before --end: --start=2024-01-01, --end=2023-01-01"),
        ("data import binance x.csv --into= ", "carry data import: --into is missing; name the folder of the dataset"),
        ("data import binance spot_ETHUSDT.csv --symbol ethusdt --into set", "its name says ETHUSDT and --symbol says ethusdt"),
        ("data import binance x.csv", "carry data import: --into is missing; name the folder of the dataset"),
        ("data import binance --into set", 'the following arguments are required: FILES; see "carry data import --help"'),
        ("data import binnance x.csv --into set", 'unknown source "binnance"; did you mean "binance"?'),
        ("data import binance x.csv --into set", "x.csv: there is no such file"),
        ("data import csv spot_ETHUSDT.csv --into set", "a table needs a mapping"),
        ("data check", 'the following arguments are required: DIR; see "carry data check --help"'),
        ("data check a b", 'carry data check: unknown argument "b"; see "carry data check --help"'),
        ("data check a --into", 'unknown option "--into"; known: --help'),
        ("data sample --into", "argument --into: expected one argument"),
        ("data import binance spot_ETHUSDT.csv --into s3://x/y", "a dataset is written to a local folder"),
    ],
)
def test_every_mistake_is_one_sentence(here: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str) -> None:
    assert message in fails(capsys, *arguments.split())
    assert [path.name for path in here.iterdir()] == ["spot_ETHUSDT.csv"]


def test_real_data_do_not_go_into_a_simulated_set(here: Path, tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    digest = write_dataset("set", tables, name="s", source="test", simulated=True, licence="")
    assert "set: is simulated; real data don't belong into it; import into another folder" in fails(
        capsys, "data", "import", "binance", "spot_ETHUSDT.csv", "--into", "set"
    )
    assert open_dataset("set").hash == digest


def test_nothing_is_added_to_a_set_with_errors(here: Path, tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    times = pd.DatetimeIndex(["2024-03-29T06:00Z", "2024-03-29T06:00Z", "2024-03-29T07:00Z"], name="ts")
    tables.bars["ETHUSDT-SPOT"] = tables.bars["ETHUSDT-SPOT"].iloc[:3].set_axis(times)
    write_dataset("set", tables, name="s", source="test", simulated=False, licence="")
    message = fails(capsys, "data", "import", "binance", "spot_ETHUSDT.csv", "--into", "set")
    assert "ETHUSDT-SPOT bar at 2024-03-29T06:00Z: time 2024-03-29T06:00Z stands twice" in message


def test_a_merge_that_makes_nonsense_is_refused(here: Path, tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    """Each source is fine alone; together the quote is crossed."""
    (here / "quotes.csv").write_text("t,o,h,l,c,ask\n2023-12-31 01:00,1001,1003,999,1002,1000\n")
    del tables.bars["ETHUSDT-PERP"]["ask"]
    tables.bars["ETHUSDT-PERP"]["bid"] = 1000.5
    write_dataset("set", tables, name="s", source="test", simulated=False, licence="")
    (here / "map.toml").write_text(
        'what = "bars"\n[instrument]\nid = "ETHUSDT-PERP"\n[time]\ncolumn = "t"\nstamp = "end"\n'
        '[columns]\nopen = "o"\nhigh = "h"\nlow = "l"\nclose = "c"\nask = "ask"\n'
    )
    message = fails(capsys, "data", "import", "csv", "quotes.csv", "--mapping", "map.toml", "--into", "set")
    assert "ETHUSDT-PERP bar at 2023-12-31T01:00Z: ask 1000 is below bid 1000.5; quotes are crossed" in message
    assert "ask" not in open_dataset("set").bars("ETHUSDT-PERP")
