"""Golden cases of the engine, worked by hand; the arithmetic stands in the comments.

Unless a case says otherwise: daily bars, bar t spans (t, t + 1] days, capital 10,000, size 0.5, leverage 1, no costs, no rates, margin off, no signal
read and a close of 100 at bar 0, hence a quantity of 50. Decisions fall at the close of bar 0, fills at the open of bar 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bridge import times
from hypothesis import given, settings
from hypothesis import strategies as st

import backtest as bt
from backtest import kernels as k
from backtest import simulate
from backtest.errors import ParameterError
from backtest.instruments import Instrument, Kind
from backtest.market import DAY, DatasetInfo
from backtest.tapes import laid_out

NAN, CAPITAL = math.nan, 10_000.0
COSTS = ("spot_fee", "derivative_fee", "half_spread", "delivery_fee", "liquidation_fee", "maintenance", "idle_rate", "borrow_rate")
FREE = bt.Execution(margin=bt.Margin.OFF, **dict.fromkeys(COSTS, 0.0))
SERIES = replace(FREE, idle_rate=None, borrow_rate=None)  # rates come from the market


@dataclass(frozen=True, kw_only=True)
class Item:
    """One instrument: no bar where `open` is NaN. `closes` are the opens unless given. Funding: (time, rate, own mark or NaN)."""

    kind: Kind
    opens: Sequence[float]
    closes: Sequence[float] | None = None
    columns: dict[str, Sequence[float]] = field(default_factory=dict)
    funding: Sequence[tuple[int, float, float]] = ()
    expiry: int | None = None
    settlement: float = NAN
    lot: float | None = None
    min_notional: float | None = None

    def frame(self) -> pd.DataFrame:
        closes = self.opens if self.closes is None else self.closes
        columns = {
            "open": self.opens,
            "high": np.fmax(self.opens, closes),
            "low": np.fmin(self.opens, closes),
            "close": closes,
        } | self.columns
        index = times([(bar + 1) * DAY for bar in range(len(self.opens))])
        return pd.DataFrame({name: np.asarray(values, float) for name, values in columns.items()}, index=index).dropna(subset=["open"])

    def instrument(self, name: str) -> Instrument:
        expires = None if self.expiry is None else pd.Timestamp(self.expiry, tz="UTC")
        facts = {"lot": self.lot, "min_notional": self.min_notional, "expires_at": expires}
        return Instrument(id=name, venue="binance", kind=self.kind, base="COIN", quote="USDT", **facts)


def spot(opens: Sequence[float], closes: Sequence[float] | None = None, **more: Any) -> Item:
    return Item(kind=Kind.SPOT, opens=opens, closes=closes, **more)


def perpetual(opens: Sequence[float], closes: Sequence[float] | None = None, **more: Any) -> Item:
    return Item(kind=Kind.PERPETUAL, opens=opens, closes=closes, **more)


def future(opens: Sequence[float], closes: Sequence[float] | None = None, **more: Any) -> Item:
    return Item(kind=Kind.FUTURE, opens=opens, closes=closes, **more)


def flat(bars: int, price: float = 100.0) -> list[float]:
    return [price] * bars


class GoldenData:
    """What a market asks of a dataset, from memory."""

    def __init__(self, items: dict[str, Item], series: dict[str, list[tuple[int, float]]]) -> None:
        self.items, self.values, self.series_names = items, series, list(series)
        self.instruments = {name: item.instrument(name) for name, item in items.items()}
        self.frames = {name: item.frame() for name, item in items.items()}

    def bars(self, name: str, start: pd.Timestamp | None, end: pd.Timestamp | None) -> pd.DataFrame:
        return self.frames[name]

    def funding(self, name: str) -> pd.DataFrame:
        return funding_table(self.items[name].funding)

    def settlements(self) -> pd.DataFrame:
        settled = {name: item for name, item in self.items.items() if not math.isnan(item.settlement)}
        prices = [item.settlement for item in settled.values()]
        return pd.DataFrame({"instrument": list(settled), "ts": times([item.expiry for item in settled.values()]), "price": prices})

    def series(self, name: str) -> pd.DataFrame:
        known_at = times([moment for moment, _ in self.values[name]])
        return pd.DataFrame({"ts": known_at, "known_at": known_at, "value": [value for _, value in self.values[name]]})


def funding_table(events: Sequence[tuple[int, float, float]]) -> pd.DataFrame:
    columns = {"rate": [rate for _, rate, _ in events], "interval_hours": 8.0, "mark_price": [mark for _, _, mark in events]}
    return pd.DataFrame(columns, index=times([moment for moment, _, _ in events]), dtype=float)


def market_of(items: dict[str, Item], series: dict[str, list[tuple[int, float]]] | None = None, staleness: int = 0) -> bt.Market:
    """The instruments on a clock that has every bar."""
    data: Any = GoldenData(items | {"CLOCK": spot(flat(max(len(item.opens) for item in items.values())))}, series or {})
    market: Any = bt.Market(data.frames, data.instruments, data, DAY, staleness, DatasetInfo("golden", "", True, ""))
    market.missing_funding = lambda *_, **__: np.zeros(0, np.int64)  # the events follow no schedule: none of them is missing
    return market


def trade(
    long: Item | None, short: Item | None = None, *, execution: bt.Execution = FREE, capital: float = CAPITAL,
    series: dict[str, list[tuple[int, float]]] | None = None, staleness: int = 0, tiers: Sequence[tuple[float, float, float]] | None = None,
    jump: bool = True, **rule: Any,
) -> bt.Result:  # fmt: skip
    """Run a rule on a market of these legs. tiers: (floor, rate, deduction) of both legs instead of the execution's maintenance."""
    market = market_of({name: item for name, item in (("LONG", long), ("SHORT", short)) if item is not None}, series, staleness)
    legs = {name: None if item is None else market.leg(name.upper()) for name, item in (("long", long), ("short", short))}
    rule = {"resize": None} | legs | rule
    if tiers is None and jump:
        return bt.run(bt.Rule(**rule), market, capital=capital, execution=execution)
    prepared = simulate.prepare(market, bt.Rule(**rule), execution)
    for terms in prepared.terms[0]:
        terms["tiers"] = len(tiers or ()) or terms["tiers"]
        for row, tier in enumerate(tiers or ()):
            terms["tier_floor"][row], terms["tier_rate"][row], terms["tier_deduction"][row] = tier
    return bt.Result(prepared.rule, prepared, capital, simulate.simulate(prepared, capital, jump=jump))


def near(value: object) -> Any:
    return pytest.approx(value, rel=1e-11, abs=1e-8)


def last(result: bt.Result) -> dict[str, float]:
    """The sources at the end that are not 0; they must explain the equity."""
    final = result.attribution.iloc[-1]
    assert final.sum() == near(result.equity.iloc[-1] - result.capital)
    return {str(name): amount for name, amount in final.items() if amount != 0.0}


def balances(result: bt.Result) -> list[float]:
    """The interest-bearing balance after each change."""
    return [float(value) for value in result._log.ledger["balance"]]


def filled(result: bt.Result) -> list[tuple[int, str, str, float, float]]:
    return [
        (int(bar), *row) for bar, row in zip(result._log.fills["bar"], result.fills[["slot", "action", "quantity", "reference"]].values, strict=True)
    ]  # fmt: skip


def days(moment: pd.Timestamp) -> float:
    return moment.value / DAY


# ---------------------------------------------------------------- settlement


