"""The judge: a slow, plain model of the engine in double entry, written from `backtest/semantics.md` and from nothing else.

Every bar is visited and every flow moves money between two accounts (`naive_books.Books`): cash or wallets, interest not yet credited,
collateral and funding of each derivative, proceeds of short sales, money under way; inverse contracts have accounts in coin. Equity is
what those accounts and the positions are worth. The sources of profit are posted beside it, each by its own flow, and at every bar they
must explain the equity. It imports nothing from the package, so agreement means something:

    result = judge(NaiveMarket(...), NaiveRule(long=NaiveSlot(instruments=[spot]), short=NaiveSlot(instruments=[future])), capital=10_000.0)

A single run is a book of one: `naive_book.judge_book` takes the same bar (`take_bar`) with several accounts.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from naive_books import Holding, Pot
from naive_decisions import Decisions
from naive_parts import (
    DAY,
    NAN,
    SOURCES,
    YEAR,
    NaiveFill,
    NaiveInstrument,
    NaiveMarket,
    NaiveResult,
    NaiveRule,
    NaiveSlot,
    NaiveTrade,
    Pair,
    Signal,
    Tier,
    at,
    breach_price,
    inverse_breach_price,
    known,
    maintenance,
    whole_lots,
)

__all__ = [
    "DAY", "NAN", "SOURCES", "YEAR", "Account", "NaiveFill", "NaiveInstrument", "NaiveMarket", "NaiveResult", "NaiveRule", "NaiveSlot",
    "NaiveTrade", "Pair", "Signal", "Tier", "breach_price", "inverse_breach_price", "judge", "known", "maintenance", "take_bar",
    "whole_lots",
]  # fmt: skip


def judge(market: NaiveMarket, rule: NaiveRule, capital: float) -> NaiveResult:
    """Run `rule` over every bar of `market`, flat with `capital` in cash at the start.

    Raises AssertionError where the sources or the books don't explain the equity, ValueError where a price that a flow needs is unknown.
    """
    pot = Pot(capital)
    account = Account(market, rule, capital, pot)
    for bar in range(len(market.stamps)):
        take_bar([account], pot, bar)
    return account.finish()


def take_bar(accounts: Sequence["Account"], pot: Pot, bar: int) -> None:
    """One bar of all accounts of a pot, in their order."""
    pot.drawn = 0.0
    for account in accounts:
        account.receive(bar)
        account.fill_roll(bar)
        account.fill_orders(bar)
        pot.turn()
    for account in accounts:
        account.pay_funding(bar)
    accrue_all(accounts, pot, bar)
    for account in accounts:
        account.check_margin(bar)
        account.deleverage(bar)
        account.settle_expiries(bar)
        pot.turn()
    for account in accounts:
        account.mark(bar)
    pot.watch(accounts[0].stamp(bar))
    for account in accounts:
        account.decide(bar)
        pot.turn()
    for account in accounts:
        account.record()


def accrue_all(accounts: Sequence["Account"], pot: Pot, bar: int) -> None:
    """Step 3 of all accounts, at the sign that their balance has in this bar; together they get the interest on the sum."""
    market, opened = accounts[0].market, accounts[0].stamp(bar - 1)
    years, rate = (accounts[0].stamp(bar) - opened) / YEAR, known(market.borrow_usd if pot.owing else market.idle_rate, opened)
    source, before = "financing" if pot.owing else "idle_cash", [dict(account.posted) for account in accounts]
    for account in accounts:
        account.earn(source, rate * account.balance * years)
        account.accrue(bar)
    paid = math.fsum(account.posted[source] - old[source] for account, old in zip(accounts, before, strict=True))
    size = math.fsum(max(abs(account.balance), abs(account.posted[source])) for account in accounts)
    assert abs(paid - rate * pot.balance * years) <= 1e-9 * size, "the interest of the accounts is not that of their sum"


class Account(Decisions):
    """One rule's account: the steps of a bar, and the record of what happened."""

    def finish(self) -> NaiveResult:
        """After the last bar: a trade that is still on ends with the data."""
        if self.trade is not None:
            self.reason = "end of data"
            self.close_trade()
        self.result.state = dict(self.accounts) | {f"{name} coins": amount for name, amount in self.coins.items()}
        for holding in self.holdings:
            self.result.state[f"{holding.name} quantity"] = holding.quantity
            self.result.state[f"{holding.name} target"] = holding.target
        return self.result

    # --- the bar -----------------------------------------------------------------------------------------------------------------

    def terms(self, holding: Holding, bar: int) -> NaiveSlot:
        """The slot's terms in force at the bar's open instant."""
        slot = holding.slot
        for instant, fields in slot.changes:
            if instant <= self.stamp(bar - 1):
                changed: dict[str, Any] = dict(fields)
                slot = replace(slot, **changed)
        return slot

    def opening_price(self, holding: Holding, bar: int) -> float:
        """The open, or without one the last close."""
        opened = holding.instrument.open[bar]
        return at(holding.instrument.close, bar - 1) if math.isnan(opened) else opened

    def opening_coin(self, bar: int) -> float:
        opened = at(self.market.coin_open, bar)
        return at(self.market.coin_close, bar - 1) if math.isnan(opened) else opened

    def receive(self, bar: int) -> None:
        """Step 0."""
        opened = self.stamp(bar - 1)
        if self.transfer is not None and self.transfer[1] <= opened:
            self.empty("under way", self.purse(self.transfer[0]))
            self.transfer = None
            self.fix_balance()
        for holding in self.holdings:
            if self.top_ups.get(holding.name, opened + 1) <= opened:
                del self.top_ups[holding.name]
                held = holding.quantity != 0.0
                self.empty(f"{holding.name} top-up", f"{holding.name} collateral" if held else self.purse(holding.name))
                if not held:
                    self.fix_balance()

    # --- fills -------------------------------------------------------------------------------------------------------------------

    def fill_orders(self, bar: int) -> None:
        """Step 1. Every held slot's reference moves to the open before any quantity changes: legging begins or ends at that instant."""
        opened = self.stamp(bar - 1)
        ready = [holding for holding in self.holdings if holding.waiting and holding.ready <= opened]
        becomes = {holding.name: self.quantity_after(holding, bar) for holding in ready}
        filling = [holding for holding in ready if becomes[holding.name] != holding.quantity]
        self.result.waited += [(bar, holding.name) for holding in ready if holding not in filling]
        if not filling:
            return
        if self.trade is None:
            self.begin_trade(bar)
        self.move_references_to_opens(bar)
        action = "exit" if self.reason else "entry" if self.opening else "resize"
        for holding in filling:
            self.fill(holding, becomes[holding.name], action, not self.makes(holding, bar), bar)
        self.fix_balance()
        if self.opening and self.tranche == self.tranches and not any(holding.waiting for holding in self.holdings):
            self.opening = False
            assert self.trade is not None
            self.settle_references(self.trade.entry_premium, opened)
        self.end_trade_if_out(opened)

    def move_references_to_opens(self, bar: int) -> None:
        for holding in self.holdings:
            self.move_reference(holding, self.opening_price(holding, bar), self.opening_coin(bar))

    def makes(self, holding: Holding, bar: int) -> bool:
        return self.terms(holding, bar).maker and not holding.chased

    def quantity_after(self, holding: Holding, bar: int) -> float:
        """The slot's quantity after this bar's open: its target, or as much of it as there is room for, if that finds a market."""
        becomes = self.as_there_is_room(holding, bar)
        change = becomes - holding.quantity
        if change == 0.0 or self.makes(holding, bar):
            return becomes
        return becomes if self.taker_cost(self.terms(holding, bar), holding.instrument, change, bar) < 1.0 else holding.quantity

    def as_there_is_room(self, holding: Holding, bar: int) -> float:
        instrument, slot, opened = holding.instrument, self.terms(holding, bar), holding.instrument.open[bar]
        change = holding.target - holding.quantity
        if math.isnan(opened):
            return holding.quantity
        if self.makes(holding, bar):
            half_spread = self.half_spread(slot, instrument, bar)
            through = at(instrument.low, bar) < opened * (1.0 - half_spread)
            if change < 0.0:
                through = at(instrument.high, bar) > opened * (1.0 + half_spread)
            if not through:
                return holding.quantity
        if slot.participation is None or holding.chased:
            return holding.target
        room = slot.participation * at(instrument.volume, bar) / self.stress(bar) * (opened if holding.inverse else 1.0)
        if math.isnan(room):
            return holding.quantity
        for offered in (room, self.whole(holding, room)):
            if offered >= abs(change) * (1.0 - 1e-9):
                return holding.target
        return holding.quantity + math.copysign(self.whole(holding, room), change)

    def fill(self, holding: Holding, quantity: float, action: str, taker: bool, bar: int) -> None:
        """Trade to `quantity` at this bar's open. The old account is settled at the fill price and opened anew."""
        instrument, slot, coin = holding.instrument, self.terms(holding, bar), self.opening_coin(bar)
        change = quantity - holding.quantity
        reference = instrument.open[bar]
        cost = self.taker_cost(slot, instrument, change, bar) if taker else -self.half_spread(slot, instrument, bar)
        price = reference * (1.0 + cost) if change > 0.0 else reference * (1.0 - cost)
        rate = slot.taker_fee if taker and slot.maker and slot.taker_fee is not None else slot.fee
        base = abs(change) / price if holding.inverse else abs(change)
        fee = rate * base * price + slot.unit_fee * base
        slippage = abs(change) * reference * cost
        if holding.inverse:
            self.need_coin(coin, bar)
            fee *= coin / price
            slippage = abs(change) * cost / price * coin
        if holding.inverse and (action == "roll" or 0.0 not in (holding.quantity, quantity)):
            self.carry_coins(holding, quantity, price, coin, rolls=action == "roll")
            holding.quantity = quantity
        else:
            self.close_account(holding, price, coin)
            holding.quantity = quantity
            self.open_account(holding, price, coin)
        holding.reference, holding.coin = reference, coin
        self.move(self.purse(holding.name), "venue", fee)
        self.post("fees", -fee)
        self.post("slippage", -slippage)
        number = len(self.result.trades)
        logged = math.copysign(base, change)
        self.log(NaiveFill(bar, holding.name, number, action, logged, reference, price, fee, slippage), abs(change))
        if action == "entry":
            assert self.trade is not None
            self.trade.quantity = max(self.trade.quantity, abs(quantity) * holding.base)

    def taker_cost(self, slot: NaiveSlot, instrument: NaiveInstrument, change: float, bar: int) -> float:
        """What a taker pays beyond the open for so much, as a fraction of it; NaN where it is not known."""
        worth = abs(change) * (1.0 if instrument.inverse else instrument.open[bar])
        return self.stress(bar) * (self.half_spread(slot, instrument, bar) + self.impact(slot, instrument, worth, bar))

    def need_coin(self, coin: float, bar: int) -> None:
        if math.isnan(coin):
            raise ValueError(f"the coin's price is not known in bar {bar}")

    def half_spread(self, slot: NaiveSlot, instrument: NaiveInstrument, bar: int) -> float:
        bid, ask = at(instrument.bid, bar - 1), at(instrument.ask, bar - 1)
        if not slot.own_spread and not math.isnan(bid) and not math.isnan(ask):
            return (ask - bid) / 2.0 / ((ask + bid) / 2.0)
        if not slot.half_spreads:
            return slot.half_spread
        setting = at(slot.half_spreads, bar - 1)
        return 0.0001 if math.isnan(setting) else setting

    def stress(self, bar: int) -> float:
        multiplier = at(self.market.stress, bar - 1)
        return 1.0 if math.isnan(multiplier) else multiplier

    def impact(self, slot: NaiveSlot, instrument: NaiveInstrument, worth: float, bar: int) -> float:
        """What trading `worth` of quote currency adds to the half-spread, NaN where volume or depth are not known."""
        if slot.impact == 0.0:
            return 0.0
        there = self.impact_base(slot, instrument, bar)
        if math.isnan(there) or there <= 0.0:
            return NAN
        return slot.impact * (math.sqrt(worth / there) if slot.impact_model == "square_root" else worth / there)

    def impact_base(self, slot: NaiveSlot, instrument: NaiveInstrument, bar: int) -> float:
        """The volume of the last day, or the depth, as known when the bar opens."""
        if slot.impact_model == "linear":
            return at(instrument.depth, bar - 1)
        opened = self.stamp(bar - 1)
        day = [one for one in range(bar) if opened - DAY < self.stamp(one) <= opened and not math.isnan(at(instrument.volume, one))]
        return math.fsum(instrument.volume[one] * instrument.close[one] for one in day) if day else NAN

    def fill_roll(self, bar: int) -> None:
        """The rest of step 1: a roll, in the first bar in which all its contracts have an open."""
        if self.roll is None or self.roll[1] > self.stamp(bar - 1):
            return
        (pair, _), changing = self.roll, self.changing(self.roll[0])
        for holding, new in changing:
            for instrument in (holding.instrument, new):
                cost = self.taker_cost(self.terms(holding, bar), instrument, holding.quantity, bar)
                if math.isnan(instrument.open[bar]) or not cost < 1.0:
                    return
        self.move_references_to_opens(bar)
        for holding, new in changing:
            quantity = holding.quantity
            self.fill(holding, 0.0, "roll", True, bar)
            holding.instrument = new
            self.fill(holding, quantity, "roll", True, bar)
        self.fix_balance()
        self.pair, self.roll = pair, None
        if len(self.holdings) == 2:
            long, short = (holding.reference for holding in self.holdings)
            self.settle_references((short - long) / long, self.stamp(bar - 1))
        else:
            self.settle_references(NAN, self.stamp(bar - 1))

    def settle_references(self, premium: float, time: int) -> None:
        """What stop and convergence compare with from now on."""
        self.settled_at, self.premium_then = time, premium
        self.annualized_then = self.annualized(premium, time)

    # --- funding, interest, margin -----------------------------------------------------------------------------------------------

    def pay_funding(self, bar: int) -> None:
        """Step 2."""
        for holding in self.holdings:
            for time, rate, own_mark in holding.instrument.funding:
                if holding.quantity == 0.0 or not self.stamp(bar - 1) < time <= self.stamp(bar):
                    continue
                price = own_mark if not math.isnan(own_mark) else self.price_at(holding.instrument, time)
                if holding.inverse:
                    coins, coin = -holding.quantity * rate / price, self.coin_at(time)
                    self.move_coins("traders", f"{holding.name} funding", coins)
                    holding.payments.append((coins, coin))
                    self.post("funding", coins * coin)
                else:
                    amount = -holding.quantity * rate * price
                    self.move("traders", f"{holding.name} funding", amount)
                    self.post("funding", amount)

    def price_at(self, instrument: NaiveInstrument, time: int) -> float:
        """The last index (where the venue pays on it) of a bar stamped by `time`, else the last mark, else the last close."""
        bars = [bar for bar, stamp in enumerate(self.market.stamps) if stamp <= time]
        indexes = [instrument.index] if instrument.notional == "index" else []
        for prices in (*indexes, instrument.mark, instrument.close):
            for bar in reversed(bars):
                if not math.isnan(at(prices, bar)):
                    return prices[bar]
        raise ValueError(f"no mark and no close is known at the funding event of {time}")

    def coin_at(self, time: int) -> float:
        """The coin's last close known at an instant."""
        closes = [at(self.market.coin_close, bar) for bar, stamp in enumerate(self.market.stamps) if stamp <= time]
        usable = [close for close in closes if not math.isnan(close)]
        if not usable:
            raise ValueError(f"the coin's price is not known at the funding event of {time}")
        return usable[-1]

    def accrue(self, bar: int) -> None:
        """Step 3 but for cash, with the rates known when the bar opened."""
        opened = self.stamp(bar - 1)
        years = (self.stamp(bar) - opened) / YEAR
        for holding in self.holdings:
            if holding.derivative or holding.quantity == 0.0:
                continue
            worth = abs(holding.quantity) * holding.instrument.close[bar]
            if holding.quantity < 0.0:
                self.earn("borrow", -known(self.market.borrow_base, opened) * worth * years)
            elif self.rule.stake:
                self.earn("staking", known(self.market.staking_yield, opened) * worth * years)

    def check_margin(self, bar: int) -> None:
        """Step 4, the long slot first."""
        if self.rule.margin == "off":
            return
        for holding in self.holdings:
            quantity, instrument = holding.quantity, holding.instrument
            if quantity == 0.0 or not holding.derivative:
                continue
            worst = instrument.mark_low[bar] if quantity > 0.0 else instrument.mark_high[bar]
            tiers = self.terms(holding, bar).tiers
            if holding.inverse:
                coin = at(self.market.coin_close, bar)
                own = self.coin_account(holding, holding.entry) + self.backing_coins(holding)
                needed = maintenance(abs(quantity) / worst, tiers)
            else:
                coin = 1.0
                own = self.accounts[f"{holding.name} collateral"] + self.accounts.get(f"{holding.name} funding", 0.0)
                needed = maintenance(abs(quantity) * worst, tiers)
            money = own + (self.spare_margin(holding) / coin if self.rule.margin == "cross" else 0.0)
            if money + holding.gain(worst) < needed:
                breach = (inverse_breach_price if holding.inverse else breach_price)(quantity, holding.entry, money, tiers)
                opened = self.opening_price(holding, bar)
                self.liquidate(holding, "liquidation", min(breach, opened) if quantity > 0.0 else max(breach, opened), bar)
            elif own + holding.gain(worst) < needed:
                self.draw(holding, (needed - own - holding.gain(worst)) * coin, bar)

    def spare_margin(self, holding: Holding) -> float:
        """What cross margin adds: the pot's balance less what was drawn of it, or with wallets what lay in the slot's own one at the last fill."""
        return self.pot.spare_margin() if self.rule.wallets is None else max(self.accounts[self.purse(holding.name)], 0.0)

    def draw(self, holding: Holding, lacking: float, bar: int) -> None:
        """Cash backs one slot at a time: what this one lacks is not there for those after it in this bar."""
        self.pot.drawn += lacking
        self.result.drawn.append((bar, holding.name, lacking))

    def deleverage(self, bar: int) -> None:
        """The end of step 4: derivatives that have a gain are taken away."""
        instant = self.rule.deleveraged_at
        if instant is None or not self.stamp(bar - 1) < instant <= self.stamp(bar):
            return
        for holding in self.holdings:
            close = holding.instrument.close[bar]
            if holding.derivative and holding.quantity != 0.0 and holding.quantity * (close - holding.entry) > 0.0:
                price = close * (1.0 - math.copysign(self.rule.deleveraged_gap, holding.quantity))
                self.liquidate(holding, "deleveraging", price, bar)

    def liquidate(self, holding: Holding, reason: str, price: float, bar: int) -> None:
        """Take a slot's position away at `price`; a deleveraging costs no fee and nothing of it is absorbed."""
        quantity, closed = holding.quantity, holding.instrument.close[bar]
        coin = price * at(self.market.coin_close, bar) / closed
        self.move_reference(holding, price, coin)
        for other in self.holdings:
            if other is not holding:
                self.move_reference(other, price * other.instrument.close[bar] / closed, coin)
        base = abs(quantity) / price if holding.inverse else abs(quantity)
        money = self.account_worth(holding) + (self.backing_coins(holding) * coin if holding.inverse else 0.0)
        fee = absorbed = 0.0
        if reason == "liquidation":
            fee = self.terms(holding, bar).liquidation_fee * base * (coin if holding.inverse else price)
            absorbed = max(fee - money, 0.0) if self.rule.margin == "isolated" else 0.0
        self.close_account(holding, price, coin)
        self.move(self.purse(holding.name), "venue", fee - absorbed)
        if absorbed > 0.0:
            self.result.absorbed.append((bar, holding.name, absorbed))
        self.post("liquidation", absorbed - fee)
        holding.quantity = 0.0
        logged = -math.copysign(base, quantity)
        self.log(NaiveFill(bar, holding.name, len(self.result.trades), reason, logged, price, price, fee, 0.0), abs(quantity))
        self.abandon(reason, bar)
        self.fix_balance()
        self.end_trade_if_out(self.stamp(bar))

    # --- expiry, mark ------------------------------------------------------------------------------------------------------------

    def settle_expiries(self, bar: int) -> None:
        """Step 5. Slots that expire in the same bar settle together: both were held until then."""
        if self.pair is None:
            return
        expiring = [holding for holding in self.holdings if self.expires_in(holding, bar)]
        settling = [holding for holding in expiring if holding.quantity != 0.0]
        if not settling and (not expiring or self.reason):
            return
        if self.trade is None:
            self.call_off("expiry", bar)
            return
        for holding in self.holdings:
            held = self.settlement_price(holding.instrument) if holding in settling else holding.instrument.close[bar]
            self.move_reference(holding, held, at(self.market.coin_close, bar))
        for holding in settling:
            self.settle(holding, bar)
        self.abandon("expiry", bar)
        if settling:
            self.fix_balance()
            self.end_trade_if_out(max(holding.instrument.expiry or 0 for holding in settling))

    def expires_in(self, holding: Holding, bar: int) -> bool:
        expiry = holding.instrument.expiry
        return expiry is not None and self.stamp(bar - 1) < expiry <= self.stamp(bar)

    def settlement_price(self, instrument: NaiveInstrument) -> float:
        if not math.isnan(instrument.settlement):
            return instrument.settlement
        assert instrument.expiry is not None
        closes = [close for stamp, close in zip(self.market.stamps, instrument.close, strict=True) if stamp <= instrument.expiry]
        if not closes or math.isnan(closes[-1]):
            raise ValueError(f"no settlement price and no close before the expiry {instrument.expiry}")
        return closes[-1]

    def settle(self, holding: Holding, bar: int) -> None:
        price, coin, slot = holding.reference, holding.coin, self.terms(holding, bar)
        base = abs(holding.quantity) / price if holding.inverse else abs(holding.quantity)
        fee = slot.delivery_fee * base * price + slot.delivery_unit_fee * base
        fee *= coin / price if holding.inverse else 1.0
        logged = -math.copysign(base, holding.quantity)
        number = len(self.result.trades)
        self.log(NaiveFill(bar, holding.name, number, "settlement", logged, price, price, fee, 0.0), abs(holding.quantity))
        self.close_account(holding, price, coin)
        self.move(self.purse(holding.name), "venue", fee)
        self.post("settlement", -fee)
        holding.quantity = 0.0

    def mark(self, bar: int) -> None:
        """Step 6."""
        for holding in self.holdings:
            self.move_reference(holding, holding.instrument.close[bar], at(self.market.coin_close, bar))

    def record(self) -> None:
        """The judge's own check, then one row of the result."""
        self.audit()
        self.result.equity.append(self.equity())
        self.result.balance.append(self.balance)
        quantity = {holding.name: holding.quantity for holding in self.holdings}
        self.result.quantity_long.append(quantity.get("long", 0.0))
        self.result.quantity_short.append(quantity.get("short", 0.0))
        self.result.pairs.append(self.pair)
        for source, amount in self.posted.items():
            self.result.sources[source].append(amount)

    # --- trades ------------------------------------------------------------------------------------------------------------------

    def begin_trade(self, bar: int) -> None:
        assert self.pair is not None
        equity = self.equity()
        self.trade = NaiveTrade(entered_at=self.stamp(bar - 1), side=self.side, pair=self.pair, quantity=0.0, entry_equity=equity)
        self.posted_at_entry = dict(self.posted)
        self.weights = {}

    def log(self, fill: NaiveFill, weight: float) -> None:
        """Keep the fill, and its reference in the mean of the trade's record that it belongs to."""
        trade = self.trade
        assert trade is not None
        self.result.fills.append(fill)
        if fill.action == "entry":
            mean = self.mean_with("entry", fill, trade.entry_long if fill.slot == "long" else trade.entry_short, weight)
            trade.entry_long, trade.entry_short = (mean, trade.entry_short) if fill.slot == "long" else (trade.entry_long, mean)
            trade.entry_premium = (trade.entry_short - trade.entry_long) / trade.entry_long
        elif fill.action not in ("resize", "roll"):
            mean = self.mean_with("exit", fill, trade.exit_long if fill.slot == "long" else trade.exit_short, weight)
            trade.exit_long, trade.exit_short = (mean, trade.exit_short) if fill.slot == "long" else (trade.exit_long, mean)
            trade.exit_premium = (trade.exit_short - trade.exit_long) / trade.exit_long
        if fill.action == "settlement":
            trade.settlement_price = fill.reference

    def mean_with(self, phase: str, fill: NaiveFill, mean: float, weight: float) -> float:
        """The mean of references weighted by quantity, with one more of them."""
        before = self.weights.get((phase, fill.slot), 0.0)
        self.weights[phase, fill.slot] = before + weight
        return fill.reference if before == 0.0 else mean + (fill.reference - mean) * weight / (before + weight)

    def end_trade_if_out(self, time: int) -> None:
        """Note the time of an exit; with nothing held any more the trade is over."""
        assert self.trade is not None
        if self.reason:
            self.trade.exited_at = max(time, self.trade.exited_at or time)
        if all(holding.quantity == 0.0 for holding in self.holdings):
            self.last_exit = self.trade.exited_at
            self.close_trade()

    def close_trade(self) -> None:
        trade = self.trade
        assert trade is not None
        trade.reason = self.reason
        trade.exited_at = None if self.reason == "end of data" else trade.exited_at
        trade.pnl = self.equity() - trade.entry_equity
        trade.attribution = {source: amount - self.posted_at_entry[source] for source, amount in self.posted.items()}
        self.result.trades.append(trade)
        self.trade, self.pair, self.side, self.reason, self.roll = None, None, 0, "", None
