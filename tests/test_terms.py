"""Terms by date: what each bar's open had in force, against the rule-book asked day by day; settings over the rule-book; leverage; notes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import Item, future, in_memory, perpetual, spot

import backtest as bt
from backtest import kernels as k
from backtest.errors import DataError, ParameterError
from backtest.execution import Execution
from backtest.instruments import Kind, Settle
from backtest.market import Market
from backtest.rule import Rule, Sides
from backtest.terms import assumed_rules, check_leverage, coin_margined, open_instants, rule_notes, terms_of, used
from backtest.venues import rules_of

DEFAULT, FREE = Execution(), replace(Execution.free(), margin=bt.Margin.OFF)
KEPT: dict[str, Any] = {"delivery_fee": 0.0, "liquidation_fee": 0.0, "maintenance": 0.0}


def setting(start: str, days: int, step: float = 24.0, **legs: Item) -> tuple[Market, Rule]:
    """A market of as many bars as fit, and the rule that trades its legs."""
    count = round(days * 24 / step)
    named = {side: Item(**{**item.__dict__, "opens": [2000.0] * count}) for side, item in legs.items()}
    market = in_memory(named, start=start, step=step)
    return market, Rule(**{side: market.leg(side) for side in legs})


def linear(**more: Any) -> Item:
    return perpetual([1.0], **({"quote": "USDT"} | more))


def coin(**more: Any) -> Item:
    return spot([1.0], **({"quote": "USDT"} | more))


def inverse(**more: Any) -> Item:
    return perpetual([1.0], face=10.0, **more)


# ---------------------------------------------------------------- by date


def slow_terms(market: Market, rule: Rule, bar: int) -> list[dict[str, Any]]:
    """What the rule-book says on the day at which the bar opens, for takers and without any setting."""
    opened = pd.Timestamp(market.stamps[bar - 1] if bar else market.start, tz="UTC")
    out = []
    for leg in rule.legs:
        assert leg is not None
        item = market.instruments[leg.contracts[0]]
        rules = rules_of(item, opened)
        terms: dict[str, Any] = {"fee": rules.fee(item.kind), "taker_fee": rules.fee(item.kind), "tiers": 0}
        if item.kind is Kind.FUTURE:
            terms["delivery_fee"] = rules.delivery_fee
        if item.derivative:
            tiers = rules.tiers_of(item.kind)
            terms |= {"liquidation_fee": rules.liquidation_fee(item.kind), "tiers": len(tiers)}
            terms |= {
                f"tier_{name}": [getattr(tier, name) for tier in tiers] + [0.0] * (k.TIERS - len(tiers))
                for name in ("floor", "rate", "deduction")
            }
        out.append(terms)
    return out


@pytest.mark.parametrize(
    ("start", "days", "step"), [("2021-06-28", 5, 24), ("2022-04-29", 4, 8), ("2021-01-01", 1500, 240), ("2022-04-30T20:00", 1, 1)]
)
def test_each_bar_has_what_its_venue_had_in_force_at_its_open(start: str, days: int, step: float) -> None:
    market, rule = setting(start, days, step, long=coin(), short=future([1.0], quote="USDT", expiry=1e5))
    terms, periods = terms_of(market, rule, Execution())
    assert periods[0] == 0
    assert np.all(np.diff(periods) > 0)
    for bar in range(len(market)):
        row = terms[np.searchsorted(periods, bar, "right") - 1]
        for slot, expected in enumerate(slow_terms(market, rule, bar)):
            for name, value in expected.items():
                np.testing.assert_array_equal(row[name][slot], value, err_msg=f"{name} of bar {bar}")


def test_binances_tiers_of_may_2022_hold_from_the_first_bar_that_opens_in_may() -> None:
    """Eight-hour bars: the third ends at 2022-05-01T00:00 and opened in April, the fourth opens in May."""
    market, rule = setting("2022-04-30", 2, 8, long=coin(), short=linear())
    terms, periods = terms_of(market, rule, Execution())
    assert periods.tolist() == [0, 3]
    assert open_instants(market)[3] == pd.Timestamp("2022-05-01", tz="UTC").value
    short = terms["tier_floor"][:, 1]
    assert short[0, 4:6].tolist() == [1_000_000.0, 2_000_000.0]
    assert short[1, 4:6].tolist() == [1_500_000.0, 4_000_000.0]
    assert (terms["tiers"][:, 1].tolist(), terms["tiers"][:, 0].tolist()) == ([9, 10], [0, 0])


def test_a_run_inside_one_regime_has_one_period() -> None:
    """Also where the venue changed what the run doesn't use: fees were given, or margin is off."""
    market, rule = setting("2024-03-01", 20, long=coin(), short=linear())
    assert terms_of(market, rule, Execution())[1].tolist() == [0]
    market, rule = setting("2022-04-29", 5, long=coin(), short=linear())
    assert terms_of(market, rule, Execution())[1].tolist() == [0, 2]
    for execution in (Execution(maintenance=0.01), Execution(margin=bt.Margin.OFF), FREE):
        assert terms_of(market, rule, execution)[1].tolist() == [0]


