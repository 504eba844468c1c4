"""Several strategies on one capital as a user meets them: labels, shares and limits, each rule's own result, and tables that add up."""

import pickle
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import FAR, NEAR, ether, instrument, load

import backtest as bt
from backtest.book import Book
from backtest.book_result import BookResult
from backtest.data.schema import Tables
from backtest.errors import DataError, ParameterError
from backtest.execution import fitting
from backtest.instruments import Kind
from backtest.market import Market
from backtest.report.html import render_html
from backtest.report.json import to_dict
from backtest.rule import Rule
from backtest.simulate import run
from backtest.strategy import on


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return load(tmp_path_factory.mktemp("book"), ether())


@dataclass(frozen=True, kw_only=True)
class Perpetual(bt.Strategy):
    """Spot against the perpetual."""

    hold: str | None = bt.param("20h", "how long")

    def rule(self, market: Market) -> Rule:
        return Rule(long=market.spot, short=market.perpetual, max_hold=self.hold, cooldown="3h")


@dataclass(frozen=True, kw_only=True)
class Dated(bt.Strategy):
    """Spot against the far future."""

    def rule(self, market: Market) -> Rule:
        return Rule(long=market.spot, short=market.leg(FAR), max_hold="30h")


@dataclass(frozen=True, kw_only=True)
class Chain(bt.Strategy):
    """Spot against whatever future is offered."""

    def rule(self, market: Market) -> Rule:
        return Rule(long=market.spot, short=market.future_chain(), size=0.3)


STRATEGIES = [Perpetual(), Dated(), Chain(), Perpetual(hold="7h")]
ALONE = {"idle_rate": 0.0, "borrow_rate": 0.0}


def nearest(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=["attribution", "rule"], errors="ignore").reset_index(drop=True)


# ---------------------------------------------------------------- one capital, several accounts


@pytest.mark.parametrize("execution", [bt.Execution(**ALONE), bt.Execution()], ids=["no interest", "the market's rates"])
def test_rules_that_cannot_meet_run_as_they_would_alone(market: Market, execution: bt.Execution) -> None:
    """Isolated margin, equal shares, cash that never runs out: to the last bit, trade by trade, source by source."""
    book = run(STRATEGIES, market, capital=400_000.0, execution=execution, size=0.3)
    singles = [run(one, market, capital=100_000.0, execution=execution, size=0.3) for one in STRATEGIES]
    assert sum(len(one.trades) for one in singles) > 10
    for together, alone in zip(book.results.values(), singles, strict=True):
        assert (together.equity == alone.equity).all()
        assert (together.attribution == alone.attribution).all(axis=None)
        pd.testing.assert_frame_equal(together.trades, alone.trades)
        pd.testing.assert_frame_equal(together.fills, alone.fills)
    np.testing.assert_allclose(book.equity, sum(one.equity for one in singles), rtol=0, atol=1e-9 * 400_000)


def test_sources_of_a_book_explain_its_equity_at_every_bar(market: Market) -> None:
    book = run(Book(STRATEGIES, shares=[0.9, 0.6, 0.3, 0.1]), market, leverage=3.0, execution=bt.Execution(margin="cross"), size=0.9)
    assert (book.attribution["financing"] != 0.0).any(), "cash runs out"
    np.testing.assert_allclose(book.attribution.sum(axis=1) + book.capital, book.equity, rtol=0, atol=1e-9 * book.capital)
    for one in book.results.values():
        np.testing.assert_allclose(one.attribution.sum(axis=1) + one.capital, one.equity, rtol=0, atol=1e-9 * book.capital)


def test_interest_is_on_the_cash_of_all(market: Market) -> None:
    """One rule borrows what the other has: nobody outside is paid; alone it would have paid the lender."""
    rates = bt.Execution(idle_rate=0.0, borrow_rate=0.5, spot_fee=0.0, derivative_fee=0.0, half_spread=0.0)
    spender, saver = Rule(long=market.spot, size=1.5), Rule(long=market.spot, size=0.01)
    alone = run(spender, market, capital=50_000.0, execution=rates)
    book = run({"spender": spender, "saver": saver}, market, execution=rates)
    assert alone.attribution["financing"].iloc[-1] < -100.0
    assert book.attribution["financing"].iloc[-1] == 0.0
    lent = run(Book({"spender": spender, "saver": saver}), market, execution=rates, size=1.5)
    parts = [one.attribution["financing"].iloc[-1] for one in lent.results.values()]
    assert sum(parts) < -200.0
    assert lent.attribution["financing"].iloc[-1] == pytest.approx(sum(parts))


