"""Adding to a dataset: what is there is not written again, the content is the same however it came in, and a kill at any moment leaves it whole."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtest.data import blocks
from backtest.data.schema import Tables
from backtest.data.store import Facts, content_hash, open_dataset, updating, write_dataset
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind

SPOT = Instrument(id="ETHUSDT-SPOT", venue="binance", kind=Kind.SPOT, base="ETH", quote="USDT")
FACTS = Facts(name="mine", source="test", simulated=False, licence="none")
ALL = {"name": "mine", "source": "test", "simulated": False, "licence": "none"}


def bars(first: str, count: int, seed: int = 1) -> pd.DataFrame:
    """Hourly bars whose values depend on their stamp only."""
    index = pd.date_range(first, periods=count, freq="1h", tz="UTC", name="ts").as_unit("ns")
    close = 2000 + (index.asi8 // 3_600_000_000_000 * (7 + seed) % 1000) / 10
    return pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 5.0}, index=index)


def add(folder: Path, *frames: pd.DataFrame, room: str = "bars", key: str = SPOT.id) -> str:
    with updating(folder) as update:
        for frame in frames:
            update.add(room, key, frame)
        return update.commit([SPOT], FACTS)


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Every Parquet file of bars with its inode and time of writing."""
    found = sorted((folder / "bars").rglob("*.parquet"))
    return {file.relative_to(folder).as_posix(): (file.stat().st_ino, file.stat().st_mtime_ns) for file in found}


def at_once(tmp_path: Path, frame: pd.DataFrame) -> str:
    return write_dataset(tmp_path / "once", Tables(instruments=[SPOT], bars={SPOT.id: frame}), **ALL)


def test_an_append_writes_new_rows_only(tmp_path: Path) -> None:
    whole = bars("2023-12-30", 96)
    add(tmp_path / "set", whole[:60])
    before = files(tmp_path / "set")
    digest = add(tmp_path / "set", whole[60:])
    after = files(tmp_path / "set")
    assert {name: after[name] for name in before} == before
    assert [name.rpartition("/")[2] for name in after if name not in before] == ["part-1.parquet"]
    assert digest == at_once(tmp_path, whole)
    pd.testing.assert_frame_equal(open_dataset(tmp_path / "set").bars(SPOT.id), whole, check_freq=False)


def test_rows_in_between_are_merged_and_years_without_new_rows_stay(tmp_path: Path) -> None:
    whole = bars("2023-12-25", 24 * 20)
    add(tmp_path / "set", pd.concat([whole[:200], whole[300:]]))
    before = files(tmp_path / "set")
    assert add(tmp_path / "set", whole[200:300]) == at_once(tmp_path, whole)
    after = files(tmp_path / "set")
    old_year = "bars/instrument=ETHUSDT-SPOT/year=2023/part-0.parquet"
    assert (len(before), after[old_year]) == (2, before[old_year])
    pd.testing.assert_frame_equal(open_dataset(tmp_path / "set").bars(SPOT.id), whole, check_freq=False)


def test_rows_that_are_there_already_change_nothing_on_the_disk(tmp_path: Path) -> None:
    whole = bars("2024-01-01", 100)
    digest = add(tmp_path / "set", whole)
    before = {**files(tmp_path / "set"), "folder": (tmp_path / "set").stat().st_ino}
    assert add(tmp_path / "set", whole[20:40], whole[30:]) == digest
    assert {**files(tmp_path / "set"), "folder": (tmp_path / "set").stat().st_ino} == before


def test_rows_that_contradict_are_refused_and_nothing_changes(tmp_path: Path) -> None:
    whole = bars("2024-01-01", 100)
    digest = add(tmp_path / "set", whole)
    other = whole[50:52].assign(close=whole["close"] + 0.5)
    with pytest.raises(
        DataError, match=r"ETHUSDT-SPOT bar at 2024-01-03T02:00Z: close is .* one row can't have two values; .* \(2 such rows\)"
    ):
        add(tmp_path / "set", other)
    assert open_dataset(tmp_path / "set").hash == digest
    assert not list(tmp_path.glob(".set*"))


def test_many_small_appends_become_one_file(tmp_path: Path) -> None:
    whole = bars("2024-01-01", blocks.MOST_PARTS * 2 + 3)
    for row in range(len(whole)):
        digest = add(tmp_path / "set", whole[row : row + 1])
    assert digest == at_once(tmp_path, whole)
    assert len(files(tmp_path / "set")) <= blocks.MOST_PARTS