def test_a_rule_book_entry_that_changes_nothing_begins_no_period() -> None:
    """On 2024-01-01 an entry for 2 and 5 bps is known that was assumed from 2021-07-01 on."""
    market, rule = setting("2021-06-29", 1000, long=linear())
    terms, periods = terms_of(market, rule, Execution(**KEPT))
    assert terms["fee"][:, 0].tolist() == [0.0004, 0.0005]
    assert periods.tolist() == [0, 2]


def test_a_day_without_bars_changes_at_the_next() -> None:
    market, rule = setting("2022-04-28T12:00", 8, 48, long=linear())
    assert open_instants(market)[2] == pd.Timestamp("2022-05-02T12:00", tz="UTC").value
    assert terms_of(market, rule, Execution())[1].tolist() == [0, 2]


# ---------------------------------------------------------------- settings and the rule-book


def row(execution: Execution, start: str = "2024-10-01", **legs: Item) -> Any:
    market, rule = setting(start, 2, **legs)
    terms, periods = terms_of(market, rule, execution, (-1.0, -2.0))
    assert (len(terms), periods.tolist()) == (1, [0])
    return terms[0]


def test_makers_pay_the_makers_fee_and_what_they_chase_the_takers() -> None:
    fees = {
        maker: row(Execution(maker=maker), long=coin(), short=linear())[["fee", "taker_fee", "maker", "limited"]].tolist()
        for maker in ("none", "long", "short", "both")
    }
    spot_taker, spot_maker = (0.0010, 0.0010, 0, 0), (0.0010, 0.0010, 1, 1)
    assert fees["none"] == [spot_taker, (0.0005, 0.0005, 0, 0)]
    assert fees["short"] == [spot_taker, (0.0002, 0.0005, 1, 1)]
    assert fees["long"] == [spot_maker, (0.0005, 0.0005, 0, 0)]
    assert fees["both"] == [spot_maker, (0.0002, 0.0005, 1, 1)]
    hyperliquid = row(Execution(maker="long", liquidation_fee=0.0), "2023-12-01", long=linear(venue="binance"))
    assert hyperliquid["fee"][0] == 0.0002


def test_a_makers_rebate_is_a_fee_below_zero() -> None:
    assert row(Execution(maker="long", **KEPT), "2023-10-01", long=linear(venue="hyperliquid"))["fee"].tolist() == [-0.00002, 0.0]


def test_a_fee_that_is_set_is_everybodys() -> None:
    found = row(Execution(maker="both", spot_fee=0.003, derivative_fee=0.004), long=coin(), short=linear())
    assert (found["fee"].tolist(), found["taker_fee"].tolist(), found["unit_fee"].tolist()) == ([0.003, 0.004], [0.003, 0.004], [0.0, 0.0])


def test_what_is_set_overrides_the_rule_book() -> None:
    found = row(Execution(**KEPT | {"maintenance": 0.02}), long=coin(), short=linear())
    assert (found["tiers"].tolist(), found["tier_rate"][1, 0], found["liquidation_fee"][1]) == ([0, 1], 0.02, 0.0)
    booked = row(Execution(), long=coin(), short=linear())
    assert (booked["tiers"].tolist(), booked["tier_rate"][1, 0], booked["liquidation_fee"][1]) == ([0, 12], 0.004, 0.0125)
    off = row(Execution(margin=bt.Margin.OFF), long=coin(), short=linear())
    assert (off["tiers"].tolist(), off["liquidation_fee"].tolist()) == ([0, 0], [0.0, 0.0])
    assert row(Execution(delivery_fee=0.003), long=linear(), short=coin())["delivery_fee"].tolist() == [0.003, 0.003]


def test_what_a_slot_is() -> None:
    found = row(FREE, long=coin(), short=inverse())
    assert [found[name].tolist() for name in ("present", "derivative", "inverse", "contract", "leverage", "least_accrual")] == [
        [1, 1], [0, 1], [0, 1], [1.0, 10.0], [1.0, 1.0], [-1.0, -2.0],
    ]  # fmt: skip
    alone = row(FREE, short=inverse())
    assert (alone["present"].tolist(), alone["inverse"].tolist()) == ([0, 1], [0, 1])


