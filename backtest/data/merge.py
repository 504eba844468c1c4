"""Adding rows to rows and facts to facts: new rows come in, equal rows stay, rows that contradict are refused.

Where one side knows a value and the other has NaN, the known one stays. Nothing is ever overwritten, for one of the two sources must be
wrong and only the user can tell which.

    rows = merge_frames(old, new, "ETHUSDT-SPOT bar")
"""

from dataclasses import fields, replace

import numpy as np
import pandas as pd

from backtest.data.validate import show_time
from backtest.errors import DataError
from backtest.instruments import Instrument

_REMEDY = "import one of the two sources into another folder"


def merge_instruments(old: list[Instrument], new: list[Instrument]) -> list[Instrument]:
    """Instruments of both, the facts of each id together; raises `DataError` where two facts contradict.

    A multiplier of 1 contradicts no other: it is also what an instrument has whose contract value is not known.
    """
    merged = {one.id: one for one in old}
    for one in new:
        if (before := merged.get(one.id)) is None:
            merged[one.id] = one
            continue
        changes = {}
        for name in (field.name for field in fields(Instrument)):
            past, now = getattr(before, name), getattr(one, name)
            if name == "multiplier" and 1.0 in (past, now):  # what an instrument has whose contract value nobody looked up
                past, now = (past, None) if now == 1.0 else (None, now)
            if now is not None and past is not None and past != now:
                raise DataError(f"{one.id}: {name} is {past} and {now}; an instrument has one; {_REMEDY}")
            changes[name] = past if now is None else now
        merged[one.id] = replace(before, **changes)
    return list(merged.values())


def merge_frames(old: pd.DataFrame, new: pd.DataFrame, place: str) -> pd.DataFrame:
    """Rows of both frames in order of their index; raises `DataError` where one row has two values."""
    common = old.index.intersection(new.index)
    for name in old.columns.intersection(new.columns):
        past, now = old.loc[common, name], new.loc[common, name]
        differs = np.flatnonzero(((past != now) & past.notna() & now.notna()).to_numpy())
        if len(differs):
            row = int(differs[0])
            label = common[row] if isinstance(common, pd.MultiIndex) else (common[row],)
            key = " ".join(show_time(part) if isinstance(part, pd.Timestamp) else str(part) for part in label)
            more = f" ({len(differs)} such rows)" if len(differs) > 1 else ""
            raise DataError(
                f"{place} at {key}: {name} is {past.iloc[row]} and {now.iloc[row]}; one row can't have two values; {_REMEDY}{more}"
            )
    if len(common) == 0 and list(old.columns) == list(new.columns):
        return pd.concat([old, new]).sort_index()
    return old.combine_first(new)[list(dict.fromkeys([*old.columns, *new.columns]))].sort_index()
