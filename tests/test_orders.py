"""Room, spread, impact and stress of each bar against loops written from the words of `semantics.md`; that no later bar has a say in them; what is refused."""

import math
import re
from dataclasses import replace
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import BARS, FAR, HOUR, NEAR, NEAR_EXPIRY, PERP, SPOT, START, ether, load, only, series, times
from rich_market import rich

import backtest as bt
from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.execution import Execution
from backtest.kernels import IMPACT, ROOM_BUY, ROOM_SELL, STRESS
from backtest.market import Market
from backtest.orders import (
    check_orders,
    fill_half_spread,
    fill_orders,
    half_spread_terms,
    illiquid,
    illiquid_contract,
    lay,
    limited,
    row_of,
    stress_multiplier,
    traded_value,
)
from backtest.rule import Rule

DAY = pd.Timedelta(days=1)
WHOLE = slice(0, BARS)
BP = 0.0001


def busy(seed: int = 6) -> Tables:
    """The small market with quotes, volumes and depths, each with holes; the near future's depth is a series that is known late, the far one's the narrow column."""
    tables, random = ether(), np.random.default_rng(seed)
    for name, frame in tables.bars.items():
        count = len(frame)
        half = frame["close"] * 0.0005 * random.lognormal(0.0, 0.5, count)
        volume = np.where(random.random(count) < 0.1, nan, np.floor(random.lognormal(2.0, 2.0, count) * 1000.0) / 1000.0)
        frame = frame.assign(bid=frame["close"] - half, ask=frame["close"] + half, volume=volume)
        wide = random.random(count) < 0.6
        frame["high"] = np.where(wide, frame["high"], np.maximum(frame["open"], frame["close"]))
        frame["low"] = np.where(wide, frame["low"], np.minimum(frame["open"], frame["close"]))
        tables.bars[name] = frame
    tables.bars[PERP].iloc[30:35, tables.bars[PERP].columns.get_indexer(["bid", "ask"])] = nan
    tables.bars[PERP].iloc[100:140, tables.bars[PERP].columns.get_indexer(["volume"])] = 0.0
    depths = np.where(random.random(BARS) < 0.2, nan, np.floor(1e6 * random.lognormal(0.0, 0.5, BARS)))
    depths[50:53] = 0.0
    tables.bars[PERP] = tables.bars[PERP].assign(depth_50bps=depths)
    tables.bars[PERP] = tables.bars[PERP].drop(tables.bars[PERP].index[70:75])
    tables.bars[SPOT] = tables.bars[SPOT].assign(depth_50bps=np.floor(1e6 * random.lognormal(0.0, 0.5, BARS)))
    tables.bars[FAR] = tables.bars[FAR].drop(tables.bars[FAR].index[:20])
    tables.bars[FAR] = tables.bars[FAR].assign(depth_10bps=np.floor(1e6 * random.lognormal(0.0, 0.5, BARS - 20)))
    hours = times(START + 10 * HOUR, 31, "6h")
    tables.series[f"{NEAR}.depth_50bps"] = series(hours, np.floor(1e6 * random.lognormal(0.0, 0.5, 31)), "90min")
    return tables


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("orders"), busy())


def bars_of(market: Market, name: str) -> slice:
    """The bars that a contract has on its slot's tape: all for a spot or perpetual, from its first to its expiry for a future."""
    if name in (SPOT, PERP):
        return slice(0, len(market))
    expiry = market.instruments[name].expires_at
    assert expiry is not None
    return slice(market.first_bar(name), min(int(np.searchsorted(market.stamps, expiry.value)), len(market) - 1) + 1)


def orders(market: Market, name: str, slot: int = 0, bars: slice | None = None, **settings: Any) -> Any:
    """The four rows of one contract."""
    bars, execution = bars or bars_of(market, name), Execution(**settings)
    out = np.full((4, bars.stop - bars.start), -7.0)
    fill_orders(out, market, name, bars, execution, slot, stress_multiplier(market, execution))
    return out


def spreads(market: Market, name: str, slot: int = 0, **settings: Any) -> Any:
    bars = bars_of(market, name)
    out = np.full(bars.stop - bars.start, -7.0)
    fill_half_spread(out, market, name, bars, Execution(**settings), slot)
    return out


# ---------------------------------------------------------------- the words, slowly


