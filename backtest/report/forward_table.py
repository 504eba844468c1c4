"""A walk-forward on the terminal, and combinatorial paths: what was promised in sample beside what came of it, at most 80 columns wide.

print(render_forward(bt.walk_forward(FundingCarry, market, enter=[0.05, 0.1])))
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from backtest.compare import written
from backtest.forward import WalkForward
from backtest.market import DatasetInfo
from backtest.purged import Combinatorial
from backtest.report.compare_figures import shortened
from backtest.report.table import WIDTH
from backtest.report.words import day, known, metric, metric_label, metric_style, money, number, percent, plain

ENDS = 15  # windows at the beginning and at the end of many
ROWS = {
    "in_sample": "promised in sample (mean)",
    "out_of_sample": "OUT OF SAMPLE",
    "hindsight": "best of each test (hindsight)",
    "whole_period": "best of all data (in sample)",
}
# column of the statistics, heading, width
COLUMNS = (
    ("annual_return", "a year", 10), ("annual_volatility", "volatility", 11), ("sharpe", "Sharpe", 8), ("sortino", "Sortino", 9),
    ("max_drawdown", "drawdown", 10),
)  # fmt: skip
LABEL = WIDTH - sum(width for _, _, width in COLUMNS)
NUMBER, DATES, FIGURE, MONEY = 4, 23, 10, 15
CHOSEN = WIDTH - NUMBER - DATES - 2 * FIGURE - MONEY
RULES = (
    "Each test begins flat, on the capital that the one before it left, with its lots and smallest orders; trainings run on the capital of the start. A position that is open "
    "at a window's end is marked there, without the costs of leaving it. Promised and kept have the Sharpe ratio of all returns, interest on idle cash included, and the promise "
    "is the mean over the windows."
)
PATHS = "Each split chose by the days outside its test groups. A path joins days of combinations that were run on all the data: it holds no costs of changing from one to another."


def render_forward(forward: WalkForward) -> str:
    """The whole table, without a final newline; no line is longer than 80 characters."""
    blocks = [
        _head(forward),
        _compared(forward),
        _kept(forward),
        _windows(forward),
        _luck("Best of all data by Sharpe: the odds that it is luck, all windows counted", forward.luck),
        _notes([*forward.notes, RULES]),
    ]
    return _joined(blocks)


def render_combinatorial(paths: Combinatorial) -> str:
    """The distribution of the paths in plain text, without a final newline; no line is longer than 80 characters."""
    groups = len(paths.groups)
    facts = {
        "dataset": _dataset(paths.dataset),
        "groups": f"{groups}, {paths.tests} of them a test: {len(paths.splits):,} splits, {paths.returns.shape[1]:,} paths of {len(paths.returns):,} days",
        "embargo": f"{paths.embargo} {'day' if paths.embargo == 1 else 'days'} before and after each test group",
        "grid": f"{len(paths.sweep.table):,} combinations, chosen by Sharpe in training",
    }
    found = paths.distribution
    rows = [
        ("promised in sample (mean of the splits)", number(paths.promised)),
        ("OUT OF SAMPLE, mean of the paths", number(found["mean"])),
        ("OUT OF SAMPLE, median path", number(found["median"])),
        ("OUT OF SAMPLE, from the worst path to the best", f"{number(found['least'])} to {number(found['most'])}"),
        ("standard deviation of the paths", number(found["deviation"])),
        ("paths that lost (Sharpe below 0)", percent(found["below_zero"], 0)),
        ("splits whose choice was below the median in its test", percent(paths.below_median, 0)),
        ("rank correlation of training and test", number(paths.rank_correlation)),
    ]
    table = ["Sharpe ratios", "-" * WIDTH, *(f"{label:<{WIDTH - 20}}{value:>20}" for label, value in rows)]
    return _joined(
        [
            _title(f"Combinatorial cross-validation of {paths.sweep.strategy}", facts, paths.dataset),
            table,
            _luck("Best of the sweep: the odds that it is luck", paths.luck),
            _notes([*paths.notes, PATHS]),
        ]
    )


def _joined(blocks: Sequence[Sequence[str]]) -> str:
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks if block)


def _dataset(data: DatasetInfo) -> str:
    return f"{data.name}  {data.hash[:12]}{'  (SIMULATED)' if data.simulated else ''}"


def _title(title: str, facts: Mapping[str, str], data: DatasetInfo) -> list[str]:
    mark = "SIMULATED DATA" if data.simulated else ""
    title = shortened(title, WIDTH - len(mark) - 2)
    lines = ["=" * WIDTH, f"{title}{mark:>{WIDTH - len(title)}}", "=" * WIDTH]
    for name, value in facts.items():
        lines += textwrap.wrap(value, WIDTH, initial_indent=f"{name:<11}", subsequent_indent=" " * 11) if value else []
    return lines


def _head(forward: WalkForward) -> list[str]:
    shown = shown_parameters(forward)
    grid = " × ".join(f"{name} {len(values):,}" if isinstance(values, list) else f"{name} sampled" for name, values in shown.items())
    fixed = {name: values[0] for name, values in forward.varied.items() if name not in shown and isinstance(values, list)}
    kind = "expanding from" if forward.expanding else "rolling,"
    facts = {
        "dataset": _dataset(forward.dataset),
        "period": f"{day(forward.windows['train_start'].iloc[0])} to {day(forward.equity.index[-1])}, out of sample from {day(forward.equity.index[0])}",
        "capital": f"{money(forward.capital)} {forward.quote}",
        "grid": f"{grid}: {len(forward.combinations):,} combinations, tuned by {metric_label(forward.by)}",
        "windows": f"{len(forward.windows):,}, {kind} {_days(forward.train)} of training, {_days(forward.test)} of test, {_days(forward.embargo)} of embargo between them",
        "fixed": "  ".join(f"{name}={written(value)}" for name, value in (fixed | dict(forward.fixed)).items()),
    }
    return _title(f"Walk-forward of {forward.strategy}", facts, forward.dataset)


def shown_parameters(forward: WalkForward) -> dict[str, Any]:
    """The parameters that have several values; all of them where none has."""
    return {name: values for name, values in forward.varied.items() if not (isinstance(values, list) and len(values) < 2)} or dict(
        forward.varied
    )


def _days(length: pd.Timedelta) -> str:
    count = round(length / pd.Timedelta(days=1), 2)
    return f"{count:,g} {'day' if count == 1 else 'days'}"


def _compared(forward: WalkForward) -> list[str]:
    """The promise, what came of it, and what nobody could have known."""
    lines = [" " * LABEL + "".join(f"{title:>{width}}" for _, title, width in COLUMNS), "-" * WIDTH]
    for key, row in forward.statistics.to_dict("index").items():
        lines.append(f"{ROWS[str(key)]:<{LABEL}}" + "".join(f"{_figure(name, row[name]):>{width}}" for name, _, width in COLUMNS))
    return lines


def _figure(name: str, value: float) -> str:
    return metric(metric_style(name), value)


def _kept(forward: WalkForward) -> list[str]:
    """How much of the promise was kept, and what a rank in training is worth."""
    sentences = []
    if known(forward.efficiency):
        sentences.append(f"Out of sample the Sharpe ratio was {number(forward.efficiency)} of the promised one.")
    if known(forward.rank_correlation):
        told = "the order in training is that in the test at 1, and says nothing at 0"
        sentences.append(f"Rank correlation of training and test: {number(forward.rank_correlation)} ({told}).")
    beaten = float(forward.windows["beaten"].mean())
    if known(beaten):
        sentences.append(f"In its test the chosen combination beat {percent(beaten, 0)} of the others (half would be chance).")
    sentences.append(f"What was chosen made a trade in {forward.traded:,} of {len(forward.windows):,} tests.")
    return textwrap.wrap(" ".join(sentences), WIDTH)


def _windows(forward: WalkForward) -> list[str]:
    """A row a window: its test, what was chosen for it, and the statistic in training and in test."""
    names = list(shown_parameters(forward))
    label = metric_label(forward.by)
    head = f"{'':<{NUMBER}}{'test':<{DATES}}{shortened(', '.join(names), CHOSEN - 2):<{CHOSEN}}{'in':>{FIGURE}}{'out':>{FIGURE}}{'equity':>{MONEY}}"
    rows = []
    for (window, row), chosen in zip(forward.windows.iterrows(), forward.chosen[names].to_dict("records"), strict=True):
        text = "in cash" if row["cash"] else shortened(", ".join(plain(value) for value in chosen.values()), CHOSEN - 2)
        dates = f"{day(row['test_start'])} {day(row['test_end'])}"
        figures = "".join(f"{_figure(forward.by, row[key]):>{FIGURE}}" for key in ("in_sample", "out_of_sample"))
        rows.append(f"{window:<{NUMBER}}{dates:<{DATES}}{text:<{CHOSEN}}{figures}{money(row['equity'], width=MONEY - 1):>{MONEY}}")
    if len(rows) > 2 * ENDS + 1:
        rows = [*rows[:ENDS], f"... {len(rows) - 2 * ENDS:,} more, in forward.windows ...", *rows[-ENDS:]]
    return [f"{label[:1].upper()}{label[1:]} of what was chosen, in training (in) and its test (out)", head, "-" * WIDTH, *rows]


def _luck(title: str, luck: object) -> list[str]:
    return [title, "-" * WIDTH, *str(luck).splitlines()]


def _notes(notes: Sequence[str]) -> list[str]:
    lines = ["Notes", "-" * WIDTH]
    for note in notes:
        lines += textwrap.wrap(note, WIDTH, initial_indent="* ", subsequent_indent="  ", break_on_hyphens=False)
    return lines
