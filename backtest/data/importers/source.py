"""Where an importer reads from: a file, a URL, or a member of a zip archive; what is compressed is opened through.

Whatever makes a source unreadable (not there, cut short, a web page saved in place of the data) becomes a `DataError` that says so.

    for source in sources_in(["downloads/", "s3://bucket/ETHUSDT-1h-2024-01.zip"]):
        print(source.name, source.header)
"""

import csv
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from backtest.data.validate import Where, in_file
from backtest.errors import DataError

HEAD = 1 << 16
KNOWN_SUFFIXES = (".csv", ".json", ".jsonl", ".ndjson", ".feather", ".gz", ".zip")
_AGAIN = "download it again"


class Source:
    """One input. `name` is what messages call it; `path` its folders and its file name without `.gz`, which may tell what it holds."""

    def __init__(self, name: str, opener: Callable[[], IO[bytes]]) -> None:
        self.name = name
        self.path = PurePosixPath(name.replace("\\", "/").removesuffix(".gz"))
        self._packed = name.endswith(".gz")
        self._opener = opener

    def open(self) -> IO[bytes]:
        """The content from its beginning, decompressed; use it inside `reading`, which words its errors."""
        with self.reading():
            raw = self._opener()
        return _Unpacked(gzip.GzipFile(fileobj=raw), raw) if self._packed else raw

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what goes wrong while this source is read into a `DataError`."""
        try:
            yield
        except FileNotFoundError:
            raise DataError(f"{self.name}: there is no such file; check the name") from None
        except (EOFError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{self.name}: is truncated or damaged and can't be unpacked ({_short(error)}); {_AGAIN}") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{self.name}: is not text in UTF-8 ({error.reason} at byte {error.start}); unpack or convert it") from error
        except (csv.Error, OSError) as error:
            raise DataError(f"{self.name}: can't be read ({_short(error)}); {_AGAIN} or check its permissions") from error

    @cached_property
    def head(self) -> bytes:
        """The first bytes, decompressed; raises `DataError` for a source that is empty or can't be read."""
        with self.reading(), self.open() as content:
            head = content.read(HEAD)
        if not head.strip():
            raise DataError(f"{self.name}: is empty; remove it or {_AGAIN}")
        return head

    @property
    def header(self) -> list[str]:
        """The cells of the header: of the first row that has several, else of the first that isn't empty; none if this is not text."""
        return self._header[0]

    @property
    def above(self) -> tuple[int, int]:
        """Rows that have cells, and lines, up to the header's end; some vendors put their address above it."""
        return self._header[1:]

    @cached_property
    def _header(self) -> tuple[list[str], int, int]:
        text = self.text_head
        if "\0" in text or "\ufffd" in text[:-1]:
            return [], 0, 0
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(self))
        found: list[tuple[list[str], int, int]] = []
        for row in rows:
            if row:
                found.append(([cell.strip() for cell in row], len(found) + 1, rows.line_num))
            if len(row) > 1 or len(found) > 1:
                break
        return next((each for each in found if len(each[0]) > 1), found[0] if found else ([], 0, 0))

    @cached_property
    def text_head(self) -> str:
        """The beginning as text, with a mark for what is not UTF-8."""
        return self.head.decode("utf-8-sig", errors="replace")

    @cached_property
    def is_page(self) -> bool:
        """Whether a web page (an error, a log-in) was saved in place of data."""
        return self.head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body"))

    def json(self) -> Any:
        """The whole content as JSON."""
        with self.reading(), self.open() as content:
            text = content.read()
        try:
            return json.loads(text)
        except ValueError as error:
            raise DataError(f"{self.name}: {self._not_json(error)}") from error

    def json_lines(self) -> Iterator[tuple[int, Any]]:
        """Each line's number and its content as JSON; empty lines are passed over."""
        with self.reading(), self.open() as content:
            for number, line in enumerate(content, start=1):
                if line.strip():
                    try:
                        yield number, json.loads(line)
                    except ValueError as error:
                        raise DataError(f"{self.name} line {number}: {self._not_json(error)}") from error

    def lines(self, rows: Sequence[int] | np.ndarray) -> Where:
        """Places for messages: row → "capture.jsonl line 17"."""
        return in_file(self.name, rows)

    def records(self, rows: Sequence[int] | np.ndarray | None = None) -> Where:
        """Places for messages: row → "funding.json record 17", counted from 1; `rows` maps rows to records counted from 0."""
        return lambda row: f"{self.name} record {(row if rows is None else rows[row]) + 1}"

    def _not_json(self, error: ValueError) -> str:
        if self.is_page:
            return f"is a web page, not data; {_AGAIN}"
        return f"is not JSON ({_short(error)}); is it truncated? {_AGAIN}"


