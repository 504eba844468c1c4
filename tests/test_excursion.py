"""The worst and the best of each trade: its lowest and highest PnL at the closes while it lived, and at its end.

Worked by hand, unless a case says otherwise: hourly bars, capital 10,000, size 0.5, no costs and no margin check, all prices at 100 when the rule decides at the
close of bar 0, hence a quantity of 50 that fills at the open of bar 1.
"""

from dataclasses import replace
from typing import Any

import generators
import naive
import numpy as np
import pytest
from bridge import comparable, run_book, run_package
from generator_book import book_case
from generator_desk import desk_case
from markets import FREE, flat, future, in_memory, near, once, path, perpetual, reasons, spot, traded
from test_golden_margin import MARGIN, squeezed

import backtest as bt
from backtest.errors import DataError


def excursions(result: bt.Result) -> list[list[float]]:
    """worst, pnl and best of each trade."""
    return result.trades[["worst", "pnl", "best"]].to_numpy().tolist()


# ---------------------------------------------------------------- worked by hand


def test_a_trade_is_looked_at_at_every_close_until_it_leaves() -> None:
    # Bought at 100 in bar 1, closes 97, 108, 104: −150, 400, 200; sold at 104, the open of bar 4, whose close at 150 is not the trade's.
    result = traded(spot(*path(100.0, 100.0, 97.0, 108.0, 104.0, 150.0)), max_hold="4h", size=0.5, **once(6))
    assert reasons(result) == ["time"]
    assert excursions(result) == [near([-150.0, 200.0, 400.0])]


def test_the_end_counts_too() -> None:
    # Bought at 100, a close at 98: −100; at the open of bar 2 sold at 90: −500. There is no close at which it gained.
    result = traded(spot([100.0, 100.0, 90.0, 90.0], [100.0, 98.0, 90.0, 90.0]), max_hold="1h", size=0.5, **once(4))
    assert excursions(result) == [near([-500.0, -500.0, -100.0])]


def test_costs_are_in_it() -> None:
    # 50 at 100 for a fee of 1%: −50 at the first close, at 103 100; out at 103 for 51.5.
    result = traded(spot(*path(100.0, 100.0, 103.0, 103.0)), max_hold="2h", size=0.5, execution=replace(FREE, spot_fee=0.01), **once(4))
    assert excursions(result) == [near([-50.0, 48.5, 100.0])]


def test_what_is_always_won_has_a_worst_above_nothing() -> None:
    result = traded(spot([100.0, 100.0, 104.0, 106.0], [100.0, 104.0, 106.0, 106.0]), max_hold="2h", size=0.5, **once(4))
    assert excursions(result) == [near([200.0, 300.0, 300.0])]


def test_an_open_trade_lives_to_the_last_close() -> None:
    # Sold at 100, closes 100, 105, 92: 0, −250, 400.
    result = traded(None, perpetual(*path(100.0, 100.0, 105.0, 92.0)), size=0.5)
    assert reasons(result) == ["end of data"]
    assert excursions(result) == [near([-250.0, 400.0, 400.0])]


def test_what_goes_within_its_first_bar_has_seen_no_close() -> None:
    # As in the golden case: 50 sold at 101 are liquidated at 110 in the bar that they were sold in, for −450.
    result = traded(None, squeezed(101.0, 3, 1, 120.0), size=0.505, leverage=10.0, execution=MARGIN, **once(3))
    assert reasons(result) == ["liquidation"]
    assert excursions(result) == [near([-450.0] * 3)]


@pytest.mark.parametrize(("expiry", "best"), [(2.5, 0.0), (1.5, -150.0)])
def test_what_is_sent_between_wallets_after_the_end_is_not_the_trades(expiry: float, best: float) -> None:
    # Both expire inside bar 2 (or 1), for 50·1 of gain and 50·4 of loss. At that bar's close the one wallet has 250 more than the other: half of it is sent, for a
    # fee of 7.
    legs = [future(flat(4), expiry=expiry, settlement=price) for price in (101.0, 104.0)]
    execution = replace(FREE, wallets=(0.5, 0.5), transfer_fee=7.0)
    result = traded(legs[0], legs[1], size=0.5, execution=execution, **once(4))
    assert result.equity.iloc[-1] == near(9843.0)
    assert excursions(result) == [near([-150.0, -150.0, best])]


