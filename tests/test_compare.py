"""Comparisons: days, growth, drawdowns, correlation and sources worked by hand on small JSON files, what differs, and every mistake's sentence."""

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import PERP, SPOT, ether, load

import backtest as bt
from backtest.compare import MOST, Comparison, compare
from backtest.errors import DataError, ParameterError, StorageError
from backtest.market import Market
from backtest.report.blocks import Points, Table
from backtest.report.compare import alike_section, comparison_dict, render_comparison_page, sections_of, settings_section
from backtest.report.compare_table import fitted

SETTINGS = {"long": SPOT, "short": PERP, "leverage": "1", "size": "0.5", "margin": "isolated", "max_hold": "30D", "long_costs": "fee 10 bps", "short_costs": "fee 5 bps"}  # fmt: skip
Write = Callable[..., str]


def stamps(start: str, count: int) -> list[str]:
    """Midnights in ISO-8601, the first being the start."""
    first = pd.Timestamp(start, tz="UTC")
    days = [first, *pd.date_range(first.floor("D") + pd.Timedelta("1D"), periods=count - 1, freq="D")]
    return [day.isoformat().replace("+00:00", "Z") for day in days]


def document(equity: Sequence[float | None], start: str = "2024-01-01", **more: Any) -> dict[str, Any]:
    """The JSON of a run with this daily equity, hourly bars, on simulated data; `more` replaces keys, of `execution` single settings."""
    time = stamps(start, len(equity))
    capital, final = float(equity[0] or 0.0), float(equity[-1] or 0.0)
    keys: dict[str, Any] = {
        "strategy": "Carry", "params": {"enter": 0.1, "exit": 0.0}, "dataset": {"name": "made", "hash": "0123456789abcdef", "simulated": True},
        "capital": capital, "quote": "USDT", "start": time[0], "end": time[-1], "bars": 24 * (len(time) - 1), "metrics": {"total_return": final / capital - 1, "sharpe": 1.5, "calmar": None, "trades": 3},
        "attribution": {"price_long": 2 * (final - capital), "funding": capital - final, "staking": 0.0}, "final_equity": final,
        "daily": {"time": time, "equity": list(equity), "attribution": {}},
        "baselines": [{"name": name, "final_equity": final + gain, "total_return": (final + gain) / capital - 1} for name, gain in (("zero cost", 5.0), ("double cost", -5.0))],
    }  # fmt: skip
    return keys | more | {"execution": SETTINGS | more.get("execution", {})}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes a run's JSON under a name and gives its path."""

    def written(name: str, equity: Sequence[float | None] = (100.0, 110.0, 99.0, 121.0), without: str = "", **more: Any) -> str:
        content = document(equity, **more)
        content.pop(without, None)
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return str(path)

    return written


def many(write: Write, count: int, **more: Any) -> Comparison:
    """Runs that differ in a parameter, of two weeks, each with its own ups and downs."""
    random = np.random.default_rng(7)
    paths = [
        write(f"run{place}", [100.0, *(100.0 + random.normal(0.0, 3.0, 14).cumsum())], params={"enter": 0.01 * place}, **more)
        for place in range(count)
    ]
    return compare(paths)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("compare"), ether())


def carry(market: Market, **more: Any) -> Any:
    return bt.run(bt.Rule(long=market.spot, short=market.perpetual, **more), market)


def near(value: Any) -> Any:
    return pytest.approx(value, rel=1e-12, abs=1e-12, nan_ok=True)


# ---------------------------------------------------------------- days


def test_curves_stand_on_the_union_of_days_and_begin_at_one(write: Write) -> None:
    both = compare(write("a"), write("b", [1000.0, 900.0, 990.0, 1100.0], start="2024-01-02"), names=["a", "b"])
    assert [f"{day:%m-%d}" for day in both.equity.index] == ["01-01", "01-02", "01-03", "01-04", "01-05"]
    assert both.equity["a"].tolist() == near([100, 110, 99, 121, math.nan])
    assert both.equity["b"].tolist() == near([math.nan, 1000, 900, 990, 1100])
    assert both.growth["b"].tolist() == near([math.nan, 1.0, 0.9, 0.99, 1.1])
    assert both.drawdowns["a"].tolist() == near([0, 0, -0.1, 0, math.nan])  # 99 after a peak of 110
    assert both.drawdowns["b"].tolist() == near([math.nan, 0, -0.1, -0.01, 0])


