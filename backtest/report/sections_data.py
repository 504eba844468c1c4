"""What the figures rest on: the quality of the data, and where all comes from, down to the lines that make the run again.

section = provenance_section(result)
"""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from backtest.report.blocks import Block, Cell, Code, Facts, Fold, Heading, Points, Section, Table, Text
from backtest.report.protocol import Reportable
from backtest.report.sections_parts import count, finite, fraction, heads, programs
from backtest.report.words import UNKNOWN, day, instant, known, money, plain

WARNING = "▲"
ALL_ROWS = 12  # instruments up to which the table stands open
NO_HOLE = pd.Timedelta(0)


def quality_section(result: Reportable) -> Section | None:
    """What the data of the run's instruments hold and lack; what is worth a look is marked."""
    table = result.quality
    if table.empty:
        return None
    paid = bool((table["payments"] > 0).any() or (table["missing_payments"] > 0).any())
    quoted = bool((table[["quoted", "marked"]] > 0).any(axis=None))
    head = heads("instrument", "kind", "from", "to", "bars", "missing", "longest hole", "stale", text=2)
    head += heads("funding", "missing", text=0) if paid else []
    head += heads("with quotes", "with marks", text=0) if quoted else []
    rows = [_quality_row(str(name), row, paid, quoted) for name, row in table.to_dict("index").items()]
    shown = Table(head, rows, look="wide", sortable=len(rows) > 1)
    said = Text(_quality_words(table))
    note = Text("Missing: of the market's clock within the instrument's life. Stale: closes too old to be compared with others.", "muted")
    blocks: list[Block] = [said, shown, note] if len(rows) <= ALL_ROWS else [said, Fold(f"All {len(rows)} instruments", (shown, note))]
    return Section("quality", "Quality of the data", "Quality", blocks)


def _quality_words(table: pd.DataFrame) -> str:
    """The table in two sentences: how many instruments, and how many of them lack something."""
    holes = table["expected"] - table["bars"] > 0
    parts = []
    if holes.any():
        longest = table.loc[holes, "longest_hole"]
        told = f", the longest hole is {span(longest.max())} in {longest.idxmax()}" if longest.max() > NO_HOLE else ""
        parts.append(f"{int(holes.sum()):,} without all bars{told}")
    for name, what in (("stale", "with stale closes"), ("missing_payments", "without all funding payments")):
        if (table[name] > 0).any():
            parts.append(f"{int((table[name] > 0).sum()):,} {what}")
    first = f"The run looks at {len(table):,} instrument{'s' if len(table) > 1 else ''}"
    return f"{first}; {'; '.join(parts)} ({WARNING})." if parts else f"{first}: no bar, no close and no payment is missing."


def _quality_row(name: str, row: Mapping[Hashable, Any], paid: bool, quoted: bool) -> list[Cell]:
    figure = {key: float(row[key]) for key in ("bars", "expected", "stale", "payments", "missing_payments", "quoted", "marked")}
    cells = [Cell(name), Cell(str(row["kind"]), "t"), Cell(day(row["start"])), Cell(day(row["end"]))]
    hole = row["longest_hole"]
    lacking = figure["expected"] - figure["bars"]
    cells += [count(figure["bars"]), marked(lacking)]
    cells.append(
        Cell(
            span(hole) if lacking > 0 and hole > NO_HOLE else UNKNOWN,
            sort=finite(hole / pd.Timedelta("1h")) if isinstance(hole, pd.Timedelta) else None,
        )
    )
    cells.append(marked(figure["stale"]))
    perpetual = str(row["kind"]) == "perpetual"
    cells += (
        [count(figure["payments"]) if perpetual else Cell(""), marked(figure["missing_payments"]) if perpetual else Cell("")]
        if paid
        else []
    )
    cells += [fraction(figure["quoted"], 1), fraction(figure["marked"], 1)] if quoted else []
    return cells


def marked(value: float) -> Cell:
    """A number that should be none: with a mark where it is not."""
    return Cell(f"{WARNING} {value:,.0f}", "n", None, value) if value > 0 else Cell("0", sort=value)


def span(value: object) -> str:
    """A length of time in its largest fitting unit."""
    if not isinstance(value, pd.Timedelta) or not known(value):
        return UNKNOWN
    units = {"days": pd.Timedelta("1D"), "hours": pd.Timedelta("1h"), "minutes": pd.Timedelta("1min")}
    name = next((name for name, unit in units.items() if value >= 2 * unit), "minutes")
    return f"{value / units[name]:,.1f} {name}".replace(".0 ", " ")


def provenance_section(result: Reportable) -> Section:
    """The data, the parameters and the programs that the figures came from, and how they are made again."""
    dataset = result.dataset
    kind = "SIMULATED: made by a generator, not by a market" if dataset.simulated else "real, as imported"
    facts = [("dataset", dataset.name), ("content hash", dataset.hash), ("data", kind)]
    facts += [
        ("period", f"{instant(result.start)} to {instant(result.end)} UTC, {result.bars:,} bars"),
        ("capital", f"{money(result.capital)} {result.quote}"),
        ("programs", ", ".join(programs())),
    ]
    chosen = [(name, text) for name, text in result.rule_text.items() if name not in result.at_default]
    usual = ", ".join(f"{name} {text}" for name, text in result.rule_text.items() if name in result.at_default)
    params = [(name, plain(value)) for name, value in result.params.items()] or [("none", "")]
    blocks: list[Block] = [Facts(facts), Heading("How it is made again"), Code(result.reproduce)]
    blocks += [Heading("Parameters"), Facts(params), Heading("What was traded, and how"), Facts(chosen)]
    blocks += [Fold("Settings at their defaults", (Text(f"At their defaults: {usual}.", "muted"),))] if usual else []
    if result.notes:
        blocks += [Heading("Notes on data and assumptions"), Points(list(result.notes))]
    return Section("data", "Data and provenance", "Data", blocks)
