"""Signals against loops written from their formulas; shared, read-only; and, listed from the modules, blind to the future every one."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from math import isnan, nan
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import (
    FAR,
    FAR_EXPIRY,
    HOUR,
    NEAR,
    NEAR_EXPIRY,
    PERP,
    SPOT,
    START,
    bars,
    ether,
    funding,
    instrument,
    load,
    only,
    series,
    times,
    write,
)

from backtest import curve, signals
from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.instruments import Kind
from backtest.load import load_market
from backtest.market import Market
from backtest.signals import annualized_funding, financing_rate, net_carry, round_trip_cost, stay_carry

EXPIRY = {NEAR: NEAR_EXPIRY, FAR: FAR_EXPIRY}
DAYS = pd.Timedelta(days=1)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("signals"), ether())


# ---------------------------------------------------------------- net carry


def naive_rate(tables: Tables, name: str, time: pd.Timestamp) -> float:
    """The newest value of a series known at a time, 0 before any is."""
    known = [row for row in tables.series[name].itertuples() if row.known_at <= time]
    return float(max(known, key=lambda row: (row.known_at, row.ts)).value) if known else 0.0


def naive_stay(tables: Tables, name: str, time: pd.Timestamp) -> float:
    frame, days = tables.bars[name], (EXPIRY[name] - time) / DAYS
    if time not in frame.index or days < 1:
        return nan
    future, spot = frame["close"].loc[time], tables.bars[SPOT]["close"].loc[time]
    return float((future - spot) / spot * 365 / days - naive_rate(tables, "borrow_usd", time))


def test_carry_to_stay_is_the_annualized_premium_less_what_money_costs(market: Market) -> None:
    tables, chain = ether(), market.future_chain()
    expected = [[naive_stay(tables, name, time) for time in market.clock] for name in chain.contracts]
    np.testing.assert_allclose(stay_carry(market, chain), expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("cost", [None, 0.0, 0.004])
def test_carry_to_enter_spreads_the_round_trip_over_the_days_left(market: Market, cost: float | None) -> None:
    # by the venue's rules: two spot fees of 10 bps, one future's and one delivery fee of 5 bps, three half-spreads of 1 bp
    spent = 2 * 0.0010 + 0.0005 + 0.0005 + 3 * 0.0001 if cost is None else cost
    tables, chain = ether(), market.future_chain()
    expected = [
        [naive_stay(tables, name, time) - spent * 365 / ((EXPIRY[name] - time) / DAYS) if time < EXPIRY[name] else nan for time in market.clock]
        for name in chain.contracts
    ]  # fmt: skip
    np.testing.assert_allclose(net_carry(market, chain, cost=cost), expected, rtol=1e-11, atol=1e-14)
    assert round_trip_cost(market, chain) == pytest.approx(0.0033)


def test_the_cost_is_by_the_rules_of_the_first_bar(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fees that rise later are not known at the beginning, and one number for all bars must not know them."""
    now = signals.carry.rules_of
    raised = market.clock[0] + HOUR

    def dated(item: Any, time: pd.Timestamp) -> Any:
        return now(item, time) if time < raised else replace(now(item, time), spot_fee=0.5, derivative_fee=0.5)

    monkeypatch.setattr(signals.carry, "rules_of", dated)
    assert round_trip_cost(market, market.future_chain()) == pytest.approx(0.0033)


