"""Signals: pure functions of (market, legs, parameters), known at each bar's end, computed once and shared.

A signal over a chain is a table [contract, bar], over a spot or perpetual one row. Values are fractions per year unless said otherwise.

    signal = bt.net_carry(market, future)          # what a new trade would earn a year, costs included
    stay = bt.stay_carry(market, future)           # what the rest of a trade earns, its costs being sunk
"""

from backtest.signals.carry import HALF_SPREAD, financing_rate, net_carry, round_trip_cost, stay_carry
from backtest.signals.extremes import percentile, zscore
from backtest.signals.funding import annualized_funding

__all__ = [
    "HALF_SPREAD", "annualized_funding", "financing_rate", "net_carry", "percentile", "round_trip_cost", "stay_carry",
    "zscore",
]  # fmt: skip
