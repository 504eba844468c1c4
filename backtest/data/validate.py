"""What makes data unfit for a backtest, each with its place, its rule and the remedy.

Two kinds of findings. *Errors* are values that can't be true (a price of zero, a high below the low, a bar after delivery): importers
refuse them and nothing is written. What true data can *lack* (a missing funding event, bars that are not there, a close older than its bar) is
told here and judged by `backtest.data.checks`, because only the user knows which of it matters.

    refuse(bar_errors(frame, in_file(Path("spot.csv"), lines)))
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from backtest.data.hours import closes
from backtest.data.schema import OPTIONAL_BAR_COLUMNS, PRICES, Tables
from backtest.errors import DataError
from backtest.instruments import Instrument, Kind

Where = Callable[[int], str]

_POSITIVE = (*PRICES, "bid", "ask", "mark", "mark_high", "mark_low", "index")
_NOT_NEGATIVE = ("volume", *(name for name in OPTIONAL_BAR_COLUMNS if name not in _POSITIVE))

STALE_GAP = 0.003
_PIECE = 1 << 14
_FEWEST_REGULAR = 10
_GAPS_AROUND = 84  # half a week of hours to each side
_UNUSUAL_GAP = 12.0


def in_file(file: Path | str, lines: Sequence[int] | np.ndarray) -> Where:
    """Places in a file: row → "spot.csv line 17"."""
    return lambda row: f"{file} line {lines[row]}"


def in_dataset(name: str, times: pd.DatetimeIndex) -> Where:
    """Places in a dataset: row → "ETHUSDT-SPOT at 2024-03-29T08:00Z"."""
    return lambda row: f"{name} at {show_time(times[row])}"


def show_time(time: pd.Timestamp | None) -> str:
    """A time for a message, to the minute unless it has seconds."""
    if time is None or pd.isna(time):
        return "no time"
    return f"{time:%Y-%m-%dT%H:%M:%SZ}" if time.second else f"{time:%Y-%m-%dT%H:%MZ}"


def refuse(errors: Iterable[str]) -> None:
    """Raise `DataError` with the first of some errors, if there is one."""
    for error in errors:
        raise DataError(error)


# --- errors ----------------------------------------------------------------------------------------------


def time_errors(times: pd.DatetimeIndex, where: Where) -> Iterator[str]:
    """Times that are missing, stand twice, or go backwards."""
    nanoseconds = times.to_numpy(dtype="datetime64[ns]").view(np.int64)
    if (nanoseconds[1:] > nanoseconds[:-1]).all() and not times[:1].hasnans:
        return
    unknown = np.asarray(times.isna())
    yield from _first(unknown, lambda row: f"{where(row)}: the time is missing; every row needs one; correct the row or remove it")
    if unknown.any():
        return
    step = np.diff(nanoseconds, prepend=nanoseconds[:1] - 1)
    yield from _first(
        step == 0, lambda row: f"{where(row)}: time {show_time(times[row])} stands twice; times must be unique; keep one of the rows"
    )
    yield from _first(
        step < 0,
        lambda row: (
            f"{where(row)}: time {show_time(times[row])} comes after {show_time(times[row - 1])}; times must be in order; sort the rows"
        ),
    )


def bar_errors(bars: pd.DataFrame, where: Where) -> Iterator[str]:
    """Bars that can't be true: their times, prices absent or not positive, extremes that don't contain the rest, crossed quotes."""
    absent = [name for name in PRICES if name not in bars.columns]
    if absent:
        yield f'{where(0)}: column "{absent[0]}" is missing; bars need {", ".join(PRICES)}; add it or name it in the mapping'
        return
    yield from time_errors(pd.DatetimeIndex(bars.index), where)
    column = {name: bars[name].to_numpy() for name in (*_POSITIVE, *_NOT_NEGATIVE) if name in bars.columns}
    if _sound(column):
        return
    for name in PRICES:
        yield from _first(np.isnan(column[name]), _tell(where, name, column, "a bar needs all four prices", "correct the row or remove it"))
    for name in _POSITIVE:
        if name in column:
            bad = (column[name] <= 0) | np.isinf(column[name])
            yield from _first(bad, _tell(where, name, column, "prices must be above 0 and finite", "correct the row or remove it"))
    for name in _NOT_NEGATIVE:
        if name in column:
            yield from _first(column[name] < 0, _tell(where, name, column, "it must not be negative", "correct the row or remove it"))
            yield from _first(column[name] == np.inf, _tell(where, name, column, "it must be finite", "correct the row or remove it"))
    for upper, lower in (
        ("high", "low"),
        ("high", "open"),
        ("high", "close"),
        ("open", "low"),
        ("close", "low"),
        ("mark_high", "mark_low"),
    ):
        yield from _below(where, column, upper, lower, "the high must be the highest and the low the lowest price of a bar")
    yield from _below(where, column, "ask", "bid", "quotes are crossed: the ask must not be below the bid")


def _sound(column: Mapping[str, np.ndarray]) -> bool:
    """Whether nothing is wrong: all that good data take. In pieces that stay in the processor's cache, for millions of bars a second."""
    rows = len(column["close"])
    return all(_sound_piece({name: values[first : first + _PIECE] for name, values in column.items()}) for first in range(0, rows, _PIECE))