def bar_value(tables: Tables, name: str, column: str, time: pd.Timestamp) -> float:
    frame = tables.bars[name]
    return float(frame[column].loc[time]) if column in frame and time in frame.index else nan


def naive_half(tables: Tables, name: str, opened: pd.Timestamp) -> float:
    """Half the spread over the mid of the quote at the end of the bar before."""
    bid, ask = (bar_value(tables, name, column, opened) for column in ("bid", "ask"))
    return (ask - bid) / 2.0 / ((ask + bid) / 2.0)


def naive_value(tables: Tables, name: str, opened: pd.Timestamp) -> float:
    """Σ volume·close of the contract's bars with T_{t−1} − 1 day < T ≤ T_{t−1}."""
    inside = [(float(row.volume), float(row.close)) for row in tables.bars[name].itertuples() if opened - DAY < row.Index <= opened]
    return math.fsum(volume * close for volume, close in inside if not isnan(volume))


def naive_depth(tables: Tables, name: str, opened: pd.Timestamp) -> float:
    """Depth as known at T_{t−1}."""
    key = f"{name}.depth_50bps"
    if key in tables.series:
        known = [row for row in tables.series[key].itertuples() if row.known_at <= opened]
        return float(known[-1].value) if known else nan
    return bar_value(tables, name, "depth_10bps" if name == FAR else "depth_50bps", opened)


def naive_room(tables: Tables, name: str, time: pd.Timestamp, participation: float | None, stress: float) -> float:
    if participation is None:
        return inf
    volume = bar_value(tables, name, "volume", time)
    return 0.0 if isnan(volume) else participation * volume / stress


def each_bar(market: Market, name: str) -> Any:
    """(place on the tape, stamp, open instant) of each of the contract's bars."""
    bars = bars_of(market, name)
    for place, t in enumerate(range(bars.start, bars.stop)):
        yield place, market.clock[t], market.clock[t - 1] if t > 0 else market.clock[0] - HOUR


NAMES = pytest.mark.parametrize("name", [SPOT, PERP, NEAR, FAR])

# ---------------------------------------------------------------- spreads


@NAMES
def test_half_the_spread_is_that_of_the_quote_of_the_bar_before(market: Market, name: str) -> None:
    tables, got = busy(), spreads(market, name)
    for place, _, opened in each_bar(market, name):
        assert got[place] == pytest.approx(naive_half(tables, name, opened), rel=1e-12, nan_ok=True)
    assert np.isnan(got[0])
    assert not np.isnan(got[1:20]).any()


def test_a_setting_overrules_the_quotes(market: Market) -> None:
    assert np.isnan(spreads(market, PERP, half_spread=0.001)).all(), "the number is that of the terms"
    values = np.linspace(0.0, 0.01, BARS)
    values[40] = nan
    for given in (values, pd.Series(values, market.clock), values[None, :]):
        got = spreads(market, PERP, half_spread=given)
        np.testing.assert_array_equal(got, [nan, *values[:-1]])
    np.testing.assert_array_equal(spreads(market, PERP, 1, half_spread=(0.1, values))[1:], values[:-1])
    np.testing.assert_array_equal(spreads(market, PERP, 1, half_spread=(values, None)), spreads(market, PERP))
    bars = bars_of(market, FAR)
    np.testing.assert_array_equal(spreads(market, FAR, half_spread=values), values[bars.start - 1 : bars.stop - 1])


def test_without_quotes_no_spread_is_known(tmp_path: Path) -> None:
    market = load(tmp_path, only(ether(), SPOT))
    assert np.isnan(spreads(market, SPOT)).all()


@pytest.mark.parametrize(
    ("given", "terms"),
    [(None, (True, BP)), (0.002, (False, 0.002)), (0, (False, 0.0)), (np.ones(3), (True, BP)), (pd.Series([1.0]), (True, BP))],
)
def test_the_terms_say_whether_the_row_is_read(given: Any, terms: tuple[bool, float]) -> None:
    assert half_spread_terms(Execution(half_spread=given), 0) == terms
    assert half_spread_terms(Execution(half_spread=(0.5, given)), 1) == terms


# ---------------------------------------------------------------- takers


@NAMES
def test_a_taker_without_limits_may_trade_anything(market: Market, name: str) -> None:
    got = orders(market, name)
    assert (got[[ROOM_BUY, ROOM_SELL]] == inf).all()
    assert (got[IMPACT] == 0.0).all()
    assert (got[STRESS] == 1.0).all()


