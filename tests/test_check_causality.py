"""The causality check finds each common way to look into the future, names the first bar and the signal, and passes whoever doesn't look."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import bars, funding, instrument, load, series, times

import backtest as bt
from backtest import causality
from backtest.causality import CausalityCheck, check_causality, cut_bars, first_change, make, other_hours
from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.filters import Filter
from backtest.instruments import Kind
from backtest.market import Floats, Market, utc
from backtest.memo import SIGNALS
from backtest.rule import Duration, Leg, Rule
from backtest.strategy import on

SPOT, PERP, JUNE, SEPTEMBER, DECEMBER = "ETHUSDT-SPOT", "ETHUSDT-PERP", "ETHUSDT-240628", "ETHUSDT-240927", "ETHUSDT-241227"
BEGIN = pd.Timestamp("2024-04-25T00:00Z").as_unit("ns")
BARS = 24 * 130
# id → (first bar, expiry): the third is listed in the middle
FUTURES = {JUNE: (0, "2024-06-28T08:00Z"), SEPTEMBER: (200, "2024-09-27T08:00Z"), DECEMBER: (1500, "2024-12-27T08:00Z")}


def hourly() -> Tables:
    """Spot, perpetual and three quarterly futures by the hour, and two daily series: one known in the evening of its day, one a day later."""
    random = np.random.default_rng(11)
    index = times(BEGIN + pd.Timedelta("1h"), BARS)
    spot = 3000.0 * np.exp(np.cumsum(random.normal(0.0, 0.004, BARS)))
    carry = 0.10 + 0.05 * np.sin(np.arange(BARS) / 150.0) + random.normal(0.0, 0.004, BARS)
    payments, days = times(BEGIN, BARS // 8 + 1, "8h"), times(BEGIN, BARS // 24, "D")
    tables = Tables(
        instruments=[instrument(SPOT, Kind.SPOT, lot=0.0001), instrument(PERP, Kind.PERPETUAL, lot=0.001)],
        bars={SPOT: bars(spot, index, volume=random.lognormal(3.0, 0.5, BARS)), PERP: bars(spot * (1.0 + carry / 100.0), index)},
        funding={PERP: funding(payments, np.concatenate([[1e-4], carry[7::8] / 1095.0]))},
        series={
            "fear": series(days, 50.0 + 20.0 * random.normal(0.0, 1.0, len(days)), "20h"),
            "risk_free": series(days, 0.05 + random.normal(0.0, 0.002, len(days)), "1D"),
        },
    )
    for name, (first, expires) in FUTURES.items():
        expiry = pd.Timestamp(expires).as_unit("ns")
        left = np.asarray((expiry - index) / pd.Timedelta(days=1), dtype=float)
        alive = (np.arange(BARS) >= first) & (left >= 0.0)
        tables.instruments.append(instrument(name, Kind.FUTURE, expiry, lot=0.001))
        tables.bars[name] = bars((spot * (1.0 + carry * left / 365.0))[alive], index[alive])
    return tables


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("hourly"), hourly())


Signal = Callable[[Market], Any]


@dataclass(frozen=True, kw_only=True)
class Perpetual(bt.Strategy):
    """Spot against the perpetual by some signal."""

    signal: Signal
    enter: float = 0.0

    def rule(self, market: Market) -> Rule:
        return Rule(long=market.leg(SPOT), short=market.leg(PERP), signal=self.signal(market), enter=self.enter)


@dataclass(frozen=True, kw_only=True)
class Own(bt.Strategy):
    """Whatever a function makes."""

    made: Callable[[Market], Rule]

    def rule(self, market: Market) -> Rule:
        return self.made(market)


def premium(market: Market) -> pd.Series:
    return pd.Series(market.close(PERP) / market.close(SPOT) - 1.0, market.clock)


def spots(market: Market) -> pd.Series:
    return pd.Series(market.close(SPOT), market.clock)


def daily(market: Market, name: str) -> pd.Series:
    """A series joined on its date: the day's value, from the day's first bar on."""
    known, values = market.history(name)
    return pd.Series(values, pd.DatetimeIndex(known.view("M8[ns]")).tz_localize("UTC").floor("D")).reindex(market.clock, method="ffill")


def by_ts(market: Market, name: str) -> pd.Series:
    """A series read by the time that it is of instead of the time when it was published."""
    return market._dataset.series(name).set_index("ts")["value"].reindex(market.clock, method="ffill")


def carries(market: Market) -> pd.DataFrame:
    return pd.DataFrame(bt.annualized_premium(market, market.future_chain()).T, market.clock)


def chain(signal: Signal) -> Callable[[Market], Rule]:
    return lambda market: Rule(long=market.leg(SPOT), short=market.future_chain(min_days=3), signal=signal(market), enter=0.05, exit=-1.0)


def best_contract(market: Market) -> Rule:
    """The contract whose premium turned out best."""
    gains = {name: np.nanmax(market.close(name) / market.close(SPOT)) for name in market.future_chain().contracts}
    return Rule(long=market.leg(SPOT), short=market.leg(max(gains, key=gains.__getitem__)))


PEEKS: dict[str, Signal] = {
    "shift(-1)": lambda market: premium(market).shift(-1),
    "np.roll": lambda market: np.roll(premium(market), -1),
    "the next bar, clipped at the end": lambda market: premium(market).to_numpy()[np.minimum(np.arange(len(market)) + 1, len(market) - 1)],
    "np.gradient": lambda market: np.gradient(premium(market)),
    "a centred window": lambda market: premium(market).rolling(25, center=True).mean(),
    "a centred window that is never unknown": lambda market: premium(market).rolling(5, center=True, min_periods=1).mean(),
    "a window read backward": lambda market: premium(market)[::-1].rolling(24).mean()[::-1],
    "mean and deviation of all": lambda market: (premium(market) - premium(market).mean()) / premium(market).std(),
    "the mean of all": lambda market: premium(market) - premium(market).mean(),
    "extremes of all": lambda market: (premium(market) - premium(market).min()) / (premium(market).max() - premium(market).min()),
    "ranks among all": lambda market: premium(market).rank(pct=True),
    "above the median of all": lambda market: (premium(market) > premium(market).quantile(0.5)).astype(float),
    "backward fill": lambda market: premium(market).where(market.clock.hour == 0).bfill(),
    "interpolation": lambda market: premium(market).where(market.clock.hour == 0).interpolate(),
    "a daily mean at its day's beginning": lambda market: premium(market).resample("1D").mean().reindex(market.clock, method="ffill"),
    "a daily close at its day's beginning": lambda market: premium(market).resample("1D").last().reindex(market.clock, method="ffill"),
    "a monthly mean at its month's beginning": lambda market: premium(market).resample("MS").mean().reindex(market.clock, method="ffill"),
    "the day's high, all day": lambda market: premium(market).groupby(market.clock.floor("D")).transform("max"),
    "a day's value before it is out": lambda market: daily(market, "fear"),
    "a series by its time and not by its publication": lambda market: by_ts(market, "fear"),
    "yesterday's value, published today": lambda market: by_ts(market, "risk_free"),
    "up to the best moment": lambda market: (np.arange(len(market)) < premium(market).argmax()).astype(float),
    "how much is left of the sample": lambda market: np.linspace(1.0, 0.0, len(market)),
    "whether the next day goes up": lambda market: (spots(market).pct_change(24).shift(-24) > 0.0).astype(float),
    "out before a fall": lambda market: (spots(market).pct_change().shift(-1) > -0.013).astype(float),
    "the end price": lambda market: market.close(SPOT)[-1] - market.close(SPOT),
    "a fit to all": lambda market: np.polyval(np.polyfit(np.arange(len(market)), premium(market), 1), np.arange(len(market))),
}  # fmt: skip


def failing(strategy: bt.Strategy, market: Market, **options: Any) -> CausalityCheck:
    check = check_causality(strategy, market, **options)
    assert not check.passed
    return check


# ---------------------------------------------------------------- looks into the future


@pytest.mark.parametrize("name", PEEKS)
def test_a_look_into_the_future_is_found(market: Market, name: str) -> None:
    check = failing(Perpetual(signal=PEEKS[name], enter=0.5 if "above" in name or "out before" in name else -1e9), market)
    first = check.findings.iloc[0]
    assert first["what"] == "signal (entry)"
    assert first["first_bar"] <= first["cut"], "what came later may differ"
    assert first["of"] == "the strategy's own computation"
    told = rf"^Perpetual looks into the future: its signal \(entry\) at {utc(first['first_bar'].value)} is .*; use at each bar only what its end knows: no shift"
    with pytest.raises(ParameterError, match=told):
        check.raise_if_failed()


@pytest.mark.parametrize("hour", range(24))
def test_a_look_of_one_bar_at_one_hour_of_the_day_is_found(market: Market, hour: int) -> None:
    def peek(market: Market) -> pd.Series:
        return premium(market).where(market.clock.hour != hour, premium(market).shift(-1))

    check = failing(Perpetual(signal=peek, enter=-1e9), market, cuts=1)
    assert set(check.findings["first_bar"].dt.hour) == {hour}


def test_every_hour_of_the_day_has_a_cut(market: Market) -> None:
    strategy, base = Own(made=HONEST["a chain"]), market.altered()
    whole = make(strategy, base, {})
    bars = cut_bars(whole, bt.run(whole.rule, base), 12)
    more = other_hours(whole, bars)
    hours = market.clock[[*bars, *more]].hour
    assert set(hours) == set(range(24))
    assert not set(market.clock[bars].hour) & set(market.clock[more].hour)
    assert len(set(market.clock[more].hour)) == len(more) == check_causality(strategy, market).hours
    assert whole.possible[more].all()
    assert np.ptp(more) > BARS / 2, "all over the run"


@pytest.mark.parametrize("name", PEEKS)
def test_few_cuts_find_it_as_well(market: Market, name: str) -> None:
    """Not by luck: a third of the cuts finds all but what a rare event hides."""
    check = check_causality(Perpetual(signal=PEEKS[name], enter=-1e9), market, cuts=4)
    assert not check.passed


@bt.signal
def peeking(market: Market, window: Duration = "1D") -> Floats:
    """A user's own signal with a look into the future inside."""
    return premium(market).rolling(window).mean().shift(-3).to_numpy()


