"""Every rule of the check finds the fault it is for, where it was planted, and says nothing of clean data."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtest.data.checks.findings import Examined, InMemory, examine
from backtest.data.checks.funding import divided, too_early
from backtest.data.checks.words import Finding
from backtest.data.checks.years import repeated
from backtest.data.hours import closing_hour, lag_hours, open_at
from backtest.data.sample import sample_tables
from backtest.data.schema import Tables
from backtest.instruments import Instrument, Kind

SPOT, PERP, FUTURE, LATER = "ETHUSDT-SPOT", "ETHUSDT-PERP", "ETHUSDT-240329", "ETHUSDT-240628"
START = pd.Timestamp("2024-02-01T00:00Z")
HOURS = 24 * 57 + 8  # to the delivery on 29 March at 08:00


def instant(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def bars_of(price: np.ndarray, stamps: pd.DatetimeIndex, volume: float = 5.0) -> pd.DataFrame:
    """Bars that open at the close before them, with small wicks."""
    open_ = np.concatenate([price[:1], price[:-1]])
    top, bottom = np.maximum(open_, price), np.minimum(open_, price)
    columns = {"open": open_, "high": top * 1.001, "low": bottom * 0.999, "close": price, "volume": volume}
    return pd.DataFrame(columns, index=stamps.as_unit("ns").rename("ts"))


def one(name: str, kind: Kind, venue: str = "binance", quote: str = "USDT", expires_at: pd.Timestamp | None = None) -> Instrument:
    return Instrument(id=name, venue=venue, kind=kind, base="ETH", quote=quote, expires_at=expires_at)


def walk(count: int, seed: int, size: float = 0.006) -> np.ndarray:
    return 3000.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, size, count)))


@pytest.fixture
def world() -> Tables:
    """Eight clean weeks of hours: a spot, a perpetual with funding, a contract that is delivered at the end and a later one."""
    random = np.random.default_rng(7)
    stamps = pd.date_range(START + pd.Timedelta("1h"), periods=HOURS, freq="h")
    price = walk(HOURS, 1)
    left = np.asarray((instant("2024-03-29T08:00") - stamps) / pd.Timedelta("365D"))
    paid = pd.date_range(START, stamps[-1], freq="8h").as_unit("ns").rename("ts")
    rates = np.round(random.normal(1e-4, 3e-5, len(paid)), 8)
    rates[::2] = 1e-4
    return Tables(
        instruments=[
            one(SPOT, Kind.SPOT),
            one(PERP, Kind.PERPETUAL),
            one(FUTURE, Kind.FUTURE, expires_at=instant("2024-03-29T08:00")),
            one(LATER, Kind.FUTURE, expires_at=instant("2024-06-28T08:00")),
        ],
        bars={
            SPOT: bars_of(price, stamps),
            PERP: bars_of(price * (1 + random.normal(0, 1e-4, HOURS)), stamps),
            FUTURE: bars_of(price * (1 + 0.1 * left) * (1 + random.normal(0, 1e-4, HOURS)), stamps),
            LATER: bars_of(price * (1 + 0.1 * (left + 0.25)) * (1 + random.normal(0, 1e-4, HOURS)), stamps),
        },
        funding={PERP: pd.DataFrame({"rate": rates, "interval_hours": 8.0, "mark_price": np.nan}, index=paid)},
    )


def found(tables: Tables, rule: str) -> list[Finding]:
    return [finding for finding in of(tables).findings if finding.rule == rule]


def of(tables: Tables) -> Examined:
    examined = examine(InMemory(tables))
    assert examined.errors == []
    return examined


def moved(tables: Tables, key: str, rows: slice, factor: float) -> None:
    """Multiply some bars' prices."""
    tables.bars[key].iloc[rows, :4] *= factor


