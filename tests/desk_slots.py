"""The instruments and slots of a desk case: quotes, volumes, depths, schedules of funding, contracts that follow one another, terms that change."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from desk_features import FEATURES, INCOMPATIBLE, LEAD_WEIGHTS, PAIRS, SHAPES, SPOILING, fits
from generators import HOUR, Maker
from naive import DAY, NAN, NaiveInstrument, NaiveSlot

SECOND = 1_000_000_000
BASIS_POINT = 0.0001
SHORT_STEP = 20 * SECOND
Events = Sequence[tuple[int, float, float]]


class DeskSlots(Maker):
    """Draws one case around the two features that lead it."""

    STEPS = (HOUR, 8 * HOUR, DAY, DAY, HOUR // 4)
    BARS = (30, 90)

    def __init__(self, rng: random.Random) -> None:
        self.features = self.chosen(rng, rng.choices(PAIRS, LEAD_WEIGHTS)[0])
        if "snapshot" in self.features:
            self.STEPS = (SHORT_STEP,)
        elif "annualized stop" in self.features:
            self.STEPS = (8 * HOUR, DAY, DAY)
        super().__init__(rng)
        self.aim = "time"
        self.size = rng.choice((0.3, 0.5, 0.5, 0.9, 1.0)) if not self.has("top-up") else rng.choice((0.2, 0.4, 0.5))
        self.leverage = rng.choice((1.0, 2.0, 3.0, 5.0, 10.0)) if not self.has("top-up") else rng.choice((2.0, 5.0, 10.0))
        self.volatility = rng.choice((0.003, 0.01, 0.01, 0.02)) if not self.has("top-up") else 0.02
        self.jumps = rng.choice((0.0, 0.0, 0.02))
        self.gaps = rng.choice((0.0, 0.0, 0.03)) if not self.has("undo", "chase") else rng.choice((0.0, 0.1))
        self.tolerance = rng.choice((0, 0, 1, 3)) * self.step
        self.outages = [rng.random() < 0.01 for _ in self.stamps]
        self.asset = self.asset_path()
        self.units = self.capital * self.size / self.asset[0]  # what an entry is about
        self.interval = rng.choice((1, 2, 3, 4)) * self.step + rng.choice((0, 0, 0, self.step // 2))
        self.share = math.exp(rng.uniform(-5.0, 0.0)) if self.has("participation") else None
        self.far = rng.randint(2, 5) * DAY if self.step < HOUR else 0  # how much later than the run's bars contracts expire
        near = rng.randint(2, 6) if self.step == DAY else rng.uniform(1.5, 6.0)
        self.roll_days = (self.far + near * self.step) / DAY
        self.events: dict[tuple[str, int], Events] = {}
        self.inverse, self.face = False, 1.0  # of the slot that is being drawn
        self.place = "long"
        self.snapshot = rng.choice((-45.0, -20.0, -12.5, 7.0, 20.0, 33.0)) if self.has("snapshot") else 0.0
        self.models = {"square root impact": "square_root", "linear impact": "linear"}

    def has(self, *features: str) -> bool:
        return not self.features.isdisjoint(features)

    # --- which features ----------------------------------------------------------------------------------------------------------

    def chosen(self, rng: random.Random, lead: tuple[str, str]) -> frozenset[str]:
        """The leading two, a shape of rule that can have both, and of the others each that can join with about one half."""
        self.shape = rng.choice([shape for shape in SHAPES if all(fits(feature, shape) for feature in lead)])
        features = set(lead)
        for feature in rng.sample(FEATURES, len(FEATURES)):
            joins = fits(feature, self.shape) and not any(frozenset((feature, one)) in INCOMPATIBLE for one in features)
            if joins and rng.random() < (0.25 if feature in SPOILING else 0.5):
                features.add(feature)
        return frozenset(features)

    def side(self) -> str:
        """The sides that let the leading features happen: some need a spot held long, some one sold short."""
        bought, sold = self.has("unstake", "coin margin"), self.has("borrow limit") or (self.has("inverse") and "spot" in self.shape.kinds)
        if "spot" not in self.shape.kinds or bought == sold:
            return "both" if bought else self.rng.choice(("plus", "minus", "both"))
        return "plus" if (self.shape.long == "spot") == bought else "minus"

    # --- slots and instruments ---------------------------------------------------------------------------------------------------

    def slots(self) -> tuple[NaiveSlot | None, NaiveSlot | None]:
        made: list[NaiveSlot | None] = []
        for place, kind, inverse in zip(("long", "short"), self.shape.kinds, self.shape[2:], strict=True):
            self.place, self.inverse = place, inverse
            self.face = self.capital * self.size * self.rng.choice((1e-5, 1e-3, 0.03, 0.1))
            made.append(self.slot(kind) if kind else None)
        if self.has("maker") and not any(slot is not None and slot.maker for slot in made):
            made = [slot and replace(slot, maker=True, half_spread=BASIS_POINT) for slot in made]
        return made[0], made[1]

    def slot(self, kind: str) -> NaiveSlot:
        rng = self.rng
        slot = super().slot(kind)
        fee = rng.choice((0.0, 0.0002, 0.001))
        changes: dict[str, Any] = {
            "fee": fee,
            "taker_fee": rng.choice((None, fee * 1.5, 0.0015)),
            "half_spread": rng.choice((0.0001, 0.002)),
        }
        if self.has("unit fee") and not self.inverse:
            changes["unit_fee"] = rng.uniform(1e-5, 1e-3) * self.asset[0]
            changes["delivery_unit_fee"] = rng.choice((0.0, 1e-4 * self.asset[0])) if kind in ("future", "chain") else 0.0
        for feature, model in self.models.items():
            if self.has(feature):
                changes |= {"impact": 10.0 ** rng.uniform(-4.0, -2.0), "impact_model": model}
        if kind == "chain" and self.has("roll"):
            changes["min_days"] = self.roll_days
        if self.has("latency"):
            changes["latency"] = rng.choice((1, self.step // 3, self.step, self.step + 1, 2 * self.step))
        if maker := self.has("maker") and rng.random() < 0.7:
            changes["half_spread"] = BASIS_POINT  # where orders rest is laid out before the bridge writes its terms
        return replace(
            slot,
            participation=self.share,
            maker=maker,
            changes=self.changes(),
            **self.spread(),
            **changes,
        )

    def spread(self) -> dict[str, Any]:
        """Where half the spread comes from: the data's quotes, a number or a series. With both features, one of the slots has each."""
        series = self.has("spread series") and (not self.has("quotes") or (self.place == "short") != ("" in self.shape.kinds))
        if series:
            values = [self.rng.choice((0.00005, 0.0004, 0.002)) * self.rng.uniform(0.5, 1.5) for _ in self.stamps]
            return {"half_spreads": [NAN if self.rng.random() < 0.05 else value for value in values], "own_spread": True}
        return {"own_spread": not self.has("quotes") and self.rng.random() < 0.5}

    def changes(self) -> list[tuple[int, dict[str, object]]]:
        """Terms that the venue changes in the run, one or several at a time."""
        if not self.has("terms"):
            return []
        found = []
        for time in sorted({self.instant() for _ in range(self.rng.randint(1, 3))}):
            terms: dict[str, object] = {
                "fee": self.rng.uniform(0.0, 0.002), "taker_fee": self.rng.choice((None, self.rng.uniform(0.0, 0.003))),
                "delivery_fee": self.rng.uniform(0.0, 0.003), "liquidation_fee": self.rng.uniform(0.0, 0.05), "tiers": self.tiers(),
            }  # fmt: skip
            kept = self.rng.sample(sorted(terms), self.rng.randint(1, len(terms)))
            found.append((time, {name: terms[name] for name in kept}))
        return found

    def expiries(self, kind: str) -> list[int] | list[None]:
        """For a roll, contracts that follow one another within the run; for an annualized stop, more than a day away on the whole."""
        rng = self.rng
        if kind not in ("future", "chain"):
            return [None]
        if kind == "chain" and self.has("roll"):
            self.shared_expiries.clear()
            first, gap, edge = rng.randint(10, 20), rng.randint(7, 15), rng.choice((0, 0, 1, -1, self.step // 3))
            return [self.stamps[0] + (first + number * gap) * self.step + self.far + edge for number in range(5)]
        if self.has("annualized stop"):
            days = [rng.randint(2, 6) * DAY + self.stamps[-1] + number * 5 * DAY for number in range(2 if kind == "chain" else 1)]
            inside = self.stamps[rng.randint(self.bars // 2, self.bars - 2)] + rng.choice((0, 1, -1))
            return sorted({*days, *((inside,) if kind == "chain" and rng.random() < 0.5 else ())})
        return super().expiries(kind)

    def instrument(self, kind: str, expiry: int | None) -> NaiveInstrument:
        rng = self.rng
        item = super().instrument(kind, expiry)
        here = [not math.isnan(opened) for opened in item.open]
        highs, lows = self.extremes(item, here)
        size = self.units / (self.share or 0.02) * math.exp(rng.uniform(-0.5, 2.0))
        volume = [size * math.exp(rng.gauss(0.0, 0.7)) * (rng.random() > 0.04) if here[bar] else NAN for bar in range(self.bars)]
        asked = self.has("depth limit", "linear impact")
        missing = rng.choice((0.0, 0.0, 0.03))
        deep = self.capital * self.size
        depth = [deep * math.exp(rng.gauss(0.5, 0.6)) if here[bar] and rng.random() >= missing else NAN for bar in range(self.bars)]
        index = [
            self.asset[bar] * math.exp(rng.gauss(0.0, 0.0005)) if here[bar] and rng.random() < 0.9 else NAN for bar in range(self.bars)
        ]
        indexed = kind == "perpetual" and self.has("index notional")
        number = len([key for key in self.events if key[0] == self.place])
        self.events[self.place, number] = item.funding
        return replace(
            item,
            high=highs,
            low=lows,
            volume=volume if self.has("participation", "square root impact") or rng.random() < 0.3 else (),
            depth=depth if asked else (),
            index=index if indexed else (),
            notional="index" if indexed else "mark",
            interval=self.interval,
            inverse=self.inverse,
            contract=self.face if self.inverse else 1.0,
            lot=NAN if self.inverse else item.lot,
            min_notional=rng.choice((NAN, NAN, NAN, self.capital * rng.uniform(0.0, 0.3))),
            funding=self.shifted(replace(item, index=index if indexed else (), notional="index" if indexed else "mark")),
        )

    def lot(self) -> float:
        share = self.rng.choice((NAN, NAN, 1e-5, 1e-3, 0.03, 0.1))
        return 10.0 ** math.floor(math.log10(self.units * share)) if not math.isnan(share) else NAN

    def extremes(self, item: NaiveInstrument, here: Sequence[bool]) -> tuple[list[float], list[float]]:
        """Highs and lows of the trades, now and then no further than open and close; without a bar the last close."""
        highs, lows = [], []
        for bar, close in enumerate(item.close):
            ends = (item.open[bar], close) if here[bar] else (close, close)
            up, down = (abs(self.rng.gauss(0.0, self.volatility)) * (here[bar] and self.rng.random() < 0.8) for _ in range(2))
            highs.append(max(ends) * math.exp(up))
            lows.append(min(ends) * math.exp(-down))
        return highs, lows

    def quotes(self, closes: list[float]) -> tuple[list[float], list[float]]:
        """Quotes where a feature needs them: narrow ones, and now and then a wide one."""
        if not self.has("quotes", "spread limit", "maker"):
            return [NAN] * self.bars, [NAN] * self.bars
        known = self.rng.choice((0.95, 1.0)) if not self.has("maker") else 1.0  # of makers the package asks for quotes of every contract
        bids, asks = [], []
        for close in closes:
            half = self.rng.uniform(0.00001, 0.0015) if self.rng.random() > 0.06 else self.rng.uniform(0.003, 0.006)
            quoted = self.rng.random() < known
            bids.append(close * (1.0 - half) if quoted else NAN)
            asks.append(close * (1.0 + half) if quoted else NAN)
        return bids, asks

    def funding(self, has_bar: list[bool]) -> Events:
        """Events on a schedule, of which a few are missing, and some between."""
        rng = self.rng
        scale, own = rng.choice((0.0001, 0.001, 0.005)), rng.choice((0.0, 0.5, 1.0))
        known_from = self.stamps[has_bar.index(True)]
        times, time = set(), self.stamps[0] + rng.choice((0, 0, 1, self.step // 3, -1))
        while time <= self.stamps[-1]:
            times |= {time} if rng.random() < 0.95 else set()
            times |= {time + self.interval // 3} if rng.random() < 0.05 else set()
            time += self.interval
        kept = [time for time in sorted(times) if known_from <= time <= self.stamps[-1]]
        return [
            (time, rng.choice((0.0, *[rng.gauss(0.3, 1.0) * scale] * 20)), self.own_mark(time) if rng.random() < own else NAN)
            for time in kept
        ]

    def own_mark(self, time: int) -> float:
        return self.asset[max(bar for bar, stamp in enumerate(self.stamps) if stamp <= time)] * math.exp(self.rng.gauss(0.0, 0.005))

    def shifted(self, item: NaiveInstrument) -> Events:
        """The events as the judge has them: at the instant of the snapshot, with the price of their own."""
        if not self.snapshot:
            return item.funding
        shift = round(self.snapshot * SECOND)
        return [(time + shift, rate, mark if not math.isnan(mark) else self.price_at(item, time)) for time, rate, mark in item.funding]

    def price_at(self, item: NaiveInstrument, time: int) -> float:
        bars = [bar for bar, stamp in enumerate(self.stamps) if stamp <= time]
        for prices in (item.index if item.notional == "index" else (), item.mark, item.close):
            known = [prices[bar] for bar in bars if prices and not math.isnan(prices[bar])]
            if known:
                return known[-1]
        raise AssertionError("events begin with the first close")
