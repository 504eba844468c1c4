"""What each section of the report shows, on made-up runs of which every number is known."""

import itertools
import json
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_fixture import Run, make_luck, make_run
from report_page import Page, column, figure_texts, value

from backtest.report import figures_detail, figures_risk, figures_trades, render_html, sections, style, summary, to_dict, write_json
from backtest.report import json as report_json
from backtest.report.sections_equity import equity_section, grows
from backtest.report.sections_liquidations import MOST_EVENTS, dearest
from backtest.report.sections_risk import exposure_section, luck_section, regimes_section, sensitivity_section
from backtest.report.sections_sources import funding_section, premium_section, term_structure_section
from backtest.report.sections_trades import trades_section

HOUR = pd.Timedelta("1h")


@pytest.fixture(scope="module")
def year() -> Run:
    return make_run(last_open=True, liquidation=True)


@pytest.fixture(scope="module")
def page(year: Run) -> str:
    return render_html(year)


def part(text: str, section: str) -> str:
    """The HTML of one section."""
    (found,) = re.findall(rf'<section id="{section}".*?</section>', text, flags=re.DOTALL)
    return str(found)


def grown(factor: float) -> Run:
    """A run without trades whose equity ends at so many times the capital, and was never lower than at the end or the beginning."""
    run = make_run(bars=48, trades=0)
    run.equity = pd.Series(run.capital * np.linspace(1.0, factor, 48), index=run.equity.index)
    return run


# ---------------------------------------------------------------- the first screen


def test_the_bars_of_the_first_screen_are_the_sources_in_groups(year: Run, page: str) -> None:
    shown = re.findall(
        r"<span>([^<]+)</span><i[^>]*><em class=\"(won|lost)\" style=\"--w:([\d.]+)\"></em></i><b>([^<]+)</b>", part(page, "summary")
    )
    last = year.attribution.iloc[-1]
    expected = {
        "interest on idle cash": last["idle_cash"],
        "price of both legs": last["price_long"] + last["price_short"],
        "funding": last["funding"],
        "fees, slippage, delivery": last["fees"] + last["slippage"] + last["settlement"],
        "liquidation": last["liquidation"],
    }
    assert {name: value(cash.lstrip("+")) for name, _, _, cash in shown} == {name: round(cash) for name, cash in expected.items()}
    longest = max(map(abs, expected.values()))
    for name, side, width, _ in shown:
        assert side == ("won" if expected[name] > 0 else "lost")
        assert float(width) == pytest.approx(100 * abs(expected[name]) / longest, abs=0.06)
    assert sum(figures_detail.cash_by_group(year).values()) == pytest.approx(summary.final_equity(year) - year.capital)


def test_a_figure_stands_once_and_beside_what_it_is_measured_by(page: str) -> None:
    cards = re.findall(r"<i>([^<]+)</i><b>([^<]+)</b>(?:<small>([^<]+)</small>)?", part(page, "summary"))
    names = [name for name, _, _ in cards]
    assert names[:6] == ["total return", "annual return", "Sharpe over cash", "max drawdown", "trades", "time in market"]
    assert len(names) == len(set(names))
    below = {name: small for name, _, small in cards}
    assert below["annual return"] == "T-bills 5.00%"
    assert below["max drawdown"] == "hold spot 2.00%"
    assert below["Sharpe over cash"].startswith("volatility 1.")
    assert below["total return"] == "1,000,000 → 1,021,065 USDT"
    assert not {"win rate", "average hold, days", "annual volatility", "Calmar", "Sortino"} & set(names), "told below another, or unknown"


# ---------------------------------------------------------------- equity


@pytest.mark.parametrize(("factor", "there"), [(1.05, False), (1.2, True), (0.5, True), (-0.5, False)])
def test_a_logarithmic_axis_is_offered_where_equity_moves_and_stays_above_nothing(factor: float, there: bool) -> None:
    run = grown(factor)
    assert grows(run) is there
    (block,) = equity_section(run).blocks
    assert block.name == ("choice" if there else "figure")


