"""From vendors' files to a dataset: one interface, one module a vendor, and one way in.

Each source is recognised, taken apart by its vendor's module, checked block by block, put together with what the dataset has, and only then does
the new version take the old one's place; whatever is wrong with any source leaves the dataset as it was.

    report = import_files("auto", ["spot.csv", "funding.json"], "data/mine", Request(symbol="ETHUSDT"))
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import cast

import pandas as pd

from backtest.data.blocks import room_errors
from backtest.data.importers.ahead import ahead
from backtest.data.importers.common import Importer, Part, Request
from backtest.data.importers.records import error_answer
from backtest.data.importers.source import Source, sources_in
from backtest.data.merge import merge_instruments
from backtest.data.store import Dataset, Facts, Update, open_dataset, updating
from backtest.data.validate import in_dataset, refuse, regular_step, show_length, show_time, time_errors
from backtest.errors import DataError, ParameterError, did_you_mean
from backtest.instruments import Instrument

AUTO, TABLE = "auto", "csv"
# each is a module here
VENDORS = (
    "binance", "bitmex", "bybit", "coinbase", "databento", "deribit", "dydx", "fred", "freqtrade", "hyperliquid", "kraken", "okx", "tardis",
    "captures", "aave", "open_interest",
)  # fmt: skip
SOURCES = (AUTO, *VENDORS, TABLE)
LICENCE = "the vendor's terms; not for redistribution"

_NAMED_FILES = 20
_NAMED_IMPORTS = 12
_AFTER = "bars ended after delivery and were cut"
_OLDEST, _NEWEST = pd.Timestamp("2000-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC")


@dataclass(kw_only=True)
class Line:
    """What became of one source: rows kept and cut in one table, and the times of the first and last row kept."""

    source: Source
    target: str
    kept: int = 0
    cut: int = 0
    first: pd.Timestamp | None = None
    last: pd.Timestamp | None = None


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import did: what each source was taken for, what became of it, notes, and the dataset that came out."""

    taken_for: dict[str, str]
    lines: list[Line]
    notes: list[str]
    dataset: Dataset
    changed: bool


def import_files(vendor: str, files: Sequence[str | Path], into: str | Path, request: Request, name: str | None = None) -> ImportReport:
    """Import files, folders, archives or URLs into the dataset in a folder, which is made if it is not there.

    vendor: one of `SOURCES`; with "auto" each source tells by its content whose it is.
    Raises `ParameterError` for an unknown vendor, `DataError` for data that can't be trusted, `StorageError` where nothing can be written;
    in each case what was there stays.
    """
    if vendor == AUTO and request.mapping is not None:
        vendor = TABLE
    if vendor not in SOURCES:
        raise ParameterError(f'unknown source "{vendor}"; {did_you_mean(vendor, list(SOURCES))}')
    groups, taken_for = _recognised(vendor, sources_in(files))
    told = "; ".join(_told(each, sources) for each, sources in groups.items())

    def parts(known: Mapping[str, Instrument]) -> Iterator[Part]:
        for each, sources in groups.items():
            yield from _importer(each).parse(sources, replace(request, known=known))

    return _import(into, parts, told, name, taken_for)


def import_parts(into: str | Path, parts: Iterable[Part], *, source: str, name: str | None = None) -> ImportReport:
    """Import what something else than a file gives, such as a venue's API; raises as `import_files` does."""
    return _import(into, lambda known: iter(parts), source, name, {})


def _import(
    into: str | Path, parts: Callable[[Mapping[str, Instrument]], Iterator[Part]], told: str, name: str | None, taken_for: dict[str, str]
) -> ImportReport:
    with updating(into) as update:
        before = update.before
        if before is not None and before.simulated:
            raise DataError(f"{before.path}: is simulated; real data don't belong into it; import into another folder")
        account = _Account(update, before.instruments.values() if before is not None else [])
        for part in ahead(parts({one.id: one for one in account.instruments})):
            account.take(part)
        account.refuse_nothing(told)
        past = str(before.info["source"]).split("; ")[-_NAMED_IMPORTS:] if before is not None else []
        facts = Facts(
            name=name or (before.name if before is not None else Path(into).resolve().name),
            source="; ".join(dict.fromkeys([*past, told])),
            simulated=False,
            licence=str(before.info.get("licence", LICENCE)) if before is not None else LICENCE,
        )
        digest = update.commit(account.instruments, facts)
    strays = [f"{key}: {count:,} mark, index or other rows stood beside no bar and were left out" for key, count in update.strays.items()]
    changed = before is None or before.hash != digest
    return ImportReport(
        taken_for=taken_for, lines=account.lines, notes=[*account.notes, *strays], dataset=open_dataset(into), changed=changed
    )


