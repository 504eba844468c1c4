"""Strategies: a frozen dataclass of parameters with one method, and the command line that comes with it.

@dataclass(frozen=True, kw_only=True)
class AlwaysOn(bt.Strategy):
    \"\"\"Hold spot against the perpetual, whatever it pays.\"\"\"

    def rule(self, market: bt.Market) -> bt.Rule:
        return bt.Rule(long=market.spot, short=market.perpetual)

if __name__ == "__main__":
    bt.main(AlwaysOn)
"""

import argparse
import re
import shlex
import sys
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from backtest.errors import DataError, ParameterError, did_you_mean, user_errors
from backtest.execution import Execution
from backtest.filters import FILTERS, SIZERS, Bools, Filter, Filters, Sizers, closed, filtered, filters_of, listed, sizers_of
from backtest.flags import VALUES, Parser, add_loading, add_sweeping, exits, filled, help_text, kinds_of, metavar, parse_value
from backtest.load import load_market
from backtest.market import Market
from backtest.rule import Rule, Sides, param, settings, shown
from backtest.terminal import waiting

SAMPLE = "data/sample"
COMPOSED = {"filters": filters_of, "sizers": sizers_of}  # the fields that every strategy has


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """Base of all strategies. Subclasses are frozen, keyword-only dataclasses whose fields are made by `bt.param`.

    Every strategy takes filters and sizers, one or several, as objects or as texts: FundingCarry(filters=[bt.RegimeFilter(),
    "funding=1h"]).
    """

    filters: Filters = param((), "enter only where all of these allow")
    sizers: Sizers = param((), "multiply the size of an entry by all of these")

    def __new__(cls, *values: Any, **parameters: Any) -> "Strategy":
        """Refuse what the dataclass would refuse in its own words: an unknown parameter, one without a value, one without its name."""
        known = {item.name: item for item in fields(cls)}
        if values:
            raise ParameterError(
                f"{cls.__name__} takes its parameters by name: it got {shown(values[0])}; known: {', '.join(sorted(known))}"
            )
        for name in parameters:
            if name not in known:
                raise ParameterError(f'unknown parameter "{name}" of {cls.__name__}; {did_you_mean(name, list(known))}')
        for name, meant in COMPOSED.items():
            if known[name] is not Strategy.__dataclass_fields__[name]:
                check_composed(cls, known[name], meant)
        for name, item in known.items():
            if item.init and item.default is MISSING and item.default_factory is MISSING and name not in parameters:
                raise ParameterError(
                    f'{cls.__name__} needs a value for "{name}", which has no default: give {cls.__name__}({name}=…), or a default in its class by bt.param'
                )
        return super().__new__(cls)

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]:
        return (), {item.name: getattr(self, item.name) for item in fields(self) if item.init}  # a copy is made as the strategy was

    def __post_init__(self) -> None:
        for name, meant in COMPOSED.items():
            object.__setattr__(self, name, meant(getattr(self, name)))

    def rule(self, market: Market) -> Rule:
        """The trade on this market, without filters and sizers. It may read anything of the market: the engine decides with what each bar's end knows."""
        raise NotImplementedError(f"{type(self).__name__} must define rule(market)")


def check_composed(kind: type[Strategy], item: "Field[Any]", meant: Callable[[object], object]) -> None:
    """ParameterError for a strategy's own field that is called as the filters or sizers and holds something else."""
    try:
        meant(None if item.default is MISSING and item.default_factory is MISSING else default_of(item))
    except ParameterError:
        raise ParameterError(
            f'parameter "{item.name}" of {kind.__name__} is called as one that every strategy has; give it another name'
        ) from None


def default_of(item: "Field[Any]") -> Any:
    """What a field is if nothing is given."""
    return item.default if item.default_factory is MISSING else item.default_factory()


@dataclass(frozen=True, kw_only=True)
class Narrowed(Strategy):
    """A strategy that sees some instruments of the market only. Made by `on`."""

    inner: Strategy
    patterns: tuple[str, ...]

    def rule(self, market: Market) -> Rule:
        """The inner strategy's, filtered and sized by what it sees."""
        return rule_of(self.inner, market.only(*self.patterns))


