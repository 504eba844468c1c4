"""All compiled code: one step, one box, one loop, and the columns of the ledger.

Every cash flow is an index: a leg's index is its close plus all that one unit has earned so far (funding, staking, borrow fee); money's index is
the cumulated rate. While positions are unchanged, every source of PnL is quantity × index difference: nothing is posted between changes, and

    equity[t] = constant + coefficient · pair_index[t] + balance · rate_index[t]

An account at rest is in a box: signal, premium and margin below their levels, equity above its loss level, bar before `horizon`. A bar inside the
box changes nothing, and the step acts by the same levels; so `advance` may jump from event to event, and walking every bar gives the same numbers.
The search may stop too early, never too late. All sides of the box look upwards ("at or above its level"), so one search serves them all. Features
that no level can stand for (`RULE.walks`) take the step at every bar.

An inverse contract is a linear one on the price's reciprocal, paid in coin: its unit is one of face sold (u = −W), worth coins·coin + u·value index, and
margin compares coins. So the same lines serve both; what differs stands in `value_at`, `trade_leg` and `end_inside`.

The order of a bar is that of `semantics.md`. A `Desk` is the records that a step works on: the account with the bar, the rule, two legs with their quotes of
the bar, and their terms. Records are pointers; an array handed to a helper would cost reference counting, so only `advance` sees arrays. The constants
stand here too, because numba does not see a change in another file.
"""

import math
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from numba import config, njit
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

Floats = npt.NDArray[np.float64]
Record = Any  # a row of a structured array: numba's Record, numpy's void

FLAT, OPENING, HELD, RESIZING, ROLLING, CLOSING = range(6)
constant: Any = np.int64  # where one is handed on: numba compiles a function anew for each literal int that it is called with
(
    NONE, LIQUIDATION, DELEVERAGING, EXPIRY, STOP, LOSS, DRAWDOWN, EXPOSURE, LIQUIDITY, RECALL, UNFILLED, DAYS, TIME, CONVERGENCE, SIGNAL, END,
) = map(constant, range(16))  # fmt: skip
LONG_SLOT, SHORT_SLOT = map(constant, range(2))
AT_OPEN, AT_END = map(constant, range(2))  # of a bar: which accruals and rates are booked
REASONS = (
    "", "liquidation", "deleveraging", "expiry", "stop", "loss", "drawdown", "exposure", "liquidity", "recall", "unfilled", "days to expiry", "time",
    "no convergence", "signal", "end of data",
)  # fmt: skip
ENTERED, EXITED, RESIZED, ROLLED, SETTLED, LIQUIDATED, DELEVERAGED = map(constant, range(7))
ACTIONS = ("entry", "exit", "resize", "roll", "settlement", "liquidation", "deleveraging")
ISOLATED, CROSS, OFF = range(3)
WAIT, CHASE, UNDO = range(3)
BEFORE, AFTER, BETTER = range(3)
SOURCES = (
    "price_long", "price_short", "legging", "funding", "financing", "idle_cash",
    "borrow", "staking", "fees", "slippage", "settlement", "liquidation",
)  # fmt: skip
LEGGING_ROW, FUNDING_ROW, FINANCING_ROW, IDLE_CASH_ROW, BORROW_ROW, STAKING_ROW = 2, 3, 4, 5, 6, 7  # where they stand in SOURCES

OPEN, CLOSE, MARK_HIGH, MARK_LOW, HALF_SPREAD, ACCRUAL_LONG, ACCRUAL_SHORT = range(7)  # rows of a leg's tape
ROOM_BUY, ROOM_SELL, IMPACT, STRESS = range(4)  # rows of its orders, where it is limited
COIN_ACCRUAL, VALUE_OPEN, VALUE_CLOSE = range(3)  # rows of its coins, where it is inverse
COIN_OPEN, COIN_CLOSE = range(2)  # rows of the coin's prices
BORROW, IDLE = range(2)  # rows of the rates
SMALL_BITS, LARGE_BITS = 5, 9
SMALL, LARGE = 1 << SMALL_BITS, 1 << LARGE_BITS  # bars in a block, and in a block of blocks
BLOCKS_BITS = LARGE_BITS - SMALL_BITS
BLOCKS = 1 << BLOCKS_BITS
NEVER = 2**62
TIERS = 12
ROWS_A_BAR = 8  # most ledger rows, fills or trades that one bar can add
DAY = 86_400_000_000_000
ROUNDING = 1e-9  # a count of lots this much below a whole number is that number, a rest this small is nothing
REBALANCED = 0.01  # of the cash in both wallets: a smaller difference is not worth a transfer

f8, i8 = np.float64, np.int64
SOURCE_FIELDS = [(name, f8) for name in SOURCES]

ACCOUNT = np.dtype(
    [
        *SOURCE_FIELDS,  # booked so far
        # money: the interest-bearing balance and where its index was last booked; of it in the short slot's wallet, and on its way there
        ("capital", f8), ("balance", f8), ("borrowing", i8), ("rate_reference", f8), ("far", f8), ("transit", f8), ("transit_at", i8),
        # equity[t] = constant + coefficient * pair_index[t] + balance * rate_index[t], while `hedged`
        ("constant", f8), ("coefficient", f8), ("hedged", i8), ("coin_reference", f8),
        # the trade
        ("phase", i8), ("side", i8), ("pair", i8), ("reason", i8), ("started", i8), ("complete", i8), ("entry_equity", f8),
        ("exit_time", i8), ("idle_until", i8),
        ("tranche", i8), ("tranches", i8), ("due", i8), ("next_pair", i8), ("roll_ready", i8),
        ("peak", f8), ("paused_until", i8),
        # the box
        ("exit_level", f8), ("stop_level", f8), ("converge_level", f8), ("premium_level", f8), ("annual_level", f8), ("loss_level", f8),
        ("time_bar", i8), ("days_bar", i8), ("converge_bar", i8), ("roll_bar", i8), ("due_bar", i8), ("horizon", i8),
        # the bar
        ("bar", i8), ("opened", i8), ("stamp", i8), ("was_on", i8), ("accrued_beside", f8), ("allowance", f8), ("borrow_rate", f8), ("borrow_rate_before", f8), ("idle_rate", f8), ("idle_rate_before", f8),
        ("pair_index", f8), ("exit_signal", f8), ("premium", f8), ("annualized", f8), ("illiquid", f8), ("scale", f8), ("available", f8),
        ("expected_at", i8), ("expected_rate", f8), ("next_payment", i8), ("coin", f8), ("coin_open", f8),
        # rows written; the terms in force
        ("changes", i8), ("fills", i8), ("trades", i8), ("period", i8), ("period_end", i8),
    ],
    align=True,
)  # fmt: skip
LEG = np.dtype(
    [
        ("quantity", f8), ("target", f8), ("goal", f8), ("unit", f8), ("held", f8), ("share", f8), ("ready", i8),
        ("reference", f8), ("accrual_reference", f8),
        ("entry", f8), ("entry_accrual", f8), ("collateral", f8), ("coins", f8),  # its margin account
        ("coming", f8), ("coming_at", i8), ("stress_level", f8), ("entered", f8), ("exited", f8),
        # its quote of the bar
        ("open", f8), ("price_open", f8), ("close", f8), ("high", f8), ("low", f8), ("half_spread", f8), ("accrual", f8), ("accrual_before", f8),
        ("margin_accrual", f8), ("margin_accrual_before", f8), ("value_open", f8), ("value_close", f8),
        ("room_buy", f8), ("room_sell", f8), ("impact", f8), ("stress", f8),
    ],
    align=True,
)  # fmt: skip
POOL = np.dtype(
    [
        ("rules", i8), ("derivatives", i8),  # rules that trade, and their derivative slots
        ("balance", f8), ("drawn", f8),  # all accounts' balances; what of it cross margin has drawn in this bar
        ("exposure", f8), ("drawdown", f8), ("pause", i8), ("peak", f8), ("paused_until", i8), ("equity", f8),
    ],
    align=True,
)  # fmt: skip
TERMS = np.dtype(
    [
        ("present", i8), ("derivative", i8), ("inverse", i8), ("quoted", i8), ("limited", i8), ("maker", i8), ("latency", i8),
        ("fee", f8), ("taker_fee", f8), ("unit_fee", f8), ("half_spread", f8), ("impact", f8), ("impact_square_root", i8), ("contract", f8),
        ("leverage", f8), ("delivery_fee", f8), ("delivery_unit_fee", f8), ("liquidation_fee", f8),
        ("least_accrual", f8), ("tiers", i8), ("tier_floor", f8, (TIERS,)), ("tier_rate", f8, (TIERS,)), ("tier_deduction", f8, (TIERS,)),
    ],
    align=True,
)  # fmt: skip
RULE = np.dtype(
    [
        ("bars_at", i8), ("periods_end", i8),  # where its bars begin on the tapes by bar, where its terms end
        # where its sides of the box begin, and its index; how far behind those of side +1 those of −1 are
        ("entry_at", i8), ("exit_at", i8), ("premium_at", i8), ("annual_at", i8), ("long_stress_at", i8), ("short_stress_at", i8), ("minus_at", i8),
        ("index_at", i8), ("index_minus", i8),
        ("enter", f8), ("exit", f8), ("plus", i8), ("minus", i8), ("legs", i8), ("first_slot", i8), ("margin", i8), ("walks", i8),
        ("fraction", f8), ("scaled", i8), ("resize_factor", f8), ("stop", f8), ("stop_annualized", f8), ("loss", f8), ("exposure", f8), ("drawdown", f8),
        ("expiry_nanoseconds", i8), ("roll_nanoseconds", i8), ("max_hold", i8), ("converge", i8), ("cooldown", i8), ("pause", i8),
        ("entry_tranches", i8), ("exit_tranches", i8), ("tranche_gap", i8), ("funding_tranches", i8),
        ("perpetual_slot", i8), ("perpetual_inverse", i8), ("funding_entry", i8), ("hold_for_funding", i8), ("unstake", i8), ("policy", i8), ("patience", i8),
        ("liquidity", i8), ("borrow_limited", i8), ("deleverage_bar", i8), ("deleverage_gap", f8),
        ("wallets", i8), ("far_share", f8), ("transfer_delay", i8), ("transfer_fee", f8), ("top_up", f8), ("times_funding", i8), ("transfers", i8),
    ],
    align=True,
)  # fmt: skip
PAIR = np.dtype(
    [
        ("start", i8), ("first", i8), ("last", i8), ("expiry", i8),  # the pair's tape and its bars; the nearer expiry's instant
        ("lot", f8), ("least_notional", f8),  # the coarser of the two contracts; 0 for none
        ("long_start", i8), ("long_last", i8), ("long_expiry", i8), ("long_expiry_bar", i8), ("long_settlement", f8),
        ("short_start", i8), ("short_last", i8), ("short_expiry", i8), ("short_expiry_bar", i8), ("short_settlement", f8),
    ],
    align=True,
)  # fmt: skip
LEDGER = np.dtype(
    [
        ("bar", i8), ("pair", i8), ("side", i8), *SOURCE_FIELDS,
        ("balance", f8), ("borrowing", i8), ("rate_reference", f8), ("constant", f8), ("coefficient", f8), ("hedged", i8), ("coin_reference", f8),
        ("far", f8), ("transit", f8),
        ("long_quantity", f8), ("long_reference", f8), ("long_accrual", f8), ("long_coins", f8), ("long_share", f8), ("long_unit", f8),
        ("short_quantity", f8), ("short_reference", f8), ("short_accrual", f8), ("short_coins", f8), ("short_share", f8), ("short_unit", f8),
    ],
    align=True,
)  # fmt: skip
FILL = np.dtype(
    [
        ("bar", i8), ("slot", i8), ("trade", i8), ("action", i8), ("pair", i8), ("quantity", f8), ("reference", f8), ("price", f8),
        ("fee", f8), ("slippage", f8),
    ],
    align=True,
)  # fmt: skip
TRADE = np.dtype(
    [
        ("entered", i8), ("exited", i8), ("side", i8), ("pair", i8), ("reason", i8), ("quantity", f8), ("entry_equity", f8), ("pnl", f8),
        ("entry_long", f8), ("entry_short", f8), ("exit_long", f8), ("exit_short", f8), ("settlement_price", f8), *SOURCE_FIELDS,
    ],
    align=True,
)  # fmt: skip

# Nobody calls from C, and helpers are called by compiled code only: unused wrappers would take a quarter of the time to compile.
FROM_PYTHON: dict[str, Any] = {"error_model": "numpy", "no_cfunc_wrapper": True}
WITHIN: dict[str, Any] = {**FROM_PYTHON, "no_cpython_wrapper": True}
kernel = njit(forceinline=True, **WITHIN)  # small helpers melt into the loop
routine = njit(nogil=True, **WITHIN)  # what happens once a trade stays a call: inlined, it would triple the time to compile


def lent_code(_context: Any, array: Any) -> Any:
    """What `lent` compiles to: the array without its owner."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, nothing = cast(Any, make_array), cast(Any, cgutils.get_null_value)
        out = kind(signature.return_type)(context, builder, value=arguments[0])
        out.meminfo, out.parent = nothing(out.meminfo.type), nothing(out.parent.type)
        return out._getvalue()

    return array(array), code


# The same array, not counted: to hand one on costs two locked additions, ten times what a helper does. Its owner must outlive it, as a caller does.
lent: Any = (lambda array: array) if cast(Any, config).DISABLE_JIT else intrinsic(lent_code)


class Box(NamedTuple):
    """All sides of the box on one tape, each padded with −inf to whole large blocks; RULE says where each begins (`entry_at` …), and how far behind the
    sides of a trade of side +1 those of −1 lie (`minus_at`).

    Entry: s·signal of the pair that would be opened, by bar. Exit: −s·exit signal, premium: s·premium, annualized: s·annualized premium, at pair.start + t.
    Stress: worst mark and accrual of a slot, upwards, at its start + t.
    """

    values: Floats
    small: Floats  # maxima per SMALL
    large: Floats  # maxima per LARGE


class Tapes(NamedTuple):
    """All that the loop reads. Bar t of a leg is at [start + t] of its tape; rates have one entry more than bars: [t + 1] is after bar t.

    What no setting asks for has one entry, and is not read.
    """

    box: Box
    pair_index: Floats  # index of the long slot less that of the short slot, at index_at (+ index_minus for side −1) + pair.start + t
    stamps: npt.NDArray[np.int64]
    candidate: npt.NDArray[np.int64]  # per bar: the pair that would be opened, −1 none
    pairs: npt.NDArray[np.void]
    long: Floats  # [row, position]
    short: Floats
    rates: Floats  # [BORROW | IDLE, t + 1], cumulated
    periods: npt.NDArray[np.int64]  # first bar of each period of terms
    long_orders: Floats  # [ROOM_BUY …, position]
    short_orders: Floats
    long_coin: Floats  # [COIN_ACCRUAL …, position]
    short_coin: Floats
    coin: Floats  # [COIN_OPEN | COIN_CLOSE, t]
    scale: Floats  # [pair's position]
    illiquid: Floats  # [pair's position]: 1 illiquid, 0 not, NaN unknown
    available: Floats  # [t]: base units that may be borrowed
    expected_at: npt.NDArray[np.int64]  # [t]: the payment that is near enough to wait for, 0 none
    expected_rate: Floats  # [t]
    next_payment: npt.NDArray[np.int64]  # [t]: the expected payment, 0 none


class Desk(NamedTuple):
    """The records that a step works on: one rule's, and what all rules of a book share."""

    account: Record
    rule: Record
    long: Record
    short: Record
    long_terms: Record
    short_terms: Record
    pool: Record


# ---------------------------------------------------------------- the ledger of changes


@kernel
def equity(account: Record, long: Record, short: Record) -> float:
    """Equity at the close; the same sum, in the same order, as in `first_by_equity` and `fill_equity`."""
    rate = account.borrow_rate if account.borrowing != 0 else account.idle_rate
    if account.hedged != 0:
        return account.constant + account.coefficient * account.pair_index + account.balance * rate
    value = account.constant + account.balance * rate
    if long.quantity != 0.0:
        value += long.quantity * (long.value_close + long.accrual) + long.coins * account.coin
    if short.quantity != 0.0:
        value += short.quantity * (short.value_close + short.accrual) + short.coins * account.coin
    return value


@kernel
def booked(account: Record) -> float:
    """Equity as posted at the last change."""
    flows = account.price_long + account.price_short + account.legging + account.funding + account.financing + account.idle_cash
    costs = account.borrow + account.staking + account.fees + account.slippage + account.settlement + account.liquidation
    return account.capital + flows + costs


@kernel
def earn(desk: Desk, amount: float) -> None:
    """Cash of an account is cash of the book."""
    desk.account.balance += amount
    desk.pool.balance += amount


@kernel
def pay(desk: Desk, slot: int, amount: float) -> None:
    """Cash of a slot, in its own wallet."""
    earn(desk, amount)
    if slot == SHORT_SLOT:
        desk.account.far += amount


@kernel
def gain_of(account: Record, leg: Record, value: float, coin: float) -> float:
    """What a leg's reference price has gained since it was last booked; the reference moves here."""
    gain = 0.0
    if leg.quantity != 0.0:
        gain = leg.quantity * (value - leg.reference) + leg.coins * (coin - account.coin_reference)
    leg.reference = value
    return gain


