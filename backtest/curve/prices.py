"""The prices of the curve: days to expiry, premium and annualized premium of every contract, and which contract a chain offers when.

premium = (F − S)/S; annualized premium = premium·365/D with D the fractional days to expiry, or continuously compounded ln(F/S)·365/D.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from backtest.errors import ParameterError
from backtest.instruments import Kind
from backtest.joins import refuse_other_hours
from backtest.market import DAY, Floats, Market, frozen, whole_days
from backtest.memo import THE_FUTURES, THE_SPOT, signal
from backtest.rule import Leg, choice

FEWEST_DAYS = 1.0  # below, an annualized premium is noise of hundreds of percent
NEVER = 2**62
WORTH_THREADS, MOST_THREADS = 1_000_000, 4  # values of a table; threads that lay out its rows


class Compounding(StrEnum):
    """How a premium is made a rate a year: premium·365/D, or ln(F/S)·365/D."""

    SIMPLE = "simple"
    CONTINUOUS = "continuous"


def expiries(market: Market, leg: Leg) -> npt.NDArray[np.int64]:
    """Expiry of each contract of a leg in ns; `NEVER` for none. [contract]"""
    instants = (market.instruments[name].expires_at for name in leg.contracts)
    return np.array([NEVER if instant is None else instant.as_unit("ns").value for instant in instants], np.int64)


# A chain of five years has twenty contracts, of which two or three are alive at a time. What is about one contract is computed over its life; a table of
# all is laid out when it is asked for.


def table(market: Market, leg: Leg, fill: Callable[[str, slice], Floats | float]) -> Floats:
    """A table that is NaN outside of each contract's life, inside what `fill` gives for its id and the bars of its life. [contract, bar]"""
    out = np.empty((len(leg.contracts), len(market)))

    def lay(row: Floats, name: str) -> None:
        life = market.life(name)
        row[: life.start] = row[life.stop :] = np.nan
        row[life] = fill(name, life)

    if out.size < WORTH_THREADS:
        list(map(lay, out, leg.contracts))
    else:  # mostly waiting for memory, which two threads do twice as fast
        with ThreadPoolExecutor(MOST_THREADS) as threads:
            list(threads.map(lay, out, leg.contracts))
    return out


def days_left(market: Market, name: str) -> Floats:
    """D of one contract; infinite without an expiry. [bar of its life]"""
    (end,) = expiries(market, Leg(kind=market.instruments[name].kind, contracts=(name,)))
    return market.memo(("days left", name), lambda: frozen(np.where(end < NEVER, (end - market.stamps[market.life(name)]) / DAY, np.inf)))


def premium_of(market: Market, name: str, spot: Leg) -> Floats:
    """(F − S)/S of one contract; NaN where either close is not fresh. [bar of its life]"""
    against = market.close(one_spot(spot).contracts[0])
    return market.memo(("premium", name, spot.contracts), lambda: frozen(market.fresh(name) / against[market.life(name)] - 1.0))


def rate_of(market: Market, name: str, spot: Leg, compounding: Compounding = Compounding.SIMPLE) -> Floats:
    """The annualized premium of one contract; NaN for D below one day. [bar of its life]"""
    fraction, days = premium_of(market, name, spot), days_left(market, name)
    out = np.full(len(days), np.nan)
    yearly = 365.0 * (np.log1p(fraction) if compounding is Compounding.CONTINUOUS else fraction)
    np.divide(yearly, days, out=out, where=days >= FEWEST_DAYS)
    return out


@signal
def days_to_expiry(market: Market, leg: Leg = THE_FUTURES) -> Floats:
    """D of each contract at each bar's end; infinite without an expiry, NaN after it. [contract, bar]"""
    out = np.empty((len(leg.contracts), len(market)))
    for row, end in zip(out, expiries(market, leg), strict=True):
        expired = int(np.searchsorted(market.stamps, end, side="right"))
        np.divide(end - market.stamps, DAY, out=row) if end < NEVER else row.fill(np.inf)
        row[expired:] = np.nan
    return out


@signal
def closes(market: Market, leg: Leg = THE_FUTURES) -> Floats:
    """Fresh closes of each contract; NaN elsewhere. [contract, bar]"""
    return table(market, leg, lambda name, bars: market.fresh(name))


