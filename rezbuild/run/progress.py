"""The progress of parallel builds: lines, and on a terminal also a table."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from rezbuild.reporter import NOTICE, STEP_END, Event, Reporter
from rezbuild.util.processes import RunningTask, TaskUpdate
from rezbuild.util.terminal import printable

# Seconds until a silent step gets a line: a CI may end a job without output.
SILENCE = 120


class LineProgress(Reporter):
    """Prints lines, each with the name of its build."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        super().__init__(quiet=quiet, verbose=verbose)
        self._spoken: dict[str, float] = {}

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Show progress while builds run."""
        yield

    def show_update(self, task: RunningTask, news: TaskUpdate) -> None:
        """Print the events of a build that have a text; its log has all other output."""
        for line in news.lines if self.verbose else ():
            self.info(f"{task.name}: {line}")
        if self.verbose:
            return
        for event in filter(self._shows, news.events):
            show = self.notice if event.kind == NOTICE else self.info
            show(f"{task.name}: {event.text}")

    def _shows(self, event: Event) -> bool:
        return bool(event.text)

    def show_running(self, tasks: Sequence[RunningTask], left: int) -> None:  # noqa: ARG002 (for the table)
        """Show the running builds and how many steps are left; called several times a second."""
        now = time.monotonic()
        for task in tasks:
            if now - max(self._spoken.get(task.name, 0), task.step_began) > SILENCE:
                self._spoken[task.name] = now
                seconds = now - task.step_began
                self.info(f"{task.name}: {_step(task)}still running, {seconds:.0f} s: {task.log}")


class TableProgress(LineProgress):
    """Draws a table of the running builds below the lines."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(verbose=verbose)
        self._live: Live | None = None
        self._drawn = 0.0

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Draw the table while builds run, and clear it at the end."""
        # No thread of Rich draws, because the tasks change at the same time.
        with Live(console=Console(), auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def _print(self, text: str) -> None:
        """Print above the table."""
        if self._live:
            # Do not fold lines: users copy paths from a terminal.
            self._live.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
        else:
            super()._print(text)

    def _shows(self, event: Event) -> bool:
        """Leave out steps, which the table shows."""
        return event.kind != STEP_END and super()._shows(event)

    def show_running(self, tasks: Sequence[RunningTask], left: int) -> None:
        """Draw the table several times a second."""
        now = time.monotonic()
        if self._live and now - self._drawn > 0.2:
            self._drawn = now
            self._live.update(_table(tasks, left, now), refresh=True)


def choose(
    environ: Mapping[str, str] | None = None, *, quiet: bool = False, verbose: bool = False
) -> LineProgress:
    """Return a table for a terminal; lines for a pipe, a CI and a simple terminal."""
    env = os.environ if environ is None else environ
    able = sys.stdout.isatty() and not env.get("CI") and env.get("TERM", "dumb") != "dumb"
    if able and not quiet:
        return TableProgress(verbose=verbose)
    return LineProgress(quiet=quiet, verbose=verbose)


def _step(task: RunningTask) -> str:
    return f"{task.step} ... " if task.step else ""


def _table(tasks: Sequence[RunningTask], left: int, now: float) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for task in tasks:
        step = f"{_step(task)}{now - task.step_began:.0f} s" if task.step else ""
        table.add_row(task.name, f"{now - task.began:.0f} s", step)
    table.add_row(f"{left} left")
    return table
