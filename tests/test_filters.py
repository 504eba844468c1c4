"""Filters and sizers: where each allows an entry, by side; entries only there and exits as they were; blind to the future; texts, and what is refused."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from markets import (
    FREE,
    HOUR,
    NEAR,
    PERP,
    SPOT,
    START,
    ether,
    flat,
    funding,
    future,
    in_memory,
    load,
    perpetual,
    reasons,
    spot,
    times,
    write,
)
from rich_market import BEGIN, STEP, changed_after, ended_at, rich

import backtest as bt
from backtest.errors import DataError, ParameterError
from backtest.filters import (
    FILTERS,
    SIZERS,
    CrowdingFilter,
    EventFilter,
    Filter,
    FundingWindow,
    LeverageFilter,
    LiquiditySizer,
    OpenInterestFilter,
    PercentileSizer,
    RegimeFilter,
    Sizer,
    VolatilitySizer,
    VolumeDeltaFilter,
    filtered,
    filters_of,
    listed,
    parse_filter,
    parse_sizer,
    sizers_of,
)
from backtest.market import Market
from backtest.rule import Rule

Build = Callable[[Market], Rule]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("filters"), rich())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("small"), ether())


def carry(market: Market, **more: Any) -> Rule:
    """Spot against the perpetual."""
    return Rule(**{"long": market.spot, "short": market.perpetual, "resize": None} | more)


def dated(market: Market, **more: Any) -> Rule:
    """Spot against the chain of dated futures."""
    return Rule(**{"long": market.spot, "short": market.future_chain(min_days=20)} | more)


# what each rule trades: hedged and paid by longs, the other way round, a chain, one leg bought, one leg sold, futures against the perpetual
RULES: dict[str, Build] = {
    "carry": carry,
    "dated": dated,
    "swapped": lambda market: Rule(long=market.perpetual, short=market.spot, resize=None),
    "bought": lambda market: Rule(long=market.perpetual, resize=None),
    "sold": lambda market: Rule(short=market.perpetual, resize=None),
    "future": lambda market: Rule(long=market.future_chain()),
    "spot": lambda market: Rule(long=market.spot),
    "both derivatives": lambda market: Rule(long=market.perpetual, short=market.future_chain()),
}
HEDGED = ["carry", "dated", "swapped", "both derivatives"]


def sides(one: Filter, market: Market, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """What a filter allows side +1 and side −1."""
    answer = one.allows(market, rule)
    both = answer if isinstance(answer, tuple) else (answer, answer)
    assert all(part.dtype == np.bool_ and part.shape == (len(market),) for part in both)
    return both


def both(one: Filter, market: Market, rule: Rule) -> np.ndarray:
    """What a filter allows, where it allows both sides the same."""
    plus, minus = sides(one, market, rule)
    assert plus is minus
    return plus


# ---------------------------------------------------------------- where each allows an entry


@pytest.mark.parametrize("allowed", [("calm",), ("calm", "trending"), ("stressed", "trending")])
def test_a_regime_is_one_of_those_allowed(market: Market, allowed: tuple[str, ...]) -> None:
    for name, leg in (("carry", market.perpetual), ("dated", market.future_chain()), ("spot", None)):
        codes = bt.regime(market, leg)
        expected = [not np.isnan(code) and bt.Regime(int(code)).name.lower() in allowed for code in codes]
        found = both(RegimeFilter(allowed), market, RULES[name](market))
        np.testing.assert_array_equal(found, expected)
        assert found.any()
        assert not found.all()
    assert (bt.regime(market, market.perpetual) != bt.regime(market, market.future_chain())).any(), (
        "it is the regime of the rule's own legs"
    )


def quadrants() -> Market:
    """Daily bars: the premium and the open interest rise; it rises and they fall; it falls and they rise; both fall; the premium stays."""
    perp = perpetual([100.0, 101, 102, 101, 100, 100], columns={"open_interest": [10.0, 11, 10, 11, 10, 11]})
    return in_memory({"LONG": spot(flat(6)), "SHORT": perp}, step=24.0)


@pytest.mark.parametrize(
    ("long", "short", "plus", "minus"),
    [("LONG", "SHORT", 1, 3), ("SHORT", "LONG", 3, 1), ("SHORT", None, 1, 3), (None, "SHORT", 3, 1), ("LONG", None, 1, 3), (None, "LONG", 3, 1)],
    ids=["paid by longs", "paid by shorts", "a long", "a short", "a long of spot", "a short of spot"],
)  # fmt: skip
def test_open_interest_confirms_who_is_paid_and_who_is_one(long: str | None, short: str | None, plus: int, minus: int) -> None:
    """New leverage at bar 1, short covering at 2, new shorts at 3, long liquidation at 4, unchanged at 5."""
    market = quadrants()
    rule = Rule(**{name: market.leg(leg) for name, leg in (("long", long), ("short", short)) if leg})
    found = sides(OpenInterestFilter(), market, rule)
    assert [np.flatnonzero(part).tolist() for part in found] == [[plus], [minus]]
    assert np.flatnonzero(both(OpenInterestFilter(quadrants=("short_covering",)), market, rule)).tolist() == [2]
    assert np.flatnonzero(both(OpenInterestFilter(quadrants="unchanged,long_liquidation"), market, rule)).tolist() == [4, 5]
    assert not np.any(sides(OpenInterestFilter("30D"), market, rule))


def test_of_two_derivatives_the_premium_is_that_of_the_one_sold_on_side_plus(market: Market) -> None:
    chain, perp = market.future_chain(), market.perpetual
    for rule, leg in ((Rule(long=perp, short=chain), chain), (Rule(long=chain, short=perp), perp), (Rule(long=chain, short=chain), chain)):
        codes = bt.quadrant(market, leg)
        expected = codes == bt.Quadrant.NEW_LEVERAGE, codes == bt.Quadrant.NEW_SHORTS
        np.testing.assert_array_equal(sides(OpenInterestFilter(), market, rule), expected)
    assert (bt.quadrant(market, chain) != bt.quadrant(market, perp)).any()


@pytest.mark.parametrize("leader", ["spot", "futures"])
def test_volume_delta_wants_a_leader_and_of_one_leg_a_move_his_way(market: Market, leader: str) -> None:
    wanted = 1.0 if leader == "spot" else -1.0
    legs = {"carry": market.perpetual, "dated": market.future_chain(), "bought": market.perpetual, "sold": market.perpetual, "future": market.future_chain()}  # fmt: skip
    close = market.close(SPOT)
    for name, leg in legs.items():
        leads = np.sign(bt.spot_lead(market, leg)) == wanted
        found = sides(VolumeDeltaFilter(leader), market, RULES[name](market))
        if name in HEDGED:
            expected = leads, leads
        else:
            rose, fell = (np.array([k >= 3 and sign * (close[k] - close[k - 3]) > 0.0 for k in range(len(close))]) for sign in (1, -1))
            expected = (leads & rose, leads & fell) if name != "sold" else (leads & fell, leads & rose)
        np.testing.assert_array_equal(found, expected)
        assert all(part.any() and not part.all() for part in found)
    changed = sides(VolumeDeltaFilter(leader, "2D", "20D"), market, carry(market))[0]
    np.testing.assert_array_equal(changed, np.sign(bt.spot_lead(market, window="2D", history="20D")) == wanted)


def test_nobody_leads_a_price_that_does_not_move(market: Market) -> None:
    frame = market.bars(SPOT)
    frame.loc[frame.index[500], ["open", "high", "low", "close"]] = frame["close"].iloc[497]
    still = market.altered({SPOT: frame})
    assert bt.spot_lead(still)[500] == 0.0
    for leader in ("spot", "futures"):
        assert not both(VolumeDeltaFilter(leader), still, carry(still))[500]
        assert both(VolumeDeltaFilter(leader), still, carry(still)).any()


def test_leverage_is_below_a_limit(market: Market) -> None:
    for name, leg in (("carry", market.perpetual), ("dated", market.future_chain()), ("spot", market.perpetual)):
        ratio, rule = bt.leverage_ratio(market, leg), RULES[name](market)
        rank = bt.percentile(market, ratio, "180D")
        level = float(np.nanmedian(ratio))
        for found, values, limit in (
            (both(LeverageFilter(), market, rule), rank, 0.8),
            (both(LeverageFilter(0.5), market, rule), rank, 0.5),
            (both(LeverageFilter(0.8, window=None), market, rule), bt.percentile(market, ratio, None), 0.8),
            (both(LeverageFilter(level, "ratio"), market, rule), ratio, level),
        ):
            np.testing.assert_array_equal(found, [bool(value < limit) for value in values])
            assert found.any()
            assert not found.all()


def test_nobody_joins_a_crowd_and_who_sells_to_it_may(market: Market) -> None:
    codes = bt.crowding(market)
    known, crowded = ~np.isnan(codes), codes == bt.Crowding.CROWDED
    assert crowded.any()
    for name in HEDGED:
        np.testing.assert_array_equal(both(CrowdingFilter(), market, RULES[name](market)), known & ~crowded)
    for name in ("bought", "future", "spot"):
        np.testing.assert_array_equal(sides(CrowdingFilter(), market, RULES[name](market)), (known & ~crowded, known))
    np.testing.assert_array_equal(sides(CrowdingFilter(), market, RULES["sold"](market)), (known, known & ~crowded))
    mild = bt.crowding(market, window="90D", level=0.6)
    found = both(CrowdingFilter(0.6, "90D"), market, carry(market))
    np.testing.assert_array_equal(found, ~np.isnan(mild) & (mild != bt.Crowding.CROWDED))
    one = replace(dated(market), short=market.leg("ETHUSDT-231229"))
    codes = bt.crowding(market, one.short)
    np.testing.assert_array_equal(both(CrowdingFilter(), market, one), ~np.isnan(codes) & (codes != bt.Crowding.CROWDED))


def test_nothing_is_entered_around_events_that_were_announced(market: Market) -> None:
    events = market.events
    for before, after in (("2D", "1D"), ("20D", "8h")):
        expected = np.ones(len(market), dtype=bool)
        for begin, known in zip(events["ts"], events["known_at"], strict=True):
            first, last = max(begin - pd.Timedelta(before), known), begin + pd.Timedelta(after)
            expected &= ~((market.clock >= first) & (market.clock <= last))
        found = both(EventFilter(before, after), market, carry(market))
        np.testing.assert_array_equal(found, expected)
        assert 0 < (~found).sum() < len(market) / 2


def test_entries_wait_for_the_hour_before_a_payment(small: Market) -> None:
    """Payments at 00, 08 and 16 h on hourly bars: an order that goes out at 07 h fills at 07 h and is paid at 08 h."""
    hour = small.clock.hour % 8
    rule = carry(small)
    np.testing.assert_array_equal(both(FundingWindow(), small, rule), hour == 7)
    np.testing.assert_array_equal(both(FundingWindow("2h"), small, rule), hour >= 6)
    np.testing.assert_array_equal(both(FundingWindow(None, "1h"), small, rule), hour <= 1)
    np.testing.assert_array_equal(both(FundingWindow("2h", "1h"), small, rule), (hour >= 6) | (hour <= 1))
    np.testing.assert_array_equal(both(FundingWindow("90min"), small, Rule(long=small.perpetual)), hour == 7)


def test_a_payment_that_nobody_can_expect_is_none(tmp_path: Path) -> None:
    """Before the first payment nothing is known, and after a missing one the next is not either."""
    tables = ether()
    events = tables.funding[PERP]
    tables.funding[PERP] = events.drop(events.index[[0, 1, 10]])
    market = load(tmp_path, tables)
    found = both(FundingWindow(), market, carry(market))
    expected = (market.clock.hour % 8 == 7) & (market.clock >= START + 16 * HOUR)
    expected &= ~((market.clock > START + 80 * HOUR) & (market.clock < START + 88 * HOUR))
    np.testing.assert_array_equal(found, expected)
    after = both(FundingWindow(None, "1h"), market, carry(market))
    paid = [(now - event) / HOUR for now in market.clock for event in tables.funding[PERP].index]
    near = np.array(paid).reshape(len(market), -1)
    np.testing.assert_array_equal(after, ((near >= 0.0) & (near <= 1.0)).any(axis=1))


# ---------------------------------------------------------------- sizes


def test_sizers_are_the_sizes_of_the_rules_own_legs(market: Market) -> None:
    chain, perp = market.future_chain(), market.perpetual
    for found, expected in (
        (PercentileSizer().scale(market, dated(market)), bt.size_by_percentile(market, chain)),
        (PercentileSizer().scale(market, carry(market)), bt.size_by_percentile(market, perp)),
        (PercentileSizer().scale(market, RULES["spot"](market)), bt.size_by_percentile(market, perp)),
        (PercentileSizer(0.7, 0.1, "90D").scale(market, carry(market)), bt.size_by_percentile(market, perp, window="90D", beyond=0.7, least=0.1)),
        (VolatilitySizer().scale(market, carry(market)), bt.size_by_volatility(market)),
        (VolatilitySizer(0.3, 1.5, "7D").scale(market, dated(market)), bt.size_by_volatility(market, window="7D", target=0.3, most=1.5)),
        (VolatilitySizer(0.3).scale(market, RULES["sold"](market)), bt.size_by_volatility(market, perp, target=0.3)),
        (VolatilitySizer(0.3).scale(market, RULES["both derivatives"](market)), bt.size_by_volatility(market, perp, target=0.3)),
        (VolatilitySizer(0.3).scale(market, RULES["future"](market)), bt.size_by_volatility(market, target=0.3)),
        (LiquiditySizer().scale(market, carry(market)), bt.size_by_liquidity(market, perp)),
        (LiquiditySizer(0.6, 0.5, "60D").scale(market, dated(market)), bt.size_by_liquidity(market, chain, "60D", beyond=0.6, least=0.5)),
        (LiquiditySizer().scale(market, RULES["spot"](market)), bt.size_by_liquidity(market, market.spot)),
    ):  # fmt: skip
        assert found is expected
        assert len(np.unique(found[~np.isnan(found)])) > 5


def test_sizes_multiply_with_each_other_and_with_the_rules_own(market: Market) -> None:
    by_size, by_books = VolatilitySizer(0.3), LiquiditySizer(0.5)
    rule = carry(market)
    product = by_size.scale(market, rule) * by_books.scale(market, rule)
    np.testing.assert_array_equal(filtered(rule, market, (), (by_size, by_books)).scale, product)
    own = np.linspace(0.5, 1.5, len(market))
    count = len(market.future_chain().contracts)
    table = np.arange(1.0, count + 1.0)[:, None] * own
    for given, expected in (
        (own, own * product),
        (list(own), own * product),
        (pd.Series(own, market.clock), own * product),
        (table, table * product),
        (pd.DataFrame(table.T, market.clock), table * product),
    ):
        found = filtered(dated(market, scale=given), market, (), (by_size, Half("books", by_books.scale(market, rule))))
        np.testing.assert_allclose(np.asarray(found.scale), expected, rtol=1e-12)
    assert filtered(rule, market, (), (by_size,)).signal is rule.signal
    assert filtered(rule, market, (), ()) is rule


@dataclass(frozen=True, eq=False)
class Half(Sizer):
    """A user's own sizer: what it is given."""

    what: str = "half"
    values: Any = 0.5

    def scale(self, market: Market, rule: Rule) -> Any:
        """The values."""
        return self.values


