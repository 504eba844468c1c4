"""Books worked by hand: several rules on one capital. Each case is asked of the package and of the judge; the arithmetic stands in the comments.

Unless a case says otherwise: hourly bars, capital 20,000 in two equal shares, no costs, all prices at 100 when a rule decides. A rule that is willing in
bar 0 decides at its close (1 h) and fills at the open of bar 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import naive
import numpy as np
import pandas as pd
import pytest
from markets import FREE, Item, fills, flat, in_memory, near, path, perpetual, reasons, spot
from naive_book import judge_book

import backtest as bt
from backtest.prepare import prepare
from backtest.result import Result
from backtest.simulate import simulate_book

HOUR = naive.DAY // 24
CAPITAL = 20_000.0
CROSS = replace(FREE, margin=bt.Margin.CROSS, maintenance=0.01)
INTEREST = replace(FREE, idle_rate=0.438, borrow_rate=0.876)  # 0.5 and 1 in 10,000 an hour
ALWAYS, NEVER = tuple(range(100)), ()


@dataclass(frozen=True)
class Part:
    """One rule of a book: its legs, the bars in which it is willing to enter, and fields of the rule; hold: hours."""

    long: Item | None = None
    short: Item | None = None
    willing: tuple[int, ...] = (0,)
    size: float = 1.0
    leverage: float = 2.0
    hold: int | None = None
    tranches: int = 1

    @property
    def legs(self) -> dict[str, Item]:
        return {name: item for name, item in (("long", self.long), ("short", self.short)) if item is not None}

    @property
    def bars(self) -> int:
        return len(next(iter(self.legs.values())).opens)

    @property
    def signal(self) -> list[float]:
        return [float(bar in self.willing) for bar in range(self.bars)]


@dataclass(frozen=True)
class Outcome:
    """What happened to one account: equity by bar, the sources at the end that are not 0, fills as (bar, slot, action, quantity, reference), reasons."""

    equity: list[float]
    sources: dict[str, float]
    fills: list[tuple[int, str, str, float, float]]
    reasons: list[str]

    @property
    def liquidated_at(self) -> list[float]:
        return [fill[4] for fill in self.fills if fill[2] == "liquidation"]

    @property
    def entered(self) -> list[tuple[int, float]]:
        return [(fill[0], abs(fill[3])) for fill in self.fills if fill[2] == "entry"]


def of_package(
    parts: Sequence[Part], execution: bt.Execution, capital: float, shares: Sequence[float], limits: dict[str, Any]
) -> list[Outcome]:
    items = {f"{name}{number}".upper(): item for number, part in enumerate(parts) for name, item in part.legs.items()}
    market = in_memory(items)
    prepared = []
    for number, part in enumerate(parts):
        legs = {name: market.leg(f"{name}{number}".upper()) for name in part.legs}
        hold = None if part.hold is None else f"{part.hold}h"
        fields = {"size": part.size, "leverage": part.leverage, "max_hold": hold, "resize": None, "enter": 0.5}
        if part.tranches > 1:
            fields |= {"entry_tranches": part.tranches, "tranche_gap": "100h"}
        prepared.append(prepare(market, bt.Rule(**legs, signal=np.array(part.signal), **fields), execution))
    pause = {"pause": pd.Timedelta(hours=limits.pop("pause"))} if "pause" in limits else {}
    logs = simulate_book(prepared, capital, shares=shares, **limits, **pause)
    left = capital * (1.0 - math.fsum(shares))
    capitals = [capital * share for share in shares] + [left] * (len(logs) - len(parts))
    prepared += [prepared[0]] * (len(logs) - len(parts))
    outcomes = []
    for each, own, log in zip(prepared, capitals, logs, strict=True):
        result = Result(each.rule, each, own, log)
        ends = {str(name): amount for name, amount in result.attribution.iloc[-1].items() if abs(amount) > 1e-7}
        outcomes.append(Outcome(result.equity.tolist(), ends, [(round(bar), *row) for bar, *row in fills(result)], reasons(result)))
        assert math.fsum(ends.values()) == near(result.equity.iloc[-1] - own)
    return outcomes


def of_judge(
    parts: Sequence[Part], execution: bt.Execution, capital: float, shares: Sequence[float], limits: dict[str, Any]
) -> list[Outcome]:
    stamps = [(bar + 1) * HOUR for bar in range(parts[0].bars)]
    rates = {"idle_rate": [(0, execution.idle_rate or 0.0)], "borrow_usd": [(0, execution.borrow_rate or 0.0)]}
    market = naive.NaiveMarket(stamps=stamps, step=HOUR, **rates)
    limits |= {"pause": limits["pause"] * HOUR} if "pause" in limits else {}
    judged = judge_book(market, [naive_rule(part, execution) for part in parts], capital, shares=shares, **limits)
    outcomes = []
    for one in [*judged.results, *([judged.reserve] if judged.reserve is not None else [])]:
        ends = {name: amounts[-1] for name, amounts in one.sources.items() if abs(amounts[-1]) > 1e-7}
        done = [(fill.bar + (fill.action == "liquidation"), fill.slot, fill.action, fill.quantity, fill.reference) for fill in one.fills]
        outcomes.append(Outcome(one.equity, ends, done, [trade.reason for trade in one.trades]))
    return outcomes


def naive_rule(part: Part, execution: bt.Execution) -> naive.NaiveRule:
    slots = {name: naive_slot(item, execution) for name, item in part.legs.items()}
    pair = (0 if part.long else -1, 0 if part.short else -1)
    return naive.NaiveRule(
        **slots, signal_plus={pair: part.signal}, enter=0.5, size=part.size, leverage=part.leverage,
        max_hold=None if part.hold is None else part.hold * HOUR, margin=str(execution.margin), top_up=execution.top_up,
        transfer_fee=execution.transfer_fee, entry_tranches=part.tranches, tranche_gap=100 * HOUR,
    )  # fmt: skip


def naive_slot(item: Item, execution: bt.Execution) -> naive.NaiveSlot:
    closes, empty = item.opens if item.closes is None else item.closes, [naive.NAN] * len(item.opens)
    columns = {"high": np.fmax(item.opens, closes).tolist(), "low": np.fmin(item.opens, closes).tolist(), **item.columns}
    made = naive.NaiveInstrument(
        kind=str(item.kind), open=item.opens, close=closes, fresh=[True] * len(closes), bid=empty, ask=empty, mark=empty,
        mark_high=columns.get("mark_high", columns["high"]), mark_low=columns.get("mark_low", columns["low"]), lot=item.facts.get("lot", naive.NAN),
    )  # fmt: skip
    return naive.NaiveSlot(
        instruments=[made], tiers=((0.0, execution.maintenance or 0.0, 0.0),), liquidation_fee=execution.liquidation_fee or 0.0
    )


@pytest.fixture(params=["package", "judge"])
def book(request: pytest.FixtureRequest) -> Any:
    """One outcome a rule; that of a reserve is the last."""

    def run(
        *parts: Part, execution: bt.Execution = FREE, capital: float = CAPITAL, shares: Sequence[float] | None = None, **limits: Any
    ) -> Any:
        ask = of_package if request.param == "package" else of_judge
        return ask(parts, execution, capital, shares or [1.0 / len(parts)] * len(parts), limits)

    return run


# ---------------------------------------------------------------- money is one


def test_a_rule_that_uses_another_s_cash_pays_what_it_would_have_earned_and_interest_once_the_book_owes(book: Any) -> None:
    # Both earn 0.5 in bar 0. At 1 h the first buys 150 coins: 10,000.5 − 15,000 = −4,999.5. The second has 10,000: the book has 5,000.5, so that in bars 1 and
    # 2 the first is charged 0.249975 at the rate of idle cash and the second gets 0.5. At 3 h the second sells 80 with 8,000 set aside: 10,001.5 − 8,000 =
    # 2,001.5. The book owes, so the first is fixed anew too: −4,999.5 − 0.49995 = −4,999.99995. In bars 3 and 4 it pays 1 in 10,000 of that, 0.499999995, and
    # 0.20015 of it is credited to the second: the lenders get 0.299849995. At 5 h the first sells: −4,999.99995 − 0.99999999 + 15,000 = 9,999.00005001; the
    # second is fixed: 2,001.5 + 0.4003 = 2,001.9003. From there on both get 0.5 in 10,000.
    borrower = Part(long=spot(flat(8), lot=1.0), size=1.5, hold=4)
    lender = Part(short=perpetual(flat(8), lot=1.0), willing=(2,), size=0.8, leverage=1.0)
    first, second = book(borrower, lender, execution=INTEREST)
    after = 0.5e-4 * 9999.00005001
    assert first.sources == near({"idle_cash": 0.5 - 2.0 * 0.249975 + 3.0 * after, "financing": -2.0 * 0.499999995})
    assert second.sources == near({"idle_cash": 1.5 + 3.0 * 0.100095015, "financing": 2.0 * 0.20015})
    assert first.equity[:6] == near([10_000.5, 10_000.250025, 10_000.00005, 9999.500050005, 9999.00005001, 9999.00005001 + after])


def test_a_rule_alone_on_its_share_pays_interest_at_once(book: Any) -> None:
    # −4,999.5·0.0001 = 0.49995 in each of bars 1 to 4; then 15,000 − 4,999.5 − 1.9998 = 9,998.5002.
    (alone,) = book(Part(long=spot(flat(8), lot=1.0), size=1.5, hold=4), execution=INTEREST, capital=10_000.0)
    assert alone.sources == near({"idle_cash": 0.5 + 3.0 * 0.49992501, "financing": -4.0 * 0.49995})


def test_what_the_shares_leave_lies_in_the_reserve(book: Any) -> None:
    # Shares of 10,000 and 6,000, 4,000 left: 0.2 in each of 4 bars. The first buys for all of its 10,000.5 at 1 h.
    one, other = Part(long=spot(flat(4))), Part(long=spot(flat(4)), willing=NEVER)
    first, second, reserve = book(one, other, execution=INTEREST, shares=[0.5, 0.3])
    assert first.entered == [(1, near(100.005))]
    assert [each.sources for each in (first, second, reserve)] == [near({"idle_cash": amount}) for amount in (0.5, 1.2, 0.8)]
    assert reserve.equity == near([4000.2, 4000.4, 4000.6, 4000.8])


def test_what_the_shares_lack_is_owed_by_the_reserve(book: Any) -> None:
    # 16,000 and 14,000 are 10,000 more than there is: the reserve is charged 0.5 in bar 0, in which the book has cash. At 1 h the first buys for 16,000.8 and
    # the second for 12,600.63, 0.9 of 14,000.7; the book owes 10,000.5 less the 1,400.07 that the second has left: 1 in 10,000 of each in bars 1 and 2.
    parts = Part(long=spot(flat(3))), Part(long=spot(flat(3)), size=0.9)
    first, second, reserve = book(*parts, execution=INTEREST, shares=[0.8, 0.7])
    assert first.sources == near({"idle_cash": 0.8})
    assert second.sources == near({"idle_cash": 0.7, "financing": 2.0 * 0.140007})
    assert reserve.sources == near({"idle_cash": -0.5, "financing": -2.0 * 1.00005})
    assert reserve.equity[-1] == near(-10_002.5001)


# ---------------------------------------------------------------- margin is one


def squeezed(high: float, *, bar: int = 2) -> Item:
    """A perpetual at 100 whose mark reaches `high` in one bar."""
    return perpetual(flat(4), columns={"mark_high": [high if number == bar else 100.0 for number in range(4)], "mark_low": flat(4)})


def idle(**more: Any) -> Part:
    return Part(long=spot(flat(4)), **{"willing": NEVER, **more})


@pytest.mark.parametrize(
    ("high", "alone", "together"),
    [(198.0, [], []), (198.1, [20_000 / 101], []), (297.0, [20_000 / 101], []), (297.1, [20_000 / 101], [30_000 / 101])],
)
def test_a_leg_that_its_own_share_would_not_save_lives_on_the_other_rule_s_cash(
    book: Any, high: float, alone: list[float], together: list[float]
) -> None:
    # 100 sold at 100 with leverage 2: 5,000 set aside, 5,000 in cash. Alone: 10,000 − 100·(m − 100) = 0.01·100·m: m = 20,000/101 = 198.02.
    # With the other's 10,000: 30,000/101 = 297.03.
    assert [one.liquidated_at for one in book(Part(short=squeezed(high)), execution=CROSS, capital=10_000.0)] == [near(alone)]
    first, second = book(Part(short=squeezed(high)), idle(), execution=CROSS)
    assert first.liquidated_at == near(together)
    assert (first.equity[-1], second.equity) == (
        near(10_000.0 - 100.0 * (together[0] - 100.0) if together else 10_000.0),
        near(flat(4, 10_000.0)),
    )


@pytest.mark.parametrize(
    ("size", "high", "liquidated"),
    [
        (1.0, 198.0, []),
        (1.0, 198.1, [20_000 / 101]),  # 10,000 of coins: its cash is gone, as if the leg were alone on its share
        (1.2, 178.2, []),
        (1.2, 178.3, [18_000 / 101]),  # 12,000 of coins, of which 2,000 are the first rule's
        (0.4, 257.4, []),
        (0.4, 257.5, [26_000 / 101]),
    ],
)  # fmt: skip
def test_cash_that_the_other_rule_has_tied_up_is_not_there(book: Any, size: float, high: float, liquidated: list[float]) -> None:
    # One rule with all 20,000 keeps the same 100 up to 297.03. In the book the other rule has bought coins: 5,000 + (5,000 + 10,000 − what they cost) − 100·(m − 100) = m.
    (whole,) = book(Part(short=squeezed(high), size=0.5), execution=CROSS)
    first, second = book(Part(short=squeezed(high)), idle(willing=(0,), size=size), execution=CROSS)
    assert whole.liquidated_at == []
    assert first.liquidated_at == near(liquidated)
    assert second.entered == [(1, near(100.0 * size))]


@pytest.mark.parametrize(
    ("highs", "liquidated"),
    [
        ((190.0, 190.0), ([], [])),  # each lacks 190 − (5,000 − 9,000) = 4,190 of the 10,000
        ((240.0, 100.0), ([], [])),
        ((100.0, 240.0), ([], [])),
        ((240.0, 240.0), ([], [15_760 / 101])),  # the first draws 9,240, which leaves 760: 5,760 − 100·(m − 100) = m
        ((240.0, 156.0), ([], [])),
        ((240.0, 156.1), ([], [15_760 / 101])),
        (
            (250.0, 150.0),
            ([25_000 / 101], []),
        ),  # the first is lost: 15,000 − 100·(m − 100) = m; 15,000 − 14,752.475 = 247.525 of all cash are left
        ((250.0, 151.0), ([25_000 / 101], [(15_000 + 25_000 / 101) / 101])),
    ],
)
def test_cash_backs_one_slot_at_a_time(book: Any, highs: tuple[float, float], liquidated: tuple[list[float], list[float]]) -> None:
    # Two shorts of 100 at 100 with leverage 2: 5,000 set aside for each, 10,000 in cash. Each alone with that cash lives up to 25,000/101 = 247.5.
    outcomes = book(*(Part(short=squeezed(high)) for high in highs), execution=CROSS)
    assert [one.liquidated_at for one in outcomes] == [near(prices) for prices in liquidated]


def test_cash_that_one_slot_has_drawn_is_there_again_in_the_next_bar(book: Any) -> None:
    # Each lacks 9,240 of the 10,000, in a bar of its own.
    first, second = book(Part(short=squeezed(240.0)), Part(short=squeezed(240.0, bar=3)), execution=CROSS)
    assert first.liquidated_at == second.liquidated_at == []


def test_a_liquidation_that_makes_the_book_owe_fixes_all_accounts_at_its_bar_s_end(book: Any) -> None:
    # At 1 h the first sells 100 with 5,000 set aside: 5,000.5 earn 0.250025 in bars 1 and 2; the second buys 100 and keeps 0.5, which earn 0.000025. Bar 2 opens at
    # 250, where the first is taken away: 5,000 − 100·150 is paid from 5,001.00005, which leaves −4,998.99995 from 3 h on. The second is fixed at the same
    # instant, 0.50005. Bar 3 costs the first and gives the second 1 in 10,000 of it.
    execution = replace(INTEREST, margin=bt.Margin.CROSS, maintenance=0.01)
    parts = Part(short=perpetual([100.0, 100.0, 250.0, 250.0], lot=1.0)), Part(long=spot(flat(4), lot=1.0))
    first, second = book(*parts, execution=execution)
    assert first.liquidated_at == near([250.0])
    assert first.sources == near({"price_short": -15_000.0, "idle_cash": 1.00005, "financing": -0.499899995})
    assert second.sources == near({"idle_cash": 0.50005, "financing": 0.000050005})


@pytest.mark.parametrize(
    ("low", "high", "liquidated"),
    [(100.0, 198.0, []), (100.0, 198.1, [20_000 / 101]), (40.0, 187.7, []), (40.0, 187.8, [18_960 / 101])],
)
def test_cash_backs_one_slot_of_a_single_rule_at_a_time(book: Any, low: float, high: float, liquidated: list[float]) -> None:
    # 100 bought and 100 sold at 100 with leverage 2 out of 15,000: 5,000 set aside for each, 5,000 in cash. At 40 the long lacks 40 − (5,000 − 6,000) = 1,040.
    # The short has 5,000 + 5,000 − 1,040: 18,960/101 = 187.72, and without that 198.02.
    bought = perpetual(flat(4), columns={"mark_high": flat(4), "mark_low": [100.0, 100.0, low, 100.0]}, lot=1.0)
    (one,) = book(Part(long=bought, short=squeezed(high), size=10_000 / 15_000), execution=CROSS, capital=15_000.0)
    assert one.liquidated_at == near(liquidated)


def test_a_top_up_is_paid_from_the_other_rule_s_cash(book: Any) -> None:
    # 1,000 sold at 100 with leverage 10: all 10,000 are set aside, 0.5 of interest is left. At 106 (2 h) 4,000 are there, less than half of 10,600: 6,600 are
    # sent for a fee of 1, which the first rule owes from then on: 0.5 in 10,000 of it in bars 2 and 3, while the second gets 0.5 in each of four bars.
    # With the 6,600 it lives up to 116,600/1,010 = 115.45, alone up to 110,000/1,010 = 108.91.
    opens, closes = path(100.0, 106.0, 106.0, 106.0)
    risen = perpetual(opens, closes, columns={"mark_high": [100.0, 106.0, 112.0, 106.0], "mark_low": flat(4)}, lot=1000.0)
    execution = replace(INTEREST, margin=bt.Margin.ISOLATED, maintenance=0.01, top_up=0.5, transfer_fee=1.0)
    short = Part(short=risen, size=10.0, leverage=10.0)
    (alone,) = book(short, execution=execution, capital=10_000.0)
    assert alone.liquidated_at == near([110_000 / 1010])
    first, second = book(short, Part(short=perpetual(flat(4)), willing=NEVER), execution=execution)
    owed = 6601.0 - 0.5 - 0.25e-4
    assert first.liquidated_at == []
    assert first.sources == near({"price_short": -6000.0, "fees": -1.0, "idle_cash": 0.5 + 0.25e-4 - 2.0 * 0.5e-4 * owed})
    assert second.sources == near({"idle_cash": 2.0})


def test_a_top_up_sends_no_more_than_all_accounts_have_with_what_has_accrued(book: Any) -> None:
    # As above, but the second rule has 600: at 2 h 600.06 with its interest of two bars, and the first 0.500025. Less the fee 599.560025 are sent.
    opens, closes = path(100.0, 106.0, 106.0, 106.0)
    risen = perpetual(opens, closes, columns={"mark_high": [100.0, 106.0, 112.0, 106.0], "mark_low": flat(4)}, lot=1000.0)
    execution = replace(INTEREST, margin=bt.Margin.ISOLATED, maintenance=0.01, top_up=0.5, transfer_fee=1.0)
    parts = Part(short=risen, size=10.0, leverage=10.0), Part(short=perpetual(flat(4)), willing=NEVER)
    first, _ = book(*parts, execution=execution, capital=10_600.0, shares=[10_000 / 10_600, 600 / 10_600])
    assert first.liquidated_at == near([110_599.560025 / 1010])


# ---------------------------------------------------------------- limits in total


@pytest.mark.parametrize(
    ("exposure", "quantities"), [(0.8, (80.0, 80.0)), (0.6, (80.0, 40.0)), (0.42, (80.0, 4.0)), (0.4, (80.0, None)), (0.2, (40.0, None))]
)
def test_exposure_in_total_holds_down_the_rule_that_comes_later(book: Any, exposure: float, quantities: tuple[float, float | None]) -> None:
    # 0.6 of 20,000 is 12,000: the first has ordered 80 at 100, the second gets 4,000. At 0.4 it gets nothing.
    parts = [Part(long=spot(flat(4), lot=1.0), size=0.8), Part(short=perpetual(flat(4), lot=1.0), size=0.8)]
    for order in (parts, parts[::-1]):
        outcomes = book(*order, exposure=exposure)
        assert [one.entered for one in outcomes] == [[(1, near(quantity))] if quantity else [] for quantity in quantities]


@pytest.mark.parametrize(("willing", "entered"), [(1, (2, 40.0)), (2, (3, 40.0)), (3, (4, 80.0))])
def test_a_rule_that_leaves_counts_until_it_is_out(book: Any, willing: int, entered: tuple[int, float]) -> None:
    # The first holds 80 from 1 h to 3 h; at the close of bar 2 (3 h) it has ordered its exit, which fills in bar 3.
    first, second = book(
        Part(long=spot(flat(6), lot=1.0), size=0.8, hold=2),
        Part(short=perpetual(flat(6), lot=1.0), size=0.8, willing=(willing,)),
        exposure=0.6,
    )
    assert first.fills[1][:3] == (3, "long", "exit")
    assert second.entered == [(entered[0], near(entered[1]))]


@pytest.mark.parametrize(("hold", "quantity"), [(None, 40.0), (1, 80.0)])
def test_a_rule_that_leaves_counts_what_it_holds_and_not_what_it_aimed_at(book: Any, hold: int | None, quantity: float) -> None:
    # The first aims at 80 and has bought half of it at 1 h. At the close of bar 1 (2 h) it leaves, if it may hold for an hour only.
    half = Part(long=spot(flat(5), lot=1.0), size=0.8, tranches=2, hold=hold)
    first, second = book(half, Part(short=perpetual(flat(5), lot=1.0), size=0.8, willing=(1,)), exposure=0.6)
    assert first.entered == [(1, 40.0)]
    assert second.entered == [(2, near(quantity))]


@pytest.mark.parametrize(("price", "leaves"), [(90.1, False), (89.9, True)])
def test_a_drawdown_in_total_takes_every_rule_out_until_the_pause_is_over(book: Any, price: float, leaves: bool) -> None:
    # 100 coins from 100 to 89.9 lose 1,010, more than 5% of 20,000, at 3 h. The other rule has lost nothing and leaves all the same. Until 6 h none enters;
    # at that close both do: 8,990/89.9 = 100 coins.
    closes = [100.0, 100.0, *flat(5, price)]
    first, second = book(
        Part(long=spot(*path(*closes)), willing=ALWAYS), Part(short=perpetual(flat(7)), willing=ALWAYS), drawdown=0.05, pause=3
    )
    for one, quantity in ((first, 100.0), (second, 100.0)):
        assert one.entered == [(1, near(100.0)), *([(6, near(quantity))] if leaves else [])]
        assert [fill[0] for fill in one.fills if fill[2] == "exit"] == ([3] if leaves else [])
        assert one.reasons == (["drawdown", "end of data"] if leaves else ["end of data"])
    assert first.equity[-1] + second.equity[-1] == near(20_000.0 - 100.0 * (100.0 - price))


def test_without_a_pause_nobody_enters_again(book: Any) -> None:
    parts = Part(long=spot(*path(100.0, 100.0, *flat(20, 89.0))), willing=ALWAYS), Part(short=perpetual(flat(22)), willing=ALWAYS)
    assert [len(one.entered) for one in book(*parts, drawdown=0.05)] == [1, 1]