def test_carry_is_unknown_below_a_day_and_where_a_close_is_missing(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[SPOT] = tables.bars[SPOT].drop(tables.bars[SPOT].index[30])
    market = load(tmp_path, tables)
    for table in (stay_carry(market, market.future_chain()), net_carry(market, market.future_chain())):
        assert np.isnan(table[:, 30]).all()
        last_day = int(market.clock.get_loc(NEAR_EXPIRY - pd.Timedelta(days=1)))
        assert not isnan(table[0, last_day])
        assert np.isnan(table[0, last_day + 1 :]).all()


def test_money_costs_the_borrow_rate_else_the_risk_free_one_else_nothing(tmp_path: Path) -> None:
    tables = ether()
    market = load(tmp_path, tables)
    expected = [naive_rate(tables, "borrow_usd", time) for time in market.clock]
    np.testing.assert_array_equal(financing_rate(market), expected)
    assert (expected[0], expected[28], expected[29]) == (0.0, 0.0, 0.06), "known 30 hours after its day begins, 0 before"
    del tables.series["borrow_usd"]
    market = load(tmp_path, tables)
    np.testing.assert_array_equal(financing_rate(market), [naive_rate(tables, "risk_free", time) for time in market.clock])
    tables.series = {}
    market = load(tmp_path, tables)
    np.testing.assert_array_equal(financing_rate(market), np.zeros(len(market)))
    assert financing_rate(market) is financing_rate(market)


def test_a_spot_can_be_named_where_there_are_several(tmp_path: Path) -> None:
    tables = ether()
    tables.instruments.append(instrument("ETHUSDC-SPOT", Kind.SPOT, quote="USDC"))
    tables.bars["ETHUSDC-SPOT"] = bars(tables.bars[SPOT]["close"] * 1.01, pd.DatetimeIndex(tables.bars[SPOT].index))
    market = load(tmp_path, tables)
    with pytest.raises(DataError, match="the rule needs one spot"):
        net_carry(market, market.future_chain())
    dearer, plain = (stay_carry(market, market.leg(FAR), market.leg(name)) for name in ("ETHUSDC-SPOT", SPOT))
    assert (dearer < plain).all()
    assert (net_carry(market, market.leg(FAR), market.leg(SPOT)) < plain).all()


def test_a_perpetual_has_no_net_carry(market: Market) -> None:
    with pytest.raises(
        ParameterError, match=r"^an annualized premium needs a dated contract: ETHUSDT-PERP; for a perpetual use annualized_funding$"
    ):
        net_carry(market, market.perpetual)


# ---------------------------------------------------------------- annualized funding


def naive_funding(events: pd.DataFrame, absent: list[pd.Timestamp], window: pd.Timedelta, time: pd.Timestamp) -> float:
    """Sum of the rates with T − window < τ ≤ T, a year's worth; NaN before the data reach that far, or if an event in it is absent."""
    begin = time - window
    if begin < events.index[0] - pd.Timedelta(hours=float(events["interval_hours"].iloc[0])):
        return nan
    if any(begin < gone <= time for gone in absent):
        return nan
    paid = sum(float(row.rate) for row in events.itertuples() if begin < row.Index <= time)  # type: ignore[operator]
    return paid * 365 / (window / DAYS)


@pytest.mark.parametrize("window", ["8h", "1D", "36h", "3D", "5D 4h"])
def test_annualized_funding_sums_the_window(market: Market, window: str) -> None:
    events = ether().funding[PERP]
    expected = [[naive_funding(events, [], pd.Timedelta(window), time) for time in market.clock]]
    found = annualized_funding(market, window=window)
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    assert found.shape == (1, len(market))


def test_the_window_takes_its_end_and_leaves_its_beginning(tmp_path: Path) -> None:
    """Events of 1, 2, 4, 8 … bps every 8 hours: each sum says which events it holds."""
    tables = only(ether(), SPOT, PERP)
    tables.funding[PERP] = funding(times(START, 26, "8h"), 1e-12 * 2.0 ** np.arange(26))
    market = load(tmp_path, tables)
    found = annualized_funding(market, window="1D")[0] / 365 * 1e12
    at = {time: float(value) for time, value in zip(market.clock, found, strict=True)}
    day = pd.Timestamp("2024-03-03T00:00Z")  # event number 6; numbers 3, 4, 5 are those of the day before
    assert at[day - HOUR] == pytest.approx(2**3 + 2**4 + 2**5)
    assert at[day] == pytest.approx(2**4 + 2**5 + 2**6), "the event of this instant is in, the one a window ago is out"
    assert at[day + HOUR] == pytest.approx(2**4 + 2**5 + 2**6)
    assert at[day + 8 * HOUR] == pytest.approx(2**5 + 2**6 + 2**7)


def test_it_is_unknown_until_the_window_lies_in_the_data(tmp_path: Path) -> None:
    """The first event pays for the eight hours before it: a day's window is whole from 16:00 of the first day on."""
    market = load(tmp_path, ether())
    found = annualized_funding(market, window="1D")[0]
    known = market.clock[~np.isnan(found)]
    assert known[0] == START + pd.Timedelta(hours=16)
    assert len(known) == len(market) - 15
    assert np.isnan(annualized_funding(market, window="30D")).all()


def test_it_is_unknown_while_a_missing_event_lies_in_the_window(tmp_path: Path) -> None:
    tables = ether()
    gone = tables.funding[PERP].index[9]
    tables.funding[PERP] = tables.funding[PERP].drop(gone)
    market = load(tmp_path, tables)
    found = annualized_funding(market, window="1D")[0]
    expected = [naive_funding(tables.funding[PERP], [gone], DAYS, time) for time in market.clock]
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    blind = market.clock[np.isnan(found) & (market.clock > START + DAYS)]
    assert (blind[0], blind[-1], len(blind)) == (gone, gone + pd.Timedelta(hours=23), 24)


def test_it_reaches_back_before_the_run(tmp_path: Path) -> None:
    """A later start doesn't make the past unknown: the numbers are those of the whole market."""
    path = write(tmp_path, ether())
    whole, late = load_market(path), load_market(path, "2024-03-05")
    np.testing.assert_allclose(
        annualized_funding(late, window="3D")[0], annualized_funding(whole, window="3D")[0][-len(late) :], rtol=1e-12
    )
    assert not np.isnan(annualized_funding(late, window="3D")).any()


def test_an_event_missing_before_the_run_is_missing_all_the_same(tmp_path: Path) -> None:
    tables = ether()
    tables.funding[PERP] = tables.funding[PERP].drop(tables.funding[PERP].index[9])  # 03-04T00:00
    path = write(tmp_path, tables)
    whole, late = load_market(path), load_market(path, "2024-03-04T12:00")
    np.testing.assert_allclose(annualized_funding(late, window="1D")[0], annualized_funding(whole, window="1D")[0][-len(late) :])


def test_an_unknown_interval_counts_as_eight_hours(tmp_path: Path) -> None:
    tables = ether()
    tables.funding[PERP]["interval_hours"] = np.nan
    market = load(tmp_path, tables)
    assert market.clock[~np.isnan(annualized_funding(market, window="1D")[0])][0] == START + pd.Timedelta(hours=16)


def test_funding_refusals(tmp_path: Path) -> None:
    tables = ether()
    market = load(tmp_path, tables)
    with pytest.raises(ParameterError, match=r"^only a perpetual has funding: ETHUSDT-SPOT$"):
        annualized_funding(market, market.spot)
    with pytest.raises(ParameterError, match=r"^window must be longer than zero: window='0h'"):
        annualized_funding(market, window="0h")
    with pytest.raises(ParameterError, match=r"^window must be a duration like"):
        annualized_funding(market, window="a week")
    del tables.funding[PERP]
    with pytest.raises(DataError, match=r"^ETHUSDT-PERP: the dataset test has no funding; import it$"):
        annualized_funding(load(tmp_path, tables))


# ---------------------------------------------------------------- every public table of the two modules


TABLES: dict[str, Callable[[Market], Any]] = {
    "days_to_expiry": lambda market: curve.days_to_expiry(market, market.future_chain()),
    "closes": lambda market: curve.closes(market, market.future_chain()),
    "premium": lambda market: curve.premium(market, market.future_chain()),
    "annualized_premium": lambda market: curve.annualized_premium(market, market.future_chain()),
    "offered": lambda market: curve.offered(market, market.future_chain(min_days=2)),
    "financing_rate": signals.financing_rate,
    "net_carry": lambda market: signals.net_carry(market, market.future_chain()),
    "stay_carry": lambda market: signals.stay_carry(market, market.future_chain()),
    "annualized_funding": lambda market: signals.annualized_funding(market, window="3D"),
}
NO_TABLES = {"expiries", "spot_leg", "pairs", "round_trip_cost"}  # facts of contracts, not of bars


def public_functions(module: ModuleType) -> set[str]:
    """Functions that a module defines itself and that take a market."""
    return {
        name
        for name, item in inspect.getmembers(module, inspect.isfunction)
        if item.__module__ == module.__name__ and not name.startswith("_") and next(iter(inspect.signature(item).parameters)) == "market"
    }


def test_every_public_signal_is_tried_here() -> None:
    assert public_functions(signals) | public_functions(curve) == set(TABLES) | NO_TABLES


def later_listed() -> Tables:
    """The small market with a third future that is listed in the middle."""
    tables = ether()
    expiry = pd.Timestamp("2024-06-28T08:00Z").as_unit("ns")
    tables.instruments.append(instrument("ETHUSDT-240628", Kind.FUTURE, expiry, lot=0.001))
    tables.bars["ETHUSDT-240628"] = tables.bars[FAR].iloc[100:] * 1.02
    return tables


def changed_after(cut: pd.Timestamp) -> Tables:
    """The same market with another future: every number known after the cut is different."""
    tables = later_listed()
    for name, frame in tables.bars.items():
        frame.loc[frame.index > cut, ["open", "high", "low", "close"]] *= 1.7 if name == SPOT else 1.9
    for frame in tables.funding.values():
        frame.loc[frame.index > cut, "rate"] += 0.001
    for frame in tables.series.values():
        frame.loc[frame["known_at"] > cut, "value"] += 0.3
    return tables


def ended_at(cut: pd.Timestamp) -> Tables:
    """The dataset as it was at the cut: nothing later is in it."""
    tables = later_listed()
    tables.bars = {name: frame[frame.index <= cut] for name, frame in tables.bars.items()}
    tables.bars = {name: frame for name, frame in tables.bars.items() if len(frame)}
    tables.funding = {name: frame[frame.index <= cut] for name, frame in tables.funding.items()}
    tables.series = {name: frame[frame["known_at"] <= cut] for name, frame in tables.series.items()}
    return tables


CUTS = [START + pd.Timedelta(hours=hours) for hours in (30, 48, 127, 150)]


@pytest.fixture(scope="module", params=CUTS, ids=lambda cut: f"{cut:%dT%H}")
def truncated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.Timestamp, Market, list[Market]]:
    """A moment, the whole market, and three that know or hold something else after it: changed, ended there, and read up to there."""
    cut: pd.Timestamp = request.param
    folder = tmp_path_factory.mktemp
    others = [
        load(folder("changed"), changed_after(cut)),
        load(folder("ended"), ended_at(cut)),
        load(folder("read"), later_listed(), None, cut),
    ]
    return cut, load(folder("whole"), later_listed()), others


