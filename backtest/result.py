"""What a run gives back: equity, positions, fills, trades, the sources of PnL at every bar, statistics, a table, a report.

result = bt.run(strategy, market)
result.equity, result.attribution, result.trades, result.metrics
result.baselines  # what the same capital would have made otherwise
result.report("reports/carry.html"); result.to_json("carry.json")
"""

import math
from dataclasses import dataclass, field, fields
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from backtest import entry_curves, exposure, ledger, liquidations, metrics, provenance, quality, regimes
from backtest import kernels as k
from backtest.card import Card
from backtest.execution import Execution
from backtest.instruments import Kind, Settle
from backtest.market import DAY, Integers, Market, utc
from backtest.regimes import spot_of
from backtest.rule import Rule
from backtest.strategy import label_of, params_of
from backtest.tapes import Records

if TYPE_CHECKING:
    import vectorbt
    from matplotlib.axes import Axes

    from backtest.baselines import Baselines
    from backtest.book_result import BookResult
    from backtest.luck import Luck
    from backtest.report.protocol import Reportable

COSTS = (
    "spot_fee",
    "derivative_fee",
    "half_spread",
    "delivery_fee",
    "liquidation_fee",
    "maintenance",
    "idle_rate",
    "borrow_rate",
    "funding",
)
EXECUTED = [item.name for item in fields(Execution) if item.name not in COSTS]  # what the words of costs and notes don't tell


@dataclass(frozen=True)
class Prepared:
    """A run, ready for the kernel. changes: the fields of the rule that were set otherwise than its strategy does.

    backed: by the cash of a book's other rules or reserve too (cross margin), so that its own account doesn't tell what it needed.
    """

    market: Market
    rule: Rule
    execution: Execution
    tapes: k.Tapes
    rule_record: Any
    terms: Records
    pairs: Integers
    notes: list[str]
    changes: dict[str, Any] = field(default_factory=dict)
    backed: bool = False


@dataclass(frozen=True)
class Log:
    """What the kernel wrote: the account at the end, and the rows of changes, fills and trades."""

    account: Any
    ledger: Records
    fills: Records
    trades: Records


