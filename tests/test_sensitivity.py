"""The same run at multiples of its costs: by hand, against runs whose settings are those multiples, and for books."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import FAR, FREE, PERP, SPOT, ether, flat, load, only, path, perpetual, spot, traded

import backtest as bt
from backtest import baselines
from backtest.baselines import FACTORS, SENSITIVITY, at_costs
from backtest.errors import ParameterError
from backtest.metrics import return_statistics

SETTINGS = {"spot_fee": 0.001, "derivative_fee": 0.0004, "half_spread": 0.0002, "delivery_fee": 0.0005, "liquidation_fee": 0.01}


def at(factor: float, **more: Any) -> bt.Execution:
    """The costs of these tests, so many times."""
    return bt.Execution(**{name: factor * value for name, value in SETTINGS.items()}, **more)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> bt.Market:
    return load(tmp_path_factory.mktemp("sensitivity"), ether())


def switching(market: bt.Market, every: int = 20, **rule: Any) -> bt.Rule:
    signal = np.where(np.arange(len(market)) % every < 0.5 * every, 1.0, 0.0)
    fields: dict[str, Any] = {"long": market.spot, "short": market.perpetual} | rule
    return bt.Rule(**fields, signal=signal, enter=0.5, exit=0.5)


# ---------------------------------------------------------------- by hand


def test_what_a_fee_of_one_percent_costs() -> None:
    """100 coins of 100 bought and sold at 100: 2 % of 10,000 is 200 in fees, at three times the fees 600."""
    result = traded(spot(flat(5)), execution=bt.Execution(margin="off", **dict.fromkeys(SETTINGS, 0.0) | {"spot_fee": 0.01}), size=1.0, max_hold="2h", signal=np.array([1.0, 0, 0, 0, 0]), enter=0.5)  # fmt: skip
    found = result.sensitivity
    assert tuple(found.columns) == SENSITIVITY
    assert found["factor"].tolist() == list(FACTORS) == [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]
    assert found["final_equity"].tolist() == pytest.approx([10_000, 9_900, 9_800, 9_700, 9_600, 9_400])
    assert found["total_return"].tolist() == pytest.approx([0, -0.01, -0.02, -0.03, -0.04, -0.06])
    assert found["max_drawdown"].tolist() == pytest.approx([0, 0.01, 0.02, 0.03, 0.04, 0.06])
    assert found["trades"].tolist() == [1] * 6
    assert found["liquidations"].tolist() == [0] * 6
    assert found.dtypes[["trades", "liquidations"]].tolist() == [np.int64] * 2


def test_an_open_trade_and_none_are_counted() -> None:
    assert traded(spot(flat(5))).sensitivity["trades"].tolist() == [1] * 6
    none = traded(spot(flat(5)), signal=np.zeros(5), enter=1.0).sensitivity
    assert none["trades"].tolist() == [0] * 6
    assert none["final_equity"].tolist() == [10_000.0] * 6
    assert traded(spot(flat(1)), perpetual(flat(1))).sensitivity["final_equity"].tolist() == [10_000.0] * 6


def test_liquidations_are_those_of_each_run() -> None:
    """Short of 100 coins at 100 with leverage 2: a rise of 45 % takes it at a maintenance margin of 2 %, whatever the fees."""
    opens, closes = path(100.0, 100.0, 100.0, 150.0, 150.0)
    execution = bt.Execution(**dict.fromkeys((*SETTINGS, "idle_rate", "borrow_rate"), 0.0) | {"derivative_fee": 0.001, "maintenance": 0.02})
    result = traded(
        None, perpetual(opens, closes), execution=execution, leverage=2, **{"signal": np.array([1.0, 0, 0, 0, 0]), "enter": 0.5}
    )
    assert (result.fills["action"] == "liquidation").sum() == 1
    assert result.sensitivity["liquidations"].tolist() == [1] * 6


# ---------------------------------------------------------------- against runs with other settings


@pytest.mark.parametrize(
    "rule", [{}, {"leverage": 4, "sides": "both"}, {"short": None, "size": 1.0}, {"long": None, "entry_tranches": 2, "tranche_gap": "2h"}]
)
def test_each_row_is_a_run_with_its_costs(rule: dict[str, Any], market: bt.Market) -> None:
    result = bt.run(switching(market, **rule), market, execution=at(1.0))
    for row in result.sensitivity.itertuples():
        other = bt.run(switching(market, **rule), market, execution=at(row.factor))
        assert row.final_equity == pytest.approx(other.equity.iloc[-1], rel=1e-12)
        figures = return_statistics(other.equity, other.start, other.capital)
        for name in ("total_return", "sharpe", "max_drawdown"):
            assert getattr(row, name) == pytest.approx(figures[name], rel=1e-9, abs=1e-12)
        assert row.trades == len(other.trades) > 5
        assert row.liquidations == (other.fills["action"] == "liquidation").sum()


def test_the_row_of_the_run_itself_is_the_run_to_the_last_bit_and_not_run_again(market: bt.Market, monkeypatch: pytest.MonkeyPatch) -> None:
    result = bt.run(switching(market), market, execution=at(1.0))
    asked: list[float] = []
    plain = baselines.with_costs
    monkeypatch.setattr(baselines, "with_costs", lambda prepared, factor: asked.append(factor) or plain(prepared, factor))
    row = result.sensitivity.set_index("factor").loc[1.0]
    assert asked == [0.0, 0.5, 1.5, 2.0, 3.0]
    assert row["final_equity"] == result.equity.iloc[-1]
    for name in ("total_return", "sharpe", "max_drawdown", "trades"):
        assert row[name] == result.metrics[name], name
    assert result.sensitivity is result.sensitivity
    assert len(asked) == 5


def test_the_ends_are_the_baselines_at_no_cost_and_at_twice_the_costs(market: bt.Market) -> None:
    book = bt.Book({"a": switching(market), "b": switching(market, every=7, short=market.leg(FAR))}, shares=(0.3, 0.5), exposure=0.6)
    for made in (switching(market), book):
        result: Any = bt.run(made, market, execution=bt.Execution(margin="cross", impact=0.01))
        rows = result.sensitivity.set_index("factor")
        for factor, name in ((0.0, "zero cost"), (2.0, "double cost")):
            for column in ("final_equity", "total_return", "sharpe", "max_drawdown"):
                assert rows.loc[factor, column] == result.baselines.loc[name, column]


def test_higher_costs_never_help_where_the_trades_are_the_same(market: bt.Market) -> None:
    found = bt.run(switching(market, size=0.3, resize=None), market).sensitivity
    assert len(set(found["trades"])) == 1
    assert (found["final_equity"].diff().dropna() < 0.0).all()


def test_a_book_counts_the_trades_and_liquidations_of_all_rules(market: bt.Market) -> None:
    rules = {
        "a": switching(market),
        "b": switching(market, every=7, short=market.leg(FAR)),
        "c": bt.Rule(short=market.perpetual, leverage=100),
    }
    result = bt.run(bt.Book(rules, shares=(0.3, 0.3, 0.3)), market, execution=at(1.0))
    found = result.sensitivity.set_index("factor")
    assert found.loc[1.0, "trades"] == len(result.trades)
    assert found.loc[1.0, "liquidations"] == (result.fills["action"] == "liquidation").sum() > 0
    assert found.loc[1.0, "final_equity"] == result.equity.iloc[-1]
    for factor in (0.0, 0.5, 3.0):
        assert found.loc[factor, "final_equity"] == at_costs(result, factor).equity.iloc[-1]
        other = bt.run(bt.Book(rules, shares=(0.3, 0.3, 0.3)), market, execution=at(factor))
        assert found.loc[factor, "final_equity"] == pytest.approx(other.equity.iloc[-1], rel=1e-12)
        assert found.loc[factor, "trades"] == len(other.trades)
        assert found.loc[factor, "liquidations"] == (other.fills["action"] == "liquidation").sum()


# ---------------------------------------------------------------- factors that can't be


def test_a_factor_that_ruins_all_numbers_is_left_out(market: bt.Market, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = baselines.with_costs

    def costly(prepared: Any, factor: float) -> Any:
        if factor > 1.5:
            raise ParameterError("the run's money is beyond all numbers")
        return plain(prepared, factor)

    monkeypatch.setattr(baselines, "with_costs", costly)
    assert bt.run(switching(market), market).sensitivity["factor"].tolist() == [0.0, 0.5, 1.0, 1.5]
    assert bt.run([switching(market)], market).sensitivity["factor"].tolist() == [0.0, 0.5, 1.0, 1.5]


def test_money_beyond_all_numbers_is_such_a_factor() -> None:
    """Coins for 0.7e100 at a fee of 20 % are paid with 0.84e100; at one and a half times the fee with 0.91e100, at twice with 0.98e100, at three times with
    1.12e100, and money ends at 1e100.
    """
    execution = bt.Execution(margin="off", **dict.fromkeys(SETTINGS, 0.0) | {"spot_fee": 0.2, "borrow_rate": 0.0})
    result = traded(spot(flat(5)), execution=execution, size=1.0, scale=np.full(5, 0.7e96))
    assert result.sensitivity["factor"].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_a_mistake_of_ours_is_not_hidden(market: bt.Market, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(prepared: Any, factor: float) -> Any:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(baselines, "with_costs", broken)
    with pytest.raises(ValueError, match="a mistake of ours"):
        _ = bt.run(switching(market), market).sensitivity


def test_other_markets(tmp_path: Path) -> None:
    """Very many trades, coarser bars, no costs at all."""
    market = load(tmp_path / "many", only(ether(700), SPOT, PERP))
    many = bt.run(switching(market, every=2), market)
    assert many.sensitivity.set_index("factor").loc[1.0, "trades"] == len(many.trades) > 200
    coarse = load(tmp_path / "coarse", ether(), freq="4h")
    assert len(bt.run(switching(coarse), coarse).sensitivity) == 6
    free = bt.run(switching(market), market, execution=FREE).sensitivity
    assert free["final_equity"].nunique() == 1
    pd.testing.assert_series_equal(free["factor"], pd.Series(FACTORS, name="factor"))
