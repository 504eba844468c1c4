"""Shelves: what is kept comes back as it was, damage and other writers do no harm; fingerprints differ wherever results might."""

import linecache
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from markets import PERP, SPOT, ether, load, only, write

import backtest as bt
from backtest import fingerprint as fingerprints
from backtest.errors import ParameterError, StorageError
from backtest.fingerprint import Writer, engine, fingerprint, market_text
from backtest.market import Market
from backtest.scan import Grid
from backtest.shelf import Chunk, Kept, Shelf, folded, unfolded

FINGERPRINT = "f" * 32


def rows(count: int, seed: int = 0, days: int = 40) -> Chunk:
    """Made-up results of some combinations, the second refused."""
    random = np.random.default_rng(seed)
    daily = random.normal(1e5, 1e3, (count, days))
    table = pd.DataFrame({"sharpe": random.normal(size=count), "trades": np.arange(count, dtype=float)})
    refused: list[str | None] = [None] * count
    if count > 1:
        refused[1], daily[1], table.loc[1] = "exit must be below enter: exit=1, enter=0", np.nan, np.nan
    start = pd.DatetimeIndex([pd.Timestamp("2024-03-01T05:00Z")])
    when = start.append(pd.date_range("2024-03-02", periods=days - 1, tz="UTC")).as_unit("ns")
    return Chunk(table, daily, when, refused, "USDT")


def keys(count: int, name: str = "enter") -> list[str]:
    return [f"{name}=float:{place}" for place in range(count)]


def taken(kept: Kept, wanted: list[str]) -> dict[str, tuple[dict[str, float], list[float], str | None]]:
    """What a shelf has of some combinations, by their keys."""
    found = {}
    for places, chunk in kept.take(wanted):
        for row, place in enumerate(places):
            assert wanted[place] not in found, "each once"
            found[wanted[place]] = (chunk.table.iloc[row].to_dict(), chunk.daily[row].tolist(), chunk.refused[row])
    return found


def only_file(folder: Path) -> Path:
    (file,) = folder.rglob("*.parquet")
    return file


# ---------------------------------------------------------------- what is kept


def test_what_was_put_is_taken_as_it_was(tmp_path: Path) -> None:
    given = rows(5)
    Shelf(tmp_path / "store").open(FINGERPRINT).put(keys(5), given)
    ((places, found),) = Shelf(tmp_path / "store").open(FINGERPRINT).take(keys(5)[::-1])
    assert places.tolist() == [4, 3, 2, 1, 0]
    pd.testing.assert_frame_equal(found.table, given.table)
    np.testing.assert_array_equal(found.daily, given.daily)
    assert (found.refused, found.quote) == (given.refused, "USDT")
    assert (found.days == given.days).all()
    assert found.days.tz == given.days.tz


def test_only_what_is_asked_for_is_taken_and_each_once(tmp_path: Path) -> None:
    kept = Shelf(tmp_path).open(FINGERPRINT)
    kept.put(keys(3), rows(3))
    kept.put(keys(5), rows(5, seed=1))
    found = taken(kept, ["enter=float:4", "enter=float:77", "enter=float:0"])
    assert set(found) == {"enter=float:4", "enter=float:0"}
    assert found["enter=float:4"][0]["trades"] == 4.0
    assert taken(Shelf(tmp_path).open("0" * 32), keys(5)) == {}
    kept.put([], rows(0))
    assert len(list(tmp_path.rglob("*.parquet"))) == 2, "nothing is no file"


def test_the_instants_of_daily_equity_are_a_short_text() -> None:
    days = rows(1, days=1827).days
    assert (unfolded(folded(days)) == days).all()
    assert len(folded(days)) < 200


def test_any_parquet_tool_reads_it(tmp_path: Path) -> None:
    Shelf(tmp_path).open(FINGERPRINT).put(keys(3), rows(3))
    frame = pd.read_parquet(only_file(tmp_path))
    assert list(frame.columns) == ["combination", "refused", "sharpe", "trades", "daily equity"]
    assert frame["refused"].tolist()[1].startswith("exit must be below enter")


