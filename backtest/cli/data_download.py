"""`carry data download`: a venue's history into a dataset."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from backtest.cli.parser import FOLDERS, add_command, add_json, completed, time_option
from backtest.cli.text import day, listed, put, text_table, told
from backtest.errors import ParameterError

if TYPE_CHECKING:
    from backtest.cli.parser import Commands
    from backtest.data.download import DownloadReport

INTERRUPTED = 130  # as a shell says it of a program that Ctrl-C ended

_DESCRIPTION = """download a venue's history into a dataset, which is made or added to

SYMBOL is a pair, such as ETHUSDT: its spot and perpetual, with --futures its
dated contracts too; or one instrument, such as ETHUSDT-PERP or ETHUSDT-240329.
Only what the dataset lacks is asked for. Ctrl-C leaves a whole dataset; the
same command goes on from there. The bar that is forming is left out.

--via api asks the venue through ccxt (pip install "carry-backtest[download]"):
binance, bybit, deribit, hyperliquid. --via archive takes Binance's bulk files,
whole months and days of them, and keeps the zips in DIR.downloads."""

_EXAMPLES = """carry data download binance ETHUSDT --start 2024-01-01 --into data/eth
carry data download binance ETHUSDT --start 2023-01-01 --into data/eth \\
    --via archive --futures --what klines,mark,funding,metrics
carry data download bybit BTCUSDT-PERP --start 2025-01-01 --into data/btc \\
    --what klines,mark,index,funding,open_interest --bar 5m"""
_VENUES = ("binance", "bybit", "deribit", "hyperliquid")
_LENGTHS = ("1m", "5m", "15m", "1h", "4h", "1d")


def add(commands: "Commands") -> None:
    """Add the command to `carry data`."""
    parser = add_command(
        commands,
        "download",
        "download a venue's history into a dataset",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        done="all of it is there",
        usage="VENUE SYMBOL --start D --into DIR [options]",
    )
    completed(parser.add_argument("venue", metavar="VENUE", help="binance, bybit, deribit or hyperliquid"), _VENUES)
    parser.add_argument("symbol", metavar="SYMBOL", help="a pair or an instrument, such as ETHUSDT or ETHUSDT-PERP")
    parser.add_argument("--start", metavar="D", help="first day, or time in UTC: 2024-01-31 or 2024-01-31T08:00 (required)")
    parser.add_argument("--end", metavar="D", help="time in UTC at which to stop (default: now)")
    completed(parser.add_argument("--into", metavar="DIR", help="folder of the dataset, made or added to (required)"), FOLDERS)
    parser.add_argument(
        "--what",
        metavar="W",
        default="klines,funding",
        help="any of klines,mark,index,premium,funding,open_interest,metrics (default: %(default)s)",
    )
    bar = parser.add_argument("--bar", metavar="B", default="1h", help="length of a bar: 1m, 5m, 15m, 1h, 4h, 1d, … (default: %(default)s)")
    completed(bar, _LENGTHS)
    parser.add_argument("--futures", action="store_true", help="the pair's dated contracts too")
    via = parser.add_argument("--via", metavar="V", default="api", help="api or archive (default: %(default)s)")
    completed(via, ("api", "archive"))
    parser.add_argument("--name", metavar="N", help="name of the dataset in reports (default: the folder's)")
    add_json(parser, "what came")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    import pandas as pd

    from backtest.data.download import Wanted, download

    for option, example in (("start", "2024-01-01"), ("into", "data/eth")):
        if getattr(arguments, option) is None:
            raise ParameterError(f"carry data download: --{option} is missing; give one, such as --{option} {example}")
    if arguments.via not in ("api", "archive"):
        raise ParameterError(f'--via is "{arguments.via}"; choose api or archive')
    wanted = Wanted(
        venue=arguments.venue,
        symbol=arguments.symbol,
        start=time_option("--start", arguments.start),
        end=pd.Timestamp.now("UTC").as_unit("ns") if arguments.end is None else time_option("--end", arguments.end),
        what=tuple(each.strip() for each in arguments.what.split(",") if each.strip()),
        bar=arguments.bar,
        futures=arguments.futures,
        archive=arguments.via == "archive",
    )
    try:
        report = download(wanted, arguments.into, arguments.name)
    except KeyboardInterrupt:
        print(f"{arguments.into}: interrupted; what had come is kept, and the same command goes on from there", file=sys.stderr)
        return INTERRUPTED
    put(download_text(report), arguments.json, lambda: download_json(report))
    return 0


def download_text(report: "DownloadReport") -> str:
    """What came, as it is printed."""
    rows = [("table", "rows", "from", "to")]
    rows += [(line.target, f"{line.rows:,}", day(line.first), day(line.last)) for line in report.lines]
    dataset = report.dataset
    last = f'{dataset.path}: dataset "{dataset.name}", hash {dataset.hash[:12]}{"" if report.lines else ", unchanged"}'
    return "\n".join([*([text_table(rows, "<>>>"), ""] if report.lines else []), *listed("note", report.notes), last])


def download_json(report: "DownloadReport") -> dict[str, Any]:
    """What came, for machines."""
    lines = [{"table": line.target, "rows": line.rows, "from": line.first, "to": line.last} for line in report.lines]
    return {"dataset": told(report.dataset), "path": str(report.dataset.path), "lines": lines, "notes": report.notes}
