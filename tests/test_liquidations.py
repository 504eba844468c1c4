"""The table of forced closes: what it says of the ledger adds up with it, what a trade would have made is what a run without margin checks makes, and a
top-up is exactly enough.
"""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import FAR, NEAR, NEAR_EXPIRY, PERP, SPOT, START, ether, load, series, times

import backtest as bt
from backtest import kept, liquidations
from backtest.data.schema import Tables
from backtest.instruments import Settle
from backtest.kept import maintenance
from backtest.liquidations import COLUMNS
from backtest.market import Market
from backtest.report.sections import liquidation_section

EXECUTION = bt.Execution(
    maintenance=0.01, spot_fee=0.001, derivative_fee=0.0005, delivery_fee=0.0004, liquidation_fee=0.01, half_spread=0.0002
)


def wild(seed: int = 3) -> Tables:
    """The small market with prices that move: up by a third in two days, down again, and up once more; coins earn and cost."""
    tables = ether(seed=seed)
    factor = np.exp(0.3 * np.sin(np.arange(200) / 21.0))
    for name, frame in tables.bars.items():
        frame[["open", "high", "low", "close"]] *= factor[: len(frame), None]
        tables.bars[name] = frame
    tables.settlements["price"] *= factor[127]
    days = times(START, 9, "D")
    tables.series |= {"staking_yield": series(days, np.linspace(0.03, 0.05, 9)), "borrow_base": series(days, np.linspace(0.02, 0.08, 9))}
    return tables


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("liquidations"), wild())


@pytest.fixture(scope="module")
def inverse(tmp_path_factory: pytest.TempPathFactory) -> Market:
    """The same market with contracts that are paid in coin."""
    tables, paid = wild(), {"settle": Settle.INVERSE, "multiplier": 10.0, "lot": None, "min_notional": None}
    tables.instruments = [item if item.id == SPOT else replace(item, **paid) for item in tables.instruments]
    return load(tmp_path_factory.mktemp("inverse"), tables)


def rules(market: Market) -> dict[str, bt.Rule]:
    """Rules of every shape; all hold what they took until something forces them out, or their limit is reached."""
    spot, perpetual, near, far = market.spot, market.perpetual, market.leg(NEAR), market.leg(FAR)
    premium = market.close(PERP) / market.close(SPOT) - 1.0
    common: dict[str, Any] = {"resize": None, "size": 0.8, "leverage": 6.0}
    return {
        "to settlement": bt.Rule(long=spot, short=near, **common),
        "to the end of the data": bt.Rule(long=spot, short=far, **common),
        "perpetual": bt.Rule(long=spot, short=perpetual, **common),
        "reverse": bt.Rule(long=spot, short=perpetual, sides="minus", **common),
        "staked": bt.Rule(long=spot, short=far, stake=True, **common),
        "two derivatives": bt.Rule(long=perpetual, short=near, **common),
        "two dated": bt.Rule(long=near, short=far, sides="minus", **common),
        "one leg": bt.Rule(long=perpetual, **common),
        "one dated leg": bt.Rule(short=near, **common),
        "until a signal": bt.Rule(long=spot, short=perpetual, signal=premium, enter=0.0005, exit=-0.0004, **common),
        "for a time": bt.Rule(long=spot, short=perpetual, max_hold="50h", **common),
        "until days are left": bt.Rule(long=spot, short=near, expiry_days=1.5, **common),
        "until a stop": bt.Rule(long=spot, short=perpetual, stop=0.00015, **common),
    }


RULES = (
    "to settlement", "to the end of the data", "perpetual", "reverse", "staked", "two derivatives", "two dated", "one leg", "one dated leg", "until a signal",
    "for a time", "until days are left", "until a stop",
)  # fmt: skip
ENDS = {
    "to settlement": "expiry", "two derivatives": "expiry", "two dated": "expiry", "one dated leg": "expiry", "until a signal": "signal", "for a time": "time",
    "until days are left": "days to expiry", "until a stop": "stop",
}  # fmt: skip


