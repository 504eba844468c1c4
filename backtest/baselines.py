"""Baselines: what the same capital would have made over the same time by what needs no skill, and what the run's own costs made of it.

Holding the spot, T-bills, and the carry that is always on say what a strategy must beat; the same run at no costs and at twice them says how much of its
gain hangs on its costs. All but the T-bills are runs of the same engine with the run's own execution; nothing is made up where the data lack something.

    result.baselines[["total_return", "max_drawdown"]]
    result.baselines_left_out   # and why
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from backtest import kernels as k
from backtest import metrics
from backtest.book_result import BookResult
from backtest.errors import CarryError, DataError
from backtest.execution import Execution, LegPolicy, MakerLegs
from backtest.instruments import Kind
from backtest.market import Floats, Market, nanoseconds
from backtest.regimes import base_of, spot_of
from backtest.result import Prepared, Result
from backtest.rule import Leg, Rule
from backtest.simulate import finished, finished_book, run, simulate

if TYPE_CHECKING:
    from backtest.tapes import Records

STATISTICS = ("total_return", "annual_return", "annual_volatility", "sharpe", "max_drawdown")
COLUMNS = ("final_equity", *STATISTICS, "what")
HOLD_SPOT, BILLS, ALWAYS_ON, ZERO_COST, DOUBLE_COST = NAMES = (
    "hold spot",
    "T-bills",
    "always-on funding carry",
    "zero cost",
    "double cost",
)
COSTS = ("fee", "taker_fee", "unit_fee", "delivery_fee", "delivery_unit_fee", "liquidation_fee")  # of TERMS, but for spread and impact
FACTORS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)  # of the run's costs, in `sensitivity_of`
SENSITIVITY = ("factor", "final_equity", "total_return", "sharpe", "max_drawdown", "trades", "liquidations")
COST_WORDS = "trading, delivery, liquidation and transfer fees, spreads and impact"
RISK_FREE = "risk_free"
NO_TRADE = "NO TRADE: "  # how a run's note on that begins
NEARLY_ALL = 0.95  # of what was to be bought; what prices move from a decision to its fill is no shortfall


@dataclass(frozen=True)
class Baseline:
    """One baseline: its equity at every bar's close, and what it is."""

    equity: pd.Series
    what: str


@dataclass(frozen=True, eq=False)
class Baselines:
    """All baselines of a run: the table, their equity at midnights UTC (a column each), and why others were left out."""

    table: pd.DataFrame
    curves: pd.DataFrame
    left_out: dict[str, str]


def baselines_of(result: Result) -> Baselines:
    """The baselines of a run, in their order. Of one rule of a book: as if its account had been alone."""
    execution = result._prepared.execution
    return _usual([result._prepared], execution, result.start, result.capital, lambda factor: at_costs(result, factor))


def baselines_of_book(result: BookResult) -> Baselines:
    """The baselines of several rules on one capital: where they trade several assets, spot and carry of each for equal parts of the capital."""
    parts = [one._prepared for one in result.results.values()]
    return _usual(parts, result._execution, result.start, result.capital, lambda factor: at_costs(result, factor))


def _usual(
    parts: Sequence[Prepared], execution: Execution, start: pd.Timestamp, capital: float, again: Callable[[float], Baseline]
) -> Baselines:
    """All baselines; again: the same run at a multiple of its costs."""
    market, rules = parts[0].market, [one.rule for one in parts]
    makers: dict[str, Callable[[], Baseline]] = {
        HOLD_SPOT: lambda: hold_spot(market, rules, execution, capital),
        BILLS: lambda: bills(market, capital),
        ALWAYS_ON: lambda: always_on(market, rules, execution, capital),
        ZERO_COST: lambda: again(0.0),
        DOUBLE_COST: lambda: again(2.0),
    }
    return gathered(makers, start, capital)


def gathered(makers: Mapping[str, Callable[[], Baseline]], start: pd.Timestamp, capital: float) -> Baselines:
    """The table and curves of baselines that are made one by one; one that ends in a `CarryError` is left out with that reason."""
    rows, curves, left_out = dict[str, dict[str, Any]](), dict[str, pd.Series](), dict[str, str]()
    for name, make in makers.items():
        try:
            made = make()
        except CarryError as error:
            left_out[name] = str(error)
            continue
        figures = metrics.return_statistics(made.equity, start, capital)
        rows[name] = {"final_equity": float(made.equity.iloc[-1]), **{key: figures[key] for key in STATISTICS}, "what": made.what}
        curves[name] = metrics.daily_equity(made.equity, start, capital)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS)).rename_axis("baseline")
    return Baselines(table, pd.DataFrame(curves), left_out)


