"""The premium's signals on real history: its yearly quantiles, the crises of 2022, the steep March of 2024, funding beside it, and the basket around rolls."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import backtest as bt
from backtest.curve import offered
from backtest.market import Floats, Market

pytest_plugins = ["real_sets"]

QUANTILES = (5, 25, 50, 75, 95)
# The nearest quarterly contract with a week left at every hour, in percent, as others found them: from June 2023 to March 2025.
BINANCE = {2023: (-0.1, 3.2, 4.9, 7.9, 12.7), 2024: (5.7, 8.5, 11.5, 14.9, 26.9), 2025: (4.9, 6.2, 7.8, 11.2, 13.0)}
# CME's front contract, as others found it with a spot and a definition that they don't state; and ours with a week left, by the spot of the same hour.
CME = {2022: (-15.9, -5.8, -1.5, 2.7, 8.1), 2023: (-4.7, 2.4, 9.2, 16.0, 23.0), 2024: (2.8, 6.7, 9.9, 14.7, 22.1), 2025: (5.0, 7.8, 9.9, 12.2, 15.2)}  # fmt: skip


@pytest.fixture(scope="module")
def hourly(hourly_set: Path) -> Market:
    return bt.load_market(str(hourly_set))


@pytest.fixture(scope="module")
def crises(joined_set: Path) -> Market:
    """CME's futures against Coinbase's daily closes, which on Fridays are up to three hours later."""
    return bt.load_market(str(joined_set), "2021-12-01", "2024-07-01", instruments=["*.cme", "ETHUSD-SPOT.coinbase"], staleness="3h")


@pytest.fixture(scope="module")
def matched(joined_set: Path) -> Market:
    """CME's futures against Binance's spot of the same hour, June 2023 to March 2025."""
    return bt.load_market(str(joined_set), "2023-06-01", "2025-03-12T15:00", instruments=["*.cme", "ETHUSDT-SPOT"], clock="*.cme")


def front(market: Market, min_days: float) -> "pd.Series[float]":
    """Annualized premium of the nearest contract with so many days left and a close."""
    chain = market.future_chain(min_days)
    choice, table = offered(market, chain), bt.annualized_premium(market, chain)
    return pd.Series(np.where(choice >= 0, table[np.maximum(choice, 0), np.arange(len(market))], np.nan), index=market.clock).dropna()


def quantiles(values: "pd.Series[float]", year: int) -> Floats:
    """In percent; a bar belongs to the year in which it began."""
    return np.percentile(values[(values.index - pd.Timedelta("1ns")).year == year], QUANTILES) * 100.0


def month(market: Market, values: Floats, name: str) -> "pd.Series[float]":
    """The known values of a month."""
    known = pd.Series(values, index=market.clock).dropna()
    return known[(known.index - pd.Timedelta("1ns")).strftime("%Y-%m") == name]


# ---------------------------------------------------------------- quantiles


@pytest.mark.parametrize("year", BINANCE)
def test_binances_quarterlies_have_the_known_quantiles(hourly: Market, year: int) -> None:
    np.testing.assert_allclose(quantiles(front(hourly, 7), year), BINANCE[year], atol=0.0501)


@pytest.mark.parametrize(
    ("year", "ours"),
    [(2022, (-28.8, -7.3, -1.9, 2.4, 6.6)), (2023, (-5.0, 2.6, 7.1, 15.3, 22.8)), (2024, (3.5, 6.7, 10.0, 15.0, 22.3)), (2025, (3.8, 7.4, 8.7, 10.6, 14.2))],
)  # fmt: skip
def test_cmes_front_contract_has_the_middle_half_of_the_known_quantiles(
    joined_set: Path, matched: Market, year: int, ours: tuple[float, ...]
) -> None:
    """The lower tail of 2022 isn't met: a close that is the last trade of a thin contract is hours old, and with a week left 10 bps are 5 % a year."""
    market = matched
    if year == 2022:  # before Binance's hours begin: the days on which CME's bar ends with Coinbase's, Monday to Thursday and Sunday
        market = bt.load_market(str(joined_set), "2021-12-31", "2023-01-01", instruments=["*.cme", "ETHUSD-SPOT.coinbase"], staleness="3h")
    found = front(market, 7)
    if year == 2022:
        spot, (future, *_) = market.raw("ETHUSD-SPOT.coinbase", "close"), [market.future_chain().contracts]
        same = ~np.isnan(spot) & np.any([~np.isnan(market.raw(name, "close")) for name in future], axis=0)
        found = found[found.index.isin(market.clock[same])]
    measured = quantiles(found, year)
    np.testing.assert_allclose(measured, ours, atol=0.0501)
    np.testing.assert_allclose(measured[1:4], CME[year][1:4], atol=2.2)


# ---------------------------------------------------------------- 2022, 2024


