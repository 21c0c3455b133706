"""A program that runs beside others: its output goes to a log, which is read meanwhile."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from rezbuild.reporter import EVENTS, STEP, STEP_END, Event, Events

# Names to a build the process that it is not to outlive: Rez's, or a worker's.
REZ = "REZBUILD_REZ"
_TAIL = 30
# Seconds between two looks at whether another process is still there.
_PAUSE = 0.2
# The exit code of what has been killed, as shells have it: 128 + SIGKILL.
_KILLED = 137
# prctl(2).
_SET_CHILD_SUBREAPER = 36


class TaskUpdate(NamedTuple):
    """The exit code, or None while it runs; complete lines and events since the last look."""

    status: int | None
    lines: list[str]
    events: list[Event]


class RunningTask(Protocol):
    """What runs, as those see it who look at it: here, or on another machine.

    Attributes:
        name: What it is for.
        log: Where its output goes.
        began: When, by the monotonic clock, in seconds.
        step: The step of a build that it is at, or "".
        step_began: When that was seen first.
        worker: The machine of a farm that it is on, or "".
    """

    name: str
    log: Path
    began: float
    step: str
    step_began: float
    worker: str

    @property
    def seconds(self) -> float:
        """Since it began."""
        ...

    def poll(self) -> TaskUpdate:
        """Look at it."""
        ...

    def tail(self) -> list[str]:
        """The last lines of the log."""
        ...

    def wait(self) -> int:
        """Reads no more, and sees that it has ended; its exit code."""
        ...


class Task:
    """One that runs.

    Args:
        name: What it is for.
        argv: The program and its arguments.
        cwd: Where it runs.
        env: Its whole environment.
        log: Where its output goes; what is there is replaced.
        after: The log goes on where another one has ended.

    Attributes:
        began: When, by the monotonic clock, in seconds.
        step: The step of a build that it is at, or "".
        step_began: When that was seen first.
        worker: The machine it runs on, "" for this one.
    """

    worker = ""

    def __init__(  # noqa: PLR0913 (one more than a process has)
        self,
        name: str,
        argv: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        log: Path,
        *,
        after: bool = False,
    ) -> None:
        self.name = name
        self.log = log
        self.began = time.monotonic()
        self.step = ""
        self.step_began = self.began
        self._rest = ""
        log.parent.mkdir(parents=True, exist_ok=True)
        if not after:
            # Another run may still write the old one, for another repository.
            log.unlink(missing_ok=True)
        with log.open("ab" if after else "xb") as stream:
            self._output = log.open(encoding="utf-8", errors="replace")
            self._output.seek(0, os.SEEK_END)
            self._events = Events()
            self._process = subprocess.Popen(
                argv,
                cwd=cwd,
                env={**env, EVENTS: self._events.name},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def poll(self) -> TaskUpdate:
        """Look at it."""
        # In this order: when it has ended, all that it said is there.
        status = self._process.poll()
        *lines, self._rest = (self._rest + self._output.read()).split("\n")
        if status is not None and self._rest:
            lines, self._rest = [*lines, self._rest], ""
        events = self._events.read()
        for event in events:
            if event.kind in {STEP, STEP_END}:
                self.step = event.step if event.kind == STEP else ""
                self.step_began = time.monotonic()
        return TaskUpdate(status, lines, events)

    def tail(self) -> list[str]:
        """The last lines of the log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return text.splitlines()[-_TAIL:]

    def wait(self) -> int:
        """Reads no more, and waits for the program's end; its exit code."""
        self._output.close()
        self._events.close()
        return self._process.wait()


def last_line(output: str) -> str:
    """Return the last line that a program has printed, for an error message."""
    return (output.strip().splitlines() or ["no output"])[-1]


def wait_or_stop(task: Task) -> int:
    """Waits for a task that runs alone; its exit code."""
    try:
        return task.wait()
    except BaseException:
        stop([task])
        raise


def become_subreaper() -> None:
    """Makes what loses its parent a child of this process, where `stop` finds it.

    Ctrl-C on a terminal reaches all at once; what ignores it, or has a session of its own, is an
    orphan then.
    """
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)


def exit_with_rez() -> None:
    """Has a thread end this process, and all that it has started, soon after its Rez has ended.

    PR_SET_PDEATHSIG would not do: between Rez and a build is a shell that outlives Rez.
    """
    if os.environ.get(REZ, "").isdecimal():
        _end_with(int(os.environ[REZ]))


def _end_with(pid: int) -> None:
    began = _began(pid)
    become_subreaper()

    def watch() -> None:
        while began and _began(pid) == began:
            time.sleep(_PAUSE)
        stop([])
        os._exit(_KILLED)

    threading.Thread(target=watch, daemon=True).start()


def _began(pid: int) -> str:
    """When a process began (proc(5), field 22); "" where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # The third field: one that has ended and that nobody has waited for.
    return "" if fields[0] in "ZX" else fields[19]


def stop(tasks: Iterable[RunningTask]) -> None:
    """Ends tasks at once, with everything else that this process has started."""
    _kill(lambda: _descendants(os.getpid()))
    for task in tasks:
        task.wait()


def reap_orphans() -> None:
    """Takes leave of what `become_subreaper` has brought and has ended; only while no task runs."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end(pid: int) -> None:
    """Ends a process of this one's at once, with everything below it."""
    _kill(lambda: [pid, *_descendants(pid)])


def _kill(find: Callable[[], Iterable[int]]) -> None:
    stopped: set[int] = set()
    # Stopped first, and looked at again: what still runs may start something else meanwhile.
    while found := set(find()) - stopped:
        for pid in found:
            _signal(pid, signal.SIGSTOP)
        stopped |= found
    for pid in stopped:
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _descendants(pid: int) -> list[int]:
    """The processes below one, by the fourth field of /proc/<pid>/stat, proc(5)."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold anything.
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:
        found += [child for child, above in parents.items() if above == parent]
    return found[1:]
