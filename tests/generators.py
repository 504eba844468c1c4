"""Small nasty markets and rules for the judge and the kernel, from a seed.

A case has 30 to 160 bars, and leans towards one way of ending its trades (`AIMS`) so that every exit reason, leg kind, side and margin
mode turns up often. Prices jump, legs miss bars, closes go stale, funding falls on the edges of bars, contracts expire in the middle of
them. `coverage` says what a case exercised:

    market, rule, capital = case(7)
    labels = coverage(judge(market, rule, capital), rule)
"""

import math
import random
from collections.abc import Callable

from hypothesis import strategies as st
from naive import DAY, NAN, NaiveInstrument, NaiveMarket, NaiveResult, NaiveRule, NaiveSlot, Pair, Signal, Tier

Case = tuple[NaiveMarket, NaiveRule, float]

HOUR = DAY // 24
AIMS = ("liquidation", "expiry", "stop", "loss", "days to expiry", "time", "signal", "end of data", "called off")
KINDS = ("spot", "perpetual", "future", "chain")
START = 1_704_067_200_000_000_000  # 2024-01-01


def markets() -> st.SearchStrategy[Case]:
    """A hypothesis strategy of cases; it draws the seed only, so that a failure is reproduced by `case(seed)`."""
    return st.integers(min_value=0, max_value=2**32 - 1).map(case)


def case(seed: int) -> Case:
    """A market, a rule and a capital. The same seed gives the same case."""
    return Maker(random.Random(seed)).case()


def coverage(result: NaiveResult, rule: NaiveRule) -> set[str]:
    """The features that a run exercised, as labels such as `reason:stop`, `side:-1`, `long:chain`, `margin:cross`, `resize`."""
    labels = {f"called off:{reason}" for _, reason in result.called_off}
    for label, happened in (
        ("called off", bool(result.called_off)),
        ("waiting order", bool(result.waited)),
        ("absorbed loss", bool(result.absorbed)),
        ("negative balance", min(result.balance) < 0.0),
        ("negative equity", min(result.equity) < 0.0),
        ("several trades", len(result.trades) > 1),
        ("no trade", not result.trades),
        ("cooldown", bool(rule.cooldown) and len(result.trades) > 1),
    ):
        labels |= {label} if happened else set()
    labels |= {f"source:{name}" for name, amounts in result.sources.items() if any(amounts)}
    for fill in result.fills:
        slot = rule.long if fill.slot == "long" else rule.short
        assert slot is not None
        kind = kind_of(slot)
        labels |= {f"{fill.slot}:{kind}", f"action:{fill.action}"}
        labels |= {"second nearest"} if slot.nth > 1 else set()
        if kind != "spot":
            labels.add(f"margin:{rule.margin}")
        if fill.action == "liquidation":
            labels |= {f"{rule.margin} liquidation", f"liquidation of {'long' if fill.quantity < 0.0 else 'short'}"}
            labels |= {"tiered liquidation"} if len(slot.tiers) > 1 else set()
    for trade in result.trades:
        labels |= {f"reason:{trade.reason}", f"side:{trade.side}", f"legs:{legs_of(rule)}"}
        labels |= {f"legs:{legs_of(rule)}:{trade.side}"}
    forced = [(fill.bar, fill.action) for fill in result.fills if fill.action in ("liquidation", "settlement")]
    labels |= {f"two in one bar:{action}" for bar, action in forced if forced.count((bar, action)) > 1}
    labels |= {"two in one bar:both" for bar, action in forced if action == "liquidation" and (bar, "settlement") in forced}
    return labels


def kind_of(slot: NaiveSlot) -> str:
    """The slot's kind as one of `KINDS`; "future" is a single dated contract."""
    return "chain" if slot.is_chain else slot.instruments[0].kind


def legs_of(rule: NaiveRule) -> str:
    """The kinds of both slots, "none" for a slot that the rule doesn't have."""
    return "/".join("none" if slot is None else kind_of(slot) for slot in (rule.long, rule.short))


def nth(instruments: list[NaiveInstrument]) -> int:
    """Which of a chain's contracts is offered, drawn by a generator of its own: a seed's other draws don't depend on it."""
    return 2 if len(instruments) > 1 and random.Random(instruments[-1].close[-1]).random() < 0.1 else 1