@dataclass(frozen=True, eq=False)
class Given(Filter):
    """A user's own filter: what it is given."""

    name: ClassVar[str] = "given"
    answer: Any = None

    def allows(self, market: Market, rule: Rule) -> Any:
        """The answer."""
        return self.answer


@dataclass(frozen=True)
class Rows(Filter):
    """A user's own that holds an array."""

    values: Any = None

    def allows(self, market: Market, rule: Rule) -> Any:
        """The values."""
        return self.values


# ---------------------------------------------------------------- what is done to a rule


def bars_of(market: Market, *numbers: int) -> np.ndarray:
    """True at some bars."""
    return np.isin(np.arange(len(market)), numbers)


def test_an_entry_signal_is_unknown_where_it_may_not_enter() -> None:
    market = in_memory({"LONG": spot(flat(4)), "NEAR": future(flat(4), expiry=3.0), "FAR": future(flat(4), expiry=9.0)})
    legs = {"long": market.leg("LONG"), "short": market.future_chain(), "enter": 0.5}
    row, table = np.array([1.0, 2.0, 3.0, 4.0]), np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    where, grid = bars_of(market, 1, 2), np.array([[True, False, True, False], [False, False, True, True]])
    nan = np.nan
    for signal, answer, expected in (
        (row, where, [nan, 2, 3, nan]),
        ([1, 2, 3, 4], where, [nan, 2, 3, nan]),
        (pd.Series(row, market.clock), where, [nan, 2, 3, nan]),
        (table, where, [[nan, 2, 3, nan], [nan, 6, 7, nan]]),
        (pd.DataFrame(table.T, market.clock), where, [[nan, 2, 3, nan], [nan, 6, 7, nan]]),
        (row, grid, [[1, nan, 3, nan], [nan, nan, 3, 4]]),
        (table, grid, [[1, nan, 3, nan], [nan, nan, 7, 8]]),
        (row[None, :], grid, [[1, nan, 3, nan], [nan, nan, 3, 4]]),
        (table, where[None, :], [[nan, 2, 3, nan], [nan, 6, 7, nan]]),
    ):
        rule = Rule(**legs, signal=signal)
        found = filtered(rule, market, (Given(answer),), ())
        np.testing.assert_array_equal(found.signal, expected)
        assert (found.exit_signal, found.enter, found.exit, found.scale) == (
            signal if isinstance(signal, list) else rule.signal,
            0.5,
            None,
            None,
        )
        assert found.exit_signal is signal, "what leaves is what it was"
    sided = filtered(Rule(**legs, signal=row), market, (Given((where, ~where)),), ())
    np.testing.assert_array_equal(sided.signal, [[nan, 2, 3, nan], [1, nan, nan, 4]])
    assert sided.exit_signal is row
    own = filtered(Rule(**legs, signal=(row, table), exit_signal=table), market, (Given((where, grid)),), ())
    assert own.exit_signal is table
    assert isinstance(own.signal, tuple)
    np.testing.assert_array_equal(own.signal[0], [nan, 2, 3, nan])
    np.testing.assert_array_equal(own.signal[1], [[1, nan, 3, nan], [nan, nan, 7, 8]])
    assert filtered(Rule(**legs, signal=(row, table)), market, (Given(where),), ()).exit_signal == (row, table)


