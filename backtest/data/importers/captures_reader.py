"""Lines of a websocket capture into ticks: which message is what, the receive clock, and the book behind the depths.

capture = Capture()
for block in capture.blocks(source): ...
"""

import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from backtest.data.importers.source import Source
from backtest.data.ticks import EARLIEST, LATEST, Depth, Quotes, Ticks, Trades, show_stamp
from backtest.data.ticks.book import Book, Change, Level
from backtest.errors import DataError

BLOCK = 20_000  # lines
APART = 600_000_000_000  # ns: clocks further apart than this are of different zones or units

_MS = 1_000_000
_PARTIAL = re.compile(r"@depth\d+(@|$)")
_QUOTE = frozenset("sbBaA")

Message = dict[str, Any]


class Market(NamedTuple):
    """What a capture is of: Binance's symbol, and which of its markets."""

    symbol: str
    spot: bool
    inverse: bool


def market_of(source: Source) -> Market | None:
    """The market that the first message with a symbol is of; None if none of those in the file's head has one."""
    for _, data in _head_messages(source):
        kind, symbol = _kind(data), data.get("s")
        if kind and isinstance(symbol, str):
            return Market(symbol, _is_spot(kind, data), "ps" in data or "_PERP" in symbol)
    return None


def _head_messages(source: Source) -> Iterator[tuple[int, Message]]:
    """Receive time and content of the messages in a file's head, as far as they can be read."""
    for line in source.head.splitlines():
        digits, _, text = line.partition(b" ")
        try:
            stamp, message = int(digits), json.loads(text)
            data = message.get("data", message)
        except (ValueError, AttributeError):
            continue
        if isinstance(data, dict):
            yield stamp, data


def _kind(data: Message) -> str | None:
    """What a message is: "quote", "trade", "change" of a book, a "snapshot" of one; None for anything else."""
    if "lastUpdateId" in data:
        return "snapshot"
    event = data.get("e", "bookTicker" if data.keys() >= _QUOTE else None)
    return {"bookTicker": "quote", "trade": "trade", "depthUpdate": "change"}.get(str(event))


def _is_spot(kind: str, data: Message) -> bool:
    """Spot says less of a quote and of a change, and more of a trade, than USD-M does."""
    return {"quote": "e" not in data, "trade": "M" in data}.get(kind, "pu" not in data)


