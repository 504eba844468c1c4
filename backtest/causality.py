"""Does a strategy look into the future? It is asked for its rule again on markets that end early, and on markets that go on otherwise, and must say the same.

At each of some cuts the market is taken as it was known then (`market.until`), and once more with other prices and funding after it. Whatever the rule says up to the
cut can't depend on what came after: its legs, thresholds and sizes, its signals bar by bar, and then the fills and the equity of a run. The cuts lie all over the
run, at odd hours as well as around midnights and month ends, where the rule decided to trade, and right before the largest moves; at the hours of the day that
none of them meets, the rule alone is compared once. A look at one bar in a thousand, which no cut meets, may go unseen: more cuts find more.

    check = bt.check_causality(CashAndCarry(), market)
    print(check)
    check.raise_if_failed()

What a rule takes from elsewhere than the market, such as a file that it reads itself, is not cut, and a look into its future is not seen.
"""

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from textwrap import shorten
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.card import Card
from backtest.currency import PRICED
from backtest.curve import pairs
from backtest.data.known import Known
from backtest.errors import CarryError, DataError, ParameterError
from backtest.execution import Execution, MissingFunding
from backtest.instruments import Kind
from backtest.market import DAY, Floats, Integers, Market, nanoseconds, utc
from backtest.memo import ARRAYS
from backtest.result import Result
from backtest.rule import Leg, Rule, instant, shown
from backtest.simulate import run
from backtest.strategy import Strategy, check_changes, check_market, label_of, rule_of
from backtest.tapes import both_sides, candidates, table_of

Pair = tuple[str, str]

# The package's own signals come out bit by bit alike on a market that ends early. A user's may be computed by vector instructions that treat the last
# few values of an array otherwise than the rest, and by sums in another order: the last digits of a double may differ, and no rule turns on them.
CLOSE = 1e-9
ROUNDING = 1e-12  # of the largest value in the row: what nearly cancels has the rounding of what it is the difference of
OWN = "the strategy's own computation"
GIVEN = "values that the strategy computed"
CUT_OFF, OTHERWISE = "the data end", "prices and funding go on otherwise"
ENTRY, EXIT, SCALE, RULE, LEGS = "signal (entry)", "exit_signal", "scale", "rule", ("long", "short")
ARRAY_FIELDS = ("signal", "exit_signal", "scale")
REMEDY = (
    "use at each bar only what its end knows: no shift(-1), centred window, backward fill, resampling labelled at its beginning, and no mean, extreme, "
    "quantile or choice of the whole sample; take daily values from market.series, which knows when each was published"
)
COLUMNS = ["first_bar", "what", "of", "pair", "was", "became", "cut", "future"]


