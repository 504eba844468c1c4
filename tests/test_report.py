"""The report of a run: the table, the page, its figures and the JSON, for runs of every shape."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from markets import ether, load
from matplotlib.lines import Line2D
from report_fixture import BASELINES, SOURCES, Run, make_run
from report_page import Page, column, figure_texts, value

import backtest as bt
from backtest.errors import ParameterError, StorageError
from backtest.report import figures, render_html, render_table, style, summary, to_dict, words, write_json, write_report
from backtest.report.files import write_atomically

Array = npt.NDArray[np.float64]
Writer = Callable[[Run, Path], Path]
SECTIONS = (
    "summary", "rules", "liquidations", "equity", "baselines", "months", "premium", "attribution", "term_structure", "funding", "costs", "exposure",
    "trades", "regimes", "sensitivity", "luck", "quality", "data",
)  # fmt: skip
RARE = {"rules", "liquidations", "funding", "luck"}  # sections that not every run has
SIX_YEARS = 24 * 2191
# Always equity, areas and waterfall; the premium of several bars; baselines where there is a midnight; then what trades bring: curves at entries, funding, costs,
# exposure, sensitivity, and of several the PnL by reason; a second year brings the years.
FIGURES = {"no trade": 5, "one trade": 10, "one day": 10, "one bar": 3, "open and liquidated": 11, "many trades": 12}
SHAPES: dict[str, dict[str, Any]] = {
    "no trade": {"trades": 0},
    "one trade": {"trades": 1},
    "one day": {"bars": 24, "trades": 1},
    "one bar": {"bars": 1, "trades": 0},
    "open and liquidated": {"liquidation": True, "last_open": True},
    "many trades": {"bars": 24 * 730, "trades": 700},
}


@cache
def run_of(shape: str, simulated: bool = True) -> Run:
    return make_run(**SHAPES[shape], simulated=simulated)


@cache
def page_of(shape: str, simulated: bool = True) -> str:
    return render_html(run_of(shape, simulated))


def drawn_values(line: Line2D) -> Array:
    return np.asarray(line.get_ydata(), dtype=np.float64)


def days(run: Run) -> Array:
    return pd.DatetimeIndex(run.equity.index).as_unit("ns").asi8 / 86_400e9


@pytest.fixture(scope="module")
def year() -> Run:
    return run_of("open and liquidated")


@pytest.fixture(scope="module")
def year_page() -> str:
    return page_of("open and liquidated")


@pytest.mark.parametrize("shape", SHAPES, ids=list(SHAPES))
def test_the_page_is_whole_and_needs_nothing_from_elsewhere(shape: str) -> None:
    text = page_of(shape)
    page = Page(text)
    here = list(page.section_tables)
    assert here == [name for name in SECTIONS if name in here]
    assert set(SECTIONS) - set(here) <= RARE
    assert len(page.ids) == len(set(page.ids))
    assert page.references
    assert all(reference.startswith("#") and reference[1:] in page.ids for reference in page.references)
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert page.tags.count("script") == 1
    assert not re.search(r"<script[^>]+>|https?://(?!www\.w3\.org/1999)", text)
    assert "@import" not in text
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    assert not re.search(r"\bnan\b|\bNaT\b|\bNone\b|\binf\b", text)
    assert len(page.labels) == FIGURES[shape]
    assert all(len(label) > 20 for label in page.labels)


@pytest.mark.parametrize("shape", SHAPES, ids=list(SHAPES))
def test_made_up_data_are_called_so_everywhere(shape: str) -> None:
    text = page_of(shape)
    page = Page(text)
    assert "SIMULATED" in page.texts["title"][0]
    assert re.search(r'<div class="simulated screen"[^>]*>SIMULATED DATA', text)
    assert re.search(r'<div class="running".*?SIMULATED DATA', text)
    assert len(figure_texts(text)) == FIGURES[shape]
    for drawing, label in zip(figure_texts(text), page.labels, strict=True):
        assert re.search(r"<text[^>]*>SIMULATED DATA</text>", drawing)
        assert label.startswith("SIMULATED data.")
    assert all("SIMULATED" in caption for caption in page.texts["figcaption"])
    assert render_table(run_of(shape)).splitlines()[1].endswith("SIMULATED DATA")


@pytest.mark.parametrize("shape", ["no trade", "open and liquidated"])
def test_real_data_are_never_called_simulated(shape: str) -> None:
    run = run_of(shape, False)
    assert "SIMULATED" not in page_of(shape, False) + render_table(run) + json.dumps(to_dict(run))


def test_the_running_header_repeats_on_paper() -> None:
    sheet = (Path(figures.__file__).parent / "style.css").read_text(encoding="utf-8")
    printed = sheet[sheet.index("@media print {") :]
    assert re.search(r"\.running \{ display: table-header-group;", printed)
    assert re.search(r"main \{ display: table-row-group; \}", printed)


def test_the_sources_table_adds_up(year: Run, year_page: str) -> None:
    (whole,) = Page(year_page).section_tables["attribution"]
    rows, (total, gain, residual) = whole[1:-3], whole[-3:]
    used = [source for source in SOURCES if year.attribution[source].iloc[-1]]
    assert [row[0] for row in rows] == [words.source_label(source) for source in used]
    unused = ", ".join(words.source_label(source) for source in SOURCES if source not in used)
    assert f"Nothing from: {unused}." in year_page
    assert sum(value(row[1]) for row in rows) == pytest.approx(value(total[1]), abs=0.06)
    assert value(total[1]) == pytest.approx(float(year.equity.iloc[-1]) - year.capital, abs=0.005)
    assert gain[1] == total[1]
    assert abs(value(residual[1])) < 1e-3
    assert "residual" in residual[0]
    assert sum(value(row[3]) for row in rows) == pytest.approx(100.0, abs=0.6)


def test_the_table_of_years_adds_up_both_ways() -> None:
    whole, by_year = Page(page_of("many trades")).section_tables["attribution"]
    assert len(by_year[0]) == 4
    assert by_year[-1][-1] == whole[-3][1]
    for row in by_year[1:]:
        assert sum(value(cell) for cell in row[1:-1]) == pytest.approx(value(row[-1]), abs=0.03)
    for place in range(1, len(by_year[0])):
        assert sum(value(row[place]) for row in by_year[1:-1]) == pytest.approx(value(by_year[-1][place]), abs=0.06)


def test_shares_of_next_to_nothing_are_not_given() -> None:
    run = make_run(bars=24, trades=0)
    run.attribution["price_long"], run.attribution["price_short"] = 1000.0, -999.5
    run.attribution["idle_cash"] = 0.0
    run.equity = run.capital + run.attribution.sum(axis=1)
    table = Page(render_html(run)).section_tables["attribution"][0]
    assert {row[3] for row in table[1:-2]} == {"–"}
    assert re.search(r"price of the long leg +1,000\.00 +0\.10% +–", render_table(run))


def test_an_unexplained_remainder_is_shouted() -> None:
    run = make_run(trades=2)
    run.equity = run.equity + np.linspace(0, 77, len(run.equity))
    assert "NOT EXPLAINED by the sources" in render_table(run)
    residual = Page(render_html(run)).section_tables["attribution"][0][-1]
    assert residual[0] == "NOT EXPLAINED by the sources"
    assert value(residual[1]) == pytest.approx(77, abs=1)


def test_trades_and_interest_while_flat_make_the_gain(year: Run, year_page: str) -> None:
    reasons, trades = Page(year_page).section_tables["trades"]
    *rows, total, flat, gain = reasons[1:]
    assert sum(value(row[3]) for row in rows) == pytest.approx(value(total[3]), abs=0.06)
    assert value(total[3]) + value(flat[3]) == pytest.approx(value(gain[3]), abs=0.02)
    assert [flat[0], gain[0]] == ["interest while flat", "final equity less capital"]
    assert sum(map(value, column(trades, "PnL"))) == pytest.approx(float(year.trades["pnl"].sum()), abs=0.1)
    for name in ("worst", "best"):
        assert [value(cell) for cell in column(trades, name)] == pytest.approx(year.trades[name].tolist(), abs=0.005)
    assert column(trades, "exited")[-1] == "open"
    paid = dict(zip(column(trades, "ended by"), column(trades, "short out"), strict=True))
    assert [reason for reason, price in paid.items() if price.endswith("†")] == ["expiry"]
    assert value(paid["expiry"]) == pytest.approx(year.trades.loc[year.trades["reason"] == "expiry", "settlement_price"].iloc[0], abs=0.005)


def test_costs_by_leg_add_up_to_the_ledger(year: Run, year_page: str) -> None:
    (table,) = Page(year_page).section_tables["costs"]
    kinds = {"trading fees": "fees", "slippage": "slippage", "delivery fees": "settlement", "liquidation": "liquidation"}
    assert table[0][1:] == ["long leg", "short leg", "total"]
    for row in table[1:5]:
        assert value(row[3]) == pytest.approx(float(year.attribution[kinds[row[0]]].iloc[-1]), abs=0.005)
        assert sum(map(value, row[1:3])) == pytest.approx(value(row[3]), abs=0.02)
    traded = (year.fills["quantity"].abs() * year.fills["price"]).sum()
    assert value(table[6][3]) == pytest.approx(traded, abs=0.01)
    assert value(table[7][3]) == pytest.approx(1e4 * value(table[5][3]) / traded, abs=0.006)
    assert f"{table[7][3].removeprefix('−')} basis points of all that was traded." in year_page


def test_what_a_venue_absorbs_stands_apart_from_the_fees() -> None:
    run = make_run(liquidation=True)
    run.attribution["liquidation"] += np.where(run.attribution["liquidation"] < 0, 500.0, 0.0)
    row = next(row for row in summary.costs_by_leg(run) if row.kind == "liquidation")
    assert row.elsewhere == pytest.approx(500.0)
    assert row.total == pytest.approx(float(run.attribution["liquidation"].iloc[-1]))
    assert "elsewhere" in render_table(run)
    (table,) = Page(render_html(run)).section_tables["costs"]
    assert table[0][1:] == ["long leg", "short leg", "elsewhere", "total"]


def test_liquidations_say_when_why_and_what_they_cost(year: Run, year_page: str) -> None:
    (event,) = year.liquidations.to_dict("records")
    happened, helped = Page(year_page).section_tables["liquidations"]
    assert happened[1][:5] == [f"{event['time']:%Y-%m-%d %H:%M}", str(event["trade"] + 1), event["contract"], "short", "−200"]
    shown = [value(cell) for cell in happened[1][5:]]
    paid = [-event["fee"], event["absorbed"], event["legging"], -event["cost"]]
    assert shown == pytest.approx([*(event[name] for name in ("entry", "mark", "account", "maintenance", "price")), *paid], abs=0.005)
    assert sum(shown[-4:-1]) == pytest.approx(shown[-1], abs=0.02)
    assert [value(cell) for cell in happened[2][-4:]] == pytest.approx(paid, abs=0.005)
    assert [value(helped[1][column]) for column in (3, 5, 9)] == [456.25, 7890.5, 1234.75]
    assert [helped[1][column] for column in (4, 6, 7)] == [
        f"{event[name]:%Y-%m-%d %H:%M}" for name in ("needed_by", "top_up_by", "kept_until")
    ]
    assert helped[1][8] == "expiry"
    assert '<section id="liquidations" class="alarm">' in year_page
    assert "Closed by the venue: 1 liquidation. Fees cost" in year_page
    written = f"{event['time']:%Y-%m-%d %H:%M} +{event['contract']} +{words.price(event['price'])} +-[0-9,.]+ +7,890.50 +1,234.75"
    assert re.search(rf"^1 LIQUIDATION .*\n-+\n{written}$", render_table(year), flags=re.MULTILINE)
    assert "liquidations" not in Page(page_of("one trade")).section_tables


def test_a_deleveraging_has_no_account_and_no_top_up() -> None:
    run = make_run(trades=13)
    assert run.liquidations["action"].tolist() == ["deleveraging"]
    (happened,) = Page(render_html(run)).section_tables["liquidations"]
    assert happened[1][3] == "short†"
    assert happened[1][5:9] == ["–"] * 4
    assert happened[1][-2:] == ["−55.50"] * 2
    assert "† Deleveraging: the venue took a winning position" in render_html(run)
    assert re.search(r"^1 DELEVERAGING .*\n-+\n.* -55\.50 +– +–$", render_table(run), flags=re.MULTILINE)


def test_of_many_liquidations_the_table_shows_the_dearest_in_the_order_of_time() -> None:
    run = make_run(liquidation=True)
    run.liquidations = pd.concat([run.liquidations] * 9, ignore_index=True)
    run.liquidations["time"] += pd.to_timedelta(np.arange(9), unit="D")
    run.liquidations["cost"] = [5.0, 100.0, 6.0, 200.0, 300.0, 7.0, 150.0, 250.0, 120.0]
    lines = render_table(run).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("9 LIQUIDATIONS"))
    shown = [line.split() for line in lines[first + 2 : first + 8]]
    assert [row[4] for row in shown] == ["-100.00", "-200.00", "-300.00", "-150.00", "-250.00", "-120.00"]
    assert [row[0] for row in shown] == sorted(row[0] for row in shown)
    assert lines[first + 8] == "and 3 that cost less"
    assert lines[first + 9].split() == ["all", "-1,138.00"]


def test_settings_at_their_defaults_stand_apart() -> None:
    """On the terminal they are left out; the page names them in one line below what was chosen."""
    run = make_run(trades=1)
    run.rule_text |= {f"setting_{number}": "none" for number in range(25)}
    run.at_default = frozenset({*run.at_default, *(f"setting_{number}" for number in range(25))})
    table, page = render_table(run), render_html(run)
    assert "rule       margin=isolated, leverage 1  size=0.5 of equity\n" in table
    assert "setting_" not in table
    assert "At their defaults: cooldown none, entry_tranches 1, setting_0 none, " in page
    assert "<dt>size</dt>" in page
    assert "<dt>setting_0</dt>" not in page
    run.at_default = frozenset()
    assert "At their defaults" not in render_html(run)
    assert "entry_tranches=1" in render_table(run)


def test_a_result_knows_which_of_its_settings_are_at_their_defaults(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    rule = bt.Rule(long=market.spot, short=market.perpetual, cooldown="3h", resize=None)
    result = bt.run(rule, market, execution=bt.Execution(funding="fill", half_spread=np.full(len(market), 1e-4)))
    assert {"sides", "stop", "loss", "max_hold", "stake", "entry_tranches", "funding_wait", "roll_days"} <= result.at_default
    assert not {"cooldown", "resize", "half_spread", "missing_funding", "size", "leverage", "margin"} & result.at_default
    (line,) = (line for line in repr(result).splitlines() if line.startswith("rule "))
    assert line.startswith("rule       size=0.5  leverage=1  cooldown=3h  margin=isolated")
    assert "missing_funding" in bt.run(rule, market).at_default


def test_a_bar_counts_in_the_month_and_year_in_which_it_began() -> None:
    run = make_run(bars=48, trades=0, start="2023-12-31")
    boundary = pd.Timestamp("2024-01-01", tz="UTC")
    run.attribution.loc[:, :] = 0.0
    run.attribution.loc[boundary:, "funding"] = 1000.0
    run.attribution.loc[boundary + pd.Timedelta("1h") :, "funding"] = 1500.0
    run.equity = run.capital + run.attribution.sum(axis=1)
    years = summary.attribution_by_year(run)
    assert years.loc["funding"].to_dict() == {"2023": 1000.0, "2024": 500.0}
    months = summary.monthly_returns(run)
    assert months.loc[2023, 12] == pytest.approx(0.001)
    assert months.loc[2024, 1] == pytest.approx(1_001_500 / 1_001_000 - 1)
    assert months.loc[2024, "year"] == pytest.approx(months[1].loc[2024])
    assert months[2].isna().all()


def test_months_after_the_last_of_the_equity_have_no_return() -> None:
    run = make_run(bars=24 * 400, trades=0)
    stamps = pd.DatetimeIndex(run.equity.index)
    run.equity = pd.Series(np.where(stamps <= pd.Timestamp("2023-03-01", tz="UTC"), 0.5, -0.5) * run.capital, index=stamps)
    months = summary.monthly_returns(run)
    assert months.loc[2023, [1, 2, 3]].tolist() == [-0.5, 0.0, -2.0]
    assert months.loc[2023, list(range(4, 13))].isna().all()
    assert months["year"].loc[2023] == pytest.approx(-1.5)
    assert np.isnan(months["year"].loc[2024])
    assert render_html(run)


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_months_compound_to_the_total_return_at_any_resolution_of_stamps(unit: Literal["s", "us", "ns"]) -> None:
    run = make_run(bars=24 * 500)
    run.equity.index = pd.DatetimeIndex(run.equity.index).as_unit(unit)
    months = summary.monthly_returns(run)
    total = float(run.equity.iloc[-1]) / run.capital
    assert (1 + months.drop(columns="year")).prod(axis=None) == pytest.approx(total)
    assert (1 + months["year"]).prod() == pytest.approx(total)


def test_thinning_keeps_every_extreme_and_every_long_gap() -> None:
    values = np.random.default_rng(3).normal(size=100_000)
    values[[40_007, 70_001]] = 99.0, -99.0
    values[50_000:60_000] = np.nan
    kept = style.thin(values)
    assert len(kept) <= style.POINTS
    assert {0, 40_007, 70_001, 99_999} <= set(kept.tolist())
    assert np.isnan(values[kept]).sum() > 50
    assert (np.diff(kept) > 0).all()
    for first in range(0, 40_000, 2000):
        inside = kept[(kept >= first) & (kept < first + 2000)]
        assert values[inside].max() == values[first : first + 2000].max()
    assert style.thin(values[:500]).tolist() == list(range(500))


def test_areas_stack_gains_up_and_losses_down_around_the_line_of_their_sum() -> None:
    run = make_run(liquidation=True)
    times, groups = figures.stacks(run)
    gain = np.interp(times, [figures.days_since_1970(run.start), *days(run)], [0.0, *(run.equity - run.capital)])
    at_bars = np.isin(times, days(run))
    total = np.sum(list(groups.values()), axis=0)
    assert at_bars.sum() > 500
    np.testing.assert_allclose(total[at_bars], gain[at_bars], atol=1e-6)
    assert groups["fees, slippage, delivery"][-1] == pytest.approx(run.attribution[["fees", "slippage", "settlement"]].iloc[-1].sum())
    areas = [np.asarray(path.vertices) for area in figures.attribution_figure(run).axes[0].collections for path in area.get_paths()]
    tops, bottoms = [area[:, 1].max() for area in areas], [area[:, 1].min() for area in areas]
    assert max(tops) == pytest.approx(max(sum(max(values[i], 0) for values in groups.values()) for i in range(len(times))))
    assert min(bottoms) == pytest.approx(min(sum(min(values[i], 0) for values in groups.values()) for i in range(len(times))))


def test_areas_cross_zero_where_their_source_does() -> None:
    run = make_run(bars=3, trades=0)
    run.attribution.loc[:, :] = 0.0
    run.attribution["funding"] = [10.0, -30.0, -30.0]
    times, groups = figures.stacks(run)
    first, second = days(run)[:2]
    assert groups["funding"][np.isclose(times, first + (second - first) / 4, rtol=0, atol=1e-9)] == pytest.approx(0.0, abs=1e-6)


def test_the_equity_line_shows_the_highest_and_lowest_close() -> None:
    run = make_run(bars=SIX_YEARS, trades=40)
    upper, lower = figures.equity_figure(run).axes
    drawn = np.concatenate([drawn_values(line) for line in upper.lines if len(drawn_values(line)) > 2])
    assert drawn.max() == run.equity.max()
    assert drawn.min() == min(run.equity.min(), run.capital)
    assert len(drawn) <= style.POINTS
    assert min(drawn_values(line).min() for line in lower.lines) == pytest.approx(summary.drawdown(run).min())
    assert figures.equity_figure(run, log=True).axes[0].get_yscale() == "log"


def test_every_reason_has_its_own_mark_and_its_count() -> None:
    run = make_run(trades=30, last_open=True, liquidation=True)
    axes = figures.premium_figure(run).axes[0]
    marks = {line.get_label(): line for line in axes.lines if not str(line.get_label()).startswith("_")}
    counts = run.trades["reason"].value_counts().to_dict()
    assert {name: len(drawn_values(line)) for name, line in marks.items()} == {"entry": 30, **counts}
    assert set(counts) == set(summary.REASONS)
    assert len({line.get_marker() for line in marks.values()}) == len(marks)
    assert set(figures.MARKS) == set(summary.REASONS)
    entry = run.trades["entered_at"].iloc[3]
    assert run.premium is not None
    assert drawn_values(marks["entry"])[3] == pytest.approx(run.premium.loc[entry])


def test_many_trades_stand_in_rows_below_the_premium() -> None:
    run = run_of("many trades")
    labels = [tick.get_text() for tick in figures.premium_figure(run).axes[1].get_yticklabels()]
    assert labels[0] == "entry 700"
    assert labels[1:] == [f"{row.reason} {row.trades}" for row in summary.by_reason(run)]


def test_a_few_wild_premia_do_not_flatten_the_rest() -> None:
    run = make_run(trades=3)
    assert run.premium is not None
    run.premium.iloc[100], run.premium.iloc[101] = 9.0, -7.0
    low, high = figures.premium_figure(run).axes[0].get_ylim()
    assert -1 < low < high < 1
    assert "The axis leaves out the most extreme values: the lowest is −700.00%, the highest 900.00%." in render_html(run)


def test_a_premium_that_is_never_known_is_said_to_be_unknown() -> None:
    run = make_run(trades=2)
    assert run.premium is not None
    run.premium[:] = np.nan
    assert "No premium is known in this period." in render_html(run)


def test_drawing_leaves_matplotlib_as_it_was_and_gives_the_same_bytes(year: Run, year_page: str) -> None:
    before = dict(matplotlib.rcParams)
    assert render_html(year) == year_page
    assert dict(matplotlib.rcParams) == before


def test_a_figure_takes_the_colours_of_the_page(year_page: str) -> None:
    drawings = "".join(figure_texts(year_page))
    colours = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", drawings))
    hatches = {colour for colour in colours if re.fullmatch(r"url\(#[\w-]+\)", colour)}
    assert hatches
    assert colours - hatches - {"none"} <= {f"var(--{name}, {light})" for name, (light, _) in style.COLOURS.items()}
    for name, (_, dark) in style.COLOURS.items():
        assert f"--{name}: {dark};" in year_page


def test_importing_the_report_imports_neither_matplotlib_nor_jinja2() -> None:
    program = "import sys, backtest.report; print([name for name in ('matplotlib', 'jinja2', 'vectorbt') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert found.stdout.strip() == "[]"


def test_text_from_the_run_is_escaped() -> None:
    run = make_run(trades=1)
    run.strategy, run.notes = "<b>&Carry", ["<script>alert(1)</script>"]
    run.premium_label = 'premium of "<i>"'
    page = Page(render_html(run))
    assert page.references
    assert page.tags.count("script") == 1, "the page's own"
    assert "<b>&Carry" in page.texts["h1"]


def test_six_years_of_hours_and_five_thousand_trades_stay_below_three_megabytes() -> None:
    run = make_run(bars=SIX_YEARS, trades=5000, start="2020-01-01")
    text = render_html(run)
    assert len(text.encode()) < 3_000_000
    page = Page(text)
    shown = page.section_tables["trades"][1]
    assert len(shown) == 2001
    numbers = [int(value(number)) - 1 for number in column(shown, "#")]
    assert numbers == sorted(numbers)
    sizes = run.trades["pnl"].abs()
    assert sizes.iloc[numbers].min() >= sizes.drop(index=numbers).max()
    assert text.count('class="beyond"') == 1800 + len(run.liquidations) - 200
    assert "Printed: the first 200 of 2,000 rows." in text
    assert "Shown: the 2,000 largest gains and losses of 5,000 trades. All of them: result.trades, or --json." in text


@pytest.mark.parametrize("shape", SHAPES, ids=list(SHAPES))
def test_the_terminal_table_fits_80_columns(shape: str) -> None:
    text = render_table(run_of(shape))
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r"\bnan\b|NaT|None|\binf\b", text)
    assert re.search(r"Sortino +–", text)
    text.encode("cp1252")


def test_the_terminal_table_fits_80_columns_with_the_largest_numbers_and_longest_names() -> None:
    run = make_run(trades=30, liquidation=True)
    run.strategy = "AStrategyWithAVeryLongName" * 5
    run.params = {"a_parameter_with_a_long_name": "x" * 200, "list": [1, 2, 3]}
    run.notes = ["word" * 60]
    run.capital = 9.87e14
    run.equity = run.equity * 1e9
    run.attribution = run.attribution * 1e12
    run.trades["pnl"] *= 1e12
    run.trades["contract"] = "DERIBIT-ETH-PERPETUAL/ETH-29MAR24"
    run.trades["reason"] = "a reason of one's own, at some length"
    run.metrics |= {"sharpe": -3.8e15, "turnover": 1.23e11, "a_metric_of_ones_own_with_a_name": -1.0e300}
    run.metrics |= {"annual_return": 1.95e8, "max_drawdown": 12_345.678}
    for name, factor in {"final_equity": 1e12, "total_return": -4e5, "annual_volatility": 1e9}.items():
        run.baselines[name] *= factor
    run.baselines = run.baselines.rename(index={"hold spot": "a baseline with a name that is rather long"})
    run.baselines_left_out = {"a baseline with a name that is rather long": "word" * 60}
    run.by_rule = pd.DataFrame({"capital": 9.87e14, "pnl": -3.0e17, "max_drawdown": 2.5e6, "trades": 123_456_789}, index=["ARule" * 20])
    assert max(map(len, render_table(run).splitlines())) <= 80


def test_the_terminal_table_adds_up(year: Run) -> None:
    lines = render_table(year).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("Where it came from"))
    end = next(number for number, line in enumerate(lines) if line.startswith("final equity less capital"))
    cash = [value(re.split(r" {2,}", line)[1]) for line in lines[start + 2 : end - 1]]
    assert len(cash) == 8
    assert sum(cash) == pytest.approx(value(re.split(r" {2,}", lines[end])[1]), abs=0.05)


def test_the_terminal_table_shows_all_of_few_trades_and_the_ends_of_many() -> None:
    few, many = render_table(make_run(trades=8, last_open=True)), render_table(make_run(trades=9))
    assert "more ..." not in few
    assert len(re.findall(r"^20\d\d-\d\d-\d\d  (?:20|open)", few, flags=re.MULTILINE)) == 8
    assert re.search(r"open +\+1 ETHUSDT-\d{6}.*end of data", few)
    assert "... 3 more ..." in many
    assert "No trade was made." in render_table(make_run(trades=0))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (words.money(-1234.5), "-1,234.50"),
        (words.money(-0.001), "0.00"),
        (words.money(float("nan")), "–"),
        (words.money(123456789.12, width=11), "123,456,789"),
        (words.money(-123456789012.0, width=11), "-1.2346e+11"),
        (words.percent(0.12345), "12.35%"),
        (words.percent(None), "–"),
        (words.number(5, 1, sign=True), "+5.0"),
        (words.quantity(200.0), "200"),
        (words.quantity(0.00012), "0.00012"),
        (words.price(0.0512345), "0.0512345"),
        (words.instant(pd.Timestamp("2024-03-29 08:00", tz="UTC")), "2024-03-29 08:00"),
        (words.day(None), "–"),
        (words.metric("count", 12.0), "12"),
        (words.metric("ratio", float("inf")), "–"),
        (words.metric("slope", -0.01234), "-0.0123"),
        (words.plain((0.6, 0.4)), "0.6,0.4"),
        (words.plain(("regime=calm,trending", "oi")), "regime=calm,trending oi"),
        (words.metric(words.metric_style("liquidations"), 1234), "1,234"),
        (words.metric(words.metric_style("sharpe"), 1.234), "1.23"),
        (words.metric(words.metric_style("what one made up"), 1.0), "1.00"),
    ],
)
def test_numbers_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected


def test_the_json_has_the_keys_of_the_design(year: Run) -> None:
    document = to_dict(year)
    required = ["strategy", "params", "dataset", "capital", "start", "end", "bars", "metrics", "attribution", "final_equity", "trades"]
    more = {"version", "quote", "execution", "fills", "liquidations", "notes", "daily", "baselines", "baselines_left_out"}
    more |= {"by_regime", "regimes_left_out", "sensitivity", "quality", "reproduce"}
    assert set(required) | more == set(document)
    (event,) = document["liquidations"]
    assert (event["top_up"], event["kept_reason"], event["time"][-1]) == (7890.5, "expiry", "Z")
    assert set(document["dataset"]) == {"name", "hash", "simulated"}
    assert list(document["attribution"]) == list(SOURCES)
    trade = (
        "entered_at exited_at side contract quantity entry_long entry_short exit_long exit_short settlement_price entry_premium exit_premium"
        " reason pnl worst best attribution"
    )
    assert all(list(row) == trade.split() for row in document["trades"])
    assert sum(document["attribution"].values()) == pytest.approx(document["final_equity"] - document["capital"])
    assert document["bars"] == len(year.equity)


def test_the_json_has_equity_and_sources_day_by_day(year: Run) -> None:
    told = to_dict(year)["daily"]
    assert set(told) == {"time", "equity", "attribution"}
    assert told["time"][:2] == ["2023-01-01T00:00:00Z", "2023-01-02T00:00:00Z"]
    midnights = [pd.Timestamp(time) for time in told["time"]]
    assert told["equity"] == [year.capital, *year.equity.loc[midnights[1:]]]
    flowed = [name for name in SOURCES if year.attribution[name].any()]
    assert list(told["attribution"]) == flowed
    assert "staking" not in flowed
    for name in flowed:
        assert told["attribution"][name] == [0.0, *year.attribution[name].loc[midnights[1:]]]


def test_the_json_has_each_baseline_on_the_days_of_the_run(year: Run) -> None:
    document = to_dict(year)
    assert [row["name"] for row in document["baselines"]] == list(BASELINES)
    for row in document["baselines"]:
        assert set(row) == {"name", *year.baselines.columns, "daily"}
        assert row["daily"][0] == 1_000_000.0
        assert row["daily"][-1] == pytest.approx(row["final_equity"])
        assert len(row["daily"]) == len(document["daily"]["time"])
        assert row["sharpe"] is None
    assert document["baselines_left_out"] == year.baselines_left_out


def test_baselines_stand_beside_the_run(year: Run, year_page: str) -> None:
    (table,) = Page(year_page).section_tables["baselines"]
    assert [row[0] for row in table[1:]] == ["this run", *BASELINES]
    assert value(table[1][1]) == pytest.approx(float(year.equity.iloc[-1]), abs=0.005)
    assert value(table[1][2]) == pytest.approx(100 * float(year.metrics["total_return"] or 0.0), abs=0.005)
    assert table[2][1:] == ["3,500,000.00", "250.00%", "5.00%", "10.00%", "–", "2.00%", "what hold spot is"]
    left_out = "always-on funding carry is left out: the market has no perpetual; import one."
    assert left_out in year_page
    told = render_table(year)
    assert re.search(
        r"^Beside the strategy +final USDT +return +a year +volat\. +Sharpe +drawdown\n-+\nthis run ", told, flags=re.MULTILINE
    )
    assert re.search(r"^hold spot +3,500,000\.00 +250\.00% +5\.00% +10\.00% +– +2\.00%$", told, flags=re.MULTILINE)
    assert f"* {left_out}" in told.replace("\n  ", " ")
    assert "hold spot 3,500,000.00" in next(label for label in Page(year_page).labels if "baselines" in label)


def test_a_run_without_baselines_says_why_or_nothing() -> None:
    run = make_run(trades=1)
    run.baselines, run.baseline_curves = pd.DataFrame(), pd.DataFrame()
    page = Page(render_html(run))
    assert page.section_tables["baselines"] == []
    assert len(page.labels) == FIGURES["one trade"] - 1
    assert "always-on funding carry is left out" in render_html(run)
    assert "this run" not in render_table(run)
    assert to_dict(run)["baselines"] == []
    run.baselines_left_out = {}
    assert "baselines" not in Page(render_html(run)).section_tables
    assert "Beside the strategy" not in render_table(run)


def test_a_baseline_that_dwarfs_the_others_is_drawn_once_more_without(year: Run) -> None:
    upper, lower = figures.beside_figure(year).axes
    assert [line.get_label() for line in upper.lines] == ["zero cost", "T-bills", "hold spot", "this run"]
    assert len(lower.lines) == 3
    assert upper.get_yscale() == "log"
    assert lower.get_yscale() == "linear"
    assert max(drawn_values(line).max() for line in upper.lines) == pytest.approx(3_500_000.0)
    assert max(drawn_values(line).max() for line in lower.lines) < 1_500_000.0
    assert "without hold spot" in lower.get_title(loc="left")
    tame = make_run(trades=2)
    tame.baseline_curves, tame.baselines = tame.baseline_curves[["T-bills"]], tame.baselines.loc[["T-bills"]]
    (alone,) = figures.beside_figure(tame).axes
    assert alone.get_yscale() == "linear"
    fallen = make_run(trades=2)
    fallen.baseline_curves.iloc[-1, 0] = -1.0
    assert figures.beside_figure(fallen).axes[0].get_yscale() == "linear", "what fell below nothing has no logarithm"


def test_few_midnights_are_marked() -> None:
    assert {line.get_marker() for line in figures.beside_figure(run_of("one day")).axes[0].lines} == {"o"}
    assert {line.get_marker() for line in figures.beside_figure(run_of("no trade")).axes[0].lines} == {"None"}


def test_several_rules_have_names_in_every_table_and_no_premium() -> None:
    run = make_run(trades=9, liquidation=True)
    run.premium = None
    for table in (run.trades, run.fills, run.liquidations):
        table.insert(0, "rule", ["AlwaysOn 2"] * len(table))
    run.by_rule = pd.DataFrame(
        {
            "capital": [600_000.0, 400_000.0],
            "final_equity": [610_000.0, 399_000.0],
            "pnl": [10_000.0, -1_000.0],
            "max_drawdown": [0.01, 0.02],
            "trades": [9, 0],
        },
        index=["AlwaysOn 2", "CashAndCarry"],
    )
    labels = list(run.by_rule.index)
    run.correlation = pd.DataFrame([[1.0, -0.25], [-0.25, np.nan]], index=labels, columns=labels)
    text = render_html(run)
    page = Page(text)
    assert set(page.section_tables) == set(SECTIONS) - {"premium", "luck"}
    rules, correlation = page.section_tables["rules"]
    assert correlation == [["", "AlwaysOn 2", "CashAndCarry"], ["AlwaysOn 2", "1.00", "−0.25"], ["CashAndCarry", "−0.25", "–"]]
    assert rules[0] == ["rule", "capital", "final equity", "PnL", "max drawdown", "trades"]
    assert rules[2] == ["CashAndCarry", "400,000.00", "399,000.00", "−1,000.00", "2.00%", "0"]
    happened, helped = page.section_tables["liquidations"]
    trades = page.section_tables["trades"][1]
    assert "All have the side +1." in text
    for rows, place in ((happened, 0), (helped, 0), (trades, 1)):
        assert rows[0][place] == "rule"
        assert rows[1][place] == "AlwaysOn 2"
        assert {len(row) for row in rows} == {len(rows[0])}
    told = render_table(run)
    assert re.search(r"^Rule by rule +capital +final +PnL +drawdown +trades\n-+\nAlwaysOn 2 +600,000\.00", told, flags=re.MULTILINE)
    assert re.search(r"^20\d\d-\d\d-\d\d 20\d\d-\d\d-\d\d AlwaysOn 2     ETHUSDT-\d{6} ", told, flags=re.MULTILINE)
    assert max(map(len, told.splitlines())) <= 80
    document = to_dict(run)
    assert document["by_rule"][1] == {"rule": "CashAndCarry", **run.by_rule.loc["CashAndCarry"].to_dict()}
    assert {row["rule"] for name in ("trades", "fills", "liquidations") for row in document[name]} == {"AlwaysOn 2"}


def test_names_are_cut_in_the_middle_and_numbered_where_that_makes_them_alike() -> None:
    run = make_run(trades=9, liquidation=True)
    names = ["FundingCarry on ETH*", "FundingCarry on BTC*"]

    def told(labels: list[str]) -> list[str]:
        for table in (run.trades, run.fills, run.liquidations):
            table["rule"] = [labels[place % 2] for place in range(len(table))]
        run.by_rule = pd.DataFrame(
            {"capital": [6e5, 4e5], "final_equity": [6.1e5, 3.9e5], "pnl": [1e4, -1e4], "trades": [5, 4]}, index=labels
        )
        text = render_table(run)
        assert max(map(len, text.splitlines())) <= 80
        return [block for block in text.split("\n\n") if re.match("Rule by rule|Entered|[0-9]+ LIQUIDATION", block)]

    rules, forced, trades = told(names)
    assert re.search(r"^FundingCarry on ETH\* +600,000", rules, flags=re.MULTILINE)
    assert re.search(r"^20\d\d-\d\d-\d\d Fundi\.. ETH\* ETHUSDT-", forced, flags=re.MULTILINE)
    assert " Fundin..n ETH* " in trades
    assert " Fundin..n BTC* " in trades
    rules, forced, trades = told(["FundingCarry near of all", "FundingCarry next of all"])
    assert re.search(r"^1 FundingCarry near of all|^1 Fundi\S*.*of all +600,000", rules, flags=re.MULTILINE)
    assert re.search(r"^20\d\d-\d\d-\d\d [12] Fun", forced, flags=re.MULTILINE)
    assert " 1 Fund" in trades
    assert " 2 Fund" in trades


@pytest.mark.parametrize(("given", "told"), [(None, "None"), (5, "5"), ("", "''"), (pd.DataFrame(), "an object of the type DataFrame")])
@pytest.mark.parametrize(("write", "what"), [(write_report, "report"), (write_json, "JSON")])
def test_what_is_no_path_is_refused(year: Run, write: Any, what: str, given: Any, told: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(f'{what} needs the path of a file, as "runs/carry": it got {told}')):
        write(year, given)


def test_a_home_that_is_unknown_is_refused(year: Run) -> None:
    with pytest.raises(ParameterError, match=r"JSON needs the path of a file: ~nobody-of-that-name/x.json: .*; write the folder out"):
        write_json(year, "~nobody-of-that-name/x.json")


def test_delta_neutrality_stands_among_the_figures(year: Run, year_page: str) -> None:
    assert re.search(r"beta to spot +0\.0012 *$", render_table(year), flags=re.MULTILINE)
    assert re.search(r"hedged bars +87\.50% *$", render_table(year), flags=re.MULTILINE)
    assert "<i>beta to spot</i><b>0.0012</b>" in year_page


def test_the_json_is_strict_and_reads_back(year: Run, tmp_path: Path) -> None:
    year.metrics["from_numpy"] = np.float64(1.5)
    try:
        path = write_json(year, tmp_path / "deep" / "run.json")
    finally:
        del year.metrics["from_numpy"]
    document = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(name))
    assert document["start"] == "2023-01-01T00:00:00Z"
    assert document["metrics"]["calmar"] is None
    assert document["metrics"]["sortino"] is None
    assert document["metrics"]["from_numpy"] == 1.5
    assert document["trades"][-1]["exited_at"] is None
    assert document["trades"][0]["settlement_price"] is None
    assert document["trades"][0]["side"] == 1
    assert pd.Timestamp(document["trades"][0]["entered_at"]) == year.trades["entered_at"].iloc[0]
    assert document["fills"][0]["action"] == "entry"
    assert document["dataset"]["simulated"] is True


def test_times_of_any_zone_and_resolution_end_in_z() -> None:
    from backtest.report.json import plain_value

    assert plain_value(pd.Timestamp("2024-03-29 10:00", tz="Europe/Berlin")) == "2024-03-29T09:00:00Z"
    assert plain_value(pd.Timestamp("2024-03-29 10:00:00.000000001", tz="UTC")) == "2024-03-29T10:00:00.000000001Z"
    assert plain_value([pd.NaT, pd.NA, np.int64(3), {"a": np.inf}, np.bool_(True)]) == [None, None, 3, {"a": None}, True]


WRITERS = [pytest.param(write_report, "report", "--report", id="report"), pytest.param(write_json, "JSON", "--json", id="json")]


@pytest.mark.parametrize(("write", "what", "option"), WRITERS)
def test_a_target_that_can_not_be_written_is_named_with_a_remedy(write: Writer, what: str, option: str, tmp_path: Path) -> None:
    run = make_run(bars=24, trades=0)
    (tmp_path / "file").write_text("in the way")
    for target in (tmp_path, tmp_path / "file" / "run"):
        with pytest.raises(StorageError, match=f"{what} can't be written to {re.escape(str(target))}: .*{option}"):
            write(run, target)


@pytest.mark.parametrize(("write", "what", "option"), WRITERS)
def test_a_full_disk_leaves_the_old_file_and_no_other(
    write: Writer, what: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "run.out"
    target.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left on device; the file that was there is unchanged; free some space"):
        write(make_run(bars=24, trades=0), target)
    assert [path.name for path in tmp_path.iterdir()] == ["run.out"]
    assert target.read_text() == "old"


def test_a_written_report_replaces_the_old_one_under_the_eyes_of_a_reader(tmp_path: Path) -> None:
    target = tmp_path / "reports" / "carry.html"
    assert write_report(run_of("one day"), target) == target
    with target.open(encoding="utf-8") as reader:
        assert write_report(run_of("one bar"), str(target)) == target
        assert reader.read() == page_of("one day")
    assert target.read_text(encoding="utf-8") == page_of("one bar")
    assert [path.name for path in target.parent.iterdir()] == ["carry.html"]


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # open before the writer, which would wait for it
    try:
        assert write_atomically(pipe, "whole\n", what="JSON", option="--json") == pipe
        assert os.read(reader, 100) == b"whole\n"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_to_a_device_stays_and_so_does_the_device(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    write_atomically(link, "nothing", what="JSON", option="--json")
    assert (os.readlink(link), link.is_char_device()) == ("/dev/null", True)


@pytest.mark.parametrize("there", [True, False])
def test_the_file_that_a_link_names_is_replaced_and_the_link_stays(tmp_path: Path, there: bool) -> None:
    (tmp_path / "deep").mkdir()
    file, link = tmp_path / "deep" / "file", tmp_path / "link"
    link.symlink_to(Path("deep") / "file")
    if there:
        file.write_text("old")
    assert write_atomically(link, "new", what="JSON", option="--json") == link
    assert os.readlink(link) == "deep/file"
    assert (file.is_symlink(), file.read_text(encoding="utf-8")) == (False, "new")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "file", "link"]


def test_of_many_liquidations_lines_are_spread_over_all() -> None:
    run = make_run(liquidation=True)
    one = run.liquidations.iloc[0]
    times = pd.date_range(run.start, run.end, periods=341)
    run.liquidations = pd.DataFrame([one] * len(times)).assign(time=times).reset_index(drop=True)
    axes = figures.equity_figure(run).axes[0]
    dotted = [float(np.asarray(line.get_xdata())[0]) for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "--"]
    days = [figures.days_since_1970(time) for time in (times[0], times[170], times[-1])]
    assert len([place for place in dotted if place >= days[0]]) == 20
    assert (min(dotted[-20:]), max(dotted[-20:])) == pytest.approx((days[0], days[2]))
    assert 9 <= sum(place < days[1] for place in dotted[-20:]) <= 10
    assert "dotted: 20 of 341 liquidations" in axes.get_title(loc="left")


def test_rows_of_reasons_below_the_premium_have_room() -> None:
    """However many reasons there are, the labels of their rows don't touch."""
    run = make_run(bars=24 * 730, trades=700)
    reasons = [*summary.REASONS] * 50
    run.trades["reason"] = reasons[: len(run.trades)]
    figure = figures.premium_figure(run)
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in figure.axes[1].get_yticklabels()]
    assert len(boxes) == len(summary.REASONS) + 1
    assert all(upper.y0 >= lower.y1 - 1.0 for upper, lower in pairwise(boxes))
