"""All compiled code: one step, one box, one loop, and the columns of the ledger.

Every cash flow is an index: a leg's index is its close plus all that one unit has earned so far (funding, staking, borrow fee); money's index is
the cumulated rate. While positions are unchanged, every source of PnL is quantity × index difference: nothing is posted between changes, and

    equity[t] = constant + coefficient · pair_index[t] + balance · rate_index[t]

An account at rest is in a box: signal, premium and margin below their levels, equity above its loss level, bar before `horizon`. A bar inside the
box changes nothing, and the step acts by the same levels; so `advance` may jump from event to event, and walking every bar gives the same numbers.
The search may stop too early, never too late. All sides of the box look upwards ("at or above its level"), so one search serves them all.

The order of a bar is that of `semantics.md`. Helpers get records, which are pointers, and scalars: an array handed on costs reference counting. The
constants stand here too, because numba does not see a change in another file.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Record = Any  # a row of a structured array: numba's Record, numpy's void

FLAT, OPENING, HELD, RESIZING, CLOSING = range(5)
constant: Any = np.int64  # where one is handed on: numba compiles a function anew for each literal int that it is called with
NONE, LIQUIDATION, EXPIRY, STOP, LOSS, DAYS, TIME, SIGNAL, END = map(constant, range(9))
LONG_SLOT, SHORT_SLOT = map(constant, range(2))
REASONS = ("", "liquidation", "expiry", "stop", "loss", "days to expiry", "time", "signal", "end of data")
ENTERED, EXITED, RESIZED, SETTLED, LIQUIDATED = range(5)
ACTIONS = ("entry", "exit", "resize", "settlement", "liquidation")
ISOLATED, CROSS, OFF = range(3)
SOURCES = (
    "price_long", "price_short", "legging", "funding", "financing", "idle_cash",
    "borrow", "staking", "fees", "slippage", "settlement", "liquidation",
)  # fmt: skip
LEGGING_ROW, FUNDING_ROW, FINANCING_ROW, IDLE_CASH_ROW, BORROW_ROW, STAKING_ROW = 2, 3, 4, 5, 6, 7  # where they stand in SOURCES

OPEN, CLOSE, MARK_HIGH, MARK_LOW, HALF_SPREAD, ACCRUAL_LONG, ACCRUAL_SHORT = range(7)  # rows of a leg's tape
BORROW, IDLE = range(2)  # rows of the rates
SMALL_BITS, LARGE_BITS = 5, 9
SMALL, LARGE = 1 << SMALL_BITS, 1 << LARGE_BITS  # bars in a block, and in a block of blocks
BLOCKS_BITS = LARGE_BITS - SMALL_BITS
BLOCKS = 1 << BLOCKS_BITS
NEVER = 2**62
TIERS = 12
ROWS_A_BAR = 6  # most ledger rows, fills or trades that one bar can add

f8, i8 = np.float64, np.int64
SOURCE_FIELDS = [(name, f8) for name in SOURCES]

ACCOUNT = np.dtype(
    [
        *SOURCE_FIELDS,  # booked so far
        # money: the interest-bearing balance and where its index was last booked
        ("capital", f8), ("balance", f8), ("rate_reference", f8),
        # equity[t] = constant + coefficient * pair_index[t] + balance * rate_index[t], while `hedged`
        ("constant", f8), ("coefficient", f8), ("hedged", i8),
        # the trade
        ("phase", i8), ("side", i8), ("pair", i8), ("reason", i8), ("started", i8), ("entry_equity", f8),
        ("exit_time", i8), ("idle_until", i8),
        # the box
        ("exit_level", f8), ("premium_level", f8), ("loss_level", f8), ("time_bar", i8), ("days_bar", i8), ("horizon", i8),
        # rows written
        ("changes", i8), ("fills", i8), ("trades", i8),
    ],
    align=True,
)  # fmt: skip
LEG = np.dtype(
    [
        ("quantity", f8), ("target", f8), ("reference", f8), ("accrual_reference", f8),
        ("entry", f8), ("entry_accrual", f8), ("collateral", f8),  # its margin account
        ("stress_level", f8), ("entry_reference", f8),
    ],
    align=True,
)  # fmt: skip
TERMS = np.dtype(
    [
        ("present", i8), ("derivative", i8), ("quoted", i8), ("fee", f8), ("half_spread", f8), ("leverage", f8), ("delivery_fee", f8), ("liquidation_fee", f8),
        ("least_accrual", f8), ("tiers", i8), ("tier_floor", f8, (TIERS,)), ("tier_rate", f8, (TIERS,)), ("tier_deduction", f8, (TIERS,)),
    ],
    align=True,
)  # fmt: skip
RULE = np.dtype(
    [
        ("enter", f8), ("exit", f8), ("plus", i8), ("minus", i8), ("legs", i8), ("first_slot", i8), ("margin", i8),
        ("fraction", f8), ("resize_factor", f8), ("stop", f8), ("loss", f8),
        ("expiry_nanoseconds", i8), ("max_hold", i8), ("cooldown", i8),
    ],
    align=True,
)  # fmt: skip
PAIR = np.dtype(
    [
        ("start", i8), ("last", i8), ("expiry", i8),  # the pair's tape; the nearer expiry's instant
        ("lot", f8), ("least_notional", f8),  # the coarser of the two contracts; 0 for none
        ("long_start", i8), ("long_last", i8), ("long_expiry", i8), ("long_expiry_bar", i8), ("long_settlement", f8),
        ("short_start", i8), ("short_last", i8), ("short_expiry", i8), ("short_expiry_bar", i8), ("short_settlement", f8),
    ],
    align=True,
)  # fmt: skip
LEDGER = np.dtype(
    [
        ("bar", i8), ("pair", i8), ("side", i8), *SOURCE_FIELDS,
        ("balance", f8), ("rate_reference", f8), ("constant", f8), ("coefficient", f8), ("hedged", i8),
        ("long_quantity", f8), ("long_reference", f8), ("long_accrual", f8),
        ("short_quantity", f8), ("short_reference", f8), ("short_accrual", f8),
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


class Side(NamedTuple):
    """One side of the box on a tape, padded with −inf to whole large blocks."""

    values: Floats
    small: Floats  # maxima per SMALL
    large: Floats  # maxima per LARGE


class SideTapes(NamedTuple):
    """What one side of the trade (+1 or −1) reads; position = pair.start + t, for `stress` the leg's own start + t."""

    entry: Side  # [t]: s·signal of the pair that would be opened
    exit: Side  # −s·exit signal
    premium: Side  # s·premium
    long_stress: Side  # worst mark and accrual of the long slot, upwards
    short_stress: Side
    pair_index: Floats  # index of the long slot less that of the short slot