# ---------------------------------------------------------------- other ways to use the capital


def hold_spot(market: Market, rules: Sequence[Rule], execution: Execution, capital: float) -> Baseline:
    """The spot bought at the first open that can be and kept, for all the capital. DataError without a spot."""
    spots = {spot_leg(market, rule): for_legs(execution, rule, Kind.SPOT) for rule in one_an_asset(market, rules)}
    runs = _together([Rule(long=spot, size=1.0) for spot in spots], list(spots.values()), market, capital)
    names, parts = " and ".join(map(str, spots)), "all the capital" if len(spots) == 1 else "equal parts of the capital"
    short = told_short(runs)
    return Baseline(_sum(runs), f"{names} {'to be ' if short else ''}bought for {parts} and kept, with the run's execution{short}")


def always_on(market: Market, rules: Sequence[Rule], execution: Execution, capital: float) -> Baseline:
    """Spot against the perpetual from the first bar to the last, all other fields of the rule at their defaults. DataError without one of them."""
    chosen = one_an_asset(market, rules)
    pairs = [Rule(long=spot_leg(market, rule), short=perpetual_leg(market, rule)) for rule in chosen]
    runs = _together(pairs, [for_legs(execution, rule, Kind.SPOT, Kind.PERPETUAL) for rule in chosen], market, capital)
    told = ", ".join(f"long {pair.long} and short {pair.short}" for pair in pairs) + (" in equal parts" if len(pairs) > 1 else "")
    settings = f"size {pairs[0].size:g}, leverage {pairs[0].leverage:g}, with the run's execution"
    return Baseline(_sum(runs), f"{told} all the time, {settings}{told_short(runs)}")


def _together(rules: Sequence[Rule], executions: Sequence[Execution], market: Market, capital: float) -> list[Result]:
    """Runs of rules that each have an equal part of the capital. DataError where one of them can't trade."""
    part = capital / len(rules)
    runs = [run(rule, market, capital=part, execution=own) for rule, own in zip(rules, executions, strict=True)]
    for one in runs:
        if one.fills.empty:
            why = next((note.removeprefix(NO_TRADE) for note in one.notes if note.startswith(NO_TRADE)), "no order was filled")
            raise DataError(f"nothing of {one._prepared.rule.long} could be bought: {why.removesuffix('.')}")
    return runs


def _sum(runs: Sequence[Result]) -> pd.Series:
    """Equity of several runs together."""
    return sum((one.equity for one in runs[1:]), start=runs[0].equity)


def told_short(runs: Sequence[Result]) -> str:
    """Of which legs only a part could be bought, and how much of what was wanted; nothing where all was."""
    parts = {str(one._prepared.rule.long): bought(one) for one in runs}
    told = [
        f"{part:.2g}%" if len(parts) == 1 else f"{part:.2g}% of {leg}"
        for leg, share in parts.items()
        if (part := 100 * share) < 100 * NEARLY_ALL
    ]
    return f"; only {' and '.join(told)} of that was bought" if told else ""


def bought(result: Result) -> float:
    """What the first trade's entry bought on its long leg, as a fraction of size times capital."""
    fills = result.fills
    entry = fills[(fills["trade"] == 0) & (fills["slot"] == "long") & (fills["action"] == "entry")]
    return float((entry["quantity"] * entry["reference"]).sum()) / (result._prepared.rule.size * result.capital)


def one_an_asset(market: Market, rules: Sequence[Rule]) -> list[Rule]:
    """The first rule of each base asset."""
    found: dict[str, Rule] = {}
    for rule in rules:
        found.setdefault(base_of(market, rule), rule)
    return list(found.values())


