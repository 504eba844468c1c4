"""Signals: pure functions of (market, legs, parameters), known at each bar's end, computed once and shared.

A signal over a chain is a table [contract, bar], over a spot or perpetual one row. Values are fractions per year unless said otherwise.

    signal = bt.net_carry(market, future)          # what a new trade would earn a year, costs included
    stay = bt.stay_carry(market, future)           # what the rest of a trade earns, its costs being sunk
"""

from backtest.signals.carry import HALF_SPREAD, Staking, break_even_premium, financing_rate, net_carry, round_trip_cost, stay_carry
from backtest.signals.confirmation import (
    Crowding,
    Quadrant,
    crowding,
    leverage_divergence,
    leverage_ratio,
    long_short_ratio,
    quadrant,
)
from backtest.signals.events import macro_trend, near_event, near_expiry, venue_closed
from backtest.signals.extremes import percentile, zscore
from backtest.signals.flow import cumulative_volume_delta, relative_volume, spot_lead, volume_delta
from backtest.signals.funding import annualized_funding, current_funding, futures_vs_perpetual
from backtest.signals.liquidity import depth, illiquidity, spread
from backtest.signals.regime import Reason, Regime, hysteresis, realised_volatility, regime, regime_reason
from backtest.signals.sizing import by_regime, size_by_liquidity, size_by_percentile, size_by_volatility
from backtest.signals.trend import breakout, change, crossing, moving_average, speed, trend_slope, trend_t

__all__ = [
    "HALF_SPREAD", "Crowding", "Quadrant", "Reason", "Regime", "Staking", "annualized_funding", "break_even_premium", "breakout",
    "by_regime", "change", "crossing", "crowding", "cumulative_volume_delta", "current_funding", "depth", "financing_rate",
    "futures_vs_perpetual", "hysteresis", "illiquidity", "leverage_divergence", "leverage_ratio", "long_short_ratio", "macro_trend",
    "moving_average", "near_event", "near_expiry", "net_carry", "percentile", "quadrant", "realised_volatility", "regime",
    "regime_reason", "relative_volume", "round_trip_cost", "size_by_liquidity", "size_by_percentile", "size_by_volatility", "speed",
    "spot_lead", "spread", "stay_carry", "trend_slope", "trend_t", "venue_closed", "volume_delta", "zscore",
]  # fmt: skip
