"""`carry data sample`: the simulated sample."""

import argparse
from typing import TYPE_CHECKING

from backtest.cli.parser import add_command

if TYPE_CHECKING:
    from backtest.cli.parser import Commands


def add(commands: "Commands") -> None:
    """Add the command to `carry data`."""
    parser = add_command(commands, "sample", "make the simulated sample, the same each time")
    parser.add_argument("--into", metavar="DIR", default="data/sample", help="folder to write it to (default: %(default)s)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from backtest.data.sample import build_sample

    print(f"{arguments.into}: SIMULATED sample, hash {build_sample(arguments.into)[:12]}")
    return 0
