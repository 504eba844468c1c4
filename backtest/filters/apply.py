"""From a rule to the same rule, filtered and sized: its entry signal is unknown where an entry is not allowed, and its scale is multiplied.

An unknown signal never enters, so nothing new has to be decided by the engine. A roll is an entry too. What makes a rule leave stays as
it was.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from backtest.curve import pairs
from backtest.errors import ParameterError
from backtest.filters.base import Allowed, Bools, Filter, Sizer
from backtest.market import Floats, Market
from backtest.rule import Rule, Sides


def filtered(rule: Rule, market: Market, filters: Sequence[Filter], sizers: Sequence[Sizer]) -> Rule:
    """The rule with its entries where all filters allow them, and its scale times those of all sizers.

    The entry signal becomes NaN where a side may not enter, two signals where the sides differ; a rule that enters at once gets a signal
    of 1 (side −1: −1) and a threshold between it and 0. `exit_signal` is the one that was in force. Raises ParameterError and DataError
    as the filters do, and for answers that have not one value a bar.
    """
    changes: dict[str, Any] = {}
    if filters:
        plus, minus = allowed(rule, market, filters)
        changes["exit_signal"] = rule.signal if rule.exit_signal is None else rule.exit_signal
        if rule.enter is None:
            # above any exit: the engine takes one threshold for both only from signals of 0 and 1
            changes["enter"] = enter = 0.5 if rule.exit is None or rule.exit < 0.5 else rule.exit + 0.5
            changes["signal"] = np.where(plus, 2.0 * enter, 0.0), np.where(minus, -2.0 * enter, 0.0)
        elif isinstance(rule.signal, tuple):
            changes["signal"] = masked(market, rule.signal[0], plus), masked(market, rule.signal[1], minus)
        elif plus is minus:
            changes["signal"] = masked(market, rule.signal, plus)
        else:
            changes["signal"] = masked(market, rule.signal, plus), masked(market, rule.signal, minus)
    if sizers:
        factor = sized(rule, market, sizers)
        changes["scale"] = factor if rule.scale is None else times(market, rule.scale, factor)
    return replace(rule, **changes) if changes else rule


def allowed(rule: Rule, market: Market, filters: Sequence[Filter]) -> tuple[Bools, Bools]:
    """Where all filters allow side +1 and side −1 to enter; one and the same array where no filter tells them apart. [bar] or [pair, bar]"""
    plus: Bools | None = None
    minus: Bools | None = None
    for one in filters:
        first, second = sides(rule, market, one, one.allows(market, rule))
        alike = plus is minus and first is second
        plus = first if plus is None else plus & first
        minus = plus if alike else second if minus is None else minus & second
    assert plus is not None
    assert minus is not None
    return plus, minus


def closed(rule: Rule, market: Market, filters: Sequence[Filter], wanted: Sides, offered: Bools) -> str | None:
    """Which filters allow no entry on the wanted sides at any of the bars at which a contract is offered, in words; None if they allow some."""

    def open_somewhere(answers: tuple[Bools, Bools]) -> bool:
        taken = [part for part, other in zip(answers, (Sides.MINUS, Sides.PLUS), strict=True) if wanted is not other]
        return any(bool(part[..., offered].any()) for part in taken)

    never = [one for one in filters if not open_somewhere(sides(rule, market, one, one.allows(market, rule)))]
    bars = f"any of the {int(offered.sum())} bars at which a contract is offered"
    if never:
        several = len(never) > 1
        names = " and ".join(f'"{one}"' for one in never)
        return f"the filter{'s' if several else ''} {names} allow{'' if several else 's'} no entry at {bars}{' (each by itself)' if several else ''}"
    if open_somewhere(allowed(rule, market, filters)):
        return None
    names = " and ".join(f'"{one}"' for one in filters)
    return f"the filters {names} together allow no entry at {bars}, though each allows some"


def sides(rule: Rule, market: Market, one: Filter, answer: Allowed) -> tuple[Bools, Bools]:
    """A filter's answer for each side; ParameterError for one that is not true or false, or has not one value a bar."""
    both = answer if isinstance(answer, tuple) else (answer, answer)
    if len(both) != 2 or not all(fits(rule, market, part) and np.asarray(part).dtype == np.bool_ for part in both):
        answers = answer if isinstance(answer, tuple) else (answer,)
        raise ParameterError(wrong(rule, market, f"filter {one}", "True or False", answers))
    return both


def sized(rule: Rule, market: Market, sizers: Sequence[Sizer]) -> Floats:
    """The product of the sizers' factors. [bar] or [pair, bar]"""
    factor: Floats = np.ones(len(market))
    for one in sizers:
        answer = one.scale(market, rule)
        if not fits(rule, market, answer) or np.asarray(answer).dtype.kind not in "fiu":
            raise ParameterError(wrong(rule, market, f"sizer {one}", "a number", (answer,)))
        factor = factor * answer
    return factor


def fits(rule: Rule, market: Market, answer: object) -> bool:
    """Whether an array has one value a bar, or a row of them for each pair of contracts."""
    if not isinstance(answer, np.ndarray) or answer.ndim not in (1, 2) or answer.shape[-1] != len(market):
        return False
    return answer.ndim == 1 or len(answer) == 1 or len(answer) == len(pairs(market, rule.long, rule.short))


def wrong(rule: Rule, market: Market, who: str, wanted: str, answers: tuple[Any, ...]) -> str:
    """The sentence about an answer of another shape or kind."""
    got = " and ".join(f"{one.dtype} {one.shape}" if isinstance(one, np.ndarray) else type(one).__name__ for one in answers)
    count = len(pairs(market, rule.long, rule.short))
    return (
        f"{who} must give {wanted} for each of the {len(market)} bars, as an array, or a row of them for each of the {count} pairs of contracts: it gave {got}; "
        "build it from the arrays of the market that it gets"
    )


def masked(market: Market, signal: Any, where: Bools) -> Any:
    """A user's signal where an entry is allowed, NaN elsewhere. [bar] or [pair, bar]"""
    table = laid_out(market, signal, where)
    return signal if table is None else np.where(where, table, np.nan)


def times(market: Market, scale: Any, factor: Floats) -> Any:
    """A user's scale times a factor. [bar] or [pair, bar]"""
    table = laid_out(market, scale, factor)
    if table is None:
        return scale
    with np.errstate(invalid="ignore", over="ignore"):
        return table * factor


def laid_out(market: Market, values: Any, beside: Any) -> Floats | None:
    """A user's array with the bars as last axis; None for one that the engine refuses, in its own words, when it gets it as it is."""
    if isinstance(values, pd.Series | pd.DataFrame):
        if not values.index.equals(market.clock):
            return None
        values = values.to_numpy().T
    try:
        table: Floats = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError):
        return None
    if table.ndim not in (1, 2) or table.shape[-1] != len(market):
        return None
    rows = {len(one) for one in (table, beside) if one.ndim == 2}
    return table if len(rows - {1}) < 2 else None
