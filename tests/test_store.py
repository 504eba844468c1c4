"""The store: what is written comes back, it is written whole or not at all, and the hash is that of the values."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backtest.data import parquet as parquet_module
from backtest.data import replace as replace_module
from backtest.data.checks import check_dataset
from backtest.data.place import Folder
from backtest.data.schema import Tables
from backtest.data.store import Dataset, Facts, content_hash, open_dataset, updating, write_dataset
from backtest.errors import DataError, StorageError
from backtest.instruments import Instrument, Kind

FACTS = {"name": "mine", "source": "test", "simulated": False, "licence": "none"}


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, with its bytes."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture
def written(tables: Tables, tmp_path: Path) -> Dataset:
    write_dataset(tmp_path / "data" / "mine", tables, **FACTS)
    return open_dataset(tmp_path / "data" / "mine")


def test_what_is_written_comes_back(tables: Tables, written: Dataset) -> None:
    for key, bars in tables.bars.items():
        pd.testing.assert_frame_equal(written.bars(key), bars, check_freq=False)
    pd.testing.assert_frame_equal(written.funding("ETHUSDT-PERP"), tables.funding["ETHUSDT-PERP"], check_freq=False)
    pd.testing.assert_frame_equal(written.series("risk_free"), tables.series["risk_free"])
    pd.testing.assert_frame_equal(written.settlements(), tables.settlements, check_dtype=False)
    pd.testing.assert_frame_equal(written.events(), tables.events, check_dtype=False)
    assert list(written.instruments.values()) == sorted(tables.instruments, key=lambda one: one.id)
    assert written.series_names == ["risk_free"]


def announced(names: list[str], **more: list[str | None]) -> pd.DataFrame:
    """Upgrades of some Junes, with other columns of times."""
    times = pd.DatetimeIndex([f"{2020 + number}-06-01" for number in range(len(names))], tz="UTC").as_unit("ns")
    columns = {name: pd.DatetimeIndex(values).tz_localize("UTC").as_unit("ns") for name, values in more.items()}
    return pd.DataFrame({"ts": times, "name": names, "kind": "upgrade", **columns})


def test_the_time_at_which_an_event_was_announced_is_kept(tables: Tables, tmp_path: Path) -> None:
    tables.events = announced(["one", "two"], known_at=["2020-05-18", None])
    digest = write_dataset(tmp_path / "set", tables, **FACTS)
    found = open_dataset(tmp_path / "set")
    pd.testing.assert_frame_equal(found.events(), tables.events, check_dtype=False)
    assert str(found.events()["known_at"].dtype) == "datetime64[ns, UTC]"
    assert digest == content_hash(found.tables())
    assert not check_dataset(found).errors
    tables.events.loc[0, "known_at"] = pd.Timestamp("2020-05-19", tz="UTC")
    assert content_hash(tables) != digest


def test_an_announcement_that_nobody_knows_is_as_good_as_none(tables: Tables) -> None:
    tables.events = announced(["one"])
    digest = content_hash(tables)
    tables.events = announced(["one"], known_at=[None])
    assert content_hash(tables) == digest


@pytest.mark.parametrize("first", [0, 1])
def test_announcements_join_events_that_have_none(tables: Tables, tmp_path: Path, first: int) -> None:
    """Whichever comes first, in one commit or in two; the same event with and without its announcement is one."""
    plain, told = announced(["one", "two"]), announced(["one"], known_at=["2020-05-18"])
    pieces = [plain, told] if first == 0 else [told, plain]
    whole = announced(["one", "two"], known_at=["2020-05-18", None])
    for folder, commits in (("apart", [[pieces[0]], [pieces[1]]]), ("together", [pieces])):
        for batch in commits:
            with updating(tmp_path / folder) as update:
                for piece in batch:
                    update.add("events", "", piece)
                digest = update.commit(tables.instruments, Facts(**FACTS))
        found = open_dataset(tmp_path / folder)
        pd.testing.assert_frame_equal(found.events(), whole, check_dtype=False)
        assert digest == content_hash(found.tables())


def test_later_events_with_announcements_go_on_after_events_without(tables: Tables, tmp_path: Path) -> None:
    """Two batches of one commit become one file although only the second has the column."""
    whole = announced(["one", "two"], known_at=[None, "2021-05-18"])
    with updating(tmp_path / "set") as update:
        update.add("events", "", whole[:1].drop(columns="known_at"))
        update.add("events", "", whole[1:].reset_index(drop=True))
        digest = update.commit(tables.instruments, Facts(**FACTS))
    found = open_dataset(tmp_path / "set")
    pd.testing.assert_frame_equal(found.events(), whole, check_dtype=False)
    assert digest == content_hash(found.tables())


def test_times_are_utc_nanoseconds_and_prices_float64(written: Dataset) -> None:
    bars = written.bars("ETHUSDT-SPOT")
    assert (bars.index.name, str(bars.index.dtype)) == ("ts", "datetime64[ns, UTC]")
    assert set(bars.dtypes) == {np.dtype("float64")}


def test_the_manifest_says_what_it_is(written: Dataset) -> None:
    rows = {"bars": 116, "funding": 7, "settlements": 1, "series": 1, "events": 1}
    blocks = written.info["blocks"]
    assert written.info == {**FACTS, "hash": written.hash, "rows": rows, "format": 2, "blocks": blocks}
    assert sum(block["rows"] for name, block in blocks.items() if name.startswith("bars/ETHUSDT-SPOT/")) == len(
        written.bars("ETHUSDT-SPOT")
    )


def test_a_bar_belongs_to_the_year_before_its_stamp(written: Dataset) -> None:
    room = Path(written.path) / "bars" / "instrument=ETHUSDT-SPOT"
    last = pq.ParquetFile(room / "year=2023" / "part-0.parquet").read()["ts"].to_pylist()[-1]
    first = pq.ParquetFile(room / "year=2024" / "part-0.parquet").read()["ts"].to_pylist()[0]
    assert (str(last), str(first)) == ("2024-01-01 00:00:00+00:00", "2024-01-01 01:00:00+00:00")


def test_another_tool_reads_the_partitions(written: Dataset) -> None:
    frame = pd.read_parquet(Path(written.path) / "bars")
    assert len(frame) == 116
    assert set(frame["instrument"].astype(str)) == {"ETHUSDT-SPOT", "ETHUSDT-PERP", "ETHUSDT-240105"}
    assert sorted(frame["year"].astype(int).unique()) == [2023, 2024]


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        ("2023-12-31T23:00Z", None, "2024-01-01T00:00Z", "2024-01-02T00:00Z"),
        (None, "2024-01-01T00:00Z", "2023-12-31T01:00Z", "2024-01-01T00:00Z"),
        ("2024-01-01T00:00Z", "2024-01-01T01:00Z", "2024-01-01T01:00Z", "2024-01-01T01:00Z"),
        ("2024-01-01T00:00", "2024-01-01T02:30", "2024-01-01T01:00Z", "2024-01-01T02:00Z"),
    ],
)
def test_bars_are_those_after_start_up_to_end(written: Dataset, start: str | None, end: str | None, first: str, last: str) -> None:
    bars = written.bars("ETHUSDT-SPOT", start and pd.Timestamp(start), end and pd.Timestamp(end))
    assert (bars.index[0], bars.index[-1]) == (pd.Timestamp(first), pd.Timestamp(last))


def test_years_outside_the_span_are_not_read(written: Dataset) -> None:
    (Path(written.path) / "bars" / "instrument=ETHUSDT-SPOT" / "year=2023" / "part-0.parquet").write_bytes(b"broken")
    assert len(written.bars("ETHUSDT-SPOT", start=pd.Timestamp("2024-01-01T00:00Z"))) == 24
    with pytest.raises(DataError, match=r"year=2023.part-0\.parquet: is truncated or damaged .* import the data again"):
        written.bars("ETHUSDT-SPOT")


def test_what_an_instrument_lacks_is_an_empty_table(tables: Tables, tmp_path: Path) -> None:
    write_dataset(tmp_path / "few", Tables(instruments=tables.instruments), **FACTS)
    few = open_dataset(tmp_path / "few")
    assert list(few.bars("ETHUSDT-SPOT").columns) == ["open", "high", "low", "close"]
    assert list(few.funding("ETHUSDT-SPOT").columns) == ["rate", "interval_hours", "mark_price"]
    assert few.bars("ETHUSDT-SPOT").index.dtype == few.funding("ETHUSDT-SPOT").index.dtype == "datetime64[ns, UTC]"
    assert (len(few.settlements()), len(few.events()), few.series_names) == (0, 0, [])
    assert content_hash(few.tables()) == few.hash


def test_other_columns_are_kept(tables: Tables, tmp_path: Path) -> None:
    bars = tables.bars["ETHUSDT-SPOT"].assign(flag="x", trades=np.arange(48))
    digest = write_dataset(tmp_path / "more", replace(tables, bars={**tables.bars, "ETHUSDT-SPOT": bars}), **FACTS)
    back = open_dataset(tmp_path / "more")
    assert list(back.bars("ETHUSDT-SPOT")["flag"].unique()) == ["x"]
    assert back.bars("ETHUSDT-SPOT")["trades"].iloc[-1] == 47.0
    assert content_hash(back.tables()) == digest != content_hash(tables)


def test_the_hash_is_that_of_the_values(tables: Tables, written: Dataset, tmp_path: Path) -> None:
    write_dataset(tmp_path / "again", tables, **{**FACTS, "name": "other"})
    assert open_dataset(tmp_path / "again").hash == written.hash == content_hash(written.tables()) == content_hash(tables)
    # the same values in other units, another order of columns and instruments
    spot = tables.bars["ETHUSDT-SPOT"]
    turned = spot[spot.columns[::-1]].set_axis(spot.index.as_unit("ms"))
    same = replace(tables, bars={**tables.bars, "ETHUSDT-SPOT": turned}, instruments=tables.instruments[::-1])
    assert content_hash(same) == written.hash


@pytest.mark.parametrize("change", ["price", "time", "instrument", "series", "event", "column"])
def test_any_other_value_is_another_hash(tables: Tables, change: str) -> None:
    before = content_hash(tables)
    spot = tables.bars["ETHUSDT-SPOT"]
    if change == "price":
        spot.iloc[3, 0] = np.nextafter(spot.iloc[3, 0], 0)
    elif change == "time":
        tables.bars["ETHUSDT-SPOT"] = spot.set_axis(spot.index + pd.Timedelta(1, "ns"))
    elif change == "instrument":
        tables.instruments[0] = replace(tables.instruments[0], lot=0.1)
    elif change == "series":
        tables.series["other"] = tables.series.pop("risk_free")
    elif change == "event":
        tables.events["name"] = ["Other"]
    else:
        tables.bars["ETHUSDT-SPOT"] = spot.rename(columns={"volume": "volumes"})
    assert content_hash(tables) != before


def test_the_hash_does_not_see_the_files_layout(written: Dataset) -> None:
    file = Path(written.path) / "bars" / "instrument=ETHUSDT-SPOT" / "year=2023" / "part-0.parquet"
    table = pq.ParquetFile(file).read()
    file.unlink()
    # two files, many row groups, no compression, other units, the later rows in the file whose name sorts first
    table = table.set_column(0, "ts", table["ts"].cast(pa.timestamp("ms", tz="Asia/Tokyo")))
    pq.write_table(table.slice(10), file.with_name("a.parquet"), row_group_size=3, compression="none")
    pq.write_table(table.slice(0, 10), file.with_name("b.parquet"))
    assert content_hash(open_dataset(written.path).tables()) == written.hash


def test_every_nan_is_alike_to_the_hash(tables: Tables) -> None:
    spot = tables.bars["ETHUSDT-SPOT"]
    digests = set()
    for nan in (np.nan, -np.nan, np.uint64(0x7FF8000000000123).view(np.float64)):
        digests.add(content_hash(replace(tables, bars={**tables.bars, "ETHUSDT-SPOT": spot.assign(volume=nan)})))
    assert len(digests) == 1


def test_files_of_other_tools_are_read(written: Dataset) -> None:
    file = Path(written.path) / "bars" / "instrument=ETHUSDT-SPOT" / "year=2024" / "part-0.parquet"
    times = pa.array([1704070800000], type=pa.timestamp("ms"))
    extra = {"venue": pa.array(["x"]).dictionary_encode(), "ok": [True], "tags": [["a"]]}
    pq.write_table(pa.table({"ts": times, "open": ["1.5"], "high": pa.array([2], pa.int32()), "low": [1], "close": [None], **extra}), file)
    bar = written.bars("ETHUSDT-SPOT").iloc[-1]
    assert written.bars("ETHUSDT-SPOT").index[-1] == pd.Timestamp("2024-01-01T01:00Z")
    assert (bar["open"], bar["high"], bar["venue"], bar["ok"], bar["tags"]) == (1.5, 2.0, "x", 1.0, "['a']")
    assert np.isnan(bar["close"])


def test_reading_imports_no_more_than_it_needs(written: Dataset) -> None:
    code = f"""
