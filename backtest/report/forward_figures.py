"""The figures of a walk-forward: what was chosen in each window and what came of it, the stitched equity beside its promise; and combinatorial paths.

figure = stability_figure(forward)
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from backtest.forward import WalkForward
from backtest.purged import Combinatorial
from backtest.report import style
from backtest.report.compare_figures import shortened
from backtest.report.figures import days_since_1970
from backtest.report.sweep_cells import Floats, Ruler, called, ordered, short
from backtest.report.sweep_lines import whole_ticks
from backtest.report.words import metric, metric_style, money, number
from backtest.space import Range, labelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 8  # parameters that are drawn
DIVIDED = 60  # windows: of more no border is drawn
PATHS = 60  # lines of combinatorial paths
FEW, FAR = 6, 2.0  # values of which none is too far out; of the span of four fifths of them: what lies farther out stands at the axis' edge
NARROWEST = 0.5  # span of the bars of the paths' Sharpe ratios
LETTERS = 12  # of a value beside its axis


def stability_figure(forward: WalkForward) -> "Figure":
    """The statistic of the chosen in training and in test, window by window; below, the values chosen for each parameter."""
    rulers = rulers_of(forward)
    begins, ends = spans(forward)
    heights = [2.4, *(max(0.7, min(1.6, 0.2 * len(ruler.labels))) for ruler in rulers)]
    with style.house_style():
        figure = style.new_figure(1.2 + sum(heights) + 0.25 * len(rulers))
        axes = np.atleast_1d(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights))
        _promised(axes[0], forward, begins, ends)
        for panel, ruler in zip(axes[1:], rulers, strict=True):
            _chosen(panel, forward, ruler, begins, ends)
        for panel in axes:
            _borders(panel, begins, ends)
        style.time_axis(axes[-1], float(begins[0]), float(ends[-1]))
        _year(axes[-1], forward)
        style.legend(figure)
        style.watermark(figure, forward.dataset.simulated)
    return figure


def rulers_of(forward: WalkForward) -> list[Ruler]:
    """The parameters that vary, with their values along an axis."""
    rulers = []
    for name, values in forward.varied.items():
        if isinstance(values, Range) or len(values) > 1:
            rulers.append(Ruler(name, values, ordered(values, {labelled(one[name]) for one in forward.combinations})))
    return rulers[:PANELS]


def spans(forward: WalkForward) -> tuple[Floats, Floats]:
    """Begins and ends of the tests in matplotlib's days."""
    begins, ends = (
        np.array([days_since_1970(stamp) for stamp in forward.windows[name]], dtype=np.float64) for name in ("test_start", "test_end")
    )
    return begins, ends


def _promised(axes: "Axes", forward: WalkForward, begins: Floats, ends: Floats) -> None:
    """In sample against out of sample: two marks a window, joined."""
    middle = (begins + ends) / 2.0
    inside, outside, best = (forward.windows[name].to_numpy(dtype=np.float64) for name in ("in_sample", "out_of_sample", "best_in_test"))
    low, high = visible(np.concatenate([inside, outside]))
    beyond = int(((np.stack([inside, outside]) < low) | (np.stack([inside, outside]) > high)).sum())
    inside, outside, best = (np.clip(values, low, high) for values in (inside, outside, best))
    size = 7.0 if len(middle) <= 30 else 4.0
    look: dict[str, Any] = {"linestyle": "none", "markeredgecolor": style.colour("page"), "markeredgewidth": 0.7}
    axes.vlines(middle, inside, outside, color=style.colour("muted"), linewidth=0.9, zorder=2)
    axes.plot(
        middle, best, marker="_", markersize=size + 3, linestyle="none", color=style.colour("grey"), label="best of the test, known late"
    )
    axes.plot(middle, inside, marker="o", markersize=size, color=style.colour("orange"), label="in sample (promised)", zorder=3, **look)
    axes.plot(middle, outside, marker="D", markersize=size, color=style.colour("blue"), label="out of sample (kept)", zorder=4, **look)
    axes.axhline(0.0, color=style.colour("muted"), linewidth=0.8)
    percent = metric_style(forward.by) == "percent"
    cut = f"; {beyond:,} farther out than the axis, at its edge" if beyond else ""
    axes.set_title(f"{called(forward.by)}{', %' if percent else ''} of what was chosen, in training and in its test{cut}")
    style.value_axis(axes, percent=percent)


