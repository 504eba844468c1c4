"""Stress tests: the same strategy on the same market, but for one bad thing at a time.

Each scenario is a whole run of its own: the strategy is asked for its rule again on the market as the scenario makes it, so that its signals see what it
would have seen. A bare `Rule` has its signals already; they stay as they were, and the table says so.

    test = bt.stress(CashAndCarry(), market, [bt.Spreads(5), bt.Outage("binance")], leverage=3)
    print(test)
    test.table[["change", "liquidations"]]
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import pandas as pd

from backtest.book import named
from backtest.card import Card
from backtest.errors import CarryError, ParameterError
from backtest.execution import Execution
from backtest.market import Market
from backtest.rule import Rule
from backtest.scenarios import ALL, Before, Scenario, Scene, parse_scenario, standard
from backtest.strategy import Strategy

if TYPE_CHECKING:
    from backtest.result import Result

BASE = "base"
UNCHANGED = " Signals stayed as they were."
CAPITAL = 100_000.0
LEGS, PRICES = ["price_long", "price_short"], "price_of_both_legs"


@dataclass(eq=False, repr=False)
class StressTest(Card):
    """The run as it was and through each scenario; printing it gives the table.

    table: a row a scenario, the run as it was first: final_equity, total_return, change (of the final equity), change_of_capital (its fraction),
    max_drawdown, liquidations, trades, worst_source (which source lost most against the run as it was, both legs' prices being one; empty for none),
    worst_change, what.
    sources: how each source of PnL changed, a row a scenario; rows sum to `change`. skipped: why a scenario of the standard set could not be played.
    """

    base: "Result"
    results: dict[str, "Result"] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    sources: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __repr__(self) -> str:
        from backtest.report.stress import render_stress

        return render_stress(self)

    def report(self, path: str | PathLike[str]) -> None:
        """Write the report of the run as it was, with a section on the scenarios. Raises StorageError."""
        from backtest.report.stress import write_stress_report

        write_stress_report(self, path)

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write the JSON of the run as it was, with a list `stress` of the table's rows. Raises StorageError."""
        from backtest.report.stress import write_stress_json

        write_stress_json(self, path)


def stress(
    tested: "Result | Strategy | Rule",
    market: Market | None = None,
    scenarios: "str | Scenario | Sequence[str | Scenario] | None" = None,
    *,
    capital: float | None = None,
    execution: Execution | None = None,
    keep: bool = True,
    **changes: Any,
) -> StressTest:
    """Run a strategy, a rule, or what made a result, through scenarios.

    market, capital, execution: as of `run`; by default those of the result. changes: fields of the rule, on top of the result's. scenarios: objects, or
    texts as on the command line ("gap=0.1"); None or "all" plays one of each kind and skips those that can't happen to this run. keep: hold each
    scenario's run in `results`; False for markets of millions of bars. Raises ParameterError and DataError as `run`, and for a scenario that can't happen.
    """
    from backtest.result import Result
    from backtest.simulate import run

    chosen, lenient = chosen_scenarios(scenarios)
    known = None
    if isinstance(tested, Result):
        prepared = tested._prepared
        as_it_was = not changes and market in (None, prepared.market) and capital in (None, tested.capital) and execution is None
        known = tested if as_it_was else None
        market, capital = prepared.market if market is None else market, tested.capital if capital is None else capital
        execution = prepared.execution if execution is None else execution
        strategy, changes = tested._strategy, prepared.changes | changes
    else:
        strategy = tested
        if not isinstance(tested, Strategy | Rule):
            hint = (
                f"give {tested.__name__}()"
                if isinstance(tested, type)
                else "give a strategy, a rule, or the result of one; of a book result.results[label]"
            )
            raise ParameterError(f"a stress test is of one strategy: it got {named(tested)}; {hint}")
        if market is None:
            raise ParameterError("a stress test needs a market: market=None; give bt.load_market(…), or a result, which has its own")
    capital, execution = CAPITAL if capital is None else capital, Execution() if execution is None else execution
    base = run(strategy, market, capital=capital, execution=execution, **changes) if known is None else known
    test = StressTest(base)
    before_all = Before(market, execution, base._prepared.rule, base)
    rows, sources = [row_of(base, base, "")], [changed_sources(base, base)]
    for scenario in chosen:
        try:
            scene = scenario.scene(before_all)
            result = run(strategy, scene.market, capital=capital, execution=scene.execution, **changes)
        except CarryError as error:
            if not lenient:
                raise
            test.skipped[scenario.label] = str(error)
            continue
        told = scene.told + (UNCHANGED if has_fixed_signals(strategy, scene, market) else "")
        result.notes.append(f"STRESS TEST, not what was: {told}")
        rows.append(row_of(result, base, told))
        sources.append(changed_sources(result, base))
        test.results |= {scenario.label: result} if keep else {}
    names = [BASE, *(one.label for one in chosen if one.label not in test.skipped)]
    test.table = pd.DataFrame(rows, index=pd.Index(names, name="scenario"))
    test.sources = pd.DataFrame(sources, index=pd.Index(names, name="scenario"))
    return test


def chosen_scenarios(given: "str | Scenario | Sequence[str | Scenario] | None") -> tuple[list[Scenario], bool]:
    """The scenarios that are meant, and whether those that can't happen are passed over. ParameterError for one that stands twice or is none."""
    listed: Sequence[str | Scenario] = [given] if isinstance(given, str | Scenario) else [ALL] if given is None else list(given)
    if not listed:
        raise ParameterError("a stress test needs scenarios: scenarios=[]; leave them out for one of each kind")
    if ALL in listed:
        if len(listed) > 1:
            raise ParameterError(f'"{ALL}" plays one of each kind and stands alone; leave the others out')
        return standard(), True
    chosen: list[Scenario] = []
    for one in listed:
        if not isinstance(one, str | Scenario):
            raise ParameterError(f'a scenario is bt.Spreads(5) or a text like "spreads=5": {one!r}')
        scenario = parse_scenario(one) if isinstance(one, str) else one
        if scenario.label in [other.label for other in chosen]:
            raise ParameterError(f'scenario "{scenario.label}" stands twice; leave one out')
        chosen.append(scenario)
    return chosen, False


def has_fixed_signals(strategy: Any, scene: Scene, market: Market) -> bool:
    """Whether a scenario altered the market and the rule's signals don't know."""
    signals = isinstance(strategy, Rule) and any(part is not None for part in (strategy.signal, strategy.exit_signal, strategy.scale))
    return signals and scene.market is not market


def changed_sources(result: "Result", base: "Result") -> pd.Series:
    """How each source of PnL stands against the run as it was."""
    return result.attribution.iloc[-1] - base.attribution.iloc[-1]


def row_of(result: "Result", base: "Result", told: str) -> dict[str, Any]:
    """A row of the table."""
    final, before = float(result.equity.iloc[-1]), float(base.equity.iloc[-1])
    lost = changed_sources(result, base)
    lost = pd.concat([lost.drop(LEGS), pd.Series({PRICES: lost[LEGS].sum()})])  # what one leg loses the other gains
    return {
        "final_equity": final,
        "total_return": final / result.capital - 1.0,
        "change": final - before,
        "change_of_capital": (final - before) / result.capital,
        "max_drawdown": result.metrics["max_drawdown"],
        "liquidations": int((result.fills["action"] == "liquidation").sum()),
        "trades": len(result.trades),
        "worst_source": str(lost.idxmin()) if lost.min() < 0.0 else "",
        "worst_change": float(min(lost.min(), 0.0)),
        "what": told or "The run as it was.",
    }
