"""Databento's CSV exports of CME's crypto futures: `ohlcv` bars of every length, and the files that come with a download.

A row is stamped with the start of its bar in UTC, prices are decimal or whole numbers of 1e-9, volumes are contracts (here base units). A
symbol such as `METZ1` has one digit for its year, told by the date of the row; one with a dash is a spread between two contracts and is left
out. `symbology.json` gives the symbols of a file without them, `manifest.json` its checksum, `condition.json` the days that lack data.

A day's bar closes with the last trade of the UTC day. CME trades from Sunday 17:00 to Friday 16:00 Chicago time with an hour's break, so
that is 24:00 UTC on Sunday to Thursday and 21:00 or 22:00 UTC on Friday: a bar is stamped with the moment its close was known, and no join
with a midnight price is possible where the market was shut. Where a holiday ends trading earlier, the usual close is the stamp: late, never
early.

    parts = parse(sources_in(["GLBX-20260214/"]), Request())
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from backtest.data.importers.common import Csv, Part, Request, csv_blocks
from backtest.data.importers.databento_contracts import MONTHS, closes_of_days, future
from backtest.data.importers.record_parts import wanted
from backtest.data.importers.source import Source
from backtest.data.schema import PRICES
from backtest.data.validate import show_time
from backtest.errors import DataError
from backtest.instruments import Instrument

BARS, SYMBOLOGY, METADATA, MANIFEST, CONDITION = (
    "Databento OHLCV bars",
    "Databento symbology",
    "Databento job metadata",
    "Databento manifest",
    "Databento data conditions",
)

_COLUMNS = {"ts_event", "rtype", "instrument_id", *PRICES, "volume"}
_LENGTHS = {"32": "1s", "33": "1min", "34": "1h", "35": "1D"}
# what a JSON file of theirs is, by the keys that stand near its beginning
_KEYS = {
    SYMBOLOGY: ('"result"', '"d0"', '"d1"'),
    MANIFEST: ('"job_id"', '"files"', '"hash"'),
    METADATA: ('"schema"', '"stype_in"', '"dataset"'),
    CONDITION: ('"condition"', '"last_modified_date"'),
}
_OUTRIGHT = re.compile(rf"([A-Z0-9]+?)([{MONTHS}])(\d\d?)")
_SHOWN_DAYS = 5
_OLDEST, _NEWEST = pd.Timestamp("2000-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC")


def sniff(source: Source) -> str | None:
    """Tell the kinds of Databento's files; None for a file of someone else."""
    if set(source.header) >= _COLUMNS:
        return BARS
    text = source.text_head
    if text.lstrip()[:1] in ("{", "["):
        return next((kind for kind, keys in _KEYS.items() if all(key in text for key in keys)), None)
    return None


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """Bars of outright contracts; raises `DataError` for what is damaged, of another product, or can't be told apart."""
    kinds: dict[str | None, list[Source]] = {}
    for source in sources:
        kinds.setdefault(sniff(source), []).append(source)
    symbols = _Symbols([_json(source, dict) for source in kinds.get(SYMBOLOGY, [])])
    for source in kinds.get(MANIFEST, []):
        yield Part(source=source, notes=_checked(source, sources))
    for source in kinds.get(CONDITION, []):
        yield Part(source=source, notes=_conditions(source))
    for source in kinds.get(METADATA, []):
        yield Part(source=source, notes=[_job(source)])
    for source in kinds.get(SYMBOLOGY, []):
        yield _contracts(source, request, alone=BARS not in kinds)
    for source in kinds.get(BARS, []):
        for table in csv_blocks(source):
            yield from _bars(table, symbols, request)


