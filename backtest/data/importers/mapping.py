"""The mapping of a table: a TOML file that says what the table is and which column is what.

    what = "series"                # bars, funding, series, settlements or events
    name = "risk_free"
    [time]
    column = "observation_date"
    delay = "1D"                   # a value is known this long after its time, or
    # known_at = "published"       # at the time in this column
    [columns]
    value = "DTB3"
    [scale]
    value = 0.01                   # percent to fraction

Every key is described in `data/README.md`. Unknown keys are refused: a misspelt `scale` would be a hundredfold rate.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import pandas as pd

from backtest.data.importers.common import EPOCH_UNITS
from backtest.data.parquet import utc
from backtest.data.schema import PRICES
from backtest.errors import ParameterError, did_you_mean
from backtest.instruments import Instrument, Kind, Settle

# what → the columns that a mapping must name
REQUIRED_COLUMNS = {
    "bars": PRICES,
    "funding": ("rate",),
    "series": ("value",),
    "settlements": ("instrument", "price"),
    "events": ("name", "kind"),
}
MISSING = ("", ".", "NaN", "nan", "NA", "null")

_KEYS = ("what", "name", "missing", "interval_hours", "time", "columns", "scale", "instrument")
_TIME_KEYS = ("column", "format", "unit", "timezone", "stamp", "bar", "delay", "known_at")


@dataclass(frozen=True, kw_only=True)
class TimeRule:
    """How a table tells time: the column, its format, what the stamp means, and from when a value was known (a column, or a delay)."""

    column: str
    format: str | None = None
    unit: str | None = None
    timezone: str = "UTC"
    shift: pd.Timedelta = field(default_factory=lambda: pd.Timedelta(0))
    delay: pd.Timedelta = field(default_factory=lambda: pd.Timedelta(0))
    known_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class TableMapping:
    """A mapping file, checked: `columns` is our name → theirs, `scale` our name → factor."""

    what: str
    name: str | None
    time: TimeRule
    columns: dict[str, str]
    scale: dict[str, float]
    missing: tuple[str, ...]
    interval_hours: float
    instrument: Instrument | None


def read_mapping(file: Path, known: Mapping[str, Instrument]) -> TableMapping:
    """Read and check a mapping file; raises `ParameterError` naming file, key and remedy.

    `known` are the instruments that the dataset has: of those a mapping needs to give the id only.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterError(f"{file}: there is no such mapping; check the name") from None
    except (OSError, ValueError) as error:
        raise ParameterError(f"{file}: can't be read as TOML ({error}); correct it") from error
    return _Reader(file, content).mapping(known)


