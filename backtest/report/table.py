"""The table on the terminal: a run in plain text, at most 80 columns wide.

Figures stand in two columns, sources of PnL add up to final equity less capital, trades are grouped by the reason they ended. Characters are
those that every terminal and code page has.

    print(render_table(result))
"""

import textwrap
from collections.abc import Hashable, Mapping
from typing import Any

from backtest.report.protocol import Reportable
from backtest.report.summary import (
    RESERVE,
    Liquidation,
    attribution_table,
    beside,
    by_reason,
    costs_by_leg,
    final_equity,
    forced_words,
    liquidations,
    period,
    reserve,
    several_rules,
    sought_words,
)
from backtest.report.words import day, known, metric, metric_rows, metric_style, middle, money, number, percent, plain, price, source_label

WIDTH = 80
ALL_TRADES = 8
ENDS = 3
LABEL = 12  # characters of a rule's name in the narrowest of its columns
TOLERANCE = 1e-9
# of `by_rule`: column, heading, width
RULES = (
    ("capital", "capital", 13), ("final_equity", "final", 13), ("pnl", "PnL", 12), ("max_drawdown", "drawdown", 10), ("trades", "trades", 8),
)  # fmt: skip
CASH = ("capital", "final_equity", "pnl")
LIQUIDATION_NOTE = (
    "Cost: the fee, less what the venue absorbed, and the other leg's legging. Top-up: what would have kept the trade to its end. "
    "Saved: what it would have made so, less what it made; each alone, as a trade that is kept leaves no room for the next."
)


def render_table(result: Reportable) -> str:
    """The whole table, without a final newline; no line is longer than 80 characters."""
    blocks = [
        _head(result),
        _metrics(result),
        _beside(result),
        _rules(result),
        _sources(result),
        _costs(result),
        _liquidations(result),
        _reasons(result),
        _trades(result),
        _notes(result),
    ]
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks if block)


def _head(result: Reportable) -> list[str]:
    dataset = result.dataset
    mark = "SIMULATED DATA" if dataset.simulated else ""
    rule = dict(result.rule_text)
    legs = {name: rule.pop(name) for name in ("long", "short") if name in rule}
    values = {
        "dataset": f"{dataset.name}  {dataset.hash[:12]}{'  (SIMULATED)' if dataset.simulated else ''}",
        "period": period(result),
        "capital": f"{money(result.capital)} {result.quote}",
        "final": f"{money(final_equity(result))} {result.quote}",
        **legs,
        "params": _pairs(result.params),
        "rule": _pairs({name: text for name, text in rule.items() if text != "none" and name not in result.at_default}),
    }
    title = result.strategy[: WIDTH - len(mark) - 2]
    lines = ["=" * WIDTH, f"{title}{mark:>{WIDTH - len(title)}}", "=" * WIDTH]
    for name, value in values.items():
        lines += _wrapped(f"{name:<10}", value) if value else []
    return lines


def _pairs(values: Mapping[str, object]) -> str:
    """Names and values; a pair is broken over two lines only where its value has spaces."""
    return "  ".join(f"{name}={plain(value)}" for name, value in values.items())


