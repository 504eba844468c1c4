"""What the data of a run's instruments hold, and what they lack."""

from collections.abc import Sequence

import pandas as pd

from backtest.market import Market
from backtest.rule import Rule

COLUMNS = ("kind", "start", "end", "bars", "expected", "longest_hole", "stale", "payments", "missing_payments", "quoted", "marked")


def table(market: Market, rules: Sequence[Rule]) -> pd.DataFrame:
    """A row an instrument."""
    return pd.DataFrame(columns=list(COLUMNS))
