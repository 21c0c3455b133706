"""Rez's own door to a farm: ``rez-build -i --process farm``.

A worker builds the variant against what Rez has resolved; then it is installed, or released, as by
the build process ``staged`` (`rezbuild.rez_plugin.build_process`). A studio that wants it always
says so in its rezconfig.py: ``default_build_process = "farm"``.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rez.build_process import BuildType
from rez.exceptions import BuildError

from rezbuild.build.recipe_api import Dependency
from rezbuild.catalogue import sources_toml
from rezbuild.errors import RezbuildError, UsageError, write_report
from rezbuild.farm.client import Farm
from rezbuild.farm.job_spec import Wish, job, variables
from rezbuild.farm.payload_transport import Carrier
from rezbuild.farm.remote_task import Remote
from rezbuild.farm.worker_pool import Crew
from rezbuild.files import temp_folders
from rezbuild.payload import manifest
from rezbuild.reporter import Reporter
from rezbuild.rez_plugin.build_process import StagedBuildProcess, is_ours
from rezbuild.settings import Settings, build_profile

if TYPE_CHECKING:
    from rez.packages import Variant
    from rez.resolved_context import ResolvedContext

# What a worker said of the build, in Rez's build folder.
LOG = "farm.log"
# Seconds between two looks.
_PAUSE = 0.1


class FarmBuildProcess(StagedBuildProcess):
    """Has variants built by a farm, and installs them as `StagedBuildProcess` does."""

    @classmethod
    def name(cls) -> str:
        """What ``default_build_process`` and ``--process`` call it."""
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
        """Resolves what it is built against, and has a worker build it."""
        context, file = super().create_build_context(variant, build_type, build_path)
        if is_ours(self.package):
            try:
                self._bake(variant, context, build_type, Path(build_path))
            except RezbuildError as error:
                write_report(error)
                raise BuildError(str(error)) from None
        return context, file

    def _bake(
        self, variant: Variant, context: ResolvedContext, build_type: BuildType, place: Path
    ) -> None:
        """Have it built; the pipeline that Rez starts next finds it by two variables."""
        settings = Settings.read()
        if not settings.scheduler:
            raise UsageError(
                "the build process farm needs a scheduler, and REZBUILD_SCHEDULER is not set",
                advice=["set it, as to tcp://host:8786", "or build here: --process staged"],
            )
        recipe = sources_toml.load(Path(self.working_dir))
        release = recipe.release(str(variant.version))
        profile = build_profile(settings.profile, release=build_type == BuildType.central)
        wish = Wish(recipe, release, profile, _dependencies(context))
        remote = Remote(variant.parent.qualified_name, place / LOG, place, lambda: None)
        reporter = Reporter()
        with Farm(settings.scheduler, settings, reporter.notice) as farm:
            crew = Crew(farm, recipe.folder.parent, "", settings.host, reporter.notice)
            crew.compare([recipe.name])
            carrier = Carrier(self._folder, settings.store or "" if crew.store() else "", settings)
            order = job(wish, remote, crew, carrier, settings)
            cores = max([1, *crew.free().values()])
            remote.begin(farm.begin(order, cores))
            _follow(remote, reporter)
        os.environ.update(variables(remote, self._folder))


def _follow(remote: Remote, reporter: Reporter) -> None:
    """Shows what a worker says, until it has ended.

    Raises:
        RezbuildError: It failed there.
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
    """The packages of the context that rezbuild has made, as the build command lists them."""
    return [
        Dependency(found.name, str(found.version), Path(found.root))
        for found in context.resolved_packages or ()
        if found.root and manifest.read(Path(found.root)) is not None
    ]


def register_plugin() -> type[FarmBuildProcess]:
    """What Rez asks each plugin for."""
    return FarmBuildProcess
