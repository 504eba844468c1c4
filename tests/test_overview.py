"""The overview: each figure is its signal's, at the bar and before it; nothing later has a part in it; what is missing is named."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from markets import FAR, HOUR, LAST, NEAR, NEAR_EXPIRY, PERP, SPOT, START, bars, ether, load, only
from rich_market import BEGIN, STEP, changed_after, ended_at, rich

from backtest.curve.activity import open_interest, traded, traded_volume
from backtest.curve.basket import basket_weights, premium_indicator
from backtest.curve.prices import annualized_premium, contango, days_to_expiry, premium
from backtest.curve.term_structure import Shape, constant_maturity, term_curvature, term_shape, term_slope
from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.market import Market
from backtest.overview import BEFORE, Overview, Reading, Unit, overview
from backtest.overview.readings import rank
from backtest.signals.carry import break_even_premium, net_carry
from backtest.signals.confirmation import (
    Crowding,
    Quadrant,
    crowding,
    leverage_divergence,
    leverage_ratio,
    long_short_ratio,
    quadrant,
)
from backtest.signals.events import macro_trend
from backtest.signals.extremes import percentile, zscore
from backtest.signals.flow import relative_volume, spot_lead, volume_delta
from backtest.signals.funding import annualized_funding, current_funding
from backtest.signals.liquidity import depth, illiquidity, spread
from backtest.signals.regime import Reason, Regime, realised_volatility, regime, regime_reason
from backtest.signals.trend import speed, trend_t

CUT = BEGIN + 1300 * STEP
FIRST, SECOND, THIRD, FOURTH = "ETHUSDT-230630", "ETHUSDT-231229", "ETHUSDT-240628", "ETHUSDT-240927"


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("rich"), rich())


@pytest.fixture(scope="module")
def view(market: Market) -> Overview:
    return overview(market, CUT)


def before(market: Market, bar: int) -> list[int]:
    """The last bars that ended 1, 7 and 30 days before the end of a bar, or earlier; found one by one."""
    found = []
    for days in (1, 7, 30):
        wanted = market.clock[bar] - pd.Timedelta(days=days)
        found.append(max((place for place in range(len(market)) if market.clock[place] <= wanted), default=-1))
    return found


def expected(market: Market) -> dict[str, npt.NDArray[np.float64]]:
    """What each figure of the rich market is made of. [bar]"""
    indicator, carry = premium_indicator(market), np.where(traded(market) > 0.0, net_carry(market), np.nan)
    paid = break_even_premium(market)
    best = [max(range(len(carry)), key=lambda row: np.nan_to_num(carry[row, bar], nan=-99.0)) for bar in range(len(market))]
    return {
        "indicator": indicator,
        **{f"premium_{days}d": constant_maturity(market, days=float(days)) for days in (30, 60, 90, 180)},
        "slope": term_slope(market),
        "curvature": term_curvature(market),
        "shape": term_shape(market),
        "net_carry": np.array([carry[row, bar] for bar, row in enumerate(best)]),
        "break_even_premium": np.array([paid[row, bar] for bar, row in enumerate(best)]),
        "perpetual_premium": premium(market, market.perpetual)[0],
        "funding": annualized_funding(market)[0],
        "current_funding": current_funding(market)[0],
        "futures_vs_perpetual": indicator - annualized_funding(market)[0],
        "zscore": zscore(market, indicator),
        "trend_t": trend_t(market, indicator),
        "speed": speed(market, indicator),
        "volatility": realised_volatility(market),
        "macro_trend": macro_trend(market),
        "open_interest": open_interest(market)[0],
        "relative_volume": relative_volume(market),
        "spot_delta": volume_delta(market, market.spot),
        "futures_delta": volume_delta(market),
        "spot_lead": spot_lead(market),
        "leverage_ratio": leverage_ratio(market),
        "leverage_divergence": leverage_divergence(market),
        "long_short_ratio": long_short_ratio(market),
        "spread": spread(market)[0],
        "depth": depth(market)[0],
        "illiquidity": illiquidity(market),
        "quadrant": quadrant(market),
        "crowding": crowding(market),
        "regime": regime(market),
        "regime_reason": regime_reason(market),
    }


def test_every_figure_is_its_signal_now_and_1_7_and_30_days_before(market: Market, view: Overview) -> None:
    wanted, places = expected(market), before(market, view.bar)
    assert {reading.name for reading in view.readings if reading.unit is not Unit.DAYS} == set(wanted)
    for name, values in wanted.items():
        reading = view[name]
        np.testing.assert_array_equal([reading.now, *reading.before], [values[view.bar], *values[places]], err_msg=name)
        assert reading.known, name
    assert view.time == market.clock[view.bar] == CUT


def test_a_percentile_is_the_rank_among_the_last_365_days(market: Market, view: Overview) -> None:
    ranked = 0
    for name, values in expected(market).items():
        if view[name].unit is Unit.STATE:
            assert np.isnan(view[name].percentile), name
            continue
        ranks = percentile(market, np.ascontiguousarray(values), "365D", "30D")
        assert view[name].percentile == pytest.approx(ranks[view.bar], abs=1e-12), name
        ranked += 1
    assert ranked > 20


def test_a_percentile_needs_30_days_of_history(tmp_path: Path, market: Market) -> None:
    first = int(np.argmax(~np.isnan(premium_indicator(market))))
    assert np.isnan(overview(market, market.clock[first + 30 * 3 - 2])["indicator"].percentile)
    assert overview(market, market.clock[first + 30 * 3 - 1])["indicator"].percentile > 0.0


def test_a_percentile_needs_five_known_values(market: Market) -> None:
    values = np.full(len(market), np.nan)
    values[600:1000:100] = [4.0, 2.0, 3.0, 2.0]
    assert np.isnan(rank(market, values, 900))
    values[1000] = 2.0
    assert rank(market, values, 1000) == 2 / 5, "three are equal, and they share the ranks 1 to 3"
    assert np.isnan(rank(market, values, 1001))


def test_a_state_has_its_words_and_says_what_it_means(market: Market, view: Overview) -> None:
    for name, states in (("shape", Shape), ("quadrant", Quadrant), ("crowding", Crowding), ("regime", Regime), ("regime_reason", Reason)):
        values, reading = expected(market)[name], view[name]
        words = [states(int(values[place])).name.lower().replace("_", " ") for place in (view.bar, *before(market, view.bar))]
        assert [reading.word, *reading.words_before] == words
        assert reading.meaning
    meanings = {overview(market, market.clock[bar])["quadrant"].meaning for bar in range(400, 460)}
    assert meanings >= {"premium and open interest rise", "premium and open interest fall"}


def test_the_contracts_are_those_that_are_alive_and_have_traded_by_then(market: Market) -> None:
    assert list(overview(market, "2023-06-01").contracts.index) == [FIRST, SECOND]
    assert list(overview(market, "2023-06-30T08:00").contracts.index) == [SECOND], "at its expiry a contract is over"
    assert list(overview(market, BEGIN + 600 * STEP).contracts.index) == [SECOND], "the bar before the third one's first"
    assert list(overview(market, BEGIN + 601 * STEP).contracts.index) == [SECOND, THIRD]
    assert list(overview(market, CUT).contracts.index) == [THIRD, FOURTH]


def test_a_row_a_contract_says_what_the_signals_say_of_it(market: Market, view: Overview) -> None:
    now, (day, week, month) = view.bar, before(market, view.bar)
    annualized = annualized_premium(market)
    columns = {
        "days": days_to_expiry(market)[2:, now],
        "premium": premium(market)[2:, now],
        "annualized": annualized[2:, now],
        "annualized_1d": annualized[2:, day],
        "annualized_7d": annualized[2:, week],
        "annualized_30d": annualized[2:, month],
        "net_carry": net_carry(market)[2:, now],
        "break_even_premium": break_even_premium(market)[2:, now],
        "weight": basket_weights(market)[2:, now],
        "volume": traded_volume(market)[2:, now],
        "open_interest": open_interest(market, market.future_chain())[2:, now],
    }
    assert [*columns, "contango"] == list(view.contracts.columns)
    for name, values in columns.items():
        np.testing.assert_array_equal(view.contracts[name], values, err_msg=name)
    words = {1.0: "contango", -1.0: "backwardation"}
    assert list(view.contracts["contango"]) == [words[sign] for sign in contango(market)[2:, now]]


def test_weighting_roll_days_and_cost_are_the_users(market: Market) -> None:
    asked: dict[str, Any] = {"weighting": "front", "roll_days": 3.0}
    view = overview(market, CUT, **asked, cost=0.05)
    assert view["indicator"].now == premium_indicator(market, **asked)[view.bar] != overview(market, CUT)["indicator"].now
    np.testing.assert_array_equal(view.contracts["weight"], basket_weights(market, **asked)[2:, view.bar])
    carry = net_carry(market, cost=0.05)[2:, view.bar]
    np.testing.assert_array_equal(view.contracts["net_carry"], carry)
    assert (view["net_carry"].now, view["net_carry"].word) == (carry.max(), view.contracts.index[int(carry.argmax())])
    assert view["break_even_premium"].word == view["net_carry"].word
    assert view["break_even_premium"].now == break_even_premium(market, cost=0.05)[2 + int(carry.argmax()), view.bar]
    assert view.contracts["break_even_premium"].iloc[0] == break_even_premium(market, cost=0.05)[2, view.bar]
    table = np.tile([[1.0], [1.0], [1.0], [3.0]], len(market))
    own = overview(market, CUT, weighting=table)
    assert own["indicator"].now == premium_indicator(market, weighting=table)[own.bar]
    assert own.to_dict()["weighting"] == "own table"


@pytest.mark.parametrize("count", [701, 1100, 1400])
def test_nothing_later_has_a_part_in_it(tmp_path: Path, market: Market, count: int) -> None:
    cut = BEGIN + count * STEP
    told = shown(overview(market, cut))
    ended = shown(overview(load(tmp_path / "ended", ended_at(cut))))
    assert {**told, "notes": told["notes"][:-1]} == ended
    assert "loaded beyond this time" in told["notes"][-1]
    assert told == shown(overview(load(tmp_path / "changed", changed_after(cut)), cut))
    assert told != shown(overview(market, cut - STEP))


LISTED = BEGIN + 900 * STEP  # when the second venue begins
LATE_SPOT, LATE_PERP, LATE_CME, LATE_TWIN = "ETHUSD-SPOT.kraken", "ETHUSD-PERP.kraken", "ETHUSD-240628.cme", "ETHUSDT-240628.late"


def with_late_venue() -> Tables:
    """The rich market, to which a second venue adds a leg of each kind, and a contract of an expiry that there is already."""
    tables = rich()
    by_id = {one.id: one for one in tables.instruments}
    for name, twin, changes in (
        (LATE_SPOT, SPOT, {"venue": "kraken", "quote": "USD"}),
        (LATE_PERP, PERP, {"venue": "kraken", "quote": "USD"}),
        (LATE_CME, THIRD, {"venue": "cme", "quote": "USD"}),
        (LATE_TWIN, THIRD, {}),
    ):
        tables.instruments.append(replace(by_id[twin], id=name, **changes))
        frame = tables.bars[twin]
        tables.bars[name] = frame[frame.index > LISTED]
    tables.funding[LATE_PERP] = tables.funding[PERP][lambda frame: frame.index > LISTED]
    return tables


def test_what_is_listed_later_is_no_leg_and_changes_nothing(tmp_path: Path, market: Market) -> None:
    full = load(tmp_path, with_late_venue())
    for time in (LISTED, LISTED - 100 * STEP):
        view = overview(full, time)
        assert shown(view) == shown(overview(market, time))
        assert view["regime"].known
        assert set(view.figures()) == set(overview(market, time).figures())
    with pytest.raises(DataError, match=f"the rule needs one spot and the dataset test has several: {LATE_SPOT}, {SPOT}"):
        overview(full, LISTED + STEP)


@pytest.mark.parametrize("late", [LATE_PERP, LATE_CME, LATE_TWIN])
def test_each_late_leg_alone_changes_nothing(tmp_path: Path, market: Market, late: str) -> None:
    full = load(tmp_path, only(with_late_venue(), SPOT, PERP, FIRST, SECOND, THIRD, FOURTH, late))
    assert shown(overview(full, LISTED)) == shown(overview(market, LISTED))
    with pytest.raises(DataError):
        overview(full, LISTED + STEP)


def test_futures_that_begin_later_leave_the_perpetual_alone(tmp_path: Path) -> None:
    late = with_late_venue()
    alone = load(tmp_path / "alone", only(with_late_venue(), SPOT, PERP))
    full = load(tmp_path / "full", only(late, SPOT, PERP, LATE_CME, LATE_TWIN))
    assert shown(overview(full, LISTED)) == shown(overview(alone, LISTED))
    assert overview(full, LISTED).future is None


def test_the_same_legs_are_one_market(tmp_path: Path, market: Market) -> None:
    full = load(tmp_path, only(with_late_venue(), SPOT, PERP, THIRD, FOURTH, LATE_CME))
    first, second = overview(full, LISTED), overview(full, LISTED - STEP)
    assert first.market is second.market is not full, "what was computed for one serves the other"
    assert (LATE_CME in full.instruments, LATE_CME in first.market.instruments) == (True, False), "the market itself keeps all"
    assert overview(market, BEGIN + 300 * STEP).market is market, "further contracts of the chain are no reason for another"


def test_a_spot_that_begins_later_is_none(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, PERP)
    tables.bars[SPOT] = tables.bars[SPOT].iloc[100:]
    with pytest.raises(DataError, match="the rule needs one spot and the dataset test has none; the market has ETHUSDT-PERP"):
        overview(load(tmp_path, tables), START + 50 * HOUR)


def test_a_view_is_equal_to_itself_alone(market: Market, view: Overview) -> None:
    assert view == view
    assert view != overview(market, CUT)
    assert len({view, overview(market, CUT)}) == 2


def shown(view: Overview) -> Any:
    """All that an overview says, but the dataset's hash."""
    document = view.to_dict()
    document["dataset"].pop("hash")
    return document


