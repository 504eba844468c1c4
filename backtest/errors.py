"""Errors that a user can cause, and the way they reach the user.

Every message states what, the rule, the value, the place and the remedy. All derive from `CarryError` and from the built-in that fits, so
`except ValueError` works too. On a command line they end as one sentence and exit code 2, never as a traceback:

    with user_errors():
        run(strategy, load_market("data/sample"))
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches


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
    """Turn a `CarryError` into its message on stderr and exit code 2."""
    try:
        yield
    except CarryError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as stop:
        print(str(stop) or "stopped; what was there is as it was", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