def on(strategy: Strategy, *patterns: str) -> Strategy:
    """The strategy on some instruments of a market only, by id or pattern, so that one market has room for several underlyings.

    book = [bt.on(CashAndCarry(), "BTC*"), bt.on(CashAndCarry(), "ETH*")]

    Its filters and sizers see these instruments only, too; series and events are the market's. Raises ParameterError for what is no
    strategy and without a pattern; the run raises DataError where the market has nothing of the kind.
    """
    if not isinstance(strategy, Strategy):
        remedy = f"give {strategy.__name__}()" if isinstance(strategy, type) else "give one, as CashAndCarry(); a rule has its legs already"
        raise ParameterError(f"on narrows a strategy: it got {shown(strategy)}; {remedy}")
    for pattern in patterns:
        if not isinstance(pattern, str) or not pattern:
            raise ParameterError(
                f'on takes ids or patterns as texts: it got {shown(repr(pattern))}; give them one by one, as on(strategy, "BTC*")'
            )
    if not patterns:
        raise ParameterError('on needs instruments: it got none; give ids or patterns, as on(strategy, "BTC*")')
    if not isinstance(strategy, Narrowed) and "on" in parameters_of(strategy):
        raise ParameterError(
            f'parameter "on" of {type(strategy).__name__} is called as what bt.on adds to the parameters; give it another name'
        )
    return Narrowed(inner=strategy, patterns=patterns)


def rule_of(strategy: Strategy | Rule, market: Market, **changes: Any) -> Rule:
    """What a strategy trades on a market: its rule with these fields changed, then filtered and sized. A bare rule is only changed."""
    if isinstance(strategy, Rule):
        return replace(strategy, **changes)
    rule, market = unfiltered(strategy, market, **changes)
    return filtered(rule, market, filters_of(strategy.filters), sizers_of(strategy.sizers))


def unfiltered(strategy: Strategy, market: Market, **changes: Any) -> tuple[Rule, Market]:
    """A strategy's rule before its own filters and sizers, and the market that it sees. ParameterError for what is no rule."""
    if isinstance(strategy, Narrowed):
        market = market.only(*strategy.patterns)
        return rule_of(strategy.inner, market, **changes), market
    if type(strategy).rule is Strategy.rule:
        raise ParameterError(f"{type(strategy).__name__} must define rule(market): it has no such method; write one that returns a bt.Rule")
    rule: object = strategy.rule(market)
    if isinstance(rule, Rule):
        return (replace(rule, **changes) if changes else rule), market
    name = type(strategy).__name__
    if isinstance(rule, list | tuple | Mapping):
        remedy = "several rules are a book: give bt.run one strategy for each of them"
    elif isinstance(rule, Strategy):
        remedy = f"end it with return {type(rule).__name__}(…).rule(market)"
    else:
        remedy = "end it with return bt.Rule(…)"
    raise ParameterError(f"{name}.rule must return a bt.Rule: it returned {shown(rule)}; {remedy}")


def kept_out_by(strategy: Strategy | Rule, market: Market, sides: Sides, offered: Bools, /, **changes: Any) -> str | None:
    """Which of a strategy's filters allow no entry at any of the bars at which a contract is offered, in words; None if they allow some."""
    if isinstance(strategy, Rule):
        return None
    if isinstance(strategy, Narrowed):
        inner = kept_out_by(strategy.inner, market.only(*strategy.patterns), sides, offered, **changes)
        if inner is not None:
            return inner
    if not (filters := filters_of(strategy.filters)):
        return None
    rule, seen = unfiltered(strategy, market, **changes)
    return closed(rule, seen, filters, sides, offered)


def all_filters(strategy: Strategy | Rule) -> tuple[Filter, ...]:
    """The filters of a strategy; of a narrowed one those of the inner strategy too."""
    if isinstance(strategy, Rule):
        return ()
    return (*(all_filters(strategy.inner) if isinstance(strategy, Narrowed) else ()), *filters_of(strategy.filters))


def check_market(market: object, what: str) -> None:
    """ParameterError for what is no market. what: who needs it, as "a run"."""
    if not isinstance(market, Market):
        raise ParameterError(f"{what} needs a market: it got {shown(market)}; give bt.load_market(…)")


def check_changes(changes: Mapping[str, Any]) -> None:
    """ParameterError for a change of what is no field of a rule, with the nearest."""
    known = [item.name for item in fields(Rule)]
    for name in changes:
        if name not in known:
            raise ParameterError(f'unknown parameter "{name}": {shown(changes[name])}; {did_you_mean(name, known)}')


def with_parameters(strategy: Strategy, **parameters: Any) -> Strategy:
    """A strategy with other parameters; of a narrowed one they are the inner strategy's."""
    if isinstance(strategy, Narrowed):
        return replace(strategy, inner=with_parameters(strategy.inner, **parameters))
    return replace(strategy, **parameters)


def parameters_of(strategy: Strategy | type[Strategy]) -> list[str]:
    """The names of a strategy's parameters; of a narrowed one those of the inner strategy."""
    return parameters_of(strategy.inner) if isinstance(strategy, Narrowed) else [item.name for item in fields(strategy)]