@NAMES
def test_participation_is_a_share_of_the_bars_own_volume(market: Market, name: str) -> None:
    tables, got = busy(), orders(market, name, participation=0.05, stress=4.0)
    for place, time, _ in each_bar(market, name):
        assert got[ROOM_BUY, place] == got[ROOM_SELL, place] == naive_room(tables, name, time, 0.05, 4.0)
    assert 0 < (got[ROOM_BUY] == 0.0).sum() < got.shape[1] / 2, "bars of unknown volume and without any"
    assert (got[STRESS] == 4.0).all()


@NAMES
def test_square_root_impact_is_of_the_days_value_before_the_bar(market: Market, name: str) -> None:
    tables, got = busy(), orders(market, name, impact=0.8, stress=1.5)
    for place, _, opened in each_bar(market, name):
        value = naive_value(tables, name, opened)
        expected = 1.5 * 0.8 / math.sqrt(value) if value > 0.0 else nan
        assert got[IMPACT, place] == pytest.approx(expected, rel=1e-12, nan_ok=True)
        assert got[ROOM_BUY, place] == got[ROOM_SELL, place] == (inf if value > 0.0 else 0.0)
    assert np.isnan(got[IMPACT, 0])
    assert np.isnan(got[IMPACT]).sum() >= (10 if name == PERP else 1), "a day and a half without a trade"


@NAMES
def test_linear_impact_is_of_the_depth_that_was_known(market: Market, name: str) -> None:
    tables, got = busy(), orders(market, name, slot=1, impact=(0.0, 0.5), impact_model="linear", participation=0.1)
    for place, time, opened in each_bar(market, name):
        known = naive_depth(tables, name, opened)
        expected = 0.5 / known if known > 0.0 else nan
        assert got[IMPACT, place] == pytest.approx(expected, rel=1e-12, nan_ok=True)
        assert got[ROOM_BUY, place] == (naive_room(tables, name, time, 0.1, 1.0) if known > 0.0 else 0.0)
    assert np.isnan(got[IMPACT]).any()
    assert not np.isnan(got[IMPACT]).all()
    assert (orders(market, name, slot=0, impact=(0.0, 0.5))[IMPACT] == 0.0).all(), "the other leg's"


def test_a_vast_bar_leaves_no_trace_in_the_days_value(tmp_path: Path) -> None:
    """Differences of running sums would keep the rounding of a bar of 1e16 in what follows it."""
    tables = only(ether(), SPOT)
    tables.bars[SPOT]["volume"] = 0.001
    tables.bars[SPOT].iloc[20, tables.bars[SPOT].columns.get_loc("volume")] = 1e16
    tables.bars[SPOT].iloc[100:160, tables.bars[SPOT].columns.get_loc("volume")] = 0.0
    got = traded_value(load(tmp_path, tables), SPOT)
    expected = [naive_value(tables, SPOT, time) for time in tables.bars[SPOT].index]
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert (got[123:160] == 0.0).all()


# ---------------------------------------------------------------- makers


@NAMES
@pytest.mark.parametrize("settings", [{}, {"half_spread": 0.0004}, {"half_spread": "a series"}], ids=["quotes", "number", "series"])
def test_a_maker_fills_where_the_bar_trades_through_its_price(market: Market, name: str, settings: dict[str, Any]) -> None:
    tables, random = busy(), np.random.default_rng(1)
    values = np.where(random.random(BARS) < 0.1, nan, random.uniform(0.0, 0.001, BARS))
    chosen = {"half_spread": values} if settings.get("half_spread") == "a series" else settings
    got = orders(market, name, maker="long", participation=0.2, stress=2.0, **chosen)
    begin = bars_of(market, name).start
    for place, time, opened in each_bar(market, name):
        half = naive_half(tables, name, opened)
        if "half_spread" in chosen:
            t = begin + place
            half = 0.0004 if chosen is settings else float(values[t - 1]) if t > 0 else nan
        half = BP if isnan(half) else half
        price, low, high = (bar_value(tables, name, column, time) for column in ("open", "low", "high"))
        room = naive_room(tables, name, time, 0.2, 2.0)
        assert got[ROOM_BUY, place] == (room if low < price * (1.0 - half) else 0.0), "without stress: it rests where the quote was"
        assert got[ROOM_SELL, place] == (room if high > price * (1.0 + half) else 0.0)
    assert len({*zip(got[ROOM_BUY] > 0.0, got[ROOM_SELL] > 0.0, strict=True)}) == 4, "one side, the other, both, none"
    assert orders(market, name, slot=1, maker="long")[ROOM_BUY].min() == inf, "the other leg takes"


