"""Which cores a job gets, and what becomes of one that fails: decisions, without anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rezbuild.errors import BuildError, FetchError, MachineError, RezbuildError, StoreError
from rezbuild.files import disk_space

# Workers that one job is tried on where it fails for a reason of the machine.
MOST = 3
# The same where a step of it failed. Once more: a machine whose memory is short or bad looks the
# same as a defect. Not more: a defect fails everywhere, and hours later.
MOST_OF_ITS_OWN = 2


@dataclass(frozen=True)
class Share:
    """What one job gets.

    Attributes:
        worker: Where its cores are free.
        cores: How many.
    """

    worker: str
    cores: int


def shares(free: Mapping[str, int], jobs: int) -> list[Share]:
    """The cores for jobs that are begun at the same moment, in their order.

    What is ready now shares what is free now. Each goes where it gets most: the first, which most
    work waits for, to the worker with the most free cores, the next to another one, or to the same
    where half of that is more. Those of one worker share its cores evenly, and what is left over is
    the first one's.

    Args:
        free: The free cores of each worker.
        jobs: How many there are; those that get nothing wait.
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
    found = []
    begun = dict.fromkeys(order, 0)
    for worker in hosts:
        each, over = divmod(free[worker], hosted[worker])
        found.append(Share(worker, each + (over if begun[worker] == 0 else 0)))
        begun[worker] += 1
    return found


@dataclass(frozen=True)
class Attempt:
    """A job on a worker, which failed.

    Attributes:
        worker: Its name.
    """

    worker: str
    error: RezbuildError


def again(attempts: Sequence[Attempt]) -> bool:
    """Whether a job is to be tried on another worker.

    A machine's reasons (a full disk, a compiler that is missing, a route to a source, a damaged
    store) say nothing of another machine. A step that failed is tried on one more. What else can
    be wrong, such as a checksum, a patch or the audit, is the same everywhere.
    """
    last = attempts[-1].error
    # Whatever failed of a full disk.
    if isinstance(last, (MachineError, FetchError, StoreError)) or disk_space.is_full(last):
        return len(attempts) < MOST
    return isinstance(last, BuildError) and len(attempts) < MOST_OF_ITS_OWN


def verdict(attempts: Sequence[Attempt]) -> RezbuildError:
    """The last error, which says where else it was tried."""
    error = attempts[-1].error
    others = [f"on {a.worker}: {a.error.message.splitlines()[0]}" for a in attempts[:-1]]
    error.tried = (*others, *error.tried, f"on {attempts[-1].worker}, a worker of the farm")
    return error