def sources_in(files: Sequence[str | Path]) -> list[Source]:
    """The sources that the user named, in order: files, URLs, folders of files, and the members of zip archives.

    Raises `DataError` for a folder without any file of a known kind and for an archive that can't be opened.
    """
    found: dict[str, Source] = {}
    for file in map(str, files):
        for name, opener in _openers(file):
            for source in _members(name, opener) if name.endswith(".zip") else [Source(name, opener)]:
                found.setdefault(source.name, source)
    return list(found.values())


def _openers(file: str) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """Name and way to open of a file or URL, or of every file under a folder."""
    if "://" in file:
        yield from _remote(file)
        return
    path = Path(file)
    if not path.is_dir():
        yield file, lambda: path.open("rb")
        return
    inside = sorted(each for each in path.rglob("*") if each.is_file() and each.name.endswith(KNOWN_SUFFIXES))
    if not inside:
        raise DataError(f"{file}: the folder has no file that ends in {', '.join(KNOWN_SUFFIXES)}; name the files")
    for each in inside:
        yield str(each), lambda each=each: each.open("rb")


def _remote(url: str) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(url)
        names = sorted(system.find(path)) if system.isdir(path) else [path]
    except (ImportError, ValueError) as error:
        raise DataError(f"{url}: can't be opened ({_short(error)}); install what reads such URLs, or copy the file here") from error
    except OSError as error:
        raise DataError(f"{url}: can't be reached ({_short(error)}); check the address and your access") from error
    for name in names:
        if name == path or name.endswith(KNOWN_SUFFIXES):
            yield system.unstrip_protocol(name), lambda name=name: system.open(name, "rb")


def _members(name: str, opener: Callable[[], IO[bytes]]) -> Iterator[Source]:
    whole = Source(name, opener)
    with whole.reading(), opener() as raw, zipfile.ZipFile(raw) as archive:
        members = [member.filename for member in archive.infolist() if not member.is_dir()]
    if not members:
        raise DataError(f"{name}: the archive is empty; {_AGAIN}")
    for member in members:
        yield Source(f"{name}/{member}", lambda member=member: _member(opener, member))


def _member(opener: Callable[[], IO[bytes]], member: str) -> IO[bytes]:
    raw = opener()
    archive = zipfile.ZipFile(raw)
    return _Unpacked(archive.open(member), archive, raw)


class _Unpacked(io.BufferedReader):
    """What is read through a decompressor; closing it closes what lies below."""

    def __init__(self, content: Any, *below: Any) -> None:
        super().__init__(content)
        self._below = below

    def close(self) -> None:
        super().close()
        for each in self._below:
            each.close()


def delimiter_of(source: Source) -> str:
    """The character between cells: the one of comma, semicolon and tab that the first line with any of them has."""
    for line in source.text_head.splitlines():
        if found := next((mark for mark in (",", ";", "\t") if mark in line), None):
            return found
    return ","


def text_lines(source: Source) -> AbstractContextManager[Iterable[str]]:
    """The lines of a source as text, for the readers that need one line after the other."""

    @contextmanager
    def opened() -> Iterator[Iterable[str]]:
        with source.reading(), source.open() as content:
            yield io.TextIOWrapper(content, encoding="utf-8-sig", newline="")

    return opened()


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
