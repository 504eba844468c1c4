"""Runs made up for the report's tests: no engine behind them, but every number fits every other.

The long leg is bought and the short one sold at each entry; price, funding, interest, costs and liquidation are posted bar by bar, equity is the
capital plus their sum, a trade's attribution is the sum of its own bars, fills carry the fees that the ledger books.

    run = make_run(bars=24 * 365, trades=12)
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.luck import Luck
from backtest.plateau import Plateau

SOURCES = (
    "price_long",
    "price_short",
    "legging",
    "funding",
    "financing",
    "idle_cash",
    "borrow",
    "staking",
    "fees",
    "slippage",
    "settlement",
    "liquidation",
)
REASONS = (
    "signal",
    "expiry",
    "time",
    "stop",
    "days to expiry",
    "loss",
    "drawdown",
    "exposure",
    "liquidity",
    "recall",
    "unfilled",
    "no convergence",
    "deleveraging",
)
FILL_COLUMNS = ("time", "trade", "slot", "instrument", "action", "quantity", "reference", "price", "fee", "slippage")
TRADE_COLUMNS = (
    "entered_at",
    "exited_at",
    "side",
    "contract",
    "quantity",
    "entry_long",
    "entry_short",
    "exit_long",
    "exit_short",
    "settlement_price",
    "entry_premium",
    "exit_premium",
    "reason",
    "pnl",
    "worst",
    "best",
    "attribution",
)
LIQUIDATION_COLUMNS = (
    "time",
    "trade",
    "slot",
    "contract",
    "action",
    "quantity",
    "entry",
    "mark",
    "account",
    "maintenance",
    "price",
    "fee",
    "absorbed",
    "legging",
    "cost",
    "needed_by",
    "shortfall",
    "top_up_by",
    "top_up",
    "kept_until",
    "kept_reason",
    "saved",
)
EXPOSURE = ("long_notional", "short_notional", "gross", "net", "margin_use", "distance")
REGIME = ("time", "bars", "held", "pnl", "annual_return", "trades", "won", "trade_pnl")
SENSITIVITY = ("factor", "final_equity", "total_return", "sharpe", "max_drawdown", "trades", "liquidations")
QUALITY = ("kind", "start", "end", "bars", "expected", "longest_hole", "stale", "payments", "missing_payments", "quoted", "marked")
CURVE = ("trade", "time", "contract", "days", "premium", "chosen")
FACTORS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
BASELINES = {"hold spot": 3.5, "T-bills": 1.03, "zero cost": 1.1}  # name → final equity over capital
FEE, HALF_SPREAD, IDLE_RATE = 0.0007, 0.0001, 0.03
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Dataset:
    name: str = "sample"
    hash: str = "3f9a1c2be47d05568b1f0c9a7e6d4b3a29181706f5e4d3c2b1a09f8e7d6c5b4a"
    simulated: bool = True


@dataclass(kw_only=True)
class Run:
    """The attributes of a result, nothing else."""

    equity: "pd.Series[float]"
    premium: "pd.Series[float] | None"
    positions: pd.DataFrame
    fills: pd.DataFrame
    trades: pd.DataFrame
    liquidations: pd.DataFrame
    attribution: pd.DataFrame
    metrics: dict[str, float | int | None]
    start: pd.Timestamp
    end: pd.Timestamp
    bars: int
    capital: float = 1_000_000.0
    strategy: str = "CashAndCarry"
    quote: str = "USDT"
    premium_label: str = "annualized premium of the contract held"
    dataset: Dataset = field(default_factory=Dataset)
    params: dict[str, object] = field(
        default_factory=lambda: {"enter": 0.08, "exit": 0.02, "min_days": 14.0, "max_hold": "120D", "stop": None}
    )
    rule_text: dict[str, str] = field(
        default_factory=lambda: {
            "long": "ETHUSDT-SPOT",
            "short": "chain of dated futures, at least 14 days to expiry",
            "margin": "isolated, leverage 1",
            "size": "0.5 of equity",
            "cooldown": "none",
            "entry_tranches": "1",
        }
    )
    at_default: frozenset[str] = frozenset({"cooldown", "entry_tranches"})
    by_rule: pd.DataFrame | None = None
    correlation: pd.DataFrame | None = None
    reserve: "pd.Series[float] | None" = None
    baselines: pd.DataFrame = field(default_factory=pd.DataFrame)
    baseline_curves: pd.DataFrame = field(default_factory=pd.DataFrame)
    baselines_left_out: dict[str, str] = field(default_factory=dict)
    exposure: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(EXPOSURE)))
    by_regime: pd.DataFrame | None = None
    regimes_left_out: str = ""
    sensitivity: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SENSITIVITY)))
    quality: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(QUALITY)))
    entry_curves: pd.DataFrame | None = None
    luck: Luck | None = None
    reproduce: str = 'market = bt.load_market("data/sample")\nresult = bt.run(CashAndCarry(), market)'
    notes: list[str] = field(
        default_factory=lambda: [
            "Six contracts were settled at the dataset's settlement prices; one at the mean of the index over the venue's averaging window.",
            "Idle cash earned the dataset's risk_free rate.",
        ]
    )


@dataclass
class _Book:
    """The growing ledger of a made-up run."""

    flows: dict[str, Array]
    fills: list[tuple[object, ...]] = field(default_factory=list)
    trades: list[tuple[object, ...]] = field(default_factory=list)
    liquidations: list[tuple[object, ...]] = field(default_factory=list)
    quantity: float = 200.0
    held: Array = field(default_factory=lambda: np.zeros(0))  # quantity at each close

    def fill(self, row: tuple[object, ...], bar: int, fee: float, slippage: float, fee_source: str = "fees") -> dict[str, float]:
        self.fills.append((*row, fee, slippage))
        self.flows[fee_source][bar] -= fee
        self.flows["slippage"][bar] -= slippage
        return {fee_source: -fee, "slippage": -slippage}


def make_run(
    *,
    bars: int = 24 * 365,
    trades: int = 12,
    start: str = "2023-01-01",
    step: str = "1h",
    last_open: bool = False,
    liquidation: bool = False,
    simulated: bool = True,
    seed: int = 1,
) -> Run:
    """A run of `trades` trades spread over `bars` bars; the last may stay open, the middle one may be liquidated."""
    random = np.random.default_rng(seed)
    begin = pd.Timestamp(start, tz="UTC")
    stamps = pd.DatetimeIndex(begin + pd.Timedelta(step) * np.arange(1, bars + 1)).as_unit("ns")
    years = pd.Timedelta(step) / pd.Timedelta("365D")
    spot = 2000 * np.exp(np.cumsum(random.normal(0, 0.7 * np.sqrt(years), bars)))
    level = 0.09 + 0.07 * np.sin(np.arange(bars) * years * 9) + random.normal(0, 0.008, bars)
    days_left = 90 - np.arange(bars) * years * 365 % 90
    future = spot * (1 + level * days_left / 365)
    book = _Book({source: np.zeros(bars) for source in SOURCES}, quantity=200.0 if trades < 500 else 10.0, held=np.zeros(bars))
    book.flows["idle_cash"][:] = 500_000 * IDLE_RATE * years
    width = max(bars // max(trades, 1), 4)
    for number in range(trades):
        first = number * width + width // 5 + 1
        last = bars if last_open and number == trades - 1 else number * width + (4 * width) // 5 + 1
        reason = "end of data" if last == bars else REASONS[number % len(REASONS)]
        if liquidation and number == trades // 2:
            reason = "liquidation"
        _trade(book, stamps, (spot, future), first, last, number, reason)
    run = _finish(book, stamps, begin, pd.Series(level, index=stamps).where(days_left > 1), simulated)
    run.exposure = _exposure(run, book.held, spot, future)
    run.by_regime = _regimes(run, book.held)
    run.entry_curves = _curves(run)
    return run


def _trade(book: _Book, stamps: pd.DatetimeIndex, closes: tuple[Array, Array], first: int, last: int, number: int, reason: str) -> None:
    spot, future = closes
    held, q, out = slice(first, last), book.quantity, last - 1
    contract = f"ETHUSDT-{stamps[first]:%y%m}28"
    cash = dict.fromkeys(SOURCES, 0.0)

    def add(more: dict[str, float]) -> None:
        for source, value in more.items():
            cash[source] += value

    for source, path, sign in (("price_long", spot, 1), ("price_short", future, -1)):
        change = sign * q * np.diff(path[first - 1 : last])
        book.flows[source][held] += change
        cash[source] = float(change.sum())
    funding = np.where(stamps[held].hour % 8 == 0, q * spot[held] * 0.00003, 0.0)
    book.flows["funding"][held] += funding
    add({"funding": float(funding.sum()), "idle_cash": float(book.flows["idle_cash"][held].sum())})
    entered = stamps[first - 1]
    for slot, instrument, path, sign in (("long", "ETHUSDT-SPOT", spot, 1), ("short", contract, future, -1)):
        reference = path[first - 1]
        row = (entered, number, slot, instrument, "entry", sign * q, reference, reference * (1 + sign * HALF_SPREAD))
        add(book.fill(row, first, FEE * q * reference, HALF_SPREAD * q * reference))
    exited: object = pd.NaT
    if reason != "end of data":
        exited = stamps[out]
        for slot, instrument, path, sign in (("long", "ETHUSDT-SPOT", spot, -1), ("short", contract, future, 1)):
            forced = {"expiry": "settlement", "liquidation": "liquidation", "deleveraging": "deleveraging"}
            action = "exit" if slot == "long" else forced.get(reason, "exit")
            fee_source = action if action in ("settlement", "liquidation") else "fees"
            fee = {"liquidation": 0.0125, "settlement": 0.0005, "deleveraging": 0.0}.get(action, FEE) * q * path[out]
            row = (exited, number, slot, instrument, action, sign * q, path[out], path[out] * (1 + sign * HALF_SPREAD))
            add(book.fill(row, min(out + 1, len(spot) - 1), fee, HALF_SPREAD * q * path[out] if action == "exit" else 0.0, fee_source))
    if reason in ("liquidation", "deleveraging"):
        book.liquidations.append(_forced(number, contract, reason, stamps, (first, out), q, (future[first - 1], future[out])))
    settled = reason == "expiry"
    premiums = [future[first - 1] / spot[first - 1] - 1, future[out] / spot[out] - 1]
    prices = [spot[first - 1], future[first - 1], spot[out], np.nan if settled else future[out], future[out] if settled else np.nan]
    pnl = sum(cash.values())
    marks = [pnl, *(q * (spot[held] - spot[first - 1] - future[held] + future[first - 1]))]
    book.trades.append((entered, exited, 1, contract, q, *prices, *premiums, reason, pnl, min(marks), max(marks), cash))
    book.held[held] = q


def _forced(
    number: int, contract: str, action: str, stamps: pd.DatetimeIndex, bars: tuple[int, int], q: float, prices: tuple[float, float]
) -> tuple[object, ...]:
    """What a result would say of a forced close; of a deleveraging no account and no top-up."""
    entry, price = prices
    if action == "deleveraging":
        nothing = (pd.NaT, np.nan, pd.NaT, np.nan, pd.NaT, "", np.nan)
        return (stamps[bars[1]], number, "short", contract, action, -q, *[np.nan] * 4, price, 0.0, 0.0, -55.5, 55.5, *nothing)
    fee, maintenance = 0.0125 * q * price, 0.01 * q * price
    when = (stamps[bars[1] - 1], 456.25, stamps[bars[1]], 7890.5, stamps[-1], "expiry", 1234.75)
    account = (maintenance - 456.25, maintenance)
    return (
        stamps[bars[1]],
        number,
        "short",
        contract,
        action,
        -q,
        entry,
        price * 1.001,
        *account,
        price,
        fee,
        20.5,
        -77.0,
        fee + 56.5,
        *when,
    )


def _finish(book: _Book, stamps: pd.DatetimeIndex, begin: pd.Timestamp, premium: "pd.Series[float]", simulated: bool) -> Run:
    attribution = pd.DataFrame(book.flows, index=stamps, columns=list(SOURCES)).cumsum()
    equity = 1_000_000.0 + attribution.sum(axis=1)
    trades = pd.DataFrame(book.trades, columns=list(TRADE_COLUMNS))
    trades["exited_at"] = pd.to_datetime(trades["exited_at"], utc=True)
    trades["entered_at"] = pd.to_datetime(trades["entered_at"], utc=True)
    liquidations = pd.DataFrame(book.liquidations, columns=list(LIQUIDATION_COLUMNS))
    held = (trades["exited_at"] - trades["entered_at"]).dt.total_seconds() / 86400
    years = (stamps[-1] - begin) / pd.Timedelta("365D")
    growth = float(equity.iloc[-1]) / 1_000_000.0
    daily = equity.resample("1D").last().pct_change().dropna()
    depth = float((equity / equity.cummax().clip(lower=1_000_000.0) - 1).min())
    several = len(daily) > 1
    metrics: dict[str, float | int | None] = {
        "total_return": growth - 1,
        "annual_return": growth ** (1 / years) - 1,
        "annual_volatility": float(daily.std() * np.sqrt(365)) if several else None,
        "sharpe": float(daily.mean() / daily.std() * np.sqrt(365)) if several else None,
        "excess_sharpe": float((daily.mean() - 1e-5) / daily.std() * np.sqrt(365)) if several else None,
        "sortino": None,
        "calmar": float("nan"),
        "max_drawdown": -depth,
        "time_in_market": 0.6 if len(trades) else 0.0,
        "turnover": 4.0 * len(trades),
        "trades": len(trades),
        "win_rate": float((trades["pnl"] > 0).mean()) if len(trades) else None,
        "avg_hold_days": float(held.mean()) if len(trades) else None,
        "spot_beta": 0.00123 if several else None,
        "hedged_share": 0.875 if len(trades) else None,
    }
    return Run(
        equity=equity,
        premium=premium,
        positions=pd.DataFrame({"long_quantity": 0.0, "short_quantity": 0.0, "contract": ""}, index=stamps),
        fills=pd.DataFrame(book.fills, columns=list(FILL_COLUMNS)),
        trades=trades,
        liquidations=liquidations,
        attribution=attribution,
        metrics=metrics,
        start=begin,
        end=stamps[-1],
        bars=len(stamps),
        dataset=Dataset(simulated=simulated),
        sensitivity=_sensitivity(equity, metrics, len(liquidations)),
        quality=_quality(stamps),
        **_beside(equity, begin),
    )


def _exposure(run: Run, held: Array, spot: Array, future: Array) -> pd.DataFrame:
    """What the made-up position is worth at each close; its margin is half of the short leg's notional at the entry."""
    long, short = held * spot, -held * future
    equity = run.equity.to_numpy()
    margined = held > 0
    entry = np.full(len(held), np.nan)
    began = np.flatnonzero(margined & ~np.concatenate([[False], margined[:-1]]))
    for first in began:
        entry[first:] = future[first]
    account = np.where(margined, held * (1.5 * entry - future), np.nan)
    use = np.where(margined, 0.01 * -short / np.maximum(account, 1.0), 0.0)
    distance = np.where(margined, np.maximum(1.5 * entry / (1.01 * future) - 1.0, 0.0), np.nan)
    columns = (long, short, (long - short) / equity, (long + short) / equity, np.minimum(use, 1.2), distance)
    return pd.DataFrame(dict(zip(EXPOSURE, columns, strict=True)), index=run.equity.index)


