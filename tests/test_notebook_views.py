"""Cards in notebooks: every class has one, its figures are those of the tables, it is small, quick and the same in light and dark notebooks."""

import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import Browser
from markets import ether, load
from report_fixture import make_run

import backtest as bt
from backtest.errors import ParameterError
from backtest.market import Market
from backtest.report import notebook
from backtest.report.notebook import html_of
from backtest.report.notebook_card import CLASS, MOST_ROWS, curve, sheet, table
from backtest.report.words import money, percent

# What a notebook does to tables in its output, in a dark theme.
NOTEBOOK = """
.jp-RenderedHTMLCommon{color:#e0e0e0;font:14px serif}
.jp-RenderedHTMLCommon table{border-collapse:collapse;color:#e0e0e0;table-layout:fixed;margin:0 auto 1em}
.jp-RenderedHTMLCommon td,.jp-RenderedHTMLCommon th,.jp-RenderedHTMLCommon tr{padding:.5em;white-space:normal}
.jp-RenderedHTMLCommon tbody tr:nth-child(odd){background:#111}
.jp-RenderedHTMLCommon tbody tr:nth-child(even){background:#333}
"""


@dataclass(frozen=True, kw_only=True)
class Gated(bt.Strategy):
    """Spot against the perpetual while it pays more than a threshold."""

    enter: float = bt.param(0.0005, "open above")
    exit: float = bt.param(0.0003, "close below")

    def rule(self, market: Market) -> bt.Rule:
        """Spot against the perpetual."""
        signal = bt.premium(market, market.perpetual, market.spot)[0]
        return bt.Rule(long=market.spot, short=market.perpetual, signal=signal, enter=self.enter, exit=self.exit, max_hold="2D")


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("views"), ether(24 * 27))


@pytest.fixture(scope="module")
def views(market: Market) -> dict[str, Any]:
    """One of every class that has a card."""
    result = bt.run(Gated(), market)
    sweep = bt.sweep(Gated, market, enter=[0.0004, 0.0005, 0.0006], exit=[0.0, 0.0001, 0.0002])
    return {
        "result": result,
        "book": bt.run([Gated(), Gated(enter=0.0006)], market),
        "sweep": sweep,
        "forward": bt.walk_forward(Gated, market, train="10D", test="5D", enter=[0.0004, 0.0006], exit=[0.0, 0.0002]),
        "combinatorial": bt.combinatorial(sweep, groups=4, tests=1),
        "comparison": bt.compare(result, bt.run(Gated(enter=0.0006), market)),
        "stress": bt.stress(result, scenarios=["gap=0.1"]),
        "overview": bt.overview(market),
        "luck": sweep.luck,
        "causality": bt.check_causality(Gated(), market),
        "market": market,
    }


NAMES = ("result", "book", "sweep", "forward", "combinatorial", "comparison", "stress", "overview", "luck", "causality", "market")
EVERY = pytest.mark.parametrize("name", NAMES)


