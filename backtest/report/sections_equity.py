"""Equity and drawdown, what else the capital could have made, and the return of every month.

section = equity_section(result)
"""

from backtest.report import figures
from backtest.report.blocks import Block, Cell, Choice, Points, Section, Table, Text, signed
from backtest.report.protocol import Reportable
from backtest.report.sections_parts import cash, decimal, drawing, heads
from backtest.report.summary import Beside, beside, beside_curves, monthly_returns
from backtest.report.words import MONTHS, known, metric, number

MOVED = 1.1  # highest equity over lowest from which a logarithmic axis shows something else than a plain one
BESIDE_NOTE = (
    "The same capital over the same time without the strategy, and the run at other costs: with its own signals, so that where costs move a margin call the "
    "trades after it differ too. Sharpe is not in excess of the risk-free rate."
)


def equity_section(result: Reportable) -> Section:
    """Equity and drawdown, on a plain axis or a logarithmic one."""
    caption, alt, simulated = (
        "Equity at bar closes, open positions marked at the last close.",
        figures.describe_equity(result),
        result.dataset.simulated,
    )
    plain = drawing(figures.equity_figure(result), "equity", alt, caption, simulated)
    if not grows(result):
        return Section("equity", "Equity and drawdown", "Equity", (plain,))
    log = drawing(
        figures.equity_figure(result, log=True),
        "equity-log",
        f"{alt} On a logarithmic axis.",
        f"{caption} Equal factors are equally high.",
        simulated,
    )
    return Section("equity", "Equity and drawdown", "Equity", (Choice("equity-axis", "Axis of equity", (("linear", plain), ("log", log))),))


def grows(result: Reportable) -> bool:
    """Whether equity stayed above nothing and moved so much that a logarithmic axis tells something."""
    lowest, highest = min(float(result.equity.min()), result.capital), max(float(result.equity.max()), result.capital)
    return lowest > 0.0 and highest >= MOVED * lowest


def beside_section(result: Reportable) -> Section | None:
    """What the same capital would have made otherwise, as curves and as a table."""
    rows, left_out = beside(result), result.baselines_left_out
    if not rows and not left_out:
        return None
    blocks: list[Block] = []
    if rows and len(beside_curves(result)) > 1:  # a run without a midnight has no curves
        blocks += _beside_curves(result)
    if rows:
        head = heads("", f"final equity, {result.quote}", "return", "a year", "volatility", "Sharpe", "max drawdown", "what it is")
        head[-1] = Cell("what it is", "t")
        blocks += [Table(head, [_beside_row(row) for row in rows], look="told"), Text(BESIDE_NOTE, "muted")]
    blocks += [Points([f"{name} is left out: {why}." for name, why in left_out.items()])] if left_out else []
    return Section("baselines", "Beside the strategy", "Baselines", blocks)


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
        rows.append([Cell(str(year)), *cells, decimal(100 * float(values["year"]))])
    said = "% of the equity at the month's beginning, UTC. A bar counts in the month in which it began; the first and last month may be partial."
    return Section("months", "Monthly returns", "Months", (Table(heads("", *MONTHS, "year"), rows, look="heat"), Text(said, "muted")))


def _heat(value: float, strongest: float) -> Cell:
    if not known(value):
        return Cell("")
    strength = round(60 * abs(value) / strongest) if strongest else 0
    return Cell(number(100 * value).replace("-", "−"), "up" if value >= 0 else "down", strength)
