"""What a desk case may exercise: the features, the pairs of them that can meet, and the shapes of rules in which each can happen.

shape = next(shape for shape in SHAPES if fits("roll", shape) and fits("hold for funding", shape))
"""

import math
from collections.abc import Mapping
from functools import cache
from itertools import combinations, product
from typing import NamedTuple

FEATURES = (
    "quotes", "spread series", "square root impact", "linear impact", "participation", "stress", "maker", "latency", "chase", "undo",
    "entry tranches", "exit tranches", "funding gap", "funding entry", "hold for funding", "snapshot", "index notional", "transfer", "top-up",
    "inverse", "coin margin", "terms", "unit fee", "roll", "deleveraging", "borrow limit", "unstake", "annualized stop", "converge", "exposure",
    "drawdown", "spread limit", "depth limit", "scale",
)  # fmt: skip

_ONE = "a rule has one of the two"
INCOMPATIBLE: Mapping[frozenset[str], str] = {
    frozenset(pair): reason
    for *pair, reason in (
        ("square root impact", "linear impact", _ONE),
        ("chase", "undo", _ONE),
        ("top-up", "inverse", "top-ups are for linear contracts"),
        ("top-up", "coin margin", "top-ups are for linear contracts"),
    )
}
PAIRS = tuple(pair for pair in combinations(FEATURES, 2) if frozenset(pair) not in INCOMPATIBLE)


class Shape(NamedTuple):
    """The kinds of both slots ("" for none), and which of them are inverse contracts."""

    long: str
    short: str
    long_inverse: bool
    short_inverse: bool

    @property
    def kinds(self) -> tuple[str, str]:
        return self.long, self.short

    @property
    def inverse(self) -> bool:
        return self.long_inverse or self.short_inverse


_DERIVATIVES = ("perpetual", "future", "chain")
SHAPES = tuple(
    shape
    for shape in (Shape(*kinds, *inverse) for kinds in product(("", "spot", *_DERIVATIVES), repeat=2) for inverse in product((False, True), repeat=2))
    if shape.kinds != ("", "") and all(kind in _DERIVATIVES or not inverse for kind, inverse in zip(shape.kinds, shape[2:], strict=True))
)  # fmt: skip


@cache
def fits(feature: str, shape: Shape) -> bool:
    """Whether a rule of this shape can have the feature."""
    if feature in ("funding gap", "funding entry", "hold for funding", "snapshot", "index notional"):
        return "perpetual" in shape.kinds
    if feature in ("transfer", "undo", "converge"):
        return "" not in shape.kinds
    if feature == "annualized stop":
        return "" not in shape.kinds and not {"future", "chain"}.isdisjoint(shape.kinds)
    if feature in ("top-up", "deleveraging"):
        return not set(_DERIVATIVES).isdisjoint(shape.kinds) and (feature != "top-up" or not shape.inverse)
    if feature in ("borrow limit", "unstake"):
        return "spot" in shape.kinds
    if feature == "unit fee":
        return any(kind and not inverse for kind, inverse in zip(shape.kinds, shape[2:], strict=True))
    return {"inverse": shape.inverse, "coin margin": shape.inverse and "spot" in shape.kinds, "roll": "chain" in shape.kinds}.get(
        feature, True
    )


# How much more often than others a feature leads a case: those that seldom come about, and hardly those that come about by themselves.
SELDOM = {
    "roll": 4.0, "borrow limit": 4.2, "exposure": 2.5, "converge": 2.5, "undo": 2.3, "hold for funding": 2.6, "snapshot": 2.2, "annualized stop": 2.1,
    "drawdown": 2.0, "deleveraging": 2.3, "coin margin": 1.8, "depth limit": 1.6, "top-up": 1.5, "unstake": 1.3, "spread limit": 1.2,
}  # fmt: skip
OFTEN = ("quotes", "spread series", "stress", "maker", "latency", "inverse", "terms", "unit fee", "scale", "entry tranches", "transfer")
HARDEST = {  # pairs that hardly ever meet without being led to it
    ("borrow limit", "exposure"): 7.0,
    ("annualized stop", "converge"): 6.0,
    ("undo", "roll"): 6.0,
    ("deleveraging", "borrow limit"): 6.0,
    ("hold for funding", "roll"): 6.0,
    ("roll", "borrow limit"): 3.0,
    ("undo", "converge"): 3.0,
    ("undo", "borrow limit"): 3.0,
    ("undo", "depth limit"): 3.0,
    ("exposure", "depth limit"): 3.0,
    ("hold for funding", "annualized stop"): 4.0,
    ("roll", "drawdown"): 3.0,
    ("hold for funding", "borrow limit"): 3.0,
    ("hold for funding", "exposure"): 3.0,
    ("hold for funding", "drawdown"): 3.0,
    ("undo", "hold for funding"): 3.0,
}
LEAD_WEIGHTS = [
    math.prod(0.25 if name in OFTEN else SELDOM.get(name, 1.0) for name in pair) ** 1.2 * HARDEST.get(pair, 1.0) for pair in PAIRS
]
# Features that end trades, or keep them from beginning: a case has few of them unless they lead it.
SPOILING = ("converge", "exposure", "annualized stop", "spread limit", "depth limit", "drawdown", "undo", "snapshot")
