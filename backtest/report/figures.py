"""The figures of a report, each a function from a result to a matplotlib `Figure`.

They draw no more points than the eye can tell apart (extremes are kept), write SIMULATED on made-up data, and touch neither pyplot nor any
state outside themselves. `describe_…` says in words what a figure shows, for those who can't see it.

    figure = equity_figure(result)
    figure.savefig("equity.svg")
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.report import style
from backtest.report.protocol import Reportable
from backtest.report.summary import (
    REASONS,
    THIS_RUN,
    attribution_table,
    beside,
    beside_curves,
    drawdown,
    final_equity,
    forced_words,
    liquidations,
    nanoseconds,
)
from backtest.report.words import day, money, percent, source_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

# The two price legs of a carry nearly cancel: drawn apart they would be two mountains that hide every other source.
GROUPS: dict[str, tuple[tuple[str, ...], str]] = {
    "price of both legs": (("price_long", "price_short"), "blue"),
    "legging": (("legging",), "grey"),
    "funding": (("funding",), "orange"),
    "interest on idle cash": (("idle_cash",), "sky"),
    "staking": (("staking",), "green"),
    "financing and borrow": (("financing", "borrow"), "yellow"),
    "fees, slippage, delivery": (("fees", "slippage", "settlement"), "purple"),
    "liquidation": (("liquidation",), "red"),
}
MARKS: dict[str, tuple[str | tuple[int, int, float], str]] = {
    "signal": ("v", "orange"),
    "expiry": ("s", "green"),
    "time": ("D", "sky"),
    "stop": ("X", "red"),
    "loss": ("P", "purple"),
    "days to expiry": ("h", "yellow"),
    "drawdown": (">", "purple"),
    "exposure": ("p", "blue"),
    "liquidity": ("<", "grey"),
    "recall": ("d", "yellow"),
    "unfilled": ((3, 1, 0), "grey"),
    "no convergence": ((4, 1, 0), "sky"),
    "liquidation": ("*", "red"),
    "deleveraging": ("H", "red"),
    "end of data": ("o", "grey"),
}
# What is drawn beside the run: its colour, how it is dashed, how thick.
CURVES: dict[str, tuple[str, Any, float]] = {
    THIS_RUN: ("blue", "solid", 1.9),
    "hold spot": ("orange", "solid", 1.1),
    "T-bills": ("green", "solid", 1.2),
    "always-on funding carry": ("red", "solid", 1.1),
    "zero cost": ("sky", (0, (5, 2)), 1.2),
    "double cost": ("purple", (0, (2, 1.5)), 1.2),
}
FEW_POINTS = 4  # lines of so few points are drawn with marks
DWARFED = 3.0  # one curve moves so many times as much as all others
MULTIPLIED = 3.0  # equity has grown by so much that a plain axis would tell little
MARKED_TRADES = 150
SHADED_TRADES = 600
MARKED_LIQUIDATIONS = 20
STACK_POINTS = 600


def equity_figure(result: Reportable, *, log: bool = False) -> "Figure":
    """Equity above, drawdown below, over one time axis."""
    with style.house_style():
        figure = style.new_figure(4.4)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.4, 1])
        equity, falls = _with_start(result, result.equity, result.capital), _with_start(result, drawdown(result), 0.0)
        kept = style.thin(equity[1])
        upper.axhline(result.capital, color=style.colour("muted"), linewidth=0.8, linestyle=(0, (4, 3)))
        upper.plot(equity[0][kept], equity[1][kept], color=style.colour("blue"), linewidth=1.4)
        _forced(upper, result)
        upper.set_title(f"Equity, {result.quote} (dashed: capital{_forced_words(result)})")
        style.value_axis(upper)
        if log and equity[1].min() > 0:
            upper.set_yscale("log")
        kept = style.thin(falls[1])
        lower.fill_between(falls[0][kept], falls[1][kept], color=style.colour("red"), alpha=0.35, linewidth=0)
        lower.plot(falls[0][kept], falls[1][kept], color=style.colour("red"), linewidth=0.9)
        lower.set_title("Drawdown, % of the running peak")
        depth = max(-float(falls[1].min()), 1e-4)
        lower.set_ylim(-1.08 * depth, 0.03 * depth)
        style.value_axis(lower, percent=True)
        _finish(figure, result, lower)
    return figure


def premium_figure(result: Reportable) -> "Figure":
    """The premium with the spans that were held, where trades began, and where and why they ended."""
    with style.house_style():
        many = len(result.trades) > MARKED_TRADES
        figure = style.new_figure(4.4 if many else 3.8)
        axes = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1]) if many else np.array([figure.add_subplot()])
        times, values = _times(premium_of(result).index), floats(premium_of(result))
        kept = style.thin(values)
        axes[0].plot(times[kept], values[kept], color=style.colour("blue"), linewidth=0.7, alpha=0.75, zorder=2)
        axes[0].axhline(0, color=style.colour("muted"), linewidth=0.7)
        limits = premium_limits(values)
        if limits is not None:
            axes[0].set_ylim(*limits)
        _held(axes[0], result)
        _forced(axes[0], result)
        if many:
            _strip(axes[1], result)
        else:
            _marks(figure, axes[0], result)
        axes[0].set_title(f"{result.premium_label[:1].upper()}{result.premium_label[1:]}, %")
        style.value_axis(axes[0], percent=True)
        _finish(figure, result, axes[-1])
    return figure


def attribution_figure(result: Reportable) -> "Figure":
    """Cumulated cash by group of sources: gains stacked upward, losses downward, and the line of their sum."""
    with style.house_style():
        figure = style.new_figure(4.2)
        axes = figure.add_subplot()
        times, groups = stacks(result)
        up, down = np.zeros(len(times)), np.zeros(len(times))
        for name, values in groups.items():
            tone = style.colour(GROUPS[name][1] if name in GROUPS else "grey")
            gain, loss = np.maximum(values, 0), np.minimum(values, 0)
            for base, part in ((up, gain), (down, loss)):
                if part.any():
                    label = name if part is gain or not gain.any() else None
                    axes.fill_between(times, base, base + part, color=tone, linewidth=0, alpha=0.85, label=label)
            up, down = up + gain, down + loss
        axes.plot(times, up + down, color=style.colour("page"), linewidth=3)
        axes.plot(times, up + down, color=style.colour("ink"), linewidth=1.4, label="equity less capital")
        axes.axhline(0, color=style.colour("muted"), linewidth=0.7)
        axes.set_title(f"Cumulated PnL by source, {result.quote}", pad=8)
        style.legend(figure)
        style.value_axis(axes)
        _finish(figure, result, axes)
    return figure


def stacks(result: Reportable) -> tuple[Array, dict[str, Array]]:
    """Times (days) and each non-zero group's cumulated cash there, largest first; at every time the groups sum to equity less capital."""
    ledger = result.attribution
    columns = {str(name): floats(ledger[name]) for name in ledger.columns}
    grouped = {name: [source for source in sources if source in columns] for name, (sources, _) in GROUPS.items()}
    named = {source for sources in grouped.values() for source in sources}
    grouped |= {source_label(source): [source] for source in columns if source not in named}
    sums = {name: np.sum([columns[source] for source in sources], axis=0) for name, sources in grouped.items() if sources}
    used = sorted((name for name, values in sums.items() if values.any()), key=lambda name: -float(np.abs(sums[name]).max()))
    kept = np.unique(np.linspace(0, max(len(ledger) - 1, 0), STACK_POINTS).astype(np.intp))[: len(ledger)]
    times, start = _times(ledger.index)[kept], days_since_1970(result.start)
    before = not len(times) or start < times[0]
    whole = np.concatenate([[start], times]) if before else times
    groups = {name: np.concatenate([[0.0], sums[name][kept]]) if before else sums[name][kept] for name in used}
    return _with_crossings(whole, groups)


