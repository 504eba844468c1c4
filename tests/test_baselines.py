"""Baselines beside a run: held spot, T-bills, carry that is always on, and the run itself at other costs."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import (
    CAPITAL,
    FREE,
    NEAR,
    PERP,
    SPOT,
    START,
    ether,
    flat,
    future,
    in_memory,
    load,
    near,
    only,
    path,
    perpetual,
    spot,
    times,
    traded,
)

import backtest as bt
from backtest import baselines, kernels
from backtest.baselines import COLUMNS, Baseline, at_costs, daily_compounded, for_legs, gathered, with_costs
from backtest.book import Book
from backtest.errors import DataError, ParameterError
from backtest.execution import LegPolicy, MakerLegs
from backtest.instruments import Kind
from backtest.metrics import daily_equity, return_statistics
from backtest.rule import Leg

NAMES = ["hold spot", "T-bills", "always-on funding carry", "zero cost", "double cost"]
HOUR = pd.Timedelta(hours=1)
COSTLY = bt.Execution(
    spot_fee=0.001, derivative_fee=0.0004, half_spread=(0.0002, 0.0003), delivery_fee=0.0005, liquidation_fee=0.01, impact=(0.01, 0.02)
)


def ether_market(folder: Path, *names: str, **options: Any) -> bt.Market:
    return load(folder, only(ether(), *names) if names else ether(), **options)


def carried(market: bt.Market, execution: bt.Execution = COSTLY, **rule: Any) -> bt.Result:
    """Spot against the perpetual, in and out every two days."""
    signal = np.where(np.arange(len(market)) % 48 < 30, 1.0, 0.0)
    fields: dict[str, Any] = {"long": market.spot, "signal": signal, "enter": 0.5, "exit": 0.5} | (rule or {"short": market.perpetual})
    return bt.run(bt.Rule(**fields), market, execution=execution)


# ---------------------------------------------------------------- the table


def test_a_run_has_all_five_with_the_figures_of_their_curves(tmp_path: Path) -> None:
    result = carried(ether_market(tmp_path))
    assert list(result.baselines.index) == list(result.baseline_curves.columns) == NAMES
    assert tuple(result.baselines.columns) == COLUMNS
    assert result.baselines_left_out == {}
    daily = daily_equity(result.equity, result.start, result.capital)
    assert result.baseline_curves.index.equals(daily.index)
    assert (result.baseline_curves.iloc[0] == result.capital).all()
    held = bt.run(
        bt.Rule(long=result._prepared.market.spot, size=1.0), result._prepared.market, execution=replace(COSTLY, half_spread=0.0002)
    )
    figures = return_statistics(held.equity, held.start, held.capital)
    row = result.baselines.loc["hold spot"]
    assert row["final_equity"] == held.equity.iloc[-1]
    for name in ("total_return", "annual_return", "annual_volatility", "sharpe", "max_drawdown"):
        assert row[name] == figures[name], name
    assert len(set(result.baselines["what"])) == 5


def test_baselines_are_made_when_they_are_asked_for_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bt.Result] = []
    monkeypatch.setattr(baselines, "baselines_of", lambda result: made.append(result) or gathered({}, result.start, result.capital))
    result = carried(ether_market(tmp_path))
    assert result.metrics["trades"] == 5
    assert made == []
    assert result.baselines.empty
    assert result.baseline_curves.empty
    assert result.baselines_left_out == {}
    assert made == [result]


def test_what_can_not_be_made_is_named_with_its_reason_and_the_others_stay() -> None:
    equity = pd.Series([100.0, 110.0, 121.0], index=times(START + pd.Timedelta("1D"), 3, "D"))

    def fails(error: Exception) -> Callable[[], Baseline]:
        def make() -> Baseline:
            raise error

        return make

    found = gathered(
        {"one": fails(DataError("no data")), "two": lambda: Baseline(equity, "it"), "three": fails(ParameterError("no way"))}, START, 100.0
    )
    assert found.left_out == {"one": "no data", "three": "no way"}
    assert list(found.table.index) == ["two"]
    assert found.table.loc["two", "total_return"] == pytest.approx(0.21)
    assert list(found.curves["two"]) == [100.0, 100.0, 110.0, 121.0]
    with pytest.raises(ValueError, match="a mistake of ours"):
        gathered({"one": fails(ValueError("a mistake of ours"))}, START, 100.0)


# ---------------------------------------------------------------- held spot, T-bills, always on


def test_the_spot_is_bought_at_the_second_open_and_kept() -> None:
    """Decided at the first close of 100: 100 coins for 10,000. Bought at 102 with 1 % of fee: 10,200 + 102 paid; at 150 worth 15,000: −302 + 15,000."""
    opens, closes = path(100.0, 100.0, 150.0)
    opens[1] = 102.0
    result = traded(spot(opens, closes), perpetual(flat(3)), execution=replace(FREE, spot_fee=0.01), size=0.1, **{"max_hold": "1h"})
    assert result.baselines.loc["hold spot", "final_equity"] == near(CAPITAL - 10_200.0 - 102.0 + 15_000.0)
    assert result.baselines.loc["hold spot", "what"] == "LONG bought for all the capital and kept, with the run's execution"


def test_the_market_s_only_spot_of_the_same_asset_is_held_where_the_run_has_none(tmp_path: Path) -> None:
    market = ether_market(tmp_path)
    alone = bt.run(bt.Rule(short=market.perpetual), market)
    assert alone.baselines.loc["hold spot", "what"].startswith(f"{SPOT} bought")
    assert alone.baselines_left_out == {}
    other = {"OTHER": spot(flat(3), base="BTC")}
    strange = traded(None, perpetual(flat(3)), others=other)
    assert (
        strange.baselines_left_out["hold spot"]
        == "it takes one spot of ETH, and the market has none; import one, or load it with instruments=…"
    )
    two = traded(None, perpetual(flat(3)), others={"A": spot(flat(3)), "B": spot(flat(3))})
    why = "it takes one spot of ETH, and the market has several: A, B; load only one of them with instruments=…"
    assert two.baselines_left_out["hold spot"] == two.baselines_left_out["always-on funding carry"] == why
    assert set(two.baselines.index) == {"zero cost", "double cost"}


def test_bills_earn_what_was_known_and_compound_at_midnight() -> None:
    """36.5 % a year are 0.1 % a day; known from 12:00 of the first day on, 73 % from 24:00 on: half a day, then two days at 0.2 %, and six hours."""
    market = in_memory({"SPOT": spot(flat(78)), "PERP": perpetual(flat(78))}, series={"risk_free": [(12.0, 0.365), (24.0, 0.73)]})
    result = bt.run(bt.Rule(long=market.leg("SPOT"), short=market.leg("PERP")), market, capital=1000.0, execution=FREE)
    first = 1000.0 * 1.0005
    assert list(result.baseline_curves["T-bills"]) == near([1000.0, first, first * 1.002, first * 1.002**2])
    row = result.baselines.loc["T-bills"]
    assert row["final_equity"] == near(first * 1.002**2 * 1.0005)
    assert row["max_drawdown"] == 0.0
    assert row["what"] == (
        f"the capital earns the dataset's risk_free, {(12 * 0.365 + 54 * 0.73) / 78:.2%} a year on average, compounded daily (idle cash of a run: at its fills); "
        "nothing before 2024-03-01, as it was not known yet"
    )


def test_bills_earn_the_same_on_bars_of_any_length(tmp_path: Path) -> None:
    tables = ether()
    hourly = load(tmp_path, tables)
    daily = bt.load_market(str(tmp_path / "dataset"), freq="1D")
    grown = []
    for market in (hourly, daily):
        earned = np.concatenate([[0.0], np.cumsum(market.years * 0.04)])
        curve = pd.Series(daily_compounded(market, earned), index=market.clock)
        grown.append(curve[curve.index == pd.Timestamp("2024-03-08", tz="UTC")].iloc[0])
    assert grown[0] == pytest.approx(grown[1], rel=1e-13)
    assert grown[0] == pytest.approx((1.0 + 0.04 / 365) ** 7, rel=1e-13)


def test_bills_need_a_rate_that_is_known() -> None:
    legs = {"long": spot(flat(30)), "short": perpetual(flat(30))}
    assert traded(**legs).baselines_left_out == {"T-bills": "dataset by hand has no series risk_free; import one"}
    late = traded(**legs, market={"series": {"risk_free": [(1000.0, 0.05)]}})
    assert late.baselines_left_out["T-bills"] == "the series risk_free of dataset by hand is not known in this period; import a longer one"


def test_bills_follow_the_series_and_not_the_run_s_own_idle_rate(tmp_path: Path) -> None:
    market = ether_market(tmp_path)
    none, much = (carried(market, replace(COSTLY, idle_rate=rate)) for rate in (0.0, 0.5))
    assert none.baselines.loc["T-bills", "final_equity"] == much.baselines.loc["T-bills", "final_equity"] > none.capital


def test_always_on_is_the_plain_rule_with_the_run_s_execution(tmp_path: Path) -> None:
    market = ether_market(tmp_path)
    result = carried(market, short=market.future_chain(), loss=0.5)
    plain = bt.run(bt.Rule(long=market.spot, short=market.perpetual), market, execution=COSTLY)
    assert result.baselines.loc["always-on funding carry", "final_equity"] == plain.equity.iloc[-1]
    told = f"long {SPOT} and short {PERP} all the time, size 0.5, leverage 1, with the run's execution"
    assert result.baselines.loc["always-on funding carry", "what"] == told


def test_always_on_is_left_out_without_a_perpetual_or_its_funding(tmp_path: Path) -> None:
    without = ether_market(tmp_path, SPOT, NEAR)
    result = carried(without, short=without.future_chain())
    assert result.baselines_left_out == {
        "always-on funding carry": "it takes one perpetual of ETH, and the market has none; import one, or load it with instruments=…"
    }
    tables = ether()
    tables.funding[PERP] = tables.funding[PERP].drop(tables.funding[PERP].index[3:5])
    market = load(tmp_path / "holes", tables)
    cash = carried(market, short=market.future_chain())
    assert f"{PERP}: 2 funding events are missing" in cash.baselines_left_out["always-on funding carry"]
    filled = carried(market, replace(COSTLY, funding="fill"), short=market.future_chain())
    assert filled.baselines_left_out == {}


# ---------------------------------------------------------------- whose execution


A, B = Leg(kind=Kind.SPOT, contracts=("A",)), Leg(kind=Kind.PERPETUAL, contracts=("B",))
C = Leg(kind=Kind.FUTURE, contracts=("C",))
TWO = bt.Execution(
    half_spread=(0.1, 0.2), impact=(0.3, 0.4), latency=("1h", "2h"), maker="short", wallets=(0.6, 0.4), transfer_delay="1h", transfer_fee=1.0, top_up=0.5,
    policy="undo", patience="3h",
)  # fmt: skip


@pytest.mark.parametrize(
    ("legs", "spot_slot"),
    [({"long": A, "short": B}, 0), ({"long": C, "short": A}, 1), ({"long": C, "short": B}, 0)],
    ids=["spot long", "spot short", "no spot"],
)
def test_a_held_spot_pays_what_the_run_s_spot_pays(legs: Mapping[str, Leg], spot_slot: int) -> None:
    found = for_legs(TWO, bt.Rule(**legs), Kind.SPOT)
    assert found.half_spreads[0] == (0.1, 0.2)[spot_slot]
    assert found.impacts[0] == (0.3, 0.4)[spot_slot]
    assert found.latencies[0] == (1, 2)[spot_slot] * HOUR.value
    assert found.makers[0] is (spot_slot == 1)
    assert (found.wallets, found.top_up, found.transfer_delay, found.transfer_fee) == (None, None, None, 0.0)
    assert (found.policy, found.patience) == (LegPolicy.WAIT, None)


def test_the_other_way_round_each_leg_keeps_its_own() -> None:
    found = for_legs(TWO, bt.Rule(long=C, short=A), Kind.SPOT, Kind.PERPETUAL)
    assert (found.half_spread, found.impact, found.latency) == ((0.2, 0.1), (0.4, 0.3), ("2h", "1h"))
    assert (found.maker, found.wallets) == (MakerLegs.LONG, (0.4, 0.6))
    assert (found.top_up, found.transfer_delay, found.policy, found.patience) == (0.5, "1h", LegPolicy.UNDO, "3h")
    as_it_was = for_legs(TWO, bt.Rule(long=A, short=C), Kind.SPOT, Kind.PERPETUAL)
    assert as_it_was == TWO
    assert for_legs(replace(TWO, maker="both"), bt.Rule(long=A), Kind.SPOT, Kind.PERPETUAL).maker is MakerLegs.BOTH
    alone = bt.Execution(half_spread=0.1, impact=0.2)
    assert for_legs(alone, bt.Rule(long=C), Kind.SPOT) == alone


def test_a_run_with_everything_set_has_its_baselines(tmp_path: Path) -> None:
    market = ether_market(tmp_path)
    settings: dict[str, Any] = {"maker": "none", "impact": None, "half_spread": (1e-4, 2e-4)}
    result = carried(market, replace(TWO, **settings), short=market.future_chain())
    assert result.baselines_left_out == {}
    assert set(result.baselines.index) == set(NAMES)


# ---------------------------------------------------------------- other costs


def times_of(execution: bt.Execution, factor: float) -> bt.Execution:
    """Every cost of an execution so many times."""

    def by(value: Any) -> Any:
        return tuple(map(by, value)) if isinstance(value, tuple) else None if value is None else value * factor

    names = ("spot_fee", "derivative_fee", "half_spread", "delivery_fee", "liquidation_fee", "impact", "transfer_fee")
    return replace(execution, **{name: by(getattr(execution, name)) for name in names})


@pytest.mark.parametrize("short", ["perpetual", "chain"])
@pytest.mark.parametrize("factor", [0.0, 2.0])
@pytest.mark.parametrize("name", ["plain", "with impact", "stressed", "with transfers"])
def test_the_same_run_at_other_costs_is_a_run_with_those_costs(tmp_path: Path, factor: float, name: str, short: str) -> None:
    execution = {
        "plain": replace(COSTLY, impact=None),
        "with impact": COSTLY,
        "stressed": replace(COSTLY, stress=3.0),
        "with transfers": replace(COSTLY, wallets=(0.6, 0.4), transfer_fee=2.0, transfer_delay="2h", impact=None),
    }[name]
    market = ether_market(tmp_path)
    legs = {"short": market.perpetual if short == "perpetual" else market.future_chain()}
    result = carried(market, execution, **legs)
    oracle = carried(market, times_of(execution, factor), **legs)
    made = at_costs(result, factor)
    pd.testing.assert_series_equal(made.equity, oracle.equity, rtol=1e-13)
    assert made.equity.iloc[-1] != pytest.approx(result.equity.iloc[-1], rel=1e-6)
    word = {0.0: "without", 2.0: "at twice the"}[factor]
    assert made.what == f"the same run {word} trading, delivery, liquidation and transfer fees, spreads and impact"


@pytest.mark.parametrize("factor", [0.0, 2.0])
def test_transfers_and_liquidations_cost_the_factor(tmp_path: Path, factor: float) -> None:
    """Highly levered, topped up again and again, and liquidated: what both cost stands in no fill of the rule's own."""
    market = ether_market(tmp_path)
    lively = replace(COSTLY, impact=None, maintenance=0.01, top_up=0.9, transfer_fee=2.0)
    late = replace(COSTLY, impact=None, maintenance=0.038)
    for execution, source, leverage in ((lively, "fees", 15.0), (late, "liquidation", 25.0)):
        result = carried(market, execution, short=market.perpetual, leverage=leverage)
        oracle = carried(market, times_of(execution, factor), short=market.perpetual, leverage=leverage)
        own_fees = float(result.fills["fee"].sum()) if source == "fees" else 0.0
        assert result.attribution[source].iloc[-1] + own_fees < -1.0, "there is something to scale"
        pd.testing.assert_series_equal(at_costs(result, factor).equity, oracle.equity, rtol=1e-12)


