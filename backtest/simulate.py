"""From a rule to a finished run: check it, let the step decide, keep what the kernel wrote.

result = bt.run(CashAndCarry(), bt.load_market("data/sample"), capital=100_000)
print(result)
result.report("reports/carry.html")
"""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd

from backtest import kernels as k
from backtest.coins import coin_prices
from backtest.currency import mixed_quotes
from backtest.curve import pairs
from backtest.errors import DataError, ParameterError, did_you_mean
from backtest.execution import Execution, LegPolicy, Margin, MissingFunding, check_together
from backtest.instruments import Kind, Settle
from backtest.joins import fresh, refuse_other_hours, unequal_bars
from backtest.market import DAY, Floats, Market, frozen, instant, utc
from backtest.orders import check_orders, illiquid
from backtest.payments import Expected, expected_payments
from backtest.result import Log, Prepared, Result
from backtest.rule import AUTO, FUNDING, LONGEST, FundingEntry, Leg, Rule, Sides, duration, number
from backtest.signals import HALF_SPREAD
from backtest.strategy import Strategy
from backtest.tapes import (
    Integers,
    PairLayout,
    candidates,
    coin_of,
    coins_tape,
    no_side_tapes,
    numbers,
    orders_tape,
    pair_records,
    side_tapes,
    slot_tape,
    table_of,
)
from backtest.terms import check_leverage, rule_notes, terms_of

STAKING_WITHDRAWALS = {"ETH": pd.Timestamp("2023-04-12", tz="UTC")}  # Shapella: before it a staked coin could not be sold
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
    check_leverage(market, prepared.rule, prepared.execution, prepared.terms, capital)
    return Result(strategy, prepared, float(capital), simulate(prepared, float(capital)))


# ---------------------------------------------------------------- preparing


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
            f"the two legs never offer a contract at the same time: {rule.long}; {rule.short}; lower min_days or import a longer period"
        )
    slots = (slot_tape(market, rule, execution, 0), slot_tape(market, rule, execution, 1))
    records, firsts = pair_records(market, rule, contracts, slots)
    layout = PairLayout(contracts, records, firsts, slots, candidates(market, rule, contracts))
    least = float(slots[0].rows[k.ACCRUAL_LONG].min()), float(slots[1].rows[k.ACCRUAL_LONG].min())
    terms, periods = terms_of(market, rule, execution, least)
    record = rule_record(market, rule, execution)
    rates = np.array(
        [rate_index(market, execution.borrow_rate, "borrow_usd", notes), rate_index(market, execution.idle_rate, "risk_free", notes)]
    )
    tapes = tapes_of(market, rule, execution, layout, rates, periods)
    notes += leg_notes(market, rule, execution) + rule_notes(market, rule, execution, terms, periods)
    return Prepared(market, rule, execution, tapes, record, terms.view(np.recarray), contracts, notes)


def tapes_of(market: Market, rule: Rule, execution: Execution, layout: PairLayout, rates: Floats, periods: Integers) -> k.Tapes:
    """All that the kernel reads; what nothing asks for has one entry."""
    limits = illiquid(market, rule, layout.contracts) if rule.max_spread is not None or rule.min_depth is not None else None
    plus, minus = (
        side_tapes(market, rule, layout, sign, limits) if rule.sides in (wanted, Sides.BOTH) else no_side_tapes()
        for sign, wanted in ((1, Sides.PLUS), (-1, Sides.MINUS))
    )
    coin = coin_of(market, rule)
    expected = payments_to_expect(market, rule, execution)
    nothing = np.zeros(1)
    return k.Tapes(
        plus=plus,
        minus=minus,
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
        scale=nothing if rule.scale is None else layout.spread(table_of(market, rule.scale, len(layout.contracts), "scale")),
        illiquid=nothing if limits is None else layout.spread(limits),
        available=available_coins(market, execution) if borrow_limited(market, rule, execution) else nothing,
        expected_at=expected.time,
        expected_rate=expected.rate,
        next_payment=expected.next_payment,
    )


def times_funding(rule: Rule) -> bool:
    """Whether any decision looks at the next funding payment."""
    return rule.funding_entry is not FundingEntry.BEFORE or rule.hold_for_funding or rule.tranche_gap == FUNDING


def payments_to_expect(market: Market, rule: Rule, execution: Execution) -> Expected:
    """The payments that decisions look at, those of the rule's perpetual; one entry if none do."""
    leg = perpetual_of(rule)
    if leg is None or not times_funding(rule):
        return Expected(np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.int64))
    wait = duration("funding_wait", rule.funding_wait) or 0
    return expected_payments(market, leg.contracts[0], wait, snapshot=execution.funding_snapshot)


