"""The scan against whole runs: same trades to the last bit, statistics within 1e-9, on generated markets and rules, at the edges of blocks and stretches, in
windows, by threads, in any order; what it refuses, and a case worked by hand.
"""

import fcntl
import json
import os
import pickle
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scanned
from markets import FREE, PERP, SPOT, ether, in_memory, load, perpetual, spot
from scanned import Case, Drawn, agree, agree_between, result_or_why, run_of, same, terms_of

import backtest as bt
from backtest import kernels as k
from backtest.errors import CarryError
from backtest.rule import Sides
from backtest.scan import STATISTICS, Grid, Scanned

KINDS: dict[str, tuple[Callable[[int], Case], int, int]] = {  # chunks, cases in each
    "plain": (scanned.plain_case, 8, 75),
    "boxed": (scanned.boxed, 6, 68),
    "desk": (scanned.desk, 6, 68),
    "long": (scanned.long_case, 6, 18),
    "changing": (scanned.changing_case, 2, 50),
}
CHUNKS = [(kind, chunk) for kind, (_, chunks, _) in KINDS.items() for chunk in range(chunks)]
QUICK = [(kind, seed) for kind, count in (("plain", 24), ("boxed", 8), ("desk", 6), ("long", 6)) for seed in range(count)]


# ---------------------------------------------------------------- generated markets, in chunks which the workers share


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run see."""
    place = tmp_path_factory.getbasetemp()
    return place.parent if "PYTEST_XDIST_WORKER" in os.environ else place


def compared_chunk(kind: str, chunk: int, folder: Path) -> list[list[str]]:
    """The labels of each combination of a chunk. The worker that comes first compares, the others wait for what it found."""
    make, _, size = KINDS[kind]
    found = folder / f"scan {kind} {chunk}.json"
    with (folder / f"scan {kind} {chunk}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            labels = []
            for seed in range(chunk * size, (chunk + 1) * size):
                try:
                    labels += [sorted(each) for each in agree(make(seed))]
                except AssertionError as difference:
                    difference.add_note(f"{kind} {seed}")
                    raise
            found.write_text(json.dumps(labels))
    compared: list[list[str]] = json.loads(found.read_text())
    return compared


@pytest.mark.parametrize(("kind", "chunk"), CHUNKS)
@pytest.mark.filterwarnings("ignore:overflow encountered in scalar power:RuntimeWarning")  # a good hour by the year
def test_scan_is_the_run(kind: str, chunk: int, shared: Path) -> None:
    assert len(compared_chunk(kind, chunk, shared)) >= (0.95 if kind == "changing" else 2.6) * KINDS[kind][2]


@pytest.mark.parametrize(("kind", "seed"), QUICK)
@pytest.mark.filterwarnings("ignore:overflow encountered in scalar power:RuntimeWarning")
def test_scan_is_the_run_in_a_few_cases(kind: str, seed: int) -> None:
    assert agree(KINDS[kind][0](seed))


LEAST = {
    "whole": 350, "whole pair": 250, "whole single leg": 60, "whole side:1": 100, "whole side:-1": 150, "whole:several pairs": 100,
    "whole:loss": 50, "whole:no convergence": 12, "whole:signal": 100, "whole:stop": 50, "whole:time": 100, "whole:days to expiry": 45,
    "given up": 750, "given up:an order waited": 125, "given up:expiry": 300, "given up:liquidation": 150, "given up:loss": 50, "given up:resize": 200,
    "given up:no convergence": 15, "given up:other terms": 125, "given up:settlement": 350, "given up:signal": 125, "given up:stop": 50, "given up:time": 100,
    "stepped": 750, "stepped:an order waited": 500, "stepped:liquidation": 60, "stepped:roll": 100, "stepped:resize": 75, "stepped:unfilled": 125,
    "stepped:other terms": 300, "reason:deleveraging": 15, "reason:drawdown": 15, "reason:exposure": 15, "reason:liquidity": 15, "reason:recall": 2,
    "open at the end": 500, "exit not filled at the end": 150, "entry not filled at the end": 75, "no trade": 50, "both sides": 200, "several pairs": 500,
    "single long": 50, "single short": 50, "cooldown": 150, "interest earned": 500, "interest lost": 250, "a rate below 0": 150, "walked": 250,
    "source:borrow": 50, "source:staking": 25, "source:funding": 250, "source:liquidation": 150, "source:legging": 500,
}  # fmt: skip


def test_every_way_is_met(shared: Path) -> None:
    """What a trade can meet, and how the scan took it, happens in so many combinations at least."""
    totals = Counter(label for kind, chunk in CHUNKS for labels in compared_chunk(kind, chunk, shared) for label in labels)
    assert sum(chunks * size for _, chunks, size in KINDS.values()) >= 1600
    assert {label: (totals[label], least) for label, least in LEAST.items() if totals[label] < least} == {}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.filterwarnings("ignore:overflow encountered in scalar power:RuntimeWarning")
def test_scan_is_the_run_in_a_few_windows(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the compiler, as `mutations.py` runs it, the stretches are short too."""
    monkeypatch.setattr(k, "STRETCH", 13)
    case = scanned.plain_case(seed)
    agree(case)
    assert agree_between(case, 5 + seed, len(case.grid.market) - 5 * (seed % 2)) > 1