def test_touching_a_makers_price_does_not_fill_it(tmp_path: Path) -> None:
    tables = only(ether(), SPOT)
    tables.bars[SPOT] = tables.bars[SPOT].assign(open=100.0, close=100.0, high=101.0, low=99.0)
    market = load(tmp_path, tables)
    touched, through = (orders(market, SPOT, maker="both", half_spread=half) for half in (0.01, 0.00999))
    assert not touched[[ROOM_BUY, ROOM_SELL]].any()
    assert (through[[ROOM_BUY, ROOM_SELL]] == inf).all()


def test_unknown_impact_doesnt_keep_a_maker_out_but_is_told(market: Market) -> None:
    """A maker pays none; when it chases it does, and then it must be known."""
    with_impact, without = (orders(market, PERP, maker="both", **more) for more in ({"impact": 1.0}, {}))
    np.testing.assert_array_equal(with_impact[[ROOM_BUY, ROOM_SELL]], without[[ROOM_BUY, ROOM_SELL]])
    unknown = np.isnan(with_impact[IMPACT])
    assert (with_impact[ROOM_BUY, unknown] > 0.0).any()


# ---------------------------------------------------------------- stress


def test_stress_is_what_was_known_at_the_bars_open(market: Market) -> None:
    values = np.linspace(1.0, 5.0, BARS)
    values[[30, 60]] = nan
    expected = [1.0] + [1.0 if isnan(value) else float(value) for value in values[:-1]]
    np.testing.assert_array_equal(orders(market, PERP, stress=values)[STRESS], expected)
    np.testing.assert_array_equal(orders(market, FAR, stress=pd.Series(values, market.clock))[STRESS], expected[20:])
    np.testing.assert_array_equal(
        orders(market, PERP, participation=0.1, stress=values)[ROOM_BUY][40],
        orders(market, PERP, participation=0.1)[ROOM_BUY][40] / expected[40],
    )
    assert (orders(market, PERP, stress=3.0)[STRESS] == 3.0).all(), "a number is known before the first bar too"
    assert stress_multiplier(market, Execution()) is None


def test_a_stressed_regime_multiplies_the_stress(tmp_path: Path) -> None:
    market = load(tmp_path, rich())
    codes = bt.regime(market)
    assert {0.0, 2.0} <= set(codes[~np.isnan(codes)])
    assert np.isnan(codes).any()
    expected = [1.5 * 4.0 if code == 2.0 else 1.5 for code in codes]
    np.testing.assert_array_equal(stress_multiplier(market, Execution(stress=1.5, stressed=4.0)), expected)
    np.testing.assert_array_equal(orders(market, SPOT, bars=slice(0, len(market)), stress=1.5, stressed=4.0)[STRESS], [1.5, *expected[:-1]])


@pytest.mark.parametrize(
    ("settings", "slots"),
    [
        ({}, (False, False)), ({"latency": "1h", "policy": "chase", "patience": "2h", "half_spread": 0.1}, (False, False)),
        ({"maker": "long"}, (True, False)), ({"maker": "both"}, (True, True)), ({"impact": 0.0}, (False, False)),
        ({"impact": (0.0, 0.1)}, (False, True)), ({"participation": 1.0}, (True, True)), ({"stress": 1.0}, (False, False)),
        ({"stress": 2.0}, (True, True)), ({"stressed": 2.0}, (True, True)), ({"stress": np.ones(3)}, (True, True)),
    ],
)  # fmt: skip
def test_only_slots_that_need_it_read_an_orders_tape(settings: dict[str, Any], slots: tuple[bool, bool]) -> None:
    execution = Execution(**settings)
    assert (limited(execution, 0), limited(execution, 1)) == slots


# ---------------------------------------------------------------- limits


