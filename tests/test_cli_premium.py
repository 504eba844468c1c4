"""`carry premium`: the table, the page and the JSON of one time; options choose the legs; what is wrong is one sentence."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from markets import FAR, NEAR, PERP, SPOT, bars, ether, only, write

from backtest.cli import main
from backtest.data.schema import Tables
from backtest.load import load_market
from backtest.market import Market
from backtest.overview import overview

AT = "2024-03-03T12:00"
OTHER, SWAP, CME = "ETHUSD-SPOT.kraken", "ETHUSD-PERP.kraken", "ETHUSD-240329.cme"


def several() -> Tables:
    """Two spots, two perpetuals and futures of two venues; the second perpetual begins late."""
    tables = ether()
    by_id = {one.id: one for one in tables.instruments}
    for name, twin, venue in ((OTHER, SPOT, "kraken"), (SWAP, PERP, "kraken"), (CME, FAR, "cme")):
        tables.instruments.append(replace(by_id[twin], id=name, venue=venue, quote="USD"))
        tables.bars[name] = tables.bars[twin].iloc[100:] if name == SWAP else tables.bars[twin]
    tables.funding[SWAP] = tables.funding[PERP]
    return tables


@pytest.fixture
def place(tmp_path: Path) -> str:
    return write(tmp_path, ether())


@pytest.fixture
def crowd(tmp_path: Path) -> str:
    return write(tmp_path, several())


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence of a command that is wrong."""
    with pytest.raises(SystemExit) as left:
        main(["premium", *arguments])
    captured = capsys.readouterr()
    assert (left.value.code, captured.out, captured.err.count("\n")) == (2, "", 1)
    return captured.err


def written(tmp_path: Path, *arguments: str) -> dict[str, object]:
    """The JSON that the command writes."""
    file = tmp_path / "premium.json"
    assert main(["premium", *arguments, "--json", str(file)]) == 0
    document: dict[str, object] = json.loads(file.read_text(encoding="utf-8"))
    return document


def test_it_prints_the_table_of_the_last_bar(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["premium", place]) == 0
    printed = capsys.readouterr().out
    assert printed == f"{overview(load_market(place))}\n"
    assert "Premium at 2024-03-09 08:00 UTC" in printed
    assert "SIMULATED DATA" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_at_loads_nothing_later(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["premium", place, "--at", AT]) == 0
    assert capsys.readouterr().out == f"{overview(load_market(place, end=AT))}\n"


def test_the_future_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = ether()
    for name, frame in tables.bars.items():
        frame.loc[frame.index > pd.Timestamp(AT, tz="UTC"), ["open", "high", "low", "close"]] *= 1.5 if name == SPOT else 2.0
    told = []
    for folder, content in (("one", ether()), ("other", tables)):
        (tmp_path / folder).mkdir()
        assert main(["premium", write(tmp_path / folder, content), "--at", AT]) == 0
        told.append([line for line in capsys.readouterr().out.splitlines() if not line.startswith("dataset")])
    assert told[0] == told[1]


