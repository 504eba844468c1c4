"""`carry data sample`: the simulated sample."""

import argparse
from typing import TYPE_CHECKING

from backtest.cli.parser import FOLDERS, add_command, add_json, completed
from backtest.cli.text import put
from backtest.terminal import waiting

if TYPE_CHECKING:
    from backtest.cli.parser import Commands

_DESCRIPTION = """make the simulated sample, the same each time

Six years of hourly bars of an ETH spot, a perpetual with funding and quarterly
futures, drawn at random around the rough regimes of 2020 to 2025: good to learn
the tool, no evidence about any strategy. What was there is replaced."""


def add(commands: "Commands") -> None:
    """Add the command to `carry data`."""
    parser = add_command(
        commands,
        "sample",
        "make the simulated sample, the same each time",
        description=_DESCRIPTION,
        examples="carry data sample\ncarry data sample --into data/practice",
        done="made",
    )
    into = parser.add_argument("--into", metavar="DIR", default="data/sample", help="folder to write it to (default: %(default)s)")
    completed(into, FOLDERS)
    add_json(parser, "its place and hash")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from backtest.data.sample import build_sample

    with waiting("making the simulated sample"):
        digest = build_sample(arguments.into)
    put(f"{arguments.into}: SIMULATED sample, hash {digest[:12]}", arguments.json, lambda: _document(arguments.into, digest))
    return 0


def _document(place: str, digest: str) -> dict[str, object]:
    return {"dataset": {"name": "sample", "hash": digest, "simulated": True}, "path": place}