class Tapes(NamedTuple):
    """All that the loop reads. Bar t of a leg is at [start + t] of its tape; rates have one entry more than bars: [t + 1] is after bar t."""

    plus: SideTapes
    minus: SideTapes
    stamps: npt.NDArray[np.int64]
    candidate: npt.NDArray[np.int64]  # per bar: the pair that would be opened, −1 none
    pairs: npt.NDArray[np.void]
    long: Floats  # [row, position]
    short: Floats
    rates: Floats  # [BORROW | IDLE, t + 1], cumulated


class Quote(NamedTuple):
    """One leg in one bar."""

    open: float
    close: float
    close_before: float
    high: float
    low: float
    half_spread: float
    accrual: float
    accrual_before: float


class Bar(NamedTuple):
    """The rest of a bar."""

    number: int
    opened: int  # instant of its open
    stamp: int
    borrow: float
    borrow_before: float
    idle: float
    idle_before: float
    pair_index: float
    exit_signal: float  # −s·exit signal of the pair held
    premium: float  # s·premium of the pair held


# ---------------------------------------------------------------- the ledger of changes


@kernel
def equity(account: Record, long: Record, short: Record, bar: Bar, long_quote: Quote, short_quote: Quote) -> float:
    """Equity at the close; the same sum, in the same order, as in the walk of `advance`."""
    rate = bar.borrow if account.balance < 0.0 else bar.idle
    if account.hedged != 0:
        return account.constant + account.coefficient * bar.pair_index + account.balance * rate
    value = account.constant + account.balance * rate
    if long.quantity != 0.0:
        value += long.quantity * (long_quote.close + long_quote.accrual)
    if short.quantity != 0.0:
        value += short.quantity * (short_quote.close + short_quote.accrual)
    return value


@kernel
def booked(account: Record) -> float:
    """Equity as posted at the last change."""
    flows = account.price_long + account.price_short + account.legging + account.funding + account.financing + account.idle_cash
    costs = account.borrow + account.staking + account.fees + account.slippage + account.settlement + account.liquidation
    return account.capital + flows + costs


@kernel
def book_leg(account: Record, leg: Record, terms: Record, accrual: float) -> None:
    """Post what one unit has earned since the last change: funding stays in the margin account, staking and borrow fee are cash."""
    if leg.quantity != 0.0:
        earned = leg.quantity * (accrual - leg.accrual_reference)
        if terms.derivative != 0:
            account.funding += earned
        elif leg.quantity > 0.0:
            account.staking += earned
            account.balance += earned
        else:
            account.borrow += earned
            account.balance += earned
    leg.accrual_reference = accrual


@routine
def book(
    account: Record, rule: Record, long: Record, short: Record, long_terms: Record, short_terms: Record,
    long_price: float, short_price: float, long_accrual: float, short_accrual: float, borrow: float, idle: float,
) -> None:  # fmt: skip
    """Post every source up to now, at these prices and indices, and move the references here."""
    together = rule.legs == 1 or (long.quantity != 0.0 and short.quantity != 0.0)
    if long.quantity != 0.0:
        gain = long.quantity * (long_price - long.reference)
        if together:
            account.price_long += gain
        else:
            account.legging += gain
    if short.quantity != 0.0:
        gain = short.quantity * (short_price - short.reference)
        if together:
            account.price_short += gain
        else:
            account.legging += gain
    long.reference = long_price
    short.reference = short_price
    if account.balance < 0.0:
        interest = account.balance * (borrow - account.rate_reference)
        account.financing += interest
    else:
        interest = account.balance * (idle - account.rate_reference)
        account.idle_cash += interest
    account.balance += interest
    book_leg(account, long, long_terms, long_accrual)
    book_leg(account, short, short_terms, short_accrual)


