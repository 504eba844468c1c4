"""Many combinations of the task's thresholds: the grids, who runs them, and whether they agree.

The limit is what a programmer would write for this rule and nothing else: one pass a combination, which looks at nothing but the premium while it is flat and
keeps final equity, trades, drawdown and the squares of profits. It takes equity before it acts, so that it pays costs one bar later, as fills at the next
open do: loop and scan then agree in every figure. The scan gives daily equity and all other statistics beside.

    laid = Laid(data)
    part = laid.part(peers_grid())
    part.work()
"""

from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pandas as pd
import task
from contenders import minutes, portfolio_of, prepared_run, vectorbt_frame
from task import Data, Floats

import backtest as bt
from backtest.joint import join
from backtest.scan import STATISTICS, Part, Table, is_plain
from backtest.summaries import Calendar, sums_of

DAY = 1_440
BASIS_POINT = 1e-4
FINAL, DRAWDOWN, SQUARES, TRADES = range(4)  # columns of what the loop keeps
KEPT = ("final_equity", "max_drawdown", "sum_of_squares", "trades")  # what the package calls them


@dataclass(frozen=True, kw_only=True)
class Carry(bt.Strategy):
    """The task with thresholds that vary."""

    enter: float = bt.param(task.ENTER, "premium from which to enter")
    exit: float = bt.param(task.EXIT, "premium at which to leave")
    hold: int = bt.param(task.LONGEST_HOLD, "bars that a hold must not exceed")

    def rule(self, market: bt.Market) -> bt.Rule:
        """The task's rule."""
        return replace(task.rule(market), enter=self.enter, exit=self.exit, max_hold=pd.Timedelta((self.hold + 1) * task.MINUTE, "ns"))


# ---------------------------------------------------------------- grids: rows of enter, exit (fractions) and longest hold (bars)


def product(enter: Any, leave: Any, hold: Any) -> Floats:
    """Every combination; thresholds in basis points."""
    return np.array([(a * BASIS_POINT, b * BASIS_POINT, c) for a in enter for b in leave for c in hold])


def peers_grid(sides: tuple[int, int, int] = (10, 10, 10)) -> Floats:
    """The grid of the peers: 1,000 points that all trade often."""
    count, fewer, holds = sides
    return product(np.linspace(6, 15, count), np.linspace(-4, 4, fewer), np.round(np.linspace(DAY, 14 * DAY, holds)))


def wide_grid(enter: int = 20, leave: int = 20, holds: tuple[int, ...] = (3 * DAY, 14 * DAY, 60 * DAY)) -> Floats:
    """The grid of somebody who doesn't know yet: 1,200 points from thresholds that are met daily to those that are hardly ever met."""
    return product(np.linspace(6, 40, enter), np.linspace(-20, 5, leave), holds)


# ---------------------------------------------------------------- the limit


@numba.njit(error_model="numpy", nogil=True)
def loops(spot: Floats, perpetual: Floats, premium: Floats, rate: Floats, grid: Floats, unit: float, fraction: float, out: Floats) -> None:
    """One pass a combination. Size: unit + fraction of cash, of which one is 0; drawdown as a fraction of the highest equity so far."""
    last = spot.shape[0] - 1
    for c in range(grid.shape[0]):
        enter, leave, longest = grid[c, 0], grid[c, 1], int(grid[c, 2])
        cash, quantity, since, trades = task.CAPITAL, 0.0, 0, 0
        before, peak, drawdown, squares = cash, cash, 0.0, 0.0
        for t in range(last + 1):
            if quantity == 0.0:
                if not premium[t] >= enter or t == last:
                    continue
                long, short = spot[t], perpetual[t]
                quantity = (unit + fraction * cash) / long
                since = t
                trades += 1
                bought, sold = long * (1.0 + task.HALF_SPREAD), short * (1.0 - task.HALF_SPREAD)
                cash += quantity * (sold - bought) - task.FEE * quantity * (sold + bought)
                continue
            long, short = spot[t], perpetual[t]
            if t % task.FUNDING_EVERY == 0:
                cash += quantity * short * rate[t]
            equity = cash + quantity * (long - short)
            change = equity - before
            squares += change * change
            before = equity
            if equity > peak:
                peak = equity
            elif peak - equity > drawdown * peak:
                drawdown = (peak - equity) / peak
            if (premium[t] <= leave or t - since > longest) and t < last:
                sold, bought = long * (1.0 - task.HALF_SPREAD), short * (1.0 + task.HALF_SPREAD)
                cash += quantity * (sold - bought) - task.FEE * quantity * (sold + bought)
                quantity = 0.0
                change = cash - before  # equity of the next bar, whatever it brings
                squares += change * change
                before = cash
                if peak - cash > drawdown * peak:
                    drawdown = (peak - cash) / peak
        out[c, FINAL], out[c, DRAWDOWN], out[c, SQUARES], out[c, TRADES] = before, drawdown, squares, trades


