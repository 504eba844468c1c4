"""What the user wants downloaded, checked before anything is asked for.

wanted = Wanted(venue="binance", symbol="ETHUSDT", start=pd.Timestamp("2024-01-01", tz="UTC"), end=pd.Timestamp.now("UTC"))
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from backtest.data.validate import show_time
from backtest.errors import ParameterError, did_you_mean

WHAT = ("klines", "mark", "index", "premium", "funding", "open_interest", "metrics")
DEFAULT_WHAT = ("klines", "funding")
BARS = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480, "12h": 720, "1d": 1440,
}  # fmt: skip
# A bar is final some moments after its end, and this machine's clock may run ahead of the venue's.
SETTLING = pd.Timedelta(1, "min")


@dataclass(frozen=True, kw_only=True)
class Venue:
    """What a venue's API gives: rows a request by what is asked for, and how far back it goes.

    keeps: what → the age beyond which the venue has none; keeps_bars: the number of bars that it keeps, of any length.
    interval: hours between its funding events where that never changed. forward: whether a page of funding begins at its start.
    quote: the quote currency by which its contracts are named here, where the venue names its collateral.
    """

    name: str
    ccxt: str
    rows: dict[str, int]
    keeps: dict[str, pd.Timedelta]
    keeps_bars: int | None = None
    interval: float | None = None
    forward: bool = False
    quote: str | None = None


VENUES = {
    one.name: one
    for one in (
        Venue(
            name="binance",
            ccxt="binance",
            rows={"klines": 1000, "mark": 1000, "index": 1000, "premium": 1000, "funding": 1000, "open_interest": 500},
            keeps={"open_interest": pd.Timedelta(30, "D")},
            forward=True,
        ),
        Venue(
            name="bybit",
            ccxt="bybit",
            rows={"klines": 1000, "mark": 1000, "index": 1000, "premium": 1000, "funding": 200, "open_interest": 200},
            keeps={},
        ),
        Venue(name="deribit", ccxt="deribit", rows={"klines": 5000, "funding": 720}, keeps={}, interval=1.0),
        Venue(
            name="hyperliquid",
            ccxt="hyperliquid",
            rows={"klines": 5000, "funding": 500},
            keeps={},
            keeps_bars=5000,
            interval=1.0,
            forward=True,
            quote="USD",
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A venue's symbol from start to end (UTC; what had not ended by then is left out); raises `ParameterError` for what can't be had.

    `symbol` is a pair such as ETHUSDT, which means its spot and its perpetual and with `futures` its dated contracts too, or one
    instrument: ETHUSDT-PERP, ETHUSDT-240329, or the venue's own name for it.
    """

    venue: str
    symbol: str
    start: pd.Timestamp
    end: pd.Timestamp
    what: Sequence[str] = DEFAULT_WHAT
    bar: str = "1h"
    futures: bool = False
    archive: bool = False

    def __post_init__(self) -> None:
        if self.venue not in VENUES:
            raise ParameterError(f'unknown venue "{self.venue}"; {did_you_mean(self.venue, list(VENUES))}')
        if self.archive and self.venue != "binance":
            raise ParameterError(f'the archive is that of binance, and {self.venue} has none; leave out "--via archive"')
        for each in self.what:
            self._refuse_what(each)
        if not self.what:
            raise ParameterError(f"--what is empty; name some of {', '.join(self._given)}")
        if self.bar not in BARS:
            raise ParameterError(f'--bar is "{self.bar}", which no venue has; {did_you_mean(self.bar, list(BARS))}')
        if self.start >= self.end:
            raise ParameterError(
                f"start must be before end: start={show_time(self.start)}, end={show_time(self.end)}; choose an earlier start"
            )

    @property
    def rules(self) -> Venue:
        """What the venue's API gives."""
        return VENUES[self.venue]

    @property
    def step(self) -> pd.Timedelta:
        """The length of a bar."""
        return pd.Timedelta(BARS[self.bar], "min")

    @property
    def _given(self) -> list[str]:
        return list(WHAT if self.archive else self.rules.rows)

    def _refuse_what(self, each: str) -> None:
        if each not in WHAT:
            raise ParameterError(f'--what has "{each}", which is nothing to download; {did_you_mean(each, list(WHAT))}')
        if each not in self._given:
            remedy = 'add "--via archive"' if self.venue == "binance" else f"it gives {', '.join(self._given)}"
            raise ParameterError(f'"{each}" can\'t be downloaded through the API of {self.venue}; {remedy}')
