"""Every signal of the package is blind to the future, shared and read-only. They are found by listing: a new one is tried here by being a signal."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from markets import load
from rich_market import BARS, BEGIN, SPOT, STEP, changed_after, ended_at, rich

import backtest as bt
from backtest import curve, signals
from backtest.curve import offered
from backtest.market import Floats, Market
from backtest.memo import SIGNALS

Ask = Callable[[Market], npt.NDArray[Any]]

CUTS = [BEGIN + count * STEP for count in (302, 701, 1100, 1400)]
CALENDAR = {"days_to_expiry", "near_event", "near_expiry", "venue_closed"}  # they depend on dates that were announced, and on no number


def questions() -> dict[str, Ask]:
    """Every signal as it is asked with its defaults; transforms of values once of a table and once of a row."""
    asked: dict[str, Ask] = {"offered": lambda market: offered(market, market.future_chain(min_days=20))}
    for name, ask in SIGNALS.items():
        needed = [item for item in list(inspect.signature(ask).parameters.values())[1:] if item.default is item.empty]
        if not needed:
            asked[name] = ask
        elif [item.annotation for item in needed] == [Floats]:
            asked[f"{name} of a table"] = lambda market, ask=ask: ask(
                market, signals.zscore(market, curve.annualized_premium(market), "20D")
            )
            asked[f"{name} of a row"] = lambda market, ask=ask: ask(market, signals.zscore(market, market.close(SPOT), "20D"))
        else:
            raise AssertionError(f"{name} needs {needed}: a signal has defaults for all but the values that it transforms")
    return asked


QUESTIONS = questions()


# ---------------------------------------------------------------- the list


def test_every_public_function_from_a_market_to_numbers_is_a_signal() -> None:
    """What `curve` and `signals` offer and gives arrays of bars is listed, so that nothing escapes the tests below; and what is listed is offered."""
    offered_by_name = {name: getattr(package, name) for package in (curve, signals) for name in package.__all__}
    functions = {name: item for name, item in offered_by_name.items() if inspect.isfunction(item)}
    numbers = {name for name, item in functions.items() if inspect.signature(item).return_annotation == Floats}
    assert {name for name in numbers if next(iter(inspect.signature(functions[name]).parameters)) == "market"} == set(SIGNALS)
    assert all(functions[name] is SIGNALS[name] for name in SIGNALS)


def test_every_signal_can_be_reached_from_the_front_door() -> None:
    assert {name for name in SIGNALS if getattr(bt, name, None) is not SIGNALS[name]} == {"closes"}
    assert set(SIGNALS) - {"closes"} <= set(bt.__all__)


def test_there_are_as_many_as_we_know() -> None:
    assert len(SIGNALS) > 40, "they register when the packages are imported"


# ---------------------------------------------------------------- the future


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("whole"), rich())


@pytest.fixture(scope="module", params=CUTS, ids=lambda cut: f"{cut:%y-%m-%d}")
def others(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.Timestamp, dict[str, Market]]:
    """A moment and three markets that know or hold something else after it: changed, ended there, and read up to there."""
    cut: pd.Timestamp = request.param
    folder = tmp_path_factory.mktemp
    return cut, {
        "changed": load(folder("changed"), changed_after(cut)),
        "ended": load(folder("ended"), ended_at(cut)),
        "read": load(folder("read"), rich(), None, cut),
    }


def first_difference(ask: Ask, whole: Market, other: Market, cut: pd.Timestamp) -> pd.Timestamp | None:
    """The first bar up to the cut at which two markets' answers differ, NaN being equal to NaN; None if none does."""
    expected, found = (
        np.atleast_2d(ask(market))[:, (market.clock <= cut) & market.clock.isin(against.clock)].astype(np.float64)
        for market, against in ((whole, other), (other, whole))
    )
    # contracts that only one of them knows have no row in the other; they stand last, having the latest expiry
    rows = min(len(expected), len(found))
    differs = ((found[:rows] != expected[:rows]) & ~(np.isnan(found[:rows]) & np.isnan(expected[:rows]))).any(axis=0)
    return whole.clock[whole.clock.isin(other.clock)][int(differs.argmax())] if differs.any() else None


@pytest.mark.parametrize("name", QUESTIONS)
def test_nothing_after_a_bar_changes_what_was_known_at_it(whole: Market, others: tuple[pd.Timestamp, dict[str, Market]], name: str) -> None:
    cut, markets = others
    for kind, other in markets.items():
        assert first_difference(QUESTIONS[name], whole, other, cut) is None, f"{kind} after {cut}"


@pytest.mark.parametrize("name", sorted(set(QUESTIONS) - CALENDAR - {"offered"}))
def test_the_changed_future_is_changed(whole: Market, others: tuple[pd.Timestamp, dict[str, Market]], name: str) -> None:
    """The test above would see a peek: after the cut every signal differs, but for those of the calendar."""
    _, markets = others
    assert first_difference(QUESTIONS[name], whole, markets["changed"], whole.clock[-1]) is not None


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_signal_is_known_somewhere(whole: Market, name: str) -> None:
    """A signal that is NaN throughout would pass everything."""
    values = np.asarray(QUESTIONS[name](whole), dtype=np.float64)
    assert (~np.isnan(values)).sum() > BARS // 10
    assert name in CALENDAR or len(np.unique(values[~np.isnan(values)])) > 1


PEEKS: dict[str, Ask] = {
    "the next bar": lambda market: np.roll(market.close(SPOT), -1),
    "a centred window": lambda market: pd.Series(market.close(SPOT)).rolling(9, center=True).mean().to_numpy(),
    "the mean of the whole sample": lambda market: market.close(SPOT) - market.close(SPOT).mean(),
    "a value filled backward": lambda market: pd.Series(market.close(SPOT)).where(market.clock.hour == 0).bfill().to_numpy(),
}


@pytest.mark.parametrize("name", PEEKS)
def test_a_peek_is_seen(whole: Market, others: tuple[pd.Timestamp, dict[str, Market]], name: str) -> None:
    cut, markets = others
    assert any(first_difference(PEEKS[name], whole, other, cut) is not None for other in markets.values())


# ---------------------------------------------------------------- shared, read-only


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_signal_is_computed_once(whole: Market, name: str) -> None:
    first = QUESTIONS[name](whole)
    assert QUESTIONS[name](whole) is first
    assert np.atleast_2d(first).shape[1] == len(whole)


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_signal_is_read_only(whole: Market, name: str) -> None:
    with pytest.raises(ValueError, match="read-only"):
        QUESTIONS[name](whole)[..., 0] = 0.0
