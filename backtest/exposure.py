"""What a run has at risk at each bar's close."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from backtest.result import Log, Prepared

COLUMNS = ("long_notional", "short_notional", "gross", "net", "margin_use", "distance")


def table(prepared: "Prepared", log: "Log", positions: pd.DataFrame, equity: pd.Series) -> pd.DataFrame:
    """What was at risk at each bar's close."""
    return pd.DataFrame(float("nan"), index=equity.index, columns=list(COLUMNS))


def together(tables: Sequence[pd.DataFrame], equity: pd.Series) -> pd.DataFrame:
    """The same of several rules on one capital."""
    return tables[0]