import sys
import backtest.data.store as store
assert "pyarrow.parquet" not in sys.modules
assert len(store.open_dataset({written.path!r}).bars("ETHUSDT-SPOT")) == 48
assert "pyarrow.dataset" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- what is refused -------------------------------------------------------------------------------------


def test_no_dataset_is_told_from_a_broken_one(tmp_path: Path, written: Dataset) -> None:
    with pytest.raises(DataError, match=r"nowhere: there is no dataset here; import one .* or build the sample"):
        open_dataset(tmp_path / "nowhere")
    manifest = Path(written.path) / "dataset.json"
    manifest.write_text("{")
    with pytest.raises(DataError, match=r"dataset\.json: can't be read .* import the data again"):
        open_dataset(written.path)
    manifest.write_text("{}")
    with pytest.raises(DataError, match=r"dataset\.json: can't be read \(KeyError\('name'\)\)"):
        open_dataset(written.path)
    manifest.unlink()
    with pytest.raises(DataError, match=r"mine: dataset\.json is missing, so this is not a dataset"):
        open_dataset(written.path)


def test_a_dataset_is_not_written_to_a_url(tables: Tables) -> None:
    with pytest.raises(StorageError, match="s3://bucket/x: a dataset is written to a local folder; write it there and copy the folder"):
        write_dataset("s3://bucket/x", tables, **FACTS)
    with pytest.raises(DataError, match=r"nonsense://x: can't be opened .*; install what reads such URLs"):
        open_dataset("nonsense://x")


