"""What a sweep and a walk-forward tell: tables, maps, pictures, pages and JSON of made-up runs whose every figure is known; no best without its odds."""

import html
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import ether, load
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure, FigureBase
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.text import Text

import backtest as bt
from backtest.errors import ParameterError, StorageError
from backtest.luck import luck_of
from backtest.market import DatasetInfo, Market
from backtest.report import forward as told
from backtest.report import forward_figures, style, sweep_figures, sweep_lines
from backtest.report.blocks import Table
from backtest.report.blocks import Text as Paragraph
from backtest.report.sweep import grid_words, render_sweep
from backtest.report.sweep_cells import State, cells_of, chosen_row, duration, evenly, fan, pairs, ranked, ruler_of, short, thinned
from backtest.report.sweep_page import odds_section, render_sweep_page, sweep_json, table_section, write_sweep, write_sweep_json
from backtest.space import Range, combinations, labelled
from backtest.study import Search
from backtest.sweep import sweep

STATISTICS = (
    "total_return", "annual_return", "annual_volatility", "sharpe", "excess_sharpe", "sortino", "calmar", "max_drawdown", "time_in_market", "turnover", "trades",
    "win_rate", "avg_hold_days", "final_equity", "liquidations", "jumped",
)  # fmt: skip
Sweep = Any  # anything with the attributes of a sweep: these are made up


def index_of(names: list[str], labels: list[tuple[Any, ...]]) -> "pd.Index[Any]":
    if len(names) == 1:
        alone: pd.Index[Any] = pd.Index([label[0] for label in labels], name=names[0])
        return alone
    return pd.MultiIndex.from_arrays([[label[level] for label in labels] for level in range(len(names))], names=names)


def made(
    varied: Mapping[str, Any],
    sharpe: Callable[[dict[str, Any]], float],
    *,
    tried: list[dict[str, Any]] | None = None,
    why: Callable[[dict[str, Any]], str | None] = lambda one: None,
    trades: Callable[[dict[str, Any]], float] = lambda one: 12.0,
    jumped: Callable[[dict[str, Any]], float] = lambda one: 1.0,
    simulated: bool = True,
    days: int = 60,
    **more: Any,
) -> Sweep:
    """A sweep whose Sharpe ratios are given; daily equity wanders accordingly."""
    draw = np.random.default_rng(0)
    tried = [dict(zip(varied, values, strict=True)) for values in product(*varied.values())] if tried is None else tried
    ran = [one for one in tried if why(one) is None]
    refused = [one for one in tried if why(one) is not None]
    rows, curves = [], []
    for one in ran:
        value = sharpe(one)
        count = trades(one)
        known = value if math.isfinite(value) else 0.0
        row = dict.fromkeys(STATISTICS, 0.5) | {
            "sharpe": value, "excess_sharpe": value, "total_return": 0.05 * known, "max_drawdown": 0.03, "trades": count, "final_equity": 1e5 * (1.0 + 0.05 * known), "jumped": jumped(one),
        }  # fmt: skip
        rows.append(row)
        noise = draw.normal(size=days)
        steps = 0.002 * ((noise - noise.mean()) / noise.std(ddof=1) + known / math.sqrt(365.0)) * (count > 0.0)
        curves.append(1e5 * np.cumprod(np.concatenate([[1.0], 1.0 + steps])))
    names = list(varied)
    table = pd.DataFrame(rows, index=index_of(names, [tuple(map(labelled, one.values())) for one in ran]))
    clock = pd.date_range("2024-01-01", periods=days + 1, freq="D", tz="UTC")
    daily = pd.DataFrame(np.array(curves).T, index=clock, columns=table.index)
    cash = pd.Series(1e5 * 1.0001 ** np.arange(days + 1), index=clock)
    facts = {
        "strategy": "PremiumCarry", "varied": dict(varied), "fixed": {"leverage": 2}, "combinations": ran, "table": table, "daily": daily,
        "invalid": pd.DataFrame({"why": [why(one) for one in refused]}, index=index_of(names, [tuple(map(labelled, one.values())) for one in refused]), dtype=object),
        "dataset": DatasetInfo("sample", "ab12" * 16, simulated=simulated, path="sample"), "capital": 1e5, "quote": "USDT", "start": clock[0], "end": clock[-1],
        "trials": len(ran), "baseline": cash, "idle": 0.0 * cash + 1e5, "luck": luck_of(np.array(curves), ran, baseline=cash.to_numpy(), name="T-bills"), "seconds": 12.3,
    }  # fmt: skip
    return SimpleNamespace(**(facts | more))


def hill(x: float, y: float, width: float = 0.01) -> float:
    return 3.0 * math.exp(-(x * x + y * y) / width) - 0.5


def one_by_one() -> Sweep:
    return made({"enter": [0.1], "exit": [0.02]}, lambda one: 1.0)


def two_by_two() -> Sweep:
    return made({"enter": [0.1, 0.2], "exit": [0.02, 0.05]}, lambda one: 2.0 - 10.0 * one["enter"] + one["exit"])


def large() -> Sweep:
    values = {"enter": [round(0.01 * step, 2) for step in range(1, 21)], "exit": [round(0.01 * step, 2) for step in range(-5, 15)]}
    return made(
        values | {"max_hold": ["1D", "7D", "30D"]},
        lambda one: hill(one["enter"] - 0.1, one["exit"] - 0.02) + 0.2 * (one["max_hold"] == "7D"),
        why=lambda one: f"exit must be below enter: exit={one['exit']}, enter={one['enter']}" if one["exit"] >= one["enter"] else None,
        trades=lambda one: 0.0 if one["enter"] > 0.185 else 12.0,
        jumped=lambda one: float(one["max_hold"] != "30D"),
    )


def one_parameter() -> Sweep:
    return made(
        {"enter": [round(0.01 * step, 2) for step in range(1, 31)]},
        lambda one: hill(one["enter"] - 0.1, 0.0),
        why=lambda one: "enter must be above 0.01" if one["enter"] < 0.015 else None,
        trades=lambda one: 0.0 if one["enter"] > 0.28 else 5.0,
    )


def six_parameters() -> Sweep:
    values: dict[str, list[Any]] = {
        "enter": [0.05, 0.1, 0.15], "exit": [0.0, 0.02], "max_hold": ["1D", None], "leverage": [1, 2, 3],
        "filter_name": ["none", "a long name of a regime filter"], "staging": [pd.Timedelta("1h"), pd.Timedelta("1D")],
    }  # fmt: skip
    return made(values, lambda one: hill(one["enter"] - 0.1, one["exit"]) + 0.1 * one["leverage"])


