"""The scan: many combinations of a strategy's parameters over the same tapes, statistics only, as a whole run of each would give them.

A combination's rule is made as ever. Rules that differ in thresholds, sizes and durations only read the same tapes, which are laid out once; the compiled
`kernels.scan` then goes through time in stretches that fit the cache, all combinations through each. It takes plain trades whole and hands whatever else
happens to the step, so trades are those of a run, and statistics agree to 1e-9. Rules that no level can stand for (`RULE.walks`) are stepped at every bar.

grid = Grid(FundingCarry, market, 100_000.0, None, {"leverage": 2})
found = grid.run([{"enter": 0.05, "exit": 0.0}, {"enter": 0.1, "exit": 0.0}])
found.table["sharpe"]
"""

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy, deepcopy
from dataclasses import dataclass, field, fields, replace
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd

from backtest import kernels as k
from backtest.checks import check_instants, check_known, check_thresholds
from backtest.errors import CarryError
from backtest.execution import Execution, Margin
from backtest.joint import Joint, join
from backtest.market import Floats, Integers, Market
from backtest.prepare import prepare, rule_record
from backtest.regimes import spot_of
from backtest.result import Prepared
from backtest.rule import Rule
from backtest.simulate import LARGEST, accounts_of, run
from backtest.strategy import Strategy, parameters_of, rule_of, with_parameters
from backtest.summaries import Calendar, daily_statistics, days_spot, excess_sharpes, last_sources, ratios, spot_betas, sums_of
from backtest.tapes import Records
from backtest.terms import check_leverage

FIGURES = (
    "total_return", "annual_return", "annual_volatility", "sharpe", "sortino", "calmar", "max_drawdown", "time_in_market", "turnover", "trades", "win_rate",
    "avg_hold_days", "excess_sharpe", "spot_beta", "hedged_share",
)  # fmt: skip
STATISTICS = (*FIGURES, "final_equity", "liquidations", "sum_of_squares", *k.SOURCES, "jumped")
SIGNALS = ("signal", "exit_signal", "scale")
# Fields of a rule that its record alone tells: rules that differ in nothing else read the same tapes. Of the first ones it matters whether they are set.
LEVELS = ("enter", "exit", "stop", "stop_annualized", "converge")
ALIKE = ("size", "loss", "max_hold", "cooldown", "expiry_days", "resize", "exposure", "drawdown", "pause")
PLACES = ("entry_at", "exit_at", "premium_at", "annual_at", "long_stress_at", "short_stress_at", "minus_at", "index_at", "index_minus")
PIECES, SMALLEST_PIECE = 4, 8  # pieces for each thread, rules in a piece
MOST_LAID = 2  # tapes that are kept for another scan
MOST_FRESH = 4  # groups whose arrays are their own that may wait
ROOM = {k.LEDGER: 2048, k.FILL: 4096, k.TRADE: 1024}  # of a stretch of steps; `kernels.scan` goes on where it ran out


@dataclass(frozen=True, eq=False)
class Scanned:
    """The statistics of some combinations, in their order.

    table: a row a combination, columns STATISTICS, NaN where it was refused. daily: equity at the start and at each midnight UTC, [combination, day].
    refused: the sentence, or None. trades: the logs that were asked for, `kernels.TRADE` without the sources of trades taken whole.
    """

    table: pd.DataFrame
    daily: Floats
    days: pd.DatetimeIndex
    refused: list[str | None]
    quote: str
    trades: list[Records] | None = None


