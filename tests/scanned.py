"""Tools of the tests of the scan: generated cases with a few rules each, what a whole run of each says, and whether the scan says the same.

case = plain_case(7)
labels = agree(case)      # AssertionError where they differ; what each of its rules did
agree_between(case, 10, 40)

Cases are those of `generators` and `generator_desk`, with the judge's terms written over the venue's as `bridge` does it.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import generators
import numpy as np
import pandas as pd
from bridge import PLAIN, build_market, chosen_rule, comparable, dated_terms, execution
from generator_desk import Desk, desk_case
from naive import NaiveMarket, NaiveRule

import backtest as bt
from backtest import kernels as k
from backtest import metrics, scan, simulate
from backtest.errors import CarryError
from backtest.instruments import Kind
from backtest.joint import join
from backtest.prepare import prepare
from backtest.regimes import spot_of
from backtest.result import Prepared, Result
from backtest.scan import STATISTICS, Grid, Scanned
from backtest.strategy import parameters_of

NEAR = 1e-9
EXACT = ("entered", "exited", "side", "pair", "reason", "quantity", "entry_equity", "pnl", "entry_long", "entry_short", "exit_long", "exit_short", "settlement_price")  # fmt: skip
OPEN_EXACT = ("entered", "side", "pair", "quantity", "entry_equity", "entry_long", "entry_short")
MONEY = ("final_equity", *k.SOURCES)


@dataclass(frozen=True, kw_only=True)
class Drawn(bt.Strategy):
    """A strategy that trades a rule that was made before."""

    drawn: Any = None

    def rule(self, market: bt.Market) -> bt.Rule:
        found: bt.Rule = self.drawn
        return found


class Case(NamedTuple):
    """A grid, its combinations, and the judge's market and rule whose terms hold (None: those of the venue)."""

    grid: Grid
    chosen: list[dict[str, Any]]
    terms: tuple[NaiveMarket, NaiveRule] | None = None


# ---------------------------------------------------------------- cases


class Longer(generators.Maker):
    """Markets of some blocks of blocks."""

    BARS = (600, 1700)