@pytest.mark.parametrize("factor", [1.15, 1.6, 4.0, 60.0])
def test_a_logarithmic_axis_has_ticks_however_little_it_spans(factor: float) -> None:
    log = figure_texts(part(render_html(grown(factor)), "equity"))[1]
    ticks = sorted({float(text.replace(",", "")) for text in re.findall(r">([\d,]{7,})</text>", log)})
    assert len(ticks) >= 3
    assert 0.7e6 < ticks[0] < ticks[-1] < 1.4e6 * factor


def test_the_axis_is_chosen_without_a_script_and_printed_linear() -> None:
    text = part(render_html(grown(2.0)), "equity")
    assert re.findall(r'<input type="radio" name="equity-axis" id="([^"]+)"( checked)?><label for="([^"]+)">(\w+)', text) == [
        ("equity-axis-1", " checked", "equity-axis-1", "linear"),
        ("equity-axis-2", "", "equity-axis-2", "log"),
    ]
    assert re.findall(r'<figure class="([^"]+)"', text) == ["option-1", "option-2"]
    sheet = (Path(style.__file__).parent / "style.css").read_text(encoding="utf-8")
    screen, paper = sheet.split("@media print {")
    assert ".choice .option-2, .choice input:nth-of-type(2):checked ~ .option-1 { display: none; }" in screen
    assert re.search(r"\.choice \.option-1, [^{]*:checked ~ \.option-1 \{ display: block; \}", paper)
    assert re.search(r"\.choice \.option-2, [^{]*:checked ~ \.option-2, [^{]*\{ display: none; \}", paper)


# ---------------------------------------------------------------- sources


def test_the_waterfall_leads_from_the_capital_to_the_final_equity(year: Run) -> None:
    axes = figures_detail.waterfall_figure(year).axes[0]
    bars = [container.patches[0] for container in axes.containers]
    steps = figures_detail.cash_by_group(year)
    assert [bar.get_height() for bar in bars] == pytest.approx(list(steps.values()))
    assert bars[0].get_y() == year.capital
    for before, after in itertools.pairwise(bars):
        assert after.get_y() == pytest.approx(before.get_y() + before.get_height())
    assert bars[-1].get_y() + bars[-1].get_height() == pytest.approx(summary.final_equity(year))
    assert [bool(bar.get_hatch()) for bar in bars] == [cash < 0 for cash in steps.values()]
    low, high = axes.get_ylim()
    assert all(low < text.xy[1] < high for text in axes.texts), "every figure has its place within the axes"


def test_the_stacks_of_the_years_are_the_years() -> None:
    run = make_run(bars=24 * 800, trades=20)
    table = figures_detail.cash_by_year(run)
    assert list(table.columns) == ["2023", "2024", "2025"]
    axes = figures_detail.years_figure(run).axes[0]
    heights = {str(stack.get_label()): [bar.get_height() for bar in stack.patches] for stack in axes.containers}
    assert {name: heights[str(name)] for name in table.index} == {name: pytest.approx(row.tolist()) for name, row in table.iterrows()}
    sums = [text.get_text() for text in axes.texts]
    assert [value(text.lstrip("+")) for text in sums] == pytest.approx(table.sum().round().tolist())
    assert "By year as a table" in render_html(run)
    assert "By year as a table" not in render_html(make_run(bars=24 * 10, trades=1)), "one year says nothing more"


def test_funding_by_month_is_the_ledger_month_by_month(year: Run) -> None:
    months = summary.funding_by_month(year)
    flows = year.attribution["funding"].diff().fillna(year.attribution["funding"].iloc[0])
    by_hand = flows.groupby((pd.DatetimeIndex(flows.index) - HOUR / 2).strftime("%Y-%m")).sum()
    assert months.tolist() == pytest.approx(by_hand.tolist())
    assert [str(month) for month in months.index] == by_hand.index.tolist()


def test_paid_funding_hangs_down_and_is_hatched() -> None:
    run = make_run(bars=24 * 59, trades=0)
    flows = np.zeros(run.bars)
    flows[[100, 24 * 31 + 100]] = 50.0, -20.0
    run.attribution["funding"] = np.cumsum(flows)
    axes = figures_detail.funding_figure(run).axes[0]
    bars = [bar for container in axes.containers for bar in container.patches]
    assert [(bar.get_height(), bool(bar.get_hatch())) for bar in bars] == [(50.0, False), (-20.0, True)]
    assert [str(container.get_label()) for container in axes.containers] == ["received 50.00", "paid 20.00"]
    section = funding_section(run)
    assert section is not None
    assert "Months that brought funding: 1; that took it: 1; in all 30.00 USDT." in getattr(section.blocks[0], "caption", "")
    run.attribution["funding"] = 0.0
    assert funding_section(run) is None


