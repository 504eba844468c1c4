"""The lines that a report says make its run again: they are executed, and must make the same equity to the last bit."""

import importlib.util
import inspect
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, Flag, StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import FAR, PERP, SPOT, START, Item, ether, flat, in_memory, load, perpetual, spot, write
from rich_market import rich

import backtest as bt
from backtest.instruments import Kind
from backtest.load import call_of
from backtest.market import quoted
from backtest.provenance import CAPITAL, MISSES, amount, told
from backtest.rule import Leg

FOLDER = Path(__file__).parents[1] / "strategies"


def script(name: str) -> ModuleType:
    """A script of a strategy, as a module."""
    spec = importlib.util.spec_from_file_location(f"lines_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


STRATEGIES: dict[str, Any] = {}
for file in FOLDER.glob("*.py"):
    kind = "".join(word.title() for word in file.stem.split("_"))
    STRATEGIES[kind] = getattr(script(file.stem), kind)
CashAndCarry, FundingCarry = STRATEGIES["CashAndCarry"], STRATEGIES["FundingCarry"]
FuturesVsPerpetual = STRATEGIES["FuturesVsPerpetual"]


class Speed(Enum):
    """How fast."""

    SLOW = 1
    FAST = 2


class Tone(StrEnum):
    """How loud."""

    LOW = "low"
    HIGH = "high"


class Parts(Flag):
    """Which."""

    ONE = 1
    TWO = 2


@dataclass(frozen=True)
class Window:
    """A part of a strategy's settings."""

    hours: float = 4.0
    sides: tuple[str, ...] = ("in", "out")
    offset: float = 0.0
    seconds: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", self.hours * 3600.0)


@dataclass(frozen=True, kw_only=True)
class Weekdays(bt.Filter):
    """Enter on some days of the week."""

    name = "weekdays"
    days: tuple[int, ...] = (0, 1, 2, 3, 4)

    def allows(self, market: bt.Market, rule: bt.Rule) -> Any:
        return np.isin(market.clock.day_of_week, self.days)


@dataclass(frozen=True, kw_only=True)
class Everything(bt.Strategy):
    """Every kind of parameter, each of which changes when it is in the market."""

    every: int = bt.param(7, "hours from entry to entry")
    share: float = bt.param(0.5, "of these in the market")
    speed: Speed = bt.param(Speed.SLOW, "times")
    tone: Tone = bt.param(Tone.LOW, "shift")
    note: str = bt.param("it's", "text")
    hold: pd.Timedelta = bt.param(pd.Timedelta("30D"), "longest")
    since: pd.Timestamp | None = bt.param(None, "enter from then on")
    window: Window = bt.param(Window(), "another")
    limits: dict[str, float] = field(default_factory=lambda: {"most": math.inf}, metadata={"help": "limits"})
    late: bool = bt.param(False, "one bar later")

    def rule(self, market: bt.Market) -> bt.Rule:
        hours = (np.arange(len(market)) + (self.tone is Tone.HIGH) + len(self.note) + self.late) * self.speed.value
        on = (hours + self.window.hours) % self.every < self.share * self.every
        on &= np.arange(len(market)) < self.limits["most"]
        if self.since is not None:
            on &= np.asarray(market.clock > self.since)
        return bt.Rule(
            long=market.spot, short=market.perpetual, signal=on.astype(float), enter=0.5, exit=0.5, max_hold=self.hold / 2, size=0.4
        )


def without_address(value: object) -> str:
    """The name of a case; where an object lies in memory is another place in each process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


NAMES: dict[str, Any] = {"bt": bt, **STRATEGIES} | {kind.__name__: kind for kind in (Everything, Speed, Tone, Window, Weekdays)}


def made_again(result: Any) -> Any:
    """What the lines make, executed with `bt` and the classes at hand; the equity must be the same to the last bit."""
    names = dict(NAMES)
    exec(result.reproduce, names)
    again: Any = names["result"]
    pd.testing.assert_series_equal(again.equity, result.equity, check_exact=True)
    assert len(result.trades) > 0, "a run without a trade shows nothing"
    return again


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("provenance"), ether())


@pytest.fixture(scope="module")
def market(place: str) -> bt.Market:
    return bt.load_market(place)


# ---------------------------------------------------------------- strategies


def test_a_run_at_its_defaults_is_two_short_lines(market: bt.Market, place: str) -> None:
    result = bt.run(FundingCarry(), market)
    assert result.reproduce == f'market = bt.load_market("{place}")\nresult = bt.run(FundingCarry(), market)'


SWITCHING: dict[str, Any] = {"every": 9, "share": 0.4}


@pytest.mark.parametrize(
    "strategy",
    [
        FundingCarry(enter=None, exit=None),
        FundingCarry(enter=1 / 3 * 0.1, exit=-1e-17, window="1D"),
        FundingCarry(sign_gated=True, window="16h"),
        CashAndCarry(enter=-5.0, exit=-6.0, min_days=1.0, max_hold="30h"),
        FuturesVsPerpetual(enter=-0.5, exit=-0.6, min_days=3, cost=np.float64(0.0001), window="1D"),
        Everything(**SWITCHING),
        Everything(**SWITCHING, speed=Speed.FAST, tone=Tone.HIGH, note='a "text" of it\'s own\n', late=True),
        Everything(**SWITCHING, hold=pd.Timedelta("9h"), since=START + pd.Timedelta("30h"), window=Window(hours=2.5)),
        Everything(**SWITCHING, limits={"most": 100}, since=pd.Timestamp("2024-03-03 08:00", tz="Europe/Berlin")),
        FundingCarry(enter=None, exit=None, filters=[bt.FundingWindow("2h"), Weekdays(days=(5, 6))]),
        Everything(**SWITCHING, filters="funding=3h"),
        bt.on(Everything(**SWITCHING), "ETH*-SPOT", PERP),
        bt.on(bt.on(FundingCarry(enter=None, exit=None, filters=Weekdays()), "ETHUSDT-*"), "*SPOT", "*PERP"),
    ],
)
def test_the_lines_make_the_run_of_a_strategy_again(strategy: bt.Strategy, market: bt.Market) -> None:
    made_again(bt.run(strategy, market))


@pytest.fixture(scope="module")
def rich_one(tmp_path_factory: pytest.TempPathFactory) -> bt.Market:
    return load(tmp_path_factory.mktemp("rich"), rich(), staleness="8h")


def test_the_lines_have_sizers_filters_and_makers(rich_one: bt.Market) -> None:
    strategy = FundingCarry(filters=["regime=calm,trending", "events=2D,1D"], sizers=[bt.LiquiditySizer(), "volatility=0.3"], exit=0.0)
    execution = bt.Execution(maker="short", stressed=3, impact=(0.01, 0.0), impact_model="square_root", policy="undo", patience="1D")
    made_again(bt.run(strategy, rich_one, execution=execution))


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_the_lines_make_the_run_of_every_script_again(name: str, rich_one: bt.Market) -> None:
    result = bt.run(STRATEGIES[name](), rich_one)
    assert result.reproduce.endswith(f"result = bt.run({name}(), market)")
    if len(result.trades):
        made_again(result)


def test_what_is_named_is_what_is_not_at_its_default(market: bt.Market) -> None:
    def line(strategy: bt.Strategy, **options: Any) -> str:
        return str(bt.run(strategy, market, **options).reproduce.splitlines()[-1])

    assert line(FundingCarry(enter=0.25)) == "result = bt.run(FundingCarry(enter=0.25), market)"
    assert line(bt.on(FundingCarry(), "ETH*")) == 'result = bt.run(bt.on(FundingCarry(), "ETH*"), market)'
    assert line(FundingCarry(filters="funding=1h", sizers=bt.VolatilitySizer(0.4))) == (
        "result = bt.run(FundingCarry(filters=(bt.FundingWindow(),), sizers=(bt.VolatilitySizer(target=0.4),)), market)"
    )
    assert line(FundingCarry(), capital=5e6, leverage=3) == "result = bt.run(FundingCarry(), market, capital=5_000_000, leverage=3)"
    assert line(FundingCarry(), execution=bt.Execution(margin="cross", half_spread=(0.001, None))) == (
        'result = bt.run(FundingCarry(), market, execution=bt.Execution(margin="cross", half_spread=(0.001, None)))'
    )
    assert line(FundingCarry(), execution=bt.Execution()) == "result = bt.run(FundingCarry(), market)"
    assert line(Everything(speed=Speed.FAST, window=Window(hours=2.0))) == (
        "result = bt.run(Everything(speed=Speed.FAST, window=Window(hours=2.0)), market)"
    )


def test_numbers_that_only_look_alike_are_told_apart(market: bt.Market) -> None:
    strategies = Everything(share=0, every=7), Everything(share=-0.0), Everything(share=float("nan")), Everything(share=np.float64(0.5))
    assert [told(one, market) for one in strategies] == [
        "Everything(share=0)",
        "Everything(share=-0.0)",
        'Everything(share=float("nan"))',
        "Everything(share=0.5)",
    ]
    assert [told(Window(offset=value), market) for value in (0.0, -0.0, 0)] == ["Window()", "Window(offset=-0.0)", "Window(offset=0)"]


# ---------------------------------------------------------------- how it is run


@pytest.mark.parametrize(
    "options",
    [
        {"capital": 123_456.789, "leverage": 3},
        {"capital": 1e15, "size": 0.1},
        {"leverage": 2.5, "resize": None, "max_hold": "20h", "stop": 0.02},
        {"max_hold": pd.Timedelta("20h"), "cooldown": pd.Timedelta(1, "ns")},
        {"entry_tranches": 3, "tranche_gap": "2h", "loss": 0.01},
        {"funding_entry": "after", "hold_for_funding": np.True_, "sides": bt.Sides.PLUS, "size": np.int64(1)},
        {"execution": bt.Execution(half_spread=(0.0003, None), impact=(0.01, 0.02), latency=("1h", pd.Timedelta("2h")), participation=1.0)},
        {"execution": bt.Execution(margin=bt.Margin.CROSS, spot_fee=0.0, idle_rate=-0.01)},
        {"execution": bt.Execution(wallets=(0.7, 0.3), transfer_delay="4h", top_up=0.5, stress=2), "leverage": 5},
        {"execution": bt.Execution(deleveraged_at=START + pd.Timedelta("90h"), deleveraged_gap=0.01)},
        {"execution": bt.Execution(deleveraged_at="2024-03-04T18:00", policy="chase", patience="2h")},
    ],
)
def test_the_lines_have_capital_execution_and_changes(options: dict[str, Any], market: bt.Market) -> None:
    assert MISSES not in made_again(bt.run(Everything(**SWITCHING), market, **options)).reproduce


def test_pandas_is_imported_where_it_is_needed(market: bt.Market) -> None:
    result = bt.run(FundingCarry(enter=None, exit=None), market, max_hold=pd.Timedelta("20h"))
    assert result.reproduce.splitlines()[0] == "import pandas as pd"
    assert 'max_hold=pd.Timedelta("0 days 20:00:00")' in result.reproduce


def test_the_default_capital_is_that_of_a_run() -> None:
    assert inspect.signature(bt.run).parameters["capital"].default == CAPITAL
    assert [amount(value) for value in (1e6, 1_234, 0.5, 1 / 3, 1e15)] == [
        "1_000_000",
        "1_234",
        "0.5",
        "0.3333333333333333",
        "1_000_000_000_000_000",
    ]


# ---------------------------------------------------------------- books and rules


@pytest.mark.parametrize(
    "book",
    [
        [FundingCarry(enter=None, exit=None), Everything(**SWITCHING)],
        {"it's": Everything(**SWITCHING), 'a "far" one': CashAndCarry(enter=-5.0, exit=-6.0, min_days=1.0)},
        bt.Book([Everything(**SWITCHING), FundingCarry(enter=None, exit=None)], shares=(1 / 3, 0.4), exposure=0.1),
        bt.Book(
            {"a": Everything(**SWITCHING), "b": bt.on(FundingCarry(), "ETH*")}, shares={"b": 0.2, "a": 0.8}, drawdown=0.001, pause="2D"
        ),
        bt.Book([Everything(**SWITCHING)], drawdown=0.0005, pause=pd.Timedelta("30h")),
    ],
)
@pytest.mark.parametrize("options", [{}, {"leverage": 3, "capital": 7e5, "execution": bt.Execution(margin="cross", impact=0.01)}])
def test_the_lines_make_the_run_of_a_book_again(book: Any, options: dict[str, Any], market: bt.Market) -> None:
    result = bt.run(book, market, **options)
    assert isinstance(made_again(result), bt.BookResult)
    for one in result.results.values():  # with what the book lets it do
        if len(one.trades):
            made_again(one)


def test_equal_shares_need_no_words(market: bt.Market) -> None:
    result = bt.run({"a": FundingCarry(), "b": FundingCarry(enter=0.25)}, market, leverage=2)
    assert result.reproduce.splitlines()[-1] == (
        'result = bt.run(bt.Book({"a": FundingCarry(), "b": FundingCarry(enter=0.25)}), market, leverage=2)'
    )


def test_a_rule_of_legs_and_numbers_is_typed(market: bt.Market) -> None:
    rules = [
        bt.Rule(long=market.spot, short=market.perpetual, leverage=2, sides="both"),
        bt.Rule(long=market.spot, short=market.future_chain(min_days=2, nth=2), roll_days=None, max_hold="12h"),
        bt.Rule(long=market.leg(SPOT), short=market.leg(FAR), max_hold=pd.Timedelta("12h")),
        bt.Rule(short=market.leg(PERP)),
    ]
    for rule in rules:
        made_again(bt.run(rule, market))
    assert told(rules[0], market) == (f'bt.Rule(long=market.leg("{SPOT}"), short=market.leg("{PERP}"), sides="both", leverage=2)')
    assert "short=market.future_chain(min_days=2.0, nth=2)" in told(rules[1], market)


def test_a_chain_among_others_is_told_by_what_tells_it_apart() -> None:
    items = {
        name: Item(kind=Kind.FUTURE, opens=flat(30), expiry=900.0, facts={"base": base, "venue": venue})
        for name, base, venue in (("A", "ETH", "binance"), ("B", "ETH", "deribit"), ("C", "BTC", "binance"))
    }
    market = in_memory({"SPOT": spot(flat(30)), **items})
    leg = market.future_chain(base="ETH", venue="binance")
    assert told(leg, market) == 'market.future_chain(base="ETH", venue="binance")'
    assert told(market.future_chain(base="BTC"), market) == 'market.future_chain(base="BTC")'
    assert told(Leg(kind=Kind.FUTURE, contracts=("A", "B"), chain=True), market) == "…"
    assert told(Leg(kind=Kind.FUTURE, contracts=("A",), min_days=2.0), market) == "…"
    assert told(Leg(kind=Kind.FUTURE, contracts=("gone",)), market) == "…"
    assert told(Leg(kind=Kind.FUTURE, contracts=("A",), min_days=-1.0, chain=True), market) == "…"


# ---------------------------------------------------------------- what can't be typed


def refused(lines: str) -> None:
    """Python doesn't take lines that have something untold, and a last line says so."""
    assert lines.splitlines()[-1] == MISSES
    with pytest.raises(SyntaxError):
        compile(lines, "lines", "exec")


def test_an_array_is_not_typed_and_the_reader_is_told(market: bt.Market) -> None:
    signal = np.where(np.arange(len(market)) % 9 < 4, 1.0, 0.0)
    rule = bt.Rule(long=market.spot, short=market.perpetual, signal=signal, enter=0.5, exit=0.25)
    result = bt.run(rule, market)
    assert f'bt.Rule(long=market.leg("{SPOT}"), short=market.leg("{PERP}"), signal=…, enter=0.5, exit=0.25)' in result.reproduce
    refused(result.reproduce)
    spreads = bt.Execution(half_spread=(np.full(len(market), 0.001), 0.0002))
    refused(bt.run(FundingCarry(), market, execution=spreads).reproduce)
    assert "half_spread=(…, 0.0002)" in bt.run(FundingCarry(), market, execution=spreads).reproduce
    refused(bt.run([FundingCarry(), rule], market).reproduce)
    refused(bt.run(FundingCarry(), market, scale=pd.Series(1.0, market.clock)).reproduce)


@pytest.mark.parametrize(
    "value",
    [
        np.float32(0.1),
        np.arange(3),
        pd.NaT,
        range(3),
        object(),
        complex(1, 2),
        Parts.ONE | Parts.TWO,
        lambda: 0,
        type("Text", (str,), {})("a"),
    ],
    ids=without_address,
)
def test_a_value_without_a_text_of_its_own_is_untold(value: Any, market: bt.Market) -> None:
    assert told(value, market) == "…"
    assert told((1, value), market) == "(1, …)"
    assert "…" in told({"a": [value]}, market)


def test_filters_put_around_a_narrowed_strategy_have_no_words(market: bt.Market) -> None:
    narrowed = replace(bt.on(FundingCarry(), "ETH*"), filters=(Weekdays(),))  # type: ignore[type-var]
    assert told(narrowed, market) == 'bt.on(…, "ETH*")'


def test_plain_values_are_typed_as_python_has_them(market: bt.Market) -> None:
    values = [None, True, 1, 0.1, "a", ("a",), (), [1, (2, "b")], {1: "x"}, frozenset({1}), {2}, float("-inf"), bt.Regime.CALM, Speed.FAST]
    for value in values:
        assert eval(told(value, market), NAMES) == value
    assert told(Parts.ONE, market) == "Parts.ONE"


# ---------------------------------------------------------------- markets


def test_a_market_says_how_it_was_loaded(place: str) -> None:
    assert bt.load_market(place).made_by == f'bt.load_market("{place}")'
    assert bt.load_market(Path(place), "2024-03-02", staleness="0s").made_by == f'bt.load_market("{place}", start="2024-03-02")'


@pytest.mark.parametrize(
    "options",
    [
        {"start": "2024-03-02", "end": "2024-03-08T08:00"},
        {"start": pd.Timestamp("2024-03-02 05:00"), "end": pd.Timestamp("2024-03-08 09:00", tz="Europe/Berlin")},
        {"start": pd.Timestamp("2024-03-02 05:00:00.000000001")},
        {"start": np.datetime64("2024-03-02T05"), "end": pd.Timestamp("2024-03-08").date()},
        {"start": pd.Timestamp("2024-03-02").value, "end": np.int64(pd.Timestamp("2024-03-08").value)},
        {"freq": "2h"},
        {"freq": pd.Timedelta("3h"), "staleness": "1h"},
        {"instruments": [SPOT, PERP]},
        {"instruments": (SPOT, "*PERP")},
        {"instruments": "ETHUSDT-[SP]*"},
        {"instruments": pd.Index([PERP, SPOT])},
        {"instruments": (name for name in (PERP, SPOT))},
        {"clock": SPOT, "max_gap": "5D", "staleness": pd.Timedelta("1h")},
        {"clock": [SPOT, PERP]},
    ],
    ids=without_address,
)
def test_the_lines_load_the_market_again(options: dict[str, Any], place: str) -> None:
    market = bt.load_market(place, **options)
    again = made_again(bt.run(Everything(every=5, share=0.5), market))
    assert again._prepared.market.made_by == market.made_by
    assert again._prepared.market.clock.equals(market.clock)
    assert list(again._prepared.market.instruments) == list(market.instruments)


def test_views_of_a_market_say_how_they_were_made(place: str) -> None:
    market = bt.load_market(place)
    views = {
        '.only("*SPOT", "*PERP")': market.only("*SPOT", "*PERP"),
        '.until("2024-03-05 00:00:00+00:00")': market.until("2024-03-05"),
        '.until("2024-03-05 07:00:00+00:00").only("ETHUSDT-[SP]*")': market.until(pd.Timestamp("2024-03-05T08", tz="Europe/Berlin")).only(
            "ETHUSDT-[SP]*"
        ),
    }
    for how, view in views.items():
        assert view.made_by == market.made_by + how
        made_again(bt.run(Everything(**SWITCHING), view))


def test_a_market_that_was_altered_is_not_typed(market: bt.Market) -> None:
    bars = market.bars(SPOT)
    altered = market.altered({SPOT: bars.assign(close=bars["close"] * 1.0)})
    assert altered.made_by == "…"
    assert market.altered(rates={PERP: market.funding(PERP).rates * 2.0}).made_by == "…"
    assert market.altered().made_by == market.made_by
    refused(bt.run(FundingCarry(), altered).reproduce)
    refused(bt.run(FundingCarry(), altered.only("*SPOT", "*PERP")).reproduce)
    (stressed,) = bt.stress(FundingCarry(enter=None, exit=None), market, "flip").results.values()
    refused(stressed.reproduce)


def test_a_market_made_in_memory_is_not_typed() -> None:
    market = in_memory({"SPOT": spot(flat(5)), "PERP": perpetual(flat(5))})
    result = bt.run(bt.Rule(long=market.leg("SPOT"), short=market.leg("PERP")), market)
    assert result.reproduce.splitlines()[0] == "market = …"
    refused(result.reproduce)


def test_the_command_line_goes_before_the_lines(market: bt.Market) -> None:
    result = bt.run(FundingCarry(), market)
    result.command = "python strategies/funding_carry.py --enter 0.1"
    assert result.reproduce == result.command


@pytest.mark.parametrize("text", ["plain", "it's", 'a "word"', "both ' and \"", "back\\slash", "new\nline", "ümläut", ""])
def test_a_text_is_typed_as_python_reads_it(text: str) -> None:
    assert eval(quoted(text)) == text
    assert quoted("plain") == '"plain"'


def test_a_call_names_what_was_given() -> None:
    given: Mapping[str, object] = {
        "start": None,
        "end": pd.Timestamp("2024-01-01"),
        "ids": ("a", "b"),
        "at": np.int64(5),
        "length": pd.Timedelta("4h"),
    }
    assert call_of("load", "data", given) == 'load("data", end="2024-01-01 00:00:00", ids=["a", "b"], at=5, length="0 days 04:00:00")'