@routine
def rebase(account: Record, rule: Record, long: Record, short: Record, borrow: float, idle: float) -> None:
    """After a change: where the money's index starts, and the constants of the equity sum."""
    account.rate_reference = borrow if account.balance < 0.0 else idle
    value = booked(account) - account.balance * account.rate_reference
    if long.quantity != 0.0:
        value -= long.quantity * (long.reference + long.accrual_reference)
    if short.quantity != 0.0:
        value -= short.quantity * (short.reference + short.accrual_reference)
    account.constant = value
    account.coefficient = long.quantity if long.quantity != 0.0 else -short.quantity
    account.hedged = 1 if account.coefficient != 0.0 and (rule.legs == 1 or long.quantity == -short.quantity) else 0


@routine
def record(account: Record, long: Record, short: Record, bar: Bar, row: Record) -> None:
    """One ledger row a change: what is held from now on, what is booked, and the references that the next differences start from."""
    row.bar = bar.number
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
    row.rate_reference = account.rate_reference
    row.constant = account.constant
    row.coefficient = account.coefficient
    row.hedged = account.hedged
    row.long_quantity = long.quantity
    row.long_reference = long.reference
    row.long_accrual = long.accrual_reference
    row.short_quantity = short.quantity
    row.short_reference = short.reference
    row.short_accrual = short.accrual_reference
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
    if terms.derivative != 0 and leg.quantity != 0.0 and rule.margin != OFF:
        level = breach(leg, terms, spare, terms.least_accrual)
        early = 1e-9 * abs(level)
        leg.stress_level = level - early if leg.quantity < 0.0 else -level - early


@kernel
def breached(leg: Record, terms: Record, quote: Quote, spare: float) -> bool:
    """True if the margin account is below the maintenance margin at the bar's worst mark."""
    mark = quote.low if leg.quantity > 0.0 else quote.high
    account = leg.collateral + spare + leg.quantity * (quote.accrual - leg.entry_accrual) + leg.quantity * (mark - leg.entry)
    return account < maintenance(terms, abs(leg.quantity) * mark)


@kernel
def spare_cash(account: Record, rule: Record) -> float:
    """What a cross margin account may draw on besides its collateral."""
    if rule.margin == CROSS:
        return max(account.balance, 0.0)
    return 0.0


# ---------------------------------------------------------------- changes of position


@routine
def log_fill(
    row: Record,
    account: Record,
    bar: Bar,
    slot: int,
    action: int,
    quantity: float,
    reference: float,
    price: float,
    fee: float,
    slippage: float,
) -> None:
    """One row a fill."""
    row.bar = bar.number
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
def fill_leg(account: Record, leg: Record, terms: Record, quote: Quote, bar: Bar, slot: int, row: Record) -> None:
    """Trade the whole order at the open. Price = open·(1 ± half-spread); fee = rate·|Δq|·price; slippage = |Δq|·open·half-spread.

    A derivative and a short spot live in an account apart: a fill settles it at the fill price and opens it anew.
    """
    change = leg.target - leg.quantity
    half_spread = quote.half_spread if terms.quoted != 0 and quote.half_spread >= 0.0 else terms.half_spread
    price = quote.open * (1.0 + math.copysign(half_spread, change))
    fee = terms.fee * abs(change) * price
    slippage = abs(change) * quote.open * half_spread
    account.fees -= fee
    account.slippage -= slippage
    account.balance -= fee
    if terms.derivative != 0 or leg.quantity < 0.0 or leg.target < 0.0:
        if leg.quantity != 0.0:
            account.balance += leg.collateral + leg.quantity * (price - leg.entry)
            if terms.derivative != 0:
                account.balance += leg.quantity * (quote.accrual_before - leg.entry_accrual)
        leg.entry = price
        leg.entry_accrual = quote.accrual_before
        leg.collateral = abs(leg.target) * price / terms.leverage if terms.derivative != 0 else 0.0
        account.balance -= leg.collateral
    else:
        account.balance -= change * price
    action = ENTERED if account.phase == OPENING else RESIZED if account.phase == RESIZING else EXITED
    log_fill(row, account, bar, slot, action, change, quote.open, price, fee, slippage)
    leg.quantity = leg.target


@routine
def end_inside(
    account: Record, leg: Record, terms: Record, quote: Quote, bar: Bar, slot: int, price: float, fee_rate: float, reason: int, rule: Record, row: Record
) -> None:  # fmt: skip
    """Within the bar the leg ends at `price`: its margin account pays out, less the delivery or liquidation fee."""
    fee = fee_rate * abs(leg.quantity) * price
    paid_out = leg.collateral + leg.quantity * (price - leg.entry) + leg.quantity * (quote.accrual - leg.entry_accrual) - fee
    if reason == LIQUIDATION:
        absorbed = max(-paid_out, 0.0) if rule.margin == ISOLATED else 0.0
        account.liquidation += absorbed - fee
        account.balance += paid_out + absorbed
    else:
        account.settlement -= fee
        account.balance += paid_out
    log_fill(row, account, bar, slot, LIQUIDATED if reason == LIQUIDATION else SETTLED, -leg.quantity, price, price, fee, 0.0)
    leg.quantity = leg.target = leg.collateral = 0.0


