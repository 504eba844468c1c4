"""Figures of where the money came from and went: the waterfall, the years, funding by month, costs by leg.

`draw_…` draws onto an Axes, `…_figure` makes a whole figure of it, `describe_…` says in words what it shows. Losses are hatched, so that a sign is seen
without its colour.

    figure = waterfall_figure(result)
    draw_waterfall(axes, result)
"""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from backtest.report import style
from backtest.report.figures import GROUPS
from backtest.report.figures_base import about, days_since_1970, figure_of, run_axis
from backtest.report.protocol import Reportable
from backtest.report.summary import attribution_by_year, attribution_table, costs_by_leg, final_equity, funding_by_month
from backtest.report.words import money, number, source_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOSS = "/////"
# Beside its colour, what tells a group of sources from the one stacked on it.
TEXTURES = {
    "legging": "xxxx",
    "funding": "\\\\\\\\",
    "staking": "||||",
    "financing and borrow": "----",
    "fees, slippage, delivery": LOSS,
    "liquidation": "xxxx",
}
LEGS = (("long leg", "blue", ""), ("short leg", "orange", LOSS), ("elsewhere", "grey", "xxxx"))
SHORT = 10.0  # cash below which cents are told


def group_of(source: str) -> str:
    """The group of sources that one belongs to; a source of one's own is a group."""
    return next((name for name, (sources, _) in GROUPS.items() if source in sources), source_label(source))


def cash_by_group(result: Reportable) -> dict[str, float]:
    """Cash of each group of sources over the whole run, gains first, the largest of each first; nothing of none."""
    sums: dict[str, float] = {}
    for row in attribution_table(result).rows:
        if row.cash:
            sums[group_of(row.source)] = sums.get(group_of(row.source), 0.0) + row.cash
    return dict(sorted(sums.items(), key=lambda item: (item[1] < 0, -abs(item[1]))))


def cash_by_year(result: Reportable) -> pd.DataFrame:
    """Cash by group of sources (rows, as `cash_by_group` orders them) and calendar year (columns)."""
    years = attribution_by_year(result)
    if years.empty:
        return years
    groups = years.groupby([group_of(str(source)) for source in years.index]).sum()
    return groups.reindex([*cash_by_group(result)])


def short_cash(value: float) -> str:
    """Cash beside a bar: without cents, with a true minus sign."""
    return number(value, 2 if abs(value) < SHORT else 0, sign=True).replace("-", "−")


# ---------------------------------------------------------------- waterfall


def draw_waterfall(axes: "Axes", result: Reportable) -> None:
    """From the capital to the final equity, a step for each group of sources."""
    steps = cash_by_group(result)
    levels = result.capital + np.concatenate([[0.0], np.cumsum(list(steps.values()))])
    for place, (name, cash) in enumerate(steps.items(), start=1):
        _step(axes, place, (float(levels[place - 1]), cash), GROUPS[name][1] if name in GROUPS else "grey")
    ends = (("capital", 0, result.capital), ("final equity", len(steps) + 1, final_equity(result)))
    for _, place, level in ends:
        axes.plot([place - 0.42, place + 0.42], [level] * 2, color=style.colour("ink"), linewidth=2.4, solid_capstyle="butt")
        axes.annotate(number(level, 0), (place, level), (0, 5), textcoords="offset points", ha="center", va="bottom", fontweight="bold")
    names = [ends[0][0], *steps, ends[1][0]]
    axes.set_xticks(range(len(names)), [textwrap.fill(name, 12, break_long_words=False) for name in names], color=style.colour("ink"))
    room = 0.16 * float(np.ptp(levels)) or 0.01 * result.capital
    axes.set_ylim(float(levels.min()) - room, float(levels.max()) + room)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_title(f"From the capital to the final equity, {result.quote} (hatched: lost)")
    style.value_axis(axes)


