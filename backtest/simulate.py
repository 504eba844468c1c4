"""From a rule to a finished run: check it, let the step decide, keep what the kernel wrote.

result = bt.run(CashAndCarry(), bt.load_market("data/sample"), capital=100_000)
print(result)
result.report("reports/carry.html")
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np

from backtest import kernels as k
from backtest.book import Book
from backtest.book_result import BookResult
from backtest.checks import check_instants, check_known, no_trade_note
from backtest.errors import CarryError, ParameterError
from backtest.execution import WHOLE, Execution, Margin, check_together, fitting
from backtest.joint import Joint, join
from backtest.market import Market, utc
from backtest.prepare import prepare
from backtest.result import Log, Prepared, Result
from backtest.rule import Duration, Rule, duration, number, shown
from backtest.strategy import Strategy, check_changes, check_market, rule_of
from backtest.terms import check_leverage

MOST_CAPITAL = 1e15
LARGEST = 1e100  # money beyond it is none
FIRST_ROOM = {
    k.LEDGER: 1024,
    k.FILL: 2048,
    k.TRADE: 512,
}  # rows of the logs at first, a trade being two changes and four fills; they grow when the kernel asks


@overload
def run(
    strategy: Strategy | Rule, market: Market, *, capital: float = ..., execution: Execution | None = ..., **changes: Any
) -> Result: ...


@overload
def run(
    strategy: Book | Sequence[Strategy | Rule] | Mapping[str, Strategy | Rule],
    market: Market,
    *,
    capital: float = ...,
    execution: Execution | None = ...,
    **changes: Any,
) -> BookResult: ...


def run(strategy: Any, market: Market, *, capital: float = 100_000.0, execution: Execution | None = None, **changes: Any) -> Any:
    """Run one strategy over the whole market, or several on one capital: a list, a mapping from labels, or a `Book` give a `BookResult`.

    capital: cash at the market's start, in the quote currency. execution: costs and margin. changes: fields of the rule (of every rule) to set otherwise than the
    strategy does (size=0.3, leverage=2, resize=None, stop=0.05, …). Raises ParameterError for settings and DataError for data that the rule can't run on.
    """
    if isinstance(strategy, list | tuple | Mapping):
        strategy = Book(strategy)
    if not isinstance(strategy, Strategy | Rule | Book):
        hint = f"give {strategy.__name__}()" if isinstance(strategy, type) else "give one, as CashAndCarry() or bt.Rule(…)"
        raise ParameterError(f"a run needs a strategy or a rule: it got {shown(strategy)}; {hint}")
    check_market(market, "a run")
    if capital is None:
        raise ParameterError("capital must be a number: capital=None; leave it out for 100,000")
    number("capital", capital, above=0.0, most=MOST_CAPITAL)
    if execution is not None and not isinstance(execution, Execution):
        raise ParameterError(f"execution must be an Execution: execution={shown(execution)}; give bt.Execution(…), or leave it out")
    check_changes(changes)
    execution = execution or Execution()
    if isinstance(strategy, Book):
        return run_book(strategy, market, float(capital), execution, changes)
    prepared = prepared_run(strategy, rule_of(strategy, market, **changes), market, float(capital), execution, changes)
    log = simulate(prepared, float(capital))
    return finished(strategy, prepared, float(capital), log)


def run_book(book: Book, market: Market, capital: float, execution: Execution, changes: dict[str, Any]) -> BookResult:
    """Run all rules of a book together. ParameterError where they can't share what they trade with."""
    if execution.wallets is not None and len(book.strategies) > 1:
        raise ParameterError(
            f"wallets belong to one rule's legs, and the book has {len(book.strategies)} rules: wallets={execution.wallets}; leave them out"
        )
    prepared, whole = [], False
    for (label, strategy), share in zip(book.strategies.items(), book.shares, strict=True):
        try:
            rule = rule_of(strategy, market, **changes)
            own = fitting(rule, execution, market.instruments)
            whole = whole or own is execution
            prepared.append(prepared_run(strategy, rule, market, capital * share, own, changes))
        except CarryError as error:
            beside = f" ({', '.join(changes)} given to a book is asked of every rule)" if changes else ""
            raise type(error)(f"{label}: {error}{beside}") from None
    if not whole:
        check_together(prepared[0].rule, execution)
    if execution.margin is Margin.CROSS and (len(prepared) > 1 or abs(1.0 - math.fsum(book.shares)) > WHOLE):
        prepared = [replace(one, backed=True) for one in prepared]
    return finished_book(book, prepared, execution, capital)


def finished_book(book: Book, prepared: Sequence[Prepared], execution: Execution, capital: float) -> BookResult:
    """Let the kernel decide for a book whose rules are prepared, one for each of its strategies. execution: what was asked of all of them."""
    logs = simulate_book(prepared, capital, shares=book.shares, exposure=book.exposure, drawdown=book.drawdown, pause=book.pause)
    results = {
        label: finished(strategy, one, capital * share, log)
        for (label, strategy), one, share, log in zip(book.strategies.items(), prepared, book.shares, logs, strict=False)
    }
    return BookResult(book, results, logs[-1] if len(logs) > len(results) else None, execution, capital)


def prepared_run(
    strategy: Strategy | Rule, rule: Rule, market: Market, capital: float, execution: Execution, changes: dict[str, Any]
) -> Prepared:
    """A strategy's rule, checked and ready for the kernel."""
    prepared = replace(prepare(market, rule, execution), changes=changes)
    check_known(prepared, strategy)
    check_instants(market, prepared.execution)
    check_leverage(market, prepared.rule, prepared.execution, prepared.terms, capital)
    return prepared


