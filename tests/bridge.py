"""From a case of the judge to a run of the package: the same market as tables, the same rule, so that both can be compared.

market, rule, capital = generators.case(7)
result = run_package(market, rule, capital)
results = run_book(book_case(7))                # all instruments of a book in one market, each rule prepared on it

What the package reads itself (quotes, volumes, depths, funding, coins to borrow) it gets as data; the venue's terms, which the judge has as plain numbers,
are written over those of the rule-book.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import fsum, isnan, nan
from typing import Any

import numpy as np
import pandas as pd
from generator_book import BookCase
from generator_desk import Beside
from naive import NaiveInstrument, NaiveMarket, NaiveRule, NaiveSlot, Pair

from backtest.curve import pairs
from backtest.execution import Execution
from backtest.instruments import Instrument, Kind, Settle
from backtest.market import DatasetInfo, Funding, Market, frozen
from backtest.result import Log, Prepared, Result
from backtest.rule import Leg, Rule
from backtest.simulate import prepare, simulate, simulate_book

HOUR = 3.6e12
PLAIN = Beside()
COLUMNS = {"volume": "volume", "depth": "depth_50bps", "index": "index"}  # the judge's rows that a plain case lacks
QUOTED = ("bid", "ask", "mark")


def times(values: Any) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(np.asarray(values, np.int64).view("M8[ns]"), name="ts").tz_localize("UTC")


class CaseData:
    """What a market asks of a dataset, from memory; what it would read and check at length is put into its memo instead."""

    def __init__(self, frames: dict[str, pd.DataFrame], names: list[str]) -> None:
        self._frames, self.series_names = frames, names

    def settlements(self) -> pd.DataFrame:
        return pd.DataFrame({"instrument": [], "ts": times([]), "price": []})

    def bars(self, name: str, start: pd.Timestamp | None, end: pd.Timestamp | None) -> pd.DataFrame:
        return self._frames[name].loc[start:end]


def quoted_where_traded(slot: NaiveSlot | None) -> NaiveSlot | None:
    """A table of bars has no quote where it has no bar: the judge must not see one either."""
    if slot is None:
        return None
    changed = []
    for item in slot.instruments:
        bid, ask = ([nan if isnan(open_) else value for value, open_ in zip(side, item.open, strict=True)] for side in (item.bid, item.ask))
        changed.append(replace(item, bid=bid, ask=ask))
    return replace(slot, instruments=changed)


def comparable(rule: NaiveRule) -> NaiveRule:
    """The rule as both sides can read it."""
    return replace(rule, long=quoted_where_traded(rule.long), short=quoted_where_traded(rule.short))


# ---------------------------------------------------------------- the market


def frame(item: NaiveInstrument, clock: pd.DatetimeIndex) -> pd.DataFrame:
    """The instrument's bars, where it has an open."""
    columns = {"open": item.open, "high": item.high or item.mark_high, "low": item.low or item.mark_low, "close": item.close}
    columns |= {name: getattr(item, name) for name in ("mark_high", "mark_low", *QUOTED)}
    columns |= {column: getattr(item, name) for name, column in COLUMNS.items() if len(getattr(item, name))}
    rows = np.array(list(columns.values()))
    here = ~np.isnan(rows[0])
    for number, name in enumerate(columns):
        if name in QUOTED and np.isnan(rows[number]).all():
            rows[number] = np.nan
    return pd.DataFrame(rows[:, here].T, index=clock[here], columns=list(columns))


def tolerance(rules: Sequence[NaiveRule], stamps: list[int]) -> int:
    """The staleness that makes these closes fresh."""
    most = 0
    for slot in [slot for rule in rules for slot in (rule.long, rule.short) if slot is not None]:
        for item in slot.instruments:
            seen = None
            for stamp, open_, fresh in zip(stamps, item.open, item.fresh, strict=True):
                seen = stamp if not isnan(open_) else seen
                if fresh and seen is not None:
                    most = max(most, stamp - seen)
    return most


