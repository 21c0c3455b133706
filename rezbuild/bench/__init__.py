"""Measurements of interpreters, compared in pairs; `PARTS` lists them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rezbuild.bench import counts, interpreters, machine, memory, native, start, suite
from rezbuild.bench.interpreters import Interpreter
from rezbuild.bench.numbers import Measurement, spread, with_unit
from rezbuild.errors import CheckError, MachineError, RezbuildError
from rezbuild.files import noexec
from rezbuild.util import words

# The parts in their order, with their default number of rounds. Six pairs are the fewest whose
# extremes hold the median with 95 % confidence. With an even number, each interpreter starts
# equally often.
PARTS: Mapping[str, int] = {
    "start": 100,
    "calls": 1,
    "latency": 10,
    "memory": 6,
    "size": 1,
    "native": 6,
    "suite": 6,
}
_ABOUT = {
    "start": "time of a start",
    "calls": "file system calls of a start",
    "latency": f"start with {start.DELAY / 1000:g} ms delay of each file system call",
    "memory": "resident memory of a process",
    "size": "bytes and files",
    "native": "work of the native libraries",
    "suite": "benchmarks of pyperformance",
}
_EXACT = ("calls", "size")
_SIMPLE: Mapping[str, Callable[[Sequence[Interpreter], int], Iterator[Measurement]]] = {
    "start": start.measure_starts,
    "calls": counts.count_calls,
    "latency": start.measure_delayed_starts,
    "memory": memory.measure_memory,
    "size": counts.measure_sizes,
    "native": native.measure_libraries,
}


@dataclass(frozen=True)
class Options:
    """What is measured, and how.

    Attributes:
        cache: The folder of packages that some benchmarks need.
        only: The parts.
        rounds: Pairs of each measurement; None for the default of `PARTS`.
        full: Run all benchmarks of pyperformance, not a quick choice.
        without: Patterns of benchmarks, e.g. ``scimark_*``; a second mean leaves them out.
    """

    cache: Path
    only: Sequence[str] = tuple(PARTS)
    rounds: int | None = None
    full: bool = False
    without: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """The results.

    Attributes:
        interpreters: One or two.
        machine: See `rezbuild.bench.machine.gather_facts`.
        measurements: In the order in which they were made.
        left_out: Parts that could not be measured, e.g. ``latency`` or ``suite: dask``, and why.
    """

    interpreters: tuple[Interpreter, ...]
    machine: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    left_out: tuple[tuple[str, str], ...]


def bench(
    first: Interpreter, second: Interpreter | None, options: Options, say: Callable[[str], None]
) -> Report:
    """Measure an interpreter. Payloads are copied to another folder first; the copies are measured.

    Args:
        first: The interpreter of interest.
        second: The interpreter to compare with, if any.
        options: What is measured.
        say: Prints progress.

    Raises:
        MachineError: Nothing could be measured.
    """
    found: list[Measurement] = []
    left_out: list[tuple[str, str]] = []

    def leave_out(what: str, error: RezbuildError) -> None:
        why = "; ".join([error.message, *error.advice])
        left_out.append((what, why))
        say(f"left out: {what}: {why}")

    noexec.refuse(Path(tempfile.gettempdir()))
    facts = machine.gather_facts()
    scratch = Path(tempfile.mkdtemp(prefix="rezbuild-"))
    try:
        named = [one for one in (first, second) if one is not None]
        pair = [
            interpreters.copy_payload(one, scratch / f"moved-{i}") for i, one in enumerate(named, 1)
        ]
        for part in (part for part in PARTS if part in options.only):
            rounds = options.rounds or PARTS[part]
            how_often = "" if part in _EXACT else f", {words.count(rounds, 'round')}"
            say(f"{part}: {_ABOUT[part]}{how_often} ...")
            try:
                for measurement in _measure(part, pair, rounds, options, scratch, leave_out):
                    found.append(measurement)
                    if part == "suite":
                        # All benchmarks take more than an hour: keep the results if a user stops.
                        say(f"suite: {_result(measurement)}")
            except (CheckError, MachineError) as error:
                leave_out(part, error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if not found:
        raise MachineError(
            "no measurement succeeded",
            tried=[f"{what}: {why}" for what, why in left_out],
        )
    return Report(tuple(named), facts, tuple(found), tuple(left_out))


def _result(measurement: Measurement) -> str:
    shown = measurement.ratio or with_unit(spread(measurement.first), measurement.unit)
    return f"{measurement.name}: {shown}"


def _measure(  # noqa: PLR0913, PLR0917 (one call)
    part: str,
    pair: Sequence[Interpreter],
    rounds: int,
    options: Options,
    scratch: Path,
    leave_out: Callable[[str, RezbuildError], None],
) -> Iterator[Measurement]:
    if part == "suite":
        folder = scratch / "suite"
        folder.mkdir()
        yield from suite.measure_all(
            suite.Suite(folder, options.cache / "bench"),
            pair,
            rounds,
            full=options.full,
            without=options.without,
            left_out=lambda name, error: leave_out(f"suite: {name}", error),
        )
        return
    yield from _SIMPLE[part](pair, rounds)
