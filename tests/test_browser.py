"""The pages as a reader's browser shows them: whole without a network, nothing clipped, nothing on top of something else, light, dark and on paper.

The first half proves that each measure can fail, on small pages with one thing wrong; the second opens the pages that are made of the sample.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Page

import backtest as bt
from backtest.cli import main as carry

STRATEGIES = Path(__file__).parents[1] / "strategies"

# ---------------------------------------------------------------- one thing wrong at a time

LINE = '<path d="M 10 80 L 60 20 L 190 60" style="fill: none; stroke: #0072b2"/>'
AXES = '<g id="axes_1"><g id="patch_2"><path d="M 10 90 L 190 90" style="fill: none; stroke: #444"/></g><g id="matplotlib.axis_1"><path d="M 0 0 L 9 9" style="stroke: #444"/></g></g>'
WHOLE = """<!DOCTYPE html><html lang="en"><head><title>t</title><meta name="color-scheme" content="light dark">
<style>:root { --page: #fff; --ink: #1b1f24 } @media screen and (prefers-color-scheme: dark) { :root { --page: #14181d; --ink: #e7e9ec } }
body { background: var(--page); color: var(--ink); font: 14px 'DejaVu Sans', sans-serif; margin: 1rem } svg { width: 100%; max-width: 600px }</style></head>
<body><nav><a href="#one">One</a></nav><section id="one"><h2>One</h2><p>Words.</p>"""


def drawing(content: str, label: str = "Equity") -> str:
    return f'<svg aria-label="{label}" viewBox="0 0 200 100" style="fill: var(--ink); font-size: 8px">{AXES}{content}</svg>'


def words(text: str, x: float, y: float, more: str = "") -> str:
    return f'<text x="{x}" y="{y}" {more}>{text}</text>'


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens a page with this in its body."""
    opened: list[Page] = []

    def show(body: str, **look: Any) -> Page:
        file = tmp_path / f"{len(opened)}.html"
        file.write_text(WHOLE + body + "</section></body></html>", encoding="utf-8")
        opened.append(browser.open(file, **look))
        return opened[-1]

    yield show
    for each in opened:
        each.close()


def test_of_a_good_page_nothing_is_said(page: Callable[..., Page]) -> None:
    turned = words("upwards", 20, 60, 'transform="rotate(-90 20 60)"')
    shown = page(drawing(LINE + words("left", 10, 98) + words("right", 160, 98) + turned))
    assert shown.complaints_in_all_looks() == []
    assert [figure["texts"] for figure in shown.measured()["figures"]] == [3]
    assert shown.measured()["sections"] == ["one"]


WRONG = {
    "a label beyond the right edge": (drawing(LINE + words("a long label", 170, 50)), "the label “a long label” is clipped by"),
    "a label above the top": (drawing(LINE + words("high", 90, 2)), "the label “high” is clipped by"),
    "a turned label beyond the bottom": (drawing(LINE + words("days to expiry", 8, 98, 'transform="rotate(60 8 98)"')), "the label “days to expiry” is clipped by"),
    "two labels on each other": (drawing(LINE + words("2021-01", 50, 98) + words("2021-02", 75, 98)), "the labels “2021-01” and “2021-02” overlap by"),
    "turned labels on each other": (
        drawing(LINE + "".join(words(f"turned {x}", x, 60, f'transform="rotate(-45 {x} 60)"') for x in (50, 54))), "the labels “turned 50” and “turned 54” overlap by",
    ),
    "a turned label over a level one": (
        drawing(LINE + words("crossing it all", 60, 80, 'transform="rotate(-45 60 80)"') + words("level words", 60, 60)), "the labels “crossing it all” and “level words” overlap by",
    ),
    "nothing but axes": (drawing(words("0", 10, 98)), "figure one “Equity…” is empty"),
    "nothing but axes and a zero line": (drawing('<path d="M 10 50 L 190 50" style="fill: none; stroke: #444; stroke-dasharray: 3 2"/>'), "is empty"),
    "nothing but a legend": (drawing('<g id="legend_1"><path d="M 1 1 L 9 9" style="stroke: #000"/></g>'), "is empty"),
    "no description": (drawing(LINE, label=""), "has no description for those who can't see it"),
    "ink on ink": (drawing(LINE + words("pale", 90, 50, 'style="fill: #f0f0f0"')), "the label “pale” is hard to read, contrast 1"),
    "ink on a dark cell": (
        drawing('<path d="M 80 40 L 130 40 L 130 60 L 80 60 z" style="fill: #202020"/>' + words("cell", 90, 52, 'style="fill: #1b1f24"')), "the label “cell” is hard to read",
    ),
    "a table wider than the page": ("<table><tr>" + "<td>a_cell_that_is_wide</td>" * 12 + "</tr></table>", "<table> “a_cell_that_is_widea_cell_that_is_widea_cell_that_is_widea_c” reaches"),
    "a word that is cut off": ('<div style="width: 4em; overflow: hidden; white-space: nowrap">a value that is long</div>', "<div> “a value that is long” is cut off"),
    "a picture from elsewhere": ('<img src="https://example.org/logo.png" alt="x">', "asked for https://example.org/logo.png"),
    "a picture that is not there": ('<img src="nowhere.png" alt="x">', "the image nowhere.png is not there"),
    "a script from a file beside it": ('<script src="other.js"></script>', "other.js"),
    "a style from elsewhere": ('<link rel="stylesheet" href="https://example.org/a.css">', "asked for https://example.org/a.css"),
    "a request of a script": ('<script>fetch("https://example.org/data").catch(() => 0)</script>', "asked for https://example.org/data"),
    "an error on the console": ('<script>console.error("lost", 3)</script>', "console: error: lost 3"),
    "a warning on the console": ('<script>console.warn("old")</script>', "console: warning: old"),
    "a script that throws": ("<script>null.length</script>", "console: error: TypeError: Cannot read properties of null"),
    "a link to a section that is not there": ('<a href="#two">Two</a>', "the link “Two” leads to #two, which is not there"),
    "the same id twice": ('<p id="a">x</p><p id="a">y</p>', "the id a stands there 2 times"),
    "a section without content": ('</section><section id="empty"><h2>Empty</h2>', "the section empty has nothing but its heading"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_seen(name: str, page: Callable[..., Page]) -> None:
    body, says = WRONG[name]
    shown = page(body)
    assert [line for line in shown.complaints() if says in line], shown.complaints()


FINE = {
    "the watermark over everything": drawing(LINE + words("label", 80, 50) + words("SIMULATED", 40, 60, 'style="font-size: 24px; opacity: 0.09"')),
    "lines of text one below the other": drawing(LINE + words("first", 50, 40) + words("second", 50, 49)),
    "a wide table that scrolls": '<div style="overflow-x: auto"><table><tr>' + "<td>a_cell_that_is_wide</td>" * 12 + "</tr></table></div>",
    "a picture within the page": '<img alt="dot" src="data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7">',
    "light ink on a dark cell": drawing('<path d="M 80 40 L 130 40 L 130 60 L 80 60 z" style="fill: #202020"/>' + words("cell", 90, 52, 'style="fill: #f0f0f0"')),
    "a drawing that is not shown": f'<div style="display: none">{drawing(words("0", 190, 98))}</div>',
    "a line on the console": '<script>console.log("ready")</script>',
}  # fmt: skip


@pytest.mark.parametrize("name", FINE)
def test_what_is_fine_is_passed_over(name: str, page: Callable[..., Page]) -> None:
    shown = page(FINE[name])
    assert shown.complaints() == []
    assert shown.measured()["hidden"] == (name == "a drawing that is not shown")


def test_a_look_that_goes_wrong_is_named(page: Callable[..., Page]) -> None:
    def said(body: str) -> list[str]:
        return page(body).complaints_in_all_looks(families=("DejaVu Sans",))

    (dark,) = said(drawing(LINE + words("only by day", 60, 50, 'style="fill: #1b1f24"')))
    assert re.fullmatch(r"figure one “Equity…”: the label “only by day” is hard to read, contrast 1\.\d \(1200 dark DejaVu Sans\)", dark)
    for body, look in (
        ('<div style="width: 700px">wide</div>', "400 screen"),
        ("<style>@media print { p { width: 2000px } }</style>", "794 print"),
    ):
        found = said(body)
        assert found
        assert all(line.endswith(f"({look} DejaVu Sans)") for line in found)


def test_scripts_can_be_clicked_and_asked(page: Callable[..., Page]) -> None:
    shown = page(
        '<button onclick="this.textContent = event.isTrusted">no</button><input type="checkbox" id="box">'
        '<p class="dark">dark</p><style>.dark { display: none } @media (prefers-color-scheme: dark) { .dark { display: block } }</style>'
    )
    shown.click("button")
    assert shown.texts("button") == ["true"]
    shown.evaluate("document.querySelector('#box').focus()")
    shown.press(" ")
    assert shown.evaluate("document.querySelector('#box').checked") is True
    assert shown.texts(".dark") == []
    shown.show(dark=True)
    assert shown.texts(".dark") == ["dark"]
    assert "<button" in shown.dom()
    with pytest.raises(RuntimeError, match=r"no element '#nowhere' number 0 is to be seen"):
        shown.click("#nowhere")
    with pytest.raises(RuntimeError, match="no element 'title' number 0 is to be seen"):
        shown.click("title")
    with pytest.raises(RuntimeError, match="ReferenceError: nothing is not defined"):
        shown.evaluate("nothing")


def test_a_page_that_is_not_there_is_said(browser: Browser, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"nowhere\.html: net::ERR_FILE_NOT_FOUND"):
        browser.open(tmp_path / "nowhere.html")


# ---------------------------------------------------------------- pages of the sample

SECTIONS = [
    "summary", "rules", "liquidations", "equity", "baselines", "months", "premium", "attribution", "term_structure", "funding", "costs", "exposure", "trades", "regimes", "sensitivity", "luck", "quality", "data",
]  # fmt: skip
OF_ALL = {"summary", "equity", "baselines", "months", "attribution", "costs", "exposure", "trades", "sensitivity", "quality", "data"}


@pytest.fixture(scope="module")
def market(simulated: Path) -> bt.Market:
    return bt.load_market(str(simulated), start="2021-01-01", end="2024-01-01")


def strategies(monkeypatch: pytest.MonkeyPatch) -> tuple[type[bt.Strategy], type[bt.Strategy]]:
    """Cash and carry, and funding carry."""
    monkeypatch.setattr(sys, "path", [str(STRATEGIES), *sys.path])
    from cash_and_carry import CashAndCarry
    from funding_carry import FundingCarry

    return CashAndCarry, FundingCarry


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Callable[[Any], Page]]:
    """Writes the report and opens it."""
    pages: list[Page] = []

    def show(view: Any) -> Page:
        view.report(file := tmp_path / "page.html")
        pages.append(browser.open(file))
        return pages[-1]

    yield show
    for each in pages:
        each.close()


def check(page: Page) -> dict[str, Any]:
    """Nothing is wrong in any look, whatever is folded or chosen, and the dark page is dark; what was measured."""
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.complaints_in_all_looks() == []
    page.show(dark=True)
    dark = page.measured()["background"]
    page.show()
    found = page.measured()
    assert (found["background"], dark) == ("rgb(255, 255, 255)", "rgb(20, 24, 29)")
    assert found["figures"]
    assert page.texts(".simulated"), "a page on made-up data says so"
    return found


def check_sections(page: Page, result: Any, *more: str) -> None:
    """Those of every report and these, in their order, and nothing unknown; the links to them too."""
    there = page.measured()["sections"]
    assert there == [name for name in SECTIONS if name in there]
    assert OF_ALL | set(more) <= set(there)
    assert ("liquidations" in there) == (len(result.liquidations) > 0)
    assert page.evaluate("[...document.querySelectorAll('nav a')].map(each => each.hash.slice(1))") == there


def check_sorting(page: Page, table: str, column: str) -> None:
    """A click on the head sorts by it, a second one the other way, by what the cells mean and not by how they are written."""
    heads = page.texts(f"{table} thead th")
    place = heads.index(next(head for head in heads if head.startswith(column)))

    def read() -> list[float]:
        texts = page.texts(f"{table} tbody tr > :nth-child({place + 1})")
        return [float(text.replace("−", "-").replace(",", "").rstrip("%")) for text in texts]

    before = read()
    assert len(set(before)) > 2
    assert before != sorted(before)
    for wanted, said in ((sorted(before), "ascending"), (sorted(before, reverse=True), "descending")):
        page.click(f"{table} thead th:nth-child({place + 1}) button")
        assert read() == wanted
        assert page.evaluate(f"[...document.querySelectorAll({table + ' [aria-sort]'!r})].map(each => each.ariaSort)") == [said]


def check_logarithm(page: Page) -> None:
    """The other choice shows the other drawing in place of the first, and nothing is wrong with it either."""
    labels = (
        "[...document.querySelectorAll('#equity .choice svg')].filter(each => each.getClientRects().length).map(each => each.ariaLabel)"
    )
    (plain,) = page.evaluate(labels)
    page.click("#equity .choice label", 1)
    (logarithmic,) = page.evaluate(labels)
    assert plain != logarithmic
    assert "log" in logarithmic
    assert page.complaints_in_all_looks() == []
    page.click("#equity .choice label", 0)
    assert page.evaluate(labels) == [plain]


def test_the_report_of_a_hedge_with_dated_futures(
    market: bt.Market, opened: Callable[[Any], Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    cash_and_carry, _ = strategies(monkeypatch)
    result = bt.run(cash_and_carry(), market)
    page = opened(result)
    check(page)
    check_sections(page, result, "premium", "term_structure", "regimes")


def test_the_report_of_a_hedge_with_the_perpetual(
    market: bt.Market, opened: Callable[[Any], Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, funding_carry = strategies(monkeypatch)
    result = bt.run(funding_carry(), market, leverage=3)
    page = opened(result)
    check(page)
    check_sections(page, result, "premium", "funding", "regimes")
    check_sorting(page, "#trades table.sortable", "PnL")
    check_logarithm(page)
    page.click(".code button")
    assert page.evaluate("String(getSelection())").strip() == page.texts(".code pre")[0]
    assert page.complaints() == []


def test_the_report_of_a_book(market: bt.Market, opened: Callable[[Any], Page], monkeypatch: pytest.MonkeyPatch) -> None:
    cash_and_carry, funding_carry = strategies(monkeypatch)
    result = bt.run([cash_and_carry(), funding_carry()], market)
    page = opened(result)
    check(page)
    check_sections(page, result, "rules")


def test_the_page_of_a_sweep_and_of_a_walk_forward(
    market: bt.Market, opened: Callable[[Any], Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, funding_carry = strategies(monkeypatch)
    grid: dict[str, Any] = {"enter": [0.02, 0.06, 0.1], "exit": [-0.05, 0.0], "max_hold": ["30D", None]}
    check(opened(bt.sweep(funding_carry, market, **grid)))
    check(opened(bt.walk_forward(funding_carry, market, train="270D", test="90D", **grid)))


def test_the_page_of_a_comparison(market: bt.Market, opened: Callable[[Any], Page], monkeypatch: pytest.MonkeyPatch) -> None:
    cash_and_carry, funding_carry = strategies(monkeypatch)
    check(opened(bt.compare(bt.run(cash_and_carry(), market), bt.run(funding_carry(), market), names=["dated", "perpetual"])))


def test_the_page_of_the_premium(simulated: Path, browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "premium.html"
    assert carry(["premium", str(simulated), "--at", "2021-05-19", "--html", str(file)]) == 0, capsys.readouterr().err
    page = browser.open(file)
    check(page)
    page.close()