@routine
def book_earnings(desk: Desk, leg: Record, terms: Record, accrual: float) -> None:
    """Post what one unit has earned since the last change: funding stays in the margin account, staking and borrow fee are cash."""
    account = desk.account
    if leg.quantity != 0.0:
        earned = leg.quantity * (accrual - leg.accrual_reference)
        if terms.derivative != 0:
            account.funding += earned
        elif leg.quantity > 0.0:
            account.staking += earned
            earn(desk, earned)
        else:
            account.borrow += earned
            earn(desk, earned)
    leg.accrual_reference = accrual


@routine
def book(desk: Desk, long_value: float, short_value: float, coin: float, when: int) -> None:
    """Post every source up to the bar's open or end, at these values, and move the references here."""
    account, _rule, long, short, long_terms, short_terms, _ = desk
    gain = gain_of(account, long, long_value, coin)
    hedged = gain * long.share
    account.price_long += hedged
    account.legging += gain - hedged
    gain = gain_of(account, short, short_value, coin)
    hedged = gain * short.share
    account.price_short += hedged
    account.legging += gain - hedged
    account.coin_reference = coin
    if account.borrowing != 0:
        interest = account.balance * ((account.borrow_rate if when == AT_END else account.borrow_rate_before) - account.rate_reference)
        account.financing += interest
    else:
        interest = account.balance * ((account.idle_rate if when == AT_END else account.idle_rate_before) - account.rate_reference)
        account.idle_cash += interest
    earn(desk, interest)
    book_earnings(desk, long, long_terms, long.accrual if when == AT_END else long.accrual_before)
    book_earnings(desk, short, short_terms, short.accrual if when == AT_END else short.accrual_before)


@routine
def book_at_open(desk: Desk) -> None:
    """Post every source up to the bar's open, where every held leg has its open, or its last close."""
    book(desk, desk.long.value_open, desk.short.value_open, desk.account.coin_open, AT_OPEN)


@routine
def book_at_close(desk: Desk) -> None:
    """Post every source up to the close."""
    book(desk, desk.long.value_close, desk.short.value_close, desk.account.coin, AT_END)


@routine
def share_hedged(rule: Record, long: Record, short: Record) -> None:
    """Which share of each slot is hedged: the smaller filled share over its own."""
    long.share = short.share = 1.0
    if rule.legs == 2:
        of_long = abs(long.quantity) / abs(long.goal) if long.goal != 0.0 else 0.0
        of_short = abs(short.quantity) / abs(short.goal) if short.goal != 0.0 else 0.0
        if of_long > of_short:
            long.share = of_short / of_long
        elif of_short > of_long:
            short.share = of_long / of_short


@routine
def rebase(desk: Desk, when: int) -> None:
    """After a change: shares, where the money's index starts, the constants of the equity sum, and margin's side of the box."""
    account, rule, long, short, long_terms, short_terms, pool = desk
    share_hedged(rule, long, short)
    account.borrowing = 1 if pool.balance < 0.0 else 0
    if account.borrowing != 0:
        account.rate_reference = account.borrow_rate if when == AT_END else account.borrow_rate_before
    else:
        account.rate_reference = account.idle_rate if when == AT_END else account.idle_rate_before
    value = booked(account) - account.balance * account.rate_reference
    if long.quantity != 0.0:
        value -= long.quantity * (long.reference + long.accrual_reference) + long.coins * account.coin_reference
    if short.quantity != 0.0:
        value -= short.quantity * (short.reference + short.accrual_reference) + short.coins * account.coin_reference
    account.constant = value
    account.coefficient = long.quantity if long.quantity != 0.0 else -short.quantity
    alike = long_terms.inverse == 0 and short_terms.inverse == 0 and (rule.legs == 1 or long.quantity == -short.quantity)
    account.hedged = 1 if account.coefficient != 0.0 and alike else 0
    guard_both(desk)


@routine
def record(account: Record, long: Record, short: Record, row: Record) -> None:
    """One ledger row a change: what is held from now on, what is booked, and the references that the next differences start from."""
    row.bar = account.bar
    row.pair = account.pair
    row.side = account.side
    row.price_long = account.price_long
    row.price_short = account.price_short
    row.legging = account.legging
    row.funding = account.funding
    row.financing = account.financing
    row.idle_cash = account.idle_cash
    row.borrow = account.borrow
    row.staking = account.staking
    row.fees = account.fees
    row.slippage = account.slippage
    row.settlement = account.settlement
    row.liquidation = account.liquidation
    row.balance = account.balance
    row.borrowing = account.borrowing
    row.rate_reference = account.rate_reference
    row.constant = account.constant
    row.coefficient = account.coefficient
    row.hedged = account.hedged
    row.coin_reference = account.coin_reference
    row.far = account.far
    row.transit = account.transit
    row.long_quantity = long.quantity
    row.long_reference = long.reference
    row.long_accrual = long.accrual_reference
    row.long_coins = long.coins
    row.long_share = long.share
    row.long_unit = long.unit
    row.short_quantity = short.quantity
    row.short_reference = short.reference
    row.short_accrual = short.accrual_reference
    row.short_coins = short.coins
    row.short_share = short.share
    row.short_unit = short.unit
    account.changes += 1


@routine
def post_sources(trade: Record, account: Record, sign: float) -> None:
    """A trade's attribution is what was booked at its end less what was booked at its beginning."""
    trade.price_long += sign * account.price_long
    trade.price_short += sign * account.price_short
    trade.legging += sign * account.legging
    trade.funding += sign * account.funding
    trade.financing += sign * account.financing
    trade.idle_cash += sign * account.idle_cash
    trade.borrow += sign * account.borrow
    trade.staking += sign * account.staking
    trade.fees += sign * account.fees
    trade.slippage += sign * account.slippage
    trade.settlement += sign * account.settlement
    trade.liquidation += sign * account.liquidation


# ---------------------------------------------------------------- margin


@kernel
def maintenance(terms: Record, notional: float) -> float:
    """Maintenance margin of a notional: rate and deduction of its tier."""
    k = 0
    while k + 1 < terms.tiers and notional > terms.tier_floor[k + 1]:
        k += 1
    return notional * terms.tier_rate[k] - terms.tier_deduction[k]


@routine
def breach(leg: Record, terms: Record, spare: float, accrual: float) -> float:
    """Mark plus accrual at which the margin account equals the maintenance margin, if the accrual is `accrual` by then.

    The account of q < 0 is collateral + spare − |q|(accrual − entry_accrual) − |q|(mark − entry); with x = mark + accrual the equation is
    x + maintenance(|q|(x − accrual))/|q| = (collateral + spare)/|q| + entry + entry_accrual, and mirrored for q > 0.
    """
    quantity = abs(leg.quantity)
    if leg.quantity < 0.0:
        bound = leg.entry + leg.entry_accrual + (leg.collateral + spare) / quantity
        for k in range(terms.tiers):
            rate, deduction = terms.tier_rate[k], terms.tier_deduction[k] / quantity
            x = max((bound + rate * accrual + deduction) / (1.0 + rate), terms.tier_floor[k] / quantity + accrual)
            if k + 1 == terms.tiers or quantity * (x - accrual) <= terms.tier_floor[k + 1]:
                return x
    bound = leg.entry + leg.entry_accrual - (leg.collateral + spare) / quantity
    for k in range(terms.tiers - 1, -1, -1):
        rate, deduction = terms.tier_rate[k], terms.tier_deduction[k] / quantity
        x = (bound - rate * accrual - deduction) / (1.0 - rate)
        if k + 1 < terms.tiers:
            x = min(x, terms.tier_floor[k + 1] / quantity + accrual)
        if k == 0 or quantity * (x - accrual) > terms.tier_floor[k]:
            return x
    return np.nan


@routine
def guard(leg: Record, terms: Record, rule: Record, spare: float) -> None:
    """Margin's side of the box: no breach while stress stays below this level.

    The accrual by then is unknown, so the level takes the least of the tape: it errs on the early side by maintenance rate × funding.
    """
    leg.stress_level = np.inf
    if terms.derivative != 0 and leg.quantity != 0.0 and rule.margin != OFF and rule.walks == 0:
        level = breach(leg, terms, spare, terms.least_accrual)
        early = 1e-9 * abs(level)
        leg.stress_level = level - early if leg.quantity < 0.0 else -level - early


@routine
def guard_both(desk: Desk) -> None:
    """Margin's sides of the box. Where others draw on the same cash or move it, a slot that needs any is looked at bar by bar."""
    _, rule, long, short, long_terms, short_terms, pool = desk
    alone = rule.margin == CROSS and pool.derivatives == 1 and pool.rules == 1
    guard(long, long_terms, rule, backing(desk, LONG_SLOT, spare_cash(desk, LONG_SLOT) if alone else 0.0))
    guard(short, short_terms, rule, backing(desk, SHORT_SLOT, spare_cash(desk, SHORT_SLOT) if alone else 0.0))


@kernel
def margin_left(leg: Record, terms: Record, backing: float) -> float:
    """What the margin account has above the maintenance margin at the bar's worst mark."""
    mark = leg.low if leg.quantity > 0.0 else leg.high
    account = leg.collateral + backing + leg.quantity * (leg.margin_accrual - leg.entry_accrual) + leg.quantity * (mark - leg.entry)
    return account - maintenance(terms, abs(leg.quantity) * mark)


@kernel
def wallet(desk: Desk, slot: int) -> float:
    """The cash that a slot may use."""
    account = desk.account
    if desk.rule.wallets == 0:
        return desk.pool.balance
    return account.far if slot == SHORT_SLOT else account.balance - account.far - abs(account.transit)


@kernel
def spare_cash(desk: Desk, slot: int) -> float:
    """What cross margin may still draw on: cash, but for what slots before this one have drawn in this bar."""
    return max(wallet(desk, slot) - desk.pool.drawn, 0.0)


@routine
def backing(desk: Desk, slot: int, cash: float) -> float:
    """What a margin account may draw on besides its collateral, in its currency: cash, and the coins of the spot for an inverse contract."""
    account, _, long, short, long_terms, short_terms, _ = desk
    other, terms = (short, long_terms) if slot == LONG_SLOT else (long, short_terms)
    value = cash
    if terms.inverse != 0:
        value = value / account.coin if value > 0.0 else 0.0
        if other_is_spot(long_terms, short_terms, slot):
            value += max(other.quantity, 0.0)
    return value


@kernel
def other_is_spot(long_terms: Record, short_terms: Record, slot: int) -> bool:
    """True if the slot's other one holds coins."""
    present, derivative = (
        (short_terms.present, short_terms.derivative) if slot == LONG_SLOT else (long_terms.present, long_terms.derivative)
    )
    return present != 0 and derivative == 0


# ---------------------------------------------------------------- changes of position


@kernel
def whole(amount: float, step: float) -> float:
    """The whole steps in an amount, with its sign; a count within rounding below a whole number is that number; all of it without a step."""
    if step <= 0.0:
        return amount
    return math.copysign(np.floor(abs(amount) / step * (1.0 + ROUNDING)) * step, amount)


@kernel
def step_of(terms: Record, pair: Record) -> float:
    """What a slot is traded in: lots, or whole contracts of an inverse one."""
    return terms.contract if terms.inverse != 0 else pair.lot


@kernel
def chased(rule: Record, leg: Record, opened: int) -> bool:
    """True if an order has waited so long that it takes what there is."""
    return rule.policy == CHASE and opened - leg.ready >= rule.patience


@routine
def order(account: Record, rule: Record, leg: Record, terms: Record, pair: Record) -> float:
    """What of a leg's order fills at this open, signed; 0 for nothing."""
    change = leg.target - leg.quantity
    if change == 0.0 or not leg.open > 0.0 or account.opened < leg.ready:
        return 0.0
    if terms.limited == 0:
        return change
    if chased(rule, leg, account.opened):
        return change if takes(leg, terms, change) else 0.0
    room = leg.room_buy if (change > 0.0) == (terms.inverse == 0) else leg.room_sell
    if terms.inverse != 0:
        room *= leg.open
    if abs(change) > room:
        part = math.copysign(whole(room, step_of(terms, pair)), change)
        change = change if abs(change - part) <= ROUNDING * abs(leg.goal) else part
    return change if terms.maker != 0 or takes(leg, terms, change) else 0.0


@routine
def takes(leg: Record, terms: Record, change: float) -> bool:
    """True if the market takes an order: what it costs is known, and less than all it is worth."""
    return terms.limited == 0 or cost_of(leg, terms, abs(change) * (1.0 if terms.inverse != 0 else leg.open), True) < 1.0


@routine
def log_fill(account: Record, slot: int, action: int, quantity: float, reference: float, price: float, fee: float, slippage: float, row: Record) -> None:  # fmt: skip
    """One row a fill."""
    row.bar = account.bar
    row.slot = slot
    row.trade = account.trades
    row.action = action
    row.pair = account.pair
    row.quantity = quantity
    row.reference = reference
    row.price = price
    row.fee = fee
    row.slippage = slippage
    account.fills += 1


@routine
def cost_of(leg: Record, terms: Record, notional: float, taker: bool) -> float:
    """What a fill pays beyond the open, as a fraction of it: half the spread and impact; a maker is paid half the spread."""
    half_spread = leg.half_spread if terms.quoted != 0 and leg.half_spread >= 0.0 else terms.half_spread
    if terms.limited == 0:
        return half_spread
    if not taker:
        return -half_spread
    return half_spread * leg.stress + leg.impact * (math.sqrt(notional) if terms.impact_square_root != 0 else notional)


@routine
def change_coins(desk: Desk, leg: Record, slot: int, size: float, collateral: float) -> None:
    """An inverse account that shrinks to a size pays out its share of the coins; one that grows gets collateral for what is added, so much a unit."""
    before = abs(leg.quantity)
    coins = (size - before) * collateral if size > before else leg.collateral * (size / before - 1.0)
    leg.collateral += coins
    pay(desk, slot, -coins * desk.account.coin_open)


@routine
def trade_leg(desk: Desk, slot: int, change: float, taker: bool, action: int, row: Record) -> None:
    """Trade at the open. Price = open·(1 ± cost), + when buying; fee = rate·worth; slippage = what the worse price costs.

    A derivative and a short spot live in an account apart: a fill settles it at the fill price and opens it anew; an inverse contract's keeps its coins.
    Coins of a spot that is held are an inverse contract's collateral.
    """
    account, _, long, short, long_terms, short_terms, _ = desk
    leg, other, terms = (long, short, long_terms) if slot == LONG_SLOT else (short, long, short_terms)
    inverse = terms.inverse != 0
    cost = cost_of(leg, terms, abs(change) if inverse else abs(change) * leg.open, taker)
    bought = (change > 0.0) != inverse
    price = leg.open * (1.0 + cost if bought else 1.0 - cost)
    worth = abs(change) / price * account.coin_open if inverse else abs(change) * price
    fee = (terms.taker_fee if taker else terms.fee) * worth + terms.unit_fee * (worth / price if inverse else abs(change))
    slippage = worth * cost if inverse else abs(change) * leg.open * cost
    account.fees -= fee
    account.slippage -= slippage
    pay(desk, slot, -fee)
    quantity = leg.quantity + change
    if abs(leg.target - quantity) <= ROUNDING * abs(leg.goal):
        quantity = leg.target
    if terms.derivative != 0:
        entry = 1.0 / price if inverse else price
        if leg.quantity != 0.0:
            leg.collateral += leg.quantity * (entry - leg.entry) + leg.quantity * (leg.margin_accrual_before - leg.entry_accrual)
        leg.entry = entry
        leg.entry_accrual = leg.margin_accrual_before
        if inverse:
            backed = other.quantity > 0.0 and other_is_spot(long_terms, short_terms, slot)
            if action != ROLLED:
                change_coins(desk, leg, slot, abs(quantity), 0.0 if backed else entry / terms.leverage)
            leg.coins = leg.collateral - quantity * (entry + leg.entry_accrual)
        else:
            collateral = abs(quantity) * entry / terms.leverage
            pay(desk, slot, leg.collateral - collateral)
            leg.collateral = collateral
    elif leg.quantity < 0.0 or quantity < 0.0:
        if leg.quantity != 0.0:
            pay(desk, slot, leg.quantity * (price - leg.entry))
        leg.entry = price
    else:
        pay(desk, slot, -change * price)
    log_fill(account, slot, action, -change / price if inverse else change, leg.open, price, fee, slippage, row)
    leg.quantity = quantity


@kernel
def mean_with(mean: float, before: float, reference: float, weight: float) -> float:
    """A weighted mean with one more reference."""
    return reference if before == 0.0 else mean + (reference - mean) * weight / (before + weight)


@routine
def note_exit(leg: Record, slot: int, reference: float, weight: float, trade: Record) -> None:
    """The mean reference at which a slot was left."""
    if slot == LONG_SLOT:
        trade.exit_long = mean_with(trade.exit_long, leg.exited, reference, weight)
    else:
        trade.exit_short = mean_with(trade.exit_short, leg.exited, reference, weight)
    leg.exited += weight


