"""Writing a file whole or not at all: a reader finds the old file or the new one, never a half.

write_atomically("reports/run.html", text, what="report", option="--report")
"""

import os
from contextlib import suppress
from pathlib import Path

from backtest.errors import StorageError


def write_atomically(path: str | os.PathLike[str], text: str, *, what: str, option: str) -> Path:
    """Write UTF-8 text beside the target, then rename it into place; missing folders are made.

    Errors: StorageError if the target can't be written; a file that was there before is unchanged.
    """
    target = Path(path).expanduser()
    temporary = target.parent / f".{target.name}.{os.getpid()}.part"
    try:
        if target.is_dir():
            raise IsADirectoryError("it is a folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        kept = " the file that was there is unchanged;" if target.is_file() else ""
        message = f"{what} can't be written to {target}: {reason};{kept} free some space, or choose another place with {option}"
        raise StorageError(message) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    return target
