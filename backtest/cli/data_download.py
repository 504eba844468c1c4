"""`carry data download`: a venue's history into a dataset."""

import argparse
import sys
from typing import TYPE_CHECKING

import pandas as pd

from backtest.cli.parser import add_command, time_option
from backtest.cli.text import day, listed, text_table
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

_EXAMPLES = """examples:
  carry data download binance ETHUSDT --start 2024-01-01 --into data/eth
  carry data download binance ETHUSDT --start 2023-01-01 --into data/eth \\
      --via archive --futures --what klines,mark,funding,metrics
  carry data download bybit BTCUSDT-PERP --start 2025-01-01 --into data/btc \\
      --what klines,mark,index,funding,open_interest --bar 5m"""


def add(commands: "Commands") -> None:
    """Add the command to `carry data`."""
    parser = add_command(commands, "download", "download a venue's history into a dataset", description=_DESCRIPTION, epilog=_EXAMPLES)
    parser.add_argument("venue", metavar="VENUE", help="binance, bybit, deribit or hyperliquid")
    parser.add_argument("symbol", metavar="SYMBOL", help="a pair or an instrument, such as ETHUSDT or ETHUSDT-PERP")
    parser.add_argument("--start", metavar="D", help="first day, or time in UTC: 2024-01-31 or 2024-01-31T08:00 (required)")
    parser.add_argument("--end", metavar="D", help="time in UTC at which to stop (default: now)")
    parser.add_argument("--into", metavar="DIR", help="folder of the dataset, made or added to (required)")
    parser.add_argument(
        "--what",
        metavar="W",
        default="klines,funding",
        help="any of klines,mark,index,premium,funding,open_interest,metrics (default: %(default)s)",
    )
    parser.add_argument("--bar", metavar="B", default="1h", help="length of a bar: 1m, 5m, 15m, 1h, 4h, 1d, … (default: %(default)s)")
    parser.add_argument("--futures", action="store_true", help="the pair's dated contracts too")
    parser.add_argument("--via", metavar="V", default="api", help="api or archive (default: %(default)s)")
    parser.add_argument("--name", metavar="N", help="name of the dataset in reports (default: the folder's)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
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
        print(download_text(download(wanted, arguments.into, arguments.name)))
    except KeyboardInterrupt:
        print(f"{arguments.into}: interrupted; what had come is kept, and the same command goes on from there", file=sys.stderr)
        return INTERRUPTED
    return 0


def download_text(report: "DownloadReport") -> str:
    """What came, as it is printed."""
    rows = [("table", "rows", "from", "to")]
    rows += [(line.target, f"{line.rows:,}", day(line.first), day(line.last)) for line in report.lines]
    dataset = report.dataset
    last = f'{dataset.path}: dataset "{dataset.name}", hash {dataset.hash[:12]}{"" if report.lines else ", unchanged"}'
    return "\n".join([*([text_table(rows, "<>>>"), ""] if report.lines else []), *listed("note", report.notes), last])
