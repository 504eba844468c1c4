"""From a dataset to a market: which instruments, which period, how long the bars, in which currency; and what is refused or noted on the way.

market = bt.load_market("data/all", start="2024-01-01", instruments=["ETHUSDT-SPOT", "*.cme"])
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.currency import conversion
from backtest.data.hours import closes
from backtest.data.schema import PRICES, Tables
from backtest.data.store import Dataset, open_dataset
from backtest.data.validate import bar_errors, bar_step, delivery_errors, in_dataset, refuse, stale_bars
from backtest.errors import DataError, ParameterError, did_you_mean
from backtest.instruments import Instrument
from backtest.market import AGE, DAY, DatasetInfo, Floats, Market, View, nanoseconds, quoted, union, utc
from backtest.rule import Duration, duration, instant
from backtest.venues.calendar import is_open, sessions

RESAMPLED = {
    "open": "first",
    "high": "max",
    "low": "min",
    "close": "last",
    "volume": "sum",
    "taker_buy_volume": "sum",
    "quote_volume": "sum",
    "taker_buy_quote_volume": "sum",
    "trades": "sum",
    "spread": "mean",
    "depth_10bps": "mean",
    "depth_50bps": "mean",
    "mark_high": "max",
    "mark_low": "min",
}
# the columns that nearly every run looks at; the others are read when they are asked for
AT_ONCE = (*PRICES, "bid", "ask", "mark", "mark_high", "mark_low", "index")
CLOSED = 4 * DAY  # the longest that a market with hours is closed: a weekend with a holiday on either side
SHOWN = 12
MOST_READERS = 4
EXACT = "0s"  # closes meet only others of the same instant


def load_market(
    path: str,
    start: str | pd.Timestamp | None = None,
    end: str | pd.Timestamp | None = None,
    freq: str | None = None,
    *,
    clock: str | Sequence[str] | None = None,
    instruments: str | Sequence[str] | None = None,
    currency: str | None = None,
    staleness: Duration = EXACT,
    max_gap: Duration | None = None,
) -> Market:
    """A dataset's bars with start < stamp ≤ end as an aligned, validated, read-only `Market`.

    freq: resample to coarser bars ("1D"). clock: ids or shell patterns ("*.cme") of instruments whose bar ends all bars get: finer ones are put together
    to end with them, so that both legs of a trade fill together. instruments: ids or patterns of what to load; nothing else is read. currency: turn all
    prices into this one, by the dataset's series such as `USDTUSD` (`backtest.currency` says what that means for PnL). staleness: how old a close may be
    and still meet others. max_gap: longest hole inside an instrument's life, or in a conversion's values, that is only noted (default: the longer of one
    day and four bars; four days on venues that close). Raises DataError, ParameterError.
    """
    dataset = open_dataset(path)
    first, last = instant("start", start), instant("end", end)
    if first is not None and last is not None and first >= last:
        raise ParameterError(
            f"start must be before end: start={utc(first.value)}, end={utc(last.value)}; a whole day ends where the next one begins"
        )
    tolerance, longest, length = duration("staleness", staleness, zero=True) or 0, duration("max_gap", max_gap), duration("freq", freq)
    if length is not None and clock is not None:
        raise ParameterError(f"freq and clock both say where bars end: freq={freq}, clock={clock}; give one of them")
    clock, instruments = (asked if asked is None or isinstance(asked, str) else list(asked) for asked in (clock, instruments))
    whole = length is not None or clock is not None
    names = chosen(dataset, instruments, "instruments")
    with ThreadPoolExecutor(MOST_READERS) as readers:  # decoding and copying leave Python's lock alone
        found = zip(names, readers.map(lambda name: read(dataset, name, first, last, whole), names), strict=True)
        frames = {name: frame for name, frame in found if len(frame)}
    shown = conversion(dataset, currency, [dataset.instruments[name] for name in frames], longest)
    frames = fine = {name: shown.frame(name, frame) for name, frame in frames.items()}
    if length is not None and frames:
        frames = fine = resample(frames, dataset.instruments, length)
    if clock is not None and frames:
        frames = on_clock(frames, dataset.instruments, [name for name in chosen(dataset, clock, "clock") if name in frames])
    if not frames:
        asked = f"between {utc(first.value) if first else 'the beginning'} and {utc(last.value) if last else 'the end'}"
        raise DataError(f"{path}: no bars {asked}; {coverage(dataset)}")
    info = DatasetInfo(dataset.name, dataset.hash, dataset.simulated, str(path))
    described = {name: shown.instrument(dataset.instruments[name]) for name in frames}
    view = View(start=first, end=last, whole=whole, conversion=shown)
    market = Market(frames, described, dataset, usual_step(frames), tolerance, info, view)
    given: dict[str, object] = {"start": start, "end": end, "freq": freq, "clock": clock, "instruments": instruments, "currency": currency}
    given |= {"max_gap": max_gap, "staleness": None if staleness == EXACT else staleness}
    market.made_by = call_of("bt.load_market", str(path), given)
    market.notes += shown.notes(described.values())
    note_stale(market)
    note_gaps(market, longest, fine)
    return market


def call_of(name: str, first: str, asked: Mapping[str, object]) -> str:
    """A call as one types it, with the settings that were given: times and lengths as texts, several ids as a list."""
    return f"{name}({', '.join([quoted(first), *(f'{key}={typed(value)}' for key, value in asked.items() if value is not None)])})"


def typed(value: object) -> str:
    """A setting of a call as one types it."""
    if isinstance(value, int | np.integer):  # nanoseconds
        return str(int(value))
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f"[{', '.join(quoted(str(one)) for one in value)}]"
    return quoted(str(value))


def chosen(dataset: Dataset, instruments: str | Sequence[str] | None, setting: str) -> list[str]:
    """The ids in the dataset that some ids or patterns name, in order; DataError for one that names none."""
    if instruments is None:
        return list(dataset.instruments)
    patterns = [instruments] if isinstance(instruments, str) else list(instruments)
    if not patterns:
        raise ParameterError(f'{setting} must name instruments, as "ETHUSDT-SPOT" or "*.cme": {setting}=[]; leave it out for all')
    known = list(dataset.instruments)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            hint = did_you_mean(pattern, known)
            if hint.startswith("known") and len(known) > SHOWN:
                hint = f"known: {', '.join(known[:SHOWN])} and {len(known) - SHOWN} more"
            raise DataError(f'unknown instrument "{pattern}" in dataset {dataset.name}; {hint}')
    return [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]


def read(dataset: Dataset, name: str, first: pd.Timestamp | None, last: pd.Timestamp | None, whole: bool) -> pd.DataFrame:
    """An instrument's bars, with all their columns or those that runs look at; DataError for what can't be true."""
    frame = dataset.bars(name, first, last, columns=None if whole else AT_ONCE)
    if len(frame):
        times = pd.DatetimeIndex(frame.index)
        where = in_dataset(name, times)
        refuse([*bar_errors(frame, where), *delivery_errors(dataset.instruments[name], times, where)])
    return frame


def close_ages(frame: pd.DataFrame, coarse: pd.DataFrame) -> Floats:
    """How much older than its coarse bar's end each last close is, in ns; less than one of its own bars is none. [coarse bar]"""
    fine, ends = nanoseconds(pd.DatetimeIndex(frame.index)), nanoseconds(pd.DatetimeIndex(coarse.index))
    ages = ends - fine[np.searchsorted(fine, ends, side="right") - 1]
    step = bar_step(pd.DatetimeIndex(frame.index))
    return np.where(step is not None and ages < (step or pd.Timedelta(0)).value, 0, ages).astype(np.float64)


