"""Small datasets for tests: hourly bars of one spot, one perpetual with funding and two dated futures, and ways to spoil them.

tables = ether()
del tables.funding[PERP]
market = load(tmp_path, tables, staleness="2h")

And markets in memory for cases that are worked by hand, with every bar written out:

result = traded(spot([100, 100, 110]), perpetual([100, 100, 110]), max_hold="2h")
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import backtest as bt
from backtest.data.schema import Tables, empty
from backtest.data.store import write_dataset
from backtest.instruments import Instrument, Kind, Settle
from backtest.load import load_market
from backtest.market import DatasetInfo, Market

SPOT, PERP, NEAR, FAR = "ETHUSDT-SPOT", "ETHUSDT-PERP", "ETHUSDT-240306", "ETHUSDT-240329"
START = pd.Timestamp("2024-03-01T00:00Z").as_unit("ns")
NEAR_EXPIRY, FAR_EXPIRY = pd.Timestamp("2024-03-06T08:00Z").as_unit("ns"), pd.Timestamp("2024-03-29T08:00Z").as_unit("ns")
BARS = 200
HOUR = pd.Timedelta(hours=1)
LAST = START + BARS * HOUR  # 2024-03-09T08:00, the end of the last bar


def times(first: str | pd.Timestamp, periods: int, freq: str = "h") -> pd.DatetimeIndex:
    """Stamps in UTC nanoseconds."""
    return pd.date_range(pd.Timestamp(first), periods=periods, freq=freq, name="ts").as_unit("ns")


def bars(closes: Any, index: pd.DatetimeIndex, **more: Any) -> pd.DataFrame:
    """Bars that open at the close before and reach one unit beyond both."""
    close = np.asarray(closes, dtype=float)
    open_ = np.concatenate([close[:1], close[:-1]])
    columns = {"open": open_, "high": np.maximum(open_, close) + 1.0, "low": np.minimum(open_, close) - 1.0, "close": close, "volume": 1.0}
    return pd.DataFrame({**columns, **more}, index=index)


def instrument(name: str, kind: Kind, expires_at: pd.Timestamp | None = None, **more: Any) -> Instrument:
    """An instrument of Binance's on ether."""
    return Instrument(**{"id": name, "venue": "binance", "kind": kind, "base": "ETH", "quote": "USDT", "expires_at": expires_at, **more})


def funding(index: pd.DatetimeIndex, rates: Any, hours: Any = 8.0, marks: Any = np.nan) -> pd.DataFrame:
    """Funding events."""
    return pd.DataFrame({"rate": rates, "interval_hours": hours, "mark_price": marks}, index=index).astype(float)


def series(index: pd.DatetimeIndex, values: Any, delay: str = "0h") -> pd.DataFrame:
    """A series whose values become known some time after their day."""
    return pd.DataFrame({"ts": index, "known_at": index + pd.Timedelta(delay), "value": np.asarray(values, dtype=float)})


