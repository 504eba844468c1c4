"""Executions: what they refuse and how they say it, by themselves and together with a rule; what they mean for each slot."""

import math
import re
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backtest.errors import ParameterError
from backtest.execution import (
    Execution,
    ImpactModel,
    LegPolicy,
    MakerLegs,
    Margin,
    MissingFunding,
    check_together,
    fraction,
    is_number,
    pair_of,
)
from backtest.instruments import Kind
from backtest.rule import Leg, Rule, settings
from backtest.strategy import Strategy, command_line, values_of

SPOT = Leg(kind=Kind.SPOT, contracts=("ETHUSDT-SPOT",))
PERP = Leg(kind=Kind.PERPETUAL, contracts=("ETHUSDT-PERP",))
MINUTE = 60 * 10**9

FEES = ("spot_fee", "derivative_fee", "half_spread", "delivery_fee", "liquidation_fee", "maintenance", "borrow_rate", "deleveraged_gap")


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


# ---------------------------------------------------------------- refusals: the whole message, so that a lost remedy is seen


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"maker": "left"}, "maker must be one of none, long, short, both: maker=left"),
        ({"policy": "run"}, "policy must be one of wait, chase, undo: policy=run"),
        ({"impact_model": "cubic"}, "impact_model must be one of square_root, linear: impact_model=cubic"),
        ({"participation": 0.0}, "participation must be above 0: participation=0"),
        ({"participation": -0.1}, "participation must be above 0: participation=-0.1"),
        ({"participation": 5}, "participation is a fraction: participation=5 must be at most 1; a tenth is 0.1"),
        ({"top_up": 0.0}, "top_up must be above 0: top_up=0"),
        ({"top_up": 1.5}, "top_up is a fraction: top_up=1.5 must be at most 1; a tenth is 0.1"),
        ({"top_up": 0.5, "margin": "cross"}, "top_up needs isolated margin: top_up=0.5, margin=cross; leave one of them out"),
        ({"top_up": 0.5, "margin": "off"}, "top_up needs isolated margin: top_up=0.5, margin=off; leave one of them out"),
        ({"impact": -1.0}, "impact must be at least 0: impact=-1"),
        ({"impact": (0.0, math.nan)}, "impact must be a finite number: impact=nan"),
        ({"impact": "much"}, "impact must be a finite number: impact=much"),
        ({"impact": (1.0, 2.0, 3.0)}, "impact takes one number, or two for the long and the short leg: impact=(1.0, 2.0, 3.0)"),
        ({"stress": 0.0}, "stress must be above 0: stress=0"),
        ({"stress": -2}, "stress must be above 0: stress=-2"),
        ({"stress": math.inf}, "stress must be a finite number: stress=inf"),
        ({"stress": None}, "stress must be a number: stress=None; leave it out for none"),
        ({"stress": "much"}, "stress must be a finite number: stress=much"),
        ({"stressed": 0.0}, "stressed must be above 0: stressed=0"),
        ({"half_spread": "wide"}, "half_spread must be a finite number: half_spread=wide"),
        ({"half_spread": (None, 2)}, "half_spread is a fraction: half_spread=2 must be below 1; 10 bps are 0.001"),
        ({"latency": "soon"}, "latency must be a duration like \"30D\" or \"8h\": latency='soon'"),
        ({"latency": 5}, "latency must be a duration like \"30D\" or \"8h\": latency=5"),
        ({"latency": ("1s", "-1s")}, "latency must be longer than zero: latency='-1s'; leave it out for none"),
        ({"latency": ("1s",)}, "latency takes one duration, or two for the long and the short leg: latency=('1s',)"),
        ({"policy": "chase"}, 'policy "chase" needs patience: policy=chase, patience=None; give patience="5min"'),
        ({"policy": "undo"}, 'policy "undo" needs patience: policy=undo, patience=None; give patience="5min"'),
        ({"patience": "5min"}, "patience needs a policy to act on: patience='5min', policy=wait; give policy=chase or undo"),
        ({"policy": "undo", "patience": "0s"}, "patience must be longer than zero: patience='0s'; leave it out for none"),
        ({"transfer_delay": "1h"}, "transfer_delay needs transfers: transfer_delay='1h' without wallets and top_up; give wallets=(0.6, 0.4) or top_up=0.5"),
        ({"transfer_fee": 5.0}, "transfer_fee needs transfers: transfer_fee=5.0 without wallets and top_up; give wallets=(0.6, 0.4) or top_up=0.5"),
        ({"transfer_fee": -5.0, "top_up": 0.5}, "transfer_fee must be at least 0: transfer_fee=-5"),
        ({"transfer_fee": None}, "transfer_fee must be a number: transfer_fee=None; leave it out for none"),
        ({"transfer_delay": "-1h", "top_up": 0.5}, "transfer_delay must be longer than zero: transfer_delay='-1h'; leave it out for none"),
        ({"wallets": (0.5, 0.4)}, "wallets share the capital: wallets=(0.5, 0.4) must lie between 0 and 1 and sum to 1; as (0.6, 0.4)"),
        ({"wallets": (1.0, 0.0)}, "wallets share the capital: wallets=(1.0, 0.0) must lie between 0 and 1 and sum to 1; as (0.6, 0.4)"),
        ({"wallets": (1.5, -0.5)}, "wallets share the capital: wallets=(1.5, -0.5) must lie between 0 and 1 and sum to 1; as (0.6, 0.4)"),
        ({"wallets": 0.5}, "wallets takes two shares of the capital, as (0.6, 0.4): wallets=0.5"),
        ({"wallets": (0.5, 0.3, 0.2)}, "wallets takes two shares of the capital, as (0.6, 0.4): wallets=(0.5, 0.3, 0.2)"),
        ({"wallets": (0.5, None)}, "wallets share the capital: wallets=(0.5, None) must lie between 0 and 1 and sum to 1; as (0.6, 0.4)"),
        ({"wallets": (0.5, "half")}, "wallets must be a finite number: wallets=half"),
        ({"funding_snapshot": math.nan}, "funding_snapshot must be a finite number: funding_snapshot=nan"),
        ({"funding_snapshot": None}, "funding_snapshot must be a number: funding_snapshot=None; leave it out for none"),
        ({"deleveraged_gap": 0.1}, "deleveraged_gap needs its instant: deleveraged_gap=0.1; give deleveraged_at=…"),
    ],
)  # fmt: skip
def test_an_execution_that_cannot_be_meant_is_refused(made: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        Execution(**made)


@pytest.mark.parametrize(
    ("legs", "made", "message"),
    [
        ({"short": PERP}, {"wallets": (0.5, 0.5)}, "wallets needs two legs: wallets=(0.5, 0.5) with one leg; give the other leg, or leave it out"),
        ({"short": PERP}, {"policy": "undo", "patience": "1h"}, "policy needs two legs: policy=undo with one leg; give the other leg, or leave it out"),
        ({"short": PERP}, {"maker": "long"}, "maker names a leg that the rule lacks: maker=long, long=None; give maker=both or the other"),
        ({"long": PERP}, {"maker": "short"}, "maker names a leg that the rule lacks: maker=short, short=None; give maker=both or the other"),
        ({"long": SPOT}, {"top_up": 0.5}, "top_up needs a derivative leg: top_up=0.5 with spots only; leave it out"),
    ],
)  # fmt: skip
def test_a_rule_that_an_execution_cannot_carry_out_is_refused(legs: dict[str, Any], made: dict[str, Any], message: str) -> None:
    rule, execution = Rule(**legs), Execution(**made)
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}$"):
        check_together(rule, execution)
    check_together(Rule(long=SPOT, short=PERP), execution)