def words() -> Sweep:
    values = {
        "max_hold": ["1D", "7D", None],
        "legs": [("perpetual",), ("future", "chain")],
        "wait": [pd.Timedelta("90min"), pd.Timedelta("1h")],
        "flag": [True, False],
    }
    return made(values, lambda one: (one["max_hold"] == "7D") - 0.5 * one["flag"])


def ten_thousand() -> Sweep:
    values = {"enter": [round(0.001 * step, 3) for step in range(1, 101)], "exit": [round(0.001 * step, 3) for step in range(-50, 50)]}
    return made(
        values,
        lambda one: hill(one["enter"] - 0.06, one["exit"] - 0.02, 0.001),
        why=lambda one: "exit must be below enter" if one["exit"] >= one["enter"] else None,
        days=40,
    )


def only_one_valid() -> Sweep:
    values = {"enter": [0.1, 0.2, 0.3], "exit": [0.02, 0.05, 0.4]}
    return made(values, lambda one: 1.0, why=lambda one: None if (one["enter"], one["exit"]) == (0.2, 0.02) else "exit must be below enter")


def no_sharpe() -> Sweep:
    return made({"enter": [0.1, 0.2, 0.3], "exit": [0.02, 0.05, 0.4]}, lambda one: math.nan, trades=lambda one: 0.0)


def from_ranges() -> Sweep:
    values: dict[str, Any] = {"enter": Range(0.02, 0.3, log=True), "exit": Range(-0.05, 0.05), "hold": ["1D", "7D"]}
    return made(
        values,
        lambda one: hill(one["enter"] - 0.1, one["exit"] - 0.02) + 0.3 * (one["hold"] == "7D"),
        tried=combinations(values, sample=300, method="random", seed=1),
        why=lambda one: "exit must be below enter" if one["exit"] >= one["enter"] else None,
    )


CASES = (one_by_one, two_by_two, large, one_parameter, six_parameters, words, ten_thousand, only_one_valid, no_sharpe, from_ranges)


@pytest.fixture(scope="module")
def made_once() -> Callable[[Callable[[], Sweep]], Sweep]:
    """Each case is made once."""
    kept: dict[str, Sweep] = {}

    def make(case: Callable[[], Sweep]) -> Sweep:
        if case.__name__ not in kept:
            kept[case.__name__] = case()
        return kept[case.__name__]

    return make


@pytest.fixture(scope="module")
def page_of(made_once: Any) -> Callable[[Callable[[], Sweep]], str]:
    """Each page is drawn once."""
    kept: dict[str, str] = {}

    def draw(case: Callable[[], Sweep]) -> str:
        if case.__name__ not in kept:
            kept[case.__name__] = render_sweep_page(made_once(case))
        return kept[case.__name__]

    return draw


cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)


def refused(message: str) -> Any:
    return pytest.raises(ParameterError, match=f"^{re.escape(message)}$")


def texts(figure: FigureBase) -> list[str]:
    """Everything that is written in a figure."""
    return [one.get_text() for one in figure.findobj(Text) if isinstance(one, Text) and one.get_text() and one.get_visible()]


# ---------------------------------------------------------------- cells


def small(**more: Any) -> Sweep:
    """Given out of order; the best is at (0.2, 0.02); one pair refused, one without a trade, one within a tenth of the best."""
    sharpes = {(0.3, 0.02): 1.0, (0.3, 0.05): -0.5, (0.1, 0.02): 1.85, (0.2, 0.02): 2.0, (0.2, 0.05): 0.0}
    return made(
        {"enter": [0.3, 0.1, 0.2], "exit": [0.05, 0.02]},
        lambda one: sharpes[one["enter"], one["exit"]],
        why=lambda one: "no" if (one["enter"], one["exit"]) == (0.1, 0.05) else None,
        trades=lambda one: 0.0 if (one["enter"], one["exit"]) == (0.2, 0.05) else 7.0,
        **more,
    )


def test_cells_stand_in_the_order_of_numbers_and_say_what_became_of_them() -> None:
    cells = cells_of(small(), "enter", "exit")
    assert cells.across == [0.1, 0.2, 0.3]
    assert cells.up == [0.02, 0.05]
    assert cells.values[0].tolist() == [1.85, 2.0, 1.0]
    assert cells.states.tolist() == [[State.TRADED, State.TRADED, State.TRADED], [State.INVALID, State.IDLE, State.TRADED]]
    assert math.isnan(cells.values[1, 0])
    assert cells.chosen == (0, 1)
    assert cells.plateau.tolist() == [[True, True, False], [False, False, False]], "2.0 less a tenth is 1.8"
    assert cells.others == ""


def test_words_keep_the_order_they_were_given_in() -> None:
    sweep = words()
    cells = cells_of(sweep, "max_hold", "legs")
    assert cells.across == ["1D", "7D", "none"]
    assert cells.up == ["perpetual", "future,chain"]
    assert cells_of(sweep, "wait", "flag").across == [pd.Timedelta("1h"), pd.Timedelta("90min")]
    assert cells.others == "best by Sharpe over wait, flag"


def test_of_further_parameters_a_cell_shows_the_best_by_sharpe_that_traded() -> None:
    sharpes = {1: 1.0, 2: 3.0, 3: 9.0}
    sweep = made(
        {"a": [1, 2], "b": [1, 2], "c": [1, 2, 3]},
        lambda one: sharpes[one["c"]] + one["a"],
        trades=lambda one: 0.0 if one["c"] == 3 else 10.0 * one["c"],
    )
    assert cells_of(sweep, "a", "b", "trades").values.tolist() == [[20.0, 20.0], [20.0, 20.0]]
    assert cells_of(sweep, "a", "b").values.tolist() == [[4.0, 5.0], [4.0, 5.0]]
    sliced = cells_of(sweep, "a", "b", "trades", {"c": 1})
    assert sliced.values.tolist() == [[10.0, 10.0], [10.0, 10.0]]
    assert sliced.others == "c 1"
    assert (cells_of(sweep, "a", "b", at={"c": 3}).states == State.IDLE).all()


