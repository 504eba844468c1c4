"""The venue rule-book: dated entries with their sources, the one in force at a time, and an error for the one that is not there."""

from dataclasses import dataclass, replace
from datetime import date
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from markets import ether, instrument, load

import backtest as bt
from backtest.errors import DataError
from backtest.instruments import Kind, Settle
from backtest.market import Market
from backtest.rule import Rule
from backtest.venues import Entry, Tier, Venue, VenueRules, rules_of, venue, venue_names
from backtest.venues.book import SURE, TABLES
from backtest.venues.rules import Charge, Lots

NOW = pd.Timestamp("2025-01-01T00:00Z")
NAMES = ("binance", "bitmex", "bybit", "cme", "coinbase", "deribit", "dydx", "hyperliquid", "kraken", "okx")
ENTRIES = [pytest.param(entry, id=f"{name} {entry.table} {entry.since}") for name in NAMES for entry in venue(name).entries]


def on(day: str, name: str = "binance", **more: Any) -> VenueRules:
    return venue(name).at(pd.Timestamp(day, tz="UTC"), **more)


def book(table: str, *entries: dict[str, Any], venue_name: str = "test") -> Venue:
    return Venue(venue_name, "Test", tuple(Entry(table=table, source="tests", sure="note", **entry) for entry in entries))


# ---------------------------------------------------------------- the books


def test_every_venue_has_a_book() -> None:
    assert venue_names() == NAMES
    assert venue("binance") is venue("binance")


def test_an_unknown_venue_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        DataError, match=r'^no rule-book for venue "binanse": its fees, funding and margin are unknown; did you mean "binance"\?$'
    ):
        venue("binanse")
    with pytest.raises(
        DataError, match=r'^no rule-book for venue "the bank": its fees, funding and margin are unknown; known: binance, bitmex, .*okx$'
    ):
        venue("the bank")


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_is_dated_sourced_and_says_how_sure_it_is(entry: Entry) -> None:
    assert type(entry.since) is date
    assert date(2017, 1, 1) < entry.since < date(2027, 1, 1)
    assert len(entry.source) > 20
    assert entry.sure in SURE
    assert entry.values, "an entry says something"
    assert entry.start <= entry.since


@pytest.mark.parametrize("name", NAMES)
def test_entries_follow_each_other(name: str) -> None:
    """Of one table and scope no two begin on the same day, only the first may be assumed from the beginning, and no later one starts before an earlier."""
    entries = venue(name).entries
    for scope in {(entry.table, entry.scope) for entry in entries}:
        row = sorted((entry for entry in entries if (entry.table, entry.scope) == scope), key=lambda entry: entry.since)
        assert len({entry.since for entry in row}) == len(row), scope
        assert all(entry.start != date.min for entry in row[1:]), scope
        assert all(earlier.since < later.start for earlier, later in pairwise(row)), scope


@pytest.mark.parametrize("name", NAMES)
def test_no_table_of_a_file_is_left_out(name: str) -> None:
    import tomllib

    content = tomllib.loads((files("backtest.venues") / f"{name}.toml").read_text(encoding="utf-8"))
    assert set(content) - {"title"} <= set(TABLES)
    assert sum(len(rows) for key, rows in content.items() if key != "title") == len(venue(name).entries)


# ---------------------------------------------------------------- which entry


def test_the_newest_entry_counts_whatever_their_order() -> None:
    fees = [{"since": date(2024, 1, 1), "values": {"taker": 0.2}}, {"since": date(2020, 1, 1), "values": {"taker": 0.1}}]
    rules = book("fees", *fees)
    found = [rules.at(pd.Timestamp(day, tz="UTC")).spot_fee for day in ("2020-01-01", "2023-12-31T23:59", "2024-01-01", "2026-01-01")]
    assert found == [0.1, 0.1, 0.2, 0.2]


