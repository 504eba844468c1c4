"""What a run has at risk at each bar's close: what it holds, how much of its margin is used, and how far the price is from its liquidation.

A margin account is collateral + funding + quantity × (mark − entry), with the spare cash of cross margin and the coins of the spot behind an inverse contract; it must
not fall below the maintenance margin of the notional at the mark. The ledger says what is held and what the cash is, the fills what each account opened with:
so all is told of all bars at once, by the same comparison as in the kernel's step.

    result.exposure[["gross", "net", "margin_use", "distance"]]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from backtest import kernels as k
from backtest.kept import SLOTS, maintenance
from backtest.ledger import rows_by_bar
from backtest.market import Floats, Integers

if TYPE_CHECKING:
    from backtest.result import Log, Prepared

COLUMNS = ("long_notional", "short_notional", "gross", "net", "margin_use", "distance")
ENDED = (k.SETTLED, k.LIQUIDATED, k.DELEVERAGED)  # inside a bar, after its margin was checked
BELOW_ONE = float(np.nextafter(1.0, 0.0))
NOWHERE = 1e-9  # a price of so much of the close, or one so many times higher, is none
SENT = 1e-9  # of the money in an account: a smaller difference is rounding, not a top-up


def table(prepared: "Prepared", log: "Log", positions: pd.DataFrame, equity: pd.Series) -> pd.DataFrame:
    """What was at risk at each bar's close, a row a bar.

    long_notional, short_notional: signed cash of the slots, quantity × last close (an inverse contract's quantity as in `positions`). gross, net: the sum of their
    sizes, and their sum, over equity; NaN where that is not above 0. margin_use: maintenance margin over margin account at the bar's worst mark, of the position after the
    fills at its open; the larger of two slots, in a bar that liquidates the long one that one's. At least 1 exactly where a leg was liquidated (infinite without any account
    left), 0 without a margined position. distance: how far a leg's price has to go against it from the close, as a fraction, until it is liquidated, all else as it
    is; the nearer of two slots; below 0 where the close is beyond what the mark has seen, infinite where no price does it, NaN without a margined position.

    Both are NaN with margin "off", in a rule without derivatives, and in a book of several rules with cross margin, as the others draw on the same cash.
    """
    n, rows = len(prepared.market), log.ledger
    place = rows_by_bar(rows, n)
    notional = [closing_notional(prepared, log, slot, place, positions[f"{name}_quantity"].to_numpy()) for slot, name in enumerate(SLOTS)]
    use, distance = margin_columns(prepared, log, place)
    columns = dict(zip(COLUMNS[:2], notional, strict=True)) | of_equity(abs(notional[0]) + abs(notional[1]), sum(notional), equity)
    return pd.DataFrame(columns | {"margin_use": use, "distance": distance}, index=equity.index, columns=list(COLUMNS), copy=False)


def together(tables: Sequence[pd.DataFrame], equity: pd.Series) -> pd.DataFrame:
    """The same of several rules on one capital: notionals add up, gross those of every leg by itself; margin_use and distance are those of the leg that is nearest to
    its liquidation, rules without one passed over.
    """
    sums = {name: np.sum([one[name].to_numpy() for one in tables], axis=0) for name in COLUMNS[:2]}
    gross = np.sum([abs(one[name].to_numpy()) for one in tables for name in COLUMNS[:2]], axis=0)
    use = np.fmax.reduce([one["margin_use"].to_numpy() for one in tables])
    distance = np.fmin.reduce([one["distance"].to_numpy() for one in tables])
    columns = sums | of_equity(gross, sums["long_notional"] + sums["short_notional"], equity)
    return pd.DataFrame(columns | {"margin_use": use, "distance": distance}, index=equity.index, columns=list(COLUMNS), copy=False)


def of_equity(gross: Floats, net: Any, equity: pd.Series) -> dict[str, Floats]:
    """Notionals as multiples of equity; NaN where there is none."""
    money = np.where(equity.to_numpy() > 0.0, equity.to_numpy(), np.nan)
    return {"gross": gross / money, "net": net / money}


def closing_notional(prepared: "Prepared", log: "Log", slot: int, place: Integers, quantity: Floats) -> Floats:
    """A slot's quantity at each close times that close. place: the ledger row in force. [bar]"""
    out = np.zeros(len(place))
    bars = np.flatnonzero(quantity)
    starts = prepared.tapes.pairs[f"{SLOTS[slot]}_start"][log.ledger["pair"][place[bars]]]
    out[bars] = quantity[bars] * tape_of(prepared, slot)[k.CLOSE, starts + bars]
    return out


