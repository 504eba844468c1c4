"""What a run has at risk, bar by bar: margin accounts against the judge's books in generated cases, and figures worked by hand.

Worked by hand, unless a case says otherwise: hourly bars, capital 10,000, size 0.5, no costs, all prices at 100 when the rule decides at the close of bar 0, hence a
quantity of 50 that fills at the open of bar 1.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import generators
import naive
import numpy as np
import pandas as pd
import pytest
from bridge import comparable, run_book, run_package
from generator_book import book_case
from generator_desk import desk_case
from markets import FREE, Item, flat, future, near, once, path, perpetual, spot, traded
from naive_book import judge_book
from naive_books import Holding
from test_golden_inverse import inverse, marks
from test_golden_margin import MARGIN, TOP_UP, rise, squeezed

import backtest as bt
from backtest import exposure
from backtest import kernels as k
from backtest.errors import DataError

# ---------------------------------------------------------------- the judge's accounts


class Watch:
    """What the judge's books say of each margin account: at the worst mark when it is checked, and at any price at the close. By account, then by bar."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checked: dict[int, dict[int, list[tuple[float, float]]]] = {}
        self.closed: dict[int, dict[int, dict[str, Callable[[float], float]]]] = {}
        check, mark = naive.Account.check_margin, naive.Account.mark

        def check_margin(account: naive.Account, bar: int) -> None:
            self.checked.setdefault(id(account.result), {})[bar] = list(accounts_checked(account, bar))
            check(account, bar)

        def mark_at_close(account: naive.Account, bar: int) -> None:
            mark(account, bar)
            self.closed.setdefault(id(account.result), {})[bar] = dict(left_at_close(account, bar))

        monkeypatch.setattr(naive.Account, "check_margin", check_margin)
        monkeypatch.setattr(naive.Account, "mark", mark_at_close)

    def forget(self) -> None:
        """Before another case: results are known by their place in memory."""
        self.checked.clear()
        self.closed.clear()

    def uses(self, result: naive.NaiveResult) -> list[float]:
        """Maintenance margin over account, of the slot that is liquidated, else of the one that is nearer to it."""
        out = []
        for accounts in self.checked[id(result)].values():
            shares = [needed / account if account > 0.0 else math.inf if account < needed else 0.0 for account, needed in accounts]
            out.append(shares[-1] if accounts and accounts[-1][0] < accounts[-1][1] else max(shares, default=0.0))
        return out


def parts(account: naive.Account, holding: Holding, bar: int, drawn: float) -> tuple[float, float, float]:
    """What a margin account holds itself (without the gain), the cash that backs it, both in its currency, and what that currency is worth."""
    if holding.inverse:
        coin = account.market.coin_close[bar]
        own = account.coin_account(holding, holding.entry) + account.backing_coins(holding)
    else:
        coin = 1.0
        own = account.accounts[f"{holding.name} collateral"] + account.accounts.get(f"{holding.name} funding", 0.0)
    cash = 0.0
    if account.rule.margin == "cross" and account.rule.wallets is None:
        cash = max(max(account.pot.balance, 0.0) - drawn, 0.0)
    elif account.rule.margin == "cross":
        cash = max(account.accounts[account.purse(holding.name)], 0.0)
    return own, cash / coin, coin


def needed_at(account: naive.Account, holding: Holding, bar: int, price: float) -> float:
    size = abs(holding.quantity)
    return naive.maintenance(size / price if holding.inverse else size * price, account.terms(holding, bar).tiers)


def margined(account: naive.Account) -> list[Holding]:
    return [one for one in account.holdings if one.derivative and one.quantity != 0.0 and account.rule.margin != "off"]


def accounts_checked(account: naive.Account, bar: int) -> Iterator[tuple[float, float]]:
    """Account and maintenance margin of each slot at the bar's worst mark, up to the first that is liquidated."""
    drawn = account.pot.drawn
    for holding in margined(account):
        worst = (holding.instrument.mark_low if holding.quantity > 0.0 else holding.instrument.mark_high)[bar]
        own, cash, coin = parts(account, holding, bar, drawn)
        needed, gain = needed_at(account, holding, bar, worst), holding.gain(worst)
        yield own + cash + gain, needed
        if own + cash + gain < needed:
            return
        drawn += max(needed - own - gain, 0.0) * coin


