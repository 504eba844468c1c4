"""`carry data check`: what a dataset holds, what is wrong with it, and what it can be used for."""

import argparse
from typing import TYPE_CHECKING, Any

from backtest.cli.parser import FILES, FOLDERS, add_command, add_json, completed
from backtest.cli.text import WIDTH, day, duration, listed, put, shortened, text_table, told, wrapped
from backtest.terminal import waiting

if TYPE_CHECKING:
    import pandas as pd

    from backtest.cli.parser import Commands
    from backtest.data.checks import Check
    from backtest.data.checks.bars import Seen
    from backtest.data.checks.spans import Integers, Spans

_DESCRIPTION = """say what a dataset holds, what is wrong with it, and what it can be used for

Holes, missing funding, closes older than their bar, outliers, bases that can't
be, hours that don't match: found without being told what to look for."""

_EXAMPLES = """carry data check data/sample
carry data check data/mine --plot coverage.png --json check.json"""

FULL, MOST, SOME, NONE = "█", "▓", "░", "·"
LONGEST_NAME = 26
SHOWN_SPANS = 3


def add(commands: "Commands") -> None:
    """Add the command to `carry data`."""
    summary = "say what a dataset holds and what is wrong with it"
    parser = add_command(commands, "check", summary, description=_DESCRIPTION, examples=_EXAMPLES, done="good", one="problems were found")
    completed(parser.add_argument("folder", metavar="DIR", help="folder of the dataset"), FOLDERS)
    completed(parser.add_argument("--plot", metavar="FILE", help="draw the coverage into a .png, .svg or .pdf"), FILES)
    add_json(parser, "what was found")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from backtest.data.checks import check_dataset
    from backtest.data.store import open_dataset

    if arguments.plot:
        from backtest.report.files import figure_file

        figure_file(arguments.plot)
    with waiting(f"checking {arguments.folder}"):
        check = check_dataset(open_dataset(arguments.folder))
    if arguments.plot:
        from backtest.report.coverage import write_coverage

        with waiting("drawing the coverage"):
            write_coverage(check, arguments.plot)
    drawn = f"\nPlot: {arguments.plot}" if arguments.plot else ""
    put(check_text(check) + drawn, arguments.json, lambda: check_json(check))
    return 0 if check.good else 1


def check_text(check: "Check") -> str:
    """What the check found, as it is printed."""
    dataset = check.dataset
    simulated = ", SIMULATED" if dataset.simulated else ""
    head = [f"{dataset.name}{simulated}, hash {dataset.hash[:12]}", f"from {dataset.info.get('source', 'unknown')}"]
    findings = [*listed("error", check.errors), *listed("problem", check.problems), *listed("note", check.notes)]
    count = len(check.errors) + len(check.problems)
    last = "good: nothing is missing, nothing contradicts" if check.good else f"{count} problem{'s' if count > 1 else ''} found"
    parts = [*map(wrapped, head), "", _table(check), "", *_beside(check), *_picture(check), *findings, *_verdict(check), last]
    return "\n".join(parts)


def check_json(check: "Check") -> dict[str, Any]:
    """What the check found, for machines: times with a Z, lengths of time in seconds."""
    usable = [
        {
            "strategy": one.strategy,
            "legs": one.legs,
            "spans": [{"from": _time(start), "to": _time(end)} for start, end in zip(one.spans.starts, one.spans.ends, strict=True)],
            "why_not": one.why or None,
        }
        for one in check.usable
    ]
    beside = [
        {"name": one.name, "from": one.first, "to": one.last, "rows": one.rows, "known_after": _seconds(one.delay)} for one in check.beside
    ]
    findings = [{"rule": one.rule, "instrument": one.instrument, "grave": one.grave, "text": one.text} for one in check.findings]
    facts = {"dataset": told(check.dataset), "source": check.dataset.info.get("source"), "good": check.good, "errors": check.errors}
    return facts | {"findings": findings, "instruments": list(map(_row_json, check.rows)), "beside": beside, "usable": usable}


