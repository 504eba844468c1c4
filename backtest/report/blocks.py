"""What a page is made of: sections of blocks, plain data that the template draws.

Text in a block is plain text and is escaped by the template; only a figure's SVG is markup.

    Section("costs", "Costs", (Text("Nothing was paid."),))
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple


class Cell(NamedTuple):
    """One cell: its text, its CSS classes (t text, n negative, w may wrap), for heat maps and bars a strength of 0–100, and the value it is sorted by.

    Without `sort` a cell is sorted by its text.
    """

    text: str
    kind: str = ""
    heat: int | None = None
    sort: float | None = None


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
    """Headline figures: label, value, meaning, and perhaps a fourth text that stands below the value."""

    name: ClassVar[str] = "cards"
    items: Sequence[tuple[str, ...]]
    look: str = ""


@dataclass(frozen=True)
class Bars:
    """Horizontal bars around one zero: label, written value, and length as a share of the longest (below 0: to the left, hatched)."""

    name: ClassVar[str] = "bars"
    caption: str
    items: Sequence[tuple[str, str, float]]


@dataclass(frozen=True)
class Figure:
    """An SVG element with its caption; the alternative text is inside the SVG."""

    name: ClassVar[str] = "figure"
    svg: str
    caption: str


@dataclass(frozen=True)
class Choice:
    """Figures of which one is seen, by a label each; the first is printed. `id` is part of their names on the page."""

    name: ClassVar[str] = "choice"
    id: str
    title: str
    options: Sequence[tuple[str, Figure]]


@dataclass(frozen=True)
class Code:
    """Lines that one copies."""

    name: ClassVar[str] = "code"
    text: str


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
    """A table; `printed` limits the rows on paper, `row_heads` makes each row's first cell its heading, `sortable` lets the reader sort it."""

    name: ClassVar[str] = "table"
    head: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    foot: Sequence[Sequence[Cell]] = ()
    look: str = ""
    caption: str = ""
    printed: int | None = None
    row_heads: bool = True
    sortable: bool = False


@dataclass(frozen=True)
class Fold:
    """Blocks that one opens where one wants to know more; on paper they are open."""

    name: ClassVar[str] = "fold"
    title: str
    blocks: "Sequence[Block]"


@dataclass(frozen=True)
class Columns:
    """Blocks beside each other where the page is wide enough."""

    name: ClassVar[str] = "columns"
    parts: "Sequence[Sequence[Block]]"


Block = Text | Heading | Cards | Bars | Figure | Choice | Code | Facts | Points | Table | Fold | Columns


@dataclass(frozen=True)
class Section:
    """A part of the page with its anchor and its name in the navigation; an alarm is shown as a warning."""

    id: str
    title: str
    short: str
    blocks: Sequence[Block]
    alarm: bool = False


def signed(text: str, value: float | None = None, kind: str = "", *, sort: float | None = None) -> Cell:
    """A number's cell with a true minus sign, marked when it is negative."""
    negative = value < 0 if value is not None else text.startswith("-")
    return Cell(text.replace("-", "−"), f"{kind} n".strip() if negative and text.strip("-0.,%") else kind, None, sort)
