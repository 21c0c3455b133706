"""One run over the targets of a plan: each step is done by its target's driver."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rezbuild.build.toolchain import Toolchain
from rezbuild.errors import MachineError, UsageError, as_error
from rezbuild.files import temp_folders
from rezbuild.plan.durations import Durations, Estimate
from rezbuild.plan.resolve import Job, Step, Target
from rezbuild.plan.simulate import Worker
from rezbuild.run import timeline
from rezbuild.run.driver import Driver, Options
from rezbuild.run.executor import Budget, Run
from rezbuild.run.progress import Lines
from rezbuild.run.timeline import Watch
from rezbuild.settings import Settings
from rezbuild.util import jobserver
from rezbuild.util.processes import RunningTask
from rezbuild.versions import notices

# Makes the driver of a target.
Factory = Callable[[Target], Driver]


def here(settings: Settings, tools: Toolchain, options: Options, view: Lines) -> Factory:
    """What makes drivers that build on this machine."""

    def make(target: Target) -> Driver:
        own = settings.host
        if target.host not in {"", own}:
            raise UsageError(
                f"what is for {target.host} cannot be built on this machine, which is {own}",
                advice=[
                    f"--host {own} leaves out what is for others",
                    "run it on a machine of that kind; REZBUILD_HOST_LABEL says what one is",
                ],
            )
        return Driver(settings, tools, options, view, target)

    return make


class PlanRunner:
    """Does what is to be done for the steps of several targets: `rezbuild.run.executor.Work`.

    Args:
        targets: All targets of the plan, one at least.
        make: Makes the driver of each.
        view: Shows the run.

    Attributes:
        drivers: By target.
    """

    def __init__(self, targets: Iterable[Target], make: Factory, view: Lines) -> None:
        self.drivers = {target: make(target) for target in dict.fromkeys(targets)}
        self.view = view
        settings = next(iter(self.drivers.values())).settings
        self.durations = Durations(settings.cache, view.notice)
        self._building: dict[tuple[str, ...], Job] = {}
        # Builds of one target may be dependencies of another target with the same repository.
        known: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
        for target, driver in self.drivers.items():
            place = (target.host, target.repository)
            driver.identities = known.setdefault(place, driver.identities)

    def of(self, step: Step) -> Driver:
        """The driver of a step."""
        return self.drivers[step.target]

    def run(self, steps: Sequence[Step]) -> None:
        """Builds what has to be built, several at once; releases are made one at a time.

        Raises:
            RezbuildError: A build failed; what was installed before is as it was.
        """
        first = next(iter(self.drivers.values()))
        for line in notices.for_steps(steps):
            self.view.notice(line)
        for target, driver in self.drivers.items():
            driver.prepare([step for step in steps if step.target == target])
        with temp_folders.folder() as folder, self.view.alive():
            for driver in self.drivers.values():
                driver.folder = folder
            watch = Watch(lambda step: self.expected(step).seconds, self._note)
            try:
                with self._budget(first.jobs, folder) as budget:
                    Run(steps, self, budget, self.view, self._most(first), watch).run()
            finally:
                self._picture(watch, steps, first)

    def workers(self) -> list[Worker]:
        """What is going to build, for a look ahead."""
        first = next(iter(self.drivers.values()))
        return [Worker()] * self._most(first)

    def _most(self, driver: Driver) -> int:
        """The most builds at once."""
        # Two releases at once would be in each other's way in git's repository.
        return 1 if driver.options.release else driver.jobs

    @contextlib.contextmanager
    def _budget(self, jobs: int, folder: Path) -> Iterator[Budget]:
        """What each build takes a job of."""
        with contextlib.closing(jobserver.Budget(jobs, folder)) as budget:
            yield budget

    def expected(self, step: Step) -> Estimate:
        """How long a build takes, as far as can be known."""
        return self.durations.estimate(step, self.of(step).profile, self.host(step))

    def _note(self, step: Step, seconds: float) -> None:
        driver = self.of(step)
        profile = driver.profiles.get(step.key, driver.profile)
        self.durations.record(step, profile, self.host(step), seconds, driver.jobs)

    def host(self, step: Step) -> str:
        """The label of the kind of host that a step is for."""
        return step.target.host or self.of(step).settings.host

    def _picture(self, watch: Watch, steps: Sequence[Step], driver: Driver) -> None:
        """Draws who built what when, if anything was built."""
        shown = watch.timeline(_title(steps), steps, driver.jobs)
        if not shown.bars:
            return
        try:
            file = driver.options.timeline
            if file is None:
                file = timeline.keep(shown, driver.settings.cache)
            else:
                timeline.write(shown, file)
            self.view.info(f"timeline: {file}")
        except (MachineError, OSError) as error:  # the builds have ended well
            self.view.notice(f"notice: there is no timeline: {as_error(error).message}")

    def is_done(self, step: Step) -> bool:
        """See `rezbuild.run.executor.Work`, as for all of these."""
        return self.of(step).is_done(step)

    def lock(self, step: Step) -> bool:
        """Also keeps a target from building what another one builds, in the same folder."""
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

    def start(self, step: Step) -> RunningTask:
        """Begins to build it."""
        return self.of(step).start(step)

    def finish(self, step: Step, task: RunningTask, status: int) -> None:
        """Looks at what came of it."""
        self.of(step).finish(step, task, status)

    def _work(self, step: Step) -> tuple[str, ...]:
        return (step.target.host, *step.key, self.of(step).profiles.get(step.key, ""))


def _title(steps: Sequence[Step]) -> str:
    """What was asked for, as a line."""
    asked = list(dict.fromkeys(step.package for step in steps if step.requested))
    more = f" and {len(asked) - 4} more" if len(asked) > 4 else ""
    return f"rezbuild build {' '.join(asked[:4])}{more}"
