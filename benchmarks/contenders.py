"""Who runs the task: the package with equity, the package with all sources, a hand-written loop, and vectorbt.

Each contender is a function without arguments that does the whole run on prepared input, its output arrays included, and returns an `Outcome`. The loop
is what a programmer would write for this one rule and nothing else: one pass, no ledger, no log but entry and exit bars. It is the limit to compare with.

    contenders = {**own(data, market), **rivals(data)}
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pandas as pd
import task
from task import Data, Floats

import backtest as bt
from backtest import ledger
from backtest.prepare import prepare
from backtest.result import Log, Prepared
from backtest.simulate import simulate

EQUITY, SOURCES, LOOP, VECTORBT = "carry-backtest, equity", "carry-backtest, twelve sources", "hand-written loop", "vectorbt"
PEERS = {"peer_limit_numba": "the peers' numba loop", "peer_vectorbt": "the peers' vectorbt"}
FUNDING_BASE = 10_000.0  # vectorbt refuses a price of zero or less: cumulated funding is added to this


@dataclass(frozen=True)
class Outcome:
    """What a run says: trades entered, equity at each bar; where the contender has them, sources [source, bar] and the bars acted on, entries first."""

    trades: int
    equity: Floats
    sources: Floats | None = None
    acted: npt.NDArray[np.int64] | None = None


Contender = Callable[[], Outcome]


# ---------------------------------------------------------------- the package


def prepared_run(market: bt.Market) -> Prepared:
    """The rule laid out for the kernel."""
    return prepare(market, task.rule(market), task.execution())


def equity_of(prepared: Prepared, log: Log) -> Floats:
    inverse = prepared.terms[0]["inverse"] != 0
    return ledger.equity_column(prepared.tapes, prepared.rule_record, log.ledger, inverse, len(prepared.market), task.CAPITAL)


def sources_of(prepared: Prepared, log: Log) -> Floats:
    derivative, inverse = prepared.terms[0]["derivative"] != 0, prepared.terms[0]["inverse"] != 0
    return ledger.source_columns(prepared.tapes, log.ledger, derivative, inverse, len(prepared.market), task.CAPITAL)


def own(market: bt.Market) -> dict[str, Contender]:
    """The package, from prepared tapes to equity, and to equity and sources."""
    prepared = prepared_run(market)

    def with_equity() -> Outcome:
        log = simulate(prepared, task.CAPITAL)
        return Outcome(len(log.trades), equity_of(prepared, log))

    def with_sources() -> Outcome:
        log = simulate(prepared, task.CAPITAL)
        return Outcome(len(log.trades), equity_of(prepared, log), sources_of(prepared, log))

    return {EQUITY: with_equity, SOURCES: with_sources}


# ---------------------------------------------------------------- the limit


@numba.njit(error_model="numpy")
def one_pass(
    spot: Floats, perpetual: Floats, premium: Floats, rate: Floats, unit: float, fraction: float, equity: Floats, entered: Any, exited: Any
) -> int:
    """The task in one loop, filled at the close of the decision. Size: unit + fraction of cash, of which one is 0. Returns the number of entries."""
    cash, quantity, since, trades = task.CAPITAL, 0.0, 0, 0
    for t in range(spot.shape[0]):
        long, short = spot[t], perpetual[t]
        if quantity != 0.0:
            if t % task.FUNDING_EVERY == 0:
                cash += quantity * short * rate[t]
            if premium[t] <= task.EXIT or t - since > task.LONGEST_HOLD:
                sold, bought = long * (1.0 - task.HALF_SPREAD), short * (1.0 + task.HALF_SPREAD)
                cash += quantity * (sold - bought) - task.FEE * quantity * (sold + bought)
                quantity = 0.0
                exited[trades - 1] = t
        elif premium[t] >= task.ENTER:
            quantity = (unit + fraction * cash) / long
            since = t
            bought, sold = long * (1.0 + task.HALF_SPREAD), short * (1.0 - task.HALF_SPREAD)
            cash += quantity * (sold - bought) - task.FEE * quantity * (sold + bought)
            entered[trades], exited[trades] = t, -1  # −1: still open
            trades += 1
        equity[t] = cash + quantity * (long - short)
    return trades


def loop(data: Data, *, unit: float = 0.0, fraction: float = 0.0) -> Contender:
    """The hand-written loop with one of two sizes: a constant cash amount, or a fraction of equity as the package has it."""
    bars = len(data)

    def run() -> Outcome:
        equity, entered, exited = np.empty(bars), np.empty(bars // 2 + 1, np.int32), np.empty(bars // 2 + 1, np.int32)
        trades = one_pass(data.spot, data.perpetual, data.premium, data.rate, unit, fraction, equity, entered, exited)
        return Outcome(trades, equity, acted=np.concatenate([entered[:trades], exited[:trades][exited[:trades] >= 0]]))

    return run


# ---------------------------------------------------------------- vectorbt


@numba.njit(error_model="numpy")
def orders(spot: Floats, premium: Floats, enter: float, leave: float, longest: float, size: Floats) -> int:
    """Order sizes of the three columns at each bar, NaN for none. Returns the number of entries."""
    quantity, since, trades = 0.0, 0, 0
    for t in range(spot.shape[0]):
        if quantity == 0.0:
            if premium[t] >= enter:
                quantity, since = task.UNIT / spot[t], t
                trades += 1
                size[t, 0], size[t, 1], size[t, 2] = quantity, -quantity, quantity
        elif premium[t] <= leave or t - since > longest:
            size[t, 0], size[t, 1], size[t, 2] = -quantity, quantity, -quantity
            quantity = 0.0
    return trades


def vectorbt(data: Data, engine: str) -> Contender:
    """`Portfolio.from_orders`: spot, perpetual, and a third column whose price is the funding cumulated so far, bought with the position."""
    index = minutes(len(data))

    def run() -> Outcome:
        return portfolio_of(vectorbt_frame(data, index), data, (task.ENTER, task.EXIT, task.LONGEST_HOLD), engine)

    return run


def minutes(bars: int) -> pd.DatetimeIndex:
    """Stamps without a time zone: with one, vectorbt makes an object of every stamp each time it wraps an array, forty times slower."""
    return pd.date_range(task.FIRST_STAMP.tz_localize(None), periods=bars, freq="1min")


def vectorbt_frame(data: Data, index: pd.DatetimeIndex) -> pd.DataFrame:
    """Prices of the three columns."""
    close = np.column_stack([data.spot, data.perpetual, FUNDING_BASE + np.cumsum(data.perpetual * data.rate)])
    return pd.DataFrame(close, index=index, copy=False)


def portfolio_of(close: pd.DataFrame, data: Data, rule: tuple[float, float, float], engine: str) -> Outcome:
    """A portfolio of one rule: enter, exit and longest hold."""
    import vectorbt as vbt

    fees, slippage = np.array([task.FEE, task.FEE, 0.0]), np.array([task.HALF_SPREAD, task.HALF_SPREAD, 0.0])
    size = np.full(close.shape, np.nan)
    trades = orders(data.spot, data.premium, *rule, size)
    portfolio = vbt.Portfolio.from_orders(
        close, size=size, price=close.to_numpy(), fees=fees, slippage=slippage, init_cash=task.CAPITAL,
        cash_sharing=True, group_by=True, freq="1min", engine=engine, max_orders=6 * trades + 6,
    )  # fmt: skip
    return Outcome(trades, portfolio.value().to_numpy().ravel())


# ---------------------------------------------------------------- peers of somebody else's writing


def peers(folder: Path, data: Data) -> dict[str, Contender]:
    """Modules with run(data, params) from a folder, on this benchmark's input; their premium and thresholds are in bps."""
    sys.path.insert(0, str(folder))
    given = {"n": len(data), "spot": data.spot, "perp": data.perpetual, "prem": data.premium * 1e4, "rate": data.rate}
    params = {"enter": task.ENTER * 1e4, "exit": task.EXIT * 1e4, "max_hold": task.LONGEST_HOLD}

    def contender(module: Any) -> Contender:
        def run() -> Outcome:
            found = module.run(given, params)
            return Outcome(found["n_trades"], np.asarray(found["equity"]))

        return run

    return {label: contender(importlib.import_module(name)) for name, label in PEERS.items() if (folder / f"{name}.py").exists()}
