"""Messages for the user, and the events of a build for the process that watches it.

A build runs in a separate process, and its output goes to a log. It appends its events to the file
that REZBUILD_EVENTS names, one JSON object per line:

    {"kind": "build"}
    {"kind": "step", "step": "02-make"}
    {"kind": "step-end", "step": "02-make", "text": "02-make ... 3 s"}
    {"kind": "notice", "text": "zlib 1.3.2: waiting for another build of it"}

Rez closes all descriptors except the standard three before it starts the build, so the events go
through a file that is opened by name.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from rezbuild.util.terminal import paint, printable

# The variable with the file of events.
EVENTS = "REZBUILD_EVENTS"

# Kinds of events: a payload is being built, not only installed.
BUILD = "build"
# A step of a build begins, or ended.
STEP, STEP_END = "step", "step-end"
# The store has the payload, or does not have it.
TAKEN, ABSENT = "taken", "absent"
# The payload was ready, or was checked.
READY, CHECKED = "ready", "checked"
# Any other line, which is printed even with --quiet.
NOTICE = "notice"
# The styles of notices and errors.
NOTICE_STYLE, ERROR_STYLE = "yellow", "bold red"


@dataclass(frozen=True)
class Event:
    """One event of a build.

    Attributes:
        kind: One of the kinds above; readers ignore others.
        text: The line for the user, or "".
        step: The step, e.g. ``02-make``, or "".
    """

    kind: str
    text: str = ""
    step: str = ""

    @classmethod
    def from_data(cls, data: object) -> Event | None:
        """Return the event in decoded JSON, or None if there is none."""
        if not isinstance(data, Mapping) or not data.get("kind"):
            return None
        return cls(*(str(data.get(name) or "") for name in ("kind", "text", "step")))

    def as_data(self) -> dict[str, Any]:
        """Return the event as plain data, without empty values."""
        return {name: value for name, value in asdict(self).items() if value}


class Reporter:
    """Print messages for the user, and append events to the file of events, if there is one.

    Args:
        quiet: Print no progress.
        verbose: Print all output of builds.
        stream: The stream for progress and notices; None: standard output.
    """

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, stream: TextIO | None = None
    ) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self._stream = stream
        self._file = os.environ.get(EVENTS)

    def on_stderr(self) -> Reporter:
        """Return a reporter with progress and notices on standard error.

        Commands use it if other programs read their standard output.
        """
        return Reporter(quiet=self.quiet, verbose=self.verbose, stream=sys.stderr)

    def result(self, text: str, end: str = "\n") -> None:
        """Print a result of the command."""
        print(printable(text), end=end, flush=True)

    def info(self, text: str, kind: str = "") -> None:
        """Print progress, except with --quiet; with a ``kind``, also append an event."""
        if not self.quiet:
            self._print(text)
        if kind:
            self.event(Event(kind, text.strip()))

    def notice(self, text: str) -> None:
        """Print a line, even with --quiet, and append it as an event."""
        self._print(text, NOTICE_STYLE)
        self.event(Event(NOTICE, text.strip()))

    def error(self, text: str) -> None:
        """Print a message on standard error; its first line has a color."""
        first, feed, rest = printable(text).lstrip("\n").partition("\n")
        space = "\n" if text.startswith("\n") else ""
        print(
            f"{space}{paint(first, ERROR_STYLE, sys.stderr)}{feed}{rest}",
            file=sys.stderr,
            flush=True,
        )

    def raw(self, *lines: str) -> None:
        """Print lines that may hold codes of terminals; untrusted parts are escaped already."""
        print(*lines, sep="\n", file=self._stream, flush=True)

    def _print(self, text: str, style: str = "") -> None:
        # Other processes write to the same terminal or log, so no line may stay in a buffer.
        shown = paint(printable(text), style, self._stream or sys.stdout)
        print(shown, file=self._stream, flush=True)

    @contextlib.contextmanager
    def step(self, step: str) -> Iterator[None]:
        """Report the begin and the end of a step of a build."""
        print(f"  {step} ...", end=" ", flush=True)
        self.event(Event(STEP, step=step))
        began, outcome = time.monotonic(), "failed"
        try:
            yield
            outcome = f"{time.monotonic() - began:.0f} s"
        finally:
            print(outcome, flush=True)
            self.event(Event(STEP_END, f"{step} ... {outcome}", step))

    def event(self, event: Event) -> None:
        """Append an event to the file of events."""
        if self._file:
            # O_APPEND keeps the lines of several processes whole, open(2). On a full disk, events
            # are lost, and the build continues.
            with contextlib.suppress(OSError), open(self._file, "ab", buffering=0) as file:
                file.write(json.dumps(event.as_data()).encode() + b"\n")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options ``-q`` and ``-v``."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        default=argparse.SUPPRESS,
        help="no progress, only notices",
    )
    group.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=argparse.SUPPRESS,
        help="all that Rez and the builds print",
    )


class Events:
    """The events of one child process.

    Attributes:
        name: The value of REZBUILD_EVENTS for the child. The file is unnamed and reached through
            proc(5), so that it is never left behind, and builds in one folder do not share it.
    """

    def __init__(self) -> None:
        self._stream = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (see `close`)
        self.name = f"/proc/{os.getpid()}/fd/{self._stream.fileno()}"
        self._rest = b""

    def read(self) -> list[Event]:
        """Return the events since the last call; ignore lines that are not events."""
        *lines, self._rest = (self._rest + self._stream.read()).split(b"\n")
        found = []
        for line in lines:
            with contextlib.suppress(ValueError, RecursionError):
                found.append(Event.from_data(json.loads(line)))
        return [event for event in found if event is not None]

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
