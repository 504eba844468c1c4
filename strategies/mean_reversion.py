"""Mean reversion: fade an extreme premium, hedged, until it is usual again.

Against its own last months the premium is measured by z-score, or by percentile rank (--by-rank yes). Far above, spot is bought and the dated future
(or the perpetual, --perpetual yes) is sold; far below the other way round. The price cancels out: what is earned is the way of the premium back, and what
it pays meanwhile. A rich premium is faded only while carry is crowded, the curve and funding both dear, and either extreme only if open interest has
grown while it came about: positions that were put on can be taken off; without them it may be a squeeze, or a new level.

Risks: an extreme becomes more extreme; so it is traded smaller the rarer it is, left when it has widened by a fixed amount, and left after a time,
converged or not. Selling spot needs coins to borrow. It fails when the market moves to another level for good: the mean comes to the premium, not
the premium to the mean.

Defaults: two deviations are the usual word for "extreme", half of one for "usual". 90 days hold a whole quarterly contract. Two weeks without
convergence say that it was no extreme. Widening by 2 % of the price costs 1 % of equity at half size.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

import backtest as bt


@dataclass(frozen=True, kw_only=True)
class MeanReversion(bt.Strategy):
    """Fade a premium that is extreme against its own past, hedged, both ways."""

    enter: float = bt.param(2.0, "open this many deviations from the mean; by rank, beyond the ranks that a bell curve has there")
    exit: float = bt.param(0.5, "close this many deviations from the mean, on the same side")
    window: str = bt.param("90D", "the past to compare with")
    by_rank: bool = bt.param(False, "measure by percentile rank, which fat tails don't stretch, in place of the z-score")
    perpetual: bool = bt.param(False, "measure and trade the perpetual in place of the dated futures")
    min_days: float = bt.param(14.0, "skip contracts that expire sooner")
    crowded: bool = bt.param(True, "sell a rich premium only while carry is crowded")
    grown: bool = bt.param(True, "enter only if open interest has grown while the extreme came about, over a week")
    least: float = bt.param(0.5, "share of the size that is traded where the premium was never as extreme; 1 trades all of it")
    stop: float | None = bt.param(0.02, "close when the premium has widened by this much since entry; none never does")
    max_hold: str | None = bt.param("14D", "close after this long, converged or not; none has no limit")

    def rule(self, market: bt.Market) -> bt.Rule:
        """Spot against the future, on the side that the extreme calls for."""
        leg = market.perpetual if self.perpetual else market.future_chain(min_days=self.min_days)
        premium = bt.premium(market, leg)[0] if self.perpetual else bt.constant_maturity(market, leg)
        extreme, enter, exit = bt.zscore(market, premium, self.window), self.enter, self.exit
        if self.by_rank:
            extreme = bt.percentile(market, premium, self.window) - 0.5
            enter, exit = NormalDist().cdf(enter) - 0.5, NormalDist().cdf(exit) - 0.5
        rich, cheap = np.ones((2, len(market)), dtype=bool)
        if self.crowded:
            rich &= bt.crowding(market) == bt.Crowding.CROWDED
        if self.grown:
            grew = bt.quadrant(market, leg, window="7D")
            rich, cheap = rich & (grew == bt.Quadrant.NEW_LEVERAGE), cheap & (grew == bt.Quadrant.NEW_SHORTS)
        return bt.Rule(
            long=market.spot,
            short=leg,
            sides=bt.Sides.BOTH,
            signal=(np.where(rich, extreme, np.nan), np.where(cheap, extreme, np.nan)),
            enter=enter,
            exit_signal=extreme,
            exit=exit,
            scale=bt.size_by_percentile(market, leg, window=self.window, least=self.least),
            stop=self.stop,
            max_hold=self.max_hold,
        )


if __name__ == "__main__":
    bt.main(MeanReversion)
