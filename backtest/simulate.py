"""From a rule to a finished run: check it, let the step decide, keep what the kernel wrote.

result = bt.run(CashAndCarry(), bt.load_market("data/sample"), capital=100_000)
print(result)
result.report("reports/carry.html")
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd

from backtest import kernels as k
from backtest.currency import mixed_quotes
from backtest.curve import pairs
from backtest.errors import DataError, ParameterError, did_you_mean
from backtest.instruments import Instrument, Kind, Settle
from backtest.joins import fresh, refuse_other_hours, unequal_bars
from backtest.market import DAY, Floats, Market, frozen, utc
from backtest.result import Log, Prepared, Result
from backtest.rule import LONGEST, Execution, Leg, Margin, MissingFunding, Rule, Sides, duration, number
from backtest.signals import HALF_SPREAD
from backtest.strategy import Strategy
from backtest.tapes import PairLayout, candidates, no_side_tapes, numbers, pair_records, side_tapes, slot_tape
from backtest.venues import Tier, rules_of

STAKING_WITHDRAWALS = {"ETH": pd.Timestamp("2023-04-12", tz="UTC")}  # Shapella: before it a staked coin could not be sold
COSTS = ("fees", "delivery", "liquidation", "margin")  # tables of the rule-book that change what a run earns
FIRST_ROOM = 1024  # rows of the logs at first; they grow when the kernel asks


def run(
    strategy: Strategy | Rule, market: Market, *, capital: float = 100_000.0, execution: Execution | None = None, **changes: Any
) -> Result:
    """Run one strategy over the whole market.

    capital: cash at the market's start, in the quote currency. execution: costs and margin. changes: fields of the rule to set otherwise than the strategy
    does (size=0.3, leverage=2, resize=None, stop=0.05, …). Raises ParameterError for settings and DataError for data that the rule can't run on.
    """
    number("capital", capital, above=0.0)
    known = [item.name for item in fields(Rule)]
    for name in changes:
        if name not in known:
            raise ParameterError(f'unknown parameter "{name}": {changes[name]}; {did_you_mean(name, known)}')
    rule = strategy if isinstance(strategy, Rule) else strategy.rule(market)
    prepared = prepare(market, replace(rule, **changes), execution or Execution())
    return Result(strategy, prepared, float(capital), simulate(prepared, float(capital)))


# ---------------------------------------------------------------- preparing


def prepare(market: Market, rule: Rule, execution: Execution) -> Prepared:
    """Check a rule against a market and lay out what the kernel reads."""
    check_thresholds(market, rule)
    check_legs(market, rule)
    notes: list[str] = []
    contracts = pairs(market, rule.long, rule.short)
    if len(contracts) == 0:
        raise DataError(
            f"the two legs never offer a contract at the same time: {rule.long}; {rule.short}; lower min_days or import a longer period"
        )
    slots = (slot_tape(market, rule.long, rule.stake, execution.funding), slot_tape(market, rule.short, rule.stake, execution.funding))
    records, firsts = pair_records(market, rule, contracts, slots)
    layout = PairLayout(contracts, records, firsts, slots, candidates(market, rule, contracts))
    plus, minus = (
        side_tapes(market, rule, layout, sign) if rule.sides in (wanted, Sides.BOTH) else no_side_tapes()
        for sign, wanted in ((1, Sides.PLUS), (-1, Sides.MINUS))
    )
    rates = np.array(
        [rate_index(market, execution.borrow_rate, "borrow_usd", notes), rate_index(market, execution.idle_rate, "risk_free", notes)]
    )
    tapes = k.Tapes(plus, minus, market.stamps.copy(), layout.candidate, records.view(np.recarray), slots[0].rows, slots[1].rows, rates)
    terms = np.zeros(2, k.TERMS)
    for number_of_slot, leg in enumerate(rule.legs):
        if leg is not None:
            terms[number_of_slot] = terms_of(market, rule, execution, leg, slots[number_of_slot].rows)
            given = execution.half_spreads[number_of_slot]
            terms["quoted"][number_of_slot], terms["half_spread"][number_of_slot] = given is None, HALF_SPREAD if given is None else given
    notes += leg_notes(market, rule, execution)
    return Prepared(market, rule, execution, tapes, rule_record(market, rule, execution), terms.view(np.recarray), contracts, notes)


def check_thresholds(market: Market, rule: Rule) -> None:
    """Enter must be above exit, except for a signal that is only ever 0 or 1."""
    if rule.enter is None or rule.exit is None or rule.enter > rule.exit:
        return
    for part in rule.signal if isinstance(rule.signal, tuple) else (rule.signal,):
        values = numbers("signal", part)
        if not np.isin(values[~np.isnan(values)], (0.0, 1.0)).all():
            raise ParameterError(
                f"exit must be below enter: exit={rule.exit:g}, enter={rule.enter:g}; only a signal of 0 and 1 may use one threshold for both"
            )


def check_legs(market: Market, rule: Rule) -> None:
    """Legs must be in the market, linear, in one base asset, have bars together and close at the same hours; staking must have been possible."""
    names = [name for leg in rule.legs if leg is not None for name in leg.contracts]
    for name in names:
        market.leg(name)
        if market.instruments[name].settle is Settle.INVERSE:
            raise DataError(f"{name} is an inverse contract, and only linear ones are simulated; choose a linear contract")
    bases = {market.instruments[name].base for name in names}
    if len(bases) > 1:
        raise DataError(f"the legs must be of one asset: {' and '.join(sorted(bases))}; equal base quantities hedge nothing else")
    if rule.long is not None and rule.short is not None:
        refuse_other_hours(market, rule.long, rule.short)
        if not (fresh(market, rule.long) & fresh(market, rule.short)).any():
            raise DataError(
                f"{rule.long} and {rule.short} have no bar in common{spans(market, rule)}; import a period that both cover, or allow older closes with staleness=…"
            )
    if rule.stake:
        check_staking(market, rule)


def spans(market: Market, rule: Rule) -> str:
    """Where the bars of both legs lie, for a message."""
    texts = []
    for leg in rule.legs:
        if leg is not None:
            bars = np.flatnonzero(np.any([~np.isnan(market.raw(name, "close")) for name in leg.contracts], axis=0))
            texts.append(f"{utc(market.stamps[bars[0]])} to {utc(market.stamps[bars[-1]])}" if len(bars) else "no bars")
    return f" ({'; '.join(texts)})"


def check_staking(market: Market, rule: Rule) -> None:
    """Staking needs a spot to be bought, its yield, and withdrawals."""
    spot = next((leg for leg in rule.legs if leg is not None and leg.kind is Kind.SPOT), None)
    if spot is None:
        raise ParameterError("stake=True needs a spot leg; leave it out, or give long=market.spot")
    base = market.instruments[spot.contracts[0]].base
    begin = STAKING_WITHDRAWALS.get(base)
    if begin is not None and market.start < begin.value:
        raise ParameterError(
            f"stake=True is refused before {begin:%Y-%m-%d}, when staked {base} could not be withdrawn: the run starts {utc(market.start)}; start later (--start)"
        )
    if "staking_yield" not in market.series_names:
        raise DataError(
            f'stake=True needs the series "staking_yield", which dataset {market.info.name} lacks; import it, or leave stake out'
        )


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
    if None in execution.half_spreads and not any(market.has(item.id, "bid") for item in instruments):
        notes.append(f"The data have no quotes: half a spread of {HALF_SPREAD * 1e4:g} bp is paid at each fill.")
    return notes + assumed_rules(instruments, market.clock[0])


def assumed_rules(instruments: Iterable[Instrument], time: pd.Timestamp) -> list[str]:
    """A sentence a venue whose rules of that day are known from a later one only."""
    found: dict[str, dict[str, str]] = {}
    for item in instruments:
        with suppress(DataError):  # no rule-book: then all costs were given
            rules = rules_of(item, time)
            for table in COSTS:
                entry = rules.find(table, item.kind)
                if entry is not None and entry.assumed(time.date()):
                    found.setdefault(item.venue, {})[table] = f"{table} of {entry.since}"
    return [
        f"Rules of {venue} that are known from later days only are taken for {time:%Y-%m-%d}: {', '.join(tables.values())}; "
        f"carry venues {venue} --at {time:%Y-%m-%d} shows them."
        for venue, tables in sorted(found.items())
    ]


def terms_of(market: Market, rule: Rule, execution: Execution, leg: Leg, rows: Floats) -> Any:
    """TERMS of a slot: the execution's settings, else the venue's rules at the run's start."""
    instrument = market.instruments[leg.contracts[0]]
    terms = np.zeros(1, k.TERMS)
    fee = execution.spot_fee if leg.kind is Kind.SPOT else execution.derivative_fee
    terms["present"], terms["derivative"], terms["leverage"] = 1, int(instrument.derivative), rule.leverage
    terms["fee"] = fee if fee is not None else rules_of(instrument, market.clock[0]).fee(leg.kind)
    terms["least_accrual"] = rows[k.ACCRUAL_LONG].min()
    if execution.delivery_fee is not None or leg.kind is Kind.FUTURE:
        delivery = execution.delivery_fee
        terms["delivery_fee"] = delivery if delivery is not None else rules_of(instrument, market.clock[0]).delivery_fee
    if not instrument.derivative or execution.margin is Margin.OFF:
        return terms[0]
    liquidation, flat = execution.liquidation_fee, execution.maintenance
    terms["liquidation_fee"] = liquidation if liquidation is not None else rules_of(instrument, market.clock[0]).liquidation_fee(leg.kind)
    tiers = (Tier(floor=0.0, rate=flat, deduction=0.0),) if flat is not None else rules_of(instrument, market.clock[0]).tiers_of(leg.kind)
    terms["tiers"] = len(tiers)
    for row, tier in enumerate(tiers):
        terms["tier_floor"][0, row], terms["tier_rate"][0, row], terms["tier_deduction"][0, row] = tier.floor, tier.rate, tier.deduction
    return terms[0]