def instrument(name: str, item: NaiveInstrument, base: str) -> Instrument:
    return Instrument(
        id=name, venue="dydx" if item.notional == "index" else "binance", kind=Kind(item.kind), base=base, quote="USDT",
        lot=None if isnan(item.lot) else item.lot, min_notional=None if isnan(item.min_notional) else item.min_notional,
        expires_at=None if item.expiry is None else pd.Timestamp(item.expiry, tz="UTC"),
        settle=Settle.INVERSE if item.inverse else Settle.LINEAR, multiplier=item.contract,
    )  # fmt: skip


def coin_frame(market: NaiveMarket, rule: NaiveRule, clock: pd.DatetimeIndex) -> pd.DataFrame | None:
    """Bars of the coin's spot, where no slot of the rule is that spot."""
    if not len(market.coin_open) or any(slot is not None and slot.instruments[0].kind == "spot" for slot in (rule.long, rule.short)):
        return None
    here = ~np.isnan(market.coin_open)
    opens, closes = np.array(market.coin_open)[here], np.array(market.coin_close)[here]
    columns = {"open": opens, "high": np.maximum(opens, closes), "low": np.minimum(opens, closes), "close": closes}
    return pd.DataFrame(columns, index=clock[here])


def build_market(
    markets: Sequence[NaiveMarket], rules: Sequence[NaiveRule], besides: Sequence[Beside], groups: Sequence[int] = (0,)
) -> tuple[Market, list[list[Leg | None]]]:
    """One market with the instruments of all rules, and the legs of each. Every group of rules has instruments, and a base asset, of its own."""
    clock = times(markets[0].stamps)
    ones = pd.DataFrame(np.ones((len(clock), 4)), columns=["open", "high", "low", "close"], index=clock)
    frames, instruments = {"CLOCK": ones}, {"CLOCK": Instrument(id="CLOCK", venue="binance", kind=Kind.SPOT, base="CLOCK", quote="USDT")}
    known: dict[Any, Any] = {}
    legs = []
    for market, rule, beside, group in zip(markets, rules, besides, groups, strict=True):
        own, base = f"{group or ''}", f"ETH{group or ''}"
        legs.append([leg_of(place, slot, own) for place, slot in (("long", rule.long), ("short", rule.short))])
        for place, slot, leg in zip(("long", "short"), (rule.long, rule.short), legs[-1], strict=True):
            for number, (name, item) in enumerate(zip(leg.contracts, slot.instruments, strict=True) if slot and leg else ()):
                frames[name], instruments[name] = frame(item, clock), instrument(name, item, base)
                known |= known_of(name, item, beside.events.get((place, number), item.funding), market.stamps[-1])
        coin = coin_frame(market, rule, clock)
        if coin is not None:
            frames[f"COIN{own}"] = coin
            instruments[f"COIN{own}"] = Instrument(id=f"COIN{own}", venue="binance", kind=Kind.SPOT, base=base, quote="USDT")
    series = series_of(markets[0], besides[0])
    data: Any = CaseData(frames, list(series))
    stale = tolerance(rules, list(markets[0].stamps))
    built = Market(frames, instruments, data, markets[0].step, stale, DatasetInfo("case", "", True, ""))
    built._memo |= known | {("history", name): history for name, history in series.items()}
    return built, legs


def leg_of(place: str, slot: NaiveSlot | None, own: str) -> Leg | None:
    """The slot as a leg; `own` begins the names of a group's contracts."""
    if slot is None:
        return None
    names = tuple(f"{own}{place[0].upper()}{number}" for number in range(len(slot.instruments)))
    return Leg(kind=Kind(slot.instruments[0].kind), contracts=names, min_days=slot.min_days, nth=slot.nth, chain=slot.is_chain)


def known_of(name: str, item: NaiveInstrument, events: Any, last: int) -> dict[Any, Any]:
    """Funding and settlement price of a contract, as a market remembers them."""
    rows = np.array([event for event in events if event[0] <= last], dtype=object).reshape(-1, 3)
    hours = np.full(len(rows), item.interval / HOUR)
    known: dict[Any, Any] = {
        ("funding", name): Funding(rows[:, 0].astype(np.int64), frozen(rows[:, 1]), frozen(rows[:, 2]), frozen(hours)),
        ("missing", name, False): np.zeros(0, np.int64),  # the generator's events follow no schedule: none of them is missing
    }
    if not isnan(item.settlement):
        known["settlement", name] = item.settlement, "the dataset's settlements"
    return known