def test_a_cell_is_what_the_best_off_of_its_combinations_is() -> None:
    sweep = made(
        {"a": [1, 2], "b": [1, 2], "c": [1, 2, 3]},
        lambda one: 1.0,
        why=lambda one: "no" if one["c"] == 3 or one["a"] + one["b"] == 4 else None,
        trades=lambda one: 3.0 if one["c"] == 1 and one["a"] == 1 else 0.0,
    )
    assert cells_of(sweep, "a", "b").states.tolist() == [[State.TRADED, State.IDLE], [State.TRADED, State.INVALID]]


def test_a_slice_without_the_chosen_marks_nothing() -> None:
    sweep = large()
    row = chosen_row(sweep)
    assert row is not None
    hold = sweep.table.index[row][2]
    here, elsewhere = (
        cells_of(sweep, "exit", "enter", at={"max_hold": one}) for one in (hold, next(one for one in ("1D", "7D") if one != hold))
    )
    assert here.chosen is not None
    assert here.plateau.any()
    assert elsewhere.chosen is None
    assert not elsewhere.plateau.any()
    assert "chosen" not in texts(sweep_figures.heat_map(sweep, "exit", "enter", at={"max_hold": "1D" if hold == "7D" else "7D"}).figure)


def test_what_was_not_tried_is_neither_invalid_nor_idle() -> None:
    values = {"a": [1, 2, 3], "b": [1, 2]}
    sweep = made(values, lambda one: float(one["a"]), tried=[{"a": 1, "b": 1}, {"a": 3, "b": 2}, {"a": 2, "b": 1}])
    assert cells_of(sweep, "a", "b").states.tolist() == [[3, 3, 0], [0, 0, 3]]


@pytest.mark.parametrize(
    ("x", "y", "by", "at", "message"),
    [
        ("entr", "exit", "sharpe", {}, '"entr" does not vary in this sweep: a heat map is of two that do; did you mean "enter"?'),
        ("enter", "enter", "sharpe", {}, 'a heat map needs two parameters: x and y are both "enter"; give another of: enter, exit'),
        ("enter", "exit", "shrape", {}, '"shrape" is no statistic of a sweep: by=shrape; did you mean "sharpe"?'),
        ("enter", "exit", "sharpe", {"hold": 1}, '"hold" does not vary in this sweep: a heat map is of two that do; known: enter, exit'),
        ("enter", "exit", "sharpe", {"exit": 1}, '"exit" can\'t be held at a value: it is an axis of the heat map; leave it out of at'),
    ],
)  # fmt: skip
def test_what_the_sweep_does_not_have_is_refused(x: str, y: str, by: str, at: dict[str, Any], message: str) -> None:
    with refused(message):
        sweep_figures.heat_map(small(), x, y, by, at)


def test_a_value_that_was_never_tried_is_refused() -> None:
    with refused("max_hold was never 2D: at={'max_hold': '2D'}; give one of 1D, 7D, 30D"):
        cells_of(large(), "enter", "exit", at={"max_hold": "2D"})
    with refused("exit was never 9: at={'exit': 9}; give one of " + ", ".join(f"{0.01 * step:.12g}" for step in range(-5, 5)) + ", …"):
        cells_of(large(), "enter", "max_hold", at={"exit": 9})


def test_pairs_have_the_parameter_with_more_values_across() -> None:
    assert pairs(large()) == [("exit", "enter"), ("enter", "max_hold"), ("exit", "max_hold")]
    assert pairs(one_parameter()) == []


def test_labels_have_the_fewest_digits_that_tell_them_apart() -> None:
    assert short([0.1, 0.25]) == ["0.1", "0.25"]
    assert short([0.123456789, 0.123456788]) == ["0.123456789", "0.123456788"]
    assert short([-1, 2], "−") == ["−1", "2"]
    assert short(["7D", pd.Timedelta("36h"), "none", True]) == ["7D", "36h", "none", "True"]
    assert [duration(pd.Timedelta(one)) for one in ("2D", "90min", "30s", "1ms")] == ["2D", "90min", "30s", "0 days 00:00:00.001000"]
    assert [evenly(least) for least in (0, 1, 3, 7, 30, 600, 5000)] == [1, 1, 5, 10, 50, 1000, 5000]


def test_of_many_combinations_the_highest_twentieth_is_drawn_whole() -> None:
    kept = thinned(10_000, 2_000)
    assert len(kept) <= 2_000
    assert set(range(9_500, 10_000)) <= set(kept.tolist())
    assert kept[0] == 0
    assert thinned(7, 2_000).tolist() == list(range(7))
    assert len(np.unique(kept)) == len(kept)


def test_combinations_of_one_value_are_spread_in_the_order_of_their_sharpe_ratios() -> None:
    spread = fan(np.array([0.0, 1.0, 0.0, 0.0]), np.array([3.0, 9.0, 1.0, 2.0]))
    assert spread == pytest.approx([0.36, 0.0, -0.36, 0.0])


def test_a_range_by_logarithms_has_a_ruler_by_logarithms() -> None:
    ruler = ruler_of(from_ranges(), "enter")
    assert ruler.places([0.02, 0.2]) == pytest.approx([math.log10(0.02), math.log10(0.2)])
    assert ruler.ticks(8)[1][0] == "0.02"
    steps = ruler_of(large(), "max_hold")
    assert steps.places(["30D", "1D"]).tolist() == [2.0, 0.0]
    assert ruler_of(from_ranges(), "exit").ticks(5)[1] == ["−0.05", "−0.025", "0", "0.025", "0.05"]


# ---------------------------------------------------------------- figures


def test_the_heat_map_marks_the_chosen_its_plateau_and_the_holes() -> None:
    axes = sweep_figures.heat_map(small(), "enter", "exit")
    figure = axes.figure
    written = texts(figure)
    assert "Sharpe over cash" in written
    assert [one for one in written if re.fullmatch(r"−?\d\.\d\d", one) and one in ("1.85", "2.00", "1.00", "−0.50")] == [
        "1.85",
        "2.00",
        "1.00",
        "−0.50",
    ]
    (frame,) = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_linewidth() > 2.0]
    assert frame.get_xy() == (0.5, -0.5), "0.2 is the second across, 0.02 the first up"
    (outline,) = [one for one in axes.collections if isinstance(one, LineCollection)]
    ends = np.array(outline.get_segments())
    assert (ends[..., 0].min(), ends[..., 0].max(), ends[..., 1].min(), ends[..., 1].max()) == (-0.5, 1.5, -0.5, 0.5)
    assert len(ends) == 6, "two cells side by side have six outer edges"
    hatches = {patch.get_hatch(): patch for patch in axes.patches if isinstance(patch, PathPatch) and patch.get_hatch()}
    assert set(hatches) == {"/////", "...."}
    assert hatches["/////"].get_path().get_extents().bounds == (-0.5, 0.5, 1.0, 1.0)
    legend = [one.get_text() for one in figure.legends[0].get_texts()]
    assert legend == ["invalid", "no trade", "Sharpe at most 10% below the chosen", "chosen"]


