"""Regimes: volatility and hysteresis against loops, and each regime with its reason on markets that were made for it."""

from itertools import pairwise
from math import isnan, log, nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import NEAR, PERP, SPOT, bars, ether, funding, instrument, load, only, times
from rich_market import rich

from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.instruments import Kind
from backtest.market import Market
from backtest.memo import SIGNALS
from backtest.signals.regime import Reason, Regime, hysteresis, realised_volatility

regime, regime_reason = SIGNALS["regime"], SIGNALS["regime_reason"]
BEGIN = pd.Timestamp("2023-01-01T00:00Z").as_unit("ns")
COUNT, A_DAY = 600, 3  # bars of eight hours
INDEX = times(BEGIN + pd.Timedelta("8h"), COUNT, "8h")
FUTURE, EXPIRY = "ETHUSDT-231229", pd.Timestamp("2023-12-29T08:00Z").as_unit("ns")
YEAR = pd.Timedelta(days=365)


# ---------------------------------------------------------------- volatility


def naive_volatility(table: pd.DataFrame, time: pd.Timestamp, window: pd.Timedelta) -> float:
    """√(Σ ln(close/close before)²/years between these closes), over the returns that end in the window."""
    if time not in table.index or time - window < table.index[0] - pd.Timedelta("1h"):
        return nan
    squares = years = 0.0
    for before, after in pairwise(table.index):
        if time - window < after <= time:
            squares += log(table["close"].loc[after] / table["close"].loc[before]) ** 2
            years += (after - before) / YEAR
    return sqrt(squares / years)


@pytest.mark.parametrize("window", ["1D", "50h"])
def test_volatility_is_the_root_of_squares_over_years(tmp_path: Path, window: str) -> None:
    """Also over holes, whose returns count for the time that they took."""
    tables = only(ether(120), SPOT, PERP)
    tables.bars[SPOT] = tables.bars[SPOT].drop(tables.bars[SPOT].index[[0, 40, 41, 42, 90]])
    market = load(tmp_path, tables)
    expected = [naive_volatility(tables.bars[SPOT], time, pd.Timedelta(window)) for time in market.clock]
    found = realised_volatility(market, window=window)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert (~np.isnan(found)).sum() > 60