def test_bars_of_costs_are_what_each_leg_paid(year: Run) -> None:
    axes = figures_detail.costs_figure(year).axes[0]
    rows = summary.costs_by_leg(year)
    drawn = {str(stack.get_label()): [bar.get_width() for bar in stack.patches] for stack in axes.containers}
    assert drawn == {"long leg": pytest.approx([-row.long for row in rows]), "short leg": pytest.approx([-row.short for row in rows])}
    assert len({bar.get_hatch() for stack in axes.containers for bar in stack.patches}) == 2, "told apart without colour"


def test_what_came_back_stands_left_of_zero() -> None:
    run = make_run(liquidation=True)
    run.attribution["liquidation"] += np.where(run.attribution["liquidation"] < 0, 500.0, 0.0)
    axes = figures_detail.costs_figure(run).axes[0]
    (elsewhere,) = (stack for stack in axes.containers if stack.get_label() == "elsewhere")
    back = elsewhere.patches[-1]
    assert (back.get_x(), back.get_width()) == (0.0, pytest.approx(-500.0))


# ---------------------------------------------------------------- term structure


def test_of_many_entries_an_even_choice_is_drawn_and_said() -> None:
    few, many = make_run(trades=16), make_run(bars=24 * 730, trades=700)
    assert figures_trades.curves_shown(few) == list(range(16))
    shown = figures_trades.curves_shown(many)
    assert len(shown) == 12
    assert (shown[0], shown[-1]) == (0, 699)
    assert set(np.diff(shown)) <= {63, 64}
    section = term_structure_section(many)
    assert section is not None
    assert "12 of 700 entries, evenly spread." in getattr(section.blocks[0], "caption", "")


def test_the_contract_that_was_traded_is_marked(year: Run) -> None:
    figure = figures_trades.entry_curves_figure(year)
    assert len(figure.axes) == 12
    for number, axes in enumerate(figure.axes):
        _, curve, mark = axes.lines
        assert np.asarray(curve.get_xdata()).tolist() == [20.0, 65.0, 160.0]
        assert np.asarray(mark.get_xdata()).tolist() == [65.0]
        assert np.asarray(mark.get_ydata()).tolist() == pytest.approx([0.07 + 0.001 * (number % 9)])
        assert f"trade {number + 1} · {year.trades['entered_at'].iloc[number]:%Y-%m-%d}" == axes.get_title(loc="left")
    low, high = figure.axes[0].get_ylim()
    assert low < 0.0 < 0.098 < high


def test_a_premium_wild_before_expiry_does_not_flatten_the_curves(year: Run) -> None:
    table = year.entry_curves
    assert table is not None
    wild = table.copy()
    wild.loc[0, ["days", "premium"]] = 1.5, 40.0
    assert figures_trades.curve_limits(wild)[1] < 0.2
    wild.loc[0, "chosen"] = True
    assert figures_trades.curve_limits(wild)[1] > 40.0, "what was traded is always seen"


def test_without_dated_legs_there_are_no_curves_and_without_trades_a_sentence() -> None:
    run = make_run(bars=48, trades=0)
    assert "there is no entry to show" in part(render_html(run), "term_structure")
    run.entry_curves = None
    assert term_structure_section(run) is None


def test_a_premium_known_once_is_told_in_a_sentence_and_one_leg_has_none() -> None:
    run = make_run(bars=48, trades=0)
    assert run.premium is not None
    run.premium[:] = np.nan
    run.premium.iloc[5] = 0.125
    assert "The premium is known at one bar only: 12.50%." in part(render_html(run), "premium")
    run.premium[:] = np.nan
    assert "No premium is known in this period." in part(render_html(run), "premium")
    del run.rule_text["long"]
    assert premium_section(run) is None


# ---------------------------------------------------------------- risk


