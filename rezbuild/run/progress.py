"""The progress of parallel builds: lines, and on a terminal also a table."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import ControlType
from rich.table import Table
from rich.text import Text

from rezbuild.reporter import NOTICE, STEP_END, Event, Reporter
from rezbuild.run import ci_log
from rezbuild.run.ci_log import CiLog
from rezbuild.run.gantt import clock
from rezbuild.util import tables, words
from rezbuild.util.processes import RunningTask, TaskUpdate
from rezbuild.util.terminal import printable, printable_line

# Seconds until a silent step gets a line: a CI may end a job without output.
SILENCE = 120
# Columns of the bar.
_BAR = 30


@dataclass(frozen=True)
class State:
    """The state of a run.

    Attributes:
        left: The steps that have not ended.
        total: All steps.
        time_left: Returns the estimated seconds until the end, or None if they are unknown.
    """

    left: int
    total: int
    time_left: Callable[[], float | None] = lambda: None


class LineProgress(Reporter):
    """Prints lines, each with the name of its build.

    Attributes:
        console: The console of a table, or None.
    """

    console: Console | None = None

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        super().__init__(quiet=quiet, verbose=verbose)
        self._spoken: dict[str, float] = {}
        self._skipped = 0
        self._has_counted = False

    @contextlib.contextmanager
    def planning(self) -> Iterator[None]:
        """Show that a plan is being made."""
        yield

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Show progress while builds run."""
        yield

    def skip(self, text: str) -> None:
        """Count a step that needs no build; one line tells the number. With -v, print its text."""
        if self.verbose:
            self.info(text)
        else:
            self._skipped += 1

    def skipped(self) -> str:
        """Return a summary of the steps that needed no build, if no line has told their number."""
        if self._has_counted or not self._skipped:
            return ""
        return f"nothing to do, {words.count(self._skipped, 'package')} installed"

    def _print(self, text: str, style: str = "") -> None:
        """Print a line, after one with the number of steps that needed no build."""
        if self._skipped and not self.quiet:
            count = words.count(self._skipped, "package")
            self._skipped, self._has_counted = 0, True
            self._print_line(f"{count} installed already from the same inputs")
        self._print_line(text, style)

    def _print_line(self, text: str, style: str = "") -> None:
        super()._print(text, style)

    def show_update(self, task: RunningTask, news: TaskUpdate) -> None:
        """Print the events of a build that have a text; its log has all other output."""
        for line in news.lines if self.verbose else ():
            self._show_line(task, line)
        if self.verbose:
            return
        for event in filter(self._shows, news.events):
            if event.kind == NOTICE:
                self.notice(f"{task.name}: {event.text}")
            else:
                self._show_line(task, event.text)

    def _show_line(self, task: RunningTask, line: str) -> None:
        self.info(f"{task.name}: {line}")

    def show_failure(self, step: str, reason: str) -> None:
        """Report a step that failed."""
        self.notice(f"{step}: failed: {reason}")

    def _shows(self, event: Event) -> bool:
        return bool(event.text)

    def show_running(self, tasks: Sequence[RunningTask], state: State) -> None:  # noqa: ARG002 (for the table)
        """Show the running builds and the state of the run; called several times a second."""
        now = time.monotonic()
        for task in tasks:
            if now - max(self._spoken.get(task.name, 0), task.step_began) > SILENCE:
                self._spoken[task.name] = now
                seconds = now - task.step_began
                self.info(f"{task.name}: {_step(task)}still running, {seconds:.0f} s: {task.log}")


