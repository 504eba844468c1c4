"""From when to when a dataset can be used for which strategy.

A carry needs two legs at the same stamps: cash and carry a spot and a dated future, funding carry a spot and a perpetual whose every funding event is
there, futures against the perpetual, and a calendar spread two dated contracts at a time. Holes that `load_market` passes over (four daily bars, a day
of finer ones) don't end a stretch; stretches that a finding spoils don't count.

    for one in verdict(found.seen.values(), found.findings): print(one.strategy, one.legs, one.longest)
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from backtest.data.checks.bars import Seen
from backtest.data.checks.spans import Spans, bridged, overlaps, without
from backtest.data.checks.words import NOTHING, Finding, counted
from backtest.data.hours import DAY
from backtest.instruments import Kind

LEAST = pd.Timedelta("2D")


@dataclass(frozen=True, kw_only=True)
class Usable:
    """A strategy, the legs it would trade, and where it can; `why` says what it needs where it can't."""

    strategy: str
    legs: str = ""
    spans: Spans = NOTHING
    why: str = ""

    @property
    def longest(self) -> tuple[pd.Timestamp, pd.Timestamp] | None:
        """Start and end of the longest stretch; None if there is none."""
        return self.spans.longest


@dataclass(frozen=True, kw_only=True)
class _Chain:
    """One leg of a strategy: an instrument, or the dated contracts of a venue and quote that are one after the other."""

    name: str
    venue: str
    base: str
    quote: str
    members: tuple[Seen, ...]


def verdict(seen: Iterable[Seen], findings: Sequence[Finding]) -> list[Usable]:
    """One row a strategy and choice of legs, those that can't be traded with the reason."""
    spoilt: dict[tuple[str, bool], list[Spans]] = {}
    for finding in findings:
        spoilt.setdefault((finding.instrument, finding.of_funding), []).append(finding.spoils)
    whole = list(seen)
    usable = {one.instrument.id: _usable(one, spoilt) for one in whole if len(one.covered)}
    paid = {one.instrument.id: without(one.paid, overlaps(spoilt.get((one.instrument.id, True), []), 1)) for one in whole}
    spots, perpetuals, futures = (_chains(whole, kind) for kind in (Kind.SPOT, Kind.PERPETUAL, Kind.FUTURE))
    work = _Work(usable, paid)
    return [
        *work.pairs("cash_and_carry", futures, spots, "a dated future and a spot of one coin with common stamps"),
        *work.pairs("funding_carry", perpetuals, spots, "a perpetual with its funding and a spot of one coin with common stamps"),
        *work.pairs(
            "futures_vs_perpetual", futures, perpetuals, "a dated future and a perpetual with its funding, of one coin, with common stamps"
        ),
        *work.calendars(futures),
    ]


class _Work:
    """The stretches of each instrument, put together for strategies."""

    def __init__(self, usable: dict[str, Spans], paid: dict[str, Spans]) -> None:
        self.usable, self.paid = usable, paid

    def pairs(self, strategy: str, shorts: Sequence[_Chain], longs: Sequence[_Chain], need: str) -> Iterator[Usable]:
        """For each first leg the second one that gives the longest time together."""
        rows = []
        for short in shorts:
            found = [(self._together(short, long), long) for long in longs if long.base == short.base]
            found = [(part, long) for part, long in found if len(part)]
            if found:
                part, long = max(
                    found, key=lambda one: (one[0].length, one[1].venue == short.venue, one[1].quote == short.quote, one[1].name)
                )
                rows.append(Usable(strategy=strategy, legs=f"{short.name} and {long.name}", spans=part))
        yield from rows or [Usable(strategy=strategy, why=f"needs {need}")]

    def calendars(self, futures: Sequence[_Chain]) -> Iterator[Usable]:
        """Where two dated contracts of one venue are there at once."""
        rows = []
        for chain in futures:
            part = _long_enough(overlaps([self.usable.get(one.instrument.id, NOTHING) for one in chain.members], 2))
            if len(part):
                rows.append(Usable(strategy="calendar_spread", legs=chain.name, spans=part))
        yield from rows or [Usable(strategy="calendar_spread", why="needs two dated futures of one coin at the same time")]

    def _together(self, short: _Chain, long: _Chain) -> Spans:
        parts = []
        for one in short.members:
            for other in long.members:
                if _meet(one, other):
                    legs = [self.usable.get(it.instrument.id, NOTHING) for it in (one, other)]
                    paid = [self.paid[it.instrument.id] for it in (one, other) if it.instrument.kind is Kind.PERPETUAL]
                    parts.append(overlaps([*legs, *paid], len(legs) + len(paid)))
        return _long_enough(overlaps(parts, 1))


def _usable(one: Seen, spoilt: dict[tuple[str, bool], list[Spans]]) -> Spans:
    """An instrument's bars without the stretches that a finding spoils, holes that a market passes over not counted."""
    step = one.step or DAY
    whole = bridged(one.covered, max(DAY, 4 * step).value)
    return without(whole, overlaps(spoilt.get((one.instrument.id, False), []), 1))


def _meet(one: Seen, other: Seen) -> bool:
    """True if the bars of two instruments end at common stamps: not a daily series of 00:00 and one whose Fridays end at 21:00."""
    if one.step is None or other.step is None or one.last is None or other.last is None:
        return False
    raster = min(one.step, other.step).value
    if one.daily_at and other.daily_at:
        return one.daily_at == other.daily_at
    return max(one.step, other.step).value % raster == 0 and (one.last.value - other.last.value) % raster == 0


def _chains(seen: Sequence[Seen], kind: Kind) -> list[_Chain]:
    """The instruments of a kind, dated contracts gathered by venue, coin, quote and settlement."""
    groups: dict[tuple[str, ...], list[Seen]] = {}
    for one in seen:
        it = one.instrument
        if it.kind is kind and one.rows:
            key = (it.venue, it.base, it.quote, it.settle) if kind is Kind.FUTURE else (it.id,)
            groups.setdefault(tuple(map(str, key)), []).append(one)
    chains = []
    for _, members in sorted(groups.items()):
        it = members[0].instrument
        name = it.id if len(members) == 1 else f"{counted(len(members), 'contract')} of {it.venue} in {it.quote}"
        chains.append(_Chain(name=name, venue=it.venue, base=it.base, quote=it.quote, members=tuple(members)))
    return chains


def _long_enough(part: Spans) -> Spans:
    keep = part.ends - part.starts >= LEAST.value
    return Spans(part.starts[keep], part.ends[keep])