@routine
def fill_leg(desk: Desk, slot: int, change: float, trade: Record, row: Record) -> None:
    """Fill an order, or the part of it that there is room for, and keep its reference where the trade has a place for it."""
    account, rule, long, short, long_terms, short_terms, _ = desk
    leg, terms = (long, long_terms) if slot == LONG_SLOT else (short, short_terms)
    taker = terms.maker == 0 or chased(rule, leg, account.opened)
    action = ENTERED if account.phase == OPENING else EXITED if account.phase == CLOSING else RESIZED
    trade_leg(desk, slot, change, taker, action, row)
    if account.phase == OPENING:
        if slot == LONG_SLOT:
            trade.entry_long = mean_with(trade.entry_long, leg.entered, leg.open, abs(change))
        else:
            trade.entry_short = mean_with(trade.entry_short, leg.entered, leg.open, abs(change))
        leg.entered += abs(change)
        trade.quantity = max(trade.quantity, abs(leg.quantity / leg.unit))
    elif account.phase == CLOSING:
        note_exit(leg, slot, leg.open, abs(change), trade)


@kernel
def value_at(leg: Record, terms: Record, price: float, coin: float) -> float:
    """A unit's value index at a price inside the bar."""
    return coin / price + coin * leg.margin_accrual - leg.accrual if terms.inverse != 0 else price


@routine
def end_inside(desk: Desk, slot: int, price: float, coin: float, action: int, trade: Record, row: Record) -> None:
    """Within the bar the leg ends at `price`: its margin account pays out, less the delivery or liquidation fee."""
    account, rule, long, short, long_terms, short_terms, _ = desk
    leg, other, terms = (long, short, long_terms) if slot == LONG_SLOT else (short, long, short_terms)
    entry, money = (1.0 / price, coin) if terms.inverse != 0 else (price, 1.0)
    size = abs(leg.quantity)
    fee = 0.0
    if action == LIQUIDATED:
        fee = terms.liquidation_fee * size * entry * money
    elif action == SETTLED:
        fee = terms.delivery_fee * size * entry * money + terms.delivery_unit_fee * (
            size * entry / price * money if terms.inverse != 0 else size
        )
    gain = leg.quantity * (entry - leg.entry) + leg.quantity * (leg.margin_accrual - leg.entry_accrual)
    paid_out = (leg.collateral + gain) * money - fee
    if action == LIQUIDATED:
        backing = max(other.quantity, 0.0) * coin if terms.inverse != 0 and other_is_spot(long_terms, short_terms, slot) else 0.0
        absorbed = max(-paid_out - backing, 0.0) if rule.margin == ISOLATED else 0.0
        account.liquidation += absorbed - fee
        paid_out += absorbed
    elif action == SETTLED:
        account.settlement -= fee
    pay(desk, slot, paid_out)
    log_fill(account, slot, action, leg.quantity / price if terms.inverse != 0 else -leg.quantity, price, price, fee, 0.0, row)
    note_exit(leg, slot, price, size, trade)
    leg.quantity = leg.target = leg.collateral = leg.coins = 0.0


@routine
def begin_trade(desk: Desk, trade: Record) -> None:
    """Just before the first fill."""
    account, rule, long, short, _, _, _ = desk
    account.started = 1
    account.entry_equity = booked(account)
    account.loss_level = account.entry_equity * (1.0 - rule.loss)
    long.entered = long.exited = short.entered = short.exited = 0.0
    trade.entered = account.opened
    trade.exited = account.opened
    trade.side = account.side
    trade.pair = account.pair
    trade.reason = END
    trade.entry_equity = account.entry_equity
    trade.entry_long = trade.entry_short = trade.exit_long = trade.exit_short = trade.settlement_price = np.nan
    trade.quantity = 0.0
    post_sources(trade, account, -1.0)


@kernel
def waiting(long: Record, short: Record) -> bool:
    """True if an order has not filled wholly."""
    return long.target != long.quantity or short.target != short.quantity


@routine
def retire(desk: Desk, trade: Record) -> None:
    """Both slots are out: flat again. Orders called off before their first fill leave no trade; a first tranche may come to nothing."""
    account, long, short = desk.account, desk.long, desk.short
    if account.phase == OPENING or long.quantity != 0.0 or short.quantity != 0.0 or long.target != 0.0 or short.target != 0.0:
        return
    if account.started != 0:
        trade.reason = account.reason
        trade.pnl = booked(account) - account.entry_equity
        post_sources(trade, account, 1.0)
        account.exit_time = trade.exited
        account.trades += 1
    account.phase = FLAT
    account.started = account.complete = 0
    account.horizon = NEVER


# ---------------------------------------------------------------- orders


@routine
def aim(leg: Record, terms: Record, goal: float) -> None:
    """A slot's whole position in units: base, or face of an inverse contract by its present close."""
    leg.goal = goal
    leg.unit = 1.0
    if terms.inverse != 0:
        leg.unit = -leg.close
        leg.goal = whole(goal * leg.unit, terms.contract)


@routine
def received(account: Record, rule: Record, long: Record, short: Record, planned: bool) -> float:
    """What the position, or the one that is planned, would be paid at the expected payment, in units of the rate: its sign counts.

    It is that of the rule's perpetual: the short slot's if that is one, else the long slot's. A unit of an inverse contract is sold face.
    """
    leg = short if rule.perpetual_slot == SHORT_SLOT else long
    units = leg.goal if planned else leg.quantity
    return account.expected_rate * (units if rule.perpetual_inverse != 0 else -units)


@kernel
def order_anew(leg: Record, terms: Record, target: float, ready: int, keep: bool) -> None:
    """Change a slot's target; its order is ready at this instant plus the slot's latency. keep: an order that waits already keeps its own."""
    if target != leg.target:
        if not (keep and leg.target != leg.quantity):
            leg.ready = ready + terms.latency
        leg.target = target


@kernel
def unstakes(leg: Record, terms: Record, target: float) -> bool:
    """True if coins must be unstaked to get there."""
    return terms.derivative == 0 and leg.quantity > 0.0 and target < leg.quantity


@routine
def order_both(desk: Desk, long_target: float, short_target: float, ready: int, keep: bool) -> None:
    """Change both targets; what sells staked coins is not ready before they are free, nor is its other leg."""
    account, rule, long, short, long_terms, short_terms, _ = desk
    if rule.unstake > 0 and (unstakes(long, long_terms, long_target) or unstakes(short, short_terms, short_target)):
        ready = max(ready, account.stamp + rule.unstake)
    order_anew(long, long_terms, long_target, ready, keep)
    order_anew(short, short_terms, short_target, ready, keep)


@routine
def tranche_of(whole_amount: float, k: int, n: int, step: float) -> float:
    """The k-th of n parts together, down to whole steps; the n-th is all."""
    return whole_amount if k >= n else whole(whole_amount * k / n, step)


@routine
def order_tranche(desk: Desk, pair: Record, ready: int, keep: bool) -> None:
    """Targets of the present tranche, of an entry or of an exit, and when the next one is due."""
    account, rule, long, short, long_terms, short_terms, _ = desk
    k, n = account.tranche, account.tranches
    if account.phase == OPENING:
        of_long, of_short = tranche_of(long.goal, k, n, step_of(long_terms, pair)), tranche_of(short.goal, k, n, step_of(short_terms, pair))
        order_both(desk, of_long, of_short, ready, keep)
    else:
        of_long, of_short = tranche_of(long.held, k, n, step_of(long_terms, pair)), tranche_of(short.held, k, n, step_of(short_terms, pair))
        order_both(desk, long.held - of_long, short.held - of_short, ready, keep)
    account.due = account.stamp
    if rule.funding_tranches == 0:
        account.due += rule.tranche_gap
    elif account.next_payment > 0:
        account.due = account.next_payment


@routine
def leave(desk: Desk, pair: Record, reason: int) -> None:
    """Close what is held, at once or in tranches. From here only margin and expiry can interrupt: the box opens on its other sides."""
    account, rule, long, short, _, _, _ = desk
    calm = reason >= DAYS
    account.phase = CLOSING
    account.reason = reason
    account.exit_level = account.premium_level = account.annual_level = np.inf
    account.loss_level = -np.inf
    account.tranche, account.tranches = 1, rule.exit_tranches if calm else 1
    ready = account.stamp
    if calm and rule.hold_for_funding != 0 and received(account, rule, long, short, False) > 0.0:
        ready = max(ready, account.expected_at)
    long.held, short.held = long.quantity, short.quantity
    if long.target != long.quantity:
        long.target = long.quantity  # what waits of an entry is dropped
    if short.target != short.quantity:
        short.target = short.quantity
    order_tranche(desk, pair, ready, False)


@routine
def forced_out(desk: Desk, reason: int) -> None:
    """A slot has ended inside the bar: the other one goes as soon as it can, whatever was planned."""
    account, rule, long, short, long_terms, short_terms, _ = desk
    if account.phase != CLOSING:
        account.reason = reason
    account.phase = CLOSING
    account.tranche = account.tranches = 1
    account.exit_level = account.premium_level = account.annual_level = np.inf
    account.loss_level = -np.inf
    ready = account.stamp
    unstake = rule.unstake if reason != EXPIRY else 0
    go(long, ready + long_terms.latency + (unstake if unstakes(long, long_terms, 0.0) else 0))
    go(short, ready + short_terms.latency + (unstake if unstakes(short, short_terms, 0.0) else 0))


@routine
def go(leg: Record, ready: int) -> None:
    """Sell all; if that is ordered already, the earlier of the two instants."""
    leg.ready = min(leg.ready, ready) if leg.target == 0.0 and leg.quantity != 0.0 else ready
    leg.target = 0.0


# ---------------------------------------------------------------- the step, first half: what the market does


@routine
def arrive(desk: Desk) -> int:
    """Money under way that arrives at this bar's open: in a wallet, in the collateral, or in cash if the slot is no longer held. How many arrived."""
    account, _, long, short, _, _, _ = desk
    count = 0
    if account.transit != 0.0 and account.opened >= account.transit_at:
        book_at_open(desk)
        account.far += max(account.transit, 0.0)
        account.transit = 0.0
        rebase(desk, AT_OPEN)
        count += 1
    if long.coming > 0.0 and account.opened >= long.coming_at:
        count += 1
        receive(desk, LONG_SLOT)
    if short.coming > 0.0 and account.opened >= short.coming_at:
        count += 1
        receive(desk, SHORT_SLOT)
    return count


@routine
def receive(desk: Desk, slot: int) -> None:
    """A top-up arrives."""
    leg = desk.long if slot == LONG_SLOT else desk.short
    if leg.quantity != 0.0:
        leg.collateral += leg.coming
    else:
        book_at_open(desk)
        pay(desk, slot, leg.coming)
        rebase(desk, AT_OPEN)
    leg.coming = 0.0


@routine
def fill_orders(desk: Desk, pair: Record, trade: Record, row: Record, next_row: Record) -> bool:
    """Orders decided at an earlier close fill at this bar's open, each leg at its own. True if anything traded. row, next_row: of the log of fills."""
    account, rule, long, short, long_terms, short_terms, _ = desk
    long_change, short_change = order(account, rule, long, long_terms, pair), order(account, rule, short, short_terms, pair)
    if long_change == 0.0 and short_change == 0.0:
        return False
    book_at_open(desk)
    if account.started == 0:
        begin_trade(desk, trade)
    trade.exited = max(trade.exited, account.opened)
    if long_change != 0.0:
        fill_leg(desk, LONG_SLOT, long_change, trade, row)
    if short_change != 0.0:
        fill_leg(desk, SHORT_SLOT, short_change, trade, next_row if long_change != 0.0 else row)
    if not waiting(long, short):
        if account.phase == OPENING and account.tranche >= account.tranches:
            if rule.legs == 2:
                set_levels(account, rule, pair, (trade.entry_short - trade.entry_long) / trade.entry_long)
            account.complete = 1
            account.phase = HELD
        elif account.phase == RESIZING:
            account.phase = HELD
    return True


@routine
def set_levels(account: Record, rule: Record, pair: Record, premium: float) -> None:
    """The stops are measured from the premium of the entry, or of a roll."""
    days = (pair.expiry - account.opened) / DAY
    account.stop_level = account.premium_level = account.side * premium + rule.stop
    account.annual_level = account.side * premium * 365.0 / days + rule.stop_annualized if days >= 1.0 else np.inf
    account.converge_level = account.side * premium


@routine
def can_roll(leg: Record, fresh: Record, terms: Record) -> bool:
    """A slot that changes needs an open of both contracts, and to know what they would cost."""
    return leg.open > 0.0 and fresh.open > 0.0 and takes(leg, terms, leg.quantity) and takes(fresh, terms, leg.quantity)


@routine
def take_quote(leg: Record, fresh: Record) -> None:
    """The leg is of another contract from here on."""
    leg.open, leg.price_open, leg.close, leg.high, leg.low = fresh.open, fresh.price_open, fresh.close, fresh.high, fresh.low
    leg.half_spread, leg.accrual, leg.accrual_before = fresh.half_spread, fresh.accrual, fresh.accrual_before
    leg.margin_accrual, leg.margin_accrual_before = fresh.margin_accrual, fresh.margin_accrual_before
    leg.value_open, leg.value_close = fresh.value_open, fresh.value_close
    leg.room_buy, leg.room_sell, leg.impact, leg.stress = fresh.room_buy, fresh.room_sell, fresh.impact, fresh.stress


@routine
def roll_leg(desk: Desk, slot: int, fresh: Record, fills: npt.NDArray[np.void]) -> None:
    """Leave the old contract and enter the new one with the same quantity, each at its own open and costs."""
    account = desk.account
    leg = desk.long if slot == LONG_SLOT else desk.short
    quantity, old = leg.quantity, account.pair
    trade_leg(desk, slot, -quantity, True, ROLLED, fills[account.fills])
    take_quote(leg, fresh)
    leg.reference, leg.accrual_reference = leg.value_open, leg.accrual_before
    account.pair = account.next_pair
    trade_leg(desk, slot, quantity, True, ROLLED, fills[account.fills])
    account.pair = old


@routine
def roll(
    desk: Desk, pair: Record, other: Record, fresh_long: Record, fresh_short: Record, trade: Record, fills: npt.NDArray[np.void]
) -> bool:
    """The dated slots go over to the next pair's contracts, in one bar or not at all; the rest stays. True if it was done."""
    account, rule, long, short, long_terms, short_terms, _ = desk
    of_long, of_short = pair.long_start != other.long_start, pair.short_start != other.short_start
    if (of_long and not can_roll(long, fresh_long, long_terms)) or (of_short and not can_roll(short, fresh_short, short_terms)):
        return False
    book_at_open(desk)
    trade.exited = max(trade.exited, account.opened)
    if of_long:
        roll_leg(desk, LONG_SLOT, fresh_long, fills)
    if of_short:
        roll_leg(desk, SHORT_SLOT, fresh_short, fills)
    account.pair = account.next_pair
    if rule.legs == 2:
        set_levels(account, rule, other, (short.price_open - long.price_open) / long.price_open)
    account.complete = 1
    account.phase = HELD
    return True


@routine
def force(desk: Desk, slot: int, price: float, action: int, reason: int, trade: Record, row: Record) -> None:
    """A leg is taken at a price inside the bar; the other one is valued alongside and goes at the next open."""
    account, _, long, short, long_terms, short_terms, _ = desk
    leg = long if slot == LONG_SLOT else short
    alongside = price / leg.close
    coin = alongside * account.coin
    long_price = price if slot == LONG_SLOT else alongside * long.close
    short_price = price if slot == SHORT_SLOT else alongside * short.close
    book(desk, value_at(long, long_terms, long_price, coin), value_at(short, short_terms, short_price, coin), coin, AT_END)
    end_inside(desk, slot, price, coin, action, trade, row)
    trade.exited = max(trade.exited, account.stamp)
    forced_out(desk, reason)
    rebase(desk, AT_END)


@routine
def liquidated(desk: Desk, slot: int, trade: Record, fills: npt.NDArray[np.void]) -> bool:
    """A leg below its maintenance margin at the bar's worst mark goes at the breach price, or at the open (else the last close) if that is worse."""
    leg, terms = (desk.long, desk.long_terms) if slot == LONG_SLOT else (desk.short, desk.short_terms)
    if terms.derivative == 0 or leg.quantity == 0.0:
        return False
    cash = spare_cash(desk, slot) if desk.rule.margin == CROSS else 0.0
    extra = backing(desk, slot, cash)
    if not margin_left(leg, terms, extra) < 0.0:
        if cash > 0.0 and desk.rule.wallets == 0:
            lacking = max(-margin_left(leg, terms, backing(desk, slot, 0.0)), 0.0)
            desk.pool.drawn += lacking * desk.account.coin if terms.inverse != 0 else lacking
        return False
    mark = breach(leg, terms, extra, leg.margin_accrual) - leg.margin_accrual
    traded = 1.0 / leg.price_open if terms.inverse != 0 else leg.price_open
    mark = max(mark, traded) if leg.quantity < 0.0 else min(mark, traded)
    force(desk, slot, 1.0 / mark if terms.inverse != 0 else mark, LIQUIDATED, LIQUIDATION, trade, fills[desk.account.fills])
    return True


@routine
def deleveraged(desk: Desk, slot: int, trade: Record, fills: npt.NDArray[np.void]) -> bool:
    """Auto-deleveraging takes a leg whose position has a gain at the close, at the close less the gap."""
    leg, terms = (desk.long, desk.long_terms) if slot == LONG_SLOT else (desk.short, desk.short_terms)
    if terms.derivative == 0 or leg.quantity == 0.0:
        return False
    close = 1.0 / leg.close if terms.inverse != 0 else leg.close
    if not leg.quantity * (close - leg.entry) > 0.0:
        return False
    bought = (leg.quantity > 0.0) != (terms.inverse != 0)
    gap = desk.rule.deleverage_gap
    force(desk, slot, leg.close * (1.0 - gap if bought else 1.0 + gap), DELEVERAGED, DELEVERAGING, trade, fills[desk.account.fills])
    return True


