"""What an overview asks: of which market, bar and legs, and what a single question is.

question = Question(name="spread", label="bid-ask spread", unit=Unit.FRACTION, ask=lambda asked: spread(asked.market, asked.derivative))
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from backtest.curve.basket import premium_indicator
from backtest.data.hours import closes
from backtest.errors import DataError
from backtest.market import DAY, Floats, Market
from backtest.overview.view import BEFORE, Unit
from backtest.rule import Leg


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """Which market, bar and legs an overview is about, and how its basket and its costs are counted."""

    market: Market
    bar: int
    spot: Leg
    future: Leg | None
    perpetual: Leg | None
    weighting: str | Floats
    roll_days: float
    cost: float | None

    @property
    def chain(self) -> Leg:
        """The dated futures; DataError if there are none."""
        if self.future is None:
            raise DataError(f"the dataset {self.market.info.name} has no dated futures among what was loaded; import or choose some")
        return self.future

    @property
    def swap(self) -> Leg:
        """The perpetual; DataError if there is none."""
        if self.perpetual is None:
            raise DataError(f"the dataset {self.market.info.name} has no perpetual among what was loaded; import or choose one")
        return self.perpetual

    @property
    def derivative(self) -> Leg:
        """Where leverage and volume are looked at: the perpetual, without one the dated futures."""
        return self.chain if self.perpetual is None else self.perpetual

    @property
    def indicator(self) -> Floats:
        """The premium indicator of this basket. [bar]"""
        return premium_indicator(self.market, self.chain, self.spot, weighting=self.weighting, roll_days=self.roll_days)

    def venues(self) -> list[str]:
        """The legs' venues that have trading hours."""
        names = [name for leg in (self.spot, self.future, self.perpetual) if leg is not None for name in leg.contracts]
        return [venue for venue in dict.fromkeys(self.market.instruments[name].venue for name in names) if closes(venue)]

    def places(self) -> list[int]:
        """The bars at which readings are told: this one, and the last ones stamped 1, 7 and 30 days before or earlier; −1 where the data don't reach."""
        stamps = self.market.stamps
        return [self.bar, *(int(np.searchsorted(stamps, stamps[self.bar] - days * DAY, side="right")) - 1 for days in BEFORE)]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One reading to be: ask gives its values, [bar] or one row of them a contract (then their mean counts); words names the contract that they belong to."""

    name: str
    label: str
    unit: Unit
    ask: Callable[[Asked], Floats]
    meaning: str = ""
    states: type[IntEnum] | None = None
    meanings: dict[int, str] = field(default_factory=dict)
    words: Callable[[Asked, int], str] | None = None
