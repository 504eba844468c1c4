"""Golden cases of the judge, worked by hand; the arithmetic stands in the comments.

Unless a case says otherwise: daily bars with T_t = day t + 1, capital 10,000, size 0.5, no costs, a first close of 100, hence q = 50.
Decisions fall at the close of bar 0, fills at the open of bar 1.
"""

import math
from dataclasses import replace
from typing import Any

import pytest
from generators import Case, case, coverage, markets
from hypothesis import given, settings
from naive import DAY, NAN, NaiveInstrument, NaiveMarket, NaiveResult, NaiveRule, NaiveSlot, breach_price, judge, maintenance, whole_lots

CAPITAL = 10_000.0


def instrument(opens: list[float], closes: list[float] | None = None, *, kind: str = "spot", **more: Any) -> NaiveInstrument:
    """An instrument whose closes are its opens, unless given; a bar without an open has no bar and keeps the last close."""
    known, last = [], NAN
    for opened, close in zip(opens, closes or opens, strict=True):
        last = last if math.isnan(opened) else close
        known.append(last)
    empty = [NAN] * len(opens)
    fields: dict[str, Any] = {
        "fresh": [not math.isnan(opened) for opened in opens],
        "mark_high": known,
        "mark_low": known,
        "bid": empty,
        "ask": empty,
        "mark": empty,
    }
    return NaiveInstrument(kind=kind, open=opens, close=known, **(fields | more))


def slot(*instruments: NaiveInstrument, **more: Any) -> NaiveSlot:
    return NaiveSlot(instruments=instruments, **more)


def clock(bars: int, **rates: Any) -> NaiveMarket:
    return NaiveMarket(stamps=[(bar + 1) * DAY for bar in range(bars)], step=DAY, **rates)


def run(rule: NaiveRule, capital: float = CAPITAL, **rates: Any) -> NaiveResult:
    side = rule.long or rule.short
    assert side is not None
    return judge(clock(len(side.instruments[0].open), **rates), rule, capital)


def near(value: object) -> Any:
    return pytest.approx(value, rel=1e-12, abs=1e-9)


def last(result: NaiveResult) -> dict[str, float]:
    """The sources at the end that are not 0."""
    return {name: amounts[-1] for name, amounts in result.sources.items() if amounts[-1] != 0.0}


