"""Rules: what they refuse and how they say it, what "auto" means, and the words of legs and durations."""

import math
import re
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backtest.errors import CarryError, ParameterError
from backtest.instruments import Kind
from backtest.rule import FundingEntry, Leg, Rule, Sides, choice, duration, number, settings

SPOT = Leg(kind=Kind.SPOT, contracts=("ETHUSDT-SPOT",))
PERP = Leg(kind=Kind.PERPETUAL, contracts=("ETHUSDT-PERP",))
DATED = Leg(kind=Kind.FUTURE, contracts=("ETHUSDT-240329",))
CHAIN = Leg(kind=Kind.FUTURE, contracts=("ETHUSDT-240329", "ETHUSDT-240628"), min_days=14.0, chain=True)
SIGNAL = np.zeros(3)


def pair(**more: Any) -> Rule:
    return Rule(long=SPOT, short=PERP, signal=SIGNAL, **more)


# ---------------------------------------------------------------- refusals: the whole message, so that a lost remedy is seen


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({}, "a rule needs a leg: long=None, short=None; give long=market.spot, short=market.future_chain(), or one of them"),
        ({"long": SPOT, "enter": 0.1}, "enter needs a signal: enter=0.1, signal=None; give signal=…, or enter=None to enter at once"),
        ({"long": SPOT, "exit": 0.1}, "exit needs a signal: exit=0.1, signal=None; give exit_signal=…, or exit=None to stay"),
        ({"short": PERP, "stop": 0.05}, "stop measures the premium between two legs: stop=0.05 with one leg; use loss=…"),
        ({"short": CHAIN, "stop_annualized": 0.5}, "stop_annualized measures the premium between two legs: stop_annualized=0.5 with one leg; use loss=…"),
        ({"short": PERP, "converge": "30D"}, "converge measures the premium between two legs: converge='30D' with one leg; use max_hold=…"),
        ({"long": SPOT, "short": PERP, "stop_annualized": 0.5}, "stop_annualized needs a dated leg: stop_annualized=0.5 without one; use stop=…"),
        ({"long": SPOT, "short": DATED, "roll_days": 3}, "roll_days needs a chain to roll along: roll_days=3 without a chain; give short=market.future_chain(), or leave it out"),
        ({"long": SPOT, "short": DATED, "funding_entry": "after"}, "funding_entry needs a perpetual leg: funding_entry=after without one; give short=market.perpetual, or leave it out"),
        ({"long": SPOT, "hold_for_funding": True}, "hold_for_funding needs a perpetual leg: hold_for_funding=True without one; give short=market.perpetual, or leave it out"),
        ({"long": SPOT, "entry_tranches": 2, "tranche_gap": "funding"}, 'tranche_gap="funding" needs a perpetual leg; give short=market.perpetual, or a duration like "8h"'),
        ({"long": SPOT, "entry_tranches": 3}, 'several tranches need a time between them: entry_tranches=3, exit_tranches=1, tranche_gap=None; give tranche_gap="8h" or "funding"'),
        ({"long": SPOT, "exit_tranches": 2}, 'several tranches need a time between them: entry_tranches=1, exit_tranches=2, tranche_gap=None; give tranche_gap="8h" or "funding"'),
        ({"long": SPOT, "tranche_gap": "8h"}, "tranche_gap needs several tranches: entry_tranches=1, exit_tranches=1, tranche_gap='8h'; give entry_tranches=… or exit_tranches=…, or leave it out"),
        ({"long": SPOT, "pause": "7D"}, "pause needs a drawdown to follow: pause='7D', drawdown=None; give drawdown=…, or leave pause out"),
        ({"long": SPOT, "unstake": "7D"}, "unstake needs a staked leg: unstake='7D', stake=False; give stake=True, or leave unstake out"),
        ({"long": SPOT, "drawdown": 1.0}, "drawdown is a fraction of the peak: drawdown=1 must be below 1; a fifth is 0.2"),
        ({"long": SPOT, "scale": (SIGNAL, SIGNAL)}, "scale must be one row or table for both sides: it is a tuple of 2; give one array"),
        ({"long": SPOT, "funding_entry": "later"}, "funding_entry must be one of before, after, better: funding_entry=later"),
        ({"long": SPOT, "funding_wait": None}, "funding_wait must be a duration: funding_wait=None"),
        ({"long": SPOT, "sides": "left"}, "sides must be one of plus, minus, both: sides=left"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_meant_is_refused(made: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        Rule(**made)


ABOVE_ZERO = ("size", "leverage", "stop", "loss", "roll_days", "stop_annualized", "exposure", "drawdown", "max_spread", "min_depth")


@pytest.mark.parametrize("name", ABOVE_ZERO)
@pytest.mark.parametrize("value", [0.0, -0.5])
def test_sizes_and_limits_are_above_zero(name: str, value: float) -> None:
    with pytest.raises(ParameterError, match=f"^{name} must be above 0: {name}={value:g}$"):
        pair(**{name: value})


@pytest.mark.parametrize("name", [*ABOVE_ZERO, "enter", "exit", "expiry_days", "resize"])
@pytest.mark.parametrize("value", [math.nan, math.inf, "much", True])
def test_numbers_are_finite_numbers(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=f"^{name} must be a finite number: {name}={value}$"):
        pair(**{name: value})


def test_days_to_expiry_may_be_zero_but_not_negative() -> None:
    assert pair(expiry_days=0.0).expiry_days == 0.0
    with pytest.raises(ParameterError, match=r"^expiry_days must be at least 0: expiry_days=-1$"):
        pair(expiry_days=-1)


def test_resize_is_a_factor_above_one() -> None:
    with pytest.raises(ParameterError, match=r"^resize must be above 1: resize=1$"):
        pair(resize=1.0)


@pytest.mark.parametrize("name", ["entry_tranches", "exit_tranches"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2", None])
def test_tranches_are_counted_from_one(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=f"^{name} must be a whole number from 1 on: {name}={value}$"):
        pair(**{name: value, "tranche_gap": "8h"})


def test_what_a_rule_of_many_settings_may_have() -> None:
    """Everything at once that belongs together; also that a numpy integer counts."""
    rule = Rule(
        long=SPOT, short=CHAIN, entry_tranches=np.int64(3), exit_tranches=2, tranche_gap="1h", roll_days=3, stop_annualized=0.5, converge="30D",  # type: ignore[arg-type]
        exposure=2.0, drawdown=0.2, pause="7D", max_spread=0.01, min_depth=1e5, stake=True, unstake="5D", scale=SIGNAL,
    )  # fmt: skip
    assert (rule.entry_tranches, rule.roll_days, rule.funding_entry) == (3, 3, FundingEntry.BEFORE)
    funded = pair(entry_tranches=2, tranche_gap="funding", funding_entry="better", hold_for_funding=True, funding_wait="1h")
    assert funded.funding_entry is FundingEntry.BETTER


@pytest.mark.parametrize("name", ["max_hold", "cooldown", "funding_wait", "converge", "pause", "unstake", "tranche_gap"])
def test_durations_of_a_rule_are_durations(name: str) -> None:
    with pytest.raises(ParameterError, match=f'^{name} must be a duration like "30D" or "8h": {name}=\'soon\'$'):
        pair(**{name: "soon"})
    with pytest.raises(ParameterError, match=f"^{name} must be longer than zero: {name}='-3D'; leave it out for none$"):
        pair(**{name: "-3D"})
    more = {"pause": {"drawdown": 0.1}, "unstake": {"stake": True}, "tranche_gap": {"exit_tranches": 2}}
    assert getattr(pair(**{name: "36h"}, **more.get(name, {})), name) == "36h"


def test_changing_a_rule_checks_it_again() -> None:
    rule = pair(size=0.3)
    with pytest.raises(ParameterError, match="size must be above 0: size=-1"):
        replace(rule, size=-1)
    with pytest.raises(FrozenInstanceError):
        rule.size = 2.0  # type: ignore[misc]


def test_a_users_mistake_is_a_value_error_and_a_carry_error() -> None:
    with pytest.raises(ValueError, match="a rule needs a leg") as caught:
        Rule()
    assert isinstance(caught.value, CarryError)


# ---------------------------------------------------------------- helpers


def test_number_takes_whole_numpy_and_absent_values() -> None:
    for value in (None, 1, 1.0, np.float64(1.0), np.int64(1)):
        number("x", value, above=0.0)
    number("x", 0.0, least=0.0)
    with pytest.raises(ParameterError, match=r"^x must be above 0: x=0$"):
        number("x", 0, above=0.0)


@pytest.mark.parametrize(
    ("value", "nanoseconds"),
    [
        (None, None), ("8h", 8 * 3600 * 10**9), ("30D", 30 * 86_400 * 10**9), ("1D 12h", 36 * 3600 * 10**9),
        (pd.Timedelta(minutes=5), 300 * 10**9), (pd.Timedelta(7, "ns"), 7),
    ],
)  # fmt: skip
def test_durations_are_exact_nanoseconds(value: Any, nanoseconds: int | None) -> None:
    assert duration("window", value) == nanoseconds


def test_zero_is_a_duration_only_where_it_is_asked_for() -> None:
    assert duration("staleness", "0s", zero=True) == 0
    with pytest.raises(ParameterError, match=r"^window must be longer than zero: window='0s'; leave it out for none$"):
        duration("window", "0s")
    with pytest.raises(ParameterError, match=r"^staleness must be longer than zero: staleness='-1h'; leave it out for none$"):
        duration("staleness", "-1h", zero=True)


@pytest.mark.parametrize("value", ["soon", "", "999999999D", [1], "NaT"])
def test_what_is_no_duration_is_refused(value: Any) -> None:
    with pytest.raises(ParameterError, match=r"^window must be "):
        duration("window", value)


def test_choice_takes_the_word_or_the_member() -> None:
    assert choice("sides", "both", Sides) is Sides.BOTH
    assert choice("sides", Sides.MINUS, Sides) is Sides.MINUS
    assert pair(sides="minus").sides is Sides.MINUS


def test_settings_are_all_fields() -> None:
    assert set(settings(pair())) == {item.name for item in fields(Rule)}
    assert settings(pair(size=0.25))["size"] == 0.25


# ---------------------------------------------------------------- meaning


@pytest.mark.parametrize(
    ("long", "short", "factor"),
    [(SPOT, PERP, 1.25), (PERP, None, 1.25), (SPOT, CHAIN, math.inf), (PERP, DATED, math.inf), (SPOT, None, math.inf)],
)
def test_auto_resizes_perpetuals_without_a_dated_leg(long: Leg | None, short: Leg | None, factor: float) -> None:
    assert Rule(long=long, short=short).resize_factor == factor
    assert Rule(long=long, short=short, resize=None).resize_factor == math.inf
    assert Rule(long=long, short=short, resize=1.5).resize_factor == 1.5


def test_legs_stand_long_first_and_say_what_they_are() -> None:
    assert Rule(short=PERP).legs == (None, PERP)
    assert str(SPOT) == "ETHUSDT-SPOT"
    assert str(CHAIN) == "the chain ETHUSDT-240329 … ETHUSDT-240628, at least 14 days to expiry"


def test_parameters_carry_their_help() -> None:
    helps = {item.name: item.metadata["help"] for item in fields(Rule) if "help" in item.metadata}
    assert all(len(text) > 10 for text in helps.values()), helps
    assert {item.name for item in fields(Rule)} - set(helps) == {"long", "short", "signal", "enter", "exit_signal", "exit", "scale"}


@pytest.mark.parametrize("name", ["size", "leverage"])
def test_size_and_leverage_cannot_be_none(name: str) -> None:
    with pytest.raises(ParameterError, match=f"^{name} must be a number: {name}=None$"):
        pair(**{name: None})


def test_a_threshold_that_is_text_is_refused_without_a_signal_too() -> None:
    with pytest.raises(ParameterError, match="enter"):
        Rule(long=SPOT, enter="much")  # type: ignore[arg-type]


def test_a_leg_needs_an_instrument() -> None:
    with pytest.raises(ParameterError, match=r"^a leg needs an instrument: contracts=\(\)"):
        Leg(kind=Kind.SPOT, contracts=())


def test_a_pair_of_signals_is_two() -> None:
    with pytest.raises(ParameterError, match=r"^signal must be one, or a pair for side \+1 and side −1: it is a tuple of 3$"):
        Rule(long=SPOT, signal=(np.ones(3), np.ones(3), np.ones(3)), enter=1.0)  # type: ignore[arg-type]
