"""`carry compare`: the table, the page and the JSON of several runs; names; what is wrong is one sentence."""

import json
from pathlib import Path

import pytest
from markets import ether, load

import backtest as bt
from backtest.cli import main
from backtest.compare import compare
from backtest.market import Market


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The JSON files of three runs on one market."""
    folder = tmp_path_factory.mktemp("runs")
    market: Market = load(folder, ether())
    written = []
    for name, leverage, short in (("calm", 1.0, market.perpetual), ("bold", 3.0, market.perpetual), ("dated", 1.0, market.future_chain())):
        written.append(str(folder / f"{name}.json"))
        bt.run(bt.Rule(long=market.spot, short=short, leverage=leverage), market).to_json(written[-1])
    return written


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence of a command that is wrong."""
    with pytest.raises(SystemExit) as left:
        main(["compare", *arguments])
    captured = capsys.readouterr()
    assert (left.value.code, captured.out, captured.err.count("\n")) == (2, "", 1)
    return captured.err


def test_it_prints_the_table(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *files]) == 0
    printed = capsys.readouterr().out
    assert printed == f"{compare(*files)}\n"
    assert "Comparison of 3 runs" in printed
    assert "Leverage differs: 3" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_names_are_the_users(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *files, "--names", "calm", "bold", "dated"]) == 0
    printed = capsys.readouterr().out
    assert printed == f"{compare(*files, names=['calm', 'bold', 'dated'])}\n"
    assert "Figures" in printed
    assert "Leverage differs: 3 for bold; 1 for the others." in printed


def test_files_are_written_in_place_of_the_table(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, told = tmp_path / "pages" / "c.html", tmp_path / "c.json"
    assert main(["compare", *files, "--names", "a", "b", "c", "--html", str(page), "--json", str(told)]) == 0
    assert capsys.readouterr().out == f"JSON: {told}\nPage: {page}\n"
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [run["name"] for run in json.loads(told.read_text(encoding="utf-8"))["runs"]] == ["a", "b", "c"]


def test_a_device_is_written_to_and_not_named(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    assert main(["compare", *files, "--json", str(link)]) == 0
    assert (capsys.readouterr().out, link.is_char_device()) == ("", True)


def test_what_is_wrong_is_one_sentence(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "a comparison takes 2 to 24 runs: it got 1" in fails(capsys, files[0])
    assert 'the following arguments are required: FILE; see "carry compare --help"' in fails(capsys)
    assert "names must be one for each run: 1 for 3 runs" in fails(capsys, *files, "--names", "a")
    assert 'the name "a" stands twice' in fails(capsys, *files[:2], "--names", "a", "a")
    assert 'unknown option "--nam"; did you mean "--names"?' in fails(capsys, *files, "--nam", "a")
    assert f"{tmp_path}/none.json: it can't be read: No such file or directory" in fails(capsys, files[0], f"{tmp_path}/none.json")
    (tmp_path / "other.json").write_text('{"time": []}', encoding="utf-8")
    told = fails(capsys, files[0], f"{tmp_path}/other.json")
    assert f'{tmp_path}/other.json: this is no run\'s JSON: the key "strategy" is missing' in told
    (tmp_path / "damaged.json").write_text(
        json.dumps(json.loads(Path(files[0]).read_text(encoding="utf-8")) | {"capital": 0}), encoding="utf-8"
    )
    assert f'{tmp_path}/damaged.json: "capital" must be a finite number above 0: 0' in fails(capsys, files[0], f"{tmp_path}/damaged.json")
    assert "the page can't be written" in fails(capsys, *files, "--html", str(tmp_path))
    assert "choose another place with --json" in fails(capsys, *files, "--json", str(tmp_path))


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["compare", "--help"])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    for word in ("--names NAME", "--html FILE", "--json FILE", "examples:", "carry compare carry.json funding.json"):
        assert word in printed
    assert max(map(len, printed.splitlines())) <= 80
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "put runs beside each other" in capsys.readouterr().out