class Finished(Card):
    """What a run of one rule and one of several have alike: how they are shown and written, and what stands beside them.

    luck: the odds that it is the best of a sweep by luck, where it was chosen from one. command: the line of the shell that made it, where one did.
    """

    luck: "Luck | None" = None
    command: str | None = None

    def __repr__(self) -> str:
        from backtest.report.table import render_table

        return render_table(cast("Reportable", self))

    def _made_beside(self) -> "Baselines":
        raise NotImplementedError

    @cached_property
    def _beside(self) -> "Baselines":
        return self._made_beside()

    @property
    def baselines(self) -> pd.DataFrame:
        """What the same capital would have made otherwise, a row each: final_equity, returns, volatility, sharpe, max_drawdown, and what it is."""
        return self._beside.table

    @property
    def baseline_curves(self) -> pd.DataFrame:
        """Equity of each of `baselines` at midnights UTC, a column each, beginning with the capital."""
        return self._beside.curves

    @property
    def baselines_left_out(self) -> dict[str, str]:
        """Which of the usual baselines can't be made of this market or run, and why."""
        return self._beside.left_out

    @property
    def _runs(self) -> dict[str, "Result"]:
        """The run of each rule by its label; of one rule alone itself."""
        raise NotImplementedError

    @property
    def _market(self) -> Market:
        return next(iter(self._runs.values()))._prepared.market

    @property
    def _rules(self) -> list[Rule]:
        return [one._prepared.rule for one in self._runs.values()]

    @cached_property
    def _regimes(self) -> regimes.Regimes:
        run = cast("Result | BookResult", self)
        return regimes.regimes_of(self._market, self._rules, run.equity, run.capital, run.positions, run.trades)

    @property
    def by_regime(self) -> pd.DataFrame | None:
        """A row a regime of the market: its share of the time, PnL, trades entered; None where regimes can't be told (`regimes_left_out` says why)."""
        return self._regimes.table

    @property
    def regimes_left_out(self) -> str:
        """Why there is no `by_regime`; empty where there is one."""
        return self._regimes.left_out

    @cached_property
    def quality(self) -> pd.DataFrame:
        """A row an instrument of the legs: bars, holes, stale closes, missing funding, quotes and marks that the data have."""
        return quality.table(self._market, self._rules)

    @cached_property
    def sensitivity(self) -> pd.DataFrame:
        """The same run at multiples of its costs of trading, a row each: factor, final_equity, total_return, sharpe, max_drawdown, trades, liquidations."""
        from backtest.baselines import sensitivity_of

        return sensitivity_of(cast("Result | BookResult", self))

    def plot(self, ax: "Axes | None" = None, *, log: bool | None = None) -> "Axes":
        """Draw the equity, as `bt.plot_equity` does."""
        from backtest.report.plots import plot_equity

        return plot_equity(self, ax, log=log)

    def report(self, path: str | PathLike[str]) -> None:
        """Write the report: one self-contained HTML file. Raises StorageError."""
        from backtest.report.html import write_report

        write_report(cast("Reportable", self), path)

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write the JSON of the run. Raises StorageError."""
        from backtest.report.json import write_json

        write_json(cast("Reportable", self), path)

    def to_vectorbt(self, *, flows: bool = False) -> "vectorbt.Portfolio":
        """The fills as a vectorbt Portfolio, at their prices and fees; funding, interest, staking and borrow, which vectorbt has not, stay beside it in `attribution`.

        flows: they are one more column, so that its value() is `equity`; else value() is equity less the flows. A book's columns are (rule, instrument).
        Raises ParameterError for inverse contracts.
        """
        from backtest.bridge import portfolio_of

        return portfolio_of(cast("Result | BookResult", self), flows=flows)


class Result(Finished):
    """One finished run. Columns are computed when first asked for; printing it gives the table. by_rule, correlation, reserve: only several rules have them."""

    by_rule: pd.DataFrame | None = None
    correlation: pd.DataFrame | None = None
    reserve: pd.Series | None = None

    def __init__(self, strategy: Any, prepared: Prepared, capital: float, log: Log) -> None:
        self._prepared, self._log, self._strategy = prepared, log, strategy
        market = prepared.market
        self.strategy: str = label_of(strategy)
        self.params: dict[str, Any] = params_of(strategy)
        self.dataset = market.info
        self.capital = capital
        self.start, self.end = pd.Timestamp(market.start, tz="UTC"), market.clock[-1]
        self.bars = len(market)
        first = next(leg for leg in prepared.rule.legs if leg is not None)
        self.quote = market.instruments[first.contracts[0]].quote

    @cached_property
    def equity(self) -> pd.Series:
        """Equity at every bar's close, in the quote currency."""
        terms = self._prepared.terms[0]
        values = ledger.equity_column(
            self._prepared.tapes, self._prepared.rule_record, self._log.ledger, terms["inverse"] != 0, self.bars, self.capital
        )
        return pd.Series(values, index=self._prepared.market.clock, name="equity", copy=False)

    @cached_property
    def notes(self) -> list[str]:
        """What the data lacked, what was assumed and what a reader must know of the run, a sentence each."""
        return [*self._prepared.notes, *ruined(self.equity)]

    @cached_property
    def attribution(self) -> pd.DataFrame:
        """Cumulated cash of each of the twelve sources at every bar's close; rows sum to equity − capital."""
        prepared, terms = self._prepared, self._prepared.terms[0]
        derivative, inverse = terms["derivative"] != 0, terms["inverse"] != 0
        columns = ledger.source_columns(prepared.tapes, self._log.ledger, derivative, inverse, self.bars, self.capital)
        return pd.DataFrame(columns.T, index=prepared.market.clock, columns=list(k.SOURCES), copy=False)

    @cached_property
    def positions(self) -> pd.DataFrame:
        """long_quantity, short_quantity (signed base units) and contract at every bar's close.

        Of inverse contracts: face over the close of the decision to enter, as long as the face stays; `fills` have face over the price of each fill, so
        that they don't add up to it.
        """
        return ledger.position_table(self._prepared.market, self._prepared.rule, self._prepared.pairs, self._log.ledger)

    @cached_property
    def fills(self) -> pd.DataFrame:
        """One row a fill, settlement or liquidation. Quantities are signed base units; of inverse contracts face over the fill's price, unlike `positions`."""
        return ledger.fill_table(
            self._prepared.market, self._prepared.rule, self._prepared.pairs, self._prepared.tapes.pairs, self._log.fills
        )

    @cached_property
    def trades(self) -> pd.DataFrame:
        """One row a trade, with its reason, PnL (worst and best: at the closes while it lived) and attribution."""
        final = self.attribution.iloc[-1].to_numpy()
        return ledger.trade_table(self._prepared.rule, self._prepared.pairs, self._log, self.equity.to_numpy(), final)

    @cached_property
    def liquidations(self) -> pd.DataFrame:
        """One row a forced close: when, why, what it cost, and what a top-up in time would have saved; of very many that of the dearest only."""
        return liquidations.table(self._prepared, self._log, self.fills, self.trades)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Statistics by the names of the JSON of a run."""
        traded = float((self.fills["quantity"].abs() * self.fills["price"]).sum())
        held = (self.positions["contract"] != "").to_numpy()
        market, rule = self._prepared.market, self._prepared.rule
        spot = spot_of(market, rule)
        return {
            **metrics.return_statistics(self.equity, self.start, self.capital),
            **metrics.activity(held, market.years, traded, self.equity),
            **metrics.trade_statistics(self.trades),
            "excess_sharpe": metrics.excess_sharpe(self.equity, self._prepared.tapes.rates[k.IDLE, 1:], self.start, self.capital),
            "spot_beta": math.nan if spot is None else metrics.spot_beta(self.equity, self.start, self.capital, market.last_known(spot)),
            "hedged_share": self.hedged_share,
        }

    @property
    def _runs(self) -> dict[str, "Result"]:
        return {"": self}

    @cached_property
    def exposure(self) -> pd.DataFrame:
        """What was at risk at each bar's close: long_notional, short_notional (signed cash), gross, net (of equity), margin_use, distance (to liquidation)."""
        return exposure.table(self._prepared, self._log, self.positions, self.equity)

    @cached_property
    def entry_curves(self) -> pd.DataFrame | None:
        """The term structure when each trade was decided: trade, time, contract, days, premium (annualized), chosen; None without a dated leg."""
        return entry_curves.table(self._prepared.market, self._prepared.rule, self.trades)

    @property
    def reproduce(self) -> str:
        """The command, or the lines of Python, that make the run again."""
        prepared = self._prepared
        return self.command or provenance.lines(
            self._strategy, prepared.market, capital=self.capital, execution=prepared.execution, changes=prepared.changes
        )

    @property
    def hedged_share(self) -> float:
        """Share of the bars with a position that is hedged; NaN with one leg, and where inverse contracts have no quantity of their own."""
        legs = [leg for leg in self._prepared.rule.legs if leg is not None]
        inverse = any(self._prepared.market.instruments[leg.contracts[0]].settle is Settle.INVERSE for leg in legs)
        if len(legs) < 2 or inverse:
            return math.nan
        return metrics.hedged_share(*(self.positions[name].to_numpy() for name in ("long_quantity", "short_quantity")))

    def _made_beside(self) -> "Baselines":
        from backtest.baselines import baselines_of

        return baselines_of(self)

    @cached_property
    def premium(self) -> pd.Series:
        """Premium of the pair held, else of the one that would be opened; annualized where the pair has a dated contract. NaN where unknown."""
        prepared, market = self._prepared, self._prepared.market
        place = ledger.rows_by_bar(self._log.ledger, self.bars)
        held = (self.positions["contract"] != "").to_numpy()
        pair = np.where(held, np.concatenate([self._log.ledger["pair"], [-1]])[place], prepared.tapes.candidate)
        out = np.full(self.bars, np.nan)
        long, short = prepared.rule.legs
        if long is None or short is None:
            return pd.Series(out, index=market.clock, name="premium")
        for number in np.unique(pair[pair >= 0]):
            here = pair == number
            a, b = prepared.pairs[number]
            values = market.close(ledger.slot_contract(short, b)) / market.close(ledger.slot_contract(long, a)) - 1.0
            days = (prepared.tapes.pairs[number]["expiry"] - market.stamps) / DAY
            if self._dated:
                values = np.where(days >= 1.0, values * 365.0 / np.maximum(days, 1.0), np.nan)
            out[here] = values[here]
        return pd.Series(out, index=market.clock, name="premium")

    @property
    def _dated(self) -> bool:
        return any(leg is not None and leg.kind is Kind.FUTURE for leg in self._prepared.rule.legs)

    @property
    def premium_label(self) -> str:
        """What `premium` is."""
        return "annualized premium" if self._dated else "premium"

    @cached_property
    def rule_text(self) -> dict[str, str]:
        """The rule and the costs that were in force, in words, for reports."""
        rule, execution = self._prepared.rule, self._prepared.execution
        named = dict(zip(("long", "short"), rule.legs, strict=True))
        out = {name: str(leg) for name, leg in named.items() if leg is not None}
        out |= {item.name: in_words(getattr(rule, item.name)) for item in fields(rule) if "help" in item.metadata}
        if rule.scale is not None:
            out["scale"] = "bar by bar"
        factor = float(self._prepared.rule_record["resize_factor"])
        out["resize"] = "none" if math.isinf(factor) else f"{factor:g}"
        out |= {name: in_words(getattr(execution, name)) for name in EXECUTED} | {"missing_funding": str(execution.funding)}
        slots = zip(named, self._prepared.terms[0], execution.half_spreads, strict=True)
        out |= {f"{name}_costs": cost_words(terms, given) for name, terms, given in slots if terms["present"]}
        return out

    @cached_property
    def at_default(self) -> frozenset[str]:
        """The settings of `rule_text` at their defaults, but for those that every reader asks for."""
        owners = (self._prepared.rule, self._prepared.execution)
        names = {item.name for owner in owners for item in fields(owner) if same(getattr(owner, item.name), item.default)}
        asked = {"size", "leverage", "margin"} | ({"resize"} if math.isfinite(self._prepared.rule.resize_factor) else set())
        return frozenset(names - asked) | ({"missing_funding"} if "funding" in names else frozenset())


