"""Figures for notebooks: each draws onto an Axes, or makes a figure of its own, and returns the Axes.

    bt.plot_equity({"always on": always, "gated": gated})
    figure, axes = plt.subplots(2, 2)
    bt.plot_drawdown(result, axes[0, 0])
    bt.plot_attribution(result, axes[0, 1], kind="waterfall")

Without `ax` it is a pyplot figure of the house style on white; with one only that Axes is drawn on. Long series keep their extremes, made-up data are
marked SIMULATED. What can't be drawn raises ParameterError, what the data don't hold DataError.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from backtest.errors import ParameterError, did_you_mean
from backtest.market import DAY, Market
from backtest.metrics import RANKED
from backtest.report import figures, style
from backtest.report.canvas import BEHIND, Canvas, canvas, checked, smaller_marks
from backtest.report.compare_figures import DASHES, TONES, shortened
from backtest.report.curves import Curves, Line, beginning, brief_odds, curves_of, is_result, remedy_for, what_of
from backtest.report.figures_detail import draw_waterfall, draw_years
from backtest.report.figures_market import draw_market_premium, draw_term_curves, market_premium, term_curves
from backtest.report.figures_parts import draw_margin_line, draw_months, draw_ticks_below, fit_heat_map, fit_waterfall, fit_years
from backtest.report.figures_risk import draw_exposure
from backtest.report.protocol import Reportable
from backtest.report.summary import monthly_returns
from backtest.rule import shown
from backtest.stress import StressTest
from backtest.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

CHOICES = ("x", "y", "by", "at")
EQUITY = "equity"  # marks the lines of curves


def plot_equity(curves: Any, ax: "Axes | None" = None, *, log: bool | None = None) -> "Axes":
    """Draw equity over time: of a result, of several in a dict (or a list, which `bt.compare` would name), a comparison, a sweep, or pandas.

    A sweep shows its five best by Sharpe ratio over idle cash that differ, in front of up to 200 of the others, with the odds that the best is luck; a
    walk-forward what was chosen beside what hindsight would have. Curves of different capitals or currencies are drawn as growth of 1. log: None for a
    logarithmic axis where equity has multiplied. Raises ParameterError for what holds no equity, for more than 24 curves, for growth of what begins with
    nothing, and for log=True where equity falls to zero.
    """
    checked(ax)
    found = curves_of(curves)
    values = [found.values(line) for line in (*found.lines, *found.behind)]
    low, high = min(float(one.min()) for one in values), max(float(one.max()) for one in values)
    if log is not None and not isinstance(log, bool | np.bool_):
        raise ParameterError(f"log must be True, False or None: log={shown(log)}; leave it out to have it chosen")
    if log and low <= 0.0:
        raise ParameterError(f"a logarithmic axis needs equity above 0: it falls to {low:,.2f}; leave log out, or give log=False")
    logarithmic = bool(log) or (log is None and figures.grown(np.array([low, high])))
    with canvas(ax, height=3.9) as drawn:
        axes = drawn.axes
        first = _beginning(drawn)
        if found.cash and first:
            axes.axhline(found.lines[0].capital, color=style.colour("muted"), linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        _cloud(axes, found, found.values)
        _lines(axes, found, found.values)
        if found.of is not None:
            figures.draw_forced(axes, found.of)
        if logarithmic:
            figures.log_axis(axes)
        else:
            style.value_axis(axes)
        unit = f", {found.quote}" if found.cash and found.quote else "" if found.cash else ", growth of 1"
        forced = figures.forced_note(found.of).removeprefix("; ") if found.of is not None else ""
        scale = " (log)" if logarithmic else ""
        _over_time(drawn, found, [f"equity{unit}{scale}{f' ({forced})' if forced else ''}", f"equity{unit}{scale}"])
    return axes


def plot_drawdown(curves: Any, ax: "Axes | None" = None) -> "Axes":
    """Draw the fall from the running peak, in percent; of what `plot_equity` takes. Raises ParameterError for what begins with nothing, too."""
    checked(ax)
    found = curves_of(curves)
    for line in found.lines:
        beginning(line)  # refused before anything is drawn
    with canvas(ax, height=2.9) as drawn:
        axes = drawn.axes
        alone = _beginning(drawn) and len(found.lines) == 1
        _cloud(axes, found, _falls)
        _lines(axes, found, _falls, "red" if alone else None)
        if alone:
            (line,) = found.lines
            kept = style.thin(_falls(line))
            axes.fill_between(line.times[kept], _falls(line)[kept], color=style.colour("red"), alpha=0.35, linewidth=0)
        depth = max(-min(float(np.nanmin(values_of(one)[1])) for one in axes.lines if one.get_gid() == EQUITY), 1e-4)
        axes.set_ylim(-1.08 * depth, 0.03 * depth)
        style.value_axis(axes, percent=True)
        _over_time(drawn, found, ["drawdown, % of the running peak", "drawdown, %"])
    return axes


def titles(subject: str, phrases: "Sequence[str]") -> list[str]:
    """A title in fewer and fewer words: the phrases with what they are about, then without."""
    told = [f"{subject}{', ' if ':' in subject else ': '}{phrase}" for phrase in phrases] if subject else []
    return [*told, *(phrase[:1].upper() + phrase[1:] for phrase in phrases)]


def _beginning(drawn: Canvas) -> bool:
    """Whether the Axes holds no curves yet; what stands on it may need a new scale."""
    drawn.axes.set_autoscaley_on(True)
    return not any(one.get_gid() == EQUITY for one in drawn.axes.lines)


def _falls(line: Line) -> figures.Array:
    return line.equity / np.maximum(np.maximum.accumulate(line.equity), beginning(line)) - 1.0


def _cloud(axes: "Axes", curves: Curves, values: Any) -> None:
    """Further curves behind all, as one thin broken line."""
    if not curves.behind:
        return
    x, y = [], []
    for line in curves.behind:
        drawn = values(line)
        kept = style.thin(drawn, 400)
        x += [*line.times[kept], np.nan]
        y += [*drawn[kept], np.nan]
    axes.plot(x, y, color=style.colour("grey"), linewidth=0.5, alpha=0.35, label=f"{len(curves.behind):,} others", zorder=1.2, gid=BEHIND)


def _lines(axes: "Axes", curves: Curves, values: Any, tone: str | None = None) -> None:
    """A line a curve, told apart by colour, then by dashes; they go on where those on the Axes end."""
    before = sum(one.get_gid() == EQUITY for one in axes.lines)
    for place, line in enumerate(curves.lines, before):
        drawn = values(line)
        kept = style.thin(drawn)
        look: dict[str, Any] = {
            "color": style.colour(tone or TONES[place % len(TONES)]),
            "linestyle": DASHES[place // len(TONES) % len(DASHES)],
        }
        look |= {"marker": "o", "markersize": 4} if len(drawn) < figures.FEW_POINTS else {}
        width = 1.4 if len(curves.lines) <= len(TONES) else 1.1
        axes.plot(
            line.times[kept], drawn[kept], linewidth=width, label=shortened(line.name, 44), gid=EQUITY, zorder=3 - 0.01 * place, **look
        )


def values_of(line: "Line2D") -> tuple[figures.Array, figures.Array]:
    """Times and values of a line that is drawn."""
    return np.asarray(line.get_xdata(), dtype=np.float64), np.asarray(line.get_ydata(), dtype=np.float64)


def _over_time(drawn: Canvas, curves: Curves, phrases: "Sequence[str]") -> None:
    """Axis of time, title, legend where there are several, and the mark."""
    inside = [one for one in drawn.axes.lines if one.get_gid() == EQUITY]
    start, end = curves.span
    if len(inside) > len(curves.lines):
        start, end = min(float(values_of(one)[0][0]) for one in inside), max(float(values_of(one)[0][-1]) for one in inside)
    drawn.time(start, end)
    alone = (
        curves.lines[0].name.removeprefix(EQUITY)
        if len(inside) == 1 and not curves.told
        else curves.told
        if len(inside) == len(curves.lines)
        else ""
    )
    told = titles(alone, phrases)
    if curves.note:
        told = [f"{told[0]}\n{curves.note}", *(f"{phrase}: {curves.brief}" for phrase in told[len(phrases) :]), curves.brief]
    drawn.title(*told)
    if len(inside) > 1 or curves.behind:
        drawn.legend()
    drawn.mark(curves.simulated)


def plot_premium(source: Any, ax: "Axes | None" = None) -> "Axes":
    """Draw the premium over time: of a run with its entries and exits by reason, or of a market.

    A market's is the premium indicator where it has dated futures, else the premium of its only perpetual. Raises ParameterError for a book and anything else
    without a premium, DataError where the market has not one spot and one of those, or no known value.
    """
    checked(ax)
    if isinstance(source, Market):
        title, values = market_premium(source)
        with canvas(ax, height=3.6) as drawn:
            draw_market_premium(drawn.axes, source, values)
            drawn.time(source.opens[0] / DAY, source.stamps[-1] / DAY)
            drawn.title(title, "Premium, %")
            drawn.mark(source.info.simulated)
        return drawn.axes
    run = _run_of(source, "plot_premium", "a result of bt.run, or a market")
    if run.premium is None or not np.isfinite(figures.floats(run.premium)).any():
        results = getattr(run, "results", None)
        remedy = (
            f"give one of its rules, as result.results[{next(iter(results))!r}]" if results else "give the market: bt.plot_premium(market)"
        )
        raise ParameterError(
            f"{run.strategy} has no premium to draw: {'a book has several' if results else 'it is not known at any bar'}; {remedy}"
        )
    with canvas(ax, height=4.2) as drawn:
        figures.draw_premium(drawn.axes, run)
        if len(run.trades) > figures.MARKED_TRADES:
            draw_ticks_below(drawn, run)
        else:
            figures.draw_marks(drawn.axes, run)
        smaller_marks(drawn)
        _of_run(drawn, run, f"{run.premium_label}, %")
        drawn.legend(6)
    return drawn.axes


def plot_term_structure(market: Any, at: Any = None, ax: "Axes | None" = None) -> "Axes":
    """Draw the annualized premium of the dated futures against their days to expiry, at one time or several; by default at the last bar.

    at: a time or text, or up to eight of them; the last bar at or before each is drawn. Raises ParameterError for what is no market or time, DataError where the
    market has no dated futures of one product, or none of them is known at a time.
    """
    checked(ax)
    _market(market, "plot_term_structure")
    curves = term_curves(market, at)
    with canvas(ax, height=3.8) as drawn:
        draw_term_curves(drawn.axes, curves)
        at_one = f" at {curves[0].label}" if len(curves) == 1 else ""
        smaller_marks(drawn)
        if drawn.own or not drawn.narrow:
            drawn.axes.set_xlabel("days to expiry")
        drawn.title(
            f"Term structure{at_one}: annualized premium, %", f"Annualized premium, %, by days{at_one}", "Premium, % a year, by days"
        )
        if len(curves) > 1:
            drawn.legend()
        drawn.mark(market.info.simulated)
    return drawn.axes


def plot_attribution(result: Any, ax: "Axes | None" = None, *, kind: str = "areas") -> "Axes":
    """Draw where a run's PnL came from: "areas" over time, a "waterfall" from capital to final equity, or bars by "years".

    Raises ParameterError for what is no result, and for another kind.
    """
    checked(ax)
    run = _run_of(result, "plot_attribution", "a result of bt.run")
    draw = {"areas": _areas, "waterfall": _waterfall, "years": _years}
    if not isinstance(kind, str) or kind not in draw:
        raise ParameterError(f'unknown kind of attribution "{kind}"; {did_you_mean(str(kind), list(draw))}')
    with canvas(ax, height=4.2) as drawn:
        draw[kind](drawn, run)
    return drawn.axes


def plot_exposure(result: Any, ax: "Axes | None" = None) -> "Axes":
    """Draw what a run had at risk at each close: gross and net exposure in percent of equity, and the use of the margin in percent of its account.

    Raises ParameterError for what is no result.
    """
    checked(ax)
    run = _run_of(result, "plot_exposure", "a result of bt.run")
    with canvas(ax, height=3.6) as drawn:
        draw_exposure(drawn.axes, run)
        margined = draw_margin_line(drawn.axes, run)
        brief = "exposure, % of equity"
        _of_run(drawn, run, f"{brief}; margin, % of the account" if margined else brief, brief)
        drawn.legend()
    return drawn.axes


def plot_heatmap(source: Any, ax: "Axes | None" = None, **choice: Any) -> "Axes":
    """Draw a sweep's statistic over two of its parameters, or the monthly returns of a run.

    Of a sweep: x, y, by and at as in `Sweep.heat_map`; by default its first two parameters and the Sharpe ratio over idle cash. Raises ParameterError for anything else, for a
    sweep of one parameter, and for a choice that there isn't.
    """
    checked(ax)
    if isinstance(source, Sweep):
        return _sweep_map(source, ax, choice)
    run = _run_of(source, "plot_heatmap", "a sweep, or a result of bt.run")
    if choice:
        raise ParameterError(
            f"the monthly returns of a run have nothing to choose: it got {', '.join(choice)}; leave it out, or give a sweep"
        )
    table = monthly_returns(run)
    with canvas(ax, height=1.3 + 0.42 * max(len(table), 1)) as drawn:
        draw_months(drawn, table)
        drawn.title(*titles(run.strategy, ["monthly returns, %"]))
        drawn.mark(run.dataset.simulated, behind=True)
    return drawn.axes


def _sweep_map(sweep: Sweep, ax: "Axes | None", choice: "dict[str, Any]") -> "Axes":
    if unknown := [name for name in choice if name not in CHOICES]:
        raise ParameterError(
            f'unknown choice "{unknown[0]}" of a heat map: {shown(choice[unknown[0]])}; {did_you_mean(unknown[0], list(CHOICES))}'
        )
    names = list(sweep.varied)
    if len(names) < 2:
        raise ParameterError(
            f'a heat map needs two parameters: the sweep varied {names[0]} only; draw sweep.table["sharpe"], or sweep another too'
        )
    free = [name for name in names if name not in (choice.get("x"), choice.get("y"), *(choice.get("at") or {}))]
    chosen = {
        "y": choice.get("y") or free.pop(0),
        "x": choice.get("x") or (free or names).pop(0),
        **{key: choice[key] for key in ("by", "at") if key in choice},
    }
    with canvas(ax, height=4.6) as drawn:
        sweep.heat_map(**chosen, ax=drawn.axes)
        fit_heat_map(drawn, sweep, str(chosen.get("by", RANKED)), brief_odds(sweep))
    return drawn.axes


def _areas(drawn: Canvas, run: Reportable) -> None:
    figures.draw_attribution(drawn.axes, run)
    _of_run(drawn, run, f"cumulated PnL by source, {run.quote}")
    drawn.legend()


def _waterfall(drawn: Canvas, run: Reportable) -> None:
    draw_waterfall(drawn.axes, run)
    fit_waterfall(drawn, run)
    drawn.title(*titles(run.strategy, [f"from capital to final equity, {run.quote}", f"waterfall, {run.quote}"]))
    drawn.mark(run.dataset.simulated)


def _years(drawn: Canvas, run: Reportable) -> None:
    draw_years(drawn.axes, run)
    fit_years(drawn, run)
    smaller_marks(drawn)
    drawn.title(*titles(run.strategy, [f"PnL by source and year, {run.quote}", f"PnL by year, {run.quote}"]))
    drawn.legend()
    drawn.mark(run.dataset.simulated)


def _of_run(drawn: Canvas, run: Reportable, *phrases: str) -> None:
    """Time axis, title (the first phrase that fits) and mark of a run."""
    drawn.time(figures.days_since_1970(run.start), figures.days_since_1970(run.end))
    drawn.title(*titles(run.strategy, phrases))
    drawn.mark(run.dataset.simulated)


def _run_of(source: Any, plot: str, wanted: str) -> Any:
    """A finished run; ParameterError for anything else."""
    if isinstance(source, StressTest):
        return source.base
    if not is_result(source):
        raise ParameterError(f"{plot} needs {wanted}: it got {what_of(source)}; {remedy_for(source, wanted)}")
    return source


def _market(source: Any, plot: str) -> None:
    if not isinstance(source, Market):
        raise ParameterError(f"{plot} needs a market: it got {what_of(source)}; give bt.load_market(…)")