def test_a_column_that_comes_later_is_unknown_before(tmp_path: Path) -> None:
    old, new = bars("2024-01-01", 10), bars("2024-01-01T10:00", 10).assign(bid=1000.0)
    digest = add(tmp_path / "set", old)
    assert add(tmp_path / "set", new) != digest
    found = open_dataset(tmp_path / "set")
    assert found.bars(SPOT.id)["bid"].isna().tolist() == [True] * 10 + [False] * 10
    assert found.hash == at_once(tmp_path, pd.concat([old.assign(bid=np.nan), new])) == content_hash(found.tables())
    assert (found.columns(SPOT.id)[-1], len(found.column(SPOT.id, "bid"))) == ("bid", 20)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_content_is_the_same_however_it_comes_in(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Rows cut anywhere, in any order, in one commit or many, spilled to files or not."""
    folder = tmp_path_factory.mktemp("any")
    whole = bars("2023-12-30", 80)
    cuts = sorted(data.draw(st.sets(st.integers(1, 79), max_size=6)))
    pieces = data.draw(st.permutations([whole[one:other] for one, other in zip([0, *cuts], [*cuts, 80], strict=True)]))
    commits = data.draw(st.integers(1, len(pieces)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(blocks, "SPILL", data.draw(st.sampled_from([1, 20, 1000])))
        for number in range(commits):
            digest = add(folder / "set", *pieces[number::commits])
    assert digest == at_once(folder, whole)
    found = open_dataset(folder / "set")
    pd.testing.assert_frame_equal(found.bars(SPOT.id), whole, check_freq=False)
    assert content_hash(found.tables()) == digest
    assert not list((folder / "set").glob(".*"))


def test_mark_prices_join_the_bars_of_their_stamps(tmp_path: Path) -> None:
    whole = bars("2024-01-01", 30)
    add(tmp_path / "set", whole)
    mark = whole[["close"]].rename(columns={"close": "mark"}).set_axis(whole.index + pd.Timedelta("1h"))
    with updating(tmp_path / "set") as update:
        update.add("bars", SPOT.id, mark)
        update.commit([SPOT], FACTS)
        assert update.strays == {SPOT.id: 1}
    found = open_dataset(tmp_path / "set").bars(SPOT.id)
    assert found["mark"].tolist()[1:] == whole["close"].tolist()[:-1]
    assert np.isnan(found["mark"].iloc[0])
    with pytest.raises(DataError, match="ETHUSDT-SPOT: mark from 2024-01-01T01:00Z have no bars to stand beside; import its klines"):
        add(tmp_path / "other", mark)
    assert not (tmp_path / "other").exists()


def test_nothing_is_added_to_a_block_that_was_changed_behind_the_back(tmp_path: Path) -> None:
    whole = bars("2024-01-01T01:00", 30)
    add(tmp_path / "set", whole)
    (part,) = (tmp_path / "set" / "bars").rglob("*.parquet")
    frame = pd.read_parquet(part)
    frame.loc[3, "close"] = -1.0
    frame.to_parquet(part)
    for rows in (whole[:2], bars("2024-01-03", 2)):  # among what is there, and after it
        with pytest.raises(DataError, match=r"year=2024: was changed or lost since it was written, so nothing is added to it; restore it"):
            add(tmp_path / "set", rows)


# --- pieces, columns and time -------------------------------------------------------------------------------


def spied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], list[str]]]:
    """What is read of Parquet files: row groups and columns."""
    import pyarrow.parquet as pq

    read, seen = pq.ParquetFile.read_row_groups, []

    def spy(self: pq.ParquetFile, groups: list[int], columns: list[str] | None = None, **more: object) -> object:
        seen.append((groups, list(columns or [])))
        return read(self, groups, columns=columns, **more)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", spy)
    return seen


def test_only_the_columns_and_the_time_that_are_asked_for_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backtest.data.parquet.ROW_GROUP", 100)
    whole = bars("2024-01-01", 1000)
    add(tmp_path / "set", whole)
    dataset = open_dataset(tmp_path / "set")
    seen = spied(monkeypatch)
    start, end = whole.index[249], whole.index[449]
    found = dataset.bars(SPOT.id, start, end, columns=["volume"])
    pd.testing.assert_frame_equal(found, whole[250:450], check_freq=False)
    assert dataset.bars(SPOT.id, start, end, columns=[]).columns.tolist() == ["open", "high", "low", "close"]
    assert dataset.column(SPOT.id, "volume", start, end).tolist() == [5.0] * 200
    prices = ["ts", "open", "high", "low", "close"]
    assert seen == [([2, 3, 4], [*prices, "volume"]), ([2, 3, 4], prices), ([2, 3, 4], ["ts", "volume"])]


def test_a_dataset_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backtest.data.parquet.ROW_GROUP", 64)
    whole = bars("2023-12-20", 1000)
    add(tmp_path / "set", whole)
    dataset = open_dataset(tmp_path / "set")
    pieces = list(dataset.iterate_bars(SPOT.id))
    assert max(map(len, pieces)) <= 64
    pd.testing.assert_frame_equal(pd.concat(pieces), whole, check_freq=False)
    inside = pd.concat(dataset.iterate_bars(SPOT.id, whole.index[300], whole.index[700], columns=["volume"]))
    pd.testing.assert_frame_equal(inside, whole[301:701], check_freq=False)
    assert dataset.span(SPOT.id) == (whole.index[0], whole.index[-1])


# --- killed, and at once ------------------------------------------------------------------------------------

IMPORT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from backtest.data import blocks
from backtest.data.importers import import_files
from backtest.data.importers.common import Request
blocks.SPILL = 500
print("ready", flush=True)
sys.stdin.readline()
import_files("binance", [sys.argv[2]], sys.argv[3], Request(symbol="ETHUSDT"))
print("done", flush=True)
"""


def klines(file: Path, frame: pd.DataFrame) -> Path:
    starts = (frame.index - pd.Timedelta("1h")).asi8 // 1_000_000
    frame.assign(open_time=starts, close_time=starts + 3_599_999).to_csv(file, index=False)
    return file


def importer(source: Path, into: Path) -> "subprocess.Popen[str]":
    root = str(Path(__file__).resolve().parents[1])
    started = subprocess.Popen(
        [sys.executable, "-c", IMPORT, root, str(source), str(into)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def timed(process: "subprocess.Popen[str]") -> float:
    begin = time.perf_counter()
    go(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "done\n"
    process.communicate()
    return time.perf_counter() - begin


def test_an_import_killed_at_any_moment_leaves_the_old_dataset_or_the_new_one(tmp_path: Path) -> None:
    """A dozen kills, spread at random over the time that an import takes."""
    whole, into = bars("2021-06-01", 24 * 900), tmp_path / "set"
    old = add(into, whole[: 24 * 400])
    source = klines(tmp_path / "spot_ETHUSDT.csv", whole)
    length = timed(importer(source, tmp_path / "new"))
    new, draw, seen = open_dataset(tmp_path / "new").hash, random.Random(7), []
    for step in range(12):
        process = importer(source, into)
        go(process)
        time.sleep((step + draw.random()) * length / 11)
        process.kill()
        process.communicate()
        found = open_dataset(into)
        assert content_hash(found.tables()) == found.hash
        seen.append(found.hash)
        if found.hash != old:
            add_back(into, whole[: 24 * 400])
    assert set(seen) <= {old, new}
    assert old in seen
    timed(importer(source, into))
    assert open_dataset(into).hash == new
    assert not list(tmp_path.glob(".set*"))


def add_back(folder: Path, frame: pd.DataFrame) -> None:
    write_dataset(folder, Tables(instruments=[SPOT], bars={SPOT.id: frame}), **ALL)


def test_two_imports_into_one_dataset_lose_nothing(tmp_path: Path) -> None:
    whole, into = bars("2021-06-01", 24 * 400), tmp_path / "set"
    first = importer(klines(tmp_path / "spot_a_ETHUSDT.csv", whole[: 24 * 200]), into)
    second = importer(klines(tmp_path / "spot_b_ETHUSDT.csv", whole[24 * 200 :]), into)
    for process in (first, second):
        go(process)
    assert [process.communicate()[0] for process in (first, second)] == ["done\n"] * 2
    pd.testing.assert_frame_equal(open_dataset(into).bars(SPOT.id), whole, check_freq=False)


@pytest.mark.skipif(not hasattr(os, "link"), reason="the system has no hard links")
def test_without_links_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: object, **more: object) -> None:
        raise OSError("not here")

    whole = bars("2024-01-01", 50)
    add(tmp_path / "set", whole[:30])
    monkeypatch.setattr(os, "link", denied)
    assert add(tmp_path / "set", whole[30:]) == at_once(tmp_path, whole)


def test_a_failure_in_the_parser_reaches_the_caller_and_stops_the_reading(tmp_path: Path) -> None:
    from backtest.data.importers.ahead import ahead

    made: list[int] = []

    def items(fail: Callable[[int], bool]) -> object:
        for number in range(1000):
            if fail(number):
                raise DataError("the ninth is bad")
            made.append(number)
            yield number

    with pytest.raises(DataError, match="the ninth is bad"):
        list(ahead(items(lambda number: number == 9)))  # type: ignore[arg-type]
    assert made == list(range(9))
    made.clear()
    for number in ahead(items(lambda number: False)):  # type: ignore[arg-type]
        if number == 3:
            break
    assert len(made) < 10
