"""What one instrument's own bars and rates tell: what is missing, years that stand twice, settles without a trade; and how much of it there is.

seen = look(instrument, bars, funding)
for finding in bar_findings(instrument, bars): print(finding.text)
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtest.data.checks.funding import funding_spans
from backtest.data.checks.spans import Spans, spans, without
from backtest.data.checks.words import NOTHING, Finding, counted, holes, missing, named
from backtest.data.checks.years import repeated
from backtest.data.hours import DAY, closes, open_at
from backtest.data.validate import bar_step, missing_bars, missing_funding, show_time
from backtest.instruments import Instrument, Kind

SHOWN_HOLES = 10
TRADED_SHARE = 0.5


RARE = 0.05  # share of daily bars that may end at another hour: expiries, early closes


@dataclass(kw_only=True)
class Seen:
    """What is kept of an instrument: figures, and the stretches that its bars and its funding cover.

    `daily_at`: for daily bars, the times of the day at which they end, but rare ones. `traded`: most bars have a volume. `untraded`: bars with one price and
    no volume. `events` to `unpaid`: funding events, the longest wait for one, and how many are missing.
    """

    instrument: Instrument
    first: pd.Timestamp | None = None
    last: pd.Timestamp | None = None
    rows: int = 0
    step: pd.Timedelta | None = None
    daily_at: frozenset[int] = frozenset()
    largest_gap: pd.Timedelta | None = None
    missing: int = 0
    covered: Spans = NOTHING
    traded: bool = False
    untraded: int = 0
    events: int = 0
    first_event: pd.Timestamp | None = None
    last_event: pd.Timestamp | None = None
    largest_wait: pd.Timedelta | None = None
    unpaid: int = 0
    paid: Spans = NOTHING


def look(one: Instrument, bars: pd.DataFrame, funding: pd.DataFrame) -> Seen:
    """The figures of an instrument whose bars and funding have no errors."""
    seen = Seen(instrument=one, rows=len(bars), events=len(funding))
    times = pd.DatetimeIndex(bars.index)
    if one.kind is Kind.PERPETUAL and len(funding):
        seen.paid = funding_spans(funding, times)
        begin = times[0] - (bar_step(times) or pd.Timedelta(0)) if len(times) else funding.index[0]
        seen.first_event, seen.last_event, seen.largest_wait = (
            funding.index[0],
            funding.index[-1],
            _largest(pd.DatetimeIndex(funding.index)),
        )
        seen.unpaid = len(missing_funding(funding, begin, times[-1] if len(times) else funding.index[-1]))
    if not len(times):
        return seen
    step, gone = bar_step(times), lacking(one, times)
    seen.first, seen.last, seen.missing, seen.step = times[0], times[-1], len(gone), step
    if step is not None:
        seen.largest_gap = _largest(times)
        seen.covered = without(
            spans([(times[0].value - step.value, times[-1].value)]),
            spans([(first.value - step.value, last.value) for first, last, _ in holes(gone, step)]),
        )
        if step == DAY:
            shares = pd.Series(times.to_numpy(dtype="datetime64[ns]").astype(np.int64) % DAY.value).value_counts(normalize=True)
            seen.daily_at = frozenset(shares.index[shares > RARE].tolist())
    seen.traded, seen.untraded = _trading(bars)
    return seen


def lacking(one: Instrument, times: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Stamps at the usual distance that are not there although the venue was open."""
    gone, step = missing_bars(times), bar_step(times)
    return gone if step is None else gone[open_at(one.venue, gone, step)]


def bar_findings(one: Instrument, bars: pd.DataFrame) -> Iterator[Finding]:
    """What an instrument's bars lack, and years of them that stand twice."""
    if not len(bars):
        yield Finding(rule="no bars", instrument=one.id, text=f"{one.id}: has no bars; import them, or leave the instrument out")
        return
    times = pd.DatetimeIndex(bars.index)
    gone, step = lacking(one, times), bar_step(times)
    if len(gone) and step is not None and not closes(one.venue):
        words, found = missing(gone, "bar", step, SHOWN_HOLES)
        text = f"{one.id}: {words}; import {'it' if len(gone) == 1 else 'them'}, or allow the gap when loading"
        yield Finding(rule="missing bars", instrument=one.id, text=text, holes=found)
    yield from _repeats(one, "closes", bars["close"])


def rate_findings(one: Instrument, funding: pd.DataFrame) -> Iterator[Finding]:
    """Years of funding rates that stand twice."""
    if len(funding):
        yield from _repeats(one, "funding rates", funding["rate"], of_funding=True)


def venue_findings(seen: Iterable[Seen]) -> Iterator[Finding]:
    """What is told of a venue as a whole: days without a bar where trading has hours, and settles without a trade where others trade."""
    venues: dict[str, list[Seen]] = {}
    for one in seen:
        venues.setdefault(one.instrument.venue, []).append(one)
    for venue, members in sorted(venues.items()):
        if closes(venue) and (found := {one.instrument.id: one.missing for one in members if one.missing}):
            text = f"{venue}: bars are not there while the exchange was open, for nobody traded or nobody recorded: {named(found, 'bar')}"
            yield Finding(rule="untraded days", instrument="", text=text, grave=False)
        if any(one.traded for one in members) and (found := {one.instrument.id: one.untraded for one in members if one.untraded}):
            rule = "one price and no volume, so their close is a settle or a repetition and not a trade"
            yield Finding(rule="volume-less settles", instrument="", text=f"{venue}: bars with {rule}: {named(found, 'bar')}", grave=False)


def _repeats(one: Instrument, what: str, series: pd.Series, *, of_funding: bool = False) -> Iterator[Finding]:
    step = bar_step(pd.DatetimeIndex(series.index)) or DAY
    for begin, end, days, values in repeated(series):
        years = round(days / 365.25)
        text = (
            f"{one.id}: its {what} from {show_time(begin)} to {show_time(end)} are those of {counted(years, 'year')} earlier ({days} days; "
            f"{counted(values, 'equal value')} in a row); one of the stretches is a copy; import the right one"
        )
        hole = ((begin, end, values),)
        spoilt = spans([(begin.value - step.value, end.value)])
        yield Finding(rule="duplicated year", instrument=one.id, text=text, holes=hole, spoils=spoilt, of_funding=of_funding)


def _largest(times: pd.DatetimeIndex) -> pd.Timedelta | None:
    stamps = times.to_numpy(dtype="datetime64[ns]").astype(np.int64)
    return pd.Timedelta(int(np.diff(stamps).max()), "ns") if len(stamps) > 1 else None


def _trading(bars: pd.DataFrame) -> tuple[bool, int]:
    """Whether most bars have a volume, and how many have one price and no volume."""
    volume = bars["volume"].to_numpy() if "volume" in bars.columns else np.full(len(bars), np.nan)
    none = ~(volume > 0)
    flat = (bars["high"].to_numpy() == bars["low"].to_numpy()) & none
    return bool(np.mean(~none) > TRADED_SHARE), int(flat.sum())