def left_at_close(account: naive.Account, bar: int) -> Iterator[tuple[str, Callable[[float], float]]]:
    """What each slot's account has above its maintenance margin when its price is moved from the close."""
    drawn = 0.0
    for holding in margined(account):
        close, (own, cash, coin) = holding.instrument.close[bar], parts(account, holding, bar, drawn)
        held = replace(holding)

        def left(moved: float, held: Holding = held, close: float = close, money: float = own + cash) -> float:
            price = close * (1.0 + math.copysign(moved, -held.quantity))
            return money + held.gain(price) - needed_at(account, held, bar, price) if price > 0.0 else math.inf

        yield holding.name, left
        drawn += max(needed_at(account, holding, bar, close) - own - holding.gain(close), 0.0) * coin


def agree(table: pd.DataFrame, judged: naive.NaiveResult, watch: Watch) -> None:
    """The table of a run says what the judge's books say."""
    use, distance = table["margin_use"].to_numpy(), table["distance"].to_numpy()
    liquidated = {fill.bar for fill in judged.fills if fill.action == "liquidation"}
    if np.isnan(use).all():
        assert not liquidated
        return
    assert set(np.flatnonzero(use >= 1.0)) == liquidated
    np.testing.assert_allclose(use, watch.uses(judged), rtol=1e-9)
    for bar, slots in watch.closed[id(judged)].items():
        moved, left = distance[bar], list(slots.values())
        assert np.isnan(moved) == (not left)
        if math.isinf(moved):
            assert all(one(far) > -1e-6 * abs(one(0.0)) for one in left for far in (0.9999, 1e5))
        elif left:
            slack = 1e-9 * (1.0 + abs(moved))
            assert min(one(moved - slack) for one in left) > 0.0 > min(one(moved + slack) for one in left)


def seen(result: bt.Result, judged: naive.NaiveResult) -> Iterator[str]:
    """What makes margin difficult in a case whose margin is in use; "… gone" where it was also not enough."""
    prepared, use = result._prepared, result.exposure["margin_use"].to_numpy()
    rule, terms, margin = prepared.rule_record, prepared.terms, str(prepared.execution.margin)
    accounts, inverse = int(terms["derivative"][0].sum()), bool(terms["inverse"][0].any())
    topped = [one is not None and one.any() for one in exposure.Slots(prepared, result._log).topped]
    found = {
        "coin": inverse,
        "coins of the spot": inverse and accounts == 1 and rule["legs"] == 2,
        "two accounts": accounts == 2,
        "top-up": any(topped),
        "top-ups of two": all(topped),
        "wallets": bool(rule["wallets"]),
        "tiers": int(terms["tiers"].max()) > 1,
        "other terms": len(terms) > 1,
        "draws": bool(judged.drawn),
    }
    labels = {f"{margin} {label}" for label, there in found.items() if there and np.nanmax(use, initial=0.0) > 0.0}
    yield from labels
    yield from (f"{label} gone" for label in labels if (use >= 1.0).any())


SEEN = {
    *(f"{margin} {label}" for margin in ("isolated", "cross") for label in ("coin", "coins of the spot", "two accounts", "wallets", "tiers", "other terms")),
    *("isolated top-up", "isolated top-ups of two", "cross draws"),
    *("isolated coin gone", "isolated two accounts gone", "isolated wallets gone", "isolated tiers gone", "isolated top-up gone"),
    *("cross two accounts gone", "cross tiers gone", "cross draws gone"),
}  # fmt: skip


def test_margin_and_distance_are_those_of_the_judges_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """At every bar: 1 or more exactly where the judge liquidates; and where a price moved by a little less than the distance all is well, by a little more not."""
    watch, labels = Watch(monkeypatch), set[str]()
    cases = [(f"case({seed})", generators.case(seed)) for seed in range(80)] + [
        (f"desk_case({seed})", desk_case(seed)) for seed in range(160)
    ]
    for name, (market, rule, capital, *beside) in cases:
        rule = comparable(rule)
        watch.forget()
        judged = naive.judge(market, rule, capital)
        try:
            result = run_package(market, rule, capital, *beside)
        except DataError:  # no bar in common
            continue
        try:
            agree(result.exposure, judged, watch)
        except AssertionError as difference:
            difference.add_note(name)
            raise
        labels.update(seen(result, judged))
    assert labels >= SEEN, SEEN - labels