def test_all_filters_must_allow() -> None:
    market = in_memory({"LONG": spot(flat(4)), "SHORT": perpetual(flat(4))})
    rule = carry_of(market, signal=np.arange(4.0), enter=0.0)
    first, second, third = (
        Given(bars_of(market, 0, 1, 2)),
        Given((bars_of(market, 1, 3), bars_of(market, 2))),
        Given(bars_of(market, 1, 2, 3)),
    )
    nan = np.nan
    np.testing.assert_array_equal(filtered(rule, market, (first, third), ()).signal, [nan, 1, 2, nan])
    np.testing.assert_array_equal(filtered(rule, market, (first, second, third), ()).signal, [[nan, 1, nan, nan], [nan, nan, 2, nan]])
    np.testing.assert_array_equal(filtered(rule, market, (second, first), ()).signal, [[nan, 1, nan, nan], [nan, nan, 2, nan]])


def carry_of(market: Market, **more: Any) -> Rule:
    """LONG against SHORT."""
    return Rule(long=market.leg("LONG"), short=market.leg("SHORT"), resize=None, **more)


@pytest.mark.parametrize("side", ["plus", "minus", "both"])
@pytest.mark.parametrize("threshold", [None, 0.02, 0.7, -3.0])
def test_a_rule_that_enters_at_once_enters_at_once_where_it_may(side: str, threshold: float | None) -> None:
    """Whatever its exit, which still reads the signal that it read before."""
    market = in_memory({"LONG": spot(flat(9)), "SHORT": perpetual(flat(9))})
    sign = -1.0 if side == "minus" else 1.0
    leaves = np.where(np.arange(9) == 5, -9.0, 9.0) * sign
    rule = carry_of(market, sides=side, signal=leaves, exit=threshold)
    allowed = (bars_of(market, 3, 4, 8), bars_of(market, 3, 4, 8)) if side != "both" else (bars_of(market, 7), bars_of(market, 3, 4))
    found = filtered(rule, market, (Given(allowed),), ())
    assert found.exit_signal is leaves
    assert found.enter is not None
    assert found.enter > 0.0
    assert threshold is None or found.enter > threshold
    if side == "both":  # side −1 leaves where its own signal, turned, falls below
        found = replace(found, exit_signal=(leaves, -leaves))
    result = bt.run(found, market, execution=FREE, capital=1000.0)
    first = result.trades.iloc[0]
    assert first["entered_at"] == START + 4 * HOUR
    assert first["side"] == (1 if side == "plus" else -1)
    assert pd.isna(first["exited_at"]) if threshold is None else first["exited_at"] == START + 6 * HOUR
    assert filtered(carry_of(market), market, (Given(bars_of(market, 3)),), ()).enter == 0.5


