"""Spreads and depths of a dataset's legs: the figures, what is printed of them, and the picture."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtest import cli
from backtest.cli import data_spreads
from backtest.data.schema import Tables
from backtest.data.spreads import measure_spreads
from backtest.data.store import Dataset, open_dataset, write_dataset
from backtest.errors import DataError, ParameterError, StorageError
from backtest.instruments import Instrument, Kind
from backtest.report.spreads import spreads_figure, write_spreads

HYPERLIQUID = "ETHUSD-PERP.hyperliquid"


@pytest.fixture(autouse=True)
def known_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "DATA_COMMANDS", (data_spreads,))


def bars(**columns: list[float]) -> pd.DataFrame:
    rows = len(next(iter(columns.values())))
    index = pd.date_range("2024-01-01T01:00", periods=rows, freq="h", tz="UTC", name="ts").as_unit("ns")
    return pd.DataFrame({"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.0, **columns}, index=index)


def dataset(
    folder: Path, frames: dict[str, pd.DataFrame], series: dict[str, list[float]] | None = None, simulated: bool = False
) -> Dataset:
    facts = {"venue": "binance", "base": "ETH", "quote": "USDT"}
    instruments = [Instrument(id=key, kind=Kind.SPOT if key.endswith("SPOT") else Kind.PERPETUAL, **facts) for key in frames]  # type: ignore[arg-type]
    tables = Tables(instruments=instruments, bars=frames)
    for name, values in (series or {}).items():
        index = pd.DatetimeIndex(bars(volume=values).index)
        tables.series[name] = pd.DataFrame({"ts": index, "known_at": index, "value": values})
    write_dataset(folder, tables, name="mine", source="test", simulated=simulated, licence="")
    return open_dataset(folder)


# bid 100 − x, ask 100 + x: a spread of x/50 of the mid, 2x·100 bps
LEVELS = [0.5, 1.0, 1.5, 2.0]


@pytest.fixture
def quoted(tmp_path: Path) -> Dataset:
    spot = bars(bid=[100 - x for x in LEVELS], ask=[100 + x for x in LEVELS])
    perpetual = bars(
        bid=[100 - x for x in LEVELS], ask=[100 + x for x in LEVELS], spread=[1e-4, 2e-4, math.nan, 3e-4],
        depth_10bps=[1e6, 2e6, 3e6, 4e6], depth_50bps=[5e7, math.nan, math.nan, math.nan],
    )  # fmt: skip
    series = {
        f"{HYPERLIQUID}.spread": [2e-5, 4e-5],
        f"{HYPERLIQUID}.depth_50bps": [4e6, 5e6],
        "risk_free": [0.05],
        "premium_index": [0.1],
        "spread": [7.0],
    }
    return dataset(tmp_path / "quoted", {"ETHUSDT-SPOT": spot, "ETHUSDT-PERP": perpetual}, series)


def test_samples_by_hand(quoted: Dataset) -> None:
    found = measure_spreads(quoted)
    measured = {(one.leg, one.measure): (len(one.values), one.rows) for one in [*found.spreads, *found.depths]}
    assert measured == {
        (HYPERLIQUID, "series"): (2, 2),
        ("ETHUSDT-PERP", "mean of the bar"): (3, 4),
        ("ETHUSDT-PERP", "end of the bar"): (4, 4),
        ("ETHUSDT-SPOT", "end of the bar"): (4, 4),
        (HYPERLIQUID, "50 bps"): (2, 2),
        ("ETHUSDT-PERP", "10 bps"): (4, 4),
        ("ETHUSDT-PERP", "50 bps"): (1, 4),
    }
    spot = next(one for one in found.spreads if one.leg == "ETHUSDT-SPOT")
    # spreads of 1, 2, 3 and 4 percent: the median lies between the two in the middle, p95 at 0.95·3 = 2.85 steps
    assert spot.summary == pytest.approx({"p5": 0.0115, "p50": 0.025, "p95": 0.0385, "p99": 0.0397, "mean": 0.025})
    # the mean over the bar stands for its leg where there is one, else a series, else the bar's end
    half = found.half_spreads
    assert {leg: one.quantile(0.5) for leg, one in half.items()} == pytest.approx(
        {"ETHUSDT-PERP": 1e-4, "ETHUSDT-SPOT": 0.0125, HYPERLIQUID: 1.5e-5}
    )
    assert list(half) == ["ETHUSD-PERP.hyperliquid", "ETHUSDT-PERP", "ETHUSDT-SPOT"]


def test_from_start_to_end(quoted: Dataset) -> None:
    """Start is left out, end is taken, as everywhere."""
    found = measure_spreads(quoted, "2024-01-01T01:00", "2024-01-01T02:00")
    assert {one.leg: one.values.tolist() for one in found.spreads if one.measure != "end of the bar"} == {
        HYPERLIQUID: [4e-5],
        "ETHUSDT-PERP": [2e-4],
    }
    with pytest.raises(
        DataError, match=r"quoted: no leg has a spread or depth after 2025-01-01T00:00Z up to 2026-01-01T00:00Z; they need bid"
    ):
        measure_spreads(quoted, "2025-01-01", "2026-01-01")


def test_the_command_prints_and_writes(quoted: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, figures = tmp_path / "new" / "spreads.png", tmp_path / "spreads.json"
    assert cli.main(["data", "spreads", quoted.path, "--plot", str(picture), "--json", str(figures)]) == 0
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines() if not line.startswith(("Plot", "JSON"))) <= 80
    assert printed.startswith(f"mine, hash {quoted.hash[:12]}\n\nspread, bps ")
    assert re.search(r"^ETHUSDT-PERP +mean of the bar +3 +1\.100 +2\.000 +2\.900 +2\.980 +2\.000$", printed, re.MULTILINE)
    assert re.search(r"^ETHUSDT-SPOT +end of the bar +4 +115\.000 +250\.000 +385\.000 +397\.000 +250\.000$", printed, re.MULTILINE)
    assert re.search(r"^ETHUSDT-PERP +10 bps +4 +1\.15M +2\.50M +3\.85M +3\.97M +2\.50M$", printed, re.MULTILINE)
    assert "note: depth of ETHUSDT-PERP within 50 bps is known in 25.0% of 4 rows\n" in printed
    assert re.search(r"^ETHUSDT-PERP +mean of the bar +0\.0001 +0\.000145$", printed, re.MULTILINE)
    assert re.search(r"^ETHUSD-PERP\.hyperliquid +series +0\.000015 +0\.0000195$", printed, re.MULTILINE)
    assert printed.endswith(f"\nPlot: {picture}\nJSON: {figures}\n")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [each.name for each in picture.parent.iterdir()] == ["spreads.png"]
    written = json.loads(figures.read_text())
    assert written["dataset"] == {"name": "mine", "hash": quoted.hash, "simulated": False}
    assert written["half_spread"]["ETHUSDT-PERP"] == pytest.approx({"median": 1e-4, "p95": 1.45e-4})
    assert (written["depth"][0]["leg"], written["depth"][0]["rows"], written["depth"][0]["p50"]) == (HYPERLIQUID, 2, 4.5e6)


def test_bars_without_quotes_are_told(tmp_path: Path, tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    bare = dataset(tmp_path / "bare", {"ETHUSDT-SPOT": bars(volume=[1.0, 2.0])})
    with pytest.raises(SystemExit) as left:
        cli.main(["data", "spreads", bare.path])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {bare.path}: no leg has a spread or depth; they need bid and ask beside the bars, which captures")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start", "soon"], '--start must be a time like 2024-01-31 or 2024-01-31T08:00: --start="soon"'),
        (["--plot", "spreads.bmp"], "--plot spreads.bmp: its ending must be one of .png, .svg, .pdf; rename it"),
    ],
)
def test_wrong_options_are_one_sentence(quoted: Dataset, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    with pytest.raises(SystemExit):
        cli.main(["data", "spreads", quoted.path, *options])
    captured = capsys.readouterr()
    assert (captured.err, captured.out) == (f"error: {message}\n", "")


def test_depths_alone_give_no_half_spread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = dataset(tmp_path / "deep", {"ETHUSDT-SPOT": bars(depth_10bps=[900.0, 12_345.0])}, simulated=True)
    assert cli.main(["data", "spreads", deep.path, "--plot", str(tmp_path / "deep.svg")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("mine, SIMULATED, hash ")
    assert "no leg has a spread, so no half-spread follows" in printed
    assert data_spreads._amount(900.0) == "900"
    assert data_spreads._amount(12_345.0) == "12.3k"
    assert data_spreads._amount(2.5e9) == "2.50G"
    drawn = (tmp_path / "deep.svg").read_text()
    assert "SIMULATED" in drawn
    assert "not known" in drawn


def test_the_figure_draws_what_is_known(quoted: Dataset) -> None:
    figure = spreads_figure(measure_spreads(quoted))
    left, right = figure.axes
    curves = {line.get_xdata().max(): line.get_ydata().max() for line in left.get_lines() if line.get_linestyle() == "-"}
    # the whole spread in bps: of the series 0.4, of the means 3, of the quotes 400
    assert sorted(curves) == pytest.approx([0.4, 3.0, 400.0])
    assert set(curves.values()) == {100.0}
    depths = [line for line in right.get_lines() if len(line.get_xdata()) > 2]
    # 50 bps of the perpetual are known in a quarter of its rows: no curve stands for them
    assert sorted(float(np.max(line.get_xdata())) for line in depths) == pytest.approx([4.0, 5.0])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [HYPERLIQUID, "ETHUSDT-PERP", "ETHUSDT-SPOT"]
    # half of the values lie at or below the median
    perpetual = next(line for line in left.get_lines() if line.get_xdata().max() == pytest.approx(3.0))
    assert perpetual.get_ydata()[np.searchsorted(perpetual.get_xdata(), 2.0, side="right") - 1] == pytest.approx(200 / 3)


def test_a_market_without_any_spread_is_drawn(tmp_path: Path) -> None:
    locked = measure_spreads(dataset(tmp_path / "locked", {"ETHUSDT-SPOT": bars(bid=[100.0, 100.0], ask=[100.0, 100.0])}))
    texts = [text.get_text() for axes in spreads_figure(locked).axes for text in axes.texts]
    assert texts == ["always 0", "not known"]


def test_a_figure_that_can_t_be_written_leaves_what_was_there(quoted: Dataset, tmp_path: Path) -> None:
    found = measure_spreads(quoted)
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        StorageError, match=r"the figure can't be written to .*file/spreads\.png: .*; free some space, or choose another place with --plot"
    ):
        write_spreads(found, tmp_path / "file" / "spreads.png")
    with pytest.raises(ParameterError, match=r"its ending must be one of \.png, \.svg, \.pdf"):
        write_spreads(found, tmp_path / "spreads")
    assert (tmp_path / "file").read_text() == "x"
