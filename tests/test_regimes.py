"""What a run made in each regime: by hand where regimes are given, by a plain loop on generated runs, and why there is none where the market tells none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import (
    FAR,
    HOUR,
    NEAR,
    PERP,
    SPOT,
    START,
    bars,
    ether,
    flat,
    in_memory,
    instrument,
    load,
    once,
    only,
    path,
    perpetual,
    spot,
    times,
    traded,
)  # fmt: skip
from rich_market import rich

import backtest as bt
from backtest import regimes
from backtest.data.schema import Tables
from backtest.instruments import Kind
from backtest.regimes import COLUMNS, NAMES, base_of, regime_before, spot_of

CALM, TRENDING, STRESSED, UNKNOWN = 0.0, 1.0, 2.0, np.nan
Given = Callable[[list[float]], None]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Says what the regime is at each bar's close."""

    def say(codes: list[float]) -> None:
        monkeypatch.setattr(regimes, "regime", lambda market, spot=None: np.array(codes))

    return say


def by_loop(result: Any, codes: np.ndarray) -> pd.DataFrame:
    """The table bar by bar and trade by trade."""
    market = result._prepared.market if isinstance(result, bt.Result) else result._market
    parts = [result] if isinstance(result, bt.Result) else list(result.results.values())
    rows: dict[str, dict[str, float]] = {}
    before, began = result.capital, result.start
    for t, end in enumerate(market.clock):
        code = np.nan if t == 0 else codes[t - 1]
        row = rows.setdefault("unknown" if np.isnan(code) else NAMES[int(code)], dict.fromkeys((*COLUMNS, "years", "held years"), 0.0))
        years = (end - began) / pd.Timedelta("365D")
        row["years"] += years
        row["bars"] += 1
        row["held years"] += years if any(part.positions["contract"].iloc[t] != "" for part in parts) else 0.0
        row["pnl"] += result.equity.iloc[t] - before
        for entered, pnl in zip(result.trades["entered_at"], result.trades["pnl"], strict=True):
            if began <= entered < end:
                row["trades"] += 1
                row["won"] += pnl > 0.0
                row["trade_pnl"] += pnl
        before, began = result.equity.iloc[t], end
    for row in rows.values():
        row["time"] = row["years"] / sum(one["years"] for one in rows.values())
        row["held"] = row["held years"] / row["years"]
        row["annual_return"] = row["pnl"] / result.capital / row["years"]
    return pd.DataFrame.from_dict(rows, orient="index").reindex([name for name in NAMES if name in rows])[list(COLUMNS)]


def agree(result: Any, codes: np.ndarray) -> pd.DataFrame:
    """The table is the loop's, and adds up."""
    table = result.by_regime
    assert result.regimes_left_out == ""
    expected = by_loop(result, codes)
    assert list(table.index) == list(expected.index)
    assert tuple(table.columns) == COLUMNS
    np.testing.assert_allclose(table.to_numpy(float), expected.to_numpy(float), rtol=1e-9, atol=1e-9 * result.capital)
    np.testing.assert_allclose(table[["time", "held"]].to_numpy(), expected[["time", "held"]].to_numpy(), rtol=1e-12, atol=1e-12)
    assert table["pnl"].sum() == pytest.approx(result.equity.iloc[-1] - result.capital, abs=1e-9 * result.capital)
    assert table["bars"].sum() == result.bars
    assert table["time"].sum() == pytest.approx(1.0, rel=1e-12)
    assert table["trades"].sum() == len(result.trades)
    assert (table["time"] * table["held"]).sum() == pytest.approx(result.metrics["time_in_market"], rel=1e-9, abs=1e-12)
    found: pd.DataFrame = table
    return found


# ---------------------------------------------------------------- by hand