def resample(frames: dict[str, pd.DataFrame], instruments: dict[str, Instrument], length: int) -> dict[str, pd.DataFrame]:
    """Bars of `length` ns, stamped with their end, for all instruments on one raster; empty bars are left out, and so are those that end after the data
    or after the contract's expiry.
    """
    limit = max(frame.index[-1] for frame in frames.values())
    out = {}
    for name, frame in frames.items():
        bins = frame.resample(pd.Timedelta(length), label="right", closed="right", origin="epoch")
        coarse = put_together(bins, list(frame.columns)).dropna(subset=["close"])
        coarse[AGE] = close_ages(frame, coarse)
        coarse = coarse[coarse.index <= min(limit, instruments[name].expires_at or limit)]
        if len(coarse):
            out[name] = coarse
    return out


def put_together(bars: Any, columns: Sequence[str]) -> pd.DataFrame:
    """Groups of bars as one bar each: a sum of unknown volumes is unknown, and what is last is the last bar's, known or not."""
    how = {
        "sum": lambda column: bars[column].sum(min_count=1),
        "last": lambda column: bars[column].last(skipna=False),
        "first": lambda column: bars[column].first(skipna=False),
        "max": lambda column: bars[column].max(),
        "min": lambda column: bars[column].min(),
        "mean": lambda column: bars[column].mean(),
    }
    return pd.DataFrame({column: how[RESAMPLED.get(column, "last")](column) for column in columns})


