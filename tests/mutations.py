"""Proof that the suite can fail: known faults are put into a copy of the engine, one at a time, and the quick tests must catch every one.

    python tests/mutations.py               # all of them, one line each; exit code 1 if one survives
    python tests/mutations.py funding fee   # those whose names contain one of the words

The quick tests are the golden cases, then the tests at the end of this file, without the compiler. Faults that no run could tell from the engine
are not in the table. A text that isn't found exactly once is an error, so the table can't rot.
"""

import contextlib
import io
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
AT_A_TIME, LONGEST = 2, 120
PLAIN_OPTIONS = "-x -q -p no:cacheprovider -p no:xdist -W error -W ignore::pytest.PytestAssertRewriteWarning"  # preloaded: not rewritten
SEEDS, WALKED_SEEDS = 100, 40
QUICK_TESTS = ("tests/test_golden.py", "tests/mutations.py")
KERNELS, TAPES, SIMULATE, MARKET, CURVE = (f"backtest/{name}.py" for name in ("kernels", "tapes", "simulate", "market", "curve/prices"))


class Fault(NamedTuple):
    """What is wrong, in which file, and the texts of it that are replaced: (old, new)."""

    name: str
    file: str
    changes: tuple[tuple[str, str], ...]


def fault(name: str, file: str, *changes: tuple[str, str]) -> Fault:
    return Fault(name, file, changes)


ORDERS = "            if long.target != long.quantity or short.target != short.quantity:\n                changed = "
MARGIN = (
    "            inside = check_margin(account, rule, long, short, long_terms, short_terms, bar, long_quote, short_quote, trade, fills)\n"
)
SETTLE = (
    "            settled = settle(account, rule, long, short, long_terms, short_terms, bar, long_quote, short_quote, pair, trade, fills)\n"
)
DECIDE = "                decide(account, rule, pair, long, short, bar, long_quote, short_quote, trade)\n"
EARLY = f"            if account.phase == HELD:\n{DECIDE}"
CLOSE_AT_THE_END = """            if t + 1 == stamps.shape[0] and account.phase == HELD:
                leave(account, long, short, bar, END)
                bar = bar._replace(opened=bar.stamp, borrow_before=bar.borrow, idle_before=bar.idle)
                long_quote = long_quote._replace(open=long_quote.close, accrual_before=long_quote.accrual)
                short_quote = short_quote._replace(open=short_quote.close, accrual_before=short_quote.accrual)
                fill_orders(account, rule, long, short, long_terms, short_terms, bar, long_quote, short_quote, trade, fills)
                rebase(account, rule, long, short, bar.borrow, bar.idle)
                record(account, long, short, bar, ledger[account.changes])
"""
SHORT_FIRST = """    if short_terms.derivative != 0 and short.quantity != 0.0 and breached(short, short_terms, short_quote, spare_cash(account, rule)):
        others = (long, short, long_terms, short_terms, bar, long_quote, short_quote)
        liquidate(account, rule, short, long, short_terms, *others, 1, trade, fills[account.fills])
        rebase(account, rule, long, short, bar.borrow, bar.idle)
        changed = True
"""
CALLED_OFF = "            called_off = account.phase == OPENING and account.started == 0\n"
PLUS_OR_MINUS = """                1
                if rule.plus != 0 and plus.entry.values[t] >= rule.enter
                else -1
                if rule.minus != 0 and minus.entry.values[t] >= rule.enter
                else 0
"""
MINUS_OR_PLUS = """                -1
                if rule.minus != 0 and minus.entry.values[t] >= rule.enter
                else 1
                if rule.plus != 0 and plus.entry.values[t] >= rule.enter
                else 0
"""