def test_a_run_that_begins_within_a_day_shares_the_days_of_the_others(write: Write) -> None:
    both = compare(write("a"), write("b", start="2024-01-01T08:00"), names=["a", "b"])
    assert len(both.equity) == 4
    assert both.equity["b"].tolist() == both.equity["a"].tolist()
    assert both.runs["b"].start == pd.Timestamp("2024-01-01T08:00Z"), "the run itself keeps its start"


def test_what_is_unknown_stays_unknown(write: Write) -> None:
    both = compare(write("a", [100.0, None, 99.0, 121.0]), write("b"), names=["a", "b"])
    assert both.equity["a"].tolist() == near([100, math.nan, 99, 121])
    assert both.metrics.loc["calmar"].isna().all()


# ---------------------------------------------------------------- figures


def test_correlation_is_of_daily_pnl_whatever_the_capital(write: Write) -> None:
    steps = np.array([3.0, -1, 4, 1, -5, 9, 2, -6, 5, 3])  # ten days
    curves = {
        "a": 100 + steps.cumsum(),
        "twice": 1000 + 20 * steps.cumsum(),
        "against": 500 - steps.cumsum(),
        "calm": 100 + np.arange(1, 11.0),
    }
    first = {"a": 100.0, "twice": 1000.0, "against": 500.0, "calm": 100.0}
    runs = compare({name: write(name, [first[name], *curve]) for name, curve in curves.items()})
    assert runs.correlation.loc["a"].tolist() == near([1.0, 1.0, -1.0, math.nan])  # the same every day goes with nothing
    other = np.array([1.0, 1, -1, 2, 0, 3, -2, 1, 0, 4])
    mixed = compare({"a": write("a", [100.0, *curves["a"]]), "other": write("other", [100.0, *(100 + other.cumsum())])})
    assert mixed.correlation.loc["a", "other"] == near(np.corrcoef(steps, other)[0, 1])


@pytest.mark.parametrize(("days", "known"), [(9, False), (10, True)])
def test_fewer_than_ten_days_of_pnl_correlate_with_nothing(write: Write, days: int, known: bool) -> None:
    curve = [100.0, *(100.0 + np.resize([1.0, -2.0, 0.5], days).cumsum())]
    both = compare(write("a", curve), write("b", curve), names=["a", "b"])
    assert both.correlation.notna().to_numpy().all() == known
    sentence = "Only 9 days are common to all: too few for a correlation, which needs 10."
    assert (sentence in both.differences) != known


def test_attribution_is_in_cash_and_of_each_ones_capital(write: Write) -> None:
    both = compare(write("a"), write("b", [1000.0, 1100.0], attribution={"fees": -20.0, "funding": 120.0}), names=["a", "b"])
    assert both.attribution.to_dict() == {
        "a": {"price_long": 42.0, "funding": -21.0, "staking": 0.0, "fees": 0.0},
        "b": {"price_long": 0.0, "funding": 120.0, "staking": 0.0, "fees": -20.0},
    }
    assert both.attribution_of_capital["b"].to_dict() == near({"price_long": 0.0, "funding": 0.12, "staking": 0.0, "fees": -0.02})


def test_metrics_are_those_of_each_run_and_what_one_lacks_is_unknown(write: Write) -> None:
    both = compare(write("a"), write("b", metrics={"sharpe": 2.0, "spot_beta": 0.01}), names=["a", "b"])
    assert list(both.metrics.index) == ["total_return", "sharpe", "calmar", "trades", "spot_beta"]
    assert both.metrics.loc["sharpe"].tolist() == [1.5, 2.0]
    assert both.metrics.loc["spot_beta"].tolist() == near([math.nan, 0.01])


def test_common_days_have_figures_of_their_own(write: Write) -> None:
    # All have 2 to 4 January: a goes 110, 99, 121; b 1000, 900, 990.
    both = compare(write("a"), write("b", [1000.0, 900.0, 990.0, 1100.0], start="2024-01-02"), names=["a", "b"])
    assert both.common.loc["total_return"].tolist() == near([0.1, -0.01])
    assert both.common.loc["max_drawdown"].tolist() == near([0.1, 0.1])
    returns = np.array([-0.1, 0.1])
    assert both.common.loc["annual_volatility", "b"] == near(returns.std(ddof=1) * math.sqrt(365))


def test_a_run_that_was_ruined_before_the_common_days_has_no_figures_there(write: Write) -> None:
    both = compare(write("a", [100.0, 0.0, 0.0, 0.0]), write("b", start="2024-01-02"), names=["a", "b"])
    assert both.common["a"].isna().all()
    assert both.common["b"].notna().any()


