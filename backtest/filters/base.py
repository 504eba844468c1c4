"""What a filter and a sizer are: small objects of one purpose each, with a text for the command line and a say over a rule's entries.

A user's own is a frozen dataclass with one method:

    @dataclass(frozen=True)
    class Weekdays(bt.Filter):
        name = "weekdays"

        def allows(self, market: bt.Market, rule: bt.Rule) -> np.ndarray:
            return np.asarray(market.clock.day_of_week < 5)
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import NoneType
from typing import Any, ClassVar, Self, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from backtest.errors import ParameterError, did_you_mean
from backtest.instruments import Kind
from backtest.market import Floats, Market
from backtest.rule import Duration, Leg, Rule, duration, number, shown

Bools = npt.NDArray[np.bool_]
Allowed = Bools | tuple[Bools, Bools]  # for both sides, or for side +1 and side −1


@dataclass(frozen=True)
class Part:
    """What filters and sizers have in common: a name, and a text that tells every value and can be parsed again."""

    name: ClassVar[str] = ""

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """Refuse an unknown parameter with a hint, and values that are too many or missing, before the class takes them."""
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        known = [one.name for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        if not any(one.kind is one.VAR_KEYWORD for one in parameters):
            for name in named:
                if name not in known:
                    raise ParameterError(f'{cls.__name__} has no "{name}": {name}={shown(named[name])}; {did_you_mean(name, known)}')
        room = len(known) if not any(one.kind is one.VAR_POSITIONAL for one in parameters) else len(values)
        names = f" ({', '.join(known)})" if known else ""
        if len(values) > room:
            raise ParameterError(
                f"{cls.__name__} takes at most {len(known)} values{names}: it got {len(values)}, the last {shown(values[-1])}"
            )
        return super().__new__(cls)

    def __str__(self) -> str:
        name = self.name or type(self).__name__
        values = [in_words(getattr(self, item.name)) for item in fields(self)]
        told = ",".join(values).rstrip(",")
        return f"{name}={told}" if told else name


@dataclass(frozen=True)
class Filter(Part):
    """Base of all filters: where a rule may enter. Exits are never held back."""

    def allows(self, market: Market, rule: Rule) -> Allowed:
        """True where an entry is allowed, as known at each bar's end; False where that is unknown. [bar], or [pair, bar] for chains; a pair for side +1 and −1."""
        raise NotImplementedError(f"{type(self).__name__} must define allows(market, rule)")


@dataclass(frozen=True)
class Sizer(Part):
    """Base of all sizers: a factor on the size of a rule's entries."""

    def scale(self, market: Market, rule: Rule) -> Floats:
        """The factor as known at each bar's end; NaN, and with it no entry, where it is unknown. [bar], or [pair, bar] for chains"""
        raise NotImplementedError(f"{type(self).__name__} must define scale(market, rule)")


Some = TypeVar("Some", bound=Part)
SAYS = {"allows": "whether an entry is allowed", "scale": "how large an entry is"}


# ---------------------------------------------------------------- what a rule trades


def leg_of(rule: Rule, kind: Kind) -> Leg | None:
    """The rule's leg of a kind, the short slot's first."""
    return next((leg for leg in reversed(rule.legs) if leg is not None and leg.kind is kind), None)


def found(market: Market, rule: Rule, kind: Kind) -> Leg:
    """The rule's leg of a kind, else the market's of the rule's asset, else what the market has of the kind. DataError as the market's own, where there is none or several."""
    own, base = leg_of(rule, kind), {market.instruments[leg.contracts[0]].base for leg in rule.legs if leg is not None}
    if own is not None:
        return own
    alike = [item for item in market.instruments.values() if item.kind is kind and item.base in base]
    if kind is Kind.FUTURE:
        return market.future_chain(base=alike[0].base) if alike else market.future_chain()
    return market.leg(alike[0].id) if len(alike) == 1 else market.spot if kind is Kind.SPOT else market.perpetual


def derivative_of(rule: Rule) -> Leg | None:
    """The derivative whose premium the rule trades: the short slot's if that is one, else the long slot's; None for spots only."""
    return next((leg for leg in reversed(rule.legs) if leg is not None and leg.kind is not Kind.SPOT), None)


def is_hedged(rule: Rule) -> bool:
    """Whether the rule has two legs, so that it lives off the premium and not off the price."""
    return rule.long is not None and rule.short is not None


def by_side(rule: Rule, longs: Bools, shorts: Bools) -> tuple[Bools, Bools]:
    """What two conditions on the market mean for side +1 and side −1: one for who goes with those who are long, one for who goes with those who are short.

    One leg alone is a bet on the price: its buyer goes with the longs. A hedged trade is paid by those whose demand makes the premium:
    who sells the derivative lives off the longs that pay for leverage, who buys it against a short spot off the shorts.
    """
    if not is_hedged(rule):
        return (longs, shorts) if rule.long is not None else (shorts, longs)
    derivative = derivative_of(rule)
    return (longs, shorts) if derivative is None or derivative is rule.short else (shorts, longs)