def _regimes(run: Run, held: Array) -> pd.DataFrame:
    """Thirds of the run, each called a regime, and its first bar, of which nothing is known."""
    names = np.array(["calm", "trending", "stressed"])[np.arange(run.bars) * 3 // run.bars]
    names[0] = "unknown"
    gains = np.diff(run.equity.to_numpy(), prepend=run.capital)
    stamps, years = run.equity.index, (run.end - run.start) / pd.Timedelta("365D")
    entered = names[np.minimum(stamps.searchsorted(run.trades["entered_at"]), run.bars - 1)] if len(run.trades) else np.array([])
    rows = {}
    for name in pd.unique(names):
        here, mine = names == name, run.trades[entered == name]
        pnl = float(gains[here].sum())
        rate = pnl / run.capital / (years * float(here.mean()))
        row = (here.mean(), int(here.sum()), float((held[here] > 0).mean()), pnl, rate, len(mine), int((mine["pnl"] > 0).sum()))
        rows[name] = dict(zip(REGIME, (*row, float(mine["pnl"].sum())), strict=True))
    return pd.DataFrame.from_dict(rows, orient="index")


def _sensitivity(equity: "pd.Series[float]", metrics: dict[str, float | int | None], liquidations: int) -> pd.DataFrame:
    """The run without costs and with more of them: each factor takes as much as the one before."""
    gain = float(equity.iloc[-1]) - 1_000_000.0
    ends = [1_000_000.0 + gain - 25_000.0 * (factor - 1.0) for factor in FACTORS]
    rest = (metrics["sharpe"], metrics["max_drawdown"], metrics["trades"], liquidations)
    rows = [(factor, end, end / 1_000_000.0 - 1.0, *rest) for factor, end in zip(FACTORS, ends, strict=True)]
    return pd.DataFrame(rows, columns=list(SENSITIVITY))


def _quality(stamps: pd.DatetimeIndex) -> pd.DataFrame:
    """A spot that lacks three bars, and a future with quotes and marks."""
    count, step = len(stamps), pd.Timedelta("1h")
    rows = {
        "ETHUSDT-SPOT": ("spot", stamps[0], stamps[-1], max(count - 3, 1), count, 4 * step, 2, 0, 0, 0.0, 0.0),
        "ETHUSDT-PERP": ("perpetual", stamps[0], stamps[-1], count, count, step, 0, count // 8, 1, 0.0, 1.0),
        "ETHUSDT-230628": ("future", stamps[0], stamps[-1], count, count, step, 0, 0, 0, 0.875, 1.0),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(QUALITY))


def _curves(run: Run) -> pd.DataFrame:
    """Three contracts at each entry; the second is the chosen one."""
    rows = []
    for number, trade in enumerate(run.trades.itertuples()):
        for place, days in enumerate((20.0, 65.0, 160.0)):
            name = trade.contract if place == 1 else f"ETHUSDT-NEXT{place}"
            rows.append((number, trade.entered_at, name, days, 0.05 + 0.02 * place + 0.001 * (number % 9), place == 1))
    return pd.DataFrame(rows, columns=list(CURVE))


def make_luck() -> Luck:
    """The odds of the best of 64 combinations."""
    return Luck(
        trials=64,
        effective_trials=9.25,
        chosen=17,
        days=364,
        sharpe=1.75,
        expected_maximum=1.25,
        deflated_sharpe=0.71,
        overfitting=0.33,
        interval=(-0.25, 3.5),
        reality_check=0.21,
        white=0.34,
        baseline="T-bills",
        plateau=Plateau(neighbours=4, median_loss=0.125, worst_loss=0.5, positive=1.0, rows=(13, 16, 18, 21), ends=("enter",)),
        notes=["the best lies at an end of enter: better ones may lie beyond"],
    )


def _beside(equity: "pd.Series[float]", begin: pd.Timestamp) -> dict[str, Any]:
    """Three baselines whose curves end where their rows say, and one that is left out."""
    midnights = pd.date_range(begin.floor("D") + pd.Timedelta("1D"), equity.index[-1], freq="D")
    times = pd.DatetimeIndex([begin]).append(midnights)
    curves = {name: 1_000_000.0 * np.linspace(1.0, factor, len(times)) for name, factor in BASELINES.items()}
    row = {"annual_return": 0.05, "annual_volatility": 0.1, "sharpe": None, "max_drawdown": 0.02}
    rows = {
        name: {"final_equity": 1_000_000.0 * factor, "total_return": factor - 1.0, **row, "what": f"what {name} is"}
        for name, factor in BASELINES.items()
    }
    return {
        "baselines": pd.DataFrame.from_dict(rows, orient="index"),
        "baseline_curves": pd.DataFrame(curves, index=times),
        "baselines_left_out": {"always-on funding carry": "the market has no perpetual; import one"},
    }