class Text(HTMLParser):
    """The texts of a page without its style, and whether every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)


def texts(page: str) -> list[str]:
    """What a reader sees, piece by piece."""
    parser = Text(page)
    assert parser.open == [], "every element is closed"
    return parser.texts


def test_every_class_is_in_these_tests(views: dict[str, Any]) -> None:
    assert tuple(views) == NAMES
    assert {type(view) for view in views.values()} == {kind for kind, _ in notebook.CARDS}


@EVERY
def test_a_card_is_what_the_notebook_asks_for(views: dict[str, Any], name: str) -> None:
    view = views[name]
    card = view._repr_html_()
    assert card == html_of(view)
    assert card.startswith(f'<div class="{CLASS}">')
    assert texts(card)
    assert len(card.encode()) <= 60_000
    assert "nan" not in " ".join(texts(card)).lower().replace("binance", "").split()
    assert "<script" not in card
    assert not re.findall(r"(?:https?:)?//\w", card), "nothing is loaded"
    assert not repr(view).startswith("<div"), "the terminal gets text"


def test_the_style_touches_nothing_but_cards() -> None:
    selectors = [selector for rule in re.findall(r"([^{}]+)\{", sheet()) for selector in rule.split(",")]
    assert selectors
    assert all(selector.startswith(f".{CLASS}") for selector in selectors)


def test_search_is_shown_as_a_sweep_that_was_searched(market: Market) -> None:
    pytest.importorskip("optuna")
    found = bt.search(Gated, market, trials=4, enter=bt.between(0.0003, 0.0007), exit=[0.0, 0.0001])
    assert texts(found._repr_html_())[0] == "Search of Gated"


def test_a_result_tells_its_figures_and_where_they_came_from(views: dict[str, Any]) -> None:
    result = views["result"]
    seen = texts(result._repr_html_())
    assert money(result.equity.iloc[-1]) in seen
    assert percent(result.metrics["total_return"]).replace("-", "−") in seen
    assert str(len(result.trades)) in seen
    assert "funding" in seen
    together = f"{result.equity.iloc[-1] - result.capital:+,.0f}".replace("-", "−")
    assert seen[seen.index("together") + 1] == together


def test_a_result_computes_nothing_slow(market: Market) -> None:
    result = bt.run(Gated(), market)
    result._repr_html_()
    assert not {"_beside", "sensitivity", "exposure", "_regimes", "quality", "entry_curves"} & set(result.__dict__)


def test_made_up_data_have_their_badge(views: dict[str, Any]) -> None:
    run = make_run(trades=5)
    assert "SIMULATED DATA" in texts(notebook._result(run))
    assert ("SIMULATED DATA" in texts(html_of(views["result"]))) == views["result"].dataset.simulated


def test_liquidations_are_not_overlooked() -> None:
    run = make_run(trades=5, liquidation=True)
    assert any(text.startswith("1 liquidation: see result.liquidations") for text in texts(notebook._result(run)))
    assert not any("liquidation:" in text for text in texts(notebook._result(make_run(trades=5))))


@pytest.mark.parametrize("shape", [{"trades": 0}, {"bars": 1, "trades": 0}, {"bars": 24, "trades": 1}, {"bars": 24 * 365, "trades": 700}])
def test_runs_of_every_shape_have_a_card(shape: dict[str, Any]) -> None:
    card = notebook._result(make_run(**shape))
    assert texts(card)
    assert len(card) <= 60_000


def test_no_combination_of_a_sweep_is_best_without_its_odds(views: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = texts(views["sweep"]._repr_html_())
    assert any(text.startswith("How much of the best of 9 to believe: enter=") for text in seen)
    assert any(text.startswith("The 9 with the highest Sharpe over cash, of 9") for text in seen)
    assert "Sharpe over cash of the best" in seen
    monkeypatch.setattr(notebook, "QUICK", 0)
    fresh = replace(views["sweep"])
    seen = texts(fresh._repr_html_())
    assert "luck" not in fresh.__dict__
    assert not any("best of" in text or "highest" in text for text in seen)
    assert any(text.startswith("The first 9 in the order of the grid") for text in seen)
    assert fresh.luck is not None
    assert any("best of" in text for text in texts(fresh._repr_html_())), "what is there already is told"


def test_a_long_sweep_shows_no_more_than_thirty_rows(market: Market) -> None:
    sweep = bt.sweep(Gated, market, enter=[0.0003 + 0.00001 * step for step in range(40)])
    assert sweep._repr_html_().count("<tr>") - 1 == notebook.ROWS <= MOST_ROWS


def test_a_table_is_cut_and_says_so() -> None:
    code = table(["a", "b"], [[f"row {place}", -1] for place in range(50)], more="result.rows")
    assert code.count("<tr>") == 1 + MOST_ROWS
    assert texts(code)[-1] == "… 20 more, in result.rows"
    assert "−1" in texts(code)


def test_names_from_outside_are_no_markup(market: Market) -> None:
    first, other = bt.run(Gated(), market), bt.run(Gated(enter=0.0006), market)
    card = bt.compare({"<b>bold</b>": first, "other & more": other})._repr_html_()
    assert "<b>bold" not in card
    assert "<b>bold</b>" in texts(card)
    assert "other & more" in texts(card)


class Ahead(bt.Strategy):
    """Knows the next close."""

    def rule(self, market: Market) -> bt.Rule:
        """Long while the next close is higher."""
        close = market.close(market.spot.contracts[0])
        return bt.Rule(long=market.spot, signal=np.append(close[1:] / close[:-1] - 1.0, 0.0), enter=0.001, exit=0.0)


def test_a_failed_check_says_it_loudly(market: Market) -> None:
    check = bt.check_causality(Ahead(), market)
    card = check._repr_html_()
    assert not check.passed
    assert 'class="alarm"' in card
    assert any("FAILED" in text for text in texts(card))


def test_a_curve_spans_its_drawing() -> None:
    times = np.arange(1000.0)
    code = curve([("one", times, np.sin(times / 50.0))], about="a wave", level=0.0)
    points = [tuple(map(float, point.split())) for point in re.findall(r'd="M([^"]*L[^"]*)"', code)[0].split("L")]
    across, up = zip(*points, strict=True)
    assert (min(across), max(across)) == (4.0, 856.0)
    assert (min(up), max(up)) == (14.0, 134.0)
    assert 'aria-label="a wave"' in code
    assert "<circle" in curve([("one", times[:1], np.array([5.0]))], about="a point")
    assert curve([("none", times, np.full(1000, np.nan))], about="nothing") == ""


def test_what_has_no_card_is_told() -> None:
    with pytest.raises(TypeError, match="no card for DataFrame"):
        html_of(pd.DataFrame())
    assert not issubclass(TypeError, ParameterError)


def test_cards_are_white_and_whole_in_a_dark_notebook(views: dict[str, Any], market: Market, browser: Browser, tmp_path: Path) -> None:
    shown = [*views.values(), bt.check_causality(Ahead(), market)]  # the card of a failed check has the longest texts
    body = "".join(f'<div class="jp-RenderedHTMLCommon">{html_of(view)}</div>' for view in shown)
    path = tmp_path / "notebook.html"
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>n</title><style>{NOTEBOOK}</style><body style="background:#111">{body}',
        encoding="utf-8",
    )
    page = browser.open(path, width=1000, dark=True)
    of = "[...document.querySelectorAll('.carry-card {}')].map(one => getComputedStyle(one).{})"
    assert set(page.evaluate(of.format("td:not(.loss)", "color"))) == {"rgb(27, 31, 36)"}
    assert set(page.evaluate(of.format("tr", "backgroundColor"))) == {"rgba(0, 0, 0, 0)"}
    assert page.evaluate(
        "[...new Set([...document.querySelectorAll('.carry-card')].map(one => getComputedStyle(one).backgroundColor))]"
    ) == ["rgb(255, 255, 255)"]
    assert page.evaluate("[...document.querySelectorAll('.carry-card')].filter(one => one.scrollWidth > one.clientWidth + 1).length") == 0
    assert page.console == []
