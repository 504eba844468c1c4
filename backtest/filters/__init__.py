"""Filters and sizers: what any strategy takes besides its own rule, each a small object with one purpose.

A filter says where an entry is allowed, a sizer how large it is. What isn't known forbids. Exits are never held back; a roll is an entry.

    FundingCarry(filters=[bt.RegimeFilter(), bt.FundingWindow("1h")], sizers=bt.VolatilitySizer(0.4))
    python strategies/funding_carry.py --filter regime=calm,trending funding=1h --sizer volatility=0.4
"""

import textwrap
from collections.abc import Sequence
from dataclasses import fields

from backtest.filters.apply import closed, filtered
from backtest.filters.base import Allowed, Bools, Filter, Sizer, gathered, parse
from backtest.filters.entries import (
    CrowdingFilter,
    EventFilter,
    FundingWindow,
    LeverageFilter,
    OpenInterestFilter,
    RegimeFilter,
    VolumeDeltaFilter,
)
from backtest.filters.sizes import LiquiditySizer, PercentileSizer, VolatilitySizer

__all__ = [
    "FILTERS", "SIZERS", "Allowed", "Bools", "CrowdingFilter", "EventFilter", "Filter", "Filters", "FundingWindow", "LeverageFilter",
    "LiquiditySizer", "OpenInterestFilter", "PercentileSizer", "RegimeFilter", "Sizer", "Sizers", "VolatilitySizer", "VolumeDeltaFilter",
    "closed", "filtered", "filters_of", "listed", "parse_filter", "parse_sizer", "sizers_of",
]  # fmt: skip

Filters = Filter | str | Sequence[Filter | str]
Sizers = Sizer | str | Sequence[Sizer | str]

FILTERS: dict[str, type[Filter]] = {
    kind.name: kind
    for kind in (RegimeFilter, OpenInterestFilter, VolumeDeltaFilter, LeverageFilter, CrowdingFilter, EventFilter, FundingWindow)
}
SIZERS: dict[str, type[Sizer]] = {kind.name: kind for kind in (PercentileSizer, VolatilitySizer, LiquiditySizer)}


def parse_filter(text: str) -> Filter:
    """A filter as one types it: "regime", "regime=calm", "events=2D,1D", "events=after=3D". ParameterError for what is none."""
    return parse(FILTERS, "filter", text)


def parse_sizer(text: str) -> Sizer:
    """A sizer as one types it: "volatility", "volatility=0.4". ParameterError for what is none."""
    return parse(SIZERS, "sizer", text)


def filters_of(given: object) -> tuple[Filter, ...]:
    """The filters that a user means by one, a text, or several of them. ParameterError for what is none, and for one that stands twice."""
    return gathered(given, Filter, FILTERS)


def sizers_of(given: object) -> tuple[Sizer, ...]:
    """The sizers that a user means, as `filters_of`."""
    return gathered(given, Sizer, SIZERS)


def listed() -> str:
    """All filters and sizers with their defaults and what they do, for the help of a command line."""
    lines = []
    for what, kinds in (("filters", FILTERS), ("sizers", SIZERS)):
        lines.append(f"{what}:")
        for kind in kinds.values():
            names, does = ",".join(item.name for item in fields(kind)), (kind.__doc__ or "").partition("\n")[0]
            lines += [f"  {kind()}", *textwrap.wrap(f"({names}) {does}", 72, initial_indent=" " * 6, subsequent_indent=" " * 6)]
    return "\n".join(lines)
