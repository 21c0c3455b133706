"""Builds the steps of a plan, as many at once as the budget of jobs allows.

All of it is one thread that looks around: Rez's own caches are not made for more, and signals, and
the death of a parent (prctl(2), PR_SET_PDEATHSIG), are matters of threads.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from rezbuild.errors import RezbuildError, SeveralFailedError, as_error
from rezbuild.plan.resolve import Job, Step
from rezbuild.plan.schedule import Schedule
from rezbuild.run.progress import Lines
from rezbuild.run.timeline import Watch
from rezbuild.util.processes import RunningTask, become_subreaper, stop

# Seconds between two looks.
_PAUSE = 0.05


class Budget(Protocol):
    """What each build takes a job of: `rezbuild.util.jobserver.Budget`, or a farm's room."""

    def take(self, step: Step, /) -> bool:
        """Takes a job for the build of a step; whether there was one.

        Raises:
            RezbuildError: There will be none for it.
        """
        ...

    def give_back(self) -> None:
        """Takes back a build's job."""
        ...

    def share(self) -> None:
        """All that could begin now has begun."""
        ...

    def reset(self) -> None:
        """No build is running."""
        ...


class Work(Protocol):
    """What is to be done for a step; each may raise a RezbuildError."""

    def is_done(self, step: Step) -> bool:
        """Whether there is nothing to do."""
        ...

    def lock(self, step: Step) -> bool:
        """Keeps others from building it; False where they are at it."""
        ...

    def unlock(self, step: Step) -> None:
        """Lets them, if they were kept."""
        ...

    def start(self, step: Step) -> RunningTask:
        """Begins to build it."""
        ...

    def finish(self, step: Step, task: RunningTask, status: int) -> None:
        """Looks at what came of it."""
        ...


class Run:
    """One run of a plan.

    Args:
        steps: In an order in which what is needed comes first.
        work: Does what is to be done for each.
        budget: Each build takes a job of it.
        view: Shows it.
        most: The most builds at once.
        watch: Says what takes long, and is told what becomes of each.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (all that a run has to do with)
        self,
        steps: Sequence[Step],
        work: Work,
        budget: Budget,
        view: Lines,
        most: int,
        watch: Watch | None = None,
    ) -> None:
        self._watch = watch or Watch()
        self._schedule = Schedule(steps, self._watch.expect)
        self._work = work
        self._budget = budget
        self._view = view
        self._most = most
        self._fresh = list(self._schedule.ready())
        self._waiting: set[Job] = set()
        self._running: dict[Job, tuple[Step, RunningTask]] = {}
        self._errors: list[RezbuildError] = []

    def run(self) -> None:
        """Builds all that can be built.

        Raises:
            RezbuildError: Something failed; it is the error of that, or holds those of several.
        """
        become_subreaper()
        try:
            while len(self._schedule):
                self._begin()
                self._look()
        except BaseException:
            stop(task for _, task in self._running.values())
            self._watch.stop()
            raise
        if self._errors:
            # A Rez that was killed leaves behind what it had started.
            stop([])
            raise self._errors[0] if len(self._errors) == 1 else SeveralFailedError(self._errors)

    def _begin(self) -> None:
        """Begins what is ready and has a job."""
        if not self._running:
            self._budget.reset()
        self._examine()
        for step in self._schedule.ready():
            if len(self._running) >= self._most:
                break
            with self._failing(step):
                # There may be one for another step: of another kind of host.
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
        """Looks at what has become ready; what is done already may make more ready."""
        while self._fresh:
            fresh, self._fresh = self._fresh, []
            for step in fresh:
                with self._failing(step):
                    if self._work.is_done(step):
                        self._fresh += self._schedule.done(step)

    def _start(self, step: Step) -> None:
        """Starts it, unless others are building it or have built it meanwhile."""
        if not self._work.lock(step):
            if step.job not in self._waiting:
                self._waiting.add(step.job)
                self._view.notice(f"{step}: waiting for another build of it")
        elif self._work.is_done(step):
            self._work.unlock(step)
            self._fresh += self._schedule.done(step)
        else:
            self._running[step.job] = step, self._work.start(step)
            self._schedule.begin(step)

    def _look(self) -> None:
        """Sees what the running builds say, and which have ended."""
        if len(self._schedule):
            time.sleep(_PAUSE)
        for step, task in list(self._running.values()):
            news = task.poll()
            self._view.heard(task, news)
            self._watch.saw(step, task, news.events)
            if news.status is not None:
                self._end(step, task, news.status)
        self._view.show([task for _, task in self._running.values()], len(self._schedule))

    def _end(self, step: Step, task: RunningTask, status: int) -> None:
        del self._running[step.job]
        task.wait()
        self._budget.give_back()
        with self._failing(step):
            self._work.finish(step, task, status)
            self._watch.ended(step, well=True)
            self._work.unlock(step)
            self._fresh += self._schedule.done(step)

    @contextlib.contextmanager
    def _failing(self, step: Step) -> Iterator[None]:
        """What goes wrong with a step is kept for the end; what does not need it goes on."""
        try:
            yield
        except (RezbuildError, OSError) as error:
            self._watch.ended(step, well=False)
            self._work.unlock(step)
            ours = as_error(error)
            self._errors.append(ours)
            self._view.notice(f"{step}: failed: {str(ours).splitlines()[0]}")
            for skipped in self._schedule.failed(step):
                self._view.notice(f"{skipped}: skipped, it needs {step}")
