"""The premium as a page: its indicator, curve, surface, crowding and flows up to one time, in tables and figures.

`figures` gives the figures alone, for notebooks; matplotlib and jinja2 are imported when something is drawn.

    write_overview(overview, "premium.html")
"""

from backtest.report.premium.figures import figures
from backtest.report.premium.page import render_overview_page, write_overview

__all__ = ["figures", "render_overview_page", "write_overview"]
