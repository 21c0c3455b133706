"""Messages for the user, and the events of a build for the process that watches it.

A build runs in a process of its own, and what it prints goes to a log. It appends its events to the
file that REZBUILD_EVENTS names, one JSON object a line:

    {"kind": "build"}
    {"kind": "step", "step": "02-make"}
    {"kind": "step-end", "step": "02-make", "text": "02-make ... 3 s"}
    {"kind": "notice", "text": "zlib 1.3.2: waiting for another build of it"}

Rez closes all descriptors but the standard three before it starts the build, so the channel is a
file that is opened by name.
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

from rezbuild.util.terminal import printable

# Names the file of events.
EVENTS = "REZBUILD_EVENTS"

# Kinds of events: a payload is being built, and not only put into place.
BUILD = "build"
# A step of a build begins, or has ended.
STEP, STEP_END = "step", "step-end"
# The store has the payload, or has it not.
TAKEN, ABSENT = "taken", "absent"
# The payload was ready, or what a check of it gave.
READY, CHECKED = "ready", "checked"
# Any other line that the user sees in any case.
NOTICE = "notice"


@dataclass(frozen=True)
class Event:
    """One event of a build.

    Attributes:
        kind: One of the kinds above; readers pass over others.
        text: The line for the user, or "".
        step: The step, e.g. ``02-make``, or "".
    """

    kind: str
    text: str = ""
    step: str = ""

    @classmethod
    def from_data(cls, data: object) -> Event | None:
        """Return the event of decoded JSON; None where that is no event."""
        if not isinstance(data, Mapping) or not data.get("kind"):
            return None
        return cls(*(str(data.get(name) or "") for name in ("kind", "text", "step")))

    def as_data(self) -> dict[str, Any]:
        """Return the event as plain data, without what is empty."""
        return {name: value for name, value in asdict(self).items() if value}


class Reporter:
    """Prints messages for the user, and appends events to the file of events, if there is one.

    Args:
        quiet: Print no progress.
        verbose: Print all output of builds.
        stream: The stream of progress and notices; None: standard output.
    """

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, stream: TextIO | None = None
    ) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self._stream = stream
        self._file = os.environ.get(EVENTS)

    def on_stderr(self) -> Reporter:
        """Return a reporter whose progress and notices go to standard error.

        Programs read standard output of the command then.
        """
        return Reporter(quiet=self.quiet, verbose=self.verbose, stream=sys.stderr)

    def result(self, text: str, end: str = "\n") -> None:
        """Print what the command was asked for."""
        print(printable(text), end=end, flush=True)

    def info(self, text: str, kind: str = "") -> None:
        """Print progress, unless the user wants none; with a kind it is an event, too."""
        if not self.quiet:
            self._print(text)
        if kind:
            self.event(Event(kind, text.strip()))

    def notice(self, text: str) -> None:
        """Print a line that the user sees in any case."""
        self._print(text)
        self.event(Event(NOTICE, text.strip()))

    def error(self, text: str) -> None:
        """Print a line on standard error."""
        print(printable(text), file=sys.stderr, flush=True)

    def _print(self, text: str) -> None:
        # Others may write to the same terminal or log; nothing may wait in a buffer.
        print(printable(text), file=self._stream, flush=True)

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
            # Whole lines of several processes: open(2), O_APPEND. Progress may get lost where the
            # disk is full, the build goes on.
            with contextlib.suppress(OSError), open(self._file, "ab", buffering=0) as file:
                file.write(json.dumps(event.as_data()).encode() + b"\n")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a reporter, which each command has."""
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
        name: The value of REZBUILD_EVENTS for the child. The file has no name of its own, proc(5):
            nothing is left behind, and two builds in one folder do not share it.
    """

    def __init__(self) -> None:
        self._stream = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (see `close`)
        self.name = f"/proc/{os.getpid()}/fd/{self._stream.fileno()}"
        self._rest = b""

    def read(self) -> list[Event]:
        """Return the events since last time; lines that are no events are passed over."""
        *lines, self._rest = (self._rest + self._stream.read()).split(b"\n")
        found = []
        for line in lines:
            with contextlib.suppress(ValueError, RecursionError):
                found.append(Event.from_data(json.loads(line)))
        return [event for event in found if event is not None]

    def close(self) -> None:
        """Read no more."""
        self._stream.close()
