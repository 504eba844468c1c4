"""A pseudo-terminal of eighty columns for the tests: what a program writes to it, colours and progress included."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def plain(text: str) -> str:
    """A text without the codes for colours."""
    return CODES.sub("", text)


def screen(text: str) -> list[str]:
    """The lines that are left on the terminal when all is written: a carriage return begins a line anew, over what was there."""
    lines = []
    for line in plain(text).replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def on_terminal(words: Sequence[str], folder: Path, *, interrupt: str = "", **environment: str) -> tuple[int, str]:
    """Run a program on a terminal: its exit code, and all that it wrote. interrupt: send what Ctrl-C sends once this has been written."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    told = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS")}
    told |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **environment}
    running = subprocess.Popen(words, cwd=folder, env=told, stdin=side, stdout=side, stderr=side, start_new_session=True)
    os.close(side)
    data, until = b"", time.monotonic() + 180.0
    while time.monotonic() < until:
        if select.select([main], [], [], 0.1)[0]:
            try:
                data += os.read(main, 65536)
            except OSError:  # the other side is closed
                break
        if interrupt and interrupt in data.decode(errors="replace"):
            running.send_signal(signal.SIGINT)
            interrupt = ""
    else:
        running.kill()
    os.close(main)
    return running.wait(), data.decode()
