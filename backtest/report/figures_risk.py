"""Figures of what was at risk and how sure the result is: exposure and margin over time, what costs do to it, the odds of luck.

draw_exposure(axes, result); draw_margin_use(axes, result); draw_distance(axes, result)
figure = exposure_figure(result)
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from backtest.luck import Luck
from backtest.report import style
from backtest.report.figures_base import Array, about, days_since_1970, figure_of, floats, run_axis, times_of
from backtest.report.protocol import Reportable
from backtest.report.summary import forced_words, liquidations
from backtest.report.words import number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKED = 20  # liquidations that can be told apart by a line each
POINTS = 1000  # of a line: three panels share what the eye can tell apart
BILLS = "T-bills"


# ---------------------------------------------------------------- exposure


def draw_exposure(axes: "Axes", result: Reportable) -> None:
    """Gross and net exposure as shares of equity."""
    for name, tone, dashes in (("gross", "blue", "solid"), ("net", "orange", (0, (4, 1.5)))):
        times, values = _drawn(result, name)
        axes.plot(
            times,
            values,
            color=style.colour(tone),
            linestyle=dashes,
            linewidth=1.3,
            label=f"{name} (long {'+' if name == 'gross' else '−'} short)",
        )
    axes.axhline(0, color=style.colour("muted"), linewidth=0.7)
    axes.set_title("Exposure, % of equity")
    style.value_axis(axes, percent=True)
    _forced(axes, result, label=forced_words(liquidations(result)))
    run_axis(axes, result)


def draw_margin_use(axes: "Axes", result: Reportable) -> None:
    """Maintenance margin over the account at each bar's worst mark; a leg is liquidated at 100 %."""
    times, values = _drawn(result, "margin_use")
    axes.fill_between(times, values, color=style.colour("purple"), alpha=0.3, linewidth=0)
    axes.plot(times, values, color=style.colour("purple"), linewidth=1.0)
    highest = float(np.nanmax(floats(result.exposure["margin_use"])))
    if highest > 0.5:
        axes.axhline(1.0, color=style.colour("red"), linewidth=1.0, linestyle=(0, (5, 2)))
    axes.set_ylim(0.0, min(max(1.12 * highest, 0.01), 1.3))
    axes.set_title(f"Margin use at the worst mark of each bar, % of the account{' (dashed: liquidation)' if highest > 0.5 else ''}")
    style.value_axis(axes, percent=True)
    _forced(axes, result)
    run_axis(axes, result)


def draw_distance(axes: "Axes", result: Reportable) -> None:
    """How far the price may move against the leg that is nearest to its liquidation."""
    times, values = _drawn(result, "distance")
    axes.fill_between(times, values, color=style.colour("green"), alpha=0.25, linewidth=0)
    axes.plot(times, values, color=style.colour("green"), linewidth=1.0)
    seen = floats(result.exposure["distance"])
    seen = seen[np.isfinite(seen)]
    far = float(seen.max())
    axes.set_ylim(0.0, 1.1 * (min(far, 4.0 * float(np.median(seen))) or 0.01))
    place = int(np.nanargmin(floats(result.exposure["distance"])))
    nearest = float(floats(result.exposure["distance"])[place])
    when = float(times_of(result.exposure.index)[place])
    axes.plot(
        [when],
        [nearest],
        marker="v",
        markersize=7,
        color=style.colour("red"),
        markeredgecolor=style.colour("page"),
        zorder=4,
        clip_on=False,
    )
    axes.set_title(f"Distance to liquidation, % of the price (▼ nearest: {percent(nearest, 1)})")
    style.value_axis(axes, percent=True)
    _forced(axes, result)
    run_axis(axes, result)


def panels(result: Reportable) -> list[str]:
    """Which panels there are: exposure always, the others of a run with a margined position; a distance where some price would liquidate it."""
    table = result.exposure
    there = {"margin_use": bool((table["margin_use"] > 0.0).any()), "distance": bool(np.isfinite(floats(table["distance"])).any())}
    return ["exposure", *(name for name, some in there.items() if some)]


def exposure_figure(result: Reportable) -> "Figure":
    """Exposure, margin use and distance to liquidation over one time axis; what there was none of is left out."""
    shown = panels(result)
    draw = {"exposure": draw_exposure, "margin_use": draw_margin_use, "distance": draw_distance}
    with style.house_style():
        figure = style.new_figure(1.0 + 1.55 * len(shown))
        every = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True))
        for axes, name in zip(every, shown, strict=True):
            draw[name](axes, result)
            axes.set_xlabel("" if axes is not every[-1] else axes.get_xlabel())
        style.legend(figure)
        style.watermark(figure, result.dataset.simulated)
    return figure


def describe_exposure(result: Reportable) -> str:
    """What the figure of exposure shows."""
    table, told = result.exposure, []
    told.append(
        f"gross exposure up to {percent(float(table['gross'].max()), 1)} of equity, net between {percent(float(table['net'].min()), 1)}"
    )
    told[0] += f" and {percent(float(table['net'].max()), 1)}"
    if "margin_use" in panels(result):
        told.append(f"margin use up to {percent(float(table['margin_use'].max()), 1)}")
    if "distance" in panels(result):
        told.append(f"nearest to a liquidation {percent(float(table['distance'].min()), 1)} of the price")
    return f"{about(result)}{'; '.join(told).capitalize()}; {len(result.liquidations)} forced closes."