class Capture:
    """Reads the captures of one market, one file after the other; the book and the clock go on from file to file."""

    def __init__(self) -> None:
        self.book = Book()
        self.behind = 0
        self.others: Counter[str] = Counter()
        self.no_trades = 0
        self.depths = [0, 0, 0]
        self._symbol: str | None = None
        self._source: Source | None = None
        self._line = 0
        self._rows: dict[str, list[tuple[Any, ...]]] = {"quotes": [], "trades": [], "depth": []}

    def blocks(self, source: Source) -> Iterator[Ticks]:
        """The ticks of a file, a bounded number of lines at a time; raises `DataError` with the line of what can't be read."""
        self._source, self._line = source, 0
        # quotes of spot don't say when they were sent: the first message that does sets the clock for those before it
        sent = next((data["E"] * _MS - stamp for stamp, data in _head_messages(source) if isinstance(data.get("E"), int)), 0)
        self.behind = max(self.behind, sent) if abs(sent) <= APART else self.behind
        with source.reading(), source.open() as content:
            lines = iter(content)
            while True:
                try:
                    line = next(lines, None)
                except (EOFError, zlib.error) as error:
                    text = f"{source.name} line {self._line + 1}: the compressed file is cut off or damaged from here on; download it again"
                    raise DataError(text) from error
                if line is None:
                    break
                self._line += 1
                if line.strip():
                    self._take(line)
                if self._line % BLOCK == 0:
                    yield self._block()
        yield self._block()

    def notes(self) -> Iterator[str]:
        """What the user should know of the capture."""
        if self.behind > 0:
            seconds = f"{self.behind / 1e9:.3f} s"
            yield (
                f"the recorder's clock was up to {seconds} behind the exchange's; its times were moved up, as nothing is received before it is sent"
            )
        updates, ten, fifty = self.depths
        if self.book.lost:
            yield f"changes of the book were missing {self.book.lost:,} times; depths are unknown from there to the next snapshot"
        if not updates:
            yield "has no book that can be rebuilt (changes need a snapshot to start from), so depths are unknown"
        elif fifty < updates:
            yield (
                f"of {updates:,} states of the book {ten / updates:.1%} reach 10 bps and {fifty / updates:.1%} reach 50 bps from the mid; "
                "a depth is unknown where the snapshot's levels end before that"
            )
        if self.no_trades:
            yield f"{self.no_trades:,} trades with the insurance fund or by deleveraging were left out"
        if self.others:
            yield f"{self.others.total():,} messages that make no bars were left out: {', '.join(sorted(self.others))}"

    @property
    def _place(self) -> str:
        return f"{self._source.name if self._source else ''} line {self._line}"

    def _take(self, line: bytes) -> None:
        """File one line's tick, if it has one."""
        stamp, message = self._parsed(line)
        data = message.get("data", message)
        if not isinstance(data, dict):
            data = {}
        time = self._known_at(stamp, data)
        kind, stream = _kind(data), str(message.get("stream", ""))
        if kind is None:
            self._other(data, stream)
            return
        if symbol := data.get("s"):
            self._one_symbol(str(symbol))
        if kind == "quote":
            best = [self._number(data, name) for name in "baBA"]
            self._rows["quotes"].append((time, self._line, *best))
        elif kind == "trade":
            self._trade(time, data)
        else:
            self._book(time, kind, data, stream)

    def _parsed(self, line: bytes) -> tuple[int, Message]:
        digits, _, text = line.strip().partition(b" ")
        try:
            stamp, message = int(digits), json.loads(text)
        except ValueError:
            stamp, message = 0, None
        if not isinstance(message, dict):
            shown = line[:40].decode("utf-8", errors="replace").strip()
            raise DataError(f'{self._place}: is not "<nanoseconds> {{json}}" but "{shown}…"; is the file cut off? remove the line')
        if not EARLIEST <= stamp < LATEST:
            raise DataError(
                f"{self._place}: time {stamp} is not nanoseconds since 1970 of the years 2000–2100; correct it or remove the line"
            )
        return stamp, message

    def _known_at(self, stamp: int, data: Message) -> int:
        """The receive time, moved up by the most that the clock was behind so far: never before the exchange sent the message."""
        sent = data.get("E")
        if sent is not None:
            lead = (sent if isinstance(sent, int) else 0) * _MS - stamp
            if abs(lead) > APART:
                times = f"received {show_stamp(stamp)} and sent {show_stamp(stamp + lead)}"
                raise DataError(f"{self._place}: {times}, over 10 minutes apart; is one in another unit or zone? correct the times")
            self.behind = max(self.behind, lead)
        return stamp + self.behind

    def _one_symbol(self, symbol: str) -> None:
        self._symbol = self._symbol or symbol
        if symbol != self._symbol:
            raise DataError(f"{self._place}: is of {symbol} in a capture of {self._symbol}; a capture holds one symbol; split the file")

    def _trade(self, time: int, data: Message) -> None:
        if data.get("X", "MARKET") != "MARKET":
            self.no_trades += 1
            return
        price, size = self._number(data, "p"), self._number(data, "q")
        if not isinstance(data.get("m"), bool):
            raise DataError(f"{self._place}: m (the buyer is the maker) is {data.get('m')}; it must be true or false; remove the line")
        self._rows["trades"].append((time, self._line, price, size, 0.0 if data["m"] else 1.0))

    def _book(self, time: int, kind: str, data: Message, stream: str) -> None:
        was_known = self.book.known
        bids, asks = (self._levels(data, names) for names in (("b", "bids"), ("a", "asks")))
        if kind == "snapshot" or _PARTIAL.search(stream):
            whole = _PARTIAL.search(stream) is None
            self.book.take_snapshot(int(self._number(data, "lastUpdateId")) if whole else None, bids, asks)
        else:
            before = self._number(data, "pu") if "pu" in data else self._number(data, "U") - 1
            self.book.take_change(Change(int(before), int(self._number(data, "u")), bids, asks))
        if self.book.known or was_known:
            ten, fifty = self.book.depths()
            self.depths = [self.depths[0] + 1, self.depths[1] + (not math.isnan(ten)), self.depths[2] + (not math.isnan(fifty))]
            self._rows["depth"].append((time, self._line, ten, fifty))

    def _levels(self, data: Message, names: tuple[str, str]) -> list[Level]:
        pairs = data.get(names[0], data.get(names[1]))
        try:
            levels = [(float(price), float(size)) for price, size in pairs]  # type: ignore[union-attr]
        except (TypeError, ValueError):
            raise DataError(f"{self._place}: levels of the book are not pairs of price and size; remove the line") from None
        for price, size in levels:
            if not (0 < price < math.inf and 0 <= size < math.inf):
                text = f"a level of the book is {price:.15g} × {size:.15g}; prices must be above 0, sizes not negative"
                raise DataError(f"{self._place}: {text}; correct the line or remove it")
        return levels

    def _number(self, data: Message, name: str) -> float:
        try:
            value = float(data[name])
        except (KeyError, TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise DataError(f'{self._place}: {name} is "{data.get(name)}", not a number; correct the line or remove it')
        return value

    def _other(self, data: Message, stream: str) -> None:
        """A message that makes no tick: an error answer is refused, any other is counted."""
        if "msg" in data or "error" in data:
            said = data.get("msg", data.get("error"))
            raise DataError(f"{self._place}: is an error answer of the exchange ({str(said)[:80]}); remove the line")
        self.others[stream.partition("@")[2] or str(data.get("e", "answers to requests"))] += 1

    def _block(self) -> Ticks:
        """What was filed since the last block."""
        name = self._source.name if self._source else ""
        lines = {kind: [row[1] for row in rows] for kind, rows in self._rows.items()}
        columns = {kind: _columns(rows) for kind, rows in self._rows.items()}
        self._rows = {kind: [] for kind in self._rows}
        return Ticks(
            quotes=Quotes(*columns["quotes"]),
            trades=Trades(*columns["trades"]),
            depth=Depth(*columns["depth"]),
            where=lambda kind, row: f"{name} line {lines[kind][row]}",
        )


def _columns(rows: list[tuple[Any, ...]]) -> list[Any]:
    """Arrays of times and values out of rows of time, line and values; none for no rows."""
    if not rows:
        return []
    times, _, *values = zip(*rows, strict=True)
    return [np.array(times, dtype=np.int64), *(np.array(column, dtype=np.float64) for column in values)]