class Laid:
    """The tapes that were laid out last, with what is read beside them: a second scan of the same rules, or of another window, needs no others.

    Kept with what they were made of, whose identity is a part of their key.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[Any, Prepared, k.Sums]] = {}
        self._alone = Lock()

    def get(self, key: Hashable, owner: Any, make: Callable[[], tuple[Prepared, k.Sums]]) -> tuple[Prepared, k.Sums]:
        """What was laid out for a key, or is now."""
        with self._alone:
            if key not in self._kept:
                prepared, sums = make()
                while len(self._kept) >= MOST_LAID:
                    self._kept.pop(next(iter(self._kept)))
                self._kept[key] = owner, prepared, sums
            return self._kept[key][1:]

    def __reduce__(self) -> tuple[type["Laid"], tuple[()]]:
        return Laid, ()


@dataclass(frozen=True, eq=False)
class Grid:
    """What all combinations share. It can be pickled, if the strategy's class can.

    base: a strategy's class, or one of its objects, whose other parameters stay. fixed: parameters that all combinations have, of the strategy or its rule.
    """

    base: type[Strategy] | Strategy
    market: Market
    capital: float = 100_000.0
    execution: Execution | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    laid: Laid = field(default_factory=Laid, repr=False, kw_only=True)

    def run(self, chosen: Sequence[Mapping[str, Any]], *, window: tuple[int, int] | None = None, threads: int = 1, log: int = 0) -> Scanned:
        """Scan some combinations.

        window: bars [first, final): the account begins flat, with the capital, when the first one does; signals know the whole past. threads: of this process.
        log: keep so many trades of each.
        """
        first, final = (0, len(self.market)) if window is None else window
        out = Table.empty(len(chosen), Calendar.of(self.market, first, final), self.capital, log)
        groups: dict[Hashable, Group] = {}
        for place, values in enumerate(chosen):
            try:
                rule, strategy, changes = self.rule(values)
                check_thresholds(self.market, rule)
            except CarryError as error:
                out.refused[place] = str(error)
                continue
            key = shape_key(rule)
            if key not in groups:
                groups[key] = Group(with_own_arrays(rule), strategy, changes)
            groups[key].add(place, rule)
            waiting = [key for key, group in groups.items() if group.fresh]
            if len(waiting) > MOST_FRESH:
                self._scan(waiting[0], groups.pop(waiting[0]), out, threads)
        for key, group in groups.items():
            self._scan(key, group, out, threads)
        for place in np.flatnonzero(out.endless).tolist():
            out.refuse(place, self._told(chosen[place]))
        return out.finished()

    def _told(self, values: Mapping[str, Any]) -> str:
        """Why a combination whose money is beyond all numbers can't run: what a run of it says."""
        rule, _, _ = self.rule(values)
        try:
            run(rule, self.market, capital=self.capital, execution=self.execution)
        except CarryError as error:
            return str(error)
        return "its money is beyond all numbers; lower size, leverage or impact"

    def rule(self, values: Mapping[str, Any]) -> tuple[Rule, Strategy, dict[str, Any]]:
        """A combination's rule, its strategy, and the fields of the rule that are set otherwise than the strategy does."""
        own = parameters_of(self.base)
        chosen = {**self.fixed, **values}
        parameters = {key: value for key, value in chosen.items() if key in own}
        changes = {key: value for key, value in chosen.items() if key not in own}
        strategy = self.base(**parameters) if isinstance(self.base, type) else with_parameters(self.base, **parameters)
        return copy(rule_of(strategy, self.market, **changes)), strategy, changes

    def _lay_out(self, group: "Group") -> tuple[Prepared, k.Sums]:
        """What a group of rules reads."""
        prepared = replace(prepare(self.market, group.first, self.execution or Execution()), changes=group.changes)
        check_known(prepared, group.strategy)
        check_instants(self.market, prepared.execution)
        return prepared, sums_of(prepared)

    def _scan(self, key: Hashable, group: "Group", out: "Table", threads: int) -> None:
        """Scan all of a group."""
        owner = self.market, self.execution, group.first
        try:
            prepared, sums = self.laid.get((id(self.market), id(self.execution), key), owner, lambda: self._lay_out(group))
        except CarryError as error:
            for place in group.places:
                out.refused[place] = str(error)
            return
        places, records = list[int](), list[Any]()
        for place, rule in zip(group.places, group.rules, strict=True):
            try:
                check_leverage(self.market, rule, prepared.execution, prepared.terms, self.capital)
            except CarryError as error:
                out.refused[place] = str(error)
                continue
            places.append(place)
            records.append(rule_record(self.market, rule, prepared.execution, {name: prepared.rule_record[name] for name in PLACES}))
        if places:
            scan_group(prepared, sums, np.array(records, k.RULE), places, out, threads)


@dataclass(frozen=True)
class Group:
    """Combinations whose rules read the same tapes."""

    first: Rule
    strategy: Strategy
    changes: dict[str, Any]
    places: list[int] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)

    @property
    def fresh(self) -> bool:
        """Whether it holds arrays of its own, which take room as long as it waits."""
        return any(not frozen(value) for name in SIGNALS for value in both(getattr(self.first, name)))

    def add(self, place: int, rule: Rule) -> None:
        """One more rule, which lets go of its arrays for those of the first."""
        for name in SIGNALS:
            object.__setattr__(rule, name, getattr(self.first, name))
        self.places.append(place)
        self.rules.append(rule)


def with_own_arrays(rule: Rule) -> Rule:
    """The rule with copies of the arrays that somebody may write into before they are laid out."""
    for name in SIGNALS:
        value = getattr(rule, name)
        own = tuple(one if frozen(one) else deepcopy(one) for one in both(value))
        object.__setattr__(rule, name, own if isinstance(value, tuple) else own[0])
    return rule


def both(value: Any) -> tuple[Any, ...]:
    """One signal, or the two of the sides."""
    return value if isinstance(value, tuple) else (value,)


