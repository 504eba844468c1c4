"""Time every signal of the package on five years of minutes: a spot, a perpetual and the quarterly contracts of those years, with all that signals read.

python benchmarks/indicators.py            # about a minute and 1.5 GB of disk
python benchmarks/indicators.py --quick    # a tenth of it, to see that it works
python benchmarks/indicators.py --write    # and put the table into benchmarks/README.md
"""

import argparse
import inspect
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from run import busy, machine

import backtest as bt
from backtest.data.store import Facts, updating
from backtest.instruments import Instrument, Kind
from backtest.memo import SIGNALS

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- indicators: written by indicators.py --write -->", "<!-- end of indicators -->"
MINUTES = 5 * 365 * 1440
START = pd.Timestamp("2021-07-01T00:00Z").as_unit("ns")
LISTED = pd.Timedelta(days=185)
LONGER = pd.Timedelta(days=3650)
SLOWEST = 12


def main() -> int:
    parser = argparse.ArgumentParser(description="Time every signal on five years of minutes.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the minutes: does it work, not how fast")
    parser.add_argument("--write", action="store_true", help="replace the table in benchmarks/README.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join(measured(five_years(Path(folder) / "minutes", MINUTES // (10 if given.quick else 1))))
    print(text)
    if given.write:
        before, rest = README.read_text(encoding="utf-8").split(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    return 0


def measured(dataset: Path) -> list[str]:
    """The table: what all signals take, the slowest of them, and asking again."""
    warm(dataset)
    market = bt.load_market(str(dataset))
    unit = min(seconds(lambda: np.cumsum(market.close("ETHUSDT-SPOT"))) for _ in range(5))
    taken = {name: seconds(lambda ask=ask: ask_for(market, ask)) for name, ask in SIGNALS.items()}
    again = sum(seconds(lambda ask=ask: ask_for(market, ask)) for ask in SIGNALS.values())
    where = machine()
    futures = len(market.future_chain().contracts)
    rows = [
        f"{len(market):,} minutes, a spot, a perpetual and {futures} quarterly contracts, one process; {where['cores']} cores, {where['processor']}, "
        f"Python {where['python']}, numpy {where['numpy']}.",
        *busy(),
        "",
        "| signal, with its defaults | times `numpy.cumsum` of one row | s |",
        "|---|---:|---:|",
    ]
    rows += [
        f"| **all {len(taken)} signals, in the order of their listing** | {sum(taken.values()) / unit:.0f} | **{sum(taken.values()):.2f}** |"
    ]
    slowest = sorted(taken, key=lambda name: -taken[name])[:SLOWEST]
    rows += [f"| `{name}` | {taken[name] / unit:.0f} | {taken[name]:.2f} |" for name in slowest]
    return [*rows, f"| all of them, asked again | {again / unit:.2f} | {again:.4f} |"]


def warm(dataset: Path) -> None:
    """Compile, and import what is imported late, on the last days of the data."""
    market = bt.load_market(str(dataset), start=START + pd.Timedelta(days=100), end=START + pd.Timedelta(days=103))
    for ask in SIGNALS.values():
        ask_for(market, ask)


def ask_for(market: bt.Market, ask: object) -> object:
    """A signal with its defaults; a transform of values gets the annualized premium of all contracts' basket."""
    transform = "values" in inspect.signature(ask).parameters
    return ask(market, bt.premium_indicator(market)) if transform else ask(market)


def seconds(call: object) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def five_years(folder: Path, minutes: int, listed: pd.Timedelta | None) -> Path:
    """The dataset, from a seed: quarterly contracts listed so long before their expiry, or four that trade all the time."""
    index = pd.date_range(START + pd.Timedelta("1min"), periods=minutes, freq="1min", name="ts").as_unit("ns")
    draw = np.random.default_rng(5)
    level = 2000 * np.exp(np.cumsum(draw.normal(0, 3e-4, minutes)))
    carry = 0.1 + np.cumsum(draw.normal(0, 1e-4, minutes))
    quarters = pd.date_range(START, periods=28, freq="QE") + pd.Timedelta("8h")
    ends = [end for end in quarters if end > index[-1]][:4] if listed is None else [end for end in quarters if end - listed < index[-1]]
    instruments = [
        instrument("SPOT", Kind.SPOT),
        instrument("PERP", Kind.PERPETUAL),
        *(instrument(f"{end:%y%m%d}", Kind.FUTURE, end) for end in ends),
    ]
    days = pd.date_range(START - pd.Timedelta(days=1), index[-1], freq="D").as_unit("ns")
    with updating(folder) as update:
        for one in instruments:
            alive = slice(None) if one.expires_at is None else slice(*index.searchsorted([one.expires_at - (listed or LONGER), one.expires_at], side="right"))
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
