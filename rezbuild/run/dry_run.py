"""``rezbuild plan``: the steps of a build, the reasons, and the expected time. Nothing is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from rezbuild.catalogue.model import Release
from rezbuild.errors import FetchError, MachineError, RezbuildError
from rezbuild.plan.durations import Estimate
from rezbuild.plan.resolve import Job, Step
from rezbuild.plan.simulate import Outcome, Worker, simulate
from rezbuild.repository import installed
from rezbuild.run import gantt
from rezbuild.run.driver import Driver
from rezbuild.run.gantt import Bar, Timeline, clock
from rezbuild.run.plan_runner import RESTORED, PlanRunner
from rezbuild.settings import Settings
from rezbuild.sources.fetch import Fetcher
from rezbuild.util import words
from rezbuild.versions import fallbacks

# Reasons of steps that cannot be built.
_FAILS = "the build will fail"
_REFUSED = "rezbuild will refuse it, since it is already released"


class _Probe(Fetcher):
    """Looks for each source once, where a build looks for it, and fetches none."""

    def __init__(self, settings: Settings, console: Console | None) -> None:
        super().__init__(settings, console)
        self._failures: dict[tuple[str, str], FetchError | None] = {}

    def available(self, release: Release) -> bool:
        """Return True if a source is there.

        Raises:
            FetchError: No location has it.
        """
        key = (release.home, release.version)
        if key not in self._failures:
            self._failures[key] = self._failure(release)
        if failure := self._failures[key]:
            raise failure
        return True

    def _failure(self, release: Release) -> FetchError | None:
        try:
            self.probe(release)
        except FetchError as error:
            return error
        return None


def make_dry(runner: PlanRunner) -> None:
    """Keep the drivers of a runner from fetching sources."""
    probe = _Probe(next(iter(runner.drivers.values())).settings, runner.progress.console)
    for driver in runner.drivers.values():
        driver.fetcher = probe


@dataclass(frozen=True)
class Row:
    """The state of one step.

    Attributes:
        job: The step, as a build prints it.
        built: Whether it is installed from the same inputs.
        stored: Whether the store has it. Its dependencies may differ.
        why: The place of the installed package, or the reason to build it.
        wanted: The version that would be chosen if its source could be fetched here, or "".
        seconds: The expected time of the build; 0 if ``built``.
        known: Whether an earlier build took this time; otherwise it is an estimate.
        critical: Whether it is on the critical path.
        begins: The expected begin in seconds; None if ``built``.
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
    wanted: str
    seconds: float
    known: bool
    critical: bool
    begins: float | None
    needs: tuple[str, ...]

    @property
    def refused(self) -> bool:
        """Whether the build would end with an error at once."""
        return self.why.startswith((_FAILS, _REFUSED))


@dataclass(frozen=True)
class DryRun:
    """The result for all steps.

    Attributes:
        rows: Installed packages first, then the others in the order of their begin.
        workers: The number of parallel builds.
        outcome: The simulated run.
        glibc: The glibc that is built for, if it is not the host's; see `Toolchain`.
        fallbacks: A line for each version that replaces the wanted one.
    """

    rows: tuple[Row, ...]
    workers: int
    outcome: Outcome
    glibc: str = ""
    fallbacks: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """Return the result for programs; times in seconds."""
        outcome = self.outcome
        return {
            "jobs": [asdict(row) for row in self.rows],
            "workers": self.workers,
            "glibc_floor": self.glibc,
            "work": outcome.work,
            "critical_path": [str(step) for step in outcome.critical],
            "critical_seconds": outcome.length,
            "makespan": outcome.makespan,
            "least": outcome.least,
        }

    def lines(self) -> Iterator[str]:
        """Yield the plan for a terminal."""
        width = max((len(row.job) for row in self.rows), default=0)
        for row in self.rows:
            guess = "" if row.known or row.built else "~"
            took = "" if row.built else f"{guess}{clock(row.seconds)}"
            mark = "*" if row.critical else " "
            where = "; the store has it" if row.stored else ""
            instead = f"; {row.wanted} cannot be fetched here" if row.wanted else ""
            yield f"{mark} {row.job:{width}}  {took:>8}  {row.why}{where}{instead}".rstrip()
        yield from self._sums()
        yield from self.fallbacks

    def _sums(self) -> Iterator[str]:
        outcome, left = self.outcome, [row for row in self.rows if not row.built]
        yield ""
        there = len(self.rows) - len(left)
        packages = words.count(len(self.rows), "package")
        yield f"{packages}: {there} already installed, {len(left)} to build"
        if not left:
            return
        if self.glibc:
            yield f"built for glibc {self.glibc}"
        guesses = sum(not row.known for row in left)
        many = f"{guesses} packages have" if guesses > 1 else "1 package has"
        note = f"; ~ estimated ({many} no recorded time)" if guesses else ""
        yield f"work: {clock(outcome.work)}{note}"
        chain = " → ".join(map(str, outcome.critical))
        yield f"critical path (*): {clock(outcome.length)}: {chain}"
        yield (
            f"expected with {self.workers} parallel build{'s' * (self.workers != 1)}:"
            f" {clock(outcome.makespan)};"
            f" theoretical minimum: {clock(outcome.least)}"
        )

    def picture(self, title: str) -> str:
        """Return the expected run as SVG."""
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