def rule_record(market: Market, rule: Rule, execution: Execution) -> Any:
    """RULE: the rule as the kernel reads it."""
    record = np.zeros(1, k.RULE).view(np.recarray)
    record["enter"] = -np.inf if rule.enter is None else rule.enter
    record["exit"] = -np.inf if rule.exit is None else rule.exit
    record["plus"], record["minus"] = rule.sides in (Sides.PLUS, Sides.BOTH), rule.sides in (Sides.MINUS, Sides.BOTH)
    record["legs"], record["first_slot"] = sum(leg is not None for leg in rule.legs), 0 if rule.long is not None else 1
    record["margin"] = {Margin.ISOLATED: k.ISOLATED, Margin.CROSS: k.CROSS, Margin.OFF: k.OFF}[execution.margin]
    record["fraction"], record["resize_factor"] = rule.size, rule.resize_factor
    record["stop"] = np.inf if rule.stop is None else rule.stop
    record["loss"] = np.inf if rule.loss is None else rule.loss
    record["expiry_nanoseconds"] = k.NEVER if rule.expiry_days is None else min(round(rule.expiry_days * DAY), LONGEST)
    record["max_hold"] = duration("max_hold", rule.max_hold) or k.NEVER
    record["cooldown"] = duration("cooldown", rule.cooldown) or 0
    return record[0]


