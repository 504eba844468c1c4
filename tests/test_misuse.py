"""What a stranger hands to a run: numbers beyond all numbers, things of the wrong kind, instants outside the run, one contract twice. One sentence each, or a note."""

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import BARS, FAR, LAST, NEAR, PERP, START, ether, load, once, path, spot, traded

import backtest as bt
from backtest.errors import ParameterError
from backtest.market import Market, whole_days
from backtest.prepare import prepare
from backtest.rule import LONGEST, instant, number

SERIES = pd.Series([1.0, 2.0])
ROW = np.ones(3)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("misuse"), ether())


def carry(market: Market, **more: Any) -> bt.Rule:
    return bt.Rule(long=market.spot, short=market.perpetual, **more)


def refused(told: str) -> Any:
    """The whole message, on one line."""
    return pytest.raises(ParameterError, match=f"^{re.escape(told)}$")


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(("value", "shown"), [(math.inf, "inf"), (-math.inf, "-inf")])
@pytest.mark.parametrize("shape", ["row", "table"])
def test_a_scale_is_finite_or_unknown(market: Market, value: float, shown: str, shape: str) -> None:
    scale = np.ones(BARS)
    scale[:5], scale[7] = math.nan, value
    with refused(f"scale must be finite: it is {shown} at 2024-03-01T08:00Z; give NaN where it is unknown, or 0 for no entry"):
        bt.run(carry(market, scale=scale if shape == "row" else scale[None, :]), market)


@pytest.mark.parametrize("scale", [1e90, 1e300])
def test_a_run_of_money_beyond_all_numbers_is_refused(market: Market, scale: float) -> None:
    """Whether the books hold an infinity, or numbers whose squares would be."""
    told = (
        "the run's money is beyond all numbers from 2024-03-01T02:00Z on: size=0.5, leverage=1, scale=bar by bar, impact=0 make orders too large for it; "
        "lower them, above all the impact and the scale"
    )
    with refused(told):
        bt.run(carry(market, scale=np.full(BARS, scale)), market, capital=1e15)


def test_the_largest_run_has_numbers(market: Market) -> None:
    result = bt.run(carry(market, size=1e6), market, capital=1e15, execution=bt.Execution(margin="off"))  # type: ignore[arg-type]
    assert np.isfinite(result.equity).all()
    assert np.isfinite(result.metrics["max_drawdown"])


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda market: bt.run(carry(market), market, capital=1.1e15), "capital must be at most 1e+15: capital=1.1e+15"),
        (lambda market: bt.run(carry(market), market, capital=None), "capital must be a number: capital=None; leave it out for 100,000"),
        (lambda market: carry(market, size=1.1e6), "size must be at most 1e+06: size=1.1e+06"),
        (lambda _: bt.Execution(stress=1.1e6), "stress must be at most 1e+06: stress=1.1e+06"),
        (lambda _: bt.Execution(stressed=1.1e6), "stressed must be at most 1e+06: stressed=1.1e+06"),
        (lambda _: bt.Execution(idle_rate=101), "idle_rate must be at most 100: idle_rate=101"),
        (lambda _: bt.Execution(idle_rate=-101), "idle_rate must be at least -100: idle_rate=-101"),
        (lambda _: bt.Execution(borrow_rate=101), "borrow_rate is a fraction: borrow_rate=101 must be below 1; 10 bps are 0.001"),
        (lambda _: bt.Spreads(1.1e6), "factor must be at most 1e+06: factor=1.1e+06"),
        (lambda _: bt.WorstCase(1.1e6), "factor must be at most 1e+06: factor=1.1e+06"),
        (lambda market: market.future_chain(None), "min_days must be a number: min_days=None; leave it out for none"),
    ],
)
def test_numbers_have_bounds(market: Market, made: Any, told: str) -> None:
    with refused(told):
        made(market)


@pytest.mark.parametrize("value", [10**400, np.complex128(1.0), np.timedelta64(1, "s"), np.bool_(True), SERIES, [0.5], {}])
def test_what_is_no_number_is_told_so(value: Any) -> None:
    with pytest.raises(ParameterError, match=r"^impact must be a finite number: impact=[^\n]*$") as caught:
        bt.Execution(impact=value)
    assert len(str(caught.value)) < 120
    number("x", np.float32(1.0))


