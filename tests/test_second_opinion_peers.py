"""A second opinion on funding, margin and settlement, from engines that nobody here wrote: 0xarchive-backtest, fractal-defi and nautilus_trader.

0xarchive-backtest and fractal-defi run the task of `peers_task.py`, with the fill lag set alike. nautilus_trader holds a dated future to its expiry.
What fractal-defi does otherwise: it sees only the prices that it is shown, so it is shown the highs; and a liquidation leaves nothing of the collateral,
where this package pays out the maintenance less the fee of the liquidation. With a fee as high as the maintenance both are the same.
"""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markets import NEAR, NEAR_EXPIRY, ether, load, only
from peers_task import CAPITAL, ENTER, EXIT, FUNDING_EVERY, MAINTENANCE, Task, archive, fractal, generate, ours, with_wicks

import backtest as bt

NEARNESS = 1e-9 * CAPITAL
MONTH = 43_200  # minutes
INSTALL = 'pip install -e ".[peers]"'


def need(module: str, package: str) -> None:
    """Skip where a peer is not installed."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{package} is not installed: {INSTALL}")


def check_activity(result: bt.Result) -> None:
    """The task is worth running: many trades, both ways out, and funding that no rounding could hide."""
    assert len(result.trades) >= 10
    assert set(result.trades["reason"]) >= {"signal", "time"}
    assert abs(result.attribution["funding"].iloc[-1]) > 1e-3 * CAPITAL


# ---------------------------------------------------------------- 0xarchive-backtest


@pytest.mark.parametrize("gaps", [0.0, 2e-4])
def test_0xarchive_pays_the_same_funding_and_has_the_same_equity_at_every_bar(tmp_path: Path, gaps: float) -> None:
    need("oxarchive_backtest", "0xarchive-backtest")
    task = generate(MONTH, gaps=gaps)
    result, theirs = ours(tmp_path, task, margin="off"), archive(task)
    check_activity(result)
    assert theirs.trades == len(result.trades)
    assert theirs.funding == pytest.approx(result.attribution["funding"].iloc[-1], abs=NEARNESS)
    assert np.abs(theirs.equity - result.equity).max() <= NEARNESS


def test_0xarchive_pays_funding_on_the_mark_too(tmp_path: Path) -> None:
    """Where there is a mark other than the close; both mark what is held at the close all the same."""
    need("oxarchive_backtest", "0xarchive-backtest")
    task = generate(MONTH, marks=5e-4)
    result, theirs = ours(tmp_path / "marks", task, margin="off"), archive(task)
    check_activity(result)
    paid = result.attribution["funding"].iloc[-1]
    unmarked = replace(task, perpetual=task.perpetual.drop(columns="mark"))
    assert abs(paid - ours(tmp_path / "closes", unmarked, margin="off").attribution["funding"].iloc[-1]) > 1000.0 * NEARNESS
    assert theirs.funding == pytest.approx(paid, abs=NEARNESS)
    assert np.abs(theirs.equity - result.equity).max() <= NEARNESS


# ---------------------------------------------------------------- fractal-defi


@pytest.mark.parametrize("gaps", [0.0, 2e-4])
def test_fractal_has_the_same_equity_at_every_bar(tmp_path: Path, gaps: float) -> None:
    need("fractal", "fractal-defi")
    task = generate(MONTH, gaps=gaps)
    result, theirs = ours(tmp_path, task), fractal(task)
    check_activity(result)
    assert theirs.trades == len(result.trades)
    assert not theirs.liquidations
    assert np.abs(theirs.equity - result.equity).max() <= NEARNESS


def liquidated(result: bt.Result) -> list[tuple[int, float, float]]:
    """(bar, quantity, price) of each liquidation."""
    fills = result.fills[result.fills["action"] == "liquidation"]
    return list(zip(result.equity.index.get_indexer(fills["time"]), fills["quantity"], fills["price"], strict=True))


def wicked() -> Task:
    """Every so often a bar reaches a quarter above its close, and once all prices jump to 1.3 times; no such bar pays funding."""
    wicks = [bar for bar in range(3_111, MONTH, 3_000) if bar % FUNDING_EVERY]
    return with_wicks(generate(MONTH, gaps=2e-4, jumps=(20_500,)), wicks, 1.25)


def test_fractal_liquidates_in_the_same_bars_at_the_same_prices_and_leaves_the_same(tmp_path: Path) -> None:
    """With a liquidation fee as high as the maintenance; at the jump both prices lie beyond the breach, and the loss beyond the collateral is the venue's."""
    need("fractal", "fractal-defi")
    task = wicked()
    result, theirs = ours(tmp_path, task), fractal(task)
    found = liquidated(result)
    assert len(found) >= 5
    assert 20_500 in [bar for bar, *_ in found]
    assert [bar for bar, *_ in found] == [bar for bar, *_ in theirs.liquidations]
    assert np.array(found) == pytest.approx(np.array(theirs.liquidations), rel=1e-11)
    assert theirs.trades == len(result.trades)
    assert np.abs(theirs.equity - result.equity).max() <= NEARNESS


