"""Return statistics: small cases worked by hand, and vectorbt as a second opinion where its conventions are ours."""

import math
import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import START, perpetual, spot, times, traded

from backtest.metrics import (
    activity,
    daily_equity,
    excess_sharpe,
    hedged_share,
    max_drawdown,
    ratio,
    return_statistics,
    spot_beta,
    trade_statistics,
)

HOUR, DAY = pd.Timedelta(hours=1), pd.Timedelta(days=1)


def curve(values: Any, first: pd.Timestamp = START + DAY, freq: str = "D") -> pd.Series:
    """Equity at stamps."""
    return pd.Series(np.asarray(values, dtype=float), index=times(first, len(values), freq), name="equity")


def walk(count: int, freq: str, seed: int = 3, drift: float = 0.0) -> pd.Series:
    """A random equity curve of 100,000 from START on."""
    moves = np.random.default_rng(seed).normal(drift, 0.01, count)
    return curve(100_000 * np.exp(np.cumsum(moves)), START + pd.Timedelta(1, "D" if freq == "D" else "h"), freq)


# ---------------------------------------------------------------- daily equity


def test_a_day_has_the_equity_of_the_last_bar_stamped_up_to_its_midnight() -> None:
    """Hours 1…60: midnights at 24 and 48; the bar that ends at midnight belongs to the day before it, the twelve hours after to none."""
    daily = daily_equity(curve(np.arange(1.0, 61.0), START + HOUR, "h"), START, 1000.0)
    assert list(daily) == [1000.0, 24.0, 48.0]
    assert list(daily.index) == [START, START + DAY, START + 2 * DAY]


def test_a_start_inside_a_day_has_the_next_midnight_first() -> None:
    start = START + 20 * HOUR
    daily = daily_equity(curve(np.arange(1.0, 31.0), start + HOUR, "h"), start, 1000.0)
    assert list(daily) == [1000.0, 4.0, 28.0]
    assert list(daily.index) == [start, START + DAY, START + 2 * DAY]


def test_a_midnight_without_a_bar_has_the_last_one_before_and_capital_before_any() -> None:
    gone = pd.Series([7.0, 9.0], index=pd.DatetimeIndex([START + 30 * HOUR, START + 80 * HOUR]))
    assert list(daily_equity(gone, START, 1000.0)) == [1000.0, 1000.0, 7.0, 7.0]


def test_a_run_that_ends_at_midnight_has_that_day() -> None:
    assert list(daily_equity(curve(np.arange(1.0, 25.0), START + HOUR, "h"), START, 5.0)) == [5.0, 24.0]
    assert list(daily_equity(curve(np.arange(1.0, 24.0), START + HOUR, "h"), START, 5.0)) == [5.0]


# ---------------------------------------------------------------- by hand


def test_drawdown_is_from_the_running_peak_of_which_capital_is_the_first() -> None:
    assert max_drawdown(curve([110.0, 99.0, 120.0, 90.0, 130.0]), 100.0) == pytest.approx(0.25)  # 120 → 90
    assert max_drawdown(curve([80.0, 100.0]), 100.0) == pytest.approx(0.2), "below capital from the first bar on"
    assert max_drawdown(curve([100.0, 101.0]), 100.0) == 0.0
    assert max_drawdown(curve([100.0, -20.0]), 100.0) == pytest.approx(1.2), "equity can fall below nothing"


def test_statistics_of_four_days() -> None:
    """Capital 100; at the midnights 110, 99, 99, 108.9: returns 10 %, −10 %, 0, 10 %.

    mean 0.025; deviations 0.075, −0.125, −0.025, 0.075, squares sum to 0.0275: n−1 → 0.0957427; downside √(0.01/4) = 0.05.
    Annual: 1.089^(365/4) − 1.
    """
    found = return_statistics(curve([110.0, 99.0, 99.0, 108.9]), START, 100.0)
    deviation = math.sqrt(0.0275 / 3)
    assert found["total_return"] == pytest.approx(0.089)
    assert found["annual_return"] == pytest.approx(1.089 ** (365 / 4) - 1)
    assert found["annual_volatility"] == pytest.approx(deviation * math.sqrt(365))
    assert found["sharpe"] == pytest.approx(0.025 / deviation * math.sqrt(365))
    assert found["sortino"] == pytest.approx(0.025 / 0.05 * math.sqrt(365))
    assert found["max_drawdown"] == pytest.approx(0.1)
    assert found["calmar"] == pytest.approx((1.089 ** (365 / 4) - 1) / 0.1)


