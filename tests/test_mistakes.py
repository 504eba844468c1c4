"""Mistakes in a strategy get one sentence that says what to do, from Python and from the command line; a run without a trade says why."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from markets import BARS, FAR, HOUR, LAST, NEAR, PERP, SPOT, START, ether, load, write

import backtest as bt
from backtest.checks import check_known, no_trade_note
from backtest.errors import CarryError, DataError, ParameterError
from backtest.execution import Execution
from backtest.filters import Filter
from backtest.instruments import Kind
from backtest.market import Market
from backtest.prepare import prepare
from backtest.result import Result
from backtest.rule import Leg, Rule
from backtest.simulate import prepared_run
from backtest.strategy import Strategy, main, on, rule_of

NAN = float("nan")
END = f"{LAST:%Y-%m-%dT%H:%MZ}"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("mistakes"), ether())


@pytest.fixture(scope="module")
def market(data: str) -> Market:
    return bt.load_market(data)


def row(*values: float) -> Callable[[Market], Any]:
    """A signal that begins with some values and is unknown from there on."""
    return lambda market: np.concatenate([values, np.full(len(market) - len(values), NAN)])


def spot_against(short: Callable[[Market], Leg], **more: Any) -> Callable[[Market], Rule]:
    """Spot against a leg; what is a function is asked of the market."""
    return lambda market: Rule(
        long=market.spot, short=short(market), **{name: given(market) if callable(given) else given for name, given in more.items()}
    )


def perpetual(**more: Any) -> Callable[[Market], Rule]:
    return spot_against(lambda market: market.perpetual, **more)


def dated(min_days: float = 0.0, **more: Any) -> Callable[[Market], Rule]:
    return spot_against(lambda market: market.future_chain(min_days), **more)


@dataclass(frozen=True, kw_only=True)
class Mistaken(Strategy):
    """A strategy that makes a mistake."""

    made: ClassVar[Callable[[Market], Rule]]

    def rule(self, market: Market) -> Rule:
        return type(self).made(market)


BUILD = "build it from market arrays, which have the market's length"
UNKNOWN = (
    "so the rule can never enter; shorten a window that is longer than the data, load a longer period, import what the signal lacks, or leave out a filter that "
    "never allows an entry"
)
# name → (the rule, the error, what is told)
MISTAKES: dict[str, tuple[Callable[[Market], Rule], type[CarryError], str]] = {
    "a signal too short": (
        perpetual(signal=lambda market: market.close(SPOT)[1:], enter=0.0), ParameterError,
        f"signal must have one value a bar, or one row for each of the 1 contract pairs: shape (199,) for 200 bars; {BUILD}",
    ),
    "a table of other pairs": (
        dated(signal=lambda market: np.ones((3, BARS)), enter=0.5, exit_signal=lambda market: np.ones(BARS), exit=0.0), ParameterError,
        f"signal must have one value a bar, or one row for each of the 2 contract pairs: shape (3, 200) for 200 bars; {BUILD}",
    ),
    "a signal on other times": (
        perpetual(signal=lambda market: pd.Series(1.0, market.clock[1:]), enter=0.5), ParameterError,
        "signal must be indexed by the market's clock (market.clock); reindex it, or give a plain array with one value a bar",
    ),
    "a signal that is never known": (
        perpetual(signal=lambda market: pd.Series(market.close(SPOT), market.clock).rolling(500).mean(), enter=0.1), ParameterError,
        f"signal is unknown (NaN) at each of the 200 bars at which a contract is offered, {UNKNOWN}",
    ),
    "both sides that are never known": (
        perpetual(signal=lambda market: (np.full(BARS, NAN), np.full(BARS, NAN)), enter=0.1, sides="both"), ParameterError,
        f"signal is unknown (NaN) at each of the 200 bars at which a contract is offered, {UNKNOWN}",
    ),
    "the side that is taken is never known": (
        perpetual(signal=lambda market: (np.ones(BARS), np.full(BARS, NAN)), enter=0.1, sides="minus"), ParameterError,
        f"signal is unknown (NaN) at each of the 200 bars at which a contract is offered, {UNKNOWN}",
    ),
    "thresholds the wrong way round": (
        perpetual(signal=lambda market: market.close(SPOT), enter=0.1, exit=0.2), ParameterError,
        "exit must be below enter: exit=0.2, enter=0.1; only a signal of 0 and 1 may use one threshold for both",
    ),
    "a leg that the market lacks": (
        spot_against(lambda market: market.leg("ETHUSDT-PREP")), DataError,
        'unknown instrument "ETHUSDT-PREP" in dataset test; did you mean "ETHUSDT-PERP"?',
    ),
    "a leg of another market": (
        spot_against(lambda market: Leg(kind=Kind.PERPETUAL, contracts=("BTCUSDT-PERP",))), DataError,
        'unknown instrument "BTCUSDT-PERP" in dataset test; did you mean "ETHUSDT-PERP"?',
    ),
    "futures that the market lacks": (
        lambda market: Rule(long=market.spot, short=market.future_chain(base="BTC")), DataError,
        f"the rule needs dated futures of base BTC and the dataset test has none; its dated futures are {NEAR}, {FAR}",
    ),
    "one contract twice": (
        lambda market: Rule(long=market.leg(FAR), short=market.leg(FAR)), ParameterError,
        f"the legs must be two instruments: both legs are {FAR}; give another leg, or one leg alone",
    ),
    "one chain twice": (
        lambda market: Rule(long=market.future_chain(3), short=market.future_chain(3)), ParameterError,
        f"the legs must be two instruments: both are the chain {NEAR} … {FAR}, at least 3 days to expiry, which offers them the same contract; for a calendar "
        "spread give the far leg nth=2, as short=market.future_chain(nth=2)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_a_sentence(market: Market, name: str) -> None:
    made, error, told = MISTAKES[name]
    with pytest.raises(error, match=f"^{re.escape(told)}$"):
        bt.run(made(market), market)


@pytest.mark.parametrize("name", MISTAKES)
def test_the_command_line_tells_it_and_ends_with_2(
    data: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made, _, told = MISTAKES[name]
    monkeypatch.setattr(Mistaken, "made", staticmethod(made), raising=False)
    with pytest.raises(SystemExit) as left:
        main(Mistaken, ["--data", data])
    assert left.value.code == 2
    printed = capsys.readouterr()
    assert printed.err == f"error: {told}\n"
    assert printed.out == ""
    assert not (tmp_path / "reports").exists()


def test_a_signal_that_is_known_only_where_nothing_is_offered(market: Market) -> None:
    """The near contract is offered until five days before its expiry, the far one from then on; each row is known in the other's time."""
    chain = market.future_chain(4.0)
    late = market.clock > pd.Timestamp("2024-03-02T08:00Z")
    known = np.where([late, ~late], 1.0, NAN)
    told = f"^signal is unknown \\(NaN\\) at each of the 200 bars at which a contract is offered, {re.escape(UNKNOWN)}$"
    with pytest.raises(ParameterError, match=told):
        bt.run(Rule(long=market.spot, short=chain, signal=known, enter=0.5), market)
    assert len(bt.run(Rule(long=market.spot, short=chain, signal=known[::-1], enter=0.5), market).trades)


