"""What stands behind a premium: the perpetual's funding, open interest, and who trades in a hurry.

figure = funding_figure(overview)
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from backtest.curve.activity import open_interest
from backtest.curve.basket import premium_indicator
from backtest.curve.prices import premium
from backtest.curve.term_structure import constant_maturity
from backtest.errors import DataError
from backtest.instruments import Kind
from backtest.market import DAY, Floats
from backtest.overview.view import Overview, state_name
from backtest.report import style
from backtest.report.premium import history
from backtest.report.words import number, percent
from backtest.rule import Leg
from backtest.signals.confirmation import Quadrant, quadrant
from backtest.signals.flow import cumulative_volume_delta
from backtest.signals.funding import annualized_funding
from backtest.signals.trend import change

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 700  # of a scatter
SCATTERED_DAYS = 90
STRIP_CELLS = 75  # more would show the noise of weeks
STRONGEST = 0.6  # the share of the time that has the full colour
WINDOW = "1D"
TONES = {
    Quadrant.NEW_LEVERAGE: "blue",
    Quadrant.SHORT_COVERING: "green",
    Quadrant.NEW_SHORTS: "red",
    Quadrant.LONG_LIQUIDATION: "purple",
}
CORNERS = {
    Quadrant.NEW_LEVERAGE: (1, 1),
    Quadrant.SHORT_COVERING: (0, 1),
    Quadrant.NEW_SHORTS: (1, 0),
    Quadrant.LONG_LIQUIDATION: (0, 0),
}


def funding_figure(overview: Overview) -> "Figure":
    """30-day premium and a week's funding over time, and one against the other. Raises DataError where futures, perpetual or funding lack."""
    dear, paid = _premium_and_funding(overview)
    with style.house_style():
        figure = style.new_figure(3.6)
        left, right = figure.subplots(1, 2, width_ratios=[2.1, 1])
        history.zero(left)
        history.line(left, overview, paid, "orange", "funding of 7 days, annualized", linewidth=0.9)
        history.line(left, overview, dear, "blue", "premium of 30 days, annualized", linewidth=0.9)
        history.focus(left, np.concatenate([dear, paid]))
        left.set_title("Premium and funding, % a year")
        both = np.flatnonzero(np.isfinite(dear) & np.isfinite(paid))
        kept = history.some(both, POINTS)
        right.scatter(paid[kept], dear[kept], s=7, color=style.colour("blue"), alpha=0.35, linewidth=0)
        if len(both):
            _present(right, float(paid[both[-1]]), float(dear[both[-1]]), "last")
        right.set_xlabel("funding, %")
        right.set_ylabel("premium, %")
        right.set_title("One against the other")
        right.text(0.98, 0.03, _correlation_words(dear, paid), transform=right.transAxes, ha="right", fontsize=9, fontweight="bold")
        for axis in (right.xaxis, left.yaxis, right.yaxis):
            style.value_ticks(axis, percent=True)
        style.legend(figure)
        history.finish(figure, overview, left)
    return figure


def describe_funding(overview: Overview) -> str:
    """What the figure of premium and funding shows."""
    dear, paid = _premium_and_funding(overview)
    ends = f"premium of 30 days last {percent(history.last_known(dear))}, funding of 7 days last {percent(history.last_known(paid))}"
    return f"Annualized: {ends}; {_correlation_words(dear, paid)}."


def correlation(one: Floats, other: Floats) -> float:
    """Pearson's correlation over the bars at which both are known; NaN for fewer than three of them, or where one doesn't move."""
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 3 or np.ptp(one[both]) == 0.0 or np.ptp(other[both]) == 0.0:
        return np.nan
    return float(np.corrcoef(one[both], other[both])[0, 1])


def quadrants_figure(overview: Overview) -> "Figure":
    """Premium change against open-interest change of the last months, and each quadrant's share of the time since the beginning.

    Raises DataError without open interest, a leg, or any known quadrant.
    """
    codes, dearer, fuller = _quadrants(overview)
    with style.house_style():
        figure = style.new_figure(4.0)
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.45])
        _scatter(left, overview, codes, dearer, fuller)
        _strip(right, overview, codes)
        history.finish(figure, overview, right)
    return figure


