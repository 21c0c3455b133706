"""Programs that run in parallel: their logs, their events, and how they end."""

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

# The variable with the id of the process that a build must not outlive: Rez or a worker.
REZ = "REZBUILD_REZ"
_TAIL = 30
# Seconds between two checks of whether another process still runs.
_PAUSE = 0.2
# The exit code of a killed process in shells: 128 + SIGKILL.
_KILLED = 137
# prctl(2).
_SET_CHILD_SUBREAPER = 36


class TaskUpdate(NamedTuple):
    """The exit code, or None while the task runs; lines and events since the last poll."""

    status: int | None
    lines: list[str]
    events: list[Event]


class RunningTask(Protocol):
    """A running task, on this machine or on a worker of a farm.

    Attributes:
        name: The name for the user.
        log: The file with its output.
        began: Its start on the monotonic clock, in seconds.
        step: The current step of the build, or "".
        step_began: The start of that step.
        worker: The machine in a farm, or "".
    """

    name: str
    log: Path
    began: float
    step: str
    step_began: float
    worker: str

    @property
    def seconds(self) -> float:
        """The seconds since it began."""
        ...

    def poll(self) -> TaskUpdate:
        """Return the exit code, lines and events since the last poll."""
        ...

    def tail(self) -> list[str]:
        """Return the last lines of the log."""
        ...

    def wait(self) -> int:
        """Stop reading, and wait for the end; return the exit code."""
        ...


class Task:
    """A process on this machine whose output goes to a log.

    Args:
        name: The name for the user.
        argv: The program and its arguments.
        cwd: The working folder.
        env: The whole environment.
        log: The file for its output; an old one is replaced.
        after: Append to the log of an earlier task instead.

    Attributes:
        began: Its start on the monotonic clock, in seconds.
        step: The current step of the build, or "".
        step_began: The start of that step.
        worker: Always "", this machine.
    """

    worker = ""

    def __init__(  # noqa: PLR0913 (a process, its name and its log)
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
            # Another run, for another repository, may still write to the old file.
            log.unlink(missing_ok=True)
        with log.open("ab" if after else "xb") as stream:
            self._output = log.open(encoding="utf-8", errors="replace")
            self._output.seek(0, os.SEEK_END)
            self._events = Events()
            # The output goes to a log.
            env = {name: value for name, value in env.items() if name != "FORCE_COLOR"}
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
        """The process id."""
        return self._process.pid

    @property
    def seconds(self) -> float:
        """The seconds since it began."""
        return time.monotonic() - self.began

    def poll(self) -> TaskUpdate:
        """Return the exit code, lines and events since the last poll."""
        # The status first: after the end of the process, its output is complete.
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
        """Return the last lines of the log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return text.splitlines()[-_TAIL:]

    def wait(self) -> int:
        """Stop reading, and wait for the end; return the exit code."""
        self._output.close()
        self._events.close()
        return self._process.wait()


def capture(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    merge: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a program without input, and return its exit code and its output as text.

    Args:
        argv: The program and its arguments.
        env: Its whole environment; default: that of this process.
        cwd: Its working folder; default: the current folder.
        merge: Write stderr to stdout.

    Raises:
        OSError: The program cannot be started.
    """
    return subprocess.run(
        argv,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merge else subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )


def last_line(output: str) -> str:
    """Return the last line that a program has printed, for an error message."""
    return (output.strip().splitlines() or ["no output"])[-1]


def wait_or_stop(task: Task) -> int:
    """Wait for a task, and return its exit code; stop the task on an exception."""
    try:
        return task.wait()
    except BaseException:
        stop([task])
        raise


def become_subreaper() -> None:
    """Make this process the parent of orphans below it, so that `stop` finds them, prctl(2).

    Ctrl-C ends the processes between. A process that ignores it, or has another session, becomes
    an orphan.
    """
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)


def exit_with_rez() -> None:
    """Start a thread that ends this process, and all below it, soon after its Rez ends.

    PR_SET_PDEATHSIG does not help: a shell between Rez and the build outlives Rez.
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
    """Return the start time of a process (proc(5), field 22), or "" after its end."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # The third field, the state: a zombie has ended.
    return "" if fields[0] in "ZX" else fields[19]


def stop(tasks: Iterable[RunningTask]) -> None:
    """Kill tasks, and all other processes below this one."""
    _kill(lambda: _descendants(os.getpid()))
    for task in tasks:
        task.wait()


def reap_orphans() -> None:
    """Reap finished orphan processes; call it only while no task runs."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end(pid: int) -> None:
    """Kill a child process, and all processes below it."""
    _kill(lambda: [pid, *_descendants(pid)])


def _kill(find: Callable[[], Iterable[int]]) -> None:
    stopped: set[int] = set()
    # Stop all before killing any, and search again: a running process may start others.
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
    """Return the processes below a process, by the fourth field of /proc/<pid>/stat, proc(5)."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in parentheses may contain any character.
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:
        found += [child for child, above in parents.items() if above == parent]
    return found[1:]