@pytest.mark.parametrize("factor", [0.0, 2.0])
def test_quoted_and_given_spreads_count_bar_by_bar(tmp_path: Path, factor: float) -> None:
    tables = ether()
    for number, name in enumerate((SPOT, PERP)):
        close = tables.bars[name]["close"]
        half = close * 1e-4 * (1.0 + number + np.arange(len(close)) % 5)
        tables.bars[name] = tables.bars[name].assign(bid=close - half, ask=close + half)
    market = load(tmp_path, tables)
    own = bt.Execution(spot_fee=0.001, derivative_fee=0.0005, liquidation_fee=0.01)
    result = carried(market, own)
    legs = [market.raw(name, "ask") / ((market.raw(name, "ask") + market.raw(name, "bid")) / 2.0) - 1.0 for name in (SPOT, PERP)]
    given = tuple(factor * half for half in legs)
    oracle = carried(market, replace(times_of(own, factor), half_spread=given))
    np.testing.assert_allclose(at_costs(result, factor).equity, oracle.equity, rtol=1e-9)
    series = carried(market, replace(own, half_spread=(legs[0], None)))
    once_more = carried(market, replace(times_of(own, factor), half_spread=given))
    np.testing.assert_allclose(at_costs(series, factor).equity, once_more.equity, rtol=1e-9)


