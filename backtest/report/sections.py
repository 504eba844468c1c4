"""The sections of the report in their order, one function each from a result to a `Section`, or None when there is nothing to tell.

Every number is computed in `summary`, every picture drawn in `figures…`; in `sections_…` they only get words. What pages of other kinds need of them is
named here too.

    page = [section for make in SECTIONS if (section := make(result)) is not None]
"""

from collections.abc import Callable

from backtest.report.blocks import Section
from backtest.report.protocol import Reportable
from backtest.report.sections_data import provenance_section, quality_section
from backtest.report.sections_equity import beside_section, equity_section, monthly_section
from backtest.report.sections_head import headline_section, rules_section
from backtest.report.sections_liquidations import liquidation_section
from backtest.report.sections_parts import drawing, fraction, heads, programs
from backtest.report.sections_risk import exposure_section, luck_section, regimes_section, sensitivity_section
from backtest.report.sections_sources import attribution_section, costs_section, funding_section, premium_section, term_structure_section
from backtest.report.sections_trades import trades_section

__all__ = ["SECTIONS", "drawing", "fraction", "heads", "liquidation_section", "programs"]

SECTIONS: tuple[Callable[[Reportable], Section | None], ...] = (
    headline_section,
    rules_section,
    liquidation_section,
    equity_section,
    beside_section,
    monthly_section,
    premium_section,
    attribution_section,
    term_structure_section,
    funding_section,
    costs_section,
    exposure_section,
    trades_section,
    regimes_section,
    sensitivity_section,
    luck_section,
    quality_section,
    provenance_section,
)