def test_what_shares_leave_is_a_reserve_that_earns_interest(market: Market) -> None:
    book = run(Book([Perpetual()], shares=[0.4]), market, execution=bt.Execution(idle_rate=0.1))
    years = (book.end - book.start) / pd.Timedelta(days=365)
    assert book.reserve.iloc[-1] == pytest.approx(60_000.0 * (1.0 + 0.1 * years), rel=1e-12)
    assert book.equity.iloc[0] == pytest.approx(100_000.0, rel=1e-3)
    np.testing.assert_allclose(book.results["Perpetual"].equity + book.reserve, book.equity, rtol=1e-15)
    owed = run(Book([Perpetual()], shares=[1.5]), market, execution=bt.Execution(idle_rate=0.1), size=0.2)
    assert owed.reserve.iloc[-1] == pytest.approx(-50_000.0 * (1.0 + 0.1 * years), rel=1e-12)
    np.testing.assert_allclose(owed.attribution.sum(axis=1) + owed.capital, owed.equity, rtol=1e-13)


def test_shares_that_add_up_leave_no_reserve(market: Market) -> None:
    assert (run(Book(STRATEGIES[:3]), market).reserve == 0.0).all()


def test_total_exposure_goes_to_the_first_who_ask(market: Market) -> None:
    """Both want half of their share at every entry; the limit leaves the second what the first has not taken, down to whole lots."""
    always = Rule(long=market.spot, short=market.perpetual, resize=None)
    later = Rule(long=market.spot, short=market.leg(FAR), resize=None)
    free = run([always, later], market, size=1.0)
    tight = run(Book([always, later], exposure=0.7), market, size=1.0)
    first, second = ([one.trades["quantity"].iloc[0] for one in book.results.values()] for book in (free, tight))
    assert second[0] == first[0]
    close = market.last_known("ETHUSDT-SPOT")[0]
    assert second[1] == pytest.approx(0.2 * 100_000.0 / close, abs=0.001)
    swapped = run(Book([later, always], exposure=0.7), market, size=1.0)
    assert [one.trades["quantity"].iloc[0] for one in swapped.results.values()] == pytest.approx([first[1], second[1]], abs=0.001)
    full = run(Book([always, later], exposure=0.4), market, size=1.0)
    assert full.results["Rule"].trades["quantity"].iloc[0] == pytest.approx(40_000.0 / close, abs=0.001)
    assert not full.results["Rule 2"].trades["quantity"].iloc[:1].gt(0.01 * first[1]).any(), "only what a larger equity adds later"


def test_a_drawdown_of_all_takes_all_out(market: Market) -> None:
    bet, hedged = Rule(long=market.spot, size=1.0), Perpetual(hold=None)
    book = run(Book({"bet": bet, "hedged": hedged}, drawdown=0.005), market)
    left = [one.trades["reason"].iloc[0] for one in book.results.values()]
    assert left == ["drawdown", "drawdown"]
    assert len(book.trades) == 2
    again = run(Book({"bet": bet, "hedged": hedged}, drawdown=0.005, pause="12h"), market)
    assert len(again.trades) > 2
    assert (run({"bet": bet, "hedged": hedged}, market).trades["reason"] == "end of data").all()


# ---------------------------------------------------------------- the result


def test_tables_of_all_rules_say_whose_each_row_is(market: Market) -> None:
    book = run(STRATEGIES, market)
    assert list(book.results) == ["Perpetual", "Dated", "Chain", "Perpetual 2"]
    assert list(book.trades.columns[:2]) == ["rule", "entered_at"]
    assert book.trades["entered_at"].is_monotonic_increasing
    assert book.fills["time"].is_monotonic_increasing
    for label, one in book.results.items():
        mine = book.trades[book.trades["rule"] == label]
        pd.testing.assert_frame_equal(nearest(mine), nearest(one.trades))
        theirs = book.fills[book.fills["rule"] == label]
        assert (theirs["trade"].map(book.trades["rule"]) == label).all()
        assert list(theirs["trade"].map(book.trades["contract"])) == [one.trades["contract"].iloc[number] for number in one.fills["trade"]]
    assert book.by_rule["pnl"].sum() == pytest.approx(book.equity.iloc[-1] - book.capital, abs=1e-6)
    assert book.by_rule["trades"].sum() == len(book.trades) == book.metrics["trades"]
    assert list(book.positions.columns.get_level_values(0).unique()) == list(book.results)
    assert book.correlation.loc["Perpetual", "Perpetual"] == 1.0


