"""Windows of a walk-forward: where they lie, how long the embargo between them is, what a training chooses, and what its test makes of it.

A choice sees its training window and nothing else: no bar after its end changes it. `backtest.forward` puts the windows together.

    for step in walked(grid, combinations, spans, "sharpe"):
        step.place, step.promised["sharpe"], step.kept["sharpe"]
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from backtest import metrics
from backtest.errors import CarryError, ParameterError
from backtest.market import DAY, Floats, Market, utc
from backtest.rule import Duration, duration
from backtest.scan import STATISTICS, Grid, Scanned
from backtest.simulate import run
from backtest.strategy import Strategy, parameters_of, rule_of, with_parameters

LOWER_IS_BETTER = ("max_drawdown", "annual_volatility")
LEAST_TRAIN, LEAST_TEST = 3 * DAY, DAY  # a Sharpe ratio needs two daily returns
LONGEST_HOLDERS = 10  # combinations that are run in full to see how long they hold
FEWEST_RANKS = 3

Combinations = Sequence[Mapping[str, Any]]


# ---------------------------------------------------------------- where they lie


def length(name: str, value: Duration, least: int) -> int:
    """Nanoseconds of a window; ParameterError for what is none or too short."""
    found = duration(name, value)
    if found is None:
        raise ParameterError(f'{name} must be a duration like "90D": {name}=None')
    if found < least:
        raise ParameterError(
            f"{name} must be at least {days(least)}, as statistics are of daily equity and a window has bars: {name}={value!r}; give a longer window"
        )
    return found


def days(nanoseconds: int) -> str:
    """A length of time in words."""
    count = round(nanoseconds / DAY, 2)
    return f"{count:,g} {'day' if count == 1 else 'days'}"


def check_lengths(market: Market, train: int, test: int, embargo: int, why: str = "") -> None:
    """ParameterError where the data have no room for a training, the embargo and a test."""
    there = int(market.stamps[-1]) - market.start
    if train + embargo + test > there:
        between, because = f", an embargo of {days(embargo)}" if embargo else "", f" ({why.rstrip('.')})" if why else ""
        raise ParameterError(
            f"the windows are longer than the data: a training of {days(train)}{between} and a test of {days(test)} in {days(there)} ({utc(market.start)} to "
            f"{utc(int(market.stamps[-1]))}){because}; give shorter windows{' or embargo=…' if embargo else ''}, or load a longer period"
        )


@dataclass(frozen=True)
class Span:
    """A training window and the test after it, in instants (ns): bars that end in (start, end]; and as bars [first, final)."""

    train_start: int
    train_end: int
    test_start: int
    test_end: int
    train: tuple[int, int]
    test: tuple[int, int]


def bars_between(market: Market, start: int, end: int) -> tuple[int, int]:
    """The bars [first, final) that end in (start, end]."""
    first, final = np.searchsorted(market.stamps, [start, end], side="right")
    return int(first), int(final)


def spans_of(market: Market, train: int, test: int, embargo: int, expanding: bool) -> tuple[list[Span], list[str]]:
    """The windows, tests one after the other from the first possible one to the data's end; and what is to be said of the rest."""
    end, spans, notes = int(market.stamps[-1]), [], []
    start = market.start + train + embargo
    while start < end:
        final = min(start + test, end)
        if 2 * (final - start) < test or final - start < LEAST_TEST:
            notes.append(
                f"The last {days(final - start)} are in no test window: they are less than {'half of one' if test >= 2 * DAY else 'a day'}."
            )
            break
        if final - start < test:
            notes.append(f"The last test window is shorter: {days(final - start)}.")
        until = start - embargo
        begin = market.start if expanding else until - train
        spans.append(Span(begin, until, start, final, bars_between(market, begin, until), bars_between(market, start, final)))
        start = final
    return spans, notes