def test_volatility_of_a_price_that_stands_still_is_zero_and_of_a_chain_nothing(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[SPOT].loc[:, ["open", "high", "low", "close"]] = [2000.0, 2001.0, 1999.0, 2000.0]
    market = load(tmp_path, tables)
    found = realised_volatility(market, window="2D")
    assert set(found[47:]) == {0.0}
    assert np.isnan(found[:47]).all()
    assert np.nanmin(realised_volatility(market, market.perpetual, "2D")) > 0.0
    with pytest.raises(ParameterError, match=r"^volatility is that of one instrument: the chain ETHUSDT-.*; name one with market\.leg"):
        realised_volatility(market, market.future_chain())


# ---------------------------------------------------------------- hysteresis


def naive_hysteresis(values: np.ndarray, enter: float, leave: float) -> list[float]:
    out, state = [], nan
    for value in values:
        if not isnan(value):
            state = 1.0 if value >= enter else 0.0 if value < leave or isnan(state) else state
        out.append(state)
    return out


def test_hysteresis_against_a_loop(tmp_path: Path) -> None:
    market, random = load(tmp_path, ether()), np.random.default_rng(2)
    values = random.integers(0, 5, (3, len(market))) / 4.0
    values[random.random(values.shape) < 0.3] = np.nan
    values[1, :20] = np.nan
    values[2] = np.nan
    found = hysteresis(market, values, enter=0.75, leave=0.5)
    np.testing.assert_array_equal(found, [naive_hysteresis(row, 0.75, 0.5) for row in values])
    np.testing.assert_array_equal(hysteresis(market, values[0]), naive_hysteresis(values[0], 1.0, 0.5))
    assert np.isnan(found[1, :20]).all()
    assert np.isnan(found[2]).all()


def test_a_state_is_left_below_where_it_was_entered(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    values = np.zeros(len(market))
    with pytest.raises(ParameterError, match=r"^leave must be at most enter: leave=2, enter=1$"):
        hysteresis(market, values, enter=1.0, leave=2.0)
    with pytest.raises(ParameterError, match=r"^enter must be a finite number: enter=nan$"):
        hysteresis(market, values, enter=nan)
    with pytest.raises(ParameterError, match=r"^leave must be a finite number: leave=inf$"):
        hysteresis(market, values, leave=float("inf"))


# ---------------------------------------------------------------- regimes


def made(carry: Any = 0.06, moves: Any = 0.0, paid: Any = 0.06, **spot: Any) -> Tables:
    """Bars of eight hours: a spot with the given returns, a future at an annualized premium, a perpetual with funding of so much a year."""
    price = 2000.0 * np.cumprod(1.0 + np.broadcast_to(moves, COUNT))
    days = np.asarray((EXPIRY - INDEX) / pd.Timedelta(days=1), dtype=float)
    return Tables(
        instruments=[instrument(SPOT, Kind.SPOT), instrument(PERP, Kind.PERPETUAL), instrument(FUTURE, Kind.FUTURE, EXPIRY)],
        bars={
            SPOT: bars(price, INDEX, **spot),
            PERP: bars(price, INDEX),
            FUTURE: bars(price * np.exp(np.broadcast_to(carry, COUNT) * days / 365.0), INDEX),
        },
        funding={PERP: funding(INDEX, np.broadcast_to(paid, COUNT) / 1095.0)},
    )


def from_day(day: int, until: int, value: Any, otherwise: float = 0.0) -> np.ndarray:
    """A value in the bars of some days, another elsewhere."""
    out = np.full(COUNT, otherwise)
    out[day * A_DAY : until * A_DAY] = value
    return out


def days_of(codes: np.ndarray, code: int) -> list[int]:
    """The first and the last day on which the codes say so."""
    found = np.flatnonzero(codes == code)
    return [int(found[0]) // A_DAY, int(found[-1]) // A_DAY] if len(found) else []


WILD = np.tile([0.03, 1.0 / 1.03 - 1.0], COUNT)


def test_a_market_where_nothing_happens_is_calm_once_that_can_be_told(tmp_path: Path) -> None:
    """A month of volatilities of a week each must be known."""
    market = load(tmp_path, made())
    found = regime(market)
    assert found.shape == (COUNT,)
    assert np.isnan(found[: 36 * A_DAY]).all()
    assert set(found[37 * A_DAY :]) == {float(Regime.CALM)}
    assert set(regime_reason(market)[37 * A_DAY :]) == {float(Reason.NONE)}


def test_wild_prices_are_stress_until_they_calm(tmp_path: Path) -> None:
    market = load(tmp_path, made(moves=np.where(from_day(100, 110, 1.0) > 0, WILD[:COUNT], 0.0)))
    why = regime_reason(market)
    begins, ends = days_of(why, Reason.VOLATILITY)
    assert begins == 100
    assert 110 <= ends <= 120
    assert days_of(regime(market), Regime.STRESSED) == [begins, ends]
    assert set(regime(market)[130 * A_DAY :]) == {float(Regime.CALM)}


def test_backwardation_is_stress_before_anything_else_is_known(tmp_path: Path) -> None:
    """From a smoothed −5 % a year on, until the premium is above zero, and three days more; its few days of averaging count from the first bar."""
    market = load(tmp_path, made(carry=from_day(0, 60, -0.10, 0.06)))
    why = regime_reason(market)
    assert np.isnan(why[: 5 * A_DAY - 1]).all()
    begins, ends = days_of(why, Reason.BACKWARDATION)
    assert begins in (4, 5)
    # of five days 3⅓ at 6 % outweigh 1⅔ at −10 %, the tenth bar of day 60 on: it is on up to bar 188, and eight bars more
    assert np.flatnonzero(why == Reason.BACKWARDATION)[-1] == 188 + 8
    assert ends == 65
    assert days_of(regime(market), Regime.STRESSED) == [begins, ends]


def test_a_little_backwardation_is_not_stress_but_doesn_t_end_it_either(tmp_path: Path) -> None:
    market = load(tmp_path, made(carry=np.where(np.arange(COUNT) < 300, -0.03, np.where(np.arange(COUNT) < 360, -0.08, -0.03))))
    why = regime_reason(market)
    begins, ends = days_of(why, Reason.BACKWARDATION)
    assert 100 < begins < 106
    assert ends == COUNT // A_DAY - 1


def test_a_jump_of_the_premium_is_stress_for_some_days(tmp_path: Path) -> None:
    market = load(tmp_path, made(carry=from_day(120, 200, 0.30, 0.06)))
    why = regime_reason(market)
    begins, ends = days_of(why, Reason.PREMIUM_JUMP)
    assert begins == 120
    assert ends in (123, 124)
    quiet = load_market_of(tmp_path / "quiet", made(carry=from_day(120, 200, 0.10, 0.06)))
    assert days_of(regime_reason(quiet), Reason.PREMIUM_JUMP) == [], "the only move of its year, and worth no trade"


def load_market_of(folder: Path, tables: Tables) -> Market:
    folder.mkdir()
    return load(folder, tables)


def test_empty_books_are_stress(tmp_path: Path) -> None:
    spread = 0.001 + 0.0005 * np.sin(np.arange(COUNT)) + from_day(150, 155, 0.01)
    market = load(tmp_path, made(spread=spread))
    why = regime_reason(market)
    begins, ends = days_of(why, Reason.ILLIQUIDITY)
    assert begins in (150, 151)
    assert 155 <= ends <= 160


def test_a_drift_of_the_price_is_a_trend_and_its_noise_is_not(tmp_path: Path) -> None:
    """0.6 % a day for fifty days beside noise of 1 %: in thirty days three times as far as a walk of such days goes."""
    noise = np.random.default_rng(4).normal(0.0, 0.006, COUNT)
    noise -= np.convolve(noise, np.ones(30) / 30.0, "same")
    calm, drift = load(tmp_path, made(moves=noise)), load_market_of(tmp_path / "drift", made(moves=noise + from_day(100, 150, 0.002)))
    assert days_of(regime_reason(calm), Reason.TREND) == []
    begins, ends = days_of(regime_reason(drift), Reason.TREND)
    assert 105 <= begins <= 130
    assert 150 <= ends <= 180
    assert (regime(drift)[regime_reason(drift) == Reason.TREND] == Regime.TRENDING).all()


def test_a_premium_that_is_repriced_is_a_trend_if_it_is_worth_a_trade(tmp_path: Path) -> None:
    def rising(by: float) -> np.ndarray:
        return 0.06 + by * np.clip((np.arange(COUNT) / A_DAY - 80.0) / 60.0, 0.0, 1.0)

    steep, slight = load(tmp_path, made(carry=rising(0.3))), load_market_of(tmp_path / "slight", made(carry=rising(0.05)))
    begins, ends = days_of(regime_reason(steep), Reason.TREND)
    assert 88 <= begins <= 100
    assert 140 <= ends <= 175
    assert days_of(regime_reason(slight), Reason.TREND) == []


def test_of_several_reasons_the_premium_s_comes_first_and_stress_before_trends(tmp_path: Path) -> None:
    wild = np.where(from_day(100, 115, 1.0) > 0, WILD[:COUNT], 0.0)
    market = load(tmp_path, made(moves=wild, carry=from_day(106, 200, -0.2, 0.06)))
    why = regime_reason(market)
    assert why[101 * A_DAY] == Reason.VOLATILITY
    assert why[107 * A_DAY] == Reason.PREMIUM_JUMP, "on a wild day; the mean of five days is not yet below −5 %"
    assert why[109 * A_DAY] == Reason.BACKWARDATION, "which jumped within three days, and the week was wild"
    assert set(regime(market)[101 * A_DAY : 180 * A_DAY]) == {float(Regime.STRESSED)}


# ---------------------------------------------------------------- what the data have


def test_without_futures_the_perpetual_s_funding_is_the_premium(tmp_path: Path) -> None:
    paid = from_day(100, 130, -0.3, 0.1)
    alone = load(tmp_path, only(made(paid=paid), SPOT, PERP))
    begins, ends = days_of(regime_reason(alone), Reason.BACKWARDATION)
    assert 101 <= begins <= 103
    assert 132 <= ends <= 137
    with_future = load_market_of(tmp_path / "both", made(paid=paid))
    assert days_of(regime_reason(with_future), Reason.BACKWARDATION) == [], "futures are asked first"
    np.testing.assert_array_equal(regime_reason(with_future, with_future.perpetual), regime_reason(alone))


def test_before_the_first_future_is_listed_the_perpetual_speaks(tmp_path: Path) -> None:
    """So that a later contract changes nothing that was said before."""
    tables = made(paid=from_day(60, 70, -0.3, 0.1))
    tables.bars[FUTURE] = tables.bars[FUTURE].iloc[100 * A_DAY :]
    both, alone = load(tmp_path, tables), load_market_of(tmp_path / "alone", only(made(paid=from_day(60, 70, -0.3, 0.1)), SPOT, PERP))
    early = 100 * A_DAY
    np.testing.assert_array_equal(regime_reason(both)[:early], regime_reason(alone)[:early])
    assert Reason.BACKWARDATION in regime_reason(both)[:early]


@pytest.mark.parametrize("names", [(SPOT,), (SPOT, PERP), (SPOT, FUTURE)])
def test_what_is_missing_is_left_out(tmp_path: Path, names: tuple[str, ...]) -> None:
    tables = only(made(moves=np.where(from_day(100, 110, 1.0) > 0, WILD[:COUNT], 0.0)), *names)
    tables.funding = {}
    market = load(tmp_path, tables)
    assert days_of(regime_reason(market), Reason.VOLATILITY)[0] == 100
    assert set(regime(market)[40 * A_DAY : 95 * A_DAY]) == {float(Regime.CALM)}


def test_a_premium_that_ends_stresses_no_longer(tmp_path: Path) -> None:
    tables = made(carry=-0.2)
    tables.bars[FUTURE] = tables.bars[FUTURE].iloc[: 90 * A_DAY]
    market = load(tmp_path, tables)
    assert days_of(regime_reason(market), Reason.BACKWARDATION)[1] == 92


def test_a_regime_needs_a_spot_and_a_derivative_is_no_spot(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the rule needs one spot and the dataset test has none"):
        regime(load(tmp_path, only(ether(), PERP, NEAR)))
    market = load_market_of(tmp_path / "all", made())
    with pytest.raises(ParameterError, match=r"^a premium needs a future or a perpetual: future=ETHUSDT-SPOT$"):
        regime(market, market.spot)


def test_of_several_perpetuals_the_one_that_began_first_counts_so_that_a_later_one_changes_nothing(tmp_path: Path) -> None:
    tables = only(made(), SPOT, PERP)
    alone = regime_reason(load(tmp_path / "alone", tables))
    tables.instruments.append(instrument("AETHUSDC-PERP", Kind.PERPETUAL, quote="USDC"))
    tables.bars["AETHUSDC-PERP"] = tables.bars[PERP].iloc[-30:] * 2.0
    np.testing.assert_array_equal(regime_reason(load(tmp_path / "later", tables)), alone)


def test_a_listing_is_no_move_of_a_premium(tmp_path: Path) -> None:
    """Funding of 30 % a year and, listed later, a future of 10 %: neither moves, so only the spot has a say."""
    tables = only(rich(), "ETHUSDT-SPOT", "ETHUSDT-PERP", "ETHUSDT-240628")
    tables.funding[PERP]["rate"] = 0.30 / 1095
    spot, bars = tables.bars["ETHUSDT-SPOT"], tables.bars["ETHUSDT-240628"]
    days = np.asarray((pd.Timestamp("2024-06-28T08:00Z") - bars.index) / pd.Timedelta(days=1), dtype=float)
    for column in ("open", "high", "low", "close"):
        bars[column] = spot["close"].loc[bars.index] * (1.0 + 0.10 * days / 365.0)
    tables.bars = {name: frame.drop(columns=["bid", "ask", "depth_50bps"]) for name, frame in tables.bars.items()}
    both = regime_reason(load(tmp_path / "both", tables))
    np.testing.assert_array_equal(both, regime_reason(load(tmp_path / "spot", only(tables, "ETHUSDT-SPOT"))))
    assert {Reason.NONE, Reason.VOLATILITY, Reason.TREND} <= set(both), "what the spot does is seen"


def test_the_order_and_lasting_of_reasons_against_a_loop(tmp_path: Path) -> None:
    """On a market with everything: regimes follow from reasons, and none is shorter than three days unless another, stronger one cuts it."""
    market = load(tmp_path, rich())
    why, state = regime_reason(market), regime(market)
    for code, name in zip(why, state, strict=True):
        if isnan(code):
            assert isnan(name)
        else:
            assert name == (Regime.CALM if code == Reason.NONE else Regime.TRENDING if code == Reason.TREND else Regime.STRESSED)
    known = state[~np.isnan(state)]
    assert set(known) == {0.0, 1.0, 2.0}
    edges = np.flatnonzero(np.diff(known))
    stressed = [int(b - a) for a, b in pairwise(edges) if known[b] == Regime.STRESSED]
    assert stressed
    assert min(stressed) >= 9, "three days of eight-hour bars"
