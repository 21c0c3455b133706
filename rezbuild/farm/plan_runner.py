"""The runner of a plan on a farm: `rezbuild.run.plan_runner`, with workers that have room."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rezbuild.farm.client import Farm
from rezbuild.farm.driver import Begun, FarmDriver
from rezbuild.farm.worker_pool import Crew
from rezbuild.plan.resolve import Job as GraphJob
from rezbuild.plan.resolve import Step, Target
from rezbuild.plan.simulate import Worker
from rezbuild.run.driver import Driver, Options
from rezbuild.run.plan_runner import DriverFactory, PlanRunner
from rezbuild.run.progress import LineProgress
from rezbuild.settings import Settings

# Steps under way at once, building or being published: how many build is the farm's matter.
_MANY = 10_000


def there(
    farm: Farm, recipes: Path, settings: Settings, options: Options, progress: LineProgress
) -> DriverFactory:
    """What makes drivers that build on a farm."""
    begun: dict[str, list[Begun]] = {}
    publishing: set[GraphJob] = set()

    def make(target: Target) -> Driver:
        crew = Crew(farm, recipes, target.host, settings.host, progress.notice)
        ours = begun.setdefault(crew.kind.label, [])
        return FarmDriver(crew, settings, options, progress, target, ours, publishing)

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
        yield FarmPlanRunner(targets, there(farm, recipes, settings, options, progress), progress)


class FarmPlanRunner(PlanRunner):
    """Does what is to be done for the steps of several targets, on the workers of a farm."""

    def workers(self) -> list[Worker]:
        """The workers that there are; each is taken for one that builds one thing at a time."""
        found = {}
        for target, driver in self.drivers.items():
            if isinstance(driver, FarmDriver):
                found.update(dict.fromkeys(driver.crew.free(), Worker(target.host)))
        return list(found.values())

    def _max_builds(self, driver: Driver) -> int:  # noqa: ARG002 (it is of this machine)
        return _MANY

    @contextlib.contextmanager
    def _budget(self, jobs: int, folder: Path) -> Iterator[Room]:  # noqa: ARG002 (see above)
        yield Room({k: d for k, d in self.drivers.items() if isinstance(d, FarmDriver)})


class Room:
    """Room on the workers of each target: `rezbuild.run.executor.Executor` takes a job of it.

    Args:
        drivers: Of all targets.
    """

    def __init__(self, drivers: Mapping[Target, FarmDriver]) -> None:
        self._drivers = drivers
        self._full: set[Target] = set()

    def take(self, step: Step, /) -> bool:
        """Whether a core is free for one more step of that target.

        Raises:
            MachineError: There has been no worker of its kind for long.
        """
        # Of many that are ready, one look at the workers is enough.
        if step.target not in self._full and self._drivers[step.target].room() <= 0:
            self._full.add(step.target)
        return step.target not in self._full

    def give_back(self) -> None:
        """Nothing: the farm sees which cores are free."""

    def share(self) -> None:
        """Gives those that have begun their cores."""
        self._full.clear()
        for driver in self._drivers.values():
            driver.deal()

    def reset(self) -> None:
        """Nothing is ever lost."""
