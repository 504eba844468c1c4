"""A trade as it would have gone on without its liquidation: how long, what its margin accounts would have lacked, and what it would have made.

What a ledger row says is held is kept in the same quantities to its settlement, to the first close at which the rule leaves by stop, days to expiry, time, want of
convergence or signal, or to the end of the data; then it is out at the next opens, as a taker and wholly. Money for the margin comes from outside and costs nothing.
Limits on equity (loss, drawdown, exposure), on liquidity and on loans, resizes, rolls and waiting orders are not followed. All is quantity × index difference,
as in the ledger:

    kept = keep(prepared, log, trade, fill)          # fill: the trade's first forced close
    kept.shortfall(slot).max(), kept.equity
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest import kernels as k
from backtest.market import DAY, Floats, whole_days
from backtest.rule import Rule, duration
from backtest.tapes import side_values

if TYPE_CHECKING:
    from backtest.result import Log, Prepared

SLOTS = ("long", "short")
FORCED = ("liquidation", "deleveraging")
FIRST_BLOCK, LARGEST_BLOCK = 1024, 65_536  # bars looked through at once: what is sought is often near, and a block stays in the cache


class End(NamedTuple):
    """When a kept trade ends: the close that decides it (for a settlement the bar of the expiry), and why."""

    bar: int
    reason: str


class Shortfall(NamedTuple):
    """Where a kept slot lacks most of its maintenance margin: the bar, how much (above 0 it would be liquidated), and the bar after the last one looked at."""

    bar: int
    worst: float
    end: int


class Out(NamedTuple):
    """How a slot of a kept trade ends. `bars`: how many have gone by: their accruals and rates are in it, and their margin was checked.

    value: a unit's index, paid: the price with its spread, coin: what an inverse contract's coin is worth then.
    """

    bars: int
    slot: int
    value: float
    paid: float
    coin: float
    fee: float
    slippage: float
    stays: bool


@dataclass(frozen=True)
class Holding:
    """One slot of a trade at rest: what the ledger says of it, its margin account, its terms [period] and its tapes. Units are those of the kernel."""

    quantity: float
    reference: float
    accrual_reference: float
    coins: float
    entry: float
    entry_accrual: float
    collateral: float
    terms: Any
    periods: npt.NDArray[np.int64]
    tape: Floats
    orders: Floats
    coin_tape: Floats
    start: int
    last: int
    expiry: int
    expiry_bar: int
    settlement: float

    @property
    def derivative(self) -> bool:
        """Whether it has a margin account."""
        return bool(self.terms["derivative"][0])

    @property
    def inverse(self) -> bool:
        """Whether it is paid in coin: its unit is one of face sold, its prices are reciprocals."""
        return bool(self.terms["inverse"][0])

    @property
    def worst_row(self) -> int:
        """The tape's row of the marks that hurt."""
        return k.MARK_LOW if self.quantity > 0.0 else k.MARK_HIGH

    def over(self, tape: Floats, row: int, first: int, end: int) -> Floats:
        """A row of one of its tapes over bars [first, end), none of them after its last."""
        return tape[row, self.start + first : self.start + end]

    def at(self, tape: Floats, row: int, bar: int) -> float:
        """One value of it, after its last bar the last."""
        return float(tape[row, self.start + min(bar, self.last)])

    def accrual(self, bars: int) -> float:
        """What one unit has earned in quote currency when so many bars have gone by."""
        row = k.ACCRUAL_LONG if self.quantity > 0.0 else k.ACCRUAL_SHORT
        return self.at(self.tape, row, bars - 1) if bars > 0 else 0.0

    @property
    def margin_accruals(self) -> tuple[Floats, int]:
        """The tape and its row of what one unit earns in the account's currency."""
        return (self.coin_tape, k.COIN_ACCRUAL) if self.inverse else (self.tape, k.ACCRUAL_LONG)

    def margin_accrual(self, bars: int) -> float:
        """What one unit has earned in the account's currency when so many bars have gone by."""
        return self.at(*self.margin_accruals, bars - 1) if bars > 0 else 0.0

    def terms_at(self, bar: int) -> Any:
        """The terms in force in a bar."""
        return self.terms[np.searchsorted(self.periods, bar, side="right") - 1]

    def account(self, spare: Floats, first: int, end: int) -> tuple[Floats, Floats]:
        """The margin account, and the maintenance margin, at the worst mark of each bar in [first, end), in the account's currency."""
        mark = self.over(self.tape, self.worst_row, first, end)
        earned = self.quantity * (self.over(*self.margin_accruals, first, end) - self.entry_accrual)
        needed = np.empty(end - first)
        for terms, begins, ends in zip(self.terms, self.periods, [*self.periods[1:].tolist(), end], strict=True):
            here = slice(max(int(begins) - first, 0), max(int(ends) - first, 0))
            needed[here] = maintenance(terms, abs(self.quantity) * mark[here])
        return self.collateral + spare + earned + self.quantity * (mark - self.entry), needed


