"""Carry of both directions with staking, borrowed coins and own capital: against its formulas, put back into them, and against what a trade then earns."""

from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import FAR, FAR_EXPIRY, HOUR, NEAR, NEAR_EXPIRY, PERP, SPOT, START, bars, ether, load, only, series, times, write

import backtest as bt
from backtest.curve import days_to_expiry, premium
from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.load import load_market
from backtest.market import Market
from backtest.signals import net_carry, round_trip_cost, stay_carry
from backtest.signals.carry import Staking, break_even_premium

EXPIRY = {NEAR: NEAR_EXPIRY, FAR: FAR_EXPIRY}
DAYS = pd.Timedelta(days=1)
MONTH_AGO = pd.Timestamp("2024-02-01T00:00Z")


def with_coins() -> Tables:
    """The small market with yields of coins, known from some hours after its start on, and holes in the prices."""
    tables = ether()
    index = times(START, 8, "D")
    tables.series["staking_yield"] = series(index, 0.03 + 0.001 * np.arange(8), "5h")
    tables.series["borrow_base"] = series(index, 0.01 + 0.002 * np.arange(8), "9h")
    tables.bars[SPOT] = tables.bars[SPOT].drop(tables.bars[SPOT].index[40])
    tables.bars[FAR] = tables.bars[FAR].drop(tables.bars[FAR].index[[41, 60]])
    return tables


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("carry"), with_coins())


def rate(tables: Tables, name: str, time: pd.Timestamp, unknown: float) -> float:
    """The newest value of a series known at a time."""
    known = [row for row in tables.series[name].itertuples() if row.known_at <= time]
    return float(max(known, key=lambda row: (row.known_at, row.ts)).value) if known else unknown


def naive(tables: Tables, name: str, time: pd.Timestamp, cost: float, reverse: bool, staking: str | None, capital: float) -> float:
    """Net carry by the formulas of the issue, one contract at one time."""
    days = (EXPIRY[name] - time) / DAYS
    if days < 1 or any(time not in tables.bars[leg].index for leg in (name, SPOT)):
        return nan
    future, spot = tables.bars[name]["close"].loc[time], tables.bars[SPOT]["close"].loc[time]
    annualized = (future - spot) / spot * 365 / days
    money, earned = rate(tables, "borrow_usd", time, rate(tables, "risk_free", time, 0.0)), rate(tables, "staking_yield", time, nan)
    if not reverse:
        coins = {None: 0.0, "earned": earned, "forgone": -earned}[staking]
        return float(annualized - capital * money + coins - cost * 365 / days)
    coins = -rate(tables, "borrow_base", time, nan) if staking is None else -earned
    return float(-annualized - (capital - 1) * money + coins - cost * 365 / days)


CASES: list[dict[str, Any]] = [
    {"reverse": reverse, "staking": staking, "capital": capital}
    for reverse, staking in ((False, None), (False, "earned"), (False, "forgone"), (True, None), (True, "forgone"))
    for capital in (1.0, 1.5, 0.0)
]


# ---------------------------------------------------------------- formulas


@pytest.mark.parametrize("case", CASES, ids=str)
def test_carry_of_both_directions_is_its_formula(market: Market, case: dict[str, Any]) -> None:
    tables, chain = with_coins(), market.future_chain()
    for cost in (0.0, 0.004):
        expected = [[naive(tables, name, time, cost, **case) for time in market.clock] for name in chain.contracts]
        np.testing.assert_allclose(net_carry(market, chain, cost=cost, **case), expected, rtol=1e-10, atol=1e-13)
        if cost == 0.0:
            np.testing.assert_allclose(stay_carry(market, chain, **case), expected, rtol=1e-10, atol=1e-13)
    assert np.isfinite(expected).sum() > 250


def test_the_plain_trade_is_the_default(market: Market) -> None:
    chain = market.future_chain()
    assert net_carry(market) is net_carry(market, chain, reverse=False, staking=None, capital=1)
    assert stay_carry(market) is stay_carry(market, chain, market.spot, capital=1.0)
    assert stay_carry(market, staking="earned") is stay_carry(market, staking=Staking.EARNED)