def ether(count: int = BARS, seed: int = 1) -> Tables:
    """Spot, perpetual with 8 h funding, a future that expires in the middle and one that expires after the end; rates of money."""
    random = np.random.default_rng(seed)
    index = times(START + HOUR, count)
    spot = 2000.0 * np.exp(np.cumsum(random.normal(0.0, 0.003, count)))
    perpetual = spot * (1.0 + random.normal(0.0005, 0.0003, count))
    days = {
        name: np.asarray((expiry - index) / pd.Timedelta(days=1), dtype=float) for name, expiry in ((NEAR, NEAR_EXPIRY), (FAR, FAR_EXPIRY))
    }
    alive = days[NEAR] >= 0.0
    dated = {name: spot * (1.0 + 0.1 * left / 365.0 + random.normal(0.0, 0.0002, count)) for name, left in days.items()}
    events = times(START, count // 8 + 1, "8h")
    return Tables(
        instruments=[
            instrument(SPOT, Kind.SPOT, lot=0.0001, min_notional=5.0),
            instrument(PERP, Kind.PERPETUAL, lot=0.001, min_notional=20.0),
            instrument(NEAR, Kind.FUTURE, NEAR_EXPIRY, lot=0.001),
            instrument(FAR, Kind.FUTURE, FAR_EXPIRY, lot=0.001),
        ],
        bars={
            SPOT: bars(spot, index),
            PERP: bars(perpetual, index),
            NEAR: bars(dated[NEAR][alive], index[alive]),
            FAR: bars(dated[FAR], index),
        },
        funding={PERP: funding(events, random.normal(1e-4, 5e-5, len(events)))},
        settlements=pd.DataFrame({"instrument": [NEAR], "ts": [NEAR_EXPIRY], "price": [float(spot[alive][-1]) + 0.5]}),
        series={
            "risk_free": series(times(START, 8, "D"), 0.04 + 0.001 * np.arange(8), "1D"),
            "borrow_usd": series(times(START, 8, "D"), 0.06 + 0.002 * np.arange(8), "30h"),
        },
    )


def only(tables: Tables, *names: str) -> Tables:
    """The same content without the other instruments."""
    tables.instruments = [item for item in tables.instruments if item.id in names]
    tables.bars = {name: frame for name, frame in tables.bars.items() if name in names}
    tables.funding = {name: frame for name, frame in tables.funding.items() if name in names}
    tables.settlements = tables.settlements[tables.settlements["instrument"].isin(names)]
    return tables


def write(folder: Path, tables: Tables, name: str = "test") -> str:
    """Write a dataset into a folder and give its path."""
    place = str(folder / "dataset")
    write_dataset(place, tables, name=name, source="tests", simulated=True, licence="CC0-1.0")
    return place


def load(folder: Path, tables: Tables, *period: Any, **options: Any) -> Market:
    """Write a dataset and load it as a market."""
    return load_market(write(folder, tables), *period, **options)


# ---------------------------------------------------------------- worked by hand
# All times are hours after the market's start; bar t spans (t, t + 1] steps of it.

CAPITAL = 10_000.0
COSTS = ("spot_fee", "derivative_fee", "half_spread", "delivery_fee", "liquidation_fee", "maintenance", "idle_rate", "borrow_rate")
FREE = bt.Execution(margin=bt.Margin.OFF, **dict.fromkeys(COSTS, 0.0))


@dataclass(frozen=True, kw_only=True)
class Item:
    """One instrument: no bar where `open` is NaN. `closes` are the opens unless given. funding: (hour, rate), (…, hours to the next), (…, own mark)."""

    kind: Kind
    opens: Sequence[float]
    closes: Sequence[float] | None = None
    columns: Mapping[str, Sequence[float]] = field(default_factory=dict)
    funding: Sequence[tuple[float, ...]] = ()
    expiry: float | None = None
    settlement: float = np.nan
    facts: Mapping[str, Any] = field(default_factory=dict)

    def frame(self, start: pd.Timestamp, step: float) -> pd.DataFrame:
        closes = self.opens if self.closes is None else self.closes
        extremes = {"high": np.fmax(self.opens, closes), "low": np.fmin(self.opens, closes)}
        columns = {"open": self.opens, "close": closes} | extremes | dict(self.columns)
        index = pd.DatetimeIndex([hours(start, (bar + 1) * step) for bar in range(len(self.opens))], name="ts").as_unit("ns")
        return pd.DataFrame({name: np.asarray(values, float) for name, values in columns.items()}, index=index).dropna(subset=["open"])

    def instrument(self, name: str, start: pd.Timestamp) -> Instrument:
        expires = None if self.expiry is None else hours(start, self.expiry)
        return Instrument(
            **{"id": name, "venue": "binance", "kind": self.kind, "base": "ETH", "quote": "USD", "expires_at": expires, **self.facts}
        )

    def events(self, start: pd.Timestamp) -> pd.DataFrame:
        rows = [(*event, *(8.0, np.nan)[len(event) - 2 :]) for event in self.funding]
        index = pd.DatetimeIndex([hours(start, hour) for hour, *_ in rows], tz="UTC", name="ts").as_unit("ns")
        return pd.DataFrame([row[1:] for row in rows], columns=["rate", "interval_hours", "mark_price"], index=index, dtype=float)


def flat(bars: int, price: float = 100.0) -> list[float]:
    """The same price in every bar."""
    return [price] * bars


def path(*closes: float) -> tuple[list[float], list[float]]:
    """Opens and closes of bars that open at the close before."""
    return [closes[0], *closes[:-1]], list(closes)


def hours(start: pd.Timestamp, count: float) -> pd.Timestamp:
    """The instant that lies so many hours after the start, to the nanosecond."""
    return start + pd.Timedelta(round(count * 3_600_000_000_000), "ns")


def spot(opens: Sequence[float], closes: Sequence[float] | None = None, **more: Any) -> Item:
    return item(Kind.SPOT, opens, closes, **more)


def perpetual(opens: Sequence[float], closes: Sequence[float] | None = None, **more: Any) -> Item:
    return item(Kind.PERPETUAL, opens, closes, **more)


def future(opens: Sequence[float], closes: Sequence[float] | None = None, **more: Any) -> Item:
    return item(Kind.FUTURE, opens, closes, **more)


def item(kind: Kind, opens: Sequence[float], closes: Sequence[float] | None, **more: Any) -> Item:
    """An item; what is neither a field of it nor a column of bars is a fact of its instrument. `face`: an inverse contract of that worth."""
    own = {name: more.pop(name) for name in ("columns", "funding", "expiry", "settlement") if name in more}
    if "face" in more:
        more |= {"settle": Settle.INVERSE, "multiplier": more.pop("face")}
    return Item(kind=kind, opens=opens, closes=closes, facts=more, **own)


class Memory:
    """What a market asks of a dataset."""

    def __init__(
        self, items: Mapping[str, Item], series: Mapping[str, Sequence[tuple[float, float]]], start: pd.Timestamp, step: float
    ) -> None:
        self._items, self._series, self._start = items, series, start
        self.series_names = list(series)
        self.instruments = {name: one.instrument(name, start) for name, one in items.items()}
        self.frames = {name: one.frame(start, step) for name, one in items.items()}

    def bars(self, name: str, start: pd.Timestamp | None = None, end: pd.Timestamp | None = None, **_: Any) -> pd.DataFrame:
        frame = self.frames[name]
        return frame[(frame.index > (start or frame.index[0] - HOUR)) & (frame.index <= (end or frame.index[-1]))]

    def funding(self, name: str) -> pd.DataFrame:
        return self._items[name].events(self._start)

    def settlements(self) -> pd.DataFrame:
        settled = {name: one for name, one in self._items.items() if not np.isnan(one.settlement)}
        index = pd.DatetimeIndex([self.instruments[name].expires_at for name in settled], tz="UTC").as_unit("ns")
        return pd.DataFrame({"instrument": list(settled), "ts": index, "price": [one.settlement for one in settled.values()]})

    def series(self, name: str) -> pd.DataFrame:
        known = pd.DatetimeIndex([hours(self._start, hour) for hour, _ in self._series[name]]).as_unit("ns")
        return pd.DataFrame({"ts": known, "known_at": known, "value": [float(value) for _, value in self._series[name]]})

    def events(self) -> pd.DataFrame:
        return empty(("ts", "name", "kind"))


def in_memory(
    items: Mapping[str, Item],
    *,
    start: str | pd.Timestamp = START,
    step: float = 1.0,
    series: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    staleness: float = 0.0,
) -> Market:
    """The instruments on a clock that has every bar. step, staleness: hours. The funding events follow no schedule: none of them is missing."""
    beginning = pd.Timestamp(start)
    beginning = (beginning.tz_localize("UTC") if beginning.tz is None else beginning).as_unit("ns")
    clock = spot([1.0] * max(len(one.opens) for one in items.values()), base="CLOCK")
    data: Any = Memory({**items, "CLOCK": clock}, series or {}, beginning, step)
    length, tolerance = (pd.Timedelta(hours=count).value for count in (step, staleness))
    market: Any = Market(data.frames, data.instruments, data, length, tolerance, DatasetInfo("by hand", "", True, ""))
    market.missing_funding = lambda *_, **__: np.zeros(0, np.int64)
    return market


Chain = Mapping[str, Item]


def traded(
    long: Item | Chain | None = None,
    short: Item | Chain | None = None,
    *,
    execution: bt.Execution = FREE,
    capital: float = CAPITAL,
    others: Mapping[str, Item] | None = None,
    min_days: float = 0.0,
    market: Mapping[str, Any] | None = None,
    **rule: Any,
) -> bt.Result:
    """Run a rule on these legs, without costs, resize and margin checks unless given. others: what the market has besides; market: options of `in_memory`."""
    sides = {name: one for name, one in (("long", long), ("short", short)) if one is not None}
    items = {name: one for key, leg in sides.items() for name, one in ({key.upper(): leg} if isinstance(leg, Item) else leg).items()}
    built = in_memory({**items, **(others or {})}, **(market or {}))
    legs = {key: built.leg(key.upper()) if isinstance(leg, Item) else built.future_chain(min_days) for key, leg in sides.items()}
    return bt.run(bt.Rule(**{"resize": None} | legs | rule), built, capital=capital, execution=execution)


def near(value: object) -> Any:
    return pytest.approx(value, rel=1e-10, abs=1e-7)


def sources(result: bt.Result) -> dict[str, float]:
    """The sources at the end that are not 0 (but for rounding); they must explain the equity."""
    final = result.attribution.iloc[-1]
    assert final.sum() == near(result.equity.iloc[-1] - result.capital)
    return {str(name): amount for name, amount in final.items() if abs(amount) > 1e-7}


def fills(result: bt.Result) -> list[tuple[float, str, str, float, float]]:
    """(hours after the start, slot, action, quantity, reference) of each fill."""
    times = (result.fills["time"] - result.start) / HOUR
    columns = ("slot", "action", "quantity", "reference")
    return [(hour, *row) for hour, row in zip(times, result.fills[list(columns)].values.tolist(), strict=True)]


def reasons(result: bt.Result) -> list[str]:
    return result.trades["reason"].tolist()


def once(bars: int, at: int = 0) -> dict[str, Any]:
    """A rule's signal that enters at one bar's close and never leaves."""
    return {"signal": np.where(np.arange(bars) == at, 1.0, 0.0), "enter": 0.5}