class _Account:
    """Checks parts, hands them on, and keeps the account of what was kept."""

    def __init__(self, update: Update, instruments: Iterable[Instrument]) -> None:
        self.update = update
        self.instruments = list(instruments)
        self._lines: dict[tuple[str, str], Line] = {}
        self._cut: dict[str, int] = {}
        self._notes: list[str] = []
        self._after: dict[str, str] = {}
        self._lengths: dict[str, pd.Timedelta] = {}

    @property
    def lines(self) -> list[Line]:
        """One line a source and table."""
        return list(self._lines.values())

    @property
    def notes(self) -> list[str]:
        """What was cut, then what the importers noted, each once."""
        return [*(f"{count:,} {why}" for why, count in self._cut.items()), *dict.fromkeys(self._notes)]

    def refuse_nothing(self, told: str) -> None:
        """Raise `DataError` if no source gave anything, or a contract's source nothing before its delivery."""
        for line in self.lines:
            if not line.kept and line.target in self._after:
                raise DataError(f"{line.source.name}: every bar ends after delivery of {self._after[line.target]}; is it another contract?")
        if not self.lines and not self.instruments:
            raise DataError(f"{told}: has nothing to import; check the files, and --symbol if it was given")

    def take(self, part: Part) -> None:
        """Check one part and add it to the update."""
        self.instruments = merge_instruments(self.instruments, list(part.instruments))
        self._notes += part.notes
        frame, cut = (part.frame, 0) if part.frame is None else self._before_delivery(part, part.frame)
        if part.cut:
            self._cut[part.why_cut] = self._cut.get(part.why_cut, 0) + part.cut
        if frame is None:
            return
        times = pd.DatetimeIndex(frame.index if part.room in ("bars", "funding") else frame["ts"])
        where = part.where or in_dataset(part.key or part.room, times)
        line = self._lines.setdefault((part.source.name, _target(part)), Line(source=part.source, target=_target(part)))
        line.kept += len(frame)
        line.cut += part.cut + cut
        if frame.empty:
            return
        if part.room in ("bars", "funding") or part.instruments:
            refuse(
                f"{where(row)}: time is {show_time(times[row])}; times must lie between 2000 and 2100; is its unit right?"
                for row in _odd(times)
            )
        refuse(room_errors(part.room, frame, where))
        self._refuse_other_length(part, times)
        if part.room in ("bars", "funding", "series") and line.last is not None:
            refuse(time_errors(pd.DatetimeIndex([line.last, times[0]]), lambda row: where(0)))
        line.first = times[0] if line.first is None else min(line.first, times[0])
        line.last = times[-1] if line.last is None else max(line.last, times[-1])
        self.update.add(part.room, part.key, frame)

    def _refuse_other_length(self, part: Part, times: pd.DatetimeIndex) -> None:
        """Raise `DataError` for bars of another length than those that the instrument has."""
        length = regular_step(times)
        if part.room != "bars" or length is None or part.frame is None or "close" not in part.frame:
            return
        known = self._lengths.setdefault(part.key, self._length_before(part.key) or length)
        if max(known, length) >= 2 * min(known, length):
            raise DataError(
                f"{part.source.name}: has bars of {show_length(length)} and {part.key} has bars of {show_length(known)}; an instrument has one "
                "length of bar; import it into another folder"
            )

    def _length_before(self, key: str) -> pd.Timedelta | None:
        before = self.update.before
        if before is None or key not in before.instruments:
            return None
        return next((regular_step(pd.DatetimeIndex(piece.index)) for piece in before.iterate_bars(key, columns=[])), None)

    def _before_delivery(self, part: Part, frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
        """The bars that end at delivery or before, and the number of the others."""
        one = next((one for one in self.instruments if one.id == part.key), None)
        if part.room != "bars" or one is None or one.expires_at is None or frame.empty or frame.index[-1] <= one.expires_at:
            return frame, 0
        refuse(time_errors(pd.DatetimeIndex(frame.index), part.where or in_dataset(one.id, pd.DatetimeIndex(frame.index))))
        kept = frame[frame.index <= one.expires_at]
        self._cut[_AFTER] = self._cut.get(_AFTER, 0) + len(frame) - len(kept)
        self._after[one.id] = f"{one.id} at {show_time(one.expires_at)}"
        return kept, len(frame) - len(kept)


def _odd(times: pd.DatetimeIndex) -> list[int]:
    wrong = (times < _OLDEST) | (times >= _NEWEST)
    return [int(wrong.argmax())] if wrong.any() else []


def _target(part: Part) -> str:
    return {"bars": part.key, "funding": f"{part.key} funding", "series": f"series {part.key}"}.get(part.room, part.room)


def _recognised(vendor: str, sources: Sequence[Source]) -> tuple[dict[str, list[Source]], dict[str, str]]:
    """The sources by vendor, and what each was taken for; raises `DataError` for one that is nobody's, or two vendors'."""
    groups: dict[str, list[Source]] = {}
    taken_for = {}
    asked = list(VENDORS) if vendor == AUTO else [vendor]
    for source in sources:
        claims = {each: what for each in asked if (what := _importer(each).sniff(source))}
        if len(claims) != 1:
            raise DataError(_unclear(source, vendor, claims))
        ((each, taken_for[source.name]),) = claims.items()
        groups.setdefault(each, []).append(source)
    return groups, taken_for


def _unclear(source: Source, vendor: str, claims: Mapping[str, str]) -> str:
    if source.is_page:
        return f"{source.name}: is a web page, not data; download it again"
    if claims:
        return f"{source.name}: could be {' or '.join(claims.values())}; name the vendor, such as carry data import {next(iter(claims))} …"
    if (told := _error_in(source)) is not None:
        return f"{source.name}: is a venue's error answer, not data: {told}; ask for it again"
    whose = "any vendor known here" if vendor == AUTO else vendor
    if not source.header:
        return f"{source.name}: is not a file of {whose}, nor text in UTF-8; leave it out, or unpack or convert it"
    begins = ", ".join(source.header)[:80]
    return f'{source.name}: is not a file of {whose} (it begins with {begins}); leave it out, or use "carry data import csv" with a mapping'


def _error_in(source: Source) -> str | None:
    """What went wrong, if a source is a JSON answer that says so."""
    try:
        return error_answer(json.loads(source.head))
    except ValueError:
        return None


def _importer(vendor: str) -> Importer:
    return cast(Importer, import_module(f"backtest.data.importers.{'table' if vendor == TABLE else vendor}"))


def _told(vendor: str, sources: Sequence[Source]) -> str:
    names = [source.path.name for source in sources]
    more = f" and {len(names) - _NAMED_FILES} more" if len(names) > _NAMED_FILES else ""
    return f"{vendor}: {', '.join(names[:_NAMED_FILES])}{more}"
