"""The console command `carry`: data in, data checked, and whatever looks at data without running a strategy.

A command is a function that takes the parsed arguments and returns an exit code: 0 all is well, 1 something was found, 2 the input or the
command line was wrong, which is one sentence on stderr and never a traceback.

    carry data import binance FILES… --into data/mine
    carry data check data/mine
"""

import argparse
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pandas as pd

from backtest._version import __version__
from backtest.errors import ParameterError, did_you_mean, user_errors

if TYPE_CHECKING:
    from backtest.data.checks import Check
    from backtest.data.importers import ImportReport

WIDTH = 80


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are a `ParameterError` with the nearest known word."""

    def error(self, message: str) -> NoReturn:
        """Raise `ParameterError` in place of printing the usage and leaving."""
        wrong = re.search(r"invalid choice: '?([^' ]+)'?", message)
        if wrong:
            raise ParameterError(f'unknown command "{wrong[1]}"; {did_you_mean(wrong[1], self.commands())}')
        raise ParameterError(f'{message}; see "{self.prog} --help"')

    def commands(self) -> list[str]:
        """Names of the commands right below this one."""
        return [name for action in self._actions if isinstance(action, argparse._SubParsersAction) for name in action.choices]

    def options(self) -> list[str]:
        """The options that this command takes."""
        return [option for action in self._actions for option in action.option_strings if option.startswith("--")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = _parser()
    with user_errors():
        parsed, unknown = parser.parse_known_args(arguments)
        command: Parser = parsed.parser
        if unknown:
            option = unknown[0].partition("=")[0]
            hint = did_you_mean(option, command.options()) if option.startswith("-") else f'see "{command.prog} --help"'
            raise ParameterError(f'{command.prog}: unknown {"option" if option.startswith("-") else "argument"} "{option}"; {hint}')
        code: int = parsed.run(parsed)
    return code


def _parser() -> Parser:
    parser = Parser(prog="carry", description="Backtests of carry: data in, and what the data say.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"carry {__version__}")
    parser.set_defaults(parser=parser, run=_help)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    _add_data(commands)
    return parser


def _add(commands: "argparse._SubParsersAction[Parser]", name: str, summary: str, **more: str) -> Parser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=more.get("description", summary),
        epilog=more.get("epilog"),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(parser=parser, run=_help)
    return parser


def _help(arguments: argparse.Namespace) -> int:
    """Say what a group of commands offers when none of them was asked for."""
    arguments.parser.print_help()
    return 2


# --- carry data ------------------------------------------------------------------------------------------


def _add_data(commands: "argparse._SubParsersAction[Parser]") -> None:
    data = _add(commands, "data", "import, check and make datasets").add_subparsers(
        title="commands", metavar="COMMAND", parser_class=Parser
    )
    importing = _add(data, "import", "import files into a dataset, which is made or added to", description=_IMPORT, epilog=_IMPORT_EXAMPLES)
    importing.add_argument("source", metavar="SOURCE", help="whose files: binance, or csv for any table with a --mapping")
    importing.add_argument("files", metavar="FILES", nargs="+", help="CSV files, or folders of them")
    importing.add_argument("--into", metavar="DIR", help="folder of the dataset, made or added to (required)")
    importing.add_argument("--symbol", metavar="S", help="the symbol, where no file tells it, such as ETHUSDT")
    importing.add_argument("--mapping", metavar="FILE", help="TOML file that says which column is what (source csv); see data/README.md")
    importing.add_argument("--name", metavar="N", help="name of the dataset in reports (default: the folder's)")
    importing.set_defaults(run=_import)
    checking = _add(
        data, "check", "say what a dataset holds and what is wrong with it", epilog="exit code: 0 good, 1 problems, 2 unreadable"
    )
    checking.add_argument("folder", metavar="DIR", help="folder of the dataset")
    checking.set_defaults(run=_check)
    sampling = _add(data, "sample", "make the simulated sample, the same each time")
    sampling.add_argument("--into", metavar="DIR", default="data/sample", help="folder to write it to (default: %(default)s)")
    sampling.set_defaults(run=_sample)


_IMPORT = """import files into a dataset, which is made or added to

Bars are stamped with their end, funding times are rounded to the second, bars
after delivery are cut and counted. Rows that contradict the dataset, and
anything that can't be true, are refused and nothing is written."""

