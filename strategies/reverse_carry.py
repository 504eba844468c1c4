"""Reverse carry: borrow coins and sell them, and buy the dated future, while it trades below spot.

The mirror of cash and carry: in backwardation the future is bought cheaper than the coins are sold, and at settlement both are worth the same, so that
(S − F)·quantity is locked in less fees, spreads and what the borrowed coins cost. That fee is the hurdle here, in place of the money: futures trade below
spot for long only where coins are dear to borrow, or are about to be given something that futures don't get (a fork, an airdrop, a staking yield).

Needs the series borrow_base. Whoever owns the coins anyway gives up their staking yield instead of a fee: --own-coins yes.

Risks: the loan is called back in a squeeze, when buying back is dearest (the series borrow_available, or --scenario recall); its fee jumps while one is in
(the exit watches it); the long future's margin in a crash, which is when futures fall below spot. It fails where the borrow fee takes all of the premium,
which it mostly does, and where backwardation deepens before it ends (--stop-annualized 0.3 limits it).

Defaults: over fee and costs a trade should pay 5 % a year, 0.4 % in a month: one more round trip, in case the loan is called back; it is left when the
fee takes all that is left. The days are those of cash and carry.
"""

from dataclasses import dataclass

import backtest as bt


@dataclass(frozen=True, kw_only=True)
class ReverseCarry(bt.Strategy):
    """Sell borrowed coins and buy the dated future while its discount pays more than the coins cost."""

    enter: float | None = bt.param(0.05, "open at or above this net annualized carry of the reverse trade; none enters at once")
    exit: float | None = bt.param(0.0, "close at or below this carry to stay; none holds to settlement")
    min_days: float = bt.param(14.0, "skip contracts that expire sooner")
    cost: float | None = bt.param(
        None, "round trip as a fraction of notional, in the carry to enter; none takes the venue's fees and 1 bp a fill"
    )
    own_coins: bool = bt.param(False, "the hurdle is the staking yield that one's own coins give up, not the borrow fee")
    max_hold: str | None = bt.param("120D", "close after this long, converged or not; none has no limit")

    def rule(self, market: bt.Market) -> bt.Rule:
        """The chain of dated futures against spot: side −1 of the plain trade, whose signals have the other sign."""
        future = market.future_chain(min_days=self.min_days)
        coins = "forgone" if self.own_coins else None
        return bt.Rule(
            long=market.spot,
            short=future,
            sides=bt.Sides.MINUS,
            signal=-bt.net_carry(market, future, cost=self.cost, reverse=True, staking=coins),
            enter=self.enter,
            exit_signal=-bt.stay_carry(market, future, reverse=True, staking=coins),
            exit=self.exit,
            max_hold=self.max_hold,
        )


if __name__ == "__main__":
    bt.main(ReverseCarry)