def label_of(strategy: Strategy | Rule) -> str:
    """The name of a strategy in tables and books: its class, and the instruments that it is narrowed to."""
    if isinstance(strategy, Narrowed):
        return f"{label_of(strategy.inner)} on {' '.join(strategy.patterns)}"
    return type(strategy).__name__


def params_of(strategy: Strategy | Rule) -> dict[str, Any]:
    """The parameters of a strategy for reports: filters and sizers as texts, and only if it has any. None of a bare rule."""
    if isinstance(strategy, Rule) or not is_dataclass(strategy):
        return {}
    composed = {name: tuple(map(str, meant(getattr(strategy, name)))) for name, meant in COMPOSED.items()}
    own = {name: value for name, value in settings(strategy).items() if name not in COMPOSED}
    if isinstance(strategy, Narrowed):
        own = params_of(strategy.inner) | {"on": strategy.patterns}
    return own | {name: texts for name, texts in composed.items() if texts}


def parse_words(words: Sequence[str] | str, kinds: tuple[Any, ...], name: str) -> Any:
    """The words of a flag: of one its value, of several a list, or a range of numbers. Raises as `parse_value`."""
    if isinstance(words, str):
        return parse_value(words, kinds, name)
    if len(words) == 1 and ".." not in words[0]:
        return parse_value(words[0], kinds, name)
    from backtest.script import parse_several

    return parse_several(words, kinds, name)


def add_fields(group: argparse._ArgumentGroup, owner: type, taken: set[str], *, nargs: str | None = None) -> None:
    """A flag for every field that has a help text and whose name is free. nargs: "+" where it takes several values."""
    hints = typing.get_type_hints(owner)
    for item in fields(owner):
        if "help" in item.metadata and item.name not in taken and item.name not in COMPOSED:
            taken.add(item.name)
            group.add_argument(
                f"--{item.name.replace('_', '-')}",
                dest=item.name,
                nargs=nargs,
                default=argparse.SUPPRESS,
                metavar=metavar(kinds_of(hints[item.name])),
                help=help_text(item),
            )


def values_of(found: argparse.Namespace, owner: type, *, own: Collection[str] = ()) -> dict[str, Any]:
    """The given flags that are fields of `owner`, parsed by the fields' types. own: names that are the strategy's own and not meant."""
    hints = typing.get_type_hints(owner)
    return {
        item.name: getattr(found, item.name)
        if item.name in COMPOSED
        else parse_words(getattr(found, item.name), kinds_of(hints[item.name]), item.name)
        for item in fields(owner)
        if hasattr(found, item.name) and item.name not in own
    }


def add_composed(parser: argparse.ArgumentParser) -> None:
    """Add the flags for filters and sizers, with the list of them."""
    group = parser.add_argument_group("filters and sizers", f"NAME, or NAME=values; values left out are the defaults\n\n{listed()}")
    for flag, kinds, does in (
        ("filter", FILTERS, "enter only where all of these allow, as regime=calm funding=2h"),
        ("sizer", SIZERS, "multiply the size of an entry by all of these, as volatility=0.4"),
    ):
        group.add_argument(
            f"--{flag}",
            dest=f"{flag}s",
            nargs="+",
            action="extend",
            default=argparse.SUPPRESS,
            metavar=flag[0].upper(),
            help=f"{does}: {' '.join(kinds)} (default: none)",
        )


# what a first day needs, beside the strategy's own parameters
ESSENTIAL = (
    "data", "start", "end", "capital", "report", "json", "help", "help_all", "size", "leverage", "margin", "half_spread", "filters", "sizers",
    "sample", "search", "walk_forward", "store", "scenario", "check_causality",
)  # fmt: skip


def command_line(strategy: type[Strategy], program: str) -> Parser:
    """The parser of a strategy's script."""
    own = [item.name for item in fields(strategy)]
    parser = Parser(prog=program, description=strategy.__doc__, epilog=_epilog(strategy, program), essential=[*own, *ESSENTIAL])
    first = parser.add_argument_group("strategy")
    _add_running(parser.add_argument_group("run"))
    position = parser.add_argument_group("position and limits")
    costs = parser.add_argument_group("execution and costs (fractions: 10 bps are 0.001)")
    add_composed(parser)
    add_sweeping(parser)
    _add_testing(parser.add_argument_group("test the result"))
    add_loading(parser.add_argument_group("how the data are read"))
    parser.add_helps(parser.add_argument_group("help"))
    taken = {action.dest for action in parser._actions} - set(COMPOSED) | {"filter", "sizer"}
    for item in fields(strategy):
        if item.name in taken and "help" in item.metadata:
            raise ParameterError(
                f'parameter "{item.name}" of {strategy.__name__} is called as a flag that every strategy has; give it another name'
            )
    add_fields(first, strategy, taken, nargs="+")
    add_fields(position, Rule, taken, nargs="+")
    add_fields(costs, Execution, taken)
    return parser