def test_an_exit_is_never_held_back() -> None:
    """The same entry leaves at the same bar by the same signal, though nothing is allowed there; a roll is an entry and is."""
    market = in_memory({"LONG": spot(flat(9)), "SHORT": perpetual(flat(9))})
    signal = np.array([0.0, 1, 1, 1, 1, 0, 0, 1, 1])
    rule = carry_of(market, signal=signal, enter=0.5, exit=0.2)
    free, held = (bt.run(one, market, execution=FREE) for one in (rule, filtered(rule, market, (Given(bars_of(market, 1)),), ())))
    assert [(trade.entered_at, trade.exited_at) for trade in held.trades.itertuples()] == [(START + 2 * HOUR, START + 6 * HOUR)]
    assert (free.trades["entered_at"].iloc[0], free.trades["exited_at"].iloc[0]) == (START + 2 * HOUR, START + 6 * HOUR)
    assert len(free.trades) == 2
    chain = in_memory(
        {"LONG": spot(flat(60)), "NEAR": future(flat(60), expiry=40.0, settlement=100.0), "FAR": future(flat(60), expiry=400.0)}
    )
    rolled = Rule(long=chain.leg("LONG"), short=chain.future_chain(min_days=0.5), roll_days=0.5, signal=np.ones(60), enter=0.5)
    for allowed, rolls in ((np.ones(60, bool), 1), (bars_of(chain, 0), 0)):
        result = bt.run(filtered(rolled, chain, (Given(allowed),), ()), chain, execution=FREE)
        assert (result.fills["action"] == "roll").sum() == 2 * rolls
        assert reasons(result) == (["end of data"] if rolls else ["expiry"])


# every filter on rules whose trades last two bars, so that they enter wherever they may
ON_RICH = [kind() for kind in FILTERS.values() if kind is not FundingWindow]


