"""What a strategy's script does with several values of a parameter: a sweep, a walk-forward or a search in place of a run.

Parameters of the strategy and of its position and limits take several values; the run's data, capital, execution and costs have one.

    python strategies/funding_carry.py --enter 0.02 0.06 0.1 --exit -0.05 0.0
    python strategies/funding_carry.py --enter 0.02..0.3:log --exit -0.05..0.05 --sample 500 --method sobol --store sweeps/funding
    python strategies/funding_carry.py --enter 0.02 0.06 0.1 --walk-forward 365D 90D
    python strategies/funding_carry.py --enter 0.02..0.3 --max-hold 30D 90D none --search 200
"""

import argparse
import os
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

from backtest.errors import ParameterError, StorageError
from backtest.execution import Execution
from backtest.flags import VARYING, kinds_of, parse_value
from backtest.market import Market
from backtest.rule import Rule, counting, duration
from backtest.space import MOST, Range, Values, between, check_count, checked_method, varied_of
from backtest.strategy import COMPOSED, Strategy, sample_market, values_of
from backtest.terminal import COMPILER, STANDARD_OUTPUT, put_json, waiting

MARKS = ("log", "whole")
# the flags of a sweep by what is asked for, in the words of the API; what a flag is for
SWEEP = {"sample": int, "method": str, "seed": int, "threads": int, "store": str, "cluster": str, "longest": str, "embargo": str}
TAKEN = {
    "walk_forward": ("sample", "method", "seed", "embargo"),
    "search": ("seed", "threads"),
    "sweep": tuple(name for name in SWEEP if name != "embargo"),
}


# ---------------------------------------------------------------- reading several values


def parse_several(words: Sequence[str], kinds: tuple[Any, ...], name: str) -> Any:
    """The value of a flag with several words, or with one that may be a range: a list, a range, or a text. ParameterError for a range that is none."""
    ranges = [word for word in words if is_range(word, kinds)]
    if ranges and len(words) > 1:
        raise ParameterError(f"{name} is one range or several values: {name}={' '.join(words)}; give the range alone, or values")
    if ranges:
        return parse_range(words[0], kinds, name)
    values = [parse_value(word, kinds, name) for word in words]
    return values if len(values) > 1 else values[0]


def is_range(word: str, kinds: tuple[Any, ...]) -> bool:
    """Whether a flag's word is meant as a range: in a text, such as a path, two dots may stand for something else."""
    low, dots, high = word.partition("..")
    return bool(dots) and (bool({int, float} & set(kinds)) or all(re.match(r"-?\.?\d", end) for end in (low, high)))


def parse_range(word: str, kinds: tuple[Any, ...], name: str) -> Range:
    """A range as 0.02..0.3, 0.02..0.3:log or 1..20:whole; of a parameter that takes only whole numbers it is always whole."""
    if not {int, float} & set(kinds):
        raise ParameterError(
            f"{name} is no number and takes no range: {name}={word}; give several values, as {flag(name)} {' '.join(ends(word))}"
        )
    bounds, *marks = word.split(":")
    for mark in marks:
        if mark not in MARKS:
            raise ParameterError(f'a range has no mark "{mark}": {name}={word}; known: {", ".join(MARKS)}')
    try:
        low, high = (float(end) for end in ends(bounds))
    except ValueError:
        raise ParameterError(f"{name} must be a range between two numbers, as 0.02..0.3: {name}={word}") from None
    try:
        return between(low, high, log="log" in marks, whole="whole" in marks or float not in kinds)
    except ParameterError as error:
        raise ParameterError(f"{name}={word}: {error}") from None


def ends(word: str) -> tuple[str, str]:
    """What stands before and after the two dots."""
    low, _, high = word.partition("..")
    return low, high


def flag(name: str) -> str:
    """The flag of a parameter."""
    return f"--{name.replace('_', '-')}"


# ---------------------------------------------------------------- what is asked for


def several_asked(found: argparse.Namespace, strategy: type[Strategy]) -> bool:
    """Whether some parameter has several values or a range, or a flag of a sweep is given. ParameterError for several of what doesn't vary."""
    asked = any(getattr(found, name) is not None for name in (*SWEEP, "walk_forward", "search"))
    own = {item.name for item in fields(strategy)}
    for owner in (strategy, Rule, Execution):
        hints = typing.get_type_hints(owner)
        for name, words in vars(found).items():
            if name not in hints or name in COMPOSED or (owner is not strategy and name in own):
                continue
            many = isinstance(words, list) and len(words) > 1
            if many or is_range(words if isinstance(words, str) else words[0], kinds_of(hints[name])):
                if owner is Execution:
                    raise ParameterError(f"{flag(name)} takes one value: it got {words}; {VARYING}")
                asked = True
    return asked


