"""The term structure at each entry: by hand, by a plain loop on generated runs, and where there is none."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import (
    FAR,
    FREE,
    HOUR,
    NEAR,
    PERP,
    SPOT,
    START,
    Item,
    ether,
    flat,
    future,
    in_memory,
    load,
    once,
    spot,
    traded,
)
from rich_market import rich

import backtest as bt
from backtest.entry_curves import COLUMNS, is_in, table

DAY = 24.0


def contracts(*given: tuple[float, Sequence[float]], **facts: Any) -> dict[str, Item]:
    """Dated contracts "A", "B", … by (hours to expiry from the start, closes)."""
    return {name: future(closes, closes, expiry=expiry, **facts) for name, (expiry, closes) in zip("ABCDE", given, strict=False)}


def by_loop(result: bt.Result, spot_name: str) -> list[tuple[Any, ...]]:
    """The rows, trade by trade and contract by contract, from bars as loaded."""
    market = result._prepared.market
    rows = []
    futures = sorted((item for item in market.instruments.values() if item.kind == "future"), key=lambda item: item.expires_at)
    for number, trade in enumerate(result.trades.itertuples()):
        time = market.clock[market.clock <= trade.entered_at][-1]
        for item in futures:
            frame, against = market.bars(item.id), market.bars(spot_name)
            days = (item.expires_at - time) / pd.Timedelta("1D")
            if days <= 0 or frame.index[0] > time:
                continue
            there = time in frame.index and time in against.index and days >= 1.0
            rate = (frame.loc[time, "close"] / against.loc[time, "close"] - 1.0) * 365.0 / days if there else math.nan
            rows.append((number, time, item.id, days, rate, item.id in trade.contract.split("/")))
    return rows


def agree(result: bt.Result, spot_name: str = SPOT) -> pd.DataFrame:
    """The table is the loop's."""
    found = result.entry_curves
    assert found is not None
    assert tuple(found.columns) == COLUMNS
    expected = by_loop(result, spot_name)
    assert len(found) == len(expected) > 0
    for column, values in zip(COLUMNS, zip(*expected, strict=True), strict=True):
        if column in ("days", "premium"):
            np.testing.assert_allclose(found[column], values, rtol=1e-12)
        else:
            assert found[column].tolist() == list(values), column
    return found


# ---------------------------------------------------------------- by hand


def test_the_curve_of_one_trade() -> None:
    """Decided at the second close: A then has 10 days at 101, B 30 at 103, C 100 at 95 and nothing known of D, whose bars begin later. B is the one that is taken."""
    chain = contracts(
        (10 * DAY + 2, [101.0] * 6), (30 * DAY + 2, [103.0] * 6), (100 * DAY + 2, [95.0] * 6), (200 * DAY + 2, [math.nan] * 3 + [120.0] * 3)
    )
    result = traded(spot([100.0] * 6), chain, min_days=20.0, **once(6, at=1))
    found = agree(result, "LONG")
    assert found["trade"].tolist() == [0, 0, 0]
    assert (found["time"] == result.start + 2 * HOUR).all()
    assert (found["time"] == result.trades["entered_at"][0]).all()
    assert found["contract"].tolist() == ["A", "B", "C"]
    assert found["days"].tolist() == [10.0, 30.0, 100.0]
    assert found["premium"].tolist() == pytest.approx([0.01 * 36.5, 0.03 * 365 / 30, -0.05 * 3.65])
    assert found["chosen"].tolist() == [False, True, False]


def test_a_contract_at_its_expiry_is_over_and_one_in_its_last_day_has_no_rate() -> None:
    """Decided at the third close, 3 hours in: A expires just then, B in 23 hours, C in 24."""
    chain = contracts((3.0, [101.0] * 3), (26.0, [101.0] * 6), (27.0, [101.0] * 6))
    result = traded(spot([100.0] * 6), chain, **once(6, at=2))
    found = agree(result, "LONG")
    assert found["contract"].tolist() == ["B", "C"]
    assert found["premium"].tolist() == pytest.approx([math.nan, 3.65], nan_ok=True)
    assert found["chosen"].tolist() == [True, False]


def test_a_close_that_is_not_there_has_no_premium_but_its_days() -> None:
    chain = contracts((10 * DAY + 1, [101.0] * 6), (20 * DAY + 1, [102.0, math.nan, 102.0, 102.0, 102.0, 102.0]))
    result = traded(spot([100.0] * 6), chain, **once(6, at=1))
    found = agree(result, "LONG")
    assert np.isnan(found["premium"].tolist()[1])
    assert found["days"].tolist()[1] == pytest.approx(20.0 - 1 / 24)


def test_a_calendar_spread_has_chosen_two() -> None:
    chain = contracts((10 * DAY, [101.0] * 6), (30 * DAY, [103.0] * 6), (100 * DAY, [95.0] * 6))
    market = in_memory({"SPOT": spot(flat(6)), **chain})
    rule = bt.Rule(long=market.future_chain(), short=market.future_chain(nth=2), max_hold="2h")
    result = bt.run(rule, market, execution=FREE)
    assert result.trades["contract"].tolist() == ["A/B", "A/B"]
    assert agree(result, "SPOT")["chosen"].tolist() == [True, True, False] * 2


def test_an_order_that_waited_is_told_at_the_close_before_its_fill() -> None:
    """Decided at the first close, with three hours of latency filled at the open after the fourth."""
    chain = contracts((10 * DAY, [101.0, 102.0, 103.0, 104.0, 105.0, 106.0, 107.0]))
    result = traded(spot([100.0] * 7), chain, execution=bt.Execution(latency="3h"), **once(7))
    found = agree(result, "LONG")
    assert found["time"].tolist() == [START + 4 * HOUR]
    assert found["premium"].tolist() == pytest.approx([0.04 * 365 / (10 - 4 / 24)])