@pytest.mark.parametrize("one", ON_RICH, ids=str)
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("side", ["plus", "minus"])
def test_entries_are_made_only_where_they_are_allowed(market: Market, one: Filter, name: str, side: str) -> None:
    rule = replace(RULES[name](market), max_hold="16h", sides=side)
    allowed = sides(one, market, rule)[0 if side == "plus" else 1]
    free, held = (decisions(bt.run(each, market, execution=FREE), market) for each in (rule, filtered(rule, market, (one,), ())))
    assert allowed[held].all()
    assert len(held) > 3
    assert allowed.all() or not allowed[free].all(), "without the filter it enters elsewhere too"


def test_entries_by_the_funding_window_are_made_in_it(small: Market) -> None:
    rule = carry(small, max_hold="2h")
    held = decisions(bt.run(filtered(rule, small, (FundingWindow("2h"),), ()), small, execution=FREE), small)
    assert set(small.clock[held].hour % 8) == {6}
    assert len(held) == 25
    assert set(small.clock[decisions(bt.run(rule, small, execution=FREE), small)].hour % 8) > {6}


def decisions(result: bt.Result, market: Market) -> np.ndarray:
    """The bars at whose end entries were decided: they fill at that instant, the next bar's open."""
    entered = pd.DatetimeIndex(result.trades["entered_at"])
    places = market.clock.searchsorted(entered)
    assert (market.clock[places] == entered).all()
    return np.asarray(places)


# ---------------------------------------------------------------- the future

PARTS: list[Filter | Sizer] = [
    *ON_RICH, FundingWindow("8h"), RegimeFilter("stressed"), OpenInterestFilter("3D", "short_covering"), VolumeDeltaFilter("futures"), LeverageFilter(0.01, "ratio"),
    *(kind() for kind in SIZERS.values()),
]  # fmt: skip
CUTS = [BEGIN + count * STEP for count in (701, 1100)]


@pytest.fixture(scope="module", params=CUTS, ids=lambda cut: f"{cut:%y-%m-%d}")
def others(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.Timestamp, dict[str, Market]]:
    """A moment and three markets that hold something else after it, or nothing."""
    cut: pd.Timestamp = request.param
    folder = tmp_path_factory.mktemp
    return cut, {
        "changed": load(folder("changed"), changed_after(cut)),
        "ended": load(folder("ended"), ended_at(cut)),
        "read": load(folder("read"), rich(), None, cut),
    }


def told(part: Filter | Sizer, market: Market, rule: Rule) -> np.ndarray:
    """What a filter or a sizer says, a row a side."""
    answer = part.allows(market, rule) if isinstance(part, Filter) else part.scale(market, rule)
    return np.array(answer if isinstance(answer, tuple) else (answer, answer), dtype=np.float64)


@pytest.mark.parametrize("part", PARTS, ids=str)
@pytest.mark.parametrize("name", ["carry", "dated", "bought"])
def test_no_filter_and_no_sizer_sees_the_future(
    market: Market, others: tuple[pd.Timestamp, dict[str, Market]], part: Filter | Sizer, name: str
) -> None:
    if name != "carry" and isinstance(part, FundingWindow):
        name = "bought"
    cut, markets = others
    for other in markets.values():
        ours, theirs = (
            told(part, one, RULES[name](one))[:, (one.clock <= cut) & one.clock.isin(against.clock)]
            for one, against in ((market, other), (other, market))
        )
        np.testing.assert_array_equal(ours, theirs)
        assert ours.shape[1] > 600


def test_the_funding_window_knows_only_payments_that_were_made(small: Market, tmp_path: Path) -> None:
    tables = ether()
    cut = START + 100 * HOUR
    events = tables.funding[PERP]
    tables.funding[PERP] = pd.concat([events[events.index <= cut], funding(times(cut + 3 * HOUR, 25, "4h"), 0.001, 4.0)])
    other = load(tmp_path, tables)
    for window in (FundingWindow("3h"), FundingWindow(None, "2h")):
        ours, theirs = (both(window, one, carry(one)) for one in (small, other))
        np.testing.assert_array_equal(ours[:100], theirs[:100])
        assert (ours != theirs).any()


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("regime", RegimeFilter()), ("regime=calm", RegimeFilter("calm")), ("regime=calm,trending", RegimeFilter()), ("regime=calm, stressed", RegimeFilter(("calm", "stressed"))),
        ("regime=allowed=calm,stressed", RegimeFilter(("calm", "stressed"))), ("oi", OpenInterestFilter()), ("oi=3D", OpenInterestFilter("3D")),
        ("oi=,short_covering,new_shorts", OpenInterestFilter("1D", ("short_covering", "new_shorts"))), ("oi=quadrants=unchanged", OpenInterestFilter(quadrants="unchanged")),
        ("cvd", VolumeDeltaFilter()), ("cvd=futures,,20D", VolumeDeltaFilter("futures", "1D", "20D")), ("leverage=0.5", LeverageFilter(0.5)),
        ("leverage=0.25,ratio", LeverageFilter(0.25, "ratio")), ("leverage=window=none", LeverageFilter(window=None)), ("crowding", CrowdingFilter()),
        ("crowding=0.9,90D", CrowdingFilter(0.9, "90D")), ("events=2D,1D", EventFilter("2D", "1D")), ("events=kind=fork,after=3D", EventFilter("2D", "3D", "fork")),
        ("funding=1h", FundingWindow("1h")), ("funding=none,2h", FundingWindow(None, "2h")), ("funding=after=2h", FundingWindow("1h", "2h")),
    ],
)  # fmt: skip
def test_a_filter_is_what_its_text_says(text: str, part: Filter) -> None:
    assert parse_filter(text) == part
    assert parse_filter(str(part)) == part


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("percentile", PercentileSizer()), ("percentile=0.95,0", PercentileSizer(0.95, 0.0)), ("percentile=window=none", PercentileSizer(window=None)),
        ("volatility=0.4", VolatilitySizer(0.4)), ("volatility=,2,7D", VolatilitySizer(0.5, 2.0, "7D")), ("liquidity=0.5", LiquiditySizer(0.5)),
        ("volatility=0.123456789", VolatilitySizer(0.123456789)),
    ],
)  # fmt: skip
def test_a_sizer_is_what_its_text_says(text: str, part: Sizer) -> None:
    assert parse_sizer(text) == part
    assert parse_sizer(str(part)) == part