def test_one_known_value_is_enough(market: Market) -> None:
    assert len(bt.run(perpetual(signal=row(NAN, 1.0), enter=0.5)(market), market).trades) == 1
    assert len(
        bt.run(perpetual(signal=lambda market: (np.full(BARS, NAN), -np.ones(BARS)), enter=0.1, sides="both")(market), market).trades
    )


def test_a_long_market_is_looked_at_as_a_whole(tmp_path: Path) -> None:
    """The last bars are asked first; a signal known only in the first is known."""
    tables = ether(5000)
    for room in (tables.bars, tables.funding):
        for name in (NEAR, FAR):
            room.pop(name, None)
    tables.instruments = [item for item in tables.instruments if item.id in (SPOT, PERP)]
    tables.settlements = tables.settlements.iloc[:0]
    long = load(tmp_path, tables)
    assert len(bt.run(perpetual(signal=row(1.0), enter=0.5)(long), long).trades) == 1


def test_an_empty_signal_of_a_rule_that_enters_at_once_is_not_read(market: Market) -> None:
    assert len(bt.run(perpetual(signal=row(), exit_signal=row(), exit=0.0)(market), market).trades) == 1


def test_two_chains_of_the_same_contracts_that_offer_others_are_two(market: Market) -> None:
    for far in (market.future_chain(10.0), market.future_chain(nth=2)):
        assert len(bt.run(Rule(long=market.future_chain(), short=far), market).trades)


# ---------------------------------------------------------------- no trade


def note(result: Result) -> str | None:
    return no_trade_note(result._prepared, result.trades, result.capital)


def at(bar: int) -> str:
    return f"{START + (bar + 1) * HOUR:%Y-%m-%dT%H:%MZ}"


def peak(market: Market, value: float = 0.062) -> Any:
    """Below a threshold everywhere, and highest at bar 120."""
    return np.where(np.arange(len(market)) == 120, value, -0.01)


