"""Funding as it is paid and as it is expected: against slow loops written from the words, and cases worked by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import BARS, PERP, SPOT, START, bars, ether, funding, in_memory, load, only, perpetual, spot, times

from backtest.errors import DataError, ParameterError
from backtest.execution import MissingFunding
from backtest.market import Market
from backtest.payments import coin_funding, continuous, expected_payments, funding_accrual

HOUR = 3_600 * 10**9
ERROR, FILL = MissingFunding.ERROR, MissingFunding.FILL
NAN = np.nan


# ---------------------------------------------------------------- the words as loops


def slow_price(market: Market, name: str, time: int, own: float, on_index: bool) -> float:
    """The event's own mark; else the last index (where it is the notional), the last mark, the last close of a bar with stamp ≤ its instant."""
    if not np.isnan(own):
        return own
    for column in ("index", "mark", "close") if on_index else ("mark", "close"):
        values = market.raw(name, column)
        for bar in reversed(range(len(market))):
            if market.stamps[bar] <= time and not np.isnan(values[bar]):
                return float(values[bar])
    return NAN


def slow_amount(inverse: bool, rate: float, price: float) -> float:
    if np.isnan(price):
        return 0.0
    return rate / price if inverse else -rate * price


def slow_coin(market: Market, coin: Any, time: int) -> float:
    known = [float(coin[bar]) for bar in range(len(market)) if market.stamps[bar] <= time]
    return known[-1] if known and not np.isnan(known[-1]) else 0.0


def slow_accrual(market: Market, name: str, on_index: bool, *, inverse: bool = False, coin: Any = None, shift: int = 0) -> list[float]:
    """Every event in turn goes to the bar that its (shifted) instant lies in, at the price of its own instant."""
    out, total, begin = [], 0.0, market.start
    events = market.funding(name)
    for end in market.stamps.tolist():
        for time, rate, own in zip(events.times.tolist(), events.rates, events.marks, strict=True):
            if begin < time + shift <= end:
                paid = slow_amount(inverse, float(rate), slow_price(market, name, time, float(own), on_index))
                total += paid * (slow_coin(market, coin, time) if coin is not None else 1.0)
        out.append(total)
        begin = end
    return out


def slow_continuous(market: Market, name: str, *, inverse: bool = False, coin: Any = None) -> list[float]:
    """Walk all instants: a bar's end accrues the last row's rate for the time since, a row pays what it says less what has accrued towards it."""
    events = market.funding(name)
    rows = list(zip(events.times.tolist(), events.rates.tolist(), events.marks.tolist(), (events.hours * HOUR).tolist(), strict=True))
    out, total, accrued, last, begin = [], 0.0, 0.0, None, market.start
    for row in [row for row in rows if row[0] <= market.start]:
        last = row
    following = [row for row in rows if row[0] > market.start]
    if last is not None and following:
        there = min(market.start - last[0], last[3]) / last[3]
        accrued = slow_amount(inverse, last[1] * there, slow_price(market, name, following[0][0], following[0][2], True))

    def pay(amount: float, time: int) -> float:
        return amount * (slow_coin(market, coin, time) if coin is not None else 1.0)

    for end in market.stamps.tolist():
        for row in [row for row in rows if begin < row[0] <= end]:
            total += pay(slow_amount(inverse, row[1], slow_price(market, name, row[0], row[2], True)) - accrued, row[0])
            accrued, last = 0.0, row
        if last is not None:
            length = min(end, last[0] + last[3]) - max(begin, last[0])
            amount = slow_amount(inverse, last[1] * max(length, 0) / last[3], slow_price(market, name, end, NAN, True))
            total, accrued = total + pay(amount, end), accrued + amount
        out.append(total)
        begin = end
    return out


# ---------------------------------------------------------------- markets


