"""What an order finds in a bar: how much may be traded, at which spread, and how far the price moves with it.

A taker pays half the quoted spread and pushes the price; a maker rests inside the spread and is filled only if the bar trades through its price. Nobody is most of a bar's
volume. All of it is as known when the bar opens, but for the bar's own volume, high and low, which say whether the order was filled. The words stand in
`semantics.md`, step 1 and "Limits".

    check_orders(market, rule, execution)
    fill_half_spread(rows[HALF_SPREAD], market, name, bars, execution, slot)
    fill_orders(orders, market, name, bars, execution, slot, stress_multiplier(market, execution))
"""

from typing import Any

import numpy as np
import pandas as pd

from backtest import kernels as k
from backtest.errors import DataError, ParameterError
from backtest.execution import Execution, ImpactModel, is_number
from backtest.market import DAY, Floats, Integers, Market, utc
from backtest.rule import Rule
from backtest.signals import HALF_SPREAD, Regime, depth, regime
from backtest.signals.liquidity import DEPTHS


def limited(execution: Execution, slot: int) -> bool:
    """Whether the slot's fills need more than a half-spread: room, impact, stress or a maker's rule."""
    return execution.makers[slot] or execution.impacts[slot] > 0.0 or execution.participation is not None or execution.stresses


def half_spread_terms(execution: Execution, slot: int) -> tuple[bool, float]:
    """Whether a slot's half-spread is read bar by bar, and the number where it isn't or is NaN."""
    given = execution.half_spreads[slot]
    return (False, float(given)) if is_number(given) else (True, HALF_SPREAD)


def fill_half_spread(out: Floats, market: Market, name: str, bars: slice, execution: Execution, slot: int) -> None:
    """Write half the spread over the mid as known when each bar opens: the setting's series, else the quote at the end of the bar before. [bar]

    NaN where neither is known, and under a setting that is a number: there the number of `half_spread_terms` holds.
    """
    given = execution.half_spreads[slot]
    out[:] = np.nan
    if given is None:
        if has_quotes(market, name):
            bid, ask = market.lived(name, "bid"), market.lived(name, "ask")
            lay(out, (ask - bid) / (ask + bid), market.life(name), bars, later=1)
    elif not is_number(given):
        lay(out, row_of(market, given, "half_spread", least=0.0, below=1.0), slice(0, len(market)), bars, later=1)


def fill_orders(out: Floats, market: Market, name: str, bars: slice, execution: Execution, slot: int, stress: Floats | None) -> None:
    """Write room, impact and stress of one contract's bars. stress: of `stress_multiplier`. [row, bar]

    ROOM_BUY, ROOM_SELL: most base units of the slot's own kind of order, infinite for any. IMPACT: c of c·√(|Δq|·open) or c·|Δq|·open, with stress; NaN unknown.
    STRESS: the multiplier of spread and impact.
    """
    out[k.STRESS] = 1.0
    if stress is not None:
        lay(out[k.STRESS], stress, slice(0, len(market)), bars, later=1)
        if bars.start == 0:  # before the first bar's end only a number is known
            out[k.STRESS, :1] = float(execution.stress) if is_number(execution.stress) else 1.0
    _fill_impact(out[k.IMPACT], market, name, bars, execution, slot)
    out[k.IMPACT] *= out[k.STRESS]
    room = out[k.ROOM_BUY]
    room[:] = np.inf
    if execution.participation is not None:
        room[:] = 0.0
        lay(room, np.nan_to_num(market.lived(name, "volume")), market.life(name), bars)
        room *= execution.participation
        room /= out[k.STRESS]
    if not execution.makers[slot]:
        room[np.isnan(out[k.IMPACT])] = 0.0
        out[k.ROOM_SELL] = room
        return
    opened, low, high, half = np.full((4, bars.stop - bars.start), np.nan)
    for row, column in ((opened, "open"), (low, "low"), (high, "high")):
        lay(row, market.lived(name, column), market.life(name), bars)
    fill_half_spread(half, market, name, bars, execution, slot)
    half[np.isnan(half)] = half_spread_terms(execution, slot)[1]
    out[k.ROOM_SELL] = np.where(high > opened * (1.0 + half), room, 0.0)
    out[k.ROOM_BUY] = np.where(low < opened * (1.0 - half), room, 0.0)