def test_days_without_end_are_the_longest_that_a_clock_can_hold(market: Market) -> None:
    assert [whole_days(days) for days in (0.0, 1.5, 1e5, 1e300, np.float64(1e308))] == [0, 36 * 3600 * 10**9, LONGEST, LONGEST, LONGEST]
    chain = market.future_chain(14)
    record = prepare(market, bt.Rule(long=market.spot, short=chain, expiry_days=1e300, roll_days=1e308), bt.Execution()).rule_record
    assert (record["expiry_nanoseconds"], record["roll_nanoseconds"]) == (LONGEST, LONGEST)
    never = market.future_chain(np.float64(1e300))
    assert bt.run(bt.Rule(long=market.spot, short=never), market).trades.empty


# ---------------------------------------------------------------- kinds


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({"long": "ETHUSDT-SPOT"}, 'long must be a leg: long="ETHUSDT-SPOT"; give market.leg("ETHUSDT-SPOT")'),
        ({"short": 5}, "short must be a leg: short=5; give market.spot, market.perpetual, market.leg(…) or market.future_chain()"),
        ({"hold_for_funding": "yes"}, "hold_for_funding must be true or false: hold_for_funding=yes"),
        ({"hold_for_funding": math.nan}, "hold_for_funding must be true or false: hold_for_funding=nan"),
        ({"stake": SERIES}, "stake must be true or false: stake=0 1.0 1 2.0 dtype: float64"),
        ({"stake": 1}, "stake must be true or false: stake=1"),
        ({"entry_tranches": 2, "tranche_gap": [1, 2]}, 'tranche_gap must be a duration like "30D" or "8h": tranche_gap=[1, 2]'),
        ({"max_hold": 5}, 'max_hold must be a duration like "30D" or "8h": max_hold=5'),
        ({"max_hold": "NaT"}, 'max_hold must be a duration like "30D" or "8h": max_hold=\'NaT\''),
        ({"resize": [1.5]}, "resize must be a finite number: resize=[1.5]"),
        ({"entry_tranches": SERIES}, "entry_tranches must be a whole number from 1 on: entry_tranches=0 1.0 1 2.0 dtype: float64"),
        ({"sides": SERIES}, "sides must be one of plus, minus, both: sides=0 1.0 1 2.0 dtype: float64"),
    ],
)  # fmt: skip
def test_a_rule_of_other_things_is_refused(market: Market, made: dict[str, Any], told: str) -> None:
    with refused(told):
        bt.Rule(**{"long": market.spot, "short": market.perpetual} | made)


@pytest.mark.parametrize("name", ["tranche_gap", "max_hold", "cooldown", "funding_wait", "converge", "pause", "unstake"])
def test_a_series_is_no_duration(market: Market, name: str) -> None:
    with pytest.raises(ParameterError, match=f'^{name} must be a duration like "30D" or "8h": {name}=[^\n]*$'):
        carry(market, **{"entry_tranches": 2, "tranche_gap": "8h", name: SERIES})


def test_switches_of_numpy_are_switches(market: Market) -> None:
    assert carry(market, hold_for_funding=np.bool_(True)).hold_for_funding is True


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({"stress": (2.0, 3.0)}, "stress is one for both legs: stress=(2.0, 3.0); give one number or one signal, as tuples are for half_spread, impact and latency"),
        ({"deleveraged_at": "soon"}, 'deleveraged_at must be a time like "2024-01-31" or "2024-01-31T08:00": deleveraged_at=\'soon\''),
        ({"recalled_at": "x"}, 'recalled_at must be a time like "2024-01-31" or "2024-01-31T08:00": recalled_at=\'x\''),
        ({"recalled_at": math.inf}, 'recalled_at must be a time like "2024-01-31" or "2024-01-31T08:00": recalled_at=inf'),
        ({"wallets": {"long": 1}}, "wallets takes two shares of the capital, as (0.6, 0.4): wallets={'long': 1}"),
    ],
)  # fmt: skip
def test_an_execution_of_other_things_is_refused(made: dict[str, Any], told: str) -> None:
    with refused(told):
        bt.Execution(**made)


