"""Tables with a mapping: the README's own examples on real files, each key of a mapping, and what is refused."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import backtest as bt
from backtest.data.importers import Line, common, import_files, table
from backtest.data.importers.common import Request
from backtest.data.importers.mapping import read_mapping
from backtest.data.importers.source import sources_in
from backtest.data.schema import Tables
from backtest.data.store import write_dataset
from backtest.errors import CarryError, DataError, ParameterError
from backtest.instruments import Instrument, Kind, Settle

README = (Path(__file__).resolve().parents[1] / "data" / "README.md").read_text(encoding="utf-8")
TBILL, COINBASE, UPGRADES = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
BARS = "time,o,h,l,c,v\n2024-03-29T06:00,10,12,9,11,5\n2024-03-29T07:00,11,13,10,12,6\n2024-03-29T08:00,12,14,11,13,7\n"
FUTURE = """
what = "bars"
[instrument]
id = "ETHUSDT-240329"
venue = "here"
kind = "future"
base = "ETH"
quote = "USDT"
settle = "linear"
tick = 0.5
expires_at = 2024-03-29T08:00:00Z
[time]
column = "time"
stamp = "end"
[columns]
open = "o"
high = "h"
low = "l"
close = "c"
volume = "v"
"""
SERIES = 'what = "series"\nname = "x"\n[time]\ncolumn = "t"\ndelay = "0h"\n[columns]\nvalue = "v"\n'
PUBLISHED = SERIES.replace('delay = "0h"', 'known_at = "p"')


@dataclass
class Result:
    tables: Tables
    lines: list[Line]
    notes: list[str]


def read(folder: Path, text: str, mapping: str, known: dict[str, Instrument] | None = None) -> Result:
    """What a table becomes in a dataset of its own, which may know some instruments already."""
    (folder / "table.csv").write_text(text, encoding="utf-8")
    (folder / "map.toml").write_text(mapping, encoding="utf-8")
    into = Path(tempfile.mkdtemp(dir=folder)) / "set"
    if known:
        write_dataset(into, Tables(instruments=list(known.values())), name="known", source="here", simulated=False, licence="none")
    report = import_files("csv", [folder / "table.csv"], into, Request(mapping=folder / "map.toml"))
    return Result(report.dataset.tables(), report.lines, report.notes)


# --- the real files --------------------------------------------------------------------------------------


def test_the_t_bill_becomes_the_risk_free_rate(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(TBILL)
    report = import_files("csv", [raw / "rates" / "DTB3.csv"], tmp_path / "set", Request(mapping=tmp_path / "map.toml"))
    theirs = pd.read_csv(raw / "rates" / "DTB3.csv").dropna()
    ours = report.dataset.series("risk_free")
    assert len(ours) == len(theirs) == 896
    assert np.allclose(ours["value"], theirs["DTB3"] / 100, rtol=1e-15, atol=0)
    assert (ours["ts"].iloc[0], ours["known_at"].iloc[0]) == (pd.Timestamp("2023-01-12T00:00Z"), pd.Timestamp("2023-01-13T00:00Z"))
    assert report.notes == ["39 rows have no value and were left out"]


def test_a_daily_spot_of_another_venue(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(COINBASE)
    report = import_files("csv", [raw / "coinbase-daily" / "ETH-USD.csv"], tmp_path / "set", Request(mapping=tmp_path / "map.toml"))
    theirs = pd.read_csv(raw / "coinbase-daily" / "ETH-USD.csv", dtype=str)
    ours = report.dataset.bars("ETHUSD-SPOT")
    assert (ours.index[0], ours.index[-1]) == (pd.Timestamp("2020-01-02T00:00Z"), pd.Timestamp("2025-10-26T00:00Z"))
    for name in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(ours[name], theirs[name].astype(float))
    assert report.dataset.instruments["ETHUSD-SPOT"] == Instrument(
        id="ETHUSD-SPOT", venue="coinbase", kind=Kind.SPOT, base="ETH", quote="USD"
    )


# --- each key does what the README says ------------------------------------------------------------------


def test_bars_of_a_future_are_cut_at_its_delivery(tmp_path: Path) -> None:
    late = BARS + "2024-03-29T09:00,12,14,11,13,7\n"
    imported = read(tmp_path, late, FUTURE)
    assert [(line.kept, line.cut, line.target) for line in imported.lines] == [(3, 1, "ETHUSDT-240329")]
    assert imported.notes == ["1 bars ended after delivery and were cut"]
    one = imported.tables.instruments[0]
    assert (one.kind, one.settle, one.tick, one.expires_at) == (Kind.FUTURE, Settle.LINEAR, 0.5, pd.Timestamp("2024-03-29T08:00Z"))
    assert imported.tables.bars["ETHUSDT-240329"].iloc[0].to_dict() == {"open": 10, "high": 12, "low": 9, "close": 11, "volume": 5}


def test_start_stamps_become_end_stamps(tmp_path: Path) -> None:
    mapping = FUTURE.replace('stamp = "end"', 'stamp = "start"\nbar = "30min"')
    assert read(tmp_path, BARS, mapping).tables.bars["ETHUSDT-240329"].index[0] == pd.Timestamp("2024-03-29T06:30Z")


@pytest.mark.parametrize(
    ("time", "keys", "expected"),
    [
        ("2024-03-29", "", "2024-03-29T00:00Z"),
        ("2024-03-29T02:00:00+02:00", "", "2024-03-29T00:00Z"),
        ("1711670400", "", "2024-03-29T00:00Z"),
        ("1711670400000", "", "2024-03-29T00:00Z"),
        ("1711670400000000", 'unit = "us"', "2024-03-29T00:00Z"),
        ("29/03/2024 14h", 'format = "%d/%m/%Y %Hh"', "2024-03-29T14:00Z"),
        ("20240329", 'format = "%Y%m%d"', "2024-03-29T00:00Z"),
        ("2024-03-29 16:00", 'timezone = "America/New_York"', "2024-03-29T20:00Z"),
        ("2024-01-29 16:00", 'timezone = "America/New_York"', "2024-01-29T21:00Z"),
        ("2024-01-29", 'stamp = "start"\nbar = "1D"', "2024-01-30T00:00Z"),
    ],
)
def test_times(tmp_path: Path, time: str, keys: str, expected: str) -> None:
    mapping = f'what = "series"\nname = "x"\n[time]\ncolumn = "t"\ndelay = "2h"\n{keys}\n[columns]\nvalue = "v"\n'
    series = read(tmp_path, f"t,v\n{time},1\n", mapping).tables.series["x"]
    assert series["ts"].iloc[0] == pd.Timestamp(expected)
    assert series["known_at"].iloc[0] == pd.Timestamp(expected) + pd.Timedelta("2h")
    assert series["ts"].dtype == "datetime64[ns, UTC]"


def test_funding_with_and_without_its_own_interval(tmp_path: Path) -> None:
    known = {"P": Instrument(id="P", venue="v", kind=Kind.PERPETUAL, base="b", quote="q", lot=0.1)}
    mapping = 'what = "funding"\ninterval_hours = 1\n[instrument]\nid = "P"\n[time]\ncolumn = "t"\n[columns]\nrate = "r"\n[scale]\nrate = 0.0001\n'
    imported = read(tmp_path, "t,r,h\n2024-01-01 00:00:00.004,1,4\n2024-01-01 01:00:00.004,-2,4\n", mapping, known)
    funding = imported.tables.funding["P"]
    assert funding["rate"].tolist() == [0.0001, -0.0002]
    assert funding["interval_hours"].tolist() == [1, 1]
    assert funding["mark_price"].isna().all()
    assert funding.index[0] == pd.Timestamp("2024-01-01T00:00Z")
    assert imported.tables.instruments == [known["P"]]
    own = mapping.replace('rate = "r"', 'rate = "r"\ninterval_hours = "h"')
    assert read(tmp_path, "t,r,h\n2024-01-01,1,4\n", own, known).tables.funding["P"]["interval_hours"].tolist() == [4]


def test_settlements_name_their_instrument_by_column_or_by_section(tmp_path: Path) -> None:
    mapping = 'what = "settlements"\n[time]\ncolumn = "t"\n[columns]\nprice = "p"\ninstrument = "i"\n'
    both = {key: Instrument(id=key, venue="v", kind=Kind.FUTURE, base="b", quote="q") for key in ("A", "B")}
    settlements = read(tmp_path, "t,p,i\n2024-01-01,10,A\n2024-02-01,11,B\n", mapping, both).tables.settlements
    assert settlements["instrument"].tolist() == ["A", "B"]
    assert settlements["price"].tolist() == [10, 11]
    known = {"F": Instrument(id="F", venue="v", kind=Kind.FUTURE, base="b", quote="q")}
    single = mapping.replace('instrument = "i"', '[instrument]\nid = "F"')
    assert read(tmp_path, "t,p\n2024-01-01,10\n", single, known).tables.settlements["instrument"].tolist() == ["F"]


def test_events(tmp_path: Path) -> None:
    mapping = 'what = "events"\n[time]\ncolumn = "t"\n[columns]\nname = "n"\nkind = "k"\n'
    events = read(tmp_path, "t,n,k\n2022-09-15T06:42,Merge,upgrade\n", mapping).tables.events
    assert events.iloc[0].tolist() == [pd.Timestamp("2022-09-15T06:42Z"), "Merge", "upgrade"]


def test_events_tell_when_they_were_announced(tmp_path: Path) -> None:
    mapping = 'what = "events"\n[time]\ncolumn = "t"\nknown_at = "a"\n[columns]\nname = "n"\nkind = "k"\n'
    events = read(tmp_path, "t,a,n,k\n2022-09-15T06:42,2022-08-24T12:00,Merge,upgrade\n", mapping).tables.events
    assert events["known_at"].tolist() == [pd.Timestamp("2022-08-24T12:00Z")]


def test_the_user_says_what_is_missing(tmp_path: Path) -> None:
    mapping = 'what = "series"\nname = "x"\nmissing = ["n/a"]\n[time]\ncolumn = "t"\ndelay = "0h"\n[columns]\nvalue = "v"\n'
    assert len(read(tmp_path, "t,v\n2024-01-01,1\n2024-01-02,n/a\n", mapping).tables.series["x"]) == 1
    with pytest.raises(DataError, match=r'table\.csv line 3: v is "\.", not a number'):
        read(tmp_path, "t,v\n2024-01-01,1\n2024-01-02,.\n", mapping)


def test_a_symbol_with_a_mapping_is_told_to_be_unused(tmp_path: Path) -> None:
    read(tmp_path, BARS, FUTURE)
    parts = list(table.parse(sources_in([tmp_path / "table.csv"]), Request(mapping=tmp_path / "map.toml", symbol="X")))
    assert parts[0].notes == ["--symbol is not used with a mapping: its [instrument] says what the table is about"]


def test_any_file_is_a_table(tmp_path: Path) -> None:
    read(tmp_path, BARS, FUTURE)
    assert table.sniff(sources_in([tmp_path / "table.csv"])[0]) == "a table, by its mapping"


@pytest.mark.parametrize("mark", [";", "\t"])
def test_cells_may_be_apart_by_semicolons_or_tabs(tmp_path: Path, mark: str) -> None:
    bars = read(tmp_path, BARS.replace(",", mark), FUTURE).tables.bars["ETHUSDT-240329"]
    assert bars.iloc[2].tolist() == [12, 14, 11, 13, 7]


def test_a_value_is_known_when_its_column_says(tmp_path: Path) -> None:
    mapping = PUBLISHED + "[scale]\nvalue = 0.01\n"
    series = read(
        tmp_path, "t,p,v\n2024-01-01,2024-01-03 16:15,4\n2024-01-02,2024-01-03 16:15,.\n2024-01-03,2024-01-04,5\n", mapping
    ).tables
    assert series.series["x"]["known_at"].tolist() == [pd.Timestamp("2024-01-03T16:15Z"), pd.Timestamp("2024-01-04T00:00Z")]
    assert series.series["x"]["ts"].tolist() == [pd.Timestamp("2024-01-01T00:00Z"), pd.Timestamp("2024-01-03T00:00Z")]
    assert series.series["x"]["value"].tolist() == [0.04, 0.05]


def test_publication_times_have_the_zone_and_format_of_the_table(tmp_path: Path) -> None:
    zoned = PUBLISHED.replace('"t"', '"t"\ntimezone = "America/New_York"\nformat = "%d.%m.%Y %H:%M"')
    series = read(tmp_path, "t;p;v\n01.07.2024 00:00;02.07.2024 16:15;4\n", zoned).tables.series["x"]
    assert series["known_at"].iloc[0] == pd.Timestamp("2024-07-02T20:15Z")


def test_a_start_stamp_moves_the_time_and_not_its_publication(tmp_path: Path) -> None:
    started = PUBLISHED.replace('"t"', '"t"\nstamp = "start"\nbar = "1D"')
    series = read(tmp_path, "t,p,v\n2024-01-01,2024-01-03,4\n", started).tables.series["x"]
    assert series[["ts", "known_at"]].iloc[0].tolist() == [pd.Timestamp("2024-01-02T00:00Z"), pd.Timestamp("2024-01-03T00:00Z")]


def test_a_file_of_many_blocks_is_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "BLOCK", 4096)
    days = pd.date_range("2000-01-01", periods=2000, freq="D")
    text = "t,v\n" + "".join(f"{day:%Y-%m-%d},{'.' if row % 10 == 0 else row}\n" for row, day in enumerate(days))
    result = read(tmp_path, text, SERIES)
    assert result.tables.series["x"]["value"].tolist() == [row for row in range(2000) if row % 10]
    assert [(line.kept, line.cut) for line in result.lines] == [(1800, 200)]
    with pytest.raises(DataError, match=r'table\.csv line 1999: v is "x", not a number'):
        read(tmp_path, text.replace(",1997\n", ",x\n"), SERIES)


# --- what is refused -------------------------------------------------------------------------------------


def changed(old: str, new: str) -> str:
    assert old in FUTURE
    return FUTURE.replace(old, new)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ("what =", r"map\.toml: can't be read as TOML"),
        (changed('"bars"', '"bar"'), r'map\.toml: what is "bar"; did you mean "bars"'),
        (changed("what", "wat"), r'map\.toml: wat is not a key of a mapping; did you mean "what"'),
        (changed("[columns]", "[colums]"), r'colums is not a key of a mapping; did you mean "columns"'),
        (changed("stamp =", "stmap ="), r'time\.stmap is not a key of a mapping; did you mean "stamp"'),
        (changed("tick =", "tik ="), r'instrument\.tik is not a key of a mapping; did you mean "tick"'),
        (changed('stamp = "end"', ""), r'time\.stamp is "None"; say whether the time is the "start" or the "end"'),
        (changed('stamp = "end"', 'stamp = "start"'), r'time\.bar is missing; .* such as bar = "1h"'),
        (changed('stamp = "end"', 'stamp = "start"\nbar = "soon"'), r"time\.bar is 'soon'; it must be a length of time"),
        (changed('stamp = "end"', 'stamp = "start"\nbar = "-1h"'), r"time\.bar is '-1h'; it must be a length of time"),
        (changed('stamp = "end"', 'stamp = "end"\nunit = "days"'), r'time\.unit is "days"; Unix times are in s, ms, us, ns'),
        (changed('stamp = "end"', 'stamp = "end"\ntimezone = "Mars"'), r'time\.timezone is "Mars"; it must be a zone'),
        (changed('column = "time"', ""), r"time\.column is missing; name the column that holds the time"),
        (changed('column = "time"', "column = 3"), r"time\.column is 3; it must be text"),
        (changed('close = "c"', ""), r"columns\.close is missing; bars need open, high, low, close"),
        (changed('id = "ETHUSDT-240329"', ""), r"instrument\.id is missing; give it as text"),
        (changed('base = "ETH"', ""), r"instrument\.base is missing; give it as text"),
        (changed('"future"', '"futures"'), r'instrument\.kind is "futures"; did you mean "future"'),
        (changed('"linear"', '"quanto"'), r'instrument\.settle is "quanto"; known: inverse, linear'),
        (changed("tick = 0.5", "tick = 0"), r"instrument\.tick is 0; it must be a number other than 0"),
        (changed("2024-03-29T08:00:00Z", '"soon"'), r"instrument\.expires_at is 'soon'; it must be a time such as"),
        (changed("2024-03-29T08:00:00Z", "7"), r"instrument\.expires_at is 7; it must be a time such as"),
        ("interval_hours = true" + FUTURE, r"interval_hours is True; it must be a number other than 0"),
        (FUTURE + "[scale]\nclosed = 2\n", r'scale\.closed is not a key of a mapping; did you mean "close"'),
        (FUTURE + "[scale]\nclose = 0\n", r"scale\.close is 0; it must be a number other than 0"),
        ('what = "series"\n[time]\ncolumn = "time"\n[columns]\nvalue = "c"\n', r"map\.toml: name is missing; a series needs one"),
        ('what = "series"\nname = "x"\n[time]\ncolumn = "time"\n[columns]\nvalue = "c"\n', r"time\.delay is missing; say how long after"),
        (
            PUBLISHED.replace('"p"', '"p"\ndelay = "1D"'),
            r'time\.known_at is "p" beside delay = "1D"; a value is known by one of them; remove one',
        ),
        (
            changed('stamp = "end"', 'stamp = "end"\nknown_at = "c"'),
            r"time\.known_at is only for a series and for events; bars are known at their time",
        ),
        (PUBLISHED.replace('"p"', "3"), r"time\.known_at is 3; it must be text"),
        ('what = "series"\nname = "x"\ntime = 3\n[columns]\nvalue = "c"\n', r"time is 3; it must be a section, \[time\]"),
    ],
)
def test_a_wrong_mapping_is_told_by_file_and_key(tmp_path: Path, mapping: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        read(tmp_path, BARS, mapping)


def test_a_mapping_must_be_given_and_be_there(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"a table needs a mapping .*; give --mapping FILE"):
        list(table.parse([], Request()))
    with pytest.raises(ParameterError, match=r"no\.toml: there is no such mapping"):
        read_mapping(tmp_path / "no.toml", {})


@pytest.mark.parametrize(
    ("text", "mapping", "message"),
    [
        (BARS.replace(",c,", ",cc,"), FUTURE, r'table\.csv: column "c" is missing; did you mean "cc"'),
        (BARS.replace("07:00", "06:00"), FUTURE, r"table\.csv line 3: time 2024-03-29T06:00Z stands twice"),
        (BARS.replace("11,13,10,12", "11,13,10,0"), FUTURE, r"table\.csv line 3: close is 0; prices must be above 0"),
        (BARS.replace("11,13,10,12", "11,13,10,."), FUTURE, r"table\.csv line 3: close is nan; a bar needs all four prices"),
        (BARS, changed("2024-03-29T08:00:00Z", "2023-03-29T08:00:00Z"), "every bar ends after delivery of ETHUSDT-240329"),
        (BARS, changed("expires_at = 2024-03-29T08:00:00Z", ""), "ETHUSDT-240329: is a dated future without a known expiry"),
        (BARS, FUTURE + 'bid = "h"\nask = "l"\n', r"table\.csv line 2: ask 9 is below bid 12; quotes are crossed"),
        (BARS.replace(",5\n", ",-5\n"), FUTURE, r"line 2: volume is -5; it must not be negative"),
        ("t,p,v\n2024-01-02,2024-01-01,4\n", PUBLISHED, r"table\.csv line 2: known_at 2024-01-01T00:00Z is before ts 2024-01-02"),
        ("t,p,v\n2024-01-02,,4\n", PUBLISHED, r'table\.csv line 2: p is "", not a time'),
        ("t,v\n2024-01-02,4\n", PUBLISHED, r'table\.csv: column "p" is missing'),
        ("t,v\n2024-01-01,.\n", SERIES, r"table\.csv: no row has a value in v; check the mapping"),
        ("t,v\nsoon,1\n", SERIES, r'table\.csv line 2: t is "soon", not a time'),
        ("t,v\n2024-01-01,.\nsoon,1\n", SERIES, r'table\.csv line 3: t is "soon", not a time'),
        ("t,v\n2024-01-01,inf\n", SERIES, r"table\.csv line 2: value is inf; a row needs its value"),
        ("t,v\n1/2/24,1\n", SERIES.replace('"t"', '"t"\nformat = "%Y"'), r't is "1/2/24", not a time \(%Y\)'),
        (
            "t,v\n2024-03-10 02:30,1\n",
            SERIES.replace('"t"', '"t"\ntimezone = "America/New_York"'),
            "one that exists once in America/New_York",
        ),
        (
            "t,v\n2024-11-03 01:30,1\n",
            SERIES.replace('"t"', '"t"\ntimezone = "America/New_York"'),
            "one that exists once in America/New_York",
        ),
        ("t,v\n2024-01-01 01:30Z,1\n", SERIES.replace('"t"', '"t"\ntimezone = "Asia/Tokyo"'), "t carries its own zone; leave timezone out"),
        (
            "t,p,i\n2024-01-01,10,A\n2024-02-01,11,A\n",
            'what = "settlements"\n[time]\ncolumn = "t"\n[columns]\nprice = "p"\ninstrument = "i"\n',
            r"table\.csv line 3: A settles twice",
        ),
        (
            "t,p,i\n2024-01-01,0,A\n",
            'what = "settlements"\n[time]\ncolumn = "t"\n[columns]\nprice = "p"\ninstrument = "i"\n',
            r"table\.csv line 2: price is 0; prices must be above 0",
        ),
    ],
)
def test_bad_tables_are_refused_with_their_place(tmp_path: Path, text: str, mapping: str, message: str) -> None:
    with pytest.raises(CarryError, match=message):
        read(tmp_path, text, mapping)


def test_a_settlement_of_an_unknown_instrument_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("t,p,i\n2024-01-01,10,A\n")
    (tmp_path / "m.toml").write_text('what = "settlements"\n[time]\ncolumn = "t"\n[columns]\nprice = "p"\ninstrument = "i"\n')
    with pytest.raises(DataError, match='unknown instrument "A": it has data but no description'):
        import_files("csv", [tmp_path / "s.csv"], tmp_path / "set", Request(mapping=tmp_path / "m.toml"))
    assert not (tmp_path / "set").exists()


# --- point in time ---------------------------------------------------------------------------------------


def test_network_upgrades_become_events(tmp_path: Path) -> None:
    result = read(tmp_path, "date,upgrade,kind\n2022-09-15T06:42:59Z,Merge,upgrade\n2023-04-12T22:27:35Z,Shapella,upgrade\n", UPGRADES)
    assert result.tables.events["name"].tolist() == ["Merge", "Shapella"]
    assert result.tables.events["ts"].iloc[0] == pd.Timestamp("2022-09-15T06:42:59Z")


def test_a_value_that_is_published_late_is_not_visible_early(tmp_path: Path) -> None:
    """Flows of a day that come out the next morning, and those of a Friday that come out on Monday."""
    hours = pd.date_range("2024-07-05", periods=97, freq="1h", tz="UTC")
    rows = "".join(f"{hour:%Y-%m-%dT%H:%MZ},10,10,10,10\n" for hour in hours)
    flows = "day,flow,out\n2024-07-04,100,2024-07-05T12:00Z\n2024-07-05,-50,2024-07-08T12:00Z\n"
    (tmp_path / "bars.csv").write_text("t,o,h,l,c\n" + rows)
    (tmp_path / "flows.csv").write_text(flows)
    (tmp_path / "bars.toml").write_text(
        'what = "bars"\n[instrument]\nid = "A"\nvenue = "v"\nkind = "spot"\nbase = "ETH"\nquote = "USD"\n'
        '[time]\ncolumn = "t"\nstamp = "end"\n[columns]\nopen = "o"\nhigh = "h"\nlow = "l"\nclose = "c"\n'
    )
    (tmp_path / "flows.toml").write_text(
        'what = "series"\nname = "etf_flows"\n[time]\ncolumn = "day"\nknown_at = "out"\n[columns]\nvalue = "flow"\n'
    )
    for name in ("bars", "flows"):
        import_files("csv", [tmp_path / f"{name}.csv"], tmp_path / "set", Request(mapping=tmp_path / f"{name}.toml"))
    market = bt.load_market(str(tmp_path / "set"))
    seen = pd.Series(market.series("etf_flows"), index=market.clock)
    first, second = pd.Timestamp("2024-07-05T12:00Z"), pd.Timestamp("2024-07-08T12:00Z")
    assert seen[seen.index < first].isna().all()
    assert (seen[(seen.index >= first) & (seen.index < second)] == 100).all()
    assert (seen[seen.index >= second] == -50).all()
