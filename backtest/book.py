"""A book: several strategies or rules on one capital, with one margin and limits in total. What that means to the cent stands in `semantics.md`, "Books".

book = bt.Book({"near": CashAndCarry(), "perpetual": FundingCarry()}, shares=(0.6, 0.3), exposure=1.5)
result = bt.run(book, market)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backtest.errors import ParameterError
from backtest.rule import MOST, Duration, Rule, duration, number, shown
from backtest.strategy import Strategy, label_of


@dataclass(frozen=True, init=False, repr=False)
class Book:
    """Strategies or rules by their labels, in the order in which they decide.

    strategies: a list, labelled by their classes (" 2", " 3" … behind a name that is taken), or a mapping from labels. shares: of the capital, one each
    (default: equal parts); what they leave of 1 is a reserve that earns interest and backs cross margin, what they exceed it by is owed. exposure: what an entry or a
    resize may bring the notional of all rules to, in units of the book's equity; what has grown beyond it stays. drawdown: fraction of the book's peak at which all is left; pause: how long (default: for good).
    Raises ParameterError.
    """

    strategies: dict[str, Strategy | Rule]
    shares: tuple[float, ...]
    exposure: float | None
    drawdown: float | None
    pause: Duration | None

    def __init__(
        self,
        strategies: Sequence[Strategy | Rule] | Mapping[str, Strategy | Rule],
        *,
        shares: Sequence[float] | None = None,
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
            "strategies": labelled,
            "shares": shares_of(shares, len(labelled)),
            "exposure": exposure,
            "drawdown": drawdown,
            "pause": pause,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"<Book of {', '.join(self.strategies)}>"


def labels_of(strategies: Sequence[Strategy | Rule]) -> dict[str, Strategy | Rule]:
    """Strategies by the names of their classes, numbered where several are alike."""
    if not isinstance(strategies, Sequence) or isinstance(strategies, str):
        raise ParameterError(
            f"a book is a list or mapping of strategies: it got {shown(strategies)}; give bt.Book([CashAndCarry(), FundingCarry()])"
        )
    out: dict[str, Strategy | Rule] = {}
    for strategy in strategies:
        name, count = label_of(strategy), 2
        label = name
        while label in out:
            label, count = f"{name} {count}", count + 1
        out[label] = strategy
    return out


def check_strategies(labelled: Mapping[str, Strategy | Rule]) -> None:
    """ParameterError for a book of nothing, and for what is no strategy."""
    if not labelled:
        raise ParameterError("a book needs strategies: it has none; give bt.Book([CashAndCarry(), FundingCarry()])")
    for label, strategy in labelled.items():
        if not isinstance(label, str) or not label:
            raise ParameterError(f"a label is a text: {shown(repr(label))}; give bt.Book({{'near': CashAndCarry()}})")
        if not isinstance(strategy, Strategy | Rule):
            hint = f"give {strategy.__name__}()" if isinstance(strategy, type) else "give one, as CashAndCarry() or bt.Rule(…)"
            raise ParameterError(f"a book is of strategies and rules: {label} is {shown(strategy)}; {hint}")


def shares_of(shares: Sequence[float] | None, count: int) -> tuple[float, ...]:
    """The shares of the capital, one a strategy; equal parts of 1 without any."""
    if shares is None:
        return (1.0 / count,) * count
    if isinstance(shares, str) or not isinstance(shares, Sequence) or len(shares) != count:
        raise ParameterError(
            f"shares are one number for each of the {count} strategies: shares={shown(shares)}; give as many, or leave them out"
        )
    for share in shares:
        if share is None:
            raise ParameterError(f"shares are numbers: shares={shown(shares)}; leave them out for equal parts")
        number("a share", share, above=0.0, most=MOST)
    return tuple(float(share) for share in shares)
