"""From a case of the judge to a run of the package: the same market as tables, the same rule, so that both can be compared.

market, rule, capital = generators.case(7)
result = run_package(market, rule, capital)
"""

from dataclasses import replace
from math import isnan
from typing import Any

import numpy as np
import pandas as pd
from naive import NaiveInstrument, NaiveMarket, NaiveRule, NaiveSlot, Pair

from backtest import kernels as k
from backtest.curve import pairs
from backtest.instruments import Instrument, Kind
from backtest.market import DatasetInfo, Market
from backtest.result import Log, Prepared, Result
from backtest.rule import Execution, Leg, Rule
from backtest.simulate import prepare, simulate

YEARS_AHEAD = "the dataset's settlements"


def times(values: Any) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(np.asarray(values, np.int64).view("M8[ns]"), name="ts").tz_localize("UTC")


class CaseData:
    """What a market asks of a dataset, from memory."""

    def __init__(
        self, frames: dict[str, pd.DataFrame], funding: dict[str, pd.DataFrame], settlements: dict[str, float], series: dict[str, Any]
    ) -> None:
        self._frames, self._funding, self._settlements, self._series = frames, funding, settlements, series

    @property
    def series_names(self) -> list[str]:
        return list(self._series)

    def series(self, name: str) -> pd.DataFrame:
        known_at = times([time for time, _ in self._series[name]])
        return pd.DataFrame({"ts": known_at, "known_at": known_at, "value": [value for _, value in self._series[name]]})

    def funding(self, name: str) -> pd.DataFrame:
        return self._funding[name]

    def settlements(self) -> pd.DataFrame:
        stamps = times(range(len(self._settlements)))
        return pd.DataFrame({"instrument": list(self._settlements), "ts": stamps, "price": list(self._settlements.values())})

    def bars(self, name: str, start: pd.Timestamp | None, end: pd.Timestamp | None) -> pd.DataFrame:
        return self._frames[name]


def quoted_where_traded(slot: NaiveSlot | None) -> NaiveSlot | None:
    """A table of bars has no quote where it has no bar: the judge must not see one either."""
    if slot is None:
        return None
    changed = []
    for item in slot.instruments:
        bid, ask = (
            [value if not isnan(open_) else float("nan") for value, open_ in zip(side, item.open, strict=True)]
            for side in (item.bid, item.ask)
        )
        changed.append(replace(item, bid=bid, ask=ask))
    return replace(slot, instruments=changed)


def comparable(rule: NaiveRule) -> NaiveRule:
    """The rule as both sides can read it."""
    return replace(rule, long=quoted_where_traded(rule.long), short=quoted_where_traded(rule.short))


def frame(item: NaiveInstrument, stamps: list[int]) -> pd.DataFrame:
    here = [bar for bar, open_ in enumerate(item.open) if not isnan(open_)]
    columns = {
        name: [getattr(item, name)[bar] for bar in here] for name in ("open", "close", "mark_high", "mark_low", "bid", "ask", "mark")
    }
    columns["high"], columns["low"] = columns["mark_high"], columns["mark_low"]
    return pd.DataFrame(columns, index=times([stamps[bar] for bar in here]), dtype=float)


def tolerance(rule: NaiveRule, stamps: list[int]) -> int:
    """The staleness that makes these closes fresh."""
    most = 0
    for slot in (rule.long, rule.short):
        for item in slot.instruments if slot else ():
            seen = None
            for stamp, open_, fresh in zip(stamps, item.open, item.fresh, strict=True):
                seen = stamp if not isnan(open_) else seen
                if fresh and seen is not None:
                    most = max(most, stamp - seen)
    return most


