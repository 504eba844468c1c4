"""Strategies and their command line: flags for every field, values by the fields' types, one sentence for every mistake, and no data needed."""

import argparse
import copy
import importlib.util
import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from markets import BARS, HOUR, PERP, SPOT, START, bars, ether, instrument, only, series, times, write

import backtest as bt
from backtest import kernels as k
from backtest import strategy as module
from backtest.data import sample
from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.execution import Execution
from backtest.filters import FILTERS, SIZERS, Filters, FundingWindow, OpenInterestFilter, RegimeFilter, VolatilitySizer, filtered, listed
from backtest.instruments import Kind
from backtest.result import Result
from backtest.rule import Leg, Rule, Sides
from backtest.strategy import (
    COMPOSED,
    Strategy,
    check_changes,
    check_market,
    command_line,
    kinds_of,
    label_of,
    main,
    on,
    params_of,
    parse_value,
    rule_of,
    values_of,
)

ROOT = Path(__file__).parents[1]


def script(name: str) -> ModuleType:
    """A strategy's script as a module."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / "strategies" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


CashAndCarry: type[Strategy] = script("cash_and_carry").CashAndCarry
FundingCarry: type[Strategy] = script("funding_carry").FundingCarry


@dataclass(frozen=True, kw_only=True)
class AlwaysOn(bt.Strategy):
    """Hold an instrument, or spot against the perpetual."""

    instrument: str | None = bt.param(None, "the only leg; none is spot against the perpetual")
    days: int = bt.param(3, "a whole number, of no use")
    flag: bool = bt.param(False, "a switch, of no use")

    def rule(self, market: bt.Market) -> Rule:
        if self.instrument:
            return Rule(long=market.leg(self.instrument))
        return Rule(long=market.spot, short=market.perpetual)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in: reports go there."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report without figures, which take seconds to draw."""
    monkeypatch.setattr(Result, "report", lambda self, path: (Path(path).parent.mkdir(exist_ok=True), Path(path).write_text("a report")))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("strategy"), ether())


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("text", "kinds", "value"),
    [
        ("0.5", (float,), 0.5), ("-1e-3", (float,), -1e-3), ("7", (float,), 7.0), ("7", (int,), 7), ("-2", (int,), -2),
        ("none", (float, type(None)), None), ("None", (str, type(None)), None), ("NONE", (bool, type(None)), None), ("none", (str,), "none"),
        ("30D", (str,), "30D"), ("30D", (str, type(None)), "30D"), ("5", (str,), "5"),
        ("true", (bool,), True), ("Yes", (bool,), True), ("1", (bool,), True), ("False", (bool,), False), ("no", (bool,), False), ("0", (bool,), False),
        ("auto", (float, Literal["auto"], type(None)), "auto"), ("1.5", (float, Literal["auto"], type(None)), 1.5), ("none", (float, Literal["auto"], type(None)), None),
        ("0.001,0.002", (float, tuple[float, float], type(None)), (0.001, 0.002)), ("0.001", (float, tuple[float, float], type(None)), 0.001),
        ("both", (Sides,), "both"), ("8h", (str, pd.Timedelta, type(None)), "8h"),
    ],
)  # fmt: skip
def test_a_flags_text_becomes_its_fields_type(text: str, kinds: tuple[Any, ...], value: object) -> None:
    found = parse_value(text, kinds, "x")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "kinds", "told"),
    [
        ("much", (float,), "x must be a number: x=much"),
        ("none", (float,), "x must be a number: x=none"),
        ("much", (float, type(None)), "x must be a number, or none: x=much"),
        ("1.5", (int,), "x must be a whole number: x=1.5"),
        ("0.1,much", (float, tuple[float, float]), "x must be a number: x=much"),
        ("0.1,0.2", (float,), "x must be a number: x=0.1,0.2"),
        ("maybe", (bool,), "x must be true or false: x=maybe"),
        ("none", (bool,), "x must be true or false: x=none"),
    ],
)
def test_a_flags_text_that_is_none_of_them_is_refused(text: str, kinds: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(told)}$"):
        parse_value(text, kinds, "x")


def test_a_union_of_number_types_takes_the_one_that_fits() -> None:
    assert parse_value("0.5", (int, float), "x") == 0.5


def test_kinds_of_a_field() -> None:
    assert kinds_of(float) == (float,)
    assert kinds_of(float | None) == (float, type(None))
    assert kinds_of(bool) == (bool,)


# ---------------------------------------------------------------- strategies


def test_an_unknown_parameter_has_a_nearest_name() -> None:
    with pytest.raises(ParameterError, match=r'^unknown parameter "entr" of CashAndCarry; did you mean "enter"\?$'):
        CashAndCarry(entr=0.1)
    with pytest.raises(ParameterError, match=r'^unknown parameter "zzz" of AlwaysOn; known: days, filters, flag, instrument, sizers$'):
        AlwaysOn(zzz=0.1)
    with pytest.raises(ParameterError, match=r'^unknown parameter "filter" of AlwaysOn; did you mean "filters"\?$'):
        AlwaysOn(filter="regime")

    class Bare(Strategy):
        """Without parameters of its own."""

    with pytest.raises(ParameterError, match=r'^unknown parameter "enter" of Bare; known: filters, sizers$'):
        Bare(enter=0.1)


@dataclass(frozen=True, kw_only=True)
class Needy(bt.Strategy):
    """With a parameter that has no default."""

    threshold: float

    def rule(self, market: bt.Market) -> Rule:
        return Rule(long=market.leg(SPOT))


def test_what_a_dataclass_would_refuse_is_told_in_a_sentence() -> None:
    told = 'Needy needs a value for "threshold", which has no default: give Needy(threshold=…), or a default in its class by bt.param'
    with pytest.raises(ParameterError, match=f"^{re.escape(told)}$"):
        Needy()
    told = "AlwaysOn takes its parameters by name: it got 3; known: days, filters, flag, instrument, sizers"
    with pytest.raises(ParameterError, match=f"^{re.escape(told)}$"):
        AlwaysOn(3)
    for made in (Needy(threshold=2.0), on(Needy(threshold=2.0), "ETH*"), AlwaysOn(filters="regime")):
        assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == replace(made) == made


def test_a_parameter_that_is_called_as_one_of_every_strategy_is_refused() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Filtering(AlwaysOn):
        filters: int = bt.param(3, "how many")  # type: ignore[assignment]

    @dataclass(frozen=True, kw_only=True)
    class Sizing(AlwaysOn):
        sizers: float | None = None  # type: ignore[assignment]

    @dataclass(frozen=True, kw_only=True)
    class Wanting(AlwaysOn):
        filters: int = field()  # type: ignore[assignment]

    for kind, name, given in ((Filtering, "filters", {}), (Sizing, "sizers", {}), (Wanting, "filters", {"filters": 3})):
        told = f'parameter "{name}" of {kind.__name__} is called as one that every strategy has; give it another name'
        with pytest.raises(ParameterError, match=f"^{re.escape(told)}$"):
            kind(**given)  # type: ignore[arg-type]

    @dataclass(frozen=True, kw_only=True)
    class Filtered(AlwaysOn):
        filters: Filters = bt.param(("regime=calm",), "another default")

    assert Filtered().filters == (RegimeFilter(("calm",)),)

    @dataclass(frozen=True, kw_only=True)
    class Switched(AlwaysOn):
        on: bool = bt.param(True, "a switch")

    assert params_of(Switched())["on"] is True
    told = 'parameter "on" of Switched is called as what bt.on adds to the parameters; give it another name'
    with pytest.raises(ParameterError, match=f"^{re.escape(told)}$"):
        on(Switched(), "ETH*")


