"""Writing a file whole or not at all: a reader finds the old file or the new one, never a half. A pipe or a device is written to.

write_atomically("reports/run.html", text, what="report", option="--report")
write_figure("coverage.png", figure)
"""

import io
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from backtest.errors import ParameterError, StorageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = (".png", ".svg", ".pdf")


def file_at(path: str | os.PathLike[str], what: str) -> Path:
    """The file that a path names; ParameterError for what is no path."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        told = repr(path) if path is None or isinstance(path, str | int | float) else f"an object of the type {type(path).__name__}"
        raise ParameterError(f'{what} needs the path of a file, as "runs/carry": it got {told}')
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # a home that isn't known
        raise ParameterError(f"{what} needs the path of a file: {path}: {error}; write the folder out") from None


def figure_file(path: str | os.PathLike[str]) -> Path:
    """The file of a figure, if its ending is a format; ParameterError if not."""
    target = file_at(path, "the figure")
    if target.suffix.lower() not in FIGURES:
        raise ParameterError(f"--plot {path}: its ending must be one of {', '.join(FIGURES)}; rename it")
    return target


def write_figure(path: str | os.PathLike[str], figure: "Figure") -> Path:
    """Write a figure in the house style, in the format that the file's ending names.

    Errors: ParameterError for an ending that is no format, StorageError if the file can't be written.
    """
    from backtest.report import style

    target, drawn = figure_file(path), io.BytesIO()
    with style.house_style():
        figure.savefig(drawn, format=target.suffix.lower()[1:], dpi=150, facecolor=style.colour("page"))
    return write_atomically(target, drawn.getvalue(), what="the figure", option="--plot")


def write_atomically(path: str | os.PathLike[str], content: str | bytes, *, what: str, option: str) -> Path:
    """Write text in UTF-8, or bytes, beside the target, then rename it into place; missing folders are made.

    Of a symbolic link the file that it names is replaced, and the link stays. What is there and no file, as a pipe or /dev/stdout, is written to.
    Errors: StorageError if the target can't be written; a file that was there before is unchanged. ParameterError for what is no path.
    """
    target = file_at(path, what)
    written = content.encode() if isinstance(content, str) else content
    try:
        if target.is_dir():
            raise IsADirectoryError("it is a folder")
        if target.exists() and not target.is_file():
            target.write_bytes(written)
        else:
            _replace(Path(os.path.realpath(target)), written)
    except OSError as error:
        reason = error.strerror or str(error)
        kept = " the file that was there is unchanged;" if target.is_file() else ""
        message = f"{what} can't be written to {target}: {reason};{kept} free some space, or choose another place with {option}"
        raise StorageError(message) from error
    return target


def _replace(file: Path, content: bytes) -> None:
    """Write a file anew beside the old one, and put it in its place."""
    temporary = file.parent / f".{file.name}.{os.getpid()}.part"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as part:
            part.write(content)
            part.flush()
            os.fsync(part.fileno())
        temporary.replace(file)
    finally:
        with suppress(OSError):
            temporary.unlink()
