"""The judge of books: several rules on one market and one capital, each with its account, by the same bar that a single rule is judged by.

It is written from the chapter "Books" of `backtest/semantics.md` and from nothing else, and imports nothing from the package.

    book = judge_book(market, [carry, trend], capital=10_000.0, shares=[0.5, 0.3], exposure=2.0)
    book.results[0].equity, book.reserve.equity, book.equity
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from naive import Account, take_bar
from naive_books import Pot
from naive_parts import SOURCES, NaiveMarket, NaiveResult, NaiveRule

WHOLE = 1e-9  # shares add up to 1 but for rounding
COMMON = ("margin", "policy", "patience", "transfer_delay", "transfer_fee", "top_up", "deleveraged_at", "deleveraged_gap")
RATES = ("stamps", "step", "idle_rate", "borrow_usd", "borrow_base", "staking_yield", "stress", "borrow_available")


@dataclass(kw_only=True)
class NaiveBook:
    """What happened: one result a rule, the reserve (None if the shares add up to 1), and of the whole, per bar, equity, balance and sources.

    `turned` lists the bars in which the balance changed its sign, `fell` those whose close reached the drawdown in total; `ties` counts
    how often the balance was fixed so close to zero that rounding may have decided its sign.
    """

    results: list[NaiveResult]
    reserve: NaiveResult | None = None
    equity: list[float] = field(default_factory=list)
    balance: list[float] = field(default_factory=list)
    sources: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SOURCES})
    turned: list[int] = field(default_factory=list)
    fell: list[int] = field(default_factory=list)
    ties: int = 0


def judge_book(
    market: NaiveMarket | Sequence[NaiveMarket],
    rules: Sequence[NaiveRule],
    capital: float,
    *,
    shares: Sequence[float] | None = None,
    exposure: float | None = None,
    drawdown: float | None = None,
    pause: int | None = None,
) -> NaiveBook:
    """Run `rules` over every bar of `market`, each flat with its share of `capital` in cash at the start.

    market: a sequence has one for each rule, where they see different coins of inverse contracts; clock and rates are the same in all.
    Raises AssertionError where the sources or the books don't explain the equity, ValueError for what is no book.
    """
    markets = [market] * len(rules) if isinstance(market, NaiveMarket) else list(market)
    given = [1.0 / len(rules)] * len(rules) if shares is None else list(shares)
    _check(markets, rules)
    pot = Pot(capital, exposure, drawdown, pause)
    accounts = [Account(seen, rule, share * capital, pot) for seen, rule, share in zip(markets, rules, given, strict=True)]
    book = NaiveBook(results=[account.result for account in accounts])
    left = 1.0 - math.fsum(given)
    if abs(left) > WHOLE:
        accounts.append(Account(markets[0], NaiveRule(enter=0.0), left * capital, pot))  # without a signal it never trades
        book.reserve = accounts[-1].result
    for bar in range(len(markets[0].stamps)):
        signs = pot.signs
        take_bar(accounts, pot, bar)
        _record(book, accounts, pot, bar)
        book.turned += [bar] if pot.signs != signs else []
        book.fell += [bar] if pot.fell else []
    for account in accounts:
        account.finish()
    book.ties = pot.close_to_zero
    return book


def _check(markets: Sequence[NaiveMarket], rules: Sequence[NaiveRule]) -> None:
    """The rules of a book share the market's clock and rates, and how orders and margin are handled; wallets belong to books of one."""
    for names, things in ((RATES, markets), (COMMON, rules)):
        for name in names:
            if any(getattr(thing, name) != getattr(things[0], name) for thing in things):
                raise ValueError(f"a book has one {name}")
    if len(rules) > 1 and any(rule.wallets is not None for rule in rules):
        raise ValueError("wallets belong to books of one")


def _record(book: NaiveBook, accounts: Sequence[Account], pot: Pot, bar: int) -> None:
    """One row of the whole, with the judge's own check: what the sources of all accounts explain is the change of the book's equity."""
    book.equity.append(math.fsum(account.result.equity[bar] for account in accounts))
    book.balance.append(pot.balance)
    for source, amounts in book.sources.items():
        amounts.append(math.fsum(account.result.sources[source][bar] for account in accounts))
    explained = pot.capital + math.fsum(amounts[bar] for amounts in book.sources.values())
    size = math.fsum(account.largest for account in accounts)
    assert abs(book.equity[bar] - explained) <= 1e-9 * size, (
        f"the sources of all accounts give {explained}, their equity {book.equity[bar]}"
    )