@dataclass(frozen=True, kw_only=True)
class Returning(bt.Strategy):
    """Whose rule gives something else."""

    given: Any = None

    def rule(self, market: bt.Market) -> Rule:
        return self.given  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "None; end it with return bt.Rule(…)"),
        ([1], "[1]; several rules are a book: give bt.run one strategy for each of them"),
        ({"long": 1}, "{'long': 1}; several rules are a book: give bt.run one strategy for each of them"),
        (Rule, "<class 'backtest.rule.Rule'>; end it with return bt.Rule(…)"),
        (AlwaysOn(), f"{AlwaysOn()}"[:20]),
        (Leg(kind=Kind.SPOT, contracts=(SPOT,)), f"{SPOT}; end it with return bt.Rule(…)"),
    ],
    ids=["None", "a list", "a mapping", "the class", "a strategy", "a leg"],
)
def test_a_rule_that_is_none_is_refused_wherever_it_is_asked_for(data: str, given: Any, told: str) -> None:
    market, strategy = bt.load_market(data), Returning(given=given)
    asked: list[Callable[[], Any]] = [
        lambda: bt.run(strategy, market),
        lambda: bt.run(on(strategy, "ETH*"), market),
        lambda: bt.run(Returning(given=given, filters="funding=1h"), market),
        lambda: bt.check_causality(strategy, market),
    ]
    for ask in asked:
        with pytest.raises(ParameterError, match=f"^Returning.rule must return a bt.Rule: it returned {re.escape(told)}"):
            ask()
    with pytest.raises(ParameterError, match=f"^Returning: Returning.rule must return a bt.Rule: it returned {re.escape(told)}"):
        bt.run([strategy], market)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "None; give one, as bt.main(CashAndCarry); rules, books and what bt.on makes are run from Python by bt.run"),
        (Rule(long=Leg(kind=Kind.SPOT, contracts=(SPOT,))), "Rule(long="),
        (bt.Book([AlwaysOn()]), "<Book of AlwaysOn>; give one, as bt.main(CashAndCarry); rules, books and"),
        (AlwaysOn(), "AlwaysOn("),
        (Strategy, "<class 'backtest.strategy.Strategy'>; give one, as bt.main(CashAndCarry)"),
        (int, "<class 'int'>; give one, as bt.main(CashAndCarry)"),
    ],
    ids=["None", "a rule", "a book", "a strategy", "the base", "another class"],
)
def test_the_command_line_takes_a_class(capsys: pytest.CaptureFixture[str], given: Any, told: str) -> None:
    found = mistake(capsys, given)
    assert found.startswith(f"main takes the class of a strategy: it got {told}")
    assert not isinstance(given, AlwaysOn) or found.endswith("; give AlwaysOn, without brackets")


def test_the_command_line_tells_of_a_parameter_without_a_default(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert mistake(capsys, Needy, "--data", data).startswith(
        'Needy needs a value for "threshold", which has no default: give Needy(threshold=…)'
    )


def test_market_and_changes_are_checked_alike_everywhere() -> None:
    with pytest.raises(ParameterError, match=r'^unknown parameter "levrage": 2; did you mean "leverage"\?$'):
        check_changes({"size": 0.1, "levrage": 2})
    with pytest.raises(ParameterError, match=r"^a run needs a market: it got None; give bt\.load_market\(…\)$"):
        check_market(None, "a run")


def test_a_strategy_must_have_a_rule(data: str) -> None:
    with pytest.raises(NotImplementedError, match=r"^Strategy must define rule\(market\)$"):
        Strategy().rule(bt.load_market(data))

    class Bare(Strategy):
        """Without a rule."""

    for strategy in (Bare(), on(Bare(), "ETH*")):
        with pytest.raises(
            ParameterError, match=r"^Bare must define rule\(market\): it has no such method; write one that returns a bt\.Rule$"
        ):
            bt.run(strategy, bt.load_market(data))


def test_the_scripts_ask_for_what_they_say(data: str) -> None:
    market = bt.load_market(data)
    rule = CashAndCarry(min_days=3.0, enter=0.05).rule(market)
    assert (rule.long, rule.short, rule.enter, rule.exit) == (market.spot, market.future_chain(3.0), 0.05, 0.02)
    assert rule.signal is bt.net_carry(market, market.future_chain())
    assert rule.exit_signal is bt.stay_carry(market, market.future_chain())
    rule = FundingCarry(window="3D").rule(market)
    assert (rule.long, rule.short, rule.signal) == (market.spot, market.perpetual, bt.annualized_funding(market, window="3D"))


# ---------------------------------------------------------------- filters and sizers


def test_every_strategy_takes_filters_and_sizers(data: str) -> None:
    """One or several, objects or texts; what it says of them is what was in force."""
    market, window = bt.load_market(data), FundingWindow("2h")
    plain = AlwaysOn()
    assert (plain.filters, plain.sizers) == ((), ())
    assert params_of(plain) == {"instrument": None, "days": 3, "flag": False}
    for given in (window, "funding=2h", [window], ("funding=2h,none",)):
        one = AlwaysOn(filters=given, sizers="volatility=0.4,1,2D", days=4)
        assert (one.filters, one.sizers) == ((window,), (VolatilitySizer(0.4, window="2D"),))
        assert one == AlwaysOn(filters=[window], sizers=[VolatilitySizer(0.4, window="2D")], days=4)
        assert params_of(one) == {
            "instrument": None,
            "days": 4,
            "flag": False,
            "filters": ("funding=2h,none",),
            "sizers": ("volatility=0.4,1,2D",),
        }
        assert one.rule(market) == plain.rule(market), "a strategy's own rule knows nothing of them"
    found, wanted = rule_of(one, market), filtered(plain.rule(market), market, (window,), (VolatilitySizer(0.4, window="2D"),))
    np.testing.assert_array_equal(found.signal, wanted.signal)
    np.testing.assert_array_equal(found.scale, wanted.scale)
    assert replace(found, signal=None, scale=None, enter=None) == plain.rule(market)
    assert found.enter == 0.5
    assert rule_of(plain, market) == plain.rule(market)
    assert replace(one, filters="oi").filters == (OpenInterestFilter(),)


def test_a_strategy_with_checks_of_its_own_is_filtered_too(data: str) -> None:
    """It may forget to ask the base for its checks."""

    @dataclass(frozen=True, kw_only=True)
    class Checked(AlwaysOn):
        """With checks."""

        def __post_init__(self) -> None:
            assert self.days > 0

    one, market = Checked(filters="funding=2h"), bt.load_market(data)
    assert one.filters == "funding=2h"
    assert params_of(one)["filters"] == ("funding=2h,none",)
    np.testing.assert_array_equal(rule_of(one, market).signal, rule_of(AlwaysOn(filters="funding=2h"), market).signal)
    with pytest.raises(ParameterError, match=r'^unknown filter "fundin"; did you mean "funding"\?$'):
        rule_of(Checked(filters="fundin"), market)


def test_changes_are_made_before_filters(data: str) -> None:
    """What a run sets otherwise is what is filtered and sized: else a change of the threshold, the signal or the scale would undo it."""
    market, window = bt.load_market(data), FundingWindow()
    rate = bt.annualized_funding(market, window="1D")
    strategy = FundingCarry(enter=0.05, exit=None, filters=window, sizers=VolatilitySizer(window="2D"))
    wanted = filtered(FundingCarry(enter=0.05, exit=None).rule(market), market, (window,), ())
    size = VolatilitySizer(window="2D").scale(market, wanted)
    for changes, signal, scale in (
        ({"size": 0.2}, np.asarray(rule_of(FundingCarry(enter=0.05, exit=None, filters=window), market).signal), size),
        ({"signal": rate, "scale": 2.0 * np.ones(len(market))}, np.where(window.allows(market, wanted), rate, np.nan), 2.0 * size),
        ({"enter": None}, np.array([np.where(window.allows(market, wanted), sign, 0.0) for sign in (1.0, -1.0)]), size),
    ):
        found = rule_of(strategy, market, **changes)
        np.testing.assert_array_equal(found.signal, signal)
        np.testing.assert_array_equal(found.scale, scale)
    bare = Rule(long=market.spot)
    assert rule_of(bare, market) == bare
    assert rule_of(bare, market, size=0.2) == replace(bare, size=0.2)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"filters": RegimeFilter}, "filters must be filters: <class 'backtest.filters.entries.RegimeFilter'> is no filter; give bt.RegimeFilter(), or a text as \"regime=calm,trending\""),
        ({"filters": "event"}, 'unknown filter "event"; did you mean "events"?'),
        ({"filters": "regime=calm oi"}, 'allowed has no "calm oi": allowed=(\'calm oi\',); did you mean "calm"?'),
        ({"sizers": OpenInterestFilter()}, "sizers must be sizers: oi=1D is no sizer; it is a filter, for filters=…"),
        ({"sizers": 0.5}, 'sizers must be sizers: 0.5 is no sizer; give bt.PercentileSizer(), or a text as "percentile=0.9,0.25,180D"'),
    ],
)  # fmt: skip
def test_what_is_no_filter_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ParameterError) as error:
        AlwaysOn(**given)
    assert str(error.value) == told


