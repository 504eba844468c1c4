"""Plots for notebooks: what is drawn equals the tables, an Axes that is given comes back and nothing else is touched, and every mistake has its sentence."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from markets import ether, load
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from report_fixture import make_run

import backtest as bt
from backtest.errors import DataError, ParameterError
from backtest.market import Market
from backtest.report import figures, style
from backtest.report.canvas import BEHIND
from backtest.report.curves import curves_of
from backtest.report.plots import EQUITY, values_of
from backtest.report.summary import drawdown, monthly_returns

Plot = Callable[[Axes | None], Axes]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """No figure stays open, whatever a test draws."""
    mpl.use("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("plots"), ether())


@pytest.fixture(scope="module")
def result(market: Market) -> Any:
    return carry(market, "1D")


def carry(market: Market, hold: str, **more: Any) -> Any:
    return bt.run(bt.Rule(long=market.spot, short=market.perpetual, max_hold=hold), market, **more)


@dataclass(frozen=True, kw_only=True)
class Gated(bt.Strategy):
    """Spot against the perpetual while it pays more than a threshold."""

    enter: float = bt.param(0.0005, "open above")
    exit: float = bt.param(0.0003, "close below")
    max_hold: str = bt.param("2D", "close after")

    def rule(self, market: Market) -> bt.Rule:
        """Spot against the perpetual."""
        signal = bt.premium(market, market.perpetual, market.spot)[0]
        return bt.Rule(long=market.spot, short=market.perpetual, signal=signal, enter=self.enter, exit=self.exit, max_hold=self.max_hold)


@pytest.fixture(scope="module")
def sweep(market: Market) -> Any:
    return bt.sweep(Gated, market, enter=[0.0004, 0.0005, 0.0006], exit=[0.0, 0.0001, 0.0002], max_hold=["1D", "2D"])


@pytest.fixture(scope="module")
def plots(market: Market, result: Any, sweep: Any) -> dict[str, Plot]:
    """Every plot, as one draws it."""
    run = make_run(trades=20, last_open=True, liquidation=True)
    return {
        "equity": lambda ax: bt.plot_equity({"one": result, "other": carry(market, "2D")}, ax),
        "result": lambda ax: result.plot(ax),
        "sweep": lambda ax: bt.plot_equity(sweep, ax),
        "drawdown": lambda ax: bt.plot_drawdown(result, ax),
        "premium": lambda ax: bt.plot_premium(run, ax),
        "market": lambda ax: bt.plot_premium(market, ax),
        "term structure": lambda ax: bt.plot_term_structure(market, None, ax),
        "areas": lambda ax: bt.plot_attribution(run, ax),
        "waterfall": lambda ax: bt.plot_attribution(run, ax, kind="waterfall"),
        "years": lambda ax: bt.plot_attribution(run, ax, kind="years"),
        "exposure": lambda ax: bt.plot_exposure(result, ax),
        "months": lambda ax: bt.plot_heatmap(run, ax),
        "map": lambda ax: bt.plot_heatmap(sweep, ax),
    }


NAMES = (
    "equity",
    "result",
    "sweep",
    "drawdown",
    "premium",
    "market",
    "term structure",
    "areas",
    "waterfall",
    "years",
    "exposure",
    "months",
    "map",
)
EVERY = pytest.mark.parametrize("name", NAMES)


def curves(axes: Axes) -> list[Any]:
    """The lines of equity or drawdown that are told apart."""
    return [line for line in axes.lines if line.get_gid() == EQUITY]


def drawn(axes: Axes) -> Figure:
    """The whole figure of an Axes, drawn."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    return figure


# ---------------------------------------------------------------- an Axes of one's own, and one that is given


def test_every_plot_is_in_these_tests(plots: dict[str, Plot]) -> None:
    assert tuple(plots) == NAMES


@EVERY
def test_an_axes_that_is_given_comes_back_and_no_figure_is_made(plots: dict[str, Plot], name: str) -> None:
    figure = Figure(figsize=(8, 4))
    one, other = figure.subplots(1, 2)
    before = dict(mpl.rcParams)
    assert plots[name](one) is one
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []
    assert figure.axes == [one, other], "no further axes"
    assert [figure.legends, figure.texts, list(other.lines), other.get_title(), figure.get_suptitle()] == [[], [], [], "", ""]
    assert tuple(figure.get_size_inches()) == (8, 4)
    assert one.get_title()
    drawn(one)


