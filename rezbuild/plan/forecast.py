"""The time until the end of a run: a simulation of the steps that are left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from rezbuild.plan.resolve import Job, Step
from rezbuild.plan.simulate import Worker, simulate

# The simulation is repeated after a second, or after this many times its own time.
_REPEAT = 20
# A step that takes longer than expected still takes this share of its time, and at least a second.
_OVERDUE = 0.1
_LEAST = 1.0


class Forecast:
    """Estimates when a run ends.

    Args:
        expect: Returns the expected seconds of a step.
        workers: Returns the workers that build now.
    """

    def __init__(
        self, expect: Callable[[Step], float], workers: Callable[[], Sequence[Worker]]
    ) -> None:
        self._expect = expect
        self._workers = workers
        self._expected: dict[Job, float] = {}
        self._count = -1
        self._next = 0.0
        self._end: float | None = None

    def seconds_left(self, steps: Sequence[Step], elapsed: Mapping[Job, float]) -> float | None:
        """Return the seconds until all steps have ended; None while no worker could build them.

        Args:
            steps: The steps that have not ended, dependencies first.
            elapsed: The seconds since the begin of each running step.
        """
        now = time.monotonic()
        if len(steps) != self._count or now > self._next:
            self._count = len(steps)
            for step in steps:
                if step.job not in self._expected:
                    self._expected[step.job] = self._expect(step)
            try:
                found = simulate(steps, lambda step: self._left(step, elapsed), self._workers())
                self._end = now + found.makespan
            except ValueError:
                self._end = None
            ended = time.monotonic()
            self._next = ended + max(_LEAST, _REPEAT * (ended - now))
        return None if self._end is None else max(_LEAST if steps else 0.0, self._end - now)

    def _left(self, step: Step, elapsed: Mapping[Job, float]) -> float:
        expected, took = self._expected[step.job], elapsed.get(step.job)
        return expected if took is None else max(expected - took, _OVERDUE * took, _LEAST)