def series_of(market: NaiveMarket, beside: Beside) -> dict[str, tuple[Any, Any]]:
    """The series that the dataset has, with the instants from which their values are known."""
    given = {
        "risk_free": market.idle_rate,
        "borrow_usd": market.borrow_usd,
        "borrow_base": market.borrow_base,
        "staking_yield": market.staking_yield or [(0, 0.0)],
        "borrow_available": beside.available,
    }
    return {
        name: (np.array([time for time, _ in values], np.int64), frozen([value for _, value in values]))
        for name, values in given.items()
        if values
    }


# ---------------------------------------------------------------- the rule


def table(signal: Mapping[Pair, Any] | None, numbers: Any, bars: int) -> Any:
    """A signal by pairs as the table [pair, bar] that a rule takes."""
    if signal is None:
        return None
    return np.array([signal.get((int(a), int(b)), [nan] * bars) for a, b in numbers], dtype=float)


def duration(nanoseconds: int | None) -> pd.Timedelta | None:
    return None if nanoseconds is None else pd.Timedelta(nanoseconds, "ns")


def instant(nanosecond: int | None) -> pd.Timestamp | None:
    return None if nanosecond is None else pd.Timestamp(nanosecond, tz="UTC")


def chosen_rule(built: Market, rule: NaiveRule, legs: list[Leg | None]) -> Rule:
    long, short = legs
    numbers, bars = pairs(built, long, short), len(built)
    tables = [table(signal, numbers, bars) for signal in (rule.signal_plus, rule.signal_minus, rule.exit_plus, rule.exit_minus)]
    empty = np.full((1, bars), nan)
    signal, exit_signal = (tuple(empty if one is None else one for one in two) for two in (tables[:2], tables[2:]))
    several = rule.entry_tranches > 1 or rule.exit_tranches > 1
    gap: Any = rule.tranche_gap if rule.tranche_gap == "funding" else duration(int(rule.tranche_gap))
    stake = rule.stake and any(leg is not None and leg.kind is Kind.SPOT for leg in legs)
    same = (
        "enter", "exit", "sides", "size", "leverage", "resize", "loss", "expiry_days", "entry_tranches", "exit_tranches", "funding_entry",
        "hold_for_funding", "roll_days", "stop_annualized", "exposure", "drawdown", "max_spread", "min_depth",
    )  # fmt: skip
    return Rule(
        long=long, short=short, signal=signal, exit_signal=exit_signal, scale=table(rule.scale, numbers, bars), stake=stake,
        stop=rule.stop if long and short else None, tranche_gap=gap if several else None, cooldown=duration(rule.cooldown or None),
        max_hold=duration(rule.max_hold), converge=duration(rule.converge), pause=duration(rule.pause), funding_wait=duration(rule.funding_wait),
        unstake=duration(rule.unstake) if stake else None, **{name: getattr(rule, name) for name in same},
    )  # fmt: skip


def execution(market: NaiveMarket, rule: NaiveRule, beside: Beside) -> Execution:
    slots = (rule.long, rule.short)
    makers = [slot is not None and slot.maker for slot in slots]
    present = [slot for slot in slots if slot is not None]
    sends = rule.wallets is not None or rule.top_up is not None
    return Execution(
        margin=rule.margin, spot_fee=0.0, derivative_fee=0.0, delivery_fee=0.0, liquidation_fee=0.0, maintenance=0.0,
        half_spread=tuple(half_spread(slot) for slot in slots), maker={(0, 0): "none", (1, 0): "long", (0, 1): "short", (1, 1): "both"}[tuple(makers)],
        latency=tuple(duration(slot.latency if slot else 0) for slot in slots), impact=tuple(slot.impact if slot else 0.0 for slot in slots),
        impact_model=present[0].impact_model, participation=present[0].participation,
        stress=np.array(market.stress) if len(market.stress) else 1.0, policy=rule.policy, patience=duration(rule.patience), wallets=rule.wallets,
        transfer_delay=duration(rule.transfer_delay) if sends else None, transfer_fee=rule.transfer_fee if sends else 0.0, top_up=rule.top_up,
        funding_snapshot=beside.snapshot, deleveraged_at=instant(rule.deleveraged_at), deleveraged_gap=rule.deleveraged_gap,
        recalled_at=instant(beside.recalled_at),
    )  # fmt: skip


