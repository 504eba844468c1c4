"""The figures of a sweep that show all combinations at once: parallel coordinates, all Sharpe ratios, one parameter's values, and the chosen equity.

figure = parallel_figure(sweep)
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from backtest.metrics import RANKED
from backtest.report import style
from backtest.report.compare_figures import shortened
from backtest.report.figures import days_since_1970
from backtest.report.sweep_cells import (
    FANNED,
    HIGHEST,
    Floats,
    Ranked,
    Ruler,
    chance,
    chosen_row,
    fan,
    frame_of,
    odds,
    ranked,
    ruler_of,
    short,
    thinned,
    varying,
)
from backtest.report.words import metric, metric_label, metric_style, money, number
from backtest.study import Search
from backtest.sweep import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = 2_000  # the most that parallel coordinates draw
TICKS = 12
BEYOND = 2.5  # widths of the bars that the axis goes on to show the best and its interval
FAR = 0.75  # of the span of nearly all Sharpe ratios: what lies farther out is cut off
BINS = 60
# the share of combinations below the band's lowest, its name, colour, alpha and thickness
BANDS = (
    (0.0, "lower half", "grey", 0.30, 0.5),
    (0.50, "50–80%", "sky", 0.45, 0.6),
    (0.80, "80–95%", "blue", 0.65, 0.7),
    (1.0 - HIGHEST, "highest 5%", "red", 0.85, 0.9),
)


def parallel_figure(sweep: Sweep) -> "Figure":
    """A line a combination through its parameters' values to its Sharpe ratio, coloured by the rank of that."""
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    found = ranked(sweep)
    rulers = [ruler_of(sweep, name) for name in varying(sweep) or sweep.varied]
    drawn = thinned(len(found.rows), LINES)
    heights = _heights(sweep, rulers, found)
    few = 1.0 + min(1.5, 60.0 / max(len(drawn), 1))  # few lines are drawn thicker
    with style.house_style():
        figure = style.new_figure(4.6)
        axes = figure.add_subplot()
        along = np.arange(len(rulers) + 1, dtype=np.float64)
        handles: list[Any] = []
        for low, name, tone, alpha, width in BANDS:
            high = next((other[0] for other in BANDS if other[0] > low), 1.01)
            rank = drawn / max(len(found.rows) - 1, 1)
            band = drawn[(rank >= low) & (rank < high)]
            if len(band):
                lines = np.stack([np.broadcast_to(along, (len(band), len(along))), heights[band]], axis=-1)
                look = {"alpha": min(0.9, alpha * few), "linewidths": width * few}
                axes.add_collection(LineCollection(list(lines), colors=style.colour(tone), zorder=2 + low, **look))
                ends = f"{number(found.sharpe[band[0]])} to {number(found.sharpe[band[-1]])}".replace("-", "−")
                handles.append(Line2D([], [], color=style.colour(tone), linewidth=2.2, label=f"{name}: {ends}"))
        row = chosen_row(sweep)
        if row is not None:
            place = int(np.flatnonzero(found.rows == row)[0])
            for tone, width in (("page", 4.2), ("ink", 2.0)):
                (line,) = axes.plot(along, heights[place], color=style.colour(tone), linewidth=width, zorder=5, label="chosen")
            handles.append(line)
        _rulers(axes, rulers, found)
        some = f" ({len(drawn):,} of {len(found.rows):,})" if len(drawn) < len(found.rows) else ""
        axes.set_title(f"A line a combination{some}, coloured by the rank of its Sharpe ratio", pad=20)
        style.legend(figure, handles)
        if row is not None:
            figure.suptitle(f"Chosen is the {odds(sweep.luck)}", x=0.01, ha="left", fontsize=9, color=style.colour("muted"))
        style.watermark(figure, sweep.dataset.simulated)
    return figure


def _heights(sweep: Sweep, rulers: list[Ruler], found: Ranked) -> Floats:
    """Where each combination's line crosses each ruler, from 0 to 1; the last is the Sharpe ratio's. [rank, ruler]"""
    frame = frame_of(sweep)
    columns = []
    for ruler in rulers:
        low, high = ruler.limits()
        places = ruler.places([frame[ruler.name].iat[row] for row in found.rows.tolist()])
        if not ruler.drawn:
            places = places + fan(places, found.sharpe)
            low, high = low - FANNED, high + FANNED
        columns.append((places - low) / (high - low))
    low, high = _ends(found.sharpe)
    columns.append(np.clip((found.sharpe - low) / (high - low), 0.0, 1.0))
    heights: Floats = np.stack(columns, axis=1)
    return heights


