"""The house style of every figure, in one place.

Colours are Okabe and Ito's, which the colour-blind can tell apart. A figure is drawn in the light ones; when it goes into a page each house
colour becomes a CSS variable of that page, so the same drawing is right in the dark and on paper. Text stays text: it takes the page's font
and can be searched.

    figure = new_figure(height=3.0)
    svg = to_svg(figure, name="equity", alt="Equity from … to …")

Onto an Axes of somebody else's figure `canvas` draws.
"""

import html
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# name → light, dark; every pair is apart by more than one channel, so no two become the same variable.
COLOURS = {
    "page": ("#ffffff", "#14181d"),
    "ink": ("#1b1f24", "#e7e9ec"),
    "muted": ("#5c6672", "#a3adb8"),
    "grid": ("#dfe3e8", "#343b43"),
    "band": ("#e9eef4", "#232a32"),
    "blue": ("#0072b2", "#4aa8e0"),
    "orange": ("#e69f00", "#f0b43c"),
    "green": ("#009e73", "#2fc79a"),
    "red": ("#d55e00", "#ff8a3d"),
    "sky": ("#56b4e9", "#8fd0f7"),
    "purple": ("#aa5f9b", "#d99bc8"),
    "yellow": ("#c9b600", "#f0e442"),
    "grey": ("#7f8790", "#8d96a0"),
}
WIDTH = 10.0
POINTS = 2000
SALT = "carry-backtest"


_DARK: ContextVar[bool] = ContextVar("dark", default=False)  # whether what is drawn stands on a dark ground


def colour(name: str) -> str:
    """A house colour: the light tone, within `house_style(dark=True)` the dark one."""
    return COLOURS[name][_DARK.get()]


def settings() -> dict[str, Any]:
    """Matplotlib's settings while a figure is drawn or saved."""
    return {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.titlecolor": colour("ink"),
        "axes.facecolor": "none",
        "axes.edgecolor": colour("muted"),
        "axes.labelcolor": colour("muted"),
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.unicode_minus": True,
        "grid.color": colour("grid"),
        "grid.linewidth": 0.6,
        "xtick.color": colour("muted"),
        "ytick.color": colour("muted"),
        "xtick.major.width": 0.6,
        "ytick.major.size": 0,
        "text.color": colour("ink"),
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "lines.linewidth": 1.2,
        "lines.solid_joinstyle": "round",
        "path.simplify": True,
        "svg.fonttype": "none",
        "svg.hashsalt": SALT,
    }


@contextmanager
def house_style(*, dark: bool | None = None) -> Iterator[None]:
    """Matplotlib in the house style, and as it was before afterwards. dark: in the tones for a dark ground; None as around it, which is light."""
    import matplotlib as mpl

    before = _DARK.set(_DARK.get() if dark is None else dark)
    try:
        with mpl.rc_context(settings()):  # type: ignore[arg-type]  # its stub wants every key spelled out as a literal
            yield
    finally:
        _DARK.reset(before)


def new_figure(height: float) -> "Figure":
    """An empty transparent figure of the page's width (inches), outside pyplot's registry."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.patch.set_alpha(0)
    return figure


def watermark(figure: "Figure", simulated: bool) -> None:
    """Write SIMULATED across the figure and in its corner, where the data are."""
    if not simulated:
        return
    place: dict[str, Any] = {"transform": figure.transFigure, "rotation_mode": "anchor", "in_layout": False}
    figure.text(
        0.5, 0.5, "SIMULATED", fontsize=54, fontweight="bold", ha="center", va="center", color=colour("red"), alpha=0.09, zorder=0, **place
    )
    figure.text(0.995, 0.99, "SIMULATED DATA", fontsize=8.5, fontweight="bold", ha="right", va="top", color=colour("red"), **place)


def legend(figure: "Figure", handles: "Sequence[Artist]" = (), columns: int = 5) -> None:
    """The labels of some artists below the figure's axes; without any, of all that the axes hold."""
    found = list(handles) or [handle for axes in figure.axes for handle in axes.get_legend_handles_labels()[0]]
    if found:
        figure.legend(handles=found, loc="outside lower left", ncols=columns, handlelength=1.2, columnspacing=1.6, borderpad=0.2)


