"""How numbers, times and names are written, once for the table and the page, and what each metric and source is called.

A value that is not known is written "–", never "nan". Cash has two decimals and thousands separators, fractions become percent, times are UTC
to the minute. The HTML page asks for a true minus sign; the terminal keeps the ASCII one.

    money(-1234.5) == "-1,234.50"
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

UNKNOWN = "–"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

SOURCE_LABELS = {
    "price_long": "price of the long leg",
    "price_short": "price of the short leg",
    "legging": "legging",
    "funding": "funding",
    "financing": "financing of debt",
    "idle_cash": "interest on idle cash",
    "borrow": "borrow fee",
    "staking": "staking",
    "fees": "trading fees",
    "slippage": "slippage",
    "settlement": "delivery fees",
    "liquidation": "liquidation",
}


@dataclass(frozen=True)
class Metric:
    """One figure of a run: its key, its name for people, how it is written, and what it means."""

    key: str
    label: str
    style: str
    meaning: str


METRICS = (
    Metric("total_return", "total return", "percent", "final equity over capital, less one"),
    Metric("annual_return", "annual return", "percent", "compounded, 365 days a year"),
    Metric("annual_volatility", "annual volatility", "percent", "of daily returns at 00:00 UTC"),
    Metric("sharpe", "Sharpe", "ratio", "daily returns, risk-free rate 0"),
    Metric("excess_sharpe", "Sharpe over cash", "ratio", "daily returns over those of idle cash"),
    Metric("sortino", "Sortino", "ratio", "as Sharpe, over downside deviation"),
    Metric("calmar", "Calmar", "ratio", "annual return over the deepest fall"),
    Metric("max_drawdown", "max drawdown", "percent", "deepest fall from the running peak, at bar closes"),
    Metric("time_in_market", "time in market", "percent", "share of bars with a position"),
    Metric("trades", "trades", "count", "from first fill to last; open ones too"),
    Metric("win_rate", "win rate", "percent", "share of closed trades with a gain"),
    Metric("avg_hold_days", "average hold, days", "days", "first fill to last"),
    Metric("turnover", "turnover", "ratio", "notional traded a year over mean equity"),
    Metric("spot_beta", "beta to spot", "slope", "change of equity in % for each % of the spot, day by day; near 0 is delta-neutral"),
    Metric("hedged_share", "hedged bars", "percent", "of the bars with a position: both legs of equal base quantity"),
)


def known(value: object) -> bool:
    """Whether a value can be shown: not None, NaN, NaT or infinite."""
    if value is None or value is pd.NaT or value is pd.NA:
        return False
    return not (isinstance(value, int | float) and not math.isfinite(value))


def number(value: float | None, decimals: int = 2, *, sign: bool = False) -> str:
    """A number with thousands separators; a rounded zero has no sign."""
    if value is None or not known(value):
        return UNKNOWN
    rounded = round(float(value), decimals) + 0.0
    return f"{rounded:+,.{decimals}f}" if sign and rounded else f"{rounded:,.{decimals}f}"


def money(value: float | None, *, width: int | None = None, sign: bool = False) -> str:
    """Cash to the cent; within `width` characters it gives up the cents first, then whole thousands."""
    written = number(value, 2, sign=sign)
    if width is None or len(written) <= width or value is None:
        return written
    written = number(value, 0, sign=sign)
    return written if len(written) <= width else f"{value:.{max(width - 7, 0)}e}"


def percent(value: float | None, decimals: int = 2, *, sign: bool = False) -> str:
    """A fraction as percent."""
    return UNKNOWN if value is None or not known(value) else number(100 * value, decimals, sign=sign) + "%"


def price(value: float | None) -> str:
    """A price with as many decimals as its size deserves."""
    if value is None or not known(value):
        return UNKNOWN
    return number(value, 2) if abs(value) >= 1 else f"{value:.6g}"


def quantity(value: float | None) -> str:
    """Base units without trailing zeros."""
    if value is None or not known(value):
        return UNKNOWN
    return f"{round(float(value), 8):,.8f}".rstrip("0").rstrip(".")


def instant(value: pd.Timestamp | None) -> str:
    """A time to the minute."""
    return value.strftime("%Y-%m-%d %H:%M") if isinstance(value, pd.Timestamp) else UNKNOWN


def day(value: pd.Timestamp | None) -> str:
    """A date."""
    return value.strftime("%Y-%m-%d") if isinstance(value, pd.Timestamp) else UNKNOWN


def plain(value: object) -> str:
    """A parameter's value the way it would be typed."""
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, tuple | list):
        return (" " if any(isinstance(part, str) for part in value) else ",").join(map(plain, value))
    return str(value) if value is not None else "none"


def middle(text: str, width: int) -> str:
    """A text that fits: of a long one its two ends, as those tell names apart."""
    if len(text) <= width:
        return text
    tail = (width - 2) // 2
    return f"{text[: width - 2 - tail]}..{text[len(text) - tail :]}"


def metric(style: str, value: float | int | None) -> str:
    """A metric in the style of its kind; beyond ten million in scientific notation, as happens to a ratio over no volatility at all."""
    if value is not None and known(value) and abs(value) >= 1e7 and style != "count":
        return f"{value:.3e}"
    if style == "percent":
        return percent(value)
    return number(value, {"count": 0, "days": 1, "slope": 4}.get(style, 2))


def metric_style(key: str) -> str:
    """How a metric is written, by its key."""
    return next((spec.style for spec in METRICS if spec.key == key), "count" if key == "liquidations" else "ratio")


def metric_label(key: str) -> str:
    """What a metric is called, by its key."""
    return next((spec.label for spec in METRICS if spec.key == key), "PnL" if key == "pnl" else key.replace("_", " "))


def metric_rows(metrics: Mapping[str, float | int | None]) -> list[tuple[Metric, str]]:
    """Every metric with its written value: the known ones in reading order, then any further ones by their own names."""
    specs = [spec for spec in METRICS if spec.key in metrics]
    named = {spec.key for spec in METRICS}
    specs += [Metric(key, key.replace("_", " "), "ratio", "") for key in metrics if key not in named]
    return [(spec, metric(spec.style, metrics[spec.key])) for spec in specs]


def source_label(source: str) -> str:
    """What a source of PnL is called."""
    return SOURCE_LABELS.get(source, source.replace("_", " "))
