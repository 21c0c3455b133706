"""The journal of the scheduler: who joined, and which job began and ended where.

Workers report the begin and the end of each job (`rezbuild.farm.messages.JOBS`). All of their
values are foreign data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distributed import Scheduler, SchedulerPlugin, Status

from rezbuild.farm import job_keys
from rezbuild.farm.log import foreign, now
from rezbuild.farm.messages import BEGAN, ENDED
from rezbuild.farm.status import DRAINING, FarmStatus, JobStatus, WaitingStatus, WorkerStatus
from rezbuild.farm.worker_facts import FACTS, Facts
from rezbuild.files import safe_files
from rezbuild.util import words

# The most waiting steps that are kept of a client.
_MOST = 1000


@dataclass(frozen=True)
class _Job:
    """A job that has begun: package, worker, client, and the begin as text and monotonic time."""

    package: str
    worker: str
    client: str
    began: str
    since: float


class Journal(SchedulerPlugin):
    """Writes the log of the scheduler, and knows the times of workers and jobs.

    Args:
        scheduler: The scheduler.
        say: Prints a line.
    """

    name = "rezbuild"

    def __init__(self, scheduler: Scheduler, say: Callable[[str], None]) -> None:
        self._scheduler = scheduler
        self._say = say
        # Names and times by the address of a worker, jobs by their key, steps by client.
        self._joined: dict[str, tuple[str, str]] = {}
        self._jobs: dict[str, _Job] = {}
        self._queues: dict[str, tuple[str, Sequence[str]]] = {}

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Log that a worker joined."""
        state = scheduler.workers[worker]
        name = foreign(state.name)
        self._joined[worker] = (name, now())
        facts = Facts.read(state.extra.get(FACTS))
        label = f", {foreign(facts.label)}" if facts and facts.label else ""
        cores = words.count(state.nthreads, "core")
        self._say(f"worker {name} joined: {worker}, {cores}{label}")

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:  # noqa: ARG002 (Dask passes it)
        """Log that a worker left, and that its jobs were lost."""
        for key, job in list(self._jobs.items()):
            if job.worker == worker:
                self._end(key, "lost, its worker has left")
        self._say(f"worker {self._name(worker)} left")
        self._joined.pop(worker, None)

    def remove_client(self, scheduler: Scheduler, client: str) -> None:  # noqa: ARG002 (Dask passes it)
        """Forget the waiting steps of a client."""
        self._queues.pop(client, None)

    def on_event(self, worker: str, event: object) -> None:
        """Log an event of a worker."""
        if not isinstance(event, Mapping) or worker not in self._joined:
            return
        key, kind, text = (str(event.get(name, "")) for name in ("id", "kind", "text"))
        if kind == BEGAN:
            package, client = foreign(job_keys.package(key)), foreign(event.get("client", ""))
            self._jobs[key] = _Job(package, worker, client, now(), time.monotonic())
            cores = words.count(job_keys.cores(key), "core")
            self._say(f"{package} began on {self._name(worker)}, {cores}, for {client}")
        elif kind == ENDED and key in self._jobs and self._jobs[key].worker == worker:
            self._end(key, text)

    def _end(self, key: str, outcome: str) -> None:
        job = self._jobs.pop(key)
        took = time.monotonic() - job.since
        where = f"{self._name(job.worker)} after {took:.0f} s"
        self._say(f"{job.package} ended on {where}: {foreign(outcome)}")

    def _name(self, worker: str) -> str:
        return self._joined[worker][0] if worker in self._joined else worker

    def set_queue(self, client: str, text: str) -> None:
        """Note the steps of a client that wait for cores.

        Args:
            client: Dask's id of the client.
            text: JSON: the name of the client, and the steps.
        """
        if client in self._scheduler.clients:
            name, *steps = map(foreign, safe_files.parse_json(text)[: _MOST + 1])
            self._queues[client] = (name, steps)

    def status(self) -> FarmStatus:
        """Return the state of the farm."""
        workers, jobs = [], []
        for address, state in self._scheduler.workers.items():
            facts = Facts.read(state.extra.get(FACTS))
            if facts is None or address not in self._joined:
                continue
            name, joined = self._joined[address]
            keys = [str(task.key) for task in state.processing]
            jobs += [self._job(key, name) for key in keys]
            draining = state.status == Status.closing_gracefully
            workers.append(
                WorkerStatus(
                    name=name,
                    address=address,
                    label=foreign(facts.label),
                    cores=facts.cores,
                    free=max(0, facts.cores - sum(map(job_keys.cores, keys))),
                    state=DRAINING if draining else state.status.name,
                    joined=joined,
                )
            )
        waiting = [
            WaitingStatus(step, name) for name, steps in self._queues.values() for step in steps
        ]
        return FarmStatus(workers, jobs, waiting)

    def _job(self, key: str, worker: str) -> JobStatus:
        job = self._jobs.get(key)
        return JobStatus(
            job=foreign(job_keys.package(key)),
            worker=worker,
            cores=job_keys.cores(key),
            client=job.client if job else "",
            began=job.began if job else "",
            seconds=time.monotonic() - job.since if job else 0.0,
        )
