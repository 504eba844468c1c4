"""Where the money came from: the premium with its trades, PnL by source, the term structure at entries, funding and costs.

section = attribution_section(result)
"""

from backtest.report import figures, figures_detail, figures_trades
from backtest.report.blocks import Block, Cell, Fold, Section, Table, Text, signed
from backtest.report.protocol import Reportable
from backtest.report.sections_parts import cash, drawing, fraction, heads, minus
from backtest.report.summary import CostRow, attribution_by_year, attribution_table, costs_by_leg, funding_by_month, traded_notional
from backtest.report.words import UNKNOWN, money, number, percent, source_label


def premium_section(result: Reportable) -> Section | None:
    """The premium with entries and exits; nothing for several rules, which have several, and for one leg, which has none."""
    if result.premium is None:
        return None
    caption = "Shaded: a position was held. A mark stands at the time of the fill and the premium known then. What decides is the rule's signal, which may count costs."
    if len(result.trades) > figures.MARKED_TRADES:
        caption = "With so many trades, entries and exits stand below the premium, one row for each reason, one tick for each moment."
    seen = result.premium.dropna()
    if seen.empty and one_legged(result):
        return None
    if figures.premium_limits(figures.floats(seen)) is not None:
        ends = f"the lowest is {percent(float(seen.min()))}, the highest {percent(float(seen.max()))}".replace("-", "−")
        caption += f" The axis leaves out the most extreme values: {ends}."
    alt = figures.describe_premium(result)
    if len(seen) < 2:
        said = (
            f"The premium is known at one bar only: {minus(percent(float(seen.iloc[0])))}."
            if len(seen)
            else "No premium is known in this period."
        )
        return Section("premium", "Premium, entries and exits", "Premium", (Text(said),))
    drawn = drawing(figures.premium_figure(result), "premium", alt, caption, result.dataset.simulated)
    return Section("premium", "Premium, entries and exits", "Premium", (drawn,))


def one_legged(result: Reportable) -> bool:
    """Whether the rule has one leg only, and so no premium."""
    return not {"long", "short"} <= set(result.rule_text)


# ---------------------------------------------------------------- sources


def attribution_section(result: Reportable) -> Section:
    """Where the money came from: as areas, as a waterfall, as a table that adds up, and by year."""
    simulated, rows = result.dataset.simulated, attribution_table(result).rows
    if not any(row.cash for row in rows):
        return Section(
            "attribution", "Where it came from", "Sources", (Text("Nothing was earned and nothing was lost."), _sources_table(result))
        )
    caption = "Gains are stacked upward, losses downward; the line is their sum. The two price legs, which nearly cancel, are drawn as one."
    areas = drawing(figures.attribution_figure(result), "attribution", figures.describe_attribution(result), caption, simulated)
    fall = drawing(
        figures_detail.waterfall_figure(result),
        "waterfall",
        figures_detail.describe_waterfall(result),
        "Each step begins where the last one ended.",
        simulated,
    )
    unused = [source_label(row.source) for row in rows if not row.cash]
    nothing = [Text(f"Nothing from: {', '.join(unused)}.", "muted")] if unused else []
    return Section("attribution", "Where it came from", "Sources", [areas, fall, _sources_table(result), *nothing, *_years(result)])


def _sources_table(result: Reportable) -> Table:
    table = attribution_table(result)
    rows = [
        [Cell(source_label(row.source)), cash(row.cash), fraction(row.of_capital), fraction(row.share, 1)] for row in table.rows if row.cash
    ]
    whole = 1.0 if any(row.share is not None for row in table.rows) else None
    foot = [[Cell("sum of the sources"), cash(table.total), fraction(table.total / result.capital), fraction(whole, 1)]]
    foot += [[Cell("final equity less capital"), cash(table.gain), fraction(table.gain / result.capital), Cell("")]]
    foot += [[_residual_label(table.residual, result.capital), Cell(minus(f"{table.residual:.1e}")), Cell(""), Cell("")]]
    return Table(heads("source", f"cash, {result.quote}", "% of capital", "share of the sum"), rows, foot)


def _residual_label(residual: float, capital: float) -> Cell:
    return Cell("residual (rounding of the computer)" if abs(residual) <= 1e-9 * capital else "NOT EXPLAINED by the sources")