def naive_illiquid(tables: Tables, name: str, time: pd.Timestamp, most: float | None, least: float | None) -> float:
    """1 illiquid, NaN unknown, 0 fine, at one bar's end."""
    verdicts = []
    if most is not None:
        bid, ask = (bar_value(tables, name, column, time) for column in ("bid", "ask"))
        spread = (ask - bid) / ((ask + bid) / 2.0)
        verdicts.append(nan if isnan(spread) else float(spread > most))
    if least is not None:
        known = naive_depth(tables, name, time)
        verdicts.append(nan if isnan(known) else float(known < least))
    return 1.0 if 1.0 in verdicts else nan if any(map(isnan, verdicts)) else 0.0


@pytest.mark.parametrize(("most", "least"), [(0.0012, None), (None, 8e5), (0.0015, 6e5)])
def test_a_contract_is_illiquid_by_its_quote_or_its_depth(market: Market, most: float | None, least: float | None) -> None:
    tables, rule = busy(), Rule(long=market.spot, max_spread=most, min_depth=least)
    for name in (SPOT, PERP, NEAR, FAR):
        life = market.life(name)
        expected = [naive_illiquid(tables, name, time, most, least) for time in market.clock[life]]
        np.testing.assert_array_equal(illiquid_contract(market, rule, name), expected)
        assert {0.0, 1.0} <= set(expected)


def test_a_pair_is_illiquid_if_one_contract_is_else_unknown_if_one_is(market: Market) -> None:
    rule = Rule(long=market.spot, short=market.future_chain(), max_spread=0.0012, min_depth=6e5)
    contracts = bt.pairs(market, rule.long, rule.short)
    rows = illiquid(market, rule, contracts)
    seen = set()
    for row, name in zip(rows, (NEAR, FAR), strict=True):
        life, spot = market.life(name), illiquid_contract(market, rule, SPOT)
        other = np.full(BARS, nan)
        other[life] = illiquid_contract(market, rule, name)
        for got, one, two in zip(row, spot, other, strict=True):
            expected = 1.0 if 1.0 in (one, two) else nan if isnan(one) or isnan(two) else 0.0
            assert got == pytest.approx(expected, nan_ok=True)
            seen.add((float(one), float(two)))
    assert len(seen) >= 4
    assert np.isnan(rows[0][-1]) or rows[0][-1] == 1.0, "expired: nothing is known of it"
    (alone,) = illiquid(market, replace(rule, long=None, short=market.perpetual), np.array([[-1, 0]]))
    np.testing.assert_array_equal(alone, illiquid_contract(market, rule, PERP))


def test_what_the_data_lack_of_a_contract_is_not_asked(tmp_path: Path) -> None:
    tables = only(busy(), SPOT, PERP)
    tables.bars[SPOT] = tables.bars[SPOT].drop(columns=["bid", "ask", "depth_50bps"])
    market = load(tmp_path, tables)
    rule = Rule(long=market.spot, short=market.perpetual, max_spread=0.0012, min_depth=6e5)
    check_orders(market, rule, Execution())
    assert not illiquid_contract(market, rule, SPOT).any()
    (row,) = illiquid(market, rule, bt.pairs(market, rule.long, rule.short))
    np.testing.assert_array_equal(row, illiquid_contract(market, rule, PERP))


# ---------------------------------------------------------------- causality


CUT = 90


def later_changed() -> Tables:
    """Every number after the cut is another one."""
    tables, cut = busy(), START + CUT * HOUR
    for frame in tables.bars.values():
        late = frame.index > cut
        prices = [name for name in ("open", "high", "low", "close", "bid", "ask") if name in frame]
        frame.loc[late, prices] *= 1.7
        frame.loc[late, "ask"] *= 1.01
        frame.loc[late, "volume"] = frame.loc[late, "volume"].fillna(0.0) * 3.0 + 1.0
        for column in ("depth_50bps", "depth_10bps"):
            if column in frame:
                frame.loc[late, column] = 7.0
    for table in tables.series.values():
        table.loc[table["known_at"] > cut, "value"] *= 2.0
    return tables


