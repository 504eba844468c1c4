"""What a rule must be to run on a market: a signal that is known, thresholds that can be met, legs that are there together and pay alike, staking that was
possible. And why a run has made no trade.

Each check raises ParameterError for a setting and DataError for data, with the place and the remedy.
"""

from collections.abc import Sequence, Sized
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from backtest.errors import DataError, ParameterError
from backtest.execution import Execution
from backtest.filters import Filter
from backtest.instruments import Kind, Settle
from backtest.joins import fresh, refuse_other_hours
from backtest.ledger import slot_contract
from backtest.market import Floats, Integers, Market, utc
from backtest.rule import AUTO, Rule, Sides, instant
from backtest.strategy import Narrowed, Strategy, all_filters, kept_out_by, unfiltered
from backtest.tapes import both_sides, numbers, side_values, table_of

if TYPE_CHECKING:
    from backtest.result import Prepared

OPENED = "leave a filter out, loosen it, or load a longer period"
STAKING_WITHDRAWALS = {"ETH": pd.Timestamp("2023-04-12", tz="UTC")}  # Shapella: before it a staked coin could not be sold


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
    check_two_instruments(rule)
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


def check_two_instruments(rule: Rule) -> None:
    """Nobody hedges a contract with itself; two chains may share contracts if they offer different ones of them, by `min_days` or `nth`."""
    if rule.long is None or rule.short is None:
        return
    if rule.long == rule.short and rule.long.chain:
        raise ParameterError(
            f"the legs must be two instruments: both are {rule.long}, which offers them the same contract; for a calendar spread give the far leg nth=2, as "
            "short=market.future_chain(nth=2)"
        )
    if rule.long.chain and rule.short.chain:
        return
    for name in rule.long.contracts:
        if name in rule.short.contracts:
            whole, part = (rule.long, rule.short) if rule.long.chain else (rule.short, rule.long)
            told = f"{whole} contains the other leg, {part}" if whole.chain else f"both legs are {name}"
            raise ParameterError(f"the legs must be two instruments: {told}; give another leg, or one leg alone")


def check_known(prepared: "Prepared", strategy: Strategy | Rule | None = None) -> None:
    """ParameterError for an entry signal that is unknown wherever the rule could enter. strategy: whose filters may be why."""
    market, rule, candidate = prepared.market, prepared.rule, prepared.tapes.candidate
    if rule.enter is None:
        return
    plus, minus = (table_of(market, part, len(prepared.pairs), "signal") for part in both_sides(rule.signal))
    tables = [table for table, other in ((plus, Sides.MINUS), (minus, Sides.PLUS)) if rule.sides is not other]
    everywhere = np.flatnonzero(candidate >= 0)
    for bars in (everywhere[-4096:], everywhere):  # nearly always the last ones are enough to see it
        if any((~np.isnan(table[candidate[bars] if len(table) > 1 else 0, bars])).any() for table in tables):
            return
    if len(everywhere):
        closed = shut(prepared, strategy)
        if closed is not None:
            raise ParameterError(f"{closed}, so the rule can never enter; {OPENED}")
        raise ParameterError(
            f"signal is unknown (NaN) at each of the {len(everywhere)} bars at which a contract is offered, so the rule can never enter; shorten a window that is "
            "longer than the data, load a longer period, import what the signal lacks, or leave out a filter that never allows an entry"
        )


def shut(prepared: "Prepared", strategy: Strategy | Rule | None) -> str | None:
    """Which filters of a strategy keep it out everywhere, in words; None if that is not why."""
    if strategy is None:
        return None
    return kept_out_by(strategy, prepared.market, prepared.rule.sides, prepared.tapes.candidate >= 0, **prepared.changes)


def check_instants(market: Market, execution: Execution) -> None:
    """What happens at an instant must happen in the run."""
    for name in ("deleveraged_at", "recalled_at"):
        at = instant(name, getattr(execution, name))
        if at is not None and not market.start < at.value <= market.stamps[-1]:
            raise ParameterError(
                f"{name}={utc(at.value)} lies outside the run (from {utc(market.start)} to {utc(market.stamps[-1])}); give an instant within it, or leave it out"
            )


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


# ---------------------------------------------------------------- no trade


