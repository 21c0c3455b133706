"""Exact counts: system calls of a start, bytes and files of a payload."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rezbuild.bench.interpreters import Interpreter
from rezbuild.bench.numbers import Measurement
from rezbuild.bench.start import STARTS, command, warm_up
from rezbuild.errors import CheckError
from rezbuild.util import strace


def count_calls(pair: Sequence[Interpreter], _: int = 1) -> Iterator[Measurement]:
    """Count the file system calls of a whole process: all of them, and those that fail.

    Raises:
        CheckError: A command fails.
        MachineError: strace is missing, or may not trace here.
    """
    strace.find_strace()
    for name, code in STARTS.items():
        # The first start compiles modules, which adds calls.
        warm_up(pair, code)
        traces = [strace.trace(command(one, code), env={}, cwd=Path("/")) for one in pair]
        yield _counts("calls", f"{name}, all", "calls", [len(one.calls) for one in traces])
        yield _counts("calls", f"{name}, failed", "calls", [len(one.failed) for one in traces])


def measure_sizes(pair: Sequence[Interpreter], _: int = 1) -> Iterator[Measurement]:
    """Measure the payloads. An interpreter that shares its folders with other programs is left out.

    Raises:
        CheckError: The first is no payload.
    """
    if pair[0].root is None:
        raise CheckError(f"{pair[0].label} is not a payload: its files are unknown")
    found = [measure_tree(one.root) for one in pair if one.root is not None]
    yield _counts("size", "bytes", "bytes", [total for total, _ in found])
    yield _counts("size", "files", "files", [number for _, number in found])


def measure_tree(root: Path) -> tuple[int, int]:
    """Return the bytes of all files, and the number of files and links."""
    total = number = 0
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*names, *links):
            total += os.lstat(os.path.join(folder, name)).st_size
            number += 1
    return total, number


def _counts(part: str, name: str, unit: str, values: Sequence[int]) -> Measurement:
    return Measurement(part, name, unit, *((float(value),) for value in values))