def _drawn(result: Reportable, name: str) -> tuple[Array, Array]:
    """Times (days) and values of a column, thinned for drawing; before the run there was nothing."""
    times, values = times_of(result.exposure.index), floats(result.exposure[name])
    if len(values) < 2:
        times, values = np.concatenate([[days_since_1970(result.start)], times]), np.concatenate([values[:1], values])
    kept = style.thin(values, POINTS)
    return times[kept], values[kept]


def _forced(axes: "Axes", result: Reportable, label: str | None = None) -> None:
    """A star at each forced close, as far as they can be told apart, and a dotted line below each of few. label: what the legend calls them."""
    when = times_of(pd.DatetimeIndex(pd.to_datetime(result.liquidations["time"], utc=True)))
    if not len(when):
        return
    for time in when if len(when) <= MARKED else ():
        axes.axvline(time, color=style.colour("red"), linewidth=0.9, linestyle=(0, (2, 2)), zorder=1.5)
    apart = max((days_since_1970(result.end) - days_since_1970(result.start)) / 200, 1e-9)
    stars = np.unique(np.round(when / apart)) * apart if len(when) > MARKED else when
    axes.plot(
        stars, np.full(len(stars), 0.97), transform=axes.get_xaxis_transform(), marker="*", markersize=9, linestyle="none", color=style.colour("red"),
        markeredgecolor=style.colour("page"), label=label, clip_on=False,
    )  # fmt: skip


# ---------------------------------------------------------------- sensitivity


def draw_sensitivity(axes: "Axes", result: Reportable) -> None:
    """The total return at multiples of the costs, beside that of T-bills."""
    table = result.sensitivity
    factors, returns = floats(table["factor"]), floats(table["total_return"])
    axes.axhline(0, color=style.colour("muted"), linewidth=0.8)
    bills = bills_return(result)
    if bills is not None:
        axes.axhline(bills, color=style.colour("green"), linewidth=1.3, linestyle=(0, (5, 2)), label=f"{BILLS} {percent(bills)}")
    axes.plot(
        factors, returns, color=style.colour("blue"), marker="o", markersize=5, linewidth=1.5, label="this run at so many times its costs"
    )
    own = np.isclose(factors, 1.0)
    plate = {"facecolor": style.colour("page"), "edgecolor": "none", "alpha": 0.8, "pad": 1.0}  # below a number that a line may cross
    axes.plot(
        factors[own],
        returns[own],
        marker="o",
        markersize=12,
        markerfacecolor="none",
        markeredgecolor=style.colour("ink"),
        linestyle="none",
        label="as it was",
    )
    for factor, value in zip(factors.tolist(), returns.tolist(), strict=True):
        axes.annotate(
            percent(value).replace("-", "−"), (factor, value), (0, 9), textcoords="offset points", ha="center", va="bottom", bbox=plate
        )
    axes.margins(x=0.05, y=0.22)
    axes.set_xticks(factors, [f"{factor:g}×" for factor in factors.tolist()], color=style.colour("ink"))
    axes.grid(visible=False, axis="x")
    axes.set_title("Total return at multiples of the costs, %")
    style.value_axis(axes, percent=True)


def bills_return(result: Reportable) -> float | None:
    """What T-bills returned over the run, where that is known."""
    table = result.baselines
    return float(table["total_return"][BILLS]) if BILLS in table.index else None


def sensitivity_figure(result: Reportable) -> "Figure":
    """Sensitivity to costs as a figure."""
    return figure_of(lambda axes: draw_sensitivity(axes, result), 2.9, result.dataset.simulated)


def describe_sensitivity(result: Reportable) -> str:
    """What the figure of sensitivity shows."""
    table = result.sensitivity
    told = ", ".join(
        f"{factor:g} times {percent(value)}" for factor, value in zip(floats(table["factor"]), floats(table["total_return"]), strict=True)
    )
    return f"{about(result)}Total return at multiples of the costs: {told}."


# ---------------------------------------------------------------- luck


def draw_luck(axes: "Axes", luck: Luck) -> None:
    """The Sharpe ratio of the chosen one with its interval, and what luck alone would give the best of so many."""
    if all(map(math.isfinite, luck.interval)):
        axes.plot(luck.interval, [0, 0], color=style.colour("blue"), linewidth=6, alpha=0.45, solid_capstyle="round", label="95% interval")
    axes.plot(
        [luck.sharpe], [0], marker="o", markersize=11, color=style.colour("blue"), linestyle="none", label=f"chosen {number(luck.sharpe)}"
    )
    if math.isfinite(luck.expected_maximum):
        axes.axvline(
            luck.expected_maximum,
            color=style.colour("red"),
            linewidth=1.6,
            linestyle=(0, (5, 2)),
            label=f"by luck alone {number(luck.expected_maximum)}",
        )
    axes.axvline(0, color=style.colour("muted"), linewidth=0.8)
    axes.set_yticks([])
    axes.set_ylim(-1, 1)
    axes.margins(x=0.12)
    axes.set_title(f"Sharpe ratio{' over idle cash' if luck.over_idle else ''}, a year")
    style.value_ticks(axes.xaxis)


def luck_figure(luck: Luck, simulated: bool) -> "Figure":
    """The odds of luck as a figure."""
    return figure_of(lambda axes: draw_luck(axes, luck), 1.35, simulated)


def describe_luck(result: Reportable, luck: Luck) -> str:
    """What the figure of luck shows."""
    low, high = (number(bound) for bound in luck.interval)
    return f"{about(result)}Sharpe ratio {number(luck.sharpe)}, its 95% interval {low} to {high}; by luck alone {number(luck.expected_maximum)}."
