"""The head of the report: what the run made, beside what else the capital could have made, and where it came from; of a book, rule by rule.

section = headline_section(result)
"""

from typing import Any

from backtest.metrics import RANKED
from backtest.report.blocks import Bars, Block, Cards, Cell, Columns, Heading, Section, Table, Text, signed
from backtest.report.figures_detail import cash_by_group
from backtest.report.protocol import Reportable
from backtest.report.sections_parts import heads, minus
from backtest.report.summary import RESERVE, RULE_COLUMNS, final_equity, headline, reserve
from backtest.report.words import known, metric, metric_label, metric_rows, metric_style, money, number, percent

# The figures that lead, and those that stand below them in small print rather than in cards of their own.
LEADING = ("total_return", "annual_return", RANKED, "max_drawdown", "trades", "time_in_market")
BELOW = ("win_rate", "avg_hold_days", "annual_volatility")
COMPARED = {"annual_return": "T-bills", "max_drawdown": "hold spot"}  # figure → the baseline that tells whether it is much


def headline_section(result: Reportable) -> Section:
    """The run in a sentence, six figures that lead with what stands beside them, the sources of PnL as bars, and all other figures."""
    rows = {spec.key: (spec.label, minus(written), spec.meaning) for spec, written in metric_rows(result.metrics)}
    leading = [(*rows[key], _below(result, key)) for key in LEADING if key in rows]
    others = [row for key, row in rows.items() if key not in LEADING and key not in BELOW and known(result.metrics[key])]
    first: list[Block] = [Cards(leading, "lead"), Cards(others, "small")]
    blocks: list[Block] = [Text(headline(result), "lead"), Columns([first, [_sources(result)]])]
    return Section("summary", "Headline figures", "Headline", blocks)


def _sources(result: Reportable) -> Block:
    groups = cash_by_group(result)
    longest = max(map(abs, groups.values()), default=1.0)
    items = [(name, minus(number(cash, 0 if abs(cash) >= 10 else 2, sign=True)), cash / longest) for name, cash in groups.items()]
    return Bars(f"Where it came from, {result.quote}" if items else "Nothing was earned or lost.", items)


def _below(result: Reportable, key: str) -> str:
    """What stands below a leading figure: that of the baselines, or what belongs to it."""
    figures, baseline = result.metrics, COMPARED.get(key, "")
    if baseline in result.baselines.index and known(value := float(result.baselines[key][baseline])):
        return f"{baseline} {minus(metric(metric_style(key), value))}"
    told = {
        "total_return": f"{number(result.capital, 0)} → {minus(number(final_equity(result), 0))} {result.quote}",
        RANKED: f"volatility {percent(figures.get('annual_volatility'))}",
        "trades": f"{percent(figures.get('win_rate'), 0)} won" if known(figures.get("win_rate")) else "",
        "time_in_market": f"{number(figures.get('avg_hold_days'), 1)} days a trade" if known(figures.get("avg_hold_days")) else "",
    }
    return told.get(key, "")


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