def test_exposure_shows_every_extreme_and_each_liquidation(year: Run) -> None:
    upper, use, distance = figures_risk.exposure_figure(year).axes
    table = year.exposure
    lines = {str(line.get_label()): np.asarray(line.get_ydata(), dtype=float) for line in upper.lines}
    assert lines["gross (long + short)"].max() == table["gross"].max()
    assert lines["net (long − short)"].min() == table["net"].min()
    assert (
        max(np.nanmax(np.asarray(line.get_ydata(), dtype=float)) for line in use.lines if len(line.get_xdata()) > 2)
        == table["margin_use"].max()
    )
    assert (
        min(np.nanmin(np.asarray(line.get_ydata(), dtype=float)) for line in distance.lines if len(line.get_xdata()) > 2)
        == table["distance"].min()
    )
    assert f"▼ nearest: {100 * table['distance'].min():.1f}%" in distance.get_title(loc="left")
    (stars,) = (line for line in upper.lines if line.get_marker() == "*")
    assert stars.get_label() == "1 liquidation"
    assert np.asarray(stars.get_xdata()).tolist() == [year.liquidations["time"].iloc[0].value / 86_400e9]


def test_a_margin_near_its_end_has_its_line() -> None:
    run = make_run(trades=1)
    assert run.exposure["margin_use"].max() > 1.0
    assert "(dashed: liquidation)" in figures_risk.exposure_figure(run).axes[1].get_title(loc="left")
    run.exposure["margin_use"] = run.exposure["margin_use"].clip(upper=0.2)
    assert "dashed" not in figures_risk.exposure_figure(run).axes[1].get_title(loc="left")


def test_without_a_margin_only_exposure_is_drawn_and_without_a_position_nothing() -> None:
    run = make_run(bars=200, trades=1)
    run.exposure["margin_use"], run.exposure["distance"] = 0.0, np.nan
    assert figures_risk.panels(run) == ["exposure"]
    section = exposure_section(run)
    assert section is not None
    assert "No position had a margin." in getattr(section.blocks[0], "caption", "")
    run.exposure["margin_use"] = np.nan
    assert len(figures_risk.exposure_figure(run).axes) == 1
    idle = make_run(bars=48, trades=0)
    assert "nothing was at risk" in part(render_html(idle), "exposure")
    idle.exposure["gross"] = np.nan
    assert exposure_section(idle) is None


def test_a_price_that_liquidates_nobody_has_no_distance() -> None:
    run = make_run(bars=200, trades=1)
    run.exposure["distance"] = np.inf
    assert figures_risk.panels(run) == ["exposure", "margin_use"]
    assert len(figures_risk.exposure_figure(run).axes) == 2
    assert "nearest to a liquidation" not in figures_risk.describe_exposure(run)
    assert 'id="exposure"' in render_html(run)
    run = make_run(bars=200, trades=1)
    finite = run.exposure["distance"].min()
    run.exposure.loc[run.exposure["distance"] > finite, "distance"] = np.inf
    assert f"▼ nearest: {100 * finite:.1f}%" in figures_risk.exposure_figure(run).axes[2].get_title(loc="left")


def test_very_many_forced_closes_share_stars() -> None:
    run = make_run(bars=24 * 730, trades=700)
    assert len(run.liquidations) > figures_risk.MARKED
    axes = figures_risk.exposure_figure(run).axes[0]
    (stars,) = (line for line in axes.lines if line.get_marker() == "*")
    when = pd.DatetimeIndex(run.liquidations["time"]).as_unit("ns").asi8 / 86_400e9
    drawn = np.asarray(stars.get_xdata(), dtype=float)
    assert len(drawn) <= 201
    assert np.abs(when[:, None] - drawn).min(axis=1).max() <= (run.end - run.start) / pd.Timedelta("1D") / 400 + 1e-6, (
        "each has one near it"
    )


def test_regimes_add_up_and_their_bars_are_as_long_as_their_pnl(year: Run, page: str) -> None:
    (table,) = Page(page).section_tables["regimes"]
    assert [row[0] for row in table[1:]] == ["unknown", "calm", "trending", "stressed", "all"]
    pnl = [value(cell) for cell in column(table, f"PnL, {year.quote}")]
    assert sum(pnl[:-1]) == pytest.approx(pnl[-1], abs=0.03)
    assert pnl[-1] == pytest.approx(summary.final_equity(year) - year.capital, abs=0.006)
    assert value(column(table, "trades entered")[-1]) == len(year.trades)
    assert 'class="bar won" style="--h:100" data-sort="' in part(page, "regimes")