def test_what_the_two_directions_earn_is_what_both_pay(market: Market) -> None:
    """Premium against premium is nothing: together they lose money, the coins' fee and two round trips."""
    chain = market.future_chain()
    together = net_carry(market, chain) + net_carry(market, chain, reverse=True)
    known = ~np.isnan(together)
    spent = 2 * 0.0033 * 365 / days_to_expiry(market, chain)[known]
    tables = with_coins()
    paid = np.array(
        [
            rate(tables, "borrow_usd", time, rate(tables, "risk_free", time, 0.0)) + rate(tables, "borrow_base", time, nan)
            for time in market.clock
        ]
    )
    np.testing.assert_allclose(together[known], -spent - np.broadcast_to(paid, known.shape)[known], rtol=1e-10)


def test_a_yield_that_nobody_knows_yet_is_unknown_carry(market: Market) -> None:
    """The yield of the first day is known from 05:00, the fee from 09:00 on; carry that needs neither is known at once."""
    far = market.leg(FAR)
    for case, hours in (
        ({"staking": "earned"}, 5),
        ({"staking": "forgone"}, 5),
        ({"reverse": True}, 9),
        ({"reverse": True, "staking": "forgone"}, 5),
    ):
        found = net_carry(market, far, **case)[0]  # type: ignore[arg-type]
        assert np.isnan(found[: hours - 1]).all()
        assert not isnan(found[hours - 1])
    assert not isnan(net_carry(market, far)[0, 0])


# ---------------------------------------------------------------- break-even


@pytest.mark.parametrize("cost", [None, 0.004])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_future_priced_at_the_break_even_premium_has_no_net_carry(
    market: Market, tmp_path: Path, case: dict[str, Any], cost: float | None
) -> None:
    tables, chain = with_coins(), market.future_chain()
    even = break_even_premium(market, chain, cost=cost, **case)
    for row, name in enumerate(chain.contracts):
        priced = (pd.Series(1.0 + even[row], market.clock) * tables.bars[SPOT]["close"]).dropna()
        tables.bars[name] = bars(priced, pd.DatetimeIndex(priced.index))
    found = net_carry(load(tmp_path, tables), cost=cost, **case)
    known = np.isfinite(even)
    np.testing.assert_array_equal(np.isfinite(found), known)
    assert known.sum() > 250
    np.testing.assert_allclose(found[known], 0.0, atol=1e-11)


def test_a_plain_trade_pays_above_the_break_even_premium_and_a_reverse_one_below_it(market: Market) -> None:
    chain = market.future_chain()
    for reverse, sign in ((False, 1.0), (True, -1.0)):
        above = sign * (premium(market, chain) - break_even_premium(market, chain, reverse=reverse))
        net = net_carry(market, chain, reverse=reverse)
        known = ~np.isnan(net)
        np.testing.assert_allclose((above * 365 / days_to_expiry(market, chain))[known], net[known], rtol=1e-9, atol=1e-12)
    assert np.nanmin(break_even_premium(market, chain)) > 0.0 > np.nanmax(break_even_premium(market, chain, reverse=True))


def test_break_even_by_hand(tmp_path: Path) -> None:
    """36.5 days, money at 5 %, a round trip of 40 bps: 0.05·36.5/365 + 0.004 = 0.009; with 1.5 of capital 0.0115; with a yield of 3 % earned 0.006."""
    tables, market = flat(tmp_path, price=2020.0, hours=876)
    far = market.leg(FAR)
    assert days_to_expiry(market, far)[0, 0] == pytest.approx(36.5 - 1 / 24)
    shorter = (36.5 - 1 / 24) / 36.5
    for case, expected in (
        ({}, 0.005 * shorter + 0.004),
        ({"capital": 1.5}, 0.0075 * shorter + 0.004),
        ({"staking": "earned"}, 0.002 * shorter + 0.004),
        ({"staking": "forgone"}, 0.008 * shorter + 0.004),
        ({"reverse": True}, -0.001 * shorter - 0.004),
        ({"reverse": True, "capital": 1.5}, -0.0035 * shorter - 0.004),
        ({"reverse": True, "staking": "forgone"}, -0.003 * shorter - 0.004),
    ):
        assert break_even_premium(market, far, cost=0.004, **case)[0, 0] == pytest.approx(expected, rel=1e-12), case  # type: ignore[arg-type]
    assert len(tables.bars[FAR]) == 876


