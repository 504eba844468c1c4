"""What the scan reads beside the tapes, and what its results are in a reader's terms.

Sums of all bars before a position make the squares and the mean of equity over any stretch a difference; extremes of blocks say where a new peak or a larger
drawdown can't be. Statistics of many curves are those of `metrics`, computed for all of them at once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from backtest import kernels as k
from backtest import ledger, metrics
from backtest.market import Floats, Integers, Market
from backtest.result import Prepared
from backtest.tapes import Records

ROWS = 256  # combinations at a time


@dataclass(frozen=True, eq=False)
class Calendar:
    """The bars that are scanned, and the days at whose ends equity is kept.

    days: the start, then each midnight UTC in (start, end]; bars: the last bar at or before each, −1 where the scan has none yet, `before` of them.
    """

    market: Market
    first: int
    final: int
    days: pd.DatetimeIndex
    bars: Integers
    before: int

    @classmethod
    def of(cls, market: Market, first: int, final: int) -> "Calendar":
        """The calendar of bars [first, final)."""
        opened = market.start if first == 0 else int(market.stamps[first - 1])
        start, end = pd.Timestamp(opened, tz="UTC"), market.clock[final - 1]
        midnights = pd.date_range(start.floor("D") + pd.Timedelta(days=1), end, freq="D")
        place = market.clock.searchsorted(midnights, side="right") - 1
        bars = np.concatenate([[-1], np.where(place >= first, place, -1)]).astype(np.int64)
        return cls(market, first, final, pd.DatetimeIndex([start, *midnights]), bars, int((bars < 0).sum()))

    @property
    def opened(self) -> int:
        """When the market's first bar begins."""
        return self.market.start

    @property
    def years(self) -> Floats:
        """The length of each bar. [bar]"""
        out: Floats = self.market.years[self.first : self.final]
        return out

    @property
    def span(self) -> float:
        """The days from the start to the last bar's end."""
        return float((self.market.clock[self.final - 1] - self.days[0]) / pd.Timedelta(days=1))


# ---------------------------------------------------------------- sums and blocks


def sums_of(prepared: Prepared) -> k.Sums:
    """What `kernels.scan` reads beside a prepared rule's tapes; no days yet."""
    tapes, record = prepared.tapes, prepared.rule_record
    size = len(tapes.pair_index)
    small, large, index = blocks(size, k.SMALL), blocks(size, k.LARGE), np.zeros(size + 1, k.SUMS)
    slot = "long" if record["first_slot"] == k.LONG_SLOT else "short"
    closes = (tapes.long if slot == "long" else tapes.short)[k.CLOSE]
    close_small, close_large = blocks(len(closes), k.SMALL), blocks(len(closes), k.LARGE)
    for behind in {0, int(record["index_minus"])}:
        for pair in tapes.pairs:
            k.summarise(
                tapes.pair_index, int(pair["first"]), int(pair["last"]), int(pair["start"]) + behind, tapes.rates, small, large, index
            )
    for level, bars in ((close_small, k.SMALL), (close_large, k.LARGE)):
        extremes(closes, level, bars)
    steps = np.diff(tapes.rates)
    return k.Sums(
        small=small,
        large=large,
        close_small=close_small,
        close_large=close_large,
        pair_sums=index,
        money=money_sums(tapes.rates, prepared.market.years),
        rising=np.all(steps >= 0.0, axis=1),
        days=np.zeros(0, np.int64),
    )


def money_sums(rates: Floats, years: Floats) -> Records:
    """MONEY of the rates' indices. [bar + 1]"""
    out = np.zeros(len(years) + 1, k.MONEY)
    for name, row in (("borrow", k.BORROW), ("idle", k.IDLE)):
        out[f"{name}_squares"][1:] = np.cumsum(np.diff(rates[row]) ** 2)
        out[f"{name}_values"][1:] = np.cumsum(rates[row, 1:])
    out["years"][1:] = np.cumsum(years)
    return out


