"""The simulated sample: the same everywhere, sane bar by bar, and calibrated to the figures that history gave."""

import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtest.data.checks.findings import InMemory, examine
from backtest.data.sample import PERPETUAL_ID, SEED, SPOT_ID, build_sample, sample_tables
from backtest.data.sample_funding import funding_rates
from backtest.data.sample_futures import contracts
from backtest.data.sample_numbers import Draws, average, exponential, interpolate, rounded, smooth
from backtest.data.sample_paths import PER_HOUR, STEPS, World, instant, simulate_world
from backtest.data.schema import Tables
from backtest.data.store import content_hash, open_dataset
from backtest.data.validate import table_errors
from backtest.instruments import Kind

# A change of the sample changes this on purpose; a machine or a library version must not.
PINNED_HASH = "77ba22141a59036181737b9fb31848445c8c2a63554680bfc1acc1a27a3cc69a"

BPS = 1e4
HOUR = pd.Timedelta("1h")
DAY = pd.Timedelta("1D")


@pytest.fixture(scope="module")
def tables() -> Tables:
    return sample_tables()


@pytest.fixture(scope="module")
def world() -> World:
    return simulate_world(SEED)


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def years_of(index: pd.DatetimeIndex) -> np.ndarray:
    """Years of the instants just before the stamps: the bar that ends at New Year belongs to the old year."""
    return np.asarray((index - pd.Timedelta("1s")).year)


def dated(tables: Tables) -> dict[str, pd.Timestamp]:
    return {one.id: one.expires_at for one in tables.instruments if one.kind is Kind.FUTURE and one.expires_at is not None}


@pytest.fixture(scope="module")
def curve(tables: Tables) -> pd.DataFrame:
    """Every bar of every contract: stamp, contract, days to expiry, annualized premium of the close over the spot close in percent."""
    spot = tables.bars[SPOT_ID]["close"]
    rows = []
    for name, expires_at in dated(tables).items():
        close = tables.bars[name]["close"]
        days = np.asarray((expires_at - pd.DatetimeIndex(close.index)) / DAY)
        premium = (close / spot.reindex(close.index) - 1.0).to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            rows.append(pd.DataFrame({"at": close.index, "contract": name, "days": days, "annualized": 100.0 * premium * 365.0 / days}))
    return pd.concat(rows, ignore_index=True)


@pytest.fixture(scope="module")
def front(curve: pd.DataFrame) -> pd.Series:
    """Annualized premium, percent, of the nearest contract with at least three days left, hour by hour."""
    alive = curve[curve["days"] >= 3.0].sort_values(["at", "days"])
    return alive.drop_duplicates("at").set_index("at")["annualized"]


# --- the numbers beneath ---------------------------------------------------------------------------------


def test_exponential_agrees_with_the_library() -> None:
    x = np.concatenate([np.linspace(-40.0, 40.0, 4001), [0.0, 1.0, -1.0, 300.0, -300.0]])
    np.testing.assert_allclose(exponential(x), [math.exp(value) for value in x], rtol=2e-15)


def test_smooth_is_the_recursion_it_says() -> None:
    shocks = Draws(1, "a").normal(500)
    keep = 0.5 ** (1.0 / 28.0)
    expected = [shocks[0]]
    for shock in shocks[1:]:
        expected.append(keep * expected[-1] + math.sqrt(1.0 - keep**2) * shock)
    np.testing.assert_allclose(smooth(shocks, 28.0), expected, rtol=1e-8, atol=1e-10)


def test_average_is_pandas_exponentially_weighted_mean() -> None:
    values = Draws(1, "b").normal(500)
    expected = pd.Series(values).ewm(halflife=20.0, adjust=False).mean()
    np.testing.assert_allclose(average(values, 20.0), expected, rtol=1e-8, atol=1e-10)


def test_interpolate_agrees_with_numpy_and_is_flat_outside() -> None:
    at, knots, values = np.linspace(-2.0, 7.0, 91), np.array([0.0, 1.0, 5.0]), np.array([3.0, -1.0, 4.0])
    np.testing.assert_allclose(interpolate(at, knots, values), np.interp(at, knots, values), rtol=1e-13)


