"""`carry premium`: the premium of a dataset at one time, as a table, as JSON, and as a page with its figures.

carry premium data/sample --at 2021-02-10
carry premium data/all --instruments 'ETHUSDT-*' --html premium.html
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from backtest.cli.parser import FILES, FOLDERS, add_command, add_json, completed, time_option
from backtest.cli.text import print_or_write
from backtest.errors import DataError, ParameterError, did_you_mean
from backtest.flags import add_loading
from backtest.terminal import waiting

if TYPE_CHECKING:
    import pandas as pd

    from backtest.cli.parser import Commands
    from backtest.data.store import Dataset
    from backtest.instruments import Instrument
    from backtest.overview import Overview

    Span = tuple[pd.Timestamp, pd.Timestamp]

_DESCRIPTION = """print the premium at one time, and everything a carry trader reads beside it

The curve now and 1, 7 and 30 days before, carry after costs of each contract,
the indicator (a basket of the maturities) with its percentile, funding,
crowding, liquidity, and the regime. Nothing later than --at has a part in it.
What the dataset can't give is named in a note.

With --html or --json it writes that file and prints its name in place of the
table; the page has the figures, drawn from the history up to --at."""

SHOWN = 8  # names in a message

_EXAMPLES = """carry premium data/sample
carry premium data/sample --at 2021-02-10 --weighting open_interest
carry premium data/sample --at 2022-11-10T08:00 --html premium.html
carry premium data/all --spot ETHUSDT-SPOT --perpetual ETHUSDT-PERP \\
    --futures 'ETHUSDT-2*'
