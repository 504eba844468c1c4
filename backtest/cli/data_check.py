"""`carry data check`: what a dataset holds, and what is wrong with it."""

import argparse
from typing import TYPE_CHECKING

from backtest.cli.parser import add_command
from backtest.cli.text import day, duration, listed, text_table, wrapped

if TYPE_CHECKING:
    from backtest.cli.parser import Commands
    from backtest.data.checks import Check


def add(commands: "Commands") -> None:
    """Add the command to `carry data`."""
    parser = add_command(
        commands, "check", "say what a dataset holds and what is wrong with it", epilog="exit code: 0 good, 1 problems, 2 unreadable"
    )
    parser.add_argument("folder", metavar="DIR", help="folder of the dataset")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from backtest.data.checks import check_dataset
    from backtest.data.store import open_dataset

    check = check_dataset(open_dataset(arguments.folder))
    print(check_text(check))
    return 0 if check.good else 1


def check_text(check: "Check") -> str:
    """What the check found, as it is printed."""
    dataset = check.dataset
    simulated = ", SIMULATED" if dataset.simulated else ""
    head = [f"{dataset.name}{simulated}, hash {dataset.hash[:12]}", f"from {dataset.info.get('source', 'unknown')}"]
    rows = [("instrument", "kind", "from", "to", "rows", "largest gap", "missing")]
    for row in check.rows:
        gap = duration(row.largest_gap)
        rows.append((row.instrument.id, row.instrument.kind, day(row.first), day(row.last), f"{row.rows:,}", gap, f"{row.missing:,}"))
    findings = [*listed("error", check.errors), *listed("problem", check.problems), *listed("note", check.notes)]
    count = len(check.errors) + len(check.problems)
    verdict = "good: nothing is missing, nothing contradicts" if check.good else f"{count} problem{'s' if count > 1 else ''} found"
    return "\n".join([*map(wrapped, head), "", text_table(rows, "<<>>>>>"), "", *findings, verdict])