def test_costs_of_the_venue_s_rule_book_and_fees_a_coin_count_too(tmp_path: Path) -> None:
    market = ether_market(tmp_path)
    result = carried(market, bt.Execution())
    assert result.baselines.loc["zero cost", "final_equity"] > result.equity.iloc[-1] > result.baselines.loc["double cost", "final_equity"]
    free = bt.run(result._prepared.rule, market, execution=bt.Execution.free())
    assert result.baselines.loc["zero cost", "final_equity"] == near(free.equity.iloc[-1])
    prepared = result._prepared
    fee = prepared.terms["liquidation_fee"][:, 1].copy()
    assert (fee > 0.0).all()
    prepared.terms["unit_fee"], prepared.terms["delivery_unit_fee"] = 0.25, 0.5
    twice = with_costs(prepared, 2.0)
    assert (twice.terms["liquidation_fee"][:, 1] == 2.0 * fee).all()
    assert (twice.terms["unit_fee"] == 0.5).all()
    assert (twice.terms["delivery_unit_fee"] == 1.0).all()
    assert (prepared.terms["unit_fee"] == 0.25).all()


def test_what_a_maker_earns_is_no_cost(tmp_path: Path) -> None:
    """Rebates and half the spread stay at double cost and go at none; the taker's leg pays double, or nothing."""
    tables = ether()
    for name in (SPOT, PERP):
        close = tables.bars[name]["close"]
        tables.bars[name] = tables.bars[name].assign(bid=close * (1 - 1e-4), ask=close * (1 + 1e-4))
    result = carried(load(tmp_path, tables), replace(COSTLY, impact=None, half_spread=None, maker="short"))
    prepared = result._prepared
    prepared.terms["fee"][:, 1] = -0.0001
    twice, nothing = with_costs(prepared, 2.0), with_costs(prepared, 0.0)
    assert (twice.terms["fee"][:, 1] == -0.0001).all()
    assert (twice.terms["fee"][:, 0] == 0.002).all()
    assert twice.tapes.short is prepared.tapes.short
    np.testing.assert_array_equal(twice.tapes.long[kernels.HALF_SPREAD], 2.0 * prepared.tapes.long[kernels.HALF_SPREAD])
    assert (nothing.terms["fee"] == 0.0).all()
    assert (nothing.terms["half_spread"] == 0.0).all()
    assert (nothing.terms["quoted"] == 0).all()
    assert at_costs(result, 2.0).what.endswith("; what a maker earns stays as it was")
    given = carried(prepared.market, replace(COSTLY, impact=None, maker="short"))._prepared
    assert with_costs(given, 2.0).terms["half_spread"].tolist() == [[0.0004, 0.0003]]
    assert with_costs(given, 0.0).terms["half_spread"].tolist() == [[0.0, 0.0]]
    assert at_costs(result, 0.0).what.endswith("spreads and impact")


