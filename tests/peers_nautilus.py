"""One dated future held to its expiry by nautilus_trader: a task as JSON on standard input, what its account says as JSON on standard output.

A program of its own and not a module of the tests, as it may run under another Python than they do: it imports nothing but nautilus_trader.

task: currency, capital, fee, quantity (signed), expiry (ns), settlement (price), quotes [[ns, price], …]; the order is sent at the first of them.
"""

import inspect
import json
import sys
from decimal import Decimal
from typing import Any

from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.config import BacktestEngineConfig, LoggingConfig
from nautilus_trader.model.currencies import ETH, USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoFuture
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

VENUE = Venue("SIM")
NAME = InstrumentId(Symbol("ETHUSDT-DATED"), VENUE)
TICKS, LOTS = 2, 3  # decimals


class Hold(Strategy):
    """One order at the first quote, then nothing."""

    def __init__(self, quantity: float) -> None:
        super().__init__()
        self.quantity, self.sent, self.fills = quantity, False, []

    def on_start(self) -> None:
        self.subscribe_quote_ticks(NAME)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        if not self.sent:
            side = OrderSide.BUY if self.quantity > 0.0 else OrderSide.SELL
            self.submit_order(self.order_factory.market(NAME, side, Quantity(abs(self.quantity), LOTS)))
            self.sent = True

    def on_order_filled(self, event: OrderFilled) -> None:
        sign = 1.0 if event.order_side == OrderSide.BUY else -1.0
        self.fills.append([event.ts_event, sign * float(event.last_qty), float(event.last_px), float(event.commission)])


def future(task: dict[str, Any]) -> CryptoFuture:
    """A linear future without margin requirements."""
    fee = Decimal(str(task["fee"]))
    return CryptoFuture(
        instrument_id=NAME, raw_symbol=NAME.symbol, underlying=ETH, quote_currency=USDT, settlement_currency=USDT, is_inverse=False,
        activation_ns=0, expiration_ns=task["expiry"], price_precision=TICKS, size_precision=LOTS,
        price_increment=Price(10.0**-TICKS, TICKS), size_increment=Quantity(10.0**-LOTS, LOTS), margin_init=Decimal(0),
        margin_maint=Decimal(0), maker_fee=fee, taker_fee=fee, ts_event=0, ts_init=0,
    )  # fmt: skip


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Releases that take settlement prices get the settlement price as such, with quotes left as they are; others as their last quote."""
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False))
    takes_prices = "settlement_prices" in inspect.signature(engine.add_venue).parameters
    prices = {"settlement_prices": {NAME: task["settlement"]}} if takes_prices else {}
    money = [Money(task["capital"], USDT)]
    engine.add_venue(VENUE, OmsType.NETTING, AccountType.MARGIN, money, base_currency=USDT, default_leverage=Decimal(1), **prices)
    engine.add_instrument(future(task))
    last = task["quotes"][-1][1] if takes_prices else task["settlement"]
    quotes = [*(quote for quote in task["quotes"] if quote[0] < task["expiry"]), [task["expiry"], last]]
    size = Quantity(1_000_000.0, LOTS)
    engine.add_data([QuoteTick(NAME, Price(price, TICKS), Price(price, TICKS), size, size, at, at) for at, price in quotes])
    strategy = Hold(task["quantity"])
    engine.add_strategy(strategy)
    engine.run()
    balance = engine.portfolio.account(VENUE).balance_total(USDT).as_double()
    cache = engine.cache
    realised = sum(position.realized_pnl.as_double() for position in cache.positions())
    return {
        "balance": balance, "realised": realised, "fills": strategy.fills, "open": len(cache.positions_open()), "settlement_prices": takes_prices
    }  # fmt: skip


if __name__ == "__main__":
    json.dump(run(json.load(sys.stdin)), sys.stdout)
