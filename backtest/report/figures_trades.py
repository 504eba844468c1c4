"""Figures of the trades: the term structure at their entries, and what they made by the reason they ended.

figure = entry_curves_figure(result)
draw_outcomes(axes, result)
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from backtest.report import style
from backtest.report.figures_base import Array, about, figure_of, floats
from backtest.report.figures_detail import LOSS
from backtest.report.protocol import Reportable
from backtest.report.summary import by_reason
from backtest.report.words import day, money, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS, FULL, ABREAST = 12, 16, 4  # panels of many entries, entries up to which each has one, panels in a row
TOP, PANEL, FOOT = 0.3, 1.4, 0.3  # inches: above the panels, of each row of them, and below
NEAR = 7.0  # days to expiry below which an annualized premium may be wild: the axis is not made for it
SINGLE = 80  # trades of a reason up to which each is a mark
BINS = 90
WILD = 25.0  # times the median: beyond, an axis of PnL is logarithmic
GOLDEN = 0.6180339887


# ---------------------------------------------------------------- term structure at entries


def curves_shown(result: Reportable) -> list[int]:
    """Positions of the trades whose term structures are drawn: all of few, an even choice of many."""
    if result.entry_curves is None:
        return []
    there: list[int] = np.unique(result.entry_curves["trade"].to_numpy(np.int64)).tolist()
    if len(there) <= FULL:
        return there
    return [there[place] for place in np.unique(np.linspace(0, len(there) - 1, PANELS).round().astype(np.intp)).tolist()]


def draw_entry_curve(axes: "Axes", curve: pd.DataFrame) -> None:
    """One term structure: premium against days to expiry, the contract that was chosen as a large diamond."""
    ordered = curve.sort_values("days")
    days, premium, chosen = floats(ordered["days"]), floats(ordered["premium"]), ordered["chosen"].to_numpy(bool)
    axes.plot([0.0, float(days.max())], [0.0, 0.0], color=style.colour("muted"), linewidth=0.7)
    axes.plot(days, premium, color=style.colour("blue"), marker="o", markersize=4, linewidth=1.2, label="contract")
    axes.plot(
        days[chosen], premium[chosen], marker="D", markersize=8.5, linestyle="none", color=style.colour("orange"), markeredgecolor=style.colour("ink"),
        markeredgewidth=0.9, label="the one that was traded", zorder=4,
    )  # fmt: skip


def entry_curves_figure(result: Reportable) -> "Figure":
    """Small multiples of the term structure at entries, each over the same axes."""
    from matplotlib.ticker import MaxNLocator

    shown, table = curves_shown(result), result.entry_curves
    assert table is not None, "a run without dated legs has no term structures"
    kept = {number: table[table["trade"] == number] for number in shown}
    low, high, far = curve_limits(pd.concat(list(kept.values())))
    rows = -(-len(shown) // ABREAST)
    height = TOP + FOOT + PANEL * rows
    across, up = MaxNLocator(5).tick_values(0.0, far), MaxNLocator(4).tick_values(low, high)
    with style.house_style():
        figure = style.new_figure(height)
        figure.set_layout_engine("none")  # a layout that fits itself takes a second for so many axes
        for place, number in enumerate(shown):
            row, column = divmod(place, ABREAST)
            left, bottom = (0.45 + column * 2.4) / style.WIDTH, 1 - (TOP + PANEL * (row + 1) - 0.24) / height
            axes = figure.add_axes((left, bottom, 2.2 / style.WIDTH, (PANEL - 0.5) / height))
            axes.set(xlim=(0.0, far), ylim=(low, high), xticks=within(across, 0.0, far), yticks=within(up, low, high))
            draw_entry_curve(axes, kept[number])
            axes.set_title(f"trade {number + 1:,} · {day(kept[number]['time'].iloc[0])}", fontsize=8.5, color=style.colour("muted"), pad=3)
            axes.tick_params(labelbottom=place + ABREAST >= len(shown), labelleft=column == 0)
            style.value_axis(axes, percent=True)
        figure.text(0.003, 1 - 0.04 / height, "Premium, % a year, by days to expiry", fontsize=9.5, va="top")
        handles = figure.axes[0].get_legend_handles_labels()[0]
        figure.legend(handles=handles, loc="lower left", ncols=2, handlelength=1.2, columnspacing=1.6, borderpad=0.2)
        style.watermark(figure, result.dataset.simulated)
    return figure


def within(ticks: Sequence[float], low: float, high: float) -> list[float]:
    """Those of some ticks that an axis shows."""
    return [tick for tick in ticks if low <= tick <= high]


def curve_limits(table: pd.DataFrame) -> tuple[float, float, float]:
    """The axes' ends for some term structures: lowest and highest premium but for contracts about to expire, and the most days."""
    usual = table[(table["days"] >= NEAR) | table["chosen"].astype(bool)]
    values = floats((usual if len(usual) else table)["premium"])
    values = np.concatenate([values[np.isfinite(values)], [0.0]])
    room = 0.14 * float(np.ptp(values)) or 0.01
    return float(values.min()) - room, float(values.max()) + room, 1.06 * float(table["days"].max())


