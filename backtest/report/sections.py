"""The sections of the report, one function each from a result to a `Section`, or None when there is nothing to tell.

`SECTIONS` is their order on the page. Every number is computed in `summary`, every picture drawn in `figures`; here they only get words.

    page = [section for make in SECTIONS if (section := make(result)) is not None]
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from backtest.report import figures, style
from backtest.report.blocks import Block, Cards, Cell, Facts, Figure, Heading, Points, Section, Table, Text, signed
from backtest.report.protocol import Reportable
from backtest.report.summary import (
    RESERVE,
    RULE_COLUMNS,
    Beside,
    Liquidation,
    attribution_by_year,
    attribution_table,
    beside,
    beside_curves,
    by_reason,
    costs_by_leg,
    final_equity,
    forced_words,
    headline,
    hold_days,
    interest_while_flat,
    liquidations,
    monthly_returns,
    reserve,
    several_rules,
    sought_words,
    traded_notional,
)
from backtest.report.words import (
    UNKNOWN,
    instant,
    known,
    metric,
    metric_label,
    metric_rows,
    metric_style,
    money,
    number,
    percent,
    plain,
    price,
    quantity,
    source_label,
)

if TYPE_CHECKING:
    from matplotlib import figure

PRINTED_TRADES = 200
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
PACKAGES = ("carry-backtest", "numpy", "pandas", "numba", "pyarrow", "matplotlib")


def heads(*names: str, text: int = 1) -> list[Cell]:
    """Column heads, the first `text` of them over text."""
    return [Cell(name, "t" if position < text else "") for position, name in enumerate(names)]


def cash(value: float | None) -> Cell:
    """A cell of money."""
    return signed(money(value))


def fraction(value: float | None, decimals: int = 2) -> Cell:
    """A cell of percent."""
    return signed(percent(value, decimals))


def drawing(drawn: "figure.Figure", name: str, alt: str, caption: str, simulated: bool) -> Figure:
    """A figure for the page; on made-up data the caption says so too."""
    from markupsafe import Markup

    return Figure(Markup(style.to_svg(drawn, name=name, alt=alt)), f"SIMULATED DATA. {caption}" if simulated else caption)


def headline_section(result: Reportable) -> Section:
    """The run in a sentence and a dozen figures."""
    cards = [(f"final equity, {result.quote}", number(final_equity(result), 0), "equity at the last close")]
    cards += [(spec.label, written.replace("-", "−"), spec.meaning) for spec, written in metric_rows(result.metrics)]
    rows = sorted((row for row in attribution_table(result).rows if row.cash), key=lambda row: -row.cash)
    earned = ", ".join(f"{source_label(row.source)} {money(row.cash)}" for row in rows if row.cash > 0) or "nothing"
    lost = ", ".join(f"{source_label(row.source)} {money(row.cash)}" for row in reversed(rows) if row.cash < 0) or "nothing"
    blocks: list[Block] = [
        Text(headline(result)),
        Cards(cards),
        Text(f"Earned from: {earned}. Lost to: {lost}.".replace("-", "−"), "muted"),
    ]
    return Section("summary", "Headline figures", "Headline", blocks)


def rules_section(result: Reportable) -> Section | None:
    """What each of several rules made of its part of the capital."""
    table = result.by_rule
    if table is None:
        return None
    names = [name for name in RULE_COLUMNS if name in table.columns]
    head = heads("rule", *map(metric_label, names))
    rows = [[Cell(str(label)), *(signed(_of_rule(name, row[name])) for name in names)] for label, row in table.to_dict("index").items()]
    spare = reserve(result)
    if spare is not None:
        rows.append([Cell(RESERVE), *(signed(_of_rule(name, spare[name])) if name in spare else Cell("") for name in names)])
    said = f"Each rule has an account of its own with a share of the capital; spare cash and margin are one. Cash in {result.quote}."
    return Section("rules", "Rule by rule", "Rules", (Text(said, "muted"), Table(head, rows), *_correlation(result)))


def _correlation(result: Reportable) -> list[Block]:
    table = result.correlation
    if table is None or len(table) < 2:
        return []
    rows = [[Cell(str(label)), *(signed(number(float(value))) for value in row)] for label, row in table.iterrows()]
    return [Heading("Correlation of daily PnL"), Table(heads("", *map(str, table.columns)), rows)]


def _of_rule(name: str, value: Any) -> str:
    return money(value) if name in ("capital", "final_equity", "pnl") else metric(metric_style(name), value)


def liquidation_section(result: Reportable) -> Section | None:
    """Every forced close: when, why and what it cost; and what a top-up in time would have saved."""
    events = liquidations(result)
    if not events:
        return None
    blocks: list[Block] = [Text(_what_they_cost(result, events)), _what_happened(events)]
    if any(event.action == "deleveraging" for event in events):
        blocks.append(Text("† Deleveraging: the venue took a winning position to close a loser's. No top-up prevents it.", "muted"))
    if any(known(event.top_up) for event in events):
        note = Text(TOP_UP_NOTE + sought_words(events), "muted")
        blocks += [Heading("What a top-up in time would have saved"), note, _what_would_have_helped(events)]
    return Section("liquidations", "Liquidations", "Liquidations", blocks, alarm=True)


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


def _what_happened(events: Sequence[Liquidation]) -> Table:
    ruled = any(event.rule for event in events)
    money_names = ("account", "maintenance", "price", "fee", "absorbed", "legging", "total")
    head = heads("when", "trade", "contract", "leg", "quantity", "entry", "worst mark", *money_names)
    head[2:4] = [Cell("contract", "t")] if ruled else [Cell("contract", "t"), Cell("leg", "t")]
    rows = []
    for event in events:
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
    return Table(_whose(head, ruled), rows, foot, look=_look(ruled), printed=PRINTED_TRADES)


def _whose(head: list[Cell], ruled: bool) -> list[Cell]:
    """Column heads, of several rules with whose a row is before all others."""
    return [Cell("rule", "t"), Cell(head[0].text), *head[1:]] if ruled else head


def _look(ruled: bool) -> str:
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
    return Table(_whose(head, ruled), rows, look=_look(ruled), printed=PRINTED_TRADES)


def equity_section(result: Reportable) -> Section:
    """Equity and drawdown, then the return of each month."""
    caption = "Equity at bar closes, open positions marked at the last close. The drawdown is measured from the running peak."
    alt = figures.describe_equity(result)
    drawn = drawing(figures.equity_figure(result), "equity", alt, caption, result.dataset.simulated)
    return Section("equity", "Equity and drawdown", "Equity", (drawn,))


def beside_section(result: Reportable) -> Section | None:
    """What the same capital would have made otherwise, as curves and as a table."""
    rows, left_out = beside(result), result.baselines_left_out
    if not rows and not left_out:
        return None
    blocks: list[Block] = [Text(BESIDE_NOTE, "muted")]
    if len(beside_curves(result)) > 1:  # a run without a midnight has no curves
        blocks += _beside_curves(result) if rows else []
    if rows:
        head = heads("", f"final equity, {result.quote}", "return", "a year", "volatility", "Sharpe", "max drawdown", "what it is")
        head[-1] = Cell("what it is", "t")
        blocks.append(Table(head, [_beside_row(row) for row in rows], look="told"))
    blocks += [Points([f"{name} is left out: {why}." for name, why in left_out.items()])] if left_out else []
    return Section("baselines", "Beside the strategy", "Baselines", blocks)


BESIDE_NOTE = (
    "What the same capital would have made over the same time without the strategy, and what the run's own costs made of it. Zero and double cost are this "
    "run with its own signals: where costs move a margin call, the trades after it differ too. Sharpe is not in excess of the risk-free rate."
)


def _beside_curves(result: Reportable) -> list[Block]:
    drawn = figures.beside_figure(result)
    caption = "Equity of the run and of each baseline, at 00:00 UTC."
    caption += " What dwarfs all others is left out of the lower panel." if len(drawn.axes) > 1 else ""
    return [drawing(drawn, "beside", figures.describe_beside(result), caption, result.dataset.simulated)]


def _beside_row(row: Beside) -> list[Cell]:
    rates = (row.total_return, row.annual_return, row.annual_volatility)
    return [
        Cell(row.name),
        cash(row.final_equity),
        *(signed(metric("percent", value)) for value in rates),
        signed(metric("ratio", row.sharpe)),
        signed(metric("percent", row.max_drawdown)),
        Cell(row.what, "t w"),
    ]


def monthly_section(result: Reportable) -> Section:
    """A heat map of monthly returns as a table."""
    table = monthly_returns(result)
    strongest = max((abs(value) for value in table.drop(columns="year").to_numpy().ravel() if known(float(value))), default=0.0)
    rows = []
    for year, values in table.iterrows():
        cells = [_heat(float(values[month]), strongest) for month in range(1, 13)]
        rows.append([Cell(str(year)), *cells, signed(number(100 * float(values["year"])))])
    said = "Percent of the equity at the month's beginning, in UTC. A bar counts in the month in which it began; the first and last month may be partial."
    return Section("months", "Monthly returns", "Months", (Text(said, "muted"), Table(heads("", *MONTHS, "year"), rows, look="heat")))


def _heat(value: float, strongest: float) -> Cell:
    if not known(value):
        return Cell("")
    strength = round(60 * abs(value) / strongest) if strongest else 0
    return Cell(number(100 * value).replace("-", "−"), "up" if value >= 0 else "down", strength)


def premium_section(result: Reportable) -> Section | None:
    """The premium with entries and exits; nothing for several rules, which have several."""
    if result.premium is None:
        return None
    caption = "Shaded: a position was held. A mark stands at the time of the fill and the premium known then."
    if len(result.trades) > figures.MARKED_TRADES:
        caption = "With so many trades, entries and exits stand below the premium, one row for each reason, one tick for each moment."
    seen = result.premium.dropna()
    if figures.premium_limits(figures.floats(seen)) is not None:
        ends = f"the lowest is {percent(float(seen.min()))}, the highest {percent(float(seen.max()))}".replace("-", "−")
        caption += f" The axis leaves out the most extreme values: {ends}."
    alt = figures.describe_premium(result)
    drawn = drawing(figures.premium_figure(result), "premium", alt, caption, result.dataset.simulated)
    return Section("premium", "Premium, entries and exits", "Premium", (drawn,))


def attribution_section(result: Reportable) -> Section:
    """Where the money came from: as areas, as a table that adds up, and by year."""
    table = attribution_table(result)
    rows = [[Cell(source_label(row.source)), cash(row.cash), fraction(row.of_capital), fraction(row.share, 1)] for row in table.rows]
    whole = 1.0 if any(row.share is not None for row in table.rows) else None
    foot = [[Cell("sum of the sources"), cash(table.total), fraction(table.total / result.capital), fraction(whole, 1)]]
    foot += [[Cell("final equity less capital"), cash(table.gain), fraction(table.gain / result.capital), Cell("")]]
    foot += [[_residual_label(table.residual, result.capital), Cell(f"{table.residual:.1e}".replace("-", "−")), Cell(""), Cell("")]]
    caption = "Gains are stacked upward, losses downward; the line is their sum. The two price legs, which nearly cancel, are drawn as one."
    drawn = drawing(
        figures.attribution_figure(result), "attribution", figures.describe_attribution(result), caption, result.dataset.simulated
    )
    head = heads("source", f"cash, {result.quote}", "% of capital", "share of the sum")
    blocks: list[Block] = [drawn, Table(head, rows, foot), *_years(result)]
    return Section("attribution", "Where it came from", "Sources", blocks)


def _residual_label(residual: float, capital: float) -> Cell:
    return Cell("residual (rounding of the computer)" if abs(residual) <= 1e-9 * capital else "NOT EXPLAINED by the sources")


def _years(result: Reportable) -> list[Block]:
    years = attribution_by_year(result)
    if years.empty:
        return []
    used = years[(years != 0).any(axis=1)]
    rows = [
        [Cell(source_label(str(source))), *(cash(float(value)) for value in values), cash(float(values.sum()))]
        for source, values in used.iterrows()
    ]
    sums = years.sum()
    foot = [[Cell("sum of the sources"), *(cash(float(value)) for value in sums), cash(float(sums.sum()))]]
    head = heads("source", *map(str, years.columns), "all")
    return [Heading(f"By year, {result.quote}"), Table(head, rows, foot), Text("A bar counts in the year in which it began.", "muted")]


def trades_section(result: Reportable) -> Section:
    """Trades by the reason they ended, then each of them."""
    if not len(result.trades):
        return Section("trades", "Trades", "Trades", (Text("No trade was made: the rule never entered, or nothing could be filled."),))
    reasons = [
        [Cell(row.reason), Cell(f"{row.trades:,}"), Cell(f"{row.wins:,}"), cash(row.pnl), cash(row.average), Cell(number(row.days, 1))]
        for row in by_reason(result)
    ]
    earned, flat, gain = float(result.trades["pnl"].sum()), interest_while_flat(result), final_equity(result) - result.capital
    won = int((result.trades["pnl"] > 0).sum())
    foot = [[Cell("all trades"), Cell(f"{len(result.trades):,}"), Cell(f"{won:,}"), cash(earned), Cell(""), Cell("")]]
    for label, value in (("interest while flat", flat), ("not in a trade", gain - earned - flat), ("final equity less capital", gain)):
        if label != "not in a trade" or abs(value) > 1e-9 * result.capital:
            foot.append([Cell(label), Cell(""), Cell(""), cash(value), Cell(""), Cell("")])
    summary = Table(heads("ended by", "trades", "won", f"PnL, {result.quote}", "average", "days held"), reasons, foot)
    return Section("trades", "Trades", "Trades", (summary, Heading("Each trade"), _trade_table(result), Text(TRADE_NOTE, "muted")))


TRADE_NOTE = (
    "Prices are reference prices, before half-spread and impact. † settled: the price is the settlement price. "
    "Premium is (short − long)/long, not annualized. A trade that is still open is marked at the last close, without the costs of leaving."
)


def _trade_table(result: Reportable) -> Table:
    names = ("#", "side", "contract", "entered", "exited", "days", "ended by", "PnL", "quantity", "premium in", "premium out")
    head = heads(*names, "long in", "short in", "long out", "short out", text=0)
    head[2], head[6] = Cell("contract", "t"), Cell("ended by", "t")
    if several_rules(result.trades):
        head.insert(1, Cell("rule", "t"))
    days = hold_days(result).to_numpy()
    rows = [_trade_row(position, trade, float(days[position])) for position, trade in enumerate(result.trades.to_dict("records"))]
    look = _look(several_rules(result.trades))
    return Table(head, rows, look=look, printed=PRINTED_TRADES, row_heads=False)


def _trade_row(position: int, trade: Mapping[Hashable, Any], days: float) -> list[Cell]:
    return [
        Cell(f"{position + 1:,}"),
        *([Cell(str(trade["rule"]), "t w")] if "rule" in trade else []),
        Cell("+1" if trade["side"] > 0 else "−1"),
        Cell(str(trade["contract"]) if known(trade["contract"]) else UNKNOWN, "t"),
        Cell(instant(trade["entered_at"]), "w"),
        Cell(instant(trade["exited_at"]) if known(trade["exited_at"]) else "open", "w"),
        Cell(number(days, 1)),
        Cell(str(trade["reason"]), "t w"),
        cash(trade["pnl"]),
        Cell(quantity(trade["quantity"])),
        fraction(trade["entry_premium"]),
        fraction(trade["exit_premium"]),
        Cell(price(trade["entry_long"])),
        Cell(price(trade["entry_short"])),
        Cell(_exit_price(trade, "long")),
        Cell(_exit_price(trade, "short")),
    ]


def _exit_price(trade: Mapping[Hashable, Any], slot: str) -> str:
    """The slot's exit price, or the settlement price where that is how it ended."""
    settled = known(trade["settlement_price"]) and known(trade[f"entry_{slot}"]) and not known(trade[f"exit_{slot}"])
    return price(trade["settlement_price"]) + "†" if settled else price(trade[f"exit_{slot}"])


