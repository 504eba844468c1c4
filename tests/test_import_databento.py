"""Databento's exports of CME's ether futures: the real file against an independent reading, when its bars close, and what is refused."""

import csv
import hashlib
import json
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from vendor_files import write

from backtest.data.importers import ImportReport, import_files
from backtest.data.importers.common import Request
from backtest.data.importers.databento import sniff
from backtest.data.importers.databento_contracts import closes_of_days, future
from backtest.data.importers.source import sources_in
from backtest.errors import DataError

NAME = "glbx-mdp3-20211121-20260212.ohlcv-1d.csv"
MONTHS = "FGHJKMNQUVXZ"
HEADER = "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol\n"
ROWS = (
    "2021-12-30T00:00:00.000000000Z,35,1,45168,3700.0,3800.0,3600.0,3750.5,20,METZ1\n"
    "2021-12-30T00:00:00.000000000Z,35,1,999,5.0,5.5,5.0,5.5,2,METZ1-METF2\n"
    "2021-12-31T00:00:00.000000000Z,35,1,45168,3750.0,3800.0,3700.0,3720.5,10,METZ1\n"
    "2021-12-31T00:00:00.000000000Z,35,1,217073,3760.0,3810.0,3700.0,3730.5,40,METF2\n"
)
SYMBOLOGY = {"result": {
    "METZ1": [{"d0": "2021-11-21", "d1": "2022-01-16", "s": "45168"}],
    "METF2": [{"d0": "2021-11-21", "d1": "2022-02-13", "s": "217073"}],
    "METZ1-METF2": [{"d0": "2021-11-21", "d1": "2022-01-16", "s": "999"}],
}}  # fmt: skip