@dataclass(eq=False, repr=False)
class CausalityCheck(Card):
    """What a check found. findings: a row each, the earliest bar first: first_bar (the first bar that changed), what (a signal, a leg, a field of the rule, fills,
    equity), of (the @signal that changed first, or the strategy's own computation), pair, was, became, cut, future (how the market after the cut was changed).

    cuts: the last bars that were known. skipped: cuts at which the data that were there don't make the rule, and why. hours: at how many more cuts the rule alone
    was compared, without a run, so that there is one at each hour of the day.
    """

    strategy: str
    cuts: pd.DatetimeIndex
    findings: pd.DataFrame
    skipped: dict[pd.Timestamp, str] = field(default_factory=dict)
    hours: int = 0

    @property
    def passed(self) -> bool:
        """Whether nothing up to a cut depended on what came after it."""
        return self.findings.empty

    def raise_if_failed(self) -> None:
        """ParameterError naming the first bar and the signal that changed, and what to do; nothing if the check passed."""
        if not self.passed:
            raise ParameterError(self.sentence)

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        compared = len(self.cuts) - len(self.skipped)
        if self.passed:
            return f"{self.strategy} passed the causality check: nothing up to {compared} cuts changed with what came after them"
        first = self.findings.iloc[0]
        at, cut = utc(first["first_bar"].value), utc(first["cut"].value)
        told = f"its {first['what']} at {at} is {words(first['was'])}, and {words(first['became'])} when {first['future']} after {cut}"
        if first["what"] == RULE:
            told = f"it has a signal at {at} that it can't make ({words(first['became'])}) when {first['future']} after {cut}"
        of = f" ({first['of']})" if first["of"] else ""
        return f"{self.strategy} looks into the future: {told}{of}; {REMEDY}"

    def __repr__(self) -> str:
        title = f"Causality of {self.strategy}: {'passed' if self.passed else 'FAILED'}"
        span = f"{len(self.cuts)} cuts from {utc(self.cuts[0].value)} to {utc(self.cuts[-1].value)}"
        span += f" (the rule alone at {self.hours} more hours)" if self.hours else ""
        lines = [title, f"  {span}" + (f", at {len(self.skipped)} of which the data don't make the rule" if self.skipped else "")]
        if self.passed:
            return "\n".join([*lines, "  Nothing up to a cut changed with what came after it."])
        for what, rows in self.findings.groupby("what", sort=False):
            first, count = rows.iloc[0], rows["cut"].nunique()
            lines.append(f"  {what}: changed at {count} cuts, first at {utc(first['first_bar'].value)}")
            changed = f"from {words(first['was'])} to {words(first['became'])}"
            if what == RULE:
                changed = f"can't be made any more ({words(first['became'])})"
            lines.append(f"    {changed} when {first['future']} after {utc(first['cut'].value)}")
            lines += [f"    {first['of']}"] if first["of"] else []
        return "\n".join(lines)


def words(value: object) -> str:
    """A value that changed, for a reader."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return shorten(str(value), 160, placeholder=" …")
    return "unknown" if math.isnan(value) else f"{value:.6g}"


# ---------------------------------------------------------------- a rule, made


@dataclass(frozen=True, eq=False)
class Asked:
    """A named signal that was asked for while a rule was made. given: whether the strategy gave it values of its own."""

    name: str
    legs: tuple[Leg, ...]
    given: bool
    values: Floats


@dataclass(frozen=True, eq=False)
class Made:
    """A rule as a strategy made it on a market. rows: the tables by the name of the signal and the pair of contracts; asked: its named signals, in the order in which they were ready."""

    market: Market
    rule: Rule
    rows: Mapping[str, Mapping[Pair, Floats]]
    possible: npt.NDArray[np.bool_]
    asked: tuple[Asked, ...]


def make(strategy: Strategy, market: Market, changes: Mapping[str, Any]) -> Made:
    """Ask a strategy for its rule on a market of which nothing has been computed yet."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # what a user's code has to say of half a market was said, or not, of the whole
        rule = rule_of(strategy, market, **changes)
    asked = tuple(signals_of(market))
    contracts = pairs(market, rule.long, rule.short)
    names = [tuple("" if leg is None else leg.contracts[c] for leg, c in zip(rule.legs, row, strict=True)) for row in contracts]
    rows: dict[str, dict[Pair, Floats]] = {}
    for what, given in arrays_of(rule):
        table = table_of(market, given, len(contracts), what.partition(" ")[0].rstrip(","))
        rows[what] = {(name[0], name[1]): table[p if len(table) > 1 else 0] for p, name in enumerate(names)}
    candidate = candidates(market, rule, contracts) if len(contracts) else np.full(len(market), -1)
    possible = candidate >= 0
    if rule.enter is not None and len(contracts):
        entries = [table_of(market, one, len(contracts), "signal") for one in both_sides(rule.signal)]
        bars = np.arange(len(market))
        known = [~np.isnan(table[np.maximum(candidate, 0) if len(table) > 1 else 0, bars]) for table in entries]
        possible = possible & np.any(known, axis=0)
    return Made(market, rule, rows, possible, asked)


def arrays_of(rule: Rule) -> Iterator[tuple[str, Any]]:
    """What of a rule is given bar by bar, by name; a signal of each side is told apart."""
    for what, given in ((ENTRY, rule.signal), (EXIT, rule.exit_signal), (SCALE, rule.scale)):
        if isinstance(given, tuple):
            yield from zip((f"{what}, side +1", f"{what}, side −1"), given, strict=True)
        elif given is not None:
            yield what, given


