"""How flags are read and how help is laid out, for strategies' scripts and the console command alike.

A flag's text becomes the type of its field; a mistake is one sentence with the nearest known flag. A script has some eighty flags: `--help` tells of
those that a first day needs and names the others, `--help-all` tells of all.

    parser = Parser(prog="cash_and_carry.py", description="…")
    found = parser.parse_strictly(["--enter", "0.05"])
"""

import argparse
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Collection, Sequence
from dataclasses import MISSING, Field
from difflib import get_close_matches
from itertools import takewhile
from typing import Any, NoReturn

from backtest.errors import ParameterError, did_you_mean
from backtest.terminal import coloured

WIDTH = 80
VARYING = "only parameters of the strategy and its position and limits take several; run it once for each"
VALUES = (
    "times are UTC, as 2023-06-01 or 2023-06-01T08:00; lengths of time are 30D, 8h or 15min; rates, fees and limits are fractions: "
    "0.05 is 5%, 0.001 is 10 bps; switches are yes or no; none takes a limit away"
)

# ---------------------------------------------------------------- help


class Layout(argparse.RawDescriptionHelpFormatter):
    """Help at most 80 wide, in which what a flag may have many of reads V … and not V [V ...]."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=24)
        self._width = min(self._width, WIDTH - 1)

    def add_argument(self, action: argparse.Action) -> None:
        """Commands are indented, which their column has to know."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += 2

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs == argparse.ONE_OR_MORE and not isinstance(action.metavar, tuple):
            return f"{action.metavar or default_metavar} …"
        return super()._format_args(action, default_metavar)


def exits(done: str = "done", one: str = "") -> str:
    """The line on exit codes that ends every help. one: what 1 means, where a command has it."""
    codes = f"0 {done}, 1 {one}" if one else f"0 {done}"
    told = f"exit code: {codes}, 2 the data or the command line was wrong (one sentence on stderr), 130 stopped by Ctrl-C"
    return filled(told)


