"""Where a notebook's figure is drawn: onto an Axes that the caller gives, which may be small and of any style, or onto one of its own.

Of the caller's figure nothing is touched but that Axes: legend, mark on simulated data and long titles stay within it, letters and ticks get as
few as fit. A figure of one's own is pyplot's, white, in the house style, with its legend below.

    with canvas(ax, height=4.0) as drawn:
        drawn.axes.plot(...)
        drawn.title("Equity, USDT")
        drawn.mark(simulated=True)
"""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from backtest.errors import ParameterError
from backtest.report import style
from backtest.report.compare_figures import shortened
from backtest.rule import shown

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend

WIDTH = 9.0  # inches of a figure of one's own
OURS = "carry-backtest"  # marks what this module made
LETTER = 0.56  # mean width of a letter, in its size
LINE = 1.35  # height of a line of text, in its size
BEHIND = "behind"  # marks what is only a background
MOST_LEGEND = 0.42  # share of a small Axes' height that a legend may take
NARROW, WIDE = 230.0, 420.0  # points
TICK = 32.0  # points that a tick of time takes
LEGEND_LINE = 0.19  # inches of a line of the legend
MARK = 80.0  # points that the mark in the corner of a figure takes


@dataclass
class Canvas:
    """An Axes to draw on. own: whether its figure is one that was made here; slot: where its title stands."""

    axes: "Axes"
    own: bool
    slot: Literal["left", "center", "right"] = "center"
    year: str = ""  # what the title has to say of the time, as there is no room below the ticks

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the Axes in points."""
        box, dpi = self.axes.get_window_extent(), self.axes.figure.dpi
        return float(box.width * 72.0 / dpi), float(box.height * 72.0 / dpi)

    @property
    def roomy(self) -> bool:
        """Whether a layout makes room around the Axes for what stands there."""
        return self.own or self.axes.figure.get_layout_engine() is not None

    @property
    def narrow(self) -> bool:
        """Whether there is no room for what a whole figure shows."""
        return self.size[0] < NARROW + 40.0

    @property
    def letters(self) -> float:
        """The size of the letters that suits the width."""
        return float(np.interp(self.size[0], [NARROW, WIDE], [7.0, 9.0]))

    def time(self, start: float, end: float) -> None:
        """A time axis (days since 1970) with as many ticks as there is room for."""
        most = int(np.clip(self.size[0] / TICK, 3, 9))
        style.time_axis(self.axes, start, end, most)
        first, last = (np.datetime64(round(day * 86_400e3), "ms").astype("M8[Y]") for day in (start, end))
        year = str(first) if first == last else ""
        self.axes.set_xlabel(year if self.roomy else "", loc="right", fontsize=self.letters, color=style.colour("muted"))
        self.year = "" if self.roomy else year

    def title(self, *texts: str) -> None:
        """The first of some titles that fits on its line, the last cut short where none does; where room is made for titles the first, on as many lines as it needs.

        It stands where the caller's own settings put titles, so that a later `set_title` takes its place.
        """
        size = self.letters + 0.5
        room = int((WIDTH * 72.0 - 2.0 * MARK if self.own else self.size[0]) / (size * LETTER))
        if self.roomy:
            text = "\n".join(line for part in texts[0].split("\n") for line in textwrap.wrap(part, max(room, 12)))
        else:
            told = [f"{one}, {self.year}" if self.year else one for one in texts if "\n" not in one]
            text = next((one for one in told if len(one) <= room), shortened(told[-1], max(room, 4)))
        for slot in ("left", "center", "right"):
            self.axes.set_title("", loc=slot)
        self.axes.set_title(text, loc=self.slot, fontsize=size, color=style.colour("ink"), pad=6.0 if self.roomy else 2.5)

    def legend(self, columns: int = 5, handles: "list[Artist] | None" = None) -> None:
        """The labels: below a figure of one's own, else above the data within the Axes, where room is made for them; of too many the first, and how many more."""
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D

        found = self.axes.get_legend_handles_labels()[0] if handles is None else handles
        if not found:
            return
        found.sort(key=lambda handle: isinstance(handle, Line2D) and handle.get_gid() == BEHIND)
        if self.own:
            figure = self.axes.figure
            assert isinstance(figure, Figure), "a figure of one's own is no part of another"
            before = sum(_forget(figure.legends))
            longest = max(len(str(handle.get_label())) for handle in found)
            across = max(1, min(columns, int(WIDTH * 72.0 / (9.0 * LETTER * (longest + 5)))))
            style.legend(figure, found, across)
            lines = -(-len(found) // across) - 1
            figure.legends[-1].set_gid(str(lines))
            figure.set_figheight(figure.get_figheight() + LEGEND_LINE * (lines - before))  # of what is drawn nothing is taken
            return
        _above(self, found)

    def below(self, handles: "list[Artist]") -> None:
        """A legend below the Axes, for which a layout makes room."""
        if self.own:
            self.legend(handles=handles)
        else:
            longest = max(len(str(handle.get_label())) for handle in handles)
            across = max(1, int(self.size[0] / (self.letters * LETTER * (longest + 5))))
            self.axes.legend(
                handles=handles, loc="upper left", bbox_to_anchor=(0.0, -0.16), ncols=across, fontsize=self.letters - 0.5, labelcolor=style.colour("ink"),
                frameon=False, handlelength=1.5, columnspacing=1.0, borderaxespad=0.0,
            )  # fmt: skip

    def mark(self, simulated: bool, *, behind: bool = False) -> None:
        """SIMULATED across made-up data, of a figure of one's own in the corner too. behind: the data are transparent and have figures in them."""
        if not simulated or any(text.get_gid() == OURS for text in (*self.axes.texts, *self.axes.figure.texts)):
            return
        if self.own:
            before = len(self.axes.figure.texts)
            style.watermark(self.axes.figure, True)  # type: ignore[arg-type]
            for text in self.axes.figure.texts[before:]:
                text.set_gid(OURS)
            return
        width, height = self.size
        place: dict[str, Any] = {"transform": self.axes.transAxes, "gid": OURS, "color": style.colour("red"), "fontweight": "bold"}
        big = min(width / 7.5, height / 2.0, 54.0)
        self.axes.text(0.5, 0.5, "SIMULATED", ha="center", va="center", fontsize=big, alpha=0.13, zorder=0 if behind else 9, **place)


@contextmanager
def canvas(ax: "Axes | None", height: float) -> Iterator[Canvas]:
    """Where to draw, in the house style; matplotlib's settings are afterwards as they were. height: inches of a figure of one's own."""
    import matplotlib as mpl

    axes, slot = checked(ax), mpl.rcParams["axes.titlelocation"]
    if axes is not None:
        drawn = Canvas(axes, axes.figure.get_gid() == OURS and len(axes.figure.axes) == 1, slot)
        with style.house_style(dark=_on_dark(axes)), mpl.rc_context({"font.size": drawn.letters}):
            dress(drawn)
            yield drawn
        return
    import matplotlib.pyplot as plt

    plt.draw_if_interactive()  # type: ignore[no-untyped-call]  # pyplot chooses its backend now: within our settings it would put "interactive" back to off, and a notebook show no later figure
    with style.house_style():
        figure = plt.figure(figsize=(WIDTH, height), layout="constrained", facecolor=style.colour("page"))
        figure.set_gid(OURS)
        try:
            drawn = Canvas(figure.add_subplot(), True, slot)
            dress(drawn)
            yield drawn
        except BaseException:
            plt.close(figure)
            raise


def checked(ax: object) -> "Axes | None":
    """An Axes, or None; ParameterError for anything else."""
    from matplotlib.axes import Axes

    if ax is None:
        return None
    if isinstance(ax, np.ndarray):
        raise ParameterError(f"ax must be one Axes: it is an array of {ax.size}; give one of them, as ax=axes.flat[0]")
    if not isinstance(ax, Axes):
        raise ParameterError(f"ax must be a matplotlib Axes: ax={shown(ax)}; leave it out, or give one of plt.subplots()")
    if ax.name != "rectilinear":
        raise ParameterError(f'ax must have plain axes: its projection is "{ax.name}"; make it without projection=…')
    return ax


def dress(drawn: Canvas) -> None:
    """The house style on an Axes for good: ticks are made when a figure is shown, under whatever settings there are then."""
    axes, muted, size = drawn.axes, style.colour("muted"), drawn.letters
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(muted)
        spine.set_linewidth(0.6)
    for name in ("xaxis", "yaxis"):
        getattr(axes, name).label.set(fontsize=size, color=muted)
    look: dict[str, Any] = {"color": muted, "labelcolor": muted, "labelsize": size - 0.5, "width": 0.6}
    axes.tick_params(axis="x", length=2.0, pad=3.5 if drawn.roomy else 1.5, **look)
    axes.tick_params(axis="y", length=0, **look)
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis="y", color=style.colour("grid"), linewidth=0.6, linestyle="solid")
    axes.grid(visible=False, axis="x")