@pytest.mark.parametrize("seed", [6, 11, 12, 139, 146, 170])
def test_a_trade_held_over_a_change_of_terms_meets_them_before_anything_else_happens(seed: int) -> None:
    assert agree(scanned.changing_case(seed))


def test_short_trades_before_and_after_a_change_of_fees_pay_what_is_in_force() -> None:
    found = set()
    for seed in range(12):
        case = scanned.fees_case(seed)
        found |= set.union(set(), *agree(case))
    assert "whole" in found


# ---------------------------------------------------------------- windows


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:overflow encountered in scalar power:RuntimeWarning")
def test_a_window_is_a_run_from_its_first_bar_to_its_last(kind: str) -> None:
    compared = 0
    for seed in range(20 if kind == "long" else 50):
        case, rng = KINDS[kind][0](seed), random.Random(seed)
        first = rng.choice((0, 1, rng.randrange(len(case.grid.market) - 5)))
        final = rng.choice((len(case.grid.market), rng.randrange(first + 2, len(case.grid.market) + 1)))
        compared += agree_between(case, first, final)
    assert compared > 40


def test_a_window_is_a_run_over_a_market_of_that_time(tmp_path: Path) -> None:
    """The premium needs no past, and rates are known before: the same bars, loaded alone, say the same."""
    whole = load(tmp_path, ether())
    place = str(tmp_path / "dataset")
    first, final = 30, 170
    part = bt.load_market(place, whole.clock[first - 1], whole.clock[final - 1])
    assert len(part) == final - first
    chosen = [{"enter": enter, "exit": leave} for enter in (0.0003, 0.0006) for leave in (0.0, 0.0002)]
    found = Grid(Fade, whole).run(chosen, window=(first, final), log=100)
    for number, values in enumerate(chosen):
        result = run_of(Grid(Fade, part), values)
        assert len(result.trades) > 2
        for name, value in result.metrics.items():
            assert found.table[name][number] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name
        assert found.table["final_equity"][number] == pytest.approx(result.equity.iloc[-1], rel=1e-12)


# ---------------------------------------------------------------- the same however it is asked


@dataclass(frozen=True, kw_only=True)
class Fade(bt.Strategy):
    """Sell the perpetual against spot when its premium is rich."""

    enter: float = bt.param(0.0005, "open at or above this premium")
    exit: float | None = bt.param(0.0, "close at or below it")

    def rule(self, market: bt.Market) -> bt.Rule:
        signal = bt.premium(market, market.perpetual)
        return bt.Rule(long=market.spot, short=market.perpetual, signal=signal, enter=self.enter, exit=self.exit)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> bt.Market:
    return load(tmp_path_factory.mktemp("scan"), ether())