def maintenance(terms: Any, notional: Floats) -> Floats:
    """Maintenance margin of notionals: rate and deduction of their tiers."""
    tier = np.searchsorted(terms["tier_floor"][1 : int(terms["tiers"])], notional, side="left")
    return np.asarray(notional * terms["tier_rate"][tier] - terms["tier_deduction"][tier])


@dataclass(frozen=True)
class Kept:
    """A trade that is kept: what was held before its first forced close. How each slot ends, and the equity after the last, are sought when asked for."""

    prepared: "Prepared"
    log: "Log"
    trade: "pd.Series[Any]"
    first: int
    start: int
    line: Any
    holdings: dict[int, Holding]
    _shortfalls: dict[int, Shortfall] = field(default_factory=dict)

    @cached_property
    def end(self) -> End:
        """When and why it ends."""
        return natural_end(self.prepared, self.log, self.holdings, self.trade, self.first)

    @cached_property
    def outs(self) -> dict[int, Out]:
        """How each slot ends, by number, the earliest first."""
        return {out.slot: out for out in ways_out(self.prepared, self.holdings, self.end)}

    @cached_property
    def equity(self) -> float:
        """Equity just after the last slot is out."""
        return equity_after(self.prepared, self.log, self.line, self.holdings, list(self.outs.values()))

    def money(self, slot: int, first: int, end: int) -> Floats:
        """What the currency of a slot's account is worth at the close of each bar in [first, end)."""
        if self.holdings[slot].inverse:
            return np.asarray(self.prepared.tapes.coin[k.COIN_CLOSE, first:end])
        return np.ones(end - first)

    def backing(self, slot: int) -> float:
        """The coins of a long spot that are an inverse contract's collateral."""
        other = self.holdings.get(1 - slot)
        return max(other.quantity, 0.0) if self.holdings[slot].inverse and other is not None and not other.derivative else 0.0

    def account(self, slot: int, first: int, end: int) -> tuple[Floats, Floats]:
        """A slot's margin account and its maintenance margin at the worst mark of each bar in [first, end), in quote currency."""
        money, cash = self.money(slot, first, end), 0.0
        if int(self.prepared.rule_record["margin"]) == k.CROSS:
            cash = max(wallet(self.prepared, self.line, slot), 0.0)
        account, needed = self.holdings[slot].account(cash / money + self.backing(slot), first, end)
        return account * money, needed * money

    def shortfall(self, slot: int) -> Shortfall:
        """Where a slot lacks most from the first forced close until it is out."""
        if slot not in self._shortfalls:
            found = Shortfall(self.start, -np.inf, max(self.outs[slot].bars, self.start + 1))
            for first, end in blocks(self.start, found.end):
                account, needed = self.account(slot, first, end)
                lacking = needed - account
                place = int(np.argmax(lacking))
                if lacking[place] > found.worst:
                    found = Shortfall(first + place, float(lacking[place]), found.end)
            self._shortfalls[slot] = found
        return self._shortfalls[slot]

    @property
    def until(self) -> int:
        """The instant at which the last slot would have been out, or the end of the data."""
        return max(min(open_of(self.prepared, out.bars), self.holdings[out.slot].expiry) for out in self.outs.values())


def blocks(first: int, end: int) -> Iterator[tuple[int, int]]:
    """Parts of the bars [first, end), in order, at first short ones."""
    size = FIRST_BLOCK
    while first < end:
        yield first, min(first + size, end)
        first, size = first + size, min(2 * size, LARGEST_BLOCK)


def open_of(prepared: "Prepared", bar: int) -> int:
    """The instant at which a bar opens."""
    return int(prepared.market.stamps[bar - 1]) if bar > 0 else prepared.market.start


def keep(prepared: "Prepared", log: "Log", trade: "pd.Series[Any]", fill: int) -> Kept:
    """A trade as it would have gone on from just before its first forced close."""
    line = row_before(log, fill)
    return Kept(prepared, log, trade, fill, int(log.fills["bar"][fill]), line, held_before(prepared, log, line, fill))


