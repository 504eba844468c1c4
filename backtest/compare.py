"""Runs beside each other: equity, drawdowns, sources of PnL, correlation, figures, costs, and what differs in what they ran on.

A run is a result, or the JSON file that one has written. Days are midnights UTC, over the union of all periods; what a run lacks there is NaN. Capitals may
differ: curves are compared as growth of 1.

    comparison = bt.compare(result, "runs/other.json")
    print(comparison)
    comparison.growth.plot()
    comparison.report("comparison.html")
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtest import metrics
from backtest._version import __version__
from backtest.book import named
from backtest.card import Card
from backtest.errors import DataError, ParameterError
from backtest.execution import Execution
from backtest.rule import is_finite, shown

FEWEST, MOST = 2, 24  # runs: more lines than that can't be told apart
COMMON_DAYS = 10  # fewer days of PnL than that correlate with anything
KEYS: dict[str, tuple[type, ...]] = {
    "strategy": (str,), "params": (dict,), "dataset": (dict,), "capital": (int, float), "start": (str,), "end": (str,), "bars": (int,),
    "metrics": (dict,), "attribution": (dict,), "final_equity": (int, float), "quote": (str,), "execution": (dict,),
}  # fmt: skip
KINDS = {str: "a text", dict: "an object", int: "a number"}
REMEDY = "give a file that --json or result.to_json has written"
COSTS = {"zero": "zero cost", "double": "double cost"}  # names of the baselines
OF_BASELINE = ("final_equity", "total_return")
OVER_COMMON_DAYS = ("total_return", "annual_return", "annual_volatility", "sharpe", "max_drawdown")
LEGS = ("long", "short")
EXECUTED = frozenset(item.name for item in fields(Execution)) | {"missing_funding", "size", "leverage"}
LONGEST_VALUE = 24  # of a setting in a name


@dataclass(frozen=True)
class Data:
    """What a run ran on."""

    name: str
    hash: str
    simulated: bool


@dataclass(frozen=True)
class Compared:
    """One run, as far as it is compared. Cash in `quote`; `daily` is equity at midnights, the capital first; `settings` are those in force, in words."""

    strategy: str
    params: Mapping[str, object]
    dataset: Data
    capital: float
    quote: str
    start: pd.Timestamp
    end: pd.Timestamp
    bars: int
    settings: Mapping[str, str]
    metrics: Mapping[str, float]
    sources: Mapping[str, float]
    final_equity: float
    daily: pd.Series
    version: str
    baselines: Callable[[], pd.DataFrame]


@dataclass(eq=False, repr=False)
class Comparison(Card):
    """Several runs on the same days; printing it gives the table. All tables have a column a run, but for `costs`, which has a row."""

    runs: dict[str, Compared]

    def __repr__(self) -> str:
        from backtest.report.compare import render_comparison

        return render_comparison(self)

    @cached_property
    def equity(self) -> pd.DataFrame:
        """Equity at each midnight UTC, in each run's own currency; NaN outside a run."""
        return pd.DataFrame({name: run.daily for name, run in self.runs.items()}).sort_index()

    @cached_property
    def growth(self) -> pd.DataFrame:
        """Equity over capital at each midnight."""
        return self.equity / pd.Series({name: run.capital for name, run in self.runs.items()})

    @cached_property
    def drawdowns(self) -> pd.DataFrame:
        """Fall from the running peak at each midnight, a fraction ≤ 0."""
        return self.equity / self.equity.cummax() - 1.0

    @cached_property
    def correlation(self) -> pd.DataFrame:
        """Correlation of daily PnL, of each two runs over the days that both have; NaN where they are fewer than ten, or where one earns the same each day."""
        return self.equity.diff().corr(min_periods=COMMON_DAYS)

    @cached_property
    def attribution(self) -> pd.DataFrame:
        """Cash by source over each whole run, a row a source; 0 where a run has none of it."""
        return pd.DataFrame({name: pd.Series(run.sources, dtype=float) for name, run in self.runs.items()}, index=self._sources).fillna(0.0)

    @cached_property
    def attribution_of_capital(self) -> pd.DataFrame:
        """`attribution` as a fraction of each run's capital."""
        return self.attribution / pd.Series({name: run.capital for name, run in self.runs.items()})

    @property
    def _sources(self) -> list[str]:
        """The sources in the order in which the runs list them."""
        return list(dict.fromkeys(source for run in self.runs.values() for source in run.sources))

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Statistics of each run over its own period, a row a metric; NaN where unknown."""
        names = list(dict.fromkeys(key for run in self.runs.values() for key in run.metrics))
        return pd.DataFrame({name: pd.Series(run.metrics, dtype=float) for name, run in self.runs.items()}, index=names)

    @cached_property
    def common(self) -> pd.DataFrame:
        """Statistics of daily equity over the days that all runs have, a row a metric: the same period for all."""
        together = self.equity.dropna()
        return pd.DataFrame({str(name): over_days(together[name]) for name in together}, index=list(OVER_COMMON_DAYS))

    @cached_property
    def costs(self) -> pd.DataFrame:
        """Final equity and total return with costs as they were, at zero and at double cost, a row a run; NaN where a run has no such baseline."""
        return pd.DataFrame({name: at_costs(run) for name, run in self.runs.items()}).T

    @cached_property
    def differences(self) -> list[str]:
        """What differs in data, period, capital, currency, costs, execution and version, a sentence each."""
        return differences(self.runs, len(self.equity.dropna()) - 1)

    def report(self, path: str | PathLike[str]) -> None:
        """Write the page: one self-contained HTML file. Raises StorageError."""
        from backtest.report.compare import write_comparison

        write_comparison(self, path)

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write it for machines; what isn't known is null. Raises StorageError."""
        from backtest.report.compare import write_comparison_json

        write_comparison_json(self, path)


