"""A simulation of a plan: the real `Schedule`, with durations instead of builds."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rezbuild.plan.resolve import Job, Step
from rezbuild.plan.schedule import Schedule, critical_path


@dataclass(frozen=True)
class Worker:
    """A machine of the simulation.

    Attributes:
        host: The host kind that it builds for; "": any.
        slots: The number of parallel builds, each as fast as a single one.
        dies: The second of its loss, with the builds that it runs.
    """

    host: str = ""
    slots: int = 1
    dies: float = float("inf")


@dataclass(frozen=True)
class Build:
    """A build of the simulation.

    Attributes:
        worker: The number of its worker.
        lost: The worker was lost before the end of the build.
    """

    step: Step
    worker: int
    began: float
    ended: float
    lost: bool = False


@dataclass(frozen=True)
class Outcome:
    """The result of a simulation; all times in seconds.

    Attributes:
        builds: In the order of their ends.
        critical: The critical path: the longest chain of steps.
        length: The duration of the critical path.
        work: The sum of all durations.
        makespan: The end of the last build.
        bound: The larger of the critical path and the work divided by the slots.
        least: The theoretical minimum of the makespan; at least `bound`.
    """

    builds: tuple[Build, ...]
    critical: tuple[Step, ...]
    length: float
    work: float
    makespan: float
    bound: float
    least: float


def simulate(
    steps: Sequence[Step], seconds: Callable[[Step], float], workers: Sequence[Worker]
) -> Outcome:
    """Simulate a plan.

    Args:
        steps: In an order with dependencies first.
        seconds: The duration of a step.
        workers: At least one for each host kind that is not lost.

    Raises:
        ValueError: A step has no worker.
    """
    took = {step.job: seconds(step) for step in steps}

    def known(step: Step) -> float:
        return took[step.job]

    clock = _Clock(steps, known, workers)
    after = {step.job: clock.schedule.ahead(step) - took[step.job] for step in steps}
    path = critical_path(steps, known)
    length = sum(map(known, path))
    groups = [(took, after, sum(worker.slots for worker in workers))]
    for host in {step.target.host for step in steps}:
        jobs = {job: value for job, value in took.items() if job[0] == host}
        groups.append((jobs, after, sum(w.slots for w in workers if w.host in {"", host})))
    builds = tuple(clock.run())
    return Outcome(
        builds=builds,
        critical=tuple(path),
        length=length,
        work=sum(took.values()),
        makespan=max((build.ended for build in builds), default=0.0),
        bound=max([length, *(sum(jobs.values()) / slots for jobs, _, slots in groups)]),
        least=max([length, *(_least(*group) for group in groups)]),
    )


def _least(took: Mapping[Job, float], after: Mapping[Job, float], slots: int) -> float:
    """Return a lower bound: steps with much work after them must end early."""
    least = work = 0.0
    for job in sorted(took, key=after.__getitem__, reverse=True):
        work += took[job]
        least = max(least, work / slots + after[job])
    return least


class _Clock:
    def __init__(
        self, steps: Sequence[Step], seconds: Callable[[Step], float], workers: Sequence[Worker]
    ) -> None:
        self.schedule = Schedule(steps, seconds)
        self.seconds = seconds
        self.workers = workers
        self.now = 0.0
        # The numbers of idle workers by host kind, once per free slot.
        self.idle: dict[str, list[int]] = {}
        for number, worker in enumerate(workers):
            self.idle.setdefault(worker.host, []).extend([number] * worker.slots)
        # The end, a number that orders builds with the same end, and the build.
        self.ends: list[tuple[float, int, Build]] = []
        self.begun = 0

    def run(self) -> Iterator[Build]:
        while len(self.schedule):
            self._begin()
            if not self.ends:
                raise ValueError("there is no worker for the remaining steps")
            self.now, _, build = heapq.heappop(self.ends)
            if build.lost:
                self.schedule.requeue(build.step)
            else:
                self.schedule.done(build.step)
                heapq.heappush(self.idle[self.workers[build.worker].host], build.worker)
            yield build

    def _begin(self) -> None:
        # Usually no worker is idle.
        if not any(self.idle.values()):
            return
        for step in self.schedule.ready():
            number = self._worker(step.target.host)
            if number is not None:
                self._start(step, number)
            if not any(self.idle.values()):
                return

    def _worker(self, host: str) -> int | None:
        """Take an idle worker for a host kind."""
        for idle in {host: self.idle.get(host, []), "": self.idle.get("", [])}.values():
            while idle:
                number = heapq.heappop(idle)
                if self.workers[number].dies > self.now:
                    return number
        return None

    def _start(self, step: Step, number: int) -> None:
        self.schedule.begin(step)
        end = self.now + self.seconds(step)
        dies = self.workers[number].dies
        build = Build(step, number, self.now, min(end, dies), lost=end > dies)
        self.begun += 1
        heapq.heappush(self.ends, (build.ended, self.begun, build))