@pytest.mark.parametrize(
    ("name", "others", "premium", "below", "stressed"), [("2022-09", (-0.15, -0.12), -0.076, 0.88, 0.88), ("2022-11", (-0.26, -0.20), -0.219, 0.80, 0.71)]
)  # fmt: skip
def test_the_merge_and_the_fall_of_ftx_are_backwardation_and_stress(
    crises: Market, name: str, others: tuple[float, float], premium: float, below: float, stressed: float
) -> None:
    """The front contract's medians as others found them. November begins in contango: FTX fell on the 8th, and from the 9th on every day is stressed."""
    found = front(crises, 7)
    assert others[0] < found[(found.index - pd.Timedelta("1ns")).strftime("%Y-%m") == name].median() < others[1]
    level = month(crises, bt.constant_maturity(crises, days=30), name)
    assert level.median() == pytest.approx(premium, abs=1e-3)
    assert (level < 0.0).mean() > below
    assert (month(crises, bt.regime(crises), name) == bt.Regime.STRESSED).mean() > stressed
    assert month(crises, bt.term_shape(crises), name).mean() < 0.0, "inverted more often than steep"
    reasons = month(crises, bt.regime_reason(crises), name)
    assert (reasons == bt.Reason.BACKWARDATION).sum() > 0.9 * (month(crises, bt.regime(crises), name) == bt.Regime.STRESSED).sum()


def test_after_the_fall_of_ftx_every_day_is_stressed(crises: Market) -> None:
    state = month(crises, bt.regime(crises), "2022-11")
    assert (state[state.index > "2022-11-09T12:00Z"] == bt.Regime.STRESSED).all()
    assert (state[state.index < "2022-11-08T00:00Z"] == bt.Regime.CALM).all(), "nobody knew"


def test_plain_contango_at_low_volatility_is_calm(crises: Market) -> None:
    for name in ("2023-04", "2023-05", "2023-07", "2023-09"):
        assert (month(crises, bt.regime(crises), name) == bt.Regime.CALM).all()
    state = bt.regime(crises)
    known = state[~np.isnan(state)]
    years = (crises.clock[-1] - crises.clock[0]) / pd.Timedelta(days=365)
    assert np.count_nonzero(np.diff(known)) / years < 24, "it doesn't flicker: two changes a month at most"


def test_march_2024_is_steep(hourly: Market) -> None:
    assert (month(hourly, bt.term_shape(hourly), "2024-03") == bt.Shape.STEEP).mean() > 0.98
    assert month(hourly, bt.term_slope(hourly), "2024-03").mean() == pytest.approx(0.213, abs=1e-3)
    assert (month(hourly, bt.term_shape(hourly), "2023-10") == bt.Shape.FLAT).mean() > 0.95


# ---------------------------------------------------------------- funding, rolls


@pytest.mark.parametrize(("window", "correlation"), [("1D", 0.758), ("7D", 0.850), ("30D", 0.858)])
def test_funding_goes_with_the_premium_of_thirty_days(hourly: Market, window: str, correlation: float) -> None:
    """Pearson's of all hours; the changes from day to day go together much less (0.27 for a week's funding)."""
    premium, funding = bt.constant_maturity(hourly, days=30), bt.annualized_funding(hourly, window=window)[0]
    known = ~np.isnan(premium + funding)
    assert known.sum() > 14_800
    assert np.corrcoef(premium[known], funding[known])[0, 1] == pytest.approx(correlation, abs=1e-3)


def deviation_around_rolls(market: Market, values: Floats) -> float:
    """Standard deviation of the daily changes, at 00:00 UTC, within seven days of an expiry."""
    daily = pd.Series(values, index=market.clock)[market.clock.hour == 0].diff()
    expiries = [market.instruments[name].expires_at for name in market.future_chain().contracts]
    near = [any(abs(time - expiry) <= pd.Timedelta(days=7) for expiry in expiries if expiry < market.clock[-1]) for time in daily.index]
    assert sum(near) == 84
    return float(daily[near].std())


@pytest.mark.parametrize(("weighting", "deviation"), [("equal", 0.0170), ("front", 0.0471), ("long", 0.0122)])
def test_the_basket_is_quieter_around_rolls_than_the_front_contract(hourly: Market, weighting: str, deviation: float) -> None:
    """Six times, for equal weights. Most of it is that a contract of less than a week is left: a front that rolls seven days ahead has 0.018."""
    alone = deviation_around_rolls(hourly, front(hourly, 1).reindex(hourly.clock).to_numpy())
    assert alone == pytest.approx(0.1020, abs=5e-4)
    early = deviation_around_rolls(hourly, front(hourly, 7).reindex(hourly.clock).to_numpy())
    assert early == pytest.approx(0.018, abs=5e-4)
    basket = deviation_around_rolls(hourly, bt.premium_indicator(hourly, weighting=weighting))
    assert basket == pytest.approx(deviation, abs=5e-4)
