"""What trading, delivery, liquidation and margin cost a slot, as its venue had it at each bar's open; the execution's settings override the rule-book.

A run inside one regime has one period. Where a rule changes that the run uses, a new period begins at the first bar that opens on or after its day.

    terms, periods = terms_of(market, rule, execution, least)      # TERMS [period, slot], first bar of each period
    check_leverage(market, rule, execution, terms, capital)
    notes = rule_notes(market, rule, execution, terms, periods)
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest import kernels as k
from backtest.errors import DataError, ParameterError
from backtest.execution import Execution, ImpactModel, Margin
from backtest.instruments import Instrument, Kind, Settle
from backtest.market import Integers, Market
from backtest.orders import half_spread_terms, limited
from backtest.rule import Leg, Rule, Sides
from backtest.venues import Tier, rules_of

Records = npt.NDArray[np.void]
COSTS = ("fees", "contract_fees", "delivery", "liquidation", "margin")  # tables of the rule-book that change what a run earns
SLOTS = ("long", "short")


def terms_of(market: Market, rule: Rule, execution: Execution, least: tuple[float, float] = (0.0, 0.0)) -> tuple[Records, Integers]:
    """TERMS of both slots [period, slot], and the bar from which each period holds. DataError where a rule that is needed is not sourced.

    least: the smallest accrual on each slot's tape.
    """
    opens = open_instants(market)
    rows: list[Records] = []
    firsts: list[int] = []
    for bar in _changes(market, rule, execution, opens):
        row = np.zeros(2, k.TERMS)
        for slot, leg in enumerate(rule.legs):
            if leg is not None:
                values = _slot(market, rule, execution, slot, leg, _time(opens[bar])) | {"least_accrual": least[slot]}
                for name, value in values.items():
                    row[name][slot] = value
        if not rows or row.tobytes() != rows[-1].tobytes():
            rows.append(row)
            firsts.append(bar)
    return np.stack(rows), np.array(firsts, np.int64)


def open_instants(market: Market) -> Integers:
    """When each bar opens, the first at the market's start: what dates of rules are compared with. [bar]"""
    return np.concatenate([[market.start], market.stamps[:-1]]).astype(np.int64)


def used(execution: Execution, instrument: Instrument) -> tuple[str, ...]:
    """The tables of the rule-book that a run asks for an instrument, those without a setting of its own."""
    spot, dated = instrument.kind is Kind.SPOT, instrument.kind is Kind.FUTURE
    traded = (execution.spot_fee if spot else execution.derivative_fee) is None
    delivered = dated and execution.delivery_fee is None
    margined = instrument.derivative and execution.margin is not Margin.OFF
    asked = {
        "fees": traded or delivered,  # a delivery fee may be the taker's
        "contract_fees": traded or delivered,
        "delivery": delivered,
        "liquidation": margined and execution.liquidation_fee is None,
        "margin": margined and execution.maintenance is None,
    }
    return tuple(name for name in COSTS if asked[name])


# ---------------------------------------------------------------- one slot on one day


def _slot(market: Market, rule: Rule, execution: Execution, slot: int, leg: Leg, time: pd.Timestamp) -> dict[str, Any]:
    """The fields of a slot's TERMS but for the accrual."""
    instrument = market.instruments[leg.contracts[0]]
    quoted, half_spread = half_spread_terms(execution, slot)
    inverse = instrument.settle is Settle.INVERSE
    if inverse:
        _refuse_sizes(market, leg)
    maker = execution.makers[slot]
    return {
        "present": 1,
        "derivative": int(instrument.derivative),
        "quoted": int(quoted),
        "half_spread": half_spread,
        "leverage": rule.leverage,
        "maker": int(maker),
        "impact": execution.impacts[slot],
        "impact_square_root": int(execution.impact_model is ImpactModel.SQUARE_ROOT),
        "limited": int(limited(execution, slot)),
        "latency": execution.latencies[slot],
        "inverse": int(inverse),
        "contract": instrument.multiplier if inverse else 1.0,
        **_fees(market, execution, leg, maker, time),
        **_margin(execution, instrument, time),
    }


