"""Hyperliquid: funding histories of the info endpoint, and order-book summaries.

Funding is paid every hour, at an eighth of F = P + clamp(0.01% − P, ±0.05%), on the oracle price; the answer's `fundingRate` is that hour's
fraction and `premium` the P that it came from. Stamps are the moment of the payment, up to two minutes after the hour that it is for. Prices are
in USD; collateral and payments are USDC.

    parts = parse(sources_in(["fundingHistory.json"]), Request(symbol="ETH"))
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from backtest.data.importers.common import Part, Request
from backtest.data.importers.record_parts import Funding, by_instrument, funding_parts, instrument, on_the_hour, series_part
from backtest.data.importers.records import Records, Shape, Venue, read, sniffed
from backtest.data.importers.source import Source
from backtest.instruments import Instrument, Kind

FUNDING = Shape(title="funding rates", fields=frozenset({"coin", "time"}))
BOOK = Shape(title="order-book summaries", fields=frozenset({"timestamp", "venue", "asset", "spread_bps"}))
HYPERLIQUID = Venue(name="Hyperliquid", shapes=(FUNDING, BOOK))

_NOTE = "Hyperliquid quotes in USD and settles in USDC; what the two differ by is not in these data"


def sniff(source: Source) -> str | None:
    """Tell funding rates and order-book summaries; None for a file of someone else."""
    return sniffed(source, HYPERLIQUID)


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """Funding with the premium it came from, and series of spread, depth and mid price; raises `DataError` with the place of what is wrong."""
    pieces = []
    for records in (records for source in sources for records in read(source, HYPERLIQUID)):
        for one, rows in by_instrument(records, request, "coin" if records.shape is FUNDING else "asset", _instrument, {}):
            if records.shape is FUNDING:
                pieces.append(_funding(one, rows))
            else:
                yield from _book(one, rows)
    yield from funding_parts(pieces)


def _instrument(coin: str) -> Instrument | None:
    return instrument("hyperliquid", Kind.PERPETUAL, coin, "USD") if re.fullmatch(r"[A-Za-z0-9]+", coin) else None


def _funding(one: Instrument, rows: Records) -> Funding:
    rate = "funding_rate" if "funding_rate" in rows.rows[0] else "fundingRate"
    columns = {"rate": rows.numbers(rate), "interval_hours": np.ones(len(rows)), "premium": rows.numbers("premium", missing=(None, ""))}
    return Funding(one, rows, on_the_hour(rows.times("time")), columns, [_NOTE])


def _book(one: Instrument, rows: Records) -> Iterator[Part]:
    times = rows.times("timestamp")
    yield series_part(rows, one, "spread", times, rows.numbers("spread_bps") * 1e-4)
    for name in (name for name in rows.rows[0] if re.fullmatch(r"depth_\d+bps", name)):
        yield series_part(rows, one, name, times, rows.numbers(name))
    if rows.has("mid_price"):
        yield series_part(rows, one, "mid", times, rows.numbers("mid_price", missing=(None,)))