def tape_of(prepared: "Prepared", slot: int) -> Floats:
    """A slot's tape."""
    return prepared.tapes.long if slot == k.LONG_SLOT else prepared.tapes.short


# ---------------------------------------------------------------- margin accounts, bar by bar


@dataclass(frozen=True)
class Opened:
    """A slot in every row of the ledger: what is held and where its bars start on the tape, and what its last fill made of its margin account. [row]"""

    quantity: Floats
    start: Integers
    entry: Floats
    entry_accrual: Floats
    collateral: Floats


@dataclass(frozen=True)
class Margined:
    """A derivative slot in the bars in which it is held. coins: of the spot behind an inverse contract; money: what the account's currency is worth. [bar]"""

    bars: Integers
    quantity: Floats
    place: Integers
    entry: Floats
    collateral: Floats
    earned: Floats
    coins: Floats
    money: Any
    periods: Sequence[tuple[slice, Any]]

    def account(self, mark: Floats, cash: Any) -> Floats:
        """The margin account at a mark, with some spare cash; summed as the kernel does."""
        backing = cash / self.money + self.coins
        return np.asarray(self.collateral + backing + self.earned + self.quantity * (mark - self.entry))

    def needed(self, mark: Floats) -> Floats:
        """The maintenance margin at a mark."""
        notional, out = abs(self.quantity) * mark, np.empty(len(self.bars))
        for here, terms in self.periods:
            out[here] = maintenance(terms, notional[here])
        return out

    def lacking(self, mark: Floats) -> Floats:
        """What the account draws of the spare cash at a mark, in quote currency."""
        return np.asarray(np.maximum(self.needed(mark) - self.account(mark, 0.0), 0.0) * self.money)

    def breach(self, cash: Any) -> Floats:
        """The mark at which account and maintenance margin are equal."""
        out = np.empty(len(self.bars))
        worth = self.account(np.zeros(len(self.bars)), cash)
        for here, terms in self.periods:
            for sold in (False, True):
                chosen = np.arange(len(out))[here][(self.quantity[here] < 0.0) == sold]
                out[chosen] = breach_of(terms, worth[chosen], abs(self.quantity[chosen]), sold)
        return out


def breach_of(terms: Any, worth: Floats, size: Floats, sold: bool) -> Floats:
    """The mark at which worth ± size·mark, the account, is the maintenance margin of size·mark: tier by tier from the side of the better prices."""
    out, left, tiers = np.full(len(size), np.nan), np.arange(len(size)), int(terms["tiers"])
    for tier in range(tiers) if sold else reversed(range(tiers)):
        rate, deduction, floor = (float(terms[name][tier]) for name in ("tier_rate", "tier_deduction", "tier_floor"))
        units, last = size[left], tier + 1 == tiers
        above = np.inf if last else float(terms["tier_floor"][tier + 1])
        with np.errstate(divide="ignore"):
            if sold:
                mark = np.maximum((worth[left] + deduction) / (units * (1.0 + rate)), floor / units)
                found = np.full(len(left), last) | (units * mark <= above)
            else:
                mark = np.minimum(-(worth[left] + deduction) / (units * (1.0 - rate)), above / units)
                found = np.full(len(left), tier == 0) | (units * mark > floor)
        out[left[found]] = mark[found]
        left = left[~found]
    return out


