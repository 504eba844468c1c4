"""`carry data spreads`: how wide the legs' spreads are, how deep their books, and the half-spread that follows."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from backtest.cli.parser import FILES, FOLDERS, add_command, add_json, completed, time_option
from backtest.cli.text import put, text_table, wrapped
from backtest.errors import ParameterError
from backtest.terminal import waiting

if TYPE_CHECKING:
    from backtest.cli.parser import Commands
    from backtest.data.spreads import Sample, Spreads

_DESCRIPTION = """print how wide the spreads of a dataset's legs are and how deep their books

Spreads come from the bars (mean over the bar; quotes at its end) or from a
series such as ETHUSD-PERP.hyperliquid.spread. Each bar counts alike: these are
shares of the time, not of the trades."""

_EXAMPLES = """carry data spreads data/sample
carry data spreads data/sample --start 2022-01-01 --plot spreads.png"""


def add(commands: "Commands") -> None:
    """Add the command to `carry data`."""
    summary = "print how wide the legs' spreads are and how deep their books"
    parser = add_command(commands, "spreads", summary, description=_DESCRIPTION, examples=_EXAMPLES, done="printed or written")
    completed(parser.add_argument("folder", metavar="DIR", help="folder of the dataset"), FOLDERS)
    parser.add_argument("--start", metavar="D", help="from this time on, as 2023-06-01 or 2023-06-01T08:00 (default: all)")
    parser.add_argument("--end", metavar="D", help="up to this time (default: all)")
    plot = parser.add_argument("--plot", metavar="FILE", help="draw spreads, and depths known half the time, into a .png, .svg or .pdf")
    completed(plot, FILES)
    add_json(parser, "the figures")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from backtest.data.spreads import measure_spreads
    from backtest.data.store import open_dataset

    start, end = (
        None if text is None else time_option(option, text) for option, text in (("--start", arguments.start), ("--end", arguments.end))
    )
    if start is not None and end is not None and start >= end:
        raise ParameterError(f"--start must be before --end: --start={arguments.start}, --end={arguments.end}")
    with waiting(f"reading {arguments.folder}"):
        found = measure_spreads(open_dataset(arguments.folder), start, end)
    text = spreads_text(found)
    if arguments.plot:
        from backtest.report.spreads import write_spreads

        with waiting("drawing the spreads"):
            text += f"\nPlot: {write_spreads(found, arguments.plot)}"
    put(text, arguments.json, found.to_dict)
    return 0


def spreads_text(found: "Spreads") -> str:
    """Spreads, depths and half-spreads, as they are printed."""
    dataset = found.dataset
    lines = [f"{dataset.name}{', SIMULATED' if dataset.simulated else ''}, hash {dataset.hash[:12]}", ""]
    if found.spreads:
        lines += [_table("spread, bps", found.spreads, lambda value: f"{value * 1e4:.3f}"), ""]
    if found.depths:
        lines += [_table("depth, both sides", found.depths, _amount), ""]
        lacking = [one for one in found.depths if one.known < 1]
        words = [f"{one.leg} within {one.measure} is known in {one.known:.1%} of {one.rows:,} rows" for one in lacking]
        lines += [wrapped(f"note: depth of {'; '.join(words)}"), ""] if words else []
    if not found.spreads:
        return "\n".join([*lines, "no leg has a spread, so no half-spread follows"])
    rows = [("half_spread", "from", "median", "p95")]
    rows += [(leg, one.measure, _half(one.quantile(0.5)), _half(one.quantile(0.95))) for leg, one in found.half_spreads.items()]
    told = (
        "half_spread is what an order pays that the best level fills: a fraction, for Execution(half_spread=…) or --half-spread. "
        "Bars with bid and ask need none: unless it is set, each fill pays the quotes of its bar, and 1 bp where they are lacking. "
        "Spreads widen while prices jump, so orders at such times pay more than these shares of the time say."
    )
    return "\n".join([*lines, text_table(rows, "<<>>"), "", wrapped(told)])


def _table(title: str, samples: "Sequence[Sample]", written: Callable[[float], str]) -> str:
    names = list(samples[0].summary)
    rows = [(title, "by", "rows", *names)]
    rows += [(one.leg, one.measure, f"{len(one.values):,}", *(written(one.summary[name]) for name in names)) for one in samples]
    return text_table(rows, "<<" + ">" * (len(names) + 1))


def _amount(value: float) -> str:
    """An amount with three digits that count."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.{max(0, 2 - len(str(int(value / size))) + 1)}f}{letter}"
    return f"{value:.0f}"


def _half(value: float) -> str:
    return f"{value:.7f}".rstrip("0").rstrip(".") if value else "0"