@kernel
def leave(account: Record, long: Record, short: Record, bar: Bar, reason: int) -> None:
    """Close what is held at the next open. From here only margin and expiry can interrupt: the box opens on its other sides."""
    if account.phase != CLOSING:
        account.phase = CLOSING
        account.reason = reason
    long.target = short.target = 0.0
    account.exit_level = account.premium_level = np.inf
    account.loss_level = -np.inf


@routine
def begin_trade(account: Record, trade: Record, bar: Bar) -> None:
    """Just before the first fill."""
    account.started = 1
    account.entry_equity = booked(account)
    trade.entered = bar.opened
    trade.exited = bar.opened
    trade.side = account.side
    trade.pair = account.pair
    trade.reason = END
    trade.entry_equity = account.entry_equity
    trade.entry_long = trade.entry_short = trade.exit_long = trade.exit_short = trade.settlement_price = np.nan
    trade.quantity = 0.0
    post_sources(trade, account, -1.0)


@kernel
def retire(account: Record, trade: Record, long: Record, short: Record) -> None:
    """Both slots are out: flat again. Orders called off before their first fill leave no trade."""
    if long.quantity != 0.0 or short.quantity != 0.0 or long.target != 0.0 or short.target != 0.0:
        return
    if account.started != 0:
        trade.reason = account.reason
        trade.pnl = booked(account) - account.entry_equity
        post_sources(trade, account, 1.0)
        account.exit_time = trade.exited
        account.trades += 1
    account.phase = FLAT
    account.started = 0
    account.horizon = NEVER


# ---------------------------------------------------------------- the step, first half: what the market does


@kernel
def waits(leg: Record, quote: Quote) -> bool:
    """True if the leg has an order that this bar can't fill."""
    return leg.target != leg.quantity and not quote.open > 0.0


@routine
def fill_orders(
    account: Record, rule: Record, long: Record, short: Record, long_terms: Record, short_terms: Record,
    bar: Bar, long_quote: Quote, short_quote: Quote, trade: Record, fills: npt.NDArray[np.void],
) -> bool:  # fmt: skip
    """Orders decided at an earlier close fill at this bar's open, each leg at its own. True if anything traded."""
    long_trades = long.target != long.quantity and not waits(long, long_quote)
    short_trades = short.target != short.quantity and not waits(short, short_quote)
    if not (long_trades or short_trades):
        return False
    book(account, rule, long, short, long_terms, short_terms,
         long_quote.open if long_quote.open > 0.0 else long_quote.close_before, short_quote.open if short_quote.open > 0.0 else short_quote.close_before,
         long_quote.accrual_before, short_quote.accrual_before, bar.borrow_before, bar.idle_before)  # fmt: skip
    if account.started == 0:
        begin_trade(account, trade, bar)
    trade.exited = max(trade.exited, bar.opened)
    if long_trades:
        fill_leg(account, long, long_terms, long_quote, bar, LONG_SLOT, fills[account.fills])
        if account.phase == OPENING:
            trade.entry_long = long_quote.open
            trade.quantity = abs(long.quantity)
        elif account.phase == CLOSING:
            trade.exit_long = long_quote.open
    if short_trades:
        fill_leg(account, short, short_terms, short_quote, bar, SHORT_SLOT, fills[account.fills])
        if account.phase == OPENING:
            trade.entry_short = short_quote.open
            trade.quantity = abs(short.quantity)
        elif account.phase == CLOSING:
            trade.exit_short = short_quote.open
    return True


@routine
def after_fills(account: Record, rule: Record, long: Record, short: Record, trade: Record) -> None:
    """When the last order has filled, an entry or a resize is over; the stop is measured from the premium of the entry references."""
    if long.target != long.quantity or short.target != short.quantity:
        return
    if account.phase == OPENING and rule.legs == 2:
        premium = account.side * (trade.entry_short - trade.entry_long) / trade.entry_long
        account.premium_level = premium + rule.stop
    if account.phase == OPENING or account.phase == RESIZING:
        account.phase = HELD


@routine
def liquidate(
    account: Record, rule: Record, long: Record, short: Record, long_terms: Record, short_terms: Record,
    bar: Bar, long_quote: Quote, short_quote: Quote, slot: int, trade: Record, row: Record,
) -> None:  # fmt: skip
    """The leg goes at the breach price, or at the open (else the last close) if that is worse; the other one is valued alongside and goes at the next open."""
    leg = long if slot == 0 else short
    leg_terms = long_terms if slot == 0 else short_terms
    quote = long_quote if slot == 0 else short_quote
    price = breach(leg, leg_terms, spare_cash(account, rule), quote.accrual) - quote.accrual
    traded = quote.open if quote.open > 0.0 else quote.close
    price = max(price, traded) if leg.quantity < 0.0 else min(price, traded)
    alongside = price / quote.close
    long_price = price if slot == 0 else alongside * long_quote.close
    short_price = price if slot == 1 else alongside * short_quote.close
    book(
        account,
        rule,
        long,
        short,
        long_terms,
        short_terms,
        long_price,
        short_price,
        long_quote.accrual,
        short_quote.accrual,
        bar.borrow,
        bar.idle,
    )
    end_inside(account, leg, leg_terms, quote, bar, slot, price, leg_terms.liquidation_fee, LIQUIDATION, rule, row)
    if slot == 0:
        trade.exit_long = price
    else:
        trade.exit_short = price
    trade.exited = max(trade.exited, bar.stamp)
    leave(account, long, short, bar, LIQUIDATION)