def test_draws_are_standard_and_streams_apart() -> None:
    one, other, again = Draws(5, "one").normal(200_000), Draws(5, "other").normal(200_000), Draws(5, "one").normal(200_000)
    assert abs(one.mean()) < 0.01
    assert one.std() == pytest.approx(1.0, abs=0.01)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.01
    assert np.array_equal(one, again)
    even = Draws(5, "one").uniform(100_000)
    assert even.min() > 0.0
    assert even.max() < 1.0
    assert even.mean() == pytest.approx(0.5, abs=0.005)


def test_draws_come_from_the_stream_that_numpy_keeps() -> None:
    """The first values of a stream, worked out once: another numpy must give them too."""
    raw = int(np.random.PCG64(np.random.SeedSequence([7, 0x352441C2])).random_raw())  # CRC-32 of "abc"
    total = sum(raw >> shift & 0xFFFF for shift in (0, 16, 32, 48))
    expected = (total / 65536 - (2 - 2 / 65536)) * math.sqrt(3.0)
    assert Draws(7, "abc").normal(1)[0] == pytest.approx(expected, rel=1e-15)


def test_rounded_gives_the_float_nearest_to_the_decimal() -> None:
    assert rounded(np.array([0.1 + 0.2, 1234.5649999]), 100.0).tolist() == [0.3, 1234.56]


# --- the same content each time --------------------------------------------------------------------------


def test_two_builds_are_the_same(tables: Tables) -> None:
    again = sample_tables()
    assert again.instruments == tables.instruments
    for name, bars in tables.bars.items():
        pd.testing.assert_frame_equal(bars, again.bars[name], check_exact=True)
    pd.testing.assert_frame_equal(tables.funding[PERPETUAL_ID], again.funding[PERPETUAL_ID], check_exact=True)
    pd.testing.assert_frame_equal(tables.settlements, again.settlements, check_exact=True)
    for name, series in tables.series.items():
        pd.testing.assert_frame_equal(series, again.series[name], check_exact=True)


def test_another_seed_is_another_history(world: World) -> None:
    other = simulate_world(SEED + 1)
    assert not np.array_equal(other.spot, world.spot)
    assert abs(np.corrcoef(np.diff(np.log(other.spot)), np.diff(np.log(world.spot)))[0, 1]) < 0.2


def test_dataset_says_simulated_and_has_the_pinned_hash(tmp_path: Path) -> None:
    """The hash is over the values alone, so it changes only when the sample's content does."""
    digest = build_sample(tmp_path / "sample")
    dataset = open_dataset(tmp_path / "sample")
    assert dataset.simulated
    assert dataset.name == "sample"
    assert "simulated" in dataset.info["source"]
    assert dataset.hash == digest == PINNED_HASH


def test_hash_is_that_of_the_tables(tables: Tables) -> None:
    assert content_hash(tables) == PINNED_HASH


# --- instruments and bars --------------------------------------------------------------------------------


def test_validation_finds_nothing(tables: Tables) -> None:
    assert list(table_errors(tables)) == []
    assert [finding.text for finding in examine(InMemory(tables)).findings if finding.grave] == []


def test_instruments_have_the_venue_s_steps(tables: Tables) -> None:
    by_kind = {kind: [one for one in tables.instruments if one.kind is kind] for kind in Kind}
    assert [one.id for one in by_kind[Kind.SPOT]] == [SPOT_ID]
    assert [one.id for one in by_kind[Kind.PERPETUAL]] == [PERPETUAL_ID]
    assert len(by_kind[Kind.FUTURE]) == 26
    assert {(one.tick, one.lot, one.min_notional) for one in by_kind[Kind.SPOT]} == {(0.01, 0.0001, 5.0)}
    derivatives = by_kind[Kind.PERPETUAL] + by_kind[Kind.FUTURE]
    assert {(one.tick, one.lot, one.min_notional) for one in derivatives} == {(0.01, 0.001, 20.0)}


