"""Scenarios: one bad thing each, told as what it does to a market or to an execution. `stress.py` runs a strategy through them.

A scenario never touches what it is given: it makes a market with other bars or funding rates, or an execution with other terms. What it needs to
know and was not told (when, against which side) it takes from the run as it was, and its sentence says what it took.

    bt.Outage("binance", "2021-05-19T08:00", "2021-05-19T20:00")
    bt.Spreads(factor=10)
"""

from dataclasses import fields

from backtest.errors import ParameterError, did_you_mean
from backtest.scenarios.before import Before, Scenario, Scene
from backtest.scenarios.data import BasisGap, Cascade, FundingFlip, Outage, Spreads
from backtest.scenarios.terms import Deleveraging, Recall, SlowTransfers, WorstCase

__all__ = [
    "ALL", "SCENARIOS", "BasisGap", "Before", "Cascade", "Deleveraging", "FundingFlip", "Outage", "Recall", "Scenario", "Scene", "SlowTransfers",
    "Spreads", "WorstCase", "parse_scenario", "standard",
]  # fmt: skip

SCENARIOS: dict[str, type[Scenario]] = {
    kind.name: kind
    for kind in (Spreads, WorstCase, FundingFlip, BasisGap, Outage, SlowTransfers, Cascade, Deleveraging, Recall)
}  # fmt: skip


ALL = "all"


def standard() -> list[Scenario]:
    """One of each kind, with its defaults."""
    return [kind() for kind in SCENARIOS.values()]


def parse_scenario(text: str) -> Scenario:
    """A scenario as one types it: "gap", "gap=0.1", "gap=0.1,2021-05-19,3D", "gap=duration=3D". ParameterError for what is none."""
    name, _, values = text.partition("=")
    if name not in SCENARIOS:
        raise ParameterError(f'unknown scenario "{name}"; {did_you_mean(name, [*SCENARIOS, ALL])}')
    kind = SCENARIOS[name]
    known, given = [item.name for item in fields(kind)], {}
    for place, part in enumerate(values.split(",") if values else []):
        key, named, value = part.partition("=")
        key, value = (key, value) if named else (known[place] if place < len(known) else "", part)
        if not key:
            raise ParameterError(f"scenario {name} takes at most {len(known)} values ({', '.join(known)}): {text}")
        if key not in known:
            raise ParameterError(f'scenario {name} has no "{key}": {text}; {did_you_mean(key, known)}')
        if value:
            given[key] = value
    return kind(**{key: number_of(name, key, value) if kind.__annotations__[key] is float else value for key, value in given.items()})


def number_of(scenario: str, key: str, value: str) -> float:
    """A value that must be a number."""
    try:
        return float(value)
    except ValueError:
        raise ParameterError(f"scenario {scenario}: {key} must be a number: {key}={value}") from None
