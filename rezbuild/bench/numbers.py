"""Measurements in pairs, and their statistics on a noisy machine."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

Thing = TypeVar("Thing")
Value = TypeVar("Value")
CONFIDENCE = 0.95
_SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")),
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
}


@dataclass(frozen=True)
class Spread:
    """The median of some numbers, and the interval that holds it with `CONFIDENCE`.

    With less than six numbers, the interval holds all of them, and the confidence is lower.
    """

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return e.g. ``0.980 [0.970, 1.010]``; an exact one has no interval."""
        interval = "" if self.low == self.high else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.median:.3f}{interval}"


@dataclass(frozen=True)
class Measurement:
    """One thing measured for one or two interpreters.

    Attributes:
        part: The part of the measurements, e.g. ``start``.
        name: A description of a few words.
        unit: ``s``, ``bytes``, or what is counted: ``calls``, ``files``.
        first: The result of each round for the first interpreter.
        second: The results for the second one, round by round; empty without one.
    """

    part: str
    name: str
    unit: str
    first: tuple[float, ...]
    second: tuple[float, ...] = ()

    @property
    def ratio(self) -> Spread | None:
        """First to second, from the pair of each round; None if the second has no values or a 0."""
        if not self.second or not all(self.second):
            return None
        return spread([one / other for one, other in zip(self.first, self.second)])


def spread(values: Sequence[float]) -> Spread:
    """Return the median and its interval, computed from the ranks of the values.

    No distribution of the noise is assumed: a busy moment can make one pair ten times as long.
    """
    ordered = sorted(values)
    rank = _rank(len(ordered))
    return Spread(statistics.median(ordered), ordered[rank], ordered[-1 - rank])


def with_unit(found: Spread, unit: str, *, interval: bool = False) -> str:
    """Return a median for people, e.g. ``2.1 us``; with its interval, ``2.1 us [2, 2.3]``.

    Args:
        found: The median in the unit of a `Measurement`.
        unit: A time or a size gets a fitting prefix; anything else is a count.
        interval: Add the interval.
    """
    if unit not in _SCALES:
        return f"{found.median:.0f}"
    scale, name = next(((s, n) for s, n in _SCALES[unit] if found.median >= s), _SCALES[unit][-1])
    median, low, high = (f"{v / scale:.3g}" for v in (found.median, found.low, found.high))
    around = f" [{low}, {high}]" if interval and low != high else ""
    return f"{median} {name}{around}"


def _rank(count: int) -> int:
    """Return how many values may be left out at either end, by the sign test.

    The number of values below the median is binomial, with p = 1/2.
    """
    tail, rank = 0.0, 0
    while rank < count // 2:
        tail += math.comb(count, rank) / 2**count
        if tail > (1 - CONFIDENCE) / 2:
            break
        rank += 1
    return max(rank - 1, 0)


def interleave(
    things: Sequence[Thing], rounds: int, run: Callable[[Thing], Value]
) -> list[list[Value]]:
    """Run each thing once a round; every second round runs them in reverse order.

    All runs of a round share one processor, and the next round uses the next processor. In a
    virtual machine, one processor can be much slower than another for minutes, and a process stays
    on its processor.

    Returns:
        The results of each thing, round by round. The results of one round are a pair.
    """
    found: list[list[Value]] = [[] for _ in things]
    order = list(range(len(things)))
    processors = sorted(os.sched_getaffinity(0))
    for number in range(rounds):
        with _on(processors[number // 2 % len(processors)]):
            for index in order:
                found[index].append(run(things[index]))
        order.reverse()
    return found


@contextmanager
def _on(processor: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
