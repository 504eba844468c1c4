"""The figures of a comparison: growth and drawdowns as lines, sources of PnL as stacked bars, a run each.

figure = curves_figure(comparison)
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from backtest.compare import Comparison
from backtest.report import style
from backtest.report.figures import GROUPS, days_since_1970
from backtest.report.words import percent, source_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TONES = ("blue", "orange", "green", "red", "purple", "sky", "grey", "yellow")
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("solid", (0, (5, 2)), (0, (1, 1)))
LONGEST_NAME = 60
LEGEND = 118  # characters on a line of a legend
BAR = 0.34  # inches of height for a run's bar


def simulated(comparison: Comparison) -> bool:
    """Whether any run is on made-up data."""
    return any(run.dataset.simulated for run in comparison.runs.values())


def curves_figure(comparison: Comparison) -> "Figure":
    """Growth of 1 above, drawdowns below, over one time axis, a line a run."""
    growth, falls = comparison.growth, comparison.drawdowns
    times = np.array([days_since_1970(stamp) for stamp in growth.index])
    with style.house_style():
        figure = style.new_figure(5.0 + 0.18 * legend_lines(list(comparison.runs)))
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.0, 1])
        upper.axhline(1.0, color=style.colour("muted"), linewidth=0.8, linestyle=(0, (4, 3)))
        for place, name in enumerate(comparison.runs):
            line = {"color": style.colour(TONES[place % len(TONES)]), "linestyle": DASHES[place // len(TONES)]}
            for axes, table, width in ((upper, growth, 1.4), (lower, falls, 0.9)):
                values = table[name].to_numpy(dtype=np.float64)
                kept = style.thin(values)
                label = shortened(name) if axes is upper else "_"
                axes.plot(times[kept], values[kept], linewidth=width, label=label, **line)
        upper.set_title("Equity, growth of 1")
        style.value_axis(upper)
        lower.set_title("Drawdown, % of the running peak")
        depth = max(-float(np.nanmin(falls.to_numpy())), 1e-4)
        lower.set_ylim(-1.08 * depth, 0.03 * depth)
        style.value_axis(lower, percent=True)
        style.time_axis(lower, float(times[0]), float(times[-1]))
        if growth.index[0].year == growth.index[-1].year:
            lower.set_xlabel(str(growth.index[0].year), loc="right")
        handles, labels = upper.get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower left", ncols=legend_columns(list(comparison.runs)), handlelength=2.0, borderpad=0.2
        )
        style.watermark(figure, simulated(comparison))
    return figure


def sources_figure(comparison: Comparison) -> "Figure":
    """A bar a run: gains by group of sources stacked to the right, losses to the left, in percent of capital, and a mark at their sum."""
    groups = grouped(comparison)
    names = list(comparison.runs)
    rows = -np.arange(len(names), dtype=np.float64)
    with style.house_style():
        figure = style.new_figure(1.3 + BAR * len(names))
        axes = figure.add_subplot()
        right, left = np.zeros(len(names)), np.zeros(len(names))
        for group, values in groups.items():
            tone = style.colour(GROUPS[group][1] if group in GROUPS else "grey")
            gain, loss = np.maximum(values, 0.0), np.minimum(values, 0.0)
            axes.barh(rows, gain + loss, left=np.where(values >= 0.0, right, left), height=0.62, color=tone, linewidth=0, label=group)
            right, left = right + gain, left + loss
        axes.plot(
            right + left,
            rows,
            linestyle="none",
            marker="D",
            markersize=6,
            color=style.colour("ink"),
            markeredgecolor=style.colour("page"),
            label="sum",
            zorder=4,
        )
        axes.axvline(0.0, color=style.colour("muted"), linewidth=0.7)
        _names_beside(axes, names, rows)
        axes.set_title("PnL by source, % of capital", pad=8)
        style.value_ticks(axes.xaxis, percent=True)
        style.legend(figure)
        style.watermark(figure, simulated(comparison))
    return figure


def _names_beside(axes: "Axes", names: Sequence[str], rows: "np.typing.NDArray[np.float64]") -> None:
    axes.set_yticks(rows, [shortened(name, 34) for name in names])
    axes.set_ylim(rows[-1] - 0.6, 0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", labelcolor=style.colour("ink"))


def grouped(comparison: Comparison) -> "dict[str, np.typing.NDArray[np.float64]]":
    """Each group of sources that ever flowed, as fractions of capital by run, largest first."""
    table = comparison.attribution_of_capital
    members = {
        group: [source for source in ([sources] if isinstance(sources, str) else sources) if source in table.index]
        for group, (sources, _) in GROUPS.items()
    }
    named = {source for sources in members.values() for source in sources}
    members |= {source_label(str(source)): [str(source)] for source in table.index if source not in named}
    sums = {group: table.loc[sources].sum().to_numpy(dtype=np.float64) for group, sources in members.items() if sources}
    used = sorted((group for group, values in sums.items() if values.any()), key=lambda group: -float(np.abs(sums[group]).max()))
    return {group: sums[group] for group in used}


def describe_curves(comparison: Comparison) -> str:
    """What the curves show."""
    ends = "; ".join(
        f"{name} ends at {comparison.growth[name].dropna().iloc[-1]:.4g}, deepest drawdown {percent(float(comparison.drawdowns[name].min()))}"
        for name in comparison.runs
    )
    return f"{_about(comparison)}Growth of 1 and drawdowns at midnight UTC: {ends}."


def describe_sources(comparison: Comparison) -> str:
    """What the bars show."""
    groups = grouped(comparison)
    told = []
    for place, name in enumerate(comparison.runs):
        parts = ", ".join(f"{group} {percent(float(values[place]))}" for group, values in groups.items() if values[place])
        told.append(f"{name}: {parts or 'nothing'}")
    return f"{_about(comparison)}PnL by source in percent of capital. {'; '.join(told)}."


def _about(comparison: Comparison) -> str:
    return "SIMULATED data. " if simulated(comparison) else ""


def shortened(name: str, width: int = LONGEST_NAME) -> str:
    """A text with its middle left out where it is long: what differs between names stands at their ends."""
    return name if len(name) <= width else f"{name[: width // 2]}…{name[len(name) - (width - width // 2 - 1) :]}"


def legend_columns(names: Sequence[str]) -> int:
    """How many names fit on a line of the legend."""
    longest = max(len(shortened(name)) for name in names)
    return max(1, min(len(names), LEGEND // (longest + 6)))


def legend_lines(names: Sequence[str]) -> int:
    """How many lines the legend has."""
    return -(-len(names) // legend_columns(names))
