"""Which closes may meet: a premium is made of two prices of one time, and closes of different hours make a premium of hundreds of percent.

Of two legs the one with fewer bars (of two alike, the derivative) has to find the other's close, within the market's staleness, at nearly each of its bars. A bar that stands in a
hole of the other leg is a gap, which loading has noted, and counts for nothing. Where closes miss each other for another reason, their hours differ:
a settle of 20:00 with midnight closes, or a Friday that ends at 21:00 where the other leg's day ends at 24:00.

    refuse_other_hours(market, market.future_chain(), market.spot)
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.data.validate import bar_step
from backtest.errors import DataError
from backtest.instruments import Kind
from backtest.market import AGE, Integers, Market, utc
from backtest.rule import Leg

MISSED = 0.05  # share of the bars that may miss the other leg without being in one of its holes
FEWEST_MISSED = 2
HOLE = 1.5  # usual steps of the other leg from which on it has a hole

Bools = npt.NDArray[np.bool_]


def fresh(market: Market, leg: Leg) -> Bools:
    """Whether a contract of the leg has a fresh close. [bar]"""
    return market.memo(("fresh", leg.contracts), lambda: _any(market, leg, fresh=True))


def refuse_other_hours(market: Market, one: Leg, other: Leg) -> None:
    """DataError naming both instruments and times if the legs' closes are of different hours; the legs of a rule, or those of a premium."""
    if one.contracts != other.contracts:
        market.memo(("join", one.contracts, other.contracts), lambda: _refuse(market, one, other))


def _refuse(market: Market, one: Leg, other: Leg) -> None:
    both = fresh(market, one) & fresh(market, other)
    if both.all():
        return
    stamps = {leg.contracts: _bars(market, leg) for leg in (one, other)}
    if not all(len(places) for places in stamps.values()):
        return
    begin, end = (edge(places[which] for places in stamps.values()) for edge, which in ((max, 0), (min, -1)))
    common = {key: places[(places >= begin) & (places <= end)] for key, places in stamps.items()}
    if not all(len(places) for places in common.values()):
        return
    few, many = sorted((one, other), key=lambda leg: (len(common[leg.contracts]) - (leg.kind is not Kind.SPOT), leg.kind is Kind.SPOT))
    missed = _missed(market, common[few.contracts], stamps[many.contracts], both)
    if len(missed) < FEWEST_MISSED or len(missed) <= MISSED * len(common[few.contracts]):
        return
    share = f"{len(missed)} of {len(common[few.contracts])} closes"
    raise DataError(_told(market, (few, many), missed, stamps[many.contracts], share))


def unequal_bars(market: Market, one: Leg, other: Leg) -> list[str]:
    """A warning where one leg's bars are longer than the other's, in a list; none where they are alike."""
    steps = {leg: bar_step(market.clock[_bars(market, leg)]) for leg in (one, other)}
    known = sorted(((step, leg) for leg, step in steps.items() if step is not None), key=lambda pair: pair[0])
    if len(known) < 2 or known[1][0] < HOLE * known[0][0]:
        return []
    (short, fast), (long, slow) = known
    names = [_name(market, leg, _bars(market, leg)[0]) for leg in (slow, fast)]
    lengths = [_length(step.value) for step in (long, short)]
    return [
        f"UNEQUAL BARS: {names[0]} has bars of {lengths[0]} and {names[1]} of {lengths[1]}: an order of the longer ones waits for its next bar and fills at "
        f"that bar's open, which is older by then, and the other leg stands alone in between; load with clock={names[0]} (--clock) to trade both together."
    ]


def _missed(market: Market, bars: Integers, others: Integers, both: Bools) -> Integers:
    """The bars whose close meets none of the other leg's although that has no hole there."""
    meetings = np.concatenate([[0], np.cumsum(both)])
    until = np.searchsorted(market.stamps, market.stamps[bars] + market.staleness, side="right")
    missed: Integers = bars[meetings[until] == meetings[bars]]
    before, after = np.searchsorted(others, missed, side="right") - 1, np.searchsorted(others, missed, side="left")
    inside = (before >= 0) & (after < len(others))
    missed, before, after = missed[inside], before[inside], after[inside]
    step = bar_step(market.clock[others])
    if step is None:
        return missed
    between = market.stamps[others[after]] - market.stamps[others[before]]
    alone: Integers = missed[between <= HOLE * step.value]
    return alone


def _told(market: Market, legs: tuple[Leg, Leg], missed: Integers, others: Integers, share: str) -> str:
    """The sentence: the first bars that miss each other, how often that happens, and the staleness that would let them meet."""
    few, many = legs
    nearest = others[_nearest(market.stamps[others], market.stamps[missed])]
    mine, theirs = market.stamps[missed] - _ages(market, few)[missed], market.stamps[nearest] - _ages(market, many)[nearest]
    needed = (np.maximum(market.stamps[missed], market.stamps[nearest]) - np.minimum(mine, theirs)).max()
    one, other, gap = _name(market, few, missed[0]), _name(market, many, nearest[0]), int(theirs[0] - mine[0])
    if gap:
        way = "later" if gap > 0 else "earlier"
        told = f"{one} closes at {utc(mine[0])} and the nearest close of {other} is {utc(theirs[0])}, {_length(abs(gap))} {way}"
        rule = "prices that far apart make no premium"
    else:
        end = market.stamps[missed[0]]
        told = f"{one} and {other} close at {utc(mine[0])}, {_length(int(end - mine[0]))} before the end of their bar of {utc(end)}"
        rule = "a close that old makes no premium there"
    return (
        f"{told}; {rule} ({share}); load bars that end at the same hours, such as hourly ones, "
        f'or allow it with staleness="{_length(int(needed))}"'
    )


def _ages(market: Market, leg: Leg) -> Integers:
    """How much older than its bar's end the newest close of the leg is, in ns; only coarser bars made of finer ones have such. [bar]"""
    out = np.full(len(market), np.inf)
    for name in leg.contracts:
        out = np.fmin(out, np.where(np.isnan(market.raw(name, "close")), np.inf, np.nan_to_num(market.raw(name, AGE))))
    return np.where(np.isinf(out), 0.0, out).astype(np.int64)


def _nearest(times: Integers, wanted: Integers) -> Integers:
    """The places of the nearest of some sorted times."""
    after = np.clip(np.searchsorted(times, wanted), 0, len(times) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(wanted - times[before] <= np.abs(times[after] - wanted), before, after)


def _length(nanoseconds: int) -> str:
    """A length of time as settings take it: "21h", in minutes below an hour."""
    hour, minute = pd.Timedelta("1h").value, pd.Timedelta("1min").value
    return f"{-(-nanoseconds // hour)}h" if nanoseconds >= hour else f"{-(-nanoseconds // minute)}min"


def _name(market: Market, leg: Leg, bar: np.int64) -> str:
    """The contract of the leg that has a bar there."""
    return next(name for name in leg.contracts if not np.isnan(market.raw(name, "close")[bar]))


def _bars(market: Market, leg: Leg) -> Integers:
    """The numbers of the bars in which a contract of the leg has one of its own."""
    return market.memo(("bars", leg.contracts), lambda: np.flatnonzero(_any(market, leg, fresh=False)).astype(np.int64))


def _any(market: Market, leg: Leg, *, fresh: bool) -> Bools:
    out = np.zeros(len(market), dtype=bool)
    for name in leg.contracts:
        out[market.life(name)] |= ~np.isnan(market.fresh(name) if fresh else market.lived(name, "close"))
    out.flags.writeable = False
    return out