def test_futures_expire_on_the_last_friday_of_the_quarter(tables: Tables) -> None:
    for name, expires_at in dated(tables).items():
        assert re.fullmatch(r"ETHUSDT-\d{6}", name)
        assert name.endswith(expires_at.strftime("%y%m%d"))
        assert expires_at.strftime("%A %H:%M") == "Friday 08:00"
        assert expires_at.month in (3, 6, 9, 12)
        assert (expires_at + 7 * DAY).month != expires_at.month
    listed = [one.expires_at - one.listed_at for one in tables.instruments if one.expires_at is not None and one.listed_at is not None]
    assert all(240 * DAY <= span <= 275 * DAY for span in listed)


def test_stamps_are_the_ends_of_the_hours(tables: Tables) -> None:
    whole = pd.date_range("2020-01-01T01:00Z", "2026-01-01T00:00Z", freq="h")
    for name, bars in tables.bars.items():
        assert str(bars.index.dtype) == "datetime64[ns, UTC]"
        assert bars.index.name == "ts"
        one = next(one for one in tables.instruments if one.id == name)
        expected = whole
        if one.expires_at is not None and one.listed_at is not None:
            expected = whole[(whole > one.listed_at) & (whole <= one.expires_at)]
        assert pd.DatetimeIndex(bars.index).equals(expected.as_unit("ns")), name


def test_two_or_three_contracts_are_alive(curve: pd.DataFrame) -> None:
    alive = curve[curve["days"] > 0].groupby("at")["contract"].nunique()
    assert len(alive) == STEPS // PER_HOUR
    assert set(alive) == {2, 3}


def test_bars_are_sane(tables: Tables) -> None:
    for name, bars in tables.bars.items():
        assert not bars.isna().any().any(), name
        assert set(bars.dtypes.astype(str)) == {"float64"}
        assert (bars["high"] >= bars[["open", "close"]].max(axis=1)).all()
        assert (bars["low"] <= bars[["open", "close"]].min(axis=1)).all()
        assert (bars["low"] > 0).all()
        assert (bars["bid"] < bars["ask"]).all()
        assert (bars["volume"] > 0).all()
        assert bars["taker_buy_volume"].between(0, bars["volume"]).all()
        if name == SPOT_ID:
            assert not {"mark", "index", "open_interest"} & set(bars.columns)
        else:
            assert (bars["mark_low"] <= bars["mark"]).all()
            assert (bars["mark"] <= bars["mark_high"]).all()
            assert (bars["open_interest"] > 0).all()


def test_prices_stand_on_the_tick(tables: Tables) -> None:
    for name, bars in tables.bars.items():
        for column in bars.columns.intersection(["open", "high", "low", "close", "bid", "ask", "mark", "mark_high", "mark_low", "index"]):
            assert np.array_equal(bars[column], np.rint(bars[column] * 100) / 100), (name, column)


def test_opens_follow_closes_closely_but_not_exactly(tables: Tables) -> None:
    for name, bars in tables.bars.items():
        gap = (bars["open"] / bars["close"].shift() - 1.0).abs().dropna() * BPS
        assert 0.05 < gap.median() < 6.0, name
        assert gap.max() < 150.0, name
        assert (gap > 0).mean() > 0.5, name


def test_legs_share_the_price_s_excursions(tables: Tables) -> None:
    """A high of the perpetual without one of spot would liquidate hedges that no market would."""
    spot, perpetual = tables.bars[SPOT_ID], tables.bars[PERPETUAL_ID]
    basis = (perpetual["close"] / spot["close"] - 1.0).abs()
    highs = (perpetual["high"] / spot["high"] - 1.0).abs()
    assert (highs - basis).quantile(0.999) * BPS < 30.0
    assert ((perpetual["mark_high"] / perpetual["high"] - 1.0).abs() * BPS).quantile(0.99) < 60.0


