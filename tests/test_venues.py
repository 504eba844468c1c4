"""The venue rule-book: dated entries with their sources, and the one in force at a time."""

from datetime import date
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from markets import instrument

from backtest.errors import DataError
from backtest.instruments import Kind
from backtest.venues import Tier, Venue, rules_of, venue

NOW = pd.Timestamp("2025-01-01T00:00Z")


def test_an_unknown_venue_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DataError, match=r'^no rule-book for venue "binanse": fees and margin are unknown; did you mean "binance"\?$'):
        venue("binanse")
    with pytest.raises(DataError, match=r'^no rule-book for venue "the bank": fees and margin are unknown; known: binance$'):
        venue("the bank")


def test_an_instruments_rules_are_those_of_its_venue() -> None:
    spot = instrument("ETHUSDT-SPOT", Kind.SPOT)
    assert rules_of(spot, NOW) == venue("binance").at(NOW)
    with pytest.raises(DataError, match='no rule-book for venue "kraken"'):
        rules_of(instrument("ETHUSDT-SPOT", Kind.SPOT, venue="kraken"), NOW)
    assert venue("binance") is venue("binance")


def test_every_entry_is_dated_and_has_a_source() -> None:
    tables = venue("binance").tables
    for name in ("fees", "liquidation", "margin", "settlement", "funding"):
        entries: list[dict[str, Any]] = tables[name]
        assert entries, name
        for entry in entries:
            assert type(entry["from"]) is date, (name, entry)
            assert len(entry["source"]) > 20, (name, entry)
        assert len({entry["from"] for entry in entries}) == len(entries), f"two entries of {name} begin on the same day"


def test_binance_today() -> None:
    rules = venue("binance").at(NOW)
    assert (rules.spot_fee, rules.derivative_fee, rules.delivery_fee) == (0.0010, 0.0005, 0.0005)
    assert [rules.fee(kind) for kind in (Kind.SPOT, Kind.PERPETUAL, Kind.FUTURE)] == [0.0010, 0.0005, 0.0005]
    assert [rules.liquidation_fee(kind) for kind in (Kind.PERPETUAL, Kind.FUTURE)] == [0.0125, 0.01]
    assert rules.funding_interval == pd.Timedelta(hours=8)


def test_the_settlement_window_shortens_on_its_day() -> None:
    """Announced for 2024-11-11: the day before has an hour, the day itself half of one; before the first entry its rule holds."""
    windows = {
        day: venue("binance").at(pd.Timestamp(day, tz="UTC")).settlement_window
        for day in ("2015-01-01", "2024-11-10T23:59", "2024-11-11", "2030-01-01")
    }
    assert [window.total_seconds() / 60 for window in windows.values()] == [60, 60, 30, 30]


def test_the_newest_entry_counts_whatever_their_order() -> None:
    fees = [
        {"from": day, "spot": fee, "derivative": 0.0, "delivery": 0.0} for day, fee in ((date(2024, 1, 1), 0.2), (date(2020, 1, 1), 0.1))
    ]
    others = {
        "liquidation": [{"from": date(2020, 1, 1), "perpetual": 0.0, "future": 0.0}],
        "margin": [{"from": date(2020, 1, 1), "tiers": [[100, 0.01, 0], [200, 0.02, 1]]}],
        "settlement": [{"from": date(2020, 1, 1), "window_minutes": 60}],
        "funding": [{"from": date(2020, 1, 1), "interval_hours": 8}],
    }
    book = Venue("test", {"fees": fees, **others})
    found = [book.at(pd.Timestamp(day, tz="UTC")).spot_fee for day in ("2019-05-05", "2023-12-31T23:59", "2024-01-01", "2026-01-01")]
    assert found == [0.1, 0.1, 0.2, 0.2]
    assert book.at(NOW).tiers == (Tier(floor=0.0, rate=0.01, deduction=0), Tier(floor=100.0, rate=0.02, deduction=1))


def test_maintenance_has_no_jump_where_a_tier_begins() -> None:
    """notional·rate − deduction of two neighbours is the same at the bound between them, and grows."""
    tiers = venue("binance").at(NOW).tiers
    assert tiers[0].floor == 0.0
    assert tiers[0].deduction == 0.0
    for lower, upper in pairwise(tiers):
        assert upper.floor > lower.floor
        assert upper.rate > lower.rate
        assert upper.floor * upper.rate - upper.deduction == pytest.approx(upper.floor * lower.rate - lower.deduction)


def test_the_kernel_has_room_for_the_tiers() -> None:
    from backtest.kernels import TIERS

    assert all(len(entry["tiers"]) <= TIERS for entry in venue("binance").tables["margin"])
