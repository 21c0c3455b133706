"""The log of scheduler and worker. Lines begin with the time: ``2026-03-01T09:30:00+01:00``."""

from __future__ import annotations

from datetime import datetime

from rezbuild.reporter import Reporter
from rezbuild.util.terminal import printable_line

# Characters of a name or reason that another machine has sent.
_MOST = 200


class LogReporter(Reporter):
    """Prints lines that begin with the local time and its zone."""

    def _print(self, text: str, style: str = "") -> None:
        time = now()
        super()._print("\n".join(f"{time} {line}" for line in text.split("\n")), style)


def now() -> str:
    """Return the local time in ISO format with its zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def foreign(text: object) -> str:
    """Return a short line for a text of another machine, which cannot forge a line of the log."""
    return printable_line(str(text))[:_MOST]
