"""Answers the questions of an overview: each at one bar and 1, 7 and 30 days before, with its percentile and, for states, its word.

What the data can't give stays unknown, and the signal's own words say why.

    readings, refusals = answers(scope)
"""

import numpy as np

from backtest.errors import DataError
from backtest.market import DAY, Floats, Market
from backtest.overview.questions import QUESTIONS, Question, hours
from backtest.overview.scope import Scope
from backtest.overview.view import Reading, state_name
from backtest.signals.extremes import FEWEST

RANKED_DAYS, RANKED_FROM = 365, 30  # days that a percentile looks back at most, and has to know at least


def answers(scope: Scope) -> tuple[tuple[Reading, ...], dict[str, list[str]]]:
    """All readings, and why some are unknown altogether: the sentence of each refusal with the labels that it concerns."""
    readings, refusals = [], dict[str, list[str]]()
    for question in (*QUESTIONS, *map(hours, scope.venues())):
        try:
            readings.append(_answer(scope, question))
        except DataError as error:
            readings.append(Reading(question.name, question.label, question.unit, np.nan, meaning=question.meaning))
            refusals.setdefault(str(error), []).append(question.label)
    return tuple(readings), refusals


def _answer(scope: Scope, question: Question) -> Reading:
    values = question.ask(scope)
    places = scope.places()
    now, *before = (_at(values, place) for place in places)
    words = [_word(scope, question, value, place) for value, place in zip((now, *before), places, strict=True)]
    meaning = question.meanings.get(int(now), question.meaning) if question.states and not np.isnan(now) else question.meaning
    ranked = np.nan if question.states or (values.ndim > 1 and len(values) > 1) else rank(scope.market, values.reshape(-1), scope.bar)
    return Reading(question.name, question.label, question.unit, now, tuple(before), ranked, words[0], tuple(words[1:]), meaning)


def _at(values: Floats, place: int) -> float:
    """The value at a bar; of several contracts the mean of those that are known."""
    if place < 0:
        return np.nan
    known = np.atleast_1d(values[..., place])
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else np.nan


def _word(scope: Scope, question: Question, value: float, place: int) -> str:
    if np.isnan(value):
        return ""
    if question.states is not None:
        return state_name(question.states(int(value)))
    return "" if question.words is None else question.words(scope, place)


def rank(market: Market, values: Floats, bar: int) -> float:
    """What `percentile(market, values, "365D", "30D")` says at one bar, without asking all the others."""
    first, now = int(np.argmax(~np.isnan(values))), values[bar]
    if np.isnan(now) or market.stamps[bar] - market.opens[first] < RANKED_FROM * DAY:
        return np.nan
    begin = np.searchsorted(market.stamps, market.stamps[bar] - RANKED_DAYS * DAY, side="right")
    known = values[begin : bar + 1]
    known = known[~np.isnan(known)]
    less, equal = np.count_nonzero(known < now), np.count_nonzero(known == now)
    return float((less + 0.5 * (equal + 1)) / len(known)) if len(known) >= FEWEST else np.nan