def signals_of(market: Market) -> Iterator[Asked]:
    """The named signals that a market has computed, the innermost first; those of its parts too."""
    for key, entry in market._memo.items():
        if isinstance(entry, Market):
            yield from signals_of(entry)
        elif isinstance(key, tuple) and callable(key[0]):
            values, args, kwargs = entry
            legs = tuple(part for part in key[1:] if isinstance(part, Leg))
            yield Asked(key[0].__name__, legs, any(isinstance(part, ARRAYS) for part in (*args, *kwargs.values())), values)


# ---------------------------------------------------------------- comparing


@dataclass(frozen=True)
class Difference:
    """What is not as it was: the first bar, what it is of, the pair, and both values."""

    bar: int
    what: str
    was: Any
    became: Any
    pair: str = ""
    of: str = ""


def first_change(was: Floats, became: Floats) -> int | None:
    """The first place at which two rows differ by more than rounding; NaN is NaN."""
    equal = (was == became) | (np.isnan(was) & np.isnan(became))
    if equal.all():
        return None
    finite = np.abs(was[np.isfinite(was)])
    with np.errstate(invalid="ignore"):
        allowed = np.maximum(CLOSE * np.maximum(np.abs(was), np.abs(became)), ROUNDING * (finite.max() if len(finite) else 0.0))
        equal |= np.abs(was - became) <= np.where(np.isfinite(allowed), allowed, 0.0)
    return None if equal.all() else int(np.argmin(equal))


def same_setting(was: Any, became: Any) -> bool:
    """Whether a field of a rule is what it was, but for rounding."""
    if isinstance(was, int | float | np.number) and isinstance(became, int | float | np.number):
        return math.isclose(was, became, rel_tol=CLOSE)
    return bool(was == became)


def changed_settings(whole: Made, other: Made, bar: int) -> Iterator[Difference]:
    """Legs, thresholds, sizes and limits that are not what they were. bar: the first at which the rule could enter."""
    for name in LEGS:
        was, became = getattr(whole.rule, name), getattr(other.rule, name)
        if was is not None and became is not None:
            there = other.market.instruments
            before, after = (tuple(one for one in leg.contracts if one in there) for leg in (was, became))
            told = {item.name: getattr(was, item.name) for item in fields(Leg) if item.name != "contracts"}
            if before == after and told == {item: getattr(became, item) for item in told}:
                continue
        elif was is became:
            continue
        yield Difference(bar, f"{name} leg", str(was), str(became), of=OWN)
    for item in fields(Rule):
        was, became = getattr(whole.rule, item.name), getattr(other.rule, item.name)
        if item.name in ARRAY_FIELDS:
            if (was is None) != (became is None):
                yield Difference(
                    bar, item.name, "none" if was is None else "bar by bar", "none" if became is None else "bar by bar", of=OWN
                )
        elif item.name not in LEGS and not same_setting(was, became):
            yield Difference(bar, item.name, was, became, of=OWN)


def changed_arrays(whole: Made, other: Made, count: int) -> Iterator[Difference]:
    """Signals and scales that differ in their first `count` bars, pair by pair; of each its first change."""
    for what, rows in other.rows.items():
        found: list[Difference] = []
        for pair, became in rows.items():
            was = whole.rows.get(what, {}).get(pair)
            bar = None if was is None else first_change(was[:count], became[:count])
            if was is not None and bar is not None:
                found.append(Difference(bar, what, float(was[bar]), float(became[bar]), " / ".join(filter(None, pair))))
        if found:
            yield replace(min(found, key=lambda one: one.bar), of=culprit(whole, other, count))