def _ends(sharpe: Floats) -> tuple[float, float]:
    """The Sharpe axis' ends: those of the values; a hundredth that lies far below or above all others is cut off."""
    if not len(sharpe):
        return 0.0, 1.0
    least, low, high, most = (float(end) for end in np.quantile(sharpe, [0.0, 0.01, 0.99, 1.0]))
    span = high - low
    low, high = low if least < low - FAR * span else least, high if most > high + FAR * span else most
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _rulers(axes: "Axes", rulers: list[Ruler], found: Ranked) -> None:
    """An upright line a parameter with its values, and the one of the Sharpe ratio."""
    ink, page = style.colour("ink"), style.colour("page")
    look: dict[str, Any] = {"fontsize": 8, "va": "center", "color": ink, "zorder": 7}
    back = {"boxstyle": "round,pad=0.15", "facecolor": page, "edgecolor": "none", "alpha": 0.75}
    for place, ruler in enumerate(rulers):
        low, high = ruler.limits()
        low, high = (low, high) if ruler.drawn else (low - FANNED, high + FANNED)
        for position, text in zip(*ruler.ticks(TICKS), strict=True):
            axes.text(place + 0.015, (position - low) / (high - low), shortened(text, 14), bbox=back, **look)
    low, high = _ends(found.sharpe)
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        text = number(low + part * (high - low)).replace("-", "−")
        axes.text(len(rulers) + 0.015, part, text, bbox=back, **look)
    for place, name in enumerate([*(ruler.name for ruler in rulers), "Sharpe"]):
        axes.axvline(place, color=style.colour("muted"), linewidth=0.9, zorder=3)
        axes.annotate(
            shortened(name, 22), (place, 1.0), (0, 9), textcoords="offset points", ha="center", fontsize=9, color=ink, annotation_clip=False
        )
    axes.set_xlim(-0.12, len(rulers) + 0.18)
    axes.set_ylim(-0.04, 1.04)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def describe_parallel(sweep: Sweep) -> str:
    """What parallel coordinates show: the values of the highest twentieth, parameter by parameter."""
    found = ranked(sweep)
    if not len(found.rows):
        return "Parallel coordinates: no combination has a Sharpe ratio."
    first = min(math.ceil((1.0 - HIGHEST) * len(found.rows)), len(found.rows) - 1)
    frame = frame_of(sweep).iloc[found.rows[first:]]
    parts = []
    for name in varying(sweep) or sweep.varied:
        counts = frame[name].map(lambda label: short([label])[0]).value_counts()
        parts.append(f"{name} {', '.join(f'{value} ({count})' for value, count in counts.head(3).items())}")
    return f"Parallel coordinates of {len(found.rows):,} combinations. Most frequent values among the highest 5% by Sharpe ratio: {'; '.join(parts)}."


# ---------------------------------------------------------------- all Sharpe ratios


def distribution_figure(sweep: Sweep) -> "Figure":
    """How many combinations have which Sharpe ratio, with what the best would have by luck alone, and the best with its interval."""
    found, row = ranked(sweep), chosen_row(sweep)
    with style.house_style():
        figure = style.new_figure(3.6)
        axes = figure.add_subplot()
        low, high = _ends(found.sharpe)
        below, above = int((found.sharpe < low).sum()), int((found.sharpe > high).sum())
        bins = min(BINS, max(8, math.ceil(2.0 * math.sqrt(len(found.sharpe)))))
        axes.hist(np.clip(found.sharpe, low, high), bins=bins, range=(low, high), color=style.colour("blue"), alpha=0.55, linewidth=0)
        cut = "".join(f"; {count:,} {words} than the axis" for count, words in ((below, "lower"), (above, "higher")) if count)
        axes.set_title(f"Sharpe ratios of {len(found.sharpe):,} combinations{cut}")
        axes.axvline(0.0, color=style.colour("muted"), linewidth=0.8)
        if row is not None:
            _best(axes, sweep)
            figure.suptitle(f"Chosen is the {odds(sweep.luck)}", x=0.01, ha="left", fontsize=9, color=style.colour("muted"))
        axes.set_xlabel("Sharpe ratio, annualized")
        axes.set_ylabel("combinations")
        axes.grid(visible=False, axis="x")
        style.value_axis(axes)
        style.value_ticks(axes.xaxis)
        whole_ticks(axes)
        style.legend(figure)
        style.watermark(figure, sweep.dataset.simulated)
    return figure