BOTH = f"{SPOT} and the chain {NEAR} … {FAR}"
# name → (the rule, options of the run, what is told)
NONE: dict[str, tuple[Callable[[Market], Rule], dict[str, Any], str]] = {
    "nothing offered": (
        dated(400.0), {},
        f"{BOTH}, at least 400 days to expiry offer no contract at any of the 200 bars; lower min_days or nth, or load a longer period.",
    ),
    "a signal that stays below": (
        perpetual(signal=peak, enter=0.08), {},
        f"the signal rose to 0.062 at most, at {at(120)}, where a contract is offered, and an entry needs enter=0.08; lower enter (--enter).",
    ),
    "a signal that stays above": (
        perpetual(signal=lambda market: -peak(market), enter=0.08, sides="minus"), {},
        f"the signal fell to -0.062 at most (side −1), at {at(120)}, where a contract is offered, and an entry needs −enter=-0.08; lower enter (--enter).",
    ),
    "the nearer of both sides": (
        perpetual(signal=lambda market: (peak(market, 0.01), -peak(market, 0.03)), enter=0.08, sides="both"), {},
        f"the signal fell to -0.03 at most (side −1), at {at(120)}, where a contract is offered, and an entry needs −enter=-0.08; lower enter (--enter).",
    ),
    "a spread that is too wide": (
        perpetual(max_spread=1e-9, signal=lambda market: np.ones(BARS), enter=0.5), {},
        "max_spread=1e-09 kept it out at each of the 200 bars at which a contract is offered; raise max_spread, lower min_depth, or leave them out.",
    ),
    "the last bar": (
        perpetual(signal=lambda market: np.arange(BARS) == BARS - 1, enter=0.5), {},
        f"the signal reached enter=0.5 at 1 of 200 bars, the first {END}, which is the last, and an order fills in the bar after; load a later end (--end).",
    ),
    "a scale of nothing": (
        perpetual(scale=lambda market: np.where(np.arange(BARS) % 2, 0.0, NAN)), {},
        f"the rule was free to enter at 200 of 200 bars, the first {at(0)}, and its scale is 0 or unknown at each of them; leave out a sizer that is never known, "
        "or give a scale above 0.",
    ),
    "less than a lot": (
        perpetual(), {"capital": 1.0},
        f"the rule was free to enter at 200 of 200 bars, the first {at(0)}, and size=0.5 of a capital of 1 is QUANTITY ETH at most, less than the lot of 0.001; "
        "raise capital or size (--capital, --size).",
    ),
    "less than the smallest order": (
        perpetual(size=0.3), {"capital": 30.0},
        f"the rule was free to enter at 200 of 200 bars, the first {at(0)}, and size=0.3 of a capital of 30 is worth 9, less than the smallest order of 20; raise "
        "capital or size (--capital, --size).",
    ),
    "nothing to borrow": (
        lambda market: Rule(short=market.spot), {"execution": Execution(recalled_at=START + pd.Timedelta("1s"))},
        f"the rule was free to enter at 200 of 200 bars, the first {at(0)}, and no coins could be borrowed at any of them (borrow_available); import a series that "
        "has some, or start later.",
    ),
    "orders that are never filled": (
        perpetual(), {"execution": Execution(participation=1e-12)},
        f"the rule was free to enter at 200 of 200 bars, the first {at(0)}, and no order was filled; maker orders, participation, an impact without volume or "
        "depth, latency, and the limits of a book can keep all of them from filling: leave them out one by one.",
    ),
}  # fmt: skip


def quoted(data: str) -> Market:
    """The market with quotes, so that a spread can be too wide."""
    market = bt.load_market(data)
    return market.altered(
        {name: (frame := market.bars(name)).assign(bid=frame["close"] * 0.999, ask=frame["close"] * 1.001) for name in (SPOT, PERP)}
    )


@pytest.mark.parametrize("name", NONE)
def test_no_trade_says_why(data: str, market: Market, name: str) -> None:
    made, options, told = NONE[name]
    asked = quoted(data) if "spread" in name else market
    result = bt.run(made(asked), asked, **options)
    assert result.trades.empty
    found = note(result)
    assert found is not None
    assert re.fullmatch(re.escape(f"NO TRADE: {told}").replace("QUANTITY", r"0\.000\d+"), found), found
    assert found in result.notes


OFFERED = "any of the 200 bars at which a contract is offered"
NEVER_SO = "so the rule can never enter; leave a filter out, loosen it, or load a longer period"


@dataclass(frozen=True)
class Bars(Filter):
    """Some bars only."""

    name: ClassVar[str] = "bars"
    first: int = 0
    last: int = 0

    def allows(self, market: Market, rule: Rule) -> Any:
        bars = np.arange(len(market))
        return (bars >= self.first) & (bars < self.last)


@dataclass(frozen=True)
class Longs(Filter):
    """Side +1 only, or side −1."""

    name: ClassVar[str] = "longs"
    plus: bool = True

    def allows(self, market: Market, rule: Rule) -> Any:
        every = np.ones(len(market), dtype=bool)
        return (every, ~every) if self.plus else (~every, every)


