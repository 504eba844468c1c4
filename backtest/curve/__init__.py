"""The futures curve: premium and annualized premium of every contract, the shape of the term structure, and one number for all of it.

Signals over a chain are tables [contract, bar], over a spot or perpetual one row; values are fractions, rates fractions a year.
"""

from backtest.curve.prices import (
    FEWEST_DAYS,
    Compounding,
    annualized_premium,
    closes,
    contango,
    dated,
    days_to_expiry,
    expiries,
    offered,
    one_spot,
    pairs,
    premium,
)

__all__ = [
    "FEWEST_DAYS", "Compounding", "annualized_premium", "closes", "contango", "dated", "days_to_expiry", "expiries", "offered",
    "one_spot", "pairs", "premium",
]  # fmt: skip
