"""What the figures of a premium share: data cut at the overview's bar, lines with no more points than the eye can tell apart, the legend, the time axis.

A figure whose data don't exist raises DataError with the reason; the page prints it in the figure's place.

    line(axes, overview, seen(overview, indicator, "premium indicator"), "blue")
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from backtest.errors import DataError
from backtest.joins import fresh
from backtest.market import DAY, Floats
from backtest.overview.view import Overview
from backtest.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Integers = npt.NDArray[np.intp]
MILLISECOND = 10**6  # ns


def seen(overview: Overview, values: Floats, name: str) -> Floats:
    """The values up to the overview's bar, nothing later; DataError if none of them is known. [as values, fewer bars]"""
    cut: Floats = values[..., : overview.bar + 1]
    if not np.isfinite(cut).any():
        raise DataError(f"the {name} is not known at any bar up to {overview.time:%Y-%m-%d %H:%M}")
    return cut


def first_bar(overview: Overview) -> int:
    """The first bar in which a premium is known: a spot alone, or futures alone, leave nothing to draw."""
    market, legs = overview.market, [leg for leg in (overview.future, overview.perpetual) if leg is not None]
    both = fresh(market, overview.spot) & np.logical_or.reduce([fresh(market, leg) for leg in legs])
    return int(both.argmax())


def span(overview: Overview) -> tuple[float, float]:
    """When a premium is first known and where the overview stands, in matplotlib's days since 1970."""
    return overview.market.opens[first_bar(overview)] / DAY, float(overview.market.stamps[overview.bar] / DAY)


def times(overview: Overview, bars: Integers) -> Floats:
    """Ends of some bars in days since 1970."""
    found: Floats = overview.market.stamps[bars] / DAY
    return found


def cells(overview: Overview, count: int) -> tuple[Floats, Integers]:
    """Edges of so many equal stretches of time (days since 1970), and with how many bars each stretch begins: its bars are those from there to the next."""
    first, stamps = first_bar(overview), overview.market.stamps[: overview.bar + 1]
    start = int(overview.market.opens[first])
    length = (int(stamps[-1]) - start) / MILLISECOND
    # whole milliseconds: an edge that is meant to be a bar's end must not miss it by a rounding
    edges = start + np.round(np.linspace(0.0, length, min(count, len(stamps) - first) + 1)).astype(np.int64) * MILLISECOND
    begins = np.searchsorted(stamps, edges, side="right")
    begins[0], begins[-1] = first, len(stamps)
    return edges / DAY, begins


def means(values: Floats, begins: Integers) -> Floats:
    """Mean of the known values in each stretch of `cells`; NaN where none is known. [as values, a stretch for a bar]"""
    known = np.isfinite(values[..., : begins[-1]])
    out = np.full((*values.shape[:-1], len(begins) - 1), np.nan)
    filled = np.flatnonzero(np.diff(begins))
    count = np.add.reduceat(known, begins[filled], axis=-1, dtype=np.int64)
    total = np.add.reduceat(np.where(known, values[..., : begins[-1]], 0.0), begins[filled], axis=-1)
    out[..., filled] = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return out


def line(axes: "Axes", overview: Overview, values: Floats, tone: str, label: str | None = None, **look: Any) -> None:
    """A line over time in a house colour, its extremes kept."""
    kept = style.thin(values)
    drawn: dict[str, Any] = {"linewidth": 1.0, **look}
    axes.plot(times(overview, kept), values[kept], color=style.colour(tone), label=label, **drawn)


def zero(axes: "Axes") -> None:
    """A thin line at 0."""
    axes.axhline(0, color=style.colour("muted"), linewidth=0.7, zorder=1)


def focus(axes: "Axes", values: Floats) -> None:
    """Cut off a few outliers that would squeeze the rest flat."""
    from backtest.report.figures import premium_limits

    limits = premium_limits(values)
    if limits is not None:
        axes.set_ylim(*limits)


def finish(figure: "Figure", overview: Overview, lowest: "Axes | None" = None) -> None:
    """The time axis of the lowest axes, if it has one, and the mark on simulated data."""
    if lowest is not None:
        style.time_axis(lowest, *span(overview))
        if overview.market.clock[0].year == overview.time.year:
            lowest.set_xlabel(str(overview.time.year), loc="right")
    style.watermark(figure, overview.market.info.simulated)


def some(positions: Integers, count: int) -> Integers:
    """At most so many of the positions, evenly spread, the first and the last with them."""
    if len(positions) <= count:
        return positions
    return positions[np.linspace(0, len(positions) - 1, count).astype(np.intp)]


def last_known(values: Floats) -> float:
    """The newest known value; NaN if there is none."""
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else np.nan