CHOSEN = [
    {"enter": enter, "exit": leave, "max_hold": hold, "size": size}
    for enter in (0.0003, 0.0006)
    for leave in (0.0, 0.0004, None)
    for hold in (None, "8h")
    for size in (0.3, 0.5)
]


def alike(one: Scanned, other: Scanned) -> None:
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    np.testing.assert_array_equal(one.daily, other.daily)
    assert one.refused == other.refused


def test_threads_find_the_same(market: bt.Market) -> None:
    grid = Grid(Fade, market)
    one, three, many = (grid.run(CHOSEN, threads=threads, log=50) for threads in (1, 3, 100))
    alike(one, three)
    alike(one, many)
    for mine, theirs in zip(one.trades or [], three.trades or [], strict=True):
        assert mine.tobytes() == theirs.tobytes()
    assert sum(reason is not None for reason in one.refused) == 4  # exit 0.0004 above enter 0.0003
    for seed in range(12):
        case = scanned.boxed(seed)
        chosen = [*case.chosen, {"size": 0.11}, {"size": 0.12}]
        with terms_of(case):
            alike(case.grid.run(chosen), case.grid.run(chosen, threads=3))


def test_a_grid_that_runs_again_finds_the_same(market: bt.Market) -> None:
    grid = Grid(Fade, market)
    alike(grid.run(CHOSEN), grid.run(CHOSEN))
    alike(grid.run(CHOSEN, window=(20, 150)), grid.run(CHOSEN, window=(20, 150)))
    alike(grid.run(CHOSEN), pickle.loads(pickle.dumps(grid)).run(CHOSEN))


def test_any_order_and_any_chunks_give_the_same_rows(market: bt.Market) -> None:
    grid, whole = Grid(Fade, market), Grid(Fade, market).run(CHOSEN)
    order = random.Random(1).sample(range(len(CHOSEN)), len(CHOSEN))
    mixed = grid.run([CHOSEN[i] for i in order])
    np.testing.assert_array_equal(mixed.table.to_numpy(), whole.table.to_numpy()[order])
    np.testing.assert_array_equal(mixed.daily, whole.daily[order])
    assert mixed.refused == [whole.refused[i] for i in order]
    pieces = [grid.run(CHOSEN[i : i + 5]) for i in range(0, len(CHOSEN), 5)]
    np.testing.assert_array_equal(np.concatenate([piece.table.to_numpy() for piece in pieces]), whole.table.to_numpy())
    np.testing.assert_array_equal(np.concatenate([piece.daily for piece in pieces]), whole.daily)
    assert whole.table["trades"].nunique() > 3


def test_nothing_chosen_gives_an_empty_table(market: bt.Market) -> None:
    found = Grid(Fade, market).run([])
    assert found.table.shape == (0, len(STATISTICS))
    assert found.daily.shape == (0, len(found.days))


# ---------------------------------------------------------------- what is refused


REFUSED: list[dict[str, Any]] = [
    {"enter": 0.0001, "exit": 0.0002},
    {"size": -1.0},
    {"leverage": 1000.0},
    {"max_hold": "no time"},
    {"sides": "left"},
    {"enter": np.nan},
    {"resize": 0.5},
    {"stop": 0.0},
    {"entry_tranches": 3},
    {"roll_days": 3.0},
    {"signal": np.zeros(7)},
    {"signal": None},
    {"signal": np.full(200, np.nan)},
    {"scale": np.full(200, np.inf)},
    {"unstake": "1D"},
    {"size": 1e5, "leverage": 125.0},
]


@pytest.mark.parametrize("values", REFUSED, ids=str)
def test_what_is_refused_says_what_a_run_says(market: bt.Market, values: dict[str, Any]) -> None:
    grid = Grid(Fade(), market)
    with pytest.raises(CarryError) as told:
        run_of(grid, values)
    found = grid.run([{}, values, {"size": 0.4}])
    assert found.refused == [None, str(told.value), None]
    assert found.table.iloc[1].isna().all()
    assert np.isnan(found.daily[1]).all()
    assert found.table.iloc[[0, 2]]["trades"].min() > 0


