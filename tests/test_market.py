"""The market: one clock for all instruments, staleness, coarser bars, series as known, settlement prices, gaps and missing funding."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markets import (
    BARS,
    FAR,
    FAR_EXPIRY,
    HOUR,
    LAST,
    NEAR,
    NEAR_EXPIRY,
    PERP,
    SPOT,
    START,
    bars,
    ether,
    funding,
    instrument,
    load,
    only,
    series,
    times,
    write,
)

from backtest.data.schema import Tables
from backtest.data.store import open_dataset
from backtest.errors import DataError, ParameterError
from backtest.instruments import Instrument, Kind, Settle
from backtest.load import load_market, note_gaps, resample, usual_step
from backtest.market import AGE, DAY, YEAR, DatasetInfo, Market, frozen, nanoseconds, utc
from backtest.rule import instant


def at(market: Market, time: str | pd.Timestamp) -> int:
    """Number of the bar with this stamp."""
    return int(market.clock.get_loc(pd.Timestamp(time)))


# ---------------------------------------------------------------- one clock


def test_the_clock_is_the_union_of_all_bar_ends(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, PERP)
    tables.bars[SPOT] = tables.bars[SPOT].iloc[:6]  # hours 1…6
    tables.bars[PERP] = bars([5.0, 6.0, 7.0], times("2024-03-01T03:30Z", 3, "2h"))  # 03:30, 05:30, 07:30
    market = load(tmp_path, tables)
    hours = [1, 2, 3, 3.5, 4, 5, 5.5, 6, 7.5]
    assert list((market.clock - START) / HOUR) == hours
    assert (len(market), market.step, market.start) == (9, 3600 * 10**9, START.value)
    nan = np.nan
    np.testing.assert_array_equal(market.raw(PERP, "close"), [nan, nan, nan, 5, nan, nan, 6, nan, 7])
    np.testing.assert_array_equal(market.last_known(PERP), [nan, nan, nan, 5, 5, 5, 6, 6, 7])
    np.testing.assert_array_equal(market.raw(PERP, "mark"), np.full(9, nan))
    assert (market.first_bar(PERP), market.first_bar(SPOT)) == (3, 0)
    np.testing.assert_allclose(market.years * 8760, np.diff([0, *hours]))
    assert market.clock.tz is not None
    assert market.clock.unit == "ns"
    np.testing.assert_array_equal(market.stamps, nanoseconds(market.clock))


def test_everything_shared_is_read_only_and_computed_once(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    events = market.funding(PERP)
    shared = [
        market.stamps, market.years, market.raw(SPOT, "open"), market.last_known(PERP), market.close(NEAR), market.series("risk_free"),
        events.rates, events.marks, events.hours,
    ]  # fmt: skip
    for values in shared:
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1
    assert market.raw(SPOT, "open") is market.raw(SPOT, "open")
    assert market.close(SPOT) is market.close(SPOT)
    assert market.series("risk_free") is market.series("risk_free")
    assert market.series("risk_free", before=True) is not market.series("risk_free")
    assert market.funding(PERP) is events


def test_a_period_keeps_bars_after_start_up_to_end(tmp_path: Path) -> None:
    path = write(tmp_path, ether())
    market = load_market(path, "2024-03-02T05:00", "2024-03-03")
    assert (market.clock[0], market.clock[-1]) == (pd.Timestamp("2024-03-02T06:00Z"), pd.Timestamp("2024-03-03T00:00Z"))
    assert market.start == pd.Timestamp("2024-03-02T05:00Z").value
    zoned = load_market(path, pd.Timestamp("2024-03-02T06:00", tz="Europe/Berlin"), pd.Timestamp("2024-03-03", tz="UTC"))
    assert zoned.clock.equals(market.clock)
    late = load_market(path, NEAR_EXPIRY)
    assert NEAR not in late.instruments, "a contract without bars in the period takes no part"


def test_a_market_says_what_it_is(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    assert repr(market) == "<Market test: 4 instruments, 200 bars, 2024-03-01 to 2024-03-09>"
    assert market.info == DatasetInfo("test", open_dataset(tmp_path / "dataset").hash, True, str(tmp_path / "dataset"))


# ---------------------------------------------------------------- legs


def test_legs_of_a_market(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    assert market.spot == market.leg(SPOT)
    assert (market.perpetual.kind, market.perpetual.contracts, market.perpetual.chain) == (Kind.PERPETUAL, (PERP,), False)
    chain = market.future_chain(min_days=14)
    assert (chain.kind, chain.contracts, chain.min_days, chain.chain) == (Kind.FUTURE, (NEAR, FAR), 14.0, True)
    assert market.future_chain(base="ETH").contracts == (NEAR, FAR)


def test_a_chain_is_in_the_order_of_expiry_whatever_the_names(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, NEAR, FAR)
    tables.settlements = tables.settlements.iloc[:0]
    for name, other in (("Z-NEAR", NEAR), ("A-FAR", FAR)):
        tables.instruments = [replace(item, id=name) if item.id == other else item for item in tables.instruments]
        tables.bars[name] = tables.bars.pop(other)
    assert load(tmp_path, tables).future_chain().contracts == ("Z-NEAR", "A-FAR")


def test_several_spots_are_named_and_one_can_be_chosen(tmp_path: Path) -> None:
    tables = ether()
    tables.instruments.append(instrument("ETHUSDC-SPOT", Kind.SPOT, quote="USDC"))
    tables.bars["ETHUSDC-SPOT"] = tables.bars[SPOT]
    market = load(tmp_path, tables)
    told = (
        "the rule needs one spot and the dataset test has several: ETHUSDC-SPOT, ETHUSDT-SPOT; "
        'choose one with market.leg("ETHUSDC-SPOT"), or load only what the rule needs with instruments=… (--instruments)'
    )
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        _ = market.spot
    assert market.leg("ETHUSDC-SPOT").kind is Kind.SPOT


def test_a_missing_kind_says_what_the_market_has(tmp_path: Path) -> None:
    market = load(tmp_path, only(ether(), SPOT))
    with pytest.raises(DataError, match=f"^the rule needs one perpetual and the dataset test has none; the market has {SPOT}$"):
        _ = market.perpetual
    with pytest.raises(DataError, match=f"^the rule needs dated futures and the dataset test has none; the market has {SPOT}$"):
        market.future_chain()


def test_an_unknown_instrument_has_a_nearest_name(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    with pytest.raises(DataError, match=r'^unknown instrument "ETHUSDT-PREP" in dataset test; did you mean "ETHUSDT-PERP"\?$'):
        market.leg("ETHUSDT-PREP")


def test_an_instrument_without_bars_in_the_period_is_not_unknown(tmp_path: Path) -> None:
    market = load(tmp_path, ether(), NEAR_EXPIRY)
    told = (
        f"{NEAR} has no bars between 2024-03-06T08:00Z and 2024-03-09T08:00Z in test, or instruments=… left it out; "
        "choose another period or name it"
    )
    with pytest.raises(DataError, match=f"^{told}$"):
        market.leg(NEAR)


def test_a_chain_is_of_one_asset_and_min_days_is_no_debt(tmp_path: Path) -> None:
    tables = ether()
    tables.instruments.append(instrument("BTCUSDT-240329", Kind.FUTURE, FAR_EXPIRY, base="BTC"))
    tables.bars["BTCUSDT-240329"] = tables.bars[FAR]
    market = load(tmp_path, tables)
    with pytest.raises(DataError, match=r"^dated futures of several assets in test: BTC, ETH; choose base=…$"):
        market.future_chain()
    assert market.future_chain(base="BTC").contracts == ("BTCUSDT-240329",)
    with pytest.raises(ParameterError, match=r"^min_days must be at least 0: min_days=-1$"):
        market.future_chain(-1)
    with pytest.raises(ParameterError, match=r"^min_days must be a finite number: min_days=nan$"):
        market.future_chain(float("nan"))


def chains(folder: Path, *others: Instrument) -> Market:
    """The small market with more contracts, each with the far one's bars."""
    tables = ether()
    for other in others:
        tables.instruments.append(other)
        tables.bars[other.id] = tables.bars[FAR]
    return load(folder, tables)