def test_a_bar_belongs_to_the_regime_of_the_close_before(given: Given) -> None:
    """100 coins (size 1 of 10,000) bought at the second bar's open of 100, which was decided at the first close. PnL of the bars: 0, +1000, −500, +300, −200.

    Known at the closes: calm, stressed, calm, nothing, trending; so that the bars belong to nothing, calm, stressed, calm, nothing.
    """
    given([CALM, STRESSED, CALM, UNKNOWN, TRENDING])
    result = traded(spot(*path(100.0, 110.0, 105.0, 108.0, 106.0)), size=1.0)
    table = result.by_regime
    assert table is not None
    assert list(table.index) == ["calm", "stressed", "unknown"]
    assert table.index.name == "regime"
    hour = 1.0 / (365 * 24)
    assert table.loc["calm"].to_dict() == pytest.approx(
        {"time": 0.4, "bars": 2, "held": 1.0, "pnl": 1300.0, "annual_return": 0.13 / (2 * hour), "trades": 1, "won": 1, "trade_pnl": 600.0}
    )
    assert table.loc["stressed"].to_dict() == pytest.approx(
        {"time": 0.2, "bars": 1, "held": 1.0, "pnl": -500.0, "annual_return": -0.05 / hour, "trades": 0, "won": 0, "trade_pnl": 0.0}
    )
    assert table.loc["unknown"].to_dict() == pytest.approx(
        {"time": 0.4, "bars": 2, "held": 0.5, "pnl": -200.0, "annual_return": -0.02 / (2 * hour), "trades": 0, "won": 0, "trade_pnl": 0.0}
    )
    assert table.dtypes[["bars", "trades", "won"]].tolist() == [np.int64] * 3


def test_the_last_close_has_no_bar_of_its_own(given: Given) -> None:
    given([CALM, CALM, STRESSED])
    table = traded(spot(flat(3))).by_regime
    assert table is not None
    assert table["bars"].to_dict() == {"calm": 2, "unknown": 1}


def test_a_trade_belongs_to_where_it_was_entered_whatever_came_after(given: Given) -> None:
    """Two trades of four hours: the first is entered in calm and loses in stress, the second the other way round."""
    given([CALM, STRESSED, STRESSED, STRESSED, STRESSED, CALM, CALM, CALM, CALM, CALM])
    signal = np.array([1.0, 1, 1, 0, 1, 1, 1, 0, 0, 0])
    opens, closes = path(100.0, 100.0, 90.0, 90.0, 90.0, 90.0, 99.0, 99.0, 99.0, 99.0)
    result = traded(spot(opens, closes), signal=signal, enter=0.5, exit=0.5, size=1.0)
    table = agree(result, np.array([CALM, STRESSED, STRESSED, STRESSED, STRESSED, CALM, CALM, CALM, CALM, CALM]))
    assert table["trades"].to_dict() == {"calm": 1, "stressed": 1, "unknown": 0}
    assert table["won"].to_dict() == {"calm": 0, "stressed": 1, "unknown": 0}
    assert table["trade_pnl"].to_dict() == pytest.approx({"calm": -1000.0, "stressed": 900.0, "unknown": 0.0})
    assert table["pnl"].to_dict() == pytest.approx({"calm": 900.0, "stressed": -1000.0, "unknown": 0.0})


def test_a_trade_that_made_nothing_is_not_won(given: Given) -> None:
    given([CALM] * 5)
    table = traded(spot(flat(5)), **once(5), max_hold="2h").by_regime
    assert table is not None
    assert table.loc["calm", ["trades", "won", "trade_pnl"]].tolist() == [1, 0, 0.0]


def test_bars_weigh_by_their_length(given: Given, tmp_path: Path) -> None:
    """No instrument has a bar in the third hour of five, so that the third bar takes two: one each of nothing and calm, three of stress, of which the last two."""
    given([CALM, STRESSED, STRESSED, CALM])
    whole = times(START + HOUR, 5)
    index = whole.delete(2)
    tables = Tables(instruments=[instrument(SPOT, Kind.SPOT)], bars={SPOT: bars([100.0, 101.0, 103.0, 104.0], index)})
    market = load(tmp_path, tables)
    result = bt.run(bt.Rule(long=market.spot), market)
    assert result.by_regime is not None
    assert result.by_regime["bars"].to_dict() == {"calm": 1, "stressed": 2, "unknown": 1}
    assert result.by_regime["time"].to_dict() == pytest.approx({"calm": 0.2, "stressed": 0.6, "unknown": 0.2})


def test_one_bar(given: Given) -> None:
    given([STRESSED])
    result = traded(spot(flat(1)), perpetual(flat(1)))
    table = result.by_regime
    assert table is not None
    assert table.to_dict("index") == {
        "unknown": {"time": 1.0, "bars": 1, "held": 0.0, "pnl": 0.0, "annual_return": 0.0, "trades": 0, "won": 0, "trade_pnl": 0.0}
    }


