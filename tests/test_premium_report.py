"""The page and the figures of a premium: they draw what the signals say up to the overview's bar, nothing later, and say what they leave out."""

import html
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markets import only
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich_market import BEGIN, PERP, SPOT, STEP, changed_after, ended_at, rich

from backtest.curve.basket import premium_indicator
from backtest.curve.term_structure import constant_maturity
from backtest.data.schema import Tables
from backtest.errors import DataError, StorageError
from backtest.load import load_market
from backtest.market import DAY
from backtest.overview import Overview, overview
from backtest.report import style
from backtest.report.premium import figures, flows, history, indicator, render_overview_page, surface, write_overview
from backtest.report.premium.figures import PLANS, drawn
from backtest.signals.confirmation import Quadrant, quadrant
from backtest.signals.flow import cumulative_volume_delta
from backtest.signals.regime import Regime, regime

NAMES = ["indicator", "term-structure", "surface", "funding", "quadrants", "volume-delta", "contributions"]
CUT = BEGIN + 1100 * STEP
Maker = Callable[[Tables], str]


class Page(HTMLParser):
    """Ids, references, table cells and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.references: list[str] = []
        self.labels: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.references += [given[name] or "" for name in ("src", "href", "xlink:href") if name in given]
        self.labels += [given["aria-label"] or ""] if tag == "svg" else []

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Writes tables as a dataset and gives its folder."""
    from markets import write

    return lambda tables: write(tmp_path_factory.mktemp("data"), tables)


@pytest.fixture(scope="module")
def view(made: Maker) -> Overview:
    """The rich market in its middle."""
    return overview(load_market(made(rich())), CUT)


def lines(axes: Axes) -> dict[str, np.ndarray]:
    """What a plot's labelled lines draw."""
    return {str(line.get_label()): np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines()}


def svg(figure: Figure) -> str:
    return style.to_svg(figure, name="x", alt="x")


# ---------------------------------------------------------------- what is drawn


def test_every_figure_is_drawn_where_its_data_exist(view: Overview) -> None:
    assert list(figures(view)) == NAMES
    assert [plan.name for plan in PLANS] == NAMES
    assert list(view.figures()) == NAMES


@pytest.mark.parametrize("other", [changed_after, ended_at], ids=["changed", "ended"])
def test_nothing_later_than_the_bar_is_drawn(made: Maker, view: Overview, other: Callable[[pd.Timestamp], Tables]) -> None:
    elsewhere = overview(load_market(made(other(CUT))), CUT)
    assert elsewhere.bar == view.bar
    for (plan, figure), (_, twin) in zip(drawn(view), drawn(elsewhere), strict=True):
        assert isinstance(figure, Figure), plan.name
        assert isinstance(twin, Figure), plan.name
        assert svg(figure) == svg(twin), plan.name
        assert plan.describe(view) == plan.describe(elsewhere)


def test_the_indicator_is_the_premium_indicator(view: Overview) -> None:
    values = premium_indicator(view.market)[: view.bar + 1]
    longest = max(lines(indicator.indicator_figure(view).axes[0]).values(), key=len)
    np.testing.assert_array_equal(longest, values[style.thin(values)])
    assert np.nanmax(longest) == np.nanmax(values)


def test_bands_cover_the_bars_of_their_regime(view: Overview) -> None:
    """Fewer bars than cells: each bar is shaded from the end of the one before to its own."""
    codes = regime(view.market)[: view.bar + 1]
    assert codes[-1] == view["regime"].now
    middles = (view.market.stamps[: view.bar + 1] - view.market.step / 2) / DAY
    axes = indicator.indicator_figure(view).axes[0]
    found = {str(band.get_label()): [path.get_extents() for path in band.get_paths()] for band in axes.collections}
    expected = {
        "regime not known": np.isnan(codes),
        "regime trending": codes == Regime.TRENDING,
        "regime stressed": codes == Regime.STRESSED,
    }
    assert {name for name, where in expected.items() if where.any()} == set(found)
    for name, boxes in found.items():
        inside = np.zeros(len(middles), dtype=bool)
        for box in boxes:
            inside |= (middles > box.x0) & (middles < box.x1)
        np.testing.assert_array_equal(inside, expected[name], err_msg=name)


