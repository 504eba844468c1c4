"""The report of real runs of every size: no trade, one, five thousand, a day, two bars, six years, one leg, several rules, liquidations."""

import html
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_page import Page, column, value

import backtest as bt
from backtest.report import render_html, render_table, summary, to_dict
from backtest.report.protocol import Reportable

ROOT = Path(__file__).parents[1]
PLACE: list[Path] = []  # of the simulated sample
SHORT = {
    "no trade": ("2023-01-01", "2023-03-01"),
    "one day": ("2023-01-01", "2023-01-02"),
    "two bars": ("2023-01-01 00:00", "2023-01-01 02:00"),
}


@pytest.fixture(scope="module", autouse=True)
def _sample(simulated: Path) -> None:
    PLACE[:] = [simulated]


@cache
def sample(start: str | None = None, end: str | None = None) -> bt.Market:
    return bt.load_market(PLACE[0], start=start, end=end)


def switching(market: bt.Market, bars: int, **settings: Any) -> bt.Rule:
    """Spot against the perpetual, so many bars in and as many out."""
    signal = np.where(np.arange(len(market)) // bars % 2 == 0, 1.0, 0.0)
    return bt.Rule(long=market.spot, short=market.perpetual, signal=signal, enter=0.5, exit=0.5, **settings)


@cache
def run_of(shape: str) -> Any:
    """A run of a shape by its name."""
    if shape in SHORT:
        market = sample(*SHORT[shape])
        return bt.run(
            bt.Rule(long=market.spot, short=market.perpetual, signal=np.full(len(market), float(shape == "one day")), enter=0.5), market
        )
    if shape == "one trade":
        market = sample("2023-01-01", "2023-03-01")
        return bt.run(bt.Rule(long=market.spot, short=market.perpetual), market)
    if shape == "one leg":
        market = sample("2023-01-01", "2023-12-31")
        return bt.run(bt.Rule(short=market.perpetual, max_hold="30D"), market)
    if shape == "book":
        market = sample("2020-10-01", "2021-06-30")
        future = market.future_chain(min_days=14.0)
        rules = {
            "dated": bt.Rule(long=market.spot, short=future, max_hold="20D"),
            "perpetual": bt.Rule(long=market.spot, short=market.perpetual),
        }
        return bt.run(bt.Book(rules, shares=(0.5, 0.4)), market, leverage=2.0)
    market = sample()
    return bt.run(switching(market, 5, size=0.01), market)


@cache
def page_of(shape: str) -> str:
    return render_html(run_of(shape))


SHAPES = [*SHORT, "one trade", "one leg", "book", "many"]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_report_of_a_run_is_whole_and_adds_up(shape: str) -> None:
    run, text = run_of(shape), page_of(shape)
    page = Page(text)
    assert not re.search(r"\bnan\b|\bNaT\b|\bNone\b|\binf\b", re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))
    assert all(len(label) > 20 for label in page.labels)
    assert len(text.encode()) < 3_000_000
    (whole, *_) = page.section_tables["attribution"]
    gain = summary.final_equity(run) - run.capital
    assert value(column(whole, f"cash, {run.quote}")[-2]) == pytest.approx(gain, abs=0.006)
    assert abs(value(column(whole, f"cash, {run.quote}")[-1])) < 1e-6 * run.capital
    assert run.reproduce.splitlines()[0] in text.replace("&#34;", '"').replace("&#39;", "'").replace("&quot;", '"').replace("&#x27;", "'")


@pytest.mark.parametrize("shape", SHAPES)
def test_trades_and_their_excursions_fit_the_run(shape: str) -> None:
    run = run_of(shape)
    counts = {"no trade": 0, "one day": 1, "two bars": 0, "one trade": 1, "one leg": 13}
    assert len(run.trades) == counts.get(shape, len(run.trades))
    assert (run.trades["worst"] <= run.trades["pnl"] + 1e-9).all()
    assert (run.trades["best"] >= run.trades["pnl"] - 1e-9).all()
    tables = Page(page_of(shape)).section_tables["trades"]
    if not len(run.trades):
        assert tables == []
        (why,) = (note.removeprefix("NO TRADE: ") for note in run.notes if note.startswith("NO TRADE: "))
        assert f"No trade was made: {why}" in html.unescape(page_of(shape))
        return
    shown = tables[1]
    assert len(shown) - 1 == min(len(run.trades), 2000)
    kept = [int(value(number)) - 1 for number in column(shown, "#")]
    for name, source in (("PnL", "pnl"), ("worst", "worst"), ("best", "best")):
        assert [value(cell) for cell in column(shown, name)] == pytest.approx(run.trades[source].iloc[kept].tolist(), abs=0.006)


