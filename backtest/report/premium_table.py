"""The overview of a premium on the terminal and for machines: plain text at most 80 columns wide, and JSON in which what isn't known is null.

Each figure stands beside what it was 1, 7 and 30 days before and its percentile among those of the last 365 days.

    print(render_overview(view))
"""

import json
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backtest.overview import BEFORE, Overview, Reading, Unit
from backtest.report.files import write_atomically
from backtest.report.json import plain_value
from backtest.report.words import UNKNOWN, instant, known, number, percent

WIDTH = 80
LABEL, FIGURE, RANK = 32, 9, 12  # columns of a reading's label, of each of its figures and of its percentile
CONTRACT, STATE = 18, 17  # columns of a contract's id and of a state's name
DAYS_BACK = tuple(f"{days}d ago" for days in BEFORE)


def render_overview(view: Overview) -> str:
    """The whole table, without a final newline; no line is longer than 80 characters."""
    blocks = [_head(view), _curve(view), _activity(view), _readings(view), _states(view), _dates(view), _notes(view)]
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks if block)


def overview_dict(view: Overview) -> dict[str, Any]:
    """The overview as plain dicts, lists, texts, numbers and None."""
    info = view.market.info
    document = {
        "dataset": {"name": info.name, "hash": info.hash, "simulated": bool(info.simulated)},
        "time": view.time,
        "bar": view.bar,
        "spot": view.spot.contracts[0],
        "perpetual": None if view.perpetual is None else view.perpetual.contracts[0],
        "weighting": view.basket,
        "roll_days": view.roll_days,
        "cost": view.cost,
        "contracts": view.contracts.reset_index().to_dict("records"),
        "readings": {reading.name: _reading_dict(reading) for reading in view.readings},
        "notes": list(view.notes),
    }
    return {key: plain_value(value) for key, value in document.items()}


def _reading_dict(reading: Reading) -> dict[str, Any]:
    past = {f"{days}d_ago": value for days, value in zip(BEFORE, reading.before, strict=True)}
    words = {f"word_{days}d_ago": word or None for days, word in zip(BEFORE, reading.words_before, strict=True)}
    return {
        "label": reading.label,
        "unit": str(reading.unit),
        "now": reading.now,
        **past,
        "percentile": reading.percentile,
        "word": reading.word or None,
        **words,
        "meaning": reading.meaning,
    }


def write_overview_json(view: Overview, path: str | os.PathLike[str]) -> Path:
    """Write the overview's JSON, all of it or nothing. Errors: StorageError if the file can't be written."""
    text = json.dumps(overview_dict(view), indent=1, ensure_ascii=False, allow_nan=False)
    return write_atomically(path, text + "\n", what="JSON", option="--json")


def _head(view: Overview) -> list[str]:
    info = view.market.info
    mark = "SIMULATED DATA" if info.simulated else ""
    title = f"Premium at {instant(view.time)} UTC"
    legs = {"perpetual": view.perpetual, "futures": view.future}
    values = {
        "dataset": f"{info.name}  {info.hash[:12]}{'  (SIMULATED)' if info.simulated else ''}",
        "spot": view.spot.contracts[0],
        **{
            name: "none" if leg is None else f"{len(view.contracts)} alive" if leg.chain else leg.contracts[0] for name, leg in legs.items()
        },
        "basket": f"weighting {view.basket.replace('_', ' ')}, {fading(view)}",
    }
    return [
        "=" * WIDTH,
        f"{title}{mark:>{WIDTH - len(title)}}",
        "=" * WIDTH,
        *(f"{name:<11}{value}"[:WIDTH] for name, value in values.items()),
    ]


def fading(view: Overview) -> str:
    """How contracts enter and leave the basket."""
    return f"each contract fades in and out over {view.roll_days:g} days" if view.roll_days else "no fade"


def _rule(title: str, first: int, width: int, columns: Sequence[str]) -> list[str]:
    return [f"{title[: first - 1]:<{first}}" + "".join(f"{name:>{width}}" for name in columns), "-" * WIDTH]


def _curve(view: Overview) -> list[str]:
    """Premium now and then, and what carry earns, a line a contract."""
    if not len(view.contracts):
        return []
    columns = ("premium", "a year", *DAYS_BACK, "net carry")
    head = [
        f"{'Curve':<{CONTRACT}}{'days':>6}{columns[0]:>9}" + "".join(f"{name:>9}" for name in columns[1:-1]) + f"{columns[-1]:>11}",
        "-" * WIDTH,
    ]
    lines = []
    for name, row in view.contracts.to_dict("index").items():
        rates = [row["annualized"], *(row[f"annualized_{days}d"] for days in BEFORE)]
        cells = _cell(Unit.DAYS, row["days"], 6) + "".join(_cell(Unit.RATE, value, 9) for value in (row["premium"], *rates))
        lines.append(f"{str(name)[: CONTRACT - 1]:<{CONTRACT}}{cells}{_cell(Unit.RATE, row['net_carry'], 11)}")
    return [*head, *lines]