def _fill_impact(out: Floats, market: Market, name: str, bars: slice, execution: Execution, slot: int) -> None:
    """Write k/√V or k/depth as known when each bar opens; 0 without impact, NaN where V or depth is unknown or 0. [bar]"""
    coefficient = execution.impacts[slot]
    if coefficient == 0.0:
        out[:] = 0.0
        return
    out[:] = np.nan
    if execution.impact_model is ImpactModel.SQUARE_ROOT:
        lay(out, traded_value(market, name), market.life(name), bars, later=1)
    else:
        (known,) = depth(market, market.leg(name))
        lay(out, known, slice(0, len(market)), bars, later=1)
    out[~(out > 0.0)] = np.nan
    if execution.impact_model is ImpactModel.SQUARE_ROOT:
        np.sqrt(out, out=out)
    np.divide(coefficient, out, out=out)


def traded_value(market: Market, name: str) -> Floats:
    """Σ volume·close of a contract's bars in the day up to each bar's end; bars of unknown volume count 0. [bar of its life]"""
    return market.memo(("traded value", name), lambda: _traded_value(market, name))


def _traded_value(market: Market, name: str) -> Floats:
    from backtest import rolling

    value = np.nan_to_num(market.lived(name, "volume") * market.lived(name, "close"))
    return rolling.total(market.stamps[market.life(name)], value, DAY)


def stress_multiplier(market: Market, execution: Execution) -> Floats | None:
    """The stress multiplier that is known at each bar's end: the setting (1 where a series is NaN), times `stressed` in a stressed regime; None for none. [bar]"""
    if not execution.stresses:
        return None
    if is_number(execution.stress):
        out = np.full(len(market), execution.stress, dtype=np.float64)
    else:
        given = row_of(market, execution.stress, "stress", above=0.0)
        out = np.where(np.isnan(given), 1.0, given)
    if execution.stressed is not None:
        out[regime(market) == Regime.STRESSED] *= execution.stressed
    return out


# ---------------------------------------------------------------- limits


def illiquid(market: Market, rule: Rule, contracts: Integers) -> list[Floats]:
    """Whether each pair is illiquid at each bar's end: 1 if one of its contracts is, else NaN if that of one is unknown, else 0. [pair][bar]"""
    slots = [
        [] if leg is None else [_on_the_clock(market, name, illiquid_contract(market, rule, name)) for name in leg.contracts]
        for leg in rule.legs
    ]
    fine = np.zeros(len(market))
    rows = []
    for pair in contracts:
        long, short = (fine if leg is None else slot[column] for leg, slot, column in zip(rule.legs, slots, pair, strict=True))
        rows.append(_worse(long, short))
    return rows


def illiquid_contract(market: Market, rule: Rule, name: str) -> Floats:
    """1 where a contract's quoted spread is above `max_spread` or its depth below `min_depth`, NaN where one that is asked for is unknown, else 0. [bar of its life]

    What the data don't have of the contract at all is not asked.
    """
    out = np.zeros(len(market.lived(name, "close")))
    if rule.max_spread is not None and has_quotes(market, name):
        bid, ask = market.lived(name, "bid"), market.lived(name, "ask")
        spread = (ask - bid) / ((ask + bid) / 2.0)
        out = _worse(out, np.where(np.isnan(spread), np.nan, spread > rule.max_spread))
    if rule.min_depth is not None and has_depth(market, name):
        (known,) = depth(market, market.leg(name))
        known = known[market.life(name)]
        out = _worse(out, np.where(np.isnan(known), np.nan, known < rule.min_depth))
    return out


def _worse(one: Floats, other: Floats) -> Floats:
    """1 where one of two is 1, else NaN where one is unknown, else 0."""
    return np.where((one == 1.0) | (other == 1.0), 1.0, one + other)


def _on_the_clock(market: Market, name: str, values: Floats) -> Floats:
    out = np.full(len(market), np.nan)
    out[market.life(name)] = values
    return out


# ---------------------------------------------------------------- what the data must have


def check_orders(market: Market, rule: Rule, execution: Execution) -> None:
    """DataError where the data lack what makers, impact, participation or liquidity limits ask for; ParameterError for series of another shape or range."""
    for slot, leg in enumerate(rule.legs):
        for name in () if leg is None else leg.contracts:
            if execution.makers[slot] and not has_quotes(market, name):
                raise DataError(_lacking(market, name, f"a maker fill needs quotes: maker={execution.maker}", "bid and ask", "maker"))
            if execution.participation is not None and not has_volume(market, name):
                told = f"participation needs volume: participation={execution.participation:g}"
                raise DataError(_lacking(market, name, told, "volume", "participation"))
            if execution.impacts[slot] > 0.0:
                _check_impact(market, name, execution, slot)
        given = execution.half_spreads[slot]
        if leg is not None and given is not None and not is_number(given):
            row_of(market, given, "half_spread", least=0.0, below=1.0)
    if not is_number(execution.stress):
        row_of(market, execution.stress, "stress", above=0.0)
    _check_limits(market, rule)


