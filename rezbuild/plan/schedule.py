"""The order of builds: which steps of a plan are ready, and which comes first."""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence

from rezbuild.catalogue.model import Release
from rezbuild.plan.resolve import Job, Step

# Bytes of an archive whose size is not in the catalogue.
_SMALL = 1_000_000


def source_size(step: Step) -> int:
    """Return the bytes of a step's source, a rough measure of the duration of its build.

    If the catalogue has no size, the sizes of other versions of the package are used.
    """
    own = _sizes(step.release)
    others = [size for release in step.recipe.releases.values() for size in _sizes(release)]
    return int(own[0] if own else statistics.median(others or [_SMALL]))


def _sizes(release: Release) -> list[int]:
    return [archive.size for archive in release.archives if archive.size]


class Schedule:
    """The remaining steps of a plan, and the steps that each of them waits for.

    The time of a call depends on the number of changed steps, not of all steps: a plan may have
    many thousand.

    Args:
        steps: In an order with dependencies first.
        work: The duration of a step, in any unit.
    """

    def __init__(self, steps: Sequence[Step], work: Callable[[Step], float] = source_size) -> None:
        self._steps = steps
        self._number = {step.job: number for number, step in enumerate(steps)}
        self._needed_by: list[list[int]] = [[] for _ in steps]
        self._missing = [0] * len(steps)
        for number, step in enumerate(steps):
            for needed in step.needs:
                if needed in self._number:
                    self._needed_by[self._number[needed]].append(number)
                    self._missing[number] += 1
        self._ahead = self._work_ahead(work)
        self._left = set(range(len(steps)))
        self._ready = sorted(self._rank(n) for n in self._left if not self._missing[n])

    def __len__(self) -> int:
        """Return the number of remaining steps."""
        return len(self._left)

    def left(self) -> list[Step]:
        """Return the remaining steps, dependencies first."""
        return [self._steps[number] for number in sorted(self._left)]

    def ahead(self, step: Step) -> float:
        """Return the longest work from the begin of a step to the end of the plan."""
        return self._ahead[self._number[step.job]]

    def ready(self) -> Iterator[Step]:
        """Yield the ready steps, the one with the most work ahead first.

        The caller may begin and finish steps while it iterates.
        """
        last = (-float("inf"), -1)
        while (at := bisect_right(self._ready, last)) < len(self._ready):
            last = self._ready[at]
            yield self._steps[last[1]]

    def begin(self, step: Step) -> None:
        """Mark a step as being built."""
        self._take(self._number[step.job])

    def requeue(self, step: Step) -> None:
        """Mark a step that was begun as ready again."""
        insort(self._ready, self._rank(self._number[step.job]))

    def done(self, step: Step) -> list[Step]:
        """Mark a step as built; return the steps that are now ready."""
        number = self._number[step.job]
        self._take(number)
        self._left.remove(number)
        found = []
        for other in self._needed_by[number]:
            self._missing[other] -= 1
            if not self._missing[other] and other in self._left:
                insort(self._ready, self._rank(other))
                found.append(self._steps[other])
        return found

    def failed(self, step: Step) -> list[Step]:
        """Mark a step as failed; remove and return all steps that need it."""
        number = self._number[step.job]
        self._take(number)
        self._left.remove(number)
        lost = [number]
        for one in lost:
            more = [other for other in self._needed_by[one] if other in self._left]
            self._left.difference_update(more)
            lost += more
        return [self._steps[other] for other in sorted(lost[1:])]

    def _take(self, number: int) -> None:
        rank = self._rank(number)
        at = bisect_left(self._ready, rank)
        if self._ready[at : at + 1] == [rank]:
            del self._ready[at]

    def _rank(self, number: int) -> tuple[float, int]:
        return (-self._ahead[number], number)

    def _work_ahead(self, work: Callable[[Step], float]) -> list[float]:
        ahead = [0.0] * len(self._steps)
        for number in reversed(range(len(self._steps))):
            after = max((ahead[other] for other in self._needed_by[number]), default=0.0)
            ahead[number] = work(self._steps[number]) + after
        return ahead


def critical_path(steps: Sequence[Step], work: Callable[[Step], float]) -> list[Step]:
    """Return the longest chain of steps that need each other.

    Args:
        steps: In an order with dependencies first.
        work: The duration of a step.
    """
    taken: dict[Job, float] = {}
    before: dict[Job, Job] = {}
    for step in steps:
        first = max(
            (job for job in step.needs if job in taken), key=taken.__getitem__, default=None
        )
        if first is not None:
            before[step.job] = first
        taken[step.job] = work(step) + (taken[first] if first else 0.0)
    last = max(taken, key=taken.__getitem__, default=None)
    path = [last] if last else []
    while path and path[-1] in before:
        path.append(before[path[-1]])
    by_job = {step.job: step for step in steps}
    return [by_job[job] for job in reversed(path)]