def costs_section(result: Reportable) -> Section:
    """What trading cost, by kind and leg, and against what was traded."""
    rows = costs_by_leg(result)
    sums = [sum(values) for values in zip(*((row.long, row.short, row.elsewhere, row.total) for row in rows), strict=True)]
    body = [[Cell(source_label(row.kind)), cash(row.long), cash(row.short), cash(row.elsewhere), cash(row.total)] for row in rows]
    notional = traded_notional(result)
    traded = [notional["long"], notional["short"], None, sum(notional.values())]
    bps = [_bps(cost, volume) for cost, volume in zip(sums, traded, strict=True)]
    foot = [[Cell("all costs"), *map(cash, sums)]]
    foot += [[Cell("traded notional"), *(Cell(money(value) if value is not None else "") for value in traded)]]
    foot += [[Cell("costs in bps of it"), *map(signed, bps)]]
    said = f"In {result.quote}; what was paid is negative. Elsewhere: booked on no fill, such as what the venue absorbs at a liquidation, or a transfer's fee."
    return Section(
        "costs", "Costs by leg", "Costs", (Text(said, "muted"), Table(heads("", "long leg", "short leg", "elsewhere", "total"), body, foot))
    )


def _bps(cost: float, traded: float | None) -> str:
    if traded is None:
        return ""
    return number(1e4 * cost / traded, 2) if traded else UNKNOWN