def visible(values: Floats) -> tuple[float, float]:
    """The lowest and the highest value that are drawn at their place: one far from nearly all others would squeeze these flat."""
    known = values[np.isfinite(values)]
    if len(known) < FEW:
        return -math.inf, math.inf
    low, high = (float(end) for end in np.quantile(known, [0.1, 0.9]))
    return low - FAR * (high - low), high + FAR * (high - low)


def _chosen(axes: "Axes", forward: WalkForward, ruler: Ruler, begins: Floats, ends: Floats) -> None:
    """A parameter's chosen value over each test."""
    chosen = forward.chosen[ruler.name].tolist()
    for place, value in enumerate(chosen):
        if value is not None:
            at = float(ruler.places([value])[0])
            axes.plot([begins[place], ends[place]], [at, at], color=style.colour("blue"), linewidth=3.0, solid_capstyle="butt")
    low, high = ruler.limits()
    room = 0.06 * (high - low) if ruler.drawn else 0.5
    axes.set_ylim(low - room, high + room)
    positions, texts = ruler.ticks(8)
    axes.set_yticks(positions, [shortened(text, LETTERS) for text in texts])
    axes.set_title(ruler.name)


def _borders(axes: "Axes", begins: Floats, ends: Floats) -> None:
    if len(begins) <= DIVIDED:
        for stamp in np.unique(np.append(begins, ends)):
            axes.axvline(stamp, color=style.colour("grid"), linewidth=0.7, zorder=0.5)


def _year(axes: "Axes", forward: WalkForward) -> None:
    first, last = forward.equity.index[0], forward.equity.index[-1]
    if first.year == last.year:
        axes.set_xlabel(str(first.year), loc="right")


def describe_stability(forward: WalkForward) -> str:
    """What the figure of the windows shows."""
    kind = metric_style(forward.by)
    inside, outside = (float(forward.windows[name].mean()) for name in ("in_sample", "out_of_sample"))
    parts = []
    for ruler in rulers_of(forward):
        counts = forward.chosen[ruler.name].dropna().map(lambda value: short([value])[0]).value_counts()
        parts.append(f"{ruler.name} {', '.join(f'{value} ({count})' for value, count in counts.head(4).items()) or 'never chosen'}")
    return (
        f"{called(forward.by)} in {len(forward.windows):,} windows: mean {metric(kind, inside)} in sample, {metric(kind, outside)} out of sample. "
        f"Chosen most often: {'; '.join(parts)}."
    )


# ---------------------------------------------------------------- equity


def promise(forward: WalkForward) -> Floats:
    """The equity had each test grown at the yearly rate that its choice had in training; NaN from where such a rate is not known. [day]"""
    times = np.array([days_since_1970(stamp) for stamp in forward.equity.index], dtype=np.float64)
    begins, ends = spans(forward)
    found = np.full(len(times), np.nan)
    value = float(forward.equity.iloc[0])
    found[0] = value
    rates = forward.in_sample["annual_return"].to_numpy(dtype=np.float64)
    idle = (forward.windows["cash"] != "").to_numpy()
    for place, rate in enumerate(np.where(idle, 0.0, rates).tolist()):
        if not (math.isfinite(rate) and rate > -1.0):
            break
        here = (times > begins[place]) & (times <= ends[place])
        found[here] = value * (1.0 + rate) ** ((times[here] - begins[place]) / 365.0)
        value *= (1.0 + rate) ** ((ends[place] - begins[place]) / 365.0)
    return found


def stitched_figure(forward: WalkForward) -> "Figure":
    """Equity out of sample, stitched together, beside what training promised and what the best of each test would have made."""
    times = np.array([days_since_1970(stamp) for stamp in forward.equity.index], dtype=np.float64)
    begins, ends = spans(forward)
    curves: Mapping[str, tuple[Floats, str, Any, float]] = {
        "best of each test, known late": (forward.hindsight.to_numpy(dtype=np.float64), "grey", (0, (1, 1)), 1.2),
        "promised in sample": (promise(forward), "orange", (0, (5, 2)), 1.5),
        "out of sample": (forward.equity.to_numpy(dtype=np.float64), "blue", "solid", 1.8),
    }
    with style.house_style():
        figure = style.new_figure(4.0)
        axes = figure.add_subplot()
        axes.axhline(forward.capital, color=style.colour("muted"), linewidth=0.8, linestyle=(0, (4, 3)))
        for name, (values, tone, dashes, width) in curves.items():
            if len(values) == len(times):
                kept = style.thin(values)
                axes.plot(times[kept], values[kept], color=style.colour(tone), linestyle=dashes, linewidth=width, label=name)
        _borders(axes, begins, ends)
        axes.set_title(f"Equity, {forward.quote}: every test window by what was best in the training before it (dashed level: capital)")
        style.value_axis(axes)
        style.time_axis(axes, float(times[0]), float(times[-1]))
        _year(axes, forward)
        style.legend(figure, axes.get_legend_handles_labels()[0][::-1])
        style.watermark(figure, forward.dataset.simulated)
    return figure