def _step(axes: "Axes", place: int, step: tuple[float, float], tone: str) -> None:
    """One bar that hangs between two levels, with the line that leads to it."""
    begin, cash = step
    axes.plot([place - 0.58, place - 0.42], [begin] * 2, color=style.colour("muted"), linewidth=0.8)
    axes.plot([place + 0.42, place + 0.58], [begin + cash] * 2, color=style.colour("muted"), linewidth=0.8)
    axes.bar(
        place,
        cash,
        bottom=begin,
        width=0.84,
        color=style.colour(tone),
        edgecolor=style.colour("page"),
        hatch=LOSS if cash < 0 else "",
        linewidth=0,
    )
    end, above = begin + cash, cash > 0
    offset, side = ((0, 3), "bottom") if above else ((0, -3), "top")
    axes.annotate(short_cash(cash), (place, end), offset, textcoords="offset points", ha="center", va=side)


def waterfall_figure(result: Reportable) -> "Figure":
    """The waterfall as a figure."""
    return figure_of(lambda axes: draw_waterfall(axes, result), 3.4, result.dataset.simulated)


def describe_waterfall(result: Reportable) -> str:
    """What the waterfall shows."""
    steps = ", ".join(f"{name} {short_cash(cash)}" for name, cash in cash_by_group(result).items()) or "nothing came or went"
    return f"{about(result)}From {money(result.capital)} {result.quote} to {money(final_equity(result))}: {steps}."


# ---------------------------------------------------------------- years


def draw_years(axes: "Axes", result: Reportable) -> None:
    """A stack a calendar year: what each group of sources brought above zero and took below it, and a diamond at their sum."""
    table = cash_by_year(result)
    places = np.arange(len(table.columns))
    up, down = np.zeros(len(places)), np.zeros(len(places))
    for name, row in table.iterrows():
        cash = row.to_numpy(float)
        tone = style.colour(GROUPS[str(name)][1] if name in GROUPS else "grey")
        axes.bar(
            places, cash, bottom=np.where(cash >= 0, up, down), width=0.62, color=tone, edgecolor=style.colour("page"), linewidth=0.4,
            hatch=TEXTURES.get(str(name), ""), label=str(name),
        )  # fmt: skip
        up, down = up + np.maximum(cash, 0.0), down + np.minimum(cash, 0.0)
    sums = table.sum().to_numpy(float)
    axes.plot(
        places,
        sums,
        marker="D",
        markersize=7,
        linestyle="none",
        color=style.colour("ink"),
        markeredgecolor=style.colour("page"),
        label="sum",
    )
    for place, top, total in zip(places.tolist(), np.maximum(up, 0.0).tolist(), sums.tolist(), strict=True):
        axes.annotate(short_cash(total), (place, top), (0, 4), textcoords="offset points", ha="center", va="bottom", fontweight="bold")
    axes.axhline(0, color=style.colour("muted"), linewidth=0.8)
    axes.set_xticks(places, [str(year) for year in table.columns], color=style.colour("ink"))
    axes.set_xlim(-0.6, len(places) - 0.4)
    axes.use_sticky_edges = False  # a source of nothing stands at the top of its stack, and would take the margin's room
    axes.margins(y=0.12)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_title(f"PnL by year and source, {result.quote}")
    style.value_axis(axes)


def years_figure(result: Reportable) -> "Figure":
    """The years as a figure."""
    return figure_of(lambda axes: draw_years(axes, result), 3.6, result.dataset.simulated)


def describe_years(result: Reportable) -> str:
    """What the figure of years shows."""
    sums = cash_by_year(result).sum()
    told = ", ".join(f"{year} {short_cash(float(cash))}" for year, cash in sums.items())
    return f"{about(result)}PnL by calendar year and source in {result.quote}; sums: {told}."


# ---------------------------------------------------------------- funding