@routine
def check_margin(
    account: Record, rule: Record, long: Record, short: Record, long_terms: Record, short_terms: Record,
    bar: Bar, long_quote: Quote, short_quote: Quote, trade: Record, fills: npt.NDArray[np.void],
) -> bool:  # fmt: skip
    """Each derivative at the worst mark of the bar, the long slot first. True if one was liquidated."""
    if rule.margin == OFF:
        return False
    changed = False
    if long_terms.derivative != 0 and long.quantity != 0.0 and breached(long, long_terms, long_quote, spare_cash(account, rule)):
        liquidate(
            account,
            rule,
            long,
            short,
            long_terms,
            short_terms,
            bar,
            long_quote,
            short_quote,
            LONG_SLOT,
            trade,
            fills[account.fills],
        )
        rebase(account, rule, long, short, bar.borrow, bar.idle)
        changed = True
    if short_terms.derivative != 0 and short.quantity != 0.0 and breached(short, short_terms, short_quote, spare_cash(account, rule)):
        liquidate(
            account,
            rule,
            long,
            short,
            long_terms,
            short_terms,
            bar,
            long_quote,
            short_quote,
            SHORT_SLOT,
            trade,
            fills[account.fills],
        )
        changed = True
    return changed


@routine
def settle(
    account: Record, rule: Record, long: Record, short: Record, long_terms: Record, short_terms: Record,
    bar: Bar, long_quote: Quote, short_quote: Quote, pair: Record, trade: Record, fills: npt.NDArray[np.void],
) -> bool:  # fmt: skip
    """Expiry inside the bar: the dated slot pays its settlement price, the other one goes at the next open. True if a position settled."""
    long_ends, short_ends = bar.number >= pair.long_expiry_bar, bar.number >= pair.short_expiry_bar
    if not (long_ends or short_ends):
        return False
    long_settles, short_settles = long_ends and long.quantity != 0.0, short_ends and short.quantity != 0.0
    if long_settles or short_settles:
        long_price = pair.long_settlement if long_settles else long_quote.close
        short_price = pair.short_settlement if short_settles else short_quote.close
        book(
            account,
            rule,
            long,
            short,
            long_terms,
            short_terms,
            long_price,
            short_price,
            long_quote.accrual,
            short_quote.accrual,
            bar.borrow,
            bar.idle,
        )
    if long_settles:
        end_inside(account, long, long_terms, long_quote, bar, LONG_SLOT, pair.long_settlement, long_terms.delivery_fee, EXPIRY, rule,
                   fills[account.fills])  # fmt: skip
        trade.exit_long = trade.settlement_price = pair.long_settlement
        trade.exited = max(trade.exited, pair.long_expiry)
    if short_settles:
        end_inside(
            account,
            short,
            short_terms,
            short_quote,
            bar,
            SHORT_SLOT,
            pair.short_settlement,
            short_terms.delivery_fee,
            EXPIRY,
            rule,
            fills[account.fills],
        )
        trade.exit_short = trade.settlement_price = pair.short_settlement
        trade.exited = max(trade.exited, pair.short_expiry)
    leave(account, long, short, bar, EXPIRY)
    return long_settles or short_settles


# ---------------------------------------------------------------- the step, second half: what the rule does at the close


@kernel
def sized(rule: Record, pair: Record, value: float, close: float) -> float:
    """Base quantity for an equity: whole lots, a count within 1e-9 of a whole number being that number; 0 if too small to trade."""
    quantity = rule.fraction * value / close
    if pair.lot > 0.0:
        quantity = math.floor(quantity / pair.lot * (1.0 + 1e-9)) * pair.lot
    return quantity if quantity > 0.0 and quantity * close >= pair.least_notional else 0.0


@kernel
def open_position(
    account: Record, rule: Record, pair: Record, long: Record, short: Record, t: int, number: int, side: int, value: float, close: float
) -> None:
    """Orders for the next open, if the size comes to something."""
    quantity = sized(rule, pair, value, close)
    if quantity == 0.0:
        return
    account.phase = OPENING
    account.side = side
    account.pair = number
    account.reason = NONE
    if rule.legs == 2:
        long.target = side * quantity
        short.target = -side * quantity
    elif rule.first_slot == 0:
        long.target = side * quantity
    else:
        short.target = -side * quantity
    account.exit_level = -rule.exit
    account.premium_level = np.inf
    account.loss_level = -np.inf
    account.time_bar = NEVER


