"""Funding: what a perpetual has paid by the end of each bar, and which payment is expected next.

A payment is rate · notional. Its price is the event's own mark; else, where the rule-book says that the venue's notional is the index or an oracle, the last
index known at it; else the last mark, else the last close. Linear contracts pay in quote currency, inverse ones rate/price coins a unit of face.

A venue that pays continuously (its rule-book: `paid` begins with "continuously") has rows that each cover the time since the row before. Where bars are
finer, what a row will say is not known inside its time: the last row's rate is accrued, for at most that row's own length, and the row's instant pays what
is left of it. So who held all the time gets the row itself; who came or left in between got the last row's rate for the time that he was there, and who came
gets the correction. Such a venue has no next payment to wait for.

    accrual = funding_accrual(market, "ETHUSDT-PERP", MissingFunding.ERROR)      # per base unit held long, cumulated over the bars
    coins, worth = coin_funding(market, "ETHUSD-PERP", policy, coin_close)       # per unit of face held short
"""

from contextlib import suppress
from datetime import date
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.errors import DataError, ParameterError
from backtest.execution import MissingFunding
from backtest.instruments import Instrument, Kind, Settle
from backtest.market import Floats, Integers, Market, utc
from backtest.venues import rules_of

SECOND = 10**9
MINUTE = 60 * SECOND
HOUR_NS = 3_600 * SECOND
FARTHEST_SNAPSHOT = 60.0  # seconds


class Rows(NamedTuple):
    """Funding events in order: instants (ns), rates, own marks (NaN unknown), the time that each covers (ns)."""

    times: Integers
    rates: Floats
    marks: Floats
    lengths: Integers


class Flows(NamedTuple):
    """What one unit is paid: in which bar, the last bar known at it (−1 none), and how much."""

    bars: Integers
    places: Integers
    amounts: Floats


class Expected(NamedTuple):
    """The next payment as expected at each bar's end: its instant (0: none within the wait) and rate, and its instant whatever its distance. [bar]"""

    time: Integers
    rate: Floats
    next_payment: Integers


def funding_accrual(market: Market, instrument: str, policy: MissingFunding, *, snapshot: float = 0.0) -> Floats:
    """Cumulated −rate·price that one long base unit of a linear perpetual has earned by the end of each bar. [bar]

    snapshot: seconds after its event at which the position that pays it is taken. DataError for missing events that the policy doesn't fill.
    """
    flows = _flows(market, instrument, policy, snapshot)
    return _cumulated(market, flows.bars, flows.amounts)


def coin_funding(market: Market, instrument: str, policy: MissingFunding, coin: Floats, *, snapshot: float = 0.0) -> tuple[Floats, Floats]:
    """Cumulated rate/price that one unit of face of an inverse perpetual, held short, has earned: in coins, and in quote currency. [bar]

    coin: the coin's last known close. [bar] Each payment is worth what the coin's last close known at its event makes of it.
    """
    flows = _flows(market, instrument, policy, snapshot)
    worth = np.where(flows.places >= 0, coin[np.maximum(flows.places, 0)], np.nan)
    return _cumulated(market, flows.bars, flows.amounts), _cumulated(market, flows.bars, np.nan_to_num(flows.amounts * worth))


def expected_payments(market: Market, instrument: str, wait: int, *, snapshot: float = 0.0) -> Expected:
    """The last event at or before each bar's end plus its interval, if that is later than the bar's end; its rate is the last event's.

    wait: nanoseconds within which a payment counts for `time` and `rate`. A venue that pays continuously has no payment to expect.
    """
    events, stamps = market.funding(instrument), market.stamps
    if len(events.times) == 0 or continuous(market, instrument):
        return Expected(np.zeros(len(stamps), np.int64), np.zeros(len(stamps)), np.zeros(len(stamps), np.int64))
    times = events.times + shift(market, instrument, snapshot)
    last = np.searchsorted(times, stamps, "right") - 1
    row = np.maximum(last, 0)
    due = times[row] + _lengths(events.hours)[row]
    due = np.where((last >= 0) & (due > stamps), due, 0)
    near = (due > 0) & (due - stamps <= wait)
    return Expected(np.where(near, due, 0), np.where(near, events.rates[row], 0.0), due)


def shift(market: Market, instrument: str, snapshot: float) -> int:
    """A snapshot's seconds in nanoseconds; ParameterError where they would say nothing."""
    if snapshot == 0.0:
        return 0
    if abs(snapshot) > FARTHEST_SNAPSHOT:
        raise ParameterError(
            f"funding_snapshot must lie within {FARTHEST_SNAPSHOT:g} seconds of the payment: funding_snapshot={snapshot:g}; Binance allows itself 15"
        )
    if market.step >= MINUTE:
        raise ParameterError(
            f"funding_snapshot needs bars shorter than a minute: funding_snapshot={snapshot:g} with bars of {market.step / SECOND:g} seconds, whose "
            "fills are not known to the second; leave it out, or load bars of seconds"
        )
    if continuous(market, instrument):
        raise ParameterError(
            f"funding_snapshot={snapshot:g} can do nothing: {market.instruments[instrument].venue} pays {instrument} continuously; leave it out"
        )
    return round(snapshot * SECOND)


def continuous(market: Market, instrument: str) -> bool:
    """Whether the instrument's venue pays funding at every moment, and its data are what that came to."""
    with suppress(DataError):  # no rule-book, or one without funding: the data's events are what is paid
        rule = rules_of(market.instruments[instrument], pd.Timestamp(market.start, tz="UTC")).funding
        return rule.interval_hours is None and rule.paid.startswith("continuously")
    return False