# ---------------------------------------------------------------- what was held


def row_before(log: "Log", fill: int) -> Any:
    """The ledger's row that was in force before a forced close: the last that has the quantity which went."""
    record = log.fills[fill]
    name = f"{SLOTS[int(record['slot'])]}_quantity"
    rows = log.ledger[: np.searchsorted(log.ledger["bar"], record["bar"], side="right")]
    return rows[np.flatnonzero(rows[name] != 0.0)[-1]]


def held_before(prepared: "Prepared", log: "Log", line: Any, fill: int) -> dict[int, Holding]:
    """The slots held in a ledger row, by number; their accounts are those that the last fill before opened."""
    tapes, pair, out = prepared.tapes, prepared.tapes.pairs[int(line["pair"])], dict[int, Holding]()
    before = log.fills[:fill][log.fills["trade"][:fill] == log.fills["trade"][fill]]
    tapes_of = ((tapes.long, tapes.long_orders, tapes.long_coin), (tapes.short, tapes.short_orders, tapes.short_coin))
    for slot, name in enumerate(SLOTS):
        quantity, terms = float(line[f"{name}_quantity"]), prepared.terms[:, slot]
        if quantity == 0.0:
            continue
        opened = before[before["slot"] == slot][-1]
        price, start, (tape, orders, coin_tape) = float(opened["price"]), int(pair[f"{name}_start"]), tapes_of[slot]
        inverse, derivative = bool(terms["inverse"][0]), bool(terms["derivative"][0])
        row, accruals = (k.COIN_ACCRUAL, coin_tape) if inverse else (k.ACCRUAL_LONG, tape)
        entry = 1.0 / price if inverse else price
        entry_accrual = float(accruals[row, start + int(opened["bar"]) - 1]) if start + int(opened["bar"]) > 0 and derivative else 0.0
        collateral, coins = abs(quantity) * entry / float(terms["leverage"][0]) if derivative else 0.0, float(line[f"{name}_coins"])
        out[slot] = Holding(
            quantity=quantity,
            reference=float(line[f"{name}_reference"]),
            accrual_reference=float(line[f"{name}_accrual"]),
            coins=coins,
            entry=entry,
            entry_accrual=entry_accrual,
            collateral=coins + quantity * (entry + entry_accrual) if inverse else collateral,
            terms=terms,
            periods=tapes.periods,
            tape=tape,
            orders=orders,
            coin_tape=coin_tape,
            start=start,
            last=int(pair[f"{name}_last"]),
            expiry=int(pair[f"{name}_expiry"]),
            expiry_bar=int(pair[f"{name}_expiry_bar"]),
            settlement=float(pair[f"{name}_settlement"]),
        )
    if prepared.execution.top_up is not None:
        sent = topped_up(log, line, out)
        out = {
            slot: replace(holding, collateral=holding.collateral + sent) if holding.derivative else holding for slot, holding in out.items()
        }
    return out


def topped_up(log: "Log", line: Any, holdings: dict[int, Holding]) -> float:
    """What was sent to the one margin account since its last fill, also what is under way: equity less the balance and what the slots are worth without it.

    Of two accounts it can't be told whose it is: 0.
    """
    worth = 0.0
    for holding in holdings.values():
        worth += holding.quantity * holding.reference
        if holding.derivative:
            worth += holding.collateral + holding.quantity * (holding.accrual_reference - holding.entry_accrual)
        if holding.derivative or holding.quantity < 0.0:
            worth -= holding.quantity * holding.entry
    equity = float(log.account["capital"]) + sum(float(line[name]) for name in k.SOURCES)
    linear = [holding.derivative and not holding.inverse for holding in holdings.values()]
    return max(equity - float(line["balance"]) - worth, 0.0) if linear.count(True) == 1 else 0.0


def wallet(prepared: "Prepared", line: Any, slot: int) -> float:
    """The cash that a slot may use."""
    if not prepared.rule_record["wallets"]:
        return float(line["balance"])
    return float(line["far"]) if slot == k.SHORT_SLOT else float(line["balance"] - line["far"] - abs(line["transit"]))


# ---------------------------------------------------------------- when it would have ended


