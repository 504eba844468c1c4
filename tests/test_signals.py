"""Net carry and funding against loops written from their formulas."""

from dataclasses import replace
from math import isnan, nan
from pathlib import Path
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

from backtest import signals
from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.instruments import Kind
from backtest.load import load_market
from backtest.market import Market
from backtest.signals import annualized_funding, financing_rate, net_carry, round_trip_cost, stay_carry
from backtest.signals.funding import current_funding, futures_vs_perpetual

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


def naive_financing(tables: Tables, time: pd.Timestamp) -> float:
    """What is known of the borrow rate, before that of the risk-free one, before that 0."""
    for name in ("borrow_usd", "risk_free"):
        if name in tables.series and (tables.series[name]["known_at"] <= time).any():
            return naive_rate(tables, name, time)
    return 0.0


def naive_stay(tables: Tables, name: str, time: pd.Timestamp) -> float:
    frame, days = tables.bars[name], (EXPIRY[name] - time) / DAYS
    if time not in frame.index or days < 1:
        return nan
    future, spot = frame["close"].loc[time], tables.bars[SPOT]["close"].loc[time]
    return float((future - spot) / spot * 365 / days - naive_financing(tables, time))


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
    expected = [naive_financing(tables, time) for time in market.clock]
    np.testing.assert_array_equal(financing_rate(market), expected)
    assert (expected[0], expected[29]) == (0.0, 0.06), "known 30 hours after its day begins, 0 before"
    assert expected[24] == 0.04, "until then the risk-free rate, known after a day"
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


# ---------------------------------------------------------------- current funding


def naive_current(events: pd.DataFrame, time: pd.Timestamp) -> float:
    """The newest payment a year: its rate, times intervals a day, times 365; NaN before any, and once the next is overdue by its interval."""
    paid = [row for row in events.itertuples() if row.Index <= time]  # type: ignore[operator]
    if not paid:
        return nan
    newest = max(paid, key=lambda row: row.Index)  # type: ignore[arg-type,return-value]
    if time >= newest.Index + pd.Timedelta(hours=float(newest.interval_hours)):  # type: ignore[operator,arg-type]
        return nan
    return float(newest.rate) * 24 / float(newest.interval_hours) * 365  # type: ignore[arg-type]


def changing(*lengths: float) -> pd.DataFrame:
    """Payments from the market's start on, each after an interval of its own length in hours."""
    instants = START + pd.to_timedelta(np.cumsum(lengths), unit="h")
    rates = 1e-4 * (1.0 + np.arange(len(lengths)))
    return funding(pd.DatetimeIndex(instants, name="ts").as_unit("ns"), rates, hours=np.array(lengths))


def test_current_funding_is_the_newest_payment_a_year(market: Market) -> None:
    events = ether().funding[PERP]
    found = current_funding(market)
    np.testing.assert_allclose(found, [[naive_current(events, time) for time in market.clock]], rtol=1e-13)
    assert found.shape == (1, len(market))
    assert not np.isnan(found).any()
    assert current_funding(market, market.perpetual) is found


def test_each_payment_counts_by_its_own_interval(tmp_path: Path) -> None:
    """8 h, then 4 h, then 1 h: 3, 4, 5 bps pay 3·3, 4·6, 5·24 bps a day."""
    tables = ether()
    tables.funding[PERP] = changing(8, 8, 8, 4, *[1] * 172)
    market = load(tmp_path, tables)
    found = current_funding(market)[0]
    np.testing.assert_allclose(found, [naive_current(tables.funding[PERP], time) for time in market.clock], rtol=1e-13)
    at = dict(zip(market.clock, found / 365 * 1e4, strict=True))
    for hours, rate in ((24, 3 * 3), (27, 3 * 3), (28, 4 * 6), (29, 5 * 24), (30, 6 * 24)):
        assert at[START + hours * HOUR] == pytest.approx(rate), f"after {hours} hours"
    assert np.isnan(found).sum() == 7, "only before the first payment, 8 hours after the start"


def test_where_the_interval_grows_it_is_unknown_until_the_first_longer_one(tmp_path: Path) -> None:
    """1 h, then 4 h: that the payment of an hour later will not come is not known then."""
    tables = ether()
    tables.funding[PERP] = changing(*[1] * 20, *[4] * 45)
    market = load(tmp_path, tables)
    found = current_funding(market)[0]
    np.testing.assert_allclose(found, [naive_current(tables.funding[PERP], time) for time in market.clock], rtol=1e-13)
    assert list(market.clock[np.isnan(found)]) == [START + hours * HOUR for hours in (21, 22, 23)]


