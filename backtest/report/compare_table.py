"""The table of a comparison on the terminal, at most 80 columns wide: a column a run for up to six runs, a row a run for more.

print(render_comparison(bt.compare("a.json", "b.json")))
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from backtest.compare import Comparison, period_of
from backtest.report.compare_figures import shortened
from backtest.report.table import WIDTH
from backtest.report.words import METRICS, known, metric, money, number, percent, source_label

ABREAST = 6  # runs beside each other on 80 columns
LABELS, WIDEST = 23, 18  # columns of a row's label at least, and of a run at most
RUNS, ACROSS, MATRIX = 25, 5, 9  # columns of a run's name where runs are rows, of figures beside it, and of a matrix
STYLES = {spec.key: spec.style for spec in METRICS}
METRIC_LABELS = {spec.key: spec.label for spec in METRICS}
ASKED_FOR = ("total_return", "annual_return", "annual_volatility", "sharpe", "max_drawdown")
AT_COSTS = (("total_return", "with costs"), ("zero_cost_total_return", "at zero cost"), ("double_cost_total_return", "at double cost"))


@dataclass(frozen=True)
class Part:
    """A table with a column a run: what its rows are called, and in which style they are written."""

    title: str
    table: pd.DataFrame
    labels: Mapping[str, str]
    styles: Mapping[str, str]

    def label(self, key: Any) -> str:
        """What a row is called."""
        return self.labels.get(key, str(key).replace("_", " "))

    def style(self, key: Any) -> str:
        """How a row is written."""
        return self.styles.get(key, "ratio")


def render_comparison(comparison: Comparison) -> str:
    """The whole table, without a final newline; no line is longer than 80 characters."""
    matrix = comparison.correlation
    parts = [Part("Daily PnL correlates", matrix, numbered(comparison), dict.fromkeys(matrix.index, "ratio"))]
    if len(comparison.runs) > ABREAST:
        blocks = [lines for part in parts_of(comparison, few=True) for lines in _flipped(comparison, part)]
        blocks += [_matrix(comparison, first) for first in range(0, len(matrix), MATRIX)]
    else:
        blocks = [_block(comparison, part) for part in parts_of(comparison) + parts]
    return "\n\n".join(
        "\n".join(line.rstrip() for line in block) for block in [_head(comparison), _differences(comparison), *blocks] if block
    )


def _head(comparison: Comparison) -> list[str]:
    """What is compared, with the number by which a run is called where names are too long for a column."""
    runs = comparison.runs
    mark = "SIMULATED DATA" if any(run.dataset.simulated for run in runs.values()) else ""
    title = f"Comparison of {len(runs)} runs"
    lines = ["=" * WIDTH, f"{title}{mark:>{WIDTH - len(title)}}", "=" * WIDTH]
    for place, (name, run) in enumerate(runs.items(), 1):
        lines.append(f"{place:>2}  {shortened(name, WIDTH - 4)}")
        made_up = ", SIMULATED" if run.dataset.simulated else ""
        facts = f"{run.dataset.name}{made_up}, {period_of(run)}, {money(run.capital)} {run.quote} to {money(run.final_equity)}"
        lines += textwrap.wrap(facts, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return lines


def _differences(comparison: Comparison) -> list[str]:
    if not comparison.differences:
        return []
    lines = ["NOT ALIKE", "-" * WIDTH]
    for sentence in comparison.differences:
        lines += textwrap.wrap(sentence, WIDTH, initial_indent="* ", subsequent_indent="  ", break_on_hyphens=False)
    return lines


def parts_of(comparison: Comparison, few: bool = False) -> list[Part]:
    """The tables that have a column a run, those that have rows; few: of the metrics only those that every reader asks for."""
    periods = {period_of(run) for run in comparison.runs.values()}
    used = comparison.attribution_of_capital.loc[(comparison.attribution != 0.0).any(axis=1)]
    keys = [key for key in in_order(comparison.metrics.index) if not few or key in ASKED_FOR]
    parts = [
        Part("Figures", comparison.metrics.loc[keys], METRIC_LABELS, STYLES),
        Part("On common days", comparison.common if len(periods) > 1 else comparison.common[:0], METRIC_LABELS, STYLES),
        Part("PnL, % of capital", used, {key: source_label(key) for key in used.index}, dict.fromkeys(used.index, "percent")),
        Part("Return by costs", costs_by_run(comparison), {}, {label: "percent" for _, label in AT_COSTS}),
    ]
    return [part for part in parts if len(part.table)]


def in_order(keys: pd.Index) -> list[str]:
    """Metrics in reading order, then any further ones."""
    return [*(key for key in METRIC_LABELS if key in keys), *(str(key) for key in keys if key not in METRIC_LABELS)]


def numbered(comparison: Comparison) -> dict[str, str]:
    """Each run's name with its number."""
    return {name: f"{place:>2}  {name}" for place, name in enumerate(comparison.runs, 1)}