@kernel
def reason_to_leave(account: Record, rule: Record, bar: Bar, value: float) -> int:
    """The first of stop, loss, days to expiry, time, signal that holds at this close."""
    if bar.premium >= account.premium_level:
        return STOP
    if account.started != 0 and value <= account.loss_level:
        return LOSS
    if bar.number >= account.days_bar:
        return DAYS
    if bar.number >= account.time_bar:
        return TIME
    if bar.exit_signal >= account.exit_level and account.exit_level < np.inf:
        return SIGNAL
    return NONE


@kernel
def drifted(rule: Record, exposure: float, value: float) -> bool:
    """True if |q|·close/(size·equity) has left [1/resize, resize]."""
    ratio = exposure / (rule.fraction * value)
    return ratio > rule.resize_factor or ratio < 1.0 / rule.resize_factor


@routine
def decide(
    account: Record, rule: Record, pair: Record, long: Record, short: Record, bar: Bar, long_quote: Quote, short_quote: Quote, trade: Record
) -> None:
    """While a trade is on: leave, resize or stay."""
    value = equity(account, long, short, bar, long_quote, short_quote)
    reason = reason_to_leave(account, rule, bar, value)
    if reason != NONE:
        leave(account, long, short, bar, reason)
        retire(account, trade, long, short)
    elif account.phase == HELD and rule.resize_factor < np.inf:
        first, quote = (long, long_quote) if rule.first_slot == 0 else (short, short_quote)
        if drifted(rule, abs(first.quantity) * quote.close, value):
            quantity = sized(rule, pair, value, quote.close)
            if quantity > 0.0 and quantity != abs(first.quantity):
                long.target = math.copysign(quantity, long.quantity) if long.quantity != 0.0 else 0.0
                short.target = math.copysign(quantity, short.quantity) if short.quantity != 0.0 else 0.0
                account.phase = RESIZING


# ---------------------------------------------------------------- the loop


@njit(forceinline=True, **FROM_PYTHON)
def first_reached(side: Side, i: int, end: int, level: float) -> int:
    """First position in [i, end) at or above level, else end: the rest of this block, blocks, the block that has it."""
    values, small, large = side
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


@routine
def first_entry(side: Side, t: int, end: int, level: float) -> int:
    """First bar in [t, end) whose entry signal is at or above level, else end."""
    return first_reached(side, t, end, level)


@routine
def first_exit(side: SideTapes, account: Record, long: Record, short: Record, pair: Record, t: int, end: int) -> int:
    """First bar in [t, end) at which signal, premium or margin leaves the box, else end."""
    start = pair.start
    if account.exit_level < np.inf:
        end = first_reached(side.exit, start + t, start + end, account.exit_level) - start
    if account.premium_level < np.inf:
        end = first_reached(side.premium, start + t, start + end, account.premium_level) - start
    if long.stress_level < np.inf:
        start = pair.long_start
        end = first_reached(side.long_stress, start + t, start + end, long.stress_level) - start
    if short.stress_level < np.inf:
        start = pair.short_start
        end = first_reached(side.short_stress, start + t, start + end, short.stress_level) - start
    return end


@routine
def first_by_equity(
    account: Record,
    rule: Record,
    exposure: float,
    index: Floats,
    rate: Floats,
    close: Floats,
    start: int,
    close_start: int,
    t: int,
    end: int,
) -> int:
    """First bar in [t, end) at which equity reaches its loss level or the size has drifted, else end: bar by bar, from the equity sum."""
    constant, coefficient, balance, loss_level = account.constant, account.coefficient, account.balance, account.loss_level
    resizes = rule.resize_factor < np.inf
    while t < end:
        value = constant + coefficient * index[start + t] + balance * rate[t + 1]
        if value <= loss_level or (resizes and drifted(rule, exposure * close[close_start + t], value)):
            return t
        t += 1
    return end


@kernel
def quote_of(tape: Floats, i: int, accrual_row: int) -> Quote:
    """A leg's bar from its tape."""
    before = max(i - 1, 0)
    return Quote(tape[OPEN, i], tape[CLOSE, i], tape[CLOSE, before], tape[MARK_HIGH, i], tape[MARK_LOW, i], tape[HALF_SPREAD, i],
                 tape[accrual_row, i], tape[accrual_row, before] if i > 0 else 0.0)  # fmt: skip


@kernel
def first_at(stamps: npt.NDArray[np.int64], instant: int, t: int) -> int:
    """First bar from t on whose stamp is at or after the instant; NEVER if the data end before."""
    low, high = t, stamps.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if stamps[middle] < instant:
            low = middle + 1
        else:
            high = middle
    return low if low < stamps.shape[0] else NEVER


