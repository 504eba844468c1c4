"""All figures of a premium: what each is called, how it is drawn, how it is read.

A figure whose data don't exist is left out, and `drawn` says why.

    figures(bt.overview(market))["surface"].savefig("surface.svg")
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backtest.errors import DataError
from backtest.overview.view import Overview
from backtest.report.premium import flows, indicator, surface

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plan:
    """One figure: its name, its title and its short one, how it is drawn and told in words, and how it is read."""

    name: str
    title: str
    short: str
    draw: "Callable[[Overview], Figure]"
    describe: Callable[[Overview], str]
    caption: str


PLANS = (
    Plan(
        "indicator",
        "Premium indicator and regime",
        "Indicator",
        indicator.indicator_figure,
        indicator.describe_indicator,
        "The weighted mean of the contracts' annualized premia. Unshaded: calm; shaded: trending or stressed, as it was known at the time. A stretch narrower than "
        "a line has the colour of its gravest state. High and widening: carry is rich and the market leans long; below zero: backwardation. Rare extremes may lie beyond the axis.",
    ),
    Plan(
        "term-structure",
        "Term structure",
        "Term structure",
        surface.term_structure_figure,
        surface.describe_term_structure,
        "A mark is a contract, the line between them is linear in ln(F/S). A curve that falls to the right pays most for near money: stress or a squeeze of the front; "
        "one that lies below its older ones has been compressed.",
    ),
    Plan(
        "surface",
        "Premium surface",
        "Surface",
        surface.surface_figure,
        surface.describe_surface,
        "Each column is the mean of a stretch of time, each row a constant maturity: blue is contango, orange backwardation, the stronger the farther from zero; empty where "
        "no contract is near enough to the maturity. Premia beyond the scale have its strongest colour.",
    ),
    Plan(
        "funding",
        "Premium against funding",
        "Funding",
        flows.funding_figure,
        flows.describe_funding,
        "Two prices of the same leverage: where the premium lies above the funding, the dated futures pay more than the perpetual. The correlation is Pearson's over all bars at which both "
        "are known; neighbouring bars share most of their window, so it rests on far fewer independent values than there are bars. Rare extremes may lie beyond the axis.",
    ),
    Plan(
        "quadrants",
        "Open-interest quadrants",
        "Open interest",
        flows.quadrants_figure,
        flows.describe_quadrants,
        "Premium and open interest both up: new leverage. Premium up, open interest down: shorts are covering. Premium down, open interest up: new shorts. Both down: longs "
        "are liquidated. Right: the stronger the colour, the larger a quadrant's share of that stretch of time, up to six tenths.",
    ),
    Plan(
        "volume-delta",
        "Cumulative volume delta",
        "CVD",
        flows.volume_delta_figure,
        flows.describe_volume_delta,
        "What takers bought less what they sold since the data begin; a rising line: they buy more than they sell. A price that rises with the spot's line is demand for coins; with the futures' line alone it is leverage. "
        "Only changes mean something, the level depends on where the data begin.",
    ),
    Plan(
        "contributions",
        "Contributions of the maturities",
        "Basket",
        indicator.contributions_figure,
        indicator.describe_contributions,
        "Bands add up to the indicator, each drawn as the means of short stretches of time; a contract fades out before its expiry and in after its listing. Colours repeat along the expiries.",
    ),
)


def figures(overview: Overview) -> "dict[str, Figure]":
    """The figures by name, those whose data exist; nothing in them is later than the overview's bar."""
    return {plan.name: figure for plan, figure in drawn(overview) if not isinstance(figure, str)}


def drawn(overview: Overview) -> "list[tuple[Plan, Figure | str]]":
    """Each plan with its figure, or with the reason why there is none."""
    return [(plan, _drawn(plan, overview)) for plan in PLANS]


def _drawn(plan: Plan, overview: Overview) -> "Figure | str":
    try:
        return plan.draw(overview)
    except DataError as error:
        return str(error)
