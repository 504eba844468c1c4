"""Futures against the perpetual: sell whichever of the two is paid more for the same leverage.

The dated future locks its premium until expiry; the perpetual pays its premium as funding, day by day. Where the future's premium a year is above what
funding has paid lately, sell the future and buy the perpetual, and where it is below do the opposite: the difference is earned if funding goes on as it
was. No coins are bought or borrowed, so the trade ties up margin only, and the price cancels out. An entry can wait for a payment that it would have to
make (--funding-entry better), and an exit for one that it gets (--hold-for-funding yes).

Risks: one side is locked and the other is not: funding may double the day after. Both legs are margined, each at its own venue's or account's worst
moment, so there is no leg that can't be liquidated; widening can be limited (--stop 0.02). It fails when funding was high for a reason that is over: the
curve knows it at once, and a trailing window learns it late.

Defaults: four fills at five basis points and their spreads cost about 0.25 % (the round trip that the entry must earn in the days left); 5 % a year over
it for the risk of the leg that isn't locked; out when the difference is gone. A week of funding is 21 payments. Both legs are closed together a day
before the future settles, as one of them alone is a bet on the price.
"""

from dataclasses import dataclass

import numpy as np

import backtest as bt


@dataclass(frozen=True, kw_only=True)
class FuturesVsPerpetual(bt.Strategy):
    """Sell the richer and buy the cheaper of dated future and perpetual, by the year."""

    enter: float = bt.param(0.05, "open when the difference pays this much a year after costs")
    exit: float = bt.param(0.0, "close when the difference, costs being sunk, is at most this")
    window: str = bt.param("7D", "trailing window of the funding rate")
    cost: float = bt.param(0.0025, "round trip of both legs as a fraction of notional, in the difference to enter")
    min_days: float = bt.param(14.0, "skip contracts that expire sooner")
    expiry_days: float | None = bt.param(1.0, "close when this few days are left to expiry; none holds to settlement")
    max_hold: str | None = bt.param(None, "close after this long, converged or not; none has no limit")

    def rule(self, market: bt.Market) -> bt.Rule:
        """The perpetual against the chain of dated futures; side +1 sells the future."""
        future = market.future_chain(min_days=self.min_days)
        difference = bt.futures_vs_perpetual(market, future, window=self.window)
        cost = self.cost * 365.0 / np.maximum(bt.days_to_expiry(market, future), 1.0)
        return bt.Rule(
            long=market.perpetual,
            short=future,
            sides=bt.Sides.BOTH,
            signal=(difference - cost, difference + cost),
            enter=self.enter,
            exit_signal=difference,
            exit=self.exit,
            expiry_days=self.expiry_days,
            max_hold=self.max_hold,
        )


if __name__ == "__main__":
    bt.main(FuturesVsPerpetual)
