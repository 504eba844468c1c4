"""The tables of a dataset, in memory: what importers make, the store keeps and the market reads.

Every time is UTC. `ts` is the instant at which a row was known: a bar's end, a funding payment, a publication. Bars are float64 columns on
a sorted, unique `ts` index (`datetime64[ns, UTC]`).

    tables = Tables(instruments=[spot], bars={spot.id: frame})
"""

from dataclasses import dataclass, field

import pandas as pd

from backtest.instruments import Instrument

PRICES = ("open", "high", "low", "close")
BAR_COLUMNS = (*PRICES, "volume")
OPTIONAL_BAR_COLUMNS = (
    "bid", "ask", "bid_size", "ask_size", "spread", "depth_10bps", "depth_50bps", "mark", "mark_high", "mark_low", "index", "open_interest",
    "taker_buy_volume", "quote_volume", "taker_buy_quote_volume", "trades",
)  # fmt: skip
FUNDING_COLUMNS = ("rate", "interval_hours", "mark_price")
ROOMS = ("bars", "funding", "settlements", "series", "events")
# room → the columns that its files must have
REQUIRED = {
    "bars": ("ts", *PRICES),
    "funding": ("ts", "rate"),
    "settlements": ("instrument", "ts", "price"),
    "series": ("ts", "known_at", "value"),
    "events": ("ts", "name", "kind"),
}


def empty(columns: tuple[str, ...]) -> pd.DataFrame:
    """A table without rows."""
    return pd.DataFrame({name: [] for name in columns})


@dataclass(kw_only=True)
class Tables:
    """A dataset's content.

    bars: id → frame indexed by `ts` with open, high, low, close and any of volume, bid, ask, … (float64; NaN where unknown).
    funding: id → frame indexed by `ts` with rate (fraction per interval), interval_hours, mark_price (NaN where unknown).
    settlements: columns instrument, ts, price. series: name → columns ts, known_at, value. events: columns ts, name, kind, and
    known_at (when it was announced; NaT or no column: at its time).
    """

    instruments: list[Instrument] = field(default_factory=list)
    bars: dict[str, pd.DataFrame] = field(default_factory=dict)
    funding: dict[str, pd.DataFrame] = field(default_factory=dict)
    settlements: pd.DataFrame = field(default_factory=lambda: empty(("instrument", "ts", "price")))
    series: dict[str, pd.DataFrame] = field(default_factory=dict)
    events: pd.DataFrame = field(default_factory=lambda: empty(("ts", "name", "kind")))