def perpetual_of(rule: Rule) -> Leg | None:
    """The rule's perpetual: its short slot's, else its long slot's."""
    return next((leg for leg in (rule.short, rule.long) if leg is not None and leg.kind is Kind.PERPETUAL), None)


def borrow_limited(market: Market, rule: Rule, execution: Execution) -> bool:
    """Whether coins are borrowed whose availability the data or a scenario tell."""
    shorted = [leg for leg, side in zip(rule.legs, (Sides.MINUS, Sides.PLUS), strict=True) if rule.sides in (side, Sides.BOTH)]
    told = "borrow_available" in market.series_names or execution.recalled_at is not None
    return told and any(leg is not None and leg.kind is Kind.SPOT for leg in shorted)


def available_coins(market: Market, execution: Execution) -> Floats:
    """Base units that may be borrowed, as known at each bar's end; none from a recall on. [bar]"""
    out = np.full(len(market), np.inf)
    if "borrow_available" in market.series_names:
        out = np.nan_to_num(market.series("borrow_available"))
    if (recalled := instant("recalled_at", execution.recalled_at)) is not None:
        out = np.where(market.stamps >= recalled.value, 0.0, out)
    return out


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


def check_legs(market: Market, rule: Rule, execution: Execution) -> None:
    """Legs must be in the market, in one base asset, pay alike within a chain, have bars together and close at the same hours; staking must have been possible."""
    names = [name for leg in rule.legs if leg is not None for name in leg.contracts]
    for name in names:
        market.leg(name)
    for leg in rule.legs:
        if leg is not None and len({market.instruments[name].settle for name in leg.contracts}) > 1:
            raise DataError(f"{leg} mixes linear and inverse contracts, which don't pay alike; load those of one kind with instruments=…")
    if rule.resize not in (None, AUTO) and any(market.instruments[name].settle is Settle.INVERSE for name in names):
        raise ParameterError(
            f"resize has nothing to do with inverse contracts, whose size stays what it is in quote currency: resize={rule.resize:g}; leave it out"
        )
    if execution.top_up is not None and any(market.instruments[name].settle is Settle.INVERSE for name in names):
        raise ParameterError(
            f"top_up sends cash, and inverse contracts are margined in coin: top_up={execution.top_up:g}; leave it out, or give a lower leverage"
        )
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
    if any(given is None for given in execution.half_spreads) and not any(market.has(item.id, "bid") for item in instruments):
        notes.append(f"The data have no quotes: half a spread of {HALF_SPREAD * 1e4:g} bp is paid at each fill.")
    return notes


def rule_record(market: Market, rule: Rule, execution: Execution) -> Any:
    """RULE: the rule and its execution as the kernel reads them."""
    record = np.zeros(1, k.RULE).view(np.recarray)
    perpetual = perpetual_of(rule)
    values = {
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
    for name, value in values.items():
        record[name] = value
    return record[0]


LIMITS = ("stop", "stop_annualized", "loss", "exposure", "drawdown")


def days(value: float | None) -> int:
    """A number of days in nanoseconds; never for none."""
    return k.NEVER if value is None else min(round(value * DAY), LONGEST)


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


# ---------------------------------------------------------------- running


def grown(log: Any) -> Any:
    """A log with twice the room, its rows copied as bytes: concatenating records copies field by field, ten times slower than the run."""
    out = np.zeros(2 * len(log), log.dtype).view(np.recarray)
    out.view(np.uint8)[: log.nbytes] = log.view(np.uint8)
    return out


def simulate(prepared: Prepared, capital: float, *, jump: bool = True) -> Log:
    """Let the kernel decide; the logs grow when it asks. jump=False takes the step at every bar, with the same outcome."""
    account, legs = np.zeros(1, k.ACCOUNT).view(np.recarray), np.zeros(4, k.LEG).view(np.recarray)
    account["capital"] = account["balance"] = account["constant"] = account["peak"] = capital
    account["far"] = capital * prepared.rule_record["far_share"]
    account["loss_level"] = -np.inf
    account["exit_level"] = account["premium_level"] = account["annual_level"] = account["stop_level"] = account["converge_level"] = np.inf
    account["horizon"] = account["time_bar"] = account["days_bar"] = account["converge_bar"] = account["roll_bar"] = k.NEVER
    legs["stress_level"], legs["unit"], legs["share"] = np.inf, 1.0, 1.0
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
