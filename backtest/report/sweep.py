"""A sweep on the terminal: a row a combination in the order of the grid, a map of two parameters, and the odds that the best is luck.

No line is wider than 80 columns. The best stands nowhere but in the block with its odds.

    print(render_sweep(bt.sweep(FundingCarry, market, enter=[0.05, 0.1])))
"""

import math
import textwrap
from collections import Counter
from typing import Any

import numpy as np

from backtest.metrics import RANKED
from backtest.report.compare_figures import shortened
from backtest.report.compare_table import fitted
from backtest.report.sweep_cells import Cells, Floats, State, cells_of, chosen_row, evenly, of_points, pairs, short, varying
from backtest.report.table import WIDTH
from backtest.report.words import METRICS, metric, money, number
from backtest.space import Range, labelled
from backtest.study import Search
from backtest.sweep import Sweep

# column of the table, heading, width: as many as fit beside the parameters
COLUMNS = (
    ("total_return", "return", 10), (RANKED, "Sharpe", 8), ("max_drawdown", "drawdown", 10), ("trades", "trades", 8),
    ("annual_return", "a year", 10), ("annual_volatility", "volatility", 11),
)  # fmt: skip
STYLES = {spec.key: spec.style for spec in METRICS}
NEEDED = sum(width for _, _, width in COLUMNS[:4])
WIDEST = 14  # columns of a parameter
ENDS = 15  # rows at the beginning and at the end of a long table
SENTENCES = 5  # of those that refused combinations
FULL = " *"  # beside a row that was run bar by bar
SHADES = ".:-=+*#%@"  # of the map, from the lowest Sharpe ratio to the highest
SIGNS = {State.UNTRIED: " ", State.INVALID: "x", State.IDLE: "o"}
LETTERED = 24  # rows of the map
MAPPED = 4  # cells for each combination: a sample of few of many pairs has no map
MISSING = "?"  # traded, without a Sharpe ratio


def render_sweep(sweep: Sweep) -> str:
    """The whole table, without a final newline; no line is longer than 80 characters."""
    blocks = [_head(sweep), _table(sweep), _map(sweep), _invalid(sweep), _odds(sweep)]
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks if block)


def _head(sweep: Sweep) -> list[str]:
    data = sweep.dataset
    mark = "SIMULATED DATA" if data.simulated else ""
    title = shortened(title_of(sweep), WIDTH - len(mark) - 2)
    facts = {
        "dataset": f"{data.name}  {data.hash[:12]}{'  (SIMULATED)' if data.simulated else ''}",
        "period": f"{sweep.start:%Y-%m-%d} to {sweep.end:%Y-%m-%d}",
        "capital": f"{money(sweep.capital)} {sweep.quote}",
        "grid": grid_words(sweep),
        "fixed": "  ".join(f"{name}={value}" for name, value in fixed_values(sweep).items()),
    }
    lines = ["=" * WIDTH, f"{title}{mark:>{WIDTH - len(title)}}", "=" * WIDTH]
    for name, value in facts.items():
        lines += textwrap.wrap(value, WIDTH, initial_indent=f"{name:<11}", subsequent_indent=" " * 11) if value else []
    return lines


def title_of(sweep: Sweep) -> str:
    """What was done, to which strategy."""
    return f"{'Search' if isinstance(sweep, Search) else 'Sweep'} of {sweep.strategy}"


def grid_words(sweep: Sweep) -> str:
    """What was tried, in a sentence: "enter 20 × exit 20: 400 combinations, 105 of them invalid"."""
    names = shown_parameters(sweep)
    tried = len(sweep.table) + len(sweep.invalid)
    ranges = {name: values for name in names if isinstance(values := sweep.varied[name], Range)}
    lists = {name: len(values) for name in names if not isinstance(values := sweep.varied[name], Range)}
    parts = [*(f"{name} {values}" for name, values in ranges.items()), *(f"{name} {count:,}" for name, count in lists.items())]
    words = f"{' × '.join(parts)}: {tried:,} combination{'s' * (tried != 1)}"
    if ranges or tried < math.prod(lists.values()):
        words += " drawn from them" if ranges else f" of {math.prod(lists.values()):,}"
    if len(sweep.invalid):
        words += f", {len(sweep.invalid):,} of them invalid"
    return f"{words}; {sweep.trials:,} trials are counted" if sweep.trials not in (tried, len(sweep.table)) else words


