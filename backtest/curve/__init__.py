"""The futures curve: premium and annualized premium of every contract, the shape of the term structure, and one number for all of it.

Signals over a chain are tables [contract, bar], over a spot or perpetual one row; values are fractions, rates fractions a year.
"""

from backtest.curve.activity import open_interest, traded, traded_volume
from backtest.curve.basket import Weighting, basket_contributions, basket_weights, premium_indicator
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
from backtest.curve.term_structure import Shape, constant_maturity, term_curvature, term_shape, term_slope

__all__ = [
    "FEWEST_DAYS", "Compounding", "Shape", "Weighting", "annualized_premium", "basket_contributions", "basket_weights", "closes",
    "constant_maturity", "contango", "dated", "days_to_expiry", "expiries", "offered", "one_spot", "open_interest", "pairs",
    "premium", "premium_indicator", "term_curvature", "term_shape", "term_slope", "traded", "traded_volume",
]  # fmt: skip
