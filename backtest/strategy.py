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
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

from backtest.errors import DataError, ParameterError, did_you_mean, user_errors
from backtest.execution import Execution
from backtest.filters import FILTERS, SIZERS, Bools, Filter, Filters, Sizers, closed, filtered, filters_of, listed, sizers_of
from backtest.load import load_market
from backtest.market import Market
from backtest.rule import Rule, Sides, param, settings, shown

SAMPLE = "data/sample"
VARYING = "only parameters of the strategy and its position and limits take several; run it once for each"
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


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence with a hint, and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Raise ParameterError instead of leaving the program."""
        raise ParameterError(f"{message}; see {self.prog} --help")

    def parse_strictly(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse all arguments; ParameterError with the nearest option for an unknown one."""
        words = self.guarded(arguments)
        found, unknown = self.parse_known_args(words)
        for word in unknown:
            if word.startswith("--"):
                raise ParameterError(
                    f"unknown parameter {word.split('=')[0]}; {did_you_mean(word.split('=')[0], list(self._option_string_actions))}"
                )
            raise ParameterError(self.too_many(words) or f'unexpected argument "{word.strip()}"; see {self.prog} --help')
        for name, given in vars(found).items():
            setattr(found, name, [bare(word) for word in given] if isinstance(given, list) else bare(given))
        return found

    def guarded(self, arguments: Sequence[str]) -> list[str]:
        """The words with a blank before each value that begins with a minus: argparse takes "-1e-3" for a flag, and one word for all after a "="."""
        words: list[str] = []
        for word in arguments:
            flag, equals, value = word.partition("=")
            action = self._option_string_actions.get(flag)
            if equals and action is not None and action.nargs != 0:
                words += [flag, f" {value}" if value.startswith("-") else value]
            else:
                words.append(f" {word}" if re.match(r"-[\d.]", word) else word)
        return words

    def too_many(self, words: Sequence[str]) -> str | None:
        """The sentence on a flag that takes one value and has got several; None where there is none."""
        for place, word in enumerate(words):
            action = self._option_string_actions.get(word)
            if action is None or action.nargs is not None:
                continue
            values = list(takewhile(lambda value: not value.startswith("-"), words[place + 1 :]))
            if len(values) > 1:
                return f"{word} takes one value: it got {' '.join(map(bare, values))}; {VARYING}"
        return None


def bare(word: Any) -> Any:
    """A value without the blank that guards its minus."""
    return word[1:] if isinstance(word, str) and word.startswith(" -") else word


def parse_value(text: str, kinds: tuple[Any, ...], name: str) -> Any:
    """A flag's text as the type of its field; ParameterError naming what it must be."""
    if types.NoneType in kinds and text.lower() == "none":
        return None
    if bool in kinds:
        if text.lower() in ("true", "yes", "1", "false", "no", "0"):
            return text.lower() in ("true", "yes", "1")
        raise ParameterError(f"{name} must be true or false: {name}={text}")
    several = next((kind for kind in kinds if typing.get_origin(kind) is tuple), None)
    if several is not None and ("," in text or kinds == (several, types.NoneType)):
        parts, hints = text.split(","), typing.get_args(several)
        return tuple(parse_value(part.strip(), kinds_of(hints[min(k, len(hints) - 1)]), name) for k, part in enumerate(parts))
    numeric = [kind for kind in (int, float) if kind in kinds]
    for kind in numeric:
        try:
            return kind(text)
        except ValueError:
            continue
    if numeric and not any(kind is str or typing.get_origin(kind) is typing.Literal for kind in kinds):
        wanted = "a whole number" if numeric == [int] else "a number"
        raise ParameterError(f"{name} must be {wanted}{', or none' if types.NoneType in kinds else ''}: {name}={text}")
    return text


def kinds_of(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)


def parse_words(words: Sequence[str] | str, kinds: tuple[Any, ...], name: str) -> Any:
    """The words of a flag: of one its value, of several a list, or a range of numbers. Raises as `parse_value`."""
    if isinstance(words, str):
        return parse_value(words, kinds, name)
    if len(words) == 1 and ".." not in words[0]:
        return parse_value(words[0], kinds, name)
    from backtest.script import parse_several

    return parse_several(words, kinds, name)