def fixed_values(sweep: Sweep) -> dict[str, str]:
    """The parameters that have one value, as one types it."""
    alone = {
        name: values[0] for name, values in sweep.varied.items() if name not in shown_parameters(sweep) and not isinstance(values, Range)
    }
    return {name: short([labelled(value)])[0] for name, value in (alone | dict(sweep.fixed)).items()}


def _table(sweep: Sweep) -> list[str]:
    """A row a combination; of very many the first and the last."""
    names = shown_parameters(sweep)
    levels = [place for place, name in enumerate(sweep.varied) if name in names]
    labels = [label if isinstance(label, tuple) else (label,) for label in sweep.table.index]
    texts = [[short([label[level]])[0] for level in levels] for label in labels]
    widths = [min(WIDEST, max(map(len, [name, *(row[place] for row in texts)]))) for place, name in enumerate(names)]
    marks = full_marks(sweep)
    room = WIDTH - (len(FULL) if any(marks) else 0)
    if sum(widths) + 2 * len(widths) > room - NEEDED:  # too many parameters for columns of their own
        names, widths, texts = [", ".join(names)], [room - NEEDED - 2], [[", ".join(row)] for row in texts]
    left = sum(widths) + 2 * len(widths)
    columns = [column for place, column in enumerate(COLUMNS) if left + sum(width for _, _, width in COLUMNS[: place + 1]) <= room]
    lines = [_row(names, widths) + "".join(f"{title:>{width}}" for _, title, width in columns), "-" * WIDTH]
    rows = [
        _row(text, widths) + "".join(f"{fitted(STYLES[key], float(row[key]), width - 1):>{width}}" for key, _, width in columns) + mark
        for text, row, mark in zip(texts, sweep.table.to_dict("records"), marks, strict=True)
    ]
    if len(rows) > 2 * ENDS + 1:
        rows = [*rows[:ENDS], f"... {len(rows) - 2 * ENDS:,} more, in sweep.table ...", *rows[-ENDS:]]
    if np.diff(sweep.idle.to_numpy()).any():
        rows += ["", *textwrap.wrap("Sharpe: of daily returns over those of idle cash, which is no skill", WIDTH)]
    if count := sum(mark == FULL for mark in marks):
        every = "every combination" if count == len(sweep.table) else f"{count:,} of {len(sweep.table):,} combinations"
        rows += ["", *textwrap.wrap(f"{FULL.strip()} run in full: {every}, as the scan can't jump between events there", WIDTH)]
    return lines + rows


def full_marks(sweep: Sweep) -> list[str]:
    """A mark beside each combination that was run in full."""
    if "jumped" not in sweep.table:
        return [""] * len(sweep.table)
    return [FULL if jumped == 0.0 else "" for jumped in sweep.table["jumped"]]


def shown_parameters(sweep: Sweep) -> list[str]:
    """The parameters that have several values; all of them where none has."""
    return varying(sweep) or list(sweep.varied)


def _row(texts: list[Any], widths: list[int]) -> str:
    return "".join(f"{shortened(text, width):<{width + 2}}" for text, width in zip(texts, widths, strict=True))


def _invalid(sweep: Sweep) -> list[str]:
    """The sentences that refused combinations, and how many each did."""
    if not len(sweep.invalid):
        return []
    reasons = Counter(str(why) for why in sweep.invalid["why"])
    lines = [f"Invalid: {len(sweep.invalid):,} of {len(sweep.table) + len(sweep.invalid):,} combinations", "-" * WIDTH]
    for why, count in reasons.most_common(SENTENCES):
        lines += textwrap.wrap(f"{count:,}: {why}", WIDTH, initial_indent="* ", subsequent_indent="  ", break_on_hyphens=False)
    rest = len(reasons) - SENTENCES
    return [*lines, f"* {rest:,} other sentences, in sweep.invalid"] if rest > 0 else lines


def _odds(sweep: Sweep) -> list[str]:
    """The best combination, with the odds that it owes its place to luck. With one alone there was nothing to choose."""
    row = chosen_row(sweep)
    if row is None:
        return []
    figures = sweep.table.iloc[row]
    told = "  ".join(f"{name}={text}" for name, text in chosen_values(sweep).items())
    results = ", ".join(f"{words} {metric(STYLES[key], float(figures[key]))}" for key, words, _ in COLUMNS[:4])
    lines = [f"How much of the best of {len(sweep.table):,} to believe", "-" * WIDTH]
    for lead, text in (("best", told), ("made", results)):
        lines += textwrap.wrap(text, WIDTH, initial_indent=f"{lead:<11}", subsequent_indent=" " * 11)
    return [*lines, *str(sweep.luck).splitlines()]


