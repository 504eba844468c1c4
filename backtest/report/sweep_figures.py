"""The figures of a sweep: heat maps of two parameters, parallel coordinates of all, and the distribution of all Sharpe ratios.

None marks the best combination without the odds that it owes its place to luck. What is drawn is vector graphics in the house's colours: blue above zero,
orange below, the stronger the farther; where all values have one sign, the weakest is the one nearest to zero.

    axes = heat_map(sweep, "exit", "enter", at={"max_hold": "7D"})
    axes.figure.savefig("enter_exit.svg")
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from backtest.metrics import RANKED
from backtest.report import style
from backtest.report.compare_figures import shortened
from backtest.report.sweep_cells import (
    MARGIN,
    Cells,
    Floats,
    State,
    called,
    cells_of,
    checked,
    chosen_row,
    evenly,
    fan,
    frame_of,
    odds,
    of_points,
    others,
    ranked,
    ruler_of,
    short,
    thinned,
)
from backtest.report.words import metric, metric_style, number
from backtest.sweep import Sweep

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHADES = 16  # steps of a colour
WEAKEST, STRONGEST = 0.06, 0.74  # their alpha
SATURATED = 0.01  # the share of values beyond the ends of the colours
FAINTEST = 0.25  # alpha of a point: a fainter one would not be seen
LETTER, LINE = 5.0, 12.0  # points that a letter and a line of text take
NUMBERED = 400  # cells that may have their figures written in them
POINTS = 2_000  # the most that a map of points draws
FRAMED = 600  # cells: of more, a frame around one would not be seen
ABREAST = 2
CHOSEN = "chosen"
SLANT, SLANTED = 25, 22  # degrees of labels that are too long to stand side by side, and their letters
LOSSES = ("max_drawdown", "liquidations")  # the more, the worse: in the colour of losses


class Scale(NamedTuple):
    """The values of the weakest and of the strongest colours; below zero they are negative."""

    low: float
    high: float

    @property
    def base(self) -> float:
        """The value without a colour: zero, or where all have one sign that which is nearest to it."""
        return min(max(0.0, self.low), self.high)

    def steps(self, values: Floats) -> Floats:
        """Signed whole steps of the colour, -SHADES to SHADES; NaN where nothing is known. [as values]"""
        reach = max(self.high - self.base, self.base - self.low) or 1.0
        part = np.clip((values - self.base) / reach, -1.0, 1.0)
        sign = np.where(values < 0.0, -1.0, 1.0)
        found: Floats = np.where(np.isfinite(values), sign * np.maximum(np.ceil(np.abs(part) * SHADES), 1.0), math.nan)
        return found


def scale_of(values: Floats) -> Scale:
    """The scale of some values: few of them lie beyond its ends."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Scale(0.0, 0.0)
    low, high = (float(bound) for bound in np.quantile(known, [SATURATED, 1.0 - SATURATED]))
    return Scale(low, high)


def shade(step: float, by: str) -> tuple[str, float]:
    """The colour of a step of a statistic and its alpha."""
    return style.colour("blue" if (step > 0) != (by in LOSSES) else "red"), WEAKEST + (STRONGEST - WEAKEST) * (abs(step) - 1.0) / (
        SHADES - 1.0
    )


# ---------------------------------------------------------------- heat maps


def heat_map(sweep: Sweep, x: str, y: str, by: str = RANKED, at: Mapping[str, Any] | None = None, ax: "Axes | None" = None) -> "Axes":
    """A statistic for every pair of two parameters' values: a cell a pair, or a point a combination where values were drawn from a range.

    by: a column of the sweep's table. at: values of further parameters, to see one slice of the sweep; without one each cell shows the best of its
    combinations by Sharpe. ax: where to draw; None makes a figure (`.figure` of what is returned). Outlined are the cells that lose at most a tenth of the chosen
    one's Sharpe ratio; hatched are those that were refused or never traded. Raises ParameterError for a parameter, a statistic or a value that the sweep doesn't have.
    """
    fixed = checked(sweep, x, y, by, at or {})
    with style.house_style():
        if ax is not None:
            marks = _draw(sweep, ax, x, y, by, fixed)
            mark = "SIMULATED DATA\n" if sweep.dataset.simulated else ""
            ax.set_title(f"{mark}{ax.get_title(loc='left')}\n{_odds(sweep, marks, _points(ax)[0])}".rstrip())
            if marks:
                ax.legend(handles=marks, loc="upper left", bbox_to_anchor=(0.0, -0.14), ncols=3)
            return ax
        figure = style.new_figure(_height(sweep, x, y, 1))
        axes = figure.add_subplot()
        _finish(sweep, figure, _draw(sweep, axes, x, y, by, fixed))
    return axes