def plain_case(seed: int) -> Case:
    """Legs, expiries, limits; in every third other fees and tiers from the middle on, in every other one no cross margin, so that trades are taken whole."""
    market, rule, capital = generators.case(seed)
    if seed % 3 == 0:
        changes = [(market.stamps[len(market.stamps) // 2], {"tiers": [(0.0, 0.05, 0.0)], "fee": 0.002, "delivery_fee": 0.001})]
        long, short = (slot and replace(slot, changes=changes) for slot in (rule.long, rule.short))
        rule = replace(rule, long=long, short=short)
    market = falling(market) if seed % 5 == 0 else market
    if seed % 2 == 0 and rule.margin == "cross":
        rule = replace(rule, margin="isolated" if seed % 4 else "off")
    return made(Desk(market, rule, capital, PLAIN), seed)


def changing_case(seed: int) -> Case:
    """A trade that nothing ends but its margin, of which more is needed from the middle on."""
    market, rule, capital = generators.case(seed)
    changes = [(market.stamps[len(market.stamps) // 2], {"tiers": [(0.0, 0.08, 0.0)]})]
    long, short = (slot and replace(slot, changes=changes) for slot in (rule.long, rule.short))
    endless: dict[str, Any] = dict.fromkeys(("exit", "max_hold", "loss", "resize", "stop", "expiry_days"))
    rule = replace(rule, long=long, short=short, margin="isolated", leverage=8.0, size=0.5, **endless)
    return made(Desk(market, rule, capital, PLAIN), seed, count=1)


def fees_case(seed: int) -> Case:
    """Many short trades, and fees that rise after a third of the time and again after two."""
    market, rule, capital = generators.case(seed)
    bars = len(market.stamps)
    changes = [(market.stamps[bars // 3], {"fee": 0.003}), (market.stamps[2 * bars // 3], {"fee": 0.007})]
    long, short = (slot and replace(slot, changes=changes) for slot in (rule.long, rule.short))
    calm: dict[str, Any] = dict.fromkeys(("loss", "resize", "stop", "expiry_days", "cooldown"))
    rule = replace(rule, long=long, short=short, margin="off", size=0.5, max_hold=2 * market.step, **calm)
    return made(Desk(market, rule, capital, PLAIN), seed, count=1)


def long_case(seed: int) -> Case:
    """Plain ones over some blocks of blocks, of which most trade calmly."""
    market, rule, capital = Longer(random.Random(seed)).case()
    if seed % 4:
        rule = replace(rule, margin="off", leverage=1.0, size=min(rule.size, 0.9), max_hold=None)
    return made(Desk(falling(market) if seed % 5 == 0 else market, rule, capital, PLAIN), seed)


def falling(market: NaiveMarket) -> NaiveMarket:
    """Idle cash costs something."""
    return replace(market, idle_rate=[(time, -rate) for time, rate in market.idle_rate])


def desk(seed: int) -> Case:
    """Everything that an order, a wallet or a contract can meet; nearly all have something that no level of the box tells."""
    return made(desk_case(seed), seed)


def boxed(seed: int) -> Case:
    """The same without that, so that the steps jump."""
    market, rule, capital, beside = desk_case(seed)
    walking = ("exposure", "drawdown", "pause", "max_spread", "min_depth", "top_up", "deleveraged_at", "wallets")
    none: dict[str, Any] = dict.fromkeys(walking)
    rule = replace(rule, **none, deleveraged_gap=0.0)
    if len(market.coin_open) == 0 and seed % 2:
        rule = replace(rule, scale=None)
    beside = beside._replace(available=None, recalled_at=None)
    return made(Desk(replace(market, borrow_available=()), rule, capital, beside), seed)


def made(case: Desk, seed: int, count: int = 3) -> Case:
    """The case's rule, and others that differ in a few levels, sizes and durations."""
    market, rule, capital, beside = case
    rule = comparable(rule)
    built, (legs,) = build_market([market], [rule], [beside])
    strategy = Drawn(drawn=chosen_rule(built, rule, legs))
    chosen = variants(strategy.drawn, market, random.Random(f"variants {seed}"), count)
    return Case(Grid(strategy, built, capital, execution(market, rule, beside)), chosen, (market, rule))


def variants(rule: bt.Rule, market: NaiveMarket, rng: random.Random, count: int) -> list[dict[str, Any]]:
    """What is set otherwise than in the case's rule: nothing at first, then one to three fields."""
    step, two = market.step, None not in rule.legs
    enter = rule.enter if rule.enter is not None else 0.0

    def bars(most: int) -> pd.Timedelta:
        return pd.Timedelta(rng.randint(1, most) * step, "ns")

    draws: dict[str, Callable[[], Any]] = {
        "enter": lambda: rng.choice((None, enter - rng.uniform(0.0, 0.5), enter + rng.uniform(0.0, 0.5))),
        "exit": lambda: None if rng.random() < 0.2 else enter - rng.uniform(0.0, 1.0),
        "max_hold": lambda: rng.choice((None, bars(3), bars(12), bars(60))),
        "size": lambda: rule.size * rng.choice((0.3, 0.8, 1.3)),
        "loss": lambda: rng.choice((None, 10.0 ** rng.uniform(-3.5, -0.7))),
        "cooldown": lambda: rng.choice((None, bars(10))),
        "resize": lambda: None if rule.resize_factor == np.inf and not linear(rule) else rng.choice((None, 1.02, 1.1)),
        "stop": lambda: rng.choice((None, 10.0 ** rng.uniform(-3.5, -1.5))) if two else None,
        "converge": lambda: rng.choice((None, bars(6))) if two else None,
        "expiry_days": lambda: rng.choice((None, rng.uniform(0.5, 6.0) * step / 86_400e9)) if dated(rule) else None,
    }  # fmt: skip
    others = [{name: draws[name]() for name in rng.sample(list(draws), rng.randint(1, 3))} for _ in range(count - 1)]
    return [dict[str, Any](), *others]


def dated(rule: bt.Rule) -> bool:
    return any(leg is not None and leg.kind is Kind.FUTURE for leg in rule.legs)


def linear(rule: bt.Rule) -> bool:
    return rule.resize is not None


@contextmanager
def terms_of(case: Case) -> Iterator[None]:
    """What is prepared meanwhile, by the scan and by a run, has the case's terms."""
    before = prepare
    if case.terms is None:
        yield
        return
    market, rule = case.terms

    def prepared(*asked: Any) -> Prepared:
        return dated_terms(before(*asked), market, rule)

    for module in (scan, simulate):
        module.prepare = prepared  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in (scan, simulate):
            module.prepare = before  # type: ignore[attr-defined]


def run_of(grid: Grid, values: Mapping[str, Any]) -> Result:
    """The whole run of one combination."""
    base: Any = grid.base
    own = parameters_of(base)
    parameters = {name: value for name, value in values.items() if name in own}
    changes = {name: value for name, value in values.items() if name not in own}
    strategy = base(**parameters) if isinstance(base, type) else replace(base, **parameters)
    result: Result = bt.run(strategy, grid.market, capital=grid.capital, execution=grid.execution, **grid.fixed, **changes)
    return result


def result_or_why(grid: Grid, values: Mapping[str, Any]) -> Result | str:
    """The whole run of one combination, or why there is none."""
    try:
        return run_of(grid, values)
    except CarryError as error:
        return str(error)


# ---------------------------------------------------------------- whether both say the same


def agree(case: Case) -> list[set[str]]:
    """Scan all combinations and run each; AssertionError where they differ. What each that ran did."""
    labels = []
    with terms_of(case):
        found = case.grid.run(case.chosen, log=500)
        for number, values in enumerate(case.chosen):
            result = result_or_why(case.grid, values)
            if isinstance(result, str):
                assert found.refused[number] == result
                assert found.table.iloc[number].isna().all()
                assert np.isnan(found.daily[number]).all()
                continue
            assert found.refused[number] is None
            same(found, number, result)
            labels.append(done(found, number, result))
    return labels


def same(found: Scanned, number: int, result: Result) -> None:
    """One combination's statistics, daily equity and trades are those of the run."""
    check(found, number, statistics(result), metrics.daily_equity(result.equity, result.start, result.capital), result, result.equity)


def check(found: Scanned, number: int, wanted: Mapping[str, float], daily: pd.Series, result: Result, equity: pd.Series) -> None:
    """Statistics within 1e-9 of 1 or of themselves, money within 1e-9 of the most there was, trades to the last bit."""
    largest = max(result.capital, float(np.abs(equity).max()))
    assert list(found.table.columns) == list(STATISTICS)
    assert set(wanted) == set(STATISTICS) - {"jumped"}
    row = found.table.iloc[number]
    for name, value in wanted.items():
        near = largest if name in MONEY else value if name == "sum_of_squares" else max(1.0, abs(value))
        assert close(row[name], value, NEAR * near), f"{name} of combination {number}: {row[name]!r}, in the run {value!r}"
    assert list(found.days) == list(daily.index)
    np.testing.assert_allclose(found.daily[number], daily, rtol=0, atol=NEAR * largest)
    assert found.trades is not None
    same_trades(found.trades[number], result)
    assert found.quote == result.quote
    assert row["jumped"] == float(result._prepared.rule_record["walks"] == 0)


def close(one: float, other: float, near: float) -> bool:
    return bool(one == other or (np.isnan(one) and np.isnan(other)) or abs(one - other) <= near)


def statistics(result: Result) -> dict[str, float]:
    """Every statistic of a scan, from the columns of the whole run."""
    equity = result.equity.to_numpy()
    closed = result.trades[result.trades["exited_at"].notna()]
    return {
        **result.metrics,
        "final_equity": float(equity[-1]),
        "liquidations": float((closed["reason"] == "liquidation").sum()),
        "sum_of_squares": float(np.square(np.diff(equity, prepend=result.capital)).sum()),
        **{str(name): float(amount) for name, amount in result.attribution.iloc[-1].items()},
    }


def same_trades(mine: Any, result: Result) -> None:
    """The same trades, to the last bit."""
    theirs, account = result._log.trades, result._log.account
    assert len(mine) == len(theirs)
    closed = int(account["trades"])
    for name in EXACT:
        np.testing.assert_array_equal(mine[name][:closed], theirs[name][:closed], err_msg=name)
    for name in OPEN_EXACT:
        np.testing.assert_array_equal(mine[name][closed:], theirs[name][closed:], err_msg=f"open {name}")


# ---------------------------------------------------------------- what a combination did


def done(found: Scanned, number: int, result: Result) -> set[str]:
    """Labels of what happened, and of how the scan took it."""
    assert found.trades is not None
    mine, log, prepared = found.trades[number], result._log, result._prepared
    closed, record = int(log.account["trades"]), prepared.rule_record
    plain = scan.is_plain(prepared)
    labels = {"plain" if plain else "stepped only", "jumped" if record["walks"] == 0 else "walked"}
    labels |= {f"single {name}" for name, leg in zip(("short", "long"), prepared.rule.legs, strict=True) if leg is None}
    labels |= {"cooldown"} if record["cooldown"] > 0 and closed > 1 else set()
    labels |= {"both sides"} if len(set(log.trades["side"])) > 1 else set()
    labels |= {"several pairs"} if len(set(log.trades["pair"])) > 1 else set()
    labels |= {"no trade"} if len(mine) == 0 else set()
    labels |= {"a rate below 0"} if (np.diff(prepared.tapes.rates) < 0.0).any() else set()
    sources = result.attribution.iloc[-1]
    labels |= {f"source:{name}" for name in k.SOURCES if sources[name] != 0.0}
    labels |= {"interest lost"} if sources["financing"] < 0.0 else set()
    labels |= {"interest earned"} if sources["idle_cash"] > 0.0 else set()
    for trade in range(len(mine)):
        labels |= trade_labels(log, mine, trade, closed, plain, prepared)
    if log.account["phase"] == k.CLOSING:
        labels.add("exit not filled at the end")
    if log.account["phase"] == k.OPENING and not log.account["started"]:
        labels.add("entry not filled at the end")
    return labels | {"equity lost"} if float(result.equity.min()) <= 0.0 else labels


def trade_labels(log: Any, mine: Any, trade: int, closed: int, plain: bool, prepared: Prepared) -> set[str]:
    """Labels of one trade. Taken whole, it has no sources of its own in the scan's log."""
    theirs, ended = log.trades[trade], trade < closed
    stepped = any(mine[trade][name] != 0.0 for name in k.SOURCES)
    if ended and not stepped and not any(theirs[name] != 0.0 for name in k.SOURCES):
        return set()
    if not ended:
        return {"open at the end"}
    way = "whole" if not stepped else "given up" if plain else "stepped"
    reason = k.REASONS[int(theirs["reason"])]
    labels = {way, f"reason:{reason}", f"{way}:{reason}", f"{way} side:{int(theirs['side'])}"}
    labels |= {f"{way} single leg"} if None in prepared.rule.legs else {f"{way} pair"}
    fills = log.fills[log.fills["trade"] == trade]
    actions = {k.ACTIONS[int(action)] for action in fills["action"]}
    labels |= {f"{way}:{action}" for action in actions - {"entry", "exit"}}
    stamps = prepared.market.stamps
    begin, end = (int(np.searchsorted(stamps, theirs[name])) for name in ("entered", "exited"))
    entries = fills["bar"][fills["action"] == k.ENTERED]
    labels |= {f"{way}:an order waited"} if len(set(entries)) > 1 else set()
    labels |= {f"{way}:other terms"} if any(begin < period <= end for period in prepared.tapes.periods) else set()
    return labels | ({f"{way}:several pairs"} if len(prepared.pairs) > 1 else set())


# ---------------------------------------------------------------- a run from one bar to another


def run_between(prepared: Prepared, capital: float, first: int, final: int) -> Result:
    """The step from bar `first` on, up to `final`: its account is flat until then, and has the capital when that bar begins."""
    joint = join([prepared])
    accounts, legs, rules = simulate.accounts_of(joint, [capital])
    reference = float(joint.tapes.rates[k.IDLE, first])
    accounts["rate_reference"], accounts["constant"] = reference, capital - capital * reference
    pool = np.zeros(1, k.POOL)
    pool["rules"], pool["derivatives"], pool["balance"], pool["peak"] = 1, joint.derivatives, capital, capital
    pool["exposure"], pool["drawdown"], pool["pause"] = np.inf, np.inf, k.NEVER
    room = k.ROWS_A_BAR * (final - first + 3)
    ledger_rows, fills, trades = (np.zeros((1, room), kind) for kind in (k.LEDGER, k.FILL, k.TRADE))
    row = ledger_rows[0, 0]
    row["bar"], row["balance"], row["rate_reference"], row["constant"] = first, capital, reference, capital - capital * reference
    for name in ("long_unit", "short_unit", "long_share", "short_share"):
        row[name] = 1.0
    accounts["changes"] = 1
    bar = k.advance(
        accounts, legs, rules, joint.terms, pool[0], joint.tapes, prepared.market.start, ledger_rows, fills, trades, first, final, True
    )
    assert bar == final
    return Result(prepared.rule, prepared, capital, simulate.log_of(accounts[0], ledger_rows[0], fills[0], trades[0], 0))


def statistics_between(result: Result, first: int, final: int) -> dict[str, float]:
    """Every statistic of a scan of these bars, from the columns of a run of them."""
    market, equity = result._prepared.market, result.equity.iloc[first:final]
    start = result.start if first == 0 else market.clock[first - 1]
    positions = result.positions.iloc[first:final]
    spot = spot_of(market, result._prepared.rule)
    traded = float((result.fills["quantity"].abs() * result.fills["price"]).sum())
    closed = result.trades[result.trades["exited_at"].notna()]
    hedged = metrics.hedged_share(*(positions[name].to_numpy() for name in ("long_quantity", "short_quantity")))
    rates = result._prepared.tapes.rates[k.IDLE]
    return {
        **metrics.return_statistics(equity, start, result.capital),
        "excess_sharpe": metrics.excess_sharpe(equity, rates[first + 1 : final + 1] - rates[first], start, result.capital),
        **metrics.activity((positions["contract"] != "").to_numpy(), market.years[first:final], traded, equity),
        **metrics.trade_statistics(result.trades),
        "spot_beta": np.nan if spot is None else metrics.spot_beta(equity, start, result.capital, market.last_known(spot)[first:final]),
        "hedged_share": hedged if paired(result) else np.nan,
        "final_equity": float(equity.iloc[-1]),
        "liquidations": float((closed["reason"] == "liquidation").sum()),
        "sum_of_squares": float(np.square(np.diff(equity, prepend=result.capital)).sum()),
        **{str(name): float(amount) for name, amount in result.attribution.iloc[final - 1].items()},
    }


def paired(result: Result) -> bool:
    """Whether a share of hedged bars can be told."""
    return None not in result._prepared.rule.legs and not result._prepared.terms["inverse"].any()


def agree_between(case: Case, first: int, final: int) -> int:
    """Scan a window, and run each combination in it; how many were compared."""
    compared = 0
    with terms_of(case):
        found = case.grid.run(case.chosen, window=(first, final), log=500)
        for number, values in enumerate(case.chosen):
            if found.refused[number] is not None:
                continue
            prepared = run_of(case.grid, values)._prepared
            result = run_between(prepared, case.grid.capital, first, final)
            equity = result.equity.iloc[first:final]
            start = result.start if first == 0 else prepared.market.clock[first - 1]
            check(
                found, number, statistics_between(result, first, final), metrics.daily_equity(equity, start, result.capital), result, equity
            )
            compared += 1
    return compared
