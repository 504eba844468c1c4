"""The market: every series of a dataset on one clock, read-only.

The clock is the union of all bar ends. A close is *fresh* at a bar if it is not older than `staleness`; prices that are further apart than that never
meet in a premium. What can't be trusted is refused with its place and the remedy; what is odd but usable is kept in `notes`, which every report prints.

    market = bt.load_market("data/sample", start="2021-01-01", end="2022-01-01")
    market.spot, market.perpetual, market.future_chain(min_days=14)
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.card import Card
from backtest.currency import UNCONVERTED, Conversion
from backtest.data.known import Known
from backtest.data.point_in_time import as_known
from backtest.data.schema import PRICES
from backtest.data.store import Dataset
from backtest.data.validate import (
    bar_errors,
    event_errors,
    funding_errors,
    in_dataset,
    missing_funding,
    refuse,
    series_errors,
    settlement_errors,
)
from backtest.errors import DataError, ParameterError, did_you_mean
from backtest.instruments import Instrument, Kind
from backtest.rule import LONGEST, Leg, counting, instant, number, shown
from backtest.venues import rules_of

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Built = TypeVar("Built")
DAY = 86_400 * 10**9
YEAR = 365 * DAY
FEWEST_WINDOW_BARS = 10
USUAL_INTERVAL_HOURS = 8.0
AGE = "age of the close, ns"  # a column that resampled bars get
UNTOLD = "…"  # in code that is shown: what can't be typed


@dataclass(frozen=True)
class DatasetInfo:
    """Where a market's data come from."""

    name: str
    hash: str
    simulated: bool
    path: str


@dataclass(frozen=True, kw_only=True)
class View:
    """What of its dataset a market shows: bars with start < stamp ≤ end; whole: with all their columns; in which currency."""

    start: pd.Timestamp | None = None
    end: pd.Timestamp | None = None
    whole: bool = True
    conversion: Conversion = UNCONVERTED


@dataclass(frozen=True)
class Funding:
    """A perpetual's funding events, sorted: instants (ns), rates, mark prices (NaN unknown), the hours that each covers."""

    times: npt.NDArray[np.int64]
    rates: Floats
    marks: Floats
    hours: Floats


def frozen(values: Any) -> Floats:
    """A contiguous, read-only float64 copy."""
    out = np.array(values, dtype=np.float64, order="C")
    out.flags.writeable = False
    return out


def nanoseconds(index: pd.DatetimeIndex) -> npt.NDArray[np.int64]:
    """int64 nanoseconds UTC of a time index."""
    return np.ascontiguousarray(index.asi8 if index.unit == "ns" else index.as_unit("ns").asi8)