def half_spread(slot: NaiveSlot | None) -> Any:
    """The setting, or None where the data's quotes and the terms hold."""
    if slot is None or not slot.own_spread:
        return None
    return np.array(slot.half_spreads) if len(slot.half_spreads) else slot.half_spread


def dated_terms(prepared: Prepared, market: NaiveMarket, rule: NaiveRule) -> Prepared:
    """The judge's terms in place of the rule-book's, from the bars on in which they change."""
    slots = (rule.long, rule.short)
    opened = np.array([market.stamps[0] - market.step, *market.stamps[:-1]])
    starts = {int(np.searchsorted(opened, time)) for slot in slots if slot is not None for time, _ in slot.changes}
    periods = np.array(sorted({0} | {start for start in starts if start < len(opened)}), np.int64)
    terms = np.repeat(np.asarray(prepared.terms)[:1], len(periods), axis=0)
    for row, first in zip(terms, periods, strict=True):
        for place, slot in zip(row, slots, strict=True):
            if slot is not None:
                write_terms(place, slot, int(opened[first]))
    return replace(prepared, terms=terms.view(np.recarray), tapes=prepared.tapes._replace(periods=periods))


def write_terms(place: Any, slot: NaiveSlot, now: int) -> None:
    """One slot's terms as they are at an instant."""
    for time, changed in slot.changes:
        if time <= now:
            slot = replace(slot, **changed)
    for name in ("fee", "unit_fee", "delivery_unit_fee", "delivery_fee", "liquidation_fee"):
        place[name] = getattr(slot, name)
    place["taker_fee"] = slot.taker_fee if slot.maker and slot.taker_fee is not None else slot.fee
    if not slot.own_spread:
        place["half_spread"] = slot.half_spread
    place["tiers"] = len(slot.tiers)
    for number, tier in enumerate(slot.tiers):
        place["tier_floor"][number], place["tier_rate"][number], place["tier_deduction"][number] = tier


# ---------------------------------------------------------------- the run


def prepared_case(market: NaiveMarket, rule: NaiveRule, beside: Beside = PLAIN) -> Prepared:
    built, (legs,) = build_market([market], [rule], [beside])
    prepared = prepare(built, chosen_rule(built, rule, legs), execution(market, rule, beside))
    return dated_terms(prepared, market, rule)


def run_package(market: NaiveMarket, rule: NaiveRule, capital: float, beside: Beside = PLAIN, *, jump: bool = True) -> Result:
    prepared = prepared_case(market, rule, beside)
    log: Log = simulate(prepared, capital, jump=jump)
    return Result(prepared.rule, prepared, capital, log)


def prepared_book(case: BookCase) -> list[Prepared]:
    """Each rule prepared on the market of all, under the execution of those that have each slot first."""
    built, legs = build_market(case.markets, case.rules, case.besides, case.groups)
    slots = [next((slot for rule in case.rules if (slot := getattr(rule, place)) is not None), None) for place in ("long", "short")]
    common = execution(case.markets[0], replace(case.rules[0], long=slots[0], short=slots[1]), case.besides[0])
    prepared = []
    for market, rule, own in zip(case.markets, case.rules, legs, strict=True):
        made = prepare(built, chosen_rule(built, rule, own), common)
        prepared.append(dated_terms(made, market, rule))
    return prepared


def run_book(case: BookCase, *, jump: bool = True) -> list[Result]:
    """One result a rule, and one of the reserve if the shares don't add up to 1."""
    prepared, limits = prepared_book(case), dict(case.limits)
    if "pause" in limits:
        limits["pause"] = duration(limits["pause"])
    logs = simulate_book(prepared, case.capital, shares=case.parts, jump=jump, **limits)
    capitals = [case.capital * share for share in (*case.parts, 1.0 - fsum(case.parts))]
    return [
        Result(each.rule, each, capital, log)
        for each, capital, log in zip([*prepared, prepared[0]][: len(logs)], capitals[: len(logs)], logs, strict=True)
    ]