def compare(*runs: Any, names: Sequence[str] | None = None) -> Comparison:
    """Put 2 to 24 runs beside each other: results, or paths to the JSON files of runs, mixed as they come.

    A dict names them; else `names` does, or each is called by its strategy and what differs. Raises ParameterError for what is no run and for a name that
    stands twice, DataError for a file that is no run's JSON and for runs without a day in common, StorageError for one that can't be read.
    """
    (first, *rest) = runs or (None,)
    given: Sequence[Any] = runs
    if not rest and isinstance(first, Mapping):
        if names is not None:
            raise ParameterError("names stand in the dict already: names were given too; leave one out")
        given, names = list(first.values()), [str(name) for name in first]
    elif not rest and isinstance(first, list | tuple):
        given = first
    if not FEWEST <= len(given) <= MOST:
        remedy = "choose some of them" if len(given) > MOST else "give results, or JSON files that --json has written"
        raise ParameterError(f"a comparison takes {FEWEST} to {MOST} runs: it got {len(given)}; {remedy}")
    read = [read_run(one) for one in given]
    comparison = Comparison(dict(zip(told_apart(read) if names is None else checked_names(names, len(read)), read, strict=True)))
    refuse_apart(comparison)
    return comparison


def checked_names(names: Sequence[str], count: int) -> list[str]:
    """Names as a user gives them; ParameterError unless there is one for each run and none stands twice."""
    if not isinstance(names, Iterable):
        raise ParameterError(f"names must be texts, one for each run: names={named(names)}; leave them out for the strategies' own")
    chosen = [names] if isinstance(names, str) else list(names)
    if len(chosen) != count:
        raise ParameterError(f"names must be one for each run: {len(chosen)} for {count} runs; leave them out for the strategies' own")
    for name in chosen:
        if not isinstance(name, str) or not name.strip():
            raise ParameterError(f"a name of a run must be a text: {shown(repr(name))}; leave names out for the strategies' own")
        if chosen.count(name) > 1:
            raise ParameterError(f'the name "{name}" stands twice; give each run one of its own')
    return chosen


def refuse_apart(comparison: Comparison) -> None:
    """DataError unless there is a day of which all runs have the PnL."""
    if len(comparison.equity.dropna()) >= 2:
        return
    runs = comparison.runs
    late, early = max(runs, key=lambda name: runs[name].start), min(runs, key=lambda name: runs[name].end)
    raise DataError(
        f"the runs have no whole day in common: {late} begins at {runs[late].start:%Y-%m-%dT%H:%M}, {early} ends at {runs[early].end:%Y-%m-%dT%H:%M}; "
        "compare runs over one period"
    )


# ---------------------------------------------------------------- reading a run


def read_run(given: Any) -> Compared:
    """A run of what was given: a result, or the path of its JSON."""
    if isinstance(given, str | os.PathLike):
        return from_json(Path(given).expanduser())
    if hasattr(given, "equity") and hasattr(given, "capital"):
        return from_result(given)
    hint = (
        f"run it first: bt.run({type(given).__name__}(…), market)"
        if hasattr(given, "rule")
        else "give results, or paths to their JSON files"
    )
    raise ParameterError(f"a comparison takes results of runs: it got {named(given)}; {hint}")