def imported(*files: Path, **more: object) -> ImportReport:
    """What files become in a dataset of their own."""
    return import_files("databento", files, Path(tempfile.mkdtemp(dir=files[0].parent)) / "set", Request(**more))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def real(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> ImportReport:
    return import_files("databento", [raw / "cme-eth-databento"], tmp_path_factory.mktemp("cme") / "set", Request())


@pytest.fixture(scope="module")
def rows(raw: Path) -> list[dict[str, str]]:
    with (raw / "cme-eth-databento" / NAME).open() as text:
        return list(csv.DictReader(text))


def delivered(symbol: str) -> tuple[int, int]:
    """Year and month of a contract in the real file, whose contracts all lie in one decade."""
    return 2020 + int(symbol[4]), MONTHS.index(symbol[3]) + 1


# --- the real file ---------------------------------------------------------------------------------------


def test_every_row_of_a_contract_arrives_and_spreads_are_counted(real: ImportReport, rows: list[dict[str, str]]) -> None:
    theirs: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        theirs.setdefault(row["symbol"], []).append(row)
    outright = {symbol: group for symbol, group in theirs.items() if "-" not in symbol}
    ours = {delivered_of(one.id): real.dataset.bars(one.id) for one in real.dataset.instruments.values()}
    assert len(outright) == len(ours) == 56
    for symbol, group in outright.items():
        bars = ours[delivered(symbol)]
        for name, factor in (("open", 1.0), ("high", 1.0), ("low", 1.0), ("close", 1.0), ("volume", 0.1)):
            assert bars[name].tolist() == [float(row[name]) * factor for row in group]
    assert sum(len(bars) for bars in ours.values()) == len(rows) - 418 == 4116
    assert sum(line.cut for line in real.lines) == sum("-" in row["symbol"] for row in rows) == 418
    assert "418 rows are of spreads between contracts, which are prices of neither, and were left out" in real.notes


def delivered_of(key: str) -> tuple[int, int]:
    return 2000 + int(key[7:9]), int(key[9:11])


def test_first_and_last_rows(real: ImportReport) -> None:
    first = real.dataset.bars("METUSD-211231.cme")
    assert first.iloc[0].tolist() == [4199.5, 4200.5, 4199.5, 4200.5, 6 * 0.1]
    assert first.index[0] == pd.Timestamp("2021-12-06T00:00Z")
    last = real.dataset.bars("METUSD-260227.cme")
    assert last.iloc[-1].tolist() == [1945.5, 2004.0, 1899.0, 1950.0, 71715 * 0.1]
    assert last.index[-1] == pd.Timestamp("2026-02-13T00:00Z")


def test_contracts_expire_on_the_day_of_their_last_trade(real: ImportReport, rows: list[dict[str, str]]) -> None:
    last = {row["symbol"]: row["ts_event"][:10] for row in rows if "-" not in row["symbol"]}
    for symbol, day in last.items():
        expires_at = future("MET", delivered(symbol)[1], delivered(symbol)[0]).expires_at
        assert expires_at is not None
        if day < "2026-01-31" and symbol not in ("METM6", "METU6"):
            assert f"{expires_at:%Y-%m-%d}" == day, symbol
        assert expires_at.tz_convert("Europe/London").hour == 16
    one = real.dataset.instruments["METUSD-240328.cme"]
    assert (one.base, one.quote, one.venue, one.multiplier, one.lot) == ("ETH", "USD", "cme", 0.1, 0.1)
    assert one.expires_at == pd.Timestamp("2024-03-28T16:00Z")
    assert real.dataset.instruments["METUSD-220624.cme"].expires_at == pd.Timestamp("2022-06-24T15:00Z")
    assert real.dataset.instruments["METUSD-251226.cme"].expires_at == pd.Timestamp("2025-12-26T16:00Z")


def test_the_manifest_s_checksums_are_compared(real: ImportReport) -> None:
    assert any(note.endswith("manifest.json: 3 of its 5 files are here, and their checksums agree") for note in real.notes)
    assert any(note.endswith("ohlcv-1d of MET.FUT in GLBX.MDP3, 2021-02-13 to 2026-02-13") for note in real.notes)
    assert any(note.endswith("570 symbols, 61 of them contracts, the others spreads between them") for note in real.notes)


def test_the_symbology_alone_gives_the_contracts(raw: Path, tmp_path: Path) -> None:
    report = import_files("databento", [raw / "cme-eth-databento" / "symbology.json"], tmp_path / "set", Request())
    assert len(report.dataset.instruments) == 61
    assert report.dataset.instruments["METUSD-271231.cme"].expires_at == pd.Timestamp("2027-12-31T16:00Z")


# --- when a bar closes -----------------------------------------------------------------------------------


def premiums(real: ImportReport, spot: pd.Series) -> pd.DataFrame:
    """A row for each bar of a contract: day, end, days to expiry, close, spot at the end, annualized premium."""
    frames = []
    for one in real.dataset.instruments.values():
        bars = real.dataset.bars(one.id)
        frame = pd.DataFrame({"end": bars.index, "close": bars["close"].to_numpy(), "expires_at": one.expires_at})
        frames.append(frame)
    every = pd.concat(frames, ignore_index=True)
    every["day"] = (every["end"] - pd.Timedelta("1ns")).dt.normalize()
    every["days"] = (every["expires_at"] - every["end"]) / pd.Timedelta("1D")
    every["spot"] = spot.reindex(every["end"]).to_numpy()
    every["premium"] = (every["close"] / every["spot"] - 1) * 365 / every["days"]
    return every


@pytest.fixture(scope="module")
def spot(raw: Path) -> pd.Series:
    """Binance's hourly closes at their ends."""
    theirs = pd.read_csv(raw / "binance-ethusdt-hourly" / "spot.csv")
    return pd.Series(theirs["Close"].to_numpy(), index=pd.to_datetime(theirs["Timestamp"], utc=True) + pd.Timedelta("1h"))


def test_yearly_median_premium_of_the_front_contract(real: ImportReport, spot: pd.Series) -> None:
    """Working days, the nearest contract with over a week to go, against spot of the hour at which its bar closed."""
    every = premiums(real, spot)
    every = every[(every["days"] > 7) & (every["day"].dt.day_of_week < 5) & every["spot"].notna()]
    front = every.sort_values(["day", "expires_at"]).groupby("day").first()
    medians = (100 * front["premium"]).groupby(front.index.year).median()
    for year, median in {2023: 9.2, 2024: 9.9, 2025: 9.9}.items():  # 2023 from June, 2025 to March
        assert abs(medians[year] - median) < 2, medians
    assert np.allclose(medians, [7.49, 9.98, 8.40], atol=0.005)


def test_the_hour_of_the_close_by_weekday(real: ImportReport, spot: pd.Series) -> None:
    """Of all hours the stamped one makes the premium smoothest: 24:00 UTC, on Fridays 21:00 in Chicago's summer and 22:00 in its winter."""
    every = premiums(real, spot)
    every = every[(every["days"] > 5) & every["spot"].notna()]
    front = every.sort_values(["day", "expires_at"]).groupby("day").first().reset_index()
    usual = front["premium"].rolling(7, center=True, min_periods=3).median()
    noon = pd.DatetimeIndex(front["day"] + pd.Timedelta("18h"))
    summer = np.array([bool(time.dst()) for time in noon.tz_convert("America/Chicago")])
    best = {}
    for weekday, season in [(weekday, season) for weekday in (0, 1, 2, 3, 4, 6) for season in (True, False)]:
        group = front[(front["day"].dt.day_of_week == weekday) & (summer == season)]
        errors = {}
        for hour in range(14, 30):
            end = group["day"] + pd.Timedelta(hour, "h")
            carried = usual[group.index] * ((group["expires_at"] - end) / pd.Timedelta("1D")) / 365
            there = spot.reindex(end).to_numpy()
            errors[hour] = float(np.nanmedian(np.abs(group["close"].to_numpy() / there - 1 - carried.to_numpy())))
        best[weekday, season] = min(errors, key=errors.__getitem__)
        assert min(errors.values()) < 15e-4
    assert best == {(w, s): 24 for w in (0, 1, 2, 3, 6) for s in (True, False)} | {(4, True): 21, (4, False): 22}


def test_no_bar_claims_a_price_when_the_market_was_shut(real: ImportReport) -> None:
    ends = pd.DatetimeIndex(np.concatenate([real.dataset.bars(key).index.to_numpy() for key in real.dataset.instruments]), tz="UTC")
    shut = (ends.day_of_week == 5) | ((ends.day_of_week == 4) & (ends.hour > 22))
    assert not shut.any()
    fridays = ends[(ends.day_of_week == 4) & (ends.hour > 16)]
    assert set(fridays.tz_convert("America/Chicago").hour) == {16}


@pytest.mark.parametrize(
    ("day", "close"),
    [
        ("2024-07-15", "2024-07-16T00:00Z"),  # Monday
        ("2024-07-18", "2024-07-19T00:00Z"),  # Thursday
        ("2024-07-19", "2024-07-19T21:00Z"),  # Friday, summer
        ("2024-01-19", "2024-01-19T22:00Z"),  # Friday, winter
        ("2024-07-21", "2024-07-22T00:00Z"),  # Sunday evening
        ("2024-03-28", "2024-03-28T21:00Z"),  # before Good Friday
        ("2023-04-06", "2023-04-07T00:00Z"),  # before a Good Friday with payrolls: the market opened again
        ("2024-12-24", "2024-12-24T22:00Z"),
        ("2024-11-28", "2024-11-29T00:00Z"),  # Thanksgiving: open again in the evening
        ("2026-06-05", "2026-06-06T00:00Z"),  # a Friday after trading went round the clock
    ],
)
def test_close_of_a_day(day: str, close: str) -> None:
    assert closes_of_days(pd.DatetimeIndex([day], tz="UTC"))[0] == pd.Timestamp(close)


# --- the other shapes of an export -----------------------------------------------------------------------


def test_years_of_one_digit_are_told_by_the_row(tmp_path: Path) -> None:
    text = HEADER + "".join(
        f"{day}T00:00:00.000000000Z,35,1,1,10.0,12.0,9.0,11.0,5,{symbol}\n"
        for day, symbol in [("2021-12-06", "METZ1"), ("2025-06-02", "METH7"), ("2025-06-02", "ETHZ25"), ("2031-12-01", "METZ1")]
    )
    keys = set(imported(write(tmp_path, "a.csv", text)).dataset.instruments)
    assert keys == {"METUSD-211231.cme", "METUSD-270325.cme", "ETHUSD-251226.cme", "METUSD-311226.cme"}


def test_rows_after_delivery_are_cut(tmp_path: Path) -> None:
    late = "2022-01-03T00:00:00.000000000Z,35,1,45168,3720.0,3720.0,3720.0,3720.0,1,METZ1\n"
    report = imported(write(tmp_path, "a.csv", HEADER + ROWS + late))
    bars = report.dataset.bars("METUSD-211231.cme")
    assert bars.index.tolist() == [pd.Timestamp("2021-12-31T00:00Z"), pd.Timestamp("2021-12-31T16:00Z")]
    assert "1 bars ended after delivery and were cut" in report.notes


def test_whole_numbers_nanoseconds_and_no_symbols_give_the_same_bars(tmp_path: Path) -> None:
    lines = []
    for line in ROWS.splitlines():
        stamp, rtype, publisher, number, *prices, volume, _ = line.split(",")
        nano = pd.Timestamp(stamp).value
        lines.append(",".join([str(nano), rtype, publisher, number, *(f"{float(p) * 1e9:.0f}" for p in prices), volume]))
    bare = write(tmp_path, "bare/a.csv", HEADER.replace(",symbol", "") + "\n".join(lines) + "\n")
    write(tmp_path, "bare/symbology.json", json.dumps(SYMBOLOGY, indent=1))
    pretty = imported(write(tmp_path, "pretty/a.csv", HEADER + ROWS)).dataset
    raw = imported(bare.parent).dataset
    assert set(raw.instruments) == set(pretty.instruments) == {"METUSD-211231.cme", "METUSD-220128.cme"}
    for key in raw.instruments:
        pd.testing.assert_frame_equal(raw.bars(key), pretty.bars(key), rtol=1e-14)


def test_a_number_that_is_used_again_means_its_symbol_of_that_day(tmp_path: Path) -> None:
    spans = {"METZ1": ("2021-11-21", "2021-12-31"), "METF2": ("2021-12-31", "2022-02-13")}
    content = {"result": {symbol: [{"d0": first, "d1": end, "s": "45168"}] for symbol, (first, end) in spans.items()}}
    write(tmp_path, "x/symbology.json", json.dumps(content))
    lines = [line.rpartition(",")[0] for line in ROWS.splitlines() if ",45168," in line]
    write(tmp_path, "x/a.csv", HEADER.replace(",symbol", "") + "\n".join(lines) + "\n")
    dataset = imported(tmp_path / "x").dataset
    assert {key: dataset.bars(key)["close"].tolist() for key in dataset.instruments} == {
        "METUSD-211231.cme": [3750.5], "METUSD-220128.cme": [3720.5],
    }  # fmt: skip


@pytest.mark.parametrize(("rtype", "length"), [("32", "1s"), ("33", "1min"), ("34", "1h")])
def test_shorter_bars_end_after_their_length(tmp_path: Path, rtype: str, length: str) -> None:
    text = HEADER + ROWS.replace(",35,", f",{rtype},")
    bars = imported(write(tmp_path, "a.csv", text)).dataset.bars("METUSD-211231.cme")
    assert bars.index[0] == pd.Timestamp("2021-12-30", tz="UTC") + pd.Timedelta(length)


def test_one_symbol_of_many(tmp_path: Path) -> None:
    report = imported(write(tmp_path, "a.csv", HEADER + ROWS), symbol="METF2")
    assert list(report.dataset.instruments) == ["METUSD-220128.cme"]


def test_a_file_of_spreads_only_has_nothing(tmp_path: Path) -> None:
    text = HEADER + ROWS.splitlines(keepends=True)[1]
    with pytest.raises(DataError, match="has nothing to import"):
        imported(write(tmp_path, "a.csv", text))


def test_days_in_bad_condition_are_noted(tmp_path: Path) -> None:
    days = [{"date": f"2021-12-{day:02}", "condition": "degraded", "last_modified_date": "2024-01-01"} for day in range(1, 8)]
    days += [{"date": "2021-12-30", "condition": "available", "last_modified_date": "2024-01-01"}]
    days += [{"date": "2021-12-25", "condition": "missing", "last_modified_date": None}]
    write(tmp_path, "x/condition.json", json.dumps(days))
    report = imported(write(tmp_path, "x/a.csv", HEADER + ROWS).parent)
    told = [note.partition("condition.json: ")[2] for note in report.notes if "condition.json" in note]
    assert told == [
        "7 days are degraded: 2021-12-01, 2021-12-02, 2021-12-03, 2021-12-04, 2021-12-05 and 2 more", "1 days are missing: 2021-12-25",
    ]  # fmt: skip


# --- what is refused -------------------------------------------------------------------------------------


def test_a_file_that_is_not_the_manifest_s_is_refused(tmp_path: Path) -> None:
    content = HEADER + ROWS
    digest = hashlib.sha256(content.encode()).hexdigest()
    write(tmp_path, "manifest.json", json.dumps({"job_id": "x", "files": [{"filename": "a.csv", "hash": f"sha256:{digest}"}]}))
    write(tmp_path, "a.csv", content)
    assert import_files("databento", [tmp_path], tmp_path / "good" / "set", Request()).changed
    cut = tmp_path / "cut"
    write(cut, "manifest.json", (tmp_path / "manifest.json").read_text())
    write(cut, "a.csv", content[: content.rindex("\n", 0, -1) + 1])
    with pytest.raises(DataError, match=r"a\.csv: its SHA-256 is not the one in .*manifest\.json; it is damaged or changed; download it"):
        import_files("databento", [cut], tmp_path / "bad" / "set", Request())
    assert not (tmp_path / "bad").exists() or not any((tmp_path / "bad").rglob("dataset.json"))


FIRST = ROWS.splitlines(keepends=True)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Timestamp,Open,High,Low,Close\n2024-01-01,1,2,1,2\n", r"a\.csv: is not a file of databento .*; leave it out"),
        ("<!DOCTYPE html><html>Not authorized</html>", r"a\.csv: is a web page, not data; download it again"),
        (HEADER + ROWS[:-30], r"a\.csv line 5: has \d+ cells, not 10; is the file truncated"),
        (HEADER, r"a\.csv: is empty: it has no rows of data"),
        (HEADER + FIRST + HEADER, r"a\.csv line 3: repeats the header of the file"),
        (HEADER + ROWS.replace("3750.5", '"3,750.5"'), r'a\.csv line 2: close is "3,750.5", not a number'),
        (HEADER + ROWS.replace(",20,METZ1", ",-20,METZ1"), r"a\.csv line 2: volume is -2; it must not be negative"),
        (HEADER + ROWS.replace("3600.0", "0.0"), r"a\.csv line 2: low is 0; prices must be above 0"),
        (HEADER + ROWS.replace("3720.5", "3720500000000"), r'a\.csv line 4: close is "3720500000000" in a file .*whole numbers of 1e-9'),
        (HEADER + FIRST + FIRST.replace("3750.5", "3750"), r'line 3: close is "3750" in a file whose first row is "3750\.5"; prices are'),
        (HEADER + ROWS.replace(",35,1,217073", ",34,1,217073"), r"a\.csv line 5: rtype is 34; a file has bars of one length, 32 \(1s\)"),
        (HEADER + ROWS.replace(",35,", ",36,"), r"a\.csv line 2: rtype is 36; a file has bars of one length"),
        (HEADER + ROWS.replace("12-30T00:00", "12-30T05:00"), r"a\.csv line 2: ts_event is 2021-12-30T05:00Z; a day's bar starts at 00:00"),
        (HEADER + ROWS.replace("METF2\n", "ESF2\n"), r'a\.csv line 5: product "ES" is not one of CME\'s crypto futures; .*leave it out'),
        (HEADER + ROWS.replace(",METZ1\n", ",MET\n"), r'a\.csv line 2: symbol is "MET", not a contract such as METZ1'),
        (HEADER + FIRST + FIRST, r"a\.csv line 3: time 2021-12-31T00:00Z stands twice"),
        (HEADER + ROWS.replace("2021-12-30", "1970-01-01"), r"a\.csv line 2: ts_event is 1970-01-01T00:00Z; times must lie between 2000"),
        (HEADER + ROWS.replace("2021-12-3", "2012-12-3"), r'a\.csv: venue "cme" has no rule "hours" for .* on 2012-12-31'),
        (HEADER + ROWS.replace("2021-12-30T00:00:00.000000000Z", "1640822400000000000"), r"a\.csv line 2: ts_event is .*not a time"),
        (HEADER.replace(",symbol", "") + FIRST.replace(",METZ1", ""), r"line 2: instrument_id 45168 has no symbol on 2021-12-30; .*symbology"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_with_their_place(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, "a.csv", text)
    with pytest.raises(DataError, match=message):
        import_files("databento", [file], tmp_path / "set", Request())
    assert not (tmp_path / "set").exists()


def test_a_stamp_in_milliseconds_among_nanoseconds_is_refused(tmp_path: Path) -> None:
    nano = ROWS.replace("2021-12-30T00:00:00.000000000Z", "1640822400000000000").replace("2021-12-31T00:00:00.000000000Z", "1640908800000")
    with pytest.raises(DataError, match=r'a\.csv line 4: ts_event is "1640908800000", not a time .*it looks like ms among ns'):
        imported(write(tmp_path, "a.csv", HEADER + nano))


def test_a_number_that_stood_for_two_symbols_is_refused(tmp_path: Path) -> None:
    twice = {"result": SYMBOLOGY["result"] | {"METG2": SYMBOLOGY["result"]["METZ1"]}}
    write(tmp_path, "symbology.json", json.dumps(twice))
    write(tmp_path, "a.csv", HEADER.replace(",symbol", "") + FIRST.replace(",METZ1", ""))
    with pytest.raises(DataError, match=r"a\.csv line 2: instrument_id 45168 stands for METG2 and METZ1 on 2021-12-30; a row needs one"):
        imported(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], r"symbology\.json: is not JSON .*is it truncated\? download it again"),
        (lambda text: f"[{text}]", r"symbology\.json: is not the Databento symbology that its beginning looks like"),
    ],
)
def test_a_damaged_symbology_is_refused(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    file = write(tmp_path, "symbology.json", change(json.dumps(SYMBOLOGY, indent=1)))
    with pytest.raises(DataError, match=message):
        imported(file)


def test_an_error_answer_is_nobody_s(tmp_path: Path) -> None:
    file = write(tmp_path, "a.json", '{"detail": {"case": "auth_authentication_failed", "message": "Authentication failed"}}')
    assert sniff(sources_in([file])[0]) is None


def test_the_decade_does_not_depend_on_today() -> None:
    assert future("MET", 12, 2021).id == "METUSD-211231.cme"
    assert date(2021, 12, 31).weekday() == 4