# ---------------------------------------------------------------- narrowed to some instruments


def two_assets() -> Tables:
    """Ether as ever, and its bars once more as those of another coin, at ten times the price."""
    tables = only(ether(), SPOT, PERP)
    for name in (SPOT, PERP):
        other = name.replace("ETH", "BTC")
        tables.instruments.append(replace(next(item for item in tables.instruments if item.id == name), id=other, base="BTC"))
        tables.bars[other] = tables.bars[name].mul([10.0] * 4 + [1.0])
    tables.funding[PERP.replace("ETH", "BTC")] = tables.funding[PERP].mul([-1.0, 1.0, 1.0])
    return tables


def test_one_market_has_room_for_several_underlyings(tmp_path: Path) -> None:
    market = bt.load_market(write(tmp_path, two_assets()))
    with pytest.raises(DataError, match=r"^the rule needs one perpetual and the dataset test has several: BTCUSDT-PERP, ETHUSDT-PERP"):
        rule_of(FundingCarry(), market)
    strategies = {asset: on(FundingCarry(enter=0.05, window="1D", sizers="volatility=0.3,1,2D"), f"{asset}*") for asset in ("BTC", "ETH")}
    for asset, strategy in strategies.items():
        rule, narrow = rule_of(strategy, market), market.only(f"{asset}*")
        assert rule.long == narrow.spot == market.leg(f"{asset}USDT-SPOT")
        assert rule.short == narrow.perpetual
        assert rule.signal is bt.annualized_funding(narrow, window="1D")
        np.testing.assert_array_equal(rule.scale, bt.size_by_volatility(narrow, window="2D", target=0.3))
        assert label_of(strategy) == f"FundingCarry on {asset}*"
        assert params_of(strategy) == params_of(FundingCarry(enter=0.05, window="1D", sizers="volatility=0.3,1,2D")) | {
            "on": (f"{asset}*",)
        }
        assert rule_of(strategy, market, size=0.1).size == 0.1
    again = on(strategies["ETH"], SPOT, PERP)
    assert rule_of(again, market).long == market.leg(SPOT)
    assert label_of(again) == f"FundingCarry on ETH* on {SPOT} {PERP}"
    later = replace(strategies["ETH"], filters="funding=2h")
    assert params_of(later)["filters"] == ("funding=2h,none",)
    assert np.isnan(rule_of(later, market).signal).any(), "filters of its own see what it sees"
    assert label_of(Rule(long=market.leg(SPOT))) == "Rule"
    assert params_of(Rule(long=market.leg(SPOT))) == {}