@EVERY
def test_without_an_axes_it_is_one_white_pyplot_figure(plots: dict[str, Plot], name: str) -> None:
    before = dict(mpl.rcParams)
    with plt.style.context("dark_background"):
        axes = plots[name](None)
    assert dict(mpl.rcParams) == before
    assert len(plt.get_fignums()) == 1
    assert axes.figure is plt.gcf()
    assert to_hex(drawn(axes).get_facecolor()) == "#ffffff"
    assert axes.get_title()


@EVERY
def test_made_up_data_are_marked_and_others_are_not(plots: dict[str, Plot], name: str, market: Market) -> None:
    axes = plots[name](None)
    made_up = name in (
        "premium",
        "areas",
        "waterfall",
        "years",
        "months",
    )  # of the made-up run; the market of these tests claims to be real
    assert any(text.get_text() == "SIMULATED DATA" for text in axes.figure.texts) == (made_up or market.info.simulated)
    given = plots[name](Figure().add_subplot())
    assert [text.get_text() for text in given.texts].count("SIMULATED") == (made_up or market.info.simulated)


@EVERY
@pytest.mark.parametrize(("size", "layout"), [((6.4, 4.8), None), ((11.0, 8.0), "constrained"), ((4.0, 3.0), "single")])
def test_nothing_leaves_its_place_in_a_grid(plots: dict[str, Plot], name: str, size: tuple[float, float], layout: str | None) -> None:
    """Four on one figure: no title reaches into another axes' labels, no legend leaves its axes, no text the figure."""
    figure = Figure(figsize=size, layout="constrained" if layout == "constrained" else None)
    panels = [figure.add_subplot()] if layout == "single" else list(figure.subplots(2, 2).flat)
    for axes in panels:
        plots[name](axes)
    paper = FigureCanvasAgg(figure)
    paper.draw()  # type: ignore[no-untyped-call]
    renderer = paper.get_renderer()  # type: ignore[no-untyped-call]
    titles = [axes.title.get_window_extent(renderer) for axes in panels]
    for axes, title in zip(panels, titles, strict=True):
        labels = [
            text.get_window_extent(renderer)
            for other in panels
            for text in (*other.get_xticklabels(), other.xaxis.label)
            if text.get_text()
        ]
        assert not [label for label in labels if label.overlaps(title)], f"{axes.get_title()} stands on labels"
        assert figure.bbox.x0 <= title.x0
        assert title.x1 <= figure.bbox.x1
        assert title.y1 <= figure.bbox.y1
        legend = axes.get_legend()
        if legend is not None and name != "map":
            box, place = legend.get_window_extent(renderer), axes.get_window_extent(renderer)
            assert place.x0 - 2 <= box.x0
            assert box.x1 <= place.x1 + 2, "the legend is wider than its axes"
            assert place.y0 <= box.y0 < box.y1 <= place.y1 + 2
    assert not any(one.overlaps(other) for place, one in enumerate(titles) for other in titles[:place])


def test_a_legend_within_the_axes_hides_no_data(result: Any) -> None:
    axes = Figure(figsize=(4, 3)).add_subplot()
    bt.plot_equity(dict.fromkeys("abcdef", result), axes)
    drawn(axes)
    legend, highest = axes.get_legend(), max(values_of(line)[1].max() for line in curves(axes))
    assert legend is not None
    assert legend.get_window_extent().y0 >= axes.transData.transform((0.0, highest))[1]


def test_a_title_is_cut_to_the_width_of_its_axes(result: Any) -> None:
    run = make_run(trades=3)
    run.strategy = "A strategy with a name that goes on and on"
    axes = bt.plot_equity(run, Figure(figsize=(4, 3)).add_subplot())
    assert axes.get_title() == "Equity, USDT"
    assert drawn(axes) is axes.figure
    assert axes.title.get_window_extent().width <= axes.get_window_extent().width
    assert bt.plot_equity(run).get_title() == "A strategy with a name that goes on and on: equity, USDT"


def test_a_title_set_afterwards_takes_the_place_of_ours(result: Any) -> None:
    axes = result.plot()
    axes.set_title("mine")
    assert [axes.get_title(loc=place) for place in ("left", "center", "right")] == ["", "mine", ""]


