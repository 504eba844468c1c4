"""The judge: a slow, plain model of the engine in double entry, written from `backtest/semantics.md` and from nothing else.

Every bar is visited and every flow moves money between two accounts: cash, interest not yet credited, collateral and funding of each
derivative, proceeds of short sales. Equity is what those accounts and the positions are worth. The sources of profit are posted beside it,
each by its own flow, and at every bar they must explain the equity. It imports nothing from the package, so agreement means something:

    result = judge(NaiveMarket(...), NaiveRule(long=NaiveSlot(instruments=[spot]), short=NaiveSlot(instruments=[future])), capital=10_000.0)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

DAY = 86_400_000_000_000
YEAR = 365 * DAY
NAN = math.nan

SOURCES = (
    "price_long",
    "price_short",
    "legging",
    "funding",
    "financing",
    "idle_cash",
    "borrow",
    "staking",
    "fees",
    "slippage",
    "settlement",
    "liquidation",
)

Pair = tuple[int, int]
Signal = Mapping[Pair, Sequence[float]]
Tier = tuple[float, float, float]
Series = Sequence[tuple[int, float]]


@dataclass(frozen=True, kw_only=True)
class NaiveInstrument:
    """One instrument over the bars of the clock; NaN is "not known" everywhere.

    `close` is the last known one, `fresh` says whether it may still be used, `mark_high` and `mark_low` are the extremes that margin is
    judged by, `bid` and `ask` the quote at the bar's end, `mark` the mark at the bar's end. `funding` holds (time, rate, own mark or NaN).
    """

    kind: str
    open: Sequence[float]
    close: Sequence[float]
    fresh: Sequence[bool]
    mark_high: Sequence[float]
    mark_low: Sequence[float]
    bid: Sequence[float]
    ask: Sequence[float]
    mark: Sequence[float]
    funding: Sequence[tuple[int, float, float]] = ()
    expiry: int | None = None
    settlement: float = NAN
    lot: float = NAN
    min_notional: float = NAN


@dataclass(frozen=True, kw_only=True)
class NaiveMarket:
    """Stamps and bar length in nanoseconds UTC, and the rates as (known_at, value) in time order, fractions a year."""

    stamps: Sequence[int]
    step: int
    idle_rate: Series = ()
    borrow_usd: Series = ()
    borrow_base: Series = ()
    staking_yield: Series = ()


@dataclass(frozen=True, kw_only=True)
class NaiveSlot:
    """What a slot may hold, and what trading it costs. A chain is sorted by expiry; tiers are (floor notional, rate, deduction)."""

    instruments: Sequence[NaiveInstrument]
    is_chain: bool = False
    min_days: float = 0.0
    fee: float = 0.0
    half_spread: float = 0.0
    delivery_fee: float = 0.0
    liquidation_fee: float = 0.0
    tiers: Sequence[Tier] = ((0.0, 0.0, 0.0),)


@dataclass(frozen=True, kw_only=True)
class NaiveRule:
    """A rule as data. Signals map the pair (index in long or −1, index in short or −1) to values over the bars.

    A missing `signal_minus` is `signal_plus`; missing exit signals are the entry signal of their side. Times are nanoseconds.
    """

    long: NaiveSlot | None = None
    short: NaiveSlot | None = None
    signal_plus: Signal | None = None
    signal_minus: Signal | None = None
    exit_plus: Signal | None = None
    exit_minus: Signal | None = None
    enter: float | None = None
    exit: float | None = None
    sides: str = "plus"
    size: float = 0.5
    leverage: float = 1.0
    margin: str = "isolated"
    resize: float | None = None
    stop: float | None = None
    loss: float | None = None
    expiry_days: float | None = None
    max_hold: int | None = None
    cooldown: int | None = None
    stake: bool = False


@dataclass(frozen=True)
class NaiveFill:
    """One change of a position; `fee` and `slippage` are costs, hence positive."""

    bar: int
    slot: str
    trade: int
    action: str
    quantity: float
    reference: float
    price: float
    fee: float
    slippage: float


@dataclass(kw_only=True)
class NaiveTrade:
    """From the first fill to the last exit; prices are references, NaN where there was no such fill. `quantity` is that of the entry."""

    entered_at: int
    side: int
    pair: Pair
    quantity: float
    entry_equity: float
    exited_at: int | None = None
    entry_long: float = NAN
    entry_short: float = NAN
    exit_long: float = NAN
    exit_short: float = NAN
    settlement_price: float = NAN
    entry_premium: float = NAN
    exit_premium: float = NAN
    reason: str = ""
    pnl: float = NAN
    attribution: dict[str, float] = field(default_factory=dict)


@dataclass(kw_only=True)
class NaiveResult:
    """What happened. Per bar: `equity`, `balance`, `quantity_*`, `pairs` (held or on order) and every source as cumulated cash.

    `waited` lists (bar, slot) of orders that found no open, `called_off` (bar, reason) of entries that never filled, `absorbed`
    (bar, slot, cash) of losses that the venue took. `state` is the final state: accounts, quantities and targets by name.
    """

    capital: float
    equity: list[float] = field(default_factory=list)
    balance: list[float] = field(default_factory=list)
    quantity_long: list[float] = field(default_factory=list)
    quantity_short: list[float] = field(default_factory=list)
    pairs: list[Pair | None] = field(default_factory=list)
    sources: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SOURCES})
    fills: list[NaiveFill] = field(default_factory=list)
    trades: list[NaiveTrade] = field(default_factory=list)
    waited: list[tuple[int, str]] = field(default_factory=list)
    called_off: list[tuple[int, str]] = field(default_factory=list)
    absorbed: list[tuple[int, str, float]] = field(default_factory=list)
    state: dict[str, float] = field(default_factory=dict)


@dataclass
class _Holding:
    """A slot's position. `reference` is the price at which its profit was last posted, `entry` the price its account was opened at."""

    name: str
    slot: NaiveSlot
    instrument: NaiveInstrument
    quantity: float = 0.0
    target: float = 0.0
    entry: float = NAN
    reference: float = NAN

    @property
    def derivative(self) -> bool:
        return self.instrument.kind != "spot"


