"""The readings of an overview as one table: what each is called, how it is computed, its unit and what it means.

A new reading is a new row; a state's row also names its states and what each says.

    {question.name: question.ask(scope) for question in QUESTIONS}
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from backtest.curve.activity import open_interest, summed, traded
from backtest.curve.prices import premium
from backtest.curve.term_structure import Shape, constant_maturity, term_curvature, term_shape, term_slope
from backtest.market import Floats
from backtest.overview.scope import Scope
from backtest.overview.view import Unit
from backtest.signals.carry import break_even_premium, net_carry
from backtest.signals.confirmation import (
    Crowding,
    Quadrant,
    crowding,
    leverage_divergence,
    leverage_ratio,
    long_short_ratio,
    quadrant,
)
from backtest.signals.events import macro_trend
from backtest.signals.extremes import zscore
from backtest.signals.flow import relative_volume, spot_lead, volume_delta
from backtest.signals.funding import annualized_funding, current_funding
from backtest.signals.liquidity import depth, illiquidity, spread
from backtest.signals.regime import Reason, Regime, realised_volatility, regime, regime_reason
from backtest.signals.trend import speed, trend_t
from backtest.venues.calendar import is_open

LONGEST_STATE = 11  # characters of a state's label, so that four of its words stand beside it


@dataclass(frozen=True, kw_only=True)
class Question:
    """One reading to be: ask gives its values, [bar] or one row of them a contract (then their mean counts); words names the contract that they belong to."""

    name: str
    label: str
    unit: Unit
    ask: Callable[[Scope], Floats]
    meaning: str = ""
    states: type[IntEnum] | None = None
    meanings: dict[int, str] = field(default_factory=dict)
    words: Callable[[Scope, int], str] | None = None


class Hours(IntEnum):
    """Whether a venue that has hours trades."""

    OPEN = 0
    CLOSED = 1


def _carries(scope: Scope) -> Floats:
    """Net carry of the contracts that trade: nobody earns that of an old close. [contract, bar]"""
    carry = net_carry(scope.market, scope.chain, scope.spot, cost=scope.cost)
    return np.where(traded(scope.market, scope.chain) > 0.0, carry, np.nan)


def _best(scope: Scope, place: int) -> str:
    """The contract that has the best net carry at a bar."""
    return scope.chain.contracts[int(np.nan_to_num(_carries(scope)[:, place], nan=-np.inf).argmax())]


def _break_even_of_best(scope: Scope) -> Floats:
    table = break_even_premium(scope.market, scope.chain, scope.spot, cost=scope.cost)
    carries = np.nan_to_num(_carries(scope), nan=-np.inf)
    best = carries.argmax(axis=0)[None, :]
    paid, carry = (np.take_along_axis(values, best, axis=0)[0] for values in (table, carries))
    return np.where(carry > -np.inf, paid, np.nan)


def _tenor(days: int) -> Question:
    return Question(
        name=f"premium_{days}d",
        label=f"premium of {days} days",
        unit=Unit.RATE,
        ask=lambda scope: constant_maturity(scope.market, scope.chain, scope.spot, days=float(days)),
        meaning="annualized, interpolated between the contracts",
    )


def _closed(scope: Scope, venue: str) -> Floats:
    """1 where a venue is closed at a bar's end, for the bars that are told only: its hours may not be known for times long past. [bar]"""
    places = [place for place in scope.places() if place >= 0]
    out = np.full(len(scope.market), np.nan)
    out[places] = 1.0 - is_open(venue, scope.market.clock[places])
    return out


def hours(venue: str) -> Question:
    """The reading of a venue's trading hours."""
    return Question(
        name=f"hours_{venue}",
        label=f"{venue} hours"[:LONGEST_STATE],
        unit=Unit.STATE,
        ask=lambda scope: _closed(scope, venue),
        states=Hours,
        meaning=f"whether {venue} trades at the bar's end",
    )


