"""The odds that the best of many combinations is best by luck.

The more combinations are tried on one past, the better the best of them looks, edge or none. Six figures say how much of it to believe: the number of
trials that so many alike combinations are worth, the Sharpe ratio that luck alone would give the best of them, the probability that the best is better
than that (deflated Sharpe ratio), how often choosing on one half of the days fails on the other (probability of backtest overfitting), an interval of the
Sharpe ratio, and the chance that nothing tried beats the baseline (SPA, reality check). All are computed from daily equity; a year is 365 days. What idle
cash earns is no skill: Sharpe ratios are those of returns over it.

    luck = luck_of(scanned.daily, combinations, baseline=bills, name="T-bills", idle=idle)
    print(luck)
    luck.deflated_sharpe
"""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backtest.card import Card
from backtest.errors import ParameterError
from backtest.metrics import DAYS, Floats
from backtest.overfitting import (
    EQUAL,
    LEVEL,
    Tried,
    deflated,
    drawn_days,
    expected_maximum,
    interval_of,
    overfitting_of,
    resample,
    shape_of,
    standard_error,
    trials_worth,
)  # fmt: skip
from backtest.plateau import Plateau, plateau_of

FEWEST_DAYS = 30  # of returns: with fewer nothing is said but the Sharpe ratio itself
CONVINCING = 0.95  # deflated Sharpe ratio from which one speaks of an edge
WIDTH = 80
ONE, FEW = 1.05, 9.95  # effective trials told as one; with a decimal
LEAST, DETAIL = 0.001, 0.0995  # probabilities told as below that; with a decimal
SKEWED = -2.0  # skewness of small gains and rare losses
YEAR = math.sqrt(DAYS)


@dataclass(frozen=True, eq=False, repr=False)
class Luck(Card):
    """How much of the best of many combinations is luck; printing it says so in words.

    trials: how many were tried; effective_trials: how many independent ones they are worth. chosen: the row of the best by Sharpe ratio, the first where
    several are. sharpe: its annualized Sharpe ratio over `days` daily returns, less those of idle cash where that earns something (over_idle);
    expected_maximum: what the best of so many effective trials has by luck alone; deflated_sharpe: probability that the true one exceeds that; interval:
    95 % of it, as if it had been the only one tried. overfitting: share of the splits in which the best of one half was not above the median in the other.
    reality_check, white: p-values of the best lead over the baseline (Hansen's SPA; White's reality check), of which the larger one is told first: SPA finds
    leads too easily where gains are small and losses rare. NaN is what could not be said, and `notes` says why.
    """

    trials: int
    effective_trials: float
    chosen: int
    days: int
    sharpe: float
    expected_maximum: float
    deflated_sharpe: float
    overfitting: float
    interval: tuple[float, float]
    reality_check: float
    white: float
    baseline: str
    plateau: Plateau | None
    notes: list[str]
    over_idle: bool = False

    def __repr__(self) -> str:
        """The same words as `str`."""
        return "\n".join(words_of(self))


def luck_of(
    daily: Floats,
    combinations: Sequence[Mapping[str, Any]],
    *,
    baseline: Floats | None = None,
    name: str = "cash",
    idle: Floats | None = None,
    trials: int | None = None,
    independent: bool = False,
    seed: int = 0,
) -> Luck:
    """The odds that the best of some combinations is best by luck.

    daily: equity [combination, day], the capital first; a row with anything but finite numbers did not run and is left out. combinations: the parameters
    of each row. baseline: equity on the same days, None for cash that earns nothing; name: what it is called. idle: equity on the same days of an account
    that never trades, None where idle cash earns nothing: Sharpe ratios are over it, and what earns just as much does not count. trials: how many were
    tried in all, where that is more than the rows that ran: the others are taken to be as alike. independent: each trial counts as an independent one, as
    those of a search do that climbs to the best, which may be noise. After a ruin (equity at or below 0) returns are 0. All combinations take part in every
    figure, in parts that fit in memory: 10,000 of five years need some 50 MB beside `daily`. The same seed gives the same figures. Raises ParameterError
    for arrays that don't fit together, and where no row ran.
    """
    ran = checked(daily, combinations, baseline, idle, trials)
    tried = Tried(daily, ran, idle)
    count = max(trials or 0, len(ran))
    notes = notes_on(tried, count, independent)
    place = tried.best
    if place is None:
        return _unsaid(tried, count, int(ran[0]), name, notes)
    chosen = int(ran[place])
    sharpe_ratios = np.full(len(daily), np.nan)
    sharpe_ratios[ran] = np.where(tried.moves, tried.sharpe, 0.0) * YEAR
    plateau = plateau_of(sharpe_ratios, combinations, chosen)
    if plateau is not None and plateau.ends:
        notes.append(f"the best lies at an end of {' and '.join(plateau.ends)}: better ones may lie beyond")
    if tried.days < FEWEST_DAYS:
        return _unsaid(tried, count, chosen, name, notes, float(sharpe_ratios[chosen]), plateau)
    mine, against = tried.returns(slice(place, place + 1))[0], tried.of_baseline(baseline)
    drawn = drawn_days(mine, seed, lead=mine - against)
    resampled = resample(tried, against, drawn)
    effective = float(count) if independent else trials_worth(resampled.luckiest, int(tried.moves.sum())) * count / len(ran)
    error = standard_error(mine)
    hurdle = expected_maximum(effective) * error
    low, high = interval_of(mine, drawn)
    return Luck(
        trials=count,
        effective_trials=effective,
        chosen=chosen,
        days=tried.days,
        sharpe=float(sharpe_ratios[chosen]),
        expected_maximum=hurdle * YEAR,
        deflated_sharpe=deflated(float(tried.sharpe[place]), hurdle, error, *shape_of(mine)),
        overfitting=math.nan if tried.alike else overfitting_of(tried),
        interval=(low * YEAR, high * YEAR),
        reality_check=resampled.reality_check,
        white=resampled.white,
        baseline=name,
        plateau=plateau,
        notes=notes,
        over_idle=tried.idle is not None,
    )