def scanned(grid: Grid, tried: Combinations, window: tuple[int, int] | None) -> Scanned:
    """Every combination over a window, by all the threads that this process may use."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return grid.run(tried, window=window, threads=threads)


# ---------------------------------------------------------------- the embargo


def longest_hold(grid: Grid, tried: Combinations, first: Scanned, window: tuple[int, int], by: str) -> tuple[int, str]:
    """The longest time that a combination holds as far as the first training window tells, in whole days as ns, and the sentence about it."""
    seen = grid.market.until(grid.market.clock[window[1] - 1])
    limits: list[int] = []
    free: list[int] = []
    for place in (place for place, why in enumerate(first.refused) if why is None):
        strategy, changes = with_chosen(grid.base, dict(grid.fixed) | dict(tried[place]))
        try:
            limit = duration("max_hold", rule_of(strategy, seen, **changes).max_hold)
        except CarryError:
            continue
        if limit is None:
            free.append(place)
        else:
            limits.append(limit)
    averages = first.table["avg_hold_days"].iloc[free].dropna().nlargest(LONGEST_HOLDERS)
    best = best_of(first.table, by)
    full = [*averages.index, *([best] if best in free and best not in averages.index else [])]
    held = [found for place in full if (found := longest_trade(grid, tried[place], seen)) is not None]
    if not limits and not held:
        return 0, "No embargo: no trade was closed in the first training window; give embargo=… where positions are held across windows."
    longest = max([*limits, *held])
    of = (
        "the longest trade of the combinations in the first training window" if longest in held else "the largest max_hold of a combination"
    )
    whole = -(-longest // DAY) * DAY  # windows then begin at the hour at which the data do, midnight as a rule
    return whole, f"The embargo of {days(whole)} is {of}{'' if whole == longest else f' ({days(longest)})'}."


def longest_trade(grid: Grid, chosen: Mapping[str, Any], market: Market) -> int | None:
    """The longest closed trade of a combination's full run, in ns; None without any."""
    strategy, changes = with_chosen(grid.base, dict(grid.fixed) | dict(chosen))
    try:
        trades = run(strategy, market, capital=grid.capital, execution=grid.execution, **changes).trades
    except CarryError:
        return None
    closed = trades[trades["exited_at"].notna()]
    return None if closed.empty else int((closed["exited_at"] - closed["entered_at"]).max().as_unit("ns").value)


def with_chosen(base: type[Strategy] | Strategy, chosen: Mapping[str, Any]) -> tuple[Strategy, dict[str, Any]]:
    """The strategy with its own of some parameters, and the others, which are its rule's."""
    own = parameters_of(base)
    parameters = {key: value for key, value in chosen.items() if key in own}
    changes = {key: value for key, value in chosen.items() if key not in own}
    return base(**parameters) if isinstance(base, type) else with_parameters(base, **parameters), changes


# ---------------------------------------------------------------- choosing


def merit(table: pd.DataFrame, by: str) -> Floats:
    """How good each combination is, higher being better; NaN for one that was refused or made no trade: what never trades has the steadiest equity of all."""
    values = table[by].to_numpy(np.float64) * (-1.0 if by in LOWER_IS_BETTER else 1.0)
    return np.where(table["trades"].to_numpy() > 0.0, values, np.nan)


def best_of(table: pd.DataFrame, by: str) -> int | None:
    """The row that is best, of equals the first; None where none can be told."""
    values = merit(table, by)
    return None if np.isnan(values).all() else int(np.nanargmax(values))


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's, of what both know: the correlation of the ranks, equals sharing their mean rank. NaN with fewer than three or where all are alike."""
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < FEWEST_RANKS:
        return math.nan
    ranks = [pd.Series(values[both]).rank().to_numpy() for values in (one, other)]
    first, second = (rank - rank.mean() for rank in ranks)
    return metrics.ratio(float(first @ second), math.sqrt(float(first @ first) * float(second @ second)))


def share_beaten(values: Floats, place: int) -> float:
    """The share of the others that are worse than one, an equal one counting half; NaN where nothing can be compared."""
    known = np.isfinite(values)
    others = int(known.sum()) - 1
    if not known[place] or others < 1:
        return math.nan
    return float(((values < values[place]).sum() + 0.5 * ((values == values[place]).sum() - 1)) / others)


# ---------------------------------------------------------------- walking


