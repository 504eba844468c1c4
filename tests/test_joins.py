"""Which closes may meet: settles and closes of other hours are refused with both times, gaps are not; CME's days with the spot of their hour."""

import re
import statistics
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markets import FAR, NEAR, PERP, SPOT, bars, ether, instrument, load, only, times, write

import backtest as bt
from backtest.curve import offered
from backtest.data.schema import Tables
from backtest.data.store import write_dataset
from backtest.errors import DataError, ParameterError
from backtest.instruments import Instrument, Kind
from backtest.joins import refuse_other_hours, unequal_bars
from backtest.load import load_market
from backtest.market import Market
from backtest.venues.calendar import is_open, sessions

pytest_plugins = ["real_sets"]

FUTURE, COIN = "METUSD-240426.cme", "ETHUSD-SPOT.coinbase"
EXPIRY = pd.Timestamp("2024-04-26T15:00Z").as_unit("ns")
FREE = bt.Execution(
    margin=bt.Margin.OFF, spot_fee=0.0, derivative_fee=0.0, half_spread=0.0, delivery_fee=0.0, idle_rate=0.0, borrow_rate=0.0
)


def trading_days(count: int) -> pd.DatetimeIndex:
    """When CME's days end from Thursday 2024-02-01 on: Sunday to Thursday at 24:00, Friday at 22:00."""
    days = pd.date_range("2024-02-01", periods=count, freq="D", tz="UTC")
    ends = [day + pd.Timedelta(hours=22 if day.day_of_week == 4 else 24) for day in days if day.day_of_week != 5]
    return pd.DatetimeIndex(ends, name="ts").as_unit("ns")


def two(future: pd.DatetimeIndex, spot: pd.DatetimeIndex) -> Tables:
    """A dated contract and a spot with bars that end at these times; the spot rises by one a bar."""
    tables = Tables(
        instruments=[
            instrument(FUTURE, Kind.FUTURE, EXPIRY, venue="cme", quote="USD"),
            instrument(COIN, Kind.SPOT, venue="coinbase", quote="USD"),
        ]
    )
    tables.bars = {FUTURE: bars(2500.0 + np.arange(len(future)), future), COIN: bars(2400.0 + np.arange(len(spot)), spot)}
    return tables


def midnights(count: int) -> pd.DatetimeIndex:
    return times("2024-02-02T00:00Z", count, "D")


def joined(market: Market) -> int:
    """At how many bars the two legs meet; raises what a premium raises."""
    return int((~np.isnan(bt.premium(market, market.leg(FUTURE)))).sum())


# ---------------------------------------------------------------- other hours


def test_settles_never_meet_midnight_closes(tmp_path: Path) -> None:
    """The exchange settles at 20:00; the spot's day ends at 24:00."""
    market = load(tmp_path, two(times("2024-02-01T20:00Z", 40, "D"), midnights(40)))
    told = (
        f"{FUTURE} closes at 2024-02-02T20:00Z and the nearest close of {COIN} is 2024-02-03T00:00Z, 4h later; prices that far apart make no premium "
        '(39 of 39 closes); load bars that end at the same hours, such as hourly ones, or allow it with staleness="4h"'
    )
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        bt.premium(market, market.leg(FUTURE))
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        bt.annualized_premium(market, market.future_chain())


def test_a_rule_of_such_legs_is_refused_even_without_a_signal(tmp_path: Path) -> None:
    market = load(tmp_path, two(times("2024-02-01T20:00Z", 40, "D"), midnights(40)))
    rule = bt.Rule(long=market.spot, short=market.future_chain(), max_hold="5D")
    with pytest.raises(DataError, match=f"^{FUTURE} closes at 2024-02-02T20:00Z and the nearest close of {COIN} is 2024-02-03T00:00Z"):
        bt.run(rule, market, execution=FREE)


def test_the_remedy_lets_all_of_them_meet(tmp_path: Path) -> None:
    path = write(tmp_path, two(times("2024-02-01T20:00Z", 40, "D"), midnights(40)))
    assert joined(load_market(path, staleness="4h")) == 39 + 1
    with pytest.raises(DataError, match="closes at 2024-02-02T20:00Z"):
        joined(load_market(path, staleness="3h 59min"))


