"""The term structure at the decision of each entry."""

import pandas as pd

from backtest.market import Market
from backtest.rule import Rule

COLUMNS = ("trade", "time", "contract", "days", "premium", "chosen")


def table(market: Market, rule: Rule, trades: pd.DataFrame) -> pd.DataFrame | None:
    """A row a contract and trade; None without a dated leg."""
    return None
