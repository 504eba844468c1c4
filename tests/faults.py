"""Known faults of the engine: what is wrong, and the text that makes it so. `mutations.py` puts them in, one at a time, and the quick tests must notice.

Faults that no run could tell from the engine are not here. Each stands near the quick test that is likely to notice it, which is tried first.
"""

from typing import NamedTuple

KERNELS, TAPES, ORDERS, PAYMENTS, TERMS, COINS, PREPARE, JOINT, SIMULATE, MARKET, CURVE = (
    f"backtest/{name}.py"
    for name in ("kernels", "tapes", "orders", "payments", "terms", "coins", "prepare", "joint", "simulate", "market", "curve/prices")
)


class Fault(NamedTuple):
    """What is wrong, in which file, and the texts of it that are replaced: (old, new). first: the quick tests that are likely to notice."""

    name: str
    file: str
    changes: tuple[tuple[str, str], ...]
    first: str = ""


def fault(name: str, file: str, *texts: str, first: str = "") -> Fault:
    """texts: old, new, and so on."""
    return Fault(name, file, tuple(zip(texts[::2], texts[1::2], strict=True)), first)


def near(first: str, *faults: Fault) -> list[Fault]:
    """Faults that this quick test is likely to notice, where they don't name another."""
    return [one if one.first else one._replace(first=first) for one in faults]


ORDERED = "            if account.phase != FLAT and (account.phase == ROLLING or waiting(long, short)):\n"
MARGIN = (
    "                if rule.margin != OFF or t == rule.deleverage_bar:\n                    forced = check_margin(desk, trade, fills[i])\n"
)
SETTLE = "                if t >= pair.long_expiry_bar or t >= pair.short_expiry_bar:\n                    forced = settle(desk, pair, trade, fills[i]) or forced\n"
EARLY_MARGIN = """            pool.drawn = 0.0
            if account.phase != FLAT and (rule.margin != OFF or t == rule.deleverage_bar) and check_margin(desk, trades[i, account.trades], fills[i]):
                record(account, long, short, ledger[i, account.changes])
"""
EARLY_SETTLE = """            pair = pairs[account.pair]
            expires = account.phase != FLAT and (t >= pair.long_expiry_bar or t >= pair.short_expiry_bar)
            if expires and settle(desk, pair, trades[i, account.trades], fills[i]):
                record(account, long, short, ledger[i, account.changes])
"""
EARLY = """            if account.phase == HELD:
                decide(desk, pairs[account.pair], trades[i, account.trades], equity(account, long, short), False)
"""
EARLY_INSIDE = "".join(f"    {line}" for line in EARLY.splitlines(keepends=True))
CALLED_OFF = "                called_off = unstarted and account.phase == FLAT\n"
CLOSE_AT_THE_END = """                if t + 1 == stamps.shape[0] and account.phase == HELD:
                    leave(desk, pair, END)
                    account.opened = account.stamp
                    account.borrow_rate_before, account.idle_rate_before = account.borrow_rate, account.idle_rate
                    long.open, short.open = long.close, short.close
                    long.value_open, short.value_open = long.value_close, short.value_close
                    long.accrual_before, short.accrual_before = long.accrual, short.accrual
                    long.margin_accrual_before, short.margin_accrual_before = long.margin_accrual, short.margin_accrual
                    fill_orders(desk, pair, trade, fills[i, account.fills], fills[i, account.fills + 1])
                    rebase(desk, AT_END)
                    record(account, long, short, ledger[i, account.changes])
"""
LIQUIDATE_LONG = "        changed = liquidated(desk, LONG_SLOT, trade, fills)\n"
LIQUIDATE_SHORT = "        changed = liquidated(desk, SHORT_SLOT, trade, fills) or changed\n"
TRY_PLUS = "                if rule.plus != 0 and values[rule.entry_at + t] >= rule.enter:\n                    side = 1\n"
TRY_MINUS = (
    "                elif rule.minus != 0 and values[rule.entry_at + rule.minus_at + t] >= rule.enter:\n                    side = -1\n"
)
AIM_LONG, AIM_SHORT = "aim(long, long_terms, side * quantity)", "aim(short, short_terms, -side * quantity)"
ROUND_DOWN = "np.floor(abs(amount) / step * (1.0 + ROUNDING)) * step"
WORST = "mark = leg.low if leg.quantity > 0.0 else leg.high"
WORSE = "max(mark, traded) if leg.quantity < 0.0 else min(mark, traded)"
ABSORBED = "max(-paid_out - backing, 0.0) if rule.margin == ISOLATED else 0.0"
SPARE, ALONE = "spare_cash(desk, slot) if desk.rule.margin == CROSS else 0.0", "alone = rule.margin == CROSS and"
BOTH_SETTLE = "value_at(long, long_terms, long_price, coin), value_at(short, short_terms, short_price, coin), coin, "
PAY_SHORT, PAY_LONG = "end_inside(desk, SHORT_SLOT, pair.short_settlement,", "end_inside(desk, LONG_SLOT, pair.long_settlement,"
STOPPED = "    if account.complete != 0 and (account.premium >= account.stop_level or account.annualized >= account.annual_level):\n        return STOP\n"
LOST = "    if account.started != 0 and value <= account.loss_level:\n        return LOSS\n"
IN_TIME = "    if account.bar >= account.time_bar:\n        return TIME\n"
PRICED = '("mark", True), ("close", True)'
HOLD_UNTIL = "account.time_bar = first_at(stamps, account.opened + rule.max_hold, t)"
REMEMBER = '("reason", i8), ("started", i8)'
WITHIN = "ratio > rule.resize_factor or ratio < 1.0 / rule.resize_factor"
TRANCHE = "    if account.tranche < account.tranches:\n        horizon = min(horizon, account.due_bar)\n"
NEW_PERIOD = (
    "                guard_both(Desk(account, rule, legs[i, 0], legs[i, 1], terms[account.period, 0], terms[account.period, 1], pool))\n"
)
ROLL_LEVELS = "    if rule.legs == 2:\n        set_levels(account, rule, other, (short.price_open - long.price_open) / long.price_open)\n"
LEAVE_OLD = "    trade_leg(desk, slot, -quantity, True, ROLLED, fills[account.fills])\n"
ENTER_NEW = "    trade_leg(desk, slot, quantity, True, ROLLED, fills[account.fills])\n"
TURN_AT_OPEN = "                share_balance(accounts, legs, rules, terms, pool, ledger, AT_OPEN)\n"
TURN_AT_END = "                    share_balance(accounts, legs, rules, terms, pool, ledger, AT_END)\n"
FIX_ALL, FIX = "    for i in range(accounts.shape[0]):\n", "        account, period = accounts[i], terms[accounts[i].period]\n"
FIX_RULES = FIX_ALL.replace("accounts.shape[0]", "pool.rules")
ALL_FILL, ALL_CHECKED, ALL_MARKED, ALL_DECIDE = (
    f"        # ---- {phase}\n" for phase in ("arrivals and fills", "margin and expiry", "the closes", "decisions")
)
EACH, BACKWARDS = "        for i in range(pool.rules):\n", "        for i in range(pool.rules - 1, -1, -1):\n"
ONE_MARGIN = "and pool.derivatives == 1 and pool.rules == 1"
MARKED = """            pool.equity = 0.0
            for i in range(count):
                pool.equity += equity(accounts[i], legs[i, 0], legs[i, 1])
"""
MARK = "        if pool.exposure < np.inf or pool.drawdown < np.inf:\n"

