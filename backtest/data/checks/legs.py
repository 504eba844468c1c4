"""Each leg held against another of the same coin: what the one shows and the other doesn't.

Spot, perpetual and futures of one coin move together within a per cent. A close that stands still while the other moves, a price that jumps away
and comes back alone, a contract that ends far from the spot it settles to, or two files with the same closes, are the data's fault.

    pair = joined(leg, other)
    stale_stretches(pair), outliers(pair)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.data.checks.words import Finding, Hole, counted, listed_holes, runs, sized
from backtest.data.hours import closes
from backtest.data.schema import PRICES
from backtest.data.validate import bar_step, show_time
from backtest.instruments import Instrument, Kind

Floats = npt.NDArray[np.float64]

STALE_BARS = 4  # a close and three repetitions
STALE_MOVE = 0.005
OUTLIER = 0.02
OUTLIER_SIZES = 15.0  # of the usual wavering of the distance
OUTLIER_WINDOW = 13
WICK = 0.10
SAME_SHARE = 0.5
FEWEST_BARS = 10
DELIVERY_COSTS = 0.005
YEARLY_PREMIUM = 1.0
CURRENCY = 0.02
NEAR_DELIVERY = pd.Timedelta("3D")
AVERAGED = pd.Timedelta("1h")


@dataclass(frozen=True, kw_only=True)
class Leg:
    """An instrument with its prices: open, high, low and close on its stamps."""

    instrument: Instrument
    prices: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The bars that two legs have at the same stamps."""

    leg: Leg
    other: Leg
    stamps: pd.DatetimeIndex
    own: dict[str, Floats]
    others: dict[str, Floats]

    def __len__(self) -> int:
        return len(self.stamps)


def joined(leg: Leg, other: Leg) -> Pair:
    """Two legs at their common stamps."""
    stamps, own, others = leg.prices.index.join(other.prices.index, how="inner", return_indexers=True)
    sides = []
    for side, places in ((leg, own), (other, others)):
        columns = {name: side.prices[name].to_numpy() for name in PRICES}
        sides.append(columns if places is None else {name: column[places] for name, column in columns.items()})
    return Pair(leg=leg, other=other, stamps=pd.DatetimeIndex(stamps), own=sides[0], others=sides[1])


def reference(leg: Leg, legs: Sequence[Leg]) -> Leg | None:
    """The leg to hold one against; None if none has common bars.

    One that covers half of its bars before others, of a venue that never closes, a spot before a perpetual, of its own venue and quote.
    """
    it = leg.instrument
    common = {other.instrument.id: _common(leg, other) for other in legs if other.instrument.id != it.id}
    enough = min(FEWEST_BARS, len(leg.prices))

    def rank(other: Leg) -> tuple[bool, bool, bool, bool, bool, str]:
        by = other.instrument
        return (
            common[by.id] < 0.5 * len(leg.prices), closes(by.venue), by.kind is not Kind.SPOT, by.venue != it.venue, by.quote != it.quote, by.id
        )  # fmt: skip

    return min((other for other in legs if common.get(other.instrument.id, 0) >= enough), key=rank, default=None)


def pair_findings(pair: Pair) -> Iterator[Finding]:
    """Everything that two legs tell of the first of them."""
    it, other = pair.leg.instrument, pair.other.instrument.id
    if (share := same_share(pair)) > SAME_SHARE:
        text = f"{it.id}: has the closes of {other} at {share:.0%} of their {len(pair):,} common stamps; one file seems to be imported as both; import the right one"
        yield Finding(rule="same prices", instrument=it.id, text=text)
        return
    if found := stale_stretches(pair):
        bars = sum(count for _, _, count in found)
        rule = f"its close stands still for {STALE_BARS} bars or more while {other} moves by over {STALE_MOVE:.1%}"
        text = (
            f"{it.id}: {rule}, {counted(bars, 'bar')}: {listed_holes(found, 8)}; import those bars from a better source, or leave them out"
        )
        yield Finding(rule="stale stretch", instrument=it.id, text=text, grave=not closes(it.venue), holes=found)
    if jumps := outliers(pair):
        shown = sized(jumps, ".1%")
        text = f"{it.id}: {counted(len(jumps), 'close')} {'jumps' if len(jumps) == 1 else 'jump'} away from {other} and back: {shown}; correct or remove the bars"
        marks = tuple((stamp, stamp, 1) for stamp, _ in jumps)
        yield Finding(rule="outlier", instrument=it.id, text=text, holes=marks)
    if (why := impossible_delivery(pair)) is not None:
        yield Finding(rule="basis at expiry", instrument=it.id, text=f"{it.id}: {why}")


def same_share(pair: Pair) -> float:
    """How many of the common bars have the same close in both; 0 where they are fewer than ten or hardly move."""
    close, other = pair.own["close"], pair.others["close"]
    moving = np.concatenate([[True], np.diff(close) != 0]) if len(close) else np.zeros(0, dtype=bool)
    if moving.sum() < FEWEST_BARS:
        return 0.0
    return float(np.mean(close[moving] == other[moving]))


