"""The time that an interpreter takes to start: on a local disk, and with slow file system calls."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rezbuild.bench.interpreters import Interpreter
from rezbuild.bench.numbers import Measurement, interleave
from rezbuild.errors import CheckError
from rezbuild.util import strace
from rezbuild.util.processes import capture, last_line

# The code of each measured start, by name: none; the modules that use bundled libraries; a usual
# part of the standard library.
STARTS = {
    "pass": "pass",
    "libraries": "import ssl, sqlite3, ctypes, readline, lzma, bz2",
    "modules": "import argparse, json, logging, subprocess, pathlib, typing, dataclasses,"
    " concurrent.futures, asyncio",
}
# Microseconds that each file system call is delayed: about a round trip to a file server.
DELAY = 1000
_WARM_UPS = 3


@dataclass(frozen=True)
class Duration:
    """The time of a process in seconds: by the clock, and of processors (user and system)."""

    wall: float
    cpu: float


def command(interpreter: Interpreter, code: str) -> list[str]:
    """Return the command that runs some code, isolated from the user's environment."""
    return [str(interpreter.python), "-I", "-c", code]


def measure_starts(pair: Sequence[Interpreter], rounds: int) -> Iterator[Measurement]:
    """Measure the time from a process's start to its end, with warm caches.

    Raises:
        CheckError: A command fails.
    """
    for name, code in STARTS.items():
        warm_up(pair, code)
        took = interleave(pair, rounds, lambda one, code=code: time_process(command(one, code)))  # type: ignore[misc]
        yield _pair("start", f"{name}, wall", [[one.wall for one in each] for each in took])
        yield _pair("start", f"{name}, cpu", [[one.cpu for one in each] for each in took])


def measure_delayed_starts(pair: Sequence[Interpreter], rounds: int) -> Iterator[Measurement]:
    """Measure starts with slower file system calls, as on a network file system.

    Raises:
        CheckError: A command fails.
        MachineError: strace is missing.
    """
    inject = f"inject=%file:delay_enter={DELAY}"
    slow = [strace.find_strace(), "-f", "-qq", "-o", "/dev/null", "-e", "trace=%file", "-e", inject]
    for name, code in STARTS.items():
        warm_up(pair, code)
        took = interleave(
            pair,
            rounds,
            lambda one, code=code: time_process([*slow, *command(one, code)]),  # type: ignore[misc]
        )
        yield _pair("latency", f"{name}, wall", [[one.wall for one in each] for each in took])


def warm_up(pair: Sequence[Interpreter], code: str) -> None:
    """Fill the caches, and check that the command works.

    Raises:
        CheckError: It fails.
    """
    for interpreter in pair:
        for _ in range(_WARM_UPS):
            done = capture(command(interpreter, code), env={})
            if done.returncode != 0:
                raise CheckError(
                    f"{interpreter.label} fails on {code!r}: {last_line(done.stderr)}",
                    advice=[f"run it by hand: {interpreter.python} -I -c {code!r}"],
                )


def time_process(argv: list[str]) -> Duration:
    """Run a program in an empty environment, and measure it.

    Raises:
        CheckError: It fails.
    """
    null = os.open(os.devnull, os.O_RDWR)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
        begin = time.perf_counter()
        child = os.posix_spawn(argv[0], argv, {}, file_actions=actions)
        _, status, usage = os.wait4(child, 0)
        wall = time.perf_counter() - begin
    finally:
        os.close(null)
    if status != 0:
        raise CheckError(
            f"{argv[0]} failed while it was measured: exit status {status}",
            advice=["run it by hand: env -i " + " ".join(argv)],
        )
    return Duration(wall, usage.ru_utime + usage.ru_stime)


def _pair(part: str, name: str, values: list[list[float]]) -> Measurement:
    return Measurement(part, name, "s", *(tuple(each) for each in values))
