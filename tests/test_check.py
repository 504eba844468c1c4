"""Checks of a dataset: every error and every problem is found, where it is, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtest.data.checks import check_dataset
from backtest.data.checks.findings import InMemory, examine
from backtest.data.merge import merge_instruments
from backtest.data.schema import ROOMS, Tables
from backtest.data.store import Facts, open_dataset, updating, write_dataset
from backtest.data.validate import (
    bar_errors,
    bar_step,
    funding_errors,
    in_dataset,
    missing_bars,
    missing_funding,
    refuse,
    series_errors,
    show_time,
    stale_closes,
    table_errors,
    time_errors,
)  # fmt: skip
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind

pytest_plugins = ["real_sets"]

SPOT, PERP, FUTURE = "ETHUSDT-SPOT", "ETHUSDT-PERP", "ETHUSDT-240105"


def problems(tables: Tables) -> list[str]:
    """What true data lack, as `carry data check` says it."""
    return [finding.text for finding in examine(InMemory(tables)).findings if finding.grave]


def notes(tables: Tables) -> list[str]:
    return [finding.text for finding in examine(InMemory(tables)).findings if not finding.grave]


def put(key: str, row: int, column: str, value: float) -> Callable[[Tables], None]:
    def change(tables: Tables) -> None:
        tables.bars[key].iloc[row, list(tables.bars[key].columns).index(column)] = value

    return change


def test_the_fixture_has_no_errors_and_no_problems(tables: Tables) -> None:
    assert list(table_errors(tables)) == problems(tables) == list(notes(tables)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(SPOT, 3, "close", 0.0), "ETHUSDT-SPOT at 2023-12-31T04:00Z: close is 0; prices must be above 0 and finite"),
        (put(SPOT, 3, "low", -1.0), "ETHUSDT-SPOT at 2023-12-31T04:00Z: low is -1; prices must be above 0 and finite"),
        (put(SPOT, 3, "close", np.nan), "ETHUSDT-SPOT at 2023-12-31T04:00Z: close is nan; a bar needs all four prices"),
        (put(SPOT, 3, "high", np.inf), "high is inf; prices must be above 0 and finite"),
        (put(SPOT, 3, "high", 1.0), "ETHUSDT-SPOT at 2023-12-31T04:00Z: high 1 is below low 1001; the high must be the highest"),
        (put(SPOT, 3, "open", 2000.0), "high 1005 is below open 2000"),
        (put(SPOT, 3, "close", 2000.0), "high 1005 is below close 2000"),
        (put(SPOT, 3, "open", 1000.5), "open 1000.5 is below low 1001"),
        (put(SPOT, 3, "close", 1000.5), "close 1000.5 is below low 1001"),
        (put(SPOT, 3, "volume", -2.0), "ETHUSDT-SPOT at 2023-12-31T04:00Z: volume is -2; it must not be negative"),
        (put(PERP, 0, "ask", 998.0), "ETHUSDT-PERP at 2023-12-31T01:00Z: ask 998 is below bid 999; quotes are crossed"),
        (put(PERP, 0, "bid", 0.0), "ETHUSDT-PERP at 2023-12-31T01:00Z: bid is 0; prices must be above 0"),
        (
            lambda t: t.bars.update({SPOT: pd.concat([t.bars[SPOT].iloc[:2], t.bars[SPOT].iloc[1:]])}),
            "ETHUSDT-SPOT at 2023-12-31T02:00Z: time 2023-12-31T02:00Z stands twice; times must be unique",
        ),
        (
            lambda t: t.bars.update({SPOT: t.bars[SPOT].iloc[[0, 2, 1, *range(3, 48)]]}),
            "ETHUSDT-SPOT at 2023-12-31T02:00Z: time 2023-12-31T02:00Z comes after 2023-12-31T03:00Z; times must be in order; sort the rows",
        ),
        (lambda t: t.bars.update({SPOT: t.bars[SPOT].drop(columns="low")}), 'column "low" is missing; bars need open, high, low, close'),
        (
            lambda t: t.instruments.__setitem__(2, Instrument(id=FUTURE, venue="b", kind=Kind.FUTURE, base="ETH", quote="USDT")),
            "ETHUSDT-240105: is a dated future without a known expiry",
        ),
        (
            lambda t: t.bars.update({FUTURE: t.bars[FUTURE].set_axis(t.bars[FUTURE].index + pd.Timedelta("4D4h"))}),
            "ETHUSDT-240105 at 2024-01-05T09:00Z: the bar ends after delivery at 2024-01-05T08:00Z; cut the bars at expiry \\(3 such rows\\)",
        ),
        (lambda t: t.funding[PERP].__setitem__("rate", 2.0), "ETHUSDT-PERP funding at 2023-12-31T00:00Z: rate is 2; it must be a fraction"),
        (lambda t: t.funding[PERP].__setitem__("rate", np.nan), "rate is nan; a funding event needs its rate"),
        (lambda t: t.funding[PERP].__setitem__("interval_hours", -8.0), "interval_hours is -8; it must be above 0"),
        (lambda t: t.funding[PERP].__setitem__("mark_price", 0.0), "mark_price is 0; it must be above 0"),
        (
            lambda t: t.series["risk_free"].__setitem__("known_at", t.series["risk_free"]["ts"] - pd.Timedelta("1h")),
            "series risk_free at 2024-01-01T00:00Z: known_at 2023-12-31T23:00Z is before ts 2024-01-01T00:00Z",
        ),
        (lambda t: t.series["risk_free"].__setitem__("value", np.nan), "series risk_free at 2024-01-01T00:00Z: value is nan; a row needs"),
        (lambda t: t.settlements.__setitem__("price", -3.0), "settlements at 2024-01-05T08:00Z: price is -3; prices must be above 0"),
        (
            lambda t: setattr(t, "settlements", pd.concat([t.settlements, t.settlements])),
            "settlements at 2024-01-05T08:00Z: ETHUSDT-240105 settles twice",
        ),
        (lambda t: setattr(t, "events", pd.concat([t.events, t.events])), 'events at 2024-01-01T00:00Z: event "New Year" stands twice'),
        (lambda t: t.events.__setitem__("ts", pd.DatetimeIndex([None], tz="UTC")), "events at no time: the time is missing"),
    ],
)
def test_each_error_is_found_first_in_memory_and_in_a_dataset(
    tables: Tables, tmp_path: Path, change: Callable[[Tables], None], message: str
) -> None:
    change(tables)
    errors = list(table_errors(tables))
    with pytest.raises(DataError, match=message):
        refuse(errors)
    if "is missing" not in message:
        write_dataset(tmp_path / "bad", tables, name="bad", source="test", simulated=False, licence="")
        check = check_dataset(open_dataset(tmp_path / "bad"))
        assert (check.errors, check.good, check.problems, check.notes) == (errors, False, [], [])


def test_an_order_of_times_is_told_with_missing_ones() -> None:
    times = pd.DatetimeIndex(["2024-01-01T00:00Z", None])
    assert list(time_errors(times, in_dataset("x", times))) == [
        "x at no time: the time is missing; every row needs one; correct the row or remove it"
    ]


def test_funding_without_rates_and_marks_out_of_order(tables: Tables) -> None:
    funding = tables.funding[PERP].drop(columns="rate")
    where = in_dataset("x", funding.index)
    assert "funding needs ts and rate" in next(iter(funding_errors(funding, where)))
    bars = tables.bars[SPOT].assign(mark_high=1.0, mark_low=2.0)
    assert "mark_high 1 is below mark_low 2" in next(iter(bar_errors(bars, in_dataset("x", bars.index))))
    unknown = tables.series["risk_free"].assign(known_at=pd.DatetimeIndex([None], tz="UTC"))
    assert "known_at no time is before ts" in next(iter(series_errors(unknown, in_dataset("x", bars.index))))


def test_seconds_are_shown_where_there_are_some() -> None:
    assert [show_time(pd.Timestamp(t)) for t in ("2024-01-01T00:00Z", "2024-01-01T00:00:07Z")] == [
        "2024-01-01T00:00Z",
        "2024-01-01T00:00:07Z",
    ]


# --- problems --------------------------------------------------------------------------------------------


def test_missing_bars_are_told(tables: Tables) -> None:
    tables.bars[SPOT] = tables.bars[SPOT].drop(tables.bars[SPOT].index[[5, 6, 20]])
    assert problems(tables) == [
        "ETHUSDT-SPOT: 3 bars are missing: 2023-12-31T06:00Z, 2023-12-31T07:00Z, 2023-12-31T21:00Z; import them, or allow the gap when loading"
    ]


def test_a_missing_funding_event_is_told(tables: Tables) -> None:
    tables.funding[PERP] = tables.funding[PERP].drop(tables.funding[PERP].index[3])
    assert problems(tables) == ["ETHUSDT-PERP: 1 funding event is missing: 2024-01-01T00:00Z; import it, or end the run before"]


@pytest.mark.parametrize(
    ("kept", "missing"),
    [
        (slice(None), []),
        (slice(1, None), []),  # 2023-12-31T00:00 is where the first bar begins: nobody can hold then
        (slice(2, None), ["2023-12-31T08:00"]),
        (slice(0, 5), ["2024-01-01T16:00", "2024-01-02T00:00"]),
        (slice(3, 4), ["2023-12-31T08:00", "2023-12-31T16:00", "2024-01-01T08:00", "2024-01-01T16:00", "2024-01-02T00:00"]),
    ],
)
def test_funding_must_reach_over_the_bars(tables: Tables, kept: slice, missing: list[str]) -> None:
    found = missing_funding(tables.funding[PERP].iloc[kept], pd.Timestamp("2023-12-31T00:00Z"), pd.Timestamp("2024-01-02T00:00Z"))
    assert list(found) == [pd.Timestamp(time, tz="UTC") for time in missing]


def test_an_event_at_the_very_start_is_not_paid_and_one_at_the_end_is(tables: Tables) -> None:
    funding = tables.funding[PERP]
    holes = funding.drop(funding.index[[2, 5]])
    assert list(missing_funding(holes, funding.index[2], funding.index[5])) == [funding.index[5]]


def test_a_change_of_interval_is_no_missing_event() -> None:
    hours = pd.Series([0, 8, 16, 20, 24, 32, 40], dtype=float)
    funding = pd.DataFrame(
        {"rate": 0.0, "interval_hours": [8.0, 8, 4, 4, 4, 8, 8]}, index=pd.Timestamp("2024-01-01T00:00Z") + pd.to_timedelta(hours, unit="h")
    )
    assert missing_funding(funding, funding.index[0], funding.index[-1]).empty
    assert list(missing_funding(funding.drop(funding.index[3]), funding.index[0], funding.index[-1])) == [pd.Timestamp("2024-01-01T20:00Z")]
    assert missing_funding(funding.iloc[:0], funding.index[0], funding.index[-1]).empty


def test_a_perpetual_without_funding_and_an_instrument_without_bars_are_told(tables: Tables) -> None:
    del tables.funding[PERP], tables.bars[FUTURE]
    assert problems(tables) == [
        "ETHUSDT-240105: has no bars; import them, or leave the instrument out",
        "ETHUSDT-PERP: is a perpetual without funding; import its funding rates",
    ]


def test_a_spot_and_a_future_without_a_common_time_are_told(tables: Tables) -> None:
    tables.bars[FUTURE] = tables.bars[FUTURE].set_axis(tables.bars[FUTURE].index + pd.Timedelta("2D"))
    assert problems(tables) == [
        "ETHUSDT-240105 (2024-01-02T12:00Z to 2024-01-03T07:00Z) and ETHUSDT-SPOT (2023-12-31T01:00Z to 2024-01-02T00:00Z) share no time; "
        "a premium needs both; import the missing span"
    ]


def test_one_bar_has_no_step_and_lacks_none(tables: Tables) -> None:
    one = pd.DatetimeIndex(tables.bars[SPOT].index[:1])
    assert bar_step(one) is None
    assert len(missing_bars(one)) == 0
    assert len(stale_closes(tables.bars[SPOT].iloc[:1], tables.bars[SPOT])) == 0


def test_a_stale_close_is_told(tables: Tables) -> None:
    tables.bars[PERP].iloc[9:11, :4] *= 1.005  # the bars of 10:00 and 11:00 stand 50 bps off; so do the opens after 09:00 and 11:00
    stale = [pd.Timestamp("2023-12-31T09:00Z"), pd.Timestamp("2023-12-31T11:00Z")]
    assert list(stale_closes(tables.bars[PERP], tables.bars[SPOT])) == stale
    assert list(notes(tables)) == [
        "bars that look cut short, for the next open is over 30 bps further from the close than ETHUSDT-SPOT's: "
        "ETHUSDT-PERP 2023-12-31T09:00Z, 2023-12-31T11:00Z"
    ]
    # the same gap in both legs is a jump of the market, and a gap of the spot is not the leg's fault
    tables.bars[SPOT].iloc[9:11, :4] *= 1.005
    assert stale_closes(tables.bars[PERP], tables.bars[SPOT]).empty
    tables.bars[PERP].iloc[9:11, :4] /= 1.005
    assert stale_closes(tables.bars[PERP], tables.bars[SPOT]).empty


def test_several_quote_currencies_are_told(tables: Tables) -> None:
    tables.instruments.append(Instrument(id="ETHUSD-SPOT", venue="c", kind=Kind.SPOT, base="ETH", quote="USD"))
    assert list(notes(tables)) == ["quotes are in USD, USDT: a premium between them contains the exchange rate"]


def test_a_hash_that_is_not_that_of_the_files_is_told(tables: Tables, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_dataset(tmp_path / name, tables, name=name, source="test", simulated=False, licence="")
        tables.bars[SPOT] *= 2
    file = "bars/instrument=ETHUSDT-SPOT/year=2024/part-0.parquet"
    assert check_dataset(open_dataset(tmp_path / "one")).good
    (tmp_path / "one" / file).write_bytes((tmp_path / "two" / file).read_bytes())
    check = check_dataset(open_dataset(tmp_path / "one"))
    assert len(check.errors) == 1
    assert "the files were changed; import the data again" in check.errors[0]


def test_the_rows_of_a_check(tables: Tables, tmp_path: Path) -> None:
    tables.bars[SPOT] = tables.bars[SPOT].drop(tables.bars[SPOT].index[5:8])
    tables.bars[FUTURE] = tables.bars[FUTURE].iloc[:1]
    tables.instruments.append(Instrument(id="X", venue="v", kind=Kind.SPOT, base="X", quote="USDT"))
    write_dataset(tmp_path / "set", tables, name="set", source="test", simulated=False, licence="")
    rows = {
        row.instrument.id: (row.rows, row.largest_gap, row.missing, row.first) for row in check_dataset(open_dataset(tmp_path / "set")).rows
    }
    start = pd.Timestamp("2023-12-31T01:00Z")
    assert rows == {
        SPOT: (45, pd.Timedelta("4h"), 3, start),
        PERP: (48, pd.Timedelta("1h"), 0, start),
        FUTURE: (1, None, 0, pd.Timestamp("2023-12-31T12:00Z")),
        "X": (0, None, 0, None),
    }


def test_the_real_sets_lack_what_is_known_of_them(hourly_set: Path, daily_set: Path) -> None:
    check = check_dataset(open_dataset(hourly_set))
    assert check.errors == []
    assert check.problems == [
        "ETHUSDT-PERP: 4 funding events are missing: 2025-03-11T08:00Z, 2025-03-11T16:00Z, 2025-03-12T00:00Z, 2025-03-12T08:00Z; "
        "import them, or end the run before"
    ]
    assert check.notes == [
        "bars that look cut short, for the next open is over 30 bps further from the close than ETHUSDT-SPOT's: "
        "ETHUSDT-240329 2023-11-10T16:00Z; ETHUSDT-240628 2024-03-05T20:00Z; ETHUSDT-241227 2024-10-28T22:00Z; "
        "ETHUSDT-250328 2024-10-28T22:00Z; ETHUSDT-PERP 2024-10-28T22:00Z"
    ]
    daily = check_dataset(open_dataset(daily_set))
    assert daily.problems == ["ETHUSDT-PERP: 1 funding event is missing: 2025-01-01T00:00Z; import it, or end the run before"]
    # Binance's perpetual fell to 1,400.73 on 19 May 2021; spot's low was 1,888.00
    assert [(finding.rule, finding.holes[0][0]) for finding in daily.findings if not finding.grave] == [
        ("wick", pd.Timestamp("2021-05-20T00:00Z"))
    ]


def test_the_real_sets_are_usable_as_far_as_their_legs_go(hourly_set: Path, daily_set: Path) -> None:
    def ends(folder: Path) -> dict[str, tuple[str, str] | None]:
        usable = check_dataset(open_dataset(folder)).usable
        return {one.strategy: None if one.longest is None else tuple(map(show_time, one.longest)) for one in usable}  # type: ignore[misc]

    assert ends(hourly_set) == {
        "cash_and_carry": ("2023-06-25T02:00Z", "2025-03-12T15:00Z"),
        "funding_carry": ("2023-06-01T00:00Z", "2025-03-11T07:00Z"),  # the bar that ends at 08:00 pays funding that is not there
        "futures_vs_perpetual": ("2023-06-25T02:00Z", "2025-03-11T07:00Z"),
        "calendar_spread": ("2023-09-29T11:00Z", "2025-03-12T15:00Z"),
    }
    assert ends(daily_set) == {
        "cash_and_carry": None,
        "funding_carry": ("2021-01-01T00:00Z", "2024-12-31T00:00Z"),
        "futures_vs_perpetual": None,
        "calendar_spread": None,
    }


# --- merging ---------------------------------------------------------------------------------------------


def merge(folder: Path, *contents: Tables) -> Tables:
    """One content after another into one dataset, as imports put them."""
    for content in contents:
        with updating(folder) as update:
            instruments = list(update.before.instruments.values()) if update.before else []
            for room in ROOMS:
                frames = getattr(content, room)
                for key, frame in {"": frames}.items() if isinstance(frames, pd.DataFrame) else frames.items():
                    update.add(room, key, frame)
            facts = Facts(name="set", source="test", simulated=False, licence="none")
            update.commit(merge_instruments(instruments, content.instruments), facts)
    return open_dataset(folder).tables()


def halves(tables: Tables, key: str) -> tuple[Tables, Tables]:
    early = Tables(instruments=tables.instruments, bars={key: tables.bars[key].iloc[:30]}, series=dict(tables.series))
    late = Tables(
        instruments=tables.instruments, bars={key: tables.bars[key].iloc[20:]}, settlements=tables.settlements, events=tables.events
    )
    return early, late


def test_merging_halves_that_overlap_gives_the_whole(tables: Tables, tmp_path: Path) -> None:
    early, late = halves(tables, SPOT)
    for name, one, other in (("a", early, late), ("b", late, early)):
        merged = merge(tmp_path / name, one, other)
        pd.testing.assert_frame_equal(merged.bars[SPOT], tables.bars[SPOT], check_freq=False)
        assert (len(merged.series["risk_free"]), len(merged.settlements), len(merged.events)) == (1, 1, 1)
        assert merged.instruments == sorted(tables.instruments, key=lambda one: one.id)


def test_merging_fills_in_what_one_side_does_not_know(tables: Tables, tmp_path: Path) -> None:
    bare = Tables(instruments=tables.instruments, bars={SPOT: tables.bars[SPOT].drop(columns="volume").iloc[:10]})
    merged = merge(tmp_path / "set", bare, tables, tables)
    pd.testing.assert_frame_equal(merged.bars[SPOT], tables.bars[SPOT], check_freq=False, check_like=True)
    assert len(merged.series["risk_free"]) == 1
    pd.testing.assert_frame_equal(merged.settlements, tables.settlements, check_dtype=False, check_like=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            put(SPOT, 25, "close", 1025.0),
            r"ETHUSDT-SPOT bar at 2024-01-01T02:00Z: close is 1026\.0 and 1025\.0; one row can't have two values; import one",
        ),
        (lambda t: t.series["risk_free"].__setitem__("value", 9.0), r"series risk_free at 2024-01-01T00:00Z: value is 0\.05 and 9\.0"),
        (lambda t: t.settlements.__setitem__("price", 9.0), r"settlement at ETHUSDT-240105 2024-01-05T08:00Z: price is 1055\.5 and 9\.0"),
        (lambda t: t.funding[PERP].__setitem__("rate", 0.5), r"ETHUSDT-PERP funding event at 2023-12-31T00:00Z: rate is .*\(7 such rows\)"),
        (
            lambda t: t.instruments.__setitem__(0, Instrument(id=SPOT, venue="other", kind=Kind.SPOT, base="ETH", quote="USDT")),
            "ETHUSDT-SPOT: venue is binance and other; an instrument has one",
        ),
    ],
)
def test_contradictions_are_refused(tables: Tables, tmp_path: Path, change: Callable[[Tables], None], message: str) -> None:
    other = Tables(
        instruments=list(tables.instruments),
        bars={key: bars.copy() for key, bars in tables.bars.items()},
        funding={PERP: tables.funding[PERP].copy()},
        series={"risk_free": tables.series["risk_free"].copy()},
        settlements=tables.settlements.copy(),
    )
    merge(tmp_path / "set", tables, other)
    change(other)
    with pytest.raises(DataError, match=message):
        merge(tmp_path / "set", other)