def from_result(result: Any) -> Compared:
    """A result that is at hand: of one rule or of a book."""
    info = result.dataset
    return Compared(
        strategy=result.strategy,
        params=result.params,
        dataset=Data(info.name, info.hash, bool(info.simulated)),
        capital=float(result.capital),
        quote=result.quote,
        start=result.start,
        end=result.end,
        bars=result.bars,
        settings=dict(result.rule_text),
        metrics={key: np.nan if value is None else float(value) for key, value in result.metrics.items()},
        sources={str(source): float(cash) for source, cash in result.attribution.iloc[-1].items()},
        final_equity=float(result.equity.iloc[-1]),
        daily=by_days(metrics.daily_equity(result.equity, result.start, result.capital)),
        version=__version__,
        baselines=lambda: result.baselines,
    )


def from_json(path: Path) -> Compared:
    """A run that has written its JSON. Raises DataError, naming the file and the key, for anything else."""
    document = loaded(path)
    for key, kinds in KEYS.items():
        if key not in document:
            raise DataError(f'{path}: this is no run\'s JSON: the key "{key}" is missing; {REMEDY}')
        if not isinstance(document[key], kinds) or isinstance(document[key], bool):
            raise DataError(f'{path}: "{key}" must be {KINDS[kinds[0]]}: {brief(document[key])}; {REMEDY}')
    if "daily" not in document:
        raise DataError(f'{path}: it is older than daily equity in JSON: the key "daily" is missing; write it again with --json')
    check_values(path, document)
    start, end = (time_of(path, key, document[key]) for key in ("start", "end"))
    if end <= start:
        raise DataError(f'{path}: "end" must be after "start": {document["end"]} and {document["start"]}; {REMEDY}')
    dataset = document["dataset"]
    baselines = baselines_of(path, document.get("baselines"))
    return Compared(
        strategy=document["strategy"],
        params=document["params"],
        dataset=Data(str(dataset.get("name")), str(dataset.get("hash")), bool(dataset.get("simulated"))),
        capital=float(document["capital"]),
        quote=document["quote"],
        start=start,
        end=end,
        bars=document["bars"],
        settings={key: str(value) for key, value in document["execution"].items()},
        metrics=numbers(path, "metrics", document["metrics"]),
        sources=numbers(path, "attribution", document["attribution"]),
        final_equity=float(document["final_equity"]),
        daily=daily_of(path, document["daily"]),
        version=str(document.get("version") or ""),
        baselines=lambda: baselines,
    )


def check_values(path: Path, document: Mapping[str, Any]) -> None:
    """DataError for numbers that no run has."""
    rules = {"capital": ("a finite number above 0", True), "final_equity": ("a finite number", False), "bars": ("a number above 0", True)}
    for key, (wanted, above) in rules.items():
        value = document[key]
        if not is_finite(value) or (above and not value > 0):
            raise DataError(f'{path}: "{key}" must be {wanted}: {brief(value)}; {REMEDY}')
    if not document["attribution"]:
        raise DataError(f'{path}: "attribution" must name the sources of PnL: it is empty; {REMEDY}')


def brief(value: object) -> str:
    """A value of a file in a message, however many digits it has."""
    return (
        "an integer beyond all floats" if isinstance(value, int) and not isinstance(value, bool) and not is_finite(value) else shown(value)
    )


def baselines_of(path: Path, rows: Any) -> pd.DataFrame:
    """The baselines in a run's JSON by their names; an empty table without any."""
    found: dict[str, dict[str, float]] = {}
    if rows is not None and not isinstance(rows, list):
        raise DataError(f'{path}: "baselines" must be a list: {brief(rows)}; {REMEDY}')
    for row in rows or []:
        name = row.get("name") if isinstance(row, dict) else None
        if not isinstance(name, str):
            raise DataError(f'{path}: each of "baselines" must be an object with a "name": {brief(row)}; {REMEDY}')
        if name in found:
            raise DataError(f'{path}: "{name}" stands twice in "baselines"; {REMEDY}')
        found[name] = numbers(path, f"baselines: {name}", {key: row.get(key) for key in OF_BASELINE})
    return pd.DataFrame.from_dict(found, orient="index", columns=list(OF_BASELINE), dtype=float)