# ---------------------------------------------------------------- generated runs


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> bt.Market:
    return load(tmp_path_factory.mktemp("regimes"), rich(), staleness="8h")


def switching(market: bt.Market, every: int = 9, **rule: Any) -> bt.Rule:
    """In and out."""
    fields: dict[str, Any] = {"long": market.spot, "short": market.perpetual} | rule
    signal = np.where(np.arange(len(market)) % every < 0.5 * every, 1.0, 0.0)
    return bt.Rule(**fields, signal=signal, enter=0.5, exit=0.5)


def test_real_regimes_are_those_of_the_signal_and_all_occur(market: bt.Market) -> None:
    codes = bt.regime(market)
    assert set(np.unique(codes[~np.isnan(codes)])) == {CALM, TRENDING, STRESSED}
    for rule in (
        switching(market),
        switching(market, every=50, short=market.future_chain(min_days=10)),
        switching(market, short=None, size=2.0),
        switching(market, long=None, short=market.perpetual),
        bt.Rule(long=market.spot, short=market.perpetual, entry_tranches=3, tranche_gap="2D", leverage=3),
    ):
        agree(bt.run(rule, market, execution=bt.Execution(latency="9h")), codes)


def test_a_run_without_a_trade(market: bt.Market) -> None:
    rule = bt.Rule(long=market.spot, short=market.perpetual, signal=np.zeros(len(market)), enter=1.0)
    table = agree(bt.run(rule, market), bt.regime(market))
    assert (table[["held", "trades", "won", "trade_pnl"]] == 0.0).all(axis=None)
    assert (table["pnl"] > 0.0).all(), "idle cash earns in every regime"


def test_very_many_trades(tmp_path: Path) -> None:
    market = load(tmp_path, only(ether(10_500), SPOT, PERP))
    result = bt.run(switching(market, every=2), market, execution=bt.Execution.free())
    assert len(result.trades) > 5000
    table, codes = result.by_regime, bt.regime(market)
    assert table is not None
    labels = np.concatenate([[np.nan], codes[:-1]])
    entered = labels[np.searchsorted(market.clock, result.trades["entered_at"]) + 1]
    for name, code in zip(NAMES, (CALM, TRENDING, STRESSED), strict=False):
        if name in table.index:
            assert table.loc[name, "trades"] == (entered == code).sum()
    assert table["pnl"].sum() == pytest.approx(result.equity.iloc[-1] - result.capital, abs=1e-9 * result.capital)
    assert table["trade_pnl"].sum() == pytest.approx(result.trades["pnl"].sum(), rel=1e-9)


def test_a_book_of_one_asset_has_one_table_and_so_has_each_rule(market: bt.Market) -> None:
    rules = {
        "a": switching(market),
        "b": switching(market, every=31, short=market.future_chain(min_days=10)),
        "c": switching(market, long=None),
    }
    result = bt.run(bt.Book(rules, shares=(0.3, 0.3, 0.2)), market)
    codes = bt.regime(market)
    whole = agree(result, codes)
    parts = [agree(one, codes) for one in result.results.values()]
    reserve = result.reserve.iloc[-1] - 0.2 * result.capital
    assert whole["pnl"].sum() == pytest.approx(sum(part["pnl"].sum() for part in parts) + reserve)
    assert whole["trades"].sum() == sum(part["trades"].sum() for part in parts)


def test_a_book_that_makes_no_trade(market: bt.Market) -> None:
    rule = bt.Rule(long=market.spot, short=market.perpetual, signal=np.zeros(len(market)), enter=1.0)
    agree(bt.run([rule, rule], market), bt.regime(market))


@pytest.mark.parametrize(
    "options", [{"freq": "1D", "start": "2023-01-08"}, {"freq": "7D", "start": "2023-01-08"}, {"start": "2024-05-05"}, {"clock": PERP}]
)
def test_other_clocks(options: dict[str, Any], tmp_path: Path) -> None:
    market = load(tmp_path, rich(), **options)
    agree(bt.run(switching(market), market), bt.regime(market))


# ---------------------------------------------------------------- which regime, and none


def bitcoin(count: int) -> dict[str, Any]:
    facts = {"base": "BTC"}
    return {"BSPOT": spot(flat(count, 300.0), **facts), "BPERP": perpetual(flat(count, 301.0), **facts)}


