"""Golden cases of what a desk does with orders, money and limits, by the judge; the arithmetic stands in the comments.

As in `test_naive.py`: daily bars with T_t = day t + 1, capital 10,000, size 0.5, no costs, a first close of 100, hence q = 50.
Decisions fall at the close of bar 0 (day 1), fills at the open of bar 1.
"""

import math
from dataclasses import replace
from typing import Any

import pytest
from naive import DAY, NAN, NaiveResult, NaiveRule, inverse_breach_price, judge, maintenance
from test_naive import CAPITAL, FLAT, clock, instrument, last, near, slot

HOUR = DAY // 24
Path = list[float]


def flat(bars: int, price: float = 100.0) -> Path:
    return [price] * bars


def perp(opens: Path, closes: Path | None = None, **more: Any) -> Any:
    return instrument(opens, closes, kind="perpetual", **more)


def future(opens: Path, closes: Path | None = None, **more: Any) -> Any:
    return instrument(opens, closes, kind="future", **more)


def inverse(opens: Path, closes: Path | None = None, **more: Any) -> Any:
    return perp(opens, closes, **({"inverse": True, "contract": 1.0} | more))


def run(rule: NaiveRule, **market: Any) -> NaiveResult:
    side = rule.long or rule.short
    assert side is not None
    return judge(clock(len(side.instruments[0].open), **market), rule, CAPITAL)


def fills(result: NaiveResult) -> list[tuple[int, str, str, float]]:
    return [(fill.bar, fill.slot, fill.action, near(fill.quantity)) for fill in result.fills]


def once(bars: int) -> dict[tuple[int, int], Path]:
    """A signal that lets the rule enter at the first close and at no other."""
    return {pair: [1.0] + [NAN] * (bars - 1) for pair in ((0, 0), (0, -1), (-1, 0))}


def single(bars: int, **more: Any) -> NaiveRule:
    """Long a spot at 100 that never moves, entered once."""
    return NaiveRule(**({"long": slot(instrument(flat(bars))), "signal_plus": once(bars), "enter": 1.0} | more))


# --- fills -----------------------------------------------------------------------------------------------------------------------


def test_an_order_fills_by_its_share_of_the_volume_and_the_unfilled_part_leaves_the_other_slot_unhedged() -> None:
    # A tenth of 200 and of 400: 20 at 100 in bar 1, the other 30 at 101 in bar 2. The spot is wholly in (share 1) against 0.4:
    # from 100 to 101 the spot makes 50, of which 0.4 is price_long = 20 and legging = 30; the short makes −20. Then both are whole:
    # from 101 to 103 price_long +100, price_short −100. Mean entry of the short (20·100 + 30·101)/50 = 100.6.
    path = [100.0, 100.0, 101.0, 103.0]
    closes = [100.0, 101.0, 103.0, 103.0]
    thin = slot(perp(path, closes, volume=[NAN, 200.0, 400.0, NAN]), participation=0.1)
    result = run(NaiveRule(long=slot(instrument(path, closes)), short=thin))
    assert fills(result) == [(1, "long", "entry", 50.0), (1, "short", "entry", -20.0), (2, "short", "entry", -30.0)]
    assert last(result) == near({"price_long": 120.0, "price_short": -120.0, "legging": 30.0})
    assert result.sources["legging"] == near([0.0, 30.0, 30.0, 30.0])
    trade = result.trades[0]
    assert (trade.quantity, trade.entry_short, trade.entry_premium) == near((50.0, 100.6, 0.006))
    # The account of 20 at 100 was settled at 101 and opened anew: collateral 50·101.
    assert result.state["short collateral"] == near(5050.0)


def test_room_is_whole_lots_unless_it_covers_the_order_and_shrinks_with_stress() -> None:
    # Lots of 7: q = 49. Rooms 20 → 14 and 30 → 28, then 7.9 covers the last 7. Twice the stress: 10 → 7, 15 → 14, 3.95 → none.
    thin = slot(instrument(flat(4), volume=[NAN, 200.0, 300.0, 79.0], lot=7.0), participation=0.1)
    assert [fill.quantity for fill in run(NaiveRule(long=thin)).fills] == [14.0, 28.0, 7.0]
    assert [fill.quantity for fill in run(NaiveRule(long=thin), stress=flat(4, 2.0)).fills] == [7.0, 14.0]
    # No volume, no room.
    silent = slot(instrument(flat(4), volume=[NAN, NAN, 0.0, 900.0]), participation=0.1)
    result = run(NaiveRule(long=silent))
    assert fills(result) == [(3, "long", "entry", 50.0)]
    assert result.waited == [(1, "long"), (2, "long")]


@pytest.mark.parametrize(
    ("more", "stress", "cost"),
    [
        # Square root: the last day is bar 0, 200·100 = 20,000 traded; √(5,000/20,000) = 0.5, so i = 0.005 and c = 0.001 + 0.005
        ({"impact": 0.01}, 1.0, 0.006),
        # known at the open, it doubles both
        ({"impact": 0.01}, 2.0, 0.012),
        # Linear: 0.01·5,000/25,000 = 0.002
        ({"impact": 0.01, "impact_model": "linear"}, 1.0, 0.003),
        ({}, 3.0, 0.003),
    ],
)
def test_impact_and_stress_move_the_price(more: dict[str, Any], stress: float, cost: float) -> None:
    # slippage = 50·100·c, fee = 0.001·50·100·(1 + c) + 0.02 a coin
    spot = instrument(flat(2), volume=[200.0, NAN], depth=[25_000.0, NAN])
    result = run(NaiveRule(long=slot(spot, half_spread=0.001, fee=0.001, unit_fee=0.02, **more)), stress=[stress, 9.0])
    assert last(result) == near({"slippage": -5000.0 * cost, "fees": -(5.0 * (1.0 + cost) + 1.0)})


def test_without_volume_or_depth_an_order_with_impact_waits() -> None:
    # Volume is known from bar 1 on, hence for the open of bar 2; of depth the same.
    spot = instrument(flat(4), volume=[NAN, 200.0, 200.0, 200.0], depth=[0.0, 25_000.0, 25_000.0, 25_000.0])
    for model in ("square_root", "linear"):
        assert fills(run(single(4, long=slot(spot, impact=0.01, impact_model=model)))) == [(2, "long", "entry", 50.0)]