LATER = FAR_EXPIRY + pd.Timedelta(days=91)


def test_a_chain_is_of_one_venue_which_can_be_chosen(tmp_path: Path) -> None:
    market = chains(tmp_path, instrument("ETHUSDT-240329.okx", Kind.FUTURE, FAR_EXPIRY, venue="okx"))
    with pytest.raises(DataError, match=r"^dated futures of several venues in test: binance, okx; choose venue=…$"):
        market.future_chain()
    assert market.future_chain(venue="okx").contracts == ("ETHUSDT-240329.okx",)
    assert market.future_chain(7, base="ETH", venue="binance").contracts == (NEAR, FAR)
    told = (
        "the rule needs dated futures of venue kraken and the dataset test has none; "
        f"its dated futures are {NEAR}, {FAR}, ETHUSDT-240329.okx"
    )
    with pytest.raises(DataError, match=f"^{told}$"):
        market.future_chain(venue="kraken")


def test_a_chain_is_of_one_quote_currency(tmp_path: Path) -> None:
    market = chains(tmp_path, instrument("ETHUSDC-240628", Kind.FUTURE, LATER, quote="USDC"))
    with pytest.raises(DataError, match=r"^dated futures of several quote currencies in test: USDC, USDT; choose quote=…$"):
        market.future_chain()
    assert market.future_chain(quote="USDC").contracts == ("ETHUSDC-240628",)


def test_a_chain_settles_in_one_way(tmp_path: Path) -> None:
    market = chains(tmp_path, instrument("ETHUSDT-240628", Kind.FUTURE, LATER, settle=Settle.INVERSE))
    told = (
        r"^dated futures of several ways to settle in test: inverse, linear; "
        r'load one of them with instruments=…, such as "ETHUSDT-240329"$'
    )
    with pytest.raises(DataError, match=told):
        market.future_chain()


def test_a_chain_has_one_contract_of_each_expiry(tmp_path: Path) -> None:
    """CME lists ether in two sizes: whose bars a chain would take must not be left to the alphabet."""
    market = chains(tmp_path, instrument("METUSDT-240329", Kind.FUTURE, FAR_EXPIRY))
    told = f"^{FAR} and METUSDT-240329 expire together, and a chain has one contract of each expiry; load one of them with instruments=…$"
    with pytest.raises(DataError, match=told):
        market.future_chain()


# ---------------------------------------------------------------- what is loaded


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (SPOT, [SPOT]),
        ([PERP, SPOT], [PERP, SPOT]),
        ("ETHUSDT-24*", [NEAR, FAR]),
        (["*-SPOT", "*-2403??"], [NEAR, FAR, SPOT]),
        (None, [NEAR, FAR, PERP, SPOT]),
    ],
)
def test_only_what_is_named_is_loaded(tmp_path: Path, asked: str | list[str] | None, found: list[str]) -> None:
    assert set(load(tmp_path, ether(), instruments=asked).instruments) == set(found)


def test_what_is_not_named_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, ether())
    for file in Path(path, "bars", f"instrument={PERP}").rglob("*.parquet"):
        file.write_bytes(b"broken")
    assert set(load_market(path, instruments=[SPOT, "ETHUSDT-24*"]).instruments) == {NEAR, FAR, SPOT}
    with pytest.raises(DataError):
        load_market(path)


