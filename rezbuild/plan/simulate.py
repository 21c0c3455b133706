"""A plan in made-up time: the very `Schedule`, with durations in place of builds."""

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
        host: The kind of host that it builds for; "" for any.
        slots: How many builds it runs at once, each as fast as if it were alone.
        dies: The second in which it is gone, with what it was building.
    """

    host: str = ""
    slots: int = 1
    dies: float = float("inf")


@dataclass(frozen=True)
class Build:
    """A build of the simulation, from one second to another one.

    Attributes:
        worker: Its number.
        lost: The worker was gone before it ended.
    """

    step: Step
    worker: int
    began: float
    ended: float
    lost: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of it; all times in seconds.

    Attributes:
        builds: In the order of their ends.
        critical: The steps that no number of workers makes faster.
        length: How long those take.
        work: What all steps take, one after another.
        makespan: When the last one has ended.
        bound: The critical path, or the work over the slots of the workers.
        least: No order of builds is faster. More than `bound` where much has to be done before what
            is last can begin.
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
    """Runs a plan.

    Args:
        steps: In an order in which what is needed comes first.
        seconds: How long each takes.
        workers: For each kind of host one at least that does not die.

    Raises:
        ValueError: There is no worker for some of the steps.
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
    """Of all that has some seconds of work after it, the last one ends as long before the end."""
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
        # The numbers of workers that have nothing to do, by the host they are for: once a slot.
        self.idle: dict[str, list[int]] = {}
        for number, worker in enumerate(workers):
            self.idle.setdefault(worker.host, []).extend([number] * worker.slots)
        # Second of its end, a number that orders those of one second, and the build.
        self.ends: list[tuple[float, int, Build]] = []
        self.begun = 0

    def run(self) -> Iterator[Build]:
        while len(self.schedule):
            self._begin()
            if not self.ends:
                raise ValueError("there is no worker for what is left")
            self.now, _, build = heapq.heappop(self.ends)
            if build.lost:
                self.schedule.requeue(build.step)
            else:
                self.schedule.done(build.step)
                heapq.heappush(self.idle[self.workers[build.worker].host], build.worker)
            yield build

    def _begin(self) -> None:
        # Most have nothing to do only for a moment.
        if not any(self.idle.values()):
            return
        for step in self.schedule.ready():
            number = self._worker(step.target.host)
            if number is not None:
                self._start(step, number)
            if not any(self.idle.values()):
                return

    def _worker(self, host: str) -> int | None:
        """Takes one that is there for a kind of host."""
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
