"""Cash and carry: buy spot and sell a dated future while the premium pays more than the money costs.

The trade locks in the premium at entry: held to settlement, it earns (F − S)·quantity less fees, spreads and financing on any path of the price. It is
entered on what is left a year after money and the whole round trip, and left early where the rest of the premium no longer pays for the money in it.
Coins cost nothing to store; staked ones even pay (--stake yes). Rolled (--roll-days 7 --max-hold none) the spot stays, and the next contract is sold
only if it pays the same hurdle.

Risks: the short future's margin when the price runs away (watch --leverage), legs that don't fill together, the venue, and a premium that widens while one
has to leave early (--stop-annualized 0.2 limits it, and gives up what settlement would bring back). It fails when money costs more than the premium pays.

Defaults: 8 % a year over money and costs is what a trade should pay for its venue; 2 % is not worth the margin any more; within two weeks of expiry the
round trip, a year, is larger than any usual premium; 120 days are a contract's quarter and the month before it.
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
