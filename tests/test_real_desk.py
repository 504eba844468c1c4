"""What a trading desk asks of cash and carry on real hours: with all capital deployed, how often does leverage end a trade, what did that cost, and what would
a top-up in time have saved. Costs, top-ups and savings are worked out anew from the raw files and a run's JSON.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from real_sums import (
    CENTS,
    DELIVERY_FEE,
    EXPIRIES,
    FEE,
    HALF_SPREAD,
    HOUR,
    Document,
    Row,
    fills_of,
    hourly_bars,
    instant,
    strategy,
    written,
)

import backtest as bt

pytest_plugins = ["real_sets"]

MAINTENANCE = 0.01
# Cash and carry as its script has it (enter at 8 % net a year, at least 14 days to expiry), held to settlement; L/(1 + L) of equity in each leg, so that spot and
# collateral together are all of it. The desk expected about 0, 2, 2, 6 and 15 liquidations.
EXPECTED = {
    1: (0, 6, 107_447.70, 0.0),
    2: (2, 8, 105_273.07, 3171.92),
    3: (2, 8, 107_250.30, 2876.96),
    5: (6, 11, 100_934.61, 7660.36),
    10: (15, 20, 83_648.80, 21_822.05),
}
# At leverage 5: when, what it cost, what was missing then, the top-up to settlement and what it would have saved.
AT_FIVE = [
    ("2023-12-07T22:00:00Z", 1328.29, 266.21, 2469.03, 1171.82),
    ("2024-01-11T00:00:00Z", 1126.47, 2234.52, 57_535.18, 2982.33),
    ("2024-02-26T17:00:00Z", 839.41, 625.37, 30_662.76, 1393.20),
    ("2024-03-05T05:00:00Z", 1141.08, 1062.83, 9844.53, 2813.13),
    ("2024-11-08T20:00:00Z", 1973.64, 170.51, 38_534.75, 3034.08),
    ("2024-11-23T15:00:00Z", 1251.47, 474.19, 17_299.19, 2547.09),
]


@pytest.fixture(scope="module")
def market(hourly_set: Path) -> bt.Market:
    return bt.load_market(str(hourly_set))


@pytest.fixture(scope="module")
def document(market: bt.Market, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Document]:
    """The run at a leverage, by way of its JSON."""

    @cache
    def run(leverage: int) -> Document:
        held = strategy("cash_and_carry", exit=None, max_hold=None)
        execution = bt.Execution(maintenance=MAINTENANCE)
        result = bt.run(held, market, execution=execution, size=leverage / (1.0 + leverage), leverage=float(leverage))
        return written(result, tmp_path_factory.mktemp("desk"))

    return run


@pytest.mark.parametrize("leverage", EXPECTED)
def test_liquidations_at_full_deployment(document: Callable[[int], Document], leverage: int) -> None:
    run = document(leverage)
    cost = sum(row["cost"] for row in run["liquidations"])
    assert (len(run["liquidations"]), len(run["trades"])) == EXPECTED[leverage][:2]
    assert [run["final_equity"], cost] == pytest.approx(EXPECTED[leverage][2:], abs=0.005)
    assert [trade["reason"] for trade in run["trades"]].count("liquidation") == len(run["liquidations"])


def test_what_the_desk_reads_at_leverage_five(document: Callable[[int], Document]) -> None:
    rows = document(5)["liquidations"]
    assert [row["time"] for row in rows] == [row[0] for row in AT_FIVE]
    for row, (_, *figures) in zip(rows, AT_FIVE, strict=True):
        assert [row[name] for name in ("cost", "shortfall", "top_up", "saved")] == pytest.approx(figures, abs=0.005)


LEVERAGES = pytest.mark.parametrize("leverage", [leverage for leverage in EXPECTED if leverage > 1])


@LEVERAGES
def test_each_liquidation_follows_from_the_raw_bars(document: Callable[[int], Document], raw: Path, leverage: int) -> None:
    """The short future's account is its notional/L − q·(high − entry); the first hour whose high brings it below 1 % of q·high ends the trade.

    It goes where both are equal, q·entry·(1 + 1/L)/(1.01·q), or at the hour's open if that is higher.
    """
    run = document(leverage)
    for row in run["liquidations"]:
        bars, entry = hourly_bars(raw, row["contract"]), row["entry"]
        entered, over = instant(run["trades"][row["trade"]]["entered_at"]), instant(row["time"])
        held = bars[(bars.index > entered) & (bars.index <= over)]
        account = entry / leverage - (held["high"] - entry)
        assert held.index[(account < MAINTENANCE * held["high"]).to_numpy().argmax()] == over
        assert (account.iloc[-1], held["high"].iloc[-1]) == pytest.approx((row["account"] / -row["quantity"], row["mark"]), rel=1e-9)
        assert row["price"] == pytest.approx(max(entry * (1 + 1 / leverage) / (1 + MAINTENANCE), held["open"].iloc[-1]), rel=1e-12)


@LEVERAGES
def test_what_each_cost_is_in_the_fills(document: Callable[[int], Document], raw: Path, leverage: int) -> None:
    """The fee, and q·(spot at its sale − spot beside the liquidation price); the sale is the open of the next hour."""
    run, spot = document(leverage), hourly_bars(raw, "ETHUSDT-SPOT")
    for row in run["liquidations"]:
        q, time = -row["quantity"], instant(row["time"])
        beside = row["price"] * spot["close"][time] / hourly_bars(raw, row["contract"])["close"][time]
        assert row["legging"] == pytest.approx(q * (spot["open"][time + HOUR] - beside), abs=CENTS)
        forced = next(fill for fill in fills_of(run, row["trade"]) if fill["action"] == "liquidation")
        assert (row["fee"], row["absorbed"]) == (forced["fee"], 0.0)
        assert row["cost"] == pytest.approx(row["fee"] - row["legging"], abs=CENTS)
    fees = sum(row["fee"] for row in run["liquidations"])
    assert run["attribution"]["liquidation"] == pytest.approx(-fees, abs=CENTS)


def kept(run: Document, row: Row, raw: Path) -> float:
    """PnL of the trade had it been held to settlement: the basis locked at entry, less what the spot fell short of the settlement, less all costs."""
    trade, spot, bars = run["trades"][row["trade"]], hourly_bars(raw, "ETHUSDT-SPOT"), hourly_bars(raw, row["contract"])
    q, expiry = trade["quantity"], EXPIRIES[row["contract"][-6:]]
    paid = sum(fill["fee"] + fill["slippage"] for fill in fills_of(run, row["trade"]) if fill["action"] == "entry")
    if expiry > instant(run["end"]):
        return float(q * (trade["entry_short"] - trade["entry_long"] - bars["close"].iloc[-1] + spot["close"][instant(run["end"])]) - paid)
    settled, sold = bars["close"][expiry], spot["open"][expiry + HOUR]
    costs = q * (DELIVERY_FEE * settled + sold * (HALF_SPREAD + FEE["long"] * (1 - HALF_SPREAD)))
    return float(q * ((trade["entry_short"] - trade["entry_long"]) - (settled - sold)) - paid - costs)


@LEVERAGES
def test_what_a_top_up_would_have_saved(document: Callable[[int], Document], raw: Path, leverage: int) -> None:
    """Held to settlement, less what the trade made; and the top-up is the largest gap between 1 % of q·high and the account in any hour until then."""
    run = document(leverage)
    for row in run["liquidations"]:
        bars, q, entry = hourly_bars(raw, row["contract"]), -row["quantity"], row["entry"]
        later = bars[(bars.index >= instant(row["time"])) & (bars.index <= EXPIRIES[row["contract"][-6:]])]["high"]
        gap = q * (MAINTENANCE * later - entry / leverage + later - entry)
        assert [row["shortfall"], row["top_up"]] == pytest.approx([gap.iloc[0], gap.max()], abs=CENTS)
        assert [instant(row["needed_by"]), instant(row["top_up_by"])] == [later.index[0] - HOUR, gap.idxmax() - HOUR]
        assert row["saved"] == pytest.approx(kept(run, row, raw) - run["trades"][row["trade"]]["pnl"], abs=CENTS)
        over = EXPIRIES[row["contract"][-6:]] > instant(run["end"])
        assert row["kept_reason"] == ("end of data" if over else "expiry")


@LEVERAGES
def test_the_same_trade_alone_without_margin_checks_makes_it(document: Callable[[int], Document], market: bt.Market, leverage: int) -> None:
    """A rule that makes this trade only, with the equity that it began with and margin off."""
    run = document(leverage)
    for row in run["liquidations"]:
        trade = run["trades"][row["trade"]]
        rule = bt.Rule(
            long=market.spot,
            short=market.leg(row["contract"]),
            signal=np.where(market.clock == instant(trade["entered_at"]), 1.0, 0.0),
            enter=1.0,
            size=leverage / (1.0 + leverage),
            leverage=float(leverage),
        )
        before = run["capital"] + sum(one["pnl"] for one in run["trades"][: row["trade"]])
        (alone,) = bt.run(rule, market, capital=before, execution=bt.Execution(margin="off")).trades.to_dict("records")
        assert alone["quantity"] == pytest.approx(trade["quantity"], abs=1e-9)
        assert row["saved"] == pytest.approx(alone["pnl"] - trade["pnl"], abs=CENTS)


def test_leverage_one_needs_no_top_up(document: Callable[[int], Document]) -> None:
    """At leverage 1 the future would have to double: the trades are those of the strategy's own run."""
    run = document(1)
    assert run["liquidations"] == []
    assert {pd.Timestamp(trade["entered_at"]).year for trade in run["trades"]} == {2023, 2024}