def test_a_pattern_that_names_nothing_has_a_nearest_name(tmp_path: Path) -> None:
    tables = ether()
    path = write(tmp_path, tables)
    with pytest.raises(DataError, match=r'^unknown instrument "ETHUSDT-SPTO" in dataset test; did you mean "ETHUSDT-SPOT"\?$'):
        load_market(path, instruments=[SPOT, "ETHUSDT-SPTO"])
    with pytest.raises(DataError, match=rf'^unknown instrument "\*\.cme" in dataset test; known: {NEAR}, {FAR}, {PERP}, {SPOT}$'):
        load_market(path, instruments="*.cme")
    tables.instruments += [instrument(f"X{number:02}-SPOT", Kind.SPOT) for number in range(20)]
    many = rf'^unknown instrument "\*\.cme" in dataset test; known: {NEAR}, .*X07-SPOT and 12 more$'
    with pytest.raises(DataError, match=many):
        load(tmp_path, tables, instruments="*.cme")
    with pytest.raises(
        ParameterError, match=r'^instruments must name instruments, as "ETHUSDT-SPOT" or "\*\.cme": instruments=\[\]; leave it'
    ):
        load_market(path, instruments=[])


def test_capitals_matter_in_a_pattern(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'^unknown instrument "ethusdt-\*"'):
        load(tmp_path, ether(), instruments="ethusdt-*")


def test_min_days_are_finite(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"^min_days must be"):
        load(tmp_path, ether()).future_chain(float("inf"))


# ---------------------------------------------------------------- staleness


def test_a_close_is_fresh_up_to_exactly_the_tolerance(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, PERP)
    tables.bars[PERP] = tables.bars[PERP].drop(tables.bars[PERP].index[10:14])  # stamps 11h…14h lack
    path = write(tmp_path, tables)
    last, nan = float(tables.bars[PERP]["close"].iloc[9]), np.nan
    for staleness, seen in [
        ("0s", [nan, nan, nan, nan]),
        ("59min 59s", [nan, nan, nan, nan]),
        ("1h", [last, nan, nan, nan]),
        ("2h", [last, last, nan, nan]),
        ("2h 59min", [last, last, nan, nan]),
        ("5h", [last] * 4),
    ]:
        close = load_market(path, staleness=staleness).close(PERP)
        np.testing.assert_array_equal(close[10:14], seen, err_msg=staleness)
        assert not np.isnan(close[:10]).any()
        assert not np.isnan(close[14:]).any()
    unborn = load_market(write(tmp_path, only(ether(), SPOT, PERP)), staleness="3650D")
    assert not np.isnan(unborn.close(PERP)).any()


def test_nothing_is_fresh_before_the_first_bar(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, PERP)
    tables.bars[PERP] = tables.bars[PERP].iloc[5:]
    assert np.isnan(load(tmp_path, tables, staleness="3650D").close(PERP)[:5]).all()


def test_staleness_is_a_duration(tmp_path: Path) -> None:
    path = write(tmp_path, only(ether(), SPOT))
    with pytest.raises(ParameterError, match=r'^staleness must be a duration like "30D" or "8h": staleness=\'old\'$'):
        load_market(path, staleness="old")


def test_columns_that_nobody_knows_are_ignored(tmp_path: Path) -> None:
    tables = only(ether(), SPOT)
    tables.bars[SPOT] = tables.bars[SPOT].assign(age=1e12, colour=1.0)
    assert not np.isnan(load(tmp_path, tables).close(SPOT)).any()


# ---------------------------------------------------------------- coarser bars


def test_coarser_bars_end_at_their_stamp() -> None:
    index = times("2024-03-01T01:00Z", 8)
    frame = bars([10, 14, 8, 12, 20, 21, 22, 23], index, volume=np.arange(8.0), mark_high=np.arange(8.0), bid=np.arange(8.0) + 5)
    coarse = resample({SPOT: frame}, {SPOT: instrument(SPOT, Kind.SPOT)}, 4 * HOUR.value)[SPOT]
    assert list(coarse.index) == [pd.Timestamp("2024-03-01T04:00Z"), pd.Timestamp("2024-03-01T08:00Z")]
    first = coarse.drop(columns=AGE).iloc[0].to_dict()  # of the bars that end at 1, 2, 3 and 4 o'clock
    assert first == {"open": 10.0, "high": 15.0, "low": 7.0, "close": 12.0, "volume": 6.0, "mark_high": 3.0, "bid": 8.0}
    assert coarse["open"].iloc[1] == frame["open"].iloc[4]


def test_coarser_bars_leave_empty_ones_out_and_lie_on_the_utc_day(tmp_path: Path) -> None:
    market = load(tmp_path, ether(), freq="1D", max_gap="30D")
    assert list(market.clock[:3]) == [pd.Timestamp(f"2024-03-0{day}T00:00Z") for day in (2, 3, 4)]
    assert (market.step, market.start) == (DAY, START.value)
    spot = ether().bars[SPOT]
    assert market.raw(SPOT, "close")[0] == spot["close"].loc["2024-03-02T00:00Z"]
    assert market.raw(SPOT, "open")[1] == spot["open"].loc["2024-03-02T01:00Z"]
    assert market.raw(SPOT, "high")[1] == spot["high"].loc["2024-03-02T01:00Z":"2024-03-03T00:00Z"].max()  # type: ignore[misc]