def test_the_excess_sharpe_ratio_is_over_idle_cash() -> None:
    """Capital 100; at the midnights 110, 99, 99, 108.9: returns 10 %, −10 %, 0, 10 %. Cash that earns 1 % of the first day's value a day is at 101, 102, 103, 104.

    Its returns: 1 %, 1/101, 1/102, 1/103; less these, 0.09, −0.10990099, −0.00980392, 0.09029126.
    """
    over = [0.09, -0.1 - 1 / 101, -1 / 102, 0.1 - 1 / 103]
    mean = sum(over) / 4
    deviation = math.sqrt(sum((one - mean) ** 2 for one in over) / 3)
    equity = curve([110.0, 99.0, 99.0, 108.9])
    found = excess_sharpe(equity, np.array([0.01, 0.02, 0.03, 0.04]), START, 100.0)
    assert found == pytest.approx(mean / deviation * math.sqrt(365))
    assert excess_sharpe(equity, np.zeros(4), START, 100.0) == pytest.approx(return_statistics(equity, START, 100.0)["sharpe"]), (
        "cash earns nothing"
    )
    assert math.isnan(excess_sharpe(curve([101.0, 102.0, 103.0]), np.array([0.01, 0.02, 0.03]), START, 100.0)), (
        "as much as cash is no skill"
    )
    assert math.isnan(excess_sharpe(curve([101.0]), np.array([0.0]), START, 100.0)), "one return has no deviation"


def test_what_cannot_be_said_is_nan() -> None:
    nothing = return_statistics(curve([101.0], START + HOUR, "h"), START, 100.0)
    assert nothing["total_return"] == pytest.approx(0.01)
    assert nothing["annual_return"] == pytest.approx(1.01 ** (365 * 24) - 1)
    for name in ("annual_volatility", "sharpe", "sortino", "calmar"):
        assert math.isnan(nothing[name]), name
    flat = return_statistics(curve([100.0] * 5), START, 100.0)
    assert (flat["total_return"], flat["annual_volatility"], flat["max_drawdown"]) == (0.0, 0.0, 0.0)
    assert all(math.isnan(flat[name]) for name in ("sharpe", "sortino", "calmar"))
    one_day = return_statistics(curve([101.0]), START, 100.0)
    assert math.isnan(one_day["sharpe"]), "one return has no deviation"


def test_ruin_is_minus_one_a_year() -> None:
    lost = return_statistics(curve([50.0, 0.0]), START, 100.0)
    assert (lost["total_return"], lost["annual_return"], lost["max_drawdown"]) == (-1.0, -1.0, 1.0)
    owed = return_statistics(curve([50.0, -20.0]), START, 100.0)  # without margin checks a loss has no floor, and no root
    assert (owed["total_return"], owed["annual_return"], owed["max_drawdown"]) == (-1.2, -1.0, 1.2)


def test_a_good_hour_is_beyond_all_numbers_by_the_year() -> None:
    found = return_statistics(curve([150.0], START + HOUR, "h"), START, 100.0)
    assert (found["total_return"], found["annual_return"]) == (0.5, math.inf)


def test_ratio_of_nothing_is_nan() -> None:
    assert ratio(1.0, 4.0) == 0.25
    assert all(math.isnan(ratio(1.0, by)) for by in (0.0, math.nan, math.inf))


def trades(*rows: tuple[str, str | None, float]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["entered_at", "exited_at", "pnl"])
    for name in ("entered_at", "exited_at"):
        table[name] = pd.to_datetime(table[name], utc=True, format="ISO8601")
    return table


def test_trades_count_the_open_one_and_average_the_closed_ones() -> None:
    """Closed: 2 days +5, 12 hours −1, 6 hours 0 (no winner): mean 2.75/3 days."""
    found = trade_statistics(
        trades(
            ("2024-03-01", "2024-03-03", 5.0),
            ("2024-03-04T00:00", "2024-03-04T12:00", -1.0),
            ("2024-03-05T00:00", "2024-03-05T06:00", 0.0),
            ("2024-03-06", None, 99.0),
        )
    )
    assert found["trades"] == 4
    assert found["win_rate"] == pytest.approx(1 / 3)
    assert found["avg_hold_days"] == pytest.approx(2.75 / 3)


@pytest.mark.parametrize("rows", [[], [("2024-03-06", None, 99.0)]])
def test_without_closed_trades_nothing_is_averaged(rows: list[Any]) -> None:
    found = trade_statistics(trades(*rows))
    assert found["trades"] == len(rows)
    assert math.isnan(found["win_rate"])
    assert math.isnan(found["avg_hold_days"])


def test_activity_weighs_bars_by_their_length() -> None:
    """Bars of 1, 2 and 1 quarter years, held in the second: half the time; 300 traded in a year at mean equity 150: twice."""
    found = activity(np.array([False, True, False]), np.array([0.25, 0.5, 0.25]), 300.0, pd.Series([100.0, 200.0, 150.0]))
    assert found == {"time_in_market": 0.5, "turnover": 2.0}


