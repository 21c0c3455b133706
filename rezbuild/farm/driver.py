"""The driver of a plan on a farm: as `rezbuild.run.driver`, with payloads built by workers.

A step has two parts. A worker builds the payload. Then Rez installs or releases it on this machine,
as it would a local build, but takes it from a store. So the farm does not change which packages are
published, and in which order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import rezbuild
from rezbuild.build import glibc_floor
from rezbuild.build.toolchain import Toolchain
from rezbuild.catalogue.model import Recipe, Release
from rezbuild.errors import MachineError, RezError
from rezbuild.farm import retry_policy
from rezbuild.farm.job_runner import FarmJob
from rezbuild.farm.job_spec import JobSpec, make_job, publish_variables
from rezbuild.farm.payload_transport import PayloadTransport
from rezbuild.farm.remote_task import RemoteTask
from rezbuild.farm.worker_facts import Facts
from rezbuild.farm.worker_pool import WorkerPool
from rezbuild.payload import manifest
from rezbuild.payload.dependency import Dependency
from rezbuild.plan.resolve import Job as PlanJob
from rezbuild.plan.resolve import Step, Target
from rezbuild.repository import installed
from rezbuild.run.driver import Driver, Options
from rezbuild.run.progress import LineProgress
from rezbuild.settings import Settings
from rezbuild.store import Store
from rezbuild.util.processes import RunningTask, Task

# The number of parallel Rez processes that publish; each uses a core for a second or two.
_PUBLISHERS = 4
# Seconds without any worker until the user gets a notice.
_SILENT = 5.0


class FarmDriver(Driver):
    """Builds steps on the workers of a farm, and publishes them from this machine.

    Args:
        pool: The workers.
        settings: The settings of the client.
        options: How the plan is run.
        progress: Tells the user what happens.
        target: The target; the pool has its kind of host.
        begun: The steps that wait for cores, of all targets with this kind of host: they share the
            workers.
        publishing: The steps that are being published now, of all targets.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (three more than a driver of this machine)
        self,
        pool: WorkerPool,
        settings: Settings,
        options: Options,
        progress: LineProgress,
        target: Target,
        begun: list[PendingStep],
        publishing: set[PlanJob],
    ) -> None:
        self.pool = pool
        # The workers have the compiler; this machine may have none.
        tools = Toolchain(
            "",
            "",
            description=pool.kind.compiler,
            machine=pool.kind.machine,
            assembler=pool.kind.assembler,
            linker=pool.kind.linker,
            glibc=glibc_floor.describe_for(settings.glibc, pool.kind.glibc),
        )
        super().__init__(settings, tools, options, progress, target)
        self._begun = begun
        self._transport: PayloadTransport | None = None
        self._publishing = publishing
        # Since when steps wait without any worker, and whether the user knows.
        self._since = time.monotonic()
        self._wanted = self._told = False

    def prepare(self, steps: Sequence[Step]) -> None:
        """Compare the workers with this machine, and prepare the folders as `Driver.prepare` does.

        Raises:
            UsageError: A worker has other recipes, or another rezbuild.
        """
        self.pool.check_versions(step.release.name for step in steps)
        super().prepare(steps)

    def check_machine(self, steps: Sequence[Step]) -> None:
        """Check nothing: the workers build."""

    def start(self, step: Step) -> RunningTask:
        """Queue a step for the farm; `assign_cores` starts it.

        Raises:
            RezError: It is released, and may not be replaced.
        """
        self.progress.info(f"{step}: building, {self.reasons[step.key]}")
        arguments = self._arguments(step)
        folder, _, name = self._build_directory(step).partition("/")
        place = installed.variant_root(step.recipe.folder, folder, name)
        begun = PendingStep(step, arguments)
        begun.remote = RemoteTask(
            str(step),
            self._log(step),
            place,
            lambda: self._publish(begun),
        )
        begun.job = self._job(step, begun.remote)
        self._begun.append(begun)
        return begun.remote

    def free_slots(self) -> int:
        """Return how many more steps could start now.

        Raises:
            MachineError: There has been no worker for too long.
        """
        self._wanted = True
        if self._idle_seconds() > self.pool.farm.timeout:
            raise self._no_worker_error()
        return sum(n for n in self.pool.free_cores().values() if n > 0) - len(self._begun)

    def assign_cores(self) -> None:
        """Give the queued steps the cores that are free now.

        If there has been no worker for too long, the steps fail.
        """
        free = self.pool.free_cores()
        if free or not (self._begun or self._wanted):
            self._since, self._told = time.monotonic(), False
        self._wanted = False
        if self._idle_seconds() > _SILENT and not self._told:
            self._told = True
            self.progress.notice(f"farm: no worker{self._kind()}; waiting for one")
        if self._idle_seconds() > self.pool.farm.timeout:
            for one in self._begun:
                one.remote.on_done(None, self._no_worker_error())
            self._begun.clear()
        shares = retry_policy.share_cores(free, len(self._begun)) if self._begun else []
        for one, cores in zip(self._begun, shares):
            one.remote.set_cancel(self.pool.farm.submit(one.job, cores))
        del self._begun[: len(shares)]

    def _idle_seconds(self) -> float:
        return time.monotonic() - self._since

    def _no_worker_error(self) -> MachineError:
        return MachineError(
            f"the farm has had no worker{self._kind()} for {self._idle_seconds():.0f} s",
            advice=[f"start one: rezbuild worker {self.pool.farm.address}"],
        )

    def _kind(self) -> str:
        return f" of the kind {self.pool.kind.label}" if self.pool.kind.label else ""

    def finish(self, step: Step, task: RunningTask, status: int) -> None:
        """Check the result of a step, as `Driver.finish` does.

        Raises:
            RezbuildError: The step failed, on a worker or here.
        """
        self._publishing.discard(step.job)
        if isinstance(task, RemoteTask) and task.error is not None:
            task.error.advice += (f"read all of its output: {task.log}",)
            raise task.error
        super().finish(step, task, status)
        if isinstance(task, RemoteTask):
            # With --force, Rez has cleared the folder.
            task.write_logs()

    def _build_directory(self, step: Step) -> str:
        # Builds for several kinds of host are published at the same time.
        host = f"-{self.target.host}" if self.target.host else ""
        return f"{super()._build_directory(step)}{host}"

    def _ask_store(self, recipe: Recipe, release: Release) -> bool:
        """Ask for a payload that fits the workers, as far as they are known."""
        return has_payload(
            self.store, recipe, release, self.profile, self.pool.kind, self.tools.glibc
        )

    def _job(self, step: Step, remote: RemoteTask) -> FarmJob:
        against = [self._dependency(*needed) for needed in step.built_against.items()]
        forced = self.options.force and step.requested
        spec = JobSpec(step.recipe, step.release, self.profiles[step.key], against, forced)
        if self._transport is None:
            shared = self.settings.store if self.pool.have_store() else None
            self._transport = PayloadTransport(self.rez.folder, shared or "", self.settings)
        return make_job(spec, remote, self.pool, self._transport, self.settings)

    def _dependency(self, name: str, version: str) -> Dependency:
        found = installed.installed(name, version, self.search_path)
        if found is None:
            raise RezError(
                f"{name}-{version} was removed during the build", advice=["run the command again"]
            )
        return Dependency(name, version, found.root)

    def _publish(self, begun: PendingStep) -> Task | None:
        """Start Rez to install or release a worker's payload; return None while others are busy."""
        # Two parallel releases would conflict in the git repository.
        most = 1 if self.options.release else min(self.jobs, _PUBLISHERS)
        if len(self._publishing) >= most:
            return None
        self._publishing.add(begun.step.job)
        taken = publish_variables(begun.remote, self.rez.folder)
        given = {**self._variables(begun.step), **taken}
        return self._begin(begun.step, begun.arguments, given, after=True)


def has_payload(  # noqa: PLR0913, PLR0917 (the inputs of a build)
    store: Store | None,
    recipe: Recipe,
    release: Release,
    profile: str,
    kind: Facts,
    floor: str = "",
) -> bool:
    """Return whether the store has a version for workers of a kind; their patchelf is unknown.

    ``floor`` is the glibc that is built for, if not the workers' own; see `Toolchain`.

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
        "glibc_floor": floor or None,
    }
    entries = store.entries(release.name, release.version) if store else ()
    return any(all(e.inputs.get(k) == v for k, v in wanted.items()) for e in entries)


class PendingStep:
    """A step that waits for cores, or is built.

    Attributes:
        remote: The task of the step, as the executor sees it.
        job: Its job for the farm.
    """

    remote: RemoteTask
    job: FarmJob

    def __init__(self, step: Step, arguments: Sequence[str]) -> None:
        self.step = step
        self.arguments = arguments