def value_axis(axes: "Axes", *, percent: bool = False) -> None:
    """The upright axis as `value_ticks` writes it."""
    value_ticks(axes.yaxis, percent=percent)


def value_ticks(axis: "Axis", *, percent: bool = False) -> None:
    """Ticks written with thousands separators and as many decimals as their spacing needs; fractions in percent."""
    from matplotlib.ticker import Formatter

    scale = 100.0 if percent else 1.0

    class Ticks(Formatter):
        """Sees all ticks at once, as the decimals of one depend on the others."""

        def format_ticks(self, values: Sequence[float]) -> list[str]:
            ticks = scale * np.asarray(values, dtype=np.float64)
            step = float(np.diff(ticks).min()) if len(ticks) > 1 else 1.0
            decimals = next((count for count in range(9) if abs(step - round(step, count)) < 1e-6 * abs(step)), 9)
            return [f"{round(tick, decimals) + 0.0:,.{decimals}f}".replace("-", "−") for tick in ticks.tolist()]

        def __call__(self, value: float, pos: int | None = None) -> str:
            return self.format_ticks([value])[0]

    axis.set_major_formatter(Ticks())


def time_axis(axes: "Axes", start: float, end: float, most: int = 9) -> None:
    """A time axis that spans the run, with dates that say no more than they must. most: ticks that there is room for."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=min(4, most), maxticks=most)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))  # type: ignore[no-untyped-call]
    axes.grid(visible=False, axis="x")
    margin = 0.01 * (end - start) or 0.5
    axes.set_xlim(start - margin, end + margin)


def thin(values: npt.NDArray[np.float64], points: int = POINTS) -> npt.NDArray[np.intp]:
    """Positions that draw the same line with at most `points` of them.

    The first, the last and, of each stretch, the lowest and the highest value are kept, so no extreme is lost; of a stretch that is all NaN one
    position stays, so a long gap remains a gap.
    """
    count = len(values)
    if count <= points:
        return np.arange(count)
    edges = np.linspace(0, count, (points - 2) // 2 + 1).astype(np.intp)
    starts, size = edges[:-1], int(np.diff(edges).max())
    grid = starts[:, None] + np.arange(size)
    inside = grid < edges[1:, None]
    cells = values[np.minimum(grid, count - 1)]
    lowest = np.where(inside & ~np.isnan(cells), cells, np.inf).argmin(axis=1)
    highest = np.where(inside & ~np.isnan(cells), cells, -np.inf).argmax(axis=1)
    return np.unique(np.concatenate([[0], starts + lowest, starts + highest, [count - 1]]).astype(np.intp))


def to_svg(figure: "Figure", *, name: str, alt: str) -> str:
    """The figure as an SVG element for a page: labelled by `alt`, ids prefixed by `name`, house colours as CSS variables."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with house_style():
        figure.savefig(buffer, format="svg", metadata=nothing)
    drawn = buffer.getvalue()
    body = drawn[drawn.index("<g ", drawn.index("<svg")) : drawn.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r' transform="rotate\(-?0 [^"]*"', "", body)
    body = re.sub(r'\b(?:d|x|y|width|height)="[^"]*"', _shorter, body)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'xlink:href="#', f'href="#{name}-', body).replace("url(#", f"url(#{name}-")
    body = body.replace("font-family: 'DejaVu Sans'; ", "")
    for key, (light, _) in COLOURS.items():
        body = body.replace(light, f"var(--{key}, {light})")
    width, height = figure.get_size_inches() * 72
    return f'<svg role="img" aria-label="{html.escape(alt)}" viewBox="0 0 {width:g} {height:g}">{body}</svg>'


def _shorter(attribute: re.Match[str]) -> str:
    """Coordinates to a hundredth of a point, on one line."""
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute[0]).replace(" \n", " ").replace("\n", " ")
