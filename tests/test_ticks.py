"""Ticks to bars: a case worked by hand, a slow judge, and that it doesn't matter how the ticks are cut into blocks."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtest.data.ticks import Depth, Quotes, Ticks, Trades, in_step, refuse_ticks
from backtest.data.ticks import bars as tick_bars
from backtest.data.ticks.bars import TICK_BAR_COLUMNS, TickBars, bars_from_ticks
from backtest.data.ticks.book import Book, Change
from backtest.errors import DataError, ParameterError

ZERO = pd.Timestamp("2024-01-01T00:00Z").value
SECOND = 1_000_000_000
TEN = pd.Timedelta("10s")

Row = tuple[float, ...]


def ticks(*, quotes: list[Row] = (), trades: list[Row] = (), depth: list[Row] = ()) -> Ticks:  # type: ignore[assignment]
    """Ticks from rows that begin with the seconds since 2024-01-01."""

    def columns(rows: list[Row]) -> list[np.ndarray]:
        if not rows:
            return []
        seconds, *values = zip(*rows, strict=True)
        return [np.array([ZERO + round(each * SECOND) for each in seconds]), *(np.array(column, dtype=float) for column in values)]

    return Ticks(quotes=Quotes(*columns(quotes)), trades=Trades(*columns(trades)), depth=Depth(*columns(depth)))


def made(blocks: list[Ticks], length: pd.Timedelta = TEN, **more: Any) -> pd.DataFrame:
    frames = list(bars_from_ticks(blocks, length, **more))
    return pd.concat(frames) if frames else pd.DataFrame(columns=list(TICK_BAR_COLUMNS), index=pd.DatetimeIndex([], tz="UTC", name="ts"))


def seconds(bars: pd.DataFrame) -> list[float]:
    """Ends of bars in seconds since 2024-01-01."""
    return [(time.value - ZERO) / SECOND for time in bars.index]


# ---------------------------------------------------------------- by hand

GOLDEN = ticks(
    quotes=[(1, 99, 101, 5, 6), (10, 99.5, 100.5, 1, 2), (14, 99, 101, 3, 4), (18, 99.5, 100.5, 7, 8)],
    trades=[(3, 100, 1, 1), (12, 101, 2, 1), (15, 99, 1, 0), (20, 100, 4, 0), (31, 102, 1, 1)],
    depth=[(2, 1000, 5000), (15, 3000, math.nan), (25, 2000, 6000)],
)


def test_bars_worked_by_hand() -> None:
    bars = made([GOLDEN])
    # The first tick is at 1 s, so the bar (0, 10] is not whole; the last is at 31 s, so (30, 40] isn't either.
    assert seconds(bars) == [20, 30]
    assert list(bars.columns) == list(TICK_BAR_COLUMNS)
    assert (bars.index.name, str(bars.index.dtype), set(bars.dtypes.astype(str))) == ("ts", "datetime64[ns, UTC]", {"float64"})
    first, second = (bars.iloc[row].to_dict() for row in range(2))
    # (10, 20]: trades 101 × 2 bought, 99 × 1 sold, and at its very end 100 × 4 sold
    assert [first[name] for name in ("open", "high", "low", "close")] == [101, 101, 99, 100]
    assert [first[name] for name in ("volume", "taker_buy_volume", "trades")] == [7, 2, 3]
    # the quote of 18 s is in force at 20 s
    assert [first[name] for name in ("bid", "ask", "bid_size", "ask_size")] == [99.5, 100.5, 7, 8]
    # 10–14 s 1/100, 14–18 s 2/100, 18–20 s 1/100: (4·0.01 + 4·0.02 + 2·0.01) / 10
    assert first["spread"] == pytest.approx(0.014, rel=1e-15)
    # 10–15 s 1000, 15–20 s 3000
    assert first["depth_10bps"] == 2000
    # unknown from 15 s to 25 s
    assert math.isnan(first["depth_50bps"])
    assert math.isnan(second["depth_50bps"])
    # (20, 30]: nothing traded, so it stands at the last trade's price
    assert [second[name] for name in ("open", "high", "low", "close", "volume", "taker_buy_volume", "trades")] == [100] * 4 + [0] * 3
    assert (second["bid"], second["spread"]) == (99.5, pytest.approx(0.01, rel=1e-15))
    # 20–25 s 3000, 25–30 s 2000
    assert second["depth_10bps"] == 2500


def test_bars_that_are_not_whole_are_counted() -> None:
    maker = TickBars(TEN)
    frames = [*maker.feed(GOLDEN), *maker.finish()]
    assert (sum(map(len, frames)), maker.made, maker.left_out) == (2, 2, 2)
    assert TickBars(TEN).left_out == 0


def test_a_feed_that_is_whole_before_its_first_tick_and_after_its_last() -> None:
    maker = TickBars(TEN, start=pd.Timestamp(ZERO, tz="UTC"), end=pd.Timestamp(ZERO + 50 * SECOND, tz="UTC"))
    bars = pd.concat([*maker.feed(GOLDEN), *maker.finish()])
    assert seconds(bars) == [10, 20, 30, 40, 50]
    assert maker.left_out == 0
    # in (0, 10] the quote is known from 1 s on only: its spread over the bar is not
    assert (bars["volume"].iloc[0], bars["close"].iloc[0]) == (1, 100)
    assert math.isnan(bars["spread"].iloc[0])
    # (30, 40] and (40, 50] after the trade of 31 s
    assert bars["close"].tolist()[3:] == [102, 102]
    assert bars["trades"].tolist()[3:] == [1, 0]


def test_the_bar_that_ends_with_the_last_tick_is_whole() -> None:
    bars = made([ticks(trades=[(10, 5, 1, 1), (20, 6, 1, 1)])])
    assert seconds(bars) == [20]
    assert bars["close"].tolist() == [6]


def test_before_the_first_trade_bars_stand_at_the_mid_and_volume_is_unknown() -> None:
    bars = made([ticks(quotes=[(0, 99, 101, 1, 1), (25, 109, 111, 1, 1), (60, 109, 111, 1, 1)], trades=[(35, 120, 2, 1)])])
    assert seconds(bars) == [10, 20, 30, 40, 50, 60]
    assert bars["close"].tolist() == [100, 100, 110, 120, 120, 120]
    assert bars["open"].tolist() == bars["close"].tolist()
    np.testing.assert_array_equal(bars["volume"], [math.nan] * 3 + [2, 0, 0])
    np.testing.assert_array_equal(bars["trades"], [math.nan] * 3 + [1, 0, 0])


def test_trades_alone_make_bars_without_quotes() -> None:
    bars = made([ticks(trades=[(0, 5, 1, 1), (14, 6, 2, math.nan), (30, 7, 1, 0)])])
    assert bars["close"].tolist() == [5, 6, 7]
    np.testing.assert_array_equal(bars["taker_buy_volume"], [0, math.nan, 0])  # who took at 14 s is not known
    assert bars["volume"].tolist() == [0, 2, 1]
    assert bars[["bid", "ask", "spread", "depth_10bps"]].isna().all(axis=None)


def test_depth_alone_makes_no_bar_and_a_lacking_side_no_mid() -> None:
    maker = TickBars(TEN)
    lacking = ticks(depth=[(0, 1, 1), (30, 1, 1)], quotes=[(1, math.nan, 101, math.nan, 1)])
    assert [*maker.feed(lacking), *maker.finish()] == []
    assert (maker.made, maker.left_out) == (0, 4)


def test_across_a_silence_nothing_is_known() -> None:
    heard = ticks(quotes=[(0, 99, 101, 1, 1), (12, 99, 101, 1, 1), (80, 99, 101, 1, 1), (105, 99, 101, 1, 1)], trades=[(11, 50, 1, 1)])
    maker = TickBars(TEN, silence=pd.Timedelta("60s"))
    bars = pd.concat([*maker.feed(heard), *maker.finish()])
    # (10, 20] was not heard to its end; (70, 80] was not from its beginning; the trade of 11 s says nothing of later
    assert seconds(bars) == [10, 90, 100]
    assert bars["close"].tolist() == [100, 100, 100]
    assert maker.left_out == 12 - 3  # of the bars that end at 0 to 110 s
    assert seconds(made([heard], silence=pd.Timedelta("68s"))) == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]


def test_few_ticks_far_apart_come_in_many_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    sparse = ticks(trades=[(0, 5, 1, 1), (100, 6, 1, 1), (501, 7, 1, 0)])
    whole = list(bars_from_ticks([sparse], TEN))
    monkeypatch.setattr(tick_bars, "_MOST_BARS", 7)
    pieces = list(bars_from_ticks([sparse], TEN))
    assert len(whole) == 1
    assert len(pieces) > 5
    assert max(map(len, pieces)) <= 7
    pd.testing.assert_frame_equal(pd.concat(pieces), whole[0], check_exact=True)


@pytest.mark.parametrize(
    ("length", "silence", "message"), [("0s", "1s", r'^bar must be longer than zero: bar="0 days'), ("1s", "-1s", r"^silence must")]
)
def test_lengths_above_zero(length: str, silence: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        TickBars(pd.Timedelta(length), silence=pd.Timedelta(silence))


# ---------------------------------------------------------------- against a slow judge


def judged(block: Ticks, length: int, silence: int) -> dict[int, dict[str, float]]:
    """The bars by their end, every one by looking at all ticks of its stretch."""
    bars: dict[int, dict[str, float]] = {}
    for stretch in stretches(block, silence):
        times = [row[0] for rows in stretch.values() for row in rows]
        number = -(-min(times) // length) + 1
        while number * length <= max(times):
            bar = one_bar(stretch, number * length, length)
            if not math.isnan(bar["close"]):
                bars[number * length] = bar
            number += 1
    return bars


def stretches(block: Ticks, silence: int) -> Iterator[dict[str, list[Row]]]:
    rows = [(*row, kind) for kind in ("quotes", "trades", "depth") for row in zip(*getattr(block, kind), strict=True)]
    rows.sort(key=lambda row: int(row[0]))
    stretch: dict[str, list[Row]] = {"quotes": [], "trades": [], "depth": []}
    last = None
    for *row, kind in rows:
        if last is not None and row[0] - last > silence:
            yield stretch
            stretch = {"quotes": [], "trades": [], "depth": []}
        stretch[str(kind)].append((int(row[0]), *map(float, row[1:])))  # type: ignore[arg-type]
        last = row[0]
    if last is not None:
        yield stretch


def one_bar(stretch: dict[str, list[Row]], end: int, length: int) -> dict[str, float]:
    until = {kind: [row for row in rows if row[0] <= end] for kind, rows in stretch.items()}
    quote = until["quotes"][-1] if until["quotes"] else (0, *[math.nan] * 4)
    bar = dict(zip(("bid", "ask", "bid_size", "ask_size"), quote[1:], strict=True))
    inside = [row for row in until["trades"] if row[0] > end - length]
    before = until["trades"][-1][1] if until["trades"] else (bar["bid"] + bar["ask"]) / 2
    prices = [row[1] for row in inside] or [before]
    bar |= {"open": prices[0], "high": max(prices), "low": min(prices), "close": prices[-1]}
    seen = 0.0 if until["trades"] else math.nan
    bar |= {"volume": seen + sum(row[2] for row in inside), "trades": seen + len(inside)}
    bar["taker_buy_volume"] = seen + sum(row[2] * row[3] for row in inside)
    spreads = [(int(row[0]), (row[2] - row[1]) / ((row[2] + row[1]) / 2)) for row in stretch["quotes"]]
    bar["spread"] = mean_over_time(spreads, end - length, end)
    for place, name in ((1, "depth_10bps"), (2, "depth_50bps")):
        bar[name] = mean_over_time([(int(row[0]), row[place]) for row in stretch["depth"]], end - length, end)
    return bar


def mean_over_time(steps: list[tuple[int, float]], start: int, end: int) -> float:
    """Nanosecond for nanosecond would be slower still: each step's share of the bar."""
    area, covered = 0.0, 0
    for number, (time, value) in enumerate(steps):
        until = steps[number + 1][0] if number + 1 < len(steps) else end
        span = max(0, min(until, end) - max(time, start))
        if span and not math.isnan(value):
            area, covered = area + value * span, covered + span
    return area / (end - start) if covered == end - start else math.nan


