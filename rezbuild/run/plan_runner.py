"""The runner of a plan: it builds the steps of all targets, each with the driver of its target."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rezbuild.build.toolchain import Toolchain
from rezbuild.errors import MachineError, UsageError, as_error
from rezbuild.files import temp_folders
from rezbuild.plan.durations import Durations, Estimate
from rezbuild.plan.forecast import Forecast
from rezbuild.plan.resolve import Job, Step, Target
from rezbuild.plan.simulate import Worker
from rezbuild.run import timeline
from rezbuild.run.driver import Driver, Options
from rezbuild.run.executor import Budget, Executor
from rezbuild.run.progress import LineProgress
from rezbuild.run.timeline import Recorder
from rezbuild.settings import Settings
from rezbuild.util import jobserver
from rezbuild.util.processes import RunningTask
from rezbuild.versions import notices

# The time to restore a payload from the store.
RESTORED = Estimate(3.0, known=False)
# Creates the driver of a target.
DriverFactory = Callable[[Target], Driver]


def local_drivers(
    settings: Settings, tools: Toolchain, options: Options, progress: LineProgress
) -> DriverFactory:
    """Return a factory of drivers that build on this machine."""

    def make(target: Target) -> Driver:
        own = settings.host
        if target.host not in {"", own}:
            raise UsageError(
                f"builds for {target.host} are not possible on this machine, which is {own}",
                advice=[
                    f"build for this kind of host only: --host {own}",
                    "or run the command on a machine of that kind, as REZBUILD_HOST_LABEL names it",
                ],
            )
        return Driver(settings, tools, options, progress, target)

    return make


class PlanRunner:
    """Runs the steps of several targets: `rezbuild.run.executor.Work`.

    Args:
        targets: All targets of the plan; at least one.
        make: Creates the driver of each.
        progress: Shows the run.

    Attributes:
        drivers: The driver of each target.
    """

    def __init__(
        self, targets: Iterable[Target], make: DriverFactory, progress: LineProgress
    ) -> None:
        self.drivers = {target: make(target) for target in dict.fromkeys(targets)}
        self.progress = progress
        settings = next(iter(self.drivers.values())).settings
        self.durations = Durations(settings.cache, progress.notice)
        self._building: dict[tuple[str, ...], Job] = {}
        # Builds of one target may be dependencies of another target with the same repository.
        known: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
        for target, driver in self.drivers.items():
            place = (target.host, target.repository)
            driver.identities = known.setdefault(place, driver.identities)

    def driver_of(self, step: Step) -> Driver:
        """Return the driver of a step."""
        return self.drivers[step.target]

    def run(self, steps: Sequence[Step]) -> None:
        """Build what has to be built, several packages at once; releases are made one at a time.

        Raises:
            RezbuildError: A build failed; installed packages are unchanged.
        """
        first = next(iter(self.drivers.values()))
        for line in notices.for_steps(steps):
            self.progress.notice(line)
        for target, driver in self.drivers.items():
            driver.prepare([step for step in steps if step.target == target])
        with temp_folders.folder() as folder, self.progress.live():
            for driver in self.drivers.values():
                driver.rez.folder = folder
            recorder = Recorder(lambda step: self.estimate(step).seconds, self._note)
            try:
                with self._budget(first.jobs, folder) as budget:
                    most = self._max_builds(first)
                    forecast = Forecast(self._expected_seconds, self.workers)
                    Executor(steps, self, budget, self.progress, most, recorder, forecast).run()
            finally:
                self._write_timeline(recorder, steps, first)

    def workers(self) -> list[Worker]:
        """Return the workers that would build, for a simulation."""
        first = next(iter(self.drivers.values()))
        return [Worker()] * self._max_builds(first)

    def _max_builds(self, driver: Driver) -> int:
        """Return the largest number of parallel builds."""
        # Two parallel releases would conflict in the git repository.
        return 1 if driver.options.release else driver.jobs

    @contextlib.contextmanager
    def _budget(self, jobs: int, folder: Path) -> Iterator[Budget]:
        """Yield the jobs that builds may take."""
        with contextlib.closing(jobserver.Budget(jobs, folder)) as budget:
            yield budget

    def estimate(self, step: Step) -> Estimate:
        """Estimate how long a build takes."""
        return self.durations.estimate(step, self.driver_of(step).profile, self.host(step))

    def is_stored(self, step: Step) -> bool:
        """Return whether the store has a step, so that it is only restored."""
        driver = self.driver_of(step)
        forced = driver.options.force and step.requested
        return not forced and driver.is_stored(step.recipe, step.release)

    def _expected_seconds(self, step: Step) -> float:
        return (RESTORED if self.is_stored(step) else self.estimate(step)).seconds

    def _note(self, step: Step, seconds: float) -> None:
        driver = self.driver_of(step)
        profile = driver.profiles.get(step.key, driver.profile)
        self.durations.record(step, profile, self.host(step), seconds, driver.jobs)

    def host(self, step: Step) -> str:
        """Return the label of the kind of host that a step is for."""
        return step.target.host or self.driver_of(step).settings.host

    def _write_timeline(self, recorder: Recorder, steps: Sequence[Step], driver: Driver) -> None:
        """Draw the run, if anything was built."""
        shown = recorder.timeline(_title(steps), steps, driver.jobs)
        if not shown.bars:
            return
        try:
            file = driver.options.timeline
            if file is None:
                file = timeline.write_to_cache(shown, driver.settings.cache)
            else:
                timeline.write(shown, file)
            self.progress.info(f"timeline: {file}")
        except (MachineError, OSError) as error:  # no reason to fail: the builds succeeded
            self.progress.notice(f"notice: no timeline was written: {as_error(error).message}")

    def is_done(self, step: Step) -> bool:
        return self.driver_of(step).is_done(step)

    def lock(self, step: Step) -> bool:
        """Lock a step, also against other targets that would build it in the same folder."""
        folder = self._folder_key(step)
        if self._building.setdefault(folder, step.job) != step.job:
            return False
        if not self.driver_of(step).lock(step):
            del self._building[folder]
            return False
        return True

    def unlock(self, step: Step) -> None:
        self._building = {k: v for k, v in self._building.items() if v != step.job}
        self.driver_of(step).unlock(step)

    def start(self, step: Step) -> RunningTask:
        return self.driver_of(step).start(step)

    def finish(self, step: Step, task: RunningTask, status: int) -> None:
        self.driver_of(step).finish(step, task, status)

    def _folder_key(self, step: Step) -> tuple[str, ...]:
        return (step.target.host, *step.key, self.driver_of(step).profiles.get(step.key, ""))


def _title(steps: Sequence[Step]) -> str:
    """Return the title of the timeline: the requested packages."""
    asked = list(dict.fromkeys(step.package for step in steps if step.requested))
    more = f" and {len(asked) - 4} more" if len(asked) > 4 else ""
    return f"rezbuild build {' '.join(asked[:4])}{more}"
