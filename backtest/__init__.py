"""carry-backtest: backtests of carry strategies on the futures premium, with every cent of PnL explained.

    import backtest as bt

    market = bt.load_market("data/sample")
    result = bt.run(strategy, market)
    print(result)

Begin with `load_market`, `Strategy`, `Rule` and `run`, which gives a `Result`; then `sweep`, `compare`, `stress` and `check_causality`. What a rule can look at
are signals, such as `premium` and `net_carry`; what a notebook draws, `plot_equity` and the like.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from backtest._version import __version__
from backtest.book import Book
from backtest.compare import Comparison, compare
from backtest.curve import (
    Shape,
    Weighting,
    annualized_premium,
    basket_contributions,
    basket_weights,
    constant_maturity,
    contango,
    days_to_expiry,
    open_interest,
    pairs,
    premium,
    premium_indicator,
    term_curvature,
    term_shape,
    term_slope,
    traded,
    traded_volume,
)
from backtest.errors import CarryError, DataError, ParameterError, StorageError
from backtest.execution import Execution, Margin
from backtest.filters import (
    CrowdingFilter,
    EventFilter,
    Filter,
    FundingWindow,
    LeverageFilter,
    LiquiditySizer,
    OpenInterestFilter,
    PercentileSizer,
    RegimeFilter,
    Sizer,
    VolatilitySizer,
    VolumeDeltaFilter,
)
from backtest.load import load_market
from backtest.market import Market
from backtest.memo import SIGNALS, signal
from backtest.overview import Overview, overview
from backtest.rule import Leg, Rule, Sides, param
from backtest.scenarios import (
    BasisGap,
    Cascade,
    Deleveraging,
    FundingFlip,
    Outage,
    Recall,
    Scenario,
    SlowTransfers,
    Spreads,
    WorstCase,
)
from backtest.signals import (
    Crowding,
    Quadrant,
    Reason,
    Regime,
    annualized_funding,
    break_even_premium,
    breakout,
    by_regime,
    change,
    crossing,
    crowding,
    cumulative_volume_delta,
    current_funding,
    depth,
    financing_rate,
    futures_vs_perpetual,
    hysteresis,
    illiquidity,
    leverage_divergence,
    leverage_ratio,
    long_short_ratio,
    macro_trend,
    moving_average,
    near_event,
    near_expiry,
    net_carry,
    percentile,
    quadrant,
    realised_volatility,
    regime,
    regime_reason,
    relative_volume,
    size_by_liquidity,
    size_by_percentile,
    size_by_volatility,
    speed,
    spot_lead,
    spread,
    stay_carry,
    trend_slope,
    trend_t,
    venue_closed,
    volume_delta,
    zscore,
)
from backtest.space import Range, between
from backtest.strategy import Strategy, main, on
from backtest.stress import StressTest, stress
from backtest.sweep import Sweep, sweep

if TYPE_CHECKING:
    from backtest.book_result import BookResult
    from backtest.causality import CausalityCheck, check_causality
    from backtest.forward import WalkForward, walk_forward
    from backtest.luck import Luck
    from backtest.purged import Combinatorial, combinatorial
    from backtest.report.plots import (
        plot_attribution,
        plot_drawdown,
        plot_equity,
        plot_exposure,
        plot_heatmap,
        plot_premium,
        plot_term_structure,
    )
    from backtest.result import Result
    from backtest.simulate import run
    from backtest.study import Search, search


__all__ = [
    "SIGNALS", "BasisGap", "Book", "BookResult", "CarryError", "Cascade", "CausalityCheck", "Combinatorial", "Comparison", "Crowding",
    "CrowdingFilter", "DataError", "Deleveraging", "EventFilter", "Execution", "Filter", "FundingFlip", "FundingWindow", "Leg",
    "LeverageFilter", "LiquiditySizer", "Luck", "Margin", "Market", "OpenInterestFilter", "Outage", "Overview", "ParameterError",
    "PercentileSizer", "Quadrant", "Range", "Reason", "Recall", "Regime", "RegimeFilter", "Result", "Rule", "Scenario", "Search", "Shape", "Sides",
    "Sizer", "SlowTransfers", "Spreads", "StorageError", "Strategy", "StressTest", "Sweep", "VolatilitySizer", "VolumeDeltaFilter", "WalkForward",
    "Weighting", "WorstCase", "__version__", "annualized_funding", "annualized_premium", "basket_contributions", "basket_weights", "between",
    "break_even_premium", "breakout", "by_regime", "change", "check_causality", "combinatorial", "compare", "constant_maturity", "contango",
    "crossing", "crowding", "cumulative_volume_delta", "current_funding", "days_to_expiry", "depth", "financing_rate",
    "futures_vs_perpetual", "hysteresis", "illiquidity", "leverage_divergence", "leverage_ratio", "load_market", "long_short_ratio",
    "macro_trend", "main", "moving_average", "near_event", "near_expiry", "net_carry", "on", "open_interest", "overview", "pairs",
    "param", "percentile", "plot_attribution", "plot_drawdown", "plot_equity", "plot_exposure", "plot_heatmap", "plot_premium", "plot_term_structure", "premium", "premium_indicator", "quadrant", "realised_volatility", "regime", "regime_reason",
    "relative_volume", "run", "search", "signal", "size_by_liquidity", "size_by_percentile", "size_by_volatility", "speed", "spot_lead",
    "spread", "stay_carry", "stress", "sweep", "term_curvature", "term_shape", "term_slope", "traded", "traded_volume", "trend_slope",
    "trend_t", "venue_closed", "volume_delta", "walk_forward", "zscore",
]  # fmt: skip
_COMPILED = {
    "BookResult": "backtest.book_result",
    "CausalityCheck": "backtest.causality",
    "Combinatorial": "backtest.purged",
    "Luck": "backtest.luck",
    "Result": "backtest.result",
    "Search": "backtest.study",
    "WalkForward": "backtest.forward",
    "check_causality": "backtest.causality",
    "combinatorial": "backtest.purged",
    **dict.fromkeys(
        ("plot_attribution", "plot_drawdown", "plot_equity", "plot_exposure", "plot_heatmap", "plot_premium", "plot_term_structure"),
        "backtest.report.plots",
    ),
    "run": "backtest.simulate",
    "search": "backtest.study",
    "walk_forward": "backtest.forward",
}  # imported when first used: numba takes a third of a second


if "pdoc" in sys.modules:  # it shows what stands in the module, and asks for nothing
    globals().update({name: getattr(import_module(module), name) for name, module in _COMPILED.items()})


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name in _COMPILED:
        return getattr(import_module(_COMPILED[name]), name)
    raise AttributeError(f"module 'backtest' has no attribute '{name}'")
