"""A book: several strategies or rules on one capital, with one margin and limits in total. What that means to the cent stands in `semantics.md`, "Books".

book = bt.Book({"near": CashAndCarry(), "perpetual": FundingCarry()}, shares=(0.6, 0.3), exposure=1.5)
result = bt.run(book, market)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from backtest.errors import ParameterError
from backtest.rule import MOST, Duration, Rule, duration, number, shown
from backtest.strategy import Strategy, label_of

Shares: TypeAlias = Sequence[float] | Mapping[str, float] | np.ndarray[Any, Any] | pd.Series
RESERVED = ("reserve",)  # a row of its own beside the rules


@dataclass(frozen=True, init=False, repr=False)
class Book:
    """Strategies or rules by their labels, in the order in which they decide.

    strategies: a list, labelled by their classes (" 2", " 3" … behind a name that is taken), or a mapping from labels. shares: of the capital, one each,
    in their order or by label (default: equal parts); what they leave of 1 is a reserve that earns interest and backs cross margin, what they exceed it by is owed. exposure: what an entry or a
    resize may bring the notional of all rules to, in units of the book's equity; what has grown beyond it stays. drawdown: fraction of the book's peak at which all is left; pause: how long (default: for good).
    Raises ParameterError.
    """

    strategies: Mapping[str, Strategy | Rule]
    shares: tuple[float, ...]
    exposure: float | None
    drawdown: float | None
    pause: Duration | None

    def __init__(
        self,
        strategies: Sequence[Strategy | Rule] | Mapping[str, Strategy | Rule],
        *,
        shares: Shares | None = None,
        exposure: float | None = None,
        drawdown: float | None = None,
        pause: Duration | None = None,
    ) -> None:
        labelled = dict(strategies) if isinstance(strategies, Mapping) else labels_of(strategies)
        check_strategies(labelled)
        number("exposure", exposure, above=0.0)
        number("drawdown", drawdown, above=0.0)
        if drawdown is not None and drawdown >= 1.0:
            raise ParameterError(f"drawdown is a fraction of the peak: drawdown={drawdown:g} must be below 1; a fifth is 0.2")
        duration("pause", pause)
        if pause is not None and drawdown is None:
            raise ParameterError(f"pause needs a drawdown to follow: pause={pause!r}, drawdown=None; give drawdown=…, or leave pause out")
        values = {
            "strategies": MappingProxyType(labelled),
            "shares": shares_of(shares, list(labelled)),
            "exposure": exposure,
            "drawdown": drawdown,
            "pause": pause,
        }
        self.__setstate__(values)

    def __repr__(self) -> str:
        return f"<Book of {', '.join(self.strategies)}>"

    def __eq__(self, other: object) -> bool:
        """Alike in all, the order included: it says who decides first."""
        return self._parts() == other._parts() if isinstance(other, Book) else NotImplemented

    def __hash__(self) -> int:
        """By labels and limits: a rule may hold arrays, which have no hash."""
        return hash((tuple(self.strategies), *self._parts()[1:]))

    def __getstate__(self) -> dict[str, Any]:
        """The fields, with a dict in place of the view of one, which can't be pickled."""
        return self.__dict__ | {"strategies": dict(self.strategies)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in (state | {"strategies": MappingProxyType(dict(state["strategies"]))}).items():
            object.__setattr__(self, name, value)

    def _parts(self) -> tuple[object, ...]:
        return list(self.strategies.items()), self.shares, self.exposure, self.drawdown, self.pause


def named(value: object) -> str:
    """What a user gave, in a message: an object by its type, as its own text may be a whole table."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, str):
        return f'the text "{shown(value)}"'
    if value is None or isinstance(value, bool | int | float | list | tuple | Mapping):
        return shown(value)
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def labels_of(strategies: Sequence[Strategy | Rule]) -> dict[str, Strategy | Rule]:
    """Strategies by the names of their classes, numbered where several are alike."""
    if not isinstance(strategies, Sequence) or isinstance(strategies, str):
        raise ParameterError(
            f"a book is a list or mapping of strategies: it got {named(strategies)}; give bt.Book([CashAndCarry(), FundingCarry()])"
        )
    out: dict[str, Strategy | Rule] = {}
    for place, strategy in enumerate(strategies, start=1):
        check_strategy(f"number {place}", strategy)
        name, count = label_of(strategy), 2
        label = name
        while label in out:
            label, count = f"{name} {count}", count + 1
        out[label] = strategy
    return out


def check_strategies(labelled: Mapping[str, Strategy | Rule]) -> None:
    """ParameterError for a book of nothing, for what is no strategy, and for a label that would be lost in a table."""
    if not labelled:
        raise ParameterError("a book needs strategies: it has none; give bt.Book([CashAndCarry(), FundingCarry()])")
    for label, strategy in labelled.items():
        if not isinstance(label, str) or not label.strip() or not label.isprintable():
            raise ParameterError(f"a label is a text on one line: {shown(repr(label))}; give bt.Book({{'near': CashAndCarry()}})")
        if label in RESERVED:
            raise ParameterError(f'the label "{label}" is that of what the shares leave of the capital; choose another')
        check_strategy(f'"{shown(label)}"', strategy)


def check_strategy(place: str, strategy: object) -> None:
    """ParameterError unless it is a strategy or a rule."""
    if not isinstance(strategy, Strategy | Rule):
        hint = f"give {strategy.__name__}()" if isinstance(strategy, type) else "give one, as CashAndCarry() or bt.Rule(…)"
        raise ParameterError(f"a book is of strategies and rules: {place} is {named(strategy)}; {hint}")


def shares_of(shares: Shares | None, labels: Sequence[str]) -> tuple[float, ...]:
    """The shares of the capital in the order of the strategies; equal parts of 1 without any."""
    if shares is None:
        return (1.0 / len(labels),) * len(labels)
    if isinstance(shares, pd.Series) and any(isinstance(label, str) for label in shares.index):
        shares = {str(label): share for label, share in shares.items()}
    if isinstance(shares, pd.Series):
        shares = shares.to_numpy()
    if isinstance(shares, np.ndarray):
        shares = shares.tolist()
    if isinstance(shares, Mapping):
        missing, unknown = [one for one in labels if one not in shares], [str(one) for one in shares if one not in labels]
        if missing or unknown:
            wrong = f'"{missing[0]}" has none' if missing else f'the book has no "{unknown[0]}"'
            raise ParameterError(f"shares by label are one for each strategy: {wrong}; the labels are {', '.join(labels)}")
        shares = [shares[label] for label in labels]
    if isinstance(shares, str) or not isinstance(shares, Sequence) or len(shares) != len(labels):
        raise ParameterError(
            f"shares are one number for each of the {len(labels)} strategies: shares={shown(shares)}; give as many, or leave them out"
        )
    for share in shares:
        if share is None:
            raise ParameterError(f"shares are numbers: shares={shown(shares)}; leave them out for equal parts")
        number("a share", share, above=0.0, most=MOST)
    return tuple(float(share) for share in shares)
