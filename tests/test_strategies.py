"""The scripts that come with the package, as a user runs, reads and changes them: each trades on the simulated sample, hedges what it says it hedges, and
has parameters that do what their help says.
"""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import backtest as bt
from backtest.data.sample import build_sample
from backtest.execution import Execution
from backtest.market import Market
from backtest.result import Result
from backtest.rule import Rule
from backtest.strategy import Strategy, command_line, main, values_of

ROOT = Path(__file__).parents[1]
FILES = {file.stem: file for file in sorted((ROOT / "strategies").glob("*.py"))}
# trades with default parameters over the whole life of the sample
TRADES = {
    "calendar_spread": 16, "cash_and_carry": 13, "funding_carry": 8, "futures_vs_perpetual": 70, "mean_reversion": 42, "reverse_carry": 2,
    "trend_following": 75,
}  # fmt: skip
HEDGED = sorted(set(FILES) - {"trend_following"})

# For each parameter another value, and what of the rule it changes.
CHANGES: Mapping[str, Mapping[str, tuple[str, set[str]]]] = {
    "calendar_spread": {
        "enter": ("0.1", {"enter"}), "exit": ("-0.01", {"exit"}), "cost": ("0.01", {"signal"}), "min_days": ("30", {"long", "short", "signal", "exit_signal"}),
        "expiry_days": ("none", {"expiry_days"}), "stop": ("none", {"stop"}), "max_hold": ("9D", {"max_hold"}),
    },
    "cash_and_carry": {
        "enter": ("none", {"enter"}), "exit": ("none", {"exit"}), "min_days": ("30", {"short"}), "cost": ("0.01", {"signal"}),
        "max_hold": ("none", {"max_hold"}),
    },
    "funding_carry": {
        "enter": ("none", {"enter"}), "exit": ("none", {"exit"}), "window": ("1D", {"signal"}),
        "sign_gated": ("yes", {"signal", "enter", "exit"}),
    },
    "futures_vs_perpetual": {
        "enter": ("0.1", {"enter"}), "exit": ("-0.01", {"exit"}), "window": ("1D", {"signal", "exit_signal"}), "cost": ("0.01", {"signal"}),
        "min_days": ("30", {"short"}), "expiry_days": ("none", {"expiry_days"}), "max_hold": ("9D", {"max_hold"}),
    },
    "mean_reversion": {
        "enter": ("3", {"enter"}), "exit": ("0", {"exit"}), "window": ("60D", {"signal", "exit_signal", "scale"}),
        "by_rank": ("yes", {"signal", "exit_signal", "enter", "exit"}), "perpetual": ("yes", {"short", "signal", "exit_signal", "scale"}),
        "min_days": ("30", {"short"}), "crowded": ("no", {"signal"}), "grown": ("no", {"signal"}), "least": ("1", {"scale"}),
        "stop": ("none", {"stop"}), "max_hold": ("none", {"max_hold"}),
    },
    "reverse_carry": {
        "enter": ("none", {"enter"}), "exit": ("none", {"exit"}), "min_days": ("30", {"short"}), "cost": ("0.01", {"signal"}),
        "own_coins": ("yes", {"signal", "exit_signal"}), "max_hold": ("none", {"max_hold"}),
    },
    "trend_following": {
        "fast": ("3D", {"signal", "exit_signal"}), "slow": ("60D", {"signal", "exit_signal"}), "confirm": ("no", {"signal"}),
        "future": ("yes", {"long", "signal", "roll_days"}), "sides": ("plus", {"sides"}), "target": ("0.2", {"scale"}), "loss": ("none", {"loss"}),
    },
}  # fmt: skip
EACH = [(name, parameter) for name, changed in CHANGES.items() for parameter in changed]


def strategy(name: str) -> type[Strategy]:
    """The class that a script defines: the script's name in capitals."""
    module_name = f"strategies_{name}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, FILES[name])
        assert spec is not None
        assert spec.loader is not None
        sys.modules[module_name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[module_name])
    found: type[Strategy] = getattr(sys.modules[module_name], "".join(word.title() for word in name.split("_")))
    return found


def own_fields(name: str) -> list[Any]:
    """The parameters of the script's own, without those of every strategy."""
    return [item for item in fields(strategy(name)) if item.name not in {other.name for other in fields(Strategy)}]


def instance(name: str, *words: str) -> Strategy:
    """The strategy that these flags make."""
    owner = strategy(name)
    return owner(**values_of(command_line(owner, name).parse_strictly(words), owner))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("strategies") / "sample"
    build_sample(str(place))
    return place


