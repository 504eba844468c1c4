"""`carry data import`: vendors' files into a dataset."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from backtest.cli.parser import add_command
from backtest.cli.text import day, listed, text_table
from backtest.errors import ParameterError

if TYPE_CHECKING:
    from backtest.cli.parser import Commands
    from backtest.data.importers import ImportReport

_DESCRIPTION = """import files into a dataset, which is made or added to

Bars are stamped with their end, funding times are rounded to the second, bars
after delivery are cut and counted. Rows that contradict the dataset, and
anything that can't be true, are refused and nothing is written."""

_EXAMPLES = """examples:
  carry data import binance downloads/ --into data/eth
  carry data import binance spot.csv --symbol ETHUSDT --into data/eth
  carry data import csv DTB3.csv --mapping tbill.toml --into data/eth"""


def add(commands: "Commands") -> None:
    """Add the command to `carry data`."""
    parser = add_command(
        commands, "import", "import files into a dataset, which is made or added to", description=_DESCRIPTION, epilog=_EXAMPLES
    )
    parser.add_argument(
        "source", metavar="SOURCE", help="whose files: a vendor, auto to tell it from the files, or csv for a table with a --mapping"
    )
    parser.add_argument("files", metavar="FILES", nargs="+", help="CSV files, or folders of them")
    parser.add_argument("--into", metavar="DIR", help="folder of the dataset, made or added to (required)")
    parser.add_argument("--symbol", metavar="S", help="the symbol, where no file tells it, such as ETHUSDT")
    parser.add_argument("--mapping", metavar="FILE", help="TOML file that says which column is what (source csv); see data/README.md")
    parser.add_argument("--bar", metavar="LENGTH", default="1min", help="length of bars that are made of ticks (default: %(default)s)")
    parser.add_argument("--name", metavar="N", help="name of the dataset in reports (default: the folder's)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from backtest.data.importers import import_files
    from backtest.data.importers.common import Request

    # not argparse's to require: it would say so before a misspelt --into is named
    if arguments.into is None:
        raise ParameterError("carry data import: --into is missing; name the folder of the dataset, such as --into data/eth")
    mapping = Path(arguments.mapping) if arguments.mapping else None
    length = pd.to_timedelta(arguments.bar, errors="coerce")
    if pd.isna(length) or length <= pd.Timedelta(0):
        raise ParameterError(f'--bar must be a length of time such as "1min" or "10s": --bar={arguments.bar}')
    request = Request(symbol=arguments.symbol, mapping=mapping, bar=length)
    print(import_text(import_files(arguments.source, arguments.files, arguments.into, request, arguments.name)))
    return 0


def import_text(report: "ImportReport") -> str:
    """What became of each file, as it is printed."""
    rows = [("file", "as", "kept", "cut", "from", "to")]
    rows += [
        (line.source.path.name, line.target, f"{line.kept:,}", f"{line.cut:,}", day(line.first), day(line.last)) for line in report.lines
    ]
    dataset = report.dataset
    last = f'{dataset.path}: dataset "{dataset.name}", hash {dataset.hash[:12]}{"" if report.changed else ", unchanged"}'
    return "\n".join([text_table(rows, "<<>>>>"), "", *listed("note", report.notes), last])