def test_a_contracts_last_partial_bar_is_not_stamped_after_delivery(tmp_path: Path) -> None:
    """Delivery is at 08:00: the day of delivery would end sixteen hours after it, so it is left out; at 8 h it ends with it and stays."""
    daily = load(tmp_path, ether(), freq="1D")
    assert daily.clock[np.flatnonzero(~np.isnan(daily.raw(NEAR, "close")))[-1]] == pd.Timestamp("2024-03-06T00:00Z")
    thirds = load(tmp_path, ether(), freq="8h")
    assert thirds.clock[np.flatnonzero(~np.isnan(thirds.raw(NEAR, "close")))[-1]] == NEAR_EXPIRY


def test_a_frequency_that_is_none_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, only(ether(), SPOT))
    with pytest.raises(ParameterError, match=r'^freq must be a duration like "30D" or "8h": freq=\'daily-ish\'$'):
        load_market(path, freq="daily-ish")


@pytest.mark.parametrize("freq", ["0h", "-1D", "-4h"])
def test_bars_are_longer_than_zero(tmp_path: Path, freq: str) -> None:
    path = write(tmp_path, only(ether(), SPOT))
    with pytest.raises(ParameterError, match=r"^freq must be"):
        load_market(path, freq=freq)


def test_no_bar_is_stamped_after_the_end(tmp_path: Path) -> None:
    end = pd.Timestamp("2024-03-05T12:00Z")
    market = load(tmp_path, ether(), None, end, "1D")
    assert market.clock[-1] <= end
    assert market.funding(PERP).times[-1] <= end.value


@pytest.mark.parametrize("freq", ["W", "1W-WED", "1ME"])
def test_a_calendar_frequency_is_refused(tmp_path: Path, freq: str) -> None:
    """Pandas would stamp such bars at the beginning of their last day: they would hold a day of the future."""
    path = write(tmp_path, only(ether(), SPOT))
    with pytest.raises(ParameterError, match=r"^freq must be a duration"):
        load_market(path, freq=freq)


@pytest.mark.parametrize("freq", ["2D", "7h"])
def test_coarser_bars_of_all_instruments_end_together(tmp_path: Path, freq: str) -> None:
    """Refusing a frequency that doesn't divide the day is as good."""
    tables = only(ether(), SPOT, PERP)
    tables.bars[PERP] = tables.bars[PERP].iloc[24:]
    try:
        market = load(tmp_path, tables, freq=freq)
    except ParameterError:
        return
    assert not np.isnan(market.raw(PERP, "close") + market.raw(SPOT, "close")).all()


def test_a_coarse_close_is_as_old_as_its_last_bar(tmp_path: Path) -> None:
    """Spot ends at noon, the perpetual at midnight: at midnight the spot's close is twelve hours old, and no staleness was allowed."""
    tables = only(ether(), SPOT, PERP)
    noon = pd.Timestamp("2024-03-08T12:00Z")
    tables.bars[SPOT] = tables.bars[SPOT].loc[:noon]  # type: ignore[misc]
    assert np.isnan(load(tmp_path, tables, freq="1D").close(SPOT)[-1])


# ---------------------------------------------------------------- series


def test_a_series_is_what_was_known(tmp_path: Path) -> None:
    """Values of three days become known 30 hours after their day begins: at 06:00 of the next one."""
    tables = only(ether(), SPOT)
    tables.series = {"risk_free": series(times(START, 3, "D"), [0.01, 0.02, 0.03], "30h")}
    market = load(tmp_path, tables)
    known = market.series("risk_free")
    before = market.series("risk_free", before=True)
    first = at(market, "2024-03-02T06:00Z")
    assert np.isnan(known[:first]).all()
    assert (known[first], known[first + 23], known[first + 24]) == (0.01, 0.01, 0.02)
    # at the beginning of a bar: what was known at the end of the bar before
    np.testing.assert_array_equal(before[1:], known[:-1])
    assert np.isnan(before[0])
    assert known[-1] == 0.03


def test_a_series_known_at_the_start_holds_for_the_first_bar(tmp_path: Path) -> None:
    tables = only(ether(), SPOT)
    tables.series = {"risk_free": series(times(START, 2, "D"), [0.01, 0.02])}
    market = load(tmp_path, tables)
    assert market.series("risk_free", before=True)[0] == 0.01, "known exactly when the first bar begins"
    assert market.series("risk_free", before=True)[24] == 0.02
    assert market.series("risk_free", before=True)[23] == 0.01


def test_a_later_correction_wins_when_both_are_known(tmp_path: Path) -> None:
    """Two values known at the same instant: the one of the later time counts, whatever the order of the rows."""
    tables = only(ether(), SPOT)
    moment = pd.DatetimeIndex([START + HOUR] * 2).as_unit("ns")
    rows = pd.DataFrame({"ts": [START, START - HOUR], "known_at": moment, "value": [0.02, 0.01]})
    rows["ts"] = pd.DatetimeIndex(rows["ts"]).as_unit("ns")
    tables.series = {"risk_free": rows}
    assert load(tmp_path, tables).series("risk_free")[0] == 0.02


def test_an_unknown_series_has_a_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'^no series "riskfree" in dataset test; did you mean "risk_free"\?$'):
        load(tmp_path, ether()).series("riskfree")
    with pytest.raises(DataError, match=r'^no series "risk_free" in dataset test; it has none$'):
        load(tmp_path, Tables(instruments=ether().instruments, bars=ether().bars)).series("risk_free")


@pytest.mark.parametrize("spoil", ["value absent", "known early"])
def test_a_series_that_cannot_be_true_is_refused(tmp_path: Path, spoil: str) -> None:
    tables = ether()
    rows = tables.series["borrow_usd"]
    if spoil == "value absent":
        rows.loc[3, "value"] = np.nan
    else:
        rows["known_at"] = rows["ts"] - HOUR
    with pytest.raises(DataError, match=r"^series borrow_usd at .*(needs its value|nothing is known early)"):
        load(tmp_path, tables).series("borrow_usd")


