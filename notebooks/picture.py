"""Draw the README's picture: cash and carry on the simulated sample, as the first command of the README runs it.

One file for light and dark: the house colours become CSS variables with both tones, as in a report.

    python notebooks/picture.py                  # notebooks/picture.svg, from data/sample
    python notebooks/picture.py --data DIR --into FILE
"""

import argparse
import sys
from pathlib import Path

import backtest as bt
from backtest.report import style

ROOT = Path(__file__).resolve().parents[1]
ALT = "Premium with entries and exits, equity beside a higher threshold, and where the money came from, of cash and carry on simulated data"


def draw(market: bt.Market) -> str:
    """The picture as one SVG document."""
    sys.path.append(str(ROOT / "strategies"))
    from cash_and_carry import CashAndCarry

    first, second = (bt.run(CashAndCarry(enter=enter), market) for enter in (0.08, 0.12))
    with style.house_style():
        figure = style.new_figure(6.4)
        axes = figure.subplot_mosaic([["premium", "premium"], ["equity", "sources"]], height_ratios=[1, 1.15])
        bt.plot_premium(first, axes["premium"])
        bt.plot_equity({"enter at 8% a year": first, "at 12%": second}, axes["equity"])
        bt.plot_attribution(first, axes["sources"])
        svg = style.to_svg(figure, name="picture", alt=ALT)
    return standalone(svg)


def standalone(svg: str) -> str:
    """A page's SVG element as a file of its own: with its colours for light and dark, a ground, and a font."""
    tones = [";".join(f"--{name}:{pair[tone]}" for name, pair in style.COLOURS.items()) for tone in (0, 1)]
    css = (
        f":root{{{tones[0]}}}@media(prefers-color-scheme:dark){{:root{{{tones[1]}}}}}text{{font-family:system-ui,'DejaVu Sans',sans-serif}}"
    )
    head, body = svg.split(">", 1)
    head = head.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    return f'{head}><style>{css}</style><rect width="100%" height="100%" rx="8" fill="var(--page)"/>{body}\n'


def main() -> None:
    """Draw it into a file."""
    parser = argparse.ArgumentParser(description="Draw the README's picture from the simulated sample.")
    parser.add_argument("--data", default=str(ROOT / "data" / "sample"), metavar="DIR", help="the simulated sample (default: data/sample)")
    parser.add_argument(
        "--into", type=Path, default=ROOT / "notebooks" / "picture.svg", metavar="FILE", help="default: notebooks/picture.svg"
    )
    found = parser.parse_args()
    found.into.write_text(draw(bt.load_market(found.data)), encoding="utf-8")
    print(f"Picture: {found.into}")


if __name__ == "__main__":
    main()