def _fees(market: Market, execution: Execution, leg: Leg, maker: bool, time: pd.Timestamp) -> dict[str, float]:
    """Fees of the slot's own orders, of a taker's, and of a delivery."""
    instrument = market.instruments[leg.contracts[0]]
    fee = execution.spot_fee if leg.kind is Kind.SPOT else execution.derivative_fee
    out = {"fee": fee, "taker_fee": fee, "unit_fee": 0.0, "delivery_fee": execution.delivery_fee or 0.0, "delivery_unit_fee": 0.0}
    if fee is None:
        rules = rules_of(instrument, time)
        own, taker = (rules.charge(leg.kind, instrument.multiplier, maker=each) for each in (maker, False))
        out |= {"fee": own.rate, "taker_fee": taker.rate, "unit_fee": own.unit}
    if leg.kind is Kind.FUTURE and execution.delivery_fee is None:
        delivery = rules_of(instrument, time).delivery_charge(instrument.multiplier)
        out |= {"delivery_fee": delivery.rate, "delivery_unit_fee": delivery.unit}
    if out["unit_fee"] or out["delivery_unit_fee"]:
        _refuse_sizes(market, leg)
    return {name: float(value or 0.0) for name, value in out.items()}


def _margin(execution: Execution, instrument: Instrument, time: pd.Timestamp) -> dict[str, Any]:
    """Liquidation fee and maintenance tiers; none for spots and without margin."""
    if not instrument.derivative or execution.margin is Margin.OFF:
        return {}
    fee, flat = execution.liquidation_fee, execution.maintenance
    tiers = (Tier(floor=0.0, rate=flat, deduction=0.0),) if flat is not None else rules_of(instrument, time).tiers_of(instrument.kind)
    columns = {name: np.zeros(k.TIERS) for name in ("floor", "rate", "deduction")}
    for row, tier in enumerate(tiers):
        for name, column in columns.items():
            column[row] = getattr(tier, name)
    return {
        "liquidation_fee": fee if fee is not None else rules_of(instrument, time).liquidation_fee(instrument.kind),
        "tiers": len(tiers),
        **{f"tier_{name}": column for name, column in columns.items()},
    }


def _refuse_sizes(market: Market, leg: Leg) -> None:
    """DataError for a chain of contracts of several sizes, where the size counts."""
    sizes = {market.instruments[name].multiplier: name for name in leg.contracts}
    if len(sizes) > 1:
        (small, one), (large, other) = min(sizes.items()), max(sizes.items())
        raise DataError(f"{one} is a contract of {small:g} and {other} one of {large:g}; a chain has one size: load it with instruments=…")


# ---------------------------------------------------------------- periods


def _time(nanosecond: int) -> pd.Timestamp:
    return pd.Timestamp(int(nanosecond), tz="UTC")


def _starts(market: Market, execution: Execution, leg: Leg) -> list[date]:
    """The days on which a rule that the run uses begins; none where the venue has no rule-book."""
    instrument = market.instruments[leg.contracts[0]]
    with suppress(DataError):
        return rules_of(instrument, _time(market.start)).changes(used(execution, instrument), instrument.kind)
    return []


def _changes(market: Market, rule: Rule, execution: Execution, opens: Integers) -> list[int]:
    """The first bar, and each that opens first on or after a day on which a rule begins."""
    days = {day for leg in rule.legs if leg is not None for day in _starts(market, execution, leg)}
    first, last = _time(opens[0]).date(), _time(opens[-1]).date()
    inside = [pd.Timestamp(day, tz="UTC").as_unit("ns").value for day in days if first < day <= last]
    return sorted({0, *np.searchsorted(opens, inside, "left").tolist()})


# ---------------------------------------------------------------- leverage