def frozen(value: Any) -> bool:
    """Whether nobody can change a signal, so that it is known by itself: it is read-only, and no view of what is not."""
    if value is None:
        return True
    if not isinstance(value, np.ndarray) or value.flags.writeable:
        return False
    return value.base is None or frozen(value.base)


def shape_key(rule: Rule) -> Hashable:
    """What must be equal for two rules to read the same tapes. Plain arrays that can be changed are known by what they hold."""
    key: list[Hashable] = []
    for item in fields(rule):
        value = getattr(rule, item.name)
        if item.name in SIGNALS:
            key += [signal_key(one) for one in both(value)]
        elif item.name in LEVELS:
            key.append(value is None)
        elif item.name not in ALIKE:
            key.append(value)
    return tuple(key)


def signal_key(value: Any) -> Hashable:
    """What a signal is known by: itself if nobody can change it, else what it holds; what can't be told from others is like nothing else."""
    if frozen(value):
        return id(value)
    if isinstance(value, pd.Series | pd.DataFrame):
        held: Any = pd.util.hash_pandas_object(value).to_numpy()
    elif isinstance(value, np.ma.MaskedArray) or (held := np.asarray(value)).dtype == object:
        return object()
    return type(value), held.shape, held.dtype.str, hashlib.sha256(np.ascontiguousarray(held).data).digest()


def is_plain(prepared: Prepared) -> bool:
    """Whether trades of rules of this shape may be taken whole, if they don't walk: both slots linear, orders that fill at once."""
    rule, execution, record = prepared.rule, prepared.execution, prepared.rule_record
    waits = rule.entry_tranches > 1 or rule.exit_tranches > 1 or rule.unstake is not None or rule.roll_days is not None
    held_up = prepared.terms["limited"].any() or prepared.terms["latency"].any() or prepared.terms["maker"].any()
    other = record["times_funding"] or record["transfers"] or prepared.terms["inverse"].any()
    return not (waits or held_up or other or execution.margin is Margin.CROSS)


def scan_group(prepared: Prepared, sums: k.Sums, rules: Records, places: Sequence[int], out: "Table", threads: int) -> None:
    """Scan rules that read the same tapes; threads take pieces of them until none is left."""
    joint, sums = join([prepared]), sums._replace(days=out.calendar.bars)
    rules["bars_at"], rules["periods_end"] = joint.rules[0]["bars_at"], joint.rules[0]["periods_end"]
    plain = is_plain(prepared)
    hands = min(max(threads, 1), len(places))
    pieces = pieces_of(len(places), hands)
    parts = [Part(joint, sums, rules[piece], out, plain) for piece in pieces]
    if len(parts) == 1:
        parts[0].work()
    else:
        with ThreadPoolExecutor(hands) as pool:
            list(pool.map(Part.work, parts))
    for piece, part in zip(pieces, parts, strict=True):
        part.report(prepared, [places[i] for i in piece.tolist()], out)


