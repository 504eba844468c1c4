"""Colours for a finished plain text, on a terminal: the text stays the same, letter for letter, and as wide.

Headings are bold, alarms red, rules and notes dim, and what is negative has the house style's orange-red, which the colour-blind tell from the ink too.

    say(str(result))  # colours on a terminal, plain text in a pipe or a file
"""

import re
import sys

from backtest.terminal import coloured

BOLD, DIM, ALARM, NEGATIVE, END = "\033[1m", "\033[2m", "\033[1;31m", "\033[38;5;166m", "\033[0m"
RULE = re.compile(r"[-=]{20,}$")
NOTES = re.compile(r"(Notes|Nothing from: |not known on that day|note: )")
# what must not be overlooked, wherever it stands
ALARMS = re.compile(
    r"\(?SIMULATED(?: DATA)?\)?|\b\d+ LIQUIDATIONS?\b|LIQUIDATIONS?\b|NOT EXPLAINED|LOOK-AHEAD|^error: |^problem: |^\d+ problems? found$",
    re.M,
)
# a number with its minus, and no date, contract or range
MINUS = re.compile(r"(?<![\w.,:/=|-])[-−]\d[\d,]*(?:\.\d+)?(?:e-?\d+)?[%kMG]?(?![\w:/-])")


def say(text: str) -> None:
    """Print a text, with colours where standard output is a terminal."""
    print(painted(text) if coloured(sys.stdout) else text)


def painted(text: str) -> str:
    """The text with the terminal's codes for colours; without them it is what it was."""
    lines, out, notes = ["", *text.split("\n"), ""], [], False
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        rule = RULE.match(line) is not None
        heading = bool(line.strip() and RULE.match(after)) and (not before.strip() or RULE.match(before) is not None)
        notes = (line.startswith("Notes") or NOTES.match(line) is not None or (notes and bool(line.strip()))) and not (
            heading and "Notes" not in line
        )
        style = BOLD if heading else DIM if rule or notes else ""
        out.append(_line(line, style))
    return "\n".join(out)


def _line(line: str, style: str) -> str:
    """A line in its style, with its alarms, and in plain lines its negative numbers, in theirs."""
    line = ALARMS.sub(lambda found: f"{ALARM}{found[0]}{END}{style}", line)
    if not style:
        line = MINUS.sub(lambda found: f"{NEGATIVE}{found[0]}{END}", line)
    return f"{style}{line}{END}" if style and line else line
