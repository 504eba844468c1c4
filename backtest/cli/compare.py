"""`carry compare`: runs beside each other, from their JSON files, as a table, as JSON, and as a page with figures.

carry compare calm.json bold.json --names calm bold --html comparison.html
"""

import argparse
from typing import TYPE_CHECKING

from backtest.cli.parser import FILES, add_command, add_json, completed
from backtest.cli.text import print_or_write
from backtest.terminal import waiting

if TYPE_CHECKING:
    from backtest.cli.parser import Commands

_DESCRIPTION = """put runs beside each other

Figures, sources of PnL, correlation of daily PnL, and returns at no cost and at
twice the cost, of 2 to 24 runs. What differs in their data, period, capital,
currency, costs and execution stands on top.

A file is what a strategy writes with --json, or result.to_json in Python. With
--html or --json it writes that file and prints its name in place of the table;
the page has equity and drawdowns, and attribution side by side."""

_EXAMPLES = """python strategies/cash_and_carry.py --json carry.json
python strategies/funding_carry.py --json funding.json
carry compare carry.json funding.json
carry compare carry.json funding.json --names dated perpetual \\
    --html comparison.html"""


def add(commands: "Commands") -> None:
    """Add the command to `carry`."""
    parser = add_command(
        commands,
        "compare",
        "put runs beside each other",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        done="printed or written",
        usage="FILE FILE [FILE …] [options]",
    )
    completed(parser.add_argument("files", nargs="+", metavar="FILE", help="JSON files of runs, two or more"), FILES)
    parser.add_argument(
        "--names", nargs="+", metavar="NAME", help="what to call the runs, one for each file (default: the strategies, and what differs)"
    )
    completed(parser.add_argument("--html", metavar="FILE", help="write a page with the tables and the figures"), FILES)
    add_json(parser, "it")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from backtest.compare import compare

    with waiting("comparing"):
        comparison = compare(*arguments.files, names=arguments.names)
    return print_or_write(comparison, arguments)
