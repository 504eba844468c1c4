"""dYdX: funding histories of the indexer (v4) and of the older exchange (v3).

Funding is paid every hour on the oracle price. `rate` is the fraction of that hour, `price` the oracle price at it; `effectiveAt` is the time of
the block that paid, a moment after the hour. Pages come newest first. Prices are in USD; collateral and payments are USDC.

    parts = parse(sources_in(["historicalFunding.json"]), Request())
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from backtest.data.importers.common import Part, Request
from backtest.data.importers.record_parts import Funding, by_instrument, funding_parts, instrument, on_the_hour
from backtest.data.importers.records import Records, Shape, Venue, read, sniffed
from backtest.data.importers.source import Source
from backtest.instruments import Instrument, Kind

FUNDING = Shape(title="funding rates", fields=frozenset({"effectiveAt"}))
DYDX = Venue(
    name="dYdX",
    shapes=(FUNDING,),
    paths=(("result", "historicalFunding"), ("historicalFunding",)),
    own=lambda answer: "historicalFunding" in answer or "isoTimestamp" in answer or set(answer) == {"errors"},
)

_NOTE = "dYdX quotes in USD and settles in USDC; what the two differ by is not in these data"


def sniff(source: Source) -> str | None:
    """Tell funding rates; None for a file of someone else."""
    return sniffed(source, DYDX)


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """Hourly funding with the oracle price; raises `DataError` with the place of what is wrong."""
    pieces = []
    for records in (records for source in sources for records in read(source, DYDX)):
        column = "ticker" if records.has("ticker") else "market"
        pieces += [_funding(one, rows) for one, rows in by_instrument(records, request, column, _instrument, {})]
    yield from funding_parts(pieces)


def _instrument(ticker: str) -> Instrument | None:
    found = re.fullmatch(r"([A-Z0-9]+)-USD", ticker)
    return instrument("dydx", Kind.PERPETUAL, found[1], "USD") if found else None


def _funding(one: Instrument, rows: Records) -> Funding:
    price = rows.numbers("price", missing=(None, ""))
    columns = {"rate": rows.numbers("rate"), "interval_hours": np.ones(len(rows)), "mark_price": price, "oracle_price": price}
    return Funding(one, rows, on_the_hour(rows.times("effectiveAt")), columns, [_NOTE])