def examine(runner: PlanRunner, steps: Sequence[Step], workers: Sequence[Worker]) -> DryRun:
    """Find the state of each step, and simulate the builds.

    Args:
        runner: A runner that `make_dry` has changed.
        steps: All steps, dependencies first.
        workers: The workers that would build.

    Raises:
        MachineError: No worker may build some of the steps.
    """
    states = {step.job: _state(runner.driver_of(step), step) for step in steps}
    left = [step for step in steps if states[step.job][1]]
    stored = {step.job for step in left if runner.is_stored(step)}
    for step in left:
        failure = "" if step.job in stored else _missing_source(runner.driver_of(step), step)
        states[step.job] = ("", failure or states[step.job][1])

    expected = {s.job: RESTORED if s.job in stored else runner.estimate(s) for s in steps}
    outcome = _simulate(left, expected, workers)
    begins = {build.step.job: build.began for build in outcome.builds}
    critical = {step.job for step in outcome.critical}
    names = {step.job: str(step) for step in steps}

    def row(step: Step) -> Row:
        where, reason = states[step.job]
        driver = runner.driver_of(step)
        return Row(
            job=str(step),
            name=step.release.name,
            version=step.release.version,
            host=runner.host(step),
            profile=driver.profiles.get(step.key, driver.profile),
            repository=str(driver.repository),
            requested=step.requested,
            built=not reason,
            stored=step.job in stored,
            why=reason or f"installed in {where}",
            wanted=step.preferred if step.missing else "",
            seconds=expected[step.job].seconds if reason else 0.0,
            known=expected[step.job].known,
            critical=step.job in critical,
            begins=begins.get(step.job),
            needs=tuple(names[job] for job in step.needs if job in names),
        )

    ordered = sorted(steps, key=lambda step: begins.get(step.job, -1.0))
    (glibc,) = {driver.tools.glibc for driver in runner.drivers.values()}
    lines = tuple(fallbacks.lines(steps))
    return DryRun(tuple(map(row, ordered)), len(workers), outcome, glibc, lines)


def check_all(runner: PlanRunner, steps: Sequence[Step]) -> None:
    """Check before the first build that no build will fail at once; fetch all sources.

    Args:
        runner: A runner that has built nothing yet.
        steps: All steps, dependencies first.

    Raises:
        RezbuildError: The error of the first build that would fail.
    """
    for step in steps:
        driver = runner.driver_of(step)
        if driver.find_done(step) is None:
            driver.assume_built(step)
            driver.check_unreleased(step)
            if not runner.is_stored(step):
                driver.fetcher.available(step.release)


def _simulate(
    steps: Sequence[Step], expected: Mapping[Job, Estimate], workers: Sequence[Worker]
) -> Outcome:
    try:
        return simulate(steps, lambda step: expected[step.job].seconds, workers)
    except ValueError as error:
        raise MachineError(
            f"no worker could build some of the packages: {words.reason(error)}",
            advice=[
                "update workers that have another rezbuild or other recipes: they get no job",
                "or set the number of workers: --workers N",
            ],
        ) from None


def _state(driver: Driver, step: Step) -> tuple[str, str]:
    """Return where a step is installed, and why it must be built; "" if it need not be."""
    try:
        if found := driver.find_done(step):
            return str(found.root), ""
    except RezbuildError as error:
        return "", f"{_FAILS}: {error.message}"
    driver.assume_built(step)
    reason, options = driver.reasons[step.key], driver.options
    released = installed.variant_root(driver.repository, *step.key).is_dir()
    if options.release and released and not (options.replace and step.requested):
        reason = f"{_REFUSED}: {reason}"
    return "", reason


def _missing_source(driver: Driver, step: Step) -> str:
    """Return why the build of a step would fail if it has no source, else ""."""
    try:
        driver.fetcher.available(step.release)
    except FetchError as error:
        return f"{_FAILS}: {error.message}"
    return ""
