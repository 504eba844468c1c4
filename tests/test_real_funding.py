"""Funding carry on real data: what the perpetual paid by year, what a liquidation is, and that gating by the sign of funding loses to staying in."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from real_sums import (
    CENTS,
    DAY,
    HALF_SPREAD,
    SOURCES,
    Row,
    daily_bars,
    funding_of,
    hourly_bars,
    instant,
    read,
    script,
    strategy,
    trades_of,
    written,
)

import backtest as bt

pytest_plugins = ["real_sets"]

LAST_DAY = "2024-12-31"  # the event of 2025-01-01 00:00 is not in the set
FREE = ("--margin", "off", "--resize", "none", "--spot-fee", "0", "--derivative-fee", "0", "--half-spread", "0")
FEE = {"long": 0.0010, "short": 0.0004}  # spot and derivative, takers at the lowest tier, as at the beginning of 2021
LIQUIDATION_FEE = 0.0125
# up to notional, maintenance rate, deduction: Binance ETHUSDT, September 2021
TIERS = ((10e3, 0.005, 0.0), (100e3, 0.0065, 15.0), (500e3, 0.01, 365.0), (1e6, 0.02, 5_365.0), (2e6, 0.05, 35_365.0))


@pytest.fixture(scope="module")
def daily_events(raw: Path) -> pd.DataFrame:
    """Funding events of 2021 to 2024 with the price that they apply to."""
    return funding_of(raw / "binance-ethusdt-daily" / "funding_ETHUSDT_20210101_20241231.csv", daily_bars(raw, "perp")["close"])


@pytest.fixture(scope="module")
def days(daily_set: Path) -> bt.Market:
    return bt.load_market(str(daily_set), end=LAST_DAY)


def always(market: bt.Market, execution: bt.Execution | None = None, **changes: Any) -> bt.Result:
    """Always in: no thresholds."""
    return bt.run(strategy("funding_carry", enter=None, exit=None), market, execution=execution, **changes)


def year_of(times: pd.Index) -> pd.Index:
    """The year of the instant before each time."""
    return (pd.DatetimeIndex(times) - pd.Timedelta("1ns")).year


# --- what the perpetual paid ------------------------------------------------------------------------------


def test_events_lie_at_eight_hours_and_early_ones_have_no_mark(daily_events: pd.DataFrame) -> None:
    """Marks begin on 2023-10-31 in the file, so both halves of the price rule are used below."""
    assert list(daily_events.index) == list(pd.date_range("2021-01-01", "2024-12-31T16:00", freq="8h", tz="UTC"))
    marked = daily_events[daily_events["mark"].notna()]
    assert (len(marked), marked.index[0]) == (1283, pd.Timestamp("2023-10-31T08:00Z"))
    assert daily_events["price"].isna().sum() == 3  # no bar has ended before the first day's


def test_funding_by_year_equals_an_independent_sum(days: bt.Market, daily_events: pd.DataFrame) -> None:
    """Per unit of entry notional 1.148, 0.046, 0.214 and 0.578 for 2021 to 2024, 1.986 together; a bar's year is that of the instant before its stamp.

    `funding_carry.py --enter none --exit none --margin off --resize none`, no costs, daily bars, `--end 2024-12-31`, entry at 2021-01-02 00:00. The run ends
    as 2024-12-31 begins; the two events of that day make it 0.579.
    """
    result = always(days, bt.Execution(margin=bt.Margin.OFF, spot_fee=0.0, derivative_fee=0.0, half_spread=0.0), resize=None)
    (trade,) = result.trades.to_dict("records")
    assert (trade["entered_at"], trade["entry_short"]) == (pd.Timestamp("2021-01-02T00:00Z"), 729.7)
    paid = result.attribution["funding"].diff().fillna(result.attribution["funding"].iloc[0])
    ours = (paid / (trade["quantity"] * trade["entry_short"])).groupby(year_of(result.attribution.index)).sum()
    held = daily_events[(daily_events.index > trade["entered_at"]) & (daily_events.index <= pd.Timestamp(LAST_DAY, tz="UTC"))]
    theirs = (held["rate"] * held["price"] / 729.7).groupby(year_of(held.index)).sum()
    assert list(ours.index) == list(theirs.index) == [2021, 2022, 2023, 2024]
    assert ours.to_numpy() == pytest.approx(theirs.to_numpy(), abs=1e-9)
    assert theirs.to_numpy() == pytest.approx([1.148, 0.046, 0.214, 0.578], abs=0.0005)
    assert sum(theirs) == pytest.approx(1.986, abs=0.0005)
    last = daily_events[daily_events.index > pd.Timestamp(LAST_DAY, tz="UTC")]
    assert theirs[2024] + (last["rate"] * last["price"] / 729.7).sum() == pytest.approx(0.579, abs=0.0005)


def test_the_script_names_the_missing_event_and_the_end_that_works(daily_set: Path, daily_events: pd.DataFrame, tmp_path: Path) -> None:
    arguments = ("--data", daily_set, "--enter", "none", "--exit", "none", *FREE, "--json", "out.json")
    done = script("funding_carry", tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    told = re.fullmatch(r"error: ETHUSDT-PERP: 1 funding event.* 2025-01-01T00:00Z.*end the run at (\S+) \(--end\)\n", done.stderr)
    assert told is not None, done.stderr
    assert told[1] == "2024-12-31T00:00Z"
    assert list(tmp_path.iterdir()) == []
    done = script("funding_carry", tmp_path, *arguments, "--end", told[1])
    assert (done.returncode, done.stderr) == (0, "")
    document = read(tmp_path / "out.json")
    ((trade, fills),) = trades_of(document)
    held = daily_events[(daily_events.index > instant(trade["entered_at"])) & (daily_events.index <= instant(document["end"]))]
    assert document["attribution"]["funding"] == pytest.approx((held["rate"] * held["price"]).sum() * trade["quantity"], abs=CENTS)
    assert [fill["fee"] + fill["slippage"] for fill in fills] == [0.0, 0.0]
    assert {name for name, cash in document["attribution"].items() if cash} == {"price_long", "price_short", "funding"}


def test_funding_follows_the_quantity_when_it_is_resized(hourly_set: Path, raw: Path, tmp_path: Path) -> None:
    """Hourly 2023-06 to 2025-03, defaults, always in: Σ rate · q · price over 1,947 events is 10,145.26; the size returned to its share 12 times.

    An event at a bar's end finds that bar's own close (no mark in the file for the first 456), and the quantity after that bar's fills.
    """
    with pytest.raises(bt.DataError, match=r"4 funding events are missing, first 2025-03-11T08:00Z.* end the run at 2025-03-11T07:00Z"):
        always(bt.load_market(str(hourly_set)))
    document = written(always(bt.load_market(str(hourly_set), end="2025-03-11T07:00Z")), tmp_path)
    closes = hourly_bars(raw, "ETHUSDT-PERP")["close"]
    events = funding_of(raw / "binance-ethusdt-hourly" / "funding_rates_8h.csv", closes)
    events = events[(events.index > instant(document["fills"][0]["time"])) & (events.index <= instant(document["end"]))]
    fills = [fill for fill in document["fills"] if fill["slot"] == "short"]
    quantity = np.array([sum(fill["quantity"] for fill in fills if instant(fill["time"]) < time) for time in events.index])
    assert (len(events), events["mark"].isna().sum()) == (1947, 456)
    assert [fill["action"] for fill in fills] == ["entry", *["resize"] * 12]
    assert document["attribution"]["funding"] == pytest.approx(-(quantity * events["rate"] * events["price"]).sum(), abs=CENTS)
    assert document["attribution"]["funding"] == pytest.approx(10_145.26, abs=0.005)


# --- liquidation ------------------------------------------------------------------------------------------


def breach(quantity: float, entry: float, funding: float) -> float:
    """The mark at which collateral + funding − quantity·(mark − entry) = quantity·mark·rate − deduction of the tier that it lies in; leverage 1."""
    floor = 0.0
    for bound, rate, deduction in TIERS:
        price = (2 * quantity * entry + funding + deduction) / (quantity * (1 + rate))
        if floor <= quantity * price <= bound:
            return price
        floor = bound
    raise AssertionError("no tier holds the price at which the margin is breached")


def liquidated(trade: Row, entry: float, bars: pd.DataFrame, events: pd.DataFrame) -> tuple[pd.Timestamp, float, float] | None:
    """When and at what price a short is liquidated, and the funding that it had by then; None if it never is."""
    events = events[events.index > instant(trade["entered_at"])]
    flows = events["rate"] * events["price"] * trade["quantity"]
    for time, bar in bars[bars.index > instant(trade["entered_at"])].iterrows():
        funding = float(flows[flows.index <= time].sum())
        price = breach(trade["quantity"], entry, funding)
        if bar["high"] >= price:
            return pd.Timestamp(str(time)), max(price, bar["open"]), funding
    return None


def test_without_resize_the_short_is_liquidated_in_2021(days: bt.Market, raw: Path, daily_events: pd.DataFrame, tmp_path: Path) -> None:
    """Isolated, leverage 1, real fees: twice, in the days that end on 2021-02-04 and 2021-05-05, at 1,561.74 and 3,501.85.

    The first costs a fee of 1,339.10 of which the venue absorbs 632.82 (706.28 remain), the second 1,562.81 less 677.56 (885.25); the spot that stood alone
    until the next open then made 7,157.97 and lost 9,204.29. The third trade, entered at 3,528.74 on 2021-05-06, lives to the end.
    """
    document = written(always(days, resize=None), tmp_path)
    spot, perpetual = daily_bars(raw, "spot"), daily_bars(raw, "perp")
    end = instant(document["end"])
    assert [trade["reason"] for trade in document["trades"]] == ["liquidation", "liquidation", "end of data"]
    for trade, fills in trades_of(document):
        quantity, entry, bars = trade["quantity"], trade["entry_short"] * (1 - HALF_SPREAD), perpetual[perpetual.index <= end]
        found = liquidated(trade, entry, bars, daily_events)
        assert entry == pytest.approx(fills[1]["price"], abs=1e-9)
        if trade["reason"] == "end of data":
            assert found is None
            continue
        assert found is not None
        time, price, funding = found
        assert (instant(trade["exited_at"]), instant(fills[2]["time"]), fills[2]["action"]) == (time, time, "liquidation")
        assert fills[2]["price"] == pytest.approx(price, abs=1e-9)
        assert trade["exit_long"] == spot["open"][time + DAY] == fills[3]["reference"]
        fee = LIQUIDATION_FEE * quantity * price
        assert fills[2]["fee"] == pytest.approx(fee, abs=CENTS)
        left = quantity * entry + funding - quantity * (price - entry) - fee
        parted = price * spot["close"][time] / perpetual["close"][time]
        expected = dict.fromkeys(SOURCES, 0.0) | {
            "price_long": quantity * (parted - trade["entry_long"]),
            "price_short": -quantity * (price - trade["entry_short"]),
            "legging": quantity * (trade["exit_long"] - parted),
            "funding": funding,
            "fees": -quantity
            * (
                FEE["long"] * trade["entry_long"] * (1 + HALF_SPREAD)
                + FEE["short"] * entry
                + FEE["long"] * trade["exit_long"] * (1 - HALF_SPREAD)
            ),
            "slippage": -quantity * HALF_SPREAD * (trade["entry_long"] + trade["entry_short"] + trade["exit_long"]),
            "liquidation": -fee + max(0.0, -left),
        }
        assert trade["attribution"] == pytest.approx(expected, abs=CENTS)
        assert trade["pnl"] == pytest.approx(sum(expected.values()), abs=CENTS)
    figures = [(trade["exited_at"][:10], round(trade["exit_short"], 2)) for trade in document["trades"][:2]]
    assert figures == [("2021-02-04", 1561.74), ("2021-05-05", 3501.85)]
    cost = [[round(trade["attribution"][name], 2) for name in ("liquidation", "legging")] for trade in document["trades"][:2]]
    assert cost == [[-706.28, 7157.97], [-885.25, -9204.29]]


def test_the_report_says_when_it_was_liquidated_and_what_it_cost(days: bt.Market, tmp_path: Path) -> None:
    """The table and the page name both liquidations with time, price, fee and cost; the page their fees, of which the venue took what is not 1,591.53."""
    result = always(days, resize=None)
    result.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = page[page.index("<h2>Liquidations</h2>") :].split("</section>")[0]
    assert "Fees cost 2,901.91 USDT, of which the venue absorbed 1,310.38" in section  # 706.28 + 885.25 are left
    rows = [
        ("2021-02-04 00:00", "1,561.74", "−1,339.10", "632.82", "7,157.97", "6,451.68"),  # time, price, fee, absorbed, legging, cost
        ("2021-05-05 00:00", "3,501.85", "−1,562.81", "677.56", "−9,204.29", "−10,089.54"),
    ]
    for row in rows:
        line = next(line for line in section.split("<tr>") if row[0] in line)
        assert all(f">{cell}<" in line for cell in row), line
    printed = repr(result).split("2 LIQUIDATIONS")[1]
    for when, price, *_, cost in rows:
        line = next(line for line in printed.splitlines() if line.startswith(when))
        assert f" {price} " in line
        assert f" {cost.replace('−', '-')} " in line


# --- gating -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def final(daily_set: Path) -> Callable[[str | None, str | None], bt.Result]:
    """Always in (window None) or gated by the sign of funding over a window, with the default resize and margin, and the fees of the first day throughout."""

    @cache
    def run(window: str | None, start: str | None) -> bt.Result:
        market = bt.load_market(str(daily_set), start, LAST_DAY)
        gate = {"enter": None, "exit": None} if window is None else {"enter": 1e-9, "exit": 0.0, "window": window}
        return bt.run(strategy("funding_carry", **gate), market, execution=bt.Execution(derivative_fee=0.0004))

    return run


@pytest.mark.parametrize(("window", "gated", "trades"), [("8h", 116_270.64, 108), ("7D", 131_280.48, 18), ("30D", 130_183.92, 5)])
def test_gating_by_the_sign_of_funding_ends_below_staying_in(
    final: Callable[[str | None, str | None], bt.Result], window: str, gated: float, trades: int
) -> None:
    """2021–24, 100,000 at first: staying in ends at 135,707.26; the sign of the last rate 116,270.64, of 7 days 131,280.48, of 30 days 130,183.92."""
    steady, gate = final(None, None), final(window, None)
    ends = {"always": round(float(steady.equity.iloc[-1]), 2), window: round(float(gate.equity.iloc[-1]), 2)}
    assert ends[window] < ends["always"], ends
    assert (ends, len(gate.trades)) == ({"always": 135_707.26, window: gated}, trades)
    assert list(steady.trades["reason"]) == ["end of data"]
    assert set(gate.trades["reason"]) == {"signal", "end of data"}


@pytest.mark.parametrize(("window", "gated"), [("8h", 111_446.18), ("7D", 127_579.03), ("30D", 130_020.89)])
def test_the_gates_lose_too_where_all_windows_are_full_from_the_first_day(
    final: Callable[[str | None, str | None], bt.Result], window: str, gated: float
) -> None:
    """The longer windows miss the rich January of 2021 while they fill. From 2021-01-31 on: always 130,076.31, then 111,446.18, 127,579.03, 130,020.89."""
    ends = {name: round(float(final(name, "2021-01-31").equity.iloc[-1]), 2) for name in (None, window)}
    assert ends[window] < ends[None], ends
    assert ends == {None: 130_076.31, window: gated}


@pytest.mark.parametrize("window", ["8h", "7D", "30D"])
def test_a_gate_follows_the_sums_of_the_raw_rates(
    final: Callable[[str | None, str | None], bt.Result], daily_events: pd.DataFrame, window: str
) -> None:
    """In after the first close at which the window's rates sum to more than 0, out after the first at which they don't; no window before it is full."""
    result, span = final(window, None), pd.Timedelta(window)
    stamps, rates = pd.DatetimeIndex(result.equity.index), daily_events["rate"]
    sums = [rates[(rates.index > time - span) & (rates.index <= time)].sum() * (365 * DAY / span) for time in stamps]
    full = stamps - span >= rates.index[0] - pd.Timedelta("8h")
    held, expected = False, []
    for paid, ready in zip(sums, full, strict=True):
        held = ready and (paid > 0.0 if held else paid >= 1e-9)
        expected.append(held)
    assert list((result.positions["short_quantity"] < 0.0)[1:]) == expected[:-1]  # what a close decides is held at the next one