def culprit(whole: Made, other: Made, count: int) -> str:
    """The innermost named signal that changed in the first `count` bars; the strategy's own computation if none did."""
    rest = list(whole.asked)
    for became in other.asked:
        was = next((one for one in rest if one.name == became.name), None)  # asked in the same order on both
        if was is None:
            continue
        rest.remove(was)
        if any(first_change(old[:count], new[:count]) is not None for old, new in matched_rows(was, became)):
            return f"the signal {became.name}" + (f" of {GIVEN}" if became.given else "")
    return OWN


def matched_rows(was: Asked, became: Asked) -> Iterator[tuple[Floats, Floats]]:
    """The rows of two answers that are of one contract."""
    old, new = np.atleast_2d(was.values), np.atleast_2d(became.values)
    legs = next(
        (
            (one, two)
            for one, two in zip(was.legs, became.legs, strict=False)
            if (len(one.contracts), len(two.contracts)) == (len(old), len(new))
        ),
        None,
    )
    if legs is not None:
        names = dict(zip(legs[0].contracts, old, strict=True))
        yield from ((names[name], row) for name, row in zip(legs[1].contracts, new, strict=True) if name in names)
    elif len(old) == len(new):
        yield from zip(old, new, strict=True)


def same_bits(whole: Made, other: Made, count: int) -> bool:
    """Whether the rules are the same to the last bit, so that runs of them must be alike."""
    return all(
        np.array_equal(row[:count], whole.rows[what][pair][:count], equal_nan=True)
        for what, rows in other.rows.items()
        for pair, row in rows.items()
        if pair in whole.rows.get(what, {})
    )


def changed_run(whole: Result, other: Result, count: int) -> Iterator[Difference]:
    """Fills and equity that differ in the first `count` bars of two runs of one rule."""
    logs = [log[log["bar"] < count] for log in (whole._log.fills, other._log.fills)]
    rows = min(len(log) for log in logs)
    alike = np.ones(rows, dtype=bool)
    for name in ("bar", "slot", "action", "quantity", "reference", "price", "fee", "slippage"):
        was, became = (log[name][:rows].astype(np.float64) for log in logs)
        alike &= np.isclose(was, became, rtol=CLOSE, atol=0.0, equal_nan=True)
    row = rows if alike.all() else int(np.argmin(alike))
    if row < max(len(log) for log in logs):
        bar = min(int(log["bar"][row]) for log in logs if row < len(log))
        yield Difference(bar, "fills", *(told_fill(result.fills, row, len(log)) for result, log in zip((whole, other), logs, strict=True)))
    was, became = (result.equity.to_numpy()[:count] for result in (whole, other))
    at = first_change(was, became)
    if at is not None:
        yield Difference(at, "equity", float(was[at]), float(became[at]))


def told_fill(table: pd.DataFrame, row: int, count: int) -> str:
    """One of the first `count` fills in a few words."""
    return "none" if row >= count else f"{table['action'].iloc[row]} {table['quantity'].iloc[row]:.6g} at {table['price'].iloc[row]:.6g}"


# ---------------------------------------------------------------- cuts, and other futures


def cut_bars(whole: Made, result: Result, count: int) -> list[int]:
    """The last bars known at `count` cuts, none of them in the first fiftieth of the run.

    Half of them are spread over the bars at which the rule could enter; the others lie in turn where it did, around midnights and month ends, and right
    before the largest moves of its first leg.
    """
    market = whole.market
    least = len(market) // 50
    known = least + np.flatnonzero(whole.possible[least:-1])
    known = known if len(known) else np.arange(least, len(market) - 1)
    kinds = {
        "entries": spread_out(np.unique(np.searchsorted(market.stamps, result._log.trades["entered"], side="right") - 1), count),
        "borders": borders(market, known, count),
        "moves": before_moves(whole, known),
        # an odd count of bars further each time, so that the hours of the day come in turn
        "spread": [int(known[min(int(len(known) * (i + 0.5) / (4 * count)) + 7 * i % 24, len(known) - 1)]) for i in shuffled(4 * count)],
    }
    wanted = [kind for i in range(count) for kind in ("spread", ("entries", "borders", "moves")[i % 3])][:count]
    chosen: dict[int, None] = {}
    for kind in [*wanted, *["spread"] * count]:
        while kinds[kind] and len(chosen) < count:
            bar = kinds[kind].pop(0)
            if least <= bar < len(market) - 1 and bar not in chosen:
                chosen[bar] = None
                break
    return sorted(chosen)