def test_what_one_leg_may_have() -> None:
    for more in ({"policy": "chase", "patience": "1h"}, {"maker": "both"}, {"maker": "short"}, {"top_up": 1.0}, {"latency": ("1s", "2s")}):
        check_together(Rule(short=PERP), Execution(**more))  # type: ignore[arg-type]


# ---------------------------------------------------------------- meaning


def test_words_become_choices() -> None:
    made = Execution(margin="cross", funding="fill", maker="long", impact_model="linear", policy="undo", patience="1h")  # type: ignore[arg-type]
    assert (made.margin, made.funding, made.maker) == (Margin.CROSS, MissingFunding.FILL, MakerLegs.LONG)
    assert (made.impact_model, made.policy) == (ImpactModel.LINEAR, LegPolicy.UNDO)


def test_impact_latency_and_makers_by_slot() -> None:
    assert [Execution(impact=given).impacts for given in (None, 0.5, (0.0, 1.0))] == [(0.0, 0.0), (0.5, 0.5), (0.0, 1.0)]
    given: tuple[Any, ...] = (None, "0s", "1min", ("0s", "5min"), (pd.Timedelta(3, "ns"), None))
    latencies = [Execution(latency=each).latencies for each in given]
    assert latencies == [(0, 0), (0, 0), (MINUTE, MINUTE), (0, 5 * MINUTE), (3, 0)]
    assert [Execution(maker=legs).makers for legs in MakerLegs] == [(False, False), (True, False), (False, True), (True, True)]


def test_stress_is_known_by_what_may_differ_from_one() -> None:
    given: list[dict[str, Any]] = [{}, {"stress": 1}, {"stress": 2.0}, {"stressed": 1.0}, {"stress": np.ones(3)}]
    assert [Execution(**each).stresses for each in given] == [False, False, True, True, True]


def test_signals_are_left_to_the_market() -> None:
    row = np.full(3, -1.0)
    made = Execution(half_spread=(row, None), stress=pd.Series(row))
    assert made.half_spreads[0] is row
    assert Execution(half_spread=row).half_spreads == (row, row)


