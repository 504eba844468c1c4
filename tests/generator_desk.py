"""Cases of a trading desk: the markets of `generators` with everything that the engine can do to an order, a wallet or a contract.

Each case is drawn around two of the `FEATURES`, so that every pair of them meets often, and takes a random part of those that can join them. The shape of
the rule (which kinds of slots, which side) is chosen so that the two can happen; levels and limits are drawn near what the market does.

    market, rule, capital, beside = desk_case(7)
    labels = coverage(judge(market, rule, capital), desk_case(7))
"""

import math
import random
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import generators
from desk_coverage import exercised
from desk_features import FEATURES, INCOMPATIBLE, PAIRS
from desk_slots import SECOND, DeskSlots, Events
from hypothesis import strategies as st
from naive import DAY, NAN, NaiveMarket, NaiveResult, NaiveRule, NaiveSlot, Pair, Signal
from naive_parts import Series

__all__ = ["FEATURES", "INCOMPATIBLE", "PAIRS", "Beside", "Desk", "coverage", "desk_case", "desks"]


class Beside(NamedTuple):
    """What the package is told in its own words; the judge sees its effect in the market.

    snapshot: seconds by which payments are shifted. events: funding as the data have it, by slot and contract. available: the series of what can be borrowed.
    """

    snapshot: float = 0.0
    events: Mapping[tuple[str, int], Events] = {}
    available: Series | None = None
    recalled_at: int | None = None


class Desk(NamedTuple):
    """One case."""

    market: NaiveMarket
    rule: NaiveRule
    capital: float
    beside: Beside


def desk_case(seed: int) -> Desk:
    """A market, a rule, a capital and what the package is told beside them. The same seed gives the same case."""
    return _Desk(random.Random(seed)).desk()


def desks() -> st.SearchStrategy[Desk]:
    """A hypothesis strategy of desk cases; it draws the seed only."""
    return st.integers(min_value=0, max_value=2**32 - 1).map(desk_case)


def coverage(result: NaiveResult, desk: Desk) -> set[str]:
    """What a run exercised: the labels of `generators.coverage`, and `feature:NAME` for the `FEATURES`."""
    found = exercised(result, desk.rule, desk.market)
    found |= set(funding(result, desk))
    return generators.coverage(result, desk.rule) | {f"feature:{name}" for name in found}


def funding(result: NaiveResult, desk: Desk) -> Iterator[str]:
    """Of a held position, payments on the index, and payments that the snapshot moved into another bar."""
    shift, stamps = round(desk.beside.snapshot * SECOND), desk.market.stamps
    for (place, number), events in desk.beside.events.items():
        slot, held = (desk.rule.long, result.quantity_long) if place == "long" else (desk.rule.short, result.quantity_short)
        assert slot is not None
        for time, _, mark in events:
            bars = [bar for bar in (bisect_left(stamps, time), bisect_left(stamps, time + shift)) if bar < len(stamps) and held[bar] != 0.0]
            if bars and shift and bisect_left(stamps, time) != bisect_left(stamps, time + shift):
                yield "snapshot"
            if bars and math.isnan(mark) and slot.instruments[number].notional == "index":
                yield "index notional"


