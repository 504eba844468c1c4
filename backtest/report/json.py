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
    "worst",
    "best",
    "attribution",
)


ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def to_dict(result: Reportable) -> dict[str, Any]:
    """The run as plain dicts, lists, strings, numbers and None, ready for `json.dumps`.

    Beyond the design's keys: `version`, `quote`, `execution` (what was traded and how), `daily`, `baselines` (their `daily` at the times of the run's) and
    `baselines_left_out`, `fills`, `liquidations`, `by_regime` (null where there is none, `regimes_left_out` says why), `sensitivity`, `quality`,
    `reproduce`, `notes`, and for several rules `by_rule` and `reserve` (what no rule has: null if the shares add up to 1; with it the rules add up to the
    whole).
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
        "by_regime": None if result.by_regime is None else records(result.by_regime, "regime"),
        "regimes_left_out": result.regimes_left_out,
        "sensitivity": records(result.sensitivity),
        "quality": records(result.quality, "instrument"),
        "reproduce": result.reproduce,
        "notes": list(result.notes),
    }
    if result.by_rule is not None:
        document["by_rule"] = [{"rule": label} | dict(row) for label, row in result.by_rule.to_dict("index").items()]
        document["reserve"] = reserve(result)
    plain = {key: plain_value(value) for key, value in document.items()}
    return plain | {"trades": records(result.trades[keys]), "fills": records(result.fills), "liquidations": records(result.liquidations)}


def records(table: pd.DataFrame, index: str | None = None) -> list[dict[str, Any]]:
    """The rows of a table in plain values, column by column as that is many times faster; its index comes first under the name that is given."""
    columns = {} if index is None else {index: [str(label) for label in table.index]}
    columns |= {str(name): plain_column(table[name]) for name in table.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def plain_column(column: "pd.Series[Any]") -> list[Any]:
    """What `plain_value` makes of each value."""
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_integer_dtype(column.dtype):
        return column.to_list() if not column.isna().any() else [plain_value(value) for value in column]
    if pd.api.types.is_float_dtype(column.dtype):
        values = column.to_numpy(np.float64)
        return values.tolist() if np.isfinite(values).all() else [value if math.isfinite(value) else None for value in values.tolist()]
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return plain_times(pd.DatetimeIndex(column))
    return [plain_cash(value) if type(value) is dict else value if type(value) is str else plain_value(value) for value in column]


def plain_times(times: pd.DatetimeIndex) -> list[str | None]:
    """Times in UTC with a Z, to the second where all are whole seconds."""
    stamps = times.tz_convert("UTC").tz_localize(None)
    if not (stamps.dropna() == stamps.dropna().floor("s")).all():
        return [plain_value(value) for value in times]
    written = np.datetime_as_string(stamps.to_numpy().astype("datetime64[s]")).tolist()
    return [None if text == "NaT" else f"{text}Z" for text in written]


def plain_cash(sources: dict[str, Any]) -> dict[str, Any]:
    """The cash of a trade's sources; as a rule floats, which need no look at each."""
    values = sources.values()
    if all(isinstance(value, float) for value in values) and math.isfinite(sum(values)):
        return dict(sources)
    return dict(plain_value(sources))


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
    return write_atomically(path, written(to_dict(result)), what="JSON", option="--json")


def written(document: Mapping[str, Any]) -> str:
    """A document as text: a line a key, and of a list of rows a line a row. json's own indentation takes ten times as long."""
    parts = []
    for key, value in document.items():
        rows = isinstance(value, list) and value and isinstance(value[0], dict)
        text = "[\n" + ",\n".join(f"  {ENCODER.encode(row)}" for row in value) + "\n ]" if rows else ENCODER.encode(value)
        parts.append(f" {ENCODER.encode(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


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
