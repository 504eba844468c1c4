"""From a rule to a run: what is refused and how, what the kernel is handed, and runs small enough to work by hand."""

import pickle
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import (
    BARS,
    FAR,
    HOUR,
    LAST,
    NEAR,
    NEAR_EXPIRY,
    PERP,
    SPOT,
    START,
    bars,
    ether,
    funding,
    instrument,
    load,
    only,
    series,
    times,
    write,
)

import backtest as bt
from backtest import kernels as k
from backtest import simulate as module
from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.execution import Execution, Margin, MissingFunding
from backtest.instruments import Kind, Settle
from backtest.load import load_market
from backtest.market import Market
from backtest.payments import funding_accrual
from backtest.prepare import prepare
from backtest.rule import Leg, Rule
from backtest.simulate import run, simulate
from backtest.tapes import both_sides, coin_accrual, laid_out, layout, table_of
from backtest.terms import assumed_rules

FREE = Execution.free()


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("simulate"), ether())


def carry(market: Market, **more: Any) -> Rule:
    return Rule(long=market.spot, short=market.perpetual, **more)


def run_carry(market: Market, **more: Any) -> bt.Result:
    return run(carry(market), market, **more)


# ---------------------------------------------------------------- refusals of run


@pytest.mark.parametrize(
    ("capital", "told"),
    [(0.0, "capital must be above 0: capital=0"), (-5, "capital must be above 0: capital=-5"), (float("nan"), "capital must be a finite number: capital=nan")],
)  # fmt: skip
def test_capital_is_above_zero(market: Market, capital: float, told: str) -> None:
    with pytest.raises(ParameterError, match=f"^{told}$"):
        run(carry(market), market, capital=capital)


def test_an_unknown_change_has_a_nearest_name(market: Market) -> None:
    with pytest.raises(ParameterError, match=r'^unknown parameter "levrage": 2; did you mean "leverage"\?$'):
        run(carry(market), market, levrage=2)
    with pytest.raises(ParameterError, match=r'^unknown parameter "zzz": 1; known: converge, cooldown, drawdown, enter, '):
        run(carry(market), market, zzz=1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"size": -1}, "size must be above 0: size=-1"),
        ({"leverage": 0}, "leverage must be above 0: leverage=0"),
        ({"enter": 0.1}, "enter needs a signal"),
        ({"sides": "up"}, "sides must be one of plus, minus, both: sides=up"),
    ],
)
def test_changes_are_checked_like_the_rule(market: Market, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ParameterError, match=f"^{told}"):
        run(carry(market), market, **changes)


def test_enter_below_exit_is_refused_unless_the_signal_says_yes_or_no(market: Market) -> None:
    noise = np.linspace(-1, 1, BARS)
    told = "exit must be below enter: exit=0.1, enter=0.05; only a signal of 0 and 1 may use one threshold for both"
    with pytest.raises(ParameterError, match=f"^{told}$"):
        run(carry(market, signal=noise, enter=0.05, exit=0.1), market)
    with pytest.raises(ParameterError, match=r"exit must be below enter: exit=0.1, enter=0.1"):
        run(carry(market, signal=noise, enter=0.1, exit=0.1), market)
    with pytest.raises(ParameterError, match="exit must be below enter"):
        run(carry(market, signal=(np.zeros(BARS), noise), enter=0.05, exit=0.1, sides="both"), market)
    switch = np.where(np.arange(BARS) % 40 < 20, 1.0, 0.0)
    switch[:3] = np.nan
    assert len(run(carry(market, signal=switch, enter=0.5, exit=0.5), market).trades) == 5
    assert len(run(carry(market, signal=noise, enter=0.1, exit=0.05), market).trades) == 1


def test_a_leg_must_be_in_the_market(market: Market) -> None:
    stranger = Leg(kind=Kind.PERPETUAL, contracts=("ETHUSDT-PREP",))
    with pytest.raises(DataError, match=r'^unknown instrument "ETHUSDT-PREP" in dataset test; did you mean "ETHUSDT-PERP"\?$'):
        run(Rule(long=market.spot, short=stranger), market)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"resize": 1.5}, r"^resize has nothing to do with inverse contracts, .*: resize=1.5; leave it out$"),
        (
            {"execution": Execution(top_up=0.5)},
            r"^top_up sends cash, and inverse contracts are margined in coin: top_up=0.5; leave it out, or give a lower leverage$",
        ),
    ],
)
def test_what_inverse_contracts_cannot_have_is_refused(tmp_path: Path, setting: dict[str, Any], told: str) -> None:
    tables = ether()
    tables.instruments[1] = replace(tables.instruments[1], settle=Settle.INVERSE)
    market = load(tmp_path, tables)
    with pytest.raises(ParameterError, match=told):
        run(carry(market), market, **setting)