def test_a_narrowed_strategy_runs_as_on_a_market_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path, two_assets())
    whole, own = bt.load_market(path), bt.load_market(path, instruments="ETH*")
    found, wanted = bt.run(on(AlwaysOn(), "ETH*"), whole), bt.run(AlwaysOn(), own)
    np.testing.assert_array_equal(found.equity, wanted.equity)


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda: on(AlwaysOn), "on narrows a strategy: it got <class 'test_strategy.AlwaysOn'>; give AlwaysOn()"),  # type: ignore[arg-type]
        (lambda: on(5, "ETH*"), "on narrows a strategy: it got 5; give one, as CashAndCarry(); a rule has its legs already"),  # type: ignore[arg-type]
        (lambda: on(AlwaysOn()), 'on needs instruments: it got none; give ids or patterns, as on(strategy, "BTC*")'),
        (lambda: on(AlwaysOn(), ["ETH*"]), "on takes ids or patterns as texts: it got ['ETH*']; give them one by one, as on(strategy, \"BTC*\")"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_cannot_be_narrowed_is_refused(ask: Callable[[], Any], told: str) -> None:
    with pytest.raises(ParameterError) as error:
        ask()
    assert str(error.value) == told


def test_nothing_of_the_kind_is_refused(data: str) -> None:
    with pytest.raises(DataError, match=r'^unknown instrument "SOL\*" in dataset test; '):
        rule_of(on(AlwaysOn(), "SOL*"), bt.load_market(data))


# ---------------------------------------------------------------- flags


def help_of(strategy: type[Strategy], capsys: pytest.CaptureFixture[str], flag: str = "--help-all") -> str:
    with pytest.raises(SystemExit) as left:
        main(strategy, [flag])
    assert left.value.code == 0
    return capsys.readouterr().out


GENERAL = {
    "data", "instruments", "currency", "start", "end", "freq", "clock", "staleness", "max_gap", "capital", "report", "json", "scenario", "help", "help_all",
    "check_causality", "filter", "sizer", "sample", "method", "seed", "threads", "store", "cluster", "longest", "search", "walk_forward", "embargo",
}  # fmt: skip
FLAG_LINE = re.compile(r"^  (?:-h, )?--([a-z-]+)", re.MULTILINE)


def fields_with_flags(strategy: type[Strategy]) -> dict[str, Any]:
    named = {item.name: item for owner in (Execution, Rule, strategy) for item in fields(owner) if "help" in item.metadata}
    del named["filters"], named["sizers"]  # --filter and --sizer, which are told with all that there are
    return named


@pytest.mark.parametrize("strategy", [CashAndCarry, FundingCarry, AlwaysOn], ids=lambda strategy: strategy.__name__)
def test_every_field_has_a_flag_and_the_whole_help_lists_it_with_its_default(
    strategy: type[Strategy], capsys: pytest.CaptureFixture[str]
) -> None:
    told = help_of(strategy, capsys)
    named = fields_with_flags(strategy)
    flags = {name.replace("_", "-") for name in (*GENERAL, *named)}
    assert set(FLAG_LINE.findall(told)) == flags
    words = " ".join(told.split())
    for item in named.values():
        assert " ".join(item.metadata["help"].split()) in words
        if "(default:" not in item.metadata["help"]:
            shown = (
                {None: "none", True: "yes", False: "no"}[item.default]
                if item.default is None or isinstance(item.default, bool)
                else item.default
            )
            assert f"{item.metadata['help']} (default: {shown})" in words
    assert strategy.__doc__ is not None
    assert strategy.__doc__ in words
    assert told.startswith(f"usage: {re.sub('(?<!^)(?=[A-Z])', '_', strategy.__name__).lower()} [--PARAMETER V …] [--data DIR]")
    assert max(map(len, told.splitlines())) < 80


@pytest.mark.parametrize("strategy", [CashAndCarry, FundingCarry, AlwaysOn], ids=lambda strategy: strategy.__name__)
def test_the_help_tells_of_a_first_day_and_names_every_other_flag_once(
    strategy: type[Strategy], capsys: pytest.CaptureFixture[str]
) -> None:
    told = help_of(strategy, capsys, "--help")
    assert told == help_of(strategy, capsys, "-h")
    flags = {name.replace("_", "-") for name in (*GENERAL, *fields_with_flags(strategy))}
    explained, others = (
        FLAG_LINE.findall(told),
        re.findall(r"--([a-z-]+)", told.partition("told by --help-all:")[2].partition("examples:")[0]),
    )
    assert sorted([*explained, *others]) == sorted(flags)
    own = {item.name.replace("_", "-") for item in fields(strategy)} - {"filters", "sizers"}
    assert own | {"start", "leverage", "report", "json", "scenario", "walk-forward"} <= set(explained)
    assert len(explained) < 30 < len(others)
    assert max(map(len, told.splitlines())) < 80
    assert len(told.splitlines()) < 120
    assert told.endswith("130 stopped by Ctrl-C\n")
    words = " ".join(told.split())
    assert "exit code: 0 done, 2 the data or the command line was wrong" in words


def test_the_examples_of_the_help_are_command_lines_that_work() -> None:
    for strategy in (CashAndCarry, FundingCarry, script("trend_following").TrendFollowing, AlwaysOn):
        parser = command_line(strategy, "script.py")
        examples = re.findall(r"^  python script\.py(.*)$", parser.short_help(), re.MULTILINE)
        assert len(examples) == 4
        for example in examples:
            found = parser.parse_strictly(example.partition("|")[0].split())
            values_of(found, strategy)


def test_a_docstring_of_several_paragraphs_is_broken_at_the_width() -> None:
    class Wordy(AlwaysOn):
        """One line that is far too long for a terminal of eighty columns, and goes on for quite a while.

        A second paragraph,
        in two lines.

            a = formula
        """

    told = command_line(Wordy, "wordy.py").short_help()
    assert "columns, and goes on for\nquite a while.\n\nA second paragraph, in two lines.\n\n    a = formula\n" in told


def test_flags_set_what_they_name() -> None:
    parser = command_line(CashAndCarry, "carry")
    words = "--enter none --exit 0.01 --min-days 7 --size 0.3 --resize none --stake yes --sides both --margin cross --spot-fee 0.002 --funding fill"
    found = parser.parse_strictly(words.split())
    assert values_of(found, CashAndCarry) == {"enter": None, "exit": 0.01, "min_days": 7.0}
    assert values_of(found, Rule) | {"enter": 0, "exit": 0} == {
        "enter": 0, "exit": 0, "size": 0.3, "resize": None, "stake": True, "sides": "both",
    }  # fmt: skip
    assert values_of(found, Execution) == {"margin": "cross", "spot_fee": 0.002, "funding": "fill"}
    assert values_of(parser.parse_strictly(["--exit", "-0.05", "--idle-rate=-0.01"]), CashAndCarry) == {"exit": -0.05}
    assert values_of(parser.parse_strictly([]), Rule) == {}


def test_a_strategys_own_parameter_comes_before_the_rules(data: str, plain: None, here: Path) -> None:
    """Both have a `size`: the strategy's decides, and what it makes of it is not overruled."""

    @dataclass(frozen=True, kw_only=True)
    class Halved(bt.Strategy):
        """Take half of what is asked for."""

        size: float = bt.param(0.4, "twice the position")

        def rule(self, market: bt.Market) -> Rule:
            return Rule(long=market.spot, size=self.size / 2)

    main(Halved, ["--data", data, "--size", "0.2", "--json", "run.json"])
    told = json.loads((here / "run.json").read_text())
    assert (told["params"], told["execution"]["size"]) == ({"size": 0.2}, "0.1")


def test_a_strategys_own_parameter_comes_before_the_executions(data: str, plain: None) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Own(bt.Strategy):
        """A parameter of its own called funding."""

        funding: float = bt.param(0.1, "enter at this rate of funding")

        def rule(self, market: bt.Market) -> Rule:
            return Rule(long=market.spot, size=self.funding)

    main(Own, ["--data", data, "--funding", "0.2"])


def test_filters_and_sizers_are_flags_of_every_strategy(data: str, plain: None, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--data",
        data,
        "--json",
        "run.json",
        "--filter",
        "funding=2h",
        "regime",
        "--filter",
        "events=1D,1D,fork",
        "--sizer",
        "volatility=0.4,1,2D",
    ]
    parser = command_line(AlwaysOn, "carry")
    found = parser.parse_strictly([word for word in words if word not in ("--json", "run.json")])
    given: dict[str, Any] = {"filters": ["funding=2h", "regime", "events=1D,1D,fork"], "sizers": ["volatility=0.4,1,2D"]}
    assert values_of(found, AlwaysOn) == given
    assert values_of(found, Rule) == values_of(found, Execution) == values_of(parser.parse_strictly([]), AlwaysOn) == {}
    assert mistake(capsys, AlwaysOn, *words).startswith('no event of kind "fork" in dataset test; it has no events at all;')
    main(AlwaysOn, [*words[:6], *words[-2:]])
    told = json.loads((here / "run.json").read_text())
    assert told["params"] == {
        "instrument": None,
        "days": 3,
        "flag": False,
        "filters": ["funding=2h,none"],
        "sizers": ["volatility=0.4,1,2D"],
    }
    market = bt.load_market(data)
    result = bt.run(AlwaysOn(filters="funding=2h", sizers="volatility=0.4,1,2D"), market)
    assert told["final_equity"] == result.equity.iloc[-1]
    assert result.trades["entered_at"].iloc[0].hour % 8 == 6
    assert {name: list(texts) for name, texts in result.params.items() if name in COMPOSED} == {
        "filters": ["funding=2h,none"],
        "sizers": ["volatility=0.4,1,2D"],
    }
    assert "filters" not in bt.run(AlwaysOn(), market).params


def test_the_help_lists_filters_and_sizers_with_their_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    told = help_of(AlwaysOn, capsys)
    assert textwrap.indent(listed(), "  ") in told
    words = " ".join(told.split())
    assert f"funding=2h: {' '.join(FILTERS)} (default: none)" in words
    assert f"volatility=0.4: {' '.join(SIZERS)} (default: none)" in words
    assert max(map(len, told.splitlines())) <= 80


def test_a_parameter_that_is_called_as_a_flag_of_the_run_is_refused(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It could not be set."""

    @dataclass(frozen=True, kw_only=True)
    class Own(AlwaysOn):
        """With a name that is taken."""

        filter: bool = bt.param(False, "a switch")

    told = 'parameter "filter" of Own is called as a flag that every strategy has; give it another name'
    assert mistake(capsys, Own, "--data", data) == told


@dataclass(frozen=True, kw_only=True)
class Tomorrow(bt.Strategy):
    """Buy when the next close is higher."""

    ahead: int = bt.param(-1, "how many bars the price is shifted")

    def rule(self, market: bt.Market) -> Rule:
        close = pd.Series(market.close(SPOT)).shift(self.ahead).to_numpy()
        return Rule(long=market.leg(SPOT), signal=close, enter=2000.0, exit=1990.0)


def test_a_look_ahead_is_found_from_the_command_line(data: str, plain: None, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The verdict is the last word; a strategy that fails keeps its report and JSON."""
    main(Tomorrow, ["--data", data, "--ahead", "1", "--check-causality", "--size", "0.2"])
    printed = capsys.readouterr().out
    table, verdict = printed.index("Tomorrow"), printed.lower().index("causality")
    assert table < printed.index("Report: ") < verdict
    with pytest.raises(SystemExit) as left:
        main(Tomorrow, ["--data", data, "--check-causality", "--report", "late.html", "--json", "late.json"])
    printed = capsys.readouterr()
    assert left.value.code == 2
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert "2024-03-0" in printed.err, "the first bar"
    assert "signal" in printed.err
    assert "causality" in printed.out.lower()
    assert "Report: late.html" in printed.out
    assert json.loads((here / "late.json").read_text())["strategy"]


def test_negative_numbers_may_be_written_in_any_way(data: str, plain: None) -> None:
    main(FundingCarry, ["--data", data, "--enter", "none", "--exit", "-1e-3"])


# ---------------------------------------------------------------- a whole run


def test_a_run_prints_the_table_and_writes_report_and_json(data: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        AlwaysOn,
        ["--data", data, "--capital", "50000", "--size", "0.2", "--json", "out/run.json", "--start", "2024-03-02", "--end", "2024-03-08"],
    )
    printed = capsys.readouterr()
    assert "AlwaysOn" in printed.out
    assert "SIMULATED" in printed.out
    assert printed.out.endswith("Report: reports/always_on.html\nJSON: out/run.json\n")
    assert printed.err == ""
    assert "SIMULATED" in (here / "reports" / "always_on.html").read_text()
    told = json.loads((here / "out" / "run.json").read_text())
    assert (told["capital"], told["bars"], told["start"], told["end"]) == (50_000.0, 144, "2024-03-02T00:00:00Z", "2024-03-08T00:00:00Z")


TRADE = {
    "entered_at", "exited_at", "side", "contract", "quantity", "entry_long", "entry_short", "exit_long", "exit_short", "settlement_price",
    "entry_premium", "exit_premium", "reason", "pnl", "worst", "best", "attribution",
}  # fmt: skip


def test_the_json_of_a_run_has_the_designs_keys(data: str, plain: None, here: Path) -> None:
    main(CashAndCarry, ["--data", data, "--enter", "none", "--exit", "none", "--min-days", "0", "--json", "run.json"])
    told = json.loads((here / "run.json").read_text())
    design = {"strategy", "params", "dataset", "capital", "start", "end", "bars", "metrics", "attribution", "final_equity", "trades"}
    beyond = {"version", "quote", "execution", "fills", "notes", "liquidations", "daily", "baselines", "baselines_left_out"}
    beyond |= {"by_regime", "regimes_left_out", "sensitivity", "quality", "reproduce"}
    assert set(told) == design | beyond, "fourteen keys beyond the design's, for who checks a run or compares it"
    assert set(told["dataset"]) == {"name", "hash", "simulated"}
    assert set(told["metrics"]) == {
        "total_return", "annual_return", "annual_volatility", "sharpe", "sortino", "calmar", "max_drawdown", "time_in_market", "turnover",
        "trades", "win_rate", "avg_hold_days", "excess_sharpe", "spot_beta", "hedged_share",
    }  # fmt: skip
    assert set(told["attribution"]) == set(k.SOURCES)
    assert len(told["trades"]) == 2
    for trade in told["trades"]:
        assert set(trade) == TRADE
        assert set(trade["attribution"]) == set(k.SOURCES)
        assert sum(trade["attribution"].values()) == pytest.approx(trade["pnl"])
    assert sum(told["attribution"].values()) == pytest.approx(told["final_equity"] - told["capital"])
    own = {item.name: item.default for item in fields(CashAndCarry) if item.name not in ("filters", "sizers")}
    assert told["params"] == own | {"enter": None, "exit": None, "min_days": 0.0}
    assert (told["strategy"], told["metrics"]["trades"], told["dataset"]["simulated"]) == ("CashAndCarry", 2, True)
    assert (told["trades"][0]["reason"], told["trades"][1]["exited_at"]) == ("expiry", None)


def test_without_data_the_sample_is_made_once(
    plain: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place, made = str(tmp_path / "dataset"), []

    def fake(path: str) -> str:
        made.append(path)
        return write(tmp_path, ether(), "sample")

    monkeypatch.setattr(module, "SAMPLE", place)
    monkeypatch.setattr(sample, "build_sample", fake)
    main(AlwaysOn, [])
    printed = capsys.readouterr()
    assert printed.err == f"No dataset given: making the simulated sample in {place} …\n"
    assert "sample" in printed.out
    main(AlwaysOn, [])
    assert capsys.readouterr().err == ""
    assert made == [place]


def test_coarser_bars_and_staleness_from_the_command_line(data: str, plain: None, here: Path) -> None:
    main(AlwaysOn, ["--data", data, "--freq", "8h", "--staleness", "1h", "--json", "run.json"])
    assert json.loads((here / "run.json").read_text())["bars"] == BARS // 8


# ---------------------------------------------------------------- mistakes: exit code 2, one sentence, no traceback


def mistake(capsys: pytest.CaptureFixture[str], strategy: type[Strategy], *arguments: str, printed: bool = False) -> str:
    """Run a command line that must fail; its sentence without the "error: "."""
    with pytest.raises(SystemExit) as left:
        main(strategy, list(arguments))
    captured = capsys.readouterr()
    assert left.value.code == 2
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1, "one sentence"
    assert (captured.out != "") == printed
    return captured.err.removeprefix("error: ").rstrip("\n")


PARAMETERS = [
    (("--enter", "0.01"), "exit must be below enter: exit=0.02, enter=0.01; only a signal of 0 and 1 may use one threshold for both"),
    (("--size", "-1"), "size must be above 0: size=-1"),
    (("--size", "0"), "size must be above 0: size=0"),
    (("--leverage", "0"), "leverage must be above 0: leverage=0"),
    (("--entr", "0.1"), 'unknown parameter --entr; did you mean "--enter"?'),
    (("--entr=0.1",), 'unknown parameter --entr; did you mean "--enter"?'),
    (("--min-day", "3"), 'unknown parameter --min-day; did you mean "--min-days"?'),
    (("stray",), 'unexpected argument "stray"; see cash_and_carry --help'),
    (("--enter",), "argument --enter: expected at least one argument; see cash_and_carry --help"),
    (("--enter", "much"), "enter must be a number, or none: enter=much"),
    (("--enter", "nan"), "enter must be a finite number: enter=nan"),
    (("--min-days", "none"), "min_days must be a number: min_days=none"),
    (("--min-days", "-1"), "min_days must be at least 0: min_days=-1"),
    (("--stake", "maybe"), "stake must be true or false: stake=maybe"),
    (("--resize", "0.5"), "resize must be above 1: resize=0.5"),
    (("--resize", "often"), "resize must be a finite number: resize=often"),
    (("--sides", "left"), "sides must be one of plus, minus, both: sides=left"),
    (("--margin", "none"), "margin must be one of isolated, cross, off: margin=none"),
    (("--spot-fee", "10"), "spot_fee is a fraction: spot_fee=10 must be below 1; 10 bps are 0.001"),
    (("--half-spread", "0.1,0.2,0.3"), "half_spread takes one number, or two for the long and the short leg: half_spread=(0.1, 0.2, 0.3)"),
    (("--max-hold", "soon"), 'max_hold must be a duration like "30D" or "8h": max_hold=\'soon\''),
    (("--cooldown=-1D",), "cooldown must be longer than zero: cooldown='-1D'; leave it out for none"),
    (("--capital", "0"), "capital must be above 0: capital=0"),
    (("--capital", "much"), "capital must be a number: capital=much"),
    (("--start", "2024-13-01"), 'start must be a time like "2024-01-31" or "2024-01-31T08:00": start=\'2024-13-01\''),
    (("--end", "soon"), 'end must be a time like "2024-01-31" or "2024-01-31T08:00": end=\'soon\''),
    (
        ("--start", "2024-03-05", "--end", "2024-03-04"),
        "start must be before end: start=2024-03-05T00:00Z, end=2024-03-04T00:00Z; a whole day ends where the next one begins",
    ),
    (("--freq", "often"), "freq must be a duration like \"30D\" or \"8h\": freq='often'"),
    (("--staleness", "old"), 'staleness must be a duration like "30D" or "8h": staleness=\'old\''),
    (("--filter", "regim"), 'unknown filter "regim"; did you mean "regime"?'),
    (("--filter", "oi", "oi=1D"), 'filter "oi=1D" stands twice; leave one out'),
    (("--filter", "funding=1h", "0.5"), 'unknown filter "0.5"; known: crowding, cvd, events, funding, leverage, oi, regime'),
    (("--filter",), "argument --filter: expected at least one argument; see cash_and_carry --help"),
    (("--filters", "oi"), 'unknown parameter --filters; did you mean "--filter"?'),
    (("--sizer", "volatility=0"), "target must be above 0: target=0"),
    (("--sizer", "volatility=much"), "sizer volatility: target must be a number: target=much"),
    (("--check-causality=yes",), "argument --check-causality: ignored explicit argument 'yes'; see cash_and_carry --help"),
    (("--max-gap", "wide"), 'max_gap must be a duration like "30D" or "8h": max_gap=\'wide\''),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "told"), PARAMETERS, ids=lambda value: "_".join(value) if isinstance(value, tuple) else "")
def test_parameters_outside_their_rule(data: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str) -> None:
    assert mistake(capsys, CashAndCarry, *arguments, "--data", data) == told


@pytest.mark.parametrize("arguments", [("--start", "NaT"), ("--end", ""), ("--end", "1600-01-01"), ("--freq", "0h"), ("--min-days", "inf")])
def test_mistakes_that_nobody_expects(data: str, capsys: pytest.CaptureFixture[str], plain: None, arguments: tuple[str, ...]) -> None:
    mistake(capsys, CashAndCarry, "--data", data, *arguments)


def test_a_report_that_is_a_folder(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = mistake(capsys, CashAndCarry, "--data", data, "--report", ".")
    assert told == ".: it can't be written, as it is a folder; choose another place with --report"


def test_a_duration_without_a_unit_is_refused(data: str, capsys: pytest.CaptureFixture[str], plain: None) -> None:
    assert mistake(capsys, CashAndCarry, "--data", data, "--max-hold", "30").startswith("max_hold must be a duration")


def test_no_dataset_at_the_place_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    told = "nowhere near: no dataset there (dataset.json is missing); make one with: carry data import … --into 'nowhere near'"
    assert mistake(capsys, CashAndCarry, "--data", "nowhere near") == told


def test_an_unknown_instrument(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = mistake(capsys, AlwaysOn, "--data", data, "--instrument", "ETHUSDT-SPOTT")
    assert told == 'unknown instrument "ETHUSDT-SPOTT" in dataset test; did you mean "ETHUSDT-SPOT"?'


def test_a_dataset_without_what_the_rule_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, only(ether(), SPOT))
    told = mistake(capsys, FundingCarry, "--data", path)
    assert told == "the rule needs one perpetual and the dataset test has none; the market has ETHUSDT-SPOT"
    told = mistake(capsys, CashAndCarry, "--data", path)
    assert told == "the rule needs dated futures and the dataset test has none; the market has ETHUSDT-SPOT"


def test_several_spots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = ether()
    tables.instruments.append(instrument("ETHUSDC-SPOT", Kind.SPOT, quote="USDC"))
    tables.bars["ETHUSDC-SPOT"] = tables.bars[SPOT]
    told = mistake(capsys, CashAndCarry, "--data", write(tmp_path, tables))
    assert told.startswith("the rule needs one spot and the dataset test has several: ETHUSDC-SPOT, ETHUSDT-SPOT; choose one with")


def test_spot_and_future_without_overlap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = ether()
    tables.bars[SPOT] = tables.bars[SPOT].iloc[:40]
    for item in tables.instruments[2:]:
        tables.bars[item.id] = tables.bars[item.id].iloc[50:]
    told = mistake(capsys, CashAndCarry, "--data", write(tmp_path, tables))
    assert told == (
        "ETHUSDT-SPOT and the chain ETHUSDT-240306 … ETHUSDT-240329, at least 14 days to expiry have no bar in common "
        "(2024-03-01T01:00Z to 2024-03-02T16:00Z; 2024-03-03T03:00Z to 2024-03-09T08:00Z); "
        "import a period that both cover, or allow older closes with staleness=…"
    )


def without_event(folder: Path, *numbers: int) -> str:
    tables = ether()
    events = tables.funding[PERP]
    tables.funding[PERP] = events.drop(events.index[list(numbers)])
    return write(folder, tables)


def test_funding_with_a_missing_event_and_the_end_that_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], plain: None, here: Path
) -> None:
    arguments = ["--data", without_event(tmp_path, 20, 21), "--enter", "none", "--exit", "none", "--window", "1D"]
    told = mistake(capsys, FundingCarry, *arguments)
    assert told == (
        f"{PERP}: 2 funding events are missing, first 2024-03-07T16:00Z, last 2024-03-08T00:00Z; import them, "
        'end the run at 2024-03-07T15:00Z (--end), or choose funding="fill"'
    )
    main(FundingCarry, [*arguments, "--end", "2024-03-07T15:00Z", "--json", "run.json"])
    assert json.loads((here / "run.json").read_text())["end"] == "2024-03-07T15:00:00Z"
    assert mistake(capsys, FundingCarry, *arguments, "--end", "2024-03-07T16:00Z", printed=True).startswith(f"{PERP}: 1 funding event is")
    main(FundingCarry, [*arguments, "--funding", "fill"])
    assert "2 missing funding events were filled" in " ".join(capsys.readouterr().out.split())


def test_a_gap_beyond_the_tolerance_and_the_way_around(tmp_path: Path, capsys: pytest.CaptureFixture[str], plain: None) -> None:
    tables = ether()
    tables.bars[SPOT] = tables.bars[SPOT].drop(tables.bars[SPOT].index[100:130])
    path = write(tmp_path, tables)
    told = mistake(capsys, CashAndCarry, "--data", path)
    assert told == (
        f"{SPOT}: no bars from 2024-03-05T04:00Z to 2024-03-06T11:00Z (1 days 07:00:00), longer than max_gap=1 days 00:00:00; "
        'import the missing bars, choose a period outside, or allow it with max_gap="31h"'
    )
    main(CashAndCarry, ["--data", path, "--max-gap", "31h"])
    assert f"{SPOT}: 1 gaps in the bars" in " ".join(capsys.readouterr().out.split())


def test_only_what_is_named_is_loaded_and_in_one_currency(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], plain: None, here: Path
) -> None:
    tables = ether()
    tables.instruments.append(instrument("ETHUSD-SPOT.coinbase", Kind.SPOT, venue="coinbase", quote="USD"))
    tables.bars["ETHUSD-SPOT.coinbase"] = tables.bars[SPOT] * 1.001
    tables.series["USDTUSD"] = series(times(START - HOUR, 300), np.full(300, 1.001))
    path = write(tmp_path, tables)
    assert mistake(capsys, AlwaysOn, "--data", path).startswith(
        "the rule needs one spot and the dataset test has several: ETHUSD-SPOT.coinbase, "
    )
    main(AlwaysOn, ["--data", path, "--instruments", "ETHUSDT-*", "--json", "run.json"])
    assert json.loads((here / "run.json").read_text())["quote"] == "USDT"
    named = ["--data", path, "--instruments", "*.coinbase", PERP]
    main(AlwaysOn, [*named, "--currency", "USD", "--json", "run.json"])
    told = json.loads((here / "run.json").read_text())
    assert told["quote"] == "USD"
    assert any(
        note.startswith(f"Converted from USDT to USD by the series USDTUSD, as known at each bar: {PERP}.") for note in told["notes"]
    )
    wrong = mistake(capsys, AlwaysOn, "--data", path, "--instruments", "ETHUSDT-PREP", printed=True)
    assert wrong == f'unknown instrument "ETHUSDT-PREP" in dataset test; did you mean "{PERP}"?'
    wrong = mistake(capsys, AlwaysOn, *named, "--currency", "EUR")
    assert wrong.startswith('ETHUSD-SPOT.coinbase is quoted in USD and nothing converts it to EUR: dataset test has no series "USDEUR"')


