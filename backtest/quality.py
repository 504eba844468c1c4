"""What the data of a run's instruments hold, and what they lack: a hole in the bars, a close too old to meet another, a payment that nobody recorded.

Loading refuses what can't be trusted; this table says how good the rest is, instrument by instrument, over the run.

    result.quality[["bars", "expected", "longest_hole", "missing_payments"]]
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.data.validate import bar_step
from backtest.instruments import Kind
from backtest.market import Market, nanoseconds
from backtest.rule import Rule

COLUMNS = ("kind", "start", "end", "bars", "expected", "longest_hole", "stale", "payments", "missing_payments", "quoted", "marked")
QUOTES = (("bid", "ask"),)
MARKS = (("mark",), ("mark_high", "mark_low"))  # either will do

Bools = npt.NDArray[np.bool_]


def table(market: Market, rules: Sequence[Rule]) -> pd.DataFrame:
    """A row an instrument of the rules' legs, in the order of the legs and of expiry.

    start, end: stamps of its first and last bar (a bar is one with a close). expected: ticks of the market's clock from its first bar to its expiry or the run's
    end. longest_hole: the longest time from one of its bars to the next, or from the last to its expiry or the run's end, where that is longer than its usual bar;
    0 if none is. stale: of the expected bars those at which its close is too old to meet others. payments, missing_payments: funding events that the data
    have and lack from its first bar to its last; 0 but for perpetuals. quoted, marked: shares of its bars with bid and ask, and with a mark price; fractions, NaN
    without bars.
    """
    names = dict.fromkeys(name for rule in rules for leg in rule.legs if leg is not None for name in leg.contracts)
    rows = {name: row_of(market, name) for name in names}
    return pd.DataFrame(list(rows.values()), index=pd.Index(list(rows), name="instrument"), columns=list(COLUMNS))


def row_of(market: Market, name: str) -> dict[str, Any]:
    """One instrument's row."""
    life, known = market.life(name), ~np.isnan(market.lived(name, "close"))
    stamps = market.clock[life][known]
    there, missing = payments(market, name) if market.instruments[name].kind is Kind.PERPETUAL else (0, 0)
    return {
        "kind": str(market.instruments[name].kind),
        "start": stamps[0] if len(stamps) else pd.NaT,
        "end": stamps[-1] if len(stamps) else pd.NaT,
        "bars": len(stamps),
        "expected": life.stop - life.start,
        "longest_hole": longest_hole(market, name, stamps),
        "stale": int(np.isnan(market.fresh(name)).sum()),
        "payments": there,
        "missing_payments": missing,
        "quoted": share(market, name, known, QUOTES),
        "marked": share(market, name, known, MARKS),
    }


def longest_hole(market: Market, name: str, stamps: pd.DatetimeIndex) -> pd.Timedelta:
    """The longest distance between two of an instrument's bars, or from the last one to its end, that is longer than usual; 0 for none."""
    expiry, last = market.instruments[name].expires_at, market.clock[-1]
    end = last if expiry is None else min(expiry, last)
    apart = np.diff(np.append(nanoseconds(stamps), end.as_unit("ns").value))
    usual = bar_step(stamps)
    longest = int(apart.max()) if len(stamps) else 0
    return pd.Timedelta(longest if longest > (market.step if usual is None else usual.value) else 0)


def payments(market: Market, name: str) -> tuple[int, int]:
    """How many funding events of a perpetual the data have and lack, from its first bar to its last."""
    times, missing = market.funding(name).times, market.missing_funding(name)
    begin = max(int(market.stamps[market.first_bar(name)]) - market.step, market.start)
    end = int(market.stamps[market.last_bar(name)])
    return int(((times > begin) & (times <= end)).sum()), len(missing)


def share(market: Market, name: str, known: Bools, ways: Sequence[Sequence[str]]) -> float:
    """The share of an instrument's bars that have all columns of one of some ways; NaN without bars."""
    there = np.zeros(len(known), bool)
    for columns in ways:
        if all(market.has(name, column) for column in columns):
            there |= ~np.isnan([market.lived(name, column) for column in columns]).any(axis=0)
    return float(there[known].mean()) if known.any() else np.nan