def test_texts_tell_every_value() -> None:
    assert [str(kind()) for kind in (*FILTERS.values(), *SIZERS.values())] == [
        "regime=calm,trending", "oi=1D", "cvd=spot,1D,30D", "leverage=0.8,percentile,180D", "crowding=0.8,180D", "events=2D,1D,upgrade", "funding=1h,none",
        "percentile=0.9,0.25,180D", "volatility=0.5,1,30D", "liquidity=0.8,0.25,90D",
    ]  # fmt: skip
    assert str(Given()) == "given=none"
    assert str(Half()) == "Half=half,0.5"
    assert str(Given(np.arange(5000.0).reshape(50, 100))) == "given=[[0.000e+00 1.000e+00 2.000e+00 ... 9.700e+01 9.800e+01 …"
    assert str(Given(pd.Series(np.zeros(3)))) == "given=0 0.0 1 0.0 2 0.0 dtype: float64"
    assert str(RegimeFilter([bt.Regime.CALM, "Trending"])) == "regime=calm,trending"
    assert all(str(kind()) in listed() for kind in (*FILTERS.values(), *SIZERS.values()))
    assert max(map(len, listed().splitlines())) <= 76


def test_filters_and_sizers_are_given_one_by_one_or_together() -> None:
    assert filters_of(()) == sizers_of([]) == ()
    assert filters_of(RegimeFilter()) == filters_of("regime") == filters_of(["regime"]) == (RegimeFilter(),)
    assert filters_of(("oi", CrowdingFilter(0.9))) == (OpenInterestFilter(), CrowdingFilter(0.9))
    assert len(filters_of([Rows(np.zeros(3)), Rows(np.ones(3)), Rows(np.ones(3))])) == 3, "arrays have no one answer to =="
    assert sizers_of(["volatility=0.3", PercentileSizer()]) == (VolatilitySizer(0.3), PercentileSizer())


# ---------------------------------------------------------------- what is refused


class Mute(Filter):
    """A user's own without a method."""


@dataclass(frozen=True, init=False)
class Free(Filter):
    """A user's own that takes whatever it gets."""

    def __init__(self, *values: Any, **named: Any) -> None:
        """Nothing of it is kept."""