def test_a_book_of_one_is_the_run_itself(market: Market) -> None:
    book, alone = run([Perpetual()], market), run(Perpetual(), market)
    assert isinstance(book, BookResult)
    assert (book.equity == alone.equity).all()
    for name, value in alone.metrics.items():
        assert book.metrics[name] == pytest.approx(value, nan_ok=True), name


def test_a_book_without_a_trade(market: Market) -> None:
    book = run([Rule(long=market.spot, signal=np.zeros(len(market)), enter=1.0), Rule(long=market.spot, size=1e-9)], market)
    assert book.trades.empty
    assert book.fills.empty
    assert "rule" in book.fills
    assert book.metrics["trades"] == 0
    assert (book.by_rule["trades"] == 0).all()


def test_a_book_can_be_shown_reported_and_written(market: Market, tmp_path: Path) -> None:
    book = run(Book({"perpetual": Perpetual(), "chain": Chain()}, shares=[0.5, 0.3]), market)
    shown = repr(book)
    assert max(map(len, shown.splitlines())) <= 80
    for text in ("Book of 2 rules", "perpetual", "chain"):
        assert text in shown
    book.report(tmp_path / "book.html")
    book.to_json(tmp_path / "book.json")
    assert "chain" in (tmp_path / "book.html").read_text()


# ---------------------------------------------------------------- two underlyings


def bitcoin(tables: Tables) -> Tables:
    """The same market with bitcoin at twenty times ether's prices, moving the other way."""
    for name in list(tables.bars):
        frame = tables.bars[name]
        mirrored = 40_000.0 * 2000.0 / frame[["open", "high", "low", "close"]].to_numpy()
        twin = frame.copy()
        twin["open"], twin["high"], twin["low"], twin["close"] = mirrored[:, 0], mirrored[:, 2], mirrored[:, 1], mirrored[:, 3]
        tables.bars[name.replace("ETH", "BTC")] = twin
    for item in list(tables.instruments):
        tables.instruments.append(instrument(item.id.replace("ETH", "BTC"), item.kind, item.expires_at, base="BTC", lot=item.lot))
    for name in list(tables.funding):
        tables.funding[name.replace("ETH", "BTC")] = tables.funding[name].copy()
    return tables


