"""The judge's books in double entry, in two currencies.

Quote currency lies in cash or in two wallets, in collateral, funding, proceeds, top-ups and transfers under way; coins lie in the collateral
and the funding of inverse contracts. The sources of profit are posted beside them. What the accounts of several rules share lies in their `Pot`.
"""

import math
from dataclasses import dataclass, field

from naive_parts import NAN, SOURCES, NaiveInstrument, NaiveRule, NaiveSlot


@dataclass
class Holding:
    """A slot's position and its order. Quantities are base units, of inverse contracts the face.

    `reference` (and `coin`, the coin's price) is where its profit was last posted, `entry` the price its account was opened at, `goal` what
    the entry or the last resize aims at in the end, `base` the base quantity of one unit. `collateral_coins` and `payments` retell
    what the coin account should hold; `payments` are (coins, coin's price), the first `posted` of them are older than the last posting.
    """

    name: str
    slot: NaiveSlot
    instrument: NaiveInstrument
    quantity: float = 0.0
    target: float = 0.0
    goal: float = 0.0
    base: float = 1.0
    entry: float = NAN
    reference: float = NAN
    coin: float = NAN
    ready: int = 0
    chased: bool = False
    collateral_coins: float = 0.0
    payments: list[tuple[float, float]] = field(default_factory=list)
    posted: int = 0

    @property
    def derivative(self) -> bool:
        return self.instrument.kind != "spot"

    @property
    def inverse(self) -> bool:
        return self.instrument.inverse

    @property
    def waiting(self) -> bool:
        return self.target != self.quantity

    def gain(self, price: float) -> float:
        """The derivative's gain since its account was opened, in quote currency, of inverse contracts in coin."""
        if self.inverse:
            return self.quantity * (1.0 / self.entry - 1.0 / price)
        return self.quantity * (price - self.entry)


@dataclass
class Pot:
    """What the accounts of one capital share: the sign of their balance, the cash that backs margin, and the limits in total.

    `owing` is the sign in force, `drawn` what slots have drawn in this bar; `exposure`, `drawdown` and `pause` are the limits, `equity` and `fell` what the last close
    said of all accounts before anything was decided. `signs` and `close_to_zero` count what happened to the balance.
    """

    capital: float
    exposure: float | None = None
    drawdown: float | None = None
    pause: int | None = None
    accounts: list["Books"] = field(default_factory=list)
    owing: bool = False
    drawn: float = 0.0
    equity: float = NAN
    peak: float = NAN
    fell: bool = False
    paused_until: float = -math.inf
    signs: int = 0
    close_to_zero: int = 0

    @property
    def balance(self) -> float:
        return math.fsum(account.balance for account in self.accounts)

    def spare_margin(self) -> float:
        """The cash that backs the next slot: the balance as it is less what was drawn of it."""
        return max(max(self.balance, 0.0) - self.drawn, 0.0)

    def spare_cash(self) -> float:
        """The cash that top-ups are sent from, with what has accrued in all accounts."""
        return max(math.fsum(account.cash() + account.accounts.get("accrued", 0.0) for account in self.accounts), 0.0)

    def watch(self, now: int) -> None:
        """Before anything is decided at a close: the equity of all accounts, and whether it has fallen by the limit from its peak."""
        self.equity = math.fsum(account.equity() for account in self.accounts)
        if self.drawdown is None:
            return
        peak = self.capital if math.isnan(self.peak) else self.peak
        self.fell = self.equity <= (1.0 - self.drawdown) * peak
        self.peak = self.equity if self.fell else max(peak, self.equity)
        if self.fell:
            self.paused_until = math.inf if self.pause is None else now + self.pause

    def turn(self) -> None:
        """After what one account did at an instant: if the balance has another sign than the one in force, fix all accounts, whose sum says the new one."""
        owed = self.owing
        if (self.balance < 0.0) != owed:
            for account in self.accounts:
                account.fix_balance()
            self.owing = self.balance < 0.0
        self.signs += self.owing != owed
        size = math.fsum(abs(account.balance) for account in self.accounts)
        self.close_to_zero += len(self.accounts) > 1 and size > 0.0 and abs(self.balance) <= 1e-9 * size


