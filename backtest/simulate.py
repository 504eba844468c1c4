"""From a rule to a finished run: check it, let the step decide, keep what the kernel wrote.

result = bt.run(CashAndCarry(), bt.load_market("data/sample"), capital=100_000)
print(result)
result.report("reports/carry.html")
"""

from dataclasses import fields, replace
from typing import Any

import numpy as np

from backtest import kernels as k
from backtest.checks import check_instants
from backtest.errors import ParameterError, did_you_mean
from backtest.execution import Execution
from backtest.market import Market, utc
from backtest.prepare import prepare
from backtest.result import Log, Prepared, Result
from backtest.rule import Rule, number, shown
from backtest.strategy import Strategy
from backtest.terms import check_leverage

MOST_CAPITAL = 1e15
LARGEST = 1e100  # money beyond it is none
FIRST_ROOM = {
    k.LEDGER: 1024,
    k.FILL: 2048,
    k.TRADE: 512,
}  # rows of the logs at first, a trade being two changes and four fills; they grow when the kernel asks


def run(
    strategy: Strategy | Rule, market: Market, *, capital: float = 100_000.0, execution: Execution | None = None, **changes: Any
) -> Result:
    """Run one strategy over the whole market.

    capital: cash at the market's start, in the quote currency. execution: costs and margin. changes: fields of the rule to set otherwise than the strategy
    does (size=0.3, leverage=2, resize=None, stop=0.05, …). Raises ParameterError for settings and DataError for data that the rule can't run on.
    """
    if not isinstance(strategy, Strategy | Rule):
        hint = f"give {strategy.__name__}()" if isinstance(strategy, type) else "give one, as CashAndCarry() or bt.Rule(…)"
        raise ParameterError(f"a run needs a strategy or a rule: it got {shown(strategy)}; {hint}")
    if not isinstance(market, Market):
        raise ParameterError(f"a run needs a market: it got {shown(market)}; give bt.load_market(…)")
    if capital is None:
        raise ParameterError("capital must be a number: capital=None; leave it out for 100,000")
    number("capital", capital, above=0.0, most=MOST_CAPITAL)
    if execution is not None and not isinstance(execution, Execution):
        raise ParameterError(f"execution must be an Execution: execution={shown(execution)}; give bt.Execution(…), or leave it out")
    known = [item.name for item in fields(Rule)]
    for name in changes:
        if name not in known:
            raise ParameterError(f'unknown parameter "{name}": {changes[name]}; {did_you_mean(name, known)}')
    rule = strategy if isinstance(strategy, Rule) else strategy.rule(market)
    prepared = prepare(market, replace(rule, **changes), execution or Execution())
    check_instants(market, prepared.execution)
    check_leverage(market, prepared.rule, prepared.execution, prepared.terms, capital)
    log = simulate(prepared, float(capital))
    refuse_overflow(prepared, log)
    return Result(strategy, prepared, float(capital), log)


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
    """A log with twice the room, its rows copied as bytes: concatenating records copies field by field, ten times slower than the run."""
    out = np.zeros(2 * len(log), log.dtype).view(np.recarray)
    out.view(np.uint8)[: log.nbytes] = log.view(np.uint8)
    return out


def simulate(prepared: Prepared, capital: float, *, jump: bool = True) -> Log:
    """Let the kernel decide; the logs grow when it asks. jump=False takes the step at every bar, with the same outcome."""
    account, legs = np.zeros(1, k.ACCOUNT).view(np.recarray), np.zeros(4, k.LEG).view(np.recarray)
    account["capital"] = account["balance"] = account["constant"] = account["peak"] = capital
    account["far"] = capital * prepared.rule_record["far_share"]
    account["loss_level"] = -np.inf
    account["exit_level"] = account["premium_level"] = account["annual_level"] = account["stop_level"] = account["converge_level"] = np.inf
    account["horizon"] = account["time_bar"] = account["days_bar"] = account["converge_bar"] = account["roll_bar"] = k.NEVER
    legs["stress_level"], legs["unit"], legs["share"] = np.inf, 1.0, 1.0
    ledger, fills, trades = (np.zeros(rows, dtype).view(np.recarray) for dtype, rows in FIRST_ROOM.items())
    n, t = len(prepared.market), 0
    while True:
        t = k.advance(
            account[0], legs, prepared.rule_record, prepared.terms, prepared.tapes, prepared.market.start, ledger, fills, trades, t, n, jump
        )
        if t >= n:
            break
        ledger, fills, trades = (
            grown(log) if account[0][used] + k.ROWS_A_BAR > len(log) else log
            for log, used in ((ledger, "changes"), (fills, "fills"), (trades, "trades"))
        )
    end = account[0]
    return Log(end, ledger[: end["changes"]], fills[: end["fills"]], trades[: end["trades"] + end["started"]])
