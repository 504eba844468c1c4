"""Books of two to four rules on one market: the rules of `generator_desk`, brought under one execution, with shares and limits in total.

A book leans towards one of the `AIMS`, so that what only books do happens often: balances that change their sign, cash that other rules draw on, limits that
hold down or end all rules. Now and then two rules trade the same instruments.

    book = book_case(7)
    judged = judge_book(book.markets, book.rules, book.capital, shares=book.shares, **book.limits)
    labels = coverage(judged, book)
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from desk_features import FEATURES, INCOMPATIBLE, SHAPES, SPOILING, Shape, fits
from desk_slots import BASIS_POINT
from generator_desk import Beside, _Desk
from naive import NaiveMarket, NaiveResult, NaiveRule, NaiveSlot
from naive_book import COMMON, RATES, NaiveBook

AIMS = ("money", "margin", "margin", "margin", "one derivative", "one derivative", "top-up", "exposure", "drawdown", "anything")
SQUEEZED = ("margin", "one derivative", "top-up")
PLAIN = (
    "quotes",
    "latency",
    "terms",
    "entry tranches",
    "exit tranches",
    "unit fee",
    "maker",
)  # with no others, most bars can be jumped over
EXECUTION = (
    "quotes", "spread series", "square root impact", "linear impact", "participation", "stress", "maker", "latency", "chase", "undo", "snapshot",
    "top-up", "terms", "deleveraging", "borrow limit",
)  # fmt: skip
OF_SLOTS = ("own_spread", "half_spreads", "impact", "impact_model", "participation", "maker", "latency")


@dataclass(frozen=True, kw_only=True)
class BookCase:
    """One book. groups: rules of the same number trade the same instruments. shares: None for equal ones."""

    markets: Sequence[NaiveMarket]
    rules: Sequence[NaiveRule]
    besides: Sequence[Beside]
    groups: Sequence[int]
    capital: float
    shares: Sequence[float] | None
    limits: dict[str, Any]

    @property
    def parts(self) -> list[float]:
        """The share of each rule."""
        return [1.0 / len(self.rules)] * len(self.rules) if self.shares is None else list(self.shares)


def book_case(seed: int) -> BookCase:
    """A book; the same seed gives the same one."""
    return _Book(random.Random(seed)).book()


def coverage(judged: NaiveBook, case: BookCase) -> set[str]:
    """What a book exercised of what only books do."""
    return set(_labels(judged, case))


def _labels(judged: NaiveBook, case: BookCase) -> Iterator[str]:
    results, isolated = judged.results, {rule.margin for rule in case.rules} == {"isolated"}
    yield f"rules:{len(results)}"
    yield f"margin:{case.rules[0].margin}"
    yield from ["reserve"] if judged.reserve is not None and judged.reserve.capital > 0.0 else []
    yield from ["owing reserve"] if judged.reserve is not None and judged.reserve.capital < 0.0 else []
    yield from ["shared instruments"] if len(set(case.groups)) < len(case.groups) else []
    yield from ["balance changes sign"] if judged.turned else []
    yield from ["balance changes sign twice"] if len(judged.turned) > 1 else []
    for result in results:
        for bar, balance in enumerate(result.balance):
            if balance < 0.0 < judged.balance[bar] and result.sources["idle_cash"][bar] != 0.0:
                yield "owes the others"
            if balance > 0.0 > judged.balance[bar] and result.sources["financing"][bar] > 0.0:
                yield "is credited interest"
        yield from ["exposure held down"] if result.held_down else []
        yield from ["top-up"] if isolated and result.sent else []
        yield from (f"reason:{trade.reason}" for trade in result.trades)
        yield from (f"action:{fill.action}" for fill in result.fills)
    yield from ["drawdown in total"] if judged.fell else []
    yield from ["paused in total"] if judged.fell and len(judged.fell) > 1 else []
    for number, result in enumerate(results):
        yield from _margin(number, result, judged)
    yield from _together(judged)


def _margin(number: int, result: NaiveResult, judged: NaiveBook) -> Iterator[str]:
    """Whose cash backed a slot, and whether several drew on it in one bar."""
    for bar, _, cash in result.drawn:
        own = max(result.balance[bar], 0.0)
        yield "draws"
        if cash > own:
            yield "draws others' cash"
        if any(each[0] == bar for other in judged.results[number + 1 :] for each in other.drawn):
            yield "two rules draw in one bar"
        later = [fill for other in judged.results[number + 1 :] for fill in other.fills if fill.action == "liquidation" and fill.bar == bar]
        yield from ["liquidated after another drew"] if later else []
    liquidated = [fill for fill in result.fills if fill.action == "liquidation"]
    if liquidated:
        yield "liquidation"
        yield "liquidation changes sign" if {fill.bar for fill in liquidated} & set(judged.turned) else "liquidation"


def _together(judged: NaiveBook) -> Iterator[str]:
    """Several rules that fill, or begin a trade, in one bar."""
    for name, actions in (("fill", None), ("enter", ("entry",)), ("are liquidated", ("liquidation",))):
        bars = Counter(
            bar for result in judged.results for bar in {fill.bar for fill in result.fills if actions is None or fill.action in actions}
        )
        yield from [f"several {name} in one bar"] if any(count > 1 for count in bars.values()) else []


class _Book(_Desk):
    """Draws one book around its aim; `_Desk` draws each rule with its slots, one clock, one asset and one execution are kept for all."""

    def __init__(self, rng: random.Random) -> None:
        self.goal = rng.choice(AIMS)
        self.twin: int | None = None
        super().__init__(rng)
        self.common = frozenset(self.features.intersection(EXECUTION))
        self.volatility = rng.choice((0.003, 0.01, 0.02)) if self.goal not in SQUEEZED else rng.choice((0.01, 0.02, 0.04))
        self.jumps = rng.choice((0.0, 0.02, 0.05)) if self.goal in SQUEEZED else 0.0
        self.asset = self.asset_path()

    # --- what the rules have in common -------------------------------------------------------------------------------------------

    def chosen(self, rng: random.Random, lead: tuple[str, str]) -> frozenset[str]:
        """The features of the first rule. Wallets belong to books of one; top-ups and the snapshot are left to their own books."""
        features = set(super().chosen(rng, lead)) - {"transfer", "top-up", "snapshot"}
        if self.goal == "top-up":
            features = (features - {"inverse", "coin margin"}) | {"top-up"}
        if self.goal == "anything" and rng.random() < 0.2:
            features |= {"snapshot"}
        if self.goal != "anything":
            features -= set(rng.sample(SPOILING, 6)) | {"undo"}
        self.plain = self.goal == "one derivative" or rng.random() < 0.2
        if self.plain:
            features &= {*PLAIN, "top-up"}
        self.shape = rng.choice([shape for shape in SHAPES if self.joins(shape, features, first=True)])
        return frozenset(feature for feature in features if feature in EXECUTION or fits(feature, self.shape))

    def joins(self, shape: Shape, features: set[str] | frozenset[str], *, first: bool = False) -> bool:
        """Whether a rule of this shape can be run with what the book's execution asks for, and serves its aim."""
        derivatives = sum(kind in ("perpetual", "future", "chain") for kind in shape.kinds)
        if "top-up" in features and (not derivatives or shape.inverse):
            return False
        if self.goal == "one derivative":
            return derivatives == first and not shape.inverse
        if "undo" in features and "" in shape.kinds:
            return False
        return derivatives > 0 or self.goal not in ("margin", "top-up")

    def next_features(self) -> None:
        """A shape and features for the next rule, under the same execution."""
        rng = self.rng
        kept = {"transfer", "inverse", "coin margin"}
        if self.twin is None:
            self.shape = rng.choice([shape for shape in SHAPES if self.joins(shape, self.common)])
        else:
            kept |= {"spread limit", "depth limit"} - self.features  # the first rule's instruments have no quotes, no depth
        own = {"inverse", "coin margin"} if self.shape.inverse else set()
        for feature in FEATURES:
            free = feature not in EXECUTION and feature not in kept and fits(feature, self.shape)
            joins = (
                free
                and (not self.plain or feature in PLAIN)
                and not any(frozenset((feature, one)) in INCOMPATIBLE for one in own | self.common)
            )
            if joins and rng.random() < (0.1 if feature in SPOILING else 0.35):
                own.add(feature)
        self.features = self.common | frozenset(feature for feature in own if fits(feature, self.shape))

    # --- the book ----------------------------------------------------------------------------------------------------------------

    def book(self) -> BookCase:
        rng, count = self.rng, self.rng.randint(2, 4)
        markets: list[NaiveMarket] = []
        rules: list[NaiveRule] = []
        besides: list[Beside] = []
        groups: list[int] = []
        for number in range(count):
            self.twin = 0 if number == 1 and rng.random() < 0.3 else None
            self.drawn = (rules[0].long, rules[0].short) if rules else (None, None)
            if number:
                self.next_features()
            self.sized()
            self.events = {}
            market, rule, _, beside = self.desk()
            if self.twin is not None:
                market, beside = markets[0], besides[0]
            groups.append(number if self.twin is None else 0)
            markets.append(market)
            rules.append(rule)
            besides.append(beside)
        first = {name: getattr(markets[0], name) for name in RATES}
        markets = [replace(market, **first) for market in markets]
        told = {"available": besides[0].available, "recalled_at": besides[0].recalled_at}
        besides = [beside._replace(**told) for beside in besides]
        capital = self.capital * count
        shares = self.shares(count)
        return BookCase(
            markets=markets, rules=self.as_one(rules), besides=besides, groups=groups, capital=capital, shares=shares,
            limits=self.limits_in_total(rules, shares or [1.0 / count] * count),
        )  # fmt: skip

    def sized(self) -> None:
        """Size and leverage of the next rule: above 1 borrows, and a high leverage comes near to a liquidation."""
        rng = self.rng
        if self.goal == "money" or (self.goal == "one derivative" and set(self.shape.kinds) <= {"", "spot"}):
            self.size, self.leverage = rng.choice((0.3, 0.9, 1.2, 1.7)), rng.choice((1.0, 2.0))
        elif self.goal in ("margin", "one derivative"):
            self.size, self.leverage = rng.choice((0.8, 1.5, 3.0, 6.0, 10.0)), rng.choice((3.0, 10.0, 20.0, 40.0))
        elif self.goal == "top-up":
            self.size, self.leverage = rng.choice((0.5, 1.0, 2.0, 4.0)), rng.choice((2.0, 5.0, 10.0))
        else:
            self.size, self.leverage = rng.choice((0.3, 0.5, 0.9, 1.2)), rng.choice((1.0, 2.0, 5.0, 10.0))
        self.units = self.capital * self.size / self.asset[0]

    def slots(self) -> tuple[NaiveSlot | None, NaiveSlot | None]:
        """The slots of the next rule: those of the first, if it trades the same instruments."""
        return super().slots() if self.twin is None else self.drawn

    def shares(self, count: int) -> list[float] | None:
        """Equal parts, others, or such that leave or lack something."""
        if self.rng.random() < 0.4:
            return None
        drawn = [self.rng.uniform(0.2, 1.0) for _ in range(count)]
        total = self.rng.choice((1.0, 1.0, 0.7, 0.9, 1.15))
        return [one * total / sum(drawn) for one in drawn]

    def limits_in_total(self, rules: Sequence[NaiveRule], shares: Sequence[float]) -> dict[str, Any]:
        rng, found = self.rng, {}
        if self.goal == "exposure" or rng.random() < 0.15:
            found["exposure"] = sum(rule.size * share for rule, share in zip(rules, shares, strict=True)) * rng.uniform(0.2, 0.9)
        if self.goal == "drawdown" or rng.random() < 0.1:
            found["drawdown"] = 10.0 ** rng.uniform(-3.5, -1.3)
            found |= {"pause": pause * self.step} if (pause := rng.choice((None, 1, 3, 10))) else {}
        return found

    # --- one execution -----------------------------------------------------------------------------------------------------------

    def as_one(self, rules: Sequence[NaiveRule]) -> list[NaiveRule]:
        """The rules with the execution of the first that has each slot, and its margin, policy and transfers."""
        margin = "cross" if self.goal in ("margin", "one derivative") and self.rng.random() < 0.9 else rules[0].margin
        common = {name: getattr(rules[0], name) for name in COMMON} | {"margin": margin}
        leaders = [next((slot for rule in rules if (slot := getattr(rule, place)) is not None), None) for place in ("long", "short")]
        makers = [leader is not None and leader.maker for leader in leaders]
        alone = any(getattr(rule, place) is None for rule in rules for place, made in zip(("long", "short"), makers, strict=True) if made)
        everywhere = {"maker": any(makers)} if alone else {}
        made = []
        for rule in rules:
            slots = {}
            for place, leader in zip(("long", "short"), leaders, strict=True):
                slot = getattr(rule, place)
                if slot is not None and leader is not None:
                    taken = {name: getattr(leader, name) for name in OF_SLOTS} | everywhere
                    spread = leader.half_spread if leader.own_spread else slot.half_spread
                    slots[place] = replace(slot, **taken, half_spread=BASIS_POINT if taken["maker"] else spread)
            made.append(replace(rule, **slots, **common))
        return made