def test_dates_are_told_once_they_were_announced(market: Market) -> None:
    early, later = overview(market, "2024-02-27T08:00"), overview(market, "2024-02-27T16:00")
    assert (early["last_event"].word, later["last_event"].word) == ("a hard day", "a hard day")
    with pytest.raises(ParameterError, match='no reading "next_event"; did you mean "'):
        early["next_event"]
    assert later["next_event"].word == "Dencun"
    assert later["next_event"].now == (pd.Timestamp("2024-03-13T13:55Z") - later.time) / pd.Timedelta("1D")
    hidden = overview(market, "2023-08-01T16:00")
    assert hidden["last_event"].word == "Shapella", "what happened but was told a day later"
    assert (hidden["next_expiry"].word, hidden["next_expiry"].now) == (
        SECOND,
        (pd.Timestamp("2023-12-29T08:00Z") - hidden.time) / pd.Timedelta("1D"),
    )


# ---------------------------------------------------------------- what is missing


def test_what_the_dataset_lacks_is_a_note_in_the_signals_words(tmp_path: Path) -> None:
    view = overview(load(tmp_path, ether()))
    assert not view["open_interest"].known
    told = [note for note in view.notes if "ETHUSDT-PERP has no open interest in dataset test; import" in note]
    assert len(told) == 1
    assert told[0].startswith("No open interest, leverage ratio, 7-day leverage divergence")
    assert any(note.startswith("No open interest of each contract: ") for note in view.notes)
    assert view.contracts["open_interest"].isna().all()
    unknown = next(note for note in view.notes if note.startswith("Not known at this time: "))
    assert "z-score of the indicator" in unknown, "nine days are less than ninety"
    named = [reading.label for reading in view.readings if not reading.known]
    assert all(any(label in note for note in view.notes) for label in named)


