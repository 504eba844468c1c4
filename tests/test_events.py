"""The calendar as a signal: windows around events that were known, expiries, closed venues, and a macro series."""

from math import isnan, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markets import FAR, FAR_EXPIRY, HOUR, LAST, NEAR, NEAR_EXPIRY, PERP, SPOT, START, bars, ether, load, only, series, times, write

from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.load import load_market
from backtest.market import Market
from backtest.signals.events import macro_trend, near_event, near_expiry, venue_closed

DAY = pd.Timedelta(days=1)


def with_events(*rows: tuple[str, str, str | None], kind: str = "upgrade") -> Tables:
    """The market of tests with events (time, name, time of announcement)."""
    tables = ether()
    columns = list(zip(*rows, strict=True))
    known = pd.DatetimeIndex([pd.NaT if item is None else pd.Timestamp(item) for item in columns[2]]).tz_localize("UTC").as_unit("ns")
    at = pd.DatetimeIndex(columns[0]).tz_localize("UTC").as_unit("ns")
    tables.events = pd.DataFrame({"ts": at, "name": columns[1], "kind": kind, "known_at": known})
    return tables


def marked(market: Market, values: np.ndarray) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """First and last bar of each run of ones."""
    assert set(values) <= {0.0, 1.0}
    edges = np.flatnonzero(np.diff(np.concatenate([[0.0], values, [0.0]])))
    return [(market.clock[one], market.clock[other - 1]) for one, other in zip(edges[::2], edges[1::2], strict=True)]


# ---------------------------------------------------------------- events


def test_a_window_lies_around_an_event_that_was_announced(tmp_path: Path) -> None:
    market = load(tmp_path, with_events(("2024-03-04T12:30", "one", "2024-02-20")))
    at = pd.Timestamp("2024-03-04T12:30Z")
    found = near_event(market)
    assert found.shape == (len(market),)
    assert marked(market, found) == [(at - DAY + HOUR / 2, at + DAY - HOUR / 2)]
    assert marked(market, near_event(market, before="2h", after="90min")) == [(at - 1.5 * HOUR, at + 1.5 * HOUR)], "ends are inside"


def test_before_its_announcement_an_event_is_nothing(tmp_path: Path) -> None:
    """Announced six hours ahead, not announced at all, and told only afterwards."""
    rows = [
        ("2024-03-02T12:00", "late", "2024-03-02T06:00"),
        ("2024-03-05T00:00", "sudden", None),
        ("2024-03-07T00:00", "learnt", "2024-03-07T09:00"),
    ]
    market = load(tmp_path, with_events(*rows))
    assert marked(market, near_event(market)) == [
        (pd.Timestamp("2024-03-02T06:00Z"), pd.Timestamp("2024-03-03T12:00Z")),
        (pd.Timestamp("2024-03-05T00:00Z"), pd.Timestamp("2024-03-06T00:00Z")),
        (pd.Timestamp("2024-03-07T09:00Z"), pd.Timestamp("2024-03-08T00:00Z")),
    ]
    assert near_event(market, after="6h")[market.clock.get_loc("2024-03-07T09:00Z")] == 0.0, "over before anybody knew"


def test_an_event_learnt_too_late_takes_nothing_from_another(tmp_path: Path) -> None:
    rows = [("2024-03-03T00:00", "learnt", "2024-03-05T12:00"), ("2024-03-05T00:00", "planned", "2024-01-01")]
    market = load(tmp_path, with_events(*rows))
    assert marked(market, near_event(market)) == [(pd.Timestamp("2024-03-04T00:00Z"), pd.Timestamp("2024-03-06T00:00Z"))]


def test_a_dataset_without_announcements_knows_events_from_their_time(tmp_path: Path) -> None:
    tables = with_events(("2024-03-04T12:00", "one", None))
    tables.events = tables.events.drop(columns="known_at")
    market = load(tmp_path, tables)
    assert marked(market, near_event(market)) == [(pd.Timestamp("2024-03-04T12:00Z"), pd.Timestamp("2024-03-05T12:00Z"))]


