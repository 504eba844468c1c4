"""Rates as FRED, lending pools and open interest as its aggregator write them: the real files against an independent reading, and what is refused."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from vendor_files import write

from backtest.data.importers import ImportReport, import_files
from backtest.data.importers.common import Request
from backtest.errors import DataError

TBILL = "observation_date,DTB3\n2023-01-12,4.50\n2023-01-13,4.51\n2023-01-16,\n2023-01-17,.\n2023-01-18,4.53\n"
POOLS = (
    "blockNumber,variable_borrow_rate_comp,supply_rate_comp,supply_rate_aave_v2,timestamp\n"
    "1,0.045,0.01,,2020-05-04 13:22:13\n2,0.046,0.011,0.02,2020-05-04 14:30:14\n"
)
INTEREST = (
    "rank,symbol,date,timestamp,oi_open,oi_high,oi_low,oi_close\n"
    "2,ETHUSD_PERP.A,2021-09-15,1631664000,10,14,9,12\n2,ETHUSD_PERP.A,2021-09-16,1631750400,12,13,8,9\n"
)


def imported(vendor: str, file: Path, into: Path) -> ImportReport:
    """What a file becomes in a dataset of its own."""
    return import_files(vendor, [file], into / "set", Request())


def rows(file: Path) -> list[dict[str, str]]:
    with file.open() as text:
        return list(csv.DictReader(text))


# --- FRED ------------------------------------------------------------------------------------------------


def test_the_t_bill_is_the_risk_free_rate(raw: Path, tmp_path: Path) -> None:
    report = imported("fred", raw / "rates" / "DTB3.csv", tmp_path)
    theirs = rows(raw / "rates" / "DTB3.csv")
    present = [row for row in theirs if row["DTB3"]]
    ours = report.dataset.series("risk_free")
    assert len(ours) == len(present) == 896
    assert len(theirs) - len(present) == report.lines[0].cut == 39
    assert np.allclose(ours["value"], [float(row["DTB3"]) / 100 for row in present], rtol=1e-15, atol=0)
    assert ours["ts"].tolist() == [pd.Timestamp(row["observation_date"], tz="UTC") for row in present]
    assert ours["value"].iloc[[0, -1]].tolist() == pytest.approx([0.045, 0.0372], rel=1e-15)
    assert (ours["ts"].iloc[0], ours["ts"].iloc[-1]) == (pd.Timestamp("2023-01-12", tz="UTC"), pd.Timestamp("2026-08-12", tz="UTC"))
    assert report.notes == ["39 rows have no value and were left out"]


def test_a_rate_is_not_known_before_it_can_have_been_published(raw: Path, tmp_path: Path) -> None:
    ours = imported("fred", raw / "rates" / "DTB3.csv", tmp_path).dataset.series("risk_free").set_index("ts")["known_at"]
    assert ours["2023-01-12"] == pd.Timestamp("2023-01-16T21:15Z")  # Thursday: Friday's release, or Monday's after a holiday
    assert ours["2023-07-13"] == pd.Timestamp("2023-07-17T20:15Z")  # in summer
    assert ours["2023-01-13"] == pd.Timestamp("2023-01-17T21:15Z")  # Friday before a holiday on Monday: published on Tuesday
    # the earliest possible release is that of the next weekday 16:15 in Washington
    weekday = np.busday_offset(ours.index.tz_localize(None).to_numpy().astype("datetime64[D]"), 1)
    earliest = (pd.DatetimeIndex(weekday) + pd.Timedelta("16h15min")).tz_localize("America/New_York")
    assert (pd.DatetimeIndex(ours) >= earliest).all()
    assert (pd.DatetimeIndex(ours) - ours.index).max() <= pd.Timedelta("5D")


def test_the_primary_credit_rate_holds_from_its_day(raw: Path, tmp_path: Path) -> None:
    file = raw / "rates" / "PCREDIT8.csv"
    theirs = rows(file)
    ours = imported("fred", file, tmp_path).dataset.series("primary_credit")
    assert len(ours) == len(theirs) == 56
    assert np.allclose(ours["value"], [float(row["PCREDIT8"]) / 100 for row in theirs], rtol=1e-15, atol=0)
    assert (ours["known_at"] == ours["ts"]).all()
    assert (ours["ts"].iloc[0], ours["value"].iloc[0]) == (pd.Timestamp("2003-01-09", tz="UTC"), 0.0225)
    assert (ours["ts"].iloc[-1], ours["value"].iloc[-1]) == (pd.Timestamp("2023-07-27", tz="UTC"), 0.055)


def test_holidays_are_empty_or_a_dot(tmp_path: Path) -> None:
    report = imported("fred", write(tmp_path, "DTB3.csv", TBILL), tmp_path)
    assert report.dataset.series("risk_free")["value"].round(6).tolist() == [0.045, 0.0451, 0.0453]
    assert report.lines[0].cut == 2


# --- lending pools ---------------------------------------------------------------------------------------


def test_lending_rates_of_each_pool(raw: Path, tmp_path: Path) -> None:
    file = raw / "rates" / "compound_aave_usdc.csv"
    theirs = rows(file)
    report = imported("aave", file, tmp_path)
    names = {
        "lend_usdc_compound": "supply_rate_comp",
        "borrow_usdc_compound": "variable_borrow_rate_comp",
        "lend_usdc_aave_v1": "supply_rate_aave_v1",
        "borrow_usdc_aave_v1": "variable_borrow_rate_aave_v1",
        "borrow_stable_usdc_aave_v1": "stable_borrow_rate_aave_v1",
        "lend_usdc_aave_v2": "supply_rate_aave_v2",
        "borrow_usdc_aave_v2": "variable_borrow_rate_aave_v2",
        "borrow_stable_usdc_aave_v2": "stable_borrow_rate_aave_v2",
    }
    assert set(report.dataset.series_names) == set(names)
    for ours, column in names.items():
        series, present = report.dataset.series(ours), [row for row in theirs if row[column]]
        assert len(series) == len(present)
        assert series["value"].tolist() == [float(row[column]) for row in present]
        assert series["ts"].iloc[[0, -1]].tolist() == [pd.Timestamp(present[end]["timestamp"], tz="UTC") for end in (0, -1)]
        assert (series["known_at"] == series["ts"]).all()
    assert len(theirs) == 14467
    assert len(report.dataset.series("lend_usdc_compound")) == 14465


# --- open interest ---------------------------------------------------------------------------------------


def test_open_interest_is_known_at_the_day_s_end(raw: Path, tmp_path: Path) -> None:
    file = raw / "open-interest" / "ETH_coinm_oi_daily.csv"
    theirs = rows(file)
    ours = imported("open_interest", file, tmp_path).dataset.series("ETHUSD-PERP.open_interest_value")
    assert len(ours) == len(theirs) == 1503
    assert ours["value"].tolist() == [float(row["oi_close"]) for row in theirs]
    assert ours["ts"].tolist() == [pd.Timestamp(row["date"], tz="UTC") + pd.Timedelta("1D") for row in theirs]
    assert (ours["known_at"] == ours["ts"]).all()
    assert ours["value"].iloc[[0, -1]].tolist() == [487279740.0, 896975050.0]


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vendor", "name", "text", "message"),
    [
        ("fred", "a.csv", INTEREST, r"a\.csv: is not a file of fred"),
        ("fred", "a.csv", "<html>The requested page is not here</html>", r"a\.csv: is a web page, not data"),
        ("fred", "a.csv", '{"error_code":400,"error_message":"Bad Request."}', r"a\.csv: is not a file of fred"),
        ("fred", "a.csv", TBILL[:-6], r"a\.csv line 6: has 1 cells, not 2; is the file truncated"),
        ("fred", "a.csv", TBILL + TBILL, r"a\.csv line 7: repeats the header of the file"),
        ("fred", "a.csv", TBILL.replace("4.51", '"4,510.0"'), r'a\.csv line 3: DTB3 is "4,510\.0", not a number'),
        ("fred", "a.csv", TBILL.replace("4.51", "451"), r"a\.csv line 3: DTB3 is 451 percent a year; rates are below 100"),
        ("fred", "a.csv", TBILL.replace("2023-01-13", "2023-01-12"), r"a\.csv line 3: time 2023-01-12T00:00Z stands twice"),
        ("fred", "a.csv", TBILL.replace("2023-01-13", "20250-01-13"), r'a\.csv line 3: observation_date is "20250-01-13", not a time'),
        ("fred", "a.csv", TBILL.replace("DTB3", "CPIAUCSL"), r"a\.csv: CPIAUCSL is not known to be a rate in percent a year; known: DTB3"),
        ("fred", "a.csv", "DATE,DTB3\n2023-01-16,\n", r"a\.csv: no row has a value in DTB3"),
        ("aave", "usdc.csv", TBILL, r"usdc\.csv: is not a file of aave"),
        ("aave", "rates.csv", POOLS, r"rates\.csv: its name does not tell one currency; name it after it"),
        ("aave", "usdc.csv", POOLS.replace("0.046", "-0.046"), r"usdc\.csv line 3: variable_borrow_rate_comp is -0\.046; a rate is a fraction"),
        ("aave", "usdc.csv", POOLS.replace("0.011", "11"), r"usdc\.csv line 3: supply_rate_comp is 11; a rate is a fraction a year from 0 to 10"),
        ("aave", "usdc.csv", POOLS.replace("14:30:14", "13:00:00"), r"usdc\.csv line 3: time .* comes after"),
        ("aave", "usdc.csv", POOLS.replace("0.02,", "nil,"), r'usdc\.csv line 3: supply_rate_aave_v2 is "nil", not a number'),
        ("aave", "usdc.csv", POOLS[:-15], r"usdc\.csv line 3: timestamp is .*, not a time|has \d cells"),
        ("open_interest", "a.csv", POOLS, r"a\.csv: is not a file of open_interest"),
        ("open_interest", "a.csv", INTEREST.replace("8,9", "-8,-9"), r"a\.csv line 3: oi_close is -9 with low -8 and high 13; it must lie"),
        ("open_interest", "a.csv", INTEREST.replace("ETHUSD_PERP.A", "ETHUSD.A"), r'a\.csv line 2: symbol is "ETHUSD\.A", not a perpetual'),
        ("open_interest", "a.csv", INTEREST.replace("PERP.A", "PERP.Z"), r'a\.csv line 2: symbol is "ETHUSD_PERP\.Z", not a perpetual'),
        ("open_interest", "a.csv", INTEREST.replace("1631750400", "1631750400000"), r'line 3: timestamp is "1631750400000", not a time .*ms among s'),
        ("open_interest", "a.csv", INTEREST.replace("1631750400", "86400"), r'line 3: timestamp is "86400", not a time .*markets. times'),
        ("open_interest", "a.csv", INTEREST.partition("2,ETHUSD_PERP.A,2021-09-16")[0], r"line 2: one row does not tell how long it covers"),
        ("open_interest", "a.csv", INTEREST + INTEREST.splitlines()[0] + "\n", r'a\.csv line 4: symbol is "symbol", not a perpetual'),
    ],
)  # fmt: skip
def test_bad_files_are_refused_with_their_place(tmp_path: Path, vendor: str, name: str, text: str, message: str) -> None:
    file = write(tmp_path, name, text)
    with pytest.raises(DataError, match=message):
        imported(vendor, file, tmp_path)
    assert not (tmp_path / "set").exists()


def test_a_pool_without_any_rate_gives_no_series(tmp_path: Path) -> None:
    text = POOLS.replace(",0.02,", ",,")
    assert imported("aave", write(tmp_path, "usdc.csv", text), tmp_path).dataset.series_names == [
        "borrow_usdc_compound",
        "lend_usdc_compound",
    ]
