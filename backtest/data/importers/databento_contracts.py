"""CME's crypto futures as an export of the exchange names them: product, month letter and year; and when a day's bar closes.

future("MET", 12, 2021).expires_at      # 2021-12-31 16:00 London
"""

from functools import cache

import numpy as np
import pandas as pd

from backtest.errors import DataError, did_you_mean
from backtest.instruments import Instrument, Kind
from backtest.venues.calendar import expiry, is_open

MONTHS = "FGHJKMNQUVXZ"
# product → base currency and how much of it a contract is
PRODUCTS = {"MET": ("ETH", 0.1), "ETH": ("ETH", 50.0), "MBT": ("BTC", 0.1), "BTC": ("BTC", 5.0)}

_CLOSE = pd.Timedelta("16h")  # of a session in Chicago
_DAY = pd.Timedelta("1D")


@cache
def future(product: str, month: int, year: int) -> Instrument:
    """One outright contract; quantities are in base units, so its size is the lot. Raises `DataError` for a product that isn't known."""
    if product not in PRODUCTS:
        raise DataError(f'product "{product}" is not one of CME\'s crypto futures; {did_you_mean(product, list(PRODUCTS))}; leave it out')
    base, size = PRODUCTS[product]
    expires_at = expiry("cme", year, month)
    return Instrument(
        id=f"{product}USD-{expires_at:%y%m%d}.cme",
        venue="cme",
        kind=Kind.FUTURE,
        base=base,
        quote="USD",
        multiplier=size,
        lot=size,
        expires_at=expires_at,
    )


def closes_of_days(days: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """When the close of each UTC day's bar was known: 24:00 where the market is open then, else 16:00 in Chicago.

    On a day with an early close that is too late by some hours, which is harmless; the exchange's early hours for crypto are not known.
    """
    midnights = days + _DAY
    local = (days.tz_localize(None) + _CLOSE).tz_localize("America/Chicago").tz_convert("UTC")
    ends = np.where(is_open("cme", midnights), midnights.as_unit("ns").asi8, local.as_unit("ns").asi8)
    return pd.DatetimeIndex(ends, tz="UTC")