def test_one_run_trades_ether_and_bitcoin(tmp_path: Path) -> None:
    both = load(tmp_path, bitcoin(ether()))
    assert sum(item.kind is Kind.SPOT for item in both.instruments.values()) == 2
    given = bt.Execution(liquidation_fee=0.0125, maintenance=0.01)
    book = run([on(Chain(), "ETH*"), on(Chain(), "BTC*")], both, execution=given)
    assert set(book.trades["contract"].str[:3]) == {"ETH", "BTC"}
    for label, one in book.results.items():
        alone = run(Chain(), both.only(label.rsplit(" ", 1)[-1]), capital=50_000.0, execution=given)
        assert (one.equity == alone.equity).all()
    with pytest.raises(DataError, match="Chain: the rule needs one spot and the dataset test has several"):
        run([Chain(), on(Chain(), "BTC*")], both)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategies": []}, "a book needs strategies: it has none"),
        ({"strategies": [Perpetual]}, "a book is of strategies and rules: number 1 is the class Perpetual; give Perpetual()"),
        ({"strategies": [None]}, "a book is of strategies and rules: number 1 is None; give one"),
        ({"strategies": ["FundingCarry"]}, 'a book is of strategies and rules: number 1 is the text "FundingCarry"; give one'),
        ({"strategies": {"near": pd.Series([1.0])}}, 'a book is of strategies and rules: "near" is a Series; give one'),
        ({"strategies": {" ": Perpetual()}}, "a label is a text on one line: ' '"),
        ({"strategies": {"a\nb": Perpetual()}}, r"a label is a text on one line: 'a\nb'"),
        ({"strategies": {"reserve": Perpetual()}}, 'the label "reserve" is that of what the shares leave of the capital; choose another'),
        ({"strategies": Perpetual()}, "a book is a list or mapping of strategies: it got a Perpetual; give"),
        ({"strategies": [Perpetual(), 3]}, "a book is of strategies and rules: number 2 is 3; give one, as CashAndCarry() or bt.Rule(…)"),
        ({"strategies": "FundingCarry"}, 'a book is a list or mapping of strategies: it got the text "FundingCarry"'),
        ({"strategies": {"": Perpetual()}}, "a label is a text on one line: ''"),
        ({"shares": [0.5]}, "shares are one number for each of the 2 strategies: shares=[0.5]"),
        ({"shares": 0.5}, "shares are one number for each of the 2 strategies: shares=0.5"),
        ({"shares": [0.5, -0.5]}, "a share must be above 0: a share=-0.5"),
        ({"shares": np.full((2, 2), 0.1)}, "a share must be a finite number: a share=[0.1, 0.1]"),
        ({"shares": np.array(0.5)}, "shares are one number for each of the 2 strategies: shares=0.5"),
        ({"shares": {"Perpetual": 0.5}}, 'shares by label are one for each strategy: "Dated" has none; the labels are Perpetual, Dated'),
        ({"shares": {"Perpetual": 0.5, "Dated": 0.1, "x": 0.1}}, 'shares by label are one for each strategy: the book has no "x"'),
        ({"shares": [0.5, None]}, "shares are numbers: shares=[0.5, None]"),
        ({"exposure": 0.0}, "exposure must be above 0: exposure=0"),
        ({"drawdown": 1.5}, "drawdown is a fraction of the peak: drawdown=1.5 must be below 1"),
        ({"pause": "3D"}, "pause needs a drawdown to follow: pause='3D'"),
        ({"pause": "soon", "drawdown": 0.1}, "pause must be a duration"),
    ],
)
def test_a_book_that_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(message)):
        Book(**({"strategies": [Perpetual(), Dated()]} | given))


def test_a_rule_of_the_book_that_is_refused_is_named(market: Market) -> None:
    with pytest.raises(ParameterError, match="Perpetual 2: max_hold must be a duration"):
        run([Perpetual(), Perpetual(hold="soon")], market)


def test_wallets_belong_to_one_rule(market: Market) -> None:
    wallets = bt.Execution(wallets=(0.5, 0.5))
    with pytest.raises(ParameterError, match=re.escape("wallets belong to one rule's legs, and the book has 2 rules: wallets=(0.5, 0.5)")):
        run([Perpetual(), Dated()], market, execution=wallets)
    assert len(run([Perpetual()], market, execution=wallets).trades) > 1


def test_the_near_future_ends_in_the_book_as_alone(market: Market) -> None:
    book = run([Rule(long=market.spot, short=market.leg(NEAR)), Perpetual()], market)
    assert (book.trades["reason"] == "expiry").sum() == 1


def test_what_only_some_rules_can_have_is_asked_of_those(market: Market) -> None:
    spots, spread = Rule(long=market.spot), {"half_spread": 0.0002}
    plain = run({"spots": spots, "carry": Perpetual()}, market, execution=bt.Execution(**spread))
    for asked in ({"top_up": 0.5, "transfer_delay": "1h"}, {"policy": "undo", "patience": "2h"}):
        execution = bt.Execution(**spread, **asked)
        book = run({"spots": spots, "carry": Perpetual()}, market, execution=execution)
        assert book.results["carry"]._prepared.execution == execution
        assert (book.results["spots"].equity == plain.results["spots"].equity).all()
    assert fitting(spots, bt.Execution(maker="short"), market.instruments).maker == "none"
    assert fitting(spots, bt.Execution(maker="long"), market.instruments).maker == "long"
    with pytest.raises(ParameterError, match="top_up needs a derivative leg"):
        run([spots, Rule(long=market.spot, max_hold="5h")], market, execution=bt.Execution(top_up=0.5))


# ---------------------------------------------------------------- what a review found


def test_why_nothing_was_traded_is_said_once(market: Market) -> None:
    """Baselines run the same prepared rule again; their notes are their own."""
    result = run(Rule(long=market.spot, short=market.perpetual, signal=np.zeros(len(market)), enter=1.0), market)
    for shown in (repr(result), repr(result)):
        assert shown.count("NO TRADE") == 1