@NAMES
def test_no_later_bar_has_a_say(market: Market, tmp_path: Path, name: str) -> None:
    """What opens at the cut is told by what came before; the bar's own volume and extremes only say how much of it was filled."""
    other = load(tmp_path, later_changed())
    for settings in ({"impact": 1.0}, {"impact": 1.0, "impact_model": "linear"}):
        until = CUT + 1 - bars_of(market, name).start
        for one, two in (
            (orders(market, name, **settings), orders(other, name, **settings)),
            (spreads(market, name), spreads(other, name)),
        ):
            np.testing.assert_array_equal(one[..., :until], two[..., :until])
            assert not np.array_equal(one[..., until:], two[..., until:], equal_nan=True)
    mixed = {"maker": "both", "participation": 0.1, "stress": np.linspace(1.0, 2.0, BARS)}
    np.testing.assert_array_equal(orders(market, name, **mixed)[:, : until - 1], orders(other, name, **mixed)[:, : until - 1])
    rule = Rule(long=market.spot, max_spread=0.0012, min_depth=6e5)
    one, two = (illiquid_contract(each, rule, name)[: until - 1] for each in (market, other))
    np.testing.assert_array_equal(one, two)


# ---------------------------------------------------------------- refusals


def bare(tmp_path: Path, *columns: str, unknown: bool = False) -> Market:
    """Spot and perpetual of which the perpetual lacks these columns, or has nothing in them."""
    tables = only(busy(), SPOT, PERP)
    frame = tables.bars[PERP]
    tables.bars[PERP] = frame.assign(**dict.fromkeys(columns, nan)) if unknown else frame.drop(columns=list(columns))
    return load(tmp_path, tables)


@pytest.mark.parametrize("unknown", [False, True], ids=["absent", "never known"])
@pytest.mark.parametrize(
    ("columns", "settings", "told"),
    [
        (("bid", "ask"), {"maker": "short"}, "a maker fill needs quotes: maker=short, and {} has none in dataset test; import bars with bid and ask, or leave maker out"),
        (("ask",), {"maker": "both"}, "a maker fill needs quotes: maker=both, and {} has none in dataset test; import bars with bid and ask, or leave maker out"),
        (("volume",), {"participation": 0.1}, "participation needs volume: participation=0.1, and {} has none in dataset test; import bars with volume, or leave participation out"),
        (("volume",), {"impact": 1.0}, "square-root impact needs volume: impact=1, impact_model=square_root, and {} has none in dataset test; import bars with volume, or leave impact out"),
    ],
)  # fmt: skip
def test_data_that_an_execution_needs(tmp_path: Path, columns: tuple[str, ...], settings: dict[str, Any], told: str, unknown: bool) -> None:
    market = bare(tmp_path, *columns, unknown=unknown)
    rule = Rule(long=market.spot, short=market.perpetual)
    with pytest.raises(DataError, match=f"^{re.escape(told.format(PERP))}$"):
        check_orders(market, rule, Execution(**settings))
    check_orders(market, replace(rule, short=None), Execution(**settings))


def test_linear_impact_needs_depth(tmp_path: Path) -> None:
    market = bare(tmp_path, "depth_50bps")
    rule = Rule(long=market.spot, short=market.perpetual)
    told = f"^linear impact needs depth: impact=2, impact_model=linear, and {PERP} has none in dataset test; import bars with depth_50bps or depth_10bps, or leave impact out$"
    with pytest.raises(DataError, match=told):
        check_orders(market, rule, Execution(impact=(0.0, 2.0), impact_model="linear"))  # type: ignore[arg-type]
    check_orders(market, rule, Execution(impact=(2.0, 0.0), impact_model="linear"))  # type: ignore[arg-type]
    check_orders(market, rule, Execution(impact=2.0))


def test_every_contract_of_a_chain_needs_them(market: Market, tmp_path: Path) -> None:
    check_orders(market, Rule(short=market.future_chain()), Execution(maker="both", impact=1.0, impact_model="linear", participation=0.1))  # type: ignore[arg-type]
    tables = busy()
    tables.bars[FAR] = tables.bars[FAR].drop(columns=["volume"])
    lacking = load(tmp_path, tables)
    with pytest.raises(DataError, match=f"^participation needs volume: participation=0.1, and {FAR} has none"):
        check_orders(lacking, Rule(short=lacking.future_chain()), Execution(participation=0.1))


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"max_spread": 0.001}, f"max_spread needs quotes: max_spread=0.001, and {PERP} has none in dataset test; import bars with bid and ask, or leave max_spread out"),
        ({"min_depth": 5000.0}, f"min_depth needs depth: min_depth=5000, and {PERP} has none in dataset test; import bars with depth_50bps or depth_10bps, or leave min_depth out"),
    ],
)  # fmt: skip
def test_limits_of_liquidity_need_one_contract_with_data(tmp_path: Path, limits: dict[str, Any], told: str) -> None:
    market = bare(tmp_path, "bid", "ask", "depth_50bps")
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        check_orders(market, Rule(short=market.perpetual, **limits), Execution())
    check_orders(market, Rule(long=market.spot, short=market.perpetual, **limits), Execution())


