"""A sweep as a page and as JSON: the odds of luck first, then the pictures, the table, what was refused, and where it comes from.

write_sweep(bt.sweep(FundingCarry, market, enter=[0.05, 0.1, 0.15]), "sweep.html")
"""

import json
import math
import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtest._version import __version__
from backtest.luck import CONVINCING, Luck
from backtest.metrics import RANKED
from backtest.report import sweep_figures, sweep_lines
from backtest.report.blocks import Block, Cards, Cell, Facts, Figure, Heading, Points, Section, Table, Text, signed
from backtest.report.files import write_atomically
from backtest.report.html import render_page
from backtest.report.json import plain_value
from backtest.report.sections import drawing, programs
from backtest.report.sweep import chosen_values, fixed_values, full_marks, grid_words, title_of
from backtest.report.sweep_cells import chance, chosen_row, in_order, of_points, pairs, ranked, short, varying
from backtest.report.words import UNKNOWN, instant, known, metric, metric_label, metric_rows, metric_style, money, number
from backtest.space import Range
from backtest.study import Search
from backtest.sweep import Sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawn

STATISTICS = (
    "total_return", "annual_return", "annual_volatility", "sharpe", "excess_sharpe", "sortino", "calmar", "max_drawdown", "trades", "win_rate", "avg_hold_days",
    "time_in_market", "final_equity",
)  # fmt: skip
MAPPED = (RANKED, "total_return", "max_drawdown", "trades")  # of the only two parameters that vary
LARGE = 2_500  # cells: of more, only the first and the third of these
MOST_PAIRS = 15  # of six parameters
TOGETHER = 6  # maps in a figure
ENDS = 100  # rows at the beginning and at the end of a long table
PRINTED = 60
REASONS = 20  # sentences that refused combinations


# ---------------------------------------------------------------- JSON


def sweep_json(sweep: Sweep) -> dict[str, Any]:
    """The sweep as plain dicts, lists, texts, numbers and None: every combination with all statistics, the odds, the chosen one's daily equity."""
    row = chosen_row(sweep)
    dataset = sweep.dataset
    document = {
        "version": __version__,
        "programs": programs(),
        "strategy": sweep.strategy,
        "varied": {name: str(values) if isinstance(values, Range) else values for name, values in sweep.varied.items()},
        "fixed": dict(sweep.fixed),
        "dataset": {"name": dataset.name, "hash": dataset.hash, "simulated": bool(dataset.simulated)},
        "capital": sweep.capital,
        "quote": sweep.quote,
        "start": sweep.start,
        "end": sweep.end,
        "seconds": seconds_of(sweep),
        "trials": sweep.trials,
        "luck": None if row is None else asdict(sweep.luck),
        "chosen": None if row is None else {"row": row, "parameters": chosen_values(sweep)},
        "combinations": [
            {"parameters": parameters, "statistics": statistics}
            for parameters, statistics in zip(sweep.combinations, sweep.table.to_dict("records"), strict=True)
        ],
        "invalid": [
            {"parameters": dict(zip(sweep.varied, label if isinstance(label, tuple) else (label,), strict=True)), "why": why}
            for label, why in zip(sweep.invalid.index, sweep.invalid["why"], strict=True)
        ],
        "daily": {
            "time": list(sweep.daily.index),
            "chosen": None if row is None else sweep.daily.iloc[:, row].to_numpy(),
            "baseline": sweep.baseline.to_numpy(),
        },
    }
    return {key: plain_value(value) for key, value in document.items()}


def seconds_of(sweep: Sweep) -> float | None:
    """How long the sweep took, where it is known."""
    seconds = getattr(sweep, "seconds", None)
    return None if seconds is None or not math.isfinite(seconds) else float(seconds)


def write_sweep_json(sweep: Sweep, path: str | os.PathLike[str]) -> Path:
    """Write the sweep's JSON, all of it or nothing. Errors: StorageError if the file can't be written."""
    text = json.dumps(sweep_json(sweep), indent=1, ensure_ascii=False, allow_nan=False)
    return write_atomically(path, text + "\n", what="JSON", option="--json")


# ---------------------------------------------------------------- the page


