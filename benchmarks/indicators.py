"""Time every signal of the package on five years of minutes of a spot, a perpetual and dated futures, with all that signals read.

python benchmarks/indicators.py            # four minutes and 3 GB of disk
python benchmarks/indicators.py --quick    # a tenth of the minutes, to see that it works
python benchmarks/indicators.py --write    # and put the table into benchmarks/README.md
"""

import argparse
import inspect
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from run import busy, machine

import backtest as bt
from backtest.data.store import Facts, updating
from backtest.instruments import Instrument, Kind

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- indicators: written by indicators.py --write -->", "<!-- end of indicators -->"
MINUTES = 5 * 365 * 1440
START = pd.Timestamp("2021-07-01T00:00Z").as_unit("ns")
LISTED, ALWAYS = pd.Timedelta(days=185), pd.Timedelta(days=3650)
ROUNDS = 5
SLOWEST = 12


def main() -> int:
    parser = argparse.ArgumentParser(description="Time every signal on five years of minutes.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the minutes: does it work, not how fast")
    parser.add_argument("--write", action="store_true", help="replace the table in benchmarks/README.md")
    parser.add_argument("--measure", metavar="DIR", help=argparse.SUPPRESS)  # one turn, in a process of its own
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure)))
        return 0
    minutes, others = MINUTES // (10 if given.quick else 1), busy()
    with tempfile.TemporaryDirectory() as folder:
        always, quarterly = (
            five_years(Path(folder) / name, minutes, listed) for name, listed in (("always", ALWAYS), ("quarterly", LISTED))
        )
        turns = [(turn(always), turn(quarterly)) for _ in range(ROUNDS)]
    text = "\n".join([lead(minutes), *others, "", *table([first for first, _ in turns], [second for _, second in turns])])
    print(text)
    if given.write:
        before, rest = README.read_text(encoding="utf-8").split(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    return 0


def turn(dataset: Path) -> dict[str, Any]:
    """All signals of one dataset in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--measure", str(dataset)], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(dataset: str) -> dict[str, Any]:
    """Seconds of each signal, in the order of their listing, of all asked again, and of the unit; peak of the memory in MB."""
    late = bt.load_market(dataset, start=START + pd.Timedelta(days=100), end=START + pd.Timedelta(days=103))
    for ask in bt.SIGNALS.values():  # what is compiled or imported late is so now
        ask_for(late, ask)
    market = bt.load_market(dataset)
    taken = {name: seconds(lambda ask=ask: ask_for(market, ask)) for name, ask in bt.SIGNALS.items()}
    again = sum(seconds(lambda ask=ask: ask_for(market, ask)) for ask in bt.SIGNALS.values())
    close = market.close("ETHUSDT-SPOT")
    unit = min(seconds(lambda: np.cumsum(close)) for _ in range(9))
    peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"taken": taken, "again": again, "unit": unit, "peak": int(peak) / 1024, "futures": len(market.future_chain().contracts)}


def lead(minutes: int) -> str:
    where = machine()
    versions = f"Python {where['python']}, numpy {where['numpy']}"
    return f"{minutes:,} minutes, {ROUNDS} rounds, a new process each; {where['cores']} cores, {where['processor']}, {versions}."


def table(always: list[dict[str, Any]], quarterly: list[dict[str, Any]]) -> list[str]:
    """What all signals take on either dataset, and the slowest of them on the first."""
    rows = [
        f"| {len(always[0]['taken'])} signals with their defaults, a spot, a perpetual and | times `numpy.cumsum` of a row | seconds (least – most) | peak MB |",
        "|---|---:|---:|---:|",
    ]
    for what, turns in (("futures that trade all the time", always), ("quarterly futures of half a year each", quarterly)):
        totals = [sum(one["taken"].values()) for one in turns]
        ratio = median(total / one["unit"] for total, one in zip(totals, turns, strict=True))
        told = f"{median(totals):.1f} ({min(totals):.1f} – {max(totals):.1f})"
        rows.append(f"| {turns[0]['futures']} {what} | {ratio:,.0f} | **{told}** | {max(one['peak'] for one in turns):,.0f} |")
    rows += [f"| asked again | | {median(one['again'] for one in always):.4f} | |", "", "| the slowest, of the first | s |", "|---|---:|"]
    middle = {name: median(one["taken"][name] for one in always) for name in always[0]["taken"]}
    return [*rows, *(f"| `{name}` | {middle[name]:.2f} |" for name in sorted(middle, key=lambda name: -middle[name])[:SLOWEST])]


def ask_for(market: bt.Market, ask: Callable[..., Any]) -> object:
    """A signal with its defaults; a transform of values gets the basket's premium."""
    return ask(market, bt.premium_indicator(market)) if "values" in inspect.signature(ask).parameters else ask(market)


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def five_years(folder: Path, minutes: int, listed: pd.Timedelta) -> Path:
    """The dataset, from a seed: quarterly contracts listed so long before their expiry, or four that outlive it."""
    index = pd.date_range(START + pd.Timedelta("1min"), periods=minutes, freq="1min", name="ts").as_unit("ns")
    draw = np.random.default_rng(5)
    level = 2000 * np.exp(np.cumsum(draw.normal(0, 3e-4, minutes)))
    carry = 0.1 + np.cumsum(draw.normal(0, 1e-4, minutes))
    quarters = pd.date_range(START, periods=28, freq="QE") + pd.Timedelta("8h")
    ends = [end for end in quarters if end > index[-1]][:4] if listed is ALWAYS else [end for end in quarters if end - listed < index[-1]]
    instruments = [
        instrument("SPOT", Kind.SPOT),
        instrument("PERP", Kind.PERPETUAL),
        *(instrument(f"{end:%y%m%d}", Kind.FUTURE, end) for end in ends),
    ]
    days = pd.date_range(START - pd.Timedelta(days=1), index[-1], freq="D").as_unit("ns")
    with updating(folder) as update:
        for one in instruments:
            alive = (
                slice(None)
                if one.expires_at is None
                else slice(*index.searchsorted([one.expires_at - listed, one.expires_at], side="right"))
            )
            left = 30.0 if one.expires_at is None else np.asarray((one.expires_at - index[alive]) / pd.Timedelta(days=1), dtype=float)
            premium = 0.0 if one.kind is Kind.SPOT else carry[alive] * left / 365.0
            update.add("bars", one.id, minute_bars(draw, level[alive] * (1 + premium), index[alive]))
        events = pd.date_range(START, index[-1], freq="8h").as_unit("ns").rename("ts")
        paid = pd.DataFrame({"rate": draw.normal(1e-4, 1e-4, len(events)), "interval_hours": 8.0, "mark_price": np.nan}, index=events)
        update.add("funding", "ETHUSDT-PERP", paid)
        for name, value in SERIES.items():
            walk = value * np.exp(np.cumsum(draw.normal(0, 0.005, len(days))))
            update.add("series", name, pd.DataFrame({"ts": days, "known_at": days + pd.Timedelta("1h"), "value": walk}))
        update.add(
            "events",
            "",
            pd.DataFrame({"ts": days[::200], "name": "a hard fork", "kind": "upgrade", "known_at": days[::200] - pd.Timedelta("14D")}),
        )
        update.commit(instruments, Facts(name="minutes", source="made for a benchmark", simulated=True, licence="none"))
    return folder


SERIES = {
    "risk_free": 0.04, "borrow_usd": 0.06, "borrow_base": 0.02, "staking_yield": 0.035, "exchange_reserve": 2e7, "ETHUSDT-PERP.long_short_ratio": 1.5,
    "equity_index": 4000.0,
}  # fmt: skip


def instrument(name: str, kind: Kind, expiry: pd.Timestamp | None = None) -> Instrument:
    return Instrument(id=f"ETHUSDT-{name}", venue="binance", kind=kind, base="ETH", quote="USDT", expires_at=expiry)


def minute_bars(draw: np.random.Generator, price: np.ndarray, index: pd.DatetimeIndex) -> pd.DataFrame:
    count = len(index)
    close = np.round(price * (1 + draw.normal(0, 1e-4, count)), 2)
    opens = np.append(close[:1], close[:-1])
    volume = np.round(draw.exponential(10, count), 3)
    return pd.DataFrame(
        {
            "open": opens, "high": np.maximum(opens, close) + 0.01, "low": np.minimum(opens, close) - 0.01, "close": close, "volume": volume,
            "taker_buy_volume": np.round(volume * draw.random(count), 3), "bid": close - 0.01, "ask": close + np.round(draw.exponential(0.02, count), 2) + 0.01,
            "depth_50bps": np.round(draw.exponential(1e6, count)), "open_interest": np.round(1e5 + np.cumsum(draw.normal(0, 5, count)), 1),
        },
        index=index,
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