@dataclass(frozen=True, kw_only=True)
class Of(Strategy):
    """Whatever a function makes."""

    made: Callable[[Market], Rule]

    def rule(self, market: Market) -> Rule:
        return self.made(market)


CLOSED: dict[str, tuple[tuple[Filter, ...], str]] = {
    "one": ((Bars(),), f'the filter "bars=0,0" allows no entry at {OFFERED}'),
    "one of two": ((Bars(0, 9), Bars(3, 3)), f'the filter "bars=3,3" allows no entry at {OFFERED}'),
    "each of two": ((Bars(1, 1), Bars(3, 3)), f'the filters "bars=1,1" and "bars=3,3" allow no entry at {OFFERED} (each by itself)'),
    "two together": ((Bars(0, 9), Bars(9, 20)), f'the filters "bars=0,9" and "bars=9,20" together allow no entry at {OFFERED}, though each allows some'),
    "the other side": ((Longs(False),), f'the filter "longs=False" allows no entry at {OFFERED}'),
}  # fmt: skip


def shown_note(strategy: Strategy, market: Market, **changes: Any) -> str | None:
    prepared = prepared_run(strategy, rule_of(strategy, market, **changes), market, 1e5, Execution(), changes)
    return no_trade_note(prepared, (), 1e5, strategy)


@pytest.mark.parametrize("narrowed", [False, True])
@pytest.mark.parametrize("name", CLOSED)
def test_filters_that_never_allow_an_entry_are_named(market: Market, name: str, narrowed: bool) -> None:
    filters, told = CLOSED[name]
    at_once, above = (Of(made=perpetual(**more), filters=filters) for more in ({}, {"signal": peak, "enter": 0.01}))
    if narrowed:
        at_once, above = on(at_once, "ETH*"), on(above, "ETH*")
    assert shown_note(at_once, market) == f"NO TRADE: {told}; leave a filter out, loosen it, or load a longer period."
    prepared = replace(prepare(market, rule_of(above, market, size=0.2), Execution()), changes={"size": 0.2})
    with pytest.raises(ParameterError, match=f"^{re.escape(f'{told}, {NEVER_SO}')}$"):
        check_known(prepared, above)


def test_a_filter_that_allows_some_bars_is_no_reason_by_itself(market: Market) -> None:
    below = Of(made=perpetual(signal=peak, enter=0.08), filters=Bars(100, 130))
    told = f"NO TRADE: the signal rose to 0.062 at most, at {at(120)}, where a contract is offered and "
    assert shown_note(below, market) == (
        f'{told}"bars=100,130" allows an entry, and an entry needs enter=0.08; lower enter (--enter), or leave out a filter.'
    )
    unknown = Of(made=perpetual(signal=row(1.0, 2.0), enter=0.5), filters=Bars(100, 130))
    prepared = prepare(market, rule_of(unknown, market), Execution())
    with pytest.raises(
        ParameterError, match=re.escape(f"signal is unknown (NaN) at each of the 200 bars at which a contract is offered, {UNKNOWN}")
    ):
        check_known(prepared, unknown)
    last = Of(made=perpetual(), filters=Bars(BARS - 1, BARS))
    assert (shown_note(last, market) or "").startswith(
        f"NO TRADE: the rule was free to enter at 1 of 200 bars, the first {END}, which is the last"
    )


def test_filters_and_limits_that_leave_nothing_are_both_named(data: str) -> None:
    strategy = Of(made=perpetual(), filters=Bars(100, 130))
    assert shown_note(strategy, quoted(data), max_spread=1e-9) == (
        'NO TRADE: the filters "bars=100,130" allow no entry where max_spread=1e-09 do; raise max_spread, lower min_depth, or leave out a filter.'
    )


def test_a_run_with_a_trade_says_nothing(market: Market) -> None:
    result = bt.run(perpetual()(market), market)
    assert note(result) is None
    assert not any(note.startswith("NO TRADE") for note in result.notes)


def test_the_table_of_a_script_tells_it(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Result, "report", lambda self, path: None)
    monkeypatch.setattr(Mistaken, "made", staticmethod(perpetual(signal=peak, enter=0.08)), raising=False)
    main(Mistaken, ["--data", data])
    assert "NO TRADE: the signal rose to 0.062 at most" in capsys.readouterr().out


def test_a_change_called_as_what_a_note_asks_for_is_told_too(market: Market) -> None:
    """The side that a run may take is a change like any other, also where there is no trade to tell of."""

    @dataclass(frozen=True, kw_only=True)
    class Never(Strategy):
        def rule(self, market: Market) -> Rule:
            return Rule(long=market.spot, short=market.perpetual, signal=bt.premium(market, market.perpetual), enter=50.0)

    assert any(note.startswith("NO TRADE: ") for note in bt.run(Never(), market, sides="minus").notes)