def blocks(size: int, bars: int) -> Records:
    """Blocks of so many bars before their first value."""
    out = np.zeros(-(-size // bars), k.BLOCK)
    out["low"], out["high"] = np.inf, -np.inf
    return out


def extremes(values: Floats, out: Records, bars: int) -> None:
    """Extremes of each block; the last one may be shorter."""
    edges = np.arange(0, len(values), bars)
    out["low"], out["high"] = np.fmin.reduceat(values, edges), np.fmax.reduceat(values, edges)


# ---------------------------------------------------------------- statistics of many curves


def daily_statistics(daily: Floats, final: Floats, drawdown: Floats, capital: float, span: float) -> dict[str, Floats]:
    """As `metrics.return_statistics` of each row. daily: [combination, day]; span: days from the start to the end."""
    mean, deviation, downside = in_parts(moments, daily)
    annual = np.array([metrics.compounded(one / capital, metrics.DAYS / span) - 1.0 if one > 0.0 else -1.0 for one in final.tolist()])
    root = math.sqrt(metrics.DAYS)
    return {
        "total_return": final / capital - 1.0,
        "annual_return": annual,
        "annual_volatility": deviation * root,
        "sharpe": ratios(mean, deviation) * root,
        "sortino": ratios(mean, downside) * root,
        "calmar": ratios(annual, drawdown),
        "max_drawdown": drawdown,
    }


def moments(daily: Floats) -> Floats:
    """Mean, deviation (n − 1) and root mean square of the negative ones of each row's daily returns; what is no number does not count. [3, combination]"""
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = daily[:, 1:] / daily[:, :-1] - 1.0
        count = (~np.isnan(returns)).sum(axis=1)
        returns[np.isnan(returns)] = 0.0
        mean = returns.sum(axis=1) / count
        downside = np.sqrt((np.minimum(returns, 0.0) ** 2).sum(axis=1) / count)
        moved = returns.any(axis=1)
        returns -= mean[:, None]
        deviation = np.sqrt(((returns**2).sum(axis=1) - (returns.shape[1] - count) * mean**2) / (count - 1))
    return np.array([mean, np.where(count > 1, np.where(moved, deviation, 0.0), np.nan), downside])


def in_parts(function: Callable[[Floats], Floats], daily: Floats) -> Floats:
    """A function of some rows, of all of them: some at a time, so that what it needs meanwhile is small. [..., combination]"""
    return np.concatenate([function(daily[begin : begin + ROWS]) for begin in range(0, max(len(daily), 1), ROWS)], axis=-1)


def ratios(values: Floats, by: Floats) -> Floats:
    """As `metrics.ratio` of each."""
    told = (by != 0.0) & np.isfinite(by)
    out: Floats = np.divide(values, by, out=np.full(len(values), np.nan), where=told)
    return out


def excess_sharpes(daily: Floats, idle: Floats) -> Floats:
    """As `metrics.excess_sharpe` of each row. idle: equity of an account that never trades. [day]"""
    return in_parts(lambda rows: metrics.excess_sharpes(rows, idle), daily)


def spot_betas(daily: Floats, spot: Floats) -> Floats:
    """As `metrics.spot_beta` of each row. spot: its last known close at each of the days. [day]"""
    return in_parts(lambda rows: _spot_betas(rows, spot), daily)


def _spot_betas(daily: Floats, spot: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        gains, moves = np.diff(daily) / daily[:, :-1], np.diff(spot) / spot[:-1]
    told = np.isfinite(gains) & np.isfinite(moves) & (daily[:, :-1] > 0.0)
    count = told.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.where(told, moves, 0.0)
        centred = np.where(told, moves - (moved.sum(axis=1) / count)[:, None], 0.0)
        gained = np.where(told, gains, 0.0)
        earned = np.where(told, gained - (gained.sum(axis=1) / count)[:, None], 0.0)
    slopes = ratios((centred * earned).sum(axis=1), (centred**2).sum(axis=1))
    out: Floats = np.where(count >= metrics.FEWEST_DAYS, slopes, np.nan)
    return out


def last_sources(prepared: Prepared, rows: Records, bar: int) -> Floats:
    """Cumulated cash of every source at a close, from the ledger's rows in force there: as `kernels.fill_sources`. [combination, source]"""
    tapes, terms = prepared.tapes, prepared.terms[0]
    out = np.array([rows[name] for name in k.SOURCES]).T
    interest = rows["balance"] * (np.where(rows["borrowing"] != 0, *tapes.rates[:, bar + 1]) - rows["rate_reference"])
    out[:, k.FINANCING_ROW] += np.where(rows["borrowing"] != 0, interest, 0.0)
    out[:, k.IDLE_CASH_ROW] += np.where(rows["borrowing"] != 0, 0.0, interest)
    coin = tapes.coin[k.COIN_CLOSE, min(bar, tapes.coin.shape[1] - 1)]
    values, pairs = ledger.unit_values(tapes, terms["inverse"] != 0), tapes.pairs[rows["pair"]]
    for slot, (name, prices, tape) in enumerate(zip(("long", "short"), values, (tapes.long, tapes.short), strict=True)):
        quantity = rows[f"{name}_quantity"]
        place = np.minimum(pairs[f"{name}_start"] + np.minimum(bar, pairs[f"{name}_last"]), len(prices) - 1)
        gain = quantity * (prices[place] - rows[f"{name}_reference"]) + rows[f"{name}_coins"] * (coin - rows["coin_reference"])
        gain, share = np.where(quantity != 0.0, gain, 0.0), rows[f"{name}_share"]
        out[:, slot] += share * gain
        out[:, k.LEGGING_ROW] += (1.0 - share) * gain
        accrual = np.where(quantity > 0.0, tape[k.ACCRUAL_LONG, place], tape[k.ACCRUAL_SHORT, place])
        amount = np.where(quantity != 0.0, quantity * (accrual - rows[f"{name}_accrual"]), 0.0)
        if terms[slot]["derivative"]:
            out[:, k.FUNDING_ROW] += amount
        else:
            out[:, k.STAKING_ROW] += np.where(quantity > 0.0, amount, 0.0)
            out[:, k.BORROW_ROW] += np.where(quantity > 0.0, 0.0, amount)
    return out


def days_spot(market: Market, name: str, calendar: Calendar) -> Floats:
    """A spot's last known close at each of the days, NaN at the start and before its first bar. [day]"""
    known: Any = market.last_known(name)
    return np.where(calendar.bars >= 0, known[np.maximum(calendar.bars, 0)], np.nan)
