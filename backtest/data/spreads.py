"""How wide the spreads of a dataset's legs are and how much rests in their books: what slippage settings come from.

A leg is measured by what the dataset has of it: the mean spread over each bar (column `spread`), the quotes at the bar's end (`bid`, `ask`), or
summaries of its book as series (`ETHUSD-PERP.hyperliquid.spread`, a fraction, and `.depth_50bps`). Bars count alike, so these are distributions
over *time*. A spread that is wide only while the market jumps weighs little in them, though that is when most orders meet it: counted by update
of the quotes instead, the p95 of the same minutes can be eight times as wide.

    found = measure_spreads(open_dataset("data/mine"))
    found.half_spreads["ETHUSDT-SPOT"].quantile(0.95)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.data.dataset import Dataset
from backtest.data.parquet import utc
from backtest.data.validate import show_time
from backtest.errors import DataError

Floats = npt.NDArray[np.float64]

QUANTILES = {"p5": 0.05, "p50": 0.5, "p95": 0.95, "p99": 0.99}
DEPTHS = {"depth_10bps": "10 bps", "depth_50bps": "50 bps"}
SERIES = "series"

_COLUMNS = ("bid", "ask", "spread", *DEPTHS)
# how a leg's spread was measured, the better ones first
_SPREADS = ("mean of the bar", SERIES, "end of the bar")


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One measure of one leg: its known values in ascending order, out of `rows`."""

    leg: str
    measure: str
    rows: int
    values: Floats

    @property
    def known(self) -> float:
        """The share of rows whose value is known."""
        return len(self.values) / self.rows

    def quantile(self, share: float) -> float:
        """The value that this share of the known ones does not exceed, between two neighbours in proportion."""
        return float(np.quantile(self.values, share))

    @cached_property
    def summary(self) -> dict[str, float]:
        """Quantiles and mean by name."""
        return {name: self.quantile(share) for name, share in QUANTILES.items()} | {"mean": float(self.values.mean())}


@dataclass(frozen=True, kw_only=True, eq=False)
class Spreads:
    """Spreads (fractions of the mid) and depths (quote currency) of the legs of a dataset."""

    dataset: Dataset
    spreads: list[Sample]
    depths: list[Sample]

    @property
    def half_spreads(self) -> dict[str, Sample]:
        """Half of each leg's spread by its best measure: what an order pays that the best level fills, as in `Execution.half_spread`."""
        best: dict[str, Sample] = {}
        for sample in sorted(self.spreads, key=lambda sample: _SPREADS.index(sample.measure)):
            half = Sample(leg=sample.leg, measure=sample.measure, rows=sample.rows, values=sample.values / 2.0)
            best.setdefault(sample.leg, half)
        return dict(sorted(best.items()))

    def to_dict(self) -> dict[str, Any]:
        """All figures for machines; spreads as fractions, depths in quote currency."""
        rows = {
            name: [{"leg": one.leg, "measure": one.measure, "rows": one.rows, "known": len(one.values), **one.summary} for one in samples]
            for name, samples in (("spread", self.spreads), ("depth", self.depths))
        }
        half = {leg: {"median": one.quantile(0.5), "p95": one.quantile(0.95)} for leg, one in self.half_spreads.items()}
        facts = {"name": self.dataset.name, "hash": self.dataset.hash, "simulated": self.dataset.simulated}
        return {"dataset": facts, **rows, "half_spread": half}


def measure_spreads(dataset: Dataset, start: pd.Timestamp | str | None = None, end: pd.Timestamp | str | None = None) -> Spreads:
    """The spreads and depths of every leg of a dataset with start < ts <= end; raises `DataError` if no leg has any there."""
    span = (None if start is None else utc(start), None if end is None else utc(end))
    samples = [
        *(sample for leg in dataset.instruments for sample in _of_bars(dataset, leg, span)),
        *(sample for name in dataset.series_names for sample in _of_series(dataset, name, span)),
    ]
    if not samples:
        bounds = [(text, time) for text, time in zip(("after", "up to"), span, strict=True) if time is not None]
        within = "".join(f" {text} {show_time(time)}" for text, time in bounds)
        raise DataError(
            f"{dataset.path}: no leg has a spread or depth{within}; they need bid and ask beside the bars, which captures and vendors' quotes give"
        )
    order = {measure: number for number, measure in enumerate((*_SPREADS, *DEPTHS.values()))}
    samples.sort(key=lambda sample: (sample.leg, order[sample.measure]))
    return Spreads(
        dataset=dataset,
        spreads=[sample for sample in samples if sample.measure in _SPREADS],
        depths=[sample for sample in samples if sample.measure in DEPTHS.values()],
    )


Span = tuple[pd.Timestamp | None, pd.Timestamp | None]


def _of_bars(dataset: Dataset, leg: str, span: Span) -> Iterator[Sample]:
    gathered: dict[str, list[Floats]] = {"mean of the bar": [], "end of the bar": [], **{within: [] for within in DEPTHS.values()}}
    rows = 0
    for piece in dataset.iterate_bars(leg, *span, columns=_COLUMNS):
        rows += len(piece)
        if {"bid", "ask"} <= set(piece.columns):
            bid, ask = piece["bid"].to_numpy(), piece["ask"].to_numpy()
            gathered["end of the bar"].append(2.0 * (ask - bid) / (ask + bid))
        for column, measure in (("spread", "mean of the bar"), *DEPTHS.items()):
            if column in piece.columns:
                gathered[measure].append(piece[column].to_numpy())
    for measure, parts in gathered.items():
        yield from _sample(leg, measure, rows, np.concatenate(parts) if parts else np.empty(0))


def _of_series(dataset: Dataset, name: str, span: Span) -> Iterator[Sample]:
    leg, _, what = name.rpartition(".")
    if not leg or what not in ("spread", *DEPTHS):
        return
    series = dataset.series(name)
    times = pd.DatetimeIndex(series["ts"])
    inside = np.ones(len(times), dtype=bool)
    if span[0] is not None:
        inside &= np.asarray(times > span[0])
    if span[1] is not None:
        inside &= np.asarray(times <= span[1])
    yield from _sample(leg, DEPTHS.get(what, SERIES), int(inside.sum()), series["value"].to_numpy(dtype=np.float64)[inside])


def _sample(leg: str, measure: str, rows: int, values: Floats) -> Iterator[Sample]:
    """The sample of what is known, if anything is."""
    known = np.sort(values[~np.isnan(values)])
    if len(known):
        yield Sample(leg=leg, measure=measure, rows=rows, values=known)
