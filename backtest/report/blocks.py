"""What a page is made of: sections of blocks, plain data that the template draws.

Text in a block is plain text and is escaped by the template; only a figure's SVG is markup.

    Section("costs", "Costs", (Text("Nothing was paid."),))
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple


class Cell(NamedTuple):
    """One cell: its text, its CSS classes (t text, n negative, w may wrap), and for heat maps a strength of 0–100."""

    text: str
    kind: str = ""
    heat: int | None = None


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    name: ClassVar[str] = "text"
    text: str
    look: str = ""


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    name: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Cards:
    """Headline figures: label, value, meaning."""

    name: ClassVar[str] = "cards"
    items: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Figure:
    """An SVG element with its caption; the alternative text is inside the SVG."""

    name: ClassVar[str] = "figure"
    svg: str
    caption: str


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    name: ClassVar[str] = "facts"
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    name: ClassVar[str] = "points"
    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table; `printed` limits the rows on paper, `row_heads` makes each row's first cell its heading."""

    name: ClassVar[str] = "table"
    head: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    foot: Sequence[Sequence[Cell]] = ()
    look: str = ""
    caption: str = ""
    printed: int | None = None
    row_heads: bool = True


Block = Text | Heading | Cards | Figure | Facts | Points | Table


@dataclass(frozen=True)
class Section:
    """A part of the page with its anchor and its name in the navigation; an alarm is shown as a warning."""

    id: str
    title: str
    short: str
    blocks: Sequence[Block]
    alarm: bool = False


def signed(text: str, value: float | None = None, kind: str = "") -> Cell:
    """A number's cell with a true minus sign, marked when it is negative."""
    negative = value < 0 if value is not None else text.startswith("-")
    return Cell(text.replace("-", "−"), f"{kind} n".strip() if negative and text.strip("-0.,%") else kind)
