"""The parser of every command: its complaints are one sentence with the nearest known word, and its help ends with examples and exit codes.

parser = add_command(commands, "sample", "make the simulated sample", example="carry data sample --into data/sample")
parser.set_defaults(run=run)
"""

import argparse
import re
from typing import TYPE_CHECKING, Any, NoReturn

from backtest.errors import ParameterError, did_you_mean
from backtest.flags import Layout, exits, say_help

if TYPE_CHECKING:
    import pandas as pd

    Commands = argparse._SubParsersAction["Parser"]

FILES, FOLDERS, VENUES = "files", "folders", "venues"  # what a shell completes an argument with, beside a list of words


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are a `ParameterError` with the nearest known word."""

    def error(self, message: str) -> NoReturn:
        """Raise `ParameterError` in place of printing the usage and leaving."""
        wrong = re.search(r"invalid choice: '?([^' ]+)'?", message)
        if wrong:
            raise ParameterError(f'unknown command "{wrong[1]}"; {did_you_mean(wrong[1], self.commands())}')
        raise ParameterError(f'{message}; see "{self.prog} --help"')

    def print_help(self, file: Any = None) -> None:
        """Print the help, with colours on a terminal."""
        say_help(self.format_help())

    def commands(self) -> list[str]:
        """Names of the commands right below this one."""
        return [name for action in self._actions if isinstance(action, argparse._SubParsersAction) for name in action.choices]

    def options(self) -> list[str]:
        """The options that this command takes."""
        return [option for action in self._actions for option in action.option_strings if option.startswith("--")]


def add_command(commands: "Commands", name: str, summary: str, **more: str) -> Parser:
    """Add a command, or a group of them, with its summary; it shows its help until it is given a `run`.

    more: `description`; `examples`, a line each; `done` and `one`, what exit codes 0 and 1 mean; `usage` after the command's name.
    """
    examples = "\n".join(["examples:", *(f"  {line}" for line in more["examples"].splitlines()), "", ""]) if "examples" in more else ""
    parser = commands.add_parser(
        name,
        help=summary,
        description=more.get("description", summary),
        epilog=examples + exits(more.get("done", "done"), more.get("one", "")),
        allow_abbrev=False,
        formatter_class=Layout,
    )
    if "usage" in more:
        parser.usage = f"%(prog)s {more['usage']}"
    parser.set_defaults(parser=parser, run=show_help)
    return parser


def completed(action: argparse.Action, by: str | tuple[str, ...]) -> None:
    """Say what a shell completes an argument with: FILES, FOLDERS, VENUES, or these words."""
    action.completed = by  # type: ignore[attr-defined]


def add_json(parser: "argparse.ArgumentParser | argparse._ArgumentGroup", what: str) -> None:
    """Add the option that writes what is found for machines."""
    told = f"write {what} for machines, null for what isn't known; - is standard output, and nothing else goes there"
    completed(parser.add_argument("--json", metavar="FILE", help=told), FILES)


def time_option(option: str, text: str) -> "pd.Timestamp":
    """The instant in UTC that an option names, by a day or a time; raises `ParameterError` for anything else."""
    import pandas as pd

    time = pd.to_datetime(text, format="ISO8601", errors="coerce")
    if pd.isna(time) or "-" not in text:
        raise ParameterError(f'{option} must be a time like 2024-01-31 or 2024-01-31T08:00: {option}="{text}"')
    try:
        time = pd.Timestamp(time).as_unit("ns")
    except pd.errors.OutOfBoundsDatetime:
        raise ParameterError(f'{option} must be a time between 1677-09-22 and 2262-04-11: {option}="{text}"') from None
    return time.tz_localize("UTC") if time.tzinfo is None else time.tz_convert("UTC")


def show_help(arguments: argparse.Namespace) -> int:
    """Say what a group of commands offers when none of them was asked for."""
    arguments.parser.print_help()
    return 2


def add_group(commands: "Commands", name: str, summary: str) -> "Commands":
    """Add a group of commands and give the place for its members."""
    return add_command(commands, name, summary).add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
