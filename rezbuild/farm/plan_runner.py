"""The runner of a plan on a farm: as `rezbuild.run.plan_runner`, but workers have the cores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rezbuild.farm.client import Farm
from rezbuild.farm.driver import FarmDriver, PendingStep
from rezbuild.farm.worker_pool import WorkerPool
from rezbuild.plan.resolve import Job as PlanJob
from rezbuild.plan.resolve import Step, Target
from rezbuild.plan.simulate import Worker
from rezbuild.run.driver import Driver, Options
from rezbuild.run.plan_runner import DriverFactory, PlanRunner
from rezbuild.run.progress import LineProgress
from rezbuild.settings import Settings

# The farm limits the parallel builds, not this number.
_UNLIMITED = 10_000


def farm_drivers(
    farm: Farm, recipes: Path, settings: Settings, options: Options, progress: LineProgress
) -> DriverFactory:
    """Return a factory of drivers that build on a farm."""
    begun: dict[str, list[PendingStep]] = {}
    publishing: set[PlanJob] = set()

    def make(target: Target) -> Driver:
        pool = WorkerPool(farm, recipes, target.host, settings.host, progress.notice)
        ours = begun.setdefault(pool.kind.label, [])
        return FarmDriver(pool, settings, options, progress, target, ours, publishing)

    return make


@contextlib.contextmanager
def open_farm(  # noqa: PLR0913, PLR0917 (a connection, and all that a plan needs)
    address: str,
    targets: Sequence[Target],
    recipes: Path,
    settings: Settings,
    options: Options,
    progress: LineProgress,
) -> Iterator[PlanRunner]:
    """Connect to a scheduler, and yield a runner that builds on its workers."""
    with Farm(address, settings, progress.notice) as farm:
        yield FarmPlanRunner(
            targets, farm_drivers(farm, recipes, settings, options, progress), progress
        )


class FarmPlanRunner(PlanRunner):
    """Does what is to be done for the steps of several targets, on the workers of a farm."""

    def workers(self) -> list[Worker]:
        """Return the workers for a simulation: each builds one package at a time."""
        found = {}
        for target, driver in self.drivers.items():
            if isinstance(driver, FarmDriver):
                found.update(dict.fromkeys(driver.pool.free_cores(), Worker(target.host)))
        return list(found.values())

    def _max_builds(self, driver: Driver) -> int:  # noqa: ARG002 (it is of this machine)
        return _UNLIMITED

    @contextlib.contextmanager
    def _budget(self, jobs: int, folder: Path) -> Iterator[FarmBudget]:  # noqa: ARG002 (see above)
        yield FarmBudget({k: d for k, d in self.drivers.items() if isinstance(d, FarmDriver)})


class FarmBudget:
    """The cores of workers: `rezbuild.run.executor.Executor` takes a job of it for each step.

    Args:
        drivers: The drivers of all targets.
    """

    def __init__(self, drivers: Mapping[Target, FarmDriver]) -> None:
        self._drivers = drivers
        self._full: set[Target] = set()
        self._waiting: list[Step] = []

    def take(self, step: Step, /) -> bool:
        """Return whether a core is free for one more step of a target.

        Raises:
            MachineError: There has been no worker of its kind for too long.
        """
        # Ask for free cores once for all steps that are ready.
        if step.target not in self._full and self._drivers[step.target].free_slots() <= 0:
            self._full.add(step.target)
        if step.target in self._full:
            self._waiting.append(step)
        return step.target not in self._full

    def give_back(self) -> None:
        """Do nothing: the farm knows the free cores."""

    def share(self) -> None:
        """Give the started steps their cores."""
        self._full.clear()
        waiting, self._waiting = tuple(map(str, self._waiting)), []
        for driver in self._drivers.values():
            driver.pool.farm.set_queue(waiting)
            driver.assign_cores()

    def reset(self) -> None:
        """Do nothing: no job is ever lost."""
