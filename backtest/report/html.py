"""The report as one HTML file that opens offline, light or dark, and prints.

A page is a list of sections, a section a list of blocks (`blocks.py`), and one template draws blocks: a new section is one function in
`SECTIONS`. Figures are inline SVG whose colours are the page's own; nothing is loaded from elsewhere. The same result gives the same bytes.

    write_report(result, "reports/cash_and_carry.html")
"""

import os
from collections.abc import Sequence
from pathlib import Path

from backtest.report.blocks import Section
from backtest.report.files import write_atomically
from backtest.report.protocol import DatasetInfo, Reportable
from backtest.report.sections import SECTIONS
from backtest.report.style import COLOURS
from backtest.report.summary import period

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
        sections=sections,
    )


def _colour_variables() -> str:
    light = " ".join(f"--{name}: {tones[0]};" for name, tones in COLOURS.items())
    dark = " ".join(f"--{name}: {tones[1]};" for name, tones in COLOURS.items())
    return f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