def _activity(view: Overview) -> list[str]:
    """Which of the contracts count, and what is done in them, a line a contract."""
    if not len(view.contracts):
        return []
    lines = _rule(f"Contracts, {_base(view)}", CONTRACT, 12, ("break-even", "weight", "volume 1d", "open int."))
    lines[0] += f"{'state':>14}"
    for name, row in view.contracts.to_dict("index").items():
        amounts = "".join(_cell(Unit.AMOUNT, row[column], 12) for column in ("volume", "open_interest"))
        cells = f"{_cell(Unit.FRACTION, row['break_even_premium'], 12)}{percent(row['weight'], 1):>12}{amounts}"
        lines.append(f"{str(name)[: CONTRACT - 1]:<{CONTRACT}}{cells}{row['contango'] or UNKNOWN:>14}")
    return lines


def _readings(view: Overview) -> list[str]:
    """The figures, then and before, and how unusual they are."""
    shown = kinds_shown(view)[0]
    if not shown:
        return []
    lines = _rule("Readings", LABEL, FIGURE, ("now", *DAYS_BACK))
    lines[0] += f"{'percentile':>{RANK}}"
    for reading in shown:
        cells = "".join(_cell(reading.unit, value, FIGURE) for value in (reading.now, *reading.before))
        lines.append(f"{labelled(view, reading)[: LABEL - 1]:<{LABEL}}{cells}{percentile(reading):>{RANK}}")
        if reading.word:
            lines.append(f"  of {reading.word}")
    return lines


def _states(view: Overview) -> list[str]:
    shown = kinds_shown(view)[1]
    if not shown:
        return []
    first = WIDTH - STATE * (1 + len(BEFORE))
    lines = [f"{'States':<{first}}" + "".join(f"{name:<{STATE}}" for name in ("now", *DAYS_BACK)), "-" * WIDTH]
    for reading in shown:
        words = "".join(f"{word or UNKNOWN:<{STATE}}" for word in (reading.word, *reading.words_before))
        lines += [f"{reading.label:<{first}}{words}"]
    return [*lines, *(_wrapped(f"{reading.label}: {reading.meaning}") for reading in shown if reading.known)]


def _dates(view: Overview) -> list[str]:
    lines = [f"{reading.label:<{LABEL}}{number(reading.now, 1):>{FIGURE}}  {reading.word}"[:WIDTH] for reading in kinds_shown(view)[2]]
    return [*_rule("Dates", LABEL, FIGURE, ("days",)), *lines] if lines else []


def _notes(view: Overview) -> list[str]:
    if not view.notes:
        return []
    return ["Notes", "-" * WIDTH, *(_wrapped(note, "* ") for note in view.notes)]


def _wrapped(text: str, lead: str = "") -> str:
    return textwrap.fill(text, WIDTH, initial_indent=lead, subsequent_indent="  ", break_on_hyphens=False)


def _cell(unit: Unit, value: float, width: int) -> str:
    """A figure at the right of its column, apart from the one before: with fewer decimals where it is large, then short as an amount."""
    texts = [written(unit, value)]
    if known(value) and unit in WRITTEN:
        scale, decimals, mark = WRITTEN[unit]
        texts += [number(scale * value, places) + mark for places in reversed(range(decimals))]
        texts += [amount(scale * value) + mark, f"{scale * value:.0e}{mark}"]
    return f"{next((text for text in texts if len(text) < width), texts[-1]):>{width}}"


# By what a figure is multiplied, its decimals, and what is put behind it; other units are amounts.
WRITTEN: dict[Unit, tuple[float, int, str]] = {
    Unit.RATE: (100.0, 2, "%"),
    Unit.FRACTION: (100.0, 2, "%"),
    Unit.SPREAD: (1e4, 2, ""),
    Unit.RATIO: (1.0, 2, ""),
    Unit.DAYS: (1.0, 1, ""),
}


def kinds_shown(view: Overview) -> tuple[list[Reading], list[Reading], list[Reading]]:
    """Figures, states and dates that the data give now, or gave lately; the notes name the others."""
    shown = [reading for reading in view.readings if reading.shown]
    states, dates = ([reading for reading in shown if reading.unit is unit] for unit in (Unit.STATE, Unit.DAYS))
    return [reading for reading in shown if reading.unit not in (Unit.STATE, Unit.DAYS)], states, dates


def labelled(view: Overview, reading: Reading) -> str:
    """What a figure is called, with its unit where the figure doesn't show it."""
    units = {Unit.AMOUNT: _base(view), Unit.MONEY: view.market.instruments[view.derivative.contracts[0]].quote, Unit.SPREAD: "bps"}
    return f"{reading.label}, {units[reading.unit]}" if reading.unit in units else reading.label


def _base(view: Overview) -> str:
    return view.market.instruments[view.spot.contracts[0]].base


def percentile(reading: Reading) -> str:
    """A figure's percentile; nothing where it has none."""
    return percent(reading.percentile, 0) if known(reading.percentile) else ""


def written(unit: Unit, value: float) -> str:
    """A figure in the style of its unit."""
    if unit not in WRITTEN or not known(value):
        return amount(value)
    scale, decimals, mark = WRITTEN[unit]
    return number(scale * value, decimals) + mark


def amount(value: float) -> str:
    """An amount with three digits or so that count: 1.23M, 45.6k, 789."""
    if not known(value):
        return UNKNOWN
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            scaled = value / size
            return f"{scaled:.{max(0, 3 - len(str(int(abs(scaled)))))}f}{letter}"
    return number(value, 2 if abs(value) < 10 and not float(np.round(value, 6)).is_integer() else 0)