def test_on_a_dark_ground_the_tones_are_those_of_dark_pages(result: Any) -> None:
    with plt.style.context("dark_background"):
        axes = bt.plot_equity(result, plt.subplots()[1])
    assert to_hex(curves(axes)[0].get_color()) == style.COLOURS["blue"][1]
    assert to_hex(axes.title.get_color()) == style.COLOURS["ink"][1]
    assert to_hex(curves(result.plot(plt.subplots()[1]))[0].get_color()) == style.COLOURS["blue"][0]
    assert style.colour("blue") == style.COLOURS["blue"][0], "the tones are light again"


# ---------------------------------------------------------------- equity


def test_the_line_of_equity_is_the_equity(result: Any) -> None:
    axes = bt.plot_equity(result)
    (line,) = curves(axes)
    times, values = values_of(line)
    assert len(result.equity) < style.POINTS, "nothing is thinned here"
    assert values.tolist() == [result.capital, *result.equity]
    assert times[0] == figures.days_since_1970(result.start)
    assert times[-1] == figures.days_since_1970(result.end)
    assert axes.get_title() == f"{result.strategy}: equity, {result.quote}"


def test_long_equity_keeps_its_extremes() -> None:
    run = make_run(bars=6 * 365 * 24, trades=5)
    (line,) = curves(bt.plot_equity(run))
    values = values_of(line)[1]
    assert len(values) <= style.POINTS
    assert (values.max(), values.min()) == (max(run.equity.max(), run.capital), min(run.equity.min(), run.capital))


def test_curves_of_everything_that_holds_some(market: Market, result: Any, tmp_path: Path) -> None:
    other, path = carry(market, "2D"), tmp_path / "run.json"
    result.to_json(path)
    book = bt.run([Gated(), Gated(enter=0.0006)], market)
    cases: list[tuple[Any, list[str]]] = [
        (result, [result.strategy]),
        (book, [book.strategy]),
        ({"a": result, "b": other.equity, "c": str(path), "d": path}, ["a", "b", "c", "d"]),
        ([result, other], ["Rule max_hold=1D", "Rule max_hold=2D"]),
        ((result, other.equity.rename("own"), other.equity.rename("own")), [result.strategy, "own", "own 2"]),
        (bt.compare(result, other, names=["x", "y"]), ["x", "y"]),
        (pd.DataFrame({"left": result.equity, "right": other.equity}), ["left", "right"]),
        (result.equity.tz_localize(None), ["equity"]),
    ]
    for source, names in cases:
        assert [line.get_label() for line in curves(bt.plot_equity(source))] == names
        plt.close("all")


def test_a_list_is_named_as_a_comparison_names_it(market: Market) -> None:
    runs = [bt.run(Gated(enter=value), market) for value in (0.0004, 0.0006)]
    assert [line.get_label() for line in curves(bt.plot_equity(runs))] == list(bt.compare(*runs).runs)


def test_other_capitals_are_growth_of_one(market: Market, result: Any) -> None:
    axes = bt.plot_equity([result, carry(market, "2D", capital=500.0)])
    assert axes.get_title() == "Equity, growth of 1"
    assert values_of(curves(axes)[0])[1][1:].tolist() == (result.equity / result.capital).tolist()
    assert values_of(curves(axes)[1])[1][0] == 1.0


def test_the_axis_is_logarithmic_where_equity_multiplied() -> None:
    index = pd.date_range("2024-01-01", periods=5, freq="D", tz="UTC")
    slow, fast = pd.Series([100.0, 110, 120, 130, 140], index), pd.Series([100.0, 200, 400, 800, 1600], index)
    assert bt.plot_equity(slow).get_yscale() == "linear"
    assert bt.plot_equity(fast).get_yscale() == "log"
    assert bt.plot_equity(fast, log=False).get_yscale() == "linear"
    assert bt.plot_equity(slow, log=True).get_yscale() == "log"
    assert bt.plot_equity(fast - 200).get_yscale() == "linear", "what falls below nothing has no logarithm"


def test_a_second_plot_on_the_same_axes_goes_on(market: Market, result: Any) -> None:
    axes = bt.plot_equity({"one": result})
    bt.plot_equity({"two": carry(market, "2D")}, axes)
    one, two = curves(axes)
    assert one.get_color() != two.get_color()
    (legend,) = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]