def natural_end(prepared: "Prepared", log: "Log", holdings: dict[int, Holding], trade: "pd.Series[Any]", fill: int) -> End:
    """When the trade would have ended: what had it leaving already, its settlement, the first close at which the rule leaves, the end of the data."""
    bar, n = int(log.fills["bar"][fill]), len(prepared.market)
    if trade["reason"] not in FORCED:
        return End(bar, str(trade["reason"]))
    expiry = min([holding.expiry_bar for holding in holdings.values()], default=k.NEVER)
    found = End(int(expiry), "expiry") if expiry < n else End(n - 1, "end of data")
    if not leaves_by_itself(prepared.rule):
        return found
    complete = completed(prepared, log, fill)
    for first, end in blocks(bar, found.bar):
        for reason, flags in leaving(prepared, log, trade, fill, slice(first, end), complete).items():
            place = int(np.argmax(flags))
            if flags[place] and first + place < found.bar:
                found = End(first + place, reason)
        if found.bar < end:
            break
    return found


def leaves_by_itself(rule: Rule) -> bool:
    """Whether a rule has a limit that `leaving` looks at."""
    limits = (rule.stop, rule.stop_annualized, rule.expiry_days, rule.max_hold, rule.converge, rule.exit)
    return any(limit is not None for limit in limits)


def leaving(
    prepared: "Prepared", log: "Log", trade: "pd.Series[Any]", fill: int, bars: slice, complete: int
) -> dict[str, npt.NDArray[np.bool_]]:
    """At which closes the rule leaves, reason by reason in the order of judging; only those that need no equity. complete: when the entry was."""
    rule, pair, side = prepared.rule, prepared.tapes.pairs[int(log.fills["pair"][fill])], int(trade["side"])
    stamps = prepared.market.stamps[bars]
    place = slice(int(pair["start"]) + bars.start, int(pair["start"]) + bars.stop)
    entered = trade["entered_at"].as_unit("ns").value
    flags, premium = dict[str, npt.NDArray[np.bool_]](), side * float(trade["entry_premium"])
    if rule.stop is not None:
        flags["stop"] = side_values(prepared.tapes, prepared.rule_record, "premium_at", side)[place] >= premium + rule.stop
    days = (int(pair["expiry"]) - complete) / DAY
    if rule.stop_annualized is not None and days >= 1.0:
        far = side_values(prepared.tapes, prepared.rule_record, "annual_at", side)[place] >= premium * 365.0 / days + rule.stop_annualized
        flags["stop"] = flags["stop"] | far if "stop" in flags else far
    if rule.expiry_days is not None and pair["expiry"] < k.NEVER:
        flags["days to expiry"] = int(pair["expiry"]) - stamps <= whole_days(rule.expiry_days)
    if rule.max_hold is not None:
        flags["time"] = stamps - entered >= (duration("max_hold", rule.max_hold) or 0)
    if rule.converge is not None:
        late = stamps - complete >= (duration("converge", rule.converge) or 0)
        flags["no convergence"] = late & (side_values(prepared.tapes, prepared.rule_record, "premium_at", side)[place] >= premium)
    if rule.exit is not None:
        flags["signal"] = side_values(prepared.tapes, prepared.rule_record, "exit_at", side)[place] >= -rule.exit
    return flags


def completed(prepared: "Prepared", log: "Log", fill: int) -> int:
    """The open instant of the last fill of a trade's entry."""
    before = log.fills[:fill]
    mine = before[(before["trade"] == log.fills["trade"][fill]) & (before["action"] == k.ENTERED)]
    return open_of(prepared, int(mine["bar"][-1]))


# ---------------------------------------------------------------- how it would have got out, and with what


def ways_out(prepared: "Prepared", holdings: dict[int, Holding], end: End) -> list[Out]:
    """How each slot ends, the earliest first: settled, sold at its next open, or left at the last close where the data end before."""
    n, outs, coin = len(prepared.market), [], prepared.tapes.coin
    for slot, holding in holdings.items():
        first, over = end.bar + 1, min(n, holding.expiry_bar + 1)
        bar = next_open(holding, first, over)
        if holding.expiry_bar > end.bar and bar >= 0:
            outs.append(sold(holding, slot, bar, float(coin[k.COIN_OPEN, bar]) if holding.inverse else 1.0))
        elif holding.expiry_bar < n:
            outs.append(settled(holding, slot, float(coin[k.COIN_CLOSE, holding.expiry_bar]) if holding.inverse else 1.0))
        else:
            worth, close = float(coin[k.COIN_CLOSE, n - 1]) if holding.inverse else 1.0, holding.at(holding.tape, k.CLOSE, n - 1)
            outs.append(
                Out(
                    n,
                    slot,
                    holding.at(holding.coin_tape, k.VALUE_CLOSE, n - 1) if holding.inverse else close,
                    close,
                    worth,
                    0.0,
                    0.0,
                    stays=True,
                )
            )
    return sorted(outs)


