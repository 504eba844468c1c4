"""Return statistics of an equity curve and its trades.

Daily equity is that of the last bar stamped at or before each midnight UTC; the first value is the capital. A year is 365 days; rates of return are
not in excess of anything, but for the excess Sharpe ratio, which is over what idle cash earns. Formulas are the field's usual ones (Sharpe with n − 1; Sortino with the root mean square of negative returns, n;
Calmar = annual return over maximum drawdown); the tests compare them with vectorbt's.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
DAYS = 365
RANKED = "excess_sharpe"  # the statistic that tells the best of many: what idle cash earns is no skill
QUIET = 1e-6  # returns whose deviation is less of their mean than that are constant
NOTHING = 1e-12  # a daily deviation less than that is rounding
FEWEST_DAYS = 3  # with which a slope is told
EQUAL = 1e-9  # two quantities apart by no more of the larger are one


def daily_equity(equity: pd.Series, start: pd.Timestamp, capital: float) -> pd.Series:
    """Equity at each midnight UTC in (start, end], the capital at the start first."""
    midnights = pd.date_range(start.floor("D") + pd.Timedelta(days=1), equity.index[-1], freq="D")
    place = equity.index.searchsorted(midnights, side="right") - 1
    values = np.where(place >= 0, equity.to_numpy()[np.maximum(place, 0)], capital)
    return pd.Series(np.concatenate([[capital], values]), index=pd.DatetimeIndex([start]).append(midnights), name="equity")


def max_drawdown(equity: pd.Series, capital: float) -> float:
    """Largest fall from the running peak as a fraction of it, over bar closes; at least 0."""
    values = np.concatenate([[capital], equity.to_numpy()])
    peak = np.maximum.accumulate(values)
    return float(np.max((peak - values) / peak))


def ratio(value: float, by: float) -> float:
    """value/by, NaN where by is 0 or nothing can be said."""
    return value / by if by and math.isfinite(by) else math.nan


def compounded(growth: float, times: float) -> float:
    """Growth so many times over; infinite where that is beyond all numbers, as a good hour is by the year."""
    try:
        return float(growth**times)
    except OverflowError:
        return math.inf


def return_statistics(equity: pd.Series, start: pd.Timestamp, capital: float) -> dict[str, float]:
    """Total and annual return, volatility, Sharpe, Sortino, Calmar, maximum drawdown. NaN where the run is too short."""
    daily = daily_equity(equity, start, capital)
    returns = daily.pct_change().dropna().to_numpy()
    days = (equity.index[-1] - start) / pd.Timedelta(days=1)
    final = float(equity.iloc[-1])
    annual = compounded(final / capital, DAYS / days) - 1.0 if final > 0.0 else -1.0
    deviation = float(np.std(returns, ddof=1)) if len(returns) > 1 else math.nan
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2))) if len(returns) else math.nan
    mean = float(np.mean(returns)) if len(returns) else math.nan
    drawdown = max_drawdown(equity, capital)
    return {
        "total_return": final / capital - 1.0,
        "annual_return": annual,
        "annual_volatility": deviation * math.sqrt(DAYS),
        "sharpe": ratio(mean, deviation) * math.sqrt(DAYS),
        "sortino": ratio(mean, downside) * math.sqrt(DAYS),
        "calmar": ratio(annual, drawdown),
        "max_drawdown": drawdown,
    }


def returns_of(equity: Floats) -> Floats:
    """Daily returns [combination, day] of daily equity; 0 once nothing is left."""
    before = equity[:, :-1]
    left = before > 0.0
    if left.all():
        return np.diff(equity, axis=1) / before
    return np.divide(np.diff(equity, axis=1), before, out=np.zeros_like(before), where=np.logical_and.accumulate(left, axis=1))


class Idle(NamedTuple):
    """What cash earns while nothing is done: daily returns, and how far off a return is nothing either."""

    returns: Floats
    near: Floats

    def taken_from(self, returns: Floats) -> Floats:
        """Returns less those of idle cash, in their own array; a difference that is near nothing is none. [..., day]"""
        returns -= self.returns
        returns[np.abs(returns) <= self.near] = 0.0
        return returns


def idle_returns(equity: Floats) -> Idle:
    """Returns of idle cash.

    Interest is credited at fills and doesn't compound between them, so that the return on equity falls as interest mounts up. An account that once traded
    has had interest on interest since: a lead that is nearly the same every day, which would be a Sharpe ratio without end. As much is nothing.
    """
    returns = returns_of(equity[None, :])[0]
    return Idle(returns, np.abs(returns * (equity[:-1] / equity[0] - 1.0)) + NOTHING)


def excess_sharpes(daily: Floats, idle: Floats) -> Floats:
    """Annualized Sharpe ratio of daily returns over those of idle cash; NaN where they don't move. daily: [combination, day], idle: [day]"""
    if daily.shape[1] < 3:
        return np.full(len(daily), math.nan)
    returns = returns_of(daily)
    if np.diff(idle).any():
        returns = idle_returns(idle).taken_from(returns)
    mean, deviation = returns.mean(axis=1), returns.std(axis=1, ddof=1)
    moves = deviation > np.maximum(NOTHING, QUIET * np.abs(mean))
    out: Floats = np.divide(mean, deviation, out=np.full(len(daily), math.nan), where=moves)
    return out * math.sqrt(DAYS)