def whole_ticks(axes: "Axes") -> None:
    """Ticks of an upright axis that counts."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _best(axes: "Axes", sweep: Sweep) -> None:
    """The best, its interval, and what luck alone would give it."""
    luck, ink = sweep.luck, style.colour("ink")
    (low, high), top = axes.get_xlim(), axes.get_ylim()[1]
    least, most = low - BEYOND * (high - low), high + BEYOND * (high - low)  # what lies farther out stands at the edge
    axes.set_ylim(0.0, 1.16 * top)
    if all(map(math.isfinite, luck.interval)):
        label = f"its 95% interval, {number(luck.interval[0])} to {number(luck.interval[1])}".replace("-", "−")
        axes.plot(np.clip(luck.interval, least, most), [1.08 * top] * 2, color=ink, linewidth=1.4, marker="|", markersize=9, label=label)
    if math.isfinite(luck.expected_maximum):
        label = f"expected of the best by luck alone, {number(luck.expected_maximum)}"
        place = min(luck.expected_maximum, most)
        axes.axvline(place, color=style.colour("red"), linewidth=1.8, linestyle=(0, (4, 2)), label=label)
    axes.axvline(
        float(np.clip(luck.sharpe, least, most)), color=ink, linewidth=1.8, label=f"chosen, {number(luck.sharpe)}".replace("-", "−")
    )


def describe_distribution(sweep: Sweep) -> str:
    """What the distribution shows."""
    sharpe = ranked(sweep).sharpe
    if not len(sharpe):
        return "No combination has a Sharpe ratio."
    quarters = ", ".join(number(float(value)) for value in np.quantile(sharpe, [0.0, 0.25, 0.5, 0.75, 1.0]))
    told = f"Sharpe ratios of {len(sharpe):,} combinations; lowest, quarters and highest: {quarters}."
    if chosen_row(sweep) is None:
        return told
    return f"{told} Chosen is the {odds(sweep.luck)}; its 95% interval is {number(sweep.luck.interval[0])} to {number(sweep.luck.interval[1])}."


# ---------------------------------------------------------------- one parameter


def profile_figure(sweep: Sweep) -> "Figure":
    """Sharpe along the only parameter that varies, the chosen value marked."""
    ruler = ruler_of(sweep, (varying(sweep) or list(sweep.varied))[0])
    found, frame, row = ranked(sweep), frame_of(sweep), chosen_row(sweep)
    traded = sweep.table["trades"].to_numpy(dtype=np.float64) > 0.0
    ran = np.arange(len(sweep.table))
    places = ruler.places(frame[ruler.name].tolist())
    sharpe = np.where(traded, sweep.table[RANKED].to_numpy(dtype=np.float64), math.nan)
    order = np.argsort(places[ran], kind="stable")
    with style.house_style():
        figure = style.new_figure(3.4)
        axes = figure.add_subplot()
        size = 5.0 if len(order) <= 100 else 2.5
        line = "none" if ruler.drawn else "-"
        axes.plot(places[ran][order], sharpe[order], color=style.colour("blue"), marker="o", markersize=size, linestyle=line)
        axes.axhline(0.0, color=style.colour("muted"), linewidth=0.8)
        for kind, here, shape in (("invalid", places[len(ran) :], "x"), ("no trade", places[ran][~traded], "_")):
            if len(here):
                axes.plot(here, np.zeros(len(here)), color=style.colour("grey"), marker=shape, markersize=7, linestyle="none", label=kind)
        if row is not None:
            look: dict[str, Any] = {"markersize": 9, "color": style.colour("ink"), "markeredgecolor": style.colour("page")}
            axes.plot([places[row]], [sharpe[row]], marker="D", linestyle="none", label="chosen", **look)
            figure.suptitle(f"Chosen is the {odds(sweep.luck)}", x=0.01, ha="left", fontsize=9, color=style.colour("muted"))
        elif not len(found.rows):
            axes.text(0.5, 0.7, "no combination has a Sharpe ratio", transform=axes.transAxes, ha="center", color=style.colour("muted"))
        low, high = ruler.limits()
        axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
        positions, texts = ruler.ticks(14)
        axes.set_xticks(positions, [shortened(text, 12) for text in texts])
        axes.set_xlabel(ruler.name)
        axes.set_title("Sharpe ratio")
        style.value_axis(axes)
        style.legend(figure)
        style.watermark(figure, sweep.dataset.simulated)
    return figure


def describe_profile(sweep: Sweep) -> str:
    """What the line shows: where Sharpe is lowest and highest."""
    found, frame = ranked(sweep), frame_of(sweep)
    name = (varying(sweep) or list(sweep.varied))[0]
    if not len(found.rows):
        return f"Sharpe ratio by {name}: no combination has one."
    ends = [
        f"{number(sharpe)} at {short([frame[name].iat[int(row)]])[0]}"
        for row, sharpe in ((found.rows[0], found.sharpe[0]), (found.rows[-1], found.sharpe[-1]))
    ]
    return f"Sharpe ratio by {name}: lowest {ends[0]}, highest {ends[1]}; of {len(found.rows):,} values."


# ---------------------------------------------------------------- a search


def history_figure(search: Search) -> "Figure":
    """What each trial of a search gave, and the best so far."""
    values, best = (search.history[name].to_numpy(dtype=np.float64) for name in ("value", "best"))
    trials = np.arange(1, len(values) + 1)
    percent = metric_style(search.by) == "percent"
    with style.house_style():
        figure = style.new_figure(3.4)
        axes = figure.add_subplot()
        size = 4.0 if len(values) <= 500 else 2.0
        axes.plot(
            trials,
            values,
            linestyle="none",
            marker="o",
            markersize=size,
            markeredgewidth=0,
            color=style.colour("blue"),
            alpha=0.6,
            label="a trial",
        )
        axes.step(trials, best, where="post", color=style.colour("ink"), linewidth=1.5, label="best so far")
        without = trials[~np.isfinite(values)]
        if len(without):
            low = float(np.nanmin(values)) if np.isfinite(values).any() else 0.0
            axes.plot(
                without,
                np.full(len(without), low),
                linestyle="none",
                marker="|",
                color=style.colour("grey"),
                label="refused, or without a value",
            )
        label = metric_label(search.by)
        axes.set_title(f"{label[:1].upper()}{label[1:]}{', %' if percent else ''} of {len(values):,} trials in their order")
        axes.set_xlabel("trial")
        style.value_axis(axes, percent=percent)
        style.value_ticks(axes.xaxis)
        if chosen_row(search) is not None:
            figure.suptitle(f"Chosen is the {odds(search.luck)}", x=0.01, ha="left", fontsize=9, color=style.colour("muted"))
        style.legend(figure)
        style.watermark(figure, search.dataset.simulated)
    return figure


def describe_history(search: Search) -> str:
    """How fast a search found what it found."""
    best = search.history["best"].to_numpy(dtype=np.float64)
    if not np.isfinite(best).any():
        return f"{len(best):,} trials, none of them with a value."
    last = metric(metric_style(search.by), float(best[-1]))
    found = int(np.flatnonzero(best == best[-1])[0]) + 1
    return f"{metric_label(search.by)} of {len(best):,} trials in their order; the best, {last}, was found in trial {found:,}."


# ---------------------------------------------------------------- equity


def equity_figure(sweep: Sweep) -> "Figure":
    """The chosen combination's equity at midnights among those of all others, and the baseline's."""
    row = chosen_row(sweep)
    times = np.array([days_since_1970(stamp) for stamp in sweep.daily.index])
    values = sweep.daily.to_numpy(dtype=np.float64)
    kept = np.unique(np.linspace(0, len(times) - 1, min(len(times), 700)).astype(np.int64))
    with style.house_style():
        figure = style.new_figure(3.8)
        axes = figure.add_subplot()
        bounds = np.nanquantile(values[kept], [0.05, 0.25, 0.75, 0.95], axis=1)
        look: dict[str, Any] = {"color": style.colour("blue"), "linewidth": 0}
        axes.fill_between(times[kept], bounds[0], bounds[3], alpha=0.15, label="9 of 10 combinations", **look)
        axes.fill_between(times[kept], bounds[1], bounds[2], alpha=0.25, label="half of them", **look)
        axes.plot(times[kept], np.nanmedian(values[kept], axis=1), color=style.colour("blue"), label="median")
        baseline = sweep.baseline.to_numpy(dtype=np.float64)
        if len(baseline) == len(times):
            label = f"baseline: {sweep.luck.baseline}"
            axes.plot(times[kept], baseline[kept], color=style.colour("red"), linestyle=(0, (5, 2)), label=label)
        if row is not None:
            axes.plot(times[kept], values[kept, row], color=style.colour("ink"), linewidth=1.6, label="chosen")
            figure.suptitle(f"Chosen is the {odds(sweep.luck)}", x=0.01, ha="left", fontsize=9, color=style.colour("muted"))
        axes.set_title(f"Equity at midnights, {sweep.quote}")
        style.value_axis(axes)
        style.time_axis(axes, float(times[0]), float(times[-1]))
        if sweep.daily.index[0].year == sweep.daily.index[-1].year:
            axes.set_xlabel(str(sweep.daily.index[0].year), loc="right")
        style.legend(figure)
        style.watermark(figure, sweep.dataset.simulated)
    return figure


def describe_equity(sweep: Sweep) -> str:
    """Where the combinations end, and the chosen one."""
    final = sweep.table["final_equity"].to_numpy(dtype=np.float64)
    row = chosen_row(sweep)
    told = f"Equity of {len(final):,} combinations in {sweep.quote} ends between {money(float(np.nanmin(final)))} and {money(float(np.nanmax(final)))}, median {money(float(np.nanmedian(final)))}"
    if row is None:
        return f"{told}."
    return f"{told}; of the chosen one at {money(float(final[row]))}, whose deflated Sharpe ratio is {chance(sweep.luck.deflated_sharpe)}."