def test_one_trade_follows_the_other() -> None:
    # 50 at closes 102 and 98: 100 and −100, sold at 98 − hence 9,900 of equity for the next, 49.5 at 100: closes 90, 95 and 120.
    signal = np.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    result = traded(
        spot([100.0, 100.0, 102.0, 98.0, 100.0, 90.0, 95.0], [100.0, 102.0, 98.0, 100.0, 90.0, 95.0, 120.0]),
        signal=signal, enter=0.5, exit=0.5, exit_signal=signal, size=0.5,
    )  # fmt: skip
    first, second = excursions(result)
    assert first == near([-100.0, -100.0, 100.0])
    assert second == near([-495.0, 990.0, 990.0])


def test_without_trades_there_are_none() -> None:
    result = traded(spot(flat(3)), signal=np.zeros(3), enter=1.0)
    assert excursions(result) == []
    assert list(result.trades.columns)[-4:] == ["pnl", "worst", "best", "attribution"]


def test_the_trades_of_a_book_keep_theirs() -> None:
    # 25 bought and 25 sold at 100, closes 100, 105, 92: 0, 125, −200 and the opposite, each of its own account.
    market = in_memory({"LONG": perpetual(*path(100.0, 100.0, 105.0, 92.0))})
    rules = {"up": bt.Rule(long=market.leg("LONG"), size=0.5), "down": bt.Rule(short=market.leg("LONG"), size=0.5)}
    book = bt.run(rules, market, capital=10_000.0, execution=FREE, resize=None)
    assert book.trades[["rule", "worst", "pnl", "best"]].to_numpy().tolist() == [
        ["up", near(-200.0), near(-200.0), near(125.0)],
        ["down", near(-125.0), near(200.0), near(200.0)],
    ]


# ---------------------------------------------------------------- against the judge


def naive_excursions(judged: naive.NaiveResult) -> list[tuple[float, float]]:
    """Close by close."""
    out = []
    for number, trade in enumerate(judged.trades):
        bars = [fill.bar for fill in judged.fills if fill.trade == number]
        end = max(bars) if trade.exited_at is not None else len(judged.equity)
        seen = [judged.equity[bar] - trade.entry_equity for bar in range(min(bars), end)]
        out.append((min([*seen, trade.pnl]), max([*seen, trade.pnl])))
    return out


def agree(result: bt.Result, expected: list[tuple[float, float]], capital: float) -> None:
    found = result.trades[["worst", "best"]].to_numpy()
    assert len(found) == len(expected)
    for row, wanted in zip(found.tolist(), expected, strict=True):
        assert row == pytest.approx(wanted, abs=1e-9 * max(capital, result.equity.abs().max()))
    assert (result.trades["worst"] <= result.trades["pnl"]).all()
    assert (result.trades["pnl"] <= result.trades["best"]).all()


@pytest.mark.parametrize("maker", [generators.case, desk_case])
def test_it_is_what_a_loop_over_the_judges_closes_finds(maker: Any) -> None:
    trades = 0
    for seed in range(120):
        market, rule, capital, *beside = maker(seed)
        rule = comparable(rule)
        try:
            result = run_package(market, rule, capital, *beside)
        except DataError:  # no bar in common
            continue
        expected = naive_excursions(naive.judge(market, rule, capital))
        agree(result, expected, capital)
        trades += len(expected)
    assert trades > 200


def test_of_books_it_is_that_of_the_rules_account() -> None:
    for seed in range(20):
        book = book_case(seed)
        for result in run_book(book)[: len(book.rules)]:
            equity, stamps = result.equity, result._prepared.market.stamps
            fills, open_trade = result._log.fills, bool(result._log.account["started"])
            expected = []
            for number, trade in enumerate(result.trades.to_dict("records")):
                bars = fills["bar"][fills["trade"] == number]
                end = len(stamps) if open_trade and number == len(result.trades) - 1 else bars.max()
                pnl = (equity.iloc[bars.min() : end] - result._log.trades["entry_equity"][number]).tolist()
                expected.append((min([*pnl, trade["pnl"]]), max([*pnl, trade["pnl"]])))
            agree(result, expected, book.capital)
