"""What all importers share: reading a CSV with its line numbers, numbers and times out of it, and the account of what was kept.

An importer is a module with two functions. `sniff(file, header)` says what a file is in the vendor's terms, or None; `parse(files,
request)` gives an `Imported`. Text becomes numbers here and nowhere else, so that every message can name file and line.

    imported = binance.parse([Path("spot.csv")], Request(symbol="ETHUSDT"))
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from backtest.data.schema import Tables
from backtest.data.validate import Where, in_file, show_time
from backtest.errors import DataError, did_you_mean
from backtest.instruments import Instrument

# digits of a Unix time → its unit, for times between 2001 and 2286
_EPOCH_UNITS = {10: "s", 13: "ms", 16: "us", 19: "ns"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for: symbol and mapping file if given, and the instruments that the dataset has already."""

    symbol: str | None = None
    mapping: Path | None = None
    known: Mapping[str, Instrument] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Line:
    """What became of one file: rows kept and cut in one table, and the times of the first and last row kept."""

    file: Path
    target: str
    kept: int
    cut: int
    first: pd.Timestamp | None
    last: pd.Timestamp | None


@dataclass(frozen=True, kw_only=True)
class Imported:
    """Tables from some files, one line a file, and notes on what was decided on the way."""

    tables: Tables
    lines: list[Line]
    notes: list[str]


class Importer(Protocol):
    """A vendor's module."""

    def sniff(self, file: Path, header: Sequence[str]) -> str | None:
        """What the file is, in the vendor's terms; None if it is not this vendor's."""

    def parse(self, files: Sequence[Path], request: Request) -> Imported:
        """The content of some files."""


@dataclass(frozen=True, kw_only=True)
class Csv:
    """A CSV file as text columns with the line that each row stands on."""

    file: Path
    columns: dict[str, list[str]]
    lines: np.ndarray

    @property
    def where(self) -> Where:
        """Row → "spot.csv line 17"."""
        return in_file(self.file, self.lines)

    def rows(self, keep: np.ndarray) -> "Csv":
        """The rows where `keep` is true, on the lines where they stood."""
        columns = {name: [text for text, kept in zip(column, keep, strict=True) if kept] for name, column in self.columns.items()}
        return Csv(file=self.file, columns=columns, lines=self.lines[keep])

    def text(self, name: str) -> list[str]:
        """A column as text; `DataError` if the file has none of that name."""
        if name not in self.columns:
            known = list(self.columns)
            raise DataError(f'{self.file}: column "{name}" is missing; {did_you_mean(name, known)}')
        return self.columns[name]

    def numbers(self, name: str, missing: Sequence[str] = ("",)) -> np.ndarray:
        """A column as float64, correctly rounded; NaN for the texts in `missing`."""
        texts = self.text(name)
        blank = frozenset(missing)
        values = np.empty(len(texts))
        for row, text in enumerate(texts):
            try:
                values[row] = np.nan if text in blank else float(text)
            except ValueError:
                raise DataError(f'{self.where(row)}: {name} is "{text}", not a number; correct the row or remove it') from None
        return values

    def times(self, name: str, unit: str | None = None) -> pd.DatetimeIndex:
        """A column as UTC nanoseconds: ISO 8601 (without a zone it is UTC), or Unix time in `unit`, which by default its digits tell."""
        texts = self.text(name)
        if texts and all(text.lstrip("-").isdigit() for text in texts):
            unit = unit or self._unit(name, texts)
            return pd.DatetimeIndex(np.array(texts, dtype=np.int64).astype(f"datetime64[{unit}]").astype("datetime64[ns]"), tz="UTC")
        parsed = pd.to_datetime(pd.Series(texts, dtype=object), format="ISO8601", utc=True, errors="coerce")
        self.refuse_unparsed(name, parsed)
        return pd.DatetimeIndex(parsed.astype("datetime64[ns, UTC]"))

    def refuse_unparsed(self, name: str, parsed: pd.Series, expected: str = "ISO 8601 or Unix time") -> None:
        """Raise `DataError` for the first time that could not be read."""
        unread = np.flatnonzero(parsed.isna().to_numpy())
        if len(unread):
            row = int(unread[0])
            raise DataError(f'{self.where(row)}: {name} is "{self.text(name)[row]}", not a time ({expected}); correct the row or remove it')

    def _unit(self, name: str, texts: list[str]) -> str:
        digits = {len(text) for text in texts}
        if len(digits) == 1 and (unit := _EPOCH_UNITS.get(next(iter(digits)))):
            return unit
        row = next((row for row, text in enumerate(texts) if len(text) not in _EPOCH_UNITS or len(text) != len(texts[0])), 0)
        raise DataError(
            f'{self.where(row)}: {name} is "{texts[row]}", not a time (ISO 8601 or Unix time, one unit a file); correct the row'
        )


@contextmanager
def _rows(file: Path) -> Iterator[Any]:
    """A csv reader over a file; what makes it unreadable becomes a `DataError`."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            yield csv.reader(text)
    except FileNotFoundError:
        raise DataError(f"{file}: there is no such file; check the name") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is not text in UTF-8 ({error.reason} at byte {error.start}); unpack or convert it") from error
    except (csv.Error, OSError) as error:
        raise DataError(f"{file}: can't be read ({error}); download it again or check its permissions") from error


def read_header(file: Path) -> list[str]:
    """The first row of a CSV file; raises `DataError` for a file that can't be read or has no rows."""
    with _rows(file) as rows:
        for row in rows:
            if row:
                return [cell.strip() for cell in row]
    raise DataError(f"{file}: is empty; remove it or download it again")


def read_csv(file: Path, header: Sequence[str] | None = None) -> Csv:
    """Read a CSV file; `header` names the columns of a file that has no header row.

    Raises `DataError` for a file without rows, a column that stands twice, and a row with more or fewer cells than the header.
    """
    cells: list[list[str]] = []
    lines: list[int] = []
    with _rows(file) as rows:
        for row in rows:
            if not row:
                continue
            if header is None:
                header = [cell.strip() for cell in row]
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{file} line {rows.line_num}: has {len(row)} cells, not {len(header)}; is the file truncated? download it again"
                )
            cells.append(row)
            lines.append(rows.line_num)
    if not cells or header is None:
        raise DataError(f"{file}: is empty: it has no rows of data; remove it or download it again")
    if len(set(header)) < len(header):
        twice = next(name for name in header if list(header).count(name) > 1)
        raise DataError(f'{file}: column "{twice}" stands twice; remove one')
    columns = {name: [cell.strip() for cell in column] for name, column in zip(header, zip(*cells, strict=True), strict=True)}
    return Csv(file=file, columns=columns, lines=np.array(lines))


def cut_at_delivery(file: Path, one: Instrument, bars: pd.DataFrame) -> pd.DataFrame:
    """The bars, in order of time, that end at delivery or before; raises `DataError` if there are none."""
    if one.expires_at is None:
        return bars
    kept = bars[bars.index <= one.expires_at]
    if kept.empty:
        raise DataError(f"{file}: every bar ends after delivery of {one.id} at {show_time(one.expires_at)}; is it another contract?")
    return kept