def test_money_beyond_all_numbers_is_refused_as_a_run_refuses_it(market: bt.Market) -> None:
    scale = np.full(len(market), 1e200)
    grid = Grid(Fade, market, 100_000.0, FREE)
    with pytest.raises(CarryError, match="beyond all numbers") as told:
        run_of(grid, {"scale": scale})
    found = grid.run([{"scale": scale}, {}])
    assert found.refused == [str(told.value), None]
    assert found.table.iloc[0].isna().all()


# ---------------------------------------------------------------- signals


def test_unknown_values_of_a_signal_never_enter_nor_leave(market: bt.Market) -> None:
    signal = np.array(bt.premium(market, market.perpetual))[0]
    signal[::3] = np.nan
    signal[:20] = np.nan
    rule = bt.Rule(long=market.spot, short=market.perpetual, signal=signal, enter=0.0005, exit=0.0)
    chosen: list[dict[str, Any]] = [{}, {"enter": 0.0007}, {"exit": 0.0004}, {"exit": None, "max_hold": "5h"}]
    assert {"whole"} <= set.union(*agree(Case(Grid(Drawn(drawn=rule), market), chosen)))


@dataclass(frozen=True, kw_only=True)
class Given(bt.Strategy):
    """A rule whose signals come in a form, made anew every time."""

    enter: float = 0.0005
    form: str = "array"

    def rule(self, market: bt.Market) -> bt.Rule:
        values = np.array(bt.premium(market, market.perpetual))[0]
        forms: dict[str, Any] = {
            "array": values,
            "series": pd.Series(values, index=market.clock),
            "frame": pd.DataFrame({0: values}, index=market.clock),
            "pair": (values, values.copy()),
            "whole numbers": np.round(values * 1e4).astype(int),
            "list": list(values),
        }
        signal = forms[self.form]
        factor = 1e4 if self.form == "whole numbers" else 1.0
        return bt.Rule(long=market.spot, short=market.perpetual, signal=signal, enter=self.enter * factor, exit=0.0)


@pytest.mark.parametrize("form", ["array", "series", "frame", "pair", "whole numbers", "list"])
def test_signals_in_any_form_made_anew_for_each_combination(market: bt.Market, form: str) -> None:
    chosen = [{"enter": enter} for enter in (0.0003, 0.0005, 0.0007)]
    grid = Grid(Given(form=form), market)
    found = grid.run(chosen, log=100)
    for number, values in enumerate(chosen):
        result = result_or_why(grid, values)
        if isinstance(result, str):
            assert found.refused[number] == result
            continue
        assert found.refused[number] is None
        same(found, number, result)
        assert len(result.trades) > 2


@dataclass(frozen=True, kw_only=True)
class Smoothed(bt.Strategy):
    """A signal that a parameter makes, so that each combination has arrays of its own."""

    span: int = 1

    def rule(self, market: bt.Market) -> bt.Rule:
        values = pd.Series(premium_of(market)).rolling(self.span, min_periods=1).mean().to_numpy(copy=True)
        return bt.Rule(long=market.leg(SPOT), short=market.leg(PERP), signal=values, enter=0.0005, exit=0.0003)


def premium_of(market: bt.Market) -> Any:
    """The perpetual's close over the spot's. [bar]"""
    return np.array(market.close(PERP) / market.close(SPOT) - 1.0)


