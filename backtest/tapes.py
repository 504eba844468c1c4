"""From market and rule to what the kernel reads: the one boundary between pandas and compiled code (contiguous float64, int64 nanoseconds).

A contract's bars lie one after another on a tape; bar t of it is at [start + t], start being a multiple of a block less the first bar's block, so that
blocks of a tape and blocks of time coincide. A slot's tape has the seven rows of `kernels.py`, and where a rule or an execution asks for more, a tape of orders
and one of coins beside it; a pair's tapes have signal, premium and index.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest import kernels as k
from backtest.coins import coin_accruals, coin_prices, coin_spot, coin_tape, reciprocal_marks
from backtest.curve import expiries, offered
from backtest.errors import ParameterError
from backtest.execution import Execution, is_number
from backtest.instruments import Instrument, Kind, Settle
from backtest.market import DAY, Floats, Integers, Market
from backtest.orders import fill_half_spread, fill_orders, limited, stress_multiplier
from backtest.payments import funding_accrual
from backtest.rule import Leg, Rule, SignalPair

Records = npt.NDArray[np.void]


@dataclass(frozen=True)
class SlotTape:
    """A slot's bars: rows [OPEN … ACCRUAL_SHORT, position], and per contract where its bars start and end (bar numbers)."""

    rows: Floats
    starts: Integers
    firsts: Integers
    lasts: Integers

    def contracts(self, leg: Leg) -> Iterator[tuple[str, slice, slice]]:
        """Each contract with its place on the tape and its bars."""
        for name, start, first, last in zip(leg.contracts, self.starts, self.firsts, self.lasts, strict=True):
            yield name, slice(int(start + first), int(start + last + 1)), slice(int(first), int(last + 1))


# ---------------------------------------------------------------- tapes


