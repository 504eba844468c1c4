"""Views of a market: some of its instruments on the same clock, and what was known of it at an instant."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import BARS, FAR, HOUR, LAST, NEAR, NEAR_EXPIRY, PERP, SPOT, START, ether, funding, load, series, times, write
from rich_market import BEGIN, FUTURES, STEP, rich
from test_causality import QUESTIONS

import backtest as bt
from backtest.data.known import Known
from backtest.data.store import open_dataset
from backtest.errors import DataError, ParameterError
from backtest.load import load_market
from backtest.market import Market

# at midnights, between bars, at an expiry and a moment after it, before and after the listing of a contract
CUTS = [
    BEGIN + 5 * STEP,
    BEGIN + 302 * STEP,
    BEGIN + 701 * STEP + pd.Timedelta("2h"),
    pd.Timestamp("2023-06-30T08:00Z"),
    pd.Timestamp("2023-06-30T08:01Z"),
    BEGIN + 600 * STEP,
    BEGIN + 1400 * STEP,
]
ANNOUNCED = pd.Timestamp("2023-03-28T17:00Z")  # the first event


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("views"), rich())


@pytest.fixture(scope="module")
def whole(path: str) -> Market:
    return load_market(path)


def answers(market: Market) -> dict[str, Any]:
    """Every signal as it is asked, or why there is none."""
    out: dict[str, Any] = {}
    for name, ask in QUESTIONS.items():
        try:
            out[name] = ask(market)
        except DataError as error:
            out[name] = str(error)
    return out


# ---------------------------------------------------------------- until


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: f"{cut:%y-%m-%dT%H:%M}")
def test_a_market_until_an_instant_is_the_one_loaded_up_to_it(whole: Market, path: str, cut: pd.Timestamp) -> None:
    """All that a signal may ask is the same to the last bit."""
    then, read = whole.until(cut), load_market(path, end=cut)
    assert then.clock.equals(read.clock)
    assert then.instruments == read.instruments
    assert (then.start, then.step, then.staleness) == (whole.start, whole.step, whole.staleness)
    np.testing.assert_array_equal(then.years, read.years)
    np.testing.assert_array_equal(then.opens, read.opens)
    for name in read.instruments:
        for column in ("open", "high", "low", "close", "bid", "ask", "volume", "taker_buy_volume", "open_interest", "depth_50bps"):
            np.testing.assert_array_equal(then.raw(name, column), read.raw(name, column), strict=True)
        np.testing.assert_array_equal(*([np.nan_to_num(market.settlement(name)[0]), market.settlement(name)[1]] for market in (then, read)))
        assert then.life(name) == read.life(name)
    for mine, theirs in zip(vars(then.funding(PERP)).values(), vars(read.funding(PERP)).values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for name in whole.series_names:
        np.testing.assert_array_equal(then.series(name), read.series(name))
        np.testing.assert_array_equal(then.series(name, before=True), read.series(name, before=True))
    expected, found = answers(read), answers(then)
    assert len(expected) > 40
    for name, values in expected.items():
        if isinstance(values, str):
            assert found[name] == values, name
        elif name == "near_event" and cut < ANNOUNCED:
            assert found[name].startswith('no event of kind "upgrade"'), "loaded bars end there, and the dataset's events don't"
        else:
            np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_what_was_published_later_is_hidden(whole: Market) -> None:
    """Through every door: the series, its history, the dataset behind it, and events that nobody had announced."""
    cut = pd.Timestamp("2023-07-10T20:59Z")
    then = whole.until(cut)
    known, values = then.history("equity_index")
    assert known[-1] == pd.Timestamp("2023-07-09T21:00Z").value, "that of the 10th is published at 21:00"
    count = len(known)
    np.testing.assert_array_equal(values, whole.history("equity_index")[1][:count])
    assert then._dataset.series("equity_index")["known_at"].max() <= cut
    assert list(then.events["name"]) == ["Shapella"]
    assert list(whole.until("2023-08-01").events["name"]) == ["Shapella", "a hard day"], "its announcement was late"
    assert list(whole.until("2024-02-27T15:00").events["name"]) == ["Shapella", "a hard day", "Dencun"]
    assert list(whole.until("2023-03-01").events["name"]) == []
    assert len(whole.events) == 3, "the market itself stays as it is"
    assert whole.history("equity_index")[0][-1] > cut.value


def test_a_series_of_which_nothing_is_known_yet_is_unknown(tmp_path: Path) -> None:
    tables = ether()
    tables.series["equity_index"] = series(times(START, 8, "D"), 4000.0 + np.arange(8), "3D")
    then = load(tmp_path, tables).until(START + 3 * pd.Timedelta("1D") - HOUR)
    assert np.isnan(then.series("equity_index")).all()
    assert np.isnan(then.series("equity_index", before=True)).all()
    assert np.isnan(bt.macro_trend(then, "equity_index")).all()
    assert "equity_index" in then.series_names
    assert then.until(START + 2 * HOUR)._dataset.series("equity_index").empty


def test_a_contract_keeps_its_expiry_and_not_its_delivery_price(tmp_path: Path) -> None:
    tables = ether()
    tables.settlements["ts"] = NEAR_EXPIRY + pd.Timedelta("5min")  # the row is stamped when the venue tells
    market = load(tmp_path, tables)
    price, source = market.settlement(NEAR)
    assert source == "the dataset's settlements"
    before, at = market.until(NEAR_EXPIRY - pd.Timedelta("1s")), market.until(NEAR_EXPIRY)
    assert before.instruments[NEAR].expires_at == NEAR_EXPIRY
    assert np.isnan(before.settlement(NEAR)[0])
    assert before._dataset.settlements().empty
    assert at.settlement(NEAR) == (price, source)
    with_stranger = Known(open_dataset(tmp_path / "dataset"), NEAR_EXPIRY - HOUR)
    assert with_stranger.settlements().empty


def test_bars_and_columns_end(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[SPOT]["volume"] = np.arange(BARS, dtype=float)
    market = load(tmp_path, tables)
    cut = START + 20 * HOUR + pd.Timedelta("30min")
    then = market.until(cut)
    assert (len(then), then.clock[-1]) == (20, START + 20 * HOUR)
    assert len(then.bars(SPOT)) == 20
    np.testing.assert_array_equal(then.raw(SPOT, "volume"), np.arange(20.0))
    assert len(then._dataset.bars(SPOT)) == len(then._dataset.column(SPOT, "volume")) == 20
    assert len(then._dataset.bars(SPOT, None, START + 3 * HOUR, ["volume"])) == 3
    assert (then.funding(PERP).times <= cut.value).all()
    assert then._dataset.funding(PERP).index.max() == START + 16 * HOUR
    assert not then.stamps.flags.writeable
    assert then.notes == [*market.notes, "The market is as it was known at 2024-03-01T20:30Z."]
    assert "of 20 bars" not in repr(market)
    earlier = then.until(START + 3 * HOUR)
    assert len(earlier) == 3
    assert len(then.until(LAST)) == 20, "what is gone doesn't come back"
    assert market.until(LAST).clock.equals(market.clock)


def test_instruments_that_nobody_can_trade_yet_are_gone(whole: Market) -> None:
    later = "ETHUSDT-240628"
    listed = whole.clock[FUTURES[later][0]]
    assert later not in whole.until(listed - STEP).instruments
    assert later in whole.until(listed).instruments
    with pytest.raises(DataError, match=f"^{later} has no bars between .*; choose another period or name it$"):
        whole.until(listed - STEP).leg(later)


def test_altered_bars_and_rates_stay_altered(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    rates = market.funding(PERP).rates * 3.0
    altered = market.altered({SPOT: market.bars(SPOT) * 2.0}, {PERP: rates})
    then = altered.until(START + 30 * HOUR)
    np.testing.assert_array_equal(then.close(SPOT), 2.0 * market.close(SPOT)[:30])
    np.testing.assert_array_equal(then.funding(PERP).rates, rates[: len(then.funding(PERP).rates)])
    assert len(then.funding(PERP).rates) == 4
    only = altered.only(SPOT, PERP)
    np.testing.assert_array_equal(only.funding(PERP).rates, rates)
    assert altered.only(SPOT)._rates == {}


def test_a_converted_market_ends_converted(tmp_path: Path) -> None:
    tables = ether()
    index = times(START - pd.Timedelta("1D"), 12, "D")
    tables.series["USDTUSD"] = series(index, 1.0 + 0.001 * np.arange(12))
    tables.funding[PERP] = funding(times(START, BARS // 8 + 1, "8h"), 1e-4, marks=2000.0)
    place, cut = write(tmp_path, tables), START + 55 * HOUR
    then, read = load_market(place, currency="USD").until(cut), load_market(place, end=cut, currency="USD")
    np.testing.assert_array_equal(then.close(SPOT), read.close(SPOT))
    np.testing.assert_array_equal(then.funding(PERP).marks, read.funding(PERP).marks)
    np.testing.assert_array_equal(then.raw(SPOT, "volume"), read.raw(SPOT, "volume"))


def test_coarser_bars_end(tmp_path: Path) -> None:
    place, cut = write(tmp_path, ether()), START + pd.Timedelta("4D")
    then, read = load_market(place, freq="4h").until(cut), load_market(place, end=cut, freq="4h")
    assert then.clock.equals(read.clock)
    np.testing.assert_array_equal(then.close(FAR), read.close(FAR))


def test_a_run_until_an_instant_is_the_run_up_to_it(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    rule = {"size": 0.4, "max_hold": "30h"}
    cut = START + 120 * HOUR
    long = bt.run(bt.Rule(long=market.spot, short=market.perpetual, **rule), market)  # type: ignore[arg-type]
    then = market.until(cut)
    short = bt.run(bt.Rule(long=then.spot, short=then.perpetual, **rule), then)  # type: ignore[arg-type]
    np.testing.assert_array_equal(long.equity[:120], short.equity)
    assert len(short.fills) > 5


@pytest.mark.parametrize("stamp", ["2024-03-01T00:59Z", "2020-01-01", None])
def test_an_instant_before_the_first_bar_is_refused(tmp_path: Path, stamp: Any) -> None:
    market = load(tmp_path, ether())
    told = r"^until must not lie before the market's first bar: until=\S+; the first ends at 2024-03-01T01:00Z$"
    with pytest.raises(ParameterError, match=told):
        market.until(stamp)


def test_an_instant_is_a_time(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r'^until must be a time like "2024-01-31" or "2024-01-31T08:00": until=.soon.$'):
        load(tmp_path, ether()).until("soon")


# ---------------------------------------------------------------- only


def test_some_instruments_on_the_same_clock(tmp_path: Path) -> None:
    tables = ether()
    tables.bars[SPOT] = tables.bars[SPOT].drop(index=tables.bars[SPOT].index[[5, 6]])
    market = load(tmp_path, tables)
    some = market.only("*-PERP", NEAR)
    assert list(some.instruments) == [NEAR, PERP]
    assert some.clock.equals(market.clock)
    assert (some.start, some.step, some.info) == (market.start, market.step, market.info)
    np.testing.assert_array_equal(some.close(NEAR), market.close(NEAR))
    assert some.perpetual.contracts == (PERP,)
    assert some.future_chain().contracts == (NEAR,)
    with pytest.raises(DataError, match=r"^the rule needs one spot"):
        _ = some.spot
    with pytest.raises(DataError, match=f"^{SPOT} has no bars between .*, or instruments=… left it out"):
        some.leg(SPOT)
    assert any(note.startswith(f"{SPOT}: 1 gaps") for note in market.notes)
    assert not any(note.startswith(SPOT) for note in some.notes)
    assert list(market.instruments) == [NEAR, FAR, PERP, SPOT], "the market itself stays as it is"


def test_what_was_computed_is_shared_by_the_same_instruments_only(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    assert market.only(SPOT, PERP) is market.only("*-SPOT", "*-PERP"), "one question"
    assert market.only(SPOT) is not market.only(PERP)
    market.leg(SPOT), market.only(FAR, SPOT).future_chain()
    assert bt.premium(market).shape[0] == 2
    assert bt.premium(market.only(FAR, SPOT)).shape[0] == 1
    assert market.altered().only(SPOT) is not market.only(SPOT)


def test_views_go_together(tmp_path: Path) -> None:
    market = load(tmp_path, ether())
    cut = START + 50 * HOUR
    one, other = market.only(SPOT, FAR).until(cut), market.until(cut).only(SPOT, FAR)
    assert list(one.instruments) == list(other.instruments) == [FAR, SPOT]
    np.testing.assert_array_equal(bt.premium(one), bt.premium(other))


@pytest.mark.parametrize(
    ("patterns", "error", "told"),
    [
        (("BTC*",), DataError, 'unknown instrument "BTC*" in dataset test; known: ETHUSDT-240306, ETHUSDT-240329, ETHUSDT-PERP, ETHUSDT-SPOT'),
        ((SPOT, "ETHUSDT-PREP"), DataError, 'unknown instrument "ETHUSDT-PREP" in dataset test; did you mean "ETHUSDT-PERP"?'),
        ((), ParameterError, 'only needs instruments, as market.only("BTC*", "ETHUSDT-SPOT"): it got none; use the market itself for all'),
        (([SPOT, PERP],), ParameterError, "only takes ids or patterns as texts: it got ['ETHUSDT-SPOT', 'ETHUSDT-PERP']; give them one by one, as market.only(*names)"),
    ],
)  # fmt: skip
def test_names_that_are_none_are_refused(tmp_path: Path, patterns: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(told)}$"):
        load(tmp_path, ether()).only(*patterns)
