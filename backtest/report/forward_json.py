"""A walk-forward and combinatorial paths as JSON: what was promised, what came of it, window by window, and the odds of luck.

write_forward_json(bt.walk_forward(FundingCarry, market, enter=[0.05, 0.1]), "forward.json")
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from backtest.forward import WalkForward
from backtest.report.files import write_atomically
from backtest.report.json import plain_value


def write_forward_json(forward: WalkForward, path: str | os.PathLike[str]) -> Path:
    """Write the document of `forward_document`. Errors: StorageError if the file can't be written."""
    document = json.dumps(forward_document(forward), indent=1, ensure_ascii=False, allow_nan=False)
    return write_atomically(path, document + "\n", what="JSON", option="--json")


def forward_document(forward: WalkForward) -> dict[str, Any]:
    """A walk-forward in plain values; what is unknown is None."""
    windows = [
        {"window": window, **row, "parameters": chosen, "statistics_in_sample": inside, "statistics_out_of_sample": outside}
        for window, row, chosen, inside, outside in zip(
            forward.windows.index.tolist(),
            *(table.to_dict("records") for table in (forward.windows, forward.chosen, forward.in_sample, forward.out_of_sample)),
            strict=True,
        )
    ]
    document = {
        "strategy": forward.strategy,
        "by": forward.by,
        "train": days(forward.train),
        "test": days(forward.test),
        "embargo": days(forward.embargo),
        "expanding": forward.expanding,
        "varied": {name: values if isinstance(values, list) else str(values) for name, values in forward.varied.items()},
        "fixed": dict(forward.fixed),
        "combinations": len(forward.combinations),
        "trials": forward.trials,
        "dataset": {"name": forward.dataset.name, "hash": forward.dataset.hash, "simulated": forward.dataset.simulated},
        "capital": forward.capital,
        "quote": forward.quote,
        "statistics": forward.statistics.to_dict("index"),
        "efficiency": forward.efficiency,
        "rank_correlation": forward.rank_correlation,
        "luck": asdict(forward.luck),
        "windows": windows,
        "equity": [[time, value] for time, value in forward.equity.items()],
        "hindsight": [[time, value] for time, value in forward.hindsight.items()],
        "notes": list(forward.notes),
    }
    plain: dict[str, Any] = plain_value(document)
    return plain


def days(length: pd.Timedelta) -> float:
    """A length of time in days."""
    return float(length / pd.Timedelta(days=1))