def test_why_there_are_no_regimes_is_said() -> None:
    run = make_run(bars=48, trades=0)
    run.by_regime, run.regimes_left_out = None, "the market has no spot."
    assert "Left out: the market has no spot.<" in part(render_html(run), "regimes")
    assert to_dict(run)["by_regime"] is None
    assert to_dict(run)["regimes_left_out"] == "the market has no spot."
    run.regimes_left_out = ""
    assert regimes_section(run) is None


@pytest.mark.parametrize(
    ("values", "level", "turn"),
    [
        ([4.0, 2.0, -2.0], 0.0, 1.5),  # halfway between 1 and 2
        ([4.0, 2.0, -2.0], 3.0, 0.5),
        ([4.0, 2.0, 1.0], 0.0, None),
        ([-1.0, -2.0, -3.0], 0.0, None),
        ([4.0, 0.0, -2.0], 0.0, 1.0),
    ],
)
def test_the_costs_that_turn_a_gain_into_a_loss(values: list[float], level: float, turn: float | None) -> None:
    assert summary.break_even([0.0, 1.0, 2.0], values, level) == turn


def test_sensitivity_says_what_costs_the_run_bears(year: Run, page: str) -> None:
    (table,) = Page(page).section_tables["sensitivity"]
    assert [row[0] for row in table[1:]] == ["0×", "0.5×", "1× (this run)", "1.5×", "2×", "3×"]
    assert value(table[3][1]) == pytest.approx(summary.final_equity(year), abs=0.006)
    gain = summary.final_equity(year) - year.capital  # each whole factor takes 25,000: nothing is left after 1 + gain/25,000
    assert f"The run loses money from {1 + gain / 25_000:.1f} times its costs" in page
    assert "makes less than T-bills (3.00%) from 0.6 times its costs." in page
    axes = figures_risk.sensitivity_figure(year).axes[0]
    curve = next(line for line in axes.lines if line.get_label() == "this run at so many times its costs")
    assert np.asarray(curve.get_ydata()).tolist() == year.sensitivity["total_return"].tolist()
    assert value(axes.texts[4].get_text()) == pytest.approx(100 * year.sensitivity["total_return"].iloc[4], abs=0.006)


def test_a_run_that_no_costs_can_save_or_sink() -> None:
    run = make_run(trades=2)
    run.sensitivity["total_return"] = [0.5, 0.4, 0.3, 0.3, 0.2, 0.1]
    assert "The run never loses money up to 3 times its costs and never makes less than T-bills" in render_html(run)
    run.sensitivity["total_return"] -= 1.0
    assert "The run loses money at any costs and makes less than T-bills (3.00%) at any costs." in render_html(run)
    run.sensitivity = run.sensitivity.iloc[:1]
    assert sensitivity_section(run) is None
    idle = make_run(bars=48, trades=0)
    assert "they change nothing" in part(render_html(idle), "sensitivity")


@pytest.mark.parametrize(
    ("returns", "told"),
    [
        ([-0.1, -0.05, 0.2, 0.3, 0.3, 0.3], "The run loses money at 0 and 0.5 times its costs and"),
        ([-0.1, 0.2, 0.2, 0.3, 0.3, 0.3], "The run loses money at 0 times its costs and"),
        ([0.2, -0.1, 0.2, 0.3, -0.1, 0.0], "The run loses money at 0.5, 2 and 3 times its costs and"),
        ([0.2, 0.1, 0.1, 0.1, 0.1, -0.1], "The run loses money from 2.5 times its costs and"),
        ([0.2, 0.1, 0.1, 0.1, 0.1, 0.0], "The run loses money from 3.0 times its costs and"),
    ],
)
def test_the_sentence_on_costs_holds_where_dearer_trading_helps(returns: list[float], told: str) -> None:
    run = make_run(trades=2)
    run.sensitivity["total_return"] = returns
    assert told in part(render_html(run), "sensitivity")


