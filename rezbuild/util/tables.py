"""Consoles of Rich for standard output and standard error: tables, progress and colors."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from rich.console import Console

from rezbuild.util.terminal import has_colors

# Spaces at the end of a line, before the codes that end a color.
_END = re.compile(r" +((?:\x1b\[[0-9;]*m)*)$")


def console(*, markup: bool = True, stderr: bool = False, quiet: bool = False) -> Console:
    """Return a console that folds and pads lines on a terminal only: other programs read a pipe.

    `rezbuild.util.terminal.has_colors` says when it has colors.
    """
    stream = sys.stderr if stderr else sys.stdout
    is_terminal, forced = stream.isatty(), bool(os.environ.get("FORCE_COLOR"))
    # Rich itself takes an empty FORCE_COLOR for "no terminal", and moves the cursor in a pipe if
    # it is not empty.
    options: dict[str, Any] = {
        "force_terminal": is_terminal or forced,
        "force_interactive": None if is_terminal else False,
        "color_system": ("standard" if forced else "auto") if has_colors(stream) else None,
        "markup": markup,
        "highlight": markup,
        "stderr": stderr,
        "quiet": quiet,
    }
    return Console(**options) if is_terminal else _PipeConsole(width=1000, **options)


class _PipeConsole(Console):
    """Prints lines without spaces at their ends."""

    def print(self, *objects: Any, **options: Any) -> None:
        with self.capture() as captured:
            super().print(*objects, **options)
        for line in captured.get().splitlines():
            self.file.write(_END.sub(r"\1", line) + "\n")