@njit(cache=True, nogil=True, **FROM_PYTHON)
def advance(
    account: Record, legs: npt.NDArray[np.void], rule: Record, terms: npt.NDArray[np.void], tapes: Tapes, first_opened: int,
    ledger: npt.NDArray[np.void], fills: npt.NDArray[np.void], trades: npt.NDArray[np.void], first: int, final: int, jump: bool,
) -> int:  # fmt: skip
    """Run bars [first, final) and return the bar to go on with: `final`, or an earlier one when the logs need room first.

    With jump=False the step is taken at every bar: the same trades and the same numbers.
    """
    plus, minus, stamps, candidate, pairs, longs, shorts, rates = tapes
    borrow, idle = rates[BORROW], rates[IDLE]
    long, short, long_terms, short_terms = legs[0], legs[1], terms[0], terms[1]
    t = first
    while t < final:
        if (
            account.changes + ROWS_A_BAR > ledger.shape[0]
            or account.fills + ROWS_A_BAR > fills.shape[0]
            or account.trades + ROWS_A_BAR > trades.shape[0]
        ):
            return t
        if jump and long.target == long.quantity and short.target == short.quantity:
            if account.phase == FLAT:
                t = max(t, account.idle_until)
                end = final
                if t < end and rule.plus != 0:
                    end = first_entry(plus.entry, t, end, rule.enter)
                if t < end and rule.minus != 0:
                    end = first_entry(minus.entry, t, end, rule.enter)
                t = max(t, end)
            else:
                pair = pairs[account.pair]
                end = max(t, min(final, account.horizon))
                end = (
                    first_exit(plus, account, long, short, pair, t, end)
                    if account.side > 0
                    else first_exit(minus, account, long, short, pair, t, end)
                )
                if t < end and (account.loss_level > -np.inf or rule.resize_factor < np.inf):
                    index = plus.pair_index if account.side > 0 else minus.pair_index
                    rate = borrow if account.balance < 0.0 else idle
                    if rule.first_slot == 0:
                        end = first_by_equity(
                            account, rule, abs(long.quantity), index, rate, longs[CLOSE], pair.start, pair.long_start, t, end
                        )
                    else:
                        end = first_by_equity(
                            account, rule, abs(short.quantity), index, rate, shorts[CLOSE], pair.start, pair.short_start, t, end
                        )
                t = end
            if t >= final:
                break
        # ---- the step
        opened = stamps[t - 1] if t > 0 else first_opened
        if account.phase != FLAT:
            pair = pairs[account.pair]
            side = account.side
            i = pair.start + min(t, pair.last)
            index = plus.pair_index[i] if side > 0 else minus.pair_index[i]
            exit_signal = premium = np.nan  # tapes that no rule asks for are empty
            if rule.exit > -np.inf:
                exit_signal = plus.exit.values[i] if side > 0 else minus.exit.values[i]
            if rule.stop < np.inf:
                premium = plus.premium.values[i] if side > 0 else minus.premium.values[i]
            bar = Bar(t, opened, stamps[t], borrow[t + 1], borrow[t], idle[t + 1], idle[t], index, exit_signal, premium)
            long_quote = quote_of(longs, pair.long_start + min(t, pair.long_last), ACCRUAL_LONG if side > 0 else ACCRUAL_SHORT)
            short_quote = quote_of(shorts, pair.short_start + min(t, pair.short_last), ACCRUAL_SHORT if side > 0 else ACCRUAL_LONG)
            trade = trades[account.trades]
            started = account.started
            if long.target != long.quantity or short.target != short.quantity:
                changed = fill_orders(account, rule, long, short, long_terms, short_terms, bar, long_quote, short_quote, trade, fills)
                if changed:
                    if started == 0:
                        account.loss_level = account.entry_equity * (1.0 - rule.loss)
                        account.time_bar = first_at(stamps, opened + rule.max_hold, t) if rule.max_hold < NEVER else NEVER
                        account.horizon = min(account.time_bar, account.days_bar, pair.long_expiry_bar, pair.short_expiry_bar)
                    after_fills(account, rule, long, short, trade)
                    rebase(account, rule, long, short, bar.borrow_before, bar.idle_before)
                    guard(long, long_terms, rule, spare_cash(account, rule))
                    guard(short, short_terms, rule, spare_cash(account, rule))
                    record(account, long, short, bar, ledger[account.changes])
            inside = check_margin(account, rule, long, short, long_terms, short_terms, bar, long_quote, short_quote, trade, fills)
            if inside:
                rebase(account, rule, long, short, bar.borrow, bar.idle)
            settled = settle(account, rule, long, short, long_terms, short_terms, bar, long_quote, short_quote, pair, trade, fills)
            if inside or settled:
                rebase(account, rule, long, short, bar.borrow, bar.idle)
                guard(long, long_terms, rule, spare_cash(account, rule))
                guard(short, short_terms, rule, spare_cash(account, rule))
                record(account, long, short, bar, ledger[account.changes])
            called_off = account.phase == OPENING and account.started == 0
            retire(account, trade, long, short)
            if account.phase != FLAT and account.phase != CLOSING:
                decide(account, rule, pair, long, short, bar, long_quote, short_quote, trade)
                called_off = called_off and account.phase == FLAT
            else:
                called_off = False
            if account.phase == FLAT and not called_off:
                account.idle_until = (
                    first_at(stamps, account.exit_time + rule.cooldown, t) if rule.cooldown > 0 and account.trades > 0 else t
                )
        else:
            called_off = False
        if account.phase == FLAT and not called_off and t >= account.idle_until and candidate[t] >= 0:
            number = candidate[t]
            pair = pairs[number]
            side = (
                1
                if rule.plus != 0 and plus.entry.values[t] >= rule.enter
                else -1
                if rule.minus != 0 and minus.entry.values[t] >= rule.enter
                else 0
            )
            if side != 0:
                value = account.constant + account.balance * (borrow[t + 1] if account.balance < 0.0 else idle[t + 1])
                close = longs[CLOSE, pair.long_start + t] if rule.first_slot == 0 else shorts[CLOSE, pair.short_start + t]
                open_position(account, rule, pair, long, short, t, number, side, value, close)
                if account.phase == OPENING:
                    account.days_bar = (
                        first_at(stamps, pair.expiry - rule.expiry_nanoseconds, t)
                        if rule.expiry_nanoseconds < NEVER and pair.expiry < NEVER
                        else NEVER
                    )
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
def add_leg(out: Floats, quantity: float, tape: Floats, start: int) -> None:
    """Out += quantity · leg index, from a position of its tape on."""
    add_linear(out, quantity, 0.0, tape[CLOSE][start : start + out.shape[0]])
    add_linear(out, quantity, 0.0, tape[ACCRUAL_LONG if quantity > 0.0 else ACCRUAL_SHORT][start : start + out.shape[0]])


