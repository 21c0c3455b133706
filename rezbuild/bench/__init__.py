"""Measures an interpreter, beside another one: start, system calls, size, and pyperformance."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rezbuild.bench import counts, interpreters, machine, start, suite
from rezbuild.bench.interpreters import Interpreter
from rezbuild.bench.numbers import Measurement
from rezbuild.errors import CheckError, MachineError, RezbuildError

# The parts in their order, each with how many rounds it gets by default. Six pairs are the fewest
# whose extremes hold the median with a confidence of 95 %; an even number starts with each
# interpreter as often.
PARTS: Mapping[str, int] = {"start": 100, "calls": 1, "latency": 10, "size": 1, "suite": 6}
_ABOUT = {
    "start": "how long it takes to start",
    "calls": "file system calls of a start",
    "latency": f"a start where each file system call takes {start.DELAY / 1000:g} ms more",
    "size": "bytes and files",
    "suite": "benchmarks of pyperformance",
}
_EXACT = ("calls", "size")
_SIMPLE: Mapping[str, Callable[[Sequence[Interpreter], int], Iterator[Measurement]]] = {
    "start": start.starts,
    "calls": counts.calls,
    "latency": start.delayed_starts,
    "size": counts.sizes,
}


@dataclass(frozen=True)
class Options:
    """What is measured and how.

    Attributes:
        only: The parts.
        rounds: Pairs of each measurement; None for what `PARTS` says.
        full: All benchmarks of pyperformance, not a quick choice.
        cache: Where the packages are kept that some benchmarks need.
    """

    cache: Path
    only: Sequence[str] = tuple(PARTS)
    rounds: int | None = None
    full: bool = False


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        interpreters: One or two.
        machine: See `rezbuild.bench.machine.facts`.
        measurements: In the order they were made.
        left_out: What could not be measured, as in ``latency`` or ``suite: dask``, and why.
    """

    interpreters: tuple[Interpreter, ...]
    machine: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    left_out: tuple[tuple[str, str], ...]


def bench(
    first: Interpreter, second: Interpreter | None, options: Options, tell: Callable[[str], None]
) -> Report:
    """Measures an interpreter; payloads are copied to another place first, and the copy is it.

    Args:
        first: The one that matters.
        second: What it is compared with, if anything.
        options: What is measured.
        tell: Told what is going on.

    Raises:
        MachineError: Nothing could be measured.
    """
    found: list[Measurement] = []
    left_out: list[tuple[str, str]] = []

    def leave_out(what: str, error: RezbuildError) -> None:
        why = "; ".join([error.message, *error.advice])
        left_out.append((what, why))
        tell(f"left out: {what}: {why}")

    facts = machine.facts()
    scratch = Path(tempfile.mkdtemp(prefix="rezbuild-"))
    try:
        named = [one for one in (first, second) if one is not None]
        pair = [interpreters.moved(one, scratch / f"moved-{i}") for i, one in enumerate(named, 1)]
        for part in (part for part in PARTS if part in options.only):
            rounds = options.rounds or PARTS[part]
            tell(f"{part}: {_ABOUT[part]}{'' if part in _EXACT else f', {rounds} rounds'} ...")
            try:
                found += _part(part, pair, rounds, options, scratch, leave_out)
            except (CheckError, MachineError) as error:
                leave_out(part, error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if not found:
        raise MachineError(
            "nothing could be measured",
            tried=[f"{what}: {why}" for what, why in left_out],
        )
    return Report(tuple(named), facts, tuple(found), tuple(left_out))


def _part(  # noqa: PLR0913, PLR0917 (one call)
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
        yield from suite.run(
            suite.Suite(folder, options.cache / "bench"),
            pair,
            rounds,
            full=options.full,
            left_out=lambda name, error: leave_out(f"suite: {name}", error),
        )
        return
    yield from _SIMPLE[part](pair, rounds)
