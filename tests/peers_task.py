"""One carry trade for several engines: its input, how this package runs it, and how 0xarchive-backtest and fractal-defi do.

Spot is bought and the perpetual sold when the premium is at or above ENTER at a close, both are left when it is at or below EXIT or after the longest
hold, and orders fill at the next bar's open. The premium returns to 5 bps with a half-life of half a day; every 480 minutes a payment whose rate is the
mean premium of the 480 bars before it. 0xarchive-backtest fills, pays funding and marks by itself; fractal-defi has accounts for a spot and for a
perpetual (funding, margin, liquidation), which are shown a fill's price, the close and the high of every bar in turn.

    task = generate(43_200)
    ours(folder, task).equity, archive(task), fractal(task).equity
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from markets import PERP, SPOT, START, funding, instrument, load, times

import backtest as bt
from backtest.data.schema import Tables
from backtest.instruments import Kind

Floats = npt.NDArray[np.float64]

CAPITAL, SIZE = 1_000_000.0, 0.4
ENTER, EXIT, LONGEST_HOLD = 8e-4, 2e-4, 2880  # premium as fractions, hold in bars
FEE, HALF_SPREAD = 4e-4, 1e-4
FUNDING_EVERY, FUNDING_CAP = 480, 0.0075
LEVERAGE, TOP_LEVERAGE = 5.0, 20.0
MAINTENANCE = 1.0 / (2.0 * TOP_LEVERAGE)  # fractal-defi's formula
MILLISECOND = 10**6


@dataclass(frozen=True)
class Task:
    """Bars of both legs, the signal, and the funding rate that is paid at each bar's end (0 for none). [bar]"""

    spot: pd.DataFrame
    perpetual: pd.DataFrame
    signal: Floats
    rate: Floats

    def __len__(self) -> int:
        return len(self.signal)


def generate(bars: int, *, gaps: float = 0.0, marks: float = 0.0, jumps: tuple[int, ...] = (), seed: int = 7) -> Task:
    """gaps: deviation of an open from the close before. marks: that of a mark from the close. jumps: bars from whose open on all prices are 1.3 times as high."""
    random = np.random.default_rng(seed)
    spot = 3000.0 * np.exp(np.cumsum(random.normal(0.0, 6e-4, bars)))
    shocks = random.normal(0.0, 5e-5, bars)
    premium = np.empty(bars)
    level = 5e-4
    for t in range(bars):
        level += 0.001 * (5e-4 - level) + shocks[t]
        premium[t] = level
    for bar in jumps:
        spot[bar:] *= 1.3
    perpetual = spot * (1.0 + premium)
    frames = []
    for close in (spot, perpetual):
        opened = np.roll(close, 1) * (1.0 + random.normal(0.0, gaps, bars))
        opened[0] = close[0]
        for bar in jumps:
            opened[bar] *= 1.3
        columns = {"open": opened, "high": np.maximum(opened, close), "low": np.minimum(opened, close), "close": close, "volume": 1.0}
        frames.append(pd.DataFrame(columns, index=times(START, bars, "min")))
    if marks:
        frames[1]["mark"] = perpetual * (1.0 + random.normal(0.0, marks, bars))
    signal = perpetual / spot - 1.0
    means = pd.Series(signal).rolling(FUNDING_EVERY).mean().shift().to_numpy()  # of the bars before this one
    paid = (np.arange(bars) % FUNDING_EVERY == 0) & (np.arange(bars) > 0)
    return Task(*frames, signal, np.where(paid, np.clip(means, -FUNDING_CAP, FUNDING_CAP), 0.0))


def with_wicks(task: Task, bars: list[int], factor: float) -> Task:
    """The same, with a high of the perpetual that is so many times the bar's close."""
    perpetual = task.perpetual.copy()
    perpetual.iloc[bars, perpetual.columns.get_loc("high")] = perpetual["close"].iloc[bars] * factor
    return replace(task, perpetual=perpetual)


# ---------------------------------------------------------------- this package