def test_costs_are_as_they_were_none_and_double(write: Write) -> None:
    both = compare(write("a"), write("b", baselines=[{"name": "hold spot", "final_equity": 1.0}]), names=["a", "b"])
    assert both.costs.loc["a"].to_dict() == near(
        {
            "final_equity": 121.0, "total_return": 0.21, "zero_cost_final_equity": 126.0, "zero_cost_total_return": 0.26,
            "double_cost_final_equity": 116.0, "double_cost_total_return": 0.16,
        }
    )  # fmt: skip
    assert both.costs.loc["b"].isna().sum() == 4
    told = repr(both)
    assert re.search(r"at zero cost +26\.00% +–", told)
    assert re.search(r"at double cost +16\.00% +–", told)
    assert "Return by costs" not in repr(compare(write("a", baselines=[]), write("b", without="baselines")))


# ---------------------------------------------------------------- results


def test_a_result_is_what_its_json_says(market: Market, tmp_path: Path) -> None:
    result = carry(market, loss=0.5)
    result.to_json(tmp_path / "run.json")
    both = compare(result, str(tmp_path / "run.json"), names=["result", "file"])
    assert both.differences == ["Only 8 days are common to all: too few for a correlation, which needs 10."]
    assert both.equity["result"].tolist() == both.equity["file"].tolist()
    assert both.equity["result"].iloc[[0, -1]].tolist() == [100_000.0, result.equity.loc["2024-03-09"].iloc[0]]
    for table in (both.metrics, both.attribution, both.costs.T):
        assert table["result"].tolist() == near(table["file"].tolist())
    assert both.costs.loc["result", "zero_cost_final_equity"] > both.costs.loc["result", "final_equity"]
    assert dict(both.runs["result"].settings) == both.runs["file"].settings
    for name in ("start", "end", "bars", "capital", "quote", "dataset"):
        assert getattr(both.runs["result"], name) == getattr(both.runs["file"], name)


def test_results_come_as_arguments_a_list_or_a_dict(market: Market) -> None:
    one, other = carry(market), carry(market, leverage=3.0)
    assert list(compare(one, other).runs) == list(compare([one, other]).runs) == ["Rule leverage=1", "Rule leverage=3"]
    assert list(compare({"calm": one, "bold": other}).runs) == ["calm", "bold"]
    assert "Leverage differs: 1 for calm; 3 for bold." in compare({"calm": one, "bold": other}).differences


def test_a_book_and_its_rules_are_compared_like_any_run(market: Market, tmp_path: Path) -> None:
    rules = [bt.Rule(long=market.spot, short=short) for short in (market.perpetual, market.future_chain())]
    book = bt.run(rules, market)
    alone = compare(book, bt.run(rules[0], market), names=["book", "alone"])
    assert alone.attribution["book"].sum() == near(book.equity.iloc[-1] - 100_000.0)
    assert alone.costs.loc["book"].notna().all()
    assert compare(book.results).equity.sum(axis=1).tolist() == near(alone.equity["book"].tolist())
    book.to_json(tmp_path / "book.json")
    assert compare(book, tmp_path / "book.json").growth.nunique(axis=1).tolist() == [1] * len(alone.growth)


# ---------------------------------------------------------------- names


def test_runs_are_called_by_what_tells_them_apart(write: Write) -> None:
    runs = compare(
        write("a", params={"enter": 0.05, "exit": 0.0, "hold": None}),
        write("b", params={"enter": 0.1, "exit": 0.0, "hold": "3D"}),
        write("c", strategy="Trend", params={"enter": 7}),
    )
    assert list(runs.runs) == ["Carry enter=0.05 hold=none", "Carry enter=0.1 hold=3D", "Trend"]


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"execution": {"leverage": "3"}}, ["Carry leverage=1", "Carry leverage=3"]),
        ({"dataset": {"name": "real", "hash": "f" * 16, "simulated": False}}, ["Carry on=made", "Carry on=real"]),
        ({"capital": 250_000.0}, ["Carry capital=100", "Carry capital=250,000"]),
        ({"start": "2023-12-31T00:00:00Z"}, ["Carry from=2024-01-01", "Carry from=2023-12-31"]),
        ({"end": "2024-02-01T00:00:00Z"}, ["Carry to=2024-01-04", "Carry to=2024-02-01"]),
        ({}, ["Carry", "Carry 2"]),
        ({"execution": {"short": "another"}}, ["Carry", "Carry 2"]),
    ],
)
def test_where_parameters_are_alike_something_else_tells(write: Write, more: dict[str, Any], names: list[str]) -> None:
    content = document([100.0, 110.0, 99.0, 121.0])
    changed = content | more | {"execution": content["execution"] | more.get("execution", {})}
    path = Path(write("b"))
    path.write_text(json.dumps(changed), encoding="utf-8")
    assert list(compare(write("a"), path).runs) == names