def finished(strategy: Strategy | Rule, prepared: Prepared, capital: float, log: Log) -> Result:
    """The result of what the kernel wrote."""
    refuse_overflow(prepared, log)
    note = no_trade_note(prepared, log.trades, capital, strategy)
    if note is not None:
        prepared = replace(prepared, notes=[*prepared.notes, note])
    return Result(strategy, prepared, capital, log)


def refuse_overflow(prepared: Prepared, log: Log) -> None:
    """ParameterError where the books hold a number that is none, or one that no money is: its squares, and all that is computed of them, would not be."""
    within = np.all([np.abs(log.ledger[name]) <= LARGEST for name in ("constant", "balance", "coefficient")], axis=0)
    if within.all():
        return
    rule, execution, row = prepared.rule, prepared.execution, log.ledger[int(np.argmin(within))]
    told = f"size={rule.size:g}, leverage={rule.leverage:g}, scale={'none' if rule.scale is None else 'bar by bar'}, impact={max(execution.impacts):g}"
    at = utc(prepared.market.stamps[int(row["bar"])])
    raise ParameterError(
        f"the run's money is beyond all numbers from {at} on: {told} make orders too large for it; lower them, above all the impact and the scale"
    )


# ---------------------------------------------------------------- running


def grown(log: Any) -> Any:
    """A log with twice the room, its rows copied as bytes: concatenating records copies field by field, ten times slower than the run. [account, row]"""
    count, rows = log.shape
    out = np.zeros((count, 2 * rows), log.dtype)
    out.view(np.uint8)[:, : rows * log.itemsize] = log.view(np.uint8)
    return out


def simulate(prepared: Prepared, capital: float, *, jump: bool = True) -> Log:
    """A run of one rule, which is a book of one. jump=False takes the step at every bar, with the same outcome."""
    return simulate_book([prepared], capital, shares=[1.0], jump=jump)[0]


def simulate_book(
    prepared: Sequence[Prepared],
    capital: float,
    *,
    shares: Sequence[float],
    exposure: float | None = None,
    drawdown: float | None = None,
    pause: Duration | None = None,
    jump: bool = True,
) -> list[Log]:
    """Let the kernel decide for all rules of a book; the logs grow when it asks. One log a rule, and one of the reserve if the shares don't add up to 1.

    All must be prepared on one market, with one margin mode and the same rates of money.
    """
    market = prepared[0].market
    joint = join(prepared)
    reserve = 1.0 - math.fsum(shares)
    capitals = [capital * share for share in shares] + ([capital * reserve] if abs(reserve) > WHOLE else [])
    accounts, legs, rules = accounts_of(joint, capitals)
    pool = np.zeros(1, k.POOL)
    pool["rules"], pool["derivatives"] = len(prepared), joint.derivatives
    pool["balance"], pool["peak"] = accounts["balance"].sum(), capital
    pool["exposure"], pool["drawdown"] = (np.inf if limit is None else limit for limit in (exposure, drawdown))
    pool["pause"] = duration("pause", pause) or k.NEVER
    if drawdown is not None:
        rules["walks"] = 1
    elif exposure is not None:
        rules["walks"] |= rules["resize_factor"] < np.inf
    ledger, fills, trades = (np.zeros((len(capitals), rows), dtype) for dtype, rows in FIRST_ROOM.items())
    n, t = len(market), 0
    room = k.ROWS_A_BAR + (3 * len(capitals) if len(capitals) > 1 else 0)
    while True:
        t = k.advance(accounts, legs, rules, joint.terms, pool[0], joint.tapes, market.start, ledger, fills, trades, t, n, jump)
        if t >= n:
            break
        ledger, fills, trades = (
            grown(log) if accounts[used].max() + room > log.shape[1] else log
            for log, used in ((ledger, "changes"), (fills, "fills"), (trades, "trades"))
        )
    return [log_of(accounts[i], ledger[i], fills[i], trades[i], joint.pairs_at[i]) for i in range(len(capitals))]


def accounts_of(joint: Joint, capitals: Sequence[float]) -> tuple[Any, Any, Any]:
    """Accounts, legs and rules as they are before the first bar, the reserve's last if there is one."""
    count = len(capitals)
    accounts, legs, rules = np.zeros(count, k.ACCOUNT), np.zeros((count, 4), k.LEG), np.zeros(count, k.RULE)
    rules[: len(joint.rules)] = joint.rules
    for name in ("capital", "balance", "constant", "peak"):
        accounts[name] = capitals
    accounts["far"] = capitals * rules["far_share"]
    accounts["pair"], accounts["period"] = joint.pairs_at[:count], joint.periods_at[:count]
    accounts["loss_level"] = -np.inf
    for name in ("exit_level", "premium_level", "annual_level", "stop_level", "converge_level"):
        accounts[name] = np.inf
    for name in ("horizon", "time_bar", "days_bar", "converge_bar", "roll_bar"):
        accounts[name] = k.NEVER
    legs["stress_level"], legs["unit"], legs["share"] = np.inf, 1.0, 1.0
    return accounts, legs, rules


def log_of(account: Any, ledger: Any, fills: Any, trades: Any, pairs_at: int) -> Log:
    """What the kernel wrote of one account, its pairs numbered from 0 on."""
    rows = ledger[: account["changes"]], fills[: account["fills"]], trades[: account["trades"] + account["started"]]
    for row in rows if pairs_at else ():
        row["pair"] -= pairs_at
    return Log(account, *rows)