def test_the_half_spread_is_a_number_or_stands_on_the_tape() -> None:
    for given, quoted, half in (
        (None, [1, 1], [1e-4, 1e-4]),
        (0.002, [0, 0], [0.002, 0.002]),
        ((None, 0.0), [1, 0], [1e-4, 0.0]),
        ((0.001, np.zeros(2)), [0, 1], [0.001, 1e-4]),
        (np.zeros(2), [1, 1], [1e-4, 1e-4]),
    ):
        found = row(Execution(half_spread=given, **KEPT), long=coin(), short=linear())
        assert (found["quoted"].tolist(), found["half_spread"].tolist()) == (quoted, half)


def test_impact_participation_stress_and_makers_limit_a_slot() -> None:
    def limited(**more: Any) -> list[int]:
        flags: list[int] = row(Execution(**more), long=coin(), short=linear())["limited"].tolist()
        return flags

    assert limited() == limited(stress=1.0) == limited(impact=0.0) == [0, 0]
    assert limited(impact=(0.0, 1.0)) == [0, 1]
    assert limited(participation=0.1) == limited(stress=2.0) == limited(stressed=2.0) == limited(stress=np.ones(2)) == [1, 1]
    found = row(Execution(impact=1.0, impact_model="linear", latency=("1s", "2min")), long=coin(), short=linear())
    assert (found["impact"].tolist(), found["impact_square_root"].tolist()) == ([1.0, 1.0], [0, 0])
    assert found["latency"].tolist() == [10**9, 120 * 10**9]
    assert row(Execution(), long=coin(), short=linear())["impact_square_root"].tolist() == [1, 1]


# ---------------------------------------------------------------- contracts that pay by the piece, in coin, or not at all


def cme(size: float, **more: Any) -> Item:
    return future([1.0], venue="cme", multiplier=size, expiry=1e6, **more)


@pytest.mark.parametrize(("size", "coin_pays"), [(0.1, 2.0), (50.0, 0.08)])
def test_cme_charges_by_the_contract(size: float, coin_pays: float) -> None:
    """MET: 0.20 USD for a tenth of an ether; ETH: 4 USD for fifty."""
    found = row(Execution(**KEPT), long=cme(size))
    assert [found[name][0] for name in ("fee", "taker_fee", "unit_fee", "delivery_fee", "delivery_unit_fee")] == [
        0.0,
        0.0,
        coin_pays,
        0.0,
        0.0,
    ]
    assert row(Execution(derivative_fee=0.001, **KEPT), long=cme(size))[["fee", "unit_fee"]].tolist()[0] == (0.001, 0.0)


def test_a_contract_of_an_unknown_size_has_no_fee() -> None:
    message = (
        r'^venue "cme" charges ETH contracts by the piece, and none is of 1 ETH \(MET 0\.1, ETH 50\); import the contract\'s multiplier, or give '
        r"derivative_fee in Execution$"
    )
    with pytest.raises(DataError, match=message):
        row(Execution(**KEPT), long=cme(1.0))


def test_cmes_delivery_and_margin_are_not_sourced() -> None:
    with pytest.raises(
        DataError, match=r'^venue "cme" has no rule "delivery" for a dated future \(ETH, linear\) on 2024-10-01; give delivery_fee in Ex'
    ):
        row(Execution(liquidation_fee=0.0, maintenance=0.0), long=cme(0.1))
    with pytest.raises(
        DataError, match=r'^venue "cme" has no rule "margin" for a dated future \(ETH, linear\) on 2024-10-01; give maintenance in Ex'
    ):
        row(Execution(delivery_fee=0.0, liquidation_fee=0.0), long=cme(0.1))


@pytest.mark.parametrize("more", [{"venue": "cme"}, {"settle": Settle.INVERSE}])
def test_a_chain_has_contracts_of_one_size_where_it_counts(more: dict[str, Any]) -> None:
    sizes = {"B": 0.1, "A": 50.0}
    items = {name: future([1.0] * 2, expiry=100.0 + size, multiplier=size, **more) for name, size in sizes.items()}
    market = in_memory(items, start="2024-10-01", step=24.0)
    with pytest.raises(DataError, match=r"^B is a contract of 0\.1 and A one of 50; a chain has one size: load it with instruments=…$"):
        terms_of(market, Rule(long=market.future_chain()), Execution(**KEPT))
    linear_of_two = in_memory(
        {name: future([1.0] * 2, expiry=100.0 + size, multiplier=size) for name, size in sizes.items()}, start="2024-10-01"
    )
    assert terms_of(linear_of_two, Rule(long=linear_of_two.future_chain()), Execution(**KEPT))[0]["contract"].tolist() == [[1.0, 0.0]]


