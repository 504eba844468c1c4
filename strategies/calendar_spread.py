"""Calendar spread: trade the near future against the next one, where the curve between them is steeper or flatter than up to the near one.

Two rates tell what the curve pays: the near contract's premium a year up to its expiry, and the forward premium a year from there to the far contract's.
As time passes and the curve keeps its shape, the far contract's premium shrinks by the forward rate and the near one's by its own: with the forward rate
above, sell the far contract and buy the near one, with it below do the opposite, and earn the difference. It is a bet that the curve straightens, in
equal base units, so the price cancels out.

Risks: a steep curve steepens, as when leverage is bought for a date beyond the near expiry (widening is limited by --stop); far contracts trade little,
so the spread costs more to leave than it seems (--max-spread 0.001); both legs are margined. It fails when the steepness is right, as before an event
that everybody awaits, and on prices that are hours older than those they meet: between two monthly contracts 0.4 % of noise is 5 % a year.

Defaults: four fills at five basis points and their spreads cost about 0.25 % (what the entry must earn before the near expiry); 5 % a year over it, as
on any unlocked difference; out when it is gone. Both legs are closed two days before the near one settles, as the far one alone is a bet on the price.
"""

from dataclasses import dataclass

import numpy as np

import backtest as bt


@dataclass(frozen=True, kw_only=True)
class CalendarSpread(bt.Strategy):
    """Sell the richer and buy the cheaper of the near and the next dated future, by what the curve pays as time passes."""

    enter: float = bt.param(0.05, "open when the difference of the rates pays this much a year after costs")
    exit: float = bt.param(0.0, "close when the difference, costs being sunk, is at most this")
    cost: float = bt.param(0.0025, "round trip of both legs as a fraction of notional, in the difference to enter")
    min_days: float = bt.param(14.0, "skip near contracts that expire sooner")
    expiry_days: float | None = bt.param(2.0, "close when this few days are left to the near expiry; none holds to settlement")
    stop: float | None = bt.param(0.02, "close when far over near has moved against the trade by this much; none never does")
    max_hold: str | None = bt.param(None, "close after this long, converged or not; none has no limit")

    def rule(self, market: bt.Market) -> bt.Rule:
        """The nearest contract against the second nearest; side +1 sells the far one."""
        near, far = market.future_chain(min_days=self.min_days), market.future_chain(min_days=self.min_days, nth=2)
        one, two = bt.pairs(market, near, far).T
        premium, days = np.log1p(bt.premium(market, near)), bt.days_to_expiry(market, near)
        years, between = np.maximum(days[one], 1.0) / 365.0, (days[two] - days[one]) / 365.0
        difference = (premium[two] - premium[one]) / between - premium[one] / years
        cost = self.cost / years
        return bt.Rule(
            long=near,
            short=far,
            sides=bt.Sides.BOTH,
            signal=(difference - cost, difference + cost),
            enter=self.enter,
            exit_signal=difference,
            exit=self.exit,
            expiry_days=self.expiry_days,
            stop=self.stop,
            max_hold=self.max_hold,
        )


if __name__ == "__main__":
    bt.main(CalendarSpread)