def describe_stitched(forward: WalkForward) -> str:
    """Where the stitched curves end."""
    promised = promise(forward)[-1]
    parts = [f"out of sample {money(float(forward.equity.iloc[-1]))}"]
    parts += [f"promised in sample {money(float(promised))}"] if math.isfinite(promised) else []
    parts.append(f"best of each test, known late, {money(float(forward.hindsight.iloc[-1]))}")
    return f"Equity from {money(forward.capital)} {forward.quote}, at the end: {'; '.join(parts)}."


# ---------------------------------------------------------------- combinatorial paths


def paths_figure(paths: Combinatorial) -> "Figure":
    """The equity of every path, and how their Sharpe ratios are spread, with the promised one."""
    equity = paths.equity
    sharpes = paths.sharpes.dropna().to_numpy(dtype=np.float64)
    times = np.array([days_since_1970(stamp) for stamp in equity.index], dtype=np.float64)
    with style.house_style():
        figure = style.new_figure(3.8)
        left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
        columns = np.unique(np.linspace(0, equity.shape[1] - 1, min(equity.shape[1], PATHS)).round().astype(int)).tolist()
        for column in columns:
            values = equity.iloc[:, column].to_numpy(dtype=np.float64)
            kept = style.thin(values, 600)
            left.plot(times[kept], values[kept], color=style.colour("blue"), linewidth=0.8, alpha=0.5)
        left.plot(times, equity.median(axis=1), color=style.colour("ink"), linewidth=1.6, label="median")
        left.axhline(paths.sweep.capital, color=style.colour("muted"), linewidth=0.8, linestyle=(0, (4, 3)))
        some = f"{len(columns):,} of {equity.shape[1]:,} paths" if len(columns) < equity.shape[1] else f"{len(columns):,} paths"
        left.set_title(f"Equity of {some}, {paths.sweep.quote}")
        style.value_axis(left)
        style.time_axis(left, float(times[0]), float(times[-1]))
        if equity.index[0].year == equity.index[-1].year:
            left.set_xlabel(str(equity.index[0].year), loc="right")
        _spread(right, paths, sharpes)
        style.legend(figure)
        style.watermark(figure, paths.dataset.simulated)
    return figure


def _spread(axes: "Axes", paths: Combinatorial, sharpes: Floats) -> None:
    """The histogram of the paths' Sharpe ratios."""
    if len(sharpes):
        low, high = float(sharpes.min()), float(sharpes.max())
        mean, room = float(np.mean(sharpes)), max(0.0, NARROWEST - (high - low)) / 2.0
        bins = min(30, max(5, math.ceil(2.0 * math.sqrt(len(sharpes)))))
        axes.hist(sharpes, bins=bins, range=(low - room, high + room), color=style.colour("blue"), alpha=0.55, linewidth=0)
        axes.axvline(mean, color=style.colour("blue"), linewidth=1.8, label=f"mean of the paths, {number(mean)}")
        if low < max(high - low, NARROWEST):  # far from zero its line would squeeze the bars
            axes.axvline(0.0, color=style.colour("muted"), linewidth=0.8)
    if math.isfinite(paths.promised):
        label = f"promised in sample, {number(paths.promised)}"
        axes.axvline(paths.promised, color=style.colour("orange"), linewidth=1.8, linestyle=(0, (4, 2)), label=label)
    axes.set_title("Sharpe ratios of the paths")
    axes.grid(visible=False, axis="x")
    whole_ticks(axes)
    style.value_axis(axes)
    style.value_ticks(axes.xaxis)


def describe_paths(paths: Combinatorial) -> str:
    """What the paths show."""
    found = paths.distribution
    return (
        f"{paths.returns.shape[1]:,} paths of {len(paths.returns):,} days. Sharpe ratios out of sample: mean {number(found['mean'])}, "
        f"from {number(found['least'])} to {number(found['most'])}; promised in sample {number(paths.promised)}."
    )
