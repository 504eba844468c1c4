"""Searches: an optuna study over the parameters of a strategy and its rule, in which each trial is a combination that the scan runs.

A sampler suggests combinations in batches, the scan runs those it has not run before, and the sampler learns what came out and suggests what is near the
good ones. The longer it looks, the better its best looks by luck alone: every trial counts in the deflated Sharpe ratio, one that was known already too.

    found = bt.search(FundingCarry, market, trials=300, enter=bt.between(0.02, 0.3, log=True), exit=[0.0, 0.02])
    print(found)
    found.history["best"].plot()
    longer = bt.search(FundingCarry, market, trials=300, study=found.study, enter=bt.between(0.02, 0.3, log=True), exit=[0.0, 0.02])
"""

import importlib.util
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from backtest.errors import ParameterError, did_you_mean
from backtest.execution import Execution
from backtest.luck import Luck, luck_of
from backtest.market import Market
from backtest.metrics import RANKED
from backtest.rule import choice, counting, number, shown
from backtest.scan import STATISTICS, Grid, Scanned
from backtest.simulate import MOST_CAPITAL
from backtest.space import Range, Values, labelled
from backtest.strategy import Strategy
from backtest.sweep import Sweep, parameters_asked, swept, with_few_trades
from backtest.windows import LOWER_IS_BETTER

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import Trial

    Space = dict[str, BaseDistribution]

BATCH = 20  # trials that are run together before a sampler learns of them: fewer find hardly more, and lay out the data more often
LARGE = 200  # of a sampler that doesn't learn
FIRST = 10  # trials at random, at least, before a sampler has learned enough
MOST = 10_000  # trials: a sampler that learns reads all of them at each
PATIENCE = 1.0  # seconds before progress is shown
SAME = 1e-6  # a study's value and ours are apart by no more of it
LARGEST_SEED = 2**32 - 1
CROWDED = "the sampler looked near the best: each trial counts as an independent one; splits and neighbours are of crowded combinations"
WHY = "why"  # the attribute of a trial that has no value

Labels = tuple[Any, ...]


class Sampler(StrEnum):
    """How combinations are suggested: by what was good before (Parzen estimators), at random, by a Sobol sequence, or by CMA-ES, which needs ranges."""

    TPE = "tpe"
    RANDOM = "random"
    QMC = "qmc"
    CMAES = "cmaes"


@dataclass(frozen=True, eq=False, repr=False)
class Search(Sweep):
    """What a search has run: a sweep of all distinct combinations, in the order in which they were suggested first, whose `trials` are all of the study.

    study: the optuna study, with optuna's own pictures and importances; by: the statistic that it looked for (`best` is the best Sharpe ratio, of which
    there are odds). history: a row a trial, in order: its parameters, value (`by`, NaN without one), best so far, state ("complete", "pruned" without a
    value, "fail" where it was broken off), and why.
    """

    study: "Study"
    by: str
    history: pd.DataFrame

    @cached_property
    def luck(self) -> Luck:
        """The odds that the best Sharpe ratio is luck. Each trial of a sampler that learns counts as an independent one.

        How alike combinations are tells how many independent ones a fixed choice of them is worth. A sampler that climbs to the best makes them alike, and what
        it climbs may be noise: on noise its best is well above what luck gives so many alike, and below what luck gives as many independent ones.
        """
        learnt = learns(self.study)
        found = luck_of(
            np.ascontiguousarray(self.daily.to_numpy().T),
            self.combinations,
            baseline=self.baseline.to_numpy(),
            name=self.baseline_name,
            idle=self.idle.to_numpy(),
            trials=self.trials,
            independent=learnt,
        )
        luck = with_few_trades(found, self.table)
        return replace(luck, notes=[*luck.notes, CROWDED]) if learnt and not math.isnan(luck.effective_trials) else luck