def _wrapped(lead: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{lead} " if lead.strip() else lead, subsequent_indent=" " * 11) or [lead]


def _rule(title: str, *columns: tuple[str, int]) -> list[str]:
    head = f"{title:<{WIDTH - sum(width for _, width in columns)}}" + "".join(f"{name:>{width}}" for name, width in columns)
    return [head, "-" * WIDTH]


def _metrics(result: Reportable) -> list[str]:
    written = [f"{spec.label[:23]:<24}{value:>13}" for spec, value in metric_rows(result.metrics)]
    half = (len(written) + 1) // 2
    right = written[half:] + [""] * (half - len(written[half:]))
    return [*_rule("Figures"), *(f"{left}      {other}" for left, other in zip(written[:half], right, strict=True))]


def _beside(result: Reportable) -> list[str]:
    """What the same capital would have made otherwise, and what is left out."""
    rows, left_out = beside(result), result.baselines_left_out
    if not rows and not left_out:
        return []
    heads = ((f"final {result.quote}", 14), ("return", 10), ("a year", 9), ("volat.", 8), ("Sharpe", 7), ("drawdown", 9))
    lines = _rule("Beside the strategy", *heads) if rows else _rule("Beside the strategy")
    for row in rows:
        figures = [money(row.final_equity, width=13)]
        figures += [percent(value) for value in (row.total_return, row.annual_return, row.annual_volatility)]
        figures += [metric("ratio", row.sharpe), percent(row.max_drawdown)]
        cells = [fitting(text, width) for text, (_, width) in zip(figures, heads, strict=True)]
        lines.append(f"{row.name[:23]:<23}" + "".join(cells))
    for name, why in left_out.items():
        lines += textwrap.wrap(f"{name} is left out: {why}.", WIDTH, initial_indent="* ", subsequent_indent="  ")
    return lines


def fitting(text: str, width: int) -> str:
    """A number at the right of its column, after a space at least; one that is too long for it in three digits."""
    if len(text) < width:
        return f"{text:>{width}}"
    share = text.endswith("%")
    value = float(text.rstrip("%").replace(",", ""))
    return f"{value:.0e}{'%' if share else ''}"[: width - 1].rjust(width)


def _rules(result: Reportable) -> list[str]:
    """What each of several rules made of its part of the capital."""
    table = result.by_rule
    if table is None:
        return []
    labels = rule_labels(result)
    columns = tuple(entry for entry in RULES if entry[0] in table.columns)
    lines = _rule("Rule by rule", *((title, width) for _, title, width in columns))
    room = WIDTH - sum(width for _, _, width in columns)
    rows: list[tuple[str, Mapping[Any, Any]]] = [(labels[str(label)], row) for label, row in table.to_dict("index").items()]
    spare = reserve(result)
    if spare is not None:
        rows.append((RESERVE, spare))
    for label, row in rows:
        cells = [
            f"{money(row[name], width=width - 1):>{width}}"
            if name in CASH
            else fitting(metric(metric_style(name), row[name]), width)
            if name in row
            else " " * width
            for name, _, width in columns
        ]
        lines.append(f"{middle(label, room - 1):<{room}}" + "".join(cells))
    return lines


def rule_labels(result: Reportable) -> dict[str, str]:
    """What each of several rules is called here: its label, with its number before all of them where two would look alike once they are cut."""
    labels = [str(label) for label in result.by_rule.index] if result.by_rule is not None else []
    if len({middle(label, LABEL) for label in labels}) == len(labels):
        return {label: label for label in labels}
    return {label: f"{number} {label}" for number, label in enumerate(labels, start=1)}


def _sources(result: Reportable) -> list[str]:
    table = attribution_table(result)
    cash = {entry.source: entry.cash for entry in table.rows}
    lines = _rule("Where it came from", (result.quote, 20), ("% of capital", 15), ("share", 12))

    def row(label: str, value: float, share: float | None) -> str:
        return f"{label[:32]:<33}{money(value, width=19):>20}{percent(value / result.capital):>15}{percent(share, 1):>12}"

    lines += [row(source_label(entry.source), entry.cash, entry.share) for entry in table.rows if entry.cash]
    share = 1.0 if any(entry.share is not None for entry in table.rows) else None
    lines += ["-" * WIDTH, row("final equity less capital", table.gain, share)]
    if abs(table.residual) > TOLERANCE * result.capital:
        lines.append(row("NOT EXPLAINED by the sources", table.residual, None))
    if cash.get("price_long") and cash.get("price_short"):
        both = cash["price_long"] + cash["price_short"]
        lines.append(row("of which price of both legs", both, both / table.gain if share else None))
    unused = [source_label(source) for source, value in cash.items() if not value]
    return lines + (_wrapped("", f"Nothing from: {', '.join(unused)}.") if unused else [])


def _costs(result: Reportable) -> list[str]:
    rows = [row for row in costs_by_leg(result) if row.total or row.long or row.short]
    if not rows:
        return []
    columns = {"long": [row.long for row in rows], "short": [row.short for row in rows], "total": [row.total for row in rows]}
    if any(row.elsewhere for row in rows):
        columns = {
            "long": columns["long"],
            "short": columns["short"],
            "elsewhere": [row.elsewhere for row in rows],
            "total": columns["total"],
        }
    lines = _rule("Costs by leg", *((name, 16) for name in columns))
    for position, row in enumerate(rows):
        lines.append(
            f"{source_label(row.kind):<{WIDTH - 16 * len(columns)}}"
            + "".join(f"{money(c[position], width=15):>16}" for c in columns.values())
        )
    return lines


def _liquidations(result: Reportable) -> list[str]:
    """The worst few by what they cost, in time order, and the sums of all."""
    events = liquidations(result)
    if not events:
        return []
    labels, ruled = rule_labels(result), any(event.rule for event in events)
    width = 11 if ruled else 12
    lines = _rule(forced_words(events).upper(), *((name, width) for name in ("at price", f"cost {result.quote}", "top-up", "saved")))

    def row(label: str, *values: str) -> str:
        return f"{label:<{WIDTH - 4 * width}}" + "".join(f"{value:>{width}}" for value in values)

    def named(event: Liquidation) -> str:
        if not ruled:
            return f"{event.time:%Y-%m-%d %H:%M} {event.contract[:15]}"
        return f"{day(event.time)} {middle(labels.get(event.rule, event.rule), LABEL):<{LABEL}} {event.contract[:12]}"

    worst = sorted(events, key=lambda event: -event.cost)[: 2 * ENDS]
    for event in sorted(worst, key=lambda event: event.time):
        cash = (-event.cost, event.top_up, event.saved)
        lines.append(row(named(event), price(event.price), *(money(value, width=width - 1) for value in cash)))
    if len(events) > len(worst):
        lines.append(f"and {len(events) - len(worst):,} that cost less")
    if len(events) > 1:
        lines.append(row("all", "", money(-sum(event.cost for event in events), width=width - 1)))
    return [*lines, *textwrap.wrap(LIQUIDATION_NOTE + sought_words(events), WIDTH, break_on_hyphens=False)]


def _reasons(result: Reportable) -> list[str]:
    rows = by_reason(result)
    if not rows:
        return [*_rule("Trades by reason"), "No trade was made."]
    lines = _rule("Trades by reason", ("trades", 10), ("won", 8), (f"PnL {result.quote}", 18), ("average", 15), ("days", 9))
    for row in rows:
        pnl, average = money(row.pnl, width=17), money(row.average, width=14)
        lines.append(f"{row.reason[:19]:<20}{row.trades:>10,}{row.wins:>8,}{pnl:>18}{average:>15}{number(row.days, 1):>9}")
    return lines


def _trades(result: Reportable) -> list[str]:
    trades = result.trades.to_dict("records")
    if not trades:
        return []
    pnl = f"{f'PnL {result.quote}':>12} ended by"
    if several_rules(result.trades):
        head = f"{'Entered':<11}{'exited':<11}{'rule':<15}{'contract':<15}{pnl}"
    else:
        head = f"{'Entered':<12}{'exited':<12}{'side and contract':<21}{'premium':>8}{pnl}"
    labels = rule_labels(result)
    few = len(trades) <= ALL_TRADES
    told = [_trade(trade, labels) for trade in (trades if few else [*trades[:ENDS], *trades[-ENDS:]])]
    if not few:
        told.insert(ENDS, f"... {len(trades) - 2 * ENDS:,} more ...")
    return [head, "-" * WIDTH, *told]


def _trade(trade: Mapping[Hashable, Any], labels: Mapping[str, str]) -> str:
    contract = str(trade["contract"]) if known(trade["contract"]) else ""
    exited = day(trade["exited_at"]) if known(trade["exited_at"]) else "open"
    ended = f"{money(trade['pnl'], width=11):>12} {str(trade['reason'])[:14]}"
    if "rule" in trade:
        rule = middle(labels.get(str(trade["rule"]), str(trade["rule"])), 14)
        return f"{day(trade['entered_at']):<11}{exited:<11}{rule:<15}{contract[:14]:<15}{ended}"
    premium = percent(trade["entry_premium"])
    return f"{day(trade['entered_at']):<12}{exited:<12}{trade['side']:<+3}{contract[:17]:<18}{premium:>8}{ended}"


def _notes(result: Reportable) -> list[str]:
    if not result.notes:
        return []
    lines = _rule("Notes")
    for note in result.notes:
        lines += textwrap.wrap(note, WIDTH, initial_indent="* ", subsequent_indent="  ")
    return lines