def daily(tables: Tables, key: str, name: str, *, at: int = 0, venue: str = "coinbase") -> None:
    """Add daily bars made of the closes at an hour of the day, stamped at midnight."""
    close = tables.bars[key]["close"]
    close = close[close.index.hour == at]
    stamps = close.index + pd.Timedelta(hours=(24 - at) % 24)
    tables.bars[name] = bars_of(close.to_numpy(), pd.DatetimeIndex(stamps))
    tables.instruments.append(one(name, Kind.SPOT, venue=venue))


def test_nothing_is_said_of_clean_data(world: Tables) -> None:
    assert of(world).findings == []


def test_nothing_is_said_of_the_sample() -> None:
    assert of(sample_tables()).findings == []


# --- legs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [SPOT, PERP, FUTURE])
def test_a_stale_stretch_is_found(world: Tables, key: str) -> None:
    world.bars[key].iloc[101:131, :4] = world.bars[key]["close"].iloc[100]
    (finding,) = found(world, "stale stretch")
    assert (finding.instrument, finding.grave) == (key, True)
    assert finding.holes == ((world.bars[key].index[101], world.bars[key].index[130], 30),)
    assert "its close stands still for 4 bars or more while" in finding.text
    assert "2024-02-05T06:00Z to 2024-02-06T11:00Z (30)" in finding.text


def test_a_market_that_stands_still_is_not_stale(world: Tables) -> None:
    for key in world.bars:
        world.bars[key].iloc[101:131, :4] = world.bars[key]["close"].iloc[100]
    assert found(world, "stale stretch") == []


def test_three_equal_closes_are_chance(world: Tables) -> None:
    moved(world, SPOT, slice(101, 103), 1.0)
    world.bars[PERP].iloc[101:103, :4] = world.bars[PERP]["close"].iloc[100]
    assert found(world, "stale stretch") == []


@pytest.mark.parametrize(("key", "factor"), [(SPOT, 1.05), (PERP, 0.93), (FUTURE, 1.5)])
def test_a_price_that_jumps_alone_and_comes_back_is_found(world: Tables, key: str, factor: float) -> None:
    moved(world, key, slice(400, 402), factor)
    (finding,) = found(world, "outlier")
    assert (finding.instrument, finding.grave) == (key, True)
    assert [first for first, _, _ in finding.holes] == list(world.bars[key].index[400:402])
    assert f"{key}: 2 closes jump away from" in finding.text
    assert f"{factor - 1:+.0%}"[:2] in finding.text


def test_a_jump_of_the_market_is_no_outlier_and_neither_is_a_new_level(world: Tables) -> None:
    for key in world.bars:
        moved(world, key, slice(400, 402), 1.2)
    moved(world, LATER, slice(600, None), 1.04)
    assert found(world, "outlier") == []


def test_a_wick_that_one_leg_has_alone_is_noted(world: Tables) -> None:
    world.bars[PERP].iloc[300, 2] *= 0.7
    (finding,) = found(world, "wick")
    assert (finding.instrument, finding.grave, finding.holes[0][0]) == (PERP, False, world.bars[PERP].index[300])
    assert "2024-02-13T13:00Z -30%" in finding.text
    world.bars[SPOT].iloc[300, 2] *= 0.7
    assert found(world, "wick") == []


def test_the_low_of_a_day_is_not_held_against_that_of_an_hour(world: Tables) -> None:
    daily(world, PERP, "ETHUSDT-SPOT.coinbase")
    world.bars["ETHUSDT-SPOT.coinbase"]["low"] *= 0.8
    assert of(world).findings == []


@pytest.mark.parametrize("factor", [0.97, 1.03])
def test_a_basis_that_is_impossible_at_expiry_is_found(world: Tables, factor: float) -> None:
    moved(world, FUTURE, slice(-40, None), factor)
    (finding,) = found(world, "basis at expiry")
    assert (finding.instrument, finding.grave) == (FUTURE, True)
    assert "at delivery (at 2024-03-29T08:00Z) they can't be over 0.50% apart" in finding.text
    moved(world, FUTURE, slice(-40, None), 1 / factor)
    assert found(world, "basis at expiry") == []