def check_asked(found: argparse.Namespace, varied: Mapping[str, Values]) -> None:
    """ParameterError where nothing varies, for flags that exclude each other, and for what is done with one run only."""
    if not varied:
        given = next(name for name in (*SWEEP, "walk_forward", "search") if getattr(found, name) is not None)
        raise ParameterError(
            f"{flag(given)} needs a parameter with several values: all have one; give several, as --size 0.25 0.5, or a range, as --size 0.1..0.5"
        )
    for given, does in (("scenario", "plays"), ("check_causality", "checks")):
        if getattr(found, given):
            name, values = next(iter(varied.items()))
            count = "is a range" if isinstance(values, Range) else f"has {len(values):,} values"
            raise ParameterError(f"{flag(given)} {does} one run: {name} {count}; give each parameter one value, or leave {flag(given)} out")
    if found.walk_forward and found.search is not None:
        raise ParameterError("--walk-forward and --search exclude each other: each chooses in its own way; leave one out")
    kind = kind_of(found)
    for name in SWEEP:
        if getattr(found, name) is not None and name not in TAKEN[kind]:
            if kind == "sweep":
                raise ParameterError(f"{flag(name)} belongs to a walk-forward; give --walk-forward 365D 90D, or leave {flag(name)} out")
            takes = " ".join(map(flag, TAKEN[kind]))
            raise ParameterError(f"{flag(kind)} and {flag(name)} exclude each other: it takes {takes}; leave one of them out")


def kind_of(found: argparse.Namespace) -> str:
    """What is asked for: sweep, walk_forward or search."""
    return "walk_forward" if found.walk_forward else "search" if found.search is not None else "sweep"


def settings_of(found: argparse.Namespace) -> dict[str, Any]:
    """The flags of a sweep that are given, by the names that they have in Python. ParameterError for values that are none."""
    settings = {name: parse_value(value, (kind,), name) for name, kind in SWEEP.items() if (value := getattr(found, name)) is not None}
    if "threads" in settings:
        counting("threads", settings["threads"])
    for name in ("longest", "embargo"):
        duration(name, settings.get(name), zero=name == "embargo")
    if found.search is not None:
        settings["trials"] = parse_value(found.search, (int,), "search")
        counting("search", settings["trials"])
    if found.walk_forward:
        settings |= dict(zip(("train", "test"), found.walk_forward, strict=True))
        for name in ("train", "test"):
            duration(name, settings[name])
    return settings


def check_count_of(varied: Mapping[str, Values], settings: Mapping[str, Any]) -> None:
    """ParameterError for a sample or a grid that is refused anyway, told before the data are loaded."""
    checked_method(settings.get("sample"), settings.get("method", "grid"), settings.get("seed", 0))
    if "trials" not in settings:
        check_count(varied, settings.get("sample"), MOST)


# ---------------------------------------------------------------- what is written, and where


class View(Protocol):
    """What a script ends with: a page and a file for machines."""

    def report(self, path: Path) -> object:
        """Write it as a page."""

    def to_json(self, path: str) -> object:
        """Write it for machines."""


@contextmanager
def written(found: argparse.Namespace, report: str) -> Iterator[Callable[[View, str], None]]:
    """Give the function that prints a table and writes the page, and the JSON if asked; with --json - standard output has that one alone.

    Raises ParameterError and StorageError for a place that can't be written, before anything runs.
    """
    page, out = Path(check_place("--report", report if found.report is None else found.report) or report), sys.stdout
    alone = check_place("--json", found.json) == STANDARD_OUTPUT

    def put(view: View, table: str) -> None:
        if not alone:
            say(table)
        with waiting("writing the report"):
            view.report(page)
        print(f"Report: {page}")
        if alone:
            put_json(view.to_json, out)
        elif found.json:
            view.to_json(found.json)
            print(f"JSON: {found.json}")

    with redirect_stdout(sys.stderr) if alone else nullcontext():
        yield put


def say(text: str) -> None:
    """Print a text, with colours on a terminal."""
    from backtest.report.paint import say as painted

    painted(text)


