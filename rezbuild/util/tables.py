"""Tables on standard output."""

from __future__ import annotations

import sys

from rich.console import Console


def console(*, markup: bool = True) -> Console:
    """Return a console that folds lines on a terminal only: other programs read a pipe."""
    return Console(width=None if sys.stdout.isatty() else 1000, markup=markup, highlight=markup)