def add_fields(parser: argparse.ArgumentParser, title: str, owner: type, taken: set[str], *, nargs: str | None = None) -> None:
    """A flag for every field that has a help text and whose name is free. nargs: "+" where it takes several values."""
    group = parser.add_argument_group(title)
    hints = typing.get_type_hints(owner)
    for item in fields(owner):
        if "help" in item.metadata and item.name not in taken and item.name not in COMPOSED:
            taken.add(item.name)
            group.add_argument(
                f"--{item.name.replace('_', '-')}",
                dest=item.name,
                nargs=nargs,
                default=argparse.SUPPRESS,
                metavar="V",
                help=help_text(item, kinds_of(hints[item.name])),
            )


def help_text(item: "Field[Any]", kinds: tuple[Any, ...]) -> str:
    """A field's help with its default."""
    shown = "none" if item.default is None else item.default
    extra = "" if item.default is MISSING or "(default:" in item.metadata["help"] else f" (default: {shown})"
    return f"{item.metadata['help']}{extra}".replace("%", "%%")


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


def add_loading(group: argparse._ArgumentGroup) -> None:
    """Add the options about how a dataset is read, which every command that loads a market has."""
    group.add_argument(
        "--instruments",
        nargs="+",
        metavar="PATTERN",
        help="load only these, by id or pattern, as ETHUSDT-SPOT '*.cme' (default: all of the dataset)",
    )
    group.add_argument(
        "--currency",
        metavar="C",
        help="turn all prices into this currency, as USD, by the dataset's series such as USDTUSD (default: none)",
    )
    group.add_argument("--freq", metavar="F", help="resample to coarser bars, as 1D or 4h")
    group.add_argument(
        "--clock",
        nargs="+",
        metavar="PATTERN",
        help="end all bars where those of these instruments end, as '*.cme' (default: each its own)",
    )
    group.add_argument("--staleness", default="0s", metavar="T", help="how old a close may be and still meet another (default: 0s)")
    group.add_argument(
        "--max-gap",
        default=None,
        metavar="T",
        help="longest hole in the bars that is only noted (default: 1 day, or 4 bars if that is longer)",
    )


def add_sweeping(parser: argparse.ArgumentParser) -> None:
    """Add the flags for several values of parameters."""
    group = parser.add_argument_group(
        "sweep",
        "one value of a parameter is a run; several, or a range as 0.02..0.3 with\n"
        "--sample (by logarithms: 0.02..0.3:log), are a sweep: a row for each\n"
        "combination, and the odds that the best one is luck",
    )
    for flag, value, does in (
        ("sample", "N", "run this many of the combinations (default: all; ranges need it)"),
        ("method", "M", "how a sample is drawn: random, or sobol, which leaves no large holes (default: random)"),
        ("seed", "N", "another number is another sample (default: 0)"),
        ("threads", "N", "run so many at once (default: one a processor)"),
        ("store", "DIR", "keep finished combinations here; a sweep that was stopped goes on where it ended"),
        ("cluster", "ADDRESS", "run on the Dask cluster with this scheduler, as tcp://10.0.0.1:8786"),
        ("longest", "T", "refuse what would take longer than this (default: 1D)"),
        ("search", "N", "look for good combinations in so many trials, each near what was good before"),
    ):
        group.add_argument(f"--{flag}", metavar=value, help=does)
    group.add_argument(
        "--walk-forward",
        nargs=2,
        metavar=("TRAIN", "TEST"),
        help="choose on one period and trade the next one by it, again and again, as 365D 90D",
    )
    group.add_argument("--embargo", metavar="T", help="time between the two in a walk-forward (default: the longest hold)")