# ---------------------------------------------------------------- what is paid


def _flows(market: Market, instrument: str, policy: MissingFunding, snapshot: float) -> Flows:
    """Every payment to one unit: long and linear, or short and inverse."""
    item, moved = market.instruments[instrument], shift(market, instrument, snapshot)
    rows = _rows(market, instrument, policy)
    bars = np.searchsorted(market.stamps, rows.times + moved, "left")
    places = np.searchsorted(market.stamps, rows.times + moved, "right") - 1
    prices = _prices(market, item, rows.times, rows.marks)
    amounts = _paid(item, rows.rates, prices)
    within = (rows.times + moved > market.start) & (bars < len(market))
    if not continuous(market, instrument) or len(rows.times) == 0:
        return Flows(bars[within], places[within], amounts[within])
    inside, before = _inside(market, item, rows, prices)
    every = np.arange(len(market))
    return Flows(
        np.concatenate([bars[within], every]),
        np.concatenate([places[within], every]),
        np.concatenate([(amounts - before)[within], inside]),
    )


def _inside(market: Market, item: Instrument, rows: Rows, prices: Floats) -> tuple[Floats, Floats]:
    """What accrues by the end of each bar at the last row's rate [bar], and what has accrued towards each row before its instant [row]."""
    begins = np.concatenate([[market.start], market.stamps[:-1]])
    last = np.searchsorted(rows.times, market.stamps, "right") - 1
    row = np.maximum(last, 0)
    until = np.minimum(market.stamps, rows.times[row] + rows.lengths[row])
    share = np.where(last >= 0, np.maximum(until - np.maximum(begins, rows.times[row]), 0) / rows.lengths[row], 0.0)
    at_ends = _prices(market, item, market.stamps, np.full(len(market), np.nan))
    inside = _paid(item, rows.rates[row] * share, at_ends)
    before = np.zeros(len(rows.times) + 1)
    np.add.at(before, row + 1, inside)
    early = int(np.searchsorted(rows.times, market.start, "right")) - 1
    if 0 <= early < len(rows.times) - 1:  # the part of a row that lies before the market: nobody gets it
        share_of_it = min(market.start - rows.times[early], rows.lengths[early]) / rows.lengths[early]
        before[early + 1] += _paid(item, rows.rates[early : early + 1] * share_of_it, prices[early + 1 : early + 2])[0]
    return inside, before[:-1]


def _paid(item: Instrument, rates: Floats, prices: Floats) -> Floats:
    """−rate·price for a long base unit; rate/price coins for a unit of face held short. 0 where no price was known."""
    return np.nan_to_num(rates / prices if item.settle is Settle.INVERSE else -rates * prices)


def _prices(market: Market, item: Instrument, times: Integers, marks: Floats) -> Floats:
    """The price that each notional is taken at; NaN where none was known."""
    place = np.searchsorted(market.stamps, times, "right") - 1
    prices = marks
    for column, asked in (("index", _on_index(item, times)), ("mark", True), ("close", True)):
        wanted = np.isnan(prices) & (place >= 0) & asked
        if wanted.any() and market.has(item.id, column):
            prices = np.where(wanted, market.last_known(item.id, column)[np.maximum(place, 0)], prices)
    return prices


def _on_index(item: Instrument, times: Integers) -> npt.NDArray[np.bool_]:
    """Where the venue's notional is its index or oracle price, by the rule of each day."""
    out = np.zeros(len(times), bool)
    with suppress(DataError):  # no rule-book
        for day in rules_of(item, pd.Timestamp(0, tz="UTC")).changes(("funding",), Kind.PERPETUAL):
            since = pd.Timestamp(max(day, date(1970, 1, 1)), tz="UTC").as_unit("ns")
            out[times >= since.value] = rules_of(item, since).funding.notional in ("index", "oracle")
    return out


def _rows(market: Market, instrument: str, policy: MissingFunding) -> Rows:
    """The events, with those that the policy fills; DataError if any are missing and not filled."""
    events, missing = market.funding(instrument), market.missing_funding(instrument)
    times, rates, marks, lengths = events.times, events.rates, events.marks, _lengths(events.hours)
    between = len(missing) and len(times) and times[0] < missing[0] and missing[-1] < times[-1]
    if policy is MissingFunding.FILL and between:
        after = np.searchsorted(times, missing)
        order = np.argsort(np.concatenate([times, missing]), kind="stable")
        return Rows(
            np.concatenate([times, missing])[order],
            np.concatenate([rates, (rates[after] + rates[after - 1]) / 2.0])[order],
            np.concatenate([marks, np.full(len(missing), np.nan)])[order],
            np.concatenate([lengths, lengths[after]])[order],
        )
    if len(missing):
        earlier = market.stamps[market.stamps < missing[0]]
        remedy = f"end the run at {utc(earlier[-1])} (--end)" if len(earlier) > 1 else "choose a later start"
        inside = ', or choose funding="fill"' if between else ""
        raise DataError(
            f"{instrument}: {'1 funding event is' if len(missing) == 1 else f'{len(missing)} funding events are'} missing, first {utc(missing[0])}, last {utc(missing[-1])}; import them, {remedy}{inside}"
        )
    return Rows(times, rates, marks, lengths)


def _lengths(hours: Floats) -> Integers:
    return np.round(hours * HOUR_NS).astype(np.int64)


def _cumulated(market: Market, bars: Integers, amounts: Floats) -> Floats:
    paid = np.zeros(len(market))
    np.add.at(paid, bars, amounts)
    return np.cumsum(paid)