def test_names_are_unique_however_they_come(write: Write) -> None:
    runs = compare(write("a"), write("b"), write("c", strategy="Carry 2"))
    assert list(runs.runs) == ["Carry", "Carry 2", "Carry 2 2"]
    assert list(compare(write("c", strategy="Carry 2"), write("a"), write("b")).runs) == ["Carry 2", "Carry", "Carry 3"]


def test_a_parameter_is_the_same_read_or_at_hand(write: Write) -> None:
    runs = compare(
        write("a", params={"enter": 1, "legs": ["a", "b"], "on": True}), write("b", params={"enter": 2.0, "legs": ["a", "b"], "on": True})
    )
    assert list(runs.runs) == ["Carry enter=1", "Carry enter=2"]


# ---------------------------------------------------------------- differences


def test_runs_that_are_alike_have_no_differences(write: Write) -> None:
    runs = many(write, 3)
    assert runs.differences == []
    assert "NOT ALIKE" not in repr(runs)
    (said,) = alike_section(runs).blocks
    assert "Nothing differs but the trades" in str(said)
    assert not alike_section(runs).alarm


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"dataset": {"name": "hourly", "hash": "fedcba9876543210", "simulated": True}}, "Datasets differ: fedc; made 0123456789ab for the others."),
        ({"dataset": {"name": "hourly", "hash": "f" * 16, "simulated": False}}, "Some data are SIMULATED and some are not: real for odd; simulated for the others."),
        ({"quote": "USD"}, "Currencies differ: USD for odd; USDT for the others; cash can't be held against each other."),
        ({"capital": 5000.0}, "Capitals differ: 5,000 for odd; 100 for the others; growth and fractions are of each one's own."),
        ({"bars": 14}, "Bars differ: 1 d a bar for odd; 1 h a bar for the others."),
        ({"bars": 14 * 24 * 4}, "Bars differ: 15 min a bar for odd; 1 h a bar for the others."),
        ({"start": "2024-01-03"}, "Periods differ: 2024-01-03 to 2024-01-17 for odd; 2024-01-01 to 2024-01-15 for the others; 12 days are common to all."),
        ({"start": "2024-01-01T08:00"}, "Periods differ: 2024-01-01 08:00 to 2024-01-15 00:00 for odd; 2024-01-01 to 2024-01-15 for the others; 14 days are common to all."),
        ({"execution": {"margin": "cross"}}, "Margin differs: cross for odd; isolated for the others."),
        ({"execution": {"size": "0.3"}}, "Size differs: 0.3 for odd; 0.5 for the others."),
        ({"execution": {"long_costs": "fee 1 bps"}}, f"Costs of {SPOT} differ: fee 1 bps for odd; fee 10 bps for the others."),
        ({"execution": {"short_costs": "fee 1 bps"}}, f"Costs of {PERP} differ: fee 1 bps for odd; fee 5 bps for the others."),
    ],
)  # fmt: skip
def test_what_differs_is_one_sentence(write: Write, more: dict[str, Any], sentence: str) -> None:
    equity = [100.0, *(100.0 + np.arange(14.0))]
    runs = compare({"a": write("a", equity), "b": write("b", equity), "odd": write("c", equity, **more)})
    wanted = sentence.replace("fedc;", "hourly fedcba987654 for odd;")
    assert wanted in runs.differences
    assert len(runs.differences) == (2 if "SIMULATED" in wanted else 1), "and nothing else"
    assert " ".join(repr(runs).replace("* ", "").split()).count(wanted) == 1
    section = alike_section(runs)
    assert section.alarm
    assert section.blocks[1] == Points(runs.differences)


def test_two_runs_that_differ_are_both_named(write: Write) -> None:
    both = compare({"a": write("a"), "b": write("b", quote="USD")})
    assert "Currencies differ: USDT for a; USD for b; cash can't be held against each other." in both.differences


