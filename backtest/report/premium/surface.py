"""The term structure at several dates, and as a surface over time and maturity.

figure = surface_figure(overview)
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from backtest.curve.prices import annualized_premium, days_to_expiry, premium
from backtest.curve.term_structure import constant_maturity
from backtest.market import Floats
from backtest.overview.view import Overview
from backtest.report import style
from backtest.report.premium import history
from backtest.report.words import day, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BACK = ((0, "blue", "o"), (7, "orange", "s"), (30, "green", "^"), (90, "purple", "D"), (365, "grey", "v"))  # days before, colour, mark
TENORS = (7, 14, 30, 45, 60, 90, 120, 180, 270)
COLUMNS = 300  # stretches of time, each shown as its mean
SATURATED = 0.98  # the share of values below the strongest colour
LABEL_ROOM = 0.12  # of the days' axis
GAMMA = 0.6  # small premia are the usual ones: they get more of the colour


class Curve(NamedTuple):
    """The known contracts at one bar: days to expiry, ln(F/S), annualized premium, ids; from the nearest to the farthest."""

    days: Floats
    logs: Floats
    rates: Floats
    names: list[str]


def curve_at(overview: Overview, bar: int) -> Curve:
    """The contracts whose annualized premium is known at a bar."""
    future = overview.chain
    rates = annualized_premium(overview.market, future, overview.spot)[:, bar]
    known = np.flatnonzero(np.isfinite(rates))
    days, fractions = days_to_expiry(overview.market, future)[known, bar], premium(overview.market, future, overview.spot)[known, bar]
    return Curve(days, np.log1p(fractions), rates[known], [future.contracts[number] for number in known])


def interpolated(curve: Curve, days: Floats) -> Floats:
    """Annualized premium between the contracts, linear in ln(F/S) from the spot on (the rule of `constant_maturity`)."""
    rates: Floats = np.expm1(np.interp(days, np.append(0.0, curve.days), np.append(0.0, curve.logs))) * 365.0 / days
    return rates


def curves_at(overview: Overview) -> dict[int, tuple[int, Curve]]:
    """Bar and curve now and some days before, as far as the data reach back and know a contract: {days before: (bar, curve)}."""
    days = tuple(back for back, *_ in BACK)
    found = {}
    for back, bar in zip(days, overview.places(days), strict=True):
        if bar >= 0 and len((curve := curve_at(overview, bar)).days):
            found[back] = (bar, curve)
    return found


def term_structure_figure(overview: Overview) -> "Figure":
    """Annualized premium against days to expiry, now and before. Raises DataError without dated futures or any known premium."""
    history.seen(overview, annualized_premium(overview.market, overview.chain, overview.spot), "annualized premium")
    curves = curves_at(overview)
    with style.house_style():
        figure = style.new_figure(3.8)
        axes = figure.add_subplot()
        history.zero(axes)
        for back, tone, mark in BACK:
            if back in curves:
                bar, curve = curves[back]
                label = f"{day(overview.market.clock[bar])} ({f'−{back} days' if back else 'now'})"
                _curve(axes, curve, style.colour(tone), mark, label, back)
        if not curves:
            axes.text(0.5, 0.5, "no contract is known at these dates", transform=axes.transAxes, ha="center", color=style.colour("muted"))
        axes.set_xlim(left=0)
        axes.margins(y=0.15)
        axes.set_xlabel("days to expiry")
        axes.set_title("Term structure: annualized premium, %")
        style.value_axis(axes, percent=True)
        style.legend(figure)
        history.finish(figure, overview)
    return figure


def describe_term_structure(overview: Overview) -> str:
    """What the figure of the term structure shows: each contract now."""
    if 0 not in (curves := curves_at(overview)):
        return "Annualized premium against days to expiry at earlier dates; now no contract is known."
    curve = curves[0][1]
    parts = [f"{name} {percent(rate)} at {left:.0f} days" for name, rate, left in zip(curve.names, curve.rates, curve.days, strict=True)]
    return f"Annualized premium against days to expiry at {len(curves)} dates; now: {', '.join(parts)}."


def surface_figure(overview: Overview) -> "Figure":
    """Annualized premium over time (across) and maturity (up) as a heat map. Raises DataError as `term_structure_figure`."""
    edges, values = surface(overview)
    limit = _limit(values)
    with style.house_style():
        figure = style.new_figure(3.4)
        axes, scale = figure.subplots(1, 2, width_ratios=[50, 1])
        axes.imshow(shaded(values, limit), extent=(*edges, -0.5, len(TENORS) - 0.5), aspect="auto", origin="lower", interpolation="none")
        axes.set_yticks(range(len(TENORS)), [str(tenor) for tenor in TENORS])
        axes.set_ylabel("maturity, days")
        axes.grid(visible=False)
        axes.set_title("Annualized premium by maturity, %")
        _scale(scale, limit)
        history.finish(figure, overview, axes)
    return figure


def describe_surface(overview: Overview) -> str:
    """What the surface shows, maturity by maturity."""
    parts = []
    for tenor, values in zip(TENORS, surface(overview)[1], strict=True):
        known = values[np.isfinite(values)]
        if len(known):
            ends = f"{percent(float(known.min()), 1)} to {percent(float(known.max()), 1)}"
            parts.append(f"{tenor} days {ends}, median {percent(float(np.median(known)), 1)}")
    return f"Annualized premium over time by maturity: {'; '.join(parts)}."


def surface(overview: Overview) -> tuple[tuple[float, float], Floats]:
    """The ends of the time axis, and the mean of each constant-maturity premium in each stretch of it; NaN where none is known. [tenor, stretch]"""
    edges, begins = history.cells(overview, COLUMNS)
    future = overview.chain
    rows = (constant_maturity(overview.market, future, overview.spot, days=float(tenor)) for tenor in TENORS)
    values = history.seen(overview, np.stack([history.means(row, begins) for row in rows]), "premium of a constant maturity")
    return (float(edges[0]), float(edges[-1])), values


def shaded(values: Floats, limit: float) -> Floats:
    """Colours with alpha for values: blue above 0, orange below, the stronger the farther from it, transparent at 0 and where unknown. [as values, 4]

    Transparent instead of white, so that the same picture is right on a light and on a dark page.
    """
    from matplotlib.colors import to_rgb

    strength = np.clip(np.abs(np.nan_to_num(values)) / limit, 0.0, 1.0) ** GAMMA
    tones = np.where((values >= 0.0)[..., None], to_rgb(style.colour("blue")), to_rgb(style.colour("red")))
    return np.concatenate([tones, strength[..., None]], axis=-1)


def _limit(values: Floats) -> float:
    """The value of the strongest colour."""
    known = np.abs(values[np.isfinite(values)])
    strongest = float(np.quantile(known, SATURATED)) if len(known) else 0.0
    return strongest or 0.01


def _curve(axes: "Axes", curve: Curve, tone: str, mark: str, label: str, back: int) -> None:
    now, order = back == 0, 4.0 - back / 1000  # the newer above the older
    grid = np.linspace(min(1.0, curve.days[0]), curve.days[-1], 200)
    axes.plot(grid, interpolated(curve, grid), color=tone, linewidth=1.8 if now else 1.1, zorder=order)
    look: dict[str, Any] = {"markersize": 7.5 if now else 5.5, "markeredgecolor": style.colour("page"), "markeredgewidth": 0.8}
    axes.plot(curve.days, curve.rates, color=tone, marker=mark, linestyle="none", label=label, zorder=order + 0.5, **look)
    if now:
        _name_contracts(axes, curve)


def _name_contracts(axes: "Axes", curve: Curve) -> None:
    """The ids above the marks, as far as they don't stand on each other."""
    reach, named = float(curve.days[-1]), -np.inf
    for days, rate, name in zip(curve.days, curve.rates, curve.names, strict=True):
        if days - named >= LABEL_ROOM * reach:
            side = "left" if days < LABEL_ROOM * reach else "right" if days > (1.0 - LABEL_ROOM / 2) * reach else "center"
            look: dict[str, Any] = {"ha": side, "fontsize": 8, "color": style.colour("ink"), "zorder": 6}
            axes.annotate(name, (days, rate), (0, 8), textcoords="offset points", **look)
            named = days


def _scale(axes: "Axes", limit: float) -> None:
    """The colours' scale; what lies beyond it has the strongest colour."""
    ramp = np.linspace(-limit, limit, 201)
    axes.imshow(shaded(ramp[:, None], limit), extent=(0, 1, -limit, limit), aspect="auto", origin="lower", interpolation="none")
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.grid(visible=False)
    style.value_axis(axes, percent=True)
