"""How a run is made again: the lines of Python that a report ends with.

    market = bt.load_market("data/sample", start="2023-01-01")
    result = bt.run(FundingCarry(enter=0.1), market, leverage=3)

Only what is not at its default is named. Run with `bt` and the classes of the strategies at hand, they make the same equity to the last bit. What can't be typed
(an array, a market that a scenario altered) is `…`, which Python refuses, and a last line says so.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd

from backtest.book import Book
from backtest.errors import CarryError
from backtest.execution import Execution
from backtest.market import UNTOLD, Market, quoted
from backtest.rule import Leg
from backtest.strategy import Narrowed

CAPITAL = 100_000.0  # of `bt.run`, where none is given
MISSES = f"# {UNTOLD} stands for what can't be typed: arrays, or a market that was not loaded as it is; give your own there"


class Typed(str):
    """A text that is shown as it is, within a list too."""

    __slots__ = ()
    __repr__ = str.__str__


def lines(made: Any, market: Market, *, capital: float, execution: Execution, changes: Mapping[str, Any]) -> str:
    """The lines that load the market and run a strategy, a rule or a book on it: two, one more in front where they need pandas, one more behind where something is `…`."""
    asked = [told(made, market), "market"]
    asked += [f"capital={amount(capital)}"] if capital != CAPITAL else []
    asked += [f"execution={told(execution, market)}"] if chosen(execution, market) else []
    asked += [f"{name}={told(value, market)}" for name, value in changes.items()]
    out = [f"market = {market.made_by}", f"result = bt.run({', '.join(asked)})"]
    if "pd.Time" in out[1]:
        out.insert(0, "import pandas as pd")
    return "\n".join([*out, MISSES] if any(UNTOLD in line for line in out) else out)


def amount(value: float) -> str:
    """A sum of money as one types it: 1_000_000."""
    return f"{int(value):_}" if float(value).is_integer() else repr(float(value))


def told(value: Any, market: Market) -> str:
    """A setting as one types it; `…` for what can't be typed. Legs are asked of the market."""
    if isinstance(value, Narrowed):
        inside = UNTOLD if value.filters or value.sizers else told(value.inner, market)  # what was put around it afterwards has no words
        return f"bt.on({inside}, {', '.join(map(quoted, value.patterns))})"
    if isinstance(value, Book):
        return told_book(value, market)
    if isinstance(value, Leg):
        return told_leg(value, market)
    if is_dataclass(value) and not isinstance(value, type):
        settings = ", ".join(f"{name}={told(one, market)}" for name, one in chosen(value, market).items())
        return f"{'bt.' if is_ours(value) else ''}{type(value).__name__}({settings})"
    if isinstance(value, Enum):
        return told_member(value)
    if type(value) in (tuple, list, set, frozenset):
        return repr(type(value)(Typed(told(one, market)) for one in value))
    if type(value) is dict:
        return f"{{{', '.join(f'{told(key, market)}: {told(one, market)}' for key, one in value.items())}}}"
    return told_plain(value)


def told_plain(value: Any) -> str:
    """A number, a text, a truth or a time."""
    if isinstance(value, np.float64 | np.integer | np.bool_):
        value = value.item()
    if isinstance(value, pd.Timestamp | pd.Timedelta):
        return f"pd.{type(value).__name__}({quoted(str(value))})"
    if type(value) is str:
        return quoted(value)
    if type(value) is float and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value) if value is None or type(value) in (bool, int, float) else UNTOLD


def told_member(value: Enum) -> str:
    """A choice: the text that it is where it is one of the package's, as settings take it, else its name in its class."""
    if is_ours(value) and isinstance(value, str):
        return quoted(str(value.value))
    name = str(value.name)
    return f"{'bt.' if is_ours(value) else ''}{type(value).__name__}.{name}" if name.isidentifier() else UNTOLD


def is_ours(value: object) -> bool:
    """Whether the package defines what a value is."""
    return type(value).__module__.partition(".")[0] == __name__.partition(".")[0]


def told_leg(leg: Leg, market: Market) -> str:
    """A leg as one asks the market for it."""
    if not leg.chain:
        return f"market.leg({quoted(leg.contracts[0])})" if known(market, leg) else UNTOLD
    first = market.instruments.get(leg.contracts[0])
    usual = {"min_days": 0.0, "nth": 1}
    asked = {name: getattr(leg, name) for name, value in usual.items() if getattr(leg, name) != value}
    for more in ((), ("base",), ("base", "venue"), ("base", "venue", "quote")):
        choice: dict[str, Any] = asked | {name: getattr(first, name, None) for name in more}
        try:
            found = market.future_chain(**choice)
        except CarryError:
            continue
        if found == leg:
            return f"market.future_chain({', '.join(f'{name}={told_plain(value)}' for name, value in choice.items())})"
    return UNTOLD


def known(market: Market, leg: Leg) -> bool:
    """Whether a leg of one instrument is the market's own."""
    name = leg.contracts[0]
    return name in market.instruments and leg == market.leg(name)


def told_book(book: Book, market: Market) -> str:
    """A book with its shares, unless these are equal parts, and its limits."""
    rules = ", ".join(f"{quoted(label)}: {told(one, market)}" for label, one in book.strategies.items())
    equal = book.shares == (1.0 / len(book.shares),) * len(book.shares)
    limits = {"shares": None if equal else book.shares, "exposure": book.exposure, "drawdown": book.drawdown, "pause": book.pause}
    more = "".join(f", {name}={told(limit, market)}" for name, limit in limits.items() if limit is not None)
    return f"bt.Book({{{rules}}}{more})"


def chosen(value: Any, market: Market) -> dict[str, Any]:
    """The fields of a dataclass that one gives and that are not at their defaults."""
    settable = {item.name: item for item in fields(value) if item.init}
    return {name: given for name, item in settable.items() if not same(given := getattr(value, name), item, market)}


def same(value: Any, item: Any, market: Market) -> bool:
    """Whether a field is at its default: typed alike, so that 1 is not 1.0 and −0.0 is not 0.0."""
    default = item.default_factory() if item.default_factory is not MISSING else item.default
    if value is default:
        return True
    text = told(value, market) if type(value) is type(default) else UNTOLD
    return UNTOLD not in text and text == told(default, market)