class Maker:
    """Draws one case; what several parts need (clock, price of the asset, scale of the capital) is drawn first."""

    STEPS: tuple[int, ...] = (HOUR, 8 * HOUR, DAY, DAY, HOUR // 4)
    BARS = (30, 160)

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.aim = rng.choice((*AIMS, "liquidation"))
        self.step = rng.choice(self.STEPS)
        self.bars = rng.randint(*self.BARS)
        self.stamps = self.clock()
        self.capital = 10.0 ** rng.uniform(2.0, 7.0)
        self.leverage = rng.choice((0.5, 1.0, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0))
        self.size = rng.choice((0.5, 0.5, 0.9, 1.0, rng.uniform(0.05, 1.5)))
        if self.aim == "liquidation":
            self.size = rng.choice((0.5, 0.95, rng.uniform(0.5, 1.5), rng.uniform(1.0, 8.0)))
            self.leverage = rng.choice((3.0, 5.0, 10.0, 20.0, 40.0))
        elif rng.random() < 0.4:
            self.leverage = rng.choice((0.5, 1.0, 2.0))
        self.volatility = rng.choice((0.0005, 0.003, 0.01, 0.03))
        self.jumps = rng.choice((0.0, 0.02, 0.1)) if self.aim != "liquidation" else rng.choice((0.03, 0.1))
        self.gaps = rng.choice((0.0, 0.0, 0.03, 0.25))
        self.tolerance = rng.choice((0, 0, 0, 1, 3)) * self.step
        self.outages = [rng.random() < 0.01 for _ in self.stamps]
        if self.aim == "called off":
            # Orders of both slots must wait while the signal is still read.
            self.tolerance = 3 * self.step
            self.outages = [rng.random() < 0.45 for _ in self.stamps]
        self.asset = self.asset_path()
        self.shared_expiries: list[int] = []

    def limited(self, reason: str) -> bool:
        """Whether the rule gets the limit of this reason: always for its aim, rarely where it would end the aim's trades first."""
        if self.aim == "called off":
            return reason in ("signal", "days to expiry") and self.rng.random() < 0.6
        return self.aim == reason or self.rng.random() < (0.03 if self.aim in ("end of data", "expiry", "liquidation") else 0.2)

    def case(self) -> Case:
        long, short = self.slots()
        market = NaiveMarket(
            stamps=self.stamps,
            step=self.step,
            idle_rate=self.rates(0.08),
            borrow_usd=self.rates(0.3),
            borrow_base=self.rates(0.2),
            staking_yield=self.rates(0.1),
        )
        return market, self.rule(long, short), self.capital

    # --- the clock and the asset -------------------------------------------------------------------------------------------------

    def clock(self) -> list[int]:
        """Multiples of the step; some clocks miss bars."""
        missing = self.rng.choice((0.0, 0.0, 0.05, 0.2))
        now = START + self.rng.randint(0, 400) * self.step
        stamps = []
        for _ in range(self.bars):
            stamps.append(now)
            now += self.step
            while self.rng.random() < missing:
                now += self.step
        return stamps

    def asset_path(self) -> list[float]:
        price = 10.0 ** self.rng.choice((self.rng.uniform(-5.0, 6.0), self.rng.uniform(0.0, 4.0)))
        path = []
        for _ in range(self.bars):
            price *= math.exp(self.rng.gauss(0.0, self.volatility))
            if self.rng.random() < self.jumps:
                price *= math.exp(self.rng.choice((-1.0, 1.0)) * self.rng.uniform(0.02, 0.6))
            path.append(price)
        return path

    def rates(self, most: float) -> list[tuple[int, float]]:
        """Values that become known before the run, at stamps and between them; sometimes none at all."""
        if self.rng.random() < 0.3:
            return []
        times = [self.stamps[0] - self.step * self.rng.choice((1, 1, 5))] if self.rng.random() < 0.7 else []
        times += [self.rng.choice(self.stamps) - self.rng.choice((0, 0, 1, self.step // 3)) for _ in range(self.rng.randint(0, 4))]
        return [(time, self.rng.uniform(0.0, most)) for time in sorted(set(times))]

    # --- instruments -------------------------------------------------------------------------------------------------------------

    def slots(self) -> tuple[NaiveSlot | None, NaiveSlot | None]:
        dated = self.aim in ("expiry", "days to expiry") or (self.aim == "called off" and self.rng.random() < 0.7)
        derivative = self.aim == "liquidation"
        while True:
            kinds = [self.rng.choice((*KINDS, *KINDS, None)), self.rng.choice((*KINDS, *KINDS, None))]
            if kinds == [None, None] or (dated and not {"future", "chain"} & set(kinds)) or (derivative and set(kinds) <= {"spot", None}):
                continue
            long, short = (self.slot(kind) if kind is not None else None for kind in kinds)
            return long, short

    def slot(self, kind: str) -> NaiveSlot:
        rng = self.rng
        expiries = self.expiries(kind)
        instruments = [self.instrument("future" if kind == "chain" else kind, expiry) for expiry in expiries]
        min_days = 0.0
        if kind == "chain" and rng.random() < 0.5:
            # Whole days meet "at least min_days" exactly; other bar lengths stay clear of ties that only rounding would decide.
            min_days = float(rng.randint(1, 12)) if self.step == DAY else rng.uniform(0.0, 12.0) * self.step / DAY
        return NaiveSlot(
            instruments=instruments,
            is_chain=kind == "chain",
            min_days=min_days,
            nth=nth(instruments),
            fee=rng.choice((0.0, 0.0005, 0.001, 0.01)),
            half_spread=rng.choice((0.0, 0.0001, 0.002)),
            delivery_fee=rng.choice((0.0, 0.0005, 0.003)),
            liquidation_fee=rng.choice((0.0, 0.01, 0.0125, 0.05)),
            tiers=self.tiers(),
        )

    def expiries(self, kind: str) -> list[int] | list[None]:
        """None for what never expires; else one to four instants: at the edges of bars, next to them, inside, and after the run."""
        if kind in ("spot", "perpetual"):
            return [None]
        rng = self.rng
        count = rng.randint(1, 4) if kind == "chain" else 1
        first = 5 if kind == "chain" else self.bars // 3
        expiries: set[int] = set()
        while len(expiries) < count:
            late = rng.random() < (0.25 if count > 1 else 0.15) and self.aim not in ("expiry", "days to expiry")
            nudge = rng.choice((0, 0, -1, 1, self.step // 3, -self.step // 2))
            bar = rng.randint(first, self.bars - 1)
            drawn = self.stamps[-1] + rng.randint(1, 40) * self.step if late else self.stamps[bar] + nudge
            # Two venues often share their delivery dates, so that both slots may settle in one bar.
            expiries.add(rng.choice(self.shared_expiries) if self.shared_expiries and rng.random() < 0.4 else drawn)
        self.shared_expiries += sorted(expiries)
        return sorted(expiries)

    def instrument(self, kind: str, expiry: int | None) -> NaiveInstrument:
        rng = self.rng
        last = self.bars if expiry is None else sum(1 for bar in range(self.bars) if self.opened(bar) < expiry)
        first = rng.randint(0, self.bars // 4) if rng.random() < 0.2 else 0
        has_bar = self.presence(first, last)
        fair = self.fair_prices(kind, expiry)
        opens, closes = self.trade_prices(fair, has_bar)
        marks, highs, lows = self.marks(fair, opens, closes, has_bar)
        bids, asks = self.quotes(closes)
        return NaiveInstrument(
            kind=kind,
            open=opens,
            close=closes,
            fresh=self.freshness(has_bar),
            mark_high=highs,
            mark_low=lows,
            bid=bids,
            ask=asks,
            mark=marks,
            funding=self.funding(has_bar) if kind == "perpetual" else [],
            expiry=expiry,
            settlement=fair[last - 1] * math.exp(rng.gauss(0.0, 0.005)) if expiry is not None and expiry <= self.stamps[-1] else NAN,
            lot=self.lot(),
            min_notional=self.rng.choice((NAN, NAN, 5.0, self.capital * rng.uniform(0.0, 0.6))),
        )

    def opened(self, bar: int) -> int:
        return self.stamps[bar - 1] if bar else self.stamps[0] - self.step

    def presence(self, first: int, last: int) -> list[bool]:
        """Which bars exist: single gaps and runs of them, none before `first` or from `last` on."""
        has_bar, hole = [], 0
        for bar in range(self.bars):
            if hole == 0 and self.rng.random() < self.gaps:
                hole = self.rng.choice((1, 1, 2, 8))
            has_bar.append(first <= bar < last and hole == 0 and not self.outages[bar])
            hole = max(0, hole - 1)
        if not any(has_bar):
            has_bar[min(first, last - 1)] = True
        return has_bar

    def freshness(self, has_bar: list[bool]) -> list[bool]:
        fresh, seen = [], -self.tolerance - 1
        for stamp, here in zip(self.stamps, has_bar, strict=True):
            seen = stamp if here else seen
            fresh.append(stamp - seen <= self.tolerance)
        return fresh

    def fair_prices(self, kind: str, expiry: int | None) -> list[float]:
        """The asset times a premium that wanders, and shrinks towards an expiry."""
        if kind == "spot":
            return [price * math.exp(self.rng.gauss(0.0, 0.0003)) for price in self.asset]
        scale = self.rng.choice((0.0005, 0.003, 0.02))
        level, premium, fair = self.rng.uniform(-1.0, 3.0) * scale, 0.0, []
        for bar, price in enumerate(self.asset):
            premium += 0.1 * (level - premium) + self.rng.gauss(0.0, 0.3 * scale)
            left = 1.0 if expiry is None else max(0.0, min(1.0, (expiry - self.stamps[bar]) / (30 * self.step)))
            fair.append(price * math.exp(premium * left))
        return fair

    def trade_prices(self, fair: list[float], has_bar: list[bool]) -> tuple[list[float], list[float]]:
        """Opens (NaN without a bar) near the price before, now and then far from it, and last known closes."""
        opens, closes, close = [], [], NAN
        for bar in range(self.bars):
            before = fair[bar - 1] if bar else fair[0]
            shock = self.rng.uniform(-0.15, 0.15) if self.rng.random() < 0.02 else self.rng.gauss(0.0, 0.2 * self.volatility)
            opens.append(before * math.exp(shock) if has_bar[bar] else NAN)
            close = fair[bar] if has_bar[bar] else close
            closes.append(close)
        return opens, closes

    def marks(
        self, fair: list[float], opens: list[float], closes: list[float], has_bar: list[bool]
    ) -> tuple[list[float], list[float], list[float]]:
        """Marks at the bars' ends (some instruments have none, some lack a few) and the extremes that margin is judged by."""
        with_marks = self.rng.choice((0.0, 0.9, 1.0))
        marks, highs, lows = [], [], []
        for bar in range(self.bars):
            marked = has_bar[bar] and self.rng.random() < with_marks
            reach = abs(self.rng.gauss(0.0, self.volatility))
            mark = fair[bar] * math.exp(self.rng.gauss(0.0, 0.001)) if marked else NAN
            ends = (mark, mark) if marked else (opens[bar], closes[bar]) if has_bar[bar] else (closes[bar], closes[bar])
            marks.append(mark)
            highs.append(max(ends) * math.exp(reach if has_bar[bar] else 0.0))
            lows.append(min(ends) * math.exp(-reach if has_bar[bar] else 0.0))
        return marks, highs, lows

    def quotes(self, closes: list[float]) -> tuple[list[float], list[float]]:
        quoted = self.rng.choice((0.0, 0.0, 0.5, 1.0))
        bids, asks = [], []
        for close in closes:
            half = self.rng.choice((0.00001, 0.0005, 0.003))
            known = self.rng.random() < quoted
            bids.append(close * (1.0 - half) if known else NAN)
            asks.append(close * (1.0 + half) if known else NAN)
        return bids, asks

    def funding(self, has_bar: list[bool]) -> list[tuple[int, float, float]]:
        """Events on the edges of bars, next to them and inside, none before the first close; some bring their own mark."""
        rng = self.rng
        scale = rng.choice((0.0001, 0.001, 0.01))
        own = rng.choice((0.0, 0.5, 1.0))
        often = rng.choice((0.0, 0.15, 0.5, 1.0))
        known_from = self.stamps[has_bar.index(True)]
        events = {}
        for bar in range(self.bars):
            for nudge in (0, rng.choice((-1, 1, -self.step // 2, self.step // 3))):
                time = self.stamps[bar] + nudge
                if time >= known_from and rng.random() < often:
                    mark = self.asset[bar] * math.exp(rng.gauss(0.0, 0.005)) if rng.random() < own else NAN
                    events[time] = (time, rng.gauss(0.3, 1.0) * scale, mark)
        return [events[time] for time in sorted(events)]

    def lot(self) -> float:
        """Unknown, fine, coarse, or so coarse that nothing can be bought."""
        budget = self.capital * self.size / self.asset[0]
        share = self.rng.choice((NAN, NAN, 1e-5, 1e-3, 0.03, 0.2, 1.0))
        return 10.0 ** math.floor(math.log10(budget * share)) if not math.isnan(share) else NAN

    def tiers(self) -> list[Tier]:
        """Flat, or two to four tiers with deductions that keep the maintenance continuous."""
        rate = self.rng.choice((0.0, 0.004, 0.01, 0.02))
        tiers = [(0.0, rate, 0.0)]
        if self.rng.random() < 0.5:
            floor = self.capital * self.size * self.rng.uniform(0.1, 1.5)
            for _ in range(self.rng.randint(1, 3)):
                higher = rate + self.rng.choice((0.001, 0.005, 0.02))
                tiers.append((floor, higher, floor * (higher - rate) + tiers[-1][2]))
                rate, floor = higher, floor * self.rng.uniform(1.05, 3.0)
        return tiers

    # --- the rule ----------------------------------------------------------------------------------------------------------------

    def rule(self, long: NaiveSlot | None, short: NaiveSlot | None) -> NaiveRule:
        rng = self.rng
        sides = rng.choice(("plus", "minus", "both"))
        plus = self.signal(long, short)
        minus = plus if rng.random() < 0.5 else self.signal(long, short)
        exit_plus, exit_minus = (plus, minus) if rng.random() < 0.5 else (self.signal(long, short), self.signal(long, short))
        enter = rng.choice((None, -0.5, 0.0, 0.3))
        span = self.bars * self.step

        def limit(reason: str, draw: Callable[[], float]) -> float | None:
            return draw() if self.limited(reason) else None

        max_hold = limit("time", lambda: rng.randint(1, 12) * self.step)
        return NaiveRule(
            long=long,
            short=short,
            signal_plus=plus,
            signal_minus=minus,
            exit_plus=exit_plus,
            exit_minus=exit_minus,
            enter=enter,
            exit=limit("signal", lambda: (enter or 0.0) - rng.uniform(0.1, 1.0)),
            sides=sides,
            size=self.size,
            leverage=self.leverage,
            margin=rng.choice(("isolated", "cross", "cross")) if self.aim == "liquidation" else rng.choice(("isolated", "cross", "off")),
            resize=rng.choice((None, None, 1.02, 1.1, 1.5)),
            stop=limit("stop", lambda: 10.0 ** rng.uniform(-3.5, -1.5)),
            loss=limit("loss", lambda: 10.0 ** rng.uniform(-2.5, -0.7)),
            expiry_days=limit(
                "days to expiry", lambda: float(rng.randint(1, 10)) if self.step == DAY else rng.uniform(1, 10) * self.step / DAY
            ),
            max_hold=None if max_hold is None else int(max_hold),
            cooldown=rng.choice((None, None, rng.randint(1, 10) * self.step, span // 2)),
            stake=rng.random() < 0.5,
        )

    def signal(self, long: NaiveSlot | None, short: NaiveSlot | None) -> Signal:
        """A wandering signal for every pair, NaN where a close is not fresh and now and then elsewhere."""
        persistence = 0.5 if self.aim == "called off" else self.rng.choice((0.5, 0.9, 0.98))
        signal: dict[Pair, list[float]] = {}
        for i in range(len(long.instruments)) if long else (-1,):
            for j in range(len(short.instruments)) if short else (-1,):
                slots = [(slot, index) for slot, index in ((long, i), (short, j)) if slot is not None]
                value, values = self.rng.gauss(0.0, 1.0), []
                for bar in range(self.bars):
                    value = persistence * value + math.sqrt(1.0 - persistence**2) * self.rng.gauss(0.0, 1.0)
                    readable = all(slot.instruments[index].fresh[bar] for slot, index in slots) and self.rng.random() > 0.02
                    values.append(value if readable else NAN)
                signal[(i, j)] = values
        return signal