def command_line(strategy: type[Strategy], program: str) -> Parser:
    """The parser of a strategy's script."""
    parser = Parser(prog=program, description=strategy.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    general = parser.add_argument_group("run")
    general.add_argument("--data", default=None, metavar="DIR", help=f"dataset (default: {SAMPLE}, simulated, made if it is not there)")
    add_loading(general)
    general.add_argument(
        "--start", metavar="D", help="run from this time on, as 2023-06-01 or 2023-06-01T08:00 (default: the data's beginning)"
    )
    general.add_argument("--end", metavar="D", help="run up to this time, included (default: the data's end)")
    general.add_argument("--capital", default="100000", metavar="X", help="cash at the start, in the quote currency (default: 100000)")
    general.add_argument(
        "--report", metavar="FILE.html", help="where the report goes (default: reports/NAME.html, of a sweep NAME_sweep.html)"
    )
    general.add_argument("--json", metavar="FILE", help="write the run as JSON too")
    general.add_argument(
        "--scenario",
        nargs="+",
        metavar="S",
        help="run it again through scenarios, as spreads=10 gap=0.1,2021-05-19,3D; all plays one of each kind (README.md)",
    )
    general.add_argument(
        "--check-causality",
        action="store_true",
        help="run it again on markets that end earlier and on markets with another future, and fail if a decision changes",
    )
    add_sweeping(parser)
    taken = {action.dest for action in parser._actions} | {"filter", "sizer"}
    for item in fields(strategy):
        if item.name in taken and "help" in item.metadata:
            raise ParameterError(
                f'parameter "{item.name}" of {strategy.__name__} is called as a flag that every strategy has; give it another name'
            )
    add_fields(parser, "strategy", strategy, taken, nargs="+")
    add_composed(parser)
    add_fields(parser, "position and limits", Rule, taken, nargs="+")
    add_fields(parser, "execution and costs (fractions: 10 bps are 0.001)", Execution, taken)
    return parser


def sample_market(found: argparse.Namespace) -> Market:
    """The market of the arguments; the simulated sample is made when no dataset is named and none is there."""
    path = found.data or SAMPLE
    if not Path(path, "dataset.json").exists():
        if found.data is not None:
            raise DataError(
                f"{path}: no dataset there (dataset.json is missing); make one with: carry data import … --into {shlex.quote(path)}"
            )
        from backtest.data.sample import build_sample

        print(f"No dataset given: making the simulated sample in {path} …", file=sys.stderr)
        build_sample(path)
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
    from backtest.script import main_of_several, several_asked
    from backtest.simulate import run
    from backtest.stress import chosen_scenarios, stress

    with user_errors():
        check_class(strategy)
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", strategy.__name__).lower()
        given = list(sys.argv[1:] if arguments is None else arguments)
        parser = command_line(strategy, Path(sys.argv[0]).name if arguments is None else name)
        found = parser.parse_strictly(given)
        if several_asked(found, strategy):
            main_of_several(strategy, found, name)
            return
        chosen = strategy(**values_of(found, strategy))
        own = {item.name for item in fields(strategy)}
        changes = values_of(found, Rule, own=own)
        execution = Execution(**values_of(found, Execution, own=own))
        capital = parse_value(found.capital, (float,), "capital")
        if found.scenario:
            chosen_scenarios(found.scenario)  # a mistake is told before the market is loaded
        market = sample_market(found)
        result = run(chosen, market, capital=capital, execution=execution, **changes)
        result.command = shlex.join(["python", *sys.argv]) if arguments is None else None
        test = stress(result, scenarios=found.scenario, keep=False) if found.scenario else None
        print(result if test is None else f"{result}\n\n{test}")
        report = Path(found.report or f"reports/{name}.html")
        (test or result).report(report)
        print(f"Report: {report}")
        if found.json:
            (test or result).to_json(found.json)
            print(f"JSON: {found.json}")
        if found.check_causality:
            from backtest.causality import check_causality

            checked = check_causality(chosen, market, capital=capital, execution=execution, **changes)
            print(f"\n{checked}")
            checked.raise_if_failed()


def check_class(strategy: object) -> None:
    """ParameterError for what the command line can't make a strategy of."""
    if isinstance(strategy, type) and issubclass(strategy, Strategy) and strategy is not Strategy:
        return
    if isinstance(strategy, Strategy):
        remedy = f"give {type(strategy).__name__}, without brackets"
    else:
        remedy = "give one, as bt.main(CashAndCarry); rules, books and what bt.on makes are run from Python by bt.run"
    raise ParameterError(f"main takes the class of a strategy: it got {shown(strategy)}; {remedy}")