def judge(market: NaiveMarket, rule: NaiveRule, capital: float) -> NaiveResult:
    """Run `rule` over every bar of `market`, flat with `capital` in cash at the start.

    Raises AssertionError where the sources or the books don't explain the equity, ValueError where a price that a flow needs is unknown.
    """
    return _Judge(market, rule, capital).run()


def maintenance(notional: float, tiers: Sequence[Tier]) -> float:
    """The margin that a position of this notional must keep: notional·rate − deduction of the last tier whose floor it reaches."""
    _, rate, deduction = max((tier for tier in tiers if tier[0] <= max(notional, 0.0)), key=lambda tier: tier[0])
    return notional * rate - deduction


def breach_price(quantity: float, entry: float, money: float, tiers: Sequence[Tier]) -> float:
    """The mark at which money + quantity·(mark − entry) equals the maintenance: each tier's answer is tried, the one that fits is taken."""

    def gap(mark: float) -> float:
        return abs(money + quantity * (mark - entry) - maintenance(abs(quantity) * mark, tiers))

    answers = [(quantity * entry - money - deduction) / (quantity - abs(quantity) * rate) for _, rate, deduction in tiers]
    return min(answers, key=gap)


def whole_lots(count: float) -> float:
    """The whole lots in `count`; a count within 1e-9 (relative) below a whole number is that number."""
    above = math.ceil(count)
    return float(above) if above - count <= 1e-9 * above else float(math.floor(count))


def known(series: Series, time: int) -> float:
    """The last value known at `time`, 0 before any is known."""
    value = 0.0
    for known_at, candidate in series:
        if known_at <= time:
            value = candidate
    return value


