"""The ledger: what the kernel wrote, as tables that a reader can check.

Everything is recomputed from rows of changes: between two of them each source of PnL is what was booked plus quantity × index difference, so the twelve
sources add up to equity − capital at every bar by construction.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from backtest import kernels as k
from backtest.market import Floats, Integers, Market
from backtest.rule import Leg, Rule
from backtest.tapes import Records

if TYPE_CHECKING:
    from backtest.result import Log


def equity_column(tapes: k.Tapes, rule: Any, ledger: Records, inverse: Any, n: int, capital: float) -> Floats:
    """Equity at every close. rule: its record; inverse: whether each slot's contracts are. [bar]"""
    out = np.empty(n)
    prices = unit_values(tapes, inverse)
    k.fill_equity(
        out,
        room(ledger),
        len(ledger),
        tapes.pairs,
        tapes.pair_index,
        rule["index_minus"],
        tapes.long,
        tapes.short,
        *prices,
        tapes.rates,
        tapes.coin[k.COIN_CLOSE],
        capital,
    )
    return out


def source_columns(tapes: k.Tapes, ledger: Records, derivative: Any, inverse: Any, n: int, capital: float) -> Floats:
    """Cumulated cash of every source at every close, in the order of `kernels.SOURCES`. [source, bar]"""
    out = np.zeros((len(k.SOURCES), n))
    booked = np.array([ledger[name] for name in k.SOURCES]).T.copy() if len(ledger) else np.zeros((1, len(k.SOURCES)))
    prices = unit_values(tapes, inverse)
    k.fill_sources(
        out,
        room(ledger),
        booked,
        len(ledger),
        tapes.pairs,
        tapes.long,
        tapes.short,
        *prices,
        tapes.rates,
        tapes.coin[k.COIN_CLOSE],
        derivative,
        capital,
    )
    return out


def unit_values(tapes: k.Tapes, inverse: Any) -> tuple[Floats, Floats]:
    """What the price of each slot makes a unit worth: the close, or the value index of an inverse contract. [position]"""
    return (
        tapes.long_coin[k.VALUE_CLOSE] if inverse[0] else tapes.long[k.CLOSE],
        tapes.short_coin[k.VALUE_CLOSE] if inverse[1] else tapes.short[k.CLOSE],
    )


def room(ledger: Records) -> Records:
    """The ledger, or one empty row: compiled code may not be handed nothing."""
    return (ledger if len(ledger) else np.zeros(1, k.LEDGER)).view(np.recarray)


def rows_by_bar(ledger: Records, n: int) -> Integers:
    """The last ledger row in force at each close, −1 before the first. [bar]"""
    return np.searchsorted(ledger["bar"], np.arange(n), side="right") - 1


def position_table(market: Market, rule: Rule, pairs: Integers, ledger: Records) -> pd.DataFrame:
    """Quantities of both slots and the contract, at every close."""
    place = rows_by_bar(ledger, len(market))
    base = {name: ledger[f"{name}_quantity"] / ledger[f"{name}_unit"] for name in ("long", "short")}
    quantity = {name: np.where(place >= 0, np.concatenate([values, [0.0]])[place], 0.0) for name, values in base.items()}
    held = (quantity["long"] != 0.0) | (quantity["short"] != 0.0)
    names = pd.Index([*(contract_name(rule, pair) for pair in pairs), ""])
    pair = np.where(held, np.concatenate([ledger["pair"], [-1]])[place], -1)
    return pd.DataFrame(
        {"long_quantity": quantity["long"], "short_quantity": quantity["short"], "contract": names.take(pair)}, index=market.clock
    )


def slot_contract(leg: Leg, column: int) -> str:
    """Which instrument a slot holds."""
    return leg.contracts[column if leg.chain else 0]


def contract_name(rule: Rule, pair: Any) -> str:
    """The derivative of a pair, or both ("near/far"), or the spot if there is none."""
    chosen = [(leg, slot_contract(leg, column)) for leg, column in zip(rule.legs, pair, strict=True) if leg is not None]
    derivatives = [name for leg, name in chosen if leg.kind != "spot"]
    return "/".join(derivatives or [name for _, name in chosen])


def instants(values: Any) -> pd.DatetimeIndex:
    """int64 ns to UTC times."""
    return pd.DatetimeIndex(np.asarray(values, np.int64).view("M8[ns]")).tz_localize("UTC")


