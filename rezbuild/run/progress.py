"""What a user sees of builds that run at once: lines, and on a terminal a table that lives."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rezbuild.reporter import NOTICE, STEP_END, Event, Reporter
from rezbuild.util.processes import RunningTask, TaskUpdate
from rezbuild.util.terminal import printable

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

# Seconds after which a silent step is spoken of: a CI may take what is silent for dead.
PATIENCE = 120


class Lines(Reporter):
    """Whole lines, each with the name of its build."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        super().__init__(quiet=quiet, verbose=verbose)
        self._spoken: dict[str, float] = {}

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """While builds run."""
        yield

    def heard(self, task: RunningTask, news: TaskUpdate) -> None:
        """Show the events of a build that have a text; all else that it prints is in its log."""
        for line in news.lines if self.verbose else ():
            self.info(f"{task.name}: {line}")
        if self.verbose:
            return
        for event in filter(self._shows, news.events):
            show = self.notice if event.kind == NOTICE else self.info
            show(f"{task.name}: {event.text}")

    def _shows(self, event: Event) -> bool:
        return bool(event.text)

    def show(self, tasks: Sequence[RunningTask], left: int) -> None:  # noqa: ARG002 (for the table)
        """Shows what runs now and how many builds are left, with these; called again and again."""
        now = time.monotonic()
        for task in tasks:
            if now - max(self._spoken.get(task.name, 0), task.step_began) > PATIENCE:
                self._spoken[task.name] = now
                seconds = now - task.step_began
                self.info(f"{task.name}: {_step(task)}still running, {seconds:.0f} s: {task.log}")


class Terminal(Lines):
    """A table of what runs below the lines, drawn anew."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(verbose=verbose)
        self._live: Live | None = None
        self._drawn = 0.0

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Draws the table meanwhile, and clears it."""
        # Rich is slow to import.
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415

        # Drawn by who calls, not by a thread: what it shows changes meanwhile.
        with Live(console=Console(), auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def _print(self, text: str) -> None:
        """Print above the table."""
        if self._live:
            # Not folded: paths are copied from a terminal.
            self._live.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
        else:
            super()._print(text)

    def _shows(self, event: Event) -> bool:
        """Steps are in the table."""
        return event.kind != STEP_END and super()._shows(event)

    def show(self, tasks: Sequence[RunningTask], left: int) -> None:
        """Draws the table, some times a second."""
        now = time.monotonic()
        if self._live and now - self._drawn > 0.2:
            self._drawn = now
            self._live.update(_table(tasks, left, now), refresh=True)


def choose(
    environ: Mapping[str, str] | None = None, *, quiet: bool = False, verbose: bool = False
) -> Lines:
    """The table on a terminal; lines for a pipe, a CI, and a terminal that can do no more."""
    env = os.environ if environ is None else environ
    able = sys.stdout.isatty() and not env.get("CI") and env.get("TERM", "dumb") != "dumb"
    if able and not quiet:
        return Terminal(verbose=verbose)
    return Lines(quiet=quiet, verbose=verbose)


def _step(task: RunningTask) -> str:
    return f"{task.step} ... " if task.step else ""


def _table(tasks: Sequence[RunningTask], left: int, now: float) -> Table:
    from rich.table import Table  # noqa: PLC0415 (see above)

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for task in tasks:
        step = f"{_step(task)}{now - task.step_began:.0f} s" if task.step else ""
        table.add_row(task.name, f"{now - task.began:.0f} s", step)
    table.add_row(f"{left} left")
    return table
