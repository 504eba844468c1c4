"""Everything `carry data check` finds, instrument by instrument.

The legs of one coin are read in order (spots, perpetuals, futures); only the prices of spots and perpetuals are kept while the others are held against
them, so a dataset needs no more memory than a few of its instruments. Anything with `instruments`, `bars(id)` and `funding(id)` is read: an opened
dataset, or tables in memory.

    found = examine(open_dataset("data/mine"))
    for finding in found.findings: print(finding.text)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pandas as pd

from backtest.data.checks.bars import Seen, bar_findings, look, rate_findings, venue_findings
from backtest.data.checks.funding import funding_findings
from backtest.data.checks.group import Group
from backtest.data.checks.legs import Leg
from backtest.data.checks.words import Finding
from backtest.data.schema import PRICES, Tables, empty
from backtest.data.validate import bar_errors, delivery_errors, funding_errors, in_dataset
from backtest.instruments import Instrument, Kind

ORDER = {Kind.SPOT: 0, Kind.PERPETUAL: 1, Kind.FUTURE: 2}


class Content(Protocol):
    """What can be examined: a `Dataset`, or `InMemory` tables."""

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """Instruments by id."""
        ...

    def bars(self, instrument: str) -> pd.DataFrame:
        """Bars on their index of stamps, empty for none."""
        ...

    def funding(self, instrument: str) -> pd.DataFrame:
        """Funding events on their index of times, empty for none."""
        ...


class InMemory:
    """Tables as something to examine."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.instruments = {one.id: one for one in sorted(tables.instruments, key=lambda one: one.id)}

    def bars(self, instrument: str) -> pd.DataFrame:
        """Bars on their index of stamps, empty for none."""
        return self.tables.bars.get(instrument, _none(PRICES))

    def funding(self, instrument: str) -> pd.DataFrame:
        """Funding events on their index of times, empty for none."""
        return self.tables.funding.get(instrument, _none(("rate",)))


@dataclass(kw_only=True)
class Examined:
    """Errors (what can't be true) and findings in order of instruments, and what was seen of each."""

    errors: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=dict)


def examine(content: Content) -> Examined:
    """Read a dataset once and say everything that is wrong with it; its rules hold for data without errors only."""
    out = Examined()
    bases: dict[str, list[Instrument]] = {}
    for one in sorted(content.instruments.values(), key=lambda one: (ORDER[one.kind], one.id)):
        bases.setdefault(one.base, []).append(one)
    for members in bases.values():
        _examine_base(content, members, out)
    out.seen = dict(sorted(out.seen.items()))
    out.findings += venue_findings(out.seen.values())
    quotes = sorted({one.quote for one in content.instruments.values()})
    if len(quotes) > 1:
        text = f"quotes are in {', '.join(quotes)}: a premium between them contains the exchange rate"
        out.findings.append(Finding(rule="quotes", instrument="", text=text, grave=False))
    names = {name: place for place, name in enumerate(sorted(content.instruments))}
    out.findings.sort(key=lambda finding: names.get(finding.instrument, len(names)))
    return out


def _examine_base(content: Content, members: Sequence[Instrument], out: Examined) -> None:
    """Read the legs of one coin and hold each against another; those that others are held against are kept meanwhile."""
    kept: list[Leg] = []
    only_futures = all(one.kind is Kind.FUTURE for one in members)
    group = Group()
    for one in members:
        bars, funding = content.bars(one.id), content.funding(one.id)
        errors = _errors(one, bars, funding)
        out.errors += errors
        if errors:
            out.seen[one.id] = Seen(instrument=one, rows=len(bars))
            continue
        out.seen[one.id] = look(one, bars, funding)
        out.findings += bar_findings(one, bars)
        if one.kind is Kind.PERPETUAL:
            out.findings += funding_findings(one, funding, pd.DatetimeIndex(bars.index))
            out.findings += rate_findings(one, funding)
        if not len(bars):
            continue
        leg = Leg(instrument=one, prices=bars[list(PRICES)])
        if one.kind is Kind.FUTURE and not only_futures:
            out.findings += group.hold(leg, kept)
        else:
            kept.append(leg)
    for leg in kept:
        out.findings += group.hold(leg, kept)
    out.findings += group.findings()


def _errors(one: Instrument, bars: pd.DataFrame, funding: pd.DataFrame) -> list[str]:
    found: list[str] = []
    if len(bars):
        times = pd.DatetimeIndex(bars.index)
        found += [*bar_errors(bars, in_dataset(one.id, times)), *delivery_errors(one, times, in_dataset(one.id, times))]
    if len(funding):
        found += funding_errors(funding, in_dataset(f"{one.id} funding", pd.DatetimeIndex(funding.index)))
    return found


def _none(columns: tuple[str, ...]) -> pd.DataFrame:
    return empty(columns).set_axis(pd.DatetimeIndex([], tz="UTC"))
