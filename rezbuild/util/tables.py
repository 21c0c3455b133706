"""Tables on standard output."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console


def console(*, markup: bool = True) -> Console:
    """Return a console that folds and pads lines on a terminal only: other programs read a pipe."""
    if sys.stdout.isatty():
        return Console(markup=markup, highlight=markup)
    return _PipeConsole(width=1000, markup=markup, highlight=markup)


class _PipeConsole(Console):
    """Prints lines without spaces at their ends."""

    def print(self, *objects: Any, **options: Any) -> None:
        with self.capture() as captured:
            super().print(*objects, **options)
        for line in captured.get().splitlines():
            self.file.write(f"{line.rstrip()}\n")
