"""Spaces of parameters: what varies, the order of a grid, samples that are repeatable, without doubles and inside their ranges, and every mistake's sentence."""

import math
import re
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backtest import space
from backtest.errors import ParameterError
from backtest.space import MOST, Range, between, combinations, count_of, grid_size, index_of, labelled, several, varied_of

BOUNDS = st.floats(-1e6, 1e6, allow_nan=False)
METHODS = st.sampled_from(["random", "sobol"])
SEEDS = st.integers(0, 2**40)


def refused(told: str) -> Any:
    return pytest.raises(ParameterError, match=f"^{re.escape(told)}$")


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    """Any range that is wide enough for some hundred numbers."""
    log, whole = draw(st.booleans()), draw(st.booleans())
    if whole:
        first = draw(st.integers(1 if log else -(10**6), 10**6))
        return between(first, first + draw(st.integers(1, 10**6)), log=log, whole=True)
    low, high = sorted((draw(BOUNDS), draw(BOUNDS)))
    assume(high - low > 1e-9 * max(abs(low), abs(high)))
    if log:
        low, high = sorted((math.exp(low / 1e5), math.exp(high / 1e5)))
        assume(high > low * (1.0 + 1e-9))
    return between(low, high, log=log)


def lists(most: int = 6) -> st.SearchStrategy[list[Any]]:
    """A few values: numbers, texts, none, tuples."""
    value = st.one_of(
        st.integers(2, 99), st.sampled_from(["1D", "2D", None, "auto", ("a", "b")]), st.floats(-1.0, 1.0).map(lambda x: x / 3)
    )
    return st.lists(value, min_size=1, max_size=most, unique_by=lambda one: str(labelled(one)))


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    """One to four parameters."""
    names = ["enter", "exit", "size", "hold"][: draw(st.integers(1, 4))]
    return {name: draw(st.one_of(lists(), ranges())) for name in names}


def labels(chosen: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(map(labelled, one.values())) for one in chosen]


# ---------------------------------------------------------------- what varies


def test_lists_arrays_and_ranges_vary_and_all_else_is_fixed() -> None:
    scale, wide = np.ones(3), between(0.0, 1.0)
    varied, fixed = varied_of(
        {
            "enter": wide, "legs": ("a", "b"), "exit": [0.1, None], "size": np.array([1.0, 2.0]), "scale": scale, "days": range(3), "hold": "3D",
            "stop": pd.Series([1, 2]), "loss": pd.Index([0.5]), "signal": [scale, scale + 1.0],
            "converge": np.array(0.5),
        }
    )  # fmt: skip
    assert list(varied) == ["enter", "exit", "size", "days", "stop", "loss", "signal"], "in the order given"
    assert list(fixed) == ["legs", "scale", "hold", "converge"]
    assert fixed["converge"] == 0.5
    assert type(fixed["converge"]) is float
    assert varied["enter"] is wide
    assert varied["size"] == [1.0, 2.0]
    assert [type(value) for name in ("size", "stop") for value in space.every(varied[name])] == [float, float, int, int]
    assert fixed["scale"] is scale


def test_several_values_are_different_ones() -> None:
    assert several("enter", 0.1) is None
    assert several("enter", [0.1]) == [0.1]
    with refused("enter has no values: enter=[]; give one or several, or leave it out"):
        varied_of({"enter": []})
    with refused("enter has 0.1 twice: its combinations would be run twice; leave one out"):
        varied_of({"enter": [0.1, 0.1]})
    with refused("enter has none twice: its combinations would be run twice; leave one out"):
        varied_of({"enter": [None, 1, None]})
    with refused("enter is one range or several values: enter=0..1 stands among others; give it alone, or values"):
        varied_of({"enter": [between(0, 1), 3.0]})
    with refused("enter must be numbers that can be compared: enter=nan stands among its values; leave it out"):
        varied_of({"enter": [float("nan"), 0.1]})


def test_the_index_has_a_level_a_parameter() -> None:
    varied: dict[str, Any] = {"enter": [1, 2], "hold": [None, ("a", "b")]}
    found = index_of(varied, labels(combinations(varied)))
    assert list(found.names) == ["enter", "hold"]
    assert list(found) == [(1, "none"), (1, "a,b"), (2, "none"), (2, "a,b")]
    one = index_of({"enter": [1, 2]}, [(1,), (2,)])
    assert (one.name, list(one), isinstance(one, pd.MultiIndex)) == ("enter", [1, 2], False)


# ---------------------------------------------------------------- ranges


def test_a_range_is_written_as_on_the_command_line() -> None:
    assert [str(one) for one in (between(0.02, 0.3), between(0.02, 0.3, log=True), between(1, 9, whole=True), between(-0.05, 1e-7))] == [
        "0.02..0.3",
        "0.02..0.3:log",
        "1..9:whole",
        "-0.05..1e-07",
    ]
    assert between(1, 9, log=True, whole=True) == Range(1.0, 9.0, True, True)
    assert type(between(1, 2).low) is float