def write_sweep(sweep: Sweep, path: str | os.PathLike[str]) -> Path:
    """Write the page, all of it or nothing, and return where. Errors: StorageError if the file can't be written."""
    return write_atomically(path, render_sweep_page(sweep), what="the page", option="--report")


def render_sweep_page(sweep: Sweep) -> str:
    """The whole page as text: one file that opens offline."""
    made = (
        odds_section,
        maps_section,
        parallel_section,
        distribution_section,
        search_section,
        equity_section,
        table_section,
        invalid_section,
        data_section,
    )
    return render_page(
        title=title_of(sweep),
        subtitle=f"{sweep.start:%Y-%m-%d} to {sweep.end:%Y-%m-%d} · {grid_words(sweep)}",
        dataset=sweep.dataset,
        sections=[section for make in made if (section := make(sweep)) is not None],
    )


def odds_section(sweep: Sweep) -> Section:
    """The best combination with the odds that it owes its place to luck: the first that a reader sees."""
    row = chosen_row(sweep)
    if row is None:
        said = (
            "Only one combination ran: there was nothing to choose."
            if len(sweep.table) < 2
            else "No combination has a Sharpe ratio: none can be called the best."
        )
        return Section("odds", "How much of the best to believe", "Odds", (Text(said),))
    luck = sweep.luck
    told = [one.replace(" -", " −") for one in sentences(str(luck))]
    blocks: list[Block] = [Text(verdict(luck)), Cards(odds_cards(luck)), Text(told[0]), Points(told[1:])]
    blocks += [Heading("The best combination"), Facts(list(chosen_values(sweep).items()))]
    figures = {name: float(sweep.table.iloc[row][name]) for name in STATISTICS if name in sweep.table and name != "final_equity"}
    cards = [(spec.label, written.replace("-", "−"), spec.meaning) for spec, written in metric_rows(figures)]
    blocks += [Cards(cards), Text("In sample: the same days chose it and measured it.", "muted")]
    return Section("odds", f"How much of the best of {luck.trials:,} to believe", "Odds", blocks)


def verdict(luck: Luck) -> str:
    """The deflated Sharpe ratio in a sentence."""
    if not math.isfinite(luck.deflated_sharpe):
        return "Whether the best is more than luck can't be said; the notes below say why."
    said = f"With {chance(luck.deflated_sharpe)} probability the best of {luck.trials:,} is more than luck."
    if luck.deflated_sharpe >= CONVINCING:
        return f"{said} That is convincing on these days; it is no promise for others."
    return f"{said} Below {CONVINCING:.0%} it does not convince: luck alone may have put it first."


def odds_cards(luck: Luck) -> list[tuple[str, str, str]]:
    """The odds as figures."""
    low, high = luck.interval
    cards = [
        ("best Sharpe", number(luck.sharpe), f"of daily returns{' over idle cash' if luck.over_idle else ''}, annualized"),
        ("by luck alone", number(luck.expected_maximum), "Sharpe ratio that the best of so many trials has without any edge"),
        ("deflated Sharpe", chance(luck.deflated_sharpe), "probability that the true Sharpe ratio exceeds what luck alone gives"),
        ("overfitting", chance(luck.overfitting), "share of splits in which the best of one half was not above the median in the other"),
        ("95% interval", f"{number(low)} to {number(high)}" if known(low) else UNKNOWN, "stationary bootstrap of its daily returns"),
        (f"SPA against {luck.baseline}", chance(luck.reality_check), "p-value of the lead over the baseline; below 5% convinces"),
        ("reality check", chance(luck.white), "White's p-value of the same"),
        (
            "trials, effective",
            f"{luck.trials:,}, {number(luck.effective_trials, 0 if luck.effective_trials >= 10.0 else 1)}",
            "tried, and how many independent ones these are worth",
        ),
    ]
    if luck.plateau is not None:
        count = luck.plateau.neighbours
        cards.append(
            (
                f"{count} neighbours lose" if count > 1 else "its neighbour loses",
                number(luck.plateau.median_loss),
                "of Sharpe, in the median",
            )
        )
    return [(label, text.replace("-", "−"), meaning) for label, text, meaning in cards]


def sentences(told: str) -> list[str]:
    """Text wrapped for a terminal, as sentences again."""
    found: list[str] = []
    for line in told.splitlines():
        if line.startswith("  ") and found:
            found[-1] += f" {line.strip()}"
        else:
            found.append(line.removeprefix("* "))
    return found


