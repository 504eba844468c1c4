"""Stretches of time, the verdict made of them, and how both look in the terminal and in the figure."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtest import cli
from backtest.data.checks import check_dataset
from backtest.data.checks.findings import InMemory, examine
from backtest.data.checks.spans import Spans, bridged, overlaps, spans, without
from backtest.data.checks.verdict import Usable, verdict
from backtest.data.schema import Tables
from backtest.data.store import open_dataset, write_dataset
from backtest.data.validate import show_time
from backtest.errors import ParameterError, StorageError
from backtest.instruments import Instrument, Kind
from backtest.report.coverage import coverage_figure, write_coverage

SPOT, PERP, FUTURE = "ETHUSDT-SPOT", "ETHUSDT-PERP", "ETHUSDT-240329"
PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=6)


def minutes(part: Spans) -> set[int]:
    """The instants that stretches contain, one by one; open at the start, closed at the end."""
    return {time for start, end in zip(part.starts, part.ends, strict=True) for time in range(int(start) + 1, int(end) + 1)}


@given(st.lists(PAIRS, min_size=1, max_size=4), st.integers(1, 4))
def test_overlaps_are_what_counting_gives(parts: list[list[tuple[int, int]]], depth: int) -> None:
    each = [spans(part) for part in parts]
    expected = {time for time in range(50) if sum(any(start < time <= end for start, end in part) for part in parts) >= depth}
    result = overlaps(each, depth)
    assert minutes(result) == expected
    assert (result.starts[1:] > result.ends[:-1]).all()
    assert result.length == len(expected)


@given(PAIRS, PAIRS)
def test_without_takes_away(part: list[tuple[int, int]], gone: list[tuple[int, int]]) -> None:
    assert minutes(without(spans(part), spans(gone))) == minutes(spans(part)) - minutes(spans(gone))


@given(PAIRS, st.lists(st.integers(-5, 45), min_size=2, max_size=8, unique=True))
def test_cells_are_covered_as_far_as_counting_gives(part: list[tuple[int, int]], edges: list[int]) -> None:
    edges = sorted(edges)
    inside = minutes(spans(part))
    expected = [len(inside & set(range(a + 1, b + 1))) / (b - a) for a, b in pairwise(edges)]
    np.testing.assert_allclose(spans(part).within(np.array(edges)), expected)


def test_small_gaps_are_bridged_and_nothing_has_no_longest() -> None:
    part = spans([(0, 5), (7, 9), (20, 21)])
    assert bridged(part, 2).ends.tolist() == [9, 21]
    assert bridged(part, 1).ends.tolist() == [5, 9, 21]
    assert part.longest == (pd.Timestamp(0, tz="UTC"), pd.Timestamp(5, tz="UTC"))
    assert spans([]).longest is None


# --- the verdict -----------------------------------------------------------------------------------------


def bars(start: str, end: str, freq: str = "h", level: float = 3000.0) -> pd.DataFrame:
    stamps = pd.date_range(start, end, freq=freq, tz="UTC", inclusive="right").as_unit("ns").rename("ts")
    price = level + 10 * np.sin(np.arange(len(stamps)) / 7) + np.arange(len(stamps)) / 100
    columns = {"open": price, "high": price + 9, "low": price - 9, "close": price, "volume": 1.0}
    return pd.DataFrame(columns, index=stamps)


@pytest.fixture
def world() -> Tables:
    """Spot for a year, the perpetual with funding from March, one contract to its end in March and one from February on."""
    facts = {"venue": "binance", "base": "ETH", "quote": "USDT"}
    paid = pd.date_range("2024-03-01", "2025-01-01", freq="8h", tz="UTC").as_unit("ns").rename("ts")
    rates = np.random.default_rng(1).normal(1e-4, 1e-5, len(paid))
    dates = {FUTURE: pd.Timestamp("2024-03-29T08:00Z"), "ETHUSDT-250328": pd.Timestamp("2025-03-28T08:00Z")}
    return Tables(
        instruments=[
            Instrument(id=SPOT, kind=Kind.SPOT, **facts),
            Instrument(id=PERP, kind=Kind.PERPETUAL, **facts),
            *(Instrument(id=key, kind=Kind.FUTURE, expires_at=date, **facts) for key, date in dates.items()),
        ],
        bars={
            SPOT: bars("2024-01-01", "2025-01-01"),
            PERP: bars("2024-03-01", "2025-01-01", level=3001.0),
            FUTURE: bars("2024-01-01", "2024-03-29T08:00", level=3002.0),
            "ETHUSDT-250328": bars("2024-02-01", "2025-01-01", level=3003.0),
        },
        funding={PERP: pd.DataFrame({"rate": rates, "interval_hours": 8.0}, index=paid)},
    )


def judged(tables: Tables) -> list[Usable]:
    seen = examine(InMemory(tables))
    assert seen.errors == []
    return verdict(seen.seen.values(), seen.findings)


def ends(tables: Tables) -> dict[str, list[str]]:
    """Strategy → stretches as text, of the first row of each."""
    out: dict[str, list[str]] = {}
    for one in judged(tables):
        pairs = zip(one.spans.starts, one.spans.ends, strict=True)
        out.setdefault(one.strategy, [f"{pd.Timestamp(int(a)):%m-%d %H} {pd.Timestamp(int(b)):%m-%d %H}" for a, b in pairs])
    return out


def test_a_strategy_is_usable_where_its_legs_are(world: Tables) -> None:
    assert ends(world) == {
        "cash_and_carry": ["01-01 00 01-01 00"],  # of the next year: the second contract takes over
        "funding_carry": ["03-01 00 01-01 00"],
        "futures_vs_perpetual": ["03-01 00 01-01 00"],
        "calendar_spread": ["02-01 00 03-29 08"],
    }


def test_a_missing_funding_event_ends_a_stretch(world: Tables) -> None:
    world.funding[PERP] = world.funding[PERP].drop(pd.Timestamp("2024-06-01T08:00Z"))
    found = ends(world)
    assert found["funding_carry"] == found["futures_vs_perpetual"] == ["03-01 00 06-01 07", "06-01 08 01-01 00"]
    assert found["cash_and_carry"] == ["01-01 00 01-01 00"]


def test_a_hole_ends_a_stretch_if_it_is_longer_than_a_market_passes_over(world: Tables) -> None:
    world.bars[SPOT] = world.bars[SPOT].drop(world.bars[SPOT].loc["2024-05-01T01:00":"2024-05-01T20:00"].index)
    assert ends(world)["funding_carry"] == ["03-01 00 01-01 00"]
    world.bars[SPOT] = world.bars[SPOT].drop(world.bars[SPOT].loc["2024-07-01T01:00":"2024-07-04T00:00"].index)
    assert ends(world)["funding_carry"] == ["03-01 00 07-01 00", "07-04 00 01-01 00"]


@pytest.mark.parametrize(
    ("change", "strategy", "why"),
    [
        (lambda t: t.bars.pop(SPOT), "cash_and_carry", "needs a dated future and a spot of one coin with common stamps"),
        (lambda t: t.funding.clear(), "funding_carry", "needs a perpetual with its funding and a spot of one coin with common stamps"),
        (
            lambda t: t.bars.pop(PERP),
            "futures_vs_perpetual",
            "needs a dated future and a perpetual with its funding, of one coin, with common stamps",
        ),
        (lambda t: t.bars.pop(FUTURE), "calendar_spread", "needs two dated futures of one coin at the same time"),
    ],
)
def test_what_a_strategy_lacks_is_said(world: Tables, change: Callable[[Tables], object], strategy: str, why: str) -> None:
    change(world)
    assert [(one.why, one.longest) for one in judged(world) if one.strategy == strategy] == [(why, None)]


def test_daily_bars_of_another_hour_are_not_legs_of_one_trade(world: Tables) -> None:
    world.bars = {SPOT: bars("2024-01-01", "2025-01-01", "D"), PERP: bars("2024-03-01T21:00", "2024-12-31T21:00", "D", 3001.0)}
    assert [one.why != "" for one in judged(world) if one.strategy == "funding_carry"] == [True]
    world.bars[PERP] = bars("2024-03-01", "2025-01-01", "D", 3001.0)
    assert ends(world)["funding_carry"] == ["03-01 00 01-01 00"]


def test_daily_bars_whose_fridays_end_earlier_meet_hourly_ones_only(world: Tables) -> None:
    """As CME's days beside a venue that never closes."""
    fridays = world.bars[SPOT].iloc[23::24]
    early = fridays.index.where(fridays.index.day_of_week != 5, fridays.index - pd.Timedelta("3h"))
    world.bars[PERP] = fridays.set_axis(early.rename("ts"))
    assert ends(world)["funding_carry"]
    world.bars[SPOT] = fridays
    assert not ends(world)["funding_carry"]