def _with_crossings(times: Array, groups: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """Add the times at which a group changes sign, so that an area above zero ends where the one below begins."""
    extra = [times]
    for values in groups.values():
        turn = np.flatnonzero(values[:-1] * values[1:] < 0)
        extra.append(times[turn] + (times[turn + 1] - times[turn]) * values[turn] / (values[turn] - values[turn + 1]))
    dense = np.unique(np.concatenate(extra))
    return dense, {name: np.interp(dense, times, values) for name, values in groups.items()}


def premium_of(result: Reportable) -> "pd.Series[float]":
    """The premium, for what is drawn only where there is one."""
    assert result.premium is not None, "a run without a premium has no premium figure"
    return result.premium


def premium_limits(values: Array) -> tuple[float, float] | None:
    """The axis' ends if a few outliers would squeeze the rest flat (premia annualized near expiry do), else None."""
    seen = values[np.isfinite(values)]
    if len(seen) < 50:
        return None
    low, high = (float(bound) for bound in np.quantile(seen, [0.002, 0.998]))
    room = 0.35 * (high - low)
    if room == 0 or seen.max() - seen.min() < 2.5 * (high - low):
        return None
    return low - room, high + room


def describe_equity(result: Reportable) -> str:
    """What the equity figure shows."""
    depth = float(drawdown(result).min()) if len(result.equity) else 0.0
    ends = f"from {money(result.capital)} to {money(final_equity(result))} {result.quote}"
    return f"{_about(result)}Equity {ends}, {day(result.start)} to {day(result.end)}; deepest drawdown {percent(depth)}."


def describe_premium(result: Reportable) -> str:
    """What the premium figure shows, with what the axis cuts off."""
    values = floats(premium_of(result))
    seen = values[np.isfinite(values)]
    if not len(seen):
        return f"{_about(result)}No premium is known in this period."
    reasons = (
        ", ".join(f"{count} {reason}" for reason, count in result.trades["reason"].value_counts().items()) if len(result.trades) else "none"
    )
    cut = " Values beyond the axis are cut off." if premium_limits(values) is not None else ""
    span = f"between {percent(float(seen.min()))} and {percent(float(seen.max()))}, median {percent(float(np.median(seen)))}"
    return f"{_about(result)}{result.premium_label}: {span}.{cut} Trades ended by: {reasons}."


def describe_attribution(result: Reportable) -> str:
    """What the attribution figure shows."""
    rows = [row for row in attribution_table(result).rows if row.cash]
    parts = ", ".join(f"{source_label(row.source)} {money(row.cash)}" for row in rows) or "nothing"
    return f"{_about(result)}Cumulated PnL by source in {result.quote}, at the end: {parts}."


def _about(result: Reportable) -> str:
    return "SIMULATED data. " if result.dataset.simulated else ""


def days_since_1970(instant: pd.Timestamp) -> float:
    """A time in matplotlib's days since 1970."""
    return float(instant.as_unit("ns").value) / 86_400e9


def floats(series: "pd.Series[float]") -> Array:
    """A series as plain floats."""
    return np.asarray(series, dtype=np.float64)


def _times(index: pd.Index) -> Array:
    return nanoseconds(index).asi8 / 86_400e9


def beside_figure(result: Reportable) -> "Figure":
    """Equity of the run and of each baseline at midnights; without those that dwarf the others once more below."""
    curves = beside_curves(result)
    dwarfing = dwarfs(curves)
    with style.house_style():
        figure = style.new_figure(4.8 if dwarfing else 3.6)
        axes = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.3]) if dwarfing else [figure.add_subplot()]
        for number, one in enumerate(axes):
            shown = curves if number == 0 else curves.drop(columns=dwarfing)
            _curves(one, shown, labels=number == 0)
            log = _log_axis(one, shown)
            without = f" without {' and '.join(dwarfing)}" if number else ""
            one.set_title(f"Equity at midnights{without}, {result.quote}{' (log)' if log else ''}")
        style.legend(figure, axes[0].get_legend_handles_labels()[0][::-1], columns=6)
        _finish(figure, result, axes[-1])
    return figure