# fmt: off
FAULTS = [
    # the order of a bar
    fault("order: funding before fills", KERNELS, ("tape[accrual_row, before] if i > 0 else 0.0", "tape[accrual_row, i]")),
    fault("order: interest before fills", KERNELS,
          ("borrow[t + 1], borrow[t], idle[t + 1], idle[t],", "borrow[t + 1], borrow[t + 1], idle[t + 1], idle[t + 1],")),
    fault("order: margin before fills", KERNELS, (MARGIN, ""), (ORDERS, MARGIN + ORDERS)),
    fault("order: margin before funding", KERNELS,
          ("quote.accrual - leg.entry_accrual) + leg.quantity * (mark",
           "quote.accrual_before - leg.entry_accrual) + leg.quantity * (mark")),
    fault("order: expiry before margin", KERNELS, (SETTLE, ""), (MARGIN, SETTLE + MARGIN)),
    fault("order: expiry before fills", KERNELS, (SETTLE, ""), (ORDERS, SETTLE + ORDERS)),
    fault("order: decision before margin", KERNELS, (MARGIN, EARLY + MARGIN)),
    fault("order: decision before expiry", KERNELS, (SETTLE, EARLY + SETTLE)),
    fault("order: decision before fills", KERNELS, (ORDERS, EARLY + ORDERS)),
    fault("order: decision filled at the open of its own bar", KERNELS, ("Quote(tape[OPEN, i]", "Quote(tape[OPEN, before]")),
    fault("order: short slot's margin first", KERNELS,
          ("    if short_terms.derivative != 0 and short.quantity", "    if False and short.quantity"),
          ("    changed = False\n    if long_terms", f"    changed = False\n{SHORT_FIRST}    if long_terms")),
    fault("order: no entry at the close of a bar that ended a trade", KERNELS,
          ("if rule.cooldown > 0 and account.trades > 0 else t\n", "if rule.cooldown > 0 and account.trades > 0 else t + 1\n")),
    # fills and their costs
    fault("fee on the reference", KERNELS, ("fee = terms.fee * abs(change) * price", "fee = terms.fee * abs(change) * quote.open")),
    fault("fee not taken from the balance", KERNELS, ("    account.balance -= fee\n", "")),
    fault("slippage sign", KERNELS, ("account.slippage -= slippage", "account.slippage += slippage")),
    fault("slippage on the fill price", KERNELS,
          ("slippage = abs(change) * quote.open * half_spread", "slippage = abs(change) * price * half_spread")),
    fault("fill price on the better side", KERNELS, ("math.copysign(half_spread, change)", "math.copysign(half_spread, -change)")),
    fault("half-spread of the bar that fills", TAPES,
          ("before = slice(known.start - 1, known.stop - 1)", "before = known")),
    fault("whole spread for half of it", TAPES, ("/ (ask[before] + bid[before])", "/ (ask[before] + bid[before]) * 2.0")),
    fault("unknown quote taken as no spread", KERNELS,
          ("quote.half_spread >= 0.0 else terms.half_spread", "quote.half_spread >= 0.0 else 0.0")),
    fault("delivery fee on the entry", KERNELS,
          ("fee = fee_rate * abs(leg.quantity) * price",
           "fee = fee_rate * abs(leg.quantity) * (price if reason == LIQUIDATION else leg.entry)")),
    fault("liquidation fee on the entry", KERNELS,
          ("fee = fee_rate * abs(leg.quantity) * price",
           "fee = fee_rate * abs(leg.quantity) * (leg.entry if reason == LIQUIDATION else price)")),
    fault("delivery fee credited", KERNELS, ("account.settlement -= fee", "account.settlement += fee")),
    fault("missing open fills", KERNELS,
          ("leg.target != leg.quantity and not quote.open > 0.0", "leg.target != leg.quantity and quote.open <= 0.0")),
    # funding
    fault("funding sign", TAPES, ("np.nan_to_num(-rates * marks)", "np.nan_to_num(rates * marks)")),
    fault("funding on the first price", TAPES, ("np.nan_to_num(-rates * marks)", "np.nan_to_num(-rates * marks[:1])")),
    fault("funding on the last close", TAPES, ('for column in ("mark", "close"):', 'for column in ("close",):')),
    fault("funding on the last close before the mark", TAPES, ('for column in ("mark", "close"):', 'for column in ("close", "mark"):')),
    fault("funding without the event's own mark", TAPES,
          ("np.where(np.isnan(marks) & (place >= 0)", "np.where((column == \"mark\") & (place >= 0)")),
    fault("funding on a price of the future", TAPES,
          ('place = np.searchsorted(market.stamps, times, "right") - 1', 'place = np.searchsorted(market.stamps, times, "left")')),
    fault("funding at a bar's end counted in the next", TAPES,
          ('bar = np.searchsorted(market.stamps, times, "left")', 'bar = np.searchsorted(market.stamps, times, "right")')),
    fault("funding paid into the balance twice", KERNELS,
          ("        if terms.derivative != 0:\n            account.funding += earned\n",
           "        if terms.derivative != 0:\n            account.funding += earned\n            account.balance += earned\n")),
    fault("funding forgotten at the fill that closes", KERNELS,
          ("account.balance += leg.quantity * (quote.accrual_before - leg.entry_accrual)", "pass")),
    # what runs by the clock
    fault("financing and idle rates swapped", KERNELS, ("BORROW, IDLE = range(2)", "IDLE, BORROW = range(2)")),
    fault("financing sign", KERNELS, ("interest = account.balance * (borrow -", "interest = -account.balance * (borrow -")),
    fault("interest on the collateral", KERNELS,
          ("        account.balance -= leg.collateral\n", ""),
          ("account.balance += leg.collateral + leg.quantity", "account.balance += leg.quantity")),
    fault("interest on the proceeds of a short spot", KERNELS,
          ("terms.derivative != 0 or leg.quantity < 0.0 or leg.target < 0.0:", "terms.derivative != 0:")),
    fault("staking sign", TAPES, ('= coin_accrual(market, name, "staking_yield")', '= -coin_accrual(market, name, "staking_yield")')),
    fault("staking without stake", TAPES,
          ("        if stake:\n", '        if "staking_yield" in market.series_names:\n')),
    fault("staking kept from the balance", KERNELS,
          ("            account.staking += earned\n            account.balance += earned\n", "            account.staking += earned\n")),
    fault("borrow sign", TAPES, ('= coin_accrual(market, name, "borrow_base")', '= -coin_accrual(market, name, "borrow_base")')),
    fault("rates of money as known at the bar's end", SIMULATE, ("market.series(series, before=True)", "market.series(series)")),
    fault("rates of a coin as known at the bar's end", TAPES, ("market.series(series, before=True)", "market.series(series)")),
    fault("year of 360 days", MARKET, ("YEAR = 365 * DAY", "YEAR = 360 * DAY")),
    # margin
    fault("collateral not divided by leverage", KERNELS, ("abs(leg.target) * price / terms.leverage", "abs(leg.target) * price")),
    fault("worst mark on the wrong side", KERNELS,
          ("mark = quote.low if leg.quantity > 0.0 else quote.high", "mark = quote.high if leg.quantity > 0.0 else quote.low")),
    fault("margin at the close", KERNELS, ("mark = quote.low if leg.quantity > 0.0 else quote.high", "mark = quote.close")),
    fault("extremes of trades for those of the mark", TAPES,
          ("extreme = np.where(np.isnan(raw(mark)), extreme, raw(mark))", "pass")),
    fault("maintenance deduction ignored in the check", KERNELS, ("terms.tier_rate[k] - terms.tier_deduction[k]", "terms.tier_rate[k]")),
    fault("maintenance deduction ignored in the breach of a short", KERNELS,
          ("(bound + rate * accrual + deduction)", "(bound + rate * accrual)")),
    fault("maintenance deduction ignored in the breach of a long", KERNELS,
          ("(bound - rate * accrual - deduction)", "(bound - rate * accrual)")),
    fault("tier below the notional's in the check", KERNELS,
          ("notional > terms.tier_floor[k + 1]", "notional > 1.1 * terms.tier_floor[k + 1]")),
    fault("first tier for all in the check", KERNELS, ("while k + 1 < terms.tiers and", "while k + 1 < 1 and")),
    fault("first tier for all in the breach of a short", KERNELS, ("if k + 1 == terms.tiers or quantity", "if k >= 0 or quantity")),
    fault("last tier for all in the breach of a long", KERNELS, ("if k == 0 or quantity", "if k >= 0 or quantity")),
    fault("cross without the spare cash", KERNELS, ("return max(account.balance, 0.0)", "return 0.0")),
    fault("cross charged with the debt", KERNELS, ("return max(account.balance, 0.0)", "return account.balance")),
    fault("isolated draws on cash", KERNELS, ("if rule.margin == CROSS:", "if rule.margin != OFF:")),
    fault("margin off liquidates", KERNELS, ("    if rule.margin == OFF:\n        return False\n", "")),
    fault("absorbed loss dropped", KERNELS, ("absorbed = max(-paid_out, 0.0) if rule.margin == ISOLATED else 0.0", "absorbed = 0.0")),
    fault("absorbed loss in cross mode", KERNELS, ("max(-paid_out, 0.0) if rule.margin == ISOLATED else 0.0", "max(-paid_out, 0.0)")),
    fault("liquidation at the better of breach and open", KERNELS,
          ("max(price, traded) if leg.quantity < 0.0 else min(price, traded)",
           "min(price, traded) if leg.quantity < 0.0 else max(price, traded)")),
    fault("liquidation at the breach though it opened beyond", KERNELS,
          ("max(price, traded) if leg.quantity < 0.0 else min(price, traded)", "price")),
    fault("settlement without the interest of its bar", KERNELS,
          ("            long_quote.accrual,\n            short_quote.accrual,\n            bar.borrow,\n            bar.idle,\n        )\n    if long_settles",
           "            long_quote.accrual,\n            short_quote.accrual,\n            bar.borrow_before,\n            bar.idle_before,\n        )\n    if long_settles")),
    fault("liquidation without the interest of its bar", KERNELS,
          ("        bar.borrow,\n        bar.idle,\n    )\n    end_inside", "        bar.borrow_before,\n        bar.idle_before,\n    )\n    end_inside")),
    fault("guard without the funding to come", KERNELS,
          ("level = breach(leg, terms, spare, terms.least_accrual)", "level = breach(leg, terms, spare, 0.0)")),
    # the other leg
    fault("leg beside a liquidation valued at its close", KERNELS,
          ("price if slot == 1 else alongside * short_quote.close", "price if slot == 1 else short_quote.close"),
          ("price if slot == 0 else alongside * long_quote.close", "price if slot == 0 else long_quote.close")),
    fault("leg beside a fill valued at its last close", KERNELS,
          ("long_quote.open if long_quote.open > 0.0 else long_quote.close_before,", "long_quote.close_before,")),
    fault("legging posted as price", KERNELS, ("    together = rule.legs == 1 or (long", "    together = rule.legs >= 1 or (long")),
    fault("one leg posted as legging", KERNELS, ("    together = rule.legs == 1 or (long", "    together = (long")),
    fault("other leg kept after a forced end", KERNELS,
          ("    long.target = short.target = 0.0\n    account.exit_level", "    account.exit_level")),
    # expiry
    fault("settlement at the close", KERNELS,
          ("long_price = pair.long_settlement if long_settles else long_quote.close", "long_price = long_quote.close"),
          ("short_price = pair.short_settlement if short_settles else short_quote.close", "short_price = short_quote.close"),
          ("            SHORT_SLOT,\n            pair.short_settlement,", "            SHORT_SLOT,\n            short_quote.close,"),
          ("long_quote, bar, LONG_SLOT, pair.long_settlement,", "long_quote, bar, LONG_SLOT, long_quote.close,")),
    fault("settlement price booked and the close paid out", KERNELS,
          ("            SHORT_SLOT,\n            pair.short_settlement,", "            SHORT_SLOT,\n            short_quote.close,")),
    fault("expiry one bar late", TAPES,
          ("bars = np.searchsorted(market.stamps, ends)\n", 'bars = np.searchsorted(market.stamps, ends, "right")\n')),
    fault("settled at the end of its bar", KERNELS,
          ("trade.exited = max(trade.exited, pair.short_expiry)", "trade.exited = max(trade.exited, bar.stamp)")),
    fault("contract offered when it expires", CURVE, ("open_to_entry = (ahead > 0)", "open_to_entry = (ahead >= 0)")),
    fault("min_days exclusive", CURVE, ("ahead >= round(leg.min_days * DAY)", "ahead > round(leg.min_days * DAY)")),
    fault("min_days ignored", CURVE, ("ahead >= round(leg.min_days * DAY)", "ahead > 0")),
    # entries and sizes
    fault("enter exclusive", KERNELS,
          ("if rule.plus != 0 and plus.entry.values[t] >= rule.enter", "if rule.plus != 0 and plus.entry.values[t] > rule.enter")),
    fault("missing signal enters", KERNELS,
          ("if rule.plus != 0 and plus.entry.values[t] >= rule.enter", "if rule.plus != 0 and not plus.entry.values[t] < rule.enter"),
          ("        if jump and long", "        if False and long")),
    fault("side −1 tried first", KERNELS, (PLUS_OR_MINUS, MINUS_OR_PLUS)),
    fault("side −1 buys", KERNELS,
          ("        long.target = side * quantity\n        short.target = -side * quantity\n",
           "        long.target = quantity\n        short.target = -quantity\n")),
    fault("side −1 of one leg buys", KERNELS,
          ("    elif rule.first_slot == 0:\n        long.target = side * quantity",
           "    elif rule.first_slot == 0:\n        long.target = quantity")),
    fault("legs swapped", KERNELS,
          ("        long.target = side * quantity\n        short.target = -side * quantity\n",
           "        long.target = -side * quantity\n        short.target = side * quantity\n")),
    fault("entry signal not mirrored", TAPES, ("np.where(offering, sign * table[", "np.where(offering, table[")),
    fault("entry signal of the other side", TAPES, ("both_sides(rule.signal)[which]", "both_sides(rule.signal)[0]")),
    fault("stale close enters", CURVE, ("(ahead > 0) & ~np.isnan(closes(market, leg))", "(ahead > 0)")),
    fault("called off and entered at one close", KERNELS, ("called_off = called_off and account.phase == FLAT", "called_off = False")),
    fault("lots rounded up", KERNELS, ("math.floor(quantity / pair.lot", "math.ceil(quantity / pair.lot")),
    fault("lots without tolerance", KERNELS, ("* (1.0 + 1e-9)) * pair.lot", ") * pair.lot")),
    fault("finer lot of the two", TAPES,
          ('np.maximum(records["lot"],', 'np.minimum(np.where(records["lot"] > 0, records["lot"], np.inf),')),
    fault("least notional exclusive", KERNELS, ("quantity * close >= pair.least_notional", "quantity * close > pair.least_notional")),
    fault("least notional of one leg", TAPES, ('np.maximum(records["least_notional"], [', '([')),
    fault("size from the capital", KERNELS,
          ("    quantity = rule.fraction * value / close", "    quantity = rule.fraction * 10_000.0 / close")),
    # exits
    fault("exit exclusive", KERNELS, ("bar.exit_signal >= account.exit_level", "bar.exit_signal > account.exit_level")),
    fault("exit signal not mirrored", TAPES, ("layout.spread(-sign * table_of", "layout.spread(-table_of")),
    fault("exit signal of the other side", TAPES,
          ("both_sides(rule.exit_signal, rule.signal)[which]", "both_sides(rule.exit_signal, rule.signal)[0]")),
    fault("stop exclusive", KERNELS, ("bar.premium >= account.premium_level", "bar.premium > account.premium_level")),
    fault("stop not mirrored", TAPES, ("side_of(sign * layout.spread(premium_rows", "side_of(layout.spread(premium_rows")),
    fault("stop from the fill prices", KERNELS,
          ("account.side * (trade.entry_short - trade.entry_long) / trade.entry_long",
           "account.side * (short.entry / long.entry - 1.0 if long.entry > 0.0 else short.entry * 0.95 / trade.entry_long - 1.0)")),
    fault("stop from the close of the decision", KERNELS,
          ("trade.entry_short = short_quote.open", "trade.entry_short = short_quote.close_before")),
    fault("loss exclusive", KERNELS, ("value <= account.loss_level", "value < account.loss_level")),
    fault("loss of the capital", KERNELS,
          ("account.loss_level = account.entry_equity * (1.0 - rule.loss)", "account.loss_level = account.capital * (1.0 - rule.loss)")),
    fault("loss from the equity after the first fill", KERNELS,
          ("account.loss_level = account.entry_equity * (1.0 - rule.loss)", "account.loss_level = booked(account) * (1.0 - rule.loss)")),
    fault("days to expiry exclusive", KERNELS, ("bar.number >= account.days_bar", "bar.number > account.days_bar")),
    fault("max_hold from the decision", KERNELS,
          ('("reason", i8), ("started", i8)', '("reason", i8), ("decided", i8), ("started", i8)'),
          ("    account.reason = NONE\n", "    account.reason = NONE\n    account.decided = t\n"),
          ("first_at(stamps, opened + rule.max_hold, t)", "first_at(stamps, stamps[account.decided] + rule.max_hold, t)")),
    fault("max_hold from the first close", KERNELS,
          ("first_at(stamps, opened + rule.max_hold, t)", "first_at(stamps, stamps[t] + rule.max_hold, t)")),
    fault("limits of time exclusive", KERNELS, ("if stamps[middle] < instant:", "if stamps[middle] <= instant:")),
    fault("cooldown from the decision", KERNELS,
          ('("reason", i8), ("started", i8)', '("reason", i8), ("decided", i8), ("started", i8)'),
          ("        account.reason = reason\n", "        account.reason = reason\n        account.decided = bar.number\n"),
          ("first_at(stamps, account.exit_time + rule.cooldown, t)", "first_at(stamps, stamps[account.decided] + rule.cooldown, t)")),
    fault("cooldown ignored", KERNELS, ("and t >= account.idle_until and", "and"), ("t = max(t, account.idle_until)", "t = max(t, 0)")),
    fault("liquidation at the beginning of its bar", KERNELS,
          ("trade.exited = max(trade.exited, bar.stamp)", "trade.exited = max(trade.exited, bar.opened)")),
    fault("loss before stop", KERNELS,
          ("    if bar.premium >= account.premium_level:\n        return STOP\n", ""),
          ("        return LOSS\n", "        return LOSS\n    if bar.premium >= account.premium_level:\n        return STOP\n")),
    fault("signal before time", KERNELS,
          ("    if bar.number >= account.time_bar:\n        return TIME\n", ""),
          ("        return SIGNAL\n", "        return SIGNAL\n    if bar.number >= account.time_bar:\n        return TIME\n")),
    fault("end of data closes", KERNELS, (CALLED_OFF, CLOSE_AT_THE_END + CALLED_OFF)),
    # resize
    fault("resize upwards only", KERNELS,
          ("ratio > rule.resize_factor or ratio < 1.0 / rule.resize_factor", "ratio < 1.0 / rule.resize_factor")),
    fault("resize downwards only", KERNELS,
          ("ratio > rule.resize_factor or ratio < 1.0 / rule.resize_factor", "ratio > rule.resize_factor")),
    fault("resize at the edge of its band", KERNELS,
          ("ratio > rule.resize_factor or ratio < 1.0 / rule.resize_factor",
           "ratio >= rule.resize_factor or ratio <= 1.0 / rule.resize_factor")),
    fault("resize keeps the old entry", KERNELS,
          ("        leg.entry = price\n", "        leg.entry = price if leg.quantity == 0.0 else leg.entry\n")),
    fault("resize of the first slot only", KERNELS,
          ("short.target = math.copysign(quantity, short.quantity) if short.quantity != 0.0 else 0.0", "short.target = short.quantity")),
    # trades and columns
    fault("reason overwritten while the exit waits", KERNELS, ("    if account.phase != CLOSING:\n        account.phase", "    if True:\n        account.phase")),
    fault("pnl since the beginning of the run", KERNELS,
          ("trade.pnl = booked(account) - account.entry_equity", "trade.pnl = booked(account) - account.capital")),
    fault("attribution since the beginning of the run", KERNELS, ("    post_sources(trade, account, -1.0)\n", "")),
    fault("column of a debt's interest", KERNELS, ("(FINANCING_ROW, rates[BORROW]) if row", "(IDLE_CASH_ROW, rates[BORROW]) if row")),
    fault("size by the other slot's close", KERNELS,
          ("if rule.first_slot == 0 else shorts[CLOSE, pair.short_start + t]", "if rule.legs == 1 and rule.first_slot == 0 else shorts[CLOSE, pair.short_start + t]")),
    fault("farthest contract of a chain", CURVE,
          ("open_to_entry.argmax(axis=0)", "len(open_to_entry) - 1 - open_to_entry[::-1].argmax(axis=0)")),
    # jumping is walking
    fault("jump over a large block from inside it", KERNELS, ("if block & (BLOCKS - 1) == 0 and not large", "if not large")),
    fault("jump one block too far", KERNELS, ("block += BLOCKS\n", "block += BLOCKS + 1\n")),
    fault("jump past a tie", KERNELS, ("elif small[block] >= level:", "elif small[block] > level:")),
    fault("jump past a large block's tie", KERNELS,
          ("not large[block >> BLOCKS_BITS] >= level", "not large[block >> BLOCKS_BITS] > level")),
    fault("first block ends a bar early", KERNELS, ("stop = min(end, (i | (SMALL - 1)) + 1)", "stop = min(end, i | (SMALL - 1))")),
    fault("block maxima lost to NaN", TAPES,
          ("np.fmax.reduce(whole.reshape(-1, k.SMALL), axis=1)", "np.maximum.reduce(whole.reshape(-1, k.SMALL), axis=1)")),
    fault("jump over an expiry", KERNELS,
          ("account.days_bar, pair.long_expiry_bar, pair.short_expiry_bar)", "account.days_bar, pair.long_expiry_bar)")),
    fault("jump over a loss", KERNELS, ("if value <= loss_level or", "if value < 0.99 * loss_level or")),
    fault("jump over the margin of the long slot", KERNELS, ("if long.stress_level < np.inf:", "if long.stress_level < -np.inf:")),
    fault("logs too small", KERNELS, ("account.fills + ROWS_A_BAR > fills.shape[0]", "account.fills > fills.shape[0]")),
]
# fmt: on