def test_days_that_end_at_22_on_fridays_do_not_meet_the_spots_days(tmp_path: Path) -> None:
    """Five of six closes meet: it is the sixth, always a Friday, that makes the join another one than it seems."""
    future = trading_days(60)
    market = load(tmp_path, two(future, midnights(60)))
    fridays = sum(stamp.hour == 22 for stamp in future)
    told = (
        f"{FUTURE} closes at 2024-02-02T22:00Z and the nearest close of {COIN} is 2024-02-03T00:00Z, 2h later; prices that far apart make no premium "
        f"({fridays} of {len(future)} closes)"
    )
    with pytest.raises(DataError, match=f"^{re.escape(told)}"):
        joined(market)


def test_the_same_days_meet_hourly_closes_all(tmp_path: Path) -> None:
    future = trading_days(60)
    assert joined(load(tmp_path, two(future, times("2024-02-01T01:00Z", 60 * 24, "h")))) == len(future)


def test_the_legs_may_come_in_any_order(tmp_path: Path) -> None:
    market = load(tmp_path, two(times("2024-02-01T20:00Z", 40, "D"), midnights(40)))
    for legs in ((market.leg(FUTURE), market.spot), (market.spot, market.leg(FUTURE))):
        with pytest.raises(DataError, match="hourly ones"):
            refuse_other_hours(market, *legs)
    refuse_other_hours(market, market.spot, market.spot)


@pytest.mark.parametrize(("minutes", "words"), [(25, "25min later"), (-20, "20min earlier")])
def test_hours_are_not_halves_of_hours(tmp_path: Path, minutes: int, words: str) -> None:
    spot = times("2024-02-01T01:00Z", 200)
    market = load(tmp_path, two(spot[10:-10] - pd.Timedelta(minutes=minutes), spot))
    with pytest.raises(DataError, match=f'{words}; .* \\(180 of 180 closes\\).*staleness="{abs(minutes)}min"$'):
        joined(market)


def test_a_chain_is_judged_as_one(tmp_path: Path) -> None:
    """The near contract has two bars, both on Fridays; of the chain's closes they are few."""
    tables = two(midnights(50), midnights(60))
    near = "METUSD-240223.cme"
    tables.instruments.append(instrument(near, Kind.FUTURE, pd.Timestamp("2024-02-23T16:00Z").as_unit("ns"), venue="cme", quote="USD"))
    fridays = pd.DatetimeIndex(["2024-02-09T22:00Z", "2024-02-16T22:00Z"], name="ts").as_unit("ns")
    tables.bars[near] = bars([2500.0, 2500.0], fridays)
    market = load(tmp_path, tables, max_gap="9D")
    assert bt.premium(market, market.future_chain()).shape == (2, len(market))
    with pytest.raises(DataError, match=r"\(2 of 2 closes\)"):
        bt.premium(market, market.leg(near))


# ---------------------------------------------------------------- what is no other hour


def test_gaps_are_no_other_hour(tmp_path: Path) -> None:
    """Each leg lacks a tenth of its hours, not the same ones: closes that miss each other in a hole are gaps, and those are noted."""
    tables = only(ether(), SPOT, PERP)
    random = np.random.default_rng(5)
    for name in (SPOT, PERP):
        tables.bars[name] = tables.bars[name][random.random(200) > 0.1]
    market = load(tmp_path, tables)
    missed = int(np.isnan(bt.premium(market, market.perpetual)).sum())
    assert missed > 30
    assert len(market.notes) == 2


def test_a_spot_that_lacks_a_whole_day_does_not_make_the_days_of_a_future_other_hours(tmp_path: Path) -> None:
    tables = two(trading_days(60), times("2024-02-01T01:00Z", 60 * 24, "h"))
    tables.bars[COIN] = tables.bars[COIN].drop(tables.bars[COIN].loc["2024-02-05T20:00Z":"2024-02-09T23:00Z"].index)  # type: ignore[misc]
    assert joined(load(tmp_path, tables, max_gap="5D")) == len(trading_days(60)) - 5


def test_one_close_in_a_week_may_be_odd(tmp_path: Path) -> None:
    """A contract's last bar ends at 15:00: one of many, or the only one, says nothing of the hours."""
    index = midnights(30).append(times("2024-03-04T15:00Z", 1))
    assert joined(load(tmp_path, two(index, midnights(60)))) == 30
    assert joined(load(tmp_path, two(index[-4:], midnights(60)))) == 3