def ruined(equity: pd.Series) -> list[str]:
    """What a reader must know of an equity that fell to zero, if it did."""
    fallen = equity[equity <= 0.0]
    if fallen.empty:
        return []
    return [f"Equity fell to or below zero at {utc(fallen.index[0].value)}; no lender would have gone on: lower size or leverage."]


def same(value: object, default: object) -> bool:
    """Whether a setting is at its default; a signal never is."""
    return value is default or (isinstance(value, str | int | float) and value == default)


def in_words(value: object) -> str:
    """A setting for a reader."""
    if isinstance(value, tuple):
        return ",".join(in_words(part) for part in value)
    if isinstance(value, np.ndarray | pd.Series | pd.DataFrame):
        return "bar by bar"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def cost_words(terms: Any, half_spread: Any) -> str:
    """What a slot pays, as it was in force at first; half_spread: its setting."""
    read = "as quoted, else " if half_spread is None else "bar by bar, else " if terms["quoted"] else ""
    spread = f"half-spread {read}{terms['half_spread'] * 1e4:g} bp"
    fee = f"{terms['unit_fee']:g} a coin" if terms["unit_fee"] else f"{terms['fee'] * 1e4:g} bps"
    words = [f"{'maker ' if terms['maker'] else ''}fee {fee}", spread]
    if terms["impact"]:
        of = "sqrt(share of a day's volume)" if terms["impact_square_root"] else "share of the depth"
        words.append(f"impact {terms['impact']:g} x {of}")
    if terms["derivative"]:
        words += [
            f"delivery {terms['delivery_fee'] * 1e4:g} bps",
            f"liquidation {terms['liquidation_fee'] * 1e4:g} bps",
            f"maintenance from {terms['tier_rate'][0]:.2%}",
        ]
    return ", ".join(words)
