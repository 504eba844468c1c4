"""`carry data import`: vendors' files into a dataset."""

import argparse
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtest.cli.parser import FILES, FOLDERS, add_command, add_json, completed
from backtest.cli.text import WIDTH, day, listed, put, shortened, text_table, told, wrapped
from backtest.errors import ParameterError
from backtest.terminal import waiting

if TYPE_CHECKING:
    import pandas as pd

    from backtest.cli.parser import Commands
    from backtest.data.importers import ImportReport, Line

_DESCRIPTION = """import files into a dataset, which is made or added to

Bars are stamped with their end, funding times are rounded to the second, bars
after delivery are cut and counted. Rows that contradict the dataset, and
anything that can't be true, are refused and nothing is written."""

_MOST_LINES = 80
_NARROWEST = 8  # columns of names
_EXAMPLES = """carry data import downloads/ --into data/eth
carry data import binance spot.csv --symbol ETHUSDT --into data/eth
carry data import csv DTB3.csv --mapping tbill.toml --into data/eth"""


def add(commands: "Commands") -> None:
    """Add the command to `carry data`."""
    parser = add_command(
        commands,
        "import",
        "import files into a dataset, which is made or added to",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        done="imported",
        usage="[SOURCE] FILES [FILES …] --into DIR [options]",
    )
    files = parser.add_argument(
        "files",
        metavar="[SOURCE] FILES",
        nargs="+",
        help="files, URLs, zip archives, or folders of them; before them whose they are: a vendor, auto (the default: the files tell it), "
        "or csv for a table with a --mapping",
    )
    completed(files, FILES)
    completed(parser.add_argument("--into", metavar="DIR", help="folder of the dataset, made or added to (required)"), FOLDERS)
    parser.add_argument("--symbol", metavar="S", help="the symbol, where no file tells it, such as ETHUSDT")
    table = parser.add_argument(
        "--mapping", metavar="FILE", help="TOML file that says which column is what (source csv); see data/README.md"
    )
    completed(table, FILES)
    parser.add_argument("--bar", metavar="T", default="1min", help="length of bars that are made of ticks (default: %(default)s)")
    parser.add_argument("--name", metavar="N", help="name of the dataset in reports (default: the folder's)")
    add_json(parser, "what became of each file")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    import pandas as pd

    from backtest.data.importers import import_files
    from backtest.data.importers.common import Request
    from backtest.rule import duration

    # not argparse's to require: it would say so before a misspelt --into is named
    if not arguments.into:
        raise ParameterError("carry data import: --into is missing; name the folder of the dataset, such as --into data/eth")
    mapping = Path(arguments.mapping) if arguments.mapping else None
    length = pd.Timedelta(duration("--bar", arguments.bar) or 0, "ns")
    source, files = _source_and_files(arguments.files)
    request = Request(symbol=arguments.symbol, mapping=mapping, bar=length)
    with waiting(f"importing into {arguments.into}"):
        report = import_files(source, files, arguments.into, request, arguments.name)
    put(import_text(report), arguments.json, lambda: import_json(report))
    return 0


def _source_and_files(words: list[str]) -> tuple[str, list[str]]:
    """Whose files, and which: without a source the files tell it. A single word that names no file can only be a misspelt source."""
    from backtest.data.importers import AUTO, SOURCES

    first, files = words[0], words[1:]
    if first in SOURCES or (files and re.fullmatch(r"\w+", first) and not Path(first).exists()):
        if not files:
            raise ParameterError('the following arguments are required: FILES; see "carry data import --help"')
        return first, files
    return AUTO, words


def import_text(report: "ImportReport") -> str:
    """What became of each file, as it is printed."""
    taken = [wrapped(f"taken for: {', '.join(_kinds(report))}"), ""] if report.taken_for else []
    dataset = report.dataset
    last = f'{dataset.path}: dataset "{dataset.name}", hash {dataset.hash[:12]}{"" if report.changed else ", unchanged"}'
    return "\n".join([*_table(report), *taken, *listed("note", report.notes), last])


def import_json(report: "ImportReport") -> dict[str, Any]:
    """What became of each file, for machines."""
    lines = [
        {"file": line.source.name, "as": line.target, "kept": line.kept, "cut": line.cut, "from": line.first, "to": line.last}
        for line in report.lines
    ]
    facts = {"dataset": told(report.dataset), "path": str(report.dataset.path), "changed": report.changed, "taken_for": report.taken_for}
    return facts | {"lines": lines, "notes": report.notes}


def _table(report: "ImportReport") -> list[str]:
    """A line for each file and table, if any has rows; of very many files a line for each table."""
    rows = [["file", "as", "kept", "cut", "from", "to"]]
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in report.lines:
        groups.setdefault((line.source.name if len(report.lines) <= _MOST_LINES else "", line.target), []).append(line)
    for (_, target), lines in groups.items():
        name = lines[0].source.path.name if len(lines) == 1 else f"{len(lines):,} files"
        first, last = (
            edge((at for at in times if at is not None), default=None) for edge, times in zip((min, max), _times(lines), strict=True)
        )
        rows.append([name, target, f"{sum(line.kept for line in lines):,}", f"{sum(line.cut for line in lines):,}", day(first), day(last)])
    room = WIDTH - _NARROWEST - 1 - sum(max(len(row[column]) + 1 for row in rows) for column in range(2, 6))
    for row in rows:
        row[1] = shortened(row[1], room)
    return [text_table(rows, "<<>>>>"), ""] if report.lines else []


def _times(lines: "list[Line]") -> "tuple[list[pd.Timestamp | None], list[pd.Timestamp | None]]":
    return [line.first for line in lines], [line.last for line in lines]


def _kinds(report: "ImportReport") -> list[str]:
    """What the files were taken for: each kind with the number of its files."""
    kinds = Counter(report.taken_for.values())
    return [f"{kind} ({count:,} file{'s' if count > 1 else ''})" for kind, count in kinds.items()]