def _bars(table: Csv, symbols: "_Symbols", request: Request) -> Iterator[Part]:
    """The rows of one block, a part for each contract, and with the first the count of rows that are spreads."""
    starts = table.times("ts_event")
    names = np.array(table.text("symbol") if "symbol" in table.columns else symbols.of(table, starts), dtype=object)
    ends = _ends(table, starts)
    columns = {name: _prices(table, name) for name in PRICES}
    volume = table.numbers("volume")
    outright = np.array(["-" not in name and ":" not in name for name in names], dtype=bool)
    spreads = int((~outright).sum())
    why = "rows are of spreads between contracts, which are prices of neither, and were left out"
    if not outright.any():
        yield Part(source=table.source, notes=[f"{table.source.name}: {spreads:,} {why}"])
    years = np.asarray(starts.year)
    for name, year in dict.fromkeys(zip(names[outright], years[outright], strict=True)):
        rows = np.flatnonzero((names == name) & (years == year))
        one = _contract(name, int(year), table.where(int(rows[0])))
        if not wanted(name, one, request):
            continue
        index = ends[rows]
        if one.expires_at is not None:
            traded = np.asarray(starts[rows] < one.expires_at)
            index = pd.DatetimeIndex(np.where(traded, np.minimum(index.asi8, one.expires_at.value), index.asi8), tz="UTC")
        frame = pd.DataFrame({key: values[rows] for key, values in columns.items()}, index=index.rename("ts"))
        frame["volume"] = volume[rows] * one.multiplier
        yield Part(
            source=table.source,
            room="bars",
            key=one.id,
            frame=frame,
            where=lambda row, rows=rows: table.where(int(rows[row])),
            instruments=[one],
            cut=spreads,
            why_cut=why,
        )
        spreads = 0