TENTHS = st.lists(st.integers(0, 900), min_size=0, max_size=25).map(sorted)
MAYBE = st.floats(1, 1e6) | st.just(math.nan)


@st.composite
def feeds(draw: st.DrawFn) -> Ticks:
    """Some ticks within 90 seconds, several at the same instant, some values unknown."""

    def rows(*values: st.SearchStrategy[float]) -> list[Row]:
        return [(time / 10, *(draw(value) for value in values)) for time in draw(TENTHS)]

    sizes = st.floats(0, 100)
    quotes = [
        (time, bid, bid + gap, one, other)
        for time, bid, gap, one, other in rows(st.floats(1, 10) | st.just(math.nan), st.floats(0, 5), sizes, sizes)
    ]
    return ticks(quotes=quotes, trades=rows(st.floats(1, 10), sizes, st.sampled_from([0.0, 1.0])), depth=rows(MAYBE, MAYBE))


LENGTHS = st.sampled_from([SECOND, 10 * SECOND, 7 * SECOND // 10])
SILENCES = st.sampled_from([3 * SECOND, 86_400 * SECOND])


@given(feeds(), LENGTHS, SILENCES)
def test_bars_are_those_of_the_judge(block: Ticks, length: int, silence: int) -> None:
    bars = made([block], pd.Timedelta(length), silence=pd.Timedelta(silence))
    expected = judged(block, length, silence)
    assert [time.value for time in bars.index] == list(expected)
    for name in TICK_BAR_COLUMNS:
        np.testing.assert_allclose(
            bars[name].to_numpy(dtype=float), [bar[name] for bar in expected.values()], rtol=1e-12, atol=1e-12, err_msg=name
        )


@given(feeds(), LENGTHS, SILENCES, st.lists(st.integers(0, 900), max_size=6).map(sorted))
def test_cutting_into_blocks_changes_nothing(block: Ticks, length: int, silence: int, cuts: list[int]) -> None:
    blocks, rest = [], block
    for cut in cuts:
        first, rest = rest.split(ZERO + cut * SECOND // 10)
        blocks.append(first)
    one = TickBars(pd.Timedelta(length), silence=pd.Timedelta(silence))
    whole = [*one.feed(block), *one.finish()]
    many = TickBars(pd.Timedelta(length), silence=pd.Timedelta(silence))
    pieces = [frame for part in [*blocks, rest] for frame in many.feed(part)] + list(many.finish())
    assert (many.made, many.left_out) == (one.made, one.left_out)
    assert bool(pieces) == bool(whole)
    if whole:
        pd.testing.assert_frame_equal(pd.concat(pieces), pd.concat(whole), check_exact=True)


@given(feeds(), st.integers(1, 4), st.integers(1, 4))
def test_streams_of_one_market_in_step_are_one_stream(block: Ticks, quotes_a_block: int, trades_a_block: int) -> None:
    def sliced(kind: Any, size: int) -> Iterator[Any]:
        for row in range(0, len(kind.ts), size):
            yield kind._make(column[row : row + size] for column in kind)

    quotes = (Ticks(quotes=part) for part in sliced(block.quotes, quotes_a_block))
    trades = (Ticks(trades=part) for part in sliced(block.trades, trades_a_block))
    joined = list(in_step(quotes, trades, [Ticks(), Ticks(depth=block.depth)]))
    for kind in ("quotes", "trades", "depth"):
        for number, column in enumerate(getattr(block, kind)):
            parts = [getattr(each, kind)[number] for each in joined]
            np.testing.assert_array_equal(np.concatenate([column[:0], *parts]), column)
    stamps = [each.stamps for each in joined]
    assert all(before[-1] <= after[0] for before, after in itertools.pairwise(stamps))
    if joined:
        pd.testing.assert_frame_equal(made(joined), made([block]), check_exact=True)


# ---------------------------------------------------------------- ticks that can't be true

QUOTE, TRADE = (0, 99, 101, 1, 1), (0, 100, 1, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"quotes": [QUOTE, (1, 102, 101, 1, 1)]}, r"^quotes row 1: ask 101 is below bid 102; a book is never crossed"),
        ({"quotes": [(0, -3, 101, 1, 1)]}, r"^quotes row 0: bid is -3; prices must be above 0 and finite; correct the row or remove it$"),
        ({"quotes": [(0, 3, math.inf, 1, 1)]}, r"^quotes row 0: ask is inf; prices must be above 0"),
        ({"quotes": [(0, 99, 101, -1, 1)]}, r"^quotes row 0: bid_size is -1; it must not be negative"),
        ({"trades": [TRADE, (1, 0, 1, 1)]}, r"^trades row 1: price is 0; prices must be above 0"),
        ({"trades": [(0, math.nan, 1, 1)]}, r"^trades row 0: price is nan; prices must be above 0"),
        ({"trades": [(0, 100, -1, 1)]}, r"^trades row 0: size is -1; it must not be negative"),
        ({"trades": [(0, 100, 1, 2)]}, r"^trades row 0: taker_buy is 2; it is 1 for a taker that bought"),
        ({"depth": [(0, -5, 1)]}, r"^depth row 0: depth_10bps is -5; it must not be negative"),
        (
            {"trades": [(5, 100, 1, 1), (4, 100, 1, 1)]},
            r"^trades row 1: time 2024-01-01T00:00:04.000000Z comes after 2024-01-01T00:00:05.000000Z",
        ),
        ({"trades": [(-1e9, 100, 1, 1)]}, r"^trades row 0: time 704067200000000000 is not nanoseconds since 1970 of the years 2000–2100"),
    ],
)
def test_wrong_ticks_are_refused(wrong: dict[str, list[Row]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        refuse_ticks(ticks(**wrong))
    with pytest.raises(DataError, match=message):
        list(in_step([ticks(**wrong)]))
    with pytest.raises(DataError, match=message):
        list(bars_from_ticks([ticks(**wrong)], TEN))


def test_a_block_before_the_last_is_refused() -> None:
    with pytest.raises(DataError, match=r"^quotes row 0: time 2024-01-01T00:00:00.000000Z comes after 2024-01-01T00:00:05"):
        list(bars_from_ticks([ticks(trades=[(5, 100, 1, 1)]), ticks(quotes=[QUOTE])], TEN))


# ---------------------------------------------------------------- the book

# mid 100; 10 bps reach 99.9–100.1, 50 bps 99.5–100.5
BIDS = [(99.99, 1.0), (99.9, 2.0), (99.6, 3.0), (99.4, 4.0)]
ASKS = [(100.01, 1.0), (100.1, 2.0), (100.4, 3.0), (100.6, 4.0)]


def test_depths_of_a_snapshot_by_hand() -> None:
    book = Book()
    assert (book.known, math.isnan(book.depths()[0])) == (False, True)
    book.take_snapshot(10, BIDS, ASKS)
    assert (book.known, book.best()) == (True, (99.99, 100.01))
    # 99.99 + 2·99.9 + 100.01 + 2·100.1, and with 3·99.6 + 3·100.4
    assert book.depths() == (pytest.approx(600), pytest.approx(1200))


def test_changes_set_add_and_remove_levels() -> None:
    book = Book()
    book.take_snapshot(10, BIDS, ASKS)
    book.take_change(Change(10, 12, [(99.99, 0.0), (99.95, 5.0), (99.0, 9.0)], [(100.05, 1.0), (100.1, 4.0), (100.01, 0.0), (100.3, 0.0)]))
    # best 99.95 / 100.05: 5·99.95 + 2·99.9 + 100.05 + 4·100.1
    assert book.best() == (99.95, 100.05)
    assert book.depths()[0] == pytest.approx(499.75 + 199.8 + 100.05 + 400.4)
    # 99.0 lies beyond the snapshot, where the book is not known, and is not kept
    assert book.bids.prices.tolist() == [99.4, 99.6, 99.9, 99.95]


def test_a_depth_is_unknown_where_the_snapshot_ends_before_its_reach() -> None:
    book = Book()
    book.take_snapshot(10, BIDS[:3], ASKS)
    ten, fifty = book.depths()
    assert ten == pytest.approx(600)
    assert math.isnan(fifty)


def test_changes_older_than_the_snapshot_are_passed_over_and_those_kept_from_before_it_applied() -> None:
    book = Book()
    book.take_change(Change(5, 9, [(99.99, 50.0)], []))  # the snapshot holds it
    book.take_change(Change(9, 11, [(99.99, 7.0)], []))  # the snapshot, of update 10, lies within it
    book.take_snapshot(10, BIDS, ASKS)
    assert book.known
    assert book.bids.sizes[-1] == 7
    book.take_change(Change(3, 8, [(99.99, 60.0)], []))
    assert book.bids.sizes[-1] == 7
    assert book.lost == 0


def test_a_lost_change_makes_the_book_unknown_until_the_next_snapshot() -> None:
    book = Book()
    book.take_snapshot(10, BIDS, ASKS)
    book.take_change(Change(11, 14, [], []))
    assert (book.known, book.lost, math.isnan(book.best()[0])) == (False, 1, True)
    book.take_change(Change(14, 15, [], []))
    assert (book.known, book.lost) == (False, 1)
    book.take_snapshot(14, BIDS, ASKS)
    assert book.known
    assert book.depths()[0] == pytest.approx(600)


def test_partial_books_are_snapshots_and_give_way_to_a_whole_one() -> None:
    book = Book()
    book.take_snapshot(None, BIDS[:2], ASKS[:2])
    assert book.depths()[0] == pytest.approx(600)
    book.take_change(Change(12, 14, [(99.99, 50.0)], []))
    assert (book.lost, book.bids.sizes[-1]) == (0, 1)
    book.take_snapshot(14, BIDS, ASKS)
    book.take_snapshot(None, BIDS[:1], ASKS[:1])
    assert book.depths() == (pytest.approx(600), pytest.approx(1200))


def test_a_crossed_or_one_sided_book_has_no_depth() -> None:
    book = Book()
    book.take_snapshot(1, [(101.0, 1.0)], [(100.0, 1.0)])
    assert math.isnan(book.depths()[0])
    book.take_snapshot(1, [], ASKS)
    assert math.isnan(book.depths()[0])