def _block(comparison: Comparison, part: Part) -> list[str]:
    """A column a run, headed by its name, or by its number where names are long."""
    names = list(comparison.runs)
    width = min(WIDEST, (WIDTH - LABELS) // len(names))
    first = WIDTH - width * len(names)
    fit = all(len(name) < width for name in names)
    heads = names if fit else [f"({place})" for place in range(1, len(names) + 1)]
    lines = ["".join([f"{shortened(part.title, first):<{first}}", *(f"{head:>{width}}" for head in heads)]), "-" * WIDTH]
    for key, row in part.table.to_dict("index").items():
        cells = "".join(f"{fitted(part.style(key), float(row[name]), width - 1):>{width}}" for name in names)
        lines.append(f"{shortened(part.label(key), first - 1):<{first}}{cells}")
    return lines


def _flipped(comparison: Comparison, part: Part) -> list[list[str]]:
    """A row a run, for more of them than stand abreast; tables of more rows than columns fit stand below each other."""
    names, keys = numbered(comparison), list(part.table.index)
    width = (WIDTH - RUNS) // ACROSS
    blocks = []
    for first in range(0, len(keys), ACROSS):
        chosen = keys[first : first + ACROSS]
        heads = [textwrap.wrap(part.label(key), width - 1, break_on_hyphens=False) for key in chosen]
        tall = max(map(len, heads))
        rows = [[*[""] * (tall - len(head)), *head] for head in heads]
        lines = [
            f"{part.title if line == tall - 1 else '':<{RUNS}}" + "".join(f"{row[line]:>{width}}" for row in rows) for line in range(tall)
        ]
        lines.append("-" * WIDTH)
        for label, row in zip(names.values(), part.table.loc[chosen].T.to_numpy(dtype=float), strict=True):
            cells = "".join(
                f"{fitted(part.style(key), value, width - 1):>{width}}" for key, value in zip(chosen, row.tolist(), strict=True)
            )
            lines.append(f"{shortened(label, RUNS - 1):<{RUNS}}{cells}")
        blocks.append(lines)
    return blocks


def _matrix(comparison: Comparison, first: int) -> list[str]:
    """Some columns of the correlations of many runs."""
    matrix, width = comparison.correlation, (WIDTH - RUNS) // MATRIX
    chosen = list(matrix.columns)[first : first + MATRIX]
    head = "".join(f"{f'({first + place})':>{width}}" for place in range(1, len(chosen) + 1))
    lines = [f"{'Daily PnL correlates':<{RUNS}}{head}", "-" * WIDTH]
    for label, row in zip(numbered(comparison).values(), matrix[chosen].to_numpy(), strict=True):
        cells = "".join(f"{number(value):>{width}}" for value in row.tolist())
        lines.append(f"{shortened(label, RUNS - 1):<{RUNS}}{cells}")
    return lines


def costs_by_run(comparison: Comparison) -> pd.DataFrame:
    """Returns with costs, at zero and at double cost, a column a run; no rows where no run has been made without."""
    table = comparison.costs
    if table.drop(columns=["final_equity", "total_return"]).isna().to_numpy().all():
        return pd.DataFrame(columns=list(comparison.runs))
    return table[[key for key, _ in AT_COSTS]].set_axis([label for _, label in AT_COSTS], axis=1).T


def in_style(style: str, value: float) -> str:
    """A figure in the style of its kind: cash, or that of a metric."""
    return money(value) if style == "cash" else metric(style, value)


def fitted(style: str, value: float, width: int) -> str:
    """A figure in the style of its kind, with fewer digits where it would be too wide for its column."""
    text = in_style(style, value)
    if len(text) <= width or not known(value):
        return text
    short = percent(value, 0) if style == "percent" else number(value, 0)
    return short if len(short) <= width else f"{value:.1e}"
