"""What the sections of every page are made with: column heads, cells of cash and percent, a drawing with its caption, the programs' versions.

drawing(figure, "equity", alt, caption, simulated)
"""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from backtest.report import style
from backtest.report.blocks import Cell, Figure, signed
from backtest.report.words import UNKNOWN, known, money, number, percent

if TYPE_CHECKING:
    from matplotlib import figure

PRINTED_ROWS = 200
MOST_ROWS = 2000  # of a table on the page: more make it heavy, and nobody reads them
PACKAGES = ("carry-backtest", "numpy", "pandas", "numba", "pyarrow", "matplotlib")


def heads(*names: str, text: int = 1) -> list[Cell]:
    """Column heads, the first `text` of them over text."""
    return [Cell(name, "t" if position < text else "") for position, name in enumerate(names)]


def cash(value: float | None) -> Cell:
    """A cell of money."""
    return signed(money(value), sort=finite(value))


def fraction(value: float | None, decimals: int = 2) -> Cell:
    """A cell of percent."""
    return signed(percent(value, decimals), sort=finite(value))


def count(value: float | None) -> Cell:
    """A cell of a whole number."""
    return Cell(f"{int(value):,}" if value is not None and known(value) else UNKNOWN, sort=finite(value))


def bar(value: float | None, longest: float, text: str = "") -> Cell:
    """A cell of percent (or of `text`) with a bar behind it, as long as its share of the longest one."""
    written = signed(text or percent(value, 1), sort=finite(value))
    share = abs(value) / longest if value is not None and known(value) and longest > 0 else 0.0
    return written._replace(
        kind=f"{written.kind} bar {'lost' if value is not None and value < 0 else 'won'}".strip(), heat=round(100 * share)
    )


def finite(value: float | None) -> float | None:
    """What a cell is sorted by: None where nothing is known."""
    return float(value) if value is not None and known(value) else None


def decimal(value: float | None, decimals: int = 2) -> Cell:
    """A cell of a number."""
    return signed(number(value, decimals), sort=finite(value))


def minus(text: str) -> str:
    """A text with true minus signs."""
    return text.replace("-", "−")


def drawing(drawn: "figure.Figure", name: str, alt: str, caption: str, simulated: bool) -> Figure:
    """A figure for the page; on made-up data the caption says so too."""
    from markupsafe import Markup

    return Figure(Markup(style.to_svg(drawn, name=name, alt=alt)), f"SIMULATED DATA. {caption}".strip() if simulated else caption)


def programs() -> list[str]:
    """The versions of what computed and drew the page."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return [*found, f"Python {platform.python_version()}"]