class Books:
    """Accounts in double entry, in quote currency (`accounts`) and in coin (`coins`), and the sources posted beside them."""

    def __init__(self, rule: NaiveRule, capital: float, holdings: list[Holding], pot: Pot) -> None:
        self.rule = rule
        self.pot = pot
        self.capital = capital
        self.holdings = holdings
        self.accounts: dict[str, float] = {}
        self.coins: dict[str, float] = {}
        self.posted = dict.fromkeys(SOURCES, 0.0)
        self.largest = abs(capital)
        shares = (("long", 1.0), ("short", 0.0)) if rule.wallets is None else zip(("long", "short"), rule.wallets, strict=True)
        for name, share in shares:
            self.move("owner", self.purse(name), share * capital)
        self.balance = self.cash()
        pot.accounts.append(self)

    def purse(self, name: str) -> str:
        """The account that a slot pays from and gets into."""
        return "cash" if self.rule.wallets is None else f"{name} wallet"

    def cash(self) -> float:
        """All cash, also what is on its way between the wallets."""
        return math.fsum(self.accounts.get(name, 0.0) for name in ("cash", "long wallet", "short wallet", "under way"))

    def purse_with_interest(self, name: str) -> float:
        """What lies in a slot's purse at this instant, with the interest so far, which belongs to the long slot's."""
        accrued = self.accounts.get("accrued", 0.0) if self.purse(name) == self.purse("long") else 0.0
        return self.accounts[self.purse(name)] + accrued

    def move(self, giver: str, taker: str, amount: float) -> None:
        """Double entry: what one account gains, another gives."""
        self.accounts[giver] = self.accounts.get(giver, 0.0) - amount
        self.accounts[taker] = self.accounts.get(taker, 0.0) + amount

    def move_coins(self, giver: str, taker: str, amount: float) -> None:
        self.coins[giver] = self.coins.get(giver, 0.0) - amount
        self.coins[taker] = self.coins.get(taker, 0.0) + amount

    def empty(self, account: str, taker: str) -> None:
        self.move(account, taker, self.accounts.get(account, 0.0))

    def post(self, source: str, amount: float) -> None:
        self.posted[source] += amount

    def earn(self, source: str, amount: float) -> None:
        """Interest and fees that run by the clock: credited at the next fill, worth their amount at once."""
        self.move("lenders", "accrued", amount)
        self.post(source, amount)

    def fix_balance(self) -> None:
        self.empty("accrued", self.purse("long"))
        self.balance = self.cash()

    def other(self, holding: Holding) -> Holding | None:
        return next((one for one in self.holdings if one is not holding), None)

    def backing_coins(self, holding: Holding) -> float:
        """The coins of the other slot that are an inverse contract's collateral: those of a spot that is held long."""
        other = self.other(holding)
        return other.quantity if other is not None and not other.derivative and other.quantity > 0.0 else 0.0

    def open_account(self, holding: Holding, price: float, coin: float) -> None:
        """Set aside what the position at `price` needs; the slot's reference is the caller's to set."""
        holding.entry = price
        worth = abs(holding.quantity) * price
        purse = self.purse(holding.name)
        if holding.inverse:
            needed = abs(holding.quantity) / (price * self.rule.leverage)
            holding.collateral_coins = 0.0 if self.backing_coins(holding) > 0.0 else needed
            holding.payments, holding.posted = [], 0
            self.move_coins("dealer", f"{holding.name} collateral", holding.collateral_coins)
            self.move(purse, "dealer", holding.collateral_coins * coin)
        elif holding.derivative:
            self.move(purse, f"{holding.name} collateral", worth / self.rule.leverage)
        elif holding.quantity < 0.0:
            self.move("market", f"{holding.name} proceeds", worth)
        else:
            self.move(purse, "market", worth)

    def close_account(self, holding: Holding, price: float, coin: float) -> None:
        """Pay out all that the slot's accounts hold at `price`; what an inverse contract pays in coin is sold to (or bought from) a dealer."""
        if holding.quantity == 0.0:
            return
        name, purse = holding.name, self.purse(holding.name)
        if holding.inverse:
            self.move_coins("market", f"{name} collateral", holding.gain(price))
            self.move_coins(f"{name} funding", f"{name} collateral", self.coins.get(f"{name} funding", 0.0))
            paid_out = self.coins[f"{name} collateral"]
            self.move_coins(f"{name} collateral", "dealer", paid_out)
            self.move("dealer", purse, paid_out * coin)
            holding.collateral_coins, holding.payments, holding.posted = 0.0, [], 0
        elif holding.derivative:
            self.move("market", purse, holding.gain(price))
            self.empty(f"{name} collateral", purse)
            self.empty(f"{name} funding", purse)
        else:
            self.empty(f"{name} proceeds", purse)
            self.move("market", purse, holding.quantity * price)

    def carry_coins(self, holding: Holding, quantity: float, price: float, coin: float, *, rolls: bool) -> None:
        """A fill that leaves an inverse account open: gain and funding stay in it; what is closed takes its share along, what is added brings collateral."""
        name, purse, gain = holding.name, self.purse(holding.name), holding.gain(price)
        paid = self.coins.get(f"{name} funding", 0.0)
        self.move_coins("market", f"{name} collateral", gain)
        self.move_coins(f"{name} funding", f"{name} collateral", paid)
        there = holding.collateral_coins + paid + gain
        before, after, coins = abs(holding.quantity), abs(quantity), 0.0
        if after < before and not rolls:
            coins = -there * (before - after) / before
        elif after > before and not rolls and self.backing_coins(holding) == 0.0:
            coins = (after - before) / (price * self.rule.leverage)
        self.move_coins("dealer", f"{name} collateral", coins)
        self.move(purse, "dealer", coins * coin)
        holding.entry, holding.collateral_coins, holding.payments, holding.posted = price, there + coins, [], 0

    def coin_account(self, holding: Holding, price: float) -> float:
        """Collateral + funding + gain of an inverse contract, in coin."""
        held = math.fsum(self.coins.get(f"{holding.name} {account}", 0.0) for account in ("collateral", "funding"))
        return held + holding.gain(price)

    def account_worth(self, holding: Holding) -> float:
        """What a slot is worth at its reference price, with the money that lies in its accounts."""
        if holding.quantity == 0.0:
            return 0.0
        if holding.inverse:
            return self.coin_account(holding, holding.reference) * holding.coin
        money = math.fsum(self.accounts.get(f"{holding.name} {account}", 0.0) for account in ("collateral", "funding", "proceeds"))
        return money + (holding.gain(holding.reference) if holding.derivative else holding.quantity * holding.reference)

    def equity(self) -> float:
        slots = math.fsum(self.account_worth(holding) for holding in self.holdings)
        top_ups = math.fsum(self.accounts.get(f"{holding.name} top-up", 0.0) for holding in self.holdings)
        return self.cash() + self.accounts.get("accrued", 0.0) + top_ups + slots

    def hedged_share(self, holding: Holding) -> float:
        """How much of a held slot is hedged: the smaller of both slots' filled shares over its own."""
        if len(self.holdings) < 2:
            return 1.0
        shares = {one.name: abs(one.quantity) / abs(one.goal) if one.quantity != 0.0 else 0.0 for one in self.holdings}
        return min(shares.values()) / shares[holding.name]

    def move_reference(self, holding: Holding, price: float, coin: float) -> None:
        """Post a held slot's price change, as far as it is hedged to its own source, the rest to legging."""
        if holding.quantity == 0.0:
            return
        change = self.coin_price_change(holding, price, coin) if holding.inverse else holding.quantity * (price - holding.reference)
        hedged = self.hedged_share(holding)
        self.post(f"price_{holding.name}", hedged * change)
        self.post("legging", (1.0 - hedged) * change)
        holding.reference, holding.coin = price, coin

    def coin_price_change(self, holding: Holding, price: float, coin: float) -> float:
        """What moves of the contract's and the coin's price make of an account in coin; a payment counts from its own instant on."""
        new = holding.payments[holding.posted :]
        holding.posted = len(holding.payments)
        before = self.coin_account(holding, holding.reference) - math.fsum(coins for coins, _ in new)
        of_coin = before * (coin - holding.coin) + math.fsum(coins * (coin - paid_at) for coins, paid_at in new)
        return of_coin + (holding.gain(price) - holding.gain(holding.reference)) * coin

    def audit(self) -> None:
        """Sources explain the equity, both books balance, and the coin accounts hold what went in."""
        equity = self.equity()
        self.largest = max(self.largest, abs(equity))
        explained = self.capital + math.fsum(self.posted.values())
        assert abs(equity - explained) <= 1e-9 * self.largest, f"sources give {explained}, the accounts {equity}"
        for book in (self.accounts, self.coins):
            size = math.fsum(abs(amount) for amount in book.values())
            assert abs(math.fsum(book.values())) <= 1e-9 * size, "the books don't balance"
        for holding in self.holdings:
            if holding.inverse:
                self.audit_coins(holding)

    def audit_coins(self, holding: Holding) -> None:
        """Collateral bought + payments + gain = the account's worth in coin; nothing is left where nothing is held."""
        bought, paid = holding.collateral_coins, math.fsum(coins for coins, _ in holding.payments)
        kept = [self.coins.get(f"{holding.name} {account}", 0.0) for account in ("collateral", "funding")]
        traded = abs(self.coins.get("dealer", 0.0)) + abs(self.coins.get("market", 0.0)) + abs(self.coins.get("traders", 0.0))
        slack = 1e-9 * max(traded, *(abs(coins) for coins in self.coins.values()), abs(bought), abs(paid)) if self.coins else 0.0
        assert max(abs(kept[0] - bought), abs(kept[1] - paid)) <= slack, "the coin account doesn't add up"
        if holding.quantity != 0.0:
            in_coin = self.account_worth(holding) / holding.coin
            expected = bought + paid + holding.gain(holding.reference)
            assert abs(in_coin - expected) <= max(slack, 1e-9 * abs(expected)), "the coin account's worth doesn't add up"