def test_spreads_are_ticks_in_calm_and_widen_in_stress(tables: Tables) -> None:
    for name, calm in ((SPOT_ID, (0.02, 0.1)), (PERPETUAL_ID, (0.02, 0.1)), ("ETHUSDT-240927", (0.3, 3.0))):
        bars = tables.bars[name]
        spread = (bars["ask"] / bars["bid"] - 1.0) * BPS
        assert calm[0] < spread[utc("2024-01-01") : utc("2024-12-31")].median() < calm[1], name
        assert spread.max() < 120.0, name
    bars = tables.bars[SPOT_ID]
    spread = ((bars["ask"] / bars["bid"] - 1.0) * BPS)[utc("2021-05-01") : utc("2021-06-30")]
    assert spread[utc("2021-05-19T10:00") : utc("2021-05-19T16:00")].median() > 4.0 * spread.median()


def test_spot_goes_through_the_years_like_its_model(tables: Tables) -> None:
    close = tables.bars[SPOT_ID]["close"]
    for date, level in (
        ("2020-01-01T01:00", 130),
        ("2021-01-01", 735),
        ("2022-06-18T20:00", 1000),
        ("2023-01-01", 1200),
        ("2024-01-01", 2300),
    ):
        assert close[utc(date)] == pytest.approx(level, rel=0.06), date
    assert 4300 < close[utc("2021-11-01") : utc("2021-11-30")].max() < 5300
    assert 3800 < close[utc("2024-03-01") : utc("2024-03-31")].max() < 4700
    assert close[utc("2025-04-01") : utc("2025-04-30")].min() < 1650
    returns = np.log(close).diff().dropna()
    volatility = returns.groupby(years_of(pd.DatetimeIndex(returns.index))).std() * math.sqrt(8760)
    assert volatility.between(0.35, 1.1).all()
    assert volatility[2023] == volatility.min()
    assert returns.abs().max() < 0.25


# --- funding ---------------------------------------------------------------------------------------------


def test_funding_is_paid_every_eight_hours_at_the_mark(tables: Tables) -> None:
    funding = tables.funding[PERPETUAL_ID]
    expected = pd.date_range("2020-01-01T08:00Z", "2026-01-01T00:00Z", freq="8h").as_unit("ns")
    assert pd.DatetimeIndex(funding.index).equals(expected)
    assert (funding["interval_hours"] == 8.0).all()
    marks = tables.bars[PERPETUAL_ID]["mark"].reindex(funding.index)
    assert np.array_equal(funding["mark_price"], marks)


def test_rates_follow_the_venue_s_formula(tables: Tables, world: World) -> None:
    """Worked again in exact fractions, sample by sample, for intervals of every kind."""
    rates = tables.funding[PERPETUAL_ID]["rate"].to_numpy()
    chosen = {*range(0, len(rates), 97), int(np.argmax(rates)), int(np.argmin(rates)), *np.flatnonzero(rates == 1e-4)[:20].tolist()}
    clamp, interest = Fraction(5, 10_000), Fraction(1, 10_000)
    for number in sorted(chosen):
        samples = world.premium[number * 96 + 1 : number * 96 + 97]
        mean = sum((weight * Fraction(float(value)) for weight, value in enumerate(samples, 1)), Fraction(0)) / sum(range(1, 97))
        rate = mean + min(max(interest - mean, -clamp), clamp)
        cap = Fraction(375, 100_000) if number < 731 * 3 else Fraction(3, 1000)  # 2020 and 2021 have 731 days
        assert rates[number] == pytest.approx(float(min(max(rate, -cap), cap)), abs=0.51e-8), number


def test_rate_of_a_constant_premium_by_hand() -> None:
    def rate(premium: float) -> float:
        return float(funding_rates(np.full(97, premium))[0])

    assert rate(0.0) == 0.0001
    assert rate(0.00059) == 0.0001
    assert rate(-0.00039) == 0.0001
    assert rate(0.0010) == 0.0005
    assert rate(-0.0010) == -0.0005
    assert rate(0.0050) == 0.00375
    assert rate(-0.0050) == -0.00375