def test_colours_are_blue_above_zero_and_orange_below_and_losses_are_orange() -> None:
    axes = sweep_figures.heat_map(small(), "enter", "exit")
    tones = {to_hex(patch.get_facecolor()) for patch in axes.patches if isinstance(patch, PathPatch) and not patch.get_hatch()}
    assert tones == {style.colour("blue"), style.colour("red")}
    falls = sweep_figures.heat_map(small(), "enter", "exit", "max_drawdown")
    assert {to_hex(patch.get_facecolor()) for patch in falls.patches if isinstance(patch, PathPatch) and not patch.get_hatch()} == {
        style.colour("red")
    }
    assert "Max drawdown, %" in texts(falls.figure)
    scale = sweep_figures.scale_of(np.array([1.0, 2.0, 3.0]))
    assert scale.base == scale.low > 0.9, "where all are above zero the weakest colour is the least of them"
    steps = sweep_figures.scale_of(np.linspace(-1.0, 2.0, 100_001)).steps(np.array([-0.9, -1e-9, 0.0, 2.0, 9.0, np.nan]))
    assert steps[:5].tolist() == [-8.0, -1.0, 1.0, 16.0, 16.0]
    assert math.isnan(steps[5])


def test_a_slice_is_told_in_the_title_and_the_best_of_the_others_too() -> None:
    sweep = large()
    assert any("max_hold 1D" in one for one in texts(sweep_figures.heat_map(sweep, "exit", "enter", at={"max_hold": "1D"}).figure))
    assert any("best by Sharpe over max_hold" in one for one in texts(sweep_figures.heat_map(sweep, "exit", "enter").figure))


def test_a_map_is_drawn_where_one_wants_it() -> None:
    figure = style.new_figure(4.0)
    axes = figure.add_subplot()
    assert sweep_figures.heat_map(large(), "exit", "enter", ax=axes) is axes
    assert "by luck alone" in axes.get_title(loc="left").replace("\n", " ")
    legend = axes.get_legend()
    assert legend is not None
    assert "chosen" in [one.get_text() for one in legend.get_texts()]
    assert axes.get_title(loc="left").startswith("SIMULATED DATA\n")


def test_long_words_slant_so_that_they_can_be_read() -> None:
    sweep = made({"word": [f"word {number} of many" for number in range(15)], "size": [1, 2]}, lambda one: float(one["size"]))
    labels = sweep_figures.heat_map(sweep, "word", "size").get_xticklabels()
    assert [one.get_text() for one in labels] == sweep.varied["word"]
    assert {one.get_rotation() for one in labels} == {25.0}


def test_what_is_infinite_is_not_defined() -> None:
    sweep = two_by_two()
    sweep.table["calmar"] = math.inf
    axes = sweep_figures.heat_map(sweep, "enter", "exit", "calmar")
    assert next(one.get_text() for one in axes.figure.legends[0].get_texts()) == "not defined"
    assert all(patch.get_hatch() for patch in axes.patches if isinstance(patch, PathPatch))


def test_ranges_are_points() -> None:
    sweep = from_ranges()
    axes = sweep_figures.heat_map(sweep, "enter", "exit")
    points = sum(len(line.get_xdata()) for line in axes.lines if line.get_label() != "chosen")  # type: ignore[arg-type]
    assert points == len(ranked(sweep).rows)
    assert any("any hold" in one for one in texts(axes.figure))


def test_parallel_coordinates_have_a_line_a_combination_up_to_two_thousand(made_once: Any) -> None:
    for case, count in ((ten_thousand, 2_000), (words, 24)):
        figure = sweep_lines.parallel_figure(made_once(case))
        lines = sum(len(one.get_segments()) for one in figure.findobj(LineCollection) if isinstance(one, LineCollection))
        assert 0.98 * count <= lines <= count
        assert ("2,000 of" in " ".join(texts(figure))) == (count == 2_000)
    assert {"max_hold", "legs", "wait", "flag", "Sharpe", "future,chain", "90min", "True"} <= set(texts(figure))


def test_every_sharpe_ratio_is_in_the_distribution_with_luck_and_the_best() -> None:
    sweep = large()
    figure = sweep_lines.distribution_figure(sweep)
    (axes,) = figure.axes
    assert sum(bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)) == len(ranked(sweep).rows)
    upright = {line.get_label(): float(np.asarray(line.get_xdata())[0]) for line in axes.lines}
    luck = sweep.luck
    assert upright[f"chosen, {luck.sharpe:.2f}"] == luck.sharpe
    assert upright[f"expected of the best by luck alone, {luck.expected_maximum:.2f}"] == luck.expected_maximum
    assert any(f"{len(ranked(sweep).rows):,} combinations" in one for one in texts(figure))


def test_a_sharpe_ratio_far_from_all_others_does_not_squeeze_them() -> None:
    sweep = made({"a": list(range(300))}, lambda one: 900.0 if one["a"] == 7 else -900.0 if one["a"] == 8 else 0.01 * one["a"])
    figure = sweep_lines.distribution_figure(sweep)
    assert "Sharpe ratios of 300 combinations; 3 lower than the axis; 3 higher than the axis" in texts(figure)
    low, high = figure.axes[0].get_xlim()
    assert -10.0 < low < 0.0 < 3.0 < high < 20.0
    assert "chosen, 900.00" in texts(figure)


def test_the_equity_figure_has_the_chosen_and_the_baseline() -> None:
    figure = sweep_lines.equity_figure(large())
    assert {"chosen", "baseline: T-bills", "median"} <= set(texts(figure))


def figures_of(sweep: Sweep) -> list[Figure]:
    found = [sweep_lines.parallel_figure(sweep), sweep_lines.distribution_figure(sweep), sweep_lines.equity_figure(sweep)]
    two = pairs(sweep)
    found += (
        [sweep_figures.heat_maps_figure(sweep, [(x, y, "excess_sharpe") for x, y in two[:3]])]
        if two
        else [sweep_lines.profile_figure(sweep)]
    )
    return found


