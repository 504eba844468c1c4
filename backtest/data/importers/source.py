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
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from backtest.data.place import reached
from backtest.data.validate import Where, in_file
from backtest.errors import DataError

HEAD = 1 << 16
KNOWN_SUFFIXES = (".csv", ".json", ".jsonl", ".ndjson", ".feather", ".gz", ".zip")
_AGAIN = "download it again"
CHECKSUM = ".CHECKSUM"
_GZIP = b"\x1f\x8b"


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
            if not self._packed:
                return raw
            # some clients unpack while they download, and keep the name
            packed = raw.read(len(_GZIP)) == _GZIP
            raw.seek(0)
        return _Unpacked(gzip.GzipFile(fileobj=raw), raw) if packed else raw

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what goes wrong while this source is read into a `DataError`."""
        try:
            yield
        except FileNotFoundError:
            raise DataError(f"{self.name}: there is no such file; check the name") from None
        except (EOFError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{self.name}: is truncated or damaged and can't be unpacked ({_short(error)}); {_AGAIN}") from error
        except OSError as error:
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
        rows = csv.reader(io.StringIO(self.text_head, newline=""), delimiter=delimiter_of(self))
        found: list[tuple[list[str], int, int]] = []
        for row in rows:
            if any("\0" in cell or "\ufffd" in cell[:-1] for cell in row):
                return [], 0, 0
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

    What lies beside data is passed over: files of checksums, and inside folders and archives hidden files and those of no known kind.

    Raises `DataError` for a folder without any file of a known kind and for an archive that can't be opened.
    """
    found: dict[str, Source] = {}
    for file in map(str, files):
        for name, opener in _openers(file):
            for source in _opened(name, opener):
                found.setdefault(source.name, source)
    wanted = [source for source in found.values() if not source.name.endswith(CHECKSUM)]
    return wanted or list(found.values())


def _opened(name: str, opener: Callable[[], IO[bytes]]) -> Iterator[Source]:
    """A file's source, or those of an archive's members."""
    if name.endswith(".zip"):
        yield from _members(name, opener)
    else:
        yield Source(name, opener)


def _of_data(name: str) -> bool:
    """Whether a file found in a folder or an archive can be data: its kind is known, and it is not hidden."""
    path = PurePosixPath(name)
    return path.name.endswith(KNOWN_SUFFIXES) and not path.name.startswith(".") and "__MACOSX" not in path.parts


def _openers(file: str) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """Name and way to open of a file or URL, or of every file under a folder."""
    if "://" in file:
        yield from _remote(file)
        return
    path = Path(file)
    if not path.is_dir():
        yield file, lambda: path.open("rb")
        return
    inside = sorted(each for each in path.rglob("*") if each.is_file() and _of_data(each.as_posix()))
    if not inside:
        raise DataError(f"{file}: the folder has no file that ends in {', '.join(KNOWN_SUFFIXES)}; name the files")
    for each in inside:
        yield str(each), lambda each=each: each.open("rb")


def _remote(url: str) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise DataError(f"{url}: can't be opened ({_short(error)}); install what reads such URLs, or copy the file here") from error
    names = sorted(system.find(path)) if reached(url, lambda: system.isdir(path)) else [path]
    for name in names:
        if name == path or _of_data(name):
            yield system.unstrip_protocol(name), lambda name=name: system.open(name, "rb")


def _members(name: str, opener: Callable[[], IO[bytes]]) -> Iterator[Source]:
    whole = Source(name, opener)
    if whole.is_page:
        raise DataError(f"{name}: is a web page, not an archive; {_AGAIN}")
    with whole.reading(), opener() as raw, zipfile.ZipFile(raw) as archive:
        names = [member.filename for member in archive.infolist() if not member.is_dir()]
    if not names:
        raise DataError(f"{name}: the archive is empty; {_AGAIN}")
    members = [member for member in names if _of_data(member)]
    if not members:
        raise DataError(f"{name}: has no file that ends in {', '.join(KNOWN_SUFFIXES)}, only {', '.join(names)[:80]}; unpack it")
    for member in members:
        yield from _opened(f"{name}/{member}", lambda member=member: _member(opener, name, member))


def _member(opener: Callable[[], IO[bytes]], name: str, member: str) -> IO[bytes]:
    with ExitStack() as opened:
        raw = opened.enter_context(opener())
        archive = opened.enter_context(zipfile.ZipFile(raw))
        try:
            content = archive.open(member)
        except RuntimeError as error:  # a password, or a method that is not known here
            raise DataError(f"{name}/{member}: can't be unpacked ({_short(error)}); unpack the archive yourself") from error
        opened.pop_all()
    return _Unpacked(content, archive, raw)


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
    """The lines of a source as text, for the readers that need one line after the other, with a mark for what is not UTF-8."""

    @contextmanager
    def opened() -> Iterator[Iterable[str]]:
        with source.reading(), source.open() as content:
            yield io.TextIOWrapper(content, encoding="utf-8-sig", errors="replace", newline="")

    return opened()


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
