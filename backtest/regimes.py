"""What a run made in each regime of its market: carry is earned in calm, repriced in trends and lost in stress.

A bar's PnL belongs to the regime that was known when the bar began, at the close before; nobody knew one before the first. A trade belongs to the regime that its
first fill was sent in. The regime is `bt.regime` of the asset that the rules trade, measured on their own spot.

    result.by_regime[["time", "pnl", "annual_return"]]
    result.regimes_left_out  # why there is no table
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtest.errors import DataError
from backtest.instruments import Kind
from backtest.market import Floats, Integers, Market, nanoseconds
from backtest.rule import Rule
from backtest.signals import Regime, regime

COLUMNS = ("time", "bars", "held", "pnl", "annual_return", "trades", "won", "trade_pnl")
NAMES = (*(state.name.lower() for state in Regime), "unknown")  # in their order in the table; a code is a place
UNKNOWN = len(Regime)


@dataclass(frozen=True, eq=False)
class Regimes:
    """The table, or why there is none."""

    table: pd.DataFrame | None
    left_out: str = ""


def regimes_of(
    market: Market, rules: Sequence[Rule], equity: pd.Series, capital: float, positions: pd.DataFrame, trades: pd.DataFrame
) -> Regimes:
    """A row a regime that occurs: calm, trending, stressed, unknown. Without a table where the rules trade several assets or the market tells no regime.

    time: share of the run's time, a fraction. bars. held: share of its time with a position at the close, of any rule. pnl: cash; the rows sum to final equity −
    capital. annual_return: pnl over the capital per year of 365 days spent in it. trades: entered in it; won: those with a PnL above 0; trade_pnl: their PnL until
    they ended, whatever the regime was by then.
    """
    bases = sorted({base_of(market, rule) for rule in rules})
    if len(bases) > 1:
        told = f"{', '.join(bases[:-1])} and {bases[-1]}"
        return Regimes(None, f"the rules trade {told}, and a regime is that of one asset; each rule's own result has its regimes")
    try:
        known = regime_before(market, rules)
    except DataError as error:
        return Regimes(None, str(error))
    gains = np.diff(equity.to_numpy(), prepend=capital)
    held = (positions.xs("contract", axis=1, level=-1) if positions.columns.nlevels > 1 else positions[["contract"]]) != ""
    entered = known[np.searchsorted(market.stamps, nanoseconds(pd.DatetimeIndex(trades["entered_at"])), side="right")]
    earned = trades["pnl"].to_numpy(np.float64)
    years, bars, pnl = _total(known, market.years), _total(known), _total(known, gains)
    occurs = bars > 0.0
    years, pnl = years[occurs], pnl[occurs]
    columns = {
        "time": years / market.years.sum(),
        "bars": bars[occurs].astype(np.int64),
        "held": _total(known, market.years * held.to_numpy().any(axis=1))[occurs] / years,
        "pnl": pnl,
        "annual_return": pnl / capital / years,
        "trades": _total(entered)[occurs].astype(np.int64),
        "won": _total(entered, (earned > 0.0).astype(np.float64))[occurs].astype(np.int64),
        "trade_pnl": _total(entered, earned)[occurs],
    }
    return Regimes(pd.DataFrame(columns, index=pd.Index(np.array(NAMES, dtype=object)[occurs], name="regime")))


def regime_before(market: Market, rules: Sequence[Rule]) -> Integers:
    """The code of the regime that was known when each bar began, `UNKNOWN` where none was. [bar]

    Other assets of the market are left out: it may have many spots, and the regime is that of one. Raises DataError as `bt.regime`.
    """
    base = base_of(market, rules[0])
    own = [item.id for item in market.instruments.values() if item.base == base]
    seen = market if len(own) == len(market.instruments) else market.only(*own)
    spot = next((name for rule in rules if (name := spot_of(market, rule)) is not None), None)
    codes = regime(seen) if spot is None else regime(seen, spot=seen.leg(spot))
    before = np.concatenate([[np.nan], codes[:-1]])
    return np.where(np.isnan(before), UNKNOWN, np.nan_to_num(before)).astype(np.int64)


def base_of(market: Market, rule: Rule) -> str:
    """The asset that a rule trades."""
    return next(market.instruments[leg.contracts[0]].base for leg in rule.legs if leg is not None)


def spot_of(market: Market, rule: Rule) -> str | None:
    """The spot that a rule's price risk is measured by: its own, else the market's only one of the same base; None without."""
    own = next((leg.contracts[0] for leg in rule.legs if leg is not None and leg.kind is Kind.SPOT), None)
    base = base_of(market, rule)
    found = [item.id for item in market.instruments.values() if item.kind is Kind.SPOT and item.base == base]
    return own or (found[0] if len(found) == 1 else None)


def _total(codes: Integers, values: Floats | None = None) -> Floats:
    """The sum of some values by their codes, or how many there are. [code]"""
    return np.bincount(codes, values, minlength=len(NAMES)).astype(np.float64)