def draw_funding(axes: "Axes", result: Reportable) -> None:
    """Funding received in each month upward, paid downward and hatched."""
    months = funding_by_month(result)
    first, last = days_since_1970(result.start), days_since_1970(result.end)
    begins = np.maximum([days_since_1970(month.start_time.tz_localize("UTC")) for month in months.index], first)
    ends = np.minimum([days_since_1970((month + 1).start_time.tz_localize("UTC")) for month in months.index], last)
    cash = months.to_numpy(float)
    for kept, tone, hatch, label in ((cash > 0, "blue", "", "received"), (cash < 0, "red", LOSS, "paid")):
        if kept.any():
            axes.bar(
                begins[kept], cash[kept], width=0.86 * (ends - begins)[kept], align="edge", color=style.colour(tone), hatch=hatch,
                edgecolor=style.colour("page"), linewidth=0, label=f"{label} {money(abs(float(cash[kept].sum())))}",
            )  # fmt: skip
    axes.axhline(0, color=style.colour("muted"), linewidth=0.8)
    axes.set_title(f"Funding by month, {result.quote}")
    style.value_axis(axes)
    run_axis(axes, result)


def funding_figure(result: Reportable) -> "Figure":
    """Funding by month as a figure."""
    return figure_of(lambda axes: draw_funding(axes, result), 2.7, result.dataset.simulated)


def describe_funding(result: Reportable) -> str:
    """What the figure of funding shows."""
    months = funding_by_month(result)
    best, worst = months.idxmax(), months.idxmin()
    return (
        f"{about(result)}Funding by month in {result.quote}: {money(float(months.sum()))} in all; most in {best} with {money(float(months.max()))}, "
        f"least in {worst} with {money(float(months.min()))}."
    )


# ---------------------------------------------------------------- costs


def draw_costs(axes: "Axes", result: Reportable) -> None:
    """A bar a kind of cost: what the long leg, the short leg and neither paid; what came back stands left of zero."""
    rows = [row for row in costs_by_leg(result) if row.long or row.short or row.elsewhere]
    parts = [[-row.long for row in rows], [-row.short for row in rows], [-row.elsewhere for row in rows]]
    places, right, left = -np.arange(len(rows)), np.zeros(len(rows)), np.zeros(len(rows))
    for (label, tone, hatch), values in zip(LEGS, parts, strict=True):
        paid = np.array(values)
        if paid.any():
            axes.barh(
                places, paid, left=np.where(paid >= 0, right, left), height=0.62, color=style.colour(tone), hatch=hatch, linewidth=0,
                edgecolor=style.colour("page"), label=label,
            )  # fmt: skip
        right, left = right + np.maximum(paid, 0.0), left + np.minimum(paid, 0.0)
    for place, end, row in zip(places.tolist(), right.tolist(), rows, strict=True):
        axes.annotate(number(-row.total, 2).replace("-", "−"), (end, place), (5, 0), textcoords="offset points", ha="left", va="center")
    axes.axvline(0, color=style.colour("muted"), linewidth=0.8)
    axes.set_yticks(places, [source_label(row.kind) for row in rows], color=style.colour("ink"))
    axes.margins(x=0.12)
    axes.set_ylim(-len(rows) + 0.4, 0.6)
    axes.grid(visible=False, axis="y")
    axes.set_title(f"Paid for trading, {result.quote}")
    style.value_ticks(axes.xaxis)


def costs_figure(result: Reportable) -> "Figure":
    """Costs by leg as a figure."""
    count = sum(bool(row.long or row.short or row.elsewhere) for row in costs_by_leg(result))
    return figure_of(lambda axes: draw_costs(axes, result), 1.15 + 0.36 * count, result.dataset.simulated)


def describe_costs(result: Reportable) -> str:
    """What the figure of costs shows."""
    rows = [row for row in costs_by_leg(result) if row.total]
    told: Sequence[str] = [f"{source_label(row.kind)} {money(row.total)}" for row in rows]
    return f"{about(result)}What trading cost in {result.quote}, by kind and leg: {', '.join(told) or 'nothing'}."