@cases
def test_no_picture_marks_a_best_without_its_odds_and_made_up_data_are_marked(case: Callable[[], Sweep], made_once: Any) -> None:
    sweep = made_once(case)
    for figure in figures_of(sweep):
        written = " ".join(texts(figure))
        marked = "chosen" in written
        assert marked == (chosen_row(sweep) is not None), "with one combination there is nothing to choose"
        assert not marked or ("by luck alone" in written and "deflated" in written and "overfitting" in written)
        assert "SIMULATED DATA" in written


# ---------------------------------------------------------------- the terminal


@cases
def test_no_line_is_wider_than_a_terminal_and_the_best_stands_with_its_odds(case: Callable[[], Sweep], made_once: Any) -> None:
    sweep = made_once(case)
    lines = render_sweep(sweep).splitlines()
    assert max(map(len, lines)) <= 80
    places = [place for place, line in enumerate(lines) if re.match(r"best |How much of the best", line)]
    if chosen_row(sweep) is None:
        assert not places
        return
    head, best = places
    assert lines[head] == f"How much of the best of {len(sweep.table):,} to believe"
    assert head < best < len(lines) - len(str(sweep.luck).splitlines())
    assert "\n".join(lines).endswith(str(sweep.luck)), "nothing follows the odds"


def test_rows_stand_in_the_order_of_the_grid_and_those_run_in_full_are_marked() -> None:
    sweep = made({"enter": [0.3, 0.1], "exit": [0.05, 0.02]}, lambda one: 1.0 + one["enter"], jumped=lambda one: float(one["exit"] == 0.02))
    lines = render_sweep(sweep).splitlines()
    rows = [line for line in lines if re.match(r"0\.[31]  ", line) and "%" in line]
    assert [line.split()[:2] for line in rows] == [["0.3", "0.05"], ["0.3", "0.02"], ["0.1", "0.05"], ["0.1", "0.02"]]
    assert [line.endswith(" *") for line in rows] == [True, False, True, False]
    assert "* run in full: 2 of 4 combinations, as the scan can't jump between events there" in lines
    assert "*" not in render_sweep(two_by_two()).split("How much")[0]
    every = made({"enter": [0.1, 0.2]}, lambda one: one["enter"], jumped=lambda one: 0.0)
    assert "* run in full: every combination, as the scan can't jump between events there" in render_sweep(every).splitlines()


def test_two_parameters_have_a_map_of_figures() -> None:
    lines = render_sweep(small()).splitlines()
    start = lines.index("Sharpe by exit (down) and enter (across)")
    assert lines[start + 2].split() == ["0.1", "0.2", "0.3"]
    assert [line.split() for line in lines[start + 3 : start + 5]] == [["0.05", "x", "o", "-0.50"], ["0.02", "1.85", "2.00", "1.00"]]
    assert lines[start + 5] == "x invalid; o no trade"


def test_many_values_have_a_map_of_letters(made_once: Any) -> None:
    lines = render_sweep(made_once(ten_thousand)).splitlines()
    start = lines.index("Sharpe by enter (down) and exit (across)")
    assert lines[start + 2].strip() == "-0.05 to 0.048, every 2nd"
    rows = lines[start + 3 : start + 23]
    assert all(re.fullmatch(r"0\.\d+ +[.:=+*#%@x-]{50}", row) for row in rows)
    assert rows[-1].startswith("0.001")
    assert "@" in rows[8]
    assert lines[start + 23].startswith(". -0.50 to @ 2.")
    assert lines[start + 23].endswith("x invalid; every 5th row")


def test_the_lowest_and_the_highest_have_the_first_and_the_last_letter() -> None:
    sweep = made({"long": [round(0.01 * number, 2) for number in range(40)], "b": [1, 2]}, lambda one: one["long"])
    lines = render_sweep(sweep).splitlines()
    start = lines.index("Sharpe by b (down) and long (across)")
    assert lines[start + 3] == "2  " + "".join(
        letter * count for letter, count in zip(".:-=+*#%@", (5, 4, 4, 5, 4, 4, 5, 4, 5), strict=True)
    )
    assert lines[start + 5] == ". 0.00 to @ 0.39, .:-=+*#%@ in equal steps"


def test_marks_of_full_runs_have_room_of_their_own() -> None:
    for length in range(2, 14):
        sweep = made(
            {"a" * length: [1, 2], "b" * 9: [1, 2]}, lambda one: float(sum(one.values())), jumped=lambda one: float(sum(one.values()) > 2)
        )
        assert max(map(len, render_sweep(sweep).splitlines())) <= 80


def test_other_than_two_parameters_have_no_map() -> None:
    for case in (large, one_parameter, from_ranges, one_by_one, only_one_valid, no_sharpe):
        assert "(across)" not in render_sweep(case())


def test_what_was_drawn_from_what_is_told() -> None:
    assert grid_words(two_by_two()) == "enter 2 × exit 2: 4 combinations"
    assert grid_words(small()) == "enter 3 × exit 2: 6 combinations, 1 of them invalid"
    sample = made({"a": [1, 2, 3], "b": [1, 2]}, lambda one: float(one["a"]), tried=[{"a": 1, "b": 1}, {"a": 3, "b": 2}], trials=50)
    assert grid_words(sample) == "a 3 × b 2: 2 combinations of 6; 50 trials are counted"
    assert grid_words(from_ranges()).startswith("enter 0.02..0.3:log × exit -0.05..0.05 × hold 2: 300 combinations drawn from them, ")
    assert grid_words(one_by_one()) == "enter 1 × exit 1: 1 combination"


# ---------------------------------------------------------------- the page


