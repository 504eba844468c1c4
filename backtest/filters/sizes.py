"""How much to enter with: the sizes of `signals/sizing` as objects that any strategy takes.

Each gives a factor on the rule's size, at the legs that the rule trades; several are multiplied.
"""

from dataclasses import dataclass
from typing import ClassVar

from backtest.filters.base import Sizer, derivative_of, found, fraction, leg_of, positive, span
from backtest.instruments import Kind
from backtest.market import Floats, Market
from backtest.rule import MOST, Duration, Rule, duration
from backtest.signals import size_by_liquidity, size_by_percentile, size_by_volatility
from backtest.signals.sizing import within


@dataclass(frozen=True)
class PercentileSizer(Sizer):
    """Enter smaller where the premium is extreme for its window (none: all history): whole up to the percentile beyond, least at the extremes."""

    name: ClassVar[str] = "percentile"
    beyond: float = 0.9
    least: float = 0.25
    window: Duration | None = "180D"

    def __post_init__(self) -> None:
        fraction("beyond", self.beyond, least=0.5)
        within("beyond", self.beyond, 0.5)
        fraction("least", self.least)
        duration("window", self.window)

    def scale(self, market: Market, rule: Rule) -> Floats:
        """`size_by_percentile` of the rule's derivative."""
        leg = derivative_of(rule) or found(market, rule, Kind.PERPETUAL)
        return size_by_percentile(market, leg, found(market, rule, Kind.SPOT), self.window, beyond=self.beyond, least=self.least)


@dataclass(frozen=True)
class VolatilitySizer(Sizer):
    """Enter with as much as keeps the volatility of what is traded at a target a year, at most the factor most."""

    name: ClassVar[str] = "volatility"
    target: float = 0.5
    most: float = 1.0
    window: Duration = "30D"

    def __post_init__(self) -> None:
        positive("target", self.target, most=MOST)
        positive("most", self.most, most=MOST)
        span("window", self.window)

    def scale(self, market: Market, rule: Rule) -> Floats:
        """`size_by_volatility` of the rule's spot, else of its perpetual; of futures alone by the market's spot, as a chain has no volatility of its own."""
        leg = leg_of(rule, Kind.SPOT) or leg_of(rule, Kind.PERPETUAL) or found(market, rule, Kind.SPOT)
        return size_by_volatility(market, leg, self.window, target=self.target, most=self.most)


@dataclass(frozen=True)
class LiquiditySizer(Sizer):
    """Enter smaller where books are emptier than usual in the window: whole up to the illiquidity beyond, least where they were never worse."""

    name: ClassVar[str] = "liquidity"
    beyond: float = 0.8
    least: float = 0.25
    window: Duration = "90D"

    def __post_init__(self) -> None:
        fraction("beyond", self.beyond)
        within("beyond", self.beyond, 0.0)
        fraction("least", self.least)
        span("window", self.window)

    def scale(self, market: Market, rule: Rule) -> Floats:
        """`size_by_liquidity` of the rule's derivative, of its spot if it has none."""
        return size_by_liquidity(
            market, derivative_of(rule) or found(market, rule, Kind.SPOT), self.window, beyond=self.beyond, least=self.least
        )
