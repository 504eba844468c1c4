"""What a notebook draws of a market: its premium over time, and its term structure at some times.

title, values = market_premium(market)
draw_market_premium(axes, market, values)
draw_term_curves(axes, term_curves(market, ["2022-03-01", "2022-11-10"]))
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from backtest.curve.basket import premium_indicator
from backtest.curve.prices import days_left, matched, premium, premium_of
from backtest.errors import DataError, ParameterError
from backtest.instruments import Kind
from backtest.market import DAY, Floats, Market, utc
from backtest.report import style
from backtest.report.canvas import LETTER
from backtest.report.figures_premium import premium_limits
from backtest.rule import Leg, instant, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = (("blue", "o"), ("orange", "s"), ("green", "^"), ("purple", "D"), ("red", "v"), ("sky", "P"), ("grey", "X"), ("yellow", "h"))
MOST = len(LOOKS)
FEWEST_DAYS = 1.0


@dataclass(frozen=True)
class TermCurve:
    """The known contracts at one bar: when, days to expiry, ln(F/S), annualized premium, ids; from the nearest to the farthest."""

    time: pd.Timestamp
    days: Floats
    logs: Floats
    rates: Floats
    names: list[str]

    @property
    def label(self) -> str:
        """The time as it is told."""
        return f"{self.time:%Y-%m-%d}" if self.time == self.time.normalize() else f"{self.time:%Y-%m-%d %H:%M}"

    def between(self, days: Floats) -> Floats:
        """Annualized premium between the contracts, linear in ln(F/S) from the spot on."""
        rates: Floats = np.expm1(np.interp(days, np.append(0.0, self.days), np.append(0.0, self.logs))) * 365.0 / days
        return rates


def only(market: Market, kind: Kind, what: str) -> Leg:
    """The only instrument of a kind; DataError if there is none or several."""
    found = [item.id for item in market.instruments.values() if item.kind is kind]
    if len(found) != 1:
        has = (
            f'has several: {", ".join(found)}; narrow it, as market.only("BTC*")'
            if found
            else f"has none among {', '.join(market.instruments)}; load one"
        )
        raise DataError(f"{what} needs one {kind}, and the market of {market.info.name} {has}")
    return market.leg(found[0])


def market_premium(market: Market) -> tuple[str, Floats]:
    """A title and the values: the premium indicator where there are dated futures, else the perpetual's premium. [bar]"""
    spot = only(market, Kind.SPOT, "a premium")
    if any(item.kind is Kind.FUTURE for item in market.instruments.values()):
        title, values = "Premium indicator, % a year", premium_indicator(market, market.future_chain(), spot)
    else:
        leg = only(market, Kind.PERPETUAL, "a premium without dated futures")
        title, values = f"Premium of {leg.contracts[0]} over {spot.contracts[0]}, %", premium(market, leg, spot)[0]
    if not np.isfinite(values).any():
        raise DataError(
            f"the premium is not known at any of the {len(market):,} bars of {market.info.name}; load a period in which both legs trade"
        )
    return title, values


def draw_market_premium(axes: "Axes", market: Market, values: Floats) -> None:
    """A premium over time; a few outliers don't squeeze the rest."""
    kept = style.thin(values)
    axes.axhline(0, color=style.colour("muted"), linewidth=0.7, zorder=1)
    axes.plot(market.stamps[kept] / DAY, values[kept], color=style.colour("blue"), linewidth=1.0, zorder=2)
    if (limits := premium_limits(values)) is not None:
        axes.set_ylim(*limits)
    style.value_axis(axes, percent=True)


def term_curves(market: Market, at: Any = None) -> list[TermCurve]:
    """The term structure at one time or several, by default at the last bar."""
    spot, future = only(market, Kind.SPOT, "a term structure"), market.future_chain()
    matched(market, future, spot)
    given = list(at) if isinstance(at, list | tuple | pd.DatetimeIndex | pd.Series | np.ndarray) else [at]
    if not 1 <= len(given) <= MOST:
        raise ParameterError(f"a term structure is drawn at 1 to {MOST} times: it got {len(given)}; choose some of them")
    return [_at(market, future, spot, bar) for bar in dict.fromkeys(_bar(market, one) for one in given)]


def _bar(market: Market, at: Any) -> int:
    """The last bar at or before a time."""
    if at is None:
        return len(market) - 1
    if isinstance(at, bool | int | float):
        raise ParameterError(f'a time of a term structure must be a date or a time: at={shown(at)}; give a text, as "2023-03-01"')
    moment = instant("at", pd.Timestamp(at) if isinstance(at, np.datetime64) else at)
    assert moment is not None
    bar = int(np.searchsorted(market.stamps, moment.value, side="right")) - 1
    if bar < 0:
        raise ParameterError(f"at must not lie before the market's first bar: at={shown(at)}; the first ends at {utc(market.stamps[0])}")
    return bar


def _at(market: Market, future: Leg, spot: Leg, bar: int) -> TermCurve:
    found = []
    for name in future.contracts:
        life = market.life(name)
        if life.start <= bar < life.stop:
            place = bar - life.start
            left, fraction = float(days_left(market, name)[place]), float(premium_of(market, name, spot)[place])
            if left >= FEWEST_DAYS and np.isfinite(fraction):
                found.append((left, np.log1p(fraction), fraction * 365.0 / left, name))
    if not found:
        raise DataError(f"no dated future of {market.info.name} has a known premium at {utc(market.stamps[bar])}; choose another time")
    days, logs, rates = (np.array([row[place] for row in found], np.float64) for place in range(3))
    return TermCurve(market.clock[bar], days, logs, rates, [row[3] for row in found])


def draw_term_curves(axes: "Axes", curves: list[TermCurve]) -> None:
    """Annualized premium against days to expiry, a curve a time with a mark a contract; of one alone the contracts are named."""
    axes.axhline(0, color=style.colour("muted"), linewidth=0.7, zorder=1)
    for (tone, mark), curve in zip(LOOKS, curves, strict=False):
        grid = np.linspace(min(1.0, curve.days[0]), curve.days[-1], 200)
        axes.plot(grid, curve.between(grid), color=style.colour(tone), linewidth=1.4, zorder=3)
        look: dict[str, Any] = {"markersize": 6.5, "markeredgecolor": style.colour("page"), "markeredgewidth": 0.8, "linestyle": "none"}
        axes.plot(curve.days, curve.rates, color=style.colour(tone), marker=mark, label=curve.label, zorder=4, **look)
    if len(curves) == 1:
        _name_contracts(axes, curves[0])
    axes.set_xlim(0, 1.08 * max(float(curve.days[-1]) for curve in curves))
    axes.margins(y=0.15)
    style.value_axis(axes, percent=True)


def _name_contracts(axes: "Axes", curve: TermCurve) -> None:
    """The ids above the marks, as far as they don't stand on each other."""
    from matplotlib import rcParams

    size = float(rcParams["font.size"]) - 1.0
    room = (
        LETTER * size * axes.figure.dpi / 72.0 / float(axes.get_window_extent().width) * 1.08 * float(curve.days[-1])
    )  # days that a letter takes
    free = -np.inf
    for days, rate, name in zip(curve.days, curve.rates, curve.names, strict=True):
        half = 0.5 * room * len(name)
        middle = min(max(days, half), 1.08 * float(curve.days[-1]) - half)
        if middle - half > free:
            shift = (middle - days) / room * LETTER * size
            axes.annotate(
                name, (days, rate), (shift, 8), textcoords="offset points", ha="center", fontsize=size, color=style.colour("ink"), zorder=6
            )
            free = middle + half + room