def bills(market: Market, capital: float) -> Baseline:
    """The capital at the dataset's risk_free as known when each bar begins, compounded at every midnight UTC. DataError without the series."""
    if RISK_FREE not in market.series_names:
        raise DataError(f"dataset {market.info.name} has no series {RISK_FREE}; import one")
    rates = market.series(RISK_FREE, before=True)
    known = np.flatnonzero(~np.isnan(rates))
    if len(known) == 0:
        raise DataError(f"the series {RISK_FREE} of dataset {market.info.name} is not known in this period; import a longer one")
    earned = np.concatenate([[0.0], np.cumsum(np.nan_to_num(rates) * market.years)])
    told = f"the capital earns the dataset's {RISK_FREE}, {earned[-1] / market.years.sum():.2%} a year on average, compounded daily (idle cash of a run: at its fills)"
    if known[0] > 0:
        told += f"; nothing before {market.clock[known[0] - 1]:%Y-%m-%d}, as it was not known yet"
    return Baseline(pd.Series(capital * daily_compounded(market, earned), index=market.clock, name="equity"), told)


def daily_compounded(market: Market, earned: Floats) -> Floats:
    """Growth at every bar's end from a cumulated rate, beginning with 0 before the first bar; interest joins the principal at midnight UTC. [bar]"""
    midnights = pd.date_range(pd.Timestamp(market.start, tz="UTC").floor("D") + pd.Timedelta(days=1), market.clock[-1], freq="D")
    instants = nanoseconds(midnights)
    at_midnight = np.concatenate([[0.0], earned[np.searchsorted(market.stamps, instants, side="right")]])
    growth = np.concatenate([[1.0], np.cumprod(1.0 + np.diff(at_midnight))])
    day = np.searchsorted(instants, market.stamps, side="right")
    out: Floats = growth[day] * (1.0 + earned[1:] - at_midnight[day])
    return out


def spot_leg(market: Market, rule: Rule) -> Leg:
    """The run's own spot, else the market's only one of the same base; DataError if there is none or several."""
    name = spot_of(market, rule)
    return _only(market, rule, Kind.SPOT) if name is None else market.leg(name)


def perpetual_leg(market: Market, rule: Rule) -> Leg:
    """The run's own perpetual, else the market's only one of the same base; DataError if there is none or several."""
    own = next((leg for leg in (rule.short, rule.long) if leg is not None and leg.kind is Kind.PERPETUAL), None)
    return _only(market, rule, Kind.PERPETUAL) if own is None else own


def _only(market: Market, rule: Rule, kind: Kind) -> Leg:
    base = base_of(market, rule)
    found = [item.id for item in market.instruments.values() if item.kind is kind and item.base == base]
    if len(found) != 1:
        has = (
            f"several: {', '.join(found)}; load only one of them with instruments=…"
            if found
            else "none; import one, or load it with instruments=…"
        )
        raise DataError(f"it takes one {kind} of {base}, and the market has {has}")
    return market.leg(found[0])


def for_legs(execution: Execution, rule: Rule, *kinds: Kind) -> Execution:
    """A run's execution for a trade in one or two other kinds of leg: each slot has the settings that the run has for its kind, else for its own slot."""
    slots = [slot_of(rule, kind, slot) for slot, kind in enumerate(kinds)]
    slots += [slots[0]] * (2 - len(slots))
    makers = execution.makers[slots[0]], execution.makers[slots[1]]
    changes: dict[str, Any] = {
        name: (value[slots[0]], value[slots[1]])
        for name in ("half_spread", "impact", "latency")
        if isinstance(value := getattr(execution, name), tuple)
    }
    if len(kinds) == 1:  # no other leg to wait for, and no other place to send money to
        changes |= {
            "wallets": None,
            "transfer_delay": None,
            "transfer_fee": 0.0,
            "top_up": None,
            "policy": LegPolicy.WAIT,
            "patience": None,
        }
    elif execution.wallets is not None:
        changes["wallets"] = execution.wallets[slots[0]], execution.wallets[1 - slots[0]]
    named = {(True, True): MakerLegs.BOTH, (True, False): MakerLegs.LONG, (False, True): MakerLegs.SHORT, (False, False): MakerLegs.NONE}
    return replace(execution, **changes, maker=named[makers])


def slot_of(rule: Rule, kind: Kind, otherwise: int) -> int:
    """The slot in which a rule has a leg of a kind (of any derivative, where it asks for one), else another."""
    held = [leg.kind if leg is not None else None for leg in rule.legs]
    alike = (kind,) if kind is Kind.SPOT else (kind, Kind.FUTURE)
    return next((held.index(one) for one in alike if one in held), otherwise)


