"""Rows in canonical form that several importers make: series out of a column, how long bars are, and the intervals of funding events.

yield column_series(table, "risk_free", table.times("DATE"), table.numbers("DTB3") / 100)
"""

from typing import Any

import numpy as np
import pandas as pd

from backtest.data.importers.common import Csv, Part
from backtest.data.validate import bar_step
from backtest.errors import DataError

_USUAL_HOURS = 8.0  # of most venues, and the longest interval of any


def column_series(
    table: Csv, key: str, times: pd.DatetimeIndex, values: np.ndarray, known_at: pd.DatetimeIndex | None = None, **more: Any
) -> Part:
    """A column as a series, known at its own time unless that is said; rows without a value (NaN) are left out and counted."""
    present = ~np.isnan(values)
    rows = np.flatnonzero(present)
    known_at = times if known_at is None else known_at
    return Part(
        source=table.source,
        room="series",
        key=key,
        frame=pd.DataFrame({"ts": times[present], "known_at": known_at[present], "value": values[present]}),
        where=lambda row: table.where(int(rows[row])),
        cut=len(values) - len(rows),
        **more,
    )


def row_length(table: Csv, starts: pd.DatetimeIndex) -> pd.Timedelta:
    """How long each row covers, by the usual distance of their starts; raises `DataError` for a single row."""
    step = bar_step(starts)
    if step is None:
        raise DataError(
            f'{table.where(0)}: one row does not tell how long it covers; add rows, or use "carry data import csv" with a mapping'
        )
    return step


def interval_hours(times: pd.DatetimeIndex) -> np.ndarray:
    """Hours from each funding event to the nearer of its neighbours, at most eight: a hole is not a longer interval. `times` are sorted."""
    apart = np.diff(times.as_unit("ns").asi8) / 3.6e12
    return np.asarray(np.fmin(np.fmin(np.append(np.nan, apart), np.append(apart, np.nan)), _USUAL_HOURS))
