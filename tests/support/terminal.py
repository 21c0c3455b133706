"""A user at a terminal: a pty, and pyte as its screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import pyte
import pytest

ROWS, COLUMNS = 24, 80
TIMEOUT = 30  # seconds
# Variables that change what a terminal shows. A worker of pytest-xdist has COLUMNS.
_NOT_OF_A_USER = ("CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS")


def at_terminal(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a user at a terminal with colors."""
    kept = {name: value for name, value in env.items() if name not in _NOT_OF_A_USER}
    return {**kept, "TERM": "xterm-256color"}


class Terminal:
    """A terminal that runs a program, shows its screen, and types."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], columns: int = COLUMNS) -> None:
        self.screen = pyte.Screen(columns, ROWS)
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        self._process = subprocess.Popen(
            argv, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)

    def __enter__(self):
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._ours)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)  # the program ends when its terminal closes
        self._process.kill()
        self._process.wait()

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def lines(self) -> list[str]:
        """Return the lines on the screen, without empty lines at the end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")

    def until(self, seen: Callable[[list[str]], bool], wanted: str) -> None:
        """Wait until the screen shows a text; print the screen after the timeout."""
        end = time.monotonic() + TIMEOUT
        while not seen(self.lines()):
            if not self._more(end):
                pytest.fail(f"{wanted} does not come; the screen:\n" + "\n".join(self.lines()))

    def until_last(self, line: str) -> None:
        """Wait until a text is the last line on the screen."""
        self.until(lambda lines: lines[-1] == line, repr(line))

    def _more(self, end: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0, end - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # EIO: no program has the terminal open
            return False
        self._stream.feed(data)
        return bool(data)
