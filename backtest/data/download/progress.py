"""Progress on a terminal: one line on stderr, and nothing where nobody watches.

with shown("ETHUSDT", "page") as progress:
    progress.at("ETHUSDT-SPOT klines", time)
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd


class Progress:
    """Tells a bar, if there is one, how far things are."""

    def __init__(self, line: Any = None) -> None:
        self._line = line

    def at(self, what: str, time: pd.Timestamp) -> None:
        """A page has come that reaches to a time."""
        if self._line is not None:
            self._line.set_postfix_str(f"{what} {time:%Y-%m-%d}", refresh=False)
            self._line.update()

    def bytes(self, name: str, count: int) -> None:
        """Some bytes of a file have come."""
        if self._line is not None:
            self._line.set_postfix_str(name, refresh=False)
            self._line.update(count)


@contextmanager
def shown(what: str, unit: str) -> Iterator[Progress]:
    """A progress line on stderr if that is a terminal and tqdm is installed."""
    if not sys.stderr.isatty():
        yield Progress()
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield Progress()
        return
    with tqdm(desc=what, unit=unit, unit_scale=unit == "B", leave=False, file=sys.stderr) as line:
        yield Progress(line)
