"""Where a dataset lies: a local folder, or any URL that fsspec opens; read alike.

folder = Folder("s3://desk/eth")
for name in folder.files("bars/instrument=ETHUSDT-SPOT"):
    pq.ParquetFile(folder.opened(name))
"""

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from backtest.errors import DataError, StorageError


def is_url(path: str | Path) -> bool:
    """Whether a path is a URL."""
    return "://" in str(path)


def local_folder(path: str | Path) -> Path:
    """The absolute folder meant by `path`; raises `StorageError` for a URL."""
    if is_url(path):
        raise StorageError(f"{path}: a dataset is written to a local folder; write it there and copy the folder")
    return Path(os.path.realpath(path))


def reached(url: str, ask: Callable[[], Any]) -> Any:
    """What a remote system answers; each has its own exceptions for what goes wrong on the way, and all become a `DataError`."""
    try:
        return ask()
    except (FileNotFoundError, DataError):
        raise
    except Exception as error:
        raise DataError(f"{url}: can't be reached ({error}); check the address and your access") from error


class Folder:
    """A folder to read from. Names are relative to it, with slashes."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path).rstrip("/") if is_url(path) else str(local_folder(path))
        self.remote = is_url(path)

    def files(self, under: str) -> list[str]:
        """The Parquet files below one of its folders, in order of their names."""
        if self.remote:
            return [name for name in self._names if name.startswith(f"{under}/") and name.endswith(".parquet")]
        root = Path(self.path)
        return [each.relative_to(root).as_posix() for each in sorted((root / under).rglob("*.parquet"))]

    def folders(self, under: str) -> list[str]:
        """The names of the folders right below one of its folders."""
        if self.remote:
            depth = len(PurePosixPath(under).parts)
            below = [PurePosixPath(name).parts for name in self._names if name.startswith(f"{under}/")]
            return sorted({parts[depth] for parts in below if len(parts) > depth + 1})
        return sorted(each.name for each in Path(self.path, under).glob("*") if each.is_dir())

    def opened(self, name: str) -> Any:
        """What pyarrow reads a file from: its path, or a remote file."""
        if not self.remote:
            return f"{self.path}/{name}"
        return reached(self.path, lambda: self._system.open(f"{self._root}/{name}", "rb"))

    def read_text(self, name: str) -> str:
        """A small file's text; raises `OSError` (`FileNotFoundError` if it is not there)."""
        if not self.remote:
            return Path(self.path, name).read_text(encoding="utf-8")
        return str(reached(self.path, lambda: self._system.cat_file(f"{self._root}/{name}")).decode("utf-8"))

    @cached_property
    def _located(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        try:
            system, root = url_to_fs(self.path)
        except (ImportError, ValueError) as error:
            raise DataError(f"{self.path}: can't be opened ({error}); install what reads such URLs, or copy the dataset here") from error
        return system, str(root).rstrip("/")

    @property
    def _system(self) -> Any:
        return self._located[0]

    @property
    def _root(self) -> str:
        return self._located[1]

    @cached_property
    def _names(self) -> list[str]:
        """Every file below the folder: one listing for all questions."""
        found = reached(self.path, lambda: self._system.find(self._root))
        return sorted(str(name).removeprefix(f"{self._root}/") for name in found)