def test_rules_of_several_assets_have_no_regime_but_each_its_own() -> None:
    market = in_memory({"ESPOT": spot(flat(50)), "EPERP": perpetual(flat(50)), **bitcoin(50)})
    pairs = [bt.Rule(long=market.leg(f"{one}SPOT"), short=market.leg(f"{one}PERP")) for one in "EB"]
    result = bt.run(pairs, market)
    assert result.by_regime is None
    assert result.regimes_left_out == (
        "the rules trade BTC and ETH, and a regime is that of one asset; each rule's own result has its regimes"
    )
    for one in result.results.values():
        assert one.by_regime is not None
        assert one.regimes_left_out == ""


def test_other_assets_of_the_market_are_left_out_of_the_regime(tmp_path: Path) -> None:
    tables = rich()
    other = [item for item in rich().instruments if item.id in (SPOT, PERP)]
    alone = load(tmp_path / "alone", tables, staleness="8h")
    renamed = {item.id: item.id.replace("ETH", "BTC") for item in other}
    tables = rich()
    beside = rich(seed=9)
    tables.instruments += [replace(item, id=renamed[item.id], base="BTC") for item in other]
    tables.bars |= {renamed[name]: beside.bars[name] for name in renamed}
    tables.funding |= {renamed[PERP]: beside.funding[PERP]}
    both = load(tmp_path / "both", tables, staleness="8h")
    with pytest.raises(bt.DataError, match="needs one spot"):
        bt.regime(both)
    rule = bt.Rule(long=both.leg(SPOT), short=both.leg(PERP))
    expected = regime_before(alone, [rule])
    assert len(np.unique(expected)) == 4
    np.testing.assert_array_equal(regime_before(both, [rule]), expected)
    mine = bt.Rule(long=both.leg(renamed[SPOT]), short=both.leg(renamed[PERP]))
    assert (regime_before(both, [mine]) != expected).any()


def test_of_several_spots_of_the_asset_the_rules_own_counts() -> None:
    """At one spot nothing happens, at the other everything: the regimes differ."""
    count = 3000
    random = np.random.default_rng(1)
    wild = 100.0 * np.exp(np.cumsum(random.normal(0.0, np.where(np.arange(count) > 2500, 0.05, 0.001))))
    market = in_memory({"CALM": spot(flat(count)), "WILD": spot(list(wild)), "PERP": perpetual(flat(count))})
    calm, wild_one = (regime_before(market, [bt.Rule(long=market.leg(name), short=market.leg("PERP"))]) for name in ("CALM", "WILD"))
    assert (calm != wild_one).any()
    assert (regime_before(market, [bt.Rule(short=market.leg("PERP")), bt.Rule(long=market.leg("WILD"))]) == wild_one).all()


def test_without_a_spot_the_sentence_of_the_signal_says_why() -> None:
    market = in_memory({"PERP": perpetual(flat(30)), "OTHER": perpetual(flat(30))})
    result = bt.run(bt.Rule(long=market.leg("PERP"), short=market.leg("OTHER")), market)
    assert result.by_regime is None
    assert result.regimes_left_out.startswith("the rule needs one spot and the dataset by hand has none")
    assert not result.regimes_left_out.startswith("error")


def test_with_two_spots_and_none_of_its_own_the_sentence_names_them() -> None:
    market = in_memory({"A": spot(flat(30)), "B": spot(flat(30)), "PERP": perpetual(flat(30))})
    result = bt.run(bt.Rule(short=market.leg("PERP")), market)
    assert result.by_regime is None
    assert "has several: A, B" in result.regimes_left_out


def test_the_spot_of_a_rule(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    assert spot_of(market, bt.Rule(long=market.perpetual, short=market.leg(FAR))) == SPOT
    assert spot_of(market.only(PERP, FAR, NEAR), bt.Rule(long=market.perpetual, short=market.leg(FAR))) is None
    assert base_of(market, bt.Rule(short=market.perpetual)) == "ETH"
    assert load(tmp_path / "perpetual", only(ether(), PERP)).perpetual


def test_it_is_made_once(market: bt.Market, monkeypatch: pytest.MonkeyPatch) -> None:
    result = bt.run(switching(market), market)
    asked: list[int] = []
    found = regimes.regimes_of
    monkeypatch.setattr(regimes, "regimes_of", lambda *given: asked.append(1) or found(*given))
    assert result.by_regime is result.by_regime
    assert result.regimes_left_out == ""
    assert asked == [1]