def union(times: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """All distinct instants, in order. Sorted runs are merged by the stable sort; `np.unique` hashes, fifty times slower."""
    longest = max(times, key=len)
    if all(np.array_equal(each, longest) for each in times):
        return longest.copy()
    merged = np.sort(np.concatenate(times), kind="stable")
    return merged[np.diff(merged, prepend=merged[:1] - 1) > 0]


def whole_days(days: float) -> int:
    """A number of days in nanoseconds, at most `LONGEST`."""
    return round(min(float(days) * DAY, LONGEST))


def quoted(text: str) -> str:
    """A text as one types it in Python."""
    typed = repr(str(text))
    return typed if '"' in text or "'" in text else f'"{typed[1:-1]}"'


def utc(nanosecond: int) -> str:
    """An instant as text for messages."""
    return pd.Timestamp(int(nanosecond), tz="UTC").strftime("%Y-%m-%dT%H:%M:%SZ").replace(":00Z", "Z")


class Market(Card):
    """Aligned data of the instruments of one dataset. Made by `load_market`; arrays are read-only and shared.

    clock: bar stamps (`DatetimeIndex`, UTC). stamps: the same in int64 ns. step: the usual bar length in ns. start: the instant at which the first bar opens.
    """

    def __init__(
        self,
        frames: dict[str, pd.DataFrame],
        instruments: dict[str, Instrument],
        dataset: Dataset,
        step: int,
        staleness: int,
        info: DatasetInfo,
        view: View = View(),
    ) -> None:
        times = union([nanoseconds(pd.DatetimeIndex(frame.index)) for frame in frames.values()])
        self.stamps: npt.NDArray[np.int64] = times
        self.stamps.flags.writeable = False
        self.clock = pd.DatetimeIndex(times.view("M8[ns]")).tz_localize("UTC")
        self.step, self.staleness = step, staleness
        self.start = int(times[0]) - step
        self.instruments = instruments
        self.info = info
        self.notes: list[str] = []
        self.made_by = UNTOLD  # the call that loaded it, for reports
        self._dataset: Dataset | Known = dataset
        self._view = view
        self._frames = frames
        self._rates: dict[str, Floats] = {}  # funding rates that take the place of the dataset's
        self._memo: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self.stamps)

    def __repr__(self) -> str:
        return f"<Market {self.info.name}: {len(self.instruments)} instruments, {len(self)} bars, {self.clock[0]:%Y-%m-%d} to {self.clock[-1]:%Y-%m-%d}>"

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: without what was computed, which is computed again when asked for."""
        return self.__dict__ | {"_memo": {}}

    def memo(self, key: Hashable, build: Callable[[], Built]) -> Built:
        """What `build` returns, computed once per key."""
        if key not in self._memo:
            self._memo[key] = build()
        found: Built = self._memo[key]
        return found

    def bars(self, instrument: str) -> pd.DataFrame:
        """The instrument's own bars with the columns that were loaded with the prices; a frame of one's own to alter."""
        return self._frames[instrument].copy(deep=False)

    def altered(self, bars: Mapping[str, pd.DataFrame] | None = None, rates: Mapping[str, Floats] | None = None) -> "Market":
        """A market like this one but for the bars of some instruments and the funding rates of some perpetuals; this one stays as it is.

        bars: frames with the stamps of `bars(instrument)`; a bar without a close is as good as none. rates: one for each event of `funding(instrument)`.
        Raises ParameterError for other stamps or another count: what is altered keeps its clock.
        """
        for name, frame in (bars or {}).items():
            if not frame.index.equals(self._frames[name].index):
                raise ParameterError(f"altered bars of {name} must keep their stamps: {len(frame)} bars for {len(self._frames[name])}")
        for name, values in (rates or {}).items():
            if len(values) != len(self.funding(name).times):
                raise ParameterError(
                    f"altered rates of {name} must be one for each funding event: {len(values)} for {len(self.funding(name).times)}"
                )
        other = copy(self)
        other._frames, other._rates = {**self._frames, **(bars or {})}, {**self._rates, **(rates or {})}
        other._memo, other.notes = {}, list(self.notes)
        other.made_by = UNTOLD if bars or rates else self.made_by
        return other

    # ------------------------------------------------------------ views

    def only(self, *patterns: str) -> "Market":
        """Some of the instruments only, by id or pattern ("BTC*"): the same clock, as a strategy needs it that asks for the only spot.

        DataError for a pattern that names none. What was computed for the same patterns before is found again.
        """
        known = list(self.instruments)
        if not patterns:
            raise ParameterError(
                'only needs instruments, as market.only("BTC*", "ETHUSDT-SPOT"): it got none; use the market itself for all'
            )
        for pattern in patterns:
            if not isinstance(pattern, str):
                raise ParameterError(
                    f"only takes ids or patterns as texts: it got {shown(pattern)}; give them one by one, as market.only(*names)"
                )
            if not any(fnmatchcase(name, pattern) for name in known):
                raise DataError(f'unknown instrument "{pattern}" in dataset {self.info.name}; {did_you_mean(pattern, known)}')
        names = [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]
        how = f"only({', '.join(map(quoted, patterns))})"
        return self.memo(("only", tuple(names)), lambda: self._narrowed({name: self._frames[name] for name in names}, how))

    def until(self, stamp: str | pd.Timestamp) -> "Market":
        """The market as it was known at an instant: no later bar, funding event, settlement, or value of a series or event that was published later.

        Instruments without a bar by then are gone; expiry dates stay, as they were announced. ParameterError for an instant before the first bar's end.
        """
        end = instant("until", stamp)
        if end is None or end.value < self.stamps[0]:
            told = "None" if end is None else utc(end.value)
            raise ParameterError(f"until must not lie before the market's first bar: until={told}; the first ends at {utc(self.stamps[0])}")
        count = int(np.searchsorted(self.stamps, end.value, side="right"))
        kept = {name: frame.iloc[: frame.index.searchsorted(end, side="right")] for name, frame in self._frames.items()}
        other = self._narrowed({name: frame for name, frame in kept.items() if len(frame)}, f"until({quoted(str(end))})")
        other.stamps, other.clock = self.stamps[:count], self.clock[:count]
        other._dataset = Known(self._dataset, end)
        last = int(other.stamps[-1])
        other._rates = {
            name: rates[: np.searchsorted(self.funding(name).times, last, side="right")] for name, rates in other._rates.items()
        }
        other.notes.append(f"The market is as it was known at {utc(end.value)}.")
        return other

    def _narrowed(self, frames: dict[str, pd.DataFrame], how: str) -> "Market":
        """A view with these bars and nothing computed yet; notes that begin with the id of another instrument stay out. how: the call that makes it."""
        other = copy(self)
        other.made_by = f"{self.made_by}.{how}"
        for name, item in vars(Market).items():
            if isinstance(item, cached_property):
                vars(other).pop(name, None)
        other._frames, other._memo = frames, {}
        other.instruments = {name: self.instruments[name] for name in frames}
        other._rates = {name: rates for name, rates in self._rates.items() if name in frames}
        gone = tuple(f"{name}:" for name in self.instruments if name not in frames)
        other.notes = [note for note in self.notes if not note.startswith(gone)]
        return other

    # ------------------------------------------------------------ legs

    def _only(self, kind: Kind, base: str | None) -> Leg:
        found = [item.id for item in self.instruments.values() if item.kind is kind and base in (None, item.base)]
        if len(found) != 1:
            many = (
                f'several: {", ".join(found)}; choose one with market.leg("{found[0]}"), or load only what the rule needs with instruments=… (--instruments)'
                if found
                else f"none; the market has {', '.join(self.instruments)}"
            )
            raise DataError(f"the rule needs one {kind} and the dataset {self.info.name} has {many}")
        return Leg(kind=kind, contracts=(found[0],))

    @property
    def spot(self) -> Leg:
        """The only spot; DataError if there is none or several."""
        return self._only(Kind.SPOT, None)

    @property
    def perpetual(self) -> Leg:
        """The only perpetual; DataError if there is none or several."""
        return self._only(Kind.PERPETUAL, None)

    def leg(self, instrument: str) -> Leg:
        """One instrument as a leg; DataError with the nearest name if the market lacks it."""
        if instrument not in self.instruments:
            if instrument in self._dataset.instruments:
                period = f"between {utc(self.start)} and {utc(self.stamps[-1])}"
                raise DataError(
                    f"{instrument} has no bars {period} in {self.info.name}, or instruments=… left it out; choose another period or name it"
                )
            hint = did_you_mean(instrument, list(self.instruments))
            raise DataError(f'unknown instrument "{instrument}" in dataset {self.info.name}; {hint}')
        return Leg(kind=self.instruments[instrument].kind, contracts=(instrument,))

    def future_chain(
        self, min_days: float = 0.0, *, nth: int = 1, base: str | None = None, venue: str | None = None, quote: str | None = None
    ) -> Leg:
        """All dated futures (of one base asset, venue and quote currency) by expiry; at entry the nearest with at least `min_days` to expiry is taken.

        nth: the second nearest of those with nth=2, and so on, as for a calendar spread's far leg.
        They are one product: DataError where assets, venues, quotes, linear and inverse contracts, or two contracts of one expiry would mix.
        """
        if min_days is None:
            raise ParameterError("min_days must be a number: min_days=None; leave it out for none")
        number("min_days", min_days, least=0.0)
        counting("nth", nth)
        wanted = {name: value for name, value in (("base", base), ("venue", venue), ("quote", quote)) if value is not None}
        futures = [item for item in self.instruments.values() if item.kind is Kind.FUTURE]
        found = [item for item in futures if all(getattr(item, name) == value for name, value in wanted.items())]
        if not found:
            of = "".join(f" of {name} {value}" for name, value in wanted.items())
            has = (
                f"its dated futures are {', '.join(item.id for item in futures)}"
                if futures
                else f"the market has {', '.join(self.instruments)}"
            )
            raise DataError(f"the rule needs dated futures{of} and the dataset {self.info.name} has none; {has}")
        self._refuse_mixed(found)
        found.sort(key=lambda item: (item.expires_at or pd.Timestamp.max.tz_localize("UTC"), item.id))
        for item, after in pairwise(found):
            if item.expires_at is not None and item.expires_at == after.expires_at:
                raise DataError(
                    f"{item.id} and {after.id} expire together, and a chain has one contract of each expiry; load one of them with instruments=…"
                )
        return Leg(kind=Kind.FUTURE, contracts=tuple(item.id for item in found), min_days=float(min_days), nth=nth, chain=True)

    def _refuse_mixed(self, futures: Sequence[Instrument]) -> None:
        """Raise DataError for futures that are not one product."""
        for name, words, remedy in (
            ("base", "assets", "choose base=…"),
            ("venue", "venues", "choose venue=…"),
            ("quote", "quote currencies", "choose quote=…"),
            ("settle", "ways to settle", 'load one of them with instruments=…, such as "{}"'),
        ):
            kinds = {str(getattr(item, name)): item.id for item in futures}
            if len(kinds) > 1:
                raise DataError(
                    f"dated futures of several {words} in {self.info.name}: {', '.join(sorted(kinds))}; {remedy.format(min(kinds.values()))}"
                )

    # ------------------------------------------------------------ columns

    def raw(self, instrument: str, column: str) -> Floats:
        """A column of the instrument's own bars on the clock: NaN where it has no bar or no such column. [bar]"""
        return self.memo(("raw", instrument, column), lambda: self._spread_out(instrument, self.lived(instrument, column)))

    def life(self, instrument: str) -> slice:
        """The bars from the instrument's first to its expiry, or to the last of all; where its own bars end doesn't count, as nobody knew it before."""
        places, expiry = self._places(instrument), self.instruments[instrument].expires_at
        if len(places) == 0:
            return slice(0, 0)
        over = len(self) if expiry is None else int(np.searchsorted(self.stamps, expiry.as_unit("ns").value, side="right"))
        return slice(int(places[0]), max(over, int(places[-1]) + 1))

    def lived(self, instrument: str, column: str) -> Floats:
        """A column over the instrument's `life`, so that a contract of a quarter takes no more room: NaN where it has no bar or no such column. [bar of its life]"""
        return self.memo(("lived", instrument, column), lambda: self._lived(instrument, column))

    def _lived(self, instrument: str, column: str) -> Floats:
        life = self.life(instrument)
        known = self._values(instrument, column) if self.has(instrument, column) else np.empty(0)
        if len(known) == life.stop - life.start:  # a bar at every tick of the clock: the loaded column itself
            known = np.ascontiguousarray(known).view()
            known.flags.writeable = False
            return known
        out = np.full(life.stop - life.start, np.nan)
        if len(known):
            out[self._places(instrument) - life.start] = known
        return frozen(out)

    def _spread_out(self, instrument: str, values: Floats) -> Floats:
        """Values over an instrument's life on the whole clock, NaN at the other bars. [bar]"""
        if len(values) == len(self):
            return values
        out = np.full(len(self), np.nan)
        out[self.life(instrument)] = values
        out.flags.writeable = False
        return out

    def _values(self, instrument: str, column: str) -> Floats:
        """A column of the instrument's bars, read from the dataset when it is first asked for if it was not loaded with the prices."""
        if column in self._frames[instrument]:
            return self._frames[instrument][column].to_numpy(np.float64)
        frame = self._frames[instrument]
        # rows that an import added since the prices were read are no bars of this market
        values = self._dataset.column(instrument, column, self._view.start, self._view.end).reindex(frame.index).to_numpy(np.float64)
        values = self._view.conversion.column(instrument, column, values, nanoseconds(pd.DatetimeIndex(frame.index)))
        beside = frame[list(PRICES)].assign(**{column: values})
        if frame["close"].hasnans:  # bars that `altered` took away
            values = np.where(frame["close"].isna(), np.nan, values)
            beside = beside[frame["close"].notna()]
        refuse(bar_errors(beside, in_dataset(instrument, pd.DatetimeIndex(beside.index))))
        return values

    def has(self, instrument: str, column: str) -> bool:
        """True if the instrument's bars have this column."""
        return column in self._frames[instrument] or (not self._view.whole and column in self._columns(instrument))

    def _columns(self, instrument: str) -> list[str]:
        return self.memo(("columns", instrument), lambda: self._dataset.columns(instrument))

    def _places(self, instrument: str) -> npt.NDArray[np.int64]:
        if len(self._frames[instrument]) == len(self):
            return self.memo(("places",), lambda: np.arange(len(self)))
        return self.memo(
            ("places", instrument),
            lambda: np.searchsorted(self.stamps, nanoseconds(pd.DatetimeIndex(self._frames[instrument].index))).astype(np.int64),
        )

    def first_bar(self, instrument: str) -> int:
        """Number of the instrument's first bar; the last bar of the clock if it has none."""
        places = self._places(instrument)
        return int(places[0]) if len(places) else len(self) - 1

    def last_bar(self, instrument: str) -> int:
        """Number of the instrument's last bar; 0 if it has none."""
        places = self._places(instrument)
        return int(places[-1]) if len(places) else 0

    def last_known(self, instrument: str, column: str = "close") -> Floats:
        """A column carried forward from the last bar that has it; NaN before the first. [bar]"""
        return self.memo(("last", instrument, column), lambda: self._last_known(instrument, column))

    def _last_known(self, instrument: str, column: str) -> Floats:
        raw = self.raw(instrument, column)
        return frozen(pd.Series(raw).ffill()) if np.isnan(raw).any() else raw

    def close(self, instrument: str) -> Floats:
        """The close where it is fresh (not older than the staleness tolerance), else NaN. [bar]"""
        return self.memo(("close", instrument), lambda: self._spread_out(instrument, self.fresh(instrument)))

    def fresh(self, instrument: str) -> Floats:
        """The fresh close over the instrument's `life`, NaN where it isn't. [bar of its life]"""
        return self.memo(("fresh close", instrument), lambda: self._fresh(instrument))

    def _fresh(self, instrument: str) -> Floats:
        close = self.lived(instrument, "close")
        if not (self.has(instrument, AGE) or np.isnan(close).any()):
            return close
        age, stamps = np.nan_to_num(self.lived(instrument, AGE)).astype(np.int64), self.stamps[self.life(instrument)]
        seen = np.maximum.accumulate(np.where(np.isnan(close), np.int64(0), stamps - age))
        return frozen(np.where(stamps - seen <= self.staleness, pd.Series(close).ffill(), np.nan))

    # ------------------------------------------------------------ series, funding, settlements

    @property
    def series_names(self) -> list[str]:
        """The names of the dataset's series."""
        return self._dataset.series_names

    def series(self, name: str, *, before: bool = False) -> Floats:
        """A series as it was known (`known_at`) at each bar's end, or at its beginning with before=True; NaN before the first. [bar]"""
        return self.memo(("series", name, before), lambda: self._series(name, before))

    def _series(self, name: str, before: bool) -> Floats:
        known, values = self.history(name)
        times = np.concatenate([[self.start], self.stamps[:-1]]) if before else self.stamps
        place = np.searchsorted(known, times, side="right") - 1
        return frozen(np.where(place >= 0, values[np.maximum(place, 0)], np.nan))

    def in_quote(self, instrument: str, name: str) -> Floats:
        """A series of amounts in the instrument's quote currency, in the currency of the market's prices. [bar]"""
        return self.memo(
            ("in quote", instrument, name),
            lambda: frozen(self._view.conversion.column(instrument, "close", self.series(name), self.stamps)),
        )

    def history(self, name: str) -> tuple[npt.NDArray[np.int64], Floats]:
        """A series as it became known, also before the first bar: instants (ns), sorted, and the value that was known from each on."""
        return self.memo(("history", name), lambda: self._history(name))

    def _history(self, name: str) -> tuple[npt.NDArray[np.int64], Floats]:
        if name not in self.series_names:
            raise DataError(
                f'no series "{name}" in dataset {self.info.name}; {did_you_mean(name, self.series_names) if self.series_names else "it has none"}'
            )
        table = self._dataset.series(name).sort_values("ts", kind="stable")
        if table.empty:  # nothing published yet, which is one value that nobody knows
            return np.array([self.start]), np.array([np.nan])
        refuse(series_errors(table, in_dataset(f"series {name}", pd.DatetimeIndex(table["ts"]))))
        return as_known(table)

    @cached_property
    def events(self) -> pd.DataFrame:
        """The dataset's events, also those after the last bar: ts, name, kind, and known_at, which is ts where no announcement is known."""
        table = self._dataset.events()
        refuse(event_errors(table, in_dataset("events", pd.DatetimeIndex(table["ts"]))) if len(table) else [])
        return table.assign(known_at=table["known_at"].fillna(table["ts"]) if "known_at" in table else table["ts"])

    @cached_property
    def opens(self) -> npt.NDArray[np.int64]:
        """When each bar opens: when the one before it ends; the first as long before its end as the second takes. No later bar has a say in it. [bar]"""
        first = 2 * self.stamps[0] - self.stamps[1] if len(self) > 1 else self.start
        return np.concatenate([[first], self.stamps[:-1]])

    @cached_property
    def years(self) -> Floats:
        """Length of each bar in years of 365 days. [bar]"""
        return frozen(np.diff(self.stamps, prepend=self.start) / YEAR)

    def funding(self, instrument: str) -> Funding:
        """The perpetual's funding events up to the last bar."""
        return self.memo(("funding", instrument), lambda: self._funding(instrument))

    def _funding(self, instrument: str) -> Funding:
        table = self._funding_table(instrument)
        times = nanoseconds(pd.DatetimeIndex(table.index))
        marks = self._view.conversion.column(instrument, "mark", table["mark_price"].to_numpy(np.float64), times)
        return Funding(times, frozen(table["rate"]), frozen(marks), frozen(table["interval_hours"]))

    def _funding_table(self, instrument: str) -> pd.DataFrame:
        table = self._dataset.funding(instrument)
        refuse(funding_errors(table, in_dataset(f"{instrument} funding", pd.DatetimeIndex(table.index))) if len(table) else [])
        known = table.reindex(columns=["rate", "mark_price", "interval_hours"])[table.index <= self.clock[-1]] if len(table) else table
        known = known.fillna({"interval_hours": USUAL_INTERVAL_HOURS})
        return known.assign(rate=self._rates[instrument]) if instrument in self._rates else known

    def missing_funding(self, instrument: str, *, whole: bool = False) -> npt.NDArray[np.int64]:
        """Instants at which the perpetual's schedule has a payment and the data have none, from its first bar (or, whole, its first event) to its last bar."""
        return self.memo(("missing", instrument, whole), lambda: self._missing_funding(instrument, whole))

    def _missing_funding(self, instrument: str, whole: bool) -> npt.NDArray[np.int64]:
        table, places = self._funding_table(instrument), self._places(instrument)
        begin, end = max(int(self.stamps[places[0]]) - self.step, self.start), int(self.stamps[places[-1]])
        if len(table) == 0:
            interval = rules_of(self.instruments[instrument], pd.Timestamp(begin, tz="UTC")).funding_interval.value
            return np.arange(begin // interval * interval + interval, end + 1, interval)
        since = min(begin, int(nanoseconds(pd.DatetimeIndex(table.index[:1]))[0])) if whole else begin
        return nanoseconds(missing_funding(table, pd.Timestamp(since, tz="UTC"), pd.Timestamp(end, tz="UTC")))

    def settlement(self, instrument: str) -> tuple[float, str]:
        """The settlement price of a dated contract and where it comes from.

        The dataset's settlements; else the mean of the index (else of the spot) over at least ten bars inside the venue's averaging window; else the
        contract's last close before expiry. (NaN, …) for a contract that expires after the data.
        """
        return self.memo(("settlement", instrument), lambda: self._settlement(instrument))

    def _settlement(self, instrument: str) -> tuple[float, str]:
        expiry = self.instruments[instrument].expires_at
        if expiry is None or expiry > self.clock[-1]:
            return np.nan, "not expired"
        price, source = self._delivered(instrument, expiry)
        return self._view.conversion.price(instrument, price, expiry), source

    def _delivered(self, instrument: str, expiry: pd.Timestamp) -> tuple[float, str]:
        """The settlement price in the contract's own currency."""
        given = self._dataset.settlements()
        refuse(settlement_errors(given, in_dataset("settlements", pd.DatetimeIndex(given["ts"]))) if len(given) else [])
        given = given[given["instrument"] == instrument]
        if len(given):
            return float(given["price"].iloc[-1]), "the dataset's settlements"
        window = rules_of(self.instruments[instrument], expiry).settlement_window
        spot = self._own_spot(instrument)
        for source, column, label in ((instrument, "index", "index"), (spot, "close", "spot")):
            frame = self._dataset.bars(source, expiry - window, expiry) if source is not None else pd.DataFrame()
            values = frame[column].dropna() if column in frame else pd.Series(dtype=float)
            if len(values) >= FEWEST_WINDOW_BARS:
                return float(values.mean()), f"mean of the {label} over the last {window.total_seconds() / 60:.0f} minutes"
        closes = self._dataset.bars(instrument, None, expiry)["close"]
        return float(closes.iloc[-1]), "the contract's last close before expiry"

    def _own_spot(self, instrument: str) -> str | None:
        """The spot of a contract's pair, of its own venue if there is one there; None without any."""
        contract, quote = self.instruments[instrument], self._view.conversion.quote_of
        found = [
            item
            for item in self.instruments.values()
            if item.kind is Kind.SPOT and (item.base, quote(item)) == (contract.base, quote(contract))
        ]
        return min(found, key=lambda item: (item.venue != contract.venue, item.id)).id if found else None