def any_market(seed: int, venue: str, inverse: bool = False, step: float = 0.5, count: int = 60) -> Market:
    """Half hours with holes, marks and indices that are known at times, events on and between bars' ends, some with a mark of their own."""
    random = np.random.default_rng(seed)
    price = 2000.0 + np.cumsum(random.normal(0.0, 10.0, count))
    opens = np.where(random.random(count) < 0.2, NAN, price)
    columns = {
        name: np.where(random.random(count) < 0.5, NAN, price * (1.0 + random.normal(0.0, 0.01, count))) for name in ("mark", "index")
    }
    hours = np.sort(random.choice(np.arange(-8, 8 * int(count * step)), 24, replace=False)) / 8.0
    marks = np.where(random.random(24) < 0.7, NAN, 2100.0)
    events = [
        (hour, random.normal(0.0, 0.01), float(random.choice([1.0, 4.0, 8.0])), mark) for hour, mark in zip(hours, marks, strict=True)
    ]
    more: dict[str, Any] = {"face": 10.0} if inverse else {}
    contract = perpetual(opens, columns=columns, funding=events, venue=venue, **more)
    return in_memory({"P": contract, "S": spot(price * 1.001, venue=venue)}, step=step)


SEEDS = pytest.mark.parametrize("seed", range(6))


# ---------------------------------------------------------------- what is paid


@SEEDS
@pytest.mark.parametrize(("venue", "on_index"), [("binance", False), ("hyperliquid", True), ("dydx", True), ("kraken", False)])
def test_every_event_is_paid_in_its_bar_at_the_venues_notional(seed: int, venue: str, on_index: bool) -> None:
    market = any_market(seed, venue)
    np.testing.assert_allclose(funding_accrual(market, "P", ERROR), slow_accrual(market, "P", on_index), rtol=1e-12, atol=1e-12)


def test_the_notional_is_the_index_for_an_oracle_and_the_mark_else() -> None:
    """100·1% at the mark, 110·1% at the oracle's price of the bar, 120·1% at the event's own, 90·1% at the close where nothing else is known."""
    columns = {"mark": [100.0] * 4, "index": [110.0] * 4}
    events = [(1.0, 0.01), (2.0, 0.01, 1.0), (3.0, 0.01, 1.0, 120.0)]
    for venue, expected in (("binance", [-1.0, -2.0, -3.2, -3.2]), ("hyperliquid", [-1.1, -2.2, -3.4, -3.4])):
        market = in_memory({"P": perpetual([90.0] * 4, columns=columns, funding=events, venue=venue)})
        np.testing.assert_allclose(funding_accrual(market, "P", ERROR), expected)
    bare = in_memory({"P": perpetual([90.0] * 4, funding=events[:1], venue="hyperliquid")})
    np.testing.assert_allclose(funding_accrual(bare, "P", ERROR), -0.9)


def test_a_venue_without_a_rule_book_pays_on_the_mark() -> None:
    market = in_memory(
        {"P": perpetual([90.0] * 2, columns={"mark": [100.0] * 2, "index": [1.0] * 2}, funding=[(1.0, 0.01)], venue="the bank")}
    )
    np.testing.assert_allclose(funding_accrual(market, "P", ERROR), -1.0)
    assert not continuous(market, "P")