# ---------------------------------------------------------------- funding


def test_funding_is_known_up_to_the_last_bar(tmp_path: Path) -> None:
    path = write(tmp_path, ether())
    events = load_market(path, end="2024-03-02T16:00").funding(PERP)
    assert list(events.times) == list(nanoseconds(times(START, 6, "8h")))
    np.testing.assert_array_equal(events.rates, ether().funding[PERP]["rate"].to_numpy()[:6])
    assert np.isnan(events.marks).all()
    assert list(events.hours) == [8.0] * 6


def missing(folder: Path, events: pd.DataFrame | None, *period: str) -> list[str]:
    tables = only(ether(), SPOT, PERP)
    tables.funding = {} if events is None else {PERP: events}
    return [utc(time) for time in load(folder, tables, *period).missing_funding(PERP)]


def test_missing_funding_events_are_told(tmp_path: Path) -> None:
    whole = ether().funding[PERP]
    assert missing(tmp_path, whole) == []
    assert missing(tmp_path, whole.drop(whole.index[[5, 6]])) == ["2024-03-02T16:00Z", "2024-03-03T00:00Z"]
    assert missing(tmp_path, whole.drop(whole.index[[5, 6]]), "2024-03-02T16:00") == ["2024-03-03T00:00Z"], "start itself is not in the run"
    assert missing(tmp_path, whole.iloc[:-1]) == ["2024-03-09T08:00Z"], "the last bar's event"
    assert missing(tmp_path, whole.iloc[3:]) == ["2024-03-01T08:00Z", "2024-03-01T16:00Z"], "before the first known event"
    assert missing(tmp_path, whole.drop(whole.index[20]), "2024-03-01", "2024-03-07T15:00") == [], "after the end of the run"


def test_an_interval_may_change_from_8_to_4_hours(tmp_path: Path) -> None:
    stamps = times(START, 10, "8h").append(times("2024-03-04T04:00Z", 32, "4h"))  # the last of 8 h at 03-04T00:00
    events = funding(stamps, 1e-4, hours=[8.0] * 10 + [4.0] * 32)
    assert missing(tmp_path, events) == []
    assert missing(tmp_path, events.drop(stamps[15])) == [utc(stamps[15].value)], "inside the 4 h part"
    assert missing(tmp_path, events.drop(stamps[4])) == [utc(stamps[4].value)], "inside the 8 h part"


def test_without_any_event_the_venues_schedule_says_what_lacks(tmp_path: Path) -> None:
    every = missing(tmp_path, None)
    assert (len(every), every[0], every[-1]) == (25, "2024-03-01T08:00Z", "2024-03-09T08:00Z")
    assert missing(tmp_path, None, "2024-03-02T03:00", "2024-03-02T16:00") == ["2024-03-02T08:00Z", "2024-03-02T16:00Z"]


def test_funding_that_begins_after_the_end_is_missing(tmp_path: Path) -> None:
    whole = ether().funding[PERP]
    assert missing(tmp_path, whole.iloc[15:], "2024-03-01", "2024-03-03") != []


@pytest.mark.parametrize("column", ["mark_price", "interval_hours"])
def test_funding_needs_only_times_and_rates(tmp_path: Path, column: str) -> None:
    tables = ether()
    tables.funding[PERP] = tables.funding[PERP].drop(columns=column)
    assert len(load(tmp_path, tables).funding(PERP).rates) == 26


@pytest.mark.parametrize("spoil", ["rate absent", "twice", "not in order"])
def test_funding_that_cannot_be_true_is_refused(tmp_path: Path, spoil: str) -> None:
    tables = ether()
    events = tables.funding[PERP]
    if spoil == "rate absent":
        events.iloc[5, 0] = np.nan
    tables.funding[PERP] = {"twice": pd.concat([events.iloc[:6], events.iloc[5:]]), "not in order": events.iloc[::-1]}.get(spoil, events)
    with pytest.raises(DataError, match=f"^{PERP} funding at .*(needs its rate|stands twice|must be in order)"):
        load(tmp_path, tables).funding(PERP)


# ---------------------------------------------------------------- settlement prices


def minutes(count: int, until: pd.Timestamp = NEAR_EXPIRY, level: float = 3000.0, every: str = "5min") -> pd.DataFrame:
    """Bars that end at `until`, each close one above the last."""
    index = pd.date_range(end=until, periods=count, freq=every, name="ts").as_unit("ns")
    return bars(level + np.arange(count), index)


def delivered(folder: Path, *, price: float | None = None, index: pd.Series | None = None, spot: pd.DataFrame | None = None) -> Market:
    """A contract that is delivered at NEAR_EXPIRY, with a longer future to go on with."""
    tables = only(ether(), SPOT, NEAR, FAR)
    tables.settlements = tables.settlements.iloc[:0]
    if price is not None:
        tables.settlements = pd.DataFrame({"instrument": [FAR, NEAR], "ts": [FAR_EXPIRY, NEAR_EXPIRY], "price": [1.0, price]})
    near = minutes(30, level=100.0)
    tables.bars[NEAR] = near if index is None else near.assign(index=index.to_numpy())
    if spot is not None:
        tables.bars[SPOT] = spot
    return load(folder, tables, max_gap="30D")


def test_settlement_the_datasets_price_comes_first(tmp_path: Path) -> None:
    index = pd.Series(np.arange(30.0) + 50)
    assert delivered(tmp_path, price=2222.0, index=index).settlement(NEAR) == (2222.0, "the dataset's settlements")


