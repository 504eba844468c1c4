"""What `carry data check` finds in a dataset: one row an instrument, what can't be true, what lacks, and what is worth a look.

check = check_dataset(open_dataset("data/mine"))
print(check.problems, check.good)
"""

from dataclasses import dataclass

import pandas as pd

from backtest.data.schema import Tables
from backtest.data.store import Dataset, content_hash
from backtest.data.validate import bar_step, missing_bars, notes, problems, table_errors
from backtest.instruments import Instrument


@dataclass(frozen=True, kw_only=True)
class Row:
    """An instrument's bars in figures; the times are None and the figures 0 where it has none."""

    instrument: Instrument
    first: pd.Timestamp | None = None
    last: pd.Timestamp | None = None
    rows: int = 0
    largest_gap: pd.Timedelta | None = None
    missing: int = 0


@dataclass(frozen=True, kw_only=True)
class Check:
    """The findings: `errors` can't be true, `problems` is what lacks, `notes` is worth a look."""

    dataset: Dataset
    rows: list[Row]
    errors: list[str]
    problems: list[str]
    notes: list[str]

    @property
    def good(self) -> bool:
        """True if nothing was found that a run would stumble over."""
        return not self.errors and not self.problems


def check_dataset(dataset: Dataset) -> Check:
    """Read a whole dataset and say what is wrong with it; raises `DataError` for a file that can't be read."""
    tables = dataset.tables()
    errors = list(table_errors(tables))
    if not errors and (found := content_hash(tables)) != dataset.hash:
        errors.append(
            f"content hash is {found[:12]} and dataset.json says {dataset.hash[:12]}: the files were changed; import the data again"
        )
    rows = [_row(one, tables) for one in dataset.instruments.values()]
    # times out of order make nonsense of gaps, so lacks are told only of data without errors
    lacks, looks = ([], []) if errors else (list(problems(tables)), list(notes(tables)))
    return Check(dataset=dataset, rows=rows, errors=errors, problems=lacks, notes=looks)


def _row(one: Instrument, tables: Tables) -> Row:
    bars = tables.bars.get(one.id)
    if bars is None or bars.empty:
        return Row(instrument=one)
    times = pd.DatetimeIndex(bars.index)
    gap = times.to_series().diff().max() if bar_step(times) else None
    return Row(instrument=one, first=times[0], last=times[-1], rows=len(times), largest_gap=gap, missing=len(missing_bars(times)))
