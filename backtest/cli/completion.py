"""`carry completion`: the script by which a shell completes commands, options, files and folders.

carry completion bash
"""

import argparse
from typing import TYPE_CHECKING, Any

from backtest.cli.parser import FILES, FOLDERS, VENUES, Parser, add_command, completed
from backtest.errors import ParameterError, did_you_mean

if TYPE_CHECKING:
    from backtest.cli.parser import Commands

SHELLS = ("bash", "zsh", "fish", "tcsh")

_DESCRIPTION = """print the script by which a shell completes carry's commands, options, files
and folders when Tab is pressed

bash: mkdir -p ~/.local/share/bash-completion/completions
      carry completion bash > ~/.local/share/bash-completion/completions/carry
      (needs the package bash-completion; without it add the line
      eval "$(carry completion bash)" to ~/.bashrc, which is slower to start)
zsh:  mkdir -p ~/.zfunc; carry completion zsh > ~/.zfunc/_carry
      and once, in ~/.zshrc: fpath+=~/.zfunc; autoload -U compinit; compinit
fish: carry completion fish > ~/.config/fish/completions/carry.fish
tcsh: carry completion tcsh > ~/.carry.tcsh
      and once, in ~/.tcshrc: source ~/.carry.tcsh

Flags of a strategy's script can't be completed: a shell completes them for the
word python, whose script it doesn't know. They are in the script's --help-all."""

_EXAMPLES = """eval "$(carry completion bash)"
carry completion fish > ~/.config/fish/completions/carry.fish"""


def add(commands: "Commands") -> None:
    """Add the command to `carry`."""
    summary = "print a script that completes this command in a shell"
    parser = add_command(commands, "completion", summary, description=_DESCRIPTION, examples=_EXAMPLES, done="printed")
    completed(parser.add_argument("shell", metavar="SHELL", help="bash, zsh, fish or tcsh"), SHELLS)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.shell not in SHELLS:
        raise ParameterError(f'no completion for the shell "{arguments.shell}"; {did_you_mean(arguments.shell, list(SHELLS))}')
    try:
        import shtab
    except ImportError:
        raise ParameterError('completion needs shtab; install it with pip install "shtab>=1.7"') from None
    from backtest.cli import build_parser
    from backtest.venues import venue_names

    parser = build_parser()
    _mark(parser, {FILES: shtab.FILE, FOLDERS: shtab.DIRECTORY, VENUES: tuple(venue_names())})
    print(shtab.complete(parser, shell=arguments.shell))
    return 0


def _mark(parser: Parser, places: dict[str, Any]) -> None:
    """Tell the library of each argument what completes it, in its own words; the parser only lends itself to that and parses no more."""
    for action in parser._actions:
        by = getattr(action, "completed", None)
        words = places[by] if isinstance(by, str) else by
        if isinstance(words, tuple):
            action.choices = words
        elif words is not None:
            action.complete = words  # type: ignore[attr-defined]
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _mark(command, places)