def test_a_contract_far_from_its_end_may_have_any_premium(world: Tables) -> None:
    moved(world, LATER, slice(None), 1.1)
    assert found(world, "basis at expiry") == []


def test_one_file_imported_as_two_instruments_is_found_once(world: Tables) -> None:
    world.bars[PERP] = world.bars[SPOT].copy()
    (finding,) = found(world, "same prices")
    assert "has the closes of" in finding.text
    assert "at 100% of their 1,376 common stamps" in finding.text


def test_a_bar_cut_short_is_told_only_where_such_gaps_are_unusual(world: Tables) -> None:
    """A thin contract whose every open stands somewhere else has no cut bars."""
    world.bars[PERP].iloc[500, [2, 3]] *= 0.99
    (finding,) = found(world, "cut short")
    assert finding.by_instrument == {PERP: ((world.bars[PERP].index[500], world.bars[PERP].index[500], 1),)}
    noise = 1 + np.random.default_rng(3).normal(0, 0.004, HOURS)
    world.bars[PERP]["open"] *= noise
    world.bars[PERP]["high"] = world.bars[PERP].max(axis=1)
    world.bars[PERP]["low"] = world.bars[PERP][["open", "close", "low"]].min(axis=1)
    assert found(world, "cut short") == []


# --- funding ---------------------------------------------------------------------------------------------


def hourly_rates(count: int, seed: int = 5) -> pd.DataFrame:
    index = pd.date_range("2024-02-01T01:00Z", periods=count, freq="h", name="ts").as_unit("ns")
    rates = np.where(np.random.default_rng(seed).random(count) < 0.7, 1.25e-5, np.random.default_rng(seed).normal(2e-5, 1e-5, count))
    return pd.DataFrame({"rate": rates, "interval_hours": 1.0, "mark_price": np.nan}, index=index)


def test_missing_funding_is_told_by_its_holes(world: Tables) -> None:
    world.funding[PERP] = world.funding[PERP].drop(world.funding[PERP].index[[10, 11, 12, 13, 14, 30, 40]])
    (finding,) = found(world, "missing funding")
    assert finding.text == (
        "ETHUSDT-PERP: 7 funding events are missing in 3 holes: 2024-02-04T08:00Z to 2024-02-05T16:00Z (5), 2024-02-11T00:00Z (1), "
        "2024-02-14T08:00Z (1); import them, or end the run before"
    )
    assert [count for _, _, count in finding.holes] == [5, 1, 1]


def test_hyperliquids_holes_are_found_with_their_times(raw: Path) -> None:
    """Funding without bars is held against itself; the holes are counted here from the raw stamps."""
    rows = json.loads((raw / "hyperliquid-eth" / "hl_ETH_funding_rates.json").read_text())
    hours = sorted(round(row["time"] / 3_600_000) for row in rows)
    gaps = [(before + 1, after - 1) for before, after in pairwise(hours) if after - before > 1]
    index = pd.DatetimeIndex(pd.to_datetime(hours, unit="h", utc=True)).as_unit("ns").rename("ts")
    name = "ETHUSD-PERP.hyperliquid"
    funding = pd.DataFrame({"rate": [float(row["funding_rate"]) for row in rows], "interval_hours": 1.0}, index=index)
    tables = Tables(instruments=[one(name, Kind.PERPETUAL, venue="hyperliquid", quote="USD")], funding={name: funding})
    nothing, finding = of(tables).findings
    assert nothing.text == f"{name}: has no bars; import them, or leave the instrument out"
    assert finding.text.startswith(f"{name}: 5,280 funding events are missing in 25 holes: 2024-01-21T20:00Z to 2024-01-30T23:00Z (220), ")
    assert finding.text.endswith("2025-12-11T20:00Z to 2025-12-20T23:00Z (220); import them, or end the run before")
    assert "2024-08-15T13:00Z (1), " in finding.text
    assert [(first.value, last.value) for first, last, _ in finding.holes] == [(a * 3_600 * 10**9, b * 3_600 * 10**9) for a, b in gaps]
    assert (len(gaps), sum(b - a + 1 for a, b in gaps)) == (25, 5280)
    assert of(tables).seen[name].unpaid == 5280