def test_break_even_is_unknown_where_the_contract_has_no_premium(market: Market) -> None:
    found = break_even_premium(market)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(net_carry(market)))
    assert np.isnan(found[1, [40, 41, 60]]).all()
    assert np.isnan(found[0, int(market.clock.get_loc(NEAR_EXPIRY)) :]).all()


def test_break_even_is_computed_once(market: Market) -> None:
    chain = market.future_chain()
    assert break_even_premium(market) is break_even_premium(market, chain, cost=round_trip_cost(market, chain))
    assert break_even_premium(market, cost=0.001) is not break_even_premium(market, cost=0.002)


# ---------------------------------------------------------------- what a trade earns


def flat(folder: Path, price: float, hours: int) -> tuple[Tables, Market]:
    """Spot at 2000 and one future at a price up to its expiry, where it settles to spot; money costs 5 %, coins yield 3 % and cost 1 %."""
    tables = only(ether(), SPOT, FAR)
    first = FAR_EXPIRY - hours * HOUR
    index, alive = times(first + HOUR, hours + 3, "h"), times(first + HOUR, hours, "h")
    tables.bars = {SPOT: bars(np.full(len(index), 2000.0), index), FAR: bars(np.full(hours, price), alive)}
    tables.settlements = pd.DataFrame({"instrument": [FAR], "ts": [FAR_EXPIRY], "price": [2000.0]})
    long_known = pd.DatetimeIndex([MONTH_AGO], name="ts").as_unit("ns")
    rates = {"risk_free": 0.05, "staking_yield": 0.03, "borrow_base": 0.01}
    tables.series = {name: series(long_known, [value]) for name, value in rates.items()}
    return tables, load(folder, tables)


def excess(market: Market, reverse: bool, stake: bool, leverage: float, execution: bt.Execution) -> float:
    """What a trade held to settlement earns more than idle money, a year per notional at entry."""
    rule = bt.Rule(long=market.spot, short=market.leg(FAR), sides="minus" if reverse else "plus", size=0.4, leverage=leverage, stake=stake)  # type: ignore[arg-type]
    result = bt.run(rule, market, capital=1e6, execution=execution)
    (trade,) = result.trades.itertuples()
    idle = 1e6 * 0.05 * market.years.sum()
    years = (FAR_EXPIRY - trade.entered_at) / (365 * DAYS)
    return float((result.equity.iloc[-1] - 1e6 - idle) / (abs(trade.quantity) * 2000.0) / years)


@pytest.mark.parametrize(
    ("reverse", "staking", "leverage"),
    [(False, None, 1.0), (False, None, 4.0), (False, "earned", 2.0), (True, None, 1.0), (True, None, 4.0)],
)
def test_net_carry_is_what_a_trade_to_settlement_earns_over_idle_money(
    tmp_path: Path, reverse: bool, staking: str | None, leverage: float
) -> None:
    """With own collateral capital is 1 + 1/leverage, here of the future's own price; prices stand still, so the trade earns exactly its carry."""
    price = 1980.0 if reverse else 2020.0
    _, market = flat(tmp_path, price, hours=480)
    earned = excess(market, reverse, staking == "earned", leverage, bt.Execution.free())
    told = stay_carry(market, market.leg(FAR), reverse=reverse, staking=staking, capital=1.0 + price / 2000.0 / leverage)[0, 0]
    assert earned == pytest.approx(told, abs=1e-5), "right to interest on the interest"


@pytest.mark.parametrize("reverse", [False, True])
def test_the_cost_of_a_trade_is_the_round_trip(tmp_path: Path, reverse: bool) -> None:
    """Fees of the venue and 1 bp a fill, on notionals that differ by the premium: 6.6 % a year, right to 0.1 %."""
    _, market = flat(tmp_path, price=1980.0 if reverse else 2020.0, hours=438)
    earned = excess(market, reverse, False, 1.0, bt.Execution())
    told = net_carry(market, market.leg(FAR), reverse=reverse, capital=2.0)[0, 0]
    gross = stay_carry(market, market.leg(FAR), reverse=reverse, capital=2.0)[0, 0]
    assert gross - told == pytest.approx(0.0033 * 20 * 438 / 437)
    assert earned == pytest.approx(told, abs=0.001)


