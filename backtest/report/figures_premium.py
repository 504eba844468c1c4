"""The premium of a run: its line, the spans that were held, where trades began, and where and why they ended.

Up to `MARKED_TRADES` trades are marked on the line; of more, each reason has a row of ticks below it, as marks would hide the line.

    figure = premium_figure(result)
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from backtest.report import style
from backtest.report.figures_base import Array, about, days_since_1970, draw_forced, finish, floats, times_of, trade_times
from backtest.report.protocol import Reportable
from backtest.report.summary import reasons_in
from backtest.report.words import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS: dict[str, tuple[str | tuple[int, int, float], str]] = {
    "signal": ("v", "orange"),
    "expiry": ("s", "green"),
    "time": ("D", "sky"),
    "stop": ("X", "red"),
    "loss": ("P", "purple"),
    "days to expiry": ("h", "yellow"),
    "drawdown": (">", "purple"),
    "exposure": ("p", "blue"),
    "liquidity": ("<", "grey"),
    "recall": ("d", "yellow"),
    "unfilled": ((3, 1, 0), "grey"),
    "no convergence": ((4, 1, 0), "sky"),
    "liquidation": ("*", "red"),
    "deleveraging": ("H", "red"),
    "end of data": ("o", "grey"),
}
MARKED_TRADES = 150
SHADED_TRADES = 600
ROW = 0.2  # inches of a row of ticks


def premium_figure(result: Reportable) -> "Figure":
    """The premium with the spans that were held, where trades began, and where and why they ended."""
    with style.house_style():
        many = len(result.trades) > MARKED_TRADES
        below = ROW * len(event_rows(result)) + 0.2 if many else 0.0  # inches
        figure = style.new_figure(3.8 + below)
        axes = figure.subplots(2, 1, sharex=True, height_ratios=[3.3, below]) if many else np.array([figure.add_subplot()])
        draw_premium(axes[0], result)
        if many:
            draw_ticks(axes[1], result)
        else:
            draw_marks(axes[0], result)
            if len(result.trades):
                style.legend(figure)
        finish(figure, result, axes[-1])
    return figure


def draw_premium(axes: "Axes", result: Reportable) -> None:
    """The premium over time, with the spans that were held and the liquidations."""
    times, values = times_of(premium_of(result).index), floats(premium_of(result))
    kept = style.thin(values)
    axes.plot(times[kept], values[kept], color=style.colour("blue"), linewidth=0.7, alpha=0.75, zorder=2)
    axes.axhline(0, color=style.colour("muted"), linewidth=0.7)
    limits = premium_limits(values)
    if limits is not None:
        axes.set_ylim(*limits)
    _held(axes, result)
    draw_forced(axes, result)
    axes.set_title(f"{result.premium_label[:1].upper()}{result.premium_label[1:]}, %")
    style.value_axis(axes, percent=True)


def draw_marks(axes: "Axes", result: Reportable) -> None:
    """A mark at each entry and each exit, an artist with a label for each reason."""
    if not len(result.trades):
        return
    edge: dict[str, Any] = {"markeredgecolor": style.colour("page"), "markeredgewidth": 0.9, "linestyle": "none", "clip_on": True}
    entered = trade_times(result, "entered_at")
    axes.plot(entered, _level(result, entered), marker="^", markersize=8.5, color=style.colour("ink"), label="entry", zorder=4, **edge)
    left, level = trade_times(result, "exited_at"), _level(result, trade_times(result, "exited_at"))
    for reason in reasons_in(result):
        chosen = (result.trades["reason"].astype(str) == reason).to_numpy()
        shape, tone = MARKS.get(reason, ("o", "grey"))
        size = 13 if reason == "liquidation" else 8 if isinstance(shape, str) else 12  # stars look smaller than they are
        axes.plot(left[chosen], level[chosen], marker=shape, markersize=size, color=style.colour(tone), label=reason, zorder=5, **edge)


def draw_ticks(axes: "Axes", result: Reportable) -> None:
    """One row of ticks for entries and for each reason: markers on the line would hide it."""
    rows = event_rows(result)
    for height, (_, times, tone) in enumerate(rows):
        x, y = tick_lines(result, times, -height)
        axes.plot(x, y, color=style.colour(tone), linewidth=0.8, solid_capstyle="butt")
    axes.set_yticks([-height for height in range(len(rows))], [f"{name} {len(times):,}" for name, times, _ in rows])
    axes.set_ylim(0.6 - len(rows), 0.6)
    axes.grid(visible=False, axis="y")
    axes.set_title("Entries, and exits by reason")


def event_rows(result: Reportable) -> list[tuple[str, Array, str]]:
    """Entries, and exits by reason: what each is called, when they were (days), in which house colour they are drawn."""
    left = trade_times(result, "exited_at")
    rows = [("entry", trade_times(result, "entered_at"), "blue")]
    why = result.trades["reason"].astype(str)
    return rows + [(reason, left[(why == reason).to_numpy()], MARKS.get(reason, ("o", "grey"))[1]) for reason in reasons_in(result)]


def tick_lines(result: Reportable, times: Array, middle: float, half: float = 0.38) -> tuple[Array, Array]:
    """Upright ticks at some times as one broken line; no more of them than can be told apart."""
    width = max((days_since_1970(result.end) - days_since_1970(result.start)) / 1200, 1e-9)
    ticks = np.unique(np.round(times / width)) * width
    return np.repeat(ticks, 3), np.tile([middle - half, middle + half, np.nan], len(ticks))


def premium_of(result: Reportable) -> "pd.Series[float]":
    """The premium, for what is drawn only where there is one."""
    assert result.premium is not None, "a run without a premium has no premium figure"
    return result.premium


def premium_limits(values: Array) -> tuple[float, float] | None:
    """The axis' ends if a few outliers would squeeze the rest flat (premia annualized near expiry do), else None."""
    seen = values[np.isfinite(values)]
    if len(seen) < 50:
        return None
    low, high = (float(bound) for bound in np.quantile(seen, [0.002, 0.998]))
    room = 0.35 * (high - low)
    if room == 0 or seen.max() - seen.min() < 2.5 * (high - low):
        return None
    return low - room, high + room