@pytest.fixture(scope="module")
def whole(sample: Path) -> Market:
    return bt.load_market(str(sample))


@pytest.fixture(scope="module")
def market(sample: Path) -> Market:
    """A year and a half by eight hours, for questions about rules."""
    return bt.load_market(str(sample), "2020-06-01", "2021-12-01", "8h")


@pytest.fixture(scope="module")
def results(whole: Market) -> dict[str, Result]:
    """Each script with its default parameters over the sample's whole life."""
    return {name: bt.run(strategy(name)(), whole) for name in FILES}


# ---------------------------------------------------------------- as a user runs them


def test_the_tables_of_this_file_have_all_scripts_and_parameters() -> None:
    assert set(TRADES) == set(CHANGES) == set(FILES)
    for name, changed in CHANGES.items():
        assert set(changed) == {item.name for item in own_fields(name)}, name


@pytest.mark.parametrize("name", FILES)
def test_a_script_gives_a_table_a_report_and_json(
    name: str, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(strategy(name), ["--data", str(sample), "--start", "2020-06-01", "--end", "2022-01-01", "--freq", "8h", "--json", "run.json"])
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines()[1].startswith(strategy(name).__name__)
    assert "SIMULATED" in printed.out
    assert max(map(len, printed.out.splitlines())) <= 80
    assert printed.out.endswith(f"Report: reports/{name}.html\nJSON: run.json\n")
    assert "<svg" in (tmp_path / "reports" / f"{name}.html").read_text(encoding="utf-8")
    told = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert told["strategy"] == strategy(name).__name__
    assert {item.name: told["params"][item.name] for item in own_fields(name)} == {item.name: item.default for item in own_fields(name)}
    assert sum(told["attribution"].values()) == pytest.approx(told["final_equity"] - told["capital"])


def test_a_script_runs_in_a_process_of_its_own(sample: Path, tmp_path: Path) -> None:
    words = ["--data", str(sample), "--start", "2020-12-01", "--end", "2021-03-01", "--freq", "8h", "--report", "here.html"]
    done = subprocess.run(
        [sys.executable, str(FILES["calendar_spread"]), *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [file.name for file in tmp_path.iterdir()] == ["here.html"]


@pytest.mark.parametrize("name", FILES)
def test_a_script_trades_with_its_defaults(name: str, results: dict[str, Result]) -> None:
    assert len(results[name].trades) == TRADES[name]
    assert results[name].attribution.iloc[-1].sum() == pytest.approx(results[name].equity.iloc[-1] - results[name].capital)


# ---------------------------------------------------------------- as a user reads them


@pytest.mark.parametrize("name", FILES)
def test_a_script_says_its_trade_its_risks_and_where_it_fails_and_is_short(name: str) -> None:
    text = FILES[name].read_text(encoding="utf-8")
    told = sys.modules[strategy(name).__module__].__doc__
    assert told is not None
    for word in ("Risks:", "It fails", "Defaults:"):
        assert word in told, word
    code = [line for line in text.replace(told, "").splitlines() if line.strip()]
    assert len(code) <= 65
    assert 10 <= len(told.splitlines()) <= 25


@pytest.mark.parametrize("name", FILES)
def test_the_flags_that_a_script_speaks_of_are_flags(name: str) -> None:
    """As in "--roll-days 7 --max-hold none": they are accepted, with these values."""
    owner = strategy(name)
    words = re.findall(r"--([a-z][a-z-]*)(?: ([\w.]*\w))?", f"{sys.modules[owner.__module__].__doc__} {owner.__doc__}")
    assert words
    for flag, value in words:
        found = command_line(owner, name).parse_strictly([f"--{flag}", value or "1"])
        for kind in (owner, Rule, Execution):
            values_of(found, kind)


@pytest.mark.parametrize("name", FILES)
def test_every_parameter_has_a_help_that_is_a_sentence(name: str) -> None:
    for item in own_fields(name):
        assert len(item.metadata["help"].split()) >= 4, item.name
        assert not item.metadata["help"].endswith(".")


# ---------------------------------------------------------------- as a user changes them


def differing(one: Rule, other: Rule) -> set[str]:
    """The fields in which two rules differ."""
    return {item.name for item in fields(Rule) if not same(getattr(one, item.name), getattr(other, item.name))}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) or isinstance(other, tuple):
        return isinstance(one, tuple) and isinstance(other, tuple) and all(map(same, one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other, equal_nan=True)
    return bool(one == other)


@pytest.mark.parametrize(("name", "parameter"), EACH)
def test_a_flag_changes_what_it_names_and_nothing_else(name: str, parameter: str, market: Market) -> None:
    value, changed = CHANGES[name][parameter]
    plain, other = instance(name), instance(name, f"--{parameter.replace('_', '-')}", value)
    assert getattr(plain, parameter) != getattr(other, parameter)
    assert differing(plain.rule(market), other.rule(market)) == changed


@pytest.mark.parametrize("name", FILES)
def test_every_limit_of_the_rule_is_the_users_too(name: str) -> None:
    """What a script doesn't set itself is a flag of the rule; what it does set has the script's default in the help."""
    told = " ".join(command_line(strategy(name), name).format_help().split())
    for item in own_fields(name):
        words = {"None": "none", "True": "yes", "False": "no"}  # what one types
        shown = words.get(str(item.default), item.default)
        assert f"{item.metadata['help']} (default: {shown})" in told
    for item in (*fields(Rule), *fields(Execution)):
        assert "help" not in item.metadata or f"--{item.name.replace('_', '-')} " in told


# ---------------------------------------------------------------- what they hold


@pytest.mark.parametrize("name", HEDGED)
def test_a_hedged_script_holds_as_much_on_one_side_as_on_the_other(name: str, results: dict[str, Result]) -> None:
    """Equal base units at every bar with both legs; one leg alone only from a forced exit to the next open."""
    held = results[name].positions[["long_quantity", "short_quantity"]].to_numpy()
    both = (held != 0.0).all(axis=1)
    np.testing.assert_allclose(held[both, 0], -held[both, 1], rtol=1e-9)
    alone = (held != 0.0).any(axis=1) & ~both
    forced = results[name].trades["reason"].isin(["liquidation", "expiry"]).sum()
    assert both.sum() > 100
    assert alone.sum() <= forced


def test_the_directional_script_holds_one_leg(results: dict[str, Result]) -> None:
    held = results["trend_following"].positions
    assert (held["short_quantity"] == 0.0).all()
    assert {-1.0, 1.0} <= set(np.sign(held["long_quantity"]))
    assert set(results["trend_following"].trades["side"]) == {-1, 1}


def test_which_way_each_trades(results: dict[str, Result]) -> None:
    sides = {name: set(result.trades["side"]) for name, result in results.items()}
    one_way = {"cash_and_carry": {1}, "funding_carry": {1}, "reverse_carry": {-1}}
    assert sides == {name: one_way.get(name, {-1, 1}) for name in FILES}


def test_reverse_carry_enters_below_spot_and_pays_for_the_coins(results: dict[str, Result]) -> None:
    result = results["reverse_carry"]
    assert (result.trades["entry_premium"] < 0.0).all()
    assert result.attribution["borrow"].iloc[-1] < 0.0


def test_cash_and_carry_rolls(whole: Market) -> None:
    """The spot stays and the next contract is sold, where it pays: fewer trades than without."""
    result = bt.run(instance("cash_and_carry", "--enter", "0", "--exit", "none", "--max-hold", "none"), whole, roll_days=7.0)
    settled = bt.run(instance("cash_and_carry", "--enter", "0", "--exit", "none", "--max-hold", "none"), whole)
    rolled = result.fills[result.fills["action"].str.startswith("roll")]
    assert len(rolled) >= 2
    assert set(rolled["slot"]) == {"short"}
    assert len(result.trades) < len(settled.trades)


# ---------------------------------------------------------------- funding carry, three ways


def test_always_on_is_one_trade(whole: Market) -> None:
    result = bt.run(instance("funding_carry", "--enter", "none", "--exit", "none"), whole)
    assert result.trades["reason"].tolist() == ["end of data"]


def test_sign_gated_is_in_while_trailing_funding_is_above_zero(whole: Market) -> None:
    result = bt.run(instance("funding_carry", "--sign-gated", "yes", "--enter", "0.9"), whole)
    paid = bt.annualized_funding(whole, window="7D")[0]
    assert len(result.trades) > len(bt.run(strategy("funding_carry")(), whole).trades), "it goes in and out more often"
    held = (result.positions["long_quantity"] > 0.0).to_numpy()
    np.testing.assert_array_equal(held[1:], paid[:-1] > 0.0, "decided at a close, done at the next open")


def test_an_entry_can_be_staged_around_payments(sample: Path) -> None:
    market = bt.load_market(str(sample), "2021-01-01", "2021-04-01")
    result = bt.run(strategy("funding_carry")(), market, entry_tranches=3, tranche_gap="funding")
    entries = result.fills[(result.fills["action"] == "entry") & (result.fills["slot"] == "short")].iloc[:3]
    payments = pd.DatetimeIndex(market.funding(market.perpetual.contracts[0]).times.view("M8[ns]")).tz_localize("UTC")
    between = [
        ((payments > one) & (payments <= other)).sum() for one, other in zip(entries["time"], entries["time"].iloc[1:], strict=False)
    ]
    assert between == [1, 1]


# ---------------------------------------------------------------- signals that are the scripts' own


def decided(result: Result, market: Market) -> list[tuple[int, Any]]:
    """The bar at whose close each trade was decided, and the trade."""
    return [(int(market.clock.get_loc(trade["entered_at"])), trade) for trade in result.trades.to_dict("records")]


def test_a_calendar_spread_sells_what_the_curve_pays_more_for(results: dict[str, Result], whole: Market) -> None:
    """The forward rate between the two expiries against the near one's rate, from the closes; 5 % a year over a round trip before the near expiry."""
    spot = whole.close(whole.spot.contracts[0])
    for bar, trade in decided(results["calendar_spread"], whole):
        near, far = trade["contract"].split("/")
        ends = [whole.instruments[name].expires_at for name in (near, far)]
        assert ends[0] < ends[1]
        days = [(end - whole.clock[bar]) / pd.Timedelta(days=1) for end in ends]
        premium = [np.log(whole.close(name)[bar] / spot[bar]) for name in (near, far)]
        forward = (premium[1] - premium[0]) * 365.0 / (days[1] - days[0])
        difference = trade["side"] * (forward - premium[0] * 365.0 / days[0])
        assert days[0] >= 14.0
        assert difference >= 0.05 + 0.0025 * 365.0 / days[0] - 1e-9


def test_futures_against_the_perpetual_sells_the_richer(results: dict[str, Result], whole: Market) -> None:
    spot, paid = whole.close(whole.spot.contracts[0]), bt.annualized_funding(whole, window="7D")[0]
    for bar, trade in decided(results["futures_vs_perpetual"], whole):
        name = trade["contract"].split("/")[1]
        days = (whole.instruments[name].expires_at - whole.clock[bar]) / pd.Timedelta(days=1)
        difference = (whole.close(name)[bar] / spot[bar] - 1.0) * 365.0 / days - paid[bar]
        assert trade["side"] * difference >= 0.05 + 0.0025 * 365.0 / days - 1e-9


def test_a_trend_is_followed_while_the_premium_expands(results: dict[str, Result], whole: Market) -> None:
    price = pd.Series(whole.close(whole.spot.contracts[0]), whole.clock)
    premium = pd.Series(whole.close(whole.perpetual.contracts[0]), whole.clock) / price - 1.0
    rising, expanding = (series.rolling("7D").mean() - series.rolling("30D").mean() for series in (price, premium))
    for bar, trade in decided(results["trend_following"], whole):
        assert trade["side"] == np.sign(rising.iloc[bar]) == np.sign(expanding.iloc[bar])


def test_a_wild_market_is_traded_small(whole: Market) -> None:
    scale = strategy("trend_following")().rule(whole).scale
    volatility = bt.realised_volatility(whole, window="30D")
    known = ~np.isnan(volatility)
    np.testing.assert_allclose(np.asarray(scale)[known], np.minimum(1.0, 0.4 / volatility[known]))


@pytest.mark.parametrize("words", [(), ("--by-rank", "yes")])
def test_an_extreme_is_faded_where_positions_confirm_it(words: tuple[str, ...], whole: Market) -> None:
    """Two deviations out, or beyond the ranks 0.977 and 0.023; rich: crowded and new longs, cheap: new shorts."""
    result = bt.run(instance("mean_reversion", *words), whole)
    premium = bt.constant_maturity(whole)
    out = bt.percentile(whole, premium, "90D") if words else bt.zscore(whole, premium, "90D")
    far, middle = (0.97725 - 0.5, 0.5) if words else (2.0, 0.0)
    grew, crowd = bt.quadrant(whole, whole.future_chain(), window="7D"), bt.crowding(whole)
    assert set(result.trades["side"]) == {-1, 1}
    for bar, trade in decided(result, whole):
        assert trade["side"] * (out[bar] - middle) >= far - 1e-5
        assert grew[bar] == (bt.Quadrant.NEW_LEVERAGE if trade["side"] > 0 else bt.Quadrant.NEW_SHORTS)
        assert trade["side"] < 0 or crowd[bar] == bt.Crowding.CROWDED
