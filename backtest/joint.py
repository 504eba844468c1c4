"""Several prepared rules as one: their tapes laid end to end, so that the step reads them by an offset. One rule alone is handed on as it is.

A rule's bars begin at `bars_at` on the tapes by bar, its pairs, contracts and terms after those of the rules before it; all offsets on tapes are whole large
blocks, so that the maxima of blocks are laid end to end too.

joint = join([prepared, other])
joint.tapes, joint.rules, joint.terms
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from backtest import kernels as k
from backtest.market import Floats, Integers
from backtest.result import Prepared
from backtest.tapes import Records, no_side


@dataclass(frozen=True)
class Joint:
    """What the kernel reads of a book. pairs_at, periods_at: where each rule's begin; one entry more, of zeros, is for the reserve."""

    tapes: k.Tapes
    rules: Records
    terms: Records
    pairs_at: Integers
    periods_at: Integers
    derivatives: int


def join(prepared: Sequence[Prepared]) -> Joint:
    """Lay the tapes of rules on one market end to end."""
    periods = [len(one.terms) for one in prepared]
    pairs_at, periods_at = offsets(len(one.pairs) for one in prepared), offsets(periods)
    rules = np.array([one.rule_record for one in prepared], k.RULE)
    stride = -(-len(prepared[0].market) // k.LARGE) * k.LARGE
    rules["bars_at"], rules["periods_end"] = stride * np.arange(len(prepared)), periods_at[:-1] + periods
    derivatives = sum(int(np.count_nonzero(one.terms[0]["derivative"])) for one in prepared)
    if len(prepared) == 1:
        return Joint(prepared[0].tapes, rules, prepared[0].terms, pairs_at, periods_at, derivatives)
    terms = np.concatenate([np.asarray(one.terms) for one in prepared]).view(np.recarray)
    return Joint(tapes_of([one.tapes for one in prepared], stride, pairs_at), rules, terms, pairs_at, periods_at, derivatives)


def offsets(lengths: Iterable[int]) -> Integers:
    """Where each of several pieces laid end to end begins; the last entry, which has no piece, is 0."""
    sums = [0, *accumulate(lengths)]
    sums[-1] = 0
    return np.array(sums, np.int64)


def tapes_of(parts: Sequence[k.Tapes], stride: int, pairs_at: Integers) -> k.Tapes:
    """The tapes of several rules as one."""
    of_pairs = [max(len(part.plus.pair_index), len(part.minus.pair_index)) for part in parts]
    of_long, of_short = [part.long.shape[1] for part in parts], [part.short.shape[1] for part in parts]

    def by_place(name: str, sizes: list[int], filler: float) -> Any:
        pieces = [getattr(part, name) for part in parts]
        nothing = all(piece.shape[-1] == 1 for piece in pieces) and len(parts[0].stamps) > 1
        return pieces[0] if nothing else end_to_end(pieces, sizes, filler)

    def by_bar(name: str, filler: float) -> Any:
        return by_place(name, [stride] * len(parts), filler)

    candidate = [np.where(part.candidate >= 0, part.candidate + at, -1) for part, at in zip(parts, pairs_at[:-1], strict=True)]
    return k.Tapes(
        plus=sides_of([part.plus for part in parts], stride, of_pairs, of_long, of_short),
        minus=sides_of([part.minus for part in parts], stride, of_pairs, of_long, of_short),
        stamps=parts[0].stamps,
        candidate=end_to_end(candidate, [stride] * len(parts), -1),
        pairs=pairs_of(parts, of_pairs, of_long, of_short),
        long=by_place("long", of_long, 0.0),
        short=by_place("short", of_short, 0.0),
        rates=parts[0].rates,
        periods=np.concatenate([part.periods for part in parts]),
        long_orders=by_place("long_orders", of_long, 0.0),
        short_orders=by_place("short_orders", of_short, 0.0),
        long_coin=by_place("long_coin", of_long, 0.0),
        short_coin=by_place("short_coin", of_short, 0.0),
        coin=by_bar("coin", 0.0),
        scale=by_place("scale", of_pairs, np.nan),
        illiquid=by_place("illiquid", of_pairs, np.nan),
        available=by_bar("available", np.inf),
        expected_at=by_bar("expected_at", 0),
        expected_rate=by_bar("expected_rate", 0.0),
        next_payment=by_bar("next_payment", 0),
    )


def end_to_end(pieces: Sequence[Any], sizes: Sequence[int], filler: float) -> Any:
    """Arrays [… , place] one after another, each in a stretch of its size."""
    out = np.full((*pieces[0].shape[:-1], sum(sizes)), filler, pieces[0].dtype)
    for piece, begin in zip(pieces, offsets(sizes)[:-1], strict=True):
        out[..., begin : begin + piece.shape[-1]] = piece
    return out


def pairs_of(parts: Sequence[k.Tapes], of_pairs: Sequence[int], of_long: Sequence[int], of_short: Sequence[int]) -> Records:
    """The pairs of all rules, each pointing at its own stretch of the tapes."""
    moved = []
    for part, *places in zip(parts, *(offsets(sizes)[:-1] for sizes in (of_pairs, of_long, of_short)), strict=True):
        records = np.array(part.pairs, k.PAIR)
        for name, at in zip(("start", "long_start", "short_start"), places, strict=True):
            records[name] += at
        moved.append(records)
    return np.concatenate(moved).view(np.recarray)


def sides_of(
    parts: Sequence[k.SideTapes], stride: int, of_pairs: Sequence[int], of_long: Sequence[int], of_short: Sequence[int]
) -> k.SideTapes:
    """One side of the trade of all rules."""

    def joined(name: str, sizes: Sequence[int]) -> k.Side:
        return side_end_to_end([getattr(part, name) for part in parts], sizes)

    index = np.zeros(sum(of_pairs))
    for part, begin in zip(parts, offsets(of_pairs)[:-1], strict=True):
        index[begin : begin + len(part.pair_index)] = part.pair_index
    return k.SideTapes(
        entry=joined("entry", [stride] * len(parts)),
        exit=joined("exit", of_pairs),
        premium=joined("premium", of_pairs),
        annualized=joined("annualized", of_pairs),
        long_stress=joined("long_stress", of_long),
        short_stress=joined("short_stress", of_short),
        pair_index=index,
    )


def side_end_to_end(sides: Sequence[k.Side], sizes: Sequence[int]) -> k.Side:
    """Values and the maxima of their blocks; a rule that does not ask for them gets a stretch that is never reached."""
    if all(len(side.values) == 0 for side in sides):
        return no_side()

    def level(name: str, block: int) -> Floats:
        lengths = [size // block for size in sizes]
        out: Floats = end_to_end([getattr(side, name) for side in sides], lengths, -np.inf)
        return out

    return k.Side(level("values", 1), level("small", k.SMALL), level("large", k.LARGE))