def test_one_contract_stands_beside_the_others_of_its_product() -> None:
    items = {
        "SPOT": spot(flat(6)),
        "A": future(flat(6, 101.0), expiry=10 * DAY),
        "B": future(flat(6, 102.0), expiry=20 * DAY),
        "COIN": future(flat(6, 103.0), expiry=15 * DAY, face=10.0),
        "DERIBIT": future(flat(6, 104.0), expiry=15 * DAY, venue="deribit"),
        "BTC": future(flat(6, 105.0), expiry=15 * DAY, base="BTC"),
    }
    market = in_memory(items)
    one = bt.run(bt.Rule(long=market.leg("SPOT"), short=market.leg("B"), **once(6)), market, execution=FREE).entry_curves
    assert one is not None
    assert one[["contract", "chosen"]].to_numpy().tolist() == [["A", False], ["B", True]]
    coin = bt.run(bt.Rule(long=market.leg("A"), short=market.leg("COIN"), **once(6)), market, execution=FREE).entry_curves
    assert coin is not None
    assert coin[["contract", "chosen"]].to_numpy().tolist() == [["A", True], ["COIN", True], ["B", False]]


# ---------------------------------------------------------------- generated runs


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> bt.Market:
    return load(tmp_path_factory.mktemp("curves"), rich())


def switching(market: bt.Market, every: int, **rule: Any) -> bt.Result:
    signal = np.where(np.arange(len(market)) % every < 0.5 * every, 1.0, 0.0)
    return bt.run(bt.Rule(**rule, signal=signal, enter=0.5, exit=0.5), market)


def test_generated_runs(market: bt.Market) -> None:
    """Contracts that expire, one listed late, holes in the bars, rolls, a chain against the perpetual, one leg alone."""
    chain = market.future_chain(min_days=10)
    results = [
        switching(market, 40, long=market.spot, short=chain),
        switching(market, 200, long=market.spot, short=chain, roll_days=12, loss=0.5),
        switching(market, 30, long=market.perpetual, short=market.future_chain(min_days=30, nth=2)),
        switching(market, 30, short=chain),
        bt.run(bt.Rule(long=market.spot, short=chain), market),
    ]
    for result in results:
        found = agree(result)
        assert found.groupby("trade")["chosen"].sum().tolist() == [1] * len(result.trades)


def test_other_clocks(tmp_path: Path) -> None:
    market = load(tmp_path, rich(), "2023-01-08", freq="1D")
    agree(switching(market, 10, long=market.spot, short=market.future_chain(min_days=10)))


def test_very_many_trades(tmp_path: Path) -> None:
    market = load(tmp_path, ether(660))
    found = switching(market, 2, long=market.spot, short=market.leg(FAR))
    assert len(found.trades) > 250
    agree(found)


# ---------------------------------------------------------------- none, and nothing in it


def test_no_trade_no_row(market: bt.Market) -> None:
    rule = bt.Rule(long=market.spot, short=market.future_chain(), signal=np.zeros(len(market)), enter=1.0)
    found = bt.run(rule, market).entry_curves
    assert found is not None
    assert found.empty
    assert tuple(found.columns) == COLUMNS
    some = switching(market, 40, long=market.spot, short=market.future_chain()).entry_curves
    assert some is not None
    assert found.dtypes.astype(str).to_dict() == some.dtypes.astype(str).to_dict()
    assert some.dtypes.astype(str).to_dict() | {"contract": ""} == {
        "trade": "int64", "time": "datetime64[ns, UTC]", "contract": "", "days": "float64", "premium": "float64", "chosen": "bool",
    }  # fmt: skip


def test_without_a_dated_leg_or_a_spot_there_is_none(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    assert bt.run(bt.Rule(long=market.spot, short=market.perpetual), market).entry_curves is None
    alone = market.only(PERP, NEAR, FAR)
    assert bt.run(bt.Rule(long=alone.perpetual, short=alone.leg(FAR)), alone).entry_curves is None
    assert bt.run(bt.Rule(long=market.perpetual, short=market.leg(FAR)), market).entry_curves is not None
    assert bt.run([bt.Rule(long=market.spot, short=market.leg(FAR))], market).entry_curves is None


def test_of_two_spots_it_is_the_rules_own() -> None:
    market = in_memory({"OTHER": spot(flat(6, 50.0)), "SPOT": spot(flat(6)), "A": future(flat(6, 101.0), expiry=10 * DAY + 1)})
    own = bt.run(bt.Rule(long=market.leg("SPOT"), short=market.leg("A"), **once(6)), market, execution=FREE)
    assert own.entry_curves is not None
    assert own.entry_curves["premium"].tolist() == pytest.approx([0.365])
    assert bt.run(bt.Rule(short=market.leg("A"), **once(6)), market, execution=FREE).entry_curves is None


def test_a_rule_looked_at_without_its_run(market: bt.Market) -> None:
    trades = pd.DataFrame({"entered_at": market.clock[[3, 3]], "contract": ["ETHUSDT-230630", "nothing known"]})
    found = table(market, bt.Rule(long=market.spot, short=market.future_chain()), trades)
    assert found is not None
    assert found["chosen"].tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("name", "held", "expected"),
    [("A", "A", True), ("A", "A/B", True), ("B", "A/B", True), ("A", "AB", False), ("A", "B/CA", False), ("A", "AB/C", False)],
)
def test_a_contract_is_one_of_those_held(name: str, held: str, expected: bool) -> None:
    assert is_in(name, held) is expected
