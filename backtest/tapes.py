"""From market and rule to what the kernel reads: the one boundary between pandas and compiled code (contiguous float64, int64 nanoseconds).

A contract's bars lie one after another on a tape; bar t of it is at [start + t], start being a multiple of a block less the first bar's block, so that
blocks of a tape and blocks of time coincide. A slot's tape has the seven rows of `kernels.py`; a pair's tapes have signal, premium and index.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest import kernels as k
from backtest.curve import expiries, offered
from backtest.errors import DataError, ParameterError
from backtest.instruments import Instrument, Kind
from backtest.market import Floats, Market, utc
from backtest.rule import Leg, MissingFunding, Rule, SignalPair

Records = npt.NDArray[np.void]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SlotTape:
    """A slot's bars: rows [OPEN … ACCRUAL_SHORT, position], and per contract where its bars start and end (bar numbers)."""

    rows: Floats
    starts: Integers
    firsts: Integers
    lasts: Integers


# ---------------------------------------------------------------- tapes


def layout(firsts: Integers, lasts: Integers) -> tuple[Integers, int]:
    """Where each segment [first, last] of bars starts on a tape (position = start + bar), and the tape's size in whole blocks."""
    padded = firsts // k.LARGE * k.LARGE
    lengths = -(-(lasts + 1 - padded) // k.LARGE) * k.LARGE
    ends = np.cumsum(lengths)
    return (ends - lengths - padded).astype(np.int64), int(ends[-1])


def side_of(values: Floats) -> k.Side:
    """One side of the box: values padded to whole blocks, and the maxima of blocks (NaN passed over)."""
    size = -(-len(values) // k.LARGE) * k.LARGE
    whole = np.full(size, -np.inf)
    whole[: len(values)] = values
    small = np.fmax.reduce(whole.reshape(-1, k.SMALL), axis=1)
    return k.Side(whole, small, np.fmax.reduce(small.reshape(-1, k.BLOCKS), axis=1))


def no_side() -> k.Side:
    """A side that no rule asks for."""
    return k.Side(np.empty(0), np.empty(0), np.empty(0))


def no_side_tapes() -> k.SideTapes:
    """A side that the rule may not take."""
    return k.SideTapes(no_side(), no_side(), no_side(), no_side(), no_side(), np.empty(0))


def funding_accrual(market: Market, instrument: str, policy: MissingFunding) -> Floats:
    """Cumulated −rate·price that one long unit has earned by the end of each bar. [bar]

    price: the event's own mark; else the last mark, else the last close, known at the event.
    """
    events, missing = market.funding(instrument), market.missing_funding(instrument)
    times, rates, marks = events.times, events.rates, events.marks
    between = len(missing) and len(times) and times[0] < missing[0] and missing[-1] < times[-1]
    if policy is MissingFunding.FILL and between:
        times = np.concatenate([times, missing])
        rates = np.concatenate([rates, (rates[(after := np.searchsorted(events.times, missing))] + rates[after - 1]) / 2.0])
        marks = np.concatenate([marks, np.full(len(missing), np.nan)])
    elif len(missing):
        earlier = market.stamps[market.stamps < missing[0]]
        remedy = f"end the run at {utc(earlier[-1])} (--end)" if len(earlier) > 1 else "choose a later start"
        inside = ', or choose funding="fill"' if between else ""
        raise DataError(
            f"{instrument}: {'1 funding event is' if len(missing) == 1 else f'{len(missing)} funding events are'} missing, first {utc(missing[0])}, last {utc(missing[-1])}; import them, {remedy}{inside}"
        )
    place = np.searchsorted(market.stamps, times, "right") - 1
    for column in ("mark", "close"):
        known = market.last_known(instrument, column)
        marks = np.where(np.isnan(marks) & (place >= 0), known[np.maximum(place, 0)], marks)
    bar = np.searchsorted(market.stamps, times, "left")
    paid = np.zeros(len(market))
    within = (times > market.start) & (bar < len(market))
    np.add.at(paid, bar[within], np.nan_to_num(-rates * marks)[within])
    return np.cumsum(paid)


def coin_accrual(market: Market, instrument: str, series: str) -> Floats:
    """Cumulated rate·close·years of a yearly rate on a coin, rates as known at each bar's beginning; 0 without the series. [bar]"""
    if series not in market.series_names:
        return np.zeros(len(market))
    return np.cumsum(np.nan_to_num(market.series(series, before=True) * market.last_known(instrument) * market.years))


def fill_rows(out: Floats, market: Market, instrument: Instrument, bars: slice, stake: bool, policy: MissingFunding) -> None:
    """Write the seven rows of one instrument, for these bars, where they belong on the tape. [row, bar]"""
    name = instrument.id

    def raw(column: str) -> Floats:
        return market.raw(name, column)[bars]

    close = market.last_known(name)[bars]
    traded = ~np.isnan(raw("close"))
    out[k.OPEN], out[k.CLOSE] = raw("open"), close
    for row, mark, trade in ((k.MARK_HIGH, "mark_high", "high"), (k.MARK_LOW, "mark_low", "low")):
        extreme = raw(trade)
        if market.has(name, mark):
            extreme = np.where(np.isnan(raw(mark)), extreme, raw(mark))
        out[row] = np.where(traded, extreme, close)
    out[k.HALF_SPREAD] = np.nan
    if market.has(name, "bid") and market.has(name, "ask"):
        bid, ask = market.raw(name, "bid"), market.raw(name, "ask")
        known = slice(max(bars.start, 1), bars.stop)  # the quote at the end of the bar before
        before = slice(known.start - 1, known.stop - 1)
        out[k.HALF_SPREAD, known.start - bars.start :] = (ask[before] - bid[before]) / (ask[before] + bid[before])
    if instrument.kind is Kind.PERPETUAL:
        out[k.ACCRUAL_LONG] = out[k.ACCRUAL_SHORT] = funding_accrual(market, name, policy)[bars]
    elif instrument.kind is Kind.SPOT:
        if stake:
            out[k.ACCRUAL_LONG] = coin_accrual(market, name, "staking_yield")[bars]
        if "borrow_base" in market.series_names:
            out[k.ACCRUAL_SHORT] = coin_accrual(market, name, "borrow_base")[bars]


def slot_tape(market: Market, leg: Leg | None, stake: bool, policy: MissingFunding) -> SlotTape:
    """A slot's tape, computed once per market."""

    def build() -> SlotTape:
        zero = np.zeros(1, np.int64)
        if leg is None:
            return SlotTape(np.zeros((7, k.LARGE)), zero, zero, zero)
        n = len(market)
        ends = np.searchsorted(market.stamps, expiries(market, leg))
        firsts = np.array([market.first_bar(name) for name in leg.contracts], np.int64) if leg.kind is Kind.FUTURE else zero
        lasts = np.maximum(np.minimum(ends, n - 1), firsts).astype(np.int64)
        starts, size = layout(firsts, lasts)
        rows = np.zeros((7, size))
        for name, start, first, last in zip(leg.contracts, starts, firsts, lasts, strict=True):
            here = rows[:, start + first : start + last + 1]
            fill_rows(here, market, market.instruments[name], slice(first, last + 1), stake, policy)
        return SlotTape(rows, starts, firsts, lasts)

    return market.memo(("slot", leg.contracts if leg else None, stake, policy), build)


def numbers(name: str, values: Any) -> Floats:
    """Values as floats; ParameterError if they are none."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError):
        raise ParameterError(f"{name} must be numbers, one value a bar: it has {np.asarray(values).dtype} values") from None


def table_of(market: Market, signal: Any, count: int, name: str) -> Floats:
    """A user's signal as a table [pair, bar]; one row serves every pair. ParameterError for another shape.

    pandas objects must be indexed by the market's clock; a DataFrame has a column for each pair.
    """
    if isinstance(signal, pd.Series | pd.DataFrame):
        if not signal.index.equals(market.clock):
            raise ParameterError(
                f"{name} must be indexed by the market's clock (market.clock); reindex it, or give a plain array with one value a bar"
            )
        signal = signal.to_numpy().T
    values = numbers(name, signal)
    if values.ndim == 1:
        values = values[None, :]
    if values.ndim != 2 or values.shape[1] != len(market) or values.shape[0] not in (1, count):
        raise ParameterError(
            f"{name} must have one value a bar, or one row for each of the {count} contract pairs: shape {np.shape(signal)} for {len(market)} bars; "
            "build it from market arrays, which have the market's length"
        )
    return values


def both_sides(signal: SignalPair | None, fallback: SignalPair | None = None) -> tuple[Any, Any]:
    """A signal for side +1 and one for side −1."""
    chosen = fallback if signal is None else signal
    return chosen if isinstance(chosen, tuple) else (chosen, chosen)


def stress(leg: Leg | None, slot: SlotTape, bought: bool) -> k.Side:
    """Margin's side of the box: the worst mark plus the accrual so far, turned upwards; empty for a spot."""
    if leg is None or leg.kind is Kind.SPOT:
        return no_side()
    accrual = slot.rows[k.ACCRUAL_LONG]
    return side_of(-(slot.rows[k.MARK_LOW] + accrual) if bought else slot.rows[k.MARK_HIGH] + accrual)


def pair_records(market: Market, rule: Rule, contracts: Integers, slots: tuple[SlotTape, SlotTape]) -> tuple[Records, Integers]:
    """PAIR rows and each pair's first bar."""
    records = np.zeros(len(contracts), k.PAIR)
    firsts, lasts = np.zeros(len(contracts), np.int64), np.full(len(contracts), len(market) - 1)
    records["expiry"] = k.NEVER
    for name, leg, slot, column in zip(("long", "short"), rule.legs, slots, contracts.T, strict=True):
        records[f"{name}_expiry"] = records[f"{name}_expiry_bar"] = k.NEVER
        if leg is None:
            continue
        records[f"{name}_start"], records[f"{name}_last"] = slot.starts[column], slot.lasts[column]
        firsts, lasts = np.maximum(firsts, slot.firsts[column]), np.minimum(lasts, slot.lasts[column])
        ends = expiries(market, leg)[column]
        bars = np.searchsorted(market.stamps, ends)
        records[f"{name}_expiry"] = ends
        records[f"{name}_expiry_bar"] = np.where(bars < len(market), bars, k.NEVER)
        records[f"{name}_settlement"] = [market.settlement(leg.contracts[c])[0] if leg.kind is Kind.FUTURE else np.nan for c in column]
        records["expiry"] = np.minimum(records["expiry"], ends)
        held = [market.instruments[leg.contracts[c]] for c in column]
        records["lot"] = np.maximum(records["lot"], [item.lot or 0.0 for item in held])
        records["least_notional"] = np.maximum(records["least_notional"], [item.min_notional or 0.0 for item in held])
    lasts = np.maximum(lasts, firsts)
    records["start"], _ = layout(firsts, lasts)
    records["last"] = lasts
    return records, firsts


def candidates(market: Market, rule: Rule, contracts: Integers) -> Integers:
    """The pair that an entry at each bar's end would take; −1 for none. [bar]"""
    chosen = [np.full(len(market), -1) if leg is None else offered(market, leg) for leg in rule.legs]
    possible = np.ones(len(market), bool)
    for leg, column in zip(rule.legs, chosen, strict=True):
        possible &= (column >= 0) | (leg is None)
    # The last row and column are those of −1: no contract.
    number = np.full([1 if leg is None else len(leg.contracts) + 1 for leg in rule.legs], -1)
    number[contracts[:, 0], contracts[:, 1]] = np.arange(len(contracts))
    return np.where(possible, number[chosen[0], chosen[1]], -1)


@dataclass(frozen=True)
class PairLayout:
    """What both sides of a rule share: the pairs, their records and first bars, the slots' tapes, the candidate of each bar."""

    contracts: Integers
    records: Records
    firsts: Integers
    slots: tuple[SlotTape, SlotTape]
    candidate: Integers

    @property
    def size(self) -> int:
        """Length of the pairs' tape in whole blocks."""
        return int(-(-(self.records["start"] + self.records["last"] + 1).max() // k.LARGE) * k.LARGE)

    def spread(self, rows: Any) -> Floats:
        """Lay a table [pair, bar] (or [1, bar]) out on the pairs' tape, NaN between the pairs."""
        out = np.full(self.size, np.nan)
        for p, (record, first) in enumerate(zip(self.records, self.firsts, strict=True)):
            start, last = int(record["start"]), int(record["last"])
            out[start + first : start + last + 1] = rows[p if len(rows) > 1 else 0][first : last + 1]
        return out


def pair_index(rule: Rule, layout: PairLayout, sign: int) -> Floats:
    """Index of the long slot less that of the short one, per unit: close plus accrual of the side. [position]"""
    out = np.zeros(layout.size)
    accruals = (k.ACCRUAL_LONG, k.ACCRUAL_SHORT) if sign > 0 else (k.ACCRUAL_SHORT, k.ACCRUAL_LONG)
    for name, leg, slot, row, direction in zip(("long", "short"), rule.legs, layout.slots, accruals, (1.0, -1.0), strict=True):
        if leg is None:
            continue
        for record, first in zip(layout.records, layout.firsts, strict=True):
            here, there, bars = record["start"] + first, record[f"{name}_start"] + first, record["last"] + 1 - first
            out[here : here + bars] += direction * (slot.rows[k.CLOSE, there : there + bars] + slot.rows[row, there : there + bars])
    return out


def premium_rows(market: Market, rule: Rule, contracts: Integers) -> list[Floats]:
    """(F − S)/S of each pair from fresh closes. [pair][bar]"""
    long, short = rule.legs
    if long is None or short is None:
        return [np.full(len(market), np.nan)] * len(contracts)
    return [market.close(short.contracts[b]) / market.close(long.contracts[a]) - 1.0 for a, b in contracts]


def side_tapes(market: Market, rule: Rule, layout: PairLayout, sign: int) -> k.SideTapes:
    """What one side of the trade reads; empty where the rule asks nothing. sign: +1 as named, −1 swapped."""
    which = 0 if sign > 0 else 1
    count, offering = len(layout.contracts), layout.candidate >= 0
    entry = np.where(offering, 0.0, np.nan)
    if rule.enter is not None:
        table = table_of(market, both_sides(rule.signal)[which], count, "signal")
        entry = np.where(offering, sign * table[layout.candidate if len(table) > 1 else 0, np.arange(len(market))], np.nan)
    exits = no_side()
    if rule.exit is not None:
        exits = side_of(layout.spread(-sign * table_of(market, both_sides(rule.exit_signal, rule.signal)[which], count, "exit_signal")))
    widening = no_side() if rule.stop is None else side_of(sign * layout.spread(premium_rows(market, rule, layout.contracts)))
    return k.SideTapes(
        side_of(entry),
        exits,
        widening,
        stress(rule.long, layout.slots[0], sign > 0),
        stress(rule.short, layout.slots[1], sign < 0),
        pair_index(rule, layout, sign),
    )