@pytest.mark.parametrize("given", [{}, {"margin": "off"}])
def test_an_execution_is_an_execution(market: Market, given: Any) -> None:
    with refused(f"execution must be an Execution: execution={given}; give bt.Execution(…), or leave it out"):
        bt.run(carry(market), market, execution=given)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: bt.Spreads(None), "factor must be a number: factor=None; leave it out for the usual one"),
        (lambda: bt.WorstCase(None), "factor must be a number: factor=None; leave it out for the usual one"),
        (lambda: bt.WorstCase("5"), "factor must be a finite number: factor=5"),
        (lambda: bt.BasisGap(None), "size must be a number: size=None; leave it out for the usual one"),
        (lambda: bt.BasisGap(duration=None), "duration must be a duration: duration=None; leave it out for the usual one"),
        (lambda: bt.BasisGap(at=ROW), 'at must be a time like "2024-01-31" or "2024-01-31T08:00": at=array([1., 1., 1.])'),
        (lambda: bt.Cascade(None), "size must be a number: size=None; leave it out for the usual one"),
        (lambda: bt.Deleveraging(gap=None), "gap must be a number: gap=None; leave it out for the usual one"),
        (lambda: bt.Deleveraging(gap="0.1"), "gap must be a finite number: gap=0.1"),
        (lambda: bt.Deleveraging(gap=False), "gap must be a finite number: gap=False"),
        (lambda: bt.Outage(5), 'venue must be a name like "binance": venue=5'),
        (lambda: bt.SlowTransfers(None), "delay must be a duration: delay=None; leave it out for the usual one"),
        (lambda: bt.SlowTransfers(5), 'delay must be a duration like "30D" or "8h": delay=5'),
    ],
)  # fmt: skip
def test_a_scenario_of_other_things_is_refused(made: Any, told: str) -> None:
    with refused(told):
        made()


def test_a_deleveraging_may_be_without_a_gap() -> None:
    assert bt.Deleveraging(gap=0.0).gap == 0.0


# ---------------------------------------------------------------- instants and legs


@pytest.mark.parametrize("name", ["deleveraged_at", "recalled_at"])
def test_what_happens_happens_in_the_run(market: Market, name: str) -> None:
    told = "lies outside the run (from 2024-03-01T00:00Z to 2024-03-09T08:00Z); give an instant within it, or leave it out"
    for outside in (START, LAST + pd.Timedelta(1, "ns"), "1999-01-01"):
        at = instant(name, outside)
        assert at is not None
        with pytest.raises(ParameterError, match=f"^{name}=.* {re.escape(told)}$"):
            bt.run(carry(market), market, execution=bt.Execution(**{name: outside}))  # type: ignore[arg-type]
    for inside in (START + pd.Timedelta(1, "ns"), LAST):
        bt.run(carry(market), market, execution=bt.Execution(**{name: inside}))  # type: ignore[arg-type]


def test_one_instrument_is_no_pair(market: Market) -> None:
    with refused(f"the legs must be two instruments: both legs are {PERP}; give another leg, or one leg alone"):
        bt.run(bt.Rule(long=market.perpetual, short=market.leg(PERP)), market)


def test_a_chain_with_the_other_leg_is_no_pair(market: Market) -> None:
    told = f"the legs must be two instruments: the chain {NEAR} … {FAR} contains the other leg, {FAR}; give another leg, or one leg alone"
    for legs in ((market.leg(FAR), market.future_chain()), (market.future_chain(), market.leg(FAR))):
        with refused(told):
            bt.run(bt.Rule(long=legs[0], short=legs[1]), market)
    bt.run(bt.Rule(long=market.future_chain(), short=market.future_chain(min_days=10)), market)


# ---------------------------------------------------------------- ruin


def test_ruin_is_told_with_its_first_close() -> None:
    """10,000 buy 300 coins at 100 on credit; at 60 the loss of 12,000 leaves −2,000, at 50 −5,000."""
    result = traded(spot(*path(100.0, 100.0, 60.0, 50.0)), size=3.0, **once(4))
    ruined = result.equity.index[result.equity <= 0.0][0]
    told = f"Equity fell to or below zero at {ruined:%Y-%m-%dT%H:%MZ}; no lender would have gone on: lower size or leverage."
    assert result.notes[-1] == told
    assert told in " ".join(repr(result).replace("\n", " ").split())
    assert result.notes is result.notes


def test_a_run_that_loses_less_is_no_ruin() -> None:
    result = traded(spot(*path(100.0, 100.0, 60.0, 50.0)), size=1.0, **once(4))
    assert not any("zero" in note for note in result.notes)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("carry", r"^a run needs a strategy or a rule: it got .*carry.*; give one, as CashAndCarry\(\) or bt.Rule\(…\)$"),
        (None, r"^a run needs a strategy or a rule: it got None; give one, as"),
        (bt.Strategy, r"^a run needs a strategy or a rule: it got .*; give Strategy\(\)$"),
    ],
)
def test_what_is_no_strategy_is_told_from_one(market: Market, given: Any, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        bt.run(given, market)


def test_what_is_no_market_is_told_from_one(market: Market) -> None:
    with pytest.raises(ParameterError, match=r"^a run needs a market: it got .*data/eth.*; give bt.load_market\(…\)$"):
        bt.run(carry(market), "data/eth")  # type: ignore[arg-type]
