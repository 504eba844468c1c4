"""The scripts on real prices: that they run, that what is called hedged is hedged, what they made beside T-bills, and that strategies/README.md says so."""

import contextlib
import io
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from real_sums import CENTS, EXPIRIES, HOUR, ROOT, Document, daily_bars, funding_of, hourly_bars, instant, read, strategy, tbill, yearly

import backtest as bt
from backtest import cli

pytest_plugins = ["real_sets"]

PAGE = (ROOT / "strategies" / "README.md").read_text(encoding="utf-8")
END, LAST_DAY = "2025-03-11T07:00Z", "2024-12-31T00:00Z"  # the events of 2025-03-11 08:00 and of 2025-01-01 00:00 are not in the sets
RUN: Mapping[str, tuple[str, ...]] = {  # the flags without which the data don't allow a run
    "cash_and_carry": (),
    "funding_carry": (),
    "calendar_spread": (),
    "futures_vs_perpetual": (),
    "mean_reversion": ("--grown", "no"),
    "trend_following": (),
}
NEUTRAL = ("cash_and_carry", "funding_carry", "calendar_spread")
COLUMNS = ("total_return", "no_interest", "zero cost", "double cost", "max_drawdown", "spot_beta", "trades", "time_in_market")
GATES: dict[str, dict[str, Any]] = {"always on": {"enter": None, "exit": None}, "sign-gated": {"sign_gated": True}}


@dataclass(frozen=True)
class Run:
    """What a script left: what it printed, its JSON and its report."""

    printed: str
    document: Document
    page: str


def owner(name: str) -> type[bt.Strategy]:
    """The class that a script defines."""
    found: type[bt.Strategy] = type(strategy(name))
    return found


def started(name: str, folder: Path, *arguments: object) -> Run:
    """A script with these flags, in this process; whatever it writes by default lands in `folder`."""
    out = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out):
        bt.main(owner(name), [*map(str, arguments), "--json", "run.json"])
    return Run(out.getvalue(), read(folder / "run.json"), (folder / "reports" / f"{name}.html").read_text(encoding="utf-8"))


def refused(name: str, folder: Path, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a script says that can't run; it leaves nothing."""
    with contextlib.chdir(folder), pytest.raises(SystemExit) as ended:
        bt.main(owner(name), [*map(str, arguments)])
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out, list(folder.iterdir())) == (2, "", [])
    return printed.err