def test_an_8_h_rate_divided_into_hours_is_found(world: Tables) -> None:
    eighths = np.repeat(world.funding[PERP]["rate"].to_numpy()[1:] / 8, 8)
    world.funding[PERP] = hourly_rates(len(eighths)).assign(rate=eighths)
    (finding,) = found(world, "divided funding")
    assert (finding.instrument, finding.grave, finding.of_funding) == (PERP, True, True)
    assert "its 1 h funding rates change at one hour in eight only, so they look like 8 h rates that were divided by 8" in finding.text
    assert finding.spoils.length > 0
    world.funding[PERP] = hourly_rates(len(eighths))
    assert of(world).findings == []


def test_a_4_h_series_of_halves_is_divided_and_rates_that_never_change_are_not() -> None:
    half = hourly_rates(400).iloc[::4].assign(interval_hours=4.0)
    assert divided(half) is None
    halves = half.assign(rate=np.repeat(half["rate"].to_numpy()[::2], 2))
    assert divided(halves) == 4.0
    assert divided(half.assign(rate=1e-4)) is None
    assert divided(half.iloc[:2]) is None
    assert divided(halves.iloc[::2].assign(interval_hours=8.0)) is None


def test_changes_of_the_interval_are_allowed(world: Tables) -> None:
    """8 → 4 → 1 → 8 h."""
    funding = world.funding[PERP]
    hours = [*range(0, 400, 8), *range(400, 600, 4), *range(600, 900), *range(900, HOURS + 1, 8)]
    length = [8.0] * 51 + [4.0] * 49 + [4.0] + [1.0] * 299 + [1.0] + [8.0] * (len(hours) - 401)
    index = (START + pd.to_timedelta(hours, unit="h")).as_unit("ns").rename("ts")
    rates = np.random.default_rng(2).normal(1e-4, 1e-5, len(hours))
    world.funding[PERP] = pd.DataFrame({"rate": rates, "interval_hours": length}, index=index)
    assert len(funding)
    assert of(world).findings == []


def test_funding_sooner_than_its_interval_is_found(world: Tables) -> None:
    twice = hourly_rates(60).assign(interval_hours=8.0)
    assert len(too_early(twice)) == 59
    world.funding[PERP] = pd.concat([twice.iloc[:3], world.funding[PERP].iloc[1:]])
    (finding,) = found(world, "funding too often")
    assert finding.text.startswith(
        "ETHUSDT-PERP: 2 funding events come sooner than half the interval they are said to end: 2024-02-01T02:00Z, 2024-02-01T03:00Z;"
    )


def test_a_venue_that_pays_every_hour_has_no_8_h_funding(world: Tables) -> None:
    world.instruments[1] = one(PERP, Kind.PERPETUAL, venue="hyperliquid")
    (finding,) = found(world, "funding too seldom")
    assert finding.text == "ETHUSDT-PERP: its funding events are 8 h apart and hyperliquid pays every 1 h; import every event"
    world.instruments[1] = one(PERP, Kind.PERPETUAL, venue="nowhere")
    assert of(world).findings == []


# --- hours -----------------------------------------------------------------------------------------------


def test_daily_closes_of_another_hour_are_told_by_an_hourly_series(world: Tables) -> None:
    daily(world, SPOT, "ETHUSDT-SPOT.coinbase", at=20)
    (finding,) = of(world).findings
    assert (finding.rule, finding.instrument, finding.grave) == ("closing hour", "ETHUSDT-SPOT.coinbase", True)
    assert "its daily closes stamped 00:00 fit ETHUSDT-SPOT at 20:00, 4 h earlier (median error 0 bps there" in finding.text


