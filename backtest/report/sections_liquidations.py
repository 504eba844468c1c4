"""Liquidations: every forced close with when, why and what it cost, and what a top-up in time would have saved.

section = liquidation_section(result)
"""

from collections.abc import Sequence

from backtest.report.blocks import Block, Cell, Fold, Section, Table, Text
from backtest.report.protocol import Reportable
from backtest.report.sections_parts import PRINTED_ROWS, cash, heads
from backtest.report.summary import Liquidation, forced_words, liquidations, sought_words
from backtest.report.words import instant, known, money, price, quantity

MOST_EVENTS = 500  # forced closes on the page: of more those that cost most


def liquidation_section(result: Reportable) -> Section | None:
    """Every forced close: when, why and what it cost; and what a top-up in time would have saved."""
    events = liquidations(result)
    if not events:
        return None
    shown = dearest(events)
    blocks: list[Block] = [Text(_what_they_cost(result, events)), _what_happened(events, shown)]
    if len(shown) < len(events):
        blocks.append(Text(f"Shown: the {len(shown):,} dearest of {len(events):,}. All of them: result.liquidations, or --json.", "muted"))
    if any(event.action == "deleveraging" for event in events):
        blocks.append(Text("† Deleveraging: the venue took a winning position to close a loser's. No top-up prevents it.", "muted"))
    if any(known(event.top_up) for event in shown):
        note = Text(TOP_UP_NOTE + sought_words(events), "muted")
        blocks.append(Fold("What a top-up in time would have saved", (_what_would_have_helped(shown), note)))
    return Section("liquidations", "Liquidations", "Liquidations", blocks, alarm=True)


def dearest(events: Sequence[Liquidation]) -> Sequence[Liquidation]:
    """All of few forced closes; of very many those that cost most, in the order of time."""
    if len(events) <= MOST_EVENTS:
        return events
    kept = sorted(range(len(events)), key=lambda place: -events[place].cost)[:MOST_EVENTS]
    return [events[place] for place in sorted(kept)]


TOP_UP_NOTE = (
    "A leg goes when its account is below the maintenance margin at the worst mark of a bar. Missing then: what had to be in the account by that bar's opening. "
    "Top-up: what kept it until the trade's end by settlement, stop, days to expiry, time or signal, or to the end of the data; the last of it was needed by the "
    "third date. Saved: what the trade would have made, kept so by money from outside without interest, less what it made. Each is told alone: had a "
    "trade been kept, those that took its place would not have been made, so they don't add up."
)


def _what_they_cost(result: Reportable, events: Sequence[Liquidation]) -> str:
    fees, absorbed, legging = (sum(getattr(event, name) for event in events) for name in ("fee", "absorbed", "legging"))
    made = "Legging made" if legging > 0 else "Legging cost"
    return (
        f"Closed by the venue: {forced_words(events)}. Fees cost {money(fees)} {result.quote}, of which the venue absorbed {money(absorbed)} with what accounts lacked. "
        f"{made} {money(abs(legging))}: the other leg stood alone until its own fill."
    )


def _what_happened(events: Sequence[Liquidation], shown: Sequence[Liquidation]) -> Table:
    ruled = any(event.rule for event in events)
    money_names = ("account", "maintenance", "price", "fee", "absorbed", "legging", "total")
    head = heads("when", "trade", "contract", "leg", "quantity", "entry", "worst mark", *money_names)
    head[2:4] = [Cell("contract", "t")] if ruled else [Cell("contract", "t"), Cell("leg", "t")]
    rows = []
    for event in shown:
        forced = "†" if event.action == "deleveraging" else ""
        what = [event.contract + forced] if ruled else [event.contract, event.slot + forced]
        rows.append(
            [
                *_when_and_whose(event, ruled),
                *(Cell(text, "t") for text in what),
                Cell(quantity(event.quantity).replace("-", "−")),
                *(Cell(price(value)) for value in (event.entry, event.mark)),
                *map(cash, (event.account, event.maintenance)),
                Cell(price(event.price)),
                *map(cash, (-event.fee, event.absorbed, event.legging, -event.cost)),
            ]
        )
    sums = [(-event.fee, event.absorbed, event.legging, -event.cost) for event in events]
    foot = [[Cell("all"), *[Cell("")] * 9, *(cash(sum(values)) for values in zip(*sums, strict=True))]]
    return Table(whose(head, ruled), rows, foot, look=table_look(ruled), printed=PRINTED_ROWS)


def whose(head: list[Cell], ruled: bool) -> list[Cell]:
    """Column heads, of several rules with whose a row is before all others."""
    return [Cell("rule", "t"), Cell(head[0].text), *head[1:]] if ruled else head


def table_look(ruled: bool) -> str:
    """The look of a wide table; of several rules their names may wrap."""
    return "wide ruled" if ruled else "wide"


def _when_and_whose(event: Liquidation, ruled: bool) -> list[Cell]:
    """The first cells of a liquidation's row; instants may wrap where a rule takes room beside them."""
    cells = [Cell(instant(event.time), "w" if ruled else ""), Cell(f"{event.trade:,}")]
    return [Cell(event.rule, "t w"), *cells] if ruled else cells


def _what_would_have_helped(events: Sequence[Liquidation]) -> Table:
    ruled = any(event.rule for event in events)
    head = heads("when", "trade", "contract", "missing then", "by", "top-up", "the last of it by", "kept until", "ended by", "saved")
    head[2], head[8] = Cell("contract", "t"), Cell("ended by", "t")
    wrapped = "w" if ruled else ""
    rows = [
        [
            *_when_and_whose(event, ruled),
            Cell(event.contract, "t"),
            Cell(money(event.shortfall)),
            Cell(instant(event.needed_by), wrapped),
            Cell(money(event.top_up)),
            Cell(instant(event.top_up_by), wrapped),
            Cell(instant(event.kept_until), wrapped),
            Cell(event.kept_reason, "t"),
            cash(event.saved),
        ]
        for event in events
        if known(event.top_up)
    ]
    return Table(whose(head, ruled), rows, look=table_look(ruled), printed=PRINTED_ROWS)
