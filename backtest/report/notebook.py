"""How results, sweeps and the rest show themselves in a notebook: a white card with the figures one looks for first.

Nothing slow is computed for it: no baselines, no sensitivity, and the odds of luck of a sweep only where they are there or quickly made; without them no
combination is told to be the best.

    result            # as the last line of a cell
    html_of(result)   # what the notebook asks for
"""

from typing import Any

import numpy as np
import pandas as pd

from backtest.book_result import BookResult
from backtest.causality import CausalityCheck
from backtest.compare import Comparison
from backtest.forward import WalkForward
from backtest.instruments import Kind
from backtest.luck import Luck
from backtest.market import Market
from backtest.metrics import RANKED
from backtest.overview.view import Overview
from backtest.purged import Combinatorial
from backtest.report.compare_figures import TONES
from backtest.report.figures import GROUPS
from backtest.report.figures_base import floats, times_of, with_start
from backtest.report.figures_detail import cash_by_group, short_cash
from backtest.report.notebook_card import alarm, bar, card, curve, figures, heading, note, table
from backtest.report.premium_table import kinds_shown, labelled, percentile, written
from backtest.report.stress import COLUMNS as STRESS
from backtest.report.stress import sentences
from backtest.report.stress import written as stressed
from backtest.report.summary import final_equity, forced_words, headline, liquidations, period
from backtest.report.sweep import COLUMNS, chosen_values, grid_words, shown_parameters, title_of
from backtest.report.sweep_cells import chosen_row, ranked, short
from backtest.report.words import UNKNOWN, known, metric, metric_label, metric_style, money, number, percent
from backtest.result import Result
from backtest.stress import StressTest
from backtest.sweep import Sweep

HEADLINES = ("total_return", "annual_return", RANKED, "max_drawdown", "trades", "win_rate", "time_in_market")
COMPARED = ("total_return", "annual_return", "annual_volatility", "sharpe", "max_drawdown", "trades")
QUICK = 600_000  # days of equity of all combinations together: beyond, the odds of luck take more than about a second
ROWS = 20
NOTES = 3
MOST_WINDOWS = 20


def html_of(view: Any) -> str:
    """The card of one of the classes below. [HTML]"""
    for kind, draw in CARDS:
        if isinstance(view, kind):
            return str(draw(view))
    raise TypeError(f"no card for {type(view).__name__}")


# ---------------------------------------------------------------- runs


def _result(run: Any) -> str:
    statistics = run.metrics
    pairs = [(f"final {run.quote}", money(final_equity(run)))]
    pairs += [(metric_label(key), metric(metric_style(key), statistics.get(key))) for key in HEADLINES]
    times, equity = with_start(run, run.equity, run.capital)
    blocks = [figures(pairs), curve([("equity", times, equity)], level=float(run.capital), about=f"Equity. {headline(run)}")]
    if events := liquidations(run):
        blocks.append(alarm(f"{forced_words(events)}: see result.liquidations"))
    blocks.append(_sources(run))
    if run.by_rule is not None:
        blocks.append(_rules(run))
    blocks.append(_notes(run.notes))
    blocks.append(note('print(result) tells more, result.report("report.html") all of it; result.plot() draws the curve.'))
    return card(run.strategy, f"{period(run)} · {run.dataset.name} {run.dataset.hash[:12]}", blocks, simulated=run.dataset.simulated)


def _sources(run: Any) -> str:
    """Where the money came from: cash by group of sources with bars, and their sum."""
    cash = cash_by_group(run)
    if not cash:
        return note("Nothing was earned or lost.")
    largest = max(map(abs, cash.values()))
    rows: list[list[object]] = [
        [
            name,
            short_cash(value).replace("−", "-"),
            percent(value / run.capital, sign=True),
            bar(value / largest, GROUPS[name][1] if name in GROUPS else "grey"),
        ]
        for name, value in cash.items()
    ]
    total = sum(cash.values())
    rows.append(["together", short_cash(total).replace("−", "-"), percent(total / run.capital, sign=True), ""])
    return heading("Where it came from") + table(["source", run.quote, "of capital", ""], rows)


