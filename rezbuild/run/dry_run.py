"""``rezbuild plan``: what a build would do, and how long that takes; nothing is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rezbuild.catalogue.sources_toml import Release
from rezbuild.errors import MachineError, RezbuildError
from rezbuild.plan.durations import Estimate
from rezbuild.plan.resolve import Step
from rezbuild.plan.simulate import Outcome, Worker, simulate
from rezbuild.repository import installed
from rezbuild.run import gantt
from rezbuild.run.driver import Driver
from rezbuild.run.gantt import Bar, Timeline, clock
from rezbuild.run.plan_runner import PlanRunner
from rezbuild.run.progress import Lines
from rezbuild.settings import Settings
from rezbuild.sources import local_sources
from rezbuild.sources.fetch import Fetcher

# What the store has is put into place in a moment.
_TAKEN = Estimate(3.0, known=False)


class _Silent(Lines):
    """What a build would say of each step is in the plan."""

    def _print(self, text: str) -> None:
        """Print nothing."""


SILENT = _Silent()


class Sources(Fetcher):
    """Fetches nothing: what is not here is taken for one that can be had, unless offline."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._online = not settings.offline

    def available(self, release: Release) -> bool:
        """Whether a source is here, or may be fetched."""
        return self._online or local_sources.is_available(release, self._settings)


def only_look(work: PlanRunner) -> None:
    """Keeps the drivers of a run from fetching anything, and from telling what the plan says."""
    work.view = SILENT
    for driver in work.drivers.values():
        driver.view = SILENT
        driver.fetcher = Sources(driver.settings)


@dataclass(frozen=True)
class Row:
    """What becomes of one step.

    Attributes:
        job: As a build shows it.
        built: It is installed from the same inputs.
        stored: The store has it, if that was built against the same payloads.
        why: Where that is, or why it must be built.
        seconds: How long the build is expected to take; 0 for what is built.
        known: So long this very build took; else it is a guess.
        critical: It is on the critical path.
        begins: The second in which it is expected to begin, None for what is built.
        needs: The jobs that it waits for.
    """

    job: str
    name: str
    version: str
    host: str
    profile: str
    repository: str
    requested: bool
    built: bool
    stored: bool
    why: str
    seconds: float
    known: bool
    critical: bool
    begins: float | None
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Planned:
    """All of it.

    Attributes:
        rows: What is built first, then the rest as it is begun.
        workers: How many builds are at it at once.
        outcome: What comes of it in made-up time.
    """

    rows: tuple[Row, ...]
    workers: int
    outcome: Outcome

    def as_data(self) -> dict[str, Any]:
        """The same for programs; times in seconds."""
        outcome = self.outcome
        return {
            "jobs": [asdict(row) for row in self.rows],
            "workers": self.workers,
            "work": outcome.work,
            "critical_path": [str(step) for step in outcome.critical],
            "critical_seconds": outcome.length,
            "makespan": outcome.makespan,
            "least": outcome.least,
        }

    def lines(self) -> Iterator[str]:
        """The plan for a terminal."""
        width = max((len(row.job) for row in self.rows), default=0)
        for row in self.rows:
            guess = "" if row.known or row.built else "~"
            took = "" if row.built else f"{guess}{clock(row.seconds)}"
            mark = "*" if row.critical else " "
            where = "; the store has it" if row.stored else ""
            yield f"{mark} {row.job:{width}}  {took:>8}  {row.why}{where}".rstrip()
        yield from self._sums()

    def _sums(self) -> Iterator[str]:
        outcome, left = self.outcome, [row for row in self.rows if not row.built]
        yield ""
        there = len(self.rows) - len(left)
        yield f"{len(self.rows)} packages: {there} installed already, {len(left)} to be built"
        if not left:
            return
        guesses = sum(not row.known for row in left)
        yield f"work: {clock(outcome.work)}" + (
            f"; ~ is a guess by the size of the source or by other builds ({guesses})"
            if guesses
            else ""
        )
        chain = " → ".join(map(str, outcome.critical))
        yield f"critical path (*): {clock(outcome.length)}: {chain}"
        yield (
            f"expected with {self.workers} at once: {clock(outcome.makespan)};"
            f" no order of builds takes less than {clock(outcome.least)}"
        )

    def picture(self, title: str) -> str:
        """The expected run, as SVG."""
        critical = {step.job for step in self.outcome.critical}
        bars = tuple(
            Bar(
                job=str(build.step),
                package=build.step.release.name,
                worker=str(build.worker + 1),
                began=build.began,
                ended=build.ended,
                state=gantt.BUILT,
                critical=build.step.job in critical,
            )
            for build in self.outcome.builds
        )
        path = tuple(map(str, self.outcome.critical))
        return gantt.svg(Timeline(title, 0.0, self.workers, bars, path))


def examine(work: PlanRunner, steps: Sequence[Step], workers: Sequence[Worker]) -> Planned:
    """Looks at what each step would come to.

    Args:
        work: Of drivers that only look.
        steps: In an order in which what is needed comes first.
        workers: What is going to build.

    Raises:
        MachineError: None of them may build some of it.
    """
    whys = {step.job: _why(work.of(step), step) for step in steps}
    left = [step for step in steps if whys[step.job][1]]
    stored = {step.job for step in left if _is_stored(work.of(step), step)}

    def expected(step: Step) -> Estimate:
        return _TAKEN if step.job in stored else work.expected(step)

    try:
        outcome = simulate(left, lambda step: expected(step).seconds, workers)
    except ValueError as error:
        raise MachineError(
            f"nobody could build some of it: {error}",
            advice=[
                "workers of another rezbuild, or with other recipes, get no job: update them",
                "--workers N reckons with as many as you say",
            ],
        ) from None
    begins = {build.step.job: build.began for build in outcome.builds}
    critical = {step.job for step in outcome.critical}
    names = {step.job: str(step) for step in steps}
    order = {step.job: number for number, step in enumerate(steps)}

    def row(step: Step) -> Row:
        where, reason = whys[step.job]
        driver = work.of(step)
        return Row(
            job=str(step),
            name=step.release.name,
            version=step.release.version,
            host=work.host(step),
            profile=driver.profiles.get(step.key, driver.profile),
            repository=str(driver.repository),
            requested=step.requested,
            built=not reason,
            stored=step.job in stored,
            why=reason or f"installed in {where}",
            seconds=expected(step).seconds if reason else 0.0,
            known=expected(step).known,
            critical=step.job in critical,
            begins=begins.get(step.job),
            needs=tuple(names[job] for job in step.needs if job in names),
        )

    ordered = sorted(steps, key=lambda s: (begins.get(s.job, -1.0), order[s.job]))
    return Planned(tuple(map(row, ordered)), len(workers), outcome)


def _why(driver: Driver, step: Step) -> tuple[str, str]:
    """Where it is installed, and why it must be built all the same ("" where it need not be)."""
    try:
        if driver.is_done(step):
            found = installed.installed(*step.key, driver.paths)
            return str(found.root) if found else "", ""
    except RezbuildError as error:
        return "", f"this will fail: {error.message}"
    driver.assume(step)
    reason, options = driver.reasons[step.key], driver.options
    released = installed.variant_root(driver.repository, *step.key).is_dir()
    if options.release and released and not (options.replace and step.requested):
        reason = f"this will be refused, since it is released already: {reason}"
    return "", reason


def _is_stored(driver: Driver, step: Step) -> bool:
    anew = driver.options.force and step.requested
    return not anew and driver.is_stored(step.recipe, step.release)