@routine
def check_margin(desk: Desk, trade: Record, fills: npt.NDArray[np.void]) -> bool:
    """Each derivative at the worst mark of the bar, the long slot first; then a deleveraging. True if one was taken."""
    changed = False
    if desk.rule.margin != OFF:
        changed = liquidated(desk, LONG_SLOT, trade, fills)
        changed = liquidated(desk, SHORT_SLOT, trade, fills) or changed
    if desk.account.bar == desk.rule.deleverage_bar:
        changed = deleveraged(desk, LONG_SLOT, trade, fills) or changed
        changed = deleveraged(desk, SHORT_SLOT, trade, fills) or changed
    return changed


@routine
def settle(desk: Desk, pair: Record, trade: Record, fills: npt.NDArray[np.void]) -> bool:
    """Expiry inside the bar: the dated slot pays its settlement price, the other one goes at the next open. True if a position settled."""
    account, _, long, short, long_terms, short_terms, _ = desk
    long_ends, short_ends = account.bar >= pair.long_expiry_bar, account.bar >= pair.short_expiry_bar
    long_settles, short_settles = long_ends and long.quantity != 0.0, short_ends and short.quantity != 0.0
    if account.phase == CLOSING and not (long_settles or short_settles):
        return False  # the trade leaves, and what expires has left already
    if long_settles or short_settles:
        long_price = pair.long_settlement if long_settles else long.close
        short_price = pair.short_settlement if short_settles else short.close
        coin = account.coin
        book(desk, value_at(long, long_terms, long_price, coin), value_at(short, short_terms, short_price, coin), coin, AT_END)
    if long_settles:
        end_inside(desk, LONG_SLOT, pair.long_settlement, account.coin, SETTLED, trade, fills[account.fills])
        trade.settlement_price = pair.long_settlement
        trade.exited = max(trade.exited, pair.long_expiry)
    if short_settles:
        end_inside(desk, SHORT_SLOT, pair.short_settlement, account.coin, SETTLED, trade, fills[account.fills])
        trade.settlement_price = pair.short_settlement
        trade.exited = max(trade.exited, pair.short_expiry)
    forced_out(desk, EXPIRY)
    if long_settles or short_settles:
        rebase(desk, AT_END)
    return long_settles or short_settles


# ---------------------------------------------------------------- the step, second half: what the rule does at the close


@routine
def shorts_spot(desk: Desk, side: int) -> bool:
    """True if this side sells coins that must be borrowed."""
    sold = desk.long_terms if side < 0 else desk.short_terms
    return sold.present != 0 and sold.derivative == 0


@routine
def accrued(desk: Desk) -> float:
    """Interest, staking and borrow fees since the last fill: cash, but not yet in the balance."""
    account, _, long, short, long_terms, short_terms, _ = desk
    cash = account.balance * ((account.borrow_rate if account.borrowing != 0 else account.idle_rate) - account.rate_reference)
    if long_terms.derivative == 0 and long.quantity != 0.0:
        cash += long.quantity * (long.accrual - long.accrual_reference)
    if short_terms.derivative == 0 and short.quantity != 0.0:
        cash += short.quantity * (short.accrual - short.accrual_reference)
    return cash


@routine
def wallet_now(desk: Desk, slot: int) -> float:
    """The cash that a slot may use, with what has accrued at the close, which is the long slot's."""
    account, rule = desk.account, desk.rule
    if rule.wallets != 0 and slot == SHORT_SLOT:
        return account.far
    return wallet(desk, slot) + accrued(desk) + account.accrued_beside


@routine
def affordable(desk: Desk, slot: int, side: int) -> float:
    """Base units that the slot's wallet pays for, with what its account is worth at the close."""
    account, _rule, long, short, long_terms, short_terms, _ = desk
    leg, _other, terms, other_terms = (
        (long, short, long_terms, short_terms) if slot == LONG_SLOT else (short, long, short_terms, long_terms)
    )
    bought = (side > 0) == (slot == LONG_SLOT)
    money = wallet_now(desk, slot)
    if terms.derivative == 0:
        if leg.quantity != 0.0:
            money += leg.quantity * (leg.close - leg.entry) if leg.quantity < 0.0 else leg.quantity * leg.close
        return money / leg.close if bought else np.inf
    if leg.quantity != 0.0:
        money += account_worth(account, leg, terms)
    if terms.inverse != 0 and other_terms.present != 0 and other_terms.derivative == 0 and not bought:
        return np.inf  # the spot's coins are its collateral
    return money * terms.leverage / leg.close


@routine
def account_worth(account: Record, leg: Record, terms: Record) -> float:
    """What a derivative's account is worth at the close, in quote currency."""
    mark = 1.0 / leg.close if terms.inverse != 0 else leg.close
    worth = leg.collateral + leg.quantity * (leg.margin_accrual - leg.entry_accrual) + leg.quantity * (mark - leg.entry)
    return worth * account.coin if terms.inverse != 0 else worth


@kernel
def wished(rule: Record, value: float, close: float, scale: float) -> float:
    """Base quantity that a rule wishes for an equity; an unknown scale is none."""
    quantity = rule.fraction * value / close
    return quantity * (scale if scale > 0.0 else 0.0) if rule.scaled != 0 else quantity


@kernel
def tradable(quantity: float, close: float, pair: Record) -> float:
    """The whole lots in a quantity; 0 if they are too small to trade."""
    quantity = whole(quantity, pair.lot)
    return quantity if quantity > 0.0 and quantity * close >= pair.least_notional else 0.0


@routine
def sized(desk: Desk, pair: Record, side: int, value: float) -> float:
    """Base quantity for an equity: what can be borrowed and paid for, in whole lots; 0 if too small to trade."""
    account, rule, long, short, _, _, _ = desk
    close = long.close if rule.first_slot == LONG_SLOT else short.close
    quantity = wished(rule, value, close, account.scale)
    if rule.borrow_limited != 0 and shorts_spot(desk, side):
        quantity = min(quantity, account.available)
    if rule.wallets != 0:
        quantity = min(quantity, affordable(desk, LONG_SLOT, side), affordable(desk, SHORT_SLOT, side))
    if account.allowance < np.inf:
        quantity = min(quantity, account.allowance / close)
    return tradable(quantity, close, pair)


@routine
def aim_both(desk: Desk, side: int, quantity: float) -> bool:
    """Goals of both slots for a base quantity; False if one of them comes to nothing."""
    _, _rule, long, short, long_terms, short_terms, _ = desk
    if long_terms.present != 0:
        aim(long, long_terms, side * quantity)
    if short_terms.present != 0:
        aim(short, short_terms, -side * quantity)
    return (long_terms.present == 0 or long.goal != 0.0) and (short_terms.present == 0 or short.goal != 0.0)


@routine
def open_position(desk: Desk, pair: Record, number: int, side: int, value: float) -> None:
    """Orders for the next open, if the size comes to something."""
    account, rule, long, short, _, _, _ = desk
    quantity = sized(desk, pair, side, value)
    if quantity == 0.0 or not aim_both(desk, side, quantity):
        long.goal = short.goal = 0.0
        return
    account.phase = OPENING
    account.side = side
    account.pair = number
    account.reason = NONE
    account.tranche, account.tranches = 1, rule.entry_tranches
    ready = account.stamp
    if rule.funding_entry == AFTER or (rule.funding_entry == BETTER and received(account, rule, long, short, True) < 0.0):
        ready = max(ready, account.expected_at)
    order_tranche(desk, pair, ready, False)
    account.exit_level = -rule.exit
    account.stop_level = account.premium_level = account.annual_level = account.converge_level = np.inf
    account.loss_level = -np.inf
    account.time_bar = account.converge_bar = NEVER


@routine
def unfilled(rule: Record, leg: Record, stamp: int) -> bool:
    """True if a leg's order has waited for longer than there is patience."""
    return leg.target != leg.quantity and stamp - leg.ready >= rule.patience


@routine
def reason_to_leave(desk: Desk, value: float, drawn: bool) -> int:
    """The first of the reasons that holds at this close."""
    account, rule, long, short, _, _, _ = desk
    if account.complete != 0 and (account.premium >= account.stop_level or account.annualized >= account.annual_level):
        return STOP
    if account.started != 0 and value <= account.loss_level:
        return LOSS
    if drawn:
        return DRAWDOWN
    if account.started != 0 and rule.exposure < np.inf:
        first = long if rule.first_slot == LONG_SLOT else short
        if abs(first.quantity / first.unit) * first.close > rule.exposure * value:
            return EXPOSURE
    if rule.liquidity != 0 and account.illiquid > 0.0:
        return LIQUIDITY
    borrowed = -long.quantity if account.side < 0 else -short.quantity
    if rule.borrow_limited != 0 and shorts_spot(desk, account.side) and borrowed > max(account.available, 0.0):
        return RECALL
    if rule.policy == UNDO and account.phase == OPENING and (unfilled(rule, long, account.stamp) or unfilled(rule, short, account.stamp)):
        return UNFILLED
    if account.bar >= account.days_bar:
        return DAYS
    if account.bar >= account.time_bar:
        return TIME
    if account.bar >= account.converge_bar and account.premium >= account.converge_level:
        return CONVERGENCE
    if account.exit_signal >= account.exit_level and account.exit_level < np.inf:
        return SIGNAL
    return NONE


@kernel
def drifted(rule: Record, exposure: float, wanted: float) -> bool:
    """True if the exposure over the one that is wanted has left [1/resize, resize]."""
    ratio = exposure / wanted
    return ratio > rule.resize_factor or ratio < 1.0 / rule.resize_factor


@routine
def resize(desk: Desk, pair: Record, value: float) -> None:
    """Back to size when exposure has drifted."""
    account, rule, long, short, _, _, _ = desk
    first = long if rule.first_slot == LONG_SLOT else short
    held = abs(first.quantity)
    scale = account.scale if rule.scaled != 0 else 1.0
    wanted = min(rule.fraction * value * scale, account.allowance)
    if not (scale > 0.0 and account.allowance > 0.0) or not drifted(rule, held * first.close, wanted):
        return
    quantity = sized(desk, pair, account.side, value)
    if quantity == 0.0 or quantity == held:
        return
    aim_both(desk, account.side, quantity)
    order_both(desk, long.goal, short.goal, account.stamp, False)
    account.phase = RESIZING


@routine
def next_tranche(desk: Desk, pair: Record) -> None:
    """The next part of an entry or an exit, if it is due."""
    desk.account.tranche += 1
    order_tranche(desk, pair, desk.account.stamp, True)


@routine
def decide(desk: Desk, pair: Record, trade: Record, value: float, drawn: bool) -> None:
    """While a trade is on: leave, or order the next tranche."""
    account = desk.account
    if account.phase != CLOSING:
        reason = reason_to_leave(desk, value, drawn)
        if reason != NONE:
            leave(desk, pair, reason)
            retire(desk, trade)
            return
    if account.tranche < account.tranches and account.stamp >= account.due:
        next_tranche(desk, pair)


@routine
def rolls(pair: Record, other: Record) -> bool:
    """True if the other pair's contracts expire later, and so one may go over to them."""
    later_long = other.long_expiry >= NEVER or other.long_expiry > pair.expiry
    later_short = other.short_expiry >= NEVER or other.short_expiry > pair.expiry
    return later_long and later_short


@routine
def plan_roll(desk: Desk, pair: Record, other: Record, number: int) -> None:
    """A roll is ordered: it is ready when the slower of the slots that change is."""
    account, _, _, _, long_terms, short_terms, _ = desk
    latency = 0
    if pair.long_start != other.long_start:
        latency = long_terms.latency
    if pair.short_start != other.short_start:
        latency = max(latency, short_terms.latency)
    account.next_pair = number
    account.roll_ready = account.stamp + latency
    account.phase = ROLLING


@routine
def top_up(desk: Desk, slot: int) -> bool:
    """Send spare cash to a margin account that has become thin. True if any was sent."""
    account, rule, long, short, long_terms, short_terms, _ = desk
    leg, terms = (long, long_terms) if slot == LONG_SLOT else (short, short_terms)
    if terms.derivative == 0 or leg.quantity == 0.0 or leg.target == 0.0 or leg.coming > 0.0:
        return False
    worth = account_worth(account, leg, terms)
    wanted = abs(leg.quantity) * leg.close / terms.leverage
    if not worth < rule.top_up * wanted:
        return False
    source, fee, delay = slot, rule.transfer_fee, rule.transfer_delay
    if rule.wallets != 0:
        if wallet_now(desk, slot) > 0.0:
            fee, delay = 0.0, 0
        else:
            source = SHORT_SLOT if slot == LONG_SLOT else LONG_SLOT
    amount = min(wanted - worth, wallet_now(desk, source) - fee)
    if not amount > 0.0:
        return False
    book_at_close(desk)
    pay(desk, source, -amount - fee)
    account.fees -= fee
    leg.coming = amount
    leg.coming_at = account.stamp + delay
    rebase(desk, AT_END)
    return True


@routine
def rebalance(desk: Desk) -> bool:
    """Flat: send what one wallet has too much to the other. True if any was sent."""
    account, rule = desk.account, desk.rule
    if account.transit != 0.0:
        return False
    cash = account.balance + accrued(desk)
    difference = rule.far_share * cash - account.far
    if not abs(difference) > max(REBALANCED * cash, rule.transfer_fee):
        return False
    book_at_close(desk)
    account.fees -= rule.transfer_fee
    pay(desk, LONG_SLOT if difference > 0.0 else SHORT_SLOT, -rule.transfer_fee)
    if difference < 0.0:
        account.far += difference
    account.transit = difference
    account.transit_at = account.stamp + rule.transfer_delay
    rebase(desk, AT_END)
    return True


# ---------------------------------------------------------------- the loop


@njit(forceinline=True, **FROM_PYTHON)
def first_reached(values: Floats, small: Floats, large: Floats, i: int, end: int, level: float) -> int:
    """First position in [i, end) at or above level, else end: the rest of this block, blocks, the block that has it."""
    stop = min(end, (i | (SMALL - 1)) + 1)
    while i < stop:
        if values[i] >= level:
            return i
        i += 1
    if i >= end:
        return end
    block, last = i >> SMALL_BITS, (end + SMALL - 1) >> SMALL_BITS
    while block < last:
        if block & (BLOCKS - 1) == 0 and not large[block >> BLOCKS_BITS] >= level:
            block += BLOCKS
        elif small[block] >= level:
            break
        else:
            block += 1
    i = block << SMALL_BITS
    while i < end:
        if values[i] >= level:
            return i
        i += 1
    return end


ENTRY_SIDES, ALL_SIDES = 2, 7  # of the box: the first are those of an account that is flat


@kernel
def side_of_box(number: int, account: Record, rule: Record, long: Record, short: Record, pair: Record) -> tuple[int, float]:
    """Where a side of the box begins (its bar 0), and its level: infinite where it is open."""
    minus = rule.minus_at if account.side < 0 else 0
    if number == 0:
        return rule.entry_at, rule.enter if rule.plus != 0 else np.inf
    if number == 1:
        return rule.entry_at + rule.minus_at, rule.enter if rule.minus != 0 else np.inf
    if number == 2:
        return rule.exit_at + minus + pair.start, account.exit_level
    if number == 3:
        return rule.premium_at + minus + pair.start, account.premium_level
    if number == 4:
        return rule.annual_at + minus + pair.start, account.annual_level
    if number == 5:
        return rule.long_stress_at + minus + pair.long_start, long.stress_level
    return rule.short_stress_at + minus + pair.short_start, short.stress_level


@kernel
def first_by_equity(
    account: Record, rule: Record, exposure: float, index: Floats, rates: Floats, tape: Floats, start: int, close_start: int, t: int, end: int
) -> int:  # fmt: skip
    """First bar in [t, end) at which equity reaches its loss level or the size has drifted, else end: bar by bar, from the equity sum."""
    constant, coefficient, balance, loss_level = account.constant, account.coefficient, account.balance, account.loss_level
    resizes, money = rule.resize_factor < np.inf, BORROW if account.borrowing != 0 else IDLE
    while t < end:
        value = constant + coefficient * index[start + t] + balance * rates[money, t + 1]
        if value <= loss_level or (resizes and drifted(rule, exposure * tape[CLOSE, close_start + t], rule.fraction * value)):
            return t
        t += 1
    return end


@kernel
def load_quote(leg: Record, tape: Floats, i: int, accrual_row: int) -> None:
    """A leg's bar from its tape."""
    before = max(i - 1, 0)
    leg.open, leg.close = tape[OPEN, i], tape[CLOSE, i]
    leg.price_open = leg.open if leg.open > 0.0 else tape[CLOSE, before]
    leg.high, leg.low, leg.half_spread = tape[MARK_HIGH, i], tape[MARK_LOW, i], tape[HALF_SPREAD, i]
    leg.accrual = tape[accrual_row, i]
    leg.accrual_before = tape[accrual_row, before] if i > 0 else 0.0
    leg.value_open, leg.value_close = leg.price_open, leg.close
    leg.margin_accrual, leg.margin_accrual_before = leg.accrual, leg.accrual_before