def looped(data: Data, grid: Floats, *, unit: float = 0.0, fraction: float = 0.0) -> Floats:
    """What the loop finds of each combination. [combination, KEPT]"""
    out = np.empty((len(grid), len(KEPT)))
    loops(data.spot, data.perpetual, data.premium, data.rate, grid, unit, fraction, out)
    return out


# ---------------------------------------------------------------- the package


class Laid:
    """The task laid out for the scan: what all combinations share, made once."""

    def __init__(self, data: Data) -> None:
        self.market = task.build_market(data)
        self.prepared = prepared_run(self.market)
        self.joint = join([self.prepared])
        self.calendar = Calendar.of(self.market, 0, len(self.market))
        self.sums = sums_of(self.prepared)._replace(days=self.calendar.bars)

    def part(self, grid: Floats) -> Part:
        """Combinations that have not been scanned yet."""
        rules = np.repeat(self.joint.rules, len(grid))
        rules["enter"], rules["exit"] = grid[:, 0], grid[:, 1]
        rules["max_hold"] = ((grid[:, 2] + 1) * task.MINUTE).astype(np.int64)
        return Part(self.joint, self.sums, rules, self._table(0), is_plain(self.prepared))

    def statistics(self, part: Part) -> pd.DataFrame:
        """The table of a part that has been scanned."""
        table = self._table(len(part.rules))
        part.report(self.prepared, range(len(part.rules)), table)
        return pd.DataFrame(table.values, columns=list(STATISTICS))

    def _table(self, count: int) -> Table:
        return Table.empty(count, self.calendar, task.CAPITAL, 0)


def parameters(grid: Floats) -> list[dict[str, float | int]]:
    """A grid as `Grid.run` takes it, for `Carry`."""
    return [{"enter": float(enter), "exit": float(leave), "hold": int(hold)} for enter, leave, hold in grid]


# ---------------------------------------------------------------- vectorbt


class Vectorbt:
    """One portfolio a combination, which is faster than several in one: its prices are made once, its drawdown is a pass over its equity."""

    def __init__(self, data: Data, engine: str) -> None:
        self.data, self.engine, self.close = data, engine, vectorbt_frame(data, minutes(len(data)))

    def statistics(self, grid: Floats) -> Floats:
        """Final equity, drawdown, squares and trades. [combination, KEPT]"""
        out = np.empty((len(grid), len(KEPT)))
        for row, (enter, leave, hold) in enumerate(grid):
            found = portfolio_of(self.close, self.data, (enter, leave, hold), self.engine)
            equity = np.asarray(found.equity)
            out[row] = equity[-1], np.max(1.0 - equity / np.maximum.accumulate(equity)), np.sum(np.diff(equity) ** 2), found.trades
        return out


# ---------------------------------------------------------------- do they agree


def difference(found: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """The largest difference, as a fraction of what is expected where that is above one."""
    mine, other = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    return float(np.max(np.abs(mine - other) / np.maximum(np.abs(other), 1.0), initial=0.0))
