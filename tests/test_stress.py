"""Scenarios: what each does to a market made by hand, that nothing else changes, that the table adds up, and every mistake's sentence.

Unless a test says otherwise: 48 hourly bars at 100, capital 10,000 and size 0.5, so 50 coins; funding of 0.001 every 8 hours pays 50·100·0.001 = 5 to who is
short. Decisions fall at the close of 01:00, fills at the open after it. No costs, no rates, margin off.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import HOUR, PERP, SPOT, START, bars, ether, funding, instrument, load, times, write

import backtest as bt
from backtest.data.schema import Tables
from backtest.errors import CarryError, DataError, ParameterError
from backtest.instruments import Kind
from backtest.market import Market
from backtest.report.stress import render_stress
from backtest.result import Result
from backtest.scenarios import SCENARIOS, Before, Scenario, parse_scenario, standard
from backtest.stress import chosen_scenarios

COUNT, CAPITAL = 48, 10_000.0
INDEX = times(START + HOUR, COUNT)
COSTS = ("spot_fee", "derivative_fee", "half_spread", "delivery_fee", "liquidation_fee", "maintenance", "idle_rate", "borrow_rate")
FREE = bt.Execution(margin=bt.Margin.OFF, **dict.fromkeys(COSTS, 0.0))
NOON = pd.Timestamp("2024-03-01T12:00Z")


def near(value: Any) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-9)


def hand_made(spot: Any = 100.0, perpetual: Any = 100.0, venue: str = "binance", **more: Any) -> Tables:
    """Spot and perpetual with given closes; `more` are columns of the perpetual. Extremes are the opens and closes."""
    closes = {SPOT: np.broadcast_to(spot, COUNT), PERP: np.broadcast_to(perpetual, COUNT)}
    frames = {name: bars(values, INDEX) for name, values in closes.items()}
    for name, frame in frames.items():
        columns = {"high": frame[["open", "close"]].max(axis=1), "low": frame[["open", "close"]].min(axis=1)}
        frames[name] = frame.assign(**columns, **(more if name == PERP else {}))
    events = times(START, COUNT // 8 + 1, "8h")
    return Tables(
        instruments=[instrument(SPOT, Kind.SPOT, venue=venue), instrument(PERP, Kind.PERPETUAL)],
        bars=frames,
        funding={PERP: funding(events, 0.001)},
    )


@pytest.fixture
def market(tmp_path: Path) -> Market:
    return load(tmp_path, hand_made())


def carry(market: Market, **more: Any) -> bt.Rule:
    return bt.Rule(long=market.spot, short=market.perpetual, **{"resize": None} | more)


def stressed(market: Market, *scenarios: Any, execution: bt.Execution = FREE, rule: bt.Rule | None = None, **changes: Any) -> bt.StressTest:
    chosen = carry(market) if rule is None else rule
    return bt.stress(chosen, market, list(scenarios), capital=CAPITAL, execution=execution, **changes)


def sources(test: bt.StressTest, label: str) -> dict[str, float]:
    """What changed by source, where anything did."""
    return {name: value for name, value in test.sources.loc[label].items() if abs(value) > 1e-9}


# ---------------------------------------------------------------- an altered market


def test_an_altered_market_is_another_and_leaves_the_first_as_it_is(tmp_path: Path) -> None:
    market = load(tmp_path, hand_made(volume=np.arange(1.0, COUNT + 1)))
    close, rates, remembered = market.close(PERP), market.funding(PERP).rates, dict(market._memo)
    frame = market.bars(PERP)
    frame.loc[:, "close"] = 50.0
    other = market.altered({PERP: frame.assign(open=50.0, high=50.0, low=50.0)}, {PERP: -rates})
    assert other.close(PERP).tolist() == [50.0] * COUNT
    assert other.funding(PERP).rates.tolist() == near((-rates).tolist())
    assert (other.funding(PERP).times == market.funding(PERP).times).all()
    assert other.close(SPOT).tolist() == [100.0] * COUNT
    assert bt.premium(other, other.perpetual)[0].tolist() == near([-0.5] * COUNT)
    assert other.raw(PERP, "volume").tolist() == list(range(1, COUNT + 1)), "a column that is read when it is asked for"
    assert market._memo.keys() == remembered.keys()
    assert market.close(PERP) is close
    assert close.tolist() == [100.0] * COUNT
    assert market.funding(PERP).rates is rates
    assert market.bars(PERP)["close"].tolist() == [100.0] * COUNT
    assert bt.premium(market, market.perpetual)[0].tolist() == near([0.0] * COUNT)
    other.notes.append("only there")
    assert "only there" not in market.notes
    assert (other.clock.equals(market.clock), other.start, len(other)) == (True, market.start, len(market))


def test_bars_that_are_taken_away_take_their_columns_along(tmp_path: Path) -> None:
    market = load(tmp_path, hand_made(volume=2.0))
    frame = market.bars(PERP)
    frame.iloc[3:5] = np.nan
    other = market.altered({PERP: frame})
    for column in ("close", "volume"):
        assert np.flatnonzero(np.isnan(other.raw(PERP, column))).tolist() == [3, 4]
    assert np.isnan(other.close(PERP)[3:5]).all()
    assert other.last_known(PERP).tolist() == [100.0] * COUNT
    assert not np.isnan(market.close(PERP)).any()


def test_what_is_altered_twice_keeps_both(market: Market) -> None:
    rates = np.full(len(market.funding(PERP).times), 0.5)
    other = market.altered(rates={PERP: rates}).altered({SPOT: market.bars(SPOT).assign(close=100.0)})
    assert other.funding(PERP).rates.tolist() == rates.tolist()


def test_an_altered_market_keeps_its_clock(market: Market) -> None:
    with pytest.raises(ParameterError, match=f"^altered bars of {PERP} must keep their stamps: 47 bars for 48$"):
        market.altered({PERP: market.bars(PERP).iloc[1:]})
    with pytest.raises(ParameterError, match=f"^altered rates of {PERP} must be one for each funding event: 1 for 7$"):
        market.altered(rates={PERP: np.zeros(1)})


# ---------------------------------------------------------------- spreads


def test_spreads_without_quotes_are_those_of_the_usual_basis_point(market: Market) -> None:
    # Two fills of 50·100·0.0001 = 0.5 each; five times as much is 4 more.
    test = stressed(market, bt.Spreads(), execution=replace(FREE, half_spread=None))
    assert sources(test, "spreads") == near({"slippage": -4.0})
    assert (test.table.loc["spreads", "change"], test.table.loc["spreads", "change_of_capital"]) == (near(-4.0), near(-4e-4))
    assert test.table.loc["spreads", "worst_source"] == "slippage"


def test_spreads_of_quotes_and_settings(tmp_path: Path) -> None:
    # Half a spread is 0.1/100 where quoted: 50·100·0.001 = 5, three times 15. The spot's setting of 0.002 is 10, three times 30.
    market = load(tmp_path, hand_made(bid=99.9, ask=100.1, spread=0.002))
    test = stressed(market, bt.Spreads(3), execution=replace(FREE, half_spread=(0.002, None)))
    assert sources(test, "spreads=3") == near({"slippage": -30.0})
    altered = test.results["spreads=3"]._prepared.market
    assert bt.spread(altered)[0].tolist() == near([0.006] * COUNT)
    assert (altered.raw(PERP, "bid")[0], altered.raw(PERP, "ask")[0]) == near((99.7, 100.3))
    assert (market.raw(PERP, "bid")[0], bt.spread(market)[0, 0]) == near((99.9, 0.002))


def test_spreads_that_are_signals(market: Market) -> None:
    series = np.where(np.arange(COUNT) < 10, np.nan, 0.001)
    scene = bt.Spreads(2).scene(before(market, execution=replace(FREE, half_spread=(series, 0.0))))
    long, short = scene.execution.half_spreads
    assert np.asarray(long).tolist() == near([0.0002] * 10 + [0.002] * 38)
    assert short == 0.0
    assert scene.market is market


def test_a_spread_wider_than_the_price_is_refused(tmp_path: Path) -> None:
    market = load(tmp_path, hand_made(bid=99.0, ask=101.0))
    with pytest.raises(ParameterError, match=f"^factor=100 makes a bid of {PERP} negative; give a smaller one$"):
        stressed(market, bt.Spreads(100))


def test_the_worst_case_is_the_stress_multiplier(market: Market) -> None:
    # As the spreads above: without impact and volume limits it is the same.
    execution = replace(FREE, half_spread=0.0001)
    test = stressed(market, bt.WorstCase(5), execution=execution)
    assert sources(test, "worst") == near({"slippage": -4.0})
    scene = bt.WorstCase(5).scene(before(market, execution=replace(execution, stress=2.0)))
    assert scene.execution.stress == 10.0
    scene = bt.WorstCase(5).scene(before(market, execution=replace(execution, stress=np.full(COUNT, 2.0))))
    assert np.asarray(scene.execution.stress).tolist() == [10.0] * COUNT


# ---------------------------------------------------------------- funding


def test_funding_flips_in_its_window_only(market: Market) -> None:
    # Payments at 08:00, 16:00, 00:00, 08:00, 16:00, 00:00. The window holds those of 16:00 and 00:00: 2·2·5 less.
    test = stressed(market, bt.FundingFlip("2024-03-01T08:00", "2024-03-02T00:00"))
    (label,) = test.results
    assert sources(test, label) == near({"funding": -20.0})
    assert test.base.attribution["funding"].iloc[-1] == near(30.0)
    assert test.table.loc[label, "what"].startswith(f"Funding of {PERP} is paid the other way from 2024-03-01T08:00Z to 2024-03-02T00:00Z.")


def test_signals_see_the_flip_and_a_bare_rules_do_not(market: Market) -> None:
    """Leave when the last payment was negative: a strategy leaves, a rule with its signals of before stays."""

    @dataclass(frozen=True, kw_only=True)
    class Paid(bt.Strategy):
        """Hold while funding pays."""

        def rule(self, market: bt.Market) -> bt.Rule:
            return carry(market, signal=bt.current_funding(market), enter=0.0, exit=-1e-9)

    flip = bt.FundingFlip("2024-03-01T15:00")
    test = bt.stress(Paid(), market, flip, capital=CAPITAL, execution=FREE)
    # 5 at 08:00, then −5 at 16:00 and out; without the flip six payments.
    assert sources(test, flip.label) == near({"funding": -30.0})
    assert test.results[flip.label].trades["reason"].tolist() == ["signal"]
    assert "Signals stayed" not in test.table.loc[flip.label, "what"]
    fixed = bt.stress(Paid().rule(market), market, flip, capital=CAPITAL, execution=FREE)
    assert sources(fixed, flip.label) == near({"funding": -50.0})
    assert fixed.table.loc[flip.label, "what"].endswith("Signals stayed as they were.")
    assert "Signals" not in stressed(market, flip).table.loc[flip.label, "what"], "it has none"


# ---------------------------------------------------------------- a gap, a cascade


@pytest.mark.parametrize(("sides", "price"), [("plus", 105.0), ("minus", 95.0)])
def test_a_gap_goes_against_the_position_and_comes_back(market: Market, sides: str, price: float) -> None:
    # 50 coins at 5 more: 250 less for three hours, 12:00 to 15:00; then all is as before but for the funding of 16:00, which sees 100 again.
    gap = bt.BasisGap(0.05, NOON, "3h")
    test = stressed(market, gap, rule=carry(market, sides=sides))
    altered = test.results[gap.label]._prepared.market
    inside = (INDEX > NOON) & (INDEX <= NOON + 3 * HOUR)
    for column in ("open", "high", "low", "close"):
        assert altered.raw(PERP, column).tolist() == near(np.where(inside, price, 100.0).tolist())
    assert altered.close(SPOT).tolist() == [100.0] * COUNT
    difference = test.results[gap.label].equity - test.base.equity
    assert difference.to_numpy() == near(np.where(inside, -250.0, 0.0))
    peak = CAPITAL + (5.0 if sides == "plus" else 0.0)  # one payment before
    lowest = peak - 250.0 if sides == "plus" else CAPITAL - 5.0 - 250.0
    assert test.table.loc[gap.label, "max_drawdown"] == near(1.0 - lowest / peak)
    assert test.table.loc[gap.label, "change"] == near(0.0)


def test_a_gap_moves_marks_and_quotes_but_not_the_index(tmp_path: Path) -> None:
    market = load(tmp_path, hand_made(bid=99.0, ask=101.0, mark=100.0, mark_high=102.0, mark_low=98.0, index=100.0))
    altered = bt.BasisGap(0.1, NOON, "1h").scene(before(market)).market
    bar = int(INDEX.searchsorted(NOON)) + 1
    columns = {name: altered.raw(PERP, name)[bar] for name in ("bid", "ask", "mark", "mark_high", "mark_low", "index")}
    assert columns == near({"bid": 108.9, "ask": 111.1, "mark": 110.0, "mark_high": 112.2, "mark_low": 107.8, "index": 100.0})
    assert altered.raw(PERP, "mark")[bar - 1] == altered.raw(PERP, "mark")[bar + 1] == 100.0


MARGIN = replace(FREE, margin=bt.Margin.ISOLATED, maintenance=0.01, liquidation_fee=0.005)


def test_a_cascade_liquidates_in_one_bar(market: Market) -> None:
    # Leverage 5: collateral 1,000, one payment of 5 in it. Breach where 1005 − 50·(m − 100) = 0.01·50·m: m = 6005/50.5. The spot is sold at 100.
    cascade = bt.Cascade(0.3, NOON)
    test = stressed(market, cascade, execution=MARGIN, leverage=5.0)
    result, price = test.results[cascade.label], 6005.0 / 50.5
    assert test.table["liquidations"].tolist() == [0, 1]
    fill = result.fills[result.fills["action"] == "liquidation"].iloc[0]
    assert (fill["time"], fill["reference"]) == (NOON, near(price))
    assert result.trades["pnl"].iloc[0] == near(5.0 - 50.0 * (price - 100.0) - 0.005 * 50.0 * price)
    altered = result._prepared.market
    assert np.flatnonzero(altered.raw(PERP, "high") != 100.0).tolist() == [int(INDEX.searchsorted(NOON))]
    assert altered.raw(PERP, "high").max() == near(130.0)
    assert (altered.raw(PERP, "close") == 100.0).all()
    # The spot's price is taken along to the liquidation's, and comes back alone.
    assert (test.table.loc[cascade.label, "worst_source"], test.table.loc[cascade.label, "worst_change"]) == (
        "legging", near(-50.0 * (price - 100.0)),
    )  # fmt: skip


def test_a_cascade_runs_down_against_a_bought_derivative(tmp_path: Path) -> None:
    market = load(tmp_path, hand_made(mark_high=101.0, mark_low=99.0))
    scene = bt.Cascade(0.2, NOON).scene(before(market, rule=carry(market, sides="minus")))
    bar = int(INDEX.searchsorted(NOON))
    assert (scene.market.raw(PERP, "mark_low")[bar], scene.market.raw(PERP, "low")[bar]) == near((79.2, 80.0))
    assert (scene.market.raw(PERP, "mark_high") == 101.0).all()
    assert (scene.execution.deleveraged_at, scene.execution.deleveraged_gap) == (NOON, 0.0)


def test_what_survives_a_cascade_with_a_gain_is_deleveraged(tmp_path: Path) -> None:
    # The perpetual has fallen to 90, so the run to 117 takes nothing; then it is bought back at 90 for a gain of 500. The spot is sold at 100.
    closes = np.where(pd.Timestamp("2024-03-01T06:00Z") > INDEX, 100.0, 90.0)
    market = load(tmp_path, hand_made(perpetual=closes))
    cascade = bt.Cascade(0.3, NOON)
    result = stressed(market, cascade, execution=MARGIN).results[cascade.label]
    assert result.fills["action"].tolist()[:4] == ["entry", "entry", "deleveraging", "exit"]
    assert result.trades["reason"].tolist()[0] == "deleveraging"
    assert result.trades["pnl"].iloc[0] == near(500.0 + 50.0 * 90.0 * 0.001)


def test_deleveraging_takes_the_largest_gain_away(tmp_path: Path) -> None:
    # At 16:00 the perpetual stands at 80: bought back 5% worse, at 84, for 16·50 = 800.
    closes = np.full(COUNT, 100.0)
    closes[pd.Timestamp("2024-03-01T16:00Z") == INDEX] = 80.0
    market = load(tmp_path, hand_made(perpetual=closes))
    test = stressed(market, bt.Deleveraging(gap=0.05), rule=carry(market, enter=0.0, signal=np.where(INDEX < NOON, 1.0, -1.0)))
    (label,) = test.results
    assert "2024-03-01T16:00Z, the derivative's largest gain" in test.table.loc[label, "what"]
    fill = test.results[label].fills.iloc[2]
    assert (fill["action"], fill["time"], fill["reference"]) == ("deleveraging", pd.Timestamp("2024-03-01T16:00Z"), near(84.0))


# ---------------------------------------------------------------- an outage


def test_nothing_fills_during_an_outage(market: Market) -> None:
    # Leave at 12:00; both are dark until 20:00 and fill at the open then: the payment of 16:00 is got, the later ones not.
    signal = np.where(INDEX < NOON, 1.0, -1.0)
    rule = carry(market, signal=signal, enter=0.0, exit=-0.5)
    outage = bt.Outage("binance", NOON, NOON + 8 * HOUR)
    test = stressed(market, outage, rule=rule)
    assert test.base.trades["exited_at"].tolist() == [NOON]
    result = test.results[outage.label]
    assert result.trades["exited_at"].tolist() == [NOON + 8 * HOUR]
    assert sources(test, outage.label) == near({"funding": 5.0})
    altered = result._prepared.market
    dark = (INDEX > NOON) & (INDEX <= NOON + 8 * HOUR)
    for name in (SPOT, PERP):
        assert np.isnan(altered.raw(name, "open")).tolist() == dark.tolist()
        assert np.isnan(altered.close(name)).tolist() == dark.tolist()
    assert np.isnan(bt.premium(altered, altered.perpetual)[0]).tolist() == dark.tolist()


def test_an_outage_is_of_one_venue(tmp_path: Path) -> None:
    market = load(tmp_path, hand_made(venue="kraken"))
    rule = carry(market, signal=np.where(INDEX < NOON, 1.0, -1.0), enter=0.0, exit=-0.5)
    test = stressed(market, bt.Outage(start=NOON, end=NOON + 2 * HOUR), rule=rule)
    (result,) = test.results.values()
    assert result.fills.set_index("slot")["time"].tolist()[2:] == [NOON, NOON + 2 * HOUR], (
        "the derivative's venue is dark, the spot's is not"
    )


# ---------------------------------------------------------------- coins, transfers


def test_a_recall_buys_the_spot_back(market: Market) -> None:
    recall = bt.Recall(NOON)
    test = stressed(market, recall, rule=carry(market, sides="minus"))
    result = test.results[recall.label]
    assert result.trades["reason"].tolist() == ["recall"]
    assert result.trades["exited_at"].tolist() == [NOON]
    # Bought perpetuals pay 5 six times; five of them are saved.
    assert sources(test, recall.label) == near({"funding": 25.0})
    assert test.table.loc[recall.label, "worst_source"] == ""
    assert "Lost most: nothing." in render_stress(test)


def test_slow_transfers_are_a_longer_delay(market: Market) -> None:
    execution = replace(FREE, wallets=(0.5, 0.5))
    test = stressed(market, bt.SlowTransfers("5D"), execution=execution)
    assert test.results["transfers=5D"]._prepared.execution.transfer_delay == "5D"


# ---------------------------------------------------------------- what is taken from the run


def before(market: Market, *, execution: bt.Execution = FREE, rule: bt.Rule | None = None) -> Before:
    """The run as it was, on terms that every engine knows; a scene is made of the terms that are asked about."""
    chosen = carry(market) if rule is None else rule
    return Before(market, execution, chosen, bt.run(chosen, market, capital=CAPITAL, execution=FREE))


def test_without_a_time_it_is_the_middle_of_the_longest_trade(market: Market) -> None:
    # In from 01:00 to 05:00 and from 12:00 to 20:00: the longer one's middle is 16:00.
    hours = INDEX.hour + 24 * (INDEX.day - 1)
    signal = np.where((hours < 5) | ((hours >= 12) & (hours < 20)), 1.0, 0.0)
    asked = before(market, rule=carry(market, signal=signal, enter=0.5, exit=0.5))
    middle, told = asked.moment(None)
    assert (middle, told) == (pd.Timestamp("2024-03-01T16:00Z"), "2024-03-01T16:00Z, the middle of the longest trade")
    assert asked.moment("2024-03-01T04:30")[1] == "2024-03-01T04:30Z"
    assert (
        asked.window(None, None, pd.Timedelta("1D"))[2] == "from 2024-03-01T16:00Z (the middle of the longest trade) to 2024-03-02T16:00Z"
    )
    assert asked.window(None, "2024-03-01T03:00", HOUR)[0] == pd.Timestamp("2024-03-01T02:00Z")


def test_without_a_trade_it_is_the_middle_of_the_run(market: Market) -> None:
    asked = before(market, rule=carry(market, signal=np.zeros(COUNT), enter=1.0, sides="minus"))
    assert asked.moment(None) == (pd.Timestamp("2024-03-02T00:00Z"), "2024-03-02T00:00Z, the middle of the run, which has no trade")
    assert asked.side(NOON) == -1
    test = bt.stress(asked.rule, market, "all", capital=CAPITAL, execution=FREE)
    assert test.table["change"].tolist() == near([0.0] * len(test.table))
    assert "no derivative has a gain" in test.skipped["deleveraging"]


def test_the_side_is_that_of_the_trade_that_is_on(market: Market) -> None:
    hours = INDEX.hour + 24 * (INDEX.day - 1)
    signal = np.where(hours < 6, 1.0, np.where(hours < 20, -1.0, 0.0))
    asked = before(market, rule=carry(market, signal=signal, enter=0.5, exit=0.1, sides="both"))
    assert [asked.side(START + hour * HOUR) for hour in (4, 12, 40)] == [1, -1, -1]
    assert asked.moment(None, 1)[0] == pd.Timestamp("2024-03-01T04:00Z")


# ---------------------------------------------------------------- the test and its table


def test_the_run_as_it_was_is_untouched_and_the_table_adds_up(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    closes = {name: market.close(name).copy() for name in market.instruments}
    rates, notes = market.funding(PERP).rates.copy(), list(market.notes)
    first = bt.run(carry(market), market, leverage=3)
    equity = first.equity.copy()
    test = bt.stress(first)
    assert test.base is first
    again = bt.run(carry(market), market, leverage=3)
    assert again.equity.equals(equity)
    assert all((market.close(name) == close).all() or np.isnan(close).any() for name, close in closes.items())
    assert (market.funding(PERP).rates == rates).all()
    assert market.notes == notes
    table = test.table
    assert list(table.index) == ["base", *test.results]
    assert set(table.index) - {"base"} | set(test.skipped) == set(SCENARIOS)
    assert table["change"].to_numpy() == near(table["final_equity"].to_numpy() - table.loc["base", "final_equity"])
    assert table["change"].to_numpy() == near(test.sources.sum(axis=1).to_numpy())
    assert table["change_of_capital"].to_numpy() == near(table["change"].to_numpy() / first.capital)
    for label, result in test.results.items():
        row = table.loc[label]
        assert (row["final_equity"], row["trades"]) == (near(result.equity.iloc[-1]), len(result.trades))
        assert (row["total_return"], row["max_drawdown"]) == near((result.metrics["total_return"], result.metrics["max_drawdown"]))
        changes = test.sources.loc[label]
        worst = min(changes.drop(["price_long", "price_short"]).min(), changes["price_long"] + changes["price_short"])
        assert row["worst_change"] == near(min(worst, 0.0))
        assert row["what"] in result.notes[-1]
        assert result.notes[-1].startswith("STRESS TEST, not what was: ")
    assert not any("STRESS" in note for note in first.notes)


def test_a_result_brings_its_strategy_market_and_settings(market: Market) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Sized(bt.Strategy):
        """A share."""

        share: float = bt.param(0.2, "a share")

        def rule(self, market: bt.Market) -> bt.Rule:
            return carry(market, size=self.share, signal=np.ones(COUNT), enter=0.5)

    first = bt.run(Sized(share=0.4), market, capital=CAPITAL, execution=FREE, leverage=2.0)
    gap = bt.BasisGap(0.05, NOON, "1h")
    test = bt.stress(first, scenarios=gap)
    result = test.results[gap.label]
    assert test.base is first
    assert (result.capital, result.params, result._prepared.rule.leverage, result._prepared.rule.size) == (
        CAPITAL,
        {"share": 0.4},
        2.0,
        0.4,
    )
    assert result._prepared.execution == FREE
    more = bt.stress(first, scenarios=gap, capital=20_000, size=0.3)
    assert (more.base.capital, more.base._prepared.rule.size, more.base._prepared.rule.leverage) == (20_000, 0.3, 2.0)
    direct = bt.stress(Sized(share=0.4), market, gap, capital=CAPITAL, execution=FREE, leverage=2.0)
    assert direct.table.equals(test.table)
    assert bt.stress(first, scenarios=gap, keep=False).results == {}


def test_the_printed_table_is_narrow_and_says_what_happens(market: Market) -> None:
    test = stressed(market, "gap=0.1,2024-03-01T12:00,8h", "spreads")
    told = repr(test)
    assert max(map(len, told.splitlines())) <= 80
    assert told.startswith("Stress test, USDT\n")
    assert "* gap=0.1,2024-03-01T12:00: Prices and marks of ETHUSDT-PERP stand 10% above" in " ".join(told.split())
    everything = repr(bt.stress(carry(market), market, capital=CAPITAL, execution=FREE))
    assert "* recall was left out: scenario recall needs a short spot" in " ".join(everything.split())
    assert max(map(len, everything.splitlines())) <= 80


def test_report_and_json_have_the_scenarios(market: Market, tmp_path: Path) -> None:
    test = stressed(market, "spreads", bt.FundingFlip(), execution=replace(FREE, half_spread=None))
    test.to_json(tmp_path / "run.json")
    told = json.loads((tmp_path / "run.json").read_text())
    assert [row["scenario"] for row in told["stress"]] == ["base", "spreads", "flip"]
    assert told["stress"][1]["change"] == near(-4.0)
    assert (told["final_equity"], told["stress_skipped"]) == (near(test.base.equity.iloc[-1]), {})
    test.report(tmp_path / "run.html")
    page = (tmp_path / "run.html").read_text()
    assert 'id="stress"' in page
    assert "Spreads are 5 times as wide." in page


# ---------------------------------------------------------------- names and values


def test_scenarios_are_typed_as_they_are_labelled() -> None:
    for text, scenario in [
        ("spreads", bt.Spreads()), ("spreads=2", bt.Spreads(2.0)), ("gap=,2021-05-19", bt.BasisGap(at="2021-05-19")),
        ("gap=0.1,2021-05-19,3D", bt.BasisGap(0.1, "2021-05-19", "3D")), ("outage=binance,2021-05-19T08:00", bt.Outage("binance", "2021-05-19T08:00")),
        ("deleveraging=,0.1", bt.Deleveraging(gap=0.1)), ("transfers=1D", bt.SlowTransfers("1D")), ("recall=2021-05-19", bt.Recall("2021-05-19")),
        ("worst=3", bt.WorstCase(3.0)), ("cascade=0.5", bt.Cascade(0.5)), ("flip=2021-01-01,2021-02-01", bt.FundingFlip("2021-01-01", "2021-02-01")),
    ]:  # fmt: skip
        assert parse_scenario(text) == scenario
        assert scenario.label == text
    assert parse_scenario("gap=duration=3D,size=0.2") == bt.BasisGap(0.2, duration="3D")
    assert bt.Recall(NOON).label == "recall=2024-03-01T12:00Z"
    assert [one.name for one in standard()] == list(SCENARIOS)
    assert all(getattr(bt, type(one).__name__) is type(one) for one in standard())
    assert all(item.default is not None or "None" in str(item.type) for one in standard() for item in fields(one))


def test_a_scenario_of_ones_own(market: Market) -> None:
    @dataclass(frozen=True)
    class Crash(Scenario):
        """The spot alone falls by a tenth at the last bar."""

        name = "crash"

        def scene(self, before: Before) -> Any:
            frame = before.market.bars(SPOT)
            frame.iloc[-1, :] *= 0.9
            return before.scene("The spot falls.", before.market.altered({SPOT: frame}))

    assert sources(stressed(market, Crash()), "crash") == near({"price_long": -500.0})
    with pytest.raises(NotImplementedError, match=r"^Scenario must define scene\(before\)$"):
        Scenario().scene(before(market))


# ---------------------------------------------------------------- mistakes

MADE_WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: parse_scenario("spread"), 'unknown scenario "spread"; did you mean "spreads"?'),
    (lambda: parse_scenario("zzz"), 'unknown scenario "zzz"; known: all, cascade, deleveraging, flip, gap, outage, recall, spreads, transfers, worst'),
    (lambda: parse_scenario("spreads=1,2"), "scenario spreads takes at most 1 values (factor): spreads=1,2"),
    (lambda: parse_scenario("gap=siz=1"), 'scenario gap has no "siz": gap=siz=1; did you mean "size"?'),
    (lambda: parse_scenario("gap=wide"), "scenario gap: size must be a number: size=wide"),
    (lambda: parse_scenario("gap=2"), "size is a fraction of the price: size=2 must be below 1; a twentieth is 0.05"),
    (lambda: parse_scenario("gap=nan"), "size must be a finite number: size=nan"),
    (lambda: parse_scenario("cascade=0"), "size must be above 0: size=0"),
    (lambda: parse_scenario("deleveraging=,1"), "gap is a fraction of the price: gap=1 must be below 1; a twentieth is 0.05"),
    (lambda: parse_scenario("spreads=-1"), "factor must be above 0: factor=-1"),
    (lambda: parse_scenario("worst=0"), "factor must be above 0: factor=0"),
    (lambda: parse_scenario("gap=0.1,soon"), 'at must be a time like "2024-01-31" or "2024-01-31T08:00": at=\'soon\''),
    (lambda: parse_scenario("flip=soon"), 'start must be a time like "2024-01-31" or "2024-01-31T08:00": start=\'soon\''),
    (lambda: parse_scenario("gap=0.1,2024-01-01,long"), "duration must be a duration like \"30D\" or \"8h\": duration='long'"),
    (lambda: parse_scenario("transfers=slow"), "delay must be a duration like \"30D\" or \"8h\": delay='slow'"),
    (lambda: chosen_scenarios([]), "a stress test needs scenarios: scenarios=[]; leave them out for one of each kind"),
    (lambda: chosen_scenarios(["all", "gap"]), '"all" plays one of each kind and stands alone; leave the others out'),
    (lambda: chosen_scenarios(["gap", bt.BasisGap()]), 'scenario "gap" stands twice; leave one out'),
    (lambda: chosen_scenarios([5]), 'a scenario is bt.Spreads(5) or a text like "spreads=5": 5'),  # type: ignore[list-item]
]  # fmt: skip


@pytest.mark.parametrize(("make", "told"), MADE_WRONG)
def test_a_scenario_that_is_none(make: Callable[[], object], told: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(told)}$"):
        make()


SPAN = "2024-03-01T00:00Z to 2024-03-03T00:00Z"
CANNOT_HAPPEN: list[tuple[Scenario, dict[str, Any], str]] = [
    (bt.BasisGap(at="2023-01-01"), {}, f"at=2023-01-01T00:00Z lies outside the run; choose a time from {SPAN}"),
    (bt.Recall("2025-01-01"), {"sides": "both"}, f"at=2025-01-01T00:00Z lies outside the run; choose a time from {SPAN}"),
    (bt.FundingFlip("2023-01-01", "2023-02-01"), {}, f"the window from 2023-01-01T00:00Z to 2023-02-01T00:00Z lies outside the run; choose one within {SPAN}"),
    (bt.Outage(start=NOON, end=NOON), {}, "start must be before end: start=2024-03-01T12:00Z, end=2024-03-01T12:00Z"),
    (bt.FundingFlip(NOON, NOON + HOUR), {}, f"{PERP} pays no funding from 2024-03-01T12:00Z to 2024-03-01T13:00Z; choose a longer window"),
    (bt.Outage("binanse"), {}, 'unknown venue "binanse" in dataset test; did you mean "binance"?'),
    (bt.FundingFlip(), {"short": None}, "scenario flip needs a perpetual leg and the rule has none; leave it out"),
    (bt.BasisGap(), {"short": None}, "scenario gap needs a derivative leg and the rule has spots only; leave it out"),
    (bt.Cascade(), {"short": None}, "scenario cascade needs a derivative leg and the rule has spots only; leave it out"),
    (bt.Deleveraging(), {"short": None}, "scenario deleveraging needs a derivative leg and the rule has spots only; leave it out"),
    (bt.Deleveraging(), {}, "scenario deleveraging: no derivative has a gain at any close of the run; name the time with at=…"),
    (bt.Recall(), {}, "scenario recall needs a short spot and the rule sells none; allow it with sides=both, or leave it out"),
    (bt.SlowTransfers(), {}, "scenario transfers needs money that is sent: wallets=None, top_up=None; give wallets=(0.6, 0.4) or top_up=0.5"),
]  # fmt: skip


@pytest.mark.parametrize(("scenario", "changes", "told"), CANNOT_HAPPEN, ids=lambda value: getattr(value, "label", ""))
def test_a_scenario_that_cannot_happen_to_the_run(market: Market, scenario: Scenario, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(CarryError, match=f"^{re.escape(told)}$"):
        stressed(market, scenario, **changes)


def test_a_leg_without_bars_there(tmp_path: Path) -> None:
    tables = hand_made()
    tables.bars[PERP] = tables.bars[PERP].iloc[:20]
    market = load(tmp_path, tables)
    rule = carry(market)
    late = "2024-03-02T12:00Z"
    for scenario, told in [
        (bt.BasisGap(at=late), f"{PERP} has no bar in the 8h after {late}; choose another time"),
        (bt.Cascade(at=late), f"{PERP} has no bar at {late}; choose another time"),
    ]:
        with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
            stressed(market, scenario, rule=rule)
    tables.instruments[1] = replace(tables.instruments[1], venue="kraken")
    market = load(tmp_path / "other", tables)
    told = f"kraken has no bar from {late} to 2024-03-02T13:00Z; choose another window"
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        bt.Outage("kraken", late, "2024-03-02T13:00Z").scene(before(market, rule=carry(market)))


def test_a_strategy_needs_a_market(market: Market) -> None:
    with pytest.raises(
        ParameterError, match=r"^a stress test needs a market: market=None; give bt.load_market\(…\), or a result, which has its own$"
    ):
        bt.stress(carry(market))


# ---------------------------------------------------------------- the command line


@dataclass(frozen=True, kw_only=True)
class AlwaysOn(bt.Strategy):
    """Hold spot against the perpetual."""

    def rule(self, market: bt.Market) -> bt.Rule:
        return bt.Rule(long=market.spot, short=market.perpetual)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Result, "report", lambda self, path: None)
    return write(tmp_path, ether())


def test_scenarios_on_the_command_line(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bt.main(AlwaysOn, ["--data", data, "--leverage", "2", "--scenario", "gap=0.1", "flip", "--json", "run.json"])
    printed = capsys.readouterr().out
    assert printed.index("final equity less capital") < printed.index("Stress test, USDT") < printed.index("Report: reports/always_on.html")
    rows = json.loads((tmp_path / "run.json").read_text())["stress"]
    assert [row["scenario"] for row in rows] == ["base", "gap=0.1", "flip"]
    assert rows[2]["change"] < 0.0
    assert 'id="stress"' in (tmp_path / "reports" / "always_on.html").read_text()


def test_all_scenarios_on_the_command_line(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    bt.main(AlwaysOn, ["--data", data, "--scenario", "all"])
    printed = " ".join(capsys.readouterr().out.split())
    assert all(f"* {name}" in printed for name in SCENARIOS)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("gaps",), 'unknown scenario "gaps"; did you mean "gap"?'),
        (("gap=wide",), "scenario gap: size must be a number: size=wide"),
        (("outage=nowhere",), 'unknown venue "nowhere" in dataset test; known: binance'),
        (("recall",), "scenario recall needs a short spot and the rule sells none; allow it with sides=both, or leave it out"),
        ((), "argument --scenario: expected at least one argument; see always_on --help"),
    ],
)
def test_mistakes_end_in_a_sentence(data: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(SystemExit) as left:
        bt.main(AlwaysOn, ["--data", data, "--scenario", *arguments])
    printed = capsys.readouterr()
    assert (left.value.code, printed.err, printed.out) == (2, f"error: {told}\n", "")


def test_what_is_no_single_strategy_is_refused(market: Market) -> None:
    book = bt.run([carry(market)], market, capital=CAPITAL, execution=FREE)
    with pytest.raises(
        ParameterError,
        match=r"^a stress test is of one strategy: it got a BookResult; give a strategy, .* of a book result.results\[label\]$",
    ):
        bt.stress(book)
    with pytest.raises(ParameterError, match=r"; give AlwaysOn\(\)$"):
        bt.stress(AlwaysOn, market)


def test_filters_stay_in_force_through_a_scenario(market: Market) -> None:
    """A result knows which of its rule's fields were changed from outside; what its own filters did to the signal is none of them."""
    filters = [bt.FundingWindow("2h")]
    result = bt.run(AlwaysOn(filters=filters), market, capital=CAPITAL, execution=FREE, max_hold="3h")
    test = bt.stress(result, scenarios="flip")
    assert len(test.results["flip"].trades) == len(result.trades) > 1
    free = bt.run(AlwaysOn(), market, capital=CAPITAL, execution=FREE, max_hold="3h")
    assert len(free.trades) > len(result.trades), "the filter keeps some out"
