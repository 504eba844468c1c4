"""What all figures of a run share: times and values as arrays, the marks of forced closes, the time axis and the mark on simulated data.

times, values = with_start(result, result.equity, result.capital)
axes.plot(times, values)
finish(figure, result, axes)
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.report import style
from backtest.report.protocol import Reportable
from backtest.report.summary import forced_words, liquidations, nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

MARKED_LIQUIDATIONS = 20


def days_since_1970(instant: pd.Timestamp) -> float:
    """A time in matplotlib's days since 1970."""
    return float(instant.as_unit("ns").value) / 86_400e9


def floats(series: "pd.Series[float]") -> Array:
    """A series as plain floats."""
    return np.asarray(series, dtype=np.float64)


def times_of(index: pd.Index) -> Array:
    """Times in matplotlib's days since 1970."""
    return nanoseconds(index).asi8 / 86_400e9


def with_start(result: Reportable, series: "pd.Series[float]", first: float) -> tuple[Array, Array]:
    """Times (days) and values of a series by bar, the run's start with `first` put before them."""
    times, values = times_of(series.index), floats(series)
    start = days_since_1970(result.start)
    if len(times) and start >= times[0]:
        return times, values
    return np.concatenate([[start], times]), np.concatenate([[first], values])


def trade_times(result: Reportable, column: str) -> Array:
    """A time column of the trades in days; a trade that is still open ends with the run."""
    return times_of(pd.DatetimeIndex(pd.to_datetime(result.trades[column], utc=True).fillna(result.end)))


def draw_forced(axes: "Axes", result: Reportable) -> None:
    """A line at each liquidation; of many at some, spread evenly over their order."""
    events = liquidations(result)
    for place in np.unique(np.linspace(0, len(events) - 1, min(len(events), MARKED_LIQUIDATIONS)).astype(int)):
        event = events[place]
        axes.axvline(days_since_1970(event.time), color=style.colour("red"), linewidth=0.9, linestyle=(0, (2, 2)), zorder=1.5)


def forced_note(result: Reportable) -> str:
    """What the lines of `draw_forced` are, to go on a title; nothing where there are none."""
    events = liquidations(result)
    if not events:
        return ""
    return f"; dotted: {'' if len(events) <= MARKED_LIQUIDATIONS else f'{MARKED_LIQUIDATIONS} of '}{forced_words(events)}"


def about(result: Reportable) -> str:
    """How a description begins on made-up data."""
    return "SIMULATED data. " if result.dataset.simulated else ""


def run_axis(axes: "Axes", result: Reportable) -> None:
    """A time axis over the whole run; it names the year where its ticks don't."""
    style.time_axis(axes, days_since_1970(result.start), days_since_1970(result.end))
    if result.start.year == result.end.year:
        axes.set_xlabel(str(result.start.year), loc="right")


def figure_of(draw: "Callable[[Axes], None]", height: float, simulated: bool) -> "Figure":
    """What a function draws onto an Axes as a figure of so many inches in height, its labels below."""
    with style.house_style():
        figure = style.new_figure(height)
        draw(figure.add_subplot())
        style.legend(figure)
        style.watermark(figure, simulated)
    return figure


def finish(figure: "Figure", result: Reportable, lowest: "Axes") -> None:
    """The time axis of the lowest axes, and the mark on simulated data."""
    run_axis(lowest, result)
    style.watermark(figure, result.dataset.simulated)