def test_twenty_four_curves_differ_and_are_all_named() -> None:
    index = pd.date_range("2024-01-01", periods=5, freq="D", tz="UTC")
    table = pd.DataFrame({f"number {place}": np.arange(1.0, 6.0) + 100 + place / 100 for place in range(24)}, index)
    axes = bt.plot_equity(table)
    looks = {(line.get_color(), str(line.get_linestyle()), str(line._dash_pattern)) for line in curves(axes)}
    assert len(looks) == 24
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == list(table)
    small = bt.plot_equity(table, Figure(figsize=(3, 2.2)).add_subplot())
    legend = small.get_legend()
    assert legend is not None
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts[-1] == f"… and {24 - len(texts) + 1} more"


def test_a_point_is_seen() -> None:
    (line,) = curves(bt.plot_equity(pd.Series([100.0], pd.DatetimeIndex(["2024-01-01"]))))
    assert line.get_marker() == "o"


def test_a_sweep_shows_the_best_before_a_cloud_and_with_the_odds(sweep: Any) -> None:
    axes = bt.plot_equity(sweep)
    chosen = sweep.daily.iloc[:, sweep.luck.chosen]
    first = curves(axes)[0]
    assert values_of(first)[1].tolist() == chosen.tolist()
    assert first.get_label() == " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in sweep.best.parameters.items()
    )
    assert 1 <= len(curves(axes)) <= 5
    shown = [values_of(line)[1].tolist() for line in curves(axes)]
    assert len({tuple(values) for values in shown}) == len(shown), "curves that are the same stand once"
    (cloud,) = [line for line in axes.lines if line.get_gid() == BEHIND]
    assert cloud.get_label() == f"{sweep.daily.shape[1] - len(shown)} others"
    assert f"best of {sweep.trials}" in axes.get_title()
    assert "best by Sharpe over cash of" in axes.get_title()
    assert "deflated" in bt.plot_equity(sweep, Figure(figsize=(4, 3)).add_subplot()).get_title(), "however small, not without odds"


def test_combinations_that_trade_alike_are_one_curve(market: Market) -> None:
    alike = bt.sweep(Gated, market, enter=[0.0005, 0.00050000001, 0.0006])
    different = {tuple(alike.daily.iloc[:, place]) for place in range(3)}
    assert len(different) == 2, "the first two trade alike"
    assert len(curves(bt.plot_equity(alike))) == 2


def test_drawdown_is_the_fall_from_the_peak(result: Any) -> None:
    (line,) = curves(bt.plot_drawdown(result))
    assert values_of(line)[1][1:].tolist() == drawdown(result).tolist()


# ---------------------------------------------------------------- the other plots


def test_the_premium_of_a_run_has_its_entries_and_exits() -> None:
    run = make_run(trades=30, last_open=True, liquidation=True)
    axes = bt.plot_premium(run)
    counts = {"entry": 30, **run.trades["reason"].value_counts().to_dict()}
    assert {line.get_label(): len(values_of(line)[0]) for line in axes.lines if not str(line.get_label()).startswith("_")} == counts


def test_many_trades_are_rows_below_the_premium() -> None:
    run = make_run(bars=6 * 365 * 24, trades=5000)
    axes = bt.plot_premium(run)
    labels = [str(line.get_label()) for line in axes.lines if not str(line.get_label()).startswith("_")]
    assert labels[0] == "entry 5,000"
    assert len(labels) == 1 + run.trades["reason"].nunique()
    assert min(axes.get_yticks()) >= float(run.premium.min()) - 0.05, "no figure of the premium beside the rows"  # type: ignore[union-attr]
    drawn(axes)


def test_the_premium_of_a_market_is_its_indicator_or_the_perpetual(market: Market) -> None:
    indicator = values_of(bt.plot_premium(market).lines[1])[1]
    np.testing.assert_array_equal(indicator, bt.premium_indicator(market, market.future_chain(), market.spot))
    alone = market.only("*SPOT", "*PERP")
    axes = bt.plot_premium(alone)
    np.testing.assert_array_equal(values_of(axes.lines[1])[1], bt.premium(alone, alone.perpetual, alone.spot)[0])
    assert "PERP over" in axes.get_title()