# fmt: off
FAULTS = [
    *near(
        "test_golden",
        # the order of a bar
        fault("order: funding before fills", KERNELS, "tape[accrual_row, before] if i > 0 else 0.0", "tape[accrual_row, i]"),
        fault("order: interest before fills", KERNELS,
              "account.borrow_rate_before = rates[BORROW, t + 1], rates[BORROW, t]", "account.borrow_rate_before = rates[BORROW, t + 1], rates[BORROW, t + 1]",
              "account.idle_rate_before = rates[IDLE, t + 1], rates[IDLE, t]", "account.idle_rate_before = rates[IDLE, t + 1], rates[IDLE, t + 1]"),
        fault("order: margin before fills", KERNELS, MARGIN, "", ORDERED, EARLY_MARGIN + ORDERED, first="test_golden::test_a_position_is_margined_from_the_bar_that_fills_it_until_the_open_that_closes_it"),
        fault("order: margin before funding", KERNELS,
              "account = leg.collateral + backing + leg.quantity * (leg.margin_accrual -",
              "account = leg.collateral + backing + leg.quantity * (leg.margin_accrual_before -", first="test_golden::test_funding_of_the_bar_counts_before_its_margin_check"),
        fault("order: expiry before margin", KERNELS, MARGIN + SETTLE, SETTLE + MARGIN.replace("fills[i])", "fills[i]) or forced"), first="test_golden::test_a_liquidation_goes_before_the_settlement_of_its_bar"),
        fault("order: expiry before fills", KERNELS, SETTLE, "", ORDERED, EARLY_SETTLE + ORDERED),
        fault("order: decision before margin", KERNELS, MARGIN, EARLY_INSIDE + MARGIN, first="test_golden::test_an_exit_fills_before_the_expiry_of_its_bar_and_an_expiry_goes_before_the_decision"),
        fault("order: decision before expiry", KERNELS, SETTLE, EARLY_INSIDE + SETTLE, first="test_golden::test_an_exit_fills_before_the_expiry_of_its_bar_and_an_expiry_goes_before_the_decision"),
        fault("order: decision before fills", KERNELS, ORDERED, EARLY + ORDERED, first="test_golden::test_an_exit_fills_before_the_expiry_of_its_bar_and_an_expiry_goes_before_the_decision"),
        fault("order: decision filled at the open of its own bar", KERNELS, "= tape[OPEN, i], tape[CLOSE, i]", "= tape[OPEN, before], tape[CLOSE, i]"),
        fault("order: short slot's margin first", KERNELS, LIQUIDATE_LONG + LIQUIDATE_SHORT, LIQUIDATE_LONG.replace("LONG", "SHORT") + LIQUIDATE_SHORT.replace("SHORT", "LONG")),
        fault("order: no entry at the close of a bar that ended a trade", KERNELS, "if rule.cooldown > 0 and account.trades > 0 else t\n", "if rule.cooldown > 0 and account.trades > 0 else t + 1\n"),
        # fills and their costs
        fault("fee on the reference", KERNELS, "else abs(change) * price\n", "else abs(change) * leg.open\n"),
        fault("fee not taken from the balance", KERNELS, "    pay(desk, slot, -fee)\n", ""),
        fault("slippage sign", KERNELS, "account.slippage -= slippage", "account.slippage += slippage"),
        fault("slippage on the fill price", KERNELS, "worth * cost if inverse else abs(change) * leg.open * cost", "worth * cost if inverse else abs(change) * price * cost"),
        fault("fill price on the better side", KERNELS, "(1.0 + cost if bought else 1.0 - cost)", "(1.0 - cost if bought else 1.0 + cost)"),
        fault("half-spread of the bar that fills", ORDERS, "(ask - bid) / (ask + bid), market.life(name), bars, later=1)", "(ask - bid) / (ask + bid), market.life(name), bars)"),
        fault("whole spread for half of it", ORDERS, "(ask - bid) / (ask + bid), market", "(ask - bid) / (ask + bid) * 2.0, market"),
        fault("unknown quote taken as no spread", KERNELS, "leg.half_spread >= 0.0 else terms.half_spread", "leg.half_spread >= 0.0 else 0.0"),
        fault("delivery fee on the entry", KERNELS, "terms.delivery_fee * size * entry", "terms.delivery_fee * size * leg.entry"),
        fault("liquidation fee on the entry", KERNELS, "terms.liquidation_fee * size * entry", "terms.liquidation_fee * size * leg.entry"),
        fault("delivery fee credited", KERNELS, "account.settlement -= fee", "account.settlement += fee"),
        fault("missing open fills", KERNELS, "or not leg.open > 0.0 or", "or leg.open <= 0.0 or"),
        # funding
        fault("funding sign", PAYMENTS, "else -rates * prices)", "else rates * prices)"),
        fault("funding on the first price", PAYMENTS, "else -rates * prices)", "else -rates * prices[:1])"),
        fault("funding on the last close", PAYMENTS, PRICED, '("close", True),'),
        fault("funding on the last close before the mark", PAYMENTS, PRICED, '("close", True), ("mark", True)'),
        fault("funding without the event's own mark", PAYMENTS, "    prices = marks\n", "    prices = np.full(len(times), np.nan)\n"),
        fault("funding on a price of the future", PAYMENTS, 'place = np.searchsorted(market.stamps, times, "right") - 1', 'place = np.searchsorted(market.stamps, times, "left")'),
        fault("funding at a bar's end counted in the next", PAYMENTS, 'np.searchsorted(market.stamps, rows.times + moved, "left")', 'np.searchsorted(market.stamps, rows.times + moved, "right")'),
        fault("funding paid into the balance twice", KERNELS,
              "        if terms.derivative != 0:\n            account.funding += earned\n",
              "        if terms.derivative != 0:\n            account.funding += earned\n            account.balance += earned\n"),
        fault("funding forgotten at the fill that closes", KERNELS, " + leg.quantity * (leg.margin_accrual_before - leg.entry_accrual)", ""),
        # what runs by the clock
        fault("financing and idle rates swapped", KERNELS, "BORROW, IDLE = range(2)", "IDLE, BORROW = range(2)"),
        fault("financing sign", KERNELS, "interest = account.balance * ((account.borrow_rate if when", "interest = -account.balance * ((account.borrow_rate if when"),
        fault("interest on the collateral", KERNELS, "pay(desk, slot, leg.collateral - collateral)", "pay(desk, slot, leg.collateral - (collateral if leg.quantity != 0.0 else 0.0))"),
        fault("interest on the proceeds of a short spot", KERNELS, "    elif leg.quantity < 0.0 or quantity < 0.0:\n", "    elif False:\n"),
        fault("staking sign", TAPES, '= coin_accrual(market, name, "staking_yield")', '= -coin_accrual(market, name, "staking_yield")'),
        fault("staking without stake", TAPES, "        if stake:\n", '        if "staking_yield" in market.series_names:\n'),
        fault("staking kept from the balance", KERNELS, "            account.staking += earned\n            earn(desk, earned)\n", "            account.staking += earned\n"),
        fault("borrow sign", TAPES, '= coin_accrual(market, name, "borrow_base")', '= -coin_accrual(market, name, "borrow_base")'),
        fault("rates of money as known at the bar's end", PREPARE, "market.series(series, before=True)", "market.series(series)"),
        fault("rates of a coin as known at the bar's end", TAPES, "market.series(series, before=True)", "market.series(series)"),
        fault("year of 360 days", MARKET, "YEAR = 365 * DAY", "YEAR = 360 * DAY"),
        # margin
        fault("collateral not divided by leverage", KERNELS, "abs(quantity) * entry / terms.leverage", "abs(quantity) * entry"),
        fault("worst mark on the wrong side", KERNELS, WORST, "mark = leg.high if leg.quantity > 0.0 else leg.low"),
        fault("margin at the close", KERNELS, WORST, "mark = leg.close", first="test_golden::test_a_short_at_leverage_ten_is_liquidated_where_its_account_meets_the_maintenance"),
        fault("extremes of trades for those of the mark", TAPES, "extreme = np.where(np.isnan(raw(mark)), extreme, raw(mark))", "pass", first="test_golden::test_a_short_at_leverage_ten_is_liquidated_where_its_account_meets_the_maintenance"),
        fault("maintenance deduction ignored in the check", KERNELS, "terms.tier_rate[k] - terms.tier_deduction[k]", "terms.tier_rate[k]", first="test_golden::test_a_tiered_long_breaches_by_rate_and_deduction_of_its_notional"),
        fault("maintenance deduction ignored in the breach of a short", KERNELS, "(bound + rate * accrual + deduction)", "(bound + rate * accrual)", first="test_golden::test_a_tiered_short_breaches_by_rate_and_deduction_of_its_notional"),
        fault("maintenance deduction ignored in the breach of a long", KERNELS, "(bound - rate * accrual - deduction)", "(bound - rate * accrual)"),
        fault("tier below the notional's in the check", KERNELS, "notional > terms.tier_floor[k + 1]", "notional > 1.1 * terms.tier_floor[k + 1]"),
        fault("first tier for all in the check", KERNELS, "while k + 1 < terms.tiers and", "while k + 1 < 1 and"),
        fault("first tier for all in the breach of a short", KERNELS, "if k + 1 == terms.tiers or quantity", "if k >= 0 or quantity"),
        fault("last tier for all in the breach of a long", KERNELS, "if k == 0 or quantity", "if k >= 0 or quantity"),
        fault("cross without the spare cash", KERNELS, SPARE, "0.0", ALONE, "alone = False and"),
        fault("cross charged with the debt", KERNELS, "max(wallet(desk, slot) - desk.pool.drawn, 0.0)", "wallet(desk, slot) - desk.pool.drawn"),
        fault("isolated draws on cash", KERNELS, SPARE, SPARE.replace("== CROSS", "!= OFF"), ALONE, ALONE.replace("== CROSS", "!= OFF")),
        fault("margin off liquidates", KERNELS, "    if desk.rule.margin != OFF:\n", "    if True:\n", "if rule.margin != OFF or t ==", "if True or t =="),
        fault("absorbed loss dropped", KERNELS, ABSORBED, "0.0"),
        fault("absorbed loss in cross mode", KERNELS, ABSORBED, "max(-paid_out - backing, 0.0)"),
        fault("liquidation at the better of breach and open", KERNELS, WORSE, "min(mark, traded) if leg.quantity < 0.0 else max(mark, traded)"),
        fault("liquidation at the breach though it opened beyond", KERNELS, WORSE, "mark"),
        fault("settlement without the interest of its bar", KERNELS, BOTH_SETTLE + "AT_END)\n    if long_settles:", BOTH_SETTLE + "AT_OPEN)\n    if long_settles:"),
        fault("liquidation without the interest of its bar", KERNELS, BOTH_SETTLE + "AT_END)\n    end_inside", BOTH_SETTLE + "AT_OPEN)\n    end_inside"),
        fault("guard without the funding to come", KERNELS, "level = breach(leg, terms, spare, terms.least_accrual)", "level = breach(leg, terms, spare, 0.0)"),
        # the other leg
        fault("leg beside a liquidation valued at its close", KERNELS,
              "price if slot == SHORT_SLOT else alongside * short.close", "price if slot == SHORT_SLOT else short.close",
              "price if slot == LONG_SLOT else alongside * long.close", "price if slot == LONG_SLOT else long.close"),
        fault("leg beside a fill valued at its last close", KERNELS, "leg.value_close = leg.price_open, leg.close", "leg.value_close = tape[CLOSE, before], leg.close"),
        fault("legging posted as price", KERNELS, "    if rule.legs == 2:\n        of_long", "    if rule.legs > 2:\n        of_long"),
        fault("one leg posted as legging", KERNELS, "    if rule.legs == 2:\n        of_long", "    if rule.legs >= 1:\n        of_long"),
        fault("other leg kept after a forced end", KERNELS, "    leg.target = 0.0\n", ""),
        # expiry
        fault("settlement at the close", KERNELS,
              "pair.long_settlement if long_settles else long.close", "long.close", "pair.short_settlement if short_settles else short.close", "short.close",
              PAY_SHORT, "end_inside(desk, SHORT_SLOT, short.close,", PAY_LONG, "end_inside(desk, LONG_SLOT, long.close,"),
        fault("settlement price booked and the close paid out", KERNELS, PAY_SHORT, "end_inside(desk, SHORT_SLOT, short.close,"),
        fault("expiry one bar late", TAPES, "bars = np.searchsorted(market.stamps, ends)\n", 'bars = np.searchsorted(market.stamps, ends, "right")\n'),
        fault("settled at the end of its bar", KERNELS, "trade.exited = max(trade.exited, pair.short_expiry)", "trade.exited = max(trade.exited, account.stamp)"),
        fault("contract offered when it expires", CURVE, "open_to_entry = (ahead > 0)", "open_to_entry = (ahead >= 0)"),
        fault("min_days exclusive", CURVE, "ahead >= whole_days(leg.min_days)", "ahead > whole_days(leg.min_days)", first="test_golden::test_a_chain_offers_the_nearest_contract_with_enough_days"),
        fault("min_days ignored", CURVE, "ahead >= whole_days(leg.min_days)", "ahead > 0", first="test_golden::test_a_chain_offers_the_nearest_contract_with_enough_days"),
        # entries and sizes
        fault("enter exclusive", KERNELS, "                if rule.plus != 0 and values[rule.entry_at + t] >=", "                if rule.plus != 0 and values[rule.entry_at + t] >"),
        fault("missing signal enters", KERNELS,
              "                if rule.plus != 0 and values[rule.entry_at + t] >=", "                if rule.plus != 0 and not values[rule.entry_at + t] <",
              "nearest = final if jump else t", "nearest = t", first="test_golden::test_both_sides_try_plus_first_and_each_reads_its_own_signals"),
        fault("side −1 tried first", KERNELS, TRY_PLUS + TRY_MINUS, TRY_MINUS.replace("elif", "if") + TRY_PLUS.replace("if", "elif")),
        fault("side −1 buys", KERNELS, AIM_LONG, "aim(long, long_terms, quantity)", AIM_SHORT, "aim(short, short_terms, -quantity)"),
        fault("side −1 of one leg buys", KERNELS, AIM_LONG, "aim(long, long_terms, quantity if short_terms.present == 0 else side * quantity)"),
        fault("legs swapped", KERNELS, AIM_LONG, "aim(long, long_terms, -side * quantity)", AIM_SHORT, "aim(short, short_terms, side * quantity)"),
        fault("entry signal not mirrored", TAPES, "np.where(offering, sign * table[", "np.where(offering, table[", first="test_golden::test_side_minus_one_reads_the_signal_mirrored"),
        fault("entry signal of the other side", TAPES, "both_sides(rule.signal)[which]", "both_sides(rule.signal)[0]"),
        fault("stale close enters", CURVE, "(ahead > 0) & ~np.isnan(closes(market, leg))", "(ahead > 0)", first="test_golden::test_nothing_is_entered_on_a_close_that_is_not_fresh"),
        fault("called off and entered at one close", KERNELS, CALLED_OFF, "", first="test_golden::test_nothing_new_is_decided_at_the_close_that_calls_an_order_off"),
        fault("lots rounded up", KERNELS, "np.floor(abs(amount) / step", "np.ceil(abs(amount) / step"),
        fault("lots without tolerance", KERNELS, ROUND_DOWN, "np.floor(abs(amount) / step) * step"),
        fault("finer lot of the two", TAPES, 'np.maximum(records["lot"],', 'np.minimum(np.where(records["lot"] > 0, records["lot"], np.inf),'),
        fault("least notional exclusive", KERNELS, "quantity * close >= pair.least_notional", "quantity * close > pair.least_notional"),
        fault("least notional of one leg", TAPES, 'np.maximum(records["least_notional"], [', "(["),
        fault("size from the capital", KERNELS, "quantity = rule.fraction * value / close", "quantity = rule.fraction * account.capital / close", first="test_golden::test_each_trade_has_its_own_profit_and_sources"),
        fault("size by the other slot's close", KERNELS,
              "close = long.close if rule.first_slot == LONG_SLOT else short.close", "close = long.close if rule.first_slot == LONG_SLOT and rule.legs == 1 else short.close"),
        fault("farthest contract of a chain", CURVE, "open_to_entry.argmax(axis=0)", "len(open_to_entry) - 1 - open_to_entry[::-1].argmax(axis=0)", first="test_golden::test_a_chain_offers_the_nearest_contract_with_enough_days"),
        # exits
        fault("exit exclusive", KERNELS, "account.exit_signal >= account.exit_level", "account.exit_signal > account.exit_level", first="test_golden::test_the_signal_enters_at_its_level_and_leaves_at_its_exit"),
        fault("exit signal not mirrored", TAPES, "layout.spread(-sign * table_of", "layout.spread(-table_of", first="test_golden::test_side_minus_one_reads_the_signal_mirrored"),
        fault("exit signal of the other side", TAPES, "both_sides(rule.exit_signal, rule.signal)[which]", "both_sides(rule.exit_signal, rule.signal)[0]", first="test_golden::test_both_sides_try_plus_first_and_each_reads_its_own_signals"),
        fault("stop exclusive", KERNELS, "account.premium >= account.stop_level", "account.premium > account.stop_level", first="test_golden::test_a_stop_is_measured_from_the_references_of_the_entry"),
        fault("stop not mirrored", TAPES, 'out["premium_at"] = sign * layout.spread(premium)', 'out["premium_at"] = layout.spread(premium)', first="test_golden::test_a_stop_of_side_minus_one_counts_a_shrinking_premium"),
        fault("stop from the fill prices", KERNELS, "(trade.entry_short - trade.entry_long) / trade.entry_long", "((short.entry or trade.entry_short) - trade.entry_long) / trade.entry_long", first="test_golden::test_a_stop_is_measured_from_the_references_of_the_entry"),
        fault("stop from the close of the bar that fills", KERNELS,
              "mean_with(trade.entry_short, leg.entered, leg.open, abs(change))", "mean_with(trade.entry_short, leg.entered, leg.close, abs(change))", first="test_golden::test_a_stop_is_measured_from_the_references_of_the_entry"),
        fault("loss exclusive", KERNELS, "value <= account.loss_level:", "value < account.loss_level:", first="test_golden::test_a_loss_is_measured_from_the_equity_before_the_first_fill_of_its_trade"),
        fault("loss of the capital", KERNELS, "account.loss_level = account.entry_equity * (1.0 - rule.loss)", "account.loss_level = account.capital * (1.0 - rule.loss)", first="test_golden::test_a_loss_is_measured_from_the_equity_before_the_first_fill_of_its_trade"),
        fault("loss from the equity after the first fill", KERNELS, "    if not waiting(long, short):\n        if account.phase == OPENING and",
              "    if account.phase == OPENING:\n        account.loss_level = booked(account) * (1.0 - rule.loss)\n    if not waiting(long, short):\n        if account.phase == OPENING and", first="test_golden::test_a_loss_is_measured_from_the_equity_before_the_first_fill_of_its_trade"),
        fault("days to expiry exclusive", KERNELS, "account.bar >= account.days_bar", "account.bar > account.days_bar", first="test_golden::test_days_to_expiry_counts_from_the_close"),
        fault("max_hold from the decision", KERNELS, REMEMBER, '("reason", i8), ("decided", i8), ("started", i8)',
              "    account.reason = NONE\n", "    account.reason = NONE\n    account.decided = account.bar\n",
              HOLD_UNTIL, "account.time_bar = first_at(stamps, stamps[account.decided] + rule.max_hold, t)", first="test_golden::test_max_hold_counts_from_the_open_that_filled_the_entry"),
        fault("max_hold from the first close", KERNELS, HOLD_UNTIL, "account.time_bar = first_at(stamps, stamps[t] + rule.max_hold, t)"),
        fault("limits of time exclusive", KERNELS, "if stamps[middle] < instant:", "if stamps[middle] <= instant:"),
        fault("cooldown from the decision", KERNELS, REMEMBER, '("reason", i8), ("decided", i8), ("started", i8)',
              "    account.phase = CLOSING\n    account.reason = reason\n", "    account.phase = CLOSING\n    account.reason = reason\n    account.decided = account.bar\n",
              "        account.reason = reason\n    account.phase", "        account.reason = reason\n        account.decided = account.bar\n    account.phase",
              "first_at(stamps, account.exit_time + rule.cooldown, t)", "first_at(stamps, stamps[account.decided] + rule.cooldown, t)", first="test_golden::test_cooldown_counts_from_the_fill_of_the_exit"),
        fault("cooldown ignored", KERNELS, "            and t >= account.idle_until\n", "", "begin = max(t, account.idle_until)", "begin = t", first="test_golden::test_a_chain_goes_on_with_the_next_contract_after_a_settlement_and_its_cooldown"),
        fault("liquidation at the beginning of its bar", KERNELS, "trade.exited = max(trade.exited, account.stamp)", "trade.exited = max(trade.exited, account.opened)"),
        fault("loss before stop", KERNELS, STOPPED + LOST, LOST + STOPPED, first="test_golden::test_the_first_reason_that_holds_is_the_reason"),
        fault("signal before time", KERNELS, IN_TIME, "", "        return SIGNAL\n", "        return SIGNAL\n" + IN_TIME, first="test_golden::test_the_first_reason_that_holds_is_the_reason"),
        fault("end of data closes", KERNELS, CALLED_OFF, CLOSE_AT_THE_END + CALLED_OFF),
        # resize
        fault("resize upwards only", KERNELS, WITHIN, "ratio < 1.0 / rule.resize_factor", first="test_golden::test_a_resize_settles_the_account_and_margins_it_anew"),
        fault("resize downwards only", KERNELS, WITHIN, "ratio > rule.resize_factor"),
        fault("resize at the edge of its band", KERNELS, WITHIN, WITHIN.replace(">", ">=").replace("<", "<=")),
        fault("resize keeps the old entry", KERNELS, "        leg.entry = entry\n", "        leg.entry = entry if leg.quantity == 0.0 else leg.entry\n"),
        fault("resize of the first slot only", KERNELS, "order_both(desk, long.goal, short.goal, account.stamp, False)", "order_both(desk, long.goal, short.quantity, account.stamp, False)"),
        # trades and columns
        fault("reason overwritten while the exit waits", KERNELS, "    if account.phase != CLOSING:\n        account.reason = reason\n", "    account.reason = reason\n", first="test_golden::test_a_reason_stays_until_the_last_slot_is_out"),
        fault("pnl since the beginning of the run", KERNELS, "trade.pnl = booked(account) - account.entry_equity", "trade.pnl = booked(account) - account.capital"),
        fault("attribution since the beginning of the run", KERNELS, "    post_sources(trade, account, -1.0)\n", ""),
        fault("column of a debt's interest", KERNELS, "(FINANCING_ROW, rates[BORROW]) if row", "(IDLE_CASH_ROW, rates[BORROW]) if row"),
        # jumping is walking
        fault("jump over a large block from inside it", KERNELS, "if block & (BLOCKS - 1) == 0 and not large", "if not large", first="test_golden::test_the_first_position_at_or_above_a_level_is_that_of_a_plain_search"),
        fault("jump one block too far", KERNELS, "block += BLOCKS\n", "block += BLOCKS + 1\n", first="test_golden::test_a_lone_value_at_the_level_is_found_wherever_it_lies"),
        fault("jump past a tie", KERNELS, "elif small[block] >= level:", "elif small[block] > level:", first="test_golden::test_the_first_position_at_or_above_a_level_is_that_of_a_plain_search"),
        fault("jump past a large block's tie", KERNELS, "not large[block >> BLOCKS_BITS] >= level", "not large[block >> BLOCKS_BITS] > level", first="test_golden::test_the_first_position_at_or_above_a_level_is_that_of_a_plain_search"),
        fault("first block ends a bar early", KERNELS, "stop = min(end, (i | (SMALL - 1)) + 1)", "stop = min(end, i | (SMALL - 1))", first="test_golden::test_the_first_position_at_or_above_a_level_is_that_of_a_plain_search"),
        fault("block maxima lost to NaN", TAPES, "np.fmax.reduce(whole.reshape(-1, k.SMALL), axis=1)", "np.maximum.reduce(whole.reshape(-1, k.SMALL), axis=1)", first="test_golden::test_the_first_position_at_or_above_a_level_is_that_of_a_plain_search"),
        fault("jump over an expiry", KERNELS, "pair.long_expiry_bar, pair.short_expiry_bar)\n    if", "pair.long_expiry_bar)\n    if"),
        fault("jump over a loss", KERNELS, "if value <= loss_level or", "if value < 0.99 * loss_level or", first="test_golden::test_a_loss_is_measured_from_the_equity_before_the_first_fill_of_its_trade"),
        fault("jump over the margin of the long slot", KERNELS, "pair.long_start, long.stress_level\n    return rule.short_stress_at + minus + pair.short_start, short.stress_level\n\n\n@kernel\ndef first_by", "pair.long_start, np.inf\n    return rule.short_stress_at + minus + pair.short_start, short.stress_level\n\n\n@kernel\ndef first_by"),
        fault("logs too small", KERNELS, "account.fills + rows > fills.shape[1]", "account.fills > fills.shape[1]", first="test_golden::test_logs_that_grow_lose_nothing"),
    ),
    *near(
        "test_golden_orders",
        # fills and their costs
        fault("half-spread of a series of the bar that fills", ORDERS, "least=0.0, below=1.0), slice(0, len(market)), bars, later=1)", "least=0.0, below=1.0), slice(0, len(market)), bars)"),
        fault("a number of half-spread gives way to quotes", TERMS, '"quoted": int(quoted)', '"quoted": 1'),
        fault("fee by the contract forgotten", KERNELS, " + terms.unit_fee * (worth / price if inverse else abs(change))", ""),
        # impact, room, stress
        fault("impact sign", KERNELS, "half_spread * leg.stress + leg.impact *", "half_spread * leg.stress - leg.impact *"),
        fault("impact without its root", KERNELS, "math.sqrt(notional) if terms.impact_square_root != 0 else notional", "notional"),
        fault("linear impact with a root", KERNELS, "math.sqrt(notional) if terms.impact_square_root != 0 else notional", "math.sqrt(notional)"),
        fault("impact of the long slot for both", ORDERS, "coefficient = execution.impacts[slot]", "coefficient = execution.impacts[0]"),
        fault("impact by the volume of the day that the fill ends", ORDERS,
              "lay(out, traded_value(market, name), market.life(name), bars, later=1)", "lay(out, traded_value(market, name), market.life(name), bars)"),
        fault("impact by the day's base volume", ORDERS, 'market.lived(name, "volume") * market.lived(name, "close")', 'market.lived(name, "volume")'),
        fault("impact by the volume of two days", ORDERS, "[market.life(name)], value, DAY)", "[market.life(name)], value, 2 * DAY)"),
        fault("impact by the depth of the bar that fills", ORDERS, "lay(out, known, slice(0, len(market)), bars, later=1)", "lay(out, known, slice(0, len(market)), bars)"),
        fault("unknown impact taken as none", ORDERS, "np.divide(coefficient, out, out=out)", "np.divide(coefficient, out, out=out)\n    np.nan_to_num(out, copy=False)"),
        fault("impact without stress", ORDERS, "    out[k.IMPACT] *= out[k.STRESS]\n", ""),
        fault("spread without stress", KERNELS, "half_spread * leg.stress + leg", "half_spread + leg"),
        fault("stress of the bar that fills", ORDERS, "lay(out[k.STRESS], stress, slice(0, len(market)), bars, later=1)", "lay(out[k.STRESS], stress, slice(0, len(market)), bars)"),
        fault("room without stress", ORDERS, "        room /= out[k.STRESS]\n", ""),
        fault("room of all volume", ORDERS, "        room *= execution.participation\n", ""),
        fault("room of the bar before", ORDERS,
              'np.nan_to_num(market.lived(name, "volume")), market.life(name), bars)',
              'np.nan_to_num(market.lived(name, "volume")), market.life(name), bars, later=1)'),
        fault("no room taken as all", KERNELS, "if abs(change) > room:", "if abs(change) > room > 0.0:"),
        fault("room of an inverse slot in base", KERNELS, "        room *= leg.open\n", "        pass\n"),
        fault("part of a lot", KERNELS, "math.copysign(whole(room, step_of(terms, pair)), change)", "math.copysign(room, change)"),
        fault("part of a contract", KERNELS, "return terms.contract if terms.inverse != 0 else pair.lot", "return pair.lot"),
        fault("rest of a partial fill dropped", KERNELS, "    leg.quantity = quantity\n", "    leg.quantity = leg.target = quantity\n"),
        # makers
        fault("maker buys without a trade below his price", ORDERS, "np.where(low < opened * (1.0 - half), room, 0.0)", "room"),
        fault("maker sells without a trade above his price", ORDERS, "np.where(high > opened * (1.0 + half), room, 0.0)", "room"),
        fault("maker filled where the open was traded through", ORDERS, "low < opened * (1.0 - half)", "low < opened", "high > opened * (1.0 + half)", "high > opened"),
        fault("maker filled by a touch", ORDERS, "low < opened * (1.0 - half)", "low <= opened * (1.0 - half)", "high > opened * (1.0 + half)", "high >= opened * (1.0 + half)"),
        fault("maker's room for the other side", KERNELS, "leg.room_buy if (change > 0.0) == (", "leg.room_buy if (change > 0.0) != ("),
        fault("maker pays instead of earns", KERNELS, "        return -half_spread\n", "        return half_spread\n"),
        fault("maker pays the taker's fee", KERNELS, "(terms.taker_fee if taker else terms.fee)", "terms.taker_fee"),
        fault("taker's fee forgotten once he chases", KERNELS, "(terms.taker_fee if taker else terms.fee)", "terms.fee"),
        fault("maker by the stress", KERNELS, "        return -half_spread\n", "        return -half_spread * leg.stress\n"),
        fault("maker's fee is the venue's for takers", TERMS, "for each in (maker, False)", "for each in (False, False)"),
        # two legs
        fault("latency ignored", KERNELS, "leg.ready = ready + terms.latency", "leg.ready = ready"),
        fault("latency of the long slot for both", KERNELS, "order_anew(short, short_terms,", "order_anew(short, long_terms,"),
        fault("order filled a bar before it is ready", KERNELS, "or account.opened < leg.ready:", "or account.stamp < leg.ready:"),
        fault("patience before a chase exclusive", KERNELS, "opened - leg.ready >= rule.patience", "opened - leg.ready > rule.patience"),
        fault("chase without patience", KERNELS, "opened - leg.ready >= rule.patience", "opened >= leg.ready"),
        fault("chase that still rests", KERNELS, "taker = terms.maker == 0 or chased(rule, leg, account.opened)", "taker = terms.maker == 0"),
        fault("chase within the room", KERNELS, "    if chased(rule, leg, account.opened):\n", "    if False:\n"),
        fault("undo never", KERNELS, "rule.policy == UNDO and account.phase == OPENING and", "False and"),
        fault("undo without patience", KERNELS, "stamp - leg.ready >= rule.patience", "stamp >= leg.ready"),
        fault("undo patience exclusive", KERNELS, "stamp - leg.ready >= rule.patience", "stamp - leg.ready > rule.patience"),
        fault("undo of one slot only", KERNELS, "(unfilled(rule, long, account.stamp) or unfilled(rule, short, account.stamp))", "unfilled(rule, long, account.stamp)"),
        # the other leg
        fault("no legging while both slots have some", KERNELS, "long.share = of_short / of_long", "long.share = 1.0 if of_short > 0.0 else 0.0"),
    ),
    *near(
        "test_golden_desk",
        # tranches
        fault("a tranche too few", KERNELS, "return whole_amount if k >= n else", "return whole_amount if k + 1 >= n else"),
        fault("tranche of a broken lot", KERNELS, "whole(whole_amount * k / n, step)", "whole_amount * k / n"),
        fault("tranche due a bar late", KERNELS, "account.tranches and account.stamp >= account.due", "account.tranches and account.stamp > account.due"),
        fault("exit tranches for urgent reasons", KERNELS, "1, rule.exit_tranches if calm else 1", "1, rule.exit_tranches"),
        fault("exit at once for calm reasons", KERNELS, "1, rule.exit_tranches if calm else 1", "1, 1"),
        fault("exit tranche of what is left", KERNELS, "tranche_of(long.held, k,", "tranche_of(long.quantity, k,"),
        fault("entry complete with its first tranche", KERNELS, "account.phase == OPENING and account.tranche >= account.tranches:", "account.phase == OPENING:"),
        fault("entry in tranches at the price of its first", KERNELS, "mean + (reference - mean) * weight / (before + weight)", "mean"),
        # funding
        fault("funding on the index for nobody", PAYMENTS, '.funding.notional in ("index", "oracle")', '.funding.notional in ("index",)'),
        fault("funding without its snapshot", PAYMENTS, 'np.searchsorted(market.stamps, rows.times + moved, "left")', 'np.searchsorted(market.stamps, rows.times, "left")'),
        fault("payment expected however far", PAYMENTS, "(due > 0) & (due - stamps <= wait)", "(due > 0)"),
        fault("entry before the payment that it should let pass", KERNELS, "rule.funding_entry == AFTER or (", "("),
        fault("entry waits for a payment that it would receive", KERNELS, "received(account, rule, long, short, True) < 0.0", "received(account, rule, long, short, True) > 0.0"),
        fault("entry that would receive waits too", KERNELS, "rule.funding_entry == AFTER or (rule.funding_entry == BETTER and", "rule.funding_entry == AFTER or (rule.funding_entry == BETTER or"),
        fault("what is planned read from what is held", KERNELS, "units = leg.goal if planned else leg.quantity", "units = leg.quantity"),
        fault("payment of the other slot's perpetual", PREPARE, 'int(perpetual is not None and perpetual is rule.short)', 'int(perpetual is not None and perpetual is not rule.short)'),
        fault("hold for what will be paid", KERNELS, "received(account, rule, long, short, False) > 0.0", "received(account, rule, long, short, False) < 0.0"),
        fault("hold for funding after urgent reasons", KERNELS, "if calm and rule.hold_for_funding != 0 and", "if rule.hold_for_funding != 0 and"),
        fault("hold for funding never", KERNELS, "if calm and rule.hold_for_funding != 0 and", "if False and"),
        # what runs by the clock
        fault("unstaking takes no time", KERNELS, "    if rule.unstake > 0 and (", "    if False and ("),
        fault("unstaking without the other leg", KERNELS, "    order_anew(short, short_terms, short_target, ready, keep)", "    order_anew(short, short_terms, short_target, account.stamp, keep)"),
        fault("unstaking of what is bought", KERNELS, "leg.quantity > 0.0 and target < leg.quantity", "(leg.quantity > 0.0 or target > 0.0)", first="test_golden_desk::test_a_staked_spot_leaves_when_it_is_unstaked_and_its_hedge_stays_with_it"),
        fault("unstaking at an expiry", KERNELS, "unstake = rule.unstake if reason != EXPIRY else 0", "unstake = rule.unstake", first="test_golden_desk::test_an_expiry_was_known_before_and_nothing_waits"),
        fault("unstaking forgotten after a liquidation", KERNELS, "unstake = rule.unstake if reason != EXPIRY else 0", "unstake = 0", first="test_golden_desk::test_after_a_liquidation_the_spot_has_to_be_unstaked_alone"),
        # roll
        fault("roll: costs of its first half missing", KERNELS, LEAVE_OLD, LEAVE_OLD + "    account.fees += fills[account.fills - 1].fee\n    pay(desk, slot, fills[account.fills - 1].fee)\n"),
        fault("roll: new contract at the price of the old", KERNELS, "    take_quote(leg, fresh)\n", ""),
        fault("roll: reference of the old contract kept", KERNELS, "    leg.reference, leg.accrual_reference = leg.value_open, leg.accrual_before\n    account.pair", "    account.pair"),
        fault("roll: pair not switched", KERNELS, "    account.pair = account.next_pair\n" + ROLL_LEVELS, ROLL_LEVELS),
        fault("roll: a bar late", KERNELS, "account.phase == HELD and t >= account.roll_bar and", "account.phase == HELD and t > account.roll_bar and"),
        fault("roll: whether it pays or not", KERNELS, "if pays >= rule.enter and rolls(", "if rolls("),
        fault("roll: without an open of the new contract", KERNELS, "leg.open > 0.0 and fresh.open > 0.0 and takes", "leg.open > 0.0 and takes"),
        # entries and sizes
        fault("size without its scale", KERNELS, "return quantity * (scale if scale > 0.0 else 0.0) if rule.scaled != 0 else quantity", "return quantity"),
        fault("liquidity: unknown taken as enough for an entry", TAPES, "np.arange(len(market))] == 0.0)", "np.arange(len(market))] != 1.0)"),
        fault("liquidity: illiquid enters", TAPES, "    if illiquid is not None:\n", "    if False:\n"),
        fault("liquidity: leaves where it is unknown", KERNELS, "rule.liquidity != 0 and account.illiquid > 0.0", "rule.liquidity != 0 and not account.illiquid == 0.0"),
        fault("liquidity: half the spread", ORDERS, "(ask - bid) / ((ask + bid) / 2.0)", "(ask - bid) / (ask + bid)"),
        fault("liquidity: deep is illiquid", ORDERS, "known < rule.min_depth", "known > rule.min_depth"),
        fault("liquidity: of the long contract only", ORDERS, "rows.append(_worse(long, short))", "rows.append(long)"),
        # exits
        fault("annualized stop by the days at the close", KERNELS, "days = (pair.expiry - account.opened) / DAY", "days = (pair.expiry - account.stamp) / DAY"),
        fault("annualized stop below a day from the expiry", TAPES, "np.where(left >= 1.0, values * 365.0 / np.maximum(left, 1.0), np.nan)", "np.where(left > 0.0, values * 365.0 / np.maximum(left, 1e-9), np.nan)"),
        fault("drawdown: peak kept after a pause", KERNELS, "                    account.peak = value\n", ""),
        fault("drawdown: no pause", KERNELS, "max(account.paused_until, pool.paused_until)", "pool.paused_until"),
        fault("drawdown: pause without end", KERNELS, "account.paused_until = account.stamp + rule.pause", "account.paused_until = NEVER"),
        fault("drawdown: of the capital", KERNELS, "account.peak = max(account.peak, value)", "account.peak = max(account.peak, account.capital)"),
        fault("drawdown: exclusive", KERNELS, "value <= account.peak", "value < account.peak"),
        fault("exposure: never", KERNELS, "account.started != 0 and rule.exposure < np.inf", "False"),
        fault("converge: at once", KERNELS, "account.bar >= account.converge_bar and", ""),
        fault("converge: when it has", KERNELS, "account.premium >= account.converge_level", "account.premium < account.converge_level", first="test_golden_desk::test_a_trade_that_has_not_converged_in_time_is_closed"),
        # jumping is walking
        fault("jump over a roll", KERNELS, "account.days_bar, account.roll_bar, pair", "account.days_bar, pair", first="test_golden_desk::test_a_roll_changes_the_future_and_leaves_the_spot_alone"),
        fault("jump over a tranche", KERNELS, TRANCHE, ""),
        fault("jump over the time to converge", KERNELS, "            horizon = min(horizon, account.converge_bar)\n", "            pass\n"),
        fault("jump over a premium that widens again", KERNELS, "            account.premium_level = min(account.stop_level, account.converge_level)\n", "            pass\n"),
        fault("jump over an annualized stop", KERNELS, "pair.start, account.annual_level", "pair.start, np.inf"),
        fault("jump: exposure does not walk", PREPARE, "        or rule.exposure is not None\n", ""),
        fault("jump: drawdown does not walk", PREPARE, "        or rule.drawdown is not None\n", ""),
        fault("jump: max_spread does not walk", PREPARE, "        or rule.max_spread is not None\n", ""),
        fault("jump: min_depth does not walk", PREPARE, "        or rule.min_depth is not None\n", ""),
    ),
    *near(
        "test_golden_margin",
        # margin
        fault("terms a bar late", KERNELS, "        if t >= account.period_end:\n", "        if t > account.period_end:\n"),
        fault("terms of the day after", TERMS, 'np.searchsorted(opens, inside, "left")', '(np.searchsorted(opens, inside, "left") + 1)'),
        fault("terms of the first day for ever", TERMS, "return sorted({0, *np.searchsorted(opens, inside, \"left\").tolist()})", "return [0]"),
        # deleveraging
        fault("deleveraging of the loser", KERNELS, "if not leg.quantity * (close - leg.entry) > 0.0:", "if not leg.quantity * (close - leg.entry) < 0.0:"),
        fault("deleveraging at a better price", KERNELS, "(1.0 - gap if bought else 1.0 + gap)", "(1.0 + gap if bought else 1.0 - gap)"),
        # top-ups
        fault("top-up of more than there is", KERNELS, "min(wanted - worth, wallet_now(desk, source) - fee)", "wanted - worth"),
        fault("top-up to the level only", KERNELS, "min(wanted - worth, wallet", "min(rule.top_up * wanted - worth, wallet"),
        fault("top-up at once", KERNELS, "leg.coming_at = account.stamp + delay", "leg.coming_at = account.stamp"),
        fault("top-up lost when the leg is gone", KERNELS, "        pay(desk, slot, leg.coming)\n", "        pass\n"),
        fault("top-up without its fee", KERNELS, "    pay(desk, source, -amount - fee)\n    account.fees -= fee\n", "    pay(desk, source, -amount)\n"),
        fault("top-up while one is under way", KERNELS, "or leg.target == 0.0 or leg.coming > 0.0:", "or leg.target == 0.0:"),
        fault("top-up from the own wallet with fee and delay", KERNELS, "            fee, delay = 0.0, 0\n", "            pass\n"),
        fault("top-up from the own wallet for ever", KERNELS, "            source = SHORT_SLOT if slot == LONG_SLOT else LONG_SLOT\n", "            pass\n"),
        # wallets and what can be borrowed
        fault("wallet: flows of the short slot into the long one's", KERNELS, "    earn(desk, amount)\n    if slot == SHORT_SLOT:\n", "    earn(desk, amount)\n    if False:\n"),
        fault("wallet: flows of the wrong slot", KERNELS, "    earn(desk, amount)\n    if slot == SHORT_SLOT:\n", "    earn(desk, amount)\n    if slot == LONG_SLOT:\n"),
        fault("wallet: shares swapped", SIMULATE, 'capitals * rules["far_share"]', 'capitals * (1.0 - rules["far_share"])'),
        fault("wallet: transfer arrives too early", KERNELS, "account.transit_at = account.stamp + rule.transfer_delay", "account.transit_at = account.stamp"),
        fault("wallet: transfer arrives a bar late", KERNELS, "account.opened >= account.transit_at:", "account.opened > account.transit_at:"),
        fault("wallet: transfer without its fee", KERNELS, "    account.fees -= rule.transfer_fee\n", "", "    pay(desk, LONG_SLOT if difference > 0.0 else SHORT_SLOT, -rule.transfer_fee)\n", ""),
        fault("wallet: fee from the wallet that receives", KERNELS, "LONG_SLOT if difference > 0.0 else SHORT_SLOT, -rule", "SHORT_SLOT if difference > 0.0 else LONG_SLOT, -rule"),
        fault("wallet: transfer for the least difference", KERNELS, "max(REBALANCED * cash, rule.transfer_fee)", "0.0"),
        fault("wallet: transfer not worth its fee", KERNELS, "max(REBALANCED * cash, rule.transfer_fee)", "REBALANCED * cash"),
        fault("wallet: transfer while one is under way", KERNELS, "    if account.transit != 0.0:\n        return False\n", ""),
        fault("wallet: a derivative paid in full", KERNELS, "return money * terms.leverage / leg.close", "return money / leg.close"),
        fault("borrow limit: entry beyond it", KERNELS, "        quantity = min(quantity, account.available)\n", "        pass\n"),
        fault("borrow limit: of what is bought", KERNELS, "sold = desk.long_terms if side < 0 else desk.short_terms", "sold = desk.long_terms if side > 0 else desk.short_terms"),
        fault("borrow limit: recall of exactly what is held", KERNELS, "borrowed > max(account.available, 0.0)", "borrowed >= max(account.available, 0.0)"),
        fault("borrow limit: recall never", KERNELS, "and borrowed > max(account.available, 0.0)", "and False"),
        fault("borrow limit: recall after its instant", PREPARE, "market.stamps >= recalled.value", "market.stamps > recalled.value"),
        fault("borrow limit: none before any is known", PREPARE, 'np.nan_to_num(market.series("borrow_available"))', 'np.nan_to_num(market.series("borrow_available"), nan=np.inf)'),
        # jumping is walking
        fault("jump: deleveraging does not walk", PREPARE, "        or execution.deleveraged_at is not None\n", ""),
        fault("jump: top-ups do not walk", PREPARE, "        or execution.top_up is not None\n", ""),
    ),
    *near(
        "test_golden_inverse",
        # inverse contracts
        fault("inverse: value without its coins of funding", COINS, "coin[1] / close + coin[1] * coins - quote", "coin[1] / close - quote"),
        fault("inverse: value with its funding twice", COINS, "coin[1] / close + coin[1] * coins - quote", "coin[1] / close + coin[1] * coins"),
        fault("inverse: marks not turned", COINS, "return 1.0 / low, 1.0 / high", "return 1.0 / high, 1.0 / low"),
        fault("inverse: collateral that does not move with its coin", KERNELS, "leg.coins = leg.collateral - quantity * (", "leg.coins = -quantity * ("),
        fault("inverse: entry that does not move with its coin", KERNELS, "leg.coins = leg.collateral - quantity * (entry + leg.entry_accrual)", "leg.coins = leg.collateral"),
        fault("inverse: slippage of a linear contract", KERNELS, "slippage = worth * cost if inverse", "slippage = worth * cost / (1.0 + cost) if inverse"),
        fault("inverse: funding of a linear contract", PAYMENTS, "rates / prices if item.settle", "rates * prices if item.settle"),
        fault("inverse: funding sign", PAYMENTS, "rates / prices if item.settle", "-rates / prices if item.settle"),
        fault("inverse: face in broken contracts", KERNELS, "leg.goal = whole(goal * leg.unit, terms.contract)", "leg.goal = goal * leg.unit"),
        fault("inverse: cross margin in quote currency", KERNELS, "value = value / account.coin if value > 0.0 else 0.0", "pass"),
        fault("inverse: margin without the spot's coins", KERNELS, "            value += max(other.quantity, 0.0)\n", "            pass\n"),
        fault("inverse: collateral bought beside the spot's coins", KERNELS, "backed = other.quantity > 0.0 and", "backed = False and"),
        fault("inverse: liquidation pays at the coin's close", KERNELS, "    coin = alongside * account.coin\n", "    coin = account.coin\n"),
    ),
    *near(
        "test_coins",
        # inverse contracts
        fault("inverse: the market's coin before the rule's own", COINS, "    if own is not None:\n        return own\n", ""),
    ),
    *near(
        "mutations",
        # entries and sizes
        fault("scale of the first pair", TAPES, "rows[p if len(rows) > 1 else 0][first : last + 1]", "rows[0][first : last + 1]"),
    ),
    *near(
        "test_golden_book",
        # books: money is one
        fault("book: interest by the sign of the account's own balance", KERNELS, "1 if pool.balance < 0.0 else 0\n    if account", "1 if account.balance < 0.0 else 0\n    if account"),
        fault("book: cash of an account is its own", KERNELS, "    desk.pool.balance += amount\n", ""),
        fault("book: balances not fixed anew after a fill", KERNELS, "            if several and changed:\n" + TURN_AT_OPEN, ""),
        fault("book: balances not fixed anew after a liquidation", KERNELS, "                if several and forced:\n" + TURN_AT_END, ""),
        fault("book: fixed anew at the end of the bar that fills", KERNELS, TURN_AT_OPEN, TURN_AT_OPEN.replace("OPEN", "END")),
        fault("book: fixed anew at the open of the bar that liquidates", KERNELS, "if several and forced:\n" + TURN_AT_END, "if several and forced:\n" + TURN_AT_END.replace("END", "OPEN")),
        fault("book: fixed anew without the interest so far", KERNELS, "        if when == AT_OPEN:\n            book_at_open(desk)\n        else:\n            book_at_close(desk)\n", ""),
        fault("book: fixed anew and not written", KERNELS, "        record(account, legs[i, 0], legs[i, 1], ledger[i, account.changes])\n", ""),
        fault("book: reserve not fixed anew", KERNELS, FIX_ALL + FIX + "        desk", FIX_RULES + FIX + "        desk", FIX_ALL + FIX + "        rebase", FIX_RULES + FIX + "        rebase"),
        fault("book: only the first account fixed anew", KERNELS,
              FIX_ALL + FIX + "        desk", FIX_ALL.replace("accounts.shape[0]", "1") + FIX + "        desk",
              FIX_ALL + FIX + "        rebase", FIX_ALL.replace("accounts.shape[0]", "1") + FIX + "        rebase"),
        fault("book: column of equity by the sign of the own balance", KERNELS, "money = rates[BORROW] if row.borrowing != 0 else", "money = rates[BORROW] if row.balance < 0.0 else"),
        fault("book: columns of sources by the sign of the own balance", KERNELS, "(FINANCING_ROW, rates[BORROW]) if row.borrowing != 0 else", "(FINANCING_ROW, rates[BORROW]) if row.balance < 0.0 else"),
        fault("book: interest booked by the sign of the own balance", KERNELS, "    if account.borrowing != 0:\n        interest", "    if account.balance < 0.0:\n        interest"),
        fault("book: top-up without what the others have accrued", KERNELS, "+ accrued(desk) + account.accrued_beside", "+ accrued(desk)", first="test_golden_book::test_a_top_up_sends_no_more_than_all_accounts_have_with_what_has_accrued"),
        fault("book: reserve that owes is left out", SIMULATE, "if abs(reserve) > WHOLE else", "if reserve > WHOLE else"),
        fault("book: reserve's cash is not the book's", SIMULATE, 'accounts["balance"].sum(), capital', 'accounts["balance"][: len(prepared)].sum(), capital'),
        # books: margin is one
        fault("book: margin on the rule's own cash", KERNELS, "        return desk.pool.balance\n", "        return account.balance\n"),
        fault("book: drawn cash never comes back", KERNELS, "        pool.drawn = 0.0\n", ""),
        fault("book: nothing is drawn", KERNELS, "if cash > 0.0 and desk.rule.wallets == 0:", "if False:"),
        fault("book: a slot draws all cash", KERNELS, "lacking = max(-margin_left(leg, terms, backing(desk, slot, 0.0)), 0.0)", "lacking = cash"),
        fault("book: a slot that lacks nothing draws", KERNELS, "lacking = max(-margin_left(leg, terms, backing(desk, slot, 0.0)), 0.0)", "lacking = abs(margin_left(leg, terms, backing(desk, slot, 0.0)))"),
        fault("book: margin in the opposite order", KERNELS, ALL_CHECKED + "        pool.drawn = 0.0\n" + EACH, ALL_CHECKED + "        pool.drawn = 0.0\n" + BACKWARDS),
        # books: limits in total
        fault("book: exposure without the other rules", KERNELS, "            account.allowance -= exposure_of(accounts[j], rules[j], legs[j, 0], legs[j, 1])\n", "", first="test_golden_book::test_exposure_in_total_holds_down_the_rule_that_comes_later"),
        fault("book: exposure counts what is left of a goal", KERNELS, "(held if account.phase == CLOSING else max(held, abs(first.goal)))", "max(held, abs(first.goal))", first="test_golden_book::test_a_rule_that_leaves_counts_what_it_holds_and_not_what_it_aimed_at"),
        fault("book: exposure counts only what is held", KERNELS, "(held if account.phase == CLOSING else max(held, abs(first.goal)))", "held", first="test_golden_book::test_exposure_in_total_holds_down_the_rule_that_comes_later"),
        fault("book: exposure of a trade that is over", KERNELS, "    if account.phase == FLAT:\n        return 0.0\n", "", first="test_golden_book::test_a_rule_that_leaves_counts_until_it_is_out"),
        fault("book: exposure of the rule's own equity", KERNELS, "pool.exposure * pool.equity if", "pool.exposure * equity(account, legs[i, 0], legs[i, 1]) if"),
        fault("book: decisions in the opposite order", KERNELS, ALL_DECIDE + EACH, ALL_DECIDE + BACKWARDS),
        fault("book: drawdown takes out the first rule only", KERNELS, "= all_drawn, False, False", "= all_drawn and i == 0, False, False", first="test_golden_book::test_a_drawdown_in_total_takes_every_rule_out_until_the_pause_is_over"),
        fault("book: drawdown without a pause", KERNELS, "max(account.paused_until, pool.paused_until)", "account.paused_until"),
        fault("book: drawdown with a pause without end", KERNELS, "pool.paused_until = accounts[0].stamp + pool.pause", "pool.paused_until = NEVER", first="test_golden_book::test_a_drawdown_in_total_takes_every_rule_out_until_the_pause_is_over"),
        fault("book: drawdown keeps its peak", KERNELS, "                pool.peak = pool.equity\n", "", first="test_golden_book::test_a_drawdown_in_total_takes_every_rule_out_until_the_pause_is_over"),
        # several rules on the same tapes
        fault("book: signals of the first rule", JOINT, "stride * np.arange(len(prepared))", "0 * np.arange(len(prepared))"),
        fault("book: pairs of the first rule", JOINT, "part.candidate + at, -1)", "part.candidate, -1)"),
        fault("book: pairs numbered through", SIMULATE, '        row["pair"] -= pairs_at\n', "        pass\n"),
        fault("jump: margin with cash that the other slot draws on", KERNELS, ONE_MARGIN, "and pool.rules == 1"),
        fault("jump: margin with cash that other rules use", KERNELS, ONE_MARGIN, "and pool.derivatives <= 2"),
    ),
    *near(
        "mutations::test_kernel_and_judge_agree_on_books",
        fault("book: marked by the sign of the own balance", KERNELS, "    rate = account.borrow_rate if account.borrowing != 0 else", "    rate = account.borrow_rate if account.balance < 0.0 else"),
        fault("book: coins drawn as cash", KERNELS, "lacking * desk.account.coin if terms.inverse != 0 else lacking", "lacking"),
        fault("book: margin before the fills of the next rule", KERNELS, MARGIN, "", TURN_AT_OPEN, TURN_AT_OPEN + EARLY_MARGIN.replace("            pool.drawn = 0.0\n", "")),
        fault("book: marked before margin and expiry", KERNELS, MARKED, "", ALL_CHECKED, MARK + MARKED + ALL_CHECKED),
        fault("book: marked without the reserve", KERNELS, MARKED, MARKED.replace("range(count)", "range(pool.rules)")),
        fault("book: reserve without the interest of the bar", KERNELS, "        # ---- the bar\n        for i in range(count):\n", "        # ---- the bar\n" + EACH),
        fault("book: exposure counts the rule itself", KERNELS, "        if j != i:\n", "        if True:\n"),
        fault("book: exposure of face as if it were coins", KERNELS, "abs(first.goal))) / abs(first.unit) * first.close", "abs(first.goal))) * first.close"),
        fault("book: exposure not asked by a resize", KERNELS, "wanted = min(rule.fraction * value * scale, account.allowance)", "wanted = rule.fraction * value * scale"),
        fault("book: drawdown of the capital", KERNELS, "            pool.peak = max(pool.peak, pool.equity)\n", ""),
        fault("book: terms of the first rule", SIMULATE, "joint.periods_at[:count]\n", "0\n"),
        fault("book: terms go on into the next rule's", JOINT, "periods_at[:-1] + periods", "sum(periods)"),
        fault("book: slots read each other's places", JOINT, '("start", "long_start", "short_start")', '("start", "short_start", "long_start")'),
        fault("book: what the first rule can borrow", KERNELS, "available[rule.bars_at + t]", "available[t]"),
        fault("book: payments that the first rule expects", KERNELS, "                at = rule.bars_at + t\n", "                at = t\n"),
        fault("book: coin of the first rule", KERNELS, "coin[COIN_OPEN, rule.bars_at + t], coin[COIN_CLOSE, rule.bars_at + t]", "coin[COIN_OPEN, t], coin[COIN_CLOSE, t]"),
        fault("book: signal of the first rule for side −1", KERNELS, "elif rule.minus != 0 and values[rule.entry_at + rule.minus_at + t] >= rule.enter", "elif rule.minus != 0 and values[rule.minus_at + t] >= rule.enter"),
    ),
    *near(
        "mutations::test_kernel_and_judge_agree_on_cases_made_for_a_fault",
        fault("delivery fee by the contract forgotten", KERNELS, "terms.delivery_unit_fee * (", "0.0 * ("),
        fault("wallet: resize without the worth of the spot", KERNELS, " if leg.quantity < 0.0 else leg.quantity * leg.close\n", " if leg.quantity < 0.0 else 0.0\n"),
        fault("book: balances not fixed anew after a top-up", KERNELS, "                if several:\n" + TURN_AT_END, ""),
        fault("book: wallets drawn on", KERNELS, "if cash > 0.0 and desk.rule.wallets == 0:", "if cash > 0.0:"),
        fault("book: fills in the opposite order", KERNELS, ALL_FILL + EACH, ALL_FILL + BACKWARDS),
        fault("book: drawdown exclusive", KERNELS, "pool.equity <= pool.peak", "pool.equity < pool.peak"),
        fault("jump over the entry of a rule before", KERNELS, "begin, end, side, sides = t, nearest, 0, ENTRY_SIDES", "begin, end, side, sides = t, final, 0, ENTRY_SIDES"),
        fault("jump over the trade of a rule before", KERNELS, "min(nearest, account.horizon, account.period_end)", "min(account.horizon, account.period_end)"),
        fault("jump over a loss by the sign of the own balance", KERNELS, "rule.resize_factor < np.inf, BORROW if account.borrowing != 0 else IDLE", "rule.resize_factor < np.inf, BORROW if account.balance < 0.0 else IDLE"),
        fault("jump: drawdown of a book does not walk", SIMULATE, '        rules["walks"] = 1\n', "        pass\n"),
        fault("jump: exposure of a book does not walk", SIMULATE, 'rules["walks"] |= rules["resize_factor"] < np.inf', 'rules["walks"] |= 0'),
    ),
    *near(
        "mutations::test_what_a_rule_that_owes_the_others_has_accrued_is_charged_at_the_book_s_rate",
        fault("book: interest to come by the sign of the own balance", KERNELS, "((account.borrow_rate if account.borrowing != 0 else", "((account.borrow_rate if account.balance < 0.0 else"),
    ),
    *near(
        "test_chains",
        fault("nth: one too near", CURVE, "== leg.nth\n", "== leg.nth - 1\n"),
        fault("nth: the nearest", CURVE, "if leg.chain and leg.nth > 1:", "if False:"),
        fault("nth: counted without min_days", CURVE, "            open_to_entry &= ahead >= whole_days(leg.min_days)\n", "            far = ahead >= whole_days(leg.min_days)\n",
              "np.cumsum(open_to_entry, axis=0) == leg.nth\n", "np.cumsum(open_to_entry, axis=0) == leg.nth\n        open_to_entry &= far if leg.chain else True\n"),
        fault("nth: a contract is a pair with itself", CURVE, "both = both[(both >= 0).all(axis=1) & ~same]", "both = both[(both >= 0).all(axis=1)]"),
    ),
    *near(
        "mutations",
        # jumping is walking
        fault("jump over what waits", KERNELS, "account.phase == ROLLING or waiting(long, short):\n                nearest", "account.phase == ROLLING:\n                nearest", first="mutations::test_kernel_and_judge_agree[1]"),
        fault("jump: a resize with a scale does not walk", PREPARE, "        or (rule.scale is not None and rule.resize_factor < np.inf)\n", "", first="mutations::test_kernel_and_judge_agree_where_nothing_walks[123]"),
    ),
    *near(
        "mutations",
        # jumping is walking
        fault("jump: inverse contracts do not walk", PREPARE, "coin_of(market, rule) is not None\n        or", "False\n        or"),
        fault("jump: what can be borrowed does not walk", PREPARE, "        or borrow_limited(market, rule, execution)\n", "", first="mutations::test_kernel_and_judge_agree_on_desk_cases[27]"),
        fault("jump: wallets do not walk", PREPARE, "        or execution.wallets is not None\n        or", "        or", first="mutations::test_kernel_and_judge_agree_where_nothing_walks[93]"),
    ),
    *near(
        "mutations",
        # fills and their costs
        # two legs
        fault("latency forgotten after a forced end", KERNELS, "ready + long_terms.latency + (", "ready + (", "ready + short_terms.latency + (", "ready + ("),
        fault("chase for everyone", KERNELS, "rule.policy == CHASE and opened", "rule.policy != WAIT and opened"),
        fault("undo when an entry is complete", KERNELS, "rule.policy == UNDO and account.phase == OPENING and", "rule.policy == UNDO and"),
        # tranches
        fault("tranche due by the one before, not by its decision", KERNELS, "    account.due = account.stamp\n", "    account.due = account.stamp if account.tranche == 1 else account.due\n", first="mutations::test_kernel_and_judge_agree_on_desk_cases[14]"),
        fault("tranche for a payment without a next one", KERNELS, "elif account.next_payment > 0:\n        account.due = account.next_payment",
              "else:\n        account.due = account.next_payment if account.next_payment > 0 else NEVER", first="mutations::test_kernel_and_judge_agree_on_desk_cases[26]"),
        fault("tranche for a payment that is near only", KERNELS, "elif account.next_payment > 0:\n        account.due = account.next_payment",
              "elif account.expected_at > 0:\n        account.due = account.expected_at"),
        fault("days to expiry is urgent", KERNELS, "calm = reason >= DAYS", "calm = reason > DAYS", first="mutations::test_kernel_and_judge_agree_on_desk_cases[39]"),
        fault("tranches go on after a forced end", KERNELS, "    account.tranche = account.tranches = 1\n", "", first="mutations::test_kernel_and_judge_agree_on_desk_cases[18]"),
        fault("tranche makes a waiting slot wait anew", KERNELS, "order_tranche(desk, pair, desk.account.stamp, True)", "order_tranche(desk, pair, desk.account.stamp, False)"),
        fault("entry in tranches without weights", KERNELS, "mean + (reference - mean) * weight / (before + weight)", "mean + (reference - mean) * 0.5"),
        # funding
        fault("funding on the price of its snapshot", PAYMENTS, "_prices(market, item, rows.times, rows.marks)", "_prices(market, item, rows.times + moved, rows.marks)"),
        fault("payment expected without its snapshot", PAYMENTS, "times = events.times + shift(market, instrument, snapshot)", "times = events.times"),
        # deleveraging
        fault("deleveraging of an inverse contract by its price", KERNELS, "close = 1.0 / leg.close if terms.inverse != 0 else leg.close\n    if not", "close = leg.close\n    if not", first="mutations::test_kernel_and_judge_agree_on_desk_cases[18]"),
        fault("deleveraging of an inverse contract at a better price", KERNELS, "bought = (leg.quantity > 0.0) != (terms.inverse != 0)\n", "bought = leg.quantity > 0.0\n", first="mutations::test_kernel_and_judge_agree_on_desk_cases[40]"),
        fault("deleveraging with the fee of a liquidation", KERNELS,
              "    if action == LIQUIDATED:\n        fee =", "    if action != SETTLED:\n        fee =",
              "    if action == LIQUIDATED:\n        backing", "    if action != SETTLED:\n        backing"),
        fault("deleveraging a bar late", PREPARE, "bar = int(np.searchsorted(market.stamps, at.value))", 'bar = int(np.searchsorted(market.stamps, at.value, "right"))'),
        # top-ups
        fault("top-up at the whole margin", KERNELS, "worth < rule.top_up * wanted", "worth < wanted", first="mutations::test_kernel_and_judge_agree_on_desk_cases[22]"),
        fault("top-up of a leg that leaves", KERNELS, "or leg.target == 0.0 or leg.coming > 0.0:", "or leg.coming > 0.0:", first="mutations::test_kernel_and_judge_agree_on_desk_cases[22]"),
        # wallets and what can be borrowed
        fault("wallet: money on its way counted usable", KERNELS, "account.balance - account.far - abs(account.transit)", "account.balance - account.far"),
        fault("wallet: money on its way counted twice", KERNELS, "account.far += max(account.transit, 0.0)", "account.far += abs(account.transit)"),
        fault("wallet: share of the capital", KERNELS, "difference = rule.far_share * cash - account.far", "difference = rule.far_share * account.capital - account.far"),
        fault("wallet: a sold spot paid for", KERNELS, "return money / leg.close if bought else np.inf", "return money / leg.close"),
        fault("wallet: coins bought beside the spot's", KERNELS, "        return np.inf  # the spot's coins are its collateral\n", "        pass\n", first="mutations::test_kernel_and_judge_agree_on_desk_cases[29]"),
        fault("wallet: entry without what has accrued", KERNELS, "return wallet(desk, slot) + accrued(desk) +", "return wallet(desk, slot) +", first="mutations::test_kernel_and_judge_agree_on_desk_cases[6]"),
        fault("wallet: resize without the worth of the account", KERNELS, "        money += account_worth(account, leg, terms)\n", "        pass\n", first="mutations::test_kernel_and_judge_agree_on_desk_cases[69]"),
        # inverse contracts
        fault("inverse: value at the open with the funding of the bar", COINS, "coin[0] * _before(coins) - _before(quote)", "coin[0] * coins - quote", first="mutations::test_kernel_and_judge_agree_on_desk_cases[4]"),
        fault("inverse: value inside the bar without its funding", KERNELS, "coin / price + coin * leg.margin_accrual - leg.accrual", "coin / price", first="mutations::test_kernel_and_judge_agree_on_desk_cases[16]"),
        fault("inverse: coins at the coin's close", KERNELS, "pay(desk, slot, -coins * desk.account.coin_open)", "pay(desk, slot, -coins * desk.account.coin)"),
        fault("inverse: a part that is closed leaves its coins behind", KERNELS, "else leg.collateral * (size / before - 1.0)", "else (0.0 if size > 0.0 else -leg.collateral)", first="mutations::test_kernel_and_judge_agree_on_desk_cases[3]"),
        fault("inverse: a part that is added brings all collateral anew", KERNELS, "coins = (size - before) * collateral if", "coins = size * collateral if", first="mutations::test_kernel_and_judge_agree_on_desk_cases[4]"),
        fault("inverse: roll pays its coins out", KERNELS, "            if action != ROLLED:\n                change_coins", "            if True:\n                change_coins", first="mutations::test_kernel_and_judge_agree_on_desk_cases[11]"),
        fault("inverse: fee at the coin's close", KERNELS, "worth = abs(change) / price * account.coin_open", "worth = abs(change) / price * account.coin"),
        fault("inverse: funding at the coin's price of the bar's end", PAYMENTS, "coin[np.maximum(flows.places, 0)]", "coin[flows.bars]", first="mutations::test_kernel_and_judge_agree_on_desk_cases[6]"),
        fault("inverse: expected payment of a linear contract", KERNELS, "(units if rule.perpetual_inverse != 0 else -units)", "-units"),
        fault("inverse: backed by a spot that is sold", KERNELS, "backed = other.quantity > 0.0 and", "backed ="),
        fault("inverse: quantity by the close of the bar that fills", KERNELS, "abs(leg.quantity / leg.unit)", "abs(leg.quantity / (leg.close if leg.unit < 0.0 else 1.0))"),
        # the other leg
        fault("all legging while one slot has more", KERNELS, "long.share = of_short / of_long", "long.share = 0.0", "short.share = of_long / of_short", "short.share = 0.0"),
        fault("shares by what is held, not by the goal", KERNELS, "abs(long.quantity) / abs(long.goal) if", "abs(long.quantity) / abs(long.target or 1.0) if"),
        fault("legging of the columns posted as price", KERNELS, "add_linear(out[LEGGING_ROW], (1.0 - share) * quantity, reference, prices)", "add_linear(out[slot], (1.0 - share) * quantity, reference, prices)"),
        fault("forced end puts an exit off that was ordered", KERNELS, "min(leg.ready, ready) if leg.target == 0.0 and leg.quantity != 0.0 else ready", "ready", first="mutations::test_kernel_and_judge_agree_on_desk_cases[22]"),
        # roll
        fault("roll: levels not renewed", KERNELS, ROLL_LEVELS, ""),
        fault("roll: as a maker", KERNELS, ENTER_NEW, ENTER_NEW.replace("True", "False")),
        fault("roll: side −1 by the signal of side +1", KERNELS, "pays = values[rule.entry_at + (rule.minus_at if account.side < 0 else 0) + t]", "pays = values[rule.entry_at + (rule.minus_at if rule.plus == 0 else 0) + t]", first="mutations::test_kernel_and_judge_agree_on_desk_cases[69]"),
        fault("roll: without latency", KERNELS, "account.roll_ready = account.stamp + latency", "account.roll_ready = account.stamp", first="mutations::test_kernel_and_judge_agree_on_desk_cases[11]"),
        # entries and sizes
        fault("liquidity: wide and unknown is unknown", ORDERS, "np.where((one == 1.0) | (other == 1.0), 1.0, one + other)", "np.minimum(one + other, 1.0)"),
        # exits
        fault("annualized stop by the farther expiry", TAPES, 'records["expiry"] = np.minimum(records["expiry"], ends)', 'records["expiry"] = np.where(ends < k.NEVER, ends, records["expiry"])'),
        fault("drawdown: peak of trades only", KERNELS, "            if rule.drawdown < np.inf:\n", "            if rule.drawdown < np.inf and account.was_on != 0:\n", first="mutations::test_kernel_and_judge_agree_on_desk_cases[70]"),
        fault("drawdown: enters at the close that it leaves", KERNELS, "account.paused_until = account.stamp + rule.pause", "account.paused_until = account.stamp + rule.pause if account.was_on != 0 else 0", first="mutations::test_kernel_and_judge_agree_on_desk_cases[80]"),
        fault("exposure: of the capital", KERNELS, "* first.close > rule.exposure * value", "* first.close > rule.exposure * account.capital", first="mutations::test_kernel_and_judge_agree_on_desk_cases[23]"),
        fault("exposure: of face as if it were coins", KERNELS, "abs(first.quantity / first.unit) * first.close > rule", "abs(first.quantity) * first.close > rule"),
        fault("converge: from the first fill", KERNELS, "if complete == 0 and account.complete != 0 and rule.converge", "if account.converge_bar == NEVER and rule.converge", first="mutations::test_kernel_and_judge_agree_on_desk_cases[96]"),
        # resize
        fault("resize by the size without its scale", KERNELS, "min(rule.fraction * value * scale, account.allowance)", "min(rule.fraction * value, account.allowance)", first="mutations::test_kernel_and_judge_agree_on_desk_cases[1]"),
        # jumping is walking
        fault("jump over a change of terms", KERNELS, "min(nearest, account.horizon, account.period_end)", "min(nearest, account.horizon)", first="mutations::test_kernel_and_judge_agree_where_tiers_change[6]"),
        fault("jump with the margin of the terms before", KERNELS, NEW_PERIOD, "", first="mutations::test_kernel_and_judge_agree_where_tiers_change[6]"),
    ),
]
# fmt: on
