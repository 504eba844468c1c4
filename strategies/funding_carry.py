"""Funding carry: buy spot and sell the perpetual, and be paid the funding.

The perpetual never expires, so nothing is locked in: what the trade earns is the sum of future funding payments, less the money in the spot. Thresholds look
at funding already paid. Three ways to run it: by thresholds; always on (--enter none --exit none); and, for comparison, in exactly while trailing funding is
above zero (--sign-gated yes). Each round trip costs four fees and four half-spreads, so leaving at every negative payment loses more than it saves.
The size returns to its share of equity when the price drifts, else the short leg outgrows its margin.

Around payments an entry can be staged (--entry-tranches 3 --tranche-gap funding) or sent on the side that pays (--funding-entry better), and an exit can wait
for one more payment (--hold-for-funding yes).

Risks: the perpetual's margin when the price runs away, and a winning short that the venue takes away in a crash. It fails in long stretches of negative
funding, and where so many hold it that funding falls below what money costs.

Defaults: venues pay 0.01 % each eight hours, 11 % a year, while the perpetual is where it should be; half of that is worth entering, and only funding that
has cost as much for a week is worth the round trip out. A week holds 21 payments, enough that one of them decides nothing.
"""

from dataclasses import dataclass

import numpy as np

import backtest as bt


@dataclass(frozen=True, kw_only=True)
class FundingCarry(bt.Strategy):
    """Buy spot and sell the perpetual while its funding pays; with --enter none --exit none always."""

    enter: float | None = bt.param(0.06, "open when trailing funding pays at least this much a year; none is always in")
    exit: float | None = bt.param(-0.05, "close when it pays at most this much a year; none never leaves")
    window: str = bt.param("7D", "trailing window of the funding rate")
    sign_gated: bool = bt.param(False, "in while trailing funding is above zero and out while it is not, whatever the thresholds are")

    def rule(self, market: bt.Market) -> bt.Rule:
        """Spot against the perpetual."""
        paid = bt.annualized_funding(market, market.perpetual, window=self.window)
        signal, enter, exit = (np.sign(paid), 1.0, 0.0) if self.sign_gated else (paid, self.enter, self.exit)
        return bt.Rule(long=market.spot, short=market.perpetual, signal=signal, enter=enter, exit=exit)


if __name__ == "__main__":
    bt.main(FundingCarry)