def provenance_section(result: Reportable) -> Section:
    """The data, the parameters and the programs that the figures came from."""
    dataset = result.dataset
    kind = "SIMULATED: made by a generator, not by a market" if dataset.simulated else "real, as imported"
    facts = [("dataset", dataset.name), ("content hash", dataset.hash), ("data", kind)]
    facts += [
        ("period", f"{instant(result.start)} to {instant(result.end)} UTC, {result.bars:,} bars"),
        ("capital", f"{money(result.capital)} {result.quote}"),
    ]
    chosen = [(name, text) for name, text in result.rule_text.items() if name not in result.at_default]
    usual = ", ".join(f"{name} {text}" for name, text in result.rule_text.items() if name in result.at_default)
    params = [(name, plain(value)) for name, value in result.params.items()] or [("none", "")]
    blocks: list[Block] = [Facts(facts), Heading("What was traded, and how"), Facts(chosen)]
    blocks += [Text(f"At their defaults: {usual}.", "muted")] if usual else []
    blocks += [Heading("Parameters"), Facts(params)]
    if result.notes:
        blocks += [Heading("Notes on data and assumptions"), Points(list(result.notes))]
    blocks += [Heading("Programs"), Text(", ".join(programs()), "muted")]
    return Section("data", "Data and provenance", "Data", blocks)


def programs() -> list[str]:
    """The versions of what computed and drew the page."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


SECTIONS: tuple[Callable[[Reportable], Section | None], ...] = (
    headline_section,
    rules_section,
    liquidation_section,
    equity_section,
    beside_section,
    monthly_section,
    premium_section,
    attribution_section,
    trades_section,
    costs_section,
    provenance_section,
)