def checked(
    daily: Floats, combinations: Sequence[Mapping[str, Any]], baseline: Floats | None, idle: Floats | None, trials: int | None
) -> npt.NDArray[np.int64]:
    """The rows that ran; ParameterError where there are none, or the arguments don't fit together."""
    if daily.ndim != 2 or len(daily) != len(combinations):
        raise ParameterError(
            f"daily equity must have a row a combination: it has shape {daily.shape} for {len(combinations):,} combinations"
        )
    ran = np.flatnonzero(np.isfinite(daily).all(axis=1)) if daily.shape[1] else np.empty(0, dtype=np.int64)
    if not len(ran):
        raise ParameterError(f"the odds of luck need a combination that ran: none of {len(daily):,} has equity on every day")
    for what, equity in (("a baseline", baseline), ("idle cash", idle)):
        if equity is not None and (equity.shape != daily.shape[1:] or not np.isfinite(equity).all()):
            raise ParameterError(
                f"{what} must have finite equity on every day of the combinations: it has shape {equity.shape}, "
                f"{int(np.isfinite(equity).sum()):,} of it finite, for {daily.shape[1]:,} days"
            )
    if idle is not None and not idle.min() > 0.0:
        raise ParameterError(f"idle cash must have equity above 0 on every day: its least is {idle.min():,.2f}")
    if trials is not None and trials < len(ran):
        raise ParameterError(f"trials must be at least the combinations that ran: trials={trials:,}, {len(ran):,} ran")
    return ran


def _unsaid(
    tried: Tried, trials: int, chosen: int, baseline: str, notes: list[str], sharpe: float = math.nan, plateau: Plateau | None = None
) -> Luck:
    """What is left where the statistics can't be computed."""
    nan = math.nan
    over_idle = tried.idle is not None
    return Luck(trials, nan, chosen, tried.days, sharpe, nan, nan, nan, (nan, nan), nan, nan, baseline, plateau, notes, over_idle)


def notes_on(tried: Tried, count: int, independent: bool) -> list[str]:
    """What a reader must know of those that were tried, and why something is not said."""
    notes = []
    if missing := len(tried.daily) - len(tried.ran):
        notes.append(f"{_combinations(missing)} did not run and {'is' if missing == 1 else 'are'} left out")
    if more := count - len(tried.ran):
        taken = "count as independent ones" if independent else "are taken to be as alike as the others"
        notes.append(f"of {more:,} of those that were tried there is no equity here: they {taken}")
    if tried.days < FEWEST_DAYS:
        notes.append(f"{tried.days} days of returns are too few to judge, at least {FEWEST_DAYS} are needed")
    if tried.best is None:
        return [*notes, f"no equity moves{' but by what idle cash earns' if tried.idle else ''}: there is nothing to judge"]
    if still := int((~tried.moves).sum()):
        verb = (
            ("earns" if still == 1 else "earn") + " what idle cash does" if tried.idle else "never " + ("moves" if still == 1 else "move")
        )
        notes.append(f"{_combinations(still)} {verb}: no Sharpe ratio, so not the best")
    ties = int((tried.sharpe >= tried.sharpe[tried.best] - EQUAL).sum())
    if ties > 1:
        notes.append(f"{ties:,} combinations share the best Sharpe ratio: the first is told")
    active = int(np.count_nonzero(tried.returns(slice(tried.best, tried.best + 1))))
    if tried.days < FEWEST_DAYS:
        return notes
    if active < FEWEST_DAYS:
        notes.append(f"the best one's equity moves on only {active} of {tried.days:,} days: its figures rest on these")
    if (skewness := float(min(tried.skewness[tried.best], np.nanmedian(tried.skewness)))) < SKEWED:
        notes.append(
            f"gains are small and losses rare (skewness {skewness:.0f}): days without such a loss look like skill, to SPA above all, and the next may bring it"
        )
    if tried.alike:
        notes.append("no two that move differ: how good it is to choose among them can't be said")
    return notes