def test_settlement_else_the_mean_of_the_index_in_the_venues_window(tmp_path: Path) -> None:
    index = pd.Series(np.arange(30.0) + 50)  # bars end every 5 minutes: the last 60 minutes hold the last 12, 68 … 79
    price, source = delivered(tmp_path, index=index, spot=minutes(30)).settlement(NEAR)
    assert (price, source) == (pytest.approx(73.5), "mean of the index over the last 60 minutes")


def test_settlement_the_index_needs_ten_bars(tmp_path: Path) -> None:
    index = pd.Series(np.arange(30.0) + 50)
    index.iloc[-3:] = np.nan  # nine are left in the window
    price, source = delivered(tmp_path, index=index, spot=minutes(30)).settlement(NEAR)
    assert (price, source) == (pytest.approx(3023.5), "mean of the spot over the last 60 minutes")  # 3018 … 3029
    index.iloc[-3] = 77.0  # ten: 68 … 77
    assert delivered(tmp_path, index=index, spot=minutes(30)).settlement(NEAR)[0] == pytest.approx(72.5)


def test_settlement_the_spot_needs_ten_bars_too_else_the_last_close_counts(tmp_path: Path) -> None:
    sparse = minutes(9, every="6min")
    later = bars(np.full(20, 3000.0), times(NEAR_EXPIRY + HOUR, 20))
    market = delivered(tmp_path, spot=pd.concat([sparse, later]))
    assert market.settlement(NEAR) == (129.0, "the contract's last close before expiry")
    ten = delivered(tmp_path, spot=pd.concat([minutes(10, every="6min"), later]))
    assert ten.settlement(NEAR) == (pytest.approx(3004.5), "mean of the spot over the last 60 minutes")


def test_settlement_takes_a_spot_of_the_same_pair_only(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, NEAR, FAR)
    tables.settlements = tables.settlements.iloc[:0]
    tables.instruments[0] = replace(tables.instruments[0], quote="USDC")
    tables.bars[NEAR], tables.bars[SPOT] = minutes(30, level=100.0), minutes(30)
    assert load(tmp_path, tables, max_gap="30D").settlement(NEAR) == (129.0, "the contract's last close before expiry")


def test_settlement_takes_the_spot_of_its_own_venue_first(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, NEAR, FAR)
    tables.settlements = tables.settlements.iloc[:0]
    other = "AN-EARLIER-NAME.bybit"
    tables.instruments.append(instrument(other, Kind.SPOT, venue="bybit"))
    tables.bars |= {NEAR: minutes(30, level=100.0), SPOT: minutes(30), other: minutes(30, level=5000.0)}
    assert load(tmp_path, tables, max_gap="30D").settlement(NEAR)[0] == pytest.approx(3023.5)
    assert load(tmp_path, only(tables, NEAR, FAR, other), max_gap="30D").settlement(NEAR)[0] == pytest.approx(5023.5)


def test_the_window_is_that_of_the_day(tmp_path: Path) -> None:
    """From 2024-11-11 the venue averages over 30 minutes: of bars every 2 minutes the last 15."""
    expiry = pd.Timestamp("2024-12-27T08:00Z")
    tables = only(ether(), SPOT, NEAR)
    tables.settlements = tables.settlements.iloc[:0]
    tables.instruments = [item if item.id == SPOT else replace(item, expires_at=expiry) for item in tables.instruments]
    tables.bars = {SPOT: minutes(60, expiry, every="2min"), NEAR: minutes(60, expiry, 100.0, "2min")}
    price, source = load(tmp_path, tables).settlement(NEAR)
    assert (price, source) == (pytest.approx(3052.0), "mean of the spot over the last 30 minutes")  # 3045 … 3059


