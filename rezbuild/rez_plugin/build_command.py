"""The build command of ``rez-build``: build a payload, and install it where Rez expects it.

REZ_BUILD_* variables are the input. An installed payload is replaced at the end, in one rename.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rezbuild.build.inputs import Job
from rezbuild.catalogue import sources_toml
from rezbuild.errors import (
    REPORT,
    BuildError,
    FetchError,
    RezbuildError,
    UsageError,
    as_error,
    write_report,
)
from rezbuild.files import atomic_swap, disk_space, temp_folders
from rezbuild.payload import manifest
from rezbuild.payload.dependency import Dependency
from rezbuild.plan import resolve
from rezbuild.reporter import Reporter
from rezbuild.repository import staging
from rezbuild.settings import Settings, build_profile, version_variable
from rezbuild.sources.fetch import Fetcher
from rezbuild.store.get_or_build import get_or_build
from rezbuild.util import processes
from rezbuild.versions import notices


@dataclass(frozen=True)
class Request:
    """A build that Rez requests.

    Attributes:
        job: The build.
        install_path: The folder of the variant, or None: build only.
    """

    job: Job
    install_path: Path | None

    @classmethod
    def read(cls, env: Mapping[str, str], settings: Settings) -> Request:
        """Read Rez's REZ_BUILD_* variables.

        Raises:
            UsageError: Rez did not start this process, or its install path is not usable.
        """
        try:
            place = Path(env["REZ_BUILD_INSTALL_PATH"])
            atomic_swap.check_place(staging.final_place(place))
            atomic_swap.check_for_rez(place)
            central = env["REZ_BUILD_TYPE"] == "central"
            job = Job(
                recipe_folder=Path(env["REZ_BUILD_SOURCE_PATH"]),
                version=env["REZ_BUILD_PROJECT_VERSION"],
                build_path=Path(env["REZ_BUILD_PATH"]),
                places=(place, staging.final_place(place)),
                profile=build_profile(settings.profile, release=central),
                dependencies=_dependencies(env),
            )
            # REZ_BUILD_INSTALL_PATH is set even when nothing is to be installed.
            return cls(job, place if env["REZ_BUILD_INSTALL"] == "1" else None)
        except KeyError as missing:
            raise UsageError(
                f"{missing.args[0]} is not set: this is the build command of a Rez package",
                advice=["run rez-build in a folder of packages/, or rezbuild build NAME"],
            ) from None


def main() -> int:
    """Build the package that Rez names in the environment; return 0 or the error's exit code."""
    # Installed files are for all users, see the audit's rule `mode`.
    os.umask(0o022)
    reporter = Reporter()
    try:
        settings = Settings.read()
        request = Request.read(os.environ, settings)
        processes.exit_with_rez()
        # With a report file, the process above Rez has a temporary folder for all builds.
        with contextlib.nullcontext() if os.environ.get(REPORT) else temp_folders.folder():
            if not os.environ.get(REPORT):
                _say_version(request.job, reporter)
            _build(request, settings, reporter)
    except KeyboardInterrupt:
        reporter.error("\nrezbuild: interrupted")
        return 130
    except Exception as exception:  # noqa: BLE001 (users see a message, not a traceback)
        if os.environ.get(REPORT) and not isinstance(exception, (RezbuildError, OSError)):
            traceback.print_exc()  # into the log of the process that started Rez
        error = as_error(exception)
        if write_report(error):
            reporter.info(error.message)  # into the same log
        else:
            reporter.error(f"\nrezbuild: {error}")
        return error.exit_code
    return 0


def _build(request: Request, settings: Settings, reporter: Reporter) -> None:
    try:
        with get_or_build(request.job, settings, reporter) as payload:
            if request.install_path is not None:
                _check_stage(request.install_path)
                atomic_swap.move_into_place(payload, request.install_path)
    except FetchError as error:
        if not os.environ.get(REPORT):
            error.advice = (*_other_versions(request.job, settings), *error.advice)
        raise
    except (RezbuildError, OSError) as error:
        places = (request.job.build_path, Path(tempfile.gettempdir()), settings.cache)
        raise disk_space.explain(error, (*places, request.job.places[-1])) from None


def _say_version(job: Job, reporter: Reporter) -> None:
    """Print that the version is outdated; `rezbuild build` prints this itself."""
    recipe = sources_toml.load(job.recipe_folder)
    for line in notices.behind(recipe, recipe.release(job.version)):
        reporter.info(line)


def _other_versions(job: Job, settings: Settings) -> list[str]:
    """Return advice about other versions if the source cannot be fetched."""
    recipe = sources_toml.load(job.recipe_folder)
    others = resolve.versions_in(recipe, recipe.name)
    found = Fetcher(settings).offered(r for r in others if r.version != job.version)
    if not found:
        return []
    first = next((r for r in found if r in resolve.same_series(recipe, job.version)), found[0])
    versions = ", ".join(release.version for release in found)
    variable = f"{version_variable(recipe.name)}={first.version}"
    return [f"build a version whose source is here or in Debian's archive ({versions}): {variable}"]


def _check_stage(place: Path) -> None:
    """Check that the build process above still exists; it may have been killed."""
    stage = staging.stage_of(place)
    if stage is not None and not stage.is_dir():
        raise BuildError(
            "the build process of this package has ended", advice=["run the command again"]
        )


def _dependencies(env: Mapping[str, str]) -> dict[str, Dependency]:
    """Return the resolved payloads of rezbuild; skip packages such as platform and arch."""
    found = {}
    for item in env.get("REZ_USED_RESOLVE", "").split():
        name, _, version = item.partition("-")
        root = env.get(f"REZ_{re.sub(r'[^A-Z0-9]', '_', name.upper())}_ROOT")
        if root and manifest.read(Path(root)) is not None:
            found[name] = Dependency(name, version, Path(root))
    return found


if __name__ == "__main__":
    sys.exit(main())