def test_a_run_without_costs_has_no_sensitivity_to_them() -> None:
    run = make_run(trades=2)
    run.sensitivity["final_equity"], run.sensitivity["total_return"] = 1.1e6, 0.1
    assert sensitivity_section(run) is None


def test_the_odds_of_luck_stand_in_the_report_of_a_run_chosen_from_many(year: Run, page: str) -> None:
    assert "luck" not in Page(page).section_tables
    run = make_run(bars=24 * 40, trades=2)
    run.luck = make_luck()
    text = part(render_html(run), "luck")
    told = " ".join(re.sub(r"<[^>]+>", " ", text).split()).replace("−", "-").replace("&#39;", "'")
    for sentence in report_lines(str(run.luck)):
        assert sentence in told
    assert "How much of the best of 64 is luck" in text
    assert "Sharpe ratio 1.75, its 95% interval -0.25 to 3.50; by luck alone 1.25" in text
    axes = figures_risk.luck_figure(run.luck, simulated=True).axes[0]
    assert {str(line.get_label()) for line in axes.lines} >= {"95% interval", "chosen 1.75", "by luck alone 1.25"}
    assert luck_section(make_run(bars=48, trades=0)) is None


def report_lines(told: str) -> list[str]:
    """The sentences of a `Luck`, unwrapped."""
    return [" ".join(line.split()) for line in re.sub(r"\n +", " ", told).replace("* ", "").splitlines()]


# ---------------------------------------------------------------- trades


def test_numbers_are_sorted_by_their_values(year: Run, page: str) -> None:
    text = part(page, "trades")
    assert '<table class="wide dense sortable" data-printed="200">' in text
    rows = re.findall(r"<tr>(<td.*?)</tr>", text)
    assert len(rows) == len(year.trades)
    heads = Page(page).section_tables["trades"][1][0]
    for name, source in (
        ("PnL", "pnl"),
        ("worst", "worst"),
        ("best", "best"),
        ("quantity", "quantity"),
        ("premium in", "entry_premium"),
        ("long in", "entry_long"),
    ):
        cells = [re.findall(r"<td[^>]*>", row)[heads.index(name)] for row in rows]
        given = [float(re.findall(r'data-sort="([^"]+)"', cell)[0]) for cell in cells]
        assert given == pytest.approx(year.trades[source].tolist(), rel=1e-8)
    assert 'data-sort="nan"' not in page
    (alone,) = (block for block in trades_section(make_run(trades=1)).blocks if getattr(block, "row_heads", True) is False)
    assert not getattr(alone, "sortable", True), "one row needs no sorting"


def test_the_page_sorts_in_one_small_script() -> None:
    script = (Path(style.__file__).parent / "page.js").read_text(encoding="utf-8")
    assert len(script) < 5000
    assert "aria-sort" in script
    assert not re.search(r"fetch|XMLHttpRequest|import\s*\(|https?:|innerHTML|eval", script)


def test_columns_of_a_leg_that_there_is_not_are_left_out() -> None:
    run = make_run(trades=3)
    for name in ("entry_long", "exit_long", "entry_premium", "exit_premium"):
        run.trades[name] = np.nan
    run.trades.loc[1, "side"] = -1
    head, *rows = Page(render_html(run)).section_tables["trades"][1]
    assert [name for name in head if re.search(r"long|short|premium", name)] == ["short in", "short out"]
    assert [row[head.index("side")] for row in rows] == ["+1", "−1", "+1"]
    assert "All have the side" not in render_html(run)


def outcome_figure(pnl: list[float], reasons: list[str]) -> Any:
    run = make_run(trades=len(pnl)) if len(pnl) < 60 else make_run(bars=4 * len(pnl), trades=len(pnl))
    run.trades["pnl"], run.trades["reason"] = pnl, reasons
    return figures_trades.outcomes_figure(run).axes[0]


def test_each_of_few_trades_is_a_mark_by_its_sign_and_the_stroke_is_the_median() -> None:
    axes = outcome_figure([5.0, -3.0, 1.0, 9.0, -4.0], ["signal", "signal", "signal", "expiry", "expiry"])
    marks = {
        (line.get_marker(), round(float(np.asarray(line.get_ydata())[0]))): np.asarray(line.get_xdata()).tolist() for line in axes.lines
    }
    assert marks["o", -1] == [5.0, 1.0]
    assert marks["x", -1] == [-3.0]
    assert (marks["o", 0], marks["x", 0]) == ([9.0], [-4.0])
    medians = [np.asarray(line.get_xdata()).tolist() for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 2.0]
    assert medians == [[1.0, 1.0]], "of two there is none"
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["expiry 2", "signal 3"]