def test_daily_closes_of_midnight_are_left_alone(world: Tables) -> None:
    daily(world, PERP, "ETHUSDT-SPOT.coinbase")
    assert of(world).findings == []


def test_a_daily_series_stamped_by_its_start_fits_a_day_later(world: Tables) -> None:
    daily(world, SPOT, "ETHUSDT-SPOT.coinbase")
    world.bars["ETHUSDT-SPOT.coinbase"].index -= pd.Timedelta("1D")
    (finding,) = found(world, "closing hour")
    assert "24 h later" in finding.text


def years(count: int = 900, seed: int = 11) -> tuple[pd.DatetimeIndex, np.ndarray]:
    """Hourly closes for some days."""
    return pd.date_range("2021-01-01T01:00Z", periods=24 * count, freq="h"), walk(24 * count, seed)


def two_dailies(at: int) -> Tables:
    """A perpetual closing at midnight, and a spot whose closes are those of an hour of the day, both stamped at midnight; no hourly series."""
    stamps, price = years()
    noise = 1 + np.random.default_rng(4).normal(0, 2e-4, 900)
    midnight = stamps[23::24]
    shifted = price[at - 1 :: 24]
    tables = Tables(
        instruments=[one("ETHUSDT-SPOT", Kind.SPOT), one("ETHUSD-SPOT.coinbase", Kind.SPOT, venue="coinbase")],
        bars={"ETHUSDT-SPOT": bars_of(price[23::24], midnight), "ETHUSD-SPOT.coinbase": bars_of(shifted * noise, midnight)},
    )
    return tables


@pytest.mark.parametrize(("at", "hours"), [(20, 4), (16, 8), (22, 2)])
def test_daily_closes_of_another_hour_are_told_by_daily_closes(at: int, hours: int) -> None:
    (finding,) = found(two_dailies(at), "closing hour")
    assert finding.instrument == "ETHUSDT-SPOT" or finding.instrument == "ETHUSD-SPOT.coinbase"
    told = int(finding.text.split("about ")[1].split(" h")[0])
    assert abs(told - hours) <= 2
    older = "older" in finding.text
    assert older is (finding.instrument == "ETHUSD-SPOT.coinbase")


def test_daily_closes_of_one_hour_are_left_alone() -> None:
    assert of(two_dailies(24)).findings == []


def test_daily_bars_stamped_at_different_hours_never_meet() -> None:
    tables = two_dailies(24)
    tables.bars["ETHUSD-SPOT.coinbase"].index -= pd.Timedelta("3h")
    (finding,) = of(tables).findings
    assert (finding.rule, finding.grave) == ("closing hour", True)
    assert finding.text == (
        "daily bars end at different times of the day, so their closes never meet: 21:00 ETHUSD-SPOT.coinbase; 00:00 ETHUSDT-SPOT; "
        "import hourly bars of one leg, or closes of the same hour"
    )


def test_hours_can_not_be_told_from_a_few_days() -> None:
    stamps, price = years(20)
    hourly = pd.Series(price, index=stamps)
    assert closing_hour(hourly.iloc[23::24], hourly) is None
    assert lag_hours(hourly.iloc[23::24], hourly.iloc[23::24]) is None