def test_cap_narrows_after_the_last_settlement_of_2021() -> None:
    """The settlement stamped 2022-01-01T00:00 is still 2021's."""
    before = 731 * 3  # intervals of 2020 and 2021
    rates = funding_rates(np.full((before + 1) * 96 + 1, 0.01))
    assert rates[before - 1] == 0.00375
    assert rates[before] == 0.003


def test_late_samples_weigh_more() -> None:
    late, early = np.zeros(97), np.zeros(97)
    late[-48:], early[1:49] = 0.0020, 0.0020
    # Weights 49..96 of 1..96 are 3480/4656 of the whole: P̄ = 14.948 bps against 5.052 bps.
    assert funding_rates(late)[0] == pytest.approx(0.0020 * 3480 / 4656 - 0.0005, abs=1e-8)
    assert funding_rates(early)[0] == 0.0001


def test_premium_of_the_bars_is_the_one_that_funding_comes_from(tables: Tables) -> None:
    """From hourly closes alone, weights 1..8: close to the rates that the five-minute path gave."""
    bars = tables.bars[PERPETUAL_ID]
    hourly = (bars["close"] / bars["index"] - 1.0).to_numpy().reshape(-1, 8)
    mean = hourly @ np.arange(1.0, 9.0) / 36.0
    about = np.clip(mean + np.clip(0.0001 - mean, -0.0005, 0.0005), -0.00375, 0.00375)
    rates = tables.funding[PERPETUAL_ID]["rate"].to_numpy()
    assert np.corrcoef(about, rates)[0, 1] > 0.98
    assert np.median(np.abs(about - rates)) * BPS < 0.3
    assert np.abs(np.mean(about - rates)) * BPS < 0.1


@pytest.mark.parametrize(
    ("year", "mean", "negative"), [(2021, 37.5, 4.1), (2022, 0.8, 34.2), (2023, 8.3, 9.1), (2024, 13.0, 4.2), (2025, 4.9, 16.2)]
)
def test_funding_years(tables: Tables, year: int, mean: float, negative: float) -> None:
    """Simple percent a year within half a point, share of negative settlements within two points of what history gave."""
    rates = tables.funding[PERPETUAL_ID]["rate"]
    rates = rates[years_of(pd.DatetimeIndex(rates.index)) == year]
    assert len(rates) == (366 if year % 4 == 0 else 365) * 3
    assert rates.mean() * 3 * 365 * 100 == pytest.approx(mean, abs=0.5)
    assert (rates < 0).mean() * 100 == pytest.approx(negative, abs=2.0)


def test_one_basis_point_is_a_spike(tables: Tables) -> None:
    rates = tables.funding[PERPETUAL_ID]["rate"]
    rates = rates[utc("2021-01-01T08:00") : utc("2025-01-01T00:00")]
    assert 0.30 < (rates == 0.0001).mean() < 0.48
    others = rates[rates != 0.0001].value_counts()
    assert others.iloc[0] < 20  # no second spike
    assert np.array_equal(rates, np.rint(rates * 1e8) / 1e8)


def test_funding_extremes(tables: Tables) -> None:
    rates = tables.funding[PERPETUAL_ID]["rate"]
    assert rates[utc("2021-01-04T08:00")] == rates.max() == 0.00375
    assert rates.idxmin() == utc("2021-05-19T16:00")
    assert rates.min() == pytest.approx(-0.0035, abs=0.0003)


def test_perpetual_basis_reverts_within_hours(tables: Tables) -> None:
    """Around its own day, the hourly basis halves in about 2.3 h."""
    basis = (tables.bars[PERPETUAL_ID]["close"] / tables.bars[SPOT_ID]["close"] - 1.0)[utc("2023-01-01") : utc("2024-12-31")]
    around = basis - basis.rolling(24).mean()
    half_life = math.log(0.5) / math.log(around.autocorr(1))
    assert 1.2 < half_life < 3.5


# --- term structure, deliveries --------------------------------------------------------------------------


