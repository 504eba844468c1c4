"""The figures of a report, each a function from a result to a matplotlib `Figure`, and what they draw, each a function onto an `Axes`.

They draw no more points than the eye can tell apart (extremes are kept), write SIMULATED on made-up data, and touch neither pyplot nor any
state outside themselves. `describe_…` says in words what a figure shows, for those who can't see it. The premium is drawn in `figures_premium`.

    figure = equity_figure(result)
    figure.savefig("equity.svg")
    draw_drawdown(axes, result)
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from backtest.report import style
from backtest.report.figures_base import (
    MARKED_LIQUIDATIONS,
    Array,
    about,
    days_since_1970,
    draw_forced,
    figure_of,
    finish,
    floats,
    forced_note,
    run_axis,
    times_of,
    with_start,
)
from backtest.report.figures_premium import (
    MARKED_TRADES,
    MARKS,
    describe_premium,
    draw_marks,
    draw_premium,
    draw_ticks,
    premium_figure,
    premium_limits,
    premium_of,
)
from backtest.report.protocol import Reportable
from backtest.report.summary import THIS_RUN, attribution_table, beside, beside_curves, drawdown, final_equity
from backtest.report.words import day, money, percent, source_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GROUPS", "MARKED_LIQUIDATIONS", "MARKED_TRADES", "MARKS", "Array", "about", "attribution_figure", "beside_figure", "days_since_1970",
    "describe_attribution", "describe_beside", "describe_equity", "describe_premium", "draw_attribution", "draw_beside", "draw_drawdown",
    "draw_equity", "draw_forced", "draw_marks", "draw_premium", "draw_ticks", "dwarfs", "equity_figure", "finish", "floats", "forced_note",
    "grown", "log_axis", "premium_figure", "premium_limits", "premium_of", "run_axis", "stacks", "times_of", "with_start",
]  # fmt: skip

# The two price legs of a carry nearly cancel: drawn apart they would be two mountains that hide every other source.
GROUPS: dict[str, tuple[tuple[str, ...], str]] = {
    "price of both legs": (("price_long", "price_short"), "blue"),
    "legging": (("legging",), "grey"),
    "funding": (("funding",), "orange"),
    "interest on idle cash": (("idle_cash",), "sky"),
    "staking": (("staking",), "green"),
    "financing and borrow": (("financing", "borrow"), "yellow"),
    "fees, slippage, delivery": (("fees", "slippage", "settlement"), "purple"),
    "liquidation": (("liquidation",), "red"),
}
# What is drawn beside the run: its colour, how it is dashed, how thick.
CURVES: dict[str, tuple[str, Any, float]] = {
    THIS_RUN: ("blue", "solid", 1.9),
    "hold spot": ("orange", "solid", 1.1),
    "T-bills": ("green", "solid", 1.2),
    "always-on funding carry": ("red", "solid", 1.1),
    "zero cost": ("sky", (0, (5, 2)), 1.2),
    "double cost": ("purple", (0, (2, 1.5)), 1.2),
}
FEW_POINTS = 4  # lines of so few points are drawn with marks
DWARFED = 3.0  # one curve moves so many times as much as all others
MULTIPLIED = 3.0  # equity has grown by so much that a plain axis would tell little
DECADE = 10.0
STACK_POINTS = 600


# ---------------------------------------------------------------- equity


def equity_figure(result: Reportable, *, log: bool = False) -> "Figure":
    """Equity above, drawdown below, over one time axis."""
    with style.house_style():
        figure = style.new_figure(4.4)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.4, 1])
        draw_equity(upper, result, log=log)
        draw_drawdown(lower, result)
        finish(figure, result, lower)
    return figure


def draw_equity(axes: "Axes", result: Reportable, *, log: bool = False) -> None:
    """Equity from the capital on, with a dashed line at the capital and a dotted one at each liquidation. log: where equity never fell to nothing."""
    times, values = with_start(result, result.equity, result.capital)
    kept = style.thin(values)
    axes.axhline(result.capital, color=style.colour("muted"), linewidth=0.8, linestyle=(0, (4, 3)))
    axes.plot(times[kept], values[kept], color=style.colour("blue"), linewidth=1.4)
    draw_forced(axes, result)
    axes.set_title(f"Equity, {result.quote} (dashed: capital{forced_note(result)})")
    if log and values.min() > 0:
        log_axis(axes)
    else:
        style.value_axis(axes)


def draw_drawdown(axes: "Axes", result: Reportable) -> None:
    """The fall from the running peak, as an area below zero."""
    times, values = with_start(result, drawdown(result), 0.0)
    kept = style.thin(values)
    axes.fill_between(times[kept], values[kept], color=style.colour("red"), alpha=0.35, linewidth=0)
    axes.plot(times[kept], values[kept], color=style.colour("red"), linewidth=0.9)
    axes.set_title("Drawdown, % of the running peak")
    depth = max(-float(values.min()), 1e-4)
    axes.set_ylim(-1.08 * depth, 0.03 * depth)
    style.value_axis(axes, percent=True)


def describe_equity(result: Reportable) -> str:
    """What the equity figure shows."""
    depth = float(drawdown(result).min()) if len(result.equity) else 0.0
    ends = f"from {money(result.capital)} to {money(final_equity(result))} {result.quote}"
    return f"{about(result)}Equity {ends}, {day(result.start)} to {day(result.end)}; deepest drawdown {percent(depth)}."


# ---------------------------------------------------------------- sources of PnL


def attribution_figure(result: Reportable) -> "Figure":
    """Cumulated cash by group of sources: gains stacked upward, losses downward, and the line of their sum."""

    def draw(axes: "Axes") -> None:
        draw_attribution(axes, result)
        run_axis(axes, result)

    return figure_of(draw, 4.2, result.dataset.simulated)


def draw_attribution(axes: "Axes", result: Reportable) -> None:
    """The areas of `attribution_figure`, each with its label."""
    times, groups = stacks(result)
    up, down = np.zeros(len(times)), np.zeros(len(times))
    for name, values in groups.items():
        tone = style.colour(GROUPS[name][1] if name in GROUPS else "grey")
        gain, loss = np.maximum(values, 0), np.minimum(values, 0)
        for base, part in ((up, gain), (down, loss)):
            if part.any():
                label = name if part is gain or not gain.any() else None
                axes.fill_between(times, base, base + part, color=tone, linewidth=0, alpha=0.85, label=label)
        up, down = up + gain, down + loss
    axes.plot(times, up + down, color=style.colour("page"), linewidth=3)
    axes.plot(times, up + down, color=style.colour("ink"), linewidth=1.4, label="equity less capital")
    axes.axhline(0, color=style.colour("muted"), linewidth=0.7)
    axes.set_title(f"Cumulated PnL by source, {result.quote}", pad=8)
    style.value_axis(axes)


def stacks(result: Reportable) -> tuple[Array, dict[str, Array]]:
    """Times (days) and each non-zero group's cumulated cash there, largest first; at every time the groups sum to equity less capital."""
    ledger = result.attribution
    columns = {str(name): floats(ledger[name]) for name in ledger.columns}
    grouped = {name: [source for source in sources if source in columns] for name, (sources, _) in GROUPS.items()}
    named = {source for sources in grouped.values() for source in sources}
    grouped |= {source_label(source): [source] for source in columns if source not in named}
    sums = {name: np.sum([columns[source] for source in sources], axis=0) for name, sources in grouped.items() if sources}
    used = sorted((name for name, values in sums.items() if values.any()), key=lambda name: -float(np.abs(sums[name]).max()))
    kept = np.unique(np.linspace(0, max(len(ledger) - 1, 0), STACK_POINTS).astype(np.intp))[: len(ledger)]
    times, start = times_of(ledger.index)[kept], days_since_1970(result.start)
    before = not len(times) or start < times[0]
    whole = np.concatenate([[start], times]) if before else times
    groups = {name: np.concatenate([[0.0], sums[name][kept]]) if before else sums[name][kept] for name in used}
    return _with_crossings(whole, groups)