def test_of_very_many_trades_the_height_tells_how_many() -> None:
    random = np.random.default_rng(4)
    pnl = random.normal(1.0, 2.0, 300)
    axes = outcome_figure(pnl.tolist(), ["signal"] * 300)
    areas = [np.asarray(path.vertices) for area in axes.collections for path in area.get_paths()]
    assert len(areas) == 2, "losses and gains"
    assert {bool(area.get_hatch()) for area in axes.collections} == {True, False}
    assert min(area[:, 0].min() for area in areas) == pytest.approx(pnl.min())
    assert max(area[:, 0].max() for area in areas) == pytest.approx(pnl.max())
    assert max(area[:, 1].max() for area in areas) == pytest.approx(0.38)


def test_a_few_wild_losses_make_the_axis_logarithmic() -> None:
    tame, wild = [1.0, -2.0, 3.0, 4.0], [10.0, -20.0, 30.0, -90_000.0]
    assert outcome_figure(tame, ["signal"] * 4).get_xscale() == "linear"
    axes = outcome_figure(wild, ["signal"] * 4)
    assert axes.get_xscale() == "symlog"
    assert "(log)" in axes.get_title(loc="left")
    assert figures_trades.log_beyond(np.array(wild)) == 10.0  # the median of the sizes is 25


def test_one_trade_has_no_distribution() -> None:
    assert not figure_texts(part(render_html(make_run(trades=1)), "trades"))
    assert len(figure_texts(part(render_html(make_run(trades=2)), "trades"))) == 1


def test_of_very_many_forced_closes_the_dearest_are_shown() -> None:
    run = make_run(liquidation=True)
    run.liquidations = pd.concat([run.liquidations] * 600, ignore_index=True)
    run.liquidations["cost"] = np.random.default_rng(2).permutation(600).astype(float)
    events = summary.liquidations(run)
    shown = dearest(events)
    assert len(shown) == MOST_EVENTS
    assert min(event.cost for event in shown) == 100.0
    assert [event.cost for event in shown] == [event.cost for event in events if event.cost >= 100.0]
    assert "Shown: the 500 dearest of 600." in render_html(run)


# ---------------------------------------------------------------- data


def test_what_the_data_lack_is_marked_and_told(page: str) -> None:
    (table,) = Page(page).section_tables["quality"]
    assert column(table, "missing")[0] == "▲ 3"
    assert column(table, "longest hole") == ["4 hours", "–", "–"]
    assert column(table, "stale") == ["▲ 2", "0", "0"]
    assert table[2][8:10] == ["1,095", "▲ 1"]
    assert table[1][8:10] == ["", ""], "a spot has no funding"
    assert column(table, "with quotes") == ["0.0%", "0.0%", "87.5%"]
    said = "The run looks at 3 instruments; 1 without all bars, the longest hole is 4 hours in ETHUSDT-SPOT; 1 with stale closes; 1 without all funding payments (▲)."
    assert said in page


def test_a_hole_is_told_of_an_instrument_that_has_one() -> None:
    run = make_run(bars=48, trades=0)
    run.quality = run.quality.iloc[:2].copy()
    run.quality["stale"] = run.quality["missing_payments"] = 0
    run.quality["longest_hole"] = pd.to_timedelta([0, 0])  # daily bars beside hourly ones: fewer, and none is missing for longer than usual
    text = part(render_html(run), "quality")
    assert "The run looks at 2 instruments; 1 without all bars (▲)." in text
    assert "0 minutes" not in text
    run.quality["longest_hole"] = pd.to_timedelta(["3h", "9h"])  # the second lacks no bar
    assert "1 without all bars, the longest hole is 3 hours in ETHUSDT-SPOT (▲)." in part(render_html(run), "quality")