def _add_running(group: argparse._ArgumentGroup) -> None:
    """Add the flags of a run: which data, when, with how much, and where the results go."""
    group.add_argument("--data", default=None, metavar="DIR", help=f"dataset (default: {SAMPLE}, simulated, made if it is not there)")
    group.add_argument(
        "--start", metavar="D", help="run from this time on, as 2023-06-01 or 2023-06-01T08:00 (default: the data's beginning)"
    )
    group.add_argument("--end", metavar="D", help="run up to this time, included (default: the data's end)")
    group.add_argument("--capital", default="100000", metavar="X", help="cash at the start, in the quote currency (default: 100000)")
    group.add_argument(
        "--report", metavar="FILE.html", help="where the report goes (default: reports/NAME.html, of a sweep NAME_sweep.html)"
    )
    group.add_argument("--json", metavar="FILE", help="write the results for machines; - is standard output, and nothing else goes there")


def _add_testing(group: argparse._ArgumentGroup) -> None:
    """Add the flags that try a run's result."""
    group.add_argument(
        "--scenario",
        nargs="+",
        metavar="S",
        help="run it again through scenarios, as spreads=10 gap=0.1,2021-05-19,3D; all plays one of each kind (backtest/guide.md)",
    )
    group.add_argument(
        "--check-causality",
        action="store_true",
        help="run it again on markets that end earlier and on markets with another future, and fail if a decision changes",
    )


def _epilog(strategy: type[Strategy], program: str) -> str:
    """Examples with the strategy's own first number, what values look like, and the exit codes."""
    number = next((item for item in fields(strategy) if type(item.default) is float and item.default), None)
    name, value = (number.name, float(str(number.default))) if number else ("size", 0.5)
    flag = f"--{name.replace('_', '-')}"
    call = f"python {Path(sys.argv[0]) if Path(sys.argv[0]).name == program else program}"
    several = " ".join(f"{each:g}" for each in (value / 2, value, 2 * value))
    lines = (
        f"{call}",
        f"{call} {flag} {value / 2:g} --start 2023-01-01",
        f"{call} {flag} {several} --leverage 1 2",
        f"{call} --json - | python -m json.tool",
    )
    return "\n".join(["examples:", *(f"  {line}" for line in lines), "", filled(f"values: {VALUES}"), "", exits("done")])


def sample_market(found: argparse.Namespace) -> Market:
    """The market of the arguments; the simulated sample is made when no dataset is named and none is there."""
    path = SAMPLE if found.data is None else found.data
    if not Path(path, "dataset.json").exists():
        if found.data is not None:
            raise DataError(
                f"{path}: no dataset there (dataset.json is missing); make one with: carry data import … --into {shlex.quote(path)}"
            )
        from backtest.data.sample import build_sample

        print(f"No dataset given: making the simulated sample in {path} …", file=sys.stderr)
        with waiting("making the simulated sample"):
            build_sample(path)
    with waiting(f"reading {path}"):
        return load_market(
            path,
            found.start,
            found.end,
            found.freq,
            clock=found.clock,
            instruments=found.instruments,
            currency=found.currency,
            staleness=found.staleness,
            max_gap=found.max_gap,
        )


def main(strategy: type[Strategy], arguments: Sequence[str] | None = None) -> None:
    """Run a strategy from the command line: print the table, write the report, and the JSON if asked. Exit code 2 for a user's mistake.

    Several values of a parameter are a sweep in place of a run (`script`).
    """
    from backtest.script import main_of_one, main_of_several, several_asked

    with user_errors():
        check_class(strategy)
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", strategy.__name__).lower()
        given = list(sys.argv[1:] if arguments is None else arguments)
        found = command_line(strategy, Path(sys.argv[0]).name if arguments is None else name).parse_strictly(given)
        if several_asked(found, strategy):
            main_of_several(strategy, found, name)
        else:
            main_of_one(strategy, found, name, command=shlex.join(["python", *sys.argv]) if arguments is None else None)


def check_class(strategy: object) -> None:
    """ParameterError for what the command line can't make a strategy of."""
    if isinstance(strategy, type) and issubclass(strategy, Strategy) and strategy is not Strategy:
        return
    if isinstance(strategy, Strategy):
        remedy = f"give {type(strategy).__name__}, without brackets"
    else:
        remedy = "give one, as bt.main(CashAndCarry); rules, books and what bt.on makes are run from Python by bt.run"
    raise ParameterError(f"main takes the class of a strategy: it got {shown(strategy)}; {remedy}")