def first_and_kept(rule: bt.Rule, market: Market, execution: bt.Execution) -> tuple[bt.Result, Any, Any]:
    """A run, its first forced close, and that trade in a run without margin checks: until there the two are one."""
    result, free = bt.run(rule, market, execution=execution), bt.run(rule, market, execution=replace(execution, margin="off"))
    first = result.liquidations.iloc[0]
    kept = free.trades.iloc[int(first["trade"])]
    assert kept["entered_at"] == result.trades["entered_at"].iloc[int(first["trade"])]
    assert first["saved"] == pytest.approx(kept["pnl"] - result.trades["pnl"].iloc[int(first["trade"])], abs=1e-9 * result.capital)
    assert first["kept_reason"] == kept["reason"]
    assert first["kept_until"] == (kept["exited_at"] if pd.notna(kept["exited_at"]) else result.end)
    assert abs(first["saved"]) > 1.0
    return result, first, kept


@pytest.mark.parametrize("margin", ["isolated", "cross"])
@pytest.mark.parametrize("name", RULES)
def test_saved_is_what_a_run_without_margin_checks_makes_more(market: Market, name: str, margin: str) -> None:
    """Until the first liquidation the two runs are one; the trade that it ends is kept in the other."""
    rule = rules(market)[name]
    if margin == "cross":
        rule = replace(rule, size=4.0, leverage=12.0)
    _, first, _ = first_and_kept(rule, market, replace(EXECUTION, margin=margin))
    assert first["kept_reason"] == ENDS.get(name, "end of data")


@pytest.mark.parametrize("margin", ["isolated", "cross"])
@pytest.mark.parametrize("name", ["reverse", "two derivatives", "two dated", "one leg", "one dated leg"])
def test_the_same_of_contracts_that_are_paid_in_coin(inverse: Market, name: str, margin: str) -> None:
    """Those whose collateral is not the spot's coins; their accounts are told at the coin's last close, and legging and fees are the ledger's."""
    rule = rules(inverse)[name]
    if margin == "cross":
        rule = replace(rule, size=4.0, leverage=12.0)
    result, first, _ = first_and_kept(rule, inverse, replace(EXECUTION, margin=margin))
    table = result.liquidations
    assert (table["absorbed"] - table["fee"]).sum() == pytest.approx(
        float(result.attribution["liquidation"].iloc[-1]), abs=1e-9 * result.capital
    )
    legging = sum(result.trades["attribution"].iloc[number]["legging"] for number in set(table["trade"]))
    assert table["legging"].sum() == pytest.approx(legging, abs=1e-9 * result.capital)
    coin = inverse.close(SPOT)[inverse.clock == first["time"]][0]
    needed = 0.01 * abs(first["quantity"]) * first["price"] / first["mark"] * coin
    assert first["account"] < first["maintenance"] == pytest.approx(needed, rel=1e-9)
    assert first["top_up"] >= first["shortfall"] > 0.0
    assert first["mark"] == inverse.raw(first["contract"], "low" if first["quantity"] > 0.0 else "high")[inverse.clock == first["time"]][0]


def test_coins_that_are_the_collateral_are_never_liquidated(inverse: Market) -> None:
    assert bt.run(rules(inverse)["perpetual"], inverse, execution=EXECUTION).liquidations.empty


SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "impact and stress": ({}, {"impact": 0.02, "stress": 3.0}),
    "linear fees of two legs": ({}, {"half_spread": (0.0003, 0.0009), "borrow_rate": 0.3, "idle_rate": 0.2}),
    "wallets": ({}, {"wallets": (0.85, 0.15)}),
    "no convergence": ({"converge": "30h"}, {}),
    "a part, and the rest later": ({"entry_tranches": 2, "tranche_gap": "5h"}, {}),
}