def test_unknown_names_get_a_hint(written: Dataset) -> None:
    with pytest.raises(DataError, match='unknown instrument "ETHUSDT-SPOTT"; did you mean "ETHUSDT-SPOT"'):
        written.bars("ETHUSDT-SPOTT")
    with pytest.raises(DataError, match='unknown instrument "X"; known: ETHUSDT-240105, '):
        written.funding("X")
    with pytest.raises(DataError, match='no series "riskfree"; did you mean "risk_free"'):
        written.series("riskfree")


def test_damaged_instruments_are_named(written: Dataset) -> None:
    file = Path(written.path) / "instruments.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"instruments\.parquet: is truncated or damaged"):
        open_dataset(written.path)
    pq.write_table(pa.table({"id": ["x"], "venue": ["v"], "kind": ["option"], "base": ["b"], "quote": ["q"]}), file)
    with pytest.raises(DataError, match=r"instruments\.parquet: can't be read as instruments \('option' is not a valid Kind\)"):
        open_dataset(written.path)
    pq.write_table(pa.table({"id": ["x"]}), file)
    with pytest.raises(DataError, match=r'instruments\.parquet: column "venue" is missing; it has id'):
        open_dataset(written.path)


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped"])
def test_a_damaged_file_is_named(written: Dataset, damage: str) -> None:
    file = Path(written.path) / "funding" / "instrument=ETHUSDT-PERP" / "part-0.parquet"
    whole = bytearray(file.read_bytes())
    flipped = bytes(whole[:100]) + bytes(byte ^ 0xFF for byte in whole[100:130]) + bytes(whole[130:])
    file.write_bytes({"truncated": bytes(whole[:-40]), "empty": b"", "flipped": flipped}[damage])
    with pytest.raises(
        DataError, match=r"ETHUSDT-PERP.part-0\.parquet: is truncated or damaged and can't be read .*; restore it or import"
    ):
        written.funding("ETHUSDT-PERP")