def test_the_term_structure_is_the_annualized_premium_of_each_contract(market: Market) -> None:
    bar = 60
    table = bt.annualized_premium(market, market.future_chain(), market.spot)[:, bar]
    axes = bt.plot_term_structure(market, market.clock[bar])
    marks = next(line for line in axes.lines if line.get_linestyle() == "None")
    assert values_of(marks)[1].tolist() == pytest.approx(table[np.isfinite(table)].tolist(), rel=1e-12)
    several = bt.plot_term_structure(market, [market.clock[30], market.clock[bar].isoformat()])
    assert len([line for line in several.lines if line.get_linestyle() == "None"]) == 2
    assert bt.plot_term_structure(market).get_title() == bt.plot_term_structure(market, market.clock[-1]).get_title()


def test_attribution_adds_up_in_each_kind() -> None:
    run = make_run(trades=20, liquidation=True)
    gain = float(run.equity.iloc[-1] - run.capital)
    line = next(line for line in bt.plot_attribution(run).lines if line.get_label() == "equity less capital")
    assert values_of(line)[1][-1] == pytest.approx(gain)
    waterfall = bt.plot_attribution(run, kind="waterfall")
    assert sum(bar.get_height() for bar in waterfall.patches) == pytest.approx(gain)  # type: ignore[attr-defined]
    sums = next(line for line in bt.plot_attribution(run, kind="years").lines if line.get_label() == "sum")
    assert values_of(sums)[1].sum() == pytest.approx(gain)


def test_exposure_is_that_of_the_table(result: Any) -> None:
    axes = bt.plot_exposure(result)
    gross = next(line for line in axes.lines if str(line.get_label()).startswith("gross"))
    np.testing.assert_allclose(np.nanmax(values_of(gross)[1]), result.exposure["gross"].max())


def test_months_have_their_returns_written_in() -> None:
    run = make_run(bars=24 * 400, trades=10)
    table = monthly_returns(run)
    texts = [text.get_text() for text in bt.plot_heatmap(run).texts]
    assert len(texts) == table.notna().to_numpy().sum()
    assert texts[0] == f"{100 * table.iloc[0].dropna().iloc[0]:.1f}".replace("-", "−")


def test_a_sweep_is_mapped_over_its_first_two_parameters_or_those_asked_for(sweep: Any) -> None:
    axes = bt.plot_heatmap(sweep)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("exit", "enter")
    assert "Chosen is the best of" in axes.get_title()
    turned = bt.plot_heatmap(sweep, x="max_hold", by="trades", at={"enter": 0.0005})
    assert (turned.get_xlabel(), turned.get_ylabel()) == ("max_hold", "exit")
    assert turned.get_title().startswith("Trades")
    small = bt.plot_heatmap(sweep, Figure(figsize=(3, 2.2)).add_subplot())
    assert "deflated" in small.get_title(), "however small, not without odds"


def test_runs_without_trades_are_drawn(market: Market) -> None:
    run = make_run(trades=0)
    for plot in (bt.plot_equity, bt.plot_drawdown, bt.plot_premium, bt.plot_attribution, bt.plot_heatmap):
        drawn(plot(run))
    for kind in ("waterfall", "years"):
        drawn(bt.plot_attribution(run, kind=kind))
    idle = bt.run(Gated(enter=9.0), market)
    drawn(bt.plot_exposure(idle))


def test_tuned_and_stressed_runs_have_curves(market: Market, sweep: Any, result: Any) -> None:
    found = curves_of(bt.stress(result, scenarios=["gap=0.1"]))
    assert [line.name for line in found.lines] == ["base", "gap=0.1"]


@pytest.mark.parametrize("kind", ["waterfall", "years"])
def test_a_second_attribution_on_a_small_axes_leaves_what_stands_there(kind: str) -> None:
    axes = Figure(figsize=(3, 2.2)).add_subplot()
    axes.text(0.1, 0.1, "mine")
    bt.plot_attribution(make_run(trades=6), axes, kind=kind)
    bt.plot_attribution(make_run(trades=6, liquidation=True), axes, kind=kind)
    drawn(axes)
    assert [text.get_text() for text in axes.texts].count("mine") == 1


