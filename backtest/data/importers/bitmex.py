"""BitMEX: funding histories, and the funding table of its websocket.

`fundingRate` is the fraction for the interval, paid at `timestamp` on the mark price; `fundingRateDaily` is the same for a day and not read.
`fundingInterval` is a time of day on 2000-01-01: T08:00 means eight hours. Bitcoin is XBT there and BTC here. `XBTUSD` and its like are inverse,
a contract being one USD; symbols in USDT are linear; other pairs in USD pay in bitcoin (quanto) and can't be imported.

    parts = parse(sources_in(["funding.json"]), Request(symbol="XBTUSD"))
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from backtest.data.importers.common import Part, Request
from backtest.data.importers.naming import CURRENCIES
from backtest.data.importers.record_parts import Funding, by_instrument, funding_parts, instrument
from backtest.data.importers.records import Records, Shape, Venue, read, sniffed
from backtest.data.importers.source import Source
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind

FUNDING = Shape(title="funding rates", fields=frozenset({"timestamp", "symbol", "fundingInterval"}))
BITMEX = Venue(
    name="BitMEX",
    shapes=(FUNDING,),
    paths=(("data",),),
    own=lambda answer: answer.get("table") == "funding" or set(answer) == {"error"},
)

_NO_TIME = pd.Timestamp("2000-01-01", tz="UTC")


def sniff(source: Source) -> str | None:
    """Tell funding rates; None for a file of someone else."""
    return sniffed(source, BITMEX)


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """Funding rates with their own intervals; raises `DataError` with the place of what is wrong."""
    pieces = []
    for records in (records for source in sources for records in read(source, BITMEX)):
        for one, rows in by_instrument(records, request, "symbol", _instrument, {}):
            columns = {"rate": rows.numbers("fundingRate"), "interval_hours": _hours(rows)}
            pieces.append(Funding(one, rows, rows.times("timestamp"), columns))
    yield from funding_parts(pieces)


def _instrument(symbol: str) -> Instrument | None:
    found = re.fullmatch(r"([A-Z0-9]+?)(USDT|USD)", symbol)
    if found is None or (found[2] == "USD" and found[1] != "XBT"):
        return None
    base = CURRENCIES.get(found[1], found[1])
    return instrument("bitmex", Kind.PERPETUAL, base, found[2], inverse=float(found[2] == "USD"))


def _hours(rows: Records) -> np.ndarray:
    texts = rows.text("fundingInterval")
    passed = pd.to_datetime(pd.Series(texts, dtype=object), format="ISO8601", utc=True, errors="coerce") - _NO_TIME
    hours = (passed / pd.Timedelta(1, "h")).to_numpy()
    for row in np.flatnonzero(~((hours > 0) & (hours <= 24))):
        raise DataError(
            f'{rows.where(int(row))}: fundingInterval is "{texts[row]}", not a time of day on 2000-01-01 such as T08:00; '
            "correct the record or remove it"
        )
    return np.asarray(hours)
