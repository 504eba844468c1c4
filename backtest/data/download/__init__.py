"""Downloads: a venue's history into a dataset, through its API or from Binance's bulk archive.

Only what the dataset lacks is asked for, in pieces that are committed whole, so a download that is cut off at any moment leaves a whole
dataset and the same command goes on from there, to the same content.

    wanted = Wanted(venue="binance", symbol="ETHUSDT", start=utc("2024-01-01"), end=pd.Timestamp.now("UTC"))
    report = download(wanted, "data/eth")
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from backtest.data.download.api import SERIES, Filler, as_known
from backtest.data.download.bulk import ArchiveFile, archive_files, bring
from backtest.data.download.exchange import connect
from backtest.data.download.http import DownloadError, Patience
from backtest.data.download.progress import Progress, shown
from backtest.data.download.spans import bar_spans, event_spans
from backtest.data.download.wanted import SETTLING, VENUES, WHAT, Wanted
from backtest.data.importers import Line as Imported
from backtest.data.importers import import_files, import_parts
from backtest.data.importers.common import Part, Request
from backtest.data.place import local_folder
from backtest.data.store import Dataset, open_dataset
from backtest.errors import DataError

__all__ = ["VENUES", "WHAT", "DownloadError", "DownloadReport", "Line", "Patience", "Wanted", "download"]

_METRICS_STEP = pd.Timedelta(5, "min")
CACHE = ".downloads"  # the archive's files lie in a folder beside the dataset, of its name and this


@dataclass(frozen=True, kw_only=True)
class Line:
    """Rows that one table got, and the times of the first and last of them."""

    target: str
    rows: int
    first: pd.Timestamp | None
    last: pd.Timestamp | None


@dataclass(frozen=True, kw_only=True)
class DownloadReport:
    """What came, one line a table; notes on what did not; and the dataset."""

    lines: list[Line]
    notes: list[str]
    dataset: Dataset


def download(wanted: Wanted, into: str | Path, name: str | None = None, patience: Patience | None = None) -> DownloadReport:
    """Add to the dataset in a folder, which is made if it is not there, what is wanted and missing from it.

    Raises `ParameterError` for what the venue does not have, `DownloadError` where the server stays unwilling, `DataError` for data that can't
    be trusted; what was committed before stays.
    """
    patience = patience or Patience()
    now = pd.Timestamp.now("UTC").as_unit("ns") - SETTLING
    wanted = replace(wanted, end=min(wanted.end, now))
    with shown(wanted.symbol, "B" if wanted.archive else "page") as progress:
        lines, notes = (_from_archive if wanted.archive else _from_api)(wanted, _Into(into, name), patience, progress)
    dataset = _present(into)
    if dataset is None:
        place = "the archive" if wanted.archive else wanted.venue
        raise DataError(
            f"{wanted.symbol}: {place} has nothing of it between {wanted.start:%Y-%m-%d} and {wanted.end:%Y-%m-%d}; check symbol and dates"
        )
    return DownloadReport(lines=lines, notes=notes, dataset=dataset)


@dataclass(frozen=True)
class _Into:
    """The dataset that is added to."""

    path: str | Path
    name: str | None

    @property
    def present(self) -> Dataset | None:
        return _present(self.path)

    def commit(self, part: Part, source: str) -> list[Imported]:
        return import_parts(self.path, [part], source=source, name=self.name).lines


def _present(into: str | Path) -> Dataset | None:
    folder = local_folder(into)
    aside = folder.parent / f".{folder.name}.old"
    return open_dataset(into) if (folder / "dataset.json").exists() or aside.exists() else None


def _by_table(lines: Iterable[Imported]) -> list[Line]:
    """One line a table, in order of their first."""
    tables: dict[str, list[Imported]] = {}
    for line in lines:
        tables.setdefault(line.target, []).append(line)
    return [
        Line(
            target=target,
            rows=sum(line.kept for line in each),
            first=min((line.first for line in each if line.first is not None), default=None),
            last=max((line.last for line in each if line.last is not None), default=None),
        )
        for target, each in tables.items()
    ]


# --- through the API ---------------------------------------------------------------------------------------


def _from_api(wanted: Wanted, into: _Into, patience: Patience, progress: Progress) -> tuple[list[Line], list[str]]:
    exchange = connect(wanted.rules, patience)
    exchange.refuse_bar(wanted.bar)
    lines: list[Line] = []
    notes: list[str] = []
    for market in exchange.markets(wanted.symbol, wanted.futures):
        filler = Filler(exchange=exchange, market=as_known(market, into.present), wanted=wanted, progress=progress)
        came = [line for part in _pieces(filler, into) for line in into.commit(part, f"{wanted.venue} API")]
        lines += _by_table(came)
        if not came:
            notes.append(f"{market.instrument.id}: nothing new between {wanted.start:%Y-%m-%d} and {wanted.end:%Y-%m-%d}")
        notes += filler.notes
    return lines, notes


def _pieces(filler: Filler, into: _Into) -> Iterator[Part]:
    """What the dataset lacks, piece by piece; each is committed before the next is asked for."""
    for window in filler.chunks(into.present):
        if (part := filler.bars(window, into.present)) is not None:
            yield part
    for what in SERIES:
        yield from filler.series(what, into.present)
    yield from filler.funding(into.present)


# --- from the archive --------------------------------------------------------------------------------------


def _from_archive(wanted: Wanted, into: _Into, patience: Patience, progress: Progress) -> tuple[list[Line], list[str]]:
    folder = local_folder(into.path)
    cache = folder.parent / f"{folder.name}{CACHE}"
    now = pd.Timestamp.now("UTC")
    files = [file for file in archive_files(wanted, now) if _lacks(into.present, file, wanted.step)]
    here = [path for file in files for path in bring(file, cache, patience, progress, now)]
    if not here:
        return [], [f"{wanted.symbol}: nothing new in the archive between {wanted.start:%Y-%m-%d} and {wanted.end:%Y-%m-%d}"]
    report = import_files("binance", [str(path) for path in here], into.path, Request(), into.name)
    return _by_table(report.lines), report.notes


def _lacks(dataset: Dataset | None, file: ArchiveFile, step: pd.Timedelta) -> bool:
    """Whether the dataset misses something that a file covers."""
    if dataset is None or (file.id not in dataset.instruments):
        return True
    if file.what == "funding":
        funding = dataset.funding(file.id)
        hours = funding["interval_hours"].to_numpy()
        spans = event_spans(pd.DatetimeIndex(funding.index), hours, *file.span)
        return any(last - first >= pd.Timedelta(8, "h") for first, last in spans)
    if series := {"premium": f"{file.id}.premium_index", "metrics": f"{file.id}.open_interest"}.get(file.what):
        known = pd.DatetimeIndex(dataset.series(series)["ts"] if series in dataset.series_names else [], tz="UTC")
        return bool(bar_spans(known, *file.span, _METRICS_STEP if file.what == "metrics" else step))
    column = {"klines": "close"}.get(file.what, file.what)
    bars = dataset.bars(file.id, *file.span)
    stamps = bars.index[bars[column].notna()] if column in bars else bars.index[:0]
    return bool(bar_spans(pd.DatetimeIndex(stamps), *file.span, step))