# ---------------------------------------------------------------- the same run at other costs


def at_costs(result: Result | BookResult, factor: float) -> Baseline:
    """The same run, signals and decisions' rules as they were, at none of its costs (0) or at a multiple. ParameterError where that ruins all numbers."""
    execution = result._execution if isinstance(result, BookResult) else result._prepared.execution
    return Baseline(again(result, factor).equity, told_costs(execution, factor))


def again(result: Result | BookResult, factor: float) -> Result | BookResult:
    """The same run at a multiple of its costs. ParameterError where that ruins all numbers."""
    changed = [with_costs(one._prepared, factor) for one in result._runs.values()]
    if isinstance(result, BookResult):
        return finished_book(result._book, changed, result._execution, result.capital)
    return finished(result._strategy, changed[0], result.capital, simulate(changed[0], result.capital))


def sensitivity_of(result: Result | BookResult) -> pd.DataFrame:
    """The same run at each of `FACTORS` times its costs, a row each; factor 1 is the run itself. A factor that ends in a `CarryError` is left out.

    factor, final_equity, total_return, sharpe, max_drawdown, trades (an open one included), liquidations. What is multiplied is told by `with_costs`.
    """
    rows = []
    for factor in FACTORS:
        try:
            one = result if factor == 1.0 else again(result, factor)
        except CarryError:
            continue
        logs = [part._log for part in one._runs.values()]
        figures = metrics.return_statistics(one.equity, one.start, one.capital)
        rows.append(
            {
                "factor": factor,
                "final_equity": float(one.equity.iloc[-1]),
                **{name: figures[name] for name in ("total_return", "sharpe", "max_drawdown")},
                "trades": sum(len(log.trades) for log in logs),
                "liquidations": sum(int((log.fills["action"] == k.LIQUIDATED).sum()) for log in logs),
            }
        )
    return pd.DataFrame(rows, columns=list(SENSITIVITY))


def told_costs(execution: Execution, factor: float) -> str:
    """What the same run at other costs is."""
    many = {0.0: "without", 2.0: "at twice the"}.get(factor, f"at {factor:g} times the")
    earns = "; what a maker earns stays as it was" if factor > 1.0 and any(execution.makers) else ""
    return f"the same run {many} {COST_WORDS}{earns}"


def with_costs(prepared: Prepared, factor: float) -> Prepared:
    """A prepared run whose every cost of trading is so many times as large; what is shared with other runs stays as it is.

    Signals, room, interest and borrow fee stay as they were. What a maker earns (rebates, half the spread) is no cost: it stays, or goes at factor 0.
    """
    terms, record = prepared.terms.copy(), prepared.rule_record.copy()
    for name in COSTS:
        terms[name] *= np.where(terms[name] > 0.0, factor, min(factor, 1.0))
    terms["half_spread"] *= np.where(terms["maker"] != 0, min(factor, 1.0), factor)
    if factor == 0.0:
        terms["quoted"] = 0  # so that quotes are not read
    record["transfer_fee"] *= factor
    tapes = prepared.tapes
    changed = tapes._replace(
        long=spreads_at(tapes.long, terms[:, 0], factor),
        short=spreads_at(tapes.short, terms[:, 1], factor),
        long_orders=impact_at(tapes.long_orders, terms[:, 0], factor),
        short_orders=impact_at(tapes.short_orders, terms[:, 1], factor),
    )
    return replace(prepared, terms=terms, rule_record=record, tapes=changed)


def spreads_at(tape: Floats, terms: "Records", factor: float) -> Floats:
    """A slot's tape with its quoted half-spreads times a factor; the tape itself where none are read or a maker earns them."""
    if not (terms["quoted"] != 0).any() or (terms["maker"] != 0).all():
        return tape
    out = tape.copy()
    out[k.HALF_SPREAD] *= factor
    return out


def impact_at(orders: Floats, terms: "Records", factor: float) -> Floats:
    """A slot's orders with impact times a factor; where it is unknown nothing can be filled, as before."""
    if not ((terms["limited"] != 0) & (terms["impact"] > 0.0)).any():
        return orders
    out = orders.copy()
    out[k.IMPACT] *= factor
    return out
