"""Which steps of a plan may be built now, and which of them first."""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence

from rezbuild.catalogue.sources_toml import Release
from rezbuild.plan.resolve import Job, Step

# Bytes, where the catalogue does not know an archive's size.
_SMALL = 1_000_000


def source_size(step: Step) -> int:
    """The bytes of a step's source: a rough measure of how long its build takes.

    Where the catalogue does not know them, those of the same package's other versions.
    """
    own = _sizes(step.release)
    others = [size for release in step.recipe.releases.values() for size in _sizes(release)]
    return int(own[0] if own else statistics.median(others or [_SMALL]))


def _sizes(release: Release) -> list[int]:
    return [archive.size for archive in release.archives if archive.size]


class Schedule:
    """The steps that are still to be built, and what each of them waits for.

    Each call takes as long as what it changes, not as what there is: a plan may have many thousand
    steps.

    Args:
        steps: In an order in which what is needed comes first.
        work: How long each takes, in any unit.
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
        """How many steps are left."""
        return len(self._left)

    def ahead(self, step: Step) -> float:
        """The most work that lies between the begin of a step and the end of all."""
        return self._ahead[self._number[step.job]]

    def ready(self) -> Iterator[Step]:
        """The steps whose needs are built, and that are not begun: first what most waits for.

        Steps may be begun and done meanwhile.
        """
        last = (-float("inf"), -1)
        while (at := bisect_right(self._ready, last)) < len(self._ready):
            last = self._ready[at]
            yield self._steps[last[1]]

    def begin(self, step: Step) -> None:
        """Notes that a step is being built."""
        self._take(self._number[step.job])

    def requeue(self, step: Step) -> None:
        """Notes that a step that was begun has to be begun once more."""
        insort(self._ready, self._rank(self._number[step.job]))

    def done(self, step: Step) -> list[Step]:
        """Notes that a step is built, begun or not; returns those that are ready by that."""
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
        """Notes that a step failed; gives up all that needs it, and returns that."""
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
    """The chain of steps, each of which needs the one before, that takes longest.

    Args:
        steps: In an order in which what is needed comes first.
        work: How long each takes.
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