def test_settlement_of_what_expires_later_is_not_known(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    assert market.settlement(FAR)[1] == "not expired"
    assert np.isnan(market.settlement(FAR)[0])
    assert load_market(str(tmp_path / "dataset"), end=NEAR_EXPIRY - HOUR).settlement(NEAR)[1] == "not expired"
    assert load_market(str(tmp_path / "dataset"), end=NEAR_EXPIRY).settlement(NEAR)[0] > 0.0


def test_a_settlement_out_of_a_dataset_that_changed_is_refused(tmp_path: Path) -> None:
    """A dataset that changed meanwhile: nobody's price is invented."""
    tables = only(ether(), SPOT, NEAR, FAR)
    tables.settlements = tables.settlements.iloc[:0]
    market = load(tmp_path, tables)
    tables.bars[NEAR] = tables.bars[NEAR].iloc[:0]
    write(tmp_path, tables)
    told = rf"instrument={NEAR}/year=2024: is not there any more; the dataset was replaced while it was read, or files were lost; open it again"
    with pytest.raises(DataError, match=told):
        market.settlement(NEAR)


def test_a_settlement_price_that_cannot_be_true_is_refused(tmp_path: Path) -> None:
    tables = ether()
    tables.settlements["price"] = -5.0
    with pytest.raises(DataError, match=r"^settlements at .*: price is -5;"):
        load(tmp_path, tables).settlement(NEAR)


def test_bars_that_stop_long_before_delivery_are_a_gap(tmp_path: Path) -> None:
    """The contract ends two days after its expiry is due on the clock; its last close is four days old then."""
    tables = ether()
    tables.settlements = tables.settlements.iloc[:0]
    tables.bars[NEAR] = tables.bars[NEAR].iloc[:30]
    with pytest.raises(DataError, match=f"^{NEAR}"):
        load(tmp_path, tables).settlement(NEAR)


# ---------------------------------------------------------------- gaps


def holed(folder: Path, count: int) -> str:
    """A dataset whose spot lacks `count` hourly bars after the tenth."""
    tables = only(ether(), SPOT, PERP)
    tables.bars[SPOT] = tables.bars[SPOT].drop(tables.bars[SPOT].index[10 : 10 + count])
    return write(folder, tables)


def test_a_gap_up_to_a_day_is_noted_and_a_longer_one_refused(tmp_path: Path) -> None:
    assert load_market(holed(tmp_path, 23)).notes == [f"{SPOT}: 1 gaps in the bars, the longest 1 days 00:00:00 after 2024-03-01T10:00Z."]
    with pytest.raises(DataError) as caught:
        load_market(holed(tmp_path, 24))
    assert str(caught.value) == (
        f"{SPOT}: no bars from 2024-03-01T10:00Z to 2024-03-02T11:00Z (1 days 01:00:00), longer than max_gap=1 days 00:00:00; "
        'import the missing bars, choose a period outside, or allow it with max_gap="25h"'
    )


def test_the_remedy_for_a_gap_works(tmp_path: Path) -> None:
    path = holed(tmp_path, 24)
    with pytest.raises(DataError) as caught:
        load_market(path)
    allowed = re.search(r'max_gap="(\w+)"', str(caught.value))
    assert allowed is not None
    assert len(load_market(path, max_gap=allowed[1])) == BARS
    assert load_market(path, "2024-03-02T11:00").notes == [], "a period outside"


def test_daily_bars_may_lack_four_days_without_a_word_of_hours(tmp_path: Path) -> None:
    tables = only(ether(), SPOT)
    index = times("2024-03-02T00:00Z", 20, "D")
    tables.bars[SPOT] = bars(np.full(20, 10.0), index).drop(index[5:8])  # three are missing: four days apart
    assert load(tmp_path, tables).notes == [f"{SPOT}: 1 gaps in the bars, the longest 4 days 00:00:00 after 2024-03-06T00:00Z."]
    tables.bars[SPOT] = bars(np.full(20, 10.0), index).drop(index[5:9])
    with pytest.raises(DataError, match="5 days 00:00:00"):
        load(tmp_path, tables)


def test_each_instrument_has_gaps_by_its_own_bars(tmp_path: Path) -> None:
    """Daily bars beside hourly ones are no row of gaps, and may lack three in a row as they may alone."""
    tables = only(ether(), SPOT, PERP)
    index = times("2024-02-20T00:00Z", 18, "D")
    tables.bars[PERP] = bars(np.full(18, 10.0), index)
    assert load(tmp_path, tables).notes == []
    tables.bars[PERP] = bars(np.full(18, 10.0), index).drop(index[5:8])
    assert load(tmp_path, tables).notes == [f"{PERP}: 1 gaps in the bars, the longest 4 days 00:00:00 after 2024-02-24T00:00Z."]


def thin(*gone: slice, expiries: tuple[str, ...] = ("2024-03-08T16:00Z", "2024-04-26T15:00Z")) -> Tables:
    """Two contracts of a venue that closes, with daily bars that lack here and there, and a spot that never does."""
    tables = only(ether(), SPOT)
    for number, (text, holes) in enumerate(zip(expiries, gone, strict=True)):
        name, expiry = f"METUSD-{number}.cme", pd.Timestamp(text).as_unit("ns")
        tables.instruments.append(instrument(name, Kind.FUTURE, expiry, venue="cme", quote="USD"))
        index = times("2024-02-01T00:00Z", 36, "D")
        tables.bars[name] = bars(np.full(36, 2000.0), index).drop(index[holes])
    return tables


def test_contracts_that_nobody_trades_have_no_bars_and_that_is_noted_once(tmp_path: Path) -> None:
    market = load(tmp_path, thin(slice(30, 30), slice(3, 20)))
    assert market.notes == [
        "cme ETH futures: 1 of 2 contracts were not traded for over four days, the longest METUSD-1.cme for 18 days 00:00:00 after 2024-02-03T00:00Z."
    ]
    assert load(tmp_path, thin(slice(10, 13), slice(13, 16))).notes == [], "a long weekend"


def test_a_hole_in_all_contracts_of_a_venue_is_refused(tmp_path: Path) -> None:
    told = (
        "^cme ETH futures: no bars from 2024-02-10T00:00Z to 2024-02-17T00:00Z .7 days 00:00:00., longer than max_gap=4 days 00:00:00; "
        'import the missing bars, choose a period outside, or allow it with max_gap="168h"$'
    )
    with pytest.raises(DataError, match=told):
        load(tmp_path, thin(slice(10, 16), slice(8, 16)))
    assert len(load(tmp_path, thin(slice(10, 16), slice(8, 16)), max_gap="168h"))


def test_whole_data_have_no_notes(tmp_path: Path) -> None:
    assert load(tmp_path, ether()).notes == []


def test_the_last_bar_before_delivery_may_be_missing_only_so_far(tmp_path: Path) -> None:
    """Vendors often stop one bar early: that is no gap; a day more is noted, and another bar refused."""
    for gone, told in ((1, []), (2, [f"{NEAR}: 1 gaps in the bars, the longest 0 days 02:00:00 after 2024-03-06T06:00Z."])):
        tables = ether()
        tables.bars[NEAR] = tables.bars[NEAR].iloc[:-gone]
        assert load(tmp_path, tables).notes == told
    tables = ether()
    tables.bars[NEAR] = tables.bars[NEAR].iloc[:-25]
    with pytest.raises(DataError, match=rf"^{NEAR}: no bars from 2024-03-05T07:00Z to 2024-03-06T08:00Z \(1 days 01:00:00\)"):
        load(tmp_path, tables)


def test_one_bar_has_no_gap(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, PERP)
    tables.bars[PERP] = tables.bars[PERP].iloc[:1]
    market = load(tmp_path, tables)
    note_gaps(market, 1 << 62)
    assert market.notes == []


# ---------------------------------------------------------------- loading: what is refused


def test_start_must_be_before_end(tmp_path: Path) -> None:
    path = write(tmp_path, only(ether(), SPOT))
    with pytest.raises(ParameterError, match=r"^start must be before end: start=2024-03-05.*, end=2024-03-02"):
        load_market(path, "2024-03-05", "2024-03-02")
    with pytest.raises(ParameterError, match=r"^start must be before end"):
        load_market(path, "2024-03-05", "2024-03-05")


def test_a_period_without_bars_says_what_there_is(tmp_path: Path) -> None:
    path = write(tmp_path, only(ether(), SPOT))
    covered = "choose a period within 2024-03-01T01:00Z to 2024-03-09T08:00Z"
    with pytest.raises(DataError, match=f"^{path}: no bars between 2030-01-01T00:00Z and the end; {covered}$"):
        load_market(path, "2030-01-01")
    with pytest.raises(DataError, match=f"^{path}: no bars between the beginning and 2020-01-01T00:00Z; {covered}$"):
        load_market(path, None, "2020-01-01")
    empty = write(tmp_path, Tables(instruments=[instrument(SPOT, Kind.SPOT)]))
    with pytest.raises(DataError, match=r"the dataset is empty; import bars$"):
        load_market(empty)


def test_one_bar_is_no_market(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^a market needs at least two bars of an instrument; load a longer period$"):
        load(tmp_path, only(ether(), SPOT), None, "2024-03-01T01:00")
    with pytest.raises(DataError, match="at least two bars"):
        usual_step({SPOT: ether().bars[SPOT].iloc[:1]})
    assert usual_step({SPOT: ether().bars[SPOT].iloc[::2], PERP: ether().bars[PERP]}) == 3600 * 10**9


@pytest.mark.parametrize("value", ["2024-13-01", "yesterday-ish", "99999-01-01", [1]])
def test_a_time_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ParameterError, match=r'^end must be a time like "2024-01-31" or "2024-01-31T08:00": end='):
        instant("end", value)


@pytest.mark.parametrize("value", ["NaT", "", "nan", "1600-01-01"])
def test_a_time_that_nobody_can_mean_is_refused(value: str) -> None:
    with pytest.raises(ParameterError, match=r"^end must be a time like"):
        instant("end", value)


def test_times_are_utc_nanoseconds() -> None:
    assert instant("start", None) is None
    assert instant("start", "2024-01-31T08:00") == pd.Timestamp("2024-01-31T08:00Z")
    assert instant("start", "2024-01-31T08:00+02:00") == pd.Timestamp("2024-01-31T06:00Z")
    assert instant("start", "2024-01-31").unit == "ns"  # type: ignore[union-attr]
    assert utc(pd.Timestamp("2024-01-31T08:00Z").value) == "2024-01-31T08:00Z"
    assert utc(pd.Timestamp("2024-01-31T08:00:07Z").value) == "2024-01-31T08:00:07Z"
    assert YEAR == 365 * DAY


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("close", np.nan, "close is nan; a bar needs all four prices"),
        ("open", 0.0, "open is 0; prices must be above 0"),
        ("low", -3.0, "low is -3; prices must be above 0"),
        ("high", 1.0, "high 1 is below low"),
    ],
)
def test_bars_that_cannot_be_true_are_refused_at_load(tmp_path: Path, column: str, value: float, told: str) -> None:
    tables = ether()
    tables.bars[PERP].loc[tables.bars[PERP].index[7], column] = value
    with pytest.raises(DataError, match=f"^{PERP} at 2024-03-01T08:00Z: {told}"):
        load(tmp_path, tables)