def layout(firsts: Integers, lasts: Integers) -> tuple[Integers, int]:
    """Where each segment [first, last] of bars starts on a tape (position = start + bar), and the tape's size in whole blocks."""
    padded = firsts // k.LARGE * k.LARGE
    lengths = -(-(lasts + 1 - padded) // k.LARGE) * k.LARGE
    ends = np.cumsum(lengths)
    return (ends - lengths - padded).astype(np.int64), int(ends[-1])


@dataclass(frozen=True)
class SideLayout:
    """The sides of a rule's box end to end, its pairs' index, and where its record says that each begins. places: by field of RULE."""

    box: k.Box
    index: Floats
    places: dict[str, int]


def laid_out(sides: Sequence[Mapping[str, Floats]], indices: Sequence[Floats]) -> SideLayout:
    """Lay what each side of the trade reads end to end, and note the maxima of blocks (NaN passed over).

    sides: by field of RULE, the same fields in the same order for both.
    """
    pieces = [item for side in sides for item in side.items()]
    sizes = [-(-len(values) // k.LARGE) * k.LARGE for _, values in pieces]
    begins = [0, *accumulate(sizes)]
    whole = np.full(begins[-1], -np.inf)
    for (_, values), begin in zip(pieces, begins, strict=False):
        whole[begin : begin + len(values)] = values
    small = np.fmax.reduce(whole.reshape(-1, k.SMALL), axis=1)
    box = k.Box(whole, small, np.fmax.reduce(small.reshape(-1, k.BLOCKS), axis=1))
    places = dict(zip(sides[0], begins, strict=False))
    if len(sides) > 1:
        places |= {"minus_at": begins[len(sides[0])], "index_minus": len(indices[0])}
    return SideLayout(box, np.concatenate(indices), places)


def side_values(tapes: k.Tapes, record: Any, name: str, sign: int) -> Floats:
    """One side of the box from its beginning on, for side +1 or −1 of the trade; further sides follow. name: its field of RULE."""
    out: Floats = tapes.box.values[int(record[name]) + (int(record["minus_at"]) if sign < 0 else 0) :]
    return out


def coin_accrual(market: Market, instrument: str, series: str) -> Floats:
    """Cumulated rate·close·years of a yearly rate on a coin, rates as known at each bar's beginning; 0 without the series. [bar]"""
    if series not in market.series_names:
        return np.zeros(len(market))
    return np.cumsum(np.nan_to_num(market.series(series, before=True) * market.last_known(instrument) * market.years))


def fill_rows(out: Floats, market: Market, instrument: Instrument, bars: slice, stake: bool) -> None:
    """Write prices and a spot's accruals of one instrument, for these bars, where they belong on the tape. [row, bar]"""
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
    if instrument.settle is Settle.INVERSE:
        out[k.MARK_HIGH], out[k.MARK_LOW] = reciprocal_marks(out[k.MARK_HIGH], out[k.MARK_LOW])
    if instrument.kind is Kind.SPOT:
        if stake:
            out[k.ACCRUAL_LONG] = coin_accrual(market, name, "staking_yield")[bars]
        if "borrow_base" in market.series_names:
            out[k.ACCRUAL_SHORT] = coin_accrual(market, name, "borrow_base")[bars]


def slot_tape(market: Market, rule: Rule, execution: Execution, slot: int) -> SlotTape:
    """A slot's tape; computed once per market and setting that it depends on."""
    leg = rule.legs[slot]
    if leg is None:
        zero = np.zeros(1, np.int64)
        return SlotTape(np.zeros((7, k.LARGE)), zero, zero, zero)
    given = execution.half_spreads[slot]
    if given is None or is_number(given):  # a number takes the place of quotes in the terms
        plain = replace(execution, half_spread=None)
        key = ("slot", leg.contracts, rule.stake, execution.funding, execution.funding_snapshot, coin_of(market, rule))
        return market.memo(key, lambda: build_slot(market, rule, plain, slot))
    return build_slot(market, rule, execution, slot)


def build_slot(market: Market, rule: Rule, execution: Execution, slot: int) -> SlotTape:
    """Every contract's bars, one after another."""
    leg = rule.legs[slot]
    assert leg is not None
    zero = np.zeros(1, np.int64)
    ends = np.searchsorted(market.stamps, expiries(market, leg))
    firsts = np.array([market.first_bar(name) for name in leg.contracts], np.int64) if leg.kind is Kind.FUTURE else zero
    lasts = np.maximum(np.minimum(ends, len(market) - 1), firsts).astype(np.int64)
    starts, size = layout(firsts, lasts)
    rows = np.zeros((7, size))
    tape = SlotTape(rows, starts, firsts, lasts)
    for name, here, bars in tape.contracts(leg):
        item = market.instruments[name]
        fill_rows(rows[:, here], market, item, bars, rule.stake)
        fill_half_spread(rows[k.HALF_SPREAD, here], market, name, bars, execution, slot)
        if item.kind is Kind.PERPETUAL:
            rows[k.ACCRUAL_LONG, here] = rows[k.ACCRUAL_SHORT, here] = perpetual_accrual(market, rule, execution, name)[bars]
    return tape


def perpetual_accrual(market: Market, rule: Rule, execution: Execution, name: str) -> Floats:
    """What a unit of a perpetual has been paid in quote currency by the end of each bar. [bar]"""
    if market.instruments[name].settle is Settle.INVERSE:
        return inverse_accruals(market, rule, execution, name)[1]
    return funding_accrual(market, name, execution.funding, snapshot=execution.funding_snapshot)


def inverse_accruals(market: Market, rule: Rule, execution: Execution, name: str) -> tuple[Floats, Floats]:
    """What a unit of an inverse contract has been paid, in coins and in quote currency. [bar]"""
    coin = coin_of(market, rule)
    assert coin is not None
    key = ("coin accruals", name, coin, execution.funding, execution.funding_snapshot)
    return market.memo(
        key, lambda: coin_accruals(market, name, execution.funding, coin_prices(market, coin), snapshot=execution.funding_snapshot)
    )


def coin_of(market: Market, rule: Rule) -> str | None:
    """The spot that prices the coin of the rule's inverse contracts; None if it has none."""
    names = [name for leg in rule.legs if leg is not None for name in leg.contracts]
    inverse = next((name for name in names if market.instruments[name].settle is Settle.INVERSE), None)
    return None if inverse is None else coin_spot(market, rule, inverse)


def coins_tape(market: Market, rule: Rule, execution: Execution, slot: int, tape: SlotTape) -> Floats:
    """Coins paid to a unit of an inverse slot and its value in quote currency, beside its tape; one column of zeros for another slot. [row, position]"""
    leg, coin = rule.legs[slot], coin_of(market, rule)
    if leg is None or coin is None or market.instruments[leg.contracts[0]].settle is not Settle.INVERSE:
        return np.zeros((3, 1))
    out, prices = np.zeros((3, tape.rows.shape[1])), coin_prices(market, coin)
    for name, here, bars in tape.contracts(leg):
        out[:, here] = coin_tape(market, name, prices, inverse_accruals(market, rule, execution, name))[:, bars]
    return out


def orders_tape(market: Market, rule: Rule, execution: Execution, slot: int, tape: SlotTape) -> Floats:
    """Room, impact and stress of a slot's bars, beside its tape; one column of zeros where it has no limits. [row, position]"""
    leg = rule.legs[slot]
    if leg is None or not limited(execution, slot):
        return np.zeros((4, 1))
    out = np.zeros((4, tape.rows.shape[1]))
    stress = stress_multiplier(market, execution)
    for name, here, bars in tape.contracts(leg):
        fill_orders(out[:, here], market, name, bars, execution, slot, stress)
    return out


def numbers(name: str, values: Any) -> Floats:
    """Values as floats; ParameterError if they are none."""
    try:
        if np.iscomplexobj(values):
            raise TypeError("they have no order")
        out: Floats = np.ma.asarray(values, dtype=np.float64).filled(np.nan)  # what a mask hides is unknown
        return out
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


def stress(slot: SlotTape, bought: bool) -> Floats:
    """Margin's side of the box: the worst mark plus the accrual so far, turned upwards. [position]"""
    accrual = slot.rows[k.ACCRUAL_LONG]
    out: Floats = -(slot.rows[k.MARK_LOW] + accrual) if bought else slot.rows[k.MARK_HIGH] + accrual
    return out


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
        records["lot"] = np.maximum(records["lot"], [0.0 if item.settle is Settle.INVERSE else item.lot or 0.0 for item in held])
        records["least_notional"] = np.maximum(records["least_notional"], [item.min_notional or 0.0 for item in held])
    lasts = np.maximum(lasts, firsts)
    records["start"], _ = layout(firsts, lasts)
    records["first"], records["last"] = firsts, lasts
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


def annualized_rows(market: Market, records: Records, premium: list[Floats]) -> list[Floats]:
    """premium·365/D of each pair, D days to its nearer expiry; NaN below one day. [pair][bar]"""
    days = [(int(expiry) - market.stamps) / DAY for expiry in records["expiry"]]
    return [np.where(left >= 1.0, values * 365.0 / np.maximum(left, 1.0), np.nan) for values, left in zip(premium, days, strict=True)]


def side_tapes(market: Market, rule: Rule, layout: PairLayout, sign: int, illiquid: list[Floats] | None) -> dict[str, Floats]:
    """What one side of the trade reads, by the fields of RULE that say where it begins; only what the rule asks for. sign: +1 as named, −1 swapped.

    No entry where its pair is illiquid or may be.
    """
    which = 0 if sign > 0 else 1
    count, offering = len(layout.contracts), layout.candidate >= 0
    if illiquid is not None:
        offering = offering & (np.array(illiquid)[np.maximum(layout.candidate, 0), np.arange(len(market))] == 0.0)
    entry = np.where(offering, 0.0, np.nan)
    if rule.enter is not None:
        table = table_of(market, both_sides(rule.signal)[which], count, "signal")
        entry = np.where(offering, sign * table[layout.candidate if len(table) > 1 else 0, np.arange(len(market))], np.nan)
    out = {"entry_at": entry}
    if rule.exit is not None:
        out["exit_at"] = layout.spread(-sign * table_of(market, both_sides(rule.exit_signal, rule.signal)[which], count, "exit_signal"))
    if rule.stop is not None or rule.converge is not None or rule.stop_annualized is not None:
        premium = premium_rows(market, rule, layout.contracts)
        out["premium_at"] = sign * layout.spread(premium)
        if rule.stop_annualized is not None:
            out["annual_at"] = sign * layout.spread(annualized_rows(market, layout.records, premium))
    for name, leg, slot, bought in zip(("long", "short"), rule.legs, layout.slots, (sign > 0, sign < 0), strict=True):
        if leg is not None and leg.kind is not Kind.SPOT:
            out[f"{name}_stress_at"] = stress(slot, bought)
    return out
