"""From a rule and its execution to what the kernel reads: checked, priced by the venue's rules, laid out on tapes.

prepared = prepare(market, rule, Execution())
prepared.tapes, prepared.terms, prepared.rule_record, prepared.notes
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from backtest import kernels as k
from backtest.checks import check_legs, check_thresholds
from backtest.coins import coin_prices
from backtest.currency import mixed_quotes
from backtest.curve import pairs
from backtest.errors import DataError, ParameterError
from backtest.execution import Execution, LegPolicy, Margin, MissingFunding, check_together
from backtest.instruments import Kind, Settle
from backtest.joins import unequal_bars
from backtest.market import Floats, Integers, Market, frozen, utc, whole_days
from backtest.orders import check_orders, illiquid
from backtest.payments import Expected, expected_payments
from backtest.result import Prepared
from backtest.rule import FUNDING, FundingEntry, Leg, Rule, Sides, duration, instant
from backtest.signals import HALF_SPREAD
from backtest.tapes import (
    PairLayout,
    SideLayout,
    candidates,
    coin_of,
    coins_tape,
    laid_out,
    orders_tape,
    pair_index,
    pair_records,
    side_tapes,
    slot_tape,
    table_of,
)
from backtest.terms import rule_notes, terms_of

LIMITS = ("stop", "stop_annualized", "loss", "exposure", "drawdown")  # without one: infinite


def prepare(market: Market, rule: Rule, execution: Execution) -> Prepared:
    """Check a rule against a market and lay out what the kernel reads."""
    check_together(rule, execution)
    check_thresholds(market, rule)
    check_legs(market, rule, execution)
    check_orders(market, rule, execution)
    notes: list[str] = []
    contracts = pairs(market, rule.long, rule.short)
    if len(contracts) == 0:
        raise DataError(
            f"the two legs never offer a contract at the same time: {rule.long}; {rule.short}; lower min_days or nth, or import a longer period"
        )
    slots = (slot_tape(market, rule, execution, 0), slot_tape(market, rule, execution, 1))
    records, firsts = pair_records(market, rule, contracts, slots)
    layout = PairLayout(contracts, records, firsts, slots, candidates(market, rule, contracts))
    least = float(slots[0].rows[k.ACCRUAL_LONG].min()), float(slots[1].rows[k.ACCRUAL_LONG].min())
    terms, periods = terms_of(market, rule, execution, least)
    limits = illiquid(market, rule, layout.contracts) if rule.max_spread is not None or rule.min_depth is not None else None
    sides = sides_of(market, rule, layout, limits)
    record = rule_record(market, rule, execution, sides.places)
    rates = np.array(
        [rate_index(market, execution.borrow_rate, "borrow_usd", notes), rate_index(market, execution.idle_rate, "risk_free", notes)]
    )
    tapes = tapes_of(market, rule, execution, layout, sides, limits, rates, periods)
    notes += leg_notes(market, rule, execution) + rule_notes(market, rule, execution, terms, periods)
    return Prepared(market, rule, execution, tapes, record, terms.view(np.recarray), contracts, notes)


def sides_of(market: Market, rule: Rule, layout: PairLayout, limits: list[Floats] | None) -> SideLayout:
    """All sides of the box that the rule asks for, and the pairs' index, for the sides of the trade that it may take."""
    signs = [sign for sign, wanted in ((1, Sides.PLUS), (-1, Sides.MINUS)) if rule.sides in (wanted, Sides.BOTH)]
    return laid_out([side_tapes(market, rule, layout, sign, limits) for sign in signs], [pair_index(rule, layout, sign) for sign in signs])


def tapes_of(
    market: Market, rule: Rule, execution: Execution, layout: PairLayout, sides: SideLayout, limits: list[Floats] | None,
    rates: Floats, periods: Integers,
) -> k.Tapes:  # fmt: skip
    """All that the kernel reads; what nothing asks for has one entry."""
    coin = coin_of(market, rule)
    expected = payments_to_expect(market, rule, execution)
    nothing = np.zeros(1)
    return k.Tapes(
        box=sides.box,
        pair_index=sides.index,
        stamps=market.stamps.copy(),
        candidate=layout.candidate,
        pairs=layout.records.view(np.recarray),
        long=layout.slots[0].rows,
        short=layout.slots[1].rows,
        rates=rates,
        periods=periods,
        long_orders=orders_tape(market, rule, execution, 0, layout.slots[0]),
        short_orders=orders_tape(market, rule, execution, 1, layout.slots[1]),
        long_coin=coins_tape(market, rule, execution, 0, layout.slots[0]),
        short_coin=coins_tape(market, rule, execution, 1, layout.slots[1]),
        coin=np.zeros((2, 1)) if coin is None else coin_prices(market, coin),
        scale=nothing if rule.scale is None else layout.spread(scales(market, rule, len(layout.contracts))),
        illiquid=nothing if limits is None else layout.spread(limits),
        available=available_coins(market, execution) if borrow_limited(market, rule, execution) else nothing,
        expected_at=expected.time,
        expected_rate=expected.rate,
        next_payment=expected.next_payment,
    )


