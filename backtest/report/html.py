"""The report as one HTML file that opens offline, light or dark, and prints.

A page is a list of sections, a section a list of blocks (`blocks.py`), and one template draws blocks: a new section is one function in
`SECTIONS`. Figures are inline SVG whose colours are the page's own; nothing is loaded from elsewhere. The same result gives the same bytes.

    write_report(result, "reports/cash_and_carry.html")
"""

import html
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from backtest.report.blocks import Block, Cell, Code, Columns, Fold, Section, Table
from backtest.report.files import write_atomically
from backtest.report.protocol import DatasetInfo, Reportable
from backtest.report.sections import SECTIONS
from backtest.report.style import COLOURS
from backtest.report.summary import period

if TYPE_CHECKING:
    from markupsafe import Markup

HERE = Path(__file__).parent


def write_report(result: Reportable, path: str | os.PathLike[str], more: Sequence[Section] = ()) -> Path:
    """Write the report, all of it or nothing, and return where; more: sections that follow. Errors: StorageError if the file can't be written."""
    return write_atomically(path, render_html(result, more), what="report", option="--report")


def render_html(result: Reportable, more: Sequence[Section] = ()) -> str:
    """The whole page as text."""
    return render_page(
        title=result.strategy,
        subtitle=f"{period(result)}, times in UTC",
        dataset=result.dataset,
        sections=[section for make in SECTIONS if (section := make(result)) is not None] + list(more),
    )


def render_page(*, title: str, subtitle: str, dataset: DatasetInfo, sections: Sequence[Section]) -> str:
    """Any page of sections as text; on made-up data every page of it says so."""
    import jinja2
    from markupsafe import Markup

    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.get_template("template.html.j2").render(
        title=title,
        subtitle=subtitle,
        dataset=f"{dataset.name} {dataset.hash[:12]}",
        simulated=dataset.simulated,
        css=Markup(_colour_variables() + (HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "page.js").read_text(encoding="utf-8")) if moves(sections) else "",
        rows=body_rows,
        sections=sections,
    )


def moves(sections: Sequence[Section]) -> bool:
    """Whether a page has something to sort, to copy or to open; else it needs no script."""
    return any(isinstance(block, Code | Fold) or (isinstance(block, Table) and block.sortable) for block in every(sections))


def every(sections: Sequence[Section]) -> Iterator[Block]:
    """All blocks, those within others too."""
    waiting: list[Block] = [block for section in sections for block in section.blocks]
    while waiting:
        block = waiting.pop()
        yield block
        waiting += (
            block.blocks if isinstance(block, Fold) else [one for part in block.parts for one in part] if isinstance(block, Columns) else []
        )


def body_rows(table: Table) -> "Markup":
    """The rows of a table's body. They are joined here, as a template takes ten times as long for thousands."""
    from markupsafe import Markup

    lines = []
    for place, row in enumerate(table.rows):
        beyond = ' class="beyond"' if table.printed is not None and place >= table.printed else ""
        first = _cell(row[0], "th", ' scope="row"') if table.row_heads and row else ""
        lines.append(f"<tr{beyond}>{first}{''.join(_cell(cell, 'td') for cell in row[bool(first) :])}</tr>")
    return Markup("\n".join(lines))


def _cell(cell: Cell, tag: str, more: str = "") -> str:
    text, kind, heat, sort = cell
    kinds = f' class="{html.escape(kind)}"' if kind else ""
    strength = f' style="--h:{heat}"' if heat is not None else ""
    value = f' data-sort="{sort:.9g}"' if sort is not None and sort == sort else ""
    return f"<{tag}{more}{kinds}{strength}{value}>{html.escape(text)}</{tag}>"


def _colour_variables() -> str:
    light = " ".join(f"--{name}: {tones[0]};" for name, tones in COLOURS.items())
    dark = " ".join(f"--{name}: {tones[1]};" for name, tones in COLOURS.items())
    return f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
