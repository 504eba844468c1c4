"""What a view of the premium is about: a market, a bar of it, the legs, and how its basket and its costs are counted.

scope.market.clock[scope.places()]      # now, and 1, 7 and 30 days before
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtest.curve.basket import premium_indicator
from backtest.data.hours import closes
from backtest.errors import DataError
from backtest.market import DAY, Floats, Market
from backtest.rule import Leg

BEFORE = (1, 7, 30)  # days back at which every reading is told beside its present value


@dataclass(frozen=True, kw_only=True, eq=False)
class Scope:
    """Which market, bar and legs a view is about, and how its basket and its costs are counted; the parameters are those of `overview`.

    market: what had begun by the bar (`market_by`).
    """

    market: Market
    bar: int
    spot: Leg
    future: Leg | None
    perpetual: Leg | None
    weighting: str | Floats
    roll_days: float
    cost: float | None

    @property
    def time(self) -> pd.Timestamp:
        """The end of the bar."""
        return self.market.clock[self.bar]

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

    @property
    def basket(self) -> str:
        """The basket's weighting in a word."""
        return self.weighting if isinstance(self.weighting, str) else "own table"

    def venues(self) -> list[str]:
        """The legs' venues that have trading hours."""
        names = [name for leg in (self.spot, self.future, self.perpetual) if leg is not None for name in leg.contracts]
        return [venue for venue in dict.fromkeys(self.market.instruments[name].venue for name in names) if closes(venue)]

    def places(self, days_back: tuple[int, ...] = (0, *BEFORE)) -> list[int]:
        """The last bars stamped so many days before this one's end or earlier; −1 where the data don't reach."""
        stamps = self.market.stamps
        return [int(np.searchsorted(stamps, stamps[self.bar] - days * DAY, side="right")) - 1 for days in days_back]