def search(
    strategy: type[Strategy] | Strategy,
    market: Market,
    *,
    trials: int = 200,
    by: str = RANKED,
    sampler: str = "tpe",
    seed: int = 0,
    study: "Study | None" = None,
    threads: int | None = None,
    capital: float = 100_000.0,
    execution: Execution | None = None,
    **parameters: Any,
) -> Search:
    """Look for the best combination of some parameters' values, by an optuna study.

    parameters: as of `sweep`; what varies is a list, whose values have no order for the search, or `between` two numbers. by: the column of a sweep's table
    that is to be high, or low for max_drawdown and annual_volatility, among combinations that trade. sampler: tpe, random, qmc (Sobol) or cmaes; the same
    seed gives the same search on any machine and number of threads. A combination that is refused, trades nothing or has no such statistic is a pruned
    trial without a value, so that the sampler keeps away from it; why is told in `history`.

    study: one to go on with by its own sampler, as that of another search on the same market; what it has tried is run again and belongs to the result.
    With tpe the time grows with the square of the trials: a thousand take some ten seconds beside the runs, ten thousand a quarter of an hour.

    Raises ParameterError without optuna, for an unknown parameter or statistic, where nothing varies, for trials, seed and threads that are none, a study
    that doesn't fit, and where not one combination runs.
    """
    varied, fixed, name = asked(strategy, market, parameters, by)
    way = checked(trials, sampler, seed, threads)
    check_package("optuna", 'searching needs optuna; pip install "carry-backtest[search]", or use bt.sweep with sample=…')
    number("capital", capital, above=0.0, most=MOST_CAPITAL)
    grid = Grid(strategy, market, float(capital), execution, fixed)
    with quiet():
        space = {key: distribution(values) for key, values in varied.items()}
        study = made(way, seed, by) if study is None else checked_study(study, space, by)
        runs = Runs(grid, varied, by, threads or processors())
        runs.check(study)
        with watched(trials) as progress:
            for count in batches(trials, BATCH if learns(study) else LARGE):
                tell(study, space, runs, count)
                progress.update(count)
    return found(grid, runs, study, name)


# ---------------------------------------------------------------- what is asked for


def asked(
    strategy: type[Strategy] | Strategy, market: Market, parameters: Mapping[str, Any], by: str
) -> tuple[dict[str, Values], dict[str, Any], str]:
    """The parameters that vary, the others, and the strategy's name. ParameterError for what can't be searched."""
    varied, fixed, name = parameters_asked(strategy, market, parameters, "a search")
    if by not in STATISTICS:
        raise ParameterError(f'unknown statistic "{by}" to search by; {did_you_mean(str(by), list(STATISTICS))}')
    if not varied:
        raise ParameterError("a search needs parameters that vary: none does; give enter=bt.between(0.02, 0.3), or a list of values")
    return varied, fixed, name


def checked(trials: int, sampler: str, seed: int, threads: int | None) -> Sampler:
    """The sampler; ParameterError for one that is none or not installed, and for numbers that are none."""
    way = choice("sampler", sampler, Sampler)
    counting("trials", trials)
    if trials > MOST:
        raise ParameterError(f"a search has at most {MOST:,} trials: trials={trials:,}; give fewer, or use bt.sweep with sample=…")
    if threads is not None:
        counting("threads", threads)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= LARGEST_SEED:
        raise ParameterError(f"seed must be a whole number from 0 to {LARGEST_SEED:,}: seed={shown(seed)}")
    if way is Sampler.CMAES:
        check_package("cmaes", 'sampler="cmaes" needs the package cmaes; pip install cmaes, or choose sampler="tpe"')
    return way


def check_package(package: str, told: str) -> None:
    """ParameterError with this sentence unless a package is installed."""
    if importlib.util.find_spec(package) is None:
        raise ParameterError(told)


def processors() -> int:
    """How many threads this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---------------------------------------------------------------- the study


def distribution(values: Values) -> "BaseDistribution":
    """What optuna draws from: the numbers of a range, or the labels of a list."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(values, Range):
        return CategoricalDistribution([option(value) for value in values])
    if values.whole:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def option(value: Any) -> bool | int | float | str:
    """A value of a list as optuna keeps it: values of any other type in words."""
    label = labelled(value)
    return label if isinstance(label, bool | int | float | str) else str(label)


def given(suggested: Mapping[str, Any], varied: Mapping[str, Values]) -> dict[str, Any]:
    """The combination of a trial: values from ranges as short as those of a sample, values from lists by their labels."""
    chosen = {}
    for name, values in varied.items():
        value = suggested[name]
        if isinstance(values, Range):
            chosen[name] = value if values.whole else rounded(values, value)
        else:
            chosen[name] = next(one for one in values if option(one) == value)
    return chosen


def rounded(values: Range, value: float) -> float:
    """A number of a range, short enough to be typed again."""
    if values.log:
        return values.at(math.log(value / values.low) / math.log(values.high / values.low))
    return values.at((value - values.low) / (values.high - values.low))


def made(way: Sampler, seed: int, by: str) -> "Study":
    """A new study in memory."""
    import optuna

    return optuna.create_study(direction=direction_of(by), sampler=sampler_of(way, int(seed)))


