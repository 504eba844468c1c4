"""What instruments are called here, and what a venue's symbols tell of them: ids, delivery dates, what a contract is worth.

instrument_id("okx", Kind.FUTURE, "ETHUSD", "240329")      # ETHUSD-240329.okx
"""

import re

import pandas as pd

from backtest.instruments import Kind

# whose names files and folders bear
VENUES = ("binance", "bybit", "okx", "hyperliquid", "deribit", "dydx", "kraken", "bitmex", "coinbase")
# a venue's own name of a currency → everyone's
CURRENCIES = {"XBT": "BTC", "XDG": "DOGE"}

_DELIVERY_HOUR = pd.Timedelta(8, "h")  # of all venues whose symbols carry a date, UTC
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_SUFFIX = {Kind.SPOT: "SPOT", Kind.PERPETUAL: "PERP"}
# venue → what one inverse contract is worth in USD, by base; "" for any other, and 1 for other venues
_VALUES = {"binance": {"BTC": 100.0, "": 10.0}, "okx": {"BTC": 100.0, "": 10.0}, "deribit": {"BTC": 10.0}}
# (venue, base, quote) → what one linear contract is, in base units, where it is not 1
_SIZES = {("okx", "BTC", "USDT"): 0.01, ("okx", "ETH", "USDT"): 0.1}


def instrument_id(venue: str, kind: Kind, pair: str, date: str | None = None) -> str:
    """The id of a pair as `kind`, a future with its delivery as yymmdd; all venues but Binance are named behind it."""
    return f"{pair}-{_SUFFIX.get(kind, date)}" + ("" if venue == "binance" else f".{venue}")


def delivery(date: str) -> pd.Timestamp | None:
    """Delivery of the contract named yymmdd, at 08:00 UTC; None if that is not a date."""
    day = pd.to_datetime(date, format="%y%m%d", errors="coerce", utc=True) if re.fullmatch(r"\d{6}", date) else pd.NaT
    return None if pd.isna(day) else day.as_unit("ns") + _DELIVERY_HOUR


def yymmdd(date: str) -> str:
    """A date such as 27DEC24 or 5JAN24 as 241227; "" if it is none."""
    found = re.fullmatch(r"(\d{1,2})([A-Z]{3})(\d\d)", date)
    if found is None or found[2] not in _MONTHS:
        return ""
    written = f"{found[3]}{_MONTHS.index(found[2]) + 1:02}{int(found[1]):02}"
    return written if delivery(written) else ""


def inverse_value(venue: str, base: str) -> float:
    """What one inverse contract is worth in its quote currency."""
    values = _VALUES.get(venue, {})
    return values.get(base, values.get("", 1.0))


def linear_size(venue: str, base: str, quote: str) -> float:
    """What one linear contract is, in base units."""
    return _SIZES.get((venue, base, quote), 1.0)