@pytest.mark.parametrize(
    ("low", "high", "more", "told"),
    [
        (0.3, 0.02, {}, "a range goes from a lower to a higher number: low=0.3, high=0.02; give the lower first"),
        (0.3, 0.3, {}, "a range goes from a lower to a higher number: low=0.3, high=0.3; give the lower first"),
        (None, 0.3, {}, "a range needs two numbers: low=None; give both, as between(0.02, 0.3)"),
        ("a", 0.3, {}, "low must be a finite number: low=a"),
        (0.0, math.inf, {}, "high must be a finite number: high=inf"),
        (math.nan, 1.0, {}, "low must be a finite number: low=nan"),
        (-1e300, 1.0, {}, "low must be at least -1e+15: low=-1e+300"),
        (1.0, 1e300, {}, "high must be at most 1e+15: high=1e+300"),
        (0.0, 1.0, {"log": True}, "a range by logarithms must be above 0: low=0; give a low above 0, or leave log out"),
        (0.5, 3.0, {"whole": True}, "a range of whole numbers needs whole bounds: low=0.5, high=3; round them, or leave whole out"),
        (1, 3, {"whole": 1}, "whole must be true or false: whole=1"),
        (1, 3, {"log": "yes"}, "log must be true or false: log=yes"),
    ],
)
def test_what_is_no_range_is_refused(low: Any, high: Any, more: dict[str, Any], told: str) -> None:
    with refused(told):
        between(low, high, **more)


@given(ranges(), st.floats(0.0, 1.0))
def test_a_value_of_a_range_lies_in_it_and_can_be_typed(one: Range, place: float) -> None:
    value = one.at(place)
    assert one.low <= value <= one.high
    assert type(value) is (int if one.whole else float)
    if not one.whole and one.low < value < one.high:
        apart = min(one.high - one.low, value) if one.log else one.high - one.low
        exact = one.low * (one.high / one.low) ** place if one.log else one.low + place * (one.high - one.low)
        assert abs(value - exact) <= 1e-6 * apart
        assert value == round(value, space.DIGITS - math.floor(math.log10(apart)) + 1)


def test_the_ends_of_a_range_belong_to_it() -> None:
    for log in (False, True):
        for whole in (False, True):
            one = between(2, 50, log=log, whole=whole)
            assert (one.at(0.0), one.at(1.0)) == (2, 50)
    assert {between(1, 3, whole=True).at(place) for place in np.linspace(0, 1, 99)} == {1, 2, 3}


def test_logarithms_are_even() -> None:
    """As many values between 0.01 and 0.1 as between 0.1 and 1; of whole numbers a one is as frequent as a two and a three together."""
    drawn = [one["enter"] for one in combinations({"enter": between(0.01, 1.0, log=True)}, sample=1024, method="sobol")]
    assert sum(value < 0.1 for value in drawn) == pytest.approx(512, abs=1)
    even = [one["enter"] for one in combinations({"enter": between(0.01, 1.0)}, sample=1024, method="sobol")]
    assert sum(value < 0.505 for value in even) == pytest.approx(512, abs=1)
    whole = [between(1, 3, log=True, whole=True).at(place) for place in np.linspace(0, 1, 1001)]
    assert whole.count(1) == pytest.approx(500, abs=2)
    flat = [between(1, 3, whole=True).at(place) for place in np.linspace(0, 1, 1001)]
    assert flat.count(1) == pytest.approx(333, abs=2)


# ---------------------------------------------------------------- grids


@given(st.dictionaries(st.sampled_from(["enter", "exit", "size"]), lists(), min_size=1))
def test_a_grid_is_every_combination_the_last_parameter_fastest(varied: dict[str, list[Any]]) -> None:
    found = combinations(varied)
    assert [tuple(one.values()) for one in found] == list(product(*varied.values()))
    assert all(list(one) == list(varied) for one in found)
    assert len(found) == count_of(varied, None) == grid_size(varied)


def test_a_range_has_no_grid() -> None:
    told = "enter is a range, which has no grid: enter=0.02..0.3; give the size of a sample, as sample=100, or a list"
    for ask in (combinations, lambda varied: count_of(varied, None)):
        with refused(told):
            ask({"exit": [1, 2], "enter": between(0.02, 0.3)})


def test_too_many_are_refused_before_they_are_made() -> None:
    grid: dict[str, Any] = {"enter": list(range(2000)), "exit": list(range(1000))}
    assert MOST == 1_000_000
    told = "a grid of 2,000,000 combinations is too large: 2,000 of enter × 1,000 of exit, at most 1,000,000; give fewer values, or the size of a sample, as sample=1000"
    with refused(told):
        combinations(grid)
    with refused("a sample of 1,500,000 combinations is too large: at most 1,000,000; give a smaller one"):
        combinations(grid, sample=1_500_000)
    assert len(combinations(grid, sample=1000)) == 1000
    assert count_of(grid, 3_000_000) == 2_000_000


# ---------------------------------------------------------------- samples