def test_contracts_of_a_venue_with_hours_are_judged_together() -> None:
    """One thin contract is no proof; three whose closes are of 19:00 under stamps of midnight are."""
    stamps, price = years()
    midnight = stamps[23::24]

    def contracts(at: int) -> Tables:
        bars = {"ETHUSD-SPOT.coinbase": bars_of(price[23::24], midnight)}
        instruments = [one("ETHUSD-SPOT.coinbase", Kind.SPOT, venue="coinbase", quote="USD")]
        for number in range(3):
            name = f"METUSD-25032{number}.cme"
            noise = 1.01 + np.random.default_rng(number).normal(0, 1e-3, 900)
            working = np.asarray((midnight - pd.Timedelta("1ns")).day_of_week < 5)
            bars[name] = bars_of(price[at - 1 :: 24] * noise, midnight)[working]
            instruments.append(one(name, Kind.FUTURE, venue="cme", quote="USD", expires_at=instant(f"2025-03-2{number}T16:00")))
        return Tables(instruments=instruments, bars=bars)

    assert [finding.instrument for finding in found(contracts(19), "closing hour")] == [f"METUSD-25032{number}.cme" for number in range(3)]
    assert found(contracts(24), "closing hour") == []


def test_weekends_and_holidays_of_the_exchange_are_not_missing() -> None:
    days = pd.date_range("2024-03-20T00:00Z", "2024-04-10T00:00Z", freq="D")
    last = days - pd.Timedelta("1ns")
    working = (last.day_of_week < 5) & (last.day_of_year != pd.Timestamp("2024-03-29").day_of_year)  # Good Friday
    assert list(open_at("cme", days, pd.Timedelta("1D"))) == list(working)
    assert open_at("binance", days, pd.Timedelta("1D")).all()
    kept = days[working]
    name = "ETHUSD-240426.cme"
    tables = Tables(
        instruments=[one(name, Kind.FUTURE, venue="cme", quote="USD", expires_at=instant("2024-04-26T15:00"))],
        bars={name: bars_of(walk(len(kept), 3), kept)},
    )
    assert of(tables).findings == []
    tables.bars[name] = tables.bars[name].drop(tables.bars[name].index[5:7])
    (finding,) = of(tables).findings
    assert (finding.rule, finding.grave) == ("untraded days", False)
    assert f"nobody traded or nobody recorded: {name} 2 bars" in finding.text


def test_an_exchange_rests_for_an_hour_and_at_the_weekend() -> None:
    """CME in winter: Friday 22:00 UTC to Sunday 23:00, and 22:00 to 23:00 on other days."""
    stamps = pd.date_range("2024-02-08T21:00Z", "2024-02-12T01:00Z", freq="h")
    shut = [f"{stamp:%d %H}" for stamp, due in zip(stamps, open_at("cme", stamps, pd.Timedelta("1h")), strict=True) if not due]
    weekend = pd.date_range("2024-02-09T23:00Z", "2024-02-11T23:00Z", freq="h")
    assert shut == ["08 23", *(f"{stamp:%d %H}" for stamp in weekend)]


# --- years and settles -----------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [365, 366, 730, 731])
def test_a_year_that_stands_twice_is_found(days: int) -> None:
    stamps = pd.date_range("2021-01-02T00:00Z", periods=1200, freq="D")
    price = walk(1200, 9, 0.03)
    price[800:1000] = price[800 - days : 1000 - days]
    tables = Tables(instruments=[one(SPOT, Kind.SPOT)], bars={SPOT: bars_of(price, stamps)})
    (finding,) = of(tables).findings
    assert (finding.rule, finding.grave) == ("duplicated year", True)
    assert finding.holes == ((stamps[800], stamps[999], 200),)
    assert (
        f"its closes from 2023-03-13T00:00Z to 2023-09-28T00:00Z are those of {'1 year' if days < 400 else '2 years'} earlier ({days} days; 200"
        in finding.text
    )
    tables.bars[SPOT] = bars_of(walk(1200, 9, 0.03), stamps)
    assert of(tables).findings == []


