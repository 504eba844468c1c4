"""A comparison told: a page with figures, and JSON for machines. The table stands in `compare_table.py`.

write_comparison(bt.compare("a.json", "b.json"), "comparison.html")
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtest.compare import LEGS, Compared, Comparison, listed, period_of, written
from backtest.report import compare_figures as figures
from backtest.report.blocks import Block, Cell, Points, Section, Table, Text, signed
from backtest.report.compare_table import ABREAST, Part, in_style, numbered, parts_of, render_comparison
from backtest.report.files import write_atomically
from backtest.report.html import render_page
from backtest.report.json import plain_value
from backtest.report.sections import drawing, heads
from backtest.report.words import UNKNOWN, known, money, number, source_label

__all__ = ["comparison_dict", "render_comparison", "render_comparison_page", "write_comparison", "write_comparison_json"]

SUM = "sum of the sources"


# ---------------------------------------------------------------- JSON


def comparison_dict(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain dicts, lists, texts, numbers and None."""
    costs = comparison.costs.to_dict("index")
    equity, growth, falls = comparison.equity, comparison.growth, comparison.drawdowns
    document = {
        "runs": [{"name": name, **run_dict(run), "costs": costs[name]} for name, run in comparison.runs.items()],
        "differences": comparison.differences,
        "common": {str(name): column.to_dict() for name, column in comparison.common.items()},
        "correlation": {str(name): column.to_dict() for name, column in comparison.correlation.items()},
        "daily": {
            "time": list(equity.index),
            **{
                key: {str(name): table[name].to_numpy() for name in table} for key, table in (("equity", equity), ("growth", growth), ("drawdown", falls))
            },
        },
    }  # fmt: skip
    return {key: plain_value(value) for key, value in document.items()}


def run_dict(run: Compared) -> dict[str, Any]:
    """A run's own part, with the keys of the JSON of a run."""
    return {
        "strategy": run.strategy,
        "params": run.params,
        "dataset": {"name": run.dataset.name, "hash": run.dataset.hash, "simulated": run.dataset.simulated},
        "capital": run.capital,
        "quote": run.quote,
        "start": run.start,
        "end": run.end,
        "bars": run.bars,
        "execution": run.settings,
        "metrics": run.metrics,
        "attribution": run.sources,
        "final_equity": run.final_equity,
    }