def check_leverage(market: Market, rule: Rule, execution: Execution, terms: Records, capital: float) -> None:
    """ParameterError where the first period's maintenance margin of a position of size·capital is as much as its collateral, or more."""
    if execution.margin is Margin.OFF:
        return
    for slot, leg in enumerate(rule.legs):
        if leg is None or leg.kind is Kind.SPOT or coin_margined(market, rule, slot):
            continue
        instrument, own = market.instruments[leg.contracts[0]], terms[0, slot]
        inverse = instrument.settle is Settle.INVERSE
        notional, unit = (
            rule.size * capital / (_first_close(market, leg) if inverse else 1.0),
            instrument.base if inverse else instrument.quote,
        )
        floors = own["tier_floor"][: own["tiers"]]
        tier = int(np.searchsorted(floors, notional, "right")) - 1
        rate = float(own["tier_rate"][tier]) - float(own["tier_deduction"][tier]) / notional
        if 1.0 / rule.leverage > rate:
            continue
        day = f"{_time(market.start):%Y-%m-%d}"
        asked = f"{instrument.venue}'s tier of {day} from {floors[tier]:,.0f} {unit}" if execution.maintenance is None else "maintenance"
        raise ParameterError(
            f"leverage={rule.leverage:g} gives {instrument.id} a margin of {1.0 / rule.leverage:.3%}, and {asked} needs {rate:.3%} of a position of "
            f"{notional:,.0f} {unit}: it would be liquidated at once; set leverage below {1.0 / rate:.4g}, or a smaller size"
        )


def coin_margined(market: Market, rule: Rule, slot: int) -> bool:
    """Whether the slot is inverse and the other one a spot that is always held long: its coins are the collateral."""
    leg, other = rule.legs[slot], rule.legs[1 - slot]
    if leg is None or other is None or other.kind is not Kind.SPOT:
        return False
    bought = Sides.PLUS if slot == 1 else Sides.MINUS  # the spot is in the long slot, or in the short one
    return market.instruments[leg.contracts[0]].settle is Settle.INVERSE and rule.sides is bought


def _first_close(market: Market, leg: Leg) -> float:
    """The first close of a leg: what a contract's coins are counted by before a trade."""
    name = min(leg.contracts, key=market.first_bar)
    return float(market.raw(name, "close")[market.first_bar(name)])


# ---------------------------------------------------------------- notes


def rule_notes(market: Market, rule: Rule, execution: Execution, terms: Records, periods: Integers) -> list[str]:
    """What a reader must know of the rules: which are taken before the day that they are known from, and which changed in the run."""
    legs = [market.instruments[leg.contracts[0]] for leg in rule.legs if leg is not None]
    known = [(item, used(execution, item)) for item in legs]
    return assumed_rules(known, _time(market.start)) + _changed(market, rule, execution, terms, periods)


def assumed_rules(instruments: Iterable[tuple[Instrument, Sequence[str]]], time: pd.Timestamp) -> list[str]:
    """A sentence a venue whose rules of that day are known from a later one only; with each instrument the tables that are used."""
    found: dict[str, dict[str, set[date]]] = {}
    for item, tables in instruments:
        with suppress(DataError):  # no rule-book: then all costs were given
            rules = rules_of(item, time)
            for table in tables:
                entry = rules.find(table, item.kind)
                if entry is not None and entry.assumed(time.date()):
                    found.setdefault(item.venue, {}).setdefault(table, set()).add(entry.since)
    return [
        f"Rules of {venue} that are known from later days only are taken for {time:%Y-%m-%d}: {_listed(tables)}; "
        f"carry venues {venue} --at {time:%Y-%m-%d} shows them."
        for venue, tables in sorted(found.items())
    ]


def _listed(tables: Mapping[str, set[date]]) -> str:
    return ", ".join(f"{table} of {' and '.join(map(str, sorted(days)))}" for table, days in tables.items())


def _changed(market: Market, rule: Rule, execution: Execution, terms: Records, periods: Integers) -> list[str]:
    """A sentence a venue whose rules changed in the run, with the days; "assumed" marks one that is known from a later day only."""
    opens, found = open_instants(market), dict[str, set[str]]()
    for slot, leg in enumerate(rule.legs):
        if leg is None:
            continue
        item, starts = market.instruments[leg.contracts[0]], _starts(market, execution, leg)
        for before, after, bar in zip(terms[:-1, slot], terms[1:, slot], periods[1:], strict=True):
            if before.tobytes() != after.tobytes():
                day = max(start for start in starts if start <= _time(opens[bar]).date())
                rules = rules_of(item, pd.Timestamp(day, tz="UTC"))
                entries = [entry for table in used(execution, item) if (entry := rules.find(table, item.kind)) and entry.start == day]
                assumed = " (assumed)" if any(entry.assumed(day) for entry in entries) else ""
                found.setdefault(item.venue, set()).add(f"{day}{assumed}")
    return [f"Rules of {venue} changed on {', '.join(sorted(days))} and were followed." for venue, days in sorted(found.items())]