class _Judge:
    def __init__(self, market: NaiveMarket, rule: NaiveRule, capital: float) -> None:
        self.market = market
        self.rule = rule
        self.capital = capital
        self.result = NaiveResult(capital=capital)
        named = (("long", rule.long), ("short", rule.short))
        self.holdings = [_Holding(name, slot, slot.instruments[0]) for name, slot in named if slot is not None]
        self.accounts: dict[str, float] = {}
        self.posted = dict.fromkeys(SOURCES, 0.0)
        self.pair: Pair | None = None
        self.side = 0
        self.trade: NaiveTrade | None = None
        self.posted_at_entry: dict[str, float] = {}
        self.reason = ""
        self.last_exit: int | None = None
        self.move("owner", "cash", capital)
        self.balance = capital

    # --- the bar -----------------------------------------------------------------------------------------------------------------

    def run(self) -> NaiveResult:
        for bar in range(len(self.market.stamps)):
            self.fill_orders(bar)
            self.pay_funding(bar)
            self.accrue(bar)
            self.check_margin(bar)
            self.settle_expiries(bar)
            self.mark(bar)
            self.decide(bar)
            self.record()
        if self.trade is not None:
            self.reason = "end of data"
            self.close_trade()
        self.result.state = dict(self.accounts)
        for holding in self.holdings:
            self.result.state[f"{holding.name} quantity"] = holding.quantity
            self.result.state[f"{holding.name} target"] = holding.target
        return self.result

    def stamp(self, bar: int) -> int:
        return self.market.stamps[bar] if bar >= 0 else self.market.stamps[0] - self.market.step

    def fill_orders(self, bar: int) -> None:
        """Step 1. Every held slot's reference moves to the open before any quantity changes: legging begins or ends at that instant."""
        ordered = [holding for holding in self.holdings if holding.target != holding.quantity]
        filling = [holding for holding in ordered if not math.isnan(holding.instrument.open[bar])]
        self.result.waited += [(bar, holding.name) for holding in ordered if holding not in filling]
        if not filling:
            return
        if self.trade is None:
            self.begin_trade(bar, abs(filling[0].target))
        for holding in self.holdings:
            opened = holding.instrument.open[bar]
            self.move_reference(holding, holding.instrument.close[bar] if math.isnan(opened) else opened)
        for holding in filling:
            self.fill(holding, bar)
        self.fix_balance()
        self.end_trade_if_out(self.stamp(bar - 1))

    def fill(self, holding: _Holding, bar: int) -> None:
        assert self.trade is not None
        change = holding.target - holding.quantity
        reference = holding.instrument.open[bar]
        half_spread = self.half_spread(holding, bar)
        price = reference * (1.0 + half_spread) if change > 0.0 else reference * (1.0 - half_spread)
        fee = holding.slot.fee * abs(change) * price
        slippage = abs(change) * reference * half_spread
        action = "entry" if holding.quantity == 0.0 else "exit" if holding.target == 0.0 else "resize"
        self.close_account(holding, price)
        holding.quantity = holding.target
        self.open_account(holding, price)
        holding.reference = reference
        self.move("cash", "venue", fee)
        self.post("fees", -fee)
        self.post("slippage", -slippage)
        self.log(NaiveFill(bar, holding.name, len(self.result.trades), action, change, reference, price, fee, slippage))

    def half_spread(self, holding: _Holding, bar: int) -> float:
        bid, ask = holding.instrument.bid[bar - 1], holding.instrument.ask[bar - 1]
        if math.isnan(bid) or math.isnan(ask):
            return holding.slot.half_spread
        return (ask - bid) / 2.0 / ((ask + bid) / 2.0)

    def pay_funding(self, bar: int) -> None:
        """Step 2."""
        for holding in self.holdings:
            for time, rate, own_mark in holding.instrument.funding:
                if holding.quantity != 0.0 and self.stamp(bar - 1) < time <= self.stamp(bar):
                    price = own_mark if not math.isnan(own_mark) else self.price_at(holding.instrument, time)
                    amount = -holding.quantity * rate * price
                    self.move("traders", f"{holding.name} funding", amount)
                    self.post("funding", amount)

    def price_at(self, instrument: NaiveInstrument, time: int) -> float:
        """The last mark of a bar stamped by `time`, else the last close."""
        bars = [bar for bar, stamp in enumerate(self.market.stamps) if stamp <= time]
        for prices in (instrument.mark, instrument.close):
            for bar in reversed(bars):
                if not math.isnan(prices[bar]):
                    return prices[bar]
        raise ValueError(f"no mark and no close is known at the funding event of {time}")

    def accrue(self, bar: int) -> None:
        """Step 3, with the rates known when the bar opened."""
        opened = self.stamp(bar - 1)
        years = (self.stamp(bar) - opened) / YEAR
        if self.balance > 0.0:
            self.earn("idle_cash", known(self.market.idle_rate, opened) * self.balance * years)
        if self.balance < 0.0:
            self.earn("financing", -known(self.market.borrow_usd, opened) * -self.balance * years)
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
            money = self.accounts[f"{holding.name} collateral"] + self.accounts.get(f"{holding.name} funding", 0.0)
            if self.rule.margin == "cross":
                money += max(self.balance, 0.0)
            if money + quantity * (worst - holding.entry) >= maintenance(abs(quantity) * worst, holding.slot.tiers):
                continue
            price = breach_price(quantity, holding.entry, money, holding.slot.tiers)
            opened = instrument.close[bar] if math.isnan(instrument.open[bar]) else instrument.open[bar]
            self.liquidate(holding, min(price, opened) if quantity > 0.0 else max(price, opened), bar)

    def liquidate(self, holding: _Holding, price: float, bar: int) -> None:
        others = [other for other in self.holdings if other is not holding and other.quantity != 0.0]
        equivalents = [price * other.instrument.close[bar] / holding.instrument.close[bar] for other in others]
        self.move_reference(holding, price)
        for other, equivalent in zip(others, equivalents, strict=True):
            self.move_reference(other, equivalent)
        fee = holding.slot.liquidation_fee * abs(holding.quantity) * price
        quantity = holding.quantity
        remainder = self.account_worth(holding) - fee
        self.close_account(holding, price)
        self.move("cash", "venue", fee)
        absorbed = -remainder if self.rule.margin == "isolated" and remainder < 0.0 else 0.0
        if absorbed > 0.0:
            self.move("venue", "cash", absorbed)
            self.result.absorbed.append((bar, holding.name, absorbed))
        self.post("liquidation", absorbed - fee)
        holding.quantity = 0.0
        self.log(NaiveFill(bar, holding.name, len(self.result.trades), "liquidation", -quantity, price, price, fee, 0.0))
        self.leave("liquidation")
        self.fix_balance()
        self.end_trade_if_out(self.stamp(bar))

    def settle_expiries(self, bar: int) -> None:
        """Step 5. Slots that expire in the same bar settle together: both were held until then."""
        if self.pair is None:
            return
        expiring = [holding for holding in self.holdings if self.expires_in(holding, bar)]
        settling = [holding for holding in expiring if holding.quantity != 0.0]
        dropped = [holding for holding in expiring if holding.quantity != holding.target]
        if not settling and not dropped:
            return
        if self.trade is None:
            self.call_off("expiry", bar)
            return
        for holding in self.holdings:
            held = self.settlement_price(holding.instrument) if holding in settling else holding.instrument.close[bar]
            self.move_reference(holding, held)
        for holding in settling:
            self.settle(holding, bar)
        self.leave("expiry")
        if settling:
            self.fix_balance()
            self.end_trade_if_out(max(holding.instrument.expiry or 0 for holding in settling))

    def expires_in(self, holding: _Holding, bar: int) -> bool:
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

    def settle(self, holding: _Holding, bar: int) -> None:
        price = holding.reference
        fee = holding.slot.delivery_fee * abs(holding.quantity) * price
        self.log(NaiveFill(bar, holding.name, len(self.result.trades), "settlement", -holding.quantity, price, price, fee, 0.0))
        self.close_account(holding, price)
        self.move("cash", "venue", fee)
        self.post("settlement", -fee)
        holding.quantity = 0.0

    def mark(self, bar: int) -> None:
        """Step 6."""
        for holding in self.holdings:
            if holding.quantity != 0.0:
                self.move_reference(holding, holding.instrument.close[bar])

    def record(self) -> None:
        """The judge's own check, then one row of the result."""
        equity = self.equity()
        explained = self.capital + math.fsum(self.posted.values())
        assert abs(equity - explained) <= 1e-9 * self.capital, f"sources give {explained}, the accounts {equity}"
        size = math.fsum(abs(amount) for amount in self.accounts.values())
        assert abs(math.fsum(self.accounts.values())) <= 1e-9 * size, "the books don't balance"
        self.result.equity.append(equity)
        self.result.balance.append(self.balance)
        quantity = {holding.name: holding.quantity for holding in self.holdings}
        self.result.quantity_long.append(quantity.get("long", 0.0))
        self.result.quantity_short.append(quantity.get("short", 0.0))
        self.result.pairs.append(self.pair)
        for source, amount in self.posted.items():
            self.result.sources[source].append(amount)

    # --- decisions ---------------------------------------------------------------------------------------------------------------

    def decide(self, bar: int) -> None:
        """Step 7: one decision a close, to enter when flat, else to leave or to resize."""
        if self.pair is None:
            self.decide_entry(bar)
            return
        if self.reason:
            return
        reason = self.reason_to_leave(bar)
        if reason and self.trade is None:
            self.call_off(reason, bar)
        elif reason:
            self.leave(reason)
        else:
            self.decide_resize(bar)

    def decide_entry(self, bar: int) -> None:
        if self.last_exit is not None and self.stamp(bar) < self.last_exit + (self.rule.cooldown or 0):
            return
        long_index, short_index = self.offer(self.rule.long, bar), self.offer(self.rule.short, bar)
        if long_index is None or short_index is None:
            return
        for side in {"plus": (1,), "minus": (-1,), "both": (1, -1)}[self.rule.sides]:
            if self.willing((long_index, short_index), side, bar):
                chosen = {"long": long_index, "short": short_index}
                for holding in self.holdings:
                    holding.instrument = holding.slot.instruments[chosen[holding.name]]
                quantity = self.sized(bar)
                if quantity > 0.0:
                    self.pair, self.side, self.reason = (long_index, short_index), side, ""
                    self.aim(quantity)
                return

    def offer(self, slot: NaiveSlot | None, bar: int) -> int | None:
        """The index of the contract that the slot offers at this close, −1 for a slot that the rule doesn't have, None for none."""
        if slot is None:
            return -1
        now = self.stamp(bar)
        alive = [(one.expiry, index) for index, one in enumerate(slot.instruments) if one.expiry is not None and one.expiry > now]
        if not slot.is_chain:
            return 0 if slot.instruments[0].fresh[bar] and (slot.instruments[0].expiry is None or alive) else None
        offered = [(x, index) for x, index in alive if slot.instruments[index].fresh[bar] and (x - now) / DAY >= slot.min_days]
        return min(offered)[1] if offered else None

    def willing(self, pair: Pair, side: int, bar: int) -> bool:
        if self.rule.enter is None:
            return True
        plus, minus = self.rule.signal_plus, self.rule.signal_minus
        signal = minus if side < 0 and minus is not None else plus
        return side * self.read(signal, pair, bar) >= self.rule.enter

    def read(self, signal: Signal | None, pair: Pair | None, bar: int) -> float:
        return signal[pair][bar] if signal is not None and pair is not None and pair in signal else NAN

    def sized(self, bar: int) -> float:
        """The quantity of a fresh entry in the present pair, 0 where none may be opened."""
        instruments = [holding.instrument for holding in self.holdings]
        close = instruments[0].close[bar]
        if math.isnan(close):
            return 0.0
        quantity = self.rule.size * self.equity() / close
        lots = [one.lot for one in instruments if not math.isnan(one.lot)]
        if lots:
            quantity = whole_lots(quantity / max(lots)) * max(lots)
        smallest = max([one.min_notional for one in instruments if not math.isnan(one.min_notional)], default=0.0)
        return quantity if quantity > 0.0 and quantity * close >= smallest else 0.0

    def aim(self, quantity: float) -> None:
        for holding in self.holdings:
            holding.target = self.side * quantity if holding.name == "long" else -self.side * quantity

    def reason_to_leave(self, bar: int) -> str:
        """The first reason that holds; of an entry that has filled nothing only days to expiry and the signal are judged."""
        rule, now, trade = self.rule, self.stamp(bar), self.trade
        if trade is not None:
            if rule.stop is not None and self.side * self.premium(bar) >= self.side * trade.entry_premium + rule.stop:
                return "stop"
            if rule.loss is not None and self.equity() - trade.entry_equity <= -rule.loss * trade.entry_equity:
                return "loss"
        expiries = [holding.instrument.expiry for holding in self.holdings if holding.instrument.expiry is not None]
        if rule.expiry_days is not None and expiries and (min(expiries) - now) / DAY <= rule.expiry_days:
            return "days to expiry"
        if trade is not None and rule.max_hold is not None and now - trade.entered_at >= rule.max_hold:
            return "time"
        if rule.exit is not None and self.side * self.read(self.exit_signal(), self.pair, bar) <= rule.exit:
            return "signal"
        return ""

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

    def decide_resize(self, bar: int) -> None:
        if self.rule.resize is None or any(holding.quantity == 0.0 or holding.quantity != holding.target for holding in self.holdings):
            return
        first = self.holdings[0]
        goal = self.rule.size * self.equity()
        if goal <= 0.0:
            return
        share = abs(first.quantity) * first.instrument.close[bar] / goal
        quantity = self.sized(bar)
        if not 1.0 / self.rule.resize <= share <= self.rule.resize and quantity > 0.0:
            self.aim(quantity)

    def leave(self, reason: str) -> None:
        """Aim at nothing in every slot, which drops orders that wait; a reason given earlier stays."""
        self.reason = self.reason or reason
        for holding in self.holdings:
            holding.target = 0.0

    def call_off(self, reason: str, bar: int) -> None:
        """Orders of which nothing was filled: no trade was made."""
        for holding in self.holdings:
            holding.target = 0.0
        self.pair, self.side, self.reason = None, 0, ""
        self.result.called_off.append((bar, reason))

    # --- trades ------------------------------------------------------------------------------------------------------------------

    def begin_trade(self, bar: int, quantity: float) -> None:
        assert self.pair is not None
        equity = self.equity()
        self.trade = NaiveTrade(entered_at=self.stamp(bar - 1), side=self.side, pair=self.pair, quantity=quantity, entry_equity=equity)
        self.posted_at_entry = dict(self.posted)

    def log(self, fill: NaiveFill) -> None:
        """Keep the fill, and its reference where the trade's record has a place for it."""
        trade = self.trade
        assert trade is not None
        self.result.fills.append(fill)
        if fill.action == "entry":
            if fill.slot == "long":
                trade.entry_long = fill.reference
            else:
                trade.entry_short = fill.reference
            trade.entry_premium = (trade.entry_short - trade.entry_long) / trade.entry_long
        elif fill.action != "resize":
            if fill.slot == "long":
                trade.exit_long = fill.reference
            else:
                trade.exit_short = fill.reference
            trade.exit_premium = (trade.exit_short - trade.exit_long) / trade.exit_long
        if fill.action == "settlement":
            trade.settlement_price = fill.reference

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
        self.trade, self.pair, self.side, self.reason = None, None, 0, ""

    # --- money -------------------------------------------------------------------------------------------------------------------

    def move(self, giver: str, taker: str, amount: float) -> None:
        """Double entry: what one account gains, another gives."""
        self.accounts[giver] = self.accounts.get(giver, 0.0) - amount
        self.accounts[taker] = self.accounts.get(taker, 0.0) + amount

    def empty(self, account: str, taker: str) -> None:
        self.move(account, taker, self.accounts.get(account, 0.0))

    def post(self, source: str, amount: float) -> None:
        self.posted[source] += amount

    def earn(self, source: str, amount: float) -> None:
        """Interest and fees that run by the clock: credited at the next fill, worth their amount at once."""
        self.move("lenders", "accrued", amount)
        self.post(source, amount)

    def fix_balance(self) -> None:
        self.empty("accrued", "cash")
        self.balance = self.accounts["cash"]

    def open_account(self, holding: _Holding, price: float) -> None:
        holding.entry = price
        worth = abs(holding.quantity) * price
        if holding.derivative:
            self.move("cash", f"{holding.name} collateral", worth / self.rule.leverage)
        elif holding.quantity < 0.0:
            self.move("market", f"{holding.name} proceeds", worth)
        else:
            self.move("cash", "market", worth)

    def close_account(self, holding: _Holding, price: float) -> None:
        if holding.quantity == 0.0:
            return
        if holding.derivative:
            self.move("market", "cash", holding.quantity * (price - holding.entry))
            self.empty(f"{holding.name} collateral", "cash")
            self.empty(f"{holding.name} funding", "cash")
        else:
            self.empty(f"{holding.name} proceeds", "cash")
            self.move("market", "cash", holding.quantity * price)

    def account_worth(self, holding: _Holding) -> float:
        """What a slot is worth at its reference price, with the money that lies in its accounts."""
        if holding.quantity == 0.0:
            return 0.0
        money = math.fsum(self.accounts.get(f"{holding.name} {account}", 0.0) for account in ("collateral", "funding", "proceeds"))
        paid = holding.entry if holding.derivative else 0.0
        return money + holding.quantity * (holding.reference - paid)

    def equity(self) -> float:
        slots = math.fsum(self.account_worth(holding) for holding in self.holdings)
        return self.accounts["cash"] + self.accounts.get("accrued", 0.0) + slots

    def move_reference(self, holding: _Holding, price: float) -> None:
        """Post a held slot's price change: to its own source while every slot of the rule is held, else to legging."""
        if holding.quantity == 0.0:
            return
        hedged = all(one.quantity != 0.0 for one in self.holdings)
        self.post(f"price_{holding.name}" if hedged else "legging", holding.quantity * (price - holding.reference))
        holding.reference = price
