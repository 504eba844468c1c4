"""A run as a vectorbt Portfolio: its orders are the run's fills, and its value is the run's equity less what vectorbt has no word for."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bridge import run_package
from generator_desk import desk_case
from markets import FAR, NEAR, PERP, SPOT, ether, load, once, only, perpetual, spot, traded

import backtest as bt
from backtest.bridge import flows_of

NEARNESS = 1e-9  # of capital


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> bt.Market:
    """Four weeks of hours with a spot, a perpetual and two dated futures; both settle."""
    return load(tmp_path_factory.mktemp("bridge"), ether(680))


def carry(market: bt.Market, **more: Any) -> bt.Rule:
    premium = bt.premium(market, market.perpetual) - 0.0005
    return bt.Rule(long=market.spot, short=market.perpetual, signal=premium, enter=3e-4, exit=-5e-4, **more)


def bar_of(result: bt.Result, fill: Any) -> int:
    """A fill at an open is in the bar that begins then; what happens at or before a bar's end, in that bar."""
    at_open = fill.action not in ("settlement", "liquidation", "deleveraging")
    return int(result.equity.index.searchsorted(fill.time, side="right" if at_open else "left"))


def assert_worth_the_same(result: bt.Result | bt.BookResult) -> None:
    """At every bar: value() and the flows are the equity, and value() alone where the flows are a column."""
    flows = flows_of(result)
    for name in ("funding", "financing", "idle_cash", "borrow", "staking"):
        assert flows[name].equals(result.attribution[name])
    legs, whole = result.to_vectorbt(), result.to_vectorbt(flows=True)
    scale = NEARNESS * max(result.capital, float(result.equity.abs().max()))
    assert (legs.value() - (result.equity - flows.sum(axis=1))).abs().max() <= scale
    assert (whole.value() - result.equity).abs().max() <= scale


def assert_same_fills(result: bt.Result) -> None:
    """An order a fill: its bar, instrument, signed size, price and fee, none more."""
    portfolio = result.to_vectorbt()
    orders = portfolio.orders.records
    found = sorted(
        (order.idx, portfolio.wrapper.columns[order.col], order.size * (-1 if order.side else 1), order.price, order.fees)
        for order in orders.itertuples()
    )
    told = [(bar_of(result, fill), fill.instrument, fill.quantity, fill.price, fill.fee) for fill in result.fills.itertuples()]
    assert found == sorted(told)


@pytest.mark.parametrize("sides", ["plus", "minus", "both"])
def test_spot_against_perpetual_is_the_same_at_every_bar(market: bt.Market, sides: str) -> None:
    costs = bt.Execution(margin="off", half_spread=0.0003, borrow_rate=0.04, idle_rate=0.03)
    result = bt.run(carry(market, sides=sides, resize=1.01), market, execution=costs, leverage=2)
    assert len(result.trades) >= 10
    assert_same_fills(result)
    assert_worth_the_same(result)
    assert flows_of(result).iloc[-1].abs().max() > 1.0


def test_slippage_is_in_the_price_and_fees_are_as_paid(market: bt.Market) -> None:
    result = bt.run(carry(market), market, execution=bt.Execution(margin="off", half_spread=0.01))
    orders = result.to_vectorbt().orders
    assert orders.records["fees"].sum() == pytest.approx(-result.attribution["fees"].iloc[-1])
    bought = result.fills["quantity"] > 0
    assert result.fills.loc[bought, "price"].to_numpy() == pytest.approx(1.01 * result.fills.loc[bought, "reference"].to_numpy())
    assert_same_fills(result)


def test_a_settlement_is_an_order_at_the_settlement_price(market: bt.Market) -> None:
    result = bt.run(bt.Rule(long=market.spot, short=market.future_chain()), market, execution=bt.Execution(margin="off"))
    settled = result.fills[result.fills["action"] == "settlement"]
    assert len(settled) >= 1
    portfolio = result.to_vectorbt()
    assert list(portfolio.wrapper.columns) == [SPOT, NEAR, FAR]
    at = portfolio.wrapper.index.get_loc(settled["time"].iloc[0])
    assert portfolio.assets()[NEAR].iloc[at - 1] < 0.0
    assert portfolio.assets()[NEAR].iloc[at] == 0.0
    assert_same_fills(result)
    assert_worth_the_same(result)


def test_a_liquidation_is_an_order_at_its_price_and_what_the_venue_absorbed_is_beside() -> None:
    """The perpetual is sold at 100 with 10 of collateral a unit, and opens at 150: 40 a unit and the fee are the venue's loss."""
    gap = [100.0, 100.0, 150.0, 150.0, 150.0]
    result = traded(
        spot(gap, gap), perpetual(gap, gap),
        execution=bt.Execution(margin="isolated", spot_fee=0.0, derivative_fee=0.0, half_spread=0.0, idle_rate=0.0, borrow_rate=0.0, liquidation_fee=0.01),
        leverage=10, **once(5),
    )  # fmt: skip
    assert "liquidation" in result.fills["action"].tolist()
    assert_same_fills(result)
    assert_worth_the_same(result)
    assert flows_of(result)["other"].iloc[-1] > 0.1 * result.capital