def sampler_of(way: Sampler, seed: int) -> "BaseSampler":
    """The sampler, which knows of trials that still run: else all of a batch would be nearly the same."""
    from optuna import samplers

    if way is Sampler.RANDOM:
        return samplers.RandomSampler(seed=seed)
    if way is Sampler.QMC:
        return samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
    if way is Sampler.CMAES:
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    # Parameter by parameter: estimators of all together did no better on ridges and stayed with one value of a list too long.
    return samplers.TPESampler(seed=seed, n_startup_trials=FIRST, multivariate=False, constant_liar=True)


def learns(study: "Study") -> bool:
    """Whether what a study suggests depends on what came out before."""
    from optuna.samplers import QMCSampler, RandomSampler

    return not isinstance(study.sampler, RandomSampler | QMCSampler)


def direction_of(by: str) -> Literal["minimize", "maximize"]:
    """Where a statistic is better."""
    return "minimize" if by in LOWER_IS_BETTER else "maximize"


def checked_study(study: object, space: "Space", by: str) -> "Study":
    """A study that was handed in; ParameterError for what is none, looks for something else, or has tried other parameters."""
    from optuna.study import Study

    if not isinstance(study, Study):
        raise ParameterError(f"study must be one of optuna's: it got {shown(study)}; give that of another search, or leave it out")
    if [one.name.lower() for one in study.directions] != [direction_of(by)]:
        ways = " and ".join(one.name.lower() for one in study.directions)
        raise ParameterError(
            f'the study is to {ways}, and {by} is to {direction_of(by)}: create it with direction="{direction_of(by)}", or leave it out'
        )
    for trial in study.get_trials(deepcopy=False):
        if not trial.distributions:
            continue
        if trial.distributions.keys() != space.keys():
            raise ParameterError(
                f"the study has tried other parameters: {', '.join(sorted(trial.distributions))} in trial {trial.number}, {', '.join(sorted(space))} here; "
                "vary the same, or leave it out"
            )
        for key, one in trial.distributions.items():
            if one != space[key]:
                raise ParameterError(
                    f"the study has tried other values of {key}: {shown(one)} in trial {trial.number}, {shown(space[key])} here; give the same, or leave it out"
                )
    return study


@contextmanager
def quiet() -> Iterator[None]:
    """Keep optuna from telling every step, and from warning that some of its parts are young."""
    import optuna
    from optuna.exceptions import ExperimentalWarning

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            warnings.filterwarnings("ignore", "Fixed parameter", UserWarning)  # `ask` says it in words of ours
            yield
    finally:
        optuna.logging.set_verbosity(before)


# ---------------------------------------------------------------- the trials


class Runs:
    """What has been run: every distinct combination once, by its labels."""

    def __init__(self, grid: Grid, varied: Mapping[str, Values], by: str, threads: int) -> None:
        self.grid, self.varied, self.by, self.threads = grid, varied, by, threads
        self.chosen: dict[Labels, dict[str, Any]] = {}
        self.values: dict[Labels, tuple[float, str]] = {}
        self.parts: list[Scanned] = []

    def run(self, suggested: Sequence[Mapping[str, Any]]) -> list[Labels]:
        """Run what is new of some trials' parameters; their labels."""
        wanted = [given(one, self.varied) for one in suggested]
        labels = [tuple(map(labelled, one.values())) for one in wanted]
        new = {key: one for key, one in zip(labels, wanted, strict=True) if key not in self.chosen}
        if new:
            scanned = self.grid.run(list(new.values()), threads=self.threads)
            self.parts.append(scanned)
            self.chosen |= new
            figures = zip(new, scanned.table[self.by], scanned.table["trades"], scanned.refused, strict=True)
            self.values |= {key: worth(self.by, float(value), trades, why) for key, value, trades, why in figures}
        return labels

    def whole(self) -> Scanned:
        """Everything that was run, as one scan."""
        return Scanned(
            table=pd.concat([part.table for part in self.parts], ignore_index=True),
            daily=np.concatenate([part.daily for part in self.parts]),
            days=self.parts[0].days,
            refused=[why for part in self.parts for why in part.refused],
            quote=next((part.quote for part in self.parts if part.quote), ""),
        )

    def check(self, study: "Study") -> None:
        """Run what a study has tried before; ParameterError where that gives other values, as on another market."""
        told = [trial for trial in study.get_trials(deepcopy=False) if trial.distributions and trial.state.is_finished()]
        for trial, key in zip(told, self.run([trial.params for trial in told]), strict=True):
            value, _ = self.values[key]
            if trial.value is not None and not math.isclose(trial.value, value, rel_tol=SAME, abs_tol=SAME * SAME):
                raise ParameterError(
                    f"the study is of something else: its trial {trial.number} has {trial.value:.9g}, {self.by} of the same parameters is {value:.9g} here; "
                    "give the same strategy, market and settings, or leave it out"
                )