del SIGNALS["peeking"]  # other tests try all that are listed


def both(**more: Any) -> Callable[[Market], Rule]:
    """Spot against the perpetual, with fields that a function of the market gives."""
    return lambda market: Rule(
        **{"long": market.leg(SPOT), "short": market.leg(PERP), **{name: given(market) for name, given in more.items()}}
    )


honest = premium
RULES: dict[str, tuple[Callable[[Market], Rule], str, str]] = {
    "a threshold fitted on all data": (both(signal=honest, enter=lambda market: float(premium(market).quantile(0.9))), "enter", "own"),
    "a size fitted on all data": (both(size=lambda market: 0.01 / float(spots(market).pct_change().std())), "size", "own"),
    "a holding time fitted on all data": (both(max_hold=lambda market: f"{int(premium(market).argmax())}h"), "max_hold", "own"),
    "the contract that will pay best": (best_contract, "short leg", "own"),
    "an exit that knows": (both(signal=honest, enter=lambda _: -1.0, exit_signal=lambda market: premium(market).shift(-1), exit=lambda _: -2.0), "exit_signal", "own"),
    "a size that knows": (both(scale=lambda market: 1.0 + (premium(market).shift(-5) > 0.0)), "scale", "own"),
    "a table that knows": (chain(lambda market: carries(market).shift(-1)), "signal (entry)", "own"),
    "the best of a table, whole": (chain(lambda market: carries(market) / carries(market).max().max()), "signal (entry)", "own"),
    "one side that knows": (both(signal=lambda market: (premium(market), premium(market).shift(-1)), enter=lambda _: -1.0, sides=lambda _: "both"), "signal (entry), side −1", "own"),
    "a signal of the user's": (both(signal=lambda market: peeking(market, "12h"), enter=lambda _: -1.0), "signal (entry)", "the signal peeking"),
    "a signal of the user's in sums": (both(signal=lambda market: 2.0 * peeking(market) + bt.annualized_funding(market, market.leg(PERP))[0], enter=lambda _: -1.0), "signal (entry)", "the signal peeking"),
    "a signal of values that know": (both(signal=lambda market: bt.zscore(market, premium(market).bfill().shift(-1).to_numpy(), "2D"), enter=lambda _: 0.0), "signal (entry)", "the signal zscore of values that the strategy computed"),
    "own values beside honest signals": (both(signal=lambda market: sum(bt.zscore(market, premium(market).to_numpy(), days) for days in ("1D", "2D")) + premium(market).shift(-1), enter=lambda _: 0.0), "signal (entry)", "own"),
    "an index beyond what is there": (both(signal=lambda market: premium(market) - premium(market).iloc[3000], enter=lambda _: -1.0), "signal (entry)", "own"),
    "an array of all bars": (both(signal=lambda _: np.ones(BARS), enter=lambda _: 0.5), "rule", "own"),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_whatever_of_a_rule_knows_the_future_is_named(market: Market, name: str) -> None:
    made, what, of = RULES[name]
    check = failing(Own(made=made), market)
    assert what in set(check.findings["what"])
    assert set(check.findings["of"]) == {"the strategy's own computation" if of == "own" else of}
    with pytest.raises(ParameterError, match=r"^Own looks into the future: .*; use at each bar only what its end knows"):
        check.raise_if_failed()


# ---------------------------------------------------------------- the first bar


def test_the_first_bar_is_the_first_that_changed(market: Market) -> None:
    """What is measured against all is other from its first bar on, what looks a day ahead from a day before the cut."""
    check = failing(Perpetual(signal=PEEKS["the mean of all"], enter=-1.0), market)
    assert set(check.findings["first_bar"]) == {market.clock[0]}
    ahead = failing(Perpetual(signal=lambda market: premium(market).shift(-24), enter=-1.0), market).findings
    assert (ahead["first_bar"] == np.maximum(ahead["cut"] - pd.Timedelta("23h"), market.clock[0])).all()
    best = failing(Own(made=best_contract), market).findings
    assert (best["first_bar"] == market.clock[market.first_bar(DECEMBER)]).all() or (best["first_bar"] == market.clock[0]).all()


def test_a_day_joined_on_its_date_is_found_in_the_hours_before_it_is_out(market: Market) -> None:
    check = failing(Perpetual(signal=PEEKS["a day's value before it is out"], enter=-1e9), market, cuts=24)
    assert check.findings["cut"].dt.hour.between(0, 19).all()
    assert (check.findings["first_bar"].dt.floor("D") == check.findings["cut"].dt.floor("D")).all()
    assert set(check.findings["future"]) == {"the data end"}, "the other future has the same series"


# ---------------------------------------------------------------- who doesn't look

HONEST: dict[str, Callable[[Market], Rule]] = {
    "a rolling mean": both(signal=lambda market: premium(market).rolling(24).mean(), enter=lambda _: 0.0005),
    "a z-score": both(signal=lambda market: (premium(market) - premium(market).rolling(48).mean()) / premium(market).rolling(48).std(), enter=lambda _: 1.0, exit=lambda _: 0.0),
    "a rolling rank": both(signal=lambda market: premium(market).rolling(100).rank(pct=True), enter=lambda _: 0.9, exit=lambda _: 0.5),
    "an expanding mean": both(signal=lambda market: premium(market) - premium(market).expanding().mean(), enter=lambda _: 0.0, exit=lambda _: -1.0),
    "an exponential mean": both(signal=lambda market: premium(market).ewm(halflife=20).mean(), enter=lambda _: 0.0005, exit=lambda _: -1.0),
    "the bar before": both(signal=lambda market: premium(market).shift(1).ffill(), enter=lambda _: 0.0005, exit=lambda _: -1.0),
    "a daily close at its day's end": both(
        signal=lambda market: premium(market).resample("1D", label="right", closed="right").last().reindex(market.clock, method="ffill").where(market.clock >= market.clock[23]),
        enter=lambda _: 0.0005,
    ),
    "a series as published": both(signal=lambda market: market.series("fear"), enter=lambda _: 50.0, exit=lambda _: 40.0),
    "chance with a seed": both(signal=lambda market: np.random.default_rng(1).normal(size=len(market)), enter=lambda _: 1.0, exit=lambda _: -1.0),
    "the hour of the day": both(signal=lambda market: (market.clock.hour == 8).astype(float), enter=lambda _: 0.5, exit=lambda _: 0.5),
    "logarithms and powers": both(signal=lambda market: np.exp(np.sin(np.log(market.close(SPOT)))) ** 1.3, enter=lambda _: 1.0, exit=lambda _: 0.5),
    "a chain": chain(lambda market: carries(market).rolling(24).mean()),
    "a size by what was": both(scale=lambda market: 0.002 / spots(market).pct_change().rolling(50).std()),
    "nothing but legs": both(),
    "to the last contract": lambda market: Rule(long=market.leg(SPOT), short=market.leg(DECEMBER)),
    "two chains": lambda market: Rule(long=market.future_chain(min_days=3), short=market.future_chain(min_days=3, nth=2)),
    "both sides": both(signal=lambda market: premium(market).rolling(24).mean() - 0.001, enter=lambda _: 0.0002, exit=lambda _: -0.0002, sides=lambda _: "both"),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_who_does_not_look_passes(market: Market, name: str) -> None:
    check = check_causality(Own(made=HONEST[name]), market)
    assert check.passed, check
    check.raise_if_failed()
    assert check.sentence.startswith("Own passed the causality check: nothing up to ")


def test_who_sees_some_instruments_only_passes_or_not(market: Market) -> None:
    seen = on(Own(made=lambda seen: Rule(long=seen.spot, short=seen.perpetual, signal=peeking(seen), enter=-1.0)), SPOT, PERP)
    check = failing(seen, market)
    assert set(check.findings["of"]) == {"the signal peeking"}
    assert check.strategy == f"Own on {SPOT} {PERP}"
    honest = on(Own(made=lambda seen: Rule(long=seen.spot, short=seen.perpetual, signal=premium(seen), enter=0.001)), SPOT, PERP)
    assert check_causality(honest, market).passed


def test_filters_and_changes_are_part_of_what_is_checked(market: Market) -> None:
    class Tomorrow(Filter):
        """Not before a fall."""

        name = "tomorrow"

        def allows(self, market: Market, rule: Rule) -> Any:
            return (spots(market).shift(-1) > spots(market)).to_numpy()

    check = failing(Own(made=both(), filters=(Tomorrow(),)), market)
    assert set(check.findings["what"]) == {"signal (entry), side +1", "signal (entry), side −1"}
    assert check_causality(Own(made=both(), filters="funding=2h"), market, size=0.2, max_hold="2D").passed


# ---------------------------------------------------------------- the run


def test_the_run_is_compared_too(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that looked ahead would be found by its fills and its equity, though the rule says the same."""

    def sighted(rule: Any, market: Market, **options: Any) -> Any:
        found = bt.run(rule, market, **options)
        found._log.fills["price"] *= 1.0 + len(market) * 1e-6
        found.equity.iloc[:] += len(market)
        return found

    monkeypatch.setattr(causality, "run", sighted)
    check = failing(Own(made=both()), market, cuts=3)
    assert set(check.findings["what"]) == {"fills", "equity"}
    assert set(check.findings["future"]) == {"the data end"}
    assert check.findings["was"].iloc[0] != check.findings["became"].iloc[0]


def test_an_execution_bar_by_bar_ends_with_the_bars(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []

    def counted(rule: Any, market: Market, **options: Any) -> Any:
        found = bt.run(rule, market, **options)
        done.append(len(market))
        return found

    monkeypatch.setattr(causality, "run", counted)
    spreads = 1e-4 + 1e-5 * np.arange(BARS) / BARS
    execution = bt.Execution(
        half_spread=(spreads, pd.Series(spreads, market.clock)), stress=np.ones(BARS), recalled_at="2024-07-20", deleveraged_at="2024-07-30"
    )
    assert check_causality(Own(made=HONEST["a rolling mean"]), market, execution=execution, capital=5e5, cuts=6).passed
    assert len(done) == 1 + 2 * 6, "none of the runs was refused"


def test_funding_that_is_filled_with_later_events_is_nobodys_look(tmp_path_factory: pytest.TempPathFactory) -> None:
    tables = hourly()
    tables.funding[PERP] = tables.funding[PERP].drop(tables.funding[PERP].index[5::2])
    holes = load(tmp_path_factory.mktemp("holes"), tables)
    assert check_causality(Own(made=both()), holes, execution=bt.Execution(funding="fill")).passed  # type: ignore[arg-type]


# ---------------------------------------------------------------- cuts


def test_cuts_lie_at_all_hours_where_it_decided_and_before_moves(market: Market) -> None:
    base = market.altered()
    strategy = Own(made=HONEST["a chain"])
    whole = make(strategy, base, {})
    result = bt.run(whole.rule, base)
    bars = cut_bars(whole, result, 24)
    assert bars == sorted(set(bars))
    assert len(bars) == 24
    assert bars == cut_bars(make(strategy, market.altered(), {}), result, 24), "the same each time"
    assert whole.possible[bars].sum() > 18
    hours = set(market.clock[bars].hour)
    assert {23, 0, 1} <= hours
    assert len(hours) > 9
    decided = np.searchsorted(market.clock, pd.DatetimeIndex(result.trades["entered_at"]))
    assert set(bars) & set(decided.tolist()), "an order fills at the open of the next bar, which is the end of the one that decided"
    moves = np.abs(np.diff(np.log(market.close(SPOT))))
    largest = np.argsort(-np.where(whole.possible[:-1], moves, 0.0))[:5]
    assert len(set(bars) & set(largest.tolist())) >= 4
    months = np.flatnonzero((market.clock.day == 1) & (market.clock.hour == 0))
    assert sum(bool(set(bars) & {month - 1, month, month + 1}) for month in months.tolist()) >= 3
    third = np.array(bars) * 3 // BARS
    assert set(third) == {0, 1, 2}


@pytest.mark.parametrize("cuts", [1, 2, 5, 40])
def test_as_many_cuts_as_asked(market: Market, cuts: int) -> None:
    check = check_causality(Own(made=both()), market, cuts=cuts)
    assert len(check.cuts) == len(set(check.cuts)) == cuts
    assert (check.cuts < market.clock[-1]).all()


def test_a_short_market_has_few_cuts(market: Market) -> None:
    short = market.until(BEGIN + pd.Timedelta("6h"))
    assert len(check_causality(Own(made=both()), short).cuts) == 5
    told = "^a causality check needs a past and a future: the market has 2 bars; load a longer period$"
    with pytest.raises(ParameterError, match=told):
        check_causality(Own(made=both()), market.until(BEGIN + pd.Timedelta("2h")))


def test_a_cut_before_there_is_a_leg_is_passed_over(market: Market) -> None:
    late = Own(made=lambda market: Rule(long=market.leg(SPOT), short=market.leg(DECEMBER), signal=premium(market), enter=-1.0))
    check = check_causality(late, market)
    assert check.passed
    assert not check.skipped, "cuts lie where it could enter"


def test_a_cut_whose_data_do_not_make_the_rule_is_told(market: Market) -> None:
    check = check_causality(Own(made=lambda market: needing(market, 1500)), market)
    assert check.passed
    assert set(check.skipped) == set(check.cuts[check.cuts < market.clock[1499]])
    assert set(check.skipped.values()) == {"too few bars"}
    assert f", at {len(check.skipped)} of which the data don't make the rule" in repr(check)
    assert f"nothing up to {12 - len(check.skipped)} cuts changed" in check.sentence
    told = r"^Own can't be checked: it has no rule at any of 12 cuts, with the data that were there \(too few bars\); load a longer period$"
    with pytest.raises(ParameterError, match=told):
        check_causality(Own(made=lambda market: needing(market, BARS)), market)


def test_code_that_fails_on_few_bars_only_is_no_look(market: Market) -> None:
    """An average week takes a week; with more data it is the same for all that come after."""

    def week(market: Market) -> Rule:
        first = premium(market).iloc[:1000].to_numpy().reshape(1000)  # a ValueError before
        return Rule(
            long=market.leg(SPOT), short=market.leg(PERP), signal=np.where(np.arange(len(market)) < 1000, 0.0, first.mean()), enter=0.0
        )

    check = check_causality(Own(made=week), market)
    assert check.passed, check
    assert {told[:32] for told in check.skipped.values()} == {"ValueError: cannot reshape array"}


def needing(market: Market, count: int) -> Rule:
    """A rule that is refused of a market that is too short."""
    if len(market) < count:
        raise DataError("too few bars")
    return Rule(long=market.leg(SPOT), short=market.leg(PERP))


# ---------------------------------------------------------------- rounding


@pytest.mark.parametrize(
    ("was", "became", "first"),
    [
        ([1.0, np.nan, np.inf], [1.0, np.nan, np.inf], None),
        ([1.0, 2.0], [1.0, 2.0 * (1 + 5e-10)], None),
        ([1.0, 2.0], [1.0, 2.0 * (1 + 5e-9)], 1),
        ([1000.0, 1e-12], [1000.0, 5e-10], None),
        ([1000.0, 1e-12], [1000.0, 5e-9], 1),
        ([1.0, np.nan], [1.0, 2.0], 1),
        ([1.0, 2.0], [np.nan, 2.0], 0),
        ([np.inf, 1.0], [-np.inf, 1.0], 0),
        ([np.inf, 1.0], [np.inf, 2.0], 1),
        ([np.nan, np.nan], [np.nan, np.nan], None),
    ],
)
def test_only_rounding_is_no_change(was: list[float], became: list[float], first: int | None) -> None:
    assert first_change(np.array(was), np.array(became)) == first


# ---------------------------------------------------------------- what it says


def test_a_check_is_told_in_a_few_lines(market: Market) -> None:
    passed = check_causality(Own(made=both()), market, cuts=2)
    spans = f"  2 cuts from {utc(passed.cuts[0].value)} to {utc(passed.cuts[1].value)} (the rule alone at 22 more hours)"
    assert repr(passed) == f"Causality of Own: passed\n{spans}\n  Nothing up to a cut changed with what came after it."
    check = failing(Own(made=RULES["a threshold fitted on all data"][0]), market, cuts=2)
    first = check.findings.iloc[0]
    lines = repr(check).splitlines()
    assert lines[0] == "Causality of Own: FAILED"
    assert lines[2] == f"  enter: changed at 24 cuts, first at {utc(market.clock[0].value)}"
    assert lines[3].startswith(f"    from {first['was']:.6g} to {first['became']:.6g} when ")
    assert lines[4] == "    the strategy's own computation"
    assert len(lines) == 5
    assert max(map(len, lines)) <= 120
    lines = repr(failing(Own(made=RULES["an array of all bars"][0]), market, cuts=2)).splitlines()
    assert re.match(
        r"^    can't be made any more \(ParameterError: signal must have one value a bar.*\) when the data end after 2024", lines[3]
    )


def test_the_sentence_names_bar_signal_and_both_values(market: Market) -> None:
    check = failing(Own(made=RULES["a signal of the user's"][0]), market)
    first = check.findings.iloc[0]
    cut, bar = utc(first["cut"].value), utc(first["first_bar"].value)
    assert check.sentence.startswith(
        f"Own looks into the future: its signal (entry) at {bar} is {first['was']:.6g}, and unknown when the data end after {cut} (the signal peeking); use at each bar"
    )
    rule = failing(Own(made=RULES["an array of all bars"][0]), market).sentence
    assert re.match(
        r"^Own looks into the future: it has a signal at \S+ that it can't make \(ParameterError: signal must have one value a bar.*\) when the data end after",
        rule,
    )


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("strategy", "options", "told"),
    [
        (Rule(long=Leg(kind=Kind.SPOT, contracts=(SPOT,))), {}, "a causality check asks for the rule again on other markets, and the arrays of a bt.Rule are computed already; give a Strategy, whose rule(market) computes them"),
        (Own, {}, "a causality check needs one strategy: it got <class 'test_check_causality.Own'>; give Own()"),
        ([1], {}, "a causality check needs one strategy: it got [1]; give one, as CashAndCarry()"),
        (Own(made=both()), {"scale": np.ones(BARS)}, "scale can't be set in a causality check: its values would stay as they are; compute them in the strategy's rule(market)"),
        (Own(made=both()), {"cuts": 0}, "cuts must be a whole number from 1 on: cuts=0"),
        (Own(made=both()), {"cuts": True}, "cuts must be a whole number from 1 on: cuts=True"),
        (Own(made=both()), {"cuts": 2.5}, "cuts must be a whole number from 1 on: cuts=2.5"),
        (Own(made=both()), {"levrage": 2}, 'unknown parameter "levrage": 2; did you mean "leverage"?'),
        (Own(made=lambda market: None), {}, "Own.rule must return a bt.Rule: it returned None; end it with return bt.Rule(…)"),  # type: ignore[arg-type, return-value]
        (Own(made=both()), {"capital": -1.0}, "capital must be above 0: capital=-1"),
    ],
)  # fmt: skip
def test_what_can_not_be_checked_is_told_so(market: Market, strategy: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(told)}$"):
        check_causality(strategy, market, **options)


@pytest.mark.parametrize(("given", "shown"), [(None, "None"), ("data/sample", "data/sample")])
def test_a_check_needs_a_market(given: Any, shown: str) -> None:
    with pytest.raises(ParameterError, match=rf"^a causality check needs a market: it got {shown}; give bt\.load_market\(…\)$"):
        check_causality(Own(made=both()), given)


def test_a_strategy_of_chance_is_told_from_one_that_looks(market: Market) -> None:
    chance = Own(made=both(signal=lambda market: np.random.default_rng().normal(size=len(market)), enter=lambda _: 0.5))
    told = (
        "^Own makes another rule each time that it is asked on the same market, so nothing tells a look into the future from chance; give its random numbers a "
        "fixed seed, and let it remember nothing$"
    )
    with pytest.raises(ParameterError, match=told):
        check_causality(chance, market, cuts=2)


def test_the_market_itself_stays_as_it_is(market: Market) -> None:
    before = dict(market._memo)
    check_causality(Own(made=HONEST["a chain"]), market, cuts=2)
    assert market._memo.keys() == before.keys()
    assert market.instruments.keys() == {SPOT, PERP, *FUTURES}