def test_every_feature_of_a_desk_is_the_same_at_every_bar() -> None:
    """Tranches, makers, rolls, wallets, top-ups, deleveraging and the rest, in cases that were drawn at random."""
    actions, others, coins = set(), 0, 0
    for seed in range(80):
        case = desk_case(seed)
        result = run_package(*case)
        if any(slot is not None and slot.instruments[0].inverse for slot in (case.rule.long, case.rule.short)):
            coins += 1
            with pytest.raises(bt.ParameterError, match="is inverse and pays in coin"):
                result.to_vectorbt()
            continue
        assert_same_fills(result)
        assert_worth_the_same(result)
        actions |= set(result.fills["action"])
        others += flows_of(result)["other"].abs().max() > 1e-6 * result.capital
    assert actions == {"entry", "exit", "resize", "roll", "settlement", "liquidation", "deleveraging"}
    assert others >= 5
    assert coins >= 5


def test_a_book_has_a_column_a_rule_and_instrument_and_one_cash(market: bt.Market) -> None:
    dated = bt.Rule(long=market.perpetual, short=market.future_chain(min_days=5))
    rules = {"always": bt.Rule(long=market.spot, short=market.perpetual), "dated": dated, "premium": carry(market)}
    book = bt.run(bt.Book(rules, shares=(0.4, 0.3, 0.2)), market, execution=bt.Execution(margin="cross", idle_rate=0.05))
    portfolio = book.to_vectorbt()
    held = {(fill.rule, fill.instrument) for fill in book.fills.itertuples()}
    assert {("always", PERP), ("dated", PERP), ("premium", PERP)} <= held
    assert set(portfolio.wrapper.columns) == held
    assert len(portfolio.orders.records) == len(book.fills)
    assert portfolio.orders.records["fees"].sum() == pytest.approx(book.fills["fee"].sum())
    assert_worth_the_same(book)
    assert flows_of(book)["idle_cash"].iloc[-1] == pytest.approx(book.attribution["idle_cash"].iloc[-1])


def test_statistics_of_vectorbt_come_out(market: bt.Market) -> None:
    result = bt.run(carry(market), market)
    legs, whole = result.to_vectorbt(), result.to_vectorbt(flows=True)
    stats = whole.stats()
    assert stats["Total Return [%]"] == pytest.approx(100.0 * result.metrics["total_return"])
    assert stats["Max Drawdown [%]"] == pytest.approx(100.0 * result.metrics["max_drawdown"])
    assert stats["Total Fees Paid"] == pytest.approx(result.fills["fee"].sum())
    assert legs.stats()["Total Fees Paid"] == stats["Total Fees Paid"]
    assert stats["Start"] == result.equity.index[0]
    assert legs.stats()["Total Closed Trades"] == 2 * result.trades["exited_at"].notna().sum()
    assert np.isfinite(whole.sharpe_ratio())
    assert legs.wrapper.freq == pd.Timedelta("1h")
    (flows,) = whole.trades.records.loc[whole.trades.records["col"] == 2].itertuples()
    assert flows.pnl == pytest.approx(flows_of(result).iloc[-1].sum())
    assert flows.entry_price == result.capital


def test_flows_that_take_more_than_the_capital_still_have_a_price(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, PERP)
    tables.funding[PERP]["rate"] = -0.2
    market = load(tmp_path, tables)
    always = bt.Rule(long=market.spot, short=market.perpetual, size=3.0, resize=None)
    result = bt.run(always, market, execution=bt.Execution(margin="off"))
    assert flows_of(result).sum(axis=1).min() < -result.capital
    assert (result.to_vectorbt(flows=True).close > 0.0).all(axis=None)
    assert_worth_the_same(result)


def test_a_run_without_a_fill_has_its_legs_as_columns(tmp_path: Path) -> None:
    market = load(tmp_path, only(ether(), SPOT, PERP))
    result = bt.run(bt.Rule(long=market.spot, short=market.perpetual, signal=np.zeros(len(market)), enter=1.0), market)
    portfolio = result.to_vectorbt()
    assert list(portfolio.wrapper.columns) == [SPOT, PERP]
    assert (portfolio.value() == result.capital).all()
    assert portfolio.stats()["Total Trades"] == 0
    assert_worth_the_same(result)


def test_an_instrument_that_was_listed_later_has_a_price_before(tmp_path: Path) -> None:
    """Its first close is taken back to the beginning by vectorbt; nothing is held there, so that nothing is worth anything."""
    tables = only(ether(), SPOT, PERP, FAR)
    tables.bars[FAR] = tables.bars[FAR].iloc[50:]
    market = load(tmp_path, tables)
    result = bt.run(bt.Rule(long=market.spot, short=market.future_chain()), market, execution=bt.Execution(margin="off"))
    assert result.fills["time"].iloc[0] > market.clock[49]
    portfolio = result.to_vectorbt()
    assert portfolio.close[FAR].isna().sum() == 50
    assert portfolio.value().notna().all()
    assert_worth_the_same(result)


def test_inverse_contracts_are_refused_in_one_sentence(market: bt.Market) -> None:
    result = traded(spot([100.0] * 4), perpetual([100.0] * 4, face=1.0), **once(4))
    told = r"needs contracts that pay in their quote currency: SHORT is inverse and pays in coin.*use result\.equity"
    with pytest.raises(bt.ParameterError, match=told):
        result.to_vectorbt()


def test_importing_the_package_brings_no_vectorbt_and_the_bridge_does_when_asked() -> None:
    import subprocess
    import sys

    code = "import sys, backtest, backtest.bridge; print('vectorbt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