@pytest.mark.parametrize("factor", [1.2, 4.0, 60.0])
def test_a_logarithmic_axis_has_ticks_however_little_it_spans(factor: float) -> None:
    index = pd.date_range("2024-01-01", periods=50, freq="D", tz="UTC")
    axes = bt.plot_equity(pd.Series(np.linspace(1000.0, 1000.0 * factor, 50), index), log=True)
    drawn(axes)
    low, high = axes.get_ylim()
    assert len([tick for tick in axes.get_yticks() if low <= tick <= high]) >= 3
    assert not [text.get_text() for text in axes.get_yticklabels(minor=True) if text.get_text()]


def test_liquidations_are_named_on_any_axes_of_a_figure() -> None:
    run = make_run(trades=9, liquidation=True)
    axes = Figure(figsize=(9, 4)).subplots(1, 2)
    legend = bt.plot_exposure(run, axes[1]).get_legend()
    assert legend is not None
    assert "1 liquidation" in [text.get_text() for text in legend.get_texts()]


def test_the_margin_is_told_as_a_share_of_the_account() -> None:
    run = make_run(trades=9)
    assert bt.plot_exposure(run).get_title().endswith("exposure, % of equity; margin, % of the account")
    run.exposure["margin_use"] = 0.0
    assert bt.plot_exposure(run).get_title().endswith("exposure, % of equity")


# ---------------------------------------------------------------- mistakes


def refused(match: str, call: Callable[[], Any], kind: type[Exception] = ParameterError) -> None:
    """The call raises one sentence with these words, and leaves no figure open."""
    with pytest.raises(kind, match=re.escape(match)) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert plt.get_fignums() == []


def test_what_holds_no_equity_is_refused(market: Market, result: Any, sweep: Any, tmp_path: Path) -> None:
    refused("equity can't be drawn of a Gated: it has not been run; give the result of bt.run(…, market)", lambda: bt.plot_equity(Gated()))
    refused("it has not been run", lambda: bt.plot_equity({"a": Gated}))
    refused(
        "a market is no run; give the result of bt.run(strategy, market), or use bt.plot_premium(market)", lambda: bt.plot_equity(market)
    )
    refused("numbers alone have no times; give a pandas Series with its index of times", lambda: bt.plot_equity(result.equity.to_numpy()))
    refused("equity can't be drawn of None: give a result of bt.run", lambda: bt.plot_equity(None))
    refused("needs at least one curve: it got none", lambda: bt.plot_equity([]))
    refused("at most 24 curves apart: it got 25; choose some of them", lambda: bt.plot_equity([result] * 25))
    refused('the index of "x" is of int64; give it an index of times', lambda: bt.plot_equity(pd.Series([1.0, 2.0], name="x")))
    refused("a row of a sweep's table holds statistics; its equity is sweep.daily[label]", lambda: bt.plot_equity(sweep.table.iloc[0]))
    days = pd.date_range("2024-01-01", periods=2)
    refused('equity must be numbers: "x" is of', lambda: bt.plot_equity(pd.Series(["a", "b"], days, name="x")))
    refused('"x" has none in 2 rows; leave it out', lambda: bt.plot_equity(pd.Series([np.nan, np.nan], days, name="x")))
    path = tmp_path / "other.json"
    path.write_text(json.dumps({}), encoding="utf-8")
    refused("this is no run's JSON", lambda: bt.plot_drawdown(path), DataError)


def test_what_begins_with_nothing_has_no_growth_and_no_drawdown(result: Any) -> None:
    days = pd.date_range("2024-01-01", periods=3, tz="UTC")
    pnl, lost = pd.Series([0.0, 5.0, 3.0], days, name="pnl"), pd.Series([-2.5, 5.0, 3.0], days, name="lost")
    words = 'equity must begin above 0: "pnl" begins with 0; add the capital to a PnL'
    refused(words, lambda: bt.plot_drawdown(pnl))
    refused(words, lambda: bt.plot_drawdown({"run": result, "pnl": pnl}))
    refused(words, lambda: bt.plot_equity([result, pnl]))
    refused('"lost" begins with -2.5; add the capital to a PnL', lambda: bt.plot_drawdown(lost))
    figure = Figure()
    axes = figure.add_subplot()
    refused(words, lambda: bt.plot_drawdown(pnl, axes))
    assert not axes.lines
    assert values_of(curves(bt.plot_equity(pnl))[0])[1].tolist() == [0.0, 5.0, 3.0], "alone it is cash"


