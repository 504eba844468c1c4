"""The figure of `carry data spreads`: how often a leg's spread is no wider, and its book no deeper, than a value.

write_spreads(found, "spreads.png")
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backtest.data.spreads import DEPTHS, Sample, Spreads
from backtest.report import style
from backtest.report.files import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TONES = ("blue", "orange", "green", "red", "purple", "sky", "yellow", "grey")
POINTS = 500
DRAWN = 0.5  # the share of rows in which a depth must be known for a curve that stands for all of them


def spreads_figure(found: Spreads) -> "Figure":
    """Two panels with a curve a leg: spreads in bps by its best measure, and depths within 10 and 50 bps that are known most of the time."""
    from matplotlib.lines import Line2D

    depths = [sample for sample in found.depths if sample.known >= DRAWN]
    legs = sorted({sample.leg for sample in [*found.spreads, *depths]})
    tones = {leg: style.colour(TONES[number % len(TONES)]) for number, leg in enumerate(legs)}
    with style.house_style():
        figure = style.new_figure(4.0)
        spread_axes, depth_axes = figure.subplots(1, 2)
        for leg, half in found.half_spreads.items():
            _curve(spread_axes, half, tones[leg], scale=2e4)
        _finish(spread_axes, "Spread, bps of the mid: share of the time at or below")
        for sample in depths:
            _curve(depth_axes, sample, tones[sample.leg], scale=1e-6, dashed=sample.measure == DEPTHS["depth_10bps"])
        _finish(depth_axes, "Depth in millions within 10 (dashed) and 50 bps")
        style.legend(figure, [Line2D([], [], color=tone, label=leg) for leg, tone in tones.items()])
        style.watermark(figure, found.dataset.simulated)
    return figure


def write_spreads(found: Spreads, path: str | os.PathLike[str]) -> Path:
    """Write the figure, whole or not at all; errors as in `write_figure`."""
    return write_figure(path, spreads_figure(found))


def _curve(axes: "Axes", sample: Sample, tone: str, *, scale: float, dashed: bool = False) -> None:
    """The share of values at or below each, from the lowest on."""
    shares = np.linspace(0.0, 1.0, min(POINTS, len(sample.values) + 1))
    values = np.quantile(sample.values, shares, method="inverted_cdf") * scale
    axes.step(values, 100 * shares, where="post", color=tone, linestyle=(0, (3, 2)) if dashed else "solid", linewidth=1.4)


def _finish(axes: "Axes", title: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_title(title)
    drawn = [np.asarray(line.get_xdata(), dtype=np.float64) for line in axes.get_lines()]
    values = np.concatenate([np.empty(0), *drawn])
    if not (values > 0).any():
        axes.text(0.5, 0.5, "not known" if not drawn else "always 0", transform=axes.transAxes, ha="center", color=style.colour("muted"))
        axes.set_axis_off()
        return
    axes.set_xscale("log")
    axes.set_xlim(values[values > 0].min() / 1.5, values.max() * 1.5)
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0), numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    for share in (50, 95):
        axes.axhline(share, color=style.colour("muted"), linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
    axes.set_yticks([0, 25, 50, 75, 95, 100], ["0", "25", "50", "75", "95", "100 %"])
    axes.set_ylim(-2, 103)