def test_filters_of_a_narrowed_strategy_hold_whatever_is_changed(market: Market) -> None:
    never = Perpetual(filters=[bt.FundingWindow("1h")])
    plain = run(never, market, enter=None)
    narrowed = run(on(never, "*"), market, enter=None)
    assert plain.trades["entered_at"].iloc[0] > run(Perpetual(), market).trades["entered_at"].iloc[0]
    assert (narrowed.equity == plain.equity).all()


def test_liquidations_point_at_the_trades_of_the_book(market: Market) -> None:
    squeezed = Rule(long=market.spot, short=market.perpetual, leverage=60.0, size=0.5, cooldown="9h", resize=None)
    free = bt.Execution(maintenance=0.012)
    book = run({"late": Dated(), "squeezed": squeezed, "again": squeezed}, market, execution=free)
    assert len(book.liquidations) > 2
    for _, row in book.liquidations.iterrows():
        trade = book.trades.loc[row["trade"]]
        assert (trade["rule"], trade["contract"], trade["reason"]) == (row["rule"], row["contract"], "liquidation")


def test_baselines_of_a_book_use_what_was_asked_of_all(market: Market) -> None:
    """The first rule may be one that can't have some of it."""
    one_leg, execution = (
        Rule(long=market.spot, max_hold="5h", cooldown="50h"),
        bt.Execution(top_up=0.9, transfer_delay="1h", transfer_fee=7.0),
    )
    first, second = (run([*rules], market, execution=execution, leverage=5.0) for rules in ((one_leg, Perpetual()), (Perpetual(), one_leg)))
    always = [book.baselines.loc["always-on funding carry", "final_equity"] for book in (first, second)]
    assert always[0] == always[1] == bt.run(
        Rule(long=market.spot, short=market.perpetual), market, execution=execution
    ).equity.iloc[-1]  # fmt: skip


def test_a_sweep_of_a_narrowed_strategy_varies_its_own_parameters(market: Market) -> None:
    sweep = bt.sweep(on(Perpetual(), "ETH*"), market, hold=["5h", "20h"])
    assert sweep.strategy == "Perpetual on ETH*"
    assert list(sweep.table["trades"]) == [len(run(Perpetual(hold=hold), market).trades) for hold in ("5h", "20h")]


# ---------------------------------------------------------------- labels, shares, and a reserve


@pytest.mark.parametrize(
    "shares",
    [(0.6, 0.3), np.array([0.6, 0.3]), pd.Series([0.6, 0.3]), {"Dated": 0.3, "Perpetual": 0.6}, pd.Series({"Dated": 0.3, "Perpetual": 0.6})],
    ids=["tuple", "array", "series", "dict", "series by label"],
)  # fmt: skip
def test_shares_come_in_order_or_by_label(shares: Any) -> None:
    book = Book([Perpetual(), Dated()], shares=shares)
    assert book.shares == (0.6, 0.3)
    assert all(type(share) is float for share in book.shares)


def test_a_book_stays_as_it_was_made() -> None:
    given = {"a": Perpetual(), "b": Dated()}
    book = Book(given, shares=(0.6, 0.3), drawdown=0.1)
    with pytest.raises(TypeError):
        book.strategies["c"] = Perpetual()  # type: ignore[index]
    given["c"] = Perpetual()
    assert list(book.strategies) == ["a", "b"]
    again = pickle.loads(pickle.dumps(book))
    assert again == book
    assert hash(again) == hash(book)
    assert type(again.strategies) is type(book.strategies)
    assert book != Book({"b": Dated(), "a": Perpetual()}, shares=(0.6, 0.3), drawdown=0.1), "the order decides"
    assert book != Book({"a": Perpetual(), "b": Dated()}, shares=(0.6, 0.3))
    assert book != 3


def test_labels_that_are_names_of_settings_hide_nothing(market: Market) -> None:
    labels = ["shares", "size", "margin", "long", "short"]
    book = run({label: Perpetual() for label in labels}, market)
    text = book.rule_text
    assert {text[f"rule {label}"] for label in labels} == {"ETHUSDT-SPOT / ETHUSDT-PERP"}
    assert text["shares"] == "0.2, 0.2, 0.2, 0.2, 0.2"
    assert (text["size"], text["margin"]) == ("0.5", "isolated")
    words = " ".join(repr(book).split())
    assert all(f"rule {label}=ETHUSDT-" in words for label in labels)