@routine
def load_extras(leg: Record, terms: Record, orders: Floats, coins: Floats, i: int) -> None:
    """What limits a leg's orders, and its coins, where it has them."""
    if terms.limited != 0:
        leg.room_buy, leg.room_sell, leg.impact, leg.stress = (
            orders[ROOM_BUY, i],
            orders[ROOM_SELL, i],
            orders[IMPACT, i],
            orders[STRESS, i],
        )
    if terms.inverse != 0:
        leg.value_open, leg.value_close = coins[VALUE_OPEN, i], coins[VALUE_CLOSE, i]
        leg.margin_accrual = coins[COIN_ACCRUAL, i]
        leg.margin_accrual_before = coins[COIN_ACCRUAL, max(i - 1, 0)] if i > 0 else 0.0


@routine
def load_rarely(leg: Record, terms: Record, tape: Floats, orders: Floats, coins: Floats, i: int, accrual_row: int) -> None:
    """All of that as a call: compiled once, where it isn't needed at every step."""
    load_quote(leg, tape, i, accrual_row)
    load_extras(leg, terms, orders, coins, i)


@kernel
def load_pair(account: Record, rule: Record, box: Floats, index: Floats, scale: Floats, illiquid: Floats, i: int) -> None:
    """What the rule reads of the pair held; tapes that it does not ask for are empty."""
    minus, index_minus = (0, 0) if account.side > 0 else (rule.minus_at, rule.index_minus)
    account.pair_index = index[rule.index_at + index_minus + i]
    account.exit_signal = box[rule.exit_at + minus + i] if rule.exit > -np.inf else np.nan
    account.premium = box[rule.premium_at + minus + i] if rule.stop < np.inf or rule.converge < NEVER else np.nan
    account.annualized = box[rule.annual_at + minus + i] if rule.stop_annualized < np.inf else np.nan
    account.illiquid = illiquid[i] if rule.liquidity != 0 else 0.0
    account.scale = scale[i] if rule.scaled != 0 else 1.0


@kernel
def first_at(stamps: npt.NDArray[np.int64], instant: int, t: int) -> int:
    """First bar from t on whose stamp is at or after the instant; NEVER if the data end before. On an even clock it is where it should be."""
    if t >= stamps.shape[0]:
        return NEVER
    length = stamps[t] - stamps[t - 1] if t > 0 else DAY
    guess = t + (instant - stamps[t] + length - 1) // length
    if t < guess < stamps.shape[0] and stamps[guess - 1] < instant <= stamps[guess]:
        return guess
    return searched(stamps, instant, t)


@routine
def searched(stamps: npt.NDArray[np.int64], instant: int, t: int) -> int:
    """The same by bisection."""
    low, high = t, stamps.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if stamps[middle] < instant:
            low = middle + 1
        else:
            high = middle
    return low if low < stamps.shape[0] else NEVER


@routine
def first_before_expiry(stamps: npt.NDArray[np.int64], expiry: int, span: int, t: int) -> int:
    """First bar from t on that is this near to an expiry; NEVER without one."""
    return first_at(stamps, expiry - span, t) if span < NEVER and expiry < NEVER else NEVER


@kernel
def set_expiry_bars(account: Record, rule: Record, pair: Record, stamps: npt.NDArray[np.int64]) -> None:
    """The first bars that are near enough to a pair's expiry to leave, or to roll."""
    account.days_bar = first_before_expiry(stamps, pair.expiry, rule.expiry_nanoseconds, account.bar)
    account.roll_bar = first_before_expiry(stamps, pair.expiry, rule.roll_nanoseconds, account.bar)


@kernel
def set_horizon(account: Record, pair: Record) -> None:
    """The first bar from which the account must be looked at, whatever its signals; past `converge_bar` a premium that has not narrowed is a side of the box."""
    horizon = min(account.time_bar, account.days_bar, account.roll_bar, pair.long_expiry_bar, pair.short_expiry_bar)
    if account.tranche < account.tranches:
        horizon = min(horizon, account.due_bar)
    if account.phase != CLOSING:
        if account.converge_bar > account.bar:
            horizon = min(horizon, account.converge_bar)
        else:
            account.premium_level = min(account.stop_level, account.converge_level)
    account.horizon = horizon


@routine
def share_balance(
    accounts: npt.NDArray[np.void], legs: npt.NDArray[np.void], rules: npt.NDArray[np.void], terms: npt.NDArray[np.void], pool: Record,
    ledger: npt.NDArray[np.void], when: int,
) -> None:  # fmt: skip
    """Where a change has made the book's balance negative, or no longer, all balances are fixed anew, and the sign of their sum is in force."""
    borrowing, alike = 1 if pool.balance < 0.0 else 0, True
    for i in range(accounts.shape[0]):
        alike = alike and accounts[i].borrowing == borrowing
    if alike:
        return
    for i in range(accounts.shape[0]):
        account, period = accounts[i], terms[accounts[i].period]
        desk = Desk(account, rules[i], legs[i, 0], legs[i, 1], period[0], period[1], pool)
        if when == AT_OPEN:
            book_at_open(desk)
        else:
            book_at_close(desk)
    for i in range(accounts.shape[0]):
        account, period = accounts[i], terms[accounts[i].period]
        rebase(Desk(account, rules[i], legs[i, 0], legs[i, 1], period[0], period[1], pool), when)
        record(account, legs[i, 0], legs[i, 1], ledger[i, account.changes])


@routine
def look_around(
    accounts: npt.NDArray[np.void], legs: npt.NDArray[np.void], rules: npt.NDArray[np.void], terms: npt.NDArray[np.void], pool: Record, i: int
) -> None:  # fmt: skip
    """What the other rules leave this one: of the book's exposure, and of the cash that has accrued."""
    account = accounts[i]
    account.allowance, account.accrued_beside = pool.exposure * pool.equity if pool.exposure < np.inf else np.inf, 0.0
    for j in range(accounts.shape[0]):
        if j != i:
            account.allowance -= exposure_of(accounts[j], rules[j], legs[j, 0], legs[j, 1])
            if rules[i].top_up > 0.0:
                period = terms[accounts[j].period]
                account.accrued_beside += accrued(Desk(accounts[j], rules[j], legs[j, 0], legs[j, 1], period[0], period[1], pool))
    if pool.exposure < np.inf and account.allowance <= ROUNDING * pool.exposure * abs(pool.equity):
        account.allowance = 0.0


@kernel
def exposure_of(account: Record, rule: Record, long: Record, short: Record) -> float:
    """What a rule holds or aims at, at its first slot's close."""
    first = long if rule.first_slot == LONG_SLOT else short
    if account.phase == FLAT:
        return 0.0
    held = abs(first.quantity)
    return (held if account.phase == CLOSING else max(held, abs(first.goal))) / abs(first.unit) * first.close


@njit(cache=True, nogil=True, **FROM_PYTHON)
def advance(
    accounts: npt.NDArray[np.void], legs: npt.NDArray[np.void], rules: npt.NDArray[np.void], terms: npt.NDArray[np.void], pool: Record, tapes: Tapes,
    first_opened: int, ledger: npt.NDArray[np.void], fills: npt.NDArray[np.void], trades: npt.NDArray[np.void], first: int, final: int, jump: bool,
) -> int:  # fmt: skip
    """Run bars [first, final) and return the bar to go on with: `final`, or an earlier one when the logs need room first.

    A row of accounts, rules, legs and logs is a rule's; a last one may be the reserve, which only earns interest. legs: long, short, and two more for the
    quotes of a roll. With jump=False the step is taken at every bar: the same trades and the same numbers.
    """
    (
        box, index, stamps, candidate, pairs, longs, shorts, rates, periods, long_orders, short_orders, long_coin, short_coin, coin,
        scale, illiquid, available, expected_at, expected_rate, next_payment,
    ) = tapes  # fmt: skip
    accounts, legs, rules, terms, ledger, fills, trades = (
        lent(accounts), lent(legs), lent(rules), lent(terms), lent(ledger), lent(fills), lent(trades),
    )  # fmt: skip
    values, small, large, index, stamps = lent(box.values), lent(box.small), lent(box.large), lent(index), lent(stamps)
    candidate, pairs, longs, shorts, rates, periods = lent(candidate), lent(pairs), lent(longs), lent(shorts), lent(rates), lent(periods)
    long_orders, short_orders, long_coin, short_coin = lent(long_orders), lent(short_orders), lent(long_coin), lent(short_coin)
    coin, scale, illiquid, available = lent(coin), lent(scale), lent(illiquid), lent(available)
    count, several = accounts.shape[0], accounts.shape[0] > 1
    rows = ROWS_A_BAR + (3 * count if several else 0)
    t = first
    while t < final:
        for i in range(count):
            account = accounts[i]
            if account.changes + rows > ledger.shape[1] or account.fills + rows > fills.shape[1] or account.trades + rows > trades.shape[1]:
                return t
        # ---- the next bar at which anything may happen to any rule
        nearest = final if jump else t
        for i in range(pool.rules):
            if nearest <= t:
                break
            account, rule, long, short = accounts[i], rules[i], legs[i, 0], legs[i, 1]
            if rule.walks != 0 or account.phase == ROLLING or waiting(long, short):
                nearest = t
                break
            pair = pairs[account.pair]
            begin, end, side, sides = t, nearest, 0, ENTRY_SIDES
            if account.phase == FLAT:
                begin = max(t, account.idle_until)
            else:
                end, side, sides = max(t, min(nearest, account.horizon, account.period_end)), ENTRY_SIDES, ALL_SIDES
            while side < sides and begin < end:
                start, level = side_of_box(side, account, rule, long, short, pair)
                side += 1
                if level < np.inf:
                    end = first_reached(values, small, large, start + begin, start + end, level) - start
            if account.phase != FLAT and t < end and (account.loss_level > -np.inf or rule.resize_factor < np.inf):
                start = rule.index_at + (rule.index_minus if account.side < 0 else 0) + pair.start
                if rule.first_slot == LONG_SLOT:
                    end = first_by_equity(account, rule, abs(long.quantity), index, rates, longs, start, pair.long_start, t, end)
                else:
                    end = first_by_equity(account, rule, abs(short.quantity), index, rates, shorts, start, pair.short_start, t, end)
            nearest = end
        t = nearest
        if t >= final:
            break
        # ---- the bar
        for i in range(count):
            account, rule = accounts[i], rules[i]
            account.bar, account.opened, account.stamp = t, stamps[t - 1] if t > 0 else first_opened, stamps[t]
            account.borrow_rate, account.borrow_rate_before = rates[BORROW, t + 1], rates[BORROW, t]
            account.idle_rate, account.idle_rate_before = rates[IDLE, t + 1], rates[IDLE, t]
            account.was_on = 1 if account.phase != FLAT else 0
            if t >= account.period_end:
                while account.period + 1 < rule.periods_end and t >= periods[account.period + 1]:
                    account.period += 1
                account.period_end = periods[account.period + 1] if account.period + 1 < rule.periods_end else NEVER
                guard_both(Desk(account, rule, legs[i, 0], legs[i, 1], terms[account.period, 0], terms[account.period, 1], pool))
            if rule.walks != 0:
                if coin.shape[1] > 1:
                    account.coin_open, account.coin = coin[COIN_OPEN, rule.bars_at + t], coin[COIN_CLOSE, rule.bars_at + t]
                account.available = available[rule.bars_at + t] if rule.borrow_limited != 0 else np.inf
            if rule.times_funding != 0:
                at = rule.bars_at + t
                account.expected_at, account.expected_rate, account.next_payment = expected_at[at], expected_rate[at], next_payment[at]
            if account.was_on != 0:
                long, short, pair = legs[i, 0], legs[i, 1], pairs[account.pair]
                long_terms, short_terms = terms[account.period, 0], terms[account.period, 1]
                load_pair(account, rule, values, index, scale, illiquid, pair.start + min(t, pair.last))
                long_accrual, short_accrual = (ACCRUAL_LONG, ACCRUAL_SHORT) if account.side > 0 else (ACCRUAL_SHORT, ACCRUAL_LONG)
                load_quote(long, longs, pair.long_start + min(t, pair.long_last), long_accrual)
                load_quote(short, shorts, pair.short_start + min(t, pair.short_last), short_accrual)
                if long_terms.limited != 0 or long_terms.inverse != 0:
                    load_extras(long, long_terms, long_orders, long_coin, pair.long_start + min(t, pair.long_last))
                if short_terms.limited != 0 or short_terms.inverse != 0:
                    load_extras(short, short_terms, short_orders, short_coin, pair.short_start + min(t, pair.short_last))
        # ---- arrivals and fills
        for i in range(pool.rules):
            account, rule, long, short = accounts[i], rules[i], legs[i, 0], legs[i, 1]
            desk = Desk(account, rule, long, short, terms[account.period, 0], terms[account.period, 1], pool)
            changed = False
            if rule.transfers != 0 and arrive(desk) > 0:
                record(account, long, short, ledger[i, account.changes])
                changed = True
            if account.phase != FLAT and (account.phase == ROLLING or waiting(long, short)):
                trade, pair, complete, filled = trades[i, account.trades], pairs[account.pair], account.complete, False
                if account.phase == ROLLING:
                    if account.opened >= account.roll_ready:
                        other, fresh_long, fresh_short = pairs[account.next_pair], legs[i, 2], legs[i, 3]
                        long_accrual, short_accrual = (ACCRUAL_LONG, ACCRUAL_SHORT) if account.side > 0 else (ACCRUAL_SHORT, ACCRUAL_LONG)
                        place = other.long_start + min(t, other.long_last)
                        load_rarely(fresh_long, desk.long_terms, longs, long_orders, long_coin, place, long_accrual)
                        place = other.short_start + min(t, other.short_last)
                        load_rarely(fresh_short, desk.short_terms, shorts, short_orders, short_coin, place, short_accrual)
                        filled = roll(desk, pair, other, fresh_long, fresh_short, trade, fills[i])
                        if filled:
                            complete = 0
                            load_pair(account, rule, values, index, scale, illiquid, other.start + min(t, other.last))
                            set_expiry_bars(account, rule, other, stamps)
                else:
                    started = account.started
                    filled = fill_orders(desk, pair, trade, fills[i, account.fills], fills[i, account.fills + 1])
                    if started == 0 and account.started != 0 and rule.max_hold < NEVER:
                        account.time_bar = first_at(stamps, account.opened + rule.max_hold, t)
                if filled:
                    if complete == 0 and account.complete != 0 and rule.converge < NEVER:
                        account.converge_bar = first_at(stamps, account.opened + rule.converge, t)
                    rebase(desk, AT_OPEN)
                    record(account, long, short, ledger[i, account.changes])
                    retire(desk, trade)
                    changed = True
            if several and changed:
                share_balance(accounts, legs, rules, terms, pool, ledger, AT_OPEN)
        # ---- margin and expiry
        pool.drawn = 0.0
        for i in range(pool.rules):
            account, rule, long, short = accounts[i], rules[i], legs[i, 0], legs[i, 1]
            if account.phase != FLAT:
                desk = Desk(account, rule, long, short, terms[account.period, 0], terms[account.period, 1], pool)
                pair, trade, forced = pairs[account.pair], trades[i, account.trades], False
                if rule.margin != OFF or t == rule.deleverage_bar:
                    forced = check_margin(desk, trade, fills[i])
                if t >= pair.long_expiry_bar or t >= pair.short_expiry_bar:
                    forced = settle(desk, pair, trade, fills[i]) or forced
                if forced:
                    record(account, long, short, ledger[i, account.changes])
                retire(desk, trade)
                if several and forced:
                    share_balance(accounts, legs, rules, terms, pool, ledger, AT_END)
        # ---- the closes
        all_drawn = False
        if pool.exposure < np.inf or pool.drawdown < np.inf:
            pool.equity = 0.0
            for i in range(count):
                pool.equity += equity(accounts[i], legs[i, 0], legs[i, 1])
            pool.peak = max(pool.peak, pool.equity)
            if pool.drawdown < np.inf and pool.equity <= pool.peak * (1.0 - pool.drawdown):
                all_drawn = True
                pool.peak = pool.equity
                pool.paused_until = accounts[0].stamp + pool.pause
        # ---- decisions
        for i in range(pool.rules):
            account, rule, long, short = accounts[i], rules[i], legs[i, 0], legs[i, 1]
            desk = Desk(account, rule, long, short, terms[account.period, 0], terms[account.period, 1], pool)
            drawn, called_off, sent = all_drawn, False, False
            number = candidate[rule.bars_at + t]
            account.allowance = np.inf
            if pool.exposure < np.inf or (several and rule.top_up > 0.0):
                look_around(accounts, legs, rules, terms, pool, i)
            if rule.drawdown < np.inf:
                value = equity(account, long, short)
                account.peak = max(account.peak, value)
                if value <= account.peak * (1.0 - rule.drawdown):
                    drawn = True
                    account.peak = value
                    account.paused_until = account.stamp + rule.pause
            if account.phase != FLAT:
                pair, trade = pairs[account.pair], trades[i, account.trades]
                value, unstarted = equity(account, long, short), account.started == 0
                decide(desk, pair, trade, value, drawn)
                called_off = unstarted and account.phase == FLAT
                if account.phase == HELD and t >= account.roll_bar and number >= 0 and number != account.pair and not waiting(long, short):
                    pays = values[rule.entry_at + (rule.minus_at if account.side < 0 else 0) + t]
                    if pays >= rule.enter and rolls(pair, pairs[number]):
                        plan_roll(desk, pair, pairs[number], number)
                if account.phase == HELD and rule.resize_factor < np.inf and not waiting(long, short):
                    resize(desk, pair, value)
                if rule.top_up > 0.0 and account.phase != FLAT:
                    sent = top_up(desk, LONG_SLOT)
                    sent = top_up(desk, SHORT_SLOT) or sent
                if account.phase != FLAT:
                    if account.tranche < account.tranches:
                        account.due_bar = first_at(stamps, account.due, t + 1)
                    set_horizon(account, pair)
            if account.was_on != 0 and account.phase == FLAT and not called_off:
                account.idle_until = (
                    first_at(stamps, account.exit_time + rule.cooldown, t) if rule.cooldown > 0 and account.trades > 0 else t
                )
            if (
                account.phase == FLAT
                and not called_off
                and t >= account.idle_until
                and number >= 0
                and account.stamp >= max(account.paused_until, pool.paused_until)
            ):
                side = 0
                if rule.plus != 0 and values[rule.entry_at + t] >= rule.enter:
                    side = 1
                elif rule.minus != 0 and values[rule.entry_at + rule.minus_at + t] >= rule.enter:
                    side = -1
                if side != 0:
                    pair = pairs[number]
                    long.close = longs[CLOSE, pair.long_start + min(t, pair.long_last)]  # of a slot that the rule has not: its only bar
                    short.close = shorts[CLOSE, pair.short_start + min(t, pair.short_last)]
                    account.scale = scale[pair.start + t] if rule.scaled != 0 else 1.0
                    open_position(desk, pair, number, side, equity(account, long, short))
                    if account.phase == OPENING:
                        set_expiry_bars(account, rule, pair, stamps)
                        if account.tranche < account.tranches:
                            account.due_bar = first_at(stamps, account.due, t + 1)
                        set_horizon(account, pair)
            if rule.wallets != 0 and account.phase == FLAT and not called_off:
                sent = rebalance(desk) or sent
            if sent:
                record(account, long, short, ledger[i, account.changes])
                if several:
                    share_balance(accounts, legs, rules, terms, pool, ledger, AT_END)
        t += 1
    return final