QUESTIONS = (
    Question(name="indicator", label="premium indicator", unit=Unit.RATE, ask=lambda scope: scope.indicator, meaning="weighted mean of the contracts' annualized premia"),
    *(_tenor(days) for days in (30, 60, 90, 180)),
    Question(
        name="slope", label="forward from 30 to 90 days", unit=Unit.RATE,
        ask=lambda scope: term_slope(scope.market, scope.chain, scope.spot), meaning="annualized; above 0 prices rise along the curve",
    ),
    Question(
        name="curvature", label="curvature at 90 days", unit=Unit.RATE,
        ask=lambda scope: term_curvature(scope.market, scope.chain, scope.spot), meaning="forward from 90 to 180 days less that from 30 to 90",
    ),
    Question(
        name="shape", label="shape", unit=Unit.STATE, ask=lambda scope: term_shape(scope.market, scope.chain, scope.spot), states=Shape,
        meaning="the term structure by its slope",
        meanings={
            Shape.INVERTED: "prices fall along the curve, from 30 to 90 days", Shape.FLAT: "prices rise by up to 15% a year along the curve",
            Shape.STEEP: "prices rise by more than 15% a year along the curve",
        },
    ),
    Question(
        name="net_carry", label="best contract's net carry", unit=Unit.RATE, ask=lambda scope: np.fmax.reduce(_carries(scope), axis=0), words=_best,
        meaning="a year, after financing and the round trip; of those that trade",
    ),
    Question(
        name="break_even_premium", label="best contract's break-even", unit=Unit.FRACTION, ask=_break_even_of_best, words=_best,
        meaning="the premium at which that carry is nothing",
    ),
    Question(
        name="perpetual_premium", label="perpetual's premium", unit=Unit.FRACTION, ask=lambda scope: premium(scope.market, scope.swap, scope.spot),
        meaning="of the perpetual over the spot, (P − S)/S",
    ),
    Question(
        name="funding", label="7-day funding a year", unit=Unit.RATE, ask=lambda scope: annualized_funding(scope.market, scope.swap),
        meaning="what a short perpetual was paid lately, a year",
    ),
    Question(
        name="current_funding", label="newest funding a year", unit=Unit.RATE, ask=lambda scope: current_funding(scope.market, scope.swap),
        meaning="the newest payment as if it went on for a year",
    ),
    Question(
        name="futures_vs_perpetual", label="indicator less funding", unit=Unit.RATE,
        ask=lambda scope: scope.indicator - annualized_funding(scope.market, scope.swap)[0], meaning="above 0 the dated futures pay more than the perpetual",
    ),
    Question(
        name="zscore", label="z-score of the indicator", unit=Unit.RATIO, ask=lambda scope: zscore(scope.market, scope.indicator),
        meaning="deviations from its mean of 90 days",
    ),
    Question(
        name="trend_t", label="t-value of the 30-day trend", unit=Unit.RATIO, ask=lambda scope: trend_t(scope.market, scope.indicator),
        meaning="slope over its error; bars are alike, go by its percentile",
    ),
    Question(
        name="speed", label="7-day speed a day", unit=Unit.RATE, ask=lambda scope: speed(scope.market, scope.indicator),
        meaning="points a day; above 0 the indicator widens",
    ),
    Question(
        name="volatility", label="7-day realised volatility", unit=Unit.RATE, ask=lambda scope: realised_volatility(scope.market, scope.spot),
        meaning="of the spot's log returns, a year",
    ),
    Question(
        name="macro_trend", label="20-day equity index", unit=Unit.FRACTION, ask=lambda scope: macro_trend(scope.market),
        meaning="change of the index as it was known",
    ),
    Question(
        name="open_interest", label="open interest", unit=Unit.AMOUNT, ask=lambda scope: summed(open_interest(scope.market, scope.derivative)),
        meaning="of the perpetual, without one of the dated futures",
    ),
    Question(
        name="relative_volume", label="volume over its mean", unit=Unit.RATIO, ask=lambda scope: relative_volume(scope.market, scope.derivative),
        meaning="one day's over the mean of such days in 30",
    ),
    Question(
        name="spot_delta", label="1-day spot volume delta", unit=Unit.AMOUNT, ask=lambda scope: volume_delta(scope.market, scope.spot),
        meaning="bought less sold by takers",
    ),
    Question(
        name="futures_delta", label="1-day futures volume delta", unit=Unit.AMOUNT, ask=lambda scope: volume_delta(scope.market, scope.derivative),
        meaning="bought less sold by takers",
    ),
    Question(
        name="spot_lead", label="spot's lead over futures", unit=Unit.RATIO, ask=lambda scope: spot_lead(scope.market, scope.derivative, scope.spot),
        meaning="above 0 spot leads the move, below it the futures do",
    ),
    Question(
        name="leverage_ratio", label="leverage ratio", unit=Unit.FRACTION, ask=lambda scope: leverage_ratio(scope.market, scope.derivative),
        meaning="open interest over the exchange reserve or the market cap",
    ),
    Question(
        name="leverage_divergence", label="7-day leverage divergence", unit=Unit.FRACTION, ask=lambda scope: leverage_divergence(scope.market, scope.derivative),
        meaning="growth of the ratio less that of open interest",
    ),
    Question(
        name="long_short_ratio", label="long/short accounts", unit=Unit.RATIO, ask=lambda scope: long_short_ratio(scope.market, scope.swap),
        meaning="accounts that are long over those that are short",
    ),
    Question(
        name="spread", label="bid-ask spread", unit=Unit.SPREAD, ask=lambda scope: spread(scope.market, scope.derivative), meaning="of the middle price",
    ),
    Question(
        name="depth", label="depth of the book", unit=Unit.MONEY, ask=lambda scope: depth(scope.market, scope.derivative), meaning="near the middle price",
    ),
    Question(
        name="illiquidity", label="illiquidity", unit=Unit.RATIO, ask=lambda scope: illiquidity(scope.market, scope.derivative),
        meaning="spread and depth against their own 90 days; 1 is the worst",
    ),
    Question(
        name="quadrant", label="quadrant", unit=Unit.STATE, ask=lambda scope: quadrant(scope.market, scope.derivative, scope.spot), states=Quadrant,
        meaning="premium × open interest over a day",
        meanings={
            0: "premium or open interest hasn't moved", 1: "premium and open interest rise", 2: "premium rises while open interest falls",
            3: "premium falls while open interest rises", 4: "premium and open interest fall",
        },
    ),
    Question(
        name="crowding", label="crowding", unit=Unit.STATE, ask=lambda scope: crowding(scope.market, scope.chain, scope.swap, scope.spot), states=Crowding,
        meaning="30-day premium and funding against their own 180 days",
        meanings={
            Crowding.NEUTRAL: "neither premium nor funding is elevated", Crowding.CURVE: "only the premium is elevated, isolated to the curve",
            Crowding.PERPETUAL: "only the funding is elevated, isolated to the perpetual", Crowding.CROWDED: "premium and funding are both elevated",
        },
    ),
    Question(
        name="regime", label="regime", unit=Unit.STATE, ask=lambda scope: regime(scope.market, spot=scope.spot), states=Regime,
        meaning="by realised volatility, premium and liquidity",
        meanings={
            Regime.CALM: "no stress and no trend", Regime.TRENDING: "spot or premium follow a trend, without stress",
            Regime.STRESSED: "by volatility, backwardation, a jump of the premium or illiquidity",
        },
    ),
    Question(
        name="regime_reason", label="reason", unit=Unit.STATE, ask=lambda scope: regime_reason(scope.market, spot=scope.spot), states=Reason,
        meaning="why the regime is what it is",
        meanings={
            Reason.NONE: "nothing is out of the ordinary", Reason.VOLATILITY: "the spot moves as in the wildest weeks of a year",
            Reason.BACKWARDATION: "the curve pays too little to be explained by costs", Reason.PREMIUM_JUMP: "the premium moved as on the wildest days of a year",
            Reason.ILLIQUIDITY: "spreads and depths are near their worst", Reason.TREND: "spot or premium went twice as far as chance would take them",
        },
    ),
)  # fmt: skip