# ---------------------------------------------------------------- running


def grown(log: Any) -> Any:
    """A log with twice the room, its rows copied as bytes: concatenating records copies field by field, ten times slower than the run."""
    out = np.zeros(2 * len(log), log.dtype).view(np.recarray)
    out.view(np.uint8)[: log.nbytes] = log.view(np.uint8)
    return out


def simulate(prepared: Prepared, capital: float, *, jump: bool = True) -> Log:
    """Let the kernel decide; the logs grow when it asks. jump=False takes the step at every bar, with the same outcome."""
    account, legs = np.zeros(1, k.ACCOUNT).view(np.recarray), np.zeros(2, k.LEG).view(np.recarray)
    account["capital"] = account["balance"] = account["constant"] = capital
    account["loss_level"] = -np.inf
    account["exit_level"] = account["premium_level"] = np.inf
    account["horizon"] = account["time_bar"] = account["days_bar"] = k.NEVER
    legs["stress_level"] = np.inf
    ledger, fills, trades = (np.zeros(FIRST_ROOM, dtype).view(np.recarray) for dtype in (k.LEDGER, k.FILL, k.TRADE))
    n, t = len(prepared.market), 0
    while True:
        t = k.advance(
            account[0], legs, prepared.rule_record, prepared.terms, prepared.tapes, prepared.market.start, ledger, fills, trades, t, n, jump
        )
        if t >= n:
            break
        ledger, fills, trades = (grown(log) for log in (ledger, fills, trades))
    end = account[0]
    return Log(end, ledger[: end["changes"]], fills[: end["fills"]], trades[: end["trades"] + end["started"]])
