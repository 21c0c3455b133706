"""The build process ``farm`` of Rez: ``rez-build -i --process farm``.

A worker builds the variant against the packages that Rez has resolved. Then the variant is
installed
or released as by the build process ``staged`` (`rezbuild.rez_plugin.build_process`). A studio can
make
it the default in its rezconfig.py: ``default_build_process = "farm"``.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rez.build_process import BuildType
from rez.exceptions import BuildError

from rezbuild.catalogue import sources_toml
from rezbuild.errors import RezbuildError, UsageError, write_report
from rezbuild.farm.client import Farm
from rezbuild.farm.job_spec import JobSpec, make_job, publish_variables
from rezbuild.farm.payload_transport import PayloadTransport
from rezbuild.farm.remote_task import RemoteTask
from rezbuild.farm.worker_pool import WorkerPool
from rezbuild.files import temp_folders
from rezbuild.payload import manifest
from rezbuild.payload.dependency import Dependency
from rezbuild.reporter import Reporter
from rezbuild.rez_plugin.build_process import StagedBuildProcess, is_ours
from rezbuild.settings import Settings, build_profile

if TYPE_CHECKING:
    from rez.packages import Variant
    from rez.resolved_context import ResolvedContext

# The output of the worker, in Rez's build folder.
LOG = "farm.log"
# Seconds between two polls.
_PAUSE = 0.1


class FarmBuildProcess(StagedBuildProcess):
    """Builds variants on a farm, and installs them as `StagedBuildProcess` does."""

    @classmethod
    def name(cls) -> str:
        """Return the name for ``default_build_process`` and ``--process``."""
        return "farm"

    def _build_variant_base(self, *args: Any, **kwargs: Any) -> Any:
        if not is_ours(self.package):
            return super()._build_variant_base(*args, **kwargs)
        with temp_folders.folder() as self._folder:
            before = dict(os.environ)
            try:
                return super()._build_variant_base(*args, **kwargs)
            finally:
                os.environ.clear()
                os.environ.update(before)

    def create_build_context(
        self, variant: Variant, build_type: BuildType, build_path: str
    ) -> tuple[ResolvedContext, str]:
        """Resolve the dependencies, and build the variant on a worker."""
        context, file = super().create_build_context(variant, build_type, build_path)
        if is_ours(self.package):
            try:
                self._build_remotely(variant, context, build_type, Path(build_path))
            except RezbuildError as error:
                write_report(error)
                raise BuildError(str(error)) from None
        return context, file

    def _build_remotely(
        self, variant: Variant, context: ResolvedContext, build_type: BuildType, place: Path
    ) -> None:
        """Build the payload; two variables tell the pipeline, which Rez starts next, its place."""
        settings = Settings.read()
        if not settings.scheduler:
            raise UsageError(
                "the build process farm requires a scheduler, but REZBUILD_SCHEDULER is not set",
                advice=[
                    "set REZBUILD_SCHEDULER, e.g. to tcp://host:8786",
                    "or build on this machine: --process staged",
                ],
            )
        recipe = sources_toml.load(Path(self.working_dir))
        release = recipe.release(str(variant.version))
        profile = build_profile(settings.profile, release=build_type == BuildType.central)
        spec = JobSpec(recipe, release, profile, _dependencies(context))
        remote = RemoteTask(variant.parent.qualified_name, place / LOG, place, lambda: None)
        reporter = Reporter()
        with Farm(settings.scheduler, settings, reporter.notice) as farm:
            pool = WorkerPool(farm, recipe.folder.parent, "", settings.host, reporter.notice)
            pool.check_versions([recipe.name])
            transport = PayloadTransport(
                self._folder, settings.store or "" if pool.have_store() else "", settings
            )
            order = make_job(spec, remote, pool, transport, settings)
            cores = max([1, *pool.free_cores().values()])
            remote.set_cancel(farm.submit(order, cores))
            _follow(remote, reporter)
        os.environ.update(publish_variables(remote, self._folder))


def _follow(remote: RemoteTask, reporter: Reporter) -> None:
    """Print the output of the worker until the job ends.

    Raises:
        RezbuildError: The job failed.
    """
    while True:
        news = remote.poll()
        for line in news.lines:
            reporter.info(line)
        if news.status is not None and remote.error is not None:
            raise remote.error
        if remote.made is not None:
            return
        time.sleep(_PAUSE)


def _dependencies(context: ResolvedContext) -> list[Dependency]:
    """Return the packages of the context that rezbuild has built."""
    return [
        Dependency(found.name, str(found.version), Path(found.root))
        for found in context.resolved_packages or ()
        if found.root and manifest.read(Path(found.root)) is not None
    ]


def register_plugin() -> type[FarmBuildProcess]:
    """Return the plugin's class for Rez."""
    return FarmBuildProcess
