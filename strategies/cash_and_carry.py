"""Cash and carry: buy spot and sell a dated future while the premium pays more than the money costs.

The trade locks in the premium at entry: held to settlement, it earns (F − S)·quantity less fees, spreads and financing on any path of the price.
What can go wrong: the short future's margin when the price runs away (watch leverage), legs that don't fill together, and a premium that
widens while one has to leave early. It fails when money costs more than the premium pays.
"""

from dataclasses import dataclass

import backtest as bt


@dataclass(frozen=True, kw_only=True)
class CashAndCarry(bt.Strategy):
    """Buy spot and sell the dated future while the premium pays more than the money costs."""

    enter: float | None = bt.param(0.08, "open at or above this net annualized carry; none enters at once")
    exit: float | None = bt.param(0.02, "close at or below this carry to stay; none holds to settlement")
    min_days: float = bt.param(14.0, "skip contracts that expire sooner")
    cost: float | None = bt.param(
        None, "round trip as a fraction of notional, in the carry to enter; none takes the venue's fees and 1 bp a fill"
    )
    max_hold: str | None = bt.param("120D", "close after this long, converged or not; none has no limit")

    def rule(self, market: bt.Market) -> bt.Rule:
        """Spot against the chain of dated futures."""
        future = market.future_chain(min_days=self.min_days)
        return bt.Rule(
            long=market.spot,
            short=future,
            signal=bt.net_carry(market, future, cost=self.cost),
            enter=self.enter,
            exit_signal=bt.stay_carry(market, future),
            exit=self.exit,
            max_hold=self.max_hold,
        )


if __name__ == "__main__":
    bt.main(CashAndCarry)
