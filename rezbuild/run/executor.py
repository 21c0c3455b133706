"""The execution of a plan: as many parallel builds as the budget of jobs allows.

One thread polls all builds: Rez's caches are not made for threads, and signals and the death of a
parent (prctl(2), PR_SET_PDEATHSIG) concern a thread.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from rezbuild.errors import RezbuildError, SeveralFailedError, as_error
from rezbuild.plan.forecast import Forecast
from rezbuild.plan.resolve import Job, Step
from rezbuild.plan.schedule import Schedule
from rezbuild.run.progress import LineProgress, State
from rezbuild.run.timeline import Recorder
from rezbuild.util.processes import RunningTask, become_subreaper, stop

# Seconds between two polls.
_PAUSE = 0.05


class Budget(Protocol):
    """The jobs that builds may take: `rezbuild.util.jobserver.Budget`, or the cores of a farm."""

    def take(self, step: Step, /) -> bool:
        """Take a job for the build of a step; return whether one was free.

        Raises:
            RezbuildError: None will ever be free.
        """
        ...

    def give_back(self) -> None:
        """Give back the job of a build."""
        ...

    def share(self) -> None:
        """Share free jobs: every step that can begin now has begun."""
        ...

    def reset(self) -> None:
        """Reset the budget: no build is running."""
        ...


class Work(Protocol):
    """The actions for a step; each may raise a RezbuildError."""

    def is_done(self, step: Step) -> bool:
        """Return whether there is nothing to do."""
        ...

    def lock(self, step: Step) -> bool:
        """Lock a step against other runs; return False if another run has it."""
        ...

    def unlock(self, step: Step) -> None:
        """Release the lock, if it is held."""
        ...

    def start(self, step: Step) -> RunningTask:
        """Start the build."""
        ...

    def finish(self, step: Step, task: RunningTask, status: int) -> None:
        """Check the result of the build."""
        ...


class Executor:
    """One run of a plan.

    Args:
        steps: All steps, dependencies first.
        work: The actions for each step.
        budget: Each build takes a job of it.
        progress: Shows the run.
        max_builds: The largest number of parallel builds.
        recorder: Estimates times, and records the run.
        forecast: Estimates when the run ends.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (the parts of a run)
        self,
        steps: Sequence[Step],
        work: Work,
        budget: Budget,
        progress: LineProgress,
        max_builds: int,
        recorder: Recorder | None = None,
        forecast: Forecast | None = None,
    ) -> None:
        self._forecast = forecast
        self._total = len(steps)
        self._recorder = recorder or Recorder()
        self._schedule = Schedule(steps, self._recorder.expect)
        self._work = work
        self._budget = budget
        self._progress = progress
        self._max_builds = max_builds
        self._unexamined = list(self._schedule.ready())
        self._waiting: set[Job] = set()
        self._running: dict[Job, tuple[Step, RunningTask]] = {}
        self._errors: list[RezbuildError] = []

    def run(self) -> None:
        """Build all that can be built.

        Raises:
            RezbuildError: The error of the failed build, or one that holds several.
        """
        become_subreaper()
        try:
            while len(self._schedule):
                self._begin()
                self._poll()
        except BaseException:
            stop(task for _, task in self._running.values())
            self._recorder.stop()
            raise
        if self._errors:
            # End child processes of a Rez that was killed.
            stop([])
            raise self._errors[0] if len(self._errors) == 1 else SeveralFailedError(self._errors)

    def _begin(self) -> None:
        """Start the steps that are ready and get a job."""
        if not self._running:
            self._budget.reset()
        self._examine()
        for step in self._schedule.ready():
            if len(self._running) >= self._max_builds:
                break
            with self._collect_error(step):
                # A step for another kind of host may still get a job.
                if not self._budget.take(step):
                    continue
                try:
                    self._start(step)
                finally:
                    if step.job not in self._running:
                        self._budget.give_back()
        self._examine()
        self._budget.share()

    def _examine(self) -> None:
        """Find steps that need no build; their dependents may become ready."""
        while self._unexamined:
            ready, self._unexamined = self._unexamined, []
            for step in ready:
                with self._collect_error(step):
                    if self._work.is_done(step):
                        self._unexamined += self._schedule.done(step)

    def _start(self, step: Step) -> None:
        """Start a step, unless another run builds it or has built it meanwhile."""
        if not self._work.lock(step):
            if step.job not in self._waiting:
                self._waiting.add(step.job)
                self._progress.notice(f"{step}: waiting for another build of it")
        elif self._work.is_done(step):
            self._work.unlock(step)
            self._unexamined += self._schedule.done(step)
        else:
            self._running[step.job] = step, self._work.start(step)
            self._schedule.begin(step)

    def _poll(self) -> None:
        """Poll the running builds, and end those that have finished."""
        if len(self._schedule):
            time.sleep(_PAUSE)
        for step, task in list(self._running.values()):
            news = task.poll()
            self._progress.show_update(task, news)
            self._recorder.update(step, task, news.events)
            if news.status is not None:
                self._end(step, task, news.status)
        tasks = [task for _, task in self._running.values()]
        self._progress.show_running(tasks, State(len(self._schedule), self._total, self._time_left))

    def _time_left(self) -> float | None:
        """Return the estimated seconds until the end of the run, or None if they are unknown."""
        if self._forecast is None:
            return None
        elapsed = {job: task.seconds for job, (_, task) in self._running.items()}
        return self._forecast.seconds_left(self._schedule.left(), elapsed)

    def _end(self, step: Step, task: RunningTask, status: int) -> None:
        del self._running[step.job]
        task.wait()
        self._budget.give_back()
        with self._collect_error(step):
            self._work.finish(step, task, status)
            self._recorder.end(step, well=True)
            self._work.unlock(step)
            self._unexamined += self._schedule.done(step)

    @contextlib.contextmanager
    def _collect_error(self, step: Step) -> Iterator[None]:
        """Collect an error of a step; steps that do not depend on it go on."""
        try:
            yield
        except (RezbuildError, OSError) as error:
            self._recorder.end(step, well=False)
            self._work.unlock(step)
            ours = as_error(error)
            self._errors.append(ours)
            self._progress.show_failure(str(step), str(ours).splitlines()[0])
            for skipped in self._schedule.failed(step):
                self._progress.notice(f"{skipped}: skipped, it needs {step}")