# ---------------------------------------------------------------- columns: between two ledger rows a source is booked + quantity × index difference


@kernel
def add_linear(out: Floats, quantity: float, reference: float, index: Floats) -> None:
    """Out += quantity · (index − reference), element by element."""
    base = quantity * reference
    for t in range(out.shape[0]):
        out[t] += quantity * index[t] - base


@kernel
def add_leg(out: Floats, quantity: float, prices: Floats, tape: Floats, start: int) -> None:
    """Out += quantity · leg index, from a position of its tape on."""
    add_linear(out, quantity, 0.0, prices[start : start + out.shape[0]])
    add_linear(out, quantity, 0.0, tape[ACCRUAL_LONG if quantity > 0.0 else ACCRUAL_SHORT][start : start + out.shape[0]])


@njit(cache=True, nogil=True, **FROM_PYTHON)
def fill_equity(
    out: Floats, ledger: npt.NDArray[np.void], rows: int, pairs: npt.NDArray[np.void], index: Floats, index_minus: int, long: Floats, short: Floats,
    long_prices: Floats, short_prices: Floats, rates: Floats, coin: Floats, capital: float,
) -> None:  # fmt: skip
    """Equity at every close, from the ledger of changes. prices: a unit's value by its price; coin: its closes.

    Slices, so that every loop runs from 0: with `index[start + t]` a test for negative indices stays in the loop, and no SIMD (4x slower).
    """
    n = out.shape[0]
    end = ledger[0].bar if rows > 0 else n
    out[:end] = capital
    add_linear(out[:end], capital, 0.0, rates[IDLE][1 : end + 1])
    for r in range(rows):
        row = ledger[r]
        begin, end = row.bar, ledger[r + 1].bar if r + 1 < rows else n
        if end <= begin:
            continue
        target = out[begin:end]
        money = rates[BORROW] if row.borrowing != 0 else rates[IDLE]
        rate = money[begin + 1 : end + 1]
        pair = pairs[row.pair]
        constant, balance, coefficient = row.constant, row.balance, row.coefficient
        if row.hedged != 0:
            start = pair.start + (index_minus if row.side < 0 else 0)
            here = index[start + begin : start + end]
            for t in range(target.shape[0]):
                target[t] = constant + coefficient * here[t] + balance * rate[t]
            continue
        target[:] = constant
        add_linear(target, balance, 0.0, rate)
        if row.long_quantity != 0.0:
            add_leg(target, row.long_quantity, long_prices, long, pair.long_start + begin)
        if row.short_quantity != 0.0:
            add_leg(target, row.short_quantity, short_prices, short, pair.short_start + begin)
        coins = row.long_coins + row.short_coins
        if coins != 0.0:
            add_linear(target, coins, 0.0, coin[begin:end])


@kernel
def add_gain(
    out: Floats, slot: int, quantity: float, reference: float, prices: Floats, share: float, coins: float, coin_reference: float, coin: Floats
) -> None:  # fmt: skip
    """A slot's gain by its reference price: the share that is hedged to its own row, the rest to legging."""
    if share != 0.0:
        add_linear(out[slot], share * quantity, reference, prices)
        if coins != 0.0:
            add_linear(out[slot], share * coins, coin_reference, coin)
    if share != 1.0:
        add_linear(out[LEGGING_ROW], (1.0 - share) * quantity, reference, prices)
        if coins != 0.0:
            add_linear(out[LEGGING_ROW], (1.0 - share) * coins, coin_reference, coin)


@njit(cache=True, nogil=True, **FROM_PYTHON)
def fill_sources(
    out: Floats, ledger: npt.NDArray[np.void], booked: Floats, rows: int, pairs: npt.NDArray[np.void], long: Floats, short: Floats,
    long_prices: Floats, short_prices: Floats, rates: Floats, coins: Floats, derivative: npt.NDArray[np.bool_], capital: float,
) -> None:  # fmt: skip
    """Cumulated cash of every source at every close: out[source, bar], sources in the order of SOURCES.

    out: zeros. booked: [row, source], the source fields of the ledger. derivative: per slot, whether its accrual is funding.
    """
    n = out.shape[1]
    end = ledger[0].bar if rows > 0 else n
    add_linear(out[IDLE_CASH_ROW][:end], capital, 0.0, rates[IDLE][1 : end + 1])
    for r in range(rows):
        row = ledger[r]
        begin, end = row.bar, ledger[r + 1].bar if r + 1 < rows else n
        if end <= begin:
            continue
        for k in range(out.shape[0]):
            if booked[r, k] != 0.0:  # a source that never flows leaves its page of zeros untouched
                out[k, begin:end] = booked[r, k]
        money, rate = (FINANCING_ROW, rates[BORROW]) if row.borrowing != 0 else (IDLE_CASH_ROW, rates[IDLE])
        add_linear(out[money][begin:end], row.balance, row.rate_reference, rate[begin + 1 : end + 1])
        pair = pairs[row.pair]
        span, coin = out[:, begin:end], coins[begin:end]
        if row.long_quantity != 0.0:
            start = pair.long_start + begin
            earning, accrual = earning_rows(derivative[0], row.long_quantity)
            add_gain(span, 0, row.long_quantity, row.long_reference, long_prices[start : start + end - begin], row.long_share, row.long_coins,
                     row.coin_reference, coin)  # fmt: skip
            add_linear(out[earning][begin:end], row.long_quantity, row.long_accrual, long[accrual][start : start + end - begin])
        if row.short_quantity != 0.0:
            start = pair.short_start + begin
            earning, accrual = earning_rows(derivative[1], row.short_quantity)
            add_gain(span, 1, row.short_quantity, row.short_reference, short_prices[start : start + end - begin], row.short_share, row.short_coins,
                     row.coin_reference, coin)  # fmt: skip
            add_linear(out[earning][begin:end], row.short_quantity, row.short_accrual, short[accrual][start : start + end - begin])


@kernel
def earning_rows(derivative: bool, quantity: float) -> tuple[int, int]:
    """Where a slot's accrual is posted, and its row on the tape: the same choices as in `book_earnings`."""
    earning = FUNDING_ROW if derivative else STAKING_ROW if quantity > 0.0 else BORROW_ROW
    return earning, ACCRUAL_LONG if quantity > 0.0 else ACCRUAL_SHORT


# ---------------------------------------------------------------- the scan: many rules of one shape over the same tapes, statistics only
#
# An account that is flat is a handful of numbers, and so is a trade whose both legs fill wholly at the next open: `scan` takes such trades whole, from the bar
# that decides to enter to the open that leaves. Whatever else happens to a trade (an order that waits, a margin call, expiry, a resize, other fees from that day
# on) it is given up, and `advance` takes the steps from the decision on. What has happened comes out as segments in which positions are unchanged; `fold` turns
# them into statistics, by blocks of bars whose extremes are known. Time is the outer loop: a stretch of tapes stays in the cache for all combinations.

STRETCH = 1 << 14
JUMPING: Any = np.bool_(True)  # no literal, for which numba would compile `advance` anew

SCANNED = np.dtype(
    [
        *SOURCE_FIELDS,  # booked so far, as of the last time the account was flat
        ("capital", f8), ("balance", f8), ("borrowing", i8), ("reference", f8), ("constant", f8), ("idle_until", i8), ("exit_time", i8), ("trades", i8),
        ("period", i8), ("period_end", i8), ("flat_from", i8), ("plain", i8), ("stepping", i8),
        # a trade taken whole: what its entry has made of the account
        ("held", i8), ("side", i8), ("pair", i8), ("decided", i8), ("entry_equity", f8), ("worth", f8), ("quantity", f8),
        ("after_financing", f8), ("after_idle_cash", f8), ("after_fees", f8), ("after_slippage", f8),
        ("after_balance", f8), ("after_borrowing", i8), ("after_reference", f8), ("after_constant", f8), ("coefficient", f8),
        # its box
        ("exit_level", f8), ("stop_level", f8), ("premium_level", f8), ("annual_level", f8), ("converge_level", f8), ("loss_level", f8),
        ("time_bar", i8), ("days_bar", i8), ("converge_bar", i8), ("horizon", i8),
        # statistics of the bars so far
        ("last", f8), ("peak", f8), ("drawdown", f8), ("squares", f8), ("total", f8), ("traded", f8), ("held_years", f8), ("held_bars", i8), ("hedged_bars", i8),
        ("wins", i8), ("closed", i8), ("hold", i8), ("liquidations", i8), ("day", i8),
    ],
    align=True,
)  # fmt: skip
SEGMENT = np.dtype(
    [("begin", i8), ("end", i8), ("constant", f8), ("coefficient", f8), ("balance", f8), ("borrowing", i8), ("at", i8)], align=True
)
BLOCK = np.dtype([("low", f8), ("high", f8)], align=True)  # extremes of an index in a block
SUMS = np.dtype(
    [("squares", f8), ("with_borrow", f8), ("with_idle", f8), ("values", f8)], align=True
)  # of an index, of all before a position
MONEY = np.dtype(
    [("borrow_squares", f8), ("borrow_values", f8), ("idle_squares", f8), ("idle_values", f8), ("years", f8)], align=True
)  # the same of the rates' indices, of all before a bar; and the time


class Sums(NamedTuple):
    """What `fold` reads beside the tapes. Sums are of all before a position or bar."""

    small: npt.NDArray[np.void]  # BLOCK of the index per SMALL
    large: npt.NDArray[np.void]  # BLOCK per LARGE
    close_small: npt.NDArray[np.void]  # the same of the closes of the slot that sizes are counted in, by its positions
    close_large: npt.NDArray[np.void]
    pair_sums: npt.NDArray[
        np.void
    ]  # SUMS per position: squares of the index's steps, their products with the rates' steps, the index itself
    money: npt.NDArray[np.void]  # MONEY per bar, one more
    rising: npt.NDArray[np.bool_]  # [BORROW | IDLE]: whether no rate is negative
    days: npt.NDArray[np.int64]  # the bars whose equity is a day's


@njit(cache=True, nogil=True, **FROM_PYTHON)
def summarise(index: Floats, first: int, last: int, start: int, rates: Floats, small: npt.NDArray[np.void], large: npt.NDArray[np.void], sums: npt.NDArray[np.void]) -> None:  # fmt: skip
    """Blocks and sums of one pair's bars [first, last], bar t of which is at start + t; before its first close an index is NaN, and counts for nothing."""
    for t in range(first, last + 1):
        i = start + t
        known = not np.isnan(index[i])
        value = index[i] if known else 0.0
        step = index[i] - index[i - 1] if t > first and known and not np.isnan(index[i - 1]) else 0.0
        row, after = sums[i], sums[i + 1]
        after.squares = row.squares + step * step
        after.with_borrow = row.with_borrow + step * (rates[BORROW, t + 1] - rates[BORROW, t])
        after.with_idle = row.with_idle + step * (rates[IDLE, t + 1] - rates[IDLE, t])
        after.values = row.values + value
        if known:
            widen(small[i >> SMALL_BITS], value)
            widen(large[i >> LARGE_BITS], value)


@kernel
def widen(block: Record, value: float) -> None:
    """One more value in a block that begins as (inf, −inf)."""
    block.low, block.high = min(block.low, value), max(block.high, value)


@kernel
def mark(state: Record, value: float) -> None:
    """Equity at one close."""
    step = value - state.last
    state.last = value
    state.squares += step * step
    state.total += value
    state.peak = max(state.peak, value)
    state.drawdown = max(state.drawdown, (state.peak - value) / state.peak)


@kernel
def mark_all(state: Record, begin: int, end: int, constant: float, coefficient: float, balance: float, money: int, at: int, index: Floats, rates: Floats) -> None:  # fmt: skip
    """Peak and drawdown of bars [begin, end), one by one."""
    peak, drawdown = state.peak, state.drawdown
    for t in range(begin, end):
        value = constant + balance * rates[money, t + 1]
        if coefficient != 0.0:
            value = constant + coefficient * index[at + t] + balance * rates[money, t + 1]
        if value > peak:
            peak = value
        elif peak - value > drawdown * peak:
            drawdown = max(drawdown, (peak - value) / peak)
    state.peak, state.drawdown = peak, drawdown


@kernel
def level_at(t: int, constant: float, coefficient: float, balance: float, money: int, at: int, index: Floats, rates: Floats) -> float:
    """Equity of a segment at one close; the same sum, in the same order, as everywhere."""
    if coefficient != 0.0:
        return constant + coefficient * index[at + t] + balance * rates[money, t + 1]
    return constant + balance * rates[money, t + 1]


@routine
def fold_extremes(state: Record, begin: int, end: int, constant: float, coefficient: float, balance: float, money: int, at: int, index: Floats, rates: Floats,
                  small: npt.NDArray[np.void], large: npt.NDArray[np.void]) -> None:  # fmt: skip
    """Peak and drawdown of hedged bars [begin, end), exact at every close: only blocks that may hold a new extreme are looked into."""
    t = begin
    while t < end:
        i = at + t
        stop, whole_block = min(end, (i | (LARGE - 1)) + 1 - at), i & (LARGE - 1) == 0
        if fold_block(
            state, large[i >> LARGE_BITS], t, stop, whole_block and stop - t == LARGE, constant, coefficient, balance, money, rates
        ):
            t = stop
            continue
        while t < stop:
            i = at + t
            brink = min(stop, (i | (SMALL - 1)) + 1 - at)
            if not fold_block(state, small[i >> SMALL_BITS], t, brink, brink - t == SMALL, constant, coefficient, balance, money, rates):
                mark_all(state, t, brink, constant, coefficient, balance, money, at, index, rates)
            t = brink


@kernel
def fold_block(state: Record, block: Record, t: int, end: int, all_of_it: bool, constant: float, coefficient: float, balance: float, money: int, rates: Floats) -> bool:  # fmt: skip
    """Peak and drawdown of bars [t, end) of a block by its extremes, if that says all; False if bars must be looked at. Needs rates that rise only.

    Without interest in it, the extremes of the whole block's equity are those of the index, to the last bit.
    """
    first, last = balance * rates[money, t + 1], balance * rates[money, end]
    bottom, top = (block.low, block.high) if coefficient > 0.0 else (block.high, block.low)
    low, high = constant + coefficient * bottom + min(first, last), constant + coefficient * top + max(first, last)
    exact, peak = all_of_it and first == last, state.peak
    if high <= peak:
        if peak - low <= state.drawdown * peak:
            return True
        if exact:
            state.drawdown = max(state.drawdown, (peak - low) / peak)
        return exact
    if exact and high - low <= state.drawdown * peak:
        state.peak = high
        return True
    return False


