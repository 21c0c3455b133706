"""The lanes of a plan on one farm: as `rezbuild.lanes`, but for who has room for a build."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rezbuild.driver import Driver, Options
from rezbuild.errors import MachineError
from rezbuild.farm.client import PATIENCE, Farm
from rezbuild.farm.crew import Crew
from rezbuild.farm.driver import FarmDriver
from rezbuild.graph import Lane
from rezbuild.lanes import Factory, Lanes
from rezbuild.settings import Settings
from rezbuild.simulate import Worker
from rezbuild.view import Lines

# Steps under way at once, building or being published: how many build is the farm's matter.
_MANY = 10_000
# Seconds without any worker before a user is told.
_SILENT = 5.0


def there(farm: Farm, recipes: Path, settings: Settings, options: Options, view: Lines) -> Factory:
    """What makes drivers that build on a farm."""

    def make(lane: Lane) -> Driver:
        crew = Crew(farm, recipes, lane.host, settings.host, view.say)
        return FarmDriver(crew, settings, options, view, lane)

    return make


class FarmLanes(Lanes):
    """Does what is to be done for the steps of several lanes, on the workers of a farm."""

    def workers(self) -> list[Worker]:
        """The workers that there are; each is taken for one that builds one thing at a time."""
        found = {}
        for lane, driver in self.drivers.items():
            if isinstance(driver, FarmDriver):
                found.update(dict.fromkeys(driver.crew.free(), Worker(lane.host)))
        return list(found.values())

    def _most(self, driver: Driver) -> int:  # noqa: ARG002 (it is of this machine)
        return _MANY

    @contextlib.contextmanager
    def _budget(self, jobs: int, folder: Path) -> Iterator[Room]:  # noqa: ARG002 (see above)
        yield Room([d for d in self.drivers.values() if isinstance(d, FarmDriver)])


class Room:
    """What `rezbuild.parallel.Run` takes a job of for each step: room on the workers.

    Args:
        drivers: Of all lanes.
    """

    def __init__(self, drivers: Sequence[FarmDriver]) -> None:
        self._drivers = drivers
        self._seen = time.monotonic()
        self._told = False

    def take(self) -> bool:
        """Whether a core is free somewhere for one more step.

        Raises:
            MachineError: There has been no worker for long.
        """
        if any(driver.crew.free() for driver in self._drivers):
            self._seen, self._told = time.monotonic(), False
            return any(driver.room() > 0 for driver in self._drivers)
        crew = self._drivers[0].crew
        silent = time.monotonic() - self._seen
        if silent > PATIENCE:
            raise MachineError(
                f"the farm has had no worker for {silent:.0f} s",
                advice=[f"start one: rezbuild worker {crew.farm.address}"],
            )
        if silent > _SILENT and not self._told:
            self._told = True
            self._drivers[0].view.say("farm: there is no worker; waiting for one")
        return False

    def give_back(self) -> None:
        """Nothing: the farm sees which cores are free."""

    def share(self) -> None:
        """Gives those that have begun their cores."""
        for driver in self._drivers:
            driver.deal()

    def reset(self) -> None:
        """Nothing is ever lost."""