@pytest.mark.parametrize("name", TABLES)
def test_nothing_after_a_bar_changes_what_was_known_at_it(truncated: tuple[pd.Timestamp, Market, list[Market]], name: str) -> None:
    cut, whole, others = truncated
    expected = np.atleast_2d(TABLES[name](whole))[:, whole.clock <= cut]
    for other in others:
        found = np.atleast_2d(TABLES[name](other))[:, other.clock <= cut]
        # contracts that the truncated data don't know yet have no row there; they stand last, having the latest expiry
        np.testing.assert_array_equal(found, expected[: len(found)])
        assert name == "days_to_expiry" or np.isnan(np.asarray(expected[len(found) :], dtype=float)).all()


@pytest.mark.parametrize("name", [name for name in TABLES if name not in ("days_to_expiry", "offered")])
def test_the_changed_future_is_changed(truncated: tuple[pd.Timestamp, Market, list[Market]], name: str) -> None:
    """The test above would see a peek: at the end every signal differs, but for what depends on the calendar only."""
    _, whole, (changed, *_) = truncated
    mine, theirs = (np.atleast_2d(TABLES[name](market))[:, -3:] for market in (whole, changed))
    known = ~np.isnan(mine)
    assert known.any()
    assert (mine != theirs)[known].all()


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_computed_once(market: Market, name: str) -> None:
    assert TABLES[name](market) is TABLES[name](market)
    assert np.atleast_2d(TABLES[name](market)).shape[1] == len(market)


@pytest.mark.parametrize("name", [name for name in TABLES if name != "offered"])
def test_tables_are_read_only(market: Market, name: str) -> None:
    with pytest.raises(ValueError, match="read-only"):
        TABLES[name](market)[..., 0] = 0.0


def test_another_parameter_is_another_table(market: Market) -> None:
    chain = market.future_chain()
    assert net_carry(market, chain, cost=0.001) is net_carry(market, chain, cost=0.001)
    assert net_carry(market, chain, cost=0.001) is not net_carry(market, chain, cost=0.002)
    assert net_carry(market, chain) is net_carry(market, chain, cost=round_trip_cost(market, chain))
    assert annualized_funding(market, window="1D") is annualized_funding(market, window="24h")
    assert annualized_funding(market, window="1D") is not annualized_funding(market, window="2D")
    assert series(times(START, 1), [1.0], "1D")["known_at"].iloc[0] == START + DAYS


def test_funding_needs_a_window(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r'^window must be a duration like "7D": window=None$'):
        annualized_funding(load(tmp_path, ether()), window=None)  # type: ignore[arg-type]
