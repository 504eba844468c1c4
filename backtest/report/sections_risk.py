"""What was at risk, and how sure the result is: exposure and margin, regimes of the market, sensitivity to costs, the odds of luck.

section = exposure_section(result)
"""

from backtest.report import figures_risk
from backtest.report.blocks import Block, Cards, Cell, Points, Section, Table, Text
from backtest.report.protocol import Reportable
from backtest.report.sections_parts import bar, cash, count, decimal, drawing, fraction, heads, minus
from backtest.report.summary import break_even
from backtest.report.words import known, money, percent


def exposure_section(result: Reportable) -> Section | None:
    """Exposure, margin use and distance to liquidation over time; nothing where they are not known."""
    table = result.exposure
    if table.empty or not table["gross"].notna().any():
        return None
    title, short = "Exposure, margin and distance to liquidation", "Exposure"
    if not table["gross"].fillna(0.0).any():
        return Section("exposure", title, short, (Text("No position was held: nothing was at risk."),))
    parts = figures_risk.panels(result)
    caption = "At bar closes, cash values over equity."
    caption += (
        " Distance: how far the price of the leg that is nearest to its liquidation may move against it." if "distance" in parts else ""
    )
    if len(parts) == 1:
        shared = result.by_rule is not None and result.rule_text.get("margin") == "cross"
        caption += " Margin is not told: the cash of all rules backs each leg." if shared else " No position had a margin."
    drawn = drawing(
        figures_risk.exposure_figure(result), "exposure", figures_risk.describe_exposure(result), caption, result.dataset.simulated
    )
    return Section("exposure", title, short, (drawn,))


def regimes_section(result: Reportable) -> Section | None:
    """What was made in each regime of the market, or why that can't be told."""
    table, title = result.by_regime, "By regime of the market"
    if table is None:
        why = result.regimes_left_out
        return Section("regimes", title, "Regimes", (Text(f"Left out: {why.rstrip('.')}."),)) if why else None
    longest = max((abs(float(value)) for value in table["pnl"]), default=0.0)
    rows = [
        [
            Cell(str(name)),
            bar(float(row["time"]), 1.0),
            fraction(row["held"], 1),
            bar(float(row["pnl"]), longest, money(row["pnl"])),
            fraction(row["annual_return"]),
            count(row["trades"]),
            count(row["won"]),
            cash(row["trade_pnl"]),
        ]
        for name, row in table.to_dict("index").items()
    ]
    sums = table[["time", "pnl", "trades", "won", "trade_pnl"]].sum()
    foot = [
        [
            Cell("all"),
            fraction(sums["time"], 1),
            Cell(""),
            cash(sums["pnl"]),
            Cell(""),
            count(sums["trades"]),
            count(sums["won"]),
            cash(sums["trade_pnl"]),
        ]
    ]
    head = heads("regime", "of the time", "held", f"PnL, {result.quote}", "a year", "trades entered", "won", "their PnL")
    said = "A bar's PnL belongs to the regime that was known when the bar began; a trade to that of its entry. A year: PnL over the capital per year spent in it."
    return Section("regimes", title, "Regimes", (Table(head, rows, foot), Text(said, "muted")))


def sensitivity_section(result: Reportable) -> Section | None:
    """The same run at multiples of its costs; nothing where it has none, as all multiples of none are alike."""
    table = result.sensitivity
    if len(table) < 2:
        return None
    if not table["trades"].any():
        return Section(
            "sensitivity", "Sensitivity to costs", "Sensitivity", (Text("No trade was made at any costs: they change nothing."),)
        )
    if table["final_equity"].nunique() == 1:
        return None
    head = heads("times the costs", f"final equity, {result.quote}", "return", "Sharpe", "max drawdown", "trades", "liquidations")
    rows = [
        [
            Cell(f"{row['factor']:g}×{' (this run)' if row['factor'] == 1.0 else ''}"),
            cash(row["final_equity"]),
            fraction(row["total_return"]),
            decimal(row["sharpe"]),
            fraction(row["max_drawdown"]),
            count(row["trades"]),
            count(row["liquidations"]),
        ]
        for row in table.to_dict("records")
    ]
    drawn = drawing(
        figures_risk.sensitivity_figure(result), "sensitivity", figures_risk.describe_sensitivity(result),
        "The same rule again with its fees, spreads, impact, delivery, liquidation and transfer fees so many times as large."
        + (" What a liquidation costs beyond the leg's account is the venue's." if table["liquidations"].any() else ""), result.dataset.simulated,
    )  # fmt: skip
    return Section("sensitivity", "Sensitivity to costs", "Sensitivity", (Text(_carries(result)), drawn, Table(head, rows)))


def _carries(result: Reportable) -> str:
    """How much dearer trading may become before the run loses, or makes no more than T-bills."""
    factors, returns = result.sensitivity["factor"].astype(float).tolist(), result.sensitivity["total_return"].astype(float).tolist()
    told = []
    levels = [(0.0, "loses money")]
    bills = figures_risk.bills_return(result)
    if bills is not None:
        levels.append((bills, f"makes less than {figures_risk.BILLS} ({minus(percent(bills))})"))
    for level, what in levels:
        short = [f"{factor:g}" for factor, value in zip(factors, returns, strict=True) if value <= level]
        turn = break_even(factors, returns, level)
        if not short:
            told.append(f"never {what} up to {max(factors):g} times its costs")
        elif len(short) == len(factors):
            told.append(f"{what} at any costs")
        elif turn is not None and max(returns[-len(short) :]) <= level:  # dearer trading makes it worse all along
            told.append(f"{what} from {turn:.1f} times its costs")
        else:
            told.append(f"{what} at {' and '.join(filter(None, (', '.join(short[:-1]), short[-1])))} times its costs")
    return f"The run {' and '.join(told)}."


def luck_section(result: Reportable) -> Section | None:
    """The odds that the run is the best of many by luck, where it was chosen from many."""
    luck = result.luck
    if luck is None:
        return None
    from backtest.report.sweep_page import odds_cards, sentences, verdict  # the page of sweeps is made with this module

    told = [line.replace(" -", " −") for line in sentences(str(luck))]
    blocks: list[Block] = [Text(verdict(luck)), Cards(odds_cards(luck), "small")]
    if known(luck.sharpe):
        drawn = figures_risk.luck_figure(luck, result.dataset.simulated)
        blocks.append(
            drawing(
                drawn,
                "luck",
                figures_risk.describe_luck(result, luck),
                "The interval is that of the chosen one as if it had been the only one tried.",
                result.dataset.simulated,
            )
        )
    blocks += [Text(told[0]), *([Points(told[1:])] if len(told) > 1 else [])]
    return Section("luck", f"How much of the best of {luck.trials:,} is luck", "Luck", blocks)