# ---------------------------------------------------------------- damage


def halved(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def flipped(file: Path) -> None:
    """One bit of the daily equity."""
    data = bytearray(file.read_bytes())
    column = pq.ParquetFile(file).metadata.row_group(0).column(4)
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 4
    file.write_bytes(bytes(data))


def foreign(file: Path) -> None:
    pq.write_table(pa.table({"x": [1.0]}), file)


def without_about(file: Path) -> None:
    pq.write_table(pq.read_table(file).replace_schema_metadata({}), file)


def without_days(file: Path) -> None:
    table = pq.read_table(file)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"days": "bm9uZQ=="}), file)


def fewer_days(file: Path) -> None:
    table = pq.read_table(file)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"days": folded(rows(1, days=39).days)}), file)


@pytest.mark.parametrize("damage", [halved, emptied, flipped, foreign, without_about, without_days, fewer_days])
def test_a_damaged_file_is_passed_over_and_noted(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    kept = Shelf(tmp_path).open(FINGERPRINT)
    kept.put(keys(4), rows(4))
    file = only_file(tmp_path)
    kept.put(keys(4, "exit"), rows(4, seed=1))
    damage(file)
    assert set(taken(kept, [*keys(4), *keys(4, "exit")])) == set(keys(4, "exit"))
    assert kept.damaged == [str(file)]
    kept.put(keys(4), rows(4))
    assert set(taken(kept, keys(4))) == set(keys(4)), "what was lost can be kept again"


def test_a_file_of_another_fingerprint_is_not_believed(tmp_path: Path) -> None:
    Shelf(tmp_path).open(FINGERPRINT).put(keys(3), rows(3))
    (tmp_path / ("0" * 32)).mkdir()
    file = only_file(tmp_path)
    file.rename(tmp_path / ("0" * 32) / file.name)
    assert taken(Shelf(tmp_path).open("0" * 32), keys(3)) == {}


def test_half_written_files_are_not_seen_and_old_ones_removed(tmp_path: Path) -> None:
    kept = Shelf(tmp_path).open(FINGERPRINT)
    kept.put(keys(3), rows(3))
    file = only_file(tmp_path)
    fresh, old = file.with_suffix(".part"), file.with_name("chunk-0.part")
    fresh.write_bytes(file.read_bytes())
    old.write_bytes(b"PAR1")
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))
    assert set(taken(kept, keys(3))) == set(keys(3))
    assert fresh.exists(), "somebody is writing it"
    assert not old.exists()


def test_a_shelf_that_is_cleared_meanwhile_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Shelf(tmp_path).open(FINGERPRINT)
    kept.put(keys(3), rows(3))
    names = kept.shelf.names(FINGERPRINT)
    monkeypatch.setattr(Shelf, "names", lambda self, under: names)
    only_file(tmp_path).unlink()
    assert taken(kept, keys(3)) == {}
    assert kept.damaged == []


def test_writers_and_readers_at_once_do_no_harm(tmp_path: Path) -> None:
    def write_some(name: str) -> None:
        kept = Shelf(tmp_path).open(FINGERPRINT)
        for part in range(10):
            kept.put(keys(20, name)[2 * part : 2 * part + 2], rows(2, seed=part))

    names = ["a", "b", "a", "c"]
    with ThreadPoolExecutor(5) as many:
        writing = [many.submit(write_some, name) for name in names]
        kept = Shelf(tmp_path).open(FINGERPRINT)
        seen = [len(taken(kept, keys(20, "a"))) for _ in range(10)]
        for one in writing:
            one.result()
    assert seen == sorted(seen)
    wanted = [key for name in ("a", "b", "c") for key in keys(20, name)]
    assert set(taken(kept, wanted)) == set(wanted)
    assert kept.damaged == []


# ---------------------------------------------------------------- where it lies