def test_what_belongs_together_is_taken() -> None:
    made = Execution(
        wallets=(0.1, 0.9),
        transfer_delay="0s",
        transfer_fee=5,
        top_up=1.0,
        participation=1.0,
        deleveraged_at="2024-01-01",
        deleveraged_gap=0.1,
    )
    assert made.wallets == (0.1, 0.9)
    assert Execution(wallets=(1 / 3, 2 / 3), margin="cross").margin is Margin.CROSS  # type: ignore[arg-type]
    assert replace(made, top_up=None).transfer_delay == "0s"


def test_free_execution_has_no_cost_and_keeps_the_margin() -> None:
    free = Execution.free()
    set_to = {name: value for name, value in settings(free).items() if value != settings(Execution())[name]}
    assert set_to == dict.fromkeys(set(FEES) - {"maintenance", "borrow_rate", "deleveraged_gap"}, 0.0)
    assert free.margin is Margin.ISOLATED


def test_settings_and_their_help() -> None:
    helps = {item.name: item.metadata["help"] for item in fields(Execution) if "help" in item.metadata}
    assert all(len(text) > 10 for text in helps.values()), helps
    assert {item.name for item in fields(Execution)} - set(helps) == {"deleveraged_at", "deleveraged_gap", "recalled_at"}


def test_numbers_signals_and_pairs_are_told_apart() -> None:
    assert [is_number(value) for value in (1, 1.0, np.float64(1), "x", None, np.ones(3), pd.Series([1.0]), [1.0])] == [True] * 4 + [
        False
    ] * 4
    assert pair_of("x", [1, 2], "two") == (1, 2)
    fraction("x", None)
    fraction("x", 0.999)


# ---------------------------------------------------------------- flags


@pytest.mark.parametrize(
    ("owner", "words", "values"),
    [
        (Execution, "--latency 5min", {"latency": "5min"}),
        (Execution, "--latency 0s,5min", {"latency": ("0s", "5min")}),
        (Execution, "--latency none", {"latency": None}),
        (Execution, "--half-spread 0.001,none", {"half_spread": (0.001, None)}),
        (Execution, "--half-spread 0.001", {"half_spread": 0.001}),
        (Execution, "--impact 0.5,1", {"impact": (0.5, 1.0)}),
        (Execution, "--impact-model linear --maker both", {"impact_model": "linear", "maker": "both"}),
        (Execution, "--wallets 0.6,0.4 --transfer-delay 1h --transfer-fee 5", {"wallets": (0.6, 0.4), "transfer_delay": "1h", "transfer_fee": 5.0}),
        (Execution, "--wallets none", {"wallets": None}),
        (Execution, "--stress 2 --stressed 3", {"stress": 2.0, "stressed": 3.0}),
        (Execution, "--policy chase --patience 10min", {"policy": "chase", "patience": "10min"}),
        (Execution, "--funding-snapshot -15", {"funding_snapshot": -15.0}),
        (Rule, "--entry-tranches 3 --tranche-gap funding", {"entry_tranches": 3, "tranche_gap": "funding"}),
        (Rule, "--exit-tranches 2 --tranche-gap 8h", {"exit_tranches": 2, "tranche_gap": "8h"}),
        (Rule, "--funding-entry better --hold-for-funding yes", {"funding_entry": "better", "hold_for_funding": True}),
        (Rule, "--roll-days 3 --converge none --max-spread 0.01", {"roll_days": 3.0, "converge": None, "max_spread": 0.01}),
    ],
)  # fmt: skip
def test_flags_are_read_as_the_types_of_their_fields(owner: type, words: str, values: dict[str, Any]) -> None:
    found = values_of(command_line(Strategy, "carry").parse_strictly(words.split()), owner)
    assert found == values
    assert list(map(type, found.values())) == list(map(type, values.values()))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--wallets 0.6", "wallets takes two shares of the capital, as (0.6, 0.4): wallets=(0.6,)"),
        ("--wallets 0.5,0.3,0.2", "wallets takes two shares of the capital, as (0.6, 0.4): wallets=(0.5, 0.3, 0.2)"),
        ("--wallets half", "wallets must be a number: wallets=half"),
        ("--impact much", "impact must be a number, or none: impact=much"),
        ("--latency 1s,soon", "latency must be a duration like \"30D\" or \"8h\": latency='soon'"),
        ("--half-spread 0.1,0.1,0.1", "half_spread takes one number, or two for the long and the short leg: half_spread=(0.1, 0.1, 0.1)"),
    ],
)  # fmt: skip
def test_flags_that_cannot_be_meant(words: str, told: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(told)}$"):
        Execution(**values_of(command_line(Strategy, "carry").parse_strictly(words.split()), Execution))