def test_plain_carry_pays_fees_and_spread_and_receives_funding() -> None:
    # Fills at the open of bar 1, 10 bps of half-spread:
    #   spot bought at 100·1.001 = 100.1:    fee 50·100.1·0.001 = 5.005,     slippage 50·100·0.001 = 5
    #   perp sold at 101·0.999 = 100.899:    fee 50·100.899·0.0005 = 2.522475, slippage 50·101·0.001 = 5.05
    # Funding inside bar 1 on the last close known, that of bar 0 (101.5): +50·0.001·101.5 = 5.075
    # Marks at 103 and 103.5: +50·(103 − 100) = 150, −50·(103.5 − 101) = −125
    spot = slot(instrument([100.0, 100.0, 103.0], [100.0, 103.0, 103.0]), fee=0.001, half_spread=0.001)
    perp = instrument([101.0, 101.0, 103.5], [101.5, 103.5, 103.5], kind="perpetual", funding=[(DAY + DAY // 2, 0.001, NAN)])
    result = run(NaiveRule(long=spot, short=slot(perp, fee=0.0005, half_spread=0.001)))
    expected = {"price_long": 150.0, "price_short": -125.0, "funding": 5.075, "fees": -7.527475, "slippage": -10.05}
    assert last(result) == near(expected)
    assert result.equity == near([10_000.0, 10_012.497525, 10_012.497525])
    # Cash: 10,000 − 50·100.1 − 5.005 − 2.522475, and the collateral of a leverage of 1: 50·100.899
    assert result.balance[1] == near(10_000.0 - 5005.0 - 7.527475 - 5044.95)
    assert result.state["short collateral"] == near(5044.95)
    assert result.state["short funding"] == near(5.075)
    assert [(fill.bar, fill.slot, fill.action, fill.quantity, fill.reference) for fill in result.fills] == [
        (1, "long", "entry", 50.0, 100.0),
        (1, "short", "entry", -50.0, 101.0),
    ]


@pytest.mark.parametrize(
    ("time", "own_mark", "marks", "paid"),
    [
        (DAY, NAN, [NAN, NAN, NAN], 0.0),  # at T_0, the open instant of bar 1: it belongs to bar 0, which was flat
        (DAY + 1, NAN, [NAN, NAN, NAN], 50 * 0.01 * 101.0),  # just inside bar 1: the close of bar 0
        (2 * DAY, NAN, [NAN, NAN, NAN], 50 * 0.01 * 103.0),  # at T_1: bar 1, and its own close
        (2 * DAY, NAN, [NAN, 99.0, 98.0], 50 * 0.01 * 99.0),  # a mark of that bar goes before the close
        (2 * DAY, NAN, [97.0, NAN, 98.0], 50 * 0.01 * 97.0),  # the last mark known, though older than the close
        (2 * DAY - 1, NAN, [97.0, 99.0, 98.0], 50 * 0.01 * 97.0),  # the mark of bar 1 is not known yet
        (2 * DAY, 110.0, [97.0, 99.0, 98.0], 50 * 0.01 * 110.0),  # the event's own mark goes before all
        (3 * DAY + 1, 110.0, [NAN, NAN, NAN], 0.0),  # after the run
    ],
)
def test_funding_belongs_to_the_bar_that_its_time_ends_in(time: int, own_mark: float, marks: list[float], paid: float) -> None:
    perp = instrument([100.0, 102.0, 103.0], [101.0, 103.0, 104.0], kind="perpetual", mark=marks, funding=[(time, 0.01, own_mark)])
    result = run(NaiveRule(short=slot(perp), size=50 * 101.0 / CAPITAL))
    assert result.sources["funding"][-1] == near(paid)
    assert result.sources["funding"][0] == 0.0


@pytest.mark.parametrize("path", [[100.0, 100.0, 100.0], [100.0, 400.0, 9.0], [100.0, 60.0, 250.0]])
def test_a_dated_trade_held_to_settlement_earns_its_locked_basis_less_costs(path: list[float]) -> None:
    # Bought at 100, sold at 104. The future settles at K in bar 3, the spot is sold at K at the open of bar 4:
    #   50·(104 − 100) = 200 on any path; margin "off" because the path would liquidate.
    # Costs: fees 50·0.001·(100 + K) on the spot, 50·0.0005·104 on the future, delivery 50·0.0003·K.
    settlement = path[-1]
    spot = instrument([100.0, *path, settlement], [100.0, *path, settlement])
    future = instrument([104.0, 104.0, 90.0, 70.0, NAN], kind="future", expiry=4 * DAY, settlement=settlement)
    rule = NaiveRule(long=slot(spot, fee=0.001), short=slot(future, fee=0.0005, delivery_fee=0.0003), margin="off")
    result = run(rule)
    (trade,) = result.trades
    fees = 50 * 0.001 * (100 + settlement) + 50 * 0.0005 * 104
    assert trade.pnl == near(200.0 - fees - 50 * 0.0003 * settlement)
    assert trade.attribution["settlement"] == near(-50 * 0.0003 * settlement)
    assert (trade.reason, trade.entered_at, trade.exited_at) == ("expiry", DAY, 4 * DAY)
    assert (trade.entry_premium, trade.exit_premium, trade.settlement_price) == near((0.04, 0.0, settlement))
    assert [(fill.bar, fill.action) for fill in result.fills] == [(1, "entry"), (1, "entry"), (3, "settlement"), (4, "exit")]


def test_between_settlement_and_the_sale_of_the_spot_is_legging() -> None:
    # Expiry inside bar 2. price_short = −50·(101 − 103) = 100 to the settlement price; price_long = 50·(102 − 100) = 100 to the close of
    # bar 2; the sale at 105 leaves legging 50·(105 − 102) = 150. Equity at the close of bar 2 is 10,200: the next trade has q = 50 again.
    spot = instrument([100.0, 100.0, 101.0, 105.0], [100.0, 101.0, 102.0, 105.0])
    future = instrument([103.0, 103.0, 103.0, NAN], [103.0, 103.0, 102.5, NAN], kind="future", expiry=2 * DAY + DAY // 3, settlement=101.0)
    result = run(NaiveRule(long=slot(spot), short=slot(future)))
    assert last(result) == near({"price_long": 100.0, "price_short": 100.0, "legging": 150.0})
    assert result.trades[0].exited_at == 3 * DAY
    assert result.quantity_long == [0.0, 50.0, 50.0, 0.0]
    assert result.quantity_short == [0.0, -50.0, 0.0, 0.0]


def test_two_futures_that_expire_together_settle_as_a_pair() -> None:
    # 50·(110 − 100) on the long, −50·(111 − 103) on the short, nothing is legging and the trade is over at the expiry.
    near_future = instrument([100.0, 100.0, 105.0], kind="future", expiry=3 * DAY, settlement=110.0)
    far_future = instrument([103.0, 103.0, 105.0], kind="future", expiry=3 * DAY, settlement=111.0)
    result = run(NaiveRule(long=slot(near_future), short=slot(far_future)))
    assert last(result) == near({"price_long": 500.0, "price_short": -400.0})
    assert (result.trades[0].reason, result.trades[0].exited_at) == ("expiry", 3 * DAY)


FLAT = ((0.0, 0.004, 0.0),)
TIERED = ((0.0, 0.004, 0.0), (5000.0, 0.01, 30.0))  # 30 = 5,000·(0.01 − 0.004)


@pytest.mark.parametrize(
    ("tiers", "opened", "price"),
    [
        # 500 − 50·(m − 100) = 0.004·50·m  →  m = 5,500/50.2 = 109.5617…
        (FLAT, 105.0, 5500.0 / 50.2),
        # at that mark the notional is 5,478, in the second tier: 500 − 50·(m − 100) = 0.01·50·m − 30  →  m = 5,530/50.5 = 109.5049…
        (TIERED, 105.0, 5530.0 / 50.5),
        # the open is worse
        (FLAT, 112.0, 112.0),
    ],
)
def test_a_short_at_leverage_ten_is_liquidated_at_the_breach_or_a_worse_open(
    tiers: tuple[tuple[float, float, float], ...], opened: float, price: float
) -> None:
    # Collateral 50·100/10 = 500. What is left at the price, after the fee of 1.25%, is negative each time: the venue's loss, so the trade
    # loses its collateral and no more.
    perp = instrument([100.0, 100.0, opened], [100.0, 100.0, 113.0], kind="perpetual", mark_high=[100.0, 100.0, 115.0])
    result = run(NaiveRule(short=slot(perp, tiers=tiers, liquidation_fee=0.0125), leverage=10.0))
    fee = 50 * price * 0.0125
    absorbed = -(500.0 - 50.0 * (price - 100.0) - fee)
    assert absorbed > 0.0
    assert result.absorbed == [(2, "short", near(absorbed))]
    assert last(result) == near({"price_short": -50.0 * (price - 100.0), "liquidation": absorbed - fee})
    assert result.equity[-1] == near(9500.0)
    assert result.fills[-1].action == "liquidation"
    assert (result.fills[-1].price, result.fills[-1].fee) == near((price, fee))
    assert (result.trades[0].reason, result.trades[0].exited_at, result.trades[0].pnl) == ("liquidation", 3 * DAY, near(-500.0))


def test_the_worst_mark_decides_and_not_the_close() -> None:
    # Breach at 109.56…: a high of 109.5 is safe, one of 109.6 is not. Funding of 50·0.01·100 = 50 that the short pays in that very bar
    # lowers the breach to (450 + 5,000)/50.2 = 108.5657…, so that 109.5 no longer is.
    def liquidated(high: float, funding: float) -> bool:
        perp = instrument([100.0, 100.0, 100.0], kind="perpetual", mark_high=[100.0, 100.0, high], funding=[(3 * DAY, funding, 100.0)])
        return run(NaiveRule(short=slot(perp, tiers=FLAT), leverage=10.0)).trades[0].reason == "liquidation"

    assert [liquidated(109.5, 0.0), liquidated(109.6, 0.0), liquidated(109.5, -0.01)] == [False, True, True]


def test_a_long_is_liquidated_downwards_and_keeps_what_the_fee_leaves() -> None:
    # 500 + 50·(m − 100) = 0.004·50·m  →  m = 4,500/49.8 = 90.3614…, left there: 500 − 50·9.6385… = 18.0722…; fee 0.1%: 50·m·0.001 = 4.5180…
    perp = instrument([100.0, 100.0, 95.0], [100.0, 100.0, 96.0], kind="perpetual", mark_low=[100.0, 100.0, 90.0])
    result = run(NaiveRule(long=slot(perp, tiers=FLAT, liquidation_fee=0.001), leverage=10.0))
    price = 4500.0 / 49.8
    assert result.equity[-1] == near(9500.0 + 0.004 * 50 * price - 0.001 * 50 * price)
    assert result.absorbed == []


def test_cross_margin_adds_the_spare_cash_and_the_account_pays_all_of_the_loss() -> None:
    # q = 90, collateral 9,000/10 = 900, spare cash 9,100: 900 + 9,100 − 90·(m − 100) = 0.004·90·m  →  m = 19,000/90.36 = 210.27.
    # A high of 200 is safe (isolated it is not). Opening at 250: 90·150 = 13,500 and the fee 0.01·90·250 = 225 → 10,000 − 13,725.
    def perp(high: float) -> NaiveSlot:
        one = instrument([100.0, 100.0, min(high, 250.0)], kind="perpetual", mark_high=[100.0, 100.0, high])
        return slot(one, tiers=FLAT, liquidation_fee=0.01)

    rule = NaiveRule(short=perp(200.0), leverage=10.0, size=0.9, margin="cross")
    assert run(rule).trades[0].reason == "end of data"
    assert run(replace(rule, margin="isolated")).trades[0].reason == "liquidation"
    result = run(replace(rule, short=perp(260.0)))
    assert last(result) == near({"price_short": -13_500.0, "liquidation": -225.0})
    assert result.equity[-1] == near(-3725.0)


def test_margin_off_sets_collateral_aside_and_never_liquidates() -> None:
    perp = instrument([100.0, 100.0, 1000.0], kind="perpetual")
    result = run(NaiveRule(short=slot(perp, tiers=FLAT), leverage=10.0, margin="off"))
    assert (result.equity[-1], result.balance[-1], result.trades[0].reason) == (near(-35_000.0), near(9500.0), "end of data")


def test_after_a_liquidation_the_other_leg_leaves_at_the_next_open() -> None:
    # The short is liquidated in bar 2 at L = 5,500/50.2. Closes of bar 2: spot 112, perpetual 114. The spot's reference moves to
    # L·112/114 (price_long), the rest to its sale at 108 is legging.
    spot = instrument([100.0, 100.0, 103.0, 108.0], [100.0, 100.0, 112.0, 108.0])
    perp = instrument([100.0, 100.0, 103.0, 110.0], [100.0, 100.0, 114.0, 110.0], kind="perpetual", mark_high=[100.0, 100.0, 115.0, 110.0])
    result = run(NaiveRule(long=slot(spot), short=slot(perp, tiers=FLAT), leverage=10.0))
    price = 5500.0 / 50.2
    equivalent = price * 112.0 / 114.0
    expected = {"price_long": 50 * (equivalent - 100), "price_short": -50 * (price - 100), "legging": 50 * (108 - equivalent)}
    assert last(result) == near(expected)
    assert result.sources["legging"][2] == near(50 * (112 - equivalent))
    assert (result.quantity_long[2], result.quantity_long[3]) == (50.0, 0.0)
    assert (result.trades[0].reason, result.trades[0].exited_at) == ("liquidation", 3 * DAY)


def test_a_positive_balance_earns_and_neither_interest_nor_funding_do_before_the_next_fill() -> None:
    # Bars 0: 10,000·0.073/365 = 2 (flat). Then q = 50 short at leverage 1: B = 10,000 + 2 − 5,000 = 5,002, earns 1.0004 a bar in bars 1–3
    # although 50·0.1·100 = 500 of funding came in.
    perp = instrument([100.0] * 4, kind="perpetual", funding=[(DAY + 5, 0.1, 100.0)])
    result = run(NaiveRule(short=slot(perp), size=50 * 100.0 / 10_002.0), idle_rate=[(0, 0.073)])
    assert result.sources["idle_cash"] == near([2.0, 3.0004, 4.0008, 5.0012])
    assert result.balance == near([10_000.0, 5002.0, 5002.0, 5002.0])


def test_a_negative_balance_pays() -> None:
    # size 1.5: 150 coins for 15,000, B = −5,000; it pays 5,000·0.0365/365 = 0.5 a bar, and idle_rate is not read.
    spot = instrument([100.0] * 3)
    result = run(NaiveRule(long=slot(spot), size=1.5), borrow_usd=[(0, 0.0365)], idle_rate=[(DAY, 0.05)])
    assert result.sources["financing"] == near([0.0, -0.5, -1.0])
    assert last(result) == near({"financing": -1.0})
    assert result.balance[-1] == near(-5000.0)


def test_rates_are_those_known_when_the_bar_opened() -> None:
    # Known at day 1 (the open of bar 1) and just after day 2 (too late for bar 2): bars earn 0, 1, 1, 2.
    result = run(NaiveRule(long=slot(instrument([NAN] * 4))), idle_rate=[(DAY, 0.0365), (2 * DAY + 1, 0.073)])
    assert result.sources["idle_cash"] == near([0.0, 1.0, 2.0, 4.0])


def test_proceeds_of_a_short_spot_earn_nothing_and_the_loan_of_the_coin_costs() -> None:
    # Side −1: the spot is sold at 100, its 5,000 stay apart; B = 10,000 − 5,000 of collateral = 5,000 earns 5,000·0.073/365 = 1 a bar.
    # The loan costs 50·close·0.0365/365: 0.51 on a close of 102, 0.52 on 104. Price: −50·4 + 50·4 = 0.
    spot, perp = (
        instrument([100.0, 100.0, 102.0], [100.0, 102.0, 104.0]),
        instrument([100.0, 100.0, 102.0], [100.0, 102.0, 104.0], kind="perpetual"),
    )
    rule = NaiveRule(long=slot(spot), short=slot(perp), sides="minus", stake=True)
    result = run(rule, idle_rate=[(DAY, 0.073)], borrow_base=[(0, 0.0365)], staking_yield=[(0, 0.5)])
    assert last(result) == near({"price_long": -200.0, "price_short": 200.0, "idle_cash": 2.0, "borrow": -1.03})
    assert result.state["long proceeds"] == near(5000.0)
    assert result.balance[-1] == near(5000.0)


def test_a_long_spot_earns_the_staking_yield_only_if_staked() -> None:
    # 50·0.073/365 = 0.01 coins a bar, at the closes 102 and 104.
    rule = NaiveRule(long=slot(instrument([100.0, 100.0, 102.0], [100.0, 102.0, 104.0])), stake=True)
    assert run(rule, staking_yield=[(0, 0.073)]).sources["staking"] == near([0.0, 1.02, 2.06])
    assert run(replace(rule, stake=False), staking_yield=[(0, 0.073)]).sources["staking"][-1] == 0.0


LIMITS: list[tuple[str, dict[str, Any]]] = [
    ("stop", {"stop": 0.02}),
    ("loss", {"loss": 0.01}),
    ("days to expiry", {"expiry_days": 4.0}),
    ("time", {"max_hold": 2 * DAY}),
    ("signal", {"exit": 0.0}),
]


def leaving(**limits: Any) -> NaiveResult:
    """At the close of bar 2 all of these hold first: premium 2% above entry, 1% lost, four days to expiry, held two days, signal at 0."""
    spot = instrument([100.0] * 6)
    future = instrument(
        [101.0, 101.0, 101.0, 103.0, 103.0, 103.0], [101.0, 101.0, 103.0, 103.0, 103.0, 103.0], kind="future", expiry=7 * DAY
    )
    signal = {(0, 0): [0.5, 0.1, 0.0, 0.1, 0.1, 0.1]}
    return run(NaiveRule(long=slot(spot), short=slot(future), signal_plus=signal, enter=0.5, **limits))


@pytest.mark.parametrize(("reason", "limit"), LIMITS)
def test_each_limit_closes_at_the_next_open_and_a_milder_one_does_not(reason: str, limit: dict[str, Any]) -> None:
    # premium_2 = 3% against 1% at entry; loss 50·2 = 100 = 1% of 10,000; X − T_2 = 4 days; T_2 − entry = 2 days; signal 0.
    (trade,) = leaving(**limit).trades
    assert (trade.reason, trade.exited_at, trade.pnl) == (reason, 3 * DAY, near(-100.0))
    milder: dict[str, Any] = {"stop": 0.021, "loss": 0.011, "expiry_days": 0.9, "max_hold": 6 * DAY, "exit": -0.1}
    (name,) = limit
    assert leaving(**{name: milder[name]}).trades[0].reason == "end of data"


@pytest.mark.parametrize("first", range(5))
def test_the_first_limit_in_order_names_the_reason(first: int) -> None:
    together: dict[str, Any] = {}
    for _, limit in LIMITS[first:]:
        together |= limit
    assert leaving(**together).trades[0].reason == LIMITS[first][0]


def test_an_expiry_and_a_liquidation_go_before_what_is_decided_at_the_close() -> None:
    # Expiry in bar 1, the bar of entry, where the time limit would hold too.
    future = instrument([100.0, 100.0, NAN], kind="future", expiry=2 * DAY, settlement=101.0)
    result = run(NaiveRule(short=slot(future), max_hold=DAY))
    assert (result.trades[0].reason, result.trades[0].exited_at, result.trades[0].pnl) == ("expiry", 2 * DAY, near(-50.0))


def test_a_liquidation_goes_before_an_expiry_in_the_same_bar_and_the_later_of_both_ends_the_trade() -> None:
    # Bar 2: the long future falls through 4,500/49.8 = 90.3614… and is liquidated, at day 3. The short one settles at 95 inside that
    # bar. Before, its reference moves to 90.3614…·94/92 (price_short); from there to the settlement it is alone (legging).
    far_future = instrument([100.0, 100.0, 95.0], [100.0, 100.0, 92.0], kind="future", expiry=20 * DAY, mark_low=[100.0, 100.0, 89.0])
    near_future = instrument([100.0, 100.0, 95.0], [100.0, 100.0, 94.0], kind="future", expiry=2 * DAY + 5, settlement=95.0)
    result = run(NaiveRule(long=slot(far_future, tiers=FLAT), short=slot(near_future, tiers=FLAT), leverage=10.0))
    price = 4500.0 / 49.8
    equivalent = price * 94.0 / 92.0
    expected = {"price_long": 50 * (price - 100), "price_short": -50 * (equivalent - 100), "legging": -50 * (95 - equivalent)}
    assert last(result) == near(expected)
    assert [fill.action for fill in result.fills] == ["entry", "entry", "liquidation", "settlement"]
    assert (result.trades[0].reason, result.trades[0].exited_at) == ("liquidation", 3 * DAY)


def test_a_reason_stays_until_the_last_slot_is_out() -> None:
    # The time limit is decided at the close of bar 1. In bar 2 the perpetual has no bar, but its mark reaches 115: liquidated at the breach
    # while its order waits. The spot left at that open of 101: price_long 50·1, and the perpetual alone is legging −50·9.5617….
    spot = instrument([100.0, 100.0, 101.0])
    perp = instrument([100.0, 100.0, NAN], kind="perpetual", mark_high=[100.0, 100.0, 115.0])
    result = run(NaiveRule(long=slot(spot), short=slot(perp, tiers=FLAT), leverage=10.0, max_hold=DAY))
    assert [fill.action for fill in result.fills] == ["entry", "entry", "exit", "liquidation"]
    assert last(result) == near({"price_long": 50.0, "legging": -50.0 * (5500.0 / 50.2 - 100.0)})
    assert (result.trades[0].reason, result.trades[0].exited_at) == ("time", 3 * DAY)


def test_slots_that_leave_at_one_open_were_both_held_until_then() -> None:
    # Closes 100 and 100, opens of bar 2 at 104 and 105: 50·4 and −50·5, nothing is legging.
    spot = instrument([100.0, 100.0, 104.0], [100.0, 100.0, 90.0])
    perp = instrument([100.0, 100.0, 105.0], [100.0, 100.0, 90.0], kind="perpetual")
    result = run(NaiveRule(long=slot(spot), short=slot(perp), max_hold=DAY))
    assert last(result) == near({"price_long": 200.0, "price_short": -250.0})


def test_cooldown_counts_from_the_last_exit() -> None:
    # In at day 1, out at day 2 (open of bar 2): with two days of cooldown the close of day 4 (bar 3) decides again, without at bar 2.
    rule = NaiveRule(long=slot(instrument([100.0] * 7)), max_hold=DAY)
    assert [trade.entered_at // DAY for trade in run(rule).trades] == [1, 3, 5]
    assert [trade.entered_at // DAY for trade in run(replace(rule, cooldown=2 * DAY)).trades] == [1, 4]
    assert [trade.entered_at // DAY for trade in run(replace(rule, cooldown=2 * DAY + 1)).trades] == [1, 5]


def test_resize_up_and_down_settles_the_account_and_opens_it_anew() -> None:
    # Short perpetual, q = 50 at 100. Close of bar 1 at 120: equity 9,000, share 50·120/4,500 = 1.333 > 1.25 → 4,500/120 = 37.5.
    # The quote of bar 1 has a half-spread of 0.1%: 12.5 are bought at 110·1.001 = 110.11 in bar 2. The old account pays −50·10.11 = −505.5,
    # the new one has the entry 110.11 and the collateral 37.5·110.11 = 4,129.125: cash 10,000 − 505.5 − 4,129.125 = 5,365.375.
    # Funding in bar 2, after that fill: 37.5·0.02·100 = 75. Equity at its close of 80:
    #   10,000 − 500 (50 to the open of 110) − 1.375 (slippage 12.5·110·0.001) + 37.5·30 + 75 = 10,698.625.
    # Share 37.5·80/5,349.3125 = 0.561 < 0.8 → 5,349.3125/80 = 66.86640625, sold at 80 in bar 3, where the whole account goes to cash first:
    #   5,365.375 + 4,129.125 + 75 + 37.5·(110.11 − 80) − 66.86640625·80 = 5,349.3125.
    perp = instrument(
        [100.0, 100.0, 110.0, 80.0],
        [100.0, 120.0, 80.0, 80.0],
        kind="perpetual",
        bid=[NAN, 99.9, NAN, NAN],
        ask=[NAN, 100.1, NAN, NAN],
        funding=[(2 * DAY + 1, 0.02, 100.0)],
    )
    result = run(NaiveRule(short=slot(perp), resize=1.25, margin="off"))
    assert [(fill.bar, fill.action, fill.quantity) for fill in result.fills] == [
        (1, "entry", -50.0),
        (2, "resize", near(12.5)),
        (3, "resize", near(37.5 - 66.86640625)),
    ]
    assert result.balance == near([10_000.0, 5000.0, 5365.375, 5349.3125])
    assert result.equity == near([10_000.0, 9000.0, 10_698.625, 10_698.625])
    assert result.state["short funding"] == 0.0
    assert result.trades[0].quantity == 50.0


def test_resize_lets_be_what_lies_inside_or_rounds_to_the_present_quantity() -> None:
    # Share 50·120/(0.5·11,000) = 1.09: inside 1.1. With 1.05 it is outside, but a lot of 30 coins gives 30 each time: nothing happens.
    perp = instrument([100.0, 100.0, 120.0, 120.0], [100.0, 120.0, 120.0, 120.0], kind="perpetual")
    rule = NaiveRule(long=slot(perp), resize=1.1)
    assert len(run(rule).fills) == 1
    assert len(run(replace(rule, resize=1.05)).fills) == 2
    coarse = replace(rule, long=slot(replace(perp, lot=30.0)), resize=1.01)
    assert [fill.quantity for fill in run(coarse).fills] == [30.0]


def test_side_minus_one_sells_the_long_slot_and_mirrors_every_comparison() -> None:
    # −1·(−0.06) ≥ 0.05 enters, −1·(−0.01) ≤ 0.02 leaves. Premium falls from −4% to −7%: −1·(−0.07) ≥ 0.04 + 0.03 is the stop.
    # Sold the spot at 100, bought the future at 96: 50·(93 − 96) = −150 and −50·0 on the spot.
    spot = instrument([100.0] * 4)
    future = instrument([96.0, 96.0, 93.0, 93.0], [96.0, 96.0, 93.0, 93.0], kind="future", expiry=20 * DAY)
    signal = {(0, 0): [-0.06, -0.06, -0.06, -0.01]}
    rule = NaiveRule(long=slot(spot), short=slot(future), signal_plus=signal, enter=0.05, exit=0.02, sides="both", stop=0.0299)
    result = run(rule)
    assert [fill.quantity for fill in result.fills] == [-50.0, 50.0, 50.0, -50.0]
    assert (result.trades[0].side, result.trades[0].reason, result.trades[0].pnl) == (-1, "stop", near(-150.0))
    assert run(replace(rule, sides="plus")).trades == []
    assert run(replace(rule, stop=None)).state["long target"] == 0.0  # the signal of bar 3


def test_both_sides_try_plus_first_and_nan_never_enters() -> None:
    spot, perp = slot(instrument([100.0] * 3)), slot(instrument([100.0] * 3, kind="perpetual"))
    rule = NaiveRule(
        long=spot, short=perp, sides="both", enter=0.1, signal_plus={(0, 0): [NAN, 0.2, NAN]}, signal_minus={(0, 0): [NAN, -0.2, NAN]}
    )
    assert [trade.side for trade in run(rule).trades] == [1]
    assert [trade.side for trade in run(replace(rule, sides="minus")).trades] == [-1]
    assert run(rule).trades[0].entered_at == 2 * DAY


def test_a_rule_of_one_slot_has_no_legging_and_no_premium() -> None:
    result = run(NaiveRule(short=slot(instrument([100.0, 100.0, 90.0], [100.0, 95.0, 90.0], kind="perpetual")), stop=0.0))
    assert last(result) == near({"price_short": 500.0})
    assert math.isnan(result.trades[0].entry_premium)
    assert result.trades[0].reason == "end of data"


def test_a_leg_without_an_open_waits_and_the_other_is_legging_until_then() -> None:
    # The future has no bar 1. The spot is alone from 100 (open of bar 1) to the open of bar 2, 103: legging 50·3 = 150. At that open the
    # future is sold at 107 and marked at 106: +50; the spot goes from 103 to 105: +100. entry_premium = 107/100 − 1.
    spot = instrument([100.0, 100.0, 103.0], [100.0, 104.0, 105.0])
    future = instrument([103.0, NAN, 107.0], [103.0, NAN, 106.0], kind="future", expiry=20 * DAY)
    result = run(NaiveRule(long=slot(spot), short=slot(future)))
    assert last(result) == near({"legging": 150.0, "price_long": 100.0, "price_short": 50.0})
    assert result.waited == [(1, "short")]
    assert result.trades[0].entry_premium == near(0.07)


def test_leaving_with_one_slot_in_drops_the_order_of_the_other() -> None:
    # The spot is in since bar 1, the future never opens; after two days the spot leaves at 103: legging 150. No signal: no second entry.
    spot = instrument([100.0, 100.0, 101.0, 103.0, 103.0])
    future = instrument([103.0, NAN, NAN, NAN, 99.0], kind="future", expiry=20 * DAY)
    rule = NaiveRule(long=slot(spot), short=slot(future), signal_plus={(0, 0): [1.0, NAN, NAN, NAN, NAN]}, enter=1.0, max_hold=2 * DAY)
    result = run(rule)
    assert last(result) == near({"legging": 150.0})
    assert [fill.slot for fill in result.fills] == ["long", "long"]
    assert (result.trades[0].reason, result.trades[0].pnl) == ("time", near(150.0))


def test_orders_of_which_nothing_filled_are_called_off() -> None:
    # No bar 1 in the only slot. The signal of bar 1 calls off; the entry decided at bar 2 is called off by the expiry in bar 3.
    future = instrument([100.0, NAN, 100.0, NAN], kind="future", expiry=4 * DAY, settlement=100.0)
    rule = NaiveRule(long=slot(future), signal_plus={(0, -1): [1.0, 0.0, 1.0, 1.0]}, enter=1.0, exit=0.0)
    result = run(rule)
    assert result.called_off == [(1, "signal"), (3, "expiry")]
    assert (result.fills, result.trades) == ([], [])
    result = run(replace(rule, exit=None, expiry_days=2.5, max_hold=1, loss=1e-9, cooldown=DAY))
    assert result.called_off == [(1, "days to expiry"), (3, "expiry")]


def test_the_end_of_the_data_closes_nothing() -> None:
    # Exit decided at the last close: the order dies. 50·(101 − 100) − 50·100·0.01 of the purchase = 0, without the fee of a sale.
    result = run(NaiveRule(long=slot(instrument([100.0, 100.0, 101.0]), fee=0.01), max_hold=2 * DAY))
    (trade,) = result.trades
    assert (trade.reason, trade.exited_at, trade.pnl) == ("end of data", None, near(0.0))
    assert (result.state["long quantity"], result.state["long target"]) == (50.0, 0.0)
    assert math.isnan(trade.exit_long)


def test_quantities_are_whole_lots_of_the_coarser_lot() -> None:
    # 5,000/99 = 50.505…: 50.5 by a lot of 0.1, 50 by 0.5 with 0.1 in the other leg → the coarser, 50.5 with 0.5; 48 with 16; 0 with 64.
    def quantity(lot_long: float, lot_short: float) -> float:
        rule = NaiveRule(
            long=slot(instrument([99.0] * 2, lot=lot_long)), short=slot(instrument([99.0] * 2, kind="perpetual", lot=lot_short))
        )
        fills = run(rule).fills
        return fills[0].quantity if fills else 0.0

    assert [quantity(NAN, NAN), quantity(0.1, NAN), quantity(0.1, 0.5)] == near([5000.0 / 99.0, 50.5, 50.5])
    assert [quantity(16.0, 0.1), quantity(NAN, 64.0)] == [48.0, 0.0]
    assert [whole_lots(count) for count in (2.9999999995, 3.0, 2.999, 3e12 - 1000.0, 0.0)] == [3.0, 3.0, 2.0, 3e12 - 1000.0, 0.0]


def test_below_the_larger_minimum_notional_nothing_is_opened() -> None:
    # 50·100 = 5,000 meets 5,000 and misses 5,000.01.
    def trades(minimum: float) -> int:
        perp = instrument([100.0] * 2, kind="perpetual", min_notional=5.0)
        return len(run(NaiveRule(long=slot(instrument([100.0] * 2, min_notional=minimum)), short=slot(perp))).trades)

    assert [trades(NAN), trades(5000.0), trades(5000.01)] == [1, 1, 0]


def test_the_half_spread_is_that_of_the_quote_before_the_open() -> None:
    # Quote at the end of bar 0: 99.8/100.2, half the spread over the mid = 0.002. The quote of bar 1 is not read: 50·100·0.002 = 10.
    spot = instrument([100.0, 100.0], bid=[99.8, 50.0], ask=[100.2, 150.0])
    assert last(run(NaiveRule(long=slot(spot, half_spread=0.01)))) == near({"slippage": -10.0})
    unquoted = replace(spot, ask=[NAN, 150.0])
    assert last(run(NaiveRule(long=slot(unquoted, half_spread=0.01)))) == near({"slippage": -50.0})


def test_a_chain_offers_the_nearest_fresh_contract_with_enough_days_and_the_trade_keeps_it() -> None:
    # At day 1 the contracts have 3, 7 and 9 days left; min_days 7 is inclusive: the second. At day 2 it has 6 days, the trade keeps it.
    contracts = [instrument([100.0 + i] * 4, kind="future", expiry=day * DAY) for i, day in enumerate((4, 8, 10))]
    chain = slot(*contracts, is_chain=True, min_days=7.0)
    assert [trade.pair for trade in run(NaiveRule(short=chain)).trades] == [(-1, 1)]
    stale = replace(contracts[1], fresh=[False, True, True, True])
    assert run(NaiveRule(short=replace(chain, instruments=[contracts[0], stale, contracts[2]]))).trades[0].pair == (-1, 2)
    assert run(NaiveRule(short=replace(chain, min_days=9.1))).trades == []
    # The signal is read for the pair that would be opened, and for the pair held.
    signal = {(-1, 0): [9.0] * 4, (-1, 1): [0.0, 9.0, 9.0, 9.0], (-1, 2): [9.0, 1.0, -9.0, -9.0]}
    rule = NaiveRule(short=chain, signal_plus=signal, enter=0.5, exit=-1.0)
    assert [(trade.pair, trade.entered_at) for trade in run(rule).trades] == [((-1, 2), 2 * DAY)]
    assert run(rule).state["short target"] == 0.0


def test_a_stop_waits_for_fresh_closes() -> None:
    # The premium rises to 10% in bar 2, where the spot has no bar; it is judged in bar 3.
    spot = instrument([100.0, 100.0, NAN, 100.0, 100.0])
    perp = instrument([100.0, 100.0, 110.0, 110.0, 110.0], kind="perpetual")
    result = run(NaiveRule(long=slot(spot), short=slot(perp), stop=0.05))
    assert (result.trades[0].reason, result.trades[0].exited_at) == ("stop", 4 * DAY)


def test_a_breach_is_where_account_and_maintenance_meet_in_every_tier() -> None:
    # Deductions: 50 = 50,000·0.001 and 950 = 600,000·0.0015 + 50.
    tiers = ((0.0, 0.004, 0.0), (50_000.0, 0.005, 50.0), (600_000.0, 0.0065, 950.0))
    assert [maintenance(notional, tiers) for notional in (50_000.0, 600_000.0)] == near([200.0, 2950.0])
    for quantity in (-100.0, -600.0, -9000.0, 100.0, 700.0, 9000.0):
        money = abs(quantity) * 10.0
        price = breach_price(quantity, 100.0, money, tiers)
        assert money + quantity * (price - 100.0) == near(maintenance(abs(quantity) * price, tiers))


def test_the_judge_refuses_a_funding_event_without_any_price() -> None:
    perp = instrument([NAN, 100.0, 100.0], kind="perpetual", funding=[(DAY + 5, 0.01, NAN)])
    rule = NaiveRule(long=slot(instrument([100.0] * 3)), short=slot(replace(perp, fresh=[True] * 3)))
    with pytest.raises(ValueError, match="no mark and no close is known"):
        run(rule)


def test_without_a_settlement_price_the_last_close_before_the_expiry_is_taken() -> None:
    # Expiry inside bar 2, known closes are those of bars 0 and 1: −50·(98 − 100) = 100. At T_2 the close of bar 2 counts: −50·(97 − 100).
    future = instrument([100.0, 100.0, 99.0], [100.0, 98.0, 97.0], kind="future", expiry=3 * DAY - 1)
    assert run(NaiveRule(short=slot(future))).equity[-1] == near(10_100.0)
    assert run(NaiveRule(short=slot(replace(future, expiry=3 * DAY)))).equity[-1] == near(10_150.0)
    unknown = instrument([NAN, 100.0], kind="future", expiry=2 * DAY - 1)
    with pytest.raises(ValueError, match="no settlement price"):
        run(NaiveRule(long=slot(instrument([100.0] * 2)), short=slot(replace(unknown, fresh=[True] * 2))))


def test_the_judge_notices_a_flow_without_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    # The self-check must be able to fail: an event whose account is paid but whose source is not posted.
    monkeypatch.setattr("naive.Account.post", lambda self, source, amount: None)
    with pytest.raises(AssertionError, match="sources give"):
        run(NaiveRule(long=slot(instrument([100.0, 100.0, 101.0]))))


@settings(max_examples=25, deadline=None)
@given(markets())
def test_equity_on_generated_markets_is_flat_until_the_first_fill_but_for_interest(drawn: Case) -> None:
    result = judge(*drawn)
    first = result.fills[0].bar if result.fills else len(result.equity)
    interest = result.sources["idle_cash"][:first]
    assert result.equity[:first] == pytest.approx([result.capital + amount for amount in interest], rel=1e-12)


@pytest.mark.parametrize("start", range(0, 200, 50))
def test_generated_cases_are_reproducible_and_explain_themselves(start: int) -> None:
    labels: set[str] = set()
    for seed in range(start, start + 50):
        market, rule, capital = case(seed)
        result = judge(market, rule, capital)
        assert repr(case(seed)) == repr((market, rule, capital))
        assert all(trade.pnl == pytest.approx(sum(trade.attribution.values()), abs=1e-9 * capital) for trade in result.trades)
        # Trades and the interest while flat are all there is.
        flat = [result.sources[name][-1] - sum(trade.attribution[name] for trade in result.trades) for name in ("idle_cash", "financing")]
        assert result.equity[-1] - capital == pytest.approx(sum(trade.pnl for trade in result.trades) + sum(flat), abs=1e-9 * capital)
        labels |= coverage(result, rule)
    assert {"side:1", "side:-1", "reason:expiry", "reason:end of data", "waiting order", "action:resize"} <= labels