def test_costs_of_other_legs_and_limits_of_other_trades_are_no_difference(write: Write) -> None:
    equity = [100.0, *(100.0 + np.arange(14.0))]
    other = {"short": "another", "short_costs": "fee 1 bps", "max_hold": "3D"}
    runs = compare(write("a", equity), write("b", equity, strategy="Other", execution=other))
    assert runs.differences == []
    assert "fee 1 bps" in str(settings_section(runs)), "the page lists them among the settings"


def test_versions_differ_where_both_are_told(write: Write) -> None:
    equity = [100.0, *(100.0 + np.arange(14.0))]
    files = [write(name, equity, version=version) for name, version in (("a", "0.5.0"), ("b", "0.6.0"))]
    assert compare({"a": files[0], "b": files[1]}).differences == ["Versions of the engine differ: 0.5.0 for a; 0.6.0 for b."]
    assert compare(files[0], write("c", equity)).differences == []


# ---------------------------------------------------------------- the table


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 7, MOST])
def test_no_line_is_wider_than_a_terminal_and_every_run_has_its_place(write: Write, count: int) -> None:
    runs = many(write, count, strategy="AStrategyWithALongNameThatNoColumnHolds")
    lines = repr(runs).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines == [line.rstrip() for line in lines]
    assert f"Comparison of {count} runs" in lines[1]
    assert "SIMULATED DATA" in lines[1]
    for name, place in zip(runs.runs, range(1, count + 1), strict=True):
        assert f"{place:>2}  {name}" in lines
        wanted = f"{100 * runs.metrics.loc['total_return', name]:,.2f}%"
        assert any(wanted in line for line in lines), wanted
    heads = [place for place, line in enumerate(lines) if line.startswith("Daily PnL correlates")]
    parts = [lines[head + 2 : head + 2 + count] for head in heads]
    wide = count if count <= 6 else 9
    cells = [
        [float(cell) for part in parts for cell in part[row].split()[-wide:] if "." in cell and "=" not in cell] for row in range(count)
    ]
    assert cells == np.round(runs.correlation.to_numpy(), 2).tolist(), "every run with every other"
    assert " ".join(lines[head] for head in heads).count("(") == count


