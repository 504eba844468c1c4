"""A market that has everything a signal may ask for, over 500 days of eight-hour bars: quotes, depths, open interest, aggressors, events, all series; and
the same market as it would be with another future.

    market = load(tmp_path, rich())
    other = load(tmp_path, changed_after(cut))
"""

import numpy as np
import pandas as pd
from markets import bars, funding, instrument, series, times

from backtest.data.schema import Tables
from backtest.instruments import Kind

SPOT, PERP = "ETHUSDT-SPOT", "ETHUSDT-PERP"
BEGIN = pd.Timestamp("2022-12-31T16:00Z").as_unit("ns")
STEP = pd.Timedelta("8h")
BARS = 1500
# id → (first bar, expiry); the third is listed in the middle of the data, the fourth after three of the cuts
FUTURES = {
    "ETHUSDT-230630": (0, "2023-06-30T08:00Z"),
    "ETHUSDT-231229": (0, "2023-12-29T08:00Z"),
    "ETHUSDT-240628": (600, "2024-06-28T08:00Z"),
    "ETHUSDT-240927": (1130, "2024-09-27T08:00Z"),
}


def rich(seed: int = 5) -> Tables:
    """The market: a trending spot, a perpetual, four dated futures of which two expire, and everything beside them."""
    random = np.random.default_rng(seed)
    index = times(BEGIN + STEP, BARS, "8h")
    waves = np.sin(np.arange(BARS) / 90.0)
    spot = 2000.0 * np.exp(np.cumsum(random.normal(0.0, 0.01 + 0.01 * (waves > 0.7), BARS)))
    carry = 0.08 + 0.15 * waves + np.cumsum(random.normal(0.0, 0.004, BARS))
    tables = Tables(
        instruments=[instrument(SPOT, Kind.SPOT, lot=0.0001), instrument(PERP, Kind.PERPETUAL, lot=0.001)],
        bars={
            SPOT: traded_bars(random, spot, index, spread=0.0001),
            PERP: traded_bars(random, spot * (1.0 + 0.02 * carry + random.normal(0.0, 0.0003, BARS)), index, spread=0.0002),
        },
        funding={PERP: funding(times(BEGIN, BARS + 1, "8h"), np.concatenate([[0.0], carry / 1095.0 + random.normal(0.0, 1e-5, BARS)]))},
        series=all_series(random, index, spot),
        events=pd.DataFrame(
            {
                "ts": pd.DatetimeIndex(["2023-04-12T22:27Z", "2023-08-01T00:00Z", "2024-03-13T13:55Z"]).as_unit("ns"),
                "name": ["Shapella", "a hard day", "Dencun"],
                "kind": ["upgrade", "upgrade", "upgrade"],
                "known_at": pd.DatetimeIndex(["2023-03-28T17:00Z", "2023-08-02T00:00Z", "2024-02-27T15:00Z"]).as_unit("ns"),
            }
        ),
    )
    for name, (first, expires) in FUTURES.items():
        expiry = pd.Timestamp(expires).as_unit("ns")
        days = np.asarray((expiry - index) / pd.Timedelta(days=1), dtype=float)
        alive = (np.arange(BARS) >= first) & (days >= 0.0)
        price = spot * (1.0 + (carry + 0.0002 * days) * days / 365.0 + random.normal(0.0, 0.0002, BARS))
        tables.instruments.append(instrument(name, Kind.FUTURE, expiry, lot=0.001))
        tables.bars[name] = traded_bars(random, price[alive], index[alive], spread=0.0003)
    return tables


def traded_bars(random: np.random.Generator, price: np.ndarray, index: pd.DatetimeIndex, spread: float) -> pd.DataFrame:
    """Bars with volume, aggressors, quotes, depth and open interest; some without a trade."""
    count = len(index)
    volume = np.where(random.random(count) < 0.05, 0.0, random.lognormal(4.0, 0.5, count))
    half = price * spread * random.lognormal(0.0, 0.3, count) / 2.0
    return bars(
        price, index, volume=volume, taker_buy_volume=volume * random.uniform(0.2, 0.8, count), bid=price - half, ask=price + half,
        depth_50bps=random.lognormal(14.0, 0.4, count), open_interest=1e5 * np.exp(np.cumsum(random.normal(0.0, 0.02, count))),
    )  # fmt: skip