def on_clock(frames: dict[str, pd.DataFrame], instruments: dict[str, Instrument], leading: Sequence[str]) -> dict[str, pd.DataFrame]:
    """All bars on the bar ends of the leading instruments: those of the others are put together, and left out after the last of these ends or the expiry."""
    if not leading:
        raise DataError("no instrument of clock=… has bars in this period; choose another period or another clock")
    ends = union([nanoseconds(pd.DatetimeIndex(frames[name].index)) for name in leading])
    begin = int(ends[0]) - usual_step({name: frames[name] for name in leading})
    reopened = reopenings(np.concatenate([[begin], ends[:-1]]), {instruments[name].venue for name in leading})
    out = {}
    for name, frame in frames.items():
        if name in leading:
            out[name] = frame
            continue
        times = nanoseconds(pd.DatetimeIndex(frame.index))
        frame = frame[(times > begin) & (times <= ends[-1])]
        place = np.searchsorted(ends, nanoseconds(pd.DatetimeIndex(frame.index)))
        coarse = put_together(frame.groupby(place), list(frame.columns))
        late = np.concatenate([[begin], nanoseconds(pd.DatetimeIndex(frame.index))[:-1]])[: len(frame)] >= reopened[place]
        coarse["open"] = frame["open"][late].groupby(place[late]).first().reindex(coarse.index).fillna(coarse["open"])
        coarse.index = pd.DatetimeIndex(ends[coarse.index].view("M8[ns]"), name=frame.index.name).tz_localize("UTC")
        coarse[AGE] = close_ages(frame, coarse) if len(coarse) else 0.0
        expiry = instruments[name].expires_at
        coarse = coarse if expiry is None else coarse[coarse.index <= expiry]
        if len(coarse):
            out[name] = coarse
    return out


def reopenings(begins: npt.NDArray[np.int64], venues: set[str]) -> npt.NDArray[np.int64]:
    """When each bar of a clock can first be traded at: its beginning, or the instant at which its venue opens again after that. [bar]

    The other legs' orders fill then too, not at the prices of when the venue closed: over a weekend these are two days apart.
    """
    if len(venues) != 1 or not closes(venue := next(iter(venues))):
        return begins
    stamps = pd.DatetimeIndex(begins.view("M8[ns]")).tz_localize("UTC")
    after = sessions(venue, stamps[0], stamps[-1] + pd.Timedelta(days=14))["open"]
    opens = nanoseconds(pd.DatetimeIndex(after))
    place = np.searchsorted(opens, begins, side="left")
    following = np.append(opens, begins[-1])[place]
    return np.where(is_open(venue, stamps), begins, np.maximum(following, begins))


def coverage(dataset: Dataset) -> str:
    """What a dataset covers, as the remedy of a message."""
    spans = [span for name in dataset.instruments if (span := dataset.span(name))]
    if not spans:
        return "the dataset is empty; import bars"
    return f"choose a period within {utc(min(first for first, _ in spans).value)} to {utc(max(last for _, last in spans).value)}"


def usual_step(frames: dict[str, pd.DataFrame]) -> int:
    """The shortest of the instruments' usual distances between bars, in ns."""
    steps = [step.value for frame in frames.values() if (step := bar_step(pd.DatetimeIndex(frame.index))) is not None]
    if not steps:
        raise DataError("a market needs at least two bars of an instrument; load a longer period")
    return min(steps)