def worth(by: str, value: float, trades: float, refused: str | None) -> tuple[float, str]:
    """The statistic of a combination, or NaN and why there is none."""
    if refused is not None:
        return math.nan, refused
    if not trades > 0.0:  # what never trades has the smallest drawdown of all
        return math.nan, "it makes no trade"
    return value, f"its {by} is unknown" if math.isnan(value) else ""


def batches(trials: int, size: int) -> list[int]:
    """The trials in batches, the last one as long as is left."""
    return [min(size, trials - first) for first in range(0, trials, size)]


def tell(study: "Study", space: "Space", runs: Runs, count: int) -> None:
    """Ask the study for some trials, run what is new of them, and tell it what came out. A batch that is broken off leaves failed trials."""
    from optuna.trial import TrialState

    waiting: list[Trial] = []
    try:
        waiting.extend(ask(study, space, runs.varied) for _ in range(count))  # keeps those before a mistake
        for key in runs.run([trial.params for trial in waiting]):
            trial = waiting[0]
            value, why = runs.values[key]
            if why:
                trial.set_user_attr(WHY, why)
                study.tell(trial, state=TrialState.PRUNED)
            else:
                study.tell(trial, value)
            waiting.pop(0)
    finally:
        for trial in waiting:
            trial.set_user_attr(WHY, "it was broken off")
            study.tell(trial, state=TrialState.FAIL)


def ask(study: "Study", space: "Space", varied: Mapping[str, Values]) -> "Trial":
    """The next trial; ParameterError where one that the user has put into the study's queue is none of the space."""
    from optuna.trial import TrialState

    try:
        trial = study.ask(space)
        told = next((f"{name}={trial.params[name]}" for name, of in varied.items() if not within(of, trial.params[name])), "")
    except ValueError as error:  # a value that stands in no list
        told = str(error)
    if told:
        number = study.get_trials(deepcopy=False)[-1].number
        study.tell(number, state=TrialState.FAIL)
        raise ParameterError(
            f"trial {number} in the queue of the study can't be run: {told}; take values from the lists and ranges that vary"
        )
    return trial


def within(values: Values, value: Any) -> bool:
    """Whether a suggested value is one of a parameter's; what is no range has been looked up by optuna."""
    return not isinstance(values, Range) or values.low <= value <= values.high


@contextmanager
def watched(trials: int) -> Iterator[Any]:
    """A bar of progress on a terminal, where it takes more than a second."""
    from tqdm import tqdm

    with tqdm(total=trials, unit="trial", delay=PATIENCE, leave=False, disable=not sys.stderr.isatty()) as progress:
        yield progress


def history_of(study: "Study", varied: Mapping[str, Values], by: str) -> pd.DataFrame:
    """A row a trial that is finished: see `Search`."""
    told = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    chosen = [given(trial.params, varied) if trial.params else dict.fromkeys(varied) for trial in told]
    parameters = pd.DataFrame([[labelled(value) for value in one.values()] for one in chosen], columns=list(varied), dtype=object)
    value = pd.Series([math.nan if trial.value is None else trial.value for trial in told], dtype=float)
    best = value.cummin() if by in LOWER_IS_BETTER else value.cummax()
    state = [trial.state.name.lower() for trial in told]
    why = [str(trial.user_attrs.get(WHY, "")) for trial in told]
    figures = pd.DataFrame({"value": value, "best": best.ffill(), "state": state, WHY: why})
    return pd.concat([parameters.infer_objects(), figures], axis=1).set_axis(pd.Index([trial.number for trial in told], name="trial"))


def found(grid: Grid, runs: Runs, study: "Study", name: str) -> Search:
    """What came out of it all. ParameterError where nothing ran."""
    history = history_of(study, runs.varied, runs.by)
    sweep = swept(name, grid, runs.varied, list(runs.chosen.values()), runs.whole())
    known = {item.name: getattr(sweep, item.name) for item in fields(sweep)}
    return Search(**known | {"trials": len(history)}, study=study, by=runs.by, history=history)