def test_the_volume_of_the_last_day_leaves_out_the_bar_that_ended_a_day_before_the_open() -> None:
    # Half-day bars at 0.5, 1, 1.5 and 2 days; decided at 1 (bar 1), filled in bar 2, which opens at 1: bars 0 and 1 count, 100·100 each.
    # In bar 3, opening at 1.5, those of 1 and 1.5. √(5,000/20,000) = 0.5 → 0.5%.
    market = replace(clock(4), stamps=[(bar + 1) * DAY // 2 for bar in range(4)], step=DAY // 2)
    spot = instrument([NAN, 100.0, 100.0, 100.0], flat(4), volume=[100.0, 100.0, 700.0, NAN])
    spot = replace(spot, close=flat(4))
    result = judge(market, NaiveRule(long=slot(spot, impact=0.01)), CAPITAL)
    assert (result.fills[0].bar, result.fills[0].slippage) == (2, near(25.0))
    # Decided a bar later: the window (0.5, 1.5] has 100 + 700 → √(5,000/80,000) = 0.25 → 0.25%
    result = judge(market, NaiveRule(long=slot(replace(spot, fresh=[False, False, True, True]), impact=0.01)), CAPITAL)
    assert (result.fills[0].bar, result.fills[0].slippage) == (3, near(12.5))


def test_the_setting_of_the_half_spread_may_be_a_series_and_may_go_before_the_quotes() -> None:
    # Known at the end of bar 0: 0.3%, a quote of 0.2%; the series' gap is one basis point.
    spot = instrument(flat(2), bid=[99.8, NAN], ask=[100.2, NAN])
    by_quote = slot(spot, half_spreads=[0.003, 0.9])
    assert last(run(NaiveRule(long=by_quote))) == near({"slippage": -10.0})
    assert last(run(NaiveRule(long=replace(by_quote, own_spread=True)))) == near({"slippage": -15.0})
    assert last(run(NaiveRule(long=replace(by_quote, own_spread=True, half_spreads=[NAN, 0.9])))) == near({"slippage": -0.5})


def test_a_maker_waits_until_the_bar_trades_through_and_earns_the_half_spread() -> None:
    # Buys at 100·0.999 = 99.9: a low of 99.9 is not through it, 99.8 is. Fee 0.0002·50·99.9, and 50·100·0.001 = 5 is earned; no stress.
    spot = instrument(flat(4), high=flat(4), low=[100.0, 99.9, 99.8, 100.0], volume=flat(4, NAN))
    buyer = slot(spot, maker=True, half_spread=0.001, fee=0.0002, taker_fee=0.9, impact=9.0)
    result = run(NaiveRule(long=buyer), stress=flat(4, 2.0))
    assert fills(result) == [(2, "long", "entry", 50.0)]
    assert last(result) == near({"slippage": 5.0, "fees": -0.0002 * 50 * 99.9})
    # Sells at 100.1: a high of 100.1 is not through it.
    seller = slot(perp(flat(4), high=[100.0, 100.1, 100.11, 100.0], low=flat(4)), maker=True, half_spread=0.001)
    result = run(NaiveRule(short=seller))
    assert (result.fills[0].bar, result.fills[0].price) == (2, near(100.1))


@pytest.mark.parametrize(("latency", "bar"), [(0, 1), (1, 2), (DAY, 2), (DAY + 1, 3)])
def test_latency_lets_an_order_meet_the_first_open_after_it(latency: int, bar: int) -> None:
    # Decided at day 1; bars 1, 2, 3 open at days 1, 2, 3.
    assert fills(run(single(5, long=slot(instrument(flat(5)), latency=latency)))) == [(bar, "long", "entry", 50.0)]


def test_fees_are_those_in_force_when_the_bar_opens() -> None:
    # From day 1 on 0.2%, from just after it 0.3%: the fill of bar 1 pays 0.2% of 5,000.
    dear = slot(instrument(flat(3)), fee=0.001, changes=[(DAY, {"fee": 0.002}), (DAY + 1, {"fee": 0.003})])
    assert last(run(NaiveRule(long=dear))) == near({"fees": -10.0})
    # So do the tiers: 500 + 50·(m − 100) at 92 is 100, below 3% of 4,600 = 138 and not below 0.4%.
    leveraged = slot(perp([100.0, 100.0, 95.0], mark_low=[100.0, 100.0, 92.0]), tiers=FLAT)
    stricter = replace(leveraged, changes=[(2 * DAY, {"tiers": ((0.0, 0.03, 0.0),)})])
    assert run(NaiveRule(long=leveraged, leverage=10.0)).trades[0].reason == "end of data"
    assert run(NaiveRule(long=stricter, leverage=10.0)).trades[0].reason == "liquidation"


# --- two legs --------------------------------------------------------------------------------------------------------------------


def test_a_chased_order_gives_up_the_maker_price_and_the_participation() -> None:
    # Ready at day 1 and never traded through. At day 3 it has waited two days, so it is a taker in bar 3: c = +0.1%, fee 0.2%, all at once.
    resting = slot(
        instrument(flat(5), high=flat(5), low=flat(5), volume=flat(5, 10.0)),
        maker=True, half_spread=0.001, fee=0.0, taker_fee=0.002, participation=0.1,
    )  # fmt: skip
    rule = single(5, long=resting, policy="chase", patience=2 * DAY)
    assert fills(run(rule)) == [(3, "long", "entry", 50.0)]
    assert last(run(rule)) == near({"slippage": -5.0, "fees": -0.002 * 50 * 100.1})
    assert run(replace(rule, policy="wait")).fills == []
    assert fills(run(replace(rule, patience=2 * DAY + 1))) == [(4, "long", "entry", 50.0)]
    # The chase is over with the order: the exit, decided at day 4, rests again.
    assert run(replace(rule, max_hold=DAY)).state["long quantity"] == 50.0


def test_an_entry_with_one_slot_in_is_undone_after_the_patience() -> None:
    # The spot is in at day 1, the perpetual has no bars: at day 3 it has waited two days, the spot is sold at the open of bar 3 at 102.
    spot = instrument([100.0, 100.0, 101.0, 102.0, 102.0])
    absent = perp([100.0, NAN, NAN, NAN, NAN])
    rule = single(5, long=slot(spot), short=slot(absent), policy="undo", patience=2 * DAY)
    result = run(rule)
    assert (result.trades[0].reason, result.trades[0].exited_at) == ("unfilled", 3 * DAY)
    assert last(result) == near({"legging": 100.0})
    assert run(replace(rule, policy="chase")).trades[0].reason == "end of data"
    # With nothing in, the orders are called off.
    nothing = run(replace(rule, long=slot(instrument([100.0, NAN, NAN, NAN, NAN]))))
    assert (nothing.called_off, nothing.trades) == ([(2, "unfilled")], [])


# --- tranches --------------------------------------------------------------------------------------------------------------------


def test_an_entry_in_tranches_by_time_is_complete_with_the_last() -> None:
    # q = 40 by lots of 20. Half of it at day 1 (bar 1), the rest at the first close at or after day 3 (bar 3 at 102). The stop is
    # measured from the mean references: spot (20·100 + 20·102)/40 = 101, perpetual 103 → 2/101.
    spot = instrument([100.0, 100.0, 101.0, 102.0, 102.0, 102.0], lot=20.0)
    short = perp([103.0] * 6)
    rule = single(6, long=slot(spot), short=slot(short), entry_tranches=2, tranche_gap=2 * DAY)
    result = run(rule)
    assert fills(result) == [
        (1, "long", "entry", 20.0),
        (1, "short", "entry", -20.0),
        (3, "long", "entry", 20.0),
        (3, "short", "entry", -20.0),
    ]
    assert (result.trades[0].entry_long, result.trades[0].entry_premium, result.trades[0].quantity) == near((101.0, 2.0 / 101.0, 40.0))
    assert last(result) == near({"price_long": 40.0})  # 20·(102 − 100): equal shares, no legging
    # Judged once complete, at day 4: (103 − 102)/102 ≥ 2/101 − 0.01.
    assert run(replace(rule, stop=-0.01)).trades[0].exited_at == 4 * DAY
    # A gap of none: every close.
    assert [fill.bar for fill in run(replace(rule, tranche_gap=0)).fills] == [1, 1, 2, 2]


def test_a_tranche_below_a_lot_waits_for_the_next() -> None:
    # q = 30, one lot: nothing of it at day 1 and day 2, all of it at day 3.
    rule = single(5, long=slot(instrument(flat(5), lot=30.0)), entry_tranches=3, tranche_gap=DAY)
    result = run(rule)
    assert fills(result) == [(3, "long", "entry", 30.0)]
    assert result.pairs == [(0, -1)] * 5


def test_tranches_with_the_funding_are_due_at_the_next_payment() -> None:
    # A payment at 0.5 days, two days apart: the next is expected at 2.5, so the second tranche is decided at day 3. Then 4.5 (the event
    # of 2.5 came): the third at day 5.
    short = perp(flat(7), funding=[(DAY // 2, 0.0, 100.0), (5 * DAY // 2, 0.0, 100.0)], interval=2 * DAY)
    rule = NaiveRule(short=slot(short), signal_plus=once(7), enter=1.0, entry_tranches=3, tranche_gap="funding")
    assert [fill.bar for fill in run(rule).fills] == [1, 3, 5]
    # None is expected: every close.
    assert [fill.bar for fill in run(replace(rule, short=slot(perp(flat(7))))).fills] == [1, 2, 3]


def test_a_calm_reason_leaves_in_tranches_and_an_urgent_one_at_once() -> None:
    # The time is up at day 3, 50 are held by lots of 10: half of them (20 by whole lots) at bar 3, the rest, due at day 4.5, decided at
    # day 5, at bar 5. Mean exit (20·103 + 30·105)/50 = 104.2.
    path = [100.0, 100.0, 101.0, 103.0, 104.0, 105.0]
    rule = single(6, long=slot(instrument(path, lot=10.0)), max_hold=2 * DAY, exit_tranches=2, tranche_gap=3 * DAY // 2)
    result = run(rule)
    assert fills(result) == [(1, "long", "entry", 50.0), (3, "long", "exit", -20.0), (5, "long", "exit", -30.0)]
    assert (result.trades[0].exit_long, result.trades[0].exited_at, result.trades[0].reason) == (near(104.2), 5 * DAY, "time")
    # A limit of −0.1% on the loss holds at once, at day 2.
    urgent = run(replace(rule, max_hold=None, loss=-0.001, exit_tranches=2))
    assert fills(urgent)[-1] == (2, "long", "exit", -50.0)


def test_a_liquidation_ends_the_tranches() -> None:
    # Half leaves at bar 2. In bar 3 the perpetual's mark reaches 125: 25·100/10 = 250 < 25·25. The rest of the spot leaves in bar 4.
    high = [100.0, 100.0, 100.0, 125.0, 100.0, 100.0]
    short = slot(perp(flat(6), mark_high=high), tiers=FLAT)
    rule = single(6, short=short, max_hold=DAY, exit_tranches=2, tranche_gap=9 * DAY, leverage=10.0)
    result = run(rule)
    assert fills(result)[2:] == [
        (2, "long", "exit", -25.0),
        (2, "short", "exit", 25.0),
        (3, "short", "liquidation", 25.0),
        (4, "long", "exit", -25.0),
    ]
    assert result.trades[0].reason == "time"


# --- funding, in time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "rate", "wait", "bar"),
    [
        # The last payment at 0.5 days, the next expected at 1.5: orders wait for the open at day 2, if half a day is near enough.
        ("before", 0.001, 12 * HOUR, 1),
        ("after", 0.001, 12 * HOUR, 2),
        ("after", 0.001, 12 * HOUR - 1, 1),
        ("better", 0.001, 12 * HOUR, 1),  # the short would receive
        ("better", -0.001, 12 * HOUR, 2),
        ("better", 0.0, 12 * HOUR, 1),
    ],
)
def test_an_entry_waits_for_the_payment(mode: str, rate: float, wait: int, bar: int) -> None:
    short = slot(perp(flat(4), funding=[(DAY // 2, rate, 100.0)], interval=DAY))
    result = run(single(4, short=short, funding_entry=mode, funding_wait=wait))
    assert fills(result) == [(bar, "long", "entry", 50.0), (bar, "short", "entry", -50.0)]


def test_a_fill_at_the_very_instant_of_a_payment_comes_after_it() -> None:
    # Expected at day 2, paid at day 2: the fill at the open of bar 2 is too late for it, and with a latency bar 3's is.
    funding = [(DAY, 0.001, 100.0), (2 * DAY, 0.001, 100.0)]
    short = slot(perp(flat(5), funding=funding, interval=DAY))
    rule = single(5, short=short, funding_entry="after", funding_wait=DAY)
    assert last(run(rule)) == {}
    assert [fill.bar for fill in run(rule).fills] == [2, 2]
    assert [fill.bar for fill in run(replace(rule, short=replace(short, latency=1))).fills] == [2, 3]


def test_a_calm_exit_is_held_for_a_payment_that_the_position_receives() -> None:
    # The time is up at day 2, the next payment is expected at 2.5 (the last was at 1.5): leave at day 3 instead of day 2.
    def left(rate: float, *, hold: bool = True, **more: Any) -> int:
        funding = [(3 * DAY // 2, rate, 100.0), (5 * DAY // 2, rate, 100.0)]
        short = slot(perp(flat(5), funding=funding, interval=DAY))
        result = run(single(5, short=short, funding_wait=12 * HOUR, hold_for_funding=hold, max_hold=DAY, **more))
        return (result.trades[0].exited_at or 0) // DAY

    assert (left(0.001), left(-0.001), left(0.001, hold=False)) == (3, 2, 2)
    # An urgent reason, here a limit of −1% on the loss, doesn't wait.
    assert left(0.001, loss=-0.01) == 2


def test_funding_is_paid_on_the_index_where_the_venue_does() -> None:
    # Just inside bar 1: the index of bar 0, 99; without one the mark, 98.
    more: dict[str, Any] = {"mark": flat(3, 98.0), "funding": [(DAY + 1, 0.01, NAN)]}
    paid = [
        run(NaiveRule(short=slot(perp(flat(3), notional=notional, index=index, **more)))).sources["funding"][-1]
        for notional, index in (("index", flat(3, 99.0)), ("mark", flat(3, 99.0)), ("index", ()), ("index", [NAN, 99.0, 99.0]))
    ]
    assert paid == near([50 * 0.99, 50 * 0.98, 50 * 0.98, 50 * 0.98])


# --- money, wallets, top-ups -----------------------------------------------------------------------------------------------------


def test_a_wallet_bounds_the_quantity() -> None:
    # Size 0.8 wants 80; 5,000 in the spot's wallet pay 50. With 7,000/3,000: 70 for the spot, 30 for a leverage of 1, 60 for 2.
    def quantity(wallets: tuple[float, float] | None, leverage: float, sides: str = "plus") -> float:
        rule = NaiveRule(
            long=slot(instrument(flat(2))), short=slot(perp(flat(2))), size=0.8, wallets=wallets, leverage=leverage, sides=sides
        )
        return abs(run(rule).fills[0].quantity)

    assert [quantity(None, 1.0), quantity((0.5, 0.5), 1.0), quantity((0.7, 0.3), 1.0), quantity((0.7, 0.3), 2.0)] == near(
        [80.0, 50.0, 30.0, 60.0]
    )
    # A short spot needs nothing.
    assert quantity((0.2, 0.8), 1.0, "minus") == near(80.0)


def test_a_resize_counts_what_the_slot_already_has_in_its_account() -> None:
    # Wallets 5,000/5,000, q = 50 short at leverage 1 and 0 left. Close 50: gain 2,500, equity 12,500 → 0.5·12,500/50 = 125 wanted,
    # 7,500/50 = 150 can be paid. At a close of 200: loss 5,000, account 0: nothing to resize to.
    def resized(close: float) -> list[float]:
        rule = NaiveRule(short=slot(perp([100.0, 100.0, close], [100.0, close, close])), wallets=(0.5, 0.5), resize=1.1, margin="off")
        return [fill.quantity for fill in run(rule).fills]

    assert resized(50.0) == near([-50.0, -75.0])
    assert resized(200.0) == near([-50.0])


def test_flat_wallets_are_brought_back_to_their_shares_and_the_money_takes_its_time() -> None:
    # The spot gains 20·50, the short loses it: wallets 6,000/4,000 at day 3. 1,000 is sent with a fee of 3, arrives at the open after
    # day 3 + 1.5 = bar 5. On its way it earns: B = 9,997 throughout, at 0.0365 → 0.9997 a day; interest so far was
    # (10,000 + 0 + 10,000)·0.0001: bars 0 and 2, in bar 1 all cash is in the slots.
    path = [100.0, 100.0, 120.0, 120.0, 120.0, 120.0]
    rule = single(
        6,
        long=slot(instrument(path)),
        short=slot(perp(path)),
        max_hold=DAY,
        wallets=(0.5, 0.5),
        transfer_fee=3.0,
        transfer_delay=3 * DAY // 2,
    )
    result = run(rule)
    assert result.sent == [(2, "long", "short", near(1000.0))]
    assert last(result)["fees"] == near(-3.0)
    assert (result.state["long wallet"], result.state["short wallet"], result.state["under way"]) == near((4997.0, 5000.0, 0.0))
    assert result.trades[0].attribution["fees"] == 0.0
    assert run(replace(rule, transfer_delay=5 * DAY)).state["under way"] == near(1000.0)
    # With interest: bar 0 earns 1 (B = 10,000), bar 1 nothing more (B = 1, and 0.0001 of it), bar 2 again on all cash.
    earning = run(rule, idle_rate=[(0, 0.0365)])
    assert earning.balance[3:] == near([earning.balance[3], earning.balance[3], earning.balance[5]])
    assert earning.sources["idle_cash"][4] - earning.sources["idle_cash"][3] == near(earning.balance[3] * 0.0001)
    # Below 1% nothing moves.
    small = [100.0, 100.0, 101.0, 101.0, 101.0, 101.0]
    assert run(replace(rule, long=slot(instrument(small)), short=slot(perp(small)))).sent == []


def topped(delay: int, **more: Any) -> NaiveResult:
    """Short 50 at 100, collateral 1,000. Close of bar 1 at 112: 400 left, less than half of 50·112/5 = 1,120: 720 is missing."""
    short = slot(perp([100.0, 100.0, 112.0, 112.0], [100.0, 112.0, 112.0, 112.0], mark_high=[100.0, 112.0, 125.0, 112.0]), tiers=FLAT)
    return run(NaiveRule(short=short, leverage=5.0, signal_plus=once(4), enter=1.0, transfer_delay=delay, transfer_fee=2.0, **more))


def test_a_top_up_in_time_saves_the_position_and_one_too_late_does_not() -> None:
    # In time: 1,720 − 50·25 = 470 at the high of 125, the maintenance is 25. B = 10,000 − 1,000 − 720 − 2.
    result = topped(0, top_up=0.5)
    assert result.trades[0].reason == "end of data"
    assert (result.state["short collateral"], result.balance[1], last(result)["fees"]) == near((1720.0, 8278.0, -2.0))
    assert topped(0, top_up=0.35).trades[0].reason == "liquidation"  # 400 is not below 0.35·1,120 = 392
    # A day later it arrives at the open of bar 3: liquidated at (1,000 + 5,000)/50.2, and the money goes to cash.
    late = topped(1 + DAY, top_up=0.5)
    assert late.trades[0].reason == "liquidation"
    price = 6000.0 / 50.2
    assert late.equity[2] == near(10_000.0 - 2.0 - 50.0 * (price - 100.0))
    assert late.balance[2] == near(late.equity[2] - 720.0)
    assert topped(DAY, top_up=0.5).balance[3] == near(late.equity[2])
    assert (late.state["cash"], late.state["short top-up"]) == near((late.equity[2] - 720.0, 720.0))


def test_a_top_up_takes_the_slot_s_own_wallet_first() -> None:
    # 8,000 of the short's wallet remain 7,000: sent without a fee for the next bar, whatever the delay.
    own = topped(9 * DAY, top_up=0.5, wallets=(0.2, 0.8))
    assert (own.sent, own.trades[0].reason) == ([(1, "short", "short", near(720.0))], "end of data")
    assert "fees" not in last(own)
    # The short's wallet of 1,000 is in the collateral: the long one pays, with the fee.
    other = topped(0, top_up=0.5, wallets=(0.9, 0.1), size=0.5)
    assert other.sent == [(1, "long", "short", near(720.0))]
    assert (other.state["long wallet"], last(other)["fees"]) == near((9000.0 - 720.0 - 2.0, -2.0))


def test_staked_coins_take_their_time_and_an_expiry_does_not_wait() -> None:
    # The time is up at day 2, two days of unstaking: both orders at day 4.
    rule = single(7, short=slot(perp(flat(7))), max_hold=DAY, stake=True, unstake=2 * DAY)
    assert run(rule).trades[0].exited_at == 4 * DAY
    assert run(replace(rule, stake=False)).trades[0].exited_at == 2 * DAY
    # Latency comes on top: in at bars 1 and 2, the time is up at day 3, out at days 5 and 6.
    latent = single(8, short=slot(perp(flat(8)), latency=DAY), max_hold=2 * DAY, stake=True, unstake=2 * DAY)
    assert [fill.bar for fill in run(latent).fills] == [1, 2, 5, 6]
    # A liquidation in bar 2 (until day 3): the spot leaves at day 5. An expiry at day 3: at day 3.
    broken = slot(perp(flat(7), mark_high=[100.0, 100.0, 250.0, *flat(4)]), tiers=FLAT)
    assert run(replace(rule, max_hold=None, short=broken)).trades[0].exited_at == 5 * DAY
    ends = slot(future([100.0] * 3 + [NAN] * 4, expiry=3 * DAY, settlement=100.0))
    assert run(replace(rule, max_hold=None, short=ends)).trades[0].exited_at == 3 * DAY


def test_a_liquidation_does_not_put_off_an_exit_that_waits_already() -> None:
    # Leaving since day 2, ready at day 4; the liquidation of bar 2 (until day 3) would make it day 5.
    broken = slot(perp(flat(7), mark_high=[100.0, 100.0, 250.0, *flat(4)]), tiers=FLAT)
    result = run(single(7, short=broken, max_hold=DAY, stake=True, unstake=2 * DAY))
    assert fills(result)[2:] == [(2, "short", "liquidation", 50.0), (4, "long", "exit", -50.0)]


def test_a_resize_that_has_filled_in_one_slot_leaves_part_of_the_other_unhedged() -> None:
    # At day 2 both stand at 150: 50·150 against 5,000 → 100/3 each. The perpetual buys 50/3 at 150 in bar 2, the spot (no bar 2) sells its
    # at 170 in bar 3. Until then shares are 1.5 and 1: of the spot's 50·20 = 1,000 two thirds are hedged.
    spot = instrument([100.0, 100.0, NAN, 170.0], [100.0, 150.0, NAN, 170.0])
    short = perp([100.0, 100.0, 150.0, 170.0], [100.0, 150.0, 150.0, 170.0])
    result = run(NaiveRule(long=slot(spot), short=slot(short), resize=1.25, margin="off"))
    assert fills(result)[2:] == [(2, "short", "resize", 50.0 / 3.0), (3, "long", "resize", -50.0 / 3.0)]
    hedged = {"price_long": 2500.0 + 2000.0 / 3.0, "price_short": -2500.0 - 2000.0 / 3.0, "legging": 1000.0 / 3.0}
    assert last(result) == near(hedged)


def test_what_can_be_borrowed_bounds_a_short_spot_and_its_recall_ends_it() -> None:
    # 30 coins at day 1, 30 still at day 2, 29 at day 3: recalled, bought back at day 3. Side −1 sells the spot.
    rule = single(5, short=slot(perp(flat(5))), sides="minus", signal_plus={(0, 0): [-1.0, NAN, NAN, NAN, NAN]})
    result = run(rule, borrow_available=[30.0, 30.0, 29.0, 50.0, 50.0])
    assert fills(result)[:2] == [(1, "long", "entry", -30.0), (1, "short", "entry", 30.0)]
    assert (result.trades[0].reason, result.trades[0].exited_at) == ("recall", 3 * DAY)
    assert run(rule, borrow_available=flat(5, 0.0)).trades == []
    assert run(replace(rule, sides="plus", signal_plus=once(5)), borrow_available=flat(5, 0.0)).trades[0].quantity == 50.0


# --- limits ----------------------------------------------------------------------------------------------------------------------


def test_the_scale_multiplies_the_size() -> None:
    # 0.5·0.6·10,000/100 = 30; unknown or nothing: no entry.
    def quantity(scale: float) -> float:
        result = run(single(3, scale={(0, -1): [scale, NAN, NAN]}))
        return result.fills[0].quantity if result.fills else 0.0

    assert [quantity(value) for value in (0.6, NAN, 0.0, -1.0)] == near([30.0, 0.0, 0.0, 0.0])


def test_exposure_ends_a_trade_that_has_outgrown_its_equity() -> None:
    # Long perpetual of 50 at leverage 1; close 130 at day 2: 6,500 against an equity of 11,500 = 0.5652.
    rule = single(4, long=slot(perp([100.0, 100.0, 130.0, 130.0], [100.0, 130.0, 130.0, 130.0])))
    assert run(replace(rule, exposure=0.565)).trades[0].reason == "exposure"
    assert run(replace(rule, exposure=0.566)).trades[0].reason == "end of data"


def test_a_drawdown_ends_the_trade_and_pauses_entries() -> None:
    # 50 coins: 100 → 104 (10,200, the peak) → 99.9 (9,995): 2.0098% below it, at day 3. Out at day 3; with a pause of two days the close
    # of day 5 enters again. The peak is 9,995 then: the fall to 98 (50·1.9 = 95, less than 1%) does nothing.
    path = [100.0, 100.0, 104.0, 99.9, 99.9, 99.9, 98.0]
    closes = [100.0, 104.0, 99.9, 99.9, 99.9, 98.0, 98.0]
    rule = NaiveRule(long=slot(instrument(path, closes)), drawdown=0.02, pause=2 * DAY)
    result = run(rule)
    assert [(trade.reason, trade.entered_at // DAY) for trade in result.trades] == [("drawdown", 1), ("end of data", 5)]
    assert result.trades[0].exited_at == 3 * DAY
    assert len(run(replace(rule, pause=None)).trades) == 1
    assert [trade.reason for trade in run(replace(rule, drawdown=0.03)).trades] == ["end of data"]
    # Just out, and at once in again: the pause is over at the close that began it, but only the next close is flat.
    assert [trade.entered_at // DAY for trade in run(replace(rule, pause=0)).trades] == [1, 4]


def test_an_illiquid_pair_is_left_and_not_entered() -> None:
    # Spread over the mid: 0.2/100 = 0.2% at the first two closes, then 1%.
    bid, ask = [99.9, 99.9, 99.5, 99.9, 99.9], [100.1, 100.1, 100.5, 100.1, 100.1]
    rule = NaiveRule(long=slot(instrument(flat(5), bid=bid, ask=ask), own_spread=True), max_spread=0.005)
    result = run(rule)
    assert [(trade.reason, trade.entered_at // DAY) for trade in result.trades] == [("liquidity", 1), ("end of data", 4)]
    assert run(replace(rule, max_spread=0.001)).trades == []
    # Unknown: not entered, not left. No quotes at all: not asked.
    gap = instrument(flat(5), bid=[NAN, *flat(4, 99.9)], ask=[NAN, *flat(4, 100.1)])
    assert run(replace(rule, long=slot(gap, own_spread=True))).trades[0].entered_at == 2 * DAY
    later = instrument(flat(5), bid=[99.9, NAN, NAN, NAN, NAN], ask=flat(5, 100.1))
    assert [trade.reason for trade in run(replace(rule, long=slot(later, own_spread=True))).trades] == ["end of data"]
    assert run(replace(rule, long=slot(instrument(flat(5))))).trades[0].entered_at == DAY
    # Depth: 900 is less than 1,000 at the third close.
    deep = slot(instrument(flat(5), depth=[1000.0, 1000.0, 900.0, 1000.0, NAN]))
    assert [trade.reason for trade in run(NaiveRule(long=deep, min_depth=1000.0)).trades] == ["liquidity", "end of data"]


def test_a_premium_that_has_not_converged_in_time_ends_the_trade() -> None:
    # Entry premium 2%. Two days after the entry, at day 3, it is 2% still; where it is 1.9% it may go on, until it is back at day 4.
    def left(closes: Path) -> tuple[str, int]:
        short = slot(perp([102.0, 102.0, *closes[2:]], closes))
        (trade,) = run(single(6, short=short, converge=2 * DAY)).trades
        return trade.reason, (trade.exited_at or 0) // DAY

    assert left([102.0, 103.0, 102.0, 101.0, 101.0, 101.0]) == ("no convergence", 3)
    assert left([102.0, 103.0, 101.9, 102.0, 101.0, 101.0]) == ("no convergence", 4)
    assert left([102.0, 103.0, 101.9, 101.9, 101.0, 101.0]) == ("end of data", 0)


def test_the_annualized_stop_compares_premiums_a_year() -> None:
    # Expiry at day 11. In at day 1 with 1% over 10 days = 36.5% a year. At day 3 (8 days left) 1% is 45.625%: +9.125% is over 9%, under 10%.
    dated = slot(future(flat(5, 101.0), expiry=11 * DAY))
    rule = single(5, short=dated, stop_annualized=0.09)
    # At day 2 (9 days) it is 40.56%: +4.06%.
    assert (run(rule).trades[0].reason, run(rule).trades[0].exited_at) == ("stop", 3 * DAY)
    assert run(replace(rule, stop_annualized=0.04)).trades[0].exited_at == 2 * DAY
    assert run(replace(rule, stop_annualized=0.2)).trades[0].reason == "end of data"


def test_a_position_with_a_gain_is_taken_away_by_deleveraging() -> None:
    # The short perpetual has gained 10 at the close of bar 2. With a gap of 5% it is bought back at 90·1.05 = 94.5: the short makes
    # 50·5.5 = 275; the spot's reference moves to 94.5·90/90, the rest to its sale at 91 is legging.
    spot = slot(instrument([100.0, 100.0, 95.0, 91.0], [100.0, 95.0, 90.0, 91.0]))
    short = slot(perp([100.0, 100.0, 95.0, 91.0], [100.0, 95.0, 90.0, 91.0]), liquidation_fee=0.1)
    rule = single(4, long=spot, short=short, deleveraged_at=2 * DAY + 1, deleveraged_gap=0.05)
    result = run(rule)
    assert last(result) == near({"price_short": 275.0, "price_long": -275.0, "legging": 50 * (91.0 - 94.5)})
    assert (result.trades[0].reason, result.fills[2].action, result.fills[2].fee) == ("deleveraging", "deleveraging", 0.0)
    assert (result.trades[0].exited_at, result.trades[0].exit_short) == (3 * DAY, 94.5)
    # At day 2 exactly it belongs to bar 1. A position with a loss is left alone.
    assert run(replace(rule, deleveraged_at=2 * DAY)).fills[2].bar == 1
    losing = replace(rule, signal_plus={(0, 0): [-1.0, NAN, NAN, NAN]}, sides="minus")
    assert run(losing).trades[0].reason == "end of data"


# --- roll ------------------------------------------------------------------------------------------------------------------------


def rolled(*, missing: bool = False, **more: Any) -> NaiveResult:
    """Short the first contract (expires at day 5.5) from day 1; at day 3 it has 2.5 days left and the chain offers the second."""
    spot = instrument([100.0, 100.0, 100.0, 101.0, 101.0, 101.0, 101.0])
    first = future([102.0, 102.0, 102.0, 102.5, 102.0, 101.5, NAN], expiry=11 * DAY // 2, settlement=101.0)
    second = future([104.0, 104.0, 104.0, NAN if missing else 105.0, 104.0, 103.0, 103.0], expiry=30 * DAY)
    terms = {"is_chain": True, "min_days": 3.0, "fee": 0.001, "half_spread": 0.002}
    signal = {(0, 0): [1.0, NAN, NAN, NAN, NAN, NAN, NAN], (0, 1): [NAN, NAN, 1.0, 1.0, 1.0, NAN, NAN]}
    rule = NaiveRule(long=slot(spot), short=slot(first, second, **terms), signal_plus=signal, enter=1.0, roll_days=2.5)
    return run(replace(rule, **more))


def test_a_roll_leaves_the_old_contract_and_enters_the_new_one_at_the_same_open() -> None:
    # Sold 50 at 102 (101.796 paid). In bar 3 bought back at 102.5, the new one sold at 105; the spot stays. Prices:
    #   price_short −50·(102.5 − 102) = −25 and −50·(103 − 105) = 100; price_long 50·(101 − 100) = 50.
    # Costs 0.2% of half-spread and 0.1% of fee: slippage 50·0.002·(102 + 102.5 + 105), fees 50·0.001·(102·0.998 + 102.5·1.002 + 105·0.998).
    result = rolled()
    assert fills(result)[2:] == [(3, "short", "roll", 50.0), (3, "short", "roll", -50.0)]
    fees = 0.05 * (102.0 * 0.998 + 102.5 * 1.002 + 105.0 * 0.998)
    assert last(result) == near({"price_short": 75.0, "price_long": 50.0, "slippage": -0.1 * 309.5, "fees": -fees})
    assert result.state["short collateral"] == near(50 * 105.0 * 0.998)
    assert result.pairs == [(0, 0)] * 3 + [(0, 1)] * 4
    (trade,) = result.trades
    assert (trade.entered_at, trade.entry_short, trade.reason) == (DAY, 102.0, "end of data")


def test_a_roll_needs_its_days_its_signal_and_its_opens() -> None:
    assert rolled(roll_days=2.4).fills[2].bar == 4  # at day 4: 1.5 days
    assert rolled(signal_plus={(0, 0): [1.0] + [NAN] * 6, (0, 1): [0.9] * 7}).trades[0].reason == "expiry"
    assert len(rolled(enter=None).fills) == 4
    assert rolled(roll_days=None).trades[0].reason == "expiry"
    # An exit at the same close goes before it; one decided while it waits (the second contract has no bar 3) drops it.
    assert [fill.action for fill in rolled(max_hold=2 * DAY).fills][2:4] == ["exit", "exit"]
    assert [(fill.bar, fill.action) for fill in rolled(missing=True).fills][2:] == [(4, "roll"), (4, "roll")]
    dropped = rolled(missing=True, max_hold=3 * DAY, enter=0.9, cooldown=9 * DAY)
    assert [(fill.bar, fill.action) for fill in dropped.fills][2:] == [(4, "exit"), (4, "exit")]


def test_after_a_roll_stop_and_convergence_start_from_it() -> None:
    # References of the roll: 101 and 105 → 3.96%. At day 5 the premium is 104/101 − 1 = 2.97% (bar 4), below it: neither a stop of −0.9%
    # (needs ≥ 3.06%) nor … a stop of −1% (≥ 2.96%) holds.
    assert rolled(stop=-0.009).trades[0].reason == "stop"  # at day 2, from 102/100 − 1 = 2%: 2% ≥ 1.1%
    assert rolled(stop=0.001).trades[0].reason == "end of data"  # 2% + 0.1% never; 3.96% + 0.1% never
    # Two days after the roll at day 3: at day 5 2.97% < 3.96%. Measured from the entry it would have been 2.97% ≥ 2%.
    assert rolled(converge=2 * DAY, roll_days=2.6).trades[0].reason == "no convergence"  # at day 3: two days after the entry, still 2%
    assert rolled(converge=5 * DAY // 2).trades[0].reason == "end of data"


# --- inverse contracts -----------------------------------------------------------------------------------------------------------


def carry_in_coin(path: Path, **more: Any) -> NaiveResult:
    """Long 50 coins at 100, short a face of 5,000 against them."""
    rule = single(len(path), long=slot(instrument(path)), short=slot(inverse(path, **more), tiers=FLAT))
    return run(rule, coin_open=path, coin_close=path)


def test_a_short_of_the_full_face_against_its_own_coins_keeps_its_value() -> None:
    # At 50 the spot has lost 2,500; the contract is worth −5,000·(1/100 − 1/50) = 50 coins at 50 = 2,500.
    # No coin is bought: B = 5,000.
    result = carry_in_coin([100.0, 100.0, 70.0, 50.0])
    assert result.equity == near([10_000.0] * 4)
    assert result.balance[-1] == near(5000.0)
    assert last(result) == near({"price_long": -2500.0, "price_short": 2500.0})
    assert (result.quantity_short[-1], result.fills[1].quantity, result.trades[0].quantity) == near((-5000.0, -50.0, 50.0))
    # At any height the account is 50 − 5,000·(1/100 − 1/m) = 5,000/m coins, above the maintenance of 0.4% of them.
    assert carry_in_coin([100.0, 100.0, 100.0], mark_high=[100.0, 100.0, 1e6]).trades[0].reason == "end of data"


def test_without_a_spot_the_collateral_is_bought_and_moves_with_the_coin() -> None:
    # Leverage 2: 5,000/(100·2) = 25 coins for 2,500. At 50: (25 + 50)·50 = 3,750, a gain of 1,250: +2,500 of the short, −1,250 of the coins.
    path = [100.0, 100.0, 50.0]
    rule = NaiveRule(short=slot(inverse(path)), leverage=2.0)
    result = run(rule, coin_open=path, coin_close=path)
    assert (result.equity[-1], result.balance[-1], result.state["short collateral coins"]) == near((11_250.0, 7500.0, 25.0))
    assert last(result) == near({"price_short": 1250.0})
    # Sold at the coin's open when it leaves: 75·50.
    out = run(replace(rule, short=slot(inverse([*path, 50.0])), max_hold=2 * DAY), coin_open=[*path, 50.0], coin_close=[*path, 50.0])
    assert (out.state["cash"], out.trades[0].reason) == (near(11_250.0), "time")
    assert out.state["short collateral coins"] == 0.0


def test_funding_and_costs_of_an_inverse_contract_are_in_coin() -> None:
    # Face −5,000 sold at 100·0.99 = 99, the coin opens at 101: fee 0.001·5,000/99·101, slippage 5,000·0.01/(0.99·100)·101.
    # Funding at day 1.5 of 0.2% on a mark of 80: 5,000·0.002/80 = 0.125 coins, at the coin's close of day 1 (100): 12.5.
    # Collateral 5,000/99 coins. Marked at 90 (contract) and 88 (coin).
    short = inverse([100.0, 100.0], [100.0, 90.0], funding=[(3 * DAY // 2, 0.002, 80.0)])
    result = run(NaiveRule(short=slot(short, fee=0.001, half_spread=0.01)), coin_open=[NAN, 101.0], coin_close=[100.0, 88.0])
    sources = last(result)
    assert (sources["funding"], sources["fees"], sources["slippage"]) == near((12.5, -5.0 / 99.0 * 101.0, -50.0 / 99.0 * 101.0))
    coins = 5000.0 / 99.0 + 0.125 - 5000.0 * (1.0 / 99.0 - 1.0 / 90.0)
    cash = 10_000.0 - 5000.0 / 99.0 * 101.0 - 5.0 / 99.0 * 101.0
    assert result.equity[-1] == near(cash + coins * 88.0)
    # All else is price: the collateral's 5,000/99·(88 − 101), the payment's 0.125·(88 − 100), the gain from the open on:
    # gain at the open −5,000·(1/99 − 1/100) coins was worth the slippage at 101.
    gain_then, gain_now = -5000.0 * (1 / 99 - 1 / 100), -5000.0 * (1 / 99 - 1 / 90)
    price = 5000.0 / 99.0 * (88.0 - 101.0) + 0.125 * (88.0 - 100.0) + gain_now * 88.0 - gain_then * 101.0
    assert sources["price_short"] == near(price)


def test_inverse_contracts_are_traded_whole() -> None:
    # Contracts of 300: 5,000/300 = 16.67 → 4,800, a base quantity of 48. The spot's 50 are hedged by that wholly (equal shares).
    path = [100.0, 100.0, 100.0]
    result = carry_in_coin(path, contract=300.0)
    assert (result.quantity_long[-1], result.quantity_short[-1], result.trades[0].quantity) == near((50.0, -4800.0, 50.0))
    alone = run(NaiveRule(short=slot(inverse(path, contract=300.0))), coin_open=path, coin_close=path)
    assert alone.trades[0].quantity == near(48.0)
    assert run(NaiveRule(short=slot(inverse(path, contract=5001.0))), coin_open=path, coin_close=path).trades == []
    # Half of it in two tranches: 8 contracts, then 16. Room of a tenth of 100 coins at 100: 1,000 → 900.
    rule = NaiveRule(short=slot(inverse(flat(5), contract=300.0)), entry_tranches=2)
    assert run(rule, coin_open=flat(5), coin_close=flat(5)).quantity_short == near([0.0, -2400.0, -4800.0, -4800.0, -4800.0])
    thin = slot(inverse(flat(5), contract=300.0, volume=flat(5, 100.0)), participation=0.1)
    assert run(NaiveRule(short=thin), coin_open=flat(5), coin_close=flat(5)).quantity_short == near(
        [0.0, -900.0, -1800.0, -2700.0, -3600.0]
    )


def test_an_inverse_short_is_liquidated_where_its_coins_run_out() -> None:
    # Leverage 10: 5 coins. 5 − 5,000·(1/100 − 1/m) = 0.004·5,000/m → 4,980/m = 45 → m = 110.6667. The coin there: m·121/120.
    # Fee 1% of 5,000/m coins. Left: (20/m − 50/m) coins < 0 → the venue's.
    opens, closes = [100.0, 100.0, 105.0], [100.0, 100.0, 120.0]
    short = inverse(opens, closes, mark_high=[100.0, 100.0, 120.0])
    rule = NaiveRule(short=slot(short, tiers=FLAT, liquidation_fee=0.01), leverage=10.0)
    result = run(rule, coin_open=opens, coin_close=[100.0, 100.0, 121.0])
    m = 4980.0 / 45.0
    coin = m * 121.0 / 120.0
    assert result.fills[-1].price == near(m)
    assert result.absorbed == [(2, "short", near(30.0 / m * coin))]
    assert result.equity[-1] == near(9500.0)
    assert last(result) == near({"price_short": 20.0 / m * coin - 500.0, "liquidation": (30.0 - 50.0) / m * coin})
    # In cross mode the spare cash of 9,500 adds 9,500/121 coins, and nothing breaks.
    assert run(replace(rule, margin="cross"), coin_open=opens, coin_close=[100.0, 100.0, 121.0]).trades[0].reason == "end of data"


def test_the_breach_of_an_inverse_account_is_where_it_meets_the_maintenance() -> None:
    tiers = ((0.0, 0.004, 0.0), (50.0, 0.01, 0.3))  # 0.3 = 50·(0.01 − 0.004)
    for face, coins in ((-5000.0, 5.0), (5000.0, 5.0), (-50_000.0, 40.0), (50_000.0, 40.0)):
        mark = inverse_breach_price(face, 100.0, coins, tiers)
        assert coins + face * (1.0 / 100.0 - 1.0 / mark) == near(maintenance(abs(face) / mark, tiers))
    assert inverse_breach_price(5000.0, 100.0, -60.0, tiers) == math.inf


def test_a_long_inverse_contract_falls_faster_in_coin_than_its_collateral() -> None:
    # Long at leverage 2: 25 coins, 25 + 5,000·(1/100 − 1/m) = 20/m → 75 = 5,020/m → m = 66.933. A low of 67 is safe.
    def reason(low: float) -> str:
        one = inverse(flat(3), mark_low=[100.0, 100.0, low])
        return run(NaiveRule(long=slot(one, tiers=FLAT), leverage=2.0), coin_open=flat(3), coin_close=flat(3)).trades[0].reason

    assert (reason(67.0), reason(66.9)) == ("end of data", "liquidation")


def test_an_inverse_future_is_delivered_in_coin() -> None:
    # Settled at 80 while the coin closes at 82: 50 coins + −5,000·(1/100 − 1/80) = 12.5 coins, sold at 82; fee 0.05%·5,000/80 coins.
    short = future([100.0, 100.0, 90.0], [100.0, 100.0, 81.0], inverse=True, expiry=3 * DAY, settlement=80.0)
    result = run(NaiveRule(short=slot(short, delivery_fee=0.0005)), coin_open=[100.0, 100.0, 90.0], coin_close=[100.0, 100.0, 82.0])
    fee = 0.0005 * 62.5 * 82.0
    assert result.equity[-1] == near(5000.0 + 62.5 * 82.0 - fee)
    assert last(result) == near({"price_short": 62.5 * 82.0 - 5000.0, "settlement": -fee})


def test_only_a_loss_beyond_the_coins_is_the_venue_s() -> None:
    # Two contracts' worth of face per coin can't happen by sizing; a funding bill of 60 coins can: 5,000·1.2/100. At the worst mark of 100
    # the account is 50 − 60 coins: liquidated at the open of 100, left −10 coins → the venue's 1,000.
    short = slot(inverse(flat(4), funding=[(2 * DAY + 1, -1.2, 100.0)]), tiers=FLAT)
    result = run(single(4, short=short), coin_open=flat(4), coin_close=flat(4))
    assert result.absorbed == [(2, "short", near(1000.0))]
    assert last(result) == near({"funding": -6000.0, "liquidation": 1000.0})
    assert result.equity[-1] == near(5000.0)


def test_an_inverse_contract_needs_the_coin_s_price() -> None:
    with pytest.raises(ValueError, match="the coin's price is not known"):
        run(NaiveRule(short=slot(inverse(flat(3)))))
    paid = inverse(flat(3), funding=[(DAY + 1, 0.1, 100.0)])
    with pytest.raises(ValueError, match="the coin's price is not known at the funding event"):
        run(NaiveRule(short=slot(paid)), coin_open=flat(3), coin_close=[NAN, 100.0, 100.0])


def test_the_judge_notices_coins_that_nobody_bought(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(books: Any, giver: str, taker: str, amount: float) -> None:
        books.coins[taker] = books.coins.get(taker, 0.0) + amount

    monkeypatch.setattr("naive.Account.move_coins", careless)
    with pytest.raises(AssertionError, match="the books don't balance"):
        run(NaiveRule(short=slot(inverse(flat(3)))), coin_open=flat(3), coin_close=flat(3))