def _with_crossings(times: Array, groups: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """Add the times at which a group changes sign, so that an area above zero ends where the one below begins."""
    extra = [times]
    for values in groups.values():
        turn = np.flatnonzero(values[:-1] * values[1:] < 0)
        extra.append(times[turn] + (times[turn + 1] - times[turn]) * values[turn] / (values[turn] - values[turn + 1]))
    dense = np.unique(np.concatenate(extra))
    return dense, {name: np.interp(dense, times, values) for name, values in groups.items()}


def describe_attribution(result: Reportable) -> str:
    """What the attribution figure shows."""
    rows = [row for row in attribution_table(result).rows if row.cash]
    parts = ", ".join(f"{source_label(row.source)} {money(row.cash)}" for row in rows) or "nothing"
    return f"{about(result)}Cumulated PnL by source in {result.quote}, at the end: {parts}."


# ---------------------------------------------------------------- baselines


def beside_figure(result: Reportable) -> "Figure":
    """Equity of the run and of each baseline at midnights; without those that dwarf the others once more below."""
    curves = beside_curves(result)
    dwarfing = dwarfs(curves)
    with style.house_style():
        figure = style.new_figure(4.8 if dwarfing else 3.6)
        axes = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.3]) if dwarfing else [figure.add_subplot()]
        for number, one in enumerate(axes):
            draw_beside(one, curves if number == 0 else curves.drop(columns=dwarfing), result.quote, dwarfing if number else [])
        style.legend(figure, axes[0].get_legend_handles_labels()[0][::-1], columns=6)
        finish(figure, result, axes[-1])
    return figure