def test_a_logarithm_of_nothing_is_refused(result: Any) -> None:
    fallen = pd.Series([1.0, -2.0], pd.date_range("2024-01-01", periods=2))
    refused(
        "a logarithmic axis needs equity above 0: it falls to -2.00; leave log out, or give log=False",
        lambda: bt.plot_equity(fallen, log=True),
    )
    refused("log must be True, False or None: log=yes; leave it out to have it chosen", lambda: bt.plot_equity(result, log="yes"))  # type: ignore[arg-type]


@EVERY
def test_an_axes_that_is_none_is_refused(plots: dict[str, Plot], name: str) -> None:
    axes: Any = Figure().subplots(2, 2)
    refused("ax must be one Axes: it is an array of 4; give one of them, as ax=axes.flat[0]", lambda: plots[name](axes))
    refused("ax must be a matplotlib Axes: ax=3; leave it out, or give one of plt.subplots()", lambda: plots[name](3))  # type: ignore[arg-type]
    round_one: Any = Figure().add_subplot(projection="polar")
    refused('ax must have plain axes: its projection is "polar"; make it without projection=…', lambda: plots[name](round_one))


def test_other_mistakes_have_their_sentences(market: Market, result: Any, sweep: Any) -> None:
    book = bt.run([Gated(), Gated(enter=0.0006)], market)
    label = next(iter(book.results))
    refused(
        f"has no premium to draw: a book has several; give one of its rules, as result.results[{label!r}]", lambda: bt.plot_premium(book)
    )
    unknown = make_run(trades=0)
    assert unknown.premium is not None
    unknown.premium[:] = np.nan
    refused("it is not known at any bar; give the market: bt.plot_premium(market)", lambda: bt.plot_premium(unknown))
    refused(
        "plot_premium needs a result of bt.run, or a market: it got 3; give a result of bt.run, or a market", lambda: bt.plot_premium(3)
    )
    refused("plot_attribution needs a result of bt.run: it got a Gated; it has not been run", lambda: bt.plot_attribution(Gated()))
    refused('unknown kind of attribution "year"; did you mean "years"?', lambda: bt.plot_attribution(result, kind="year"))
    refused("unknown kind of attribution \"['years']\"", lambda: bt.plot_attribution(result, kind=["years"]))  # type: ignore[arg-type]
    refused("plot_exposure needs a result of bt.run", lambda: bt.plot_exposure(sweep))
    refused("plot_heatmap needs a sweep, or a result of bt.run: it got 3", lambda: bt.plot_heatmap(3))
    refused(
        "the monthly returns of a run have nothing to choose: it got x; leave it out, or give a sweep",
        lambda: bt.plot_heatmap(result, x="enter"),
    )
    refused('unknown choice "bye" of a heat map: sharpe; did you mean "by"?', lambda: bt.plot_heatmap(sweep, bye="sharpe"))
    alone = bt.sweep(Gated, market, enter=[0.0004, 0.0005])
    refused("a heat map needs two parameters: the sweep varied enter only", lambda: bt.plot_heatmap(alone))
    refused("plot_term_structure needs a market: it got 3; give bt.load_market(…)", lambda: bt.plot_term_structure(3))


def test_times_and_markets_that_have_no_curve_are_refused(market: Market) -> None:
    refused('at must be a time like "2024-01-31"', lambda: bt.plot_term_structure(market, "noon"))
    refused(
        'a time of a term structure must be a date or a time: at=3; give a text, as "2023-03-01"', lambda: bt.plot_term_structure(market, 3)
    )
    refused("at must not lie before the market's first bar", lambda: bt.plot_term_structure(market, "1999-01-01"))
    refused("drawn at 1 to 8 times: it got 9; choose some of them", lambda: bt.plot_term_structure(market, [market.clock[5]] * 9))
    refused("drawn at 1 to 8 times: it got 0", lambda: bt.plot_term_structure(market, []))
    no_spot = market.only("*PERP")
    refused("needs one spot, and the market of", lambda: bt.plot_premium(no_spot), DataError)
    refused("has none among ETHUSDT-PERP; load one", lambda: bt.plot_premium(no_spot), DataError)