def scales(market: Market, rule: Rule, count: int) -> Floats:
    """The rule's scale as a table [pair, bar]; ParameterError where it is infinite."""
    table = table_of(market, rule.scale, count, "scale")
    if (endless := np.isinf(table)).any():
        pair, bar = np.argwhere(endless)[0]
        raise ParameterError(
            f"scale must be finite: it is {table[pair, bar]:g} at {utc(market.stamps[bar])}; give NaN where it is unknown, or 0 for no entry"
        )
    return table


def payments_to_expect(market: Market, rule: Rule, execution: Execution) -> Expected:
    """The payments that decisions look at, those of the rule's perpetual; one entry if none do."""
    leg = perpetual_of(rule)
    if leg is None or not times_funding(rule):
        return Expected(np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.int64))
    wait = duration("funding_wait", rule.funding_wait) or 0
    return expected_payments(market, leg.contracts[0], wait, snapshot=execution.funding_snapshot)


def times_funding(rule: Rule) -> bool:
    """Whether any decision looks at the next funding payment."""
    return rule.funding_entry is not FundingEntry.BEFORE or rule.hold_for_funding or rule.tranche_gap == FUNDING


def perpetual_of(rule: Rule) -> Leg | None:
    """The rule's perpetual: its short slot's, else its long slot's."""
    return next((leg for leg in (rule.short, rule.long) if leg is not None and leg.kind is Kind.PERPETUAL), None)


def borrow_limited(market: Market, rule: Rule, execution: Execution) -> bool:
    """Whether coins are borrowed whose availability the data or a scenario tell."""
    return shorts_spot(rule) and ("borrow_available" in market.series_names or execution.recalled_at is not None)


def shorts_spot(rule: Rule) -> bool:
    """Whether any side of the rule sells coins that must be borrowed."""
    shorted = [leg for leg, side in zip(rule.legs, (Sides.MINUS, Sides.PLUS), strict=True) if rule.sides in (side, Sides.BOTH)]
    return any(leg is not None and leg.kind is Kind.SPOT for leg in shorted)


def available_coins(market: Market, execution: Execution) -> Floats:
    """Base units that may be borrowed, as known at each bar's end; none from a recall on. [bar]"""
    out = np.full(len(market), np.inf)
    if "borrow_available" in market.series_names:
        out = np.nan_to_num(market.series("borrow_available"))
    if (recalled := instant("recalled_at", execution.recalled_at)) is not None:
        out = np.where(market.stamps >= recalled.value, 0.0, out)
    return out


def rate_index(market: Market, given: float | None, series: str, notes: list[str]) -> Floats:
    """Cumulated yearly rate, beginning with 0 before the first bar: rates as known at each bar's beginning. [bar + 1]"""
    what = "borrowed cash costs" if series == "borrow_usd" else "idle cash earns"
    if given is not None:
        notes.append(f"{what.capitalize()} {given:.2%} a year, as set.")
        return given * market.memo(("years",), lambda: cumulated(market.years))
    if series in market.series_names:
        index = market.memo(("rate", series), lambda: cumulated(np.nan_to_num(market.series(series, before=True)) * market.years))
        mean = index[-1] / market.years.sum()
        notes.append(f"{what.capitalize()} the dataset's series {series}, {mean:.2%} a year on average.")
        return index
    notes.append(f"{what.capitalize()} nothing: the dataset has no series {series}.")
    return np.zeros(len(market) + 1)


def cumulated(values: Floats) -> Floats:
    """Running sum, beginning with 0 before the first bar. [bar + 1]"""
    return frozen(np.concatenate([[0.0], np.cumsum(values)]))


def leg_notes(market: Market, rule: Rule, execution: Execution) -> list[str]:
    """What a reader must know of the legs: where prices, settlements and filled funding come from."""
    instruments = [market.instruments[name] for leg in rule.legs if leg is not None for name in leg.contracts]
    notes = mixed_quotes(instruments) + market.notes
    if rule.long is not None and rule.short is not None:
        notes += unequal_bars(market, rule.long, rule.short)
    settled: dict[str, int] = {}
    for item in instruments:
        price, source = market.settlement(item.id) if item.kind is Kind.FUTURE else (np.nan, "")
        if not np.isnan(price):
            settled[source] = settled.get(source, 0) + 1
    notes += [f"Settlement price of {count} contracts: {source}." for source, count in settled.items()]
    for item in instruments:
        last = int(market.stamps[market.last_bar(item.id)])
        lives_on = item.expires_at is None or item.expires_at > market.clock[-1]
        if lives_on and last < market.stamps[-1] - market.step:
            notes.append(
                f"{item.id}: its bars end at {utc(last)}, before the run's end {utc(market.stamps[-1])}; from there on it stays at that close."
            )
    missing = sum(len(market.missing_funding(item.id)) for item in instruments if item.kind is Kind.PERPETUAL)
    if missing and execution.funding is MissingFunding.FILL:
        notes.append(f"{missing} missing funding events were filled with the mean of their neighbours.")
    if shorts_spot(rule) and "borrow_base" not in market.series_names:
        notes.append("Borrowed coins cost nothing: the dataset has no series borrow_base.")
    if any(given is None for given in execution.half_spreads) and not any(market.has(item.id, "bid") for item in instruments):
        notes.append(f"The data have no quotes: half a spread of {HALF_SPREAD * 1e4:g} bp is paid at each fill.")
    return notes