# ---------------------------------------------------------------- second opinion


def second_opinion(equity: pd.Series, start: pd.Timestamp, capital: float) -> dict[str, float]:
    """What vectorbt says of the daily returns, a year of 365 days."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import vectorbt  # noqa: F401  # registers the accessor

        daily = daily_equity(equity, start, capital)
        accessor = daily.pct_change().dropna().vbt.returns(freq="1D", year_freq="365 days")
        return {
            "total_return": float(accessor.total()),
            "annual_return": float(accessor.annualized()),
            "annual_volatility": float(accessor.annualized_volatility()),
            "sharpe": float(accessor.sharpe_ratio()),
            "sortino": float(accessor.sortino_ratio()),
            "calmar": float(accessor.calmar_ratio()),
            "max_drawdown": -float(accessor.max_drawdown()),
        }


@pytest.mark.parametrize(("count", "seed", "drift"), [(40, 1, 0.0), (365, 2, 0.002), (800, 3, -0.001)])
def test_vectorbt_agrees_on_whole_days_of_daily_bars(count: int, seed: int, drift: float) -> None:
    """Days, bars and returns coincide here, so that every statistic is the same one; their drawdown has the other sign."""
    equity = walk(count, "D", seed, drift)
    assert return_statistics(equity, START, 100_000.0) == pytest.approx(second_opinion(equity, START, 100_000.0), rel=1e-9)


def test_where_vectorbt_differs() -> None:
    """Hourly bars over 100 days and 7 hours: it sees the 100 whole days only, so it annualizes by them and misses drawdowns inside a day."""
    equity = walk(100 * 24 + 7, "h", 4)
    ours, theirs = return_statistics(equity, START, 100_000.0), second_opinion(equity, START, 100_000.0)
    for name in ("annual_volatility", "sharpe", "sortino"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-9), name
    assert ours["max_drawdown"] > theirs["max_drawdown"]
    assert ours["annual_return"] == pytest.approx((equity.iloc[-1] / 100_000) ** (365 / (100 + 7 / 24)) - 1)
    whole = daily_equity(equity, START, 100_000.0).iloc[-1]
    assert theirs["annual_return"] == pytest.approx((whole / 100_000) ** (365 / 100) - 1)
    assert ours["calmar"] == pytest.approx(ours["annual_return"] / ours["max_drawdown"])


def test_returns_are_those_between_midnights() -> None:
    """A naive loop over the calendar, with gaps and a start inside a day."""
    start = START + 5 * HOUR
    equity = walk(400, "h", 9).shift(freq=5 * HOUR).drop(index=times(START + 60 * HOUR, 30))
    values, midnight = [100_000.0], START + DAY
    while midnight <= equity.index[-1]:
        before = equity[equity.index <= midnight]
        values.append(float(before.iloc[-1]))
        midnight += DAY
    returns = [later / earlier - 1 for earlier, later in pairwise(values)]
    mean = sum(returns) / len(returns)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in returns) / (len(returns) - 1))
    downside = math.sqrt(sum(min(value, 0.0) ** 2 for value in returns) / len(returns))
    found = return_statistics(equity, start, 100_000.0)
    assert found["sharpe"] == pytest.approx(mean / deviation * math.sqrt(365))
    assert found["sortino"] == pytest.approx(mean / downside * math.sqrt(365))


# ---------------------------------------------------------------- delta-neutrality


def test_beta_to_spot_by_hand() -> None:
    """Spot 100, 110, 99, 99 at the midnights: +10 %, −10 %, 0. Equity +1 %, −2 %, +1 %: deviations 0.01, −0.02, 0.01; the slope is 0.003/0.02.

    The first day's spot return is not known, as no bar ends at the start; its loss of equity counts for nothing.
    """
    equity = curve([50.0, 50.5, 49.49, 49.9849])
    assert spot_beta(equity, START, 100.0, np.array([100.0, 110.0, 99.0, 99.0])) == pytest.approx(0.003 / 0.02)


def test_beta_is_that_of_a_least_squares_line() -> None:
    random = np.random.default_rng(8)
    spot = walk(24 * 60, "h", 5)
    equity = curve(
        1000.0 * np.exp(0.3 * np.log(spot.to_numpy() / 100_000.0) + np.cumsum(random.normal(0, 1e-3, len(spot)))), START + HOUR, "h"
    )
    midnights = pd.date_range(START + DAY, periods=60, freq="D")
    x, y = (series[midnights].pct_change().dropna().to_numpy() for series in (spot, equity))
    assert spot_beta(equity, START, 1000.0, spot.to_numpy()) == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-9)


def test_beta_of_holding_the_spot_is_one_and_of_cash_zero() -> None:
    spot = walk(24 * 30, "h", 6)
    assert spot_beta(2.0 * spot, START, 1.0, spot.to_numpy()) == pytest.approx(1.0)
    assert spot_beta(0.0 * spot + 5.0, START, 5.0, spot.to_numpy()) == pytest.approx(0.0)
    assert spot_beta(300_000.0 - spot, START, 200_000.0, spot.to_numpy()) < 0.0


def test_beta_of_too_few_days_or_a_spot_that_stands_still_is_nan() -> None:
    four, five = curve([100.0, 101.0, 102.0]), curve([100.0, 101.0, 102.0, 101.0])
    assert math.isnan(spot_beta(four, START, 100.0, np.array([10.0, 11.0, 12.0]))), "two days of spot returns"
    assert math.isfinite(spot_beta(five, START, 100.0, np.array([10.0, 11.0, 12.0, 11.0])))
    assert math.isnan(spot_beta(five, START, 100.0, np.full(4, 10.0)))
    assert math.isnan(spot_beta(five, START, 100.0, np.full(4, math.nan)))


def test_days_that_begin_with_nothing_left_or_without_a_spot_do_not_count() -> None:
    spot = np.array([10.0, 11.0, 12.0, 11.0, 13.0, 12.0])
    alive = [100.0, 101.0, 102.0, 101.0, 103.0, 102.0]
    assert spot_beta(curve([*alive, 0.0]), START, 100.0, np.array([*spot, 6.0])) > spot_beta(curve(alive), START, 100.0, spot)
    ruined = spot_beta(curve([*alive, 0.0, -50.0, 70.0]), START, 100.0, np.array([*spot, 6.0, 7.0, 8.0]))
    assert ruined == pytest.approx(spot_beta(curve([*alive, 0.0]), START, 100.0, np.array([*spot, 6.0])))
    late = spot_beta(curve([5.0, 500.0, *alive]), START, 100.0, np.array([math.nan, math.nan, *spot]))
    assert late == pytest.approx(spot_beta(curve(alive), START, 100.0, spot))


def test_hedged_share_counts_the_bars_with_a_position() -> None:
    """Flat, hedged, hedged the other way, half, one leg, both long; rounding of the last digits is none."""
    long, short = np.array([0.0, 2.0, -2.0, 2.0, 0.0, 1.0, 1e6]), np.array([0.0, -2.0, 2.0, -1.0, -1.0, 1.0, -1e6 * (1 + 5e-10)])
    assert hedged_share(long, short) == pytest.approx(3 / 6)
    assert hedged_share(np.array([1.0]), np.array([-1.0 - 2e-9])) == 0.0
    assert math.isnan(hedged_share(np.zeros(3), np.zeros(3)))


def rising(bars: int) -> list[float]:
    """Prices of which the first two, at which a position is decided and filled, are the same."""
    return [100.0, *(100.0 + 3.0 * (bar % 7) + bar for bar in range(bars - 1))]


def test_a_run_measures_itself_by_its_own_spot() -> None:
    prices = rising(24 * 6)
    hedged = traded(spot(prices), perpetual(prices)).metrics
    assert hedged["spot_beta"] == pytest.approx(0.0, abs=1e-12)
    assert hedged["hedged_share"] == 1.0
    naked = traded(spot(prices), size=1.0).metrics
    assert naked["spot_beta"] == pytest.approx(1.0)
    assert math.isnan(naked["hedged_share"]), "one leg"
    other = {"OTHER": spot(prices[::-1])}
    assert traded(spot(prices), others=other, size=1.0).metrics["spot_beta"] == pytest.approx(1.0), "the own one of several"


def test_a_run_without_a_spot_takes_the_only_one_of_its_asset() -> None:
    prices = rising(24 * 6)
    short = {"short": perpetual(prices), "size": 0.5}
    assert traded(**short, others={"S": spot(prices)}).metrics["spot_beta"] < -0.3
    assert math.isnan(traded(**short).metrics["spot_beta"])
    assert math.isnan(traded(**short, others={"S": spot(prices, base="BTC")}).metrics["spot_beta"])
    assert math.isnan(traded(**short, others={"S": spot(prices), "T": spot(prices)}).metrics["spot_beta"])


def test_inverse_contracts_have_no_quantity_to_compare() -> None:
    prices = rising(24 * 6)
    assert math.isnan(traded(spot(prices), perpetual(prices, face=1.0)).metrics["hedged_share"])


def test_a_leg_that_fills_later_leaves_bars_unhedged() -> None:
    """The perpetual's second bar is missing: it fills one bar after the spot; 20 bars with a position, one of them of the spot alone."""
    prices, holes = rising(22), rising(22)
    holes[1] = math.nan
    found = traded(spot(prices), perpetual(holes))
    assert (found.positions["contract"] != "").sum() == 21
    assert found.metrics["hedged_share"] == pytest.approx(20 / 21)
