"""The page of a premium: what it is now, the curve and the readings as tables, the figures with how they are read, and what is missing.

write_overview(overview, "premium.html")
"""

import os
from pathlib import Path

from backtest.overview import BEFORE, Overview, Reading
from backtest.report.blocks import Block, Cards, Cell, Facts, Heading, Points, Section, Table, Text, signed
from backtest.report.files import write_atomically
from backtest.report.html import render_page
from backtest.report.premium.figures import drawn
from backtest.report.premium_table import amount, fading, kinds_shown, labelled, percentile, written
from backtest.report.sections import drawing, fraction, heads, programs
from backtest.report.words import UNKNOWN, instant, number, percent

CARDS = (
    "indicator", "premium_30d", "premium_90d", "premium_180d", "slope", "net_carry", "perpetual_premium", "funding", "zscore", "volatility", "relative_volume", "leverage_ratio", "spread",
)  # fmt: skip
# The states that are told in a sentence, and the readings that explain them: a regime is explained by its reason.
SAID = {"shape": "shape", "regime": "regime_reason", "crowding": "crowding", "quadrant": "quadrant"}
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
    readings = [overview[name] for name in CARDS]
    cards = [(labelled(overview, reading), _now(reading), reading.meaning) for reading in readings if reading.known]
    return Section("now", "Now", "Now", (Text(_sentence(overview)), Cards(cards)))


def _sentence(overview: Overview) -> str:
    """What a trader would say of it."""
    indicator = overview["indicator"]
    said = f"The premium indicator is {_now(indicator)} a year" if indicator.known else "The premium indicator is not known at this time"
    if percentile(indicator):
        said += f", at the {percentile(indicator)} percentile of the last 365 days"
    states = [(overview[name], overview[why].meaning) for name, why in SAID.items() if overview[name].known]
    parts = "".join(f" {reading.label.capitalize()}: {reading.word}, {meaning}." for reading, meaning in states)
    return f"{said}.{parts}"


def _now(reading: Reading) -> str:
    return written(reading.unit, reading.now).replace("-", "−")


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
    names = ("contract", "days", "premium", "annualized", *AGO, "net carry", "break-even", "weight", "volume, 1 day", "open interest")
    head = [*heads(*names), Cell("state", "t")]
    return Section("curve", "The curve", "Curve", (Table(head, rows, look="wide"), Text(CURVE_NOTE, "muted")))


CURVE_NOTE = (
    "Annualized: premium·365/days, now and before. Net carry: that less financing and the round trip's cost over the days left. Break-even: the premium, not annualized, "
    "at which net carry is zero. Weight: in the indicator. Volume and open interest in base units."
)


def _readings(overview: Overview) -> Section:
    """Every reading that is known now or was lately: figures, then states, then dates."""
    figures, states, dates = kinds_shown(overview)
    blocks: list[Block] = []
    if figures:
        head = [*heads("reading", "now", *AGO, "percentile"), Cell("what it says", "t")]
        blocks.append(Table(head, [_figure_row(overview, reading) for reading in figures], look="told"))
    if states:
        head = heads("state", "now", *AGO, "what it says", text=9)
        blocks += [Heading("States"), Table(head, [_state_row(reading) for reading in states], look="told")]
    if dates:
        blocks += [Heading("Dates"), Facts([(reading.label, f"{number(reading.now, 1)} ({reading.word})") for reading in dates])]
    return Section("readings", "Readings", "Readings", blocks or [Text("Nothing is known at this time.")])


def _figure_row(overview: Overview, reading: Reading) -> list[Cell]:
    return [
        Cell(labelled(overview, reading)),
        *(signed(written(reading.unit, value)) for value in (reading.now, *reading.before)),
        Cell(percentile(reading)),
        Cell(": ".join(filter(None, (reading.word, reading.meaning))), "t w"),
    ]


def _state_row(reading: Reading) -> list[Cell]:
    words = [Cell(word or UNKNOWN, "t") for word in (reading.word, *reading.words_before)]
    return [Cell(reading.label), *words, Cell(reading.meaning, "t w")]


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
    facts = [
        ("dataset", market.info.name),
        ("content hash", market.info.hash),
        ("data", "SIMULATED: made by a generator, not by a market" if market.info.simulated else "real, as imported"),
        (
            "history",
            f"{instant(market.clock[0])} to {instant(overview.time)} UTC, {overview.bar + 1:,} bars; nothing later has a part in this page",
        ),
        ("basket", f"weighting {overview.basket.replace('_', ' ')}, {fading(overview)}"),
        ("round-trip cost", "by the venues' rules" if overview.cost is None else percent(overview.cost)),
    ]
    blocks: list[Block] = []
    if missing:
        blocks += [Heading("Figures left out"), Points(missing)]
    if overview.notes:
        blocks += [Heading("Notes"), Points(list(overview.notes))]
    blocks += [Heading("Where it comes from"), Facts(facts), Text(", ".join(programs()), "muted")]
    return Section("data", "Notes and data", "Notes", blocks)