class GroupProgress(LineProgress):
    """Prints the lines of each build together at its end: groups in the log of a CI cannot nest.

    Args:
        log: The markers of the CI service.
    """

    def __init__(self, log: CiLog, *, quiet: bool = False, verbose: bool = False) -> None:
        super().__init__(quiet=quiet, verbose=verbose)
        self._log = log
        self._groups: dict[str, tuple[RunningTask, list[str]]] = {}

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Print the lines of builds that were interrupted, too."""
        try:
            yield
        finally:
            for task, _ in list(self._groups.values()):
                self._print_group(task)

    def show_update(self, task: RunningTask, news: TaskUpdate) -> None:
        super().show_update(task, news)
        if news.status is not None:
            self._print_group(task)

    def _show_line(self, task: RunningTask, line: str) -> None:
        # Each line begins with the name, so that none is a command of a CI service.
        lines = (f"{task.name}: {part}" for part in line.splitlines())
        self._groups.setdefault(task.name, (task, []))[1].extend(lines)

    def _print_group(self, task: RunningTask) -> None:
        _, lines = self._groups.pop(task.name, (task, []))
        if lines and not self.quiet:
            self.raw(*self._log.group(task.name, lines, task.seconds))

    def show_failure(self, step: str, reason: str) -> None:
        self.raw(self._log.failure(step, f"{step}: failed: {reason}"))


class TableProgress(LineProgress):
    """Draws a table of the running builds below the lines."""

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(verbose=verbose)
        self.console: Console = tables.console()
        self._live: Live | None = None
        self._began = self._drawn = 0.0

    @contextlib.contextmanager
    def planning(self) -> Iterator[None]:
        """Show a line while a plan is made, and clear it at the end; other output overwrites it."""
        # No Live: a download draws its own.
        try:
            self.console.print("planning ...", end="\r", highlight=False)
            yield
        finally:
            self._erase_line()

    def _erase_line(self) -> None:
        self.console.control(Control((ControlType.ERASE_IN_LINE, 2)))

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Draw the table while builds run, and clear it at the end."""
        self._began, first = time.monotonic(), Text("starting ...")
        # No thread of Rich draws, because the tasks change at the same time.
        with Live(first, console=self.console, auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def _print_line(self, text: str, style: str = "") -> None:
        """Print above the table."""
        if not self._live:
            self._erase_line()
        # Do not fold lines: users copy paths from a terminal.
        line = Text(printable(text), style)
        self.console.print(line, soft_wrap=True)

    def _shows(self, event: Event) -> bool:
        """Leave out steps, which the table shows."""
        return event.kind != STEP_END and super()._shows(event)

    def show_running(self, tasks: Sequence[RunningTask], state: State) -> None:
        """Draw the table several times a second."""
        now = time.monotonic()
        if self._live and now - self._drawn > 0.2:
            self._drawn = now
            shown = Group(_table(tasks, now), _sum(state, now - self._began))
            self._live.update(shown, refresh=True)


def choose(
    environ: Mapping[str, str] | None = None, *, quiet: bool = False, verbose: bool = False
) -> LineProgress:
    """Return a table for a terminal, groups for a CI, and lines for a pipe or a simple terminal."""
    env = os.environ if environ is None else environ
    able = sys.stdout.isatty() and not env.get("CI") and env.get("TERM", "dumb") != "dumb"
    if able and not quiet:
        return TableProgress(verbose=verbose)
    if log := ci_log.find(env):
        return GroupProgress(log, quiet=quiet, verbose=verbose)
    return LineProgress(quiet=quiet, verbose=verbose)


def _step(task: RunningTask) -> str:
    return f"{task.step} ... " if task.step else ""


def _table(tasks: Sequence[RunningTask], now: float) -> Table:
    """Return a row for each build; the worker is shown if there is a farm."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    has_farm = any(task.worker for task in tasks)
    if has_farm:
        table.add_column(no_wrap=True, style="magenta")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", style="cyan")
    for task in tasks:
        step = f"{_step(task)}{now - task.step_began:.0f} s" if task.step else ""
        worker = [task.worker] if has_farm else []
        cells = (task.name, *worker, f"{now - task.began:.0f} s", step)
        table.add_row(*(Text(printable_line(cell)) for cell in cells))
    return table


def _sum(state: State, elapsed: float) -> Table:
    """Return the last line: the steps that have ended, a bar, and the time that is left."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(max_width=_BAR)
    table.add_column(no_wrap=True)
    time_left = state.time_left()
    share = elapsed / (elapsed + time_left) if elapsed and time_left is not None else 0.0
    bar = ProgressBar(total=1.0, completed=share, width=None, complete_style="green")
    ended = f"{state.total - state.left} of {words.count(state.total, 'package')}"
    rest = "" if time_left is None else f"about {clock(time_left)} left"
    table.add_row(Text(ended), bar, Text(rest))
    return table