@pytest.mark.parametrize("sources", [1, 5, 6, 11])
def test_of_many_runs_every_source_has_a_column(write: Write, sources: int) -> None:
    cash = {f"source{place}": float(place + 1) for place in range(sources)}
    told = repr(many(write, 7, attribution=cash))
    assert all(f" {name}" in told for name in cash)
    assert told.count("PnL, % of capital") == -(-sources // 5)
    assert len(re.findall(rf" {sources}\.00%", told)) == 7


def test_short_names_head_the_columns_and_long_ones_are_numbered(write: Write) -> None:
    files = [write("a"), write("b")]
    assert re.search(r"^Figures +calm +bold$", repr(compare(*files, names=["calm", "bold"])), re.MULTILINE)
    assert re.search(r"^Figures +\(1\) +\(2\)$", repr(compare(*files, names=["calm", "b" * 20])), re.MULTILINE)


def test_the_figures_of_common_days_are_shown_where_periods_differ(write: Write) -> None:
    assert "On common days" not in repr(many(write, 2))
    both = compare(write("a"), write("b", start="2024-01-02"), names=["a", "b"])
    part = repr(both).split("On common days")[1]
    assert re.search(r"total return +10\.00% +-1\.00%", part)  # 121/110 and 99/100
    page = render_comparison_page(both)
    assert "over the days that they have in common, 2024-01-02 to 2024-01-04" in page


def test_real_data_bear_no_mark(write: Write) -> None:
    real = {"name": "real", "hash": "f" * 16, "simulated": False}
    both = compare(write("a", dataset=real), write("b", dataset=real))
    assert "SIMULATED" not in repr(both)
    assert "SIMULATED" not in render_comparison_page(both)
    assert "SIMULATED" in render_comparison_page(compare(write("a", dataset=real), write("c")))


@pytest.mark.parametrize(
    ("style", "value", "width", "text"),
    [
        ("percent", 0.1234, 8, "12.34%"), ("percent", 12345.678, 8, "1.2e+04"), ("percent", 123.456, 8, "12,346%"), ("ratio", 123456.789, 8, "123,457"),
        ("ratio", math.nan, 8, "–"), ("cash", -1234.5, 12, "-1,234.50"), ("count", 1234567.0, 9, "1,234,567"), ("percent", -1e9, 8, "-1.0e+09"),
    ],
)  # fmt: skip
def test_a_figure_fits_its_column(style: str, value: float, width: int, text: str) -> None:
    assert fitted(style, value, width) == text


# ---------------------------------------------------------------- page and JSON


@pytest.mark.parametrize("count", [2, 7, MOST])
def test_the_page_has_every_section_and_loads_nothing(write: Write, count: int) -> None:
    runs = many(write, count)
    page = render_comparison_page(runs)
    for section in ("alike", "runs", "equity", "figures", "attribution", "correlation", "costs", "settings"):
        assert f'<section id="{section}"' in page
    assert page.count("<svg") == 2
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert all(page.count(name) >= 6 for name in runs.runs), "in tables, figures and their descriptions"
    assert page == render_comparison_page(many(write, count)), "the same runs give the same bytes"


@pytest.mark.parametrize("count", [2, 7])
def test_every_table_of_the_page_has_a_cell_for_every_head(write: Write, count: int) -> None:
    runs = many(write, count)
    tables = [block for section in sections_of(runs) for block in section.blocks if isinstance(block, Table)]
    assert len(tables) == 7
    for table in tables:
        assert {len(row) for row in [*table.rows, *table.foot]} == {len(table.head)}
    names = [[row[0].text for row in table.rows] if count > 6 else [head.text for head in table.head[1:]] for table in tables[1:]]
    assert all([name.lstrip("1234567 ") for name in one] == list(runs.runs) for one in names)


def test_the_page_describes_its_figures_in_words(write: Write) -> None:
    page = render_comparison_page(compare(write("a"), write("b", [100.0, 90.0, 80.0]), names=["up", "down"]))
    assert "up ends at 1.21, deepest drawdown -10.00%" in page
    assert "up: price of both legs 42.00%, funding -21.00%" in page


def test_names_on_the_page_are_text_and_never_markup(write: Write) -> None:
    page = render_comparison_page(compare(write("a"), write("b", strategy="<script>x</script>"), names=["<b>bold</b>", "a & b"]))
    assert "<b>bold" not in page
    assert "<script>" not in page
    assert "&lt;b&gt;bold" in page


def test_runs_without_a_trade_have_a_page_too(write: Write) -> None:
    flat = {"attribution": {"price_long": 0.0, "funding": 0.0}}
    both = compare(write("a", [100.0] * 12, **flat), write("b", [100.0] * 12, **flat))
    assert both.correlation.isna().to_numpy().all()
    assert render_comparison_page(both).count("<svg") == 2
    assert "PnL, % of capital" not in repr(both)


def test_files_are_written(write: Write, tmp_path: Path) -> None:
    both = compare(write("a"), write("b", [1000.0, 900.0], start="2024-01-02"), names=["a", "b"])
    both.report(tmp_path / "pages" / "c.html")
    assert (tmp_path / "pages" / "c.html").read_text(encoding="utf-8") == render_comparison_page(both)
    both.to_json(tmp_path / "c.json")
    told = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert told == comparison_dict(both)
    assert [run["name"] for run in told["runs"]] == ["a", "b"]
    assert told["runs"][0]["costs"]["zero_cost_final_equity"] == 126.0
    assert told["daily"]["time"][0] == "2024-01-01T00:00:00Z"
    assert told["daily"]["equity"]["b"] == [None, 1000.0, 900.0, None]
    assert told["daily"]["growth"]["b"] == [None, 1.0, 0.9, None]
    assert told["daily"]["drawdown"]["a"] == near([0.0, 0.0, -0.1, 0.0])
    assert told["correlation"]["a"]["b"] is None
    assert told["differences"] == both.differences
    assert told["common"]["b"]["total_return"] == near(-0.1)


def test_a_place_that_can_not_be_written_is_refused(write: Write, tmp_path: Path) -> None:
    both = compare(write("a"), write("b"))
    with pytest.raises(StorageError, match="choose another place with --html"):
        both.report(tmp_path)
    with pytest.raises(StorageError, match="choose another place with --json"):
        both.to_json(tmp_path)


# ---------------------------------------------------------------- refusals


def refused(kind: type[Exception], told: str) -> Any:
    return pytest.raises(kind, match=f"^{re.escape(told)}$")


@pytest.mark.parametrize("given", [(), ([],), ({},)])
def test_nothing_is_no_comparison(given: tuple[Any, ...]) -> None:
    with refused(ParameterError, "a comparison takes 2 to 24 runs: it got 0; give results, or JSON files that --json has written"):
        compare(*given)


def test_too_few_and_too_many_runs_are_refused(write: Write) -> None:
    with refused(ParameterError, "a comparison takes 2 to 24 runs: it got 1; give results, or JSON files that --json has written"):
        compare(write("a"))
    with refused(ParameterError, "a comparison takes 2 to 24 runs: it got 25; choose some of them"):
        compare([write("a")] * 25)


def test_what_is_no_run_is_refused(market: Market, write: Write) -> None:
    rule = bt.Rule(long=market.spot)
    with pytest.raises(
        ParameterError, match=r"^a comparison takes results of runs: it got a Rule; give results, or paths to their JSON files$"
    ):
        compare(rule, write("a"))

    class Mine(bt.Strategy):
        def rule(self, market: Market) -> bt.Rule:
            return rule

    with pytest.raises(ParameterError, match=r"it got .*Mine.*; run it first: bt.run\(Mine\(…\), market\)$"):
        compare(write("a"), Mine())


def test_names_must_fit(write: Write) -> None:
    files = [write("a"), write("b")]
    with refused(ParameterError, "names must be one for each run: 3 for 2 runs; leave them out for the strategies' own"):
        compare(*files, names=["a", "b", "c"])
    with refused(ParameterError, "names must be one for each run: 1 for 2 runs; leave them out for the strategies' own"):
        compare(*files, names="ab")
    with refused(ParameterError, 'the name "a" stands twice; give each run one of its own'):
        compare(*files, names=["a", "a"])
    with refused(ParameterError, "a name of a run must be a text: ' '; leave names out for the strategies' own"):
        compare(*files, names=["a", " "])
    with refused(ParameterError, "names must be texts, one for each run: names=5; leave them out for the strategies' own"):
        compare(*files, names=5)  # type: ignore[arg-type]
    with refused(ParameterError, "names stand in the dict already: names were given too; leave one out"):
        compare({"a": files[0], "b": files[1]}, names=["a", "b"])


def test_runs_without_a_common_day_are_refused(write: Write) -> None:
    told = "the runs have no whole day in common: b begins at 2024-01-04T00:00, a ends at 2024-01-04T00:00; compare runs over one period"
    with refused(DataError, told):
        compare(write("a"), write("b", start="2024-01-04"), names=["a", "b"])
    assert len(compare(write("a"), write("b", start="2024-01-03")).equity) == 6


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("not json", "this is no JSON (Expecting value: line 1 column 1 (char 0)); "),
        ("[1, 2]", "this is no run's JSON: it holds no object; "),
        ("{}", 'this is no run\'s JSON: the key "strategy" is missing; '),
    ],
)
def test_a_file_that_is_no_runs_json_is_named(write: Write, tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    with refused(DataError, f"{path}: {told}give a file that --json or result.to_json has written"):
        compare(write("a"), path)


def test_a_file_that_is_not_there_or_no_text_is_named(write: Write, tmp_path: Path) -> None:
    with refused(
        DataError, f"{tmp_path}/no.json: it can't be read: No such file or directory; give a file that --json or result.to_json has written"
    ):
        compare(write("a"), tmp_path / "no.json")
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"x\.json: this is no JSON \("):
        compare(write("a"), tmp_path / "x.json")