carry premium data/all --spot ETHUSD-SPOT.coinbase --futures '*.cme' \\
    --clock '*.cme' --staleness 4h --json premium.json"""


def add(commands: "Commands") -> None:
    """Add the command to `carry`."""
    parser = add_command(
        commands,
        "premium",
        "print the premium at one time, with carry, crowding and regime",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        done="printed or written",
        usage="DIR [--at TIME] [--html FILE] [--json FILE] [options]",
    )
    completed(parser.add_argument("folder", metavar="DIR", help="folder of the dataset"), FOLDERS)
    parser.add_argument("--at", metavar="TIME", help="time of the view, as 2023-06-01 or 2023-06-01T08:00 (default: the last bar)")
    completed(parser.add_argument("--html", metavar="FILE", help="write a page with the table and the figures"), FILES)
    add_json(parser, "it")
    legs = parser.add_argument_group("legs, where the dataset has several")
    legs.add_argument("--spot", metavar="ID", help="the spot that premia are measured against (default: the only one)")
    legs.add_argument("--perpetual", metavar="ID", help="the perpetual beside the curve (default: the only one)")
    legs.add_argument("--futures", metavar="PATTERN", help="the dated contracts of the curve, as '*.cme' (default: all)")
    count = parser.add_argument_group("basket and costs")
    weighting = count.add_argument(
        "--weighting",
        metavar="W",
        default="equal",
        help="of the indicator: equal, front, long, open_interest or volume (default: %(default)s)",
    )
    completed(weighting, ("equal", "front", "long", "open_interest", "volume"))
    count.add_argument(
        "--roll-days", metavar="N", default="7", help="days before its last over which a contract fades out (default: %(default)s)"
    )
    count.add_argument("--cost", metavar="X", help="of the round trip, a fraction: 10 bps are 0.001 (default: the venues' fees)")
    add_loading(parser.add_argument_group("data"))
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    with waiting(f"reading {arguments.folder}"):
        view = _view(arguments)
    return print_or_write(view, arguments)


def _view(arguments: argparse.Namespace) -> "Overview":
    """The overview that the arguments ask for; only what it needs is loaded. Raises DataError, ParameterError."""
    at = None if arguments.at is None else time_option("--at", arguments.at)
    roll_days = _number("--roll-days", arguments.roll_days)
    cost = None if arguments.cost is None else _number("--cost", arguments.cost)
    from backtest.data.store import open_dataset
    from backtest.load import load_market
    from backtest.overview import overview

    market = load_market(
        arguments.folder,
        end=at,
        freq=arguments.freq,
        clock=arguments.clock,
        instruments=_chosen_legs(open_dataset(arguments.folder), arguments, at),
        currency=arguments.currency,
        staleness=arguments.staleness,
        max_gap=arguments.max_gap,
    )
    return overview(market, at, weighting=arguments.weighting, roll_days=roll_days, cost=cost)


def _chosen_legs(dataset: "Dataset", arguments: argparse.Namespace, at: "pd.Timestamp | None") -> list[str]:
    """The instruments that make the view's legs: one spot, one perpetual of its asset if there is any, and the futures of one product.

    Those without bars up to the time don't count. DataError, naming the option that chooses, where there are several or the one that was named is not there.
    """
    from backtest.load import chosen

    spans = {name: dataset.span(name) for name in chosen(dataset, arguments.instruments, "instruments")}
    there = [dataset.instruments[name] for name, span in spans.items() if span is not None and (at is None or span[0] <= at)]
    if not there:
        first = min((span[0] for span in spans.values() if span is not None), default=None)
        begins = "has no bars; import some" if first is None else f"begins at {first:%Y-%m-%dT%H:%M}; choose a later --at"
        known = f"nothing is known up to --at {arguments.at}: " if at else ""
        raise DataError(f"{known}the dataset {dataset.name} {begins}")
    _refuse_late(dataset, spans, arguments, at)
    spot = _one("spot", "--spot", _of_kind(there, "spot"), arguments.spot, dataset.name)
    if not spot:
        raise DataError(f"a premium is measured against a spot, and the dataset {dataset.name} has none by then; it has {_names(there)}")
    alike = [one for one in there if one.base == spot[0].base]
    perpetual = _one("perpetual", "--perpetual", _of_kind(alike, "perpetual"), arguments.perpetual, dataset.name)
    return [one.id for one in (*spot, *perpetual, *_futures(_of_kind(alike, "future"), arguments.futures, dataset.name))]


def _refuse_late(dataset: "Dataset", spans: "Mapping[str, Span | None]", arguments: argparse.Namespace, at: "pd.Timestamp | None") -> None:
    """Raise DataError if all that an option names has no bar, or none up to the time."""
    for kind, option, wanted in (
        ("spot", "--spot", arguments.spot),
        ("perpetual", "--perpetual", arguments.perpetual),
        ("future", "--futures", arguments.futures),
    ):
        names = [one.id for one in _of_kind((dataset.instruments[name] for name in spans), kind) if _names_it(one.id, wanted, kind)]
        begins = {name: span[0] for name in names if (span := spans[name]) is not None}
        first = min(begins, key=lambda name: begins[name], default=None)
        if names and first is None:
            raise DataError(f"{option} {wanted}: {names[0]} has no bars in dataset {dataset.name}; import some")
        if first is not None and at is not None and begins[first] > at:
            begin = f"{begins[first]:%Y-%m-%dT%H:%M}"
            raise DataError(f"{option} {wanted}: {first} has no bars up to --at {arguments.at}, it begins at {begin}; choose a later --at")


def _names_it(name: str, wanted: str | None, kind: str) -> bool:
    """Whether an option names an instrument: futures by a pattern, others by their id."""
    return wanted is not None and (fnmatchcase(name, wanted) if kind == "future" else name == wanted)


def _one(what: str, option: str, found: "Sequence[Instrument]", wanted: str | None, dataset: str) -> "list[Instrument]":
    """The instrument that is wanted or the only one, in a list; an empty one where there is none and none is wanted."""
    if wanted is None:
        if len(found) > 1:
            raise DataError(f"the dataset {dataset} has several {what}s: {_names(found)}; choose one, such as {option} {found[0].id}")
        return list(found)
    if wanted not in [one.id for one in found]:
        hint = did_you_mean(wanted, [one.id for one in found]) if found else "there is none"
        raise DataError(f"{option} {wanted}: no such {what} among what is loaded of dataset {dataset}; {hint}")
    return [one for one in found if one.id == wanted]


def _futures(found: "Sequence[Instrument]", pattern: str | None, dataset: str) -> "list[Instrument]":
    """The dated contracts that a pattern names, or all; they must be of one product."""
    matching = [one for one in found if pattern is None or fnmatchcase(one.id, pattern)]
    if pattern is not None and not matching:
        hint = f"there are {_names(found)}" if found else "there are none"
        raise DataError(f'--futures "{pattern}": it names no dated future among what is loaded of dataset {dataset}; {hint}')
    products = {(one.venue, one.base, one.quote, one.settle): one.id for one in reversed(matching)}
    if len(products) > 1:
        kinds = ", ".join(f"{name} ({venue}, {quote}, {settle})" for (venue, _, quote, settle), name in products.items())
        raise DataError(
            f"the dataset {dataset} has dated futures of several products: {kinds}; choose those of one with --futures PATTERN, as --futures '*.cme'"
        )
    return matching


def _of_kind(instruments: "Iterable[Instrument]", kind: str) -> "list[Instrument]":
    return [one for one in instruments if one.kind == kind]


def _names(instruments: "Sequence[Instrument]") -> str:
    """The ids, in full as long as they are few."""
    more = f" and {len(instruments) - SHOWN} more" if len(instruments) > SHOWN else ""
    return ", ".join(one.id for one in instruments[:SHOWN]) + more


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ParameterError(f'{option} must be a number: {option}="{text}"') from None
