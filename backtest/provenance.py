"""How a run is made again: the lines of Python that a report ends with.

    market = bt.load_market("data/sample", start="2023-01-01")
    result = bt.run(FundingCarry(enter=0.1), market, leverage=3)

Only what is not at its default is named; arrays and tables are written as `…`.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any

from backtest.book import Book
from backtest.execution import Execution
from backtest.market import Market
from backtest.rule import Rule
from backtest.strategy import Narrowed

CAPITAL = 100_000.0  # of `bt.run`, where none is given
UNTOLD = "…"  # of what is no plain value


class Typed(str):
    """A text that is shown as it is, within a tuple or a list too."""

    __slots__ = ()
    __repr__ = str.__str__


def lines(made: Any, market: Market, *, capital: float, execution: Execution, changes: Mapping[str, Any]) -> str:
    """The two lines that load the market and run a strategy, a rule or a book on it."""
    asked = [told(made), "market"]
    asked += [f"capital={capital:g}"] if capital != CAPITAL else []
    asked += [f"execution={told(execution)}"] if chosen(execution) else []
    asked += [f"{name}={told(value)}" for name, value in changes.items()]
    return f"market = {market.made_by}\nresult = bt.run({', '.join(asked)})"


def told(value: Any) -> str:
    """A setting as one types it; `…` for what can't be typed."""
    if isinstance(value, Narrowed):
        return f"bt.on({told(value.inner)}, {', '.join(map(repr, value.patterns))})"
    if isinstance(value, Book):
        rules = ", ".join(f"{label!r}: {told(one)}" for label, one in value.strategies.items())
        limits = {"exposure": value.exposure, "drawdown": value.drawdown, "pause": value.pause}
        more = "".join(f", {name}={told(limit)}" for name, limit in limits.items() if limit is not None)
        return f"bt.Book({{{rules}}}, shares={told(value.shares)}{more})"
    if isinstance(value, Rule):
        return f"bt.Rule({UNTOLD})"
    if is_dataclass(value) and not isinstance(value, type):
        name = f"bt.{type(value).__name__}" if type(value).__module__.startswith("backtest") else type(value).__name__
        return f"{name}({', '.join(f'{key}={told(one)}' for key, one in chosen(value).items())})"
    if isinstance(value, Enum):
        return repr(value.value)
    if isinstance(value, tuple | list):
        return str(type(value)(Typed(told(one)) for one in value))
    return repr(value) if value is None or isinstance(value, str | bool | int | float) else UNTOLD


def chosen(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not at their defaults."""
    return {item.name: given for item in fields(value) if not same(given := getattr(value, item.name), item)}


def same(value: Any, item: Any) -> bool:
    """Whether a field is at its default."""
    default = item.default_factory() if item.default_factory is not MISSING else item.default
    return value is default or (type(value) is type(default) and isinstance(value, str | int | float | tuple) and bool(value == default))