# ---------------------------------------------------------------- running


def copy_of_the_engine(folder: Path) -> None:
    for name in ("backtest", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


def inject(one: Fault, folder: Path) -> str:
    """Replace the texts; a complaint if one of them isn't there exactly once."""
    path = folder / one.file
    text = path.read_text()
    for old, new in one.changes:
        if text.count(old) != 1:
            return f"{one.file} has this text {text.count(old)} times, not once: {old.strip()!r}"
        text = text.replace(old, new)
    path.write_text(text)
    return ""


class FirstFailure:
    """A pytest plugin that keeps the name of the first failing test and what it says."""

    text = ""

    def keep(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed and not self.text:
            message = getattr(getattr(report.longrepr, "reprcrash", None), "message", str(report.longrepr))
            self.text = f"{report.nodeid.split('::')[-1]}: {' '.join(message.split())}"

    pytest_runtest_logreport = pytest_collectreport = keep


def quick_tests(folder: Path) -> str:
    """The first failing test and what it says; empty if all pass."""
    sys.path[:] = [str(folder), *(place for place in sys.path if Path(place).resolve() not in (ROOT, ROOT / "tests"))]
    os.chdir(folder)
    first = FirstFailure()
    # Hypothesis would shrink its example for minutes; what its tests claim is claimed by the others too.
    options = ["-m", "not hypothesis", "-c", os.devnull, "--rootdir", str(folder), *PLAIN_OPTIONS.split()]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main([*options, *QUICK_TESTS], plugins=[first])
    assert Path(sys.modules["backtest"].__file__ or "").is_relative_to(folder), "the tests ran against another copy"
    return first.text if first.text or code == 0 else f"pytest ended with {code}: {said.getvalue()[-300:]}"


def take_too_long(*_: object) -> None:
    raise TimeoutError(f"not done after {LONGEST} s")


def trial(one: Fault | None) -> tuple[bool, str]:
    """Whether the fault was caught (without one: whether all tests pass), and the line to print. Runs in a process of its own."""
    begin = time.perf_counter()
    signal.signal(signal.SIGALRM, take_too_long)
    signal.alarm(LONGEST)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copy_of_the_engine(folder)
        complaint = inject(one, folder) if one is not None else ""
        failure = "" if complaint else quick_tests(folder)
        os.chdir(ROOT)
    good = not complaint and bool(failure) == (one is not None)
    verdict = complaint or failure or ("SURVIVED" if one is not None else "all tests pass")
    return good, f"{one.name if one is not None else 'no fault'} | {verdict[:150]} | {time.perf_counter() - begin:.1f} s"


def main(words: list[str]) -> int:
    chosen = [one for one in FAULTS if not words or any(word in one.name for word in words)]
    if not chosen:
        print(f"no fault is called {' or '.join(words)}")
        return 2
    begin, as_expected = time.perf_counter(), 0
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    processes = multiprocessing.get_context("forkserver")  # each trial begins with the imports done
    processes.set_forkserver_preload(["numba", "pandas", "hypothesis", "pytest"])
    with ProcessPoolExecutor(AT_A_TIME, mp_context=processes, max_tasks_per_child=1) as pool:
        for good, line in pool.map(trial, [None, *chosen]):
            print(line, flush=True)
            as_expected += good
    print(
        f"{as_expected} of {len(chosen) + 1} trials as expected, {len(chosen)} of them with a fault, in {time.perf_counter() - begin:.0f} s"
    )
    return 0 if as_expected == len(chosen) + 1 else 1


# ---------------------------------------------------------------- quick tests beside the golden cases; pytest finds them only when given this file


@pytest.mark.parametrize("seed", range(SEEDS))
def test_kernel_and_judge_agree(seed: int) -> None:
    import test_kernel

    test_kernel.compare(seed)


@pytest.mark.parametrize("seed", range(WALKED_SEEDS))
def test_jumping_equals_walking(seed: int) -> None:
    import test_kernel

    test_kernel.test_jumping_from_event_to_event_equals_walking_every_bar(seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
