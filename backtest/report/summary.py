"""The figures behind the report's tables, computed from a finished run.

PnL by source comes from the cumulated ledger, so a table's column adds up to final equity less capital but for rounding, and the rest is shown
rather than hidden. A bar belongs to the instant before its stamp: the bar stamped 2022-01-01T00:00 is 2021's.

    table = attribution_table(result)
    assert abs(table.residual) < 1e-9 * result.capital
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields

import pandas as pd

from backtest.metrics import daily_equity
from backtest.report.protocol import Reportable
from backtest.report.words import known, percent

REASONS = (
    "liquidation", "deleveraging", "expiry", "stop", "loss", "drawdown", "exposure", "liquidity", "recall", "unfilled", "days to expiry", "time",
    "no convergence", "signal", "end of data",
)  # fmt: skip
COST_OF_ACTION = {"settlement": "settlement", "liquidation": "liquidation"}
COSTS = ("fees", "slippage", "settlement", "liquidation")
RULE_COLUMNS = (
    "capital",
    "final_equity",
    "pnl",
    "total_return",
    "annual_return",
    "sharpe",
    "max_drawdown",
    "trades",
    "liquidations",
)  # of `by_rule`
THIS_RUN = "this run"
NO_TRADE = "NO TRADE: "  # how a run's note on that begins
RESERVE = "reserve"
DAY = pd.Timedelta("1D")
SMALLEST_GAIN = 1e-3  # of all that was earned and lost: shares of less than that are noise


@dataclass(frozen=True)
class SourceRow:
    """One source: cash, fraction of capital, and share of the gain (None where the gain is too near zero)."""

    source: str
    cash: float
    of_capital: float
    share: float | None


@dataclass(frozen=True)
class Attribution:
    """All sources; `total` is their sum, `gain` is final equity less capital, `residual` is what the sources don't explain."""

    rows: tuple[SourceRow, ...]
    total: float
    gain: float

    @property
    def residual(self) -> float:
        """Cash that no source explains; not more than rounding, or the ledger is wrong."""
        return self.gain - self.total


@dataclass(frozen=True)
class ReasonRow:
    """The trades that ended for one reason; `pnl` and `average` in cash, `days` the mean holding time."""

    reason: str
    trades: int
    wins: int
    pnl: float
    average: float
    days: float


@dataclass(frozen=True)
class CostRow:
    """One kind of cost as cash, negative when paid; `elsewhere` is booked on no fill, such as what a venue absorbs at a liquidation."""

    kind: str
    long: float
    short: float
    elsewhere: float

    @property
    def total(self) -> float:
        """Cash over both legs and elsewhere."""
        return self.long + self.short + self.elsewhere


@dataclass(frozen=True)
class Liquidation:
    """One forced close, as in the result's `liquidations`; `trade` counts from 1. Numbers are NaN and times NaT where nothing is known."""

    time: pd.Timestamp
    trade: int
    slot: str
    contract: str
    action: str
    quantity: float
    entry: float
    mark: float
    account: float
    maintenance: float
    price: float
    fee: float
    absorbed: float
    legging: float
    cost: float
    needed_by: pd.Timestamp
    shortfall: float
    top_up_by: pd.Timestamp
    top_up: float
    kept_until: pd.Timestamp
    kept_reason: str
    saved: float
    rule: str = ""


@dataclass(frozen=True)
class Beside:
    """The run, or a baseline beside it: its figures, and what it is."""

    name: str
    final_equity: float
    total_return: float | None
    annual_return: float | None
    annual_volatility: float | None
    sharpe: float | None
    max_drawdown: float | None
    what: str


def nanoseconds(index: pd.Index) -> pd.DatetimeIndex:
    """Bar stamps at a resolution in which one nanosecond can be taken off."""
    return pd.DatetimeIndex(index).as_unit("ns")


def belongs_to(index: pd.Index) -> pd.DatetimeIndex:
    """The instant before each stamp: the one whose day, month and year a bar counts in."""
    return nanoseconds(index) - pd.Timedelta(1, "ns")


def final_equity(result: Reportable) -> float:
    """Equity at the last close; the capital if there is no bar."""
    return float(result.equity.iloc[-1]) if len(result.equity) else result.capital


def attribution_table(result: Reportable) -> Attribution:
    """Cash by source over the whole run, in the ledger's order of sources."""
    ledger = result.attribution
    last = {str(source): float(ledger[source].iloc[-1]) if len(ledger) else 0.0 for source in ledger.columns}
    gain, total = final_equity(result) - result.capital, sum(last.values())
    divisible = abs(gain) > max(SMALLEST_GAIN * sum(map(abs, last.values())), 1e-9 * result.capital)
    rows = tuple(SourceRow(name, cash, cash / result.capital, cash / gain if divisible else None) for name, cash in last.items())
    return Attribution(rows, total, gain)


