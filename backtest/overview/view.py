"""What the view of a premium at one time consists of: readings, a table of contracts, and what the data can't give.

Values are fractions, rates fractions a year, however they are written; NaN is what isn't known.

    view = bt.overview(market, "2022-11-10")
    view["regime"].word, view["indicator"].percentile
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from backtest.card import Card
from backtest.errors import ParameterError, did_you_mean
from backtest.overview.scope import BEFORE, Scope

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Unit(StrEnum):
    """What a reading counts, and so how it is written."""

    RATE = "rate"  # a fraction a year
    FRACTION = "fraction"
    SPREAD = "spread"  # a fraction so small that it is written in bps
    RATIO = "ratio"
    AMOUNT = "amount"  # of the base asset
    MONEY = "money"  # of the quote currency
    DAYS = "days"
    STATE = "state"  # a word


def state_name(state: IntEnum) -> str:
    """A state in words."""
    return state.name.lower().replace("_", " ")


@dataclass(frozen=True)
class Reading:
    """One figure at one time, and what it was 1, 7 and 30 days before (`BEFORE`).

    word: the name of a state, or of the contract or event that the figure belongs to; words_before: the states' names then. percentile: rank of the figure among those of
    the last 365 days, NaN where it makes no sense or less than 30 days are known. meaning: in a few words what the figure, or this state, says.
    """

    name: str
    label: str
    unit: Unit
    now: float
    before: tuple[float, ...] = (np.nan,) * len(BEFORE)
    percentile: float = np.nan
    word: str = ""
    words_before: tuple[str, ...] = ("",) * len(BEFORE)
    meaning: str = ""

    @property
    def known(self) -> bool:
        """Whether the data give the figure at this time."""
        return not np.isnan(self.now)

    @property
    def shown(self) -> bool:
        """Whether they give it now, or gave it lately."""
        return not np.isnan([self.now, *self.before]).all()


@dataclass(frozen=True, kw_only=True, eq=False)
class Overview(Scope, Card):
    """The view of the premium at the end of one bar; nothing later has a part in it. Printing it gives the table.

    contracts: a row a contract alive and known then (index: its id), columns days, premium, annualized, annualized_1d, annualized_7d,
    annualized_30d, net_carry, break_even_premium, weight, volume (one day), open_interest, contango (a word). notes: a sentence for each thing that isn't shown, and
    the market's own.
    """

    contracts: pd.DataFrame
    readings: tuple[Reading, ...]
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> Reading:
        """The reading of a name; ParameterError with the nearest one if there is none."""
        found = {reading.name: reading for reading in self.readings}
        if name not in found:
            raise ParameterError(f'no reading "{name}"; {did_you_mean(name, list(found))}')
        return found[name]

    def __repr__(self) -> str:
        from backtest.report.premium_table import render_overview

        return render_overview(self)

    def figures(self) -> "dict[str, Figure]":
        """The figures whose data exist, by name, for notebooks."""
        from backtest.report.premium import figures

        return figures(self)

    def report(self, path: str | PathLike[str]) -> None:
        """Write the page: one self-contained HTML file with tables and figures. Raises StorageError."""
        from backtest.report.premium import write_overview

        write_overview(self, path)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain dicts, lists, texts, numbers and None (for what isn't known), ready for `json.dumps`."""
        from backtest.report.premium_table import overview_dict

        return overview_dict(self)

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write `to_dict` as JSON, all of it or nothing. Raises StorageError."""
        from backtest.report.premium_table import write_overview_json

        write_overview_json(self, path)
