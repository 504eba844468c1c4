"""carry-backtest: backtests of carry strategies on the futures premium, with every cent of PnL explained.

import backtest as bt

market = bt.load_market("data/sample")
result = bt.run(strategy, market)
print(result)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from backtest._version import __version__
from backtest.curve import annualized_premium, days_to_expiry, pairs, premium
from backtest.errors import CarryError, DataError, ParameterError, StorageError
from backtest.load import load_market
from backtest.market import Market
from backtest.rule import Execution, Leg, Margin, Rule, Sides, param
from backtest.signals import annualized_funding, financing_rate, net_carry, stay_carry
from backtest.strategy import Strategy, main

if TYPE_CHECKING:
    from backtest.result import Result
    from backtest.simulate import run


__all__ = [
    "CarryError",
    "DataError",
    "Execution",
    "Leg",
    "Margin",
    "Market",
    "ParameterError",
    "Result",
    "Rule",
    "Sides",
    "StorageError",
    "Strategy",
    "__version__",
    "annualized_funding",
    "annualized_premium",
    "days_to_expiry",
    "financing_rate",
    "load_market",
    "main",
    "net_carry",
    "pairs",
    "param",
    "premium",
    "run",
    "stay_carry",
]  # fmt: skip
_COMPILED = {"run": "backtest.simulate", "Result": "backtest.result"}  # imported when first used: numba takes a third of a second


def __getattr__(name: str) -> Any:
    if name in _COMPILED:
        return getattr(import_module(_COMPILED[name]), name)
    raise AttributeError(f"module 'backtest' has no attribute '{name}'")