def test_what_other_runs_share_is_never_written(tmp_path: Path) -> None:
    market = ether_market(tmp_path)
    quoted = replace(COSTLY, half_spread=np.full(len(market), 3e-4))
    for execution in (COSTLY, quoted):
        result = carried(market, execution)
        prepared = result._prepared
        kept = [
            tape.copy() for tape in (prepared.tapes.long, prepared.tapes.short, prepared.tapes.long_orders, prepared.tapes.short_orders)
        ]
        terms, record = prepared.terms.copy(), prepared.rule_record.copy()
        before = result.equity.copy()
        assert len(result.baselines) == 5
        for tape, copy in zip(
            (prepared.tapes.long, prepared.tapes.short, prepared.tapes.long_orders, prepared.tapes.short_orders), kept, strict=True
        ):
            np.testing.assert_array_equal(tape, copy)
        assert prepared.terms.tobytes() == terms.tobytes()
        assert prepared.rule_record.tobytes() == record.tobytes()
        pd.testing.assert_series_equal(carried(market, execution).equity, before, check_exact=True)


def test_tapes_that_no_cost_stands_on_are_not_copied(tmp_path: Path) -> None:
    prepared = carried(ether_market(tmp_path), replace(COSTLY, impact=None))._prepared
    for factor in (0.0, 2.0):
        tapes = with_costs(prepared, factor).tapes
        assert all(getattr(tapes, name) is getattr(prepared.tapes, name) for name in tapes._fields)