def test_unsorted_double_and_late_bars_are_refused_at_load(tmp_path: Path) -> None:
    tables = ether()
    spot = tables.bars[SPOT]
    tables.bars[SPOT] = pd.concat([spot.iloc[:3], spot.iloc[2:]])
    with pytest.raises(DataError, match=f"^{SPOT} at 2024-03-01T03:00Z: time 2024-03-01T03:00Z stands twice"):
        load(tmp_path, tables)
    tables.bars[SPOT] = spot.iloc[[1, 0, *range(2, BARS)]]
    with pytest.raises(DataError, match=f"^{SPOT} at 2024-03-01T01:00Z: time 2024-03-01T01:00Z comes after 2024-03-01T02:00Z"):
        load(tmp_path, tables)
    tables = ether()
    tables.bars[NEAR] = tables.bars[FAR]
    with pytest.raises(DataError, match=f"^{NEAR} at 2024-03-06T09:00Z: the bar ends after delivery at 2024-03-06T08:00Z"):
        load(tmp_path, tables)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = Path(write(tmp_path, ether()))
    file = path / "bars" / f"instrument={SPOT}" / "year=2024" / "part-0.parquet"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(DataError, match=f"^{re.escape(str(file))}: is truncated or damaged and can't be read"):
        load_market(str(path))


def test_frozen_is_a_copy() -> None:
    values = np.arange(3.0)
    copy = frozen(values)
    values[0] = 9.0
    assert copy[0] == 0.0
    assert (copy.dtype, copy.flags.writeable) == (np.float64, False)


def test_the_last_bar_of_the_helper_is_where_the_tests_think() -> None:
    assert ether().bars[SPOT].index[-1] == LAST


def test_stamps_beside_the_raster_are_not_stale(tmp_path: Path) -> None:
    """A close that is younger than one bar of its own is the bar's close."""
    market = load(tmp_path, only(ether(), SPOT), freq="90min")
    assert not np.isnan(market.close(SPOT)).any()