def excess_sharpe(equity: pd.Series, idle: Floats, start: pd.Timestamp, capital: float) -> float:
    """Annualized Sharpe ratio of daily returns over those of idle cash; NaN where they don't move. idle: what it has earned at each close for each unit [bar]"""
    beside = daily_equity(pd.Series(1.0 + idle, index=equity.index), start, 1.0).to_numpy()
    return float(excess_sharpes(daily_equity(equity, start, capital).to_numpy()[None, :], beside)[0])


def trade_statistics(trades: pd.DataFrame) -> dict[str, float]:
    """Count of trades (an open one included); share of winners and mean holding days of the closed ones, NaN without any."""
    closed = trades[trades["exited_at"].notna()]
    held = (closed["exited_at"] - closed["entered_at"]).dt.total_seconds() / 86_400
    return {
        "trades": len(trades),
        "win_rate": float((closed["pnl"] > 0.0).mean()) if len(closed) else math.nan,
        "avg_hold_days": float(held.mean()) if len(closed) else math.nan,
    }


def activity(held: npt.NDArray[np.bool_], years: Floats, traded: float, equity: pd.Series) -> dict[str, float]:
    """Share of the time with a position at the close, and the notional traded a year over mean equity."""
    span = float(years.sum())
    return {"time_in_market": float(years[held].sum() / span), "turnover": ratio(traded, float(equity.mean()) * span)}


def spot_beta(equity: pd.Series, start: pd.Timestamp, capital: float, spot: Floats) -> float:
    """Slope of the daily return of equity on the spot's, days from midnight to midnight UTC; NaN with fewer than three of them.

    spot: its last known close at each bar's end, NaN before the first. A day that begins before the first bar's end has no spot return, one that begins
    with nothing left or less no return of equity: neither counts. Least squares with an intercept.
    """
    midnights = daily_equity(equity, start, capital).to_numpy()
    prices = daily_equity(pd.Series(spot, index=equity.index), start, math.nan).to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        gains, moves = np.diff(midnights) / midnights[:-1], np.diff(prices) / prices[:-1]
    told = np.isfinite(gains) & np.isfinite(moves) & (midnights[:-1] > 0.0)
    if told.sum() < FEWEST_DAYS:
        return math.nan
    moves = moves[told] - moves[told].mean()
    return ratio(float(moves @ (gains[told] - gains[told].mean())), float(moves @ moves))


def hedged_share(long: Floats, short: Floats) -> float:
    """Share of the bars with a position at whose close both legs hold the same base quantity, one long and one short; NaN without any. [bar]"""
    larger = np.maximum(np.abs(long), np.abs(short))
    held = larger > 0.0
    return ratio(float((np.abs(long + short)[held] <= EQUAL * larger[held]).sum()), float(held.sum()))