def build_market(market: NaiveMarket, rule: NaiveRule) -> tuple[Market, list[Leg | None]]:
    stamps = list(market.stamps)
    step = market.step
    clock = pd.DataFrame({"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0}, index=times(stamps))
    frames, instruments = {"CLOCK": clock}, {"CLOCK": Instrument(id="CLOCK", venue="binance", kind=Kind.SPOT, base="CLOCK", quote="USDT")}
    funding: dict[str, pd.DataFrame] = {}
    settlements: dict[str, float] = {}
    legs: list[Leg | None] = []
    for slot_name, slot in (("L", rule.long), ("S", rule.short)):
        if slot is None:
            legs.append(None)
            continue
        names = []
        for number, item in enumerate(slot.instruments):
            name = f"{slot_name}{number}"
            names.append(name)
            frames[name] = frame(item, stamps)
            instruments[name] = Instrument(
                id=name, venue="binance", kind=Kind(item.kind), base="ETH", quote="USDT",
                lot=None if isnan(item.lot) else item.lot, min_notional=None if isnan(item.min_notional) else item.min_notional,
                expires_at=None if item.expiry is None else pd.Timestamp(item.expiry, tz="UTC"),
            )  # fmt: skip
            events = list(item.funding)
            funding[name] = pd.DataFrame(
                {"rate": [e[1] for e in events], "interval_hours": 1e-9, "mark_price": [e[2] for e in events]},
                index=times([e[0] for e in events]),
                dtype=float,
            )
            if not isnan(item.settlement):
                settlements[name] = item.settlement
        legs.append(Leg(kind=Kind(slot.instruments[0].kind), contracts=tuple(names), min_days=slot.min_days, chain=slot.is_chain))
    series = {
        name: list(rates) or [(0, 0.0)]
        for name, rates in (
            ("risk_free", market.idle_rate),
            ("borrow_usd", market.borrow_usd),
            ("borrow_base", market.borrow_base),
            ("staking_yield", market.staking_yield),
        )
        if rates or name == "staking_yield"
    }
    data: Any = CaseData(frames, funding, settlements, series)
    built = Market(frames, instruments, data, step, tolerance(rule, stamps), DatasetInfo("case", "", True, ""))
    # The generator's events follow no schedule: none of them is missing.
    for name in funding:
        built.memo(("missing", name, False), lambda: np.zeros(0, np.int64))
    return built, legs


def signal_table(signal: dict[Pair, list[float]] | None, numbers: Any, bars: int, chained: tuple[bool, bool]) -> Any:
    if signal is None:
        return None
    rows = [signal.get((int(a), int(b)), [float("nan")] * bars) for a, b in numbers]
    return np.array(rows, dtype=float)


def prepared_case(market: NaiveMarket, rule: NaiveRule) -> Prepared:
    built, (long, short) = build_market(market, rule)
    numbers = pairs(built, long, short)
    tables = [
        signal_table(signal, numbers, len(built), (False, False))
        for signal in (rule.signal_plus, rule.signal_minus, rule.exit_plus, rule.exit_minus)
    ]
    empty = np.full((1, len(built)), np.nan)
    signal, exit_signal = (tuple(empty if table is None else table for table in two) for two in (tables[:2], tables[2:]))
    chosen = Rule(
        long=long, short=short, signal=signal, enter=rule.enter, exit_signal=exit_signal, exit=rule.exit, sides=rule.sides, size=rule.size,
        leverage=rule.leverage, resize=rule.resize, stop=rule.stop if long and short else None, loss=rule.loss, expiry_days=rule.expiry_days,
        max_hold=None if rule.max_hold is None else pd.Timedelta(rule.max_hold, "ns"),
        cooldown=pd.Timedelta(rule.cooldown, "ns") if rule.cooldown else None, stake=rule.stake and any(leg is not None and leg.kind is Kind.SPOT for leg in (long, short)),
    )  # fmt: skip
    prepared = prepare(built, chosen, Execution(margin=rule.margin))
    for terms, slot in zip(prepared.terms, (rule.long, rule.short), strict=True):
        if slot is not None:
            terms["fee"], terms["half_spread"], terms["delivery_fee"], terms["liquidation_fee"] = (
                slot.fee,
                slot.half_spread,
                slot.delivery_fee,
                slot.liquidation_fee,
            )
            terms["tiers"] = len(slot.tiers)
            for row, tier in enumerate(slot.tiers):
                terms["tier_floor"][row], terms["tier_rate"][row], terms["tier_deduction"][row] = tier
    return prepared


def run_package(market: NaiveMarket, rule: NaiveRule, capital: float, *, jump: bool = True) -> Result:
    prepared = prepared_case(market, rule)
    log: Log = simulate(prepared, capital, jump=jump)
    return Result(prepared.rule, prepared, capital, log)


SLOTS, ACTIONS, REASONS = ("long", "short"), k.ACTIONS, k.REASONS