def refused(told: str) -> Any:
    return pytest.raises(StorageError, match=f"^{told}$")


def test_what_can_not_be_a_store_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    told = (
        rf"{tmp_path}/file: finished combinations can't be made there \(File exists\); what was kept before is whole; "
        "check the folder and its permissions, or choose another store"
    )
    with refused(told):
        Shelf(tmp_path / "file")
    with refused(
        r"nothing://x: finished combinations can't be opened there \(.*nothing.*\); .*check the address and your access, or choose another store"
    ):
        Shelf("nothing://x")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Shelf(tmp_path).open(FINGERPRINT)
    kept.put(keys(3), rows(3))

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with refused(
        r".*: finished combinations can't be written there \(No space left on device\); .*; free some space, or choose another store"
    ):
        kept.put(keys(3, "exit"), rows(3))
    assert len(list((tmp_path / FINGERPRINT).iterdir())) == 1, "no half of a file stays"
    assert set(taken(kept, [*keys(3), *keys(3, "exit")])) == set(keys(3))


def test_a_store_behind_a_url() -> None:
    import fsspec

    place = f"memory://store-{time.time_ns()}"
    kept = Shelf(place).open(FINGERPRINT)
    assert taken(kept, keys(3)) == {}
    kept.put(keys(3), rows(3))
    kept.put(keys(3, "exit"), rows(3, seed=1))
    assert len(taken(Shelf(place).open(FINGERPRINT), [*keys(3), *keys(3, "exit")])) == 6
    system = fsspec.filesystem("memory")
    name = system.find(place)[0]
    system.pipe_file(name, system.cat_file(name)[:-20])
    assert len(taken(kept, [*keys(3), *keys(3, "exit")])) == 3
    assert len(kept.damaged) == 1


# ---------------------------------------------------------------- values


@dataclass(frozen=True)
class Point:
    x: float
    y: Any = None


@dataclass(frozen=True)
class Other:
    x: float
    y: Any = None


class Plain:
    def __init__(self, x: float) -> None:
        self.x = x


class Colour(Enum):
    RED = 1
    BLUE = 2


DIFFERENT: list[Any] = [
    None, True, False, 0, 1, 0.0, -0.0, 1.0, float("nan"), float("inf"), "", "0", "None", "nan", b"0", 0.1, 0.1 + 2**-56, 10**18, 10**18 + 1,
    pd.Timedelta("1D"), pd.Timedelta("1D1ns"), pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-01"), pd.NaT, "1D", "24h",
    (), (1,), [1], (1, 2), ((1,), 2), ("a", "b"), ("a, b",), ("a', 'b",), {"a": 1}, {"a": 2}, {1: "a"}, {1}, frozenset({1}),
    Point(1.0), Point(2.0), Point(1.0, Point(1.0)), Other(1.0), Plain(1.0), Plain(2.0), Colour.RED, Colour.BLUE, Colour, Point,
    np.array([1.0, 2.0]), np.array([1.0, 2.5]), np.array([1, 2]), np.array([[1.0, 2.0]]), np.array([1.0, 2.0], dtype=np.float32), np.array(["a", None], dtype=object),
    pd.Series([1.0, 2.0]), pd.Series([1.0, 2.0], index=[1, 2]), pd.Index([1.0, 2.0]), pd.DataFrame({"a": [1.0]}), pd.DataFrame({"b": [1.0]}),
    bt.RegimeFilter(), bt.FundingWindow("1h"), bt.FundingWindow("2h"), bt.VolatilitySizer(0.4), (bt.VolatilitySizer(0.4),), bt.Execution(), bt.Execution(spot_fee=0.0),
    len, np.mean, np.median, np, partial(max, 1), partial(max, 2), lambda: 1, lambda: 2,
]  # fmt: skip


def test_different_values_have_different_texts() -> None:
    writer = Writer()
    texts = [writer.text(value) for value in DIFFERENT]
    twice = {text: [DIFFERENT[place] for place, one in enumerate(texts) if one == text] for text in texts if texts.count(text) > 1}
    assert not twice
    assert not [text for text in texts if re.search(r" at 0x|object at", text)], "no text says where a value lies"