def test_a_twentieth_may_be_odd(tmp_path: Path) -> None:
    for odd, refused in ((2, False), (3, True)):
        index = midnights(40)
        index = index.where(~np.isin(np.arange(40), [5, 15, 25][:odd]), index - pd.Timedelta(hours=3))
        market = load(tmp_path, two(pd.DatetimeIndex(index, name="ts"), midnights(60)))
        if refused:
            with pytest.raises(DataError, match=r"\(3 of 40 closes\)"):
                joined(market)
        else:
            assert joined(market) == 38


def test_what_lies_outside_the_common_life_does_not_count(tmp_path: Path) -> None:
    tables = two(times("2024-02-01T20:00Z", 30, "D").append(times("2024-03-05T00:00Z", 20, "D")), times("2024-03-04T01:00Z", 500))
    market = load(tmp_path, tables, max_gap="9D")
    assert joined(market) == 20


def test_legs_that_share_no_time_or_have_no_bar_are_no_matter_of_hours(tmp_path: Path) -> None:
    market = load(tmp_path, two(midnights(10), times("2024-03-01T20:00Z", 10, "D")))
    assert joined(market) == 0
    tables = two(midnights(10), midnights(40))
    assert joined(load(tmp_path, tables, max_gap="30D")) == 10


# ---------------------------------------------------------------- coarser bars


def test_a_day_made_of_hours_knows_when_its_close_was(tmp_path: Path) -> None:
    """Hourly futures whose Fridays end at 22:00, as days: the close under Friday's stamp is two hours older than the spot's."""
    hours = times("2024-02-01T01:00Z", 60 * 24, "h")
    shut = (
        (hours.day_of_week == 5) & (hours.hour > 0)
        | (hours.day_of_week == 4) & (hours.hour > 22)
        | (hours.normalize() == hours) & (hours.day_of_week == 5)
    )
    tables = two(hours[~shut], hours)
    market = load(tmp_path, tables, freq="1D", max_gap="3D")
    told = f"^{FUTURE} closes at 2024-02-02T22:00Z and the nearest close of {COIN} is 2024-02-03T00:00Z, 2h later"
    with pytest.raises(DataError, match=told):
        joined(market)
    assert joined(load(tmp_path, tables, freq="1D", max_gap="3D", staleness="2h")) == (~np.isnan(market.raw(FUTURE, "close"))).sum()


def test_closes_of_one_time_that_are_older_than_their_bar(tmp_path: Path) -> None:
    """Both legs stop at 22:00 every day: as days they are two hours old at their stamp, together."""
    hours = times("2024-02-01T01:00Z", 40 * 24, "h")
    hours = hours[(hours.hour <= 22) & (hours.hour > 0)]
    market = load(tmp_path, two(hours, hours), freq="1D")
    told = f"{FUTURE} and {COIN} close at 2024-02-01T22:00Z, 2h before the end of their bar of 2024-02-02T00:00Z; a close that old makes no premium there"
    with pytest.raises(DataError, match=f'^{re.escape(told)} .*staleness="2h"$'):
        joined(market)
    assert joined(load(tmp_path, two(hours, hours), freq="1D", staleness="2h")) == 39


# ---------------------------------------------------------------- bars of different lengths


def test_a_rule_of_days_and_hours_is_flagged_and_a_clock_makes_them_alike(tmp_path: Path) -> None:
    future = trading_days(60)
    path = write(tmp_path, two(future, times("2024-02-01T01:00Z", 60 * 24, "h")))

    def notes(market: Market) -> list[str]:
        result = bt.run(bt.Rule(long=market.spot, short=market.future_chain(), max_hold="5D"), market, execution=FREE)
        return [note for note in result.notes if note.startswith("UNEQUAL BARS")]

    (told,) = notes(load_market(path))
    assert told == (
        f"UNEQUAL BARS: {FUTURE} has bars of 24h and {COIN} of 1h: an order of the longer ones waits for its next bar and fills at that bar's open, which "
        f"is older by then, and the other leg stands alone in between; load with clock={FUTURE} (--clock) to trade both together."
    )
    assert notes(load_market(path, clock="*.cme")) == []
    assert notes(load_market(path, clock=FUTURE)) == []


def test_unequal_bars_need_two_known_lengths(tmp_path: Path) -> None:
    tables = two(midnights(10)[:1], midnights(10))
    market = load(tmp_path, tables)
    assert unequal_bars(market, market.leg(FUTURE), market.spot) == []
    assert unequal_bars(market, market.spot, market.spot) == []