def other_hours(whole: Made, bars: list[int]) -> list[int]:
    """A bar at which the rule could enter at each hour of the day at which no cut lies yet, spread over the run."""
    hours, least = whole.market.clock.hour.to_numpy(), len(whole.market) // 50
    known = least + np.flatnonzero(whole.possible[least:-1])
    missing = sorted(set(hours[known].tolist()) - set(hours[bars].tolist()))
    there = [known[hours[known] == hour] for hour in missing]
    return [int(at[int(len(at) * (place + 0.5) / len(missing))]) for at, place in zip(there, shuffled(len(missing)), strict=True)]


def shuffled(count: int) -> list[int]:
    """0 … count − 1 in an order whose beginnings are spread evenly: each next one lies in the widest gap (by the golden section)."""
    steps = np.arange(count) * ((math.sqrt(5.0) - 1.0) / 2.0) % 1.0
    return [int(place) for place in np.argsort(np.argsort(steps))]


def spread_out(bars: Integers, count: int) -> list[int]:
    """Up to `count` of some bars, evenly, in an order whose beginnings are spread too."""
    if not len(bars):
        return []
    places = np.unique(np.linspace(0, len(bars) - 1, min(count, len(bars))).round().astype(int))
    return [int(bars[places[i]]) for i in shuffled(len(places))]


def borders(market: Market, known: Integers, count: int) -> list[int]:
    """Bars at, after and before midnights, in turn; those of a new month first."""
    days = market.stamps // DAY
    first = np.flatnonzero(np.diff(days[known[0] : known[-1] + 1])) + 1 + known[0]
    months = first[market.clock[first].day == 1] if len(first) else first
    return [bar + (i + 1) % 3 - 1 for i, bar in enumerate([*spread_out(months, count), *spread_out(first, count)])]


def before_moves(whole: Made, known: Integers, most: int = 24) -> list[int]:
    """The bars right before the largest moves of the first leg's prices."""
    leg = next(leg for leg in whole.rule.legs if leg is not None)
    moves = np.zeros(len(whole.market))
    for name in leg.contracts:
        close = whole.market.close(name)
        with np.errstate(invalid="ignore", divide="ignore"):
            moves[:-1] = np.fmax(moves[:-1], np.abs(np.diff(np.log(close))))
    return [int(known[place]) for place in np.argsort(-moves[known], kind="stable")[:most]]


def other_future(whole: Made, bar: int, number: int) -> Market:
    """The market with other prices and funding after a bar: a jump up or down, in turn, and all that the rule read of later bars mixed up."""
    market, random = whole.market, np.random.default_rng(number)
    cut, level = int(market.stamps[bar]), 1.6 if number % 2 else 0.6
    read = {key[1:] for key in market._memo if isinstance(key, tuple) and key[0] == "lived"}
    frames, rates = {}, {}
    for name, one in market.instruments.items():
        frame = market.bars(name)
        late = nanoseconds(pd.DatetimeIndex(frame.index)) > cut
        if not late.any():
            continue
        wild = np.ones(len(frame))
        wild[late] = (level ** (1.2 if one.derivative else 1.0)) * np.exp(random.normal(0.0, 0.05, int(late.sum())))
        amount = np.where(late, np.exp(random.normal(0.0, 1.0, len(frame))), 1.0)
        own = {column: frame[column].to_numpy() * wild for column in PRICED if column in frame}
        more = [column for column in {column for key, column in read if key == name} if column not in PRICED and market.has(name, column)]
        frames[name] = frame.assign(
            **own, **{column: market._values(name, column) * amount for column in more if not column.startswith("age")}
        )
        if len(paid := market.funding(name).rates if one.kind is Kind.PERPETUAL else np.empty(0)):
            after = market.funding(name).times > cut
            rates[name] = np.where(after, -paid + random.normal(0.0005 if number % 2 else -0.0005, 0.0003, len(paid)), paid)
    return market.altered(frames, rates)


