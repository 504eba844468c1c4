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
from backtest.market import Integers
from backtest.result import Prepared
from backtest.tapes import Records


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
    tapes = [one.tapes for one in prepared]
    sizes = [
        [len(one.tapes.pair_index) - int(one.rule_record["index_minus"]) for one in prepared],
        [one.long.shape[1] for one in tapes],
        [one.short.shape[1] for one in tapes],
    ]
    move_sides(rules, tapes, sizes)
    return Joint(tapes_of(tapes, stride, pairs_at, sizes), rules, terms, pairs_at, periods_at, derivatives)


def move_sides(rules: Records, tapes: Sequence[k.Tapes], sizes: Sequence[list[int]]) -> None:
    """Say where each rule's sides of the box and its index begin, less where its pairs' and legs' own stretches do, which positions have in them already."""
    boxes, indices = offsets(len(part.box.values) for part in tapes), offsets(len(part.pair_index) for part in tapes)
    of_pairs, of_long, of_short = (offsets(lengths) for lengths in sizes)
    rules["entry_at"] += boxes[:-1]
    for name in ("exit_at", "premium_at", "annual_at"):
        rules[name] += boxes[:-1] - of_pairs[:-1]
    rules["long_stress_at"] += boxes[:-1] - of_long[:-1]
    rules["short_stress_at"] += boxes[:-1] - of_short[:-1]
    rules["index_at"] += indices[:-1] - of_pairs[:-1]


def offsets(lengths: Iterable[int]) -> Integers:
    """Where each of several pieces laid end to end begins; the last entry, which has no piece, is 0."""
    sums = [0, *accumulate(lengths)]
    sums[-1] = 0
    return np.array(sums, np.int64)


def tapes_of(parts: Sequence[k.Tapes], stride: int, pairs_at: Integers, sizes: Sequence[list[int]]) -> k.Tapes:
    """The tapes of several rules as one. sizes: of each rule's pairs', long and short tapes."""
    of_pairs, of_long, of_short = sizes

    def by_place(name: str, sizes: list[int], filler: float) -> Any:
        pieces = [getattr(part, name) for part in parts]
        nothing = all(piece.shape[-1] == 1 for piece in pieces) and len(parts[0].stamps) > 1
        return pieces[0] if nothing else end_to_end(pieces, sizes, filler)

    def by_bar(name: str, filler: float) -> Any:
        return by_place(name, [stride] * len(parts), filler)

    candidate = [np.where(part.candidate >= 0, part.candidate + at, -1) for part, at in zip(parts, pairs_at[:-1], strict=True)]
    return k.Tapes(
        box=k.Box(*(np.concatenate([getattr(part.box, level) for part in parts]) for level in k.Box._fields)),
        pair_index=np.concatenate([part.pair_index for part in parts]),
        stamps=parts[0].stamps,
        candidate=end_to_end(candidate, [stride] * len(parts), -1),
        pairs=pairs_of(parts, sizes),
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


def pairs_of(parts: Sequence[k.Tapes], sizes: Sequence[list[int]]) -> Records:
    """The pairs of all rules, each pointing at its own stretch of the tapes."""
    moved = []
    for part, *places in zip(parts, *(offsets(lengths)[:-1] for lengths in sizes), strict=True):
        records = np.array(part.pairs, k.PAIR)
        for name, at in zip(("start", "long_start", "short_start"), places, strict=True):
            records[name] += at
        moved.append(records)
    return np.concatenate(moved).view(np.recarray)
