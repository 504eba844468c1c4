"""What the cards of a notebook are made of: a white card with a badge, figures, tables, curves and sentences, as plain HTML with its own style.

The style is scoped to the card's class and says `!important` where notebooks style tables of their own, so that a card is the same in light and dark themes.
Curves are small SVG drawings without matplotlib: a card must cost nothing.

    card("CashAndCarry", "six years", [figures([("Sharpe", "1.20")]), table(["source", "cash"], [["funding", "61,040"]])], simulated=True)
"""

import html
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.report import style

Array = npt.NDArray[np.float64]

CLASS = "carry-card"
MOST_ROWS = 30
POINTS = 320  # of a curve
WIDTH, HEIGHT = 860.0, 150.0  # of the drawing, in its own units
LEFT, FOOT, HEAD = 4.0, 16.0, 14.0
LONGEST = 60  # characters of a cell
WRAPPED = 20  # characters from which a text may take several lines, where the card is narrow


def sheet() -> str:
    """The style of a card, in the light tones of the house."""
    tone = {name: light for name, (light, _) in style.COLOURS.items()}
    rules = {
        "": f"background:{tone['page']}!important;color:{tone['ink']}!important;color-scheme:light;border:1px solid {tone['grid']};border-radius:8px;"
        "padding:12px 16px;margin:4px 0;max-width:900px;box-sizing:border-box;overflow-x:auto;"
        "font:13px/1.45 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;text-align:left",
        " *": "box-sizing:border-box",
        " .h": "display:flex;gap:10px;align-items:baseline;flex-wrap:wrap;justify-content:space-between",
        " .t": f"font-size:16px;font-weight:650;color:{tone['ink']}",
        " .s,{0} .n": f"color:{tone['muted']}!important;margin:2px 0 0!important",
        " .n": "font-size:12px;white-space:pre-wrap",
        " .sim": f"color:{tone['red']};border:1px solid {tone['red']};border-radius:4px;padding:0 6px;font-size:11px;font-weight:700;letter-spacing:.04em",
        " .f": "display:flex;flex-wrap:wrap;gap:6px 22px;margin:10px 0",
        " .f div": "min-width:74px",
        " .f b": "display:block;font-size:16px;font-weight:600;font-variant-numeric:tabular-nums;white-space:nowrap",
        " .f span": f"color:{tone['muted']};font-size:11.5px;white-space:nowrap",
        " .c": f"font-weight:600;margin:10px 0 2px!important;color:{tone['ink']}!important;font-size:13px",
        " .loss,{0} .alarm": f"color:{tone['red']}!important",
        " .alarm": "font-weight:600;margin:6px 0!important",
        " table": "border-collapse:collapse;border:0;margin:2px 0!important;font:inherit;font-size:12.5px;background:transparent!important;display:table;width:auto",
        " tr,{0} th,{0} td": f"background:transparent!important;color:{tone['ink']}!important;border:0!important",
        " th,{0} td": "padding:2px 12px 2px 0!important;text-align:right!important;white-space:nowrap;font-variant-numeric:tabular-nums;"
        "vertical-align:middle!important;max-width:none!important",
        " th": f"font-weight:600;color:{tone['muted']}!important;border-bottom:1px solid {tone['grid']}!important",
        " .l": "text-align:left!important",
        " td.w": "white-space:normal",
        " td.loss": f"color:{tone['red']}!important",
        " .bar": "display:inline-block;height:9px;border-radius:2px;vertical-align:middle",
        " svg": "display:block;width:100%;height:auto;margin:6px 0;max-width:100%",
        " svg text": f"font:11px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:{tone['muted']};paint-order:stroke;stroke:{tone['page']};stroke-width:3px",
    }
    scope = f".{CLASS}"
    return "".join(f"{scope}{selector.replace('{0}', scope)}{{{rule}}}" for selector, rule in rules.items())


def card(title: str, told: str, blocks: Iterable[str], *, simulated: bool = False) -> str:
    """A whole card. told: the line below its title."""
    badge = '<span class="sim">SIMULATED DATA</span>' if simulated else ""
    head = f'<div class="h"><span class="t">{escaped(title)}</span>{badge}</div><p class="s">{escaped(told)}</p>'
    return f'<div class="{CLASS}"><style>{sheet()}</style>{head}{"".join(blocks)}</div>'


def escaped(text: object) -> str:
    """A text for the page, in which nothing is markup."""
    return html.escape(str(text))


def minus(text: str) -> str:
    """A number with a true minus sign."""
    return text.replace("-", "−") if text[:1] == "-" else text


def figures(pairs: Iterable[tuple[str, str]]) -> str:
    """Headline figures with what they are."""
    cells = (f"<div><b{_loss(text)}>{escaped(minus(text))}</b><span>{escaped(label)}</span></div>" for label, text in pairs)
    return f'<div class="f">{"".join(cells)}</div>'


def _loss(text: str) -> str:
    return ' class="loss"' if text[:1] == "-" and text.strip("-0.,%") else ""


def heading(text: str) -> str:
    """A small heading."""
    return f'<p class="c">{escaped(text)}</p>'


def note(text: str) -> str:
    """A paragraph of small letters."""
    return f'<p class="n">{escaped(text)}</p>'