def ours(folder: Path, task: Task, *, margin: str = "isolated", liquidation_fee: float = MAINTENANCE) -> bt.Result:
    """The run by this package, from a dataset on disk."""
    index = task.spot.index
    paid = np.arange(0, len(task), FUNDING_EVERY)
    tables = Tables(
        instruments=[instrument(SPOT, Kind.SPOT), instrument(PERP, Kind.PERPETUAL)],
        bars={SPOT: task.spot, PERP: task.perpetual},
        funding={PERP: funding(index[paid], task.rate[paid])},
    )
    market = load(folder, tables)
    hold = pd.Timedelta(minutes=LONGEST_HOLD + 1)  # the task leaves when its longest hold is exceeded
    rule = bt.Rule(
        long=market.spot, short=market.perpetual, signal=task.signal, enter=ENTER, exit=EXIT, max_hold=hold, size=SIZE, leverage=LEVERAGE, resize=None
    )  # fmt: skip
    costs = bt.Execution(
        margin=margin, spot_fee=FEE, derivative_fee=FEE, half_spread=HALF_SPREAD, maintenance=MAINTENANCE, liquidation_fee=liquidation_fee,
        idle_rate=0.0, borrow_rate=0.0,
    )  # fmt: skip
    return bt.run(rule, market, capital=CAPITAL, execution=costs)


# ---------------------------------------------------------------- the rule, for engines that ask at every close


@dataclass
class Asked:
    """Remembers what it has decided: the base units bought and sold, since which bar, how often."""

    held: float = 0.0
    since: int = 0
    trades: int = 0

    def at_close(self, bar: int, signal: float, equity: float, price: float) -> float:
        """Base units to hold from the next open on."""
        if self.held == 0.0:
            if signal >= ENTER:
                self.held, self.since = SIZE * equity / price, bar
                self.trades += 1
        elif signal <= EXIT or bar - self.since > LONGEST_HOLD:
            self.held = 0.0
        return self.held


@dataclass
class Opinion:
    """What another engine says: equity at every close, trades; where it was liquidated, (bar, quantity, price)."""

    equity: Floats
    trades: int
    funding: float = np.nan
    liquidations: list[tuple[int, float, float]] = field(default_factory=list)


# ---------------------------------------------------------------- 0xarchive-backtest


def archive(task: Task) -> Opinion:
    """Two of its perpetual markets, one of them without funding: the spot. Its rows are stamped with their beginning."""
    import oxarchive_backtest as engine

    asked = Asked()
    first = task.spot.index[0].value // MILLISECOND  # the end of the first bar

    def step(context: Any, history: Any) -> None:
        bar = (context.time - first) // 60_000
        if history.close.last()["PERP"] is None:  # asked for its needs before the first bar
            return
        before = asked.held
        change = asked.at_close(bar, task.signal[bar], context.equity, context.price("SPOT")) - before
        if change:
            context.market("SPOT", change)
            context.market("PERP", -change)

    strategy = engine.Strategy(universe=["SPOT", "PERP"], clock="1m", bars="1m", carry="1m", step=step, history="1m", fields=["close"])
    costs = {"taker_fee_bps": FEE * 1e4, "maker_fee_bps": FEE * 1e4, "fallback_slippage_bps": HALF_SPREAD * 1e4}
    session = engine.Session(strategy, ["SPOT", "PERP"], config=engine.Config(starting_cash=CAPITAL, **costs))
    marked = [frame.assign(mark=frame.get("mark", frame["close"])) for frame in (task.spot, task.perpetual)]
    rows = [frame.rename(columns={"mark": "mark_price"}).to_dict("records") for frame in marked]
    for bar, (spot, perpetual) in enumerate(zip(*rows, strict=True)):
        begun = {"ts": first + (bar - 1) * 60_000}
        paid = {"funding_settled": float(task.rate[bar])} if task.rate[bar] != 0.0 else {}
        session.step({"SPOT": spot | begun, "PERP": perpetual | begun | paid})
    report = session.report()
    return Opinion(np.array([equity for _, equity in report.equity]), asked.trades, -report.funding_paid)