def _years(result: Reportable) -> list[Block]:
    """The years as stacks, and folded as a table; of one year there is nothing more to say."""
    years = attribution_by_year(result)
    if len(years.columns) < 2:
        return []
    used = years[(years != 0).any(axis=1)]
    rows = [
        [Cell(source_label(str(source))), *(cash(float(value)) for value in values), cash(float(values.sum()))]
        for source, values in used.iterrows()
    ]
    sums = years.sum()
    foot = [[Cell("sum of the sources"), *(cash(float(value)) for value in sums), cash(float(sums.sum()))]]
    head = heads("source", *map(str, years.columns), "all")
    caption = "A bar counts in the year in which it began; the first and last year may be partial."
    drawn = drawing(figures_detail.years_figure(result), "years", figures_detail.describe_years(result), caption, result.dataset.simulated)
    return [drawn, Fold(f"By year as a table, {result.quote}", (Table(head, rows, foot),))]


# ---------------------------------------------------------------- term structure at entries


def term_structure_section(result: Reportable) -> Section | None:
    """The term structure at entries; nothing without a dated leg."""
    if result.entry_curves is None:
        return None
    shown = figures_trades.curves_shown(result)
    if not shown:
        return Section("term_structure", "Term structure at entries", "Curves", (Text("No trade was made: there is no entry to show."),))
    caption = "All dated contracts that traded when the entry was decided."
    total = int(result.entry_curves["trade"].nunique())
    if total > len(shown):
        caption = f"{len(shown)} of {total:,} entries, evenly spread. {caption}"
    alt = figures_trades.describe_entry_curves(result)
    drawn = drawing(figures_trades.entry_curves_figure(result), "term-structure", alt, caption, result.dataset.simulated)
    return Section("term_structure", "Term structure at entries", "Curves", (drawn,))


# ---------------------------------------------------------------- funding and costs


def funding_section(result: Reportable) -> Section | None:
    """Funding month by month; nothing where none was received or paid."""
    months = funding_by_month(result)
    if months.empty:
        return None
    brought, took = int((months > 0).sum()), int((months < 0).sum())
    got = f"Months that brought funding: {brought:,}; that took it: {took:,}; in all {money(float(months.sum()))} {result.quote}."
    caption = f"{minus(got)} A bar counts in the month in which it began."
    drawn = drawing(
        figures_detail.funding_figure(result), "funding", figures_detail.describe_funding(result), caption, result.dataset.simulated
    )
    return Section("funding", "Funding by month", "Funding", (drawn,))


def costs_section(result: Reportable) -> Section:
    """What trading cost, by kind and leg, and against what was traded."""
    rows = costs_by_leg(result)
    if not any(row.long or row.short or row.elsewhere for row in rows):
        return Section("costs", "Costs by leg", "Costs", (Text("Nothing was paid for trading."),))
    traded = sum(traded_notional(result).values())
    caption = f"{minus(_bps(-sum(row.total for row in rows), traded))} basis points of all that was traded."
    if any(row.elsewhere for row in rows):
        caption += " Elsewhere: booked on no fill, such as what the venue absorbs at a liquidation, or a transfer's fee."
    drawn = drawing(figures_detail.costs_figure(result), "costs", figures_detail.describe_costs(result), caption, result.dataset.simulated)
    return Section("costs", "Costs by leg", "Costs", (drawn, _costs_table(result, rows)))


def _costs_table(result: Reportable, rows: list[CostRow]) -> Table:
    """A row a kind of cost that there was; without the column of a leg that there isn't, or of what neither leg paid where there is nothing in it."""
    used = [row for row in rows if row.long or row.short or row.elsewhere]
    notional = traded_notional(result)
    columns = {
        "long leg": ([row.long for row in used], notional["long"]),
        "short leg": ([row.short for row in used], notional["short"]),
        "elsewhere": ([row.elsewhere for row in used], None),
        "total": ([row.total for row in used], sum(notional.values())),
    }
    columns = {name: (values, traded) for name, (values, traded) in columns.items() if name == "total" or traded or any(values)}
    body = [[Cell(source_label(row.kind)), *(cash(values[place]) for values, _ in columns.values())] for place, row in enumerate(used)]
    foot = [[Cell("all costs"), *(cash(sum(values)) for values, _ in columns.values())]]
    foot += [[Cell("traded notional"), *(Cell(money(traded) if traded is not None else "") for _, traded in columns.values())]]
    foot += [[Cell("costs in bps of it"), *(signed(_bps(sum(values), traded)) for values, traded in columns.values())]]
    return Table(heads(f"{result.quote}, paid is negative", *columns), body, foot)


def _bps(cost: float, traded: float | None) -> str:
    if traded is None:
        return ""
    return number(1e4 * cost / traded, 2) if traded else UNKNOWN
