"""The judge of books on its own: cases worked by hand that the golden ones leave out, and its checks of itself, which must be able to fail.

Unless a case says otherwise: daily bars, capital 20,000 in two equal shares, no costs, all prices at 100 when a rule decides, fills in bar 1.
"""

from dataclasses import replace
from typing import Any

import pytest
from generator_book import book_case
from generator_desk import desk_case
from naive import NAN, NaiveMarket, NaiveResult, NaiveRule, NaiveSlot, judge
from naive_book import NaiveBook, judge_book
from test_naive import clock, instrument, last, near, slot

CAPITAL = 20_000.0
INTEREST = {"idle_rate": [(0, 0.365)], "borrow_usd": [(0, 0.73)]}  # 1 and 2 in 1,000 a day


def book(*rules: NaiveRule, rates: dict[str, Any] | None = None, **more: Any) -> NaiveBook:
    side = rules[0].long or rules[0].short
    assert side is not None
    return judge_book(clock(len(side.instruments[0].open), **(rates or {})), rules, CAPITAL, **more)


def bought(prices: list[float], willing: tuple[int, ...] = (0,), **more: Any) -> NaiveRule:
    """A spot held long."""
    return NaiveRule(
        **{"long": slot(instrument(prices, lot=1.0)), "size": 1.0, "enter": 0.5, **signal((0, -1), len(prices), willing), **more}
    )


def sold(opens: list[float], willing: tuple[int, ...] = (0,), *, item: dict[str, Any] | None = None, **more: Any) -> NaiveRule:
    """A perpetual held short in cross margin with leverage 2."""
    perpetual = instrument(opens, **{"kind": "perpetual", "lot": 1.0, **(item or {})})
    fields = {"size": 1.0, "leverage": 2.0, "enter": 0.5, "margin": "cross", **signal((-1, 0), len(opens), willing)}
    return NaiveRule(short=slot(perpetual, tiers=((0.0, 0.01, 0.0),)), **(fields | more))


def signal(pair: tuple[int, int], bars: int, willing: tuple[int, ...]) -> dict[str, Any]:
    return {"signal_plus": {pair: [float(bar in willing) for bar in range(bars)]}}


def entered(result: NaiveResult) -> list[tuple[int, float]]:
    return [(fill.bar, abs(fill.quantity)) for fill in result.fills if fill.action == "entry"]


# ---------------------------------------------------------------- money


def test_interest_is_simple_until_the_account_itself_trades_or_the_book_s_sign_turns() -> None:
    # Both earn 10 in bar 0; the first buys 100 in bar 1, which fixes its own balance, at 10, and leaves that of the other at 10,000.
    first, second = book(bought([100.0] * 4), bought([100.0] * 4, ()), rates=INTEREST).results
    assert (first.balance, second.balance) == (near([10_000.0, 10.0, 10.0, 10.0]), [10_000.0] * 4)
    assert (last(first), last(second)) == (near({"idle_cash": 10.03}), near({"idle_cash": 40.0}))


def test_a_liquidation_that_makes_the_book_owe_fixes_all_accounts_at_its_bar_s_end() -> None:
    # Both earn 10 in bar 0. The first sells 100: 10,010 − 5,000 = 5,010 earn 5.01 in bars 1 and 2; the second buys 100 and keeps 10: 0.01 in each.
    # Bar 2 opens at 250: 5,000 − 100·150 is paid from 5,010 + 10.02: −4,979.98 from 3 d on. The second is fixed at the same instant: 10.02.
    # Bar 3 costs and credits 2 in 1,000.
    rates = sold([100.0, 100.0, 250.0, 250.0]), bought([100.0] * 4, margin="cross")
    result = book(*rates, rates=INTEREST)
    first, second = result.results
    assert result.turned == [2]
    assert (first.balance[2], second.balance[2]) == (near(-4979.98), near(10.02))
    assert last(first) == near({"price_short": -15_000.0, "idle_cash": 20.02, "financing": -9.95996})
    assert last(second) == near({"idle_cash": 10.02, "financing": 0.02004})


# ---------------------------------------------------------------- margin


@pytest.mark.parametrize(("high", "liquidated"), [(230.0, []), (231.0, [23_300.0 / 101.0])])
def test_what_an_inverse_contract_draws_counts_at_the_coin_s_close(high: float, liquidated: list[float]) -> None:
    # 10,000 of face sold at 100 with 50 coins for 5,000. At 300: 50 − 10,000·(1/100 − 1/300) = −16.67 coins against 0.01·10,000/300 = 0.33: 17 coins are lacking,
    # 1,700 at the close of 100. Of the 10,000 in cash 8,300 are left: 5,000 + 8,300 − 100·(m − 100) = m.
    highs = [100.0, 100.0, 300.0, 100.0]
    coin = sold([100.0] * 4, item={"inverse": True, "contract": 1.0, "lot": NAN, "mark_high": highs})
    linear = sold([100.0] * 4, item={"mark_high": [100.0, 100.0, high, 100.0]})
    result = book(coin, linear, rates={"coin_open": [100.0] * 4, "coin_close": [100.0] * 4})
    assert result.results[0].drawn == [(2, "short", near(1700.0))]
    assert [fill.price for fill in result.results[1].fills if fill.action == "liquidation"] == near(liquidated)