@pytest.mark.parametrize(
    "key", ["params", "dataset", "capital", "metrics", "attribution", "final_equity", "quote", "execution", "bars", "start", "end"]
)
def test_a_missing_key_is_named(write: Write, key: str) -> None:
    path = write("x", without=key)
    if key == "execution":
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        content.pop(key, None)
        Path(path).write_text(json.dumps(content), encoding="utf-8")
    with refused(
        DataError, f'{path}: this is no run\'s JSON: the key "{key}" is missing; give a file that --json or result.to_json has written'
    ):
        compare(write("a"), path)


def test_a_file_from_before_daily_equity_is_to_be_written_again(write: Write) -> None:
    path = write("old", without="daily")
    with refused(DataError, f'{path}: it is older than daily equity in JSON: the key "daily" is missing; write it again with --json'):
        compare(write("a"), path)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"capital": "much"}, '"capital" must be a number: much'),
        ({"capital": True}, '"capital" must be a number: True'),
        ({"capital": 0}, '"capital" must be a finite number above 0: 0'),
        ({"capital": -5.0}, '"capital" must be a finite number above 0: -5.0'),
        ({"capital": math.nan}, '"capital" must be a finite number above 0: nan'),
        ({"capital": 10**400}, '"capital" must be a finite number above 0: an integer beyond all floats'),
        ({"final_equity": math.inf}, '"final_equity" must be a finite number: inf'),
        ({"final_equity": 10**400}, '"final_equity" must be a finite number: an integer beyond all floats'),
        ({"metrics": {"sharpe": 10**400}}, '"sharpe" in "metrics" must be a number: an integer beyond all floats'),
        ({"bars": 0}, '"bars" must be a number above 0: 0'),
        ({"start": "NaT"}, '"start" must be a time in UTC: NaT'),
        ({"start": "2024-01-02T00:00:00Z"}, '"end" must be after "start": 2024-01-02T00:00:00Z and 2024-01-02T00:00:00Z'),
        ({"end": "9999-01-01T00:00:00Z"}, '"end" must be a time in UTC: 9999-01-01T00:00:00Z'),
        ({"attribution": {}}, '"attribution" must name the sources of PnL: it is empty'),
        ({"baselines": 5}, '"baselines" must be a list: 5'),
        ({"baselines": [5]}, 'each of "baselines" must be an object with a "name": 5'),
        ({"baselines": [{"name": None}]}, 'each of "baselines" must be an object with a "name": {\'name\': None}'),
        ({"baselines": [{"name": "a"}, {"name": "a"}]}, '"a" stands twice in "baselines"'),
        ({"baselines": [{"name": "a", "final_equity": "x"}]}, '"final_equity" in "baselines: a" must be a number: x'),
        ({"daily": {"time": ["NaT"], "equity": [1.0]}}, '"time" must be a time in UTC: NaT'),
        ({"bars": 1.5}, '"bars" must be a number: 1.5'),
        ({"strategy": None}, '"strategy" must be a text: None'),
        ({"metrics": [1]}, '"metrics" must be an object: [1]'),
        ({"metrics": {"sharpe": "high"}}, '"sharpe" in "metrics" must be a number: high'),
        ({"attribution": {"fees": [1]}}, '"fees" in "attribution" must be a number: [1]'),
        ({"start": "soon"}, '"start" must be a time in UTC: soon'),
        ({"end": "2024-01-04"}, '"end" must be a time in UTC: 2024-01-04'),
        ({"daily": []}, '"daily" must have lists "time" and "equity" of one length'),
        ({"daily": {"time": [], "equity": []}}, '"daily" must have lists "time" and "equity" of one length'),
        ({"daily": {"time": ["2024-01-01T00:00:00Z"], "equity": [1.0, 2.0]}}, '"daily" must have lists "time" and "equity" of one length'),
        ({"daily": {"time": ["2024-01-01T00:00:00Z"], "equity": ["x"]}}, '"0" in "daily" must be a number: x'),
        ({"daily": {"time": ["never"], "equity": [1.0]}}, '"time" must be a time in UTC: never'),
        ({"daily": {"time": [1], "equity": [1.0]}}, '"time" must be a time in UTC: 1'),
        ({"daily": {"time": ["2024-01-02T00:00:00Z", "2024-01-01T00:00:00Z"], "equity": [1.0, 2.0]}}, '"time" in "daily" must rise, a day each'),
        ({"daily": {"time": ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"], "equity": [1.0, 2.0]}}, '"time" in "daily" must rise, a day each'),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_named(write: Write, tmp_path: Path, more: dict[str, Any], told: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(document([100.0, 110.0]) | more), encoding="utf-8")
    with refused(DataError, f"{path}: {told}; give a file that --json or result.to_json has written"):
        compare(write("a"), path)


def test_what_a_baseline_lacks_is_unknown(write: Write) -> None:
    unknown = write(
        "a", baselines=[{"name": "zero cost", "final_equity": None}, {"name": "double cost", "final_equity": 90.0, "total_return": -0.1}]
    )
    for path in (unknown, write("b", baselines=None)):
        costs = compare(path, write("c"), names=["it", "c"]).costs.loc["it"]
        assert costs[["zero_cost_final_equity", "zero_cost_total_return"]].isna().all()
    assert compare(unknown, write("c"), names=["it", "c"]).costs.loc["it", "double_cost_final_equity"] == 90.0


def test_a_file_of_endless_brackets_is_no_json(write: Write, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(DataError, match=r"x\.json: this is no JSON \("):
        compare(write("a"), tmp_path / "x.json")


def test_what_shows_itself_as_a_table_is_named_by_its_type(write: Write) -> None:
    both = compare(write("a"), write("b"))
    with refused(ParameterError, "a comparison takes results of runs: it got a Comparison; give results, or paths to their JSON files"):
        compare(write("a"), both)