def heat_maps_figure(sweep: Sweep, maps: Sequence[tuple[str, str, str]]) -> "Figure":
    """Several heat maps (x, y, statistic), two abreast."""
    rows = -(-len(maps) // ABREAST)
    with style.house_style():
        heights = [max(_height(sweep, x, y, ABREAST) for x, y, _ in maps[row * ABREAST : (row + 1) * ABREAST]) for row in range(rows)]
        figure = style.new_figure(sum(heights) + 0.3)
        panels = np.atleast_1d(figure.subplots(rows, min(ABREAST, len(maps)), squeeze=False, height_ratios=heights)).ravel()
        marks: dict[str, Artist] = {}
        for axes, (x, y, by) in zip(panels, maps, strict=False):
            marks |= {str(mark.get_label()): mark for mark in _draw(sweep, axes, x, y, by, {})}
        for axes in panels[len(maps) :]:
            axes.set_visible(False)
        _finish(sweep, figure, list(marks.values()))
    return figure


def _finish(sweep: Sweep, figure: "Figure", marks: "list[Artist]") -> None:
    """The odds above, what the marks mean below, and whether the data are made up."""
    figure.suptitle(_odds(sweep, marks), x=0.01, ha="left", fontsize=9, color=style.colour("muted"))
    if marks:
        style.legend(figure, marks)
    style.watermark(figure, sweep.dataset.simulated)


def describe_heat_map(sweep: Sweep, x: str, y: str, by: str = RANKED) -> str:
    """What a heat map shows: its ends, its plateau, its holes."""
    cells = cells_of(sweep, x, y, by)
    known = cells.values[np.isfinite(cells.values) & (cells.states == State.TRADED)]
    kind = metric_style(by)
    told = f"{called(by)} by {x} and {y}{f', {cells.others}' if cells.others else ''}: "
    told += (
        f"{metric(kind, float(known.min()))} to {metric(kind, float(known.max()))} in {len(known):,} cells"
        if len(known)
        else "not known in any cell"
    )
    for state, words in ((State.INVALID, "invalid"), (State.IDLE, "without a trade"), (State.UNTRIED, "not tried")):
        count = int((cells.states == state).sum())
        told += f", {count:,} {words}" if count else ""
    if cells.chosen is not None:
        up, across = cells.chosen
        told += f". Chosen: {x} {short(cells.across)[across]}, {y} {short(cells.up)[up]}; {int(cells.plateau.sum()):,} cells within 10% of its Sharpe ratio"
    return f"{told}."


def _draw(sweep: Sweep, axes: "Axes", x: str, y: str, by: str, at: Mapping[str, Any]) -> "list[Artist]":
    """One heat map on its axes; what its marks mean."""
    axes.grid(visible=False)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    rest = others(sweep, x, y, at)
    title = f"{called(by)}{', %' if metric_style(by) == 'percent' else ''}{f' ({rest})' if rest else ''}"
    width = int(_points(axes)[0] / LETTER)
    axes.set_title("\n".join(textwrap.wrap(title, max(width, 30))))
    if of_points(sweep, x, y):
        return _points_map(sweep, axes, x, y, by, at)
    cells = cells_of(sweep, x, y, by, at)
    scale = scale_of(np.where(cells.states == State.TRADED, cells.values, math.nan))
    marks = _tiles(axes, cells, scale, by)
    _value_labels(axes, cells, by)
    _value_ticks(axes, cells)
    marks += _marked(axes, cells)
    _ramp(axes, scale, by)
    return marks


def _points(axes: "Axes") -> tuple[float, float]:
    """The rough size of axes before they are laid out, in points."""
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes stand in a figure"
    spec = axes.get_subplotspec()
    columns, rows = (spec.get_gridspec().ncols, spec.get_gridspec().nrows) if spec is not None else (1, 1)
    width, height = figure.get_size_inches() * 72.0
    return 0.84 * width / columns - 20.0, 0.8 * height / rows - 40.0


def _height(sweep: Sweep, x: str, y: str, abreast: int) -> float:
    """Inches of a map's height: as many as its rows need."""
    if of_points(sweep, x, y):
        return 4.2
    rows = len(cells_of(sweep, x, y).up)
    return 1.5 + min(max(0.3 * rows, 1.0), 5.0 if abreast == 1 else 3.4)


def _tiles(axes: "Axes", cells: Cells, scale: Scale, by: str) -> "list[Artist]":
    """The cells as rectangles, one path a shade; those without a figure hatched."""
    from matplotlib.patches import Patch, PathPatch

    steps = np.where(cells.states == State.TRADED, scale.steps(cells.values), math.nan)
    for step in np.unique(steps[np.isfinite(steps)]).tolist():
        tone, alpha = shade(step, by)
        axes.add_patch(PathPatch(_rectangles(steps == step), facecolor=tone, alpha=alpha, linewidth=0))
    marks: list[Artist] = []
    unknown = (cells.states == State.TRADED) & ~np.isfinite(cells.values)
    for chosen, hatch, words in (
        (cells.states == State.INVALID, "/////", "invalid"),
        (cells.states == State.IDLE, "....", "no trade"),
        (unknown, "\\\\\\", "not defined"),
    ):
        if chosen.any():
            look: dict[str, Any] = {"facecolor": "none", "edgecolor": style.colour("grey"), "hatch": hatch, "linewidth": 0}
            axes.add_patch(PathPatch(_rectangles(chosen), **look))
            marks.append(Patch(label=words, **look))
    axes.set_xlim(-0.5, len(cells.across) - 0.5)
    axes.set_ylim(-0.5, len(cells.up) - 0.5)
    return marks


def _rectangles(chosen: "np.typing.NDArray[np.bool_]") -> Any:
    """Cells as one path: of neighbours in a row one rectangle."""
    from matplotlib.path import Path

    edges = np.diff(np.pad(chosen.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, begins = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    corners = np.array([[begins, rows], [ends, rows], [ends, rows + 1], [begins, rows + 1], [begins, rows]], dtype=np.float64) - 0.5
    codes = np.tile([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], len(rows))
    return Path(corners.transpose(2, 0, 1).reshape(-1, 2), codes)


def _value_labels(axes: "Axes", cells: Cells, by: str) -> None:
    """The figures in the cells, where there is room for them."""
    traded = np.isfinite(cells.values) & (cells.states == State.TRADED)
    if traded.sum() > NUMBERED:
        return
    scale = 100.0 if metric_style(by) == "percent" else 1.0
    decimals = 0 if metric_style(by) == "count" else 1 if scale * np.nanmax(np.abs(cells.values), initial=0.0) >= 10.0 else 2
    texts = {
        (row, column): number(scale * cells.values[row, column], decimals).replace("-", "−") for row, column in np.argwhere(traded).tolist()
    }
    width, height = _points(axes)
    longest = max(map(len, texts.values()), default=0)
    if longest * LETTER > width / len(cells.across) or height / len(cells.up) < LINE:
        return
    for (row, column), text in texts.items():
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=style.colour("ink"))


def _value_ticks(axes: "Axes", cells: Cells) -> None:
    """As many of the values along the axes as there is room for."""
    width, height = _points(axes)
    across, up = short(cells.across, "−"), short(cells.up, "−")
    room = max(int(width / len(across) / LETTER) - 2, 3)
    longest = max(map(len, across))
    if longest > room and isinstance(cells.across[0], str):
        every = evenly(math.ceil(1.3 * LINE * len(across) / width))
        texts = [shortened(text, SLANTED) for text in across[::every]]
        axes.set_xticks(range(0, len(across), every), texts, rotation=SLANT, ha="right", rotation_mode="anchor")
    else:
        every = evenly(math.ceil((longest + 1.5) * LETTER * len(across) / width))
        axes.set_xticks(range(0, len(across), every), across[::every])
    up = [shortened(text, 16) for text in up]
    every = evenly(math.ceil(LINE * len(up) / height))
    axes.set_yticks(range(0, len(up), every), up[::every])
    axes.tick_params(length=0)


def _marked(axes: "Axes", cells: Cells) -> "list[Artist]":
    """The plateau's outline and the chosen cell; what they mean."""
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    if cells.chosen is None:
        return []
    ink, (row, column) = style.colour("ink"), cells.chosen
    few = cells.plateau.size <= FRAMED
    edge = {"color": ink, "linewidth": 1.1 if few else 0.8, "linestyle": (0, (3, 1.5)) if few else "solid"}
    axes.add_collection(LineCollection(_outline(cells.plateau), zorder=4, **edge), autolim=False)
    marks: list[Artist] = [Line2D([], [], label=f"Sharpe at most {MARGIN:.0%} below the chosen", **edge)]  # type: ignore[arg-type]
    if few:
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=ink, linewidth=2.6, zorder=5, clip_on=False))
        marks.append(
            Line2D([], [], color=ink, marker="s", markersize=9, markerfacecolor="none", markeredgewidth=2.2, linestyle="none", label=CHOSEN)
        )
    else:
        marks.append(_star(axes, column, row))
    return marks