@pytest.fixture(scope="module")
def data(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the page's own commands have made the datasets."""
    folder = tmp_path_factory.mktemp("page")
    commands = [line for line in block("sh").splitlines() if line.startswith("carry ")]
    assert len(commands) == 2
    with contextlib.chdir(folder):
        for line in commands:
            assert cli.main([word.replace("RAW", str(raw)) for word in shlex.split(line)[1:]]) == 0
    return folder / "data"


@pytest.fixture(scope="module")
def market(data: Path) -> bt.Market:
    return bt.load_market(str(data / "hourly"), end=END)


@pytest.fixture(scope="module")
def days(data: Path) -> bt.Market:
    return bt.load_market(str(data / "daily"), end=LAST_DAY)


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """A script on the hourly set, with its own flags."""

    @cache
    def run(name: str) -> Run:
        return started(name, tmp_path_factory.mktemp(name), "--data", data / "hourly", "--end", END, *RUN[name])

    return run


@pytest.fixture(scope="module")
def plain(market: bt.Market) -> Callable[[str], bt.Result]:
    """The same run with cash that earns nothing."""

    @cache
    def run(name: str) -> bt.Result:
        parameters: dict[str, Any] = {"grown": False} if name == "mean_reversion" else {}
        result: bt.Result = bt.run(strategy(name, **parameters), market, execution=bt.Execution(idle_rate=0.0))
        return result

    return run


@pytest.fixture(scope="module")
def gates(days: bt.Market) -> Mapping[str, bt.Result]:
    """Funding carry by the day, always on and gated by the sign of a week's funding."""
    return {name: bt.run(strategy("funding_carry", **parameters), days) for name, parameters in GATES.items()}


# ---------------------------------------------------------------- every script, where the data allow it


def test_all_scripts_are_here() -> None:
    assert {*RUN, "reverse_carry"} == {file.stem for file in (ROOT / "strategies").glob("*.py")}


@pytest.mark.parametrize("name", RUN)
def test_a_script_gives_a_table_a_report_and_json_that_state_interest_and_t_bills(name: str, runs: Callable[[str], Run]) -> None:
    run = runs(name)
    document, told = run.document, run.printed
    assert document["trades"]
    assert document["liquidations"] == []
    assert sum(document["attribution"].values()) == pytest.approx(document["final_equity"] - document["capital"], abs=CENTS)
    assert document["attribution"]["idle_cash"] > 0.0
    assert "Idle cash earns the dataset's series risk_free, 4.99% a year on average." in told
    (bills,) = (row for row in document["baselines"] if row["name"] == "T-bills")
    assert re.search(rf"^T-bills +{bills['final_equity']:,.2f} +{bills['total_return']:.2%} ", told, re.M)
    assert re.search(rf"^interest on idle cash +{document['attribution']['idle_cash']:,.2f} ", told, re.M)
    assert document["baselines_left_out"] == {}
    assert "T-bills" in run.page
    assert "<svg" in run.page


@pytest.mark.parametrize("name", RUN)
def test_without_interest_the_same_trades_make_less_by_that_interest(
    name: str, runs: Callable[[str], Run], plain: Callable[[str], bt.Result]
) -> None:
    """Entries and exits are the same: the T-bill is still what money costs. Sizes differ, as each trade has its share of another equity."""
    billed, other = runs(name).document, plain(name)
    assert other.attribution["idle_cash"].iloc[-1] == 0.0
    when = [(instant(row["entered_at"]), row["contract"], row["reason"]) for row in billed["trades"]]
    assert when == list(other.trades[["entered_at", "contract", "reason"]].itertuples(index=False, name=None))
    lost = billed["final_equity"] - float(other.equity.iloc[-1])
    assert lost == pytest.approx(billed["attribution"]["idle_cash"], rel=0.1)
    assert lost > 0.0


def test_t_bills_of_the_time_are_those_of_the_raw_file(runs: Callable[[str], Run], raw: Path) -> None:
    """The rate known as each hour begins, ACT/365, joined to the principal at midnight; known at 16:15 in Washington, two weekdays after its day."""
    (bills,) = (row for row in runs("cash_and_carry").document["baselines"] if row["name"] == "T-bills")
    stamps = pd.DatetimeIndex(hourly_bars(raw, "ETHUSDT-SPOT").index)
    stamps = stamps[stamps <= instant(END)]
    rates = tbill(raw)
    known = (pd.DatetimeIndex(rates.index).tz_localize(None) + 2 * pd.offsets.BDay() + pd.Timedelta("16h15min")).tz_localize(
        "America/New_York"
    )
    hourly = yearly(rates.set_axis(known.tz_convert("UTC").as_unit("ns")), pd.Timedelta(0), stamps) * (HOUR / pd.Timedelta("365D"))
    by_day = hourly.groupby((stamps - pd.Timedelta("1ns")).floor("D")).sum().to_numpy()
    assert bills["total_return"] == pytest.approx(float(np.prod(1.0 + by_day)) - 1.0, abs=1e-12)
    assert bills["total_return"] == pytest.approx(0.0929, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "flags", "told"),
    [
        ("reverse_carry", (), r'error: .*needs the series "borrow_base", which dataset hourly lacks; import it'),
        ("reverse_carry", ("--own-coins", "yes"), r'error: .*needs the series "staking_yield", which dataset hourly lacks; import it'),
        ("mean_reversion", (), r"error: the chain ETHUSDT-230929 … ETHUSDT-250627 has no open interest in dataset hourly; import a "),
    ],
)
def test_a_script_says_what_the_data_lack(
    name: str, flags: tuple[str, ...], told: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.match(told, refused(name, tmp_path, capsys, "--data", data / "hourly", "--end", END, *flags))


def test_reverse_carry_runs_where_there_is_a_staking_yield_and_finds_nothing(rates_set: Path, tmp_path: Path) -> None:
    """3 to 4 % a year that one's own coins would give up, on a curve that was never 2.6 % a year below spot."""
    run = started("reverse_carry", tmp_path, "--data", rates_set, "--end", END, "--own-coins", "yes")
    assert run.document["trades"] == []
    assert "ReverseCarry" in run.printed


def test_cash_and_carry_runs_on_cmes_clock(joined_set: Path, tmp_path: Path) -> None:
    """Monthly futures, charged by the piece. One leg stands alone for a bar after a settlement, a liquidation, or where the other did not trade."""
    chosen = shlex.split("--instruments *.cme ETHUSDT-SPOT --clock *.cme --start 2023-06-01 --end 2025-03-12T15:00")
    venue = shlex.split(
        "--cost 0.004 --derivative-fee 0.0008 --delivery-fee 0.0008 --liquidation-fee 0 --maintenance 0.3"
    )  # 0.2 USD on 0.1 ETH
    run = started("cash_and_carry", tmp_path, "--data", joined_set, *chosen, *venue)
    document = run.document
    assert (len(document["trades"]), len(document["liquidations"])) == (16, 1)
    assert {row["contract"][-4:] for row in document["trades"]} == {".cme"}
    assert "MIXED CURRENCIES" in run.printed
    assert abs(document["metrics"]["spot_beta"]) <= 0.03
    assert 0.95 < document["metrics"]["hedged_share"] < 1.0


# ---------------------------------------------------------------- hedged in fact


@pytest.mark.parametrize("name", NEUTRAL)
def test_both_legs_hold_the_same_base_quantity_at_every_hedged_bar(name: str, market: bt.Market) -> None:
    """A leg stands alone at the closes of expiries only: the future settles at 08:00, and spot is sold at the next open, which is that instant."""
    result = bt.run(strategy(name), market)
    long, short = (result.positions[f"{slot}_quantity"] for slot in ("long", "short"))
    both, alone = (long != 0.0) & (short != 0.0), (long != 0.0) ^ (short != 0.0)
    assert both.sum() > 1000
    assert (abs(long + short)[both] <= 1e-9 * abs(long)[both]).all()
    settled = [row["exited_at"] for _, row in result.trades.iterrows() if row["reason"] == "expiry"]
    assert list(alone.index[alone]) == settled
    assert set(settled) <= set(EXPIRIES.values())
    assert len(settled) == (2 if name == "cash_and_carry" else 0)
    assert result.metrics["hedged_share"] == pytest.approx(both.sum() / (both | alone).sum(), abs=1e-12)


@pytest.mark.parametrize("name", NEUTRAL)
def test_daily_pnl_has_no_beta_to_spot_and_the_report_says_so(
    name: str, runs: Callable[[str], Run], plain: Callable[[str], bt.Result], raw: Path
) -> None:
    """From the JSON's equity at midnights and the raw spot: the slope of daily return on the spot's."""
    run = runs(name)
    beta, daily = run.document["metrics"]["spot_beta"], run.document["daily"]
    equity = pd.Series(daily["equity"], index=pd.to_datetime(daily["time"], utc=True))
    spot = hourly_bars(raw, "ETHUSDT-SPOT")["close"].reindex(equity.index)
    moves = pd.DataFrame({"spot": spot.pct_change(), "equity": equity.pct_change()}).dropna().to_numpy()
    assert len(moves) > 600
    assert beta == pytest.approx(np.polyfit(moves[:, 0], moves[:, 1], 1)[0], abs=1e-9)
    assert abs(beta) <= 0.03
    assert abs(plain(name).metrics["spot_beta"]) <= 0.03
    assert re.search(rf"beta to spot +{beta:.4f}$", run.printed, re.M)
    assert f"beta to spot</i><b>{shown('spot_beta', beta)}</b>" in run.page


# ---------------------------------------------------------------- the daily contrast


def by_year(values: "pd.Series[float]") -> "pd.Series[float]":
    """What a cumulated value gained in each year; a bar's year is that of the instant before its stamp."""
    last = values.groupby((pd.DatetimeIndex(values.index) - pd.Timedelta("1ns")).year).last()
    return last.diff().fillna(last.iloc[0])


def contrast(result: bt.Result) -> pd.DataFrame:
    """Funding and return of each year, of the equity at its beginning."""
    gained, paid = by_year(result.equity - result.capital), by_year(result.attribution["funding"])
    begun = result.capital + gained.cumsum() - gained
    return pd.DataFrame({"funding": paid / begun, "return": gained / begun})


def test_funding_is_near_zero_in_2022_and_best_in_2021(gates: Mapping[str, bt.Result]) -> None:
    """On half of the equity, with resize: 22.0, 0.4, 4.5 and 7.0 % of the equity at the year's beginning."""
    paid = contrast(gates["always on"])["funding"]
    assert list(paid.index) == [2021, 2022, 2023, 2024]
    assert paid.to_numpy() == pytest.approx([0.2203, 0.0043, 0.0447, 0.0697], abs=5e-5)
    assert 0.0 < paid[2022] < 0.01
    assert paid.idxmax() == 2021
    actions = gates["always on"].fills["action"].value_counts()
    assert actions["entry"] == 2
    assert actions["resize"] > 20


def test_funding_by_year_follows_from_the_fills_and_the_raw_rates(gates: Mapping[str, bt.Result], raw: Path) -> None:
    result = gates["always on"]
    events = funding_of(raw / "binance-ethusdt-daily" / "funding_ETHUSDT_20210101_20241231.csv", daily_bars(raw, "perp")["close"])
    fills = result.fills[result.fills["slot"] == "short"]
    events = events[(events.index > fills["time"].iloc[0]) & (events.index <= instant(LAST_DAY))]
    sold = [fills["quantity"][fills["time"] < time].sum() for time in events.index]
    theirs = by_year((-np.array(sold) * events["rate"] * events["price"]).cumsum())
    assert by_year(result.attribution["funding"]).to_numpy() == pytest.approx(theirs.to_numpy(), abs=1e-6)


@pytest.mark.parametrize(("start", "ends"), [(None, (135_661.82, 131_059.19)), ("2021-01-31", (130_032.76, 127_363.98))])
def test_sign_gating_after_costs_loses_to_holding(
    start: str | None, ends: tuple[float, float], data: Path, gates: Mapping[str, bt.Result]
) -> None:
    """By the script's own gate, over the whole set and from where its window is full on the first day."""
    days = bt.load_market(str(data / "daily"), start, LAST_DAY)
    results = [gates[name] if start is None else bt.run(strategy("funding_carry", **GATES[name]), days) for name in GATES]
    assert [float(result.equity.iloc[-1]) for result in results] == pytest.approx(ends, abs=0.005)
    assert ends[1] < ends[0]
    held, gated = (result.attribution.iloc[-1] for result in results)
    assert gated["fees"] < 3.0 * held["fees"] < 0.0
    assert [len(result.trades) for result in results] == [1, 18]


# ---------------------------------------------------------------- the page


def block(language: str) -> str:
    """The page's only block of code in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    return str(found)


def table(heading: str) -> Iterator[list[str]]:
    """The cells of a table of the page, by how its heading begins."""
    for line in PAGE[PAGE.index(heading) :].splitlines()[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip().strip("`") for cell in line.strip("|").split("|")]


def paragraph(begins: str) -> str:
    """A paragraph or an item of the page, by how it begins."""
    return re.split(r"\n- |\n\n", PAGE[PAGE.index(begins) + len(begins) :])[0]


def figures(text: str) -> list[str]:
    """The numbers of a text that aren't parts of names or dates."""
    return re.findall(r"(?<![\w.,-])[−-]?\d(?:[\d,]*\d)?(?:\.\d+)?%?(?![\w-])", text)


def shown(name: str, value: float) -> str:
    """A value as the page has it."""
    return (f"{value:.4f}" if name == "spot_beta" else f"{value:.0f}" if name == "trades" else f"{value:.2%}").replace("-", "−")


def test_the_table_is_what_the_scripts_make(runs: Callable[[str], Run], plain: Callable[[str], bt.Result]) -> None:
    expected = []
    for name in RUN:
        document = runs(name).document
        told = {"no_interest": plain(name).metrics["total_return"]} | document["metrics"]
        told |= {row["name"]: row["total_return"] for row in document["baselines"]}
        expected.append([name, *(shown(column, told[column]) for column in COLUMNS)])
    beside = {row["name"]: row for row in runs("cash_and_carry").document["baselines"]}
    expected += [
        [name, shown("", beside[name]["total_return"]), "", "", "", shown("", beside[name]["max_drawdown"]), "", "", ""]
        for name in ("T-bills", "hold spot")
    ]
    assert list(table("| script |")) == expected
    bills = beside["T-bills"]["total_return"]
    above = [sum(value > bills for value in values) for values in zip(*map(both_returns(runs, plain), RUN), strict=True)]
    numbers = ["none", "one", "two", "three", "four", "five", "six"]
    assert f"with interest on idle cash {numbers[above[0]]} of the {numbers[len(RUN)]} made more" in PAGE
    assert f"without it {numbers[above[1]]} did" in PAGE


def both_returns(runs: Callable[[str], Run], plain: Callable[[str], bt.Result]) -> Callable[[str], tuple[float, float]]:
    """The total return of a script with interest on idle cash, and without."""
    return lambda name: (runs(name).document["metrics"]["total_return"], plain(name).metrics["total_return"])


def told_figures(name: str, document: Document, plain: bt.Result) -> list[str]:
    """The figures of what the page says on a strategy, in their order; those of trades are without interest."""
    pnl = plain.trades["pnl"].to_numpy() / plain.capital
    won, source = f"{(pnl > 0.0).sum()} of {len(pnl)}".split(" of "), document["attribution"]
    if name == "cash_and_carry":
        return [*won, "8%"]
    if name == "funding_carry":
        (bills,) = (row for row in document["baselines"] if row["name"] == "T-bills")
        over = document["metrics"]["total_return"] - bills["total_return"]
        return [shown("", source["funding"] / document["capital"]), shown("", over), "21"]
    if name == "calendar_spread":
        return [*won, shown("", pnl.max()), shown("", plain.metrics["total_return"]), "2024"]
    if name == "futures_vs_perpetual":
        return [*won, shown("", -pnl.min()), "2024"]
    if name == "mean_reversion":
        late, sold = (plain.trades["reason"] == "time").sum(), (plain.trades["side"] == -1).sum()
        return [str(late), str(len(pnl)), "2024", str(sold)]
    return [*won, shown("", -source["funding"] / document["capital"])]


@pytest.mark.parametrize("name", RUN)
def test_what_is_said_on_a_strategy_has_its_figures(name: str, runs: Callable[[str], Run], plain: Callable[[str], bt.Result]) -> None:
    assert figures(paragraph(f"- `{name}`")) == told_figures(name, runs(name).document, plain(name))


def test_how_often_the_curve_was_below_spot(market: bt.Market) -> None:
    chain = market.future_chain(min_days=14.0)
    premium = bt.annualized_premium(market, chain)
    offered = ~np.isnan(premium) & (bt.days_to_expiry(market, chain) >= 14.0)
    near = np.argmax(offered, axis=0)  # contracts stand in the order of their expiry
    values = premium[near, np.arange(len(market))]
    values = values[~np.isnan(values)]
    told = [f"{len(values):,}", "14", str((values < 0.0).sum()), shown("", -values.min())]
    assert figures(paragraph("- `reverse_carry`")) == told


def test_the_years_are_what_the_runs_make(gates: Mapping[str, bt.Result], data: Path) -> None:
    years = [contrast(result) for result in gates.values()]
    columns = [one[column].to_numpy() for column in ("funding", "return") for one in years]
    expected = [[str(year), *(shown("", column[number]) for column in columns)] for number, year in enumerate((2021, 2022, 2023, 2024))]
    ends = [result.attribution["funding"].iloc[-1] / result.capital for result in gates.values()]
    ends += [result.metrics["total_return"] for result in gates.values()]
    rows = list(table("| year |"))
    assert rows[:-1] == expected
    assert rows[-1][1:] == [shown("", value) for value in ends]
    days = bt.load_market(str(data / "daily"), "2021-01-31", LAST_DAY)
    later = [shown("", bt.run(strategy("funding_carry", **GATES[name]), days).metrics["total_return"]) for name in reversed(GATES)]
    trades = [str(len(gates[name].trades)) for name in reversed(GATES)]
    assert figures(paragraph("The gate avoided")) == ["2022", *trades, "2021", *later]


def test_the_commands_of_the_page_make_these_figures(data: Path, plain: Callable[[str], bt.Result], gates: Mapping[str, bt.Result]) -> None:
    """The first two have made the sets of this file; those with a script's own flags are the runs of the table. The others are started here."""
    commands = [shlex.split(line) for line in block("sh").splitlines() if line.startswith("python ")]
    assert all((ROOT / file).exists() for _, file, *_ in commands)
    hourly = ["--data", "data/hourly", "--end", END]
    asked = [(Path(file).stem, flags) for _, file, *flags in commands]
    others = [(name, flags) for name, flags in asked if flags != [*hourly, *RUN[name]]]
    assert [name for name, flags in asked if (name, flags) not in others] == ["cash_and_carry", "mean_reversion"]
    expected = [plain("cash_and_carry"), *gates.values()]
    for (name, flags), result in zip(others, expected, strict=True):
        document = started(name, data.parent, *flags).document
        assert document["final_equity"] == pytest.approx(float(result.equity.iloc[-1]), abs=CENTS)


def test_the_page_has_no_path_of_a_machine_and_is_short() -> None:
    assert len(PAGE.splitlines()) <= 100
    assert not re.search(r"(^|[\s`(])/\w", PAGE)
