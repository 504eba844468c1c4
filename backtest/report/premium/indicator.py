"""The premium indicator over time with its regimes, and what each maturity adds to it.

figure = indicator_figure(overview)
"""

from typing import TYPE_CHECKING

import numpy as np

from backtest.curve.basket import basket_contributions
from backtest.errors import DataError
from backtest.market import Floats
from backtest.overview.view import Overview, state_name
from backtest.report import style
from backtest.report.premium import history
from backtest.report.words import percent
from backtest.signals.regime import Regime, regime

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELLS = 1200  # stretches of time that are shaded apart
STRETCHES = 250  # of the stack, each drawn as its mean
UNKNOWN = -1
SHADES = {UNKNOWN: ("grey", 0.16, "not known"), Regime.TRENDING: ("sky", 0.30, "trending"), Regime.STRESSED: ("red", 0.25, "stressed")}
TONES = ("blue", "orange", "green", "purple", "sky", "yellow", "red")  # of contracts by expiry, over and over
NAMED = 8  # with more contracts the legend names those that are in the basket now


def indicator_figure(overview: Overview) -> "Figure":
    """The premium indicator, shaded by regime. Raises DataError without dated futures or any known value."""
    values = _indicator(overview)
    with style.house_style():
        figure = style.new_figure(3.6)
        axes = figure.add_subplot()
        _shade(axes, overview)
        history.zero(axes)
        history.line(axes, overview, values, "blue", linewidth=1.1)
        history.focus(axes, values)
        axes.set_title("Premium indicator, % a year, and regime")
        style.value_axis(axes, percent=True)
        style.legend(figure)
        history.finish(figure, overview, axes)
    return figure


def describe_indicator(overview: Overview) -> str:
    """What the indicator's figure shows."""
    values = _indicator(overview)
    known = values[np.isfinite(values)]
    shares = ", ".join(f"{name} {percent(share, 0)}" for name, share in regime_shares(overview).items()) or "not known"
    ends = f"between {percent(float(known.min()))} and {percent(float(known.max()))}, median {percent(float(np.median(known)))}"
    return f"Premium indicator {ends}, last {percent(float(known[-1]))}. Share of the time by regime: {shares}."


def contributions_figure(overview: Overview) -> "Figure":
    """What each contract adds to the indicator: gains stacked upward, losses downward. Raises DataError as `indicator_figure`."""
    middles, table = contributions(overview)
    names, now = overview.chain.contracts, np.nan_to_num(_contributions(overview)[:, -1])
    parts = np.flatnonzero(np.nan_to_num(table).any(axis=1))
    up, down = np.zeros(len(middles)), np.zeros(len(middles))
    with style.house_style():
        figure = style.new_figure(3.8)
        axes = figure.add_subplot()
        for place, number in enumerate(parts):
            label = names[number] if len(parts) <= NAMED or now[number] else None
            for base, part in ((up, np.maximum(table[number], 0.0)), (down, np.minimum(table[number], 0.0))):
                if np.nan_to_num(part).any():
                    _area(axes, middles, base, part, style.colour(TONES[place % len(TONES)]), label)
                    base += part
                    label = None
        total = table.sum(axis=0)
        axes.plot(middles, total, color=style.colour("ink"), linewidth=0.8, label="indicator")
        history.zero(axes)
        history.focus(axes, total)
        axes.set_title("What each maturity adds to the indicator, % a year")
        style.value_axis(axes, percent=True)
        style.legend(figure)
        history.finish(figure, overview, axes)
    return figure


def contributions(overview: Overview) -> tuple[Floats, Floats]:
    """Middles of the stretches of time (days since 1970), and each contract's mean summand there. [stretch], [contract, stretch]"""
    edges, begins = history.cells(overview, STRETCHES)
    return (edges[:-1] + edges[1:]) / 2.0, history.means(_contributions(overview), begins)


def describe_contributions(overview: Overview) -> str:
    """What the figure of contributions shows at the overview's bar."""
    last = _contributions(overview)[:, -1]
    parts = [
        f"{name} {percent(value)}" for name, value in zip(overview.chain.contracts, np.nan_to_num(last).tolist(), strict=True) if value
    ]
    return f"Summands of the premium indicator by contract; last: {', '.join(parts) or 'none'}."


def regime_shares(overview: Overview) -> dict[str, float]:
    """Share of the known bars in each regime; empty where none is known."""
    states = _states(overview)
    known = states[np.isfinite(states)]
    return {state_name(kind): float((known == kind).mean()) for kind in Regime} if len(known) else {}


def _indicator(overview: Overview) -> Floats:
    return history.seen(overview, overview.indicator, "premium indicator")


def _contributions(overview: Overview) -> Floats:
    values = basket_contributions(
        overview.market, overview.chain, overview.spot, weighting=overview.weighting, roll_days=overview.roll_days
    )
    return history.seen(overview, values, "premium indicator")


def _states(overview: Overview) -> Floats:
    """The regime up to the bar, as the overview reads it; all unknown where the data can't tell it. [bar]"""
    try:
        return regime(overview.market, spot=overview.spot)[: overview.bar + 1]
    except DataError:
        return np.full(overview.bar + 1, np.nan)


def _shade(axes: "Axes", overview: Overview) -> None:
    """Bands behind the line; of a stretch that is narrower than a line the gravest state is shown."""
    edges, begins = history.cells(overview, CELLS)
    states = np.nan_to_num(_states(overview), nan=UNKNOWN)
    filled = np.flatnonzero(np.diff(begins))
    gravest = np.maximum.reduceat(states, begins[filled])
    turns = np.flatnonzero(np.diff(gravest, prepend=np.nan, append=np.nan))
    starts = np.append(edges[filled], edges[-1])[turns]
    for code, (tone, alpha, label) in SHADES.items():
        chosen = np.flatnonzero(gravest[turns[:-1]] == code)
        if len(chosen):
            bands = list(zip(starts[chosen], starts[chosen + 1] - starts[chosen], strict=True))
            whole = axes.get_xaxis_transform()
            axes.broken_barh(
                bands, (0, 1), transform=whole, color=style.colour(tone), alpha=alpha, linewidth=0, zorder=0, label=f"regime {label}"
            )


def _area(axes: "Axes", days: Floats, base: Floats, part: Floats, tone: str, label: str | None) -> None:
    """One contract's band over its own life: a stack of twenty contracts would else draw twenty whole lengths."""
    inside = np.flatnonzero(np.nan_to_num(part))
    life = slice(max(inside[0] - 1, 0), inside[-1] + 2)
    axes.fill_between(days[life], base[life], (base + part)[life], color=tone, linewidth=0, alpha=0.85, label=label)