def _combinations(count: int) -> str:
    return f"{count:,} combination{'' if count == 1 else 's'}"


# ---------------------------------------------------------------- words


def words_of(luck: Luck) -> list[str]:
    """What the figures mean, a sentence each; no line is longer than 80 characters, and what is not known is left out."""
    several = luck.trials > 1
    worth = f", worth about {counted(luck.effective_trials)}" if several and not math.isnan(luck.effective_trials) else ""
    lines = textwrap.wrap(f"Of {_combinations(luck.trials)} tried{worth}, on {luck.days:,} days:", WIDTH, subsequent_indent="  ")
    for sentence in sentences_of(luck):
        lines += textwrap.wrap(
            sentence[0].upper() + sentence[1:], WIDTH, initial_indent="* ", subsequent_indent="  ", break_on_hyphens=False
        )
    for note in luck.notes:
        lines += textwrap.wrap(f"Note: {note}.", WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return lines


def sentences_of(luck: Luck) -> Iterator[str]:
    """A sentence a figure that is known."""
    if not math.isnan(luck.sharpe):
        low, high = luck.interval
        between = "" if math.isnan(low) else f"; between {ratio_of(low)} and {ratio_of(high)} ({LEVEL:.0%}) were it the only one"
        yield f"best Sharpe ratio{' over idle cash' if luck.over_idle else ''} {ratio_of(luck.sharpe)}{between}."
    if not math.isnan(luck.deflated_sharpe):
        who = "the best of so many" if luck.effective_trials > ONE else "a single trial"
        yield f"luck alone would give {who} {ratio_of(luck.expected_maximum)} on average."
        yield f"{share_of(luck.deflated_sharpe)} likely to be more than luck (deflated Sharpe ratio; {CONVINCING:.0%} convinces)."
    if not math.isnan(luck.overfitting):
        yield (
            f"in {share_of(luck.overfitting)} of the splits of the days in halves, the best of one half was no better than the median in the other "
            "(50%: choosing was worth nothing)."
        )
    if not math.isnan(luck.reality_check):
        told = [(luck.reality_check, "SPA"), (luck.white, "White's reality check")]
        (first, way), (other, second) = sorted(told, key=lambda one: -one[0])
        yield (
            f"{share_of(first)} chance of such a lead over {luck.baseline} if none has one "
            f"({way}; {share_of(other)} by {second}; below {1.0 - CONVINCING:.0%} convinces)."
        )
    if luck.plateau is not None:
        yield neighbours_in_words(luck.plateau)


def neighbours_in_words(plateau: Plateau) -> str:
    """What the neighbours lose, in a sentence."""
    if plateau.neighbours == 1:
        return f"its one neighbour has {ratio_of(plateau.median_loss)} less."
    above = "all" if plateau.positive == 1.0 else "none" if plateau.positive == 0.0 else f"{plateau.positive:.0%}"
    return (
        f"its {plateau.neighbours} neighbours have {ratio_of(plateau.median_loss)} less in the median, "
        f"{ratio_of(plateau.worst_loss)} at worst; {above} above 0."
    )


def counted(trials: float) -> str:
    """A number of independent trials in words: to one decimal where they are few."""
    if trials <= ONE:
        return "one"
    return f"{trials:.1f} independent ones" if trials < FEW else f"{trials:,.0f} independent ones"


def ratio_of(value: float) -> str:
    """A Sharpe ratio with two decimals, never "-0.00"."""
    return f"{round(value, 2) + 0.0:.2f}"


def share_of(probability: float) -> str:
    """A probability in percent, with a decimal near either end; never 0 or 100 where it is neither."""
    if 0.0 < probability < LEAST:
        return f"below {LEAST:.1%}"
    if 1.0 - LEAST < probability < 1.0:
        return f"over {1.0 - LEAST:.1%}"
    return f"{probability:.1%}" if probability < DETAIL or probability > 1.0 - DETAIL else f"{probability:.0%}"