def margin_columns(prepared: "Prepared", log: "Log", place: Integers) -> tuple[Floats, Floats]:
    """margin_use and distance at every bar. place: the ledger row in force at each close."""
    n, rule, derivative = len(place), prepared.rule_record, prepared.terms["derivative"][0] != 0
    if int(rule["margin"]) == k.OFF or prepared.backed or not derivative.any():
        return np.full(n, np.nan), np.full(n, np.nan)
    use, distance = np.zeros(n), np.full(n, np.nan)
    slots, checked, drawn_worst, drawn_close = Slots(prepared, log), rows_checked(log, place), np.zeros(n), np.zeros(n)
    for slot in np.flatnonzero(derivative).tolist():
        tape, draws = tape_of(prepared, slot), slots.shares_cash and slot == k.LONG_SLOT
        held = slots.margined(slot, checked)
        mark = tape[np.where(held.quantity > 0.0, k.MARK_LOW, k.MARK_HIGH), held.place]
        cash = slots.cash(slot, checked[held.bars], drawn_worst[held.bars])
        worst = used(held.account(mark, cash), held.needed(mark))
        before = use[held.bars]
        use[held.bars] = np.where(before >= 1.0, before, np.maximum(before, worst))
        if draws:
            drawn_worst[held.bars] = held.lacking(mark)
        if len(log.fills) and np.isin(log.fills["action"], ENDED).any():
            held = slots.margined(slot, place)
        close = tape[k.CLOSE, held.place]
        cash = slots.cash(slot, place[held.bars], drawn_close[held.bars])
        distance[held.bars] = np.fmin(distance[held.bars], away(held, close, cash, slots.inverse[slot]))
        if draws:
            drawn_close[held.bars] = held.lacking(1.0 / close if slots.inverse[slot] else close)
    return use, distance


def used(account: Floats, needed: Floats) -> Floats:
    """Maintenance margin over the account: at least 1 exactly where the account is below it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(account > 0.0, needed / account, np.where(account < needed, np.inf, 0.0))
    return np.where(account < needed, np.maximum(share, 1.0), np.clip(share, 0.0, BELOW_ONE))


def away(held: Margined, close: Floats, cash: Any, inverse: bool) -> Floats:
    """How far, as a fraction of the close and against the position, the price of the liquidation is. An inverse contract's mark is the price's reciprocal."""
    mark = held.breach(cash)
    share = mark * close if inverse else mark / close
    with np.errstate(divide="ignore"):
        moved = (
            np.where(held.quantity < 0.0, 1.0 - 1.0 / share, 1.0 / share - 1.0)
            if inverse
            else np.where(held.quantity < 0.0, share - 1.0, 1.0 - share)
        )
    return np.where((held.quantity > 0.0) & (share <= NOWHERE), np.inf, moved)


def rows_checked(log: "Log", place: Integers) -> Integers:
    """The ledger row in force when each bar's margin was checked: what is told of a bar in which a slot ended is the row before that, the last that holds it."""
    out = place.copy()
    for slot, name in enumerate(SLOTS):
        holds = np.maximum.accumulate(np.where(log.ledger[f"{name}_quantity"] != 0.0, np.arange(len(log.ledger)), -1))
        bars = log.fills["bar"][np.isin(log.fills["action"], ENDED) & (log.fills["slot"] == slot)]
        out[bars] = holds[place[bars]]
    return out


# ---------------------------------------------------------------- from the ledger and the fills