def test_the_markets_events_say_since_when_each_is_known(tmp_path: Path) -> None:
    events = load(tmp_path, with_events(("2024-03-02T12:00", "told", "2024-03-01"), ("2024-03-05", "sudden", None))).events
    assert dict(zip(events["name"], events["known_at"], strict=True)) == {
        "told": pd.Timestamp("2024-03-01T00:00Z"),
        "sudden": pd.Timestamp("2024-03-05T00:00Z"),
    }


def test_windows_that_overlap_are_one_and_other_kinds_are_others(tmp_path: Path) -> None:
    tables = with_events(("2024-03-04T00:00", "one", "2024-01-01"), ("2024-03-05T00:00", "two", "2024-01-01"))
    other = with_events(("2024-03-08T00:00", "three", "2024-01-01"), kind="listing")
    tables.events = pd.concat([tables.events, other.events], ignore_index=True)
    market = load(tmp_path, tables)
    assert marked(market, near_event(market)) == [(pd.Timestamp("2024-03-03T00:00Z"), pd.Timestamp("2024-03-06T00:00Z"))]
    assert marked(market, near_event(market, "listing", after="2D"))[0][0] == pd.Timestamp("2024-03-07T00:00Z")


def test_near_event_against_a_loop(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    rows = []
    for number in range(6):
        at = START + pd.Timedelta(minutes=int(random.integers(0, 200 * 60)))
        known = at + pd.Timedelta(minutes=int(random.integers(-4000, 600))) if number % 3 else None
        rows.append((str(at.tz_localize(None)), f"event {number}", None if known is None else str(known.tz_localize(None))))
    rows.sort()
    tables = with_events(*rows)
    market = load(tmp_path, tables)
    expected = []
    for time in market.clock:
        near = 0.0
        for event in tables.events.itertuples():
            known = event.ts if pd.isna(event.known_at) else event.known_at
            if known <= time and event.ts - 9 * HOUR <= time <= event.ts + 5 * HOUR:
                near = 1.0
        expected.append(near)
    found = near_event(market, before="9h", after="5h")
    np.testing.assert_array_equal(found, expected)
    assert 0.05 < found.mean() < 0.6


def test_events_that_are_not_there_are_told(tmp_path: Path) -> None:
    told = r'^no event of kind "upgrade" in dataset test; it has no events at all; import them with a mapping, what = "events"$'
    with pytest.raises(DataError, match=told):
        near_event(load(tmp_path, ether()))
    market = load(tmp_path, with_events(("2024-03-04", "one", None)))
    with pytest.raises(DataError, match=r'no event of kind "upgrades" in dataset test; did you mean "upgrade"\?'):
        near_event(market, "upgrades")
    with pytest.raises(ParameterError, match=r"before must be longer than zero: before='0h'"):
        near_event(market, before="0h")


def test_events_that_cannot_be_are_refused(tmp_path: Path) -> None:
    tables = with_events(("2024-03-04", "one", None), ("2024-03-04", "one", None))
    with pytest.raises(DataError, match='event "one" stands twice'):
        near_event(load(tmp_path, tables))


# ---------------------------------------------------------------- expiries


def test_expiries_have_windows_up_to_the_end_of_the_data(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    assert marked(market, near_expiry(market)) == [(NEAR_EXPIRY - DAY, NEAR_EXPIRY + DAY)]
    wide = near_expiry(market, before="21D", after="1h")
    assert marked(market, wide) == [(START + HOUR, NEAR_EXPIRY + HOUR), (FAR_EXPIRY - 21 * DAY, LAST)]
    assert not near_expiry(market, market.leg(FAR)).any()


def test_a_contract_counts_from_its_first_bar_on(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[NEAR] = tables.bars[NEAR][tables.bars[NEAR].index >= NEAR_EXPIRY - 5 * HOUR]
    market = load(tmp_path, tables)
    assert marked(market, near_expiry(market)) == [(NEAR_EXPIRY - 5 * HOUR, NEAR_EXPIRY + DAY)]


def test_only_dated_contracts_expire(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    with pytest.raises(ParameterError, match="needs a dated contract: ETHUSDT-PERP"):
        near_expiry(market, market.perpetual)
    with pytest.raises(DataError, match="the rule needs dated futures and the dataset test has none"):
        near_expiry(load(tmp_path, only(ether(), SPOT, PERP)))


# ---------------------------------------------------------------- hours


def test_cme_closes_daily_at_four_in_chicago_and_over_the_weekend(tmp_path: Path) -> None:
    """1 March 2024 is a Friday, in winter time: the week ends at 22:00 UTC and the next begins on Sunday at 23:00; each day pauses 22:00 to 23:00."""
    market = load(tmp_path, ether())
    runs = marked(market, venue_closed(market))
    assert runs[0] == (pd.Timestamp("2024-03-01T22:00Z"), pd.Timestamp("2024-03-03T22:00Z"))
    pauses = [pd.Timestamp(f"2024-03-0{day}T22:00Z") for day in (4, 5, 6, 7)]
    assert runs[1:5] == [(pause, pause) for pause in pauses]
    assert runs[5] == (pd.Timestamp("2024-03-08T22:00Z"), LAST)
    assert len(runs) == 6


def test_hours_are_unknown_before_the_venue_s_first_day(tmp_path: Path) -> None:
    """CME's ether futures began on Sunday, 7 February 2021, for Monday; before, nobody could be locked out."""
    index = times("2021-02-01T01:00Z", 24 * 14)
    tables = only(ether(), SPOT)
    tables.bars[SPOT] = bars(np.linspace(1500.0, 1600.0, len(index)), index)
    market = load(tmp_path, tables)
    found = venue_closed(market)
    first = int(np.argmin(np.isnan(found)))
    assert not np.isnan(found[first:]).any()
    assert pd.Timestamp("2021-02-07T00:00Z") <= market.clock[first] <= pd.Timestamp("2021-02-09T00:00Z")
    assert found[market.clock.get_loc("2021-02-10T12:00Z")] == 0.0
    assert found[market.clock.get_loc("2021-02-13T12:00Z")] == 1.0


def test_a_venue_that_never_closes_is_never_closed(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    assert not venue_closed(market, "binance").any()
    with pytest.raises(DataError, match=r'no rule-book for venue "cmee".*did you mean "cme"\?'):
        venue_closed(market, "cmee")


# ---------------------------------------------------------------- macro


def naive_trend(table: pd.DataFrame, time: pd.Timestamp, window: pd.Timedelta) -> float:
    def newest(at: pd.Timestamp) -> float:
        rows = [row for row in table.itertuples() if row.known_at <= at]
        return float(max(rows, key=lambda row: row.ts).value) if rows else nan

    past = newest(time - window)
    return newest(time) / past - 1.0 if past > 0.0 else nan


@pytest.mark.parametrize("window", ["3D", "50h"])
def test_macro_trend_compares_what_was_known(tmp_path: Path, window: str) -> None:
    tables = ether()
    days = times(START - 2 * DAY, 10, "D")
    tables.series["equity_index"] = series(days, 4000.0 + 10.0 * np.arange(10) ** 2, "21h")
    market = load(tmp_path, tables)
    expected = [naive_trend(tables.series["equity_index"], time, pd.Timedelta(window)) for time in market.clock]
    found = macro_trend(market, window=window)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    first = next(time for time, value in zip(market.clock, found, strict=True) if not isnan(value))
    assert first == START - 2 * DAY + 21 * HOUR + pd.Timedelta(window), "the day before the market's first is known to it"


def test_macro_trend_needs_a_base_above_zero_and_a_series(tmp_path: Path) -> None:
    tables = ether()
    tables.series["spread"] = series(times(START, 8, "D"), [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    market = load(tmp_path, tables)
    found = macro_trend(market, "spread", "1D")
    at = {str(time)[:13]: value for time, value in zip(market.clock, found, strict=True)}
    assert isnan(at["2024-03-02 12"])
    assert isnan(at["2024-03-03 12"])
    assert at["2024-03-04 12"] == 1.0
    with pytest.raises(DataError, match='no series "equity_index" in dataset test'):
        macro_trend(market)


def test_a_later_start_knows_the_same(tmp_path: Path) -> None:
    tables = ether()
    tables.series["equity_index"] = series(times(START - DAY, 9, "D"), 4000.0 + 10.0 * np.arange(9), "21h")
    path = write(tmp_path, tables)
    whole, late = load_market(path), load_market(path, "2024-03-06")
    np.testing.assert_array_equal(macro_trend(late, window="3D"), macro_trend(whole, window="3D")[-len(late) :])
    assert not np.isnan(macro_trend(late, window="3D")).any()
