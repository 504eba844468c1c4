"""The term structure when each trade was entered: which contracts there were, what each paid a year against the spot, and which one was taken.

Whether a chain's choice was a good one is seen beside what else it could have taken: the steepest premium, or the longest to earn it.

    curves = result.entry_curves
    curves[curves["trade"] == 0]  # the curve of the first trade
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from backtest.curve.prices import days_left, rate_of
from backtest.instruments import Instrument, Kind
from backtest.ledger import instants
from backtest.market import Market, nanoseconds
from backtest.regimes import spot_of
from backtest.rule import Leg, Rule

COLUMNS = ("trade", "time", "contract", "days", "premium", "chosen")


def table(market: Market, rule: Rule, trades: pd.DataFrame) -> pd.DataFrame | None:
    """A row a trade and dated contract that was alive, by days to expiry; None for a rule without a dated leg, or without a spot to measure against.

    trade: place of its row in `trades`. time: the close before the first fill, which is the decision's unless the order waited (latency, funding, makers,
    volume). contract: those of the leg's product, also the ones that the rule passes over. days: to expiry, above 0. premium: annualized, (F − S)/S·365/days against the rule's spot or
    the market's only one of the asset; NaN where a close is not fresh and for less than a day. chosen: whether the trade held it.
    """
    spot = spot_of(market, rule)
    legs = [leg for leg in rule.legs if leg is not None and leg.kind is Kind.FUTURE]
    if not legs or spot is None:
        return None
    entered = nanoseconds(pd.DatetimeIndex(trades["entered_at"]))
    bars = np.searchsorted(market.stamps, entered, side="right") - 1
    codes, held = pd.factorize(trades["contract"])
    parts = []
    for name in contracts_of(market, legs):
        life = market.life(name)
        here = np.flatnonzero((bars >= life.start) & (bars < life.stop))
        place = bars[here] - life.start
        days, rates = days_left(market, name)[place], rate_of(market, name, market.leg(spot))[place]
        chosen = np.array([is_in(name, one) for one in held], bool)[codes[here]]
        columns = {"trade": here, "bar": bars[here], "contract": name, "days": days, "premium": rates, "chosen": chosen}
        parts.append(pd.DataFrame(columns)[days > 0.0])
    out: pd.DataFrame = pd.concat(parts, ignore_index=True).sort_values("trade", kind="stable", ignore_index=True)  # by expiry already
    out["time"] = instants(market.stamps[out["bar"].to_numpy()])
    return out.loc[:, list(COLUMNS)]


def contracts_of(market: Market, legs: Sequence[Leg]) -> list[str]:
    """All dated contracts of the market that are of the legs' products, by expiry."""
    products = {product(market.instruments[name]) for leg in legs for name in leg.contracts}
    found = [item for item in market.instruments.values() if item.kind is Kind.FUTURE and product(item) in products]
    return [item.id for item in sorted(found, key=lambda item: (item.expires_at or pd.Timestamp.max.tz_localize("UTC"), item.id))]


def product(item: Instrument) -> tuple[str, ...]:
    """What contracts of one chain have alike."""
    return item.venue, item.base, item.quote, str(item.settle)


def is_in(name: str, contracts: str) -> bool:
    """Whether a trade's contract, or contracts as "near/far", are this one or have it among them."""
    return contracts == name or contracts.startswith(f"{name}/") or contracts.endswith(f"/{name}")