def test_a_bit_that_flips_in_the_prices_is_noticed(tables: Tables, tmp_path: Path) -> None:
    """Noise doesn't compress, so only the checksum of the page can tell."""
    noise = np.random.default_rng(1).random(48)
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), noise), index=tables.bars["ETHUSDT-SPOT"].index)
    write_dataset(tmp_path / "noise", Tables(instruments=tables.instruments, bars={"ETHUSDT-SPOT": bars}), **FACTS)
    file = tmp_path / "noise" / "bars" / "instrument=ETHUSDT-SPOT" / "year=2023" / "part-0.parquet"
    chunk = pq.ParquetFile(file).metadata.row_group(0).column(4)
    whole = bytearray(file.read_bytes())
    whole[chunk.data_page_offset + chunk.total_compressed_size - 20] ^= 1
    file.write_bytes(whole)
    with pytest.raises(DataError, match=r"is truncated or damaged and can't be read .*CRC checksum"):
        open_dataset(tmp_path / "noise").bars("ETHUSDT-SPOT")


def test_a_column_of_the_wrong_type_is_named(written: Dataset) -> None:
    file = Path(written.path) / "events" / "part-0.parquet"
    pq.write_table(pa.table({"ts": ["soon"], "name": ["a"], "kind": ["b"]}), file)
    with pytest.raises(DataError, match=r'events.part-0\.parquet: column "ts" is not a time'):
        written.events()
    file = Path(written.path) / "settlements" / "part-0.parquet"
    pq.write_table(pa.table({"ts": pa.array([1], pa.timestamp("ns")), "instrument": ["a"], "price": ["much"]}), file)
    with pytest.raises(DataError, match=r'settlements.part-0\.parquet: column "price" is not numbers'):
        written.settlements()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.bars.update(X=t.bars["ETHUSDT-SPOT"]), 'unknown instrument "X": it has data but no description'),
        (lambda t: t.settlements.update({"instrument": ["Y"]}), 'unknown instrument "Y"'),
        (lambda t: t.instruments.append(t.instruments[0]), "ETHUSDT-SPOT: described twice among the instruments"),
        (lambda t: t.series.update({"a/b": t.series["risk_free"]}), "\"a/b\" can't be a folder's name"),
        (lambda t: t.bars["ETHUSDT-SPOT"].pop("close"), 'ETHUSDT-SPOT: column "close" is missing from its bars'),
        (lambda t: t.bars.update({"ETHUSDT-SPOT": t.bars["ETHUSDT-SPOT"].reset_index(drop=True)}), 'column "ts" of its bars is not times'),
    ],
)
def test_tables_without_a_place_are_refused_and_the_old_dataset_stays(
    tables: Tables, written: Dataset, spoil: object, message: str
) -> None:
    before = snapshot(Path(written.path).parent)
    spoil(tables)  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        write_dataset(written.path, tables, **FACTS)
    assert snapshot(Path(written.path).parent) == before


