"""A walk-forward and combinatorial paths as pages, and the paths as JSON. The tables stand in `forward_table.py`, a walk-forward's JSON in `forward_json.py`.

write_forward(bt.walk_forward(FundingCarry, market, enter=[0.05, 0.1, 0.15]), "forward.html")
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtest._version import __version__
from backtest.forward import WalkForward
from backtest.luck import Luck
from backtest.market import DatasetInfo
from backtest.purged import Combinatorial
from backtest.report import forward_figures as figures
from backtest.report.blocks import Block, Cards, Cell, Facts, Figure, Heading, Points, Section, Table, Text, signed
from backtest.report.files import write_atomically
from backtest.report.forward_table import COLUMNS, PATHS, ROWS, RULES
from backtest.report.html import render_page
from backtest.report.json import plain_value
from backtest.report.sections import drawing, heads, programs
from backtest.report.sweep_cells import ordered, short
from backtest.report.sweep_page import sentences
from backtest.report.words import UNKNOWN, day, known, metric, metric_label, metric_style, money, number, percent
from backtest.space import Range, Values

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawn

PRINTED = 60
SPLITS = 100  # rows at the beginning and at the end of many splits


# ---------------------------------------------------------------- JSON


def combinatorial_json(paths: Combinatorial) -> dict[str, Any]:
    """The splits and the paths as plain dicts, lists, texts, numbers and None."""
    document = {
        "version": __version__,
        "programs": programs(),
        "strategy": paths.sweep.strategy,
        "dataset": {"name": paths.dataset.name, "hash": paths.dataset.hash, "simulated": bool(paths.dataset.simulated)},
        "capital": paths.sweep.capital,
        "quote": paths.sweep.quote,
        "groups": paths.groups.to_dict("records"),
        "tests": paths.tests,
        "embargo_days": paths.embargo,
        "distribution": paths.distribution,
        "promised": paths.promised,
        "below_median": paths.below_median,
        "rank_correlation": paths.rank_correlation,
        "sharpes": paths.sharpes.to_numpy(),
        "splits": paths.splits.to_dict("records"),
        "daily": {"time": list(paths.equity.index), "paths": paths.equity.to_numpy().T.tolist()},
        "luck": asdict(paths.luck),
        "notes": list(paths.notes),
    }
    return {key: plain_value(value) for key, value in document.items()}


def write_combinatorial_json(paths: Combinatorial, path: str | os.PathLike[str]) -> Path:
    """Write the paths' JSON, all of it or nothing. Errors: StorageError if the file can't be written."""
    text = json.dumps(combinatorial_json(paths), indent=1, ensure_ascii=False, allow_nan=False)
    return write_atomically(path, text + "\n", what="JSON", option="--json")


# ---------------------------------------------------------------- the page of a walk-forward


def write_forward(forward: WalkForward, path: str | os.PathLike[str]) -> Path:
    """Write the page, all of it or nothing, and return where. Errors: StorageError if the file can't be written."""
    return write_atomically(path, render_forward_page(forward), what="the page", option="--report")


def render_forward_page(forward: WalkForward) -> str:
    """The whole page as text: one file that opens offline."""
    made = (kept_section, stitched_section, stability_section, windows_section, forward_luck_section, forward_data_section)
    return render_page(
        title=f"Walk-forward of {forward.strategy}",
        subtitle=f"out of sample {day(forward.equity.index[0])} to {day(forward.equity.index[-1])} · {len(forward.windows):,} windows, "
        f"{len(forward.combinations):,} combinations tuned by {metric_label(forward.by)}",
        dataset=forward.dataset,
        sections=[make(forward) for make in made],
    )


def kept_section(forward: WalkForward) -> Section:
    """What was promised in sample, and how much of it was kept."""
    statistics = forward.statistics
    sharpe, yearly = statistics["sharpe"].to_dict(), statistics["annual_return"].to_dict()
    inside, outside = float(sharpe["in_sample"]), float(sharpe["out_of_sample"])
    cards = [
        ("Sharpe out of sample", number(outside), "of the stitched equity, annualized"),
        ("promised in sample", number(inside), "mean Sharpe ratio of the chosen combinations in their training"),
        ("efficiency", number(forward.efficiency), "Sharpe out of sample over the promised one"),
        ("a year, out of sample", percent(float(yearly["out_of_sample"])), "compounded, 365 days a year"),
        ("rank correlation", number(forward.rank_correlation), "of the combinations in training and in test: 1 the same order, 0 none"),
        (
            "others beaten",
            percent(float(forward.windows["beaten"].mean()), 0),
            "by the chosen combination in its test; half would be chance",
        ),
        ("windows traded", f"{int((forward.windows['cash'] == '').sum()):,} of {len(forward.windows):,}", "the others stayed in cash"),
    ]
    rows = [
        [Cell(ROWS[str(key)]), *(signed(metric(metric_style(name), float(row[name]))) for name, _, _ in COLUMNS)]
        for key, row in statistics.to_dict("index").items()
    ]
    blocks: list[Block] = [
        Text(_told(forward, inside, outside)),
        Cards([(label, text.replace("-", "−"), meaning) for label, text, meaning in cards]),
        Table(heads("", *(title for _, title, _ in COLUMNS)), rows),
    ]
    return Section("kept", "Promised and kept", "Kept", blocks)


