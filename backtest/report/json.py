"""The JSON of a run: what scripts and checks read, with the keys of the design.

Cash is in the quote currency, returns are fractions, prices are the reference prices (before half-spread and impact), times are ISO-8601 in UTC
with a Z. What is not known is null.

    write_json(result, "run.json")
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtest.report.files import write_atomically
from backtest.report.protocol import Reportable
from backtest.report.summary import attribution_table, final_equity

TRADE_KEYS = (
    "entered_at",
    "exited_at",
    "side",
    "contract",
    "quantity",
    "entry_long",
    "entry_short",
    "exit_long",
    "exit_short",
    "settlement_price",
    "entry_premium",
    "exit_premium",
    "reason",
    "pnl",
    "attribution",
)


def to_dict(result: Reportable) -> dict[str, Any]:
    """The run as plain dicts, lists, strings, numbers and None, ready for `json.dumps`.

    Beyond the design's keys: `quote`, `execution` (what was traded and how), `fills`, `liquidations` and `notes`.
    """
    dataset = result.dataset
    document = {
        "strategy": result.strategy,
        "params": result.params,
        "dataset": {"name": dataset.name, "hash": dataset.hash, "simulated": bool(dataset.simulated)},
        "capital": result.capital,
        "quote": result.quote,
        "start": result.start,
        "end": result.end,
        "bars": result.bars,
        "execution": result.rule_text,
        "metrics": result.metrics,
        "attribution": {row.source: row.cash for row in attribution_table(result).rows},
        "final_equity": final_equity(result),
        "trades": [{key: trade[key] for key in TRADE_KEYS} for trade in result.trades.to_dict("records")],
        "fills": result.fills.to_dict("records"),
        "liquidations": result.liquidations.to_dict("records"),
        "notes": list(result.notes),
    }
    return {key: plain_value(value) for key, value in document.items()}


def write_json(result: Reportable, path: str | os.PathLike[str]) -> Path:
    """Write the run's JSON, all of it or nothing. Errors: StorageError if the file can't be written."""
    text = json.dumps(to_dict(result), indent=1, ensure_ascii=False, allow_nan=False)
    return write_atomically(path, text + "\n", what="JSON", option="--json")


def plain_value(value: object) -> Any:
    """One value as JSON knows it: NaN, NaT and infinities are None, numpy's numbers are Python's, times are text ending in Z."""
    if value is None or value is pd.NaT or value is pd.NA or isinstance(value, bool):
        return value if isinstance(value, bool) else None
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray | pd.Series):
        return [plain_value(item) for item in value]
    if isinstance(value, np.generic):
        return plain_value(value.item())
    if isinstance(value, int | float):
        return value if math.isfinite(value) else None
    if isinstance(value, pd.Timestamp):
        return value.tz_convert("UTC").isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat() + "Z"
    return str(value)