def _rules(run: Any) -> str:
    kinds = {"capital": money, "final_equity": money, "pnl": money}
    columns = [name for name in ("capital", "final_equity", "pnl", "sharpe", "max_drawdown", "trades") if name in run.by_rule]
    rows = [
        [name, *(kinds[key](row[key]) if key in kinds else metric(metric_style(key), row[key]) for key in columns)]
        for name, row in run.by_rule.to_dict("index").items()
    ]
    return heading("By rule") + table(["rule", *map(metric_label, columns)], rows, more="result.by_rule")


def _notes(notes: Any) -> str:
    """The first few notes, and how many more."""
    if not notes:
        return ""
    rest = f"\n… {len(notes) - NOTES} more in .notes" if len(notes) > NOTES else ""
    return heading("Notes") + note("\n".join(f"• {one}" for one in list(notes)[:NOTES]) + rest)


def _stress(test: StressTest) -> str:
    rows = [[str(name), *(stressed(row, key) for _, key, _ in STRESS)] for name, row in test.table.to_dict("index").items()]
    told = table(["scenario", *(title for title, _, _ in STRESS)], rows, more=".table")
    base = test.base
    blocks = [told, note("\n".join(f"• {sentence}" for sentence in sentences(test)[:12]))]
    return card(f"Stress test of {base.strategy}", f"cash in {base.quote}, {period(base)}", blocks, simulated=base.dataset.simulated)


def _comparison(comparison: Comparison) -> str:
    growth = comparison.growth
    times = times_of(growth.index)
    lines = [(str(name), times, floats(growth[name])) for name in growth.columns]
    rows = [
        [name, money(run.final_equity, width=14), *(metric(metric_style(key), run.metrics.get(key)) for key in COMPARED)]
        for name, run in comparison.runs.items()
    ]
    blocks = [
        curve(lines, level=1.0, tones=TONES, about=f"Growth of 1 of {len(lines)} runs."),
        table(["run", "final equity", *map(metric_label, COMPARED)], rows),
    ]
    if comparison.differences:
        blocks.append(alarm("These runs are not alike:") + note("\n".join(f"• {one}" for one in comparison.differences[:8])))
    simulated = any(run.dataset.simulated for run in comparison.runs.values())
    return card(f"{len(lines)} runs beside each other", "growth of 1 at midnights UTC", blocks, simulated=simulated)


# ---------------------------------------------------------------- sweeps


def _sweep(sweep: Sweep) -> str:
    """The odds first: no combination is told to be the best without them."""
    names, blocks = shown_parameters(sweep), []
    quick = "luck" in sweep.__dict__ or sweep.daily.size <= QUICK
    if quick and chosen_row(sweep) is not None:
        best = "  ".join(f"{name}={text}" for name, text in chosen_values(sweep).items())
        blocks += [heading(f"How much of the best of {len(sweep.table):,} to believe: {best}"), _odds(sweep.luck)]
    elif not quick:
        blocks.append(note("The odds of luck take a while with so many: ask for sweep.luck, then no combination looks better than it is."))
    order = ranked(sweep).rows[::-1] if quick else np.arange(len(sweep.table))
    rows, levels = [], [list(sweep.varied).index(name) for name in names]
    for place in order[:ROWS].tolist():
        label = sweep.table.index[place]
        labels = label if isinstance(label, tuple) else (label,)
        figures_of = sweep.table.iloc[place]
        rows.append(
            [
                *(short([labels[level]])[0] for level in levels),
                *(metric(metric_style(key), float(figures_of[key])) for key, _, _ in COLUMNS),
            ]
        )
    told = f"The {len(rows):,} with the highest {metric_label(RANKED)}," if quick else f"The first {len(rows):,} in the order of the grid"
    blocks.append(heading(f"{told} of {len(sweep.table):,}; all are in sweep.table" if len(rows) else "No combination made a trade"))
    blocks.append(table([*names, *(title for _, title, _ in COLUMNS)], rows, text=len(names)) if rows else "")
    blocks.append(note('sweep.heat_map(x, y) and bt.plot_equity(sweep) draw it, sweep.report("sweep.html") writes all of it.'))
    told = f"{grid_words(sweep)} · {sweep.start:%Y-%m-%d} to {sweep.end:%Y-%m-%d} · {sweep.dataset.name} {sweep.dataset.hash[:12]}"
    return card(title_of(sweep), told, blocks, simulated=sweep.dataset.simulated)