@pytest.mark.parametrize("margin", ["isolated", "cross"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_saved_under_other_settings(market: Market, setting: str, margin: str) -> None:
    changes, costs = SETTINGS[setting]
    rule = replace(rules(market)["for a time" if "impact" in costs else "perpetual"], **changes)
    if margin == "cross":
        rule = replace(rule, size=0.8 if "wallets" in costs else 4.0, leverage=12.0)
    _, first, _ = first_and_kept(rule, market, replace(EXECUTION, margin=margin, **costs))
    assert first["kept_reason"] == (setting if setting == "no convergence" else "time" if "impact" in costs else "end of data")


def test_a_stop_of_the_premium_a_year(market: Market) -> None:
    """At many levels, as the first close above one is often above its neighbours too."""
    reasons = []
    for stop in np.linspace(0.01, 0.15, 57):
        rule = replace(rules(market)["to settlement"], stop_annualized=float(stop))
        _, first, _ = first_and_kept(rule, market, EXECUTION)
        reasons.append(first["kept_reason"])
    assert reasons.count("stop") > 20


@pytest.mark.parametrize("name", ["to settlement", "staked to settlement", "reverse"])
def test_interest_runs_on_what_the_first_leg_brought_until_the_second_is_out(tmp_path: Path, name: str) -> None:
    """For ten hours after the delivery, or after the perpetual is bought back, the spot has no bars."""
    tables = wild()
    gone = tables.bars[SPOT].index
    tables.bars[SPOT] = tables.bars[SPOT][(gone <= NEAR_EXPIRY) | (gone > NEAR_EXPIRY + pd.Timedelta("10h"))]
    market = load(tmp_path, tables)
    hold = {"max_hold": NEAR_EXPIRY - START - pd.Timedelta("1h")} if name == "reverse" else {"stake": name.startswith("staked")}
    rule = replace(rules(market)[name.removeprefix("staked ")], **hold)
    _, first, _ = first_and_kept(rule, market, replace(EXECUTION, idle_rate=0.8, borrow_rate=0.99))
    assert first["kept_until"] == NEAR_EXPIRY + pd.Timedelta("10h")


def test_both_legs_may_need_a_top_up_and_the_trade_saves_once(market: Market) -> None:
    """Two dated contracts at so much leverage that one goes up and the other would have gone down; what each lacks is in the raw bars."""
    rule = replace(rules(market)["two dated"], leverage=9.0)
    tables, result = wild(), bt.run(rule, market, execution=EXECUTION)
    first = result.liquidations.iloc[0]
    assert (result.liquidations["trade"] == first["trade"]).sum() == 1
    entries = result.fills[(result.fills["trade"] == first["trade"]) & (result.fills["action"] == "entry")]
    lacking = []
    for fill in entries.to_dict("records"):
        bars, q = tables.bars[fill["instrument"]], fill["quantity"]
        worst = bars["low" if q > 0 else "high"][(bars.index >= first["time"]) & (bars.index <= NEAR_EXPIRY)]
        lacking.append((0.01 * abs(q) * worst - abs(q) * fill["price"] / 9.0 - q * (worst - fill["price"])).max())
    assert min(lacking) > 0.0
    assert first["top_up"] == pytest.approx(sum(lacking), abs=1e-6)
    both = bt.run(replace(rule, leverage=95.0), market, execution=EXECUTION).liquidations
    twice = both[both["trade"].duplicated(keep=False)]
    assert len(twice) >= 2
    assert twice["saved"].isna().tolist() == twice["trade"].duplicated().tolist()


@pytest.mark.parametrize("name", ["to settlement", "to the end of the data", "perpetual", "reverse", "one leg", "until a stop"])
def test_a_top_up_is_exactly_enough(market: Market, name: str) -> None:
    """The same position with that much more collateral, which is less leverage, is kept; with a cent less it is liquidated at the bar that needed all of it."""
    rule = rules(market)[name]
    result = bt.run(rule, market, execution=EXECUTION)
    first = result.liquidations.iloc[0]
    notional = abs(first["quantity"]) * first["entry"]
    collateral = notional / rule.leverage

    def with_more(money: float) -> pd.DataFrame:
        """Forced closes of this trade."""
        found = bt.run(replace(rule, leverage=notional / (collateral + money)), market, execution=EXECUTION).liquidations
        return found[found["trade"] == first["trade"]]

    assert with_more(first["top_up"] + 0.01).empty
    (late,) = with_more(first["top_up"] - 0.01).to_dict("records")
    assert late["needed_by"] == first["top_up_by"]
    assert late["shortfall"] == pytest.approx(0.01, abs=1e-6)
    assert first["shortfall"] <= first["top_up"]
    assert first["needed_by"] <= first["top_up_by"]
    (early,) = with_more(first["shortfall"] - 0.01).to_dict("records")
    assert early["time"] == first["time"]
    assert with_more(first["shortfall"] + 0.01)["time"].gt(first["time"]).all()


@pytest.mark.parametrize("margin", ["isolated", "cross"])
@pytest.mark.parametrize("name", RULES)
def test_the_costs_are_the_ledgers(market: Market, name: str, margin: str) -> None:
    rule = rules(market)[name]
    size = 0.8 if margin == "isolated" else 8.0
    result = bt.run(rule, market, execution=replace(EXECUTION, margin=margin), leverage=20.0, size=size)
    table = result.liquidations
    assert list(table.columns) == list(COLUMNS)
    forced = result.fills[result.fills["action"] == "liquidation"]
    assert len(table) == len(forced) > 0
    assert (table["time"].to_numpy() == forced["time"].to_numpy()).all()
    booked = float(result.attribution["liquidation"].iloc[-1])
    assert (table["absorbed"] - table["fee"]).sum() == pytest.approx(booked, abs=1e-9 * result.capital)
    assert margin == "isolated" or (table["absorbed"] == 0.0).all()
    assert (table["cost"] - (table["fee"] - table["absorbed"] - table["legging"])).abs().max() < 1e-9
    legging = table.groupby("trade")["legging"].sum()
    told = pd.Series({number: row["legging"] for number, row in enumerate(result.trades["attribution"])})
    assert legging.to_numpy() == pytest.approx(told[legging.index].to_numpy(), abs=1e-9 * result.capital)


def test_the_account_was_below_the_maintenance_margin_at_the_bars_worst_mark(market: Market) -> None:
    """Its account is collateral + q·(mark − entry) + funding since, from the raw bars and events; the maintenance margin 1 % of |q|·mark."""
    tables = wild()
    result = bt.run(rules(market)["perpetual"], market, execution=EXECUTION, leverage=15.0)
    assert len(result.liquidations) > 1
    for row in result.liquidations.to_dict("records"):
        entered = result.trades["entered_at"].iloc[row["trade"]]
        mark = tables.bars[PERP]["high" if row["quantity"] < 0 else "low"].loc[row["time"]]
        times_paid = tables.funding[PERP].index
        events = tables.funding[PERP][(times_paid > entered) & (times_paid <= row["time"])]
        paid = sum(-row["quantity"] * rate * tables.bars[PERP]["close"].asof(time) for time, rate in events["rate"].items())
        account = abs(row["quantity"]) * row["entry"] / 15.0 + row["quantity"] * (mark - row["entry"]) + paid
        assert row["mark"] == mark
        assert row["account"] == pytest.approx(account, abs=1e-6)
        assert row["maintenance"] == pytest.approx(0.01 * abs(row["quantity"]) * mark, rel=1e-12)
        assert row["shortfall"] == pytest.approx(row["maintenance"] - row["account"], abs=1e-9)
        assert row["account"] < row["maintenance"]
        assert row["needed_by"] == row["time"] - pd.Timedelta("1h")


def test_the_venue_absorbs_what_an_account_lacks(tmp_path: Path) -> None:
    """Over one bar the future doubles: its account of a third of the notional is gone, and the rest is the venue's."""
    tables = ether()
    late = tables.bars[FAR].index >= tables.bars[FAR].index[100]
    tables.bars[FAR].loc[late, ["open", "high", "low", "close"]] *= 2.0
    market = load(tmp_path, tables)
    result = bt.run(bt.Rule(long=market.spot, short=market.leg(FAR), size=0.5, leverage=3.0), market, execution=EXECUTION)
    row = result.liquidations.iloc[0]
    q, price, entry = row["quantity"], row["price"], row["entry"]
    assert row["fee"] == pytest.approx(0.01 * abs(q) * price, rel=1e-12)
    assert row["absorbed"] == pytest.approx(-(abs(q) * entry / 3.0 + q * (price - entry) - row["fee"]), rel=1e-9)
    assert row["absorbed"] > 10_000.0
    assert row["absorbed"] - row["fee"] == pytest.approx(result.attribution["liquidation"].iloc[-1], rel=1e-9)
    assert row["saved"] < 0.0, "the venue paid: a top-up would have thrown good money after bad"


def test_without_a_liquidation_the_table_is_empty(market: Market) -> None:
    result = bt.run(rules(market)["perpetual"], market, execution=replace(EXECUTION, margin="off"))
    assert result.liquidations.empty
    assert list(result.liquidations.columns) == list(COLUMNS)
    assert "LIQUIDATION" not in repr(result)


def test_maintenance_takes_the_tier_of_the_notional() -> None:
    terms = {"tiers": 3, "tier_floor": np.array([0.0, 1e4, 1e5, 0.0]), "tier_rate": np.array([0.005, 0.01, 0.02, 0.0]),
             "tier_deduction": np.array([0.0, 50.0, 1050.0, 0.0])}  # fmt: skip
    notionals = np.array([1.0, 1e4, 1e4 + 1.0, 1e5, 2e5])
    assert maintenance(terms, notionals).tolist() == pytest.approx([0.005, 50.0, 50.01, 950.0, 2950.0])


def test_the_dated_trade_that_is_kept_is_settled(market: Market) -> None:
    result = bt.run(rules(market)["to settlement"], market, execution=EXECUTION)
    row = result.liquidations.iloc[0]
    assert (row["kept_until"], row["kept_reason"]) == (NEAR_EXPIRY, "expiry")


def test_collateral_that_was_sent_before_counts(market: Market) -> None:
    """With top-ups from a purse that runs dry the leg lives longer, and is liquidated with all that was sent in its account."""
    rule = replace(rules(market)["perpetual"], size=0.8, leverage=8.0)
    free_money = replace(EXECUTION, idle_rate=0.0, borrow_rate=0.0)  # what is sent earns nothing where it was
    plain = bt.run(rule, market, execution=free_money)
    fed = bt.run(rule, market, execution=replace(free_money, top_up=0.6))
    if fed.liquidations.empty:
        pytest.fail("the purse was deep enough: the test sees nothing")
    first, before = fed.liquidations.iloc[0], plain.liquidations.iloc[0]
    assert (first["trade"], first["time"] > before["time"]) == (before["trade"], True)
    assert first["account"] < first["maintenance"]
    assert first["fee"] - first["absorbed"] == pytest.approx(-fed.trades["attribution"].iloc[0]["liquidation"], abs=1e-7)
    bare = abs(first["quantity"]) * first["entry"] / 8.0 + first["quantity"] * (first["mark"] - first["entry"])
    assert first["account"] > bare + 1000.0
    free = bt.run(rule, market, execution=replace(free_money, margin="off"))
    assert first["saved"] + fed.trades["pnl"].iloc[0] == pytest.approx(free.trades["pnl"].iloc[0], abs=1e-4)


def test_a_deleveraging_costs_its_gap_of_legging_and_no_top_up_helps(market: Market) -> None:
    """Taken away at its close less a gap: what the price is short of the close, the other leg does not make good."""
    when = START + pd.Timedelta("90h")
    execution = replace(EXECUTION, margin="isolated", deleveraged_at=str(when), deleveraged_gap=0.02)
    result = bt.run(replace(rules(market)["perpetual"], leverage=1.0, size=0.4), market, execution=execution)
    (row,) = result.liquidations.to_dict("records")
    assert (row["action"], row["slot"], row["time"]) == ("deleveraging", "short", when)
    assert row["price"] == pytest.approx(market.close(PERP)[market.clock == when][0] * 1.02, rel=1e-12)
    assert (row["fee"], row["absorbed"], row["cost"]) == (0.0, 0.0, -row["legging"])
    assert np.isnan([row[name] for name in ("account", "maintenance", "top_up", "saved")]).all()
    assert result.trades["reason"].iloc[0] == "deleveraging"
    assert row["legging"] == pytest.approx(result.trades["attribution"].iloc[0]["legging"], abs=1e-7)
    assert "1 DELEVERAGING" in repr(result)


def test_a_leg_that_was_already_leaving_would_have_left_anyway(market: Market) -> None:
    """An order that takes six hours to the market: the signal says leave, and the price comes first."""
    slow = replace(EXECUTION, latency="6h")
    plain = bt.run(rules(market)["perpetual"], market, execution=slow).liquidations.iloc[0]
    told = np.flatnonzero(market.clock == plain["time"])[0] - 3
    signal = np.where(np.arange(len(market)) < told, 1.0, 0.0)
    rule = replace(rules(market)["perpetual"], signal=signal, enter=1.0, exit=0.0)
    result = bt.run(rule, market, execution=slow)
    if result.liquidations.empty:
        pytest.fail("the order was faster than the price: the test sees nothing")
    row = result.liquidations.iloc[0]
    assert (row["kept_reason"], result.trades["reason"].iloc[row["trade"]]) == ("signal", "signal")
    assert row["kept_until"] == row["time"]
    assert not np.isnan(row["saved"])


def test_of_very_many_liquidations_only_the_dearest_are_kept(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a top-up would have saved is told of as many as are asked for, by cost, in the words of the tables too; everything else of all."""
    result = bt.run(rules(market)["perpetual"], market, execution=EXECUTION, leverage=30.0)
    whole, sought = result.liquidations, ["top_up_by", "top_up", "kept_until", "kept_reason", "saved"]
    assert len(whole) > 4
    assert "dearest" not in repr(result)
    monkeypatch.setattr(liquidations, "DEAREST", 3)
    monkeypatch.setattr(liquidations, "LOOKED_AT", 0)
    del result.liquidations
    few = result.liquidations
    pd.testing.assert_frame_equal(few.drop(columns=sought), whole.drop(columns=sought))
    told = few["top_up"].notna()
    assert set(few.index[told]) == set(whole["cost"].nlargest(3).index)
    pd.testing.assert_frame_equal(few[told], whole[told])
    assert few.loc[~told, sought].isin(["", np.nan, pd.NaT]).all(axis=None)
    assert f"the 3 dearest of {len(whole)} only." in " ".join(repr(result).split())
    (section,) = [section for section in (liquidation_section(result),) if section is not None]
    assert f"the 3 dearest of {len(whole)} only." in str(section.blocks)


def test_as_many_are_kept_as_bars_can_be_looked_at(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liquidations, "DEAREST", 1)
    monkeypatch.setattr(liquidations, "LOOKED_AT", 2 * len(market) + 5)
    result = bt.run(rules(market)["perpetual"], market, execution=EXECUTION, leverage=30.0)
    assert result.liquidations["top_up"].notna().sum() == 2


def test_the_search_in_blocks_finds_what_a_search_in_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rule, and some with two limits of which either comes first, on a market where spot and perpetual have no bars for ten hours now and then."""
    tables = wild()
    for name in (SPOT, PERP):
        tables.bars[name] = tables.bars[name][(tables.bars[name].index.day_of_year % 2 == 0) | (tables.bars[name].index.hour > 10)]
    market = load(tmp_path, tables, max_gap="1D", staleness="1D")
    early, late = (np.where(np.arange(len(market)) % 90 < last, 1.0, 0.0) for last in (20, 80))
    several = [replace(rules(market)["perpetual"], signal=signal, enter=0.5, exit=0.5, max_hold="40h") for signal in (early, late)]
    seen = set[str]()
    for rule in [*rules(market).values(), *several]:
        found = []
        for size in (1, 7, 10_000):
            monkeypatch.setattr(kept, "FIRST_BLOCK", size)
            monkeypatch.setattr(kept, "LARGEST_BLOCK", size)
            found.append(bt.run(rule, market, execution=EXECUTION, leverage=12.0).liquidations)
        pd.testing.assert_frame_equal(found[0], found[2])
        pd.testing.assert_frame_equal(found[1], found[2])
        seen |= set(found[0]["kept_reason"])
    assert seen >= {"expiry", "end of data", "signal", "time", "days to expiry", "stop"}


def test_blocks_grow_and_leave_no_bar_out() -> None:
    assert list(kept.blocks(5, 5)) == []
    found = list(kept.blocks(10, 200_000))
    assert [end - first for first, end in found[:4]] == [1024, 2048, 4096, 8192]
    assert (found[0][0], found[-1][1]) == (10, 200_000)
    assert all(before[1] == after[0] for before, after in pairwise(found))
    assert max(end - first for first, end in found) == 65_536
