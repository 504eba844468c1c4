"""Instruments: what can be a leg of a trade, with the facts that sizes, margin and expiry need.

An instrument is a spot, a perpetual or a dated future of one base asset against one quote currency on one venue. Ids read
`ETHUSDT-SPOT`, `ETHUSDT-PERP`, `ETHUSDT-240329` (delivery date as yymmdd).
"""

from dataclasses import dataclass
from enum import StrEnum

import pandas as pd


class Kind(StrEnum):
    """What an instrument is."""

    SPOT = "spot"
    PERPETUAL = "perpetual"
    FUTURE = "future"


class Settle(StrEnum):
    """How a derivative pays: linear in the quote currency, inverse in the base coin."""

    LINEAR = "linear"
    INVERSE = "inverse"


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """One row of `instruments.parquet`; None is "not known"."""

    id: str
    venue: str
    kind: Kind
    base: str
    quote: str
    settle: Settle = Settle.LINEAR
    multiplier: float = 1.0
    tick: float | None = None
    lot: float | None = None
    min_notional: float | None = None
    listed_at: pd.Timestamp | None = None
    expires_at: pd.Timestamp | None = None

    @property
    def derivative(self) -> bool:
        """True for perpetuals and dated futures: they are margined, not paid for."""
        return self.kind is not Kind.SPOT
