"""Consoles of Rich for standard output and standard error: tables, progress and colors."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markup import escape
from rich.table import Table

from rezbuild.util.terminal import has_colors

# Spaces at the end of a line, between codes of colors.
_END = re.compile(r"(?: |\x1b\[[0-9;]*m)+$")
# The width of a terminal, for each column, below which a table cannot be read.
_COLUMN = 9


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


class TextTable:
    """A table of texts; on a narrow terminal, a line for each value.

    Args:
        head: The names of the columns.
        rows: The texts of the cells, without markup and without control characters. If the first
            cell is empty, the row belongs to the row above; rows of empty cells separate others.
        numbers: The number of columns at the right that have numbers.
        options: Options of `rich.table.Table`.
    """

    def __init__(
        self,
        head: Sequence[str],
        rows: Iterable[Iterable[str]],
        *,
        numbers: int = 0,
        **options: Any,
    ) -> None:
        self._head, self._numbers, self._options = head, numbers, options
        self._rows = [[escape(text) for text in row] for row in rows]

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width < _COLUMN * len(self._head):
            for row in self._rows:
                yield from self._lines(row)
            return
        table = Table(box=None, **self._options)
        for number, name in enumerate(self._head, 1):
            is_number = number > len(self._head) - self._numbers
            table.add_column(name, overflow="fold", justify="right" if is_number else "left")
        for row in self._rows:
            table.add_row(*row)
        yield table

    def _lines(self, row: Sequence[str]) -> Iterable[RenderableType]:
        first, *rest = row
        if first:
            yield first
        for name, text in zip(self._head[1:], rest):
            if text:
                label = f"{name}: " if name else ""
                yield f"  {label}" + text.replace("\n", ", ")


class _PipeConsole(Console):
    """Prints lines without spaces at their ends."""

    def print(self, *objects: Any, **options: Any) -> None:
        with self.capture() as captured:
            super().print(*objects, **options)
        for line in captured.get().splitlines():
            self.file.write(_END.sub(lambda end: end[0].replace(" ", ""), line) + "\n")