def test_before_the_first_entry_there_is_no_rule() -> None:
    rules = book("fees", {"since": date(2020, 1, 1), "values": {"taker": 0.1}}).at(pd.Timestamp("2019-12-31", tz="UTC"))
    with pytest.raises(
        DataError,
        match=r'^venue "test" has no rule "fees" for spot \(ETH\) on 2019-12-31; give spot_fee or derivative_fee in Execution, or add ',
    ):
        _ = rules.spot_fee
    assert rules.assumptions == ()


def test_unless_it_is_assumed_which_the_rules_say() -> None:
    """From the beginning, or from the day after the other rule was last seen."""
    entries = (
        {"since": date(2021, 6, 30), "assumed_from": date.min, "values": {"taker": 0.1}},
        {"since": date(2024, 1, 1), "assumed_from": date(2021, 7, 1), "values": {"taker": 0.2}},
    )
    rules = {
        day: book("fees", *entries).at(pd.Timestamp(day, tz="UTC")) for day in ("2015-01-01", "2021-06-30", "2021-07-01", "2024-01-01")
    }
    assert [item.spot_fee for item in rules.values()] == [0.1, 0.1, 0.2, 0.2]
    assert [item.assumptions for item in rules.values()] == [
        ("test fees (spot, perpetual, future): the entry of 2021-06-30 is assumed on 2015-01-01, no earlier one is sourced",),
        (),
        ("test fees (spot, perpetual, future): the entry of 2024-01-01 is assumed on 2021-07-01, no earlier one is sourced",),
        (),
    ]


def test_the_narrower_entry_comes_first_however_old() -> None:
    entries = (
        {"since": date(2024, 1, 1), "values": {"cap": 0.1}},
        {"since": date(2020, 1, 1), "bases": ("ETH",), "values": {"cap": 0.2}},
        {"since": date(2020, 1, 1), "bases": ("ETH",), "settle": Settle.INVERSE, "values": {"cap": 0.3}},
    )
    caps = book("funding_cap", *entries)
    found = [caps.at(NOW, base=base, settle=settle).entry("funding_cap", Kind.PERPETUAL).values["cap"]
             for base, settle in (("BTC", Settle.LINEAR), ("ETH", Settle.LINEAR), ("ETH", Settle.INVERSE))]  # fmt: skip
    assert found == [0.1, 0.2, 0.3]


def test_an_instruments_rules_are_those_of_its_venue_base_and_settlement() -> None:
    rules = rules_of(instrument("BTCUSD-PERP.deribit", Kind.PERPETUAL, venue="deribit", base="BTC", settle=Settle.INVERSE), NOW)
    assert (rules.venue, rules.base, rules.settle, rules.time) == ("deribit", "BTC", Settle.INVERSE, NOW)
    assert repr(rules) == "VenueRules('deribit', 2025-01-01, BTC, inverse)"
    assert rules.liquidation_fee(Kind.PERPETUAL) == 0.0075
    assert on("2025-01-01", "deribit").liquidation_fee(Kind.PERPETUAL) == 0.009


# ---------------------------------------------------------------- what is not there