# ---------------------------------------------------------------- the rule as the kernel reads it


def rule_record(market: Market, rule: Rule, execution: Execution, places: Mapping[str, int]) -> Any:
    """RULE: the rule and its execution as the kernel reads them. places: where its sides of the box and its index begin."""
    perpetual = perpetual_of(rule)
    values = {
        **places,
        "enter": -np.inf if rule.enter is None else rule.enter,
        "exit": -np.inf if rule.exit is None else rule.exit,
        "plus": rule.sides in (Sides.PLUS, Sides.BOTH),
        "minus": rule.sides in (Sides.MINUS, Sides.BOTH),
        "legs": sum(leg is not None for leg in rule.legs),
        "first_slot": 0 if rule.long is not None else 1,
        "margin": list(Margin).index(execution.margin),
        "walks": walks(market, rule, execution),
        "fraction": rule.size,
        "scaled": rule.scale is not None,
        "resize_factor": np.inf if coin_of(market, rule) else rule.resize_factor,
        **{name: np.inf if (limit := getattr(rule, name)) is None else limit for name in LIMITS},
        "expiry_nanoseconds": days(rule.expiry_days),
        "roll_nanoseconds": days(rule.roll_days),
        **{name: duration(name, getattr(rule, name)) or k.NEVER for name in ("max_hold", "converge", "pause")},
        "cooldown": duration("cooldown", rule.cooldown) or 0,
        "entry_tranches": rule.entry_tranches,
        "exit_tranches": rule.exit_tranches,
        "tranche_gap": 0 if rule.tranche_gap == FUNDING else duration("tranche_gap", rule.tranche_gap) or 0,
        "funding_tranches": rule.tranche_gap == FUNDING,
        "perpetual_slot": int(perpetual is not None and perpetual is rule.short),
        "perpetual_inverse": perpetual is not None and market.instruments[perpetual.contracts[0]].settle is Settle.INVERSE,
        "funding_entry": list(FundingEntry).index(rule.funding_entry),
        "hold_for_funding": rule.hold_for_funding,
        "times_funding": times_funding(rule),
        "unstake": duration("unstake", rule.unstake) or 0,
        "policy": list(LegPolicy).index(execution.policy),
        "patience": duration("patience", execution.patience) or k.NEVER,
        "liquidity": rule.max_spread is not None or rule.min_depth is not None,
        "borrow_limited": borrow_limited(market, rule, execution),
        "deleverage_bar": deleverage_bar(market, execution),
        "deleverage_gap": execution.deleveraged_gap,
        "wallets": execution.wallets is not None,
        "far_share": 0.0 if execution.wallets is None else execution.wallets[1],
        "transfers": execution.wallets is not None or execution.top_up is not None,
        "transfer_delay": duration("transfer_delay", execution.transfer_delay, zero=True) or 0,
        "transfer_fee": execution.transfer_fee,
        "top_up": execution.top_up or 0.0,
    }
    row = tuple(values.get(name, 0) for name in k.RULE.names or ())
    return np.array([row], k.RULE).view(np.recarray)[0]


def days(value: float | None) -> int:
    """A number of days in nanoseconds; never for none."""
    return k.NEVER if value is None else whole_days(value)


def deleverage_bar(market: Market, execution: Execution) -> int:
    """The bar in which the venue deleverages; −1 for none."""
    at = instant("deleveraged_at", execution.deleveraged_at)
    if at is None or at.value <= market.start:
        return -1
    bar = int(np.searchsorted(market.stamps, at.value))
    return bar if bar < len(market) else -1


def walks(market: Market, rule: Rule, execution: Execution) -> bool:
    """Whether a bar may matter that no level of the box tells, so that the step is taken at every one."""
    return (
        coin_of(market, rule) is not None
        or rule.exposure is not None
        or rule.drawdown is not None
        or rule.max_spread is not None
        or rule.min_depth is not None
        or (rule.scale is not None and rule.resize_factor < np.inf)
        or borrow_limited(market, rule, execution)
        or execution.deleveraged_at is not None
        or execution.wallets is not None
        or execution.top_up is not None
    )
