"""The inputs of one build: recipe, version, compiler, settings and dependencies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rezbuild.build import pgo_profiles, toolchain
from rezbuild.build.toolchain import Toolchain
from rezbuild.catalogue import sources_toml
from rezbuild.catalogue.model import Recipe, Release
from rezbuild.errors import BuildError
from rezbuild.payload import manifest
from rezbuild.payload.dependency import Dependency
from rezbuild.settings import Settings


@dataclass(frozen=True)
class Job:
    """A payload to build.

    Attributes:
        recipe_folder: The folder with sources.toml and recipe.py.
        build_path: A folder that only this job uses.
        places: Folders that the payload is installed in later; no file may contain their paths.
        profile: ``fast`` or ``optimized``.
        dependencies: The payloads that it is built against, by name.
        environ: Variables that override the environment of the steps. They are not part of the
            fingerprint, so they must not change the payload.
    """

    recipe_folder: Path
    version: str
    build_path: Path
    places: tuple[Path, ...]
    profile: str
    dependencies: Mapping[str, Dependency]
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Inputs:
    """Everything that determines a payload."""

    job: Job
    settings: Settings
    recipe: Recipe
    release: Release
    tools: Toolchain
    revision: str
    fingerprint: str

    @property
    def stored_profile(self) -> Path:
        """The cache's file for the PGO profile of this build."""
        name, cache = self.recipe.name, self.settings.cache
        return pgo_profiles.stored_path(cache, name, self.job.version, self.fingerprint)

    @classmethod
    def gather(cls, job: Job, settings: Settings) -> Inputs:
        """Find the recipe, the version and the compiler; compute the hashes.

        The hashes are computed before the build, because a user may edit the recipe meanwhile.

        Raises:
            RezbuildError: The recipe, the version, the compiler or a dependency is missing.
        """
        recipe = sources_toml.load(job.recipe_folder)
        release = recipe.release(job.version)
        tools = toolchain.find(settings)
        against = dependency_fingerprints(job, release)
        return cls(
            job=job,
            settings=settings,
            recipe=recipe,
            release=release,
            tools=tools,
            revision=manifest.recipe_revision(recipe, release),
            fingerprint=manifest.fingerprint(recipe, release, job.profile, tools.identity, against),
        )


def dependency_fingerprints(job: Job, release: Release) -> dict[str, str]:
    """Return the fingerprints of the required dependencies, by name.

    Raises:
        BuildError: A dependency is missing.
    """
    found = {}
    for name in (request.partition("-")[0] for request in release.requires):
        if name not in job.dependencies:
            raise BuildError(
                f"{release.name} needs {name}, and rezbuild has built none that Rez finds",
                advice=[f"build it first: rezbuild build {name}", "list packages: rez-search"],
            )
        found[name] = manifest.identity(manifest.read(job.dependencies[name].root) or {})
    return found