def test_bars_end_where_those_of_another_instrument_do(tmp_path: Path, capsys: pytest.CaptureFixture[str], plain: None, here: Path) -> None:
    tables = only(ether(), SPOT, PERP)
    tables.bars[PERP] = bars(np.linspace(2000.0, 2010.0, 8), times("2024-03-02T00:00Z", 8, "D"))
    path = write(tmp_path, tables)
    main(AlwaysOn, ["--data", path, "--clock", PERP, "--json", "run.json"])
    assert json.loads((here / "run.json").read_text())["bars"] == 8
    assert "UNEQUAL BARS" not in capsys.readouterr().out


def test_a_truncated_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, ether())
    file = Path(path) / "bars" / f"instrument={PERP}" / "year=2024" / "part-0.parquet"
    file.write_bytes(file.read_bytes()[:-200])
    told = mistake(capsys, AlwaysOn, "--data", path)
    assert told.startswith(f"{file}: is truncated or damaged and can't be read (")
    assert told.endswith("); restore it or import the data again")


@pytest.mark.parametrize("name", ["instruments.parquet", "dataset.json"])
def test_a_damaged_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = write(tmp_path, ether())
    (Path(path) / name).write_bytes(b"{" * 50)
    told = mistake(capsys, AlwaysOn, "--data", path)
    assert told.startswith(f"{path}/{name}: ")
    assert "restore it or import the data again" in told