def _star(axes: "Axes", across: float, up: float) -> "Artist":
    """A mark on the chosen combination that is seen on every colour."""
    look: dict[str, Any] = {"markersize": 10, "color": style.colour("ink"), "markeredgecolor": style.colour("page"), "markeredgewidth": 1.0}
    (mark,) = axes.plot([across], [up], marker="D", linestyle="none", label=CHOSEN, zorder=6, clip_on=False, **look)
    return mark


def _outline(inside: "np.typing.NDArray[np.bool_]") -> list[Floats]:
    """The borders between cells inside and outside, as segments."""
    padded = np.pad(inside.astype(np.int8), 1)
    upright = np.argwhere(np.diff(padded, axis=1)[1:-1] != 0)
    level = np.argwhere(np.diff(padded, axis=0)[:, 1:-1] != 0)
    lines = [np.array([[column - 0.5, row - 0.5], [column - 0.5, row + 0.5]]) for row, column in upright.tolist()]
    return lines + [np.array([[column - 0.5, row - 0.5], [column + 0.5, row - 0.5]]) for row, column in level.tolist()]


def _points_map(sweep: Sweep, axes: "Axes", x: str, y: str, by: str, at: Mapping[str, Any]) -> "list[Artist]":
    """A point a combination, where values were drawn from a range: the stronger ones above."""
    frame = frame_of(sweep)[: len(sweep.table)]
    here = np.logical_and.reduce([np.full(len(frame), True), *((frame[name] == label).to_numpy() for name, label in at.items())])
    values = sweep.table[by].to_numpy(dtype=np.float64)
    order = ranked(sweep).rows
    shown = order[here[order] & np.isfinite(values[order])]
    shown = shown[thinned(len(shown), POINTS)]
    scale = scale_of(values[shown])
    steps = scale.steps(values[shown])
    ahead = [ruler_of(sweep, name) for name in (x, y)]
    along, above = (ruler.places(frame[ruler.name].tolist()) for ruler in ahead)
    for ruler, places in zip(ahead, (along, above), strict=True):
        if not ruler.drawn:  # its few values are rows of points, spread to be told apart
            places[shown] += fan(places[shown], values[shown])
    size = 6.0 if len(shown) <= 200 else 4.5
    for step in sorted(np.unique(steps).tolist(), key=abs):
        tone, alpha = shade(step, by)
        points = shown[steps == step]
        look: dict[str, Any] = {"markersize": size, "color": tone, "alpha": FAINTEST + (1.0 - FAINTEST) * alpha, "markeredgewidth": 0}
        axes.plot(along[points], above[points], linestyle="none", marker="o", **look)
    for axis, ruler in ((axes.xaxis, ahead[0]), (axes.yaxis, ahead[1])):
        axis.set_ticks(*ruler.ticks(8))
    _ramp(axes, scale, by)
    row = chosen_row(sweep)
    return [] if row is None or not here[row] else [_star(axes, along[row], above[row])]