class Page(HTMLParser):
    """Ids, references, labels of pictures, cells of tables, text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.references: list[str] = []
        self.labels: list[str] = []
        self.rows: list[int] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.references += [given[name] or "" for name in ("src", "href", "xlink:href") if name in given]
        self.labels += [given["aria-label"] or ""] if tag == "svg" else []
        if tag == "tr":
            self.rows.append(0)
        elif tag in ("td", "th") and self.rows:
            self.rows[-1] += 1

    def handle_data(self, data: str) -> None:
        self.text += data


@cases
def test_every_page_is_whole_and_loads_nothing(case: Callable[[], Sweep], made_once: Any, page_of: Any) -> None:
    sweep, written = made_once(case), page_of(case)
    page = Page(written)
    assert len(set(page.ids)) == len(page.ids)
    assert all(one.startswith("#") and one[1:] in page.ids for one in page.references)
    assert len(page.labels) == written.count("<svg")
    assert all(one.startswith("SIMULATED data. ") and len(one) > 40 for one in page.labels)
    assert len(set(page.rows)) == 1, "every row of the table has a cell a head"
    assert "SIMULATED DATA" in page.text
    assert sweep.dataset.hash in page.text
    assert "12.3 seconds" in page.text
    assert len(written) < 2_500_000
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+", "", page.text.lower())
    expected = {"odds", "equity", "table", "data"} | ({"invalid"} if len(sweep.invalid) else set())
    assert expected <= set(page.ids)
    assert ("deflated Sharpe" in page.text) == (chosen_row(sweep) is not None)


def test_the_page_begins_with_the_odds(made_once: Any, page_of: Any) -> None:
    sweep, page = made_once(large), Page(page_of(large))
    assert page.ids.index("odds") < page.ids.index("maps") < page.ids.index("table")
    assert f"How much of the best of {sweep.luck.trials:,} to believe" in page.text
    for sentence in ("by luck alone", "overfitting", "SPA against T-bills", "In sample: the same days chose it and measured it."):
        assert sentence in page.text
    assert "PremiumCarry" in page.text
    assert "The first 100 and the last 100 of 885 in the order of the grid." in page.text
    assert len(page.rows) == 201
    assert page.text.count("in full") > 50
    table = next(block for block in table_section(sweep).blocks if isinstance(block, Table))
    for place in (0, 99, 100, 199):
        row = sweep.table.index[place if place < 100 else place - 200]
        assert [cell.text.replace("−", "-") for cell in table.rows[place][:3]] == [f"{row[0]:g}", f"{row[1]:g}", row[2]]


def test_values_are_text_and_never_markup() -> None:
    sweep = made({"name": ["<b>", "&amp;"]}, lambda one: float(len(one["name"])))
    written = render_sweep_page(sweep)
    assert "<b></" not in written
    assert html.escape("<b>") in written


def test_a_best_that_luck_explains_is_said_not_to_convince() -> None:
    def said(sweep: Sweep) -> str:
        first = odds_section(sweep).blocks[0]
        assert isinstance(first, Paragraph)
        return first.text

    sweep = small()
    facts = {name: getattr(sweep.luck, name) for name in sweep.luck.__dataclass_fields__}
    for probability, sentence in (
        (0.9, "With 90% probability the best of 5 is more than luck. Below 95% it does not convince: luck alone may have put it first."),
        (0.96, "With 96.0% probability the best of 5 is more than luck. That is convincing on these days; it is no promise for others."),
        (math.nan, "Whether the best is more than luck can't be said; the notes below say why."),
    ):
        sweep.luck = SimpleNamespace(**facts | {"deflated_sharpe": probability})
        assert said(sweep) == sentence
    assert said(one_by_one()) == "Only one combination ran: there was nothing to choose."
    assert said(no_sharpe()) == "No combination has a Sharpe ratio: none can be called the best."


# ---------------------------------------------------------------- JSON and files


@cases
def test_json_has_every_combination(case: Callable[[], Sweep], made_once: Any) -> None:
    sweep = made_once(case)
    document = json.loads(json.dumps(sweep_json(sweep), allow_nan=False))
    assert len(document["combinations"]) == len(sweep.table)
    assert len(document["invalid"]) == len(sweep.invalid)
    assert set(document["combinations"][0]["statistics"]) == set(STATISTICS)
    assert set(document["combinations"][0]["parameters"]) == set(sweep.varied)
    assert (document["luck"] is None) == (chosen_row(sweep) is None) == (document["chosen"] is None)
    assert len(document["daily"]["time"]) == len(sweep.daily) == len(document["daily"]["baseline"])
    assert document["dataset"] == {"name": "sample", "hash": "ab12" * 16, "simulated": True}
    assert document["seconds"] == 12.3


def test_json_names_the_chosen_and_its_odds() -> None:
    sweep = small()
    document = sweep_json(sweep)
    row = document["luck"]["chosen"]
    assert document["combinations"][row] == {"parameters": {"enter": 0.2, "exit": 0.02}, "statistics": sweep.table.iloc[row].to_dict()}
    assert document["chosen"] == {"row": row, "parameters": {"enter": "0.2", "exit": "0.02"}}
    assert document["luck"]["deflated_sharpe"] == sweep.luck.deflated_sharpe
    assert document["luck"]["plateau"]["neighbours"] == sweep.luck.plateau.neighbours
    assert document["daily"]["chosen"] == sweep.daily.iloc[:, row].tolist()
    assert document["invalid"] == [{"parameters": {"enter": 0.1, "exit": 0.05}, "why": "no"}]
    assert sweep_json(from_ranges())["varied"]["enter"] == "0.02..0.3:log"
    del sweep.seconds
    assert sweep_json(sweep)["seconds"] is None


def test_files_are_written_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = small()
    written = write_sweep(sweep, tmp_path / "sweep.html").read_text(encoding="utf-8")
    assert written == render_sweep_page(small()), "the same sweep gives the same page"
    assert json.loads(write_sweep_json(sweep, tmp_path / "sweep.json").read_text(encoding="utf-8")) == sweep_json(sweep)
    monkeypatch.setattr("backtest.report.sweep_page.render_sweep_page", lambda sweep: "a page")
    with pytest.raises(StorageError, match=r"^the page can't be written to .*: it is a folder; .* choose another place with --report$"):
        write_sweep(sweep, tmp_path)
    with pytest.raises(StorageError, match=r"^JSON can't be written to .*: it is a folder; .* choose another place with --json$"):
        write_sweep_json(sweep, tmp_path)


@dataclass(frozen=True, kw_only=True)
class Fade(bt.Strategy):
    """Sell the perpetual against spot when its premium is rich."""

    enter: float = bt.param(0.0005, "open at or above this premium")
    exit: float = bt.param(0.0, "close at or below it")

    def rule(self, market: Market) -> bt.Rule:
        return bt.Rule(
            long=market.spot, short=market.perpetual, signal=bt.premium(market, market.perpetual), enter=self.enter, exit=self.exit
        )


def test_a_sweep_itself_can_be_told(tmp_path: Path) -> None:
    swept = sweep(Fade, load(tmp_path / "data", ether()), enter=[0.0002, 0.0003, 0.0006], exit=[0.0, 0.0002])
    assert "Sharpe by exit (down) and enter (across)" in repr(swept)
    swept.report(tmp_path / "sweep.html")
    assert {"odds", "maps", "parallel", "distribution", "equity", "table", "invalid", "data"} <= set(
        Page((tmp_path / "sweep.html").read_text(encoding="utf-8")).ids
    )
    swept.to_json(tmp_path / "sweep.json")
    document = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    assert [one["parameters"] for one in document["combinations"]] == swept.combinations
    assert len(document["invalid"]) == 1
    assert swept.heat_map("enter", "exit").get_xlabel() == "enter"


# ---------------------------------------------------------------- a search


def looked_for(values: list[float]) -> Search:
    """A search whose trials gave these values."""
    facts = {name: value for name, value in vars(small()).items() if name in {one.name for one in fields(Search)}}
    history = pd.DataFrame({"value": values, "best": pd.Series(values).cummax().ffill(), "state": "complete", "why": ""})
    search = object.__new__(Search)
    search.__dict__.update(facts | {"by": "excess_sharpe", "history": history, "luck": small().luck, "study": None})
    return search


def test_a_search_tells_its_trials() -> None:
    search = looked_for([0.5, math.nan, 2.0, 1.0])
    figure = sweep_lines.history_figure(search)
    marks = {line.get_label(): np.asarray(line.get_ydata(), dtype=float) for line in figure.axes[0].lines}
    assert marks["best so far"].tolist() == [0.5, 0.5, 2.0, 2.0]
    assert len(marks["refused, or without a value"]) == 1
    assert "by luck alone" in " ".join(texts(figure))
    assert sweep_lines.describe_history(search) == "Sharpe over cash of 4 trials in their order; the best, 2.00, was found in trial 3."
    assert sweep_lines.describe_history(looked_for([math.nan])) == "1 trials, none of them with a value."
    page = Page(render_sweep_page(search))
    assert "search" in page.ids
    assert "Search of PremiumCarry" in page.text
    assert "search" not in Page(render_sweep_page(only_one_valid())).ids
    assert "Search of PremiumCarry" in render_sweep(search)


def test_values_drawn_from_a_range_stand_alone_unless_they_are_few_whole_numbers() -> None:
    values: dict[str, Any] = {"hold": Range(1, 3, whole=True), "enter": Range(0.02, 0.3)}
    sweep = made(values, lambda one: one["enter"], tried=combinations(values, sample=40, method="random", seed=1))
    assert not ruler_of(sweep, "hold").drawn
    assert ruler_of(sweep, "enter").drawn
    assert "(across)" in render_sweep(sweep), "40 values across fit"


# ---------------------------------------------------------------- walk-forward


def walked(windows: int = 6, cash: tuple[int, ...] = (), drawn: bool = False, simulated: bool = True) -> Any:
    """A walk-forward made up: in training Sharpe 2 and 10 % a year, in the tests Sharpe 0.5."""
    draw = np.random.default_rng(0)
    varied: dict[str, Any] = {
        "enter": Range(0.02, 0.3, log=True) if drawn else [0.05, 0.1, 0.15],
        "max_hold": ["1D", "7D", None],
        "size": [1.0],
    }
    tried = combinations(varied, sample=90 if drawn else None, method="random" if drawn else "grid")
    index = pd.RangeIndex(1, windows + 1, name="window")

    def row(sharpe: float) -> dict[str, float]:
        return {
            "annual_return": 0.05 * sharpe,
            "annual_volatility": 0.04,
            "sharpe": sharpe,
            "excess_sharpe": sharpe,
            "sortino": sharpe,
            "calmar": sharpe,
            "max_drawdown": 0.03,
        }

    begin = pd.Timestamp("2024-01-01", tz="UTC")
    rows, chosen = [], []
    for number in range(windows):
        start = begin + pd.Timedelta(days=30 * number)
        idle = number + 1 in cash
        rows.append(
            {
                "train_start": start - pd.Timedelta(days=90), "train_end": start - pd.Timedelta(days=7), "test_start": start, "test_end": start + pd.Timedelta(days=30),
                "combinations": len(tried), "in_sample": math.nan if idle else 2.0, "out_of_sample": math.nan if idle else 0.5, "best_in_test": 3.0, "capital": 1e5, "equity": 1e5 + number,
                "rank_correlation": 0.2, "beaten": math.nan if idle else 0.6, "cash": "nothing traded" if idle else "",
            }
        )  # fmt: skip
        one = tried[number % len(tried)]
        chosen.append({name: None if idle else labelled(one[name]) for name in varied})
    clock = pd.date_range(begin, periods=30 * windows + 1, freq="D")
    statistics = {"in_sample": row(2.0), "out_of_sample": row(0.5), "hindsight": row(3.0), "whole_period": row(2.5)}
    daily = 1e5 * np.cumprod(1.0 + 0.002 * draw.normal(size=(len(tried), 60)), axis=1)
    return SimpleNamespace(
        strategy="PremiumCarry", by="excess_sharpe", train=pd.Timedelta("90D"), test=pd.Timedelta("30D"), embargo=pd.Timedelta("7D"), expanding=False, varied=varied, fixed={"leverage": 2},
        combinations=tried, windows=pd.DataFrame(rows, index=index), chosen=pd.DataFrame(chosen, index=index, dtype=object), in_sample=pd.DataFrame([row(2.0)] * windows, index=index),
        out_of_sample=pd.DataFrame([row(0.5)] * windows, index=index), best_in_test=pd.DataFrame([row(3.0)] * windows, index=index), equity=pd.Series(1e5 + 10.0 * np.arange(len(clock)), index=clock),
        hindsight=pd.Series(1e5 + 30.0 * np.arange(len(clock)), index=clock), dataset=DatasetInfo("sample", "ab12" * 16, simulated=simulated, path="sample"), capital=1e5, quote="USDT",
        notes=["A note."], trials=100, luck=luck_of(np.asarray(daily, dtype=np.float64), tried), statistics=pd.DataFrame.from_dict(statistics, orient="index"), efficiency=0.25, rank_correlation=0.2,
    )  # fmt: skip


def test_the_promise_grows_at_the_rate_of_each_training() -> None:
    forward = walked(2)
    forward.in_sample["annual_return"] = [0.10, 0.20]
    promise = forward_figures.promise(forward)
    assert promise[0] == 1e5
    assert promise[30] == pytest.approx(1e5 * 1.1 ** (30 / 365))
    assert promise[60] == pytest.approx(1e5 * 1.1 ** (30 / 365) * 1.2 ** (30 / 365))
    idle = walked(2, cash=(2,))
    assert forward_figures.promise(idle)[60] == forward_figures.promise(idle)[30], "cash promises nothing"
    forward.in_sample["annual_return"] = [math.inf, 0.20]
    assert np.isnan(forward_figures.promise(forward)[1:]).all()


def test_the_windows_show_what_was_chosen_and_what_came_of_it() -> None:
    forward = walked(6, cash=(3,))
    figure = forward_figures.stability_figure(forward)
    above, enter, hold = figure.axes
    marks = {line.get_label(): np.asarray(line.get_ydata(), dtype=float) for line in above.lines}
    assert np.nanmax(marks["in sample (promised)"]) == 2.0
    assert np.nansum(marks["out of sample (kept)"]) == 2.5
    assert np.isnan(marks["in sample (promised)"][2])
    levels = [float(np.asarray(line.get_ydata())[0]) for line in hold.lines if line.get_linewidth() == 3.0]
    assert levels == [0.0, 1.0, 0.0, 1.0, 2.0], "the third window chose nothing"
    assert [one.get_text() for one in hold.get_yticklabels()] == ["1D", "7D", "none"]
    assert enter.get_title(loc="left") == "enter"
    assert "size" not in texts(figure), "what has one value is no choice"


def test_a_window_far_from_all_others_does_not_squeeze_them() -> None:
    forward = walked(10)
    forward.windows["out_of_sample"] = [0.1 * number for number in range(9)] + [300.0]
    figure = forward_figures.stability_figure(forward)
    assert figure.axes[0].get_ylim()[1] < 12.0
    assert "Sharpe over cash of what was chosen, in training and in its test; 1 farther out than the axis, at its edge" in texts(figure)
    assert forward_figures.visible(np.array([1.0, 900.0])) == (-math.inf, math.inf)


def test_the_stitched_equity_stands_beside_its_promise() -> None:
    figure = forward_figures.stitched_figure(walked())
    assert {"out of sample", "promised in sample", "best of each test, known late", "SIMULATED DATA"} <= set(texts(figure))
    assert "promised in sample 104,812.44;" in forward_figures.describe_stitched(walked())


@pytest.mark.parametrize(
    "forward", [walked(), walked(1), walked(70, drawn=True), walked(5, cash=(1, 2, 3, 4, 5))], ids=["six", "one", "seventy", "cash"]
)
def test_a_walk_forward_has_a_page_and_json(forward: Any, tmp_path: Path) -> None:
    written = told.write_forward(forward, tmp_path / "forward.html").read_text(encoding="utf-8")
    page = Page(written)
    assert len(set(page.ids)) == len(page.ids)
    assert all(one.startswith("#") and one[1:] in page.ids for one in page.references)
    assert all(one.startswith("SIMULATED data. ") for one in page.labels)
    assert len(page.labels) == 2
    assert {"kept", "equity", "stability", "windows", "luck", "data"} <= set(page.ids)
    assert "Out of sample the Sharpe ratio was 0.50, where training had promised 2.00: 25% of it." in page.text
    assert len(page.rows) == 5 + len(forward.windows) + 1


def test_real_data_bear_no_mark() -> None:
    assert "SIMULATED" not in told.render_forward_page(walked(simulated=False))
    assert "SIMULATED" not in render_sweep_page(small(simulated=False))
    assert "SIMULATED" not in render_sweep(small(simulated=False))


def split(count: int = 45) -> Any:
    """Combinatorial paths made up."""
    sweep = small()
    draw = np.random.default_rng(1)
    days = sweep.daily.index[1:]
    returns = pd.DataFrame(0.001 * draw.normal(size=(len(days), 9)), index=days)
    splits = pd.DataFrame(
        {
            "tests": [(1, 2)] * count, "training": 40, "chosen": pd.Series([(0.2, 0.02)] * (count - 1) + [None], dtype=object), "in_sample": 2.0, "out_of_sample": 0.1, "beaten": 0.5,
            "rank_correlation": 0.1,
        }
    )  # fmt: skip
    sharpes = returns.mean() / returns.std(ddof=1) * math.sqrt(365.0)
    found = {
        "mean": float(sharpes.mean()),
        "median": 0.0,
        "deviation": 1.0,
        "least": float(sharpes.min()),
        "most": float(sharpes.max()),
        "below_zero": 0.4,
    }
    groups = pd.DataFrame({"first": days[:10], "last": days[:10]})
    return SimpleNamespace(
        sweep=sweep, groups=groups, tests=2, embargo=1, splits=splits, returns=returns, notes=["A note."], sharpes=sharpes, equity=1e5 * (1.0 + returns).cumprod(),
        distribution=found, promised=2.0, below_median=0.4, rank_correlation=0.1, dataset=sweep.dataset, luck=sweep.luck,
    )  # fmt: skip


@pytest.mark.parametrize("count", [45, 300])
def test_combinatorial_paths_have_a_page_and_json(count: int, tmp_path: Path) -> None:
    paths = split(count)
    page = Page(told.write_combinatorial(paths, tmp_path / "paths.html").read_text(encoding="utf-8"))
    assert {"paths", "splits", "luck", "data"} <= set(page.ids)
    assert len(page.rows) == 1 + min(count, 200)
    assert ("The first 100 and the last 100 of 300" in page.text) == (count == 300)
    assert "in cash" in page.text
    assert page.labels[0].startswith("SIMULATED data. 9 paths of 60 days.")
    document = json.loads(told.write_combinatorial_json(paths, tmp_path / "paths.json").read_text(encoding="utf-8"))
    assert len(document["splits"]) == count
    assert np.shape(document["daily"]["paths"]) == (9, 60)
    written = texts(forward_figures.paths_figure(paths))
    assert {"promised in sample, 2.00", "Equity of 9 paths, USDT", "median"} <= set(written)


def test_paths_that_are_nearly_alike_are_bars_that_can_be_seen() -> None:
    paths = split()
    paths.sharpes = pd.Series([10.66, 10.70, 10.71])
    paths.promised = 11.2
    low, high = forward_figures.paths_figure(paths).axes[1].get_xlim()
    assert 10.0 < low < high < 12.0