def test_bars_on_another_clock_are_whole(tmp_path: Path) -> None:
    """Each of the future's bars has the spot's hours since its last one, over the weekend 50 of them, and opens when the future's venue does."""
    future, hours = trading_days(20), times("2024-01-31T01:00Z", 24 * 24, "h")
    tables = two(future, hours)
    tables.bars[COIN] = tables.bars[COIN].assign(volume=1.0, bid=2.0, ask=3.0)
    market = load(tmp_path, tables, clock="*.cme")
    assert list(market.clock) == list(future)
    spot, previous = tables.bars[COIN], [future[0] - pd.Timedelta(days=1), *future[:-1]]
    for bar, (begin, end) in enumerate(zip(previous, future, strict=True)):
        inside = spot[(spot.index > begin) & (spot.index <= end)]
        found = [market.raw(COIN, name)[bar] for name in ("open", "high", "low", "close", "volume")]
        reopened = begin if is_open("cme", pd.DatetimeIndex([begin]))[0] else sessions("cme", begin, end)["open"].iloc[0]
        first = inside[inside.index - pd.Timedelta(hours=1) >= reopened].iloc[0]
        assert reopened in (begin, begin + pd.Timedelta(hours=1), begin + pd.Timedelta(hours=49))
        assert found == [first["open"], inside["high"].max(), inside["low"].min(), inside["close"].iloc[-1], len(inside)]
    assert market.raw(COIN, "volume").max() == 50.0
    assert (market.start, market.step) == (pd.Timestamp("2024-02-01T00:00Z").value, pd.Timedelta("1D").value)
    assert market.notes == [], "gaps are those of the bars that were read"
    np.testing.assert_array_equal(market.raw(FUTURE, "close"), tables.bars[FUTURE]["close"])


def test_what_expires_inside_a_bar_of_the_clock_has_no_bar_there(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, NEAR, FAR)
    days = times("2024-03-01T20:00Z", 8, "D")
    tables.bars[FAR] = bars(np.full(8, 2000.0), days)
    market = load(tmp_path, tables, clock=FAR)
    assert list(market.clock) == list(days)
    assert market.clock[market.last_bar(NEAR)] == pd.Timestamp("2024-03-05T20:00Z"), "delivered on the 6th at 08:00"
    assert market.clock[market.last_bar(SPOT)] == days[-1]


def test_a_close_that_is_old_at_the_clocks_end_is_told_to_be(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, PERP)
    tables.bars[PERP] = tables.bars[PERP].drop(tables.bars[PERP].loc["2024-03-03T22:00Z":"2024-03-04T02:00Z"].index)  # type: ignore[misc]
    tables.bars[SPOT] = bars(np.full(8, 2000.0), times("2024-03-02T00:00Z", 8, "D"))
    market = load(tmp_path, tables, clock=SPOT)
    assert list(np.isnan(market.close(PERP))) == [False, False, True, *[False] * 5]
    assert not np.isnan(load(tmp_path, tables, clock=SPOT, staleness="3h").close(PERP)).any()


def test_a_clock_is_of_the_market_and_of_one_kind(tmp_path: Path) -> None:
    path = write(tmp_path, ether())
    with pytest.raises(DataError, match=rf'^unknown instrument "{SPOT}\.okx" in dataset test; did you mean "{SPOT}"\?$'):
        load_market(path, clock=f"{SPOT}.okx")
    with pytest.raises(DataError, match=r"^no instrument of clock=… has bars in this period; choose another period or another clock$"):
        load_market(path, "2024-03-07", clock=NEAR)
    with pytest.raises(ParameterError, match=rf"^freq and clock both say where bars end: freq=1D, clock={SPOT}; give one of them$"):
        load_market(path, freq="1D", clock=SPOT)


# ---------------------------------------------------------------- the real ones


def front(market: Market, min_days: float) -> "pd.Series[float]":
    """The annualized premium of the contract that a chain offers, where it has a fresh close."""
    chain = market.future_chain(min_days)
    choice, table = offered(market, chain), bt.annualized_premium(market, chain)
    values = np.where(choice >= 0, table[np.maximum(choice, 0), np.arange(len(market))], np.nan)
    return pd.Series(values, index=market.clock).dropna()


MEDIANS = {2023: 0.092, 2024: 0.099, 2025: 0.099}  # the front contract's, as others found them
OURS = {2023: 0.0799, 2024: 0.1010, 2025: 0.0893}  # of 178, 312 and 60 days, from June 2023 to March 2025


