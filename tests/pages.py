"""The committed pages: their blocks, the commands in them, a folder that looks like a fresh clone, and what a command prints in it.

A fenced block is run by a test. One that can't be has a comment above it that says why, as "<!-- needs the network -->"; its commands are then parsed: program,
file, flags and extras must exist.
"""

import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from real_sums import strategy

from backtest.cli import build_parser
from backtest.strategy import command_line

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    str(file.relative_to(ROOT))
    for folder in (".", "backtest", "strategies", "data", "benchmarks", "notebooks")
    for file in (ROOT / folder).glob("*.md")
)
REASONS = ("needs the network", "needs files of yours", "needs a cluster", "takes minutes")
OTHERS = ("pytest", "pdoc", "jupyter", "dask")  # programs of other packages that pages may name
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


class Block(NamedTuple):
    """A fenced block: why it isn't run, if it isn't, its language and its text."""

    reason: str
    language: str
    text: str


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str | None = None) -> list[Block]:
    """The blocks of a page in their order, of one language or of all."""
    found = re.findall(r"^(?:<!-- (.*) -->\n)?```(.*)\n((?s:.*?))^```$", text_of(page), re.M)
    return [block for block in (Block(*each) for each in found) if language in (None, block.language)]


def runnable(page: str) -> list[str]:
    """The shell blocks of a page that a test runs: those without a reason not to, and without an installation, which is CI's."""
    return [block.text for block in blocks(page, "sh") if not block.reason and "pip install" not in block.text]


# ---------------------------------------------------------------- running


def shell(folder: Path, command: str) -> str:
    """What a command prints in a folder; it must succeed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "MPLBACKEND": "agg"}
    done = subprocess.run(["bash", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Any]) -> tuple[Path, Any]:
    """A folder of this name that all workers of a test run share, and what `make` said when the first of them filled it; it must fit into JSON."""
    place = factory.getbasetemp()
    folder = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / name
    said = folder.with_suffix(".json")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one that failed
            folder.mkdir()
            said.write_text(json.dumps(make(folder)))
    return folder, json.loads(said.read_text())


def fresh_clone(factory: pytest.TempPathFactory, name: str) -> Path:
    """A folder that looks like a clone after the first command: scripts, and the sample in its place."""
    sample = once(factory, "sample_of_the_pages", lambda folder: shell(folder, "carry data sample --into data/sample"))[0] / "data"

    def fill(folder: Path) -> None:
        for place, there in (("strategies", ROOT / "strategies"), ("data", sample)):
            (folder / place).symlink_to(there)

    return once(factory, name, fill)[0]


# ---------------------------------------------------------------- parsing


def commands(text: str) -> list[list[str]]:
    """The words of each command of a shell block."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines for part in line.split(" && ") if (words := shlex.split(part, comments=True))]


def check_command(words: list[str]) -> None:
    """Fail unless the program, its file, its flags and its extras exist."""
    program, *rest = words
    if program == "python" and rest[0].startswith("strategies/"):
        assert (ROOT / rest[0]).is_file(), rest[0]
        command_line(type(strategy(Path(rest[0]).stem)), rest[0]).parse_strictly(rest[1:])
    elif program == "python":
        source = text_of(rest[0])
        assert all(f'"{flag}"' in source for flag in rest[1:] if flag.startswith("--")), words
    elif program == "carry":
        _, unknown = build_parser().parse_known_args(rest)
        assert not unknown, words
    elif program == "pip":
        assert rest[0] == "install", words
        extras = {extra for word in rest for found in re.findall(r"^(?:\.|carry-backtest)\[(.+)\]$", word) for extra in found.split(",")}
        assert extras <= set(EXTRAS), extras - set(EXTRAS)
    else:
        assert program in OTHERS, words


# ---------------------------------------------------------------- tables


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of a page's table, found by how its heading begins."""
    text = text_of(page)
    found = []
    for line in text[text.index(f"\n{heading}") + 1 :].splitlines()[2:]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found