def _told(forward: WalkForward, inside: float, outside: float) -> str:
    """The comparison in a sentence."""
    if not known(outside):
        return "Nothing moved out of sample: no Sharpe ratio can be told."
    said = f"Out of sample the Sharpe ratio was {number(outside)}"
    if known(inside):
        said += f", where training had promised {number(inside)}"
    share = f": {percent(forward.efficiency, 0)} of it" if known(forward.efficiency) else ""
    return f"{said}{share}.".replace("-", "−")


def _drawn(data: DatasetInfo, figure: "Drawn", name: str, alt: str, caption: str) -> Figure:
    simulated = bool(data.simulated)
    return drawing(figure, name, f"{'SIMULATED data. ' * simulated}{alt}", caption, simulated)


def stitched_section(forward: WalkForward) -> Section:
    """The equity out of sample beside the promise."""
    caption = (
        "Promised: each test grown at the yearly rate that its choice had in training. Known late: each test by the combination that was best in it, which nobody could choose "
        "before."
    )
    figure = _drawn(forward.dataset, figures.stitched_figure(forward), "stitched", figures.describe_stitched(forward), caption)
    return Section("equity", "Equity out of sample", "Equity", (figure,))


def stability_section(forward: WalkForward) -> Section:
    """What was chosen, window by window."""
    caption = "A parameter that jumps from window to window was not found but drawn; one that stays, and marks that stay together, speak for the rule."
    figure = _drawn(forward.dataset, figures.stability_figure(forward), "stability", figures.describe_stability(forward), caption)
    return Section("stability", "Stability of the parameters", "Stability", (figure,))


def windows_section(forward: WalkForward) -> Section:
    """A row a window."""
    names = list(forward.varied)
    head = [
        *heads("", "training", "test", *names, text=3 + len(names)),
        *(Cell(title) for title in ("in sample", "out of sample", "best in test", "rank corr.", "beaten", "equity")),
    ]
    rows = []
    for (window, row), chosen in zip(forward.windows.to_dict("index").items(), forward.chosen.to_dict("records"), strict=True):
        values = [UNKNOWN if row["cash"] else short([chosen[name]])[0] for name in names]
        figure_cells = [signed(metric(metric_style(forward.by), float(row[key]))) for key in ("in_sample", "out_of_sample", "best_in_test")]
        spans = [f"{day(row[f'{part}_start'])} to {day(row[f'{part}_end'])}" for part in ("train", "test")]
        rows.append(
            [
                Cell(str(window)),
                *(Cell(text, "t") for text in (*spans, *values)),
                *figure_cells,
                signed(number(float(row["rank_correlation"]))),
                Cell(percent(float(row["beaten"]), 0)),
                signed(money(float(row["equity"]))),
            ]
        )
    said = f"{metric_label(forward.by)[:1].upper()}{metric_label(forward.by)[1:]} of what was chosen in training. {RULES}"
    return Section("windows", "Windows", "Windows", (Text(said, "muted"), Table(head, rows, look="wide", printed=PRINTED)))


def forward_luck_section(forward: WalkForward) -> Section:
    """The odds that the best over all the data is luck."""
    return Section("luck", "The best over all the data, and luck", "Luck", luck_blocks(forward.luck))


def luck_blocks(luck: Luck) -> list[Block]:
    """The odds in sentences."""
    first, *rest = (one.replace(" -", " −") for one in sentences(str(luck)))
    return [Text(first), Points(rest)]


def forward_data_section(forward: WalkForward) -> Section:
    """The data, the settings and the programs."""
    kind = "expanding: all trainings begin where the data do" if forward.expanding else "rolling"
    facts = [
        *data_facts(forward.dataset),
        ("capital", f"{money(forward.capital)} {forward.quote}"),
        (
            "windows",
            f"{kind}; training {short([forward.train])[0]}, test {short([forward.test])[0]}, embargo {short([forward.embargo])[0]}",
        ),
        ("combinations", f"{len(forward.combinations):,}, tuned by {metric_label(forward.by)}; {forward.trials:,} runs in all"),
    ]
    grid = [(name, values_words(values)) for name, values in forward.varied.items()]
    fixed = [(name, short([value])[0]) for name, value in forward.fixed.items()]
    blocks: list[Block] = [Facts(facts), Heading("Parameters that vary"), Facts(grid)]
    blocks += [Heading("Parameters that don't"), Facts(fixed)] if fixed else []
    blocks += [Heading("Notes"), Points(list(forward.notes))] if forward.notes else []
    blocks += [Heading("Programs"), Text(", ".join(programs()), "muted")]
    return Section("data", "Data and provenance", "Data", blocks)