def _sound_piece(column: Mapping[str, np.ndarray]) -> bool:
    top = np.maximum(column["open"], column["close"])
    bottom = np.minimum(column["open"], column["close"])
    return bool(
        (column["high"] >= top).all()
        and (column["low"] <= bottom).all()
        and column["low"].min() > 0
        and column["high"].max() < np.inf
        and all(not ((values <= 0) | np.isinf(values)).any() for name, values in column.items() if name in _POSITIVE[len(PRICES) :])
        and all(not ((values < 0) | np.isinf(values)).any() for name, values in column.items() if name in _NOT_NEGATIVE)
        and all(
            not (column[upper] < column[lower]).any()
            for upper, lower in (("ask", "bid"), ("mark_high", "mark_low"))
            if {upper, lower} <= column.keys()
        )
    )


def delivery_errors(instrument: Instrument, times: pd.DatetimeIndex, where: Where) -> Iterator[str]:
    """Bars of a dated future after its delivery, or whose delivery nobody knows."""
    if instrument.kind is not Kind.FUTURE:
        return
    if instrument.expires_at is None:
        yield (
            f"{instrument.id}: is a dated future without a known expiry, so bars after delivery can't be told; "
            "import its contract specs too, or give expires_at in a mapping"
        )
        return
    late = np.asarray(times > instrument.expires_at)
    yield from _first(
        late, lambda row: f"{where(row)}: the bar ends after delivery at {show_time(instrument.expires_at)}; cut the bars at expiry"
    )


def funding_errors(funding: pd.DataFrame, where: Where) -> Iterator[str]:
    """Funding events that can't be true: their times, an absent rate, an interval or a mark that is not positive."""
    yield from time_errors(pd.DatetimeIndex(funding.index), where)
    if "rate" not in funding.columns:
        yield f'{where(0)}: column "rate" is missing; funding needs ts and rate; add it or name it in the mapping'
        return
    column = {name: funding[name].to_numpy() for name in ("rate", "interval_hours", "mark_price") if name in funding.columns}
    bad = ~np.isfinite(column["rate"])
    yield from _first(bad, _tell(where, "rate", column, "a funding event needs its rate", "correct the row or remove it"))
    yield from _first(
        np.abs(column["rate"]) >= 1,
        _tell(where, "rate", column, "it must be a fraction below 1", "is it in percent? scale it in a mapping"),
    )
    for name in ("interval_hours", "mark_price"):
        if name in column:
            yield from _first(column[name] <= 0, _tell(where, name, column, "it must be above 0", "correct the row or leave it empty"))


def series_errors(series: pd.DataFrame, where: Where) -> Iterator[str]:
    """Series rows that can't be true: their times, known before they happened, or without a value."""
    times = pd.DatetimeIndex(series["ts"])
    yield from time_errors(times, where)
    known = pd.DatetimeIndex(series["known_at"])
    early = np.asarray(known < times) | np.asarray(known.isna())
    yield from _first(
        early, lambda row: f"{where(row)}: known_at {show_time(known[row])} is before ts {show_time(times[row])}; nothing is known early"
    )
    column = {"value": series["value"].to_numpy(dtype=float)}
    yield from _first(~np.isfinite(column["value"]), _tell(where, "value", column, "a row needs its value", "correct the row or remove it"))


def settlement_errors(settlements: pd.DataFrame, where: Where) -> Iterator[str]:
    """Settlement prices that are absent or not positive."""
    price = settlements["price"].to_numpy(dtype=float)
    bad = ~(np.isfinite(price) & (price > 0))
    yield from _first(bad, _tell(where, "price", {"price": price}, "prices must be above 0 and finite", "correct the row or remove it"))
    twice = settlements.duplicated("instrument").to_numpy()
    names = list(settlements["instrument"])
    yield from _first(twice, lambda row: f"{where(row)}: {names[row]} settles twice; a contract settles once; keep one of the rows")