def long_market(bars: int, seed: int = 5) -> bt.Market:
    """Hourly bars of spot and perpetual with a premium that comes and goes, and rates of money."""
    rng = np.random.default_rng(seed)
    prices = 2000.0 * np.exp(np.cumsum(rng.normal(0.0, 0.004, bars)))
    premium = 0.001 * np.sin(np.arange(bars) / 37.0) + rng.normal(0.0, 0.0003, bars)
    opens = np.concatenate([prices[:1], prices[:-1]])
    richer = prices * (1.0 + premium)
    events = [(float(hour), float(rate)) for hour, rate in zip(range(8, bars, 8), rng.normal(5e-5, 1e-4, bars // 8 + 1), strict=False)]
    items = {
        SPOT: spot(list(opens), list(prices), lot=0.001),
        PERP: perpetual(list(np.concatenate([richer[:1], richer[:-1]])), list(richer), funding=events, lot=0.001),
    }
    rates = {"risk_free": [(-1.0, 0.03), (bars / 2, 0.05)], "borrow_usd": [(-1.0, 0.08)]}
    return in_memory(items, series=rates)


def test_arrays_of_their_own_do_not_pile_up() -> None:
    market = long_market(3000)
    grid = Grid(Smoothed, market)
    grid.run([{"span": 1}])
    peaks = []
    for count in (8, 64):
        tracemalloc.start()
        found = grid.run([{"span": 1 + i} for i in range(count)])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.refused == [None] * count
    assert found.table["trades"].nunique() > 5
    assert peaks[1] < 1.5 * peaks[0]


# ---------------------------------------------------------------- edges of blocks and stretches


WAYS: list[dict[str, Any]] = [
    {},
    {"enter": 0.0008, "exit": -0.0008},
    {"max_hold": "9h"},
    {"loss": 0.002},
    {"resize": 1.05, "exit": None, "loss": 0.2},
    {"exit": None},  # one trade through all
    {"max_hold": "100D", "exit": None},
    {"size": 0.9, "cooldown": "3D"},
    {"converge": "6h", "stop": 0.002},
]  # fmt: skip
LEGS: dict[str, Callable[[bt.Market], dict[str, Any]]] = {
    "pair": lambda market: {"long": market.leg(SPOT), "short": market.leg(PERP)},
    "perpetual": lambda market: {"short": market.leg(PERP)},
    "spot": lambda market: {"long": market.leg(SPOT)},
}


@pytest.mark.parametrize("bars", [2, 3, 20, 32, 33, 511, 512, 513, k.STRETCH - 1, k.STRETCH, k.STRETCH + 1, 2 * k.STRETCH + 777])
def test_markets_shorter_than_a_block_up_to_longer_than_two_stretches(bars: int) -> None:
    market = long_market(bars)
    over = 0
    for name, legs in LEGS.items():
        signal = premium_of(market)
        rule = bt.Rule(
            **legs(market), signal=signal, enter=0.0005, exit=0.0, sides=Sides.BOTH if name == "pair" else Sides.PLUS, resize=None
        )
        ways = [way for way in WAYS if name == "pair" or "converge" not in way]
        for execution in (FREE, bt.Execution()):
            grid = Grid(Drawn(drawn=rule), market, 50_000.0, execution)
            found = grid.run(ways, log=20_000)
            for number, values in enumerate(ways):
                result = run_of(grid, values)
                same(found, number, result)
                log = result._log.trades
                edges = market.stamps[k.STRETCH - 1 :: k.STRETCH]
                over += sum(int(((log["entered"] <= edge) & (log["exited"] >= edge)).any()) for edge in edges)
    if bars > 2 * k.STRETCH:
        assert over > 20


# ---------------------------------------------------------------- by hand


RATES: dict[str, list[tuple[float, float]]] = {  # hours, a year
    "none": [],
    "rising": [(-1.0, 3.0)],
    "up and down": [(float(24 * day), 6.0 if day % 20 < 10 else -5.0) for day in range(0, 400, 10)],
}


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("seed", range(6))
def test_a_few_long_trades_reach_their_peaks_and_drawdowns_inside_of_blocks(rates: str, seed: int) -> None:
    """Prices that swing more and more, so that new peaks and deeper falls come in any block, and interest that matters as much."""
    rng, bars = np.random.default_rng(seed), 330
    width = np.linspace(0.001, 0.02, bars) if seed % 2 else np.full(bars, 0.004)
    closes = 100.0 * np.exp(np.cumsum(rng.normal(0.0005 * (seed % 3), 1.0, bars) * width))
    opens = np.concatenate([closes[:1], closes[:-1]])
    series = {"risk_free": RATES[rates], "borrow_usd": [(-1.0, 1.0)]} if RATES[rates] else {}
    market = in_memory({SPOT: spot(list(opens), list(closes)), PERP: perpetual(list(opens), list(closes))}, step=24.0, series=series)
    execution = bt.Execution(margin=bt.Margin.OFF)
    signal = np.zeros(bars)
    signal[[1 + seed, 150 + seed]] = 1.0
    sides: list[dict[str, Any]] = [{"long": market.leg(SPOT)}, {"short": market.leg(PERP)}, {"long": market.leg(PERP)}]
    for legs in sides:
        rule = bt.Rule(**legs, signal=signal, enter=0.5, resize=None, leverage=3.0 if PERP in str(legs) else 1.0)
        grid = Grid(Drawn(drawn=rule), market, 1000.0, execution)
        ways: list[dict[str, Any]] = [{"size": 0.4}, {"max_hold": "120D"}, {"loss": 0.02}, {"size": 1.4}, {"resize": 1.15, "size": 0.6}]
        found = grid.run(ways, log=50)
        for number, values in enumerate(ways):
            same(found, number, run_of(grid, values))


def test_statistics_of_five_bars_by_hand() -> None:
    """Daily bars from midnight on, capital 1,000, half of it in one long spot, no costs but a fee of 1 %, idle cash earns 3.65 % a year: 1 in 10,000 a day.

    The signal asks at the first close, so 5 coins are bought at the second open, at 100, and are sold at the fourth open, at 110.

    bar  open  close  equity at the close
    1    100   100    1,000 + 0.1 of interest = 1,000.1; half of it over 100 = 5.0005 coins, of which whole lots of 1: 5
    2    100   120    cash 1,000.1 − 500 − 5 of fee = 495.1; + 0.04951 of interest; coins 600: 1,095.14951
    3    120   80     0.09902 of interest in all; coins 400: 895.19902
    4    110   110    sold for 550 less 5.5 of fee: cash 495.1 + 0.09902 + 544.5 = 1,039.69902, earns 0.103969902: 1,039.802989902
    5    110   110    1,039.69902 + 0.207939804 = 1,039.906959804
    """
    market = in_memory({SPOT: spot([100, 100, 120, 110, 110], [100, 120, 80, 110, 110], lot=1.0)}, start="2024-01-01", step=24.0)
    costs: dict[str, Any] = dict.fromkeys(
        ("derivative_fee", "half_spread", "delivery_fee", "liquidation_fee", "maintenance", "borrow_rate"), 0.0
    )
    execution = bt.Execution(margin=bt.Margin.OFF, spot_fee=0.01, idle_rate=0.0365, **costs)
    signal = np.array([1.0, 1.0, 0.0, 0.0, 0.0])
    rule = bt.Rule(long=market.leg(SPOT), signal=signal, enter=0.5, exit=0.5, size=0.5, resize=None)
    found = Grid(Drawn(drawn=rule), market, 1000.0, execution).run([{}], log=5)
    row = found.table.iloc[0]
    equity = [1000.0, 1000.1, 1095.14951, 895.19902, 1039.802989902, 1039.906959804]
    assert found.daily[0] == pytest.approx(equity, abs=1e-9)
    assert list(found.days) == list(pd.date_range("2024-01-01", periods=6, tz="UTC"))
    steps = np.diff(equity)  # 0.1, 95.04951, −199.95049, 144.603969902, 0.103969902
    returns = steps / equity[:-1]
    mean, deviation = returns.mean(), np.sqrt(((returns - returns.mean()) ** 2).sum() / 4.0)
    idle = 1000.0 + 0.1 * np.arange(6)  # 3.65 % a year of 1,000, not compounded
    over = returns - np.diff(idle) / idle[:-1]
    over[[0, 4]] = 0.0  # in cash
    wanted = {
        "final_equity": 1039.906959804,
        "excess_sharpe": over.mean() / over.std(ddof=1) * 365**0.5,
        "total_return": 0.039906959804,
        "annual_return": 1.039906959804 ** (365 / 5) - 1.0,
        "max_drawdown": 199.95049 / 1095.14951,
        "calmar": (1.039906959804**73 - 1.0) / (199.95049 / 1095.14951),
        "annual_volatility": deviation * 365**0.5,
        "sharpe": mean / deviation * 365**0.5,
        "sortino": mean / np.sqrt((returns[2] ** 2) / 5.0) * 365**0.5,
        "sum_of_squares": 0.1**2 + 95.04951**2 + 199.95049**2 + 144.603969902**2 + 0.103969902**2,
        "time_in_market": 2 / 5,
        "turnover": (500.0 + 550.0) / ((1000.1 + 1095.14951 + 895.19902 + 1039.802989902 + 1039.906959804) / 5.0 * 5.0 / 365.0),
        "trades": 1.0,
        "win_rate": 1.0,  # 550 − 500 − 5 − 5.5 and interest
        "avg_hold_days": 2.0,
        "liquidations": 0.0,
        "price_long": 50.0,
        "fees": -10.5,
        "idle_cash": 0.1 + 0.09902 + 0.207939804,
        "slippage": 0.0,
        "funding": 0.0,
        "financing": 0.0,
        "jumped": 1.0,
    }
    for name, value in wanted.items():
        assert row[name] == pytest.approx(value, rel=1e-11, abs=1e-9), name
    assert np.isnan(row["hedged_share"])  # of one leg
    assert found.trades is not None
    (trade,) = found.trades[0]
    assert [market.clock.get_loc(pd.Timestamp(int(trade[name]), tz="UTC")) for name in ("entered", "exited")] == [0, 2]
    assert (trade["side"], trade["quantity"], k.REASONS[trade["reason"]]) == (1, 5.0, "signal")
    assert (trade["entry_long"], trade["exit_long"]) == (100.0, 110.0)
    assert trade["pnl"] == pytest.approx(1039.69902 - 1000.1, abs=1e-9)


def test_rules_that_walk_and_rules_that_do_not_share_a_grid(market: bt.Market) -> None:
    signal = premium_of(market)
    rule = bt.Rule(long=market.spot, short=market.perpetual, signal=signal, enter=0.0005, exit=0.0)
    chosen: list[dict[str, Any]] = [{}, {"drawdown": 0.001, "pause": "12h"}, {"exposure": 0.3}, {"resize": None}, {"resize": 1.001}]
    for order in (chosen, chosen[::-1]):
        grid = Grid(Drawn(drawn=rule), market)
        found = grid.run(order, log=100)
        for number, values in enumerate(order):
            result = result_or_why(grid, values)
            assert not isinstance(result, str)
            same(found, number, result)
        assert found.table["jumped"].tolist() == [not {"drawdown", "exposure"} & set(values) for values in order]


BUFFER = np.zeros(1)


@dataclass(frozen=True, kw_only=True)
class Reused(bt.Strategy):
    """A signal written into one and the same array for each combination."""

    factor: float = 1.0
    view: bool = False

    def rule(self, market: bt.Market) -> bt.Rule:
        global BUFFER
        if len(BUFFER) != len(market):
            BUFFER = np.zeros(len(market))
        BUFFER[:] = self.factor * np.asarray(premium_of(market)).reshape(-1)
        shown = BUFFER.view()
        shown.flags.writeable = not self.view
        return bt.Rule(long=market.spot, short=market.perpetual, signal=shown, enter=0.0005, exit=0.0)


@pytest.mark.parametrize("view", [False, True])
def test_an_array_that_is_written_again_is_taken_as_it_was(market: bt.Market, view: bool) -> None:
    chosen = [{"factor": factor} for factor in (1.0, 2.0, 0.7)]
    grid = Grid(Reused(view=view), market)
    found = grid.run(chosen, log=100)
    for number, values in enumerate(chosen):
        result = result_or_why(grid, values)
        assert not isinstance(result, str)
        same(found, number, result)