def check_place(option: str, path: str | None) -> str | None:
    """The path of a file to be written. ParameterError for none at all, StorageError for a folder and for one in which nothing can be made."""
    if path is None or (path == STANDARD_OUTPUT and option == "--json"):
        return path
    if path.strip() in ("", STANDARD_OUTPUT):
        raise ParameterError(f'{option} needs the path of a file: {option}="{path}"; name one, or leave {option} out')
    file = Path(path)
    around = next(folder for folder in file.absolute().parents if folder.exists() or folder == folder.parent)
    why = "it is a folder" if file.is_dir() else "" if file.exists() else _no_room(around)
    if why:
        raise StorageError(f"{path}: it can't be written, as {why}; choose another place with {option}")
    return path


def _no_room(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} is no folder"
    return "" if os.access(folder, os.W_OK) else f"nothing may be written into {folder}"


# ---------------------------------------------------------------- running it


def main_of_one(strategy: type[Strategy], found: argparse.Namespace, name: str, *, command: str | None) -> None:
    """Run the strategy once, through scenarios and the check for look-ahead if asked. command: what was typed, if it was."""
    from backtest.simulate import run
    from backtest.stress import chosen_scenarios, stress

    chosen = strategy(**values_of(found, strategy))
    capital, execution, changes = _setting(strategy, found)
    if found.scenario:
        chosen_scenarios(found.scenario)  # a mistake is told before the market is loaded
    with written(found, f"reports/{name}.html") as put:
        market = sample_market(found)
        with waiting("running the strategy"):
            result = run(chosen, market, capital=capital, execution=execution, **changes)
        result.command = command
        view: View = result
        if found.scenario:
            with waiting("playing scenarios"):
                view = stress(result, scenarios=found.scenario, keep=False)
        with waiting("working out the baselines"):
            table = f"{result}\n\n{view}" if found.scenario else str(result)
        put(view, table)
        if found.check_causality:
            from backtest.causality import check_causality

            with waiting("running it again on other futures"):
                checked = check_causality(chosen, market, capital=capital, execution=execution, **changes)
            say(f"\n{checked}")
            checked.raise_if_failed()


def _setting(strategy: type[Strategy], found: argparse.Namespace) -> tuple[float, Execution, dict[str, Any]]:
    """Capital, execution, and the changes of the rule. Raises ParameterError."""
    own = {item.name for item in fields(strategy)}
    execution = Execution(**values_of(found, Execution, own=own))
    return parse_value(found.capital, (float,), "capital"), execution, values_of(found, Rule, own=own)


def main_of_several(strategy: type[Strategy], found: argparse.Namespace, name: str) -> None:
    """Run what is asked for: print the table, write the report, and the JSON if asked. Interrupted, it says what was kept, and ends with 130."""
    parameters = {key: tuple(value) if key in COMPOSED else value for key, value in values_of(found, strategy).items()}
    capital, execution, changes = _setting(strategy, found)
    parameters |= changes
    varied, _ = varied_of(parameters)
    check_asked(found, varied)
    settings = settings_of(found)
    check_count_of(varied, settings)
    kind = kind_of(found)
    with written(found, f"reports/{name}_{kind}.html") as put:
        market = sample_market(found)
        try:
            swept = run_kind(kind, strategy, market, capital=capital, execution=execution, **settings, **parameters)
        except KeyboardInterrupt as stopped:
            print(str(stopped) or stopped_words(found.store), file=sys.stderr)
            raise SystemExit(130) from None
        with waiting("working out the odds of luck"):
            table = str(swept)
        put(swept, table)


def run_kind(kind: str, strategy: type[Strategy], market: Market, **settings: Any) -> Any:
    """The sweep, walk-forward or search. They are imported when one is asked for: most scripts run once."""
    from backtest.forward import walk_forward
    from backtest.study import search
    from backtest.sweep import sweep

    COMPILER.listen()
    asked: dict[str, Callable[..., Any]] = {"sweep": sweep, "walk_forward": walk_forward, "search": search}
    return asked[kind](strategy, market, **settings)


def stopped_words(store: str | None) -> str:
    """What is left of what was interrupted, where it doesn't say so itself."""
    kept = f"what was finished is kept in {store}, and the same command goes on from there" if store else "nothing is kept"
    return f"stopped before it was finished; {kept}; no report was written"
