"""The console command `carry`: data in, data checked, and whatever looks at data or at finished runs without running a strategy.

A command is a module with `add(commands)`; it runs a function that takes the parsed arguments and returns an exit code: 0 all is well,
1 something was found, 2 the input or the command line was wrong, which is one sentence on stderr and never a traceback, 130 stopped by Ctrl-C.

    carry data import binance FILES… --into data/mine
    carry data check data/mine
    carry compare a.json b.json
"""

from collections.abc import Sequence

from backtest._version import __version__
from backtest.cli import compare, data_check, data_download, data_import, data_sample, data_spreads, premium, venues
from backtest.cli.parser import Parser, add_group, show_help
from backtest.errors import ParameterError, did_you_mean, user_errors

DATA_COMMANDS = (data_import, data_download, data_check, data_spreads, data_sample)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = build_parser()
    with user_errors():
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
        prog="carry", description="Backtests of carry: data in, what the data say, and runs beside each other.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"carry {__version__}")
    parser.set_defaults(parser=parser, run=show_help)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    data = add_group(commands, "data", "import, check and make datasets")
    for module in DATA_COMMANDS:
        module.add(data)
    premium.add(commands)
    compare.add(commands)
    venues.add(commands)
    return parser