@njit(cache=True, nogil=True, **FROM_PYTHON)
def fill_equity(
    out: Floats, ledger: npt.NDArray[np.void], rows: int, pairs: npt.NDArray[np.void], plus_index: Floats, minus_index: Floats,
    long: Floats, short: Floats, rates: Floats, capital: float,
) -> None:  # fmt: skip
    """Equity at every close, from the ledger of changes.

    Slices, so that every loop runs from 0: with `index[start + t]` a test for negative indices stays in the loop, and no SIMD (4x slower).
    """
    n = out.shape[0]
    end = ledger[0].bar if rows > 0 else n
    rate = rates[BORROW] if capital < 0.0 else rates[IDLE]
    out[:end] = capital
    add_linear(out[:end], capital, 0.0, rate[1 : end + 1])
    for r in range(rows):
        row = ledger[r]
        begin, end = row.bar, ledger[r + 1].bar if r + 1 < rows else n
        if end <= begin:
            continue
        target = out[begin:end]
        money = rates[BORROW] if row.balance < 0.0 else rates[IDLE]
        rate = money[begin + 1 : end + 1]
        pair = pairs[row.pair]
        constant, balance, coefficient = row.constant, row.balance, row.coefficient
        if row.hedged != 0:
            whole = plus_index if row.side > 0 else minus_index
            index = whole[pair.start + begin : pair.start + end]
            for t in range(target.shape[0]):
                target[t] = constant + coefficient * index[t] + balance * rate[t]
            continue
        target[:] = constant
        add_linear(target, balance, 0.0, rate)
        if row.long_quantity != 0.0:
            add_leg(target, row.long_quantity, long, pair.long_start + begin)
        if row.short_quantity != 0.0:
            add_leg(target, row.short_quantity, short, pair.short_start + begin)


@njit(cache=True, nogil=True, **FROM_PYTHON)
def fill_sources(
    out: Floats,
    ledger: npt.NDArray[np.void],
    booked: Floats,
    rows: int,
    pairs: npt.NDArray[np.void],
    long: Floats,
    short: Floats,
    rates: Floats,
    derivative: npt.NDArray[np.bool_],
    legs: int,
    capital: float,
) -> None:
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
        money, rate = (FINANCING_ROW, rates[BORROW]) if row.balance < 0.0 else (IDLE_CASH_ROW, rates[IDLE])
        add_linear(out[money][begin:end], row.balance, row.rate_reference, rate[begin + 1 : end + 1])
        pair = pairs[row.pair]
        together = legs == 1 or (row.long_quantity != 0.0 and row.short_quantity != 0.0)
        if row.long_quantity != 0.0:
            start = pair.long_start + begin
            price, earning, accrual = source_rows(0, together, derivative[0], row.long_quantity)
            add_linear(out[price][begin:end], row.long_quantity, row.long_reference, long[CLOSE][start : start + end - begin])
            add_linear(out[earning][begin:end], row.long_quantity, row.long_accrual, long[accrual][start : start + end - begin])
        if row.short_quantity != 0.0:
            start = pair.short_start + begin
            price, earning, accrual = source_rows(1, together, derivative[1], row.short_quantity)
            add_linear(out[price][begin:end], row.short_quantity, row.short_reference, short[CLOSE][start : start + end - begin])
            add_linear(out[earning][begin:end], row.short_quantity, row.short_accrual, short[accrual][start : start + end - begin])


@kernel
def source_rows(slot: int, together: bool, derivative: bool, quantity: float) -> tuple[int, int, int]:
    """Where a slot's gain and its accrual are posted, and the tape row of the accrual: the same choices as in `book`."""
    price = slot if together else LEGGING_ROW
    earning = FUNDING_ROW if derivative else STAKING_ROW if quantity > 0.0 else BORROW_ROW
    return price, earning, ACCRUAL_LONG if quantity > 0.0 else ACCRUAL_SHORT