def next_open(holding: Holding, first: int, end: int) -> int:
    """The first bar in [first, end) in which a slot can trade; −1 for none."""
    for begin, over in blocks(first, end):
        opens = holding.over(holding.tape, k.OPEN, begin, over) > 0.0
        if opens.any():
            return begin + int(np.argmax(opens))
    return -1


def settled(holding: Holding, slot: int, coin: float) -> Out:
    """At expiry, for the delivery fee."""
    terms, size, price, bars = holding.terms_at(holding.expiry_bar), abs(holding.quantity), holding.settlement, holding.expiry_bar + 1
    fee = float(terms["delivery_fee"]) * size * (coin / price if holding.inverse else price) + float(terms["delivery_unit_fee"]) * size
    value = coin / price + coin * holding.margin_accrual(bars) - holding.accrual(bars) if holding.inverse else price
    return Out(bars, slot, value, price, coin, fee, 0.0, stays=False)


def sold(holding: Holding, slot: int, bar: int, coin: float) -> Out:
    """At a bar's open, as a taker: for half the spread, impact and stress where they are, and the fee."""
    terms, size = holding.terms_at(bar), abs(holding.quantity)
    price, quoted = holding.at(holding.tape, k.OPEN, bar), holding.at(holding.tape, k.HALF_SPREAD, bar)
    cost = quoted if terms["quoted"] and quoted >= 0.0 else float(terms["half_spread"])
    if terms["limited"]:
        notional, impact = size if holding.inverse else size * price, float(np.nan_to_num(holding.at(holding.orders, k.IMPACT, bar)))
        cost = cost * holding.at(holding.orders, k.STRESS, bar) + impact * (np.sqrt(notional) if terms["impact_square_root"] else notional)
    buys = (holding.quantity < 0.0) != holding.inverse
    paid = price * (1.0 + cost if buys else 1.0 - cost)
    worth = size / paid * coin if holding.inverse else size * paid
    fee = float(terms["taker_fee"]) * worth + float(terms["unit_fee"]) * size
    value = holding.at(holding.coin_tape, k.VALUE_OPEN, bar) if holding.inverse else price
    return Out(bar, slot, value, paid, coin, fee, worth * cost if holding.inverse else size * price * cost, stays=False)


def equity_after(prepared: "Prepared", log: "Log", line: Any, holdings: dict[int, Holding], outs: list[Out]) -> float:
    """Equity just after the last slot is out, from a ledger row on with nothing else in between."""
    rates = prepared.tapes.rates
    equity = float(log.account["capital"]) + sum(float(line[name]) for name in k.SOURCES)
    balance, reference = float(line["balance"]), float(line["rate_reference"])
    accrued = {slot: holding.accrual_reference for slot, holding in holdings.items()}
    held = dict(holdings)
    for out in outs:
        interest = balance * (float(rates[k.BORROW if balance < 0.0 else k.IDLE, out.bars]) - reference)
        balance, equity = balance + interest, equity + interest
        for slot, holding in held.items():
            earned = holding.quantity * (holding.accrual(out.bars) - accrued[slot])
            accrued[slot] = holding.accrual(out.bars)
            equity += earned
            balance += 0.0 if holding.derivative else earned
        holding = held.pop(out.slot)
        equity += holding.quantity * (out.value - holding.reference) - out.fee - out.slippage
        equity += holding.coins * (out.coin - float(line["coin_reference"]))
        balance += 0.0 if out.stays else paid_out(holding, out)
        reference = float(rates[k.BORROW if balance < 0.0 else k.IDLE, out.bars])
    return equity


def paid_out(holding: Holding, out: Out) -> float:
    """What the end of a slot brings in cash."""
    if holding.derivative:
        gain = holding.quantity * ((1.0 / out.paid if holding.inverse else out.paid) - holding.entry)
        earned = holding.quantity * (holding.margin_accrual(out.bars) - holding.entry_accrual)
        return (holding.collateral + gain + earned) * out.coin - out.fee
    return holding.quantity * (out.paid - (holding.entry if holding.quantity < 0.0 else 0.0)) - out.fee
