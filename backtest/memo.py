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
from typing import Any, Concatenate, ParamSpec, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.errors import ParameterError
from backtest.market import Floats, Market, frozen
from backtest.rule import Duration, Leg, duration

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

SIGNALS: dict[str, Callable[..., Floats]] = {}  # every signal by its name


def signal(function: Callable[Concatenate[Market, Arguments], Floats]) -> Callable[Concatenate[Market, Arguments], Floats]:
    """Make a function of (market, …) a signal: its array read-only, the same one for the same question, and the function listed in `SIGNALS`.

    The function gets legs as found in the market (None and a default become the market's own; `min_days` is the rule's and is dropped), durations as
    `pd.Timedelta`, and arrays (also Series) as read-only float64 with the bars as last axis. Read-only arrays are known by identity, others by content.
    Raises ParameterError for an array that has not one value a bar, or a duration that is none.
    """
    signature = inspect.signature(function)
    legs = {name: item.default for name, item in signature.parameters.items() if item.annotation == Leg}
    durations = {name for name, item in signature.parameters.items() if item.annotation in (Duration, Duration | None)}
    demanded = {name for name in durations if signature.parameters[name].annotation == Duration}

    @wraps(function)
    def ask(market: Market, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Floats:
        bound = signature.bind(market, *args, **kwargs)
        bound.apply_defaults()
        key: list[Hashable] = [function]
        for name, value in list(bound.arguments.items())[1:]:
            if name in legs:
                value = replace(found(market, legs[name] if value is None else value), min_days=0.0)
            elif name in durations:
                value = _length(name, value, name in demanded)
            elif isinstance(value, np.ndarray | pd.Series | list):
                key.append(_identity(np.asarray(value)))
                value = _array(market, name, value)
            bound.arguments[name] = value
            key.append(None if isinstance(value, np.ndarray) else value)
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


def _length(name: str, given: Duration | None, demanded: bool) -> pd.Timedelta | None:
    nanoseconds = duration(name, given)
    if nanoseconds is None:
        if demanded:
            raise ParameterError(f'{name} must be a duration like "7D": {name}=None')
        return None
    return pd.Timedelta(nanoseconds)


def _array(market: Market, name: str, given: npt.NDArray[Any] | pd.Series | list[Any]) -> Floats:
    """The array as it is if it is read-only, else a copy; ParameterError if it doesn't have one value a bar."""
    if isinstance(given, pd.Series) and not given.index.equals(market.clock):
        raise ParameterError(
            f"{name} must be on the market's clock: it is a Series with another index; give .reindex(market.clock), knowing what was known when"
        )
    values = np.asarray(given)
    if values.ndim not in (1, 2) or values.shape[-1] != len(market):
        raise ParameterError(
            f"{name} must have one value a bar, or a row of them a contract: its shape is {values.shape}, the market has {len(market)} bars"
        )
    return cast(Floats, values) if values.dtype == np.float64 and _is_closed(values) else frozen(values)


def _identity(values: npt.NDArray[Any]) -> Hashable:
    """What tells an array from others: itself if nobody can write into it, else its content."""
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
