"""A stress test told: a table on the terminal, a section of the report, a list in the JSON.

print(render_stress(bt.stress(strategy, market)))
"""

import json
import os
import textwrap
from pathlib import Path
from typing import Any

from backtest.report.blocks import Block, Cell, Heading, Points, Section, Table, Text, signed
from backtest.report.files import write_atomically
from backtest.report.html import write_report
from backtest.report.json import plain_value, to_dict
from backtest.report.table import WIDTH
from backtest.report.words import money, percent, source_label
from backtest.stress import StressTest

# heading, column of the table, width
COLUMNS = (
    ("final", "final_equity", 13), ("return", "total_return", 9), ("change", "change", 13), ("of cap.", "change_of_capital", 9),
    ("drawdown", "max_drawdown", 9), ("liq.", "liquidations", 5), ("trades", "trades", 7),
)  # fmt: skip
FRACTIONS = ("total_return", "change_of_capital", "max_drawdown")
CASH = ("final_equity", "change")
NAMES = WIDTH - sum(width for _, _, width in COLUMNS)


def render_stress(test: StressTest) -> str:
    """The table and a sentence a scenario, without a final newline; no line is longer than 80 characters."""
    head = f"{'Scenario':<{NAMES}}" + "".join(f"{title:>{width}}" for title, _, width in COLUMNS)
    lines = [f"Stress test, {test.base.quote}", head, "-" * WIDTH]
    rows = test.table.to_dict("index")
    lines += [
        f"{shortened(str(name)):<{NAMES}}" + "".join(f"{written(row, key, width - 1):>{width}}" for _, key, width in COLUMNS)
        for name, row in rows.items()
    ]
    lines.append("")
    for sentence in sentences(test):
        lines += textwrap.wrap(sentence, WIDTH, initial_indent="* ", subsequent_indent="  ")
    return "\n".join(lines)


def stress_section(test: StressTest) -> Section:
    """The section of the report."""
    head = [Cell("scenario", "t"), *(Cell(title.replace("cap.", "capital")) for title, _, _ in COLUMNS), Cell("lost most", "t")]
    rows = [
        [Cell(str(name), "t"), *(signed(written(row, key)) for _, key, _ in COLUMNS), Cell(source_label(row["worst_source"]) or "–", "t")]
        for name, row in test.table.to_dict("index").items()
    ]
    blocks: list[Block] = [
        Text("Each scenario is a run of its own on data that were altered on purpose; a strategy's signals are computed on them."),
        Table(head, rows, caption=f"Cash in {test.base.quote}; change against the run as it was."),
        Heading("What happens in them"),
        Points([sentence.replace(" -", " −") for sentence in sentences(test)]),
    ]
    return Section("stress", "Stress test", "Stress", blocks)


def write_stress_report(test: StressTest, path: str | os.PathLike[str]) -> Path:
    """Write the report of the run as it was with the section on its scenarios. Errors: StorageError if the file can't be written."""
    return write_report(test.base, path, [stress_section(test)])


def write_stress_json(test: StressTest, path: str | os.PathLike[str]) -> Path:
    """Write the JSON of the run as it was with the rows of the table as `stress`. Errors: StorageError if the file can't be written."""
    rows = [{"scenario": name, **row} for name, row in test.table.to_dict("index").items()]
    document = to_dict(test.base) | {"stress": plain_value(rows), "stress_skipped": dict(test.skipped)}
    return write_atomically(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", what="JSON", option="--json")


def sentences(test: StressTest) -> list[str]:
    """What each scenario does and which source it costs most; then those that could not be played."""
    found = []
    for name, row in list(test.table.to_dict("index").items())[1:]:
        lost = f"{source_label(row['worst_source'])} {money(row['worst_change'])}" if row["worst_source"] else "nothing"
        found.append(f"{name}: {row['what']} Lost most: {lost}.")
    return found + [f"{name} was left out: {why}." for name, why in test.skipped.items()]


def written(row: dict[Any, Any], key: str, width: int | None = None) -> str:
    """A cell of the table."""
    value = row[key]
    if key in CASH:
        return money(value, width=width, sign=key == "change")
    return percent(value, sign=key == "change_of_capital") if key in FRACTIONS else f"{value:,}"


def shortened(name: str) -> str:
    """A scenario's name as far as the column goes."""
    return name if len(name) < NAMES else f"{name[: NAMES - 2]}…"