def test_inverse_contracts_have_tiers_in_coin_or_none() -> None:
    given = Execution(liquidation_fee=0.0)
    found = row(given, "2021-12-01", short=inverse())
    assert (found["fee"][1], found["tiers"][1]) == (0.0005, 10)
    assert found["tier_floor"][1, :3].tolist() == [0.0, 15.0, 100.0], "coins and not dollars"
    dated = row(given, "2024-10-01", short=future([1.0], face=10.0, expiry=1e6))
    assert (dated["delivery_fee"][1], dated["tier_floor"][1, :3].tolist()) == (0.0005, [0.0, 100.0, 500.0])
    with pytest.raises(
        DataError, match=r'^venue "binance" has no rule "liquidation" for a perpetual \(ETH, inverse\) on 2021-12-01; give liq'
    ):
        row(Execution(), "2021-12-01", short=inverse())


def test_a_change_that_is_not_sourced_ends_the_rule_before_it() -> None:
    """The announcement of 2022-09-13 is known, its table for ETHUSD is not: a run over that day needs a setting."""
    market, rule = setting("2022-09-10", 6, short=inverse())
    with pytest.raises(
        DataError, match=r'^venue "binance" has no rule "margin" for a perpetual \(ETH, inverse\) on 2022-09-13; give maintenance in'
    ):
        terms_of(market, rule, Execution(liquidation_fee=0.0))
    assert len(terms_of(market, rule, Execution(liquidation_fee=0.0, maintenance=0.01))[1]) == 1


def test_a_margin_without_tiers_is_not_approximated() -> None:
    with pytest.raises(
        DataError, match=r'^venue "deribit" has no tiers: its maintenance margin is 0.01 of the position and grows by 4e-06 a coin; give'
    ):
        row(Execution(), short=inverse(venue="deribit"))


def test_an_unknown_venue_needs_all_settings() -> None:
    assert row(FREE, long=coin(venue="the bank"))["fee"][0] == 0.0
    with pytest.raises(DataError, match=r'^no rule-book for venue "the bank"'):
        row(Execution(), long=coin(venue="the bank"))


# ---------------------------------------------------------------- leverage


def checked(leverage: float, capital: float = 100_000.0, execution: Execution = DEFAULT, start: str = "2024-10-01", **more: Any) -> None:
    legs = {key: more.pop(key) for key in ("long", "short") if key in more} or {"long": coin(), "short": linear()}
    market, rule = setting(start, 2, **legs)
    rule = bt.Rule(**{**{name: getattr(rule, name) for name in ("long", "short")}, "leverage": leverage, "size": 0.5} | more)
    check_leverage(market, rule, execution, terms_of(market, rule, execution)[0], capital)


def test_leverage_whose_margin_would_be_gone_at_once_is_refused() -> None:
    """50,000 USDT at 0.4% need 200: 1/250 of it. 500,000 at 0.5% − 50 need 2,450, which is 0.49%: 1/204."""
    checked(249.0)
    message = (
        r"^leverage=250 gives short a margin of 0\.400%, and binance's tier of 2024-10-01 from 50,000 USDT needs 0\.400% of a position of 50,000 USDT: "
        r"it would be liquidated at once; set leverage below 250, or a smaller size$"
    )
    with pytest.raises(ParameterError, match=message):
        checked(250.0)
    checked(204.0, 1_000_000.0)
    with pytest.raises(ParameterError, match=r"needs 0\.490% of a position of 500,000 USDT: .* below 204\.1, or"):
        checked(204.1, 1_000_000.0)
    checked(249.0, 1_000_000.0, size=0.05)
    checked(300.0, execution=Execution(margin=bt.Margin.OFF))


def test_leverage_against_a_maintenance_that_is_set() -> None:
    given = Execution(maintenance=0.05)
    checked(19.9, execution=given)
    with pytest.raises(
        ParameterError,
        match=r"^leverage=20 gives short a margin of 5\.000%, and maintenance needs 5\.000% of a position of 50,000 USDT: it",
    ):
        checked(20.0, execution=given)
    checked(1e9, execution=Execution(maintenance=0.0))