@pytest.mark.parametrize("price", [1980.0, 2020.0])
def test_a_rule_of_both_sides_takes_the_reverse_carry_with_its_sign_turned(tmp_path: Path, price: float) -> None:
    _, market = flat(tmp_path, price, hours=480)
    far = market.leg(FAR)
    both = net_carry(market, far), -net_carry(market, far, reverse=True)
    rule = bt.Rule(long=market.spot, short=far, signal=both, enter=0.02, sides="both")  # type: ignore[arg-type]
    (trade,) = bt.run(rule, market).trades.itertuples()
    assert trade.side == (1 if price > 2000.0 else -1)
    assert trade.pnl > 0.0


# ---------------------------------------------------------------- refusals

ASKED = [net_carry, stay_carry, break_even_premium]


@pytest.mark.parametrize("ask", ASKED, ids=lambda ask: ask.__name__)
def test_refused_parameters(market: Market, ask: Any) -> None:
    with pytest.raises(ParameterError, match=r"^staking must be one of earned, forgone: staking=lost$"):
        ask(market, staking="lost")
    with pytest.raises(
        ParameterError, match=r"^staking must be none or forgone in the reverse trade, which holds no coins: staking=earned$"
    ):
        ask(market, reverse=True, staking="earned")
    with pytest.raises(ParameterError, match=r"^capital must be at least 0: capital=-1$"):
        ask(market, capital=-1.0)
    with pytest.raises(ParameterError, match=r"^capital must be a finite number: capital=inf$"):
        ask(market, capital=np.inf)
    with pytest.raises(ParameterError, match=r"^an annualized premium needs a dated contract: ETHUSDT-PERP; for a perpetual"):
        ask(market, market.perpetual)
    if ask is not stay_carry:
        with pytest.raises(ParameterError, match=r"^cost must be a finite number: cost=nan$"):
            ask(market, cost=nan)


@pytest.mark.parametrize("ask", ASKED, ids=lambda ask: ask.__name__)
def test_a_rate_that_the_dataset_lacks_is_named(tmp_path: Path, ask: Any) -> None:
    market = load(tmp_path, ether())
    for case, told in (
        ({"staking": "earned"}, r'staking="earned" needs the series "staking_yield", which dataset test lacks; import it, or leave staking="earned" out'),
        ({"staking": "forgone"}, r'staking="forgone" needs the series "staking_yield", which dataset test lacks; .*'),
        ({"reverse": True}, r'reverse=True needs the series "borrow_base", which dataset test lacks; import it, or leave reverse=True out, or give staking="forgone" if the coins are your own'),
        ({"reverse": True, "staking": "forgone"}, r'staking="forgone" needs the series "staking_yield", which dataset test lacks; .*'),
    ):  # fmt: skip
        with pytest.raises(DataError, match=f"^{told}$"):
            ask(market, **case)


def test_coins_of_ones_own_need_no_lender(tmp_path: Path) -> None:
    tables = with_coins()
    del tables.series["borrow_base"]
    market = load(tmp_path, tables)
    assert np.isfinite(stay_carry(market, reverse=True, staking="forgone")).any()
    with pytest.raises(DataError, match=r"^reverse=True needs the series"):
        stay_carry(market, reverse=True)


# ---------------------------------------------------------------- the future


def test_nothing_after_a_bar_changes_its_carry(tmp_path: Path) -> None:
    path = write(tmp_path, with_coins())
    whole = load_market(path)
    for hours in (4, 30, 90, 130):
        then = load_market(path, None, whole.clock[hours - 1])
        for case in CASES:
            for ask in ASKED:
                np.testing.assert_array_equal(ask(then, **case), ask(whole, **case)[:, :hours])


def test_markets_without_futures_have_no_carry(tmp_path: Path) -> None:
    market = load(tmp_path, only(ether(), SPOT, PERP))
    for ask in ASKED:
        with pytest.raises(DataError, match=r"^the rule needs dated futures and the dataset test has none"):
            ask(market)