def pieces_of(rules: int, threads: int) -> list[Integers]:
    """Places of the rules of each piece: every so many-th, as neighbours trade alike and some far more than others, and more pieces than threads, so that none
    waits long for the last.
    """
    count = 1 if threads == 1 else max(threads, min(PIECES * threads, rules // SMALLEST_PIECE))
    return [np.arange(first, rules, count) for first in range(count)]


class Part:
    """Combinations that one thread scans: their accounts, and what comes out."""

    def __init__(self, joint: Joint, sums: k.Sums, rules: Records, out: "Table", plain: bool) -> None:
        count, calendar = len(rules), out.calendar
        accounts, legs, _ = accounts_of(joint, [out.capital])
        self.joint, self.sums, self.calendar = joint, sums, calendar
        self.accounts, self.legs, self.rules = np.repeat(accounts, count), np.repeat(legs, count, axis=0), rules
        self.pools = np.zeros(count, k.POOL)
        self.pools["rules"], self.pools["derivatives"] = 1, joint.derivatives
        self.pools["peak"] = self.pools["balance"] = out.capital
        self.pools["exposure"] = self.pools["drawdown"] = np.inf
        self.pools["pause"] = k.NEVER
        self.states = np.zeros(count, k.SCANNED)
        for name in ("capital", "balance", "last", "peak"):
            self.states[name] = out.capital
        reference = joint.tapes.rates[k.IDLE, calendar.first]
        self.states["reference"], self.states["constant"] = reference, out.capital - out.capital * reference
        whole = plain & (rules["walks"] == 0)
        self.states["flat_from"], self.states["plain"], self.states["stepping"] = calendar.first, whole, ~whole
        self.states["day"] = calendar.before
        self.accounts["rate_reference"], self.accounts["constant"] = reference, out.capital - out.capital * reference
        self.daily = np.full((count, len(calendar.bars)), out.capital)
        self.rows, self.open_trades = np.zeros(count, k.LEDGER), np.zeros(count, k.TRADE)
        for name in ("balance", "constant"):
            self.rows[name] = self.accounts[name]
        self.rows["rate_reference"] = reference
        self.log = np.zeros((count, out.log), k.TRADE)

    def work(self) -> None:
        """Run the compiled scan; other threads may run beside it."""
        ledger, fills, trades = (np.zeros((1, rows), dtype) for dtype, rows in ROOM.items())
        k.scan(
            self.states, self.accounts, self.legs, self.rules, self.joint.terms, self.pools, self.joint.tapes, self.sums, self.calendar.opened,
            self.daily, ledger, fills, trades, self.rows, self.open_trades, self.log, np.zeros(1, k.SEGMENT), self.calendar.first, self.calendar.final,
        )  # fmt: skip

    def report(self, prepared: Prepared, places: Sequence[int], out: "Table") -> None:
        """Put what came out into the table."""
        states, calendar, market = self.states, self.calendar, prepared.market
        held, mean = states["held_bars"].astype(float), states["total"] / (calendar.final - calendar.first)
        opened = np.where(states["stepping"] != 0, self.accounts["started"], states["held"])
        closed, spot = states["closed"].astype(float), spot_of(market, prepared.rule)
        years = float(calendar.years.sum())
        paired = None not in prepared.rule.legs and not prepared.terms["inverse"].any()
        figures = {
            **daily_statistics(self.daily, states["last"], states["drawdown"], out.capital, calendar.span),
            "time_in_market": states["held_years"] / years,
            "turnover": ratios(states["traded"], mean * years),
            "trades": closed + opened,
            "win_rate": ratios(states["wins"].astype(float), closed),
            "avg_hold_days": ratios(states["hold"] / (86_400 * 1e9), closed),
            "excess_sharpe": excess_sharpes(self.daily, self.idle_equity(prepared)),
            "spot_beta": np.full(len(places), np.nan) if spot is None else spot_betas(self.daily, days_spot(market, spot, calendar)),
            "hedged_share": ratios(states["hedged_bars"].astype(float), held) if paired else np.full(len(places), np.nan),
            "final_equity": states["last"],
            "liquidations": states["liquidations"],
            "sum_of_squares": states["squares"],
            **dict(zip(k.SOURCES, last_sources(prepared, self.rows, calendar.final - 1).T, strict=True)),
            "jumped": self.rules["walks"] == 0,
        }
        for column, name in enumerate(STATISTICS):
            out.values[places, column] = figures[name]
        out.daily[places] = self.daily
        out.endless[places] = ~np.all([np.abs(self.rows[name]) <= LARGEST for name in ("constant", "balance", "coefficient")], axis=0)
        if out.log:
            for i, place in enumerate(places):
                logged, number = self.log[i][: int(states["closed"][i])], int(opened[i])
                out.trades[place] = np.concatenate([logged, self.open_trades[i : i + 1][:number]])
        out.quote = quote_of(prepared)

    def idle_equity(self, prepared: Prepared) -> Floats:
        """What a unit of cash that never trades is worth on each of the days. [day]"""
        index = prepared.tapes.rates[k.IDLE]
        worth: Floats = 1.0 + index[np.maximum(self.calendar.bars, self.calendar.first - 1) + 1] - index[self.calendar.first]
        return worth


def quote_of(prepared: Prepared) -> str:
    """The currency of a run's money."""
    return next(prepared.market.instruments[leg.contracts[0]].quote for leg in prepared.rule.legs if leg is not None)


@dataclass(eq=False)
class Table:
    """What is known so far of all combinations. values: [combination, STATISTICS], NaN where refused; endless: whether its money is beyond all numbers."""

    calendar: Calendar
    capital: float
    log: int
    values: Floats
    daily: Floats
    endless: Any
    refused: list[str | None]
    trades: list[Records]
    quote: str = ""

    @classmethod
    def empty(cls, count: int, calendar: Calendar, capital: float, log: int) -> "Table":
        """Nothing yet."""
        nothing = np.zeros(0, k.TRADE)
        return cls(
            calendar, float(capital), log, np.full((count, len(STATISTICS)), np.nan), np.full((count, len(calendar.days)), np.nan),
            np.zeros(count, bool), [None] * count, [nothing] * count,
        )  # fmt: skip

    def refuse(self, place: int, why: str) -> None:
        """A combination that has run gives no number."""
        self.values[place], self.daily[place], self.refused[place] = np.nan, np.nan, why

    def finished(self) -> Scanned:
        """What a caller gets."""
        table = pd.DataFrame(self.values, columns=list(STATISTICS))
        return Scanned(table, self.daily, self.calendar.days, self.refused, self.quote, self.trades if self.log else None)
