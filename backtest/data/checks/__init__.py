"""What `carry data check` finds in a dataset: one row an instrument, what can't be true, what lacks, what is worth a look, and what it can be used for.

check = check_dataset(open_dataset("data/mine"))
print(check.problems, check.good)
for one in check.usable: print(one.strategy, one.legs, one.longest)
"""

from dataclasses import dataclass, field

import pandas as pd

from backtest.data.blocks import block_digest, block_frames
from backtest.data.checks.bars import Seen
from backtest.data.checks.findings import examine
from backtest.data.checks.verdict import Usable, verdict
from backtest.data.checks.words import Finding
from backtest.data.dataset import Dataset
from backtest.data.digest import dataset_hash
from backtest.data.schema import Tables
from backtest.data.store import normal_frame
from backtest.data.validate import table_errors


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A table beside the instruments, such as a series; `delay` is how long after its time half of the values were known."""

    name: str
    first: pd.Timestamp
    last: pd.Timestamp
    rows: int
    delay: pd.Timedelta


@dataclass(frozen=True, kw_only=True)
class Check:
    """The findings: `errors` can't be true, `problems` is what a run would stumble over or be wrong by, `notes` is worth a look.

    `findings` are problems and notes with their rule, instrument and times; `usable` is the verdict.
    """

    dataset: Dataset
    rows: list[Seen]
    beside: list[Beside]
    errors: list[str]
    findings: list[Finding] = field(default_factory=list)
    usable: list[Usable] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What a run would stumble over or be wrong by."""
        return [finding.text for finding in self.findings if finding.grave]

    @property
    def notes(self) -> list[str]:
        """What is worth a look before a result is believed."""
        return [finding.text for finding in self.findings if not finding.grave]

    @property
    def good(self) -> bool:
        """True if nothing was found that a run would stumble over."""
        return not self.errors and not self.problems


def check_dataset(dataset: Dataset) -> Check:
    """Read a whole dataset, an instrument at a time, and say what is wrong with it; raises `DataError` for a file that can't be read."""
    content = _Hashed(dataset)
    seen = examine(content)
    rest = content.rest()
    errors = [*seen.errors, *table_errors(rest)]
    if not errors and (found := content.hash()) != dataset.hash:
        errors.append(
            f"content hash is {found[:12]} and dataset.json says {dataset.hash[:12]}: the files were changed; import the data again"
        )
    rows, beside = list(seen.seen.values()), _beside(rest)
    # times out of order make nonsense of gaps, so lacks are told only of data without errors
    if errors:
        return Check(dataset=dataset, rows=rows, beside=beside, errors=errors)
    return Check(dataset=dataset, rows=rows, beside=beside, errors=errors, findings=seen.findings, usable=verdict(rows, seen.findings))


def _beside(rest: Tables) -> list[Beside]:
    tables = {**{f"series {name}": frame for name, frame in rest.series.items()}, "settlements": rest.settlements, "events": rest.events}
    out = []
    for name, frame in tables.items():
        if len(frame):
            delay = pd.Timedelta((frame["known_at"] - frame["ts"]).median() if "known_at" in frame else 0)
            out.append(Beside(name=name, first=frame["ts"].min(), last=frame["ts"].max(), rows=len(frame), delay=delay))
    return out


class _Hashed:
    """A dataset that is hashed while it is read, so that nothing is read twice or kept."""

    def __init__(self, dataset: Dataset) -> None:
        self.instruments = dataset.instruments
        self._dataset = dataset
        self._digests: dict[str, str] = {}

    def bars(self, instrument: str) -> pd.DataFrame:
        """An instrument's bars."""
        return self._read("bars", instrument, self._dataset.bars(instrument))

    def funding(self, instrument: str) -> pd.DataFrame:
        """An instrument's funding events."""
        return self._read("funding", instrument, self._dataset.funding(instrument))

    def rest(self) -> Tables:
        """All that is not of one instrument."""
        series = {name: self._read("series", name, self._dataset.series(name)) for name in self._dataset.series_names}
        settlements = self._read("settlements", "", self._dataset.settlements())
        events = self._read("events", "", self._dataset.events())
        return Tables(instruments=list(self.instruments.values()), settlements=settlements, series=series, events=events)

    def hash(self) -> str:
        """The content hash of what was read."""
        return dataset_hash(self.instruments, self._digests)

    def _read(self, room: str, key: str, frame: pd.DataFrame) -> pd.DataFrame:
        if len(frame):
            for name, rows in block_frames(room, key, normal_frame(frame, room, key or room)):
                self._digests[name] = block_digest([rows]).digest()
        return frame