def describe_quadrants(overview: Overview) -> str:
    """What the figure of quadrants shows: the share of each, and the present one."""
    codes, *_ = _quadrants(overview)
    known = codes[np.isfinite(codes)]
    shares = ", ".join(f"{state_name(kind)} {percent(float((known == kind).mean()), 0)}" for kind in TONES)
    now = f"now {state_name(Quadrant(int(codes[-1])))}" if np.isfinite(codes[-1]) else "now not known"
    return f"Premium change against open-interest change over a day; share of the time: {shares}; {now}."


def volume_delta_figure(overview: Overview) -> "Figure":
    """The spot's price, below it the cumulative volume delta of spot, perpetual and dated futures, each on its own scale.

    Raises DataError where none of them has taker volumes.
    """
    deltas = _deltas(overview)
    spot = overview.market.instruments[overview.spot.contracts[0]]
    price = history.seen(overview, overview.market.close(spot.id), "spot price")
    with style.house_style():
        figure = style.new_figure(1.3 + 1.15 * len(deltas))
        upper, *rows = figure.subplots(1 + len(deltas), 1, sharex=True)
        history.line(upper, overview, price, "ink")
        upper.set_title(f"Price of {spot.id}, {spot.quote}")
        for axes, (label, (tone, values)) in zip(rows, deltas.items(), strict=True):
            history.zero(axes)
            history.line(axes, overview, values, tone)
            axes.set_title(f"Cumulative volume delta of the {label}, {spot.base}")
        for axes in (upper, *rows):
            style.value_axis(axes)
        history.finish(figure, overview, rows[-1])
    return figure


def describe_volume_delta(overview: Overview) -> str:
    """What the figure of volume deltas shows: where each ends."""
    ends = ", ".join(f"{label} {number(history.last_known(values), 0)}" for label, (_, values) in _deltas(overview).items())
    return f"Spot price above, cumulative volume delta in base units below; last: {ends}."


def _premium_and_funding(overview: Overview) -> tuple[Floats, Floats]:
    dear = constant_maturity(overview.market, overview.chain, overview.spot, days=30.0)
    paid = annualized_funding(overview.market, overview.swap, "7D")[0]
    return history.seen(overview, dear, "premium of 30 days"), history.seen(overview, paid, "funding of 7 days")


def _correlation_words(dear: Floats, paid: Floats) -> str:
    found = correlation(dear, paid)
    return f"correlation {number(found)}" if np.isfinite(found) else "no correlation known"


def _quadrants(overview: Overview) -> tuple[Floats, Floats, Floats]:
    """Quadrant, change of the premium, and relative change of the open interest (as the quadrant counts it), up to the bar. [bar] each"""
    market, leg = overview.market, overview.derivative
    held = open_interest(market, leg)
    codes = history.seen(overview, quadrant(market, leg, overview.spot, WINDOW), "quadrant")
    dearness = premium_indicator(market, leg, overview.spot) if leg.kind is Kind.FUTURE else premium(market, leg, overview.spot)[0]
    more = change(market, held, WINDOW)
    with np.errstate(divide="ignore", invalid="ignore"):
        fuller = np.nansum(more, axis=0) / np.nansum(np.where(np.isnan(more), np.nan, held - more), axis=0)
    bars = slice(overview.bar + 1)
    return codes, change(market, dearness, WINDOW)[bars], fuller[bars]


