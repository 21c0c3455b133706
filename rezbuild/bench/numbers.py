"""What is measured, always in pairs, and what can be said of it on a noisy machine."""

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


@dataclass(frozen=True)
class Spread:
    """The median of some numbers, and the interval that it lies in with `CONFIDENCE`.

    With less than six numbers the interval is all of them, and the confidence is less.
    """

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Measurement:
    """One thing measured of one or two interpreters.

    Attributes:
        part: The part of the measurements it belongs to, as in ``start``.
        name: What was measured, in some words.
        unit: ``s``, ``bytes``, or what is counted: ``calls``, ``files``.
        first: What each round gave for the first interpreter.
        second: The same for the other, round by round; empty without one.
    """

    part: str
    name: str
    unit: str
    first: tuple[float, ...]
    second: tuple[float, ...] = ()

    @property
    def ratio(self) -> Spread | None:
        """First to second, of each round's pair; None where there is nothing to divide by."""
        if not self.second or not all(self.second):
            return None
        return spread([one / other for one, other in zip(self.first, self.second)])


def spread(values: Sequence[float]) -> Spread:
    """The median and its interval, from the ranks of the values alone.

    Noise has no distribution that could be assumed: a busy moment makes one pair tenfold.
    """
    ordered = sorted(values)
    rank = _rank(len(ordered))
    return Spread(statistics.median(ordered), ordered[rank], ordered[-1 - rank])


def _rank(count: int) -> int:
    """How many values may be left out at either end: each is above the median or below by chance.

    The sign test: the number of values below the median is binomial, with p = 1/2.
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
    """Runs each thing once a round, in turns that go the other way in each second round.

    All of a round on one processor, and the next round on the next one: in a virtual machine one
    can be much slower than another for minutes, and processes stay where they were.

    Returns:
        For each thing what its rounds gave: the numbers of one round are a pair.
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
