"""The page of a premium: what it is now, the curve and the readings as tables, the figures with how they are read, and what is missing.

write_overview(overview, "premium.html")
"""

import os
from pathlib import Path

from backtest.overview.view import BEFORE, Overview, Reading, Unit
from backtest.report.blocks import Block, Cards, Cell, Facts, Heading, Points, Section, Table, Text, signed
from backtest.report.files import write_atomically
from backtest.report.html import render_page
from backtest.report.premium.figures import drawn
from backtest.report.premium_table import amount, written
from backtest.report.sections import drawing, fraction, heads, programs
from backtest.report.words import UNKNOWN, instant, known, number, percent

CARDS = (
    "indicator", "premium_30d", "premium_90d", "slope", "net_carry", "funding", "zscore", "volatility", "relative_volume", "spread", "regime", "shape", "crowding", "quadrant",
)  # fmt: skip
AGO = tuple(f"{days} day{'s' * (days > 1)} ago" for days in BEFORE)


def write_overview(overview: Overview, path: str | os.PathLike[str]) -> Path:
    """Write the page, all of it or nothing, and return where. Errors: StorageError if the file can't be written."""
    return write_atomically(path, render_overview_page(overview), what="the page", option="--html")


def render_overview_page(overview: Overview) -> str:
    """The whole page as text: one file that opens offline."""
    perpetual = [] if overview.perpetual is None else [str(overview.perpetual)]
    alive = f"{len(overview.contracts)} dated contract{'s' * (len(overview.contracts) != 1)}"
    about = ", ".join([str(overview.spot), *perpetual, alive])
    pictures, missing = _figure_sections(overview)
    return render_page(
        title=f"Premium of {overview.market.instruments[overview.spot.contracts[0]].base}",
        subtitle=f"{instant(overview.time)} UTC · {about}",
        dataset=overview.market.info,
        sections=[_headline(overview), _curve(overview), _readings(overview), *pictures, _provenance(overview, missing)],
    )


def _headline(overview: Overview) -> Section:
    """The premium in a sentence and a dozen figures."""
    readings = {reading.name: reading for reading in overview.readings}
    cards = []
    for name in CARDS:
        if name in readings and readings[name].known:
            reading = readings[name]
            cards.append((reading.label, _now(reading), reading.meaning))
            if name == "indicator" and known(reading.percentile):
                cards.append(("its percentile", percent(reading.percentile, 0), "of the last 365 days"))
    blocks: list[Block] = [Text(_sentence(readings)), Cards(cards)]
    return Section("now", "Now", "Now", blocks)


def _sentence(readings: dict[str, Reading]) -> str:
    """What a trader would say of it."""
    indicator = readings.get("indicator")
    if indicator is None or not indicator.known:
        return "The premium indicator is not known at this time."
    said = f"The premium indicator is {_now(indicator)} a year"
    if known(indicator.percentile):
        said += f", at the {percent(indicator.percentile, 0)} rank of the last 365 days"
    states = [readings[name] for name in ("shape", "regime", "crowding", "quadrant") if name in readings and readings[name].known]
    parts = "".join(f" {reading.label.capitalize()}: {reading.word}, {reading.meaning}." for reading in states)
    return f"{said}.{parts}"


def _now(reading: Reading) -> str:
    return reading.word if reading.unit is Unit.STATE else written(reading.unit, reading.now).replace("-", "−")


def _curve(overview: Overview) -> Section:
    """A row a contract."""
    table = overview.contracts
    if not len(table):
        return Section("curve", "The curve", "Curve", (Text("No dated contract is known at this time."),))
    rows = [
        [
            Cell(str(name)),
            Cell(number(row["days"], 1)),
            fraction(row["premium"]),
            fraction(row["annualized"]),
            *(fraction(row[f"annualized_{days}d"]) for days in BEFORE),
            fraction(row["net_carry"]),
            fraction(row["break_even_premium"]),
            Cell(percent(row["weight"], 1)),
            Cell(amount(row["volume"])),
            Cell(amount(row["open_interest"])),
            Cell(row["contango"] or UNKNOWN, "t"),
        ]
        for name, row in table.to_dict("index").items()
    ]
    names = (
        "contract",
        "days",
        "premium",
        "annualized",
        *AGO,
        "net carry",
        "break-even",
        "weight",
        "volume, 1 day",
        "open interest",
        "state",
    )
    head = [*heads(*names[:-1]), Cell(names[-1], "t")]
    return Section("curve", "The curve", "Curve", (Table(head, rows, look="wide"), Text(CURVE_NOTE, "muted")))