def test_the_same_values_have_the_same_text_in_other_objects() -> None:
    again: list[tuple[Any, Any]] = [
        (np.float64(0.1), 0.1), (np.int64(3), 3), (np.bool_(True), True), (np.str_("a"), "a"), (float("nan"), np.nan), (pd.Timedelta("1D"), pd.Timedelta("24h")),
        (np.timedelta64(1, "D"), pd.Timedelta("1D")), (pd.Timedelta("1D").to_pytimedelta(), pd.Timedelta("1D")), (np.arange(3.0), np.arange(6.0)[:3]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({"a", "b", "c"}, {"c", "b", "a"}), (Point(1.0), Point(1.0)), (Plain(1.0), Plain(1.0)),
        (bt.FundingWindow("1h"), bt.FundingWindow("1h")), (np.asfortranarray(np.ones((2, 3))), np.ones((2, 3))), (Point(1.0, Point), Point(1.0, Point)),
    ]  # fmt: skip
    for one, other in again:
        assert Writer().text(one) == Writer().text(other), one


def test_a_combination_is_written_in_the_order_of_its_names() -> None:
    assert Writer().combination({"exit": None, "enter": 0.05, "hold": "2D"}) == "enter=float:0.05, exit=None, hold=str:'2D'"
    assert Writer().combination({"a": "1', b=str:'2"}) != Writer().combination({"a": "1", "b": "2"})


def test_what_has_no_content_is_refused() -> None:
    with pytest.raises(
        ParameterError,
        match=r"^<object object at .*> can't be written down, so that its results could not be found again; give numbers, texts or dataclasses, or leave store out$",
    ):
        Writer().text(object())
    assert Writer().lenient([object()]) == "list[an object of builtins.object]"


# ---------------------------------------------------------------- code

SCRIPT = '''
import functools
import numpy as np
import backtest as bt
from backtest.market import Floats
from dataclasses import dataclass

LEVEL = 0.5
TABLE = {"a": 1.0}

def helper(x):
    return other(x) + 1.0

def other(x):
    return helper(x - 1.0) if x > 9 else x * 2.0

def made(by):
    def inner(x):
        return x * by
    return inner

tripled = made(3.0)

@functools.lru_cache
def cached(x):
    return x + 5.0

@bt.signal
def mine(market: bt.Market, days: float = 1.0) -> Floats:
    return np.full(len(market), days * 7.0)

class Base:
    def inherited(self):
        return 11.0

@dataclass(frozen=True, kw_only=True)
class Mine(bt.Strategy, Base):
    """What it does."""

    enter: float = bt.param(0.05, "open at or above")

    @property
    def twice(self):
        return self.enter * 13.0

    @staticmethod
    def still():
        return 17.0

    def rule(self, market, scale=19.0):
        # a remark
        values = [helper(x) for x in (1.0, LEVEL, TABLE["a"], tripled(2.0), cached(1.0))]
        return bt.Rule(long=market.spot, signal=mine(market) * np.mean(values), enter=self.enter)
'''
CHANGES = {
    "a constant": ("LEVEL = 0.5", "LEVEL = 0.6"),
    "a table": ('"a": 1.0', '"a": 2.0'),
    "a function": ("helper(x):\n    return other(x) + 1.0", "helper(x):\n    return other(x) + 2.0"),
    "a function of a function": ("x * 2.0", "x * 2.5"),
    "what a closure holds": ("made(3.0)", "made(4.0)"),
    "a wrapped function": ("x + 5.0", "x + 6.0"),
    "a signal": ("days * 7.0", "days * 8.0"),
    "a signal's default": ("days: float = 1.0", "days: float = 2.0"),
    "a base": ("return 11.0", "return 12.0"),
    "a default": ('bt.param(0.05, "open', 'bt.param(0.06, "open'),
    "a property": ("self.enter * 13.0", "self.enter * 14.0"),
    "a static method": ("return 17.0", "return 18.0"),
    "a method's default": ("scale=19.0", "scale=20.0"),
    "the rule": ("enter=self.enter)", "enter=self.enter, exit=0.0)"),
    "a library's function": ("np.mean(values)", "np.median(values)"),
}


def loaded(text: str) -> Any:
    module = ModuleType("mine")
    exec(compile(text, "mine.py", "exec"), vars(module))
    return module.Mine


def test_the_same_code_is_the_same_wherever_it_stands() -> None:
    moved = "\n\n# remarks\n" + SCRIPT.replace("# a remark", "\n        # another")
    assert Writer().text(loaded(SCRIPT)) == Writer().text(loaded(moved))
    assert Writer().text(loaded(SCRIPT)) == Writer().text(loaded(SCRIPT + "\nUNUSED = 1\n"))
    assert Writer().text(loaded(SCRIPT)()) == Writer().text(loaded(SCRIPT)(enter=0.05))
    assert Writer().text(loaded(SCRIPT)()) != Writer().text(loaded(SCRIPT)(enter=0.07))


@pytest.mark.parametrize("change", CHANGES)
def test_changed_code_is_other_code(change: str) -> None:
    old, new = CHANGES[change]
    assert SCRIPT.count(old) == 1
    assert Writer().text(loaded(SCRIPT)) != Writer().text(loaded(SCRIPT.replace(old, new)))


def test_the_code_that_was_loaded_counts_and_not_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_own_strategy.py").write_text(SCRIPT)
    import my_own_strategy  # type: ignore[import-not-found]

    before = Writer().text(my_own_strategy.Mine)
    (tmp_path / "my_own_strategy.py").write_text(SCRIPT.replace("LEVEL = 0.5", "LEVEL = 0.9"))
    linecache.checkcache()
    assert Writer().text(my_own_strategy.Mine) == before
    my_own_strategy.LEVEL = 0.9
    assert Writer().text(my_own_strategy.Mine) != before


def test_modules_of_ones_own_are_followed_and_libraries_by_their_version(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import own_helpers\nimport backtest as bt\nclass Mine(bt.Strategy):\n    def rule(self, market):\n        return own_helpers.level()\n"
    own = ModuleType("own_helpers")
    monkeypatch.setitem(__import__("sys").modules, "own_helpers", own)
    exec("def level():\n    return 1.0", vars(own))
    before = Writer().text(loaded(text))
    exec("def level():\n    return 2.0", vars(own))
    assert Writer().text(loaded(text)) != before
    by_numpy = Writer().text(loaded(SCRIPT))
    monkeypatch.setattr(np, "__version__", "0.0")
    assert Writer().text(loaded(SCRIPT)) != by_numpy


def test_wrapped_and_bound_functions_are_told_apart() -> None:
    @lru_cache
    def cached(x: float) -> float:
        return x

    @lru_cache
    def other(x: float) -> float:
        return -x

    texts = [Writer().text(one) for one in (cached, other, Point(1.0).__eq__, Point(2.0).__eq__, Plain, bt.premium, bt.net_carry)]
    assert len(set(texts)) == len(texts)


# ---------------------------------------------------------------- fingerprints


@dataclass(frozen=True, kw_only=True)
class Hold(bt.Strategy):
    """Buy spot, sell the perpetual."""

    enter: float = bt.param(0.0, "open at or above")

    def rule(self, market: Market) -> bt.Rule:
        return bt.Rule(long=market.spot, short=market.perpetual)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("shelf"), ether())


@pytest.fixture(scope="module")
def market(place: str) -> Market:
    return bt.load_market(place)


def of(market: Market, **other: Any) -> str:
    given = {"base": Hold, "capital": 1e5, "execution": None, "fixed": {}, **other}
    return fingerprint(Grid(market=market, **given))


def test_the_same_market_has_the_same_fingerprint_when_it_is_loaded_again_elsewhere(market: Market, tmp_path: Path) -> None:
    other = load(tmp_path, ether())
    assert of(other) == of(market)
    bt.run(Hold(), other)
    assert of(other) == of(market), "what was computed doesn't count"
    assert re.fullmatch("[0-9a-f]{32}", of(market))


def spoiled(market: Market) -> Market:
    frame = market.bars(SPOT)
    frame["high"] = frame["high"] + np.where(np.arange(len(frame)) == 100, 1e-6, 0.0)
    return market.altered(bars={SPOT: frame})


def paying(market: Market) -> Market:
    return market.altered(rates={PERP: 2.0 * market.funding(PERP).rates})


LOADED: dict[str, Callable[[str], Market]] = {
    "start": lambda place: bt.load_market(place, start="2024-03-01T02:00"),
    "end": lambda place: bt.load_market(place, end="2024-03-08"),
    "instruments": lambda place: bt.load_market(place, instruments=[SPOT, PERP]),
    "freq": lambda place: bt.load_market(place, freq="2h"),
    "clock": lambda place: bt.load_market(place, clock=SPOT),
    "staleness": lambda place: bt.load_market(place, staleness="1h"),
    "one price": lambda place: spoiled(bt.load_market(place)),
    "funding": lambda place: paying(bt.load_market(place)),
    "only some": lambda place: bt.load_market(place).only(SPOT, PERP),
    "until": lambda place: bt.load_market(place).until("2024-03-05"),
}


@pytest.mark.parametrize("how", LOADED)
def test_what_was_loaded_otherwise_is_another_market(market: Market, place: str, how: str) -> None:
    other = LOADED[how](place)
    assert market_text(other) != market_text(market)
    assert of(other) != of(market)


def test_another_dataset_is_another_market_though_its_bars_are_the_same(market: Market, tmp_path: Path) -> None:
    tables = ether()
    tables.series["risk_free"]["value"] *= 1.5
    assert of(load(tmp_path, tables)) != of(market)
    fewer = load(tmp_path / "fewer", only(ether(), SPOT, PERP))
    assert of(fewer) != of(market)


def test_strategy_capital_execution_and_window_count_and_what_is_fixed_does_not(market: Market) -> None:
    class Longer(Hold):
        def rule(self, market: Market) -> bt.Rule:
            return replace(super().rule(market), max_hold="2D")

    given: list[dict[str, Any]] = [
        {}, {"base": Longer}, {"base": Hold()}, {"base": Hold(enter=0.1)}, {"base": Hold(filters="regime")}, {"base": bt.on(Hold(), "ETH*")}, {"capital": 2e5},
        {"execution": bt.Execution()}, {"execution": bt.Execution(half_spread=0.0)},
    ]  # fmt: skip
    found = [of(market, **one) for one in given]
    assert len(set(found)) == len(given)
    assert of(market, fixed={"leverage": 2}) == of(market), "it is written with each combination"
    grid = Grid(Hold, market, 1e5, None, {})
    assert len({fingerprint(grid), fingerprint(grid, (0, 100)), fingerprint(grid, (0, 101)), fingerprint(grid, (1, 100))}) == 4


def test_another_engine_is_another_fingerprint(market: Market, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = of(market)
    source = tmp_path / "backtest"
    (source / "report").mkdir(parents=True)
    (source / "kernels.py").write_text("fee = 1")
    (source / "report" / "page.py").write_text("")
    monkeypatch.setattr(fingerprints, "ROOT", source)
    found = []
    for name, text in (("kernels.py", "fee = 1"), ("kernels.py", "fee = 2"), ("venues.toml", "fee = 2"), ("report/page.py", "colour = 1")):
        (source / name).write_text(text)
        engine.cache_clear()
        found.append(of(market))
    engine.cache_clear()
    assert len({before, *found}) == 4
    assert found[-1] == found[-2], "the engine isn't in the reports"
    monkeypatch.undo()
    assert of(market) == before
