"""The market as it stood at a bar: without the instruments that begin later, so that what comes is no choice between legs and no leg by default.

Further contracts of the futures that trade by then stay: they have no price before they begin, and only lengthen the chain.

    market_by(market, bar).perpetual     # the only one that had begun by then
"""

from collections.abc import Hashable, Iterator
from copy import copy

from backtest.instruments import Instrument, Kind
from backtest.market import Market


def begun(market: Market, bar: int) -> list[Instrument]:
    """The instruments that have had a bar by then."""
    return [one for one in market.instruments.values() if market.first_bar(one.id) <= bar]


def market_by(market: Market, bar: int) -> Market:
    """The market itself where nothing has to be left out, else a copy without the instruments that begin later; the same one for the same instruments."""
    there = begun(market, bar)
    kept = {one.id for one in (*there, *_further(market, there))}
    if len(kept) == len(market.instruments):
        return market
    return market.memo(("market of", frozenset(kept)), lambda: _less(market, kept))


def _further(market: Market, there: list[Instrument]) -> Iterator[Instrument]:
    """Later contracts that lengthen the chain of those that are there: of their product, and of an expiry of their own."""
    futures = [one for one in there if one.kind is Kind.FUTURE]
    products, expiries = {_product(one) for one in futures}, {one.expires_at for one in futures}
    known = {one.id for one in there}
    for one in market.instruments.values():
        if one.kind is Kind.FUTURE and one.id not in known and _product(one) in products and one.expires_at not in expiries:
            expiries.add(one.expires_at)
            yield one


def _product(one: Instrument) -> Hashable:
    return one.venue, one.base, one.quote, one.settle


def _less(market: Market, kept: set[str]) -> Market:
    """A market of some of the instruments on the same clock; it remembers answers by itself, as those about the whole market are not its own."""
    other = copy(market)
    other.instruments = {name: one for name, one in market.instruments.items() if name in kept}
    other._memo = {}
    return other
