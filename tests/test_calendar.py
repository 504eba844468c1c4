"""Expiries and trading hours: CME against a list worked by hand and against its own trades, crypto venues by their Fridays."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtest.errors import DataError, ParameterError
from backtest.venues.calendar import expiries, expiry, is_open, sessions

# Worked by hand: the last Friday of each month in a wall calendar; British Summer Time began on 2022-03-27, 2023-03-26, 2024-03-31, 2025-03-30,
# 2026-03-29 and 2027-03-28 and ended on 2022-10-30, 2023-10-29, 2024-10-27, 2025-10-26, 2026-10-25 and 2027-10-31, so 16:00 in London is 15:00 UTC
# between them. Last Fridays that are holidays in both places: Good Friday 2024-03-29 and 2027-03-26 (Easter 03-31 and 03-28), Christmas 2026-12-25: the
# Thursday before. Boxing Day 2025-12-26 is one in London only and stays.
WORKED = """
METZ1 2021-12-31 16:00
METF2 2022-01-28 16:00  METG2 2022-02-25 16:00  METH2 2022-03-25 16:00  METJ2 2022-04-29 15:00  METK2 2022-05-27 15:00  METM2 2022-06-24 15:00
METN2 2022-07-29 15:00  METQ2 2022-08-26 15:00  METU2 2022-09-30 15:00  METV2 2022-10-28 15:00  METX2 2022-11-25 16:00  METZ2 2022-12-30 16:00
METF3 2023-01-27 16:00  METG3 2023-02-24 16:00  METH3 2023-03-31 15:00  METJ3 2023-04-28 15:00  METK3 2023-05-26 15:00  METM3 2023-06-30 15:00
METN3 2023-07-28 15:00  METQ3 2023-08-25 15:00  METU3 2023-09-29 15:00  METV3 2023-10-27 15:00  METX3 2023-11-24 16:00  METZ3 2023-12-29 16:00
METF4 2024-01-26 16:00  METG4 2024-02-23 16:00  METH4 2024-03-28 16:00  METJ4 2024-04-26 15:00  METK4 2024-05-31 15:00  METM4 2024-06-28 15:00
METN4 2024-07-26 15:00  METQ4 2024-08-30 15:00  METU4 2024-09-27 15:00  METV4 2024-10-25 15:00  METX4 2024-11-29 16:00  METZ4 2024-12-27 16:00
METF5 2025-01-31 16:00  METG5 2025-02-28 16:00  METH5 2025-03-28 16:00  METJ5 2025-04-25 15:00  METK5 2025-05-30 15:00  METM5 2025-06-27 15:00
METN5 2025-07-25 15:00  METQ5 2025-08-29 15:00  METU5 2025-09-26 15:00  METV5 2025-10-31 16:00  METX5 2025-11-28 16:00  METZ5 2025-12-26 16:00
METF6 2026-01-30 16:00  METG6 2026-02-27 16:00  METH6 2026-03-27 16:00  METJ6 2026-04-24 15:00  METK6 2026-05-29 15:00  METM6 2026-06-26 15:00
METN6 2026-07-31 15:00  METU6 2026-09-25 15:00  METZ6 2026-12-24 16:00
METH7 2027-03-25 16:00  METM7 2027-06-25 15:00  METZ7 2027-12-31 16:00
"""
BY_HAND = WORKED.split()
HAND = {
    symbol: pd.Timestamp(f"{day} {hour}", tz="UTC") for symbol, day, hour in zip(BY_HAND[::3], BY_HAND[1::3], BY_HAND[2::3], strict=True)
}
MONTHS = "FGHJKMNQUVXZ"


def month_of(symbol: str) -> tuple[int, int]:
    return 2020 + int(symbol[4]), MONTHS.index(symbol[3]) + 1


@pytest.mark.parametrize("symbol", HAND)
def test_cme_expiries_are_those_worked_by_hand(symbol: str) -> None:
    assert expiry("cme", *month_of(symbol)) == HAND[symbol]


def trades(raw: Path) -> pd.DataFrame:
    table = pd.read_csv(raw / "cme-eth-databento" / "glbx-mdp3-20211121-20260212.ohlcv-1d.csv")
    outright = table[~table["symbol"].str.contains("-")]
    return outright.assign(day=pd.to_datetime(outright["ts_event"].str[:10]))


def test_the_list_has_every_contract_of_the_real_file(raw: Path) -> None:
    symbols = json.loads((raw / "cme-eth-databento" / "symbology.json").read_text())["result"]
    assert {name for name in symbols if "-" not in name} == set(HAND)
    assert set(trades(raw)["symbol"]) <= set(HAND)
    assert len(HAND) == 61


def test_every_contract_last_traded_on_the_day_it_expires(raw: Path) -> None:
    """All 50 contracts that expired inside the file: METH4 on the Thursday before Good Friday, METZ5 on Boxing Day."""
    last = trades(raw).groupby("symbol")["day"].max()
    expired = [symbol for symbol, time in HAND.items() if time < pd.Timestamp("2026-02-12", tz="UTC")]
    assert len(expired) == 50
    assert {symbol: str(last[symbol].date()) for symbol in expired} == {symbol: str(HAND[symbol].date()) for symbol in expired}


def test_cme_is_open_on_the_days_that_have_bars_and_on_no_other(raw: Path) -> None:
    """1,305 UTC days with trades in four years: weekends, Good Fridays, Christmas and New Year's Sundays are told from missing bars."""
    hours = pd.date_range("2021-12-05T23:00", "2026-02-12T23:00", freq="h", tz="UTC")
    opened = pd.DatetimeIndex(hours[is_open("cme", hours)].tz_convert(None)).normalize().unique()
    assert list(opened) == sorted(trades(raw)["day"].unique())
    assert len(opened) == 1305