def event_errors(events: pd.DataFrame, where: Where) -> Iterator[str]:
    """Events without a time, or that stand twice at the same time."""
    unknown = events["ts"].isna().to_numpy()
    yield from _first(unknown, lambda row: f"{where(row)}: the time is missing; every row needs one; correct the row or remove it")
    names = list(events["name"])
    twice = events.duplicated(["ts", "name"]).to_numpy()
    yield from _first(twice, lambda row: f'{where(row)}: event "{names[row]}" stands twice; keep one of the rows')


def table_errors(tables: Tables) -> Iterator[str]:
    """All errors in a dataset's content, at most one a rule and table."""
    known = {one.id: one for one in tables.instruments}
    for key, bars in tables.bars.items():
        where = in_dataset(key, pd.DatetimeIndex(bars.index))
        yield from bar_errors(bars, where)
        yield from delivery_errors(known[key], pd.DatetimeIndex(bars.index), where)
    for key, funding in tables.funding.items():
        yield from funding_errors(funding, in_dataset(f"{key} funding", pd.DatetimeIndex(funding.index)))
    for key, series in tables.series.items():
        yield from series_errors(series, in_dataset(f"series {key}", pd.DatetimeIndex(series["ts"])))
    if len(tables.settlements):
        yield from settlement_errors(tables.settlements, in_dataset("settlements", pd.DatetimeIndex(tables.settlements["ts"])))
    if len(tables.events):
        yield from event_errors(tables.events, in_dataset("events", pd.DatetimeIndex(tables.events["ts"])))


# --- what lacks ------------------------------------------------------------------------------------------


def stale_closes(leg: pd.DataFrame, spot: pd.DataFrame, tolerance: float = STALE_GAP) -> pd.DatetimeIndex:
    """Bars of a leg whose close is older than their end, told by the next open.

    Both legs are open all the time, so one open that is `tolerance` (a fraction) further from the last close than the other leg's means
    that the bar of the leg with the greater gap was cut short, unless such gaps are usual for the leg: it must be over twelve times what three
    quarters of the gaps around it reach. The stamps of the bars that both legs have at the usual distance are compared.
    """
    if not leg.index.equals(spot.index):
        common = leg.index.intersection(spot.index)
        leg, spot = leg.loc[common], spot.loc[common]
    times = pd.DatetimeIndex(leg.index)
    if (step := bar_step(times)) is None:
        return times[:0]
    gap = {name: _gaps(frame) for name, frame in (("leg", leg), ("spot", spot))}
    apart = np.abs(gap["leg"] - gap["spot"])
    wide = np.flatnonzero(apart > tolerance)
    theirs = np.abs(gap["leg"][wide]) > np.abs(gap["spot"][wide])
    stale = wide[theirs & (times[wide + 1] - times[wide] == step)]
    around = (apart[max(row - _GAPS_AROUND, 0) : row + _GAPS_AROUND + 1] for row in stale)
    unusual = [apart[row] > _UNUSUAL_GAP * np.quantile(near, 0.75) for row, near in zip(stale, around, strict=True)]
    return pd.DatetimeIndex(times[stale[np.array(unusual, dtype=bool)]])


def _gaps(bars: pd.DataFrame) -> np.ndarray:
    """From each close to the next open, as a fraction."""
    gaps: np.ndarray = bars["open"].to_numpy()[1:] / bars["close"].to_numpy()[:-1] - 1
    return gaps


def stale_bars(tables: Tables) -> dict[str, dict[str, pd.DatetimeIndex]]:
    """Bars whose close was older than their end: spot → leg → stamps, only where there are some.

    A leg is held against one spot: of its venue and quote if there is one. Venues that close have gaps of their own and are left out.
    """
    spots = [one for one in tables.instruments if one.kind is Kind.SPOT and len(tables.bars.get(one.id, ()))]
    out: dict[str, dict[str, pd.DatetimeIndex]] = {}
    for leg in sorted(tables.instruments, key=lambda one: one.id):
        if not leg.derivative or closes(leg.venue) or not len(tables.bars.get(leg.id, ())):
            continue
        near = [spot for spot in spots if spot.base == leg.base and not closes(spot.venue)]
        for spot in sorted(near, key=lambda spot: (spot.venue != leg.venue, spot.quote != leg.quote, spot.id))[:1]:
            found = stale_closes(tables.bars[leg.id], tables.bars[spot.id])
            if len(found):
                out.setdefault(spot.id, {})[leg.id] = found
    return out