def test_json_is_written_in_place_of_the_table(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = written(tmp_path, place, "--at", AT)
    assert capsys.readouterr().out == f"JSON: {tmp_path / 'premium.json'}\n"
    assert document == overview(load_market(place, end=AT)).to_dict()


def test_a_device_is_written_to_and_not_named(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    assert main(["premium", place, "--json", str(link)]) == 0
    assert (capsys.readouterr().out, link.is_char_device()) == ("", True)


def test_the_page_is_written_with_its_figures(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "pages" / "premium.html"
    assert main(["premium", place, "--html", str(file)]) == 0
    assert capsys.readouterr().out == f"Page: {file}\n"
    page = file.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "SIMULATED" in page


def test_basket_and_costs_are_passed_on(place: str, tmp_path: Path) -> None:
    document = written(tmp_path, place, "--at", AT, "--weighting", "long", "--roll-days", "2", "--cost", "0.003")
    wanted = overview(load_market(place, end=AT), weighting="long", roll_days=2.0, cost=0.003).to_dict()
    assert document == wanted != overview(load_market(place, end=AT)).to_dict()


def test_the_data_are_loaded_as_strategies_load_them(place: str, tmp_path: Path) -> None:
    document = written(tmp_path, place, "--freq", "4h", "--staleness", "1h", "--max-gap", "2D")
    assert document == overview(load_market(place, freq="4h", staleness="1h", max_gap="2D")).to_dict()
    document = written(tmp_path, place, "--instruments", SPOT, NEAR, FAR, "--clock", SPOT, "--at", AT)
    assert document == overview(load_market(place, end=AT, instruments=[SPOT, NEAR, FAR], clock=SPOT)).to_dict()
    assert document["perpetual"] is None


def test_every_option_of_loading_arrives(place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[dict[str, object]] = []

    def watched(path: str, **options: object) -> Market:
        seen.append({"path": path, **options})
        return load_market(path)

    monkeypatch.setattr("backtest.load.load_market", watched)
    options = ["--clock", SPOT, "--staleness", "2h", "--max-gap", "3D", "--freq", "1D", "--currency", "USD"]
    assert main(["premium", place, "--instruments", "*SPOT", NEAR, "--at", AT, *options]) == 0
    assert seen == [
        {
            "path": place, "end": pd.Timestamp(AT, tz="UTC"), "freq": "1D", "clock": [SPOT], "instruments": [SPOT, NEAR], "currency": "USD",
            "staleness": "2h", "max_gap": "3D",
        }
    ]  # fmt: skip


def test_options_choose_among_several_legs(crowd: str, tmp_path: Path) -> None:
    document = written(tmp_path, crowd, "--spot", OTHER, "--perpetual", SWAP, "--futures", "*.cme")
    assert (document["spot"], document["perpetual"]) == (OTHER, SWAP)
    assert [row["contract"] for row in document["contracts"]] == [CME]  # type: ignore[attr-defined]
    document = written(tmp_path, crowd, "--spot", SPOT, "--futures", "ETHUSDT-*", "--at", AT)
    assert document["perpetual"] == PERP, "the other one has not begun by then"
    assert [row["contract"] for row in document["contracts"]] == [NEAR, FAR]  # type: ignore[attr-defined]


def test_of_several_assets_only_the_spots_own_counts(tmp_path: Path) -> None:
    tables = ether()
    by_id = {one.id: one for one in tables.instruments}
    for name, twin in (("BTCUSDT-SPOT", SPOT), ("BTCUSDT-PERP", PERP), ("BTCUSDT-240329", FAR)):
        tables.instruments.append(replace(by_id[twin], id=name, base="BTC"))
        tables.bars[name] = bars(tables.bars[twin]["close"] * 20.0, pd.DatetimeIndex(tables.bars[twin].index))
    document = written(tmp_path, write(tmp_path, tables), "--spot", "BTCUSDT-SPOT")
    assert (document["perpetual"], [row["contract"] for row in document["contracts"]]) == ("BTCUSDT-PERP", ["BTCUSDT-240329"])  # type: ignore[attr-defined]


def test_several_legs_name_the_option_that_chooses(crowd: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"has several spots: {OTHER}, {SPOT}; choose one, such as --spot {OTHER}" in fails(capsys, crowd)
    assert f"has several perpetuals: {SWAP}, {PERP}; choose one, such as --perpetual {SWAP}" in fails(capsys, crowd, "--spot", SPOT)
    told = fails(capsys, crowd, "--spot", SPOT, "--perpetual", PERP)
    assert "has dated futures of several products: ETHUSDT-240306 (binance, USDT, linear), ETHUSD-240329.cme (cme, USD, linear)" in told
    assert "--futures '*.cme'" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--at", "soon"], '--at must be a time like 2024-01-31 or 2024-01-31T08:00: --at="soon"'),
        (["--at", "2024-02-01"], "nothing is known up to --at 2024-02-01: the dataset test begins at 2024-03-01T01:00; choose a later --at"),
        (["--at", "2024-03-01T01:00"], "a market needs at least two bars"),
        (["--spot", "ETHUSDT-SPOTT"], '--spot ETHUSDT-SPOTT: no such spot among what is loaded of dataset test; did you mean "ETHUSDT-SPOT"?'),
        (["--spot", PERP], "--spot ETHUSDT-PERP: no such spot"),
        (["--perpetual", SPOT], "--perpetual ETHUSDT-SPOT: no such perpetual"),
        (["--perpetual", PERP, "--instruments", SPOT, NEAR], "no such perpetual among what is loaded of dataset test; there is none"),
        (["--futures", "*.cme"], '--futures "*.cme": it names no dated future among what is loaded of dataset test; there are ETHUSDT-240306, ETHUSDT-240329'),
        (["--futures", "*", "--instruments", SPOT, PERP], "there are none"),
        (["--instruments", PERP], "a premium is measured against a spot, and the dataset test has none by then; it has ETHUSDT-PERP"),
        (["--instruments", SPOT], "a premium needs a perpetual or dated futures beside the spot"),
        (["--instruments", "ETHUSDT-X"], 'unknown instrument "ETHUSDT-X"'),
        (["--weighting", "heavy"], "weighting must be"),
        (["--weighting", "open_interest"], "has no open interest in dataset test"),
        (["--roll-days", "week"], '--roll-days must be a number: --roll-days="week"'),
        (["--roll-days", "-1"], "roll_days must be at least 0"),
        (["--cost", "cheap"], '--cost must be a number: --cost="cheap"'),
        (["--cost", "-0.1"], "cost must be at least 0"),
        (["--currency", "EUR"], "EUR"),
        (["--spott", "x"], 'carry premium: unknown option "--spott"; did you mean "--spot"?'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(place: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert message in fails(capsys, place, *arguments)


@pytest.mark.parametrize("time", ["9999-01-01", "1500-01-01", "2262-04-12", "0001-01-01T00:00Z"])
def test_a_time_that_no_clock_holds_is_one_sentence(place: str, capsys: pytest.CaptureFixture[str], time: str) -> None:
    told = f'error: --at must be a time between 1677-09-22 and 2262-04-11: --at="{time}"\n'
    assert fails(capsys, place, "--at", time) == told


def test_what_is_named_and_begins_later_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = several()
    for name in (OTHER, CME):
        tables.bars[name] = tables.bars[name].iloc[120:]
    crowd = write(tmp_path, tables)
    for option, wanted, name, begins in (
        ("--spot", OTHER, OTHER, "2024-03-06T01:00"),
        ("--perpetual", SWAP, SWAP, "2024-03-05T05:00"),
        ("--futures", "*.cme", CME, "2024-03-06T01:00"),
    ):
        told = fails(capsys, crowd, "--at", AT, option, wanted)
        assert told == f"error: {option} {wanted}: {name} has no bars up to --at {AT}, it begins at {begins}; choose a later --at\n"


def test_what_is_named_and_has_only_funding_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = several()
    del tables.bars[SWAP]
    for time in ([], ["--at", AT]):
        told = fails(capsys, write(tmp_path, tables), "--spot", SPOT, "--perpetual", SWAP, *time)
        assert told == f"error: --perpetual {SWAP}: {SWAP} has no bars in dataset test; import some\n"


def test_no_dataset_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no dataset here" in fails(capsys, str(tmp_path / "none"))
    tables = only(ether(), SPOT)
    tables.bars = {}
    assert "the dataset test has no bars; import some" in fails(capsys, write(tmp_path, tables))


def test_a_file_that_can_not_be_written_is_one_sentence(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = fails(capsys, place, "--json", str(tmp_path))
    assert "JSON can't be written" in told
    assert "choose another place with --json" in told


def test_many_names_are_cut_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = only(ether(), SPOT)
    (spot,) = tables.instruments
    for number in range(10):
        tables.instruments.append(replace(spot, id=f"ETHUSDT-SPOT.v{number}"))
        tables.bars[f"ETHUSDT-SPOT.v{number}"] = tables.bars[SPOT]
    assert "ETHUSDT-SPOT.v6 and 3 more; choose one" in fails(capsys, write(tmp_path, tables))


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["premium", "--help"])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    for word in ("--at TIME", "--html FILE", "--json FILE", "--spot ID", "examples:", "carry premium data/sample --at 2021-02-10"):
        assert word in printed
    assert max(map(len, printed.splitlines())) <= 80
