"""Files as vendors write them, for the tests of importers."""

import gzip
from pathlib import Path


def write(folder: Path, name: str, content: str | bytes) -> Path:
    """A file in a folder that is made if it is not there: text, packed if the name ends in .gz, or bytes as they are."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        content = gzip.compress(content.encode()) if name.endswith(".gz") else content.encode()
    file.write_bytes(content)
    return file