CURVE_NOTE = (
    "Annualized: premium·365/days, now and before. Net carry: that less financing and the round trip's cost over the days left. Break-even: the premium, not annualized, "
    "at which net carry is zero. Weight: in the indicator. Volume and open interest in base units."
)


def _readings(overview: Overview) -> Section:
    """Every reading that is known now or was lately: figures, then states."""
    shown = [reading for reading in overview.readings if any(map(known, (reading.now, *reading.before)))]
    figures = [
        [
            Cell(reading.label),
            *(signed(written(reading.unit, value)) for value in (reading.now, *reading.before)),
            Cell(percent(reading.percentile, 0) if known(reading.percentile) else ""),
            Cell(": ".join(filter(None, (reading.word, reading.meaning))), "t w"),
        ]
        for reading in shown
        if reading.unit is not Unit.STATE
    ]
    states = [
        [
            Cell(reading.label),
            *(Cell(word or UNKNOWN, "t") for word in (reading.word, *reading.words_before)),
            Cell(reading.meaning, "t w"),
        ]
        for reading in shown
        if reading.unit is Unit.STATE
    ]
    blocks: list[Block] = []
    if figures:
        blocks.append(Table([*heads("reading", "now", *AGO, "percentile"), Cell("what it says", "t")], figures, look="told"))
    if states:
        blocks += [Heading("States"), Table(heads("state", "now", *AGO, "what it says", text=9), states, look="told")]
    if not shown:
        blocks.append(Text("Nothing is known at this time."))
    return Section("readings", "Readings", "Readings", blocks)


def _figure_sections(overview: Overview) -> tuple[list[Section], list[str]]:
    """A section a figure, and for each figure that can't be drawn a sentence why."""
    sections, missing = [], []
    simulated = overview.market.info.simulated
    for plan, figure in drawn(overview):
        if isinstance(figure, str):
            missing.append(f"{plan.title}: {figure}.")
        else:
            alt = f"{'SIMULATED data. ' * simulated}{plan.describe(overview)}"
            block = drawing(figure, plan.name, alt, plan.caption, simulated)
            sections.append(Section(plan.name, plan.title, plan.short, (block,)))
    return sections, missing


def _provenance(overview: Overview, missing: list[str]) -> Section:
    """What is missing, what was assumed, and where the data come from."""
    market = overview.market
    basket = overview.weighting.replace("_", " ") if isinstance(overview.weighting, str) else "own table"
    facts = [
        ("dataset", market.info.name),
        ("content hash", market.info.hash),
        ("data", "SIMULATED: made by a generator, not by a market" if market.info.simulated else "real, as imported"),
        (
            "history",
            f"{instant(market.clock[0])} to {instant(overview.time)} UTC, {overview.bar + 1:,} bars; nothing later has a part in this page",
        ),
        ("basket", f"weighting {basket}; a contract fades in and out over {overview.roll_days:g} days"),
        ("round-trip cost", "by the venues' rules" if overview.cost is None else percent(overview.cost)),
    ]
    blocks: list[Block] = []
    if missing:
        blocks += [Heading("Figures left out"), Points(missing)]
    if overview.notes:
        blocks += [Heading("Notes"), Points(list(overview.notes))]
    blocks += [Heading("Where it comes from"), Facts(facts), Text(", ".join(programs()), "muted")]
    return Section("data", "Notes and data", "Notes", blocks)