def test_what_is_known_while_an_interval_grows_is_the_same_in_hindsight(tmp_path: Path) -> None:
    """Read up to each hour around a change from 1 h to 4 h, both fundings are those of the whole market."""
    tables = ether()
    tables.funding[PERP] = changing(*[1] * 20, *[4] * 45)
    path = write(tmp_path, tables)
    whole = load_market(path)
    for hours in range(18, 28):
        then = load_market(path, None, START + hours * HOUR)
        np.testing.assert_array_equal(current_funding(then)[0], current_funding(whole)[0, :hours])
        np.testing.assert_array_equal(annualized_funding(then, window="6h")[0], annualized_funding(whole, window="6h")[0, :hours])
    assert np.isnan(annualized_funding(whole, window="6h")[0, 5:28]).sum() == 3


def test_a_missing_payment_ends_the_rate_before_it(tmp_path: Path) -> None:
    tables = ether()
    gone = tables.funding[PERP].index[[9, 15, 16, 17]]
    tables.funding[PERP] = tables.funding[PERP].drop(gone)
    market = load(tmp_path, tables)
    found = current_funding(market)[0]
    np.testing.assert_allclose(found, [naive_current(tables.funding[PERP], time) for time in market.clock], rtol=1e-13)
    blind = [time + hours * HOUR for time in gone for hours in range(8)]
    assert list(market.clock[np.isnan(found)]) == blind


def test_funding_ends_with_its_payments(tmp_path: Path) -> None:
    """The perpetual's own data end in the middle: nothing is carried on from there, and nothing counts as no payment."""
    tables = ether()
    last = START + 80 * HOUR
    tables.bars[PERP] = tables.bars[PERP][tables.bars[PERP].index <= last]
    tables.funding[PERP] = tables.funding[PERP][tables.funding[PERP].index <= last]
    market = load(tmp_path, tables)
    for found in (current_funding(market)[0], annualized_funding(market, window="1D")[0]):
        assert not np.isnan(found[30 : 80 + 7]).any()
        assert np.isnan(found[80 + 7 :]).all()


def test_it_is_unknown_before_the_first_payment_and_known_before_the_run(tmp_path: Path) -> None:
    tables = ether()
    tables.funding[PERP] = tables.funding[PERP].iloc[3:]
    path = write(tmp_path, tables)
    whole, late = load_market(path), load_market(path, "2024-03-04T03:00")
    assert np.isnan(current_funding(whole)[0, :23]).all()
    assert not np.isnan(current_funding(whole)[0, 23:]).any()
    np.testing.assert_array_equal(current_funding(late)[0], current_funding(whole)[0, -len(late) :])


def test_current_funding_refusals(tmp_path: Path) -> None:
    tables = ether()
    market = load(tmp_path, tables)
    with pytest.raises(ParameterError, match=r"^only a perpetual has funding: ETHUSDT-240329$"):
        current_funding(market, market.leg(FAR))
    del tables.funding[PERP]
    with pytest.raises(DataError, match=r"^ETHUSDT-PERP: the dataset test has no funding; import it$"):
        current_funding(load(tmp_path, tables))


# ---------------------------------------------------------------- futures against the perpetual


def test_futures_against_the_perpetual_is_premium_less_funding(market: Market) -> None:
    tables, chain = ether(), market.future_chain()
    events = tables.funding[PERP]
    for window in ("1D", "3D"):
        paid = [naive_funding(events, [], pd.Timedelta(window), time) for time in market.clock]
        # the annualized premium is the carry to stay and the money that it has paid for
        dated = [[naive_stay(tables, name, time) + naive_financing(tables, time) for time in market.clock] for name in chain.contracts]
        found = futures_vs_perpetual(market, chain, window=window)
        np.testing.assert_allclose(found, np.array(dated) - paid, rtol=1e-9, atol=1e-13)
    assert futures_vs_perpetual(market) is futures_vs_perpetual(market, chain, market.perpetual, market.spot, window="168h")


def test_the_richer_future_is_above_zero(tmp_path: Path) -> None:
    """A future at an annualized 36.5 % against funding of 1 bp in 8 h, 10.95 %: 25.55 % to be earned by selling the future."""
    tables = only(ether(), SPOT, PERP, FAR)
    days = (FAR_EXPIRY - pd.DatetimeIndex(tables.bars[FAR].index)) / DAYS
    tables.bars[FAR] = bars(tables.bars[SPOT]["close"] * (1.0 + 0.001 * days), pd.DatetimeIndex(tables.bars[FAR].index))
    tables.funding[PERP]["rate"] = 1e-4
    found = futures_vs_perpetual(load(tmp_path, tables), window="1D")[0]
    np.testing.assert_allclose(found[15:], 0.365 - 0.1095, rtol=1e-9)
    assert np.isnan(found[:15]).all()


def test_futures_against_the_perpetual_refusals(market: Market) -> None:
    with pytest.raises(ParameterError, match=r"^an annualized premium needs a dated contract: ETHUSDT-PERP"):
        futures_vs_perpetual(market, market.perpetual)
    with pytest.raises(ParameterError, match=r"^only a perpetual has funding: ETHUSDT-240329$"):
        futures_vs_perpetual(market, market.leg(FAR), market.leg(FAR))


# ---------------------------------------------------------------- shared


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
