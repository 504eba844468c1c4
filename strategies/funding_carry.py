"""Funding carry: buy spot and sell the perpetual, and be paid the funding.

The perpetual never expires, so nothing is locked in: what the trade earns is the sum of future funding payments. Thresholds look at funding already paid;
each round trip costs four fees and four half-spreads, so leaving at every negative payment loses more than it saves. The size returns to its share of
equity when the price drifts, else the short leg outgrows its margin. It fails in long stretches of negative funding.
"""

from dataclasses import dataclass

import backtest as bt


@dataclass(frozen=True, kw_only=True)
class FundingCarry(bt.Strategy):
    """Buy spot and sell the perpetual while its funding pays; with --enter none --exit none always."""

    enter: float | None = bt.param(0.06, "open when trailing funding pays at least this much a year; none is always in")
    exit: float | None = bt.param(-0.05, "close when it pays at most this much a year; none never leaves")
    window: str = bt.param("7D", "trailing window of the funding rate")

    def rule(self, market: bt.Market) -> bt.Rule:
        """Spot against the perpetual."""
        return bt.Rule(
            long=market.spot,
            short=market.perpetual,
            signal=bt.annualized_funding(market, market.perpetual, window=self.window),
            enter=self.enter,
            exit=self.exit,
        )


if __name__ == "__main__":
    bt.main(FundingCarry)
