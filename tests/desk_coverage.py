"""Which features of a desk case a run exercised: not what was set, but what happened, as far as fills, trades and balances tell.

exercised(judge(market, rule, capital), rule, market)  # {"maker", "roll", "terms", …}
"""

import math
from collections.abc import Iterator

from naive import NaiveFill, NaiveInstrument, NaiveMarket, NaiveResult, NaiveRule, NaiveSlot, NaiveTrade

CALM = ("days to expiry", "time", "no convergence", "signal")
ORDERS = ("entry", "exit", "resize")
TINY = 1e-9


def exercised(result: NaiveResult, rule: NaiveRule, market: NaiveMarket) -> set[str]:
    """Names of `FEATURES` that the run exercised, and a few that are counted beside them."""
    run = _Run(result, rule, market)
    found = {name for fill in result.fills for name in run.of_fill(fill)}
    found |= {name for trade in range(len(result.trades)) for name in run.of_trade(trade)}
    return found | set(run.of_money())


class _Run:
    """A result with what is needed to look things up in it."""

    def __init__(self, result: NaiveResult, rule: NaiveRule, market: NaiveMarket) -> None:
        self.result, self.rule, self.market = result, rule, market
        self.fills: list[list[NaiveFill]] = [[] for _ in result.trades]
        for fill in result.fills:
            self.fills[fill.trade].append(fill)

    def opened(self, bar: int) -> int:
        return self.market.stamps[bar - 1] if bar else self.market.stamps[0] - self.market.step

    def slot(self, name: str) -> NaiveSlot | None:
        return self.rule.long if name == "long" else self.rule.short

    def instrument(self, name: str, bar: int) -> NaiveInstrument | None:
        """The contract that a slot holds or has on order at the end of a bar."""
        pair, slot = self.result.pairs[bar], self.slot(name)
        if pair is None or slot is None:
            return None
        return slot.instruments[pair[0 if name == "long" else 1]]

    def held(self, name: str, bar: int) -> float:
        return (self.result.quantity_long if name == "long" else self.result.quantity_short)[bar]

    # --- fills -------------------------------------------------------------------------------------------------------------------

    def of_fill(self, fill: NaiveFill) -> Iterator[str]:
        slot, item = self.slot(fill.slot), self.instrument(fill.slot, fill.bar - 1)
        if slot is None or item is None:
            return
        if fill.action in ("roll", "deleveraging"):
            yield fill.action
        if item.inverse:
            yield "coin margin" if self.coin_margin(fill) else "inverse"
        if fill.action in ("settlement", "liquidation", "deleveraging"):
            return
        before = fill.bar - 1
        stress = self.market.stress[before] if self.market.stress else 1.0
        cost = fill.slippage / (abs(fill.quantity) * fill.reference) if not item.inverse else abs(fill.price / fill.reference - 1.0)
        maker = slot.maker and (fill.price - fill.reference) * fill.quantity < 0.0
        quoted = not slot.own_spread and not math.isnan(item.bid[before]) and not math.isnan(item.ask[before])
        if quoted:
            yield "quotes"
        if slot.half_spreads:
            yield "spread series"
        half = self.half_spread(slot, item, before, quoted)
        if not maker and slot.impact > 0.0 and cost > stress * half * (1.0 + 1e-6) + 1e-12:
            yield f"{slot.impact_model.replace('_', ' ')} impact"
        if stress != 1.0 and not maker:
            yield "stress"
        if maker:
            yield "maker"
        if slot.latency and fill.action != "roll":
            yield "latency"
        if slot.unit_fee:
            yield "unit fee"
        yield from self.of_room(fill, slot, item, stress, maker)

    def of_room(self, fill: NaiveFill, slot: NaiveSlot, item: NaiveInstrument, stress: float, maker: bool) -> Iterator[str]:
        """A fill that took all that its room allows, or one that was not asked for its room any more."""
        if slot.maker and not maker and self.rule.policy == "chase" and fill.action != "roll" and fill.slippage > 0.0:
            yield "chase"
        if slot.participation is None or fill.action == "roll":
            return
        room = slot.participation * item.volume[fill.bar] / stress
        step = item.contract / fill.reference if item.inverse else self.lot(fill.bar - 1)
        if abs(fill.quantity) > room * (1.0 + 1e-6) and self.rule.policy == "chase":
            yield "chase"
        elif abs(fill.quantity) * (1.0 + 1e-6) > room - step:
            yield "participation"

    def lot(self, bar: int) -> float:
        lots = [item.lot for name in ("long", "short") if (item := self.instrument(name, bar)) is not None and not math.isnan(item.lot)]
        return max(lots, default=0.0)

    @staticmethod
    def half_spread(slot: NaiveSlot, item: NaiveInstrument, bar: int, quoted: bool) -> float:
        if quoted:
            return (item.ask[bar] - item.bid[bar]) / (item.ask[bar] + item.bid[bar])
        if slot.half_spreads:
            return 0.0001 if math.isnan(slot.half_spreads[bar]) else slot.half_spreads[bar]
        return slot.half_spread

    def coin_margin(self, fill: NaiveFill) -> bool:
        other = self.rule.short if fill.slot == "long" else self.rule.long
        if other is None or other.instruments[0].kind != "spot":
            return False
        bought = self.result.trades[fill.trade].side * (1 if other is self.rule.long else -1)
        return bought > 0

    # --- trades ------------------------------------------------------------------------------------------------------------------

    def of_trade(self, number: int) -> Iterator[str]:
        trade, fills, rule = self.result.trades[number], self.fills[number], self.rule
        named = {"unfilled": "undo", "no convergence": "converge", "exposure": "exposure", "recall": "borrow limit", "drawdown": "drawdown"}
        if trade.reason in named:
            yield named[trade.reason]
        if trade.reason == "stop" and rule.stop_annualized is not None and rule.stop is None:
            yield "annualized stop"
        if trade.reason == "liquidity":
            yield from self.illiquid(fills)
        yield from self.tranches(trade, fills)
        yield from self.waits(trade, fills)
        end = trade.exited_at if trade.exited_at is not None else self.market.stamps[-1]
        for slot in (rule.long, rule.short):
            if slot is not None and any(trade.entered_at < time <= end for time, _ in slot.changes):
                yield "terms"
        if rule.scale is not None:
            scale = rule.scale[trade.pair][self.decided(fills[0].bar)]
            if scale != 1.0:
                yield "scale"

    def decided(self, bar: int) -> int:
        """The bar at whose close the entry that fills in this bar was decided."""
        while bar > 1 and self.result.pairs[bar - 2] is not None and not self.ended(bar - 1):
            bar -= 1
        return bar - 1

    def ended(self, bar: int) -> bool:
        """Whether a trade or an entry ended in a bar."""
        return any(fill.bar == bar and fill.action != "entry" for fill in self.result.fills)

    def illiquid(self, fills: list[NaiveFill]) -> Iterator[str]:
        leaves = next((fill.bar for fill in fills if fill.action == "exit"), len(self.market.stamps))
        for bar in range(fills[0].bar, leaves):
            for name in ("long", "short"):
                item = self.instrument(name, bar)
                if item is None:
                    continue
                if (
                    self.rule.max_spread is not None
                    and 2.0 * (item.ask[bar] - item.bid[bar]) / (item.ask[bar] + item.bid[bar]) > self.rule.max_spread
                ):
                    yield "spread limit"
                if self.rule.min_depth is not None and item.depth and item.depth[bar] < self.rule.min_depth:
                    yield "depth limit"

    def tranches(self, trade: NaiveTrade, fills: list[NaiveFill]) -> Iterator[str]:
        """Entries and exits in several parts that the tranches made."""
        for action, count in (("entry", self.rule.entry_tranches), ("exit", self.rule.exit_tranches)):
            bars = [[fill.bar for fill in fills if fill.slot == name and fill.action == action] for name in ("long", "short")]
            if count > 1 and max(map(len, bars)) > 1 and (action == "entry" or trade.reason in CALM):
                yield f"{action} tranches"
                if self.rule.tranche_gap == "funding":
                    yield "funding gap"

    def waits(self, trade: NaiveTrade, fills: list[NaiveFill]) -> Iterator[str]:
        """Orders that waited for funding, and staked coins that had to be unstaked."""
        first = fills[0]
        if self.rule.funding_entry != "before":
            expected = self.expected(self.decided(first.bar))
            if expected is not None and self.opened(first.bar) >= expected > self.market.stamps[self.decided(first.bar)]:
                yield "funding entry"
        exits = [fill for fill in fills if fill.action == "exit"]
        if self.rule.hold_for_funding and exits and trade.reason in CALM:
            paid = [time for time, _, _ in self.events() if time <= self.opened(exits[0].bar)]
            if paid and self.opened(exits[0].bar) - paid[-1] < self.market.step and exits[0].bar > first.bar + 1:
                yield "hold for funding"
        for fill in exits:
            slot = self.slot(fill.slot)
            if self.rule.stake and self.rule.unstake and slot is not None and slot.instruments[0].kind == "spot" and fill.quantity < 0.0:
                yield "unstake"

    def perpetual(self) -> NaiveInstrument | None:
        for slot in (self.rule.short, self.rule.long):
            if slot is not None and slot.instruments[0].kind == "perpetual":
                return slot.instruments[0]
        return None

    def events(self) -> list[tuple[int, float, float]]:
        item = self.perpetual()
        return list(item.funding) if item is not None else []

    def expected(self, bar: int) -> int | None:
        """The next payment as expected at a close, if within the time that an order waits for it."""
        now, item = self.market.stamps[bar], self.perpetual()
        times = [time for time, _, _ in self.events() if time <= now]
        if item is None or not times or not now < times[-1] + item.interval <= now + self.rule.funding_wait:
            return None
        return times[-1] + item.interval

    # --- money -------------------------------------------------------------------------------------------------------------------

    def of_money(self) -> Iterator[str]:
        """Money that was sent, entries that were called off, and those that a limit bound."""
        for bar, *_ in self.result.sent:
            yield "transfer" if self.result.pairs[bar] is None else "top-up"
        for _, reason in self.result.called_off:
            if reason == "unfilled":
                yield "undo"
            if reason == "drawdown":
                yield "drawdown"
        for trade, fills in zip(self.result.trades, self.fills, strict=True):
            decided = self.decided(fills[0].bar)
            limit = self.market.borrow_available[decided] if self.market.borrow_available else math.inf
            sold = self.rule.short if trade.side > 0 else self.rule.long
            if sold is not None and sold.instruments[0].kind == "spot" and trade.quantity * (1.0 + 1e-6) > limit - self.lot(decided) > 0.0:
                yield "borrow limit"