def test_whole_data_are_told_in_a_sentence_and_many_instruments_folded() -> None:
    run = make_run(bars=48, trades=0)
    whole = run.quality.iloc[[2]]
    run.quality = whole
    text = part(render_html(run), "quality")
    assert "The run looks at 1 instrument: no bar, no close and no payment is missing." in text
    assert "<details>" not in text
    run.quality = pd.concat([whole] * 13).set_axis([f"F{number}" for number in range(13)])
    assert "<details><summary>All 13 instruments</summary>" in part(render_html(run), "quality")
    run.quality = whole.iloc[:0]
    assert "quality" not in Page(render_html(run)).section_tables


def test_how_the_run_is_made_again_can_be_copied() -> None:
    run = make_run(bars=48, trades=0)
    run.reproduce = 'python strategies/carry.py --enter 0.1 < "x" & y'
    text = part(render_html(run), "data")
    assert '<pre tabindex="0"><code>python strategies/carry.py --enter 0.1 &lt; &#34;x&#34; &amp; y</code></pre>' in text
    assert f"Python {platform.python_version()}" in text
    assert to_dict(run)["reproduce"] == run.reproduce
    assert run.dataset.hash in text


# ---------------------------------------------------------------- JSON


def test_the_tables_of_the_json_are_the_rows_of_the_tables(year: Run) -> None:
    document = to_dict(year)
    assert document["by_regime"][1] == {"regime": "calm", **year.by_regime.loc["calm"].to_dict()} if year.by_regime is not None else False
    assert document["sensitivity"][2]["factor"] == 1.0
    assert document["quality"][0]["instrument"] == "ETHUSDT-SPOT"
    assert document["quality"][0]["start"] == "2023-01-01T01:00:00Z"
    assert [row["worst"] for row in document["trades"]] == year.trades["worst"].tolist()
    assert document["trades"][3]["attribution"] == year.trades["attribution"].iloc[3]


def test_a_row_of_the_json_is_what_each_of_its_values_is_alone(year: Run) -> None:
    """Columns are turned at once, as that is many times faster."""
    for table in (year.trades, year.fills, year.liquidations, year.quality):
        slow = [{str(key): report_json.plain_value(one) for key, one in row.items()} for row in table.to_dict("records")]
        assert report_json.records(table) == slow
    odd = pd.DataFrame(
        {
            "time": pd.to_datetime(["2024-01-01 00:00:00.5", None], utc=True),
            "cash": [{"funding": np.nan, "fees": 1.0}, {"funding": 1, "fees": np.float64(2.5)}],
            "number": [np.inf, 1.5],
            "count": pd.array([1, None], dtype="Int64"),
            "flag": [True, False],
        }
    )
    first, second = report_json.records(odd)
    assert first == {
        "time": "2024-01-01T00:00:00.500000Z",
        "cash": {"funding": None, "fees": 1.0},
        "number": None,
        "count": 1,
        "flag": True,
    }
    assert second == {"time": None, "cash": {"funding": 1, "fees": 2.5}, "number": 1.5, "count": None, "flag": False}


def test_the_written_json_is_the_document_with_a_line_a_row(year: Run, tmp_path: Path) -> None:
    text = write_json(year, tmp_path / "run.json").read_text(encoding="utf-8")
    assert json.loads(text) == json.loads(json.dumps(to_dict(year)))
    lines = text.splitlines()
    assert sum(line.startswith('  {"entered_at": ') for line in lines) == len(year.trades)
    assert lines[-1] == "}"


def test_the_json_of_very_many_trades_is_quick() -> None:
    """Of a hundred thousand values each; row by row it took a hundred times as long as the cells took to make."""
    run = make_run(bars=20_000, trades=5_000)
    calls = 0

    def counted(value: object, inner: Any = report_json.plain_value) -> Any:
        nonlocal calls
        calls += 1
        return inner(value)

    patch = pytest.MonkeyPatch()
    patch.setattr(report_json, "plain_value", counted)
    try:
        document = to_dict(run)
    finally:
        patch.undo()
    assert len(document["trades"]) == 5000
    assert calls < 20_000, "no call for each value of each trade"


def test_sections_that_other_pages_need_are_named() -> None:
    assert {"SECTIONS", "drawing", "fraction", "heads", "programs"} <= set(sections.__all__)
