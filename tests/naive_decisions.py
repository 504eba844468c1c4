"""What the judge decides at a close: step 7 of `backtest/semantics.md`, with the chapters on entering, leaving, tranches and money."""

import math
from typing import NamedTuple

from naive_books import Books, Holding, Pot
from naive_parts import DAY, NAN, NaiveInstrument, NaiveMarket, NaiveResult, NaiveRule, NaiveSlot, NaiveTrade, Pair, Signal, whole_lots

CALM = ("days to expiry", "time", "no convergence", "signal")
UNFILLED = ("drawdown", "liquidity", "unfilled", "days to expiry", "signal")  # what is judged of an entry that has filled nothing


class Payment(NamedTuple):
    """The next payment of a perpetual as it is expected."""

    time: int
    rate: float
    holding: Holding


class Decisions(Books):
    """The state of a run, and what is decided at each close."""

    def __init__(self, market: NaiveMarket, rule: NaiveRule, capital: float, pot: Pot) -> None:
        named = (("long", rule.long), ("short", rule.short))
        super().__init__(rule, capital, [Holding(name, slot, slot.instruments[0]) for name, slot in named if slot is not None], pot)
        self.market = market
        self.result = NaiveResult(capital=capital)
        self.pair: Pair | None = None
        self.side = 0
        self.trade: NaiveTrade | None = None
        self.posted_at_entry: dict[str, float] = {}
        self.weights: dict[tuple[str, str], float] = {}
        self.reason = ""
        self.last_exit: int | None = None
        # the entry, the exit: which tranche was decided last, and when the next one is due
        self.opening = False
        self.tranche = self.tranches = 1
        self.due = 0
        self.held_at_reason: dict[str, float] = {}
        # what stop and convergence compare with: of the entry, or of the last roll
        self.settled_at = 0
        self.premium_then = self.annualized_then = NAN
        self.roll: tuple[Pair, int] | None = None
        self.top_ups: dict[str, int] = {}
        self.transfer: tuple[str, int] | None = None
        self.peak = capital
        self.paused_until: float = -math.inf

    def stamp(self, bar: int) -> int:
        return self.market.stamps[bar] if bar >= 0 else self.market.stamps[0] - self.market.step

    # --- decisions ---------------------------------------------------------------------------------------------------------------

    def decide(self, bar: int) -> None:
        """Step 7."""
        fell = self.watch_peak(bar)
        if self.pair is None:
            self.decide_entry(bar)
            if self.pair is None:
                self.level_wallets(bar)
            return
        overdue = self.overdue(bar)
        if self.rule.policy == "chase":
            for holding in overdue:
                holding.chased = True
        if self.reason:
            if self.tranche_due(bar):
                self.next_exit_tranche(bar)
        else:
            reason = self.reason_to_leave(bar, fell, bool(overdue))
            if reason and self.trade is None:
                self.call_off(reason, bar)
                return
            if reason:
                self.leave(reason, bar)
            elif self.tranche_due(bar):
                self.next_entry_tranche(bar, self.stamp(bar))
            elif not self.decide_roll(bar):
                self.decide_resize(bar)
        self.send_top_ups(bar)

    def watch_peak(self, bar: int) -> bool:
        """Whether equity, or that of all accounts, has fallen by the limit from its peak, which then starts anew and stops entries for a while."""
        if self.rule.drawdown is None:
            return self.pot.fell
        equity = self.equity()
        fell = equity <= (1.0 - self.rule.drawdown) * self.peak
        self.peak = equity if fell else max(self.peak, equity)
        if fell:
            self.paused_until = math.inf if self.rule.pause is None else self.stamp(bar) + self.rule.pause
        return fell or self.pot.fell

    def overdue(self, bar: int) -> list[Holding]:
        """The slots whose order has waited for as long as `patience` allows."""
        now, patience = self.stamp(bar), self.rule.patience
        if patience is None:
            return []
        return [holding for holding in self.holdings if holding.waiting and holding.ready <= now and now - holding.ready >= patience]

    def tranche_due(self, bar: int) -> bool:
        return (self.opening or self.reason != "") and self.tranche < self.tranches and self.stamp(bar) >= self.due

    def due_after(self, bar: int) -> int:
        """When the tranche after one that is decided at this close is due."""
        if self.rule.tranche_gap == "funding":
            payment = self.expected_payment(bar)
            return self.stamp(bar) if payment is None else payment.time
        return self.stamp(bar) + int(self.rule.tranche_gap or 0)

    def expected_payment(self, bar: int) -> Payment | None:
        """The next payment of the rule's perpetual, which is its short slot's, else its long slot's."""
        now = self.stamp(bar)
        for holding in sorted(self.holdings, key=lambda one: one.name, reverse=True):
            if holding.instrument.kind == "perpetual":
                past = [(time, rate) for time, rate, _ in holding.instrument.funding if time <= now]
                if past and past[-1][0] + holding.instrument.interval > now:
                    return Payment(past[-1][0] + holding.instrument.interval, past[-1][1], holding)
                return None
        return None

    def near_payment(self, bar: int) -> Payment | None:
        payment = self.expected_payment(bar)
        return payment if payment is not None and payment.time - self.stamp(bar) <= self.rule.funding_wait else None

    def order(self, holding: Holding, target: float, ready: int, *, keep: bool) -> None:
        """Aim at `target`; an order that waits keeps its ready instant (and is chased on) if the decision is a further tranche."""
        if not (keep and holding.waiting):
            holding.ready, holding.chased = ready + holding.slot.latency, False
        holding.target = target

    # --- entries -----------------------------------------------------------------------------------------------------------------

    def decide_entry(self, bar: int) -> None:
        now = self.stamp(bar)
        if now < max(self.paused_until, self.pot.paused_until) or (
            self.last_exit is not None and now < self.last_exit + (self.rule.cooldown or 0)
        ):
            return
        pair = self.offered_pair(bar)
        if pair is None or self.liquidity(pair, bar) != "fine":
            return
        for side in {"plus": (1,), "minus": (-1,), "both": (1, -1)}[self.rule.sides]:
            if self.willing(pair, side, bar):
                for holding in self.holdings:
                    holding.instrument = self.contract(holding.name, pair)
                quantity = self.sized(pair, side, bar)
                if quantity > 0.0:
                    self.pair, self.side, self.reason, self.opening = pair, side, "", True
                    self.set_goals(quantity, bar)
                    self.tranche, self.tranches = 0, self.rule.entry_tranches
                    self.next_entry_tranche(bar, self.instant_of_entry(bar))
                return

    def contract(self, name: str, pair: Pair) -> NaiveInstrument:
        slot = self.rule.long if name == "long" else self.rule.short
        assert slot is not None
        return slot.instruments[pair[0] if name == "long" else pair[1]]

    def offered_pair(self, bar: int) -> Pair | None:
        long_index, short_index = self.offer(self.rule.long, bar), self.offer(self.rule.short, bar)
        return None if long_index is None or short_index is None else (long_index, short_index)

    def offer(self, slot: NaiveSlot | None, bar: int) -> int | None:
        """The index of the contract that the slot offers at this close, −1 for a slot that the rule doesn't have, None for none."""
        if slot is None:
            return -1
        now = self.stamp(bar)
        alive = [(one.expiry, index) for index, one in enumerate(slot.instruments) if one.expiry is not None and one.expiry > now]
        if not slot.is_chain:
            return 0 if slot.instruments[0].fresh[bar] and (slot.instruments[0].expiry is None or alive) else None
        offered = [(x, index) for x, index in alive if slot.instruments[index].fresh[bar] and (x - now) / DAY >= slot.min_days]
        return sorted(offered)[slot.nth - 1][1] if len(offered) >= slot.nth else None

    def willing(self, pair: Pair, side: int, bar: int) -> bool:
        if self.rule.enter is None:
            return True
        plus, minus = self.rule.signal_plus, self.rule.signal_minus
        signal = minus if side < 0 and minus is not None else plus
        return side * self.read(signal, pair, bar) >= self.rule.enter

    def read(self, signal: Signal | None, pair: Pair | None, bar: int) -> float:
        return signal[pair][bar] if signal is not None and pair is not None and pair in signal else NAN

    def scale(self, pair: Pair | None, bar: int) -> float:
        return 1.0 if self.rule.scale is None else self.read(self.rule.scale, pair, bar)

    def sized(self, pair: Pair, side: int, bar: int) -> float:
        """The quantity of a fresh entry in a pair, 0 where none may be opened."""
        instruments = [holding.instrument for holding in self.holdings]
        close, scale = instruments[0].close[bar], self.scale(pair, bar)
        if math.isnan(close) or not scale > 0.0:
            return 0.0
        quantity = self.rule.size * scale * self.equity() / close
        for holding in self.holdings:
            sign = side if holding.name == "long" else -side
            quantity = min(quantity, self.borrowable(holding, sign, bar), self.affordable(holding, sign, bar))
        if self.left_in_total(bar) / close < quantity:
            quantity = self.left_in_total(bar) / close
            self.result.held_down.append(bar)
        lot = self.lot()
        if not math.isnan(lot):
            quantity = whole_lots(quantity / lot) * lot
        smallest = max([one.min_notional for one in instruments if not math.isnan(one.min_notional)], default=0.0)
        if not (quantity > 0.0 and quantity * close >= smallest):
            return 0.0
        return quantity if all(self.goal_of(holding, quantity, side, bar) != 0.0 for holding in self.holdings) else 0.0

    def lot(self) -> float:
        """The coarser known lot of the linear and spot slots."""
        instruments = [holding.instrument for holding in self.holdings]
        return max([one.lot for one in instruments if not one.inverse and not math.isnan(one.lot)], default=NAN)

    def whole(self, holding: Holding, amount: float) -> float:
        """`amount` down to whole lots, of inverse contracts down to whole contracts."""
        unit = holding.instrument.contract if holding.inverse else self.lot()
        return amount if math.isnan(unit) else whole_lots(amount / unit) * unit

    def borrowable(self, holding: Holding, sign: int, bar: int) -> float:
        """The most that the slot may hold short."""
        if holding.derivative or sign > 0 or not self.market.borrow_available:
            return math.inf
        return self.market.borrow_available[bar]

    def affordable(self, holding: Holding, sign: int, bar: int) -> float:
        """The most base units that the slot's wallet and account pay for."""
        if self.rule.wallets is None:
            return math.inf
        close, other = holding.instrument.close[bar], self.other(holding)
        if not holding.derivative:
            need = close if sign > 0 else 0.0
        elif holding.inverse and other is not None and not other.derivative and sign < 0:
            need = 0.0  # the other slot's spot will be held long
        else:
            need = close / self.rule.leverage
        return (self.purse_with_interest(holding.name) + self.account_worth(holding)) / need if need > 0.0 else math.inf

    def left_in_total(self, bar: int) -> float:
        """What the limit in total leaves of this rule's exposure."""
        if self.pot.exposure is None:
            return math.inf
        others = math.fsum(one.exposed(bar) for one in self.pot.accounts if isinstance(one, Decisions) and one is not self)
        limit = self.pot.exposure * self.pot.equity
        return limit - others if limit - others > 1e-9 * abs(limit) else 0.0

    def exposed(self, bar: int) -> float:
        """What the first slot holds, or aims at while the trade isn't leaving, in quote currency."""
        if self.pair is None:
            return 0.0
        first = self.holdings[0]
        aimed = abs(first.quantity) if self.reason else max(abs(first.quantity), abs(first.goal))
        return aimed * first.base * first.instrument.close[bar]

    def goal_of(self, holding: Holding, quantity: float, side: int, bar: int) -> float:
        sign = side if holding.name == "long" else -side
        return sign * (self.whole(holding, quantity * holding.instrument.close[bar]) if holding.inverse else quantity)

    def set_goals(self, quantity: float, bar: int) -> None:
        for holding in self.holdings:
            holding.goal = self.goal_of(holding, quantity, self.side, bar)
            holding.base = 1.0 / holding.instrument.close[bar] if holding.inverse else 1.0

    def instant_of_entry(self, bar: int) -> int:
        """When the orders of the first tranche may go out: at once, or with the next payment."""
        now, payment = self.stamp(bar), self.near_payment(bar)
        if self.rule.funding_entry == "before" or payment is None:
            return now
        receives = -math.copysign(1.0, payment.holding.goal) * payment.rate > 0.0
        return now if self.rule.funding_entry == "better" and (receives or payment.rate == 0.0) else payment.time

    def next_entry_tranche(self, bar: int, ready: int) -> None:
        self.tranche += 1
        for holding in self.holdings:
            part = abs(holding.goal) * self.tranche / self.tranches
            target = holding.goal if self.tranche == self.tranches else math.copysign(self.whole(holding, part), holding.goal)
            self.order(holding, target, ready, keep=self.tranche > 1)
        self.due = self.due_after(bar)

    def decide_roll(self, bar: int) -> bool:
        """Whether a roll is ordered."""
        if self.rule.roll_days is None or not self.settled:
            return False
        expires = self.nearer_expiry()
        pair = self.offered_pair(bar)
        if expires is None or (expires - self.stamp(bar)) / DAY > self.rule.roll_days or pair is None or pair == self.pair:
            return False
        expiries = [self.contract(holding.name, pair).expiry for holding in self.holdings]
        later = all(expiry is None or expiry > expires for expiry in expiries)
        if not later or self.liquidity(pair, bar) != "fine" or not self.willing(pair, self.side, bar):
            return False
        self.roll = (pair, self.stamp(bar) + max(holding.slot.latency for holding, _ in self.changing(pair)))
        return True

    def changing(self, pair: Pair) -> list[tuple[Holding, NaiveInstrument]]:
        """The slots whose contract another pair changes, with the new contract."""
        assert self.pair is not None
        numbers = {"long": (self.pair[0], pair[0]), "short": (self.pair[1], pair[1])}
        changed = [(holding, *numbers[holding.name]) for holding in self.holdings]
        return [(holding, holding.slot.instruments[new]) for holding, old, new in changed if old != new]

    @property
    def settled(self) -> bool:
        """The entry is complete and nothing waits."""
        return not self.opening and self.roll is None and not any(holding.waiting for holding in self.holdings)

    def decide_resize(self, bar: int) -> None:
        assert self.pair is not None
        first, now = self.holdings[0], self.stamp(bar)
        if self.rule.resize is None or not self.settled:
            return
        scale = self.scale(self.pair, bar)
        wanted = min(self.rule.size * scale * self.equity(), self.left_in_total(bar))
        if not (scale > 0.0 and wanted > 0.0):
            return
        present = abs(first.quantity) * first.base
        share = present * first.instrument.close[bar] / wanted
        quantity = self.sized(self.pair, self.side, bar)
        if 1.0 / self.rule.resize <= share <= self.rule.resize or quantity in (0.0, present):
            return
        goals = {holding.name: self.goal_of(holding, quantity, self.side, bar) for holding in self.holdings}
        if all(goals[holding.name] == holding.quantity for holding in self.holdings):
            return
        self.set_goals(quantity, bar)
        ready = now + self.unstaking(goals)
        for holding in self.holdings:
            self.order(holding, holding.goal, ready, keep=False)

    # --- exits -------------------------------------------------------------------------------------------------------------------

    def reason_to_leave(self, bar: int, fell: bool, overdue: bool) -> str:
        """The first reason that holds; of an entry that has filled nothing only some are judged."""
        rule, now, trade, equity = self.rule, self.stamp(bar), self.trade, self.equity()
        s, premium, first, expiry = self.side, self.premium(bar), self.holdings[0], self.nearer_expiry()
        then, held_for = self.premium_then, now - self.settled_at
        annualized = self.annualized(premium, now)
        complete = trade is not None and not self.opening
        worth = abs(first.quantity) * first.base * first.instrument.close[bar]
        reasons = {
            "stop": complete
            and (
                (rule.stop is not None and s * premium >= s * then + rule.stop)
                or (rule.stop_annualized is not None and s * annualized >= s * self.annualized_then + rule.stop_annualized)
            ),
            "loss": trade is not None and rule.loss is not None and equity - trade.entry_equity <= -rule.loss * trade.entry_equity,
            "drawdown": fell,
            "exposure": rule.exposure is not None and worth > rule.exposure * equity,
            "liquidity": self.pair is not None and self.liquidity(self.pair, bar) == "illiquid",
            "recall": any(-holding.quantity > self.borrowable(holding, -1, bar) for holding in self.holdings),
            "unfilled": rule.policy == "undo" and len(self.holdings) == 2 and self.opening and overdue,
            "days to expiry": rule.expiry_days is not None and expiry is not None and (expiry - now) / DAY <= rule.expiry_days,
            "time": trade is not None and rule.max_hold is not None and now - trade.entered_at >= rule.max_hold,
            "no convergence": complete and rule.converge is not None and held_for >= rule.converge and s * premium >= s * then,
            "signal": rule.exit is not None and s * self.read(self.exit_signal(), self.pair, bar) <= rule.exit,
        }
        return next((reason for reason, holds in reasons.items() if holds and (trade is not None or reason in UNFILLED)), "")

    def exit_signal(self) -> Signal | None:
        rule = self.rule
        if self.side > 0:
            return rule.exit_plus if rule.exit_plus is not None else rule.signal_plus
        for signal in (rule.exit_minus, rule.exit_plus, rule.signal_minus):
            if signal is not None:
                return signal
        return rule.signal_plus

    def premium(self, bar: int) -> float:
        if len(self.holdings) < 2 or not all(holding.instrument.fresh[bar] for holding in self.holdings):
            return NAN
        long_close, short_close = (holding.instrument.close[bar] for holding in self.holdings)
        return (short_close - long_close) / long_close

    def nearer_expiry(self) -> int | None:
        return min((holding.instrument.expiry for holding in self.holdings if holding.instrument.expiry is not None), default=None)

    def annualized(self, premium: float, time: int) -> float:
        """The premium a year, NaN without an expiry and below one day."""
        expiry = self.nearer_expiry()
        days = NAN if expiry is None else (expiry - time) / DAY
        return premium * 365.0 / days if days >= 1.0 else NAN

    def liquidity(self, pair: Pair, bar: int) -> str:
        """Whether a pair is "illiquid", "unknown" or "fine"; what the data don't have of a contract in any bar is not asked."""
        found = [self.liquidity_of(self.contract(holding.name, pair), bar) for holding in self.holdings]
        return "illiquid" if "illiquid" in found else "unknown" if "unknown" in found else "fine"

    def liquidity_of(self, instrument: NaiveInstrument, bar: int) -> str:
        spreads = [2.0 * (ask - bid) / (ask + bid) for bid, ask in zip(instrument.bid, instrument.ask, strict=True)]
        asked = []
        if self.rule.max_spread is not None and not all(math.isnan(spread) for spread in spreads):
            asked.append((spreads[bar], spreads[bar] > self.rule.max_spread))
        if self.rule.min_depth is not None and not all(math.isnan(depth) for depth in instrument.depth):
            asked.append((instrument.depth[bar], instrument.depth[bar] < self.rule.min_depth))
        if any(bad for _, bad in asked):
            return "illiquid"
        return "unknown" if any(math.isnan(value) for value, _ in asked) else "fine"

    def leave(self, reason: str, bar: int) -> None:
        """A reason given at a close; a calm one may leave in tranches."""
        self.reason, self.opening, self.roll = reason, False, None
        self.held_at_reason = {holding.name: holding.quantity for holding in self.holdings}
        self.tranche, self.tranches = 0, self.rule.exit_tranches if reason in CALM else 1
        self.next_exit_tranche(bar)

    def next_exit_tranche(self, bar: int) -> None:
        self.tranche += 1
        first = self.tranche == 1
        targets = {name: self.left_of(name) for name in self.held_at_reason}
        ready = self.stamp(bar) + self.unstaking(targets)
        if first and self.reason in CALM and self.rule.hold_for_funding:
            ready = max(ready, self.instant_of_reward(bar))
        for holding in self.holdings:
            self.order(holding, targets[holding.name], ready, keep=not first)
        self.due = self.due_after(bar)

    def left_of(self, name: str) -> float:
        """What this exit tranche leaves of the quantity held at the reason's close."""
        held = self.held_at_reason[name]
        if held == 0.0 or self.tranche == self.tranches:
            return 0.0
        holding = next(one for one in self.holdings if one.name == name)
        return held - math.copysign(self.whole(holding, abs(held) * self.tranche / self.tranches), held)

    def instant_of_reward(self, bar: int) -> int:
        """The next payment, if the position as it is would receive at it, else now."""
        payment = self.near_payment(bar)
        return payment.time if payment is not None and -payment.holding.quantity * payment.rate > 0.0 else self.stamp(bar)

    def unstaking(self, targets: dict[str, float]) -> int:
        """How long orders wait that make a staked spot smaller."""
        staked = [holding for holding in self.holdings if self.rule.stake and not holding.derivative and holding.quantity > 0.0]
        return (self.rule.unstake or 0) if any(targets[holding.name] < holding.quantity for holding in staked) else 0

    def abandon(self, reason: str, bar: int) -> None:
        """A liquidation, deleveraging or expiry: all that is left goes. An order that waits to bring a slot to 0 isn't made later by it."""
        self.reason = self.reason or reason
        self.opening, self.roll = False, None
        self.tranche = self.tranches = 1
        for holding in self.holdings:
            leaving_already = holding.waiting and holding.target == 0.0 and holding.quantity != 0.0
            wait = self.unstaking({one.name: 0.0 for one in self.holdings}) if not holding.derivative and reason != "expiry" else 0
            ready = self.stamp(bar) + wait
            if not (leaving_already and holding.ready <= ready + holding.slot.latency):
                self.order(holding, 0.0, ready, keep=False)

    def call_off(self, reason: str, bar: int) -> None:
        """Orders of which nothing was filled: no trade was made."""
        for holding in self.holdings:
            holding.target = 0.0
        self.pair, self.side, self.reason, self.opening, self.roll = None, 0, "", False, None
        self.result.called_off.append((bar, reason))

    # --- money on its way --------------------------------------------------------------------------------------------------------

    def level_wallets(self, bar: int) -> None:
        """Flat and without an order: bring the wallets back to their shares, if they are far enough from them."""
        if self.rule.wallets is None or self.transfer is not None:
            return
        total = self.purse_with_interest("long") + self.purse_with_interest("short")
        surplus = self.purse_with_interest("short") - self.rule.wallets[1] * total
        if abs(surplus) <= 0.01 * total or abs(surplus) <= self.rule.transfer_fee:
            return
        giver, taker = ("short", "long") if surplus > 0.0 else ("long", "short")
        self.move(self.purse(giver), "under way", abs(surplus))
        self.transfer = (taker, self.stamp(bar) + self.rule.transfer_delay)
        self.pay_for_sending(giver)
        self.result.sent.append((bar, giver, taker, abs(surplus)))

    def pay_for_sending(self, giver: str) -> None:
        self.move(self.purse(giver), "venue", self.rule.transfer_fee)
        self.post("fees", -self.rule.transfer_fee)
        self.fix_balance()

    def send_top_ups(self, bar: int) -> None:
        """Send collateral to every derivative that has lost too much of it."""
        if self.rule.top_up is None or self.rule.margin != "isolated":
            return
        for holding in self.holdings:
            if (
                holding.quantity == 0.0
                or not holding.derivative
                or holding.inverse
                or holding.target == 0.0
                or holding.name in self.top_ups
            ):
                continue
            full = abs(holding.quantity) * holding.instrument.close[bar] / self.rule.leverage
            worth = self.account_worth(holding)
            if worth < self.rule.top_up * full:
                self.send_top_up(holding, full - worth, bar)

    def send_top_up(self, holding: Holding, missing: float, bar: int) -> None:
        """From the slot's own wallet for the next bar and without a fee, if that has anything; else from the other one, or from cash."""
        now, fee = self.stamp(bar), self.rule.transfer_fee
        giver = holding.name
        if self.rule.wallets is not None:
            own = self.purse_with_interest(holding.name)
            if own > 0.0:
                self.put_on_its_way(holding, giver, min(missing, own), now, bar)
                self.fix_balance()
                return
            giver = "short" if holding.name == "long" else "long"
        spare = (self.pot.spare_cash() if self.rule.wallets is None else max(self.purse_with_interest(giver), 0.0)) - fee
        if spare > 0.0:
            self.put_on_its_way(holding, giver, min(missing, spare), now + self.rule.transfer_delay, bar)
            self.pay_for_sending(giver)

    def put_on_its_way(self, holding: Holding, giver: str, amount: float, arrives: int, bar: int) -> None:
        self.move(self.purse(giver), f"{holding.name} top-up", amount)
        self.top_ups[holding.name] = arrives
        self.result.sent.append((bar, giver, holding.name, amount))