def _on_dark(axes: "Axes") -> bool:
    """Whether what is drawn on an Axes stands on a dark ground."""
    from matplotlib.colors import to_rgba

    red, green, blue, _ = next(
        (tone for tone in map(to_rgba, (axes.get_facecolor(), axes.figure.get_facecolor())) if tone[3] > 0.5), (1, 1, 1, 1)
    )
    return 0.299 * red + 0.587 * green + 0.114 * blue < 0.45


def smaller_marks(drawn: Canvas) -> None:
    """Marks that suit the size of the letters."""
    for line in drawn.axes.lines:
        line.set_markersize(float(line.get_markersize()) * drawn.letters / 9.0)


def _forget(legends: "list[Legend]") -> list[int]:
    """Take away the legends that a plot onto the same Axes has left; how many lines each had beyond its first."""
    lines = [int(legend.get_gid() or 0) for legend in legends]
    for legend in list(legends):
        legend.remove()
    return lines


def _above(drawn: Canvas, handles: "list[Artist]") -> None:
    """A legend in a strip above the data of a small Axes."""
    from matplotlib.lines import Line2D

    axes, size = drawn.axes, drawn.letters - 0.5
    width, height = drawn.size
    labels = [shortened(str(handle.get_label()), 34) for handle in handles]
    across = max(1, min(len(labels), int(width / (size * (LETTER * max(map(len, labels)) + 3.6)))))
    rows = max(1, int(MOST_LEGEND * height / (size * LINE)))
    if len(labels) > rows * across:
        left = len(labels) - rows * across + 1
        labels = [*labels[:-left], f"… and {left} more"]
        handles = [*handles[:-left], Line2D([], [], linestyle="none")]
    share = (-(-len(labels) // across) * size * LINE + size) / height
    _make_room(axes, min(share, 0.9))
    axes.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.1, borderpad=0.1, ncols=across, fontsize=size,
        labelcolor=style.colour("ink"), labelspacing=0.2, handlelength=1.5, handletextpad=0.5, columnspacing=1.0, frameon=False,
    )  # fmt: skip


def _make_room(axes: "Axes", share: float) -> None:
    """Stretch the upright axis so that its upper part is free."""
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(low, low * (high / low) ** (1.0 / (1.0 - share)))
    else:
        axes.set_ylim(low, low + (high - low) / (1.0 - share))