def _row_json(row: "Seen") -> dict[str, Any]:
    """What is known of an instrument and of its funding."""
    paid = {"from": row.first_event, "to": row.last_event, "events": row.events, "missing": row.unpaid}
    return {
        "id": row.instrument.id,
        "kind": row.instrument.kind,
        "from": row.first,
        "to": row.last,
        "rows": row.rows,
        "bar": _seconds(row.step),
        "largest_gap": _seconds(row.largest_gap),
        "missing": row.missing,
        "funding": {**paid, "largest_wait": _seconds(row.largest_wait)} if row.events else None,
    }


def _time(nanoseconds: int) -> "pd.Timestamp":
    import pandas as pd

    return pd.Timestamp(int(nanoseconds), tz="UTC")


def _seconds(length: "pd.Timedelta | None") -> float | None:
    return None if length is None else length.total_seconds()


def _table(check: "Check") -> str:
    rows = [("instrument", "kind", "from", "to", "rows", "largest gap", "missing")]
    for row in check.rows:
        it = row.instrument
        rows.append((it.id, it.kind, day(row.first), day(row.last), f"{row.rows:,}", duration(row.largest_gap), f"{row.missing:,}"))
        if row.events:
            wait = duration(row.largest_wait)
            rows.append((it.id, "funding", day(row.first_event), day(row.last_event), f"{row.events:,}", wait, f"{row.unpaid:,}"))
    return text_table(rows, "<<>>>>>")


def _beside(check: "Check") -> list[str]:
    """A line a series and other table, with how long after its time a value is usually known."""
    if not check.beside:
        return []
    rows = [("beside them", "from", "to", "rows", "known after")]
    rows += [
        (one.name, day(one.first), day(one.last), f"{one.rows:,}", "at once" if not one.delay else duration(one.delay))
        for one in check.beside
    ]
    return [text_table(rows, "<>>>>"), ""]


def _picture(check: "Check") -> list[str]:
    """A line an instrument (and one for its funding) over a common time axis, with the dates of its ends and its middle below."""
    lines: list[tuple[str, Spans]] = []
    for row in check.rows:
        lines += [(row.instrument.id, row.covered)] if len(row.covered) else []
        lines += [(f"{row.instrument.id} funding", row.paid)] if len(row.paid) else []
    if not lines or check.errors:
        return []
    import numpy as np
    import pandas as pd

    name = min(max(len(text) for text, _ in lines), LONGEST_NAME)
    cells = WIDTH - name - 1
    begin, end = min(int(part.starts[0]) for _, part in lines), max(int(part.ends[-1]) for _, part in lines)
    edges = np.linspace(begin, end, cells + 1).astype(np.int64)
    out = [f"{shortened(text, name):<{name}} {_cells(part, edges)}" for text, part in lines]
    dates = [f"{pd.Timestamp(int(time)):%Y-%m-%d}" for time in (begin, (begin + end) // 2, end)]
    gap = cells - sum(map(len, dates))
    axis = f"{dates[0]}{'':{gap // 2}}{dates[1]}{'':{gap - gap // 2}}{dates[2]}"
    legend = f"{FULL} all bars are there  {MOST} most  {SOME} some  {NONE} none"
    return [*out, f"{'':{name}} {axis}", f"{'':{name}} {legend}", ""]


def _cells(part: "Spans", edges: "Integers") -> str:
    shares = part.within(edges)
    return "".join(FULL if share > 0.995 else MOST if share > 0.5 else SOME if share > 0 else NONE for share in shares)


def _verdict(check: "Check") -> list[str]:
    """What the dataset can be used for, a line a strategy and choice of legs."""
    if check.errors or not check.usable:
        return []
    width = max(len(one.strategy) for one in check.usable)
    lines = ["usable"]
    before = ""
    for one in check.usable:
        name = one.strategy if one.strategy != before else ""
        before = one.strategy
        spans = sorted(zip(one.spans.starts, one.spans.ends, strict=True), key=lambda span: int(span[0] - span[1]))[:SHOWN_SPANS]
        when = ", ".join(f"{_day(start)} to {_day(end)}" for start, end in sorted(spans))
        more = f" and {len(one.spans) - SHOWN_SPANS} shorter" if len(one.spans) > SHOWN_SPANS else ""
        lines.append(wrapped(f"{when}{more}: {one.legs}" if when else f"no: {one.why}", label=f"  {name:<{width}}  "))
    return [*lines, ""]


def _day(nanoseconds: int) -> str:
    import pandas as pd

    return f"{pd.Timestamp(int(nanoseconds)):%Y-%m-%d}"