# ---------------------------------------------------------------- values


def span(name: str, value: Duration) -> None:
    """Raise ParameterError unless a value is a duration."""
    if value is None:
        raise ParameterError(f"{name} must be a duration: {name}=None; leave it out for the usual one")
    duration(name, value)


def fraction(name: str, value: float, *, least: float = 0.0, most: float = 1.0) -> None:
    """Raise ParameterError unless a value is a number between two bounds, both included."""
    if value is None:
        raise ParameterError(f"{name} must be a number: {name}=None; leave it out for the usual one")
    number(name, value, least=least, most=most)


def positive(name: str, value: float, *, most: float | None = None) -> None:
    """Raise ParameterError unless a value is a number above 0."""
    if value is None:
        raise ParameterError(f"{name} must be a number: {name}=None; leave it out for the usual one")
    number(name, value, above=0.0, most=most)


def in_words(value: object) -> str:
    """A value as one types it."""
    if isinstance(value, tuple):
        return ",".join(map(in_words, value))
    if isinstance(value, float | np.floating):
        short = f"{value:g}"
        return short if float(short) == value else repr(float(value))
    return "none" if value is None else value if isinstance(value, str) else shown(value)


# ---------------------------------------------------------------- texts


def parse(kinds: Mapping[str, type[Some]], what: str, text: str) -> Some:
    """A filter or sizer as one types it: "regime", "regime=calm,trending", "events=2D,1D", "events=after=3D". ParameterError for what is none."""
    name, _, values = text.partition("=")
    if name not in kinds:
        raise ParameterError(f'unknown {what} "{name}"; {did_you_mean(name, list(kinds))}')
    kind, hints = kinds[name], get_type_hints(kinds[name])
    known = [item.name for item in fields(kind)]
    several = known[-1] if get_origin(hints[known[-1]]) is tuple else ""  # the last value may be many
    given: dict[str, Any] = {}
    for place, part in enumerate(values.split(",") if values else []):
        key, named, value = (word.strip() for word in part.partition("="))
        key, value = (key, value) if named else (known[place] if place < len(known) else several, key)
        if not key:
            raise ParameterError(f"{what} {name} takes at most {len(known)} values ({', '.join(known)}): {text}")
        if key not in known:
            raise ParameterError(f'{what} {name} has no "{key}": {text}; {did_you_mean(key, known)}')
        if key in given and key != several:
            raise ParameterError(f'{what} {name} has "{key}" twice: {text}; leave one out')
        if value:
            given[key] = (*given.get(key, ()), value) if key == several else value_of(f"{what} {name}", key, value, hints[key])
    return kind(**given)


def value_of(where: str, key: str, text: str, hint: Any) -> Any:
    """A value of the type that its field has."""
    kinds = get_args(hint) or (hint,)
    if NoneType in kinds and text.lower() == "none":
        return None
    if float not in kinds:
        return text
    try:
        return float(text)
    except ValueError:
        raise ParameterError(f"{where}: {key} must be a number: {key}={text}") from None


def gathered(given: object, base: type[Some], kinds: Mapping[str, type[Some]]) -> tuple[Some, ...]:
    """The filters, or sizers, that a user gives: one, a text, or several of them. ParameterError for what is none, and for one that stands twice."""
    if given == ():
        return ()
    what = base.__name__.lower()
    example = next(iter(kinds.values()))()
    remedy = f'give bt.{type(example).__name__}(), or a text as "{example}"'
    several = [given] if isinstance(given, str | Part) or not isinstance(given, Sequence) else given
    out: list[Some] = []
    for one in several:
        part = parse(kinds, what, one) if isinstance(one, str) else one
        if not isinstance(part, base):
            other = f"it is a {'sizer' if base is Filter else 'filter'}, for {'sizers' if base is Filter else 'filters'}=…"
            raise ParameterError(f"{what}s must be {what}s: {shown(part)} is no {what}; {other if isinstance(part, Part) else remedy}")
        method = "allows" if isinstance(part, Filter) else "scale"
        if getattr(type(part), method) is getattr(base, method):
            raise ParameterError(
                f"{what} {type(part).__name__} must define {method}(market, rule), which says {SAYS[method]} at each bar; write it, or {remedy}"
            )
        if type(part) in kinds.values() and part in out:  # a user's own may hold arrays, which have no one answer to ==
            raise ParameterError(f'{what} "{part}" stands twice; leave one out')
        out.append(part)
    return tuple(out)
