"""What a notebook draws of a run besides its curves: events below its premium, a waterfall, years, exposure, months.

draw_waterfall(axes, result)
draw_years(axes, result)
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from backtest.report import style
from backtest.report.canvas import LETTER, Canvas
from backtest.report.figures_base import floats, times_of
from backtest.report.figures_detail import cash_by_group, cash_by_year, short_cash
from backtest.report.figures_premium import event_rows, tick_lines
from backtest.report.protocol import Reportable
from backtest.report.sweep_cells import called
from backtest.report.words import MONTHS, number
from backtest.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

TICK_ROW = 0.055  # share of the height that a row of ticks takes
MOST_ROWS = 0.4  # the share of all of them


def draw_ticks_below(drawn: Canvas, result: Reportable) -> None:
    """Entries, and exits by reason, as rows of ticks below the data of the same Axes."""
    axes, rows = drawn.axes, event_rows(result)
    tall = min(TICK_ROW, MOST_ROWS / len(rows))
    share = tall * len(rows)
    low, high = axes.get_ylim()
    axes.set_ylim(low - (high - low) * share / (1.0 - share), high)
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= high])
    for height, (name, times, tone) in enumerate(rows):
        middle = share - tall * (height + 0.5)
        x, y = tick_lines(result, times, middle, 0.4 * tall)
        axes.plot(x, y, color=style.colour(tone), linewidth=0.8, label=f"{name} {len(times):,}", transform=axes.get_xaxis_transform())


def draw_margin_line(axes: "Axes", result: Reportable) -> bool:
    """The use of the margin as a line, where a position has one; a leg is liquidated at 1. Whether there is one."""
    values = floats(result.exposure["margin_use"])
    if not (values > 0.0).any():
        return False
    kept = style.thin(values)
    times = times_of(result.exposure.index)[kept]
    axes.plot(times, values[kept], color=style.colour("red"), linewidth=1.0, linestyle=(0, (1, 1)), label="margin in use (100: liquidated)")
    return True


def fit_waterfall(drawn: Canvas, result: Reportable) -> None:
    """On a narrow Axes the steps are named in a legend, and figures that would stand on each other left out."""
    axes, groups = drawn.axes, list(cash_by_group(result))
    slot, figures = drawn.size[0] / (len(groups) + 2), _last(axes.texts, len(groups) + 2)
    if LETTER * drawn.letters * max(len(text.get_text()) for text in figures) > slot:
        for text in figures:
            text.remove()
    if LETTER * drawn.letters * 11 > slot:  # the longest word of a step's name
        axes.set_xticks([0, len(groups) + 1], ["capital", "final"], color=style.colour("ink"))
        first, last = axes.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
        steps = [bars.get_children()[0] for bars in _last(axes.containers, len(groups))]
        for name, step in zip(groups, steps, strict=True):
            step.set_label(name)
        drawn.legend(handles=steps)


def _last(drawn: "Sequence[Any]", count: int) -> list[Any]:
    """What was drawn last: the Axes may hold more, of the caller or of a plot before."""
    return list(drawn)[len(drawn) - count :]


def fit_years(drawn: Canvas, result: Reportable) -> None:
    """The sums above the stacks, where they fit between each other."""
    axes, table = drawn.axes, cash_by_year(result)
    for written in _last(axes.texts, len(table.columns)):
        written.remove()
    texts = [short_cash(float(value)) for value in table.sum()]
    axes.set_xlim(-0.6, len(texts) - 0.4)
    if LETTER * drawn.letters * max(map(len, texts), default=0) < drawn.size[0] / max(len(texts), 1):
        for place, (text, top) in enumerate(zip(texts, table.clip(lower=0.0).sum(), strict=True)):
            axes.annotate(text, (place, float(top)), (0, 4), textcoords="offset points", ha="center", va="bottom", fontweight="bold")
        axes.margins(y=0.1)


def fit_heat_map(drawn: Canvas, sweep: Sweep, by: str, odds: str) -> None:
    """A sweep's map on an Axes of any size: letters that suit it, its legend below where there is room, a title of one line where there is not."""
    axes, size = drawn.axes, drawn.letters
    told = axes.get_title(loc="left").removeprefix("SIMULATED DATA\n")
    name = called(by)
    if not drawn.roomy:  # a label below the ticks would stand on the title of the next row
        name = f"{name} by {axes.get_xlabel()}"
        axes.set_xlabel("")
    drawn.title(told, *(f"{name}; {part}" for part in (odds, odds.rpartition(", ")[2]) if odds), odds or name)
    if not drawn.roomy and axes.texts:  # nobody makes room for a scale, and the figures stand in the cells
        for beside in list(axes.child_axes):
            beside.remove()
    for beside in axes.child_axes:
        beside.tick_params(labelsize=size - 0.5, labelcolor=style.colour("muted"), length=0)
    legend = axes.get_legend()
    if legend is not None:
        handles = list(legend.legend_handles)
        legend.remove()
        if drawn.roomy:
            drawn.below([handle for handle in handles if handle is not None])
    drawn.mark(sweep.dataset.simulated, behind=True)


def draw_months(drawn: Canvas, table: pd.DataFrame) -> None:
    """Returns by year (down) and month (across): gains blue, losses orange, the stronger the larger, and their figures where there is room."""
    axes = drawn.axes
    values = table.to_numpy(dtype=np.float64)
    limit = float(np.nanquantile(np.abs(values[:, :12]), 0.95)) if np.isfinite(values[:, :12]).any() else 0.0
    width, height = drawn.size
    size = min(drawn.letters - 0.5, width / 13 / 3.2, height / max(len(table), 1) / 1.3)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            tone = style.colour("blue" if value >= 0 else "red")
            axes.add_patch(_cell(column, row, tone, 0.06 + 0.6 * min(abs(value) / (limit or 1.0), 1.0) if column < 12 else 0.0))
            if size >= 4.5:
                text = number(100 * value, 1 if abs(value) < 0.995 else 0).replace("-", "−")
                axes.text(column, row, text, ha="center", va="center", fontsize=size, color=style.colour("ink"))
    axes.set_xlim(-0.5, 12.5)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xticks(range(13), [*MONTHS, "year"] if width / 13 > LETTER * drawn.letters * 5 else [*(name[:1] for name in MONTHS), "Σ"])
    axes.set_yticks(range(len(table)), [str(year) for year in table.index])
    axes.grid(visible=False)


def _cell(column: int, row: int, tone: str, alpha: float) -> "Rectangle":
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.49, row - 0.47), 0.98, 0.94, facecolor=tone, alpha=alpha, linewidth=0)