def test_early_2021_is_rich_and_then_collapses(front: pd.Series) -> None:
    daily = front.resample("1D").median()
    assert 40.0 < daily[utc("2021-01-01") : utc("2021-02-28")].max() < 80.0
    assert 40.0 < daily[utc("2021-04-01") : utc("2021-05-10")].max() < 80.0
    assert daily[utc("2021-05-10") : utc("2021-05-17")].median() > 25.0
    assert daily[utc("2021-06-01") : utc("2021-06-20")].median() < 5.0


@pytest.mark.parametrize(
    ("month", "low", "high"),
    [("2022-09", -18.0, -9.0), ("2022-11", -26.0, -16.0), ("2022-04", -3.0, 5.0), ("2023-08", 2.0, 9.0), ("2023-12", 8.0, 16.0)],
)
def test_months_of_the_term_structure(front: pd.Series, month: str, low: float, high: float) -> None:
    start = utc(f"{month}-01")
    assert low < front[start : start + pd.offsets.MonthEnd(1)].median() < high


def test_years_of_the_term_structure(front: pd.Series) -> None:
    years = front.groupby(years_of(pd.DatetimeIndex(front.index)))
    median = years.median()
    assert abs(median[2022]) < 4.0
    assert 3.0 < median[2023] < 7.0
    assert median[2024] == pytest.approx(11.5, abs=1.5)
    assert 5.0 < median[2025] < 11.0
    assert 25.0 < front[utc("2024-03-01") : utc("2024-03-28")].median() < 40.0
    assert years.quantile(0.05)[2022] < -10.0


def test_curve_has_no_seams(curve: pd.DataFrame) -> None:
    """Hour to hour, a contract's premium moves by tens of bps at most, except in the named shocks."""
    calm = curve[(curve["days"] > 1.0) & (pd.DatetimeIndex(curve["at"]).year != 2021)]
    premium = calm["annualized"] * calm["days"] / 365.0 * 100.0
    change = premium.groupby(calm["contract"]).diff().abs().dropna()
    assert change.quantile(0.999) < 60.0
    assert change.max() < 200.0


def test_settlements_are_the_average_and_not_the_spot_of_the_instant(tables: Tables, world: World) -> None:
    settled = tables.settlements.set_index("instrument")
    expired = {name: at for name, at in dated(tables).items() if at <= utc("2026-01-01")}
    assert dict(settled["ts"]) == expired
    spot = tables.bars[SPOT_ID]["close"]
    away = []
    for contract in contracts():
        if contract.id not in expired:
            continue
        at, price = expired[contract.id], float(settled["price"][contract.id])
        points = 12 if at < utc("2024-11-11") else 6  # 60 minutes until then, 30 since, in five-minute points
        step = instant(at.strftime("%Y-%m-%dT%H:%M"))
        assert price == pytest.approx(world.index[step - points + 1 : step + 1].mean(), abs=0.0051)
        away.append(abs(spot[at] / price - 1.0) * BPS)
        assert abs(tables.bars[contract.id]["close"].iloc[-1] / price - 1.0) * BPS < 5.0, contract.id
    assert len(away) == 24
    assert 5.0 < np.median(away) < 60.0
    assert max(away) < 200.0
    assert sum(distance > 3.0 for distance in away) >= 18


def test_premium_fades_towards_delivery(curve: pd.DataFrame) -> None:
    last_day = curve[(curve["days"] > 0.2) & (curve["days"] < 1.0)]
    premium = (last_day["annualized"] * last_day["days"] / 365.0 * 100.0).abs()
    assert premium.median() < 10.0
    assert premium.max() < 60.0


# --- series and events -----------------------------------------------------------------------------------


def test_series_are_known_after_their_time(tables: Tables) -> None:
    assert set(tables.series) == {
        "staking_yield", "borrow_usd", "borrow_base", "risk_free", "exchange_reserve", "ETHUSDT-PERP.long_short_ratio", "equity_index",
    }  # fmt: skip
    for name, series in tables.series.items():
        assert list(series.columns) == ["ts", "known_at", "value"]
        assert (series["known_at"] > series["ts"]).all(), name
        assert series["ts"].is_monotonic_increasing
        assert series["ts"].is_unique
        assert series["known_at"].is_monotonic_increasing
        assert series["ts"].iloc[-1] >= utc("2025-12-31")
        if name != "staking_yield":
            assert series["known_at"].iloc[0] <= utc("2020-01-01T00:05"), name


