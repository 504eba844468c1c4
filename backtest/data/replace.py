"""Replacing a folder by a new one, whole or not at all.

The new folder is filled beside the old one, with links to what stays the same, flushed to the disk, and swapped in by two renames; whoever opens
the folder next undoes a swap that was interrupted between the two. A killed process, a full disk or a power cut therefore leaves the old folder
or the new one.

    with replacing(Path("data/mine"), ours=("dataset.json", "bars")) as fresh:
        (fresh / "dataset.json").write_text("{}")
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from backtest.errors import StorageError


@contextmanager
def replacing(folder: Path, ours: tuple[str, ...]) -> Iterator[Path]:
    """Give an empty folder to fill, then put it in the place of `folder`; on any error what was there stays.

    `ours` names the entries that the new folder replaces, the first of them the mark of a folder that may be replaced; other entries are
    carried over. A new folder without that mark replaces nothing. Others who write to the same folder wait until this one is done.
    Raises `StorageError` with the place and the remedy.
    """
    fresh, aside = _siblings(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        recover(folder)
        _refuse_foreign(folder, ours[0])
        with _claimed(fresh):
            try:
                yield fresh
                if (fresh / ours[0]).exists():
                    _keep_other_files(folder, fresh, ours)
                    _flush(fresh)
                    with _locked(folder.parent):
                        shutil.rmtree(aside, ignore_errors=True)
                        _swap(folder, fresh, aside)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
    except StorageError:
        raise
    except OSError as error:
        remedy = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the folder and its permissions"
        message = f"{folder}: can't be written ({error.strerror or error}); what was there is unchanged; {remedy} and try again"
        raise StorageError(message) from error


def _siblings(folder: Path) -> tuple[Path, Path]:
    return folder.parent / f".{folder.name}.new", folder.parent / f".{folder.name}.old"


@contextmanager
def _claimed(fresh: Path) -> Iterator[None]:
    """Make an empty folder and hold it, so that one writer at a time fills it; what a killed writer left is cleared."""
    while True:
        fresh.mkdir(exist_ok=True)
        with _locked(fresh) as held:
            # whoever held it before may have renamed or removed it while this one waited
            if held is not None and not (fresh.exists() and os.path.samestat(fresh.stat(), os.fstat(held))):
                continue
            for leftover in fresh.iterdir():
                shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()
            yield
            return


@contextmanager
def _locked(folder: Path) -> Iterator[int | None]:
    """Hold a folder against other processes; the system lifts the lock when the process dies."""
    try:
        import fcntl
    except ImportError:  # Windows has no such lock: there, don't write one dataset from two processes
        yield None
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems know no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _refuse_foreign(folder: Path, mark: str) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise StorageError(f"{folder}: a dataset is a folder and this is a file; choose another place")
    if not (folder / mark).exists() and any(folder.iterdir()):
        raise StorageError(f"{folder}: has files but no {mark}, and would be replaced; choose a new or an empty folder")


def _keep_other_files(folder: Path, fresh: Path, ours: tuple[str, ...]) -> None:
    """Carry over what a user put beside the data: a swap must not delete notes."""
    if not folder.exists():
        return
    for other in folder.iterdir():
        if other.name in ours:
            if other.is_dir():
                _keep_notes(other, fresh / other.name)
            continue
        if other.is_dir() and not other.is_symlink():
            shutil.copytree(other, fresh / other.name, symlinks=True, copy_function=link)
        else:
            link(other, fresh / other.name)


def _keep_notes(room: Path, fresh: Path) -> None:
    """Carry over what lies among the data and is none."""
    for other in room.rglob("*"):
        if other.is_file() and other.suffix != ".parquet":
            target = fresh / other.relative_to(room)
            target.parent.mkdir(parents=True, exist_ok=True)
            link(other, target)


def link(old: str | Path, new: str | Path) -> None:
    """Give a file a second name, or copy it where the file system can't."""
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError:
        shutil.copy2(old, new, follow_symlinks=False)


def _flush(root: Path) -> None:
    """Force files and folders to the disk; without it a rename may survive a power cut that its content does not."""
    if os.name == "nt":
        return
    for place, _, names in os.walk(root):
        for name in [*names, "."]:
            if not (Path(place) / name).is_symlink():
                _flush_one(Path(place) / name)


def _flush_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _swap(folder: Path, fresh: Path, aside: Path) -> None:
    if folder.exists():
        folder.rename(aside)
    try:
        fresh.rename(folder)
    except BaseException:
        _restore(folder, aside)
        raise
    if os.name != "nt":
        _flush_one(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _restore(folder: Path, aside: Path) -> None:
    if aside.exists() and not folder.exists():
        aside.rename(folder)


def recover(folder: Path) -> None:
    """Bring back a folder whose writer died between the two renames.

    Under the lock, for a living writer is in the same state for a moment.
    """
    _, aside = _siblings(folder)
    if aside.exists() and not folder.exists():
        try:
            with _locked(folder.parent):
                _restore(folder, aside)
        except OSError as error:
            raise StorageError(f"{folder}: an interrupted write left the dataset at {aside} ({error.strerror}); rename it back") from error