def test_a_spoilt_stretch_is_not_usable(world: Tables) -> None:
    """Funding that was divided is no funding."""
    hours = pd.date_range("2024-03-01T01:00Z", "2025-01-01T00:00Z", freq="h").as_unit("ns").rename("ts")
    rates = np.repeat(world.funding[PERP]["rate"].to_numpy()[1:] / 8, 8)
    world.funding[PERP] = pd.DataFrame({"rate": rates, "interval_hours": 1.0}, index=hours)
    assert ends(world)["funding_carry"] == []


def test_a_year_that_stands_twice_is_not_usable() -> None:
    """Both legs by the day; the spot's second summer is a copy of its first."""
    facts = {"venue": "binance", "base": "ETH", "quote": "USDT"}
    price = 3000 * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.03, 731)))
    stamps = pd.date_range("2022-01-02", periods=731, tz="UTC").as_unit("ns").rename("ts")
    paid = pd.date_range("2022-01-01", "2024-01-02", freq="8h", tz="UTC").as_unit("ns").rename("ts")

    def daily(close: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame({"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": 1.0}, index=stamps)

    tables = Tables(
        instruments=[Instrument(id=SPOT, kind=Kind.SPOT, **facts), Instrument(id=PERP, kind=Kind.PERPETUAL, **facts)],
        bars={SPOT: daily(price), PERP: daily(price * 1.001)},
        funding={PERP: pd.DataFrame({"rate": np.random.default_rng(1).normal(1e-4, 1e-5, len(paid)), "interval_hours": 8.0}, index=paid)},
    )
    assert ends(tables)["funding_carry"] == ["01-01 00 01-02 00"]
    for bars_of in tables.bars.values():
        bars_of.iloc[515:607] = bars_of.iloc[150:242].to_numpy()
    assert ends(tables)["funding_carry"] == [f"01-01 00 {stamps[514]:%m-%d} 00", f"{stamps[606]:%m-%d} 00 01-02 00"]


def test_venues_have_their_own_rows(world: Tables) -> None:
    world.instruments.append(Instrument(id="ETHUSD-PERP.bybit", venue="bybit", kind=Kind.PERPETUAL, base="ETH", quote="USD"))
    world.bars["ETHUSD-PERP.bybit"] = bars("2024-05-01", "2024-06-01", level=3005.0)
    world.funding["ETHUSD-PERP.bybit"] = world.funding[PERP]
    rows = [one for one in judged(world) if one.strategy == "funding_carry"]
    assert [(one.legs, one.spans.length // (24 * 3_600 * 10**9)) for one in rows] == [
        ("ETHUSD-PERP.bybit and ETHUSDT-SPOT", 31),
        ("ETHUSDT-PERP and ETHUSDT-SPOT", 306),
    ]


# --- how it looks ----------------------------------------------------------------------------------------


@pytest.fixture
def folder(world: Tables, tmp_path: Path) -> Path:
    world.bars[SPOT] = world.bars[SPOT].drop(world.bars[SPOT].loc["2024-07-01T01:00":"2024-08-20T00:00"].index)
    write_dataset(tmp_path / "set", world, name="mine", source="test", simulated=True, licence="")
    return tmp_path / "set"


def test_the_picture_has_a_line_an_instrument_over_one_axis(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "check", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    lines = dict(re.findall(r"^(ETHUSDT-\S+(?: funding)?) +([█▓░·]+)$", printed, re.MULTILINE))
    assert list(lines) == [FUTURE, "ETHUSDT-250328", PERP, f"{PERP} funding", SPOT]
    assert {len(cells) for cells in lines.values()} == {59}
    cells = lines[SPOT]
    assert cells.startswith("█" * 29)  # to the end of June: 182 of 366 days
    assert cells[30:37] == "·" * 7
    assert cells.endswith("█" * 20)
    assert re.fullmatch(r"█{14}[▓░]·{44}", lines[FUTURE])
    assert re.search(r"^ {21}2024-01-01 +2024-07-02 +2025-01-01$", printed, re.MULTILINE)
    assert re.search(r"^ETHUSDT-PERP +funding +2024-03-01 +2025-01-01 +919 +8h +0$", printed, re.MULTILINE)


def test_the_verdict_stands_at_the_end(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["data", "check", str(folder)])
    printed = capsys.readouterr().out
    assert printed.endswith(
        "usable\n"
        "  cash_and_carry        2024-01-01 to 2024-07-01, 2024-08-20 to 2025-01-01: 2\n"
        "                        contracts of binance in USDT and ETHUSDT-SPOT\n"
        "  funding_carry         2024-03-01 to 2024-07-01, 2024-08-20 to 2025-01-01:\n"
        "                        ETHUSDT-PERP and ETHUSDT-SPOT\n"
        "  futures_vs_perpetual  2024-03-01 to 2025-01-01: 2 contracts of binance in USDT\n"
        "                        and ETHUSDT-PERP\n"
        "  calendar_spread       2024-02-01 to 2024-03-29: 2 contracts of binance in USDT\n"
        "\n"
        "1 problem found\n"
    )


def test_long_names_are_shortened_in_the_picture(world: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "ETHUSDT-PERP.somewherefarawaylong"
    world.instruments.append(Instrument(id=name, venue="somewherefarawaylong", kind=Kind.PERPETUAL, base="ETH", quote="USDT"))
    world.bars[name] = world.bars[PERP] + 1.0
    world.funding[name] = world.funding[PERP]
    write_dataset(tmp_path / "set", world, name="mine", source="test", simulated=False, licence="")
    cli.main(["data", "check", str(tmp_path / "set")])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("…" in line and line.count("█") > 30 for line in lines) == 2


def test_the_figure_has_a_row_an_instrument_and_marks_what_was_found(folder: Path) -> None:
    check = check_dataset(open_dataset(folder))
    figure = coverage_figure(check)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [FUTURE, "ETHUSDT-250328", PERP, SPOT]
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert labels == ["bars of a spot", "bars of a perpetual", "bars of a future", "funding", "problem"]
    marks = [collection for collection in axes.collections if collection.get_label() == "problem"]
    ((day, height),) = marks[0].get_offsets()
    assert (pd.Timestamp(0) + pd.Timedelta(days=float(day)), height) == (pd.Timestamp("2024-07-01T01:00"), -3)
    assert any("SIMULATED" in text.get_text() for text in figure.texts)


@pytest.mark.parametrize(("name", "begin"), [("c.png", b"\x89PNG"), ("c.svg", b"<?xml"), ("deep/c.pdf", b"%PDF")])
def test_the_figure_is_written(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, begin: bytes) -> None:
    assert cli.main(["data", "check", str(folder), "--plot", str(tmp_path / name)]) == 1
    assert (tmp_path / name).read_bytes().startswith(begin)
    assert "usable" in capsys.readouterr().out
    assert not list(tmp_path.rglob("*.part"))


def test_a_figure_that_can_not_be_written_is_one_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["data", "check", str(folder), "--plot", "c.gif"])
    assert "--plot c.gif: its ending must be one of .png, .svg, .pdf; rename it" in capsys.readouterr().err
    check = check_dataset(open_dataset(folder))
    with pytest.raises(ParameterError, match=r"its ending must be one of"):
        write_coverage(check, tmp_path / "c")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"the figure can't be written to .*; free some space, or choose another place with --plot"):
        write_coverage(check, tmp_path / "file" / "c.png")


def test_a_dataset_with_errors_or_nothing_has_no_picture_and_no_verdict(
    world: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.bars[SPOT].iloc[3, 3] = -1.0
    write_dataset(tmp_path / "set", world, name="mine", source="test", simulated=False, licence="")
    assert cli.main(["data", "check", str(tmp_path / "set"), "--plot", str(tmp_path / "c.svg")]) == 1
    printed = capsys.readouterr().out
    assert "█" not in printed
    assert "usable" not in printed
    write_dataset(tmp_path / "none", Tables(), name="none", source="test", simulated=False, licence="")
    assert cli.main(["data", "check", str(tmp_path / "none"), "--plot", str(tmp_path / "d.svg")]) == 0
    assert "needs two dated futures" in capsys.readouterr().out
    assert show_time(None) == "no time"