# ---------------------------------------------------------------- the check


def check_causality(
    strategy: Strategy, market: Market, *, cuts: int = 12, capital: float = 100_000.0, execution: Execution | None = None, **changes: Any
) -> CausalityCheck:
    """Compare what a strategy says and does up to each of `cuts` instants with what it would have said and done with another future after them.

    capital, execution, changes: as of `run`. Raises ParameterError and DataError as `run`; ParameterError for a bare `Rule`, whose arrays are computed already.
    """
    refuse_fixed(strategy, changes)
    check_market(market, "a causality check")
    check_changes(changes)
    if isinstance(cuts, bool) or not isinstance(cuts, int | np.integer) or cuts < 1:
        raise ParameterError(f"cuts must be a whole number from 1 on: cuts={shown(cuts)}")
    base = market.altered()  # nothing computed yet, so that what the strategy asks for is seen
    base._dataset = Known(market._dataset, pd.Timestamp.max.tz_localize("UTC"))  # nothing hidden, and read once for all cuts
    whole = make(strategy, base, changes)
    result = run(whole.rule, base, capital=capital, execution=execution)
    if len(market) < 3:
        raise ParameterError(f"a causality check needs a past and a future: the market has {len(market)} bars; load a longer period")
    bars = cut_bars(whole, result, int(cuts))
    first = int(np.argmax(whole.possible)) if whole.possible.any() else len(market)
    rows: list[tuple[Any, ...]] = []
    skipped: dict[pd.Timestamp, str] = {}
    settings = (strategy, capital, execution or Execution(), changes)
    for number, bar in enumerate(bars):
        cut = market.clock[bar]
        for future in (CUT_OFF, OTHERWISE):
            try:
                found = list(differences(whole, result, bar, first, number if future is OTHERWISE else None, settings))
            except DataError as error:
                skipped |= {cut: str(error)} if future is CUT_OFF else {}
                continue
            rows += [(market.clock[one.bar], one.what, one.of, one.pair, one.was, one.became, cut, future) for one in found]
    hours = other_hours(whole, bars)
    for bar in hours:
        rows += [
            (market.clock[one.bar], one.what, one.of, one.pair, one.was, one.became, market.clock[bar], CUT_OFF)
            for one in said_otherwise(whole, strategy, changes, bar, first)
        ]
    if not any(
        row[1] == RULE and row[6] == market.clock[bars[-1]] for row in rows
    ):  # what can be made of more data needs some to begin with
        skipped |= {row[6]: str(row[5]) for row in rows if row[1] == RULE}
        rows = [row for row in rows if row[1] != RULE]
    findings = pd.DataFrame(rows, columns=COLUMNS).sort_values("first_bar", kind="stable", ignore_index=True)
    if len(skipped) == len(bars) and findings.empty:
        raise ParameterError(
            f"{label_of(strategy)} can't be checked: it has no rule at any of {len(bars)} cuts, with the data that were there ({next(iter(skipped.values()))}); load a longer period"
        )
    if not findings.empty and not repeats(strategy, whole, changes):
        raise ParameterError(
            f"{label_of(strategy)} makes another rule each time that it is asked on the same market, so nothing tells a look into the future from chance; "
            "give its random numbers a fixed seed, and let it remember nothing"
        )
    return CausalityCheck(label_of(strategy), market.clock[bars], findings, skipped, len(hours))


def refuse_fixed(strategy: object, changes: Mapping[str, Any]) -> None:
    """ParameterError for what can't be asked for its rule again, or whose arrays are given."""
    if isinstance(strategy, Rule):
        raise ParameterError(
            "a causality check asks for the rule again on other markets, and the arrays of a bt.Rule are computed already; give a Strategy, whose rule(market) "
            "computes them"
        )
    if not isinstance(strategy, Strategy):
        hint = f"give {strategy.__name__}()" if isinstance(strategy, type) else "give one, as CashAndCarry()"
        raise ParameterError(f"a causality check needs one strategy: it got {shown(strategy)}; {hint}")
    for name in ARRAY_FIELDS:
        if changes.get(name) is not None:
            raise ParameterError(
                f"{name} can't be set in a causality check: its values would stay as they are; compute them in the strategy's rule(market)"
            )


