"""The trades: by the reason they ended, what they made, and each of them in a table that the reader sorts.

section = trades_section(result)
"""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.report import figures_trades
from backtest.report.blocks import Block, Cell, Heading, Section, Table, Text
from backtest.report.protocol import Reportable
from backtest.report.sections_liquidations import table_look
from backtest.report.sections_parts import MOST_ROWS, PRINTED_ROWS, cash, count, decimal, drawing, finite, fraction, heads
from backtest.report.summary import by_reason, final_equity, hold_days, interest_while_flat, no_trade, several_rules
from backtest.report.words import UNKNOWN, instant, known, price, quantity

PRICES = {"entry_long": "long in", "entry_short": "short in", "exit_long": "long out", "exit_short": "short out"}


def trades_section(result: Reportable) -> Section:
    """Trades by the reason they ended, then each of them."""
    if not len(result.trades):
        return Section(
            "trades",
            "Trades",
            "Trades",
            (Text(no_trade(result) or "No trade was made: the rule never entered, or nothing could be filled."),),
        )
    blocks: list[Block] = [_reasons_table(result)]
    if len(result.trades) > 1:
        caption = "A circle is a gain, a cross a loss; of more than 80 trades the height tells how many."
        alt = figures_trades.describe_outcomes(result)
        blocks.append(drawing(figures_trades.outcomes_figure(result), "outcomes", alt, caption, result.dataset.simulated))
    blocks += [Heading("Each trade"), trade_table(result), Text(_note(result), "muted")]
    return Section("trades", "Trades", "Trades", blocks)


def _reasons_table(result: Reportable) -> Table:
    reasons = [
        [Cell(row.reason), count(row.trades), count(row.wins), cash(row.pnl), cash(row.average), decimal(row.days, 1)]
        for row in by_reason(result)
    ]
    earned, flat, gain = float(result.trades["pnl"].sum()), interest_while_flat(result), final_equity(result) - result.capital
    won = int((result.trades["pnl"] > 0).sum())
    foot = [[Cell("all trades"), Cell(f"{len(result.trades):,}"), Cell(f"{won:,}"), cash(earned), Cell(""), Cell("")]]
    for label, value in (
        ("interest outside of trades" if result.by_rule is not None else "interest while flat", flat),
        ("not in a trade", gain - earned - flat),
        ("final equity less capital", gain),
    ):
        if label != "not in a trade" or abs(value) > 1e-9 * result.capital:
            foot.append([Cell(label), Cell(""), Cell(""), cash(value), Cell(""), Cell("")])
    return Table(heads("ended by", "trades", "won", f"PnL, {result.quote}", "average", "days held"), reasons, foot)


def _note(result: Reportable) -> str:
    total = len(result.trades)
    sides = set(result.trades["side"])
    side = f"All have the side {'+1' if sides == {1} else '−1'}. " if len(sides) == 1 else ""
    more = (
        f"Shown: the {MOST_ROWS:,} largest gains and losses of {total:,} trades. All of them: result.trades, or --json. "
        if total > MOST_ROWS
        else ""
    )
    return (
        f"{more}{side}Worst and best: the PnL at the bar closes while the trade lived. Prices are reference prices, before half-spread and impact; † settled. "
        "Premium is (short − long)/long, not annualized. An open trade is marked at the last close."
    )


def shown(trades: pd.DataFrame) -> npt.NDArray[np.intp]:
    """Positions of the trades on the page: all, or of very many those with the largest gains and losses, in their order."""
    if len(trades) <= MOST_ROWS:
        return np.arange(len(trades))
    size = -np.abs(trades["pnl"].to_numpy(float))
    return np.sort(np.argsort(size, kind="stable")[:MOST_ROWS])


def trade_table(result: Reportable) -> Table:
    """Each trade; without the columns of a leg that there isn't."""
    trades, ruled = result.trades, several_rules(result.trades)
    kept = shown(trades)
    days, part = hold_days(result).to_numpy()[kept], trades.iloc[kept]
    settled = settlements(result)
    excursion = ["worst", "best"]
    premia = [name for name in ("entry_premium", "exit_premium") if part[name].notna().any()]
    prices = [name for name in PRICES if part[name].notna().any() or name.removeprefix("exit_") in settled.values()]
    sided = part["side"].nunique() > 1
    names = [
        "#",
        *(["rule"] if ruled else []),
        *(["side"] if sided else []),
        "contract",
        "entered",
        "exited",
        "days",
        "ended by",
        "PnL",
        *excursion,
        "quantity",
    ]
    names += [f"premium {name.partition('_')[0].replace('entry', 'in').replace('exit', 'out')}" for name in premia]
    names += [PRICES[name] for name in prices]
    head = [Cell(name, "t" if name in ("rule", "contract", "ended by") else "") for name in names]
    columns = [*(["side"] if sided else []), *excursion, "quantity", *premia, *prices]
    rows = [
        _trade_row(int(position), trade | {"settled": settled.get(int(position), "")}, float(held), columns)
        for position, trade, held in zip(kept, part.to_dict("records"), days, strict=True)
    ]
    return Table(head, rows, look=f"{table_look(ruled)} dense", printed=PRINTED_ROWS, row_heads=False, sortable=len(rows) > 1)


def settlements(result: Reportable) -> dict[int, str]:
    """Which leg of which trade was settled."""
    fills = result.fills[result.fills["action"].astype(str) == "settlement"]
    return dict(zip(fills["trade"].astype(int), fills["slot"].astype(str), strict=True))


def _trade_row(position: int, trade: Mapping[Hashable, Any], days: float, columns: list[str]) -> list[Cell]:
    return [
        count(position + 1),
        *([Cell(str(trade["rule"]), "t w")] if "rule" in trade else []),
        *([Cell("+1" if trade["side"] > 0 else "−1", sort=float(trade["side"]))] if "side" in columns else []),
        Cell(str(trade["contract"]) if known(trade["contract"]) else UNKNOWN, "t"),
        Cell(instant(trade["entered_at"]), "w"),
        Cell(instant(trade["exited_at"]) if known(trade["exited_at"]) else "open", "w"),
        decimal(days, 1),
        Cell(str(trade["reason"]), "t w"),
        cash(trade["pnl"]),
        *(_trade_cell(trade, name) for name in columns if name != "side"),
    ]


def _trade_cell(trade: Mapping[Hashable, Any], name: str) -> Cell:
    if name in ("worst", "best"):
        return cash(trade[name])
    if name == "quantity":
        return Cell(quantity(trade[name]), sort=finite(trade[name]))
    if name.endswith("premium"):
        return fraction(trade[name])
    if name == f"exit_{trade['settled']}":
        return Cell(price(trade["settlement_price"]) + "†", sort=finite(trade["settlement_price"]))
    return Cell(price(trade[name]), sort=finite(trade[name]))