@given(spaces(), st.integers(1, 60), METHODS, SEEDS)
def test_a_sample_is_repeatable_without_doubles_and_inside(varied: dict[str, Any], sample: int, method: str, seed: int) -> None:
    found = combinations(varied, sample=sample, method=method, seed=seed)
    assert found == combinations(varied, sample=sample, method=method, seed=seed)
    assert len(set(labels(found))) == len(found) == count_of(varied, sample)
    for one in found:
        assert list(one) == list(varied)
        for name, value in one.items():
            values = varied[name]
            if isinstance(values, Range):
                assert values.low <= value <= values.high
                assert not values.whole or type(value) is int
            else:
                assert value in values


@given(spaces(), st.integers(1, 30), st.integers(1, 30), METHODS, SEEDS)
def test_a_longer_sample_begins_with_the_shorter_one(varied: dict[str, Any], first: int, more: int, method: str, seed: int) -> None:
    """So it is gone on with where it ended; only the whole grid stands in the grid's order."""
    short, long = (combinations(varied, sample=count, method=method, seed=seed) for count in (first, first + more))
    if len(long) == grid_size(varied):
        assert set(labels(short)) <= set(labels(long))
        assert long == combinations({name: list(space.every(values)) for name, values in varied.items()})
    else:
        assert long[:first] == short


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_another_seed_is_another_sample(method: str) -> None:
    spaces: list[dict[str, Any]] = [{"enter": between(0.0, 1.0)}, {"enter": list(range(50)), "exit": list(range(50))}]
    for varied in spaces:
        assert combinations(varied, sample=20, method=method) != combinations(varied, sample=20, method=method, seed=1)
        assert combinations(varied, sample=20, method=method) == combinations(varied, sample=20, method=method, seed=0)


def test_a_sample_may_be_all_but_one_of_a_grid() -> None:
    """Also by a sequence that would not find the rarest number by itself, and of ranges of whole numbers."""
    grids: list[dict[str, Any]] = [
        {"enter": list(range(30)), "exit": ["a", "b", "c"]},
        {"enter": between(1, 30, whole=True), "exit": ["a", "b", "c"]},
        {"enter": between(1, 30, whole=True, log=True), "exit": ["a", "b", "c"]},
    ]
    for varied in grids:
        everything = {(value, text) for value in range(31) for text in "abc"}
        for method in ("random", "sobol"):
            found = labels(combinations(varied, sample=89, method=method))
            assert len(set(found)) == 89
            assert set(found) < everything
            assert len(combinations(varied, sample=500, method=method)) == 90, "no more than there are"


def test_what_the_points_have_missed_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "TRIES", 0)
    varied: dict[str, Any] = {"enter": between(1, 30, whole=True, log=True), "exit": ["a", "b"]}
    found = combinations(varied, sample=59)
    assert len(set(labels(found))) == 59
    assert found == combinations(varied, sample=59)


def test_sobol_leaves_no_large_holes() -> None:
    """Of 64 points on the unit square each of 64 boxes has one; at random about a third are empty."""
    varied: dict[str, Any] = {"enter": between(0.0, 1.0), "exit": between(0.0, 1.0)}

    def boxes(method: str) -> int:
        return len({(int(8 * one["enter"]), int(8 * one["exit"])) for one in combinations(varied, sample=64, method=method, seed=7)})

    assert boxes("sobol") >= 63
    assert boxes("random") < 50


def test_at_random_is_what_a_sample_is_by_default() -> None:
    varied: dict[str, Any] = {"enter": between(0.0, 1.0)}
    assert (
        combinations(varied, sample=9) == combinations(varied, sample=9, method="random") != combinations(varied, sample=9, method="sobol")
    )


def test_large_samples_are_different_ones() -> None:
    varied: dict[str, Any] = {"enter": between(0.0, 1.0), "exit": list(range(10))}
    assert len({tuple(one.values()) for one in combinations(varied, sample=20_000)}) == 20_000


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"sample": 0}, "sample must be a whole number from 1 on: sample=0"),
        ({"sample": 2.5}, "sample must be a whole number from 1 on: sample=2.5"),
        ({"sample": 5, "method": "halton"}, "method must be one of grid, random, sobol: method=halton"),
        ({"method": "sobol"}, "method=sobol draws a sample, and has no size of it: sample=None; give sample=100, or leave method out"),
        ({"method": "random"}, "method=random draws a sample, and has no size of it: sample=None; give sample=100, or leave method out"),
        ({"sample": 5, "seed": -1}, "seed must be a whole number from 0 on: seed=-1"),
        ({"sample": 5, "seed": 0.5}, "seed must be a whole number from 0 on: seed=0.5"),
        ({"sample": 5, "seed": True}, "seed must be a whole number from 0 on: seed=True"),
    ],
)
def test_what_is_no_sample_is_refused(more: dict[str, Any], told: str) -> None:
    with refused(told):
        combinations({"enter": [1, 2, 3]}, **more)


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_a_range_without_room_is_told(method: str) -> None:
    narrow = between(1.0, float(np.nextafter(1.0, 2.0)))
    told = "a sample of 3 finds no more than 2 different combinations in enter=1..1; give a smaller sample, or wider ranges"
    assert {one["enter"] for one in combinations({"enter": narrow}, sample=2, method=method)} == {narrow.low, narrow.high}
    with refused(told):
        combinations({"enter": narrow}, sample=3, method=method)