def test_a_cell_of_many_bars_shows_the_gravest_regime(view: Overview, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.zeros(len(view.market))
    codes[700] = Regime.STRESSED
    monkeypatch.setattr(indicator, "regime", lambda market, spot: codes)
    monkeypatch.setattr(indicator, "CELLS", 10)
    (band,) = indicator.indicator_figure(view).axes[0].collections
    assert band.get_label() == "regime stressed"
    (path,) = band.get_paths()
    assert path.get_extents().x0 < view.market.stamps[700] / DAY <= path.get_extents().x1


def test_the_indicator_is_drawn_without_a_regime(view: Overview, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*asked: object, **more: object) -> None:
        raise DataError("no")

    monkeypatch.setattr(indicator, "regime", refuse)
    (band,) = indicator.indicator_figure(view).axes[0].collections
    assert band.get_label() == "regime not known"
    assert "not known" in indicator.describe_indicator(view)


@pytest.mark.parametrize("back", [0, 7, 30, 90])
def test_the_curve_between_contracts_is_the_constant_maturity(view: Overview, back: int) -> None:
    bar, curve = surface.curves_at(view)[back]
    assert view.market.stamps[bar] <= view.market.stamps[view.bar] - back * DAY < view.market.stamps[bar + 1]
    for days in (5.0, 30.0, float(curve.days[0]), 0.5 * float(curve.days[0] + curve.days[-1])):
        expected = constant_maturity(view.market, days=days)[bar]
        assert surface.interpolated(curve, np.array([days]))[0] == pytest.approx(expected, rel=1e-9)


def test_the_term_structure_marks_each_contract_now(view: Overview) -> None:
    known = view.contracts.dropna(subset="annualized")
    axes = surface.term_structure_figure(view).axes[0]
    (marks,) = [line for line in axes.get_lines() if "(now)" in str(line.get_label())]
    np.testing.assert_allclose(np.asarray(marks.get_xdata(), dtype=float), known["days"])
    np.testing.assert_allclose(np.asarray(marks.get_ydata(), dtype=float), known["annualized"])
    assert {text.get_text() for text in axes.texts} <= set(known.index)
    for name in known.index:
        assert name in surface.describe_term_structure(view)


def test_the_surface_is_the_mean_constant_maturity_of_each_stretch(view: Overview) -> None:
    (start, end), values = surface.surface(view)
    assert (start, end) == (view.market.start / DAY, view.market.stamps[view.bar] / DAY)
    edges = np.linspace(start, end, values.shape[1] + 1) * DAY
    stamps = view.market.stamps[: view.bar + 1]
    premium = constant_maturity(view.market, days=60.0)[: view.bar + 1]
    row = values[surface.TENORS.index(60)]
    for number in (0, 100, len(row) - 1):
        bars = [bar for bar in range(len(stamps)) if edges[number] + 1000 < stamps[bar] <= edges[number + 1] + 1000]
        known = [premium[bar] for bar in bars if not np.isnan(premium[bar])]
        assert row[number] == pytest.approx(sum(known) / len(known)) if known else np.isnan(row[number])


def test_colours_tell_sign_and_strength_and_are_transparent_at_zero() -> None:
    rich_, poor, none, unknown, beyond = surface.shaded(np.array([0.1, -0.1, 0.0, np.nan, 5.0]), 0.2)
    assert rich_[2] > rich_[0]
    assert poor[0] > poor[2]
    assert rich_[3] == pytest.approx(0.5**surface.GAMMA) == poor[3]
    assert none[3] == unknown[3] == 0.0
    assert beyond[3] == 1.0


def test_the_correlation_is_pearsons_over_the_bars_known_in_both() -> None:
    one, other = np.array([1.0, 2.0, np.nan, 4.0, 7.0, 9.0]), np.array([2.0, 1.0, 5.0, 3.0, np.nan, 8.0])
    pairs = [(1.0, 2.0), (2.0, 1.0), (4.0, 3.0), (9.0, 8.0)]
    mx, my = (sum(pair[side] for pair in pairs) / 4 for side in (0, 1))
    above = sum((x - mx) * (y - my) for x, y in pairs)
    below = (sum((x - mx) ** 2 for x, _ in pairs) * sum((y - my) ** 2 for _, y in pairs)) ** 0.5
    assert flows.correlation(one, other) == pytest.approx(above / below)
    assert np.isnan(flows.correlation(one, np.full(6, 3.0)))
    assert np.isnan(flows.correlation(one[:2], other[:2]))


def test_the_figure_of_funding_names_the_correlation(view: Overview) -> None:
    texts = [text.get_text() for text in flows.funding_figure(view).axes[1].texts]
    (written,) = [text for text in texts if "correlation" in text]
    assert re.fullmatch(r"correlation -?0\.\d\d", written)
    assert written in flows.describe_funding(view)


def test_every_point_stands_in_its_quadrant(view: Overview) -> None:
    scatter, strip = flows.quadrants_figure(view).axes
    sides = {
        Quadrant.NEW_LEVERAGE: (1, 1),
        Quadrant.SHORT_COVERING: (-1, 1),
        Quadrant.NEW_SHORTS: (1, -1),
        Quadrant.LONG_LIQUIDATION: (-1, -1),
    }
    assert len(scatter.collections) == len(sides)
    shown = 0
    for points, (x, y) in zip(scatter.collections, sides.values(), strict=True):
        offsets = np.asarray(points.get_offsets())
        shown += len(offsets)
        assert (np.sign(offsets) == (x, y)).all()
    codes = quadrant(view.market)[: view.bar + 1]
    recent = view.market.stamps[: view.bar + 1] > view.market.stamps[view.bar] - 90 * DAY
    assert shown == np.isin(codes[recent], list(sides)).sum()
    shares = np.asarray(strip.images[0].get_array())[:, :, 3]
    assert shares.shape[0] == len(sides)
    assert 0.0 < shares.max() <= 1.0


def test_the_volume_deltas_are_the_cumulative_ones(view: Overview) -> None:
    price, *rows = flows.volume_delta_figure(view).axes
    np.testing.assert_array_equal(max(lines(price).values(), key=len), view.market.close(SPOT)[: view.bar + 1])
    for axes, leg in zip(rows, (view.spot, view.perpetual, view.future), strict=True):
        assert leg is not None
        values = cumulative_volume_delta(view.market, leg)[: view.bar + 1]
        np.testing.assert_array_equal(max(lines(axes).values(), key=len), values[style.thin(values)])


def test_contributions_add_up_to_the_mean_indicator(view: Overview) -> None:
    middles, table = indicator.contributions(view)
    edges, begins = history.cells(view, len(middles))
    np.testing.assert_allclose(table.sum(axis=0), history.means(premium_indicator(view.market), begins), rtol=1e-12)
    axes = indicator.contributions_figure(view).axes[0]
    drawn_sum = lines(axes)["indicator"]
    heights = np.concatenate([path.vertices[:, 1] for band in axes.collections for path in band.get_paths()])
    assert heights.max() == pytest.approx(np.nanmax(np.maximum(table, 0.0).sum(axis=0)))
    assert heights.min() == pytest.approx(min(np.nanmin(np.minimum(table, 0.0).sum(axis=0)), 0.0))
    np.testing.assert_allclose(drawn_sum, table.sum(axis=0))
    assert ((middles > edges[:-1]) & (middles < edges[1:])).all()


def test_means_leave_out_what_is_not_known() -> None:
    values = np.array([[1.0, 3.0, np.nan, np.nan, 5.0, 7.0, 100.0]])
    np.testing.assert_array_equal(history.means(values, np.array([0, 2, 2, 4, 6])), [[2.0, np.nan, np.nan, 6.0]])


def test_few_points_are_all_drawn_and_of_many_an_even_share() -> None:
    np.testing.assert_array_equal(history.some(np.array([3, 5, 8]), 3), [3, 5, 8])
    np.testing.assert_array_equal(history.some(np.arange(10, 19), 5), [10, 12, 14, 16, 18])
    assert len(history.some(np.array([], dtype=np.intp), 5)) == 0


def test_the_sentence_gives_the_reason_of_the_regime(view: Overview) -> None:
    said = f"Regime: {view['regime'].word}, {view['regime_reason'].meaning}."
    assert said in Page(render_overview_page(view)).text


# ---------------------------------------------------------------- what is missing


def without(*columns: str) -> Tables:
    tables = rich()
    tables.bars = {name: frame.drop(columns=list(columns)) for name, frame in tables.bars.items()}
    return tables


@pytest.mark.parametrize(
    ("tables", "left_out", "reason"),
    [
        (without("open_interest"), {"quadrants"}, f"{PERP} has no open interest in dataset test; import"),
        (without("taker_buy_volume"), {"volume-delta"}, f"{SPOT} has no taker_buy_volume and volume in dataset test; import"),
        (
            only(rich(), SPOT, PERP),
            {"indicator", "term-structure", "surface", "funding", "contributions"},
            "the dataset test has no dated futures among what was loaded",
        ),
        (only(rich(), SPOT, "ETHUSDT-240628"), {"funding"}, "the dataset test has no perpetual among what was loaded"),
    ],
    ids=["open interest", "taker volumes", "futures", "perpetual"],
)
def test_a_figure_without_data_is_left_out_and_the_page_says_why(made: Maker, tables: Tables, left_out: set[str], reason: str) -> None:
    seen = overview(load_market(made(tables)), CUT)
    assert set(NAMES) - set(figures(seen)) == left_out
    page = Page(render_overview_page(seen))
    assert not left_out & set(page.ids)
    assert reason in page.text


def test_before_anything_is_known_the_reason_names_the_time(made: Maker) -> None:
    early = overview(load_market(made(rich())), BEGIN + STEP)
    reasons = {plan.name: reason for plan, reason in drawn(early) if isinstance(reason, str)}
    assert reasons["funding"] == "the funding of 7 days is not known at any bar up to 2023-01-01 00:00"
    assert reasons["quadrants"] == "the quadrant is not known at any bar up to 2023-01-01 00:00"
    assert "Now" in Page(render_overview_page(early)).text


def test_after_the_last_expiry_the_curve_is_empty_and_the_past_is_drawn(made: Maker) -> None:
    late = overview(load_market(made(only(rich(), SPOT, "ETHUSDT-230630"))), CUT)
    assert "No dated contract is known at this time." in Page(render_overview_page(late)).text
    assert {"indicator", "term-structure", "surface", "contributions"} <= set(figures(late))
    assert "no contract is known" in surface.describe_term_structure(late)


# ---------------------------------------------------------------- the page


def test_the_page_is_one_file_with_unique_ids_and_the_same_bytes_each_time(view: Overview) -> None:
    text = render_overview_page(view)
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert {"now", "curve", "readings", "data", *NAMES} <= set(page.ids)
    assert all(reference.startswith(("#", "data:image/png;base64,")) for reference in page.references)
    assert {reference[1:] for reference in page.references if reference.startswith("#")} <= set(page.ids)
    assert len(page.labels) == len(NAMES)
    assert all(label.startswith("SIMULATED data. ") for label in page.labels)
    assert text == render_overview_page(view)
    assert len(text) < 2_000_000


def test_the_page_tells_the_curve_and_the_readings(view: Overview) -> None:
    page = Page(render_overview_page(view))
    for name, row in view.contracts.iterrows():
        assert str(name) in page.text
        assert f"{100 * row['annualized']:.2f}%".replace("-", "−") in page.text
    for reading in view.readings:
        assert not reading.known or reading.label in page.text, reading.name
    assert f"{100 * view['indicator'].now:.2f}%".replace("-", "−") + " a year" in page.text
    assert view.market.info.hash in page.text


def test_colours_of_the_page_follow_light_and_dark(view: Overview) -> None:
    body = render_overview_page(view).split("</style>")[1]
    for name, (light, _) in style.COLOURS.items():
        assert not re.search(rf"(?<!var\(--{name}, ){light}", body), name


def test_the_page_is_written_whole_or_not_at_all(view: Overview, tmp_path: Path) -> None:
    written = write_overview(view, tmp_path / "deep" / "premium.html")
    assert written.read_text(encoding="utf-8") == render_overview_page(view)
    view.report(tmp_path / "premium.html")
    assert (tmp_path / "premium.html").read_bytes() == written.read_bytes()
    with pytest.raises(StorageError, match=r"the page can't be written to .*: it is a folder; .* choose another place with --html"):
        write_overview(view, tmp_path)


def test_the_page_says_how_contracts_fade(view: Overview) -> None:
    assert "weighting equal, each contract fades in and out over 7 days" in Page(render_overview_page(view)).text
    assert "weighting equal, no fade" in Page(render_overview_page(overview(view.market, view.time, roll_days=0.0))).text


def test_the_page_has_a_card_of_the_perpetuals_premium(view: Overview) -> None:
    headline = render_overview_page(view).split('id="curve"')[0]
    assert "perpetual's premium" in html.unescape(headline)
