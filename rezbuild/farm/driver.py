"""Builds the steps of a plan on a farm: as `rezbuild.run.driver`, but where a payload is made.

A step has two parts. A worker bakes the payload; then Rez installs or releases it from here, as it
would one that was built here, but that it finds it in a store. So what is published, and in which
order, does not depend on the farm.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import rezbuild
from rezbuild.build.recipe_api import Dependency
from rezbuild.build.toolchain import Toolchain
from rezbuild.catalogue.sources_toml import Recipe, Release
from rezbuild.errors import MachineError, RezError
from rezbuild.farm import retry_policy
from rezbuild.farm.client import Job
from rezbuild.farm.job_spec import Wish, job, variables
from rezbuild.farm.payload_transport import Carrier
from rezbuild.farm.remote_task import Remote
from rezbuild.farm.worker_facts import Facts
from rezbuild.farm.worker_pool import Crew
from rezbuild.payload import manifest
from rezbuild.plan.resolve import Job as GraphJob
from rezbuild.plan.resolve import Step, Target
from rezbuild.repository import installed
from rezbuild.run.driver import Driver, Options
from rezbuild.run.progress import LineProgress
from rezbuild.settings import Settings
from rezbuild.store import Store
from rezbuild.util.processes import RunningTask, Task

# Rez's processes that install or release at once; each keeps a core busy for a second or two.
_PUBLISHERS = 4
# Seconds without any worker before a user is told.
_SILENT = 5.0


class FarmDriver(Driver):
    """Has steps built by the workers of a farm, and publishes them from here.

    Args:
        crew: The workers.
        settings: Of the client.
        options: How the plan is run.
        progress: Tells the user.
        target: As of a `Driver`; the crew is of its kind of host.
        begun: The submitted steps of all targets of that host kind: the targets share its workers.
        publishing: What is being published now, of all targets.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (three more than a driver of this machine)
        self,
        crew: Crew,
        settings: Settings,
        options: Options,
        progress: LineProgress,
        target: Target,
        begun: list[Begun],
        publishing: set[GraphJob],
    ) -> None:
        self.crew = crew
        # The compiler is theirs; there may be none here.
        tools = Toolchain(
            "",
            "",
            description=crew.kind.compiler,
            machine=crew.kind.machine,
            assembler=crew.kind.assembler,
            linker=crew.kind.linker,
        )
        super().__init__(settings, tools, options, progress, target)
        self._begun = begun
        self._carrier: Carrier | None = None
        self._publishing = publishing
        # Since when steps want a worker, and there is none; whether the user knows.
        self._since = time.monotonic()
        self._wanted = self._told = False

    def prepare(self, steps: Sequence[Step]) -> None:
        """As `Driver.prepare`; the workers are compared with this machine before the first job.

        Raises:
            UsageError: One of them has other recipes, or another rezbuild.
        """
        self.crew.compare(step.release.name for step in steps)
        super().prepare(steps)

    def check_machine(self, steps: Sequence[Step]) -> None:
        """Check nothing: the workers build."""

    def start(self, step: Step) -> RunningTask:
        """Puts it down for the farm; `deal` gives it its cores.

        Raises:
            RezError: It is released already, and may not be replaced.
        """
        self.progress.info(f"{step}: building, {self.reasons[step.key]}")
        arguments = self._arguments(step)
        folder, _, name = self._build_directory(step).partition("/")
        place = installed.variant_root(step.recipe.folder, folder, name)
        begun = Begun(step, arguments)
        begun.remote = Remote(
            str(step),
            self._log(step),
            place,
            lambda: self._publish(begun),
        )
        begun.job = self._job(step, begun.remote)
        self._begun.append(begun)
        return begun.remote

    def room(self) -> int:
        """How many more steps could begin now.

        Raises:
            MachineError: There has been no worker for long.
        """
        self._wanted = True
        if self._silence() > self.crew.farm.patience:
            raise self._deserted()
        return sum(n for n in self.crew.free().values() if n > 0) - len(self._begun)

    def deal(self) -> None:
        """Gives the steps that have been put down the cores that are free now.

        Where no worker has been there for long, they fail.
        """
        free = self.crew.free()
        if free or not (self._begun or self._wanted):
            self._since, self._told = time.monotonic(), False
        self._wanted = False
        if self._silence() > _SILENT and not self._told:
            self._told = True
            self.progress.notice(f"farm: there is no worker{self._kind()}; waiting for one")
        if self._silence() > self.crew.farm.patience:
            for one in self._begun:
                one.remote.done(None, self._deserted())
            self._begun.clear()
        shares = retry_policy.shares(free, len(self._begun)) if self._begun else []
        for one, share in zip(self._begun, shares):
            one.remote.begin(self.crew.farm.begin(one.job, share.cores))
        del self._begun[: len(shares)]

    def _silence(self) -> float:
        return time.monotonic() - self._since

    def _deserted(self) -> MachineError:
        return MachineError(
            f"the farm has had no worker{self._kind()} for {self._silence():.0f} s",
            advice=[f"start one: rezbuild worker {self.crew.farm.address}"],
        )

    def _kind(self) -> str:
        return f" of the kind {self.crew.kind.label}" if self.crew.kind.label else ""

    def finish(self, step: Step, task: RunningTask, status: int) -> None:
        """As `Driver.finish`.

        Raises:
            RezbuildError: It failed, on a worker or here.
        """
        self._publishing.discard(step.job)
        if isinstance(task, Remote) and task.error is not None:
            task.error.advice += (f"all of its output: {task.log}",)
            raise task.error
        super().finish(step, task, status)
        if isinstance(task, Remote):
            # Where all was built anew, Rez has cleared the folder.
            task.keep_logs()

    def _build_directory(self, step: Step) -> str:
        # Those of several kinds of host are published at once.
        host = f"-{self.target.host}" if self.target.host else ""
        return f"{super()._build_directory(step)}{host}"

    def is_stored(self, recipe: Recipe, release: Release) -> bool:
        """As `Driver.is_stored`; by what is known here of the workers."""
        return has(self.store, recipe, release, self.profile, self.crew.kind)

    def _job(self, step: Step, remote: Remote) -> Job:
        against = [self._dependency(*needed) for needed in step.built_against.items()]
        forced = self.options.force and step.requested
        wish = Wish(step.recipe, step.release, self.profiles[step.key], against, forced)
        if self._carrier is None:
            shared = self.settings.store if self.crew.store() else None
            self._carrier = Carrier(self.rez.folder, shared or "", self.settings)
        return job(wish, remote, self.crew, self._carrier, self.settings)

    def _dependency(self, name: str, version: str) -> Dependency:
        found = installed.installed(name, version, self.search_path)
        if found is None:
            raise RezError(f"{name}-{version} is not installed any more", advice=["run it again"])
        return Dependency(name, version, found.root)

    def _publish(self, begun: Begun) -> Task | None:
        """Has Rez install or release what a worker has made; None while others are at it."""
        # Two releases at once would be in each other's way in git's repository.
        most = 1 if self.options.release else min(self.jobs, _PUBLISHERS)
        if len(self._publishing) >= most:
            return None
        self._publishing.add(begun.step.job)
        taken = variables(begun.remote, self.rez.folder)
        given = {**self._variables(begun.step), **taken}
        return self._begin(begun.step, begun.arguments, given, after=True)


def has(store: Store | None, recipe: Recipe, release: Release, profile: str, kind: Facts) -> bool:
    """Return whether the store has a version for workers of a kind; their patchelf is unknown.

    Raises:
        CatalogueError: A file of the recipe is missing.
    """
    wanted = {
        "profile": profile if recipe.profiled else None,
        "recipe": manifest.recipe_revision(recipe, release),
        "rezbuild": rezbuild.__version__,
        "compiler": kind.compiler,
        "assembler": kind.assembler,
        "linker": kind.linker,
        "machine": kind.machine,
        "glibc": kind.glibc,
    }
    entries = store.entries(release.name, release.version) if store else ()
    return any(all(e.inputs.get(k) == v for k, v in wanted.items()) for e in entries)


class Begun:
    """A step that has been put down for the farm.

    Attributes:
        remote: What those see of it who look at it.
        job: What the farm gets of it.
    """

    remote: Remote
    job: Job

    def __init__(self, step: Step, arguments: Sequence[str]) -> None:
        self.step = step
        self.arguments = arguments