class _Reader:
    """Takes a mapping apart and says where it is wrong."""

    def __init__(self, file: Path, content: dict[str, Any]) -> None:
        self.file, self.content = file, content

    def mapping(self, known: Mapping[str, Instrument]) -> TableMapping:
        self.only(self.content, _KEYS, "")
        what = self.content.get("what")
        if what not in REQUIRED_COLUMNS:
            self.wrong("what", f'is "{what}"; {did_you_mean(str(what), list(REQUIRED_COLUMNS))}')
        columns = {ours: self.text(f"columns.{ours}", theirs) for ours, theirs in self.section("columns").items()}
        for column in REQUIRED_COLUMNS[what]:
            if column not in columns and not (what == "settlements" and column == "instrument" and "instrument" in self.content):
                self.wrong(f"columns.{column}", f"is missing; {what} need {', '.join(REQUIRED_COLUMNS[what])}")
        name = self.content.get("name")
        if what == "series" and not name:
            self.wrong("name", 'is missing; a series needs one, such as name = "risk_free"')
        scale = self.section("scale")
        self.only(scale, tuple(columns), "scale.")
        return TableMapping(
            what=what,
            name=name,
            time=self.time(what),
            columns=columns,
            scale={ours: self.number(f"scale.{ours}", factor) for ours, factor in scale.items()},
            missing=tuple(map(str, self.content.get("missing", MISSING))),
            interval_hours=self.number("interval_hours", self.content.get("interval_hours", 8.0)),
            instrument=self.instrument(what, columns, known),
        )

    def time(self, what: str) -> TimeRule:
        time = self.section("time")
        self.only(time, _TIME_KEYS, "time.")
        if "column" not in time:
            self.wrong("time.column", "is missing; name the column that holds the time")
        stamp = time.get("stamp", None if what == "bars" else "end")
        if stamp not in ("start", "end"):
            self.wrong("time.stamp", f'is "{stamp}"; say whether the time is the "start" or the "end" of its bar')
        if stamp == "start" and "bar" not in time:
            self.wrong("time.bar", 'is missing; a table stamped with the start needs the bar\'s length, such as bar = "1h"')
        self.known(what, time)
        if time.get("unit") not in (None, *EPOCH_UNITS):
            self.wrong("time.unit", f'is "{time["unit"]}"; Unix times are in {", ".join(EPOCH_UNITS)}')
        return TimeRule(
            column=self.text("time.column", time["column"]),
            format=time.get("format"),
            unit=time.get("unit"),
            timezone=self.timezone(time.get("timezone", "UTC")),
            shift=self.length("time.bar", time["bar"]) if stamp == "start" else pd.Timedelta(0),
            delay=self.length("time.delay", time["delay"]) if "delay" in time else pd.Timedelta(0),
            known_at=self.text("time.known_at", time["known_at"]) if "known_at" in time else None,
        )

    def known(self, what: str, time: Mapping[str, Any]) -> None:
        """A series says in one way from when its values were known, events may say when they were announced; nothing else does."""
        given = [key for key in ("delay", "known_at") if key in time]
        if what not in ("series", "events") and "known_at" in given:
            self.wrong("time.known_at", f"is only for a series and for events; {what} are known at their time; remove it")
        if what == "series" and not given:
            self.wrong(
                "time.delay",
                'is missing; say how long after its time a value is known, such as delay = "1D", or "0h" for at once, '
                "or name the column that tells it with known_at",
            )
        if len(given) > 1:
            self.wrong(
                "time.known_at", f'is "{time["known_at"]}" beside delay = "{time["delay"]}"; a value is known by one of them; remove one'
            )

    def instrument(self, what: str, columns: dict[str, str], known: Mapping[str, Instrument]) -> Instrument | None:
        facts = dict(self.section("instrument"))
        if not facts and (what in ("series", "events") or "instrument" in columns):
            return None
        self.only(facts, tuple(one.name for one in fields(Instrument)), "instrument.")
        key = self.text("instrument.id", facts.get("id"))
        if len(facts) == 1 and key in known:
            return known[key]
        for name in ("venue", "kind", "base", "quote"):
            self.text(f"instrument.{name}", facts.get(name))
        for name, choice in (("kind", Kind), ("settle", Settle)):
            if name in facts:
                if facts[name] not in list(choice):
                    self.wrong(f"instrument.{name}", f'is "{facts[name]}"; {did_you_mean(facts[name], [str(one) for one in choice])}')
                facts[name] = choice(facts[name])
        for name in ("multiplier", "tick", "lot", "min_notional"):
            if name in facts:
                facts[name] = self.number(f"instrument.{name}", facts[name])
        for name in ("listed_at", "expires_at"):
            if name in facts:
                facts[name] = self.instant(f"instrument.{name}", facts[name])
        return Instrument(**facts)

    def section(self, name: str) -> dict[str, Any]:
        section = self.content.get(name, {})
        if not isinstance(section, dict):
            self.wrong(name, f"is {section!r}; it must be a section, [{name}]")
        return section

    def only(self, given: Mapping[str, Any], allowed: tuple[str, ...], prefix: str) -> None:
        for key in given:
            if key not in allowed:
                self.wrong(f"{prefix}{key}", f"is not a key of a mapping; {did_you_mean(key, list(allowed))}")

    def text(self, key: str, value: object) -> str:
        if not isinstance(value, str) or not value:
            self.wrong(key, "is missing; give it as text" if value is None else f"is {value!r}; it must be text")
        return value

    def number(self, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < abs(value) < float("inf"):
            self.wrong(key, f"is {value!r}; it must be a number other than 0")
        return float(value)

    def length(self, key: str, value: object) -> pd.Timedelta:
        # a number without a unit would be nanoseconds
        length = pd.to_timedelta(value if isinstance(value, str) and re.search("[A-Za-z]", value) else "", errors="coerce")
        if pd.isna(length) or length < pd.Timedelta(0):
            self.wrong(key, f'is {value!r}; it must be a length of time such as "1h" or "1D"')
        return length

    def instant(self, key: str, value: object) -> pd.Timestamp:
        time = pd.to_datetime(value if isinstance(value, str | date | datetime) else "", errors="coerce")
        if pd.isna(time):
            self.wrong(key, f"is {value!r}; it must be a time such as 2024-03-29T08:00:00Z")
        return utc(time)

    def timezone(self, value: object) -> str:
        try:
            return ZoneInfo(str(value)).key
        except (ValueError, OSError, KeyError):
            self.wrong("time.timezone", f'is "{value}"; it must be a zone such as "UTC" or "America/New_York"')

    def wrong(self, key: str, why: str) -> NoReturn:
        raise ParameterError(f"{self.file}: {key} {why}")
