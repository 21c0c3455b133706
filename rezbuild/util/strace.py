"""The system calls of a process that name or ask about files, as strace sees them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rezbuild.errors import MachineError
from rezbuild.util.processes import last_line

_TEXT = r'"((?:[^"\\]|\\.)*)"'
_CALL = re.compile(rf"(\w+)\((?:(AT_FDCWD|\d+), )?(?:{_TEXT})?.*?(?: = (-?\d+)[^=]*)?")


@dataclass(frozen=True)
class Call:
    """A system call of strace's class ``file``.

    Attributes:
        name: Its name, as in ``openat``.
        path: The file, made absolute; empty where the call is about an open file or names one
            from an open folder on.
        worked: Whether it returned anything but an error.
    """

    name: str
    path: str
    worked: bool


@dataclass(frozen=True)
class Trace:
    """What a program and all that it started did.

    Attributes:
        calls: In order, process by process.
        status: The exit code of the program, or 128 and the signal that ended it.
        output: What it wrote to stdout and stderr.
    """

    calls: tuple[Call, ...]
    status: int
    output: str

    @property
    def failed(self) -> tuple[Call, ...]:
        """The calls that returned an error: what was looked for in vain, above all."""
        return tuple(call for call in self.calls if not call.worked)


def find_strace() -> str:
    """Where strace is.

    Raises:
        MachineError: It is not installed.
    """
    program = shutil.which("strace")
    if program is None:
        raise MachineError(
            "strace is not installed",
            advice=["install it: apt-get, dnf or zypper install strace"],
        )
    return program


def trace(argv: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path) -> Trace:
    """Runs a program to its end and records its calls.

    Args:
        argv: The program and its arguments.
        env: Its whole environment.
        cwd: Where it runs; paths are made absolute from there.

    Raises:
        MachineError: strace is missing, or may not trace here.
    """
    with tempfile.TemporaryDirectory(prefix="rezbuild-") as folder:
        # One file for each process (-ff): in a common one the lines of two may cut each other.
        options = ("-ff", "-qq", "-s", "4096", "-e", "trace=%file", "-o", f"{folder}/trace")
        done = subprocess.run(
            [find_strace(), *options, *map(str, argv)],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        calls = tuple(call for text in _records(Path(folder)) for call in parse(text, cwd))
    if not calls:
        said = last_line(done.stdout)
        raise MachineError(
            f"strace cannot trace here: {said}",
            advice=["containers may need --cap-add SYS_PTRACE"],
        )
    status = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return Trace(calls, status, done.stdout)


def parse(text: str, cwd: Path) -> Iterator[Call]:
    """The calls in strace's record of one process."""
    for line in text.splitlines():
        match = _CALL.fullmatch(line)
        # What does not match are signals and the ends of processes.
        if match:
            name, start, path, result = match.groups()
            known = path and start in (None, "AT_FDCWD")
            absolute = os.path.join(cwd, path) if known else ""
            yield Call(name, absolute, result is not None and not result.startswith("-"))


def _records(folder: Path) -> Iterator[str]:
    for path in sorted(folder.iterdir(), key=lambda path: int(path.suffix[1:])):
        yield path.read_text(encoding="utf-8", errors="replace")