_IMPORT_EXAMPLES = """examples:
  carry data import binance downloads/ --into data/eth
  carry data import binance spot.csv --symbol ETHUSDT --into data/eth
  carry data import csv DTB3.csv --mapping tbill.toml --into data/eth"""


def _import(arguments: argparse.Namespace) -> int:
    from backtest.data.importers import import_files
    from backtest.data.importers.common import Request

    # not argparse's to require: it would say so before a misspelt --into is named
    if arguments.into is None:
        raise ParameterError("carry data import: --into is missing; name the folder of the dataset, such as --into data/eth")
    mapping = Path(arguments.mapping) if arguments.mapping else None
    request = Request(symbol=arguments.symbol, mapping=mapping)
    print(_import_text(import_files(arguments.source, arguments.files, arguments.into, request, arguments.name)))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from backtest.data.checks import check_dataset
    from backtest.data.store import open_dataset

    check = check_dataset(open_dataset(arguments.folder))
    print(_check_text(check))
    return 0 if check.good else 1


def _sample(arguments: argparse.Namespace) -> int:
    from backtest.data.sample import build_sample

    print(f"{arguments.into}: SIMULATED sample, hash {build_sample(arguments.into)[:12]}")
    return 0


# --- wording ---------------------------------------------------------------------------------------------


def _import_text(report: "ImportReport") -> str:
    rows = [("file", "as", "kept", "cut", "from", "to")]
    rows += [
        (line.file.name, line.target, f"{line.kept:,}", f"{line.cut:,}", _day(line.first), _day(line.last))
        for line in report.imported.lines
    ]
    dataset = report.dataset
    last = f'{dataset.path}: dataset "{dataset.name}", hash {dataset.hash[:12]}{"" if report.changed else ", unchanged"}'
    return "\n".join([_table(rows, "<<>>>>"), "", *_list("note", report.imported.notes), last])


def _check_text(check: "Check") -> str:
    dataset = check.dataset
    simulated = ", SIMULATED" if dataset.simulated else ""
    head = [f"{dataset.name}{simulated}, hash {dataset.hash[:12]}", f"from {dataset.info.get('source', 'unknown')}"]
    rows = [("instrument", "kind", "from", "to", "rows", "largest gap", "missing")]
    for row in check.rows:
        gap = _duration(row.largest_gap)
        rows.append((row.instrument.id, row.instrument.kind, _day(row.first), _day(row.last), f"{row.rows:,}", gap, f"{row.missing:,}"))
    findings = [*_list("error", check.errors), *_list("problem", check.problems), *_list("note", check.notes)]
    count = len(check.errors) + len(check.problems)
    verdict = "good: nothing is missing, nothing contradicts" if check.good else f"{count} problem{'s' if count > 1 else ''} found"
    return "\n".join([*map(_wrapped, head), "", _table(rows, "<<>>>>>"), "", *findings, verdict])


def _table(rows: Sequence[Sequence[str]], sides: str) -> str:
    """Plain columns at most 80 wide: closer together, then with the first one shortened, where they would not fit."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(sides))]
    between = "  " if sum(widths) + 2 * (len(sides) - 1) <= WIDTH else " "
    widths[0] = max(8, min(widths[0], WIDTH - sum(widths[1:]) - len(between) * (len(sides) - 1)))
    cells = ([_shortened(row[0], widths[0]), *row[1:]] for row in rows)
    lines = (between.join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def _shortened(text: str, width: int) -> str:
    """A text with its middle left out: the ends of file names tell the files apart."""
    return text if len(text) <= width else f"{text[: width // 2]}…{text[len(text) - (width - width // 2 - 1) :]}"


def _list(word: str, findings: Sequence[str]) -> list[str]:
    return [*(_wrapped(f"{word}: {finding}") for finding in findings), *([""] if findings else [])]


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _day(time: pd.Timestamp | None) -> str:
    return "-" if time is None else f"{time:%Y-%m-%d}"


def _duration(length: pd.Timedelta | None) -> str:
    """A gap in its own unit: 1h, 9d 3h, 15m."""
    if length is None:
        return "-"
    minutes = int(length.total_seconds() // 60)
    parts = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "m"))
    return " ".join(f"{count}{unit}" for count, unit in parts if count) or f"{length.total_seconds():g}s"


if __name__ == "__main__":
    raise SystemExit(main())
