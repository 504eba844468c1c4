"""`carry venues`: the rule-book, with the day each rule holds from, how sure it is and where it is written.

carry venues
carry venues binance --at 2024-10-01
"""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backtest.cli.parser import FILES, VENUES, add_command, completed, time_option
from backtest.cli.text import put, text_table, wrapped
from backtest.errors import ParameterError
from backtest.terminal import STANDARD_OUTPUT

if TYPE_CHECKING:
    import pandas as pd

    from backtest.cli.parser import Commands
    from backtest.venues import Entry, Venue

_DESCRIPTION = """print the venues' rules: fees, margin, funding, settlement, trading hours

Every rule carries the day it holds from, its source and how sure it is: doc
(the venue's own words), data (checked against data), note (second-hand). A rule
that is assumed before that day says so; a rule that is not there is an error
where it is needed."""

_EXAMPLES = """carry venues
carry venues binance --at 2024-10-01
carry venues deribit --json deribit.json"""

_FRACTIONS = ("maker", "taker", "fee", "cap", "clamp", "maintenance", "interest_per_day")
_MOST_TIERS = 4


def add(commands: "Commands") -> None:
    """Add the command to `carry`."""
    summary = "print the venues' rules and where they are written"
    parser = add_command(commands, "venues", summary, description=_DESCRIPTION, examples=_EXAMPLES, done="printed or written")
    completed(parser.add_argument("name", metavar="NAME", nargs="?", help="venue (default: the list of them)"), VENUES)
    parser.add_argument("--at", metavar="DATE", help="day whose rules are printed, as 2024-10-01 (default: today)")
    json = parser.add_argument(
        "--json",
        metavar="FILE",
        nargs="?",
        const=STANDARD_OUTPUT,
        help="write them for machines; - or no FILE is standard output, and nothing else goes there",
    )
    completed(json, FILES)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    import pandas as pd

    from backtest.venues import venue, venue_names

    names = venue_names()
    if arguments.name is None and arguments.json in names:
        raise ParameterError(f"--json {arguments.json} is a file's name; give the venue first: carry venues {arguments.json} --json")
    time = pd.Timestamp.now("UTC").normalize() if arguments.at is None else time_option("--at", arguments.at)
    if arguments.name is None:
        books = [venue(name) for name in names]
        put(list_text(books), arguments.json, lambda: [_book_row(book) for book in books])
    else:
        book = venue(arguments.name)
        put(rules_text(book, time), arguments.json, lambda: rules_json(book, time))
    return 0


def list_text(books: "list[Venue]") -> str:
    """The venues, how many entries each has, from when on, and for what."""
    rows = [("venue", "entries", "from", "name"), *((book.name, str(len(book.entries)), _since(book), book.title) for book in books)]
    tables = [wrapped(f"{book.name}: {', '.join(_tables(book))}") for book in books]
    return "\n".join([text_table(rows, "<><<"), "", "rules there are:", *tables])


def _since(book: "Venue") -> str:
    return str(min(entry.since for entry in book.entries))


def _tables(book: "Venue") -> list[str]:
    return list(dict.fromkeys(entry.table for entry in book.entries))


def _book_row(book: "Venue") -> dict[str, Any]:
    return {"venue": book.name, "title": book.title, "entries": len(book.entries), "from": _since(book), "tables": _tables(book)}


def in_force(book: "Venue", time: "pd.Timestamp") -> "list[Entry]":
    """The entry of each table and scope that holds on a day."""
    from backtest.venues.book import newest

    scopes = list(dict.fromkeys((entry.table, entry.scope) for entry in book.entries))
    found = (newest([entry for entry in book.entries if (entry.table, entry.scope) == scope], time.date()) for scope in scopes)
    return [entry for entry in found if entry is not None]


def rules_text(book: "Venue", time: "pd.Timestamp") -> str:
    """A venue's rules of one day, as they are printed."""
    lines, day = [f"{book.title}, rules of {time:%Y-%m-%d}"], time.date()
    for entry in in_force(book, time):
        lines += ["", wrapped(f"{entry.table}{_scope(entry)}: {_values(entry.values)}")]
        assumed = f", ASSUMED on {day}" if entry.assumed(day) else ""
        lines.append(wrapped(f"  from {entry.since}{assumed}; {entry.sure}: {entry.source}"))
    absent = [table for table in _tables(book) if table not in {entry.table for entry in in_force(book, time)}]
    return "\n".join([*lines, *(["", wrapped(f"not known on that day: {', '.join(absent)}")] if absent else [])])


def _scope(entry: "Entry") -> str:
    parts = [*entry.bases, *(kind.value for kind in entry.products), *([entry.settle.value] if entry.settle else [])]
    return f" ({' '.join(parts)})" if parts else ""


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(text for text in (_value(name, value) for name, value in values.items()) if text)


def _value(name: str, value: Any) -> str:
    label = name.replace("_", " ")
    if name == "tiers":
        shown = [
            f"{rate * 100:g}% to {bound:,.0f}" if bound != float("inf") else f"{rate * 100:g}% above" for bound, rate in value[:_MOST_TIERS]
        ]
        return f"maintenance {', '.join(shown)}{f' and {len(value) - _MOST_TIERS} more' if len(value) > _MOST_TIERS else ''}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item:g} USD" for key, item in value.items())
    if isinstance(value, list):
        return f"{label} {' '.join(map(str, value))}" if value else ""
    if name in _FRACTIONS and not isinstance(value, str):
        return f"{label} {value * 1e4:g} bps"
    return f"{label} {value:g}" if isinstance(value, float) else f"{label} {value}"


def rules_json(book: "Venue", time: "pd.Timestamp") -> dict[str, Any]:
    """A venue's rules of one day, for machines; an unbounded last tier has null for its bound."""
    rules = [
        {
            "table": entry.table,
            "products": [kind.value for kind in entry.products],
            "bases": list(entry.bases),
            "settle": entry.settle.value if entry.settle else None,
            "from": str(entry.since),
            "assumed": entry.assumed(time.date()),
            "sure": entry.sure,
            "source": entry.source,
            "values": _plain(entry.values),
        }
        for entry in in_force(book, time)
    ]
    return {"venue": book.name, "title": book.title, "at": f"{time:%Y-%m-%d}", "rules": rules}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return None if value == float("inf") else value
    return value if isinstance(value, str | int | bool) else str(value)