@SEEDS
def test_an_inverse_contract_pays_in_coins_and_they_are_worth_what_the_coin_was(seed: int) -> None:
    market = any_market(seed, "binance", inverse=True)
    coin = market.last_known("S")
    coins, worth = coin_funding(market, "P", ERROR, coin)
    np.testing.assert_allclose(coins, slow_accrual(market, "P", False, inverse=True), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(worth, slow_accrual(market, "P", False, inverse=True, coin=coin), rtol=1e-12, atol=1e-12)


def test_inverse_funding_by_hand() -> None:
    """1000 USD of face held short at 1% with a mark of 2000 get 0.005 ETH; at the coin's last close of 1900 before the event these are 9.5 USD."""
    contract = perpetual([2000.0, 2100.0], funding=[(1.5, 0.01, 8.0, 2000.0)], face=10.0)
    market = in_memory({"P": contract, "S": spot([1800.0, 2500.0], [1900.0, 2500.0])})
    coins, worth = coin_funding(market, "P", ERROR, market.last_known("S"))
    np.testing.assert_allclose(1000.0 * coins, [0.0, 0.005])
    np.testing.assert_allclose(1000.0 * worth, [0.0, 9.5])


def test_an_event_before_any_price_pays_nothing() -> None:
    market = in_memory({"P": perpetual([NAN, NAN, 100.0], funding=[(1.0, 0.01), (3.0, 0.01)], face=10.0), "S": spot([NAN, NAN, 100.0])})
    coins, worth = coin_funding(market, "P", ERROR, market.last_known("S"))
    np.testing.assert_allclose(coins, [0.0, 0.0, 1e-4])
    np.testing.assert_allclose(worth, [0.0, 0.0, 1e-2])


# ---------------------------------------------------------------- missing events and intervals


def lacking(tmp_path: Path, index: pd.DatetimeIndex, rates: Any, hours: Any, drop: list[int]) -> Market:
    tables = only(ether(), SPOT, PERP)
    flat = bars(np.full(BARS, 100.0), pd.DatetimeIndex(tables.bars[SPOT].index))
    tables.bars = {SPOT: flat, PERP: flat}
    events = funding(index, rates, hours)
    tables.funding[PERP] = events.drop(events.index[drop])
    return load(tmp_path, tables)


def shortening() -> tuple[pd.DatetimeIndex, Any]:
    """Six intervals of 8 h, nine of 4 h, then hourly: when it was paid, and how many hours each covers."""
    eights, fours = times(START, 7, "8h"), times(START + pd.Timedelta("52h"), 9, "4h")
    ones = times(START + pd.Timedelta("85h"), BARS - 84, "1h")
    return eights.append([fours, ones]), np.concatenate([np.full(7, 8.0), np.full(9, 4.0), np.full(len(ones), 1.0)])


def test_an_interval_that_shortens_from_8_to_4_to_1_hours_lacks_nothing(tmp_path: Path) -> None:
    """Every row is paid at its own hour, none of them is missing, and the next one is expected after the row's own interval."""
    index, hours = shortening()
    market = lacking(tmp_path, index, 1e-4, hours, [])
    assert len(market.missing_funding(PERP)) == 0
    paid = np.flatnonzero(np.diff(funding_accrual(market, PERP, ERROR), prepend=0.0))
    assert market.clock[paid].tolist() == index[1:].tolist()
    np.testing.assert_allclose(funding_accrual(market, PERP, ERROR)[-1], -0.01 * (len(index) - 1))
    due = expected_payments(market, PERP, 8 * HOUR).next_payment
    at = {hour: (due[hour - 1] - START.value) / HOUR for hour in (47, 48, 51, 52, 83, 84, 85, 150)}
    assert at == {47: 48, 48: 56, 51: 56, 52: 56, 83: 84, 84: 88, 85: 86, 150: 151}


def test_an_interval_that_lengthens_lacks_nothing(tmp_path: Path) -> None:
    index = times(START, 49, "1h").append(times(START + pd.Timedelta("56h"), 19, "8h"))
    market = lacking(tmp_path, index, 1e-4, np.concatenate([np.ones(49), np.full(19, 8.0)]), [])
    assert len(market.missing_funding(PERP)) == 0


@pytest.mark.parametrize(("drop", "hour"), [(3, 24), (10, 64), (40, 109)])
def test_a_row_that_is_missing_in_each_interval_is_named(tmp_path: Path, drop: int, hour: int) -> None:
    index, hours = shortening()
    market = lacking(tmp_path, index, 1e-4, hours, [drop])
    when = f"{START + pd.Timedelta(hours=hour):%Y-%m-%dT%H:%MZ}"
    message = rf'^ETHUSDT-PERP: 1 funding event is missing, first {when}, last {when}; import them, end the run at .* \(--end\), or choose funding="fill"$'
    with pytest.raises(DataError, match=message):
        funding_accrual(market, PERP, ERROR)
    np.testing.assert_allclose(funding_accrual(market, PERP, FILL)[-1], -0.01 * (len(index) - 1))


def test_filling_takes_the_mean_of_the_neighbours(tmp_path: Path) -> None:
    """Events of 1, 2, 4, 8 … millionths; numbers 3, 4 and 9 lack: 3 and 4 become (2² + 2⁵)/2, 9 becomes (2⁸ + 2¹⁰)/2."""
    rates = np.concatenate([2.0 ** np.arange(12), np.zeros(14)]) * 1e-6
    market = lacking(tmp_path, times(START, 26, "8h"), rates, 8.0, [3, 4, 9])
    filled = funding_accrual(market, PERP, FILL)
    expected = [2, 4, 18, 18, 32, 64, 128, 256, 640, 1024, 2048]
    np.testing.assert_allclose(np.diff(filled[[8 * number - 2 for number in range(1, 13)]]), -100e-6 * np.array(expected, dtype=float))
    with pytest.raises(
        DataError, match=r"^ETHUSDT-PERP: 3 funding events are missing, first 2024-03-02T00:00Z, last 2024-03-04T00:00Z; import them, end"
    ):
        funding_accrual(market, PERP, ERROR)


def test_what_lacks_from_the_beginning_is_not_filled(tmp_path: Path) -> None:
    market = lacking(tmp_path, times(START, 26, "8h"), 1e-4, 8.0, [0, 1])
    with pytest.raises(
        DataError,
        match=r"^ETHUSDT-PERP: 1 funding event is missing, first 2024-03-01T08:00Z, last .*; import them, end the run at 2024-03-01T07:00Z \(--end\)$",
    ):
        funding_accrual(market, PERP, FILL)


def test_where_nothing_can_run_before_it_another_start_is_the_remedy(tmp_path: Path) -> None:
    index = times(START + pd.Timedelta("1h"), BARS, "1h")
    market = lacking(tmp_path, index, 1e-4, 1.0, [0])
    with pytest.raises(DataError, match=r"first 2024-03-01T01:00Z, last 2024-03-01T01:00Z; import them, choose a later start$"):
        funding_accrual(market, PERP, ERROR)


# ---------------------------------------------------------------- the snapshot


def seconds(events: list[tuple[float, ...]], **more: Any) -> Market:
    """Ten bars of ten seconds at 100, 101, …: closes are known at 10 s, 20 s, …"""
    prices = 100.0 + np.arange(10.0)
    return in_memory({"P": perpetual(prices, funding=events, **more)}, step=10 / 3600)


@pytest.mark.parametrize(("snapshot", "bar"), [(0.0, 3), (15.0, 5), (-15.0, 2), (10.0, 4), (-10.0, 2), (0.5, 4)])
def test_a_snapshot_moves_the_bar_and_not_the_price(snapshot: float, bar: int) -> None:
    """The event of second 40 has the close of second 40, which is 103, in whichever bar its position is taken."""
    market = seconds([(40 / 3600, 0.01)])
    accrual = funding_accrual(market, "P", ERROR, snapshot=snapshot)
    np.testing.assert_allclose(accrual, np.where(np.arange(10) >= bar, -1.03, 0.0))
    np.testing.assert_allclose(accrual, slow_accrual(market, "P", False, shift=round(snapshot * 1e9)))


def test_a_snapshot_may_move_a_payment_out_of_the_market() -> None:
    market = seconds([(5 / 3600, 0.01), (98 / 3600, 0.01)])
    np.testing.assert_allclose(funding_accrual(market, "P", ERROR, snapshot=10.0), np.zeros(10), err_msg="no close is known at second 5")
    market = seconds([(5 / 3600, 0.01, 8.0, 100.0), (98 / 3600, 0.01)])
    assert funding_accrual(market, "P", ERROR, snapshot=10.0)[-1] == pytest.approx(-1.0)
    assert funding_accrual(market, "P", ERROR, snapshot=-10.0)[-1] == pytest.approx(-1.08)


def test_a_payment_is_expected_when_its_position_is_taken() -> None:
    market = seconds([(20 / 3600, 0.01, 30 / 3600)])
    due = expected_payments(market, "P", 8 * HOUR, snapshot=5.0).next_payment
    assert ((due - market.start) / 10**9).tolist() == [-market.start / 1e9] * 2 + [55.0] * 3 + [-market.start / 1e9] * 5


def test_a_snapshot_that_says_nothing_is_refused() -> None:
    with pytest.raises(
        ParameterError, match=r"^funding_snapshot must lie within 60 seconds of the payment: funding_snapshot=-61; Binance allows"
    ):
        funding_accrual(seconds([]), "P", ERROR, snapshot=-61.0)
    minutes = in_memory({"P": perpetual([100.0] * 3, funding=[])}, step=1 / 60)
    with pytest.raises(
        ParameterError, match=r"^funding_snapshot needs bars shorter than a minute: funding_snapshot=15 with bars of 60 seconds, whose"
    ):
        funding_accrual(minutes, "P", ERROR, snapshot=15.0)
    with pytest.raises(ParameterError, match=r"^funding_snapshot=15 can do nothing: deribit pays P continuously; leave it out$"):
        funding_accrual(seconds([], venue="deribit"), "P", ERROR, snapshot=15.0)
    assert len(funding_accrual(minutes, "P", ERROR, snapshot=0.0)) == 3


# ---------------------------------------------------------------- continuous funding


@SEEDS
@pytest.mark.parametrize("step", [0.125, 0.5, 3.0])
def test_continuous_funding_accrues_inside_a_row_and_is_trued_up_at_it(seed: int, step: float) -> None:
    market = any_market(seed, "deribit", step=step, count=max(int(30 / step), 12))
    np.testing.assert_allclose(funding_accrual(market, "P", ERROR), slow_continuous(market, "P"), rtol=1e-10, atol=1e-10)


@SEEDS
def test_continuous_inverse_funding_too(seed: int) -> None:
    market = any_market(seed, "deribit", inverse=True)
    coin = market.last_known("S")
    coins, worth = coin_funding(market, "P", ERROR, coin)
    np.testing.assert_allclose(coins, slow_continuous(market, "P", inverse=True), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(worth, slow_continuous(market, "P", inverse=True, coin=coin), rtol=1e-10, atol=1e-10)


def test_continuous_funding_by_hand() -> None:
    """Hourly rows of 0.1%, 0.2%, 0.4% on an index of 100, bars of a quarter of an hour.

    After the first row each quarter accrues 0.025; the second row says 0.2 and pays the 0.2 − 3·0.025 that are left; then 0.05 a quarter, and 0.4 − 0.15.
    """
    rows = [(1.0, 0.001, 1.0), (2.0, 0.002, 1.0), (3.0, 0.004, 1.0)]
    market = in_memory({"P": perpetual([100.0] * 18, columns={"index": [100.0] * 18}, funding=rows, venue="deribit")}, step=0.25)
    paid = -np.diff(funding_accrual(market, "P", ERROR), prepend=0.0)
    np.testing.assert_allclose(paid[:4], [0.0, 0.0, 0.0, 0.1], err_msg="before any row no rate is known")
    np.testing.assert_allclose(paid[4:8], [0.025, 0.025, 0.025, 0.125])
    np.testing.assert_allclose(paid[8:12], [0.05, 0.05, 0.05, 0.25])
    np.testing.assert_allclose(paid[12:], [0.1, 0.1, 0.1, 0.1, 0.0, 0.0], err_msg="for as long as the last row covers")
    assert continuous(market, "P")


def test_who_held_all_the_time_gets_the_rows_whatever_the_bars() -> None:
    """Real-like hourly rows with their own index price: the sum at each row's instant is the sum of rows, on bars of a minute as of an hour."""
    random = np.random.default_rng(3)
    rows = [(float(hour), random.normal(0.0, 1e-4), 1.0, 3000.0 + hour) for hour in range(0, 13)]
    for step in (1 / 60, 0.25, 1.0):
        count = round(12 / step)
        market = in_memory({"P": perpetual(3000.0 + random.normal(0.0, 5.0, count), funding=rows, venue="deribit")}, step=step)
        accrual = funding_accrual(market, "P", ERROR)[round(1 / step) - 1 :: round(1 / step)]
        np.testing.assert_allclose(accrual, np.cumsum([-rate * price for _, rate, _, price in rows[1:]]), rtol=1e-12)


def test_the_part_of_a_row_before_the_market_is_nobodys() -> None:
    """A row of 8 h that began 6 h before the market's start: a quarter of it is paid in the market, at the rate before in its bars and the rest at its end."""
    rows = [(-6.0, 0.008, 8.0), (2.0, 0.008, 8.0)]
    market = in_memory({"P": perpetual([100.0] * 2, funding=rows, venue="deribit")})
    np.testing.assert_allclose(funding_accrual(market, "P", ERROR), [-0.1, -0.2])


def test_no_later_row_changes_what_accrued_before() -> None:
    rows = [(1.0, 0.001, 1.0), (2.0, 0.002, 1.0), (3.0, 0.004, 1.0)]
    one, other = (
        in_memory({"P": perpetual([100.0] * 16, funding=[*rows[:2], (3.0, last, 1.0)], venue="deribit")}, step=0.25)
        for last in (0.004, -0.5)
    )
    np.testing.assert_array_equal(funding_accrual(one, "P", ERROR)[:11], funding_accrual(other, "P", ERROR)[:11])


def test_a_continuous_venue_without_rows_is_an_error(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, PERP)
    tables.instruments = [item if item.id == SPOT else type(item)(**{**item.__dict__, "venue": "deribit"}) for item in tables.instruments]
    tables.funding = {}
    with pytest.raises(
        DataError, match=r'^venue "deribit" pays funding continuously and has no interval; import the funding that was paid$'
    ):
        funding_accrual(load(tmp_path, tables), PERP, ERROR)


# ---------------------------------------------------------------- what is expected


@SEEDS
@pytest.mark.parametrize("wait", [HOUR, 3 * HOUR, 8 * HOUR])
def test_the_next_payment_is_the_last_event_plus_its_interval(seed: int, wait: int) -> None:
    market = any_market(seed, "binance")
    events, found = market.funding("P"), expected_payments(market, "P", wait)
    for bar, stamp in enumerate(market.stamps.tolist()):
        last = [number for number, time in enumerate(events.times.tolist()) if time <= stamp]
        due = events.times[last[-1]] + round(events.hours[last[-1]] * HOUR) if last else 0
        due = due if due > stamp else 0
        near = bool(due) and due - stamp <= wait
        assert found.next_payment[bar] == due
        assert found.time[bar] == (due if near else 0)
        assert found.rate[bar] == (events.rates[last[-1]] if near else 0.0)


def test_nothing_is_expected_before_the_first_event_without_events_or_where_funding_never_stops() -> None:
    rows = [(1.0, 0.001, 1.0)]
    for name, item in (("late", perpetual([1.0] * 3, funding=[(9.0, 0.1)])), ("none", perpetual([1.0] * 3)), ("ever", perpetual([1.0] * 3, funding=rows, venue="deribit"))):  # fmt: skip
        found = expected_payments(in_memory({"P": item}), "P", 8 * HOUR)
        assert not np.any(found.time), name
        assert not np.any(found.next_payment), name
        assert not np.any(found.rate), name