def test_two_legs_have_none_in_the_plural(tmp_path: Path) -> None:
    market = load(tmp_path, only(ether(), SPOT, PERP))
    with pytest.raises(DataError, match=f"^max_spread needs quotes: max_spread=0.1, and {SPOT} and {PERP} have none in dataset test"):
        check_orders(market, Rule(long=market.spot, short=market.perpetual, max_spread=0.1), Execution())


def late(values: float) -> Any:
    out = np.full(BARS, 0.5)
    out[2] = values
    return out


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"half_spread": np.zeros(3)}, f"half_spread must have one value a bar: shape (3,) for {BARS} bars; build it from market arrays, which have the market's length"),
        ({"half_spread": np.zeros((2, BARS))}, f"half_spread must have one value a bar: shape (2, {BARS}) for {BARS} bars; build it from market arrays, which have the market's length"),
        ({"half_spread": (0.1, pd.Series(np.zeros(BARS)))}, "half_spread must be indexed by the market's clock (market.clock); reindex it, or give a plain array with one value a bar"),
        ({"half_spread": late(-0.1)}, "half_spread must be at least 0 and below 1: it is -0.1 at 2024-03-01T03:00Z; give NaN where it is unknown"),
        ({"half_spread": late(1.0)}, "half_spread must be at least 0 and below 1: it is 1 at 2024-03-01T03:00Z; give NaN where it is unknown"),
        ({"stress": late(0.0)}, "stress must be finite and above 0: it is 0 at 2024-03-01T03:00Z; give NaN where it is unknown"),
        ({"stress": late(inf)}, "stress must be finite and above 0: it is inf at 2024-03-01T03:00Z; give NaN where it is unknown"),
        ({"stress": np.array(["a"] * BARS)}, "stress must be numbers, one value a bar: it has <U1 values"),
    ],
)  # fmt: skip
def test_series_that_a_market_cant_read(market: Market, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(told)}$"):
        check_orders(market, Rule(long=market.spot, short=market.perpetual), Execution(**settings))


def test_a_row_is_an_array_a_series_or_a_signals_table(market: Market) -> None:
    row = np.linspace(0.0, 0.5, BARS)
    for given in (row, row[None, :], pd.Series(row, market.clock), pd.DataFrame({"a": row}, index=market.clock), row.tolist()):
        np.testing.assert_array_equal(row_of(market, given, "x"), row)
    check_orders(market, Rule(long=market.spot), Execution(half_spread=bt.spread(market, market.spot) / 2.0))


def test_values_lie_where_their_bars_are() -> None:
    for known in (slice(0, 3), slice(2, 5), slice(4, 8), slice(0, 10), slice(9, 10), slice(0, 0)):
        values = np.arange(100.0, 110.0)[known]
        for bars in (slice(0, 10), slice(3, 6), slice(3, 3)):
            for later in (0, 1):
                out = np.full(bars.stop - bars.start, -1.0)
                lay(out, values, known, bars, later)
                expected = [100.0 + t - later if known.start <= t - later < known.stop else -1.0 for t in range(bars.start, bars.stop)]
                np.testing.assert_array_equal(out, expected)


def test_the_bar_of_an_expiry_between_two_stamps_is_filled(tmp_path: Path) -> None:
    """A slot's tape ends with the bar in which a contract expires, its life with the last stamp that is not after the expiry."""
    tables = busy()
    half_past = NEAR_EXPIRY + HOUR / 2
    tables.instruments = [replace(item, expires_at=half_past) if item.id == NEAR else item for item in tables.instruments]
    tables.settlements = tables.settlements.assign(ts=half_past)
    market = load(tmp_path, tables)
    got = orders(market, NEAR, impact=1.0, participation=0.5)
    assert market.life(NEAR).stop == bars_of(market, NEAR).stop - 1
    assert got[IMPACT, -1] == pytest.approx(1.0 / math.sqrt(naive_value(tables, NEAR, NEAR_EXPIRY)))
    assert got[ROOM_BUY, -1] == 0.0, "it has no bar there"