def test_a_chain_of_linear_and_inverse_contracts_is_refused(tmp_path: Path) -> None:
    tables = ether()
    first = next(place for place, item in enumerate(tables.instruments) if item.kind is Kind.FUTURE)
    tables.instruments[first] = replace(tables.instruments[first], settle=Settle.INVERSE)
    market = load(tmp_path, tables)
    names = tuple(item.id for item in tables.instruments if item.kind is Kind.FUTURE)
    mixed = Leg(kind=Kind.FUTURE, contracts=names, chain=True)
    with pytest.raises(
        DataError, match=r"mixes linear and inverse contracts, which don't pay alike; load those of one kind with instruments=…$"
    ):
        run(Rule(short=mixed), market)


def test_legs_without_a_bar_in_common_say_where_their_bars_lie(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[SPOT], tables.bars[PERP] = tables.bars[SPOT].iloc[:50], tables.bars[PERP].iloc[60:]
    market = load(tmp_path, tables)
    told = (
        "ETHUSDT-SPOT and ETHUSDT-PERP have no bar in common (2024-03-01T01:00Z to 2024-03-03T02:00Z; 2024-03-03T13:00Z to 2024-03-09T08:00Z); "
        "import a period that both cover, or allow older closes with staleness=…"
    )
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        run(carry(market), market)


def test_the_remedy_for_bars_that_never_meet_works(tmp_path: Path) -> None:
    """Spot at full hours, the perpetual at half past: half an hour's staleness lets them meet."""
    tables = only(ether(), SPOT, PERP)
    tables.bars[PERP] = tables.bars[PERP].set_index(pd.DatetimeIndex(tables.bars[PERP].index) - pd.Timedelta(minutes=30))
    path = write(tmp_path, tables)
    with pytest.raises(
        DataError, match=f"^{PERP} closes at 2024-03-01T01:30Z and the nearest close of {SPOT} is 2024-03-01T01:00Z"
    ) as caught:
        run_carry(load_market(path))
    assert 'allow it with staleness="30min"' in str(caught.value)
    assert len(run_carry(load_market(path, staleness="30min")).trades) == 1


def test_two_chains_must_offer_something_together(market: Market) -> None:
    told = (
        "the two legs never offer a contract at the same time: the chain ETHUSDT-240306 … ETHUSDT-240329, at least 99 days to expiry; "
        "the chain ETHUSDT-240306 … ETHUSDT-240329; lower min_days or nth, or import a longer period"
    )
    with pytest.raises(DataError, match=f"^{told}$"):
        run(Rule(long=market.future_chain(99), short=market.future_chain()), market)


def test_staking_needs_a_spot_a_yield_and_withdrawals(tmp_path: Path, market: Market) -> None:
    with pytest.raises(ParameterError, match=r"^stake=True needs a spot leg; leave it out, or give long=market\.spot$"):
        run(Rule(short=market.perpetual, stake=True), market)
    told = '^stake=True needs the series "staking_yield", which dataset test lacks; import it, or leave stake out$'
    with pytest.raises(DataError, match=told):
        run(Rule(long=market.spot, stake=True), market)
    tables = only(ether(), SPOT)
    tables.bars[SPOT] = bars(np.full(60, 1500.0), times("2023-04-11T01:00Z", 60))
    tables.series = {"staking_yield": series(times("2023-04-01", 1), [0.04])}
    early = load(tmp_path, tables)
    told = (
        "stake=True is refused before 2023-04-12, when staked ETH could not be withdrawn: the run starts 2023-04-11T00:00Z; "
        "start later (--start)"
    )
    with pytest.raises(ParameterError, match=f"^{re.escape(told)}$"):
        run(Rule(long=early.spot, stake=True), early)
    late = load_market(str(tmp_path / "dataset"), "2023-04-12")
    assert run(Rule(long=late.spot, stake=True), late, execution=FREE).attribution["staking"].iloc[-1] > 0.0


def test_other_coins_can_be_staked_at_any_time(tmp_path: Path) -> None:
    tables = only(ether(), SPOT)
    tables.instruments[0] = replace(tables.instruments[0], base="SOL")
    tables.bars[SPOT] = bars(np.full(60, 100.0), times("2021-04-11T01:00Z", 60))
    tables.series = {"staking_yield": series(times("2021-04-01", 1), [0.06])}
    market = load(tmp_path, tables)
    assert run(Rule(long=market.spot, stake=True), market).attribution["staking"].iloc[-1] > 0.0


def test_an_unknown_venue_has_no_costs_so_they_must_be_given(tmp_path: Path) -> None:
    tables = ether()
    tables.instruments = [replace(item, venue="the bank") for item in tables.instruments]
    market = load(tmp_path, tables)
    with pytest.raises(DataError, match=r'^no rule-book for venue "the bank": its fees, funding and margin are unknown; known: binance, '):
        run(carry(market), market)
    given = Execution(spot_fee=0.001, derivative_fee=0.001, delivery_fee=0.0, liquidation_fee=0.01, maintenance=0.02)
    assert len(run(carry(market), market, execution=given).trades) == 1
    assert len(run(Rule(long=market.spot), market, execution=Execution(spot_fee=0.001)).trades) == 1, "a spot pays nothing else"


def test_both_legs_are_of_one_asset(tmp_path: Path) -> None:
    tables = ether()
    tables.instruments[1] = replace(tables.instruments[1], base="BTC")
    with pytest.raises(DataError, match=r"^the legs must be of one asset: BTC and ETH; equal base quantities hedge nothing else$"):
        run_carry(load(tmp_path, tables))


# ---------------------------------------------------------------- signals as they are handed over


@pytest.mark.parametrize("shape", [(3,), (2, BARS), (1, BARS + 1), (BARS, 1), (1, 1, BARS), ()])
def test_a_signal_of_another_shape_is_refused(market: Market, shape: tuple[int, ...]) -> None:
    told = (
        f"signal must have one value a bar, or one row for each of the 1 contract pairs: shape {shape} for {BARS} bars; "
        "build it from market arrays, which have the market's length"
    )
    with pytest.raises(ParameterError, match=f"^{re.escape(told)}$"):
        run(carry(market, signal=np.zeros(shape), enter=0.5), market)
    with pytest.raises(ParameterError, match=r"^exit_signal must have one value a bar"):
        run(carry(market, exit_signal=np.zeros(shape), exit=0.5), market)


def test_a_pandas_signal_lies_on_the_markets_clock(market: Market) -> None:
    told = "^signal must be indexed by the market's clock \\(market\\.clock\\); reindex it, or give a plain array with one value a bar$"
    values = pd.Series(np.ones(BARS), market.clock)
    for wrong in (values.reset_index(drop=True), values.iloc[1:], values.shift(freq=HOUR), values.tz_localize(None), values.iloc[::-1]):
        with pytest.raises(ParameterError, match=told):
            run(carry(market, signal=wrong, enter=0.5), market)
    with pytest.raises(ParameterError, match=r"^exit_signal must be indexed by the market's clock"):
        run(carry(market, signal=values, enter=0.5, exit_signal=values.iloc[1:], exit=0.1), market)


def test_a_signal_is_numbers(market: Market) -> None:
    with pytest.raises(ParameterError, match=r"^signal must be numbers, one value a bar: it has <U3 values$"):
        run(carry(market, signal=np.array(["yes"] * BARS), enter=0.5), market)


@pytest.mark.parametrize("signal", [np.array(["yes"] * BARS), (np.ones(BARS),)], ids=["text", "one side"])
def test_a_signal_for_two_thresholds_is_numbers_for_both_sides(market: Market, signal: Any) -> None:
    with pytest.raises(ParameterError, match=r"^signal must"):
        run(carry(market, signal=signal, enter=0.5, exit=0.5, sides="both"), market)


def test_a_signal_may_be_a_row_a_series_or_a_table(market: Market) -> None:
    values = np.linspace(0, 1, BARS)
    assert table_of(market, values, 2, "signal").shape == (1, BARS)
    np.testing.assert_array_equal(table_of(market, pd.Series(values, market.clock), 2, "signal")[0], values)
    frame = pd.DataFrame({"near": values, "far": -values}, market.clock)
    np.testing.assert_array_equal(table_of(market, frame, 2, "signal"), [values, -values])
    np.testing.assert_array_equal(table_of(market, frame.set_axis(market.clock.as_unit("us")), 2, "signal"), [values, -values])
    assert both_sides(None, values)[1] is values
    assert both_sides((1, 2)) == (1, 2)  # type: ignore[arg-type]
    chain = market.future_chain()
    row = run(Rule(long=market.spot, short=chain, signal=values, enter=0.6), market)
    table = run(Rule(long=market.spot, short=chain, signal=np.array([values, values]), enter=0.6), market)
    assert row.equity.equals(table.equity)
    assert row.trades["entered_at"].iloc[0] == market.clock[int(np.argmax(values >= 0.6))]


def test_each_contract_is_entered_on_its_own_row(market: Market) -> None:
    """The near contract's row never says yes: the first trade is in the far one, after the near one is gone."""
    chain = market.future_chain()
    table = np.array([np.zeros(BARS), np.ones(BARS)])
    trades = run(Rule(long=market.spot, short=chain, signal=table, enter=0.5), market).trades
    assert list(trades["contract"]) == [FAR]
    assert trades["entered_at"].iloc[0] == NEAR_EXPIRY, "decided at its last close, filled at the next open, an instant later"


# ---------------------------------------------------------------- missing funding


def lacking(folder: Path, *gone: int, count: int = BARS) -> str:
    tables = only(ether(count), SPOT, PERP)
    events = tables.funding[PERP]
    tables.funding[PERP] = events.drop(events.index[list(gone)])
    return write(folder, tables)


def refusal(path: str, *period: Any, **settings: Any) -> str:
    market = load_market(path, *period)
    with pytest.raises(DataError) as caught:
        run(carry(market), market, execution=Execution(**settings))
    return str(caught.value)


@pytest.mark.parametrize("gone", [(6,), (6, 7, 20), (20, 21), (25,), (24, 25), (1,), (0, 1, 2)])
def test_missing_funding_names_the_last_end_that_works(tmp_path: Path, gone: tuple[int, ...]) -> None:
    path = lacking(tmp_path, *gone)
    told = refusal(path)
    lost = [f"{START + 8 * number * HOUR:%Y-%m-%dT%H:%MZ}" for number in gone if number > 0]
    count = "1 funding event is" if len(lost) == 1 else f"{len(lost)} funding events are"
    assert told.startswith(f"{PERP}: {count} missing, first {lost[0]}, last {lost[-1]}; import them, end the run at ")
    named = re.search(r"end the run at (\S+) \(--end\)", told)
    assert named is not None
    end = pd.Timestamp(named[1])
    assert end == pd.Timestamp(lost[0]) - HOUR
    market = load_market(path, None, end)
    assert run(carry(market), market).end == end
    assert refusal(path, None, end + HOUR), "and no later one does"


def test_without_an_earlier_bar_a_later_start_is_the_remedy(tmp_path: Path) -> None:
    path = lacking(tmp_path, 1)
    told = refusal(path, "2024-03-01T07:00")
    expected = f"{PERP}: 1 funding event is missing, first 2024-03-01T08:00Z, last 2024-03-01T08:00Z; import them, choose a later start"
    assert told.startswith(expected)
    market = load_market(path, "2024-03-01T08:00")
    assert len(run(carry(market), market).trades) == 1


def test_the_end_that_is_named_leaves_a_market(tmp_path: Path) -> None:
    path = lacking(tmp_path, 1)
    named = re.search(r"end the run at (\S+) \(--end\)", refusal(path, "2024-03-01T06:00"))
    assert named is None or len(load_market(path, "2024-03-01T06:00", named[1])) > 1


def test_filling_is_offered_where_it_can_be_done(tmp_path: Path) -> None:
    """Between two known events only: after the last one there is no second neighbour."""
    path = lacking(tmp_path, 6)
    assert refusal(path).endswith(', or choose funding="fill"')
    assert 'funding="fill"' not in refusal(lacking(tmp_path, 25))
    assert 'funding="fill"' not in refusal(lacking(tmp_path, 25), funding="fill")


def test_filling_is_not_offered_before_the_first_event(tmp_path: Path) -> None:
    path = lacking(tmp_path, 0, 1)
    assert 'funding="fill"' not in refusal(path)


def test_filling_takes_the_mean_of_the_neighbours(tmp_path: Path) -> None:
    """Events of 1, 2, 4, 8 … ten-thousandths of a percent; numbers 3, 4 and 9 lack: 3 and 4 become (2² + 2⁵)/2, 9 becomes (2⁸ + 2¹⁰)/2."""
    tables = only(ether(), SPOT, PERP)
    flat = bars(np.full(BARS, 100.0), pd.DatetimeIndex(tables.bars[SPOT].index))
    tables.bars = {SPOT: flat, PERP: flat}
    events = funding(times(START, 26, "8h"), np.concatenate([2.0 ** np.arange(12), np.zeros(14)]) * 1e-6)
    tables.funding[PERP] = events.drop(events.index[[3, 4, 9]])
    market = load(tmp_path, tables)
    filled = funding_accrual(market, PERP, MissingFunding.FILL)
    rates = [2, 4, 18, 18, 32, 64, 128, 256, 640, 1024, 2048]
    np.testing.assert_allclose(np.diff(filled[[8 * number - 2 for number in range(1, 13)]]), -100e-6 * np.array(rates, dtype=float))
    result = run(carry(market), market, execution=replace(FREE, funding=MissingFunding.FILL))
    assert "3 missing funding events were filled with the mean of their neighbours." in result.notes
    with pytest.raises(DataError, match="3 funding events are missing"):
        funding_accrual(market, PERP, MissingFunding.ERROR)


def test_a_rule_without_the_perpetual_does_not_ask_for_its_funding(tmp_path: Path) -> None:
    market = load_market(lacking(tmp_path, 6))
    assert len(run(Rule(long=market.spot), market).trades) == 1


# ---------------------------------------------------------------- what the kernel reads


def test_the_price_of_funding_is_the_events_mark_else_the_last_mark_else_the_last_close(tmp_path: Path) -> None:
    """Marks of bars begin with bar 12; events at hours 8 (close), 16 (mark of a bar), 24 (its own mark)."""
    tables = only(ether(24), SPOT, PERP)
    frame = tables.bars[PERP]
    marks = np.where(np.arange(24) >= 12, 500.0 + np.arange(24), np.nan)
    tables.bars[PERP] = frame.assign(mark=marks)
    tables.funding[PERP] = funding(times(START, 4, "8h"), [0.5, 0.001, 0.002, 0.003], marks=[np.nan, np.nan, np.nan, 777.0])
    accrual = funding_accrual(load(tmp_path, tables), PERP, MissingFunding.ERROR)
    first = -0.001 * frame["close"].iloc[7]
    np.testing.assert_allclose(accrual[:7], 0.0)
    np.testing.assert_allclose(accrual[7:15], first)
    np.testing.assert_allclose(accrual[15:23], first - 0.002 * 515.0)
    np.testing.assert_allclose(accrual[23], first - 0.002 * 515.0 - 0.003 * 777.0)


def test_an_event_inside_a_bar_has_the_price_known_at_it(tmp_path: Path) -> None:
    """Bars end at 3, 7, 11 …: the event of 08:00 pays in the bar that ends at 11:00, at the close of 07:00."""
    tables = only(ether(24), SPOT, PERP)
    index = times(START + 3 * HOUR, 6, "4h")
    tables.bars = {SPOT: bars(np.arange(100.0, 106.0), index), PERP: bars(np.arange(200.0, 206.0), index)}
    tables.funding[PERP] = funding(times(START, 3, "8h"), 0.01)
    accrual = funding_accrual(load(tmp_path, tables), PERP, MissingFunding.ERROR)
    np.testing.assert_allclose(accrual, [0, 0, -2.01, -2.01, -2.01 - 2.03, -2.01 - 2.03])


def test_coins_accrue_at_the_rate_known_when_the_bar_begins(tmp_path: Path) -> None:
    tables = only(ether(24), SPOT)
    tables.bars[SPOT] = bars(np.full(24, 1000.0), times(START + HOUR, 24))
    tables.series = {"staking_yield": series(times(START + 10 * HOUR, 1), [0.0365])}
    market = load(tmp_path, tables)
    hour = 0.0365 * 1000.0 / 8760
    np.testing.assert_allclose(coin_accrual(market, SPOT, "staking_yield"), hour * np.clip(np.arange(24) - 9, 0, None))
    np.testing.assert_array_equal(coin_accrual(market, SPOT, "borrow_base"), np.zeros(24))


def test_tapes_lie_on_whole_blocks() -> None:
    """Segments [first, last] of bars, each padded to blocks: position = start + bar, and block borders of tape and time coincide."""
    firsts, lasts = np.array([0, 5, 1030]), np.array([3, 700, 1031])
    starts, size = layout(firsts, lasts)
    used: set[int] = set()
    for start, first, last in zip(starts, firsts, lasts, strict=True):
        assert start % k.LARGE == 0
        places = set(range(start + first, start + last + 1))
        assert min(places) >= 0
        assert max(places) < size
        assert not places & used
        used |= places
    assert size == 4 * k.LARGE


def test_a_side_of_the_box_has_the_maxima_of_its_blocks() -> None:
    values = np.sin(np.arange(700.0))
    values[33:64] = np.nan
    side = laid_out([{"entry_at": values}], [values]).box
    assert len(side.values) == 2 * k.LARGE
    np.testing.assert_array_equal(side.values[700:], -np.inf)
    assert side.small[0] == values[: k.SMALL].max()
    assert side.small[1] == values[32], "NaN is passed over"
    assert side.large[1] == values[k.LARGE : 700].max()


def test_settings_come_before_the_venue(market: Market) -> None:
    rule = Rule(long=market.spot, short=market.perpetual, leverage=3.0)
    long, short = prepare(market, rule, Execution()).terms[0]
    assert (long["fee"], long["derivative"], long["half_spread"], long["quoted"]) == (0.0010, 0, 0.0001, 1)
    assert (short["fee"], short["delivery_fee"], short["liquidation_fee"], short["leverage"]) == (0.0005, 0.0, 0.0125, 3.0)
    assert (short["tiers"], short["tier_rate"][0], short["tier_floor"][1], short["tier_deduction"][1]) == (11, 0.004, 50_000, 50)
    mine = Execution(spot_fee=0.0, derivative_fee=0.01, half_spread=0.002, delivery_fee=0.03, liquidation_fee=0.04, maintenance=0.05)
    long, short = prepare(market, rule, mine).terms[0]
    assert (long["fee"], long["half_spread"], long["quoted"]) == (0.0, 0.002, 0)
    assert [short[name] for name in ("fee", "delivery_fee", "liquidation_fee")] == [0.01, 0.03, 0.04]
    assert (short["tiers"], short["tier_rate"][0], short["tier_deduction"][0]) == (1, 0.05, 0.0)
    long, short = prepare(market, rule, Execution(half_spread=(0.002, 0.003))).terms[0]
    assert (long["half_spread"], short["half_spread"], long["quoted"], short["quoted"]) == (0.002, 0.003, 0, 0)
    future = prepare(market, Rule(short=market.future_chain()), Execution()).terms[0, 1]
    assert (future["delivery_fee"], future["liquidation_fee"]) == (0.0005, 0.01)
    assert (future["tiers"], future["tier_rate"][0], future["tier_floor"][1], future["tier_deduction"][1]) == (8, 0.01, 50_000, 500)


def test_the_rule_as_the_kernel_reads_it(market: Market) -> None:
    record = prepare(market, carry(market), Execution()).rule_record
    assert (record["enter"], record["exit"], record["stop"], record["loss"]) == (-np.inf, -np.inf, np.inf, np.inf)
    assert (record["plus"], record["minus"], record["legs"], record["first_slot"]) == (1, 0, 2, 0)
    assert (record["max_hold"], record["cooldown"], record["expiry_nanoseconds"]) == (k.NEVER, 0, k.NEVER)
    assert (record["margin"], record["fraction"], record["resize_factor"]) == (k.ISOLATED, 0.5, 1.25)
    rule = Rule(
        short=market.perpetual, sides="minus", size=0.2, stop=None, loss=0.1, max_hold="2h", cooldown="1h", expiry_days=1.5, resize=None,
    )  # type: ignore[arg-type]  # fmt: skip
    record = prepare(market, rule, Execution(margin=Margin.CROSS)).rule_record
    assert (record["plus"], record["minus"], record["legs"], record["first_slot"]) == (0, 1, 1, 1)
    assert (record["max_hold"], record["cooldown"], record["expiry_nanoseconds"]) == (7200 * 10**9, 3600 * 10**9, 129_600 * 10**9)
    assert (record["margin"], record["loss"], record["resize_factor"]) == (k.CROSS, 0.1, np.inf)


def test_a_cooldown_of_centuries_is_not_none(market: Market) -> None:
    assert len(run(replace(busy(market), cooldown="30D"), market).trades) == 1
    assert len(run(replace(busy(market), cooldown="100000D"), market).trades) == 1


def test_a_perpetual_never_has_few_days_left(market: Market) -> None:
    assert list(run_carry(market).trades["reason"]) == ["end of data"]
    assert list(run(carry(market, expiry_days=40_000), market).trades["reason"]) == ["end of data"]


def test_days_that_no_clock_can_hold_are_refused_or_never_left(market: Market) -> None:
    run(Rule(short=market.future_chain(), expiry_days=1e30), market)


# ---------------------------------------------------------------- notes


def notes(market: Market, rule: Rule, execution: Execution | None = None) -> list[str]:
    return prepare(market, rule, execution or Execution()).notes


def test_notes_say_what_money_costs(market: Market, tmp_path: Path) -> None:
    told = notes(market, carry(market))
    rates = [[0.06 + 0.002 * day for day in range(8) if 24 * day + 30 <= hour][-1:] or [0.0] for hour in range(BARS)]
    assert f"Borrowed cash costs the dataset's series borrow_usd, {np.mean(rates):.2%} a year on average." in told
    assert any(note.startswith("Idle cash earns the dataset's series risk_free, ") for note in told)
    told = notes(market, carry(market), Execution(borrow_rate=0.07, idle_rate=0.0))
    assert "Borrowed cash costs 7.00% a year, as set." in told
    assert "Idle cash earns 0.00% a year, as set." in told
    bare = load(tmp_path, Tables(instruments=ether().instruments, bars=ether().bars, funding=ether().funding))
    assert "Idle cash earns nothing: the dataset has no series risk_free." in notes(bare, carry(bare))


def test_notes_say_where_settlements_and_spreads_come_from(market: Market, tmp_path: Path) -> None:
    told = notes(market, Rule(long=market.spot, short=market.future_chain()))
    assert "Settlement price of 1 contracts: the dataset's settlements." in told
    assert "The data have no quotes: half a spread of 1 bp is paid at each fill." in told
    assert not any("quotes" in note for note in notes(market, carry(market), Execution(half_spread=0.0)))
    quoted = ether()
    quoted.bars[SPOT] = quoted.bars[SPOT].assign(bid=quoted.bars[SPOT]["close"] - 0.1, ask=quoted.bars[SPOT]["close"] + 0.1)
    other = load(tmp_path, quoted)
    assert not any("no quotes" in note for note in notes(other, carry(other)))


def test_notes_say_that_two_currencies_meet(tmp_path: Path) -> None:
    tables = ether()
    tables.instruments[1] = replace(tables.instruments[1], quote="USDC")
    market = load(tmp_path, tables)
    told = notes(market, carry(market))
    assert told[2].startswith(f"MIXED CURRENCIES: {SPOT} is in USDT and {PERP} is in USDC: the premium contains the exchange rate")


@pytest.mark.parametrize("name", [PERP, FAR])
def test_an_instrument_whose_bars_stop_before_the_end_is_told(tmp_path: Path, name: str) -> None:
    """Six days without a bar are refused in the middle of an instrument's life; at the end of it they should be noted at least."""
    tables = ether()
    tables.bars[name] = tables.bars[name].iloc[:60]
    try:
        market = load(tmp_path, tables)
        told = notes(market, Rule(long=market.spot, short=market.leg(name)))
    except DataError as refused:
        told = [str(refused)]
    assert any(name in note for note in told), told


def test_gaps_of_the_bars_are_in_the_notes(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, PERP)
    tables.bars[SPOT] = tables.bars[SPOT].drop(tables.bars[SPOT].index[10:12])
    market = load(tmp_path, tables)
    told = notes(market, carry(market))
    assert f"{SPOT}: 1 gaps in the bars, the longest 0 days 03:00:00 after 2024-03-01T10:00Z." in told


# ---------------------------------------------------------------- runs


def test_always_on_by_hand(tmp_path: Path) -> None:
    """Spot and perpetual stand at 100 and 101; q = 0.5·100,000/100 = 500, entered at the open of bar 1 (01:00).

    Funding of 0.0001 at 08:00 and 16:00 on 500·101: 5.05 twice. The perpetual falls to 100.5 in the last bar: 0.5·500 = 250.
    Fees: 500·100·0.001 + 500·101·0.0005 = 50 + 25.25.
    """
    tables = only(ether(20), SPOT, PERP)
    index = times(START + HOUR, 20)
    tables.bars = {SPOT: bars(np.full(20, 100.0), index), PERP: bars([101.0] * 19 + [100.5], index)}
    tables.funding[PERP] = funding(times(START, 3, "8h"), 1e-4)
    tables.series = {}
    market = load(tmp_path, tables)
    result = run(carry(market), market, execution=replace(Execution(), half_spread=0.0))
    sources = result.attribution.iloc[-1]
    assert {name: round(float(value), 9) for name, value in sources.items() if value} == {
        "price_short": 250.0,
        "funding": 10.1,
        "fees": -75.25,
    }
    assert result.equity.iloc[-1] == pytest.approx(100_000 + 250 + 10.1 - 75.25)
    assert list(result.fills["time"]) == [START + HOUR] * 2
    trade = result.trades.iloc[0]
    assert (trade["reason"], trade["quantity"], trade["entry_premium"]) == ("end of data", 500.0, pytest.approx(0.01))
    assert (result.start, result.end, result.bars, result.quote) == (START, START + 20 * HOUR, 20, "USDT")


def test_a_future_held_to_settlement_by_hand(market: Market) -> None:
    """Nothing but prices: q·[(entry premium in cash) − (settlement − spot reference)], by the fills' references."""
    rule = Rule(long=market.spot, short=market.leg(NEAR))
    result = run(rule, market, execution=replace(FREE, idle_rate=0.0, borrow_rate=0.0))
    trade = result.trades.iloc[0]
    assert (trade["reason"], trade["settlement_price"]) == ("expiry", market.settlement(NEAR)[0])
    settled = result.fills[result.fills["action"] == "settlement"].iloc[0]
    assert (settled["time"], settled["instrument"], settled["price"]) == (NEAR_EXPIRY, NEAR, trade["settlement_price"])
    spot_exit = ether().bars[SPOT]["open"].loc[NEAR_EXPIRY + HOUR]
    expected = trade["quantity"] * (spot_exit - trade["entry_long"] - trade["settlement_price"] + trade["entry_short"])
    assert trade["pnl"] == pytest.approx(expected)
    assert result.equity.iloc[-1] == pytest.approx(100_000 + expected)


def busy(market: Market) -> Rule:
    switch = np.where(np.arange(BARS) % 4 < 2, 1.0, 0.0)
    return carry(market, signal=switch, enter=0.5, exit=0.5)


def test_the_logs_grow_when_the_kernel_asks(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(busy(market), market)
    assert len(whole.fills) > 150
    monkeypatch.setattr(module, "FIRST_ROOM", dict.fromkeys(module.FIRST_ROOM, 2 * k.ROWS_A_BAR))
    grown = run(busy(market), market)
    pd.testing.assert_frame_equal(grown.fills, whole.fills)
    pd.testing.assert_frame_equal(grown.trades, whole.trades)
    pd.testing.assert_series_equal(grown.equity, whole.equity)


def test_walking_and_jumping_write_the_same_log(market: Market) -> None:
    prepared = prepare(market, busy(market), Execution())
    jumped, walked = (simulate(prepared, 100_000.0, jump=jump) for jump in (True, False))
    assert jumped.fills.tobytes() == walked.fills.tobytes()
    assert jumped.ledger.tobytes() == walked.ledger.tobytes()


def test_running_twice_gives_the_same(market: Market) -> None:
    one, two = run(busy(market), market), run(busy(market), market)
    pd.testing.assert_series_equal(one.equity, two.equity)
    np.testing.assert_allclose(one.attribution.sum(axis=1), one.equity - 100_000.0, atol=1e-7)


def test_changes_and_strategies(market: Market) -> None:
    @dataclass(frozen=True, kw_only=True)
    class AlwaysOn(bt.Strategy):
        """Hold spot against the perpetual."""

        share: float = bt.param(0.5, "how much")

        def rule(self, market: Market) -> Rule:
            return carry(market, size=self.share)

    half, less = run(AlwaysOn(), market), run(AlwaysOn(), market, size=0.25)
    assert less.trades["quantity"].iloc[0] == pytest.approx(half.trades["quantity"].iloc[0] / 2, abs=0.002)
    assert (half.strategy, half.params) == ("AlwaysOn", {"share": 0.5})
    by_rule = run(AlwaysOn().rule(market), market)
    assert by_rule.equity.equals(half.equity)
    assert (by_rule.strategy, by_rule.params) == ("Rule", {})


def test_nothing_after_a_bar_changes_what_was_done_up_to_it(tmp_path: Path) -> None:
    """Equity and sources at every bar are the same when the data end there, for a rule that looks at everything."""

    def outcome(market: Market) -> bt.Result:
        future = market.future_chain(min_days=1)
        rule = Rule(
            long=market.spot, short=future, signal=bt.net_carry(market, future, cost=0.0), enter=0.02, exit_signal=bt.stay_carry(market, future),
            exit=0.0, cooldown="3h", loss=0.01, stop=0.01,
        )  # fmt: skip
        return run(rule, market)

    path = write(tmp_path, ether())
    whole = outcome(load_market(path))
    assert len(whole.trades) > 3
    for cut in (START + 60 * HOUR, NEAR_EXPIRY - HOUR, NEAR_EXPIRY, LAST - HOUR):
        short = outcome(load_market(path, None, cut))
        np.testing.assert_allclose(short.equity, whole.equity[:cut], rtol=1e-13)  # type: ignore[misc]
        np.testing.assert_allclose(short.attribution, whole.attribution[:cut], atol=1e-8)  # type: ignore[misc]
        assert instrument(SPOT, Kind.SPOT).quote == short.quote


def test_rules_that_are_known_from_later_days_only_are_told() -> None:
    legs = [instrument(PERP, Kind.PERPETUAL), instrument(SPOT, Kind.SPOT, venue="the bank")]
    tables = ("fees", "liquidation", "margin")
    (note,) = assumed_rules([(leg, tables) for leg in legs], pd.Timestamp("2021-01-01", tz="UTC"))
    assert note == (
        "Rules of binance that are known from later days only are taken for 2021-01-01: fees of 2021-06-30, liquidation of 2023-06-25, "
        "margin of 2021-09-24; carry venues binance --at 2021-01-01 shows them."
    )
    assert assumed_rules([(leg, tables) for leg in legs], pd.Timestamp("2024-10-01", tz="UTC")) == []


def test_a_signals_mask_hides_what_it_covers(market: Market) -> None:
    ones = np.ones(len(market))
    with pytest.raises(ParameterError, match=r"^signal is unknown"):
        run_carry(market, signal=np.ma.masked_array(ones, mask=True), enter=0.5)
    half = np.ma.masked_array(ones, mask=np.arange(len(market)) < 50)
    assert run_carry(market, signal=half, enter=0.5).trades["entered_at"].iloc[0] == market.clock[50]
    with pytest.raises(ParameterError, match=r"^signal must be numbers, one value a bar: it has complex128 values$"):
        run_carry(market, signal=ones * 1j, enter=0.5)


def test_results_and_markets_in_use_can_be_pickled(market: Market) -> None:
    rule = carry(market, signal=bt.annualized_funding(market), enter=-9.0)
    result = run(rule, market)
    again = pickle.loads(pickle.dumps(result))
    assert (again.equity == result.equity).all()
    assert (run(rule, pickle.loads(pickle.dumps(market))).equity == result.equity).all()