def _ramp(axes: "Axes", scale: Scale, by: str) -> None:
    """The colours' scale beside the map."""
    from matplotlib.patches import Rectangle

    if scale.low == scale.high:
        return
    beside = axes.inset_axes((1.025, 0.0, 0.022, 1.0))
    beside.set_xlim(0, 1)
    beside.set_ylim(scale.low, scale.high)
    edges = np.linspace(scale.low, scale.high, 2 * SHADES + 1)
    for low, high, step in zip(edges[:-1], edges[1:], scale.steps((edges[:-1] + edges[1:]) / 2.0).tolist(), strict=True):
        tone, alpha = shade(step, by)
        beside.add_patch(Rectangle((0, low), 1, high - low, facecolor=tone, alpha=alpha, linewidth=0))
    beside.set_xticks([])
    beside.yaxis.tick_right()
    beside.grid(visible=False)
    for spine in beside.spines.values():
        spine.set_visible(False)
    style.value_axis(beside, percent=metric_style(by) == "percent")


def _odds(sweep: Sweep, marks: "Sequence[Artist]", width: float = 0.0) -> str:
    """The odds of the chosen combination, where it is marked."""
    if not any(mark.get_label() == CHOSEN for mark in marks):
        return ""
    text = f"Chosen is the {odds(sweep.luck)}"
    return "\n".join(textwrap.wrap(text, int(width / LETTER))) if width else text