def attribution_by_year(result: Reportable) -> pd.DataFrame:
    """Cash by source (rows) and calendar year (columns, as text)."""
    ledger = result.attribution
    if ledger.empty:
        return pd.DataFrame(index=ledger.columns)
    ends = ledger.groupby(belongs_to(ledger.index).year).last()
    years = ends.diff()
    years.iloc[0] = ends.iloc[0]
    years.index = years.index.astype(str)
    return years.T


def funding_by_month(result: Reportable) -> "pd.Series[float]":
    """Funding received (paid: negative) in every month of the run, 0 in one without; empty where no month had any."""
    ledger = result.attribution
    if "funding" not in ledger.columns or not ledger["funding"].to_numpy().any():
        return pd.Series(dtype=float, index=pd.PeriodIndex([], freq="M"))
    ends = ledger["funding"].groupby(belongs_to(ledger.index).tz_localize(None).to_period("M")).last()
    cash = ends.diff().fillna(ends.iloc[0])
    return cash.rename("funding")


def break_even(factors: Sequence[float], values: Sequence[float], level: float) -> float | None:
    """The multiple of the costs at which a figure first falls to a level, on the straight line between two runs; None if it doesn't."""
    pairs = list(zip(factors, values, strict=True))
    for (left, above), (right, below) in itertools.pairwise(pairs):
        if above > level >= below:
            return left + (right - left) * (above - level) / (above - below)
    return None


def drawdown(result: Reportable) -> "pd.Series[float]":
    """Fall from the running peak as a fraction ≤ 0 at every close; the capital is the first peak."""
    return result.equity / result.equity.cummax().clip(lower=result.capital) - 1


def monthly_returns(result: Reportable) -> pd.DataFrame:
    """Return of every calendar month: years as rows, months 1–12 and `year` as columns; NaN outside the run, and once nothing is left."""
    if result.equity.empty:
        return pd.DataFrame(columns=[*range(1, 13), "year"])
    month = belongs_to(result.equity.index).tz_localize(None).to_period("M")
    ends = result.equity.groupby(month).last()
    before = ends.shift(fill_value=result.capital)
    returns = (ends / before - 1).where((before > 0.0).cummin())
    index = pd.PeriodIndex(returns.index)
    table = pd.DataFrame({"year": index.year, "month": index.month, "value": returns.to_numpy()})
    wide = table.pivot(index="year", columns="month", values="value").reindex(columns=range(1, 13)).astype(object)
    wide["year"] = (1 + table.set_index("year")["value"]).groupby(level=0).prod(min_count=1) - 1
    return wide.astype(float)


def hold_days(result: Reportable) -> "pd.Series[float]":
    """Days from the first fill to the last; for a trade that is still open, to the end of the run."""
    if result.trades.empty:
        return pd.Series(dtype=float)
    entered = pd.to_datetime(result.trades["entered_at"], utc=True)
    exited = pd.to_datetime(result.trades["exited_at"], utc=True).fillna(result.end)
    return (exited - entered) / DAY


def reasons_in(result: Reportable) -> list[str]:
    """Why the trades ended, in the order in which reasons are judged."""
    present = set(result.trades["reason"].astype(str))
    return [reason for reason in REASONS if reason in present] + sorted(present - set(REASONS))


def by_reason(result: Reportable) -> list[ReasonRow]:
    """Trades grouped by the reason they ended, in the order in which reasons are judged."""
    if result.trades.empty:
        return []
    trades = pd.DataFrame({"reason": result.trades["reason"].astype(str), "pnl": result.trades["pnl"].astype(float)})
    trades["days"] = hold_days(result)
    groups = {str(reason): group for reason, group in trades.groupby("reason")}
    return [_reason_row(reason, groups[reason]) for reason in reasons_in(result)]


def _reason_row(reason: str, group: pd.DataFrame) -> ReasonRow:
    pnl = group["pnl"]
    return ReasonRow(reason, len(group), int((pnl > 0).sum()), float(pnl.sum()), float(pnl.mean()), float(group["days"].mean()))


def interest_while_flat(result: Reportable) -> float:
    """Idle cash interest outside of every trade: with the trades' PnL it makes up the run's gain."""
    whole = {row.source: row.cash for row in attribution_table(result).rows}.get("idle_cash", 0.0)
    return whole - sum(float(sources.get("idle_cash", 0.0)) for sources in result.trades["attribution"]) if len(result.trades) else whole


def costs_by_leg(result: Reportable) -> list[CostRow]:
    """What trading cost, by kind and leg; the kinds' totals are the ledger's."""
    fills = result.fills
    charges = pd.DataFrame(columns=["kind", "slot", "cash"])
    if not fills.empty:
        kind = fills["action"].astype(str).map(COST_OF_ACTION).fillna("fees")
        fees = pd.DataFrame({"kind": kind, "slot": fills["slot"].astype(str), "cash": -fills["fee"].astype(float)})
        slippage = pd.DataFrame({"kind": "slippage", "slot": fills["slot"].astype(str), "cash": -fills["slippage"].astype(float)})
        charges = pd.concat([fees, slippage])
    totals = {row.source: row.cash for row in attribution_table(result).rows}
    rows = []
    for name in COSTS:
        legs = {slot: float(charges.loc[(charges["kind"] == name) & (charges["slot"] == slot), "cash"].sum()) for slot in ("long", "short")}
        rest = totals.get(name, 0.0) - sum(legs.values())
        rows.append(CostRow(name, legs["long"], legs["short"], rest if abs(rest) > 1e-9 * result.capital else 0.0))
    return rows