def test_settlement_pays_its_price_and_fee_and_the_spot_leaves_at_the_next_open() -> None:
    # Short from 104 to 101: 150. Spot from 100 to its close of 102 in that bar: 100; then alone to 99: legging −150. Delivery 50·101·0.001 = 5.05.
    short = future([104.0, 104.0, 105.0], [104.0, 105.0, 103.0], expiry=2 * DAY + DAY // 2, settlement=101.0)
    result = trade(spot([100.0, 100.0, 101.0, 99.0], [100.0, 101.0, 102.0, 98.0]), short, execution=replace(FREE, delivery_fee=0.001))
    assert last(result) == near({"price_long": 100.0, "price_short": 150.0, "legging": -150.0, "settlement": -5.05})
    assert result.equity.tolist() == near([10_000.0, 10_000.0, 10_244.95, 10_094.95])
    row = result.trades.iloc[0]
    assert (row["settlement_price"], row["exit_long"], row["exit_short"], row["reason"]) == (101.0, 99.0, 101.0, "expiry")
    assert (days(row["entered_at"]), days(row["exited_at"])) == (1.0, 3.0)


@pytest.mark.parametrize(("expiry", "bar"), [(2 * DAY, 1), (2 * DAY + 1, 2), (3 * DAY, 2)])
def test_an_expiry_settles_in_the_bar_that_its_instant_ends_or_lies_in(expiry: int, bar: int) -> None:
    short = future([100.0, 100.0, 100.0 if expiry > 2 * DAY else NAN, NAN], expiry=expiry, settlement=100.0)
    assert [fill[:3] for fill in filled(trade(None, short))] == [(1, "short", "entry"), (bar, "short", "settlement")]


def test_two_futures_that_expire_together_settle_as_a_pair() -> None:
    # Long 100 → 90, short 104 → 91: −500 and 650, nothing is legging; closed at the instant of the expiry.
    facts = {"expiry": 2 * DAY + DAY // 2}
    result = trade(future(flat(3), settlement=90.0, **facts), future(flat(3, 104.0), settlement=91.0, **facts))
    assert last(result) == near({"price_long": -500.0, "price_short": 650.0})
    assert days(result.trades["exited_at"].iloc[0]) == 2.5


# ---------------------------------------------------------------- fills and their costs


def test_fees_are_paid_on_the_fill_price_and_slippage_on_the_reference() -> None:
    # Spot bought at 102·1.002 = 102.204: fee 50·102.204·0.001 = 5.1102, slippage 50·102·0.002 = 10.2; marked at 104: 50·2 = 100.
    # Perpetual sold at 105·0.998 = 104.79: fee 50·104.79·0.0004 = 2.0958, slippage 50·105·0.002 = 10.5; marked at 106: −50.
    execution = replace(FREE, spot_fee=0.001, derivative_fee=0.0004, half_spread=0.002)
    result = trade(spot([100.0, 102.0], [100.0, 104.0]), perpetual([103.0, 105.0], [103.0, 106.0]), execution=execution)
    assert last(result) == near({"price_long": 100.0, "price_short": -50.0, "fees": -7.206, "slippage": -20.7})
    assert result.fills["price"].tolist() == near([102.204, 104.79])
    # Cash: 10,000 − 50·102.204 − 7.206 and the collateral of 50·104.79.
    assert balances(result) == near([10_000.0 - 5110.2 - 7.206 - 5239.5])


def test_what_is_decided_at_a_close_fills_at_the_next_open() -> None:
    result = trade(spot([100.0, 101.0, 102.0, 103.0, 104.0]), signal=np.array([0.0, 1.0, 0.0, 0.0, 0.0]), enter=0.5, exit=0.5)
    assert [fill[:3] for fill in filled(result)] == [(2, "long", "entry"), (3, "long", "exit")]
    assert [fill[4] for fill in filled(result)] == [102.0, 103.0]


def test_the_half_spread_is_that_of_the_quote_before_the_open() -> None:
    # Quote at the end of bar 0: 99 to 101, half a spread of 1/100; that of bar 1 (90 to 110) is not known at its open.
    quotes = {"bid": [99.0, 90.0], "ask": [101.0, 110.0]}
    result = trade(spot([100.0, 100.0], columns=quotes), execution=replace(FREE, half_spread=None))
    assert last(result) == near({"slippage": -50.0})


def test_without_a_quote_the_half_spread_is_the_setting() -> None:
    result = trade(spot([100.0, 100.0], columns={"bid": [NAN, 90.0], "ask": [NAN, 110.0]}), execution=replace(FREE, half_spread=None))
    assert last(result) == near({"slippage": -0.5})


def test_a_leg_that_waits_for_its_open_is_legging_until_then() -> None:
    # Spot alone from 100 to its own open of 102: legging 100; together 102 → 103: 50; short 106 → 105: 50.
    short = perpetual([104.0, NAN, 106.0], [104.0, NAN, 105.0])
    result = trade(spot([100.0, 100.0, 102.0], [100.0, 101.0, 103.0]), short)
    assert last(result) == near({"legging": 100.0, "price_long": 50.0, "price_short": 50.0})


def test_a_held_slot_without_an_open_of_its_own_is_valued_at_its_last_close() -> None:
    # The spot has no bar when the short fills: legging ends at its last close of 101; it stays there, then moves to 103.
    result = trade(spot([100.0, 100.0, NAN, 103.0], [100.0, 101.0, NAN, 103.0]), perpetual([100.0, NAN, 100.0, 100.0]))
    assert last(result) == near({"legging": 50.0, "price_long": 100.0})


def test_one_leg_rules_post_prices_and_no_legging() -> None:
    # A short slot alone is sold on side +1: −50·(103 − 100).
    assert last(trade(None, perpetual([100.0, 100.0, 103.0]))) == near({"price_short": -150.0})
    assert last(trade(spot([100.0, 100.0, 103.0]))) == near({"price_long": 150.0})


def test_each_trade_has_its_own_profit_and_sources() -> None:
    # 50 from 100 to 110: 500. Then 0.5·10,500/110 from 110 to 121: 525.
    result = trade(spot([100.0, 100.0, 110.0, 110.0, 121.0]), signal=np.array([1.0, 0.0, 1.0, 0.0, 0.0]), enter=0.5, exit=0.5)
    assert result.trades["pnl"].tolist() == near([500.0, 525.0])
    assert [trade["price_long"] for trade in result.trades["attribution"]] == near([500.0, 525.0])


def test_side_minus_one_sells_the_long_slot_and_buys_the_short_one() -> None:
    result = trade(spot([100.0, 100.0, 103.0]), perpetual([100.0, 100.0, 104.0]), sides=bt.Sides.MINUS)
    assert last(result) == near({"price_long": -150.0, "price_short": 200.0})
    assert result.trades["side"].tolist() == [-1]


def test_the_end_of_the_data_closes_nothing_and_charges_nothing() -> None:
    # One fee at entry: 50·100·0.01 = 50; the order of the last close dies.
    result = trade(spot(flat(4)), execution=replace(FREE, spot_fee=0.01), max_hold="2D")
    assert last(result) == near({"fees": -50.0 - 50.0})
    result = trade(spot([*flat(3), 110.0]), execution=replace(FREE, spot_fee=0.01), max_hold="3D")
    assert last(result) == near({"fees": -50.0, "price_long": 500.0})
    row = result.trades.iloc[0]
    assert (row["reason"], row["pnl"], len(result.fills)) == ("end of data", near(450.0), 1)
    assert pd.isna(row["exited_at"])
    assert math.isnan(row["exit_long"])
    assert result.positions["long_quantity"].iloc[-1] == 50.0


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("close", "lot", "quantity"),
    [
        (100.0, None, 50.0),
        (101.0, None, 5000.0 / 101.0),
        (101.0, 1.0, 49.0),  # 49.5 lots
        (101.0, 20.0, 40.0),
        (101.0, 50.0, 0.0),
    ],
)
def test_size_is_a_share_of_equity_in_whole_lots(close: float, lot: float | None, quantity: float) -> None:
    result = trade(spot(flat(2, close), lot=lot))
    assert result.positions["long_quantity"].iloc[-1] == near(quantity)


def test_a_count_within_1e_9_below_a_whole_number_of_lots_is_that_number() -> None:
    # 5000/1 base units are 50,000 lots of 0.1; 1e-12 too few are still 50,000, 1e-8 too few are 49,999.
    for short_of, lots in [(1e-12, 50_000), (1e-8, 49_999)]:
        result = trade(spot(flat(2, 1.0), lot=0.1), size=0.5 * (1.0 - short_of))
        assert result.positions["long_quantity"].iloc[-1] == near(0.1 * lots)


def test_the_coarser_lot_and_the_larger_minimum_notional_of_both_legs_count() -> None:
    for long, short, quantity in [(20.0, 3.0, 40.0), (3.0, 20.0, 40.0)]:
        result = trade(spot(flat(2), lot=long), perpetual(flat(2), lot=short))
        assert result.positions["short_quantity"].iloc[-1] == -quantity
    for long, short, entries in [(5000.0, 10.0, 2), (10.0, 5000.0, 2), (5000.1, 10.0, 0), (10.0, 5000.1, 0)]:
        assert len(trade(spot(flat(2), min_notional=long), perpetual(flat(2), min_notional=short)).fills) == entries


# ---------------------------------------------------------------- funding


def test_a_short_receives_positive_funding_and_a_long_pays_it() -> None:
    # 50·100·0.001 = 5 and −50·110·0.003 = −16.5, each on the close before it.
    events = [(DAY + DAY // 2, 0.001, NAN), (2 * DAY + DAY // 2, -0.003, NAN)]
    one = {"opens": [100.0, 100.0, 110.0], "closes": [100.0, 110.0, 110.0], "funding": events}
    assert last(trade(None, perpetual(**one))) == near({"price_short": -500.0, "funding": -11.5})
    assert last(trade(perpetual(**one))) == near({"price_long": 500.0, "funding": 11.5})


def test_a_payment_belongs_to_the_bar_that_its_instant_ends_and_to_the_position_after_that_bars_fills() -> None:
    # In at the instant 1D, out at 3D (bar 2 closes at 3D, two days after the fill). Paid are 2D and 3D: 50·100·(0.002 + 0.004) = 30.
    events = [(DAY, 0.001, NAN), (2 * DAY, 0.002, NAN), (3 * DAY, 0.004, NAN), (3 * DAY + 1, 0.008, NAN)]
    result = trade(None, perpetual(flat(6), funding=events), max_hold="2D", signal=np.array([1.0, *flat(5, 0.0)]), enter=0.5)
    assert last(result) == near({"funding": 30.0})
    assert result.attribution["funding"].tolist() == near([0.0, 10.0, 30.0, 30.0, 30.0, 30.0])


@pytest.mark.parametrize(
    ("time", "own", "mark", "price"),
    [
        (2 * DAY + DAY // 2, 90.0, 97.0, 90.0),  # the event's own
        (2 * DAY + DAY // 2, NAN, 97.0, 97.0),  # else the last mark: that of bar 1
        (3 * DAY, NAN, 97.0, 96.0),  # at its very end a bar's mark is known
        (3 * DAY - 1, NAN, 97.0, 97.0),
        (2 * DAY + DAY // 2, NAN, NAN, 103.0),  # else the last close
        (3 * DAY, NAN, NAN, 105.0),
    ],
)
def test_funding_is_paid_on_the_events_own_mark_else_the_last_mark_else_the_last_close(
    time: int, own: float, mark: float, price: float
) -> None:
    marks = {"mark": [mark, mark, mark - 1.0]}
    short = perpetual([100.0, 102.0, 104.0], [100.0, 103.0, 105.0], columns=marks, funding=[(time, 0.001, own)])
    assert last(trade(None, short))["funding"] == near(50.0 * price * 0.001)


def test_funding_stays_in_the_margin_account_until_the_fill_that_pays_it_out() -> None:
    # 10,000 earn 1 in bar 0. Collateral 2,500 at leverage 2, so 7,501 earn 0.7501 a day in bars 1 and 2; the 500 of funding in bar 1 don't. After the
    # exit at 101: 7,501 + 1.5002 + 2,500 − 50 + 500.
    short = perpetual([100.0, 100.0, 100.0, 101.0], funding=[(2 * DAY, 0.1, NAN)], lot=1.0)
    result = trade(None, short, leverage=2.0, execution=replace(FREE, idle_rate=0.0365), max_hold="2D")
    assert result.attribution["idle_cash"].tolist() == near([1.0, 1.7501, 2.5002, 2.5002 + 1.04525002])
    assert balances(result) == near([7501.0, 10_452.5002])


# ---------------------------------------------------------------- what runs by the clock; 0.0365 a year is one ten-thousandth a day


def test_a_negative_balance_pays_the_borrow_rate_and_a_positive_one_earns_the_idle_rate() -> None:
    # 10,000 earn 1 in bar 0. 150 bought for 15,000: −4,999 pay 0.9998 a day at 0.073 in bars 1 and 2. Sold: −4,999 − 1.9996 + 15,000 earn 0.99990004.
    result = trade(spot(flat(4), lot=1.0), size=1.5, execution=replace(FREE, idle_rate=0.0365, borrow_rate=0.073), max_hold="2D")
    assert balances(result) == near([-4999.0, 9999.0004])
    assert result.attribution["financing"].tolist() == near([0.0, -0.9998, -1.9996, -1.9996])
    assert result.attribution["idle_cash"].tolist() == near([1.0, 1.0, 1.0, 1.99990004])


def test_the_proceeds_of_a_short_spot_earn_nothing_and_the_coin_costs_its_rate_on_the_close() -> None:
    # 10,001 go on earning 1.0001 a day, the proceeds of 5,000 nothing. The coin: 50·100·0.0002 = 1, then 50·110·0.0002 = 1.1.
    series = {"risk_free": [(0, 0.0365)], "borrow_base": [(0, 0.073)], "staking_yield": [(0, 0.5)]}
    result = trade(None, spot([100.0, 100.0, 100.0], [100.0, 100.0, 110.0], lot=1.0), series=series, execution=SERIES)
    assert balances(result) == near([10_001.0])
    assert result.attribution["idle_cash"].tolist() == near([1.0, 2.0001, 3.0002])
    assert result.attribution["borrow"].tolist() == near([0.0, -1.0, -2.1])


def test_a_staked_spot_earns_the_yield_on_the_close() -> None:
    # 50·100·0.0002 = 1, then 50·110·0.0002 = 1.1; it reaches the balance at the exit: 5,000 + 2.1 + 50·110.
    series = {"staking_yield": [(0, 0.073)], "borrow_base": [(0, 0.5)]}
    long = spot([100.0, 100.0, 100.0, 110.0], [100.0, 100.0, 110.0, 110.0])
    result = trade(long, series=series, execution=SERIES, stake=True, max_hold="2D")
    assert result.attribution["staking"].tolist() == near([0.0, 1.0, 2.1, 2.1])
    assert balances(result) == near([5000.0, 10_502.1])
    assert "staking" not in last(trade(long, series=series, execution=SERIES))


@pytest.mark.parametrize(
    ("known", "earned"),
    [
        (
            [(0, 0.0365), (2 * DAY, 0.073), (4 * DAY - 1, 0.1095)],
            [1.0, 2.0, 4.0, 6.0, 9.0],
        ),  # known at 4D − 1 ns: bar 4 is the first that begins later
        ([(DAY, 0.0365)], [0.0, 1.0, 2.0, 3.0, 4.0]),  # before any is known: 0
        ([(1, 0.0365), (2 * DAY + 1, 0.073)], [0.0, 1.0, 2.0, 4.0, 6.0]),
    ],
)
def test_rates_are_those_known_when_the_bar_begins(known: list[tuple[int, float]], earned: list[float]) -> None:
    result = trade(spot(flat(5)), series={"risk_free": known}, execution=SERIES, signal=np.zeros(5), enter=1.0)
    assert result.attribution["idle_cash"].tolist() == near(earned)
    assert len(result.fills) == 0


@pytest.mark.parametrize(("series", "source", "slot"), [("borrow_base", "borrow", "short"), ("staking_yield", "staking", "long")])
def test_rates_of_a_coin_are_those_known_when_the_bar_begins(series: str, source: str, slot: str) -> None:
    # 0.0002·5,000 = 1 in bar 1; the rate that becomes known inside bar 2 counts from bar 3 on.
    legs = {"long": spot(flat(4)), "short": None} if slot == "long" else {"long": None, "short": spot(flat(4))}
    result = trade(**legs, series={series: [(0, 0.073), (2 * DAY + 1, 0.146)]}, execution=SERIES, stake=slot == "long")
    assert np.abs(result.attribution[source]).tolist() == near([0.0, 1.0, 2.0, 4.0])


def test_a_settlement_pays_interest_up_to_the_end_of_its_bar_into_the_balance() -> None:
    # 5,001 beside the collateral earn 0.5001 in bars 1 and 2; then 5,001 + 1.0002 + 5,000.
    short = future(flat(4), expiry=2 * DAY + DAY // 2, settlement=100.0, lot=1.0)
    assert balances(trade(None, short, execution=replace(FREE, idle_rate=0.0365))) == near([5001.0, 10_002.0002])


# ---------------------------------------------------------------- margin: 50 at 100, leverage 10, so a collateral of 500

MARGIN = replace(FREE, margin=bt.Margin.ISOLATED, maintenance=0.01, liquidation_fee=0.005)
CROSS = replace(MARGIN, margin=bt.Margin.CROSS)
BREACH = 5500.0 / 50.5  # 500 − 50·(m − 100) = 0.01·50·m: 108.91
BREACH_OF_A_LONG = 4500.0 / 49.5  # 500 + 50·(m − 100) = 0.01·50·m: 90.91


def marks(high: Sequence[float], low: Sequence[float]) -> dict[str, Sequence[float]]:
    return {"mark_high": high, "mark_low": low}


def squeezed(high: float, opened: float = 104.0, low: float = 90.92, **more: Any) -> Item:
    """Bar 2 opens at 104 and closes at 105, its mark reaching `high` and `low`."""
    return perpetual(
        [100.0, 100.0, opened, 105.0],
        [100.0, 100.0, 105.0, 105.0],
        columns=marks([100.0, 100.0, high, 105.0], [100.0, 100.0, low, 105.0]),
        **more,
    )


def test_a_short_at_leverage_ten_is_liquidated_where_its_account_meets_the_maintenance() -> None:
    result = trade(None, squeezed(110.0), execution=MARGIN, leverage=10.0, signal=np.array([1.0, *flat(3, 0.0)]), enter=0.5)
    # The account is then worth its maintenance 0.01·50·m; the fee 0.005·50·m comes off it, nothing is absorbed.
    assert last(result) == near({"price_short": -50.0 * (BREACH - 100.0), "liquidation": -0.005 * 50.0 * BREACH})
    row = result.trades.iloc[0]
    assert (row["reason"], row["exit_short"], days(row["exited_at"])) == ("liquidation", near(BREACH), 3.0)


def test_a_liquidation_pays_interest_up_to_the_end_of_its_bar_into_the_balance() -> None:
    # 10,001 − 500 earn 0.9501 in bars 1 and 2; then come the collateral, less the loss and the fee.
    short = replace(squeezed(110.0), lot=1.0)
    result = trade(
        None, short, execution=replace(MARGIN, idle_rate=0.0365), leverage=10.0, signal=np.array([1.0, *flat(3, 0.0)]), enter=0.5
    )
    assert balances(result) == near([9501.0, 9501.0 + 1.9002 + 500.0 - 50.0 * (BREACH - 100.0) - 0.005 * 50.0 * BREACH])


def test_a_long_at_leverage_ten_is_liquidated_downwards() -> None:
    long = perpetual([100.0, 100.0, 96.0], columns=marks([100.0, 100.0, 200.0], [100.0, 100.0, 90.0]))
    result = trade(long, execution=MARGIN, leverage=10.0)
    assert last(result) == near({"price_long": -50.0 * (100.0 - BREACH_OF_A_LONG), "liquidation": -0.005 * 50.0 * BREACH_OF_A_LONG})


@pytest.mark.parametrize(("high", "liquidated"), [(108.92, True), (108.91, False)])
def test_the_worst_mark_of_the_bar_decides_and_not_its_close(high: float, liquidated: bool) -> None:
    assert ("liquidation" in last(trade(None, squeezed(high), execution=MARGIN, leverage=10.0))) == liquidated
    long = perpetual(flat(3), columns=marks([100.0, 100.0, 200.0], [100.0, 100.0, 90.90 if liquidated else 90.91]))
    assert ("liquidation" in last(trade(long, execution=MARGIN, leverage=10.0))) == liquidated


@pytest.mark.parametrize(("high", "mark_high", "liquidated"), [(109.0, None, True), (109.0, 105.0, False), (105.0, 109.0, True)])
def test_extremes_of_the_mark_go_before_those_of_trades(high: float, mark_high: float | None, liquidated: bool) -> None:
    columns = {"high": [100.0, 100.0, high]} | ({} if mark_high is None else {"mark_high": [100.0, 100.0, mark_high]})
    assert ("liquidation" in last(trade(None, perpetual(flat(3), columns=columns), execution=MARGIN, leverage=10.0))) == liquidated


@pytest.mark.parametrize(
    ("tiers", "price"),
    [
        ([(0.0, 0.01, 0.0), (6000.0, 0.02, 60.0)], BREACH),
        ([(0.0, 0.01, 0.0), (4000.0, 0.02, 40.0)], 5540.0 / 51.0),  # 5,500 − 50·m = 0.02·50·m − 40: 108.63, a notional of 5,431
        ([(0.0, 0.01, 0.0), (5400.0, 0.5, 2646.0)], 8146.0 / 75.0),  # 5,500 − 50·m = 0.5·50·m − 2,646: 108.61, just above the floor
        ([(0.0, 0.01, 0.0), (1000.0, 0.02, 10.0), (4000.0, 0.04, 90.0)], 5590.0 / 52.0),  # 107.5
    ],
)
def test_a_tiered_short_breaches_by_rate_and_deduction_of_its_notional(tiers: list[tuple[float, float, float]], price: float) -> None:
    for high, liquidated in [(price + 0.01, True), (price - 0.01, False)]:
        result = trade(None, squeezed(high), execution=MARGIN, leverage=10.0, tiers=tiers)
        assert [fill[4] for fill in filled(result) if fill[2] == "liquidation"] == near([price] if liquidated else [])


@pytest.mark.parametrize(
    ("tiers", "price"),
    [
        ([(0.0, 0.01, 0.0), (6000.0, 0.02, 60.0)], BREACH_OF_A_LONG),
        ([(0.0, 0.01, 0.0), (4000.0, 0.02, 40.0)], 4460.0 / 49.0),  # 4,500 − 40 = 49·m: 91.02, a notional of 4,551
        ([(0.0, 0.01, 0.0), (4500.0, 0.5, 2205.0)], 2295.0 / 25.0),  # 4,500 − 2,205 = 25·m: 91.8, just above the floor
    ],
)
def test_a_tiered_long_breaches_by_rate_and_deduction_of_its_notional(tiers: list[tuple[float, float, float]], price: float) -> None:
    for low, liquidated in [(price - 0.01, True), (price + 0.01, False)]:
        long = perpetual(flat(3), columns=marks(flat(3), [100.0, 100.0, low]))
        result = trade(long, execution=MARGIN, leverage=10.0, tiers=tiers)
        assert [fill[4] for fill in filled(result) if fill[2] == "liquidation"] == near([price] if liquidated else [])


def test_an_isolated_account_that_gaps_through_zero_costs_its_collateral_and_the_venue_the_rest() -> None:
    # Opens at 115, worse than the breach: −750; fee 0.005·50·115 = 28.75; account 500 − 750 − 28.75 = −278.75, the venue's loss.
    result = trade(None, squeezed(116.0, 115.0), execution=MARGIN, leverage=10.0, signal=np.array([1.0, *flat(3, 0.0)]), enter=0.5)
    assert last(result) == near({"price_short": -750.0, "liquidation": 278.75 - 28.75})
    assert balances(result)[-1] == near(9500.0)


def test_a_cross_account_that_gaps_through_zero_pays_all_of_it() -> None:
    # 900 sold at 100: collateral 9,000, cash 1,000. At 115: −13,500, fee 0.005·900·115 = 517.5.
    one = {"leverage": 10.0, "size": 9.0, "signal": np.array([1.0, *flat(3, 0.0)]), "enter": 0.5}
    assert last(trade(None, squeezed(116.0, 115.0), execution=CROSS, **one)) == near({"price_short": -13_500.0, "liquidation": -517.5})
    assert trade(None, squeezed(116.0, 115.0), execution=MARGIN, **one).equity.iloc[-1] == near(1000.0)


def test_cross_margin_draws_on_spare_cash() -> None:
    # 450 sold: collateral 4,500, cash 5,500. 10,000 − 450·(m − 100) = 4.5·m: m = 55,000/454.5 = 121.01; isolated it is 108.91.
    one = {"execution": CROSS, "leverage": 10.0, "size": 4.5}
    assert "liquidation" not in last(trade(None, squeezed(121.0), **one))
    assert last(trade(None, squeezed(121.1), **one))["liquidation"] == near(-0.005 * 450.0 * 55_000.0 / 454.5)


def test_a_debt_takes_nothing_from_a_cross_account() -> None:
    # 105 bought and sold: 10,000 − 10,500 − 1,050 = −1,550 of cash; the short breaches where it would alone.
    for high, liquidated in [(108.91, False), (108.92, True)]:
        result = trade(spot(flat(4)), squeezed(high), execution=CROSS, leverage=10.0, size=1.05)
        assert ("liquidation" in last(result)) == liquidated


def test_the_long_slot_is_judged_first_and_may_leave_the_short_one_no_spare_cash() -> None:
    # 400 each way: collateral 4,000 each, cash 2,000. Long to 80: 6,000 + 400·(m − 100) = 4·m at m = 34,000/396; it takes the spare cash along.
    # The short at 112: 4,000 + 2,000 − 4,800 were enough for 448, what is left is not.
    long = perpetual(flat(3), columns=marks(flat(3), [100.0, 100.0, 80.0]))
    short = perpetual(flat(3), columns=marks([100.0, 100.0, 112.0], flat(3)))
    result = trade(long, short, execution=CROSS, leverage=10.0, size=4.0)
    assert [fill[:3] for fill in filled(result)][2:] == [(2, "long", "liquidation"), (2, "short", "liquidation")]
    assert filled(result)[2][4] == near(34_000.0 / 396.0)


def test_margin_off_never_liquidates() -> None:
    for jump in (True, False):
        assert last(trade(None, squeezed(1000.0), leverage=10.0, jump=jump)) == near({"price_short": -250.0})


def test_funding_of_the_bar_counts_before_its_margin_check() -> None:
    # The short pays 50·100·0.09 = 450: 50 − 50·(m − 100) = 0.5·m: m = 5,050/50.5 = 100. Its mark reaches 101.
    short = perpetual(flat(3, 100.0), columns=marks([100.0, 100.0, 101.0], [100.0, 100.0, 99.0]), funding=[(3 * DAY, -0.09, NAN)])
    result = trade(None, short, execution=MARGIN, leverage=10.0)
    assert last(result) == near({"funding": -450.0, "liquidation": -0.005 * 50.0 * 100.0})


def test_without_a_bar_a_liquidation_is_no_better_than_the_last_close() -> None:
    # The short pays 500 while its market is silent: it would breach at 5,000/50.5 = 99.01, but the last close of 100 is worse. The account of 0
    # can't pay the fee of 25, the venue absorbs it.
    short = perpetual([100.0, 100.0, NAN, 100.0], funding=[(3 * DAY, -0.1, 100.0)])
    result = trade(None, short, execution=MARGIN, leverage=10.0, signal=np.array([1.0, *flat(3, 0.0)]), enter=0.5)
    assert filled(result)[1] == (2, "short", "liquidation", 50.0, 100.0)
    assert last(result) == near({"funding": -500.0})


def test_much_funding_received_moves_the_breach() -> None:
    # Short received 30 a coin: 5,000 + 1,500 − 50·(m − 100) = 0.4·50·m: m = 11,500/70 = 164.29.
    events = [(2 * DAY, 0.1, 100.0), (3 * DAY, 0.1, 100.0), (4 * DAY, 0.1, 100.0)]
    for high, liquidated in [(164.2, False), (164.4, True)]:
        for jump in (True, False):
            short = perpetual(flat(6), columns=marks([*flat(5), high], flat(6)), funding=events)
            result = trade(None, short, execution=replace(MARGIN, maintenance=0.4), jump=jump)
            assert [fill[4] for fill in filled(result)[1:]] == near([11_500.0 / 70.0] if liquidated else [])


def test_a_position_is_margined_from_the_bar_that_fills_it_until_the_open_that_closes_it() -> None:
    squeeze = marks([1000.0, 109.0, 100.0, 100.0], flat(4))
    result = trade(
        None, perpetual(flat(4), columns=squeeze), execution=MARGIN, leverage=10.0, signal=np.array([1.0, *flat(3, 0.0)]), enter=0.5
    )
    assert [fill[:3] for fill in filled(result)] == [(1, "short", "entry"), (1, "short", "liquidation")]
    squeeze = marks([100.0, 100.0, 1000.0, 1000.0], flat(4))
    result = trade(
        None,
        perpetual(flat(4), columns=squeeze),
        execution=MARGIN,
        leverage=10.0,
        signal=np.array([1.0, *flat(3, 0.0)]),
        enter=0.5,
        exit=0.5,
    )
    assert [fill[:3] for fill in filled(result)] == [(1, "short", "entry"), (2, "short", "exit")]


def test_after_a_liquidation_the_other_leg_is_valued_alongside_and_sold_at_the_next_open() -> None:
    # Short out at m against a close of 105: the spot's reference is m·104/105; from there to its sale at 103 it is legging.
    result = trade(spot([100.0, 100.0, 104.0, 103.0]), squeezed(110.0), execution=MARGIN, leverage=10.0)
    alongside = BREACH * 104.0 / 105.0
    expected = {"price_long": 50.0 * (alongside - 100.0), "price_short": -50.0 * (BREACH - 100.0), "legging": 50.0 * (103.0 - alongside)}
    assert last(result) == near(expected | {"liquidation": -0.005 * 50.0 * BREACH})
    assert [fill[:3] for fill in filled(result)][2:] == [(2, "short", "liquidation"), (3, "long", "exit")]
    assert result.trades["reason"].tolist() == ["liquidation"]


def test_a_liquidation_goes_before_the_settlement_of_its_bar() -> None:
    short = future([100.0, 100.0, 104.0], columns=marks([100.0, 100.0, 110.0], flat(3)), expiry=2 * DAY + DAY // 2, settlement=100.0)
    result = trade(None, short, execution=MARGIN, leverage=10.0)
    assert [fill[2] for fill in filled(result)] == ["entry", "liquidation"]
    assert result.trades["reason"].tolist() == ["liquidation"]


# ---------------------------------------------------------------- resize: 50 sold at 100, leverage 2, cash 7,500


@pytest.mark.parametrize(
    ("price", "quantity", "balance"),
    [
        (80.0, 68.75, 8250.0),  # 4,000 of 5,500: to 5,500/80. Cash 7,500 + 2,500 + 1,000 − 68.75·80/2
        (120.0, 37.5, 6750.0),  # 6,000 of 4,500: to 4,500/120. Cash 7,500 + 2,500 − 1,000 − 37.5·120/2
    ],
)
def test_a_resize_settles_the_account_and_margins_it_anew(price: float, quantity: float, balance: float) -> None:
    short = perpetual([100.0, 100.0, price, price], [100.0, price, price, 70.0])
    result = trade(None, short, resize=1.1, leverage=2.0)
    assert filled(result)[1] == (2, "short", "resize", near(50.0 - quantity), price)
    assert balances(result)[:2] == near([7500.0, balance])
    assert last(result)["price_short"] == near(-50.0 * (price - 100.0) - quantity * (70.0 - price))


def test_the_resized_account_is_margined_from_its_fill() -> None:
    # 68.75 at 80, collateral 2,750: 2,750 − 68.75·(m − 80) = 0.01·68.75·m: m = 8,250/69.4375 = 118.81.
    for high, liquidated in [(118.8, False), (118.82, True)]:
        short = perpetual(
            [100.0, 100.0, *flat(2, 80.0)], [100.0, *flat(3, 80.0)], columns=marks([100.0, 100.0, 80.0, high], [100.0, *flat(3, 80.0)])
        )
        result = trade(None, short, resize=1.1, leverage=2.0, execution=MARGIN)
        assert [fill[4] for fill in filled(result)[2:]] == near([8250.0 / 69.4375] if liquidated else [])


@pytest.mark.parametrize(("price", "quantity"), [(80.0, 50.0), (79.0, 5000.0 / 79.0), (125.0, 50.0), (126.0, 5000.0 / 126.0)])
def test_both_legs_return_to_size_when_exposure_has_left_the_band(price: float, quantity: float) -> None:
    # Hedged, equity stays 10,000: |q|·price/5,000 is 0.8 and 1.25 at the edges of the band, which lie inside.
    prices = [100.0, price, price]
    result = trade(spot([100.0, 100.0, price], prices), perpetual([100.0, 100.0, price], prices), resize=1.25)
    assert result.positions.iloc[-1, :2].tolist() == near([quantity, -quantity])


# ---------------------------------------------------------------- entries


def test_the_signal_enters_at_its_level_and_leaves_at_its_exit() -> None:
    signal = np.array([0.49, 0.5, 0.21, 0.2, 0.2])
    result = trade(spot(flat(5)), signal=signal, enter=0.5, exit=0.2)
    assert [fill[:3] for fill in filled(result)] == [(2, "long", "entry"), (4, "long", "exit")]


def test_side_minus_one_reads_the_signal_mirrored() -> None:
    signal = np.array([-0.49, -0.5, -0.21, -0.2, -0.2])
    result = trade(spot(flat(5)), signal=signal, enter=0.5, exit=0.2, sides="minus")
    assert [fill[:4] for fill in filled(result)] == [(2, "long", "entry", -50.0), (4, "long", "exit", 50.0)]


def test_both_sides_try_plus_first_and_each_reads_its_own_signals() -> None:
    for plus, minus, side in [(1.0, -1.0, [1]), (0.0, -1.0, [-1]), (1.0, 0.0, [1]), (0.0, 1.0, []), (NAN, -1.0, [-1])]:
        result = trade(spot(flat(3)), signal=(np.full(3, plus), np.full(3, minus)), enter=0.5, sides="both")
        assert result.trades["side"].tolist() == side
    # Side −1 leaves when −1·exit ≤ 0.2, by the second exit signal and not by the first.
    exits = (flat(4, 0.0), [0.0, -1.0, -0.2, -1.0])
    result = trade(
        spot(flat(4)), signal=(flat(4, 0.0), flat(4, -1.0)), enter=0.5, exit_signal=tuple(map(np.array, exits)), exit=0.2, sides="both"
    )
    assert [fill[:4] for fill in filled(result)] == [(1, "long", "entry", -50.0), (3, "long", "exit", 50.0)]


def test_nan_neither_enters_nor_leaves() -> None:
    result = trade(spot(flat(6)), signal=np.array([NAN, 1.0, NAN, NAN, 0.0, 0.0]), enter=0.5, exit=0.4)
    assert [fill[:3] for fill in filled(result)] == [(2, "long", "entry"), (5, "long", "exit")]


def test_a_signal_of_0_and_1_may_enter_and_leave_at_one_half() -> None:
    result = trade(spot(flat(6)), signal=np.array([1.0, 1.0, 0.0, 1.0, NAN, 0.0]), enter=0.5, exit=0.5)
    assert [fill[:3] for fill in filled(result)] == [(1, "long", "entry"), (3, "long", "exit"), (4, "long", "entry")]


@pytest.mark.parametrize(("enter", "exit_"), [(0.5, 0.5), (0.2, 0.5)])
def test_an_exit_at_or_above_enter_is_refused_for_any_other_signal(enter: float, exit_: float) -> None:
    with pytest.raises(ParameterError, match="exit must be below enter"):
        trade(spot(flat(3)), signal=np.array([0.0, 1.0, 0.7]), enter=enter, exit=exit_)


def test_nothing_is_entered_on_a_close_that_is_not_fresh() -> None:
    long = spot([100.0, NAN, 100.0, 100.0], lot=1.0)
    signal = np.array([0.0, 1.0, 0.0, 0.0])
    assert len(trade(long, signal=signal, enter=0.5).fills) == 0
    assert [fill[:3] for fill in filled(trade(long, signal=signal, enter=0.5, staleness=DAY))] == [(2, "long", "entry")]


def test_an_order_of_which_nothing_has_filled_is_called_off_by_the_signal() -> None:
    # No bar 1: the order waits, the signal of bar 1 calls it off, that of bar 2 gives a new one.
    result = trade(spot([100.0, NAN, 100.0, 100.0, 100.0]), signal=np.array([1.0, 0.0, 1.0, 1.0, 1.0]), enter=0.5, exit=0.5)
    assert [fill[:3] for fill in filled(result)] == [(3, "long", "entry")]
    assert len(result.trades) == 1


def test_nothing_new_is_decided_at_the_close_that_calls_an_order_off() -> None:
    signal = (np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.0, -1.0, 0.0, 0.0]))
    result = trade(spot([100.0, NAN, 100.0, 100.0]), signal=signal, enter=0.5, exit=0.4, sides="both", staleness=DAY)
    assert len(result.fills) == 0


def chain(expiries: dict[str, int], bars: int, **more: Any) -> dict[str, Item]:
    """Dated contracts at 100 with bars until they expire, settled at 100."""
    present = {name: [100.0 if bar * DAY < expiry else NAN for bar in range(bars)] for name, expiry in expiries.items()}
    last_stamp = bars * DAY
    return {
        name: future(present[name], expiry=expiry, settlement=100.0 if expiry <= last_stamp else NAN, **more) for name, expiry in expiries.items()
    }  # fmt: skip


@pytest.mark.parametrize(("min_days", "contract"), [(0.0, "A"), (2.5, "A"), (2.6, "B"), (3.0, "B"), (3.1, "C")])
def test_a_chain_offers_the_nearest_contract_with_enough_days(min_days: float, contract: str) -> None:
    # Decided at 1D: 2.5, 3 and 19 days are left.
    market = market_of(chain({"A": 3 * DAY + DAY // 2, "B": 4 * DAY, "C": 20 * DAY}, 2))
    result = bt.run(bt.Rule(short=market.future_chain(min_days)), market, capital=CAPITAL, execution=FREE)
    assert result.trades["contract"].tolist() == [contract]


def test_a_chain_goes_on_with_the_next_contract_after_a_settlement_and_its_cooldown() -> None:
    # Settled at 2.5D; the first close at or after 4.5D is that of 5D, and the fill opens there. Without a cooldown: the close of 3D.
    for cooldown, entries in [("2D", [1.0, 5.0]), (None, [1.0, 3.0])]:
        market = market_of(chain({"A": 2 * DAY + DAY // 2, "B": 20 * DAY}, 7))
        result = bt.run(bt.Rule(short=market.future_chain(), cooldown=cooldown), market, capital=CAPITAL, execution=FREE)
        assert [days(moment) for moment in result.trades["entered_at"]] == entries
        assert result.trades["contract"].tolist() == ["A", "B"]


def test_a_dated_contract_is_not_offered_at_the_instant_of_its_expiry() -> None:
    signal = np.array([0.0, 1.0, 0.0])
    for expiry, entries in [(2 * DAY, 0), (2 * DAY + 1, 1)]:
        short = future([100.0, 100.0, 100.0], expiry=expiry, settlement=100.0)
        assert [fill[2] for fill in filled(trade(None, short, signal=signal, enter=0.5))].count("entry") == entries


# ---------------------------------------------------------------- exits


def test_a_stop_is_measured_from_the_references_of_the_entry() -> None:
    # Decided at a premium of 0, filled at 72 against 64: 0.125. With a stop of 0.125 it leaves at 0.25, that is at a close of 80 and not at 79.
    short = perpetual([64.0, 72.0, 79.0, 80.0], [64.0, 79.0, 80.0, 80.0])
    result = trade(
        spot(flat(4, 64.0)), short, stop=0.125, execution=replace(FREE, half_spread=0.05), signal=np.array([1.0, 0.0, 0.0, 0.0]), enter=0.5
    )
    assert [fill[:3] for fill in filled(result)][2:] == [(3, "long", "exit"), (3, "short", "exit")]
    row = result.trades.iloc[0]
    assert (row["reason"], row["entry_premium"], row["exit_premium"]) == ("stop", 0.125, 0.25)


def test_a_stop_of_side_minus_one_counts_a_shrinking_premium() -> None:
    # In at 0.125, out at 0: at a close of 64 and not of 65 or of 96.
    short = perpetual([72.0, 72.0, 96.0, 65.0, 64.0], [72.0, 96.0, 65.0, 64.0, 64.0])
    result = trade(spot(flat(5, 64.0)), short, stop=0.125, sides="minus")
    assert [fill[:3] for fill in filled(result)][2:] == [(4, "long", "exit"), (4, "short", "exit")]
    assert result.trades["reason"].tolist()[:1] == ["stop"]


def test_a_loss_is_measured_from_the_equity_before_the_first_fill_of_its_trade() -> None:
    # 64 at 64: a quarter of 8,192 is lost at 32, not at 33. The next 96 at 32 lose a quarter of 6,144 at 16, not at 17.
    prices = [64.0, 33.0, 32.0, 32.0, 17.0, 16.0, 16.0]
    result = trade(spot([64.0, 64.0, 33.0, 32.0, 32.0, 17.0, 16.0], prices), loss=0.25, capital=8192.0)
    assert [(fill[0], fill[3]) for fill in filled(result)] == [(1, 64.0), (3, -64.0), (4, 96.0), (6, -96.0)]
    assert result.trades["reason"].tolist()[:2] == ["loss", "loss"]
    # The fee of the entry, 2.5% of the equity before it, is part of the loss.
    result = trade(spot(flat(3)), loss=0.0249, execution=replace(FREE, spot_fee=0.05))
    assert [fill[:3] for fill in filled(result)] == [(1, "long", "entry"), (2, "long", "exit")]


def test_days_to_expiry_counts_from_the_close() -> None:
    # Expires at 5D: two days are left at the close of bar 2.
    result = trade(
        spot(flat(6)), future(flat(6), expiry=5 * DAY, settlement=100.0), expiry_days=2.0, signal=np.array([1.0, *flat(5, 0.0)]), enter=0.5
    )
    assert [fill[:3] for fill in filled(result)][2:] == [(3, "long", "exit"), (3, "short", "exit")]
    assert result.trades["reason"].tolist() == ["days to expiry"]


def test_max_hold_counts_from_the_open_that_filled_the_entry() -> None:
    # Decided at 1D, filled at 2D, two days are over at the close of 4D, out at its instant.
    result = trade(spot([100.0, NAN, *flat(4)]), max_hold="2D")
    row = result.trades.iloc[0]
    assert (row["reason"], days(row["entered_at"]), days(row["exited_at"])) == ("time", 2.0, 4.0)


def test_cooldown_counts_from_the_fill_of_the_exit() -> None:
    # In at 1D; the exit decided at 2D has no bar until 3D; the first close at or after 5D decides, and fills at 5D.
    result = trade(spot([100.0, 100.0, NAN, *flat(4)]), max_hold="1D", cooldown="2D")
    assert [days(moment) for moment in result.trades["entered_at"]] == [1.0, 5.0]


def test_cooldown_counts_from_the_end_of_the_bar_of_a_liquidation() -> None:
    # Liquidated in the bar that ends at 2D; the close of 4D decides. Without a cooldown the close of 2D does.
    short = perpetual(flat(6), columns=marks([100.0, 110.0, *flat(4)], flat(6)))
    for cooldown, entries in [("2D", [1.0, 4.0]), (None, [1.0, 2.0])]:
        result = trade(None, short, execution=MARGIN, leverage=10.0, cooldown=cooldown)
        assert [days(moment) for moment in result.trades["entered_at"]] == entries


def test_leaving_with_one_slot_in_drops_the_order_of_the_other() -> None:
    result = trade(spot(flat(4)), perpetual([100.0, NAN, NAN, 100.0]), max_hold="1D", signal=np.array([1.0, 0.0, 0.0, 0.0]), enter=0.5)
    assert [fill[:3] for fill in filled(result)] == [(1, "long", "entry"), (2, "long", "exit")]


def test_a_reason_stays_until_the_last_slot_is_out() -> None:
    # The signal closes the spot; the future finds no open any more and settles.
    short = future([100.0, 100.0, NAN, NAN], expiry=2 * DAY + DAY // 2, settlement=100.0)
    result = trade(spot(flat(4)), short, signal=np.array([1.0, 0.0, 0.0, 0.0]), enter=0.5, exit=0.5)
    assert [fill[:3] for fill in filled(result)][2:] == [(2, "long", "exit"), (2, "short", "settlement")]
    assert result.trades["reason"].tolist() == ["signal"]


@pytest.mark.parametrize("first", range(6))
def test_the_first_reason_that_holds_is_the_reason(first: int) -> None:
    # At the close of bar 1 the future stands at 96 against 64: the premium by 0.5 wider, a quarter of 8,192 lost, one day in, two days left.
    limits = {"stop": 0.5, "loss": 0.25, "expiry_days": 2.0, "max_hold": "1D", "exit": 0.5}
    reasons = ["stop", "loss", "days to expiry", "time", "signal", "end of data"]
    short = future([64.0, 64.0, 96.0], [64.0, 96.0, 96.0], expiry=4 * DAY)
    rule = dict(list(limits.items())[first:])
    result = trade(spot(flat(3, 64.0)), short, capital=8192.0, signal=np.array([1.0, 0.0, 0.0]), enter=0.5, **rule)
    assert result.trades["reason"].tolist() == [reasons[first]]


def test_an_exit_fills_before_the_expiry_of_its_bar_and_an_expiry_goes_before_the_decision() -> None:
    one = {"signal": np.array([1.0, 1.0, 0.0, 0.0]), "enter": 0.5, "exit": 0.5}
    short = future([100.0, 100.0, 100.0, 102.0], expiry=3 * DAY + DAY // 2, settlement=90.0)
    result = trade(None, short, **one)
    assert filled(result)[1] == (3, "short", "exit", 50.0, 102.0)
    assert result.trades["reason"].tolist() == ["signal"]
    short = future([100.0, 100.0, 100.0, NAN], expiry=2 * DAY + DAY // 2, settlement=90.0)
    result = trade(spot(flat(4)), short, **one)
    assert [fill[:3] for fill in filled(result)][2:] == [(2, "short", "settlement"), (3, "long", "exit")]
    assert result.trades["reason"].tolist() == ["expiry"]


# ---------------------------------------------------------------- jumping is walking


@pytest.mark.parametrize("seed", range(6))
def test_the_first_position_at_or_above_a_level_is_that_of_a_plain_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 1000, 3 * k.LARGE - 200).astype(float)
    values[rng.random(len(values)) < 0.1] = NAN
    side = laid_out([{"entry_at": values}], [values]).box
    edges = [0, 1, k.SMALL - 1, k.SMALL, k.SMALL + 1, k.LARGE - 1, k.LARGE, k.LARGE + 1, 2 * k.LARGE - k.SMALL - 1, len(values)]
    for level in (500.0, 990.0, 998.0, 999.0, 1001.0):
        for begin in (*edges, *rng.integers(0, len(values), 6)):
            for end in (*edges, *rng.integers(0, len(values), 3)):
                if begin <= end:
                    hits = np.flatnonzero(values[begin:end] >= level)
                    assert k.first_reached(*side, int(begin), int(end), level) == (begin + hits[0] if len(hits) else end)


def test_a_lone_value_at_the_level_is_found_wherever_it_lies() -> None:
    for place in [edge + step for edge in range(0, 3 * k.LARGE, k.SMALL) for step in (-1, 0, 1) if edge + step >= 0]:
        values = np.zeros(3 * k.LARGE)
        values[place] = 1.0
        side = laid_out([{"entry_at": values}], [values]).box
        for begin in (0, place // 2, place):
            assert k.first_reached(*side, begin, len(values), 1.0) == place
        assert k.first_reached(*side, place + 1, len(values), 1.0) == len(values)


@pytest.mark.parametrize("shift", [0, 1, 31, 300])
def test_a_long_run_that_jumps_over_blocks_trades_as_one_that_walks(shift: int) -> None:
    # In at 0.5, out at 0.1, each for one bar only, around the edges of blocks of 32 and of 512.
    places = [30, 33, 95, 127, 128, 511, 512, 543, 544, 545, 1023, 1025, 1535, 1537]
    signal = np.full(2000, 0.3)
    for number, place in enumerate(places):
        signal[place + shift] = 0.1 if number % 2 else 0.5
    result = trade(spot(flat(2000)), signal=signal, enter=0.5, exit=0.1)
    assert [fill[0] for fill in filled(result)] == [place + shift + 1 for place in places]
    walked = trade(spot(flat(2000)), signal=signal, enter=0.5, exit=0.1, jump=False)
    np.testing.assert_array_equal(result.equity, walked.equity)


def test_logs_that_grow_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    legs = spot(100.0 + np.arange(60.0) % 7.0), perpetual(100.0 + np.arange(60.0) % 5.0)
    one = {"signal": np.arange(60.0) % 2.0, "enter": 0.5, "exit": 0.5}
    roomy = trade(*legs, **one)
    monkeypatch.setattr(simulate, "FIRST_ROOM", dict.fromkeys(simulate.FIRST_ROOM, k.ROWS_A_BAR))
    tight = trade(*legs, **one)
    assert (len(roomy.trades), len(roomy.fills)) == (29, 116)
    pd.testing.assert_frame_equal(tight.fills, roomy.fills)
    pd.testing.assert_series_equal(tight.equity, roomy.equity)


# ---------------------------------------------------------------- on any path

PRICES = st.floats(min_value=1.0, max_value=1e4)


def to_settlement(path: list[tuple[float, float]], execution: bt.Execution) -> tuple[bt.Result, float, float, float]:
    """Spot against a future over a path of (spot, future) opens; it expires inside the last bar but one. Also S0, F0 and the spot's exit."""
    spots, futures = [one for one, _ in path], [other for _, other in path]
    expiry = (len(path) - 1) * DAY - DAY // 3
    result = trade(spot(spots), future([*futures[:-1], NAN], expiry=expiry, settlement=futures[-1]), execution=execution)
    return result, spots[1], futures[1], spots[-1]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(PRICES, PRICES), min_size=4, max_size=12))
def test_dated_carry_held_to_settlement_earns_the_locked_basis_on_any_path(path: list[tuple[float, float]]) -> None:
    # q·(F0 − S0) is locked at entry; what is left is q·(spot sold at the next open − settlement).
    result, spot_entry, future_entry, spot_exit = to_settlement(path, FREE)
    quantity = 0.5 * CAPITAL / path[0][0]
    expected = quantity * (future_entry - spot_entry) + quantity * (spot_exit - path[-1][1])
    scale = CAPITAL + quantity * sum(one + other for one, other in path)
    assert result.trades["pnl"].tolist() == [pytest.approx(expected, abs=1e-11 * scale)]
    assert result.trades["reason"].tolist() == ["expiry"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(PRICES, PRICES), min_size=4, max_size=12), st.floats(0.0, 0.01), st.floats(0.0, 0.01), st.floats(0.0, 0.01))
def test_costs_come_off_the_locked_basis_at_four_fills(path: list[tuple[float, float]], fee: float, spread: float, delivery: float) -> None:
    # Bought at S0·(1 + h), sold at F0·(1 − h), delivered at the settlement without a spread, sold at S1·(1 − h).
    execution = replace(FREE, spot_fee=fee, derivative_fee=fee / 2.0, half_spread=spread, delivery_fee=delivery)
    result, spot_entry, future_entry, spot_exit = to_settlement(path, execution)
    quantity, settled = 0.5 * CAPITAL / path[0][0], path[-1][1]
    bought, sold, left = spot_entry * (1.0 + spread), future_entry * (1.0 - spread), spot_exit * (1.0 - spread)
    fees = fee * (bought + left) + fee / 2.0 * sold + delivery * settled
    scale = CAPITAL + quantity * sum(one + other for one, other in path)
    assert result.trades["pnl"].iloc[0] == pytest.approx(quantity * (sold - bought + left - settled - fees), abs=1e-11 * scale)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.floats(50.0, 200.0), st.floats(50.0, 200.0), st.floats(-0.01, 0.01)), min_size=4, max_size=12),
    st.lists(st.floats(0.0, 0.02), min_size=8, max_size=8),
)
def test_higher_costs_never_help_at_fixed_trades(path: list[tuple[float, float, float]], costs: list[float]) -> None:
    cheap, more = costs[:4], costs[4:]
    names = ("spot_fee", "derivative_fee", "half_spread", "borrow_rate")
    funding = [((bar + 1) * DAY, rate, NAN) for bar, (_, _, rate) in enumerate(path)]
    legs = spot([one for one, _, _ in path]), perpetual([other for _, other, _ in path], funding=funding)

    def equity(charged: Sequence[float]) -> pd.Series:
        execution = replace(FREE, **dict(zip(names, charged, strict=True)))
        return trade(
            *legs, execution=execution, signal=np.array([1.0, *flat(len(path) - 1, 0.0)]), enter=0.5, size=0.9, max_hold="3D"
        ).equity

    assert (equity([a + b for a, b in zip(cheap, more, strict=True)]) <= equity(cheap) + 1e-7).all()
