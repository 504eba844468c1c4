"""Binance's bulk archive: which files cover what is wanted, and bringing them, verified, into a folder beside the dataset.

Whole months come as monthly files and the rest as daily ones; funding has monthly files only, metrics (open interest, account ratios) daily
ones only. Each zip stands beside a file with its SHA-256. A file keeps its place in the archive's folders, which say what it holds, and bears
its final name only once it is verified: whatever has that name needs no second look.

    files = archive_files(wanted, now)
    here = [path for file in files for path in bring(file, cache, patience, progress, now)]
"""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from backtest.data.download.http import DownloadError, NotThere, Patience, fetch_file, fetch_text
from backtest.data.download.progress import Progress
from backtest.data.download.spans import Span
from backtest.data.download.wanted import Wanted
from backtest.data.importers.naming import delivery
from backtest.errors import DataError, ParameterError
from backtest.venues.calendar import last_friday

ARCHIVE_URL = "CARRY_ARCHIVE_URL"  # where the archive is looked for in place of its own address: a mirror, a test
HOME = "https://data.binance.vision"
FOLDERS = {
    "klines": "klines", "mark": "markPriceKlines", "index": "indexPriceKlines", "premium": "premiumIndexKlines",
    "funding": "fundingRate", "metrics": "metrics",
}  # fmt: skip

# of a period that ended this long ago, a file that is not there will not come any more
_SETTLED = pd.Timedelta(60, "D")
_LISTED_BEFORE = pd.Timedelta(280, "D")  # a quarterly contract lives two quarters and some weeks
_DELIVERY = pd.Timedelta(8, "h")
_PERPETUAL_ONLY = ("funding", "premium", "index")


@dataclass(frozen=True, kw_only=True)
class Place:
    """One instrument's folder in the archive: `market` is spot, futures/um or futures/cm; `symbol` its name there, `id` here."""

    market: str
    symbol: str
    id: str
    ends: pd.Timestamp | None = None


@dataclass(frozen=True, kw_only=True)
class ArchiveFile:
    """One zip of the archive with the span of time that it covers, and the daily files to take where a month's is not there yet."""

    path: str
    span: Span
    what: str
    id: str
    instead: tuple["ArchiveFile", ...] = ()


def places(wanted: Wanted) -> list[Place]:
    """Where the archive keeps what a symbol means; raises `ParameterError` for a symbol that is none."""
    symbol = wanted.symbol.upper().replace("/", "")
    told = re.fullmatch(r"([A-Z0-9]+?(USDT|USDC|BUSD|FDUSD|TUSD|USD|BTC|ETH|BNB|EUR))(?:[-_](SPOT|PERP|\d{6}))?", symbol)
    if not told:
        raise ParameterError(f'the archive has no "{wanted.symbol}"; name a pair, such as ETHUSDT, or an instrument, such as ETHUSDT-PERP')
    pair, quote, kind = told.groups()
    market = "futures/cm" if quote == "USD" else "futures/um"
    spot = [Place(market="spot", symbol=pair, id=f"{pair}-SPOT")]
    perpetual = [Place(market=market, symbol=f"{pair}_PERP" if quote == "USD" else pair, id=f"{pair}-PERP")]
    if kind == "SPOT":
        return spot
    if kind == "PERP":
        return perpetual
    if kind:
        return [_dated(market, pair, kind)]
    dates = _deliveries(wanted.start, wanted.end) if wanted.futures else []
    return [*([] if quote == "USD" else spot), *perpetual, *(_dated(market, pair, date) for date in dates)]


def _dated(market: str, pair: str, date: str) -> Place:
    ends = delivery(date)
    if ends is None:
        raise ParameterError(f'"{pair}-{date}" has no delivery date; write it as yymmdd, such as {pair}-240329')
    return Place(market=market, symbol=f"{pair}_{date}", id=f"{pair}-{date}", ends=ends)


def _deliveries(start: pd.Timestamp, end: pd.Timestamp) -> list[str]:
    """Delivery days (last Fridays of quarters) of the contracts that lived between two times, as yymmdd."""
    found = []
    for year in range(start.year, (end + _LISTED_BEFORE).year + 1):
        for month in (3, 6, 9, 12):
            day = pd.Timestamp(last_friday(year, month), tz="UTC")
            if day + _DELIVERY > start and day - _LISTED_BEFORE < end:
                found.append(f"{day:%y%m%d}")
    return found