def filled(text: str, indent: str = "  ") -> str:
    """A text broken at the width, its further lines indented."""
    return textwrap.fill(text, WIDTH - 1, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def paragraphs(text: str) -> str:
    """A docstring with each paragraph broken at the width; one whose lines are indented, such as a formula, stays as it is."""
    parts = re.split(r"\n\s*\n", inspect.cleandoc(text))
    return "\n\n".join(part if re.search(r"^ ", part, re.M) else filled(" ".join(part.split()), "") for part in parts)


def bold_headings(text: str) -> str:
    """A help text with its headings bold and its flags blue, for a terminal. A heading stands after an empty line and above indented ones."""
    text = re.sub(r"(?<=\n\n)(\S[^\n]*:)(?=\n  )", "\033[1m\\1\033[0m", text)
    return re.sub(r"^(  )(-[\w-]+(?:, --[\w-]+)?)", "\\1\033[38;5;32m\\2\033[0m", text, flags=re.MULTILINE)


def say_help(text: str) -> None:
    """Print a help text, with colours on a terminal."""
    print(bold_headings(text.rstrip("\n")) if coloured(sys.stdout) else text.rstrip("\n"))


class _Help(argparse.Action):
    """Print what a first day needs, or everything."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None) -> None:
        assert isinstance(parser, Parser)
        say_help(parser.format_help() if self.const else parser.short_help())
        parser.exit()


class Parser(argparse.ArgumentParser):
    """A script's argument parser: its errors are one sentence with a hint, and its help is short until all is asked for.

    essential: the names of what the short help tells of.
    """

    def __init__(self, *, prog: str, description: str | None, epilog: str = "", essential: Collection[str] = ()) -> None:
        told = paragraphs(description or "")
        super().__init__(prog=prog, description=told, epilog=epilog, formatter_class=Layout, allow_abbrev=False, add_help=False)
        self.usage = "%(prog)s [--PARAMETER V …] [--data DIR] [--start D] [--end D]\n       [--report FILE.html] [--json FILE] [more flags]"
        self.essential = set(essential)

    def add_helps(self, group: argparse._ArgumentGroup) -> None:
        """Add the flags that print the help."""
        group.add_argument("-h", "--help", nargs=0, action=_Help, default=argparse.SUPPRESS, help="the flags of a first day")
        group.add_argument("--help-all", nargs=0, action=_Help, const=True, default=argparse.SUPPRESS, help="all flags")

    def short_help(self) -> str:
        """The essential flags in their groups, then the names of all others."""
        layout = self._get_formatter()
        layout.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        layout.add_text(self.description)
        others = []
        for group in self._action_groups:
            shown = [action for action in group._group_actions if action.dest in self.essential]
            layout.start_section(group.title)
            if shown and len(group.description or "") < WIDTH * 5:
                layout.add_text(group.description)
            layout.add_arguments(shown)
            layout.end_section()
            rest = [action.option_strings[-1] for action in group._group_actions if action.dest not in self.essential]
            title = str(group.title).partition(" (")[0]
            others += [f"  {title}: {' '.join(rest)}"] if rest else []
        told = ["more flags, told by --help-all:", *(filled(line, "      ") for line in others)]
        return "\n".join([layout.format_help(), *told, "", self.epilog or ""])

    def error(self, message: str) -> NoReturn:
        """Raise ParameterError instead of leaving the program."""
        raise ParameterError(f"{message}; see {self.prog} --help")

    def parse_strictly(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse all arguments; ParameterError with the nearest option for an unknown one."""
        words = self.guarded(arguments)
        found, unknown = self.parse_known_args(words)
        for word in unknown:
            if word.startswith("--"):
                flag, known = word.split("=")[0], list(self._option_string_actions)
                near = get_close_matches(flag, known, n=1)
                raise ParameterError(f"unknown parameter {flag}; {did_you_mean(flag, known) if near else f'see {self.prog} --help-all'}")
            raise ParameterError(self.too_many(words) or f'unexpected argument "{word.strip()}"; see {self.prog} --help')
        for name, given in vars(found).items():
            setattr(found, name, [bare(word) for word in given] if isinstance(given, list) else bare(given))
        return found

    def guarded(self, arguments: Sequence[str]) -> list[str]:
        """The words with a blank before each value that begins with a minus: argparse takes "-1e-3" for a flag, and one word for all after a "="."""
        words: list[str] = []
        for word in arguments:
            flag, equals, value = word.partition("=")
            action = self._option_string_actions.get(flag)
            if equals and action is not None and action.nargs != 0:
                words += [flag, f" {value}" if value.startswith("-") else value]
            else:
                words.append(f" {word}" if re.match(r"-[\d.]", word) else word)
        return words

    def too_many(self, words: Sequence[str]) -> str | None:
        """The sentence on a flag that takes one value and has got several; None where there is none."""
        for place, word in enumerate(words):
            action = self._option_string_actions.get(word)
            if action is None or action.nargs is not None:
                continue
            values = list(takewhile(lambda value: not value.startswith("-"), words[place + 1 :]))
            if len(values) > 1:
                return f"{word} takes one value: it got {' '.join(map(bare, values))}; {VARYING}"
        return None


def bare(word: Any) -> Any:
    """A value without the blank that guards its minus."""
    return word[1:] if isinstance(word, str) and word.startswith(" -") else word


def parse_value(text: str, kinds: tuple[Any, ...], name: str) -> Any:
    """A flag's text as the type of its field; ParameterError naming what it must be."""
    if types.NoneType in kinds and text.lower() == "none":
        return None
    if bool in kinds:
        if text.lower() in ("true", "yes", "1", "false", "no", "0"):
            return text.lower() in ("true", "yes", "1")
        raise ParameterError(f"{name} must be true or false: {name}={text}")
    several = next((kind for kind in kinds if typing.get_origin(kind) is tuple), None)
    if several is not None and ("," in text or kinds == (several, types.NoneType)):
        parts, hints = text.split(","), typing.get_args(several)
        return tuple(parse_value(part.strip(), kinds_of(hints[min(k, len(hints) - 1)]), name) for k, part in enumerate(parts))
    numeric = [kind for kind in (int, float) if kind in kinds]
    for kind in numeric:
        try:
            return kind(text)
        except ValueError:
            continue
    if numeric and not any(kind is str or typing.get_origin(kind) is typing.Literal for kind in kinds):
        wanted = "a whole number" if numeric == [int] else "a number"
        raise ParameterError(f"{name} must be {wanted}{', or none' if types.NoneType in kinds else ''}: {name}={text}")
    return text


def kinds_of(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)


def help_text(item: "Field[Any]") -> str:
    """A field's help with its default, as one would type it."""
    extra = "" if item.default is MISSING or "(default:" in item.metadata["help"] else f" (default: {typed(item.default)})"
    return f"{item.metadata['help']}{extra}".replace("%", "%%")


def typed(value: object) -> str:
    """A value as it is typed after a flag: yes, none, 0.6,0.4."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)


def metavar(kinds: tuple[Any, ...]) -> str:
    """What stands for a flag's value in the help."""
    return "yes|no" if bool in kinds else "V"


# ---------------------------------------------------------------- flags that several command lines have


def add_loading(group: argparse._ArgumentGroup) -> None:
    """Add the options about how a dataset is read, which every command that loads a market has."""
    group.add_argument(
        "--instruments",
        nargs="+",
        metavar="PATTERN",
        help="load only these, by id or pattern, as ETHUSDT-SPOT '*.cme' (default: all of the dataset)",
    )
    group.add_argument(
        "--currency",
        metavar="C",
        help="turn all prices into this currency, as USD, by the dataset's series such as USDTUSD (default: none)",
    )
    group.add_argument("--freq", metavar="T", help="resample to coarser bars, as 1D or 4h (default: the data's own)")
    group.add_argument(
        "--clock",
        nargs="+",
        metavar="PATTERN",
        help="end all bars where those of these instruments end, as '*.cme' (default: each its own)",
    )
    group.add_argument("--staleness", default="0s", metavar="T", help="how old a close may be and still meet another (default: 0s)")
    group.add_argument(
        "--max-gap",
        default=None,
        metavar="T",
        help="longest hole in the bars that is only noted, as 2D (default: 1 day, or 4 bars if that is longer)",
    )


def add_sweeping(parser: argparse.ArgumentParser) -> None:
    """Add the flags for several values of parameters."""
    group = parser.add_argument_group(
        "tune",
        "one value of a parameter is a run; several, or a range as 0.02..0.3\n"
        "with --sample (by logarithms: 0.02..0.3:log), are a sweep: a row for\n"
        "each combination, and the odds that the best one is luck",
    )
    for flag, value, does in (
        ("sample", "N", "run this many of the combinations (default: all; ranges need it)"),
        ("method", "M", "how a sample is drawn: random, or sobol, which leaves no large holes (default: random)"),
        ("seed", "N", "another number is another sample (default: 0)"),
        ("threads", "N", "run so many at once (default: one a processor)"),
        ("store", "DIR", "keep finished combinations here; a sweep that was stopped goes on where it ended (default: nowhere)"),
        ("cluster", "ADDRESS", "run on the Dask cluster with this scheduler, as tcp://10.0.0.1:8786"),
        ("longest", "T", "refuse what would take longer than this, as 2h (default: 1D)"),
        ("search", "N", "look for good combinations in so many trials, each near what was good before"),
    ):
        group.add_argument(f"--{flag}", metavar=value, help=does)
    group.add_argument(
        "--walk-forward",
        nargs=2,
        metavar=("TRAIN", "TEST"),
        help="choose on one period and trade the next one by it, again and again, as 365D 90D",
    )
    group.add_argument("--embargo", metavar="T", help="time between the two in a walk-forward, as 30D (default: the longest hold)")
