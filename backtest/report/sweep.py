"""A sweep on the terminal: a row a combination, at most 80 columns wide, and how much of it to believe.

print(render_sweep(bt.sweep(FundingCarry, market, enter=[0.05, 0.1])))
"""

import textwrap
from collections import Counter
from typing import Any

from backtest.compare import written
from backtest.report.compare_figures import shortened
from backtest.report.compare_table import fitted
from backtest.report.table import WIDTH
from backtest.report.words import METRICS, money, plain
from backtest.sweep import Sweep

# column of the table, heading, width: as many as fit beside the parameters
COLUMNS = (
    ("total_return", "return", 10), ("sharpe", "Sharpe", 8), ("max_drawdown", "drawdown", 10), ("trades", "trades", 8),
    ("annual_return", "a year", 10), ("annual_volatility", "volatility", 11),
)  # fmt: skip
STYLES = {spec.key: spec.style for spec in METRICS}
NEEDED = sum(width for _, _, width in COLUMNS[:4])
WIDEST = 14  # columns of a parameter
ENDS = 15  # rows at the beginning and at the end of a long table
SENTENCES = 5  # of those that refused combinations


def render_sweep(sweep: Sweep) -> str:
    """The whole table, without a final newline; no line is longer than 80 characters."""
    blocks = [_head(sweep), _table(sweep), _invalid(sweep), _note(sweep)]
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks if block)


def _head(sweep: Sweep) -> list[str]:
    data = sweep.dataset
    mark = "SIMULATED DATA" if data.simulated else ""
    title = shortened(f"Sweep of {sweep.strategy}", WIDTH - len(mark) - 2)
    shown = shown_parameters(sweep)
    grid = " × ".join(f"{name} {len(sweep.varied[name]):,}" for name in shown)
    fixed = {name: values[0] for name, values in sweep.varied.items() if name not in shown}
    facts = {
        "dataset": f"{data.name}  {data.hash[:12]}{'  (SIMULATED)' if data.simulated else ''}",
        "period": f"{sweep.start:%Y-%m-%d} to {sweep.end:%Y-%m-%d}",
        "capital": f"{money(sweep.capital)} {sweep.quote}",
        "grid": f"{grid}: {sweep.combinations:,} combinations"
        + (f", {len(sweep.invalid):,} of them invalid" if len(sweep.invalid) else ""),
        "fixed": "  ".join(f"{name}={written(value)}" for name, value in (fixed | dict(sweep.fixed)).items()),
    }
    lines = ["=" * WIDTH, f"{title}{mark:>{WIDTH - len(title)}}", "=" * WIDTH]
    for name, value in facts.items():
        lines += textwrap.wrap(value, WIDTH, initial_indent=f"{name:<11}", subsequent_indent=" " * 11) if value else []
    return lines


def _table(sweep: Sweep) -> list[str]:
    """A row a combination; of very many the first and the last."""
    names = shown_parameters(sweep)
    levels = [place for place, name in enumerate(sweep.varied) if name in names]
    labels = [label if isinstance(label, tuple) else (label,) for label in sweep.table.index]
    texts = [[plain(label[level]) for level in levels] for label in labels]
    widths = [min(WIDEST, max(map(len, [name, *(row[place] for row in texts)]))) for place, name in enumerate(names)]
    if sum(widths) + 2 * len(widths) > WIDTH - NEEDED:  # too many parameters for columns of their own
        names, widths, texts = [", ".join(names)], [WIDTH - NEEDED - 2], [[", ".join(row)] for row in texts]
    left = sum(widths) + 2 * len(widths)
    columns = [column for place, column in enumerate(COLUMNS) if left + sum(width for _, _, width in COLUMNS[: place + 1]) <= WIDTH]
    lines = [_row(names, widths) + "".join(f"{title:>{width}}" for _, title, width in columns), "-" * WIDTH]
    rows = [
        _row(text, widths) + "".join(f"{fitted(STYLES[key], float(row[key]), width - 1):>{width}}" for key, _, width in columns)
        for text, row in zip(texts, sweep.table.to_dict("records"), strict=True)
    ]
    if len(rows) > 2 * ENDS + 1:
        rows = [*rows[:ENDS], f"... {len(rows) - 2 * ENDS:,} more, in sweep.table ...", *rows[-ENDS:]]
    return lines + rows


def shown_parameters(sweep: Sweep) -> list[str]:
    """The parameters that have several values; all of them where none has."""
    return [name for name, values in sweep.varied.items() if len(values) > 1] or list(sweep.varied)


def _row(texts: list[Any], widths: list[int]) -> str:
    return "".join(f"{shortened(text, width):<{width + 2}}" for text, width in zip(texts, widths, strict=True))


def _invalid(sweep: Sweep) -> list[str]:
    """The sentences that refused combinations, and how many each did."""
    if not len(sweep.invalid):
        return []
    reasons = Counter(str(why) for why in sweep.invalid["why"])
    lines = [f"Invalid: {len(sweep.invalid):,} of {sweep.combinations:,} combinations", "-" * WIDTH]
    for why, count in reasons.most_common(SENTENCES):
        lines += textwrap.wrap(f"{count:,}: {why}", WIDTH, initial_indent="* ", subsequent_indent="  ", break_on_hyphens=False)
    rest = len(reasons) - SENTENCES
    return [*lines, f"* {rest:,} other sentences, in sweep.invalid"] if rest > 0 else lines


def _note(sweep: Sweep) -> list[str]:
    """What the best of many is worth."""
    if len(sweep.table) < 2:
        return []
    note = (
        f"{len(sweep.table):,} combinations were run on the same past, in the order of the grid, and none is marked as best: the best of {len(sweep.table):,} "
        "overstates what it will earn, the more so the more were tried. Look for regions in which neighbours agree, and test on data that had no part in it."
    )
    return textwrap.wrap(note, WIDTH)