def all_series(random: np.random.Generator, index: pd.DatetimeIndex, spot: np.ndarray) -> dict[str, pd.DataFrame]:
    """Every series that a signal reads, daily, known some hours after their day."""
    days = times(BEGIN.normalize(), BARS // 3, "D")
    count = len(days)

    def wandering(level: float, step: float) -> np.ndarray:
        return level * np.exp(np.cumsum(random.normal(0.0, step, count)))

    return {
        "risk_free": series(days, 0.04 + random.normal(0.0, 0.001, count), "1D"),
        "borrow_usd": series(days, 0.06 + random.normal(0.0, 0.002, count), "1h"),
        "borrow_base": series(days, 0.02 + random.normal(0.0, 0.001, count), "1h"),
        "staking_yield": series(days, 0.035 + random.normal(0.0, 0.001, count), "1h"),
        "exchange_reserve": series(days, wandering(2e7, 0.002), "1h"),
        "market_cap": series(days, 1.2e8 * spot[:: len(spot) // count][:count], "1h"),
        f"{PERP}.long_short_ratio": series(days, wandering(1.5, 0.05), "5min"),
        "equity_index": series(days, wandering(4000.0, 0.01), "21h"),
    }


def changed_after(cut: pd.Timestamp) -> Tables:
    """The same market with another future: every number known after the cut is different."""
    tables, random = rich(), np.random.default_rng(99)
    for name, frame in tables.bars.items():
        late = frame.index > cut
        factor = np.exp(np.cumsum(random.normal(0.0, 0.03, int(late.sum())))) * (1.7 if name == SPOT else 1.9)
        prices = ["open", "high", "low", "close", "bid", "ask"]
        frame.loc[late, prices] = frame.loc[late, prices].to_numpy() * factor[:, None]
        for column in ("volume", "depth_50bps", "open_interest"):
            frame.loc[late, column] = frame.loc[late, column].to_numpy() * random.uniform(0.2, 5.0, int(late.sum()))
        frame.loc[frame.index[late][:12], "volume"] = 0.0
        frame.loc[late, "taker_buy_volume"] = frame.loc[late, "volume"] * random.uniform(0.0, 1.0, int(late.sum()))
        frame.loc[late, "bid"] *= 0.999
    for table in tables.funding.values():
        table.loc[table.index > cut, "rate"] += random.normal(0.001, 0.0005, int((table.index > cut).sum()))
    for table in tables.series.values():
        late = table["known_at"] > cut
        table.loc[late, "value"] *= random.uniform(1.1, 3.0, int(late.sum()))
    tables.events = announced_by(tables.events, cut)
    list_later(tables, cut)
    return tables


def list_later(tables: Tables, cut: pd.Timestamp) -> None:
    """A contract that nobody knew of, with a few bars of two hours: it shortens the market's usual bar."""
    late = times(cut + 10 * STEP, 5, "2h")
    tables.instruments.append(instrument("ETHUSDT-241227", Kind.FUTURE, pd.Timestamp("2024-12-27T08:00Z").as_unit("ns")))
    tables.bars["ETHUSDT-241227"] = bars(np.full(len(late), tables.bars[SPOT]["close"].iloc[-1]), late)


def ended_at(cut: pd.Timestamp) -> Tables:
    """The dataset as it was at the cut: nothing later is in it."""
    tables = rich()
    tables.bars = {name: kept for name, frame in tables.bars.items() if len(kept := frame[frame.index <= cut])}
    tables.instruments = [item for item in tables.instruments if item.id in tables.bars]
    tables.funding = {name: frame[frame.index <= cut] for name, frame in tables.funding.items()}
    tables.series = {name: frame[frame["known_at"] <= cut] for name, frame in tables.series.items()}
    tables.events = announced_by(tables.events, cut)
    return tables


def announced_by(events: pd.DataFrame, cut: pd.Timestamp) -> pd.DataFrame:
    """The events that were known at the cut: announced, or over."""
    return events[events[["ts", "known_at"]].min(axis=1) <= cut].reset_index(drop=True)