def _odds(luck: Luck) -> str:
    pairs = [
        (f"{metric_label(RANKED if luck.over_idle else 'sharpe')} of the best", number(luck.sharpe)),
        ("by luck alone", number(luck.expected_maximum)),
        ("likely more than luck", percent(luck.deflated_sharpe, 0)),
        ("overfitting", percent(luck.overfitting, 0)),
        ("trials", f"{luck.trials:,}"),
    ]
    return figures([pair for pair in pairs if pair[1] != UNKNOWN])


def _luck(luck: Luck) -> str:
    (first, *rest) = str(luck).replace("\n  ", " ").split("\n")
    return card("Odds of luck", first.rstrip(":"), [_odds(luck), note("\n".join(line.replace("* ", "• ", 1) for line in rest))])


def _forward(forward: WalkForward) -> str:
    statistics = forward.statistics
    rows = [
        [str(name).replace("_", " "), *(metric(metric_style(str(key)), row[key]) for key in statistics.columns)]
        for name, row in statistics.to_dict("index").items()
    ]
    equity, hindsight = forward.equity, forward.hindsight
    lines = [
        ("chosen in training", times_of(equity.index), floats(equity)),
        ("best in hindsight", times_of(hindsight.index), floats(hindsight)),
    ]
    windows = [
        [
            f"{row['test_start']:%Y-%m-%d}",
            f"{row['test_end']:%Y-%m-%d}",
            *(metric(metric_style(forward.by), row[key]) for key in ("in_sample", "out_of_sample", "best_in_test")),
        ]
        for row in forward.windows.to_dict("records")
    ]
    blocks = [
        curve(lines, level=forward.capital, about="Equity out of sample, and in hindsight."),
        table(["", *(metric_label(str(key)) for key in statistics.columns)], rows),
        heading(f"{metric_label(forward.by)} of what was chosen, window by window"),
        table(["test from", "to", "in training", "in its test", "best there"], windows[:MOST_WINDOWS], text=2),
        note(
            f'{len(windows):,} windows in .windows; .report("forward.html") writes all of it.'
            if len(windows) > MOST_WINDOWS
            else '.report("forward.html") writes all of it.'
        ),
    ]
    told = f"trained on {forward.train.days:,} days, tested on the next {forward.test.days:,} · {forward.trials:,} trials · {forward.dataset.name}"
    return card(f"Walk-forward of {forward.strategy}", told, blocks, simulated=forward.dataset.simulated)


def _combinatorial(paths: Combinatorial) -> str:
    equity = paths.equity
    lines = [(f"path {name}", times_of(equity.index), floats(equity[name])) for name in equity.columns[:8]]
    found = paths.distribution
    pairs = [
        ("paths", f"{equity.shape[1]:,}"),
        ("mean Sharpe", number(found["mean"])),
        ("promised", number(paths.promised)),
        ("least", number(found["least"])),
        ("most", number(found["most"])),
    ]
    pairs += [("below zero", percent(found["below_zero"], 0)), ("beat less than half", percent(paths.below_median, 0))]
    blocks = [figures(pairs), curve(lines, level=paths.sweep.capital, tones=TONES, about="Equity of the paths."), _notes(paths.notes)]
    told = f"{len(paths.groups)} groups of days, {paths.tests} of them tested at a time, {len(paths.splits):,} splits"
    return card(f"Combined tests of {paths.sweep.strategy}", told, blocks, simulated=paths.dataset.simulated)