@routine
def fold(state: Record, segment: Record, index: Floats, rates: Floats, sums: Sums, daily: Floats) -> None:
    """Bars of one segment without loose legs into the statistics."""
    begin, end, constant, coefficient = segment.begin, segment.end, segment.constant, segment.coefficient
    balance, money, at = segment.balance, BORROW if segment.borrowing != 0 else IDLE, segment.at
    days = sums.days
    while state.day < days.shape[0] and days[state.day] < end:
        daily[state.day] = level_at(days[state.day], constant, coefficient, balance, money, at, index, rates)
        state.day += 1
    opening, closing = (
        level_at(begin, constant, coefficient, balance, money, at, index, rates),
        level_at(end - 1, constant, coefficient, balance, money, at, index, rates),
    )
    mark(state, opening)
    bars, rate_here, rate_next, rate_there = end - begin, sums.money[begin], sums.money[begin + 1], sums.money[end]
    if money == BORROW:
        squares, values = rate_there.borrow_squares - rate_next.borrow_squares, rate_there.borrow_values - rate_here.borrow_values
    else:
        squares, values = rate_there.idle_squares - rate_next.idle_squares, rate_there.idle_values - rate_here.idle_values
    squares, total = balance * balance * squares, constant * bars + balance * values
    if coefficient != 0.0:
        here, there, before = sums.pair_sums[at + begin], sums.pair_sums[at + end], sums.pair_sums[at + begin + 1]
        crossed = there.with_borrow - before.with_borrow if money == BORROW else there.with_idle - before.with_idle
        squares += coefficient * (coefficient * (there.squares - before.squares) + 2.0 * balance * crossed)
        total += coefficient * (there.values - here.values)
        state.held_years += rate_there.years - rate_here.years
        state.held_bars += bars
        state.hedged_bars += bars
    state.squares += squares
    state.total += total - opening
    if not sums.rising[money]:
        mark_all(state, begin, end, constant, coefficient, balance, money, at, index, rates)
    elif coefficient != 0.0:
        fold_extremes(state, begin, end, constant, coefficient, balance, money, at, index, rates, sums.small, sums.large)
    state.last = closing
    state.peak = max(state.peak, closing)
    state.drawdown = max(state.drawdown, (state.peak - closing) / state.peak)


@routine
def fold_loose(state: Record, begin: int, end: int, row: Record, terms: npt.NDArray[np.void], pair: Record, long: Floats, short: Floats, long_coin: Floats, short_coin: Floats,
               coin: Floats, rates: Floats, sums: Sums, daily: Floats) -> None:  # fmt: skip
    """Bars at which the legs don't cancel out into the pair's index, one by one, from the ledger's row."""
    money, coins, days = BORROW if row.borrowing != 0 else IDLE, row.long_coins + row.short_coins, lent(sums.days)
    long_accrual, short_accrual = (
        ACCRUAL_LONG if row.long_quantity > 0.0 else ACCRUAL_SHORT,
        ACCRUAL_LONG if row.short_quantity > 0.0 else ACCRUAL_SHORT,
    )
    for t in range(begin, end):
        value = row.constant + row.balance * rates[money, t + 1]
        if row.long_quantity != 0.0:
            i = pair.long_start + t
            value += row.long_quantity * ((long_coin[VALUE_CLOSE, i] if terms[0].inverse != 0 else long[CLOSE, i]) + long[long_accrual, i])
        if row.short_quantity != 0.0:
            i = pair.short_start + t
            value += row.short_quantity * (
                (short_coin[VALUE_CLOSE, i] if terms[1].inverse != 0 else short[CLOSE, i]) + short[short_accrual, i]
            )
        if coins != 0.0:
            value += coins * coin[COIN_CLOSE, t]
        mark(state, value)
        while state.day < days.shape[0] and days[state.day] <= t:
            daily[state.day] = value
            state.day += 1
    state.held_years += sums.money[end].years - sums.money[begin].years
    state.held_bars += end - begin
    larger = max(abs(row.long_quantity), abs(row.short_quantity))
    if abs(row.long_quantity + row.short_quantity) <= ROUNDING * larger:
        state.hedged_bars += end - begin


# ---------------------------------------------------------------- a trade taken whole


@kernel
def posted(state: Record, financing: float, idle_cash: float, fees: float, slippage: float) -> float:
    """Equity as posted; the same sum, in the same order, as `booked`."""
    flows = state.price_long + state.price_short + state.legging + state.funding + financing + idle_cash
    costs = state.borrow + state.staking + fees + slippage + state.settlement + state.liquidation
    return state.capital + flows + costs


@kernel
def load_fill(leg: Record, tape: Floats, i: int, accrual_row: int) -> None:
    """What a fill at the open of a bar reads."""
    leg.open, leg.half_spread = tape[OPEN, i], tape[HALF_SPREAD, i]
    leg.accrual_before = tape[accrual_row, i - 1] if i > 0 else 0.0


@kernel
def open_at_once(state: Record, rule: Record, long: Record, short: Record, long_terms: Record, short_terms: Record, rate_before: float, money_after: tuple[float, float], size: float) -> None:  # fmt: skip
    """Both slots fill wholly at an open: interest so far, then the long slot, then the short one, as the step does it. money_after: rates before the bar."""
    interest = state.balance * (rate_before - state.reference)
    state.after_financing = state.financing + interest if state.borrowing != 0 else state.financing
    state.after_idle_cash = state.idle_cash if state.borrowing != 0 else state.idle_cash + interest
    state.after_fees, state.after_slippage, state.after_balance, state.worth = state.fees, state.slippage, state.balance + interest, 0.0
    state.entry_equity = posted(state, state.after_financing, state.after_idle_cash, state.fees, state.slippage)
    state.loss_level = state.entry_equity * (1.0 - rule.loss)
    fill_whole(state, long, long_terms, state.side * size if long_terms.present != 0 else 0.0)
    fill_whole(state, short, short_terms, -state.side * size if short_terms.present != 0 else 0.0)
    guard(long, long_terms, rule, 0.0)
    guard(short, short_terms, rule, 0.0)
    state.quantity = size
    state.after_borrowing = 1 if state.after_balance < 0.0 else 0
    state.after_reference = money_after[BORROW] if state.after_borrowing != 0 else money_after[IDLE]
    value = posted(state, state.after_financing, state.after_idle_cash, state.after_fees, state.after_slippage)
    value -= state.after_balance * state.after_reference
    if long.quantity != 0.0:
        value -= long.quantity * (long.reference + long.accrual_reference)
    if short.quantity != 0.0:
        value -= short.quantity * (short.reference + short.accrual_reference)
    state.after_constant = value
    state.coefficient = long.quantity if long.quantity != 0.0 else -short.quantity
    state.held = 1


@kernel
def fill_whole(state: Record, leg: Record, terms: Record, quantity: float) -> None:
    """A slot from nothing to a quantity, as `trade_leg`."""
    leg.quantity, leg.stress_level, leg.collateral = quantity, np.inf, 0.0
    if quantity == 0.0:
        return
    price, fee, slippage = taken(leg, terms, quantity)
    leg.entry, leg.entry_accrual = price, leg.accrual_before
    leg.reference, leg.accrual_reference = leg.open, leg.accrual_before
    state.after_fees -= fee
    state.after_slippage -= slippage
    state.after_balance -= fee
    state.worth += abs(quantity) * price
    if terms.derivative != 0:
        leg.collateral = abs(quantity) * price / terms.leverage
        state.after_balance -= leg.collateral
    elif quantity > 0.0:
        state.after_balance -= quantity * price


@kernel
def taken(leg: Record, terms: Record, change: float) -> tuple[float, float, float]:
    """Price, fee and slippage of a change that takes what there is at the open."""
    cost = cost_of(leg, terms, 0.0, True)
    price = leg.open * (1.0 + cost if change > 0.0 else 1.0 - cost)
    return price, terms.taker_fee * (abs(change) * price) + terms.unit_fee * abs(change), abs(change) * leg.open * cost


@kernel
def close_at_once(state: Record, long: Record, short: Record, long_terms: Record, short_terms: Record, rate_before: float, money_after: tuple[float, float]) -> float:  # fmt: skip
    """Both slots are left wholly at an open, and the account is flat again. Returns what the trade has made."""
    state.fees, state.slippage, state.balance = state.after_fees, state.after_slippage, state.after_balance
    state.financing, state.idle_cash = state.after_financing, state.after_idle_cash
    state.price_long += long.quantity * (long.open - long.reference) if long.quantity != 0.0 else 0.0
    state.price_short += short.quantity * (short.open - short.reference) if short.quantity != 0.0 else 0.0
    interest = state.balance * (rate_before - state.after_reference)
    if state.after_borrowing != 0:
        state.financing += interest
    else:
        state.idle_cash += interest
    state.balance += interest
    earn_whole(state, long, long_terms)
    earn_whole(state, short, short_terms)
    leave_whole(state, long, long_terms)
    leave_whole(state, short, short_terms)
    state.traded += state.worth
    state.borrowing = 1 if state.balance < 0.0 else 0
    state.reference = money_after[BORROW] if state.borrowing != 0 else money_after[IDLE]
    value = posted(state, state.financing, state.idle_cash, state.fees, state.slippage)
    state.constant = value - state.balance * state.reference
    state.held = 0
    state.trades += 1
    return value - state.entry_equity


@kernel
def earn_whole(state: Record, leg: Record, terms: Record) -> None:
    """What a slot has earned since its entry, as `book_earnings`."""
    if leg.quantity == 0.0:
        return
    amount = leg.quantity * (leg.accrual_before - leg.accrual_reference)
    if terms.derivative != 0:
        state.funding += amount
    elif leg.quantity > 0.0:
        state.staking += amount
        state.balance += amount
    else:
        state.borrow += amount
        state.balance += amount


@kernel
def leave_whole(state: Record, leg: Record, terms: Record) -> None:
    """A slot to nothing, as `trade_leg`."""
    if leg.quantity == 0.0:
        return
    price, fee, slippage = taken(leg, terms, -leg.quantity)
    state.fees -= fee
    state.slippage -= slippage
    state.balance -= fee
    state.worth += abs(leg.quantity) * price
    if terms.derivative != 0:
        state.balance += leg.collateral + (leg.quantity * (price - leg.entry) + leg.quantity * (leg.accrual_before - leg.entry_accrual))
    elif leg.quantity < 0.0:
        state.balance += leg.quantity * (price - leg.entry)
    else:
        state.balance += leg.quantity * price


@kernel
def set_whole_box(state: Record, rule: Record, pair: Record, premium: float, opened: int, stamps: npt.NDArray[np.int64], t: int) -> None:
    """The sides of the box that a trade taken whole has, as `open_position` and `set_levels` set them."""
    days = (pair.expiry - opened) / DAY
    state.exit_level = -rule.exit
    state.stop_level = state.annual_level = state.converge_level = np.inf
    if rule.legs == 2:
        state.stop_level = state.side * premium + rule.stop
        state.annual_level = state.side * premium * 365.0 / days + rule.stop_annualized if days >= 1.0 else np.inf
        state.converge_level = state.side * premium
    state.premium_level = state.stop_level
    state.time_bar = first_at(stamps, opened + rule.max_hold, t) if rule.max_hold < NEVER else NEVER
    state.converge_bar = first_at(stamps, opened + rule.converge, t) if rule.converge < NEVER else NEVER
    state.days_bar = first_before_expiry(stamps, pair.expiry, rule.expiry_nanoseconds, t - 1)
    state.horizon = min(state.time_bar, state.days_bar, state.converge_bar, pair.long_expiry_bar, pair.short_expiry_bar)


@kernel
def whole_side(number: int, state: Record, rule: Record, long: Record, short: Record, pair: Record) -> tuple[int, float]:
    """As `side_of_box`, of an account whose trades are taken whole."""
    minus = rule.minus_at if state.side < 0 else 0
    if number == 0:
        return rule.entry_at, rule.enter if rule.plus != 0 else np.inf
    if number == 1:
        return rule.entry_at + rule.minus_at, rule.enter if rule.minus != 0 else np.inf
    if number == 2:
        return rule.exit_at + minus + pair.start, state.exit_level
    if number == 3:
        return rule.premium_at + minus + pair.start, state.premium_level
    if number == 4:
        return rule.annual_at + minus + pair.start, state.annual_level
    if number == 5:
        return rule.long_stress_at + minus + pair.long_start, long.stress_level
    return rule.short_stress_at + minus + pair.short_start, short.stress_level


@routine
def hand_over(state: Record, account: Record, long: Record, short: Record, pool: Record, row: Record) -> None:
    """The flat account goes from the scan to the step."""
    account.price_long, account.price_short, account.legging, account.funding = (
        state.price_long,
        state.price_short,
        state.legging,
        state.funding,
    )
    account.financing, account.idle_cash, account.borrow, account.staking = state.financing, state.idle_cash, state.borrow, state.staking
    account.fees, account.slippage, account.settlement, account.liquidation = (
        state.fees,
        state.slippage,
        state.settlement,
        state.liquidation,
    )
    account.balance, account.borrowing, account.rate_reference, account.constant = (
        state.balance,
        state.borrowing,
        state.reference,
        state.constant,
    )
    account.coefficient, account.hedged, account.phase = 0.0, 0, FLAT
    account.idle_until, account.exit_time = state.idle_until, state.exit_time
    account.period, account.period_end = state.period, state.period_end
    account.trades, account.fills, account.changes = min(state.trades, 1), 0, 0
    pool.balance = state.balance
    record(account, long, short, row)
    account.changes = 0
    state.held, state.stepping = 0, 1


@routine
def take_over(state: Record, account: Record, t: int) -> None:
    """The flat account comes back."""
    state.price_long, state.price_short, state.legging, state.funding = (
        account.price_long,
        account.price_short,
        account.legging,
        account.funding,
    )
    state.financing, state.idle_cash, state.borrow, state.staking = account.financing, account.idle_cash, account.borrow, account.staking
    state.fees, state.slippage, state.settlement, state.liquidation = (
        account.fees,
        account.slippage,
        account.settlement,
        account.liquidation,
    )
    state.balance, state.borrowing, state.reference, state.constant = (
        account.balance,
        account.borrowing,
        account.rate_reference,
        account.constant,
    )
    state.idle_until, state.exit_time = account.idle_until, account.exit_time
    state.period, state.period_end = account.period, account.period_end
    state.flat_from, state.stepping = t, 0


@kernel
def count_trade(state: Record, row: Record) -> None:
    """A closed trade into the statistics."""
    state.closed += 1
    state.wins += 1 if row.pnl > 0.0 else 0
    state.hold += row.exited - row.entered
    state.liquidations += 1 if row.reason == LIQUIDATION else 0


@kernel
def set_segment(
    segment: Record, begin: int, end: int, constant: float, coefficient: float, balance: float, borrowing: int, at: int
) -> None:
    """A segment of bars; at: where bar 0 is on the index."""
    segment.begin, segment.end, segment.constant, segment.coefficient = begin, end, constant, coefficient
    segment.balance, segment.borrowing, segment.at = balance, borrowing, at


@kernel
def quiet(block: Record, closes: Record, state: Record, rule: Record, t: int, end: int, money: int, rates: Floats) -> bool:
    """True if in no bar of [t, end) of a block equity can reach its loss level or the size drift. Needs rates that rise only."""
    constant, coefficient = state.after_constant, state.coefficient
    first, last = state.after_balance * rates[money, t + 1], state.after_balance * rates[money, end]
    bottom, top = (block.low, block.high) if coefficient > 0.0 else (block.high, block.low)
    low, high = constant + coefficient * bottom + min(first, last), constant + coefficient * top + max(first, last)
    if low <= state.loss_level:
        return False
    if rule.resize_factor == np.inf:
        return True
    widest, narrowest = state.quantity * closes.high / (rule.fraction * low), state.quantity * closes.low / (rule.fraction * high)
    return low > 0.0 and widest * (1.0 + ROUNDING) < rule.resize_factor and narrowest * (1.0 - ROUNDING) * rule.resize_factor > 1.0


@routine
def first_unquiet(state: Record, rule: Record, t: int, end: int, at: int, closes_at: int, index: Floats, rates: Floats, tape: Floats, sums: Sums) -> int:  # fmt: skip
    """First bar in [t, end) at which equity reaches its loss level or the size has drifted, else end."""
    money = BORROW if state.after_borrowing != 0 else IDLE
    small, large, close_small, close_large = sums.small, sums.large, sums.close_small, sums.close_large
    known = sums.rising[money]
    while t < end:
        stop = min(end, ((at + t) | (LARGE - 1)) + 1 - at)
        if known and quiet(large[(at + t) >> LARGE_BITS], close_large[(closes_at + t) >> LARGE_BITS], state, rule, t, stop, money, rates):
            t = stop
            continue
        while t < stop:
            brink = min(stop, ((at + t) | (SMALL - 1)) + 1 - at)
            if not (
                known
                and quiet(small[(at + t) >> SMALL_BITS], close_small[(closes_at + t) >> SMALL_BITS], state, rule, t, brink, money, rates)
            ):
                for i in range(t, brink):
                    value = state.after_constant + state.coefficient * index[at + i] + state.after_balance * rates[money, i + 1]
                    exposure = state.quantity * tape[CLOSE, closes_at + i]
                    if value <= state.loss_level or (rule.resize_factor < np.inf and drifted(rule, exposure, rule.fraction * value)):
                        return i
            t = brink
    return end


@kernel
def lent_tapes(tapes: Tapes) -> Tapes:
    """The same tapes, not counted."""
    return Tapes(
        Box(lent(tapes.box.values), lent(tapes.box.small), lent(tapes.box.large)), lent(tapes.pair_index), lent(tapes.stamps), lent(tapes.candidate),
        lent(tapes.pairs), lent(tapes.long), lent(tapes.short), lent(tapes.rates), lent(tapes.periods), lent(tapes.long_orders), lent(tapes.short_orders),
        lent(tapes.long_coin), lent(tapes.short_coin), lent(tapes.coin), lent(tapes.scale), lent(tapes.illiquid), lent(tapes.available),
        lent(tapes.expected_at), lent(tapes.expected_rate), lent(tapes.next_payment),
    )  # fmt: skip


