"""Sums made from the raw files and a run's JSON alone.

What recomputes a run imports nothing of the package: it reads CSV files, fills and trades, and does the arithmetic of the semantics once more, by
trades and pandas instead of by bars.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
HOUR, DAY, YEAR = pd.Timedelta("1h"), pd.Timedelta("1D"), pd.Timedelta("365D")
CAPITAL = 100_000.0
CENTS = 1e-7  # what two ways of adding the same numbers may differ by, in USDT
EXPIRIES = {
    date: pd.Timestamp(f"20{date[:2]}-{date[2:4]}-{date[4:]}T08:00Z")
    for date in ("230929", "231229", "240329", "240628", "240927", "241227", "250328", "250627")
}
SOURCES = (
    "price_long",
    "price_short",
    "legging",
    "funding",
    "financing",
    "idle_cash",
    "borrow",
    "staking",
    "fees",
    "slippage",
    "settlement",
    "liquidation",
)
FEE = {"long": 0.0010, "short": 0.0005}  # spot and derivative, takers at the lowest tier
DELIVERY_FEE, HALF_SPREAD = 0.0005, 0.0001
STAKING_ROWS = "day,percent\n2023-05-31,4.0\n2023-12-15,3.6\n2024-05-01,3.2\n2025-01-15,3.0\n"

Document = dict[str, Any]
Row = Mapping[str, Any]


# --- runs -------------------------------------------------------------------------------------------------


def script(name: str, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A strategy's script in a process of its own, as a user starts it; whatever it writes by default lands in `folder`."""
    command = [sys.executable, str(ROOT / "strategies" / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False
    )


def strategy(name: str, **parameters: Any) -> Any:
    """An instance of the strategy that a script defines (its class is the script's name in capitals)."""
    specification = importlib.util.spec_from_file_location(f"real_{name}", ROOT / "strategies" / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return getattr(module, name.title().replace("_And_", "And").replace("_", ""))(**parameters)


def written(result: Any, folder: Path) -> Document:
    """The JSON of a run, by way of the disk."""
    result.to_json(folder / "run.json")
    return read(folder / "run.json")


def read(file: Path) -> Document:
    """A JSON file."""
    document: Document = json.loads(file.read_text(encoding="utf-8"))
    return document


# --- the raw files ----------------------------------------------------------------------------------------


def bars_of(file: Path, length: pd.Timedelta = HOUR) -> pd.DataFrame:
    """open, high, low, close of a kline file, by the end of each bar; the files stamp its start."""
    table = pd.read_csv(file)
    ends = pd.DatetimeIndex(pd.to_datetime(table.iloc[:, 0], utc=True)).as_unit("ns") + length
    return table.rename(columns=str.lower)[["open", "high", "low", "close"]].set_index(ends.rename("ts"))


def hourly_bars(raw: Path, instrument: str) -> pd.DataFrame:
    """Bars of one instrument of the hourly set, dated ones up to their delivery."""
    key = instrument.removeprefix("ETHUSDT-")
    name = {"SPOT": "spot", "PERP": "perps"}.get(key, f"futures_contracts/{key}")
    table = bars_of(raw / "binance-ethusdt-hourly" / f"{name}.csv")
    return table[table.index <= EXPIRIES[key]] if key in EXPIRIES else table


def daily_bars(raw: Path, kind: str) -> pd.DataFrame:
    """Bars of the daily set; kind: spot or perp."""
    return bars_of(raw / "binance-ethusdt-daily" / f"{kind}_ETHUSDT_1d_20210101_20241231.csv", DAY)


def funding_of(file: Path, closes: pd.Series) -> pd.DataFrame:
    """Rate, mark and price of the funding events of a file: the event's own mark, else the last close known at it."""
    table = pd.read_csv(file)
    times = pd.DatetimeIndex(pd.to_datetime(table.iloc[:, 1], utc=True, format="ISO8601")).round("s").as_unit("ns")
    events = pd.DataFrame({"rate": table.iloc[:, 2].to_numpy(), "mark": table.iloc[:, 3].to_numpy(np.float64)}, index=times)
    known = np.array([last_known(closes, time) for time in events.index])
    return events.assign(price=np.where(events["mark"].isna(), known, events["mark"]))


def last_known(values: pd.Series, time: pd.Timestamp) -> float:
    """The value at `time` or the last one before; NaN before the first."""
    place = values.index.searchsorted(time, side="right") - 1
    return float(values.iloc[place]) if place >= 0 else np.nan


def yearly(observations: pd.Series, delay: pd.Timedelta, stamps: pd.DatetimeIndex) -> pd.Series:
    """A yearly rate in each hour: the last observation known when it began; 0 before the first."""
    known = pd.Series(observations.to_numpy(), index=pd.DatetimeIndex(observations.index) + delay).dropna().sort_index()
    begins = pd.DataFrame({"begin": stamps - HOUR})
    told = pd.merge_asof(begins, known.rename("rate").rename_axis("known").reset_index(), left_on="begin", right_on="known")
    return pd.Series(told["rate"].fillna(0.0).to_numpy(), index=stamps)


def tbill(raw: Path) -> pd.Series:
    """The 3-month T-bill as a fraction, by the day of its observation."""
    table = pd.read_csv(raw / "rates" / "DTB3.csv", index_col=0)
    return pd.Series(table["DTB3"].to_numpy(np.float64) / 100, index=pd.to_datetime(table.index, utc=True).as_unit("ns"))


def staking_yield() -> pd.Series:
    """The steps of `STAKING_ROWS` as fractions."""
    rows = [line.split(",") for line in STAKING_ROWS.split()[1:]]
    return pd.Series([float(percent) / 100 for _, percent in rows], index=pd.to_datetime([day for day, _ in rows], utc=True).as_unit("ns"))


# --- a run once more, from its JSON -----------------------------------------------------------------------


def instant(text: str | None) -> pd.Timestamp:
    """A time of the JSON; NaT for null."""
    return pd.Timestamp(text if text is not None else "NaT").as_unit("ns")


def fills_of(document: Document, number: int) -> list[Row]:
    """The fills of one trade, in order."""
    return [fill for fill in document["fills"] if fill["trade"] == number]


def trades_of(document: Document) -> Iterator[tuple[Row, list[Row]]]:
    """Each trade with its fills."""
    for number, trade in enumerate(document["trades"]):
        yield trade, fills_of(document, number)


def prices(document: Document, trade: Row, spot: pd.Series, future: pd.Series) -> tuple[float, float, float]:
    """price_long, price_short and legging of a trade in spot and a dated future.

    Settled: the spot counts to its close at the expiry, and what it makes from there to its sale is legging. Left by the rule: both legs go
    at one open. Still open: both at the last close.
    """
    quantity, end = trade["quantity"], instant(document["end"])
    if trade["reason"] == "expiry":
        parted, out, settled = spot[EXPIRIES[trade["contract"][-6:]]], trade["exit_long"], trade["settlement_price"]
    elif trade["reason"] == "end of data":
        parted = out = spot[end]
        settled = future[end]
    else:
        parted = out = trade["exit_long"]
        settled = trade["exit_short"]
    return quantity * (parted - trade["entry_long"]), -quantity * (settled - trade["entry_short"]), quantity * (out - parted)


def costs(fills: Sequence[Row]) -> dict[str, float]:
    """fees, slippage and settlement of fills, from quantities, references and the venue's rates alone."""
    total = dict.fromkeys(("fees", "slippage", "settlement"), 0.0)
    for fill in fills:
        size, reference = abs(fill["quantity"]), fill["reference"]
        if fill["action"] == "settlement":
            total["settlement"] -= DELIVERY_FEE * size * reference
        else:
            paid = reference * (1 + HALF_SPREAD if fill["quantity"] > 0 else 1 - HALF_SPREAD)
            total["fees"] -= FEE[fill["slot"]] * size * paid
            total["slippage"] -= HALF_SPREAD * size * reference
    return total


@dataclass(frozen=True)
class Stretch:
    """The time between two fills: which trade is on (None while flat), and the balance that bears interest in it."""

    begin: pd.Timestamp
    end: pd.Timestamp
    trade: int | None
    balance: float
    interest: float


def stretches(document: Document, paid: pd.Series, earned: pd.Series, coin: pd.Series) -> list[Stretch]:
    """Walk through the fills of a run in spot and dated futures as a bookkeeper does.

    The balance is cash less collateral (the futures' notional at entry, leverage 1); the fee of each fill, the gain of a closed future, and the interest and
    staking so far are in the cash. paid, earned: yearly rates on debt and on a credit in each hour, by the hour's end; coin: what staking pays on one coin.
    """
    cash, collateral, short_entry, coins = document["capital"], 0.0, 0.0, 0.0
    last, on, rows = instant(document["start"]), None, []
    for place, fill in enumerate([*document["fills"], None]):
        time = instant(fill["time"] if fill is not None else document["end"])
        balance, hours = cash - collateral, (earned.index > last) & (earned.index <= time)
        interest = balance * float((earned if balance > 0 else paid)[hours].sum()) * (HOUR / YEAR)
        rows.append(Stretch(last, time, on, balance, interest))
        cash, last = cash + interest + coins * float(coin[hours].sum()) * (HOUR / YEAR), time
        if fill is None:
            break
        cash -= fill["fee"]
        if fill["slot"] == "long":
            cash, coins = cash - fill["quantity"] * fill["price"], coins + fill["quantity"]
        elif fill["action"] == "entry":
            short_entry, collateral = fill["price"], abs(fill["quantity"]) * fill["price"]
        else:
            cash, collateral = cash + fill["quantity"] * (short_entry - fill["price"]), 0.0
        over = document["trades"][fill["trade"]]["exited_at"] is not None and fill["trade"] not in {
            later["trade"] for later in document["fills"][place + 1 :]
        }
        on = None if over else fill["trade"]
    return rows


def staked(trade: Row, fills: Sequence[Row], end: pd.Timestamp, coin: pd.Series) -> float:
    """What a long spot earned by staking in the hours in which it was held. coin: rate × close of each hour."""
    sold = [instant(fill["time"]) for fill in fills if fill["slot"] == "long" and fill["action"] != "entry"]
    hours = (coin.index > instant(trade["entered_at"])) & (coin.index <= (sold[0] if sold else end))
    return float(coin[hours].sum() * trade["quantity"] * (HOUR / YEAR))