def describe_premium(result: Reportable) -> str:
    """What the premium figure shows, with what the axis cuts off."""
    values = floats(premium_of(result))
    seen = values[np.isfinite(values)]
    if not len(seen):
        return f"{about(result)}No premium is known in this period."
    reasons = (
        ", ".join(f"{count} {reason}" for reason, count in result.trades["reason"].value_counts().items()) if len(result.trades) else "none"
    )
    cut = " Values beyond the axis are cut off." if premium_limits(values) is not None else ""
    span = f"between {percent(float(seen.min()))} and {percent(float(seen.max()))}, median {percent(float(np.median(seen)))}"
    return f"{about(result)}{result.premium_label}: {span}.{cut} Trades ended by: {reasons}."


def _level(result: Reportable, times: Array) -> Array:
    """The last known premium at each time; before the first, the first."""
    known_values = premium_of(result).dropna()
    if known_values.empty:
        return np.full(len(times), np.nan)
    position = np.searchsorted(times_of(known_values.index), times + 1e-9, side="right") - 1
    values = floats(known_values)
    return np.where(position >= 0, values[np.maximum(position, 0)], values[0])


def _held(axes: "Axes", result: Reportable) -> None:
    """Shade the spans in which a position was held; a great many of them would only be a grey wall."""
    if 0 < len(result.trades) <= SHADED_TRADES:
        begins, ends = trade_times(result, "entered_at"), trade_times(result, "exited_at")
        spans = list(zip(begins, ends - begins, strict=True))
        axes.broken_barh(spans, (0, 1), transform=axes.get_xaxis_transform(), color=style.colour("band"), linewidth=0, zorder=0)