def archive_files(wanted: Wanted, now: pd.Timestamp) -> list[ArchiveFile]:
    """The files that cover what is wanted, in order of instrument, kind and time."""
    whats = list(dict.fromkeys("metrics" if what == "open_interest" else what for what in wanted.what))
    if {"mark", "index"} & set(whats) and "klines" not in whats:
        whats.insert(0, "klines")  # their values are columns of the bars
    found: list[ArchiveFile] = []
    for place in places(wanted):
        end = min(wanted.end, now, place.ends) if place.ends is not None else min(wanted.end, now)
        for what in whats:
            if (place.market == "spot" and what != "klines") or (place.ends is not None and what in _PERPETUAL_ONLY):
                continue
            found += _of_kind(place, what, wanted.bar, (wanted.start, end), now)
    return found


def _of_kind(place: Place, what: str, bar: str, span: Span, now: pd.Timestamp) -> Iterator[ArchiveFile]:
    first, last = span[0].normalize().replace(day=1), span[1]
    while first < last:
        after = first + pd.DateOffset(months=1)
        days = tuple(
            _file(place, what, bar, day)
            for day in pd.date_range(first, after, freq="D", inclusive="left")
            if day + pd.Timedelta(1, "D") <= now
        )
        inside = tuple(each for each in days if each.span[1] > span[0] and each.span[0] < last)
        if what == "metrics":
            yield from inside
        elif after <= now:
            late = now - after < _SETTLED and what != "funding"
            yield _file(place, what, bar, first, after, inside if late else ())
        elif what != "funding":
            yield from inside
        first = after


def _file(
    place: Place, what: str, bar: str, first: pd.Timestamp, after: pd.Timestamp | None = None, instead: tuple[ArchiveFile, ...] = ()
) -> ArchiveFile:
    """The monthly file that begins at `first` and ends `after`, or without that the daily one."""
    symbol = place.symbol.partition("_")[0] if what == "index" else place.symbol
    barred = what not in ("funding", "metrics")
    date = f"{first:%Y-%m}" if after is not None else f"{first:%Y-%m-%d}"
    folder = f"data/{place.market}/{'daily' if after is None else 'monthly'}/{FOLDERS[what]}/{symbol}" + (f"/{bar}" if barred else "")
    middle = bar if barred else FOLDERS[what]
    last = first + pd.Timedelta(1, "D") if after is None else after
    last = last if place.ends is None else min(last, place.ends)
    return ArchiveFile(path=f"{folder}/{symbol}-{middle}-{date}.zip", span=(first, last), what=what, id=place.id, instead=instead)


def bring(file: ArchiveFile, cache: Path, patience: Patience, progress: Progress, now: pd.Timestamp) -> list[Path]:
    """The verified zips, in the cache folder, that hold what a file covers: itself, its daily ones, or none where the archive has none.

    Raises `DataError` for a file that does not fit its checksum twice.
    """
    here, absent = cache / file.path, cache / f"{file.path}.absent"
    if here.exists():
        return [here]
    if absent.exists():
        return []
    try:
        _fetch_verified(file, here, patience, progress)
    except NotThere:
        if now - file.span[1] > _SETTLED:
            absent.parent.mkdir(parents=True, exist_ok=True)
            absent.touch()
        return [path for each in file.instead for path in bring(each, cache, patience, progress, now)]
    return [here]


def _fetch_verified(file: ArchiveFile, here: Path, patience: Patience, progress: Progress) -> None:
    url = f"{os.environ.get(ARCHIVE_URL, HOME).rstrip('/')}/{file.path}"
    part = here.with_name(f"{here.name}.part")
    expected = _checksum(url, patience)
    for turn in range(2):
        if not (part.exists() and _sha256(part) == expected):
            try:
                fetch_file(url, part, patience, lambda count: progress.bytes(here.name, count))
            except NotThere:
                raise DownloadError(f"{url}: has a checksum file but is not there itself; repeat the command later") from None
        digest = _sha256(part)
        if digest == expected:
            os.replace(part, here)
            return
        part.unlink()
        if turn:
            raise DataError(
                f"{url}: its SHA-256 is {digest[:16]}… and its checksum file says {expected[:16]}…; nothing of it was kept; try again later"
            )


def _checksum(url: str, patience: Patience) -> str:
    text = fetch_text(f"{url}.CHECKSUM", patience)
    told = re.match(r"([0-9a-fA-F]{64})\b", text.strip())
    if not told:
        raise DataError(f'{url}.CHECKSUM: is "{text.strip()[:40]}", not a SHA-256; is a proxy in between?')
    return told[1].lower()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
