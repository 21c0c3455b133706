"""One run over the lanes of a plan: each step is done by its lane's driver."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rezbuild import graph, jobserver, scratch
from rezbuild.driver import Driver, Options
from rezbuild.graph import Job, Lane, Step
from rezbuild.parallel import Budget, Run
from rezbuild.settings import Settings
from rezbuild.task import Running
from rezbuild.toolchain import Toolchain
from rezbuild.view import Lines

# Makes the driver of a lane.
Factory = Callable[[Lane], Driver]


def here(settings: Settings, tools: Toolchain, options: Options, view: Lines) -> Factory:
    """What makes drivers that build on this machine."""
    return lambda lane: Driver(settings, tools, options, view, lane)


class Lanes:
    """Does what is to be done for the steps of several lanes: `rezbuild.parallel.Work`.

    Args:
        lanes: All lanes of the plan, one at least.
        make: Makes the driver of each.
        view: Shows the run.

    Attributes:
        drivers: By lane.
    """

    def __init__(self, lanes: Iterable[Lane], make: Factory, view: Lines) -> None:
        self.drivers = {lane: make(lane) for lane in dict.fromkeys(lanes)}
        self.view = view
        self._building: dict[tuple[str, ...], Job] = {}
        # What one lane has built in a repository, another one of that repository is built against.
        known: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
        for lane, driver in self.drivers.items():
            place = (lane.host, lane.repository)
            driver.identities = known.setdefault(place, driver.identities)

    def of(self, step: Step) -> Driver:
        """The driver of a step."""
        return self.drivers[step.lane]

    def run(self, steps: Sequence[Step]) -> None:
        """Builds what has to be built, several at once; a release is one at a time.

        Raises:
            RezbuildError: A build failed; what was installed before is as it was.
        """
        first = next(iter(self.drivers.values()))
        self._notice_older(steps)
        for lane, driver in self.drivers.items():
            driver.prepare([step for step in steps if step.lane == lane])
        with scratch.folder() as folder, self.view.alive():
            for driver in self.drivers.values():
                driver.folder = folder
            # Two releases at once would be in each other's way in git's repository.
            most = 1 if first.options.release else self._most(first)
            with self._budget(first.jobs, folder) as budget:
                Run(steps, self, budget, self.view, most).run()

    def _most(self, driver: Driver) -> int:
        """The most builds at once."""
        return driver.jobs

    @contextlib.contextmanager
    def _budget(self, jobs: int, folder: Path) -> Iterator[Budget]:
        """What each build takes a job of."""
        with contextlib.closing(jobserver.Budget(jobs, folder)) as budget:
            yield budget

    def is_done(self, step: Step) -> bool:
        """See `rezbuild.parallel.Work`, as for all of these."""
        return self.of(step).is_done(step)

    def lock(self, step: Step) -> bool:
        """Also keeps a lane from building what another one builds, in the same folder."""
        work = self._work(step)
        if self._building.setdefault(work, step.job) != step.job:
            return False
        if not self.of(step).lock(step):
            del self._building[work]
            return False
        return True

    def unlock(self, step: Step) -> None:
        """Lets others build it."""
        self._building = {k: v for k, v in self._building.items() if v != step.job}
        self.of(step).unlock(step)

    def start(self, step: Step) -> Running:
        """Begins to build it."""
        return self.of(step).start(step)

    def finish(self, step: Step, task: Running, status: int) -> None:
        """Looks at what came of it."""
        self.of(step).finish(step, task, status)

    def _work(self, step: Step) -> tuple[str, ...]:
        return (step.lane.host, *step.key, self.of(step).profiles.get(step.key, ""))

    def _notice_older(self, steps: Sequence[Step]) -> None:
        for step in {step.key: step for step in steps if step.requested}.values():
            series = ".".join(step.release.version.split(".")[:2])
            for kind, best in (
                (f" {series}", graph.newest(step.recipe, series)),
                ("", graph.newest(step.recipe)),
            ):
                if best.version != step.release.version:
                    self.view.say(
                        f"{step.package}: notice: {best.version} is the newest{kind} in the"
                        " catalogue"
                    )