def note_stale(market: Market) -> None:
    """Note closes that look older than their bar's end."""
    found = stale_bars(Tables(instruments=list(market.instruments.values()), bars=market._frames))
    times = [(stamp, leg) for legs in found.values() for leg, stamps in legs.items() for stamp in stamps]
    if times:
        first, leg = min(times)
        market.notes.append(
            f"{len(times)} closes look older than their bar's end, first {leg} {utc(first.value)}; carry data check lists them."
        )


def note_gaps(market: Market, max_gap: int | None = None, fine: Mapping[str, pd.DataFrame] | None = None) -> None:
    """Refuse gaps longer than the tolerance inside an instrument's life; note the shorter ones. fine: the bars of which the market's were made.

    A contract on a venue that closes has no bar where nobody traded, and few trade the far ones: there the contracts of an asset are judged together.
    """
    groups: dict[str, list[str]] = {}
    frames = market._frames if fine is None else fine
    for name in market._frames:
        one = market.instruments[name]
        groups.setdefault(f"{one.venue} {one.base} {one.kind}s" if closes(one.venue) else name, []).append(name)
    for title, names in groups.items():
        lives = {name: life(market, name, pd.DatetimeIndex(frames[name].index)) for name in names}
        apart = [bar_step(pd.DatetimeIndex(frames[name].index)) for name in names]
        step = min((one.value for one in apart if one is not None), default=market.step)
        closing = closes(market.instruments[names[0]].venue)
        what, times = (names[0], lives[names[0]]) if len(names) == 1 else (title, union(list(lives.values())))
        gaps = np.diff(times)
        if len(gaps):
            refuse_gaps(what, times, gaps, max(CLOSED if closing else DAY, 4 * step) if max_gap is None else max_gap)
            market.notes += closed_notes(title, lives, step) if closing else gap_notes(what, times, gaps, step)


def life(market: Market, name: str, stamps: pd.DatetimeIndex) -> npt.NDArray[np.int64]:
    """An instrument's stamps, and its expiry if that lies in the data, in ns."""
    times = nanoseconds(stamps)
    expiry = market.instruments[name].expires_at
    return times if expiry is None or expiry > market.clock[-1] else np.append(times, expiry.as_unit("ns").value)


def refuse_gaps(what: str, times: npt.NDArray[np.int64], gaps: npt.NDArray[np.int64], longest: int) -> None:
    """DataError for a gap beyond the tolerance."""
    k = int(np.argmax(gaps))
    if gaps[k] > longest:
        allowed = pd.Timedelta(int(gaps[k])).ceil("h") // pd.Timedelta(hours=1)
        raise DataError(
            f"{what}: no bars from {utc(times[k])} to {utc(times[k + 1])} ({pd.Timedelta(int(gaps[k]))}), longer than max_gap={pd.Timedelta(longest)}; "
            f'import the missing bars, choose a period outside, or allow it with max_gap="{allowed}h"'
        )


def gap_notes(name: str, times: npt.NDArray[np.int64], gaps: npt.NDArray[np.int64], step: int) -> list[str]:
    """A sentence on the gaps of an instrument that always trades."""
    holes = int((gaps > step).sum())
    if not holes:
        return []
    k = int(np.argmax(gaps))
    return [f"{name}: {holes} gaps in the bars, the longest {pd.Timedelta(int(gaps[k]))} after {utc(times[k])}."]


def closed_notes(title: str, lives: Mapping[str, npt.NDArray[np.int64]], step: int) -> list[str]:
    """A sentence on contracts that were not traded for longer than their venue is ever closed."""
    gaps = {name: np.diff(times) for name, times in lives.items() if len(times) > 1}
    thin = {name: int(apart.max()) for name, apart in gaps.items() if apart.max() > max(CLOSED, 4 * step)}
    if not thin:
        return []
    name = max(thin, key=lambda one: thin[one])
    after = utc(int(lives[name][int(np.argmax(gaps[name]))]))
    return [
        f"{title}: {len(thin)} of {len(lives)} contracts were not traded for over four days, the longest {name} for {pd.Timedelta(thin[name])} after {after}."
    ]