def loaded(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: it can't be read: {error.strerror or error}; {REMEDY}") from None
    except (ValueError, RecursionError) as error:  # no JSON, or no text at all
        raise DataError(f"{path}: this is no JSON ({error}); {REMEDY}") from None
    if not isinstance(document, dict):
        raise DataError(f"{path}: this is no run's JSON: it holds no object; {REMEDY}")
    return document


def time_of(path: Path, key: str, text: str) -> pd.Timestamp:
    """An instant in UTC."""
    try:
        if pd.isna(stamp := pd.Timestamp(text)):
            raise ValueError("no time")
        return stamp.as_unit("ns").tz_convert("UTC")
    except (ValueError, TypeError, OverflowError):
        raise DataError(f'{path}: "{key}" must be a time in UTC: {shown(text)}; {REMEDY}') from None


def numbers(path: Path, key: str, values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an object; null is NaN."""
    for name, value in values.items():
        if value is not None and not is_finite(value):
            raise DataError(f'{path}: "{name}" in "{key}" must be a number: {brief(value)}; {REMEDY}')
    return {name: np.nan if value is None else float(value) for name, value in values.items()}


def daily_of(path: Path, daily: Any) -> pd.Series:
    """Daily equity as the JSON has it."""
    times, equity = (daily.get(key) if isinstance(daily, dict) else None for key in ("time", "equity"))
    if not isinstance(times, list) or not isinstance(equity, list) or len(times) != len(equity) or not times:
        raise DataError(f'{path}: "daily" must have lists "time" and "equity" of one length; {REMEDY}')
    values = numbers(path, "daily", {str(place): value for place, value in enumerate(equity)})
    stamps = [time_of(path, "time", str(text)) for text in times]
    days = by_days(pd.Series(list(values.values()), index=pd.DatetimeIndex(stamps), name="equity"))
    if not days.index.is_monotonic_increasing or not days.index.is_unique:
        raise DataError(f'{path}: "time" in "daily" must rise, a day each; {REMEDY}')
    return days


def by_days(daily: pd.Series) -> pd.Series:
    """Daily equity with the capital at the midnight at or before the start, so that all runs share their stamps."""
    return daily.set_axis(pd.DatetimeIndex(daily.index).as_unit("ns").floor("D"))


# ---------------------------------------------------------------- names and differences


def told_apart(runs: Sequence[Compared]) -> list[str]:
    """A name for each run: its strategy, with as much of what differs among the runs of that strategy as tells them apart; a number where nothing does."""
    names = [run.strategy for run in runs]
    for layer in LAYERS:
        if len(set(names)) == len(names):
            break
        twice = {name for name in names if names.count(name) > 1}
        for name in twice:
            alike = [place for place, one in enumerate(names) if one == name]
            for place, words in zip(alike, differing_words([layer(runs[place]) for place in alike]), strict=True):
                names[place] = f"{name} {words}".strip()
    unique: list[str] = []
    for name in names:
        tries = (name if count == 1 else f"{name} {count}" for count in range(1, len(names) + 2))
        unique.append(next(one for one in tries if one not in unique))
    return unique


def settings_words(run: Compared) -> dict[str, str]:
    """The settings that are short enough for a name."""
    return {key: value for key, value in run.settings.items() if len(value) <= LONGEST_VALUE and key not in LEGS}


LAYERS: tuple[Callable[[Compared], Mapping[str, str]], ...] = (
    lambda run: {key: written(value) for key, value in run.params.items()},
    settings_words,
    lambda run: {"on": run.dataset.name},
    lambda run: {"capital": f"{run.capital:,.12g}"},
    lambda run: {"from": f"{run.start:%Y-%m-%d}"},
    lambda run: {"to": f"{run.end:%Y-%m-%d}"},
)


def differing_words(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Of each run "key=value key=value", only of keys whose values are not all alike."""
    keys = dict.fromkeys(key for one in settings for key in one)
    chosen = [key for key in keys if len({one.get(key) for one in settings}) > 1]
    return [" ".join(f"{key}={one[key]}" for key in chosen if key in one) for one in settings]


def written(value: object) -> str:
    """A parameter's value as one would type it, alike whether it was read or is at hand."""
    if isinstance(value, list | tuple):
        return ",".join(map(written, value)) or "none"
    if isinstance(value, bool):
        return str(value)
    return "none" if value is None else f"{value:.12g}" if isinstance(value, int | float) else str(value)


def differences(runs: Mapping[str, Compared], common_days: int) -> list[str]:
    """What a reader must know before two numbers are held against each other."""
    out = [
        *told("Some data are SIMULATED and some are not", runs, lambda run: "simulated" if run.dataset.simulated else "real"),
        *told("Datasets differ", runs, lambda run: f"{run.dataset.name} {run.dataset.hash[:12]}"),
        *told("Periods differ", runs, period_of, f"; {common_days:,} days are common to all"),
        *told("Bars differ", runs, lambda run: f"{bar_length(run)} a bar"),
        *told("Currencies differ", runs, lambda run: run.quote, "; cash can't be held against each other"),
        *told("Capitals differ", runs, lambda run: f"{run.capital:,.12g}", "; growth and fractions are of each one's own"),
    ]
    if common_days < COMMON_DAYS:
        out.append(f"Only {common_days} days are common to all: too few for a correlation, which needs {COMMON_DAYS}.")
    for slot in LEGS:
        for leg in dict.fromkeys(run.settings.get(slot) for run in runs.values()):
            alike = {name: run for name, run in runs.items() if leg and run.settings.get(slot) == leg}
            out += told(f"Costs of {leg} differ", alike, costs_of(slot))
    keys = dict.fromkeys(key for run in runs.values() for key in run.settings if key in EXECUTED)
    for key in keys:
        having = {name: run for name, run in runs.items() if key in run.settings}
        out += told(f"{key.replace('_', ' ').capitalize()} differs", having, setting(key))
    out += told("Versions of the engine differ", {name: run for name, run in runs.items() if run.version}, lambda run: run.version)
    return list(dict.fromkeys(out))


def costs_of(slot: str) -> Callable[[Compared], str]:
    """What asks a run for the costs of a slot."""
    return lambda run: run.settings.get(f"{slot}_costs", "unknown")


def setting(key: str) -> Callable[[Compared], str]:
    """What asks a run for a setting."""
    return lambda run: run.settings[key]


def told(what: str, runs: Mapping[str, Compared], value: Callable[[Compared], str], more: str = "") -> list[str]:
    """One sentence on values that are not all alike, naming whose each is; none where they are."""
    groups: dict[str, list[str]] = {}
    for name, run in runs.items():
        groups.setdefault(value(run), []).append(name)
    if len(groups) < 2:
        return []
    largest = max(groups, key=lambda text: len(groups[text]))
    others = {largest: groups.pop(largest)} if len(groups[largest]) > 1 else {}
    parts = [f"{text} for {listed(names)}" for text, names in groups.items()] + [f"{text} for the others" for text in others]
    return [f"{what}: {'; '.join(parts)}{more}."]


def listed(names: Iterable[str]) -> str:
    """Names in a sentence: "A, B and C"."""
    (*most, last) = names
    return f"{', '.join(most)} and {last}" if most else last


def period_of(run: Compared) -> str:
    """A run's span, to the minute where it is not whole days."""
    whole = run.start == run.start.floor("D") and run.end == run.end.floor("D")
    shape = "%Y-%m-%d" if whole else "%Y-%m-%d %H:%M"
    return f"{run.start.strftime(shape)} to {run.end.strftime(shape)}"


def bar_length(run: Compared) -> str:
    """The mean length of a bar, in whole units of what suits it: holes in the data make it a little longer than it is."""
    minutes = (run.end - run.start).total_seconds() / 60.0 / max(run.bars, 1)
    for size, unit in ((1440.0, "d"), (60.0, "h")):
        if minutes >= 0.95 * size:
            return f"{round(minutes / size)} {unit}"
    return f"{minutes:.2g} min"


# ---------------------------------------------------------------- figures


def over_days(daily: pd.Series) -> dict[str, float]:
    """Statistics of some days of equity, the first of which is what they begin with; NaN where there was nothing left to begin with."""
    first = float(daily.iloc[0])
    if first <= 0.0:
        return dict.fromkeys(OVER_COMMON_DAYS, np.nan)
    found = metrics.return_statistics(daily.iloc[1:], daily.index[0], first)
    return {key: found[key] for key in OVER_COMMON_DAYS}


def at_costs(run: Compared) -> dict[str, float]:
    """Final equity and return of a run by what it cost."""
    table = run.baselines()
    out = {"final_equity": run.final_equity, "total_return": run.final_equity / run.capital - 1.0}
    for prefix, name in COSTS.items():
        row: Mapping[str, Any] = dict(table.loc[name]) if name in table.index else {}
        out |= {f"{prefix}_cost_{key}": float(row.get(key, np.nan)) for key in ("final_equity", "total_return")}
    return out