def fill_times(market: Market, pairs: Records, fills: Records) -> Integers:
    """Open instant of the bar; the expiry for a settlement, the bar's end for a liquidation. [fill]"""
    opened = np.concatenate([[market.start], market.stamps])[fills["bar"]]
    expiry = np.where(fills["slot"] == 0, pairs["long_expiry"][fills["pair"]], pairs["short_expiry"][fills["pair"]])
    closed = market.stamps[fills["bar"]]
    forced = np.isin(fills["action"], (k.LIQUIDATED, k.DELEVERAGED))
    return np.select([fills["action"] == k.SETTLED, forced], [expiry, closed], opened)


def fill_table(market: Market, rule: Rule, pairs: Integers, records: Records, fills: Records) -> pd.DataFrame:
    """One row a fill: time, trade, slot, instrument, action, quantity (signed), reference, price, fee and slippage (cash, positive).

    An inverse contract's quantity is face over price, fill by fill, while `position_table` has face over the close of the decision to enter.
    """
    legs = rule.legs
    names = [
        slot_contract(leg, pairs[p][slot]) if (leg := legs[slot]) is not None else ""
        for p, slot in zip(fills["pair"], fills["slot"], strict=True)
    ]
    return pd.DataFrame(
        {
            "time": instants(fill_times(market, records, fills)),
            "trade": fills["trade"],
            "slot": np.array(["long", "short"], dtype=object)[fills["slot"]],
            "instrument": np.array(names, dtype=object),
            "action": np.array(k.ACTIONS, dtype=object)[fills["action"]],
            **{name: fills[name] for name in ("quantity", "reference", "price", "fee", "slippage")},
        }
    )


def excursions(trades: Records, fills: Records, equity: Floats, open_trade: bool) -> tuple[Floats, Floats]:
    """The lowest and the highest PnL of each trade: at the closes from its first fill's bar on, before its last fill's bar, and its final one. [trade]

    trades: with their final PnL. equity: the account's, at every close. An open trade lives to the last close.
    """
    numbers = np.arange(len(trades))
    first = fills["bar"][np.searchsorted(fills["trade"], numbers, side="left")]
    end = fills["bar"][np.searchsorted(fills["trade"], numbers, side="right") - 1]
    if open_trade:
        end[-1] = len(equity)
    spans, padded = np.column_stack([first, end]).ravel(), np.append(equity, np.nan)  # a trade may end with the last bar
    pnl, entered, lived = trades["pnl"], trades["entry_equity"], end > first
    found = []
    for reduced in (np.minimum, np.maximum):
        at_closes = (reduced.reduceat(padded, spans)[::2] if len(spans) else np.empty(0)) - entered
        found.append(np.where(lived, reduced(at_closes, pnl), pnl))
    return found[0], found[1]


def trade_table(rule: Rule, pairs: Integers, log: "Log", equity: Floats, final_sources: Floats) -> pd.DataFrame:
    """One row a trade, as in the JSON of a run. Prices are reference prices; an open trade is marked at the last closes and has no exit.

    worst, best: the lowest and the highest PnL at the closes while it lived and at its end, so that worst ≤ pnl ≤ best. equity: at every close.
    """
    rows, open_trade = log.trades.copy(), bool(log.account["started"])
    if open_trade:
        for source, value in zip(k.SOURCES, final_sources, strict=True):
            rows[source][-1] += value
        rows["pnl"][-1] = equity[-1] - rows["entry_equity"][-1]
    worst, best = excursions(rows, log.fills, equity, open_trade)
    exited = pd.Series(instants(rows["exited"]))
    if open_trade:
        exited = exited.where(exited.index < len(rows) - 1)
    two = len([leg for leg in rule.legs if leg is not None]) == 2
    table = pd.DataFrame(
        {
            "entered_at": instants(rows["entered"]),
            "exited_at": exited,
            "side": rows["side"],
            "contract": np.array([contract_name(rule, pairs[p]) for p in rows["pair"]], dtype=object),
            "quantity": rows["quantity"],
            **{name: rows[name] for name in ("entry_long", "entry_short", "exit_long", "exit_short")},
            "settlement_price": rows["settlement_price"],
            "entry_premium": rows["entry_short"] / rows["entry_long"] - 1.0 if two else np.full(len(rows), np.nan),
            "exit_premium": rows["exit_short"] / rows["exit_long"] - 1.0 if two else np.full(len(rows), np.nan),
            "reason": np.array(k.REASONS, dtype=object)[rows["reason"]],
            "pnl": rows["pnl"],
            "worst": worst,
            "best": best,
        }
    )
    if open_trade:
        table.loc[table.index[-1], "exit_premium"] = np.nan
    attribution = [{source: float(row[source]) for source in k.SOURCES} for row in rows]
    return table.assign(attribution=pd.Series(attribution, index=table.index, dtype=object))