def test_a_part_may_take_what_it_likes() -> None:
    assert str(Free(1, 2, what=3)) == "Free"
    copied = copy.deepcopy(Given(answer="x"))
    assert copied.answer == "x"
    assert pickle.loads(pickle.dumps(FundingWindow("2h"))) == FundingWindow("2h")


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: parse_filter("regim"), 'unknown filter "regim"; did you mean "regime"?'),
    (lambda: parse_filter("0.5"), 'unknown filter "0.5"; known: crowding, cvd, events, funding, leverage, oi, regime'),
    (lambda: parse_sizer("volatilty=1"), 'unknown sizer "volatilty"; did you mean "volatility"?'),
    (lambda: parse_filter("crowding=0.9,90D,3"), "filter crowding takes at most 2 values (level, window): crowding=0.9,90D,3"),
    (lambda: parse_filter("events=befor=3D"), 'filter events has no "befor": events=befor=3D; did you mean "before"?'),
    (lambda: parse_filter("events=3D,before=2D"), 'filter events has "before" twice: events=3D,before=2D; leave one out'),
    (lambda: parse_filter("leverage=much"), "filter leverage: below must be a number: below=much"),
    (lambda: parse_sizer("volatility=none"), "sizer volatility: target must be a number: target=none"),
    (lambda: parse_filter("regime=clam"), "allowed has no \"clam\": allowed=('clam',); did you mean \"calm\"?"),
    (lambda: RegimeFilter(()), "a regime filter needs a regime: allowed=(); give some of calm, trending, stressed"),
    (lambda: RegimeFilter(3), 'allowed has no "3": allowed=3; known: calm, stressed, trending'),  # type: ignore[arg-type]
    (lambda: RegimeFilter(None), "allowed must be names: allowed=None; give some of calm, trending, stressed, or leave it out for the usual ones"),  # type: ignore[arg-type]
    (lambda: OpenInterestFilter(quadrants=(None,)), "quadrants must be names: quadrants=(None,); give some of NAMES, or leave it out for the usual ones".replace("NAMES", ", ".join(code.name.lower() for code in bt.Quadrant))),  # type: ignore[arg-type]
    (lambda: FundingWindow(befor="1h"), 'FundingWindow has no "befor": befor=1h; did you mean "before"?'),  # type: ignore[call-arg]
    (lambda: VolatilitySizer(zzz=1), 'VolatilitySizer has no "zzz": zzz=1; known: most, target, window'),  # type: ignore[call-arg]
    (lambda: FundingWindow("1h", None, 3), "FundingWindow takes at most 2 values (before, after): it got 3, the last 3"),  # type: ignore[call-arg]
    (lambda: Filter(3), "Filter takes at most 0 values: it got 1, the last 3"),  # type: ignore[call-arg]
    (lambda: filters_of(Filter()), 'filter Filter must define allows(market, rule), which says whether an entry is allowed at each bar; write it, or give bt.RegimeFilter(), or a text as "regime=calm,trending"'),
    (lambda: filters_of(["oi", Mute()]), 'filter Mute must define allows(market, rule), which says whether an entry is allowed at each bar; write it, or give bt.RegimeFilter(), or a text as "regime=calm,trending"'),
    (lambda: sizers_of(Sizer()), 'sizer Sizer must define scale(market, rule), which says how large an entry is at each bar; write it, or give bt.PercentileSizer(), or a text as "percentile=0.9,0.25,180D"'),
    (lambda: OpenInterestFilter("soon"), "window must be a duration like \"30D\" or \"8h\": window='soon'"),
    (lambda: OpenInterestFilter(None), "window must be a duration: window=None; leave it out for the usual one"),  # type: ignore[arg-type]
    (lambda: OpenInterestFilter(quadrants="new_short"), 'quadrants has no "new_short": quadrants=new_short; did you mean "new_shorts"?'),  # type: ignore[arg-type]
    (lambda: VolumeDeltaFilter("perp"), "leader must be one of spot, futures: leader=perp"),
    (lambda: VolumeDeltaFilter(history="0D"), "history must be longer than zero: history='0D'; leave it out for none"),
    (lambda: LeverageFilter(0.0), "below must be above 0: below=0"),
    (lambda: LeverageFilter(1.5), "below must be at most 1: below=1.5"),
    (lambda: LeverageFilter(None), "below must be a number: below=None; leave it out for the usual one"),  # type: ignore[arg-type]
    (lambda: LeverageFilter(measure="rank"), "measure must be one of percentile, ratio: measure=rank"),
    (lambda: LeverageFilter(window="0D"), "window must be longer than zero: window='0D'; leave it out for none"),
    (lambda: CrowdingFilter(0.0), "level must be above 0: level=0"),
    (lambda: CrowdingFilter(2.0), "level must be at most 1: level=2"),
    (lambda: CrowdingFilter(window="-1D"), "window must be longer than zero: window='-1D'; leave it out for none"),
    (lambda: EventFilter("soon"), "before must be a duration like \"30D\" or \"8h\": before='soon'"),
    (lambda: EventFilter(after=None), "after must be a duration: after=None; leave it out for the usual one"),  # type: ignore[arg-type]
    (lambda: EventFilter(kind=""), "kind must name a kind of event: kind=''; give one of the dataset's, as \"upgrade\""),
    (lambda: FundingWindow(None), 'a funding window needs a length: before=None, after=None; give before="1h", or after="1h"'),
    (lambda: FundingWindow("1"), "before must be a duration like \"30D\" or \"8h\": before='1'"),
    (lambda: FundingWindow(after="0h"), "after must be longer than zero: after='0h'; leave it out for none"),
    (lambda: PercentileSizer(0.4), "beyond must be at least 0.5: beyond=0.4"),
    (lambda: PercentileSizer(1.0), "beyond must be below 1: beyond=1"),
    (lambda: PercentileSizer(least=1.5), "least must be at most 1: least=1.5"),
    (lambda: PercentileSizer(least=None), "least must be a number: least=None; leave it out for the usual one"),  # type: ignore[arg-type]
    (lambda: PercentileSizer(window="x"), "window must be a duration like \"30D\" or \"8h\": window='x'"),
    (lambda: VolatilitySizer(0.0), "target must be above 0: target=0"),
    (lambda: VolatilitySizer(most=1e9), "most must be at most 1e+06: most=1e+09"),
    (lambda: VolatilitySizer(window=None), "window must be a duration: window=None; leave it out for the usual one"),  # type: ignore[arg-type]
    (lambda: LiquiditySizer(1.0), "beyond must be below 1: beyond=1"),
    (lambda: LiquiditySizer(-0.1), "beyond must be at least 0: beyond=-0.1"),
    (lambda: LiquiditySizer(least=-1.0), "least must be at least 0: least=-1"),
    (lambda: filters_of(5), 'filters must be filters: 5 is no filter; give bt.RegimeFilter(), or a text as "regime=calm,trending"'),
    (lambda: filters_of([None]), 'filters must be filters: None is no filter; give bt.RegimeFilter(), or a text as "regime=calm,trending"'),
    (lambda: filters_of(VolatilitySizer()), "filters must be filters: volatility=0.5,1,30D is no filter; it is a sizer, for sizers=…"),
    (lambda: sizers_of(["percentile", RegimeFilter()]), "sizers must be sizers: regime=calm,trending is no sizer; it is a filter, for filters=…"),
    (lambda: filters_of(["oi", "oi=1D"]), 'filter "oi=1D" stands twice; leave one out'),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "told"), WRONG, ids=[told[:40] for _, told in WRONG])
def test_what_makes_no_sense_is_refused(ask: Callable[[], object], told: str) -> None:
    with pytest.raises(ParameterError) as error:
        ask()
    assert str(error.value) == told


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (OpenInterestFilter(), f"{PERP} has no open interest in dataset test; import a series"),
        (VolumeDeltaFilter(), f"{SPOT} has no taker_buy_volume and volume in dataset test; import bars with the columns"),
        (LeverageFilter(), f"{PERP} has no open interest in dataset test"),
        (EventFilter(), 'no event of kind "upgrade" in dataset test; it has no events at all; import them'),
        (LiquiditySizer(), f"{PERP} has no spread and no depth in dataset test; import bars with bid and ask"),
    ],
    ids=str,
)
def test_what_the_data_lack_is_told_by_the_signal(small: Market, part: Filter | Sizer, told: str) -> None:
    chosen: dict[str, Any] = {"filters": (part,), "sizers": ()} if isinstance(part, Filter) else {"filters": (), "sizers": (part,)}
    with pytest.raises(DataError) as error:
        filtered(carry(small), small, **chosen)
    assert str(error.value).startswith(told)


def test_a_crowd_needs_futures_and_a_perpetual() -> None:
    market = in_memory({"LONG": spot(flat(4)), "SHORT": perpetual(flat(4))})
    with pytest.raises(
        DataError, match=r"^the rule needs dated futures and the dataset by hand has none; the market has LONG, SHORT, CLOCK$"
    ):
        CrowdingFilter().allows(market, replace(carry_of(market), long=None))