def _drawn(sweep: Sweep, figure: "Drawn", name: str, alt: str, caption: str) -> Figure:
    simulated = bool(sweep.dataset.simulated)
    return drawing(figure, name, f"{'SIMULATED data. ' * simulated}{alt}", caption, simulated)


def maps_section(sweep: Sweep) -> Section | None:
    """Heat maps of every two parameters; of one parameter alone a line."""
    names = varying(sweep)
    if not names:
        return None
    if len(names) == 1:
        caption = "Neighbours that agree say more than one that stands out."
        figure = _drawn(sweep, sweep_lines.profile_figure(sweep), "profile", sweep_lines.describe_profile(sweep), caption)
        return Section("maps", f"Sharpe ratio by {names[0]}", "Map", (figure,))
    every = pairs(sweep)
    maps = [(x, y, RANKED) for x, y in every[:MOST_PAIRS]]
    if len(every) == 1:
        x, y = every[0]
        large = len(in_order(sweep, x)) * len(in_order(sweep, y)) > LARGE
        maps = [(x, y, by) for by in (MAPPED[::2] if large else MAPPED)]
    points = [of_points(sweep, x, y) for x, y, _ in maps]
    caption = POINTS_CAPTION if all(points) else f"{MAP_CAPTION}{BEST_CAPTION if len(every) > 1 else ''}"
    if len(every) > len(maps):
        caption += f" The first {len(maps)} of {len(every)} pairs of parameters."
    blocks = []
    for first in range(0, len(maps), TOGETHER):
        chosen = maps[first : first + TOGETHER]
        alt = " ".join(sweep_figures.describe_heat_map(sweep, *one) for one in chosen)
        said = caption if first + TOGETHER >= len(maps) else ""
        blocks.append(_drawn(sweep, sweep_figures.heat_maps_figure(sweep, chosen), f"maps-{first // TOGETHER + 1}", alt, said))
    return Section("maps", "Heat maps", "Maps", blocks)


MAP_CAPTION = (
    "Blue above zero, orange below (drawdowns are orange), the stronger the farther. A broad plateau around the chosen cell speaks for it, a lone peak against it. Hatched: "
    "refused combinations, and those that never traded."
)
POINTS_CAPTION = (
    "A point is a combination that traded; blue above zero, orange below, the stronger the farther. Points of one value in a list are spread beside it, those with a higher Sharpe "
    "ratio higher. A broad plateau around the chosen one speaks for it, a lone peak against it."
)
BEST_CAPTION = " A cell stands for all combinations with its two values and shows the best of them by Sharpe ratio: the more there are, the more luck is in it."


def parallel_section(sweep: Sweep) -> Section | None:
    """Parallel coordinates."""
    if len(ranked(sweep).rows) < 2:
        return None
    caption = "Each line is a combination; of those with the same value the one with the higher Sharpe ratio passes higher."
    figure = _drawn(sweep, sweep_lines.parallel_figure(sweep), "parallel", sweep_lines.describe_parallel(sweep), caption)
    return Section("parallel", "Parallel coordinates", "Parallel", (figure,))


def distribution_section(sweep: Sweep) -> Section | None:
    """All Sharpe ratios."""
    if len(ranked(sweep).rows) < 2:
        return None
    caption = "What luck alone would give the best grows with the number of trials: a best that is not right of the dashed line needs no edge to explain it."
    figure = _drawn(sweep, sweep_lines.distribution_figure(sweep), "distribution", sweep_lines.describe_distribution(sweep), caption)
    return Section("distribution", "All Sharpe ratios", "Distribution", (figure,))


def search_section(sweep: Sweep) -> Section | None:
    """How a search came to its best."""
    if not isinstance(sweep, Search):
        return None
    caption = f"The search looked for {metric_label(sweep.by)}. Every trial counts in the odds: the longer it looks, the better its best looks by luck alone."
    figure = _drawn(sweep, sweep_lines.history_figure(sweep), "history", sweep_lines.describe_history(sweep), caption)
    return Section("search", "The search", "Search", (figure,))