def _check_impact(market: Market, name: str, execution: Execution, slot: int) -> None:
    told = f"impact={execution.impacts[slot]:g}, impact_model={execution.impact_model}"
    if execution.impact_model is ImpactModel.SQUARE_ROOT and not has_volume(market, name):
        raise DataError(_lacking(market, name, f"square-root impact needs volume: {told}", "volume", "impact"))
    if execution.impact_model is ImpactModel.LINEAR and not has_depth(market, name):
        raise DataError(_lacking(market, name, f"linear impact needs depth: {told}", "depth_50bps or depth_10bps", "impact"))


def _lacking(market: Market, name: str, told: str, columns: str, setting: str) -> str:
    return f"{told}, and {name} has none in dataset {market.info.name}; import bars with {columns}, or leave {setting} out"


def _check_limits(market: Market, rule: Rule) -> None:
    """A limit of liquidity needs one contract at least of which it can be told."""
    names = [name for leg in rule.legs if leg is not None for name in leg.contracts]
    for limit, what, columns, has in (
        ("max_spread", "quotes", "bid and ask", has_quotes),
        ("min_depth", "depth", "depth_50bps or depth_10bps", has_depth),
    ):
        value = getattr(rule, limit)
        if value is not None and not any(has(market, name) for name in names):
            legs = " and ".join(str(leg) for leg in rule.legs if leg is not None)
            told = f"{limit} needs {what}: {limit}={value:g}, and {legs} {'have' if ' and ' in legs else 'has'} none in dataset {market.info.name}"
            raise DataError(f"{told}; import bars with {columns}, or leave {limit} out")


def has_quotes(market: Market, name: str) -> bool:
    """Whether any bid and ask of a contract is known."""
    return _has_any(market, name, "bid") and _has_any(market, name, "ask")


def has_volume(market: Market, name: str) -> bool:
    """Whether any volume of a contract is known."""
    return _has_any(market, name, "volume")


def has_depth(market: Market, name: str) -> bool:
    """Whether the data have a depth of a contract's book, as `depth` takes it."""
    return any(market.has(name, measure) or f"{name}.{measure}" in market.series_names for measure in DEPTHS)


def _has_any(market: Market, name: str, column: str) -> bool:
    return market.has(name, column) and not np.isnan(market.lived(name, column)).all()


# ---------------------------------------------------------------- rows


def lay(out: Floats, values: Floats, known: slice, bars: slice, later: int = 0) -> None:
    """Write values of the bars `known` where they belong in a row of `bars`, each so many bars later; the rest stays as it is."""
    begin, end = max(known.start + later, bars.start), min(known.stop + later, bars.stop)
    if begin < end:
        out[begin - bars.start : end - bars.start] = values[begin - later - known.start : end - later - known.start]


def row_of(market: Market, given: Any, name: str, *, least: float = -np.inf, above: float = -np.inf, below: float = np.inf) -> Floats:
    """A setting that is a signal, as one value a bar; NaN is unknown. ParameterError for another shape, another index, or a value out of its range."""
    if isinstance(given, pd.Series | pd.DataFrame):
        if not given.index.equals(market.clock):
            raise ParameterError(
                f"{name} must be indexed by the market's clock (market.clock); reindex it, or give a plain array with one value a bar"
            )
        given = given.to_numpy().T
    try:
        values = np.asarray(given, dtype=np.float64)
    except (ValueError, TypeError):
        raise ParameterError(f"{name} must be numbers, one value a bar: it has {np.asarray(given).dtype} values") from None
    if values.shape not in ((len(market),), (1, len(market))):
        raise ParameterError(
            f"{name} must have one value a bar: shape {values.shape} for {len(market)} bars; build it from market arrays, which have the market's length"
        )
    row: Floats = values.reshape(-1)
    wrong = np.flatnonzero(~np.isnan(row) & ~((row >= least) & (row > above) & (row < below)))
    if len(wrong):
        bounds = f"at least {least:g} and below {below:g}" if np.isfinite(least) else f"finite and above {above:g}"
        raise ParameterError(
            f"{name} must be {bounds}: it is {row[wrong[0]]:g} at {utc(market.stamps[wrong[0]])}; give NaN where it is unknown"
        )
    return row