@pytest.mark.parametrize(
    ("name", "ask", "message"),
    [
        ("okx", lambda rules: rules.tiers, r'"okx" has no rule "margin" for a perpetual \(ETH, linear\) on 2024-10-01; give maintenance in Execution, or add'),
        ("hyperliquid", lambda rules: rules.delivery_fee, r'"hyperliquid" has no rule "delivery" for a dated future \(ETH, linear\) on 2024-10-01; give'),
        ("bybit", lambda rules: rules.liquidation_fee(Kind.FUTURE), r'"bybit" has no rule "liquidation" for a dated future'),
        ("coinbase", lambda rules: rules.funding_interval, r'"coinbase" has no rule "funding" for a perpetual'),
        ("coinbase", lambda rules: rules.derivative_fee, r'"coinbase" has no rule "fees" for a dated future'),
        ("kraken", lambda rules: rules.settlement_window, r'"kraken" has no rule "settlement" for a dated future'),
        ("okx", lambda rules: rules.lots(Kind.SPOT), r'"okx" has no rule "lots" for spot \(ETH\) on 2024-10-01; import the instrument\'s tick and lot'),
        ("binance", lambda rules: rules.contract_fee(Kind.FUTURE), r'"binance" has no rule "contract_fees" for a dated future'),
        ("cme", lambda rules: rules.fee(Kind.SPOT), r'"cme" has no rule "fees" for spot'),
    ],
)  # fmt: skip
def test_a_missing_rule_is_an_error_that_names_it(name: str, ask: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^venue {message}"):
        ask(on("2024-10-01", name))


def test_other_bases_and_inverse_contracts_do_not_borrow_ethers_rules() -> None:
    with pytest.raises(DataError, match=r'^venue "binance" has no rule "margin" for a perpetual \(SOL, linear\) on 2024-10-01'):
        _ = on("2024-10-01", base="SOL").tiers
    with pytest.raises(DataError, match=r'^venue "binance" has no rule "liquidation" for a dated future \(ETH, inverse\) on 2024-10-01'):
        on("2024-10-01", settle=Settle.INVERSE).liquidation_fee(Kind.FUTURE)
    with pytest.raises(DataError, match=r'^venue "binance" has no rule "margin" for a perpetual \(BTC, inverse\) on 2021-12-01'):
        _ = on("2021-12-01", base="BTC", settle=Settle.INVERSE).tiers


@pytest.mark.parametrize("name", ["hyperliquid", "dydx"])
def test_a_table_that_is_not_said_to_be_in_coins_is_none_for_inverse_contracts(name: str) -> None:
    assert on("2024-10-01", name).tiers
    with pytest.raises(
        DataError,
        match=rf'^venue "{name}" has no rule "margin in coins" for a perpetual \(ETH, inverse\) on 2024-10-01; give maintenance in Execution, or add',
    ):
        _ = on("2024-10-01", name, settle=Settle.INVERSE).tiers


def test_cme_charges_by_the_piece() -> None:
    assert on("2024-10-01", "cme").contract_fee(Kind.FUTURE) == {"MET": 0.20, "ETH": 4.00}
    with pytest.raises(
        DataError,
        match=r'^venue "cme" charges ETH contracts by the piece and not by notional: MET 0.2 USD, ETH 4 USD; give derivative_fee in',
    ):
        _ = on("2024-10-01", "cme").derivative_fee


@pytest.mark.parametrize(("size", "charged"), [(0.1, Charge(rate=0.0, unit=2.0)), (50.0, Charge(rate=0.0, unit=0.08))])
def test_a_contract_is_told_by_its_size(size: float, charged: Charge) -> None:
    """0.20 USD for a tenth of an ether, 4 USD for fifty; makers pay the same."""
    rules = on("2024-10-01", "cme")
    assert rules.charge(Kind.FUTURE, size) == rules.charge(Kind.FUTURE, size, maker=True) == charged
    with pytest.raises(
        DataError,
        match=r'^venue "cme" charges ETH contracts by the piece, and none is of 1 ETH \(MET 0\.1, ETH 50\); import the contract\'s multiplier, or give '
        r"derivative_fee in Execution$",
    ):
        rules.charge(Kind.FUTURE, 1.0)


def test_a_delivery_may_cost_a_fraction_a_takers_fee_or_an_amount_a_contract() -> None:
    assert on("2024-10-01").delivery_charge(1.0) == Charge(rate=0.0005)
    assert on("2024-10-01", "deribit").delivery_charge(1.0) == Charge(rate=0.00025)
    piece = {"per_contract": {"BIG": 5.0, "SMALL": 0.5}, "coins": [10.0, 0.5]}
    delivered = book("delivery", {"since": date(2020, 1, 1), "values": piece}).at(NOW)
    assert (delivered.delivery_charge(10.0), delivered.delivery_charge(0.5)) == (Charge(rate=0.0, unit=0.5), Charge(rate=0.0, unit=1.0))
    with pytest.raises(
        DataError, match=r'^venue "test" charges ETH contracts by the piece, and none is of 2 ETH \(BIG 10, SMALL 0\.5\); .* or give deliv'
    ):
        delivered.delivery_charge(2.0)
    entries = [
        *on("2024-10-01", "cme").entries,
        Entry(table="delivery", since=date(2020, 1, 1), source="", sure="note", values={"fee": "taker"}),
    ]
    assert Venue("cme", "", tuple(entries)).at(NOW).delivery_charge(0.1) == Charge(rate=0.0, unit=2.0), "the taker's, by the piece"


def test_a_fee_by_notional_comes_first_and_one_that_is_set_before_it() -> None:
    rules = on("2024-10-01")
    assert (rules.charge(Kind.PERPETUAL, 1.0), rules.charge(Kind.PERPETUAL, 1.0, maker=True)) == (Charge(rate=0.0005), Charge(rate=0.0002))
    assert replace(rules, derivative_fee=0.25).charge(Kind.PERPETUAL, 1.0, maker=True) == Charge(rate=0.25)


def test_a_rule_that_became_another_one_unknown_ends_on_that_day() -> None:
    entries = ({"since": date(2020, 1, 1), "values": {"cap": 0.1}}, {"since": date(2022, 1, 1), "values": {"unknown": True}})
    rules = {day: book("funding_cap", *entries).at(pd.Timestamp(day, tz="UTC")) for day in ("2021-12-31", "2022-01-01")}
    assert rules["2021-12-31"].entry("funding_cap", Kind.PERPETUAL).values["cap"] == 0.1
    with pytest.raises(
        DataError, match=r'^venue "test" has no rule "funding_cap" for a perpetual \(ETH, linear\) on 2022-01-01; give cap to rate'
    ):
        rules["2022-01-01"].entry("funding_cap", Kind.PERPETUAL)


def test_the_days_on_which_rules_change() -> None:
    entries = ({"since": date(2024, 1, 1), "assumed_from": date(2021, 7, 1)}, {"since": date(2021, 6, 30), "assumed_from": date.min},
               {"since": date(2022, 1, 1), "products": (Kind.SPOT,)}, {"since": date(2023, 1, 1), "bases": ("BTC",)})  # fmt: skip
    rules = book("fees", *entries).at(NOW)
    assert rules.changes(("fees", "margin"), Kind.PERPETUAL) == [date.min, date(2021, 7, 1)]
    assert rules.changes(("fees",), Kind.SPOT) == [date.min, date(2021, 7, 1), date(2022, 1, 1)]
    assert rules.changes(("margin",), Kind.SPOT) == []


def test_a_margin_that_grows_with_the_position_has_no_tiers() -> None:
    with pytest.raises(
        DataError,
        match=r'^venue "deribit" has no tiers: its maintenance margin is 0.01 of the position and grows by 4e-06 a coin; give maint',
    ):
        _ = on("2024-10-01", "deribit", settle=Settle.INVERSE).tiers


# ---------------------------------------------------------------- Binance


def test_binance_today() -> None:
    rules = venue("binance").at(NOW)
    assert (rules.spot_fee, rules.derivative_fee, rules.delivery_fee) == (0.0010, 0.0005, 0.0005)
    assert [rules.fee(kind) for kind in (Kind.SPOT, Kind.PERPETUAL, Kind.FUTURE)] == [0.0010, 0.0005, 0.0005]
    assert [rules.fee(kind, maker=True) for kind in (Kind.SPOT, Kind.PERPETUAL, Kind.FUTURE)] == [0.0010, 0.0002, 0.0002]
    assert [rules.liquidation_fee(kind) for kind in (Kind.PERPETUAL, Kind.FUTURE)] == [0.0125, 0.01]
    assert (rules.funding_interval, rules.funding.notional, rules.funding.average) == (pd.Timedelta(hours=8), "mark", "linear")
    assert (rules.settlement.time, rules.settlement.zone) == ("08:00", "UTC")
    assert (rules.lots(Kind.PERPETUAL).tick, rules.lots(Kind.PERPETUAL).lot, rules.lots(Kind.FUTURE).min_notional) == (0.01, 0.001, 5.0)


def test_fees_rise_where_they_are_not_known_the_dearer_is_assumed() -> None:
    assert [on(day).derivative_fee for day in ("2021-01-01", "2021-06-30", "2021-07-01", "2024-01-01")] == [0.0004, 0.0004, 0.0005, 0.0005]
    assert on("2021-01-01").delivery_fee == 0.0004, "the delivery fee follows the taker fee"
    assert any(
        "fees (perpetual, future): the entry of 2024-01-01 is assumed on 2023-06-01" in line for line in on("2023-06-01").assumptions
    )
    assert not any("fees" in line for line in on("2024-06-01").assumptions)


def test_the_settlement_window_shortens_on_its_day() -> None:
    """Announced for 2024-11-11: the day before has an hour, the day itself half of one."""
    windows = [on(day).settlement_window for day in ("2021-01-01", "2024-11-10T23:59", "2024-11-11", "2030-01-01")]
    assert [window.total_seconds() / 60 for window in windows] == [60, 60, 30, 30]


def test_binance_tiers_of_october_2024_with_their_published_deductions() -> None:
    """The deductions are worked out from the rates; the venue publishes the same to the unit."""
    tiers = on("2024-10-31").tiers
    assert [tier.deduction for tier in tiers] == pytest.approx(
        [0, 50, 950, 11_450, 131_450, 381_450, 2_006_450, 9_506_450, 17_506_450, 27_506_450, 80_506_450, 280_506_450]
    )
    assert tiers[1] == Tier(floor=50_000.0, rate=0.005, deduction=pytest.approx(50))  # type: ignore[arg-type]
    assert on("2024-10-31").tiers_of(Kind.FUTURE)[1] == Tier(floor=50_000.0, rate=0.02, deduction=500.0)


def test_binance_tiers_by_date() -> None:
    """Lowest rate and the first bound of each table that was captured."""
    found = {
        day: on(day).tiers[:2] for day in ("2021-01-01", "2022-05-01", "2022-08-31", "2023-12-30", "2024-02-29", "2024-05-30", "2025-07-02")
    }
    assert [(low.rate, high.floor) for low, high in found.values()] == [
        (0.005, 10_000), (0.005, 10_000), (0.005, 100_000), (0.005, 200_000), (0.004, 50_000), (0.004, 50_000), (0.004, 300_000),
    ]  # fmt: skip
    days = ("2022-08-30", "2022-08-31", "2023-03-31", "2023-08-28", "2023-12-30", "2024-02-29", "2024-05-30")
    assert [next(tier.floor / 1e6 for tier in on(day).tiers if tier.rate == 0.1) for day in days] == [4, 10, 25, 30, 50, 100, 150]
    assert [on(day, base=base).tiers_of(Kind.FUTURE)[0].rate for base in ("ETH", "BTC") for day in ("2023-10-30", "2023-10-31")] == [
        0.02,
        0.01,
    ] * 2
    assert any("margin (perpetual): the entry of 2021-09-24 is assumed on 2021-01-01" in line for line in on("2021-01-01").assumptions)


def test_binances_coin_margined_contracts() -> None:
    """Contracts of 10 and 100 USD; tiers in coins; what is not sourced is not there."""
    ether, bitcoin = (on("2022-01-01", base=base, settle=Settle.INVERSE) for base in ("ETH", "BTC"))
    assert [rules.lots(kind).lot for rules in (ether, bitcoin) for kind in (Kind.PERPETUAL, Kind.FUTURE)] == [10, 10, 100, 100]
    assert [(rules.fee(Kind.PERPETUAL, maker=True), rules.fee(Kind.FUTURE), rules.delivery_fee) for rules in (ether, bitcoin)] == [
        (0.0002, 0.0005, 0.0005)
    ] * 2
    assert [bitcoin.liquidation_fee(kind) for kind in (Kind.PERPETUAL, Kind.FUTURE)] == [0.02, 0.01]
    assert ether.tiers[:3] == (Tier(floor=0.0, rate=0.005, deduction=0.0), Tier(floor=15.0, rate=0.0065, deduction=pytest.approx(0.0225)), Tier(floor=100.0, rate=0.01, deduction=pytest.approx(0.3725)))  # type: ignore[arg-type]  # fmt: skip
    assert [rules.tiers_of(Kind.FUTURE)[1].floor for rules in (ether, bitcoin)] == [100.0, 10.0]
    assert ether.settlement_window == pd.Timedelta("60min")
    with pytest.raises(DataError, match=r'^venue "binance" has no rule "margin" for a perpetual \(ETH, inverse\) on 2022-09-13'):
        _ = on("2022-09-13", settle=Settle.INVERSE).tiers
    assert on("2022-09-12", settle=Settle.INVERSE).tiers == ether.tiers
    with pytest.raises(DataError, match=r'^venue "binance" has no rule "margin" for a dated future \(ETH, inverse\) on 2021-08-22'):
        on("2021-08-22", settle=Settle.INVERSE).tiers_of(Kind.FUTURE)


BITCOIN_FEES = [
    ("2021-01-01", 0.0150, True), ("2021-10-13", 0.0150, False), ("2021-10-14", 0.0175, True), ("2022-10-13", 0.0175, False),
    ("2023-02-07", 0.0175, False), ("2023-02-08", 0.0125, False), ("2024-03-01", 0.0125, False), ("2026-09-15", 0.0125, False),
]  # fmt: skip


@pytest.mark.parametrize(("day", "fee", "assumed"), BITCOIN_FEES)
def test_bitcoins_liquidation_fee_by_date(day: str, fee: float, assumed: bool) -> None:
    """Between two captures the dearer one is taken, and said to be; quarterly contracts pay 1% in all of them."""
    rules = on(day, base="BTC")
    assert (rules.liquidation_fee(Kind.PERPETUAL), rules.liquidation_fee(Kind.FUTURE)) == (fee, 0.01)
    assert any(line.startswith("binance liquidation (perpetual): ") for line in rules.assumptions) is assumed
    assert any(line.startswith("binance liquidation (future): the entry of 2022-06-24 ") for line in rules.assumptions) is (
        day < "2022-06-24"
    )


def test_bitcoins_coin_margined_liquidation_fee_by_date() -> None:
    days = ("2021-12-23", "2021-12-24", "2022-06-24", "2023-11-01", "2023-11-02", "2026-09-26")
    assert [on(day, base="BTC", settle=Settle.INVERSE).liquidation_fee(Kind.PERPETUAL) for day in days] == [
        0.01,
        0.02,
        0.02,
        0.02,
        0.015,
        0.015,
    ]


def test_bitcoins_least_notional_by_date() -> None:
    """5 USDT, 100 from the day of the announcement, 50 in the newest capture; the price step was a cent until it was a tenth. Ether's rose to 20."""
    assert [on(day).lots(Kind.PERPETUAL).min_notional for day in ("2021-01-01", "2023-11-01", "2023-11-02", "2026-09-15")] == [5, 5, 20, 20]
    found = {
        day: on(day, base="BTC").lots(Kind.PERPETUAL) for day in ("2021-10-13", "2022-06-24", "2023-11-01", "2023-11-02", "2026-09-15")
    }
    assert [(lots.tick, lots.lot, lots.min_notional) for lots in found.values()] == [
        (0.01, 0.001, 5.0), (0.1, 0.001, 5.0), (0.1, 0.001, 5.0), (0.1, 0.001, 100.0), (0.1, 0.001, 50.0),
    ]  # fmt: skip
    assert {(day, on(day, base="BTC").lots(Kind.FUTURE)) for day in found} == {
        (day, Lots(tick=0.1, lot=0.001, min_notional=5.0)) for day in found
    }


BITCOIN_TIERS = [
    ("2021-09-24", 250_000, 1_000_000), ("2022-05-01", 250_000, 1_000_000), ("2022-07-03", 250_000, 1_000_000),
    ("2023-03-30", 250_000, 1_000_000), ("2023-03-31", 250_000, 3_000_000), ("2023-08-28", 250_000, 3_000_000),
    ("2023-12-30", 500_000, 8_000_000), ("2024-02-29", 500_000, 10_000_000),
]  # fmt: skip


@pytest.mark.parametrize(("day", "half", "one"), BITCOIN_TIERS)
def test_bitcoins_tiers_by_date(day: str, half: float, one: float) -> None:
    """0.4% to 50,000 USDT, then 0.5%, then 1%: each up to its bound."""
    tiers = on(day, base="BTC").tiers
    assert [(tier.floor, tier.rate) for tier in tiers[:3]] == [(0.0, 0.004), (50_000.0, 0.005), (half, 0.01)]
    assert tiers[3].floor == one


def test_bitcoins_higher_tiers_tell_the_tables_apart() -> None:
    """Where 10% begins, and the deduction there."""
    found = {
        day: on(day, base="BTC").tiers
        for day in ("2022-07-02", "2022-07-03", "2023-03-31", "2023-08-28", "2023-12-30", "2024-02-29", "2024-05-30")
    }
    assert [next(tier.floor / 1e6 for tier in tiers if tier.rate == 0.1) for tiers in found.values()] == [40, 20, 30, 40, 80, 150, 230]
    assert [tier.floor for tier in on("2025-07-02", base="BTC").tiers[:3]] == [0.0, 300_000.0, 800_000.0]
    assert [tier.deduction for tier in on("2024-10-31", base="BTC").tiers[:4]] == pytest.approx([0, 50, 950, 11_450])


@pytest.mark.parametrize("day", ["2020-01-01", "2021-10-13", "2023-01-01", "2024-03-01", "2025-06-27", "2026-10-01"])
@pytest.mark.parametrize("base", ["ETH", "BTC"])
def test_ether_and_bitcoin_have_every_rule_that_a_linear_carry_asks_for(base: str, day: str) -> None:
    """Spot, perpetual and quarterly futures; lots of a spot are not sourced, and no run asks for them."""
    rules = on(day, base=base)
    assert all(rules.fee(kind) > 0.0 for kind in Kind)
    assert rules.delivery_charge(1.0).rate == rules.fee(Kind.FUTURE)
    for kind in (Kind.PERPETUAL, Kind.FUTURE):
        assert rules.liquidation_fee(kind) >= 0.01
        assert rules.tiers_of(kind)[0].rate >= 0.004
        assert rules.lots(kind).lot == 0.001
    assert rules.funding.cap >= 0.003
    assert rules.settlement.time == "08:00"


@dataclass(frozen=True, kw_only=True)
class Carry(bt.Strategy):
    """Spot against the perpetual, or against whatever future is offered."""

    dated: bool = bt.param(False, "against the futures")

    def rule(self, market: Market) -> Rule:
        return Rule(long=market.spot, short=market.future_chain() if self.dated else market.perpetual, size=0.3, max_hold="30h")


def test_a_book_of_ether_and_bitcoin_needs_no_fee_from_the_user(tmp_path: Path) -> None:
    """Both bases, both kinds of derivatives, default execution with margin: every cost is in the rule-book, and none is assumed in 2024."""
    tables = ether()
    for name in list(tables.bars):
        tables.bars[name.replace("ETH", "BTC")] = tables.bars[name] * ([20.0] * 4 + [1.0])
    for item in list(tables.instruments):
        tables.instruments.append(replace(item, id=item.id.replace("ETH", "BTC"), base="BTC"))
    tables.funding.update({name.replace("ETH", "BTC"): events.copy() for name, events in tables.funding.items()})
    both = load(tmp_path, tables)
    book = bt.run([bt.on(Carry(dated=dated), pattern) for dated in (False, True) for pattern in ("ETH*", "BTC*")], both)
    assert set(book.trades["contract"].str[:8]) == {"ETHUSDT-", "BTCUSDT-"}
    assert all(len(result.trades) > 1 for result in book.results.values())
    assert not any("Rules of binance" in note for result in book.results.values() for note in result.notes)


@pytest.mark.parametrize("name", ["binance", "hyperliquid", "dydx"])
def test_maintenance_has_no_jump_where_a_tier_begins(name: str) -> None:
    """notional·rate − deduction of two neighbours is the same at the bound between them, and grows; the kernel has room for all tiers."""
    from backtest.kernels import TIERS

    seen = 0
    for entry in (entry for entry in venue(name).entries if entry.table == "margin" and "unknown" not in entry.values):
        rules = venue(name).at(pd.Timestamp(entry.since, tz="UTC"), base=entry.bases[0], settle=entry.settle or Settle.LINEAR)
        for kind in entry.products:
            tiers = rules.tiers_of(kind)
            seen += 1
            assert len(tiers) <= TIERS
            assert (tiers[0].floor, tiers[0].deduction) == (0.0, 0.0)
            for lower, upper in pairwise(tiers):
                assert upper.floor > lower.floor
                assert upper.rate > lower.rate
                assert upper.floor * upper.rate - upper.deduction == pytest.approx(upper.floor * lower.rate - lower.deduction)
    assert seen


# ---------------------------------------------------------------- the others


def test_hyperliquid_raised_margin_and_fees_on_their_days() -> None:
    days = ("2024-06-01", "2025-03-11", "2025-03-12", "2025-05-05")
    assert [on(day, "hyperliquid").tiers[0].rate for day in days] == [0.01, 0.01, 0.02, 0.02]
    assert [on(day, "hyperliquid").derivative_fee for day in days] == [0.00035, 0.00035, 0.00035, 0.00045]
    assert on("2025-05-05", "hyperliquid").tiers[1] == Tier(floor=1e8, rate=pytest.approx(1 / 30), deduction=pytest.approx(1e8 / 75))  # type: ignore[arg-type]
    assert on("2024-06-01", "hyperliquid").funding.notional == "oracle"


def test_cme_settles_at_sixteen_in_london() -> None:
    settlement = on("2024-10-01", "cme").settlement
    assert (settlement.time, settlement.zone, settlement.window) == ("16:00", "Europe/London", pd.Timedelta(hours=1))


def test_base_tier_fees_of_2024_to_2026() -> None:
    """Bps maker and taker of a perpetual, as the field knows them."""
    expected = {"binance": (2, 5), "bybit": (2, 5.5), "okx": (2, 5), "hyperliquid": (1.5, 4.5), "deribit": (0, 5), "kraken": (2, 5)}
    for name, fees in expected.items():
        rules = on("2025-06-01", name)
        assert (rules.fee(Kind.PERPETUAL, maker=True) * 1e4, rules.fee(Kind.PERPETUAL) * 1e4) == pytest.approx(fees), name


def test_fees_can_be_set_otherwise() -> None:
    """What would be if: a copy of the rules with another fee keeps the rest."""
    rules = replace(on("2024-10-01"), spot_fee=0.5, derivative_fee=0.25)
    assert (rules.spot_fee, rules.fee(Kind.SPOT), rules.derivative_fee, rules.fee(Kind.PERPETUAL), rules.delivery_fee) == (
        0.5,
        0.5,
        0.25,
        0.25,
        0.25,
    )
    assert rules.tiers == on("2024-10-01").tiers
    assert on("2024-10-01").spot_fee == 0.001