def test_cme_with_the_spot_of_the_matching_hour_gives_the_known_premia(joined_set: Path) -> None:
    """Sunday to Thursday meet the spot of 24:00 UTC, Fridays that of 21:00 or 22:00. The contract is the nearest with a fortnight left.

    A close is a last trade, and of thin months hours old: with a week left an error of 10 bps is 5 % a year.
    """
    market = load_market(str(joined_set), "2023-06-01", "2025-03-12T15:00", instruments=["*.cme", "ETHUSDT-SPOT"])
    found = front(market, 14)
    hours: dict[str, Counter[int]] = {}
    for stamp in found.index:
        hours.setdefault((stamp - pd.Timedelta("1ns")).day_name(), Counter())[stamp.hour or 24] += 1
    assert {day: set(count.keys()) for day, count in hours.items() if day in ("Sunday", "Monday", "Wednesday")} == {
        "Sunday": {24}, "Monday": {24}, "Wednesday": {24},
    }  # fmt: skip
    assert hours["Thursday"][24] > 85
    assert hours["Tuesday"][24] > 85
    assert sum(hours["Friday"][hour] for hour in (15, 16, 21, 22)) == sum(hours["Friday"].values()) > 80
    for year, expected in MEDIANS.items():
        values = found[found.index.year == year]
        assert statistics.median(values) == pytest.approx(OURS[year], abs=5e-5), len(values)
        assert OURS[year] == pytest.approx(expected, abs=0.02)


def test_cme_days_with_coinbase_days_are_refused(joined_set: Path) -> None:
    market = load_market(str(joined_set), "2023-01-01", "2025-01-01", instruments=["*.cme", COIN])
    told = rf"^METUSD-\d+\.cme closes at 2023-01-06T22:00Z and the nearest close of {COIN} is 2023-01-07T00:00Z, 2h later; prices that far apart"
    with pytest.raises(DataError, match=told):
        bt.annualized_premium(market, market.future_chain())


def test_a_run_on_cmes_clock_fills_both_legs_together_and_says_that_currencies_are_mixed(joined_set: Path) -> None:
    market = load_market(str(joined_set), "2023-06-01", "2025-03-12T15:00", instruments=["*.cme", "ETHUSDT-SPOT"], clock="*.cme")
    chain = market.future_chain(14)
    rule = bt.Rule(long=market.spot, short=chain, signal=bt.annualized_premium(market, chain), enter=0.08, exit=0.02, max_hold="20D")
    result = bt.run(rule, market, execution=FREE)
    fills = result.fills[result.fills["action"] == "entry"].groupby("trade")["time"].nunique()
    assert len(fills) > 20
    assert (fills == 1).mean() > 0.8, "thin contracts wait a day"
    assert any(note.startswith("MIXED CURRENCIES: ETHUSDT-SPOT is in USDT and METUSD-230630.cme and ") for note in result.notes)
    assert not any(note.startswith("UNEQUAL") for note in result.notes)


def test_a_venue_that_charges_by_the_piece_needs_the_cost_of_a_round_trip(tmp_path: Path) -> None:
    """CME's fees are dollars a contract: the carry to enter can't be told from notional fees, and the message says what can be given instead."""
    index = pd.date_range("2024-01-01T01:00", periods=48, freq="1h", tz="UTC", name="ts").as_unit("ns")
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 2000.0), index=index)
    spot = Instrument(id="ETHUSD-SPOT.coinbase", venue="coinbase", kind=Kind.SPOT, base="ETH", quote="USD")
    expiry = pd.Timestamp("2024-03-28T16:00Z")
    future = Instrument(id="METUSD-240328.cme", venue="cme", kind=Kind.FUTURE, base="ETH", quote="USD", expires_at=expiry)
    content = Tables(instruments=[spot, future], bars={spot.id: bars, future.id: bars * 1.01})
    write_dataset(tmp_path / "set", content, name="set", source="test", simulated=False, licence="")
    market = bt.load_market(str(tmp_path / "set"))
    with pytest.raises(
        DataError, match=r'venue "cme" charges ETH contracts by the piece .*, and to net_carry the cost of a round trip \(--cost\)'
    ):
        bt.net_carry(market, market.future_chain())
    days = (expiry - market.clock[-1]) / pd.Timedelta("1D")
    told = bt.net_carry(market, market.future_chain(), cost=0.002)[0, -1]
    assert told == pytest.approx((0.01 - 0.002) * 365 / days, rel=1e-12)
