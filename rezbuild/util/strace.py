"""The system calls of a process that name or ask about files, as strace sees them."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rezbuild.errors import MachineError
from rezbuild.util.processes import capture, last_line

_TEXT = r'"((?:[^"\\]|\\.)*)"'
_CALL = re.compile(rf"(\w+)\((?:(AT_FDCWD|\d+), )?(?:{_TEXT})?.*?(?: = (-?\d+)[^=]*)?")


@dataclass(frozen=True)
class Call:
    """A system call of strace's class ``file``.

    Attributes:
        name: e.g. ``openat``.
        path: The absolute path; "" if the call uses an open file or an open folder.
        worked: Whether it succeeded.
    """

    name: str
    path: str
    worked: bool


@dataclass(frozen=True)
class Trace:
    """The calls of a program and of all processes that it started.

    Attributes:
        calls: In order, process by process.
        status: The exit code of the program, or 128 and the signal that ended it.
        output: Its stdout and stderr.
    """

    calls: tuple[Call, ...]
    status: int
    output: str

    @property
    def failed(self) -> tuple[Call, ...]:
        """The calls that failed, mostly because a file does not exist."""
        return tuple(call for call in self.calls if not call.worked)


def find_strace() -> str:
    """Return the path of strace.

    Raises:
        MachineError: strace is not installed.
    """
    program = shutil.which("strace")
    if program is None:
        raise MachineError(
            "strace is not installed",
            advice=["install it: apt-get, dnf or zypper install strace"],
        )
    return program


def trace(argv: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path) -> Trace:
    """Run a program and record its calls.

    Args:
        argv: The program and its arguments.
        env: Its whole environment.
        cwd: Its working folder; relative paths start there.

    Raises:
        MachineError: strace is missing or is not allowed to trace.
    """
    with tempfile.TemporaryDirectory(prefix="rezbuild-") as folder:
        # One file per process (-ff): in a shared file, lines of two processes may mix.
        options = ("-ff", "-qq", "-s", "4096", "-e", "trace=%file", "-o", f"{folder}/trace")
        words = [find_strace(), *options, *map(str, argv)]
        done = capture(words, env=env, cwd=cwd, merge=True)
        calls = tuple(call for text in _records(Path(folder)) for call in parse(text, cwd))
    if not calls:
        reason = last_line(done.stdout)
        raise MachineError(
            f"strace cannot trace here: {reason}",
            advice=["in a container, add --cap-add SYS_PTRACE"],
        )
    status = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return Trace(calls, status, done.stdout)


def parse(text: str, cwd: Path) -> Iterator[Call]:
    """Yield the calls in strace's record of one process."""
    for line in text.splitlines():
        match = _CALL.fullmatch(line)
        # Other lines are signals and the ends of processes.
        if match:
            name, start, path, result = match.groups()
            known = path and start in (None, "AT_FDCWD")
            absolute = os.path.join(cwd, path) if known else ""
            yield Call(name, absolute, result is not None and not result.startswith("-"))


def _records(folder: Path) -> Iterator[str]:
    for path in sorted(folder.iterdir(), key=lambda path: int(path.suffix[1:])):
        yield path.read_text(encoding="utf-8", errors="replace")