@signal
def premium(market: Market, leg: Leg = THE_FUTURES, spot: Leg = THE_SPOT) -> Floats:
    """(F − S)/S of each contract against the spot; NaN where either close is not fresh. [contract, bar]

    Raises DataError where the two legs close at different hours (`backtest.joins`).
    """
    matched(market, leg, spot)
    return table(market, leg, lambda name, bars: premium_of(market, name, spot))


@signal
def annualized_premium(market: Market, leg: Leg = THE_FUTURES, spot: Leg = THE_SPOT, *, compounding: str = Compounding.SIMPLE) -> Floats:
    """premium·365/D, or ln(F/S)·365/D with compounding="continuous"; NaN for D below one day. [contract, bar]

    Raises ParameterError for a leg without expiry: a perpetual has no D. DataError as `premium`.
    """
    kind = choice("compounding", compounding, Compounding)
    matched(market, dated(leg), spot)
    return table(market, leg, lambda name, bars: rate_of(market, name, spot, kind))


@signal
def contango(market: Market, leg: Leg = THE_FUTURES, spot: Leg = THE_SPOT) -> Floats:
    """1 where a contract trades above spot (contango), −1 below (backwardation), 0 at it; NaN where the premium is unknown. [contract, bar]"""
    matched(market, leg, spot)
    return table(market, leg, lambda name, bars: np.sign(premium_of(market, name, spot)))


def matched(market: Market, leg: Leg, spot: Leg) -> None:
    """ParameterError for a spot that is a chain, DataError where the two legs close at different hours."""
    refuse_other_hours(market, leg, one_spot(spot))


def dated(leg: Leg) -> Leg:
    """The leg, if it is of dated contracts; ParameterError if not."""
    if leg.kind is not Kind.FUTURE:
        raise ParameterError(f"an annualized premium needs a dated contract: {leg}; for a perpetual use annualized_funding")
    return leg


def one_spot(leg: Leg) -> Leg:
    """The leg, if it is one instrument; ParameterError if it is a chain."""
    if leg.chain:
        raise ParameterError(f"premium is measured against one instrument: {leg}; give a spot")
    return leg


def offered(market: Market, leg: Leg) -> npt.NDArray[np.int64]:
    """Which contract an entry at each bar's end would take, −1 for none: of the contracts with a fresh close, D > 0 and D ≥ min_days the `nth` by expiry. [bar]

    A single dated contract is offered until it expires, a spot or perpetual always, both only with a fresh close.
    """

    def build() -> npt.NDArray[np.int64]:
        ahead = expiries(market, leg)[:, None] - market.stamps
        open_to_entry = (ahead > 0) & ~np.isnan(closes(market, leg))
        if leg.chain:
            open_to_entry &= ahead >= whole_days(leg.min_days)
        if leg.chain and leg.nth > 1:
            open_to_entry &= np.cumsum(open_to_entry, axis=0) == leg.nth
        chosen = np.where(open_to_entry.any(axis=0), open_to_entry.argmax(axis=0), -1)
        chosen.flags.writeable = False
        return chosen

    return market.memo(("offered", leg), build)


def pairs(market: Market, long: Leg | None, short: Leg | None) -> npt.NDArray[np.int64]:
    """The pairs of contracts that a rule can hold: columns (contract of the long slot, of the short slot), −1 for an empty slot. [pair, 2]

    One chain: its contracts in order. Two chains: the pairs of two contracts that they offer together at any time, in order of appearance. A signal table has a row for each.
    """
    if long is not None and short is not None and long.chain and short.chain:
        both: npt.NDArray[np.int64] = np.column_stack([offered(market, long), offered(market, short)])
        # chains that differ by min_days may offer the same contract, which hedges nothing
        same = np.array(long.contracts)[both[:, 0]] == np.array(short.contracts)[both[:, 1]]
        both = both[(both >= 0).all(axis=1) & ~same]
        _, first = np.unique(both, axis=0, return_index=True)
        return both[np.sort(first)]
    count = max(len(leg.contracts) for leg in (long, short) if leg is not None)
    column = {leg: np.arange(count) if leg is not None and leg.chain else np.full(count, -1 if leg is None else 0) for leg in (long, short)}
    return np.column_stack([column[long], column[short]])
