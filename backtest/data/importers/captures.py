"""Raw captures of Binance's websockets: lines of `<ns> {json}`, the local receive time and the message, made into bars.

Read are bookTicker (quotes), trade, the stream of depth changes with the REST snapshots beside it, and partial books (`depth20`), of one spot or
USD-M market a file. Of depth changes alone no book can be built: without a snapshot depths stay unknown.

A tick is stamped with the time at which it was received, because nobody could act on it earlier. Where a recorder's clock runs behind the
exchange's, messages seem to arrive before they were sent: then the whole clock is moved up, by the most that it was seen to be behind so far,
so that nothing is known before it happened. A clock that runs ahead can't be told from a slow line, and makes data late, which is safe.

    parts = parse([source], Request(bar=pd.Timedelta("10s")))
"""

import re
from collections.abc import Iterator, Sequence

import pandas as pd

from backtest.data.importers.binance_specs import VENUE, assumed_instrument
from backtest.data.importers.captures_reader import Capture, market_of
from backtest.data.importers.common import Part, Request
from backtest.data.importers.naming import instrument_id
from backtest.data.importers.source import Source
from backtest.data.ticks.bars import TICK_BAR_COLUMNS, TickBars
from backtest.data.validate import in_dataset
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind

SILENCE = pd.Timedelta(1, "min")

_LINE = re.compile(rb'\d{10,20} \{\s*"(stream|e|u|lastUpdateId)"')


def sniff(source: Source) -> str | None:
    """A capture's market in words; None for a file that is no capture of Binance's websockets."""
    if not _LINE.match(source.head):
        return None
    market = market_of(source)
    if market is None:
        return "Binance websocket capture"
    return f"Binance websocket capture of {'spot' if market.spot else 'USD-M'} {market.symbol}"


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """Bars of `request.bar` from some captures; those of one market are read as one, in order of their first message."""
    markets: dict[str, tuple[Instrument, list[Source]]] = {}
    for source in sources:
        one = _instrument(source, request)
        markets.setdefault(one.id, (one, []))[1].append(source)
    for one, files in markets.values():
        yield from _market_parts(one, sorted(files, key=_first_stamp), request)


def _market_parts(one: Instrument, files: Sequence[Source], request: Request) -> Iterator[Part]:
    bars, capture = TickBars(request.bar, silence=SILENCE), Capture()
    last, nothing = files[-1], pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC", name="ts"), columns=list(TICK_BAR_COLUMNS), dtype=float)
    for source in files:
        for block in capture.blocks(source):
            for frame in bars.feed(block):
                yield _part(source, one, frame)
    for frame in bars.finish():
        yield _part(last, one, frame)
    if not bars.made:
        whole = f"holds no whole bar of {request.bar}"
        raise DataError(f"{last.name}: {whole}, as every bar that it could make begins before it or ends after it; choose a shorter bar")
    yield Part(
        source=last,
        room="bars",
        key=one.id,
        frame=nothing,
        instruments=[one],
        cut=bars.left_out,
        why_cut=f"bars are not covered whole (the capture begins, ends or is silent for over {SILENCE.seconds} s inside) and were left out",
        notes=[f"{one.id}: {note}" for note in capture.notes()],
    )


def _part(source: Source, one: Instrument, frame: pd.DataFrame) -> Part:
    where = in_dataset(source.name, pd.DatetimeIndex(frame.index))
    return Part(source=source, room="bars", key=one.id, frame=frame, where=where, instruments=[one])


def _instrument(source: Source, request: Request) -> Instrument:
    market = market_of(source)
    if market is None:
        raise DataError(f"{source.name}: none of its first messages is a quote, a trade or a change of a book; is it another capture?")
    if market.inverse:
        raise DataError(f"{source.name}: is coin-margined; only captures of spot and USD-M markets are read; leave the file out")
    if request.symbol not in (None, market.symbol):
        raise DataError(f"{source.name}: holds {market.symbol} and --symbol says {request.symbol}; leave --symbol or the file out")
    symbol, _, date = market.symbol.partition("_")
    kind = Kind.SPOT if market.spot else Kind.FUTURE if date else Kind.PERPETUAL
    known = request.known.get(instrument_id(VENUE, kind, symbol, date))
    return known or assumed_instrument(symbol, kind, date or None)


def _first_stamp(source: Source) -> int:
    return int(source.head.partition(b" ")[0])
