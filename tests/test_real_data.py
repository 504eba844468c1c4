"""The real hourly set as a market: its curve, and that nothing done up to a time depends on what came after it."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from real_sums import EXPIRIES, hourly_bars, strategy

import backtest as bt
from backtest.data.store import open_dataset, write_dataset

pytest_plugins = ["real_sets"]

MEAN_PREMIUM = {
    "230929": 3.41, "231229": 5.99, "240329": 11.95, "240628": 14.67, "240927": 11.08, "241227": 10.93, "250328": 10.57, "250627": 9.71,
}  # fmt: skip
CUTS = (
    "2023-12-27T16:00Z",  # an entry was decided at this close
    "2024-01-10T05:00Z",  # in a trade
    "2024-03-29T08:00Z",  # a contract settles
    "2024-10-28T22:00Z",  # the bar whose closes are stale
)
STRATEGIES: dict[str, dict[str, Any]] = {
    "to settlement": {"name": "cash_and_carry", "exit": None},
    "defaults": {"name": "cash_and_carry"},
    "always in the perpetual": {"name": "funding_carry", "enter": None, "exit": None},
    "the perpetual by its funding": {"name": "funding_carry", "enter": 0.09, "exit": 0.05},
}
FUNDED = "2025-03-11T07:00Z"  # funding is known up to here


@pytest.fixture(scope="module")
def run(rates_set: Path) -> Callable[[str, str], bt.Result]:
    """A strategy over the hourly set with T-bill, up to a time."""
    markets = cache(lambda end: bt.load_market(str(rates_set), end=end))
    return cache(lambda name, end: bt.run(strategy(**STRATEGIES[name]), markets(end)))


@pytest.fixture(scope="module")
def market(hourly_set: Path) -> bt.Market:
    return bt.load_market(str(hourly_set))


def test_the_mean_annualized_premium_of_each_contract(market: bt.Market) -> None:
    """Over the bars with more than 7 days to expiry: 3.41, 5.99, 11.95, 14.67, 11.08, 10.93, 10.57 and 9.71% a year."""
    chain = market.future_chain()
    values, days = bt.annualized_premium(market, chain), bt.days_to_expiry(market, chain)
    means = {name[-6:]: 100 * np.nanmean(row[left > 7]) for name, row, left in zip(chain.contracts, values, days, strict=True)}
    assert means == pytest.approx(MEAN_PREMIUM, abs=0.01)


def test_the_curve_equals_the_raw_closes(market: bt.Market, raw: Path) -> None:
    """Premium and annualized premium of every contract and hour; NaN where it has no bar, annualized also below one day; D ends at 0, never below."""
    chain = market.future_chain()
    spot = hourly_bars(raw, "SPOT")["close"].reindex(market.clock)
    for row, name in enumerate(chain.contracts):
        close = hourly_bars(raw, name)["close"].reindex(market.clock)
        days = (EXPIRIES[name[-6:]] - market.clock) / pd.Timedelta("1D")
        premium = (close / spot - 1).to_numpy()
        assert np.allclose(bt.premium(market, chain)[row], premium, rtol=0, atol=1e-15, equal_nan=True)
        assert np.array_equal(bt.days_to_expiry(market, chain)[row], np.where(days >= 0, days, np.nan), equal_nan=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            annualized = np.where(days >= 1, premium * 365 / days, np.nan)
        assert np.allclose(bt.annualized_premium(market, chain)[row], annualized, rtol=0, atol=1e-13, equal_nan=True)
    assert np.isnan(bt.premium(market, chain)).mean() > 0.7  # two contracts of eight are alive at a time


def test_the_market_is_whole(market: bt.Market, raw: Path) -> None:
    """15,615 hours from 2023-06-01 01:00 to 2025-03-12 15:00 without a gap in any instrument."""
    assert (len(market), market.clock[0], market.clock[-1]) == (
        15_615, pd.Timestamp("2023-06-01T01:00Z"), pd.Timestamp("2025-03-12T15:00Z"),
    )  # fmt: skip
    assert (np.diff(market.stamps) == 3_600 * 10**9).all()
    assert market.notes == [
        "5 closes look older than their bar's end, first ETHUSDT-240329 2023-11-10T16:00Z; carry data check lists them."
    ]
    for date in EXPIRIES:
        price, source = market.settlement(f"ETHUSDT-{date}")
        expired = EXPIRIES[date] < market.clock[-1]
        assert source == ("the contract's last close before expiry" if expired else "not expired")
        assert price == pytest.approx(hourly_bars(raw, date)["close"].iloc[-1] if expired else np.nan, abs=0, nan_ok=True)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("end", CUTS)
def test_what_was_done_does_not_depend_on_what_came_after(run: Callable[[str, str], bt.Result], name: str, end: str) -> None:
    """Cut at an entry, in a trade, at a settlement and at the stale bar: fills, equity and every source up to there are the same to the last bit."""
    short, long, cut = run(name, end), run(name, FUNDED), pd.Timestamp(end)
    done = long.fills["time"] < cut
    done |= (long.fills["time"] == cut) & long.fills["action"].isin(["settlement", "liquidation"])
    pd.testing.assert_frame_equal(short.fills, long.fills[done], check_exact=True, check_dtype=len(short.fills) > 0)
    pd.testing.assert_series_equal(short.equity, long.equity[:cut], check_exact=True, check_freq=False)
    pd.testing.assert_frame_equal(short.attribution, long.attribution[:cut], check_exact=True, check_freq=False)
    pd.testing.assert_frame_equal(short.positions, long.positions[:cut], check_exact=True, check_freq=False)
    over = long.trades[long.trades["exited_at"] < cut]
    pd.testing.assert_frame_equal(short.trades.iloc[: len(over)], over, check_exact=True, check_dtype=len(short.fills) > 0)


@pytest.mark.parametrize("end", ["2023-12-27T15:00Z", "2023-12-27T16:00Z"])
def test_another_future_changes_no_fill_before_it(run: Callable[[str, str], bt.Result], rates_set: Path, tmp_path: Path, end: str) -> None:
    """Dated futures 5% dearer and the perpetual 5% cheaper from an hour on, but for the opens at it: the first entry, decided at the close of 16:00, stays.

    It fills at the open that 16:00 is. Had it been decided with a later close, it would move; an hour earlier nothing may fill in either.
    """
    cut, source = pd.Timestamp(end), open_dataset(rates_set)
    tables = source.tables()
    for name, bars in tables.bars.items():
        later = bars.index > cut
        changed = bars.copy()
        changed.loc[later, ["open", "high", "low", "close"]] *= {"SPOT": 1.0, "PERP": 0.95}.get(name[8:], 1.05)
        following = bars.index[later][:1]
        changed.loc[following, "open"] = bars.loc[following, "open"]
        changed.loc[following, "high"] = changed.loc[following, ["open", "high"]].max(axis=1)
        changed.loc[following, "low"] = changed.loc[following, ["open", "low"]].min(axis=1)
        tables.bars[name] = changed
    write_dataset(tmp_path / "other", tables, name="other", source="test", simulated=True, licence="")
    other = bt.load_market(str(tmp_path / "other"), end=FUNDED)
    for name, settings in STRATEGIES.items():
        whole, changed_run = run(name, FUNDED), bt.run(strategy(**settings), other)
        before = [result.fills[result.fills["time"] <= cut].reset_index(drop=True) for result in (whole, changed_run)]
        pd.testing.assert_frame_equal(before[1], before[0], check_exact=True)
        pd.testing.assert_series_equal(changed_run.equity[:cut], whole.equity[:cut], check_exact=True)
        assert float(changed_run.equity.iloc[-1]) != float(whole.equity.iloc[-1])
        if STRATEGIES[name]["name"] == "cash_and_carry":
            assert len(before[0]) == (2 if end == "2023-12-27T16:00Z" else 0)


def test_the_cuts_fall_where_something_happens(run: Callable[[str, str], bt.Result]) -> None:
    """Else the comparison above would compare nothing: fills up to each cut, and what the whole run does at the moment of it."""
    counts = {name: [len(run(name, end).fills) for end in CUTS] for name in STRATEGIES}
    assert counts == {
        "to settlement": [0, 2, 3, 8],
        "defaults": [0, 2, 7, 12],
        "always in the perpetual": [4, 4, 8, 16],
        "the perpetual by its funding": [12, 12, 16, 32],
    }
    whole = run("to settlement", FUNDED)
    at = [list(whole.fills["action"][whole.fills["time"] == pd.Timestamp(end)]) for end in CUTS]
    assert at == [["entry", "entry"], [], ["settlement", "exit"], []]
    assert run("to settlement", CUTS[1]).trades["reason"].iloc[-1] == "end of data"
