"""The console command `carry`: data in, data checked, and whatever looks at data or at finished runs without running a strategy.

A command is a module with `add(commands)`; it runs a function that takes the parsed arguments and returns an exit code: 0 all is well,
1 something was found, 2 the input or the command line was wrong, which is one sentence on stderr and never a traceback, 130 stopped by Ctrl-C.

    carry data import binance FILES… --into data/mine
    carry data check data/mine
    carry compare a.json b.json
"""

from collections.abc import Sequence

from backtest._version import __version__
from backtest.cli import compare, completion, data_check, data_download, data_import, data_sample, data_spreads, premium, venues
from backtest.cli.parser import Parser, add_group, show_help
from backtest.errors import ParameterError, did_you_mean, user_errors
from backtest.flags import Layout, exits

DATA_COMMANDS = (data_sample, data_import, data_download, data_check, data_spreads)

_DESCRIPTION = """Backtests of carry on the futures premium: data in, what they say, and finished
runs beside each other. Strategies are scripts, which you copy and edit.

first steps, in the folder of the clone:
  python strategies/cash_and_carry.py
      makes the simulated sample and runs on it: a table and a report
  python strategies/cash_and_carry.py --help
      its thresholds, and how to tune them
  carry premium data/sample
      the curve, carry after costs, crowding and the regime
  carry data import FILES --into data/mine
      data of your own; then carry data check data/mine says what they are
      good for, and --data data/mine runs a strategy on them"""

_EPILOG = """every command tells more: carry premium --help, carry data import --help

"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    with user_errors():
        parser = build_parser()
        parsed, unknown = parser.parse_known_args(arguments)
        command: Parser = parsed.parser
        if unknown:
            option = unknown[0].partition("=")[0]
            hint = did_you_mean(option, command.options()) if option.startswith("-") else f'see "{command.prog} --help"'
            raise ParameterError(f'{command.prog}: unknown {"option" if option.startswith("-") else "argument"} "{option}"; {hint}')
        code: int = parsed.run(parsed)
    return code


def build_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(
        prog="carry",
        description=_DESCRIPTION,
        epilog=_EPILOG + exits("done", "something was found (carry data check)"),
        formatter_class=Layout,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"carry {__version__}", help="show the version and exit")
    parser.set_defaults(parser=parser, run=show_help)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    data = add_group(commands, "data", "datasets: sample, import, download, check, spreads")
    for module in DATA_COMMANDS:
        module.add(data)
    for module in (premium, compare, venues, completion):
        module.add(commands)
    return parser