def test_trades_tell_the_days_that_the_holiday_calendar_has_wrongly_closed(raw: Path) -> None:
    """Good Friday 2023 and 2025-01-09 (a day of mourning): where only the evening's hour is open few trade, there thousands did."""
    traded = trades(raw).groupby("day")["volume"].sum()
    evening_only = traded[[pd.Timestamp(day) for day in ("2024-12-25", "2024-01-01", "2023-12-25")]]
    for day in ("2023-04-07", "2025-01-09"):
        assert is_open("cme", pd.DatetimeIndex([f"{day} 10:00"], tz="UTC")).all()
        assert is_open("cme", pd.DatetimeIndex([f"{day} 19:00"], tz="UTC")).tolist() == [False], "the close is taken as an early one"
    assert traded[pd.Timestamp("2025-01-09")] > 5 * evening_only.max()


def at(*times: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex([pd.Timestamp(time, tz="America/Chicago") for time in times])


def test_cme_hours_of_a_week() -> None:
    """Sunday 17:00 to Friday 16:00 Chicago with an hour's break; the close itself is outside, the open inside; the same on both sides of the clock change."""
    week = at(
        "2024-07-14 16:59",
        "2024-07-14 17:00",
        "2024-07-15 15:59",
        "2024-07-15 16:00",
        "2024-07-15 17:00",
        "2024-07-19 15:59",
        "2024-07-19 16:00",
    )
    assert is_open("cme", week).tolist() == [False, True, True, False, True, True, False]
    assert is_open("cme", at("2024-07-20 12:00", "2024-03-10 17:00", "2024-11-03 16:59", "2024-11-03 17:00")).tolist() == [
        False,
        True,
        False,
        True,
    ]
    assert is_open("cme", at("2024-07-15 17:00", "2024-07-20 12:00", "2024-07-14 17:00")).tolist() == [True, False, True], "in any order"
    assert is_open("cme", week[:0]).tolist() == []


def test_cme_holidays() -> None:
    """Christmas 2024 was a Wednesday: an early close on the 24th, nothing until the evening of the 25th. Thanksgiving closes at noon."""
    times = at(
        "2024-12-24 11:59",
        "2024-12-24 12:00",
        "2024-12-25 10:00",
        "2024-12-25 17:00",
        "2024-11-28 11:59",
        "2024-11-28 12:00",
        "2024-11-28 17:00",
    )
    assert is_open("cme", times).tolist() == [True, False, False, True, True, False, True]
    assert is_open("cme", at("2024-03-29 10:00", "2024-03-28 17:00", "2024-03-31 17:00")).tolist() == [False, False, True]


def test_cme_trades_around_the_clock_from_its_day() -> None:
    times = at("2026-05-23 12:00", "2026-05-29 15:59", "2026-05-29 16:00", "2026-05-30 12:00", "2026-12-25 12:00")
    assert is_open("cme", times).tolist() == [False, True, True, True, True]


def test_sessions_are_evenings_to_afternoons_by_trade_date() -> None:
    table = sessions("cme", "2024-03-27T12:00", "2024-04-02")
    assert [f"{day:%a %m-%d}" for day in table.index] == ["Wed 03-27", "Thu 03-28", "Mon 04-01", "Tue 04-02"]
    assert (table["open"].iloc[0], table["close"].iloc[0]) == (pd.Timestamp("2024-03-26T22:00Z"), pd.Timestamp("2024-03-27T21:00Z"))
    daily = sessions("binance", "2024-03-29", "2024-03-31")
    assert (daily["close"] - daily["open"]).tolist() == [pd.Timedelta(days=1)] * 2
    assert is_open("deribit", pd.date_range("2024-03-29", periods=100, freq="h", tz="UTC")).all()


def test_hours_that_are_not_known_are_refused() -> None:
    with pytest.raises(
        DataError, match=r'^venue "cme" has no rule "hours" for a dated future \(ETH, linear\) on 2020-01-06; ask for later times, or add '
    ):
        is_open("cme", pd.DatetimeIndex(["2020-01-06"], tz="UTC"))


def test_hours_beyond_the_holiday_calendars_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from backtest.venues import calendar

    monkeypatch.setattr(calendar, "LAST", "2025-12-31")
    calendar._workdays.cache_clear()
    with pytest.raises(
        DataError, match=r"^trading hours are known up to 2025-12-31 and were asked for up to 2026-02-01; ask for earlier times$"
    ):
        sessions("cme", "2025-12-01", "2026-02-01")
    calendar._workdays.cache_clear()


def test_crypto_quarterlies_end_on_fridays_at_eight() -> None:
    """Good Friday or not. The delivery days of the shared contracts are their names."""
    names = ["230929", "231229", "240329", "240628", "240927", "241227", "250328", "250627"]
    expected = [pd.Timestamp(f"20{name} 08:00", tz="UTC") for name in names]
    assert list(expiries("binance", "2023-07-01", "2025-06-30")) == expected
    assert expiry("deribit", 2024, 5) == pd.Timestamp("2024-05-31T08:00Z")
    assert list(expiries("binance", "2024-03-29T08:00", "2024-06-28T07:59")) == [expected[2]]
    assert np.array_equal(expiries("cme", "2024-03-01", "2024-05-01"), pd.DatetimeIndex([HAND["METH4"], HAND["METJ4"]]))


def test_the_real_delivery_times_are_the_calendars(raw: Path) -> None:
    table = pd.read_csv(raw / "binance-ethusdt-hourly" / "fut_expirys.csv")
    dated = table[table["contractType"] != "PERPETUAL"]
    times = pd.to_datetime(dated["deliveryDate"], unit="ms", utc=True)
    assert len(times) >= 8
    assert [expiry("binance", time.year, time.month) for time in times] == list(times)


def test_months_without_a_contract_and_impossible_ones_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"^binance has no contract that expires in 2024-05; its months are 3, 6, 9, 12$"):
        expiry("binance", 2024, 5)
    with pytest.raises(ParameterError, match=r"^year must be from 2000 to 2100 and month from 1 to 12: year=2024, month=13$"):
        expiry("cme", 2024, 13)
    with pytest.raises(
        DataError,
        match=r'^venue "cme" has no rule "calendar" for a dated future \(ETH, linear\) on 2020-12-25; import the instruments with',
    ):
        expiry("cme", 2020, 12)
    with pytest.raises(DataError, match=r'^venue "okx" has no rule "calendar" for a dated future'):
        expiry("okx", 2024, 3)


def test_importing_the_package_loads_no_holiday_calendar() -> None:
    code = "import backtest, backtest.venues.calendar, sys; sys.exit('exchange_calendars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
