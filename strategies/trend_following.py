"""Trend following: go with the price while the premium expands with it.

One leg and a direction, no hedge. The trend is the price's fast average against its slow one; it is believed when the premium's own averages say the same,
for a rise in which people pay more and more for leverage draws others in, and a fall in which the premium shrinks is not bought by anyone yet. The
trade ends with the price's trend, whatever the premium does. Its size falls as volatility rises, so that a wild market moves the equity no more than a calm one.
A long perpetual pays for the trend it follows (see funding in the attribution); the dated future (--future yes) pays its premium at once.

Risks: all of the price's, gaps beyond any limit included. A trend is late at both ends, and the premium is richest when it is about to turn. It fails in
markets that go nowhere: each false start costs a round trip and the way back.

Defaults: a week against a month are the usual averages; half of the equity in a price that moves 40 % a year moves it 20 %, about as much as stocks do; a
tenth of equity lost in one trade is half of that.
"""

from dataclasses import dataclass

import numpy as np

import backtest as bt


@dataclass(frozen=True, kw_only=True)
class TrendFollowing(bt.Strategy):
    """Go with the price's trend while the premium expands with it, at a steady volatility."""

    fast: str = bt.param("7D", "window of the fast average, of price and premium")
    slow: str = bt.param("30D", "window of the slow average")
    confirm: bool = bt.param(True, "enter only while the premium goes the price's way")
    future: bool = bt.param(False, "trade the dated futures and read their premium, in place of the perpetual's")
    sides: bt.Sides = bt.param(bt.Sides.BOTH, "plus (rises only), minus (falls only) or both")
    target: float = bt.param(0.4, "trade the whole size up to this volatility a year, and beyond it as much less as keeps the risk")
    loss: float | None = bt.param(0.1, "close when the trade has lost this fraction of the equity at entry; none never does")

    def rule(self, market: bt.Market) -> bt.Rule:
        """One leg, on the trend's side."""
        leg = market.future_chain(min_days=14.0) if self.future else market.perpetual
        premium = bt.premium_indicator(market, leg) if self.future else bt.premium(market, leg)[0]
        trend = np.sign(bt.crossing(market, market.close(market.spot.contracts[0]), self.fast, self.slow))
        expanding = np.sign(bt.crossing(market, premium, self.fast, self.slow))
        return bt.Rule(
            long=leg,
            sides=self.sides,
            signal=np.where(trend == expanding, trend, 0.0) if self.confirm else trend,
            enter=1.0,
            exit_signal=trend,
            exit=0.0,
            scale=bt.size_by_volatility(market, target=self.target),
            loss=self.loss,
            roll_days=7.0 if self.future else None,
        )


if __name__ == "__main__":
    bt.main(TrendFollowing)