def _ends(table: Csv, starts: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """When each bar's close was known."""
    kinds = table.text("rtype")
    wrong = next((row for row, kind in enumerate(kinds) if kind not in _LENGTHS or kind != kinds[0]), None)
    if wrong is not None:
        known = ", ".join(f"{kind} ({length})" for kind, length in _LENGTHS.items())
        raise DataError(f"{table.where(wrong)}: rtype is {kinds[wrong]}; a file has bars of one length, {known}; export one schema a file")
    length = pd.Timedelta(_LENGTHS[kinds[0]])
    if length < pd.Timedelta("1D"):
        return starts + length
    odd = np.flatnonzero(np.asarray(starts != starts.normalize()))
    if len(odd):
        row = int(odd[0])
        raise DataError(f"{table.where(row)}: ts_event is {show_time(starts[row])}; a day's bar starts at 00:00 UTC; correct the row")
    strange = np.flatnonzero((starts < _OLDEST) | (starts >= _NEWEST))
    if len(strange):
        row = int(strange[0])
        raise DataError(
            f"{table.where(row)}: ts_event is {show_time(starts[row])}; times must lie between 2000 and 2100; is its unit right?"
        )
    days, which = np.unique(starts.asi8, return_inverse=True)
    try:
        return closes_of_days(pd.DatetimeIndex(days, tz="UTC"))[which]
    except DataError as error:
        raise DataError(f"{table.source.name}: {error}") from error


def _prices(table: Csv, name: str) -> np.ndarray:
    """A column of prices: decimals, or whole numbers of 1e-9 throughout."""
    decimal = np.array(["." in text for text in table.text(name)], dtype=bool)
    values = table.numbers(name)
    if decimal.all():
        return values
    if decimal.any():
        row = int(np.flatnonzero(decimal != decimal[0])[0])
        raise DataError(
            f'{table.where(row)}: {name} is "{table.text(name)[row]}" in a file whose first row is "{table.text(name)[0]}"; '
            "prices are decimal or whole numbers of 1e-9, one of them a file; export it again"
        )
    return values * 1e-9


def _contract(symbol: str, year: int, place: str) -> Instrument:
    """The contract that has a bar in `year`: of the year that ends in its digit, from four before to five after."""
    found = _OUTRIGHT.fullmatch(symbol)
    if found is None:
        raise DataError(f'{place}: symbol is "{symbol}", not a contract such as METZ1 (product, month, year); correct or remove it')
    product, month, digits = found.groups()
    earliest = year - 4
    delivered = 2000 + int(digits) if len(digits) == 2 else earliest + (int(digits) - earliest) % 10
    try:
        return future(product, MONTHS.index(month) + 1, delivered)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


# --- the files beside the bars -----------------------------------------------------------------------------


class _Symbols:
    """Which symbol an instrument's number stood for on a day; CME uses numbers again."""

    def __init__(self, files: Sequence[Mapping[str, Any]]) -> None:
        self.spans: dict[str, list[tuple[str, str, str]]] = {}
        for content in files:
            for symbol, spans in content["result"].items():
                for span in spans:
                    self.spans.setdefault(str(span["s"]), []).append((span["d0"], span["d1"], symbol))

    def of(self, table: Csv, starts: pd.DatetimeIndex) -> list[str]:
        """The symbols of the rows of a file without them."""
        days = starts.strftime("%Y-%m-%d")
        return [self._one(number, day, table, row) for row, (number, day) in enumerate(zip(table.text("instrument_id"), days, strict=True))]

    def _one(self, number: str, day: str, table: Csv, row: int) -> str:
        found = {symbol for first, end, symbol in self.spans.get(number, []) if first <= day < end}
        if len(found) != 1:
            told = f"stands for {' and '.join(sorted(found))}" if found else "has no symbol"
            raise DataError(
                f"{table.where(row)}: instrument_id {number} {told} on {day}; a row needs one; import its symbology.json with it, "
                "or export with map_symbols"
            )
        return found.pop()


def _job(source: Source) -> str:
    """What a download was, for a note."""
    query = _json(source, dict)["query"]
    first, end = (pd.Timestamp(query[key]).strftime("%Y-%m-%d") for key in ("start", "end"))
    return f"{source.name}: {query['schema']} of {', '.join(query['symbols'])} in {query['dataset']}, {first} to {end}"


def _contracts(source: Source, request: Request, *, alone: bool) -> Part:
    """The contracts in a symbology, if it was imported without bars; with bars only those that have some are wanted."""
    spans = _json(source, dict)["result"]
    named = {symbol: int(days[0]["d0"][:4]) for symbol, days in spans.items() if _OUTRIGHT.fullmatch(symbol)}
    contracts = [_contract(symbol, year, source.name) for symbol, year in named.items()] if alone else []
    told = f"{source.name}: {len(spans):,} symbols, {len(named):,} of them contracts, the others spreads between them"
    return Part(source=source, instruments=[one for one in contracts if wanted(one.id, one, request)], notes=[told])


def _json(source: Source, kind: type) -> Any:
    content = source.json()
    if not isinstance(content, kind):
        raise DataError(f"{source.name}: is not the {sniff(source)} that its beginning looks like; download it again")
    return content


def _checked(manifest: Source, sources: Sequence[Source]) -> list[str]:
    """Compare the files beside a manifest with their checksums in it; raises `DataError` for one that differs."""
    told = {str(file["filename"]): str(file["hash"]).removeprefix("sha256:") for file in _json(manifest, dict)["files"]}
    beside = [source for source in sources if source.path.parent == manifest.path.parent and source.path.name in told]
    for source in beside:
        if _digest(source) != told[source.path.name]:
            raise DataError(f"{source.name}: its SHA-256 is not the one in {manifest.name}; it is damaged or changed; download it again")
    return [f"{manifest.name}: {len(beside)} of its {len(told)} files are here, and their checksums agree"]


def _digest(source: Source) -> str:
    digest = hashlib.sha256()
    with source.reading(), source.open() as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _conditions(source: Source) -> list[str]:
    """A note on each kind of day that is not whole."""
    days: dict[str, list[str]] = {}
    for each in _json(source, list):
        days.setdefault(str(each["condition"]), []).append(str(each["date"]))
    notes = []
    for condition, dates in days.items():
        if condition != "available":
            more = f" and {len(dates) - _SHOWN_DAYS} more" if len(dates) > _SHOWN_DAYS else ""
            notes.append(f"{source.name}: {len(dates)} days are {condition}: {', '.join(dates[:_SHOWN_DAYS])}{more}")
    return notes