def test_without_a_perpetual_the_futures_are_looked_at(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, NEAR, FAR)
    for name in (NEAR, FAR):
        tables.bars[name]["open_interest"] = 100.0 if name == NEAR else 20.0
    market = load(tmp_path, tables)
    view = overview(market, START + 50 * HOUR)
    assert view.perpetual is None
    assert view["open_interest"].now == 120.0, "of both contracts together"
    assert any("has no perpetual among what was loaded" in note and "7-day funding a year" in note for note in view.notes)
    assert "perpetual  none" in str(view)
    assert overview(market, NEAR_EXPIRY + HOUR)["open_interest"].now == 20.0


def test_without_futures_the_perpetual_is_looked_at(tmp_path: Path) -> None:
    view = overview(load(tmp_path, only(ether(), SPOT, PERP)))
    assert view.future is None
    assert len(view.contracts) == 0
    assert view["funding"].known
    assert any("has no dated futures among what was loaded" in note and "premium indicator" in note for note in view.notes)
    assert "Curve" not in str(view)
    assert view.to_dict()["contracts"] == []


def test_a_leg_that_begins_later_is_none(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[PERP] = tables.bars[PERP].iloc[100:]
    market = load(tmp_path, tables)
    assert overview(market, START + 100 * HOUR).perpetual is None
    assert overview(market, START + 101 * HOUR).perpetual == market.perpetual


def test_one_maturity_on_its_last_day_has_a_premium_and_no_rate(tmp_path: Path) -> None:
    view = overview(load(tmp_path, only(ether(), SPOT, NEAR)), NEAR_EXPIRY - 5 * HOUR)
    (row,) = view.contracts.to_dict("records")
    assert row["days"] == pytest.approx(5 / 24)
    assert np.isfinite(row["premium"])
    assert np.isnan([row["annualized"], row["net_carry"], row["weight"]]).all()
    assert not view["indicator"].known
    assert view["next_expiry"].word == NEAR
    over = overview(view.market, NEAR_EXPIRY)
    assert len(over.contracts) == 0


def test_a_contract_without_a_fresh_close_is_told_without_figures(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[FAR] = tables.bars[FAR].iloc[:10]
    view = overview(load(tmp_path, tables, max_gap="30D"), START + 50 * HOUR)
    row = view.contracts.loc[FAR]
    assert np.isnan([row["premium"], row["annualized"]]).all()
    assert row["contango"] == ""
    assert row["weight"] == 0.0


def test_the_best_contract_is_one_that_trades(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, NEAR, FAR)
    index = pd.DatetimeIndex(tables.bars[SPOT].index)
    tables.bars[FAR] = bars(2.0 * tables.bars[SPOT]["close"], index, volume=np.where(index < START + 20 * HOUR, 1.0, 0.0))
    market = load(tmp_path, tables)
    view, bar = overview(market, START + 60 * HOUR), 59
    assert traded(market)[:, bar].tolist() == [1.0, 0.0]
    assert (view["net_carry"].word, view["net_carry"].now) == (NEAR, net_carry(market)[0, bar])
    assert view.contracts["net_carry"][FAR] > view["net_carry"].now, "which the table still says of each contract"
    assert (view["break_even_premium"].word, view["break_even_premium"].now) == (NEAR, break_even_premium(market)[0, bar])
    over = overview(market)
    assert list(over.contracts.index) == [FAR]
    assert not over["net_carry"].known
    assert not over["break_even_premium"].known
    assert over["net_carry"].word == ""


def test_the_perpetuals_premium_is_told_with_its_percentile(tmp_path: Path) -> None:
    tables = only(rich(), SPOT, PERP)
    market = load(tmp_path, tables)
    reading = overview(market)["perpetual_premium"]
    assert reading.unit is Unit.FRACTION
    assert reading.now == tables.bars[PERP]["close"].iloc[-1] / tables.bars[SPOT]["close"].iloc[-1] - 1.0
    dearness = premium(market, market.perpetual)[0]
    assert reading.percentile == pytest.approx(percentile(market, dearness, "365D", "30D")[-1], abs=1e-12)
    assert "\nperpetual's premium " in str(overview(market))
    assert not overview(load(tmp_path / "dated", only(ether(), SPOT, NEAR)))["perpetual_premium"].known


def test_a_venue_with_hours_says_whether_it_is_open(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, NEAR, FAR)
    tables.instruments = [one if one.id == SPOT else replace(one, venue="cme") for one in tables.instruments]
    market = load(tmp_path, tables)
    saturday, tuesday = overview(market, "2024-03-02T12:00"), overview(market, "2024-03-05T12:00")
    assert (saturday["hours_cme"].word, tuesday["hours_cme"].word) == ("closed", "open")
    assert tuesday["hours_cme"].words_before == ("open", "", ""), "the data begin on a Friday"
    assert "cme hours" in str(saturday)


# ---------------------------------------------------------------- the time


def test_the_bar_is_the_last_one_that_ended_by_then(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    assert overview(market).bar == len(market) - 1
    assert overview(market, START + 10.5 * HOUR).bar == 9
    assert overview(market, str(START + 10 * HOUR)).bar == 9
    assert not any("last bar" in note for note in overview(market, LAST + HOUR).notes)
    late = overview(market, LAST + 2 * HOUR)
    assert late.notes[0] == "The last bar before 2024-03-09T10:00Z ended at 2024-03-09T08:00Z; the view is of that time."
    with pytest.raises(
        DataError, match="at=2024-03-01T00:30Z is before the first bar of test, which ends at 2024-03-01T01:00Z; choose a later time"
    ):
        overview(market, "2024-03-01T00:30")
    with pytest.raises(ParameterError, match='at must be a time like "2024-01-31"'):
        overview(market, "soon")


def test_what_can_not_be_answered_is_refused(tmp_path: Path) -> None:
    market = load(tmp_path / "all", ether())
    with pytest.raises(ParameterError, match="cost must be at least 0: cost=-1"):
        overview(market, cost=-1.0)
    with pytest.raises(ParameterError, match="weighting"):
        overview(market, weighting="heavy")
    with pytest.raises(DataError, match="no open interest in dataset test"):
        overview(market, weighting="open_interest")
    with pytest.raises(DataError, match="a premium needs a perpetual or dated futures beside the spot; test has ETHUSDT-SPOT"):
        overview(load(tmp_path / "spot", only(ether(), SPOT)))
    with pytest.raises(DataError, match="the rule needs one spot and the dataset test has none"):
        overview(load(tmp_path / "perp", only(ether(), PERP)))


def test_legs_that_close_at_different_hours_are_refused(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, PERP)
    tables.bars[PERP].index = tables.bars[PERP].index + pd.Timedelta("30min")
    with pytest.raises(DataError, match="prices that far apart make no premium"):
        overview(load(tmp_path, tables))


def test_currencies_that_mix_are_told(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, NEAR, FAR)
    tables.instruments = [replace(one, quote="USD") if one.id == SPOT else one for one in tables.instruments]
    assert any(note.startswith("MIXED CURRENCIES: ETHUSDT-SPOT is in USD") for note in overview(load(tmp_path, tables)).notes)


# ---------------------------------------------------------------- on paper


def test_the_table_is_at_most_80_wide_and_marks_simulated_data(market: Market, view: Overview) -> None:
    text = str(view)
    assert max(map(len, text.splitlines())) <= 80
    assert text.splitlines()[1].endswith("SIMULATED DATA")
    assert "nan" not in text
    for block in ("Curve", "Contracts", "Readings", "States", "Dates"):
        assert f"\n{block}" in text
    for reading in view.readings:
        assert reading.label in text, reading.name
    for label in ("open interest, ETH", "depth of the book, USDT", "bid-ask spread, bps"):
        assert f"\n{label} " in text, "a figure that doesn't show its unit is called by it"
    (line,) = [line for line in text.splitlines() if line.startswith("bid-ask spread")]
    assert line.split()[3] == f"{1e4 * view['spread'].now:.2f}"
    market_of_a_venue = replace(market.info, simulated=False)
    assert "SIMULATED" not in str(replace(view, market=with_info(market, market_of_a_venue)))


@pytest.mark.parametrize("factor", [0.96, 0.2, 3.0, 1e7])
def test_columns_stay_apart_however_large_a_rate_is(tmp_path: Path, factor: float) -> None:
    tables = only(ether(), SPOT, PERP, NEAR)
    last = pd.DatetimeIndex(tables.bars[NEAR].index) > NEAR_EXPIRY - 30 * HOUR
    prices = ["open", "high", "low", "close"]
    tables.bars[NEAR].loc[last, prices] = factor * tables.bars[NEAR].loc[last, prices].to_numpy()
    text = str(overview(load(tmp_path, tables), NEAR_EXPIRY - 25 * HOUR))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert not re.search(r"%\S", text), "no figure touches the next one"
    curve = lines[[line.startswith("Curve") for line in lines].index(True) + 2]
    assert len(curve.split()) == 8
    if factor == 0.96:
        assert curve.split()[:4] == [NEAR, "1.0", "-4.00%", "-1,401%"]


def test_a_note_of_one_long_word_is_broken(view: Overview) -> None:
    text = str(replace(view, notes=("x" * 200,)))
    assert max(map(len, text.splitlines())) == 80


def test_no_roll_days_are_no_fade(market: Market, view: Overview) -> None:
    assert "basket     weighting equal, each contract fades in and out over 7 days\n" in str(view)
    assert "basket     weighting equal, no fade\n" in str(overview(market, CUT, roll_days=0.0))


def with_info(market: Market, info: Any) -> Market:
    """The market with other facts about its dataset."""
    other = object.__new__(Market)
    other.__dict__.update({**market.__dict__, "info": info})
    return other


def test_the_json_is_the_overview_with_null_for_what_is_not_known(tmp_path: Path, view: Overview) -> None:
    view.to_json(tmp_path / "premium.json")
    document = json.loads((tmp_path / "premium.json").read_text(encoding="utf-8"))
    assert document == view.to_dict()
    assert document["dataset"] == {"name": "test", "hash": view.market.info.hash, "simulated": True}
    assert (document["time"], document["spot"], document["perpetual"]) == ("2024-03-09T00:00:00Z", SPOT, PERP)
    assert [row["contract"] for row in document["contracts"]] == [THIRD, FOURTH]
    found = document["readings"]["regime"]
    assert (found["now"], found["word"], found["unit"]) == (view["regime"].now, view["regime"].word, "state")
    assert found["percentile"] is None
    assert [document["readings"]["slope"][f"{days}d_ago"] for days in BEFORE] == list(view["slope"].before)
    little = overview(load(tmp_path, ether())).to_dict()
    assert little["readings"]["zscore"]["now"] is None
    assert little["contracts"][0]["open_interest"] is None
    json.dumps(little, allow_nan=False)


def test_a_reading_is_shown_while_it_is_known_or_lately_was() -> None:
    assert Reading("x", "x", Unit.RATE, 0.0).shown
    assert Reading("x", "x", Unit.RATE, np.nan, (np.nan, np.nan, 1.0)).shown
    assert not Reading("x", "x", Unit.RATE, np.nan).shown


def test_a_reading_is_known_or_not() -> None:
    assert Reading("x", "x", Unit.RATE, 0.0).known
    assert not Reading("x", "x", Unit.RATE, np.nan).known


def test_amounts_are_written_short(tmp_path: Path) -> None:
    tables = only(ether(), SPOT, PERP)
    for value, written in ((1.234e9, "1.23G"), (45_600.0, "45.6k"), (789.4, "789"), (7.5, "7.50"), (2.0, "2")):
        tables.bars[PERP]["open_interest"] = value
        line = next(line for line in str(overview(load(tmp_path, tables))).splitlines() if line.startswith("open interest"))
        assert line.split()[:4] == ["open", "interest,", "ETH", written]