def test_the_same_of_books_with_isolated_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule's accounts are its own, whatever the others do with the cash; a book's column is that of the leg nearest to its liquidation."""
    watch, compared = Watch(monkeypatch), 0
    for seed in range(110):
        book = book_case(seed)
        book = replace(book, rules=[comparable(rule) for rule in book.rules])
        if book.rules[0].margin != "isolated":
            continue
        watch.forget()
        judged = judge_book(book.markets, book.rules, book.capital, shares=book.shares, **book.limits)
        tables = [result.exposure for result in run_book(book)[: len(book.rules)]]
        for table, one in zip(tables, judged.results, strict=True):
            agree(table, one, watch)
        equity = pd.Series(judged.equity, tables[0].index)
        whole = exposure.together(tables, equity)
        uses = np.array([table["margin_use"] for table in tables if table["margin_use"].notna().all()])
        if len(uses):
            compared += 1
            assert (whole["margin_use"].to_numpy() == uses.max(axis=0)).all()
        for name in ("long_notional", "short_notional"):
            assert whole[name].to_numpy() == pytest.approx(sum(table[name].to_numpy() for table in tables), rel=1e-12)
        least = np.array([table["distance"].fillna(np.inf) for table in tables]).min(axis=0)
        assert (whole["distance"].fillna(np.inf).to_numpy() == least).all()
    assert compared == 20


def test_cash_that_other_rules_draw_on_leaves_margin_untold() -> None:
    """Cross margin of a book is that of all its rules; what each holds is told."""
    book = next(book for book in map(book_case, range(100)) if book.rules[0].margin == "cross" and len(book.rules) > 1)
    result = run_book(book)[0]
    told = exposure.table(replace(result._prepared, backed=True), result._log, result.positions, result.equity)
    assert told[["margin_use", "distance"]].isna().all(axis=None)
    pd.testing.assert_frame_equal(told.iloc[:, :4], result.exposure.iloc[:, :4])


# ---------------------------------------------------------------- worked by hand


def told(result: bt.Result, name: str) -> list[float]:
    return result.exposure[name].tolist()


def test_a_short_at_leverage_10() -> None:
    # 50 at 101 of 10,000: −5,050, 0.505 of the equity. Collateral 505; it is liquidated at m: 505 − 50·(m − 101) = 0.01·50·m, m = 5,555/50.5 = 110, 9/101 up.
    # Where the mark reached 109.9 the account was 505 − 50·8.9 = 60 and 0.5·109.9 = 54.95 were needed; elsewhere 505 and 50.5.
    result = traded(None, squeezed(101.0, 4, 2, 109.9), size=0.505, leverage=10.0, execution=MARGIN, **once(4))
    assert told(result, "short_notional") == near([0.0, -5050.0, -5050.0, -5050.0])
    assert told(result, "long_notional") == [0.0] * 4
    assert told(result, "gross") == near([0.0, 0.505, 0.505, 0.505])
    assert told(result, "net") == near([0.0, -0.505, -0.505, -0.505])
    assert told(result, "margin_use") == near([0.0, 0.1, 54.95 / 60.0, 0.1])
    assert told(result, "distance")[1:] == near([9.0 / 101.0] * 3)
    assert math.isnan(told(result, "distance")[0])


def test_in_the_bar_of_a_liquidation_the_margin_is_that_of_the_position_before() -> None:
    # At 110.1: 505 − 50·9.1 = 50 in the account, 0.5·110.1 = 55.05 needed. At the close nothing is held.
    result = traded(None, squeezed(101.0, 4, 2, 110.1), size=0.505, leverage=10.0, execution=MARGIN, **once(4))
    assert told(result, "margin_use") == near([0.0, 0.1, 55.05 / 50.0, 0.0])
    assert told(result, "short_notional")[2:] == [0.0, 0.0]
    assert np.isnan(told(result, "distance")[2:]).all()


def test_an_account_that_is_gone_is_used_without_bound() -> None:
    # At 120: 505 − 50·19 < 0.
    result = traded(None, squeezed(101.0, 4, 2, 120.0), size=0.505, leverage=10.0, execution=MARGIN, **once(4))
    assert told(result, "margin_use")[2] == math.inf


def test_an_account_that_is_just_enough_is_not_used_up() -> None:
    # 50 sold at 100 with leverage 2: at 120 2,500 − 50·20 = 1,500 are in the account, and 0.25·50·120 = 1,500 needed: no breach, as nothing is lacking.
    result = traded(None, squeezed(100.0, 4, 2, 120.0), size=0.5, leverage=2.0, execution=replace(MARGIN, maintenance=0.25), **once(4))
    assert "liquidation" not in result.fills["action"].tolist()
    assert 1.0 > told(result, "margin_use")[2] == near(1.0)


@pytest.mark.parametrize(("leverage", "distance"), [(1.0, math.inf), (2.0, 1.0 - 100.0 / 198.0)])
def test_a_long_that_is_paid_in_full_is_liquidated_at_no_price(leverage: float, distance: float) -> None:
    # Collateral 5,000/leverage: at leverage 1 the account is 50·m, at 2 50·m − 2,500 = 0.5·m, m = 2,500/49.5 = 50.505. At 100 0.01·5,000 = 50 are needed.
    result = traded(perpetual(flat(3)), size=0.5, leverage=leverage, execution=MARGIN)
    assert told(result, "distance")[1:] == near([distance] * 2)
    assert told(result, "margin_use")[1:] == near([50.0 * leverage / 5000.0] * 2)


def test_funding_is_in_the_account() -> None:
    # 50 sold at 100 with leverage 10 get 50·0.01·100 = 50 at 2 h, the end of bar 1: 550 − 50·(m − 100) = 0.5·m: m = 5,550/50.5; in bar 1 that has it already.
    result = traded(None, perpetual(flat(4), funding=[(2, 0.01)]), leverage=10.0, size=0.5, execution=MARGIN, **once(4))
    assert told(result, "distance")[1:] == near([5550.0 / 50.5 / 100.0 - 1.0] * 3)
    assert told(result, "margin_use")[1:] == near([50.0 / 550.0] * 3)


VENUE = replace(FREE, margin=bt.Margin.ISOLATED, maintenance=None)


def test_a_distance_reaches_into_the_next_tier() -> None:
    # As in the golden case of tiers: 40 at 2,400 are liquidated at 105,965/40.4 = 2,622.9, in the third tier; at 2,400 609 are needed of 9,600.
    one = {"size": 0.96, "leverage": 10.0, "capital": 100_000.0}
    result = traded(None, perpetual(flat(3, 2400.0)), execution=VENUE, market={"start": "2021-12-01"}, **one)
    assert told(result, "distance")[1:] == near([105_965.0 / 40.4 / 2400.0 - 1.0] * 2)
    assert told(result, "margin_use")[1:] == near([609.0 / 9600.0] * 2)


def test_terms_that_change_move_it() -> None:
    # As in the golden case of 2022-05-01: bar 4 opens at midnight. 400 at 3,000: before 0.05·1,200,000 − 35,365 = 24,635 of 120,000, after 0.02·1,200,000 − 5,365.
    one = {"size": 1.2, "leverage": 10.0, "capital": 1_000_000.0}
    result = traded(None, perpetual(flat(6, 3000.0)), execution=VENUE, market={"start": "2022-04-30T20:00"}, **one, **once(6))
    before, after = 1_355_365.0 / 420.0 / 3000.0 - 1.0, 1_325_365.0 / 408.0 / 3000.0 - 1.0
    assert told(result, "distance")[1:] == near([before, before, before, after, after])
    assert told(result, "margin_use")[1:] == near([24_635.0 / 120_000.0] * 3 + [18_635.0 / 120_000.0] * 2)


def test_two_accounts_share_the_cash_of_cross_margin() -> None:
    # 50 bought and 50 sold at 100 with leverage 10: collateral 500 each, cash 9,000. In bar 2 the long one's mark is at 85: 500 − 750 + 9,000 = 8,750, 42.5 needed, so it
    # draws 292.5; the short one has 500 + 9,000 − 292.5 = 9,207.5 of the 50 that it needs, which is the more of the two.
    # At the close neither draws. Long: 9,500 + 50·(m − 100) = 0.5·m has no m above 0. Short: 9,500 − 50·(m − 100) = 0.5·m, m = 14,500/50.5 = 287.13.
    long = perpetual(flat(4), columns={"mark_low": [100.0, 100.0, 85.0, 100.0], "mark_high": flat(4)})
    result = traded(long, perpetual(flat(4)), leverage=10.0, size=0.5, execution=replace(MARGIN, margin=bt.Margin.CROSS))
    assert told(result, "margin_use") == near([0.0, 50.0 / 9500.0, 50.0 / 9207.5, 50.0 / 9500.0])
    assert told(result, "distance")[1:] == near([1.45 / 0.505 - 1.0] * 3)
    assert told(result, "net") == [0.0] * 4
    assert told(result, "gross")[1:] == near([1.0] * 3)


def test_of_two_that_go_in_one_bar_the_long_slots_margin_is_told() -> None:
    # At 90.5 500 − 475 = 25 are left of the long one's account, 45.25 needed; nothing is left of the short one's.
    long = perpetual(flat(3), columns={"mark_low": [100.0, 100.0, 90.5], "mark_high": flat(3)})
    result = traded(long, squeezed(100.0, 3, 2, 120.0), leverage=10.0, size=0.5, execution=MARGIN)
    assert (result.fills["action"] == "liquidation").sum() == 2
    assert told(result, "margin_use") == near([0.0, 0.1, 45.25 / 25.0])


@pytest.mark.parametrize(
    ("rates", "worth", "sold", "mark"),
    [
        # A unit sold, account 1,030 − m. Up to 1,000 1% of it is needed, above 5%: at 1,000 30 are left, more than 10 and less than 50.
        ((0.01, 0.05), 1030.0, True, 1000.0),
        ((0.01, 0.05), 1100.0, True, 1100.0 / 1.05),
        ((0.01, 0.05), 1000.0, True, 1000.0 / 1.01),
        # A unit bought, account m − 985. Up to 1,000 5% of it is needed, above 1%: at 1,000 15 are left, less than 50 and more than 10.
        ((0.05, 0.01), -985.0, False, 1000.0),
        ((0.05, 0.01), -1000.0, False, 1000.0 / 0.99),
        ((0.05, 0.01), -900.0, False, 900.0 / 0.95),
    ],
)
def test_where_tiers_do_not_meet_the_step_is_the_breach(rates: tuple[float, float], worth: float, sold: bool, mark: float) -> None:
    terms = np.zeros(1, k.TERMS)
    terms["tiers"], terms["tier_floor"][0, 1], terms["tier_rate"][0, :2] = 2, 1000.0, rates
    assert exposure.breach_of(terms[0], np.array([worth]), np.ones(1), sold).tolist() == near([mark])


def test_what_a_slot_lacks_at_the_close_is_not_there_for_the_other() -> None:
    # The long one closes at 85, 42.5 needed: it draws 42.5 + 750 − 500 = 292.5; short: 9,207.5 − 50·(m − 100) = 0.5·m, m = 14,207.5/50.5.
    long = perpetual(*path(100.0, 100.0, 85.0))
    result = traded(long, perpetual(flat(3)), leverage=10.0, size=0.5, execution=replace(MARGIN, margin=bt.Margin.CROSS))
    assert told(result, "distance")[1:] == near([1.45 / 0.505 - 1.0, 142.075 / 50.5 - 1.0])


def test_each_slot_has_its_own_wallet() -> None:
    # Wallets of 8,000 and 2,000; 40 coins for 4,000, 40 sold at leverage 10 with collateral 400, wallet 1,600: 2,000 − 40·(m − 100) = 0.4·m, m = 6,000/40.4.
    execution = replace(MARGIN, margin=bt.Margin.CROSS, wallets=(0.8, 0.2))
    result = traded(spot(flat(3)), perpetual(flat(3)), leverage=10.0, size=0.4, execution=execution)
    assert told(result, "distance")[1:] == near([60.0 / 40.4 - 1.0] * 2)


def test_a_top_up_counts_once_it_is_there() -> None:
    # As in the golden case of top-ups: 330 are sent at the close of bar 1, under way for an hour, and in the account from bar 3 on. Close 106.
    result = traded(None, rise(106.0, 106.0), leverage=10.0, execution=replace(TOP_UP, transfer_delay="1h"), **once(6))
    before, after = 5500.0 / 50.5 / 106.0 - 1.0, 5830.0 / 50.5 / 106.0 - 1.0
    assert told(result, "distance")[1:] == near([before, before, after, after, after])
    assert told(result, "margin_use")[1:] == near([53.0 / 200.0] * 2 + [53.0 / 530.0] * 3)


def test_a_top_up_that_was_not_enough_was_in_the_account_that_went() -> None:
    # At 116 in bar 4: 830 − 50·16 = 30 are left, 58 needed.
    result = traded(None, rise(106.0, 106.0, 116.0), leverage=10.0, execution=replace(TOP_UP, transfer_delay="1h"), **once(6))
    assert told(result, "margin_use") == near([0.0, 53.0 / 200.0, 53.0 / 200.0, 53.0 / 530.0, 58.0 / 30.0, 0.0])


def test_a_top_up_from_the_other_wallet_is_under_way_for_longer() -> None:
    # Of the wallet of 500 nothing is left beside the collateral of 500, so the 330 come from the other one, for the fee, and are in the account from bar 3 on.
    execution = replace(TOP_UP, transfer_delay="1h", wallets=(0.95, 0.05))
    result = traded(spot(flat(6)), rise(106.0, 106.0), leverage=10.0, size=0.5, execution=execution, **once(6))
    assert result.attribution["fees"].iloc[-1] == near(-1.0)
    before, after = 5500.0 / 50.5 / 106.0 - 1.0, 5830.0 / 50.5 / 106.0 - 1.0
    assert told(result, "distance")[1:] == near([before, before, after, after, after])
    # Of a wallet of 800 300 are left: they are sent at once, without a fee: 5,800/50.5 from bar 2 on.
    result = traded(
        spot(flat(6)), rise(106.0, 106.0), leverage=10.0, size=0.5, execution=replace(execution, wallets=(0.92, 0.08)), **once(6)
    )
    after = 5800.0 / 50.5 / 106.0 - 1.0
    assert told(result, "distance")[1:] == near([before, after, after, after, after])


@pytest.mark.parametrize(
    ("size", "distance"),
    [
        # 50 each: 200 of 470 are left of the long one's account and 200 of 530 of the short one's: 270 and 330 are sent. Long: 770 + 50·(m − 100) = 0.5·m,
        # m = 4,230/49.5, 9.09% down; short: 5,830/50.5, 8.91% up.
        (0.5, 5830.0 / 50.5 / 106.0 - 1.0),
        # 475 each: all of the 500 that are left of the cash are the long one's; short: 4,750 − 475·(m − 100) = 4.75·m.
        (4.75, 52_250.0 / 479.75 / 106.0 - 1.0),
    ],
)
def test_of_two_accounts_the_long_slots_is_topped_up_first(size: float, distance: float) -> None:
    falls, rises = perpetual(*path(100.0, 94.0, 94.0, 94.0, 94.0)), perpetual(*path(100.0, 106.0, 106.0, 106.0, 106.0))
    result = traded(falls, rises, leverage=10.0, size=size, execution=replace(TOP_UP, transfer_delay="1h"), **once(5))
    assert told(result, "distance")[1:3] == near([5500.0 / 50.5 / 106.0 - 1.0] * 2)
    assert told(result, "distance")[3:] == near([distance] * 2)


def test_a_contract_that_is_paid_in_coin() -> None:
    # As in the golden case of a 2x long: 7.5·m = 10,200, m = 1,360. At 1,400 7.5 − 10,000/1,400 coins of the 200/1,400 that are needed: 200/500.
    coin = spot(*path(2000.0, 2000.0, 1400.0))
    contract = inverse(2000.0, 2000.0, 1400.0, columns=marks([2000.0] * 3, [2000.0, 2000.0, 1400.0]))
    result = traded(contract, size=1.0, leverage=2.0, others={"COIN": coin}, execution=replace(MARGIN, maintenance=0.02))
    assert told(result, "distance")[1:] == near([1.0 - 1360.0 / 2000.0, 1.0 - 1360.0 / 1400.0])
    assert told(result, "margin_use")[1:] == near([200.0 / 5000.0, 0.4])
    assert told(result, "long_notional")[1:] == near([10_000.0, 7000.0])


def test_coins_of_the_spot_are_its_margin() -> None:
    # 10,000/m coins at any price m, of which 200/m are needed.
    coin, contract = spot(*path(2000.0, 2000.0, 3000.0)), inverse(2000.0, 2000.0, 3000.0, columns=marks([3000.0] * 3, [2000.0] * 3))
    result = traded(coin, contract, size=1.0, leverage=5.0, execution=replace(MARGIN, maintenance=0.02))
    assert told(result, "distance")[1:] == [math.inf, math.inf]
    assert told(result, "margin_use")[1:] == near([0.02, 0.02])
    assert told(result, "net")[1:] == near([0.0, 0.0])


def test_in_its_last_bar_a_contract_is_margined_and_then_gone() -> None:
    # Settled inside bar 2, where 50 of 500 were needed; the spot stays for another bar.
    dated = future(flat(3), expiry=2.5, settlement=100.0)
    result = traded(spot(flat(4)), dated, size=0.5, leverage=10.0, execution=MARGIN, **once(4))
    assert told(result, "margin_use") == near([0.0, 0.1, 0.1, 0.0])
    assert told(result, "short_notional") == near([0.0, -5000.0, 0.0, 0.0])
    assert told(result, "long_notional") == near([0.0, 5000.0, 5000.0, 0.0])


@pytest.mark.parametrize(("legs", "execution"), [((spot(flat(3)), None), MARGIN), ((None, perpetual(flat(3))), FREE)])
def test_without_a_margin_that_is_checked_there_is_none(legs: tuple[Item | None, Item | None], execution: bt.Execution) -> None:
    result = traded(*legs, size=0.5, execution=execution)
    assert result.exposure[["margin_use", "distance"]].isna().all(axis=None)
    assert told(result, "gross")[1:] == near([0.5] * 2)
    assert list(result.exposure.columns) == list(exposure.COLUMNS)


def test_nothing_is_held_in_a_run_without_trades() -> None:
    result = traded(None, perpetual(flat(3)), execution=MARGIN, signal=np.zeros(3), enter=1.0)
    assert (result.exposure.drop(columns="distance") == 0.0).all(axis=None)
    assert result.exposure["distance"].isna().all()


def test_there_is_no_leverage_of_an_equity_that_is_gone() -> None:
    # 50 sold at 100, at 400: −5,000 of equity are left.
    result = traded(None, perpetual(*path(100.0, 100.0, 400.0)), size=0.5)
    assert told(result, "short_notional") == near([0.0, -5000.0, -20_000.0])
    assert np.isnan(told(result, "gross")[2])
    assert np.isnan(told(result, "net")[2])


def test_a_book_adds_up_and_shows_the_leg_that_is_nearest() -> None:
    # Of 20,000, half each: 50 bought at leverage 2, 50 sold at leverage 10. Distances 1 − 2,500/49.5/100 and 5,500/50.5/100 − 1.
    long = traded(perpetual(flat(3)), size=0.5, leverage=2.0, execution=MARGIN).exposure
    short = traded(None, perpetual(flat(3)), size=0.5, leverage=10.0, execution=MARGIN).exposure
    plain = traded(spot(flat(3)), size=0.5, execution=MARGIN).exposure
    whole = exposure.together([long, short, plain], pd.Series(30_000.0, long.index))
    assert whole.iloc[1:].to_numpy().tolist() == [near([10_000.0, -5000.0, 0.5, 1.0 / 6.0, 0.1, 55.0 / 50.5 - 1.0])] * 2
    assert whole.iloc[0].fillna(-1.0).tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, -1.0]
