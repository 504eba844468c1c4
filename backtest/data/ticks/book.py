"""An order book rebuilt from a snapshot and the changes after it, for the depth within some bps of the mid.

An exchange gives a snapshot of the best levels (Binance: at most 1,000 a side) and streams every level that changes. Beyond the last level of
the snapshot the book stays unknown, however many changes are seen there: what doesn't change is never told. So a depth is a number only
while all of its range lies within the snapshot's, and NaN otherwise; a change that is missing makes the whole book unknown until the next
snapshot.

    book.take_snapshot(number, bids, asks); book.take_change(change); book.depths() == (1.2e6, nan)
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from backtest.data.ticks import Floats

REACHES = (10e-4, 50e-4)

_KEPT_CHANGES = 1000  # a snapshot is asked for beside the stream, and may arrive after changes that it doesn't hold

Level = tuple[float, float]


class Change(NamedTuple):
    """Levels (price, size) that changed, size 0 for one that is gone, in the exchange's updates after number `before` up to and with `last`."""

    before: int
    last: int
    bids: Sequence[Level]
    asks: Sequence[Level]


class Book:
    """One market's order book; `known` while a snapshot and every change since are there, `lost` counts the times that a change was missing."""

    def __init__(self) -> None:
        self.bids, self.asks = _Side(), _Side()
        self.lost = 0
        self._number: int | None = None
        self._partial = False
        self._lowest, self._highest = np.inf, -np.inf
        self._recent: deque[Change] = deque(maxlen=_KEPT_CHANGES)

    @property
    def known(self) -> bool:
        """Whether the levels within the snapshot's range are those of now."""
        return self._number is not None

    def take_snapshot(self, number: int | None, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Begin anew with the best levels as of update `number`, and the changes seen after it.

        None for a stream of partial books, each of which is all that is known: it is passed over while changes tell more.
        """
        if number is None and self.known and not self._partial:
            return
        self._partial = number is None
        self._lowest = min((price for price, _ in bids), default=np.inf)
        self._highest = max((price for price, _ in asks), default=-np.inf)
        self.bids, self.asks = _Side(), _Side()
        self.bids.change(bids)
        self.asks.change(asks)
        self._number = -1 if number is None else number
        if number is not None:
            for change in self._recent:
                self._apply(change)

    def take_change(self, change: Change) -> None:
        """Change some levels; a change older than the snapshot is passed over."""
        self._recent.append(change)
        self._apply(change)

    def _apply(self, change: Change) -> None:
        if self._number is None or self._partial or change.last <= self._number:
            return
        if change.before > self._number:
            self.lost += 1
            self._number = None
            return
        self._number = change.last
        self.bids.change([level for level in change.bids if level[0] >= self._lowest])
        self.asks.change([level for level in change.asks if level[0] <= self._highest])

    def best(self) -> tuple[float, float]:
        """Best bid and ask; NaN where a side is empty or the book unknown."""
        if not self.known or not len(self.bids.prices) or not len(self.asks.prices):
            return np.nan, np.nan
        return float(self.bids.prices[-1]), float(self.asks.prices[0])

    def depths(self) -> tuple[float, float]:
        """Notional within 10 and 50 bps of the mid, both sides together; NaN where the book isn't known that far, or is crossed."""
        bid, ask = self.best()
        if not bid < ask:
            return np.nan, np.nan
        ten, fifty = (self._within((bid + ask) / 2.0, reach) for reach in REACHES)
        return ten, fifty

    def _within(self, mid: float, reach: float) -> float:
        low, high = mid * (1.0 - reach), mid * (1.0 + reach)
        if low < self._lowest or high > self._highest:
            return np.nan
        return self.bids.notional(low, high) + self.asks.notional(low, high)


class _Side:
    """Levels of one side in order of price."""

    def __init__(self) -> None:
        self.prices: Floats = np.empty(0)
        self.sizes: Floats = np.empty(0)

    def change(self, levels: Sequence[Level]) -> None:
        """Set, add or remove levels; of one that stands twice the last counts."""
        if not levels:
            return
        pairs = np.array(sorted(dict(levels).items()), dtype=np.float64)
        prices, sizes = pairs[:, 0], pairs[:, 1]
        rows = np.searchsorted(self.prices, prices)
        there = np.zeros(len(rows), dtype=bool)
        inside = rows < len(self.prices)
        there[inside] = self.prices[rows[inside]] == prices[inside]
        self.sizes[rows[there]] = sizes[there]
        fresh = ~there & (sizes > 0)
        if fresh.any():
            self.prices = np.insert(self.prices, rows[fresh], prices[fresh])
            self.sizes = np.insert(self.sizes, rows[fresh], sizes[fresh])
        if (sizes[there] == 0).any():
            kept = self.sizes > 0
            self.prices, self.sizes = self.prices[kept], self.sizes[kept]

    def notional(self, low: float, high: float) -> float:
        """Price times size of the levels from `low` to `high`, both included."""
        first, stop = np.searchsorted(self.prices, low, side="left"), np.searchsorted(self.prices, high, side="right")
        return float(self.prices[first:stop] @ self.sizes[first:stop])