# ---------------------------------------------------------------- fractal-defi


class Accounts:
    """A spot entity, which has all cash, and a perpetual entity, whose collateral is what this package sets aside."""

    def __init__(self) -> None:
        from fractal.core import entities

        self._spot_state, self._perpetual_state = entities.UniswapV3SpotGlobalState, entities.HyperliquidGlobalState
        self.spot = entities.UniswapV3SpotEntity()
        self.perpetual = entities.HyperliquidEntity(trading_fee=FEE, max_leverage=TOP_LEVERAGE)
        self.spot.action_deposit(CAPITAL)

    def show_spot(self, price: float) -> None:
        self.spot.update_state(self._spot_state(price=price))

    def show_perpetual(self, price: float, rate: float = 0.0) -> None:
        """It pays funding on this price, then looks at its margin."""
        self.perpetual.update_state(self._perpetual_state(mark_price=price, funding_rate=rate))

    def enter(self, quantity: float, spot: float, perpetual: float) -> None:
        """At these opens. The spot entity takes its fee out of what is bought, so that more is paid; the perpetual's comes out of the collateral."""
        self.show_spot(spot * (1.0 + HALF_SPREAD))
        self.spot.trading_fee = FEE / (1.0 + FEE)
        self.spot.action_buy(quantity * self.spot.current_price * (1.0 + FEE))
        sold_at = perpetual * (1.0 - HALF_SPREAD)
        self.show_perpetual(sold_at)
        collateral = quantity * sold_at * (1.0 / LEVERAGE + FEE)
        self.spot.action_withdraw(collateral)
        self.perpetual.action_deposit(collateral)
        self.perpetual.action_open_position(-quantity)

    def leave(self, spot: float, perpetual: float) -> None:
        """Both legs, or what a liquidation has left of them."""
        self.show_spot(spot * (1.0 - HALF_SPREAD))
        self.spot.trading_fee = FEE
        self.spot.action_sell(self.spot.internal_state.amount)
        if self.perpetual.size != 0.0:
            self.show_perpetual(perpetual * (1.0 + HALF_SPREAD))
            self.perpetual.action_open_position(-self.perpetual.size)
        left = self.perpetual.balance
        self.perpetual.action_withdraw(left)
        self.spot.action_deposit(left)

    @property
    def equity(self) -> float:
        return float(self.spot.balance + self.perpetual.balance)


def fractal(task: Task, *, see_highs: bool = True) -> Opinion:
    """Its accounts, traded at the opens. see_highs: show the perpetual its bars' highs too, without which only closes (and fills) can liquidate."""
    accounts, asked = Accounts(), Asked()
    opinion = Opinion(np.empty(len(task)), 0)
    wanted = held = 0.0
    spot, perpetual = (frame[["open", "high", "close"]].to_numpy() for frame in (task.spot, task.perpetual))
    for bar in range(len(task)):
        if wanted != held:
            if wanted:
                accounts.enter(wanted, spot[bar, 0], perpetual[bar, 0])
            else:
                accounts.leave(spot[bar, 0], perpetual[bar, 0])
            held = wanted
        short, breach = -accounts.perpetual.size, accounts.perpetual.liquidation_price
        accounts.show_perpetual(perpetual[bar, 2], task.rate[bar])
        if see_highs:
            accounts.show_perpetual(perpetual[bar, 1])
        accounts.show_perpetual(perpetual[bar, 2])
        accounts.show_spot(spot[bar, 2])
        opinion.equity[bar] = accounts.equity
        if short != 0.0 and accounts.perpetual.size == 0.0:
            opinion.liquidations.append((bar, short, max(breach, perpetual[bar, 0])))
            asked.held = wanted = 0.0
        else:
            wanted = asked.at_close(bar, task.signal[bar], accounts.equity, spot[bar, 2])
    opinion.trades = asked.trades
    return opinion