def _scatter(axes: "Axes", overview: Overview, codes: Floats, dearer: Floats, fuller: Floats) -> None:
    stamps = overview.market.stamps[: overview.bar + 1]
    recent = (stamps > stamps[-1] - SCATTERED_DAYS * DAY) & np.isfinite(codes) & np.isfinite(fuller)
    found = np.flatnonzero(recent)
    shown = history.some(found, POINTS)
    for kind, tone in TONES.items():
        chosen = shown[codes[shown] == kind]
        axes.scatter(fuller[chosen], dearer[chosen], s=9, color=style.colour(tone), alpha=0.55, linewidth=0)
    reach = [1.25 * max(float(np.quantile(np.abs(values[shown]), 0.99)), 1e-6) if len(shown) else 1.0 for values in (fuller, dearer)]
    if len(found) and found[-1] == overview.bar:
        x, y = float(fuller[-1]), float(dearer[-1])
        reach = [max(reach[0], 1.25 * abs(x)), max(reach[1], 1.25 * abs(y))]
        _present(axes, x, y, "now")
    axes.set_xlim(-reach[0], reach[0])
    axes.set_ylim(-reach[1], reach[1])
    axes.axvline(0, color=style.colour("muted"), linewidth=0.7, zorder=1)
    history.zero(axes)
    for kind, (x, y) in CORNERS.items():
        place: dict[str, Any] = {"ha": "right" if x else "left", "va": "top" if y else "bottom", "transform": axes.transAxes}
        axes.text(
            0.02 + 0.96 * x, 0.02 + 0.96 * y, state_name(kind), fontsize=8.5, color=style.colour(TONES[kind]), fontweight="bold", **place
        )
    axes.set_title(f"Changes over a day, last {SCATTERED_DAYS} days")
    axes.set_xlabel("open interest, %")
    axes.set_ylabel(f"premium of the {'perpetual' if overview.perpetual else 'dated futures'}, % points")
    for axis in (axes.xaxis, axes.yaxis):
        style.value_ticks(axis, percent=True)


def _strip(axes: "Axes", overview: Overview, codes: Floats) -> None:
    """A row a quadrant, the stronger the larger its share of each stretch of time."""
    from matplotlib.colors import to_rgb

    edges, begins = history.cells(overview, STRIP_CELLS)
    counts = [np.concatenate([[0], np.cumsum(codes == kind)])[begins] for kind in TONES]
    known = np.diff(np.concatenate([[0], np.cumsum(np.isfinite(codes))])[begins])
    picture = np.zeros((len(TONES), len(known), 4))
    for row, count, tone in zip(picture, counts, TONES.values(), strict=True):
        row[:, :3], row[:, 3] = to_rgb(style.colour(tone)), np.minimum(np.diff(count) / np.maximum(known, 1) / STRONGEST, 1.0)
    axes.imshow(picture, extent=(edges[0], edges[-1], len(TONES) - 0.5, -0.5), aspect="auto", interpolation="none")
    axes.set_yticks(range(len(TONES)), [state_name(kind) for kind in TONES])
    axes.grid(visible=False)
    axes.set_title("Share of the time in each quadrant")


def _present(axes: "Axes", x: float, y: float, label: str) -> None:
    axes.plot(
        [x], [y], marker="o", markersize=8, markerfacecolor="none", markeredgecolor=style.colour("ink"), markeredgewidth=1.6, zorder=5
    )
    axes.annotate(label, (x, y), (7, 5), textcoords="offset points", fontsize=8.5, fontweight="bold", color=style.colour("ink"), zorder=6)


def _deltas(overview: Overview) -> dict[str, tuple[str, Floats]]:
    """The legs that have taker volumes: label, colour and cumulative volume delta up to the bar; DataError if none has."""
    legs: dict[str, tuple[str, Leg | None]] = {
        "spot": ("blue", overview.spot),
        "perpetual": ("orange", overview.perpetual),
        "dated futures": ("green", overview.future),
    }
    found, reasons = {}, []
    for label, (tone, leg) in legs.items():
        if leg is not None:
            try:
                found[label] = (tone, history.seen(overview, cumulative_volume_delta(overview.market, leg), f"volume delta of the {label}"))
            except DataError as error:
                reasons.append(str(error))
    if not found:
        raise DataError(reasons[0])
    return found
