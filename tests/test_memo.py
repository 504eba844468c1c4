"""Signals as such: one question is answered once, however it is put; what is given is not changed and what is got can't be."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markets import FAR, PERP, SPOT, ether, load, only

import backtest as bt
from backtest.errors import DataError, ParameterError
from backtest.market import Floats, Market
from backtest.memo import SIGNALS, THE_FUTURES, THE_PERPETUAL, THE_SPOT, found, length, signal
from backtest.rule import Duration, Leg

asked: list[tuple[object, ...]] = []


@pytest.fixture(scope="module", autouse=True)
def unlisted() -> Iterator[None]:
    """The signals of this file are nobody else's."""
    before = dict(SIGNALS)
    yield
    SIGNALS.clear()
    SIGNALS.update(before)


@pytest.fixture
def market(tmp_path: Path) -> Market:
    asked.clear()
    return load(tmp_path, ether())


def make() -> object:
    @signal
    def tried(
        market: Market, values: Floats, future: Leg = THE_FUTURES, spot: Leg = THE_SPOT, *, window: Duration = "7D", history: Duration | None = None, factor: float = 1.0
    ) -> Floats:  # fmt: skip
        """A signal."""
        asked.append((values, future, spot, window, history, factor))
        return values * factor

    return tried


def test_a_question_is_answered_once_however_it_is_put(market: Market) -> None:
    tried, values = make(), market.close(SPOT)
    first = tried(market, values)
    same = [
        tried(market, values, window="168h"),
        tried(market, values=values, future=market.future_chain(min_days=30)),
        tried(market, values, market.future_chain(), market.spot, window=pd.Timedelta(days=7), history=None, factor=1.0),
        tried(market, values, None, None),
    ]
    assert all(found is first for found in same)
    assert len(asked) == 1
    others = [
        tried(market, values, factor=2.0),
        tried(market, values, window="8D"),
        tried(market, values, market.leg(FAR)),
        tried(market, values, history="1D"),
    ]
    assert len({id(found) for found in [first, *others]}) == 5
    assert len(asked) == 5


def test_the_function_gets_what_was_meant(market: Market) -> None:
    make()(market, market.close(SPOT), market.future_chain(min_days=9), history="36h")
    _, future, spot, window, history, _ = asked[0]
    assert future == market.future_chain(), "a leg is known by its contracts: min_days is the rule's"
    assert spot == market.spot
    assert (window, history) == (pd.Timedelta(days=7), pd.Timedelta(hours=36))
    assert length(window) == 7 * 86_400 * 10**9  # type: ignore[arg-type]


def test_read_only_arrays_are_known_by_identity_and_others_by_content(market: Market) -> None:
    tried = make()
    mine = np.array(market.close(SPOT))
    first = tried(market, mine)
    assert tried(market, mine.copy()) is first
    assert tried(market, list(mine)) is first
    assert tried(market, pd.Series(mine, index=market.clock)) is first
    mine[3] = 7.0
    second = tried(market, mine)
    assert second is not first
    assert second[3] == 7.0 != first[3]
    assert tried(market, market.close(SPOT)) is not tried(market, market.close(PERP))


def test_an_array_that_is_gone_is_not_taken_for_another(market: Market) -> None:
    """Python gives the address of a dead object to the next one; the memo keeps what it answered for alive."""
    tried = make()
    for number in range(50):
        values = np.full(len(market), float(number))
        values.flags.writeable = False
        assert tried(market, values)[0] == number
        del values


def test_what_was_given_stays_as_it_was_and_what_is_got_is_read_only(market: Market) -> None:
    @signal
    def rude(market: Market, values: Floats) -> Floats:
        """Gives back a view of what it got, and tries to write into it."""
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1.0
        return values[::-1]

    mine = np.arange(len(market), dtype=float)
    out = rude(market, mine)
    assert mine.flags.writeable
    assert not out.flags.writeable
    assert out.flags.owndata, "nobody can write into it through the array that it was a view of"


