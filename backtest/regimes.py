"""What a run made in each regime of its market."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from backtest.market import Market
from backtest.rule import Rule

COLUMNS = ("time", "bars", "held", "pnl", "annual_return", "trades", "won", "trade_pnl")


@dataclass(frozen=True, eq=False)
class Regimes:
    """The table, or why there is none."""

    table: pd.DataFrame | None
    left_out: str = ""


def regimes_of(
    market: Market, rules: Sequence[Rule], equity: pd.Series, capital: float, positions: pd.DataFrame, trades: pd.DataFrame
) -> Regimes:
    """A row a regime."""
    return Regimes(None, "not built")
