"""Kraken Futures: histories of funding rates.

Funding accrues every moment and is realised at the end of its period: four hours until September 2022, one since; the distance of the rows tells.
`relativeFundingRate` is the fraction of the spot price, which is the rate here. `fundingRate` is the same as an amount for one contract: USD for a
coin of a linear contract (PF_), coin for a USD of an inverse one (PI_). A row is stamped with the time of the period that the rate applies to, whose
beginning it is: the payment is complete one period later.

The answer does not say its contract, so the file's name or the user must: `PF_ETHUSD` (linear) or `PI_ETHUSD` (inverse).

    parts = parse(sources_in(["PF_ETHUSD.json"]), Request())
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from backtest.data.importers.common import Part, Request
from backtest.data.importers.naming import CURRENCIES
from backtest.data.importers.record_parts import Funding, funding_parts, instrument, known, named
from backtest.data.importers.records import Shape, Venue, read, sniffed
from backtest.data.importers.source import Source
from backtest.instruments import Instrument, Kind

FUNDING = Shape(title="funding rates", fields=frozenset({"timestamp", "relativeFundingRate"}))
KRAKEN = Venue(
    name="Kraken Futures",
    shapes=(FUNDING,),
    paths=(("rates",),),
    own=lambda answer: "rates" in answer or answer.get("result") == "error",
)

_NOTE = "Kraken stamps a rate with the beginning of the period that it accrues over"
_SYMBOL = r"P[FI]_[A-Z0-9]+USD"


def sniff(source: Source) -> str | None:
    """Tell funding rates; None for a file of someone else."""
    return sniffed(source, KRAKEN)


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """Funding rates as fractions; raises `DataError` with the place of what is wrong, and for a file whose contract nobody names."""
    pieces = []
    for records in (records for source in sources for records in read(source, KRAKEN)):
        one = known(named(records, request, _SYMBOL, _instrument, "PF_ETHUSD"), request, {})
        columns = {"rate": records.numbers("relativeFundingRate")}
        pieces.append(Funding(one, records, records.times("timestamp"), columns, [_NOTE]))
    yield from funding_parts(pieces)


def _instrument(symbol: str) -> Instrument | None:
    """PF_ETHUSD is ETHUSD-PERP.kraken; the inverse PI_ETHUSD, of the same pair, keeps its letters."""
    found = re.fullmatch(r"(P[FI])_([A-Z0-9]+)USD", symbol)
    if found is None:
        return None
    base = CURRENCIES.get(found[2], found[2])
    one = instrument("kraken", Kind.PERPETUAL, base, "USD", inverse=float(found[1] == "PI"))
    return replace(one, id=f"PI_{one.id}") if found[1] == "PI" else one