# ---------------------------------------------------------------- markets and checks


def _market(market: Market) -> str:
    rows = []
    kinds = list(Kind)
    for name, item in sorted(market.instruments.items(), key=lambda one: kinds.index(one[1].kind)):
        bars = market.bars(name)
        expiry = f"{item.expires_at:%Y-%m-%d}" if item.expires_at is not None else ""
        rows.append([name, str(item.kind), item.venue, expiry, f"{len(bars):,}", f"{bars.index[0]:%Y-%m-%d}", f"{bars.index[-1]:%Y-%m-%d}"])
    blocks = [table(["instrument", "kind", "venue", "expires", "bars", "first", "last"], rows, text=4, more="market.instruments")]
    if market.series_names:
        blocks.append(note(f"Series: {', '.join(market.series_names)}"))
    blocks += [
        _notes(market.notes),
        note("bt.plot_premium(market) and bt.plot_term_structure(market) draw it; bt.overview(market) tells where it stands."),
    ]
    told = f"{len(market.instruments)} instruments · {len(market):,} bars · {market.clock[0]:%Y-%m-%d} to {market.clock[-1]:%Y-%m-%d} · {market.info.hash[:12]}"
    return card(f"Market {market.info.name}", told, blocks, simulated=market.info.simulated)


def _overview(view: Overview) -> str:
    numbers, states, _ = kinds_shown(view)
    rows = [
        [labelled(view, one), written(one.unit, one.now), *(written(one.unit, value) for value in one.before), percentile(one) or UNKNOWN]
        for one in numbers
    ]
    blocks = [figures([(one.label, one.word or UNKNOWN) for one in states[:6]])] if states else []
    if len(view.contracts):
        kept = [
            (name, head)
            for name, head in (
                ("days", "days"),
                ("premium", "premium"),
                ("annualized", "a year"),
                ("net_carry", "net carry"),
                ("weight", "weight"),
            )
            if name in view.contracts
        ]
        lines = [
            [name, *(number(row[key], 0) if key == "days" else percent(row[key]) for key, _ in kept)]
            for name, row in view.contracts.to_dict("index").items()
        ]
        blocks += [heading("Contracts"), table(["contract", *(head for _, head in kept)], lines, more=".contracts")]
    blocks += [heading("Readings"), table(["", "now", "1 day before", "7 days", "30 days", "percentile"], rows, more=".readings")]
    blocks.append(note('print() tells more, .report("premium.html") all of it.'))
    return card(
        f"Premium of {view.market.info.name}", f"as it was at {view.time:%Y-%m-%d %H:%M} UTC", blocks, simulated=view.market.info.simulated
    )


def _causality(check: CausalityCheck) -> str:
    shown = [name for name in ("first_bar", "what", "of", "was", "became", "cut", "future") if name in check.findings]
    rows = [[_plain(row[key]) for key in shown] for row in check.findings.to_dict("records")]
    verdict = note(f"{check.sentence}.") if check.passed else alarm(f"{check.sentence}.")
    told = f"{len(check.cuts)} cuts from {check.cuts[0]:%Y-%m-%d} to {check.cuts[-1]:%Y-%m-%d}"
    blocks = [verdict, table([name.replace("_", " ") for name in shown], rows, text=len(shown), more=".findings") if rows else ""]
    return card(f"Causality of {check.strategy}: {'passed' if check.passed else 'FAILED'}", told, blocks)


def _plain(value: object) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M}"
    return f"{value:.6g}" if isinstance(value, float) and known(value) else str(value)


CARDS: tuple[tuple[type, Any], ...] = (
    (BookResult, _result),
    (Sweep, _sweep),
    (WalkForward, _forward),
    (Combinatorial, _combinatorial),
    (Comparison, _comparison),
    (StressTest, _stress),
    (Overview, _overview),
    (Luck, _luck),
    (CausalityCheck, _causality),
    (Market, _market),
    (Result, _result),
)