def chosen_values(sweep: Sweep) -> dict[str, str]:
    """The best combination's parameters, as one types them."""
    if (row := chosen_row(sweep)) is None:
        return {}
    label = sweep.table.index[row]
    labels = label if isinstance(label, tuple) else (label,)
    return {name: short([labels[place]])[0] for place, name in enumerate(sweep.varied) if name in shown_parameters(sweep)}


# ---------------------------------------------------------------- the map


def _map(sweep: Sweep) -> list[str]:
    """The Sharpe ratio by two parameters, where two vary: figures, or of many values letters."""
    if len(varying(sweep)) != 2 or len(sweep.table) < 2:
        return []
    ((x, y),) = pairs(sweep)
    cells = cells_of(sweep, x, y)
    if cells.values.size > MAPPED * len(sweep.table) or not np.isfinite(cells.values).any():
        return []
    up, across = short(cells.up), short(cells.across)
    left = min(WIDEST, max(map(len, [*up, y]))) + 2
    rows = range(0, len(up), evenly(math.ceil(len(up) / LETTERED)))
    width = max(7, *(min(len(text), WIDEST) + 2 for text in across))
    numbered = left + width * len(across) <= WIDTH
    if not numbered and len(across) > WIDTH - left and of_points(sweep, x, y):
        return []  # of numbers drawn from a range none stands for its neighbours
    columns = range(0, len(across), 1 if numbered else evenly(math.ceil(len(across) / (WIDTH - left))))
    lines = [f"Sharpe by {y} (down) and {x} (across)", "-" * WIDTH]
    if numbered:
        lines.append(" " * left + "".join(f"{shortened(text, width - 2):>{width}}" for text in across))
    else:
        ends = f"{across[0]} to {across[columns[-1]]}"
        lines.append(" " * left + (ends if columns.step == 1 else f"{ends}, every {ordinal(columns.step)}"))
    for row in reversed(rows):
        marks = [_figure(cells, row, column, width) if numbered else _letter(cells, row, column) for column in columns]
        lines.append(f"{shortened(up[row], left - 2):<{left}}{''.join(marks)}")
    return [*lines, *textwrap.wrap(_key(cells, numbered, rows.step), WIDTH)]


def _figure(cells: Cells, row: int, column: int, width: int) -> str:
    state = State(int(cells.states[row, column]))
    sign = SIGNS[state] if state in SIGNS else fitted("ratio", float(cells.values[row, column]), width - 1)
    return f"{sign:>{width}}"


def _letter(cells: Cells, row: int, column: int) -> str:
    state, value = State(int(cells.states[row, column])), float(cells.values[row, column])
    if state in SIGNS:
        return SIGNS[state]
    edges = edges_of(cells)
    return SHADES[int(np.searchsorted(edges[1:-1], value, side="right"))] if math.isfinite(value) else MISSING


def edges_of(cells: Cells) -> Floats:
    """The bounds of the letters: equal steps from the lowest to the highest Sharpe ratio."""
    known = cells.values[np.isfinite(cells.values) & (cells.states == State.TRADED)]
    edges: Floats = np.linspace(float(known.min()), float(known.max()), len(SHADES) + 1) if len(known) else np.zeros(len(SHADES) + 1)
    return edges


def _key(cells: Cells, numbered: bool, every: int) -> str:
    """What the letters of the map mean."""
    parts = (
        []
        if numbered
        else [
            f"{SHADES[0]} {number(float(edges_of(cells)[0]))} to {SHADES[-1]} {number(float(edges_of(cells)[-1]))}, {SHADES} in equal steps"
        ]
    )
    words = {State.INVALID: "invalid", State.IDLE: "no trade", State.UNTRIED: "not tried"}
    parts += [f"{SIGNS[state].strip() or 'blank'} {name}" for state, name in words.items() if (cells.states == state).any()]
    return "; ".join([*parts, *([f"every {ordinal(every)} row"] if every > 1 else [])])


def ordinal(count: int) -> str:
    """2nd, 5th, 10th."""
    return f"{count}{'nd' if count == 2 else 'th'}"