def test_signals_stay_as_they_were(tmp_path: Path) -> None:
    """The decisions of the run, taken at the same bars; only what they cost differs."""
    result = carried(ether_market(tmp_path), COSTLY)
    for factor in (0.0, 2.0):
        again = bt.Result(
            result._strategy,
            with_costs(result._prepared, factor),
            result.capital,
            baselines.simulate(with_costs(result._prepared, factor), result.capital),
        )
        assert again.fills["time"].equals(result.fills["time"])
        rates = [run.fills["fee"] / (run.fills["quantity"].abs() * run.fills["price"]) for run in (result, again)]
        np.testing.assert_allclose(rates[1], factor * rates[0])


def test_an_unknown_impact_fills_nothing_at_any_cost(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[SPOT].loc[tables.bars[SPOT].index[:60], "volume"] = np.nan
    result = carried(load(tmp_path, tables), COSTLY)
    late = result.fills.loc[result.fills["slot"] == "long", "time"].iloc[0]
    assert late > START + 60 * HOUR
    assert np.isnan(with_costs(result._prepared, 0.0).tapes.long_orders[kernels.IMPACT, :60]).all()
    again = bt.Result(
        result._strategy,
        with_costs(result._prepared, 0.0),
        result.capital,
        baselines.simulate(with_costs(result._prepared, 0.0), result.capital),
    )
    assert again.fills.loc[again.fills["slot"] == "long", "time"].iloc[0] == late


def test_a_run_that_double_costs_carry_beyond_all_numbers_leaves_them_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = carried(ether_market(tmp_path))

    def refuse(*_: Any) -> None:
        raise ParameterError("the run's money is beyond all numbers")

    monkeypatch.setattr(baselines, "finished", refuse)
    assert {name: result.baselines_left_out[name] for name in ("zero cost", "double cost")} == dict.fromkeys(
        ("zero cost", "double cost"), "the run's money is beyond all numbers"
    )


def test_a_bad_day_that_is_played_stays_in_the_run_at_other_costs() -> None:
    """A deleveraging at a gap of 10 %: without costs the gap is lost all the same."""
    bars = 30
    execution = replace(FREE, spot_fee=0.001, derivative_fee=0.001, deleveraged_at=str(START + 10 * HOUR), deleveraged_gap=0.1)
    falling = np.linspace(100.0, 90.0, bars).tolist()
    result = traded(spot(falling), perpetual(falling), execution=execution, size=0.5)
    assert "deleveraging" in set(result.trades["reason"])
    expected = traded(spot(falling), perpetual(falling), execution=replace(execution, spot_fee=0.0, derivative_fee=0.0), size=0.5)
    assert result.baselines.loc["zero cost", "final_equity"] == near(expected.equity.iloc[-1])


def test_a_dated_future_s_delivery_is_charged_at_the_factor() -> None:
    """100 coins are 10,000: delivered at 100 for 1 % of 50 coins' worth is 50; twice it is 100."""
    contracts = {"F": future(flat(6), expiry=4.0, settlement=100.0)}
    result = traded(spot(flat(8)), contracts, execution=replace(FREE, delivery_fee=0.01), size=0.5)
    assert result.attribution["settlement"].iloc[-1] == near(-50.0)
    assert result.baselines["final_equity"].loc[["zero cost", "double cost"]].tolist() == near([CAPITAL, CAPITAL - 100.0])


# ---------------------------------------------------------------- several rules on one capital


def test_a_book_of_one_has_the_baselines_of_a_single_run(tmp_path: Path) -> None:
    alone = carried(ether_market(tmp_path))
    book = bt.run({"it": alone._prepared.rule}, alone._prepared.market, execution=COSTLY)
    pd.testing.assert_frame_equal(book.baselines, alone.baselines)
    pd.testing.assert_frame_equal(book.baseline_curves, alone.baseline_curves)
    assert book.baselines_left_out == {}


@pytest.mark.parametrize("factor", [0.0, 2.0])
def test_a_book_at_other_costs_is_a_book_with_those_costs(tmp_path: Path, factor: float) -> None:
    """Shared cash, a reserve, and a limit in total that the second rule meets."""
    market = ether_market(tmp_path)
    signal = np.where(np.arange(len(market)) % 48 < 30, 1.0, 0.0)
    rules = {
        "perpetual": bt.Rule(long=market.spot, short=market.perpetual, signal=signal, enter=0.5, exit=0.5),
        "chain": bt.Rule(long=market.spot, short=market.future_chain(), signal=signal, enter=0.5, exit=0.5),
    }
    book = Book(rules, shares=(0.6, 0.3), exposure=0.4, drawdown=0.5)
    result = bt.run(book, market, execution=COSTLY)
    oracle = bt.run(book, market, execution=times_of(COSTLY, factor))
    name = {0.0: "zero cost", 2.0: "double cost"}[factor]
    assert result.baselines.loc[name, "final_equity"] == pytest.approx(oracle.equity.iloc[-1], rel=1e-13)
    assert result.baselines.loc[name, "final_equity"] != pytest.approx(result.equity.iloc[-1], rel=1e-6)
    assert (result.baseline_curves.iloc[0] == result.capital).all()


def test_several_assets_share_the_capital_of_held_spots_and_carry_equally() -> None:
    """5,000 of each at 100: 50 coins of each, at 120 and 90 at the end: 10,500."""
    bars = 30
    rises, falls = path(*flat(2), *flat(bars - 3), 120.0), path(*flat(2), *flat(bars - 3), 90.0)
    market = in_memory(
        {"E": spot(*rises), "EP": perpetual(*rises), "B": spot(*falls, base="BTC"), "BP": perpetual(*falls, base="BTC")},
        series={"risk_free": [(0.0, 0.0)]},
    )
    rules = [bt.Rule(short=market.leg(name), size=0.1) for name in ("EP", "BP", "EP")]
    found = bt.run(rules, market, capital=CAPITAL, execution=FREE)
    assert found.baselines_left_out == {}
    assert found.baselines.loc["hold spot", "final_equity"] == near(10_500.0)
    assert found.baselines.loc["hold spot", "what"] == "E and B bought for equal parts of the capital and kept, with the run's execution"
    assert found.baselines.loc["always-on funding carry", "final_equity"] == near(CAPITAL)
    told = "long E and short EP, long B and short BP in equal parts all the time, size 0.5, leverage 1, with the run's execution"
    assert found.baselines.loc["always-on funding carry", "what"] == told


# ---------------------------------------------------------------- what could not be bought


@pytest.mark.parametrize(
    ("capital", "participation", "why"),
    [(3.0, None, "worth 3, less than the smallest order of 5"), (1e5, 1e-6, "no order was filled")],
)  # fmt: skip
def test_what_buys_nothing_is_left_out_with_its_reason(tmp_path: Path, capital: float, participation: float | None, why: str) -> None:
    market = ether_market(tmp_path)
    rule = bt.Rule(long=market.spot, short=market.perpetual)
    left_out = bt.run(rule, market, capital=capital, execution=bt.Execution(participation=participation)).baselines_left_out
    assert set(left_out) == {"hold spot", "always-on funding carry"}
    assert why in left_out["hold spot"]
    for told in left_out.values():
        assert told.startswith(f"nothing of {SPOT} could be bought: the rule was free to enter at 200 of 200 bars")
        assert not told.endswith(".")


def test_what_is_bought_in_part_says_how_much(tmp_path: Path) -> None:
    market = ether_market(tmp_path)
    execution = bt.Execution(participation=0.001)
    result = bt.run(bt.Rule(long=market.spot, short=market.perpetual), market, capital=1e6, execution=execution)
    alone = bt.run(bt.Rule(long=market.spot, size=1.0), market, capital=1e6, execution=execution)
    share = float((alone.fills["quantity"] * alone.fills["reference"]).sum()) / 1e6
    assert 0.0 < share < 0.9
    told = f"{SPOT} to be bought for all the capital and kept, with the run's execution; only {100 * share:.2g}% of that was bought"
    assert result.baselines.loc["hold spot", "what"] == told
    assert re.search(r"with the run's execution; only \S+% of that was bought$", result.baselines.loc["always-on funding carry", "what"])