def test_a_signal_keeps_its_name_its_words_and_its_place_in_the_list() -> None:
    tried = make()
    assert (tried.__name__, tried.__doc__) == ("tried", "A signal.")  # type: ignore[attr-defined]
    assert SIGNALS["tried"] is tried


def test_a_series_stands_on_the_markets_clock(market: Market) -> None:
    late = pd.Series(market.close(SPOT), index=market.clock + pd.Timedelta("1h"))
    with pytest.raises(ParameterError, match=r"^values must be on the market's clock: it has another index; give \.reindex"):
        make()(market, late)


def test_a_frame_of_contracts_is_turned(market: Market) -> None:
    table = bt.premium(market)
    frame = pd.DataFrame(table.T, index=market.clock, columns=market.future_chain().contracts)
    np.testing.assert_array_equal(make()(market, frame), table)


WRONG: list[tuple[dict[str, object], str]] = [
    ({"values": "premium"}, "values must be an array of numbers, one a bar: values='premium'"),
    ({"values": None}, "values must be an array of numbers, one a bar: values=None"),
    ({"values": np.array(["a"] * 200)}, "values must be an array of numbers, one a bar: it holds <U1"),
    ({"future": PERP}, "future must be a leg, as market.future_chain() or market.leg(\"ETHUSDT-PERP\"): future='ETHUSDT-PERP'"),
    ({"spot": [SPOT]}, "spot must be a leg, as market.future_chain() or market.leg(\"ETHUSDT-PERP\"): spot=['ETHUSDT-SPOT']"),
    ({"window": 7}, 'window must be a duration like "30D" or "8h": window=7'),
    ({"window": None}, 'window must be a duration like "7D": window=None'),
    ({"history": "0D"}, "history must be longer than zero: history='0D'; leave it out for none"),
    ({"factor": None}, "factor must be a number: factor=None"),
    ({"factor": np.nan}, "factor must be a finite number: factor=nan"),
    ({"factor": "2"}, "factor must be a finite number: factor=2"),
]


@pytest.mark.parametrize(("given", "told"), WRONG, ids=[told.partition(":")[0] for _, told in WRONG])
def test_what_is_of_another_kind_is_refused_in_one_sentence(market: Market, given: dict[str, object], told: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(told)}$"):
        make()(market, **{"values": market.close(SPOT), **given})


def test_a_signal_of_ones_own_may_take_anything_that_can_be_a_key(market: Market) -> None:
    @signal
    def mine(market: Market, names: tuple[str, ...] = (), count: int = 2, free=None) -> Floats:  # type: ignore[no-untyped-def]
        """A signal with parameters of other kinds."""
        return np.full(len(market), float(count + len(names)))

    assert mine(market, ("a",), 3, free="x")[0] == 4.0
    assert mine(market, ("a",), 3, free="x") is mine(market, ("a",), 3, free="x")
    with pytest.raises(ParameterError, match=r"^free can't be \{\}: it has no value of its own to be known by$"):
        mine(market, free={})


@pytest.mark.parametrize("shape", [(3,), (2, 7), ()])
def test_values_have_one_a_bar(market: Market, shape: tuple[int, ...]) -> None:
    told = rf"^values must have one value a bar, or a row of them a contract: its shape is \({', '.join(map(str, shape))},?\), the market has 200 bars$"
    with pytest.raises(ParameterError, match=told):
        make()(market, np.zeros(shape))


def test_legs_are_looked_for_in_the_market(tmp_path: Path) -> None:
    market = load(tmp_path, only(ether(), SPOT, PERP))
    assert found(market, THE_SPOT) == market.spot
    assert found(market, THE_PERPETUAL) == market.perpetual
    assert found(market, market.leg(PERP)) == market.perpetual
    with pytest.raises(DataError, match=r"^the rule needs dated futures and the dataset test has none"):
        make()(market, market.close(SPOT))