def test_levels_of_the_series(tables: Tables) -> None:
    def values(name: str) -> pd.Series:
        return tables.series[name].set_index("ts")["value"]

    staking, dollars, coins, bill = values("staking_yield"), values("borrow_usd"), values("borrow_base"), values("risk_free")
    assert staking.index[0] == utc("2020-12-01")
    assert staking.iloc[:30].mean() == pytest.approx(0.10, abs=0.01)
    assert staking.iloc[-90:].mean() == pytest.approx(0.03, abs=0.005)
    assert dollars.between(0.03, 0.12).all()
    assert dollars[utc("2021-02-01") : utc("2021-04-30")].mean() > 2.0 * dollars[utc("2022-06-01") : utc("2022-12-31")].mean()
    assert coins.between(0.01, 0.03).all()
    assert bill[utc("2020-06-01") : utc("2021-12-31")].between(0.0, 0.003).all()
    assert bill[utc("2023-01-01") : utc("2024-10-31")].between(0.042, 0.055).all()
    assert set(pd.DatetimeIndex(bill.index).day_of_week) == {0, 1, 2, 3, 4}


def known(tables: Tables, name: str) -> pd.Series:
    """A series by the time at which it could be read."""
    return tables.series[name].set_index("known_at")["value"]


def test_the_reserve_falls_slowly_and_is_a_few_times_the_open_interest(tables: Tables) -> None:
    coins = known(tables, "exchange_reserve")
    assert np.array_equal(coins, np.rint(coins))
    assert (coins.index.hour == 1).all()
    yearly = coins.groupby(pd.DatetimeIndex(coins.index).year).mean()[2020:2025]
    assert yearly.is_monotonic_decreasing
    assert coins.pct_change().abs().max() < 0.02
    interest = tables.bars[PERPETUAL_ID]["open_interest"]
    ratio = (interest / coins.reindex(interest.index, method="ffill")).groupby(years_of(pd.DatetimeIndex(interest.index))).median()
    assert ratio.between(0.1, 0.5).all()


def test_the_crowd_is_long_when_longs_pay(tables: Tables) -> None:
    ratio = known(tables, f"{PERPETUAL_ID}.long_short_ratio")
    assert ratio.between(1.0, 3.5).all()
    assert set(np.diff(ratio.index)) == {np.timedelta64(4, "h")}
    paid = tables.funding[PERPETUAL_ID]["rate"].rolling(9).mean().dropna()
    there = ratio.reindex(paid.index, method="ffill")
    assert 0.6 < there.rank().corr(paid.rank()) < 0.95


def test_the_stock_index_runs_a_little_ahead_of_the_coin(tables: Tables) -> None:
    index = known(tables, "equity_index")
    assert (index.index.hour == 21).all()
    assert set(pd.DatetimeIndex(index.index).day_of_week) == {0, 1, 2, 3, 4}
    spot = tables.bars[SPOT_ID]["close"].reindex(index.index, method="ffill")
    trend, ahead = index.pct_change(10), spot.shift(-5) / spot - 1.0
    assert 0.05 < trend.corr(ahead) < 0.4
    assert 0.1 < index.pct_change().std() * math.sqrt(252) < 0.25
    assert 3000 < index.iloc[0] < 3500
    assert 5000 < index.iloc[-1] < 9000


def test_upgrades_are_announced_two_weeks_ahead(tables: Tables) -> None:
    assert set(tables.events["ts"] - tables.events["known_at"]) == {14 * DAY}


def test_events_are_the_network_s_upgrades(tables: Tables) -> None:
    days = [time.strftime("%Y-%m-%d") for time in tables.events["ts"]]
    assert days == ["2020-12-01", "2021-08-05", "2022-09-15", "2023-04-12", "2024-03-13", "2025-05-07"]
    assert set(tables.events["kind"]) == {"upgrade"}
