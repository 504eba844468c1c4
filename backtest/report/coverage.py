"""The figure of `carry data check --plot`: which times each instrument covers, and where something was found.

write_coverage(check, "coverage.png")
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backtest.data.checks import Check
from backtest.data.checks.bars import Seen
from backtest.data.checks.spans import Spans
from backtest.instruments import Kind
from backtest.report import style
from backtest.report.files import write_figure

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TONES = {Kind.SPOT: "blue", Kind.PERPETUAL: "orange", Kind.FUTURE: "green"}
DAY_NS = 86_400 * 10**9
SMALLEST = 1 / 1500  # of the axis: what is narrower is drawn that wide
MARKED = 400


def coverage_figure(check: Check) -> "Figure":
    """A row an instrument: its bars as a band in the colour of its kind, its funding as a thin one below, findings as marks."""
    rows = [row for row in check.rows if row.rows or row.events]
    with style.house_style():
        figure = style.new_figure(1.1 + 0.24 * max(len(rows), 2))
        axes = figure.add_subplot()
        begin, end = _axis(rows)
        for height, row in enumerate(rows):
            _band(axes, row.covered, (-height - 0.28, 0.56), TONES[row.instrument.kind], (begin, end))
            _band(axes, row.paid, (-height - 0.46, 0.12), "purple", (begin, end))
        _marks(axes, check, {row.instrument.id: -height for height, row in enumerate(rows)})
        axes.set_yticks([-height for height in range(len(rows))], [row.instrument.id for row in rows])
        axes.set_ylim(-len(rows) + 0.4, 0.6)
        axes.grid(visible=False)
        axes.set_title(f"What {check.dataset.name} covers")
        style.legend(figure, [*_bands(rows), *axes.get_legend_handles_labels()[0]])
        style.time_axis(axes, begin, end)
        style.watermark(figure, check.dataset.simulated)
    return figure


def write_coverage(check: Check, path: str | os.PathLike[str]) -> Path:
    """Write the figure, whole or not at all; errors as in `write_figure`."""
    return write_figure(path, coverage_figure(check))


def _axis(rows: list[Seen]) -> tuple[float, float]:
    """First and last day of all that is covered."""
    parts = [part for row in rows for part in (row.covered, row.paid) if len(part)]
    if not parts:
        return 0.0, 1.0
    return min(int(part.starts[0]) for part in parts) / DAY_NS, max(int(part.ends[-1]) for part in parts) / DAY_NS


def _band(axes: "Axes", part: Spans, place: tuple[float, float], tone: str, limits: tuple[float, float]) -> None:
    if len(part):
        starts, ends = part.starts / DAY_NS, part.ends / DAY_NS
        widths = np.maximum(ends - starts, SMALLEST * (limits[1] - limits[0]))
        axes.broken_barh(list(zip(starts, widths, strict=True)), place, color=style.colour(tone), linewidth=0, alpha=0.85)


def _marks(axes: "Axes", check: Check, places: dict[str, int]) -> None:
    """A cross where a problem begins, a circle where something is worth a look; findings of several instruments have no row."""
    for grave, shape, tone, label in ((True, "x", "red", "problem"), (False, "o", "ink", "worth a look")):
        points = [
            (first.value / DAY_NS, places[name])
            for finding in check.findings
            if finding.grave is grave
            for name, holes in finding.by_instrument.items()
            if name in places
            for first, _, _ in holes
        ][:MARKED]
        if points:
            x, y = zip(*points, strict=True)
            face = style.colour(tone) if grave else "none"
            axes.scatter(
                x, y, marker=shape, s=26, color=style.colour(tone), facecolor=face, linewidth=1.3, label=label, zorder=4, clip_on=False
            )


def _bands(rows: list[Seen]) -> "list[Artist]":
    """What the legend shows for the bands that there are."""
    from matplotlib.patches import Patch

    kinds = [kind for kind in TONES if any(row.instrument.kind is kind and row.rows for row in rows)]
    labels = {f"bars of a {kind}": TONES[kind] for kind in kinds} | ({"funding": "purple"} if any(row.events for row in rows) else {})
    return [Patch(color=style.colour(tone), linewidth=0, label=label) for label, tone in labels.items()]