def write_comparison_json(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Write the comparison's JSON, all of it or nothing. Errors: StorageError if the file can't be written."""
    text = json.dumps(comparison_dict(comparison), indent=1, ensure_ascii=False, allow_nan=False)
    return write_atomically(path, text + "\n", what="JSON", option="--json")


# ---------------------------------------------------------------- the page


@dataclass(frozen=True)
class Datasets:
    """All datasets of a comparison as one: their names, and whether any is made up."""

    name: str
    hash: str
    simulated: bool


def write_comparison(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Write the page, all of it or nothing. Errors: StorageError if the file can't be written."""
    return write_atomically(path, render_comparison_page(comparison), what="the page", option="--html")


def render_comparison_page(comparison: Comparison) -> str:
    """The whole page as text."""
    runs = comparison.runs
    known_data = {run.dataset.hash: run.dataset for run in runs.values()}
    data = Datasets(
        name=", ".join(dict.fromkeys(one.name for one in known_data.values())),
        hash=next(iter(known_data)) if len(known_data) == 1 else "",
        simulated=any(run.dataset.simulated for run in runs.values()),
    )
    days = comparison.equity.index
    return render_page(
        title=f"Comparison of {len(runs)} runs",
        subtitle=f"{days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}, days at midnight UTC",
        dataset=data,
        sections=sections_of(comparison),
    )


def sections_of(comparison: Comparison) -> list[Section]:
    """The page's sections, those that have nothing to tell left out."""
    made = (
        alike_section,
        runs_section,
        equity_section,
        metrics_section,
        attribution_section,
        correlation_section,
        costs_section,
        settings_section,
    )
    return [section for make in made if (section := make(comparison)) is not None]


def alike_section(comparison: Comparison) -> Section:
    """What differs besides the strategies, on top and loud; or that nothing does."""
    if not comparison.differences:
        said = "Nothing differs but the trades: data, period, capital, currency, execution and the costs of a leg are the same in all runs."
        return Section("alike", "What differs", "Alike", (Text(said),))
    blocks = (Text("These runs are not alike. Read their numbers with this in mind:"), Points(comparison.differences))
    return Section("alike", "What differs", "Differences", blocks, alarm=True)


def runs_section(comparison: Comparison) -> Section:
    """What is compared."""
    rows = []
    for name, run in comparison.runs.items():
        data = f"{run.dataset.name} {run.dataset.hash[:12]}{' SIMULATED' if run.dataset.simulated else ''}"
        capital, final = (f"{money(value, width=9)} {run.quote}" for value in (run.capital, run.final_equity))
        rows.append([Cell(name, "t"), Cell(data, "t"), Cell(period_of(run), "t"), Cell(f"{run.bars:,}"), signed(capital), signed(final)])
    table = Table(heads("run", "data", "period", "bars", "capital", "final equity", text=3), rows)
    return Section("runs", "Runs", "Runs", (table,))


def equity_section(comparison: Comparison) -> Section:
    """Growth and drawdowns over one time axis."""
    caption = "Each run begins at 1, whatever its capital. Values at midnight UTC; the table below counts drawdowns at all bars, and may have deeper ones."
    drawn = figures.curves_figure(comparison)
    picture = drawing(drawn, "curves", figures.describe_curves(comparison), caption, figures.simulated(comparison))
    return Section("equity", "Equity and drawdown", "Equity", (picture,))


def metrics_section(comparison: Comparison) -> Section:
    """Every metric of every run, over its own period and over the days that all have."""
    own, *more = [part for part in parts_of(comparison) if part.title in ("Figures", "On common days")]
    blocks: list[Block] = [beside(comparison, own, "Each run over its own period, drawdown at bar closes.")]
    days = comparison.equity.dropna().index
    said = f"All runs over the days that they have in common, {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}, from daily equity."
    return Section("figures", "Figures", "Figures", blocks + [beside(comparison, part, said) for part in more])


def beside(comparison: Comparison, part: Part, caption: str = "", total: bool = False) -> Table:
    """A table with a column a run; of many runs with a row a run. total: with the sum of its rows."""
    names, table = list(comparison.runs), part.table
    labels = [Cell(part.label(key), "" if len(names) > ABREAST else "t") for key in table.index]
    rows = [
        [signed(in_style(part.style(key), float(value))) for value in row]
        for key, row in zip(table.index, table.to_numpy(dtype=float), strict=True)
    ]
    foot = [signed(in_style(part.style(table.index[0]), float(value))) for value in table.sum()] if total else []
    if len(names) <= ABREAST:
        body = [[label, *row] for label, row in zip(labels, rows, strict=True)]
        return Table(heads("", *names), body, [[Cell(SUM), *foot]] if total else (), caption=caption)
    across = [*labels, Cell(SUM)] if total else labels
    flipped = [[Cell(name), *cells] for name, *cells in zip(names, *rows, *([foot] if total else []), strict=True)]
    return Table([Cell("run", "t"), *across], flipped, look="wide", caption=caption)


def attribution_section(comparison: Comparison) -> Section:
    """Where the money came from, side by side: as bars, in cash and as a fraction of capital."""
    caption = "Percent of each run's capital. Gains to the right, losses to the left; the mark is their sum, the return of the run."
    picture = drawing(
        figures.sources_figure(comparison), "sources", figures.describe_sources(comparison), caption, figures.simulated(comparison)
    )
    cash = comparison.attribution.loc[(comparison.attribution != 0.0).any(axis=1)]
    blocks: list[Block] = [picture]
    if len(cash):
        labels = {str(key): source_label(str(key)) for key in cash.index}
        quotes = ", ".join(dict.fromkeys(run.quote for run in comparison.runs.values()))
        for table, style, said in (
            (comparison.attribution_of_capital.loc[cash.index], "percent", "Percent of capital."),
            (cash, "cash", f"Cash, {quotes}."),
        ):
            blocks.append(beside(comparison, Part("", table, labels, dict.fromkeys(labels, style)), said, total=True))
    return Section("attribution", "Where it came from", "Attribution", blocks)


def correlation_section(comparison: Comparison) -> Section:
    """How daily PnL moves together, as a heat map."""
    matrix, many = comparison.correlation, len(comparison.runs) > ABREAST
    labels = numbered(comparison) if many else {name: name for name in comparison.runs}
    rows = [
        [Cell(labels[str(name)].strip()), *(heat(value) if known(value) else Cell(UNKNOWN) for value in map(float, row))]
        for name, row in zip(matrix.index, matrix.to_numpy(), strict=True)
    ]
    said = "Of daily PnL, over the days that two runs have in common; – where they are fewer than ten, or where a run earns the same every day."
    head = heads("", *(str(place) for place in range(1, len(matrix) + 1))) if many else heads("", *comparison.runs)
    return Section("correlation", "Correlation", "Correlation", (Text(said, "muted"), Table(head, rows, look="heat")))


def heat(value: float) -> Cell:
    """A correlation, the stronger the more coloured."""
    return Cell(number(value).replace("-", "−"), "up" if value >= 0 else "down", round(60 * abs(value)))


def costs_section(comparison: Comparison) -> Section | None:
    """What the runs would have returned at no cost and at twice the cost."""
    parts = [part for part in parts_of(comparison) if part.title == "Return by costs"]
    said = "Total return of the same run, with the same signals: fees, spreads, impact and delivery fees as they were, none, and twice as high."
    blocks: list[Block] = [Text(said, "muted"), *(beside(comparison, part) for part in parts)]
    return Section("costs", "Costs on and off", "Costs", blocks) if parts else None


def settings_section(comparison: Comparison) -> Section | None:
    """All parameters and settings that are not the same in all runs, a row a run where they are many."""
    runs = comparison.runs
    params = {name: {key: written(value) for key, value in run.params.items()} for name, run in runs.items()}
    found: dict[str, list[str]] = {"strategy": [run.strategy for run in runs.values()]}
    for of_runs in (params, {name: run.settings for name, run in runs.items()}):
        for key in dict.fromkeys(key for settings in of_runs.values() for key in settings):
            found.setdefault(key.replace("_", " "), [of_runs[name].get(key, UNKNOWN) for name in runs])
    differing = {key: values for key, values in found.items() if len(set(values)) > 1}
    if not differing:
        return None
    said = f"Parameters and settings that are not the same in all runs; {listed(LEGS)} are the legs."
    if len(runs) > ABREAST:
        rows = [[Cell(name), *(Cell(values[place], "t w") for values in differing.values())] for place, name in enumerate(runs)]
        table = Table(heads("run", *differing, text=1 + len(differing)), rows, look="wide")
    else:
        rows = [[Cell(key), *(Cell(value, "t w") for value in values)] for key, values in differing.items()]
        table = Table(heads("", *runs, text=1 + len(runs)), rows, look="told")
    return Section("settings", "Parameters and settings", "Settings", (Text(said, "muted"), table))