@kernel
def lent_sums(sums: Sums) -> Sums:
    """The same sums, not counted."""
    return Sums(
        lent(sums.small), lent(sums.large), lent(sums.close_small), lent(sums.close_large), lent(sums.pair_sums), lent(sums.money),
        lent(sums.rising), lent(sums.days),
    )  # fmt: skip


@njit(cache=True, nogil=True, **FROM_PYTHON)
def scan(
    states: npt.NDArray[np.void], accounts: npt.NDArray[np.void], legs: npt.NDArray[np.void], rules: npt.NDArray[np.void], terms: npt.NDArray[np.void],
    pools: npt.NDArray[np.void], tapes: Tapes, sums: Sums, first_opened: int, daily: Floats, ledger: npt.NDArray[np.void], fills: npt.NDArray[np.void],
    trades: npt.NDArray[np.void], rows: npt.NDArray[np.void], open_trades: npt.NDArray[np.void], log: npt.NDArray[np.void], segments: npt.NDArray[np.void], first: int, final: int,
) -> None:  # fmt: skip
    """Run bars [first, final) for every combination: statistics into `states`, equity of days into daily[combination, day].

    A row of states, accounts, legs, rules, pools, rows (the ledger's row in force) and open_trades is a combination's; terms are alike for all. ledger, fills,
    trades: room for what a stretch of steps writes; segments: for one. log: [combination, trade], as many trades as there is room for.
    """
    box, stamps, candidate, pairs, longs, shorts, rates, periods = tapes.box, lent(tapes.stamps), lent(tapes.candidate), lent(tapes.pairs), lent(tapes.long), lent(tapes.short), lent(tapes.rates), lent(tapes.periods)  # fmt: skip
    values, small, large, index, scale = lent(box.values), lent(box.small), lent(box.large), lent(tapes.pair_index), lent(tapes.scale)
    states, accounts, legs, rules, terms, pools = lent(states), lent(accounts), lent(legs), lent(rules), lent(terms), lent(pools)
    daily, ledger, fills, trades, rows, open_trades, log = (
        lent(daily),
        lent(ledger),
        lent(fills),
        lent(trades),
        lent(rows),
        lent(open_trades),
        lent(log),
    )
    tapes, sums = lent_tapes(tapes), lent_sums(sums)
    segment = lent(segments)[0]
    stretch = first
    while stretch < final:
        until = min(final, stretch + STRETCH)
        for c in range(states.shape[0]):
            state, rule, long, short, days = states[c], rules[c], legs[c, 2], legs[c, 3], daily[c]
            t = stretch
            while t < until:
                if state.stepping != 0:
                    t = step_on(c, state, accounts, legs, rules, terms, pools, tapes, sums, first_opened, days, ledger, fills, trades, rows, open_trades, log, segment, t, until)  # fmt: skip
                    continue
                # ---- the next bar at which anything may happen
                begin, end, side, sides = t, until, 0, ENTRY_SIDES
                pair = pairs[state.pair]
                if state.held == 0:
                    begin = max(t, state.idle_until)
                else:
                    end, side, sides = max(t, min(until, state.horizon, state.period_end)), ENTRY_SIDES, ALL_SIDES
                while side < sides and begin < end:
                    start, level = whole_side(side, state, rule, long, short, pair)
                    if level < np.inf:
                        end = first_reached(values, small, large, start + begin, start + end, level) - start
                    side += 1
                if state.held == 0:
                    t = max(begin, end)
                    if t >= until:
                        break
                    # ---- flat, and the signal pays: both slots fill at the next open
                    if t >= state.period_end:
                        while state.period + 1 < rule.periods_end and t >= periods[state.period + 1]:
                            state.period += 1
                        state.period_end = periods[state.period + 1] if state.period + 1 < rule.periods_end else NEVER
                    number = candidate[t]
                    pair = pairs[number]
                    state.side = 1 if rule.plus != 0 and values[rule.entry_at + t] >= rule.enter else -1
                    long_terms, short_terms = terms[state.period, 0], terms[state.period, 1]
                    long_at, short_at = pair.long_start, pair.short_start
                    close = (
                        longs[CLOSE, long_at + min(t, pair.long_last)]
                        if rule.first_slot == LONG_SLOT
                        else shorts[CLOSE, short_at + min(t, pair.short_last)]
                    )
                    value = state.constant + state.balance * rates[BORROW if state.borrowing != 0 else IDLE, t + 1]
                    size = tradable(wished(rule, value, close, scale[pair.start + t] if rule.scaled != 0 else 1.0), close, pair)
                    if size == 0.0:
                        t += 1
                        continue
                    f = t + 1
                    state.decided = t
                    usual = state.plain != 0 and f < final and f < state.period_end and f < min(pair.long_expiry_bar, pair.short_expiry_bar)
                    usual = (
                        usual and (long_terms.present == 0 or f <= pair.long_last) and (short_terms.present == 0 or f <= pair.short_last)
                    )
                    if usual:
                        long_accrual, short_accrual = (ACCRUAL_LONG, ACCRUAL_SHORT) if state.side > 0 else (ACCRUAL_SHORT, ACCRUAL_LONG)
                        load_fill(long, longs, long_at + min(f, pair.long_last), long_accrual)
                        load_fill(short, shorts, short_at + min(f, pair.short_last), short_accrual)
                        usual = (long_terms.present == 0 or long.open > 0.0) and (short_terms.present == 0 or short.open > 0.0)
                    if not usual:
                        if state.plain != 0 and f >= final:
                            t = until  # the order dies with the data
                            break
                        give_up(state, accounts[c], legs[c, 0], legs[c, 1], pools[c], rows[c], segment, index, rates, sums, days)
                        continue
                    state.pair = number
                    open_at_once(state, rule, long, short, long_terms, short_terms, rates[BORROW if state.borrowing != 0 else IDLE, f], (rates[BORROW, f], rates[IDLE, f]), size)  # fmt: skip
                    set_whole_box(
                        state, rule, pair, (short.open - long.open) / long.open if rule.legs == 2 else np.nan, stamps[t], stamps, f
                    )
                    t = f
                    continue
                # ---- held: what leaves the box
                at = rule.index_at + (rule.index_minus if state.side < 0 else 0) + pair.start
                x = max(t, end)
                if x > t and (state.loss_level > -np.inf or rule.resize_factor < np.inf):
                    if rule.first_slot == LONG_SLOT:
                        x = first_unquiet(state, rule, t, x, at, pair.long_start, index, rates, longs, sums)
                    else:
                        x = first_unquiet(state, rule, t, x, at, pair.short_start, index, rates, shorts, sums)
                t = x
                if t >= until:
                    break
                long_terms, short_terms = terms[state.period, 0], terms[state.period, 1]
                minus = rule.minus_at if state.side < 0 else 0
                reason = NONE
                usual = t < min(pair.long_expiry_bar, pair.short_expiry_bar, state.period_end)
                if usual and long.stress_level < np.inf:
                    usual = not values[rule.long_stress_at + minus + pair.long_start + t] >= long.stress_level
                if usual and short.stress_level < np.inf:
                    usual = not values[rule.short_stress_at + minus + pair.short_start + t] >= short.stress_level
                if usual:
                    value = level_at(
                        t,
                        state.after_constant,
                        state.coefficient,
                        state.after_balance,
                        BORROW if state.after_borrowing != 0 else IDLE,
                        at,
                        index,
                        rates,
                    )
                    premium = values[rule.premium_at + minus + pair.start + t] if rule.stop < np.inf or rule.converge < NEVER else np.nan
                    if premium >= state.stop_level or (
                        rule.stop_annualized < np.inf and values[rule.annual_at + minus + pair.start + t] >= state.annual_level
                    ):
                        reason = STOP
                    elif value <= state.loss_level:
                        reason = LOSS
                    elif t >= state.days_bar:
                        reason = DAYS
                    elif t >= state.time_bar:
                        reason = TIME
                    elif t >= state.converge_bar and premium >= state.converge_level:
                        reason = CONVERGENCE
                    elif rule.exit > -np.inf and values[rule.exit_at + minus + pair.start + t] >= state.exit_level:
                        reason = SIGNAL
                    else:
                        close = longs[CLOSE, pair.long_start + t] if rule.first_slot == LONG_SLOT else shorts[CLOSE, pair.short_start + t]
                        usual = rule.resize_factor == np.inf or not drifted(rule, state.quantity * close, rule.fraction * value)
                g = t + 1
                if usual and reason == NONE:
                    if t >= state.converge_bar:  # from here on a premium that has not narrowed is a side of the box
                        state.premium_level = min(state.stop_level, state.converge_level)
                        state.horizon = min(state.time_bar, state.days_bar, pair.long_expiry_bar, pair.short_expiry_bar)
                    t = g
                    continue
                if usual and g >= final:
                    t = until  # the order dies with the data
                    break
                usual = usual and g < state.period_end and (long_terms.present == 0 or g <= pair.long_last) and (short_terms.present == 0 or g <= pair.short_last)  # fmt: skip
                if usual:
                    long_accrual, short_accrual = (ACCRUAL_LONG, ACCRUAL_SHORT) if state.side > 0 else (ACCRUAL_SHORT, ACCRUAL_LONG)
                    load_fill(long, longs, pair.long_start + min(g, pair.long_last), long_accrual)
                    load_fill(short, shorts, pair.short_start + min(g, pair.short_last), short_accrual)
                    usual = (long_terms.present == 0 or long.open > 0.0) and (short_terms.present == 0 or short.open > 0.0)
                if not usual:
                    t = state.decided
                    give_up(state, accounts[c], legs[c, 0], legs[c, 1], pools[c], rows[c], segment, index, rates, sums, days)
                    continue
                # ---- both slots are left at the next open; the trade's bars into the statistics
                f = state.decided + 1
                if f > state.flat_from:
                    set_segment(segment, state.flat_from, f, state.constant, 0.0, state.balance, state.borrowing, 0)
                    fold(state, segment, index, rates, sums, days)
                set_segment(segment, f, g, state.after_constant, state.coefficient, state.after_balance, state.after_borrowing, at)
                fold(state, segment, index, rates, sums, days)
                money = BORROW if state.after_borrowing != 0 else IDLE
                pnl = close_at_once(state, long, short, long_terms, short_terms, rates[money, g], (rates[BORROW, g], rates[IDLE, g]))
                state.closed += 1
                state.wins += 1 if pnl > 0.0 else 0
                state.hold += stamps[t] - stamps[state.decided]
                if state.closed <= log.shape[1]:
                    log_whole(log[c, state.closed - 1], state, long, short, stamps[state.decided], stamps[t], reason, pnl)
                state.flat_from, state.exit_time = g, stamps[t]
                state.idle_until = first_at(stamps, state.exit_time + rule.cooldown, g) if rule.cooldown > 0 else g
                t = g
        stretch = until
    for c in range(states.shape[0]):
        if states[c].stepping == 0:
            settle_up(
                states[c],
                rules[c],
                pairs[states[c].pair],
                legs[c, 2],
                legs[c, 3],
                rows[c],
                open_trades[c],
                segment,
                stamps,
                index,
                rates,
                sums,
                daily[c],
                final,
            )


@routine
def settle_up(
    state: Record, rule: Record, pair: Record, long: Record, short: Record, row: Record, open_trade: Record, segment: Record, stamps: npt.NDArray[np.int64],
    index: Floats, rates: Floats, sums: Sums, daily: Floats, final: int,
) -> None:  # fmt: skip
    """At the end: the bars since the account was flat last, and the ledger's row in force."""
    begin = state.decided + 1 if state.held != 0 else final
    if begin > state.flat_from:
        set_segment(segment, state.flat_from, begin, state.constant, 0.0, state.balance, state.borrowing, 0)
        fold(state, segment, index, rates, sums, daily)
    row.price_long, row.price_short, row.legging, row.funding = state.price_long, state.price_short, state.legging, state.funding
    row.financing, row.idle_cash, row.borrow, row.staking = state.financing, state.idle_cash, state.borrow, state.staking
    row.fees, row.slippage, row.settlement, row.liquidation = state.fees, state.slippage, state.settlement, state.liquidation
    row.balance, row.borrowing, row.rate_reference, row.constant = state.balance, state.borrowing, state.reference, state.constant
    row.coefficient, row.hedged, row.long_quantity, row.short_quantity, row.long_share, row.short_share = 0.0, 0, 0.0, 0.0, 1.0, 1.0
    if state.held == 0:
        return
    at = rule.index_at + (rule.index_minus if state.side < 0 else 0) + pair.start
    set_segment(segment, begin, final, state.after_constant, state.coefficient, state.after_balance, state.after_borrowing, at)
    fold(state, segment, index, rates, sums, daily)
    state.traded += state.worth
    row.financing, row.idle_cash, row.fees, row.slippage = (
        state.after_financing,
        state.after_idle_cash,
        state.after_fees,
        state.after_slippage,
    )
    row.balance, row.borrowing, row.rate_reference, row.constant = (
        state.after_balance,
        state.after_borrowing,
        state.after_reference,
        state.after_constant,
    )
    row.coefficient, row.hedged, row.side, row.pair = state.coefficient, 1, state.side, state.pair
    row.long_quantity, row.long_reference, row.long_accrual = long.quantity, long.reference, long.accrual_reference
    row.short_quantity, row.short_reference, row.short_accrual = short.quantity, short.reference, short.accrual_reference
    log_whole(open_trade, state, long, short, stamps[state.decided], stamps[state.decided], END, 0.0)


@routine
def log_whole(row: Record, state: Record, long: Record, short: Record, entered: int, exited: int, reason: int, pnl: float) -> None:
    """One row a trade; its sources are not kept apart."""
    row.entered, row.exited, row.side, row.pair, row.reason = entered, exited, state.side, state.pair, reason
    row.quantity, row.entry_equity, row.pnl = state.quantity, state.entry_equity, pnl
    row.entry_long, row.entry_short = (
        long.reference if long.quantity != 0.0 else np.nan,
        short.reference if short.quantity != 0.0 else np.nan,
    )
    row.exit_long, row.exit_short = long.open if long.quantity != 0.0 else np.nan, short.open if short.quantity != 0.0 else np.nan
    row.settlement_price = np.nan


@routine
def give_up(state: Record, account: Record, long: Record, short: Record, pool: Record, row: Record, segment: Record, index: Floats, rates: Floats, sums: Sums, daily: Floats) -> None:  # fmt: skip
    """A trade is not taken whole: the step goes on from the bar that decided on it."""
    if state.decided > state.flat_from:
        set_segment(segment, state.flat_from, state.decided, state.constant, 0.0, state.balance, state.borrowing, 0)
        fold(state, segment, index, rates, sums, daily)
    hand_over(state, account, long, short, pool, row)


@routine
def step_on(
    c: int, state: Record, accounts: npt.NDArray[np.void], legs: npt.NDArray[np.void], rules: npt.NDArray[np.void], terms: npt.NDArray[np.void],
    pools: npt.NDArray[np.void], tapes: Tapes, sums: Sums, first_opened: int, daily: Floats, ledger: npt.NDArray[np.void], fills: npt.NDArray[np.void],
    trades: npt.NDArray[np.void], rows: npt.NDArray[np.void], open_trades: npt.NDArray[np.void], log: npt.NDArray[np.void], segment: Record, t: int, until: int,
) -> int:  # fmt: skip
    """Take the step from bar t on, fold what it wrote, and return the bar to go on with; flat at the end, a plain account goes back to the scan."""
    account, rule, before = accounts[c], rules[c], min(state.trades, 1)
    account.trades, account.fills, account.changes = before, 0, 0
    trades[0, before] = open_trades[c]
    reached = advance(
        accounts[c : c + 1],
        legs[c : c + 1],
        rules[c : c + 1],
        terms,
        pools[c],
        tapes,
        first_opened,
        ledger,
        fills,
        trades,
        t,
        until,
        JUMPING,
    )
    index, rates, pairs = tapes.pair_index, tapes.rates, tapes.pairs
    begin, number = t, -1
    while begin < reached or number + 1 < account.changes:
        row = rows[c] if number < 0 else ledger[0, number]
        end = ledger[0, number + 1].bar if number + 1 < account.changes else reached
        if end > begin:
            pair = pairs[row.pair]
            if row.hedged != 0 or (row.long_quantity == 0.0 and row.short_quantity == 0.0):
                at = rule.index_at + (rule.index_minus if row.side < 0 else 0) + pair.start
                set_segment(segment, begin, end, row.constant, row.coefficient if row.hedged != 0 else 0.0, row.balance, row.borrowing, at)
                fold(state, segment, index, rates, sums, daily)
            else:
                fold_loose(state, begin, end, row, terms[account.period], pair, tapes.long, tapes.short, tapes.long_coin, tapes.short_coin, tapes.coin, rates, sums, daily)  # fmt: skip
        begin, number = max(begin, end), number + 1
    if account.changes > 0:
        rows[c] = ledger[0, account.changes - 1]
    for i in range(account.fills):
        state.traded += abs(fills[0, i].quantity) * fills[0, i].price
    for i in range(before, account.trades):
        count_trade(state, trades[0, i])
        if state.closed <= log.shape[1]:
            log[c, state.closed - 1] = trades[0, i]
    state.trades += account.trades - before
    open_trades[c] = trades[0, account.trades]
    if reached >= until and account.phase == FLAT and state.plain != 0:
        take_over(state, account, reached)
    return reached
