"""Which contract of a chain is taken: the nth nearest, by a loop written from the page; and what two chains of one market can hold against each other."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import FAR, FREE, HOUR, NEAR, START, bars, ether, flat, future, in_memory, instrument, load, times

import backtest as bt
from backtest.curve import offered
from backtest.data.schema import Tables
from backtest.errors import ParameterError
from backtest.instruments import Kind
from backtest.market import Market
from backtest.rule import Leg

THIRD, FOURTH = "ETHUSDT-240628", "ETHUSDT-240927"
LATER = {THIRD: pd.Timestamp("2024-06-28T08:00Z").as_unit("ns"), FOURTH: pd.Timestamp("2024-09-27T08:00Z").as_unit("ns")}


def quarterly() -> Tables:
    """The small market with four contracts: bars are missing here and there, and the last contract is listed late."""
    tables = ether()
    for number, (name, expiry) in enumerate(LATER.items()):
        index = times(START + pd.Timedelta(hours=1), 200)[80 * number :]
        days = np.asarray((expiry - index) / pd.Timedelta(days=1), dtype=float)
        spot = tables.bars["ETHUSDT-SPOT"]["close"].to_numpy()[80 * number :]
        tables.instruments.append(instrument(name, Kind.FUTURE, expiry, lot=0.001))
        tables.bars[name] = bars(spot * (1.0 + 0.12 * days / 365.0), index)
    for name, gone in ((NEAR, [22, 23, 60]), (FAR, [5, 60, 150]), (THIRD, [60, 61, 170]), (FOURTH, [3, 4])):
        tables.bars[name] = tables.bars[name].drop(tables.bars[name].index[gone])
    return tables


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("chains"), quarterly())


def nth_offer(market: Market, min_days: float, nth: int, bar: int) -> int:
    """The nth by expiry of those with a bar that ends now, an expiry ahead and min_days until it; −1 without."""
    now, found = market.clock[bar], []
    for number, name in enumerate(market.future_chain().contracts):
        expiry = market.instruments[name].expires_at
        assert expiry is not None
        if now in market.bars(name).index and expiry > now and expiry - now >= pd.Timedelta(days=min_days):
            found.append((expiry, number))
    return sorted(found)[nth - 1][1] if len(found) >= nth else -1


# ---------------------------------------------------------------- which contract


@pytest.mark.parametrize("min_days", [0.0, 2.0, 24.5])
@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5])
def test_a_chain_offers_its_nth_nearest_contract_with_enough_days(market: Market, nth: int, min_days: float) -> None:
    choice = offered(market, market.future_chain(min_days, nth=nth))
    assert choice.tolist() == [nth_offer(market, min_days, nth, bar) for bar in range(len(market))]
    assert not choice.flags.writeable


def test_the_cases_tell_the_contracts_apart(market: Market) -> None:
    """Each of the four is second nearest at some time but the first, and now and then there is none."""
    assert set(offered(market, market.future_chain(nth=2)).tolist()) == {-1, 1, 2, 3}
    assert set(offered(market, market.future_chain(nth=3)).tolist()) == {-1, 2, 3}


def test_nth_counts_in_a_chain_only(market: Market) -> None:
    alone = Leg(kind=Kind.FUTURE, contracts=(FAR,), nth=2)
    assert offered(market, alone).tolist() == offered(market, market.leg(FAR)).tolist()
    assert str(alone) == FAR


def test_a_chain_says_which_of_its_contracts_it_takes(market: Market) -> None:
    assert str(market.future_chain(nth=2)) == f"the chain {NEAR} … {FOURTH}, nth=2"
    assert str(market.future_chain(7, nth=3)) == f"the chain {NEAR} … {FOURTH}, nth=3, at least 7 days to expiry"
    assert str(market.future_chain(nth=1)) == f"the chain {NEAR} … {FOURTH}"
    assert market.future_chain(nth=np.int64(2)) == market.future_chain(nth=2) != market.future_chain()  # type: ignore[arg-type]


@pytest.mark.parametrize("nth", [0, -1, 1.0, 1.5, True, "2", None])
def test_nth_is_a_whole_number(market: Market, nth: Any) -> None:
    told = f"^nth must be a whole number from 1 on: nth={re.escape(str(nth))}$"
    with pytest.raises(ParameterError, match=told):
        market.future_chain(nth=nth)
    with pytest.raises(ParameterError, match=told):
        Leg(kind=Kind.FUTURE, contracts=(FAR,), nth=nth)


def test_a_signal_knows_a_chain_by_its_contracts(market: Market) -> None:
    assert bt.annualized_premium(market, market.future_chain(3, nth=2)) is bt.annualized_premium(market, market.future_chain())


# ---------------------------------------------------------------- two chains


def test_the_pairs_of_near_and_next_follow_one_another(market: Market) -> None:
    near, far = market.future_chain(), market.future_chain(nth=2)
    found = [tuple(pair) for pair in bt.pairs(market, near, far).tolist()]
    together = zip(offered(market, near).tolist(), offered(market, far).tolist(), strict=True)
    assert found == list(dict.fromkeys(pair for pair in together if -1 not in pair))
    assert all(one < other for one, other in found)
    assert found[0] == (0, 1)
    assert len(found) >= 3


def test_a_contract_is_no_pair_with_itself(market: Market) -> None:
    """With days asked for on one side only, both offer the same contract at times: at those nothing is entered."""
    near, later = market.future_chain(), market.future_chain(min_days=10)
    same = offered(market, near) == offered(market, later)
    assert same[-1]
    assert [0, 1] in bt.pairs(market, near, later).tolist()
    assert all(one != other for one, other in bt.pairs(market, near, later).tolist())
    result = bt.run(bt.Rule(long=near, short=later, max_hold="3h"), market, execution=FREE)
    assert len(result.trades) > 10
    for trade in result.trades["contract"]:
        one, other = trade.split("/")
        assert one != other


# ---------------------------------------------------------------- a run, worked by hand

EXPIRIES = {"A": 6.0, "B": 30.0, "C": 60.0}


def spread(opens: dict[str, list[float]], nth: int = 2, **rule: Any) -> bt.Result:
    """Buy the nearest contract and sell the nth, on hourly bars without costs."""
    items = {name: future(prices, expiry=EXPIRIES[name], settlement=100.0) for name, prices in opens.items()}
    market = in_memory(items)
    legs = {"long": market.future_chain(), "short": market.future_chain(nth=nth)}
    return bt.run(bt.Rule(**legs, **rule), market, capital=10_000.0, execution=FREE)


def test_a_calendar_spread_is_held_to_the_near_expiry() -> None:
    # Decided at the close of the first bar: A against B, q = 0.5 · 10,000/100 = 50; filled at 1 h. A settles at 6 h at 100, where it stood: nothing.
    # B falls from 104 to 102 in bar 3: a short of 50 earns 100. It is closed at the open of the bar after A's expiry, and B against C is entered then:
    # decided at the close of that bar (7 h), filled at 8 h.
    result = spread({"A": flat(6), "B": [104.0] * 3 + [102.0] * 9, "C": flat(12, 105.0)}, max_hold="100h")
    first, second = result.trades.to_dict("records")
    assert [(fill["slot"], fill["action"], fill["quantity"]) for _, fill in result.fills.iloc[:4].iterrows()] == [
        ("long", "entry", 50.0), ("short", "entry", -50.0), ("long", "settlement", -50.0), ("short", "exit", 50.0),
    ]  # fmt: skip
    assert (first["reason"], first["pnl"]) == ("expiry", pytest.approx(100.0))
    assert (first["entry_long"], first["entry_short"], first["exit_short"]) == (100.0, 104.0, 102.0)
    assert (second["entry_long"], second["entry_short"]) == (102.0, 105.0)


def test_both_legs_are_equal_while_both_are_held() -> None:
    result = spread({"A": flat(6), "B": [104.0] * 3 + [102.0] * 9, "C": flat(12, 105.0)}, expiry_days=2.5 / 24)
    held = result.fills.groupby(["time", "slot"])["quantity"].sum().unstack().fillna(0.0).cumsum()
    np.testing.assert_array_equal(held["long"], -held["short"])
    assert result.trades["reason"].iloc[0] == "days to expiry"


def test_both_roll_together() -> None:
    """Near A and next B, three hours before A expires: now B and C, in one fill."""
    market = in_memory({name: future(flat(12), expiry=EXPIRIES[name], settlement=100.0) for name in EXPIRIES})
    legs = {"long": market.future_chain(min_days=4.0 / 24), "short": market.future_chain(min_days=4.0 / 24, nth=2)}
    result = bt.run(bt.Rule(**legs, roll_days=3.0 / 24), market, capital=10_000.0, execution=FREE)
    assert result.trades["reason"].tolist() == ["end of data"]
    told = [((time - result.start) / HOUR, *row) for time, *row in result.fills[["time", "instrument", "quantity"]].to_numpy().tolist()]
    assert told == [
        (1.0, "A", 50.0), (1.0, "B", -50.0),
        (3.0, "A", -50.0), (3.0, "B", 50.0), (3.0, "B", 50.0), (3.0, "C", -50.0),
    ]  # fmt: skip


def test_without_so_many_contracts_nothing_is_traded(market: Market) -> None:
    result = bt.run(bt.Rule(long=market.spot, short=market.future_chain(nth=5)), market, execution=FREE)
    assert len(result.trades) == 0
    with pytest.raises(bt.DataError, match=r"^the two legs never offer a contract at the same time: .*, nth=5; "):
        bt.run(bt.Rule(long=market.future_chain(), short=market.future_chain(nth=5)), market)
