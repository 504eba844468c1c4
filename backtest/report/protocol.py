"""What a report needs to know of a run, and no more: anything with these attributes can be rendered.

The result of a simulation has them, of one rule or of several on one capital. What only a run of one rule has is None for several, and the sections about it
are left out; where there are several rules, `fills`, `trades` and `liquidations` have a first column more, `rule`. Rates and returns are fractions, cash is in the
quote currency, times are UTC, bars are stamped with their ends.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import pandas as pd

if TYPE_CHECKING:
    from backtest.luck import Luck


class DatasetInfo(Protocol):
    """Where the data came from."""

    @property
    def name(self) -> str:
        """The dataset's name."""

    @property
    def hash(self) -> str:
        """Its content hash."""

    @property
    def simulated(self) -> bool:
        """Whether a generator made it; then every page and figure says so."""


class Reportable(Protocol):
    """A finished run."""

    @property
    def strategy(self) -> str:
        """The strategy's name."""

    @property
    def params(self) -> Mapping[str, object]:
        """Its parameters."""

    @property
    def dataset(self) -> DatasetInfo:
        """What it ran on."""

    @property
    def capital(self) -> float:
        """Cash at the start."""

    @property
    def quote(self) -> str:
        """The currency of all cash."""

    @property
    def start(self) -> pd.Timestamp:
        """When the first bar began."""

    @property
    def end(self) -> pd.Timestamp:
        """The last bar's stamp."""

    @property
    def bars(self) -> int:
        """How many bars there are."""

    @property
    def rule_text(self) -> Mapping[str, str]:
        """What was traded and how, name by name."""

    @property
    def at_default(self) -> Collection[str]:
        """The names in `rule_text` that are at their defaults and of little interest: a table leaves them out, a page lists them apart."""

    @property
    def equity(self) -> "pd.Series[float]":
        """Value at each bar's close."""

    @property
    def premium(self) -> "pd.Series[float] | None":
        """The premium at each bar's close, a fraction; NaN where unknown; None where there is not one."""

    @property
    def premium_label(self) -> str:
        """Which premium that is."""

    @property
    def fills(self) -> pd.DataFrame:
        """One row a fill.

        time, trade (position of its row in `trades`), slot, instrument, action, quantity (signed), reference, price, fee, slippage (cash, positive
        when paid).
        """

    @property
    def trades(self) -> pd.DataFrame:
        """One row a trade.

        entered_at, exited_at (NaT while open), side, contract, quantity, entry_long, entry_short, exit_long, exit_short (NaN where settled),
        settlement_price, entry_premium, exit_premium, reason, pnl, worst, best (lowest and highest PnL while it lived), attribution (dict source → cash).
        """

    @property
    def liquidations(self) -> pd.DataFrame:
        """One row a forced close, with the columns of `backtest.liquidations`: when, why, what it cost, what a top-up in time would have saved."""

    @property
    def attribution(self) -> pd.DataFrame:
        """Cumulated cash at each bar's close, one column a source; a row sums to equity − capital."""

    @property
    def metrics(self) -> Mapping[str, float | int | None]:
        """Figures by name; NaN or None where undefined."""

    @property
    def by_rule(self) -> pd.DataFrame | None:
        """One row a rule, by its label; None for one rule alone.

        Of the columns in `summary.RULE_COLUMNS` those that there are.
        """

    @property
    def correlation(self) -> pd.DataFrame | None:
        """Of the rules' daily PnL, by their labels; None for one rule alone."""

    @property
    def reserve(self) -> "pd.Series[float] | None":
        """What no rule's share holds, at each bar's close; None for one rule alone."""

    @property
    def baselines(self) -> pd.DataFrame:
        """One row a baseline, by its name: final_equity, total_return, annual_return, annual_volatility, sharpe, max_drawdown, what (a phrase)."""

    @property
    def baseline_curves(self) -> pd.DataFrame:
        """Equity of each baseline, a column each, at the times of the daily equity."""

    @property
    def baselines_left_out(self) -> Mapping[str, str]:
        """Which baselines could not be made, and why."""

    @property
    def exposure(self) -> pd.DataFrame:
        """What was at risk at each bar's close, with the columns of `backtest.exposure`: long_notional, short_notional, gross, net, margin_use, distance."""

    @property
    def by_regime(self) -> pd.DataFrame | None:
        """One row a regime, with the columns of `backtest.regimes`; None where the market can't tell regimes (`regimes_left_out` says why)."""

    @property
    def regimes_left_out(self) -> str:
        """Why there is no `by_regime`; empty where there is one."""

    @property
    def sensitivity(self) -> pd.DataFrame:
        """The same run at multiples of its costs, one row each, with the columns of `baselines.sensitivity_of`."""

    @property
    def quality(self) -> pd.DataFrame:
        """One row an instrument that the run looks at, with the columns of `backtest.quality`: what its data hold, and what they lack."""

    @property
    def entry_curves(self) -> pd.DataFrame | None:
        """The term structure at the decision of each entry, one row a contract and trade, with the columns of `backtest.entry_curves`; None without dated legs."""

    @property
    def luck(self) -> "Luck | None":
        """The odds that the run is the best of many by luck, where it was chosen from a sweep; None where it wasn't."""

    @property
    def reproduce(self) -> str:
        """The command, or the lines of Python, that make the run again."""

    @property
    def notes(self) -> Sequence[str]:
        """What the data lacked and what was assumed, a sentence each."""