def repeats(strategy: Strategy, whole: Made, changes: Mapping[str, Any]) -> bool:
    """Whether a strategy makes the same rule when it is asked again on the same market."""
    again, count = make(strategy, whole.market.altered(), changes), len(whole.market)
    return not any(changed_settings(whole, again, 0)) and not any(changed_arrays(whole, again, count))


def differences(
    whole: Made, result: Result, bar: int, first: int, number: int | None, settings: tuple[Strategy, float, Execution, Mapping[str, Any]]
) -> Iterator[Difference]:
    """What differs up to a bar if the market ends there, or (with a number) goes on otherwise. Raises DataError where the rule can't be made of what was known."""
    strategy, capital, execution, changes = settings
    other_market = whole.market.until(whole.market.clock[bar]) if number is None else other_future(whole, bar, number)
    there = other_market.instruments
    if any(leg is not None and not any(name in there for name in leg.contracts) for leg in whole.rule.legs):
        raise DataError("one of its legs has no bar yet")
    try:
        other = make(strategy, other_market, changes)
    except DataError:
        raise
    except Exception as error:  # a user's own code may fail in any way where it looks for what is not there yet
        if first <= bar:
            yield Difference(first, RULE, "", f"{type(error).__name__}: {error}", of=OWN)
        return
    count = bar + 1
    found = [*changed_settings(whole, other, min(first, bar)), *changed_arrays(whole, other, count)]
    yield from found
    if not found and same_bits(whole, other, count) and not filled_ahead(whole, execution, int(other_market.stamps[bar])):
        try:
            became = run(
                other.rule,
                other_market,
                capital=capital,
                execution=cut_execution(execution, len(other_market), int(other_market.stamps[-1])),
            )
        except CarryError:  # half a market may lack what a run needs; the rule said the same, and the run is the engine's
            return
        yield from changed_run(result, became, count)


def said_otherwise(whole: Made, strategy: Strategy, changes: Mapping[str, Any], bar: int, first: int) -> list[Difference]:
    """What of the rule alone differs up to a bar if the market ends there; nothing where it can't be made then, which is for the other cuts to tell."""
    try:
        other = make(strategy, whole.market.until(whole.market.clock[bar]), changes)
    except Exception:  # a user's own code, as in `differences`
        return []
    return [*changed_settings(whole, other, min(first, bar)), *changed_arrays(whole, other, bar + 1)]


def filled_ahead(whole: Made, execution: Execution, cut: int) -> bool:
    """Whether a missing funding event is filled with one after the cut, which the user has allowed and no rule has seen."""
    if execution.funding is not MissingFunding.FILL:
        return False
    names = [name for leg in whole.rule.legs if leg is not None and leg.kind is Kind.PERPETUAL for name in leg.contracts]
    for name in names:
        missing, paid = whole.market.missing_funding(name), whole.market.funding(name).times
        before = [int(times[times <= cut].max(initial=0)) for times in (missing, paid)]
        if before[0] > before[1]:
            return True
    return False


def cut_execution(execution: Execution, count: int, last: int) -> Execution:
    """The same execution on fewer bars: its series end there, and what happens later doesn't."""
    changed: dict[str, Any] = {}
    for item in fields(execution):
        value = getattr(execution, item.name)
        parts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(part, ARRAYS) for part in parts):
            kept = tuple(part[:count] if isinstance(part, ARRAYS) else part for part in parts)
            changed[item.name] = kept if isinstance(value, tuple) else kept[0]
    for name in ("deleveraged_at", "recalled_at"):
        at = instant(name, getattr(execution, name))
        if at is not None and at.value > last:
            changed[name] = None
    return replace(execution, **changed)
