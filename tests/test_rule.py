"""Rules and executions: what they refuse and how they say it, what "auto" means, and the words of legs and durations."""

import math
import re
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backtest.errors import CarryError, ParameterError
from backtest.instruments import Kind
from backtest.rule import Execution, Leg, Margin, MissingFunding, Rule, Sides, choice, duration, number, settings

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
        ({"long": SPOT, "sides": "left"}, "sides must be one of plus, minus, both: sides=left"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(made: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        Rule(**made)


@pytest.mark.parametrize("name", ["size", "leverage", "stop", "loss"])
@pytest.mark.parametrize("value", [0.0, -0.5])
def test_size_leverage_stop_and_loss_are_above_zero(name: str, value: float) -> None:
    with pytest.raises(ParameterError, match=f"^{name} must be above 0: {name}={value:g}$"):
        pair(**{name: value})


@pytest.mark.parametrize("name", ["size", "leverage", "stop", "loss", "enter", "exit", "expiry_days", "resize"])
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


@pytest.mark.parametrize("name", ["max_hold", "cooldown"])
def test_durations_of_a_rule_are_durations(name: str) -> None:
    with pytest.raises(ParameterError, match=f'^{name} must be a duration like "30D" or "8h": {name}=\'soon\'$'):
        pair(**{name: "soon"})
    with pytest.raises(ParameterError, match=f"^{name} must be longer than zero: {name}='-3D'; leave it out for none$"):
        pair(**{name: "-3D"})
    assert getattr(pair(**{name: "36h"}), name) == "36h"


FEES = ("spot_fee", "derivative_fee", "half_spread", "delivery_fee", "liquidation_fee", "maintenance", "borrow_rate")


@pytest.mark.parametrize("name", FEES)
def test_costs_are_fractions(name: str) -> None:
    with pytest.raises(ParameterError, match=f"^{name} must be at least 0: {name}=-0.001$"):
        Execution(**{name: -0.001})
    with pytest.raises(ParameterError, match=f"^{name} is a fraction: {name}=10 must be below 1; 10 bps are 0.001$"):
        Execution(**{name: 10.0})
    with pytest.raises(ParameterError, match=f"^{name} must be a finite number: {name}=nan$"):
        Execution(**{name: math.nan})
    assert getattr(Execution(**{name: 0.0}), name) == 0.0


def test_half_the_spread_is_one_number_or_one_for_each_leg() -> None:
    assert Execution().half_spreads == (None, None)
    assert Execution(half_spread=0.001).half_spreads == (0.001, 0.001)
    assert Execution(half_spread=(0.001, 0.002)).half_spreads == (0.001, 0.002)
    told = r"^half_spread takes one number, or two for the long and the short leg: half_spread=\(0.001, 0.002, 0.003\)$"
    with pytest.raises(ParameterError, match=told):
        Execution(half_spread=(0.001, 0.002, 0.003))  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"^half_spread is a fraction: half_spread=2 must be below 1; 10 bps are 0.001$"):
        Execution(half_spread=(0.001, 2))


def test_idle_cash_may_cost_but_its_rate_is_a_number() -> None:
    assert Execution(idle_rate=-0.005).idle_rate == -0.005
    with pytest.raises(ParameterError, match=r"^idle_rate must be a finite number: idle_rate=inf$"):
        Execution(idle_rate=math.inf)


def test_choices_of_an_execution_name_the_choices() -> None:
    with pytest.raises(ParameterError, match=r"^margin must be one of isolated, cross, off: margin=none$"):
        Execution(margin="none")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"^funding must be one of error, fill: funding=ignore$"):
        Execution(funding="ignore")  # type: ignore[arg-type]


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
    assert (pair(sides="minus").sides, Execution(margin="cross").margin) == (Sides.MINUS, Margin.CROSS)  # type: ignore[arg-type]
    assert Execution(funding="fill").funding is MissingFunding.FILL  # type: ignore[arg-type]


def test_free_execution_has_no_cost_and_keeps_the_margin() -> None:
    free = Execution.free()
    assert {name for name, value in settings(free).items() if value == 0.0} == set(FEES) - {"maintenance", "borrow_rate"}
    assert free.margin is Margin.ISOLATED


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
    for owner in (Rule, Execution):
        helps = {item.name: item.metadata["help"] for item in fields(owner) if "help" in item.metadata}
        assert all(len(text) > 10 for text in helps.values()), helps
    assert {item.name for item in fields(Execution) if "help" not in item.metadata} == set()
    assert {item.name for item in fields(Rule) if "help" not in item.metadata} == {
        "long", "short", "signal", "enter", "exit_signal", "exit",
    }  # fmt: skip


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
