"""A second opinion on the books: when and how much a run traded, handed to vectorbt's Portfolio, gives the same equity at every bar.

From the run come only the instants and the quantities. Prices and funding are read from the dataset's tables, costs from the settings. vectorbt knows no
funding: it is one more column, whose price is the funding that one unit sold has got so far and which is held as much as the perpetual is sold.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import FAR, NEAR, NEAR_EXPIRY, PERP, SPOT, ether, load, only

import backtest as bt
from backtest.data.schema import Tables

CAPITAL = 100_000.0
NEARNESS = 1e-9 * CAPITAL
SPREADS = {SPOT: 0.0002, PERP: 0.0003, NEAR: 0.0003, FAR: 0.0003}  # half of them
FEES = {SPOT: 0.001, PERP: 0.0005, NEAR: 0.0005, FAR: 0.0005}
DELIVERY = 0.0002
COSTS = bt.Execution(
    margin="off", spot_fee=FEES[SPOT], derivative_fee=FEES[PERP], half_spread=(SPREADS[SPOT], SPREADS[PERP]),
    delivery_fee=DELIVERY, idle_rate=0.0, borrow_rate=0.0,
)  # fmt: skip


@dataclass(frozen=True)
class Orders:
    """What vectorbt is told, by column: size (NaN for none), price before slippage, fee and slippage as fractions. [bar]"""

    close: pd.DataFrame
    size: pd.DataFrame
    price: pd.DataFrame
    fees: pd.DataFrame
    slippage: pd.DataFrame

    def equity(self) -> pd.Series:
        """Worth of the whole portfolio at every close, by vectorbt."""
        import vectorbt

        rest = {name: getattr(self, name).to_numpy() for name in ("size", "price", "fees", "slippage")}
        portfolio = vectorbt.Portfolio.from_orders(
            self.close, **rest, init_cash=CAPITAL, cash_sharing=True, group_by=True, freq="1h", engine="rust"
        )
        assert len(portfolio.orders.records_arr) == self.size.notna().to_numpy().sum(), "an order was cut or refused"
        return portfolio.value()


def filled(tables: Tables, result: bt.Result, names: tuple[str, ...]) -> Orders:
    """The run's fills as orders at the dataset's opens; settlements at the dataset's settlement price."""
    clock = result.equity.index
    known = {name: tables.bars[name].reindex(clock) for name in names}
    close = pd.DataFrame({name: bars["close"].ffill() for name, bars in known.items()})
    price = pd.DataFrame({name: bars["open"] for name, bars in known.items()})
    fees, slippage = (close * 0.0 + pd.Series(costs)[list(names)] for costs in (FEES, SPREADS))
    orders = Orders(close, close * np.nan, price, fees, slippage)
    settled = tables.settlements.set_index("instrument")["price"]
    for fill in result.fills.itertuples():
        settlement = fill.action == "settlement"
        # an open is the instant at which its bar begins, an expiry lies in its bar or is its end
        place = clock[clock.searchsorted(fill.time, side="left" if settlement else "right")], fill.instrument
        assert np.isnan(orders.size.loc[place])
        orders.size.loc[place] = fill.quantity
        if settlement:
            orders.price.loc[place], orders.fees.loc[place], orders.slippage.loc[place] = settled[fill.instrument], DELIVERY, 0.0
    return orders


def with_funding(orders: Orders, tables: Tables) -> Orders:
    """One more column that pays the perpetual's funding."""
    clock, events = orders.close.index, tables.funding[PERP]
    paid_on = events["mark_price"].fillna(orders.close[PERP].asof(events.index))  # the event's own mark, else the last close
    paid = (events["rate"] * paid_on)[events.index >= clock[0]]
    so_far = paid.groupby(clock[clock.searchsorted(paid.index)]).sum().reindex(clock, fill_value=0.0).cumsum()
    base = 1.0 - min(so_far.min(), 0.0)  # vectorbt refuses a price of zero or less
    column = {
        "close": base + so_far,
        "size": -orders.size[PERP],
        "price": base + so_far.shift(fill_value=0.0),
        "fees": 0.0,
        "slippage": 0.0,
    }
    return Orders(**{name: getattr(orders, name).assign(funding=values) for name, values in column.items()})


@pytest.fixture(scope="module")
def tables() -> Tables:
    """Twelve weeks of hours; every third payment has a mark of its own, some are negative."""
    made = only(ether(2016), SPOT, PERP)
    events = made.funding[PERP]
    events["rate"] = np.random.default_rng(5).normal(2e-4, 4e-4, len(events))
    events.iloc[::3, events.columns.get_loc("mark_price")] = 2000.0 + np.arange(len(events))[::3]
    return made


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, tables: Tables) -> bt.Market:
    return load(tmp_path_factory.mktemp("second_opinion"), tables)


def carry(market: bt.Market, **more: Any) -> bt.Rule:
    """In and out by the premium's distance from its mean."""
    premium = bt.premium(market, market.perpetual) - 0.0005
    return bt.Rule(long=market.spot, short=market.perpetual, signal=premium, enter=3e-4, exit=-5e-4, **more)


@pytest.mark.parametrize("sides", ["plus", "minus", "both"])
def test_spot_against_perpetual_with_funding_is_worth_the_same_at_every_bar(market: bt.Market, tables: Tables, sides: str) -> None:
    result = bt.run(carry(market, sides=sides, resize=1.01), market, capital=CAPITAL, execution=COSTS)
    actions = result.fills["action"].value_counts()
    assert len(result.trades) >= 10
    assert actions["resize"] >= 10
    assert result.trades["side"].nunique() == (2 if sides == "both" else 1)
    assert result.attribution["funding"].abs().max() > 0.001 * CAPITAL
    theirs = with_funding(filled(tables, result, (SPOT, PERP)), tables).equity()
    assert (theirs - result.equity).abs().max() <= NEARNESS


def test_funding_of_the_other_sign_would_be_noticed(market: bt.Market, tables: Tables) -> None:
    result = bt.run(carry(market), market, capital=CAPITAL, execution=COSTS)
    turned = Tables(**{**vars(tables), "funding": {PERP: tables.funding[PERP].assign(rate=-tables.funding[PERP]["rate"])}})
    theirs = with_funding(filled(turned, result, (SPOT, PERP)), turned).equity()
    gap = result.equity - theirs
    assert gap.iloc[-1] == pytest.approx(2.0 * result.attribution["funding"].iloc[-1], abs=NEARNESS)
    assert abs(gap.iloc[-1]) > 1000 * NEARNESS


def test_a_dated_future_that_settles_is_worth_the_same_at_every_bar(tmp_path: Path) -> None:
    """The near contract settles on the fifth day, spot is sold at the next open, and the far one is sold until the end."""
    tables = only(ether(), SPOT, NEAR, FAR)
    market = load(tmp_path, tables)
    result = bt.run(bt.Rule(long=market.spot, short=market.future_chain()), market, capital=CAPITAL, execution=COSTS)
    assert result.fills.loc[result.fills["action"] == "settlement", "time"].tolist() == [NEAR_EXPIRY]
    assert result.fills["instrument"].unique().tolist() == [SPOT, NEAR, FAR]
    theirs = filled(tables, result, (SPOT, NEAR, FAR)).equity()
    assert (theirs - result.equity).abs().max() <= NEARNESS
