"""Decisions about jobs: how many cores a job gets, and whether a failed job is repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rezbuild.errors import BuildError, FetchError, MachineError, RezbuildError, StoreError
from rezbuild.files import disk_space

# The number of workers that try a job that fails because of the machine.
MAX_WORKERS = 3
# The same if a build step fails. A second worker, since bad or too little memory looks like a
# defect of the package. Not more, since a real defect fails everywhere, maybe after hours.
MAX_WORKERS_OF_A_STEP = 2


def share_cores(free: Mapping[str, int], jobs: int) -> list[int]:
    """Share free cores between jobs that start at the same moment, in their order.

    Each job goes where it gets most cores. The first job is the most urgent: it goes to the worker
    with the most free cores. The next goes to another worker, or to the same one if half of its
    cores
    is more. Jobs of one worker share its cores evenly; the first one gets the rest.

    Args:
        free: The free cores of each worker.
        jobs: The number of jobs.

    Returns:
        The cores of each job; jobs that get no core wait.
    """
    order = sorted((w for w in free if free[w] > 0), key=lambda w: -free[w])
    hosted = dict.fromkeys(order, 0)
    hosts: list[str] = []
    for _ in range(jobs):
        able = [w for w in order if hosted[w] < free[w]]
        if not able:
            break
        chosen = max(able, key=lambda w: (free[w] / (hosted[w] + 1), not hosted[w]))
        hosted[chosen] += 1
        hosts.append(chosen)
    found: list[int] = []
    for number, worker in enumerate(hosts):
        each, rest = divmod(free[worker], hosted[worker])
        found.append(each if worker in hosts[:number] else each + rest)
    return found


@dataclass(frozen=True)
class Attempt:
    """A failed attempt.

    Attributes:
        worker: The worker's name.
        error: The error.
    """

    worker: str
    error: RezbuildError


def should_retry(attempts: Sequence[Attempt]) -> bool:
    """Return whether a job is tried on another worker.

    A problem of the machine (a full disk, a missing compiler, an unreachable source, a damaged
    store)
    need not occur on another machine. A failed build step is tried on one more worker. Other
    errors,
    such as a wrong checksum, a patch or the audit, are the same everywhere.
    """
    last = attempts[-1].error
    # A full disk may cause any kind of error.
    if isinstance(last, (MachineError, FetchError, StoreError)) or disk_space.is_full(last):
        return len(attempts) < MAX_WORKERS
    return isinstance(last, BuildError) and len(attempts) < MAX_WORKERS_OF_A_STEP


def final_error(attempts: Sequence[Attempt]) -> RezbuildError:
    """Return the last error, with the earlier workers and their errors."""
    error = attempts[-1].error
    others = [f"on {a.worker}: {a.error.message.splitlines()[0]}" for a in attempts[:-1]]
    error.tried = (*others, *error.tried, f"on {attempts[-1].worker}, a worker of the farm")
    return error