@dataclass(frozen=True)
class Slots:
    """The margin accounts of a run, as its ledger and fills tell them."""

    prepared: "Prepared"
    log: "Log"

    @cached_property
    def inverse(self) -> list[bool]:
        """Whether each slot's contracts are paid in coin."""
        return [bool(value) for value in self.prepared.terms["inverse"][0]]

    @cached_property
    def row_of_fill(self) -> Integers:
        """The ledger row that tells what each fill made: of those of its bar the first that changes what is held, the last for what ended inside the bar. [fill]"""
        rows, fills = self.log.ledger, self.log.fills
        changed, held = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
        for name in SLOTS:
            quantity = rows[f"{name}_quantity"]
            changed |= np.diff(quantity, prepend=0.0) != 0.0
            held |= quantity != 0.0
        changed |= held & (np.diff(rows["pair"], prepend=-1) != 0)
        places = np.flatnonzero(changed)
        bars = rows["bar"][places]
        first, last = np.searchsorted(bars, fills["bar"], side="left"), np.searchsorted(bars, fills["bar"], side="right") - 1
        return places[np.where(np.isin(fills["action"], ENDED), last, first)]

    def opened(self, slot: int) -> Opened:
        """What each row holds in a slot, and its account as its last fill opened it; short spots have their proceeds apart, too."""
        prepared, rows, name = self.prepared, self.log.ledger, SLOTS[slot]
        mine = np.flatnonzero(self.log.fills["slot"] == slot)
        quantity, start = rows[f"{name}_quantity"], prepared.tapes.pairs[f"{name}_start"]
        if not len(mine):
            none = np.zeros(len(rows))
            return Opened(quantity, start[rows["pair"]], none, none, none)
        last = np.maximum(np.searchsorted(self.row_of_fill[mine], np.arange(len(rows)), side="right") - 1, 0)
        fills = self.log.fills[mine]
        place = start[fills["pair"]] + fills["bar"]
        entry = 1.0 / fills["price"] if self.inverse[slot] else fills["price"]
        accrued = np.where(place > 0, self.margin_accruals(slot)[np.maximum(place - 1, 0)], 0.0)
        leverage = prepared.terms["leverage"][np.searchsorted(prepared.tapes.periods, fills["bar"], side="right") - 1, slot]
        entry, accrued = entry[last], accrued[last]
        coins = rows[f"{name}_coins"] + quantity * (entry + accrued)
        collateral = coins if self.inverse[slot] else abs(quantity) * entry / leverage[last]
        return Opened(quantity, start[rows["pair"]], entry, accrued, collateral)

    def margin_accruals(self, slot: int) -> Floats:
        """What one unit has earned in the account's currency. [position]"""
        tapes = self.prepared.tapes
        coins = tapes.long_coin if slot == k.LONG_SLOT else tapes.short_coin
        out: Floats = coins[k.COIN_ACCRUAL] if self.inverse[slot] else tape_of(self.prepared, slot)[k.ACCRUAL_LONG]
        return out

    def margined(self, slot: int, place: Integers) -> Margined:
        """A derivative slot in the bars in which the ledger row that is in force there holds it. place: those rows. [bar]"""
        made, tapes = self.accounts[slot], self.prepared.tapes
        bars = np.flatnonzero(np.append(made.quantity, 0.0)[place] != 0.0)
        rows = place[bars]
        quantity, spot = made.quantity[rows], np.zeros(1)
        position = made.start[rows] + bars
        earned = quantity * (self.margin_accruals(slot)[position] - made.entry_accrual[rows])
        collateral = made.collateral[rows]
        topped = self.topped[slot]
        if topped is not None:
            collateral = collateral + topped[bars]
        if self.inverse[slot] and self.prepared.terms["present"][0, 1 - slot] and not self.prepared.terms["derivative"][0, 1 - slot]:
            spot = np.maximum(self.log.ledger[f"{SLOTS[1 - slot]}_quantity"][rows], 0.0)
        starts = [*np.searchsorted(bars, tapes.periods).tolist(), len(bars)]
        periods = [(slice(a, b), terms) for a, b, terms in zip(starts[:-1], starts[1:], self.prepared.terms[:, slot], strict=True) if b > a]
        money = tapes.coin[k.COIN_CLOSE, bars] if self.inverse[slot] else 1.0
        return Margined(bars, quantity, position, made.entry[rows], collateral, earned, spot, money, periods)

    @cached_property
    def accounts(self) -> tuple[Opened, Opened]:
        """Both slots, row by row."""
        return self.opened(k.LONG_SLOT), self.opened(k.SHORT_SLOT)

    def cash(self, slot: int, rows: Integers, drawn: Floats) -> Any:
        """The spare cash of cross margin that a slot may use where these rows are in force, less what the slot before has drawn."""
        if int(self.prepared.rule_record["margin"]) != k.CROSS:
            return 0.0
        ledger = self.log.ledger
        wallet = ledger["balance"][rows]
        if self.prepared.rule_record["wallets"]:
            far = ledger["far"][rows]
            wallet = far if slot == k.SHORT_SLOT else wallet - far - abs(ledger["transit"][rows])
        return np.maximum(wallet - drawn, 0.0)

    @cached_property
    def shares_cash(self) -> bool:
        """Whether what one slot draws of the cash is not there for the other one; wallets are not shared."""
        rule = self.prepared.rule_record
        return int(rule["margin"]) == k.CROSS and not rule["wallets"] and bool(self.prepared.terms["derivative"][0].all())

    # ------------------------------------------------------------ top-ups

    @cached_property
    def topped(self) -> list[Floats | None]:
        """What top-ups have added to each slot's collateral since its last fill; None without any. [slot][bar]"""
        n, fills = len(self.prepared.market), self.log.fills
        if not self.prepared.rule_record["top_up"] > 0.0:
            return [None, None]
        out = np.zeros((2, n))
        # A fill settles the account: at its bar's open, or inside the bar, after its margin was checked.
        settled = fills["bar"] + np.isin(fills["action"], ENDED)
        settles, under_way = [np.append(settled[fills["slot"] == slot], n) for slot in range(2)], [0, 0]
        for row in np.flatnonzero(self.sent > 0.0).tolist():
            for slot, amount, delay in self.sent_to(row, out, under_way):
                arrives = int(np.searchsorted(self.prepared.market.stamps, self.stamp(row) + delay, side="left")) + 1
                until = settles[slot][np.searchsorted(settles[slot][:-1], arrives, side="left")]
                out[slot, arrives:until] += amount
                under_way[slot] = arrives
        return [out[0], out[1]]

    def stamp(self, row: int) -> int:
        """The close at which a row was written."""
        return int(self.prepared.market.stamps[self.log.ledger["bar"][row]])

    @cached_property
    def sent(self) -> Floats:
        """What each row has sent to margin accounts: by so much equity less balance and what the slots are worth without top-ups has risen. [row]"""
        rows, derivative = self.log.ledger, self.prepared.terms["derivative"][0] != 0
        equity = np.sum([rows[name] for name in k.SOURCES], axis=0) + float(self.log.account["capital"])
        worth, size = np.zeros(len(rows)), abs(equity) + abs(rows["balance"])
        for slot, name in enumerate(SLOTS):
            made, gain = self.accounts[slot], rows[f"{name}_quantity"] * rows[f"{name}_reference"]
            apart = derivative[slot] | (made.quantity < 0.0)
            worth += gain - np.where(apart, made.quantity * made.entry, 0.0)
            if derivative[slot]:
                worth += made.collateral + made.quantity * (rows[f"{name}_accrual"] - made.entry_accrual)
            size += abs(gain)
        risen = np.diff(equity - rows["balance"] - worth, prepend=0.0)
        return np.where(risen > SENT * size, risen, 0.0)

    def sent_to(self, row: int, topped: Floats, under_way: Sequence[int]) -> list[tuple[int, float, int]]:
        """Slot, amount and delay of what a row has sent: the long slot takes what it wants first. A slot's own wallet sends at once."""
        rule, rows, total = self.prepared.rule_record, self.log.ledger, float(self.sent[row])
        own, other = rows[row], rows[row - 1]
        near, far = float(own["balance"] - own["far"] - abs(own["transit"])), float(other["far"])
        fees = float(other["fees"] - own["fees"])
        near += total + fees - (far - float(own["far"]))  # before
        to_long = min(self.wanted(k.LONG_SLOT, row, topped, under_way), total)
        from_near = near > 0.0 or not rule["wallets"]
        if rule["wallets"] and to_long > 0.0:
            to_long = min(to_long, near if from_near else far - float(rule["transfer_fee"]))
        if not self.wanted(k.SHORT_SLOT, row, topped, under_way) > 0.0:
            to_long = total
        own_wallet = [bool(rule["wallets"]) and near > 0.0, bool(rule["wallets"]) and far - (0.0 if from_near else to_long) > 0.0]
        amounts = [to_long, total - to_long]
        delay = int(rule["transfer_delay"])
        return [(slot, amounts[slot], 0 if own_wallet[slot] else delay) for slot in range(2) if amounts[slot] > 0.0]

    def wanted(self, slot: int, row: int, topped: Floats, under_way: Sequence[int]) -> float:
        """What a slot's account lacks of its initial margin at the row's close, if it is thin enough to be topped up."""
        made, bar = self.accounts[slot], int(self.log.ledger["bar"][row])
        quantity, terms = (
            float(made.quantity[row]),
            self.prepared.terms[np.searchsorted(self.prepared.tapes.periods, bar, side="right") - 1, slot],
        )
        if not terms["derivative"] or quantity == 0.0 or bar < under_way[slot]:
            return 0.0
        tape, place = tape_of(self.prepared, slot), int(made.start[row]) + bar
        close, earned = float(tape[k.CLOSE, place]), float(tape[k.ACCRUAL_LONG, place] - made.entry_accrual[row])
        worth = float(made.collateral[row] + topped[slot, bar]) + quantity * (earned + close - float(made.entry[row]))
        whole = abs(quantity) * close / float(terms["leverage"])
        return whole - worth if worth < float(self.prepared.rule_record["top_up"]) * whole else 0.0
