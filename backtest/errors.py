"""Errors that a user can cause, and the way they reach the user.

Every message states what, the rule, the value, the place and the remedy. All derive from `CarryError` and from the built-in that fits, so
`except ValueError` works too. On a command line they end as one sentence and exit code 2, never as a traceback:

    with user_errors():
        run(strategy, load_market("data/sample"))
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches

from backtest.terminal import coloured


class CarryError(Exception):
    """Base of all errors that this package raises on purpose."""


class DataError(CarryError, ValueError):
    """Data that can't be trusted, with the place and the remedy."""


class ParameterError(CarryError, ValueError):
    """A parameter outside its rule, with its value."""


class StorageError(CarryError, OSError):
    """A dataset that could not be read or written; what was there before is whole."""


def did_you_mean(name: str, known: list[str]) -> str:
    """The hint for a misspelt name: the nearest known one, else all of them."""
    near = get_close_matches(name, known, n=1)
    return f'did you mean "{near[0]}"?' if near else f"known: {', '.join(sorted(known))}"


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn what a user can cause into one sentence on stderr and an exit code: 2 for a mistake, 130 for Ctrl-C, 1 and no word where the reader of a pipe has left.

    What was printed is out when this ends, so that a full disk is told here and not by the interpreter.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # a console without the character shows a question mark
    try:
        try:
            yield
        except SystemExit:
            _flush()
            raise
        _flush()
    except CarryError as error:
        _leave(2, f"error: {error}")
    except KeyboardInterrupt as stop:
        _leave(130, str(stop) or "stopped; what was there is as it was")
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        _leave(1)
    except MemoryError:
        _leave(2, "error: the memory is full; load fewer instruments (--instruments), a shorter period, or coarser bars (--freq)")
    except OSError as error:  # what nobody has put into words, and a standard output that takes no more
        place = f"{error.filename}: " if error.filename else "the output can't be written: "
        _leave(2, f"error: {place}{error.strerror or error}; free some space, or check the place and its permissions")


def _flush() -> None:
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def _leave(code: int, told: str = "") -> None:
    """End the program with a code and a sentence; where the output goes nowhere any more, nothing is said of that at the very end."""
    try:
        _flush()
    except OSError:
        with suppress(OSError):  # a stream without a number, as in a notebook
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if told:
        word, colon, rest = told.partition("error: ")
        print(f"\033[1;31merror:\033[0m {rest}" if colon and not word and coloured(sys.stderr) else told, file=sys.stderr)
    raise SystemExit(code) from None