def test_a_run_of_thousands_of_trades() -> None:
    run, text = run_of("many"), page_of("many")
    assert len(run.trades) > 5000
    assert f"Shown: the 2,000 largest gains and losses of {len(run.trades):,} trades." in text
    document = to_dict(run)
    assert len(document["trades"]) == len(run.trades)
    assert json.loads(json.dumps(document["trades"][-1])) == document["trades"][-1]


def test_sections_that_a_run_has_no_use_for_are_left_out() -> None:
    there = {shape: set(Page(page_of(shape)).section_tables) for shape in SHAPES}
    assert "term_structure" not in there["one trade"], "no dated leg"
    assert "premium" not in there["one leg"]
    assert "funding" not in there["no trade"]
    assert "funding" in there["one leg"]
    assert {shape for shape in SHAPES if "rules" in there[shape]} == {"book"}
    assert {shape for shape in SHAPES if "liquidations" in there[shape]} == {"book"}
    assert all({"exposure", "trades", "data", "quality"} <= names for names in there.values())


def test_a_book_tells_each_rule_and_its_liquidations() -> None:
    run, page = run_of("book"), Page(page_of("book"))
    rules = page.section_tables["rules"][0]
    assert [row[0] for row in rules[1:]] == ["dated", "perpetual", "reserve"]
    assert sum(map(value, column(rules, "PnL"))) == pytest.approx(summary.final_equity(run) - run.capital, abs=0.02)
    happened = page.section_tables["liquidations"][0]
    assert len(happened) - 2 == len(run.liquidations) > 0
    assert set(column(page.section_tables["trades"][1], "rule")) == {"dated", "perpetual"}
    assert run.exposure["margin_use"].max() >= 1.0


def test_one_leg_has_no_columns_of_the_other() -> None:
    page = Page(page_of("one leg"))
    assert [name for name in page.section_tables["trades"][1][0] if re.search(r"long|short|premium", name)] == ["short in", "short out"]
    (costs,) = page.section_tables["costs"]
    assert costs[0][1:] == ["short leg", "total"]


def test_a_settled_leg_has_its_mark() -> None:
    market = sample("2023-01-01", "2023-07-01")
    run = bt.run(bt.Rule(long=market.spot, short=market.future_chain(min_days=20.0)), market)
    assert (run.trades["reason"] == "expiry").any()
    table = Page(render_html(run)).section_tables["trades"][1]
    for reason, price, settled in zip(column(table, "ended by"), column(table, "short out"), run.trades["settlement_price"], strict=True):
        assert price.endswith("†") is (reason == "expiry")
        if reason == "expiry":
            assert value(price) == pytest.approx(settled, abs=0.006)
    assert not any(price.endswith("†") for price in column(table, "long out")), "the spot is sold, not settled"


@pytest.mark.parametrize("shape", ["no trade", "one trade", "book"])
def test_the_terminal_shows_the_same_run(shape: str) -> None:
    run = run_of(shape)
    assert max(map(len, render_table(run).splitlines())) <= 80


SCRIPT = """
import sys, time, os
import backtest as bt
sys.path.append("strategies")
from funding_carry import FundingCarry
result = bt.run(FundingCarry(), bt.load_market(sys.argv[2]))
begun = time.process_time()
result.report(sys.argv[1])
print(time.process_time() - begun, os.path.getsize(sys.argv[1]))
"""


def test_six_years_of_hours_are_reported_in_five_seconds_and_three_megabytes(tmp_path: Path) -> None:
    """Of the processor, in a fresh process, with baselines, sensitivity and matplotlib's import; the better of two, as others work too."""
    told = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "six.html"), str(PLACE[0])], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout.split()
        for _ in range(2)
    ]
    assert min(float(seconds) for seconds, _ in told) < 5.0
    assert int(told[0][1]) < 3_000_000


def test_every_result_has_what_the_report_asks_for() -> None:
    asked = [name for name, member in vars(Reportable).items() if isinstance(member, property)]
    assert {"exposure", "by_regime", "sensitivity", "quality", "entry_curves", "luck", "reproduce"} <= set(asked)
    for shape in ("one trade", "book"):
        missing = [name for name in asked if not hasattr(run_of(shape), name)]
        assert missing == []
    assert isinstance(run_of("book").by_regime, pd.DataFrame | None)