@pytest.mark.parametrize("fee", [0.0, 0.005])
def test_a_lower_liquidation_fee_leaves_what_fractal_takes_and_nothing_else(tmp_path: Path, fee: float) -> None:
    """One liquidation: the difference is (maintenance − fee) of what the position was worth at fractal-defi's own liquidation price."""
    need("fractal", "fractal-defi")
    wick = 2_111
    task = with_wicks(generate(4_000, gaps=2e-4), [wick], 1.25)
    task = replace(task, signal=np.where(np.arange(len(task)) <= wick, ENTER, EXIT))
    result, theirs = ours(tmp_path, task, liquidation_fee=fee), fractal(task)
    ((bar, quantity, price),) = theirs.liquidations
    assert bar == wick
    assert result.trades["reason"].tolist() == ["liquidation"]
    gap = result.equity.to_numpy() - theirs.equity
    kept = (MAINTENANCE - fee) * quantity * price
    assert kept > 1e-3 * CAPITAL
    assert np.abs(gap - np.where(np.arange(len(task)) < wick, 0.0, kept)).max() <= NEARNESS


def test_shown_closes_only_fractal_misses_the_wicks_as_a_run_without_margin_does(tmp_path: Path) -> None:
    need("fractal", "fractal-defi")
    task = with_wicks(generate(MONTH), [1_111, 20_111, 30_111], 1.25)
    theirs = fractal(task, see_highs=False)
    assert not theirs.liquidations
    assert np.abs(theirs.equity - ours(tmp_path / "off", task, margin="off").equity).max() <= NEARNESS
    checked = ours(tmp_path / "on", task)
    assert "liquidation" in set(checked.trades["reason"])
    assert abs(theirs.equity[-1] - checked.equity.iloc[-1]) > 1e-3 * CAPITAL


# ---------------------------------------------------------------- nautilus_trader

FUTURE_FEE = 5e-4
SETTLED = 2150.55


def nautilus_python() -> str:
    """The interpreter that has nautilus_trader; the test skips without one."""
    given = os.environ.get("CARRY_NAUTILUS_PYTHON")
    if given is None and importlib.util.find_spec("nautilus_trader") is None:
        pytest.skip(
            f"nautilus_trader is not installed: {INSTALL} has it from Python 3.12 on; releases for 3.11 need pandas 2, which this package can't use: "
            "name the Python of an environment of their own in CARRY_NAUTILUS_PYTHON"
        )
    return given or sys.executable


def held_by_nautilus(task: dict[str, Any]) -> dict[str, Any]:
    program = Path(__file__).parent / "peers_nautilus.py"
    done = subprocess.run([nautilus_python(), str(program)], input=json.dumps(task), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("side", ["long", "short"])
def test_nautilus_settles_a_dated_future_at_the_same_price_instant_and_cost(tmp_path: Path, side: str) -> None:
    nautilus_python()
    tables = only(ether(), NEAR)
    tables.bars[NEAR] = tables.bars[NEAR].round(2)  # nautilus_trader's prices have decimals
    tables.settlements["price"] = SETTLED
    market = load(tmp_path, tables)
    costs = bt.Execution(margin="off", derivative_fee=FUTURE_FEE, delivery_fee=FUTURE_FEE, half_spread=0.0, idle_rate=0.0, borrow_rate=0.0)
    result = bt.run(bt.Rule(**{side: market.leg(NEAR)}), market, capital=CAPITAL, execution=costs)
    assert result.fills["action"].tolist() == ["entry", "settlement"]
    closes = tables.bars[NEAR]["close"]
    assert abs(closes.iloc[-1] - SETTLED) > 1.0, "the settlement must be no price that was traded"
    theirs = held_by_nautilus(
        {
            "capital": CAPITAL, "fee": FUTURE_FEE, "quantity": float(result.fills["quantity"].iloc[0]), "expiry": NEAR_EXPIRY.value,
            "settlement": SETTLED, "quotes": [[at.value, price] for at, price in closes.items()],
        }
    )  # fmt: skip
    assert theirs["open"] == 0
    mine = [
        [fill.time.value, fill.quantity, fill.price, fill.price * abs(fill.quantity) * FUTURE_FEE] for fill in result.fills.itertuples()
    ]
    assert np.array(mine) == pytest.approx(np.array(theirs["fills"]), rel=1e-9)
    assert CAPITAL + theirs["realised"] == pytest.approx(result.equity.iloc[-1], abs=NEARNESS)
    if theirs["settlement_prices"]:  # releases that don't take them close the position, but never book that in the account
        assert theirs["balance"] == pytest.approx(result.equity.iloc[-1], abs=NEARNESS)
