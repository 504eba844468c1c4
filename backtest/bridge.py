"""The bridge to vectorbt: a finished run as a Portfolio, for those whose tools begin there.

Every fill, settlement and liquidation of the run is an order of the Portfolio: in the bar in which it happened, at its own price (slippage is in it), with the
fee that was paid. Cash is shared by all legs. vectorbt knows no funding, interest or margin: what these brought is beside the Portfolio, or one column of it.

portfolio = result.to_vectorbt()            # value() is the run's equity less bridge.flows_of(result).sum(axis=1)
portfolio = result.to_vectorbt(flows=True)  # value() is the run's equity
portfolio.stats(); portfolio.trades.records_readable
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from backtest.book_result import BookResult
from backtest.errors import ParameterError
from backtest.instruments import Settle
from backtest.market import Market
from backtest.result import Result

if TYPE_CHECKING:
    import vectorbt

UNFILLED = ("funding", "financing", "idle_cash", "borrow", "staking")  # sources that no fill has
FEES = ("fees", "settlement", "liquidation")  # what the fills have as fees, but for what venues absorbed and what transfers cost
FLOWS = "flows"  # the column that stands for all of them


def portfolio_of(result: Result | BookResult, *, flows: bool = False) -> "vectorbt.Portfolio":
    """A run's fills as a vectorbt Portfolio: one group with shared cash, a column an instrument; of a book a column a rule and instrument.

    flows: one more column, a unit bought on the first bar for the capital and never sold, that gains what `flows_of` has. With it value() is the run's equity, and
    so are returns, drawdowns and their like; without it value() is equity less the flows, and cash, exposure and trades are those of the legs alone.
    An order stands in the bar in which it filled, and bears its stamp: a fill at a bar's open that of the bar's end.
    Raises ParameterError for inverse contracts.
    """
    import vectorbt

    runs, market = result._runs, result._market
    for one in runs.values():
        refuse_coins(one, market)
    orders = pd.concat([orders_of(one).assign(rule=label) for label, one in runs.items()], ignore_index=True)
    places = list(dict.fromkeys(zip(orders["rule"], orders["instrument"], strict=True)))
    places = places or [(label, leg.contracts[0]) for label, one in runs.items() for leg in one._prepared.rule.legs if leg is not None]
    closes = [market.last_known(instrument) for _, instrument in places]
    if flows:
        gained = flows_of(result).sum(axis=1).to_numpy()
        price = max(result.capital, 1.0 - float(gained.min()))  # so that a unit's return is that on the capital, and above zero
        orders.loc[len(orders)] = {"bar": 0, "instrument": FLOWS, "quantity": 1.0, "price": price, "fee": 0.0, "rule": ""}
        places, closes = [*places, ("", FLOWS)], [*closes, price + gained]
    names = [name for _, name in places] if isinstance(result, Result) else pd.MultiIndex.from_tuples(places, names=["rule", "instrument"])
    wrapper = vectorbt.ArrayWrapper(market.clock, names, 2, freq=pd.Timedelta(market.step), group_by=True)
    none = np.empty(0, vectorbt.portfolio.enums.log_dt)
    return vectorbt.Portfolio(
        wrapper, wrapper.wrap(np.column_stack(closes), group_by=False), records_of(orders, places), none, np.array([result.capital]), True
    )


def flows_of(result: Result | BookResult) -> pd.DataFrame:
    """What a Portfolio of the fills doesn't have: cumulated cash at every bar's close; `other` is what venues absorbed, less transfers between wallets."""
    paid = np.zeros(result.bars)
    for one in result._runs.values():
        orders = orders_of(one)
        paid += np.bincount(orders["bar"], orders["fee"], result.bars)
    table = result.attribution
    return table[list(UNFILLED)].assign(other=table[list(FEES)].sum(axis=1) + paid.cumsum())


def orders_of(result: Result) -> pd.DataFrame:
    """A run's fills in their order: bar (its number), instrument, quantity (signed), price, fee (cash, negative for a rebate)."""
    return result.fills[["instrument", "quantity", "price", "fee"]].assign(bar=result._log.fills["bar"])


def records_of(orders: pd.DataFrame, places: list[tuple[str, str]]) -> Any:
    """The orders as vectorbt's records: by column, and in a column by bar; those of one bar stay in their order."""
    from vectorbt.portfolio.enums import OrderSide, order_dt

    number = {place: column for column, place in enumerate(places)}
    records = np.zeros(len(orders), order_dt)
    records["col"] = [number[place] for place in zip(orders["rule"], orders["instrument"], strict=True)]
    records["idx"], records["price"], records["fees"] = orders["bar"], orders["price"], orders["fee"]
    records["size"] = orders["quantity"].abs()
    records["side"] = np.where(orders["quantity"] < 0.0, OrderSide.Sell, OrderSide.Buy)
    records = records[np.lexsort((records["idx"], records["col"]))]
    records["id"] = np.arange(len(records))
    return records


def refuse_coins(result: Result, market: Market) -> None:
    """Raise ParameterError where a leg pays in coin: vectorbt's cash and prices are of one currency."""
    for leg in result._prepared.rule.legs:
        if leg is not None and market.instruments[leg.contracts[0]].settle is Settle.INVERSE:
            raise ParameterError(
                f"to_vectorbt needs contracts that pay in their quote currency: {leg.contracts[0]} is inverse and pays in coin, "
                "which no vectorbt Portfolio can hold; use result.equity and result.attribution"
            )
