"""What a rule must be to run on a market: thresholds that can be met, legs that are there together and pay alike, staking that was possible.

Each raises ParameterError for a setting and DataError for data, with the place and the remedy.
"""

import numpy as np
import pandas as pd

from backtest.errors import DataError, ParameterError
from backtest.execution import Execution
from backtest.instruments import Kind, Settle
from backtest.joins import fresh, refuse_other_hours
from backtest.market import Market, utc
from backtest.rule import AUTO, Rule, instant
from backtest.tapes import numbers

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
    """Nobody hedges a contract with itself; two chains may share contracts, as theirs differ by `min_days`."""
    if rule.long is None or rule.short is None or (rule.long.chain and rule.short.chain):
        return
    for name in rule.long.contracts:
        if name in rule.short.contracts:
            whole, part = (rule.long, rule.short) if rule.long.chain else (rule.short, rule.long)
            told = f"{whole} contains the other leg, {part}" if whole.chain else f"both legs are {name}"
            raise ParameterError(f"the legs must be two instruments: {told}; give another leg, or one leg alone")


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