def bar_step(times: pd.DatetimeIndex) -> pd.Timedelta | None:
    """The usual distance between bars; None for fewer than two."""
    if len(times) < 2:
        return None
    apart = np.diff(times.to_numpy(dtype="datetime64[ns]").view(np.int64))
    if (apart == apart[0]).all():  # no need to sort
        return pd.Timedelta(int(apart[0]), "ns")
    steps, counts = np.unique(apart, return_counts=True)
    return pd.Timedelta(int(steps[np.argmax(counts)]), "ns")


def regular_step(times: pd.DatetimeIndex) -> pd.Timedelta | None:
    """The distance that most of the bars have; None for too few bars, or where no distance is that usual."""
    step = bar_step(times) if len(times) >= _FEWEST_REGULAR else None
    return step if step is not None and np.mean(np.diff(times.as_unit("ns").asi8) == step.value) > 0.5 else None


def show_length(length: pd.Timedelta) -> str:
    """A length of time for a message: 15 min, 4 h, 1 d."""
    seconds = int(length.total_seconds())
    units = (("d", 86_400), ("h", 3600), ("min", 60))
    return next((f"{seconds // size} {unit}" for unit, size in units if seconds % size == 0), f"{length.total_seconds():g} s")


def missing_bars(times: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Stamps at the usual distance that are not there, between the first bar and the last."""
    step = bar_step(times)
    if step is None or step <= pd.Timedelta(0):
        return _stamps(np.array([]))
    return _stamps(_between(times, np.full(len(times) - 1, step.value)))


def missing_funding(funding: pd.DataFrame, start: pd.Timestamp, end: pd.Timestamp) -> pd.DatetimeIndex:
    """Funding events that a position held over (start, end] would have paid and that are not there.

    The venue's interval may change: between two events it is the longer of their intervals. An event that doesn't know its interval has the usual
    distance of the events, eight hours where there is only one.
    """
    times = pd.DatetimeIndex(funding.index)
    if times.empty:
        return _stamps(np.array([]))
    usual = (bar_step(times) or pd.Timedelta("8h")) / pd.Timedelta("1h")
    hours = funding["interval_hours"].fillna(usual).to_numpy() if "interval_hours" in funding.columns else np.full(len(times), usual)
    length = (hours * 3.6e12).astype(np.int64)
    inside = _between(times, np.maximum(length[1:], length[:-1]))
    stamps = times.to_numpy(dtype="datetime64[ns]").astype(np.int64)
    before = np.arange(stamps[0] - length[0], start.value, -length[0])[::-1]
    after = np.arange(stamps[-1] + length[-1], end.value + 1, length[-1])
    inside = inside[(inside > start.value) & (inside <= end.value)]
    return _stamps(np.concatenate([before, inside, after]))


def _between(times: pd.DatetimeIndex, steps: np.ndarray) -> np.ndarray:
    """The stamps in nanoseconds that whole steps would put between neighbours further apart than one and a half of them."""
    stamps = times.to_numpy(dtype="datetime64[ns]").astype(np.int64)
    rows = np.flatnonzero(np.diff(stamps) > 1.5 * steps)
    step = steps[rows].astype(np.int64)
    counts = (np.round((stamps[rows + 1] - stamps[rows]) / step) - 1).astype(np.int64)
    nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    return np.asarray(np.repeat(stamps[rows], counts) + np.repeat(step, counts) * nth, dtype=np.int64)


def _stamps(nanoseconds: np.ndarray) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(nanoseconds.astype("datetime64[ns]"), tz="UTC")


# --- wording ---------------------------------------------------------------------------------------------


def _first(bad: np.ndarray, tell: Callable[[int], str]) -> Iterator[str]:
    """The message for the first bad row, with the number of the others."""
    rows = np.flatnonzero(bad)
    if len(rows):
        yield tell(int(rows[0])) + (f" ({len(rows)} such rows)" if len(rows) > 1 else "")


def _tell(where: Where, name: str, column: dict[str, np.ndarray], rule: str, remedy: str) -> Callable[[int], str]:
    return lambda row: f"{where(row)}: {name} is {column[name][row]:.12g}; {rule}; {remedy}"


def _below(where: Where, column: dict[str, np.ndarray], upper: str, lower: str, rule: str) -> Iterator[str]:
    if upper in column and lower in column:
        above, under = column[upper], column[lower]
        yield from _first(
            above < under,
            lambda row: f"{where(row)}: {upper} {above[row]:.12g} is below {lower} {under[row]:.12g}; {rule}; correct the row",
        )
