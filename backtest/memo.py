"""What makes a function a signal: computed once a market and set of arguments, read-only, and listed.

A signal is a pure function of (market, legs, arrays, parameters) and says at each bar's end what was known then. A leg that is left out is the market's only
one of its kind, and two ways to ask the same ("1D", "24h") are one question.

    @signal
    def basis(market: Market, future: Leg = THE_FUTURES, spot: Leg = THE_SPOT) -> Floats:
        ...
"""

import hashlib
import inspect
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import wraps
from types import UnionType
from typing import Any, Concatenate, ParamSpec, cast, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.errors import ParameterError
from backtest.market import Floats, Market, frozen
from backtest.rule import Duration, Leg, duration, number

Arguments = ParamSpec("Arguments")

# Defaults of a signal's legs: the market's own, found when the signal is asked for.
THE_SPOT = cast(Leg, "the market's spot")
THE_PERPETUAL = cast(Leg, "the market's perpetual")
THE_FUTURES = cast(Leg, "the market's dated futures")
_FINDERS: dict[Any, Callable[[Market], Leg]] = {
    THE_SPOT: lambda market: market.spot,
    THE_PERPETUAL: lambda market: market.perpetual,
    THE_FUTURES: lambda market: market.future_chain(),
}

ARRAYS = (np.ndarray, pd.Series, pd.DataFrame, list)
_WANTED: dict[Any, str] = {
    Leg: 'a leg, as market.future_chain() or market.leg("ETHUSDT-PERP")',
    Floats: "an array of numbers, one a bar",
    pd.Timedelta: 'a duration like "7D"',
    float: "a number",
    bool: "True or False",
    str: "a text",
}

SIGNALS: dict[str, Callable[..., Floats]] = {}  # every signal by its name


def signal(function: Callable[Concatenate[Market, Arguments], Floats]) -> Callable[Concatenate[Market, Arguments], Floats]:
    """Make a function of (market, …) a signal: its array read-only, the same one for the same question, and the function listed in `SIGNALS`.

    The function gets legs as found in the market (None and a default become the market's own; `min_days` and `nth` are the rule's and are dropped), durations as
    `pd.Timedelta`, and arrays (also Series) as read-only float64 with the bars as last axis. Read-only arrays are known by identity, others by content.
    Raises ParameterError for an argument of another kind than its parameter's annotation, and for an array that has not one value a bar.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def ask(market: Market, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Floats:
        bound = signature.bind(market, *args, **kwargs)
        bound.apply_defaults()
        key: list[Hashable] = [function]
        for name, given in list(bound.arguments.items())[1:]:
            meant = _meant(market, signature.parameters[name], given)
            key.append(_identity(given) if isinstance(meant, np.ndarray) else meant)
            bound.arguments[name] = meant
            if getattr(meant, "__hash__", None) is None and not isinstance(meant, np.ndarray):
                raise ParameterError(f"{name} can't be {meant!r}: it has no value of its own to be known by")
        # the arguments are kept beside the answer: an identity is an array's own only while the array lives
        return market.memo(tuple(key), lambda: (_closed(function(*bound.args, **bound.kwargs)), args, kwargs))[0]

    SIGNALS[function.__name__] = ask
    return ask


def found(market: Market, leg: Leg) -> Leg:
    """A leg, or what one of the defaults stands for in this market. Raises DataError if the market has none of it, or several."""
    return _FINDERS[leg](market) if isinstance(leg, str) else leg


def length(window: Duration) -> int:
    """A window in ns, as a signal gets it."""
    return pd.Timedelta(window).value


def _meant(market: Market, parameter: inspect.Parameter, given: Any) -> Any:
    """An argument in the one form that the function gets; ParameterError if it is of another kind than the parameter."""
    name, annotation = parameter.name, parameter.annotation
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    if given is None and type(None) in kinds:
        return None
    if Leg in kinds:
        return _leg(market, name, parameter.default if given is None else given)
    if isinstance(given, ARRAYS) and Floats in kinds:
        return _array(market, name, given)
    if given is not None and pd.Timedelta in kinds:
        return pd.Timedelta(cast(int, duration(name, given)))
    if given is not None and float in kinds:
        number(name, given)
        return given
    plain = tuple({bool, str} & set(kinds))
    if given is None or ((Floats in kinds or plain) and not isinstance(given, plain)):
        raise ParameterError(
            f"{name} must be {' or '.join(words for kind, words in _WANTED.items() if kind in kinds and not (kind is str and pd.Timedelta in kinds))}: {name}={given!r}"
        )
    return given


def _leg(market: Market, name: str, given: Any) -> Leg:
    """The leg that is meant, known by its contracts alone."""
    if not (isinstance(given, Leg) or (isinstance(given, str) and given in _FINDERS)):
        raise ParameterError(f"{name} must be {_WANTED[Leg]}: {name}={given!r}")
    return replace(found(market, cast(Leg, given)), min_days=0.0, nth=1)


def _array(market: Market, name: str, given: Any) -> Floats:
    """The array as it is if it is read-only, else a copy; a table [clock, contract] is turned. ParameterError if it hasn't one number a bar."""
    if isinstance(given, pd.Series | pd.DataFrame) and not given.index.equals(market.clock):
        raise ParameterError(
            f"{name} must be on the market's clock: it has another index; give .reindex(market.clock), knowing what was known when"
        )
    values = np.asarray(given).T if isinstance(given, pd.DataFrame) else np.asarray(given)
    if values.dtype.kind not in "fiub":
        raise ParameterError(f"{name} must be {_WANTED[Floats]}: it holds {values.dtype}")
    if values.ndim not in (1, 2) or values.shape[-1] != len(market) or values.size == 0:
        raise ParameterError(
            f"{name} must have one value a bar, or a row of them a contract: its shape is {values.shape}, the market has {len(market)} bars"
        )
    return cast(Floats, values) if values.dtype == np.float64 and _is_closed(values) else frozen(values)


def _identity(given: Any) -> Hashable:
    """What tells an array from others: itself if nobody can write into it, else its content."""
    values = np.asarray(given)
    return id(values) if _is_closed(values) else (values.shape, hashlib.blake2b(values.tobytes()).digest())


def _is_closed(values: npt.NDArray[Any]) -> bool:
    """Whether nobody can write into an array: read-only, contiguous, and its own."""
    return not values.flags.writeable and values.flags.owndata and values.flags.c_contiguous


def _closed(values: Floats) -> Floats:
    """The array closed to writing; a copy of it if it is a view."""
    if not _is_closed(values):
        if not (values.flags.owndata and values.flags.c_contiguous and values.dtype == np.float64):
            return frozen(values)
        values.flags.writeable = False
    return values