def _curves(axes: "Axes", curves: pd.DataFrame, *, labels: bool) -> None:
    times = _times(curves.index)
    for name in reversed(curves.columns):  # the run above the others
        tone, dashes, width = CURVES.get(str(name), ("grey", "solid", 1.0))
        values = floats(curves[name])
        kept = style.thin(values)
        marker = "o" if len(values) < FEW_POINTS else None
        label = str(name) if labels else None
        axes.plot(
            times[kept], values[kept], color=style.colour(tone), linestyle=dashes, linewidth=width, marker=marker, markersize=4, label=label
        )


def dwarfs(curves: pd.DataFrame) -> list[str]:
    """The baselines whose equity moves so much more than all others together that these would look flat."""
    spans = {str(name): float(curves[name].max() - curves[name].min()) for name in curves.columns if name != THIS_RUN}
    largest = max(spans, key=lambda name: spans[name], default="")
    rest = curves.drop(columns=[largest], errors="ignore").to_numpy()
    span = float(rest.max() - rest.min())
    return [largest] if largest and span > 0.0 and spans[largest] > DWARFED * span else []


def _log_axis(axes: "Axes", curves: pd.DataFrame) -> bool:
    """A logarithmic axis where equity has multiplied and never fell to nothing; else a plain one."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = float(curves.to_numpy().min()), float(curves.to_numpy().max())
    log = low > 0.0 and high > MULTIPLIED * low
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0), numticks=12))
        axes.yaxis.set_minor_formatter(NullFormatter())
    style.value_axis(axes)
    return log


def describe_beside(result: Reportable) -> str:
    """What the figure of baselines shows."""
    ends = ", ".join(f"{row.name} {money(row.final_equity)}" for row in beside(result))
    return f"{_about(result)}Equity of the run and of its baselines in {result.quote}, at the end: {ends}."


def _with_start(result: Reportable, series: "pd.Series[float]", first: float) -> tuple[Array, Array]:
    times, values = _times(series.index), floats(series)
    start = days_since_1970(result.start)
    if len(times) and start >= times[0]:
        return times, values
    return np.concatenate([[start], times]), np.concatenate([[first], values])


def _trade_times(result: Reportable, column: str) -> Array:
    """A time column in days; a trade that is still open ends with the run."""
    return _times(pd.DatetimeIndex(pd.to_datetime(result.trades[column], utc=True).fillna(result.end)))


def _level(result: Reportable, times: Array) -> Array:
    """The last known premium at each time; NaN before the first."""
    known_values = premium_of(result).dropna()
    if known_values.empty:
        return np.full(len(times), np.nan)
    position = np.searchsorted(_times(known_values.index), times + 1e-9, side="right") - 1
    values = floats(known_values)
    return np.where(position >= 0, values[np.maximum(position, 0)], values[0])


def _held(axes: "Axes", result: Reportable) -> None:
    """Shade the spans in which a position was held; a great many of them would only be a grey wall."""
    if 0 < len(result.trades) <= SHADED_TRADES:
        begins, ends = _trade_times(result, "entered_at"), _trade_times(result, "exited_at")
        spans = list(zip(begins, ends - begins, strict=True))
        axes.broken_barh(spans, (0, 1), transform=axes.get_xaxis_transform(), color=style.colour("band"), linewidth=0, zorder=0)


def _forced(axes: "Axes", result: Reportable) -> None:
    """A line at each liquidation, as far as they can be told apart."""
    for event in liquidations(result)[:MARKED_LIQUIDATIONS]:
        axes.axvline(days_since_1970(event.time), color=style.colour("red"), linewidth=0.9, linestyle=(0, (2, 2)), zorder=1.5)


def _forced_words(result: Reportable) -> str:
    events = liquidations(result)
    if not events:
        return ""
    return f"; dotted: {'' if len(events) <= MARKED_LIQUIDATIONS else f'the first {MARKED_LIQUIDATIONS} of '}{forced_words(events)}"


def _marks(figure: "Figure", axes: "Axes", result: Reportable) -> None:
    if not len(result.trades):
        return
    edge: dict[str, Any] = {"markeredgecolor": style.colour("page"), "markeredgewidth": 0.9, "linestyle": "none", "clip_on": True}
    entered = _trade_times(result, "entered_at")
    axes.plot(entered, _level(result, entered), marker="^", markersize=8.5, color=style.colour("ink"), label="entry", zorder=4, **edge)
    left, level = _trade_times(result, "exited_at"), _level(result, _trade_times(result, "exited_at"))
    for reason in _reasons(result):
        chosen = (result.trades["reason"].astype(str) == reason).to_numpy()
        shape, tone = MARKS.get(reason, ("o", "grey"))
        size = 13 if reason == "liquidation" else 8 if isinstance(shape, str) else 12  # stars look smaller than they are
        axes.plot(left[chosen], level[chosen], marker=shape, markersize=size, color=style.colour(tone), label=reason, zorder=5, **edge)
    style.legend(figure)


def _strip(axes: "Axes", result: Reportable) -> None:
    """One row of ticks for entries and for each reason: markers on the line would hide it."""
    rows = {"entry": _trade_times(result, "entered_at")}
    left = _trade_times(result, "exited_at")
    for reason in _reasons(result):
        rows[reason] = left[(result.trades["reason"].astype(str) == reason).to_numpy()]
    width = max((days_since_1970(result.end) - days_since_1970(result.start)) / 1200, 1e-9)
    for height, (reason, times) in enumerate(rows.items()):
        tone = style.colour("blue" if reason == "entry" else MARKS.get(reason, ("o", "grey"))[1])
        ticks = np.unique(np.round(times / width)) * width
        x = np.repeat(ticks, 3)
        y = np.tile([-height - 0.38, -height + 0.38, np.nan], len(ticks))
        axes.plot(x, y, color=tone, linewidth=0.8, solid_capstyle="butt")
    axes.set_yticks([-height for height in range(len(rows))], [f"{reason} {len(times):,}" for reason, times in rows.items()])
    axes.set_ylim(0.6 - len(rows), 0.6)
    axes.grid(visible=False, axis="y")
    axes.set_title("Entries, and exits by reason")


def _reasons(result: Reportable) -> list[str]:
    present = set(result.trades["reason"].astype(str))
    return [reason for reason in REASONS if reason in present] + sorted(present - set(REASONS))


def _finish(figure: "Figure", result: Reportable, lowest: "Axes") -> None:
    style.time_axis(lowest, days_since_1970(result.start), days_since_1970(result.end))
    if result.start.year == result.end.year:
        lowest.set_xlabel(str(result.start.year), loc="right")
    style.watermark(figure, result.dataset.simulated)
