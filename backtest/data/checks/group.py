"""What is told of the legs of one coin together: closes cut short, daily closes of different hours, a derivative that shares no time with its spot.

group = Group()
for leg in legs: findings += group.hold(leg, legs)
findings += group.findings()
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from backtest.data.checks.legs import Leg, joined, pair_findings, reference, wicks
from backtest.data.checks.spans import Spans, spans
from backtest.data.checks.words import Finding, Hole, counted, listed_times, named, sized
from backtest.data.hours import DAY, Fit, closes, closing_hour, lag_hours, wrong_hour
from backtest.data.validate import STALE_GAP, bar_step, show_time, stale_closes
from backtest.instruments import Kind

SURE_ERRORS = 6.0
LEAST_LAG = 1.0
LEAST_THIN_LAG = 1.75
FEWEST_THIN = 3


class Group:
    """The legs of one coin, each held against others once."""

    def __init__(self) -> None:
        self._short: dict[str, dict[str, pd.DatetimeIndex]] = {}
        self._lags: dict[tuple[str, str], list[tuple[str, float, Spans]]] = {}
        self._daily: dict[str, pd.Timedelta] = {}
        self._thin: dict[str, dict[str, tuple[Hole, ...]]] = {}
        self._same: set[frozenset[str]] = set()
        self._fine = False

    def hold(self, leg: Leg, kept: Sequence[Leg]) -> Iterator[Finding]:
        """Hold a leg against the one that fits it best, and its daily closes against an hourly series."""
        one, stamps = leg.instrument, pd.DatetimeIndex(leg.prices.index)
        yield from _apart(leg, kept)
        step = bar_step(stamps)
        self._fine |= step is not None and step < DAY
        if step == DAY:
            clock = pd.Series(stamps.to_numpy(dtype="datetime64[ns]").astype(np.int64) % DAY.value)
            self._daily[one.id] = pd.Timedelta(int(clock.mode().iloc[0]), "ns")
            yield from self._hour(leg, kept)
        other = reference(leg, kept)
        if other is None:
            return
        pair = joined(leg, other)
        for finding in pair_findings(pair):
            both = frozenset((one.id, other.instrument.id))
            if finding.rule == "outlier" and closes(one.venue):
                self._thin.setdefault(other.instrument.id, {})[one.id] = finding.holes
            elif finding.rule != "same prices" or both not in self._same:
                yield finding
            if finding.rule == "same prices":
                self._same.add(both)
                return
        if not closes(one.venue) and (found := wicks(pair)):
            advice = "; margin wants mark bars there" if one.derivative else ""
            text = (
                f"{one.id}: {counted(len(found), 'bar')} with a high or low far from {other.instrument.id}'s: {sized(found, '.0%')}{advice}"
            )
            yield Finding(rule="wick", instrument=one.id, text=text, grave=False, holes=tuple((stamp, stamp, 1) for stamp, _ in found))
        spot = _spot_of(leg, kept) if one.derivative and not closes(one.venue) else None
        if spot is not None and len(stale := stale_closes(leg.prices, spot.prices)):
            self._short.setdefault(spot.instrument.id, {})[one.id] = stale

    def findings(self) -> Iterator[Finding]:
        """What is told of all the legs together, when each was held."""
        for spot, found in sorted(self._short.items()):
            legs = "; ".join(f"{key} {listed_times(list(found[key]))}" for key in sorted(found))
            rule = f"the next open is over {STALE_GAP * 1e4:.0f} bps further from the close than {spot}'s"
            marks = {key: tuple((stamp, stamp, 1) for stamp in stamps) for key, stamps in found.items()}
            text = f"bars that look cut short, for {rule}: {legs}"
            yield Finding(rule="cut short", instrument="", text=text, grave=False, others=marks)
        for other, jumps in sorted(self._thin.items()):
            counts = {name: len(holes) for name, holes in jumps.items()}
            text = f"thin contracts with closes far from {other}'s, as a last trade hours before the end is: {named(counts, 'close')}"
            yield Finding(rule="outlier", instrument="", text=text, grave=False, others=jumps)
        yield from self._clocks()
        yield from self._lagging()

    def _hour(self, leg: Leg, kept: Sequence[Leg]) -> Iterator[Finding]:
        """A daily leg against an hourly one, or against another daily one."""
        one, close = leg.instrument, leg.prices["close"]
        fine, daily = _hourly(kept), _daily(leg, kept)
        if fine is not None and (fit := closing_hour(close, fine.prices["close"])) is not None:
            if wrong_hour(fit):
                yield Finding(rule="closing hour", instrument=one.id, text=_misfit(leg, fine, fit), spoils=_whole(leg))
            return
        if (
            daily is not None
            and (lag := lag_hours(close, daily.prices["close"])) is not None
            and (lag.sure >= SURE_ERRORS or closes(one.venue))
        ):
            self._lags.setdefault((one.venue, daily.instrument.id), []).append((one.id, lag.hours, _whole(leg)))

    def _lagging(self) -> Iterator[Finding]:
        """Daily closes of other hours, told by daily closes; contracts of a venue with hours are thin one by one, so they are judged together."""
        told: set[frozenset[str]] = set()
        for (venue, other), found in sorted(self._lags.items()):
            thin = closes(venue)
            typical = float(np.median([hours for _, hours, _ in found]))
            if thin and (len(found) < FEWEST_THIN or abs(typical) < LEAST_THIN_LAG):
                continue
            for name, hours, spoilt in found:
                lag = typical if thin else hours
                if abs(lag) < LEAST_LAG or frozenset((name, other)) in told:
                    continue
                told.add(frozenset((name, other)))
                text = (
                    f"{name}: its daily closes seem to be about {abs(lag):.0f} h {'older' if lag > 0 else 'newer'} than those of {other} under the same "
                    "stamps; closes of different hours make no premium; import hourly bars, or closes of the same hour"
                )
                yield Finding(rule="closing hour", instrument=name, text=text, spoils=spoilt)

    def _clocks(self) -> Iterator[Finding]:
        """Daily bars that are stamped at different times of the day."""
        hours: dict[pd.Timedelta, list[str]] = {}
        for name, clock in sorted(self._daily.items()):
            hours.setdefault(clock, []).append(name)
        if len(hours) > 1:
            parts = "; ".join(
                f"{_clock(clock)} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
                for clock, names in hours.items()
            )
            remedy = (
                "premia need an hourly leg, which is there" if self._fine else "import hourly bars of one leg, or closes of the same hour"
            )
            text = f"daily bars end at different times of the day, so their closes never meet: {parts}; {remedy}"
            yield Finding(rule="closing hour", instrument="", text=text, grave=not self._fine)


def _apart(leg: Leg, kept: Iterable[Leg]) -> Iterator[Finding]:
    """A derivative that shares no time with any spot of its coin."""
    if not leg.instrument.derivative:
        return
    times = pd.DatetimeIndex(leg.prices.index)
    others = [(one.instrument.id, one.prices.index[0], one.prices.index[-1]) for one in kept if one.instrument.kind is Kind.SPOT]
    if others and not any(first <= times[-1] and times[0] <= last for _, first, last in others):
        name, first, last = others[0]
        text = (
            f"{leg.instrument.id} ({show_time(times[0])} to {show_time(times[-1])}) and {name} ({show_time(first)} to {show_time(last)}) "
            "share no time; a premium needs both; import the missing span"
        )
        yield Finding(rule="no common time", instrument=leg.instrument.id, text=text)


def _misfit(leg: Leg, fine: Leg, fit: Fit) -> str:
    stamp = pd.Timestamp(leg.prices.index[-1])
    true = stamp + pd.Timedelta(hours=fit.hours)
    return (
        f"{leg.instrument.id}: its daily closes stamped {stamp:%H:%M} fit {fine.instrument.id} at {true:%H:%M}, {abs(fit.hours)} h {'earlier' if fit.hours < 0 else 'later'} "
        f"(median error {fit.error * 1e4:.0f} bps there, {fit.at_stamp * 1e4:.0f} at the stamp); closes of different hours make no premium; "
        "import them with the time at which they were known"
    )


def _spot_of(leg: Leg, kept: Iterable[Leg]) -> Leg | None:
    """The spot by which a derivative's closes are told to be old, as `stale_bars` chooses it."""
    one = leg.instrument
    spots = [spot for spot in kept if spot.instrument.kind is Kind.SPOT and not closes(spot.instrument.venue)]
    return min(
        spots, key=lambda spot: (spot.instrument.venue != one.venue, spot.instrument.quote != one.quote, spot.instrument.id), default=None
    )


def _hourly(kept: Iterable[Leg]) -> Leg | None:
    """The finest leg of the coin with bars of an hour or less, spots first."""
    found = [other for other in kept if _step(other) <= pd.Timedelta("1h")]
    return min(found, key=lambda other: (other.instrument.kind is not Kind.SPOT, -len(other.prices), other.instrument.id), default=None)


def _daily(leg: Leg, kept: Iterable[Leg]) -> Leg | None:
    """Another daily leg, of a venue that never closes, spots first."""
    found = [
        other for other in kept if _step(other) == DAY and other.instrument.id != leg.instrument.id and not closes(other.instrument.venue)
    ]
    return min(found, key=lambda other: (other.instrument.kind is not Kind.SPOT, other.instrument.id), default=None)


def _step(leg: Leg) -> pd.Timedelta:
    return bar_step(pd.DatetimeIndex(leg.prices.index)) or pd.Timedelta("365D")


def _whole(leg: Leg) -> Spans:
    return spans([(leg.prices.index[0].value - DAY.value, leg.prices.index[-1].value)])


def _clock(clock: pd.Timedelta) -> str:
    minutes = int(clock / pd.Timedelta("1min"))
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