def test_a_folder_with_other_files_is_not_replaced(tables: Tables, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(StorageError, match=r"home: has files but no dataset\.json, and would be replaced; choose a new or an empty folder"):
        write_dataset(tmp_path / "home", tables, **FACTS)
    with pytest.raises(StorageError, match=r"thesis\.txt: a dataset is a folder and this is a file"):
        write_dataset(tmp_path / "home" / "thesis.txt", tables, **FACTS)
    assert snapshot(tmp_path) == {"home/thesis.txt": b"years of work"}


def test_other_files_in_a_dataset_are_carried_over(tables: Tables, written: Dataset) -> None:
    folder = Path(written.path)
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text("mine")
    (folder / "README.md").write_text("mine too")
    write_dataset(folder, Tables(instruments=tables.instruments), **FACTS)
    assert (folder / "notes" / "a.txt").read_text() + (folder / "README.md").read_text() == "minemine too"
    assert not (folder / "bars").exists()


# --- whole or not at all ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fails_at", range(0, 10, 3))
def test_a_disk_that_fills_up_leaves_the_old_dataset(
    tables: Tables, written: Dataset, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    before, count, write = snapshot(Path(written.path).parent), [], pq.ParquetWriter.write_table

    def full(*args: object, **more: object) -> None:
        count.append(1)
        if len(count) > fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*args, **more)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    tables.bars["ETHUSDT-SPOT"] += 1
    with pytest.raises(
        StorageError, match=r"mine: can't be written \(No space left on device\); what was there is unchanged; free some space"
    ):
        write_dataset(written.path, tables, **FACTS)
    assert snapshot(Path(written.path).parent) == before


@pytest.mark.parametrize(("module", "name"), [(replace_module, "_flush"), (replace_module, "link"), (replace_module, "_swap")])
def test_any_failure_before_the_swap_leaves_the_old_dataset(
    tables: Tables, written: Dataset, monkeypatch: pytest.MonkeyPatch, module: object, name: str
) -> None:
    (Path(written.path) / "note.txt").write_text("x")
    before = snapshot(Path(written.path).parent)

    def denied(*args: object, **more: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module, name, denied)
    with pytest.raises(StorageError, match=r"\(Permission denied\); what was there is unchanged; check the folder and its permissions"):
        write_dataset(written.path, tables, **FACTS)
    assert snapshot(Path(written.path).parent) == before


def test_a_swap_that_fails_half_way_is_undone(tables: Tables, written: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    before, rename = snapshot(Path(written.path).parent), Path.rename

    def second_fails(self: Path, target: Path) -> Path:
        if self.name == ".mine.new":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(StorageError, match="Input/output error"):
        write_dataset(written.path, Tables(instruments=tables.instruments), **FACTS)
    assert snapshot(Path(written.path).parent) == before


def test_a_crash_between_the_renames_is_recovered_on_opening(written: Dataset) -> None:
    folder = Path(written.path)
    shutil.copytree(folder, folder.with_name(".mine.new"))
    folder.rename(folder.with_name(".mine.old"))
    assert open_dataset(folder).hash == written.hash
    assert not folder.with_name(".mine.old").exists()


def test_a_write_after_a_crash_and_onto_a_full_disk_keeps_the_only_copy(
    tables: Tables, written: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(written.path)
    folder.rename(folder.with_name(".mine.old"))

    def full(*args: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(StorageError, match="free some space"):
        write_dataset(folder, tables, **FACTS)
    assert open_dataset(folder).hash == written.hash


def test_a_recovery_that_fails_says_where_the_data_are(written: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(written.path)
    folder.rename(folder.with_name(".mine.old"))

    def denied(self: Path, target: Path) -> Path:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "rename", denied)
    with pytest.raises(
        StorageError, match=r"mine: an interrupted write left the dataset at .*\.mine\.old \(Permission denied\); rename it back"
    ):
        open_dataset(folder)


WRITER = """
import sys
from pathlib import Path
from backtest.data.store import open_dataset, write_dataset
from backtest.data.schema import Tables
folder = sys.argv[1]
whole = open_dataset(folder).tables()
half = Tables(instruments=whole.instruments, bars={"ETHUSDT-SPOT": whole.bars["ETHUSDT-SPOT"]})
facts = dict(name="mine", source="test", simulated=False, licence="none")
print(write_dataset(folder, half, **facts), write_dataset(folder, whole, **facts), flush=True)
while True:
    write_dataset(folder, half, **facts)
    write_dataset(folder, whole, **facts)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_writer_leaves_a_whole_dataset(written: Dataset) -> None:
    random = np.random.default_rng(7)
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, written.path], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        versions = writer.stdout.readline().split()
        time.sleep(random.uniform(0, 0.15))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        assert len(versions) == 2
        found = open_dataset(written.path)
        assert found.hash in versions
        assert content_hash(found.tables()) == found.hash
    write_dataset(written.path, found.tables(), **FACTS)
    assert sorted(path.name for path in Path(written.path).parent.iterdir()) == ["mine"]


FILLER = """
import sys
sys.path.insert(0, sys.argv[2])
import numpy as np, pandas as pd
from backtest.data.store import open_dataset, write_dataset, content_hash
from backtest.errors import StorageError
from pathlib import Path
folder = Path(sys.argv[1]) / "mine"
small = open_dataset(sys.argv[3]).tables()
facts = dict(name="mine", source="test", simulated=False, licence="none")
digest = write_dataset(folder, small, **facts)
index = pd.date_range("2020-01-01", periods=40000, freq="h", tz="UTC", name="ts")
noise = np.random.default_rng(1).random(len(index))
small.bars["ETHUSDT-SPOT"] = pd.DataFrame({name: noise for name in ("open", "high", "low", "close")}, index=index)
try:
    write_dataset(folder, small, **facts)
except StorageError as error:
    assert open_dataset(folder).hash == digest == content_hash(open_dataset(folder).tables())
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]
    print(error)
"""


def test_a_really_full_disk_leaves_the_old_dataset(written: Dataset, tmp_path: Path) -> None:
    """On a file system of 200 kB that exists only inside a namespace of its own."""
    place = tmp_path / "tiny"
    place.mkdir()
    namespace = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=200k tmpfs {place}"
    if shutil.which("unshare") is None or subprocess.run([*namespace, mount], capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    root = str(Path(__file__).resolve().parents[1])
    run = [*namespace, f'{mount} && exec "$0" "$@"', sys.executable, "-c", FILLER, str(place), root, written.path]
    done = subprocess.run(run, capture_output=True, text=True)
    assert "can't be written" in done.stdout, done.stderr
    assert "what was there is unchanged; free some space and try again" in done.stdout


def test_writers_of_one_dataset_wait_for_each_other(written: Dataset) -> None:
    fcntl = pytest.importorskip("fcntl")
    fresh = Path(written.path).with_name(".mine.new")
    fresh.mkdir()
    handle = os.open(fresh, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, written.path], stdout=subprocess.PIPE, text=True)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(1.5)
        assert not list(fresh.iterdir())
    finally:
        os.close(handle)
        assert writer.stdout is not None
        assert writer.stdout.readline()
        writer.kill()
        writer.communicate()


def test_the_written_files_carry_checksums(written: Dataset) -> None:
    assert json.loads((Path(written.path) / "dataset.json").read_text())["format"] == 2
    assert parquet_module.read_table(Folder(written.path), "instruments.parquet", ("id",))["id"].tolist() == sorted(written.instruments)


def test_an_instrument_keeps_what_is_not_known(tables: Tables, tmp_path: Path) -> None:
    one = Instrument(
        id="A", venue="v", kind=Kind.FUTURE, base="a", quote="b", listed_at=pd.Timestamp("2024-01-01T05:00+05:00"), tick=float("nan")
    )
    digest = write_dataset(tmp_path / "one", Tables(instruments=[one]), **FACTS)
    back = open_dataset(tmp_path / "one")
    assert back.instruments["A"] == replace(one, tick=None, listed_at=pd.Timestamp("2024-01-01T00:00Z"))
    assert content_hash(back.tables()) == digest
