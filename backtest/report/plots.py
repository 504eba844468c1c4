"""Figures for notebooks: each draws onto an Axes, or makes one, and returns it.

bt.plot_equity({"always on": always, "gated": gated})
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_equity(curves: Any, ax: "Axes | None" = None, *, log: bool | None = None) -> "Axes":
    """Equity of runs."""
    raise NotImplementedError


def plot_drawdown(curves: Any, ax: "Axes | None" = None) -> "Axes":
    """Drawdown of runs."""
    raise NotImplementedError


def plot_premium(source: Any, ax: "Axes | None" = None) -> "Axes":
    """The premium of a run or a market."""
    raise NotImplementedError


def plot_term_structure(market: Any, at: Any = None, ax: "Axes | None" = None) -> "Axes":
    """The term structure of a market."""
    raise NotImplementedError


def plot_attribution(result: Any, ax: "Axes | None" = None, *, kind: str = "areas") -> "Axes":
    """Where a run's PnL came from."""
    raise NotImplementedError


def plot_exposure(result: Any, ax: "Axes | None" = None) -> "Axes":
    """What a run had at risk."""
    raise NotImplementedError


def plot_heatmap(source: Any, ax: "Axes | None" = None, **choice: Any) -> "Axes":
    """A sweep's statistic over two parameters, or a run's monthly returns."""
    raise NotImplementedError