def draw_beside(axes: "Axes", curves: pd.DataFrame, quote: str, without: list[str]) -> None:
    """Equity of the run and of baselines, a column each. without: what was left out, so that the rest can be told apart; then the lines have no labels."""
    times = times_of(curves.index)
    for name in reversed(curves.columns):  # the run above the others
        tone, dashes, width = CURVES.get(str(name), ("grey", "solid", 1.0))
        values = floats(curves[name])
        kept = style.thin(values)
        marker = "o" if len(values) < FEW_POINTS else None
        label = None if without else str(name)
        axes.plot(
            times[kept], values[kept], color=style.colour(tone), linestyle=dashes, linewidth=width, marker=marker, markersize=4, label=label
        )
    log = grown(curves.to_numpy())
    if log:
        log_axis(axes)
    else:
        style.value_axis(axes)
    left_out = f" without {' and '.join(without)}" if without else ""
    axes.set_title(f"Equity at midnights{left_out}, {quote}{' (log)' if log else ''}")


def dwarfs(curves: pd.DataFrame) -> list[str]:
    """The baselines whose equity moves so much more than all others together that these would look flat."""
    spans = {str(name): float(curves[name].max() - curves[name].min()) for name in curves.columns if name != THIS_RUN}
    largest = max(spans, key=lambda name: spans[name], default="")
    rest = curves.drop(columns=[largest], errors="ignore").to_numpy()
    span = float(rest.max() - rest.min())
    return [largest] if largest and span > 0.0 and spans[largest] > DWARFED * span else []


def grown(values: Array) -> bool:
    """Whether equity has multiplied and never fell to nothing, so that a logarithmic axis tells more."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return low > 0.0 and high > MULTIPLIED * low


def log_axis(axes: "Axes") -> None:
    """A logarithmic upright axis with ticks at 1, 2 and 5 of each decade; where it spans none with those of a plain axis, as there would be hardly one."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    few = high < DECADE * low
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]) if few else LogLocator(10, subs=(1.0, 2.0, 5.0), numticks=12))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if few:
        axes.minorticks_off()
    style.value_axis(axes)


def describe_beside(result: Reportable) -> str:
    """What the figure of baselines shows."""
    ends = ", ".join(f"{row.name} {money(row.final_equity)}" for row in beside(result))
    return f"{about(result)}Equity of the run and of its baselines in {result.quote}, at the end: {ends}."