def test_what_was_drawn_is_there_again_in_the_next_bar() -> None:
    # Each lacks 220 − (5,000 − 12,000) = 7,220 of the 10,000, in a bar of its own.
    shorts = [sold([100.0] * 5, item={"mark_high": [220.0 if bar == at else 100.0 for bar in range(5)]}) for at in (2, 3)]
    first, second = book(*shorts).results
    assert (first.drawn, second.drawn) == ([(2, "short", near(7220.0))], [(3, "short", near(7220.0))])


# ---------------------------------------------------------------- limits in total


def test_an_entry_that_was_called_off_counts_no_more() -> None:
    # The first wants 80 from the close of bar 0 on and finds no open; its signal calls it off at the close of bar 1, before the second decides.
    unfilled = NaiveRule(
        long=slot(instrument([100.0, NAN, NAN, 100.0], lot=1.0, fresh=[True] * 4)),
        size=0.8,
        enter=0.5,
        exit=0.4,
        **signal((0, -1), 4, (0,)),
    )
    for willing, expected in ((0, (1, 40.0)), (1, (2, 80.0))):
        first, second = book(unfilled, bought([100.0] * 4, (willing,), size=0.8), exposure=0.6).results
        assert (first.called_off, entered(first)) == ([(1, "signal")], [])
        assert entered(second) == [expected]
        assert second.held_down == ([0] if willing == 0 else [])


def test_an_inverse_contract_s_exposure_is_that_of_its_base_quantity() -> None:
    # 8,000 of face sold at 100 are 80 coins, at 150 worth 12,000. They have lost 8,000·(1/100 − 1/150) = 26.67 coins, at 100 each, as the coin has not risen.
    # 0.9 of 17,333.33 less 12,000 are 3,600: 24 coins at 150.
    rising = [100.0, 100.0, 150.0, 150.0]
    coin = sold(rising, size=0.8, margin="off", item={"inverse": True, "contract": 1.0, "lot": NAN})
    later = bought([100.0, 100.0, 150.0, 150.0], (2,), size=0.8, margin="off")
    result = book(coin, later, exposure=0.9, rates={"coin_open": [100.0] * 4, "coin_close": [100.0] * 4})
    assert result.equity[2] == near(CAPITAL - 8000.0 / 3.0)
    assert entered(result.results[1]) == [(3, 24.0)]


def test_a_rule_s_own_drawdown_and_the_total_one_pause_it_until_both_are_over() -> None:
    # At the close of bar 2 the first has lost 10%, the book 5%: the rule's pause ends after 1 day, the book's after 3.
    falling = bought([100.0, 100.0, 90.0, 90.0, 90.0, 90.0, 90.0], tuple(range(7)), drawdown=0.1, pause=86_400_000_000_000)
    result = book(falling, bought([100.0] * 7, ()), drawdown=0.05, pause=3 * 86_400_000_000_000)
    assert result.fell == [2]
    assert entered(result.results[0]) == [(1, 100.0), (6, 100.0)]


# ---------------------------------------------------------------- a book of one, and the checks


@pytest.mark.parametrize("seed", range(30))
def test_a_single_rule_is_a_book_of_one(seed: int) -> None:
    market, rule, capital, _ = desk_case(seed)
    alone, together = judge(market, rule, capital), judge_book(market, [rule], capital)
    assert together.reserve is None
    assert repr(together.results[0]) == repr(alone)
    assert together.equity == alone.equity


def test_what_is_no_book_is_refused() -> None:
    rule, other = bought([100.0] * 3), sold([100.0] * 3)
    with pytest.raises(ValueError, match="a book has one margin"):
        book(rule, other)
    with pytest.raises(ValueError, match="wallets belong to books of one"):
        book(replace(rule, wallets=(0.5, 0.5)), rule)
    with pytest.raises(ValueError, match="a book has one borrow_usd"):
        judge_book([clock(3), clock(3, borrow_usd=[(0, 0.1)])], [rule, rule], CAPITAL)


def test_the_judge_notices_interest_that_is_not_the_book_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("naive_books.Pot.balance", property(lambda pot: pot.accounts[0].balance))
    with pytest.raises(AssertionError, match="the interest of the accounts"):
        book(bought([100.0] * 3), bought([100.0] * 3, ()), rates=INTEREST)


def test_the_judge_notices_an_account_whose_sources_do_not_explain_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("naive.Account.post", lambda account, source, amount: None)
    with pytest.raises(AssertionError, match="sources give"):
        book(bought([100.0] * 3, ()), bought([100.0, 100.0, 101.0]))


@pytest.mark.parametrize("seed", range(20))
def test_the_accounts_of_generated_books_add_up(seed: int) -> None:
    case = book_case(seed)
    assert repr(book_case(seed)) == repr(case)
    judged = judge_book(case.markets, case.rules, case.capital, shares=case.shares, **case.limits)
    accounts = [*judged.results, *([judged.reserve] if judged.reserve is not None else [])]
    slack = 1e-9 * max(case.capital, *map(abs, judged.equity))
    assert sum(one.capital for one in accounts) == pytest.approx(case.capital, rel=1e-12)
    for bar, equity in enumerate(judged.equity):
        assert sum(one.equity[bar] for one in accounts) == pytest.approx(equity, abs=slack)
        assert sum(one.balance[bar] for one in accounts) == pytest.approx(judged.balance[bar], abs=slack)
    assert isinstance(case.markets[0], NaiveMarket)
    assert all(isinstance(part, NaiveSlot) for rule in case.rules for part in (rule.long, rule.short) if part is not None)