def equity_section(sweep: Sweep) -> Section:
    """The equity of all combinations as bands."""
    caption = (
        "Bands: at each midnight the middle half, and nine tenths, of all combinations that ran. The chosen one was picked for its end."
    )
    figure = _drawn(sweep, sweep_lines.equity_figure(sweep), "equity", sweep_lines.describe_equity(sweep), caption)
    return Section("equity", "Equity", "Equity", (figure,))


def table_section(sweep: Sweep) -> Section:
    """A row a combination, in the order of the grid; of very many the first and the last."""
    names, keys = list(sweep.varied), [name for name in STATISTICS if name in sweep.table]
    if "liquidations" in sweep.table and (sweep.table["liquidations"] > 0.0).any():
        keys.append("liquidations")
    marks = full_marks(sweep)
    head = [*(Cell(name, "t") for name in names), *(Cell(metric_label(key)) for key in keys), *([Cell("run", "t")] if any(marks) else [])]
    count = len(sweep.table)
    places = list(range(count)) if count <= 2 * ENDS else [*range(ENDS), *range(count - ENDS, count)]
    rows = []
    for place in places:
        label, row = sweep.table.index[place], sweep.table.iloc[place]
        texts = short_row(label)
        cells = [Cell(text, "t") for text in texts] + [signed(figure(key, float(row[key]))) for key in keys]
        rows.append([*cells, *([Cell("in full" if marks[place] else "scanned", "t")] if any(marks) else [])])
    some = (
        f"The first {ENDS} and the last {ENDS} of {count:,} in the order of the grid. "
        if count > len(rows)
        else "In the order of the grid. "
    )
    said = f"{some}All of them with every statistic are in the JSON."
    if any(marks):
        said += " Run in full: the scan can't jump between events there."
    return Section("table", "Combinations", "Table", (Text(said, "muted"), Table(head, rows, look="wide", printed=PRINTED)))


def short_row(label: Any) -> list[str]:
    """A combination's values as one types them."""
    return [
        short([value])[0].replace("-", "−") if isinstance(value, int | float) else short([value])[0]
        for value in (label if isinstance(label, tuple) else (label,))
    ]


def figure(key: str, value: float) -> str:
    """A statistic's text."""
    return money(value, width=14) if key == "final_equity" else metric(metric_style(key), value)


def invalid_section(sweep: Sweep) -> Section | None:
    """The sentences that refused combinations, and how many each did."""
    if not len(sweep.invalid):
        return None
    reasons = Counter(str(why) for why in sweep.invalid["why"])
    told = [f"{count:,}: {why}" for why, count in reasons.most_common(REASONS)]
    rest = len(reasons) - len(told)
    said = f"{len(sweep.invalid):,} of {len(sweep.table) + len(sweep.invalid):,} combinations were refused before they ran."
    blocks: list[Block] = [Text(said), Points([*told, *([f"{rest:,} other sentences, in the JSON"] if rest else [])])]
    return Section("invalid", "Invalid combinations", "Invalid", blocks)


def data_section(sweep: Sweep) -> Section:
    """The data, what was tried, and the programs."""
    seconds = seconds_of(sweep)
    facts = [
        ("dataset", sweep.dataset.name),
        ("content hash", sweep.dataset.hash),
        ("data", "SIMULATED: made by a generator, not by a market" if sweep.dataset.simulated else "real, as imported"),
        ("period", f"{instant(sweep.start)} to {instant(sweep.end)} UTC, {len(sweep.daily) - 1:,} days"),
        ("capital", f"{money(sweep.capital)} {sweep.quote}"),
        ("combinations", grid_words(sweep)),
        ("trials", f"{sweep.trials:,}"),
        *([("time", f"{seconds:,.1f} seconds")] if seconds is not None else []),
    ]
    grid = [
        (name, str(values) if isinstance(values, Range) else ", ".join(short(in_order(sweep, name))))
        for name, values in sweep.varied.items()
    ]
    blocks: list[Block] = [Facts(facts), Heading("Parameters that vary"), Facts(grid)]
    if fixed := fixed_values(sweep):
        blocks += [Heading("Parameters that don't"), Facts(list(fixed.items()))]
    blocks += [Heading("Programs"), Text(", ".join(programs()), "muted")]
    return Section("data", "Data and provenance", "Data", blocks)