def values_words(values: Values) -> str:
    """A parameter's values in words."""
    return str(values) if isinstance(values, Range) else ", ".join(short(ordered(values, [])))


def data_facts(data: DatasetInfo) -> list[tuple[str, str]]:
    """The dataset, its hash and whether it is made up."""
    kind = "SIMULATED: made by a generator, not by a market" if data.simulated else "real, as imported"
    return [("dataset", data.name), ("content hash", data.hash), ("data", kind)]


# ---------------------------------------------------------------- the page of combinatorial paths


def write_combinatorial(paths: Combinatorial, path: str | os.PathLike[str]) -> Path:
    """Write the page, all of it or nothing, and return where. Errors: StorageError if the file can't be written."""
    return write_atomically(path, render_combinatorial_page(paths), what="the page", option="--report")


def render_combinatorial_page(paths: Combinatorial) -> str:
    """The whole page as text: one file that opens offline."""
    sweep = paths.sweep
    return render_page(
        title=f"Combinatorial cross-validation of {sweep.strategy}",
        subtitle=f"{day(sweep.start)} to {day(sweep.end)} · {len(paths.splits):,} splits, {paths.returns.shape[1]:,} paths, {len(sweep.table):,} combinations",
        dataset=paths.dataset,
        sections=[
            paths_section(paths),
            splits_section(paths),
            Section("luck", "The best of the sweep, and luck", "Luck", luck_blocks(paths.luck)),
            paths_data_section(paths),
        ],
    )


def paths_section(paths: Combinatorial) -> Section:
    """The paths and their Sharpe ratios."""
    found = paths.distribution
    cards = [
        ("mean of the paths", number(found["mean"]), "Sharpe ratio out of sample"),
        ("promised in sample", number(paths.promised), "mean Sharpe ratio of the chosen in training"),
        ("worst and best path", f"{number(found['least'])}, {number(found['most'])}", "Sharpe ratios"),
        ("paths that lost", percent(found["below_zero"], 0), "Sharpe ratio below 0"),
        (
            "choice below the median",
            percent(paths.below_median, 0),
            "share of the splits in whose test the choice beat less than half of the others",
        ),
        ("rank correlation", number(paths.rank_correlation), "of training and test: 1 the same order, 0 none"),
    ]
    figure = _drawn(paths.dataset, figures.paths_figure(paths), "paths", figures.describe_paths(paths), PATHS)
    return Section(
        "paths",
        "Paths out of sample",
        "Paths",
        (Cards([(label, text.replace("-", "−"), meaning) for label, text, meaning in cards]), figure),
    )


def splits_section(paths: Combinatorial) -> Section:
    """A row a split."""
    rows = []
    table = paths.splits
    places: Sequence[int] = range(len(table)) if len(table) <= 2 * SPLITS else [*range(SPLITS), *range(len(table) - SPLITS, len(table))]
    for place in places:
        row = table.iloc[place]
        chosen = row["chosen"]
        told = (
            "in cash" if chosen is None else ", ".join(short([value])[0] for value in (chosen if isinstance(chosen, tuple) else (chosen,)))
        )
        rows.append(
            [
                Cell(", ".join(map(str, row["tests"]))),
                Cell(told, "t"),
                *(signed(number(float(row[key]))) for key in ("in_sample", "out_of_sample", "rank_correlation")),
                Cell(percent(float(row["beaten"]), 0)),
            ]
        )
    some = f"The first {SPLITS} and the last {SPLITS} of {len(table):,}; all are in the JSON. " if len(table) > len(rows) else ""
    names = ", ".join(paths.sweep.varied)
    head = heads("test groups", names, "Sharpe in training", "Sharpe in test", "rank correlation", "others beaten", text=2)
    said = f"{some}Each split is tested on {paths.tests} of {len(paths.groups)} groups of days, and chosen on the others."
    return Section("splits", "Splits", "Splits", (Text(said, "muted"), Table(head, rows, printed=PRINTED)))


def paths_data_section(paths: Combinatorial) -> Section:
    """The data and the programs."""
    count = "day" if paths.embargo == 1 else "days"
    facts = [*data_facts(paths.dataset), ("embargo", f"{paths.embargo} {count} before and after each test group")]
    blocks: list[Block] = [Facts(facts)]
    blocks += [Heading("Notes"), Points(list(paths.notes))] if paths.notes else []
    blocks += [Heading("Programs"), Text(", ".join(programs()), "muted")]
    return Section("data", "Data and provenance", "Data", blocks)