@dataclass(frozen=True, eq=False)
class Step:
    """One window: which combination was chosen, why its account stayed in cash if it did, and what came of it.

    promised, kept: the statistics of the chosen in training and in test; best: of the best in test. equity, hindsight: what the chosen and that one made of
    the capital. trained: the equity of the chosen in training. ranks: the rank correlation of training and test; beaten: the share of others that it beat.
    """

    span: Span
    place: int | None
    cash: str
    ran: int
    capital: float
    promised: pd.Series
    kept: pd.Series
    best: pd.Series
    equity: pd.Series
    hindsight: pd.Series
    trained: pd.Series | None
    ranks: float
    beaten: float


def walked(grid: Grid, tried: Combinations, spans: Sequence[Span], by: str, first: Scanned | None = None) -> Iterator[Step]:
    """The windows one after the other, each test on the capital that the one before left. first: the first training window's scan if it has been made."""
    capital = grid.capital
    for span in spans:
        learned = first or (scanned(grid, tried, span.train) if span.train[1] > span.train[0] else None)
        playable = capital > 0.0 and span.test[1] > span.test[0]
        found = scanned(replace(grid, capital=capital), tried, span.test) if playable else None
        step = stepped(span, learned, found, by, capital)
        first, capital = None, float(step.equity.iloc[-1])
        yield step


def stepped(span: Span, learned: Scanned | None, found: Scanned | None, by: str, capital: float) -> Step:
    """What a training window chose, and what came of it in the test window. None: a window without bars, or without a capital."""
    place = None if learned is None else best_of(learned.table, by)
    best = None if found is None else best_of(found.table, by)
    cash = why_cash(learned, found, place, capital)
    merits = [np.zeros(0) if one is None else merit(one.table, by) for one in (learned, found)]
    return Step(
        span=span,
        place=place,
        cash=cash,
        ran=0 if learned is None else learned.refused.count(None),
        capital=capital,
        promised=row_of(learned, place),
        kept=row_of(found, None if cash else place),
        best=row_of(found, best),
        equity=curve(found, None if cash else place, span, capital),
        hindsight=curve(found, best if best is not None or cash else place, span, capital),
        trained=None if learned is None or place is None else pd.Series(learned.daily[place], index=learned.days, name="equity"),
        ranks=rank_correlation(*merits) if learned is not None and found is not None else math.nan,
        beaten=math.nan if cash or place is None else share_beaten(merits[1], place),
    )


def why_cash(learned: Scanned | None, found: Scanned | None, place: int | None, capital: float) -> str:
    """Why a window can't be traded, in a few words; empty where it can."""
    if capital <= 0.0:
        return "nothing is left of the capital"
    if learned is None or found is None:
        return f"it has no bars in {'training' if learned is None else 'the test'}"
    if place is None:
        if all(why is not None for why in learned.refused):
            return f"every combination is refused in training, the first because: {learned.refused[0]}"
        if not (learned.table["trades"] > 0.0).any():
            return "no combination made a trade in training"
        return "the statistic is unknown for every combination in training"
    why = found.refused[place]
    return "" if why is None else f"the chosen combination is refused in the test: {why}"


def row_of(found: Scanned | None, place: int | None) -> pd.Series:
    """The statistics of a combination in a window, all unknown without one."""
    return pd.Series(np.nan, index=list(STATISTICS)) if found is None or place is None else found.table.iloc[place]


def curve(found: Scanned | None, place: int | None, span: Span, capital: float) -> pd.Series:
    """A combination's equity in a test window: at its start, at each midnight and at its end, which need not be one; the capital all along in cash."""
    first, last = pd.Timestamp(span.test_start, tz="UTC"), pd.Timestamp(span.test_end, tz="UTC")
    index = pd.date_range(first.floor("D"), last, freq="D")
    index = index[index > first].union(pd.DatetimeIndex([first, last])).as_unit("ns")
    if found is None or place is None:
        return pd.Series(capital, index=index)
    known = pd.Series(found.daily[place], index=found.days.as_unit("ns"))
    values = known.reindex(index, method="ffill").fillna(capital)  # a window that begins in a hole of the data
    values.iloc[-1] = found.table["final_equity"].iloc[place]
    return values