def test_a_bar_that_cannot_be_true(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = ether()
    tables.bars[PERP].iloc[7, 3] = 0.0
    told = mistake(capsys, AlwaysOn, "--data", write(tmp_path, tables))
    assert told.startswith("ETHUSDT-PERP at 2024-03-01T08:00Z: close is 0; prices must be above 0 and finite; correct the row or remove it")


def test_a_period_without_bars(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = mistake(capsys, AlwaysOn, "--data", data, "--start", "2030-01-01")
    assert told == f"{data}: no bars between 2030-01-01T00:00Z and the end; choose a period within 2024-03-01T01:00Z to 2024-03-09T08:00Z"


@pytest.mark.parametrize("flag", ["--report", "--json"])
def test_a_place_that_cannot_be_written_is_told_before_anything_runs(
    data: str, capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    monkeypatch.setattr(module, "load_market", lambda *_, **__: pytest.fail("it ran"))
    (here / "file").write_text("kept")
    told = mistake(capsys, AlwaysOn, "--data", data, flag, "file/run.out")
    assert told == f"file/run.out: it can't be written, as {here / 'file'} is no folder; choose another place with {flag}"
    assert (here / "file").read_text() == "kept"
    assert (
        mistake(capsys, AlwaysOn, "--data", data, flag, " ")
        == f'{flag} needs the path of a file: {flag}=" "; name one, or leave {flag} out'
    )
    monkeypatch.setattr("os.access", lambda *_: False)
    assert f"as nothing may be written into {here};" in mistake(capsys, AlwaysOn, "--data", data, flag, "new.out")


def test_a_place_that_fills_up_is_told_when_it_does(data: str, plain: None, capsys: pytest.CaptureFixture[str]) -> None:
    told = mistake(capsys, AlwaysOn, "--data", data, "--json", "/dev/full", printed=True)
    assert told.startswith("JSON can't be written to /dev/full: No space left on device;")


def test_an_empty_folder_is_no_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    assert mistake(capsys, AlwaysOn, "--data", "").startswith(": no dataset there (dataset.json is missing)")


def test_staking_before_it_could_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = Tables(instruments=[instrument(SPOT, Kind.SPOT)], bars={SPOT: bars(np.full(30, 9.0), times("2022-01-01T01:00Z", 30))})
    told = mistake(capsys, AlwaysOn, "--data", write(tmp_path, tables), "--instrument", SPOT, "--stake", "true")
    assert told.startswith(
        "stake=True is refused before 2023-04-12, when staked ETH could not be withdrawn: the run starts 2022-01-01T00:00Z;"
    )


# ---------------------------------------------------------------- as a user starts them


def started(here: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *words], cwd=here, env=environment, capture_output=True, text=True, timeout=120)


SCRIPTS: list[tuple[str, Callable[[Path], list[str]], str]] = [
    ("cash_and_carry", lambda folder: ["--entr", "0.1"], 'error: unknown parameter --entr; did you mean "--enter"?\n'),
    (
        "cash_and_carry",
        lambda folder: ["--data", "nowhere"],
        "error: nowhere: no dataset there (dataset.json is missing); make one with: carry data import … --into nowhere\n",
    ),
    (
        "funding_carry",
        lambda folder: ["--data", without_event(folder, 20), "--window", "1D"],
        "error: ETHUSDT-PERP: 1 funding event is missing, first 2024-03-07T16:00Z, last 2024-03-07T16:00Z; import them, "
        'end the run at 2024-03-07T15:00Z (--end), or choose funding="fill"\n',
    ),
    (
        "funding_carry",
        lambda folder: ["--leverage", "0", "--data", write(folder, ether())],
        "error: leverage must be above 0: leverage=0\n",
    ),
]


@pytest.mark.parametrize(("name", "arguments", "told"), SCRIPTS, ids=["unknown", "nowhere", "funding", "leverage"])
def test_a_script_ends_with_one_sentence_and_code_2(
    here: Path, tmp_path: Path, name: str, arguments: Callable[[Path], list[str]], told: str
) -> None:
    done = started(here, str(ROOT / "strategies" / f"{name}.py"), *arguments(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)
    assert list(here.iterdir()) == []


def test_importing_the_package_is_light(here: Path) -> None:
    """Compiler, plots, templates and vectorbt take seconds: they are imported where they are used."""
    done = started(here, "-c", "import sys, backtest; print(*sorted(sys.modules))")
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "backtest" in loaded
    assert not loaded & {"matplotlib", "vectorbt", "numba", "jinja2", "pyarrow", "scipy"} - {"pyarrow"}


def test_the_package_offers_its_names() -> None:
    assert len(set(bt.__all__)) == len(bt.__all__)
    for name in bt.__all__:
        assert getattr(bt, name) is not None
    with pytest.raises(AttributeError, match=r"^module 'backtest' has no attribute 'sweeep'$"):
        _ = bt.sweeep
    assert isinstance(command_line(AlwaysOn, "x"), argparse.ArgumentParser)
    assert ether().bars[SPOT].index[0] == START + HOUR


def test_a_reader_that_leaves_ends_the_program_quietly() -> None:
    program = "from backtest.errors import user_errors\nwith user_errors():\n    for _ in range(10_000): print('x' * 100)"
    done = subprocess.run(["bash", "-c", f'{sys.executable} -c "$0" | head -n 1', program], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout == "x" * 100 + "\n"


def ended(how: str, body: str) -> "tuple[str, str]":
    """The exit code and what stderr has of a program whose output goes somewhere."""
    program = f"import sys, time\nfrom backtest.errors import *\nwith user_errors():\n    print('x')\n    {body}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # nothing is written until the end
    words = ["bash", "-c", f'{sys.executable} -c "$0" {how}; echo ${{PIPESTATUS[0]}} >&2', program]
    told = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60).stderr
    *lines, code = told.splitlines()
    return code, "\n".join(lines)


@pytest.mark.parametrize("body", ["time.sleep(0.3)", "time.sleep(0.3); sys.exit(0)"])
def test_a_reader_that_left_before_anything_was_written_is_no_traceback(body: str) -> None:
    """A short text is written when the program ends, after a help as after a command."""
    assert ended("| true", body) == ("1", "")


def test_output_that_nothing_takes_is_one_sentence() -> None:
    told = "error: the output can't be written: No space left on device; free some space, or check the place and its permissions"
    assert ended("> /dev/full", "pass") == ("2", told)
    assert ended("> /dev/full", "sys.exit(0)") == ("2", told)
    assert ended("> /dev/full", "raise DataError('wrong')") == ("2", "error: wrong")
    assert ended("> /dev/full", "raise KeyboardInterrupt") == ("130", "stopped; what was there is as it was")
    assert ended(">&-", "raise DataError('wrong')") == ("2", "error: wrong")


def test_what_nobody_has_put_into_words_is_a_sentence_too() -> None:
    told = "error: nowhere: No such file or directory; free some space, or check the place and its permissions"
    assert ended("> /dev/null", "open('nowhere')") == ("2", told)
    full = "error: the memory is full; load fewer instruments (--instruments), a shorter period, or coarser bars (--freq)"
    assert ended("> /dev/null", "raise MemoryError") == ("2", full)


def test_a_console_without_a_character_shows_a_question_mark() -> None:
    program = "from backtest.errors import user_errors\nwith user_errors(): print('a█b')"
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, b"a?b", b"")