def test_leverage_of_an_inverse_contract_is_checked_in_coins() -> None:
    """50,000 USD at 2,000 are 25 ETH: 0.65% less 15·0.15% of a coin, 0.56%."""
    given: dict[str, Any] = {"execution": Execution(liquidation_fee=0.0), "start": "2021-12-01", "short": inverse()}
    checked(178.0, **given)
    with pytest.raises(
        ParameterError,
        match=r"gives short a margin of 0\.500%, and binance's tier of 2021-12-01 from 15 ETH needs 0\.560% of a position of 25 ETH",
    ):
        checked(200.0, **given)


def test_coins_held_long_are_a_margin_that_leverage_does_not_touch() -> None:
    given: dict[str, Any] = {
        "execution": Execution(liquidation_fee=0.0),
        "start": "2021-12-01",
        "long": coin(quote="USD"),
        "short": inverse(),
    }
    checked(200.0, **given)
    with pytest.raises(ParameterError, match=r"^leverage=200 gives short"):
        checked(200.0, sides=Sides.BOTH, **given)
    market, rule = setting("2021-12-01", 2, long=inverse(), short=coin(quote="USD"))
    swapped = Rule(long=rule.long, short=rule.short, sides=Sides.MINUS)
    assert (coin_margined(market, swapped, 0), coin_margined(market, rule, 0), coin_margined(market, swapped, 1)) == (True, False, False)


# ---------------------------------------------------------------- notes


def told(execution: Execution, start: str, days: int, **legs: Item) -> list[str]:
    market, rule = setting(start, days, **legs)
    return rule_notes(market, rule, execution, *terms_of(market, rule, execution))


def test_rules_that_are_known_from_later_days_only_are_told() -> None:
    (note,) = told(Execution(), "2021-01-01", 5, long=coin(), short=linear())
    assert note == (
        "Rules of binance that are known from later days only are taken for 2021-01-01: fees of 2021-06-24 and 2021-06-30, liquidation of 2023-06-25, "
        "margin of 2021-09-24; carry venues binance --at 2021-01-01 shows them."
    )
    assert told(Execution(), "2024-10-02", 5, long=coin(), short=linear()) == []


def test_what_a_setting_overrides_is_not_told() -> None:
    (note,) = told(Execution(derivative_fee=0.0, maintenance=0.01), "2021-01-01", 5, short=linear())
    assert "taken for 2021-01-01: liquidation of 2023-06-25; carry" in note
    assert told(FREE, "2021-01-01", 5, long=coin(venue="the bank"), short=linear()) == []


def test_rules_that_changed_in_the_run_are_told() -> None:
    """The change of fees in July 2021 is assumed, that of the tiers is known; the fee that is known from 2024 on is the same."""
    notes = told(Execution(liquidation_fee=0.0), "2021-06-25", 1000, short=linear())
    assert notes[1:] == [
        "Rules of binance changed on 2021-07-01 (assumed), 2022-05-01, 2022-08-31, 2023-03-31, 2023-08-28, 2023-12-30, 2024-02-29 and were followed."
    ]
    both = told(Execution(**KEPT), "2024-03-01", 600, long=linear(venue="hyperliquid"), short=coin(venue="coinbase"))
    assert both == ["Rules of hyperliquid changed on 2024-03-11, 2025-05-05 and were followed."]
    assert told(Execution(), "2024-03-01", 20, long=coin(), short=linear())[1:] == []


def test_each_venue_has_its_sentence() -> None:
    items = [(market_item, ("fees", "margin")) for market_item in (setting("2021-01-01", 1, long=linear(venue=name))[0].instruments["long"] for name in ("binance", "dydx"))]  # fmt: skip
    notes = assumed_rules(items, pd.Timestamp("2021-01-01", tz="UTC"))
    assert [note.split(" that")[0] for note in notes] == ["Rules of binance", "Rules of dydx"]


@pytest.mark.parametrize(
    ("execution", "kind", "tables"),
    [
        (Execution(), Kind.SPOT, ("fees", "contract_fees")),
        (Execution(spot_fee=0.0), Kind.SPOT, ()),
        (Execution(), Kind.PERPETUAL, ("fees", "contract_fees", "liquidation", "margin")),
        (Execution(margin=bt.Margin.OFF, derivative_fee=0.0), Kind.PERPETUAL, ()),
        (Execution(derivative_fee=0.0, maintenance=0.0), Kind.FUTURE, ("fees", "contract_fees", "delivery", "liquidation")),
        (Execution.free(), Kind.FUTURE, ("margin",)),
        (FREE, Kind.FUTURE, ()),
    ],
)
def test_the_tables_that_are_used(execution: Execution, kind: Kind, tables: tuple[str, ...]) -> None:
    market, _ = setting("2024-10-01", 1, long=Item(kind=kind, opens=[1.0]))
    assert used(execution, market.instruments["long"]) == tables