def no_trade_note(prepared: "Prepared", trades: Sized, capital: float, strategy: Strategy | Rule | None = None) -> str | None:
    """Why a run without trades has none, and what to change, for its notes; None if it has any. strategy: whose filters may be why."""
    if len(trades):
        return None
    rule, tapes, count = prepared.rule, prepared.tapes, len(prepared.market)
    open_to_entry = np.flatnonzero(tapes.candidate >= 0)
    if not len(open_to_entry):
        legs = " and ".join(str(leg) for leg in rule.legs if leg is not None)
        return f"NO TRADE: {legs} offer no contract at any of the {count} bars; lower min_days or nth, or load a longer period."
    record = prepared.rule_record
    sides = [(sign, side_values(tapes, record, "entry_at", sign)[:count]) for sign, taken in ((1, "plus"), (-1, "minus")) if record[taken]]
    willing = np.unique(np.concatenate([np.flatnonzero(values >= prepared.rule_record["enter"]) for _, values in sides]))
    filters = () if strategy is None else all_filters(strategy)
    at_once = bool(filters) and enters_at_once(prepared, strategy)
    if not len(willing):
        closed = shut(prepared, strategy)
        if closed is not None:
            return f"NO TRADE: {closed}; {OPENED}."
        return f"NO TRADE: {unwilling(prepared, sides, len(open_to_entry), filters, at_once)}"
    first = utc(prepared.market.stamps[willing[0]])
    what = "the rule was free to enter" if rule.enter is None or at_once else f"the signal reached enter={rule.enter:g}"
    return f"NO TRADE: {what} at {len(willing)} of {count} bars, the first {first}, {kept_out(prepared, willing, capital)}."


def enters_at_once(prepared: "Prepared", strategy: Strategy | Rule | None) -> bool:
    """Whether a strategy has no threshold to enter, whatever its filters made of that."""
    if isinstance(strategy, Narrowed):
        return enters_at_once(replace(prepared, market=prepared.market.only(*strategy.patterns)), strategy.inner)
    return isinstance(strategy, Strategy) and unfiltered(strategy, prepared.market, **prepared.changes)[0].enter is None


def unwilling(prepared: "Prepared", sides: list[tuple[int, Floats]], bars: int, filters: Sequence[Filter], at_once: bool) -> str:
    """Why a rule never wanted to enter: the most that its signal reached, or its liquidity limits, where its filters let it."""
    rule, market = prepared.rule, prepared.market
    limits = ", ".join(f"{name}={value:g}" for name in ("max_spread", "min_depth") if (value := getattr(rule, name)) is not None)
    known = [(float(np.nanmax(values)), int(np.nanargmax(values)), sign) for sign, values in sides if not np.isnan(values).all()]
    named = " and ".join(f'"{one}"' for one in filters)
    if at_once:
        return f"the filters {named} allow no entry where {limits} do; raise max_spread, lower min_depth, or leave out a filter."
    if not known:
        return f"{limits} kept it out at each of the {bars} bars at which a contract is offered; raise max_spread, lower min_depth, or leave them out."
    most, bar, sign = max(known)
    reached = f"the signal rose to {most:g} at most" if sign > 0 else f"the signal fell to {-most:g} at most (side −1)"
    enter = f"enter={rule.enter:g}" if sign > 0 else f"−enter={-(rule.enter or 0.0):g}"
    beside = f" and within {limits}" if limits else ""
    if filters:
        beside, either = f"{beside} and {named} allow{'s' if len(filters) == 1 else ''} an entry", ", or leave out a filter"
    else:
        either = ""
    return f"{reached}, at {utc(market.stamps[bar])}, where a contract is offered{beside}, and an entry needs {enter}; lower enter (--enter){either}."


def kept_out(prepared: "Prepared", willing: Integers, capital: float) -> str:
    """What kept a rule out at the bars where it wanted to enter."""
    rule, market, tapes = prepared.rule, prepared.market, prepared.tapes
    if willing[0] == len(market) - 1:
        return "which is the last, and an order fills in the bar after; load a later end (--end)"
    pair = tapes.pairs[tapes.candidate[willing]]
    scale = np.ones(len(willing)) if rule.scale is None else tapes.scale[pair["start"] + willing]
    if not (scale > 0.0).any():
        return "and its scale is 0 or unknown at each of them; leave out a sizer that is never known, or give a scale above 0"
    willing, pair, scale = willing[scale > 0.0], pair[scale > 0.0], scale[scale > 0.0]
    slot, leg = next((slot, leg) for slot, leg in enumerate(rule.legs) if leg is not None)
    names = [slot_contract(leg, int(column)) for column in prepared.pairs[tapes.candidate[willing], slot]]
    price = np.array([market.last_known(name)[bar] for name, bar in zip(names, willing, strict=True)])
    quantity, base = rule.size * scale * capital / price, market.instruments[names[0]].base
    most, terms = int(np.argmax(quantity)), f"size={rule.size:g} of a capital of {capital:g}"
    if (quantity < pair["lot"] * (1.0 - 1e-9)).all():
        return f"and {terms} is {quantity[most]:g} {base} at most, less than the lot of {pair['lot'][most]:g}; raise capital or size (--capital, --size)"
    worth = quantity * price
    if (worth < pair["least_notional"]).all():
        most = int(np.argmax(worth))
        return f"and {terms} is worth {worth[most]:g}, less than the smallest order of {pair['least_notional'][most]:g}; raise capital or size (--capital, --size)"
    if len(tapes.available) == len(market) and not (tapes.available[willing] > 0.0).any():
        return "and no coins could be borrowed at any of them (borrow_available); import a series that has some, or start later"
    return (
        "and no order was filled; maker orders, participation, an impact without volume or depth, latency, and the limits of a book can keep all of them from "
        "filling: leave them out one by one"
    )
