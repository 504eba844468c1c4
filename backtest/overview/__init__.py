"""The view of the premium at one time: the curve now and then, the indicator, carry after costs, crowding, liquidity and regime, in one object.

view = bt.overview(market, "2024-03-05")
print(view); view.report("premium.html")
"""

from backtest.overview.build import overview
from backtest.overview.scope import BEFORE
from backtest.overview.view import Overview, Reading, Unit

__all__ = ["BEFORE", "Overview", "Reading", "Unit", "overview"]