@pytest.mark.parametrize("shares", [(0.5, 0.3), (0.9, 0.6)], ids=["left", "owed"])
def test_rules_and_the_reserve_add_up_to_the_book(market: Market, tmp_path: Path, shares: tuple[float, float]) -> None:
    book = run(Book({"first": Perpetual(), "second": Chain()}, shares=shares), market, size=0.3)
    document = to_dict(book)
    parts = [*document["by_rule"], document["reserve"]]
    gain = book.equity.iloc[-1] - book.capital
    for key, whole in {"capital": book.capital, "final_equity": book.equity.iloc[-1], "pnl": gain}.items():
        assert sum(part[key] for part in parts) == pytest.approx(whole, rel=1e-12, abs=1e-6)
    assert document["reserve"]["capital"] == pytest.approx((1.0 - sum(shares)) * 100_000.0)
    final = float(book.reserve.iloc[-1])
    assert re.search(rf"^reserve .*{final:,.2f} ", repr(book), flags=re.MULTILINE)
    assert f"<td>{final:,.2f}</td>".replace("-", "−") in re.sub(r'<td class="\w+">', "<td>", render_html(book))


def test_a_book_without_a_reserve_has_no_row_of_it(market: Market) -> None:
    book = run({"first": Perpetual(), "second": Chain()}, market)
    assert to_dict(book)["reserve"] is None
    assert not re.search("^reserve", repr(book), flags=re.MULTILINE)


def test_narrowed_rules_are_told_apart_on_the_terminal(tmp_path: Path) -> None:
    both = load(tmp_path, bitcoin(ether()))
    book = run([on(Chain(), "ETH*", "ETHUSDT-SPOT"), on(Chain(), "BTC*", "BTCUSDT-SPOT")], both)
    told = repr(book)
    for start in ("Rule by rule", "Entered"):
        block = told[told.index(f"\n{start}") :].split("\n\n")[0]
        assert re.search(r"\b1 Chai", block)
        assert re.search(r"\b2 Chai", block)
    plain = repr(run([on(Chain(), "ETH*"), on(Chain(), "BTC*")], both))
    assert re.search(r"^Chain on ETH\* ", plain, flags=re.MULTILINE)
    assert re.search(r" Chain on BTC\* ", plain[plain.index("\nEntered") :])


def test_a_book_in_two_currencies_says_what_that_does_to_its_cash(market: Market, tmp_path: Path) -> None:
    tables = bitcoin(ether())
    tables.instruments[:] = [replace(item, quote="USDC") if item.id.startswith("BTC") else item for item in tables.instruments]
    both = load(tmp_path, tables)
    book = run([on(Chain(), "ETH*"), on(Chain(), "BTC*")], both)
    told = "MIXED CURRENCIES: the book holds cash in USDT (Chain on ETH*) and USDC (Chain on BTC*): nothing converts it, and all is added one to one."
    assert [note for note in book.notes if "MIXED" in note] == [told]
    assert not any("MIXED" in note for note in run([Perpetual(), Chain()], market).notes)


def test_what_would_have_kept_a_leg_is_not_told_where_others_back_it(market: Market) -> None:
    """In a book with cross margin it hangs on the other rules and on the reserve; with isolated margin, and in a book of one, it is told."""
    squeezed, thin = Rule(long=market.spot, short=market.perpetual, leverage=60.0, size=0.98, resize=None), bt.Execution(maintenance=0.012)
    cross = bt.Execution(margin="cross", maintenance=0.012)
    both, reserved, alone, apart = (
        run([squeezed, squeezed], market, execution=cross),
        run(Book([squeezed], shares=[0.9999]), market, execution=cross),
        run([squeezed], market, execution=cross),
        run([squeezed] * 2, market, execution=thin),
    )
    for book, told in ((both, False), (reserved, False), (alone, True), (apart, True)):
        assert len(book.liquidations) > 0
        assert book.liquidations["cost"].notna().all()
        for name in ("account", "shortfall", "top_up", "saved"):
            assert book.liquidations[name].notna().any() == told, name
        assert ("hang on the cash of the book's other rules" in " ".join(repr(book).split())) != told