def test_a_market_of_a_few_bars_may_have_none_before_a_payment(tmp_path: Path) -> None:
    """That none is near enough is told once it can be known, not of every beginning of a run."""
    place = write(tmp_path, ether())
    short, longer = (bt.load_market(place, None, START + bars * HOUR) for bars in (10, 30))
    assert not both(FundingWindow("30min"), short, carry(short)).any()
    with pytest.raises(
        ParameterError, match=r"^filter funding=30min,none allows no entry on these bars: .*; the last bar before one ends 1h before it; "
    ):
        FundingWindow("30min").allows(longer, carry(longer))


def test_a_funding_window_needs_a_payment_to_wait_for(small: Market, market: Market) -> None:
    with pytest.raises(ParameterError) as error:
        FundingWindow().allows(small, Rule(long=small.spot, short=small.leg(NEAR)))
    assert str(error.value) == (
        f"filter funding=1h,none needs a perpetual leg: long={SPOT}, short={NEAR}; give short=market.perpetual, or leave it out"
    )
    with pytest.raises(ParameterError) as error:
        FundingWindow().allows(market, carry(market))
    assert str(error.value) == (
        f"filter funding=1h,none allows no entry on these bars: none ends so near a payment of {PERP}; the last bar before one ends 8h before it; "
        "give longer times, or load finer bars"
    )
    steady = in_memory({"LONG": spot(flat(4)), "SHORT": perpetual(flat(4), venue="deribit", funding=[(1.0, 0.001)])})
    with pytest.raises(ParameterError) as error:
        FundingWindow().allows(steady, carry_of(steady))
    assert str(error.value) == "filter funding=1h,none has nothing to wait for: deribit pays SHORT continuously; leave it out"
    unpaid = in_memory({"LONG": spot(flat(4)), "SHORT": perpetual(flat(4))})
    with pytest.raises(DataError, match=r"^SHORT: the dataset by hand has no funding; import it$"):
        FundingWindow().allows(unpaid, carry_of(unpaid))


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (np.ones(7, bool), "bool (7,)"),
        (np.ones(4), "float64 (4,)"),
        (np.ones((3, 4), bool), "bool (3, 4)"),
        ((np.ones(4, bool), np.ones((2, 2, 4), bool)), "bool (4,) and bool (2, 2, 4)"),
        ((np.ones(4, bool),), "bool (4,)"),
        (True, "bool"),
        ([True] * 4, "list"),
    ],
)
def test_a_filter_of_ones_own_must_answer_for_each_bar(answer: Any, got: str) -> None:
    market = in_memory({"LONG": spot(flat(4)), "SHORT": perpetual(flat(4))})
    with pytest.raises(ParameterError) as error:
        filtered(carry_of(market), market, (Given(answer),), ())
    assert str(error.value).endswith(
        "must give True or False for each of the 4 bars, as an array, or a row of them for each of the 1 pairs of contracts: "
        f"it gave {got}; build it from the arrays of the market that it gets"
    )
    assert str(error.value).startswith("filter given=")


@pytest.mark.parametrize("values", [np.ones(3), np.ones(4, bool), 0.5, np.array(["a"] * 4)])
def test_a_sizer_of_ones_own_must_answer_for_each_bar(values: Any) -> None:
    market = in_memory({"LONG": spot(flat(4)), "SHORT": perpetual(flat(4))})
    with pytest.raises(ParameterError, match=r"^sizer Half=half,.* must give a number for each of the 4 bars"):
        filtered(carry_of(market), market, (), (Half("half", values),))


def test_a_part_must_say_something() -> None:
    market = quadrants()
    with pytest.raises(NotImplementedError, match=r"^Filter must define allows\(market, rule\)$"):
        Filter().allows(market, carry_of(market))
    with pytest.raises(NotImplementedError, match=r"^Sizer must define scale\(market, rule\)$"):
        Sizer().scale(market, carry_of(market))


@pytest.mark.parametrize(
    ("signal", "told"),
    [
        (np.ones(3), "signal must have one value a bar"),
        (pd.Series(np.ones(4)), "signal must be indexed by the market's clock"),
        (np.array(["a", "b", "c", "d"]), "signal must be numbers, one value a bar"),
        (np.ones((2, 4)), "signal must have one value a bar"),
        (np.float64(3.0), "signal must have one value a bar"),
    ],
)
def test_a_signal_that_the_engine_refuses_is_refused_with_filters_too(signal: Any, told: str) -> None:
    market = in_memory({"LONG": spot(flat(4)), "SHORT": perpetual(flat(4))})
    allowed = np.ones(4, bool) if np.ndim(signal) < 2 else np.ones((1, 4), bool)
    found = filtered(carry_of(market, signal=signal, enter=0.5), market, (Given((allowed, allowed)),), ())
    with pytest.raises(ParameterError, match=f"^{told}"):
        bt.run(found, market, execution=FREE)
    scaled = filtered(carry_of(market, scale=signal), market, (), (Half("half", np.ones(4)),))
    with pytest.raises(ParameterError, match=f"^{told.replace('signal', 'scale')}"):
        bt.run(scaled, market, execution=FREE)


def test_a_table_of_other_pairs_is_refused_by_the_engine() -> None:
    market = in_memory({"LONG": spot(flat(4)), "NEAR": future(flat(4), expiry=3.0, settlement=100.0), "FAR": future(flat(4), expiry=9.0)})
    rule = Rule(long=market.leg("LONG"), short=market.future_chain(), signal=np.ones((3, 4)), enter=0.5)
    with pytest.raises(
        ParameterError, match=r"^signal must have one value a bar, or one row for each of the 2 contract pairs: shape \(3, 4\)"
    ):
        bt.run(filtered(rule, market, (Given(np.ones((2, 4), bool)),), ()), market, execution=FREE)


def test_the_list_is_whole() -> None:
    """Every filter and sizer of the package has a name, and stands on the command line."""
    assert [kind.name for kind in FILTERS.values()] == list(FILTERS)
    own = {kind for base in (Filter, Sizer) for kind in base.__subclasses__() if kind.__module__.startswith("backtest.")}
    assert own == {*FILTERS.values(), *SIZERS.values()}
