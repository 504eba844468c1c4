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

from backtest._version import __version__
from backtest.metrics import daily_equity
from backtest.report.files import write_atomically
from backtest.report.protocol import Reportable
from backtest.report.summary import attribution_table, final_equity, reserve, several_rules

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

    Beyond the design's keys: `version`, `quote`, `execution` (what was traded and how), `daily`, `baselines` (their `daily` at the times of the run's) and
    `baselines_left_out`, `fills`, `liquidations`, `notes`, and for several rules `by_rule` and `reserve` (what no
    rule has: null if the shares add up to 1; with it the rules add up to the whole).
    """
    dataset = result.dataset
    keys = (["rule"] if several_rules(result.trades) else []) + list(TRADE_KEYS)
    document = {
        "version": __version__,
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
        "daily": daily(result),
        "baselines": baselines(result),
        "baselines_left_out": result.baselines_left_out,
        "trades": [{key: trade[key] for key in keys} for trade in result.trades.to_dict("records")],
        "fills": result.fills.to_dict("records"),
        "liquidations": result.liquidations.to_dict("records"),
        "notes": list(result.notes),
    }
    if result.by_rule is not None:
        document["by_rule"] = [{"rule": label} | dict(row) for label, row in result.by_rule.to_dict("index").items()]
        document["reserve"] = reserve(result)
    return {key: plain_value(value) for key, value in document.items()}


def daily(result: Reportable) -> dict[str, Any]:
    """Equity and the cumulated cash of each source that ever flowed, at the start and at each midnight UTC."""
    equity = daily_equity(result.equity, result.start, result.capital)
    ledger = result.attribution
    flowed = [name for name in ledger.columns if ledger[name].to_numpy().any()]
    return {
        "time": list(equity.index),
        "equity": equity.tolist(),
        "attribution": {str(name): daily_equity(ledger[name], result.start, 0.0).tolist() for name in flowed},
    }


def baselines(result: Reportable) -> list[dict[str, Any]]:
    """What the same capital would have made otherwise, with its equity at the times of `daily`."""
    rows = result.baselines.to_dict("index")
    return [
        {"name": name, **{str(key): value for key, value in row.items()}, "daily": result.baseline_curves[name].tolist()}
        for name, row in rows.items()
    ]


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