class _Desk(DeskSlots):
    """Draws the rule and the market around its slots."""

    # --- the case ----------------------------------------------------------------------------------------------------------------

    def desk(self) -> Desk:
        market, rule, capital = self.case()
        available = self.available() if self.has("borrow limit") else None
        recalled_at = self.instant() if self.has("borrow limit") and self.rng.random() < 0.5 else None
        if available is None or (recalled_at is not None and self.rng.random() < 0.5):
            available = None
        market = replace(
            market,
            stress=self.stress() if self.has("stress") else (),
            borrow_available=self.borrowable(available, recalled_at) if self.has("borrow limit") else (),
            **self.coin(rule),
        )
        return Desk(market, rule, capital, Beside(self.snapshot, self.events, available, recalled_at))

    def instant(self) -> int:
        """Somewhere in the run, on the edge of a bar or inside one."""
        bar = self.rng.randint(3, self.bars - 2)
        return self.stamps[bar] + self.rng.choice((0, 0, 1, -1, self.step // 3))

    def available(self) -> list[tuple[int, float]]:
        """What can be borrowed, as it becomes known: around what an entry needs, now and then nothing."""
        times = [self.stamps[0] - self.step] if self.rng.random() < 0.8 else []
        times += [self.instant() for _ in range(self.rng.randint(3, 8))]
        return [(time, self.rng.choice((0.0, 0.5, 1.0, 1.0)) * self.rng.uniform(0.1, 1.0) * self.units) for time in sorted(set(times))]

    def borrowable(self, series: Series | None, recalled_at: int | None) -> list[float]:
        values = []
        for stamp in self.stamps:
            known = math.inf if series is None else next((value for time, value in reversed(series) if time <= stamp), 0.0)
            values.append(0.0 if recalled_at is not None and stamp >= recalled_at else known)
        return values

    def stress(self) -> list[float]:
        value, values = 1.0, []
        for _ in self.stamps:
            value = self.rng.choice((1.0, 0.5, 1.5, 3.0, 5.0)) if self.rng.random() < 0.3 else value
            values.append(value)
        return values

    def coin(self, rule: NaiveRule) -> dict[str, list[float]]:
        """The coin's prices: the rule's own spot, else one that the market has beside it; nothing without an inverse contract."""
        if not self.shape.inverse:
            return {}
        for slot in (rule.long, rule.short):
            if slot is not None and slot.instruments[0].kind == "spot":
                item = slot.instruments[0]
                return {"coin_open": list(item.open), "coin_close": list(item.close)}
        has_bar = [bar == 0 or self.rng.random() < 0.95 for bar in range(self.bars)]
        opens, closes = self.trade_prices(self.fair_prices("spot", None), has_bar)
        return {"coin_open": opens, "coin_close": closes}

    # --- the rule ----------------------------------------------------------------------------------------------------------------

    def limited(self, reason: str) -> bool:
        """The limits of the plain rule: mostly time and the signal, so that trades end calmly and often."""
        calm = self.has("exit tranches", "hold for funding", "transfer", "unstake")
        time = 0.85 if calm else 0.6
        if self.has("roll"):
            time -= 0.15
        return self.rng.random() < {"time": time, "signal": 0.4, "days to expiry": 0.1}.get(reason, 0.08)

    def rule(self, long: NaiveSlot | None, short: NaiveSlot | None) -> NaiveRule:
        rng, step = self.rng, self.step
        rule = super().rule(long, short)
        changes: dict[str, Any] = {
            "sides": self.side(),
            "enter": rng.choice((None, None, -0.5, 0.0)),
            "cooldown": rng.choice((None, step, 2 * step)) if not self.has("transfer") else rng.randint(2, 4) * step,
            "resize": rng.choice((None, None, 1.02, 1.1)) if not self.shape.inverse else None,
            "max_hold": rule.max_hold and rng.randint(2, 10) * step * (3 if self.has("roll") else 1),
            "margin": "isolated" if self.has("top-up") else rng.choice(("isolated", "cross", "off")),
            "exit": None if rule.exit is None else -rng.uniform(0.6, 1.5),
        }
        changes["exit"] = None if changes["exit"] is None else changes["exit"] + (changes["enter"] or 0.0)
        return replace(rule, **changes, **self.entries(), **self.policies(), **self.money(), **self.limits(long, short))

    def entries(self) -> dict[str, Any]:
        """Tranches, and entries and exits by the time of funding."""
        rng, found = self.rng, {}
        for name in ("entry", "exit"):
            if self.has(f"{name} tranches"):
                found[f"{name}_tranches"] = rng.randint(2, 4)
        if self.has("funding gap") and not found:
            found[rng.choice(("entry_tranches", "exit_tranches"))] = rng.randint(2, 3)
        if found:
            found["tranche_gap"] = (
                "funding" if self.has("funding gap") else rng.choice((1, self.step, self.step, 2 * self.step, self.step * 3 // 2))
            )
        if self.has("funding entry"):
            found["funding_entry"] = rng.choice(("after", "better"))
        found["hold_for_funding"] = self.has("hold for funding")
        found["funding_wait"] = rng.choice((self.interval // 2, self.interval, 3 * self.interval))
        if self.has("scale"):
            found["scale"] = self.scale()
        return found

    def scale(self) -> Signal:
        slots = {"long": self.pairs_of[0], "short": self.pairs_of[1]}
        table: dict[Pair, list[float]] = {}
        for pair in product(slots["long"], slots["short"]):
            value, values = 1.0, []
            for _ in self.stamps:
                value = self.rng.choice((0.25, 0.6, 1.0, 1.3, 1.7, 0.0, NAN)) if self.rng.random() < 0.15 else value
                values.append(value)
            table[pair] = values
        return table

    def policies(self) -> dict[str, Any]:
        rng, policy = self.rng, next((name for name in ("chase", "undo") if self.has(name)), "wait")
        patience = rng.choice((1, self.step // 2, self.step, 2 * self.step)) if policy != "wait" else None
        roll_days = None
        if self.has("roll"):
            roll_days = self.roll_days + (
                rng.choice((0.0, 0.0, 1.0, -1.0)) if self.step == DAY else self.step / DAY * rng.uniform(-1.5, 3.0)
            )
        gone = self.has("deleveraging")
        return {
            "policy": policy, "patience": patience, "roll_days": roll_days, "unstake": rng.randint(1, 3) * self.step if self.has("unstake") else None,
            "deleveraged_at": self.instant() if gone else None, "deleveraged_gap": rng.choice((0.0, 0.01, 0.05)) if gone else 0.0,
        }  # fmt: skip

    def money(self) -> dict[str, Any]:
        rng, found = self.rng, {}
        if self.has("transfer"):
            first = rng.choice((0.3, 0.4, 0.5, 0.6, 0.7))
            found["wallets"] = (first, 1.0 - first)
        if self.has("top-up"):
            found["top_up"] = rng.uniform(0.85, 1.0)
        if found:
            found["transfer_delay"] = rng.choice((0, self.step // 2, self.step, 3 * self.step))
            found["transfer_fee"] = rng.choice((0.0, 1e-6, 1e-4, 1e-3)) * self.capital
        if self.has("unstake"):
            found["stake"] = True
        return found

    def limits(self, long: NaiveSlot | None, short: NaiveSlot | None) -> dict[str, Any]:
        """Limits near what the market does, so that they are reached."""
        rng, found = self.rng, {}
        if self.has("annualized stop"):
            expiries = [
                item.expiry - self.stamps[0] for slot in (long, short) if slot for item in slot.instruments if item.expiry is not None
            ]
            found["stop_annualized"] = 10.0 ** rng.uniform(-4.0, -2.3) * 365.0 / max(1.0, min(expiries) / DAY)
        if self.has("converge"):
            found["converge"] = rng.choice((1, 1, self.step, 2 * self.step))
        if self.has("exposure"):
            found["exposure"] = self.size * rng.uniform(1.0, 1.01) * (rng.choice((0.6, 1.0)) if self.has("scale") else 1.0)
        if self.has("drawdown"):
            found |= {"drawdown": 10.0 ** rng.uniform(-3.5, -1.8), "pause": rng.choice((1, 1, 2, 5, None))}
            found["pause"] = found["pause"] and found["pause"] * self.step
        if self.has("spread limit"):
            found["max_spread"] = rng.uniform(0.0031, 0.0059)
        if self.has("depth limit"):
            found["min_depth"] = self.capital * self.size * math.exp(rng.uniform(-0.9, -0.3))
        return found

    def signal(self, long: NaiveSlot | None, short: NaiveSlot | None) -> Signal:
        self.pairs_of = tuple(tuple(range(len(slot.instruments))) if slot else (-1,) for slot in (long, short))
        return super().signal(long, short)