def stale_stretches(pair: Pair) -> tuple[Hole, ...]:
    """Four or more equal closes in a row over which the other leg's closes range over half a per cent: first, last, number of the repeated ones."""
    close, other = pair.own["close"], pair.others["close"]
    first, last = runs(close[1:] == close[:-1])
    found = []
    for begin, end in zip(first, last + 1, strict=True):
        if end - begin + 1 >= STALE_BARS:
            span = other[begin : end + 1]
            if span.max() / span.min() - 1 > STALE_MOVE:
                found.append((pair.stamps[begin + 1], pair.stamps[end], int(end - begin)))
    return tuple(found)


def outliers(pair: Pair) -> list[tuple[pd.Timestamp, float]]:
    """Closes that leave the other leg's alone and come back, with their size.

    The distance of the logarithms, less its running median, over 2% and over 15 times its usual size, where the leg's own close stands apart from
    its neighbours by more than the other's does.
    """
    if len(pair) < OUTLIER_WINDOW:
        return []
    own, other = np.log(pair.own["close"]), np.log(pair.others["close"])
    away = _apart(own - other)
    bound = max(OUTLIER, OUTLIER_SIZES * float(np.median(np.abs(away))))
    far = np.flatnonzero(np.abs(away) > bound).tolist()
    return [(pair.stamps[place], float(np.expm1(away[place]))) for place in far if _apart_at(own, place) > _apart_at(other, place)]


def wicks(pair: Pair) -> list[tuple[pd.Timestamp, float]]:
    """Highs and lows that stand over 10% further from their bar's open and close than the other leg's do, with their size; of bars of one length."""
    steps = {bar_step(pd.DatetimeIndex(leg.prices.index)) for leg in (pair.leg, pair.other)}
    if len(steps) > 1:
        return []
    up, down = (_reach(side, 1) for side in (pair.own, pair.others)), (_reach(side, -1) for side in (pair.own, pair.others))
    found = []
    for sign, (own, other) in ((1, up), (-1, down)):
        found += [(pair.stamps[place], sign * float(own[place])) for place in np.flatnonzero(own - other > WICK).tolist()]
    return sorted(found)


def impossible_delivery(pair: Pair) -> str | None:
    """Why a contract's last price can't be what it settled from; None if it can.

    It settles to the average of the spot, at most an hour's, so at its end it lies within the spot's range of that hour (of the last bar, if that is
    longer) but for costs (0.5%), a premium of 100% a year for the time that is left, and 2% between two currencies.
    """
    it, other = pair.leg.instrument, pair.other.instrument
    end = None if it.expires_at is None or not len(pair) else it.expires_at - pair.stamps[-1]
    if end is None or end > NEAR_DELIVERY or pair.leg.prices.index[-1] != pair.stamps[-1]:
        return None
    bound = DELIVERY_COSTS + YEARLY_PREMIUM * max(end / pd.Timedelta("365D"), 0.0) + (CURRENCY if it.quote != other.quote else 0.0)
    reach = max(bar_step(pd.DatetimeIndex(pair.leg.prices.index)) or AVERAGED, AVERAGED) * (2 if closes(it.venue) else 1)
    around = pair.other.prices[(pair.other.prices.index > pair.stamps[-1] - reach) & (pair.other.prices.index <= pair.stamps[-1])]
    last, low, high = float(pair.own["close"][-1]), float(around["low"].min()), float(around["high"].max())
    if low * (1 - bound) <= last <= high * (1 + bound):
        return None
    premium = last / float(pair.others["close"][-1]) - 1
    return (
        f"its last close {last:.12g} at {show_time(pair.stamps[-1])} is {premium:+.2%} from {other.id}, which ranged from {low:.12g} to {high:.12g}; "
        f"at delivery (at {show_time(it.expires_at)}) they can't be over {bound:.2%} apart; check its expiry and its last bars"
    )


def _common(one: Leg, other: Leg) -> int:
    if not len(one.prices) or not len(other.prices):
        return 0
    if other.prices.index[-1] < one.prices.index[0] or one.prices.index[-1] < other.prices.index[0]:
        return 0
    own, others = (leg.prices.index.to_numpy(dtype="datetime64[ns]") for leg in (one, other))
    return int((others[np.minimum(np.searchsorted(others, own), len(others) - 1)] == own).sum())


def _apart(values: Floats) -> Floats:
    """Values less the median of the thirteen around each."""
    middle = pd.Series(values).rolling(OUTLIER_WINDOW, center=True, min_periods=OUTLIER_WINDOW // 2 + 1).median()
    return np.asarray(values - middle.to_numpy(), dtype=np.float64)


def _apart_at(values: Floats, place: int) -> float:
    """How far one value is from the median of the thirteen around it."""
    half = OUTLIER_WINDOW // 2
    return abs(float(values[place]) - float(np.median(values[max(place - half, 0) : place + half + 1])))


def _reach(bars: dict[str, Floats], sign: int) -> Floats:
    """How far a bar's high (sign 1) or low (−1) stands beyond its open and close, as a fraction."""
    if sign > 0:
        return np.asarray(bars["high"] / np.maximum(bars["open"], bars["close"]) - 1)
    return np.asarray(1 - bars["low"] / np.minimum(bars["open"], bars["close"]))