def traded_notional(result: Reportable) -> dict[str, float]:
    """Quantity times price over all fills, by slot."""
    fills = result.fills
    if fills.empty:
        return {"long": 0.0, "short": 0.0}
    notional = fills["quantity"].astype(float).abs() * fills["price"].astype(float)
    return {slot: float(notional[fills["slot"].astype(str) == slot].sum()) for slot in ("long", "short")}


def liquidations(result: Reportable) -> list[Liquidation]:
    """Every forced close, in time order."""
    names = [item.name for item in fields(Liquidation) if item.name in result.liquidations.columns]
    columns = [result.liquidations[name].tolist() for name in names if name != "trade"]
    trades = [number + 1 for number in result.liquidations["trade"].astype(int).tolist()]
    named = [name for name in names if name != "trade"]
    return [Liquidation(**dict(zip(named, row, strict=True)), trade=trade) for trade, *row in zip(trades, *columns, strict=True)]


def several_rules(table: pd.DataFrame) -> bool:
    """Whether rows say which of several rules they belong to."""
    return "rule" in table.columns


def reserve(result: Reportable) -> dict[str, float] | None:
    """What the shares of several rules leave of the capital (below 0: what they exceed it by), its end and its gain; None if they add up to it."""
    table = result.by_rule
    if table is None or result.reserve is None:
        return None
    capital, final = result.capital - float(table["capital"].sum()), float(result.reserve.iloc[-1])
    if abs(capital) <= 1e-9 * result.capital and final == 0.0:
        return None
    return {"capital": capital, "final_equity": final, "pnl": final - capital}


def beside(result: Reportable) -> list[Beside]:
    """The run, and below it what the same capital would have made otherwise; nothing where no baseline could be made."""
    table = result.baselines
    if table.empty:
        return []
    own = {item.name: result.metrics.get(item.name) for item in fields(Beside) if item.name not in ("name", "final_equity", "what")}
    first = Beside(name=THIS_RUN, final_equity=final_equity(result), what=result.strategy, **own)
    return [first, *(Beside(name=str(name), **{str(key): value for key, value in row.items()}) for name, row in table.iterrows())]


def beside_curves(result: Reportable) -> pd.DataFrame:
    """Equity at midnights UTC of the run, and of each baseline beside it."""
    own = daily_equity(result.equity, result.start, result.capital).rename(THIS_RUN)
    return pd.concat([own, result.baseline_curves.reindex(own.index)], axis=1)


def forced_words(events: Sequence[Liquidation]) -> str:
    """How many of each kind there were: "6 liquidations, 1 deleveraging"."""
    kinds = {kind: sum(event.action == kind for event in events) for kind in ("liquidation", "deleveraging")}
    return ", ".join(f"{count:,} {kind}{'s' if count > 1 else ''}" for kind, count in kinds.items() if count)


def sought_words(events: Sequence[Liquidation]) -> str:
    """Of how many liquidations it was sought what a top-up would have saved, where not of all."""
    asked = [known(event.top_up) for event in events if event.action == "liquidation"]
    if asked and not any(asked):
        return " Both hang on the cash of the book's other rules or its reserve here, and are not told."
    return "" if all(asked) else f" Both were sought for the {sum(asked):,} dearest of {len(asked):,} only."


def length(result: Reportable) -> str:
    """The run's length in days, or in hours below two days."""
    days = (result.end - result.start) / DAY
    return f"{days:,.0f} days" if days >= 2 else f"{24 * days:,.0f} hours"


def period(result: Reportable) -> str:
    """The run's span in words."""
    return f"{result.start:%Y-%m-%d} to {result.end:%Y-%m-%d}, {length(result)}, {result.bars:,} bars"


def headline(result: Reportable) -> str:
    """The run in two sentences."""
    gain = final_equity(result) - result.capital
    verb = "gained" if gain >= 0 else "lost"
    depth = result.metrics.get("max_drawdown")
    fall = f"; the deepest fall from a peak was {percent(abs(depth))}" if depth and known(depth) else ""
    count = len(result.trades)
    trades = {0: no_trade(result) or "No trade was made.", 1: "One trade was made."}.get(count, f"{count:,} trades were made.")
    return f"{result.capital:,.0f} {result.quote} {verb} {percent(abs(gain) / result.capital)} in {length(result)}{fall}. {trades}"


def no_trade(result: Reportable) -> str:
    """Why no trade was made, where a note says so."""
    why = next((note.removeprefix(NO_TRADE) for note in result.notes if note.startswith(NO_TRADE)), "")
    return f"No trade was made: {why}" if why else ""
