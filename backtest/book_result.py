"""What a run of a book gives back: each rule's own result, and the book's equity, sources, trades and statistics.

result = bt.run([CashAndCarry(), FundingCarry()], market)
result.results["CashAndCarry"].equity   # of its account
result.equity, result.by_rule, result.correlation
"""

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from backtest import exposure, ledger, metrics, provenance
from backtest import kernels as k
from backtest.book import Book
from backtest.execution import Execution
from backtest.market import Integers
from backtest.regimes import spot_of
from backtest.result import Finished, Log, Result, ruined

if TYPE_CHECKING:
    from backtest.baselines import Baselines


LEGS = ("long", "short")
MIXED = "MIXED CURRENCIES"  # how notes on that begin


class BookResult(Finished):
    """One finished run of several rules on one capital. Columns are computed when first asked for; printing it gives the table.

    results: each rule's result by its label; its capital is its share, its equity that of its account.
    """

    premium = None
    premium_label = "premium"
    entry_curves = None

    def __init__(self, book: Book, results: dict[str, Result], reserve: Log | None, execution: Execution, capital: float) -> None:
        self._book, self._reserve, self._execution = book, reserve, execution
        self.results, self.capital = results, capital
        first = next(iter(results.values()))
        self.strategy = f"Book of {len(results)} rules" if len(results) > 1 else f"Book of {next(iter(results))}"
        self.params = {label: described(one) for label, one in results.items()}
        self.dataset, self.start, self.end, self.bars, self.quote = first.dataset, first.start, first.end, first.bars, first.quote
        for label, one in results.items():  # alone it would be another run: cash, margin and limits are the book's
            one.command = f"{self.reproduce}\nresult = result.results[{label!r}]"

    @property
    def _runs(self) -> dict[str, Result]:
        return self.results

    @cached_property
    def equity(self) -> pd.Series:
        """Equity of all accounts at every bar's close."""
        return sum((one.equity for one in self.results.values()), start=self.reserve).rename("equity")

    @cached_property
    def reserve(self) -> pd.Series:
        """What no rule's share holds, with its interest, at every bar's close; 0 if the shares add up to 1."""
        market = self._market
        if self._reserve is None:
            return pd.Series(0.0, index=market.clock, name="reserve")
        first = next(iter(self.results.values()))._prepared
        capital = float(self._reserve.account["capital"])
        values = ledger.equity_column(first.tapes, first.rule_record, self._reserve.ledger, (False, False), self.bars, capital)
        return pd.Series(values, index=market.clock, name="reserve", copy=False)

    @cached_property
    def attribution(self) -> pd.DataFrame:
        """Cumulated cash of each source at every bar's close, all accounts together; rows sum to equity − capital."""
        out = pd.DataFrame(0.0, self._market.clock, list(k.SOURCES))
        for one in self.results.values():
            out = out + one.attribution
        if self._reserve is not None:
            tapes, capital = next(iter(self.results.values()))._prepared.tapes, float(self._reserve.account["capital"])
            none = np.zeros(2, bool)
            out = out + ledger.source_columns(tapes, self._reserve.ledger, none, none, self.bars, capital).T
        return out

    @cached_property
    def positions(self) -> pd.DataFrame:
        """Positions of every rule at every bar's close: columns (rule, long_quantity | short_quantity | contract)."""
        return pd.concat({label: one.positions for label, one in self.results.items()}, axis=1)

    @cached_property
    def trades(self) -> pd.DataFrame:
        """One row a trade, by its entry; `rule` is whose."""
        return self._together("trades").sort_values("entered_at", kind="stable", ignore_index=True)

    @cached_property
    def fills(self) -> pd.DataFrame:
        """One row a fill, by its time; `trade` is the row in `trades`."""
        return self._by_time("fills")

    @cached_property
    def liquidations(self) -> pd.DataFrame:
        """One row a forced close; what would have kept it is told of the rule's own account, as if the others had stayed as they were."""
        return self._by_time("liquidations")

    def _by_time(self, name: str) -> pd.DataFrame:
        """A table of all rules whose `trade` is the row of the book's trades."""
        table = self._together(name)
        if len(table):
            begins = dict(zip(self.results, np.cumsum([0, *(len(one.trades) for one in self.results.values())])[:-1], strict=True))
            table["trade"] = self._places[(table["trade"] + table["rule"].map(begins)).to_numpy(np.int64)]
        return table.sort_values("time", kind="stable", ignore_index=True)

    @cached_property
    def _places(self) -> Integers:
        """Where the sorting of `trades` puts each rule's trades, one rule after the other."""
        entered = self._together("trades")["entered_at"].to_numpy()
        place = np.empty(len(entered), np.int64)
        place[np.argsort(entered, kind="stable")] = np.arange(len(entered))
        return place

    def _together(self, name: str) -> pd.DataFrame:
        """A table of all rules, the label first; empty tables only give their columns."""
        tables = {label: getattr(one, name) for label, one in self.results.items()}
        filled = {label: table for label, table in tables.items() if len(table)} or dict(list(tables.items())[:1])
        out: pd.DataFrame = pd.concat([table.assign(rule=label) for label, table in filled.items()], ignore_index=True)
        return out.loc[:, ["rule", *(column for column in out.columns if column != "rule")]]

    @cached_property
    def by_rule(self) -> pd.DataFrame:
        """A row a rule: its capital, final equity, PnL, statistics of its account, trades and liquidations."""
        rows = {}
        for label, one in self.results.items():
            final = float(one.equity.iloc[-1])
            figures = metrics.return_statistics(one.equity, one.start, one.capital)
            rows[label] = {
                "capital": one.capital,
                "final_equity": final,
                "pnl": final - one.capital,
                **{name: figures[name] for name in ("total_return", "annual_return", "sharpe", "max_drawdown")},
                "trades": len(one.trades),
                "liquidations": int((one.fills["action"] == "liquidation").sum()),
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("rule")

    @cached_property
    def correlation(self) -> pd.DataFrame:
        """Correlation of the rules' daily PnL, days at midnight UTC; NaN for one that never moved."""
        daily = {label: metrics.daily_equity(one.equity, one.start, one.capital).diff() for label, one in self.results.items()}
        return pd.DataFrame(daily).corr()

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Statistics of the book, by the names of a single run's. spot_beta only where all rules trade one spot."""
        market, fills = self._market, self.fills
        held = [(one.positions["contract"] != "").to_numpy() for one in self.results.values()]
        spots = {spot_of(market, one._prepared.rule) for one in self.results.values()}
        spot = next(iter(spots)) if len(spots) == 1 else None
        hedged = [(one.hedged_share, float(on.sum())) for one, on in zip(self.results.values(), held, strict=True)]
        told = [(share, bars) for share, bars in hedged if not math.isnan(share)]
        return {
            **metrics.return_statistics(self.equity, self.start, self.capital),
            **metrics.activity(np.any(held, axis=0), market.years, float((fills["quantity"].abs() * fills["price"]).sum()), self.equity),
            **metrics.trade_statistics(self.trades),
            "excess_sharpe": metrics.excess_sharpe(
                self.equity, next(iter(self.results.values()))._prepared.tapes.rates[k.IDLE, 1:], self.start, self.capital
            ),
            "spot_beta": math.nan if spot is None else metrics.spot_beta(self.equity, self.start, self.capital, market.last_known(spot)),
            "hedged_share": metrics.ratio(sum(share * bars for share, bars in told), sum(bars for _, bars in told)),
        }

    @cached_property
    def notes(self) -> list[str]:
        """What a reader must know: first what holds for all rules, then each rule's own."""
        lists = {label: one.notes for label, one in self.results.items()}
        shared = [note for note in next(iter(lists.values())) if all(note in other for other in lists.values())]
        own = [f"{label}: {note}" for label, notes in lists.items() for note in notes if note not in shared]
        mixed = [] if any(note.startswith(MIXED) for note in shared) else self._mixed_cash()
        return [*mixed, *shared, *own, *ruined(self.equity)]

    def _mixed_cash(self) -> list[str]:
        """A warning where the book's cash is of several currencies, in a list; what that does to a premium is told of the rule that has it."""
        first: dict[str, str] = {}
        for label, one in self.results.items():
            for leg in one._prepared.rule.legs:
                if leg is not None:
                    first.setdefault(self._market.instruments[leg.contracts[0]].quote, label)
        if len(first) < 2:
            return []
        told = " and ".join(f"{quote} ({label})" for quote, label in first.items())
        return [f"{MIXED}: the book holds cash in {told}: nothing converts it, and all is added one to one."]

    @cached_property
    def rule_text(self) -> dict[str, str]:
        """What each rule trades, the limits in total, and the settings that all rules have alike."""
        book, texts = self._book, [one.rule_text for one in self.results.values()]
        legs = {
            f"rule {label}": " / ".join(text[name] for name in LEGS if name in text)
            for label, text in zip(self.results, texts, strict=True)
        }  # "rule" in front, as a label may be that of a setting
        limits = {"exposure": book.exposure, "drawdown": book.drawdown, "pause": book.pause}
        totals = {f"{name} in total": str(value) for name, value in limits.items() if value is not None}
        alike = {name: value for name, value in texts[0].items() if name not in LEGS and all(text.get(name) == value for text in texts)}
        return legs | {"shares": ", ".join(f"{share:.4g}" for share in book.shares)} | totals | alike

    @cached_property
    def at_default(self) -> frozenset[str]:
        """The settings of `rule_text` that are at their defaults in every rule."""
        return frozenset.intersection(*(one.at_default for one in self.results.values()))

    @cached_property
    def exposure(self) -> pd.DataFrame:
        """What was at risk at each bar's close, of all rules together; margin_use and distance are those of the leg that is nearest to its liquidation."""
        return exposure.together([one.exposure for one in self.results.values()], self.equity)

    @property
    def reproduce(self) -> str:
        """The lines of Python that make the run again."""
        changes = next(iter(self.results.values()))._prepared.changes
        return self.command or provenance.lines(self._book, self._market, capital=self.capital, execution=self._execution, changes=changes)

    def _made_beside(self) -> "Baselines":
        from backtest.baselines import baselines_of_book

        return baselines_of_book(self)


def described(result: Result) -> str:
    """A rule's parameters on one line, for reports."""
    settings: dict[str, Any] = result.params
    return ", ".join(f"{name}={value}" for name, value in settings.items()) or "as given"