def describe_entry_curves(result: Reportable) -> str:
    """What the term structures show."""
    table = result.entry_curves
    assert table is not None
    chosen = table[table["chosen"].astype(bool) & table["trade"].isin(curves_shown(result))]
    told = ", ".join(f"{day(row.time)} {row.contract} {percent(float(row.premium), 1)}" for row in chosen.itertuples())  # type: ignore[arg-type]
    return f"{about(result)}Premium a year against days to expiry at {len(curves_shown(result))} entries. Traded: {told}."


# ---------------------------------------------------------------- PnL by reason


def draw_outcomes(axes: "Axes", result: Reportable) -> None:
    """A row a reason: a mark a trade, or of very many how often which PnL occurred; the stroke is the median."""
    reasons = [row.reason for row in by_reason(result)]
    pnl, why = floats(result.trades["pnl"]), result.trades["reason"].astype(str).to_numpy()
    threshold = log_beyond(pnl)
    if threshold is not None:
        axes.set_xscale("symlog", linthresh=threshold, linscale=0.6)
    for place, reason in enumerate(reasons):
        values = pnl[why == reason]
        if len(values) <= SINGLE:
            _marks(axes, -place, values)
        else:
            _ridge(axes, -place, values, threshold)
        if len(values) > 2:
            axes.plot(
                [np.median(values)] * 2,
                [-place - 0.4, -place + 0.4],
                color=style.colour("ink"),
                linewidth=2.0,
                solid_capstyle="butt",
                zorder=5,
            )
    axes.axvline(0, color=style.colour("muted"), linewidth=0.8)
    counts = [int((why == reason).sum()) for reason in reasons]
    axes.set_yticks(
        [-place for place in range(len(reasons))], [f"{reason} {count:,}" for reason, count in zip(reasons, counts, strict=True)]
    )
    axes.tick_params(axis="y", labelcolor=style.colour("ink"))
    axes.set_ylim(-len(reasons) + 0.4, 0.6)
    axes.margins(x=0.06)
    axes.grid(visible=False, axis="y")
    axes.set_title(f"PnL of a trade by the reason it ended, {result.quote}{' (log)' if threshold else ''}; line: median")
    style.value_ticks(axes.xaxis)


def log_beyond(values: Array) -> float | None:
    """The PnL (a power of ten) beyond which the axis is logarithmic, as a few losses would squeeze all else; None for a plain axis."""
    size = np.abs(values[values != 0.0])
    if len(size) < 3 or float(size.max()) < WILD * float(np.median(size)):
        return None
    return float(10.0 ** np.floor(np.log10(np.median(size))))


def _marks(axes: "Axes", height: int, values: Array) -> None:
    """A circle a gain, a cross a loss, spread so that equal ones don't hide each other."""
    spread = 0.0 if len(values) < 4 else 0.5
    y = height + spread * (np.arange(1, len(values) + 1) * GOLDEN % 1.0 - 0.5)
    gains = values >= 0
    axes.plot(values[gains], y[gains], marker="o", markersize=6, alpha=0.8, linestyle="none", color=style.colour("blue"), markeredgewidth=0)
    axes.plot(values[~gains], y[~gains], marker="x", markersize=6, markeredgewidth=1.6, linestyle="none", color=style.colour("red"))


def _ridge(axes: "Axes", height: int, values: Array, threshold: float | None) -> None:
    """How often which PnL occurred, as an area above the row's foot; losses are hatched. The lowest and the highest are marks."""
    if threshold is None:
        edges = np.linspace(values.min(), values.max(), BINS + 1)
    else:
        first, last = float(np.arcsinh(values.min() / threshold)), float(np.arcsinh(values.max() / threshold))
        edges = threshold * np.sinh(np.linspace(first, last, BINS + 1))
    edges = np.unique(np.append(edges, 0.0)) if edges[0] < 0.0 < edges[-1] else np.unique(edges)  # no bin has both signs
    edges = edges if len(edges) > 1 else np.array([values[0] - 0.5, values[0] + 0.5])
    counts, _ = np.histogram(values, edges)
    tops = height - 0.38 + 0.76 * counts / counts.max()
    for kept, tone, hatch in ((edges[:-1] >= 0, "blue", ""), (edges[:-1] < 0, "red", LOSS)):
        if kept.any():
            ends, heights = np.append(edges[:-1][kept], edges[1:][kept][-1]), np.append(tops[kept], tops[kept][-1])
            axes.fill_between(
                ends,
                height - 0.38,
                heights,
                step="post",
                facecolor=style.colour(tone),
                hatch=hatch,
                edgecolor=style.colour("page"),
                linewidth=0,
            )
    _marks(axes, height, np.array([values.min(), values.max()]))


def outcomes_figure(result: Reportable) -> "Figure":
    """PnL by reason as a figure."""
    return figure_of(lambda axes: draw_outcomes(axes, result), 0.95 + 0.34 * len(by_reason(result)), result.dataset.simulated)


def describe_outcomes(result: Reportable) -> str:
    """What the distribution shows."""
    told = []
    for row in by_reason(result):
        values = floats(result.trades.loc[result.trades["reason"].astype(str) == row.reason, "pnl"])
        told.append(
            f"{row.reason} {row.trades:,}, from {money(float(values.min()))} to {money(float(values.max()))}, median {money(float(np.median(values)))}"
        )
    return f"{about(result)}PnL of a trade in {result.quote} by the reason it ended: {'; '.join(told)}."