def test_a_year_of_funding_that_stands_twice_is_found_and_calm_years_are_not() -> None:
    index = pd.date_range("2021-01-01T00:00Z", periods=3 * 800, freq="8h")
    random = np.random.default_rng(8)
    rates = pd.Series(np.where(random.random(2400) < 0.6, 1e-4, np.round(random.normal(1e-4, 5e-5, 2400), 8)), index=index)
    assert repeated(rates) == []
    rates.iloc[1095 + 300 : 1095 + 900] = rates.iloc[300:900].to_numpy()
    (copy,) = repeated(rates)
    assert copy.days == 365
    assert index[1095 + 300] <= copy.first < index[1095 + 310]
    assert index[1095 + 890] < copy.last <= index[1095 + 899]
    name = PERP
    tables = Tables(
        instruments=[one(name, Kind.PERPETUAL)],
        funding={name: pd.DataFrame({"rate": rates.to_numpy()}, index=index.as_unit("ns").rename("ts"))},
    )
    (finding,) = found(tables, "duplicated year")
    assert finding.of_funding
    assert "its funding rates from" in finding.text


def test_minute_bars_are_looked_at_by_the_hour() -> None:
    index = pd.date_range("2021-01-01T00:00Z", periods=400 * 1440, freq="min")
    price = pd.Series(walk(len(index), 2, 1e-4), index=index)
    assert repeated(price) == []
    price.iloc[370 * 1440 : 380 * 1440] = price.iloc[5 * 1440 : 15 * 1440].to_numpy()
    (copy,) = repeated(price)
    assert (copy.first, copy.days) == (index[370 * 1440], 365)


def test_settles_without_volume_are_noted_where_the_venue_has_volume(world: Tables) -> None:
    for row, volume in ((50, 0.0), (51, np.nan), (52, 3.0)):
        world.bars[LATER].iloc[row, :4] = world.bars[LATER]["close"].iloc[row]
        world.bars[LATER].iloc[row, 4] = volume
    world.bars[LATER].iloc[60, 4] = 0.0  # no volume, but prices that differ
    (finding,) = found(world, "volume-less settles")
    assert (finding.grave, finding.text) == (
        False,
        f"binance: bars with one price and no volume, so their close is a settle or a repetition and not a trade: {LATER} 2 bars",
    )
    for bars in world.bars.values():
        bars["volume"] = np.nan
    assert found(world, "volume-less settles") == []


# --- the verdict's and the reader's side -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda t: t.bars.pop(FUTURE), "no bars"),
        (lambda t: t.funding.clear(), "no funding"),
        (lambda t: t.bars.update({SPOT: t.bars[SPOT].drop(t.bars[SPOT].index[7])}), "missing bars"),
        (lambda t: t.instruments.append(one("ETHUSD-SPOT", Kind.SPOT, quote="USD")), "quotes"),
    ],
)
def test_what_is_not_there_is_told(world: Tables, change: Callable[[Tables], object], rule: str) -> None:
    change(world)
    assert rule in {finding.rule for finding in of(world).findings}


def test_one_bar_is_missing_and_two_bars_are(world: Tables) -> None:
    world.bars[SPOT] = world.bars[SPOT].drop(world.bars[SPOT].index[7])
    (finding,) = of(world).findings
    assert finding.text == "ETHUSDT-SPOT: 1 bar is missing: 2024-02-01T08:00Z; import it, or allow the gap when loading"
    world.bars[SPOT] = world.bars[SPOT].drop(world.bars[SPOT].index[7])
    assert "2 bars are missing: 2024-02-01T08:00Z, 2024-02-01T09:00Z; import them" in of(world).findings[0].text


def test_a_long_hole_in_fine_bars_is_found_at_once() -> None:
    """Two years of missing seconds are sixty million stamps; they are counted, not walked through."""
    stamps = pd.date_range("2024-01-01T00:00:01Z", periods=100, freq="s").append(
        pd.date_range("2024-01-02T00:00:01Z", periods=100, freq="s")
    )
    tables = Tables(instruments=[one(SPOT, Kind.SPOT)], bars={SPOT: bars_of(walk(200, 2, 1e-4), stamps)})
    (finding,) = of(tables).findings
    assert finding.holes == ((stamps[99] + pd.Timedelta("1s"), stamps[100] - pd.Timedelta("1s"), 86_300),)
