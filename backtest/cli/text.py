"""How the commands word what they print: columns, findings, days and lengths of time, 80 wide.

print(text_table([("file", "rows"), ("spot.csv", "3")], "<>"))
"""

import argparse
import json
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from backtest.terminal import STANDARD_OUTPUT, put_json, waiting

if TYPE_CHECKING:
    import pandas as pd

    from backtest.data.store import Dataset

WIDTH = 80


class View(Protocol):
    """What a command shows: printed as a table, or written as JSON and as a page."""

    def to_json(self, path: str) -> object:
        """Write it for machines."""

    def report(self, path: str) -> object:
        """Write it as a page."""


def print_or_write(view: View, arguments: argparse.Namespace) -> int:
    """Write what --json and --html ask for and name the files, or print the table; exit code 0. A pipe or a device gets the content and nothing more."""
    alone = arguments.json == STANDARD_OUTPUT
    if alone:
        put_json(view.to_json, sys.stdout)
    for what, path, write in (("JSON", None if alone else arguments.json, view.to_json), ("Page", arguments.html, view.report)):
        if path is not None:
            with waiting(f"writing {path}"):
                write(path)
            if Path(path).expanduser().is_file():
                print(f"{what}: {path}", file=sys.stderr if alone else sys.stdout)
    if arguments.json is None and arguments.html is None:
        say(str(view))
    return 0


def put(text: str, path: str | None, document: Callable[[], Any]) -> None:
    """Print a text, and write what machines read where --json asks for it; with - that one alone is printed."""
    if path is not None:
        from backtest.report.files import write_atomically
        from backtest.report.json import plain_value

        content = json.dumps(plain_value(document()), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        if path == STANDARD_OUTPUT:
            sys.stdout.write(content)
            return
        written = write_atomically(path, content, what="JSON", option="--json")
        text += f"\nJSON: {path}" if written.is_file() else ""
    say(text)


def say(text: str) -> None:
    """Print a text, with colours on a terminal."""
    from backtest.report.paint import say as painted

    painted(text)


def told(dataset: "Dataset") -> dict[str, Any]:
    """What machines are told of a dataset, in the words of a run's JSON."""
    return {"name": dataset.name, "hash": dataset.hash, "simulated": bool(dataset.simulated)}


def text_table(rows: Sequence[Sequence[str]], sides: str) -> str:
    """Plain columns at most 80 wide: closer together, then with the first one shortened, where they would not fit."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(sides))]
    between = "  " if sum(widths) + 2 * (len(sides) - 1) <= WIDTH else " "
    widths[0] = max(8, min(widths[0], WIDTH - sum(widths[1:]) - len(between) * (len(sides) - 1)))
    cells = ([shortened(row[0], widths[0]), *row[1:]] for row in rows)
    lines = (between.join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def shortened(text: str, width: int) -> str:
    """A text with its middle left out: the ends of file names tell the files apart."""
    return text if len(text) <= width else f"{text[: width // 2]}…{text[len(text) - (width - width // 2 - 1) :]}"


def listed(word: str, findings: Sequence[str]) -> list[str]:
    """Findings, each after its word, and an empty line if there are any."""
    return [*(wrapped(f"{word}: {finding}") for finding in findings), *([""] if findings else [])]


def wrapped(text: str, label: str = "") -> str:
    """A text broken at the width; after a label its further lines stand under its first."""
    indent = " " * (len(label) or 2)
    return textwrap.fill(text, WIDTH, initial_indent=label, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def day(time: "pd.Timestamp | None") -> str:
    """The date of a time; a dash for none."""
    return "-" if time is None else f"{time:%Y-%m-%d}"


def duration(length: "pd.Timedelta | None") -> str:
    """A gap in its own unit: 1h, 9d 3h, 15m."""
    if length is None:
        return "-"
    minutes = int(length.total_seconds() // 60)
    parts = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "m"))
    return " ".join(f"{count}{unit}" for count, unit in parts if count) or f"{length.total_seconds():g}s"