def alarm(text: str) -> str:
    """What nobody may overlook."""
    return f'<p class="alarm">{escaped(text)}</p>'


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, text: int = 1, more: str = "") -> str:
    """A table of at most thirty rows, the first columns being texts. more: where the other rows are."""
    titles = "".join(
        f'<th class="l">{escaped(name)}</th>' if place < text else f"<th>{escaped(name)}</th>" for place, name in enumerate(head)
    )
    body = "".join(f"<tr>{''.join(_cell(value, place < text) for place, value in enumerate(row))}</tr>" for row in rows[:MOST_ROWS])
    rest = note(f"… {len(rows) - MOST_ROWS:,} more{f', in {more}' if more else ''}") if len(rows) > MOST_ROWS else ""
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>{rest}"


def _cell(value: object, words: bool) -> str:
    if isinstance(value, Markup):
        return f'<td class="l">{value.code}</td>'
    written = str(value)
    if words:
        long = " w" if len(written) > WRAPPED else ""
        return f'<td class="l{long}">{escaped(written if len(written) <= LONGEST else written[: LONGEST - 1] + "…")}</td>'
    return f"<td{_loss(written)}>{escaped(minus(written))}</td>"


class Markup:
    """A cell that is HTML already."""

    def __init__(self, code: str) -> None:
        self.code = code


def bar(share: float, tone: str) -> Markup:
    """A bar as long as a share, at most 1, of the space for it; losses are hatched."""
    light = style.COLOURS[tone][0]
    fill = light if share >= 0 else f"repeating-linear-gradient(135deg,{light} 0 3px,#fff 3px 5px)"
    return Markup(f'<span class="bar" style="width:{max(abs(share) * 160, 1):.0f}px;background:{fill}"></span>')


def curve(
    lines: Sequence[tuple[str, Array, Array]],
    *,
    about: str,
    level: float | None = None,
    tones: Sequence[str] = ("blue", "orange", "green", "purple"),
) -> str:
    """Curves over time (days since 1970) as a small drawing: name, times, values. level: where a dashed line stands; about: what a reader who can't see it hears."""
    drawn = [(name, times, values) for name, times, values in lines if np.isfinite(values).any()]
    if not drawn:
        return ""
    known = np.concatenate([values[np.isfinite(values)] for _, _, values in drawn] + [np.array([] if level is None else [level])])
    low, high = float(known.min()), float(known.max())
    first, last = min(float(times[0]) for _, times, _ in drawn), max(float(times[-1]) for _, times, _ in drawn)
    span, length = (high - low) or 1.0, (last - first) or 1.0

    def across(times: Array) -> Array:
        return LEFT + (times - first) / length * (WIDTH - 2 * LEFT)

    def up(values: Array) -> Array:
        return HEAD + (high - values) / span * (HEIGHT - HEAD - FOOT)

    parts = [f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{html.escape(about)}">']
    if level is not None:
        at = float(up(np.array([level]))[0])
        parts.append(
            f'<path d="M{LEFT} {at:.1f}H{WIDTH - LEFT:g}" stroke="{style.COLOURS["grey"][0]}" stroke-width="1" stroke-dasharray="4 3" fill="none"/>'
        )
    for place, (_, times, values) in reversed(list(enumerate(drawn))):
        tone = style.COLOURS[tones[place % len(tones)]][0]
        known_values = np.isfinite(values)
        kept = style.thin(values[known_values], POINTS)
        x, y = across(times[known_values][kept]), up(values[known_values][kept])
        points = "L".join(f"{one:.1f} {other:.1f}" for one, other in zip(x.tolist(), y.tolist(), strict=True))
        mark = f'<circle cx="{x[0]:.1f}" cy="{y[0]:.1f}" r="3" fill="{tone}"/>' if len(kept) == 1 else ""
        parts.append(f'<path d="M{points}" stroke="{tone}" stroke-width="1.5" stroke-linejoin="round" fill="none"/>{mark}')
    shape = "%Y-%m-%d" if length >= 2 else "%Y-%m-%d %H:%M"
    begin, end = (pd.Timestamp(day * 86_400e9, unit="ns").strftime(shape) for day in (first, last))
    parts.append(
        f'<text x="{LEFT}" y="{HEIGHT - 3:g}">{begin}</text><text x="{WIDTH - LEFT:g}" y="{HEIGHT - 3:g}" text-anchor="end">{end}</text>'
    )
    parts.append(
        f'<text x="{LEFT}" y="10">{short(high)}</text><text x="{WIDTH - LEFT:g}" y="{HEIGHT - FOOT - 2:g}" text-anchor="end">{short(low)}</text></svg>'
    )
    return "".join(parts) + (_legend([name for name, _, _ in drawn], tones) if len(drawn) > 1 else "")


def short(value: float) -> str:
    """A number at the end of an axis: cash without cents, growth with three digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _legend(names: Sequence[str], tones: Sequence[str]) -> str:
    parts = (
        f'<span style="white-space:nowrap;margin-right:14px"><span style="color:{style.COLOURS[tones[place % len(tones)]][0]};font-weight:700">—</span> {escaped(name)}</span>'
        for place, name in enumerate(names)
    )
    return f'<p class="n" style="white-space:normal">{"".join(parts)}</p>'
